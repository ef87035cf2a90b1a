package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * A product of manifolds: a point is the points of its factors, one after the other in the row.
 * Rows are float32 or float64 here.
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
                        "manifold: " + manifold + ", expected one that is not a product");
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
        factors.forEach(factor -> Checks.requireNonNull("factors: a factor", factor));
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

    @Override
    public void expmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment v, MemorySegment out) {
        each("expmap", dtype, rows, dim, out, x, v);
    }

    @Override
    public void logmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        each("logmap", dtype, rows, dim, out, x, y);
    }

    @Override
    public void expmap0(DType dtype, long rows, long dim, MemorySegment v, MemorySegment out) {
        each("expmap0", dtype, rows, dim, out, v);
    }

    @Override
    public void logmap0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        each("logmap0", dtype, rows, dim, out, x);
    }

    @Override
    public void geodesic(
            DType dtype,
            long rows,
            long dim,
            MemorySegment t,
            MemorySegment x,
            MemorySegment y,
            MemorySegment out) {
        each("geodesic", dtype, rows, dim, out, t, x, y);
    }

    @Override
    public void egrad2rgrad(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment g, MemorySegment out) {
        each("egrad2rgrad", dtype, rows, dim, out, x, g);
    }

    @Override
    public void ptransp(
            DType dtype,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment y,
            MemorySegment v,
            MemorySegment out) {
        each("ptransp", dtype, rows, dim, out, x, y, v);
    }

    @Override
    public void projx(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        each("projx", dtype, rows, dim, out, x);
    }

    /** The root of the sum of the factors' squared distances; allocates one number per row. */
    @Override
    public void dist(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        rootOfSquares("dist", dtype, rows, dim, out, x, y);
    }

    /** As {@link #dist}, from the origin. */
    @Override
    public void dist0(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        rootOfSquares("dist0", dtype, rows, dim, out, x);
    }

    private void rootOfSquares(
            String verb,
            DType dtype,
            long rows,
            long dim,
            MemorySegment out,
            MemorySegment... points) {
        Checks.requireFloating(dtype);
        width(dim);
        Checks.requireAtLeast("rows", rows, 0);
        if (out == null || out.byteSize() / dtype.bytes() < rows) {
            throw new IllegalArgumentException("out: expected a segment of " + rows + " numbers");
        }
        if (out.isReadOnly()) {
            throw new IllegalArgumentException("out: read-only, expected writable memory");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment part = arena.allocate(Math.max(1, rows * dtype.bytes()), Double.BYTES);
            double[] squares = new double[Math.toIntExact(rows)];
            Place place = new Place();
            for (Factor factor : factors) {
                run(factor, verb, dtype, rows, place, part, points);
                for (int r = 0; r < rows; r++) {
                    double d =
                            dtype == DType.F32
                                    ? part.getAtIndex(ValueLayout.JAVA_FLOAT, r)
                                    : part.getAtIndex(ValueLayout.JAVA_DOUBLE, r);
                    squares[r] += d * d;
                }
                place.pass(factor);
            }
            for (int r = 0; r < rows; r++) {
                double d = Math.sqrt(squares[r]);
                if (dtype == DType.F32) {
                    out.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, r, (float) d);
                } else {
                    out.setAtIndex(ValueLayout.JAVA_DOUBLE_UNALIGNED, r, d);
                }
            }
        }
    }

    private void each(
            String verb,
            DType dtype,
            long rows,
            long dim,
            MemorySegment out,
            MemorySegment... inputs) {
        Checks.requireFloating(dtype);
        width(dim);
        Place place = new Place();
        for (Factor factor : factors) {
            run(factor, verb, dtype, rows, place, out, inputs);
            place.pass(factor);
        }
    }

    /**
     * Where a factor's part begins in the rows of points, and in those of tangents at the origin.
     */
    private final class Place {
        private long inPoint;
        private long inTangent;

        void pass(Factor factor) {
            inPoint += factor.width();
            inTangent += factor.dim;
        }

        boolean isAtOrigin(String verb, boolean output) {
            return verb.equals(output ? "logmap0" : "expmap0");
        }

        long offset(RowOp.Kind kind, boolean atOrigin) {
            return kind == RowOp.Kind.SCALAR ? 0 : atOrigin ? inTangent : inPoint;
        }

        long stride(RowOp.Kind kind, boolean atOrigin) {
            return kind == RowOp.Kind.SCALAR ? 1 : atOrigin ? dim() : width(dim());
        }
    }

    /** One verb on one factor. */
    private static void run(
            Factor factor,
            String verb,
            DType dtype,
            long rows,
            Place place,
            MemorySegment out,
            MemorySegment... inputs) {
        RowManifold manifold = (RowManifold) factor.manifold;
        RowOp op = manifold.operation(verb);
        MemorySegment[] in = new MemorySegment[inputs.length];
        long[] strides = new long[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            RowOp.Operand operand = op.inputs().get(i);
            boolean atOrigin = place.isAtOrigin(verb, false);
            long offset = place.offset(operand.kind(), atOrigin);
            in[i] = slice(operand.name(), inputs[i], offset, dtype);
            strides[i] = place.stride(operand.kind(), atOrigin);
        }
        RowOp.Kind kind = op.outputs().get(0).kind();
        boolean atOrigin = place.isAtOrigin(verb, true);
        double curvature = manifold.curvature();
        op.run(
                manifold.exec(),
                dtype,
                rows,
                factor.dim,
                in,
                strides,
                new MemorySegment[] {slice("out", out, place.offset(kind, atOrigin), dtype)},
                new long[] {place.stride(kind, atOrigin)},
                op.parameters().size() == 1
                        ? new double[] {curvature}
                        : new double[] {curvature, PoincareBall.lastRadius(dtype)});
    }

    private static MemorySegment slice(
            String name, MemorySegment segment, long offset, DType dtype) {
        if (segment == null || segment.byteSize() < offset * dtype.bytes()) {
            throw new IllegalArgumentException(name + ": null or too small");
        }
        return offset == 0 ? segment : segment.asSlice(offset * dtype.bytes());
    }
}
