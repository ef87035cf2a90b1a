package org.horosphere.bench;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import jcuda.Pointer;
import jcuda.runtime.JCuda;
import jcuda.runtime.cudaEvent_t;
import jcuda.runtime.cudaMemcpyKind;
import jcuda.runtime.cudaStream_t;
import org.horosphere.DType;
import org.horosphere.Device;
import org.horosphere.Exec;
import org.horosphere.PoincareBall;
import org.horosphere.jcuda.JCudaInterop;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * A row operation on a CUDA device from Java, beside a copy of as many bytes: memory, stream and
 * events are JCuda's. The counter {@code gbps} is by the device's own clock; the time of a call
 * includes waiting for it.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class RowOpGpuBench {
    private static final long ARRAY_BYTES = 1L << 29;

    @Param({"2", "16", "128", "1024"})
    public int dim;

    @Param({"F32", "BF16"})
    public DType dtype;

    private final Pointer memory = new Pointer();
    private final cudaStream_t stream = new cudaStream_t();
    private final cudaEvent_t begin = new cudaEvent_t();
    private final cudaEvent_t end = new cudaEvent_t();
    private final float[] milliseconds = new float[1];
    private MemorySegment x;
    private MemorySegment y;
    private MemorySegment out;
    private Pointer target;
    private Exec exec;
    private PoincareBall ball;
    private long rows;

    /** Bytes moved per nanosecond of the device in this iteration. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.EVENTS)
    public static class Rate {
        private double bytes;
        private double nanoseconds;

        @Setup(Level.Iteration)
        public void clear() {
            bytes = 0;
            nanoseconds = 0;
        }

        public double gbps() {
            return bytes / nanoseconds;
        }
    }

    @Setup
    public void open() {
        if (Device.list().isEmpty()) {
            throw new IllegalStateException("no CUDA device: " + Device.reason());
        }
        Device device = Device.list().get(0);
        JCudaInterop.use(device);
        JCuda.setExceptionsEnabled(true);
        JCuda.cudaMalloc(memory, 3 * ARRAY_BYTES);
        JCuda.cudaMemset(memory, 0, 3 * ARRAY_BYTES);
        JCuda.cudaStreamCreate(stream);
        JCuda.cudaEventCreate(begin);
        JCuda.cudaEventCreate(end);
        target = memory.withByteOffset(2 * ARRAY_BYTES);
        x = JCudaInterop.operand(memory);
        y = JCudaInterop.operand(memory.withByteOffset(ARRAY_BYTES));
        out = JCudaInterop.operand(target);
        exec = Exec.cuda(device, JCudaInterop.stream(device, stream));
        ball = new PoincareBall(1, exec);
        rows = ARRAY_BYTES / dtype.bytes() / dim;
    }

    @TearDown
    public void close() {
        exec.close();
        JCuda.cudaEventDestroy(begin);
        JCuda.cudaEventDestroy(end);
        JCuda.cudaStreamDestroy(stream);
        JCuda.cudaFree(memory);
    }

    private void timed(Rate rate, double bytes, Runnable enqueue) {
        JCuda.cudaEventRecord(begin, stream);
        enqueue.run();
        JCuda.cudaEventRecord(end, stream);
        JCuda.cudaEventSynchronize(end);
        JCuda.cudaEventElapsedTime(milliseconds, begin, end);
        rate.bytes += bytes;
        rate.nanoseconds += 1e6 * milliseconds[0];
    }

    @Benchmark
    public void mobiusAdd(Rate rate) {
        timed(rate, 3.0 * ARRAY_BYTES, () -> ball.mobius_add(dtype, rows, dim, x, y, out));
    }

    /** The floor: one array read, one written. */
    @Benchmark
    public void copy(Rate rate) {
        timed(
                rate,
                2.0 * ARRAY_BYTES,
                () ->
                        JCuda.cudaMemcpyAsync(
                                target,
                                memory,
                                ARRAY_BYTES,
                                cudaMemcpyKind.cudaMemcpyDeviceToDevice,
                                stream));
    }
}
