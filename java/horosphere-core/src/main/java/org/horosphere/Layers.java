package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Transformer layers and the AdamW step on native float32 memory the caller owns. Matrices are
 * row-major and contiguous. Every method is safe from any thread, allocates nothing, and gives
 * bitwise the same result for any number of threads; NaN in a row stays in that row. An argument
 * that does not fit is an {@link IllegalArgumentException} naming it, a closed arena or {@link
 * Exec} an {@link IllegalStateException}.
 *
 * <p>With an {@link Exec#cuda} operands are device addresses ({@link DeviceMemory#at}) and a call
 * only enqueues. Ids, targets and positions are then not seen by the host: one out of range gives
 * NaN in the row of its token.
 */
public final class Layers {
    private static final MethodHandle RMSNORM_FORWARD =
            Native.bind(
                    "horo_rmsnorm_forward",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS,
                            JAVA_DOUBLE,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS));
    private static final MethodHandle RMSNORM_BACKWARD =
            Native.bind(
                    "horo_rmsnorm_backward",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG,
                            ADDRESS, ADDRESS, ADDRESS));
    private static final MethodHandle LAYERNORM_FORWARD =
            Native.bind(
                    "horo_layernorm_forward",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_DOUBLE,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS));
    private static final MethodHandle LAYERNORM_BACKWARD =
            Native.bind(
                    "horo_layernorm_backward",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG,
                            JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS));
    private static final MethodHandle ROPE =
            Native.bind(
                    "horo_rope",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS,
                            JAVA_LONG, ADDRESS, JAVA_INT, ADDRESS));
    private static final MethodHandle SWIGLU_FORWARD =
            Native.bind(
                    "horo_swiglu_forward",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle SWIGLU_BACKWARD =
            Native.bind(
                    "horo_swiglu_backward",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle GEGLU_FORWARD =
            Native.bind(
                    "horo_geglu_forward",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle GEGLU_BACKWARD =
            Native.bind(
                    "horo_geglu_backward",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG,
                            ADDRESS));
    private static final MethodHandle GELU_FORWARD =
            Native.bind(
                    "horo_gelu_forward",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle GELU_BACKWARD =
            Native.bind(
                    "horo_gelu_backward",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle BIAS_ADD =
            Native.bind(
                    "horo_bias_add",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS));
    private static final MethodHandle BIAS_GRAD =
            Native.bind(
                    "horo_bias_grad",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS));
    private static final MethodHandle COLUMN_SCALE =
            Native.bind(
                    "horo_column_scale",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS));
    private static final MethodHandle COLUMN_SCALE_GRAD =
            Native.bind(
                    "horo_column_scale_grad",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS));
    private static final MethodHandle ROW_LENGTHS =
            Native.bind(
                    "horo_row_lengths",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS));
    private static final MethodHandle EMBEDDING_FORWARD =
            Native.bind(
                    "horo_embedding_forward",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                            ADDRESS, ADDRESS));
    private static final MethodHandle EMBEDDING_BACKWARD =
            Native.bind(
                    "horo_embedding_backward",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS,
                            ADDRESS));
    private static final MethodHandle CROSS_ENTROPY =
            Native.bind(
                    "horo_cross_entropy",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS,
                            ADDRESS));
    private static final MethodHandle ADD =
            Native.bind(
                    "horo_add",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle AXPY =
            Native.bind(
                    "horo_axpy",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_DOUBLE, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle SCALE =
            Native.bind(
                    "horo_scale",
                    FunctionDescriptor.of(JAVA_INT, JAVA_DOUBLE, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle SUM_SQUARES =
            Native.bind(
                    "horo_sum_squares",
                    FunctionDescriptor.of(JAVA_DOUBLE, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle SUM_SQUARES_ADD =
            Native.bind(
                    "horo_sum_squares_add",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS));
    private static final MethodHandle ADAMW_CLIPPED =
            Native.bind(
                    "horo_adamw_clipped",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            JAVA_DOUBLE,
                            ADDRESS));
    private static final MethodHandle ADAMW =
            Native.bind(
                    "horo_adamw",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            ADDRESS));
    private static final MethodHandle COMBINE_ADAMW =
            Native.bind(
                    "horo_adamw_scalars",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_DOUBLE,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            ADDRESS));
    private static final MethodHandle EXP_FORWARD =
            Native.bind(
                    "horo_exp_forward",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle EXP_BACKWARD =
            Native.bind(
                    "horo_exp_backward",
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle CONVERT_TO_F32 =
            Native.bind(
                    "horo_convert_to_f32",
                    FunctionDescriptor.of(
                            JAVA_INT, JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
    private static final MethodHandle CONVERT_FROM_F32 =
            Native.bind(
                    "horo_convert_from_f32",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS));

    private Layers() {}

    /**
     * {@code out = weight * x * rstd} row by row, with {@code rstd = 1 / sqrt(mean(x²) + eps)}
     * (Zhang and Sennrich, arXiv 1910.07467).
     *
     * @param x (rows, dim)
     * @param weight (dim)
     * @param eps added to the mean square
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param out (rows, dim), overwritten; may be {@code x}
     * @param rstd (rows), overwritten, for the backward pass; or {@link MemorySegment#NULL}
     * @param exec where to run
     */
    public static void rmsnorm_forward(
            MemorySegment x,
            MemorySegment weight,
            double eps,
            long rows,
            long dim,
            MemorySegment out,
            MemorySegment rstd,
            Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.require(exec, "weight", weight, dim, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        Checks.requireOptional(exec, "rstd", rstd, rows, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            RMSNORM_FORWARD.invokeExact(
                                    x, weight, eps, rows, dim, out, rstd, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dx += rstd w dout - x rstd³ / dim Σ(dout w x)} row by row, and {@code dweight +=
     * Σ_rows dout x rstd}.
     *
     * @param dout (rows, dim)
     * @param x (rows, dim), the input of the forward pass
     * @param weight (dim)
     * @param rstd (rows), from the forward pass
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param dx (rows, dim), added to; overlaps no input
     * @param dweight (dim), added to; or {@link MemorySegment#NULL} if not wanted
     * @param exec where to run
     */
    public static void rmsnorm_backward(
            MemorySegment dout,
            MemorySegment x,
            MemorySegment weight,
            MemorySegment rstd,
            long rows,
            long dim,
            MemorySegment dx,
            MemorySegment dweight,
            Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "dout", dout, n, Float.BYTES);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.require(exec, "weight", weight, dim, Float.BYTES);
        Checks.require(exec, "rstd", rstd, rows, Float.BYTES);
        Checks.requireWritable(exec, "dx", dx, n, Float.BYTES);
        Checks.requireOptional(exec, "dweight", dweight, dim, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            RMSNORM_BACKWARD.invokeExact(
                                    dout, x, weight, rstd, rows, dim, dx, dweight, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out = weight (x - mean) rstd + bias} row by row, with {@code rstd = 1 / sqrt(variance
     * + eps)} and the variance divided by {@code dim} (Ba et al., arXiv 1607.06450).
     *
     * @param x (rows, dim)
     * @param weight (dim)
     * @param bias (dim)
     * @param eps added to the variance
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param out (rows, dim), overwritten; may be {@code x}
     * @param mean (rows), overwritten, for the backward pass; or {@link MemorySegment#NULL}
     * @param rstd (rows), overwritten, for the backward pass; or {@link MemorySegment#NULL}
     * @param exec where to run
     */
    public static void layernorm_forward(
            MemorySegment x,
            MemorySegment weight,
            MemorySegment bias,
            double eps,
            long rows,
            long dim,
            MemorySegment out,
            MemorySegment mean,
            MemorySegment rstd,
            Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.require(exec, "weight", weight, dim, Float.BYTES);
        Checks.require(exec, "bias", bias, dim, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        Checks.requireOptional(exec, "mean", mean, rows, Float.BYTES);
        Checks.requireOptional(exec, "rstd", rstd, rows, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            LAYERNORM_FORWARD.invokeExact(
                                    x,
                                    weight,
                                    bias,
                                    eps,
                                    rows,
                                    dim,
                                    out,
                                    mean,
                                    rstd,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * With {@code g = w dout} and {@code h = (x - mean) rstd}: {@code dx += rstd (g - avg(g) - h
     * avg(g h))} row by row, {@code dweight += Σ_rows dout h} and {@code dbias += Σ_rows dout}.
     *
     * @param dout (rows, dim)
     * @param x (rows, dim), the input of the forward pass
     * @param weight (dim)
     * @param mean (rows), from the forward pass
     * @param rstd (rows), from the forward pass
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param dx (rows, dim), added to; overlaps no input
     * @param dweight (dim), added to; or {@link MemorySegment#NULL} if not wanted
     * @param dbias (dim), added to; or {@link MemorySegment#NULL} if not wanted
     * @param exec where to run
     */
    public static void layernorm_backward(
            MemorySegment dout,
            MemorySegment x,
            MemorySegment weight,
            MemorySegment mean,
            MemorySegment rstd,
            long rows,
            long dim,
            MemorySegment dx,
            MemorySegment dweight,
            MemorySegment dbias,
            Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "dout", dout, n, Float.BYTES);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.require(exec, "weight", weight, dim, Float.BYTES);
        Checks.require(exec, "mean", mean, rows, Float.BYTES);
        Checks.require(exec, "rstd", rstd, rows, Float.BYTES);
        Checks.requireWritable(exec, "dx", dx, n, Float.BYTES);
        Checks.requireOptional(exec, "dweight", dweight, dim, Float.BYTES);
        Checks.requireOptional(exec, "dbias", dbias, dim, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            LAYERNORM_BACKWARD.invokeExact(
                                    dout,
                                    x,
                                    weight,
                                    mean,
                                    rstd,
                                    rows,
                                    dim,
                                    dx,
                                    dweight,
                                    dbias,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Rotary position embedding in place (Su et al., arXiv 2104.09864), with pairs {@code (i, i +
     * headDim / 2)} as Llama checkpoints have them: {@code (a, b) -> (a cos - b sin, b cos + a
     * sin)}.
     *
     * @param x token t, head h at element {@code t * rowStride + h * headDim}
     * @param tokens number of tokens, 0 or more
     * @param rowStride elements from token to token, at least {@code heads * headDim}
     * @param heads number of heads
     * @param headDim length of a head, even
     * @param cosSin (positions, headDim): a row holds headDim / 2 cosines, then as many sines
     * @param positions (tokens) int32: the row of {@code cosSin} for each token
     * @param inverse whether to apply the transpose, which is the backward pass
     * @param exec where to run
     */
    public static void rope(
            MemorySegment x,
            long tokens,
            long rowStride,
            long heads,
            long headDim,
            MemorySegment cosSin,
            MemorySegment positions,
            boolean inverse,
            Exec exec) {
        if (exec.isCuda()) {
            throw new IllegalArgumentException(
                    "cosSin: a device address has no size, expected a call with positionCount");
        }
        long positionCount = headDim < 1 ? 0 : cosSin.byteSize() / Float.BYTES / headDim;
        rope(x, tokens, rowStride, heads, headDim, cosSin, positionCount, positions, inverse, exec);
    }

    /**
     * As the method above, with the rows of {@code cosSin} counted by the caller, which memory of a
     * device needs.
     *
     * @param x token t, head h at element {@code t * rowStride + h * headDim}
     * @param tokens number of tokens, 0 or more
     * @param rowStride elements from token to token, at least {@code heads * headDim}
     * @param heads number of heads
     * @param headDim length of a head, even
     * @param cosSin (positionCount, headDim): a row holds headDim / 2 cosines, then as many sines
     * @param positionCount rows of {@code cosSin}
     * @param positions (tokens) int32: the row of {@code cosSin} for each token
     * @param inverse whether to apply the transpose, which is the backward pass
     * @param exec where to run
     */
    public static void rope(
            MemorySegment x,
            long tokens,
            long rowStride,
            long heads,
            long headDim,
            MemorySegment cosSin,
            long positionCount,
            MemorySegment positions,
            boolean inverse,
            Exec exec) {
        long width = Checks.product("heads * headDim", heads, headDim);
        Checks.requireAtLeast("tokens", tokens, 0);
        if (headDim < 2 || headDim % 2 != 0) {
            throw new IllegalArgumentException(
                    "headDim: " + headDim + ", expected an even number of 2 or more");
        }
        if (rowStride < width) {
            throw new IllegalArgumentException(
                    "rowStride: " + rowStride + ", expected at least heads * headDim = " + width);
        }
        long extent = tokens == 0 ? 0 : Checks.product("tokens * rowStride", tokens - 1, rowStride);
        Checks.requireWritable(exec, "x", x, tokens == 0 ? 0 : extent + width, Float.BYTES);
        long entries = Checks.product("positionCount * headDim", positionCount, headDim);
        Checks.require(exec, "cosSin", cosSin, entries, Float.BYTES);
        Checks.require(exec, "positions", positions, tokens, Integer.BYTES);
        int status;
        try {
            status =
                    (int)
                            ROPE.invokeExact(
                                    x,
                                    tokens,
                                    rowStride,
                                    heads,
                                    headDim,
                                    cosSin,
                                    positionCount,
                                    positions,
                                    inverse ? 1 : 0,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out = gate sigmoid(gate) up} (Shazeer, arXiv 2002.05202).
     *
     * @param gate n values
     * @param up n values
     * @param out n values, overwritten; may be {@code gate} or {@code up}
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void swiglu_forward(
            MemorySegment gate, MemorySegment up, MemorySegment out, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "gate", gate, n, Float.BYTES);
        Checks.require(exec, "up", up, n, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        int status;
        try {
            status = (int) SWIGLU_FORWARD.invokeExact(gate, up, out, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * With {@code s = sigmoid(gate)}: {@code dup = dout gate s} and {@code dgate = dout up s (1 +
     * gate (1 - s))}.
     *
     * @param dout n values
     * @param gate n values, as in the forward pass
     * @param up n values, as in the forward pass
     * @param dgate n values, overwritten; may be one of the inputs
     * @param dup n values, overwritten; may be another of the inputs
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void swiglu_backward(
            MemorySegment dout,
            MemorySegment gate,
            MemorySegment up,
            MemorySegment dgate,
            MemorySegment dup,
            long n,
            Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "dout", dout, n, Float.BYTES);
        Checks.require(exec, "gate", gate, n, Float.BYTES);
        Checks.require(exec, "up", up, n, Float.BYTES);
        Checks.requireWritable(exec, "dgate", dgate, n, Float.BYTES);
        Checks.requireWritable(exec, "dup", dup, n, Float.BYTES);
        Checks.requireDisjoint("dgate", dgate, n * Float.BYTES, "dup", dup, n * Float.BYTES);
        int status;
        try {
            status =
                    (int) SWIGLU_BACKWARD.invokeExact(dout, gate, up, dgate, dup, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out = gate sigmoid(z) up} with {@code z = sqrt(8 / pi) (gate + 0.044715 gate³)}: GEGLU
     * (Shazeer, arXiv 2002.05202) with the tanh form of GELU (Hendrycks and Gimpel, arXiv
     * 1606.08415). Relative error up to {@code 1e-6 + 2e-7 |z|}, except where the result is below
     * the normal range.
     *
     * @param gate n values
     * @param up n values
     * @param out n values, overwritten; may be {@code gate} or {@code up}
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void geglu_forward(
            MemorySegment gate, MemorySegment up, MemorySegment out, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "gate", gate, n, Float.BYTES);
        Checks.require(exec, "up", up, n, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        int status;
        try {
            status = (int) GEGLU_FORWARD.invokeExact(gate, up, out, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * With {@code s = sigmoid(z)}: {@code dup = dout gate s} and {@code dgate = dout up s (1 + gate
     * (1 - s) dz/dgate)}.
     *
     * @param dout n values
     * @param gate n values, as in the forward pass
     * @param up n values, as in the forward pass
     * @param dgate n values, overwritten; may be one of the inputs
     * @param dup n values, overwritten; may be another of the inputs
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void geglu_backward(
            MemorySegment dout,
            MemorySegment gate,
            MemorySegment up,
            MemorySegment dgate,
            MemorySegment dup,
            long n,
            Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "dout", dout, n, Float.BYTES);
        Checks.require(exec, "gate", gate, n, Float.BYTES);
        Checks.require(exec, "up", up, n, Float.BYTES);
        Checks.requireWritable(exec, "dgate", dgate, n, Float.BYTES);
        Checks.requireWritable(exec, "dup", dup, n, Float.BYTES);
        Checks.requireDisjoint("dgate", dgate, n * Float.BYTES, "dup", dup, n * Float.BYTES);
        int status;
        try {
            status = (int) GEGLU_BACKWARD.invokeExact(dout, gate, up, dgate, dup, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out = x Φ(x)}, Φ the normal distribution function: the exact GELU (Hendrycks and
     * Gimpel, arXiv 1606.08415). Relative error up to 1e-6 for all x, except where the result is
     * below the normal range.
     *
     * @param x n values
     * @param out n values, overwritten; may be {@code x}
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void gelu_forward(MemorySegment x, MemorySegment out, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        int status;
        try {
            status = (int) GELU_FORWARD.invokeExact(x, out, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dx = dout (Φ(x) + x φ(x))}, φ the normal density.
     *
     * @param dout n values
     * @param x n values, the input of the forward pass
     * @param dx n values, overwritten; may be {@code dout} or {@code x}
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void gelu_backward(
            MemorySegment dout, MemorySegment x, MemorySegment dx, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "dout", dout, n, Float.BYTES);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "dx", dx, n, Float.BYTES);
        int status;
        try {
            status = (int) GELU_BACKWARD.invokeExact(dout, x, dx, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code y[r] += bias}, row by row.
     *
     * @param bias (dim)
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param y (rows, dim), added to
     * @param exec where to run
     */
    public static void bias_add(
            MemorySegment bias, long rows, long dim, MemorySegment y, Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "bias", bias, dim, Float.BYTES);
        Checks.requireWritable(exec, "y", y, n, Float.BYTES);
        Checks.requireDisjoint("y", y, n * Float.BYTES, "bias", bias, dim * Float.BYTES);
        int status;
        try {
            status = (int) BIAS_ADD.invokeExact(bias, rows, dim, y, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dbias += Σ_rows dy}, the gradient of {@link #bias_add}.
     *
     * @param dy (rows, dim)
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param dbias (dim), added to
     * @param exec where to run
     */
    public static void bias_grad(
            MemorySegment dy, long rows, long dim, MemorySegment dbias, Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "dy", dy, n, Float.BYTES);
        Checks.requireWritable(exec, "dbias", dbias, dim, Float.BYTES);
        Checks.requireDisjoint("dbias", dbias, dim * Float.BYTES, "dy", dy, n * Float.BYTES);
        int status;
        try {
            status = (int) BIAS_GRAD.invokeExact(dy, rows, dim, dbias, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out = x * scale}, column by column.
     *
     * @param scale (dim)
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param x (rows, dim)
     * @param out (rows, dim), overwritten; may be {@code x}
     * @param exec where to run
     */
    public static void column_scale(
            MemorySegment scale,
            long rows,
            long dim,
            MemorySegment x,
            MemorySegment out,
            Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "scale", scale, dim, Float.BYTES);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        Checks.requireDisjoint("out", out, n * Float.BYTES, "scale", scale, dim * Float.BYTES);
        if (out.address() != x.address()) {
            Checks.requireDisjoint("out", out, n * Float.BYTES, "x", x, n * Float.BYTES);
        }
        int status;
        try {
            status = (int) COLUMN_SCALE.invokeExact(scale, rows, dim, x, out, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dscale += Σ_rows dy * x}, the gradient of {@link #column_scale}.
     *
     * @param dy (rows, dim)
     * @param x (rows, dim)
     * @param rows number of rows, 0 or more
     * @param dim length of a row, 1 or more
     * @param dscale (dim), added to
     * @param exec where to run
     */
    public static void column_scale_grad(
            MemorySegment dy,
            MemorySegment x,
            long rows,
            long dim,
            MemorySegment dscale,
            Exec exec) {
        long n = Checks.product("rows * dim", rows, dim);
        Checks.require(exec, "dy", dy, n, Float.BYTES);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "dscale", dscale, dim, Float.BYTES);
        Checks.requireDisjoint("dscale", dscale, dim * Float.BYTES, "dy", dy, n * Float.BYTES);
        Checks.requireDisjoint("dscale", dscale, dim * Float.BYTES, "x", x, n * Float.BYTES);
        int status;
        try {
            status = (int) COLUMN_SCALE_GRAD.invokeExact(dy, x, rows, dim, dscale, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * The lengths n_j = |w_j + scaling b_j A| of the rows of a weight with a low-rank addition,
     * from |w_j|² + 2 scaling b_j·(A w_j) + scaling² b_j (A Aᵀ) b_jᵀ in float64, and DoRA's factors
     * (Liu et al., arXiv 2402.09353); in the factors a length of 0 counts as 1. {@link
     * MemorySegment#NULL} for what is not wanted, and for lengths without ratio.
     *
     * @param out number of rows, 0 or more
     * @param r rank, 1 or more
     * @param squares (out) float64, |w_j|²
     * @param cross (r, out), A Wᵀ
     * @param gram (r, r), A Aᵀ
     * @param b (out, r)
     * @param lengths (out), what the rows are to be rescaled to
     * @param norms (out), n_j
     * @param inverse (out), 1 / n_j
     * @param ratio (out), lengths_j / n_j
     * @param exec where to run
     */
    public static void row_lengths(
            long out,
            long r,
            double scaling,
            MemorySegment squares,
            MemorySegment cross,
            MemorySegment gram,
            MemorySegment b,
            MemorySegment lengths,
            MemorySegment norms,
            MemorySegment inverse,
            MemorySegment ratio,
            Exec exec) {
        long n = Checks.product("out * r", out, r);
        Checks.require(exec, "squares", squares, out, Double.BYTES);
        Checks.require(exec, "cross", cross, n, Float.BYTES);
        Checks.require(exec, "gram", gram, Checks.product("r * r", r, r), Float.BYTES);
        Checks.require(exec, "b", b, n, Float.BYTES);
        if (lengths.address() != 0) {
            Checks.require(exec, "lengths", lengths, out, Float.BYTES);
        }
        Checks.requireOptional(exec, "norms", norms, out, Float.BYTES);
        Checks.requireOptional(exec, "inverse", inverse, out, Float.BYTES);
        Checks.requireOptional(exec, "ratio", ratio, out, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            ROW_LENGTHS.invokeExact(
                                    out,
                                    r,
                                    scaling,
                                    squares,
                                    cross,
                                    gram,
                                    b,
                                    lengths,
                                    norms,
                                    inverse,
                                    ratio,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out[t] = table[ids[t]]} as float32.
     *
     * @param ids (tokens) int32
     * @param type how the table is stored
     * @param table (vocab, dim)
     * @param tokens number of tokens, 0 or more
     * @param vocab rows of the table
     * @param dim length of a row, 1 or more
     * @param out (tokens, dim), overwritten
     * @param exec where to run
     * @throws IllegalArgumentException naming position and id if an id is not in [0, vocab);
     *     nothing is written then
     */
    public static void embedding_forward(
            MemorySegment ids,
            DType type,
            MemorySegment table,
            long tokens,
            long vocab,
            long dim,
            MemorySegment out,
            Exec exec) {
        Checks.require(exec, "ids", ids, tokens, Integer.BYTES);
        Checks.require(
                exec, "table", table, Checks.product("vocab * dim", vocab, dim), type.bytes());
        Checks.requireWritable(
                exec, "out", out, Checks.product("tokens * dim", tokens, dim), Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            EMBEDDING_FORWARD.invokeExact(
                                    ids,
                                    type.code(),
                                    table,
                                    tokens,
                                    vocab,
                                    dim,
                                    out,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dtable[ids[t]] += dout[t]}, in the order of the tokens.
     *
     * @param ids (tokens) int32
     * @param dout (tokens, dim)
     * @param tokens number of tokens, 0 or more
     * @param vocab rows of the table
     * @param dim length of a row, 1 or more
     * @param dtable (vocab, dim), added to
     * @param exec where to run
     * @throws IllegalArgumentException naming position and id if an id is not in [0, vocab);
     *     nothing is written then
     */
    public static void embedding_backward(
            MemorySegment ids,
            MemorySegment dout,
            long tokens,
            long vocab,
            long dim,
            MemorySegment dtable,
            Exec exec) {
        Checks.require(exec, "ids", ids, tokens, Integer.BYTES);
        Checks.require(
                exec, "dout", dout, Checks.product("tokens * dim", tokens, dim), Float.BYTES);
        Checks.requireWritable(
                exec, "dtable", dtable, Checks.product("vocab * dim", vocab, dim), Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            EMBEDDING_BACKWARD.invokeExact(
                                    ids, dout, tokens, vocab, dim, dtable, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code losses[t] = logsumexp(logits[t]) - logits[t, targets[t]]}; 0 where the target is
     * negative.
     *
     * @param logits (tokens, vocab); overwritten by {@code gradientScale (softmax(logits) -
     *     onehot(target))}, which is 0 in ignored rows, if that is wanted
     * @param targets (tokens) int32; negative means ignored
     * @param tokens number of tokens, 0 or more
     * @param vocab number of classes, 1 or more
     * @param losses (tokens), overwritten
     * @param gradientScale one value, the factor of the gradient, usually 1 / (targets that count);
     *     {@link MemorySegment#NULL} if the gradient is not wanted
     * @param exec where to run
     * @throws IllegalArgumentException naming position and target if a target is vocab or more;
     *     nothing is written then
     */
    public static void cross_entropy(
            MemorySegment logits,
            MemorySegment targets,
            long tokens,
            long vocab,
            MemorySegment losses,
            MemorySegment gradientScale,
            Exec exec) {
        long n = Checks.product("tokens * vocab", tokens, vocab);
        if (!MemorySegment.NULL.equals(gradientScale)) {
            Checks.require(exec, "gradientScale", gradientScale, 1, Float.BYTES);
            Checks.requireWritable(exec, "logits", logits, n, Float.BYTES);
        } else {
            Checks.require(exec, "logits", logits, n, Float.BYTES);
        }
        Checks.require(exec, "targets", targets, tokens, Integer.BYTES);
        Checks.requireWritable(exec, "losses", losses, tokens, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            CROSS_ENTROPY.invokeExact(
                                    logits,
                                    targets,
                                    tokens,
                                    vocab,
                                    losses,
                                    gradientScale,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code out = x + y}.
     *
     * @param x n values
     * @param y n values
     * @param out n values, overwritten; may be {@code x} or {@code y}
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void add(MemorySegment x, MemorySegment y, MemorySegment out, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.require(exec, "y", y, n, Float.BYTES);
        Checks.requireWritable(exec, "out", out, n, Float.BYTES);
        int status;
        try {
            status = (int) ADD.invokeExact(x, y, out, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code y += a x}.
     *
     * @param a factor, rounded to float32
     * @param x n values
     * @param y n values, added to
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void axpy(double a, MemorySegment x, MemorySegment y, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "y", y, n, Float.BYTES);
        int status;
        try {
            status = (int) AXPY.invokeExact(a, x, y, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code x *= a}.
     *
     * @param a factor, rounded to float32
     * @param x n values, overwritten
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void scale(double a, MemorySegment x, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.requireWritable(exec, "x", x, n, Float.BYTES);
        int status;
        try {
            status = (int) SCALE.invokeExact(a, x, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code Σ x²}, accumulated in float64.
     *
     * @param x n values
     * @param n number of elements, 0 or more
     * @param exec the CPU; a device is for {@link #sum_squares_add}, which does not wait
     */
    public static double sum_squares(MemorySegment x, long n, Exec exec) {
        if (exec.isCuda()) {
            throw new IllegalArgumentException(
                    "exec: a CUDA device, expected the CPU, or a call of sum_squares_add");
        }
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "x", x, n, Float.BYTES);
        try {
            return (double) SUM_SQUARES.invokeExact(x, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
    }

    /**
     * {@code total += Σ x²}, accumulated in float64.
     *
     * @param x n values
     * @param n number of elements, 0 or more
     * @param total one double, added to
     * @param workspace 256 doubles, overwritten
     * @param exec where to run
     */
    public static void sum_squares_add(
            MemorySegment x, long n, MemorySegment total, MemorySegment workspace, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "total", total, 1, Double.BYTES);
        Checks.requireWritable(exec, "workspace", workspace, 256, Double.BYTES);
        int status;
        try {
            status = (int) SUM_SQUARES_ADD.invokeExact(x, n, total, workspace, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101), as {@code torch.optim.AdamW}
     * computes it: {@code g = gradScale grad; param *= 1 - lr weightDecay; m += (1 - beta1) (g -
     * m); v = beta2 v + (1 - beta2) g²; param -= lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 -
     * beta2^step) + eps)}. Scalars are combined in float64, elements in float32.
     *
     * @param param n values, updated
     * @param grad n values
     * @param m first moment, n values, updated; zero before the first step
     * @param v second moment, n values, updated; zero before the first step
     * @param n number of elements, 0 or more
     * @param lr learning rate
     * @param beta1 decay of the first moment, in [0, 1); pass a double literal, {@code 0.9f} is
     *     another number
     * @param beta2 decay of the second moment, in [0, 1)
     * @param eps added to the denominator
     * @param weightDecay decoupled weight decay
     * @param step number of this step, from 1
     * @param gradScale multiplied into the gradient, e.g. by clipping; 1 for none
     * @param exec where to run
     */
    public static void adamw(
            MemorySegment param,
            MemorySegment grad,
            MemorySegment m,
            MemorySegment v,
            long n,
            double lr,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            long step,
            double gradScale,
            Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.requireWritable(exec, "param", param, n, Float.BYTES);
        Checks.require(exec, "grad", grad, n, Float.BYTES);
        Checks.requireWritable(exec, "m", m, n, Float.BYTES);
        Checks.requireWritable(exec, "v", v, n, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            ADAMW.invokeExact(
                                    param,
                                    grad,
                                    m,
                                    v,
                                    n,
                                    lr,
                                    beta1,
                                    beta2,
                                    eps,
                                    weightDecay,
                                    step,
                                    gradScale,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /** How many numbers {@link #adamw_scalars} stores. */
    public static final int ADAMW_SCALARS = 8;

    /**
     * Combines, in float64, what {@link #adamw_clipped} reads of a step; the arguments are those of
     * {@link #adamw}.
     *
     * @param scalars {@link #ADAMW_SCALARS} float32 values of host memory, overwritten
     */
    public static void adamw_scalars(
            double lr,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            long step,
            double gradScale,
            MemorySegment scalars) {
        Checks.requireWritable(Exec.CPU, "scalars", scalars, ADAMW_SCALARS, Float.BYTES);
        int status;
        try {
            status =
                    (int)
                            COMBINE_ADAMW.invokeExact(
                                    lr, beta1, beta2, eps, weightDecay, step, gradScale, scalars);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * As {@link #adamw}, with the gradient clipped to a norm: with {@code norm = |gradScale|
     * sqrt(sumSquares)}, gradScale is multiplied by {@code maxNorm / norm} where norm is larger;
     * where sumSquares is not finite nothing is changed. On a device the host sees neither, so a
     * whole training step runs without waiting, and a captured one ({@link Stream#capture}) can be
     * launched again after new scalars were copied there.
     *
     * @param param n values, updated
     * @param grad n values
     * @param m first moment, n values, updated; zero before the first step
     * @param v second moment, n values, updated; zero before the first step
     * @param n number of elements, 0 or more
     * @param scalars {@link #ADAMW_SCALARS} float32 values of {@link #adamw_scalars}
     * @param sumSquares one double, of {@link #sum_squares_add} over the whole gradient
     * @param maxNorm the largest norm, positive
     * @param exec where to run
     */
    public static void adamw_clipped(
            MemorySegment param,
            MemorySegment grad,
            MemorySegment m,
            MemorySegment v,
            long n,
            MemorySegment scalars,
            MemorySegment sumSquares,
            double maxNorm,
            Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.requireWritable(exec, "param", param, n, Float.BYTES);
        Checks.require(exec, "grad", grad, n, Float.BYTES);
        Checks.requireWritable(exec, "m", m, n, Float.BYTES);
        Checks.requireWritable(exec, "v", v, n, Float.BYTES);
        Checks.require(exec, "scalars", scalars, ADAMW_SCALARS, Float.BYTES);
        Checks.require(exec, "sumSquares", sumSquares, 1, Double.BYTES);
        int status;
        try {
            status =
                    (int)
                            ADAMW_CLIPPED.invokeExact(
                                    param,
                                    grad,
                                    m,
                                    v,
                                    n,
                                    scalars,
                                    sumSquares,
                                    maxNorm,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code y = e^x} in float64: the values of numbers that are trained as logarithms, a few at a
     * time.
     *
     * @param x n values
     * @param y n doubles, overwritten
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void exp_forward(MemorySegment x, MemorySegment y, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "x", x, n, Float.BYTES);
        Checks.requireWritable(exec, "y", y, n, Double.BYTES);
        Checks.requireDisjoint("y", y, n * Double.BYTES, "x", x, n * Float.BYTES);
        int status;
        try {
            status = (int) EXP_FORWARD.invokeExact(x, y, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dx += dy y}, y of {@link #exp_forward}; the sum is rounded once.
     *
     * @param dy n doubles
     * @param y n doubles
     * @param dx n values, added to
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void exp_backward(
            MemorySegment dy, MemorySegment y, MemorySegment dx, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "dy", dy, n, Double.BYTES);
        Checks.require(exec, "y", y, n, Double.BYTES);
        Checks.requireWritable(exec, "dx", dx, n, Float.BYTES);
        int status;
        try {
            status = (int) EXP_BACKWARD.invokeExact(dy, y, dx, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dst = src} as float32; exact, except that float64 is rounded to nearest even.
     *
     * @param from how {@code src} is stored
     * @param src n values
     * @param dst n float32 values, overwritten
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void convert(
            DType from, MemorySegment src, MemorySegment dst, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "src", src, n, from.bytes());
        Checks.requireWritable(exec, "dst", dst, n, Float.BYTES);
        Checks.requireDisjoint("dst", dst, n * Float.BYTES, "src", src, n * from.bytes());
        int status;
        try {
            status = (int) CONVERT_TO_F32.invokeExact(from.code(), src, dst, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * {@code dst = src} rounded to nearest even; NaN stays NaN, what is too large becomes infinity.
     *
     * @param src n float32 values
     * @param to how {@code dst} is stored
     * @param dst n values, overwritten
     * @param n number of elements, 0 or more
     * @param exec where to run
     */
    public static void convert_from_f32(
            MemorySegment src, DType to, MemorySegment dst, long n, Exec exec) {
        Checks.requireAtLeast("n", n, 0);
        Checks.require(exec, "src", src, n, Float.BYTES);
        Checks.requireWritable(exec, "dst", dst, n, to.bytes());
        Checks.requireDisjoint("dst", dst, n * to.bytes(), "src", src, n * Float.BYTES);
        int status;
        try {
            status = (int) CONVERT_FROM_F32.invokeExact(src, to.code(), dst, n, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
