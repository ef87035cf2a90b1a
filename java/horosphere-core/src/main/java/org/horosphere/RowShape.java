package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * What a call needs to know of a row operation, in numbers. The classes that the build writes,
 * {@code Rows2To1} for two inputs and one output and so on, have a call each: checks on the
 * shortest way, and {@link RowOp#run} for large batches, for devices, and to say what is wrong. The
 * compiler takes what a record holds for constants where the record is one, so a call checks what
 * its operation has.
 *
 * @param op the operation
 * @param code its number in the library
 * @param inWidths two bits per input: how often it has dim elements per row, and how many more
 * @param outWidths the same of the outputs
 * @param optionalOutputs whether an output may be null
 */
record RowShape(RowOp op, int code, int inWidths, int outWidths, boolean optionalOutputs) {
    /** The stride of an output that stands for a null pointer, HORO_NOT_WANTED. */
    private static final long NOT_WANTED = -1;

    private static final float[] NO_FLOATS = {};
    private static final double[] NO_DOUBLES = {};

    static RowShape named(String name) {
        return RowOp.named(name).shape();
    }

    /** Elements per row of the i-th operand of a side; 0 for one that there is not. */
    private static long width(int widths, int i, long dim) {
        return (widths >>> 2 * i + 1 & 1) * dim + (widths >>> 2 * i & 1);
    }

    long inWidth(int i, long dim) {
        return width(inWidths, i, dim);
    }

    long outWidth(int j, long dim) {
        return width(outWidths, j, dim);
    }

    /**
     * Bytes of one number in each row, where the batch is one for a critical call and its sizes are
     * fine; else -1.
     */
    static long column(Exec exec, DType dtype, long rows, long dim) {
        return !exec.isCuda()
                        && dtype != null
                        && (rows | dim - 1) >>> 16 == 0 // neither is negative, dim not 0
                        && small(rows, dim)
                ? rows * dtype.bytes()
                : -1;
    }

    static boolean small(long rows, long dim) {
        return rows * dim <= RowOp.CRITICAL_ELEMENTS;
    }

    static boolean fits(MemorySegment segment, long bytes) {
        return segment != null && segment.byteSize() >= bytes;
    }

    boolean takes(MemorySegment segment, long bytes) {
        return segment == null
                ? optionalOutputs
                : !segment.isReadOnly() && segment.byteSize() >= bytes;
    }

    static MemorySegment nonNull(MemorySegment segment) {
        return segment == null ? MemorySegment.NULL : segment;
    }

    static MemorySegment segment(float[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    static MemorySegment segment(double[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    // Always a new segment: where it could also be NULL the compiler would not do without the
    // object.
    static MemorySegment present(float[] array) {
        return MemorySegment.ofArray(array == null ? NO_FLOATS : array);
    }

    static MemorySegment present(double[] array) {
        return MemorySegment.ofArray(array == null ? NO_DOUBLES : array);
    }

    static int length(float[] array) {
        return array == null ? -1 : array.length;
    }

    static int length(double[] array) {
        return array == null ? -1 : array.length;
    }

    /** The stride of the j-th output. */
    long outStride(int j, float[] array, int dim) {
        return array == null ? NOT_WANTED : outWidth(j, dim);
    }

    long outStride(int j, double[] array, int dim) {
        return array == null ? NOT_WANTED : outWidth(j, dim);
    }

    /** The rows of a batch, by the lengths of its output arrays; -1 for null. */
    int rows(int dim, int length0, int length1, int length2, int length3) {
        if (dim < 1) {
            throw new IllegalArgumentException("dim: " + dim + ", expected 1 or more");
        }
        long rows = rows(0, length0, dim, -1);
        rows = rows(1, length1, dim, rows);
        rows = rows(2, length2, dim, rows);
        rows = rows(3, length3, dim, rows);
        if (rows < 0) {
            throw new IllegalArgumentException(
                    op.outputs().get(0).name() + ": null, expected an output");
        }
        return (int) rows;
    }

    /**
     * The rows of an output array, which must be those of the outputs before, if there were any.
     */
    private long rows(int j, int length, long dim, long rows) {
        if ((outWidths >>> 2 * j & 3) == 0) { // no such output
            return rows;
        }
        if (length < 0) {
            if (optionalOutputs) {
                return rows;
            }
            throw new IllegalArgumentException(op.outputs().get(j).name() + ": null");
        }
        long width = outWidth(j, dim);
        // one division, of ints: the dearest of these checks
        long count = rows >= 0 ? rows : width <= length ? length / (int) width : 0;
        if (length != count * width) {
            throw new IllegalArgumentException(
                    op.outputs().get(j).name()
                            + ": "
                            + length
                            + " elements, expected "
                            + (rows < 0 ? "a multiple of " + width : count * width));
        }
        return count;
    }

    /** The stride of the i-th input, which has all rows, or one for all. */
    long inStride(int i, float[] array, int dim, long rows) {
        return inStride(i, length(array), dim, rows);
    }

    long inStride(int i, double[] array, int dim, long rows) {
        return inStride(i, length(array), dim, rows);
    }

    private long inStride(int i, int length, int dim, long rows) {
        long width = inWidth(i, dim);
        if (length == rows * width) {
            return width;
        }
        if (length == width) {
            return 0;
        }
        throw new IllegalArgumentException(
                op.inputs().get(i).name()
                        + (length < 0
                                ? ": null"
                                : ": "
                                        + length
                                        + " elements, expected "
                                        + rows * width
                                        + " for the outputs' rows ("
                                        + rows
                                        + "), or "
                                        + width
                                        + " for one row"));
    }
}
