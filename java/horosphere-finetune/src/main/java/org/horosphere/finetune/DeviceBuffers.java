package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.WeakHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.horosphere.DeviceMemory;
import org.horosphere.Exec;
import org.horosphere.Graph;
import org.horosphere.HorosphereException;
import org.horosphere.PinnedMemory;
import org.horosphere.Stream;

/**
 * Memory of CUDA devices behind {@link Buffers}: freed when nothing refers to it any more. What
 * passes between host and device goes through pinned memory where it is small, so that the host
 * goes on; {@link #later} is what a step reads when all of it is enqueued.
 */
final class DeviceBuffers {
    private static final Cleaner CLEANER = Cleaner.create();

    /** By address. */
    private static final ConcurrentSkipListMap<Long, Allocation> ALLOCATIONS =
            new ConcurrentSkipListMap<>();

    /** Kept by the allocations. */
    private static final Map<Stream, WeakReference<Transfers>> TRANSFERS = new WeakHashMap<>();

    private record Allocation(DeviceMemory memory, Transfers transfers) {
        long offset(MemorySegment at) {
            return at.address() - memory.address().address();
        }
    }

    private DeviceBuffers() {}

    static MemorySegment allocate(long bytes, Exec exec) {
        Transfers transfers = transfers(exec.stream());
        transfers.countAllocation();
        DeviceMemory memory = allocate(exec.stream(), bytes);
        Allocation allocation = new Allocation(memory, transfers);
        long address = memory.address().address();
        ALLOCATIONS.put(address, allocation);
        MemorySegment start = memory.address().reinterpret(0, Arena.ofAuto(), s -> free(address));
        memory.fill(0, 0, bytes, exec.stream());
        return start;
    }

    /** What is no longer referred to is freed before this gives up. */
    private static DeviceMemory allocate(Stream stream, long bytes) {
        for (int attempt = 1; ; attempt++) {
            try {
                return DeviceMemory.allocate(stream.device(), bytes);
            } catch (HorosphereException e) {
                if (attempt == 3) {
                    throw e;
                }
                System.gc();
                pause();
            }
        }
    }

    private static void pause() {
        try {
            Thread.sleep(100);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void free(long address) {
        ALLOCATIONS.remove(address).memory().close();
    }

    /** Whether this is memory that {@link #allocate} made, or a part of it. */
    static boolean contains(MemorySegment segment) {
        return segment.byteSize() == 0 && find(segment) != null;
    }

    private static Allocation find(MemorySegment segment) {
        Map.Entry<Long, Allocation> below = ALLOCATIONS.floorEntry(segment.address());
        if (below == null) {
            return null;
        }
        long offset = segment.address() - below.getKey();
        return offset < below.getValue().memory().byteSize() ? below.getValue() : null;
    }

    /** Bytes from here to the end of the allocation; 0 for memory of the host. */
    static long byteSize(MemorySegment segment) {
        Allocation in = find(segment);
        return in == null ? 0 : in.memory().byteSize() - in.offset(segment);
    }

    static MemorySegment slice(MemorySegment segment, long offset, long bytes) {
        if (offset + bytes > byteSize(segment)) {
            throw new IndexOutOfBoundsException(
                    offset + " with " + bytes + " bytes, of " + byteSize(segment));
        }
        return segment.reinterpret(offset).asSlice(offset, 0);
    }

    static void zero(MemorySegment segment, long bytes) {
        Allocation in = find(segment);
        in.memory().fill(0, in.offset(segment), bytes, in.transfers().stream());
    }

    /** Within the device. */
    static void copy(MemorySegment from, MemorySegment to, long bytes) {
        Allocation in = find(to);
        Allocation source = find(from);
        in.memory()
                .enqueueCopyFrom(
                        source.memory(),
                        source.offset(from),
                        in.offset(to),
                        bytes,
                        in.transfers().stream());
    }

    static void upload(MemorySegment to, long bytes, Consumer<MemorySegment> write) {
        Allocation in = find(to);
        in.transfers().upload(in.memory(), in.offset(to), bytes, write);
    }

    /** Native memory as it is, whatever its size; waits. */
    static void upload(MemorySegment to, MemorySegment from) {
        Allocation in = find(to);
        in.memory().copyFrom(from, in.offset(to), in.transfers().stream());
    }

    /** A copy; waits. */
    static MemorySegment download(MemorySegment from, long bytes) {
        Allocation in = find(from);
        MemorySegment host = Arena.ofAuto().allocate(bytes, Long.BYTES);
        in.memory().copyTo(host, in.offset(from), in.transfers().stream());
        return host;
    }

    /** Enqueues a copy; the first of several that is asked for waits for all. */
    static Supplier<MemorySegment> later(MemorySegment from, long bytes) {
        Allocation in = find(from);
        return in.transfers().later(in.memory(), in.offset(from), bytes);
    }

    /** How often memory was allocated for execs of this stream. */
    static long allocations(Exec exec) {
        return transfers(exec.stream()).allocations();
    }

    /**
     * Records what is enqueued on the exec's stream.
     *
     * @throws IllegalStateException if the work allocates or passes anything between host and
     *     device: a graph would repeat that with the memory of this time
     */
    static Graph capture(Exec exec, Runnable work) {
        return transfers(exec.stream()).capture(work);
    }

    private static Transfers transfers(Stream stream) {
        synchronized (TRANSFERS) {
            WeakReference<Transfers> known = TRANSFERS.get(stream);
            Transfers transfers = known == null ? null : known.get();
            if (transfers == null) {
                transfers = new Transfers(stream);
                TRANSFERS.put(stream, new WeakReference<>(transfers));
            }
            return transfers;
        }
    }

    /** The copies of one stream. */
    private static final class Transfers {
        private static final long STAGING = 4 << 20;
        private static final long LARGEST = STAGING / 4;
        private static final long ALIGNMENT = 64;

        /** What is to be read, then what was read. */
        private static final class Reading {
            private MemorySegment memory;
            private boolean taken;

            Reading(MemorySegment staged) {
                memory = staged;
            }

            void take() {
                memory =
                        Arena.ofAuto()
                                .allocate(memory.byteSize(), Long.BYTES)
                                .copyFrom(memory)
                                .asReadOnly();
                taken = true;
            }
        }

        private final Stream stream;
        private final PinnedMemory staging;
        private final List<Reading> readings = new ArrayList<>();
        private long used;
        private long allocations;
        private boolean capturing;

        Transfers(Stream stream) {
            this.stream = stream;
            PinnedMemory pinned = PinnedMemory.allocate(stream.device(), STAGING);
            staging = pinned;
            CLEANER.register(this, pinned::close);
        }

        Stream stream() {
            return stream;
        }

        synchronized long allocations() {
            return allocations;
        }

        synchronized void countAllocation() {
            requireNoCapture("allocates");
            allocations++;
        }

        Graph capture(Runnable work) {
            setCapturing(true);
            try {
                return stream.capture(work);
            } finally {
                setCapturing(false);
            }
        }

        private synchronized void setCapturing(boolean now) {
            capturing = now;
        }

        private void requireNoCapture(String what) {
            if (capturing) {
                throw new IllegalStateException(
                        "the work " + what + ", which a CUDA graph cannot repeat");
            }
        }

        synchronized void upload(
                DeviceMemory memory, long offset, long bytes, Consumer<MemorySegment> write) {
            requireNoCapture("takes numbers from the host");
            if (bytes > LARGEST) {
                try (Arena arena = Arena.ofConfined()) {
                    MemorySegment host = arena.allocate(bytes, Long.BYTES);
                    write.accept(host);
                    memory.copyFrom(host, offset, stream);
                }
                return;
            }
            MemorySegment part = reserve(bytes);
            write.accept(part);
            memory.enqueueCopyFrom(staging, part, offset, stream);
        }

        synchronized Supplier<MemorySegment> later(DeviceMemory memory, long offset, long bytes) {
            requireNoCapture("hands numbers to the host");
            if (bytes > LARGEST) {
                MemorySegment host = Arena.ofAuto().allocate(bytes, Long.BYTES);
                memory.copyTo(host, offset, stream);
                return () -> host;
            }
            Reading reading = new Reading(reserve(bytes));
            memory.enqueueCopyTo(staging, reading.memory, offset, stream);
            readings.add(reading);
            return () -> result(reading);
        }

        private synchronized MemorySegment result(Reading reading) {
            if (!reading.taken) {
                drain();
            }
            return reading.memory;
        }

        /** A part that no enqueued copy uses. */
        private MemorySegment reserve(long bytes) {
            if (used + bytes > STAGING) {
                drain();
            }
            MemorySegment part = staging.segment().asSlice(used, bytes);
            used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            return part;
        }

        private void drain() {
            stream.synchronize();
            readings.forEach(Reading::take);
            readings.clear();
            used = 0;
        }
    }
}
