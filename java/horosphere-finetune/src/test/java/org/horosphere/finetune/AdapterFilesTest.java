package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.horosphere.LowRankAdapter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class AdapterFilesTest {
    private static final String Q = "model.layers.0.self_attn.q_proj";
    private static final String DOWN = "model.layers.1.mlp.down_proj";

    @TempDir Path directory;

    private static AdapterConfig config(AdapterConfig.PeftType type) {
        return AdapterConfig.of(type, 2, 16, 0.05, TargetModules.of("q_proj", "down_proj"), "base");
    }

    private static LowRank lowRank(boolean hyperbolic, int in, int out, float seed) {
        float[] a = new float[2 * in];
        float[] b = new float[out * 2];
        for (int i = 0; i < a.length; i++) {
            a[i] = seed + i;
        }
        for (int i = 0; i < b.length; i++) {
            b[i] = -seed * i;
        }
        return hyperbolic ? new LowRank(2, in, out, a, b, 0.5f, 8) : new LowRank(2, in, out, a, b);
    }

    private static AdapterFiles adapter(AdapterConfig.PeftType type, float seed) {
        return new AdapterFiles(
                config(type),
                Map.of(
                        Q, lowRank(type.hyperbolic(), 4, 6, seed),
                        DOWN, lowRank(type.hyperbolic(), 5, 4, seed + 1)),
                type.coeff() ? Map.of(0, new float[] {0, 1, 2, seed}, 1, new float[4]) : Map.of());
    }

    private static void assertSame(AdapterFiles expected, AdapterFiles actual) {
        assertEquals(expected.config(), actual.config());
        assertEquals(expected.lowRank().keySet(), actual.lowRank().keySet());
        expected.lowRank()
                .forEach(
                        (module, m) -> {
                            LowRank other = actual.lowRank().get(module);
                            assertEquals(
                                    List.of(m.r(), m.in(), m.out(), m.K(), m.s()),
                                    List.of(
                                            other.r(),
                                            other.in(),
                                            other.out(),
                                            other.K(),
                                            other.s()));
                            assertArrayEquals(m.a(), other.a());
                            assertArrayEquals(m.b(), other.b());
                            assertArrayEquals(m.magnitude(), other.magnitude());
                        });
        assertEquals(expected.coeffAlpha().keySet(), actual.coeffAlpha().keySet());
        expected.coeffAlpha()
                .forEach((n, alpha) -> assertArrayEquals(alpha, actual.coeffAlpha().get(n)));
    }

    private List<String> list(Path path) throws IOException {
        try (var files = Files.list(path)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    @ParameterizedTest
    @EnumSource(AdapterConfig.PeftType.class)
    void everyKindReadsBack(AdapterConfig.PeftType type) throws IOException {
        Path path = directory.resolve("new/parents/adapter");
        adapter(type, 3).write(path);
        assertSame(adapter(type, 3), AdapterFiles.read(path));
        assertEquals(List.of("adapter_config.json", "adapter_model.safetensors"), list(path));
        assertEquals(List.of("adapter"), list(path.getParent()));
    }

    /** As the authors' code saves them: PEFT's LORA with lora_type, scalars without dimensions. */
    @ParameterizedTest
    @CsvSource({
        "hyplora-1.0, 1.0, HYPLORA_RELEASED, 1.3132627, 64",
        "hyplora-0.5, 0.5, HYPLORA_RELEASED, 0.97407800, 64",
        "hyplora_simplified-0.5, 0.5, HYPLORA_SIMPLIFIED, 0.5, 1"
    })
    void readsAdaptersOfTheReleasedCode(
            String type, float k, LowRankAdapter.Kind kind, float K, float s) throws IOException {
        LowRank plain = lowRank(false, 4, 6, 3);
        new AdapterFiles(config(AdapterConfig.PeftType.LORA), Map.of(Q, plain), Map.of())
                .write(directory);
        Path file = directory.resolve("adapter_config.json");
        ObjectNode json = (ObjectNode) Json.MAPPER.readTree(file.toFile());
        Json.MAPPER.writeValue(file.toFile(), json.put("lora_type", type));
        String prefix = "base_model.model." + Q;
        List<TensorData> tensors =
                new ArrayList<>(
                        List.of(
                                TensorData.of(prefix + ".lora_A.weight", plain.a(), 2, 4),
                                TensorData.of(prefix + ".lora_B.weight", plain.b(), 6, 2),
                                TensorData.of(prefix + ".lora_k", new float[] {k})));
        if (kind == LowRankAdapter.Kind.HYPLORA_RELEASED) {
            tensors.add(TensorData.of(prefix + ".lora_norm_scale", new float[] {64}));
        }
        SafeTensors.write(
                directory.resolve("adapter_model.safetensors"), tensors, Map.of("format", "pt"));
        AdapterFiles read = AdapterFiles.read(directory);
        assertEquals(kind, read.config().gain());
        assertEquals(K, read.lowRank().get(Q).K(), 1e-6);
        assertEquals(s, read.lowRank().get(Q).s());
        assertArrayEquals(plain.b(), read.lowRank().get(Q).b());
        read.write(directory.resolve("again"));
        assertSame(read, AdapterFiles.read(directory.resolve("again")));

        Json.MAPPER.writeValue(file.toFile(), json.put("lora_type", "std"));
        String message =
                assertThrows(CheckpointException.class, () -> AdapterFiles.read(directory))
                        .getMessage();
        assertTrue(message.contains("lora_k"), message);
    }

    @Test
    void doraReadsBack() throws IOException {
        AdapterConfig config = config(AdapterConfig.PeftType.LORA).withVariant(true, true);
        LowRank plain = lowRank(false, 4, 6, 3);
        LowRank dora =
                new LowRank(
                        2,
                        4,
                        6,
                        plain.a(),
                        plain.b(),
                        Float.NaN,
                        Float.NaN,
                        new float[] {1, 2, 3, 4, 5, 6});
        AdapterFiles files = new AdapterFiles(config, Map.of(Q, dora), Map.of());
        files.write(directory.resolve("d"));
        assertSame(files, AdapterFiles.read(directory.resolve("d")));
        String text = Files.readString(directory.resolve("d/adapter_config.json"));
        assertTrue(text.replace(" ", "").contains("\"use_dora\":true"), text);
        assertThrows(
                IllegalArgumentException.class,
                () -> new AdapterFiles(config, Map.of(Q, plain), Map.of()));
        assertThrows(
                IllegalArgumentException.class,
                () -> config(AdapterConfig.PeftType.HYPLORA).withVariant(false, true));
    }

    @Test
    void coeffNeedsNoLowRank() {
        AdapterConfig config =
                AdapterConfig.of(AdapterConfig.PeftType.COEFF, 1, 1, 0, TargetModules.of(), null);
        AdapterFiles adapter = new AdapterFiles(config, Map.of(), Map.of(3, new float[9]));
        adapter.write(directory.resolve("c"));
        assertSame(adapter, AdapterFiles.read(directory.resolve("c")));
    }

    @Test
    void everyOptionReadsBack() {
        Map<String, Integer> ranks = new TreeMap<>(Map.of("q_proj", 4));
        Map<String, Double> alphas = new TreeMap<>(Map.of("layers.1.mlp.down_proj", 0.5));
        AdapterConfig config =
                new AdapterConfig(
                        AdapterConfig.PeftType.HYPLORA,
                        2,
                        1.5,
                        0.25,
                        TargetModules.matching(".*\\.(q|k)_proj"),
                        TargetModules.of("layers.3.self_attn.q_proj"),
                        null,
                        null,
                        true,
                        false,
                        ranks,
                        alphas,
                        false,
                        Map.of("format", 1, "note", List.of("a", 2.5), "on", true));
        config.write(directory);
        AdapterConfig read = AdapterConfig.read(directory);
        assertEquals(config, read);
        assertTrue(read.adapts("model.layers.2.self_attn.q_proj"));
        assertFalse(read.adapts("model.layers.3.self_attn.q_proj"));
        assertFalse(read.adapts("model.layers.2.self_attn.v_proj"));
        assertEquals(4, read.rank("model.layers.0.self_attn.q_proj"));
        assertEquals(2, read.rank("model.layers.0.self_attn.xq_proj"));
        assertEquals(0.75, read.scaling("model.layers.0.self_attn.q_proj"));
        assertEquals(0.5 / Math.sqrt(2), read.scaling("model.layers.1.mlp.down_proj"));
        assertEquals(1.5 / Math.sqrt(2), read.scaling("model.layers.0.mlp.down_proj"));
    }

    @Test
    void targetsMatchByPeftsRule() {
        TargetModules names = TargetModules.of("q_proj", "mlp.up_proj");
        assertTrue(names.matches("q_proj"));
        assertTrue(names.matches("model.layers.0.self_attn.q_proj"));
        assertTrue(names.matches("model.layers.0.mlp.up_proj"));
        assertFalse(names.matches("model.layers.0.self_attn.xq_proj"));
        assertFalse(names.matches("model.layers.0.attn.up_proj"));
        assertFalse(names.matches("model.q_proj.weight"));
        TargetModules regex = TargetModules.matching(".*layers\\.[01]\\..*(q|v)_proj");
        assertTrue(regex.matches("model.layers.1.self_attn.v_proj"));
        assertFalse(regex.matches("model.layers.2.self_attn.v_proj"));
        assertFalse(regex.matches("model.layers.1.self_attn.v_proj.x"));
        assertThrows(IllegalArgumentException.class, () -> TargetModules.matching("("));
    }

    @Test
    void overwritingKeepsForeignFilesAndReplacesOurs() throws IOException {
        Path path = directory.resolve("a");
        adapter(AdapterConfig.PeftType.LORA, 1).write(path);
        Files.writeString(path.resolve("README.md"), "mine");
        Files.createDirectories(path.resolve("logs/x"));
        adapter(AdapterConfig.PeftType.HYPLORA, 2).write(path);
        assertSame(adapter(AdapterConfig.PeftType.HYPLORA, 2), AdapterFiles.read(path));
        assertEquals("mine", Files.readString(path.resolve("README.md")));
        assertTrue(Files.isDirectory(path.resolve("logs/x")));
        assertEquals(List.of("a"), list(directory));
    }

    @Test
    void failedWriteLeavesTheOldAdapter() throws IOException {
        Path path = directory.resolve("a");
        adapter(AdapterConfig.PeftType.LORA, 1).write(path);
        assertThrows(
                CheckpointException.class,
                () ->
                        AtomicFiles.replaceDirectory(
                                path,
                                Set.of(),
                                temporary -> {
                                    Files.writeString(temporary.resolve("half"), "");
                                    throw new IOException("No space left on device");
                                }));
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () ->
                                AtomicFiles.replaceDirectory(
                                        path,
                                        Set.of(),
                                        temporary ->
                                                AtomicFiles.writeString(
                                                        temporary.resolve("no/file"), "")));
        assertEquals(
                path.resolve("no/file") + ": cannot write: no such file or directory",
                e.getMessage());
        assertSame(adapter(AdapterConfig.PeftType.LORA, 1), AdapterFiles.read(path));
        assertEquals(List.of("a"), list(directory));
    }

    @Test
    void unwritableTargetsAreRefused() throws IOException {
        Path plain = Files.writeString(directory.resolve("plain"), "x");
        for (Path path :
                List.of(
                        plain,
                        plain.resolve("a"),
                        Path.of("/proc/horosphere/adapter"),
                        Path.of("/"),
                        Path.of(""))) {
            CheckpointException e =
                    assertThrows(
                            CheckpointException.class,
                            () -> adapter(AdapterConfig.PeftType.LORA, 1).write(path));
            assertTrue(e.getMessage().startsWith(path + ": cannot write: "), e.getMessage());
        }
        assertEquals(List.of("plain"), list(directory));
        assertEquals("x", Files.readString(plain));
    }

    @Test
    void symbolicLinksAreFollowed() throws IOException {
        Path real = Files.createDirectory(directory.resolve("real"));
        Path link = Files.createSymbolicLink(directory.resolve("link"), real);
        adapter(AdapterConfig.PeftType.LORA, 1).write(link);
        assertTrue(Files.isSymbolicLink(link));
        assertSame(adapter(AdapterConfig.PeftType.LORA, 1), AdapterFiles.read(real));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "peft_type | 'IA3' | peft_type is IA3, supported: [LORA",
                "peft_type | null | peft_type is null",
                "bias | 'all' | bias is \"all\"",
                "bias | 'lora_only' | bias is",
                "fan_in_fan_out | true | fan_in_fan_out is true",
                "modules_to_save | ['lm_head'] | modules_to_save is",
                "layers_to_transform | [1] | layers_to_transform is",
                "exclude_modules | ['self_attn.q_proj'] | q_proj is none of target_modules",
                "exclude_modules | '(' | not a regular expression",
                "layer_replication | [[0,4]] | layer_replication is",
                "init_lora_weights | 'pissa' | init_lora_weights is",
                "lora_bias | true | lora_bias is true",
                "trainable_token_indices | [1] | trainable_token_indices is",
                "some_future_option | 3 | some_future_option is 3",
                "r | 0 | r is 0",
                "r | null | r is missing",
                "r | 2.5 | positive integer",
                "r | 3 | has rank 2, adapter_config.json says 3",
                "rank_pattern | {'q_proj':3} | has rank 2, adapter_config.json says 3",
                "rank_pattern | {'(':3} | not a regular expression",
                "rank_pattern | {'q_proj':0} | positive integer",
                "alpha_pattern | {'q_proj':'x'} | expected a number",
                "alpha_pattern | [1] | expected an object",
                "lora_alpha | '16' | expected a number",
                "lora_dropout | 1 | lora_dropout is 1.0",
                "target_modules | null | target_modules is missing",
                "target_modules | [] | target_modules is empty",
                "target_modules | [7] | array of strings",
                "target_modules | {'a':1} | array of strings",
                "target_modules | '(' | not a regular expression",
                "target_modules | 'all-linear' | all-linear",
                "target_modules | ['q_proj'] | down_proj is none of target_modules [q_proj]",
                "task_type | 7 | expected a string",
                "use_rslora | 'x' | true or false",
                "horosphere | {'a':1} | no extensions",
                "horosphere | 7 | expected an object",
            })
    void unsupportedOptionsAreRefused(String key, String value, String expected)
            throws IOException {
        adapter(AdapterConfig.PeftType.LORA, 1).write(directory);
        Path file = directory.resolve("adapter_config.json");
        ObjectNode json = (ObjectNode) Json.MAPPER.readTree(Files.readString(file));
        json.set(key, Json.MAPPER.readTree(value.replace('\'', '"')));
        Files.writeString(file, json.toString());
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> AdapterFiles.read(directory));
        assertTrue(e.getMessage().contains(expected), e.getMessage());
    }

    private String refusal(AdapterConfig.PeftType type, TensorData... tensors) {
        config(type).write(directory);
        SafeTensors.write(
                directory.resolve("adapter_model.safetensors"), List.of(tensors), Map.of());
        return assertThrows(CheckpointException.class, () -> AdapterFiles.read(directory))
                .getMessage();
    }

    private static TensorData tensor(String name, long... shape) {
        float[] data = new float[(int) (TensorData.byteSize(TensorType.F32, shape) / 4)];
        java.util.Arrays.fill(data, 1);
        return TensorData.of("base_model.model." + name, data, shape);
    }

    @Test
    void tensorsThatDoNotFitAreRefused() {
        TensorData a = tensor(Q + ".lora_A.weight", 2, 4);
        TensorData b = tensor(Q + ".lora_B.weight", 6, 2);
        TensorData k = tensor(Q + ".hyplora_K", 1);
        TensorData s = tensor(Q + ".hyplora_s", 1);
        TensorData alpha = tensor("model.layers.0.self_attn.coeff_alpha", 2, 2);
        var lora = AdapterConfig.PeftType.LORA;
        var hyplora = AdapterConfig.PeftType.HYPLORA;
        var coeff = AdapterConfig.PeftType.COEFF;
        List<List<String>> cases = new ArrayList<>();
        cases.add(List.of(refusal(lora), "no module"));
        cases.add(List.of(refusal(lora, a), "no tensor base_model.model." + Q + ".lora_B"));
        cases.add(List.of(refusal(lora, b), "no tensor base_model.model." + Q + ".lora_A"));
        cases.add(
                List.of(
                        refusal(lora, a, tensor(Q + ".lora_B.weight", 6, 3)),
                        "shape [2, 4] and lora_B [6, 3]"));
        cases.add(List.of(refusal(lora, tensor(Q + ".lora_A.weight", 8), b), "two dimensions"));
        cases.add(List.of(refusal(lora, tensor(Q + ".lora_A.weight", 2, 0), b), "positive"));
        cases.add(List.of(refusal(lora, a, b, tensor(Q + ".lora_A.bias", 2)), "unknown tensor"));
        cases.add(
                List.of(
                        refusal(lora, a, b, tensor("lm_head.lora_A.default.weight", 2, 4)),
                        "unknown tensor"));
        cases.add(List.of(refusal(lora, a, b, k, s), "peft_type is LORA"));
        cases.add(List.of(refusal(lora, a, b, alpha), "peft_type is LORA, but 1 layers"));
        cases.add(List.of(refusal(hyplora, a, b), "no hyplora_K"));
        cases.add(List.of(refusal(hyplora, a, b, k), "K is 1.0 and s is NaN"));
        cases.add(List.of(refusal(hyplora, k, s), "no tensor"));
        cases.add(List.of(refusal(hyplora, a, b, s, tensor(Q + ".hyplora_K", 2)), "expected [1]"));
        for (float bad : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
            TensorData badK =
                    TensorData.of("base_model.model." + Q + ".hyplora_K", new float[] {bad}, 1);
            cases.add(List.of(refusal(hyplora, a, b, badK, s), "greater than 0"));
        }
        cases.add(List.of(refusal(coeff, a, b), "but 0 layers have coeff_alpha"));
        cases.add(
                List.of(
                        refusal(coeff, tensor("model.layers.0.self_attn.coeff_alpha", 2, 3)),
                        "expected (H, H)"));
        cases.add(
                List.of(
                        refusal(coeff, alpha, tensor("model.layers.1.self_attn.coeff_alpha", 3, 3)),
                        "the same in every layer"));
        cases.add(
                List.of(
                        refusal(coeff, tensor("model.layers.00.self_attn.coeff_alpha", 2, 2)),
                        "unknown tensor"));
        for (List<String> c : cases) {
            assertTrue(c.get(0).contains(c.get(1)), c.toString());
        }
    }

    @Test
    void missingFilesAreRefused() throws IOException {
        assertThrows(CheckpointException.class, () -> AdapterFiles.read(directory));
        assertThrows(CheckpointException.class, () -> AdapterFiles.read(directory.resolve("no")));
        config(AdapterConfig.PeftType.LORA).write(directory);
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> AdapterFiles.read(directory));
        assertTrue(e.getMessage().contains("adapter_model.safetensors"), e.getMessage());
    }

    @Test
    void goldenAdaptersRoundTripByteForByte() throws IOException {
        for (String name :
                List.of(
                        "llama3/adapter_init",
                        "llama3/adapter_final",
                        "llama2/adapter_init",
                        "qwen2/adapter_final",
                        "gemma/adapter_init",
                        "vit/adapter_init_v4names")) {
            Path golden = SharedTestData.require("golden/hf/" + name);
            AdapterFiles adapter = AdapterFiles.read(golden);
            assertEquals(8, adapter.config().r());
            assertEquals(2.0, adapter.config().scaling("any"));
            Path copy = directory.resolve(name);
            adapter.write(copy);
            String file = "adapter_model.safetensors";
            assertEquals(-1, Files.mismatch(golden.resolve(file), copy.resolve(file)), name);
            assertSame(adapter, AdapterFiles.read(copy));
        }
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () ->
                                AdapterFiles.read(
                                        SharedTestData.require("golden/hf/gpt2/adapter_init")));
        assertTrue(e.getMessage().contains("fan_in_fan_out"), e.getMessage());
    }
}
