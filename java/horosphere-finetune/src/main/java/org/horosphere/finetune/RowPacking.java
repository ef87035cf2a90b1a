package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Layers;

/** Some rows of a float32 matrix, put together and apart again. */
final class RowPacking {
    private final Exec exec;
    private int[] rows = {};

    /** On a device. */
    private MemorySegment numbers = Buffers.floats(0);

    RowPacking(Exec exec) {
        this.exec = exec;
    }

    /** Which rows; the functions below take some of them. */
    void choose(int[] newRows) {
        rows = newRows;
        if (exec.isCuda()) {
            numbers = Buffers.atLeast(numbers, (long) rows.length * Integer.BYTES, exec);
            Buffers.set(numbers, rows);
        }
    }

    /** Row i of {@code to} becomes the row of (all, dim) that is number {@code first + i}. */
    void gather(MemorySegment from, long all, int first, int count, int dim, MemorySegment to) {
        if (exec.isCuda()) {
            Layers.embedding_forward(
                    numbers(first, count), DType.F32, from, count, all, dim, to, exec);
            return;
        }
        for (int i = 0; i < count; i++) {
            Buffers.copyFloats(from, (long) rows[first + i] * dim, to, (long) i * dim, dim);
        }
    }

    /** The row of (all, dim) that is number {@code first + i}, zero until now, becomes row i. */
    void scatter(MemorySegment from, int first, int count, int dim, MemorySegment to, long all) {
        if (exec.isCuda()) {
            Layers.embedding_backward(numbers(first, count), from, count, all, dim, to, exec);
            return;
        }
        for (int i = 0; i < count; i++) {
            Buffers.copyFloats(from, (long) i * dim, to, (long) rows[first + i] * dim, dim);
        }
    }

    private MemorySegment numbers(int first, int count) {
        return Buffers.slice(numbers, first, count);
    }
}
