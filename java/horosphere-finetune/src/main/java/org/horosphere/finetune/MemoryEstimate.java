package org.horosphere.finetune;

import java.nio.file.Path;
import org.horosphere.DType;
import org.horosphere.Exec;

/**
 * What a training step takes, in bytes. Sizes are those of the buffers that will be allocated, not
 * a rule of thumb; the Java heap and the libraries' own scratch come on top, some 100 MiB.
 *
 * @param weights of the frozen model in memory of their own: not float32, or without a file
 * @param mapped weights that are mapped files: the system can drop and read them again
 * @param trained numbers with gradient, two moments of AdamW, and the copies that keep the best
 *     state and write checkpoints
 * @param activations of the model for the largest batch
 * @param adapter activations of the adapter
 * @param available memory, of the device where the model is on one, when the estimate was made, the
 *     weights being loaded already
 */
public record MemoryEstimate(
        long weights, long mapped, long trained, long activations, long adapter, long available) {
    /** Values, gradients, two moments, the best state, and a checkpoint as it is written. */
    private static final int COPIES = 4 + 1 + 3;

    /**
     * @param tokens of the largest batch
     * @param activations that the model takes for it, in bytes
     */
    static MemoryEstimate of(Transformer model, Adapter adapter, long tokens, long activations) {
        long branches = 0;
        for (LowRankBranch branch : adapter.branches().values()) {
            branches += branch.activationBytes(tokens, model.exec());
        }
        long[] weights = model.weightBytes();
        return new MemoryEstimate(
                weights[0],
                weights[1],
                adapter.parameterCount() * Float.BYTES * COPIES,
                activations,
                branches,
                availableBytes(model.exec()));
    }

    private static long availableBytes(Exec exec) {
        return exec.isCuda() ? exec.stream().device().freeBytes() : Memory.availableBytes();
    }

    /**
     * Says before hours of swapping, not after, that weights cannot be converted in memory.
     *
     * @param bytes of the weights that are not mapped as they are
     * @throws CheckpointException if they exceed the machine's memory
     */
    static void requireWeights(Path directory, long bytes, DType type) {
        long there = Memory.physicalBytes();
        if (bytes > there) {
            throw new CheckpointException(
                    "%s: its weights take %s as %s, this machine has %s of memory"
                            .formatted(
                                    directory,
                                    Memory.text(bytes),
                                    type == DType.F32 ? "float32" : "bfloat16",
                                    Memory.text(there)));
        }
    }

    /** What is still to be allocated. */
    public long needed() {
        return trained + activations + adapter;
    }

    /** All of it, the weights included. */
    public long total() {
        return weights + mapped + needed();
    }

    public boolean fits() {
        return needed() <= available;
    }

    /** In a line. */
    @Override
    public String toString() {
        return "memory: weights %s, activations %s, adapter and optimiser %s; %s more needed, %s available"
                .formatted(
                        Memory.text(weights + mapped),
                        Memory.text(activations + adapter),
                        Memory.text(trained),
                        Memory.text(needed()),
                        Memory.text(available));
    }
}
