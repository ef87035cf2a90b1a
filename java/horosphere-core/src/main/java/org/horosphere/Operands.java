package org.horosphere;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** Checks of memory a kernel is about to touch; every failure names the argument. */
final class Operands {
    static final long FLOAT = Float.BYTES;
    static final long INT = Integer.BYTES;

    private Operands() {}

    /** Native memory of at least {@code count} elements that is read. */
    static void input(MemorySegment segment, String name, long count, long elementBytes) {
        Objects.requireNonNull(segment, name);
        if (!segment.isNative()) {
            throw new IllegalArgumentException(
                    name + ": heap memory, expected native memory (Arena.allocate)");
        }
        if (segment.address() % elementBytes != 0) {
            throw new IllegalArgumentException(
                    name
                            + ": address "
                            + segment.address()
                            + ", expected a multiple of "
                            + elementBytes);
        }
        long bytes = elements(count, elementBytes, name);
        if (segment.byteSize() < bytes) {
            throw new IllegalArgumentException(
                    name + ": " + segment.byteSize() + " bytes, expected at least " + bytes);
        }
    }

    /** Memory of the exec's device of at least {@code count} elements that is read. */
    static void input(
            MemorySegment segment, String name, long count, long elementBytes, Exec exec) {
        if (exec.isCuda()) {
            Checks.requireDevice(name, segment, count, (int) elementBytes);
        } else {
            input(segment, name, count, elementBytes);
        }
    }

    /** As {@link #input}, and writable. */
    static void output(
            MemorySegment segment, String name, long count, long elementBytes, Exec exec) {
        input(segment, name, count, elementBytes, exec);
        if (segment.isReadOnly()) {
            throw new IllegalArgumentException(
                    name + ": read-only memory, expected writable memory");
        }
    }

    /** As {@link #output}, but {@link MemorySegment#NULL} stands for "not wanted". */
    static void optionalOutput(
            MemorySegment segment, String name, long count, long elementBytes, Exec exec) {
        if (!MemorySegment.NULL.equals(segment)) {
            output(segment, name, count, elementBytes, exec);
        }
    }

    /** As {@link #input}, and writable. */
    static void output(MemorySegment segment, String name, long count, long elementBytes) {
        input(segment, name, count, elementBytes);
        if (segment.isReadOnly()) {
            throw new IllegalArgumentException(
                    name + ": read-only memory, expected writable memory");
        }
    }

    /** Refuses an output that shares memory with an input; lengths are in bytes. */
    static void disjoint(
            MemorySegment output,
            long outputBytes,
            String outputName,
            MemorySegment input,
            long inputBytes,
            String inputName) {
        if (outputBytes > 0
                && inputBytes > 0
                && output.address() < input.address() + inputBytes
                && input.address() < output.address() + outputBytes) {
            throw new IllegalArgumentException(
                    outputName + ": overlaps " + inputName + ", expected separate memory");
        }
    }

    /** A non-negative count. */
    static void count(long value, String name) {
        if (value < 0) {
            throw new IllegalArgumentException(name + ": " + value + ", expected 0 or more");
        }
    }

    /** The product of two non-negative counts. */
    static long product(long a, long b, String name) {
        count(a, name);
        count(b, name);
        return elements(a, b, name);
    }

    private static long elements(long a, long b, String name) {
        try {
            return Math.multiplyExact(a, b);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException(name + ": " + a + " * " + b + " is too large", e);
        }
    }
}
