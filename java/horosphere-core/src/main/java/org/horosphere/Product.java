package org.horosphere;

import java.util.List;

/**
 * A product of manifolds: a point is the points of its factors, one after the other in the row.
 *
 * @param factors at least one
 */
public record Product(List<Factor> factors) implements Manifold {
    /**
     * One factor.
     *
     * @param manifold not itself a product
     * @param dim its dimensions
     */
    public record Factor(Manifold manifold, long dim) {
        /** Checks the factor. */
        public Factor {
            if (manifold == null || manifold instanceof Product) {
                throw new IllegalArgumentException(
                        "manifold: " + manifold + ", expected a Poincaré ball or a hyperboloid");
            }
            Checks.requireAtLeast("dim", dim, 1);
        }

        /** Elements of a row of this factor. */
        public long width() {
            return manifold.width(dim);
        }
    }

    /** Checks the factors. */
    public Product {
        if (factors == null || factors.isEmpty()) {
            throw new IllegalArgumentException("factors: none, expected at least one");
        }
        factors = List.copyOf(factors);
    }

    /** The dimensions of all factors together. */
    public long dim() {
        return factors.stream().mapToLong(Factor::dim).sum();
    }

    /**
     * @throws IllegalArgumentException if dim is not {@link #dim()}
     */
    @Override
    public long width(long dim) {
        if (dim != dim()) {
            throw new IllegalArgumentException(
                    "dim: " + dim + ", expected the " + dim() + " of the factors");
        }
        return factors.stream().mapToLong(Factor::width).sum();
    }
}
