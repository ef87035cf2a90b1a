package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Heap arrays as native memory: copied in, and what was written copied back by {@link #deliver}.
 */
final class ArrayCopies implements AutoCloseable {
    private record Copy(String name, MemorySegment array, MemorySegment memory, boolean written) {}

    private final DType dtype;
    private final Arena arena = Arena.ofConfined();
    private final List<Copy> copies = new ArrayList<>();

    ArrayCopies(DType dtype) {
        this.dtype = dtype;
    }

    /** An array of so many elements that is read; null for null. */
    MemorySegment in(String name, MemorySegment array, long count) {
        MemorySegment memory = add(name, array, count, dtype.bytes(), false);
        return memory == null ? null : memory.copyFrom(array);
    }

    /** An array of so many elements that is written; null for null. */
    MemorySegment out(String name, MemorySegment array, long count) {
        return add(name, array, count, dtype.bytes(), true);
    }

    /** As {@link #out}, of ints. */
    MemorySegment ints(String name, MemorySegment array, long count) {
        return add(name, array, count, Integer.BYTES, true);
    }

    /** Native memory that belongs to no array. */
    MemorySegment workspace(long bytes) {
        return arena.allocate(bytes, Double.BYTES);
    }

    /** Copies back what was written. */
    void deliver() {
        for (Copy copy : copies) {
            if (copy.written()) {
                copy.array().copyFrom(copy.memory());
            }
        }
    }

    @Override
    public void close() {
        arena.close();
    }

    private MemorySegment add(
            String name, MemorySegment array, long count, int bytes, boolean written) {
        if (array == null) {
            return null;
        }
        if (array.byteSize() != count * bytes) {
            throw new IllegalArgumentException(
                    name + ": " + array.byteSize() / bytes + " elements, expected " + count);
        }
        for (Copy other : copies) {
            if ((written || other.written())
                    && count > 0
                    && array.heapBase().equals(other.array().heapBase())) {
                throw new IllegalArgumentException(name + ": the same array as " + other.name());
            }
        }
        MemorySegment memory = arena.allocate(array.byteSize(), Double.BYTES);
        copies.add(new Copy(name, array, memory, written));
        return memory;
    }
}
