package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;

/**
 * The architecture of a vision transformer (Dosovitskiy et al., arXiv 2010.11929), from {@code
 * config.json} in the spelling of transformers 4 or 5; what is absent has transformers' default.
 * Whatever would silently change the results is refused.
 *
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width of the MLP
 * @param layers number of blocks
 * @param heads number of attention heads
 * @param headDim size of one head
 * @param imageHeight pixels
 * @param imageWidth pixels
 * @param patchHeight pixels; divides {@code imageHeight} or the rest is not looked at
 * @param patchWidth pixels
 * @param channels 3 for colour
 * @param layerNormEps added to the variance in LayerNorm
 * @param qkvBias whether q_proj, k_proj and v_proj have a bias
 * @param initializerRange standard deviation of a fresh classifier's weights
 * @param labels the classes' names
 */
public record VitConfig(
        int hiddenSize,
        int intermediateSize,
        int layers,
        int heads,
        int headDim,
        int imageHeight,
        int imageWidth,
        int patchHeight,
        int patchWidth,
        int channels,
        double layerNormEps,
        boolean qkvBias,
        double initializerRange,
        List<String> labels) {
    private static final String MODEL_TYPE = "vit";
    private static final List<String> ARCHITECTURES =
            List.of("ViTForImageClassification", "ViTModel");
    private static final int LARGEST_SIDE = 1 << 14;

    public VitConfig {
        if (patchHeight > imageHeight || patchWidth > imageWidth) {
            throw new IllegalArgumentException(
                    "patch_size is %d x %d, larger than image_size %d x %d"
                            .formatted(patchHeight, patchWidth, imageHeight, imageWidth));
        }
        if (Math.max(imageHeight, imageWidth) > LARGEST_SIDE) {
            throw new IllegalArgumentException(
                    "image_size is %d x %d, expected at most %d"
                            .formatted(imageHeight, imageWidth, LARGEST_SIDE));
        }
        if ((long) heads * headDim > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "num_attention_heads %d times head_dim %d is too large"
                            .formatted(heads, headDim));
        }
        if ((long) channels * patchHeight * patchWidth > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("num_channels is " + channels + ", too large");
        }
        if (!(layerNormEps >= 0 && layerNormEps < 1)) {
            throw new IllegalArgumentException(
                    "layer_norm_eps is " + layerNormEps + ", expected a small number");
        }
        labels = List.copyOf(labels);
    }

    /** Patches of an image. */
    public int patches() {
        return (imageHeight / patchHeight) * (imageWidth / patchWidth);
    }

    /** Positions of a sequence: the class token and the patches. */
    public int length() {
        return patches() + 1;
    }

    /** Numbers of one patch: channels × height × width. */
    int patchSize() {
        return channels * patchHeight * patchWidth;
    }

    /** Numbers of one image: channels × height × width. */
    int imageSize() {
        return channels * imageHeight * imageWidth;
    }

    /** Whether a directory holds such a model, going by {@code model_type}. */
    public static boolean isVit(Path directory) {
        Path file = directory.resolve(ModelConfig.FILE);
        return Files.isRegularFile(file) && MODEL_TYPE.equals(Json.read(file).string("model_type"));
    }

    /**
     * Reads a configuration.
     *
     * @param path a model directory or the file itself
     * @throws CheckpointException if it is missing, malformed, or of a model this code would get
     *     wrong, with the reason
     */
    public static VitConfig read(Path path) {
        Path file = Files.isDirectory(path) ? path.resolve(ModelConfig.FILE) : path;
        Json json = Json.read(file);
        refuseUnsupported(json);
        int hidden = json.count("hidden_size", 768);
        int heads = json.count("num_attention_heads", 12);
        if (!json.has("head_dim") && hidden % heads != 0) {
            throw json.error(
                    "hidden_size %d is no multiple of num_attention_heads %d"
                            .formatted(hidden, heads));
        }
        int[] image = pair(json, "image_size", 224);
        int[] patch = pair(json, "patch_size", 16);
        try {
            return new VitConfig(
                    hidden,
                    json.count("intermediate_size", 3072),
                    json.count("num_hidden_layers", 12),
                    heads,
                    json.count("head_dim", hidden / heads),
                    image[0],
                    image[1],
                    patch[0],
                    patch[1],
                    json.count("num_channels", 3),
                    json.number("layer_norm_eps", 1e-12),
                    json.flag("qkv_bias", true),
                    json.number("initializer_range", 0.02),
                    labels(json));
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file + ": " + e.getMessage(), e);
        }
    }

    private static void refuseUnsupported(Json json) {
        String modelType = json.string("model_type");
        if (!MODEL_TYPE.equals(modelType)) {
            throw json.error("model_type is " + modelType + ": for images only vit is supported");
        }
        JsonNode architectures = json.get("architectures");
        if (architectures != null
                && (!architectures.isArray()
                        || architectures.size() != 1
                        || !ARCHITECTURES.contains(architectures.get(0).textValue()))) {
            throw json.wrong("architectures", "one of " + String.join(", ", ARCHITECTURES));
        }
        String activation = json.string("hidden_act");
        if (activation != null && !activation.equals("gelu")) {
            throw json.wrong("hidden_act", "gelu: other activations are not supported");
        }
        for (String dropout : List.of("hidden_dropout_prob", "attention_probs_dropout_prob")) {
            if (json.number(dropout, 0) != 0) {
                throw json.wrong(dropout, "0: dropout in the model is not supported");
            }
        }
        String problem = json.string("problem_type");
        if (problem != null && !problem.equals("single_label_classification")) {
            throw json.wrong("problem_type", "single_label_classification");
        }
        if (json.has("quantization_config")) {
            throw json.error("quantization_config is set: quantized weights are not supported");
        }
    }

    /** Height and width: one number for both, or two. */
    private static int[] pair(Json json, String key, int absent) {
        JsonNode value = json.get(key);
        if (value == null || !value.isArray()) {
            int side = json.count(key, absent);
            return new int[] {side, side};
        }
        if (value.size() != 2) {
            throw json.wrong(key, "a positive integer or two");
        }
        int[] sides = new int[2];
        for (int i = 0; i < 2; i++) {
            JsonNode side = value.get(i);
            if (!side.isIntegralNumber() || !side.canConvertToInt() || side.intValue() < 1) {
                throw json.wrong(key, "a positive integer or two");
            }
            sides[i] = side.intValue();
        }
        return sides;
    }

    private static List<String> labels(Json json) {
        Json names = json.object("id2label");
        if (names == null) {
            String[] numbered = new String[json.count("num_labels", 2)];
            Arrays.setAll(numbered, i -> "LABEL_" + i);
            return List.of(numbered);
        }
        List<String> labels = new ArrayList<>();
        for (int i = 0; i < names.keys().size(); i++) {
            String label = names.string(Integer.toString(i));
            if (label == null) {
                throw names.error(
                        "expected the classes 0 to " + (names.keys().size() - 1) + " and names");
            }
            labels.add(label);
        }
        if (labels.isEmpty()) {
            throw json.wrong("id2label", "at least one class");
        }
        return labels;
    }

    /** Whether no two classes have the same name. */
    boolean hasDistinctLabels() {
        return new HashSet<>(labels).size() == labels.size();
    }
}
