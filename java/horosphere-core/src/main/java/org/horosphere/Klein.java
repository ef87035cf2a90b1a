package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * The Klein (Beltrami, projective) model of curvature {@code -c}: points with {@code sqrt(c)|x| <
 * 1}, one per row, in which geodesics are straight chords. The metric at the origin is the
 * Euclidean one (that of {@link PoincareBall} is twice it).
 *
 * <p>Operands, errors, exactness and thread-safety are those of {@link PoincareBall}; {@code
 * to_poincare} and {@code to_lorentz} lead to the other models. Formulas: A. Ungar, A Gyrovector
 * Space Approach to Hyperbolic Geometry (2009).
 */
public final class Klein extends KleinOperations implements Manifold {
    /** The model of curvature {@code -c} on the CPU. */
    public Klein(double c) {
        this(c, Exec.CPU);
    }

    /**
     * The model of curvature {@code -c}.
     *
     * @param c minus the curvature, positive and finite
     * @param exec where to run
     */
    public Klein(double c, Exec exec) {
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
        projx(dtype, rows, dim, PoincareBall.lastRadius(dtype), x, out);
    }
}
