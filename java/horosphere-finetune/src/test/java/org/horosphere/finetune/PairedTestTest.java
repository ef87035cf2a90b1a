package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The test of differences: known cases, and how often it errs. */
class PairedTestTest {
    private static final int TRIALS = 2000;

    @Test
    void oneSeedIsThePairedTTest() {
        double[][] a = {{3.1, 2.5, 4.4, 3.9, 5.0}};
        double[][] b = {{2.9, 2.7, 3.8, 3.1, 4.2}};
        PairedTest test = PairedTest.of(a, b);
        // scipy.stats.ttest_rel: t = 2.2691267, p = 0.0858104, df = 4
        assertEquals(0.44, test.difference(), 1e-12);
        assertEquals(4, test.degreesOfFreedom());
        assertEquals(2.2691267, test.difference() / test.standardError(), 1e-7);
        assertEquals(0.0858104, test.pValue(), 1e-7);
    }

    @Test
    void theCrossedErrorIsThatOfTheAnalysisOfVariance() {
        double[][] values = {{1, 2, 3, 7}, {2, 4, 3, 9}, {4, 4, 6, 9}};
        // by hand: MS_seeds 6.25, MS_problems 21, MS_rest 0.58333
        PairedTest mean = PairedTest.mean(values);
        assertEquals(4.5, mean.difference(), 1e-12);
        assertEquals(Math.sqrt((6.25 + 21 - 3.5 / 6) / 12), mean.standardError(), 1e-12);
    }

    @Test
    void equalMeasurementsDoNotDiffer() {
        double[][] a = {{1, 0, 1}, {0, 0, 1}};
        assertEquals(1, PairedTest.of(a, a).pValue());
        assertThrows(
                IllegalArgumentException.class, () -> PairedTest.of(a, new double[][] {{1, 0, 1}}));
    }

    /** Part of the trials with p below 5 %. */
    private static double significant(
            int seeds, int problems, double seedEffect, double problemEffect, double shift) {
        SplittableRandom random = new SplittableRandom(7);
        int count = 0;
        for (int trial = 0; trial < TRIALS; trial++) {
            double[][] d = new double[seeds][problems];
            double[] of = new double[problems];
            for (int j = 0; j < problems; j++) {
                of[j] = problemEffect * random.nextGaussian();
            }
            for (int s = 0; s < seeds; s++) {
                double seed = seedEffect * random.nextGaussian();
                for (int j = 0; j < problems; j++) {
                    d[s][j] = shift + seed + of[j] + random.nextGaussian();
                }
            }
            count += PairedTest.of(d, new double[seeds][problems]).pValue() < 0.05 ? 1 : 0;
        }
        return (double) count / TRIALS;
    }

    @ParameterizedTest
    @CsvSource({
        "2, 50, 0, 1", "2, 200, 0.1, 1", "2, 200, 0.3, 1", "2, 50, 1, 1", "3, 50, 0, 1",
        "3, 200, 0.1, 1", "3, 200, 0.3, 1", "3, 50, 1, 0", "5, 50, 0.1, 1", "5, 200, 1, 1",
    })
    void findsADifferenceWhereThereIsNoneAtMostOnceInTwenty(
            int seeds, int problems, double seedEffect, double problemEffect) {
        double rate = significant(seeds, problems, seedEffect, problemEffect, 0);
        // 5 % and three standard errors of 2000 trials
        assertTrue(rate <= 0.065, () -> "rate " + rate);
    }

    @Test
    void findsADifferenceThatIsThere() {
        double rate = significant(3, 200, 0.05, 0.5, 0.4);
        assertTrue(rate > 0.8, () -> "power " + rate);
    }

    @Test
    void holmStepsDown() {
        assertArrayEquals(
                new double[] {0.03, 0.06, 0.06, 0.02},
                PairedTest.holm(List.of(0.01, 0.04, 0.03, 0.005)),
                1e-12);
    }
}
