package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;

/**
 * A linear layer y = x Wᵀ + b, W (out, in), with an optional bias and an optional trainable
 * low-rank branch.
 */
final class Linear {
    private final String path;
    private final Tensor weight;
    private final Tensor bias;
    private final int in;
    private final int out;
    private LowRankBranch branch;
    private ForwardObserver observer;

    /**
     * @param path the module path as PEFT names it, e.g. {@code model.layers.0.self_attn.q_proj}
     * @param bias (out), or null for none
     */
    Linear(String path, Tensor weight, Tensor bias) {
        this.path = path;
        this.weight = weight;
        this.bias = bias;
        this.out = Math.toIntExact(weight.shape()[0]);
        this.in = Math.toIntExact(weight.shape()[1]);
    }

    String path() {
        return path;
    }

    Tensor weight() {
        return weight;
    }

    /** Null for none. */
    Tensor bias() {
        return bias;
    }

    int in() {
        return in;
    }

    int out() {
        return out;
    }

    LowRankBranch branch() {
        return branch;
    }

    void attach(LowRankBranch newBranch) {
        branch = newBranch;
    }

    /** Whether {@link #backward} reads x. */
    boolean readsInput() {
        return branch != null || weight.isTrainable();
    }

    /** Null for nobody. */
    void observe(ForwardObserver newObserver) {
        observer = newObserver;
    }

    /**
     * y (tokens, out) = x (tokens, in) Wᵀ + b + branch(x).
     *
     * @param operand x as {@link WeightProducts#operand} makes it
     */
    void forward(
            MemorySegment x,
            MemorySegment operand,
            long tokens,
            MemorySegment y,
            WeightProducts products,
            Exec exec) {
        if (observer != null) {
            MemorySegment seen = Buffers.host(x, tokens * in * Float.BYTES);
            observer.linearInput(path, seen, tokens, in);
        }
        products.forward(weight, tokens, operand, y);
        if (branch != null) {
            branch.forward(x, tokens, y, exec);
        }
        if (bias != null) {
            Layers.bias_add(bias.value(), tokens, out, y, exec);
        }
    }

    /**
     * Gradients of x, W, b and the branch.
     *
     * @param x {@link MemorySegment#NULL} unless {@link #readsInput}
     * @param dx dx = beta dx + dy W + ...; {@link MemorySegment#NULL} if nobody needs it
     * @param beta 0 overwrites dx, 1 adds to it
     */
    void backward(
            MemorySegment x,
            MemorySegment dy,
            long tokens,
            MemorySegment dx,
            float beta,
            WeightProducts products,
            Exec exec) {
        if (bias != null && bias.isTrainable()) {
            Layers.bias_grad(dy, tokens, out, bias.grad(), exec);
        }
        MemorySegment dsum = branch == null ? dy : branch.gradientOfSum(dy, tokens, exec);
        if (dx.address() != 0) {
            MemorySegment operand = products.operand(weight, dsum, tokens * out);
            products.backward(weight, tokens, operand, beta, dx);
        }
        if (weight.isTrainable()) {
            Gemm.sgemm(
                    true, false, out, in, tokens, 1, dsum, out, x, in, 1, weight.grad(), in, exec);
        }
        if (branch != null) {
            branch.backward(x, dsum, tokens, dx, exec);
        }
    }
}
