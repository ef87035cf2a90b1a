package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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

    @Override
    public void expmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment v, MemorySegment out) {
        each("expmap", dtype, rows, dim, x, v, null, out);
    }

    @Override
    public void logmap(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        each("logmap", dtype, rows, dim, x, y, null, out);
    }

    @Override
    public void egrad2rgrad(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment g, MemorySegment out) {
        each("egrad2rgrad", dtype, rows, dim, x, g, null, out);
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
        each("ptransp", dtype, rows, dim, x, y, v, out);
    }

    @Override
    public void projx(DType dtype, long rows, long dim, MemorySegment x, MemorySegment out) {
        each("projx", dtype, rows, dim, x, null, null, out);
    }

    /** The root of the sum of the factors' squared distances; allocates one number per row. */
    @Override
    public void dist(
            DType dtype, long rows, long dim, MemorySegment x, MemorySegment y, MemorySegment out) {
        Checks.requireFloating(dtype);
        width(dim);
        Checks.requireAtLeast("rows", rows, 0);
        if (out == null || out.byteSize() / dtype.bytes() < rows) {
            throw new IllegalArgumentException("out: expected a segment of " + rows + " numbers");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment part = arena.allocate(Math.max(1, rows * dtype.bytes()), Double.BYTES);
            double[] squares = new double[Math.toIntExact(rows)];
            long offset = 0;
            for (Factor factor : factors) {
                run(factor, "dist", dtype, rows, width(dim), offset, x, y, null, part, 1);
                for (int r = 0; r < rows; r++) {
                    double d =
                            dtype == DType.F32
                                    ? part.getAtIndex(ValueLayout.JAVA_FLOAT, r)
                                    : part.getAtIndex(ValueLayout.JAVA_DOUBLE, r);
                    squares[r] += d * d;
                }
                offset += factor.width();
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
            MemorySegment a,
            MemorySegment b,
            MemorySegment c,
            MemorySegment out) {
        Checks.requireFloating(dtype);
        long width = width(dim);
        long offset = 0;
        for (Factor factor : factors) {
            MemorySegment part = slice("out", out, offset, dtype);
            run(factor, verb, dtype, rows, width, offset, a, b, c, part, width);
            offset += factor.width();
        }
    }

    /** One verb on one factor, whose rows begin at an offset in rows of the whole. */
    private static void run(
            Factor factor,
            String verb,
            DType dtype,
            long rows,
            long stride,
            long offset,
            MemorySegment a,
            MemorySegment b,
            MemorySegment c,
            MemorySegment out,
            long outStride) {
        RowManifold manifold = (RowManifold) factor.manifold;
        RowOp op = manifold.operation(verb);
        int inputs = op.inputs().size();
        MemorySegment[] all = {a, b, c};
        MemorySegment[] in = new MemorySegment[inputs];
        long[] strides = new long[inputs];
        for (int i = 0; i < inputs; i++) {
            in[i] = slice(op.inputs().get(i).name(), all[i], offset, dtype);
            strides[i] = stride;
        }
        double curvature = manifold.curvature();
        double[] params =
                op.parameters().size() == 1
                        ? new double[] {curvature}
                        : new double[] {curvature, PoincareBall.lastRadius(dtype)};
        op.run(
                manifold.exec(),
                dtype,
                rows,
                factor.dim,
                in,
                strides,
                new MemorySegment[] {out},
                new long[] {outStride},
                params);
    }

    private static MemorySegment slice(
            String name, MemorySegment segment, long offset, DType dtype) {
        if (segment == null || segment.byteSize() < offset * dtype.bytes()) {
            throw new IllegalArgumentException(name + ": null or too small");
        }
        return offset == 0 ? segment : segment.asSlice(offset * dtype.bytes());
    }
}
