package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;

/**
 * Products of activations with a weight in the arithmetic of its storage: float32, or bfloat16 with
 * float32 sums, for which the activations are rounded first. Owns the memory they are rounded into.
 */
final class WeightProducts {
    private final Exec exec;
    private MemorySegment rounded = Buffers.floats(0);

    WeightProducts(Exec exec) {
        this.exec = exec;
    }

    /**
     * Activations as products with such a weight take them; valid until the next call.
     *
     * @param count number of elements of x
     */
    MemorySegment operand(Tensor weight, MemorySegment x, long count) {
        if (weight.type() == DType.F32) {
            return x;
        }
        rounded = Buffers.atLeast(rounded, count * weight.type().bytes(), exec);
        Layers.convert_from_f32(x, weight.type(), rounded, count, exec);
        return rounded;
    }

    /** y (rows, out) = x Wᵀ, W (out, in); x (rows, in) is an {@link #operand}. */
    void forward(Tensor weight, long rows, MemorySegment x, MemorySegment y) {
        multiply(weight, true, rows, weight.rows(), weight.columns(), x, 0, y);
    }

    /** dx (rows, in) = beta dx + dy W; dy (rows, out) is an {@link #operand}. */
    void backward(Tensor weight, long rows, MemorySegment dy, float beta, MemorySegment dx) {
        multiply(weight, false, rows, weight.columns(), weight.rows(), dy, beta, dx);
    }

    private void multiply(
            Tensor weight,
            boolean transposed,
            long m,
            long n,
            long k,
            MemorySegment a,
            float beta,
            MemorySegment c) {
        MemorySegment b = weight.value();
        long ldb = weight.columns();
        if (weight.type() == DType.F32) {
            Gemm.sgemm(false, transposed, m, n, k, 1, a, k, b, ldb, beta, c, n, exec);
        } else {
            Gemm.gemm_bf16(false, transposed, m, n, k, a, k, b, ldb, beta, c, n, exec);
        }
    }
}
