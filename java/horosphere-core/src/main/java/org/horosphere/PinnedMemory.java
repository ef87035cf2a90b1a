package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Host memory that a CUDA device copies from and to while the host goes on ({@link
 * DeviceMemory#enqueueCopyFrom}, {@link DeviceMemory#enqueueCopyTo}), freed by {@link #close}. Safe
 * from any thread.
 */
public final class PinnedMemory implements AutoCloseable {
    private static final MethodHandle ALLOCATE =
            Native.bind(
                    "horo_pinned_allocate",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS));
    private static final MethodHandle FREE =
            Native.bind("horo_pinned_free", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));

    private final Device device;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment segment;

    private PinnedMemory(Device device, MemorySegment address, long byteSize) {
        this.device = device;
        this.segment = address.reinterpret(byteSize, arena, freed -> device.call(FREE, freed));
    }

    /**
     * Allocates uninitialised memory, aligned to a page.
     *
     * @param byteSize 1 or more
     * @throws HorosphereException if there is no such device, with the reason, or not enough memory
     */
    public static PinnedMemory allocate(Device device, long byteSize) {
        return new PinnedMemory(device, Device.allocate(ALLOCATE, device, byteSize), byteSize);
    }

    /** The device it was allocated for. */
    public Device device() {
        return device;
    }

    /** Its size in bytes. */
    public long byteSize() {
        return segment.byteSize();
    }

    /** The memory itself; not to be touched while a copy of it is under way. */
    public MemorySegment segment() {
        return segment;
    }

    /** Waits for the work of the device and frees the memory. */
    @Override
    public synchronized void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
