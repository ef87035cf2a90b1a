package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Work of a CUDA device that was recorded by {@link Stream#capture} and is enqueued by one call,
 * again and again. Each launch reads and writes the memory that the recorded calls named, as it is
 * then: that memory must stay allocated, and pinned memory of recorded copies is read anew. Numbers
 * passed by value are those of the recording. Launches of one graph run one after another. Safe
 * from any thread.
 */
public final class Graph implements AutoCloseable {
    private static final MethodHandle LAUNCH =
            Native.bind(
                    "horo_graph_launch",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
    private static final MethodHandle DESTROY =
            Native.bind("horo_graph_destroy", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));

    private final Device device;
    private final MemorySegment handle;
    private boolean closed;

    Graph(Device device, MemorySegment handle) {
        this.device = device;
        this.handle = handle;
    }

    /** The device it runs on. */
    public Device device() {
        return device;
    }

    /**
     * Enqueues all of it and returns.
     *
     * @param stream of its device, not only the one it was captured from
     * @throws IllegalArgumentException if the stream belongs to another device
     * @throws HorosphereException if CUDA refuses
     */
    public synchronized void launch(Stream stream) {
        if (closed) {
            throw new IllegalStateException("graph: already closed");
        }
        if (stream == null || !stream.device().equals(device)) {
            throw new IllegalArgumentException(
                    "stream: "
                            + (stream == null ? "null" : "of " + stream.device())
                            + ", expected one of "
                            + device);
        }
        MemorySegment on = stream.handle();
        int status;
        try {
            status = (int) LAUNCH.invokeExact(device.number(), handle, on);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /** Frees it; launches that are enqueued still run. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        device.call(DESTROY, handle);
    }
}
