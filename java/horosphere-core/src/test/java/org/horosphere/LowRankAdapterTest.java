package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.horosphere.LowRankAdapter.Kind;
import org.junit.jupiter.api.Test;

class LowRankAdapterTest {
    /** Inputs and results of one forward and backward call. */
    private static final class Run {
        final LowRankAdapter shape;
        final int tokens;
        double[] x;
        double[] a;
        double[] b;
        double[] dout;
        double curvature = 1;
        double s = 1;
        double[] out;
        double[] gain;
        double[] m;
        double[] dx;
        double[] da;
        double[] db;
        double dK;
        double ds;

        Run(LowRankAdapter shape, int tokens) {
            this.shape = shape;
            this.tokens = tokens;
        }

        static Run random(LowRankAdapter shape, int tokens, long seed) {
            Random random = new Random(seed);
            Run run = new Run(shape, tokens);
            run.x = Buffers.random(random, tokens * shape.d(), 1);
            run.a = Buffers.random(random, shape.r() * shape.d(), 1 / Math.sqrt(shape.d()));
            run.b = Buffers.random(random, shape.k() * shape.r(), 1);
            run.dout = Buffers.random(random, tokens * shape.k(), 1);
            return run;
        }

        Run call(Exec exec) {
            return call(exec, 0);
        }

        /**
         * With rows `gap` elements further apart than they are long; the gaps must stay as they
         * are.
         */
        Run call(Exec exec, int gap) {
            DType t = shape.dtype();
            int d = (int) shape.d();
            int k = (int) shape.k();
            boolean hyperbolic = shape.kind() != Kind.LORA;
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment xs = Buffers.of(arena, t, spread(x, d, gap));
                MemorySegment as = Buffers.of(arena, t, a);
                MemorySegment bs = Buffers.of(arena, t, b);
                MemorySegment gram =
                        hyperbolic ? Buffers.empty(arena, DType.F64, shape.r() * shape.r()) : null;
                MemorySegment p = Buffers.empty(arena, t, tokens * shape.r());
                MemorySegment g = hyperbolic ? Buffers.empty(arena, DType.F64, tokens) : null;
                MemorySegment n = hyperbolic ? Buffers.empty(arena, DType.F64, tokens) : null;
                MemorySegment ms = hyperbolic ? Buffers.empty(arena, DType.F64, tokens) : null;
                MemorySegment os = Buffers.of(arena, t, spread(new double[tokens * k], k, gap));
                if (hyperbolic) {
                    LowRankAdapter.gram(exec, shape, bs, gram);
                }
                MemorySegment curve = Buffers.of(arena, DType.F64, curvature);
                MemorySegment divisor = Buffers.of(arena, DType.F64, s);
                LowRankAdapter.forward(
                        exec, shape, tokens, xs, d + gap, as, bs, gram, curve, divisor, os, k + gap,
                        p, g, n, ms);
                out = gather(Buffers.read(os, t), k, gap);
                MemorySegment douts = Buffers.of(arena, t, spread(dout, k, gap));
                MemorySegment dxs = Buffers.of(arena, t, spread(new double[tokens * d], d, gap));
                MemorySegment das = Buffers.empty(arena, t, a.length);
                MemorySegment dbs = Buffers.empty(arena, t, b.length);
                MemorySegment dKs = Buffers.empty(arena, DType.F64, 1);
                MemorySegment dss = Buffers.empty(arena, DType.F64, 1);
                MemorySegment w =
                        arena.allocate(shape.workspaceBytes(exec, tokens) + 1, 64).asSlice(1);
                w.fill((byte) 0x7f);
                LowRankAdapter.backward(
                        exec, shape, tokens, xs, d + gap, as, bs, gram, curve, divisor, douts,
                        k + gap, p, n, ms, dxs, d + gap, das, dbs, dKs, dss, w);
                dx = gather(Buffers.read(dxs, t), d, gap);
                da = Buffers.read(das, t);
                db = Buffers.read(dbs, t);
                dK = Buffers.get(dKs, DType.F64, 0);
                ds = Buffers.get(dss, DType.F64, 0);
                gain = hyperbolic ? Buffers.read(g, DType.F64) : null;
                m = hyperbolic ? Buffers.read(ms, DType.F64) : null;
            }
            return this;
        }

        private double[] spread(double[] rows, int width, int gap) {
            double[] wide = new double[tokens * (width + gap)];
            Arrays.fill(wide, 7);
            for (int t = 0; t < tokens; t++) {
                System.arraycopy(rows, t * width, wide, t * (width + gap), width);
            }
            return wide;
        }

        private double[] gather(double[] wide, int width, int gap) {
            double[] rows = new double[tokens * width];
            for (int t = 0; t < tokens; t++) {
                System.arraycopy(wide, t * (width + gap), rows, t * width, width);
                for (int i = width; i < width + gap; i++) {
                    assertEquals(7, wide[t * (width + gap) + i]);
                }
            }
            return rows;
        }

        void assertSameBits(Run other) {
            assertArrayEquals(other.out, out);
            assertArrayEquals(other.dx, dx);
            assertArrayEquals(other.da, da);
            assertArrayEquals(other.db, db);
            assertEquals(other.dK, dK);
            assertEquals(other.ds, ds);
        }
    }

    private static LowRankAdapter shape(DType dtype, Kind kind, int d, int r, int k) {
        return new LowRankAdapter(dtype, kind, d, r, k, 1.5);
    }

    /** The map as the paper writes it: to the hyperboloid, A and B on its space part, and back. */
    private static double[] literal(Run in) {
        int d = (int) in.shape.d();
        int r = (int) in.shape.r();
        int k = (int) in.shape.k();
        double q = Math.sqrt(in.curvature);
        double[] out = new double[in.tokens * k];
        for (int t = 0; t < in.tokens; t++) {
            double n = 0;
            for (int i = 0; i < d; i++) {
                n += in.x[t * d + i] * in.x[t * d + i];
            }
            n = Math.sqrt(n);
            double[] h = new double[r];
            for (int j = 0; j < r; j++) {
                for (int i = 0; i < d; i++) {
                    h[j] += in.a[j * d + i] * q * Math.sinh(n / (in.s * q)) * in.x[t * d + i] / n;
                }
            }
            double[] z = new double[k];
            double square = 0;
            for (int i = 0; i < k; i++) {
                for (int j = 0; j < r; j++) {
                    z[i] += in.b[i * r + j] * h[j];
                }
                square += z[i] * z[i];
            }
            double time = Math.sqrt(square + in.curvature) / q;
            double above = square / in.curvature / (time + 1); // time - 1, without its cancellation
            double length =
                    q * Math.log1p(above + Math.sqrt(above * (above + 2))); // q arcosh(time)
            for (int i = 0; i < k; i++) {
                out[t * k + i] = in.shape.scaling() * length * z[i] / Math.sqrt(square);
            }
        }
        return out;
    }

    /** The two forward functions of the authors' released code, step by step, in float64. */
    private static double[] literalReleased(Run in) {
        int d = (int) in.shape.d();
        int r = (int) in.shape.r();
        int k = (int) in.shape.k();
        double q = Math.sqrt(in.curvature);
        boolean simplified = in.shape.kind() == Kind.HYPLORA_SIMPLIFIED;
        double[] out = new double[in.tokens * k];
        for (int t = 0; t < in.tokens; t++) {
            double n = 0;
            for (int i = 0; i < d; i++) {
                n += in.x[t * d + i] * in.x[t * d + i];
            }
            double clamped = Math.max(Math.sqrt(n), 1e-7);
            double lift =
                    simplified
                            ? 2 / (1 + in.curvature * n)
                            : q * Math.sinh(Math.min(clamped / (in.s * q), 12)) / clamped;
            double[] z = new double[k];
            double square = 0;
            for (int i = 0; i < k; i++) {
                for (int j = 0; j < r; j++) {
                    double h = 0;
                    for (int l = 0; l < d; l++) {
                        h += in.a[j * d + l] * (lift * in.x[t * d + l]);
                    }
                    z[i] += in.b[i * r + j] * h;
                }
                square += z[i] * z[i];
            }
            double factor;
            if (simplified) {
                factor = 1 / (1 + q * Math.sqrt(square + in.curvature));
            } else {
                double theta = Math.sqrt(square + 1 / in.curvature) / q;
                double safe = Math.max(theta, 1 + 1e-7);
                double length =
                        theta < 1.01
                                ? Math.sqrt(2 * Math.max(theta - 1, 1e-6))
                                : Math.log(safe + Math.sqrt(safe * safe - 1));
                factor = q * length / Math.max(Math.sqrt(square), 1e-7);
            }
            for (int i = 0; i < k; i++) {
                out[t * k + i] = in.shape.scaling() * factor * z[i];
            }
        }
        return out;
    }

    private static double loss(Run run) {
        double[] out = run.shape.kind() == Kind.HYPLORA ? literal(run) : literalReleased(run);
        double sum = 0;
        for (int i = 0; i < out.length; i++) {
            sum += out[i] * run.dout[i];
        }
        return sum;
    }

    private static void assertClose(String what, double[] got, double[] want, double tolerance) {
        double error = Buffers.distance(got, want);
        assertTrue(
                error <= tolerance * Buffers.norm(want),
                what + ": error " + error + " of " + Buffers.norm(want));
    }

    @Test
    void equalsTheLiteralMap() {
        for (int[] z :
                new int[][] {
                    {1, 1, 1, 1}, {3, 7, 2, 5}, {70, 33, 3, 17}, {9, 64, 8, 300}, {2, 5, 70, 90}
                }) {
            for (double curvature : new double[] {0.3, 1, 25}) {
                for (double s : new double[] {1, 2.5}) {
                    for (DType dtype : new DType[] {DType.F32, DType.F64}) {
                        Run run = Run.random(shape(dtype, Kind.HYPLORA, z[1], z[2], z[3]), z[0], 1);
                        run.curvature = curvature;
                        run.s = s;
                        run.call(Exec.CPU, 3);
                        String what = Arrays.toString(z) + " K " + curvature + " s " + s;
                        assertClose(what, run.out, literal(run), dtype == DType.F32 ? 2e-6 : 2e-14);
                    }
                }
            }
        }
    }

    @Test
    void equalsTheReleasedCode() {
        for (Kind kind : new Kind[] {Kind.HYPLORA_RELEASED, Kind.HYPLORA_SIMPLIFIED}) {
            // 0.01: min(t, 12) holds; 30: some tokens lie in the dead zone
            for (double curvature : new double[] {0.01, 0.5, 1, 1.3132627, 30}) {
                for (DType dtype : new DType[] {DType.F32, DType.F64}) {
                    Run run = Run.random(shape(dtype, kind, 33, 3, 17), 70, 1);
                    run.curvature = curvature;
                    run.s = 2.5;
                    run.call(Exec.CPU, 3);
                    assertClose(
                            kind + " K " + curvature,
                            run.out,
                            literalReleased(run),
                            dtype == DType.F32 ? 2e-6 : 2e-14);
                }
            }
        }
    }

    /** Numbers measured with the released code: d = k = 4096, r = 32, float32. */
    @Test
    void releasedDeadZoneAndJump() {
        assertEquals(1.6207e-3, releasedLength(1.3133, 3e-3), 1e-7); // any |z| below 0.743
        assertEquals(1.6207e-3, releasedLength(1.3133, 0.7), 1e-7);
        assertTrue(releasedLength(1.3133, 0.8) > 0.1);
        assertEquals(0.227, releasedLength(0.9741, 4e-7), 5e-4); // any z but 0
    }

    /** |out| at |BAu| = z. */
    private static double releasedLength(double curvature, double z) {
        return releasedScalar(curvature, z).call(Exec.CPU).out[0];
    }

    private static Run releasedScalar(double curvature, double z) {
        LowRankAdapter shape = new LowRankAdapter(DType.F64, Kind.HYPLORA_RELEASED, 1, 1, 1, 1);
        Run run = new Run(shape, 1);
        run.curvature = curvature;
        run.x = new double[] {1};
        run.a = new double[] {1};
        double q = Math.sqrt(curvature);
        run.b = new double[] {z / (q * Math.sinh(1 / q))};
        run.dout = new double[] {1};
        return run;
    }

    @Test
    void gradientsEqualCentralDifferences() {
        for (double curvature : new double[] {0.2, 1, 30}) {
            requireGradients(Kind.HYPLORA, curvature, 1);
        }
    }

    /** Also where min(t, 12) holds, in the dead zone and in the square-root branch. */
    @Test
    void releasedGradientsEqualCentralDifferences() {
        for (double curvature : new double[] {0.01, 0.5, 1.3, 30}) {
            for (double size : new double[] {0.3, 1}) {
                requireGradients(Kind.HYPLORA_RELEASED, curvature, size);
                requireGradients(Kind.HYPLORA_SIMPLIFIED, curvature, size);
            }
        }
        // dead zone, square root, arcosh
        for (double z : new double[] {0.3, 0.75, 2}) {
            Run run = releasedScalar(1.3133, z);
            double h = 1e-6;
            run.call(Exec.CPU);
            double[][] inputs = {run.x, run.a, run.b};
            double[] got = {run.dx[0], run.da[0], run.db[0]};
            for (int i = 0; i < 3; i++) {
                double value = inputs[i][0];
                inputs[i][0] = value + h;
                double above = loss(run);
                inputs[i][0] = value - h;
                double below = loss(run);
                inputs[i][0] = value;
                double want = (above - below) / (2 * h);
                assertEquals(want, got[i], 1e-7 * (1 + Math.abs(want)), "z " + z + " input " + i);
            }
        }
    }

    private static void requireGradients(Kind kind, double curvature, double size) {
        Run run = Run.random(shape(DType.F64, kind, 6, 3, 5), 4, 2);
        for (int i = 0; i < run.b.length; i++) {
            run.b[i] *= size;
        }
        run.curvature = curvature;
        run.s = 1.3;
        run.call(Exec.CPU);
        double h = 1e-5;
        double[][] inputs = {run.x, run.a, run.b};
        double[][] gradients = {run.dx, run.da, run.db};
        for (int i = 0; i < inputs.length; i++) {
            for (int j = 0; j < inputs[i].length; j++) {
                double at = inputs[i][j];
                inputs[i][j] = at + h;
                double above = loss(run);
                inputs[i][j] = at - h;
                double below = loss(run);
                inputs[i][j] = at;
                double want = (above - below) / (2 * h);
                assertEquals(
                        want,
                        gradients[i][j],
                        1e-7 * (1 + Math.abs(want)),
                        "input " + i + " element " + j);
            }
        }
        run.curvature = curvature * (1 + h);
        double above = loss(run);
        run.curvature = curvature * (1 - h);
        double below = loss(run);
        run.curvature = curvature;
        assertEquals((above - below) / (2 * h * curvature), run.dK, 1e-7 * (1 + Math.abs(run.dK)));
        run.s = 1.3 + h;
        above = loss(run);
        run.s = 1.3 - h;
        below = loss(run);
        assertEquals((above - below) / (2 * h), run.ds, 1e-7 * (1 + Math.abs(run.ds)));
    }

    @Test
    void loraIsTwoProducts() {
        for (DType dtype : new DType[] {DType.F32, DType.F64}) {
            int d = 37;
            int r = 5;
            int k = 41;
            Run run = Run.random(shape(dtype, Kind.LORA, d, r, k), 70, 3).call(Exec.CPU, 2);
            double[] out = new double[70 * k];
            double[] dx = new double[70 * d];
            double[] da = new double[r * d];
            double[] db = new double[k * r];
            for (int t = 0; t < 70; t++) {
                for (int j = 0; j < r; j++) {
                    double p = 0;
                    double u = 0;
                    for (int i = 0; i < d; i++) {
                        p += 1.5 * run.a[j * d + i] * run.x[t * d + i];
                    }
                    for (int i = 0; i < k; i++) {
                        out[t * k + i] += run.b[i * r + j] * p;
                        u += 1.5 * run.b[i * r + j] * run.dout[t * k + i];
                        db[i * r + j] += run.dout[t * k + i] * p;
                    }
                    for (int i = 0; i < d; i++) {
                        dx[t * d + i] += u * run.a[j * d + i];
                        da[j * d + i] += u * run.x[t * d + i];
                    }
                }
            }
            double tolerance = dtype == DType.F32 ? 1e-6 : 1e-14;
            assertClose("out", run.out, out, tolerance);
            assertClose("dx", run.dx, dx, tolerance);
            assertClose("da", run.da, da, tolerance);
            assertClose("db", run.db, db, tolerance);
        }
    }

    /**
     * g = 1 + (|x|^2 - m^2)/(6K) + ...: at K = 1e30 it rounds to 1, so the two kinds agree to the
     * bit.
     */
    @Test
    void infiniteCurvatureRadiusIsLora() {
        Run hyplora = Run.random(shape(DType.F64, Kind.HYPLORA, 40, 4, 30), 20, 4);
        Run lora = Run.random(shape(DType.F64, Kind.LORA, 40, 4, 30), 20, 4);
        hyplora.curvature = 1e30;
        hyplora.call(Exec.CPU);
        lora.call(Exec.CPU);
        for (double g : hyplora.gain) {
            assertEquals(1, g, 0);
        }
        assertArrayEquals(lora.out, hyplora.out);
        assertClose("dx", hyplora.dx, lora.dx, 1e-15);
        assertClose("da", hyplora.da, lora.da, 1e-15);
        assertClose("db", hyplora.db, lora.db, 1e-15);
    }

    @Test
    void gradientsAreAddedAndOutputToo() {
        LowRankAdapter shape = shape(DType.F64, Kind.HYPLORA, 1, 1, 1);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment one = Buffers.of(arena, DType.F64, 1);
            MemorySegment two = Buffers.of(arena, DType.F64, 2);
            MemorySegment gram = Buffers.of(arena, DType.F64, 1);
            MemorySegment[] z = new MemorySegment[10];
            for (int i = 0; i < z.length; i++) {
                z[i] = Buffers.of(arena, DType.F64, 100);
            }
            // A = B = x = 1: the map is the identity, g = 1.
            LowRankAdapter.forward(
                    Exec.CPU, shape, 1, one, 1, one, one, gram, two, one, z[0], 1, z[1], z[2], z[3],
                    z[4]);
            MemorySegment w = arena.allocate(shape.workspaceBytes(Exec.CPU, 1));
            LowRankAdapter.backward(
                    Exec.CPU, shape, 1, one, 1, one, one, gram, two, one, one, 1, z[1], z[3], z[4],
                    z[5], 1, z[6], z[7], z[8], z[9], w);
            assertEquals(101.5, Buffers.get(z[0], DType.F64, 0), 1e-13);
            assertEquals(101.5, Buffers.get(z[5], DType.F64, 0), 1e-13);
            assertEquals(
                    100,
                    Buffers.get(z[8], DType.F64, 0),
                    1e-13); // K does not matter to the identity
            assertTrue(
                    Buffers.get(z[6], DType.F64, 0) > 100 && Buffers.get(z[7], DType.F64, 0) > 100);
            assertTrue(Buffers.get(z[9], DType.F64, 0) < 100);
        }
    }

    @Test
    void extremeTokensStayFinite() {
        for (DType dtype : new DType[] {DType.F32, DType.F64}) {
            for (double curvature : new double[] {1e-4, 0.5, 1e6}) {
                for (boolean zeroB : new boolean[] {false, true}) {
                    Run run = Run.random(shape(dtype, Kind.HYPLORA, 12, 3, 9), 8, 5);
                    run.curvature = curvature;
                    double[] sizes = {0, 1e-30, 1e-8, 1, 30, 100, 1000, 3000};
                    for (int i = 0; i < run.x.length; i++) {
                        run.x[i] *= sizes[i / 12];
                    }
                    if (zeroB) {
                        Arrays.fill(run.b, 0);
                    }
                    run.call(Exec.CPU);
                    for (double[] result : new double[][] {run.out, run.dx, run.gain, run.m}) {
                        for (double y : result) {
                            assertTrue(
                                    Double.isFinite(y),
                                    dtype + " K " + curvature + " B = 0: " + zeroB);
                        }
                    }
                    for (double[] result : new double[][] {run.da, run.db, {run.dK, run.ds}}) {
                        for (double y : result) {
                            assertTrue(
                                    !Double.isNaN(y),
                                    dtype + " K " + curvature + " B = 0: " + zeroB);
                        }
                    }
                }
            }
        }
    }

    /** For large t the length of the output is |x| + sqrt(K) log(m/|x|), s = 1. */
    @Test
    void largeNormsFollowTheirLimit() {
        Run run = Run.random(shape(DType.F64, Kind.HYPLORA, 12, 3, 9), 1, 6);
        for (int i = 0; i < run.x.length; i++) {
            run.x[i] *= 2000;
        }
        run.curvature = 0.5;
        run.call(Exec.CPU);
        double n = Buffers.norm(run.x);
        double want = 1.5 * (n + Math.sqrt(0.5) * Math.log(run.m[0] / n));
        assertEquals(want, Buffers.norm(run.out), 1e-13 * want);
    }

    @Test
    void nanStaysInItsRow() {
        Run clean = Run.random(shape(DType.F32, Kind.HYPLORA, 20, 3, 30), 70, 7).call(Exec.CPU);
        Run dirty = Run.random(clean.shape, 70, 7);
        dirty.x[66 * 20 + 3] = Double.NaN;
        dirty.dout[5 * 30] = Double.NaN;
        dirty.call(Exec.CPU);
        for (int t = 0; t < 70; t++) {
            assertEquals(t == 66, Double.isNaN(dirty.out[t * 30]));
            assertEquals(t == 66 || t == 5, Double.isNaN(dirty.dx[t * 20]));
            if (t != 66) {
                assertArrayEquals(
                        Arrays.copyOfRange(clean.out, t * 30, t * 30 + 30),
                        Arrays.copyOfRange(dirty.out, t * 30, t * 30 + 30));
            }
        }
    }

    @Test
    void threadsChangeNoBit() {
        for (int[] z : new int[][] {{200, 300, 8, 520}, {1, 64, 4, 1000}}) {
            Run one;
            try (Exec exec = Exec.cpu(1)) {
                one =
                        Run.random(shape(DType.F32, Kind.HYPLORA, z[1], z[2], z[3]), z[0], 8)
                                .call(exec);
            }
            for (int threads : new int[] {2, 3, 8}) {
                try (Exec exec = Exec.cpu(threads)) {
                    Run.random(one.shape, z[0], 8).call(exec).assertSameBits(one);
                }
            }
        }
    }

    @Test
    void noTokensIsNoWork() {
        Run run = Run.random(shape(DType.F32, Kind.HYPLORA, 4, 2, 3), 0, 9).call(Exec.CPU);
        assertArrayEquals(new double[8], run.da);
        assertEquals(0, run.dK);
    }

    @Test
    void badArgumentsAreNamed() {
        LowRankAdapter s = shape(DType.F32, Kind.HYPLORA, 4, 2, 3);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = Buffers.empty(arena, DType.F32, 8);
            MemorySegment a = Buffers.empty(arena, DType.F32, 8);
            MemorySegment b = Buffers.empty(arena, DType.F32, 6);
            MemorySegment out = Buffers.empty(arena, DType.F32, 6);
            MemorySegment p = Buffers.empty(arena, DType.F32, 4);
            MemorySegment gram = Buffers.empty(arena, DType.F64, 4);
            MemorySegment g = Buffers.empty(arena, DType.F64, 2);
            MemorySegment n = Buffers.empty(arena, DType.F64, 2);
            MemorySegment m = Buffers.empty(arena, DType.F64, 2);
            MemorySegment one = Buffers.of(arena, DType.F64, 1);
            MemorySegment zero = Buffers.of(arena, DType.F64, 0);
            MemorySegment minus = Buffers.of(arena, DType.F64, -1);
            MemorySegment w = arena.allocate(4);
            Exec cpu = Exec.CPU;
            assertNames(
                    "x",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 3, x, 4, a, b, gram, one, one, out, 3, p, g, n, m));
            assertNames(
                    "xStride",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 3, a, b, gram, one, one, out, 3, p, g, n, m));
            assertNames(
                    "a",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, b, b, gram, one, one, out, 3, p, g, n, m));
            assertNames(
                    "gram",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, a, b, null, one, one, out, 3, p, g, n, m));
            assertNames(
                    "curvature",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, a, b, gram, zero, one, out, 3, p, g, n, m));
            assertNames(
                    "s",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, a, b, gram, one, minus, out, 3, p, g, n, m));
            assertNames(
                    "out",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, a, b, gram, one, one, b, 3, p, g, n, m));
            assertNames(
                    "norm",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, a, b, gram, one, one, out, 3, p, g, w, m));
            assertNames(
                    "gain",
                    () ->
                            LowRankAdapter.forward(
                                    cpu, s, 2, x, 4, a, b, gram, one, one, out, 3, p, g, g, m));
            MemorySegment dx = Buffers.empty(arena, DType.F32, 8);
            MemorySegment da = Buffers.empty(arena, DType.F32, 8);
            MemorySegment db = Buffers.empty(arena, DType.F32, 6);
            assertNames(
                    "workspace",
                    () ->
                            LowRankAdapter.backward(
                                    cpu, s, 2, x, 4, a, b, gram, one, one, out, 3, p, n, m, dx, 4,
                                    da, db, null, null, w));
            assertNames(
                    "dx",
                    () ->
                            LowRankAdapter.backward(
                                    cpu, s, 2, x, 4, a, b, gram, one, one, out, 3, p, n, m, x, 4,
                                    da, db, null, null, w));
        }
        assertNames("r", () -> shape(DType.F32, Kind.LORA, 4, 0, 3));
        assertNames("dtype", () -> shape(DType.F16, Kind.LORA, 4, 1, 3));
    }

    private static void assertNames(
            String argument, org.junit.jupiter.api.function.Executable call) {
        String text = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(text.startsWith(argument + ":"), text);
    }

    @Test
    void goldenCases() throws IOException {
        StringBuilder failures = new StringBuilder();
        for (NnGolden c : NnGolden.cases("hyplora")) {
            LowRankAdapter shape =
                    new LowRankAdapter(
                            c.dtype(),
                            Kind.HYPLORA,
                            c.tensor("x").length / c.tensor("m").length,
                            c.size("r"),
                            c.size("k"),
                            c.parameter("scaling"));
            int tokens = c.tensor("m").length;
            Run run = new Run(shape, tokens);
            run.x = c.tensor("x");
            run.a = c.tensor("A");
            run.b = c.tensor("B");
            run.curvature = c.parameter("K");
            run.s = c.parameter("s");
            run.dout = new double[tokens * c.size("k")];
            double[] rows = c.tensor("vjp_rows");
            for (int i = 0; i < rows.length; i++) {
                System.arraycopy(
                        c.tensor("cot"),
                        i * c.size("k"),
                        run.dout,
                        (int) rows[i] * c.size("k"),
                        c.size("k"));
            }
            run.call(Exec.CPU);
            double tolerance = c.tolerance();
            int k = c.size("k");
            check(failures, c, "out", run.out, c.tensor("out"), c.tensor("sens_out"), k, tolerance);
            check(failures, c, "gain", run.gain, c.tensor("gain"), null, 1, tolerance);
            check(failures, c, "m", run.m, c.tensor("m"), null, 1, tolerance);
            double[] dx = new double[rows.length * (int) shape.d()];
            for (int i = 0; i < rows.length; i++) {
                System.arraycopy(
                        run.dx,
                        (int) rows[i] * (int) shape.d(),
                        dx,
                        i * (int) shape.d(),
                        (int) shape.d());
            }
            check(
                    failures,
                    c,
                    "g_x",
                    dx,
                    c.tensor("g_x"),
                    c.tensor("sens_g_x"),
                    (int) shape.d(),
                    tolerance);
            check(
                    failures,
                    c,
                    "g_A",
                    run.da,
                    c.tensor("g_A"),
                    c.tensor("sens_g_A"),
                    run.da.length,
                    tolerance);
            check(
                    failures,
                    c,
                    "g_B",
                    run.db,
                    c.tensor("g_B"),
                    c.tensor("sens_g_B"),
                    run.db.length,
                    tolerance);
            check(
                    failures,
                    c,
                    "g_K",
                    new double[] {run.dK},
                    c.tensor("g_K"),
                    c.tensor("sens_g_K"),
                    1,
                    tolerance);
            check(
                    failures,
                    c,
                    "g_s",
                    new double[] {run.ds},
                    c.tensor("g_s"),
                    c.tensor("sens_g_s"),
                    1,
                    tolerance);
        }
        assertEquals("", failures.toString());
    }

    /** Tier A of the golden set, row by row: |got - want| <= k eps (|want| + sens). */
    private static void check(
            StringBuilder failures,
            NnGolden c,
            String name,
            double[] got,
            double[] want,
            double[] sens,
            int width,
            double tolerance) {
        for (int i = 0; i * width < want.length; i++) {
            double[] g = Arrays.copyOfRange(got, i * width, (i + 1) * width);
            double[] w = Arrays.copyOfRange(want, i * width, (i + 1) * width);
            double error = Buffers.distance(g, w);
            double allowed = tolerance * (Buffers.norm(w) + (sens == null ? 0 : sens[i]));
            if (!(error <= allowed)) {
                failures.append(c.id())
                        .append(' ')
                        .append(name)
                        .append(" row ")
                        .append(i)
                        .append(": error ");
                failures.append(error)
                        .append(", allowed ")
                        .append(allowed)
                        .append(", norm ")
                        .append(Buffers.norm(w));
                failures.append('\n');
            }
        }
    }
}
