package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A merged model computes what the adapter does, or there is none. */
class MergerTest {
    private static final int[] TOKENS = {1, 5, 9, 3, 3, 16, 2, 1, 7, 7, 12, 4};
    private static final int HEADS = 4;

    @TempDir Path temporary;

    @BeforeAll
    static void gemm() {
        OneDnn.ensureLoaded();
    }

    private Path model(ModelConfig.Family family, int kvHeads) {
        ModelConfig config =
                new ModelConfig(
                        family,
                        17,
                        12,
                        20,
                        2,
                        HEADS,
                        kvHeads,
                        6,
                        32,
                        1e-5,
                        true,
                        RopeConfig.of(6, 10000),
                        0.02,
                        DType.F32,
                        OptionalInt.of(1),
                        List.of(2),
                        OptionalInt.empty());
        List<TensorData> weights = new Pretraining(config, 3, Exec.CPU).weights();
        Random random = new Random(5);
        for (TensorData weight : weights) {
            // larger than pre-training starts with, so that every part matters
            for (long i = 0; i < weight.elements(); i++) {
                float x = (float) (0.4 * random.nextGaussian());
                weight.data().setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, x);
            }
        }
        Path directory = temporary.resolve("model");
        ModelWriter.write(directory, config, weights, DType.F32, null);
        return directory;
    }

    /** Which of the mixing coefficients are not zero. */
    private interface Mix {
        boolean isSet(int output, int source);
    }

    private Path adapter(Path model, AdapterKind kind, Mix mix) {
        Llama base = Llama.load(model, Exec.CPU);
        AdapterOptions options =
                new AdapterOptions(
                        kind, 3, 6, Set.of("q_proj", "v_proj", "o_proj", "down_proj"), 0.7, 0);
        Adapter adapter = Adapter.create(base, options, 3);
        Random random = new Random(11);
        for (Tensor tensor : adapter.parameters().tensors()) {
            boolean mixes = tensor.name().endsWith("coeff_alpha");
            for (int i = 0; i < tensor.size(); i++) {
                float x = (float) (0.1 + 0.3 * random.nextGaussian());
                boolean set = !mixes || mix.isSet(i / HEADS, i % HEADS);
                tensor.value().setAtIndex(ValueLayout.JAVA_FLOAT, i, set ? x : 0);
            }
        }
        Path directory = temporary.resolve("adapter");
        adapter.save(directory, "model");
        return directory;
    }

    private static float[] logits(Path model, Path adapter) {
        Llama llama = Llama.load(model, Exec.CPU);
        if (adapter != null) {
            Adapter.load(llama, adapter);
        }
        llama.forward(2, 6, TOKENS);
        return llama.allLogits();
    }

    private static double distance(float[] expected, float[] got) {
        double worst = 0;
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            worst = Math.max(worst, Math.abs(expected[i] - got[i]));
            largest = Math.max(largest, Math.abs(expected[i]));
        }
        return worst / largest;
    }

    private void mergesExactly(Path model, Path adapter) {
        Path output = temporary.resolve("merged");
        Merger.merge(model, adapter, output, DType.F32, Exec.CPU);
        float[] expected = logits(model, adapter);
        double changed = distance(logits(model, null), expected);
        assertTrue(changed > 0.05, "the adapter does something: " + changed);
        assertEquals(0, distance(expected, logits(output, null)), 3e-6);
        assertEquals(ModelConfig.read(model).withDtype(DType.F32), ModelConfig.read(output));
    }

    @ParameterizedTest
    @EnumSource(ModelConfig.Family.class)
    void loraMerges(ModelConfig.Family family) {
        Path model = model(family, 2);
        mergesExactly(model, adapter(model, AdapterKind.LORA, null));
    }

    @ParameterizedTest
    @EnumSource(ModelConfig.Family.class)
    void doraMerges(ModelConfig.Family family) {
        Path model = model(family, 2);
        mergesExactly(model, adapter(model, AdapterKind.DORA, null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2", "llama3", "qwen2", "gemma"})
    void adaptersOfPeftMerge(String name) {
        Path model = SharedTestData.require("golden/hf/" + name);
        mergesExactly(model, model.resolve("adapter_init"));
    }

    @ParameterizedTest
    @CsvSource({"1,COEFF", "1,LORA_COEFF", "2,COEFF", "2,LORA_COEFF", "4,COEFF"})
    void coefficientsBetweenHeadsOfOneGroupMerge(int kvHeads, AdapterKind kind) {
        Path model = model(ModelConfig.Family.LLAMA, kvHeads);
        int group = HEADS / kvHeads;
        mergesExactly(model, adapter(model, kind, (h, i) -> h / group == i / group));
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 4})
    void coefficientsBetweenGroupsDoNot(int kvHeads) {
        Path model = model(ModelConfig.Family.LLAMA, kvHeads);
        Path adapter = adapter(model, AdapterKind.COEFF, (h, i) -> h == 0 && i == 3);
        refused(model, adapter, "head 0");
        refused(model, adapter, "head 3");
        refused(model, adapter, "groups of " + HEADS / kvHeads);
    }

    @ParameterizedTest
    @EnumSource(names = {"HYPLORA", "HYPLORA_COEFF"})
    void hyploraDoesNot(AdapterKind kind) {
        Path model = model(ModelConfig.Family.LLAMA, 2);
        refused(model, adapter(model, kind, (h, i) -> h == i), "gain");
    }

    @Test
    void anotherModelsAdapterDoesNot() {
        Path model = model(ModelConfig.Family.LLAMA, 2);
        Path adapter = adapter(model, AdapterKind.LORA, null);
        refused(model(ModelConfig.Family.LLAMA, 4), adapter, "does not fit");
    }

    private void refused(Path model, Path adapter, String reason) {
        Path output = temporary.resolve("refused");
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () -> Merger.merge(model, adapter, output, DType.F32, Exec.CPU));
        assertTrue(e.getMessage().contains(reason), e.getMessage());
        assertFalse(Files.exists(output));
    }

    @Test
    void bf16IsTheRoundedMerge() {
        Path model = model(ModelConfig.Family.LLAMA, 2);
        Path adapter = adapter(model, AdapterKind.LORA, null);
        Path wide = temporary.resolve("wide");
        Path narrow = temporary.resolve("narrow");
        Merger.merge(model, adapter, wide, DType.F32, Exec.CPU);
        Merger.merge(model, adapter, narrow, DType.BF16, Exec.CPU);
        try (Arena arena = Arena.ofConfined()) {
            Checkpoint f32 = Checkpoint.open(wide, arena);
            Checkpoint bf16 = Checkpoint.open(narrow, arena);
            assertEquals(f32.names(), bf16.names());
            for (String name : f32.names()) {
                float[] exact = f32.tensor(name).toFloatArray();
                float[] rounded = bf16.tensor(name).toFloatArray();
                for (int i = 0; i < exact.length; i++) {
                    int bits = ModelWriter.bf16(exact[i]) << Short.SIZE;
                    assertEquals(Float.intBitsToFloat(bits), rounded[i], name);
                }
            }
        }
    }

    @Test
    void hyploraMergesApproximatelyWithinTheBound() {
        Path model = model(ModelConfig.Family.LLAMA, 2);
        Path adapter = adapter(model, AdapterKind.HYPLORA, null);
        List<Dataset.Example> data =
                List.of(
                        new Dataset.Example(TOKENS, TOKENS),
                        new Dataset.Example(new int[] {1, 4, 4, 8}, new int[] {1, 4, 4, 8}));
        Path output = temporary.resolve("merged");
        Merger.Approximation result =
                Merger.approximate(model, adapter, output, DType.F32, data, Exec.CPU);
        assertEquals(8, result.gains().size());
        for (Merger.Gain gain : result.gains()) {
            assertTrue(gain.measured() > 0 && gain.measured() <= gain.bound(), gain.toString());
        }
        // one token alone has the mean gain: then nothing is lost
        List<Dataset.Example> one =
                List.of(new Dataset.Example(new int[] {1, 5}, new int[] {1, 5}));
        Merger.Approximation exact =
                Merger.approximate(model, adapter, output, DType.F32, one, Exec.CPU);
        assertEquals(exact.adapterLoss(), exact.mergedLoss(), 1e-5);
        for (Merger.Gain gain : exact.gains()) {
            assertEquals(0, gain.measured(), 1e-12);
        }
        assertThrows(
                CheckpointException.class,
                () ->
                        Merger.approximate(
                                model,
                                adapter(model, AdapterKind.LORA, null),
                                output,
                                DType.F32,
                                one,
                                Exec.CPU));
    }
}
