package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.horosphere.LowRankAdapter;

/**
 * An adapter directory in PEFT's format: {@code adapter_config.json} and {@code
 * adapter_model.safetensors}. Plain LoRA is exactly what PEFT reads and writes. HypLoRA and
 * coefficient mixing add tensors, under a {@code peft_type} that PEFT does not know, so that it
 * refuses them and does not load half an adapter:
 *
 * <ul>
 *   <li>{@code base_model.model.MODULE.lora_A.weight} (r, in), {@code .lora_B.weight} (out, r);
 *   <li>{@code base_model.model.MODULE.lora_magnitude_vector} (out), DoRA's;
 *   <li>{@code base_model.model.MODULE.hyplora_K} (1), {@code .hyplora_s} (1);
 *   <li>{@code .lora_k} and {@code .lora_norm_scale} (scalars) in their place in adapters of the
 *       authors' code, read only;
 *   <li>{@code base_model.model.model.layers.N.self_attn.coeff_alpha} (H, H), the residual: the
 *       mixing matrix is the identity plus it; {@code vit.layers.N.attention} in vision
 *       transformers;
 *   <li>{@code base_model.model.classifier.weight} (classes, width) and {@code .bias} (classes), an
 *       image classifier's own output layer, with the classes' names as a JSON array in the
 *       metadata {@code labels}.
 * </ul>
 *
 * @param config the configuration
 * @param lowRank matrices by module path, such as {@code model.layers.0.self_attn.q_proj}
 * @param coeffAlpha mixing residuals by layer, (H, H) row-major; all of one size
 * @param layout where the attention of a layer is
 * @param head the output layer, null for the model's
 */
public record AdapterFiles(
        AdapterConfig config,
        Map<String, LowRank> lowRank,
        Map<Integer, float[]> coeffAlpha,
        Layout layout,
        Head head) {
    /** Where a model keeps the attention of layer N. */
    public enum Layout {
        DECODER("model.layers.", ".self_attn"),
        VIT("vit.layers.", ".attention");

        private final String before;
        private final String after;

        Layout(String before, String after) {
            this.before = before;
            this.after = after;
        }

        String attention(int layer) {
            return before + layer + after;
        }
    }

    /**
     * An output layer of the adapter's own. The arrays are not copied.
     *
     * @param weight (classes, width) row-major
     * @param bias (classes)
     * @param labels the classes' names; null if the file does not say
     */
    public record Head(float[] weight, float[] bias, List<String> labels) {
        public Head {
            if (bias.length == 0 || weight.length % bias.length != 0) {
                throw new IllegalArgumentException(
                        "classifier: %d weights and %d biases do not fit each other"
                                .formatted(weight.length, bias.length));
            }
            if (labels != null && labels.size() != bias.length) {
                throw new IllegalArgumentException(
                        "classifier: %d labels for %d classes"
                                .formatted(labels.size(), bias.length));
            }
        }
    }

    private static final String LABELS = "labels";
    private static final String FILE = "adapter_model.safetensors";
    private static final String PREFIX = "base_model.model.";
    private static final String A = ".lora_A.weight";
    private static final String B = ".lora_B.weight";
    private static final String K = ".hyplora_K";
    private static final String S = ".hyplora_s";
    private static final String M = ".lora_magnitude_vector";
    private static final String HEAD_WEIGHT = PREFIX + Classifier.MODULE + ".weight";
    private static final String HEAD_BIAS = PREFIX + Classifier.MODULE + ".bias";
    private static final String RELEASED_K = ".lora_k";
    private static final String RELEASED_S = ".lora_norm_scale";

    private static final Pattern MODULE =
            Pattern.compile(
                    Pattern.quote(PREFIX)
                            + "(.+?)(\\.lora_A\\.weight|\\.lora_B\\.weight|\\.hyplora_K|\\.hyplora_s"
                            + "|\\.lora_magnitude_vector|\\.lora_k|\\.lora_norm_scale)");
    private static final Pattern ALPHA =
            Pattern.compile(
                    Pattern.quote(PREFIX)
                            + "(model\\.layers\\.|vit\\.layers\\.)(0|[1-9][0-9]{0,5})"
                            + "(\\.self_attn|\\.attention)\\.coeff_alpha");

    /** An adapter of a decoder. */
    public AdapterFiles(
            AdapterConfig config, Map<String, LowRank> lowRank, Map<Integer, float[]> coeffAlpha) {
        this(config, lowRank, coeffAlpha, Layout.DECODER, null);
    }

    /**
     * @throws IllegalArgumentException if the parts do not fit each other
     */
    public AdapterFiles {
        if ((head != null) == config.modulesToSave().isEmpty()) {
            throw new IllegalArgumentException(
                    "modules_to_save is "
                            + config.modulesToSave()
                            + ", but "
                            + (head == null ? "no" : "a")
                            + " classifier is there");
        }
        lowRank = Collections.unmodifiableMap(new TreeMap<>(lowRank));
        coeffAlpha = Collections.unmodifiableMap(new TreeMap<>(coeffAlpha));
        AdapterConfig.PeftType type = config.peftType();
        if (lowRank.isEmpty() && type != AdapterConfig.PeftType.COEFF) {
            throw new IllegalArgumentException("no module has lora_A and lora_B");
        }
        if (coeffAlpha.isEmpty() == type.coeff()) {
            throw new IllegalArgumentException(
                    "peft_type is %s, but %d layers have coeff_alpha"
                            .formatted(type, coeffAlpha.size()));
        }
        lowRank.forEach(
                (module, matrices) -> {
                    if (!config.adapts(module)) {
                        throw new IllegalArgumentException(
                                "module %s is none of target_modules %s (exclude_modules %s)"
                                        .formatted(
                                                module,
                                                config.targetModules(),
                                                config.excludeModules()));
                    }
                    if (matrices.r() != config.rank(module)) {
                        throw new IllegalArgumentException(
                                "module %s has rank %d, %s says %d"
                                        .formatted(
                                                module,
                                                matrices.r(),
                                                AdapterConfig.FILE,
                                                config.rank(module)));
                    }
                    if ((matrices.magnitude() != null) != config.useDora()) {
                        throw new IllegalArgumentException(
                                "use_dora is %s, but module %s has %s lora_magnitude_vector"
                                        .formatted(
                                                config.useDora(),
                                                module,
                                                matrices.magnitude() == null ? "no" : "a"));
                    }
                    if (matrices.hyperbolic() != type.hyperbolic()) {
                        throw new IllegalArgumentException(
                                "peft_type is %s, but module %s has %s hyplora_K and hyplora_s"
                                        .formatted(
                                                type, module, matrices.hyperbolic() ? "" : "no"));
                    }
                });
        int size = -1;
        for (var entry : coeffAlpha.entrySet()) {
            int length = entry.getValue().length;
            long side = Math.round(Math.sqrt(length));
            if (length == 0 || side * side != length || size >= 0 && size != length) {
                throw new IllegalArgumentException(
                        "coeff_alpha of layer %d has %d elements, expected H * H, the same in every layer"
                                .formatted(entry.getKey(), length));
            }
            size = length;
        }
    }

    /**
     * Reads a directory. Weights stored as bfloat16 or float16 are widened.
     *
     * @throws CheckpointException if a file is missing or malformed, has an unknown tensor or lacks
     *     one, or asks for something unsupported
     */
    public static AdapterFiles read(Path directory) {
        if (!Files.isDirectory(directory)) {
            throw new CheckpointException(directory + ": no such directory");
        }
        AdapterConfig config = AdapterConfig.read(directory);
        Path file = directory.resolve(FILE);
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors tensors = SafeTensors.open(file, arena);
            Set<String> modules = new TreeSet<>();
            Map<Integer, float[]> alphas = new TreeMap<>();
            Layout layout = null;
            for (String name : tensors.names()) {
                Matcher module = MODULE.matcher(name);
                Matcher alpha = ALPHA.matcher(name);
                if (alpha.matches()) {
                    int layer = Integer.parseInt(alpha.group(2));
                    Layout here = alpha.group(1).startsWith("vit") ? Layout.VIT : Layout.DECODER;
                    if (!name.startsWith(PREFIX + here.attention(layer))
                            || layout != null && layout != here) {
                        throw new CheckpointException(file + ": unknown tensor " + name);
                    }
                    layout = here;
                    alphas.put(layer, square(file, tensors.get(name)));
                } else if (name.equals(HEAD_WEIGHT) || name.equals(HEAD_BIAS)) {
                    continue;
                } else if (module.matches()) {
                    modules.add(module.group(1));
                } else {
                    throw new CheckpointException(file + ": unknown tensor " + name);
                }
            }
            Map<String, LowRank> lowRank = new TreeMap<>();
            for (String module : modules) {
                lowRank.put(module, lowRank(file, tensors, module, config.gain()));
            }
            try {
                return new AdapterFiles(
                        config,
                        lowRank,
                        alphas,
                        layout == null ? Layout.DECODER : layout,
                        head(file, tensors));
            } catch (IllegalArgumentException e) {
                throw new CheckpointException(file + ": " + e.getMessage(), e);
            }
        }
    }

    private static Head head(Path file, SafeTensors tensors) {
        if (!tensors.names().contains(HEAD_WEIGHT) && !tensors.names().contains(HEAD_BIAS)) {
            return null;
        }
        TensorData weight = matrix(file, tensors, HEAD_WEIGHT);
        TensorData bias = tensors.get(HEAD_BIAS);
        if (!Arrays.equals(bias.shape(), new long[] {weight.shape()[0]})) {
            throw shape(file, bias, "[" + weight.shape()[0] + "]");
        }
        String labels = tensors.metadata().get(LABELS);
        try {
            return new Head(
                    weight.toFloatArray(),
                    bias.toFloatArray(),
                    labels == null
                            ? null
                            : Json.MAPPER.readValue(labels, new TypeReference<>() {}));
        } catch (JsonProcessingException e) {
            throw new CheckpointException(
                    file + ": metadata labels is no JSON array of strings", e);
        }
    }

    private static LowRank lowRank(
            Path file, SafeTensors tensors, String module, LowRankAdapter.Kind gain) {
        TensorData a = matrix(file, tensors, PREFIX + module + A);
        TensorData b = matrix(file, tensors, PREFIX + module + B);
        long r = a.shape()[0];
        if (r != b.shape()[1]) {
            throw new CheckpointException(
                    "%s: module %s: lora_A has shape %s and lora_B %s, expected (r, in) and (out, r)"
                            .formatted(
                                    file,
                                    module,
                                    Arrays.toString(a.shape()),
                                    Arrays.toString(b.shape())));
        }
        float k = scalar(file, tensors, PREFIX + module + K);
        float s = scalar(file, tensors, PREFIX + module + S);
        if (tensors.names().contains(PREFIX + module + RELEASED_K)) {
            double released = number(file, tensors, PREFIX + module + RELEASED_K);
            switch (gain) {
                case HYPLORA_RELEASED -> {
                    k = (float) (Math.log1p(Math.exp(released)) + 1e-6);
                    s = scalar(file, tensors, PREFIX + module + RELEASED_S);
                }
                case HYPLORA_SIMPLIFIED -> {
                    k = (float) released;
                    s = 1;
                }
                default ->
                        throw new CheckpointException(
                                "%s: module %s has lora_k, but %s has no lora_type hyplora"
                                        .formatted(file, module, AdapterConfig.FILE));
            }
        }
        try {
            return new LowRank(
                    Math.toIntExact(r),
                    Math.toIntExact(a.shape()[1]),
                    Math.toIntExact(b.shape()[0]),
                    a.toFloatArray(),
                    b.toFloatArray(),
                    k,
                    s,
                    magnitude(file, tensors, PREFIX + module + M));
        } catch (IllegalArgumentException | ArithmeticException e) {
            throw new CheckpointException(file + ": module " + module + ": " + e.getMessage(), e);
        }
    }

    private static float[] magnitude(Path file, SafeTensors tensors, String name) {
        if (!tensors.names().contains(name)) {
            return null;
        }
        TensorData tensor = tensors.get(name);
        if (tensor.shape().length != 1) {
            throw shape(file, tensor, "one dimension");
        }
        return tensor.toFloatArray();
    }

    private static TensorData matrix(Path file, SafeTensors tensors, String name) {
        TensorData tensor = tensors.get(name);
        if (tensor.shape().length != 2) {
            throw shape(file, tensor, "two dimensions");
        }
        return tensor;
    }

    private static float[] square(Path file, TensorData tensor) {
        long[] shape = tensor.shape();
        if (shape.length != 2 || shape[0] != shape[1]) {
            throw shape(file, tensor, "(H, H)");
        }
        return tensor.toFloatArray();
    }

    /** NaN where there is none. */
    private static float scalar(Path file, SafeTensors tensors, String name) {
        if (!tensors.names().contains(name)) {
            return Float.NaN;
        }
        float value = number(file, tensors, name);
        if (!(value > 0 && Float.isFinite(value))) {
            throw new CheckpointException(
                    "%s: tensor %s is %s, expected a finite number greater than 0"
                            .formatted(file, name, value));
        }
        return value;
    }

    private static float number(Path file, SafeTensors tensors, String name) {
        TensorData tensor = tensors.get(name);
        if (tensor.shape().length != 0 && !Arrays.equals(tensor.shape(), new long[] {1})) {
            throw shape(file, tensor, "[1]");
        }
        return tensor.toFloatArray()[0];
    }

    private static CheckpointException shape(Path file, TensorData tensor, String expected) {
        return new CheckpointException(
                "%s: tensor %s has shape %s, expected %s"
                        .formatted(file, tensor.name(), Arrays.toString(tensor.shape()), expected));
    }

    /**
     * Writes the directory as a whole, see {@link AtomicFiles#replaceDirectory}: other files in an
     * existing one are kept.
     *
     * @throws CheckpointException if it cannot be written; an old adapter there stays
     */
    public void write(Path directory) {
        AtomicFiles.replaceDirectory(directory, Set.of(AdapterConfig.FILE, FILE), this::writeFiles);
    }

    /**
     * Writes both files into an existing directory, one after the other. The configuration is the
     * last: a directory without one is no adapter.
     */
    void writeFiles(Path directory) {
        List<TensorData> tensors = new ArrayList<>();
        lowRank.forEach(
                (module, m) -> {
                    tensors.add(TensorData.of(PREFIX + module + A, m.a(), m.r(), m.in()));
                    tensors.add(TensorData.of(PREFIX + module + B, m.b(), m.out(), m.r()));
                    if (m.magnitude() != null) {
                        tensors.add(TensorData.of(PREFIX + module + M, m.magnitude(), m.out()));
                    }
                    if (m.hyperbolic()) {
                        tensors.add(TensorData.of(PREFIX + module + K, new float[] {m.K()}, 1));
                        tensors.add(TensorData.of(PREFIX + module + S, new float[] {m.s()}, 1));
                    }
                });
        coeffAlpha.forEach(
                (layer, alpha) -> {
                    long heads = Math.round(Math.sqrt(alpha.length));
                    tensors.add(
                            TensorData.of(
                                    PREFIX + layout.attention(layer) + ".coeff_alpha",
                                    alpha,
                                    heads,
                                    heads));
                });
        Map<String, String> metadata = new HashMap<>(Map.of("format", "pt"));
        if (head != null) {
            int classes = head.bias().length;
            tensors.add(
                    TensorData.of(
                            HEAD_WEIGHT, head.weight(), classes, head.weight().length / classes));
            tensors.add(TensorData.of(HEAD_BIAS, head.bias(), classes));
            if (head.labels() != null) {
                metadata.put(LABELS, Json.MAPPER.valueToTree(head.labels()).toString());
            }
        }
        SafeTensors.write(directory.resolve(FILE), tensors, metadata);
        config.write(directory);
    }
}
