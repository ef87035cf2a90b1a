package org.horosphere;

/**
 * A Riemannian manifold whose points and tangent vectors are rows of memory.
 *
 * <p>{@code dim} always counts the manifold's dimensions; a row may be wider: see {@link #width}.
 */
public sealed interface Manifold permits PoincareBall, Lorentz, Product {
    /** Elements of a point of {@code dim} dimensions as it is stored. */
    long width(long dim);
}
