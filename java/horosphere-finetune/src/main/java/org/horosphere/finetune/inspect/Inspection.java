package org.horosphere.finetune.inspect;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.horosphere.Exec;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.InputNorms;

/**
 * Everything {@code horo inspect} measures, of a model on some texts or of plain matrices.
 * Deterministic for a seed and an instruction set.
 */
public final class Inspection {
    private static final int LAYOUT_TOKENS = 60;

    /**
     * What to do.
     *
     * @param prompts how many texts the geometry is measured on; all are counted for the power law
     * @param points most points of one space; a larger one is sampled, its first row kept
     * @param replicates of each null model
     * @param resamples of the power-law bootstrap
     */
    public record Options(int prompts, int points, int replicates, int resamples, long seed) {
        /** The command's defaults. */
        public static Options defaults() {
            return new Options(30, 1500, 39, 200, 1);
        }

        public Options {
            require("prompts", prompts, 1);
            require("points", points, 4);
            require("replicates", replicates, 19);
            require("resamples", resamples, 1);
        }

        private static void require(String name, int value, int least) {
            if (value < least) {
                throw new IllegalArgumentException(
                        name + ": " + value + ", expected " + least + " or more");
            }
        }
    }

    /** Hears how far a stage has come. */
    @FunctionalInterface
    public interface Progress {
        void at(String stage, int done, int total);
    }

    /**
     * The token-frequency power law.
     *
     * @param exact Clauset's rule
     * @param interval of the exact gamma, xmin held
     * @param intervalXmin of the exact gamma, xmin chosen anew in each resample
     * @param published the rule of the published figures
     */
    public record Frequencies(
            int types,
            long tokens,
            PowerLaw.Fit exact,
            PowerLaw.Interval interval,
            PowerLaw.Interval intervalXmin,
            PowerLaw.Comparison lognormal,
            PowerLaw.Comparison exponential,
            PowerLaw.Fit published) {}

    /**
     * A 2-D picture.
     *
     * @param labels one per point
     * @param frequent how many of the points, from the first on, are the frequent tokens
     */
    public record Picture(
            String what, List<String> labels, int frequent, DiskLayout disk, DiskLayout flat) {}

    /**
     * All results; a part that does not apply is null or empty.
     *
     * @param source the model and data, or the matrices
     * @param texts how many texts were counted, 0 for matrices
     */
    public record Report(
            List<String> source,
            int texts,
            Options options,
            Frequencies frequencies,
            TokenStudy.Result tokens,
            List<StateStudy.Block> blocks,
            List<InputNorms.Module> modules,
            List<HyperbolicityStudy.Result> hyperbolicity,
            List<Picture> pictures,
            List<String> notes) {}

    private Inspection() {}

    /**
     * Inspects a model.
     *
     * @param source what is inspected, for the report
     * @param texts in the order of the data
     * @throws IllegalArgumentException if no text has two different tokens
     */
    public static Report model(
            CausalLm lm,
            List<String> texts,
            List<String> source,
            Options options,
            Exec exec,
            Progress progress) {
        List<int[]> sequences = encode(lm, texts, progress);
        long[] counts = new long[lm.tokenizer().vocabSize()];
        sequences.forEach(ids -> Arrays.stream(ids).forEach(id -> counts[id]++));
        List<String> notes = new ArrayList<>();
        Frequencies frequencies = frequencies(counts, options, notes, progress);
        TokenStudy.Result tokens =
                TokenStudy.run(
                        counts,
                        id -> lm.tokenizer().decode(new int[] {id}, false),
                        id -> norm(lm.embedding(id)));

        List<int[]> usable =
                new ArrayList<>(
                        sequences.stream()
                                .filter(ids -> Arrays.stream(ids).distinct().count() >= 4)
                                .toList());
        if (usable.isEmpty()) {
            throw new IllegalArgumentException(
                    "data: no text has four different tokens, the least delta is defined on");
        }
        Collections.shuffle(usable, new Random(options.seed));
        List<int[]> chosen = usable.subList(0, Math.min(options.prompts, usable.size()));
        StateStudy states = new StateStudy();
        List<Points> embedded = new ArrayList<>();
        List<Points> finals = new ArrayList<>();
        int cut = 0;
        for (int p = 0; p < chosen.size(); p++) {
            int[] ids = chosen.get(p);
            if (ids.length > lm.maxLength()) {
                ids = Arrays.copyOf(ids, lm.maxLength());
                cut++;
            }
            String name = "prompt " + (p + 1);
            embedded.add(sample(embeddings(lm, name, ids), options));
            lm.forward(ids, states);
            finals.add(
                    sample(
                            new Points(name, ids.length, lm.hiddenSize(), states.lastStates()),
                            options));
            progress.at("forward passes", p + 1, chosen.size());
        }
        if (cut > 0) {
            notes.add(cut + " texts were cut to the model's " + lm.maxLength() + " tokens");
        }
        List<HyperbolicityStudy.Result> studies = new ArrayList<>();
        HyperbolicityStudy study = new HyperbolicityStudy(exec, options.replicates, options.seed);
        studies.add(study(study, "input embeddings", embedded, progress));
        studies.add(study(study, "last hidden states", finals, progress));
        Picture picture = picture(lm, tokens.tokens(), options.seed, exec);
        return new Report(
                source,
                texts.size(),
                options,
                frequencies,
                tokens,
                states.blocks(),
                states.modules(),
                studies,
                List.of(picture),
                notes);
    }

    /** Inspects matrices, each one metric space. */
    public static Report matrices(
            List<Points> matrices, Options options, Exec exec, Progress progress) {
        List<HyperbolicityStudy.Result> studies = new ArrayList<>();
        List<Picture> pictures = new ArrayList<>();
        List<String> notes = new ArrayList<>();
        HyperbolicityStudy study = new HyperbolicityStudy(exec, options.replicates, options.seed);
        for (Points matrix : matrices) {
            Points points = sample(matrix, options);
            if (points.count() < matrix.count()) {
                notes.add(
                        "%s: %d of %d rows, drawn at random"
                                .formatted(matrix.name(), points.count(), matrix.count()));
            }
            studies.add(study(study, matrix.name(), List.of(points), progress));
            int shown = Math.min(points.count(), 2 * LAYOUT_TOKENS);
            Points few = sample(points, shown, options.seed);
            List<String> labels = new ArrayList<>();
            for (int i = 0; i < shown; i++) {
                labels.add("");
            }
            pictures.add(picture(matrix.name(), few, labels, 0, options.seed, exec));
        }
        return new Report(
                matrices.stream().map(Points::name).toList(),
                0,
                options,
                null,
                null,
                List.of(),
                List.of(),
                studies,
                pictures,
                notes);
    }

    private static HyperbolicityStudy.Result study(
            HyperbolicityStudy study, String what, List<Points> spaces, Progress progress) {
        return study.run(
                what, spaces, done -> progress.at("delta of " + what, done, spaces.size()));
    }

    private static List<int[]> encode(CausalLm lm, List<String> texts, Progress progress) {
        List<int[]> sequences = new ArrayList<>();
        for (String text : texts) {
            int[] ids = lm.tokenizer().encode(text);
            if (lm.tokenizer().bosId() >= 0) {
                int[] all = new int[ids.length + 1];
                all[0] = lm.tokenizer().bosId();
                System.arraycopy(ids, 0, all, 1, ids.length);
                ids = all;
            }
            sequences.add(ids);
            if (sequences.size() % 100 == 0 || sequences.size() == texts.size()) {
                progress.at("counting tokens", sequences.size(), texts.size());
            }
        }
        return sequences;
    }

    private static Frequencies frequencies(
            long[] counts, Options options, List<String> notes, Progress progress) {
        long[] present = Arrays.stream(counts).filter(c -> c > 0).toArray();
        if (Arrays.stream(present).distinct().count() < 2) {
            notes.add("power law: all tokens are equally frequent, nothing to fit");
            return null;
        }
        PowerLaw law = new PowerLaw(present);
        PowerLaw.Fit exact = law.fit(PowerLaw.Rule.EXACT);
        progress.at("power law", 0, 1);
        Frequencies result =
                new Frequencies(
                        present.length,
                        Arrays.stream(present).sum(),
                        exact,
                        law.bootstrap(
                                PowerLaw.Rule.EXACT, exact.xmin(), options.resamples, options.seed),
                        law.bootstrap(PowerLaw.Rule.EXACT, 0, options.resamples, options.seed),
                        law.againstLognormal(exact),
                        law.againstExponential(exact),
                        law.fit(PowerLaw.Rule.POWERLAW_1_5));
        progress.at("power law", 1, 1);
        if (exact.tail() < 50) {
            notes.add(
                    "power law: only "
                            + exact.tail()
                            + " tokens in the tail, gamma is not to be relied on");
        }
        return result;
    }

    /** Distinct tokens in the order of their first occurrence: repeats do not change delta. */
    private static Points embeddings(CausalLm lm, String name, int[] ids) {
        int[] distinct = Arrays.stream(ids).distinct().toArray();
        return embeddings(lm, name, distinct, lm.hiddenSize());
    }

    private static Points embeddings(CausalLm lm, String name, int[] ids, int width) {
        double[] x = new double[ids.length * width];
        for (int i = 0; i < ids.length; i++) {
            float[] row = lm.embedding(ids[i]);
            for (int k = 0; k < width; k++) {
                x[i * width + k] = row[k];
            }
        }
        return new Points(name, ids.length, width, x);
    }

    private static double norm(float[] row) {
        double sum = 0;
        for (float v : row) {
            sum += (double) v * v;
        }
        return Math.sqrt(sum);
    }

    private static Points sample(Points points, Options options) {
        return sample(points, options.points, options.seed);
    }

    /** At most so many rows, drawn without replacement, in order; the first one is always kept. */
    private static Points sample(Points points, int most, long seed) {
        if (points.count() <= most) {
            return points;
        }
        List<Integer> rows = new ArrayList<>();
        for (int i = 1; i < points.count(); i++) {
            rows.add(i);
        }
        Collections.shuffle(rows, new Random(seed));
        int[] chosen = new int[most];
        for (int i = 1; i < most; i++) {
            chosen[i] = rows.get(i);
        }
        Arrays.sort(chosen);
        return points.rows(chosen);
    }

    private static Picture picture(
            CausalLm lm, List<TokenStudy.Token> tokens, long seed, Exec exec) {
        int each = Math.min(LAYOUT_TOKENS, tokens.size() / 2);
        List<TokenStudy.Token> shown = new ArrayList<>(tokens.subList(0, each));
        shown.addAll(tokens.subList(tokens.size() - each, tokens.size()));
        int[] ids = shown.stream().mapToInt(TokenStudy.Token::id).toArray();
        List<String> labels = shown.stream().map(TokenStudy.Token::text).toList();
        Points points = embeddings(lm, "tokens", ids, lm.hiddenSize());
        return picture("input embeddings", points, labels, each, seed, exec);
    }

    private static Picture picture(
            String what, Points points, List<String> labels, int frequent, long seed, Exec exec) {
        try (DeltaMeter meter = new DeltaMeter(exec)) {
            meter.load(points);
            double[] distances = meter.distances();
            return new Picture(
                    what,
                    labels,
                    frequent,
                    DiskLayout.hyperbolic(distances, points.count(), seed),
                    DiskLayout.flat(distances, points.count(), seed));
        }
    }
}
