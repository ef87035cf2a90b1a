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
 * Maps of points by a matrix, the layers of hyperbolic networks, with their gradients. Below, m has
 * p rows {@code m_k}, {@code P_k = <m_k, x>} and {@code r_k = bias_k}.
 *
 * <p>Memory is native or of the exec's device, contiguous, the caller's and of one storage type;
 * arithmetic is in double, inner products included, so a result is right to some units of its type
 * given its conditioning. NaN stays in its row. Outputs must not overlap inputs. Bitwise the same
 * for any number of threads; immutable and safe from any thread; nothing is allocated per call.
 * Everything that does not fit is an {@link IllegalArgumentException} that names the argument.
 *
 * @param operation which map
 * @param curvature c of the ball (curvature {@code -c}), K of the Lorentz model (curvature {@code
 *     -1/K}); positive and finite
 * @param exec where to run
 */
public record HyperbolicLinear(Operation operation, double curvature, Exec exec) {
    /** The maps; formulas in {@code docs/geometry.md}. */
    public enum Operation {
        /** {@code expmap0(m logmap0(x))}, ball of dimension dim to ball of dimension p; no bias. */
        MOBIUS_MATVEC(false, false, false, false),
        /** Ball to p logits of HNN++ (arXiv 2006.08210). */
        POINCARE_MLR(false, false, false, true),
        /**
         * Ball to p signed distances to the hyperplanes of normal m_k through {@code expmap0(r_k
         * m_k/|m_k|)}.
         */
        POINCARE_DIST2PLANE(false, false, false, true),
        /** The fully connected layer of HNN++, ball of dimension dim to ball of dimension p. */
        POINCARE_FC(false, false, false, true),
        /**
         * Space part {@code m x + bias}, the time recomputed (arXiv 2105.14686): hyperboloid to
         * hyperboloid. m has dim + 1 columns, the first against the time.
         */
        LORENTZ_LINEAR(true, true, true, true),
        /** Hyperboloid to p logits (arXiv 2303.15919). */
        LORENTZ_MLR(true, false, false, true),
        /** Hyperboloid to p signed distances to hyperplanes: the logits over |m_k|. */
        LORENTZ_DIST2PLANE(true, false, false, true);

        private final boolean ambientIn;
        private final boolean ambientOut;
        private final boolean timeColumn;
        private final boolean bias;

        Operation(boolean ambientIn, boolean ambientOut, boolean timeColumn, boolean bias) {
            this.ambientIn = ambientIn;
            this.ambientOut = ambientOut;
            this.timeColumn = timeColumn;
            this.bias = bias;
        }

        /** Numbers of a point of dimension dim: one more with a time coordinate. */
        public long width(long dim) {
            return ambientIn ? dim + 1 : dim;
        }

        /** Numbers of a result. */
        public long outWidth(long p) {
            return ambientOut ? p + 1 : p;
        }

        /** Columns of the matrix. */
        public long columns(long dim) {
            return timeColumn ? dim + 1 : dim;
        }

        /** Whether it takes a bias. */
        public boolean hasBias() {
            return bias;
        }
    }

    private static final MethodHandle FORWARD =
            Native.bindEither(
                    "horo_linear",
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
                            ADDRESS,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle VJP =
            Native.bindEither(
                    "horo_linear_vjp",
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
                            ADDRESS,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle WORKSPACE =
            Native.bind(
                    "horo_linear_workspace",
                    FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, ADDRESS));

    /** Checks the curvature. */
    public HyperbolicLinear {
        if (operation == null) {
            throw new IllegalArgumentException("operation: null");
        }
        Checks.requirePositive("curvature", curvature);
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
    }

    /** The Möbius matrix-vector product of a ball. */
    public static HyperbolicLinear mobius_matvec(PoincareBall ball) {
        return new HyperbolicLinear(Operation.MOBIUS_MATVEC, ball.c(), ball.exec());
    }

    /** Multinomial logistic regression on a ball: logits. */
    public static HyperbolicLinear mlr(PoincareBall ball) {
        return new HyperbolicLinear(Operation.POINCARE_MLR, ball.c(), ball.exec());
    }

    /** Multinomial logistic regression on a hyperboloid: logits. */
    public static HyperbolicLinear mlr(Lorentz lorentz) {
        return new HyperbolicLinear(Operation.LORENTZ_MLR, lorentz.K(), lorentz.exec());
    }

    /** Signed distances to hyperplanes of a ball. */
    public static HyperbolicLinear dist2plane(PoincareBall ball) {
        return new HyperbolicLinear(Operation.POINCARE_DIST2PLANE, ball.c(), ball.exec());
    }

    /** Signed distances to hyperplanes of a hyperboloid. */
    public static HyperbolicLinear dist2plane(Lorentz lorentz) {
        return new HyperbolicLinear(Operation.LORENTZ_DIST2PLANE, lorentz.K(), lorentz.exec());
    }

    /** The fully connected layer of HNN++. */
    public static HyperbolicLinear fc(PoincareBall ball) {
        return new HyperbolicLinear(Operation.POINCARE_FC, ball.c(), ball.exec());
    }

    /** The linear layer of the Lorentz model. */
    public static HyperbolicLinear linear(Lorentz lorentz) {
        return new HyperbolicLinear(Operation.LORENTZ_LINEAR, lorentz.K(), lorentz.exec());
    }

    /**
     * Runs the map.
     *
     * @param rows number of points, 0 or more
     * @param dim dimension of the points, 1 or more
     * @param p rows of the matrix, 1 or more
     * @param x (rows, {@link Operation#width})
     * @param m (p, {@link Operation#columns})
     * @param bias p numbers; null for zeros, and for an operation without
     * @param out (rows, {@link Operation#outWidth})
     */
    public void forward(
            DType dtype,
            long rows,
            long dim,
            long p,
            MemorySegment x,
            MemorySegment m,
            MemorySegment bias,
            MemorySegment out) {
        operands(dtype, rows, dim, p, x, m, bias);
        Checks.requireWritable(exec, "out", out, rows * operation.outWidth(p), dtype.bytes());
        int status;
        try {
            status =
                    (int)
                            FORWARD.invokeExact(
                                    exec.isBrief(rows, dim, p),
                                    operation.ordinal(),
                                    dtype.code(),
                                    rows,
                                    dim,
                                    p,
                                    x,
                                    operation.width(dim),
                                    m,
                                    operation.columns(dim),
                                    Checks.orNull(bias),
                                    curvature,
                                    out,
                                    operation.outWidth(p),
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Gradients of {@code sum(g * out)}; any of the gradients may be null.
     *
     * @param g as out
     * @param g_x as x; 0 for the time of a point
     * @param g_m as m, summed over the rows
     * @param g_bias p numbers, summed over the rows
     * @param g_curvature rows numbers
     * @param workspace of {@link #workspaceBytes}
     */
    public void vjp(
            DType dtype,
            long rows,
            long dim,
            long p,
            MemorySegment x,
            MemorySegment m,
            MemorySegment bias,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_m,
            MemorySegment g_bias,
            MemorySegment g_curvature,
            MemorySegment workspace) {
        operands(dtype, rows, dim, p, x, m, bias);
        int bytes = dtype.bytes();
        Checks.require(exec, "g", g, rows * operation.outWidth(p), bytes);
        Checks.requireOptional(exec, "g_x", g_x, rows * operation.width(dim), bytes);
        Checks.requireOptional(exec, "g_m", g_m, p * operation.columns(dim), bytes);
        Checks.requireOptional(exec, "g_bias", g_bias, p, bytes);
        Checks.requireOptional(exec, "g_curvature", g_curvature, rows, bytes);
        Checks.requireWritable(exec, "workspace", workspace, 0, Double.BYTES);
        int status;
        try {
            status =
                    (int)
                            VJP.invokeExact(
                                    exec.isBrief(rows, dim, p),
                                    operation.ordinal(),
                                    dtype.code(),
                                    rows,
                                    dim,
                                    p,
                                    x,
                                    operation.width(dim),
                                    m,
                                    operation.columns(dim),
                                    Checks.orNull(bias),
                                    curvature,
                                    g,
                                    operation.outWidth(p),
                                    Checks.orNull(g_x),
                                    operation.width(dim),
                                    Checks.orNull(g_m),
                                    operation.columns(dim),
                                    Checks.orNull(g_bias),
                                    Checks.orNull(g_curvature),
                                    workspace,
                                    Checks.workspaceBytes(exec, workspace),
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@link #forward(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment,
     * MemorySegment)} of all points that x holds. Meant for small batches, which it works on in
     * place: a large one is copied to native memory and back. CPU only.
     */
    public void forward(int dim, int p, float[] x, float[] m, float[] bias, float[] out) {
        SetArrays.forward(this, dim, p, x, m, bias, out);
    }

    /** As {@link #forward(int, int, float[], float[], float[], float[])}. */
    public void forward(int dim, int p, double[] x, double[] m, double[] bias, double[] out) {
        SetArrays.forward(this, dim, p, x, m, bias, out);
    }

    /**
     * {@link #vjp(DType, long, long, long, MemorySegment, MemorySegment, MemorySegment,
     * MemorySegment, MemorySegment, MemorySegment, MemorySegment, MemorySegment, MemorySegment)} of
     * all points that x holds, by way of native memory, which is allocated. CPU only; no gradient
     * may be an array given twice.
     */
    public void vjp(
            int dim,
            int p,
            float[] x,
            float[] m,
            float[] bias,
            float[] g,
            float[] g_x,
            float[] g_m,
            float[] g_bias,
            float[] g_curvature) {
        SetArrays.vjp(
                this,
                DType.F32,
                dim,
                p,
                SetArrays.segment(x),
                SetArrays.segment(m),
                SetArrays.segment(bias),
                SetArrays.segment(g),
                SetArrays.segment(g_x),
                SetArrays.segment(g_m),
                SetArrays.segment(g_bias),
                SetArrays.segment(g_curvature));
    }

    /**
     * As {@link #vjp(int, int, float[], float[], float[], float[], float[], float[], float[],
     * float[])}.
     */
    public void vjp(
            int dim,
            int p,
            double[] x,
            double[] m,
            double[] bias,
            double[] g,
            double[] g_x,
            double[] g_m,
            double[] g_bias,
            double[] g_curvature) {
        SetArrays.vjp(
                this,
                DType.F64,
                dim,
                p,
                SetArrays.segment(x),
                SetArrays.segment(m),
                SetArrays.segment(bias),
                SetArrays.segment(g),
                SetArrays.segment(g_x),
                SetArrays.segment(g_m),
                SetArrays.segment(g_bias),
                SetArrays.segment(g_curvature));
    }

    /** Bytes of workspace of {@code vjp} on segments. */
    public long workspaceBytes(long rows, long p) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(JAVA_LONG);
            int status;
            try {
                status = (int) WORKSPACE.invokeExact(operation.ordinal(), rows, p, bytes);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return bytes.get(JAVA_LONG, 0);
        }
    }

    private void operands(
            DType dtype,
            long rows,
            long dim,
            long p,
            MemorySegment x,
            MemorySegment m,
            MemorySegment bias) {
        Checks.requireStorage(dtype);
        Checks.requireAtLeast("rows", rows, 0);
        Checks.requireAtLeast("dim", dim, 1);
        Checks.requireAtLeast("p", p, 1);
        Checks.product("p", rows, p + 1);
        int bytes = dtype.bytes();
        Checks.require(exec, "x", x, Checks.product("x", rows, operation.width(dim)), bytes);
        Checks.require(exec, "m", m, Checks.product("m", p, operation.columns(dim)), bytes);
        if (bias != null) {
            if (!operation.hasBias()) {
                throw new IllegalArgumentException(
                        "bias: expected null, " + operation + " has none");
            }
            Checks.require(exec, "bias", bias, p, bytes);
        }
    }
}
