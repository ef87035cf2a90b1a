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

    private static final MethodHandle BEGIN_CAPTURE =
            Native.bind(
                    "horo_stream_begin_capture",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));
    private static final MethodHandle END_CAPTURE =
            Native.bind(
                    "horo_stream_end_capture",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));

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
        device.call(SYNCHRONIZE, handle());
    }

    /**
     * Records what {@code work} enqueues on this stream, instead of running it: as a CUDA graph,
     * one call enqueues all of it. Kernels and the enqueued copies and fills of {@link
     * DeviceMemory} can be recorded, those of other libraries (JCuda) on this stream, too. While it
     * records, {@code work} must not wait for the stream, allocate or free memory of the device;
     * have it run once before, so that matrix products have their workspace and kernels are loaded.
     * Calls with an exec of the CPU are not recorded but run at once.
     *
     * @param work runs on this thread; what it throws ends the capture and is thrown on
     * @throws IllegalArgumentException if this is the default stream, or {@code work} waits
     * @throws HorosphereException if CUDA gave up the recording, with its reason
     */
    public Graph capture(Runnable work) {
        if (work == null) {
            throw new IllegalArgumentException("work: null");
        }
        device.call(BEGIN_CAPTURE, handle());
        try {
            work.run();
        } catch (Throwable t) {
            try {
                endCapture().close();
            } catch (RuntimeException e) {
                t.addSuppressed(e);
            }
            throw t;
        }
        return endCapture();
    }

    private Graph endCapture() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            int status;
            try {
                status = (int) END_CAPTURE.invokeExact(device.number(), handle(), result);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return new Graph(device, result.get(ADDRESS, 0));
        }
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
            device.call(DESTROY, handle);
        }
    }
}
