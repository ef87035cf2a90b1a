package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Off-heap arrays that live as long as something refers to them, aligned to a cache line. */
final class Buffers {
    private Buffers() {}

    static MemorySegment floats(long count) {
        return Arena.ofAuto().allocate(Math.max(1, count) * Float.BYTES, 64);
    }

    static MemorySegment ints(long count) {
        return Arena.ofAuto().allocate(Math.max(1, count) * Integer.BYTES, 64);
    }

    static MemorySegment doubles(long count) {
        return Arena.ofAuto().allocate(Math.max(1, count) * Double.BYTES, 64);
    }

    /** The buffer itself if it is large enough, else a new one; contents are not kept. */
    static MemorySegment atLeast(MemorySegment buffer, long bytes) {
        return buffer.byteSize() >= bytes ? buffer : Arena.ofAuto().allocate(bytes, 64);
    }

    static MemorySegment slice(MemorySegment floats, long from, long count) {
        return floats.asSlice(from * Float.BYTES, count * Float.BYTES);
    }

    static void copyFloats(
            MemorySegment from, long fromIndex, MemorySegment to, long toIndex, long count) {
        MemorySegment.copy(
                from, fromIndex * Float.BYTES, to, toIndex * Float.BYTES, count * Float.BYTES);
    }

    static void set(MemorySegment to, float[] values) {
        MemorySegment.copy(values, 0, to, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, values.length);
    }

    static void set(MemorySegment to, int[] values) {
        MemorySegment.copy(values, 0, to, ValueLayout.JAVA_INT_UNALIGNED, 0, values.length);
    }

    static float[] toArray(MemorySegment floats, long count) {
        return floats.asSlice(0, count * Float.BYTES).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }
}
