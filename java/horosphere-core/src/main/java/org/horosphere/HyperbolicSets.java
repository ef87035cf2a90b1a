package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Operations on sets of points: weighted midpoints, Fréchet means, and the distances between all
 * points of two sets, each with its vector-Jacobian product {@code *_vjp} (gradients of {@code
 * sum(g * out)}; one that is not wanted is null).
 *
 * <p>Memory is native or of the exec's device, the caller's and of one storage type; arithmetic is
 * in double or better, exact up to the rim given the points as stored, and rounded once. Nothing is
 * clamped. NaN stays in its row. Outputs must not overlap inputs. Bitwise the same for any number
 * of threads; immutable and safe from any thread; nothing is allocated per call. Everything that
 * does not fit is an {@link IllegalArgumentException} that names the argument.
 *
 * @param model what the coordinates of a point are
 * @param curvature c of the ball and of the Klein model (curvature {@code -c}), K of the Lorentz
 *     model (curvature {@code -1/K}); positive and finite
 * @param exec where to run
 */
public record HyperbolicSets(Model model, double curvature, Exec exec) {
    /** Models of hyperbolic space. */
    public enum Model {
        /** The Poincaré ball: rows of dim numbers. */
        POINCARE,
        /**
         * The hyperboloid: rows of dim + 1 numbers, time first. The time of a point is not read,
         * and its gradient is 0.
         */
        LORENTZ,
        /** The Klein model: rows of dim numbers. */
        KLEIN
    }

    private static final MethodHandle MIDPOINT =
            Native.bindEither(
                    "horo_midpoint",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle MIDPOINT_VJP =
            Native.bindEither(
                    "horo_midpoint_vjp",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle MIDPOINT_WORKSPACE =
            Native.bind(
                    "horo_midpoint_workspace",
                    FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS));
    private static final MethodHandle CDIST =
            Native.bindEither(
                    "horo_cdist",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle CDIST_VJP =
            Native.bindEither(
                    "horo_cdist_vjp",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS));
    private static final MethodHandle FRECHET =
            Native.bind(
                    "horo_frechet_mean",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle FRECHET_VJP =
            Native.bind(
                    "horo_frechet_mean_vjp",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle FRECHET_WORKSPACE =
            Native.bind(
                    "horo_frechet_workspace",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS));

    /** Checks the curvature. */
    public HyperbolicSets {
        if (model == null) {
            throw new IllegalArgumentException("model: null");
        }
        Checks.requirePositive("curvature", curvature);
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
    }

    /** Sets of points of a ball. */
    public static HyperbolicSets of(PoincareBall ball) {
        return new HyperbolicSets(Model.POINCARE, ball.c(), ball.exec());
    }

    /** Sets of points of a hyperboloid. */
    public static HyperbolicSets of(Lorentz lorentz) {
        return new HyperbolicSets(Model.LORENTZ, lorentz.K(), lorentz.exec());
    }

    /** Sets of points of a Klein model. */
    public static HyperbolicSets of(Klein klein) {
        return new HyperbolicSets(Model.KLEIN, klein.c(), klein.exec());
    }

    /** Numbers of a point of dimension {@code dim}. */
    public long width(long dim) {
        return model == Model.LORENTZ ? dim + 1 : dim;
    }

    /**
     * Weighted midpoints: with the points' vectors X in Minkowski space and {@code S = sum_i w_i
     * X_i} the point {@code S / |S|}: the gyromidpoint of the ball, the Einstein midpoint of the
     * Klein model, the centroid of the hyperboloid. Weights may have any sign and scale; a row
     * whose S is not timelike (all weights 0, say) is NaN.
     *
     * @param rows number of sets, 0 or more
     * @param k points of a set, 1 or more
     * @param dim dimension, 1 or more
     * @param x (rows, k) points
     * @param w (rows, k) weights; null for equal ones
     * @param out (rows) points
     */
    public void midpoint(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment out) {
        midpoint(dtype, rows, k, dim, x, w, out, null);
    }

    /**
     * {@link #midpoint(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment)} with
     * a workspace, by which the points of few large sets are summed in parts, on several threads or
     * blocks of a device; without it a set is the work of one. Results differ in their last bits.
     *
     * @param workspace of {@link #midpointWorkspaceBytes}; null for none
     */
    public void midpoint(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment out,
            MemorySegment workspace) {
        long width = width(dim);
        midpoint(dtype, rows, k, dim, x, k * width, width, w, k, out, width, workspace);
    }

    /**
     * {@link #midpoint(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment,
     * MemorySegment)} with distances in elements: from set to set (0: one set for all rows) and
     * from point to point of x, from row to row of w (0: the same weights for all rows) and of out.
     */
    public void midpoint(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            long xRowStride,
            long xPointStride,
            MemorySegment w,
            long wRowStride,
            MemorySegment out,
            long outStride,
            MemorySegment workspace) {
        shape(dtype, rows, k, dim);
        int bytes = dtype.bytes();
        Checks.require(exec, "x", x, sets(rows, k, dim, xRowStride, xPointStride), bytes);
        if (w != null) {
            Checks.require(exec, "w", w, extent("w", rows, wRowStride, k), bytes);
        }
        Checks.requireWritable(exec, "out", out, extent("out", rows, outStride, width(dim)), bytes);
        workspace(workspace, x, w);
        Checks.requireDisjoint("workspace", workspace, "out", out);
        int status;
        try {
            status =
                    (int)
                            MIDPOINT.invokeExact(
                                    exec.isBrief(rows, k, dim),
                                    model.ordinal(),
                                    dtype.code(),
                                    rows,
                                    k,
                                    dim,
                                    x,
                                    xRowStride,
                                    xPointStride,
                                    Checks.orNull(w),
                                    wRowStride,
                                    curvature,
                                    out,
                                    outStride,
                                    Checks.orNull(workspace),
                                    workspaceBytes(workspace),
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Gradients of {@link #midpoint}; any of the last three may be null.
     *
     * @param g (rows) cotangents, as wide as points
     * @param g_x (rows, k) as x
     * @param g_w (rows, k)
     * @param g_curvature rows numbers
     */
    public void midpoint_vjp(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_w,
            MemorySegment g_curvature) {
        midpoint_vjp(dtype, rows, k, dim, x, w, g, g_x, g_w, g_curvature, null);
    }

    /**
     * {@link #midpoint_vjp(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment,
     * MemorySegment, MemorySegment, MemorySegment)} with a workspace.
     *
     * @param workspace of {@link #midpointWorkspaceBytes}; null for none
     */
    public void midpoint_vjp(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_w,
            MemorySegment g_curvature,
            MemorySegment workspace) {
        gradientOperands(dtype, rows, k, dim, x, w, g, true, g_x, g_w, g_curvature);
        workspace(workspace, x, w);
        Checks.requireDisjoint("workspace", workspace, "g", g);
        Checks.requireDisjoint("workspace", workspace, "g_x", g_x);
        Checks.requireDisjoint("workspace", workspace, "g_w", g_w);
        Checks.requireDisjoint("workspace", workspace, "g_curvature", g_curvature);
        long width = width(dim);
        int status;
        try {
            status =
                    (int)
                            MIDPOINT_VJP.invokeExact(
                                    exec.isBrief(rows, k, dim),
                                    model.ordinal(),
                                    dtype.code(),
                                    rows,
                                    k,
                                    dim,
                                    x,
                                    k * width,
                                    width,
                                    Checks.orNull(w),
                                    k,
                                    curvature,
                                    g,
                                    width,
                                    Checks.orNull(g_x),
                                    k * width,
                                    width,
                                    Checks.orNull(g_w),
                                    k,
                                    Checks.orNull(g_curvature),
                                    Checks.orNull(workspace),
                                    workspaceBytes(workspace),
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Bytes of workspace with which {@link #midpoint} and its gradient sum large sets in parts; 0
     * where there are none.
     */
    public static long midpointWorkspaceBytes(long rows, long k, long dim) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(JAVA_LONG);
            int status;
            try {
                status = (int) MIDPOINT_WORKSPACE.invokeExact(rows, k, dim, bytes);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return bytes.get(JAVA_LONG, 0);
        }
    }

    private void workspace(MemorySegment workspace, MemorySegment x, MemorySegment w) {
        if (workspace != null) {
            Checks.requireWritable(exec, "workspace", workspace, 0, Double.BYTES);
            Checks.requireDisjoint("workspace", workspace, "x", x);
            Checks.requireDisjoint("workspace", workspace, "w", w);
        }
    }

    private long workspaceBytes(MemorySegment workspace) {
        return workspace == null ? 0 : Checks.workspaceBytes(exec, workspace);
    }

    /**
     * Fréchet means: the point of least {@code sum_i w_i dist(out, x_i)^2}, ball and hyperboloid.
     * Midpoints with weights {@code w_i d_i/sinh(d_i)} are taken until the next would be at most
     * {@code tolerance} radii away (d_i: the distance over the radius {@code 1/sqrt(c) = sqrt(K)}).
     *
     * @param w (rows, k) weights, 0 or more; null for equal ones
     * @param tolerance positive; 1e-14 is about what rounding allows
     * @param maxIterations 1 or more; sets a few radii wide take some tens
     * @param out (rows) points
     * @param variance rows numbers, {@code sum_i w_i dist^2 / sum_i w_i}; may be null
     * @param iterations rows ints, how many midpoints were taken, -1 for a row that did not get
     *     there; may be null
     * @param workspace of {@link #frechetWorkspaceBytes}
     */
    public void frechet_mean(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            double tolerance,
            int maxIterations,
            MemorySegment out,
            MemorySegment variance,
            MemorySegment iterations,
            MemorySegment workspace) {
        shape(dtype, rows, k, dim);
        long width = width(dim);
        int bytes = dtype.bytes();
        Checks.require(exec, "x", x, sets(rows, k, dim, k * width, width), bytes);
        if (w != null) {
            Checks.require(exec, "w", w, extent("w", rows, k, k), bytes);
        }
        Checks.requireWritable(exec, "out", out, extent("out", rows, width, width), bytes);
        Checks.requireOptional(exec, "variance", variance, rows, bytes);
        Checks.requireOptional(exec, "iterations", iterations, rows, Integer.BYTES);
        Checks.requireWritable(exec, "workspace", workspace, 0, Double.BYTES);
        Checks.requireDisjoint("workspace", workspace, "x", x);
        Checks.requireDisjoint("workspace", workspace, "w", w);
        Checks.requireDisjoint("workspace", workspace, "out", out);
        Checks.requireDisjoint("variance", variance, "x", x);
        Checks.requireDisjoint("variance", variance, "w", w);
        Checks.requireDisjoint("variance", variance, "out", out);
        Checks.requireDisjoint("workspace", workspace, "variance", variance);
        int status;
        try {
            status =
                    (int)
                            FRECHET.invokeExact(
                                    model.ordinal(),
                                    dtype.code(),
                                    rows,
                                    k,
                                    dim,
                                    x,
                                    k * width,
                                    width,
                                    Checks.orNull(w),
                                    k,
                                    curvature,
                                    tolerance,
                                    maxIterations,
                                    out,
                                    width,
                                    Checks.orNull(variance),
                                    Checks.orNull(iterations),
                                    workspace,
                                    Checks.workspaceBytes(exec, workspace),
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Gradients of {@link #frechet_mean}: of its out against g, by the implicit function theorem
     * (the mean is found again in double and the linear equation of the gradient solved by the same
     * iteration), and of its variance against g_variance; their sum, where both are given.
     *
     * @param g (rows) cotangents of the means; null if g_variance is given
     * @param g_variance rows cotangents of the variances; null if g is given
     * @param iterations rows ints, of both iterations together, -1 for a row that did not get
     *     there; may be null
     */
    public void frechet_mean_vjp(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            double tolerance,
            int maxIterations,
            MemorySegment g,
            MemorySegment g_variance,
            MemorySegment g_x,
            MemorySegment g_w,
            MemorySegment g_curvature,
            MemorySegment iterations,
            MemorySegment workspace) {
        gradientOperands(dtype, rows, k, dim, x, w, g, g_variance == null, g_x, g_w, g_curvature);
        if (g_variance != null) {
            Checks.require(exec, "g_variance", g_variance, rows, dtype.bytes());
            Checks.requireDisjoint("workspace", workspace, "g_variance", g_variance);
        }
        Checks.requireOptional(exec, "iterations", iterations, rows, Integer.BYTES);
        Checks.requireWritable(exec, "workspace", workspace, 0, Double.BYTES);
        Checks.requireDisjoint("workspace", workspace, "x", x);
        Checks.requireDisjoint("workspace", workspace, "w", w);
        Checks.requireDisjoint("workspace", workspace, "g", g);
        Checks.requireDisjoint("workspace", workspace, "g_x", g_x);
        Checks.requireDisjoint("workspace", workspace, "g_w", g_w);
        Checks.requireDisjoint("workspace", workspace, "g_curvature", g_curvature);
        long width = width(dim);
        int status;
        try {
            status =
                    (int)
                            FRECHET_VJP.invokeExact(
                                    model.ordinal(),
                                    dtype.code(),
                                    rows,
                                    k,
                                    dim,
                                    x,
                                    k * width,
                                    width,
                                    Checks.orNull(w),
                                    k,
                                    curvature,
                                    tolerance,
                                    maxIterations,
                                    Checks.orNull(g),
                                    width,
                                    Checks.orNull(g_variance),
                                    Checks.orNull(g_x),
                                    k * width,
                                    width,
                                    Checks.orNull(g_w),
                                    k,
                                    Checks.orNull(g_curvature),
                                    Checks.orNull(iterations),
                                    workspace,
                                    Checks.workspaceBytes(exec, workspace),
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /** Bytes of workspace of {@link #frechet_mean}, and of its gradient if {@code vjp}. */
    public static long frechetWorkspaceBytes(long rows, long k, long dim, boolean vjp) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(JAVA_LONG);
            int status;
            try {
                status = (int) FRECHET_WORKSPACE.invokeExact(rows, k, dim, vjp ? 1 : 0, bytes);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return bytes.get(JAVA_LONG, 0);
        }
    }

    /**
     * {@code out[i,j] = dist(x_i, y_j)}, ball and hyperboloid. Differences are formed before they
     * are squared, so close points are exact, and nothing larger than a tile is held.
     *
     * @param n points x, 0 or more
     * @param m points y, 0 or more
     * @param x (n) points
     * @param y (m) points
     * @param squared squares of the distances instead
     * @param out (n, m)
     */
    public void cdist(
            DType dtype,
            long n,
            long m,
            long dim,
            MemorySegment x,
            MemorySegment y,
            boolean squared,
            MemorySegment out) {
        cdist(dtype, n, m, dim, x, width(dim), y, width(dim), squared, out, m);
    }

    /** {@link #cdist} with distances in elements from row to row. */
    public void cdist(
            DType dtype,
            long n,
            long m,
            long dim,
            MemorySegment x,
            long xStride,
            MemorySegment y,
            long yStride,
            boolean squared,
            MemorySegment out,
            long outStride) {
        pairs(dtype, n, m, dim);
        int bytes = dtype.bytes();
        Checks.require(exec, "x", x, extent("x", n, xStride, width(dim)), bytes);
        Checks.require(exec, "y", y, extent("y", m, yStride, width(dim)), bytes);
        Checks.requireWritable(
                exec, "out", out, m == 0 ? 0 : extent("out", n, outStride, m), bytes);
        int status;
        try {
            status =
                    (int)
                            CDIST.invokeExact(
                                    exec.isBrief(n, m, dim),
                                    model.ordinal(),
                                    dtype.code(),
                                    n,
                                    m,
                                    dim,
                                    x,
                                    xStride,
                                    y,
                                    yStride,
                                    curvature,
                                    squared ? 1 : 0,
                                    out,
                                    outStride,
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Gradients of {@link #cdist}, zero where {@code x_i = y_j}; any of the last three may be null.
     *
     * @param g (n, m)
     * @param g_x (n) as x
     * @param g_y (m) as y
     * @param g_curvature n numbers, each the sum over a row
     */
    public void cdist_vjp(
            DType dtype,
            long n,
            long m,
            long dim,
            MemorySegment x,
            MemorySegment y,
            boolean squared,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_curvature) {
        pairs(dtype, n, m, dim);
        int bytes = dtype.bytes();
        long width = width(dim);
        Checks.require(exec, "x", x, extent("x", n, width, width), bytes);
        Checks.require(exec, "y", y, extent("y", m, width, width), bytes);
        Checks.require(exec, "g", g, m == 0 ? 0 : extent("g", n, m, m), bytes);
        Checks.requireOptional(exec, "g_x", g_x, extent("g_x", n, width, width), bytes);
        Checks.requireOptional(exec, "g_y", g_y, extent("g_y", m, width, width), bytes);
        Checks.requireOptional(exec, "g_curvature", g_curvature, n, bytes);
        int status;
        try {
            status =
                    (int)
                            CDIST_VJP.invokeExact(
                                    exec.isBrief(n, m, dim),
                                    model.ordinal(),
                                    dtype.code(),
                                    n,
                                    m,
                                    dim,
                                    x,
                                    width,
                                    y,
                                    width,
                                    curvature,
                                    squared ? 1 : 0,
                                    g,
                                    m,
                                    Checks.orNull(g_x),
                                    width,
                                    Checks.orNull(g_y),
                                    width,
                                    Checks.orNull(g_curvature),
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@link #midpoint(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment)} of as
     * many sets as out holds points. Meant for small batches, which it works on in place: a large
     * one is copied to native memory and back. CPU only.
     */
    public void midpoint(int k, int dim, float[] x, float[] w, float[] out) {
        SetArrays.midpoint(this, k, dim, x, w, out);
    }

    /** As {@link #midpoint(int, int, float[], float[], float[])}. */
    public void midpoint(int k, int dim, double[] x, double[] w, double[] out) {
        SetArrays.midpoint(this, k, dim, x, w, out);
    }

    /**
     * {@link #cdist(DType, long, long, long, MemorySegment, MemorySegment, boolean, MemorySegment)}
     * of all points that x and y hold. Meant for small batches, which it works on in place: a large
     * one is copied to native memory and back. CPU only.
     */
    public void cdist(int dim, float[] x, float[] y, boolean squared, float[] out) {
        SetArrays.cdist(this, dim, x, y, squared, out);
    }

    /** As {@link #cdist(int, float[], float[], boolean, float[])}. */
    public void cdist(int dim, double[] x, double[] y, boolean squared, double[] out) {
        SetArrays.cdist(this, dim, x, y, squared, out);
    }

    /**
     * {@link #midpoint_vjp(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment,
     * MemorySegment, MemorySegment, MemorySegment)} of as many sets as x holds, by way of native
     * memory, which is allocated. CPU only; no gradient may be an array given twice.
     */
    public void midpoint_vjp(
            int k,
            int dim,
            float[] x,
            float[] w,
            float[] g,
            float[] g_x,
            float[] g_w,
            float[] g_curvature) {
        SetArrays.midpointVjp(
                this,
                DType.F32,
                k,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(w),
                SetArrays.segment(g),
                SetArrays.segment(g_x),
                SetArrays.segment(g_w),
                SetArrays.segment(g_curvature));
    }

    /** As {@link #midpoint_vjp(int, int, float[], float[], float[], float[], float[], float[])}. */
    public void midpoint_vjp(
            int k,
            int dim,
            double[] x,
            double[] w,
            double[] g,
            double[] g_x,
            double[] g_w,
            double[] g_curvature) {
        SetArrays.midpointVjp(
                this,
                DType.F64,
                k,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(w),
                SetArrays.segment(g),
                SetArrays.segment(g_x),
                SetArrays.segment(g_w),
                SetArrays.segment(g_curvature));
    }

    /**
     * {@link #cdist_vjp(DType, long, long, long, MemorySegment, MemorySegment, boolean,
     * MemorySegment, MemorySegment, MemorySegment, MemorySegment)} of all points that x and y hold,
     * by way of native memory, which is allocated. CPU only; no gradient may be an array given
     * twice.
     */
    public void cdist_vjp(
            int dim,
            float[] x,
            float[] y,
            boolean squared,
            float[] g,
            float[] g_x,
            float[] g_y,
            float[] g_curvature) {
        SetArrays.cdistVjp(
                this,
                DType.F32,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(y),
                squared,
                SetArrays.segment(g),
                SetArrays.segment(g_x),
                SetArrays.segment(g_y),
                SetArrays.segment(g_curvature));
    }

    /**
     * As {@link #cdist_vjp(int, float[], float[], boolean, float[], float[], float[], float[])}.
     */
    public void cdist_vjp(
            int dim,
            double[] x,
            double[] y,
            boolean squared,
            double[] g,
            double[] g_x,
            double[] g_y,
            double[] g_curvature) {
        SetArrays.cdistVjp(
                this,
                DType.F64,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(y),
                squared,
                SetArrays.segment(g),
                SetArrays.segment(g_x),
                SetArrays.segment(g_y),
                SetArrays.segment(g_curvature));
    }

    /**
     * {@link #frechet_mean(DType, long, long, long, MemorySegment, MemorySegment, double, int,
     * MemorySegment, MemorySegment, MemorySegment, MemorySegment)} of as many sets as x holds, by
     * way of native memory, which is allocated. CPU only.
     */
    public void frechet_mean(
            int k,
            int dim,
            float[] x,
            float[] w,
            double tolerance,
            int maxIterations,
            float[] out,
            float[] variance,
            int[] iterations) {
        SetArrays.frechetMean(
                this,
                DType.F32,
                k,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(w),
                tolerance,
                maxIterations,
                SetArrays.segment(out),
                SetArrays.segment(variance),
                iterations);
    }

    /**
     * As {@link #frechet_mean(int, int, float[], float[], double, int, float[], float[], int[])}.
     */
    public void frechet_mean(
            int k,
            int dim,
            double[] x,
            double[] w,
            double tolerance,
            int maxIterations,
            double[] out,
            double[] variance,
            int[] iterations) {
        SetArrays.frechetMean(
                this,
                DType.F64,
                k,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(w),
                tolerance,
                maxIterations,
                SetArrays.segment(out),
                SetArrays.segment(variance),
                iterations);
    }

    /**
     * {@link #frechet_mean_vjp(DType, long, long, long, MemorySegment, MemorySegment, double, int,
     * MemorySegment, MemorySegment, MemorySegment, MemorySegment, MemorySegment, MemorySegment,
     * MemorySegment)} of as many sets as x holds, by way of native memory, which is allocated. CPU
     * only; no gradient may be an array given twice.
     */
    public void frechet_mean_vjp(
            int k,
            int dim,
            float[] x,
            float[] w,
            double tolerance,
            int maxIterations,
            float[] g,
            float[] g_variance,
            float[] g_x,
            float[] g_w,
            float[] g_curvature,
            int[] iterations) {
        SetArrays.frechetMeanVjp(
                this,
                DType.F32,
                k,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(w),
                tolerance,
                maxIterations,
                SetArrays.segment(g),
                SetArrays.segment(g_variance),
                SetArrays.segment(g_x),
                SetArrays.segment(g_w),
                SetArrays.segment(g_curvature),
                iterations);
    }

    /**
     * As {@link #frechet_mean_vjp(int, int, float[], float[], double, int, float[], float[],
     * float[], float[], float[], int[])}.
     */
    public void frechet_mean_vjp(
            int k,
            int dim,
            double[] x,
            double[] w,
            double tolerance,
            int maxIterations,
            double[] g,
            double[] g_variance,
            double[] g_x,
            double[] g_w,
            double[] g_curvature,
            int[] iterations) {
        SetArrays.frechetMeanVjp(
                this,
                DType.F64,
                k,
                dim,
                SetArrays.segment(x),
                SetArrays.segment(w),
                tolerance,
                maxIterations,
                SetArrays.segment(g),
                SetArrays.segment(g_variance),
                SetArrays.segment(g_x),
                SetArrays.segment(g_w),
                SetArrays.segment(g_curvature),
                iterations);
    }

    private static void shape(DType dtype, long rows, long k, long dim) {
        Checks.requireStorage(dtype);
        Checks.requireAtLeast("rows", rows, 0);
        Checks.requireAtLeast("k", k, 1);
        Checks.requireAtLeast("dim", dim, 1);
        Checks.product("dim", Checks.product("k", rows, k), dim + 1);
    }

    private static void pairs(DType dtype, long n, long m, long dim) {
        Checks.requireStorage(dtype);
        Checks.requireAtLeast("n", n, 0);
        Checks.requireAtLeast("m", m, 0);
        Checks.requireAtLeast("dim", dim, 1);
        Checks.product("m", n, m);
    }

    private void gradientOperands(
            DType dtype,
            long rows,
            long k,
            long dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment g,
            boolean needsG,
            MemorySegment g_x,
            MemorySegment g_w,
            MemorySegment g_curvature) {
        shape(dtype, rows, k, dim);
        int bytes = dtype.bytes();
        long width = width(dim);
        long points = sets(rows, k, dim, k * width, width);
        Checks.require(exec, "x", x, points, bytes);
        if (w != null) {
            Checks.require(exec, "w", w, rows * k, bytes);
        }
        if (needsG || g != null) {
            Checks.require(exec, "g", g, extent("g", rows, width, width), bytes);
        }
        Checks.requireOptional(exec, "g_x", g_x, points, bytes);
        Checks.requireOptional(exec, "g_w", g_w, rows * k, bytes);
        Checks.requireOptional(exec, "g_curvature", g_curvature, rows, bytes);
    }

    private long sets(long rows, long k, long dim, long rowStride, long pointStride) {
        long set = extent("x", k, pointStride, width(dim));
        return extent("x", rows, rowStride, set);
    }

    /** Elements from the first to the last of some rows. */
    static long extent(String name, long rows, long stride, long width) {
        Checks.requireAtLeast(name, stride, 0);
        return rows == 0 ? 0 : Checks.product(name, rows - 1, stride) + width;
    }
}
