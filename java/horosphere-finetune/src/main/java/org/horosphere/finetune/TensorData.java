package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.function.BiConsumer;
import org.horosphere.DType;

/**
 * A named tensor: row-major little-endian elements in memory that someone else owns.
 *
 * @param name the tensor's name in its file
 * @param type the element type
 * @param shape the dimensions, each 0 or more; empty for a scalar
 * @param data the elements, {@code elements() * type.bytes()} bytes; for a tensor read from a file
 *     this is a read-only view of the mapped file, at no particular alignment
 */
public record TensorData(String name, TensorType type, long[] shape, MemorySegment data) {
    private static final ValueLayout.OfFloat F32 =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble F64 =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort U16 =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final int ALIGNMENT = 64;
    private static final int BLOCK = 4096;

    /**
     * @throws IllegalArgumentException if {@code data} is not exactly as long as {@code type} and
     *     {@code shape} say
     */
    public TensorData {
        shape = shape.clone();
        long bytes;
        try {
            bytes = byteSize(type, shape);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException(
                    "shape: " + Arrays.toString(shape) + " is negative or too large");
        }
        if (data.byteSize() != bytes) {
            throw new IllegalArgumentException(
                    "data: %s %s of shape %s needs %d bytes, got %d"
                            .formatted(name, type, Arrays.toString(shape), bytes, data.byteSize()));
        }
    }

    /** A float32 tensor over a Java array, which is not copied. */
    public static TensorData of(String name, float[] data, long... shape) {
        return new TensorData(name, TensorType.F32, shape, MemorySegment.ofArray(data));
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** The product of the dimensions. */
    public long elements() {
        return data.byteSize() / type.bytes();
    }

    /** Whether the memory is an array of that type as it is: of its type, and aligned to it. */
    boolean isStoredAs(DType wanted) {
        return type.dtype() == wanted && data.address() % wanted.bytes() == 0;
    }

    /**
     * The elements as float32: the tensor's own memory if it holds float32 aligned to 4 bytes, else
     * a copy in memory from {@code allocator}. bfloat16 and float16 widen exactly, float64 rounds
     * to the nearest float32.
     *
     * @throws CheckpointException if the tensor does not hold floating-point numbers
     */
    public MemorySegment floats(SegmentAllocator allocator) {
        if (isStoredAs(DType.F32)) {
            return data;
        }
        requireFloat();
        MemorySegment out =
                allocator.allocate(Math.multiplyExact(elements(), Float.BYTES), ALIGNMENT);
        widen(out);
        return out;
    }

    /**
     * The elements as a new float32 array, converted as in {@link #floats}.
     *
     * @throws CheckpointException if the tensor does not hold floating-point numbers, or more than
     *     an array can
     */
    public float[] toFloatArray() {
        requireFloat();
        if (elements() > Integer.MAX_VALUE - 8) {
            throw new CheckpointException(
                    "tensor " + name + ": " + elements() + " elements do not fit a Java array");
        }
        float[] out = new float[(int) elements()];
        widen(MemorySegment.ofArray(out));
        return out;
    }

    private void requireFloat() {
        if (type.dtype() == null) {
            throw new CheckpointException(
                    "tensor " + name + ": expected floating-point elements, got " + type);
        }
    }

    private void widen(MemorySegment out) {
        switch (type.dtype()) {
            case F32 -> MemorySegment.copy(data, 0, out, 0, data.byteSize());
            case F64 -> widenBlocks(out, new double[BLOCK], F64, TensorData::narrow);
            case BF16 -> widenBlocks(out, new short[BLOCK], U16, TensorData::widenBf16);
            case F16 -> widenBlocks(out, new short[BLOCK], U16, TensorData::widenF16);
        }
    }

    // Through arrays that stay in the cache: loops over arrays are vectorized, those over segments
    // are not.
    private <T> void widenBlocks(
            MemorySegment out, T block, ValueLayout layout, BiConsumer<T, float[]> convert) {
        float[] floats = new float[BLOCK];
        long n = elements();
        for (long i = 0; i < n; i += BLOCK) {
            int count = (int) Math.min(BLOCK, n - i);
            MemorySegment.copy(data, layout, i * layout.byteSize(), block, 0, count);
            convert.accept(block, floats);
            MemorySegment.copy(floats, 0, out, F32, i * Float.BYTES, count);
        }
    }

    private static void narrow(double[] from, float[] to) {
        for (int i = 0; i < BLOCK; i++) {
            to[i] = (float) from[i];
        }
    }

    private static void widenBf16(short[] from, float[] to) {
        for (int i = 0; i < BLOCK; i++) {
            to[i] = Float.intBitsToFloat(from[i] << Short.SIZE);
        }
    }

    private static void widenF16(short[] from, float[] to) {
        for (int i = 0; i < BLOCK; i++) {
            to[i] = Float.float16ToFloat(from[i]);
        }
    }

    /**
     * @throws ArithmeticException if a dimension is negative or the product overflows
     */
    static long byteSize(TensorType type, long[] shape) {
        long bytes = type.bytes();
        for (long dimension : shape) {
            if (dimension < 0) {
                throw new ArithmeticException("negative dimension");
            }
            bytes = Math.multiplyExact(bytes, dimension);
        }
        return bytes;
    }

    @Override
    public String toString() {
        return name + " " + type + Arrays.toString(shape);
    }
}
