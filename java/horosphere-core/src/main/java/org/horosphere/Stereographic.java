package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * The stereographic model of constant curvature of either sign (Bachmann, Bécigneul, Ganea, ICML
 * 2020): for {@code kappa < 0} the Poincaré ball with {@code c = -kappa}, for {@code kappa = 0} the
 * Euclidean space with metric 4, for {@code kappa > 0} the projection of the sphere. Smooth in
 * kappa through 0, gradients by it included.
 *
 * <p>Operands, errors and thread-safety are those of {@link PoincareBall}, whose own operations are
 * faster where the sign is known.
 */
public final class Stereographic extends StereographicOperations implements Manifold {
    /** The model of curvature kappa on the CPU. */
    public Stereographic(double kappa) {
        this(kappa, Exec.CPU);
    }

    /**
     * The model of curvature kappa.
     *
     * @param kappa any finite number
     * @param exec where to run
     */
    public Stereographic(double kappa, Exec exec) {
        super(requireFinite(kappa), exec);
    }

    private static double requireFinite(double kappa) {
        if (!Double.isFinite(kappa)) {
            throw new IllegalArgumentException("kappa: " + kappa + ", expected a finite number");
        }
        return kappa;
    }

    /** The curvature. */
    public double kappa() {
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
