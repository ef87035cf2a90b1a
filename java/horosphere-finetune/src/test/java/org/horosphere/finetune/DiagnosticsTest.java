package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Norms and merge errors per module against sums over everything that was read. */
class DiagnosticsTest {
    private static final Set<String> TARGETS = Set.of("q_proj", "down_proj");

    @TempDir Path dir;

    private CausalLm open() throws IOException {
        Path tokenizer = dir.resolve("tokenizer");
        DefaultData.write(tokenizer);
        ModelConfig config = ModelConfig.small(512, 64, 2, 0, 1);
        List<TensorData> weights = new Pretraining(config, 3, Exec.CPU).weights();
        Random random = new Random(5);
        for (TensorData weight : weights) {
            // norms that differ from 1, so that |x| varies
            for (long i = 0; i < weight.elements() && weight.shape().length == 1; i++) {
                float x = (float) (1 + 0.7 * random.nextGaussian());
                weight.data().setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, x);
            }
        }
        Path directory = dir.resolve("model");
        ModelWriter.write(directory, config, weights, DType.F32, tokenizer);
        return CausalLm.open(directory, Exec.CPU);
    }

    /** Sequences of different lengths, which batches would pad. */
    private static List<Dataset.Example> sequences(int vocabulary) {
        Random random = new Random(3);
        List<Dataset.Example> examples = new ArrayList<>();
        for (int length : new int[] {9, 31, 2, 17}) {
            int[] tokens = random.ints(length + 1, 3, vocabulary).toArray();
            examples.add(new Dataset.Example(tokens, tokens));
        }
        return examples;
    }

    private static Adapter attach(CausalLm lm, AdapterKind kind, double scale) {
        Adapter adapter = lm.attach(new AdapterOptions(kind, 4, 8, TARGETS, 0.5, 0), 1);
        Random random = new Random(7);
        adapter.branches()
                .values()
                .forEach(
                        branch -> {
                            float[] a = new float[branch.rank() * branch.in()];
                            float[] b = new float[branch.out() * branch.rank()];
                            for (int i = 0; i < a.length; i++) {
                                a[i] = (float) (random.nextGaussian() / Math.sqrt(branch.in()));
                            }
                            for (int i = 0; i < b.length; i++) {
                                b[i] = (float) (scale * random.nextGaussian());
                            }
                            branch.set(a, b, 0.8, 0.7 * Math.sqrt(branch.in()), null);
                        });
        return adapter;
    }

    /** Every input of every adapted layer, by module: a row per token. */
    private static Map<String, List<double[]>> inputs(
            CausalLm lm, List<Dataset.Example> examples, boolean first) {
        Map<String, List<double[]>> inputs = new TreeMap<>();
        for (Dataset.Example example : examples) {
            int[] read = Batches.pad(List.of(example)).tokens();
            lm.forward(
                    read,
                    new ForwardObserver() {
                        @Override
                        public void hidden(
                                int block, MemorySegment states, long tokens, int width) {
                            assertEquals(read.length, tokens);
                        }

                        @Override
                        public void linearInput(
                                String path, MemorySegment x, long tokens, int width) {
                            for (long t = first ? 0 : 1; t < tokens; t++) {
                                double[] row = new double[width];
                                for (int i = 0; i < width; i++) {
                                    row[i] = x.getAtIndex(ValueLayout.JAVA_FLOAT, t * width + i);
                                }
                                inputs.computeIfAbsent(path, p -> new ArrayList<>()).add(row);
                            }
                        }
                    });
        }
        return inputs;
    }

    private static double norm(double[] x) {
        double sum = 0;
        for (double v : x) {
            sum += v * v;
        }
        return Math.sqrt(sum);
    }

    private static double[] multiply(float[] matrix, int rows, double[] x) {
        double[] y = new double[rows];
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < x.length; j++) {
                y[i] += matrix[i * x.length + j] * x[j];
            }
        }
        return y;
    }

    @ParameterizedTest
    @CsvSource({"0.02, 10", "0.3, 10", "3, 20"})
    void isWhatBruteForceFinds(double scale, double slack) throws IOException {
        try (CausalLm lm = open()) {
            List<Dataset.Example> examples = sequences(lm.tokenizer().vocabSize());
            Adapter adapter = attach(lm, AdapterKind.HYPLORA, scale);
            Map<String, List<double[]>> all = inputs(lm, examples, true);
            Map<String, List<double[]>> rest = inputs(lm, examples, false);
            List<Diagnostics.Module> modules = lm.diagnose(examples);
            assertEquals(2 * lm.blocks(), modules.size());
            for (Diagnostics.Module module : modules) {
                String path = module.norms().module();
                double[] norms =
                        rest.get(path).stream().mapToDouble(DiagnosticsTest::norm).toArray();
                double mean = java.util.Arrays.stream(norms).average().orElseThrow();
                double variance =
                        java.util.Arrays.stream(norms)
                                .map(n -> (n - mean) * (n - mean))
                                .average()
                                .orElseThrow();
                assertEquals(norms.length, module.norms().tokens());
                assertEquals(mean, module.norms().mean(), 1e-12 * mean);
                assertEquals(variance, module.norms().variance(), 1e-10 * mean * mean);
                gain(adapter.branches().get(path).toFile(), all.get(path), slack, module.gain());
            }
        }
    }

    /**
     * The branch as exponential map, matrices and logarithm, and as one matrix.
     *
     * @param slack of the bound; its upper end σ is far from the gain where |BAx| is large
     */
    private static void gain(LowRank m, List<double[]> inputs, double slack, Merger.Gain found) {
        double q = Math.sqrt(m.K());
        double[] images = new double[inputs.size()];
        double[] outputs = new double[inputs.size()];
        double mean = 0;
        for (int i = 0; i < images.length; i++) {
            double n = norm(inputs.get(i));
            images[i] = norm(multiply(m.b(), m.out(), multiply(m.a(), m.r(), inputs.get(i))));
            double point = q * Math.sinh(n / (m.s() * q)) * images[i] / n;
            double x = point / q;
            outputs[i] = q * Math.log(x + Math.hypot(1, x));
            mean += outputs[i] / images[i] / images.length;
        }
        assertEquals(mean, found.meanGain(), 1e-6 * mean);
        double error = 0;
        for (int i = 0; i < images.length; i++) {
            double merged = mean * images[i];
            error = Math.max(error, Math.abs(outputs[i] - merged) / merged);
        }
        assertEquals(error, found.measured(), 1e-5);
        assertTrue(error <= found.bound() * (1 + 1e-9), error + " within " + found.bound());
        assertTrue(found.bound() < slack * error, found.bound() + " says something of " + error);
    }

    @Test
    void withoutHyploraThereIsNoGain() throws IOException {
        try (CausalLm lm = open()) {
            List<Dataset.Example> examples = sequences(lm.tokenizer().vocabSize());
            List<Diagnostics.Module> base = lm.diagnose(examples);
            assertEquals(7 * lm.blocks(), base.size(), "all linear layers");
            lm.attach(AdapterOptions.of(AdapterKind.COEFF), 1);
            assertEquals(base, lm.diagnose(examples), "nothing is adapted but attention");
            lm.detach();
            attach(lm, AdapterKind.LORA, 0);
            List<Diagnostics.Module> lora = lm.diagnose(examples);
            assertEquals(2 * lm.blocks(), lora.size());
            for (Diagnostics.Module module : lora) {
                assertNull(module.gain());
                assertTrue(base.contains(module), "B = 0 is the base model");
            }
            lm.detach();
            lm.attach(AdapterOptions.of(AdapterKind.HYPLORA), 1);
            lm.diagnose(examples).forEach(module -> assertNotNull(module.gain()));
        }
    }
}
