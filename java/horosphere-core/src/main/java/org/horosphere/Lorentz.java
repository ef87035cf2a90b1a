package org.horosphere;

/**
 * The Lorentz model, or hyperboloid, of curvature {@code -1/K}: points with {@code -x0^2 + |xs|^2 =
 * -K}, {@code x0 > 0}, stored with the time coordinate first.
 *
 * @param K minus one over the curvature, positive and finite
 * @param exec where to run
 */
public record Lorentz(double K, Exec exec) implements Manifold {
    /** Checks the curvature. */
    public Lorentz {
        if (!(K > 0) || K == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("K: " + K + ", expected a positive finite number");
        }
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
    }

    /** The hyperboloid of curvature {@code -1/K} on the CPU. */
    public Lorentz(double K) {
        this(K, Exec.CPU);
    }

    @Override
    public long width(long dim) {
        return dim + 1;
    }
}
