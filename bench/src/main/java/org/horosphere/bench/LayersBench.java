package org.horosphere.bench;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** What a call from Java costs: one row is mostly the call, many rows mostly the kernel. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class LayersBench {
    @Param({"1", "512"})
    public long rows;

    @Param({"16", "2048"})
    public long dim;

    private final Arena arena = Arena.ofConfined();
    private final Exec one = Exec.cpu(1);
    private MemorySegment x;
    private MemorySegment weight;
    private MemorySegment out;

    @Setup
    public void allocate() {
        x = arena.allocate(JAVA_FLOAT, rows * dim);
        weight = arena.allocate(JAVA_FLOAT, 16 * dim);
        out = arena.allocate(JAVA_FLOAT, rows * Math.max(dim, 16));
        for (long i = 0; i < rows * dim; i++) {
            x.setAtIndex(JAVA_FLOAT, i, (i % 100) / 100f);
        }
    }

    @TearDown
    public void close() {
        one.close();
        arena.close();
    }

    @Benchmark
    public void rmsnorm() {
        Layers.rmsnorm_forward(x, weight, 1e-5, rows, dim, out, MemorySegment.NULL, one);
    }

    /** A rank-16 projection, built-in kernel. */
    @Benchmark
    public void gemm() {
        Gemm.gemm(false, true, rows, 16, dim, 1, x, dim, DType.F32, weight, dim, 0, out, 16, one);
    }
}
