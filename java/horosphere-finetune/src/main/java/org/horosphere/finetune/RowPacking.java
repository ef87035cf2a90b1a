package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Layers;

/** Some rows of a float32 matrix, put together and apart again. */
final class RowPacking {
    private final Exec exec;
    private MemorySegment numbers = Buffers.floats(0);

    RowPacking(Exec exec) {
        this.exec = exec;
    }

    /** Row i of {@code to} becomes row {@code rows[i]} of (all, dim). */
    void gather(MemorySegment from, long all, int[] rows, int dim, MemorySegment to) {
        if (exec.isCuda()) {
            upload(rows);
            Layers.embedding_forward(numbers, DType.F32, from, rows.length, all, dim, to, exec);
            return;
        }
        for (int i = 0; i < rows.length; i++) {
            Buffers.copyFloats(from, (long) rows[i] * dim, to, (long) i * dim, dim);
        }
    }

    /** Row {@code rows[i]} of (all, dim), zero until now, becomes row i of {@code from}. */
    void scatter(MemorySegment from, int[] rows, int dim, MemorySegment to, long all) {
        if (exec.isCuda()) {
            upload(rows);
            Layers.embedding_backward(numbers, from, rows.length, all, dim, to, exec);
            return;
        }
        for (int i = 0; i < rows.length; i++) {
            Buffers.copyFloats(from, (long) i * dim, to, (long) rows[i] * dim, dim);
        }
    }

    private void upload(int[] rows) {
        numbers = Buffers.atLeast(numbers, (long) rows.length * Integer.BYTES, exec);
        Buffers.set(numbers, rows);
    }
}
