package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * The Lorentz model of curvature {@code -1/K}: points x with {@code -x0^2 + |xs|^2 = -K}, {@code x0
 * > 0}, one per row of {@code dim + 1} numbers, time first.
 *
 * <p>Only the space part of points and of tangent vectors at points is read, because the time they
 * store is rounded: {@code x0 = sqrt(K + |xs|^2)} and {@code v0 = <xs,vs>/x0} are recomputed. So
 * the gradient of their time is zero, and that of the space part is the gradient along the
 * hyperboloid. {@code u} and the {@code g} of {@link #egrad2rgrad}, and both operands of {@link
 * #inner}, are any ambient vectors and are read with their time.
 *
 * <p>Every operation comes with its vector-Jacobian product {@code *_vjp}: it takes the inputs and
 * the cotangent of the output and gives the gradients of the inputs and of K, one number per row; a
 * gradient that is not wanted is null. Rows are contiguous; {@link RowOp} takes strides. An output
 * may be an input of the same shape; any other overlap is refused. Everything that does not fit is
 * an {@link IllegalArgumentException} that names the argument.
 *
 * <p>NaN stays in its row. Immutable and safe from any thread; calls allocate nothing. Formulas: M.
 * Nickel, D. Kiela, Learning Continuous Hierarchies in the Lorentz Model (2018).
 *
 * @param K minus the inverse of the curvature, positive and finite
 * @param exec where to run
 */
public record Lorentz(double K, Exec exec) implements Manifold {
    private static final RowOp DIST = RowOp.named("lorentz.dist");
    private static final RowOp DIST_VJP = DIST.vjp();
    private static final RowOp DIST0 = RowOp.named("lorentz.dist0");
    private static final RowOp DIST0_VJP = DIST0.vjp();
    private static final RowOp EXPMAP = RowOp.named("lorentz.expmap");
    private static final RowOp EXPMAP_VJP = EXPMAP.vjp();
    private static final RowOp EXPMAP0 = RowOp.named("lorentz.expmap0");
    private static final RowOp EXPMAP0_VJP = EXPMAP0.vjp();
    private static final RowOp LOGMAP = RowOp.named("lorentz.logmap");
    private static final RowOp LOGMAP_VJP = LOGMAP.vjp();
    private static final RowOp LOGMAP0 = RowOp.named("lorentz.logmap0");
    private static final RowOp LOGMAP0_VJP = LOGMAP0.vjp();
    private static final RowOp PTRANSP = RowOp.named("lorentz.ptransp");
    private static final RowOp PTRANSP_VJP = PTRANSP.vjp();
    private static final RowOp PROJU = RowOp.named("lorentz.proju");
    private static final RowOp PROJU_VJP = PROJU.vjp();
    private static final RowOp EGRAD2RGRAD = RowOp.named("lorentz.egrad2rgrad");
    private static final RowOp EGRAD2RGRAD_VJP = EGRAD2RGRAD.vjp();
    private static final RowOp INNER = RowOp.named("lorentz.inner");
    private static final RowOp INNER_VJP = INNER.vjp();
    private static final RowOp PROJX = RowOp.named("lorentz.projx");
    private static final RowOp PROJX_VJP = PROJX.vjp();
    private static final RowOp TO_POINCARE = RowOp.named("lorentz.to_poincare");
    private static final RowOp TO_POINCARE_VJP = TO_POINCARE.vjp();

    /** Checks the curvature. */
    public Lorentz {
        if (!(K > 0) || K == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("K: " + K + ", expected a positive finite number");
        }
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
    }

    /** The model of curvature {@code -1/K} on the CPU. */
    public Lorentz(double K) {
        this(K, Exec.CPU);
    }

    @Override
    public long width(long dim) {
        return dim + 1;
    }

    /** The distance {@code sqrt(K) arcosh(-<x,y>_L / K)}, one number per row. */
    @Override
    public void dist(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        run(DIST, dtype, rows, dim, x, y, null, null, out, null, null, null);
    }

    /** Gradients of {@link #dist}; any of g_x, g_y, g_K may be null. */
    public void dist_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_K) {
        run(DIST_VJP, dtype, rows, dim, x, y, g, null, g_x, g_y, g_K, null);
    }

    /** The distance from the origin, one number per row. */
    public void dist0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(DIST0, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #dist0}; any of g_x, g_K may be null. */
    public void dist0_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_K) {
        run(DIST0_VJP, dtype, rows, dim, x, g, null, null, g_x, g_K, null, null);
    }

    /**
     * The end of the geodesic from x with velocity v: {@code cosh(n) x + sinh(n)/n v}, {@code n =
     * |v|_L/sqrt(K)} at most 700.
     */
    @Override
    public void expmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment v, MemorySegment out) {
        run(EXPMAP, dtype, rows, dim, x, v, null, null, out, null, null, null);
    }

    /** Gradients of {@link #expmap}; any of g_x, g_v, g_K may be null. */
    public void expmap_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment v,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_v,
            MemorySegment g_K) {
        run(EXPMAP_VJP, dtype, rows, dim, x, v, g, null, g_x, g_v, g_K, null);
    }

    /** {@link #expmap} at the origin; v has rows of {@code dim} numbers, without the time 0. */
    public void expmap0(DType dtype, long rows, long dim, MemorySegment v, MemorySegment out) {
        run(EXPMAP0, dtype, rows, dim, v, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #expmap0}; any of g_v, g_K may be null. */
    public void expmap0_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment v,
            MemorySegment g,
            MemorySegment g_v,
            MemorySegment g_K) {
        run(EXPMAP0_VJP, dtype, rows, dim, v, g, null, null, g_v, g_K, null, null);
    }

    /** The velocity at x of the geodesic that reaches y at time 1; inverse of {@link #expmap}. */
    @Override
    public void logmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        run(LOGMAP, dtype, rows, dim, x, y, null, null, out, null, null, null);
    }

    /** Gradients of {@link #logmap}; any of g_x, g_y, g_K may be null. */
    public void logmap_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_K) {
        run(LOGMAP_VJP, dtype, rows, dim, x, y, g, null, g_x, g_y, g_K, null);
    }

    /** {@link #logmap} at the origin; out has rows of {@code dim} numbers, without the time 0. */
    public void logmap0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(LOGMAP0, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #logmap0}; any of g_x, g_K may be null. */
    public void logmap0_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_K) {
        run(LOGMAP0_VJP, dtype, rows, dim, x, g, null, null, g_x, g_K, null, null);
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

    /** Gradients of {@link #ptransp}; any of g_x, g_y, g_v, g_K may be null. */
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
            MemorySegment g_K) {
        run(PTRANSP_VJP, dtype, rows, dim, x, y, v, g, g_x, g_y, g_v, g_K);
    }

    /** {@code u + <x,u>_L x / K}: an ambient vector u to the tangent space at x. */
    public void proju(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment u, MemorySegment out) {
        run(PROJU, dtype, rows, dim, x, u, null, null, out, null, null, null);
    }

    /** Gradients of {@link #proju}; any of g_x, g_u, g_K may be null. */
    public void proju_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment u,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_u,
            MemorySegment g_K) {
        run(PROJU_VJP, dtype, rows, dim, x, u, g, null, g_x, g_u, g_K, null);
    }

    /**
     * The Riemannian gradient at x of an ambient Euclidean gradient g: {@code proju(x, (-g0, gs))}.
     */
    @Override
    public void egrad2rgrad(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment g, MemorySegment out) {
        run(EGRAD2RGRAD, dtype, rows, dim, x, g, null, null, out, null, null, null);
    }

    /**
     * Gradients of {@link #egrad2rgrad} under the cotangent h; any of g_x, g_g, g_K may be null.
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
            MemorySegment g_K) {
        run(EGRAD2RGRAD_VJP, dtype, rows, dim, x, g, h, null, g_x, g_g, g_K, null);
    }

    /** {@code <x,y>_L = -x0 y0 + <xs,ys>}, one number per row. */
    public void inner(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        run(INNER, dtype, rows, dim, x, y, null, null, out, null, null, null);
    }

    /** Gradients of {@link #inner}; any of g_x, g_y, g_K may be null. */
    public void inner_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_y,
            MemorySegment g_K) {
        run(INNER_VJP, dtype, rows, dim, x, y, g, null, g_x, g_y, g_K, null);
    }

    /** {@code [sqrt(K + |xs|^2), xs]}: the time recomputed from the space part. */
    @Override
    public void projx(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(PROJX, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #projx}; any of g_x, g_K may be null. */
    public void projx_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_K) {
        run(PROJX_VJP, dtype, rows, dim, x, g, null, null, g_x, g_K, null, null);
    }

    /**
     * The points of the ball with {@code c = 1/K} that are the points x; out has rows of {@code
     * dim} numbers.
     */
    public void to_poincare(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        run(TO_POINCARE, dtype, rows, dim, x, null, null, null, out, null, null, null);
    }

    /** Gradients of {@link #to_poincare}; any of g_x, g_K may be null. */
    public void to_poincare_vjp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment g,
            MemorySegment g_x,
            MemorySegment g_K) {
        run(TO_POINCARE_VJP, dtype, rows, dim, x, g, null, null, g_x, g_K, null, null);
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
        op.contiguous(exec, dtype, rows, dim, in0, in1, in2, in3, out0, out1, out2, out3, K, 0);
    }
}
