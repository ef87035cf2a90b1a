package org.horosphere.finetune.inspect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.stream.LongStream;
import org.apache.commons.math3.special.Erf;
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

    /** Values of mpmath at 30 digits. */
    @ParameterizedTest
    @CsvSource({
        "1.01, 1, -9999.927281160434978517439",
        "1.5, 1, -3.932239737431101510706389",
        "1.87, 3, -1.067708313704397018303126",
        "2, 0.5, 1.748080879623879768790597",
        "2.5, 7, -0.1019025068014718629589854",
        "3.5, 1000, -9.254588733692640628357184e-8",
        "8, 12, -1.36682048484450122059602e-8",
        "20, 1, -0.0000006613530207367107732987347",
        "20, 0.5, 726817.4978808801428830514",
        "20, 13, -1.779906611710884684588707e-22",
        "12, 20.5, -1.352580247035021610383122e-15",
        "5, 24, -0.000002789155443055331049194633",
        "1.9, 100000, -0.0004435652519776352298180825"
    })
    void zetasDerivativeHasTheStatedError(double s, double q, double want) {
        assertEquals(want, HurwitzZeta.zetaByExponent(s, q), 1e-14 * Math.abs(want));
    }

    /** Values of mpmath at 40 digits: xmin, slope, curvature, x. */
    @ParameterizedTest
    @CsvSource({
        "7, 0.9515, 0, 7, -2.061229148690959004738",
        "7, 0.9515, 0, 14086, -16.91125174157291774586",
        "7, 0.95, 1e-09, 300, -9.395454394946495267533",
        "7, 0.9, 0.0005, 14086, -16.58545186092125300326",
        "1, 0.3, 0.2, 1, -0.6695911607083220301746",
        "1, -2, 0.5, 1, -4.02813560111448366491",
        "1, -2, 0.5, 60, -5.512518062260876684716",
        "5, -40, 30, 9, -7.425081930796659737195",
        "5, -40, 30, 19, -2.335543401905818542189",
        "5, -40, 30, 90, -45.15831726440994358964",
        "20, 60, 4, 20, -0.05060252009412529982719",
        "20, 60, 4, 25, -13.90573437021520419111",
        "3, 1.5, 0.045, 1000, -16.27809693514925159247",
        "3, 1.4, 0.045, 3, -0.9580497188536026881146",
        "1, 12, 3, 1, -2.432844664605124050951e-7",
        "1, 12, 3, 2, -15.22928352845066909983",
        "100, -3000, 20000, 116, -0.8846083376649229979312",
        "100, -3000, 20000, 90000, -443218.0054363137596941"
    })
    void lognormalTail(long xmin, double slope, double curvature, long x, double want) {
        double got = new LognormalTail(xmin, slope, curvature).logProbability(x);
        assertEquals(want, got, 1e-13 * Math.max(1, Math.abs(want)));
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

    /**
     * How often each distinct word occurs in Moby Dick (Newman 2005, arXiv cond-mat/0412004; the
     * novel is in the public domain): {@code count:words}, 18,855 words.
     */
    private static final String MOBY_DICK =
            "1:9161 2:3085 3:1629 4:926 5:627 6:469 7:361 8:300 9:232 10:179 11:165 12:146 "
                    + "13:115 14:90 15:100 16:74 17:56 18:70 19:51 20:46 21:44 22:26 23:50 24:37 "
                    + "25:32 26:25 27:21 28:23 29:27 30:18 31:25 32:19 33:16 34:13 35:17 36:16 37:17 "
                    + "38:23 39:10 40:11 41:10 42:17 43:11 44:8 45:9 46:12 47:7 48:6 49:10 50:8 "
                    + "51:11 52:6 53:2 54:7 55:5 56:6 57:4 58:4 59:3 60:5 61:2 62:4 63:3 64:4 65:4 "
                    + "66:5 67:6 68:2 69:2 70:4 71:3 72:5 73:3 74:7 75:4 76:4 77:3 78:1 79:4 80:4 "
                    + "81:3 82:4 83:7 84:2 85:3 86:2 87:5 88:4 89:2 90:1 91:2 92:1 93:2 94:6 95:1 "
                    + "97:4 98:2 99:1 100:1 101:2 104:1 105:1 108:3 110:3 111:4 112:2 113:2 115:2 "
                    + "117:2 119:3 120:1 121:1 122:2 123:2 125:2 126:2 127:1 129:2 130:3 133:2 134:1 "
                    + "135:2 136:2 138:1 147:3 148:4 151:1 152:1 153:4 154:1 158:2 159:1 160:1 161:2 "
                    + "162:1 163:1 169:1 172:1 174:1 175:1 176:1 178:2 179:2 181:1 184:1 185:1 186:1 "
                    + "188:2 193:2 199:2 201:3 204:2 206:1 207:1 208:1 212:2 218:1 219:1 223:1 224:1 "
                    + "225:1 228:2 229:1 230:1 232:1 235:1 236:1 237:2 238:1 246:2 248:2 250:1 260:1 "
                    + "261:1 262:1 264:1 265:1 267:1 274:1 275:1 280:1 281:1 282:1 287:1 289:1 293:2 "
                    + "297:1 299:2 300:1 302:1 304:1 309:1 315:1 317:1 323:1 325:1 329:1 334:1 342:1 "
                    + "362:1 363:1 364:2 365:1 374:1 383:1 384:1 393:2 394:1 408:1 415:1 419:1 428:1 "
                    + "436:1 441:1 443:1 462:1 470:1 471:1 501:2 511:1 516:1 547:1 551:1 571:1 575:1 "
                    + "578:1 586:1 588:1 599:1 604:1 606:1 618:1 620:1 623:1 639:1 673:1 679:1 682:1 "
                    + "748:1 762:1 770:1 777:1 844:1 882:1 897:1 1022:1 1035:1 1041:1 1043:1 1065:1 "
                    + "1134:1 1161:1 1297:1 1372:1 1493:1 1581:1 1604:1 1674:1 1683:1 1711:1 1744:1 "
                    + "1792:1 1942:1 2374:1 2483:1 2917:1 4040:1 4484:1 4573:1 6260:1 6414:1 14086:1";

    private static long[] mobyDick() {
        return Arrays.stream(MOBY_DICK.split(" "))
                .map(pair -> pair.split(":"))
                .flatMapToLong(
                        pair ->
                                LongStream.generate(() -> Long.parseLong(pair[0]))
                                        .limit(Long.parseLong(pair[1])))
                .toArray();
    }

    /**
     * Clauset, Shalizi and Newman 2009 (arXiv 0706.1062): xmin 7, alpha 1.95, 2,958 words in the
     * tail. To 1e-8: alpha and distance by the R package poweRlaw, as PowerLaws.jl tests itself
     * against them. To 1e-13: alpha by mpmath at 30 digits.
     */
    @Test
    void mobyDickAsPublished() {
        long[] counts = mobyDick();
        assertEquals(18_855, counts.length);
        PowerLaw law = new PowerLaw(counts);
        PowerLaw.Fit fit = law.fit(PowerLaw.Rule.EXACT);
        assertEquals(7, fit.xmin());
        assertEquals(2958, fit.tail());
        assertEquals(1.9527275186009831, fit.gamma(), 1e-8);
        assertEquals(1.9527275116734449, fit.gamma(), 1e-13);
        assertEquals(0.008252950457938835, fit.distance(), 1e-8);
        PowerLaw.Fit shorter = law.fit(PowerLaw.Rule.EXACT, 10);
        assertEquals(1.9550379794745847, shorter.gamma(), 1e-8);
        assertEquals(1.9550379774410636, shorter.gamma(), 1e-13);
        assertEquals(0.011867106465087929, shorter.distance(), 1e-8);
        PowerLaw.Fit approximate = law.fit(PowerLaw.Rule.POWERLAW_1_5);
        assertEquals(7, approximate.xmin());
        assertEquals(1.95, approximate.gamma(), 5e-3);
    }

    /**
     * Published: normalised log ratio 9.09, p 0.00. At the rate of largest likelihood, ln(1 + 1 /
     * mean), which the authors' later code uses too, it is 9.1436; 9.09 belongs to a rate 0.6 %
     * above it.
     */
    @Test
    void mobyDickAgainstTheExponential() {
        PowerLaw law = new PowerLaw(mobyDick());
        PowerLaw.Comparison c = law.againstExponential(law.fit(PowerLaw.Rule.EXACT, 7));
        assertEquals(3025.033, c.logRatio(), 1e-3);
        double p = Erf.erfc(9.1436 / Math.sqrt(2));
        assertEquals(p, c.pValue(), 1e-3 * p);
        assertEquals("power law fits better", c.verdict());
    }

    /**
     * Published: normalised log ratio 0.395, p 0.69, undecided. But no lognormal is the best: the
     * likelihood rises along a ridge to a limit at mu = -infinity, a rounded Pareto law, and 0.395
     * is met on the way. Wanted is the limit, found independently in Python.
     */
    @Test
    void mobyDickAgainstTheLognormal() {
        PowerLaw law = new PowerLaw(mobyDick());
        PowerLaw.Comparison c = law.againstLognormal(law.fit(PowerLaw.Rule.EXACT, 7));
        assertEquals(0.0033798883, c.logRatio(), 1e-8);
        assertEquals("undecided", c.verdict());
        assertEquals(Double.NEGATIVE_INFINITY, c.parameters()[0]);
        assertEquals(Double.POSITIVE_INFINITY, c.parameters()[1]);
    }

    @ParameterizedTest
    @CsvSource({"2, 1", "0, 2", "6, 0.3", "4, 0.05"})
    void recoversTheLognormal(double mu, double sigma) {
        Random random = new Random(11);
        long[] counts =
                LongStream.generate(() -> Math.round(Math.exp(mu + sigma * random.nextGaussian())))
                        .filter(x -> x > 0)
                        .limit(4000)
                        .toArray();
        PowerLaw law = new PowerLaw(counts);
        long least = Arrays.stream(counts).min().getAsLong();
        PowerLaw.Comparison c = law.againstLognormal(law.fit(PowerLaw.Rule.EXACT, least));
        assertEquals("lognormal fits better", c.verdict());
        assertEquals(mu, c.parameters()[0], 5 * sigma / Math.sqrt(4000) + 0.1 * sigma);
        assertEquals(sigma, c.parameters()[1], 0.07 * sigma);
    }

    @Test
    void tailsOfTwoValuesHaveALognormal() {
        for (long[] counts : new long[][] {{5, 5, 6}, {1, 2}, {1, 1000}, {99, 100, 100, 100}}) {
            PowerLaw law = new PowerLaw(counts);
            PowerLaw.Comparison c = law.againstLognormal(law.fit(PowerLaw.Rule.EXACT, counts[0]));
            assertTrue(Double.isFinite(c.logRatio()), c.toString());
        }
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
