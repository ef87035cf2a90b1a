package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A CUDA device. {@link #list} is empty on a machine without one and {@link #reason} says why.
 * Setting {@code HORO_DISABLE_CUDA=1} in the environment hides all devices.
 *
 * @param number the CUDA device number, 0 or more
 */
public record Device(int number) {
    private static final int NAME_BYTES = 256;

    private static final MethodHandle COUNT =
            Native.bind("horo_device_count", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    private static final MethodHandle REASON =
            Native.bind("horo_device_reason", FunctionDescriptor.of(Native.C_STRING));
    private static final MethodHandle NAME =
            Native.bind(
                    "horo_device_name",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT));

    private static final MethodHandle MEMORY =
            Native.bind(
                    "horo_device_memory",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));

    /** Checks the number, not whether there is such a device. */
    public Device {
        if (number < 0) {
            throw new IllegalArgumentException("number: " + number + ", expected 0 or more");
        }
    }

    /** Every device that can be used: compute capability 8.0 or more, a driver for CUDA 13. */
    public static List<Device> list() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(JAVA_INT);
            int status;
            try {
                status = (int) COUNT.invokeExact(count);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return IntStream.range(0, count.get(JAVA_INT, 0)).mapToObj(Device::new).toList();
        }
    }

    /** Why {@link #list} is empty; empty if it is not. */
    public static String reason() {
        return Native.text(REASON);
    }

    /**
     * Bytes of its memory that nothing uses.
     *
     * @throws HorosphereException if there is no such device, with the reason
     */
    public long freeBytes() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(JAVA_LONG, 2);
            int status;
            try {
                status =
                        (int)
                                MEMORY.invokeExact(
                                        number, result, result.asSlice(JAVA_LONG.byteSize()));
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return result.get(JAVA_LONG, 0);
        }
    }

    /**
     * The name its maker gave it.
     *
     * @throws HorosphereException if there is no such device, with the reason
     */
    public String name() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(NAME_BYTES);
            int status;
            try {
                status = (int) NAME.invokeExact(number, text, NAME_BYTES);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return text.getString(0);
        }
    }

    /** The address that {@code allocate}, a function of (device, bytes, result), gives. */
    static MemorySegment allocate(MethodHandle allocate, Device device, long byteSize) {
        if (device == null) {
            throw new IllegalArgumentException("device: null");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            int status;
            try {
                status = (int) allocate.invokeExact(device.number, byteSize, result);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return result.get(ADDRESS, 0);
        }
    }

    /** Calls a function of the device and a pointer. */
    void call(MethodHandle function, MemorySegment pointer) {
        int status;
        try {
            status = (int) function.invokeExact(number, pointer);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
