package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Softmax attention, plain or with its maps mixed over the heads (Coeff-Tuning, arXiv 2503.18337):
 * {@code P_i = softmax(scale q_i k_g(i)^T + mask)}, {@code out_h = (P_h + sum_i alpha[h][i] P_i)
 * v_g(h)}, {@code g(h) = h / (heads / kvHeads)}. An instance is the shape of a call: sizes, where
 * elements lie, scale and mask.
 *
 * <p>Arithmetic is that of the dtype, and float32 for 16 bits: on the CPU each element of a result
 * is rounded once, on a CUDA device the maps too are rounded where they enter a product. The work
 * splits over query rows; results are bitwise the same for any number of threads. Calls are safe
 * from any thread as long as they write different memory. All buffers are native segments; with an
 * {@link Exec#cuda} they are device addresses ({@link DeviceMemory#at}), whose sizes, lengths and
 * overlaps are not checked, and a call only enqueues.
 *
 * @param dtype of q, k, v, out and their gradients; {@link #scalarType} is that of alpha, lse and
 *     dalpha
 * @param batch number of sequences, 0 or more
 * @param heads query heads, 1 to 4096
 * @param kvHeads key and value heads, a divisor of heads: fewer than heads is grouped-query
 *     attention
 * @param qLen query tokens per sequence
 * @param kvLen key tokens per sequence
 * @param headDim elements per head and token, contiguous
 * @param q where the queries lie, also of dq
 * @param k where the keys lie, also of dk
 * @param v where the values lie, also of dv
 * @param out where the output lies, also of dout
 * @param scale multiplies the scores, usually {@code 1/sqrt(headDim)}; positive
 * @param causal query row r sees the keys {@code j <= r + kvLen - qLen}, aligned at the end as a
 *     key cache needs it
 */
public record Attention(
        DType dtype,
        long batch,
        long heads,
        long kvHeads,
        long qLen,
        long kvLen,
        long headDim,
        Strides q,
        Strides k,
        Strides v,
        Strides out,
        double scale,
        boolean causal) {

    /** Distances, in elements, between sequences, tokens and heads; 0 or more. */
    public record Strides(long batch, long token, long head) {
        public Strides {
            Checks.requireAtLeast("strides.batch", batch, 0);
            Checks.requireAtLeast("strides.token", token, 0);
            Checks.requireAtLeast("strides.head", head, 0);
        }

        /** Layout (batch, token, head, element), what a linear layer leaves behind. */
        public static Strides tokenMajor(long tokens, long heads, long headDim) {
            return new Strides(tokens * heads * headDim, heads * headDim, headDim);
        }

        /** Layout (batch, head, token, element). */
        public static Strides headMajor(long tokens, long heads, long headDim) {
            return new Strides(heads * tokens * headDim, headDim, tokens * headDim);
        }
    }

    /**
     * Checks sizes.
     *
     * @throws IllegalArgumentException if one is out of range, naming it
     */
    public Attention {
        if (dtype == null) {
            throw new IllegalArgumentException("dtype: null");
        }
        Checks.requireAtLeast("batch", batch, 0);
        Checks.requireAtLeast("heads", heads, 1);
        Checks.requireAtLeast("kvHeads", kvHeads, 1);
        if (heads % kvHeads != 0) {
            throw new IllegalArgumentException(
                    "kvHeads: " + kvHeads + ", expected a divisor of heads (" + heads + ")");
        }
        Checks.requireAtLeast("qLen", qLen, 0);
        Checks.requireAtLeast("kvLen", kvLen, 0);
        Checks.requireAtLeast("headDim", headDim, 1);
        Checks.requirePositive("scale", scale);
    }

    /** Token-major buffers without gaps, scale {@code 1/sqrt(headDim)}. */
    public static Attention tokenMajor(
            DType dtype,
            long batch,
            long heads,
            long kvHeads,
            long qLen,
            long kvLen,
            long headDim,
            boolean causal) {
        Strides query = Strides.tokenMajor(qLen, heads, headDim);
        Strides key = Strides.tokenMajor(kvLen, kvHeads, headDim);
        double scale = 1 / Math.sqrt(headDim);
        return new Attention(
                dtype, batch, heads, kvHeads, qLen, kvLen, headDim, query, key, key, query, scale,
                causal);
    }

    /** The dtype of alpha, lse and dalpha: F32 beside 16-bit buffers, else dtype. */
    public DType scalarType() {
        return dtype == DType.F64 ? DType.F64 : DType.F32;
    }

    /**
     * Bytes of workspace for a call with this shape; it grows with exec's threads and linearly with
     * kvLen.
     *
     * @param mixed whether alpha will be given
     * @param backward for {@link #backward} instead of {@link #forward}
     */
    public long workspaceBytes(Exec exec, boolean mixed, boolean backward) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            AttentionBinding.workspace(exec, this, mixed, backward, bytes);
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /**
     * Computes out, and lse for the backward pass. A query row that sees no key has out = 0 and lse
     * = -infinity. With alpha = 0 the result has the bits of alpha = null, as long as no map holds
     * a NaN or an infinity; not with 16 bits on a CUDA device, where null has a kernel of its own.
     *
     * @param alpha heads x heads mixing coefficients, the first index the output head, without the
     *     identity; null for plain attention
     * @param lengths one int per sequence: keys from there on are neither seen nor read; null for
     *     all
     * @param lse batch x heads x qLen, receives the logarithm of each row's sum of exponentials;
     *     null if not wanted
     * @param workspace {@link #workspaceBytes} bytes or more, any alignment, overwritten
     * @throws IllegalArgumentException if a segment is too small, on the heap, read-only,
     *     misaligned or overlapping, or a length is not in 0 to kvLen, naming the argument
     */
    public static void forward(
            Exec exec,
            Attention shape,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            MemorySegment alpha,
            MemorySegment lengths,
            MemorySegment out,
            MemorySegment lse,
            MemorySegment workspace) {
        shape.requireInputs(exec, q, k, v, alpha, lengths);
        int bytes = shape.dtype.bytes();
        Checks.requireWritable(
                exec, "out", out, shape.extent(shape.out, shape.qLen, shape.heads), bytes);
        if (lse != null) {
            Checks.requireWritable(exec, "lse", lse, shape.rows(), shape.scalarType().bytes());
            Checks.requireDisjoint("lse", lse, "out", out);
        }
        Checks.requireWritable(exec, "workspace", workspace, 0, 1);
        requireDisjointFromInputs("out", out, q, k, v, alpha, lengths);
        requireDisjointFromInputs("lse", lse, q, k, v, alpha, lengths);
        requireDisjointFromInputs("workspace", workspace, q, k, v, alpha, lengths);
        Checks.requireDisjoint("workspace", workspace, "out", out);
        Checks.requireDisjoint("workspace", workspace, "lse", lse);
        AttentionBinding.forward(
                exec,
                shape,
                q,
                k,
                v,
                Checks.orNull(alpha),
                Checks.orNull(lengths),
                out,
                Checks.orNull(lse),
                workspace);
    }

    /**
     * Computes the gradients of {@code sum(dout * out)}. dq, dk and dv are overwritten; dalpha, a
     * parameter's gradient, is added to. The maps are computed again.
     *
     * @param lse of the forward pass; not read where whole rows are held (today everywhere), null
     *     will do
     * @param dout gradient of out, with its strides
     * @param dq with the strides of q; likewise dk, dv. Gradients may be interleaved with each
     *     other, not with inputs
     * @param dalpha heads x heads, null if and only if alpha is
     * @param workspace {@link #workspaceBytes} bytes or more, any alignment, overwritten
     * @throws IllegalArgumentException as {@link #forward}
     */
    public static void backward(
            Exec exec,
            Attention shape,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            MemorySegment alpha,
            MemorySegment lengths,
            MemorySegment lse,
            MemorySegment dout,
            MemorySegment dq,
            MemorySegment dk,
            MemorySegment dv,
            MemorySegment dalpha,
            MemorySegment workspace) {
        shape.requireInputs(exec, q, k, v, alpha, lengths);
        int bytes = shape.dtype.bytes();
        if (lse != null) {
            Checks.require(exec, "lse", lse, shape.rows(), shape.scalarType().bytes());
        }
        Checks.require(exec, "dout", dout, shape.extent(shape.out, shape.qLen, shape.heads), bytes);
        Checks.requireWritable(
                exec, "dq", dq, shape.extent(shape.q, shape.qLen, shape.heads), bytes);
        Checks.requireWritable(
                exec, "dk", dk, shape.extent(shape.k, shape.kvLen, shape.kvHeads), bytes);
        Checks.requireWritable(
                exec, "dv", dv, shape.extent(shape.v, shape.kvLen, shape.kvHeads), bytes);
        if ((alpha == null) != (dalpha == null)) {
            throw new IllegalArgumentException("dalpha: expected together with alpha, or neither");
        }
        if (dalpha != null) {
            Checks.requireWritable(
                    exec, "dalpha", dalpha, shape.heads * shape.heads, shape.scalarType().bytes());
        }
        Checks.requireWritable(exec, "workspace", workspace, 0, 1);
        requireDisjointFromInputs("dq", dq, q, k, v, alpha, lengths);
        requireDisjointFromInputs("dk", dk, q, k, v, alpha, lengths);
        requireDisjointFromInputs("dv", dv, q, k, v, alpha, lengths);
        requireDisjointFromInputs("dalpha", dalpha, q, k, v, alpha, lengths);
        requireDisjointFromInputs("workspace", workspace, q, k, v, alpha, lengths);
        requireDisjointFromGradients("lse", lse, dq, dk, dv, dalpha, workspace);
        requireDisjointFromGradients("dout", dout, dq, dk, dv, dalpha, workspace);
        requireDisjointFromGradients("workspace", workspace, dq, dk, dv, dalpha, null);
        AttentionBinding.backward(
                exec,
                shape,
                q,
                k,
                v,
                Checks.orNull(alpha),
                Checks.orNull(lengths),
                Checks.orNull(lse),
                dout,
                dq,
                dk,
                dv,
                Checks.orNull(dalpha),
                workspace);
    }

    private void requireInputs(
            Exec exec,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            MemorySegment alpha,
            MemorySegment lengths) {
        int bytes = dtype.bytes();
        Checks.require(exec, "q", q, extent(this.q, qLen, heads), bytes);
        Checks.require(exec, "k", k, extent(this.k, kvLen, kvHeads), bytes);
        Checks.require(exec, "v", v, extent(this.v, kvLen, kvHeads), bytes);
        if (alpha != null) {
            Checks.require(exec, "alpha", alpha, heads * heads, scalarType().bytes());
        }
        if (lengths != null) {
            Checks.require(exec, "lengths", lengths, batch, Integer.BYTES);
        }
    }

    /** Elements from the first to the last of a buffer, both included. */
    private long extent(Strides strides, long tokens, long heads) {
        if (batch == 0 || tokens == 0) {
            return 0;
        }
        return Math.addExact(
                Math.addExact(
                        Math.multiplyExact(batch - 1, strides.batch),
                        Math.multiplyExact(tokens - 1, strides.token)),
                Math.addExact(Math.multiplyExact(heads - 1, strides.head), headDim));
    }

    private long rows() {
        return Math.multiplyExact(Math.multiplyExact(batch, heads), qLen);
    }

    private static void requireDisjointFromInputs(
            String name,
            MemorySegment written,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            MemorySegment alpha,
            MemorySegment lengths) {
        Checks.requireDisjoint(name, written, "q", q);
        Checks.requireDisjoint(name, written, "k", k);
        Checks.requireDisjoint(name, written, "v", v);
        Checks.requireDisjoint(name, written, "alpha", alpha);
        Checks.requireDisjoint(name, written, "lengths", lengths);
    }

    private static void requireDisjointFromGradients(
            String name,
            MemorySegment segment,
            MemorySegment dq,
            MemorySegment dk,
            MemorySegment dv,
            MemorySegment dalpha,
            MemorySegment workspace) {
        Checks.requireDisjoint(name, segment, "dq", dq);
        Checks.requireDisjoint(name, segment, "dk", dk);
        Checks.requireDisjoint(name, segment, "dv", dv);
        Checks.requireDisjoint(name, segment, "dalpha", dalpha);
        Checks.requireDisjoint(name, segment, "workspace", workspace);
    }
}
