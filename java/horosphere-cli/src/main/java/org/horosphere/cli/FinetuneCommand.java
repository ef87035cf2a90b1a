package org.horosphere.cli;

import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.Adapter;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.AtomicFiles;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.CheckpointException;
import org.horosphere.finetune.DataSplit;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.TrainingRun;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo finetune}. */
@Command(
        name = "finetune",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
            "Trains an adapter on a frozen model and saves it as a PEFT directory, with its configuration (run.json) "
                    + "and the course of the training (metrics.jsonl).",
            "Without --model and --data: the small word-problem model and data that ship with horo.",
            "A run that was killed goes on bit for bit with --resume --output DIR; --save-every says how much of it is "
                    + "lost. Ctrl-C saves."
        })
final class FinetuneCommand implements Callable<Integer> {
    private static final int SHOWN_PROBLEMS = 3;

    /** What the untuned model answered. */
    private static final String BASE = "base.json";

    private record Base(String fingerprint, boolean[] correct, List<String> outputs) {}

    @Option(
            names = "--adapter",
            paramLabel = "KIND",
            defaultValue = "hyplora",
            description =
                    "lora, dora, hyplora, coeff, lora+coeff, dora+coeff or hyplora+coeff (default: ${DEFAULT-VALUE}).")
    private String adapter;

    @Mixin private DataFlags data;

    @Option(
            names = {"--output", "--out"},
            paramLabel = "DIR",
            description = "Where the adapter goes (default: horo-adapters/KIND-DATE-TIME).")
    private Path output;

    @Option(names = "--overwrite", description = "Replace what is at --output.")
    private boolean overwrite;

    @Option(
            names = "--resume",
            description =
                    "Go on with the run at --output; its options are taken from there unless others are given.")
    private boolean resume;

    @Option(
            names = "--save-every",
            paramLabel = "N",
            defaultValue = "0",
            description =
                    "Steps between checkpoints; 0 for none but on Ctrl-C (default: ${DEFAULT-VALUE}).")
    private int saveEvery;

    @Option(
            names = "--tensorboard",
            paramLabel = "DIR",
            description = "Write TensorBoard event files here.")
    private Path tensorBoard;

    @Mixin private AdapterFlags shape;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the results here.")
    private Path json;

    @Mixin private RunFlags runs;

    @Mixin private TrainingOptions training;

    private final PrintStream out = System.out;

    /** The untuned model on the held-out data. */
    private record Before(CausalLm.Loss loss, CausalLm.Score score) {}

    @Override
    public Integer call() {
        AdapterKind kind = UsageException.check(() -> AdapterKind.of(adapter));
        AdapterOptions adapterOptions = shape.options(kind);
        data.check();
        runs.check();
        int seeds = runs.seeds(1);
        TrainOptions options = training.with(500, 16, kind == AdapterKind.COEFF ? 2e-2 : 3e-3, 50);
        Exec exec = training.exec();
        UsageException.require("--save-every", saveEvery, 0, Integer.MAX_VALUE);
        if (resume && output == null) {
            throw new UsageException("--resume: --output must say which run");
        }
        Path target = target(kind);
        Outputs.requireUsable(json);
        if (tensorBoard != null) {
            AtomicFiles.requireDirectory(tensorBoard);
        }
        try (CausalLm lm = data.open(exec)) {
            if (kind != AdapterKind.COEFF) {
                lm.requireTargets(adapterOptions.targets());
            }
            DataSplit split = data.split(lm, options.seed());
            int steps = runs.steps(training, options, split.training().size());
            TrainOptions sized =
                    training.with(steps, options.batchSize(), options.learningRate(), 50);
            return runAll(lm, adapterOptions, sized, split, target, seeds);
        }
    }

    private Map<String, Object> configuration(
            CausalLm lm, AdapterOptions adapterOptions, TrainOptions options, int seeds) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("adapter", adapterOptions.kind().toString());
        data.describe(lm, all);
        AdapterFlags.describe(adapterOptions, all);
        RunFlags.describe(options, all);
        if (seeds > 1) {
            all.put("seeds", seeds);
        }
        all.put("save-every", saveEvery);
        all.put("tensorboard", tensorBoard == null ? null : tensorBoard.toString());
        return all;
    }

    private int runAll(
            CausalLm lm,
            AdapterOptions adapterOptions,
            TrainOptions options,
            DataSplit split,
            Path target,
            int seeds) {
        // every run is prepared before the first one starts: what cannot work fails now
        List<TrainingRun> prepared = new ArrayList<>();
        for (int i = 0; i < seeds; i++) {
            prepared.add(prepare(lm, adapterOptions, options, split, target, i, seeds));
        }
        if (prepared.stream().allMatch(TrainingRun::hasEnded) && seeds == 1) {
            throw new CheckpointException(
                    target + ": the run there has ended, there is nothing to resume");
        }
        out.printf(
                Locale.ROOT,
                "%s on %s: %d training examples, %d for validation, %d held out%n",
                adapterOptions.kind(),
                data.modelName(),
                split.training().size(),
                split.validation().size(),
                split.test().size());
        runs.requireMemory(lm, adapterOptions, options, split, out);
        CausalLm.Loss loss = lm.loss(split.test());
        List<Map<String, Object>> reports = new ArrayList<>();
        try (Claim claim = new Claim(target, Set.of(TrainingRun.CONFIGURATION, BASE))) {
            // from now on --resume knows the options
            Reports.writeJson(
                    target.resolve(TrainingRun.CONFIGURATION),
                    configuration(lm, adapterOptions, options, seeds));
            Before before = new Before(loss, base(lm, split, target));
            for (int i = 0; i < seeds; i++) {
                TrainingRun run = prepared.get(i);
                if (run.hasEnded()) {
                    reports.add(run.results());
                    out.printf("seed %d: has ended before%n", options.seed() + i);
                    continue;
                }
                Map<String, Object> report =
                        run(
                                lm,
                                adapterOptions,
                                options.withSeed(options.seed() + i),
                                split,
                                run,
                                directory(target, i, seeds),
                                before,
                                seeds);
                claim.keep();
                if (report == null) {
                    return Main.INTERRUPTED;
                }
                reports.add(report);
                lm.detach();
            }
            claim.keep();
        }
        Map<String, Object> report = reports.get(0);
        if (seeds > 1) {
            report = Summary.of(reports);
            Summary.print(out, adapterOptions.kind().toString(), report);
            Reports.writeJson(target.resolve("summary.json"), report);
            out.println("adapters and summary.json saved in " + target);
        }
        Reports.writeJson(json, report);
        return 0;
    }

    private static Path directory(Path target, int index, int seeds) {
        return seeds == 1 ? target : target.resolve("run-" + (index + 1));
    }

    private TrainingRun prepare(
            CausalLm lm,
            AdapterOptions adapterOptions,
            TrainOptions options,
            DataSplit split,
            Path target,
            int index,
            int seeds) {
        Path directory = directory(target, index, seeds);
        Path events =
                tensorBoard == null || seeds == 1
                        ? tensorBoard
                        : tensorBoard.resolve("run-" + (index + 1));
        return new TrainingRun(
                lm,
                directory,
                adapterOptions,
                options.withSeed(options.seed() + index),
                split.training(),
                split.validation(),
                new TrainingRun.Keeping(saveEvery, resume, events));
    }

    /** One run; null if it was stopped. */
    private Map<String, Object> run(
            CausalLm lm,
            AdapterOptions adapterOptions,
            TrainOptions options,
            DataSplit split,
            TrainingRun run,
            Path target,
            Before before,
            int seeds) {
        run.notes().forEach(note -> System.err.println("horo: " + note));
        if (resume) {
            out.printf(
                    run.resumedAt() > 0
                            ? "%s: going on after step %d%n"
                            : "%s: no checkpoint yet, beginning at step %d%n",
                    target,
                    run.resumedAt());
        }
        String name = seeds == 1 ? "training" : "seed " + options.seed();
        TrainingRun.Outcome outcome;
        try (Interrupt interrupt = Interrupt.install(run::stop)) {
            try (TrainingProgress progress =
                    new TrainingProgress(out, name, run.resumedAt(), options.steps())) {
                outcome = run.run(configuration(lm, adapterOptions, options, 1), progress);
            }
            if (interrupt.happened()) {
                out.printf(
                        Locale.ROOT,
                        "stopped after step %d of %d; adapter of step %d saved in %s, --resume goes on%n",
                        outcome.result().steps(),
                        options.steps(),
                        outcome.result().bestStep(),
                        target);
                return null;
            }
        }
        Adapter trained = lm.adapter();
        CausalLm.Loss loss = lm.loss(split.test());
        CausalLm.Score score = solve(lm, split.problems(), "after");
        Map<String, Object> report = report(trained, options, outcome, before, loss, score);
        report.put("output", target.toString());
        if (seeds == 1) {
            print(adapterOptions.kind(), report, trained);
            if (score != null) {
                show(split.problems(), before.score(), score);
            }
            out.println("adapter saved in " + target);
        }
        run.finish(report);
        return report;
    }

    private static Map<String, Object> report(
            Adapter trained,
            TrainOptions options,
            TrainingRun.Outcome outcome,
            Before before,
            CausalLm.Loss loss,
            CausalLm.Score score) {
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("adapter", trained.kind().toString());
        report.put("seed", options.seed());
        report.put("parameters", trained.parameterCount());
        report.put("steps", outcome.result().steps());
        report.put("best_step", outcome.result().bestStep());
        report.put("seconds", outcome.seconds());
        report.put("tokens_trained", outcome.tokens());
        report.put("loss_before", before.loss().loss());
        report.put("loss_after", loss.loss());
        report.put("tokens", loss.tokens());
        if (score != null) {
            report.put("exact_match_before", before.score().accuracy());
            report.put("exact_match_after", score.accuracy());
            report.put("exact_match_standard_error", score.standardError());
            report.put("problems", score.total());
        }
        return report;
    }

    private void print(AdapterKind kind, Map<String, Object> report, Adapter trained) {
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
        out.printf(
                Locale.ROOT,
                "%-28s %12s %12d%n",
                "trained parameters",
                "",
                trained.parameterCount());
        out.printf(Locale.ROOT, "%-28s %12s %11.1fs%n", "training time", "", report.get("seconds"));
        out.printf(
                Locale.ROOT,
                "%-28s %12s %12d%n",
                "best step of " + report.get("steps"),
                "",
                report.get("best_step"));
        trained.summary().forEach(line -> out.println(line));
    }

    /**
     * The untuned model's answers. They are kept with the run: one that is resumed does not ask
     * again.
     */
    private CausalLm.Score base(CausalLm lm, DataSplit split, Path target) {
        if (split.problems().isEmpty()) {
            return null;
        }
        Path file = target.resolve(BASE);
        String fingerprint = lm.fingerprint() + split.testFingerprint();
        if (resume && Files.exists(file)) {
            Base kept = Reports.readJson(file, Base.class);
            if (fingerprint.equals(kept.fingerprint())) {
                return new CausalLm.Score(kept.correct(), kept.outputs());
            }
        }
        CausalLm.Score score = solve(lm, split.problems(), "before");
        Reports.writeJson(file, new Base(fingerprint, score.correct(), score.outputs()));
        return score;
    }

    private CausalLm.Score solve(CausalLm lm, List<Dataset.Problem> problems, String when) {
        if (problems.isEmpty()) {
            return null;
        }
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

    private void show(List<Dataset.Problem> problems, CausalLm.Score before, CausalLm.Score after) {
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

    /** Fails before any work if the result could not be saved. */
    private Path target(AdapterKind kind) {
        Path chosen =
                output != null
                        ? output
                        : Path.of(
                                "horo-adapters",
                                kind
                                        + "-"
                                        + LocalDateTime.now()
                                                .format(
                                                        DateTimeFormatter.ofPattern(
                                                                "yyyyMMdd-HHmmss")));
        if (resume && !Files.isDirectory(chosen)) {
            out.println(chosen + ": nothing there yet, beginning");
        }
        Outputs.requireUsable(chosen, overwrite || resume);
        return chosen;
    }
}
