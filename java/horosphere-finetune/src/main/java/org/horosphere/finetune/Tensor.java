package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;

/**
 * A named float32 weight: frozen (value only) or trainable (value and gradient, both slices of a
 * {@link Parameters}).
 */
final class Tensor {
    private final String name;
    private final long[] shape;
    private MemorySegment value;
    private MemorySegment grad = MemorySegment.NULL;

    private Tensor(String name, long[] shape, MemorySegment value) {
        this.name = name;
        this.shape = shape.clone();
        this.value = value;
    }

    static Tensor frozen(String name, MemorySegment value, long... shape) {
        return new Tensor(name, shape, value);
    }

    /** A trainable tensor without memory yet; {@link Parameters#add} makes these. */
    static Tensor trainable(String name, long... shape) {
        return new Tensor(name, shape, MemorySegment.NULL);
    }

    void place(MemorySegment newValue, MemorySegment newGrad) {
        value = newValue;
        grad = newGrad;
    }

    String name() {
        return name;
    }

    long[] shape() {
        return shape.clone();
    }

    long size() {
        long size = 1;
        for (long extent : shape) {
            size *= extent;
        }
        return size;
    }

    MemorySegment value() {
        return value;
    }

    /** The gradient, {@link MemorySegment#NULL} if frozen. */
    MemorySegment grad() {
        return grad;
    }

    boolean isTrainable() {
        return grad.address() != 0;
    }
}
