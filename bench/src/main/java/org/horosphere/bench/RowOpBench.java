package org.horosphere.bench;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.horosphere.DType;
import org.horosphere.HyperbolicSets;
import org.horosphere.PoincareBall;
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

/** Small calls from Java; {@code bench/native/bench_call.cpp} makes the same from C. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class RowOpBench {
    private static final int DIM = 8;

    @Param({"1", "16"})
    public int rows;

    private final PoincareBall ball = new PoincareBall(1);
    private final Arena arena = Arena.ofConfined();
    private final MemorySegment x = arena.allocate(JAVA_FLOAT, 16 * DIM);
    private final MemorySegment y = arena.allocate(JAVA_FLOAT, 16 * DIM);
    private final MemorySegment out = arena.allocate(JAVA_FLOAT, 16 * DIM);
    private final MemorySegment g = arena.allocate(JAVA_FLOAT, 16 * DIM);
    private final MemorySegment g_v = arena.allocate(JAVA_FLOAT, 16 * DIM);
    private final MemorySegment numbers = arena.allocate(JAVA_FLOAT, 16);
    private final HyperbolicSets sets = HyperbolicSets.of(ball);
    private final float[][] arrays = {new float[DIM], new float[16 * DIM]};
    private final float[][] results = {new float[DIM], new float[16 * DIM]};

    private final float[][] gradients = {new float[DIM], new float[16 * DIM]};
    private final float[][] scalars = {{1}, new float[16]};

    /** Weights that are not 0. */
    @Setup
    public void weights() {
        Arrays.fill(scalars[1], 1);
        numbers.copyFrom(MemorySegment.ofArray(scalars[1]));
    }

    @TearDown
    public void close() {
        arena.close();
    }

    @Benchmark
    public void segments() {
        ball.mobius_add(DType.F32, rows, DIM, x, y, out);
    }

    @Benchmark
    public void heapArrays() {
        int i = rows == 1 ? 0 : 1;
        ball.mobius_add(DIM, arrays[i], arrays[i], results[i]);
    }

    @Benchmark
    public void gradientSegments() {
        ball.expmap_vjp(DType.F32, rows, DIM, x, y, g, out, g_v, numbers);
    }

    @Benchmark
    public void gradientHeapArrays() {
        int i = rows == 1 ? 0 : 1;
        ball.expmap_vjp(DIM, arrays[i], arrays[i], arrays[i], results[i], gradients[i], scalars[i]);
    }

    /** Of as many points as there are rows. */
    @Benchmark
    public void midpointSegments() {
        sets.midpoint(DType.F32, 1, rows, DIM, x, numbers, out);
    }

    @Benchmark
    public void midpointHeapArrays() {
        int i = rows == 1 ? 0 : 1;
        sets.midpoint(rows, DIM, arrays[i], scalars[i], results[0]);
    }
}
