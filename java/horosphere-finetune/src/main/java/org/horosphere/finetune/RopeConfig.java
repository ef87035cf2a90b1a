package org.horosphere.finetune;

import java.util.Locale;

/**
 * Rotary position embedding: pair (i, i + headDim/2) of a head turns by position times {@code
 * inv_freq[i]}.
 *
 * @param type how the frequencies are scaled
 * @param headDim size of a head, even
 * @param theta the base, greater than 0
 * @param factor stretch of the context, 1 for {@link Type#DEFAULT}
 * @param lowFreqFactor llama3 only: wavelengths above {@code originalMaxPositionEmbeddings /
 *     lowFreqFactor} are stretched by {@code factor}
 * @param highFreqFactor llama3 only: wavelengths below {@code originalMaxPositionEmbeddings /
 *     highFreqFactor} stay; those between are blended
 * @param originalMaxPositionEmbeddings llama3 only: the context before stretching
 */
public record RopeConfig(
        Type type,
        int headDim,
        double theta,
        double factor,
        double lowFreqFactor,
        double highFreqFactor,
        int originalMaxPositionEmbeddings) {
    /** Scaling rules, by transformers' names in lower case. */
    public enum Type {
        DEFAULT,
        /** All frequencies divided by the factor. */
        LINEAR,
        /** Low frequencies divided by the factor, high ones kept, a blend between (Llama 3.1). */
        LLAMA3;

        String spelling() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    public RopeConfig {
        if (headDim <= 0 || headDim % 2 != 0) {
            throw new IllegalArgumentException(
                    "headDim is " + headDim + ", expected an even positive number");
        }
        if (!(theta > 0)) {
            throw new IllegalArgumentException("theta is " + theta + ", expected more than 0");
        }
        if (!(factor > 0)) {
            throw new IllegalArgumentException("factor is " + factor + ", expected more than 0");
        }
        if (type == Type.LLAMA3
                && !(lowFreqFactor > 0
                        && highFreqFactor > lowFreqFactor
                        && originalMaxPositionEmbeddings > 0)) {
            throw new IllegalArgumentException(
                    ("llama3 scaling has low_freq_factor %s, high_freq_factor %s,"
                                    + " original_max_position_embeddings %d, expected 0 < low < high"
                                    + " and a positive length")
                            .formatted(
                                    lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings));
        }
    }

    /** No scaling. */
    public static RopeConfig of(int headDim, double theta) {
        return new RopeConfig(Type.DEFAULT, headDim, theta, 1, 1, 1, 0);
    }

    /**
     * The headDim/2 angular frequencies in radians per position, {@code theta^(-2i/headDim)} before
     * scaling. Each step is rounded to float32 as in transformers, so that long contexts see the
     * same angles.
     */
    public float[] inv_freq() {
        float[] frequencies = new float[headDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            float power = (float) Math.pow(theta, (float) (2 * i) / headDim);
            frequencies[i] = scale(1f / power);
        }
        return frequencies;
    }

    private float scale(float frequency) {
        if (type == Type.DEFAULT) {
            return frequency;
        }
        float stretched = frequency / (float) factor;
        if (type == Type.LINEAR) {
            return stretched;
        }
        float wavelength = (float) (2 * Math.PI) / frequency;
        float length = originalMaxPositionEmbeddings;
        if (wavelength > (float) (length / lowFreqFactor)) {
            return stretched;
        }
        if (wavelength < (float) (length / highFreqFactor)) {
            return frequency;
        }
        float blend =
                (length / wavelength - (float) lowFreqFactor)
                        / (float) (highFreqFactor - lowFreqFactor);
        return (1 - blend) * frequency / (float) factor + blend * frequency;
    }
}
