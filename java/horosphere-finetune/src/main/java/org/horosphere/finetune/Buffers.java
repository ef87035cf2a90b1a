package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.DoubleSupplier;
import java.util.function.Supplier;
import org.horosphere.Exec;

/**
 * Arrays that live as long as something refers to them, all zero at first: off-heap and aligned to
 * a cache line, or on an exec's CUDA device. Memory of a device is a segment of size zero; what the
 * host wants of it, it says here. Numbers written are there for whatever is enqueued next, and
 * nothing waits but {@link #toArray}, {@link #host} and what {@link #later} gives.
 */
final class Buffers {
    private Buffers() {}

    static MemorySegment floats(long count) {
        return bytes(count * Float.BYTES, Exec.CPU);
    }

    static MemorySegment floats(long count, Exec exec) {
        return bytes(count * Float.BYTES, exec);
    }

    static MemorySegment ints(long count, Exec exec) {
        return bytes(count * Integer.BYTES, exec);
    }

    static MemorySegment doubles(long count, Exec exec) {
        return bytes(count * Double.BYTES, exec);
    }

    private static MemorySegment bytes(long bytes, Exec exec) {
        long some = Math.max(Float.BYTES, bytes);
        return exec.isCuda()
                ? DeviceBuffers.allocate(some, exec)
                : Arena.ofAuto().allocate(some, 64);
    }

    /** The buffer itself if it is large enough, else a new one; contents are not kept. */
    static MemorySegment atLeast(MemorySegment buffer, long bytes, Exec exec) {
        long there = exec.isCuda() ? DeviceBuffers.byteSize(buffer) : buffer.byteSize();
        return there >= bytes ? buffer : bytes(bytes, exec);
    }

    /** Native memory of the host where the exec reads it: itself, or a copy. */
    static MemorySegment upload(MemorySegment host, Exec exec) {
        if (!exec.isCuda()) {
            return host;
        }
        MemorySegment there = bytes(host.byteSize(), exec);
        if (host.byteSize() > 0) {
            DeviceBuffers.upload(there, host);
        }
        return there;
    }

    static MemorySegment slice(MemorySegment floats, long from, long count) {
        return part(floats, from * Float.BYTES, count * Float.BYTES);
    }

    static MemorySegment part(MemorySegment memory, long offset, long bytes) {
        return DeviceBuffers.contains(memory)
                ? DeviceBuffers.slice(memory, offset, bytes)
                : memory.asSlice(offset, bytes);
    }

    static void copyFloats(
            MemorySegment from, long fromIndex, MemorySegment to, long toIndex, long count) {
        long bytes = count * Float.BYTES;
        if (DeviceBuffers.contains(to)) {
            DeviceBuffers.copy(slice(from, fromIndex, count), slice(to, toIndex, count), bytes);
        } else {
            MemorySegment.copy(from, fromIndex * Float.BYTES, to, toIndex * Float.BYTES, bytes);
        }
    }

    static void zero(MemorySegment memory, long bytes) {
        if (DeviceBuffers.contains(memory)) {
            DeviceBuffers.zero(memory, bytes);
        } else {
            memory.asSlice(0, bytes).fill((byte) 0);
        }
    }

    static void set(MemorySegment to, float... values) {
        if (DeviceBuffers.contains(to)) {
            DeviceBuffers.upload(to, (long) values.length * Float.BYTES, host -> set(host, values));
        } else {
            MemorySegment.copy(values, 0, to, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, values.length);
        }
    }

    static void set(MemorySegment to, int[] values) {
        if (DeviceBuffers.contains(to)) {
            DeviceBuffers.upload(
                    to, (long) values.length * Integer.BYTES, host -> set(host, values));
        } else {
            MemorySegment.copy(values, 0, to, ValueLayout.JAVA_INT_UNALIGNED, 0, values.length);
        }
    }

    static void set(MemorySegment to, double[] values) {
        if (DeviceBuffers.contains(to)) {
            DeviceBuffers.upload(
                    to, (long) values.length * Double.BYTES, host -> set(host, values));
        } else {
            MemorySegment.copy(values, 0, to, ValueLayout.JAVA_DOUBLE_UNALIGNED, 0, values.length);
        }
    }

    /** Native memory of the host, all of it. */
    static void set(MemorySegment to, MemorySegment host) {
        if (DeviceBuffers.contains(to)) {
            DeviceBuffers.upload(to, host);
        } else {
            to.copyFrom(host);
        }
    }

    static float[] toArray(MemorySegment floats, long count) {
        return host(floats, count * Float.BYTES).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    /** The first bytes where the host can read them: the memory itself, or a copy of a device's. */
    static MemorySegment host(MemorySegment memory, long bytes) {
        return DeviceBuffers.contains(memory)
                ? DeviceBuffers.download(memory, bytes)
                : memory.asSlice(0, bytes);
    }

    /**
     * The same, as they are when all that is enqueued now has run; a device is waited for when the
     * first of several is asked for.
     */
    static Supplier<MemorySegment> later(MemorySegment memory, long bytes) {
        return DeviceBuffers.contains(memory)
                ? DeviceBuffers.later(memory, bytes)
                : () -> memory.asSlice(0, bytes);
    }

    /**
     * The sum in float64 of what there is now, or on a device when all that is enqueued has run.
     */
    static DoubleSupplier sumLater(MemorySegment floats, int count) {
        Supplier<MemorySegment> later = later(floats, (long) count * Float.BYTES);
        DoubleSupplier sum =
                () -> {
                    MemorySegment all = later.get();
                    double total = 0;
                    for (int i = 0; i < count; i++) {
                        total += all.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                    }
                    return total;
                };
        if (DeviceBuffers.contains(floats)) {
            return sum;
        }
        double now = sum.getAsDouble();
        return () -> now;
    }
}
