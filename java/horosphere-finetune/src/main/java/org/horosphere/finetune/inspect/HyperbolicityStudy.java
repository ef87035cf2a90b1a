package org.horosphere.finetune.inspect;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.function.IntConsumer;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.horosphere.Exec;

/**
 * Relative delta-hyperbolicity of metric spaces (the prompts of a data set, say) beside that of
 * null models drawn for each of them.
 *
 * <p>delta_rel is twice Gromov's delta at the first point over the diameter. The statistic that is
 * compared is its mean over the spaces; a null model gives one value of it per replicate.
 */
public final class HyperbolicityStudy {
    /** One-sided level of the comparison with each null model. */
    static final double LEVEL = 0.05;

    /** Above this share of the null value a significant difference is called small. */
    static final double SMALL = 0.9;

    /**
     * One space.
     *
     * @param points distinct points
     * @param deltaRel at base point 0
     * @param sampledRel largest of 1,000 random quadruples
     * @param upperRel over all bases (at most 200 points), else the bound 2 delta_rel
     * @param diameter largest distance
     * @param effectiveDimension participation ratio
     */
    public record Measured(
            String name,
            int points,
            double deltaRel,
            double sampledRel,
            double upperRel,
            double diameter,
            double effectiveDimension) {}

    /**
     * A null model's values of the mean of delta_rel.
     *
     * @param mean over replicates
     * @param low 2.5 % point over replicates
     * @param high 97.5 % point
     * @param deviation of single spaces within a replicate, averaged
     * @param pLower chance of a value at most the data's: (1 + hits) / (1 + replicates)
     * @param pHigher chance of a value at least the data's
     */
    public record NullValue(
            NullModel model,
            double mean,
            double low,
            double high,
            double deviation,
            double pLower,
            double pHigher) {}

    /** What the comparison comes to. */
    public enum Finding {
        MORE_TREE_LIKE,
        SLIGHTLY_MORE_TREE_LIKE,
        NOT_DISTINGUISHED,
        LESS_TREE_LIKE,
        MIXED
    }

    /**
     * The study's result.
     *
     * @param what was measured
     * @param mean of delta_rel over the spaces
     * @param deviation population standard deviation over the spaces
     * @param ratio mean over the mean of the lower of the two strict null models
     * @param ratioLow 2.5 % point of the ratio, spaces drawn with replacement; NaN for one space
     * @param ratioHigh 97.5 % point
     * @param verdict in words
     */
    public record Result(
            String what,
            List<Measured> spaces,
            double mean,
            double deviation,
            List<NullValue> nulls,
            double effectiveDimension,
            double ratio,
            double ratioLow,
            double ratioHigh,
            Finding finding,
            String verdict) {
        NullValue of(NullModel model) {
            return nulls.stream().filter(v -> v.model == model).findFirst().orElseThrow();
        }
    }

    private final Exec exec;
    private final int replicates;
    private final long seed;

    /**
     * @param replicates of each null model, at least 19 (fewer can reach no verdict at 5 %)
     */
    public HyperbolicityStudy(Exec exec, int replicates, long seed) {
        if (replicates < 19) {
            throw new IllegalArgumentException(
                    "replicates: " + replicates + ", expected 19 or more");
        }
        this.exec = exec;
        this.replicates = replicates;
        this.seed = seed;
    }

    /**
     * Runs the study.
     *
     * @param progress is told how many spaces are done
     * @throws IllegalArgumentException if there is no space, or one without a distance above 0
     */
    public Result run(String what, List<Points> spaces, IntConsumer progress) {
        if (spaces.isEmpty()) {
            throw new IllegalArgumentException(what + ": nothing to measure");
        }
        NullModel[] models = NullModel.values();
        List<Measured> measured = new ArrayList<>();
        double[][][] nulls = new double[models.length][replicates][spaces.size()];
        try (DeltaMeter meter = new DeltaMeter(exec)) {
            for (int s = 0; s < spaces.size(); s++) {
                Points points = spaces.get(s);
                meter.load(points);
                if (!(meter.diameter() > 0)) {
                    throw new IllegalArgumentException(
                            points.name()
                                    + ": all points are the same (or closer than 1e-150), expected"
                                    + " a distance between some");
                }
                SplittableRandom quadruples = new SplittableRandom(seed + s);
                measured.add(
                        new Measured(
                                points.name(),
                                points.count(),
                                meter.relativeDelta(0),
                                meter.sampledRelativeDelta(quadruples),
                                meter.upperRelativeDelta(),
                                meter.diameter(),
                                meter.effectiveDimension()));
                RandomGenerator random =
                        RandomGeneratorFactory.of("L64X128MixRandom").create(seed * 1_000_003 + s);
                for (int r = 0; r < replicates; r++) {
                    for (int m = 0; m < models.length; m++) {
                        models[m].draw(points, random, meter, exec);
                        nulls[m][r][s] = meter.relativeDelta(0);
                    }
                }
                progress.accept(s + 1);
            }
        }
        return summarise(what, measured, nulls);
    }

    private Result summarise(String what, List<Measured> measured, double[][][] nulls) {
        double[] data = measured.stream().mapToDouble(Measured::deltaRel).toArray();
        double mean = Statistics.mean(data);
        List<NullValue> values = new ArrayList<>();
        for (NullModel model : NullModel.values()) {
            double[][] replicate = nulls[model.ordinal()];
            double[] means = Arrays.stream(replicate).mapToDouble(Statistics::mean).toArray();
            long lower = Arrays.stream(means).filter(v -> v <= mean).count();
            long higher = Arrays.stream(means).filter(v -> v >= mean).count();
            double deviation =
                    Arrays.stream(replicate)
                            .mapToDouble(Statistics::deviation)
                            .average()
                            .orElse(Double.NaN);
            double[] sorted = means.clone();
            Arrays.sort(sorted);
            values.add(
                    new NullValue(
                            model,
                            Statistics.mean(means),
                            Statistics.quantile(sorted, 0.025),
                            Statistics.quantile(sorted, 0.975),
                            deviation,
                            (1.0 + lower) / (1 + means.length),
                            (1.0 + higher) / (1 + means.length)));
        }
        NullValue spectrum = values.get(NullModel.SPECTRUM.ordinal());
        NullValue shuffled = values.get(NullModel.SHUFFLED.ordinal());
        NullValue strict = spectrum.mean <= shuffled.mean ? spectrum : shuffled;
        double[] expected = new double[data.length];
        for (double[] replicate : nulls[strict.model.ordinal()]) {
            for (int s = 0; s < data.length; s++) {
                expected[s] += replicate[s] / replicates;
            }
        }
        double ratio = mean / Statistics.mean(expected);
        double[] ratios = ratios(data, expected);
        double low = data.length > 1 ? Statistics.quantile(ratios, 0.025) : Double.NaN;
        double high = data.length > 1 ? Statistics.quantile(ratios, 0.975) : Double.NaN;
        Finding finding = finding(spectrum, shuffled, ratio);
        double dimension =
                measured.stream().mapToDouble(Measured::effectiveDimension).average().orElse(0);
        Result result =
                new Result(
                        what,
                        measured,
                        mean,
                        Statistics.deviation(data),
                        values,
                        dimension,
                        ratio,
                        low,
                        high,
                        finding,
                        "");
        return new Result(
                what,
                measured,
                mean,
                result.deviation,
                values,
                dimension,
                ratio,
                low,
                high,
                finding,
                verdict(result, strict));
    }

    private double[] ratios(double[] data, double[] expected) {
        SplittableRandom random = new SplittableRandom(seed);
        double[] ratios = new double[1000];
        for (int r = 0; r < ratios.length; r++) {
            double a = 0;
            double b = 0;
            for (int s = 0; s < data.length; s++) {
                int pick = random.nextInt(data.length);
                a += data[pick];
                b += expected[pick];
            }
            ratios[r] = a / b;
        }
        Arrays.sort(ratios);
        return ratios;
    }

    private static Finding finding(NullValue spectrum, NullValue shuffled, double ratio) {
        boolean lower = spectrum.pLower <= LEVEL && shuffled.pLower <= LEVEL;
        boolean higher = spectrum.pHigher <= LEVEL && shuffled.pHigher <= LEVEL;
        if (lower) {
            return ratio <= SMALL ? Finding.MORE_TREE_LIKE : Finding.SLIGHTLY_MORE_TREE_LIKE;
        }
        if (higher) {
            return Finding.LESS_TREE_LIKE;
        }
        boolean either =
                Math.min(spectrum.pLower, spectrum.pHigher) <= LEVEL
                        || Math.min(shuffled.pLower, shuffled.pHigher) <= LEVEL;
        return either ? Finding.MIXED : Finding.NOT_DISTINGUISHED;
    }

    private String verdict(Result r, NullValue strict) {
        String figures =
                String.format(
                        Locale.ROOT,
                        "delta_rel %.3f against %.3f [%.3f, %.3f] for the stricter null model (%s)",
                        r.mean,
                        strict.mean(),
                        strict.low(),
                        strict.high(),
                        strict.model().label());
        String share =
                Double.isNaN(r.ratioLow)
                        ? String.format(Locale.ROOT, "ratio %.2f", r.ratio)
                        : String.format(
                                Locale.ROOT,
                                "ratio %.2f, 95 %% interval over spaces %.2f to %.2f",
                                r.ratio,
                                r.ratioLow,
                                r.ratioHigh);
        String words =
                switch (r.finding) {
                    case MORE_TREE_LIKE ->
                            "More tree-like than random points of the same size and spectrum.";
                    case SLIGHTLY_MORE_TREE_LIKE ->
                            "Only slightly more tree-like than random points: a real but small "
                                    + "difference.";
                    case NOT_DISTINGUISHED ->
                            "No evidence of hyperbolic structure: random points of the same size "
                                    + "and spectrum are as tree-like.";
                    case LESS_TREE_LIKE ->
                            "Less tree-like than random points of the same size and spectrum: no "
                                    + "evidence of hyperbolic structure.";
                    case MIXED ->
                            "Undecided: the two null models (same spectrum, shuffled coordinates) "
                                    + "do not agree.";
                };
        NullValue plain = r.of(NullModel.GAUSSIAN);
        String warning =
                plain.mean() < r.mean
                        ? String.format(
                                Locale.ROOT,
                                " A structureless Gaussian cloud of the same size scores %.3f, "
                                        + "lower still: the raw figure says nothing.",
                                plain.mean())
                        : "";
        return String.format(
                Locale.ROOT,
                "%s %s; %s; p = %.3f (%d replicates).%s",
                words,
                figures,
                share,
                r.finding == Finding.LESS_TREE_LIKE ? strict.pHigher() : strict.pLower(),
                replicates,
                warning);
    }
}
