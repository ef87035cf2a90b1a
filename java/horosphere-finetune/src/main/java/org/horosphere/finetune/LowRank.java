package org.horosphere.finetune;

/**
 * The low-rank matrices of one adapted linear layer: {@code y = W x + scaling * g * B A x}, where g
 * is 1, or HypLoRA's gain if {@code K} and {@code s} are set; with {@code magnitude} the rows of
 * {@code W + scaling B A} are rescaled to those lengths (DoRA). The arrays are not copied.
 *
 * @param r rank
 * @param in inputs of the layer
 * @param out outputs of the layer
 * @param a A, (r, in) row-major
 * @param b B, (out, r) row-major
 * @param K curvature radius parameter (curvature -1/K), greater than 0; NaN for plain LoRA
 * @param s divisor of the input in HypLoRA's exponential map, greater than 0; NaN for plain LoRA
 * @param magnitude (out) row lengths of DoRA; null for the others
 */
public record LowRank(
        int r, int in, int out, float[] a, float[] b, float K, float s, float[] magnitude) {
    /**
     * @throws IllegalArgumentException if a size, K or s is out of range
     */
    public LowRank {
        if (r <= 0 || in <= 0 || out <= 0) {
            throw new IllegalArgumentException(
                    "r, in, out are %d, %d, %d, expected positive integers".formatted(r, in, out));
        }
        if (a.length != (long) r * in) {
            throw new IllegalArgumentException(
                    "a has %d elements, expected r * in = %d".formatted(a.length, (long) r * in));
        }
        if (b.length != (long) out * r) {
            throw new IllegalArgumentException(
                    "b has %d elements, expected out * r = %d".formatted(b.length, (long) out * r));
        }
        if (Float.isNaN(K) != Float.isNaN(s)) {
            throw new IllegalArgumentException(
                    "K is %s and s is %s, expected both or neither to be NaN".formatted(K, s));
        }
        if (!Float.isNaN(K) && !(K > 0 && s > 0 && Float.isFinite(K) && Float.isFinite(s))) {
            throw new IllegalArgumentException(
                    "K is %s and s is %s, expected finite numbers greater than 0".formatted(K, s));
        }
        if (magnitude != null && magnitude.length != out) {
            throw new IllegalArgumentException(
                    "magnitude has %d elements, expected out = %d"
                            .formatted(magnitude.length, out));
        }
        if (magnitude != null && !Float.isNaN(K)) {
            throw new IllegalArgumentException("magnitude: DoRA has no K and s");
        }
    }

    /** Plain LoRA. */
    public LowRank(int r, int in, int out, float[] a, float[] b) {
        this(r, in, out, a, b, Float.NaN, Float.NaN, null);
    }

    /** HypLoRA. */
    public LowRank(int r, int in, int out, float[] a, float[] b, float K, float s) {
        this(r, in, out, a, b, K, s, null);
    }

    /** Whether K and s are set. */
    public boolean hyperbolic() {
        return !Float.isNaN(K);
    }
}
