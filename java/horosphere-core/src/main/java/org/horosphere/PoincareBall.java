package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * The Poincaré ball of curvature {@code -c}: points with {@code sqrt(c)|x| < 1}, one per row.
 *
 * <p>Every operation comes for native or heap segments and for arrays, with its vector-Jacobian
 * product {@code *_vjp}: that takes the inputs and the cotangent {@code g} of the output and gives
 * the gradients {@code g_x, g_y, g_v} of the inputs and {@code g_c} of the curvature, one number
 * per row; a gradient that is not wanted is null. Rows are contiguous; {@link RowOp} takes strides.
 *
 * <p>In arrays the number of rows is that of the output, and an input may be a single row that all
 * rows share. An output may be one of the inputs; any other overlap is refused. Everything that
 * does not fit is an {@link IllegalArgumentException} that names the argument.
 *
 * <p>Results stay exact up to the rim: about half a unit in the last place of {@code float}, given
 * the inputs as stored, and a few units in {@code double}. Nothing is clamped or projected; a point
 * outside the ball gives infinity or NaN in {@code dist}, {@code logmap} and {@code logmap0}, and
 * what the formula says elsewhere. NaN stays in its row. Immutable and safe from any thread; calls
 * on segments allocate nothing. Formulas: A. Ungar, A Gyrovector Space Approach to Hyperbolic
 * Geometry (2009); O. Ganea et al., Hyperbolic Neural Networks (2018).
 *
 * @param c minus the curvature, positive and finite
 * @param exec where to run
 */
public record PoincareBall(double c, Exec exec) implements Manifold {
    private static final RowOp MOBIUS_ADD = RowOp.named("poincare.mobius_add");
    private static final RowOp MOBIUS_ADD_VJP = MOBIUS_ADD.vjp();
    private static final RowOp EXPMAP = RowOp.named("poincare.expmap");
    private static final RowOp EXPMAP_VJP = EXPMAP.vjp();
    private static final RowOp LOGMAP = RowOp.named("poincare.logmap");
    private static final RowOp LOGMAP_VJP = LOGMAP.vjp();
    private static final RowOp EXPMAP0 = RowOp.named("poincare.expmap0");
    private static final RowOp EXPMAP0_VJP = EXPMAP0.vjp();
    private static final RowOp LOGMAP0 = RowOp.named("poincare.logmap0");
    private static final RowOp LOGMAP0_VJP = LOGMAP0.vjp();
    private static final RowOp DIST = RowOp.named("poincare.dist");
    private static final RowOp DIST_VJP = DIST.vjp();
    private static final RowOp DIST0 = RowOp.named("poincare.dist0");
    private static final RowOp DIST0_VJP = DIST0.vjp();
    private static final RowOp EGRAD2RGRAD = RowOp.named("poincare.egrad2rgrad");
    private static final RowOp EGRAD2RGRAD_VJP = EGRAD2RGRAD.vjp();
    private static final RowOp GYRATION = RowOp.named("poincare.gyration");
    private static final RowOp GYRATION_VJP = GYRATION.vjp();
    private static final RowOp PTRANSP = RowOp.named("poincare.ptransp");
    private static final RowOp PTRANSP_VJP = PTRANSP.vjp();
    private static final RowOp GEODESIC = RowOp.named("poincare.geodesic");
    private static final RowOp GEODESIC_VJP = GEODESIC.vjp();
    private static final RowOp MOBIUS_SCALAR_MUL = RowOp.named("poincare.mobius_scalar_mul");
    private static final RowOp MOBIUS_SCALAR_MUL_VJP = MOBIUS_SCALAR_MUL.vjp();
    private static final RowOp TO_LORENTZ = RowOp.named("poincare.to_lorentz");
    private static final RowOp TO_LORENTZ_VJP = TO_LORENTZ.vjp();
    private static final RowOp PROJX = RowOp.named("poincare.projx");
    private static final RowOp PROJX_VJP = PROJX.vjp();

    /** Checks the curvature. */
    public PoincareBall {
        if (!(c > 0) || c == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("c: " + c + ", expected a positive finite number");
        }
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
    }

    /** The ball of curvature {@code -c} on the CPU. */
    public PoincareBall(double c) {
        this(c, Exec.CPU);
    }

    @Override
    public long width(long dim) {
        return dim;
    }

    @Override
    public void projx(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        if (dtype == null) {
            throw new IllegalArgumentException("dtype: null");
        }
        projx(dtype, rows, dim, lastRadius(dtype), x, out);
    }

    /** The eps of {@code projx} at which a stored point is surely inside: 8 units roundoff. */
    static double lastRadius(DType dtype) {
        return switch (dtype) {
            case F32 -> 0x1p-21;
            case F64 -> 0x1p-50;
            case BF16 -> 0x1p-6;
            case F16 -> 0x1p-9;
        };
    }

    /** x ⊕ y, Möbius addition; {@code -x} is the inverse of {@code x}. */
    public void mobius_add(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        run(MOBIUS_ADD, dtype, rows, dim, x, y, null, null, out, null, null, null);
    }

    /** Gradients of {@link #mobius_add}; any of g_x, g_y, g_c may be null. */
    public void mobius_add_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_c) {
        run(MOBIUS_ADD_VJP, dtype, rows, dim, x, y, g, null, g_x, g_y, g_c, null);
    }

    /** x ⊕ y, Möbius addition; {@code -x} is the inverse of {@code x}. */
    public void mobius_add(int dim, float[] x, float[] y, float[] out) {
        arrays(MOBIUS_ADD, DType.F32, dim, of(x), of(y), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #mobius_add}; any of g_x, g_y, g_c may be null. */
    public void mobius_add_vjp(
            int dim, float[] x, float[] y, float[] g, float[] g_x, float[] g_y, float[] g_c) {
        arrays(
                MOBIUS_ADD_VJP,
                DType.F32,
                dim,
                of(x),
                of(y),
                of(g),
                null,
                of(g_x),
                of(g_y),
                of(g_c),
                null);
    }

    /** x ⊕ y, Möbius addition; {@code -x} is the inverse of {@code x}. */
    public void mobius_add(int dim, double[] x, double[] y, double[] out) {
        arrays(MOBIUS_ADD, DType.F64, dim, of(x), of(y), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #mobius_add}; any of g_x, g_y, g_c may be null. */
    public void mobius_add_vjp(
            int dim, double[] x, double[] y, double[] g, double[] g_x, double[] g_y, double[] g_c) {
        arrays(
                MOBIUS_ADD_VJP,
                DType.F64,
                dim,
                of(x),
                of(y),
                of(g),
                null,
                of(g_x),
                of(g_y),
                of(g_c),
                null);
    }

    /**
     * The end of the geodesic from x with velocity v: {@code x ⊕ expmap0(lambda_x v / 2)}, {@code
     * lambda_x = 2 / (1 - c|x|^2)}.
     */
    @Override
    public void expmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment v, MemorySegment out) {
        run(EXPMAP, dtype, rows, dim, x, v, null, null, out, null, null, null);
    }

    /** Gradients of {@link #expmap}; any of g_x, g_v, g_c may be null. */
    public void expmap_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment v,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_v,
            MemorySegment g_c) {
        run(EXPMAP_VJP, dtype, rows, dim, x, v, g, null, g_x, g_v, g_c, null);
    }

    /**
     * The end of the geodesic from x with velocity v: {@code x ⊕ expmap0(lambda_x v / 2)}, {@code
     * lambda_x = 2 / (1 - c|x|^2)}.
     */
    public void expmap(int dim, float[] x, float[] v, float[] out) {
        arrays(EXPMAP, DType.F32, dim, of(x), of(v), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #expmap}; any of g_x, g_v, g_c may be null. */
    public void expmap_vjp(
            int dim, float[] x, float[] v, float[] g, float[] g_x, float[] g_v, float[] g_c) {
        arrays(
                EXPMAP_VJP,
                DType.F32,
                dim,
                of(x),
                of(v),
                of(g),
                null,
                of(g_x),
                of(g_v),
                of(g_c),
                null);
    }

    /**
     * The end of the geodesic from x with velocity v: {@code x ⊕ expmap0(lambda_x v / 2)}, {@code
     * lambda_x = 2 / (1 - c|x|^2)}.
     */
    public void expmap(int dim, double[] x, double[] v, double[] out) {
        arrays(EXPMAP, DType.F64, dim, of(x), of(v), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #expmap}; any of g_x, g_v, g_c may be null. */
    public void expmap_vjp(
            int dim, double[] x, double[] v, double[] g, double[] g_x, double[] g_v, double[] g_c) {
        arrays(
                EXPMAP_VJP,
                DType.F64,
                dim,
                of(x),
                of(v),
                of(g),
                null,
                of(g_x),
                of(g_v),
                of(g_c),
                null);
    }

    /** The velocity at x of the geodesic that reaches y at time 1; inverse of {@link #expmap}. */
    @Override
    public void logmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        run(LOGMAP, dtype, rows, dim, x, y, null, null, out, null, null, null);
    }

    /** Gradients of {@link #logmap}; any of g_x, g_y, g_c may be null. */
    public void logmap_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_c) {
        run(LOGMAP_VJP, dtype, rows, dim, x, y, g, null, g_x, g_y, g_c, null);
    }

    /** The velocity at x of the geodesic that reaches y at time 1; inverse of {@link #expmap}. */
    public void logmap(int dim, float[] x, float[] y, float[] out) {
        arrays(LOGMAP, DType.F32, dim, of(x), of(y), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #logmap}; any of g_x, g_y, g_c may be null. */
    public void logmap_vjp(
            int dim, float[] x, float[] y, float[] g, float[] g_x, float[] g_y, float[] g_c) {
        arrays(
                LOGMAP_VJP,
                DType.F32,
                dim,
                of(x),
                of(y),
                of(g),
                null,
                of(g_x),
                of(g_y),
                of(g_c),
                null);
    }

    /** The velocity at x of the geodesic that reaches y at time 1; inverse of {@link #expmap}. */
    public void logmap(int dim, double[] x, double[] y, double[] out) {
        arrays(LOGMAP, DType.F64, dim, of(x), of(y), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #logmap}; any of g_x, g_y, g_c may be null. */
    public void logmap_vjp(
            int dim, double[] x, double[] y, double[] g, double[] g_x, double[] g_y, double[] g_c) {
        arrays(
                LOGMAP_VJP,
                DType.F64,
                dim,
                of(x),
                of(y),
                of(g),
                null,
                of(g_x),
                of(g_y),
                of(g_c),
                null);
    }

    /** {@code tanh(sqrt(c)|v|) v / (sqrt(c)|v|)}. */
    public void expmap0(DType dtype, long rows, long dim, MemorySegment v, MemorySegment out) {
        run(EXPMAP0, dtype, rows, dim, v, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #expmap0}; any of g_v, g_c may be null. */
    public void expmap0_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment v,
            MemorySegment g,
            MemorySegment g_v,
            MemorySegment g_c) {
        run(EXPMAP0_VJP, dtype, rows, dim, v, g, null, null, g_v, g_c, null, null);
    }

    /** {@code tanh(sqrt(c)|v|) v / (sqrt(c)|v|)}. */
    public void expmap0(int dim, float[] v, float[] out) {
        arrays(EXPMAP0, DType.F32, dim, of(v), null, null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #expmap0}; any of g_v, g_c may be null. */
    public void expmap0_vjp(int dim, float[] v, float[] g, float[] g_v, float[] g_c) {
        arrays(EXPMAP0_VJP, DType.F32, dim, of(v), of(g), null, null, of(g_v), of(g_c), null, null);
    }

    /** {@code tanh(sqrt(c)|v|) v / (sqrt(c)|v|)}. */
    public void expmap0(int dim, double[] v, double[] out) {
        arrays(EXPMAP0, DType.F64, dim, of(v), null, null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #expmap0}; any of g_v, g_c may be null. */
    public void expmap0_vjp(int dim, double[] v, double[] g, double[] g_v, double[] g_c) {
        arrays(EXPMAP0_VJP, DType.F64, dim, of(v), of(g), null, null, of(g_v), of(g_c), null, null);
    }

    /** {@code artanh(sqrt(c)|x|) x / (sqrt(c)|x|)}; inverse of {@link #expmap0}. */
    public void logmap0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(LOGMAP0, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #logmap0}; any of g_x, g_c may be null. */
    public void logmap0_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_c) {
        run(LOGMAP0_VJP, dtype, rows, dim, x, g, null, null, g_x, g_c, null, null);
    }

    /** {@code artanh(sqrt(c)|x|) x / (sqrt(c)|x|)}; inverse of {@link #expmap0}. */
    public void logmap0(int dim, float[] x, float[] out) {
        arrays(LOGMAP0, DType.F32, dim, of(x), null, null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #logmap0}; any of g_x, g_c may be null. */
    public void logmap0_vjp(int dim, float[] x, float[] g, float[] g_x, float[] g_c) {
        arrays(LOGMAP0_VJP, DType.F32, dim, of(x), of(g), null, null, of(g_x), of(g_c), null, null);
    }

    /** {@code artanh(sqrt(c)|x|) x / (sqrt(c)|x|)}; inverse of {@link #expmap0}. */
    public void logmap0(int dim, double[] x, double[] out) {
        arrays(LOGMAP0, DType.F64, dim, of(x), null, null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #logmap0}; any of g_x, g_c may be null. */
    public void logmap0_vjp(int dim, double[] x, double[] g, double[] g_x, double[] g_c) {
        arrays(LOGMAP0_VJP, DType.F64, dim, of(x), of(g), null, null, of(g_x), of(g_c), null, null);
    }

    /** The distance {@code 2/sqrt(c) artanh(sqrt(c)|-x ⊕ y|)}, one number per row. */
    @Override
    public void dist(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        run(DIST, dtype, rows, dim, x, y, null, null, out, null, null, null);
    }

    /** Gradients of {@link #dist}; any of g_x, g_y, g_c may be null. */
    public void dist_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_c) {
        run(DIST_VJP, dtype, rows, dim, x, y, g, null, g_x, g_y, g_c, null);
    }

    /** The distance {@code 2/sqrt(c) artanh(sqrt(c)|-x ⊕ y|)}, one number per row. */
    public void dist(int dim, float[] x, float[] y, float[] out) {
        arrays(DIST, DType.F32, dim, of(x), of(y), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #dist}; any of g_x, g_y, g_c may be null. */
    public void dist_vjp(
            int dim, float[] x, float[] y, float[] g, float[] g_x, float[] g_y, float[] g_c) {
        arrays(
                DIST_VJP, DType.F32, dim, of(x), of(y), of(g), null, of(g_x), of(g_y), of(g_c),
                null);
    }

    /** The distance {@code 2/sqrt(c) artanh(sqrt(c)|-x ⊕ y|)}, one number per row. */
    public void dist(int dim, double[] x, double[] y, double[] out) {
        arrays(DIST, DType.F64, dim, of(x), of(y), null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #dist}; any of g_x, g_y, g_c may be null. */
    public void dist_vjp(
            int dim, double[] x, double[] y, double[] g, double[] g_x, double[] g_y, double[] g_c) {
        arrays(
                DIST_VJP, DType.F64, dim, of(x), of(y), of(g), null, of(g_x), of(g_y), of(g_c),
                null);
    }

    /** The distance from the origin, one number per row. */
    public void dist0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(DIST0, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #dist0}; any of g_x, g_c may be null. */
    public void dist0_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_c) {
        run(DIST0_VJP, dtype, rows, dim, x, g, null, null, g_x, g_c, null, null);
    }

    /** The distance from the origin, one number per row. */
    public void dist0(int dim, float[] x, float[] out) {
        arrays(DIST0, DType.F32, dim, of(x), null, null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #dist0}; any of g_x, g_c may be null. */
    public void dist0_vjp(int dim, float[] x, float[] g, float[] g_x, float[] g_c) {
        arrays(DIST0_VJP, DType.F32, dim, of(x), of(g), null, null, of(g_x), of(g_c), null, null);
    }

    /** The distance from the origin, one number per row. */
    public void dist0(int dim, double[] x, double[] out) {
        arrays(DIST0, DType.F64, dim, of(x), null, null, null, of(out), null, null, null);
    }

    /** Gradients of {@link #dist0}; any of g_x, g_c may be null. */
    public void dist0_vjp(int dim, double[] x, double[] g, double[] g_x, double[] g_c) {
        arrays(DIST0_VJP, DType.F64, dim, of(x), of(g), null, null, of(g_x), of(g_c), null, null);
    }

    /** The Riemannian gradient {@code g / lambda_x^2} at x of a Euclidean gradient g. */
    @Override
    public void egrad2rgrad(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment g, MemorySegment out) {
        run(EGRAD2RGRAD, dtype, rows, dim, x, g, null, null, out, null, null, null);
    }

    /**
     * Gradients of {@link #egrad2rgrad} under the cotangent h; any of g_x, g_g, g_c may be null.
     */
    public void egrad2rgrad_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment h,
            MemorySegment g_x,
            MemorySegment g_g,
            MemorySegment g_c) {
        run(EGRAD2RGRAD_VJP, dtype, rows, dim, x, g, h, null, g_x, g_g, g_c, null);
    }

    /** The Riemannian gradient {@code g / lambda_x^2} at x of a Euclidean gradient g. */
    public void egrad2rgrad(int dim, float[] x, float[] g, float[] out) {
        arrays(EGRAD2RGRAD, DType.F32, dim, of(x), of(g), null, null, of(out), null, null, null);
    }

    /**
     * Gradients of {@link #egrad2rgrad} under the cotangent h; any of g_x, g_g, g_c may be null.
     */
    public void egrad2rgrad_vjp(
            int dim, float[] x, float[] g, float[] h, float[] g_x, float[] g_g, float[] g_c) {
        arrays(
                EGRAD2RGRAD_VJP,
                DType.F32,
                dim,
                of(x),
                of(g),
                of(h),
                null,
                of(g_x),
                of(g_g),
                of(g_c),
                null);
    }

    /** The Riemannian gradient {@code g / lambda_x^2} at x of a Euclidean gradient g. */
    public void egrad2rgrad(int dim, double[] x, double[] g, double[] out) {
        arrays(EGRAD2RGRAD, DType.F64, dim, of(x), of(g), null, null, of(out), null, null, null);
    }

    /**
     * Gradients of {@link #egrad2rgrad} under the cotangent h; any of g_x, g_g, g_c may be null.
     */
    public void egrad2rgrad_vjp(
            int dim, double[] x, double[] g, double[] h, double[] g_x, double[] g_g, double[] g_c) {
        arrays(
                EGRAD2RGRAD_VJP,
                DType.F64,
                dim,
                of(x),
                of(g),
                of(h),
                null,
                of(g_x),
                of(g_g),
                of(g_c),
                null);
    }

    /** gyr[x, y] v, the linear map {@code -(x ⊕ y) ⊕ (x ⊕ (y ⊕ v))}, for any v. */
    public void gyration(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment v,
            MemorySegment out) {
        run(GYRATION, dtype, rows, dim, x, y, v, null, out, null, null, null);
    }

    /** Gradients of {@link #gyration}; any of g_x, g_y, g_v, g_c may be null. */
    public void gyration_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment v,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_v,
            MemorySegment g_c) {
        run(GYRATION_VJP, dtype, rows, dim, x, y, v, g, g_x, g_y, g_v, g_c);
    }

    /** gyr[x, y] v, the linear map {@code -(x ⊕ y) ⊕ (x ⊕ (y ⊕ v))}, for any v. */
    public void gyration(int dim, float[] x, float[] y, float[] v, float[] out) {
        arrays(GYRATION, DType.F32, dim, of(x), of(y), of(v), null, of(out), null, null, null);
    }

    /** Gradients of {@link #gyration}; any of g_x, g_y, g_v, g_c may be null. */
    public void gyration_vjp(
            int dim,
            float[] x,
            float[] y,
            float[] v,
            float[] g,
            float[] g_x,
            float[] g_y,
            float[] g_v,
            float[] g_c) {
        arrays(
                GYRATION_VJP,
                DType.F32,
                dim,
                of(x),
                of(y),
                of(v),
                of(g),
                of(g_x),
                of(g_y),
                of(g_v),
                of(g_c));
    }

    /** gyr[x, y] v, the linear map {@code -(x ⊕ y) ⊕ (x ⊕ (y ⊕ v))}, for any v. */
    public void gyration(int dim, double[] x, double[] y, double[] v, double[] out) {
        arrays(GYRATION, DType.F64, dim, of(x), of(y), of(v), null, of(out), null, null, null);
    }

    /** Gradients of {@link #gyration}; any of g_x, g_y, g_v, g_c may be null. */
    public void gyration_vjp(
            int dim,
            double[] x,
            double[] y,
            double[] v,
            double[] g,
            double[] g_x,
            double[] g_y,
            double[] g_v,
            double[] g_c) {
        arrays(
                GYRATION_VJP,
                DType.F64,
                dim,
                of(x),
                of(y),
                of(v),
                of(g),
                of(g_x),
                of(g_y),
                of(g_v),
                of(g_c));
    }

    /** Parallel transport of the tangent vector v from x to y along the geodesic. */
    @Override
    public void ptransp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment v,
            MemorySegment out) {
        run(PTRANSP, dtype, rows, dim, x, y, v, null, out, null, null, null);
    }

    /** Gradients of {@link #ptransp}; any of g_x, g_y, g_v, g_c may be null. */
    public void ptransp_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment v,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_v,
            MemorySegment g_c) {
        run(PTRANSP_VJP, dtype, rows, dim, x, y, v, g, g_x, g_y, g_v, g_c);
    }

    /** Parallel transport of the tangent vector v from x to y along the geodesic. */
    public void ptransp(int dim, float[] x, float[] y, float[] v, float[] out) {
        arrays(PTRANSP, DType.F32, dim, of(x), of(y), of(v), null, of(out), null, null, null);
    }

    /** Gradients of {@link #ptransp}; any of g_x, g_y, g_v, g_c may be null. */
    public void ptransp_vjp(
            int dim,
            float[] x,
            float[] y,
            float[] v,
            float[] g,
            float[] g_x,
            float[] g_y,
            float[] g_v,
            float[] g_c) {
        arrays(
                PTRANSP_VJP,
                DType.F32,
                dim,
                of(x),
                of(y),
                of(v),
                of(g),
                of(g_x),
                of(g_y),
                of(g_v),
                of(g_c));
    }

    /** Parallel transport of the tangent vector v from x to y along the geodesic. */
    public void ptransp(int dim, double[] x, double[] y, double[] v, double[] out) {
        arrays(PTRANSP, DType.F64, dim, of(x), of(y), of(v), null, of(out), null, null, null);
    }

    /** Gradients of {@link #ptransp}; any of g_x, g_y, g_v, g_c may be null. */
    public void ptransp_vjp(
            int dim,
            double[] x,
            double[] y,
            double[] v,
            double[] g,
            double[] g_x,
            double[] g_y,
            double[] g_v,
            double[] g_c) {
        arrays(
                PTRANSP_VJP,
                DType.F64,
                dim,
                of(x),
                of(y),
                of(v),
                of(g),
                of(g_x),
                of(g_y),
                of(g_v),
                of(g_c));
    }

    /**
     * The point at parameter t, one number per row, of the geodesic from x (t = 0) to y (t = 1).
     */
    public void geodesic(
            DType dtype,
            long rows,
            long dim,
            MemorySegment t,
            MemorySegment x,
            MemorySegment y,
            MemorySegment out) {
        run(GEODESIC, dtype, rows, dim, t, x, y, null, out, null, null, null);
    }

    /** Gradients of {@link #geodesic}; any of g_t, g_x, g_y, g_c may be null. */
    public void geodesic_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment t,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_t,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_c) {
        run(GEODESIC_VJP, dtype, rows, dim, t, x, y, g, g_t, g_x, g_y, g_c);
    }

    /**
     * The point at parameter t, one number per row, of the geodesic from x (t = 0) to y (t = 1).
     */
    public void geodesic(int dim, float[] t, float[] x, float[] y, float[] out) {
        arrays(GEODESIC, DType.F32, dim, of(t), of(x), of(y), null, of(out), null, null, null);
    }

    /** Gradients of {@link #geodesic}; any of g_t, g_x, g_y, g_c may be null. */
    public void geodesic_vjp(
            int dim,
            float[] t,
            float[] x,
            float[] y,
            float[] g,
            float[] g_t,
            float[] g_x,
            float[] g_y,
            float[] g_c) {
        arrays(
                GEODESIC_VJP,
                DType.F32,
                dim,
                of(t),
                of(x),
                of(y),
                of(g),
                of(g_t),
                of(g_x),
                of(g_y),
                of(g_c));
    }

    /**
     * The point at parameter t, one number per row, of the geodesic from x (t = 0) to y (t = 1).
     */
    public void geodesic(int dim, double[] t, double[] x, double[] y, double[] out) {
        arrays(GEODESIC, DType.F64, dim, of(t), of(x), of(y), null, of(out), null, null, null);
    }

    /** Gradients of {@link #geodesic}; any of g_t, g_x, g_y, g_c may be null. */
    public void geodesic_vjp(
            int dim,
            double[] t,
            double[] x,
            double[] y,
            double[] g,
            double[] g_t,
            double[] g_x,
            double[] g_y,
            double[] g_c) {
        arrays(
                GEODESIC_VJP,
                DType.F64,
                dim,
                of(t),
                of(x),
                of(y),
                of(g),
                of(g_t),
                of(g_x),
                of(g_y),
                of(g_c));
    }

    /** r ⊗ x = {@code expmap0(r logmap0(x))}, r one number per row. */
    public void mobius_scalar_mul(
            DType dtype, long rows, long dim, MemorySegment r, MemorySegment x, MemorySegment out) {
        run(MOBIUS_SCALAR_MUL, dtype, rows, dim, r, x, null, null, out, null, null, null);
    }

    /** Gradients of {@link #mobius_scalar_mul}; any of g_r, g_x, g_c may be null. */
    public void mobius_scalar_mul_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment r,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_r,
            MemorySegment g_x,
            MemorySegment g_c) {
        run(MOBIUS_SCALAR_MUL_VJP, dtype, rows, dim, r, x, g, null, g_r, g_x, g_c, null);
    }

    /** r ⊗ x = {@code expmap0(r logmap0(x))}, r one number per row. */
    public void mobius_scalar_mul(int dim, float[] r, float[] x, float[] out) {
        arrays(
                MOBIUS_SCALAR_MUL,
                DType.F32,
                dim,
                of(r),
                of(x),
                null,
                null,
                of(out),
                null,
                null,
                null);
    }

    /** Gradients of {@link #mobius_scalar_mul}; any of g_r, g_x, g_c may be null. */
    public void mobius_scalar_mul_vjp(
            int dim, float[] r, float[] x, float[] g, float[] g_r, float[] g_x, float[] g_c) {
        arrays(
                MOBIUS_SCALAR_MUL_VJP,
                DType.F32,
                dim,
                of(r),
                of(x),
                of(g),
                null,
                of(g_r),
                of(g_x),
                of(g_c),
                null);
    }

    /** r ⊗ x = {@code expmap0(r logmap0(x))}, r one number per row. */
    public void mobius_scalar_mul(int dim, double[] r, double[] x, double[] out) {
        arrays(
                MOBIUS_SCALAR_MUL,
                DType.F64,
                dim,
                of(r),
                of(x),
                null,
                null,
                of(out),
                null,
                null,
                null);
    }

    /** Gradients of {@link #mobius_scalar_mul}; any of g_r, g_x, g_c may be null. */
    public void mobius_scalar_mul_vjp(
            int dim, double[] r, double[] x, double[] g, double[] g_r, double[] g_x, double[] g_c) {
        arrays(
                MOBIUS_SCALAR_MUL_VJP,
                DType.F64,
                dim,
                of(r),
                of(x),
                of(g),
                null,
                of(g_r),
                of(g_x),
                of(g_c),
                null);
    }

    /**
     * The points of the hyperboloid with {@code K = 1/c} that are the points x: {@code out} has
     * rows of {@code dim + 1} numbers, time first.
     */
    public void to_lorentz(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(TO_LORENTZ, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /**
     * Gradients of {@link #to_lorentz}; g has rows of {@code dim + 1} numbers; any of g_x, g_c may
     * be null.
     */
    public void to_lorentz_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_c) {
        run(TO_LORENTZ_VJP, dtype, rows, dim, x, g, null, null, g_x, g_c, null, null);
    }

    /**
     * Points further out than norm {@code (1 - eps)/sqrt(c)} moved back to it along their rays.
     *
     * @param eps between 0 and 1
     */
    public void projx(
            DType dtype, long rows, long dim, double eps, MemorySegment x, MemorySegment out) {
        PROJX.contiguous(
                exec, dtype, rows, dim, x, null, null, null, out, null, null, null, c, eps(eps));
    }

    /** Gradients of {@link #projx}; any of g_x, g_c may be null. */
    public void projx_vjp(
            DType dtype,
            long rows,
            long dim,
            double eps,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_c) {
        PROJX_VJP.contiguous(
                exec, dtype, rows, dim, x, g, null, null, g_x, g_c, null, null, c, eps(eps));
    }

    private static double eps(double eps) {
        if (!(eps > 0 && eps < 1)) {
            throw new IllegalArgumentException("eps: " + eps + ", expected between 0 and 1");
        }
        return eps;
    }

    private static MemorySegment of(float[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    private static MemorySegment of(double[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    private void run(
            RowOp op,
            DType dtype,
            long rows,
            long dim,
            MemorySegment in0,
            MemorySegment in1,
            MemorySegment in2,
            MemorySegment in3,
            MemorySegment out0,
            MemorySegment out1,
            MemorySegment out2,
            MemorySegment out3) {
        op.contiguous(exec, dtype, rows, dim, in0, in1, in2, in3, out0, out1, out2, out3, c, 0);
    }

    private void arrays(
            RowOp op,
            DType dtype,
            int dim,
            MemorySegment in0,
            MemorySegment in1,
            MemorySegment in2,
            MemorySegment in3,
            MemorySegment out0,
            MemorySegment out1,
            MemorySegment out2,
            MemorySegment out3) {
        op.arrays(exec, dtype, dim, in0, in1, in2, in3, out0, out1, out2, out3, c);
    }
}
