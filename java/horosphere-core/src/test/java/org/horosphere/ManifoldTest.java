package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ManifoldTest {
    private static final int ROWS = 9;
    private static final PoincareBall BALL = new PoincareBall(0.7);
    private static final Lorentz HYPERBOLOID = new Lorentz(1.3);
    private static final Product PRODUCT =
            new Product(List.of(new Product.Factor(HYPERBOLOID, 2), new Product.Factor(BALL, 3)));
    private static final Product MIXED =
            new Product(
                    List.of(
                            new Product.Factor(new Klein(1.2), 2),
                            new Product.Factor(HYPERBOLOID, 1),
                            new Product.Factor(new Stereographic(0.4), 2)));

    /** Points, and with them rows of numbers that are tangent where only space parts count. */
    private static double[] points(Manifold manifold, int dim, long seed) {
        int width = (int) manifold.width(dim);
        double[] all = new double[ROWS * width];
        Random random = new Random(seed);
        for (int r = 0; r < ROWS; r++) {
            if (manifold instanceof Product product) {
                int at = r * width;
                for (Product.Factor factor : product.factors()) {
                    at += fill(all, at, factor.manifold(), (int) factor.dim(), random);
                }
            } else {
                fill(all, r * width, manifold, dim, random);
            }
        }
        return all;
    }

    private static int fill(double[] all, int at, Manifold manifold, int dim, Random random) {
        int width = (int) manifold.width(dim);
        double square = 0;
        for (int j = width - dim; j < width; j++) {
            all[at + j] = (2 * random.nextDouble() - 1) * 0.9 / Math.sqrt(dim);
            square += all[at + j] * all[at + j];
        }
        if (manifold instanceof Lorentz lorentz) {
            all[at] = Math.sqrt(lorentz.K() + square);
        }
        return width;
    }

    private static List<Manifold> manifolds() {
        return List.of(
                BALL,
                HYPERBOLOID,
                new Klein(0.7),
                new Stereographic(-0.7),
                new Stereographic(0),
                new Stereographic(0.7),
                PRODUCT,
                MIXED);
    }

    @Test
    void theVerbsAgreeWithEachOtherOnEveryManifold() {
        for (Manifold manifold : manifolds()) {
            for (DType dtype : List.of(DType.F32, DType.F64)) {
                double close = dtype == DType.F32 ? 3e-6 : 1e-14;
                try (Arena arena = Arena.ofConfined()) {
                    int dim = 5;
                    MemorySegment x = Buffers.of(arena, dtype, points(manifold, dim, 1));
                    MemorySegment y = Buffers.of(arena, dtype, points(manifold, dim, 2));
                    long size = ROWS * manifold.width(dim);
                    MemorySegment v = Buffers.empty(arena, dtype, size);
                    MemorySegment end = Buffers.empty(arena, dtype, size);
                    MemorySegment back = Buffers.empty(arena, dtype, size);
                    MemorySegment d = Buffers.empty(arena, dtype, ROWS);
                    MemorySegment e = Buffers.empty(arena, dtype, ROWS);
                    manifold.logmap(dtype, ROWS, dim, x, y, v);
                    manifold.expmap(dtype, ROWS, dim, x, v, end);
                    String what = manifold + " " + dtype;
                    double[] want = Buffers.read(y, dtype);
                    assertArrayEquals(want, Buffers.read(end, dtype), close, what);
                    // log_x(y) transported to y is -log_y(x)
                    manifold.ptransp(dtype, ROWS, dim, x, y, v, end);
                    manifold.logmap(dtype, ROWS, dim, y, x, back);
                    double[] there = Buffers.read(end, dtype);
                    double[] here = Buffers.read(back, dtype);
                    for (int i = 0; i < there.length; i++) {
                        assertEquals(-here[i], there[i], 2 * close, what);
                    }
                    manifold.dist(dtype, ROWS, dim, x, y, d);
                    manifold.dist(dtype, ROWS, dim, y, x, e);
                    assertArrayEquals(Buffers.read(d, dtype), Buffers.read(e, dtype), close, what);
                    manifold.projx(dtype, ROWS, dim, x, end);
                    assertArrayEquals(
                            Buffers.read(x, dtype), Buffers.read(end, dtype), close, what);
                }
            }
        }
    }

    @Test
    void theVerbsAtTheOriginAgreeWithTheOthers() {
        for (Manifold manifold : manifolds()) {
            try (Arena arena = Arena.ofConfined()) {
                DType dtype = DType.F64;
                int dim = 5;
                long size = ROWS * manifold.width(dim);
                MemorySegment x = Buffers.of(arena, dtype, points(manifold, dim, 1));
                MemorySegment y = Buffers.of(arena, dtype, points(manifold, dim, 2));
                MemorySegment o = Buffers.empty(arena, dtype, size);
                MemorySegment v = Buffers.empty(arena, dtype, ROWS * dim);
                MemorySegment end = Buffers.empty(arena, dtype, size);
                MemorySegment d = Buffers.empty(arena, dtype, ROWS);
                MemorySegment e = Buffers.empty(arena, dtype, ROWS);
                MemorySegment t = Buffers.empty(arena, dtype, ROWS);
                String what = manifold.toString();
                manifold.expmap0(dtype, ROWS, dim, v, o);
                manifold.dist0(dtype, ROWS, dim, x, d);
                manifold.dist(dtype, ROWS, dim, o, x, e);
                double[] radius = Buffers.read(d, dtype);
                assertArrayEquals(Buffers.read(e, dtype), radius, 1e-14, what);
                manifold.logmap0(dtype, ROWS, dim, x, v);
                manifold.expmap0(dtype, ROWS, dim, v, end);
                double[] want = Buffers.read(x, dtype);
                assertArrayEquals(want, Buffers.read(end, dtype), 1e-14, what);
                manifold.geodesic(dtype, ROWS, dim, t, x, y, end);
                assertArrayEquals(want, Buffers.read(end, dtype), 1e-14, what + " at 0");
                for (int r = 0; r < ROWS; r++) {
                    t.setAtIndex(ValueLayout.JAVA_DOUBLE, r, 0.25);
                }
                manifold.geodesic(dtype, ROWS, dim, t, x, y, end);
                manifold.dist(dtype, ROWS, dim, x, end, d);
                manifold.dist(dtype, ROWS, dim, x, y, e);
                double[] part = Buffers.read(d, dtype);
                double[] whole = Buffers.read(e, dtype);
                for (int r = 0; r < ROWS; r++) {
                    assertEquals(0.25 * whole[r], part[r], 1e-13, what + " at 1/4");
                }
            }
        }
    }

    @Test
    void aProductIsItsFactors() {
        try (Arena arena = Arena.ofConfined()) {
            DType dtype = DType.F64;
            int dim = 5;
            int width = 6;
            double[] xs = points(PRODUCT, dim, 3);
            double[] ys = points(PRODUCT, dim, 4);
            MemorySegment out = Buffers.empty(arena, dtype, ROWS * width);
            MemorySegment d = Buffers.empty(arena, dtype, ROWS);
            MemorySegment x = Buffers.of(arena, dtype, xs);
            MemorySegment y = Buffers.of(arena, dtype, ys);
            PRODUCT.egrad2rgrad(dtype, ROWS, dim, x, y, out);
            PRODUCT.dist(dtype, ROWS, dim, x, y, d);
            for (int r = 0; r < ROWS; r++) {
                MemorySegment first = Buffers.empty(arena, dtype, 3);
                MemorySegment second = Buffers.empty(arena, dtype, 3);
                MemorySegment a = Buffers.empty(arena, dtype, 1);
                MemorySegment b = Buffers.empty(arena, dtype, 1);
                MemorySegment x1 = row(x, r, 0);
                MemorySegment x2 = row(x, r, 3);
                MemorySegment y1 = row(y, r, 0);
                MemorySegment y2 = row(y, r, 3);
                HYPERBOLOID.egrad2rgrad(dtype, 1, 2, x1, y1, first);
                BALL.egrad2rgrad(dtype, 1, 3, x2, y2, second);
                HYPERBOLOID.dist(dtype, 1, 2, x1, y1, a);
                BALL.dist(dtype, 1, 3, x2, y2, b);
                assertEquals(-1, row(out, r, 0).mismatch(first));
                assertEquals(-1, row(out, r, 3).mismatch(second));
                double expected = Math.hypot(Buffers.get(a, dtype, 0), Buffers.get(b, dtype, 0));
                assertEquals(expected, Buffers.get(d, dtype, r), 1e-15 * expected);
            }
        }
    }

    private static MemorySegment row(MemorySegment segment, int row, int column) {
        return segment.asSlice((row * 6L + column) * Double.BYTES, 3 * Double.BYTES);
    }

    @Test
    void projxBringsPointsBack() {
        try (Arena arena = Arena.ofConfined()) {
            for (DType dtype : List.of(DType.F32, DType.F64)) {
                MemorySegment x = Buffers.of(arena, dtype, 3, 4);
                new PoincareBall(1).projx(dtype, 1, 2, x, x);
                double[] inside = Buffers.read(x, dtype);
                double norm = Math.hypot(inside[0], inside[1]);
                assertTrue(norm < 1 && norm > 1 - 1e-6, "norm " + norm);
            }
        }
    }

    @Test
    void unfitArgumentsAreNamed() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = Buffers.empty(arena, DType.F64, 6);
            MemorySegment small = Buffers.empty(arena, DType.F64, 5);
            MemorySegment out = Buffers.empty(arena, DType.F64, 6);
            refused("x: ", () -> PRODUCT.expmap(DType.F64, 1, 5, null, x, out));
            refused("x: ", () -> PRODUCT.dist(DType.F64, 1, 5, small, x, out));
            refused("out: ", () -> PRODUCT.logmap(DType.F64, 1, 5, x, x, small));
            refused("out: ", () -> PRODUCT.dist(DType.F64, 9, 5, x, x, small));
            refused("out: ", () -> PRODUCT.dist(DType.F64, 1, 5, x, x, out.asReadOnly()));
            refused("dim: ", () -> PRODUCT.expmap(DType.F64, 1, 4, x, x, out));
            refused("dtype: ", () -> PRODUCT.expmap(null, 1, 5, x, x, out));
        }
    }

    private static void refused(String named, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(named), message);
    }
}
