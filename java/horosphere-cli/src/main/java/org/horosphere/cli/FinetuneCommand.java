package org.horosphere.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.Adapter;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.Batches;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo finetune}. */
@Command(
        name = "finetune",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
            "Trains an adapter on a frozen model and saves it as a PEFT directory.",
            "Without --model and --data: the small word-problem model and data that ship with horo."
        })
final class FinetuneCommand implements Callable<Integer> {
    private static final int SHOWN_PROBLEMS = 3;

    @Option(
            names = "--adapter",
            paramLabel = "KIND",
            defaultValue = "hyplora",
            description =
                    "lora, hyplora, coeff, lora+coeff or hyplora+coeff (default: ${DEFAULT-VALUE}).")
    private String adapter;

    @Option(names = "--model", paramLabel = "DIR", description = "Hugging Face model directory.")
    private Path modelDirectory;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description =
                    "Records (prompt/completion, instruction/output, question/answer) if the name ends in .jsonl or .json, else plain text.")
    private Path data;

    @Option(
            names = "--test",
            paramLabel = "FILE",
            description =
                    "Held-out data for the final table (default: the held-out part of --data).")
    private Path test;

    @Option(
            names = "--output",
            paramLabel = "DIR",
            description = "Where the adapter goes (default: horo-adapters/KIND-DATE-TIME).")
    private Path output;

    @Option(names = "--overwrite", description = "Replace what is at --output.")
    private boolean overwrite;

    @Option(
            names = "--rank",
            paramLabel = "R",
            defaultValue = "8",
            description = "Rank of the low-rank branches (default: ${DEFAULT-VALUE}).")
    private int rank;

    @Option(
            names = "--alpha",
            paramLabel = "X",
            description = "Branches are scaled by alpha/rank (default: 2 * rank).")
    private Double alpha;

    @Option(
            names = "--targets",
            paramLabel = "NAME",
            split = ",",
            description =
                    "Linear layers that get a branch (default: q_proj,k_proj,v_proj,up_proj,down_proj).")
    private List<String> targets;

    @Option(
            names = "--curvature",
            paramLabel = "K",
            defaultValue = "1",
            description =
                    "HypLoRA: initial K; the curvature is -1/K, learned (default: ${DEFAULT-VALUE}).")
    private double curvature;

    @Option(
            names = "--coeff-dropout",
            paramLabel = "P",
            defaultValue = "0.1",
            description = "Dropout of mixing coefficients in training (default: ${DEFAULT-VALUE}).")
    private double coeffDropout;

    @Option(
            names = "--loss-on",
            paramLabel = "WHAT",
            defaultValue = "completion",
            description =
                    "For JSONL and JSON: completion or all tokens (default: ${DEFAULT-VALUE}).")
    private Dataset.Loss lossOn;

    @Option(
            names = "--max-length",
            paramLabel = "N",
            description = "Longest sequence in tokens (default: 256 or the model's).")
    private Integer maxLength;

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            defaultValue = "f32",
            description =
                    "Frozen weights as f32 or bf16: half the memory, faster on processors with bfloat16 instructions "
                            + "(default: ${DEFAULT-VALUE}).")
    private WeightType dtype;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the results here.")
    private Path json;

    @Mixin private TrainingOptions training;

    private final PrintStream out = System.out;

    @Override
    public Integer call() {
        AdapterKind kind = UsageException.check(() -> AdapterKind.of(adapter));
        AdapterOptions adapterOptions =
                UsageException.check(
                        () ->
                                new AdapterOptions(
                                        kind,
                                        rank,
                                        alpha == null ? 2.0 * rank : alpha,
                                        targets == null
                                                ? AdapterOptions.DEFAULT_TARGETS
                                                : new LinkedHashSet<>(targets),
                                        curvature,
                                        coeffDropout));
        if (maxLength != null) {
            UsageException.require("--max-length", maxLength, 2, Integer.MAX_VALUE);
        }
        boolean embedded = modelDirectory == null && data == null;
        TrainOptions options = training.with(500, 16, kind == AdapterKind.COEFF ? 2e-2 : 3e-3, 50);
        Exec exec = training.exec();
        Path target = target(kind);
        Outputs.requireUsable(json);
        try (CausalLm lm =
                CausalLm.open(
                        modelDirectory == null ? Defaults.model() : modelDirectory,
                        exec,
                        dtype.storage())) {
            if (kind != AdapterKind.COEFF) {
                lm.requireTargets(adapterOptions.targets());
            }
            int context = Math.min(maxLength == null ? 256 : maxLength, lm.maxLength());
            Dataset all =
                    Dataset.load(
                            data == null ? Defaults.trainingData() : data,
                            lm.tokenizer(),
                            context,
                            lossOn);
            Dataset held =
                    test == null && !embedded
                            ? null
                            : Dataset.load(
                                    test == null ? Defaults.testData() : test,
                                    lm.tokenizer(),
                                    context,
                                    lossOn);
            Split split = Split.of(all, held, options.seed());
            return run(lm, kind, adapterOptions, options, split, target);
        }
    }

    private int run(
            CausalLm lm,
            AdapterKind kind,
            AdapterOptions adapterOptions,
            TrainOptions options,
            Split split,
            Path target) {
        out.printf(
                Locale.ROOT,
                "%s on %s: %d training examples, %d for validation, %d held out%n",
                kind,
                modelDirectory == null ? "the embedded model" : modelDirectory,
                split.training().size(),
                split.validation().size(),
                split.test().size());
        CausalLm.Loss lossBefore = lm.loss(split.test());
        CausalLm.Score scoreBefore = solve(lm, split.problems(), "before");
        Adapter trained = lm.attach(adapterOptions, options.seed());
        Trainer trainer = lm.trainer(options);
        Trainer.Result result;
        double seconds;
        try (Interrupt interrupt = Interrupt.install(trainer)) {
            long started = System.nanoTime();
            try (TrainingProgress progress = new TrainingProgress(out, options.steps())) {
                result =
                        trainer.run(
                                new Batches(split.training(), options.batchSize(), options.seed())
                                        .endless(0),
                                Batches.sorted(split.validation(), options.batchSize()),
                                progress);
            }
            seconds = (System.nanoTime() - started) / 1e9;
            lm.saveAdapter(target);
            if (interrupt.happened()) {
                out.printf(
                        Locale.ROOT,
                        "stopped after step %d of %d; adapter of step %d saved in %s%n",
                        result.steps(),
                        options.steps(),
                        result.bestStep(),
                        target);
                return Main.INTERRUPTED;
            }
        }
        CausalLm.Loss lossAfter = lm.loss(split.test());
        CausalLm.Score scoreAfter = solve(lm, split.problems(), "after");

        Map<String, Object> report = new LinkedHashMap<>();
        report.put("adapter", kind.toString());
        report.put("parameters", trained.parameterCount());
        report.put("steps", result.steps());
        report.put("best_step", result.bestStep());
        report.put("seconds", seconds);
        report.put("loss_before", lossBefore.loss());
        report.put("loss_after", lossAfter.loss());
        report.put("tokens", lossAfter.tokens());
        if (scoreBefore != null) {
            report.put("exact_match_before", scoreBefore.accuracy());
            report.put("exact_match_after", scoreAfter.accuracy());
            report.put("problems", scoreAfter.total());
        }
        report.put("output", target.toString());

        out.println();
        out.printf(Locale.ROOT, "%-28s %12s %12s%n", "held out", "base", kind);
        out.printf(
                Locale.ROOT,
                "%-28s %12.4f %12.4f%n",
                "loss, nats per token",
                lossBefore.loss(),
                lossAfter.loss());
        if (scoreBefore != null) {
            out.printf(
                    Locale.ROOT,
                    "%-28s %11.1f%% %11.1f%%%n",
                    "exact match of " + scoreAfter.total(),
                    100 * scoreBefore.accuracy(),
                    100 * scoreAfter.accuracy());
        }
        out.printf(
                Locale.ROOT,
                "%-28s %12s %12d%n",
                "trained parameters",
                "",
                trained.parameterCount());
        out.printf(Locale.ROOT, "%-28s %12s %11.1fs%n", "training time", "", seconds);
        out.printf(
                Locale.ROOT,
                "%-28s %12s %12d%n",
                "best step of " + result.steps(),
                "",
                result.bestStep());
        trained.summary().forEach(line -> out.println(line));
        if (scoreBefore != null) {
            show(split.problems(), scoreBefore, scoreAfter);
        }
        out.println("adapter saved in " + target);
        Reports.writeJson(json, report);
        return 0;
    }

    private CausalLm.Score solve(CausalLm lm, List<Dataset.Problem> problems, String when) {
        if (problems.isEmpty()) {
            return null;
        }
        CausalLm.Score score = lm.solve(problems, Defaults.ANSWER_TOKENS, done -> {});
        out.printf(Locale.ROOT, "exact match %s: %d of %d%n", when, score.correct(), score.total());
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
        Outputs.requireUsable(chosen, overwrite);
        return chosen;
    }

    /**
     * Training, validation and held-out examples. Without a held-out file a tenth of the data is
     * held out (at least one example); a tenth of the rest, 64 examples at most, validates.
     */
    private record Split(
            List<Dataset.Example> training,
            List<Dataset.Example> validation,
            List<Dataset.Example> test,
            List<Dataset.Problem> problems) {
        private static final int MAX_VALIDATION = 64;
        private static final int MAX_PROBLEMS = 200;

        static Split of(Dataset all, Dataset held, long seed) {
            int count = all.examples().size();
            List<Integer> order = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                order.add(i);
            }
            Collections.shuffle(order, new Random(seed));
            int heldOut = held != null ? 0 : Math.max(1, count / 10);
            int validating = Math.min(MAX_VALIDATION, Math.max(1, (count - heldOut) / 10));
            if (count - heldOut - validating < 1) {
                throw new IllegalArgumentException(
                        "--data: "
                                + count
                                + " examples are too few to train, validate and hold out; expected 3 or more");
            }
            List<Dataset.Problem> problems =
                    held != null ? held.problems() : pick(all.problems(), order, 0, heldOut);
            return new Split(
                    pick(all.examples(), order, heldOut + validating, count),
                    pick(all.examples(), order, heldOut, heldOut + validating),
                    held != null ? held.examples() : pick(all.examples(), order, 0, heldOut),
                    problems.subList(0, Math.min(MAX_PROBLEMS, problems.size())));
        }

        private static <T> List<T> pick(List<T> from, List<Integer> order, int begin, int end) {
            return from.isEmpty()
                    ? from
                    : order.subList(begin, end).stream().map(from::get).toList();
        }
    }
}
