package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * A Riemannian manifold: the verbs that {@link PoincareBall}, {@link Lorentz}, {@link Klein}, {@link
 * Stereographic} and {@link Product} share, with the same names and operands, so that code written on this interface works on each.
 *
 * <p>Points and tangent vectors are rows of memory, {@link #width} elements each, one after the
 * other; {@code dim} counts dimensions. An output may be one of the inputs of the same shape. What
 * does not fit is an {@link IllegalArgumentException} that names the argument. Formulas, ranges and
 * error bounds: {@code docs/geometry.md}; gradients: the {@code *_vjp} methods of the classes, and
 * {@link RowOp#vjp}.
 */
public sealed interface Manifold permits PoincareBall, Lorentz, Klein, Stereographic, Product {
    /** Elements of a point, or of a tangent vector, of {@code dim} dimensions as it is stored. */
    long width(long dim);

    /** The end of the geodesic from x with velocity v. */
    void expmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment v, MemorySegment out);

    /** The velocity at x of the geodesic that reaches y at time 1; inverse of {@link #expmap}. */
    void logmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out);

    /** The distance of x and y, one number per row. */
    void dist(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out);

    /** The distance of x from the origin, one number per row. */
    void dist0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out);

    /**
     * {@link #expmap} at the origin.
     *
     * @param v tangent vectors at the origin, {@code dim} numbers each
     */
    void expmap0(DType dtype, long rows, long dim, MemorySegment v, MemorySegment out);

    /**
     * {@link #logmap} at the origin.
     *
     * @param out tangent vectors at the origin, {@code dim} numbers each
     */
    void logmap0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out);

    /**
     * The point of the geodesic from x (t = 0) to y (t = 1).
     *
     * @param t one number per row
     */
    void geodesic(
            DType dtype,
            long rows,
            long dim,
            MemorySegment t,
            MemorySegment x,
            MemorySegment y,
            MemorySegment out);

    /** The Riemannian gradient at x of which g is the Euclidean one; g is not changed. */
    void egrad2rgrad(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment g, MemorySegment out);

    /** The tangent vector v at x transported along the geodesic to y. */
    void ptransp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment v,
            MemorySegment out);

    /**
     * The nearest way back onto the manifold: on a ball, points beyond the last radius that the
     * type surely keeps inside (8 units roundoff below the rim) move to it; on the hyperboloid the
     * time is computed from the space part.
     */
    void projx(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out);
}
