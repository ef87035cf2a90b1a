package org.horosphere;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The layers as Java sees them. Forward passes are compared with float64 loops written from the
 * formula, backward passes with central differences of those loops, so that a wrong derivation
 * cannot agree with itself.
 */
class LayersTest {
    private final Arena arena = Arena.ofConfined();

    @AfterEach
    void close() {
        arena.close();
    }

    private static double[] random(int n, long seed) {
        Random random = new Random(seed);
        double[] out = new double[n];
        for (int i = 0; i < n; i++) {
            out[i] = (float) random.nextGaussian();
        }
        return out;
    }

    private MemorySegment floats(double... values) {
        MemorySegment out = arena.allocate(JAVA_FLOAT, Math.max(values.length, 1));
        for (int i = 0; i < values.length; i++) {
            out.setAtIndex(JAVA_FLOAT, i, (float) values[i]);
        }
        return out;
    }

    private MemorySegment ints(int... values) {
        return arena.allocateFrom(JAVA_INT, values);
    }

    private MemorySegment zeros(long n) {
        return arena.allocate(JAVA_FLOAT, n);
    }

    private static void assertNear(double[] want, MemorySegment got, double relative) {
        double largest = 0;
        for (double v : want) {
            largest = Math.max(largest, Math.abs(v));
        }
        for (int i = 0; i < want.length; i++) {
            assertEquals(
                    want[i],
                    got.getAtIndex(JAVA_FLOAT, i),
                    relative * largest,
                    "element " + i + " of " + want.length);
        }
    }

    /** The gradient of {@code f} at x by central differences in float64. */
    private static double[] differences(double[] x, ToDoubleFunction<double[]> f) {
        double[] gradient = new double[x.length];
        double[] moved = x.clone();
        double h = 1e-5;
        for (int i = 0; i < x.length; i++) {
            moved[i] = x[i] + h;
            double up = f.applyAsDouble(moved);
            moved[i] = x[i] - h;
            gradient[i] = (up - f.applyAsDouble(moved)) / (2 * h);
            moved[i] = x[i];
        }
        return gradient;
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    private static double[] plus(double[] a, double[] b) {
        double[] out = a.clone();
        for (int i = 0; i < a.length; i++) {
            out[i] += b[i];
        }
        return out;
    }

    private static double[] rmsnorm(double[] x, double[] w, double eps) {
        double[] out = new double[x.length];
        for (int start = 0; start < x.length; start += w.length) {
            double squares = 0;
            for (int i = 0; i < w.length; i++) {
                squares += x[start + i] * x[start + i];
            }
            for (int i = 0; i < w.length; i++) {
                out[start + i] = x[start + i] * w[i] / Math.sqrt(squares / w.length + eps);
            }
        }
        return out;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 16, 37})
    void rmsnormFollowsTheFormulaAndItsDerivative(int dim) {
        int rows = 3;
        double eps = 1e-5;
        double[] x = random(rows * dim, 1);
        double[] w = random(dim, 2);
        double[] dout = random(rows * dim, 3);
        MemorySegment sx = floats(x);
        MemorySegment sw = floats(w);
        MemorySegment out = zeros(rows * dim);
        MemorySegment rstd = zeros(rows);
        Layers.rmsnorm_forward(sx, sw, eps, rows, dim, out, rstd, Exec.CPU);
        assertNear(rmsnorm(x, w, eps), out, 1e-6);

        double[] before = random(rows * dim, 4);
        double[] weightBefore = random(dim, 5);
        MemorySegment dx = floats(before);
        MemorySegment dw = floats(weightBefore);
        Layers.rmsnorm_backward(floats(dout), sx, sw, rstd, rows, dim, dx, dw, Exec.CPU);
        assertNear(plus(before, differences(x, v -> dot(rmsnorm(v, w, eps), dout))), dx, 2e-6);
        assertNear(
                plus(weightBefore, differences(w, v -> dot(rmsnorm(x, v, eps), dout))), dw, 2e-6);

        MemorySegment only = floats(before);
        Layers.rmsnorm_backward(
                floats(dout), sx, sw, rstd, rows, dim, only, MemorySegment.NULL, Exec.CPU);
        assertEquals(-1, only.mismatch(dx));
        Layers.rmsnorm_forward(sx, sw, eps, rows, dim, sx, MemorySegment.NULL, Exec.CPU);
        assertEquals(-1, sx.mismatch(out));
    }

    private static double[] layernorm(double[] x, double[] w, double[] b, double eps) {
        double[] out = new double[x.length];
        for (int start = 0; start < x.length; start += w.length) {
            double mean = 0;
            double variance = 0;
            for (int i = 0; i < w.length; i++) {
                mean += x[start + i] / w.length;
            }
            for (int i = 0; i < w.length; i++) {
                variance += (x[start + i] - mean) * (x[start + i] - mean) / w.length;
            }
            for (int i = 0; i < w.length; i++) {
                out[start + i] = (x[start + i] - mean) * w[i] / Math.sqrt(variance + eps) + b[i];
            }
        }
        return out;
    }

    @ParameterizedTest
    @ValueSource(ints = {3, 16, 37})
    void layernormFollowsTheFormulaAndItsDerivative(int dim) {
        int rows = 3;
        double eps = 1e-5;
        double[] x = random(rows * dim, 1);
        double[] w = random(dim, 2);
        double[] b = random(dim, 6);
        double[] dout = random(rows * dim, 3);
        MemorySegment sx = floats(x);
        MemorySegment sw = floats(w);
        MemorySegment out = zeros(rows * dim);
        MemorySegment mean = zeros(rows);
        MemorySegment rstd = zeros(rows);
        Layers.layernorm_forward(sx, sw, floats(b), eps, rows, dim, out, mean, rstd, Exec.CPU);
        assertNear(layernorm(x, w, b, eps), out, 1e-6);

        double[] before = random(rows * dim, 4);
        double[] weightBefore = random(dim, 5);
        MemorySegment dx = floats(before);
        MemorySegment dw = floats(weightBefore);
        MemorySegment db = floats(weightBefore);
        Layers.layernorm_backward(
                floats(dout), sx, sw, mean, rstd, rows, dim, dx, dw, db, Exec.CPU);
        ToDoubleFunction<double[]> byX = v -> dot(layernorm(v, w, b, eps), dout);
        assertNear(plus(before, differences(x, byX)), dx, 2e-6);
        ToDoubleFunction<double[]> byW = v -> dot(layernorm(x, v, b, eps), dout);
        assertNear(plus(weightBefore, differences(w, byW)), dw, 2e-6);
        ToDoubleFunction<double[]> byB = v -> dot(layernorm(x, w, v, eps), dout);
        assertNear(plus(weightBefore, differences(b, byB)), db, 2e-6);

        MemorySegment only = floats(before);
        MemorySegment none = MemorySegment.NULL;
        Layers.layernorm_backward(
                floats(dout), sx, sw, mean, rstd, rows, dim, only, none, none, Exec.CPU);
        assertEquals(-1, only.mismatch(dx));
        Layers.layernorm_forward(sx, sw, floats(b), eps, rows, dim, sx, none, none, Exec.CPU);
        assertEquals(-1, sx.mismatch(out));
        refused(
                "bias",
                () ->
                        Layers.layernorm_forward(
                                sx, sw, zeros(1), eps, rows, dim, out, none, none, Exec.CPU));
    }

    /** Φ by its series, which needs no erf: accurate to 1e-14 for the numbers of the test. */
    private static double gelu(double x) {
        double sum = x;
        double term = x;
        for (int k = 1; k < 200; k++) {
            term *= x * x / (2 * k + 1);
            sum += term;
        }
        return x * (0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI));
    }

    @Test
    void geluFollowsTheFormulaAndItsDerivative() {
        int n = 61;
        double[] x = random(n, 8);
        double[] dout = random(n, 10);
        MemorySegment sx = floats(x);
        MemorySegment out = zeros(n);
        Layers.gelu_forward(sx, out, n, Exec.CPU);
        double[] want = new double[n];
        for (int i = 0; i < n; i++) {
            want[i] = gelu(x[i]);
        }
        assertNear(want, out, 1e-6);
        MemorySegment dx = zeros(n);
        Layers.gelu_backward(floats(dout), sx, dx, n, Exec.CPU);
        ToDoubleFunction<double[]> sum =
                v -> {
                    double total = 0;
                    for (int i = 0; i < n; i++) {
                        total += dout[i] * gelu(v[i]);
                    }
                    return total;
                };
        assertNear(differences(x, sum), dx, 2e-6);
        refused("out", () -> Layers.gelu_forward(sx, zeros(n - 1), n, Exec.CPU));
    }

    @Test
    void ropeTurnsPairsAndItsInverseIsTheTranspose() {
        int tokens = 3;
        int heads = 2;
        int headDim = 6;
        int stride = heads * headDim + 1;
        int[] positions = {4, 0, 2};
        double[] table = new double[5 * headDim];
        for (int p = 0; p < 5; p++) {
            for (int i = 0; i < headDim / 2; i++) {
                table[p * headDim + i] = (float) Math.cos(p * (i + 0.5));
                table[p * headDim + headDim / 2 + i] = (float) Math.sin(p * (i + 0.5));
            }
        }
        double[] x = random(tokens * stride, 6);
        double[] want = x.clone();
        for (int t = 0; t < tokens; t++) {
            for (int h = 0; h < heads; h++) {
                for (int i = 0; i < headDim / 2; i++) {
                    int low = t * stride + h * headDim + i;
                    int high = low + headDim / 2;
                    double c = table[positions[t] * headDim + i];
                    double s = table[positions[t] * headDim + headDim / 2 + i];
                    want[low] = x[low] * c - x[high] * s;
                    want[high] = x[high] * c + x[low] * s;
                }
            }
        }
        MemorySegment sx = floats(x);
        MemorySegment st = floats(table);
        Layers.rope(sx, tokens, stride, heads, headDim, st, ints(positions), false, Exec.CPU);
        assertNear(want, sx, 1e-6);
        // <R x, y> = <x, R' y>
        double[] y = random(tokens * stride, 7);
        MemorySegment sy = floats(y);
        Layers.rope(sy, tokens, stride, heads, headDim, st, ints(positions), true, Exec.CPU);
        double[] turned = new double[y.length];
        for (int i = 0; i < y.length; i++) {
            turned[i] = sy.getAtIndex(JAVA_FLOAT, i);
        }
        assertEquals(dot(want, y), dot(x, turned), 1e-5);
        refused(
                "positions: 5 at position 1",
                () -> Layers.rope(sx, 2, stride, heads, headDim, st, ints(0, 5), false, Exec.CPU));
        refused("headDim", () -> Layers.rope(sx, 2, stride, 4, 3, st, ints(0, 1), false, Exec.CPU));
        refused(
                "rowStride",
                () -> Layers.rope(sx, 2, 11, heads, headDim, st, ints(0, 1), false, Exec.CPU));
    }

    private static double[] swiglu(double[] gate, double[] up) {
        double[] out = new double[gate.length];
        for (int i = 0; i < gate.length; i++) {
            out[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
        }
        return out;
    }

    @Test
    void swigluFollowsTheFormulaAndItsDerivative() {
        int n = 61;
        double[] gate = random(n, 8);
        double[] up = random(n, 9);
        double[] dout = random(n, 10);
        gate[0] = 30;
        gate[1] = -30;
        MemorySegment out = zeros(n);
        Layers.swiglu_forward(floats(gate), floats(up), out, n, Exec.CPU);
        assertNear(swiglu(gate, up), out, 1e-6);
        MemorySegment dgate = zeros(n);
        MemorySegment dup = zeros(n);
        Layers.swiglu_backward(floats(dout), floats(gate), floats(up), dgate, dup, n, Exec.CPU);
        assertNear(differences(gate, v -> dot(swiglu(v, up), dout)), dgate, 2e-6);
        assertNear(differences(up, v -> dot(swiglu(gate, v), dout)), dup, 2e-6);
    }

    private static double[] geglu(double[] gate, double[] up) {
        double[] out = new double[gate.length];
        for (int i = 0; i < gate.length; i++) {
            double x = gate[i];
            double inner = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
            out[i] = 0.5 * x * (1 + Math.tanh(inner)) * up[i];
        }
        return out;
    }

    @Test
    void gegluFollowsTheFormulaAndItsDerivative() {
        int n = 61;
        double[] gate = random(n, 8);
        double[] up = random(n, 9);
        double[] dout = random(n, 10);
        gate[0] = 30;
        gate[1] = -30;
        MemorySegment out = zeros(n);
        Layers.geglu_forward(floats(gate), floats(up), out, n, Exec.CPU);
        assertNear(geglu(gate, up), out, 1e-6);
        MemorySegment dgate = zeros(n);
        MemorySegment dup = zeros(n);
        Layers.geglu_backward(floats(dout), floats(gate), floats(up), dgate, dup, n, Exec.CPU);
        assertNear(differences(gate, v -> dot(geglu(v, up), dout)), dgate, 2e-6);
        assertNear(differences(up, v -> dot(geglu(gate, v), dout)), dup, 2e-6);
    }

    @Test
    void biasIsAddedToEveryRowAndItsGradientIsTheirSum() {
        MemorySegment y = floats(1, 2, 3, 4, 5, 6);
        MemorySegment bias = floats(10, 20, 30);
        Layers.bias_add(bias, 2, 3, y, Exec.CPU);
        assertArrayEquals(new float[] {11, 22, 33, 14, 25, 36}, y.toArray(JAVA_FLOAT));
        Layers.bias_grad(y, 2, 3, bias, Exec.CPU);
        assertArrayEquals(new float[] {35, 67, 99}, bias.toArray(JAVA_FLOAT));
        refused("bias", () -> Layers.bias_add(floats(1, 2), 2, 3, y, Exec.CPU));
        refused("y", () -> Layers.bias_add(bias, 3, 3, y, Exec.CPU));
        refused("y", () -> Layers.bias_add(y.asSlice(0, 12), 2, 3, y, Exec.CPU));
        refused("dbias", () -> Layers.bias_grad(y, 2, 3, floats(1, 2), Exec.CPU));
    }

    @Test
    void columnsAreScaledAndTheirGradientIsTheirSum() {
        MemorySegment x = floats(1, 2, 3, 4, 5, 6);
        MemorySegment scale = floats(10, 100, 1000);
        Layers.column_scale_grad(floats(1, 1, 1, 2, 2, 2), x, 2, 3, scale, Exec.CPU);
        assertArrayEquals(new float[] {19, 112, 1015}, scale.toArray(JAVA_FLOAT));
        Layers.column_scale(floats(2, 3, 4), 2, 3, x, x, Exec.CPU);
        assertArrayEquals(new float[] {2, 6, 12, 8, 15, 24}, x.toArray(JAVA_FLOAT));
        refused("scale", () -> Layers.column_scale(floats(1, 2), 2, 3, x, x, Exec.CPU));
        refused(
                "out",
                () ->
                        Layers.column_scale(
                                floats(1, 2), 2, 2, x.asSlice(0, 16), x.asSlice(4), Exec.CPU));
        refused("dscale", () -> Layers.column_scale_grad(x, x, 2, 3, floats(1), Exec.CPU));
    }

    @Test
    void embeddingLooksUpAndSumsBack() {
        MemorySegment table = floats(0, 1, 10, 11, 20, 21);
        MemorySegment out = zeros(8);
        MemorySegment ids = ints(2, 0, 2, 1);
        Layers.embedding_forward(ids, DType.F32, table, 4, 3, 2, out, Exec.CPU);
        assertArrayEquals(new float[] {20, 21, 0, 1, 20, 21, 10, 11}, out.toArray(JAVA_FLOAT));
        Layers.embedding_backward(ids, floats(1, 2, 3, 4, 5, 6, 7, 8), 4, 3, 2, table, Exec.CPU);
        assertArrayEquals(new float[] {3, 5, 17, 19, 26, 29}, table.toArray(JAVA_FLOAT));
        for (int bad : new int[] {3, -1}) {
            refused(
                    "ids: " + bad + " at position 1",
                    () ->
                            Layers.embedding_forward(
                                    ints(0, bad), DType.F32, table, 2, 3, 2, out, Exec.CPU));
        }
    }

    private static double crossEntropy(double[] logits, int[] targets, int vocab) {
        double loss = 0;
        for (int t = 0; t < targets.length; t++) {
            double total = 0;
            for (int i = 0; i < vocab; i++) {
                total += Math.exp(logits[t * vocab + i]);
            }
            if (targets[t] >= 0) {
                loss += Math.log(total) - logits[t * vocab + targets[t]];
            }
        }
        return loss;
    }

    @Test
    void crossEntropyFollowsTheFormulaAndItsDerivative() {
        int vocab = 37;
        int[] targets = {5, -100, 36, 0};
        double[] logits = random(4 * vocab, 11);
        MemorySegment sl = floats(logits);
        MemorySegment losses = zeros(4);
        MemorySegment none = MemorySegment.NULL;
        Layers.cross_entropy(sl.asReadOnly(), ints(targets), 4, vocab, losses, none, Exec.CPU);
        double total = 0;
        for (int t = 0; t < 4; t++) {
            total += losses.getAtIndex(JAVA_FLOAT, t);
        }
        assertEquals(crossEntropy(logits, targets, vocab), total, 1e-5);
        assertEquals(0, losses.getAtIndex(JAVA_FLOAT, 1));
        Layers.cross_entropy(sl, ints(targets), 4, vocab, losses, floats(0.5), Exec.CPU);
        assertNear(differences(logits, v -> 0.5 * crossEntropy(v, targets, vocab)), sl, 2e-6);
        refused(
                "targets: 37 at position 2",
                () ->
                        Layers.cross_entropy(
                                sl, ints(0, 1, 37, 0), 4, vocab, losses, floats(1), Exec.CPU));
    }

    @Test
    void hugeLogitsAndNanStayInTheirRow() {
        MemorySegment logits = floats(1e30, -1e30, 0, Double.NaN, 0, 1, 1, 1, 1);
        MemorySegment losses = zeros(3);
        Layers.cross_entropy(logits, ints(1, 0, 2), 3, 3, losses, floats(1), Exec.CPU);
        float[] loss = losses.toArray(JAVA_FLOAT);
        assertEquals(2e30f, loss[0]);
        assertTrue(Float.isNaN(loss[1]));
        assertEquals((float) Math.log(3), loss[2], 1e-6);
        float[] gradient = logits.toArray(JAVA_FLOAT);
        assertEquals(1, gradient[0]);
        assertEquals(-1, gradient[1]);
        assertEquals(0, gradient[2]);
        assertEquals(1 / 3f, gradient[6], 1e-7);
    }

    @Test
    void elementwise() {
        int n = 1001;
        double[] x = random(n, 12);
        double[] y = random(n, 13);
        // one element past the start of the allocation
        MemorySegment sx = floats(plus(new double[n + 1], shifted(x))).asSlice(4);
        MemorySegment sy = floats(y);
        MemorySegment out = zeros(n);
        Layers.add(sx, sy, out, n, Exec.CPU);
        assertNear(plus(x, y), out, 1e-7);
        Layers.axpy(-0.5, sx, sy, n, Exec.CPU);
        for (int i = 0; i < n; i++) {
            y[i] -= 0.5 * x[i];
        }
        assertNear(y, sy, 1e-7);
        assertEquals(dot(x, x), Layers.sum_squares(sx, n, Exec.CPU), 1e-9);
        Layers.scale(2, sx, n, Exec.CPU);
        assertNear(plus(x, x), sx, 0);
        assertEquals(0, Layers.sum_squares(sx, 0, Exec.CPU));
        MemorySegment total = arena.allocate(JAVA_DOUBLE, 257);
        MemorySegment workspace = total.asSlice(Double.BYTES);
        total.set(JAVA_DOUBLE, 0, 0.5);
        double before = Layers.sum_squares(sy, n, Exec.CPU);
        Layers.sum_squares_add(sy, n, total, workspace, Exec.CPU);
        assertEquals(0.5 + before, total.get(JAVA_DOUBLE, 0));
        refused(
                "workspace",
                () -> Layers.sum_squares_add(sy, n, total, total.asSlice(16), Exec.CPU));
    }

    @Test
    void adamwClippedScalesTheGradient() {
        MemorySegment grad = floats(new double[] {3, 4});
        MemorySegment squares = arena.allocate(JAVA_DOUBLE);
        squares.set(JAVA_DOUBLE, 0, 25);
        MemorySegment scalars = zeros(Layers.ADAMW_SCALARS);
        Layers.adamw_scalars(0.1, 0.9, 0.95, 1e-8, 0, 1, 0.5, scalars);
        // norm 5 scaled by 0.5 is 2.5: a bound of 1 leaves 0.2 of the gradient, one of 3 all of it
        for (double bound : new double[] {1, 3}) {
            MemorySegment[] want = {floats(new double[] {1, -1}), zeros(2), zeros(2)};
            MemorySegment[] got = {floats(new double[] {1, -1}), zeros(2), zeros(2)};
            double scale = bound < 2.5 ? 0.2 : 0.5;
            Layers.adamw(
                    want[0], grad, want[1], want[2], 2, 0.1, 0.9, 0.95, 1e-8, 0, 1, scale,
                    Exec.CPU);
            Layers.adamw_clipped(
                    got[0], grad, got[1], got[2], 2, scalars, squares, bound, Exec.CPU);
            for (int i = 0; i < 3; i++) {
                assertEquals(-1, want[i].mismatch(got[i]), "buffer " + i);
            }
        }
        refused(
                "max_norm",
                () ->
                        Layers.adamw_clipped(
                                grad, grad, grad, grad, 2, scalars, squares, 0, Exec.CPU));
        refused(
                "scalars",
                () ->
                        Layers.adamw_clipped(
                                grad, grad, grad, grad, 2, squares, squares, 1, Exec.CPU));
        refused("scalars", () -> Layers.adamw_scalars(0.1, 0.9, 0.95, 1e-8, 0, 1, 1, zeros(7)));
        refused("step", () -> Layers.adamw_scalars(0.1, 0.9, 0.95, 1e-8, 0, 0, 1, scalars));
    }

    @Test
    void exponentialsAndTheirGradients() {
        float[] x = {0, 1, -3.5f};
        MemorySegment y = arena.allocate(JAVA_DOUBLE, 3);
        MemorySegment dy = arena.allocateFrom(JAVA_DOUBLE, 2, -1, 0.5);
        MemorySegment dx = floats(new double[] {1, 1, 1});
        Layers.exp_forward(arena.allocateFrom(JAVA_FLOAT, x), y, 3, Exec.CPU);
        Layers.exp_backward(dy, y, dx, 3, Exec.CPU);
        for (int i = 0; i < 3; i++) {
            double want = Math.exp(x[i]);
            assertEquals(want, y.getAtIndex(JAVA_DOUBLE, i), Math.ulp(want));
            double gradient = 1 + dy.getAtIndex(JAVA_DOUBLE, i) * want;
            assertEquals((float) gradient, dx.getAtIndex(JAVA_FLOAT, i), 1e-7);
        }
        refused("y", () -> Layers.exp_forward(floats(1, 1), zeros(2), 2, Exec.CPU));
        refused("dy", () -> Layers.exp_backward(zeros(2), y, dx, 2, Exec.CPU));
    }

    private static double[] shifted(double[] x) {
        double[] out = new double[x.length + 1];
        System.arraycopy(x, 0, out, 1, x.length);
        return out;
    }

    /** Numbers of torch 2.13: 20 steps of torch.optim.AdamW on float32. */
    @Test
    void adamwTakesTheStepsOfTorch() {
        double[] param = new double[6];
        for (int i = 0; i < 6; i++) {
            param[i] = Math.sin(1.0 + i);
        }
        MemorySegment p = floats(param);
        MemorySegment m = zeros(6);
        MemorySegment v = zeros(6);
        for (int step = 1; step <= 20; step++) {
            double[] g = new double[6];
            for (int i = 0; i < 6; i++) {
                g[i] = i == 3 ? 0 : Math.cos(0.7 * step + i) * (i == 2 ? 1e-3 : 1);
            }
            // as clipping would: the gradient doubled, and halved by the factor
            MemorySegment grad = floats(plus(g, g));
            Layers.adamw(p, grad, m, v, 6, 0.01, 0.9, 0.95, 1e-8, 0.1, step, 0.5, Exec.CPU);
        }
        float[] wantParam = {
            0.821500778f, 0.943728209f, 0.17875734f, -0.741809607f, -0.97139287f, -0.317379147f
        };
        float[] wantM = {
            0.133647814f, 0.0139625119f, -0.000118559874f, 0f, -0.0349712223f, 0.104288824f
        };
        float[] wantV = {
            0.307238042f, 0.305314422f, 3.47128719e-07f, 0f, 0.299800575f, 0.344705343f
        };
        for (int i = 0; i < 6; i++) {
            assertEquals(wantParam[i], p.getAtIndex(JAVA_FLOAT, i), 2e-7, "param " + i);
            double size = i == 2 ? 1e-3 : 1;
            assertEquals(wantM[i], m.getAtIndex(JAVA_FLOAT, i), 2e-7 * size, "m " + i);
            assertEquals(wantV[i], v.getAtIndex(JAVA_FLOAT, i), 4e-7 * wantV[i], "v " + i);
        }
    }

    @Test
    void halfFloatsAgreeWithTheJdk() {
        int n = 1 << 16;
        MemorySegment half = arena.allocate(JAVA_SHORT, n);
        for (int i = 0; i < n; i++) {
            half.setAtIndex(JAVA_SHORT, i, (short) i);
        }
        MemorySegment wide = zeros(n);
        Layers.convert(DType.F16, half, wide, n, Exec.CPU);
        for (int i = 0; i < n; i++) {
            assertEquals(Float.float16ToFloat((short) i), wide.getAtIndex(JAVA_FLOAT, i));
        }
        double[] values = random(n, 14);
        for (int i = 0; i < n; i++) {
            values[i] = (float) (values[i] * Math.pow(2, i % 48 - 30));
        }
        MemorySegment source = floats(values);
        Layers.convert_from_f32(source, DType.F16, half, n, Exec.CPU);
        for (int i = 0; i < n; i++) {
            assertEquals(Float.floatToFloat16((float) values[i]), half.getAtIndex(JAVA_SHORT, i));
        }
        MemorySegment brain = arena.allocate(JAVA_SHORT, 3);
        Layers.convert_from_f32(floats(1, 1.00390625, Double.NaN), DType.BF16, brain, 3, Exec.CPU);
        assertArrayEquals(new short[] {0x3F80, 0x3F80, 0x7FC0}, brain.toArray(JAVA_SHORT));
        refused("dst: overlaps src", () -> Layers.convert(DType.F32, wide, wide, n, Exec.CPU));
    }

    @Test
    void badArgumentsAreNamed() {
        MemorySegment four = floats(1, 2, 3, 4);
        Exec cpu = Exec.CPU;
        refused(
                "x: a heap segment",
                () -> Layers.scale(2, MemorySegment.ofArray(new float[4]), 4, cpu));
        refused("x: 16 bytes, expected at least 5", () -> Layers.scale(2, four, 5, cpu));
        refused("x: not aligned", () -> Layers.scale(2, four.asSlice(2), 1, cpu));
        refused("out: read-only", () -> Layers.add(four, four, four.asReadOnly(), 4, cpu));
        refused("n: -1", () -> Layers.scale(2, four, -1, cpu));
        refused("dim", () -> Layers.rmsnorm_forward(four, four, 0, 1, 0, four, four, cpu));
        refused(
                "rows * dim",
                () -> Layers.rmsnorm_forward(four, four, 0, Long.MAX_VALUE, 2, four, four, cpu));
        refused("step", () -> Layers.adamw(four, four, four, four, 4, 0, 0, 0, 0, 0, 0, 1, cpu));
        refused(
                "dgate: overlaps dup",
                () -> Layers.swiglu_backward(four, four, four, four, four, 4, cpu));
        refused("x: null", () -> Layers.scale(2, null, 4, cpu));
        Arena closed = Arena.ofConfined();
        MemorySegment gone = closed.allocate(16, 4);
        closed.close();
        assertThrows(IllegalStateException.class, () -> Layers.scale(2, gone, 4, cpu));
        assertArrayEquals(new float[] {1, 2, 3, 4}, four.toArray(JAVA_FLOAT));
    }

    @Test
    void emptyBatchesDoNothing() {
        MemorySegment none = arena.allocate(0);
        Layers.rmsnorm_forward(none, floats(1), 0, 0, 1, none, MemorySegment.NULL, Exec.CPU);
        Layers.cross_entropy(none, none, 0, 5, none, floats(1), Exec.CPU);
        Layers.embedding_forward(none, DType.F32, none, 0, 0, 3, none, Exec.CPU);
        Layers.swiglu_forward(none, none, none, 0, Exec.CPU);
        Layers.convert(DType.BF16, none, none, 0, Exec.CPU);
    }

    @Test
    void resultsDoNotDependOnTheNumberOfThreads() {
        int rows = 150;
        int dim = 701;
        double[] x = random(rows * dim, 15);
        double[] w = random(dim, 16);
        MemorySegment[] dw = new MemorySegment[2];
        double[] norm = new double[2];
        for (int i = 0; i < 2; i++) {
            try (Exec exec = Exec.cpu(1 + 4 * i)) {
                MemorySegment sx = floats(x);
                MemorySegment rstd = zeros(rows);
                MemorySegment out = zeros(rows * dim);
                dw[i] = zeros(dim);
                Layers.rmsnorm_forward(sx, floats(w), 1e-6, rows, dim, out, rstd, exec);
                Layers.rmsnorm_backward(
                        out, sx, floats(w), rstd, rows, dim, zeros(rows * dim), dw[i], exec);
                norm[i] = Layers.sum_squares(out, (long) rows * dim, exec);
            }
        }
        assertEquals(-1, dw[0].mismatch(dw[1]));
        assertEquals(norm[0], norm[1]);
    }

    private static void refused(String message, Executable call) {
        String text = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(text.contains(message), text);
    }
}
