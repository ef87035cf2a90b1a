package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The composed model against {@link ReferenceLlama}: values, and gradients by differences of the
 * reference.
 */
class LlamaTest {
    private static final int[] TOKENS = {1, 5, 9, 3, 3, 16, 2, 1, 7, 7, 12, 4};
    private static final int[] TARGETS = {5, 9, 3, -100, 16, 2, 7, 7, 12, 4, -100, -100};
    private static final int LENGTH = 6;
    private static final String MAGNITUDE = ".lora_magnitude_vector";

    @BeforeAll
    static void gemm() {
        OneDnn.ensureLoaded();
    }

    /** A model of random weights, of a size that makes every part matter. */
    private static final class Case {
        final ModelConfig config;
        final Map<String, double[]> weights = new HashMap<>();
        final Map<String, long[]> shapes = new HashMap<>();
        final Parameters trainable;
        final Llama model;
        final Random random = new Random(7);

        Case(ModelConfig.Family family, boolean tied, boolean trainBase) {
            config = TinyLlama.config(family, tied);
            trainable = trainBase ? new Parameters() : null;
            Map<String, Tensor> tensors = new HashMap<>();
            model =
                    new Llama(
                            config,
                            (name, shape) -> {
                                Tensor tensor =
                                        trainBase
                                                ? trainable.add(name, shape)
                                                : Tensor.frozen(
                                                        name, Buffers.floats(size(shape)), shape);
                                tensors.put(name, tensor);
                                shapes.put(name, shape);
                                return tensor;
                            },
                            Exec.CPU);
            if (trainBase) {
                trainable.allocate(Exec.CPU);
            }
            new TreeMap<>(tensors)
                    .forEach(
                            (name, tensor) -> {
                                boolean norm = Llama.isNorm(name);
                                double[] values =
                                        randomise(tensor.value(), tensor.size(), norm ? 1 : 0, 0.4);
                                if (norm) {
                                    Arrays.setAll(values, i -> values[i] - family.normOffset());
                                }
                                weights.put(name, values);
                            });
        }

        double[] randomise(MemorySegment to, long size, double mean, double deviation) {
            double[] values = new double[Math.toIntExact(size)];
            for (int i = 0; i < values.length; i++) {
                float x = (float) (mean + deviation * random.nextGaussian());
                to.setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
                values[i] = x;
            }
            return values;
        }

        double referenceLoss(
                Map<String, ReferenceLlama.Branch> branches, Map<Integer, double[]> alphas) {
            ReferenceLlama reference = new ReferenceLlama(config, weights, branches, alphas);
            double sum = 0;
            for (int from = 0; from < TOKENS.length; from += LENGTH) {
                sum +=
                        reference.loss(
                                Arrays.copyOfRange(TOKENS, from, from + LENGTH),
                                Arrays.copyOfRange(TARGETS, from, from + LENGTH));
            }
            return sum;
        }

        double loss(float gradientScale) {
            model.forward(TOKENS.length / LENGTH, LENGTH, TOKENS);
            return model.loss(TARGETS, gradientScale);
        }
    }

    private static long size(long... shape) {
        long size = 1;
        for (long extent : shape) {
            size *= extent;
        }
        return size;
    }

    @ParameterizedTest
    @CsvSource({"LLAMA,true", "LLAMA,false", "QWEN2,true", "QWEN2,false", "GEMMA,true"})
    void lossAndBaseGradientsMatchTheReference(ModelConfig.Family family, boolean tied) {
        Case c = new Case(family, tied, true);
        c.trainable.clearGradients();
        double loss = c.loss(1);
        assertEquals(c.referenceLoss(Map.of(), Map.of()), loss, 2e-5 * loss);
        c.model.backward();
        for (Tensor tensor : c.trainable.tensors()) {
            double[] values = c.weights.get(tensor.name());
            compareGradients(tensor, values, () -> c.referenceLoss(Map.of(), Map.of()), c.random);
        }
    }

    @ParameterizedTest
    @EnumSource(ModelConfig.Family.class)
    void checkpointsAreReadAsTheReferenceReadsThem(
            ModelConfig.Family family, @TempDir Path directory) {
        Case c = new Case(family, true, false);
        write(c, directory, DType.F32);
        Llama loaded = Llama.load(directory, Exec.CPU);
        assertEquals(family, loaded.config().family());
        loaded.forward(TOKENS.length / LENGTH, LENGTH, TOKENS);
        double loss = loaded.loss(TARGETS, Float.NaN);
        assertEquals(c.referenceLoss(Map.of(), Map.of()), loss, 2e-5 * loss);
    }

    /** Writes the model of a case with its weights stored as a type. */
    private static void write(Case c, Path directory, DType type) {
        List<TensorData> stored = new ArrayList<>();
        new TreeMap<>(c.weights)
                .forEach(
                        (name, values) -> {
                            float[] narrow = new float[values.length];
                            for (int i = 0; i < narrow.length; i++) {
                                narrow[i] = (float) values[i];
                            }
                            stored.add(TensorData.of(name, narrow, c.shapes.get(name)));
                        });
        ModelWriter.write(directory, c.config, stored, type, null);
    }

    @ParameterizedTest
    @EnumSource(ModelConfig.Family.class)
    void bfloat16WeightsGiveTheModelToTheRoundingOfActivations(
            ModelConfig.Family family, @TempDir Path directory) {
        Case c = new Case(family, false, false);
        write(c, directory.resolve("f32"), DType.F32);
        write(c, directory.resolve("bf16"), DType.BF16);
        Llama widened = Llama.load(directory.resolve("bf16"), Exec.CPU);
        Llama mapped = Llama.load(directory.resolve("bf16"), Exec.CPU, DType.BF16);
        Llama rounded = Llama.load(directory.resolve("f32"), Exec.CPU, DType.BF16);
        assertTrue(mapped.embeddings().value().isMapped(), "no copy of a bfloat16 checkpoint");
        List<List<float[]>> gradients = new ArrayList<>();
        List<Double> losses = new ArrayList<>();
        for (Llama model : List.of(widened, mapped, rounded)) {
            Adapter adapter = Adapter.create(model, AdapterOptions.of(AdapterKind.LORA), 3);
            adapter.parameters().clearGradients();
            adapter.beginStep(0);
            model.forward(TOKENS.length / LENGTH, LENGTH, TOKENS);
            losses.add(model.loss(TARGETS, 1));
            model.backward();
            adapter.endStep();
            java.util.stream.Stream<float[]> parts =
                    adapter.parameters().tensors().stream()
                            .map(tensor -> Buffers.toArray(tensor.grad(), tensor.size()));
            gradients.add(parts.toList());
        }
        // norms and biases are float32 in one file and bfloat16 in the other
        assertEquals(losses.get(1), losses.get(2), 1e-2 * losses.get(1));
        double loss = losses.get(0);
        assertEquals(loss, losses.get(1), 1e-2 * loss);
        assertTrue(loss != losses.get(1), "the arithmetic is bfloat16");
        double difference = 0;
        double size = 0;
        for (int t = 0; t < gradients.get(0).size(); t++) {
            float[] want = gradients.get(0).get(t);
            float[] got = gradients.get(1).get(t);
            for (int i = 0; i < want.length; i++) {
                difference += Math.pow(got[i] - want[i], 2);
                size += Math.pow(want[i], 2);
            }
        }
        assertTrue(difference < 4e-4 * size, Math.sqrt(difference / size) + " of the gradient");
    }

    @Test
    void pretrainedWeightsAreStoredAsTheFamilyStoresThem() {
        for (ModelConfig.Family family : ModelConfig.Family.values()) {
            for (TensorData tensor :
                    new Pretraining(TinyLlama.config(family, true), 1, Exec.CPU).weights()) {
                float first = tensor.toFloatArray()[0];
                if (Llama.isNorm(tensor.name())) {
                    assertEquals(1 - family.normOffset(), first, tensor.name());
                } else if (tensor.name().endsWith(".bias")) {
                    assertEquals(0, first, tensor.name());
                } else {
                    assertTrue(first != 0 && Math.abs(first) < 0.2, tensor.name());
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void adapterGradientsMatchTheReference(AdapterKind kind) {
        adapterGradientsMatchTheReference(ModelConfig.Family.LLAMA, kind);
    }

    @ParameterizedTest
    @EnumSource(names = {"QWEN2", "GEMMA"})
    void adapterGradientsOfOtherFamiliesMatchTheReference(ModelConfig.Family family) {
        adapterGradientsMatchTheReference(family, AdapterKind.HYPLORA_COEFF);
        adapterGradientsMatchTheReference(family, AdapterKind.DORA);
    }

    private static void adapterGradientsMatchTheReference(
            ModelConfig.Family family, AdapterKind kind) {
        Case c = new Case(family, false, false);
        AdapterOptions options =
                new AdapterOptions(
                        kind,
                        3,
                        6,
                        java.util.Set.of("q_proj", "v_proj", "o_proj", "down_proj"),
                        0.7,
                        0);
        Adapter adapter = Adapter.create(c.model, options, 3);
        Map<String, double[]> values = new TreeMap<>();
        for (Tensor tensor : adapter.parameters().tensors()) {
            values.put(tensor.name(), c.randomise(tensor.value(), tensor.size(), 0.1, 0.3));
        }
        adapter.parameters().clearGradients();
        adapter.beginStep(0);
        double loss = c.loss(1);
        c.model.backward();
        adapter.endStep();
        Map<String, double[]> rowLengths = new HashMap<>();
        if (kind.isDora()) {
            values.keySet().stream()
                    .filter(name -> name.endsWith(MAGNITUDE))
                    .map(name -> name.substring(0, name.length() - MAGNITUDE.length()))
                    .forEach(path -> rowLengths.put(path, rowLengths(c, values, path)));
        }
        assertEquals(referenceLoss(c, values, rowLengths, kind), loss, 2e-5 * loss);
        for (Tensor tensor : adapter.parameters().tensors()) {
            compareGradients(
                    tensor,
                    values.get(tensor.name()),
                    () -> referenceLoss(c, values, rowLengths, kind),
                    c.random);
        }
    }

    /** The length of each row of W + 2 B A, rank 3. */
    private static double[] rowLengths(Case c, Map<String, double[]> values, String path) {
        double[] w = c.weights.get(path + ".weight");
        double[] a = values.get(path + ".lora_A.weight");
        double[] b = values.get(path + ".lora_B.weight");
        int in = a.length / 3;
        double[] lengths = new double[w.length / in];
        for (int j = 0; j < lengths.length; j++) {
            double sum = 0;
            for (int i = 0; i < in; i++) {
                double x = w[j * in + i];
                for (int r = 0; r < 3; r++) {
                    x += 2 * b[j * 3 + r] * a[r * in + i];
                }
                sum += x * x;
            }
            lengths[j] = Math.sqrt(sum);
        }
        return lengths;
    }

    private static double referenceLoss(
            Case c,
            Map<String, double[]> values,
            Map<String, double[]> rowLengths,
            AdapterKind kind) {
        Map<String, ReferenceLlama.Branch> branches = new HashMap<>();
        Map<Integer, double[]> alphas = new HashMap<>();
        values.forEach(
                (name, value) -> {
                    if (name.endsWith(".lora_A.weight")) {
                        String path = name.substring(0, name.length() - ".lora_A.weight".length());
                        int in = value.length / 3;
                        boolean hyperbolic = kind.isHyperbolic();
                        branches.put(
                                path,
                                new ReferenceLlama.Branch(
                                        value,
                                        values.get(path + ".lora_B.weight"),
                                        3,
                                        hyperbolic ? 2 * Math.sqrt(in) : 2,
                                        hyperbolic
                                                ? Math.exp(values.get(path + ".hyplora_K")[0])
                                                : Double.POSITIVE_INFINITY,
                                        hyperbolic
                                                ? Math.exp(values.get(path + ".hyplora_s")[0])
                                                : 1,
                                        kind.isDora()
                                                ? new double[][] {
                                                    values.get(path + MAGNITUDE),
                                                    rowLengths.get(path)
                                                }
                                                : null));
                    }
                    if (name.endsWith(".coeff_alpha")) {
                        alphas.put(Integer.parseInt(name.split("\\.")[2]), value);
                    }
                });
        return c.referenceLoss(branches, alphas);
    }

    private static void compareGradients(
            Tensor tensor, double[] values, java.util.function.DoubleSupplier loss, Random random) {
        double scale = 0;
        for (int i = 0; i < values.length; i++) {
            scale = Math.max(scale, Math.abs(tensor.grad().getAtIndex(ValueLayout.JAVA_FLOAT, i)));
        }
        for (int trial = 0; trial < Math.min(12, values.length); trial++) {
            int i = values.length <= 12 ? trial : random.nextInt(values.length);
            double saved = values[i];
            double h = 1e-5;
            values[i] = saved + h;
            double up = loss.getAsDouble();
            values[i] = saved - h;
            double down = loss.getAsDouble();
            values[i] = saved;
            double got = tensor.grad().getAtIndex(ValueLayout.JAVA_FLOAT, i);
            assertEquals(
                    (up - down) / (2 * h),
                    got,
                    3e-5 * Math.max(scale, 0.1),
                    tensor.name() + "[" + i + "]");
        }
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void freshAdaptersChangeNothingBitForBit(AdapterKind kind) {
        Case c = new Case(ModelConfig.Family.LLAMA, true, false);
        c.loss(Float.NaN);
        float[] base = c.model.allLogits();
        Adapter.create(c.model, AdapterOptions.of(kind), 1);
        c.loss(Float.NaN);
        assertArrayEquals(base, c.model.allLogits());
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void checkpointingGivesTheSameBits(AdapterKind kind) {
        List<float[]> results = new ArrayList<>();
        for (boolean checkpointing : new boolean[] {false, true}) {
            Case c = new Case(ModelConfig.Family.QWEN2, true, false);
            Adapter adapter = Adapter.create(c.model, AdapterOptions.of(kind), 1);
            for (Tensor tensor : adapter.parameters().tensors()) {
                c.randomise(tensor.value(), tensor.size(), 0.1, 0.3);
            }
            c.model.setCheckpointing(checkpointing);
            adapter.parameters().clearGradients();
            adapter.beginStep(3);
            float loss = (float) c.loss(1);
            c.model.backward();
            adapter.endStep();
            results.add(new float[] {loss});
            for (Tensor tensor : adapter.parameters().tensors()) {
                results.add(Buffers.toArray(tensor.grad(), tensor.size()));
            }
        }
        int half = results.size() / 2;
        for (int i = 0; i < half; i++) {
            assertArrayEquals(results.get(i), results.get(half + i));
        }
    }

    @ParameterizedTest
    @EnumSource(ModelConfig.Family.class)
    void cachedDecodingEqualsTheWholeForwardPass(ModelConfig.Family family) {
        Case c = new Case(family, true, false);
        Adapter adapter = Adapter.create(c.model, AdapterOptions.of(AdapterKind.HYPLORA_COEFF), 1);
        for (Tensor tensor : adapter.parameters().tensors()) {
            c.randomise(tensor.value(), tensor.size(), 0.1, 0.3);
        }
        int[] tokens = Arrays.copyOf(TOKENS, LENGTH);
        c.model.forward(1, LENGTH, tokens);
        float[] whole = c.model.allLogits();
        Llama.Cache cache = c.model.cache(LENGTH);
        c.model.extend(cache, Arrays.copyOf(tokens, 3));
        for (int t = 3; t < LENGTH; t++) {
            float[] row = Buffers.toArray(c.model.extend(cache, new int[] {tokens[t]}), 17);
            for (int i = 0; i < 17; i++) {
                assertEquals(whole[t * 17 + i], row[i], 1e-4, "position " + t);
            }
        }
        assertEquals(LENGTH, cache.used());
        assertTrue(cache.used() == cache.limit());
    }
}
