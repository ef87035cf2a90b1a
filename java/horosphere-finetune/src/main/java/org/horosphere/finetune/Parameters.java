package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.DoubleSupplier;
import java.util.function.Supplier;
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
    private Exec exec;
    private MemorySegment values;
    private MemorySegment grads;
    private MemorySegment firstMoments;
    private MemorySegment secondMoments;

    /** On a device: what clips the gradient, and the numbers of a step. */
    private MemorySegment squares;

    private MemorySegment workspace;
    private MemorySegment scalars;

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
    void allocate(Exec newExec) {
        exec = newExec;
        values = Buffers.floats(size, exec);
        grads = Buffers.floats(size, exec);
        firstMoments = Buffers.floats(size, exec);
        secondMoments = Buffers.floats(size, exec);
        if (exec.isCuda()) {
            scalars = Buffers.floats(Layers.ADAMW_SCALARS, exec);
            squares = Buffers.doubles(1, exec);
            workspace = Buffers.doubles(256, exec);
        }
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
        Buffers.zero(grads, size * Float.BYTES);
    }

    double gradientNorm() {
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
    void adamw(double lr, double weightDecay, long step, float gradScale) {
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

    /** Puts the numbers of a step where {@link #adamwClipped} reads them. */
    void stageAdamw(double lr, double weightDecay, long step) {
        float[] numbers = new float[Layers.ADAMW_SCALARS];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment combined = arena.allocate(ValueLayout.JAVA_FLOAT, numbers.length);
            Layers.adamw_scalars(lr, 0.9, 0.999, 1e-8, weightDecay, step, 1, combined);
            MemorySegment.copy(combined, ValueLayout.JAVA_FLOAT, 0, numbers, 0, numbers.length);
        }
        Buffers.set(scalars, numbers);
    }

    /**
     * The same on a device, by the numbers staged last, the gradient clipped to a norm; nothing
     * waits and nothing changes where the gradient is not finite. To be followed by {@link
     * #changed}.
     */
    void adamwClipped(double maxNorm) {
        Buffers.zero(squares, Double.BYTES);
        Layers.sum_squares_add(grads, size, squares, workspace, exec);
        Layers.adamw_clipped(
                values, grads, firstMoments, secondMoments, size, scalars, squares, maxNorm, exec);
    }

    /** The norm of the gradient before the last {@link #adamwClipped}. */
    DoubleSupplier gradientNormLater() {
        Supplier<MemorySegment> sum = Buffers.later(squares, Double.BYTES);
        return () -> Math.sqrt(sum.get().get(ValueLayout.JAVA_DOUBLE, 0));
    }

    /** Values from the first of a tensor on, over the tensors added after it. */
    MemorySegment values(Tensor first, long count) {
        return from(values, first.value(), count);
    }

    /** Likewise gradients. */
    MemorySegment grads(Tensor first, long count) {
        return from(grads, first.grad(), count);
    }

    private static MemorySegment from(MemorySegment all, MemorySegment first, long count) {
        return Buffers.part(all, first.address() - all.address(), count * Float.BYTES);
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
