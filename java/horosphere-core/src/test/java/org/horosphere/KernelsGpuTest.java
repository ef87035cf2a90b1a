package org.horosphere;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Layers, products, adapters, attention, sets of points and random numbers on a CUDA device from
 * Java, against the CPU; skipped with the reason where there is none.
 */
class KernelsGpuTest {
    private Arena arena;
    private Stream stream;
    private Exec exec;
    private DeviceMemory memory;
    private long used;

    @BeforeEach
    void needsADevice() {
        Device device = CudaTests.device();
        arena = Arena.ofConfined();
        stream = Stream.create(device);
        exec = Exec.cuda(device, stream);
        memory = DeviceMemory.allocate(device, 64 << 20);
    }

    @AfterEach
    void close() {
        if (arena != null) {
            memory.close();
            exec.close();
            stream.close();
            arena.close();
        }
    }

    @Test
    void layersEqualTheCpu() {
        int rows = 37;
        int dim = 130;
        MemorySegment x = random(rows * dim, 1);
        MemorySegment weight = random(dim, 2);
        MemorySegment want = floats(rows * dim);
        Layers.rmsnorm_forward(x, weight, 1e-5, rows, dim, want, MemorySegment.NULL, Exec.CPU);
        MemorySegment out = room(want.byteSize());
        Layers.rmsnorm_forward(up(x), up(weight), 1e-5, rows, dim, out, MemorySegment.NULL, exec);
        assertNear(want, out, 2e-6);

        MemorySegment total = room(Double.BYTES);
        memory.fill(0, total.address() - memory.address().address(), Double.BYTES, stream);
        Layers.sum_squares_add(up(x), rows * dim, total, room(256 * Double.BYTES), exec);
        MemorySegment got = arena.allocate(JAVA_DOUBLE);
        memory.copyTo(got, total.address() - memory.address().address(), stream);
        double expected = Layers.sum_squares(x, rows * dim, Exec.CPU);
        assertEquals(expected, got.get(JAVA_DOUBLE, 0), 1e-12 * expected);
    }

    @Test
    void unknownIdsGiveNaNAndTouchNothing() {
        MemorySegment ids = arena.allocateFrom(JAVA_INT, 1, 7, -1);
        MemorySegment table = random(4 * 3, 3);
        MemorySegment out = room(9 * Float.BYTES);
        Layers.embedding_forward(up(ids), DType.F32, up(table), 3, 4, 3, out, exec);
        MemorySegment got = down(out, 9);
        for (int i = 0; i < 9; i++) {
            float value = got.getAtIndex(JAVA_FLOAT, i);
            assertEquals(i < 3 ? table.getAtIndex(JAVA_FLOAT, 3 + i) : Float.NaN, value);
        }
    }

    @Test
    void productsEqualTheCpu() {
        int m = 33;
        int n = 48;
        int k = 80;
        MemorySegment a = random(m * k, 4);
        MemorySegment b = random(n * k, 5);
        MemorySegment want = floats(m * n);
        Gemm.sgemm(false, true, m, n, k, 1, a, k, b, k, 0, want, n, Exec.CPU);
        MemorySegment c = room(want.byteSize());
        try {
            Gemm.sgemm(false, true, m, n, k, 1, up(a), k, up(b), k, 0, c, n, exec);
        } catch (HorosphereException e) {
            assertTrue(e.getMessage().contains("cuBLASLt"), e.getMessage());
            System.out.println("skipped: " + e.getMessage());
            Assumptions.abort(e.getMessage());
        }
        assertNear(want, c, 1e-4);
    }

    @Test
    void adaptersEqualTheCpu() {
        int tokens = 70;
        LowRankAdapter shape =
                new LowRankAdapter(DType.F32, LowRankAdapter.Kind.HYPLORA, 96, 8, 64, 2);
        MemorySegment x = random(tokens * 96, 6);
        MemorySegment a = random(8 * 96, 7);
        MemorySegment b = random(64 * 8, 8);
        MemorySegment want = floats(tokens * 64);
        MemorySegment gram = arena.allocate(JAVA_DOUBLE, 64);
        MemorySegment scalars = arena.allocate(JAVA_DOUBLE, 3 * tokens);
        MemorySegment curve = arena.allocateFrom(JAVA_DOUBLE, 0.7, 4);
        long bytes = (long) tokens * Double.BYTES;
        LowRankAdapter.gram(Exec.CPU, shape, b, gram);
        LowRankAdapter.forward(
                Exec.CPU,
                shape,
                tokens,
                x,
                96,
                a,
                b,
                gram,
                curve.asSlice(0, 8),
                curve.asSlice(8, 8),
                want,
                64,
                floats(tokens * 8),
                scalars.asSlice(0, bytes),
                scalars.asSlice(bytes, bytes),
                scalars.asSlice(2 * bytes, bytes));
        MemorySegment deviceB = up(b);
        MemorySegment deviceGram = room(gram.byteSize());
        MemorySegment out = up(floats(tokens * 64));
        LowRankAdapter.gram(exec, shape, deviceB, deviceGram);
        LowRankAdapter.forward(
                exec,
                shape,
                tokens,
                up(x),
                96,
                up(a),
                deviceB,
                deviceGram,
                up(curve.asSlice(0, 8)),
                up(curve.asSlice(8, 8)),
                out,
                64,
                room((long) tokens * 8 * Float.BYTES),
                room(bytes),
                room(bytes),
                room(bytes));
        assertNear(want, out, 1e-5);
    }

    @Test
    void attentionEqualsTheCpu() {
        Attention shape = Attention.tokenMajor(DType.F32, 2, 4, 2, 40, 50, 16, true);
        MemorySegment q = random(2 * 40 * 4 * 16, 9);
        MemorySegment k = random(2 * 50 * 2 * 16, 10);
        MemorySegment v = random(2 * 50 * 2 * 16, 11);
        MemorySegment alpha = random(16, 12);
        MemorySegment want = floats(2 * 40 * 4 * 16);
        MemorySegment workspace = arena.allocate(shape.workspaceBytes(Exec.CPU, true, false));
        Attention.forward(Exec.CPU, shape, q, k, v, alpha, null, want, null, workspace);
        MemorySegment out = room(want.byteSize());
        MemorySegment deviceWorkspace = room(shape.workspaceBytes(exec, true, false));
        Attention.forward(
                exec, shape, up(q), up(k), up(v), up(alpha), null, out, null, deviceWorkspace);
        assertNear(want, out, 1e-5);
    }

    /** Whole arrays, by the bounds at the head of half_attention in cuda_attention_cases.h. */
    @ParameterizedTest
    @CsvSource({"BF16, true", "BF16, false", "F16, true", "F16, false"})
    void attentionInSixteenBitsEqualsTheCpu(DType dtype, boolean mixed) {
        int heads = 12;
        int queries = 33 * heads * 64;
        int keys = 40 * 4 * 64;
        Attention shape = Attention.tokenMajor(dtype, 1, heads, 4, 33, 40, 64, true);
        Attention exact = Attention.tokenMajor(DType.F64, 1, heads, 4, 33, 40, 64, true);
        MemorySegment q = stored(queries, 30, dtype, 1);
        MemorySegment k = stored(keys, 31, dtype, 1);
        MemorySegment v = stored(keys, 32, dtype, 1);
        MemorySegment dout = stored(queries, 33, dtype, 1);
        MemorySegment alpha = mixed ? stored(heads * heads, 34, DType.F32, 0.3) : null;
        MemorySegment wideAlpha = mixed ? wide(alpha, DType.F32) : null;
        MemorySegment[] want = new MemorySegment[4];
        MemorySegment[] got = new MemorySegment[4];
        int[] sizes = {queries, queries, keys, keys};
        for (int i = 0; i < 4; i++) {
            want[i] = arena.allocate(JAVA_DOUBLE, sizes[i]);
            got[i] = room((long) sizes[i] * dtype.bytes());
        }
        MemorySegment dalpha = mixed ? arena.allocate(JAVA_DOUBLE, heads * heads) : null;
        MemorySegment deviceDalpha = mixed ? up(floats(heads * heads)) : null;
        MemorySegment wideQ = wide(q, dtype);
        MemorySegment wideK = wide(k, dtype);
        MemorySegment wideV = wide(v, dtype);
        Attention.forward(
                Exec.CPU,
                exact,
                wideQ,
                wideK,
                wideV,
                wideAlpha,
                null,
                want[0],
                null,
                arena.allocate(exact.workspaceBytes(Exec.CPU, mixed, false)));
        Attention.backward(
                Exec.CPU,
                exact,
                wideQ,
                wideK,
                wideV,
                wideAlpha,
                null,
                null,
                wide(dout, dtype),
                want[1],
                want[2],
                want[3],
                dalpha,
                arena.allocate(exact.workspaceBytes(Exec.CPU, mixed, true)));
        MemorySegment deviceQ = up(q);
        MemorySegment deviceK = up(k);
        MemorySegment deviceV = up(v);
        MemorySegment deviceAlpha = mixed ? up(alpha) : null;
        Attention.forward(
                exec,
                shape,
                deviceQ,
                deviceK,
                deviceV,
                deviceAlpha,
                null,
                got[0],
                null,
                room(shape.workspaceBytes(exec, mixed, false)));
        Attention.backward(
                exec,
                shape,
                deviceQ,
                deviceK,
                deviceV,
                deviceAlpha,
                null,
                null,
                up(dout),
                got[1],
                got[2],
                got[3],
                deviceDalpha,
                room(shape.workspaceBytes(exec, mixed, true)));
        double unit = epsilon(dtype) / 2;
        double[] units = {1, 2, 2, 1};
        for (int i = 0; i < 4; i++) {
            assertClose(want[i], down(got[i], sizes[i], dtype), dtype, units[i] * unit + 1e-5);
        }
        if (mixed) {
            MemorySegment there = down(deviceDalpha, heads * heads, DType.F32);
            assertClose(dalpha, there, DType.F32, 1.5 * unit + 1e-5);
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"BF16", "F16"})
    void setsInSixteenBitsEqualTheCpu(DType dtype) {
        int rows = 5;
        int k = 6;
        int dim = 10;
        int n = rows * k;
        int bytes = dtype.bytes();
        HyperbolicSets cpu = new HyperbolicSets(HyperbolicSets.Model.KLEIN, 0.02, Exec.CPU);
        HyperbolicSets gpu = new HyperbolicSets(HyperbolicSets.Model.KLEIN, 0.02, exec);
        MemorySegment x = stored(n * dim, 40, dtype, 1);
        MemorySegment y = stored(rows * dim, 41, dtype, 1);
        MemorySegment g = stored(n * rows, 42, dtype, 1);
        MemorySegment there = up(x);
        MemorySegment want = Buffers.empty(arena, dtype, n * rows);
        MemorySegment out = room((long) n * rows * bytes);
        cpu.cdist(dtype, n, rows, dim, x, y, false, want);
        gpu.cdist(dtype, n, rows, dim, there, up(y), false, out);
        assertAnUlp(want, out, dtype);
        MemorySegment wantX = Buffers.empty(arena, dtype, n * dim);
        MemorySegment gX = room((long) n * dim * bytes);
        cpu.cdist_vjp(dtype, n, rows, dim, x, y, false, g, wantX, null, null);
        gpu.cdist_vjp(dtype, n, rows, dim, there, up(y), false, up(g), gX, null, null);
        assertAnUlp(wantX, gX, dtype);

        want = Buffers.empty(arena, dtype, rows * dim);
        out = room((long) rows * dim * bytes);
        cpu.midpoint(dtype, rows, k, dim, x, null, want);
        gpu.midpoint(dtype, rows, k, dim, there, null, out);
        assertAnUlp(want, out, dtype);
        long scratch = HyperbolicSets.frechetWorkspaceBytes(rows, k, dim, false);
        MemorySegment workspace = arena.allocate(scratch, 8);
        cpu.frechet_mean(dtype, rows, k, dim, x, null, 1e-10, 100, want, null, null, workspace);
        gpu.frechet_mean(
                dtype, rows, k, dim, there, null, 1e-10, 100, out, null, null, room(scratch));
        assertAnUlp(want, out, dtype);

        int p = 7;
        PoincareBall ball = new PoincareBall(0.02);
        PoincareBall deviceBall = new PoincareBall(0.02, exec);
        MemorySegment weight = stored(p * dim, 43, dtype, 1);
        MemorySegment bias = stored(p, 44, dtype, 1);
        want = Buffers.empty(arena, dtype, n * p);
        out = room((long) n * p * bytes);
        HyperbolicLinear.mlr(ball).forward(dtype, n, dim, p, x, weight, bias, want);
        HyperbolicLinear.mlr(deviceBall)
                .forward(dtype, n, dim, p, there, up(weight), up(bias), out);
        assertAnUlp(want, out, dtype);
        HyperbolicConcat.of(ball, 3, 7).concat(dtype, n, x, wantX);
        HyperbolicConcat.of(deviceBall, 3, 7).concat(dtype, n, there, gX);
        assertAnUlp(wantX, gX, dtype);
    }

    @Test
    void distancesEqualTheCpu() {
        int n = 70;
        int m = 37;
        int dim = 20;
        HyperbolicSets cpu = new HyperbolicSets(HyperbolicSets.Model.POINCARE, 0.01, Exec.CPU);
        HyperbolicSets gpu = new HyperbolicSets(HyperbolicSets.Model.POINCARE, 0.01, exec);
        MemorySegment x = random(n * dim, 14);
        MemorySegment y = random(m * dim, 15);
        MemorySegment g = random(n * m, 16);
        MemorySegment want = floats(n * m);
        cpu.cdist(DType.F32, n, m, dim, x, y, false, want);
        MemorySegment out = room(want.byteSize());
        gpu.cdist(DType.F32, n, m, dim, up(x), up(y), false, out);
        assertNear(want, out, 1e-6);

        MemorySegment wantX = floats(n * dim);
        MemorySegment wantY = floats(m * dim);
        cpu.cdist_vjp(DType.F32, n, m, dim, x, y, false, g, wantX, wantY, null);
        MemorySegment gX = room(wantX.byteSize());
        MemorySegment gY = room(wantY.byteSize());
        gpu.cdist_vjp(DType.F32, n, m, dim, up(x), up(y), false, up(g), gX, gY, null);
        assertNear(wantX, gX, 1e-6);
        assertNear(wantY, gY, 1e-6);
    }

    @Test
    void meansOfALargeSetEqualTheCpu() {
        int k = 900;
        int dim = 10;
        HyperbolicSets cpu = new HyperbolicSets(HyperbolicSets.Model.LORENTZ, 1.5, Exec.CPU);
        HyperbolicSets gpu = new HyperbolicSets(HyperbolicSets.Model.LORENTZ, 1.5, exec);
        long bytes = HyperbolicSets.midpointWorkspaceBytes(1, k, dim);
        MemorySegment x = random(k * (dim + 1), 18);
        MemorySegment want = floats(dim + 1);
        MemorySegment out = room(want.byteSize());
        cpu.midpoint(DType.F32, 1, k, dim, x, null, want, arena.allocate(bytes, 8));
        gpu.midpoint(DType.F32, 1, k, dim, up(x), null, out, room(bytes));
        assertNear(want, out, 1e-6);
        bytes = HyperbolicSets.frechetWorkspaceBytes(1, k, dim, false);
        MemorySegment workspace = arena.allocate(bytes, 8);
        cpu.frechet_mean(DType.F32, 1, k, dim, x, null, 1e-10, 100, want, null, null, workspace);
        gpu.frechet_mean(
                DType.F32, 1, k, dim, up(x), null, 1e-10, 100, out, null, null, room(bytes));
        assertNear(want, out, 1e-6);
    }

    @Test
    void meansEqualTheCpu() {
        int rows = 5;
        int k = 6;
        int dim = 10;
        HyperbolicSets cpu = new HyperbolicSets(HyperbolicSets.Model.LORENTZ, 1.5, Exec.CPU);
        HyperbolicSets gpu = new HyperbolicSets(HyperbolicSets.Model.LORENTZ, 1.5, exec);
        MemorySegment x = random(rows * k * (dim + 1), 17);
        MemorySegment want = floats(rows * (dim + 1));
        cpu.midpoint(DType.F32, rows, k, dim, x, null, want);
        MemorySegment out = room(want.byteSize());
        gpu.midpoint(DType.F32, rows, k, dim, up(x), null, out);
        assertNear(want, out, 1e-6);

        long bytes = HyperbolicSets.frechetWorkspaceBytes(rows, k, dim, false);
        MemorySegment workspace = arena.allocate(bytes, 8);
        cpu.frechet_mean(DType.F32, rows, k, dim, x, null, 1e-10, 100, want, null, null, workspace);
        gpu.frechet_mean(
                DType.F32, rows, k, dim, up(x), null, 1e-10, 100, out, null, null, room(bytes));
        assertNear(want, out, 1e-6);
    }

    @Test
    void hyperbolicLayersEqualTheCpu() {
        int rows = 40;
        int dim = 12;
        int p = 30;
        HyperbolicLinear cpu = HyperbolicLinear.mlr(new PoincareBall(0.01));
        HyperbolicLinear gpu = HyperbolicLinear.mlr(new PoincareBall(0.01, exec));
        MemorySegment x = random(rows * dim, 18);
        MemorySegment weight = random(p * dim, 19);
        MemorySegment bias = random(p, 20);
        MemorySegment want = floats(rows * p);
        cpu.forward(DType.F32, rows, dim, p, x, weight, bias, want);
        MemorySegment out = room(want.byteSize());
        gpu.forward(DType.F32, rows, dim, p, up(x), up(weight), up(bias), out);
        assertNear(want, out, 1e-6);

        long bytes = gpu.workspaceBytes(rows, p);
        MemorySegment wantM = floats(p * dim);
        cpu.vjp(
                DType.F32,
                rows,
                dim,
                p,
                x,
                weight,
                bias,
                want,
                null,
                wantM,
                null,
                null,
                arena.allocate(bytes, 8));
        MemorySegment gM = room(wantM.byteSize());
        gpu.vjp(
                DType.F32,
                rows,
                dim,
                p,
                up(x),
                up(weight),
                up(bias),
                up(want),
                null,
                gM,
                null,
                null,
                room(bytes));
        assertNear(wantM, gM, 1e-5);

        HyperbolicConcat parts = HyperbolicConcat.of(new PoincareBall(0.01), 3, 4, 5);
        want = floats(rows * dim);
        parts.concat(DType.F32, rows, x, want);
        out = room(want.byteSize());
        HyperbolicConcat.of(new PoincareBall(0.01, exec), 3, 4, 5)
                .concat(DType.F32, rows, up(x), out);
        assertNear(want, out, 1e-6);
    }

    @Test
    void randomNumbersAreThoseOfTheCpu() {
        int n = 1001;
        MemorySegment want = floats(n);
        Normal.normal(Exec.CPU, DType.F32, n, 0.5, 21, 3, want);
        MemorySegment out = room(want.byteSize());
        Normal.normal(exec, DType.F32, n, 0.5, 21, 3, out);
        assertEquals(-1, want.mismatch(down(out, n)));
    }

    @Test
    void deltaEqualsTheCpu() {
        int n = 50;
        MemorySegment x = random(n * 3, 22);
        MemorySegment distances = arena.allocate(JAVA_DOUBLE, n * n);
        MemorySegment there = room(distances.byteSize());
        Hyperbolicity.pairwise_distance(exec, DType.F32, n, 3, up(x), 3, there);
        memory.copyTo(distances, there.address() - memory.address().address(), stream);
        MemorySegment scratch = arena.allocate(JAVA_DOUBLE, 2 * n);
        Hyperbolicity.gromov_product(Exec.CPU, n, distances, 7, distances, scratch);
        Hyperbolicity.gromov_product(exec, n, there, 7, there, room(n * Double.BYTES));
        assertEquals(
                Hyperbolicity.delta(Exec.CPU, n, distances, 0, false, scratch),
                Hyperbolicity.delta(exec, n, there, 0, false, room(2L * n * Double.BYTES)));
    }

    @Test
    void pinnedMemoryIsCopiedInTheOrderOfTheStream() {
        long bytes = 8 * Float.BYTES;
        Device device = stream.device();
        try (PinnedMemory pinned = PinnedMemory.allocate(device, 2 * bytes)) {
            MemorySegment from = pinned.segment().asSlice(0, bytes);
            MemorySegment to = pinned.segment().asSlice(bytes);
            for (int i = 0; i < 8; i++) {
                from.setAtIndex(JAVA_FLOAT, i, i);
            }
            memory.enqueueCopyFrom(pinned, from, 0, stream);
            Layers.scale(3, memory.at(0), 8, exec);
            memory.enqueueCopyFrom(memory, 0, bytes, bytes, stream);
            memory.enqueueCopyTo(pinned, to, bytes, stream);
            stream.synchronize();
            for (int i = 0; i < 8; i++) {
                assertEquals(3f * i, to.getAtIndex(JAVA_FLOAT, i));
            }
            MemorySegment host = random(4, 15);
            assertThrows(
                    IllegalArgumentException.class,
                    () -> memory.enqueueCopyFrom(pinned, host, 0, stream));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> memory.enqueueCopyFrom(memory, 64 << 20, 0, 4, stream));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> memory.enqueueCopyTo(pinned, to, (64 << 20) - 4, stream));
        }
    }

    /** A step of AdamW whose numbers are an argument, and one that reads them from memory. */
    @Test
    void graphsReadMemoryAnewAndKeepArguments() {
        int n = 300;
        MemorySegment start = random(n, 21);
        MemorySegment grad = up(random(n, 22));
        MemorySegment zeros = floats(n);
        MemorySegment squares = up(arena.allocateFrom(JAVA_DOUBLE, 1));
        MemorySegment[] argument = {up(start), up(zeros), up(zeros)};
        MemorySegment[] read = {up(start), up(zeros), up(zeros)};
        MemorySegment scalars = room(4 * Layers.ADAMW_SCALARS);
        Runnable byArgument =
                () ->
                        Layers.adamw(
                                argument[0],
                                grad,
                                argument[1],
                                argument[2],
                                n,
                                0.1,
                                0.9,
                                0.99,
                                1e-8,
                                0,
                                1,
                                1,
                                exec);
        Runnable byMemory =
                () ->
                        Layers.adamw_clipped(
                                read[0], grad, read[1], read[2], n, scalars, squares, 5, exec);
        // kernels are loaded by their first call, which a capture must not be
        setAdamw(scalars, 0.1, 1);
        byArgument.run();
        byMemory.run();
        for (MemorySegment[] state : new MemorySegment[][] {argument, read}) {
            set(state[0], start);
            set(state[1], zeros);
            set(state[2], zeros);
        }
        try (Graph first = stream.capture(byArgument);
                Graph second = stream.capture(byMemory)) {
            stream.synchronize();
            assertEquals(-1, start.mismatch(down(read[0], n)), "a capture runs nothing");
            MemorySegment[] want = {floats(n), floats(n), floats(n)};
            want[0].copyFrom(start);
            for (int step = 1; step <= 3; step++) {
                double rate = 0.1 / step;
                setAdamw(scalars, rate, step);
                first.launch(stream);
                second.launch(stream);
                Layers.adamw(
                        want[0],
                        down(grad, n),
                        want[1],
                        want[2],
                        n,
                        rate,
                        0.9,
                        0.99,
                        1e-8,
                        0,
                        step,
                        1,
                        Exec.CPU);
                assertNear(want[0], read[0], 2e-6);
                assertEquals(step == 1, distance(want[0], down(argument[0], n)) < 2e-6);
            }
        }
    }

    private void setAdamw(MemorySegment there, double rate, long step) {
        MemorySegment scalars = floats(Layers.ADAMW_SCALARS);
        Layers.adamw_scalars(rate, 0.9, 0.99, 1e-8, 0, step, 1, scalars);
        set(there, scalars);
    }

    private void set(MemorySegment there, MemorySegment host) {
        memory.copyFrom(host, there.address() - memory.address().address(), stream);
    }

    private static double distance(MemorySegment a, MemorySegment b) {
        double worst = 0;
        for (long i = 0; i < a.byteSize() / Float.BYTES; i++) {
            double apart = a.getAtIndex(JAVA_FLOAT, i) - b.getAtIndex(JAVA_FLOAT, i);
            worst = Math.max(worst, Math.abs(apart));
        }
        return worst;
    }

    @Test
    void whatACaptureCannotHoldIsRefused() {
        MemorySegment x = up(random(8, 23));
        MemorySegment out = room(32);
        IllegalArgumentException waited =
                assertThrows(
                        IllegalArgumentException.class, () -> stream.capture(stream::synchronize));
        assertTrue(waited.getMessage().startsWith("stream: it is being captured"));
        waited =
                assertThrows(
                        IllegalArgumentException.class, () -> stream.capture(() -> down(x, 8)));
        assertTrue(waited.getMessage().startsWith("stream: it is being captured"));
        HorosphereException allocated =
                assertThrows(
                        HorosphereException.class,
                        () ->
                                stream.capture(
                                        () -> DeviceMemory.allocate(stream.device(), 8).close()));
        assertTrue(allocated.getMessage().contains("allocate: "), allocated.getMessage());
        Stream standard = Stream.of(stream.device(), 0);
        IllegalArgumentException refused =
                assertThrows(IllegalArgumentException.class, () -> standard.capture(() -> {}));
        assertTrue(refused.getMessage().startsWith("stream: the default stream"));
        assertThrows(IllegalArgumentException.class, () -> stream.capture(null));

        IllegalStateException own = new IllegalStateException("the work's own");
        assertEquals(
                own,
                assertThrows(
                        IllegalStateException.class,
                        () ->
                                stream.capture(
                                        () -> {
                                            throw own;
                                        })));
        Runnable add = () -> Layers.add(x, x, out, 8, exec);
        add.run();
        Graph graph = stream.capture(add);
        memory.fill(0, out.address() - memory.address().address(), 32, stream);
        assertThrows(IllegalArgumentException.class, () -> graph.launch(null));
        graph.launch(stream);
        MemorySegment want = floats(8);
        Layers.add(down(x, 8), down(x, 8), want, 8, Exec.CPU);
        assertNear(want, out, 0);
        graph.close();
        assertThrows(IllegalStateException.class, () -> graph.launch(stream));
    }

    @Test
    void hostMemoryIsRefused() {
        MemorySegment host = random(8, 13);
        IllegalArgumentException e =
                assertThrows(
                        IllegalArgumentException.class,
                        () -> Layers.add(room(32), host, room(32), 8, exec));
        assertTrue(e.getMessage().startsWith("y: host memory"), e.getMessage());
        e =
                assertThrows(
                        IllegalArgumentException.class,
                        () -> Layers.add(room(32), MemorySegment.NULL, room(32), 8, exec));
        assertTrue(e.getMessage().startsWith("y: null"), e.getMessage());
        assertThrows(IllegalArgumentException.class, () -> Layers.sum_squares(room(32), 8, exec));
        HyperbolicSets sets = new HyperbolicSets(HyperbolicSets.Model.KLEIN, 1, exec);
        e =
                assertThrows(
                        IllegalArgumentException.class,
                        () -> sets.cdist(DType.F32, 1, 1, 8, room(32), host, false, room(4)));
        assertTrue(e.getMessage().startsWith("y: host memory"), e.getMessage());
        e =
                assertThrows(
                        IllegalArgumentException.class,
                        () -> Normal.normal(exec, DType.F32, 8, 1, 0, 0, host));
        assertTrue(e.getMessage().startsWith("out: host memory"), e.getMessage());
    }

    private MemorySegment floats(int n) {
        return arena.allocate(JAVA_FLOAT, n);
    }

    private MemorySegment random(int n, long seed) {
        MemorySegment segment = floats(n);
        Random random = new Random(seed);
        for (int i = 0; i < n; i++) {
            segment.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        return segment;
    }

    private MemorySegment room(long bytes) {
        MemorySegment at = memory.at(used);
        used += (bytes + 255) / 256 * 256;
        return at;
    }

    private MemorySegment up(MemorySegment host) {
        long offset = used;
        MemorySegment there = room(host.byteSize());
        memory.copyFrom(host, offset, stream);
        return there;
    }

    private MemorySegment down(MemorySegment there, int n) {
        return down(there, n, DType.F32);
    }

    private MemorySegment down(MemorySegment there, int n, DType dtype) {
        MemorySegment got = arena.allocate((long) n * dtype.bytes(), 8);
        memory.copyTo(got, there.address() - memory.address().address(), stream);
        return got;
    }

    private MemorySegment stored(int n, long seed, DType dtype, double scale) {
        MemorySegment segment = Buffers.empty(arena, dtype, n);
        Random random = new Random(seed);
        for (int i = 0; i < n; i++) {
            Buffers.set(segment, dtype, i, scale * random.nextGaussian());
        }
        return segment;
    }

    private MemorySegment wide(MemorySegment numbers, DType dtype) {
        return Buffers.of(arena, DType.F64, Buffers.read(numbers, dtype));
    }

    /** The distance from 1 to the next number. */
    private static double epsilon(DType dtype) {
        return dtype == DType.BF16 ? 0x1p-7 : 0x1p-10;
    }

    /** The norm of the difference is at most {@code allowed} of the norm. */
    private static void assertClose(
            MemorySegment want, MemorySegment got, DType dtype, double allowed) {
        double error = 0;
        double size = 0;
        for (int i = 0; i < want.byteSize() / Double.BYTES; i++) {
            double exact = want.getAtIndex(JAVA_DOUBLE, i);
            error += Math.pow(Buffers.get(got, dtype, i) - exact, 2);
            size += exact * exact;
        }
        assertTrue(size > 0 && error <= allowed * allowed * size, error + " of " + size);
    }

    /** Both are double results rounded to the type, so next to each other at most. */
    private void assertAnUlp(MemorySegment want, MemorySegment there, DType dtype) {
        int n = (int) (want.byteSize() / dtype.bytes());
        MemorySegment got = down(there, n, dtype);
        for (int i = 0; i < n; i++) {
            double exact = Buffers.get(want, dtype, i);
            double ulp = epsilon(dtype) * Math.abs(exact);
            assertEquals(exact, Buffers.get(got, dtype, i), ulp + 1e-10, "element " + i);
        }
    }

    private void assertNear(MemorySegment want, MemorySegment there, double tolerance) {
        int n = (int) (want.byteSize() / Float.BYTES);
        MemorySegment got = down(there, n);
        double largest = 0;
        for (int i = 0; i < n; i++) {
            largest = Math.max(largest, Math.abs(want.getAtIndex(JAVA_FLOAT, i)));
        }
        for (int i = 0; i < n; i++) {
            assertEquals(
                    want.getAtIndex(JAVA_FLOAT, i),
                    got.getAtIndex(JAVA_FLOAT, i),
                    tolerance * largest,
                    "element " + i);
        }
    }
}
