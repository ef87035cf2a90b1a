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
import org.horosphere.finetune.CheckpointException;
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
            "With --images: an image classifier (ViT) on a folder per class.",
            "Without --model and --data: the small word-problem model and data that ship with horo.",
            "A run that was killed goes on bit for bit with --resume --output DIR; --save-every says how much of it is "
                    + "lost. Ctrl-C saves."
        })
final class FinetuneCommand implements Callable<Integer> {
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

    @Override
    public Integer call() {
        AdapterKind kind = UsageException.check(() -> AdapterKind.of(adapter));
        data.check();
        AdapterOptions adapterOptions = shape.options(kind, data.isForImages());
        runs.check();
        int seeds = runs.seeds(1);
        double ofText = kind == AdapterKind.COEFF ? 2e-2 : 3e-3;
        double rate = data.isForImages() ? 1e-3 : ofText;
        TrainOptions options = training.with(500, 16, rate, 50);
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
        try (Workload work = open(exec, options.seed())) {
            if (kind != AdapterKind.COEFF) {
                work.model().requireTargets(adapterOptions.targets());
            }
            int steps = runs.steps(training, options, work.examples());
            TrainOptions sized =
                    training.with(steps, options.batchSize(), options.learningRate(), 50);
            return runAll(work, adapterOptions, sized, target, seeds);
        }
    }

    private Workload open(Exec exec, long seed) {
        return data.isForImages()
                ? new ImageWorkload(data, exec, seed, out)
                : TextWorkload.open(data, exec, seed, out);
    }

    private Map<String, Object> configuration(
            Workload work, AdapterOptions adapterOptions, TrainOptions options, int seeds) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("adapter", adapterOptions.kind().toString());
        work.describe(all);
        AdapterFlags.describe(adapterOptions, all);
        RunFlags.describe(options, all);
        if (seeds > 1) {
            all.put("seeds", seeds);
        }
        all.put("save-every", saveEvery);
        all.put("device", training.device().described());
        all.put("tensorboard", tensorBoard == null ? null : tensorBoard.toString());
        return all;
    }

    private int runAll(
            Workload work,
            AdapterOptions adapterOptions,
            TrainOptions options,
            Path target,
            int seeds) {
        // every run is prepared before the first one starts: what cannot work fails now
        List<TrainingRun> prepared = new ArrayList<>();
        for (int i = 0; i < seeds; i++) {
            prepared.add(prepare(work, adapterOptions, options, target, i, seeds));
        }
        if (prepared.stream().allMatch(TrainingRun::hasEnded) && seeds == 1) {
            throw new CheckpointException(
                    target + ": the run there has ended, there is nothing to resume");
        }
        out.printf(Locale.ROOT, "%s on %s: %s%n", adapterOptions.kind(), work.name(), work.sizes());
        runs.requireMemory(work, adapterOptions, options, out);
        work.measureLoss();
        List<Map<String, Object>> reports = new ArrayList<>();
        try (Claim claim =
                new Claim(target, Set.of(TrainingRun.CONFIGURATION, TextWorkload.BASE))) {
            // from now on --resume knows the options
            Reports.writeJson(
                    target.resolve(TrainingRun.CONFIGURATION),
                    configuration(work, adapterOptions, options, seeds));
            work.measureBase(target, resume);
            for (int i = 0; i < seeds; i++) {
                TrainingRun run = prepared.get(i);
                if (run.hasEnded()) {
                    reports.add(run.results());
                    out.printf("seed %d: has ended before%n", options.seed() + i);
                    continue;
                }
                Map<String, Object> report =
                        run(
                                work,
                                adapterOptions,
                                options.withSeed(options.seed() + i),
                                run,
                                directory(target, i, seeds),
                                seeds);
                claim.keep();
                if (report == null) {
                    return Main.INTERRUPTED;
                }
                reports.add(report);
                work.model().detach();
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
            Workload work,
            AdapterOptions adapterOptions,
            TrainOptions options,
            Path target,
            int index,
            int seeds) {
        Path directory = directory(target, index, seeds);
        Path events =
                tensorBoard == null || seeds == 1
                        ? tensorBoard
                        : tensorBoard.resolve("run-" + (index + 1));
        return work.prepare(
                directory,
                adapterOptions,
                options.withSeed(options.seed() + index),
                new TrainingRun.Keeping(saveEvery, resume, events));
    }

    /** One run; null if it was stopped. */
    private Map<String, Object> run(
            Workload work,
            AdapterOptions adapterOptions,
            TrainOptions options,
            TrainingRun run,
            Path target,
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
                    new TrainingProgress(
                            out, name, work.unit(), run.resumedAt(), options.steps())) {
                outcome = run.run(configuration(work, adapterOptions, options, 1), progress);
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
        Adapter trained = work.model().adapter();
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("adapter", trained.kind().toString());
        report.put("seed", options.seed());
        report.put("parameters", trained.parameterCount());
        report.put("steps", outcome.result().steps());
        report.put("best_step", outcome.result().bestStep());
        report.put("seconds", outcome.seconds());
        report.put(work.unit() + "_trained", outcome.tokens());
        work.measure(report);
        report.put("output", target.toString());
        if (seeds == 1) {
            work.print(adapterOptions.kind(), report);
            print(report, trained);
            work.show();
            out.println("adapter saved in " + target);
        }
        run.finish(report);
        return report;
    }

    private void print(Map<String, Object> report, Adapter trained) {
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
