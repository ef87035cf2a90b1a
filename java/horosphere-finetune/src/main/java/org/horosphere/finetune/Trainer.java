package org.horosphere.finetune;

import java.util.Iterator;
import java.util.List;
import org.horosphere.Exec;

/**
 * The training loop: accumulate, clip, AdamW, validate, keep the best. Deterministic for given
 * batches and seed.
 */
public final class Trainer {
    /** Told what happens; calls come from the training thread. */
    public interface Listener {
        /**
         * A step was taken.
         *
         * @param step counted from 1
         * @param loss mean over the step's predicted tokens, in nats, before the update
         * @param learningRate of this step
         * @param gradientNorm before clipping
         * @param tokens read in this step, padding not counted
         */
        void stepped(int step, double loss, double learningRate, double gradientNorm, long tokens);

        /** The model was validated after this many steps (0: before training). */
        void validated(int step, double loss, boolean best);
    }

    /**
     * How a run went.
     *
     * @param steps taken; fewer than asked for if stopped
     * @param firstValidation loss before training, nats per token
     * @param bestValidation loss of the state that was kept
     * @param bestStep the step after which that state was reached
     */
    public record Result(int steps, double firstValidation, double bestValidation, int bestStep) {}

    private static final String LOWER_RATE = "; a lower learning rate (--lr) usually helps";

    private final Llama model;
    private final Trainables trainables;
    private final TrainOptions options;
    private volatile boolean stopping;

    Trainer(Llama model, Trainables trainables, TrainOptions options) {
        this.model = model;
        this.trainables = trainables;
        this.options = options;
    }

    /**
     * Ends the run after the current step; the best state is kept. May be called from any thread.
     */
    public void stop() {
        stopping = true;
    }

    /**
     * Trains, then leaves the best validated state in the model.
     *
     * @param training micro-batches, as many as steps times accumulation
     * @param validation held-out batches; if empty the last state counts as best
     * @throws TrainingException if the loss or the gradient stops being finite; the best state is
     *     left in the model
     */
    public Result run(
            Iterator<Batches.Batch> training, List<Batches.Batch> validation, Listener listener) {
        Parameters parameters = trainables.parameters();
        double first = validation.isEmpty() ? Double.NaN : meanLoss(model, validation);
        if (!validation.isEmpty()) {
            listener.validated(0, first, true);
        }
        double best = first;
        int bestStep = 0;
        float[] bestState = validation.isEmpty() ? null : parameters.snapshot();
        int step = 0;
        try {
            while (step < options.steps() && !stopping) {
                step(step, training, listener);
                step++;
                boolean last = step == options.steps() || stopping;
                if (!validation.isEmpty() && (step % options.evaluateEvery() == 0 || last)) {
                    double loss = meanLoss(model, validation);
                    boolean better = loss < best;
                    listener.validated(step, loss, better);
                    if (better) {
                        best = loss;
                        bestStep = step;
                        bestState = parameters.snapshot();
                    }
                }
            }
        } catch (IllegalArgumentException e) {
            if (step == 0) {
                throw e;
            }
            // the shapes were right in the first step: a learned curvature left the range of
            // numbers
            throw new TrainingException("step " + step + ": " + e.getMessage() + LOWER_RATE);
        } finally {
            if (bestState != null) {
                parameters.restore(bestState);
            }
        }
        return new Result(step, first, best, bestState == null ? step : bestStep);
    }

    private void step(int step, Iterator<Batches.Batch> training, Listener listener) {
        Parameters parameters = trainables.parameters();
        Exec exec = model.exec();
        Batches.Batch[] micro = new Batches.Batch[options.accumulation()];
        long targets = 0;
        long tokens = 0;
        for (int i = 0; i < micro.length; i++) {
            micro[i] = training.next();
            targets += micro[i].targetCount();
            for (int length : micro[i].lengths()) {
                tokens += length;
            }
        }
        parameters.clearGradients();
        trainables.beginStep(step);
        double loss = 0;
        for (Batches.Batch batch : micro) {
            model.forward(batch.batch(), batch.length(), batch.tokens());
            loss += model.loss(batch.targets(), 1f / targets);
            model.backward();
        }
        trainables.endStep();
        loss /= targets;
        double norm = parameters.gradientNorm(exec);
        if (!Double.isFinite(loss) || !Double.isFinite(norm)) {
            throw new TrainingException(
                    "step "
                            + (step + 1)
                            + ": loss "
                            + loss
                            + ", gradient norm "
                            + norm
                            + LOWER_RATE);
        }
        float scale = (float) Math.min(1, options.clipNorm() / (norm + 1e-6));
        double rate = options.learningRate(step);
        parameters.adamw(rate, options.weightDecay(), step + 1L, scale, exec);
        listener.stepped(step + 1, loss, rate, norm, tokens);
    }

    /** The mean loss in nats per predicted token; nothing is changed. */
    static double meanLoss(Llama model, List<Batches.Batch> batches) {
        double sum = 0;
        long count = 0;
        for (Batches.Batch batch : batches) {
            model.forward(batch.batch(), batch.length(), batch.tokens());
            sum += model.loss(batch.targets(), Float.NaN);
            count += batch.targetCount();
        }
        return sum / count;
    }
}
