package org.horosphere;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * A low-rank adapter on top of a linear layer: {@code out_t += scaling g_t B (A x_t)} for every
 * token t. An instance is its shape.
 *
 * <p>LORA has g = 1. HYPLORA (arXiv 2410.04010) lifts x to the hyperboloid of curvature -1/K,
 * transforms there and comes back, which is LoRA times one positive number per token: with {@code q
 * = sqrt(K)}, {@code t = |x|/(s q)}, {@code m = |B A x|}: {@code g = q asinh(m sinh(t)/|x|)/m}; s =
 * 1 is the paper's map, K to infinity is LoRA. Numbers per token are computed in float64, in log
 * space for large t; what leaves the range of float64 saturates at its largest number.
 *
 * <p>Results are bitwise the same for any number of threads. Calls are safe from any thread as long
 * as they write different memory. All buffers are native segments, with an {@link Exec#cuda} device
 * addresses ({@link DeviceMemory#at}), whose sizes and overlaps are not checked; A, B, p and the
 * gradients of A and B are contiguous, row-major.
 *
 * @param dtype F32 or F64, of x, A, B, out, p and their gradients
 * @param kind LORA or HYPLORA
 * @param d inputs per token
 * @param r rank
 * @param k outputs per token
 * @param scaling the factor usually called alpha/r
 */
public record LowRankAdapter(DType dtype, Kind kind, long d, long r, long k, double scaling) {

    /** What g is. */
    public enum Kind {
        /** g = 1. */
        LORA(0),
        /** g from norms and curvature. */
        HYPLORA(1),
        /**
         * What the authors' released code computes for {@code hyplora}, clamps included, for
         * adapters trained with it: with {@code n = max(|x|, 1e-7)}, {@code sigma = q sinh(min(n/(s
         * q), 12))/n}, {@code v = sigma m} and {@code theta = sqrt(v² + 1/K)/q}: {@code g = sigma q
         * L/max(v, 1e-7)}, where {@code L = sqrt(2 max(theta - 1, 1e-6))} for theta below 1.01,
         * else {@code arcosh(theta)}. K is {@code softplus(k) + 1e-6} of the code's k.
         */
        HYPLORA_RELEASED(2),
        /**
         * What it computes for {@code hyplora_simplified}: with {@code sigma = 2/(1 + K |x|²)} and
         * {@code v = sigma m}: {@code g = sigma/(1 + sqrt(K (v² + K)))}. s is not used.
         */
        HYPLORA_SIMPLIFIED(3);

        private final int code;

        Kind(int code) {
            this.code = code;
        }

        int code() {
            return code;
        }
    }

    /**
     * Checks sizes.
     *
     * @throws IllegalArgumentException if one is out of range, naming it
     */
    public LowRankAdapter {
        Checks.requireFloating(dtype);
        if (kind == null) {
            throw new IllegalArgumentException(
                    "kind: null, expected one of " + Arrays.toString(Kind.values()));
        }
        Checks.requireAtLeast("d", d, 1);
        Checks.requireAtLeast("r", r, 1);
        Checks.requireAtLeast("k", k, 1);
        if (!Double.isFinite(scaling)) {
            throw new IllegalArgumentException(
                    "scaling: " + scaling + ", expected a finite number");
        }
    }

    private boolean hyperbolic() {
        return kind != Kind.LORA;
    }

    /** Bytes of workspace {@link #backward} needs for so many tokens. */
    public long workspaceBytes(Exec exec, long tokens) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            LowRankBinding.workspace(exec, this, tokens, bytes);
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /**
     * Computes {@code gram = B^T B}, which HYPLORA needs; once per change of B.
     *
     * @param b k x r
     * @param gram r x r doubles, whatever the dtype
     * @throws IllegalArgumentException if a segment is unfit, naming it
     */
    public static void gram(Exec exec, LowRankAdapter shape, MemorySegment b, MemorySegment gram) {
        Checks.require(exec, "b", b, Math.multiplyExact(shape.k, shape.r), shape.dtype.bytes());
        Checks.requireWritable(
                exec, "gram", gram, Math.multiplyExact(shape.r, shape.r), Double.BYTES);
        Checks.requireDisjoint("gram", gram, "b", b);
        LowRankBinding.gram(exec, shape, b, gram);
    }

    /**
     * Adds the adapter's output to out.
     *
     * @param x tokens x d, xStride elements between tokens
     * @param a r x d
     * @param b k x r
     * @param gram of b; null for LORA
     * @param curvature one double, K of curvature -1/K, positive (not checked on a device); null
     *     for LORA
     * @param s one double, divides the norm of x, positive likewise; null for LORA
     * @param out tokens x k, outStride elements between tokens, added to
     * @param p tokens x r, receives A x for the backward pass
     * @param gain tokens doubles, receives g; null for LORA
     * @param norm tokens doubles, receives |x|; null for LORA
     * @param m tokens doubles, receives |B A x|; null for LORA
     * @throws IllegalArgumentException if a segment is too small, on the heap, read-only,
     *     misaligned or overlapping, or a number out of range, naming the argument
     */
    public static void forward(
            Exec exec,
            LowRankAdapter shape,
            long tokens,
            MemorySegment x,
            long xStride,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment curvature,
            MemorySegment s,
            MemorySegment out,
            long outStride,
            MemorySegment p,
            MemorySegment gain,
            MemorySegment norm,
            MemorySegment m) {
        shape.requireInputs(exec, tokens, x, xStride, a, b, gram, curvature, s);
        int bytes = shape.dtype.bytes();
        Checks.requireWritable(
                exec, "out", out, extent("outStride", tokens, outStride, shape.k), bytes);
        Checks.requireWritable(exec, "p", p, Math.multiplyExact(tokens, shape.r), bytes);
        Checks.requireDisjoint("out", out, "p", p);
        requireDisjointFromInputs("out", out, x, a, b, gram);
        requireDisjointFromInputs("p", p, x, a, b, gram);
        boolean hyperbolic = shape.hyperbolic();
        if (hyperbolic) {
            requireScalars(exec, "gain", gain, tokens, x, a, b, gram, out, p);
            requireScalars(exec, "norm", norm, tokens, x, a, b, gram, out, p);
            requireScalars(exec, "m", m, tokens, x, a, b, gram, out, p);
            Checks.requireDisjoint("gain", gain, "norm", norm);
            Checks.requireDisjoint("gain", gain, "m", m);
            Checks.requireDisjoint("norm", norm, "m", m);
        }
        LowRankBinding.forward(
                exec,
                shape,
                tokens,
                x,
                xStride,
                a,
                b,
                hyperbolic ? gram : MemorySegment.NULL,
                hyperbolic ? curvature : MemorySegment.NULL,
                hyperbolic ? s : MemorySegment.NULL,
                out,
                outStride,
                p,
                hyperbolic ? gain : MemorySegment.NULL,
                hyperbolic ? norm : MemorySegment.NULL,
                hyperbolic ? m : MemorySegment.NULL);
    }

    /**
     * Adds the gradients of {@code sum(dout * out)} to dx, da, db, dK and ds.
     *
     * @param dout tokens x k, outStride elements between tokens
     * @param p of the forward pass; likewise norm and m, null for LORA
     * @param dx tokens x d, dxStride elements between tokens; null if not wanted
     * @param da r x d
     * @param db k x r
     * @param dK one double; null if not wanted or for LORA
     * @param ds one double; null if not wanted or for LORA
     * @param workspace {@link #workspaceBytes} bytes or more, any alignment, overwritten
     * @throws IllegalArgumentException as {@link #forward}
     */
    public static void backward(
            Exec exec,
            LowRankAdapter shape,
            long tokens,
            MemorySegment x,
            long xStride,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment curvature,
            MemorySegment s,
            MemorySegment dout,
            long outStride,
            MemorySegment p,
            MemorySegment norm,
            MemorySegment m,
            MemorySegment dx,
            long dxStride,
            MemorySegment da,
            MemorySegment db,
            MemorySegment dK,
            MemorySegment ds,
            MemorySegment workspace) {
        shape.requireInputs(exec, tokens, x, xStride, a, b, gram, curvature, s);
        int bytes = shape.dtype.bytes();
        Checks.require(exec, "dout", dout, extent("outStride", tokens, outStride, shape.k), bytes);
        Checks.require(exec, "p", p, Math.multiplyExact(tokens, shape.r), bytes);
        boolean hyperbolic = shape.hyperbolic();
        if (hyperbolic) {
            Checks.require(exec, "norm", norm, tokens, Double.BYTES);
            Checks.require(exec, "m", m, tokens, Double.BYTES);
        }
        Checks.requireWritable(exec, "da", da, Math.multiplyExact(shape.r, shape.d), bytes);
        Checks.requireWritable(exec, "db", db, Math.multiplyExact(shape.k, shape.r), bytes);
        Checks.requireWritable(exec, "workspace", workspace, 0, 1);
        if (dx != null) {
            Checks.requireWritable(
                    exec, "dx", dx, extent("dxStride", tokens, dxStride, shape.d), bytes);
        }
        if (dK != null) {
            Checks.requireWritable(exec, "dK", dK, 1, Double.BYTES);
        }
        if (ds != null) {
            Checks.requireWritable(exec, "ds", ds, 1, Double.BYTES);
        }
        requireGradient("dx", dx, x, a, b, gram, dout, p, norm, m);
        requireGradient("da", da, x, a, b, gram, dout, p, norm, m);
        requireGradient("db", db, x, a, b, gram, dout, p, norm, m);
        requireGradient("dK", dK, x, a, b, gram, dout, p, norm, m);
        requireGradient("ds", ds, x, a, b, gram, dout, p, norm, m);
        requireGradient("workspace", workspace, x, a, b, gram, dout, p, norm, m);
        Checks.requireDisjoint("dx", dx, "da", da);
        Checks.requireDisjoint("dx", dx, "db", db);
        Checks.requireDisjoint("da", da, "db", db);
        Checks.requireDisjoint("workspace", workspace, "dx", dx);
        Checks.requireDisjoint("workspace", workspace, "da", da);
        Checks.requireDisjoint("workspace", workspace, "db", db);
        LowRankBinding.backward(
                exec,
                shape,
                tokens,
                x,
                xStride,
                a,
                b,
                hyperbolic ? gram : MemorySegment.NULL,
                hyperbolic ? curvature : MemorySegment.NULL,
                hyperbolic ? s : MemorySegment.NULL,
                dout,
                outStride,
                p,
                hyperbolic ? norm : MemorySegment.NULL,
                hyperbolic ? m : MemorySegment.NULL,
                Checks.orNull(dx),
                dxStride,
                da,
                db,
                Checks.orNull(dK),
                Checks.orNull(ds),
                workspace);
    }

    private void requireInputs(
            Exec exec,
            long tokens,
            MemorySegment x,
            long xStride,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment curvature,
            MemorySegment s) {
        Checks.requireAtLeast("tokens", tokens, 0);
        Checks.require(exec, "x", x, extent("xStride", tokens, xStride, d), dtype.bytes());
        Checks.require(exec, "a", a, Math.multiplyExact(r, d), dtype.bytes());
        Checks.require(exec, "b", b, Math.multiplyExact(k, r), dtype.bytes());
        if (hyperbolic()) {
            Checks.require(exec, "gram", gram, Math.multiplyExact(r, r), Double.BYTES);
            requirePositive(exec, "curvature", curvature);
            requirePositive(exec, "s", s);
        }
    }

    private static void requirePositive(Exec exec, String name, MemorySegment number) {
        Checks.require(exec, name, number, 1, Double.BYTES);
        if (!exec.isCuda()) {
            Checks.requirePositive(name, number.get(ValueLayout.JAVA_DOUBLE, 0));
        }
    }

    private static long extent(String name, long tokens, long stride, long columns) {
        if (tokens > 1) {
            Checks.requireAtLeast(name, stride, columns);
        }
        return tokens == 0 ? 0 : Math.addExact(Math.multiplyExact(tokens - 1, stride), columns);
    }

    private static void requireScalars(
            Exec exec,
            String name,
            MemorySegment scalars,
            long tokens,
            MemorySegment x,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment out,
            MemorySegment p) {
        Checks.requireWritable(exec, name, scalars, tokens, Double.BYTES);
        requireDisjointFromInputs(name, scalars, x, a, b, gram);
        Checks.requireDisjoint(name, scalars, "out", out);
        Checks.requireDisjoint(name, scalars, "p", p);
    }

    private static void requireDisjointFromInputs(
            String name,
            MemorySegment written,
            MemorySegment x,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram) {
        Checks.requireDisjoint(name, written, "x", x);
        Checks.requireDisjoint(name, written, "a", a);
        Checks.requireDisjoint(name, written, "b", b);
        Checks.requireDisjoint(name, written, "gram", gram);
    }

    private static void requireGradient(
            String name,
            MemorySegment written,
            MemorySegment x,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment dout,
            MemorySegment p,
            MemorySegment norm,
            MemorySegment m) {
        requireDisjointFromInputs(name, written, x, a, b, gram);
        Checks.requireDisjoint(name, written, "dout", dout);
        Checks.requireDisjoint(name, written, "p", p);
        Checks.requireDisjoint(name, written, "norm", norm);
        Checks.requireDisjoint(name, written, "m", m);
    }
}
