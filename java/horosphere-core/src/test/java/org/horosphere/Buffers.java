package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/** Native buffers from and to double arrays. */
final class Buffers {
    private Buffers() {}

    static MemorySegment of(Arena arena, DType dtype, double... values) {
        MemorySegment segment = empty(arena, dtype, values.length);
        for (int i = 0; i < values.length; i++) {
            set(segment, dtype, i, values[i]);
        }
        return segment;
    }

    static MemorySegment ints(Arena arena, double[] values) {
        MemorySegment segment = arena.allocate(4L * values.length, 4);
        for (int i = 0; i < values.length; i++) {
            segment.setAtIndex(ValueLayout.JAVA_INT, i, (int) values[i]);
        }
        return segment;
    }

    /** Zeros, aligned to an element and no more, which a kernel has to put up with. */
    static MemorySegment empty(Arena arena, DType dtype, long elements) {
        int bytes = dtype.bytes();
        return arena.allocate((elements + 2) * bytes, 64).asSlice(bytes, elements * bytes);
    }

    /** To bfloat16 by cutting off, to the other types rounded. */
    static void set(MemorySegment segment, DType dtype, long i, double value) {
        switch (dtype) {
            case F32 -> segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) value);
            case F64 -> segment.setAtIndex(ValueLayout.JAVA_DOUBLE, i, value);
            case F16 ->
                    segment.setAtIndex(
                            ValueLayout.JAVA_SHORT, i, Float.floatToFloat16((float) value));
            case BF16 -> { // finite values only: to nearest, ties to even
                int bits = Float.floatToRawIntBits((float) value);
                int rounded = bits + 0x7FFF + (bits >>> 16 & 1) >>> 16;
                segment.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) rounded);
            }
        }
    }

    static double get(MemorySegment segment, DType dtype, long i) {
        return switch (dtype) {
            case F32 -> segment.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            case F64 -> segment.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
            case F16 -> Float.float16ToFloat(segment.getAtIndex(ValueLayout.JAVA_SHORT, i));
            case BF16 -> Float.intBitsToFloat(segment.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
        };
    }

    static double[] read(MemorySegment segment, DType dtype) {
        double[] out = new double[Math.toIntExact(segment.byteSize() / dtype.bytes())];
        for (int i = 0; i < out.length; i++) {
            out[i] = get(segment, dtype, i);
        }
        return out;
    }

    static double[] random(Random random, long count, double size) {
        return random.doubles(count, -size, size).toArray();
    }

    /** Euclidean norm of got - want; NaN counts as infinite. */
    static double distance(double[] got, double[] want) {
        double sum = got.length == want.length ? 0 : Double.POSITIVE_INFINITY;
        for (int i = 0; i < Math.min(got.length, want.length); i++) {
            sum += (got[i] - want[i]) * (got[i] - want[i]);
        }
        return Double.isNaN(sum) ? Double.POSITIVE_INFINITY : Math.sqrt(sum);
    }

    static double norm(double[] x) {
        return distance(x, new double[x.length]);
    }
}
