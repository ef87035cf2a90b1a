package org.horosphere.finetune.inspect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.horosphere.Exec;
import org.horosphere.finetune.OneDnn;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class HyperbolicityStudyTest {
    @BeforeAll
    static void load() {
        OneDnn.ensureLoaded();
    }

    private static Points gaussian(int n, int d, long seed) {
        Random random = new Random(seed);
        double[] x = new double[n * d];
        for (int i = 0; i < x.length; i++) {
            x[i] = random.nextGaussian();
        }
        return new Points("gaussian", n, d, x);
    }

    /** The null values of the published estimator, and their spread over seeds. */
    @ParameterizedTest
    @CsvSource({
        "20, 4096, 0.039, 0.003",
        "60, 4096, 0.049, 0.003",
        "150, 4096, 0.057, 0.003",
        "60, 3072, 0.058, 0.004",
        "60, 64, 0.285, 0.03",
        "60, 8, 0.413, 0.06"
    })
    void gaussianPointsHaveTheKnownValues(int n, int d, double want, double spread) {
        try (DeltaMeter meter = new DeltaMeter(Exec.CPU)) {
            double sum = 0;
            for (int seed = 0; seed < 8; seed++) {
                meter.load(gaussian(n, d, seed));
                sum += meter.relativeDelta(0) / 8;
            }
            assertEquals(want, sum, spread);
        }
    }

    @Test
    void estimatesAreOrdered() {
        try (DeltaMeter meter = new DeltaMeter(Exec.CPU)) {
            for (int n : new int[] {2, 3, 4, 30, DeltaMeter.ALL_BASES, DeltaMeter.ALL_BASES + 1}) {
                meter.load(gaussian(n, 5, n));
                double atBase = meter.relativeDelta(0);
                double sampled = meter.sampledRelativeDelta(new SplittableRandom(1));
                double upper = meter.upperRelativeDelta();
                assertTrue(0 <= sampled && sampled <= upper + 1e-12, sampled + " " + upper);
                assertTrue(atBase <= upper && upper <= 2 * atBase + 1e-12, atBase + " " + upper);
                assertTrue(meter.effectiveDimension() <= Math.min(5, n - 1) + 1e-9);
            }
        }
    }

    @Test
    void theFourCycle() {
        double[] cycle = {0, 1, 2, 1, 1, 0, 1, 2, 2, 1, 0, 1, 1, 2, 1, 0};
        try (DeltaMeter meter = new DeltaMeter(Exec.CPU)) {
            meter.load(cycle, 4);
            assertEquals(1.0, meter.relativeDelta(0));
            assertEquals(1.0, meter.sampledRelativeDelta(new SplittableRandom(1)));
            assertEquals(1.0, meter.upperRelativeDelta());
            assertEquals(2.0, meter.diameter());
        }
    }

    @Test
    void pointsThatCoincideHaveNone() {
        try (DeltaMeter meter = new DeltaMeter(Exec.CPU)) {
            meter.load(new Points("same", 5, 2, new double[10]));
            assertEquals(0.0, meter.relativeDelta(0));
            assertEquals(0.0, meter.sampledRelativeDelta(new SplittableRandom(1)));
            assertEquals(0.0, meter.upperRelativeDelta());
            assertEquals(0.0, meter.effectiveDimension());
        }
    }

    /** Eigenvalues 1/2 (twice) and nothing else: two dimensions; on a line: one. */
    @Test
    void effectiveDimensionIsTheParticipationRatio() {
        try (DeltaMeter meter = new DeltaMeter(Exec.CPU)) {
            meter.load(
                    new Points("cross", 4, 3, new double[] {1, 0, 7, -1, 0, 7, 0, 1, 7, 0, -1, 7}));
            assertEquals(2, meter.effectiveDimension(), 1e-12);
            meter.load(new Points("line", 4, 1, new double[] {1, 2, 5, 11}));
            assertEquals(1, meter.effectiveDimension(), 1e-12);
            // covariance diag(4, 1): 25 / 17
            meter.load(new Points("box", 4, 2, new double[] {2, 1, -2, 1, 2, -1, -2, -1}));
            assertEquals(25.0 / 17, meter.effectiveDimension(), 1e-12);
        }
    }

    @ParameterizedTest
    @EnumSource(NullModel.class)
    void nullModelsKeepWhatTheySay(NullModel model) {
        int n = 80;
        int d = 6;
        Points data = gaussian(n, d, 1);
        for (int i = 0; i < n; i++) {
            data.x()[i * d] *= 20;
        }
        RandomGenerator random = new Random(4);
        try (DeltaMeter meter = new DeltaMeter(Exec.CPU)) {
            meter.load(data);
            double dimension = meter.effectiveDimension();
            assertEquals(1, dimension, 0.1);
            model.draw(data, random, meter, Exec.CPU);
            switch (model) {
                case GAUSSIAN -> assertEquals(5.6, meter.effectiveDimension(), 0.5);
                case SPECTRUM, SHUFFLED ->
                        assertEquals(dimension, meter.effectiveDimension(), 0.05);
                case SPHERE -> {
                    assertTrue(meter.diameter() <= Math.PI && meter.diameter() > 2.5);
                    assertTrue(meter.relativeDelta(0) > 0.7);
                }
                case TREE -> {
                    assertEquals(0.0, meter.relativeDelta(0));
                    assertEquals(Math.rint(meter.diameter()), meter.diameter());
                }
            }
        }
    }

    /** Leaves of a deep binary tree, each a sum of independent steps along its path. */
    private static Points hierarchy(int levels, int d, long seed) {
        Random random = new Random(seed);
        List<double[]> level = new ArrayList<>(List.of(new double[d]));
        List<double[]> all = new ArrayList<>(level);
        for (int l = 0; l < levels; l++) {
            List<double[]> next = new ArrayList<>();
            for (double[] parent : level) {
                for (int child = 0; child < 2; child++) {
                    double[] x = parent.clone();
                    for (int step = 0; step < 8; step++) {
                        x[random.nextInt(d)] += 1;
                    }
                    next.add(x);
                }
            }
            level = next;
            all.addAll(next);
        }
        double[] x = new double[all.size() * d];
        for (int i = 0; i < all.size(); i++) {
            System.arraycopy(all.get(i), 0, x, i * d, d);
        }
        return new Points("hierarchy", all.size(), d, x);
    }

    private static HyperbolicityStudy.Result study(List<Points> spaces) {
        return new HyperbolicityStudy(Exec.CPU, 39, 1).run("test", spaces, done -> {});
    }

    @Test
    void gaussianDataIsNotDistinguished() {
        int distinguished = 0;
        for (int seed = 0; seed < 10; seed++) {
            HyperbolicityStudy.Result r =
                    study(List.of(gaussian(40, 30, 2 * seed), gaussian(50, 30, 2 * seed + 1)));
            distinguished +=
                    r.finding() == HyperbolicityStudy.Finding.MORE_TREE_LIKE
                                    || r.finding()
                                            == HyperbolicityStudy.Finding.SLIGHTLY_MORE_TREE_LIKE
                            ? 1
                            : 0;
            assertTrue(r.verdict().contains("ratio"), r.verdict());
        }
        // each has a chance of 5 % at most
        assertTrue(distinguished <= 2, distinguished + " of 10");
    }

    @Test
    void highDimensionalNoiseIsNotCalledATreeThoughItsDeltaIsLow() {
        HyperbolicityStudy.Result r = study(List.of(gaussian(60, 2048, 3)));
        assertTrue(r.mean() < 0.08);
        assertTrue(
                r.finding() != HyperbolicityStudy.Finding.MORE_TREE_LIKE
                        && r.finding() != HyperbolicityStudy.Finding.SLIGHTLY_MORE_TREE_LIKE,
                r.verdict());
        assertTrue(Double.isNaN(r.ratioLow()));
    }

    @Test
    void spheresAreLessTreeLike() {
        Points p = gaussian(60, 2, 5);
        for (int i = 0; i < 60; i++) {
            double norm = Math.hypot(p.x()[2 * i], p.x()[2 * i + 1]);
            p.x()[2 * i] /= norm;
            p.x()[2 * i + 1] /= norm;
        }
        HyperbolicityStudy.Result r = study(List.of(p));
        assertEquals(HyperbolicityStudy.Finding.LESS_TREE_LIKE, r.finding(), r.verdict());
    }

    @Test
    void theSameSeedGivesTheSameResult() {
        List<Points> spaces = List.of(hierarchy(4, 200, 1), gaussian(20, 5, 1));
        assertEquals(study(spaces), study(spaces));
        assertEquals(2, study(spaces).spaces().size());
    }

    @Test
    void badPointsAreNamed() {
        refused("p: 1 x 2", () -> new Points("p", 1, 2, new double[2]));
        refused("p: 2 x 0", () -> new Points("p", 2, 0, new double[0]));
        refused("p: 3 numbers", () -> new Points("p", 2, 2, new double[3]));
        refused(
                "p: row 2, column 1 is NaN",
                () -> new Points("p", 2, 2, new double[] {1, 2, Double.NaN, 4}));
        refused(
                "p: row 1, column 2 is Infinity",
                () -> new Points("p", 2, 2, new double[] {1, Double.POSITIVE_INFINITY, 3, 4}));
        refused("replicates: 18", () -> new HyperbolicityStudy(Exec.CPU, 18, 1));
        refused(
                "none",
                () -> new HyperbolicityStudy(Exec.CPU, 19, 1).run("none", List.of(), n -> {}));
        refused(
                "points: a distance",
                () -> study(List.of(new Points("p", 2, 1, new double[] {-1e200, 1e200}))));
    }

    private static void refused(String start, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(start), message);
    }
}
