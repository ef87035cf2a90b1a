package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * A CUDA stream: work enqueued on it runs in order. {@link #create} makes one, {@link #of} wraps
 * one that another library owns. Safe from any thread.
 */
public final class Stream implements AutoCloseable {
    private static final MethodHandle CREATE =
            Native.bind("horo_stream_create", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));
    private static final MethodHandle DESTROY =
            Native.bind("horo_stream_destroy", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));
    private static final MethodHandle SYNCHRONIZE =
            Native.bind(
                    "horo_stream_synchronize", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));

    private final Device device;
    private final MemorySegment handle;
    private final boolean owned;
    private volatile boolean closed;

    private Stream(Device device, MemorySegment handle, boolean owned) {
        this.device = device;
        this.handle = handle;
        this.owned = owned;
    }

    /**
     * A new stream that does not wait for the default stream.
     *
     * @throws HorosphereException if there is no such device, with the reason
     */
    public static Stream create(Device device) {
        requireDevice(device);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            int status;
            try {
                status = (int) CREATE.invokeExact(device.number(), result);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return new Stream(device, result.get(ADDRESS, 0), true);
        }
    }

    /**
     * A stream of another library, which stays its owner; it must live as long as this object is
     * used.
     *
     * @param cudaStream its {@code cudaStream_t} or {@code CUstream}; 0 is the default stream
     */
    public static Stream of(Device device, long cudaStream) {
        requireDevice(device);
        return new Stream(device, MemorySegment.ofAddress(cudaStream), false);
    }

    private static void requireDevice(Device device) {
        if (device == null) {
            throw new IllegalArgumentException("device: null");
        }
    }

    /** The device it belongs to. */
    public Device device() {
        return device;
    }

    /**
     * Waits until all that was enqueued has run.
     *
     * @throws HorosphereException if something in it failed
     */
    public void synchronize() {
        int status;
        try {
            status = (int) SYNCHRONIZE.invokeExact(device.number(), handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    MemorySegment handle() {
        if (closed) {
            throw new IllegalStateException("stream: already closed");
        }
        return handle;
    }

    /** Waits for what is enqueued and frees a stream of {@link #create}; others are left alone. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        if (!owned) {
            closed = true;
            return;
        }
        try {
            synchronize();
        } finally {
            closed = true;
            int status;
            try {
                status = (int) DESTROY.invokeExact(device.number(), handle);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
        }
    }
}
