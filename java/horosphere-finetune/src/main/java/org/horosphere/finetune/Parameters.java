package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.horosphere.Exec;
import org.horosphere.Layers;

/**
 * All trainable numbers in one contiguous array, with gradients and AdamW moments beside it:
 * clearing, clipping and stepping are one kernel call each.
 */
final class Parameters {
    private final List<Tensor> tensors = new ArrayList<>();
    private long size;
    private long version;
    private MemorySegment values;
    private MemorySegment grads;
    private MemorySegment firstMoments;
    private MemorySegment secondMoments;

    /** Adds a tensor; its memory exists after {@link #allocate}. */
    Tensor add(String name, long... shape) {
        if (values != null) {
            throw new IllegalStateException("parameters: already allocated");
        }
        Tensor tensor = Tensor.trainable(name, shape);
        tensors.add(tensor);
        size += tensor.size();
        return tensor;
    }

    /** Gives every tensor its memory, all zero. */
    void allocate() {
        values = Buffers.floats(size);
        grads = Buffers.floats(size);
        firstMoments = Buffers.floats(size);
        secondMoments = Buffers.floats(size);
        long offset = 0;
        for (Tensor tensor : tensors) {
            tensor.place(
                    Buffers.slice(values, offset, tensor.size()),
                    Buffers.slice(grads, offset, tensor.size()));
            offset += tensor.size();
        }
    }

    List<Tensor> tensors() {
        return Collections.unmodifiableList(tensors);
    }

    long size() {
        return size;
    }

    void clearGradients() {
        grads.fill((byte) 0);
    }

    double gradientNorm(Exec exec) {
        return Math.sqrt(Layers.sum_squares(grads, size, exec));
    }

    /** Another number whenever values may have changed. */
    long version() {
        return version;
    }

    /** Tells that values were written through a tensor. */
    void changed() {
        version++;
    }

    /** One AdamW step (step counts from 1); gradients are multiplied by gradScale first. */
    void adamw(double lr, double weightDecay, long step, float gradScale, Exec exec) {
        version++;
        Layers.adamw(
                values,
                grads,
                firstMoments,
                secondMoments,
                size,
                lr,
                0.9,
                0.999,
                1e-8,
                weightDecay,
                step,
                gradScale,
                exec);
    }

    float[] snapshot() {
        return Buffers.toArray(values, size);
    }

    void restore(float[] snapshot) {
        version++;
        Buffers.set(values, snapshot);
    }

    void restore(float[] snapshot, float[] first, float[] second) {
        restore(snapshot);
        Buffers.set(firstMoments, first);
        Buffers.set(secondMoments, second);
    }

    float[] firstMomentsSnapshot() {
        return Buffers.toArray(firstMoments, size);
    }

    float[] secondMomentsSnapshot() {
        return Buffers.toArray(secondMoments, size);
    }

    MemorySegment firstMoments() {
        return firstMoments;
    }
}
