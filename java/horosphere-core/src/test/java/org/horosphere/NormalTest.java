package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class NormalTest {
    private static final int ROWS = 20_000;
    private static final int DIM = 3;

    private static double[] doubles(MemorySegment segment) {
        return segment.toArray(ValueLayout.JAVA_DOUBLE);
    }

    @Test
    void aSequenceIsTheSameInParts() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment all = arena.allocate(ValueLayout.JAVA_DOUBLE, 1000);
            MemorySegment part = arena.allocate(ValueLayout.JAVA_DOUBLE, 501);
            Normal.normal(Exec.CPU, DType.F64, 1000, 2, -5, 0, all);
            Normal.normal(Exec.CPU, DType.F64, 501, 2, -5, 333, part);
            double[] expected = new double[501];
            System.arraycopy(doubles(all), 333, expected, 0, 501);
            assertArrayEquals(expected, doubles(part));
        }
    }

    /** Distances from the mean are those of the normal vector: mean square dim std^2. */
    @Test
    void samplesOfTheBallLieAroundTheirMean() {
        double std = 0.7;
        PoincareBall ball = new PoincareBall(2.5);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mean = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment out = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment z = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment dist = arena.allocate(ValueLayout.JAVA_DOUBLE, ROWS);
            for (int r = 0; r < ROWS; r++) {
                mean.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) r * DIM, 0.6);
            }
            Normal.wrapped_normal(ball, DType.F64, ROWS, DIM, std, 1, 10, mean, out);
            ball.dist(DType.F64, ROWS, DIM, mean, out, dist);
            Normal.normal(Exec.CPU, DType.F64, (long) ROWS * DIM, std, 1, 10, z);
            requireLengths(doubles(z), doubles(dist), std);
        }
    }

    @Test
    void samplesOfTheHyperboloidLieAroundTheirMean() {
        double std = 0.7;
        Lorentz model = new Lorentz(0.4);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mean = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * (DIM + 1));
            MemorySegment out = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * (DIM + 1));
            MemorySegment noise = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment dist = arena.allocate(ValueLayout.JAVA_DOUBLE, ROWS);
            for (int r = 0; r < ROWS; r++) {
                mean.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) r * (DIM + 1) + 1, 2);
            }
            Normal.wrapped_normal(model, DType.F64, ROWS, DIM, std, 1, 10, mean, noise, out);
            model.dist(DType.F64, ROWS, DIM, mean, out, dist);
            requireLengths(doubles(noise), doubles(dist), std);
        }
    }

    /** The way there and back gives std z, coordinate by coordinate, for any number of threads. */
    @Test
    void samplesOfTheBallHaveADeviationPerCoordinate() {
        double[] std = deviations();
        try (Arena arena = Arena.ofConfined();
                Exec three = Exec.cpu(3)) {
            MemorySegment deviation = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, std);
            MemorySegment mean = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment out = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment other = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment z = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            for (int r = 0; r < ROWS; r++) {
                mean.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) r * DIM, 0.6);
            }
            PoincareBall ball = new PoincareBall(2.5);
            Normal.wrapped_normal(ball, DType.F64, ROWS, DIM, deviation, 1, 10, mean, out);
            PoincareBall threads = new PoincareBall(2.5, three);
            Normal.wrapped_normal(threads, DType.F64, ROWS, DIM, deviation, 1, 10, mean, other);
            assertArrayEquals(doubles(out), doubles(other));
            Normal.normal(Exec.CPU, DType.F64, (long) ROWS * DIM, 1, 1, 10, z);
            ball.wrapped_normal_noise(DType.F64, ROWS, DIM, mean, out, other);
            requireScaled(doubles(z), std, doubles(other));
        }
    }

    @Test
    void samplesOfTheHyperboloidHaveADeviationPerCoordinate() {
        double[] std = deviations();
        Lorentz model = new Lorentz(0.4);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment deviation = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, std);
            MemorySegment mean = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * (DIM + 1));
            MemorySegment out = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * (DIM + 1));
            MemorySegment z = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment noise = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            for (int r = 0; r < ROWS; r++) {
                mean.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) r * (DIM + 1) + 1, 2);
            }
            Normal.wrapped_normal(model, DType.F64, ROWS, DIM, deviation, 1, 10, mean, z, out);
            model.wrapped_normal_noise(DType.F64, ROWS, DIM, mean, out, noise);
            requireScaled(doubles(z), std, doubles(noise));
        }
    }

    /** With equal deviations the density by the noise is the isotropic one. */
    @Test
    void densitiesAgreeWhereBothAreDefined() {
        double std = 0.7;
        PoincareBall ball = new PoincareBall(2.5);
        try (Arena arena = Arena.ofConfined()) {
            double[] all = new double[ROWS * DIM];
            Arrays.fill(all, std);
            double[] one = new double[ROWS];
            Arrays.fill(one, std);
            MemorySegment mean = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment x = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment noise = arena.allocate(ValueLayout.JAVA_DOUBLE, (long) ROWS * DIM);
            MemorySegment want = arena.allocate(ValueLayout.JAVA_DOUBLE, ROWS);
            MemorySegment got = arena.allocate(ValueLayout.JAVA_DOUBLE, ROWS);
            MemorySegment scalar = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, one);
            MemorySegment rows = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, all);
            Normal.wrapped_normal(ball, DType.F64, ROWS, DIM, std, 1, 10, mean, x);
            ball.wrapped_normal_log_prob(DType.F64, ROWS, DIM, DIM, x, mean, scalar, want);
            ball.wrapped_normal_noise(DType.F64, ROWS, DIM, mean, x, noise);
            ball.wrapped_normal_noise_log_prob(DType.F64, ROWS, DIM, DIM, noise, rows, got);
            assertArrayEquals(doubles(want), doubles(got), 1e-11);
        }
    }

    private static double[] deviations() {
        double[] std = new double[DIM];
        for (int j = 0; j < DIM; j++) {
            std[j] = 0.05 * (j + 1);
        }
        return std;
    }

    private static void requireScaled(double[] z, double[] std, double[] noise) {
        for (int i = 0; i < z.length; i++) {
            assertEquals(std[i % DIM] * z[i], noise[i], 1e-12);
        }
    }

    private static void requireLengths(double[] noise, double[] dist, double std) {
        double meanSquare = 0;
        for (int r = 0; r < ROWS; r++) {
            double square = 0;
            for (int j = 0; j < DIM; j++) {
                square += noise[r * DIM + j] * noise[r * DIM + j];
            }
            assertEquals(Math.sqrt(square), dist[r], 1e-9);
            meanSquare += dist[r] * dist[r] / ROWS;
        }
        // five standard deviations
        assertTrue(
                Math.abs(meanSquare / (DIM * std * std) - 1) < 5 * Math.sqrt(2.0 / (DIM * ROWS)));
    }

    @Test
    void whatDoesNotFitIsNamed() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.JAVA_FLOAT, 4);
            PoincareBall ball = new PoincareBall(1);
            refused("exec", () -> Normal.normal(null, DType.F32, 1, 1, 0, 0, out));
            refused("count", () -> Normal.normal(Exec.CPU, DType.F32, -1, 1, 0, 0, out));
            refused("out", () -> Normal.normal(Exec.CPU, DType.F32, 5, 1, 0, 0, out));
            refused("out", () -> Normal.normal(Exec.CPU, DType.F32, 4, 1, 0, 0, null));
            refused("std", () -> Normal.normal(Exec.CPU, DType.F32, 4, -1, 0, 0, out));
            refused("std", () -> Normal.normal(Exec.CPU, DType.F32, 4, Double.NaN, 0, 0, out));
            refused("offset", () -> Normal.normal(Exec.CPU, DType.F32, 4, 1, 0, -1, out));
            refused(
                    "offset",
                    () -> Normal.normal(Exec.CPU, DType.F32, 4, 1, 0, Long.MAX_VALUE - 2, out));
            refused("dim", () -> Normal.wrapped_normal(ball, DType.F32, 2, 0, 1, 0, 0, out, out));
            refused("out", () -> Normal.wrapped_normal(ball, DType.F32, 2, 2, 1, 0, 0, out, out));
        }
    }

    private static void refused(String argument, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(argument), message);
    }
}
