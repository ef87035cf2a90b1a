package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class HyperbolicConcatTest {
    private static final DType F64 = DType.F64;
    private final Arena arena = Arena.ofConfined();
    private final HyperbolicConcat halves = HyperbolicConcat.of(new PoincareBall(1), 2, 2);

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

    /** 40 digits from the definition: B(2, 1/2) / B(1, 1/2) = 2/3. */
    @Test
    void beta_concatenation_of_two_points_of_the_plane() {
        MemorySegment out = empty(4);
        halves.concat(F64, 1, of(0.3, 0.4, 0.8, -0.1), out);
        assertArrayEquals(
                new double[] {
                    0.18018965086443572119,
                    0.24025286781924765048,
                    0.60550845577739916317,
                    -0.075688556972174895396
                },
                Buffers.read(out, F64),
                2e-16);
    }

    /** Times 5/3 and 5/4, radii 4/3 and 3/4: t^2 = 25/9 + 25/16 - 1. */
    @Test
    void direct_concatenation_on_the_hyperboloid() {
        HyperbolicConcat concat = HyperbolicConcat.of(new Lorentz(1), 1, 2);
        MemorySegment out = empty(4);
        concat.concat(F64, 1, of(5.0 / 3, 4.0 / 3, 1.25, 0, 0.75), out);
        double[] point = Buffers.read(out, F64);
        assertEquals(Math.sqrt(25.0 / 9 + 25.0 / 16 - 1), point[0], 1e-15);
        assertArrayEquals(
                new double[] {4.0 / 3, 0, 0.75}, new double[] {point[1], point[2], point[3]});
        MemorySegment parts = empty(5);
        concat.split(F64, 1, out, parts);
        assertArrayEquals(
                new double[] {5.0 / 3, 4.0 / 3, 1.25, 0, 0.75}, Buffers.read(parts, F64), 1e-15);
    }

    @ParameterizedTest
    @EnumSource(HyperbolicSets.Model.class)
    void gradients_are_the_slopes(HyperbolicSets.Model model) {
        for (boolean split : new boolean[] {false, true}) {
            HyperbolicConcat concat = new HyperbolicConcat(model, 0.5, Exec.CPU, 3, 1, 2);
            long in = split ? concat.width() : concat.partsWidth();
            long to = split ? concat.partsWidth() : concat.width();
            double[] x = new Random(5).doubles(in, -0.5, 0.5).toArray();
            double[] g = new Random(6).doubles(to, -1, 1).toArray();
            MemorySegment gx = empty(in);
            MemorySegment gc = empty(1);
            if (split) {
                concat.split_vjp(F64, 1, of(x), of(g), gx, gc);
            } else {
                concat.concat_vjp(F64, 1, of(x), of(g), gx, gc);
            }
            double h = 1e-6;
            for (int i = 0; i < in; i++) {
                double[] up = x.clone();
                double[] down = x.clone();
                up[i] += h;
                down[i] -= h;
                double slope =
                        (value(concat, split, up, g) - value(concat, split, down, g)) / 2 / h;
                assertEquals(slope, Buffers.read(gx, F64)[i], 1e-8, "x " + i);
            }
            double slope =
                    (value(new HyperbolicConcat(model, 0.5 + h, Exec.CPU, 3, 1, 2), split, x, g)
                                    - value(
                                            new HyperbolicConcat(model, 0.5 - h, Exec.CPU, 3, 1, 2),
                                            split,
                                            x,
                                            g))
                            / (2 * h);
            assertEquals(slope, Buffers.read(gc, F64)[0], 1e-8);
        }
    }

    private double value(HyperbolicConcat concat, boolean split, double[] x, double[] g) {
        MemorySegment out = empty(g.length);
        if (split) {
            concat.split(F64, 1, of(x), out);
        } else {
            concat.concat(F64, 1, of(x), out);
        }
        double sum = 0;
        for (int i = 0; i < g.length; i++) {
            sum += g[i] * Buffers.read(out, F64)[i];
        }
        return sum;
    }

    @Test
    void what_does_not_fit_is_named() {
        refused("dims", () -> HyperbolicConcat.of(new PoincareBall(1)));
        refused("dims", () -> HyperbolicConcat.of(new PoincareBall(1), 2, 0));
        refused("dims", () -> HyperbolicConcat.of(new PoincareBall(1), 2, Long.MAX_VALUE));
        refused("x", () -> halves.concat(F64, 2, empty(7), empty(8)));
        refused("out", () -> halves.split(F64, 2, empty(8), empty(7)));
        refused("dtype", () -> halves.concat(null, 1, empty(4), empty(4)));
        refused("rows", () -> halves.concat(F64, -1, empty(4), empty(4)));
        refused("g_x", () -> halves.concat_vjp(F64, 1, empty(4), empty(4), empty(3), null));
        MemorySegment both = empty(4);
        refused("out", () -> halves.concat(F64, 1, both, both));
    }

    private static void refused(String argument, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(argument), message);
    }
}
