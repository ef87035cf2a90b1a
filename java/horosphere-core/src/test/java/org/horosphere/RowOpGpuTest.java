package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Row operations on a CUDA device from Java; skipped with the reason where there is none. */
class RowOpGpuTest {
    private static final int ROWS = 1003;
    private static final int DIM = 17;
    private static final long BYTES = (long) ROWS * DIM * Float.BYTES;

    @BeforeEach
    void needsADevice() {
        CudaTests.device();
    }

    @Test
    void mobiusAddEqualsTheCpu() {
        Device device = Device.list().get(0);
        try (Arena arena = Arena.ofConfined();
                Stream stream = Stream.create(device);
                Exec exec = Exec.cuda(device, stream);
                DeviceMemory memory = DeviceMemory.allocate(device, 3 * BYTES)) {
            MemorySegment x = points(arena, 1);
            MemorySegment y = points(arena, 2);
            MemorySegment want = arena.allocate(BYTES, 4);
            MemorySegment got = arena.allocate(BYTES, 4);
            new PoincareBall(0.7).mobius_add(DType.F32, ROWS, DIM, x, y, want);

            memory.copyFrom(x, 0, stream);
            memory.copyFrom(y, BYTES, stream);
            new PoincareBall(0.7, exec)
                    .mobius_add(
                            DType.F32,
                            ROWS,
                            DIM,
                            memory.address(),
                            memory.at(BYTES),
                            memory.at(2 * BYTES));
            memory.copyTo(got, 2 * BYTES, stream);
            for (long i = 0; i < (long) ROWS * DIM; i++) {
                float expected = want.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                // points lie within 1, sums are in another order
                assertEquals(expected, got.getAtIndex(ValueLayout.JAVA_FLOAT, i), 1e-7);
            }
        }
    }

    @Test
    void hostMemoryAndOtherKernelsAreRefused() {
        Device device = Device.list().get(0);
        try (Arena arena = Arena.ofConfined();
                Stream stream = Stream.create(device);
                Exec exec = Exec.cuda(device, stream);
                DeviceMemory memory = DeviceMemory.allocate(device, BYTES)) {
            PoincareBall ball = new PoincareBall(1, exec);
            MemorySegment host = points(arena, 1);
            MemorySegment there = memory.address();
            IllegalArgumentException e =
                    assertThrows(
                            IllegalArgumentException.class,
                            () -> ball.expmap0(DType.F32, ROWS, DIM, host, there));
            assertTrue(e.getMessage().startsWith("v: host memory"), e.getMessage());
            e =
                    assertThrows(
                            IllegalArgumentException.class,
                            () -> ball.expmap0(DType.F32, ROWS, DIM, there, host));
            assertTrue(e.getMessage().startsWith("out: host memory"), e.getMessage());
            assertThrows(
                    IllegalArgumentException.class,
                    () -> ball.expmap0(2, new float[] {0, 0}, new float[2]));
            assertThrows(IllegalArgumentException.class, () -> memory.at(BYTES + 1));
            assertThrows(IllegalArgumentException.class, () -> memory.copyFrom(host, 4, stream));
            assertThrows(
                    IndexOutOfBoundsException.class, () -> there.get(ValueLayout.JAVA_FLOAT, 0));
        }
    }

    private static MemorySegment points(Arena arena, long seed) {
        MemorySegment segment = arena.allocate(BYTES, 4);
        Random random = new Random(seed);
        for (long i = 0; i < (long) ROWS * DIM; i++) {
            float value = (random.nextFloat() - 0.5f) / (float) Math.sqrt(DIM);
            segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
        }
        return segment;
    }
}
