package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;
import java.util.function.Supplier;
import org.horosphere.DType;
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

    /** On a device: what clips the gradient, and numbers that the host reads. */
    private MemorySegment squares;

    private MemorySegment workspace;
    private DeviceScalars scalars;

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
            scalars = new DeviceScalars();
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

    /**
     * The same on a device, the gradient clipped to a norm; nothing waits and nothing changes where
     * the gradient is not finite.
     *
     * @return the norm before
     */
    DoubleSupplier adamwClipped(double lr, double weightDecay, long step, double maxNorm) {
        Buffers.zero(squares, Double.BYTES);
        Layers.sum_squares_add(grads, size, squares, workspace, exec);
        version++;
        Layers.adamw_clipped(
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
                1,
                squares,
                maxNorm,
                exec);
        scalars.read();
        Supplier<MemorySegment> sum = Buffers.later(squares, Double.BYTES);
        return () -> Math.sqrt(sum.get().get(ValueLayout.JAVA_DOUBLE, 0));
    }

    /** The value of a tensor of one number. */
    float scalar(Tensor tensor) {
        return scalars == null
                ? tensor.value().get(ValueLayout.JAVA_FLOAT, 0)
                : scalars.value(tensor);
    }

    /** All tensors of one number, gathered on the device and read together. */
    private final class DeviceScalars {
        private final Map<Tensor, Integer> index = new IdentityHashMap<>();
        private final MemorySegment offsets;
        private final MemorySegment gathered;
        private long seen = -1;
        private Supplier<MemorySegment> known;

        DeviceScalars() {
            int[] at = new int[tensors.size()];
            long offset = 0;
            for (Tensor tensor : tensors) {
                if (tensor.size() == 1) {
                    at[index.size()] = Math.toIntExact(offset);
                    index.put(tensor, index.size());
                }
                offset += tensor.size();
            }
            offsets = Buffers.ints(index.size(), exec);
            gathered = Buffers.floats(index.size(), exec);
            Buffers.set(offsets, Arrays.copyOf(at, index.size()));
        }

        void read() {
            int n = index.size();
            if (n > 0) {
                Layers.embedding_forward(offsets, DType.F32, values, n, size, 1, gathered, exec);
                known = Buffers.later(gathered, (long) n * Float.BYTES);
                seen = version;
            }
        }

        float value(Tensor tensor) {
            if (seen != version) {
                read();
            }
            return known.get().getAtIndex(ValueLayout.JAVA_FLOAT, index.get(tensor));
        }
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
