package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What the optimizers of points on a manifold have in common: one parameter, a batch of rows, in
 * memory of the caller; state in memory of this object, freed with it.
 *
 * <p>A step reads point, gradient and state once and writes point and state once. The gradient is
 * the Euclidean one, as backpropagation gives it, and is not changed. Rows are independent; results
 * are the same bits for any number of threads. Not safe for concurrent steps of one object.
 */
public abstract sealed class RiemannianOptimizer permits RiemannianSgd, RiemannianAdam {
    /** The rows of one factor of the manifold: where they lie and what belongs to them. */
    static final class Part {
        final RowOp op;
        final Exec exec;
        final double curvature;
        final long dim;
        final long width;
        final long offset;

        /** One per state operand of the operation, contiguous rows. */
        final MemorySegment[] state;

        /** Rows of a sparse step, gathered: point, then state. */
        final MemorySegment[] gathered;

        private Part(
                Manifold manifold, String step, DType dtype, long rows, long dim, long offset) {
            if (!(manifold instanceof PoincareBall || manifold instanceof Lorentz)) {
                throw new IllegalArgumentException(
                        "manifold: "
                                + manifold
                                + ", expected a PoincareBall, a Lorentz or a Product of those");
            }
            RowManifold model = (RowManifold) manifold;
            this.exec = model.exec();
            this.curvature = model.curvature();
            this.op = model.operation(step);
            this.dim = dim;
            this.width = manifold.width(dim);
            this.offset = offset;
            this.state = new MemorySegment[op.inputs().size() - 2];
            this.gathered = new MemorySegment[state.length + 1];
            for (int i = 0; i < state.length; i++) {
                long bytes = Checks.product("rows", rows, stateWidth(i) * dtype.bytes());
                state[i] = Arena.ofAuto().allocate(Math.max(1, bytes), 64);
            }
        }

        long stateWidth(int i) {
            return op.inputs().get(i + 2).kind().width(dim);
        }
    }

    private final DType dtype;
    private final long rows;
    private final long width;
    private final List<Part> parts = new ArrayList<>();
    private long gatheredRows;
    private long steps;

    RiemannianOptimizer(Manifold manifold, DType dtype, long rows, long dim, String step) {
        Checks.requireNonNull("manifold", manifold);
        Checks.requireFloating(dtype);
        Checks.requireAtLeast("rows", rows, 0);
        Checks.requireAtLeast("dim", dim, 1);
        this.dtype = dtype;
        this.rows = rows;
        this.width = manifold.width(dim);
        long offset = 0;
        if (manifold instanceof Product product) {
            for (Product.Factor factor : product.factors()) {
                parts.add(new Part(factor.manifold(), step, dtype, rows, factor.dim(), offset));
                offset += factor.width();
            }
        } else {
            parts.add(new Part(manifold, step, dtype, rows, dim, 0));
        }
    }

    /** How many steps were made. */
    public final long steps() {
        return steps;
    }

    /**
     * The state, writable: what to save and restore, with {@link #resume}, to go on later. Per
     * factor of the manifold one segment per state operand of its row operation, rows contiguous.
     */
    public final List<MemorySegment> state() {
        List<MemorySegment> all = new ArrayList<>();
        parts.forEach(part -> all.addAll(List.of(part.state)));
        return List.copyOf(all);
    }

    /** Tells how many steps the state restored into {@link #state} has seen. */
    public final void resume(long steps) {
        Checks.requireAtLeast("steps", steps, 0);
        this.steps = steps;
    }

    /**
     * Steps every row.
     *
     * @param x the points, rows one after the other, changed in place
     * @param grad the Euclidean gradient, of the same layout
     * @throws IllegalArgumentException if a segment is too small, read-only or overlapping, naming
     *     it; no step was made then
     */
    public final void step(MemorySegment x, MemorySegment grad) {
        requireWritableRows(x);
        requireRows("grad", grad, rows);
        steps++; // the parameters go by it
        try {
            for (int i = 0; i < parts.size(); i++) {
                Part part = parts.get(i);
                MemorySegment points = at(x, part.offset);
                run(part, rows, points, width, at(grad, part.offset), part.state);
            }
        } catch (RuntimeException e) {
            steps--;
            throw e;
        }
    }

    /**
     * Steps the listed rows only; the others keep their point and state. The step counter, which
     * Adam's bias correction goes by, is that of the whole parameter.
     *
     * @param x the points, as in {@link #step}
     * @param touched rows of x, strictly ascending
     * @param grad one row per touched row, in that order
     * @throws IllegalArgumentException as {@link #step}, or if touched is not ascending or not in
     *     range
     */
    public final void step(MemorySegment x, int[] touched, MemorySegment grad) {
        requireWritableRows(x);
        requireAscending(touched);
        requireRows("grad", grad, touched.length);
        if (touched.length > gatheredRows) {
            gatheredRows = Math.min(rows, Math.max(touched.length, 2 * gatheredRows));
            for (Part part : parts) {
                for (int i = 0; i < part.gathered.length; i++) {
                    long elements = i == 0 ? part.width : part.stateWidth(i - 1);
                    part.gathered[i] =
                            Arena.ofAuto().allocate(elements * dtype.bytes() * gatheredRows, 64);
                }
            }
        }
        steps++;
        try {
            for (Part part : parts) {
                copyRows(part, x, touched, true);
                run(
                        part,
                        touched.length,
                        part.gathered[0],
                        part.width,
                        at(grad, part.offset),
                        Arrays.copyOfRange(part.gathered, 1, part.gathered.length));
                copyRows(part, x, touched, false);
            }
        } catch (RuntimeException e) {
            steps--;
            throw e;
        }
    }

    private void copyRows(Part part, MemorySegment x, int[] touched, boolean gather) {
        int bytes = dtype.bytes();
        for (int i = 0; i < part.gathered.length; i++) {
            long size = (i == 0 ? part.width : part.stateWidth(i - 1)) * bytes;
            long stride = i == 0 ? width * bytes : size;
            long offset = i == 0 ? part.offset * bytes : 0;
            MemorySegment all = i == 0 ? x : part.state[i - 1];
            for (int k = 0; k < touched.length; k++) {
                long at = touched[k] * stride + offset;
                if (gather) {
                    MemorySegment.copy(all, at, part.gathered[i], k * size, size);
                } else {
                    MemorySegment.copy(part.gathered[i], k * size, all, at, size);
                }
            }
        }
    }

    private MemorySegment at(MemorySegment segment, long offset) {
        return offset == 0 ? segment : segment.asSlice(offset * dtype.bytes());
    }

    /** Runs the part's operation in place. */
    private void run(
            Part part,
            long count,
            MemorySegment x,
            long xStride,
            MemorySegment grad,
            MemorySegment[] state) {
        MemorySegment first = state.length > 0 ? state[0] : null;
        MemorySegment second = state.length > 1 ? state[1] : null;
        long firstStride = state.length > 0 ? part.stateWidth(0) : 0;
        long secondStride = state.length > 1 ? part.stateWidth(1) : 0;
        part.op.run(
                part.exec,
                dtype,
                count,
                part.dim,
                x,
                xStride,
                grad,
                width,
                first,
                firstStride,
                second,
                secondStride,
                x,
                xStride,
                first,
                firstStride,
                second,
                secondStride,
                null,
                0,
                part.curvature,
                parameter(1),
                parameter(2),
                parameter(3),
                parameter(4),
                parameter(5));
    }

    /** The operation's i-th parameter at the present step; the 0th is the curvature. */
    abstract double parameter(int i);

    static void require(String name, double value, boolean holds, String expected) {
        if (!holds) {
            throw new IllegalArgumentException(name + ": " + value + ", expected " + expected);
        }
    }

    static void requireLr(double lr) {
        require("lr", lr, lr >= 0 && lr < Double.POSITIVE_INFINITY, "0 or more");
    }

    static void requireWeightDecay(double weightDecay) {
        boolean holds = weightDecay >= 0 && weightDecay < Double.POSITIVE_INFINITY;
        require("weightDecay", weightDecay, holds, "0 or more");
    }

    private void requireWritableRows(MemorySegment x) {
        requireRows("x", x, rows);
        if (x.isReadOnly()) {
            throw new IllegalArgumentException("x: read-only, expected writable memory");
        }
    }

    private void requireRows(String name, MemorySegment segment, long count) {
        if (segment == null) {
            throw new IllegalArgumentException(name + ": null, expected a segment");
        }
        if (segment.byteSize() / dtype.bytes() < count * width) {
            throw new IllegalArgumentException(
                    "%s: %d bytes, expected at least %d (%d rows of %d %s)"
                            .formatted(
                                    name,
                                    segment.byteSize(),
                                    count * width * dtype.bytes(),
                                    count,
                                    width,
                                    dtype));
        }
    }

    private void requireAscending(int[] touched) {
        if (touched == null) {
            throw new IllegalArgumentException("touched: null, expected row numbers");
        }
        for (int i = 0; i < touched.length; i++) {
            if (touched[i] < 0 || touched[i] >= rows) {
                throw new IllegalArgumentException(
                        "touched: row %d of %d".formatted(touched[i], rows));
            }
            if (i > 0 && touched[i] <= touched[i - 1]) {
                throw new IllegalArgumentException(
                        "touched: %d after %d, expected ascending rows, each once"
                                .formatted(touched[i], touched[i - 1]));
            }
        }
    }
}
