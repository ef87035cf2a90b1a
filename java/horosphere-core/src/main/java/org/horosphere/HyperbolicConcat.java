package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;

/**
 * Several points as one, and one as several, with their gradients {@code *_vjp}. In the ball and in
 * the Klein model the β-concatenation and β-split of HNN++ (arXiv 2006.08210), in the Lorentz model
 * direct concatenation; formulas in {@code docs/geometry.md}.
 *
 * <p>The parts of a row lie side by side, point after point. To bring together what several
 * operations computed, let each write with that row stride. Memory is native or of the exec's
 * device, the caller's and of one storage type; arithmetic is in double, exact up to the rim, and
 * rounded once. NaN stays in its row. Outputs must not overlap inputs. Bitwise the same for any
 * number of threads; immutable and safe from any thread; nothing is allocated per call. Everything
 * that does not fit is an {@link IllegalArgumentException} that names the argument.
 */
public final class HyperbolicConcat {
    private static final FunctionDescriptor CALL =
            FunctionDescriptor.of(
                    JAVA_INT,
                    JAVA_INT,
                    JAVA_INT,
                    JAVA_LONG,
                    JAVA_LONG,
                    ADDRESS,
                    ADDRESS,
                    JAVA_LONG,
                    JAVA_DOUBLE,
                    ADDRESS,
                    JAVA_LONG,
                    ADDRESS);
    private static final FunctionDescriptor CALL_VJP =
            FunctionDescriptor.of(
                    JAVA_INT,
                    JAVA_INT,
                    JAVA_INT,
                    JAVA_LONG,
                    JAVA_LONG,
                    ADDRESS,
                    ADDRESS,
                    JAVA_LONG,
                    JAVA_DOUBLE,
                    ADDRESS,
                    JAVA_LONG,
                    ADDRESS,
                    JAVA_LONG,
                    ADDRESS,
                    ADDRESS);
    private static final MethodHandle CONCAT = Native.bind("horo_concat", CALL);
    private static final MethodHandle CONCAT_VJP = Native.bind("horo_concat_vjp", CALL_VJP);
    private static final MethodHandle SPLIT = Native.bind("horo_split", CALL);
    private static final MethodHandle SPLIT_VJP = Native.bind("horo_split_vjp", CALL_VJP);

    private final HyperbolicSets.Model model;
    private final double curvature;
    private final Exec exec;
    private final long[] dims;
    private final MemorySegment nativeDims;
    private final long dim;
    private final long partsWidth;

    /**
     * Points of chosen dimensions.
     *
     * @param model what the coordinates of a point are
     * @param curvature c of the ball and of the Klein model, K of the Lorentz model; positive and
     *     finite
     * @param exec where to run; a CUDA device takes at most 224 parts
     * @param dims the dimensions of the parts, 1 or more each
     */
    public HyperbolicConcat(HyperbolicSets.Model model, double curvature, Exec exec, long... dims) {
        if (model == null) {
            throw new IllegalArgumentException("model: null");
        }
        Checks.requirePositive("curvature", curvature);
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
        if (dims == null || dims.length == 0) {
            throw new IllegalArgumentException("dims: expected one dimension or more");
        }
        this.model = model;
        this.curvature = curvature;
        this.exec = exec;
        this.dims = dims.clone();
        long sum = 0;
        for (long d : this.dims) {
            if (d < 1 || d > (1L << 48) - sum) {
                throw new IllegalArgumentException(
                        "dims: " + d + ", expected 1 or more (and at most 2^48 in all)");
            }
            sum += d;
        }
        this.dim = sum;
        this.partsWidth = model == HyperbolicSets.Model.LORENTZ ? sum + dims.length : sum;
        this.nativeDims = Arena.ofAuto().allocateFrom(JAVA_LONG, this.dims);
    }

    /** Points of a ball. */
    public static HyperbolicConcat of(PoincareBall ball, long... dims) {
        return new HyperbolicConcat(HyperbolicSets.Model.POINCARE, ball.c(), ball.exec(), dims);
    }

    /** Points of a hyperboloid. */
    public static HyperbolicConcat of(Lorentz lorentz, long... dims) {
        return new HyperbolicConcat(
                HyperbolicSets.Model.LORENTZ, lorentz.K(), lorentz.exec(), dims);
    }

    /** Dimension of the whole. */
    public long dim() {
        return dim;
    }

    /** Numbers of a row of parts: of each its dimension, with a time one more. */
    public long partsWidth() {
        return partsWidth;
    }

    /** Numbers of the whole point. */
    public long width() {
        return model == HyperbolicSets.Model.LORENTZ ? dim + 1 : dim;
    }

    /**
     * The parts of each row as one point.
     *
     * @param rows number of rows, 0 or more
     * @param x (rows) rows of {@link #partsWidth} numbers
     * @param out (rows) points of {@link #width} numbers
     */
    public void concat(DType dtype, long rows, MemorySegment x, MemorySegment out) {
        run(CONCAT, dtype, rows, x, partsWidth, out, width());
    }

    /**
     * Gradients of {@link #concat}; each of g_x and g_curvature may be null.
     *
     * @param g (rows) cotangents of {@link #width} numbers
     * @param g_x as x
     * @param g_curvature one number per row
     */
    public void concat_vjp(
            DType dtype,
            long rows,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_curvature) {
        gradient(CONCAT_VJP, dtype, rows, x, partsWidth, g, width(), g_x, g_curvature);
    }

    /**
     * Each point as its parts, the inverse of {@link #concat}.
     *
     * @param x (rows) points of {@link #width} numbers
     * @param out (rows) rows of {@link #partsWidth} numbers
     */
    public void split(DType dtype, long rows, MemorySegment x, MemorySegment out) {
        run(SPLIT, dtype, rows, x, width(), out, partsWidth);
    }

    /** Gradients of {@link #split}; each of g_x and g_curvature may be null. */
    public void split_vjp(
            DType dtype,
            long rows,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_curvature) {
        gradient(SPLIT_VJP, dtype, rows, x, width(), g, partsWidth, g_x, g_curvature);
    }

    private void run(
            MethodHandle handle,
            DType dtype,
            long rows,
            MemorySegment x,
            long from,
            MemorySegment out,
            long to) {
        Checks.requireStorage(dtype);
        Checks.require(exec, "x", x, Checks.product("rows", rows, from), dtype.bytes());
        Checks.requireWritable(exec, "out", out, Checks.product("rows", rows, to), dtype.bytes());
        int status;
        try {
            status =
                    (int)
                            handle.invokeExact(
                                    model.ordinal(),
                                    dtype.code(),
                                    rows,
                                    (long) dims.length,
                                    nativeDims,
                                    x,
                                    from,
                                    curvature,
                                    out,
                                    to,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    private void gradient(
            MethodHandle handle,
            DType dtype,
            long rows,
            MemorySegment x,
            long from,
            MemorySegment g,
            long to,
            MemorySegment g_x,
            MemorySegment g_curvature) {
        Checks.requireStorage(dtype);
        int bytes = dtype.bytes();
        long points = Checks.product("rows", rows, from);
        Checks.require(exec, "x", x, points, bytes);
        Checks.require(exec, "g", g, Checks.product("rows", rows, to), bytes);
        Checks.requireOptional(exec, "g_x", g_x, points, bytes);
        Checks.requireOptional(exec, "g_curvature", g_curvature, rows, bytes);
        int status;
        try {
            status =
                    (int)
                            handle.invokeExact(
                                    model.ordinal(),
                                    dtype.code(),
                                    rows,
                                    (long) dims.length,
                                    nativeDims,
                                    x,
                                    from,
                                    curvature,
                                    g,
                                    to,
                                    Checks.orNull(g_x),
                                    from,
                                    Checks.orNull(g_curvature),
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    @Override
    public String toString() {
        return "HyperbolicConcat[" + model + ", " + curvature + ", " + Arrays.toString(dims) + "]";
    }
}
