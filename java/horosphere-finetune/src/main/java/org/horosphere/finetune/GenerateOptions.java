package org.horosphere.finetune;

/**
 * How to choose the tokens of a continuation: greedily, by sampling, or by beam search.
 *
 * @param maxNewTokens stop after this many, 0 or more
 * @param temperature logits are divided by it before sampling; 0 for no sampling
 * @param topK sample among this many likeliest tokens only; 0 for all
 * @param topP sample among the likeliest tokens whose probabilities first reach this sum, after
 *     topK; 1 for all
 * @param seed of sampling: the same seed gives the same tokens
 * @param beams hypotheses of beam search; 1 for none
 * @param lengthPenalty beam search maximises the sum of the tokens' log probabilities divided by
 *     their number to this power, the stop token included
 */
public record GenerateOptions(
        int maxNewTokens,
        double temperature,
        int topK,
        double topP,
        long seed,
        int beams,
        double lengthPenalty) {

    public GenerateOptions {
        if (maxNewTokens < 0) {
            throw new IllegalArgumentException(
                    "max-new-tokens: " + maxNewTokens + ", expected 0 or more");
        }
        if (!(temperature >= 0) || Double.isInfinite(temperature)) {
            throw new IllegalArgumentException(
                    "temperature: " + temperature + ", expected 0 or more");
        }
        if (topK < 0) {
            throw new IllegalArgumentException("top-k: " + topK + ", expected 0 or more");
        }
        if (!(topP > 0 && topP <= 1)) {
            throw new IllegalArgumentException("top-p: " + topP + ", expected 0 < p <= 1");
        }
        if (beams < 1 || beams > 1024) {
            throw new IllegalArgumentException("beams: " + beams + ", expected 1 to 1024");
        }
        if (!Double.isFinite(lengthPenalty) || lengthPenalty < 0) {
            throw new IllegalArgumentException(
                    "length-penalty: " + lengthPenalty + ", expected 0 or more");
        }
        if (temperature == 0 && (topK != 0 || topP != 1)) {
            throw new IllegalArgumentException(
                    "top-k and top-p: are for sampling, expected a temperature above 0");
        }
        if (temperature > 0 && beams > 1) {
            throw new IllegalArgumentException("beams: beam search does not sample");
        }
    }

    /** The likeliest token each time. */
    public static GenerateOptions greedy(int maxNewTokens) {
        return new GenerateOptions(maxNewTokens, 0, 0, 1, 0, 1, 1);
    }

    /** A random token each time. */
    public static GenerateOptions sampling(
            int maxNewTokens, double temperature, int topK, double topP, long seed) {
        return new GenerateOptions(maxNewTokens, temperature, topK, topP, seed, 1, 1);
    }

    /** The likeliest of a number of hypotheses, by mean log probability of their tokens. */
    public static GenerateOptions beamSearch(int maxNewTokens, int beams) {
        return new GenerateOptions(maxNewTokens, 0, 0, 1, 0, beams, 1);
    }
}
