package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;
import java.util.function.Supplier;

/** Continues token sequences with a model, up to a stop token. Deterministic for given options. */
final class Decoding {
    private final Llama model;
    private final int vocab;
    private final IntPredicate stop;
    private final Supplier<RuntimeException> notFinite;

    /**
     * @param stop which tokens end a text
     * @param notFinite what is thrown when a logit is NaN or infinite
     */
    Decoding(Llama model, IntPredicate stop, Supplier<RuntimeException> notFinite) {
        this.model = model;
        this.notFinite = notFinite;
        this.vocab = model.config().vocabSize();
        this.stop = stop;
    }

    /** The tokens after a prompt of at least one, without the stop token. */
    int[] generate(int[] prompt, GenerateOptions options) {
        int context = model.config().maxPositionEmbeddings();
        if (prompt.length >= context) {
            throw new IllegalArgumentException(
                    "prompt: "
                            + prompt.length
                            + " tokens, the model's context is "
                            + context
                            + ", with room for one more");
        }
        int most = Math.min(options.maxNewTokens(), context - prompt.length);
        if (most == 0) {
            return new int[0];
        }
        Llama.Cache cache = model.cache(prompt.length + most);
        return options.beams() > 1
                ? beamSearch(prompt, cache, most, options)
                : oneByOne(prompt, cache, most, options);
    }

    private int[] oneByOne(int[] prompt, Llama.Cache cache, int most, GenerateOptions options) {
        SplittableRandom random = new SplittableRandom(options.seed());
        int[] produced = new int[most];
        int[] next = prompt;
        for (int count = 0; count < most; count++) {
            MemorySegment logits = model.extend(cache, next);
            int token =
                    options.temperature() == 0
                            ? CausalLm.argmax(logits, vocab)
                            : sample(Buffers.toArray(logits, vocab), options, random);
            if (token < 0) {
                throw notFinite.get();
            }
            if (stop.test(token)) {
                return Arrays.copyOf(produced, count);
            }
            produced[count] = token;
            next = new int[] {token};
        }
        return produced;
    }

    /**
     * A token drawn from softmax(logits / temperature), cut by top k, then by top p; -1 if a logit
     * is NaN or the largest one infinite.
     */
    static int sample(float[] logits, GenerateOptions options, SplittableRandom random) {
        int[] order = byLogit(logits);
        int count = options.topK() == 0 ? order.length : Math.min(options.topK(), order.length);
        double[] weights = new double[count];
        double total = 0;
        for (int i = 0; i < count; i++) {
            double below = (double) logits[order[i]] - logits[order[0]];
            weights[i] = Math.exp(below / options.temperature());
            total += weights[i];
        }
        if (!Double.isFinite(total)) {
            return -1;
        }
        if (options.topP() < 1) {
            double kept = 0;
            int i = 0;
            while (i < count && kept < options.topP() * total) {
                kept += weights[i++];
            }
            count = i;
            total = kept;
        }
        double left = random.nextDouble() * total;
        for (int i = 0; i < count; i++) {
            left -= weights[i];
            if (left < 0) {
                return order[i];
            }
        }
        return order[0]; // rounding left a rest; any kept token is right, the likeliest safest
    }

    /** Tokens from the largest logit down, the smaller id first among equals; NaN comes first. */
    private static int[] byLogit(float[] logits) {
        long[] keys = new long[logits.length];
        for (int i = 0; i < keys.length; i++) {
            int bits = Float.floatToIntBits(logits[i] + 0f);
            int ordered = bits ^ bits >> 31 & Integer.MAX_VALUE;
            keys[i] = ~((long) ordered << 32) & 0xFFFFFFFF00000000L | i;
        }
        Arrays.sort(keys);
        return Arrays.stream(keys).mapToInt(key -> (int) key).toArray();
    }

    /** A sequence and the sum of its log probabilities. */
    private record Hypothesis(int[] tokens, double sum, Llama.Cache cache) {
        int last() {
            return tokens[tokens.length - 1];
        }

        double score(double lengthPenalty) {
            return sum / Math.pow(tokens.length, lengthPenalty);
        }
    }

    private int[] beamSearch(int[] prompt, Llama.Cache first, int most, GenerateOptions options) {
        double penalty = options.lengthPenalty();
        Deque<Llama.Cache> free = new ArrayDeque<>();
        List<Hypothesis> live = List.of(new Hypothesis(new int[0], 0, first));
        Hypothesis best = null;
        for (int length = 1; length <= most; length++) {
            List<Hypothesis> grown = new ArrayList<>();
            for (Hypothesis h : live) {
                int[] next = length == 1 ? prompt : new int[] {h.last()};
                grown.addAll(extensions(h, next, options.beams()));
            }
            grown.sort(Comparator.comparingDouble(Hypothesis::sum).reversed());
            List<Hypothesis> kept = new ArrayList<>();
            for (Hypothesis h : grown) {
                boolean stopped = stop.test(h.last());
                if (stopped || length == most) {
                    best = better(best, h, penalty);
                } else if (kept.size() < options.beams()) {
                    kept.add(h);
                }
            }
            // a sum only falls: with most tokens a hypothesis cannot score more than this
            double bar = best == null ? Double.NEGATIVE_INFINITY : best.score(penalty);
            kept.removeIf(h -> h.sum() / Math.pow(most, penalty) <= bar);
            if (kept.isEmpty()) {
                break;
            }
            live = withCaches(kept, live, free, first.limit());
        }
        int[] tokens = best.tokens();
        return stop.test(best.last()) ? Arrays.copyOf(tokens, tokens.length - 1) : tokens;
    }

    private static Hypothesis better(Hypothesis a, Hypothesis b, double penalty) {
        return a == null || b.score(penalty) > a.score(penalty) ? b : a;
    }

    /** The likeliest continuations: with as many that do not stop as there are beams. */
    private List<Hypothesis> extensions(Hypothesis parent, int[] next, int beams) {
        float[] logits = Buffers.toArray(model.extend(parent.cache(), next), vocab);
        int[] order = byLogit(logits);
        double total = 0;
        for (float x : logits) {
            total += Math.exp((double) x - logits[order[0]]);
        }
        if (!Double.isFinite(total)) {
            throw notFinite.get();
        }
        List<Hypothesis> grown = new ArrayList<>();
        int going = 0;
        for (int i = 0; i < order.length && going < beams; i++) {
            double logProbability = (double) logits[order[i]] - logits[order[0]] - Math.log(total);
            int[] tokens = Arrays.copyOf(parent.tokens(), parent.tokens().length + 1);
            tokens[tokens.length - 1] = order[i];
            grown.add(new Hypothesis(tokens, parent.sum() + logProbability, parent.cache()));
            going += stop.test(order[i]) ? 0 : 1;
        }
        return grown;
    }

    /** Gives every kept hypothesis a cache of its own: the first child takes its parent's. */
    private List<Hypothesis> withCaches(
            List<Hypothesis> kept, List<Hypothesis> parents, Deque<Llama.Cache> free, int limit) {
        List<Llama.Cache> taken = new ArrayList<>();
        List<Hypothesis> forks = new ArrayList<>();
        List<Hypothesis> next = new ArrayList<>();
        for (Hypothesis h : kept) {
            if (taken.contains(h.cache())) {
                forks.add(h);
            } else {
                taken.add(h.cache());
                next.add(h);
            }
        }
        for (Hypothesis parent : parents) {
            if (!taken.contains(parent.cache())) {
                free.push(parent.cache());
            }
        }
        for (Hypothesis h : forks) {
            Llama.Cache copy = free.isEmpty() ? model.cache(limit) : free.pop();
            copy.copyFrom(h.cache());
            next.add(new Hypothesis(h.tokens(), h.sum(), copy));
        }
        return next;
    }
}
