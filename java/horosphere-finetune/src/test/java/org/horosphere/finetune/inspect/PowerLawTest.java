package org.horosphere.finetune.inspect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PowerLawTest {
    /** Values of mpmath at 30 digits. */
    @ParameterizedTest
    @CsvSource({
        "1.01, 1, 100.5779433384967836730861",
        "1.5, 1, 2.612375348685488343348568",
        "1.87, 3, 0.5125766912629608158760305",
        "2, 0.5, 4.934802200544679309417245",
        "2.5, 7, 0.04008175793366070124076274",
        "3.5, 1000, 1.266493125228039677153479e-8",
        "8, 12, 5.277607941333941727574736e-9",
        "20, 1, 1.000000953962033872796113",
        "20, 0.5, 1048576.000300739668167184",
        "20, 13, 6.877094496435442989923e-23",
        "12, 20.5, 4.378682719710868378446e-16",
        "3, 23.5, 0.0009447333934312954947738",
        "5, 24, 8.184915016750995403114e-7",
        "1.9, 100000, 0.00003513657656069906768942443"
    })
    void zetaHasTheStatedError(double s, double q, double want) {
        assertEquals(want, HurwitzZeta.zeta(s, q), 1e-14 * want);
    }

    /** 300 counts of no particular law, the same in the Python transcription of the rules. */
    private static long[] counts() {
        long[] counts = new long[300];
        for (int r = 1; r <= counts.length; r++) {
            counts[r - 1] = (long) (1000 / Math.pow(r, 0.9)) + r * 7919L % 3;
        }
        return counts;
    }

    /** An independent transcription in NumPy and mpmath gave these. */
    @ParameterizedTest
    @CsvSource({
        "POWERLAW_1_5, 6, 298, 1.9938799387935284, 0.10664173330139792",
        "POWERLAW_1_5, 20, 81, 2.1588148017995366, 0.022380685626029295",
        "POWERLAW_1_5, 101, 13, 2.3534086145371678, 0.06771439746832508",
        "EXACT, 6, 298, 1.9979198889598484, 0.10755737833600698",
        "EXACT, 20, 81, 2.1593027584091056, 0.02249991921464145",
        "EXACT, 101, 13, 2.353436617836195, 0.07836611313766091"
    })
    void fitAtGivenXmin(PowerLaw.Rule rule, long xmin, int tail, double gamma, double distance) {
        PowerLaw.Fit fit = new PowerLaw(counts()).fit(rule, xmin);
        assertEquals(tail, fit.tail());
        assertEquals(gamma, fit.gamma(), rule == PowerLaw.Rule.EXACT ? 1e-7 : 1e-13);
        assertEquals(distance, fit.distance(), rule == PowerLaw.Rule.EXACT ? 1e-7 : 1e-12);
        assertEquals((gamma - 1) / Math.sqrt(tail), fit.standardError(), 1e-6);
    }

    @Test
    void xminHasTheLeastDistance() {
        PowerLaw law = new PowerLaw(counts());
        PowerLaw.Fit published = law.fit(PowerLaw.Rule.POWERLAW_1_5);
        assertEquals(10, published.xmin());
        assertEquals(2.163213196588705, published.gamma(), 1e-13);
        assertEquals(0.008331216587244894, published.distance(), 1e-12);
        PowerLaw.Fit exact = law.fit(PowerLaw.Rule.EXACT);
        assertEquals(8, exact.xmin());
        assertEquals(2.179474967788014, exact.gamma(), 1e-7);
    }

    @Test
    void likelihoodRatios() {
        PowerLaw law = new PowerLaw(counts());
        PowerLaw.Fit fit = law.fit(PowerLaw.Rule.EXACT, 6);
        PowerLaw.Comparison exponential = law.againstExponential(fit);
        assertEquals(121.58675003073452, exponential.logRatio(), 1e-4);
        assertEquals(0.0032802176939524448, exponential.pValue(), 1e-7);
        assertEquals(0.044057383778042594, exponential.parameters()[0], 1e-14);
        assertEquals("power law fits better", exponential.verdict());
        PowerLaw.Comparison lognormal = law.againstLognormal(fit);
        assertEquals(-4.533281588660188, lognormal.logRatio(), 1e-4);
        assertEquals(0.10674884716491073, lognormal.pValue(), 1e-4);
        assertEquals(-0.16826, lognormal.parameters()[0], 1e-3);
        assertEquals(1.90187, lognormal.parameters()[1], 1e-3);
        assertEquals("undecided", lognormal.verdict());
    }

    /** Exact draws from the zeta distribution by inverting its distribution function. */
    private static long[] zipf(double gamma, long xmin, int n, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        double norm = HurwitzZeta.zeta(gamma, xmin);
        long[] out = new long[n];
        for (int i = 0; i < n; i++) {
            double u = random.nextDouble();
            long low = xmin;
            long high = 2 * xmin;
            while (HurwitzZeta.zeta(gamma, high) > u * norm) {
                low = high;
                high *= 2;
            }
            while (high - low > 1) {
                long middle = (low + high) / 2;
                if (HurwitzZeta.zeta(gamma, middle) > u * norm) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            out[i] = low;
        }
        return out;
    }

    @ParameterizedTest
    @CsvSource({"1.6, 1", "1.9, 1", "2.5, 1", "3.2, 1", "2.2, 5", "1.9, 20"})
    void recoversTheExponentOfSyntheticData(double gamma, long xmin) {
        PowerLaw law = new PowerLaw(zipf(gamma, xmin, 4000, 3));
        PowerLaw.Fit atTruth = law.fit(PowerLaw.Rule.EXACT, xmin);
        assertEquals(gamma, atTruth.gamma(), 3 * atTruth.standardError());
        assertTrue(atTruth.distance() < 1.63 / Math.sqrt(4000), "KS at the 1 % level");
        PowerLaw.Interval interval = law.bootstrap(PowerLaw.Rule.EXACT, xmin, 100, 1);
        assertTrue(interval.low() < gamma && gamma < interval.high(), interval.toString());
        assertTrue(interval.low() < atTruth.gamma() && atTruth.gamma() < interval.high());
    }

    @Test
    void theApproximationIsBiasedAtOneAndTheMaximumIsNot() {
        PowerLaw law = new PowerLaw(zipf(2.5, 1, 4000, 9));
        PowerLaw.Fit exact = law.fit(PowerLaw.Rule.EXACT, 1);
        PowerLaw.Fit approximate = law.fit(PowerLaw.Rule.POWERLAW_1_5, 1);
        assertEquals(2.5, exact.gamma(), 3 * exact.standardError());
        assertTrue(approximate.gamma() < 2.5 - 10 * exact.standardError());
    }

    @Test
    void theBootstrapsWidthIsThatOfTheStandardError() {
        PowerLaw law = new PowerLaw(zipf(2.2, 1, 1000, 5));
        PowerLaw.Fit fit = law.fit(PowerLaw.Rule.EXACT, 1);
        PowerLaw.Interval interval = law.bootstrap(PowerLaw.Rule.EXACT, 1, 400, 1);
        double deviation = (interval.high() - interval.low()) / (2 * 1.96);
        // the asymptotic error is that of the continuous law, close to the discrete one
        assertEquals(1, deviation / fit.standardError(), 0.35);
        assertEquals(interval, law.bootstrap(PowerLaw.Rule.EXACT, 1, 400, 1));
        assertNotEquals(interval, law.bootstrap(PowerLaw.Rule.EXACT, 1, 400, 2));
        assertEquals(400, interval.resamples());
    }

    @Test
    void geometricCountsAreNoPowerLaw() {
        SplittableRandom random = new SplittableRandom(1);
        long[] counts = new long[3000];
        for (int i = 0; i < counts.length; i++) {
            counts[i] = 1 + (long) (Math.log(random.nextDouble()) / Math.log(0.9));
        }
        PowerLaw law = new PowerLaw(counts);
        PowerLaw.Comparison c = law.againstExponential(law.fit(PowerLaw.Rule.EXACT, 1));
        assertTrue(c.logRatio() < 0 && c.pValue() < 1e-6, c.toString());
        assertEquals("exponential fits better", c.verdict());
    }

    @Test
    void badCountsAreRefused() {
        refused("counts: expected positive");
        refused("counts: expected positive", 3, 0, 4);
        refused("counts: expected positive", 3, -1);
        refused("counts: all are 5", 5, 5, 5);
        assertThrows(
                IllegalArgumentException.class,
                () -> new PowerLaw(new long[] {1, 2, 4}).fit(PowerLaw.Rule.EXACT, 3));
        assertThrows(
                IllegalArgumentException.class,
                () -> new PowerLaw(new long[] {1, 2, 4}).fit(PowerLaw.Rule.EXACT, 4));
    }

    private static void refused(String start, long... counts) {
        String message =
                assertThrows(IllegalArgumentException.class, () -> new PowerLaw(counts))
                        .getMessage();
        assertTrue(message.startsWith(start), message);
    }
}
