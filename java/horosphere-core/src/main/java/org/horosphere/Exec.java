package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Where and how a kernel runs. {@link #CPU} suits nearly everyone; make another to choose the
 * number of threads, or a CUDA device. On a device a call enqueues on the exec's stream and
 * returns; its operands are device addresses, see {@link DeviceMemory}. What works on host memory
 * refuses a CUDA exec: methods that take arrays, the distances of a {@link Product}, {@link
 * RiemannianOptimizer} and {@link Layers#sum_squares}. Immutable and safe from any thread; results
 * do not depend on the number of threads.
 */
public final class Exec implements AutoCloseable {
    private static final MethodHandle CREATE =
            Native.bind(
                    "horo_exec_create",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
    private static final MethodHandle DESTROY =
            Native.bind("horo_exec_destroy", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    private static final MethodHandle THREADS =
            Native.bind("horo_exec_threads", FunctionDescriptor.of(JAVA_INT, ADDRESS));

    /**
     * The CPU with as many threads as this process may use cores, a container's CPU quota rounded
     * up included; {@code HORO_THREADS} overrides.
     */
    public static final Exec CPU = new Exec(MemorySegment.NULL, null);

    private static final long BRIEF_PRODUCTS = 1 << 15;

    private final MemorySegment handle;
    private final long address;
    private final Stream stream;
    private volatile boolean closed;

    private Exec(MemorySegment handle, Stream stream) {
        this.handle = handle;
        this.address = handle.address();
        this.stream = stream;
    }

    /**
     * The CPU with a chosen number of threads.
     *
     * @param threads 1 to 1024
     * @throws IllegalArgumentException if threads is out of range
     */
    public static Exec cpu(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("threads: " + threads + ", expected 1 to 1024");
        }
        return create(-1, threads, MemorySegment.NULL, null);
    }

    /**
     * A CUDA device: calls are enqueued on the stream, which must stay open as long as this is
     * used.
     *
     * @throws IllegalArgumentException if the stream belongs to another device
     * @throws HorosphereException if there is no such device, with the reason
     */
    public static Exec cuda(Device device, Stream stream) {
        if (device == null) {
            throw new IllegalArgumentException("device: null");
        }
        if (stream == null || !stream.device().equals(device)) {
            throw new IllegalArgumentException(
                    "stream: "
                            + (stream == null ? "null" : "of " + stream.device())
                            + ", expected one of "
                            + device);
        }
        return create(device.number(), 0, stream.handle(), stream);
    }

    private static Exec create(int device, int threads, MemorySegment cudaStream, Stream stream) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            int status;
            try {
                status = (int) CREATE.invokeExact(device, threads, cudaStream, result);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return new Exec(result.get(ADDRESS, 0), stream);
        }
    }

    /** The number of threads a call uses at most. */
    public int threads() {
        try {
            return (int) THREADS.invokeExact(handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
    }

    /** True if calls run on a CUDA device and take device addresses. */
    public boolean isCuda() {
        return stream != null;
    }

    /**
     * Is a call for a times b results, of c products each, one of some tens of microseconds? Then
     * garbage collection may wait for it.
     */
    boolean isBrief(long a, long b, long c) {
        return stream == null && (a | b | c) >>> 16 == 0 && a * b * (c + 16) <= BRIEF_PRODUCTS;
    }

    /** The stream calls are enqueued on, null on the CPU. */
    public Stream stream() {
        return stream;
    }

    /** The native handle. */
    MemorySegment handle() {
        if (closed) {
            throw new IllegalStateException("exec: already closed");
        }
        if (stream != null) {
            stream.handle(); // must still be open
        }
        return handle;
    }

    /** {@link #handle} as a number. */
    long address() {
        handle();
        return address;
    }

    /** Frees the context; {@link #CPU} stays usable. No call may still be running with it. */
    @Override
    public synchronized void close() {
        if (closed || handle.address() == 0) {
            return;
        }
        closed = true;
        int status;
        try {
            status = (int) DESTROY.invokeExact(handle);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
