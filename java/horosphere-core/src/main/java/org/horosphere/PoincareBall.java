package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * The Poincaré ball of curvature {@code -c}: points with {@code sqrt(c)|x| < 1}, one per row.
 *
 * <p>Every operation comes for native or heap segments and for arrays, with its vector-Jacobian
 * product {@code *_vjp}: that takes the inputs and the cotangent of the output and gives the
 * gradients {@code g_x, g_y, g_v} of the inputs and {@code g_c} of the curvature, one number per
 * row; a gradient that is not wanted is null. Rows are contiguous; {@link RowOp} takes strides.
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
 */
public final class PoincareBall extends PoincareOperations implements Manifold {
    /** The ball of curvature {@code -c} on the CPU. */
    public PoincareBall(double c) {
        this(c, Exec.CPU);
    }

    /**
     * The ball of curvature {@code -c}.
     *
     * @param c minus the curvature, positive and finite
     * @param exec where to run
     */
    public PoincareBall(double c, Exec exec) {
        super(Checks.requirePositive("c", c), exec);
    }

    /** Minus the curvature. */
    public double c() {
        return curvature();
    }

    @Override
    public long width(long dim) {
        return dim;
    }

    @Override
    public void projx(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        projx(dtype, rows, dim, lastRadius(dtype), x, out);
    }

    /** The eps of {@code projx} at which a stored point is surely inside: 8 units roundoff. */
    static double lastRadius(DType dtype) {
        if (dtype == null) {
            throw new IllegalArgumentException("dtype: null");
        }
        return 8 * dtype.unitRoundoff();
    }
}
