package org.horosphere;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HyperbolicityTest {
    private final Arena arena = Arena.ofConfined();

    @AfterEach
    void close() {
        arena.close();
    }

    private MemorySegment doubles(double... values) {
        return Buffers.of(arena, DType.F64, values);
    }

    private MemorySegment doubles(long count) {
        return Buffers.empty(arena, DType.F64, count);
    }

    private double[] distances(double[][] x, DType dtype, Exec exec) {
        int n = x.length;
        int d = x[0].length;
        int stride = d + 3;
        MemorySegment rows = Buffers.empty(arena, dtype, (long) n * stride);
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < d; k++) {
                Buffers.set(rows, dtype, (long) i * stride + k, x[i][k]);
            }
        }
        MemorySegment out = doubles((long) n * n);
        Hyperbolicity.pairwise_distance(exec, dtype, n, d, rows, stride, out);
        return out.toArray(JAVA_DOUBLE);
    }

    private double[] gromov(double[] distances, int base) {
        int n = (int) Math.sqrt(distances.length);
        MemorySegment d = doubles(distances);
        Hyperbolicity.gromov_product(Exec.CPU, n, d, base, d, doubles(n));
        return d.toArray(JAVA_DOUBLE);
    }

    private double delta(double[] gromov, double atLeast, boolean exhaustive, Exec exec) {
        int n = (int) Math.sqrt(gromov.length);
        return Hyperbolicity.delta(exec, n, doubles(gromov), atLeast, exhaustive, doubles(2L * n));
    }

    private double delta(double[] gromov) {
        return delta(gromov, 0, false, Exec.CPU);
    }

    /** The definition, in Java: the same operations on doubles in the same order. */
    private static double definition(double[] g) {
        int n = (int) Math.sqrt(g.length);
        double best = 0;
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                for (int k = 0; k < n; k++) {
                    best = Math.max(best, Math.min(g[i * n + k], g[k * n + j]) - g[i * n + j]);
                }
            }
        }
        return best;
    }

    /** Half the excess of the largest over the second largest pair sum, over all quadruples. */
    private static double fourPoint(double[] d) {
        int n = (int) Math.sqrt(d.length);
        double best = 0;
        for (int a = 0; a < n; a++) {
            for (int b = 0; b < a; b++) {
                for (int c = 0; c < b; c++) {
                    for (int e = 0; e < c; e++) {
                        double[] sums = {
                            d[a * n + b] + d[c * n + e],
                            d[a * n + c] + d[b * n + e],
                            d[a * n + e] + d[b * n + c]
                        };
                        java.util.Arrays.sort(sums);
                        best = Math.max(best, (sums[2] - sums[1]) / 2);
                    }
                }
            }
        }
        return best;
    }

    private static double[][] gaussian(int n, int d, long seed) {
        Random random = new Random(seed);
        double[][] x = new double[n][d];
        for (double[] row : x) {
            for (int k = 0; k < d; k++) {
                row[k] = (float) random.nextGaussian();
            }
        }
        return x;
    }

    /** Path lengths between the nodes of a random tree with edges of random length. */
    private static double[] tree(int n, boolean whole, long seed) {
        Random random = new Random(seed);
        double[] d = new double[n * n];
        for (int i = 1; i < n; i++) {
            int parent = random.nextInt(i);
            double edge = whole ? 1 : 0.1 + random.nextDouble();
            for (int j = 0; j < i; j++) {
                d[i * n + j] = d[j * n + i] = d[parent * n + j] + edge;
            }
        }
        return d;
    }

    @ParameterizedTest
    @CsvSource({"1,1", "2,3", "5,8", "33,1", "40,600", "70,1030"})
    void distancesHaveTheStatedError(int n, int d) {
        double[][] x = gaussian(n, d, 7);
        for (DType dtype : new DType[] {DType.F32, DType.F64}) {
            double[] got = distances(x, dtype, Exec.CPU);
            for (int i = 0; i < n; i++) {
                for (int j = 0; j < n; j++) {
                    double sum = 0;
                    double lost = 0;
                    for (int k = 0; k < d; k++) {
                        double t = x[i][k] - x[j][k];
                        double term = t * t - lost;
                        double next = sum + term;
                        lost = (next - sum) - term;
                        sum = next;
                    }
                    double want = Math.sqrt(sum);
                    double bound = (140 + d / 1024.0) * 0x1p-53 * want;
                    assertEquals(want, got[i * n + j], bound, dtype + " " + i + "," + j);
                    assertEquals(got[i * n + j], got[j * n + i]);
                }
                assertEquals(0.0, got[i * n + i]);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1,2,true",
        "2,2,true",
        "3,2,true",
        "4,2,true",
        "9,3,true",
        "20,4096,true",
        "36,2,true",
        "37,5,false",
        "64,3,false",
        "101,40,false",
        "130,2,false"
    })
    void deltaIsTheDefinitionToTheLastBit(int n, int d, boolean everyBase) {
        double[] distances = distances(gaussian(n, d, 3), DType.F64, Exec.CPU);
        for (int base = 0; base < (everyBase ? n : 3); base++) {
            double[] g = gromov(distances, base);
            for (int i = 0; i < n; i++) {
                for (int j = 0; j < n; j++) {
                    assertEquals(
                            ((distances[base * n + i] + distances[base * n + j])
                                            - distances[i * n + j])
                                    / 2,
                            g[i * n + j]);
                }
            }
            double want = definition(g);
            assertEquals(want, delta(g));
            assertEquals(want, delta(g, 0, true, Exec.CPU));
            assertEquals(want + 1, delta(g, want + 1, false, Exec.CPU));
            assertEquals(want, delta(g, want / 2, false, Exec.CPU));
        }
    }

    @Test
    void theLargestOverAllBasesIsTheFourPointConstant() {
        int n = 24;
        double[] distances = distances(gaussian(n, 3, 11), DType.F64, Exec.CPU);
        double best = 0;
        double least = Double.MAX_VALUE;
        for (int base = 0; base < n; base++) {
            double at = delta(gromov(distances, base));
            best = Math.max(best, at);
            least = Math.min(least, at);
        }
        double want = fourPoint(distances);
        assertEquals(want, best, 4e-15);
        assertTrue(best <= 2 * least, best + " and " + least);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 4, 33, 150})
    void treesHaveNone(int n) {
        assertEquals(0.0, delta(gromov(tree(n, true, n), n / 2)));
        assertEquals(0, delta(gromov(tree(n, false, n), n / 2)), 1e-13);
    }

    @Test
    void aFourCycleHasOne() {
        double[] cycle = {0, 1, 2, 1, 1, 0, 1, 2, 2, 1, 0, 1, 1, 2, 1, 0};
        assertEquals(1.0, delta(gromov(cycle, 0)));
    }

    @Test
    void repeatedPointsChangeNothing() {
        double[][] x = gaussian(40, 6, 5);
        double[][] twice = new double[90][];
        for (int i = 0; i < 90; i++) {
            twice[i] = x[i < 40 ? i : i * i % 40];
        }
        assertEquals(
                delta(gromov(distances(x, DType.F64, Exec.CPU), 0)),
                delta(gromov(distances(twice, DType.F64, Exec.CPU), 0)));
    }

    @Test
    void threadsDoNotMatter() {
        double[][] x = gaussian(333, 9, 1);
        try (Exec one = Exec.cpu(1);
                Exec five = Exec.cpu(5)) {
            double[] d = distances(x, DType.F32, one);
            assertArrayEquals(d, distances(x, DType.F32, five));
            double[] g = gromov(d, 4);
            double want = delta(g, 0, true, one);
            for (int i = 0; i < 20; i++) {
                assertEquals(want, delta(g, 0, false, five));
            }
        }
    }

    @Test
    void notANumberIsSeen() {
        double[] g = gromov(tree(40, false, 1), 0);
        assertTrue(delta(g) < 1e-13);
        g[3 * 40 + 17] = Double.NaN;
        assertEquals(Double.NaN, delta(g));
        double[][] x = gaussian(5, 4, 1);
        x[2][1] = Double.NaN;
        double[] d = distances(x, DType.F64, Exec.CPU);
        for (int i = 0; i < 5; i++) {
            for (int j = 0; j < 5; j++) {
                assertEquals(i == 2 || j == 2, Double.isNaN(d[i * 5 + j]));
            }
        }
    }

    @Test
    void badArgumentsAreNamed() {
        MemorySegment four = doubles(1, 2, 3, 4);
        MemorySegment out = doubles(4);
        MemorySegment two = doubles(2);
        refused(
                "dtype",
                () -> Hyperbolicity.pairwise_distance(Exec.CPU, DType.BF16, 2, 2, four, 2, out));
        refused("rows", () -> distance(-1, 2, four, 2, out));
        refused("dim", () -> distance(2, 0, four, 2, out));
        refused("xStride", () -> distance(2, 2, four, 1, out));
        refused("x: 32 bytes", () -> distance(2, 2, four, 3, out));
        refused("out: 16 bytes", () -> distance(2, 2, four, 2, two));
        refused("out: overlaps x", () -> distance(2, 2, four, 2, four));
        refused("out: read-only", () -> distance(2, 2, four, 2, out.asReadOnly()));
        refused("base", () -> Hyperbolicity.gromov_product(Exec.CPU, 2, four, 2, out, two));
        refused("n: 0", () -> Hyperbolicity.gromov_product(Exec.CPU, 0, four, 0, out, two));
        refused("baseRow", () -> Hyperbolicity.gromov_product(Exec.CPU, 2, four, 0, out, out));
        refused(
                "distances: null",
                () -> Hyperbolicity.gromov_product(Exec.CPU, 2, null, 0, out, two));
        refused("n: 0", () -> Hyperbolicity.delta(Exec.CPU, 0, four, 0, false, out));
        refused("gromov", () -> Hyperbolicity.delta(Exec.CPU, 3, four, 0, false, out));
        refused("atLeast", () -> Hyperbolicity.delta(Exec.CPU, 2, four, Double.NaN, false, out));
        refused("workspace", () -> Hyperbolicity.delta(Exec.CPU, 2, four, 0, false, two));
        refused("workspace", () -> Hyperbolicity.delta(Exec.CPU, 2, four, 0, false, four));
    }

    private static void distance(
            long rows, long dim, MemorySegment x, long stride, MemorySegment out) {
        Hyperbolicity.pairwise_distance(Exec.CPU, DType.F64, rows, dim, x, stride, out);
    }

    private static void refused(String argument, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(argument), message);
    }
}
