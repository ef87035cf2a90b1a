package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;

/**
 * The trainable row lengths of DoRA (Liu et al., arXiv 2402.09353): row j of W + scaling B A is
 * rescaled to length m_j. As in PEFT the length it has is a constant to the gradient.
 */
final class Magnitude {
    private final Tensor lengths;
    private final Tensor weight;
    private final Tensor a;
    private final Tensor b;
    private final double scaling;
    private final Parameters parameters;
    private final int out;

    /** |w_j|², fixed as W is frozen; made when first needed. */
    private MemorySegment squares;

    private final MemorySegment ratio;
    private final MemorySegment inverse;
    private final MemorySegment rowGrads;
    private final MemorySegment cross;
    private final MemorySegment gram;
    private long seen = -1;
    private MemorySegment sum = Buffers.floats(0);
    private MemorySegment scaled = Buffers.floats(0);

    Magnitude(
            Parameters parameters,
            String path,
            Tensor weight,
            Tensor a,
            Tensor b,
            double scaling,
            Exec exec) {
        this.parameters = parameters;
        this.weight = weight;
        this.a = a;
        this.b = b;
        this.scaling = scaling;
        out = Math.toIntExact(weight.rows());
        lengths = parameters.add(path + ".lora_magnitude_vector", out);
        ratio = Buffers.floats(out, exec);
        inverse = Buffers.floats(out, exec);
        rowGrads = Buffers.floats(out, exec);
        cross = Buffers.floats(a.rows() * out, exec);
        gram = Buffers.floats(a.rows() * a.rows(), exec);
    }

    /** m_j = |w_j + scaling b_j A|: the model stays as it is. */
    void initialise(Exec exec) {
        rowLengths(
                MemorySegment.NULL, lengths.value(), MemorySegment.NULL, MemorySegment.NULL, exec);
        seen = -1;
    }

    void set(float[] newLengths) {
        Buffers.set(lengths.value(), newLengths);
        seen = -1;
    }

    float[] lengths() {
        return Buffers.toArray(lengths.value(), out);
    }

    /** m_j over the length that row j has. */
    float[] ratios(Exec exec) {
        refresh(exec);
        return Buffers.toArray(ratio, out);
    }

    /** Rescales the columns of y = x (W + scaling B A)ᵀ, keeping it for backward. */
    void forward(long tokens, MemorySegment y, Exec exec) {
        refresh(exec);
        sum = Buffers.atLeast(sum, tokens * out * Float.BYTES, exec);
        Buffers.copyFloats(y, 0, sum, 0, tokens * out);
        Layers.column_scale(ratio, tokens, out, sum, y, exec);
    }

    /**
     * Adds to the gradient of m.
     *
     * @return the gradient of what {@link #forward} was given, valid until the next call
     */
    MemorySegment backward(MemorySegment dy, long tokens, Exec exec) {
        Buffers.zero(rowGrads, (long) out * Float.BYTES);
        Layers.column_scale_grad(dy, sum, tokens, out, rowGrads, exec);
        Layers.column_scale(inverse, 1, out, rowGrads, rowGrads, exec);
        Layers.axpy(1, rowGrads, lengths.grad(), out, exec);
        scaled = Buffers.atLeast(scaled, tokens * out * Float.BYTES, exec);
        Layers.column_scale(ratio, tokens, out, dy, scaled, exec);
        return scaled;
    }

    /** Bytes that forward and backward of so many tokens take. */
    long activationBytes(long tokens) {
        return ((2 * tokens + 3 + a.rows()) * out + a.rows() * a.rows()) * Float.BYTES
                + (long) out * Double.BYTES;
    }

    private void refresh(Exec exec) {
        if (seen == parameters.version()) {
            return;
        }
        rowLengths(lengths.value(), MemorySegment.NULL, inverse, ratio, exec);
        seen = parameters.version();
    }

    /** See {@link Layers#row_lengths}. */
    private void rowLengths(
            MemorySegment want,
            MemorySegment norms,
            MemorySegment inverses,
            MemorySegment ratios,
            Exec exec) {
        int in = Math.toIntExact(weight.columns());
        int r = Math.toIntExact(a.rows());
        if (squares == null) {
            squares = Buffers.doubles(out, exec);
            Buffers.set(squares, rowSquares(exec));
        }
        Gemm.gemm(
                false,
                true,
                r,
                out,
                in,
                1,
                a.value(),
                in,
                weight.type(),
                weight.value(),
                in,
                0,
                cross,
                out,
                exec);
        Gemm.sgemm(false, true, r, r, in, 1, a.value(), in, a.value(), in, 0, gram, r, exec);
        Layers.row_lengths(
                out, r, scaling, squares, cross, gram, b.value(), want, norms, inverses, ratios,
                exec);
    }

    private double[] rowSquares(Exec exec) {
        long in = weight.columns();
        double[] result = new double[out];
        MemorySegment row = Buffers.floats(in);
        MemorySegment all = weight.hostBytes(0, weight.size());
        Exec host = exec.isCuda() ? Exec.CPU : exec;
        for (int j = 0; j < out; j++) {
            MemorySegment stored =
                    all.asSlice(j * in * weight.type().bytes(), in * weight.type().bytes());
            if (weight.type() != DType.F32) {
                Layers.convert(weight.type(), stored, row, in, host);
                stored = row;
            }
            result[j] = Layers.sum_squares(stored, in, host);
        }
        return result;
    }
}
