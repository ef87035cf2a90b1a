package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DecodingTest {
    private static final int VOCAB = 7;
    private static final int STOP = 2;
    private static final int[] PROMPT = {1, 5, 3};

    private static Llama model;

    @BeforeAll
    static void randomModel() {
        OneDnn.ensureLoaded();
        ModelConfig config =
                new ModelConfig(
                        ModelConfig.Family.LLAMA,
                        VOCAB,
                        12,
                        20,
                        2,
                        4,
                        2,
                        6,
                        16,
                        1e-5,
                        false,
                        RopeConfig.of(6, 10000),
                        0.02,
                        DType.F32,
                        OptionalInt.of(1),
                        List.of(STOP),
                        OptionalInt.empty());
        Random random = new Random(9);
        model =
                new Llama(
                        config,
                        (name, shape) -> {
                            long size = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
                            Tensor tensor = Tensor.frozen(name, Buffers.floats(size), shape);
                            for (long i = 0; i < size; i++) {
                                float x = (float) (0.5 * random.nextGaussian());
                                tensor.value().setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
                            }
                            return tensor;
                        },
                        Exec.CPU);
    }

    private static Decoding decoding(IntPredicate stop) {
        return new Decoding(model, stop, () -> new IllegalStateException("not finite"));
    }

    private static int[] generate(GenerateOptions options) {
        return decoding(token -> token == STOP).generate(PROMPT, options);
    }

    /** log softmax of the logits after some tokens, from a whole forward pass. */
    private static double[] logProbabilities(int[] tokens) {
        model.forward(1, tokens.length, tokens);
        float[] logits = model.allLogits();
        double total = 0;
        for (int i = 0; i < VOCAB; i++) {
            total += Math.exp(logits[(tokens.length - 1) * VOCAB + i]);
        }
        double[] result = new double[VOCAB];
        for (int i = 0; i < VOCAB; i++) {
            result[i] = logits[(tokens.length - 1) * VOCAB + i] - Math.log(total);
        }
        return result;
    }

    private static int[] append(int[] tokens, int token) {
        int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
        longer[tokens.length] = token;
        return longer;
    }

    /** The best of all sequences of at most {@code most} tokens. */
    private static final class BruteForce {
        final double penalty;
        final int most;
        double best = Double.NEGATIVE_INFINITY;
        int[] tokens;

        BruteForce(double penalty, int most) {
            this.penalty = penalty;
            this.most = most;
            search(new int[0], 0);
        }

        private void search(int[] produced, double sum) {
            int[] all = Arrays.copyOf(PROMPT, PROMPT.length + produced.length);
            System.arraycopy(produced, 0, all, PROMPT.length, produced.length);
            double[] logProbabilities = logProbabilities(all);
            for (int token = 0; token < VOCAB; token++) {
                int[] longer = append(produced, token);
                double grown = sum + logProbabilities[token];
                double score = grown / Math.pow(longer.length, penalty);
                boolean whole = token == STOP || longer.length == most;
                if (whole && score > best) {
                    best = score;
                    tokens = token == STOP ? produced : longer;
                }
                if (!whole) {
                    search(longer, grown);
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"0,1", "0,4", "0.5,4", "1,2", "1,3", "1,4", "2,4"})
    void enoughBeamsFindTheBestOfAllSequences(double penalty, int most) {
        GenerateOptions options = new GenerateOptions(most, 0, 0, 1, 0, 216, penalty);
        assertArrayEquals(new BruteForce(penalty, most).tokens, generate(options));
    }

    @Test
    void penaltiesMatterInThisModel() {
        assertTrue(new BruteForce(0, 4).tokens.length < new BruteForce(2, 4).tokens.length);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 5})
    void fewBeamsFindNoWorseThanGreedyInThisModel(int beams) {
        for (int most = 1; most <= 8; most++) {
            GenerateOptions options = new GenerateOptions(most, 0, 0, 1, 0, beams, 0);
            double beam = score(generate(options), most);
            double greedy = score(generate(GenerateOptions.greedy(most)), most);
            assertTrue(beam >= greedy - 1e-5, most + " tokens: " + beam + " < " + greedy);
        }
    }

    /** The sum of log probabilities of tokens, and of the stop token if it ended them. */
    private static double score(int[] produced, int most) {
        int[] ended = produced.length < most ? append(produced, STOP) : produced;
        int[] all = PROMPT;
        double sum = 0;
        for (int token : ended) {
            sum += logProbabilities(all)[token];
            all = append(all, token);
        }
        return sum;
    }

    @Test
    void generationEndsWithThePositions() {
        Decoding endless = decoding(token -> false);
        for (GenerateOptions options :
                List.of(
                        GenerateOptions.greedy(Integer.MAX_VALUE),
                        GenerateOptions.sampling(100, 1, 0, 1, 1),
                        GenerateOptions.beamSearch(100, 3))) {
            assertEquals(13, endless.generate(PROMPT, options).length);
        }
        assertEquals(0, endless.generate(PROMPT, GenerateOptions.beamSearch(0, 3)).length);
        assertThrows(
                IllegalArgumentException.class,
                () -> endless.generate(new int[16], GenerateOptions.greedy(1)));
    }

    @Test
    void theSameSeedGivesTheSameTokens() {
        Set<String> different = new HashSet<>();
        for (long seed = 0; seed < 20; seed++) {
            GenerateOptions options = GenerateOptions.sampling(8, 1.5, 5, 0.9, seed);
            int[] tokens = generate(options);
            assertArrayEquals(tokens, generate(options));
            different.add(Arrays.toString(tokens));
        }
        assertTrue(different.size() > 10, different.toString());
    }

    @Test
    void theLikeliestTokenAloneIsGreedy() {
        int[] greedy = generate(GenerateOptions.greedy(8));
        assertArrayEquals(greedy, generate(GenerateOptions.sampling(8, 1, 1, 1, 3)));
        assertArrayEquals(greedy, generate(GenerateOptions.sampling(8, 1, 0, 1e-9, 3)));
        assertArrayEquals(greedy, generate(GenerateOptions.sampling(8, 1e-4, 0, 1, 3)));
    }

    private static double[] frequencies(float[] logits, GenerateOptions options, int draws) {
        SplittableRandom random = new SplittableRandom(4);
        double[] frequencies = new double[logits.length];
        for (int i = 0; i < draws; i++) {
            frequencies[Decoding.sample(logits, options, random)] += 1.0 / draws;
        }
        return frequencies;
    }

    @Test
    void samplesFollowTheDistribution() {
        // probabilities 0.1, 0.4, 0, 0.2, 0.3
        float[] logits = new float[5];
        double[] p = {0.1, 0.4, 0, 0.2, 0.3};
        for (int i = 0; i < 5; i++) {
            logits[i] = (float) (Math.log(p[i]) + 3);
        }
        int draws = 40000;
        double tolerance = 0.012; // 5 standard deviations of the largest
        assertArrayEquals(
                p, frequencies(logits, GenerateOptions.sampling(1, 1, 0, 1, 0), draws), tolerance);
        double[] squared = {1 / 30.0, 16 / 30.0, 0, 4 / 30.0, 9 / 30.0};
        assertArrayEquals(
                squared,
                frequencies(logits, GenerateOptions.sampling(1, 0.5, 0, 1, 0), draws),
                tolerance);
        double[] two = {0, 4 / 7.0, 0, 0, 3 / 7.0};
        assertArrayEquals(
                two,
                frequencies(logits, GenerateOptions.sampling(1, 1, 2, 1, 0), draws),
                tolerance);
        // 0.4 + 0.3 reaches 0.65, 0.4 does not
        assertArrayEquals(
                two,
                frequencies(logits, GenerateOptions.sampling(1, 1, 0, 0.65, 0), draws),
                tolerance);
        // of the three that top k leaves, 0.9 in all, the first two reach 0.75 * 0.9
        assertArrayEquals(
                two,
                frequencies(logits, GenerateOptions.sampling(1, 1, 3, 0.75, 0), draws),
                tolerance);
    }

    /** The least number of tokens whose probabilities reach p, and no more. */
    @ParameterizedTest
    @CsvSource({"0.39, 1", "0.41, 2", "0.69, 2", "0.71, 3", "0.89, 3", "0.91, 4"})
    void topPKeepsAsManyTokensAsReachIt(double topP, int kept) {
        float[] logits = new float[5]; // 0.4, 0.3, 0.2, 0.1, 0
        for (int i = 0; i < 5; i++) {
            logits[i] = (float) Math.log(0.4 - 0.1 * i);
        }
        logits[4] = Float.NEGATIVE_INFINITY;
        double[] drawn = frequencies(logits, GenerateOptions.sampling(1, 1, 0, topP, 0), 1000);
        assertEquals(kept, Arrays.stream(drawn).filter(f -> f > 0).count());
    }

    @Test
    void equalAndNegativeLogitsAreOrderedByIdAndSize() {
        GenerateOptions first = GenerateOptions.sampling(1, 1, 1, 1, 0);
        SplittableRandom random = new SplittableRandom(1);
        assertEquals(1, Decoding.sample(new float[] {-3, -1, -1, -2}, first, random));
        assertEquals(0, Decoding.sample(new float[] {-0f, 0f, -1}, first, random));
        assertEquals(2, Decoding.sample(new float[] {-5, -1e-30f, 1e-30f}, first, random));
        assertEquals(-1, Decoding.sample(new float[] {1, Float.NaN, 2}, first, random));
    }

    @Test
    void contradictionsAreRefused() {
        for (Runnable wrong :
                List.<Runnable>of(
                        () -> GenerateOptions.greedy(-1),
                        () -> GenerateOptions.sampling(1, -1, 0, 1, 0),
                        () -> GenerateOptions.sampling(1, Double.NaN, 0, 1, 0),
                        () -> GenerateOptions.sampling(1, 0, 5, 1, 0),
                        () -> GenerateOptions.sampling(1, 1, -1, 1, 0),
                        () -> GenerateOptions.sampling(1, 1, 0, 0, 0),
                        () -> GenerateOptions.sampling(1, 1, 0, 1.1, 0),
                        () -> GenerateOptions.beamSearch(1, 0),
                        () -> new GenerateOptions(1, 1, 0, 1, 0, 2, 1))) {
            assertThrows(IllegalArgumentException.class, wrong::run);
        }
    }
}
