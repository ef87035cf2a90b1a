package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import org.horosphere.DType;

/**
 * The architecture of a causal language model, from {@code config.json} in the spelling of
 * transformers 4 or 5. Whatever would silently change the results of the supported architecture is
 * refused.
 *
 * @param family the architecture
 * @param vocabSize rows of the embedding
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width of the MLP
 * @param layers number of decoder layers
 * @param heads number of query heads
 * @param kvHeads number of key and value heads; divides {@code heads}
 * @param headDim size of one head; {@code heads * headDim} need not be {@code hiddenSize}
 * @param maxPositionEmbeddings the context the model was made for, in tokens
 * @param rmsNormEps added to the mean square in RMSNorm
 * @param tieWordEmbeddings whether the output head is the embedding; then there is no {@code
 *     lm_head.weight}
 * @param rope rotary embedding
 * @param initializerRange standard deviation of freshly drawn weights
 * @param dtype storage the configuration names; the weights themselves say what they are
 * @param bosTokenId begin of text
 * @param eosTokenIds every token that ends a text; may be empty
 * @param padTokenId padding
 */
public record ModelConfig(
        Family family,
        int vocabSize,
        int hiddenSize,
        int intermediateSize,
        int layers,
        int heads,
        int kvHeads,
        int headDim,
        int maxPositionEmbeddings,
        double rmsNormEps,
        boolean tieWordEmbeddings,
        RopeConfig rope,
        double initializerRange,
        DType dtype,
        OptionalInt bosTokenId,
        List<Integer> eosTokenIds,
        OptionalInt padTokenId) {
    static final String FILE = "config.json";
    private static final double DEFAULT_THETA = 10000;

    /** What the MLP's gate goes through. */
    public enum Activation {
        SILU("silu", Set.of("silu", "swish")),
        /** The tanh form of GELU, which is what "gelu" means in old Gemma configurations. */
        GELU_TANH("gelu_pytorch_tanh", Set.of("gelu_pytorch_tanh", "gelu"));

        private final String spelling;
        private final Set<String> accepted;

        Activation(String spelling, Set<String> accepted) {
            this.spelling = spelling;
            this.accepted = accepted;
        }
    }

    /** A supported architecture, and how it differs from Llama. */
    public enum Family {
        LLAMA("llama", "LlamaForCausalLM", Activation.SILU, false, 0, false),
        /** Qwen2 and Qwen2.5. */
        QWEN2("qwen2", "Qwen2ForCausalLM", Activation.SILU, true, 0, false),
        /** The first Gemma. */
        GEMMA("gemma", "GemmaForCausalLM", Activation.GELU_TANH, false, 1, true);

        private final String modelType;
        private final String architecture;
        private final Activation activation;
        private final boolean qkvBias;
        private final int normOffset;
        private final boolean scalesEmbedding;

        Family(
                String modelType,
                String architecture,
                Activation activation,
                boolean qkvBias,
                int normOffset,
                boolean scalesEmbedding) {
            this.modelType = modelType;
            this.architecture = architecture;
            this.activation = activation;
            this.qkvBias = qkvBias;
            this.normOffset = normOffset;
            this.scalesEmbedding = scalesEmbedding;
        }

        /** What the MLP's gate goes through. */
        public Activation activation() {
            return activation;
        }

        /** Whether q_proj, k_proj and v_proj have a bias. */
        public boolean qkvBias() {
            return qkvBias;
        }

        /** What is added to the stored weights of every RMSNorm. */
        public int normOffset() {
            return normOffset;
        }

        /** Whether embeddings are multiplied by sqrt(hidden_size). */
        public boolean scalesEmbedding() {
            return scalesEmbedding;
        }

        private int defaultPositions() {
            return switch (this) {
                case LLAMA -> 2048;
                case QWEN2 -> 32768;
                case GEMMA -> 8192;
            };
        }

        /** {@code model_type} of {@code config.json}. */
        public String modelType() {
            return modelType;
        }

        /** The entry of {@code architectures} in {@code config.json}. */
        public String architecture() {
            return architecture;
        }
    }

    public ModelConfig {
        positive("vocab_size", vocabSize);
        positive("hidden_size", hiddenSize);
        positive("intermediate_size", intermediateSize);
        positive("num_hidden_layers", layers);
        positive("num_attention_heads", heads);
        positive("num_key_value_heads", kvHeads);
        positive("max_position_embeddings", maxPositionEmbeddings);
        if (heads % kvHeads != 0) {
            throw new IllegalArgumentException(
                    "num_key_value_heads is %d, expected a divisor of num_attention_heads %d"
                            .formatted(kvHeads, heads));
        }
        if (rope.headDim() != headDim) {
            throw new IllegalArgumentException(
                    "rope is for heads of %d, head_dim is %d".formatted(rope.headDim(), headDim));
        }
        if ((long) heads * headDim > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "num_attention_heads %d times head_dim %d is too large"
                            .formatted(heads, headDim));
        }
        if (!(rmsNormEps >= 0 && rmsNormEps < 1)) {
            throw new IllegalArgumentException(
                    "rms_norm_eps is " + rmsNormEps + ", expected a small number");
        }
        if (!(initializerRange >= 0)) {
            throw new IllegalArgumentException(
                    "initializer_range is " + initializerRange + ", expected 0 or more");
        }
        eosTokenIds = List.copyOf(eosTokenIds);
    }

    /** The same model in another storage. */
    public ModelConfig withDtype(DType storage) {
        return new ModelConfig(
                family,
                vocabSize,
                hiddenSize,
                intermediateSize,
                layers,
                heads,
                kvHeads,
                headDim,
                maxPositionEmbeddings,
                rmsNormEps,
                tieWordEmbeddings,
                rope,
                initializerRange,
                storage,
                bosTokenId,
                eosTokenIds,
                padTokenId);
    }

    private static void positive(String name, int value) {
        if (value <= 0) {
            throw new IllegalArgumentException(
                    name + " is " + value + ", expected a positive integer");
        }
    }

    /**
     * A small Llama with tied embeddings: heads of 32, one key/value head for two query heads, the
     * usual MLP of 8/3 the width.
     *
     * @param hiddenSize a multiple of 64
     */
    public static ModelConfig small(
            int vocabSize, int hiddenSize, int layers, int bosId, int eosId) {
        if (hiddenSize < 64 || hiddenSize % 64 != 0) {
            throw new IllegalArgumentException(
                    "hidden size: " + hiddenSize + ", expected a multiple of 64");
        }
        int headDim = 32;
        int heads = hiddenSize / headDim;
        return new ModelConfig(
                Family.LLAMA,
                vocabSize,
                hiddenSize,
                (hiddenSize * 8 / 3 + 7) / 8 * 8,
                layers,
                heads,
                heads / 2,
                headDim,
                256,
                1e-5,
                true,
                RopeConfig.of(headDim, DEFAULT_THETA),
                0.02,
                DType.BF16,
                OptionalInt.of(bosId),
                eosId < 0 ? List.of() : List.of(eosId),
                OptionalInt.empty());
    }

    /**
     * Reads a configuration.
     *
     * @param path a model directory or the file itself
     * @throws CheckpointException if it is missing, malformed, or of a model this code would get
     *     wrong, with the reason
     */
    public static ModelConfig read(Path path) {
        Path file = Files.isDirectory(path) ? path.resolve(FILE) : path;
        Json json = Json.read(file);
        Family family = family(json);
        refuseUnsupported(json, family);
        int hidden = json.count("hidden_size");
        int heads = json.count("num_attention_heads");
        if (!json.has("head_dim") && family != Family.GEMMA && hidden % heads != 0) {
            throw json.error(
                    "hidden_size %d is no multiple of num_attention_heads %d and there is no head_dim"
                            .formatted(hidden, heads));
        }
        boolean gemma = family == Family.GEMMA;
        int headDim = json.count("head_dim", gemma ? 256 : hidden / heads);
        int positions = json.count("max_position_embeddings", family.defaultPositions());
        try {
            return new ModelConfig(
                    family,
                    json.count("vocab_size"),
                    hidden,
                    json.count("intermediate_size"),
                    json.count("num_hidden_layers"),
                    heads,
                    json.count("num_key_value_heads", heads),
                    headDim,
                    positions,
                    json.number("rms_norm_eps", 1e-6),
                    json.flag("tie_word_embeddings", gemma),
                    rope(json, headDim, positions),
                    json.number("initializer_range", 0.02),
                    dtype(json),
                    token(json, "bos_token_id"),
                    tokens(json, "eos_token_id"),
                    token(json, "pad_token_id"));
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file + ": " + e.getMessage(), e);
        }
    }

    private static Family family(Json json) {
        String modelType = json.string("model_type");
        String architecture = modelType;
        JsonNode architectures = json.get("architectures");
        if (architectures != null) {
            if (!architectures.isArray()
                    || architectures.size() != 1
                    || !architectures.get(0).isTextual()) {
                throw json.wrong("architectures", "an array of one string");
            }
            architecture = architectures.get(0).textValue();
        }
        for (Family family : Family.values()) {
            if (family.modelType.equals(modelType)
                    && (architectures == null || family.architecture.equals(architecture))) {
                return family;
            }
        }
        throw json.error(
                "unknown architecture %s (model_type %s); supported: %s"
                        .formatted(
                                architecture,
                                modelType,
                                Arrays.stream(Family.values())
                                                .map(Family::architecture)
                                                .collect(Collectors.joining(", "))
                                        + "; of images ViTForImageClassification"));
    }

    private static void refuseUnsupported(Json json, Family family) {
        for (String bias : List.of("attention_bias", "mlp_bias")) {
            if (json.flag(bias, false)) {
                throw json.error(bias + " is true: biases are not supported");
            }
        }
        Activation expected = family.activation;
        for (String key : List.of("hidden_act", "hidden_activation")) {
            String activation = json.string(key);
            if (activation != null && !expected.accepted.contains(activation)) {
                throw json.wrong(key, expected.spelling);
            }
        }
        if (json.flag("use_bidirectional_attention", false)) {
            throw json.wrong("use_bidirectional_attention", "false: only causal is supported");
        }
        if (json.number("attention_dropout", 0) != 0) {
            throw json.wrong("attention_dropout", "0: dropout of attention is not supported");
        }
        if (json.number("partial_rotary_factor", 1) != 1) {
            throw json.wrong("partial_rotary_factor", "1: partial rotation is not supported");
        }
        if (json.has("sliding_window") && json.flag("use_sliding_window", family != Family.QWEN2)) {
            throw json.wrong("sliding_window", "null: sliding windows are not supported");
        }
        JsonNode layerTypes = json.get("layer_types");
        if (layerTypes != null) {
            if (!layerTypes.isArray()) {
                throw json.wrong("layer_types", "an array");
            }
            for (JsonNode type : layerTypes) {
                if (!"full_attention".equals(type.textValue())) {
                    throw json.error(
                            "layer_types has " + type + ": only full_attention is supported");
                }
            }
        }
        if (json.has("quantization_config")) {
            throw json.error("quantization_config is set: quantized weights are not supported");
        }
    }

    private static RopeConfig rope(Json json, int headDim, int positions) {
        double theta = json.number("rope_theta", DEFAULT_THETA);
        Json scaling = json.object("rope_scaling");
        if (scaling == null || scaling.keys().isEmpty()) {
            scaling = json.object("rope_parameters");
        }
        if (scaling == null) {
            return RopeConfig.of(headDim, theta);
        }
        theta = scaling.number("rope_theta", theta);
        if (scaling.number("partial_rotary_factor", 1) != 1) {
            throw scaling.wrong("partial_rotary_factor", "1: partial rotation is not supported");
        }
        String type = scaling.string(scaling.has("rope_type") ? "rope_type" : "type");
        if (type == null) {
            if (scaling.has("factor")) {
                throw scaling.error("rope_type is missing");
            }
            return RopeConfig.of(headDim, theta);
        }
        return switch (type) {
            case "default" -> RopeConfig.of(headDim, theta);
            case "linear" ->
                    new RopeConfig(
                            RopeConfig.Type.LINEAR,
                            headDim,
                            theta,
                            scaling.number("factor"),
                            1,
                            1,
                            0);
            case "llama3" ->
                    new RopeConfig(
                            RopeConfig.Type.LLAMA3,
                            headDim,
                            theta,
                            scaling.number("factor"),
                            scaling.number("low_freq_factor"),
                            scaling.number("high_freq_factor"),
                            scaling.count("original_max_position_embeddings", positions));
            default ->
                    throw scaling.error(
                            "rope_type is " + type + ", supported: default, linear, llama3");
        };
    }

    private static DType dtype(Json json) {
        String key = json.has("dtype") ? "dtype" : "torch_dtype";
        String name = json.string(key);
        if (name == null) {
            return DType.F32;
        }
        return switch (name) {
            case "float32" -> DType.F32;
            case "float64" -> DType.F64;
            case "bfloat16" -> DType.BF16;
            case "float16" -> DType.F16;
            default -> throw json.wrong(key, "float32, float64, bfloat16 or float16");
        };
    }

    private static String spelling(DType dtype) {
        return switch (dtype) {
            case F32 -> "float32";
            case F64 -> "float64";
            case BF16 -> "bfloat16";
            case F16 -> "float16";
        };
    }

    private static OptionalInt token(Json json, String key) {
        List<Integer> tokens = tokens(json, key);
        if (tokens.size() > 1) {
            throw json.wrong(key, "one token");
        }
        return tokens.isEmpty() ? OptionalInt.empty() : OptionalInt.of(tokens.get(0));
    }

    private static List<Integer> tokens(Json json, String key) {
        JsonNode value = json.get(key);
        List<Integer> tokens = new ArrayList<>();
        if (value == null) {
            return tokens;
        }
        for (JsonNode token : value.isArray() ? value : List.of(value)) {
            if (!token.isIntegralNumber() || !token.canConvertToInt()) {
                throw json.wrong(key, "an integer or an array of integers");
            }
            if (token.intValue() >= 0) { // -1 is written for "none" by old versions
                tokens.add(token.intValue());
            }
        }
        return tokens;
    }

    /**
     * Writes a configuration in the spelling of transformers 5, atomically.
     *
     * @param path a model directory or the file itself
     */
    public void write(Path path) {
        ObjectNode json = Json.MAPPER.createObjectNode();
        json.putArray("architectures").add(family.architecture);
        json.put("attention_bias", false);
        json.put("attention_dropout", 0.0);
        put(json, "bos_token_id", bosTokenId);
        json.put("dtype", spelling(dtype));
        if (eosTokenIds.size() > 1) {
            ArrayNode tokens = json.putArray("eos_token_id");
            eosTokenIds.forEach(tokens::add);
        } else {
            put(
                    json,
                    "eos_token_id",
                    eosTokenIds.isEmpty()
                            ? OptionalInt.empty()
                            : OptionalInt.of(eosTokenIds.get(0)));
        }
        json.put("head_dim", headDim);
        json.put("hidden_act", family.activation.spelling);
        json.put("hidden_size", hiddenSize);
        json.put("initializer_range", initializerRange);
        json.put("intermediate_size", intermediateSize);
        json.put("max_position_embeddings", maxPositionEmbeddings);
        json.put("mlp_bias", false);
        json.put("model_type", family.modelType);
        json.put("num_attention_heads", heads);
        json.put("num_hidden_layers", layers);
        json.put("num_key_value_heads", kvHeads);
        put(json, "pad_token_id", padTokenId);
        json.put("rms_norm_eps", rmsNormEps);
        ObjectNode parameters = json.putObject("rope_parameters");
        if (rope.type() != RopeConfig.Type.DEFAULT) {
            parameters.put("factor", rope.factor());
        }
        if (rope.type() == RopeConfig.Type.LLAMA3) {
            parameters.put("high_freq_factor", rope.highFreqFactor());
            parameters.put("low_freq_factor", rope.lowFreqFactor());
            parameters.put(
                    "original_max_position_embeddings", rope.originalMaxPositionEmbeddings());
        }
        parameters.put("rope_theta", rope.theta());
        parameters.put("rope_type", rope.type().spelling());
        json.put("tie_word_embeddings", tieWordEmbeddings);
        json.put("use_cache", true);
        json.put("vocab_size", vocabSize);
        AtomicFiles.writeJson(Files.isDirectory(path) ? path.resolve(FILE) : path, json);
    }

    private static void put(ObjectNode json, String key, OptionalInt value) {
        json.put(key, value.isPresent() ? (Integer) value.getAsInt() : null);
    }
}
