package org.horosphere.cli;

import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.horosphere.Exec;
import org.horosphere.finetune.AdaptableModel;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.DataSplit;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.MemoryEstimate;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.TrainingRun;

/** A language model on text. */
final class TextWorkload implements Workload {
    /** What the untuned model answered. */
    static final String BASE = "base.json";

    private static final int SHOWN_PROBLEMS = 3;

    private record Base(String fingerprint, boolean[] correct, List<String> outputs) {}

    private final DataFlags data;
    private final PrintStream out;
    private final CausalLm lm;
    private final DataSplit split;
    private CausalLm.Loss lossBefore;
    private CausalLm.Score before;
    private CausalLm.Score after;

    TextWorkload(DataFlags data, CausalLm lm, DataSplit split, PrintStream out) {
        this.data = data;
        this.out = out;
        this.lm = lm;
        this.split = split;
    }

    static TextWorkload open(DataFlags data, Exec exec, long seed, PrintStream out) {
        CausalLm lm = data.open(exec);
        try {
            return new TextWorkload(data, lm, data.split(lm, seed), out);
        } catch (RuntimeException e) {
            lm.close();
            throw e;
        }
    }

    @Override
    public AdaptableModel model() {
        return lm;
    }

    @Override
    public String name() {
        return data.modelName();
    }

    @Override
    public String unit() {
        return "tokens";
    }

    @Override
    public int examples() {
        return split.training().size();
    }

    @Override
    public String sizes() {
        return "%d training examples, %d for validation, %d held out"
                .formatted(split.training().size(), split.validation().size(), split.test().size());
    }

    private int longest() {
        return Stream.of(split.training(), split.validation(), split.test())
                .flatMap(List::stream)
                .mapToInt(example -> example.tokens().length - 1)
                .max()
                .orElse(1);
    }

    private int rows(TrainOptions options) {
        return Math.min(options.batchSize(), split.training().size());
    }

    @Override
    public MemoryEstimate memory(AdapterOptions adapter, TrainOptions options) {
        return lm.memory(adapter, rows(options), longest());
    }

    @Override
    public String largestBatch(TrainOptions options) {
        return rows(options) + " x " + longest() + " tokens";
    }

    @Override
    public TrainingRun prepare(
            Path directory,
            AdapterOptions adapter,
            TrainOptions options,
            TrainingRun.Keeping keeping) {
        return new TrainingRun(
                lm, directory, adapter, options, split.training(), split.validation(), keeping);
    }

    @Override
    public void describe(Map<String, Object> to) {
        data.describe(lm, to);
    }

    @Override
    public void measureLoss() {
        lossBefore = lm.loss(split.test());
    }

    @Override
    public void measureBase(Path target, boolean resume) {
        if (split.problems().isEmpty()) {
            return;
        }
        Path file = target.resolve(BASE);
        String fingerprint = lm.fingerprint() + split.testFingerprint();
        if (resume && Files.exists(file)) {
            Base kept = Reports.readJson(file, Base.class);
            if (fingerprint.equals(kept.fingerprint())) {
                before = new CausalLm.Score(kept.correct(), kept.outputs());
                return;
            }
        }
        before = solve("before");
        Reports.writeJson(file, new Base(fingerprint, before.correct(), before.outputs()));
    }

    @Override
    public void measure(Map<String, Object> report) {
        CausalLm.Loss loss = lm.loss(split.test());
        after = split.problems().isEmpty() ? null : solve("after");
        report.put("loss_before", lossBefore.loss());
        report.put("loss_after", loss.loss());
        report.put("tokens", loss.tokens());
        if (after != null) {
            report.put("exact_match_before", before.accuracy());
            report.put("exact_match_after", after.accuracy());
            report.put("exact_match_standard_error", after.standardError());
            report.put("problems", after.total());
        }
    }

    @Override
    public void print(AdapterKind kind, Map<String, Object> report) {
        out.println();
        out.printf(Locale.ROOT, "%-28s %12s %12s%n", "held out", "base", kind);
        out.printf(
                Locale.ROOT,
                "%-28s %12.4f %12.4f%n",
                "loss, nats per token",
                report.get("loss_before"),
                report.get("loss_after"));
        if (report.containsKey("problems")) {
            out.printf(
                    Locale.ROOT,
                    "%-28s %11.1f%% %11.1f%%  (standard error %.1f)%n",
                    "exact match of " + report.get("problems"),
                    100 * (Double) report.get("exact_match_before"),
                    100 * (Double) report.get("exact_match_after"),
                    100 * (Double) report.get("exact_match_standard_error"));
        }
    }

    private CausalLm.Score solve(String when) {
        List<Dataset.Problem> problems = split.problems();
        CausalLm.Score score =
                lm.solve(
                        problems,
                        data.answerTokens(),
                        done -> Terminal.progress("answering", done, problems.size()));
        out.printf(
                Locale.ROOT,
                "exact match %s: %d of %d%n",
                when,
                score.rightAnswers(),
                score.total());
        return score;
    }

    @Override
    public void show() {
        if (after == null) {
            return;
        }
        List<Dataset.Problem> problems = split.problems();
        for (int i = 0; i < Math.min(SHOWN_PROBLEMS, problems.size()); i++) {
            out.println();
            out.println("  " + problems.get(i).prompt().replace("\n", "\n  ").strip());
            out.println("    base:  " + line(before.outputs().get(i)));
            out.println("    tuned: " + line(after.outputs().get(i)));
            out.println("    right: " + line(problems.get(i).completion()));
        }
        out.println();
    }

    private static String line(String text) {
        String flat = text.strip().replaceAll("\\s+", " ");
        return flat.length() > 90 ? flat.substring(0, 87) + "..." : flat;
    }

    @Override
    public void close() {
        lm.close();
    }
}
