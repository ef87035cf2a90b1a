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
     * Runs the model on a batch.
     *
     * @param gradientScale what each prediction's loss is multiplied by before {@link #backward};
     *     NaN for no gradient
     * @return the sum of the predictions' losses, in nats
     */
    double loss(B batch, float gradientScale);

    /**
     * The same, the sum to be asked for when more has been enqueued: on a device nothing waits
     * before.
     */
    default DoubleSupplier lossLater(B batch, float gradientScale) {
        double sum = loss(batch, gradientScale);
        return () -> sum;
    }

    /** Adds the gradients of the last {@link #loss} to every trainable tensor. */
    void backward();

    /** How many predictions a batch asks for. */
    long targets(B batch);

    /** How many tokens or images a batch holds, padding not counted. */
    long inputs(B batch);
}
