package org.horosphere.finetune;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;

/**
 * Adapters compared on equal terms: the same model, data, steps, batches and seeds for each, the
 * untuned model among them. For one thread; {@link #stop} may be called from any.
 */
public final class Comparison {
    /** The untuned model. */
    public static final String BASE = "base";

    /**
     * LoRA whose alpha is multiplied by what HypLoRA's gain is before training: a control with
     * HypLoRA's step size.
     */
    public static final String MATCHED = "lora-matched";

    /** What can be compared, by name. */
    public static final List<String> NAMES =
            List.of(
                    BASE,
                    "lora",
                    MATCHED,
                    "dora",
                    "hyplora",
                    "coeff",
                    "lora+coeff",
                    "dora+coeff",
                    "hyplora+coeff");

    /**
     * One way to train.
     *
     * @param name of {@link #NAMES}
     * @param adapter null for {@link #BASE}
     * @param training null for {@link #BASE}
     */
    public record Arm(String name, AdapterOptions adapter, TrainOptions training) {}

    /**
     * A loss on the way.
     *
     * @param step optimiser steps taken
     * @param loss nats per predicted token
     */
    public record Point(int step, double loss) {}

    /**
     * One trained adapter, or the untuned model.
     *
     * @param seed of initialisation, order and dropout
     * @param steps taken
     * @param bestStep whose state was kept
     * @param seconds of training, validation included
     * @param tokensPerSecond trained
     * @param training loss of every step
     * @param validation losses on the way
     * @param losses of every held-out example, scaled so that their mean is the loss per token
     * @param correct of every problem; empty without problems
     * @param curvature K by module path; empty but for HypLoRA
     * @param gain mean of HypLoRA's gain over LoRA at the end; 1 for others
     * @param alpha mixing coefficients by layer, row-major; empty without mixing
     */
    public record Run(
            long seed,
            int steps,
            int bestStep,
            double seconds,
            double tokensPerSecond,
            List<Point> training,
            List<Point> validation,
            double[] losses,
            boolean[] correct,
            Map<String, Double> curvature,
            double gain,
            Map<Integer, float[]> alpha) {
        /** Nats per predicted token of the held-out data. */
        public double loss() {
            return Arrays.stream(losses).average().orElse(Double.NaN);
        }

        /** The part of the problems that is answered exactly, NaN without problems. */
        public double accuracy() {
            return Arrays.stream(answers()).average().orElse(Double.NaN);
        }

        double[] answers() {
            double[] answers = new double[correct.length];
            for (int i = 0; i < answers.length; i++) {
                answers[i] = correct[i] ? 1 : 0;
            }
            return answers;
        }
    }

    /**
     * All runs of one arm.
     *
     * @param parameters trained numbers
     * @param memory bytes a training step takes on top of the weights
     * @param startingGain HypLoRA's gain before training, what {@link #MATCHED} takes over
     */
    public record Result(
            Arm arm, long parameters, long memory, double startingGain, List<Run> runs) {
        /** The mean, and its standard error over seeds and held-out examples. */
        public PairedTest mean(Measure measure) {
            return PairedTest.mean(values(this, measure));
        }
    }

    /** Which of the arms' measures. */
    public enum Measure {
        ACCURACY,
        LOSS
    }

    /**
     * An arm against another.
     *
     * @param test of the first minus the second
     * @param adjusted p value after Holm's correction over the arms compared with the same one
     */
    public record Contrast(
            String first, String second, Measure measure, PairedTest test, double adjusted) {
        /** At 5 %, after correction. */
        public boolean isSignificant() {
            return adjusted < 0.05;
        }

        /** Whether the first is the better one, by however little. */
        public boolean isBetter() {
            return measure == Measure.LOSS ? test.difference() < 0 : test.difference() > 0;
        }
    }

    /**
     * The outcome.
     *
     * @param source what was compared on what, for a heading
     * @param results in the order asked for
     * @param contrasts each arm against {@code reference} and against the base model
     * @param reference plain LoRA if it is there, else the first tuned arm; null if there is none
     * @param heads of an attention layer
     */
    public record Report(
            List<String> source,
            List<Result> results,
            List<Contrast> contrasts,
            String reference,
            int heads) {
        /**
         * What decides: exact match if some arm solves a tenth of the problems, else the loss,
         * which tells more where hardly any is solved.
         */
        public Measure decisive() {
            boolean solved =
                    results.stream()
                            .anyMatch(
                                    result ->
                                            result.runs().stream()
                                                            .mapToDouble(Run::accuracy)
                                                            .average()
                                                            .orElse(0)
                                                    >= 0.1);
            return solved && results.get(0).runs().get(0).correct().length > 1
                    ? Measure.ACCURACY
                    : Measure.LOSS;
        }
    }

    /** Told how far the work is. */
    public interface Progress {
        /** A run begins; its steps may be listened to. */
        Trainer.Listener begins(String arm, long seed, int run, int runs, int steps);

        /** A run has ended. */
        void ended(String arm, Run run);

        /** A run was taken from an earlier comparison; it neither begins nor ends. */
        default void reused(String arm, long seed, int run, int runs) {}
    }

    private final CausalLm lm;
    private final DataSplit data;
    private final int answerTokens;
    private volatile Trainer<?> trainer;
    private volatile boolean stopped;
    private KeptRuns kept;

    /**
     * @param lm a model without an adapter
     * @param answerTokens most tokens of an answer
     */
    public Comparison(CausalLm lm, DataSplit data, int answerTokens) {
        this.lm = lm;
        this.data = data;
        this.answerTokens = answerTokens;
    }

    /**
     * Writes every finished run into a directory at once, so that a comparison that was killed can
     * go on.
     *
     * @param reuse whether runs that are there are taken instead of trained again. Only those of
     *     the same model, data, options, seed and kernels are; runs with the same fingerprint have
     *     the same bits, timings apart
     * @throws CheckpointException if the directory cannot be written
     */
    public void keepRuns(Path directory, boolean reuse) {
        kept = new KeptRuns(directory, reuse, lm, data, answerTokens);
    }

    /** Ends after the current step; what is complete is reported. */
    public void stop() {
        stopped = true;
        Trainer<?> current = trainer;
        if (current != null) {
            current.stop();
        }
    }

    /**
     * Trains every arm with every seed, seed after seed.
     *
     * @param seed the first; the others follow it
     * @return null if it was stopped before every arm had a run
     * @throws CheckpointException if a kept run is damaged or one cannot be kept
     */
    public Report run(
            List<Arm> arms, long seed, int seeds, List<String> source, Progress progress) {
        double matched = startingGain(arms);
        Map<String, List<Run>> runs = new LinkedHashMap<>();
        Map<String, Arm> used = new LinkedHashMap<>();
        Map<String, Long> parameters = new LinkedHashMap<>();
        for (Arm arm : arms) {
            runs.put(arm.name(), new ArrayList<>());
            used.put(
                    arm.name(),
                    arm.name().equals(MATCHED)
                            ? new Arm(
                                    MATCHED,
                                    arm.adapter().withAlpha(arm.adapter().alpha() * matched),
                                    arm.training())
                            : arm);
        }
        int number = 0;
        int total = arms.size() * seeds;
        for (int s = 0; s < seeds && !stopped; s++) {
            for (Arm arm : used.values()) {
                number++;
                List<Run> done = runs.get(arm.name());
                if (arm.adapter() == null && !done.isEmpty()) {
                    done.add(done.get(0)); // the untuned model does not depend on a seed
                    continue;
                }
                KeptRuns.Kept before = kept == null ? null : kept.find(arm, seed + s);
                if (before != null) {
                    parameters.put(arm.name(), before.parameters());
                    done.add(before.run());
                    progress.reused(arm.name(), seed + s, number, total);
                    continue;
                }
                int steps = arm.adapter() == null ? 0 : arm.training().steps();
                Trainer.Listener listener =
                        progress.begins(arm.name(), seed + s, number, total, steps);
                Run run;
                try {
                    run = arm.adapter() == null ? untuned() : train(arm, seed + s, listener);
                } catch (CancellationException e) {
                    break;
                } catch (TrainingException e) {
                    lm.detach();
                    throw new TrainingException(
                            arm.name() + ", seed " + (seed + s) + ": " + e.getMessage());
                }
                if (arm.adapter() != null) {
                    parameters.put(arm.name(), lm.adapter().parameterCount());
                    lm.detach();
                }
                done.add(run);
                if (kept != null) {
                    long size = parameters.getOrDefault(arm.name(), 0L);
                    kept.keep(arm, seed + s, new KeptRuns.Kept(size, run));
                }
                progress.ended(arm.name(), run);
            }
        }
        lm.detach();
        int complete = runs.values().stream().mapToInt(List::size).min().orElse(0);
        if (complete == 0) {
            return null;
        }
        List<Result> results = new ArrayList<>();
        for (Arm arm : used.values()) {
            results.add(
                    new Result(
                            arm,
                            parameters.getOrDefault(arm.name(), 0L),
                            arm.adapter() == null ? 0 : memory(arm),
                            hyperbolic(arm) ? matched : 1,
                            List.copyOf(runs.get(arm.name()).subList(0, complete))));
        }
        return report(results, source, lm.model().config().heads());
    }

    static Report report(List<Result> results, List<String> source, int heads) {
        return new Report(source, results, contrasts(results), reference(results), heads);
    }

    private static boolean hyperbolic(Arm arm) {
        return arm.adapter() != null && arm.adapter().kind().isHyperbolic();
    }

    private long memory(Arm arm) {
        int longest = data.training().stream().mapToInt(e -> e.tokens().length - 1).max().orElse(1);
        int rows = Math.min(arm.training().batchSize(), data.training().size());
        return lm.memory(arm.adapter(), rows, longest).needed();
    }

    /** HypLoRA's gain over LoRA before training, on the validation data. */
    private double startingGain(List<Arm> arms) {
        if (arms.stream().noneMatch(a -> hyperbolic(a) || a.name().equals(MATCHED))) {
            return 1;
        }
        AdapterOptions options =
                arms.stream()
                        .filter(a -> a.adapter() != null)
                        .findFirst()
                        .orElseThrow()
                        .adapter()
                        .withKind(AdapterKind.HYPLORA);
        lm.attach(options, 1);
        try {
            return meanGain();
        } finally {
            lm.detach();
        }
    }

    /** The attached HypLoRA's gain times sqrt(in), which plain LoRA at the same alpha has as 1. */
    private double meanGain() {
        double sum = 0;
        long count = 0;
        List<Dataset.Example> some =
                data.validation().subList(0, Math.min(8, data.validation().size()));
        for (Dataset.Example example : some) {
            Batches.Batch batch = Batches.pad(List.of(example));
            lm.model().forward(1, batch.length(), batch.tokens());
            for (LowRankBranch branch : lm.adapter().branches().values()) {
                for (int token = 0; token < batch.length(); token++) {
                    sum += branch.gain(token) * Math.sqrt(branch.in());
                    count++;
                }
            }
        }
        return sum / count;
    }

    private Run untuned() {
        return new Run(
                0,
                0,
                0,
                0,
                Double.NaN,
                List.of(),
                List.of(),
                losses(),
                answers(),
                Map.of(),
                1,
                Map.of());
    }

    private Run train(Arm arm, long seed, Trainer.Listener listener) {
        List<Point> training = new ArrayList<>();
        List<Point> validation = new ArrayList<>();
        long[] tokens = {0};
        lm.attach(arm.adapter(), seed);
        TrainOptions options = arm.training().withSeed(seed);
        Trainer<Batches.Batch> current = lm.trainer(options);
        trainer = current;
        if (stopped) {
            current.stop();
        }
        long started = System.nanoTime();
        Trainer.Result result =
                current.run(
                        new Batches(data.training(), options.batchSize(), seed).endless(0),
                        Batches.sorted(data.validation(), options.batchSize()),
                        new Trainer.Listener() {
                            @Override
                            public void stepped(
                                    int step, double loss, double rate, double norm, long read) {
                                training.add(new Point(step, loss));
                                tokens[0] += read;
                                listener.stepped(step, loss, rate, norm, read);
                            }

                            @Override
                            public void validated(int step, double loss, boolean best) {
                                validation.add(new Point(step, loss));
                                listener.validated(step, loss, best);
                            }
                        });
        double seconds = (System.nanoTime() - started) / 1e9;
        requireGoing();
        Map<String, Double> curvature = new TreeMap<>();
        if (arm.adapter().kind().isHyperbolic()) {
            lm.adapter()
                    .branches()
                    .forEach((path, branch) -> curvature.put(path, branch.curvatureRadius()));
        }
        Map<Integer, float[]> alpha = new TreeMap<>();
        for (Llama.Layer layer : lm.model().layers()) {
            if (layer.coeffAlpha != null) {
                alpha.put(
                        layer.index,
                        Buffers.toArray(layer.coeffAlpha.value(), layer.coeffAlpha.size()));
            }
        }
        return new Run(
                seed,
                result.steps(),
                result.bestStep(),
                seconds,
                tokens[0] / seconds,
                List.copyOf(training),
                List.copyOf(validation),
                losses(),
                answers(),
                curvature,
                curvature.isEmpty() ? 1 : meanGain(),
                alpha);
    }

    private double[] losses() {
        return lm.exampleLosses(data.test());
    }

    private boolean[] answers() {
        return lm.solve(data.problems(), answerTokens, done -> requireGoing()).correct();
    }

    private void requireGoing() {
        if (stopped) {
            throw new CancellationException();
        }
    }

    private static String reference(List<Result> results) {
        List<String> tuned =
                results.stream()
                        .filter(r -> r.arm().adapter() != null)
                        .map(r -> r.arm().name())
                        .toList();
        return tuned.isEmpty() ? null : tuned.contains("lora") ? "lora" : tuned.get(0);
    }

    private static List<Contrast> contrasts(List<Result> results) {
        String reference = reference(results);
        List<Contrast> all = new ArrayList<>();
        for (Measure measure : Measure.values()) {
            if (results.get(0).runs().get(0).losses().length < 2
                    || measure == Measure.ACCURACY
                            && results.get(0).runs().get(0).correct().length < 2) {
                continue;
            }
            for (String second : new LinkedHashSet<>(Arrays.asList(reference, BASE, MATCHED))) {
                all.addAll(against(results, second, measure));
            }
        }
        return all;
    }

    /** All other arms against one; against the controls only those that are to beat them. */
    private static List<Contrast> against(List<Result> results, String second, Measure measure) {
        Result other = second == null ? null : find(results, second);
        List<String> firsts = new ArrayList<>();
        List<PairedTest> tests = new ArrayList<>();
        if (other == null) {
            return List.of();
        }
        for (Result result : results) {
            String first = result.arm().name();
            boolean asked =
                    second.equals(MATCHED)
                            ? hyperbolic(result.arm())
                            : !first.equals(second) && !first.equals(BASE);
            if (asked) {
                firsts.add(first);
                tests.add(PairedTest.of(values(result, measure), values(other, measure)));
            }
        }
        double[] adjusted = PairedTest.holm(tests.stream().map(PairedTest::pValue).toList());
        List<Contrast> contrasts = new ArrayList<>();
        for (int i = 0; i < firsts.size(); i++) {
            contrasts.add(new Contrast(firsts.get(i), second, measure, tests.get(i), adjusted[i]));
        }
        return contrasts;
    }

    private static Result find(List<Result> results, String name) {
        return results.stream().filter(r -> r.arm().name().equals(name)).findFirst().orElse(null);
    }

    private static double[][] values(Result result, Measure measure) {
        return result.runs().stream()
                .map(run -> measure == Measure.LOSS ? run.losses() : run.answers())
                .toArray(double[][]::new);
    }
}
