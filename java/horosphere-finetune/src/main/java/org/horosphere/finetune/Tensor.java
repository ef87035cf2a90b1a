package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.horosphere.DType;
import org.horosphere.Exec;

/**
 * A named weight: frozen (value only, float32 or bfloat16) or trainable (float32 value and
 * gradient, both slices of a {@link Parameters}).
 */
final class Tensor {
    private static final long BLOCK = 1 << 20;

    private final String name;
    private final long[] shape;
    private final DType type;
    private MemorySegment value;
    private MemorySegment grad = MemorySegment.NULL;

    private Tensor(String name, DType type, long[] shape, MemorySegment value) {
        this.name = name;
        this.type = type;
        this.shape = shape.clone();
        this.value = value;
    }

    static Tensor frozen(String name, MemorySegment value, long... shape) {
        return new Tensor(name, DType.F32, shape, value);
    }

    /** A frozen weight stored as F32 or BF16. */
    static Tensor frozen(String name, DType type, MemorySegment value, long... shape) {
        return new Tensor(name, type, shape, value);
    }

    /** A trainable tensor without memory yet; {@link Parameters#add} makes these. */
    static Tensor trainable(String name, long... shape) {
        return new Tensor(name, DType.F32, shape, MemorySegment.NULL);
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

    /** How {@link #value} is stored. */
    DType type() {
        return type;
    }

    /** The first dimension. */
    long rows() {
        return shape[0];
    }

    /** The second dimension of a matrix. */
    long columns() {
        return shape[1];
    }

    long size() {
        long size = 1;
        for (long extent : shape) {
            size *= extent;
        }
        return size;
    }

    /** The same weight where the exec reads it; without memory yet, this one. */
    Tensor on(Exec exec) {
        return exec.isCuda() && value.byteSize() > 0
                ? new Tensor(name, type, shape, Buffers.upload(value, exec))
                : this;
    }

    float[] toArray() {
        return toArray(0, Math.toIntExact(size()));
    }

    /** Elements from {@code from} on, in row-major order. */
    float[] toArray(long from, int count) {
        float[] values = new float[count];
        MemorySegment stored = hostBytes(from, count);
        for (int i = 0; i < count; i++) {
            values[i] = at(stored, i);
        }
        return values;
    }

    boolean isFinite() {
        for (long from = 0; from < size(); from += BLOCK) {
            long count = Math.min(BLOCK, size() - from);
            MemorySegment block = hostBytes(from, count);
            for (long i = 0; i < count; i++) {
                if (!Float.isFinite(at(block, i))) {
                    return false;
                }
            }
        }
        return true;
    }

    /** Elements as they are stored, where the host can read them. */
    MemorySegment hostBytes(long from, long count) {
        long bytes = count * type.bytes();
        return Buffers.host(Buffers.part(value, from * type.bytes(), bytes), bytes);
    }

    private float at(MemorySegment stored, long i) {
        return type == DType.F32
                ? stored.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i)
                : Float.intBitsToFloat(
                        stored.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i) << 16);
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
