package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/**
 * What published hyperbolic libraries get wrong, as seen by running or reading geoopt (G), HypLL
 * (H) and HyperCore (C) in 2026: each a number that has to come out right here.
 */
class KnownDefectsTest {
    private static final PoincareBall BALL = new PoincareBall(1);
    private static final Lorentz LORENTZ = new Lorentz(1);

    /** A point of the hyperboloid at hyperbolic radius r along the first axis, K = 1. */
    private static float[] far(double r, double across) {
        float s = (float) Math.sinh(r);
        float t = (float) across;
        return new float[] {(float) Math.sqrt(1 + (double) s * s + (double) t * t), s, t};
    }

    @Test // G and H: (B, B) numbers instead of B
    void innerIsOneNumberPerRow() {
        double[] out = new double[2];
        BALL.inner(2, new double[4], new double[] {1, 2, 3, 4}, new double[] {5, 6, 7, 8}, out);
        assertArrayEquals(new double[] {4 * 17, 4 * 53}, out, 1e-12);
    }

    @Test // G: asinh of large negative and of small numbers; -34.5 for -9.9, 0 for 1e-8
    void signedDistanceToAPlaneHasItsSignAndItsDigits() {
        float r = 0.9999f;
        float[] out = new float[2];
        float[] normal = {1, 0};
        float[] x = {-r, 0, -1e-8f, 0};
        BALL.dist2plane_signed(2, x, new float[2], normal, out);
        assertEquals(-2 * artanh(r), out[0], 1e-6 * 10);
        assertEquals(-2e-8f, out[1], 1e-14f);
    }

    private static double artanh(double x) {
        return 0.5 * Math.log((1 + x) / (1 - x));
    }

    @Test // G: artanh clamped at 1 - 1e-7 in every type, so no distance beyond 16.8; 19 % off at
    // 1e-7
    void distancesAreNotClamped() {
        double x = 1 - 1e-9;
        double[] out = new double[1];
        BALL.dist0(1, new double[] {x}, out);
        assertEquals(Math.log((1 + x) / (1 - x)), out[0], 1e-13 * out[0]);
        float[] small = new float[1];
        BALL.logmap0(1, new float[] {1e-7f}, small);
        assertEquals(1e-7f, small[0], 1e-14f);
    }

    @Test // G: projx is a no-op in half precision, dist0 infinite
    void projectedPointsOfEveryTypeAreInside() {
        try (Arena arena = Arena.ofConfined()) {
            for (DType type : DType.values()) {
                MemorySegment wide = Buffers.of(arena, DType.F32, 3, 4);
                MemorySegment x = arena.allocate(2L * type.bytes(), 8);
                Layers.convert_from_f32(wide, type, x, 2, Exec.CPU);
                MemorySegment d = arena.allocate(8, 8);
                BALL.projx(type, 1, 2, x, x);
                BALL.dist0(type, 1, 2, x, d);
                MemorySegment distance = arena.allocate(4, 4);
                Layers.convert(type, d, distance, 1, Exec.CPU);
                double got = Buffers.get(distance, DType.F32, 0);
                assertTrue(got > 3 && got < 40, type + ": " + got);
            }
        }
    }

    @Test // G: float32 distances of -17 and NaN from radius 11 on, -0.004 between equal points
    void farDistancesInFloatAreRight() {
        float[] out = new float[1];
        for (double r : new double[] {6, 9, 12, 13}) {
            float[] x = far(r, 0);
            LORENTZ.dist(2, x, x, out);
            assertEquals(0, out[0]);
            float[] y = far(r + 0.25, 0);
            double want = asinh(y[1]) - asinh(x[1]);
            LORENTZ.dist(2, x, y, out);
            assertEquals(want, out[0], 1e-6 * want);
        }
    }

    private static double asinh(double x) {
        return Math.log(x + Math.sqrt(1 + x * x));
    }

    @Test // G: logmap 100 times too short at distance 1e-6, from a floor under the norm
    void shortLogarithmsKeepTheirLength() {
        for (double d : new double[] {1e-6, 1e-8}) {
            double[] y = {Math.sqrt(1 + d * d), d};
            double[] out = new double[2];
            LORENTZ.logmap(1, new double[] {1, 0}, y, out);
            assertEquals(d, out[1], 1e-14 * d + d * d * d);
        }
    }

    @Test // G: random_normal of the Lorentz model ignores std
    void wrappedNormalsHaveTheirDeviation() {
        try (Arena arena = Arena.ofConfined()) {
            int rows = 4000;
            double[] origin = new double[rows * 3];
            for (int r = 0; r < rows; r++) {
                origin[3 * r] = 1;
            }
            MemorySegment mean = Buffers.of(arena, DType.F64, origin);
            MemorySegment noise = Buffers.empty(arena, DType.F64, rows * 2);
            MemorySegment out = Buffers.empty(arena, DType.F64, rows * 3);
            MemorySegment d = Buffers.empty(arena, DType.F64, rows);
            for (double std : new double[] {0.01, 1}) {
                Normal.wrapped_normal(LORENTZ, DType.F64, rows, 2, std, 7, 0, mean, noise, out);
                LORENTZ.dist0(DType.F64, rows, 2, out, d);
                double sum = 0;
                for (double x : Buffers.read(d, DType.F64)) {
                    sum += x;
                }
                // the mean of a Rayleigh distribution; 5 standard errors
                double want = std * Math.sqrt(Math.PI / 2);
                assertEquals(want, sum / rows, 5 * 0.66 * std / Math.sqrt(rows));
            }
        }
    }

    @Test // G, C: conversions for unit curvature only, with an eps in the denominator, off the
    // manifold
    void conversionsAreIsometriesAtAnyCurvature() {
        double c = 4;
        PoincareBall ball = new PoincareBall(c);
        Lorentz lorentz = new Lorentz(1 / c);
        double[] x = {0.4995, 0};
        double[] y = {-0.1, 0.2};
        double[] a = new double[3];
        double[] b = new double[3];
        double[] d = new double[1];
        double[] e = new double[1];
        ball.to_lorentz(2, x, a);
        ball.to_lorentz(2, y, b);
        assertEquals(-1 / c, a[1] * a[1] + a[2] * a[2] - a[0] * a[0], 1e-9);
        ball.dist(2, x, y, d);
        lorentz.dist(2, a, b, e);
        assertEquals(d[0], e[0], 1e-13 * d[0]);
    }

    @Test // G: gradient (2177, -614, -410) of a distance between equal points
    void theGradientOfADistanceIsZeroAtEqualPoints() {
        float[] x = far(3, 0.5);
        float[] g = new float[3];
        LORENTZ.dist_vjp(2, x, x, new float[] {1}, g, null, null);
        assertArrayEquals(new float[3], g);
    }

    @Test // G: gradient 0 of logmap0 at the origin
    void theGradientOfLogmap0AtTheOriginIsTheIdentity() {
        double[] g = new double[2];
        BALL.logmap0_vjp(2, new double[2], new double[] {3, -4}, g, null);
        assertArrayEquals(new double[] {3, -4}, g);
    }

    @Test // G: egrad2rgrad flips a sign in the caller's gradient
    void inputsAreNotChanged() {
        float[] x = far(1, 0.5);
        float[] g = {1, 2, 3};
        LORENTZ.egrad2rgrad(2, x, g, new float[3]);
        assertArrayEquals(new float[] {1, 2, 3}, g);
    }

    @Test // G: no cdist for the ball; C: it ignores the curvature
    void allPairsOfDistances() {
        try (Arena arena = Arena.ofConfined()) {
            PoincareBall ball = new PoincareBall(2.5);
            double[] points = {0.1, 0.2, -0.3, 0.4, 0.5, 0};
            MemorySegment x = Buffers.of(arena, DType.F64, points);
            MemorySegment out = Buffers.empty(arena, DType.F64, 9);
            HyperbolicSets.of(ball).cdist(DType.F64, 3, 3, 2, x, x, false, out);
            double[] d = new double[1];
            for (int i = 0; i < 9; i++) {
                ball.dist(2, row(points, i / 3), row(points, i % 3), d);
                assertEquals(d[0], Buffers.get(out, DType.F64, i), 1e-14);
            }
        }
    }

    private static double[] row(double[] points, int i) {
        return new double[] {points[2 * i], points[2 * i + 1]};
    }

    @Test // G: c >= 89 becomes infinite in float32; the aperture is 4 times too small at K = 4
    void anyCurvature() {
        float[] out = new float[1];
        new PoincareBall(100).dist0(1, new float[] {0.05f}, out);
        assertEquals(2 / 10.0 * artanh(10 * 0.05f), out[0], 1e-6);
        double[] aperture = new double[1];
        double s = 3;
        new Lorentz(4).half_aperture(1, 0.1, new double[] {Math.sqrt(4 + s * s), s}, aperture);
        assertEquals(Math.asin(2 * 0.1 * 2 / s), aperture[0], 1e-14);
    }

    @Test // C: the origin is no neutral element, operands of the exponential map swapped
    void theOriginIsNeutral() {
        double[] o = {1, 0, 0};
        double[] y = {Math.sqrt(1 + 0.25 + 4), 0.5, 2};
        double[] out = new double[3];
        LORENTZ.mobius_add(2, o, y, out);
        assertArrayEquals(y, out, 1e-14);
        LORENTZ.mobius_add(2, y, o, out);
        assertArrayEquals(y, out, 1e-14);
    }

    @Test // H: the momentum buffer is never updated, every step has one length
    void momentumGathersSpeed() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment x = Buffers.of(arena, DType.F64, 0, 0);
            MemorySegment g = Buffers.of(arena, DType.F64, -1, 0);
            RiemannianSgd sgd =
                    new RiemannianSgd(
                            BALL,
                            DType.F64,
                            1,
                            2,
                            RiemannianSgd.Options.lr(0.01).withMomentum(0.9));
            double before = 0;
            double[] steps = new double[3];
            for (int i = 0; i < steps.length; i++) {
                sgd.step(x, g);
                steps[i] = Buffers.get(x, DType.F64, 0) - before;
                before += steps[i];
            }
            assertTrue(steps[1] > 1.8 * steps[0] && steps[2] > 1.3 * steps[1]);
        }
    }

    @Test // C: a constant for every pair, the sign of the product lost
    void squaredLorentzianDistances() {
        double[] x = {1, 0};
        double[] out = new double[1];
        for (double s : new double[] {1e-9, 0.5, 20}) {
            LORENTZ.sqdist(1, x, new double[] {Math.sqrt(1 + s * s), s}, out);
            assertEquals(2 * s * s / (1 + Math.sqrt(1 + s * s)), out[0], 1e-14 * out[0]);
        }
    }

    @Test // C: one axis left out of the norm, and (B, B) numbers
    void anglesUseEveryAxis() {
        double s = 2;
        double[] x = {Math.sqrt(1 + s * s), s, 0, 0};
        double[] out = new double[3];
        double[] y = new double[12];
        for (int axis = 1; axis <= 3; axis++) {
            // beyond x, and off to one side along each axis; at x the angle of the last two is
            // equal
            y[4 * axis - 4 + 1] = 5;
            y[4 * axis - 4 + axis] += axis == 1 ? 1 : 3;
            double square = 0;
            for (int i = 1; i < 4; i++) {
                square += y[4 * axis - 4 + i] * y[4 * axis - 4 + i];
            }
            y[4 * axis - 4] = Math.sqrt(1 + square);
        }
        LORENTZ.oxy_angle(3, x, y, out);
        assertEquals(0, out[0], 1e-7);
        assertTrue(out[1] > 0.1, "angle " + out[1]);
        assertEquals(out[1], out[2], 1e-14);
    }

    @Test // C, and H before its PR 43: 2 (1 - c|x|^2) for the conformal factor in the scores
    void scoresAreScaledDistancesToPlanes() {
        try (Arena arena = Arena.ofConfined()) {
            PoincareBall ball = new PoincareBall(0.7);
            double[] x = {0.3, -0.8};
            double[] normal = {1.5, 0.5};
            MemorySegment out = Buffers.empty(arena, DType.F64, 1);
            HyperbolicLinear.mlr(ball)
                    .forward(
                            DType.F64,
                            1,
                            2,
                            1,
                            Buffers.of(arena, DType.F64, x),
                            Buffers.of(arena, DType.F64, normal),
                            null,
                            out);
            double[] distance = new double[1];
            ball.dist2plane_signed(2, x, new double[2], normal, distance);
            double scale = Buffers.get(out, DType.F64, 0) / distance[0];
            // one factor for all points: |a| times the convention's constant
            double[] other = {-0.1, 0.9};
            HyperbolicLinear.mlr(ball)
                    .forward(
                            DType.F64,
                            1,
                            2,
                            1,
                            Buffers.of(arena, DType.F64, other),
                            Buffers.of(arena, DType.F64, normal),
                            null,
                            out);
            ball.dist2plane_signed(2, other, new double[2], normal, distance);
            assertEquals(scale * distance[0], Buffers.get(out, DType.F64, 0), 1e-13);
        }
    }
}
