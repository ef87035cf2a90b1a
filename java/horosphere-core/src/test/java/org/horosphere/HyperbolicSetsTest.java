package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class HyperbolicSetsTest {
    private static final DType F64 = DType.F64;
    private final Arena arena = Arena.ofConfined();
    private final PoincareBall ball = new PoincareBall(0.5);
    private final HyperbolicSets sets = HyperbolicSets.of(ball);

    @AfterEach
    void close() {
        arena.close();
    }

    private MemorySegment of(double... values) {
        return Buffers.of(arena, F64, values);
    }

    private MemorySegment empty(long n) {
        return Buffers.empty(arena, F64, n);
    }

    private double[] read(MemorySegment segment) {
        return Buffers.read(segment, F64);
    }

    private MemorySegment points(int n, int dim) {
        Random random = new Random(3);
        return of(random.doubles((long) n * dim, -0.5, 0.5).toArray());
    }

    @Test
    void opposite_points_meet_at_the_origin() {
        MemorySegment out = empty(3);
        sets.midpoint(F64, 1, 2, 3, of(0.5, -0.25, 1, -0.5, 0.25, -1), null, out);
        assertArrayEquals(new double[3], read(out));
    }

    /** Halfway from the origin: tanh(artanh(n)/2). */
    @Test
    void the_midpoint_with_the_origin_is_at_half_the_distance() {
        double n = Math.sqrt(0.5) * 1.25;
        double want = Math.tanh(0.25 * Math.log((1 + n) / (1 - n))) / Math.sqrt(0.5);
        MemorySegment workspace =
                arena.allocate(HyperbolicSets.frechetWorkspaceBytes(1, 2, 1, true), 8);
        MemorySegment out = empty(1);
        MemorySegment variance = empty(1);
        sets.midpoint(F64, 1, 2, 1, of(0, 1.25), of(1, 1), out);
        assertEquals(want, read(out)[0], 2e-16);
        sets.frechet_mean(
                F64, 1, 2, 1, of(0, 1.25), of(1, 1), 1e-14, 100, out, variance, null, workspace);
        assertEquals(want, read(out)[0], 2e-16);
        double half = Math.log((1 + n) / (1 - n)) / Math.sqrt(0.5) / 2;
        assertEquals(half * half, read(variance)[0], 1e-14);
        MemorySegment iterations = arena.allocate(4, 4);
        sets.frechet_mean(
                F64, 1, 2, 1, of(0, 1.25), of(1, 2), 1e-14, 1, out, null, iterations, workspace);
        assertEquals(-1, iterations.get(java.lang.foreign.ValueLayout.JAVA_INT, 0));
    }

    @ParameterizedTest
    @EnumSource(HyperbolicSets.Model.class)
    void gradients_are_the_slopes(HyperbolicSets.Model model) {
        HyperbolicSets any = new HyperbolicSets(model, 0.5, Exec.CPU);
        int width = (int) any.width(3);
        double[] x = new Random(5).doubles(4L * width, -0.4, 0.4).toArray();
        double[] w = {1, 0.5, 2, 0.25};
        double[] g = new Random(6).doubles(width, -1, 1).toArray();
        MemorySegment gx = empty(x.length);
        MemorySegment gw = empty(4);
        MemorySegment gc = empty(1);
        any.midpoint_vjp(F64, 1, 4, 3, of(x), of(w), of(g), gx, gw, gc);
        double h = 1e-6;
        for (int i = 0; i < x.length; i++) {
            double[] up = x.clone();
            double[] down = x.clone();
            up[i] += h;
            down[i] -= h;
            double slope = (value(any, up, w, g) - value(any, down, w, g)) / (2 * h);
            assertEquals(slope, read(gx)[i], 1e-8, "x " + i);
        }
        double[] up = w.clone();
        up[2] += h;
        double[] down = w.clone();
        down[2] -= h;
        assertEquals((value(any, x, up, g) - value(any, x, down, g)) / (2 * h), read(gw)[2], 1e-8);
        double slope =
                (value(new HyperbolicSets(model, 0.5 + h, Exec.CPU), x, w, g)
                                - value(new HyperbolicSets(model, 0.5 - h, Exec.CPU), x, w, g))
                        / (2 * h);
        assertEquals(slope, read(gc)[0], 1e-8);
    }

    private double value(HyperbolicSets any, double[] x, double[] w, double[] g) {
        MemorySegment out = empty(g.length);
        any.midpoint(F64, 1, 4, 3, of(x), of(w), out);
        double sum = 0;
        for (int i = 0; i < g.length; i++) {
            sum += g[i] * read(out)[i];
        }
        return sum;
    }

    @Test
    void one_set_serves_all_rows_of_weights() {
        MemorySegment x = points(3, 2);
        MemorySegment each = empty(2);
        MemorySegment all = empty(4);
        MemorySegment w = of(1, 2, 3, 3, 2, 1);
        sets.midpoint(F64, 2, 3, 2, x, 0, 2, w, 3, all, 2, null);
        sets.midpoint(F64, 1, 3, 2, x, of(3, 2, 1), each);
        assertArrayEquals(read(each), new double[] {read(all)[2], read(all)[3]});
    }

    @Test
    void cdist_is_dist_of_every_pair() {
        int n = 5;
        int m = 4;
        int dim = 3;
        MemorySegment x = points(n, dim);
        MemorySegment y = of(new Random(9).doubles((long) m * dim, -0.5, 0.5).toArray());
        MemorySegment out = empty((long) n * m);
        MemorySegment squared = empty((long) n * m);
        sets.cdist(F64, n, m, dim, x, y, false, out);
        sets.cdist(F64, n, m, dim, x, y, true, squared);
        MemorySegment one = empty(1);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < m; j++) {
                ball.dist(F64, 1, dim, x.asSlice(8L * i * dim), y.asSlice(8L * j * dim), one);
                double want = read(one)[0];
                assertEquals(want, read(out)[i * m + j], 1e-15 * want); // each within 3 units
                assertEquals(want * want, read(squared)[i * m + j], 2e-15 * want * want);
            }
        }
        MemorySegment gx = empty((long) n * dim);
        MemorySegment gy = empty((long) m * dim);
        MemorySegment gc = empty(n);
        double[] ones = new double[n * m];
        java.util.Arrays.fill(ones, 1);
        sets.cdist_vjp(F64, n, m, dim, x, y, false, of(ones), gx, gy, gc);
        MemorySegment pair = empty(dim);
        double sum = 0;
        for (int j = 0; j < m; j++) {
            ball.dist_vjp(F64, 1, dim, x, y.asSlice(8L * j * dim), of(1), pair, null, null);
            sum += read(pair)[0];
        }
        assertEquals(sum, read(gx)[0], 1e-14);
    }

    @Test
    void an_identity_matrix_leaves_points_alone() {
        HyperbolicLinear map = HyperbolicLinear.mobius_matvec(ball);
        MemorySegment x = points(4, 2);
        MemorySegment out = empty(8);
        map.forward(F64, 4, 2, 2, x, of(1, 0, 0, 1), null, out);
        assertArrayEquals(read(x), read(out), 2e-16);
    }

    @ParameterizedTest
    @EnumSource(HyperbolicLinear.Operation.class)
    void maps_have_the_slopes_they_say(HyperbolicLinear.Operation operation) {
        HyperbolicLinear map = new HyperbolicLinear(operation, 0.75, Exec.CPU);
        Random random = new Random(11);
        int dim = 3;
        int p = 2;
        double[] x = random.doubles(2 * operation.width(dim), -0.5, 0.5).toArray();
        double[] m = random.doubles(p * operation.columns(dim), -1, 1).toArray();
        double[] bias = operation.hasBias() ? new double[] {0.25, -0.125} : null;
        double[] g = random.doubles(2 * operation.outWidth(p), -1, 1).toArray();
        MemorySegment gx = empty(x.length);
        MemorySegment gm = empty(m.length);
        MemorySegment gb = bias == null ? null : empty(p);
        MemorySegment gc = empty(2);
        map.vjp(
                F64,
                2,
                dim,
                p,
                of(x),
                of(m),
                bias == null ? null : of(bias),
                of(g),
                gx,
                gm,
                gb,
                gc,
                arena.allocate(map.workspaceBytes(2, p), 8));
        double h = 1e-6;
        for (double[] values : new double[][] {x, m}) {
            for (int i = 0; i < values.length; i++) {
                double at = values[i];
                values[i] = at + h;
                double up = value(map, x, m, bias, g, dim, p);
                values[i] = at - h;
                double slope = (up - value(map, x, m, bias, g, dim, p)) / (2 * h);
                values[i] = at;
                assertEquals(slope, read(values == x ? gx : gm)[i], 1e-7, operation + " " + i);
            }
        }
        if (bias != null) {
            bias[1] += h;
            double up = value(map, x, m, bias, g, dim, p);
            bias[1] -= 2 * h;
            double slope = (up - value(map, x, m, bias, g, dim, p)) / (2 * h);
            bias[1] += h;
            assertEquals(slope, read(gb)[1], 1e-7);
        }
        double slope =
                (value(new HyperbolicLinear(operation, 0.75 + h, Exec.CPU), x, m, bias, g, dim, p)
                                - value(
                                        new HyperbolicLinear(operation, 0.75 - h, Exec.CPU),
                                        x,
                                        m,
                                        bias,
                                        g,
                                        dim,
                                        p))
                        / (2 * h);
        assertEquals(slope, read(gc)[0] + read(gc)[1], 1e-7);
    }

    private double value(
            HyperbolicLinear map,
            double[] x,
            double[] m,
            double[] bias,
            double[] g,
            int dim,
            int p) {
        MemorySegment out = empty(g.length);
        map.forward(F64, 2, dim, p, of(x), of(m), bias == null ? null : of(bias), out);
        double sum = 0;
        for (int i = 0; i < g.length; i++) {
            sum += g[i] * read(out)[i];
        }
        return sum;
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"BF16", "F16"})
    void short_storage_is_what_float64_gives_rounded(DType dtype) {
        MemorySegment x = Buffers.of(arena, dtype, read(points(5, 3)));
        MemorySegment wide = of(Buffers.read(x, dtype));
        MemorySegment out = Buffers.empty(arena, dtype, 25);
        MemorySegment want = empty(25);
        sets.cdist(dtype, 5, 5, 3, x, x, false, out);
        sets.cdist(F64, 5, 5, 3, wide, wide, false, want);
        rounded(dtype, read(want), Buffers.read(out, dtype));
        out = Buffers.empty(arena, dtype, 3);
        want = empty(3);
        sets.midpoint(dtype, 1, 5, 3, x, null, out);
        sets.midpoint(F64, 1, 5, 3, wide, null, want);
        rounded(dtype, read(want), Buffers.read(out, dtype));
        HyperbolicLinear fc = HyperbolicLinear.fc(ball);
        out = Buffers.empty(arena, dtype, 25);
        want = empty(25);
        fc.forward(dtype, 5, 3, 5, x, x, null, out);
        fc.forward(F64, 5, 3, 5, wide, wide, null, want);
        rounded(dtype, read(want), Buffers.read(out, dtype));
        HyperbolicConcat pair = HyperbolicConcat.of(ball, 2, 1);
        out = Buffers.empty(arena, dtype, 15);
        want = empty(15);
        pair.concat(dtype, 5, x, out);
        pair.concat(F64, 5, wide, want);
        rounded(dtype, read(want), Buffers.read(out, dtype));
    }

    /** With a workspace by several threads: the same points, up to the order of summing. */
    @Test
    void large_sets_are_summed_in_parts() {
        int k = 3000;
        int dim = 5;
        assertEquals(0, HyperbolicSets.midpointWorkspaceBytes(1, 30, dim));
        long bytes = HyperbolicSets.midpointWorkspaceBytes(1, k, dim);
        assertTrue(bytes > 0);
        MemorySegment x = points(k, dim);
        MemorySegment workspace = arena.allocate(bytes, 8);
        MemorySegment want = empty(dim);
        MemorySegment out = empty(dim);
        sets.midpoint(F64, 1, k, dim, x, null, want);
        sets.midpoint(F64, 1, k, dim, x, null, out, workspace);
        assertArrayEquals(read(want), read(out), 1e-14);
        double[] array = new double[dim];
        sets.midpoint(k, dim, read(x), null, array);
        assertArrayEquals(read(out), array);
        MemorySegment g = of(1, -1, 0.5, 0.25, 2);
        MemorySegment wantX = empty(k * dim);
        MemorySegment gX = empty(k * dim);
        sets.midpoint_vjp(F64, 1, k, dim, x, null, g, wantX, null, null);
        sets.midpoint_vjp(F64, 1, k, dim, x, null, g, gX, null, null, workspace);
        assertArrayEquals(read(wantX), read(gX), 1e-16);
        refused(
                "workspace",
                () -> sets.midpoint(F64, 1, k, dim, x, null, out, workspace.asSlice(8)));
        refused("workspace", () -> sets.midpoint(F64, 1, k, dim, x, null, out, x));
    }

    /** Small ones in place, large ones by way of native memory. */
    @ParameterizedTest
    @ValueSource(ints = {3, 200})
    void arrays_give_the_bits_of_segments(int n) {
        int dim = 4;
        double[] x = read(points(n * 2, dim));
        double[] y = Arrays.copyOf(x, 3 * dim);
        double[] w = new Random(8).doubles(n * 2L, 0.1, 1).toArray();
        double[] out = new double[n * 2 * 3];
        MemorySegment want = empty(out.length);
        sets.cdist(dim, x, y, true, out);
        sets.cdist(F64, n * 2L, 3, dim, of(x), of(y), true, want);
        assertArrayEquals(read(want), out);
        out = new double[dim];
        want = empty(dim);
        sets.midpoint(n * 2, dim, x, w, out);
        sets.midpoint(F64, 1, n * 2L, dim, of(x), of(w), want);
        assertArrayEquals(read(want), out);
        sets.midpoint(n * 2, dim, x, null, out);
        sets.midpoint(F64, 1, n * 2L, dim, of(x), null, want);
        assertArrayEquals(read(want), out);
        float[] few = new float[n * 2 * dim];
        float[] sums = new float[few.length];
        for (int i = 0; i < few.length; i++) {
            few[i] = (float) x[i];
        }
        MemorySegment floats = Buffers.of(arena, DType.F32, x);
        MemorySegment results = Buffers.empty(arena, DType.F32, few.length);
        HyperbolicLinear fc = HyperbolicLinear.fc(ball);
        float[] m = Arrays.copyOf(few, dim * dim);
        float[] bias = Arrays.copyOf(few, dim);
        fc.forward(dim, dim, few, m, null, sums);
        fc.forward(DType.F32, n * 2L, dim, dim, floats, floats, null, results);
        assertArrayEquals(Buffers.read(results, DType.F32), widened(sums));
        fc.forward(dim, dim, few, m, bias, sums);
        fc.forward(DType.F32, n * 2L, dim, dim, floats, floats, floats, results);
        assertArrayEquals(Buffers.read(results, DType.F32), widened(sums));
    }

    @Test
    void gradients_on_arrays_are_those_on_segments() {
        double[] x = read(points(6, 4));
        double[] w = new Random(8).doubles(6, 0.1, 1).toArray();
        double[] g = new Random(9).doubles(24, -1, 1).toArray();
        double[] gx = new double[24];
        double[] gw = new double[6];
        double[] gc = new double[2];
        double[] two = Arrays.copyOf(g, 8);
        MemorySegment wantX = empty(24);
        MemorySegment wantW = empty(6);
        MemorySegment wantC = empty(2);
        sets.midpoint_vjp(3, 4, x, w, two, gx, gw, gc);
        sets.midpoint_vjp(F64, 2, 3, 4, of(x), of(w), of(two), wantX, wantW, wantC);
        assertArrayEquals(read(wantX), gx);
        assertArrayEquals(read(wantW), gw);
        assertArrayEquals(read(wantC), gc);

        double[] mean = new double[8];
        double[] variance = new double[2];
        int[] iterations = new int[2];
        MemorySegment wantMean = empty(8);
        MemorySegment counts = arena.allocate(8, 8);
        MemorySegment workspace =
                arena.allocate(HyperbolicSets.frechetWorkspaceBytes(2, 3, 4, true), 8);
        sets.frechet_mean(3, 4, x, w, 1e-14, 99, mean, variance, iterations);
        sets.frechet_mean(F64, 2, 3, 4, of(x), of(w), 1e-14, 99, wantMean, null, counts, workspace);
        assertArrayEquals(read(wantMean), mean);
        assertTrue(variance[0] > 0);
        assertArrayEquals(counts.toArray(ValueLayout.JAVA_INT), iterations);
        sets.frechet_mean_vjp(3, 4, x, w, 1e-14, 99, two, variance, gx, gw, null, null);
        sets.frechet_mean_vjp(
                F64,
                2,
                3,
                4,
                of(x),
                of(w),
                1e-14,
                99,
                of(two),
                of(variance),
                wantX,
                wantW,
                null,
                null,
                workspace);
        assertArrayEquals(read(wantX), gx);
        assertArrayEquals(read(wantW), gw);

        float[] few = new float[24];
        float[] y = new float[8];
        for (int i = 0; i < few.length; i++) {
            few[i] = (float) x[i];
            y[i % 8] = few[i];
        }
        float[] g12 = {1, -1, 2, 3, 0, 1, 1, 1, -2, 1, 4, 2};
        float[] g_y = new float[8];
        MemorySegment floatsX = Buffers.of(arena, DType.F32, x);
        MemorySegment wantY = Buffers.empty(arena, DType.F32, 8);
        sets.cdist_vjp(4, few, y, false, g12, null, g_y, null);
        sets.cdist_vjp(
                DType.F32,
                6,
                2,
                4,
                floatsX,
                Buffers.of(arena, DType.F32, widened(y)),
                false,
                Buffers.of(arena, DType.F32, widened(g12)),
                null,
                wantY,
                null);
        assertArrayEquals(Buffers.read(wantY, DType.F32), widened(g_y));

        HyperbolicLinear fc = HyperbolicLinear.fc(ball);
        double[] m = Arrays.copyOf(g, 12);
        double[] bias = {0.1, 0.2, -0.3};
        double[] gm = new double[12];
        double[] gb = new double[3];
        double[] g18 = Arrays.copyOf(g, 18);
        MemorySegment wantM = empty(12);
        MemorySegment wantB = empty(3);
        fc.vjp(4, 3, x, m, bias, g18, gx, gm, gb, null);
        fc.vjp(
                F64,
                6,
                4,
                3,
                of(x),
                of(m),
                of(bias),
                of(g18),
                wantX,
                wantM,
                wantB,
                null,
                arena.allocate(fc.workspaceBytes(6, 3), 8));
        assertArrayEquals(read(wantX), gx);
        assertArrayEquals(read(wantM), gm);
        assertArrayEquals(read(wantB), gb);

        refused("g", () -> sets.midpoint_vjp(3, 4, x, w, new double[7], gx, gw, gc));
        refused("g_x", () -> sets.midpoint_vjp(3, 4, x, w, two, x, gw, gc));
        refused("x", () -> sets.midpoint_vjp(3, 4, new double[13], w, two, gx, gw, gc));
        refused("g_y", () -> sets.cdist_vjp(4, x, x, true, new double[36], gx, gx, null));
        refused("iterations", () -> sets.frechet_mean(3, 4, x, w, 1e-9, 9, mean, null, new int[3]));
        refused("m", () -> fc.vjp(4, 3, x, null, bias, g18, gx, gm, gb, null));
    }

    private static double[] widened(float[] x) {
        return IntStream.range(0, x.length).mapToDouble(i -> x[i]).toArray();
    }

    @Test
    void arrays_that_do_not_fit_are_named() {
        double[] x = new double[8];
        double[] out = new double[4];
        refused("w", () -> sets.midpoint(2, 2, x, new double[3], out));
        refused("x", () -> sets.midpoint(2, 2, new double[7], null, out));
        refused("x", () -> sets.midpoint(2, 2, null, null, out));
        refused("out", () -> sets.midpoint(2, 2, x, null, new double[3]));
        refused("out", () -> sets.midpoint(1, 2, x, null, x));
        refused("k", () -> sets.midpoint(0, 2, x, null, out));
        refused("dim", () -> sets.cdist(0, x, x, false, out));
        refused("y", () -> sets.cdist(2, x, new double[3], false, out));
        refused("out", () -> sets.cdist(2, x, x, false, out));
        HyperbolicLinear map = HyperbolicLinear.mobius_matvec(ball);
        refused("m", () -> map.forward(2, 2, x, new double[3], null, new double[8]));
        refused("bias", () -> map.forward(2, 2, x, out, new double[2], new double[8]));
        refused("out", () -> map.forward(2, 2, x, out, null, x));
    }

    private static void rounded(DType dtype, double[] want, double[] got) {
        for (int i = 0; i < want.length; i++) {
            double most = dtype.unitRoundoff() * Math.max(Math.abs(want[i]), 0x1p-14);
            assertEquals(want[i], got[i], 1.001 * most);
        }
    }

    @Test
    void what_does_not_fit_is_named() {
        MemorySegment x = points(4, 2);
        MemorySegment out = empty(4);
        refused("w", () -> sets.midpoint(F64, 2, 2, 2, x, of(1), out));
        refused("x", () -> sets.midpoint(F64, 3, 2, 2, x, null, out));
        refused("out", () -> sets.midpoint(F64, 2, 2, 2, x, null, empty(3)));
        refused("out", () -> sets.midpoint(F64, 2, 2, 2, x, null, out.asReadOnly()));
        refused("out", () -> sets.midpoint(F64, 2, 2, 2, x, null, x));
        refused("x", () -> sets.midpoint(F64, 2, 2, 2, null, null, out));
        refused(
                "x",
                () -> sets.midpoint(F64, 2, 2, 2, MemorySegment.ofArray(new double[8]), null, out));
        refused("k", () -> sets.midpoint(F64, 2, 0, 2, x, null, out));
        refused("dtype", () -> sets.midpoint(null, 2, 2, 2, x, null, out));
        refused("g", () -> sets.midpoint_vjp(F64, 2, 2, 2, x, null, of(1), out, null, null));
        refused("m", () -> sets.cdist(F64, 2, -1, 2, x, x, false, out));
        refused("out", () -> sets.cdist(F64, 2, 3, 2, x, x, false, out));
        refused(
                "workspace",
                () -> sets.frechet_mean(F64, 2, 2, 2, x, null, 1e-9, 9, out, null, null, of(1)));
        refused(
                "tolerance",
                () -> sets.frechet_mean(F64, 2, 2, 2, x, null, 0, 9, out, null, null, empty(9)));
        refused("curvature", () -> new HyperbolicSets(HyperbolicSets.Model.KLEIN, 0, Exec.CPU));
        HyperbolicLinear map = HyperbolicLinear.mobius_matvec(ball);
        refused("bias", () -> map.forward(F64, 2, 2, 2, x, x, of(1, 1), out));
        refused("m", () -> map.forward(F64, 2, 2, 2, x, of(1), null, out));
        refused("out", () -> map.forward(F64, 2, 2, 3, x, x, null, out));
        refused(
                "workspace",
                () ->
                        map.vjp(
                                F64,
                                2,
                                2,
                                2,
                                x,
                                of(1, 0, 0, 1),
                                null,
                                out,
                                null,
                                null,
                                null,
                                null,
                                empty(1)));
    }

    /** In a small call, which does not leave the Java state, and in a large one. */
    @ParameterizedTest
    @ValueSource(ints = {4, 300})
    void memory_that_is_closed_or_of_another_thread_is_refused(int n) throws Exception {
        Arena closed = Arena.ofConfined();
        MemorySegment gone = closed.allocate(8L * n * n, 8);
        closed.close();
        Arena shared = Arena.ofShared();
        MemorySegment gone_too = shared.allocate(8L * n * n, 8);
        Thread other = new Thread(shared::close);
        other.start();
        other.join();
        CompletableFuture<MemorySegment> theirs = new CompletableFuture<>();
        Thread owner =
                new Thread(() -> theirs.complete(Arena.ofConfined().allocate(8L * n * n, 8)));
        owner.start();
        MemorySegment foreign = theirs.get();
        MemorySegment good = empty((long) n * n);
        HyperbolicLinear map = HyperbolicLinear.mobius_matvec(ball);
        MemorySegment work = empty(map.workspaceBytes(n, n) / 8 + 1);
        List<BiConsumer<MemorySegment, MemorySegment>> calls =
                List.of(
                        (in, out) -> sets.midpoint(F64, n, n, 1, in, good, out),
                        (in, out) ->
                                sets.midpoint_vjp(F64, n, n, 1, in, good, good, out, null, null),
                        (in, out) -> sets.cdist(F64, n, n, 1, in, good, false, out),
                        (in, out) ->
                                sets.cdist_vjp(
                                        F64, n, n, 1, in, good, false, good, out, null, null),
                        (in, out) -> map.forward(F64, n, 1, n, in, good, null, out),
                        (in, out) ->
                                map.vjp(
                                        F64, n, 1, n, in, good, null, good, out, null, null, null,
                                        work));
        for (var call : calls) {
            MemorySegment result = empty((long) n * n);
            call.accept(good, result);
            for (MemorySegment bad : List.of(gone, gone_too)) {
                assertThrows(IllegalStateException.class, () -> call.accept(bad, result));
                assertThrows(IllegalStateException.class, () -> call.accept(good, bad));
            }
            assertThrows(WrongThreadException.class, () -> call.accept(foreign, result));
            assertThrows(WrongThreadException.class, () -> call.accept(good, foreign));
        }
    }

    @Test
    void klein_distances_are_those_of_the_row_operation() {
        Klein klein = new Klein(1);
        MemorySegment x = of(0.3, 0.4, -0.8, 0.5);
        MemorySegment all = empty(4);
        MemorySegment row = empty(2);
        HyperbolicSets.of(klein).cdist(F64, 2, 2, 2, x, x, false, all);
        klein.dist(F64, 1, 2, of(0.3, 0.4), of(-0.8, 0.5), row);
        assertArrayEquals(
                new double[] {0, read(row)[0], read(row)[0], 0}, read(all), 4e-16 * read(row)[0]);
    }

    @ParameterizedTest
    @EnumSource(HyperbolicSets.Model.class)
    void gradients_of_the_variance_are_the_slopes(HyperbolicSets.Model model) {
        HyperbolicSets any = new HyperbolicSets(model, 0.5, Exec.CPU);
        int width = (int) any.width(2);
        double[] x = new Random(8).doubles(3L * width, -0.7, 0.7).toArray();
        double[] w = {1, 0.5, 2};
        MemorySegment gx = empty(x.length);
        MemorySegment gw = empty(3);
        MemorySegment workspace =
                arena.allocate(HyperbolicSets.frechetWorkspaceBytes(1, 3, 2, true), 8);
        any.frechet_mean_vjp(
                F64, 1, 3, 2, of(x), of(w), 1e-14, 500, null, of(2), gx, gw, null, null, workspace);
        double h = 1e-6;
        for (int i = 0; i < x.length; i++) {
            double[] up = x.clone();
            double[] down = x.clone();
            up[i] += h;
            down[i] -= h;
            double slope = (variance(any, up, w) - variance(any, down, w)) / h;
            assertEquals(slope, read(gx)[i], 1e-8, "x " + i);
        }
        double[] up = {1, 0.5 + h, 2};
        double[] down = {1, 0.5 - h, 2};
        assertEquals((variance(any, x, up) - variance(any, x, down)) / h, read(gw)[1], 1e-8);
    }

    private double variance(HyperbolicSets any, double[] x, double[] w) {
        MemorySegment workspace =
                arena.allocate(HyperbolicSets.frechetWorkspaceBytes(1, 3, 2, false), 8);
        MemorySegment variance = empty(1);
        MemorySegment mean = empty(any.width(2));
        any.frechet_mean(F64, 1, 3, 2, of(x), of(w), 1e-14, 500, mean, variance, null, workspace);
        return read(variance)[0];
    }

    private static void refused(String name, org.junit.jupiter.api.function.Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(e.getMessage().startsWith(name + ":"), e.getMessage());
    }
}
