package org.horosphere.finetune;

/**
 * How to train. The schedule is the usual one: linear warm-up, then linear decay to zero; AdamW
 * with betas 0.9 and 0.999; gradients clipped to a global norm.
 *
 * @param steps optimiser steps, at least 1
 * @param batchSize sequences per micro-batch
 * @param accumulation micro-batches per optimiser step
 * @param learningRate the peak
 * @param warmupSteps steps until the peak
 * @param weightDecay decoupled weight decay
 * @param clipNorm the largest global gradient norm; infinite for no clipping
 * @param evaluateEvery steps between validations; the best state seen is kept
 * @param patience validations without a better loss after which the run ends; 0 for never
 * @param seed of shuffling, initialisation and dropout
 */
public record TrainOptions(
        int steps,
        int batchSize,
        int accumulation,
        double learningRate,
        int warmupSteps,
        double weightDecay,
        double clipNorm,
        int evaluateEvery,
        int patience,
        long seed) {

    public TrainOptions {
        positive("steps", steps);
        positive("batch size", batchSize);
        positive("accumulation", accumulation);
        positive("evaluate-every", evaluateEvery);
        if (!(learningRate > 0) || Double.isInfinite(learningRate)) {
            throw new IllegalArgumentException(
                    "learning rate: " + learningRate + ", expected a positive number");
        }
        if (warmupSteps < 0) {
            throw new IllegalArgumentException(
                    "warm-up steps: " + warmupSteps + ", expected 0 or more");
        }
        if (!(weightDecay >= 0) || Double.isInfinite(weightDecay)) {
            throw new IllegalArgumentException(
                    "weight decay: " + weightDecay + ", expected 0 or more");
        }
        if (!(clipNorm > 0)) {
            throw new IllegalArgumentException(
                    "clip norm: " + clipNorm + ", expected a positive number");
        }
        if (patience < 0) {
            throw new IllegalArgumentException("patience: " + patience + ", expected 0 or more");
        }
    }

    /** Without early stopping. */
    public TrainOptions(
            int steps,
            int batchSize,
            int accumulation,
            double learningRate,
            int warmupSteps,
            double weightDecay,
            double clipNorm,
            int evaluateEvery,
            long seed) {
        this(
                steps,
                batchSize,
                accumulation,
                learningRate,
                warmupSteps,
                weightDecay,
                clipNorm,
                evaluateEvery,
                0,
                seed);
    }

    /**
     * What {@code horo finetune} does unless told otherwise: a warm-up of a tenth of the steps, 100
     * at most, no weight decay, gradients clipped at 1, a validation every 50 steps, seed 1.
     */
    public static TrainOptions of(int steps, int batchSize, double learningRate) {
        int every = Math.max(1, Math.min(50, steps));
        return new TrainOptions(
                steps, batchSize, 1, learningRate, Math.min(100, steps / 10), 0, 1, every, 1);
    }

    /** The same with another seed. */
    public TrainOptions withSeed(long newSeed) {
        return new TrainOptions(
                steps,
                batchSize,
                accumulation,
                learningRate,
                warmupSteps,
                weightDecay,
                clipNorm,
                evaluateEvery,
                patience,
                newSeed);
    }

    private static void positive(String name, int value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + ": " + value + ", expected at least 1");
        }
    }

    /**
     * The learning rate of a step counted from 0: zero at step 0 if there is a warm-up, as in
     * Hugging Face's trainer.
     */
    double learningRate(int step) {
        if (step < warmupSteps) {
            return learningRate * step / warmupSteps;
        }
        return learningRate * (steps - step) / Math.max(1, steps - warmupSteps);
    }
}
