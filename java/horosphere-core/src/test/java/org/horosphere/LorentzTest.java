package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class LorentzTest {
    private static final double K = 2.5;
    private static final Lorentz LORENTZ = new Lorentz(K);
    private static final PoincareBall BALL = new PoincareBall(1 / K);

    /**
     * Ball and hyperboloid are one space: distances agree, and the way there and back is the
     * identity.
     */
    @Test
    void isometricToTheBall() {
        int rows = 3;
        int dim = 2;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = doubles(arena, 0.1, 0.2, -0.5, 0.25, 1.2, -0.3);
            MemorySegment y = doubles(arena, -0.4, 0.3, -0.5, 0.26, 1.1, 0.9);
            MemorySegment lx = arena.allocate(8 * rows * (dim + 1), 8);
            MemorySegment ly = arena.allocate(8 * rows * (dim + 1), 8);
            MemorySegment back = arena.allocate(8 * rows * dim, 8);
            MemorySegment inBall = arena.allocate(8 * rows, 8);
            MemorySegment inLorentz = arena.allocate(8 * rows, 8);
            BALL.to_lorentz(DType.F64, rows, dim, x, lx);
            BALL.to_lorentz(DType.F64, rows, dim, y, ly);
            LORENTZ.to_poincare(DType.F64, rows, dim, lx, back);
            assertArrayEquals(values(x), values(back), 1e-15);
            BALL.dist(DType.F64, rows, dim, x, y, inBall);
            LORENTZ.dist(DType.F64, rows, dim, lx, ly, inLorentz);
            assertArrayEquals(values(inBall), values(inLorentz), 1e-14);
            LORENTZ.inner(DType.F64, rows, dim, lx, lx, inLorentz);
            assertArrayEquals(new double[] {-K, -K, -K}, values(inLorentz), 1e-13);
        }
    }

    @Test
    void mapsInvertEachOther() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = doubles(arena, 0, 0.5, -1.5, 2);
            MemorySegment y = doubles(arena, 0, -2, 0.25, 1);
            LORENTZ.projx(DType.F64, 1, 3, x, x);
            LORENTZ.projx(DType.F64, 1, 3, y, y);
            MemorySegment v = arena.allocate(32, 8);
            MemorySegment back = arena.allocate(32, 8);
            LORENTZ.logmap(DType.F64, 1, 3, x, y, v);
            LORENTZ.expmap(DType.F64, 1, 3, x, v, back);
            assertArrayEquals(values(y), values(back), 1e-14);
            MemorySegment d = arena.allocate(8, 8);
            LORENTZ.inner(DType.F64, 1, 3, v, v, d);
            double length = Math.sqrt(d.get(ValueLayout.JAVA_DOUBLE, 0));
            LORENTZ.dist(DType.F64, 1, 3, x, y, d);
            assertEquals(d.get(ValueLayout.JAVA_DOUBLE, 0), length, 1e-14);
        }
    }

    @Test
    void badArgumentsAreNamed() {
        assertThrows(IllegalArgumentException.class, () -> new Lorentz(-1));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment row = arena.allocate(24, 8);
            MemorySegment ambient = arena.allocate(32, 8);
            String message =
                    assertThrows(
                                    IllegalArgumentException.class,
                                    () -> LORENTZ.projx(DType.F64, 1, 3, row, ambient))
                            .getMessage();
            assertEquals("x: 24 bytes, expected at least 32", message.substring(0, 33));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> BALL.projx(DType.F64, 1, 3, 1.5, row, row));
        }
    }

    private static MemorySegment doubles(Arena arena, double... values) {
        return arena.allocateFrom(ValueLayout.JAVA_DOUBLE, values);
    }

    private static double[] values(MemorySegment segment) {
        return segment.toArray(ValueLayout.JAVA_DOUBLE);
    }
}
