package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class AttentionTest {
    /** Inputs and results of one call, head-major or token-major as the shape says. */
    private static final class Run {
        double[] q;
        double[] k;
        double[] v;
        double[] alpha;
        double[] lengths;
        double[] dout;
        double[] out;
        double[] lse;
        double[] dq;
        double[] dk;
        double[] dv;
        double[] dalpha;

        static Run random(Attention s, boolean mixed, long seed) {
            Random random = new Random(seed);
            Run run = new Run();
            run.q = Buffers.random(random, s.batch() * s.heads() * s.qLen() * s.headDim(), 2);
            run.k = Buffers.random(random, s.batch() * s.kvHeads() * s.kvLen() * s.headDim(), 2);
            run.v = Buffers.random(random, run.k.length, 1);
            run.dout = Buffers.random(random, run.q.length, 1);
            run.alpha = mixed ? Buffers.random(random, s.heads() * s.heads(), 0.5) : null;
            return run;
        }

        Run forward(Exec exec, Attention s) {
            return call(exec, s, false);
        }

        Run forwardAndBackward(Exec exec, Attention s) {
            return call(exec, s, true);
        }

        private Run call(Exec exec, Attention s, boolean backward) {
            DType t = s.dtype();
            DType scalar = s.scalarType();
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment qs = Buffers.of(arena, t, q);
                MemorySegment ks = Buffers.of(arena, t, k);
                MemorySegment vs = Buffers.of(arena, t, v);
                MemorySegment as = alpha == null ? null : Buffers.of(arena, scalar, alpha);
                MemorySegment ls = lengths == null ? null : Buffers.ints(arena, lengths);
                MemorySegment os = Buffers.empty(arena, t, q.length);
                MemorySegment es = Buffers.empty(arena, scalar, s.batch() * s.heads() * s.qLen());
                os.fill((byte) 0x7f);
                Attention.forward(
                        exec, s, qs, ks, vs, as, ls, os, es, workspace(arena, exec, s, false));
                out = Buffers.read(os, t);
                lse = Buffers.read(es, scalar);
                if (backward) {
                    MemorySegment ds = Buffers.of(arena, t, dout);
                    MemorySegment dqs = Buffers.empty(arena, t, q.length);
                    MemorySegment dks = Buffers.empty(arena, t, k.length);
                    MemorySegment dvs = Buffers.empty(arena, t, v.length);
                    dqs.fill((byte) 0x7f);
                    dks.fill((byte) 0x7f);
                    dvs.fill((byte) 0x7f);
                    MemorySegment das =
                            as == null ? null : Buffers.empty(arena, scalar, alpha.length);
                    Attention.backward(
                            exec,
                            s,
                            qs,
                            ks,
                            vs,
                            as,
                            ls,
                            es,
                            ds,
                            dqs,
                            dks,
                            dvs,
                            das,
                            workspace(arena, exec, s, true));
                    dq = Buffers.read(dqs, t);
                    dk = Buffers.read(dks, t);
                    dv = Buffers.read(dvs, t);
                    dalpha = das == null ? null : Buffers.read(das, scalar);
                }
            }
            return this;
        }

        private MemorySegment workspace(Arena arena, Exec exec, Attention s, boolean backward) {
            MemorySegment w =
                    arena.allocate(s.workspaceBytes(exec, alpha != null, backward) + 1, 64)
                            .asSlice(1);
            w.fill((byte) 0x7f);
            return w;
        }

        void assertSameBits(Run other) {
            assertArrayEquals(other.out, out);
            assertArrayEquals(other.lse, lse);
            assertArrayEquals(other.dq, dq);
            assertArrayEquals(other.dk, dk);
            assertArrayEquals(other.dv, dv);
        }
    }

    private static Attention headMajor(
            DType dtype,
            int batch,
            int heads,
            int kvHeads,
            int qLen,
            int kvLen,
            int dim,
            boolean causal) {
        Attention.Strides query = Attention.Strides.headMajor(qLen, heads, dim);
        Attention.Strides key = Attention.Strides.headMajor(kvLen, kvHeads, dim);
        return new Attention(
                dtype,
                batch,
                heads,
                kvHeads,
                qLen,
                kvLen,
                dim,
                query,
                key,
                key,
                query,
                1 / Math.sqrt(dim),
                causal);
    }

    /** The definition, in float64, one number after another; head-major. */
    private static Run reference(Attention s, Run in) {
        int heads = (int) s.heads();
        int n = (int) s.qLen();
        int m = (int) s.kvLen();
        int d = (int) s.headDim();
        int group = (int) (s.heads() / s.kvHeads());
        Run r = new Run();
        r.out = new double[in.q.length];
        r.lse = new double[(int) s.batch() * heads * n];
        r.dq = new double[in.q.length];
        r.dk = new double[in.k.length];
        r.dv = new double[in.v.length];
        r.dalpha = new double[heads * heads];
        for (int b = 0; b < s.batch(); b++) {
            for (int row = 0; row < n; row++) {
                int seen = s.causal() ? Math.max(0, Math.min(m, row + 1 + m - n)) : m;
                if (in.lengths != null) {
                    seen = Math.min(seen, (int) in.lengths[b]);
                }
                double[][] p = new double[heads][seen];
                double[][] g = new double[heads][seen];
                for (int h = 0; h < heads; h++) {
                    int q = ((b * heads + h) * n + row) * d;
                    int kv = (b * (int) s.kvHeads() + h / group) * m * d;
                    double top = Double.NEGATIVE_INFINITY;
                    for (int j = 0; j < seen; j++) {
                        for (int e = 0; e < d; e++) {
                            p[h][j] += s.scale() * in.q[q + e] * in.k[kv + j * d + e];
                            g[h][j] += in.dout[q + e] * in.v[kv + j * d + e];
                        }
                        top = Math.max(top, p[h][j]);
                    }
                    double total = 0;
                    for (int j = 0; j < seen; j++) {
                        p[h][j] = Math.exp(p[h][j] - top);
                        total += p[h][j];
                    }
                    for (int j = 0; j < seen; j++) {
                        p[h][j] /= total;
                    }
                    r.lse[(b * heads + h) * n + row] =
                            seen == 0 ? Double.NEGATIVE_INFINITY : top + Math.log(total);
                }
                for (int h = 0; h < heads; h++) {
                    int q = ((b * heads + h) * n + row) * d;
                    int kv = (b * (int) s.kvHeads() + h / group) * m * d;
                    double[] gradient = new double[seen];
                    double delta = 0;
                    for (int j = 0; j < seen; j++) {
                        double mixed = 0;
                        for (int i = 0; i < heads; i++) {
                            double forward =
                                    (in.alpha == null ? 0 : in.alpha[h * heads + i])
                                            + (i == h ? 1 : 0);
                            double back =
                                    (in.alpha == null ? 0 : in.alpha[i * heads + h])
                                            + (i == h ? 1 : 0);
                            mixed += forward * p[i][j];
                            gradient[j] += back * g[i][j];
                            r.dalpha[h * heads + i] += g[h][j] * p[i][j];
                        }
                        delta += p[h][j] * gradient[j];
                        for (int e = 0; e < d; e++) {
                            r.out[q + e] += mixed * in.v[kv + j * d + e];
                            r.dv[kv + j * d + e] += mixed * in.dout[q + e];
                        }
                    }
                    for (int j = 0; j < seen; j++) {
                        double ds = s.scale() * p[h][j] * (gradient[j] - delta);
                        for (int e = 0; e < d; e++) {
                            r.dq[q + e] += ds * in.k[kv + j * d + e];
                            r.dk[kv + j * d + e] += ds * in.q[q + e];
                        }
                    }
                }
            }
        }
        return r;
    }

    private static void assertClose(String what, double[] got, double[] want, double tolerance) {
        double error = Buffers.distance(got, want);
        double allowed = tolerance * Buffers.norm(want) + (tolerance < 1e-10 ? 1e-300 : 1e-30);
        assertTrue(error <= allowed, what + ": error " + error + ", allowed " + allowed);
    }

    private static void assertClose(String what, Run got, Run want, double tolerance) {
        for (int i = 0; i < want.lse.length; i++) {
            assertTrue(
                    got.lse[i] == want.lse[i]
                            || Math.abs(got.lse[i] - want.lse[i])
                                    <= tolerance * (1 + Math.abs(want.lse[i])),
                    what + " lse");
        }
        assertClose(what + " out", got.out, want.out, tolerance);
        assertClose(what + " dq", got.dq, want.dq, tolerance);
        assertClose(what + " dk", got.dk, want.dk, tolerance);
        assertClose(what + " dv", got.dv, want.dv, tolerance);
        if (got.dalpha != null) {
            assertClose(what + " dalpha", got.dalpha, want.dalpha, tolerance);
        }
    }

    @Test
    void equalsTheDefinitionAtAwkwardShapes() {
        int[][] shapes = {
            // batch, heads, kvHeads, qLen, kvLen, dim
            {1, 1, 1, 1, 1, 1},
            {2, 3, 3, 1, 7, 5},
            {1, 4, 2, 3, 19, 33},
            {2, 2, 1, 9, 9, 1},
            {1, 6, 2, 13, 40, 17},
            {3, 5, 5, 17, 17, 8},
            {1, 2, 2, 67, 131, 16},
            {1, 25, 25, 6, 9, 4},
            {1, 3, 1, 8, 5, 7},
            {1, 2, 2, 100, 300, 64},
        };
        for (int[] z : shapes) {
            for (DType dtype : new DType[] {DType.F64, DType.F32}) {
                for (int variant = 0; variant < 8; variant++) {
                    Attention s =
                            headMajor(
                                    dtype, z[0], z[1], z[2], z[3], z[4], z[5], (variant & 1) != 0);
                    Run run = Run.random(s, (variant & 2) != 0, variant);
                    if ((variant & 4) != 0) {
                        run.lengths = new double[z[0]];
                        for (int b = 0; b < z[0]; b++) {
                            run.lengths[b] = (z[4] * (b + 1)) / (z[0] + 1.0);
                            run.lengths[b] = Math.floor(run.lengths[b]);
                        }
                    }
                    run.forwardAndBackward(Exec.CPU, s);
                    String what = Arrays.toString(z) + " " + dtype + " variant " + variant;
                    assertClose(what, run, reference(s, run), dtype == DType.F32 ? 3e-6 : 1e-14);
                }
            }
        }
    }

    /** Inputs on the 16-bit grid, so what is left is the rounding of each result and float32's. */
    @Test
    void sixteenBitsEqualTheDefinitionRounded() {
        for (DType t : new DType[] {DType.BF16, DType.F16}) {
            for (int qLen : new int[] {2, 21}) { // a few rows of a cache, and a block
                Attention s = headMajor(t, 2, 6, 2, qLen, 37, 20, true);
                Run in = Run.random(s, true, 5 + qLen);
                for (double[] x : new double[][] {in.q, in.k, in.v, in.dout}) {
                    try (Arena arena = Arena.ofConfined()) {
                        MemorySegment stored = Buffers.of(arena, t, x);
                        System.arraycopy(Buffers.read(stored, t), 0, x, 0, x.length);
                    }
                }
                Run want = reference(s, in);
                assertClose(
                        t + " " + qLen,
                        in.forwardAndBackward(Exec.CPU, s),
                        want,
                        t.unitRoundoff() + 2e-6);
                assertClose("lse", in.lse, want.lse, 1e-6);
                assertClose("dalpha", in.dalpha, want.dalpha, 2e-6);
            }
        }
    }

    @Test
    void referenceEqualsFiniteDifferences() {
        Attention s = headMajor(DType.F64, 1, 3, 3, 4, 6, 5, true);
        Run run = Run.random(s, true, 1);
        Run want = reference(s, run);
        double[][] inputs = {run.q, run.k, run.v, run.alpha};
        double[][] gradients = {want.dq, want.dk, want.dv, want.dalpha};
        double h = 1e-6;
        for (int x = 0; x < inputs.length; x++) {
            for (int i = 0; i < inputs[x].length; i++) {
                double at = inputs[x][i];
                inputs[x][i] = at + h;
                double above = loss(reference(s, run).out, run.dout);
                inputs[x][i] = at - h;
                double below = loss(reference(s, run).out, run.dout);
                inputs[x][i] = at;
                assertEquals((above - below) / (2 * h), gradients[x][i], 1e-8);
            }
        }
    }

    private static double loss(double[] out, double[] dout) {
        double sum = 0;
        for (int i = 0; i < out.length; i++) {
            sum += out[i] * dout[i];
        }
        return sum;
    }

    @Test
    void zeroAlphaChangesNoBit() {
        for (int rows : new int[] {1, 5, 50}) {
            Attention s = headMajor(DType.F32, 2, 6, 3, rows, 77, 24, true);
            Run plain = Run.random(s, false, 3).forwardAndBackward(Exec.CPU, s);
            Run zero = Run.random(s, false, 3);
            zero.alpha = new double[36];
            zero.forwardAndBackward(Exec.CPU, s).assertSameBits(plain);
        }
    }

    @Test
    void permutationAlphaTakesTheOtherHeadsMaps() {
        int heads = 4;
        Attention s = headMajor(DType.F64, 1, heads, heads, 9, 14, 6, false);
        Run run = Run.random(s, true, 4);
        Run permuted = Run.random(s, false, 4);
        int part = run.q.length / heads;
        int keys = run.k.length / heads;
        for (int h = 0; h < heads; h++) {
            int from = (h + 1) % heads;
            for (int i = 0; i < heads; i++) {
                run.alpha[h * heads + i] = (i == from ? 1 : 0) - (i == h ? 1 : 0);
            }
            System.arraycopy(run.q, from * part, permuted.q, h * part, part);
            System.arraycopy(run.k, from * keys, permuted.k, h * keys, keys);
        }
        run.forward(Exec.CPU, s);
        permuted.forward(Exec.CPU, s);
        assertClose("permuted", run.out, permuted.out, 1e-14);
    }

    @Test
    void threadsChangeNoBit() {
        int[][] shapes = {{2, 4, 2, 70, 70, 16}, {1, 8, 8, 3, 200, 16}, {3, 2, 2, 130, 260, 8}};
        for (int[] z : shapes) {
            Attention s = headMajor(DType.F32, z[0], z[1], z[2], z[3], z[4], z[5], true);
            Run one;
            try (Exec exec = Exec.cpu(1)) {
                one = Run.random(s, true, 5).forwardAndBackward(exec, s);
            }
            for (int threads : new int[] {2, 3, 8}) {
                try (Exec exec = Exec.cpu(threads)) {
                    Run run = Run.random(s, true, 5).forwardAndBackward(exec, s);
                    run.assertSameBits(one);
                    assertArrayEquals(one.dalpha, run.dalpha);
                }
            }
        }
    }

    @Test
    void tokenMajorEqualsHeadMajorToTheBit() {
        int batch = 2;
        int heads = 3;
        int tokens = 21;
        int dim = 11;
        Attention headMajor = headMajor(DType.F32, batch, heads, heads, tokens, tokens, dim, true);
        Attention tokenMajor =
                Attention.tokenMajor(DType.F32, batch, heads, heads, tokens, tokens, dim, true);
        Run a = Run.random(headMajor, true, 6).forwardAndBackward(Exec.CPU, headMajor);
        Run b = Run.random(headMajor, true, 6);
        b.q = toTokenMajor(b.q, batch, heads, tokens, dim);
        b.k = toTokenMajor(b.k, batch, heads, tokens, dim);
        b.v = toTokenMajor(b.v, batch, heads, tokens, dim);
        b.dout = toTokenMajor(b.dout, batch, heads, tokens, dim);
        b.forwardAndBackward(Exec.CPU, tokenMajor);
        assertArrayEquals(toTokenMajor(a.out, batch, heads, tokens, dim), b.out);
        assertArrayEquals(toTokenMajor(a.dq, batch, heads, tokens, dim), b.dq);
        assertArrayEquals(toTokenMajor(a.dk, batch, heads, tokens, dim), b.dk);
        assertArrayEquals(toTokenMajor(a.dv, batch, heads, tokens, dim), b.dv);
        assertArrayEquals(a.dalpha, b.dalpha);
    }

    private static double[] toTokenMajor(double[] x, int batch, int heads, int tokens, int dim) {
        double[] out = new double[x.length];
        for (int b = 0; b < batch; b++) {
            for (int h = 0; h < heads; h++) {
                for (int t = 0; t < tokens; t++) {
                    System.arraycopy(
                            x,
                            ((b * heads + h) * tokens + t) * dim,
                            out,
                            ((b * tokens + t) * heads + h) * dim,
                            dim);
                }
            }
        }
        return out;
    }

    @Test
    void cachedDecodingEqualsTheWholeSequence() {
        int tokens = 30;
        Attention whole = headMajor(DType.F64, 1, 4, 2, tokens, tokens, 8, true);
        Run all = Run.random(whole, true, 7).forward(Exec.CPU, whole);
        for (int rows : new int[] {1, 2, 7}) {
            Attention step =
                    new Attention(
                            DType.F64,
                            1,
                            4,
                            2,
                            rows,
                            tokens,
                            8,
                            Attention.Strides.headMajor(rows, 4, 8),
                            whole.k(),
                            whole.v(),
                            Attention.Strides.headMajor(rows, 4, 8),
                            whole.scale(),
                            true);
            Run last = Run.random(whole, true, 7);
            last.q = lastRows(last.q, 4, tokens, rows, 8);
            last.forward(Exec.CPU, step);
            assertClose("decode " + rows, last.out, lastRows(all.out, 4, tokens, rows, 8), 1e-14);
        }
    }

    private static double[] lastRows(double[] x, int heads, int tokens, int rows, int dim) {
        double[] out = new double[heads * rows * dim];
        for (int h = 0; h < heads; h++) {
            System.arraycopy(x, ((h + 1) * tokens - rows) * dim, out, h * rows * dim, rows * dim);
        }
        return out;
    }

    @Test
    void nanStaysWhereItIsSeen() {
        for (boolean mixed : new boolean[] {false, true}) {
            Attention s = headMajor(DType.F32, 2, 3, 3, 40, 40, 16, true);
            Run clean = Run.random(s, mixed, 8).forward(Exec.CPU, s);
            Run dirty = Run.random(s, mixed, 8);
            int row = 16;
            Arrays.fill(dirty.q, row * 16, row * 16 + 16, Double.NaN); // sequence 0, head 0, row 16
            dirty.v[(40 + 25) * 16] = Double.NaN; // sequence 0, head 1, key 25
            dirty.forward(Exec.CPU, s);
            for (int i = 0; i < clean.out.length; i++) {
                int sequence = i / (3 * 40 * 16);
                int head = i / (40 * 16) % 3;
                int at = i / 16 % 40;
                boolean reached =
                        sequence == 0
                                && (at == row && (mixed || head == 0)
                                        || head == 1 && at >= 25 && i % 16 == 0);
                assertEquals(reached, Double.isNaN(dirty.out[i]), "element " + i);
                if (!reached) {
                    assertEquals(clean.out[i], dirty.out[i]);
                }
            }
        }
    }

    @Test
    void keysBeyondTheLengthAreNotRead() {
        Attention s = headMajor(DType.F32, 1, 2, 2, 20, 20, 8, false);
        Run run = Run.random(s, true, 9);
        run.lengths = new double[] {13};
        Run clean = Run.random(s, true, 9);
        clean.lengths = run.lengths;
        for (int h = 0; h < 2; h++) {
            Arrays.fill(run.k, (h * 20 + 13) * 8, (h + 1) * 20 * 8, Double.NaN);
            Arrays.fill(run.v, (h * 20 + 13) * 8, (h + 1) * 20 * 8, Double.NaN);
        }
        clean.forwardAndBackward(Exec.CPU, s).assertSameBits(run.forwardAndBackward(Exec.CPU, s));
        for (double x : run.dk) {
            assertFalse(Double.isNaN(x));
        }
    }

    @Test
    void emptyCallsSucceed() {
        for (int[] z :
                new int[][] {
                    {0, 2, 2, 3, 3, 4}, {1, 2, 2, 0, 3, 4}, {1, 2, 2, 3, 0, 4}, {1, 2, 2, 9, 0, 4}
                }) {
            Attention s = headMajor(DType.F32, z[0], z[1], z[2], z[3], z[4], z[5], true);
            Run run = Run.random(s, true, 1).forwardAndBackward(Exec.CPU, s);
            for (double[] result : new double[][] {run.out, run.dq, run.dk, run.dv, run.dalpha}) {
                for (double x : result) {
                    assertEquals(0, x);
                }
            }
            for (double x : run.lse) {
                assertEquals(Double.NEGATIVE_INFINITY, x);
            }
        }
    }

    @Test
    void badArgumentsAreNamed() {
        Attention s = headMajor(DType.F32, 1, 2, 2, 3, 3, 4, false);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = Buffers.empty(arena, DType.F32, 24);
            MemorySegment y = Buffers.empty(arena, DType.F32, 24);
            MemorySegment w = arena.allocate(s.workspaceBytes(Exec.CPU, true, true), 64);
            MemorySegment small = arena.allocate(8);
            MemorySegment heap = MemorySegment.ofArray(new float[24]);
            assertNames(
                    "q", () -> Attention.forward(Exec.CPU, s, small, x, x, null, null, y, null, w));
            assertNames(
                    "k", () -> Attention.forward(Exec.CPU, s, x, heap, x, null, null, y, null, w));
            assertNames(
                    "v", () -> Attention.forward(Exec.CPU, s, x, x, null, null, null, y, null, w));
            assertNames(
                    "alpha",
                    () -> Attention.forward(Exec.CPU, s, x, x, x, small, null, y, null, w));
            assertNames(
                    "out", () -> Attention.forward(Exec.CPU, s, x, x, x, null, null, x, null, w));
            assertNames(
                    "out",
                    () ->
                            Attention.forward(
                                    Exec.CPU, s, x, x, x, null, null, y.asReadOnly(), null, w));
            assertNames(
                    "workspace",
                    () -> Attention.forward(Exec.CPU, s, x, x, x, null, null, y, null, small));
            MemorySegment lengths = Buffers.ints(arena, new double[] {4});
            assertNames(
                    "lengths",
                    () -> Attention.forward(Exec.CPU, s, x, x, x, null, lengths, y, null, w));
            MemorySegment odd = arena.allocate(200, 64).asSlice(1);
            assertNames(
                    "q", () -> Attention.forward(Exec.CPU, s, odd, x, x, null, null, y, null, w));
            MemorySegment lse = Buffers.empty(arena, DType.F32, 6);
            MemorySegment alpha = Buffers.empty(arena, DType.F32, 4);
            assertNames(
                    "dalpha",
                    () ->
                            Attention.backward(
                                    Exec.CPU, s, x, x, x, alpha, null, lse, x, y, y, y, null, w));
        }
        assertNames("kvHeads", () -> Attention.tokenMajor(DType.F32, 1, 3, 2, 1, 1, 1, false));
        assertNames("dtype", () -> Attention.tokenMajor(null, 1, 2, 2, 1, 1, 1, false));
        Attention half = headMajor(DType.BF16, 1, 2, 2, 3, 3, 4, false);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = Buffers.empty(arena, DType.BF16, 24);
            MemorySegment y = Buffers.empty(arena, DType.BF16, 24);
            MemorySegment w = arena.allocate(half.workspaceBytes(Exec.CPU, true, false), 64);
            MemorySegment alpha = Buffers.empty(arena, DType.BF16, 4); // float32 is expected
            MemorySegment lse = Buffers.empty(arena, DType.BF16, 6);
            assertNames(
                    "alpha",
                    () -> Attention.forward(Exec.CPU, half, x, x, x, alpha, null, y, null, w));
            assertNames(
                    "lse", () -> Attention.forward(Exec.CPU, half, x, x, x, null, null, y, lse, w));
        }
        try (Arena arena = Arena.ofConfined()) {
            Arena closed = Arena.ofConfined();
            MemorySegment gone = Buffers.empty(closed, DType.F32, 24);
            closed.close();
            MemorySegment x = Buffers.empty(arena, DType.F32, 24);
            MemorySegment y = Buffers.empty(arena, DType.F32, 24);
            MemorySegment w = arena.allocate(s.workspaceBytes(Exec.CPU, false, false), 64);
            assertThrows(
                    IllegalStateException.class,
                    () -> Attention.forward(Exec.CPU, s, gone, x, x, null, null, y, null, w));
        }
    }

    private static void assertNames(
            String argument, org.junit.jupiter.api.function.Executable call) {
        String text = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(text.startsWith(argument), text);
    }

    @Test
    void goldenCases() throws IOException {
        for (NnGolden c : NnGolden.cases("mixed_attention")) {
            int tokens = c.size("N");
            Attention s =
                    new Attention(
                            c.dtype(),
                            c.size("B"),
                            c.size("H"),
                            c.size("Hkv"),
                            tokens,
                            tokens,
                            c.size("D"),
                            Attention.Strides.headMajor(tokens, c.size("H"), c.size("D")),
                            Attention.Strides.headMajor(tokens, c.size("Hkv"), c.size("D")),
                            Attention.Strides.headMajor(tokens, c.size("Hkv"), c.size("D")),
                            Attention.Strides.headMajor(tokens, c.size("H"), c.size("D")),
                            c.parameter("scale"),
                            c.flag("causal"));
            Run run = new Run();
            run.q = c.tensor("q");
            run.k = c.tensor("k");
            run.v = c.tensor("v");
            run.alpha = c.tensor("alpha");
            for (int h = 0; h < s.heads(); h++) {
                run.alpha[h * (int) s.heads() + h] -=
                        1; // the file's coefficients hold the identity
            }
            run.lengths = c.tensor("lengths");
            run.dout = c.tensor("cot");
            run.forwardAndBackward(Exec.CPU, s);
            assertClose(c.id() + " out", at(c, run.out), c.tensor("out"), c.tolerance());
            assertClose(c.id() + " lse", run.lse, c.tensor("lse"), c.tolerance());
            assertClose(c.id() + " g_q", at(c, run.dq), c.tensor("g_q"), c.tolerance());
            assertClose(c.id() + " g_k", at(c, run.dk), c.tensor("g_k"), c.tolerance());
            assertClose(c.id() + " g_v", at(c, run.dv), c.tensor("g_v"), c.tolerance());
            assertClose(c.id() + " g_alpha", run.dalpha, c.tensor("g_alpha"), c.tolerance());
        }
    }

    /** The listed sequence positions of a head-major tensor, or all of it. */
    private static double[] at(NnGolden c, double[] x) {
        double[] positions = c.tensor("positions");
        if (positions == null) {
            return x;
        }
        int tokens = c.size("N");
        int dim = c.size("D");
        int planes = x.length / (tokens * dim);
        double[] out = new double[planes * positions.length * dim];
        for (int plane = 0; plane < planes; plane++) {
            for (int i = 0; i < positions.length; i++) {
                System.arraycopy(
                        x,
                        (plane * tokens + (int) positions[i]) * dim,
                        out,
                        (plane * positions.length + i) * dim,
                        dim);
            }
        }
        return out;
    }
}
