package org.horosphere;

import java.lang.foreign.MemorySegment;

/** Checks of the memory handed to a kernel; each failure names the argument. */
final class Checks {
    private Checks() {}

    /** A native segment of at least so many elements, aligned to them; bytes: a power of 2. */
    static void require(String name, MemorySegment segment, long elements, int bytes) {
        if (segment == null
                || !segment.isNative()
                || segment.byteSize() >>> Integer.numberOfTrailingZeros(bytes) < elements
                || (segment.address() & bytes - 1) != 0) {
            throw new IllegalArgumentException(name + unfit(segment, elements, bytes));
        }
    }

    private static String unfit(MemorySegment segment, long elements, int bytes) {
        if (segment == null) {
            return ": null, expected a segment";
        }
        if (!segment.isNative()) {
            return ": a heap segment, expected native memory (an Arena's, or a direct buffer's)";
        }
        return segment.byteSize() / bytes < elements
                ? ": "
                        + segment.byteSize()
                        + " bytes, expected at least "
                        + elements
                        + " elements of "
                        + bytes
                        + " bytes"
                : ": not aligned to its elements of " + bytes + " bytes";
    }

    /** Like {@link #require}, for memory the kernel writes. */
    static void requireWritable(String name, MemorySegment segment, long elements, int bytes) {
        require(name, segment, elements, bytes);
        if (segment.isReadOnly()) {
            throw new IllegalArgumentException(name + ": read-only, expected writable memory");
        }
    }

    /** Memory of the exec's device: {@link #requireDevice}, or {@link #require} for the CPU. */
    static void require(Exec exec, String name, MemorySegment segment, long elements, int bytes) {
        if (requireNonNull("exec", exec).isCuda()) {
            requireDevice(name, segment, elements, bytes);
        } else {
            require(name, segment, elements, bytes);
        }
    }

    /** Like the above, for memory the kernel writes. */
    static void requireWritable(
            Exec exec, String name, MemorySegment segment, long elements, int bytes) {
        require(exec, name, segment, elements, bytes);
        if (segment.isReadOnly()) {
            throw new IllegalArgumentException(name + ": read-only, expected writable memory");
        }
    }

    /** Like the above, but null and {@link MemorySegment#NULL} stand for "not wanted". */
    static void requireOptional(
            Exec exec, String name, MemorySegment segment, long elements, int bytes) {
        if (segment != null && !MemorySegment.NULL.equals(segment)) {
            requireWritable(exec, name, segment, elements, bytes);
        }
    }

    /** The size of a workspace; that of a device address is not known and counts as enough. */
    static long workspaceBytes(Exec exec, MemorySegment workspace) {
        return exec.isCuda() ? Long.MAX_VALUE : workspace.byteSize();
    }

    /**
     * An address of a device, as {@link DeviceMemory#at} gives it: a segment of size zero; host
     * memory has a size.
     */
    static void requireDevice(String name, MemorySegment segment, long elements, int bytes) {
        if (segment == null) {
            throw new IllegalArgumentException(name + ": null, expected a device address");
        }
        if (!segment.isNative() || segment.byteSize() != 0) {
            throw new IllegalArgumentException(
                    name
                            + ": host memory, expected a device address (DeviceMemory.at, or"
                            + " MemorySegment.ofAddress)");
        }
        if (elements > 0 && segment.address() == 0) {
            throw new IllegalArgumentException(name + ": null, expected a device address");
        }
        if ((segment.address() & (bytes - 1)) != 0) {
            throw new IllegalArgumentException(
                    name + ": not aligned to its elements of " + bytes + " bytes");
        }
    }

    /** Two segments, one of them written, must not share memory; null shares none. */
    static void requireDisjoint(String name, MemorySegment a, String otherName, MemorySegment b) {
        if (a != null && b != null) {
            requireDisjoint(name, a, a.byteSize(), otherName, b, b.byteSize());
        }
    }

    /** Like the above, of the first bytes of each. */
    static void requireDisjoint(
            String name,
            MemorySegment a,
            long aBytes,
            String otherName,
            MemorySegment b,
            long bBytes) {
        if (aBytes > 0
                && bBytes > 0
                && a.address() < b.address() + bBytes
                && b.address() < a.address() + aBytes) {
            throw new IllegalArgumentException(
                    name + ": overlaps " + otherName + ", expected separate memory");
        }
    }

    static double requirePositive(String name, double value) {
        if (!(value > 0 && value < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException(
                    name + ": " + value + ", expected a positive finite number");
        }
        return value;
    }

    static void requireAtLeast(String name, long value, long least) {
        if (value < least) {
            throw new IllegalArgumentException(
                    name + ": " + value + ", expected " + least + " or more");
        }
    }

    /** The product of two numbers of elements, each 0 or more. */
    static long product(String name, long a, long b) {
        requireAtLeast(name, a, 0);
        requireAtLeast(name, b, 0);
        try {
            return Math.multiplyExact(a, b);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException(name + ": " + a + " * " + b + " is too large", e);
        }
    }

    static void requireFloating(DType dtype) {
        if (dtype != DType.F32 && dtype != DType.F64) {
            throw new IllegalArgumentException("dtype: " + dtype + ", expected F32 or F64");
        }
    }

    static <T> T requireNonNull(String name, T value) {
        if (value == null) {
            throw new IllegalArgumentException(name + ": null");
        }
        return value;
    }

    static void requireStorage(DType dtype) {
        if (dtype == null) {
            throw new IllegalArgumentException("dtype: null, expected a storage type");
        }
    }

    /** The segment, or a null pointer. */
    static MemorySegment orNull(MemorySegment segment) {
        return segment == null ? MemorySegment.NULL : segment;
    }
}
