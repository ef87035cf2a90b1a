package org.horosphere.finetune;

import java.util.function.DoubleSupplier;
import org.horosphere.Exec;

/**
 * A model as the training loop sees it.
 *
 * @param <B> what it takes at a time
 */
interface Learner<B> {
    Exec exec();

    /**
     * Puts a batch where the kernels read it; all that the host passes to {@link #computeLoss} and
     * {@link #backward} passes here.
     *
     * @param gradientScale what each prediction's loss is multiplied by before {@link #backward};
     *     NaN for no gradient
     * @return what decides which kernels those two run, and how: equal for batches of one kind
     */
    Object stage(B batch, float gradientScale);

    /** Runs the model on the staged batch. */
    void computeLoss();

    /**
     * The sum of the losses of the staged batch's predictions, in nats, as they are now; on a
     * device nothing waits before it is asked for.
     */
    DoubleSupplier lossLater();

    /** Adds the gradients of the last {@link #computeLoss} to every trainable tensor. */
    void backward();

    /** Runs the model on a batch and returns its loss, see {@link #stage}. */
    default double loss(B batch, float gradientScale) {
        stage(batch, gradientScale);
        computeLoss();
        return lossLater().getAsDouble();
    }

    /** How many predictions a batch asks for. */
    long targets(B batch);

    /** How many tokens or images a batch holds, padding not counted. */
    long inputs(B batch);
}
