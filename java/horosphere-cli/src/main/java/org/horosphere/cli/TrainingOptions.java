package org.horosphere.cli;

import org.horosphere.Exec;
import org.horosphere.finetune.TrainOptions;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What fine-tuning and pre-training have in common. */
final class TrainingOptions {
    private static final int MAX_BATCH = 1 << 20;

    @Option(names = "--steps", paramLabel = "N", description = "Optimiser steps.")
    private Integer steps;

    @Option(names = "--batch-size", paramLabel = "N", description = "Sequences per micro-batch.")
    private Integer batchSize;

    @Option(
            names = "--accumulate",
            paramLabel = "N",
            defaultValue = "1",
            description = "Micro-batches per step (default: ${DEFAULT-VALUE}).")
    private int accumulation;

    @Option(names = "--lr", paramLabel = "X", description = "Peak learning rate.")
    private Double learningRate;

    @Option(
            names = "--warmup",
            paramLabel = "N",
            description =
                    "Warm-up steps; below 1, the part of all steps (default: 0.1, at most 100).")
    private Double warmup;

    @Option(
            names = "--weight-decay",
            paramLabel = "X",
            defaultValue = "0",
            description = "AdamW's weight decay (default: ${DEFAULT-VALUE}).")
    private double weightDecay;

    @Option(
            names = "--clip",
            paramLabel = "X",
            defaultValue = "1",
            description = "Largest global gradient norm (default: ${DEFAULT-VALUE}).")
    private double clip;

    @Option(names = "--eval-every", paramLabel = "N", description = "Steps between validations.")
    private Integer evaluateEvery;

    @Option(
            names = "--patience",
            paramLabel = "N",
            defaultValue = "0",
            description =
                    "Stop after N validations without a better loss; 0 for never (default: ${DEFAULT-VALUE}).")
    private int patience;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description =
                    "Seed of initialisation, shuffling and dropout (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Mixin private DeviceOption device;

    TrainOptions with(int defaultSteps, int defaultBatch, double defaultRate, int defaultEvery) {
        int count = steps == null ? defaultSteps : steps;
        UsageException.require("--batch-size", batchSize == null ? 1 : batchSize, 1, MAX_BATCH);
        UsageException.require("--accumulate", accumulation, 1, MAX_BATCH);
        return UsageException.check(
                () ->
                        new TrainOptions(
                                count,
                                batchSize == null ? defaultBatch : batchSize,
                                accumulation,
                                learningRate == null ? defaultRate : learningRate,
                                warmup(count),
                                weightDecay,
                                clip,
                                evaluateEvery == null
                                        ? Math.max(1, Math.min(defaultEvery, count))
                                        : evaluateEvery,
                                patience,
                                seed));
    }

    private int warmup(int count) {
        if (warmup == null) {
            return Math.min(100, count / 10);
        }
        if (warmup > 0 && warmup < 1) {
            return (int) (warmup * count);
        }
        if (warmup != Math.rint(warmup) || Math.abs(warmup) > Integer.MAX_VALUE) {
            throw new UsageException(
                    "--warmup: " + warmup + ", expected a number of steps or a part below 1");
        }
        return warmup.intValue();
    }

    /** Whether the number of steps was chosen. */
    boolean hasSteps() {
        return steps != null;
    }

    DeviceOption device() {
        return device;
    }

    Exec exec() {
        return device.exec();
    }
}
