package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * How close a finite metric space is to a tree: pairwise distances, Gromov products and Gromov's
 * four-point constant delta, in float64. Safe from any thread; bitwise the same for any number of
 * threads. Memory is native or of the exec's device and the caller's; nothing is allocated.
 */
public final class Hyperbolicity {
    private static final MethodHandle DISTANCE =
            Native.bind(
                    "horo_pairwise_distance",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS,
                            ADDRESS));
    private static final MethodHandle GROMOV =
            Native.bind(
                    "horo_gromov_product",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS));
    private static final MethodHandle DELTA =
            Native.bind(
                    "horo_delta_hyperbolicity",
                    FunctionDescriptor.of(
                            JAVA_DOUBLE,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS));

    /** The largest number of points. */
    public static final long MOST_POINTS = 1L << 24;

    private Hyperbolicity() {}

    /**
     * Euclidean distances between rows, as float64 whatever the rows are: sums of squared
     * differences without cancellation, relative error at most (140 + dim / 1024) 2^-53 as long as
     * no square leaves the range of float64. NaN in a row reaches that row's and column's
     * distances.
     *
     * @param exec where to run
     * @param dtype F32 or F64
     * @param rows 0 to {@link #MOST_POINTS}
     * @param dim coordinates of a row, 1 or more
     * @param x (rows, dim)
     * @param xStride elements from row to row, dim or more
     * @param out (rows, rows) float64, exactly symmetric with a zero diagonal; must not overlap x
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void pairwise_distance(
            Exec exec,
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            long xStride,
            MemorySegment out) {
        Checks.requireFloating(dtype);
        requirePoints("rows", rows, 0);
        Checks.requireAtLeast("dim", dim, 1);
        Checks.requireAtLeast("xStride", xStride, dim);
        long elements = rows == 0 ? 0 : Checks.product("xStride", rows - 1, xStride) + dim;
        int bytes = dtype == DType.F32 ? Float.BYTES : Double.BYTES;
        Checks.require(exec, "x", x, elements, bytes);
        Checks.requireWritable(exec, "out", out, rows * rows, Double.BYTES);
        Checks.requireDisjoint("out", out, rows * rows * Double.BYTES, "x", x, elements * bytes);
        int status;
        try {
            status =
                    (int)
                            DISTANCE.invokeExact(
                                    dtype.code(), rows, dim, x, xStride, out, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Gromov products at a base point: {@code out[i,j] = ((d[base,i] + d[base,j]) - d[i,j]) / 2},
     * each operation rounded in this order.
     *
     * @param exec where to run
     * @param n points, 1 to {@link #MOST_POINTS}
     * @param distances (n, n) float64
     * @param base the base point, 0 to n - 1
     * @param out (n, n) float64; may be {@code distances}
     * @param baseRow n float64 of scratch, apart from both
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void gromov_product(
            Exec exec,
            long n,
            MemorySegment distances,
            long base,
            MemorySegment out,
            MemorySegment baseRow) {
        requirePoints("n", n, 1);
        if (base < 0 || base >= n) {
            throw new IllegalArgumentException("base: " + base + ", expected 0 to " + (n - 1));
        }
        long bytes = n * n * Double.BYTES;
        Checks.require(exec, "distances", distances, n * n, Double.BYTES);
        Checks.requireWritable(exec, "out", out, n * n, Double.BYTES);
        Checks.requireWritable(exec, "baseRow", baseRow, n, Double.BYTES);
        if (out.address() != distances.address()) {
            Checks.requireDisjoint("out", out, bytes, "distances", distances, bytes);
        }
        Checks.requireDisjoint("baseRow", baseRow, n * Double.BYTES, "distances", distances, bytes);
        Checks.requireDisjoint("baseRow", baseRow, n * Double.BYTES, "out", out, bytes);
        int status;
        try {
            status = (int) GROMOV.invokeExact(n, distances, base, out, baseRow, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Gromov's four-point constant at the base point of the products: {@code max(atLeast, max_ijk
     * min(g[i,k], g[k,j]) - g[i,j])}, at least 0 (the max-min product of Fournier, Ismail and
     * Vigneron, arXiv 1210.3323). It is at least half the constant over all base points.
     *
     * <p>The value is that of the definition to the last bit. Pairs that an upper bound shows to be
     * too small are passed over: O(n^2) time for points in many dimensions, O(n^3) at worst. A CUDA
     * device passes over none, and the call waits for it.
     *
     * @param exec where to run
     * @param n points, 1 to {@link #MOST_POINTS}
     * @param gromov (n, n) float64, must be symmetric
     * @param atLeast a value already known to be reached, else 0
     * @param exhaustive whether to pass over no pair: the same result, for timing
     * @param workspace 2 n float64 of scratch
     * @return the constant; NaN if a product is NaN
     * @throws IllegalArgumentException naming the argument that does not fit
     * @throws HorosphereException if the device failed
     */
    public static double delta(
            Exec exec,
            long n,
            MemorySegment gromov,
            double atLeast,
            boolean exhaustive,
            MemorySegment workspace) {
        requirePoints("n", n, 1);
        if (Double.isNaN(atLeast)) {
            throw new IllegalArgumentException("atLeast: NaN, expected a number");
        }
        long bytes = n * n * Double.BYTES;
        Checks.require(exec, "gromov", gromov, n * n, Double.BYTES);
        Checks.requireWritable(exec, "workspace", workspace, 2 * n, Double.BYTES);
        Checks.requireDisjoint(
                "workspace", workspace, 2 * n * Double.BYTES, "gromov", gromov, bytes);
        double delta;
        try {
            delta =
                    (double)
                            DELTA.invokeExact(
                                    n,
                                    gromov,
                                    atLeast,
                                    exhaustive ? 1 : 0,
                                    workspace,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        if (delta < 0) {
            throw Native.failure(Native.INTERNAL);
        }
        return delta;
    }

    private static void requirePoints(String name, long n, long least) {
        if (n < least || n > MOST_POINTS) {
            throw new IllegalArgumentException(
                    name + ": " + n + ", expected " + least + " to " + MOST_POINTS);
        }
    }
}
