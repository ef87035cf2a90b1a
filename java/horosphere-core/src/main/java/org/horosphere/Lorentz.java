package org.horosphere;

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
 * <p>Every operation comes for native or heap segments and for arrays, with its vector-Jacobian
 * product {@code *_vjp}: it takes the inputs and the cotangent of the output and gives the
 * gradients of the inputs and of K, one number per row; a gradient that is not wanted is null. Rows
 * are contiguous; {@link RowOp} takes strides. In arrays the number of rows is that of the output,
 * and an input may be a single row that all rows share. An output may be an input of the same
 * shape; any other overlap is refused. Everything that does not fit is an {@link
 * IllegalArgumentException} that names the argument.
 *
 * <p>NaN stays in its row. Immutable and safe from any thread; calls on segments allocate nothing.
 * Formulas: M. Nickel, D. Kiela, Learning Continuous Hierarchies in the Lorentz Model (2018).
 */
public final class Lorentz extends LorentzOperations implements Manifold {
    /** The model of curvature {@code -1/K} on the CPU. */
    public Lorentz(double K) {
        this(K, Exec.CPU);
    }

    /**
     * The model of curvature {@code -1/K}.
     *
     * @param K minus the inverse of the curvature, positive and finite
     * @param exec where to run
     */
    public Lorentz(double K, Exec exec) {
        super(Checks.requirePositive("K", K), exec);
    }

    /** Minus the inverse of the curvature. */
    public double K() {
        return curvature();
    }

    @Override
    public long width(long dim) {
        return dim + 1;
    }
}
