package org.horosphere.finetune;

import java.util.Arrays;
import java.util.List;
import org.apache.commons.math3.distribution.TDistribution;

/**
 * Whether two ways of training differ, measured on the same problems with the same seeds: a t test
 * of the mean of the paired differences that is meant for other seeds and for other problems of the
 * same kind.
 *
 * <p>Seeds and problems are crossed random effects: the variance is {@code (MS_seeds + MS_problems
 * - MS_rest) / (seeds * problems)} of the two-way analysis of variance, at least what either alone
 * gives, with Satterthwaite's degrees of freedom. With two or three seeds that approximation errs
 * towards significance where seeds matter, so the paired t test over seeds is made as well, and the
 * weaker of the two results is reported: under the null hypothesis it is below 5 % in at most 5 %
 * of cases, in simulations. With one seed only problems are tested, which says nothing about other
 * seeds.
 *
 * @param difference mean of first minus second
 * @param standardError of it
 * @param degreesOfFreedom of the t distribution
 * @param pValue two-sided; 1 if nothing differs anywhere
 */
public record PairedTest(
        double difference, double standardError, double degreesOfFreedom, double pValue) {

    /**
     * Tests.
     *
     * @param first by seed, then problem
     * @param second likewise, of the same size
     */
    public static PairedTest of(double[][] first, double[][] second) {
        return of(first, second, true);
    }

    /**
     * The mean of measurements, its standard error over seeds and problems, and a test of zero.
     *
     * @param values by seed, then problem
     */
    public static PairedTest mean(double[][] values) {
        return of(
                values,
                new double[values.length][values.length == 0 ? 0 : values[0].length],
                false);
    }

    private static PairedTest of(double[][] first, double[][] second, boolean overSeeds) {
        int seeds = first.length;
        int problems = seeds == 0 ? 0 : first[0].length;
        if (problems < 2 || second.length != seeds || second[0].length != problems) {
            throw new IllegalArgumentException(
                    "measurements: %d x %d and %d x %d, expected seeds x problems twice, 2 or more problems"
                            .formatted(
                                    seeds,
                                    problems,
                                    second.length,
                                    second.length == 0 ? 0 : second[0].length));
        }
        double[][] d = new double[seeds][problems];
        double[] bySeed = new double[seeds];
        double[] byProblem = new double[problems];
        double mean = 0;
        for (int s = 0; s < seeds; s++) {
            for (int j = 0; j < problems; j++) {
                d[s][j] = first[s][j] - second[s][j];
                bySeed[s] += d[s][j] / problems;
                byProblem[j] += d[s][j] / seeds;
                mean += d[s][j] / seeds / problems;
            }
        }
        double msSeeds = 0;
        double msProblems = 0;
        double rest = 0;
        for (int s = 0; s < seeds; s++) {
            msSeeds += problems * square(bySeed[s] - mean);
            for (int j = 0; j < problems; j++) {
                rest += square(d[s][j] - bySeed[s] - byProblem[j] + mean);
            }
        }
        for (int j = 0; j < problems; j++) {
            msProblems += seeds * square(byProblem[j] - mean) / (problems - 1);
        }
        if (seeds == 1) {
            return test(mean, msProblems / problems, problems - 1);
        }
        msSeeds /= seeds - 1;
        double restFreedom = (seeds - 1.0) * (problems - 1);
        rest /= restFreedom;
        double count = (double) seeds * problems;
        double sum = msSeeds + msProblems - rest;
        PairedTest crossed;
        if (sum <= msProblems) {
            crossed = test(mean, msProblems / count, problems - 1);
        } else if (sum <= msSeeds) {
            crossed = test(mean, msSeeds / count, seeds - 1);
        } else {
            double freedom =
                    square(sum)
                            / (square(msSeeds) / (seeds - 1)
                                    + square(msProblems) / (problems - 1)
                                    + square(rest) / restFreedom);
            crossed = test(mean, sum / count, freedom);
        }
        PairedTest seedwise = test(mean, msSeeds / count, seeds - 1);
        return overSeeds && seedwise.halfWidth() > crossed.halfWidth() ? seedwise : crossed;
    }

    /** Half the width of the 95 % confidence interval of the difference. */
    public double halfWidth() {
        return standardError
                * new TDistribution(null, degreesOfFreedom).inverseCumulativeProbability(0.975);
    }

    private static PairedTest test(double mean, double variance, double freedom) {
        double error = Math.sqrt(variance);
        double p =
                error > 0
                        ? 2
                                * new TDistribution(null, freedom)
                                        .cumulativeProbability(-Math.abs(mean) / error)
                        : mean == 0 ? 1 : 0;
        return new PairedTest(mean, error, freedom, p);
    }

    private static double square(double x) {
        return x * x;
    }

    /** Holm's step-down correction of p values that were looked at together. */
    public static double[] holm(List<Double> pValues) {
        int n = pValues.size();
        Integer[] order = new Integer[n];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, (i, j) -> Double.compare(pValues.get(i), pValues.get(j)));
        double[] adjusted = new double[n];
        double running = 0;
        for (int rank = 0; rank < n; rank++) {
            running = Math.max(running, Math.min(1, (n - rank) * pValues.get(order[rank])));
            adjusted[order[rank]] = running;
        }
        return adjusted;
    }
}
