package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Layers;
import org.horosphere.LowRankAdapter;

/**
 * The trainable low-rank branch of one linear layer: LoRA, DoRA = LoRA and trainable row lengths of
 * the sum, or HypLoRA = LoRA times one gain per token.
 *
 * <p>HypLoRA's curvature K and input scale s are trained as ln K and ln s, so they stay positive at
 * any step size.
 */
final class LowRankBranch {
    private final Tensor a;
    private final Tensor b;
    private final Tensor logK;
    private final Tensor logS;
    private final Magnitude magnitude;
    private final Parameters parameters;
    private final int in;
    private final int out;
    private final int rank;
    private final LowRankAdapter shape;
    private final MemorySegment gram;

    /** K and s, and their gradients. */
    private final MemorySegment curve;

    private final MemorySegment curveGrads;

    private MemorySegment p;
    private MemorySegment gain;
    private MemorySegment norm;
    private MemorySegment image;
    private MemorySegment workspace = Buffers.floats(0);
    private long capacity;

    /**
     * @param weight the layer's frozen weight
     * @param scaling alpha/r. The output of the paper's HypLoRA is also multiplied by sqrt(in),
     *     which undoes the initial division of its input by s = sqrt(in): K → ∞ is then LoRA at the
     *     same scaling, and both start with comparable steps
     */
    LowRankBranch(
            Parameters parameters,
            String path,
            Tensor weight,
            int rank,
            double scaling,
            LowRankAdapter.Kind kind,
            boolean dora,
            Exec exec) {
        this.parameters = parameters;
        this.in = Math.toIntExact(weight.columns());
        this.out = Math.toIntExact(weight.rows());
        this.rank = rank;
        shape =
                new LowRankAdapter(
                        DType.F32,
                        kind,
                        in,
                        rank,
                        out,
                        kind == LowRankAdapter.Kind.HYPLORA ? scaling * Math.sqrt(in) : scaling);
        boolean hyperbolic = kind != LowRankAdapter.Kind.LORA;
        a = parameters.add(path + ".lora_A.weight", rank, in);
        b = parameters.add(path + ".lora_B.weight", out, rank);
        // logS follows logK in memory: the two are computed together
        logK = hyperbolic ? parameters.add(path + ".hyplora_K", 1) : null;
        logS = hyperbolic ? parameters.add(path + ".hyplora_s", 1) : null;
        magnitude = dora ? new Magnitude(parameters, path, weight, a, b, scaling, exec) : null;
        gram = Buffers.doubles((long) rank * rank, exec);
        curve = hyperbolic ? Buffers.doubles(2, exec) : null;
        curveGrads = hyperbolic ? Buffers.doubles(2, exec) : null;
    }

    int rank() {
        return rank;
    }

    LowRankAdapter.Kind kind() {
        return shape.kind();
    }

    boolean isHyperbolic() {
        return logK != null;
    }

    /** The curvature is -1/K; infinite for LoRA. */
    double curvatureRadius() {
        return isHyperbolic() ? exp(logK) : Double.POSITIVE_INFINITY;
    }

    double inputScale() {
        return isHyperbolic() ? exp(logS) : 1;
    }

    private static double exp(Tensor scalar) {
        return Math.exp(Buffers.toArray(scalar.value(), 1)[0]);
    }

    /** A uniform in ±1/sqrt(in), B zero, s = sqrt(in): the model starts as the base model. */
    void initialise(SplittableRandom random, double curvatureRadius, Exec exec) {
        float[] values = new float[Math.toIntExact(a.size())];
        double bound = 1 / Math.sqrt(in);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextDouble(-bound, bound);
        }
        set(values, new float[Math.toIntExact(b.size())], curvatureRadius, Math.sqrt(in), null);
        if (magnitude != null) {
            magnitude.initialise(exec);
        }
    }

    /**
     * @param lengths DoRA's row lengths; null for the rest
     */
    void set(
            float[] newA,
            float[] newB,
            double curvatureRadius,
            double inputScale,
            float[] lengths) {
        parameters.changed();
        Buffers.set(a.value(), newA);
        Buffers.set(b.value(), newB);
        if (isHyperbolic()) {
            Buffers.set(logK.value(), (float) Math.log(curvatureRadius));
            Buffers.set(logS.value(), (float) Math.log(inputScale));
        }
        if (lengths != null) {
            magnitude.set(lengths);
        }
    }

    int in() {
        return in;
    }

    int out() {
        return out;
    }

    boolean accepts(LowRank file) {
        return file.in() == in
                && file.out() == out
                && file.r() == rank
                && (file.magnitude() != null) == (magnitude != null);
    }

    LowRank toFile() {
        float[] valuesA = Buffers.toArray(a.value(), a.size());
        float[] valuesB = Buffers.toArray(b.value(), b.size());
        return new LowRank(
                rank,
                in,
                out,
                valuesA,
                valuesB,
                isHyperbolic() ? (float) curvatureRadius() : Float.NaN,
                isHyperbolic() ? (float) inputScale() : Float.NaN,
                magnitude == null ? null : magnitude.lengths());
    }

    /**
     * Turns y = x Wᵀ into the adapted layer's output before its bias, keeping what backward needs.
     */
    void forward(MemorySegment x, long tokens, MemorySegment y, Exec exec) {
        if (tokens > capacity) {
            p = Buffers.floats(tokens * rank, exec);
            gain = Buffers.doubles(tokens, exec);
            norm = Buffers.doubles(tokens, exec);
            image = Buffers.doubles(tokens, exec);
            capacity = tokens;
        }
        if (isHyperbolic()) {
            LowRankAdapter.gram(exec, shape, b.value(), gram);
            Layers.exp_forward(parameters.values(logK, 2), curve, 2, exec);
        }
        LowRankAdapter.forward(
                exec,
                shape,
                tokens,
                x,
                in,
                a.value(),
                b.value(),
                gram,
                number(curve, 0),
                number(curve, 1),
                y,
                out,
                p,
                gain,
                norm,
                image);
        if (magnitude != null) {
            magnitude.forward(tokens, y, exec);
        }
    }

    /** m_j over the length of row j of the sum; null but for DoRA. */
    float[] rowRatios(Exec exec) {
        return magnitude == null ? null : magnitude.ratios(exec);
    }

    /**
     * The gradient of x Wᵀ and of the low-rank product, which {@link #backward} takes, from that of
     * the layer's output; for DoRA adds to the gradient of the row lengths.
     */
    MemorySegment gradientOfSum(MemorySegment dy, long tokens, Exec exec) {
        return magnitude == null ? dy : magnitude.backward(dy, tokens, exec);
    }

    /** Bytes that forward and backward of so many tokens take. */
    long activationBytes(long tokens, Exec exec) {
        return tokens * (rank * (long) Float.BYTES + 3 * Double.BYTES)
                + ((long) rank * rank + (isHyperbolic() ? 4 : 0)) * Double.BYTES
                + (magnitude == null ? 0 : magnitude.activationBytes(tokens))
                + shape.workspaceBytes(exec, tokens);
    }

    /** HypLoRA's gain of a token of the last forward pass. */
    double gain(long token) {
        return at(gain, token);
    }

    /** |x| of a token of HypLoRA's last forward pass. */
    double inputNorm(long token) {
        return at(norm, token);
    }

    /** |BAx| of a token of HypLoRA's last forward pass. */
    double imageNorm(long token) {
        return at(image, token);
    }

    private static double at(MemorySegment doubles, long i) {
        return Buffers.host(Buffers.part(doubles, i * Double.BYTES, Double.BYTES), Double.BYTES)
                .get(ValueLayout.JAVA_DOUBLE, 0);
    }

    /** Adds to the gradients of A, B, K, s and, unless dx is NULL, of x. */
    void backward(MemorySegment x, MemorySegment dy, long tokens, MemorySegment dx, Exec exec) {
        workspace = Buffers.atLeast(workspace, shape.workspaceBytes(exec, tokens), exec);
        if (isHyperbolic()) {
            Buffers.zero(curveGrads, 2 * Double.BYTES);
        }
        LowRankAdapter.backward(
                exec,
                shape,
                tokens,
                x,
                in,
                a.value(),
                b.value(),
                gram,
                number(curve, 0),
                number(curve, 1),
                dy,
                out,
                p,
                norm,
                image,
                dx.address() == 0 ? null : dx,
                in,
                a.grad(),
                b.grad(),
                number(curveGrads, 0),
                number(curveGrads, 1),
                workspace);
        if (isHyperbolic()) {
            Layers.exp_backward(curveGrads, curve, parameters.grads(logK, 2), 2, exec);
        }
    }

    private static MemorySegment number(MemorySegment doubles, int i) {
        return doubles == null
                ? null
                : Buffers.part(doubles, (long) i * Double.BYTES, Double.BYTES);
    }
}
