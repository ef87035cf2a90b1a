package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Memory of a CUDA device, freed by {@link #close}. Java cannot read it: {@link #at} gives what a
 * kernel on the device takes as an operand, a segment of size zero that carries only the address,
 * so that reading it by mistake is an exception and never a crash. What is behind the address is
 * not checked by the kernel call: its operands must lie inside memory of the exec's device. Memory
 * of another library is passed alike, as {@code MemorySegment.ofAddress(pointer)}. Safe from any
 * thread; close it only when nothing enqueued uses it any more.
 */
public final class DeviceMemory implements AutoCloseable {
    private static final MethodHandle ALLOCATE =
            Native.bind(
                    "horo_device_allocate",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS));
    private static final MethodHandle FREE =
            Native.bind("horo_device_free", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));
    private static final MethodHandle COPY =
            Native.bind(
                    "horo_device_copy",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle COPY_ASYNC =
            Native.bind(
                    "horo_device_copy_async",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle FILL =
            Native.bind(
                    "horo_device_fill",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG, ADDRESS));

    private final Device device;
    private final MemorySegment address;
    private final long byteSize;
    private volatile boolean closed;

    private DeviceMemory(Device device, MemorySegment address, long byteSize) {
        this.device = device;
        this.address = address;
        this.byteSize = byteSize;
    }

    /**
     * Allocates uninitialised memory, aligned to 256 bytes.
     *
     * @param byteSize 1 or more
     * @throws HorosphereException if there is no such device, with the reason, or not enough memory
     */
    public static DeviceMemory allocate(Device device, long byteSize) {
        return new DeviceMemory(device, Device.allocate(ALLOCATE, device, byteSize), byteSize);
    }

    /** The device it lies on. */
    public Device device() {
        return device;
    }

    /** Its size in bytes. */
    public long byteSize() {
        return byteSize;
    }

    /** Its start, as an operand; see the class comment. */
    public MemorySegment address() {
        return open();
    }

    /** An operand that starts {@code offset} bytes into it. */
    public MemorySegment at(long offset) {
        requireInside(offset, 0);
        return MemorySegment.ofAddress(open().address() + offset);
    }

    /**
     * Copies native host memory to {@code offset}, in the order of the stream, and waits for it.
     *
     * @throws IllegalArgumentException if the source is on the heap or does not fit
     */
    public void copyFrom(MemorySegment source, long offset, Stream stream) {
        requireHost("source", source);
        requireInside(offset, source.byteSize());
        copy(at(offset), source, source.byteSize(), stream);
    }

    /**
     * Fills native host memory from {@code offset} on, in the order of the stream, and waits for
     * it.
     *
     * @throws IllegalArgumentException if the target is on the heap, read-only, or larger than what
     *     is left
     */
    public void copyTo(MemorySegment target, long offset, Stream stream) {
        requireHost("target", target);
        if (target.isReadOnly()) {
            throw new IllegalArgumentException("target: read-only memory");
        }
        requireInside(offset, target.byteSize());
        copy(target, at(offset), target.byteSize(), stream);
    }

    /**
     * Enqueues a copy of pinned host memory to {@code offset} and returns; the source must stay as
     * it is until the copy has run.
     *
     * @param source inside {@link PinnedMemory#segment}
     * @throws IllegalArgumentException if the source is not inside that memory or does not fit
     */
    public void enqueueCopyFrom(
            PinnedMemory pinned, MemorySegment source, long offset, Stream stream) {
        requirePinned("source", pinned, source);
        requireInside(offset, source.byteSize());
        enqueueCopy(at(offset), source, source.byteSize(), stream);
    }

    /**
     * Enqueues a copy from {@code offset} on into pinned host memory and returns; the target holds
     * it after {@link Stream#synchronize}.
     *
     * @param target inside {@link PinnedMemory#segment}
     * @throws IllegalArgumentException if the target is not inside that memory, or larger than what
     *     is left
     */
    public void enqueueCopyTo(
            PinnedMemory pinned, MemorySegment target, long offset, Stream stream) {
        requirePinned("target", pinned, target);
        requireInside(offset, target.byteSize());
        enqueueCopy(target, at(offset), target.byteSize(), stream);
    }

    /**
     * Enqueues a copy of {@code bytes} bytes of another part of the device's memory to {@code
     * offset} and returns.
     */
    public void enqueueCopyFrom(
            DeviceMemory source, long sourceOffset, long offset, long bytes, Stream stream) {
        if (source == null || !source.device.equals(device)) {
            throw new IllegalArgumentException("source: expected memory of " + device);
        }
        source.requireInside(sourceOffset, bytes);
        requireInside(offset, bytes);
        enqueueCopy(at(offset), source.at(sourceOffset), bytes, stream);
    }

    /**
     * Sets {@code byteSize} bytes from {@code offset} on to {@code value}, in the order of the
     * stream, without waiting.
     *
     * @param value 0 to 255
     */
    public void fill(int value, long offset, long byteSize, Stream stream) {
        requireInside(offset, byteSize);
        MemorySegment to = at(offset);
        MemorySegment handle = handle(stream);
        int status;
        try {
            status = (int) FILL.invokeExact(device.number(), to, value, byteSize, handle);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    private MemorySegment handle(Stream stream) {
        if (stream == null || !stream.device().equals(device)) {
            throw new IllegalArgumentException(
                    "stream: "
                            + (stream == null ? "null" : "of " + stream.device())
                            + ", expected one of "
                            + device);
        }
        return stream.handle();
    }

    private void copy(MemorySegment to, MemorySegment from, long bytes, Stream stream) {
        MemorySegment handle = handle(stream);
        int status;
        try {
            status = (int) COPY.invokeExact(device.number(), to, from, bytes, handle);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    private void enqueueCopy(MemorySegment to, MemorySegment from, long bytes, Stream stream) {
        MemorySegment handle = handle(stream);
        int status;
        try {
            status = (int) COPY_ASYNC.invokeExact(device.number(), to, from, bytes, handle);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    private void requirePinned(String name, PinnedMemory pinned, MemorySegment part) {
        if (pinned == null || part == null) {
            throw new IllegalArgumentException(name + ": null");
        }
        long from = part.address() - pinned.segment().address();
        if (from < 0 || part.byteSize() > pinned.byteSize() - from) {
            throw new IllegalArgumentException(name + ": outside the pinned memory");
        }
    }

    private static void requireHost(String name, MemorySegment segment) {
        if (segment == null || !segment.isNative()) {
            throw new IllegalArgumentException(
                    name
                            + ": "
                            + (segment == null ? "null" : "heap memory")
                            + ", expected native memory");
        }
    }

    private void requireInside(long offset, long bytes) {
        if (offset < 0 || bytes < 0 || bytes > byteSize - offset) {
            throw new IllegalArgumentException(
                    "offset: "
                            + offset
                            + " with "
                            + bytes
                            + " bytes, expected inside "
                            + byteSize
                            + " bytes");
        }
    }

    private MemorySegment open() {
        if (closed) {
            throw new IllegalStateException("device memory: already closed");
        }
        return address;
    }

    /** Waits for the work of the device and frees the memory. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        device.call(FREE, address);
    }
}
