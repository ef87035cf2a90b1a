package org.horosphere.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Map;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.MemoryEstimate;
import org.horosphere.finetune.TrainOptions;
import picocli.CommandLine.Option;

/** How long to train and how often. */
final class RunFlags {
    private static final int MOST_SEEDS = 1000;
    private static final int MOST_STEPS = 1_000_000_000;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description =
                    "JSON object of options by name, such as {\"lr\": 1e-3}; flags override it.")
    private Path config;

    @Option(
            names = "--preset",
            paramLabel = "NAME",
            description =
                    "A paper's recipe: hyplora-paper, hyplora-paper-lora, coeff-paper or coeff-paper-lora; --config and flags override it.")
    private String preset;

    @Option(
            names = "--epochs",
            paramLabel = "X",
            description = "Passes over the training data, instead of --steps.")
    private Double epochs;

    @Option(
            names = "--seeds",
            paramLabel = "N",
            description = "Runs, with seeds --seed, --seed + 1, ...: mean and standard error.")
    private Integer seeds;

    @Option(
            names = "--ignore-memory",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "Begin even if the estimate says that the memory does not suffice.")
    private boolean ignoreMemory;

    /** Prints what training will take, and refuses what cannot fit. */
    void requireMemory(
            Workload work, AdapterOptions adapter, TrainOptions options, PrintStream out) {
        MemoryEstimate estimate = work.memory(adapter, options);
        out.println(estimate);
        if (!estimate.fits() && !ignoreMemory) {
            throw new IllegalArgumentException(
                    "a batch of "
                            + work.largestBatch(options)
                            + " does not fit: "
                            + estimate
                            + "; a smaller --batch-size (with --accumulate) or --max-length takes"
                            + " less, --ignore-memory tries anyway");
        }
    }

    int seeds(int otherwise) {
        return seeds == null ? otherwise : UsageException.require("--seeds", seeds, 1, MOST_SEEDS);
    }

    void check() {
        if (epochs != null && !(epochs > 0 && epochs < MOST_STEPS)) {
            throw new UsageException("--epochs: " + epochs + ", expected a positive number");
        }
    }

    /** Steps for this many examples; --steps counts more than --epochs. */
    int steps(TrainingOptions training, TrainOptions options, int examples) {
        if (epochs == null || training.hasSteps()) {
            return options.steps();
        }
        double perStep = (double) options.batchSize() * options.accumulation();
        return (int) Math.min(MOST_STEPS, Math.max(1, Math.ceil(epochs * examples / perStep)));
    }

    /** Adds the effective values by option name. */
    static void describe(TrainOptions options, Map<String, Object> to) {
        to.put("steps", options.steps());
        to.put("batch-size", options.batchSize());
        to.put("accumulate", options.accumulation());
        to.put("lr", options.learningRate());
        to.put("warmup", options.warmupSteps());
        to.put("weight-decay", options.weightDecay());
        to.put("clip", options.clipNorm());
        to.put("eval-every", options.evaluateEvery());
        to.put("patience", options.patience());
        to.put("seed", options.seed());
    }
}
