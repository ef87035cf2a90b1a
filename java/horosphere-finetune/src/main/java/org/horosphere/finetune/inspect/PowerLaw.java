package org.horosphere.finetune.inspect;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.apache.commons.math3.analysis.MultivariateFunction;
import org.apache.commons.math3.analysis.UnivariateFunction;
import org.apache.commons.math3.analysis.solvers.BrentSolver;
import org.apache.commons.math3.optim.InitialGuess;
import org.apache.commons.math3.optim.MaxEval;
import org.apache.commons.math3.optim.PointValuePair;
import org.apache.commons.math3.optim.nonlinear.scalar.GoalType;
import org.apache.commons.math3.optim.nonlinear.scalar.ObjectiveFunction;
import org.apache.commons.math3.optim.nonlinear.scalar.noderiv.NelderMeadSimplex;
import org.apache.commons.math3.optim.nonlinear.scalar.noderiv.SimplexOptimizer;
import org.apache.commons.math3.special.Erf;

/**
 * A discrete power law {@code p(x) = x^-gamma / zeta(gamma, xmin)} for {@code x >= xmin}, fitted to
 * counts (Clauset, Shalizi and Newman, arXiv 0706.1062). Immutable.
 */
public final class PowerLaw {
    /** How gamma and the distance are computed; the published values depend on it. */
    public enum Rule {
        /**
         * Maximum likelihood with the Hurwitz zeta function; the Kolmogorov-Smirnov distance over
         * all integers from xmin on. Clauset's own.
         */
        EXACT,
        /**
         * {@code gamma = 1 + n / sum ln(x / (xmin - 1/2))}, biased where xmin is small, and the
         * distance of P(X &lt; x) at the observed x only: the Python package powerlaw 1.5, with
         * which the HypLoRA paper's figures were made.
         */
        POWERLAW_1_5
    }

    /** gamma outside this is not searched. */
    private static final double LEAST_GAMMA = 1.0001;

    private static final double MOST_GAMMA = 20;

    /** Mean log-likelihoods this close are equal. */
    private static final double LIKELIHOOD_ACCURACY = 1e-11;

    /**
     * A fit.
     *
     * @param gamma the exponent
     * @param xmin the least count that belongs to the tail
     * @param tail how many values are xmin or more
     * @param distance Kolmogorov-Smirnov distance of the tail
     * @param standardError of gamma at this xmin, asymptotic: {@code (gamma - 1) / sqrt(tail)}
     */
    public record Fit(double gamma, long xmin, int tail, double distance, double standardError) {}

    /**
     * The likelihood ratio of the power law over another distribution on the same tail (Vuong).
     *
     * @param logRatio the sum of log-likelihood differences; positive favours the power law
     * @param pValue two-sided: the chance of a ratio this far from 0 if both are equally good
     * @param parameters the other distribution's, at its maximum of likelihood
     */
    public record Comparison(
            String alternative, double logRatio, double pValue, double[] parameters) {
        /** In words. */
        public String verdict() {
            if (!(pValue < 0.1)) {
                return "undecided";
            }
            return logRatio > 0 ? "power law fits better" : alternative + " fits better";
        }
    }

    /**
     * Percentile interval.
     *
     * @param low 2.5 % point
     * @param high 97.5 % point
     * @param resamples how many resamples could be fitted
     */
    public record Interval(double low, double high, int resamples) {}

    private final long[] values;
    private final int[] starts;
    private final double[] logTail;

    /**
     * @param counts positive numbers, one per distinct token, in any order
     * @throws IllegalArgumentException if there are fewer than two different ones or one is not
     *     positive
     */
    public PowerLaw(long[] counts) {
        long[] sorted = counts.clone();
        Arrays.sort(sorted);
        if (sorted.length == 0 || sorted[0] < 1) {
            throw new IllegalArgumentException("counts: expected positive numbers");
        }
        values = Arrays.stream(sorted).distinct().toArray();
        if (values.length < 2) {
            throw new IllegalArgumentException(
                    "counts: all are " + values[0] + ", expected at least two different ones");
        }
        starts = new int[values.length + 1];
        logTail = new double[values.length + 1];
        int at = 0;
        for (int v = 0; v < values.length; v++) {
            starts[v] = at;
            while (at < sorted.length && sorted[at] == values[v]) {
                at++;
            }
        }
        starts[values.length] = at;
        for (int v = values.length - 1; v >= 0; v--) {
            logTail[v] = logTail[v + 1] + multiplicity(v) * Math.log(values[v]);
        }
    }

    private int multiplicity(int v) {
        return starts[v + 1] - starts[v];
    }

    private int tail(int v) {
        return starts[values.length] - starts[v];
    }

    /** The fit at the xmin, among the observed values but the largest, of least distance. */
    public Fit fit(Rule rule) {
        Fit best = null;
        for (int v = 0; v < values.length - 1; v++) {
            Fit candidate = fitAt(v, rule);
            if (candidate.gamma > 1 && (best == null || candidate.distance < best.distance)) {
                best = candidate;
            }
        }
        return best;
    }

    /**
     * The fit at a given xmin.
     *
     * @throws IllegalArgumentException if xmin is not an observed value or is the largest
     */
    public Fit fit(Rule rule, long xmin) {
        int v = Arrays.binarySearch(values, xmin);
        if (v < 0 || v == values.length - 1) {
            throw new IllegalArgumentException(
                    "xmin: " + xmin + ", expected an observed value below the largest");
        }
        return fitAt(v, rule);
    }

    private Fit fitAt(int v, Rule rule) {
        int n = tail(v);
        double gamma = estimate(rule, values[v], logTail[v] / n);
        double distance = gamma > 1 ? distance(v, gamma, rule) : Double.POSITIVE_INFINITY;
        return new Fit(gamma, values[v], n, distance, (gamma - 1) / Math.sqrt(n));
    }

    private static double estimate(Rule rule, long xmin, double meanLog) {
        return rule == Rule.EXACT
                ? maximum(xmin, meanLog)
                : 1 + 1 / (meanLog - Math.log(xmin - 0.5));
    }

    /** Where {@code -ln zeta(gamma, xmin) - gamma meanLog} is largest; it is concave. */
    private static double maximum(double xmin, double meanLog) {
        UnivariateFunction slope =
                gamma ->
                        -HurwitzZeta.zetaByExponent(gamma, xmin) / HurwitzZeta.zeta(gamma, xmin)
                                - meanLog;
        if (slope.value(LEAST_GAMMA) <= 0) {
            return LEAST_GAMMA;
        }
        if (slope.value(MOST_GAMMA) >= 0) {
            return MOST_GAMMA;
        }
        return new BrentSolver(1e-14, 1e-14).solve(1000, slope, LEAST_GAMMA, MOST_GAMMA);
    }

    private double distance(int from, double gamma, Rule rule) {
        double norm = HurwitzZeta.zeta(gamma, values[from]);
        double n = tail(from);
        double worst = 0;
        for (int v = from; v < values.length; v++) {
            double below = (starts[v] - starts[from]) / n;
            double modelBelow = 1 - HurwitzZeta.zeta(gamma, values[v]) / norm;
            worst = Math.max(worst, Math.abs(below - modelBelow));
            if (rule == Rule.EXACT) {
                double upTo = (starts[v + 1] - starts[from]) / n;
                double modelUpTo = modelBelow + Math.pow(values[v], -gamma) / norm;
                worst = Math.max(worst, Math.abs(upTo - modelUpTo));
            }
        }
        return worst;
    }

    /**
     * The percentile bootstrap of gamma: the distinct tokens' counts are drawn with replacement and
     * fitted anew. With xmin held it is the uncertainty of gamma given the tail; with xmin chosen
     * anew each time it also shows how far the choice of the tail decides. The latter is no
     * confidence interval around the fit: ties among the drawn counts move xmin. Deterministic for
     * a seed.
     *
     * @param xmin the tail to hold to; 0 to choose it anew
     */
    public Interval bootstrap(Rule rule, long xmin, int resamples, long seed) {
        int n = starts[values.length];
        // drawn, not counted up: SplittableRandom's streams of evenly spaced seeds can overlap
        long[] seeds = new SplittableRandom(seed).longs(resamples).toArray();
        double[] gammas =
                Arrays.stream(seeds)
                        .parallel()
                        .mapToDouble(s -> resampled(rule, xmin, n, s))
                        .filter(g -> !Double.isNaN(g))
                        .sorted()
                        .toArray();
        if (gammas.length == 0) {
            return new Interval(Double.NaN, Double.NaN, 0);
        }
        return new Interval(
                Statistics.quantile(gammas, 0.025),
                Statistics.quantile(gammas, 0.975),
                gammas.length);
    }

    private double resampled(Rule rule, long xmin, int n, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        long[] drawn = new long[n];
        for (int i = 0; i < n; i++) {
            int at = Arrays.binarySearch(starts, random.nextInt(n));
            drawn[i] = values[at >= 0 ? at : -at - 2];
        }
        long[] tail = Arrays.stream(drawn).filter(x -> x >= xmin).toArray();
        if (Arrays.stream(tail).distinct().count() < 2) {
            return Double.NaN;
        }
        PowerLaw law = new PowerLaw(tail);
        if (xmin > 0) {
            double meanLog = law.logTail[0] / tail.length;
            return estimate(rule, xmin, meanLog);
        }
        return law.fit(rule).gamma;
    }

    /** Against {@code p(x) ∝ e^(-lambda x)}, x >= xmin. */
    public Comparison againstExponential(Fit fit) {
        int from = Arrays.binarySearch(values, fit.xmin);
        double mean = 0;
        for (int v = from; v < values.length; v++) {
            mean += (double) multiplicity(v) * (values[v] - fit.xmin) / fit.tail;
        }
        double lambda = Math.log1p(1 / mean);
        double logNorm = Math.log(-Math.expm1(-lambda));
        return compare(fit, from, "exponential", x -> logNorm - lambda * (x - fit.xmin), lambda);
    }

    /**
     * Against the lognormal, made discrete as {@code P(x - 1/2 < X < x + 1/2 | X > xmin - 1/2)}.
     * Its parameters are mu and sigma; where no finite pair is the best they are the infinite ones
     * of the limit, a Pareto law rounded to integers.
     */
    public Comparison againstLognormal(Fit fit) {
        int from = Arrays.binarySearch(values, fit.xmin);
        double threshold = Math.log(fit.xmin - 0.5);
        double slope = 1 / (logTail[from] / fit.tail - threshold);
        MultivariateFunction likelihood =
                p -> {
                    LognormalTail law = new LognormalTail(fit.xmin, p[0], p[1] * p[1]);
                    double sum = 0;
                    for (int v = from; v < values.length; v++) {
                        sum += multiplicity(v) * law.logProbability(values[v]);
                    }
                    return Double.isNaN(sum) ? Double.NEGATIVE_INFINITY : sum;
                };
        PointValuePair best = largest(likelihood, slope, 0.5);
        PointValuePair limit = largest(p -> likelihood.value(new double[] {p[0], 0}), slope);
        double[] p = best.getPoint();
        if (limit.getValue() > best.getValue() - LIKELIHOOD_ACCURACY * fit.tail) {
            p = new double[] {limit.getPoint()[0], 0};
        }
        double curvature = p[1] * p[1];
        LognormalTail law = new LognormalTail(fit.xmin, p[0], curvature);
        return compare(
                fit,
                from,
                "lognormal",
                law::logProbability,
                threshold - p[0] / curvature,
                1 / Math.abs(p[1]));
    }

    private static PointValuePair largest(MultivariateFunction f, double... start) {
        return new SimplexOptimizer(1e-13, 1e-13)
                .optimize(
                        new MaxEval(20_000),
                        new ObjectiveFunction(f),
                        GoalType.MAXIMIZE,
                        new InitialGuess(start),
                        new NelderMeadSimplex(start.length, 0.5));
    }

    private interface LogDensity {
        double at(long x);
    }

    private Comparison compare(
            Fit fit, int from, String name, LogDensity other, double... parameters) {
        double logNorm = Math.log(HurwitzZeta.zeta(fit.gamma, fit.xmin));
        double sum = 0;
        double squares = 0;
        for (int v = from; v < values.length; v++) {
            double difference = -fit.gamma * Math.log(values[v]) - logNorm - other.at(values[v]);
            sum += multiplicity(v) * difference;
            squares += multiplicity(v) * difference * difference;
        }
        double variance = squares / fit.tail - (sum / fit.tail) * (sum / fit.tail);
        double p =
                variance > 0
                        ? Erf.erfc(Math.abs(sum) / Math.sqrt(2 * fit.tail * variance))
                        : Double.NaN;
        return new Comparison(name, sum, p, parameters);
    }
}
