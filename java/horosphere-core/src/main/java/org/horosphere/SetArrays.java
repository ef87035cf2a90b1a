package org.horosphere;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.horosphere.Native.ARRAY;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Set operations on heap arrays, for small batches: the library works on the arrays themselves, in
 * one call during which garbage collection waits, so what takes longer goes by way of native
 * memory. As in {@link RowOp} arrays have handles of their own ({@link Native#ARRAY}), and their
 * segments are made beside the call, where the compiler can do without them; what is left out has a
 * handle with a number in its place, as the choice between a segment and NULL would be allocated,
 * and a method of its own, which is profiled on its own.
 */
final class SetArrays {
    /** Products or coordinates per critical call: some tens of microseconds. */
    static final int CRITICAL_ELEMENTS = 1 << 15;

    private static final MethodHandle MIDPOINT = midpoint(ARRAY);
    private static final MethodHandle MIDPOINT_EVEN = midpoint(JAVA_LONG);
    private static final MethodHandle CDIST =
            Native.bindCritical(
                    "horo_cdist",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ARRAY,
                            JAVA_LONG,
                            ARRAY,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ARRAY,
                            JAVA_LONG,
                            JAVA_LONG));
    private static final MethodHandle LINEAR = linear(ARRAY);
    private static final MethodHandle LINEAR_PLAIN = linear(JAVA_LONG);

    private SetArrays() {}

    private static MethodHandle midpoint(MemoryLayout weights) {
        return Native.bindCritical(
                "horo_midpoint",
                FunctionDescriptor.of(
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_LONG,
                        JAVA_LONG,
                        JAVA_LONG,
                        ARRAY,
                        JAVA_LONG,
                        JAVA_LONG,
                        weights,
                        JAVA_LONG,
                        JAVA_DOUBLE,
                        ARRAY,
                        JAVA_LONG,
                        JAVA_LONG,
                        JAVA_LONG,
                        JAVA_LONG));
    }

    private static MethodHandle linear(MemoryLayout bias) {
        return Native.bindCritical(
                "horo_linear",
                FunctionDescriptor.of(
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_LONG,
                        JAVA_LONG,
                        JAVA_LONG,
                        ARRAY,
                        JAVA_LONG,
                        ARRAY,
                        JAVA_LONG,
                        bias,
                        JAVA_DOUBLE,
                        ARRAY,
                        JAVA_LONG,
                        JAVA_LONG));
    }

    static void midpoint(HyperbolicSets sets, int k, int dim, float[] x, float[] w, float[] out) {
        int rows = midpointRows(sets, k, dim, x, length(x), w, length(w), out, length(out));
        int width = width(sets.model(), dim);
        if ((long) rows * k * width > CRITICAL_ELEMENTS) {
            midpoint(sets, DType.F32, rows, k, dim, segment(x), segment(w), segment(out));
            return;
        }
        Native.check(
                w == null
                        ? even(sets, rows, k, dim, width, x, out)
                        : weighted(sets, rows, k, dim, width, x, w, out));
    }

    private static int even(
            HyperbolicSets sets, int rows, int k, int dim, int width, float[] x, float[] out) {
        long exec = sets.exec().address();
        try {
            return (int)
                    MIDPOINT_EVEN.invokeExact(
                            sets.model().ordinal(),
                            DType.F32.code(),
                            (long) rows,
                            (long) k,
                            (long) dim,
                            RowShape.present(x),
                            (long) k * width,
                            (long) width,
                            0L,
                            0L,
                            sets.curvature(),
                            RowShape.present(out),
                            (long) width,
                            0L,
                            0L,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    private static int weighted(
            HyperbolicSets sets,
            int rows,
            int k,
            int dim,
            int width,
            float[] x,
            float[] w,
            float[] out) {
        long exec = sets.exec().address();
        try {
            return (int)
                    MIDPOINT.invokeExact(
                            sets.model().ordinal(),
                            DType.F32.code(),
                            (long) rows,
                            (long) k,
                            (long) dim,
                            RowShape.present(x),
                            (long) k * width,
                            (long) width,
                            RowShape.present(w),
                            (long) k,
                            sets.curvature(),
                            RowShape.present(out),
                            (long) width,
                            0L,
                            0L,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    static void cdist(
            HyperbolicSets sets, int dim, float[] x, float[] y, boolean squared, float[] out) {
        int width = width(sets.model(), dim);
        requireCpu(sets.exec());
        int n = count("x", length(x), width);
        int m = count("y", length(y), width);
        require("out", length(out), (long) n * m);
        requireApart("out", out, "x", x);
        requireApart("out", out, "y", y);
        if ((double) n * m * dim > CRITICAL_ELEMENTS) {
            cdist(sets, DType.F32, n, m, dim, segment(x), segment(y), squared, segment(out));
            return;
        }
        long exec = sets.exec().address();
        int status;
        try {
            status =
                    (int)
                            CDIST.invokeExact(
                                    sets.model().ordinal(),
                                    DType.F32.code(),
                                    (long) n,
                                    (long) m,
                                    (long) dim,
                                    RowShape.present(x),
                                    (long) width,
                                    RowShape.present(y),
                                    (long) width,
                                    sets.curvature(),
                                    squared ? 1 : 0,
                                    RowShape.present(out),
                                    (long) m,
                                    exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
        Native.check(status);
    }

    static void forward(
            HyperbolicLinear map, int dim, int p, float[] x, float[] m, float[] bias, float[] out) {
        int rows =
                linearRows(
                        map,
                        dim,
                        p,
                        x,
                        length(x),
                        m,
                        length(m),
                        bias,
                        length(bias),
                        out,
                        length(out));
        if ((double) rows * dim * p > CRITICAL_ELEMENTS) {
            forward(
                    map,
                    DType.F32,
                    rows,
                    dim,
                    p,
                    segment(x),
                    segment(m),
                    segment(bias),
                    segment(out));
            return;
        }
        Native.check(
                bias == null
                        ? plain(map, rows, dim, p, x, m, out)
                        : biased(map, rows, dim, p, x, m, bias, out));
    }

    private static int plain(
            HyperbolicLinear map, int rows, int dim, int p, float[] x, float[] m, float[] out) {
        HyperbolicLinear.Operation operation = map.operation();
        long width = operation.width(dim);
        long columns = operation.columns(dim);
        long outWidth = operation.outWidth(p);
        long exec = map.exec().address();
        try {
            return (int)
                    LINEAR_PLAIN.invokeExact(
                            operation.ordinal(),
                            DType.F32.code(),
                            (long) rows,
                            (long) dim,
                            (long) p,
                            RowShape.present(x),
                            width,
                            RowShape.present(m),
                            columns,
                            0L,
                            map.curvature(),
                            RowShape.present(out),
                            outWidth,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    private static int biased(
            HyperbolicLinear map,
            int rows,
            int dim,
            int p,
            float[] x,
            float[] m,
            float[] bias,
            float[] out) {
        HyperbolicLinear.Operation operation = map.operation();
        long width = operation.width(dim);
        long columns = operation.columns(dim);
        long outWidth = operation.outWidth(p);
        long exec = map.exec().address();
        try {
            return (int)
                    LINEAR.invokeExact(
                            operation.ordinal(),
                            DType.F32.code(),
                            (long) rows,
                            (long) dim,
                            (long) p,
                            RowShape.present(x),
                            width,
                            RowShape.present(m),
                            columns,
                            RowShape.present(bias),
                            map.curvature(),
                            RowShape.present(out),
                            outWidth,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    private static int length(float[] array) {
        return array == null ? -1 : array.length;
    }

    static MemorySegment segment(float[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    static void midpoint(
            HyperbolicSets sets, int k, int dim, double[] x, double[] w, double[] out) {
        int rows = midpointRows(sets, k, dim, x, length(x), w, length(w), out, length(out));
        int width = width(sets.model(), dim);
        if ((long) rows * k * width > CRITICAL_ELEMENTS) {
            midpoint(sets, DType.F64, rows, k, dim, segment(x), segment(w), segment(out));
            return;
        }
        Native.check(
                w == null
                        ? even(sets, rows, k, dim, width, x, out)
                        : weighted(sets, rows, k, dim, width, x, w, out));
    }

    private static int even(
            HyperbolicSets sets, int rows, int k, int dim, int width, double[] x, double[] out) {
        long exec = sets.exec().address();
        try {
            return (int)
                    MIDPOINT_EVEN.invokeExact(
                            sets.model().ordinal(),
                            DType.F64.code(),
                            (long) rows,
                            (long) k,
                            (long) dim,
                            RowShape.present(x),
                            (long) k * width,
                            (long) width,
                            0L,
                            0L,
                            sets.curvature(),
                            RowShape.present(out),
                            (long) width,
                            0L,
                            0L,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    private static int weighted(
            HyperbolicSets sets,
            int rows,
            int k,
            int dim,
            int width,
            double[] x,
            double[] w,
            double[] out) {
        long exec = sets.exec().address();
        try {
            return (int)
                    MIDPOINT.invokeExact(
                            sets.model().ordinal(),
                            DType.F64.code(),
                            (long) rows,
                            (long) k,
                            (long) dim,
                            RowShape.present(x),
                            (long) k * width,
                            (long) width,
                            RowShape.present(w),
                            (long) k,
                            sets.curvature(),
                            RowShape.present(out),
                            (long) width,
                            0L,
                            0L,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    static void cdist(
            HyperbolicSets sets, int dim, double[] x, double[] y, boolean squared, double[] out) {
        int width = width(sets.model(), dim);
        requireCpu(sets.exec());
        int n = count("x", length(x), width);
        int m = count("y", length(y), width);
        require("out", length(out), (long) n * m);
        requireApart("out", out, "x", x);
        requireApart("out", out, "y", y);
        if ((double) n * m * dim > CRITICAL_ELEMENTS) {
            cdist(sets, DType.F64, n, m, dim, segment(x), segment(y), squared, segment(out));
            return;
        }
        long exec = sets.exec().address();
        int status;
        try {
            status =
                    (int)
                            CDIST.invokeExact(
                                    sets.model().ordinal(),
                                    DType.F64.code(),
                                    (long) n,
                                    (long) m,
                                    (long) dim,
                                    RowShape.present(x),
                                    (long) width,
                                    RowShape.present(y),
                                    (long) width,
                                    sets.curvature(),
                                    squared ? 1 : 0,
                                    RowShape.present(out),
                                    (long) m,
                                    exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
        Native.check(status);
    }

    static void forward(
            HyperbolicLinear map,
            int dim,
            int p,
            double[] x,
            double[] m,
            double[] bias,
            double[] out) {
        int rows =
                linearRows(
                        map,
                        dim,
                        p,
                        x,
                        length(x),
                        m,
                        length(m),
                        bias,
                        length(bias),
                        out,
                        length(out));
        if ((double) rows * dim * p > CRITICAL_ELEMENTS) {
            forward(
                    map,
                    DType.F64,
                    rows,
                    dim,
                    p,
                    segment(x),
                    segment(m),
                    segment(bias),
                    segment(out));
            return;
        }
        Native.check(
                bias == null
                        ? plain(map, rows, dim, p, x, m, out)
                        : biased(map, rows, dim, p, x, m, bias, out));
    }

    private static int plain(
            HyperbolicLinear map, int rows, int dim, int p, double[] x, double[] m, double[] out) {
        HyperbolicLinear.Operation operation = map.operation();
        long width = operation.width(dim);
        long columns = operation.columns(dim);
        long outWidth = operation.outWidth(p);
        long exec = map.exec().address();
        try {
            return (int)
                    LINEAR_PLAIN.invokeExact(
                            operation.ordinal(),
                            DType.F64.code(),
                            (long) rows,
                            (long) dim,
                            (long) p,
                            RowShape.present(x),
                            width,
                            RowShape.present(m),
                            columns,
                            0L,
                            map.curvature(),
                            RowShape.present(out),
                            outWidth,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    private static int biased(
            HyperbolicLinear map,
            int rows,
            int dim,
            int p,
            double[] x,
            double[] m,
            double[] bias,
            double[] out) {
        HyperbolicLinear.Operation operation = map.operation();
        long width = operation.width(dim);
        long columns = operation.columns(dim);
        long outWidth = operation.outWidth(p);
        long exec = map.exec().address();
        try {
            return (int)
                    LINEAR.invokeExact(
                            operation.ordinal(),
                            DType.F64.code(),
                            (long) rows,
                            (long) dim,
                            (long) p,
                            RowShape.present(x),
                            width,
                            RowShape.present(m),
                            columns,
                            RowShape.present(bias),
                            map.curvature(),
                            RowShape.present(out),
                            outWidth,
                            exec);
        } catch (Throwable thrown) {
            throw Native.rethrow(thrown);
        }
    }

    private static int length(double[] array) {
        return array == null ? -1 : array.length;
    }

    static MemorySegment segment(double[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    private static MemorySegment segment(int[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    // ---- What both types share: checks, by the lengths of arrays (-1 for null), and the
    // way of large batches by native memory

    private static int midpointRows(
            HyperbolicSets sets,
            int k,
            int dim,
            Object x,
            int xLength,
            Object w,
            int wLength,
            Object out,
            int outLength) {
        int width = width(sets.model(), dim);
        requireCpu(sets.exec());
        Checks.requireAtLeast("k", k, 1);
        int rows = count("out", outLength, width);
        require("x", xLength, (long) rows * k * width);
        requireApart("out", out, "x", x);
        requireApart("out", out, "w", w);
        if (w != null) {
            require("w", wLength, (long) rows * k);
        }
        return rows;
    }

    private static int linearRows(
            HyperbolicLinear map,
            int dim,
            int p,
            Object x,
            int xLength,
            Object m,
            int mLength,
            Object bias,
            int biasLength,
            Object out,
            int outLength) {
        HyperbolicLinear.Operation operation = map.operation();
        requireCpu(map.exec());
        Checks.requireAtLeast("dim", dim, 1);
        Checks.requireAtLeast("p", p, 1);
        int rows = count("x", xLength, operation.width(dim));
        require("m", mLength, p * operation.columns(dim));
        require("out", outLength, rows * operation.outWidth(p));
        if (bias != null) {
            if (!operation.hasBias()) {
                throw new IllegalArgumentException(
                        "bias: expected null, " + operation + " has none");
            }
            require("bias", biasLength, p);
        }
        requireApart("out", out, "x", x);
        requireApart("out", out, "m", m);
        requireApart("out", out, "bias", bias);
        return rows;
    }

    private static void midpoint(
            HyperbolicSets sets,
            DType dtype,
            int rows,
            int k,
            int dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment out) {
        long width = sets.width(dim);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            sets.midpoint(
                    dtype,
                    rows,
                    k,
                    dim,
                    copies.in("x", x, rows * k * width),
                    copies.in("w", w, (long) rows * k),
                    copies.out("out", out, rows * width),
                    copies.workspace(HyperbolicSets.midpointWorkspaceBytes(rows, k, dim)));
            copies.deliver();
        }
    }

    private static void cdist(
            HyperbolicSets sets,
            DType dtype,
            int n,
            int m,
            int dim,
            MemorySegment x,
            MemorySegment y,
            boolean squared,
            MemorySegment out) {
        long width = sets.width(dim);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            sets.cdist(
                    dtype,
                    n,
                    m,
                    dim,
                    copies.in("x", x, n * width),
                    copies.in("y", y, m * width),
                    squared,
                    copies.out("out", out, (long) n * m));
            copies.deliver();
        }
    }

    private static void forward(
            HyperbolicLinear map,
            DType dtype,
            int rows,
            int dim,
            int p,
            MemorySegment x,
            MemorySegment m,
            MemorySegment bias,
            MemorySegment out) {
        HyperbolicLinear.Operation operation = map.operation();
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            map.forward(
                    dtype,
                    rows,
                    dim,
                    p,
                    copies.in("x", x, rows * operation.width(dim)),
                    copies.in("m", m, p * operation.columns(dim)),
                    copies.in("bias", bias, p),
                    copies.out("out", out, rows * operation.outWidth(p)));
            copies.deliver();
        }
    }

    // ---- Gradients and means by iteration: always by native memory, which costs little beside
    // them

    static void midpointVjp(
            HyperbolicSets sets,
            DType dtype,
            int k,
            int dim,
            MemorySegment x,
            MemorySegment w,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_w,
            MemorySegment g_curvature) {
        long rows = rows(sets, dtype, k, dim, x);
        long width = sets.width(dim);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            sets.midpoint_vjp(
                    dtype,
                    rows,
                    k,
                    dim,
                    copies.in("x", x, rows * k * width),
                    copies.in("w", w, rows * k),
                    copies.in("g", g, rows * width),
                    copies.out("g_x", g_x, rows * k * width),
                    copies.out("g_w", g_w, rows * k),
                    copies.out("g_curvature", g_curvature, rows),
                    copies.workspace(HyperbolicSets.midpointWorkspaceBytes(rows, k, dim)));
            copies.deliver();
        }
    }

    static void cdistVjp(
            HyperbolicSets sets,
            DType dtype,
            int dim,
            MemorySegment x,
            MemorySegment y,
            boolean squared,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_curvature) {
        requireCpu(sets.exec());
        int width = width(sets.model(), dim);
        long n = rows("x", x, dtype, width);
        long m = rows("y", y, dtype, width);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            sets.cdist_vjp(
                    dtype,
                    n,
                    m,
                    dim,
                    copies.in("x", x, n * width),
                    copies.in("y", y, m * width),
                    squared,
                    copies.in("g", g, n * m),
                    copies.out("g_x", g_x, n * width),
                    copies.out("g_y", g_y, m * width),
                    copies.out("g_curvature", g_curvature, n));
            copies.deliver();
        }
    }

    static void frechetMean(
            HyperbolicSets sets,
            DType dtype,
            int k,
            int dim,
            MemorySegment x,
            MemorySegment w,
            double tolerance,
            int maxIterations,
            MemorySegment out,
            MemorySegment variance,
            int[] iterations) {
        long rows = rows(sets, dtype, k, dim, x);
        long width = sets.width(dim);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            sets.frechet_mean(
                    dtype,
                    rows,
                    k,
                    dim,
                    copies.in("x", x, rows * k * width),
                    copies.in("w", w, rows * k),
                    tolerance,
                    maxIterations,
                    copies.out("out", out, rows * width),
                    copies.out("variance", variance, rows),
                    copies.ints("iterations", segment(iterations), rows),
                    copies.workspace(HyperbolicSets.frechetWorkspaceBytes(rows, k, dim, false)));
            copies.deliver();
        }
    }

    static void frechetMeanVjp(
            HyperbolicSets sets,
            DType dtype,
            int k,
            int dim,
            MemorySegment x,
            MemorySegment w,
            double tolerance,
            int maxIterations,
            MemorySegment g,
            MemorySegment g_variance,
            MemorySegment g_x,
            MemorySegment g_w,
            MemorySegment g_curvature,
            int[] iterations) {
        long rows = rows(sets, dtype, k, dim, x);
        long width = sets.width(dim);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            sets.frechet_mean_vjp(
                    dtype,
                    rows,
                    k,
                    dim,
                    copies.in("x", x, rows * k * width),
                    copies.in("w", w, rows * k),
                    tolerance,
                    maxIterations,
                    copies.in("g", g, rows * width),
                    copies.in("g_variance", g_variance, rows),
                    copies.out("g_x", g_x, rows * k * width),
                    copies.out("g_w", g_w, rows * k),
                    copies.out("g_curvature", g_curvature, rows),
                    copies.ints("iterations", segment(iterations), rows),
                    copies.workspace(HyperbolicSets.frechetWorkspaceBytes(rows, k, dim, true)));
            copies.deliver();
        }
    }

    static void vjp(
            HyperbolicLinear map,
            DType dtype,
            int dim,
            int p,
            MemorySegment x,
            MemorySegment m,
            MemorySegment bias,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_m,
            MemorySegment g_bias,
            MemorySegment g_curvature) {
        HyperbolicLinear.Operation operation = map.operation();
        requireCpu(map.exec());
        Checks.requireAtLeast("dim", dim, 1);
        Checks.requireAtLeast("p", p, 1);
        long width = operation.width(dim);
        long elements = p * operation.columns(dim);
        long rows = rows("x", x, dtype, width);
        try (ArrayCopies copies = new ArrayCopies(dtype)) {
            map.vjp(
                    dtype,
                    rows,
                    dim,
                    p,
                    copies.in("x", x, rows * width),
                    copies.in("m", m, elements),
                    copies.in("bias", bias, p),
                    copies.in("g", g, rows * operation.outWidth(p)),
                    copies.out("g_x", g_x, rows * width),
                    copies.out("g_m", g_m, elements),
                    copies.out("g_bias", g_bias, p),
                    copies.out("g_curvature", g_curvature, rows),
                    copies.workspace(map.workspaceBytes(rows, p)));
            copies.deliver();
        }
    }

    /** The sets that x holds. */
    private static int rows(HyperbolicSets sets, DType dtype, int k, int dim, MemorySegment x) {
        requireCpu(sets.exec());
        Checks.requireAtLeast("k", k, 1);
        return rows("x", x, dtype, (long) k * width(sets.model(), dim));
    }

    private static int rows(String name, MemorySegment array, DType dtype, long width) {
        return count(name, array == null ? -1 : (int) (array.byteSize() / dtype.bytes()), width);
    }

    private static int width(HyperbolicSets.Model model, int dim) {
        Checks.requireAtLeast("dim", dim, 1);
        return model == HyperbolicSets.Model.LORENTZ ? Math.addExact(dim, 1) : dim;
    }

    /** The rows that an array holds. */
    private static int count(String name, int length, long width) {
        int rows = length < 0 || width > length ? 0 : length / (int) width;
        if (length != rows * width) {
            throw new IllegalArgumentException(
                    name
                            + (length < 0 ? ": null" : ": " + length + " elements")
                            + ", expected a multiple of "
                            + width);
        }
        return rows;
    }

    private static void require(String name, int length, long expected) {
        if (length != expected) {
            throw new IllegalArgumentException(
                    name
                            + (length < 0 ? ": null" : ": " + length + " elements")
                            + ", expected "
                            + expected);
        }
    }

    private static void requireApart(String name, Object array, String otherName, Object other) {
        if (array == other) {
            throw new IllegalArgumentException(name + ": the same array as " + otherName);
        }
    }

    private static void requireCpu(Exec exec) {
        if (exec.isCuda()) {
            throw new IllegalArgumentException("exec: a CUDA device, which arrays do not run on");
        }
    }
}
