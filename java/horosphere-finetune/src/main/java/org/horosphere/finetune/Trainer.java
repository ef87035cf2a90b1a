package org.horosphere.finetune;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.DoubleSupplier;
import java.util.function.LongFunction;

/**
 * The training loop: accumulate, clip, AdamW, validate, keep the best. Deterministic for given
 * batches and seed.
 *
 * @param <B> what the model takes at a time
 */
public final class Trainer<B> {
    /** Told what happens; calls come from the training thread. */
    public interface Listener {
        /**
         * A step was taken.
         *
         * @param step counted from 1
         * @param loss mean over the step's predictions, in nats, before the update
         * @param learningRate of this step
         * @param gradientNorm before clipping
         * @param inputs tokens or images read in this step, padding not counted
         */
        void stepped(int step, double loss, double learningRate, double gradientNorm, long inputs);

        /** The model was validated after this many steps (0: before training). */
        void validated(int step, double loss, boolean best);
    }

    /**
     * How a run went.
     *
     * @param steps taken; fewer than asked for if stopped
     * @param firstValidation loss before training, nats per prediction
     * @param bestValidation loss of the state that was kept
     * @param bestStep the step after which that state was reached
     */
    public record Result(int steps, double firstValidation, double bestValidation, int bestStep) {}

    /**
     * Keeps what a run needs to be taken up again.
     *
     * @param every steps between two calls of {@code save}; a stopped run saves once more
     * @param from where to take up; null to begin
     * @param save told the state; what it throws ends the run
     */
    record Saving(int every, TrainingState from, Consumer<TrainingState> save) {
        /** No state is kept. */
        static final Saving NONE = new Saving(0, null, null);
    }

    private static final String LOWER_RATE = "; a lower learning rate (--lr) usually helps";

    private final Learner<B> model;
    private final Trainables trainables;
    private final TrainOptions options;
    private final StepGraphs graphs;
    private volatile boolean stopping;

    Trainer(Learner<B> model, Trainables trainables, TrainOptions options) {
        this.model = model;
        this.trainables = trainables;
        this.options = options;
        graphs = new StepGraphs(model.exec());
    }

    /** The graphs of a run on a device. */
    StepGraphs graphs() {
        return graphs;
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
    public Result run(Iterator<B> training, List<B> validation, Listener listener) {
        return run(skipped -> training, validation, listener, Saving.NONE);
    }

    /**
     * The same, kept and taken up again.
     *
     * @param training micro-batches from the one of this number on, counted from 0
     */
    Result run(
            LongFunction<Iterator<B>> training,
            List<B> validation,
            Listener listener,
            Saving saving) {
        Progress at = new Progress(validation);
        if (saving.from() == null) {
            at.begin(listener);
        } else {
            at.restore(saving.from());
        }
        Iterator<B> batches = training.apply((long) at.step * options.accumulation());
        boolean stop = stopping;
        try {
            while (at.step < options.steps() && !stop && !at.isStale()) {
                step(at.step, batches, listener);
                at.step++;
                stop = stopping;
                boolean due = at.step % options.evaluateEvery() == 0 || at.step == options.steps();
                if (due) {
                    at.validate(listener);
                }
                // before the validation that only a stopped run has: it is not part of the run
                if (saving.save() != null && (at.step % saving.every() == 0 || stop)) {
                    saving.save().accept(at.state());
                }
                if (stop && !due) {
                    at.validate(listener);
                }
            }
        } catch (IllegalArgumentException e) {
            if (at.step == 0) {
                throw e;
            }
            // the shapes were right in the first step: a learned curvature left the range of
            // numbers
            throw new TrainingException("step " + at.step + ": " + e.getMessage() + LOWER_RATE);
        } finally {
            graphs.close();
            at.keepBest();
        }
        return new Result(at.step, at.first, at.best, at.bestState == null ? at.step : at.bestStep);
    }

    /** How far a run is, and the best of it. */
    private final class Progress {
        private final List<B> validation;
        private final Parameters parameters = trainables.parameters();
        private int step;
        private double first = Double.NaN;
        private double best = Double.NaN;
        private int bestStep;
        private int stale;
        private float[] bestState;

        Progress(List<B> validation) {
            this.validation = validation;
        }

        void begin(Listener listener) {
            if (!validation.isEmpty()) {
                first = meanLoss(model, validation);
                best = first;
                bestState = parameters.snapshot();
                listener.validated(0, first, true);
            }
        }

        void restore(TrainingState from) {
            step = from.step();
            first = from.firstValidation();
            best = from.bestValidation();
            bestStep = from.bestStep();
            stale = from.stale();
            bestState = from.best();
            parameters.restore(from.values(), from.firstMoments(), from.secondMoments());
        }

        TrainingState state() {
            return new TrainingState(
                    step,
                    first,
                    best,
                    bestStep,
                    stale,
                    parameters.snapshot(),
                    parameters.firstMomentsSnapshot(),
                    parameters.secondMomentsSnapshot(),
                    bestState);
        }

        void validate(Listener listener) {
            if (validation.isEmpty()) {
                return;
            }
            double loss = meanLoss(model, validation);
            boolean better = loss < best;
            stale = better ? 0 : stale + 1;
            if (better) {
                best = loss;
                bestStep = step;
                bestState = parameters.snapshot();
            }
            listener.validated(step, loss, better);
        }

        boolean isStale() {
            return options.patience() > 0 && stale >= options.patience();
        }

        void keepBest() {
            if (bestState != null) {
                parameters.restore(bestState);
            }
        }
    }

    private void step(int step, Iterator<B> training, Listener listener) {
        Parameters parameters = trainables.parameters();
        List<B> micro = new ArrayList<>();
        long targets = 0;
        long inputs = 0;
        for (int i = 0; i < options.accumulation(); i++) {
            B batch = training.next();
            micro.add(batch);
            targets += model.targets(batch);
            inputs += model.inputs(batch);
        }
        double rate = options.learningRate(step);
        boolean device = model.exec().isCuda();
        trainables.draw(step);
        if (device) {
            parameters.stageAdamw(rate, options.weightDecay(), step + 1L);
            parameters.changed(); // what follows from the weights is computed within the step
        }
        List<DoubleSupplier> losses = new ArrayList<>();
        for (int i = 0; i < micro.size(); i++) {
            boolean first = i == 0;
            boolean last = i == micro.size() - 1;
            Object shape = model.stage(micro.get(i), 1f / targets);
            Runnable pass = () -> pass(first, last);
            if (device) {
                graphs.run(List.of(shape, first, last), pass);
            } else {
                pass.run();
            }
            losses.add(model.lossLater());
        }
        trainables.drop();
        double norm;
        double loss;
        if (device) {
            parameters.changed();
            DoubleSupplier later = parameters.gradientNormLater();
            loss = sum(losses) / targets; // the one wait of the step
            norm = later.getAsDouble();
            requireFinite(step, loss, norm);
        } else {
            loss = sum(losses) / targets;
            norm = parameters.gradientNorm();
            requireFinite(step, loss, norm);
            float scale = (float) Math.min(1, options.clipNorm() / (norm + 1e-6));
            parameters.adamw(rate, options.weightDecay(), step + 1L, scale);
        }
        listener.stepped(step + 1, loss, rate, norm, inputs);
    }

    /** Kernels of a step for one of its batches; all they take from the host is staged before. */
    private void pass(boolean first, boolean last) {
        if (first) {
            trainables.parameters().clearGradients();
            trainables.beforeForward();
        }
        model.computeLoss();
        model.backward();
        if (last) {
            trainables.afterBackward();
            if (model.exec().isCuda()) {
                trainables.parameters().adamwClipped(options.clipNorm());
            }
        }
    }

    private static double sum(List<DoubleSupplier> losses) {
        double sum = 0;
        for (DoubleSupplier loss : losses) {
            sum += loss.getAsDouble();
        }
        return sum;
    }

    private static void requireFinite(int step, double loss, double norm) {
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
    }

    /** The mean loss in nats per prediction; nothing is changed. */
    static <B> double meanLoss(Learner<B> model, List<B> batches) {
        double sum = 0;
        long count = 0;
        for (B batch : batches) {
            sum += model.loss(batch, Float.NaN);
            count += model.targets(batch);
        }
        return sum / count;
    }
}
