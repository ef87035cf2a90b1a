package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class PoincareBallTest {
    private static final PoincareBall BALL = new PoincareBall(2.0);

    private static void refused(String argument, Executable call) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(message.startsWith(argument + ":"), message);
    }

    /** Numbers from mpmath, 50 digits, at the exact float inputs. */
    @Test
    void knownValues() {
        float[] x = {0.5f, 0.25f};
        float[] y = {-0.125f, 0.375f};
        float[] out = new float[2];
        BALL.mobius_add(2, x, y, out);
        assertArrayEquals(new float[] {0.508875739644f, 0.378698224852f}, out, 0);
        float[] d = new float[1];
        BALL.dist(2, x, y, d);
        assertArrayEquals(new float[] {1.892723913184f}, d, 0);
    }

    /** The numbers of {@link #knownValues}, exact in both types as inputs, rounded to them. */
    @Test
    void sixteenBits() {
        short[][] want = {{0x3F02, 0x3EC2}, {0x3812, 0x360F}};
        DType[] types = {DType.BF16, DType.F16};
        for (int t = 0; t < 2; t++) {
            boolean bf16 = types[t] == DType.BF16;
            MemorySegment x =
                    MemorySegment.ofArray(
                            bf16 ? new short[] {0x3F00, 0x3E80} : new short[] {0x3800, 0x3400});
            MemorySegment y =
                    MemorySegment.ofArray(
                            bf16
                                    ? new short[] {(short) 0xBE00, 0x3EC0}
                                    : new short[] {(short) 0xB000, 0x3600});
            short[] out = new short[2];
            BALL.mobius_add(types[t], 1, 2, x, y, MemorySegment.ofArray(out));
            assertArrayEquals(want[t], out);
        }
        short[] on = {0x3F80, 0};
        new PoincareBall(1)
                .projx(DType.BF16, 1, 2, MemorySegment.ofArray(on), MemorySegment.ofArray(on));
        assertEquals(0x3F78, on[0]); // 1 - 2^-5
    }

    @Test
    void mapsInvertEachOther() {
        Random random = new Random(1);
        int dim = 7;
        int rows = 50;
        double[] x = new double[rows * dim];
        double[] y = new double[rows * dim];
        for (int i = 0; i < x.length; i++) {
            x[i] = 0.4 * random.nextDouble() - 0.2;
            y[i] = 0.4 * random.nextDouble() - 0.2;
        }
        double[] v = new double[rows * dim];
        double[] back = new double[rows * dim];
        BALL.logmap(dim, x, y, v);
        BALL.expmap(dim, x, v, back);
        assertArrayEquals(y, back, 1e-14);
        BALL.logmap0(dim, y, v);
        BALL.expmap0(dim, v, back);
        assertArrayEquals(y, back, 1e-15);
    }

    @Test
    void gradientsMatchDifferences() {
        double[] x = {0.2, -0.1, 0.3};
        double[] v = {0.5, 0.25, -0.75};
        double[] g = {1, -2, 0.5};
        double[] gx = new double[3];
        double[] gv = new double[3];
        double[] gc = new double[1];
        BALL.expmap_vjp(3, x, v, g, gx, gv, gc);
        double h = 1e-6;
        for (int i = 0; i < 3; i++) {
            double[] up = x.clone();
            double[] down = x.clone();
            up[i] += h;
            down[i] -= h;
            double slope = (dot(g, exp(2, up, v)) - dot(g, exp(2, down, v))) / (2 * h);
            assertEquals(slope, gx[i], 1e-8);
        }
        double byC = (dot(g, exp(2 + h, x, v)) - dot(g, exp(2 - h, x, v))) / (2 * h);
        assertEquals(byC, gc[0], 1e-8);
        double[] only = new double[3];
        BALL.expmap_vjp(3, x, v, g, null, only, null);
        assertArrayEquals(gv, only);
    }

    private static double[] exp(double c, double[] x, double[] v) {
        double[] out = new double[3];
        new PoincareBall(c).expmap(3, x, v, out);
        return out;
    }

    private static double dot(double[] a, double[] b) {
        return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    }

    /** One row for all, in place, native memory, strides, many pieces: all the same bits. */
    @Test
    void layoutsAgree() {
        int dim = 37;
        int rows = 5000; // more than one piece of heap
        Random random = new Random(2);
        float[] x = new float[rows * dim];
        float[] y = new float[dim];
        for (int i = 0; i < x.length; i++) {
            x[i] = 0.2f * random.nextFloat() - 0.1f;
        }
        for (int i = 0; i < dim; i++) {
            y[i] = 0.2f * random.nextFloat() - 0.1f;
        }
        float[] expected = new float[rows * dim];
        BALL.mobius_add(dim, x, y, expected);
        float[] inPlace = x.clone();
        BALL.mobius_add(dim, inPlace, y, inPlace);
        assertArrayEquals(expected, inPlace);
        try (Arena arena = Arena.ofConfined();
                Exec two = Exec.cpu(2)) {
            int stride = dim + 3;
            MemorySegment in = arena.allocate(4L * rows * stride, 4);
            MemorySegment point = arena.allocateFrom(ValueLayout.JAVA_FLOAT, y);
            MemorySegment out = arena.allocate(4L * rows * dim, 4);
            for (int r = 0; r < rows; r++) {
                MemorySegment.copy(x, r * dim, in, ValueLayout.JAVA_FLOAT, 4L * r * stride, dim);
            }
            RowOp.named("poincare.mobius_add")
                    .run(
                            two,
                            DType.F32,
                            rows,
                            dim,
                            new MemorySegment[] {in, point},
                            new long[] {stride, 0},
                            new MemorySegment[] {out},
                            null,
                            new double[] {2.0});
            assertArrayEquals(expected, out.toArray(ValueLayout.JAVA_FLOAT));
        }
    }

    @Test
    void badArgumentsAreNamed() {
        float[] a = new float[6];
        float[] b = new float[6];
        refused("c", () -> new PoincareBall(0));
        refused("c", () -> new PoincareBall(Double.NaN));
        refused("c", () -> new PoincareBall(Double.POSITIVE_INFINITY));
        refused("exec", () -> new PoincareBall(1, null));
        refused("dim", () -> BALL.mobius_add(0, a, b, a));
        refused("out", () -> BALL.mobius_add(4, a, b, a));
        refused("x", () -> BALL.mobius_add(3, new float[4], b, a));
        refused("y", () -> BALL.mobius_add(3, a, null, a));
        refused("out", () -> BALL.mobius_add(3, a, b, null));
        refused("x", () -> BALL.dist(3, a, b, new float[3]));
        refused("g_c", () -> BALL.dist_vjp(3, a, b, new float[2], a, b, new float[3]));
        refused("g_x", () -> BALL.dist_vjp(3, a, b, new float[2], null, null, null));
        refused("name", () -> RowOp.named("poincare.nothing"));
        refused("name", () -> RowOp.named(null));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment s = arena.allocate(24, 8);
            MemorySegment small = arena.allocate(20, 8);
            refused("dtype", () -> BALL.expmap0(null, 2, 3, s, s));
            refused("rows", () -> BALL.expmap0(DType.F32, -1, 3, s, s));
            refused("dim", () -> BALL.expmap0(DType.F32, 2, 0, s, s));
            refused("v", () -> BALL.expmap0(DType.F32, 2, 3, small, s));
            refused("v", () -> BALL.expmap0(DType.F64, 2, 3, s, s));
            refused("v", () -> BALL.expmap0(DType.F32, Long.MAX_VALUE, 3, s, s));
            refused("v", () -> BALL.expmap0(DType.F32, 2, Long.MAX_VALUE, s, s));
            refused("out", () -> BALL.expmap0(DType.F32, 2, 3, s, s.asReadOnly()));
            refused("out", () -> BALL.expmap0(DType.F32, 1, 3, s, s.asSlice(4)));
            refused("v", () -> BALL.expmap0(DType.F32, 1, 3, s.asSlice(1), small));
            RowOp op = RowOp.named("poincare.expmap0");
            MemorySegment[] one = {s};
            double[] c = {1};
            BiConsumer<MemorySegment[], double[]> call =
                    (in, p) -> op.run(Exec.CPU, DType.F32, 2, 3, in, null, one, null, p);
            refused("in", () -> call.accept(new MemorySegment[2], c));
            refused("in", () -> call.accept(null, c));
            refused("params", () -> call.accept(one, new double[2]));
            refused("c", () -> call.accept(one, new double[] {-1}));
            refused(
                    "v",
                    () -> op.run(Exec.CPU, DType.F32, 2, 3, one, new long[] {-3}, one, null, c));
            refused(
                    "out",
                    () -> op.run(Exec.CPU, DType.F32, 2, 3, one, null, one, new long[] {2}, c));
            refused("exec", () -> op.run(null, DType.F32, 2, 3, one, null, one, null, c));
        }
    }

    /** An output shifted against an input by more than a piece of heap is still an overlap. */
    @Test
    void overlapAcrossPiecesIsRefused() {
        float[] memory = new float[400_000];
        MemorySegment all = MemorySegment.ofArray(memory);
        long rows = 100_000;
        refused(
                "out",
                () ->
                        BALL.expmap0(
                                DType.F32,
                                rows,
                                2,
                                all.asSlice(0, 8 * rows),
                                all.asSlice(4 * rows, 8 * rows)));
    }

    @Test
    void closedMemoryAndExecAreRefused() {
        Arena arena = Arena.ofConfined();
        MemorySegment s = arena.allocate(24, 8);
        arena.close();
        assertThrows(IllegalStateException.class, () -> BALL.expmap0(DType.F32, 2, 3, s, s));
        Exec exec = Exec.cpu(1);
        exec.close();
        float[] a = new float[3];
        assertThrows(IllegalStateException.class, () -> new PoincareBall(1, exec).expmap0(3, a, a));
    }

    /** Random sizes, strides and offsets either run or are refused by name; nothing else. */
    @Test
    void randomArgumentsNeverCrash() {
        Random random = new Random(3);
        long[] odd = {-1, 0, 1, 2, 3, 5, 16, 1000, 1L << 40, Long.MAX_VALUE, Long.MIN_VALUE};
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(4096, 64);
            int ran = 0;
            for (int n = 0; n < 20_000; n++) {
                RowOp op = RowOp.all().get(random.nextInt(RowOp.all().size()));
                MemorySegment[] in = new MemorySegment[op.inputs().size()];
                MemorySegment[] out = new MemorySegment[op.outputs().size()];
                long[] is = new long[in.length];
                long[] os = new long[out.length];
                for (int i = 0; i < in.length; i++) {
                    in[i] = memory.asSlice(4L * random.nextInt(1024));
                    is[i] = odd[random.nextInt(random.nextBoolean() ? 6 : odd.length)];
                }
                for (int i = 0; i < out.length; i++) {
                    out[i] = memory.asSlice(random.nextInt(4096));
                    os[i] = odd[random.nextInt(random.nextBoolean() ? 6 : odd.length)];
                }
                DType dtype = DType.values()[random.nextInt(4)];
                long rows = odd[random.nextInt(odd.length)];
                long dim = odd[random.nextInt(odd.length)];
                double[] p = new double[op.parameters().size()];
                java.util.Arrays.fill(p, random.nextInt(4) == 0 ? Double.NaN : 1);
                try {
                    op.run(Exec.CPU, dtype, rows, dim, in, is, out, os, p);
                    ran++;
                } catch (IllegalArgumentException e) {
                    assertTrue(e.getMessage().matches("(?s)\\w+: .+"), e.getMessage());
                }
            }
            assertTrue(ran > 100, "only " + ran + " calls were accepted");
        }
    }

    @Test
    void everyOperationDescribesItself() {
        for (RowOp op : RowOp.all()) {
            assertEquals(op, RowOp.named(op.name()));
            assertTrue(op.doc().length() > 20, op.name());
            assertTrue(!op.inputs().isEmpty() && !op.outputs().isEmpty(), op.name());
            boolean step = op.outputs().get(0).name().equals("out_x"); // of an optimizer
            if (!op.name().endsWith(".vjp") && !step) {
                RowOp vjp = op.vjp();
                assertEquals(op.inputs(), vjp.inputs().subList(0, op.inputs().size()));
                assertEquals(op.inputs().size() + 1, vjp.inputs().size());
                for (int i = 0; i < op.inputs().size(); i++) {
                    assertEquals("g_" + op.inputs().get(i).name(), vjp.outputs().get(i).name());
                    assertEquals(op.inputs().get(i).kind(), vjp.outputs().get(i).kind());
                }
            }
        }
    }
}
