package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Where and how a kernel runs. {@link #CPU} suits nearly everyone; make another to choose the
 * number of threads. Immutable and safe from any thread; results do not depend on the number of
 * threads.
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
     * The CPU with as many threads as this process may use cores; {@code HORO_THREADS} overrides.
     */
    public static final Exec CPU = new Exec(MemorySegment.NULL);

    private final MemorySegment handle;
    private volatile boolean closed;

    private Exec(MemorySegment handle) {
        this.handle = handle;
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
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            int status;
            try {
                status = (int) CREATE.invokeExact(-1, threads, MemorySegment.NULL, result);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return new Exec(result.get(ADDRESS, 0));
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

    /** The native handle, for the binding classes. */
    MemorySegment handle() {
        if (closed) {
            throw new IllegalStateException("exec: already closed");
        }
        return handle;
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
