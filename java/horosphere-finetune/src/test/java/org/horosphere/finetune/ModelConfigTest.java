package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.horosphere.DType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelConfigTest {
    private static final String V5 =
            """
            {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1,
             "dtype": "bfloat16", "eos_token_id": [2, 3], "head_dim": 8, "hidden_act": "silu",
             "hidden_size": 64, "intermediate_size": 176, "max_position_embeddings": 2048,
             "mlp_bias": false, "model_type": "llama", "num_attention_heads": 8,
             "num_hidden_layers": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
             "rope_parameters": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
              "original_max_position_embeddings": 256, "rope_theta": 500000.0,
              "rope_type": "llama3"},
             "tie_word_embeddings": true, "vocab_size": 512}
            """;
    private static final String V4 =
            """
            {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": [2, 3],
             "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 176,
             "max_position_embeddings": 2048, "model_type": "llama", "num_attention_heads": 8,
             "num_hidden_layers": 4, "num_key_value_heads": 2, "pad_token_id": -1,
             "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
             "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
              "original_max_position_embeddings": 256, "rope_type": "llama3"},
             "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 512}
            """;

    @TempDir Path directory;

    private ModelConfig read(String json) {
        try {
            return ModelConfig.read(Files.writeString(directory.resolve("config.json"), json));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private ModelConfig with(String key, String value) {
        try {
            ObjectNode json = (ObjectNode) Json.MAPPER.readTree(V4);
            json.set(key, Json.MAPPER.readTree(value));
            return read(json.toString());
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void bothSpellingsAgree() {
        ModelConfig config = read(V5);
        assertEquals(config, read(V4));
        assertEquals(
                new ModelConfig(
                        ModelConfig.Family.LLAMA,
                        512,
                        64,
                        176,
                        4,
                        8,
                        2,
                        8,
                        2048,
                        1e-5,
                        true,
                        new RopeConfig(RopeConfig.Type.LLAMA3, 8, 500000, 8, 1, 4, 256),
                        0.02,
                        DType.BF16,
                        OptionalInt.of(1),
                        List.of(2, 3),
                        OptionalInt.empty()),
                config);
    }

    @Test
    void familiesHaveTheirOwnDefaultsAndSpellings() {
        ModelConfig qwen =
                read(
                        """
                        {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
                         "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 176,
                         "num_attention_heads": 4, "num_hidden_layers": 1, "vocab_size": 10,
                         "sliding_window": 32768, "max_window_layers": 28,
                         "use_sliding_window": false, "tie_word_embeddings": true}
                        """);
        assertEquals(ModelConfig.Family.QWEN2, qwen.family());
        assertEquals(16, qwen.headDim());
        assertEquals(32768, qwen.maxPositionEmbeddings());
        assertTrue(qwen.family().qkvBias());
        String gemmaJson =
                """
                {"architectures": ["GemmaForCausalLM"], "model_type": "gemma",
                 "hidden_act": "gelu", "hidden_size": 64, "intermediate_size": 176,
                 "num_attention_heads": 3, "num_key_value_heads": 1, "num_hidden_layers": 1,
                 "vocab_size": 10}
                """;
        ModelConfig gemma = read(gemmaJson);
        assertEquals(ModelConfig.Family.GEMMA, gemma.family());
        assertEquals(256, gemma.headDim());
        assertEquals(8192, gemma.maxPositionEmbeddings());
        assertTrue(gemma.tieWordEmbeddings());
        assertEquals(gemma, read(gemmaJson.replace("gelu", "gelu_pytorch_tanh")));
        assertThrows(CheckpointException.class, () -> read(gemmaJson.replace("gelu", "silu")));
        for (ModelConfig config : List.of(qwen, gemma)) {
            config.write(directory);
            assertEquals(config, ModelConfig.read(directory));
        }
    }

    @Test
    void absentOptionsHaveTheReferencesDefaults() {
        ModelConfig config =
                read(
                        """
                        {"model_type": "llama", "hidden_size": 64, "intermediate_size": 176,
                         "num_attention_heads": 4, "num_hidden_layers": 1, "vocab_size": 10}
                        """);
        assertEquals(4, config.kvHeads());
        assertEquals(16, config.headDim());
        assertEquals(1e-6, config.rmsNormEps());
        assertEquals(RopeConfig.of(16, 10000), config.rope());
        assertEquals(List.of(), config.eosTokenIds());
        assertEquals(DType.F32, config.dtype());
    }

    @Test
    void ropeVariantsAreRead() {
        assertEquals(
                new RopeConfig(RopeConfig.Type.LINEAR, 8, 500000, 2, 1, 1, 0),
                with("rope_scaling", "{\"type\": \"linear\", \"factor\": 2}").rope());
        assertEquals(RopeConfig.of(8, 500000), with("rope_scaling", "null").rope());
        assertEquals(RopeConfig.of(8, 500000), with("rope_scaling", "{}").rope());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "model_type | 'mamba' | unknown architecture LlamaForCausalLM (model_type mamba); supported: LlamaForCausalLM, Qwen2ForCausalLM, GemmaForCausalLM",
                "architectures | ['FooForCausalLM'] | unknown architecture FooForCausalLM",
                "architectures | ['LlamaForSequenceClassification'] | unknown architecture",
                "architectures | 'LlamaForCausalLM' | array of one string",
                "attention_bias | true | attention_bias is true",
                "mlp_bias | true | mlp_bias is true",
                "mlp_bias | 1 | expected true or false",
                "hidden_act | 'gelu' | hidden_act is \"gelu\", expected silu",
                "attention_dropout | 0.1 | dropout",
                "partial_rotary_factor | 0.5 | partial",
                "sliding_window | 4096 | sliding windows",
                "hidden_activation | 'gelu' | expected silu",
                "use_bidirectional_attention | true | only causal",
                "layer_types | ['full_attention','sliding_attention'] | sliding_attention",
                "layer_types | 7 | expected an array",
                "quantization_config | {'bits':4} | quantized",
                "rope_scaling | {'rope_type':'yarn','factor':2} | rope_type is yarn, supported: default, linear, llama3",
                "rope_scaling | {'factor':2} | rope_type is missing",
                "rope_scaling | {'type':'linear'} | factor is missing",
                "rope_scaling | {'type':'linear','factor':0} | factor is 0.0",
                "rope_scaling | {'type':'llama3','factor':8,'low_freq_factor':4,'high_freq_factor':4} | 0 < low < high",
                "rope_scaling | {'type':'llama3','factor':8} | low_freq_factor is missing",
                "rope_scaling | {'type':'linear','factor':2,'partial_rotary_factor':0.5} | partial",
                "rope_scaling | [] | expected an object",
                "rope_theta | -1 | theta",
                "rope_theta | 1e999 | expected a number",
                "hidden_size | 0 | hidden_size is 0, expected a positive integer",
                "hidden_size | -64 | positive integer",
                "hidden_size | 64.0 | positive integer",
                "hidden_size | '64' | positive integer",
                "hidden_size | 1e5 | positive integer",
                "hidden_size | 4294967296 | positive integer",
                "hidden_size | null | hidden_size is missing",
                "hidden_size | 65 | no multiple",
                "vocab_size | null | vocab_size is missing",
                "num_key_value_heads | 3 | divisor",
                "head_dim | 7 | even",
                "head_dim | 2147483646 | too large",
                "rms_norm_eps | 'x' | expected a number",
                "rms_norm_eps | -1 | small number",
                "tie_word_embeddings | 'yes' | true or false",
                "torch_dtype | 'int8' | float32",
                "eos_token_id | 'x' | integer",
                "eos_token_id | [1.5] | integer",
                "bos_token_id | [1,2] | one token",
            })
    void whatWouldChangeResultsIsRefused(String key, String value, String expected) {
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> with(key, value.replace('\'', '"')));
        assertTrue(e.getMessage().contains(expected), e.getMessage());
        assertTrue(e.getMessage().startsWith(directory.resolve("config.json") + ": "));
    }

    @Test
    void harmlessOptionsAreNot() {
        ModelConfig config = read(V4);
        assertEquals(config, with("pretraining_tp", "1"));
        assertEquals(config, with("hidden_act", "\"swish\""));
        assertEquals(config, with("layer_types", "[\"full_attention\"]"));
        assertEquals(config, with("quantization_config", "null"));
        assertEquals(config, with("some_future_note", "\"x\""));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "[]", "{", "{}", "{\"a\":1,\"a\":2}", "{} {}", "\uFEFF{}", "nul"})
    void malformedFilesAreRefused(String text) {
        assertThrows(CheckpointException.class, () -> read(text));
    }

    @Test
    void missingFilesAreRefused() {
        for (Path path : List.of(directory, directory.resolve("x"), Path.of("/dev/zero"))) {
            assertThrows(CheckpointException.class, () -> ModelConfig.read(path));
        }
    }

    @Test
    void writtenConfigurationsReadBack() {
        for (ModelConfig config :
                List.of(
                        read(V5),
                        with("eos_token_id", "7"),
                        with("eos_token_id", "null"),
                        with("rope_scaling", "null"),
                        with("rope_scaling", "{\"type\": \"linear\", \"factor\": 2.5}"))) {
            config.write(directory);
            assertEquals(config, ModelConfig.read(directory));
        }
    }

    @Test
    void frequenciesAreTheFormulas() {
        RopeConfig plain = RopeConfig.of(8, 10000);
        assertArrayEquals(new float[] {1, 0.1f, 0.01f, 0.001f}, plain.inv_freq(), 1e-10f);
        RopeConfig linear = new RopeConfig(RopeConfig.Type.LINEAR, 8, 10000, 4, 1, 1, 0);
        assertArrayEquals(
                new float[] {0.25f, 0.025f, 0.0025f, 0.00025f}, linear.inv_freq(), 1e-10f);
        // wavelengths 6.28, 62.8, 628, 6283 against bounds 64 (keep below) and 256 (stretch above)
        RopeConfig llama3 = new RopeConfig(RopeConfig.Type.LLAMA3, 8, 10000, 8, 1, 4, 256);
        assertArrayEquals(new float[] {1, 0.1f, 0.00125f, 0.000125f}, llama3.inv_freq(), 1e-10f);
        // a wavelength of 62.8 between 32 and 128: blend (128 / 62.83 - 1) / 3
        RopeConfig blended = new RopeConfig(RopeConfig.Type.LLAMA3, 8, 10000, 8, 1, 4, 128);
        double blend = (128 / (2 * Math.PI / 0.1) - 1) / 3;
        assertEquals((1 - blend) * 0.1 / 8 + blend * 0.1, blended.inv_freq()[1], 1e-8);
    }

    @Test
    void goldenConfigurationsAgreeAndFrequenciesMatch() {
        for (String model : List.of("llama3", "llama2", "qwen2", "gemma")) {
            Path path = SharedTestData.require("golden/hf/" + model);
            ModelConfig config = ModelConfig.read(path);
            assertEquals(config, ModelConfig.read(path.resolve("config_v4.json")));
            try (Arena arena = Arena.ofConfined()) {
                float[] golden =
                        SafeTensors.open(path.resolve("golden.safetensors"), arena)
                                .get("inv_freq")
                                .toFloatArray();
                float[] ours = config.rope().inv_freq();
                assertEquals(golden.length, ours.length);
                for (int i = 0; i < golden.length; i++) {
                    assertEquals(golden[i], ours[i], 2 * Math.ulp(golden[i]), model + " " + i);
                }
                Checkpoint checkpoint = Checkpoint.open(path, arena);
                checkpoint.tensor(
                        "model.embed_tokens.weight", config.vocabSize(), config.hiddenSize());
                checkpoint.tensor(
                        "model.layers.3.self_attn.k_proj.weight",
                        (long) config.kvHeads() * config.headDim(),
                        config.hiddenSize());
            }
        }
        for (String model : List.of("gpt2", "vit")) {
            Path path = SharedTestData.require("golden/hf/" + model);
            CheckpointException e =
                    assertThrows(CheckpointException.class, () -> ModelConfig.read(path));
            assertTrue(e.getMessage().contains("unknown architecture"), e.getMessage());
        }
        ModelConfig.read(SharedTestData.require("data/stories260K/hf"));
    }
}
