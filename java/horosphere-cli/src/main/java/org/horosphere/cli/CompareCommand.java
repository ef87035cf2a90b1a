package org.horosphere.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.Comparison;
import org.horosphere.finetune.DataSplit;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.Trainer;
import org.horosphere.finetune.report.ComparisonReport;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo compare}. */
@Command(
        name = "compare",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
            "Which adapter? Trains several with the same data, steps and seeds, beside the untuned model, and writes "
                    + "an HTML report: results with standard errors, tests of the differences, loss curves, what was "
                    + "learned, and a recommendation.",
            "lora-matched is LoRA whose alpha is HypLoRA's gain times larger: a control with HypLoRA's step size.",
            "Without options: the embedded model and data, a few minutes."
        })
final class CompareCommand implements Callable<Integer> {
    private static final int QUICK_EXAMPLES = 50;
    private static final String RUNS = "runs";

    @Option(
            names = "--adapters",
            paramLabel = "NAME",
            split = ",",
            defaultValue = "base,lora,lora-matched,hyplora,coeff,lora+coeff",
            description =
                    "Any of base, lora, lora-matched, dora, hyplora, coeff, lora+coeff, dora+coeff, hyplora+coeff (default: ${DEFAULT-VALUE}).")
    private List<String> names;

    @Mixin private DataFlags data;

    @Option(
            names = {"--output", "--out"},
            paramLabel = "FILE",
            description = "Where the report goes (default: horo-reports/compare-DATE-TIME.html).")
    private Path output;

    @Option(
            names = "--quick",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "A look in under a minute: 2 seeds, 100 steps, 50 held-out examples.")
    private boolean quick;

    @Option(
            names = "--resume",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description =
                    "Take finished runs of an earlier comparison with the same model, data and options from the folder "
                            + "'runs' beside the report, where every run is written as soon as it has finished.")
    private boolean resume;

    @Mixin private AdapterFlags shape;

    @Option(names = "--json", paramLabel = "FILE", description = "Write all results here.")
    private Path json;

    @Mixin private RunFlags runs;

    @Mixin private TrainingOptions training;

    private final PrintStream out = System.out;

    @Override
    public Integer call() throws IOException {
        data.check();
        if (data.isForImages()) {
            throw new UsageException("--images: compare reads text; finetune takes images");
        }
        runs.check();
        for (String name : names) {
            if (!Comparison.NAMES.contains(name)) {
                throw new UsageException(
                        "--adapters: '"
                                + name
                                + "', expected "
                                + String.join(", ", Comparison.NAMES));
            }
        }
        int seeds = runs.seeds(quick ? 2 : 3);
        Exec exec = training.exec();
        shape.options(AdapterKind.LORA);
        options(AdapterKind.LORA, 1);
        Path target =
                output != null
                        ? output
                        : Path.of(
                                "horo-reports",
                                "compare-"
                                        + LocalDateTime.now()
                                                .format(
                                                        DateTimeFormatter.ofPattern(
                                                                "yyyyMMdd-HHmmss"))
                                        + ".html");
        Outputs.requireUsable(target);
        Outputs.requireUsable(json);
        try (CausalLm lm = data.open(exec)) {
            DataSplit split = data.split(lm, options(AdapterKind.LORA, 1).seed());
            return compare(lm, quick ? split.limited(QUICK_EXAMPLES) : split, seeds, target);
        }
    }

    private TrainOptions options(AdapterKind kind, int steps) {
        return training.with(steps, 16, kind == AdapterKind.COEFF ? 2e-2 : 3e-3, 20);
    }

    private List<Comparison.Arm> arms(CausalLm lm, DataSplit split) {
        List<Comparison.Arm> arms = new ArrayList<>();
        for (String name : new LinkedHashSet<>(names)) {
            if (name.equals(Comparison.BASE)) {
                arms.add(new Comparison.Arm(name, null, null));
                continue;
            }
            AdapterKind kind =
                    name.equals(Comparison.MATCHED) ? AdapterKind.LORA : AdapterKind.of(name);
            AdapterOptions adapter = shape.options(kind);
            if (kind != AdapterKind.COEFF) {
                lm.requireTargets(adapter.targets());
            }
            TrainOptions options = options(kind, quick ? 100 : 300);
            int steps = runs.steps(training, options, split.training().size());
            arms.add(new Comparison.Arm(name, adapter, options(kind, steps)));
        }
        return arms;
    }

    private int compare(CausalLm lm, DataSplit split, int seeds, Path target) throws IOException {
        List<Comparison.Arm> arms = arms(lm, split);
        String on =
                String.format(
                        Locale.ROOT,
                        "%s: %d training examples, %d for validation, %d held out",
                        data.modelName(),
                        split.training().size(),
                        split.validation().size(),
                        split.test().size());
        out.println(on);
        Workload work = new TextWorkload(data, lm, split, out);
        for (Comparison.Arm arm : arms) {
            if (arm.adapter() != null) {
                out.print(arm.name() + ": ");
                runs.requireMemory(work, arm.adapter(), arm.training(), out);
            }
        }
        Comparison comparison = new Comparison(lm, split, data.answerTokens());
        comparison.keepRuns(target.toAbsolutePath().normalize().resolveSibling(RUNS), resume);
        boolean interrupted;
        try (Interrupt interrupt = Interrupt.install(comparison::stop)) {
            Comparison.Report report = run(comparison, arms, seeds, on);
            if (report != null) {
                out.println();
                out.print(ComparisonReport.text(report));
                Files.createDirectories(target.toAbsolutePath().normalize().getParent());
                ComparisonReport.html(report, settings(lm, arms), target);
                Reports.writeJson(json, report);
                out.println("report: " + target);
            }
            interrupted = interrupt.happened();
        }
        return interrupted ? Main.INTERRUPTED : 0;
    }

    private Comparison.Report run(
            Comparison comparison, List<Comparison.Arm> arms, int seeds, String on) {
        try (Watch watch = new Watch()) {
            return comparison.run(
                    arms,
                    options(AdapterKind.LORA, 1).seed(),
                    seeds,
                    List.of(on, seeds + (seeds == 1 ? " seed" : " seeds")),
                    watch);
        }
    }

    private Map<String, Object> settings(CausalLm lm, List<Comparison.Arm> arms) {
        Map<String, Object> all = new LinkedHashMap<>();
        data.describe(lm, all);
        List<Comparison.Arm> tuned = arms.stream().filter(a -> a.adapter() != null).toList();
        if (!tuned.isEmpty()) {
            AdapterFlags.describe(tuned.get(0).adapter(), all);
            RunFlags.describe(tuned.get(0).training(), all);
            Map<String, Double> rates = new LinkedHashMap<>();
            tuned.forEach(a -> rates.put(a.name(), a.training().learningRate()));
            all.put("lr", rates);
        }
        return all;
    }

    /** Shows the runs as they go. */
    private final class Watch implements Comparison.Progress, AutoCloseable {
        private TrainingProgress bar;

        @Override
        public Trainer.Listener begins(String arm, long seed, int run, int total, int steps) {
            close();
            if (steps == 0) {
                out.printf("run %d/%d: %s%n", run, total, arm);
                return null;
            }
            if (!Terminal.isInteractive()) {
                out.printf("run %d/%d: %s, seed %d%n", run, total, arm, seed);
            }
            bar =
                    new TrainingProgress(
                            out, "%d/%d %s seed %d".formatted(run, total, arm, seed), 0, steps);
            return bar;
        }

        @Override
        public void ended(String arm, Comparison.Run run) {
            close();
            out.printf(
                    Locale.ROOT,
                    "  %s: loss %.4f%s%n",
                    arm,
                    run.loss(),
                    run.correct().length == 0
                            ? ""
                            : String.format(
                                    Locale.ROOT, ", exact match %.1f %%", 100 * run.accuracy()));
        }

        @Override
        public void reused(String arm, long seed, int run, int total) {
            out.printf("run %d/%d: %s, seed %d: finished earlier%n", run, total, arm, seed);
        }

        @Override
        public void close() {
            if (bar != null) {
                bar.close();
                bar = null;
            }
        }
    }
}
