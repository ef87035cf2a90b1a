package org.horosphere.bench;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.Arrays;
import org.horosphere.DType;
import org.horosphere.HyperbolicSets;
import org.horosphere.PoincareBall;

/**
 * What a small call from Java costs over the same in C: both, on segments and on arrays, in turns
 * in short rounds, the least of each, so that it can be read off on a busy machine, too.
 *
 * <pre>
 * java -cp bench/target/benchmarks.jar org.horosphere.bench.CallBench \
 *     java/horosphere-core/target/native/bench/native/libbench_call_rounds.so [SECONDS]
 * </pre>
 */
public final class CallBench {
    private static final int DIM = 8;
    private static final int CALLS = 400;
    private static final String[] NAMES = {"mobius_add", "expmap_vjp", "midpoint"};
    private static final String[] WAYS = {"C", "segments", "arrays"};

    private final PoincareBall ball = new PoincareBall(1);
    private final HyperbolicSets sets = HyperbolicSets.of(ball);
    private final Arena arena = Arena.ofConfined();
    private final MemorySegment x = operand();
    private final MemorySegment y = operand();
    private final MemorySegment g = operand();
    private final MemorySegment numbers = operand();
    private final MemorySegment out = operand();
    private final MemorySegment g_v = operand();
    private final MethodHandle rounds;

    private CallBench(Path library) {
        rounds =
                Linker.nativeLinker()
                        .downcallHandle(
                                SymbolLookup.libraryLookup(library, Arena.global())
                                        .find("bench_call")
                                        .orElseThrow(),
                                FunctionDescriptor.of(
                                        JAVA_DOUBLE,
                                        JAVA_INT,
                                        JAVA_LONG,
                                        JAVA_INT,
                                        ADDRESS,
                                        ADDRESS,
                                        ADDRESS,
                                        ADDRESS,
                                        ADDRESS,
                                        ADDRESS));
    }

    /** Prints the table. */
    public static void main(String[] args) throws Throwable {
        if (args.length < 1 || args.length > 2) {
            System.err.println("usage: CallBench LIBBENCH_CALL_ROUNDS [SECONDS]");
            System.exit(2);
        }
        double seconds = args.length == 2 ? Double.parseDouble(args[1]) : 20;
        new CallBench(Path.of(args[0]).toAbsolutePath()).run(seconds);
    }

    private MemorySegment operand() {
        return arena.allocate(16 * DIM * Float.BYTES, 64);
    }

    private void run(double seconds) throws Throwable {
        long begin = System.nanoTime();
        double[][][] best = new double[NAMES.length][2][WAYS.length];
        for (double[][] table : best) {
            for (double[] row : table) {
                Arrays.fill(row, Double.MAX_VALUE);
            }
        }
        float[][] in = {new float[DIM], new float[16 * DIM]};
        float[][] result = {new float[DIM], new float[16 * DIM]};
        float[][] second = {new float[DIM], new float[16 * DIM]};
        float[][] one = {new float[1], new float[16]};
        while (System.nanoTime() - begin < seconds * 1e9) {
            for (int call = 0; call < NAMES.length; call++) {
                for (int size = 0; size < 2; size++) {
                    int rows = size == 0 ? 1 : 16;
                    numbers.asSlice(0, 4L * rows).copyFrom(MemorySegment.ofArray(ones(one[size])));
                    double[] row = best[call][size];
                    double c =
                            (double)
                                    rounds.invokeExact(
                                            call, (long) rows, CALLS, x, y, g, numbers, out, g_v);
                    row[0] = Math.min(row[0], c);
                    numbers.asSlice(0, 4L * rows).copyFrom(MemorySegment.ofArray(one[size]));
                    row[1] = Math.min(row[1], segments(call, rows));
                    float[] i = in[size];
                    row[2] =
                            Math.min(
                                    row[2],
                                    arrays(
                                            call,
                                            i,
                                            one[size],
                                            call == 2 ? result[0] : result[size],
                                            second[size]));
                }
            }
        }
        for (int call = 0; call < NAMES.length; call++) {
            for (int size = 0; size < 2; size++) {
                double[] row = best[call][size];
                System.out.printf("%-10s %2d rows of %d:", NAMES[call], size == 0 ? 1 : 16, DIM);
                for (int way = 0; way < WAYS.length; way++) {
                    System.out.printf("  %s %.1f (%+.1f)", WAYS[way], row[way], row[way] - row[0]);
                }
                System.out.println(" ns a call");
            }
        }
    }

    private static float[] ones(float[] numbers) {
        Arrays.fill(numbers, 1);
        return numbers;
    }

    private double segments(int call, int rows) {
        return switch (call) {
            case 0 -> addSegments(rows);
            case 1 -> gradientSegments(rows);
            default -> midpointSegments(rows);
        };
    }

    private double arrays(int call, float[] in, float[] one, float[] result, float[] second) {
        return switch (call) {
            case 0 -> addArrays(in, result);
            case 1 -> gradientArrays(in, result, second, one);
            default -> midpointArrays(in, one, result);
        };
    }

    // A method per way, which HotSpot compiles on its own.

    private double addSegments(int rows) {
        long begin = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
            ball.mobius_add(DType.F32, rows, DIM, x, y, out);
        }
        return (System.nanoTime() - begin) / (double) CALLS;
    }

    private double addArrays(float[] in, float[] result) {
        long begin = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
            ball.mobius_add(DIM, in, in, result);
        }
        return (System.nanoTime() - begin) / (double) CALLS;
    }

    private double gradientSegments(int rows) {
        long begin = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
            ball.expmap_vjp(DType.F32, rows, DIM, x, y, g, out, g_v, numbers);
        }
        return (System.nanoTime() - begin) / (double) CALLS;
    }

    private double gradientArrays(float[] in, float[] result, float[] second, float[] numbers) {
        long begin = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
            ball.expmap_vjp(DIM, in, in, in, result, second, numbers);
        }
        return (System.nanoTime() - begin) / (double) CALLS;
    }

    private double midpointSegments(int rows) {
        long begin = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
            sets.midpoint(DType.F32, 1, rows, DIM, x, numbers, out);
        }
        return (System.nanoTime() - begin) / (double) CALLS;
    }

    private double midpointArrays(float[] in, float[] weights, float[] result) {
        long begin = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
            sets.midpoint(weights.length, DIM, in, weights, result);
        }
        return (System.nanoTime() - begin) / (double) CALLS;
    }
}
