package org.horosphere.finetune;

import java.util.Set;

/**
 * What to train on top of a frozen model.
 *
 * @param kind LoRA, HypLoRA, mixing coefficients, or both
 * @param rank r of the low-rank branches, 1 to 1024
 * @param alpha the branches' output is scaled by alpha/rank
 * @param targets module names that get a branch, matched against the end of the module path
 * @param curvatureRadius initial K of HypLoRA, curvature -1/K of the space the normalised input is
 *     mapped to
 * @param rankStabilized scale by alpha/sqrt(rank) instead of alpha/rank (rsLoRA, arXiv 2312.03732)
 * @param coeffDropout probability with which a mixing coefficient is left out of a training step, 0
 *     to below 1
 */
public record AdapterOptions(
        AdapterKind kind,
        int rank,
        double alpha,
        Set<String> targets,
        double curvatureRadius,
        boolean rankStabilized,
        double coeffDropout) {

    /** The linear layers adapted unless others are named: the papers' choice. */
    public static final Set<String> DEFAULT_TARGETS =
            Set.of("q_proj", "k_proj", "v_proj", "up_proj", "down_proj");

    /** The same choice in a vision transformer. */
    public static final Set<String> DEFAULT_IMAGE_TARGETS =
            Set.of("q_proj", "k_proj", "v_proj", "fc1", "fc2");

    public AdapterOptions {
        if (rank < 1 || rank > 1024) {
            throw new IllegalArgumentException("rank: " + rank + ", expected 1 to 1024");
        }
        if (!(alpha > 0) || Double.isInfinite(alpha)) {
            throw new IllegalArgumentException("alpha: " + alpha + ", expected a positive number");
        }
        if (!(curvatureRadius > 0) || Double.isInfinite(curvatureRadius)) {
            throw new IllegalArgumentException(
                    "curvature radius K: " + curvatureRadius + ", expected a positive number");
        }
        if (!(coeffDropout >= 0 && coeffDropout < 1)) {
            throw new IllegalArgumentException(
                    "coefficient dropout: " + coeffDropout + ", expected 0 <= p < 1");
        }
        targets = Set.copyOf(targets);
    }

    /** Scaled by alpha/rank. */
    public AdapterOptions(
            AdapterKind kind,
            int rank,
            double alpha,
            Set<String> targets,
            double curvatureRadius,
            double coeffDropout) {
        this(kind, rank, alpha, targets, curvatureRadius, false, coeffDropout);
    }

    /** Rank 8, alpha 16, the default targets, K = 1, coefficient dropout 0.1. */
    public static AdapterOptions of(AdapterKind kind) {
        return new AdapterOptions(kind, 8, 16, DEFAULT_TARGETS, 1, 0.1);
    }

    /** The same with another alpha. */
    public AdapterOptions withAlpha(double newAlpha) {
        return new AdapterOptions(
                kind, rank, newAlpha, targets, curvatureRadius, rankStabilized, coeffDropout);
    }

    /** The same of another kind. */
    public AdapterOptions withKind(AdapterKind newKind) {
        return new AdapterOptions(
                newKind, rank, alpha, targets, curvatureRadius, rankStabilized, coeffDropout);
    }
}
