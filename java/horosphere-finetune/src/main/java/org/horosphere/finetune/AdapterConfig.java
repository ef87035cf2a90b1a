package org.horosphere.finetune;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.horosphere.LowRankAdapter;

/**
 * {@code adapter_config.json} of a PEFT directory. Options that would change what the adapter
 * computes and that this library does not have are refused on reading.
 *
 * @param peftType kind of adapter
 * @param r rank of the low-rank matrices, unless {@code rankPattern} says otherwise
 * @param loraAlpha numerator of the scaling, unless {@code alphaPattern} says otherwise
 * @param loraDropout dropout on the adapter's input in training, in [0, 1)
 * @param targetModules the adapted layers; no names at all only for {@link PeftType#COEFF}
 * @param excludeModules layers that {@code targetModules} matches but that are not adapted; no
 *     names for none
 * @param taskType such as {@code CAUSAL_LM}; may be null
 * @param baseModelNameOrPath may be null
 * @param useRslora whether alpha is divided by sqrt(r) and not by r
 * @param useDora whether rows of the adapted weight have trainable lengths (DoRA)
 * @param rankPattern ranks by module-path pattern, the first match counts
 * @param alphaPattern alphas by module-path pattern, the first match counts
 * @param inferenceMode whether PEFT should load the adapter frozen
 * @param modulesToSave layers that the adapter replaces as a whole: none, or {@code classifier}
 * @param horosphere this library's own block, JSON values; must be empty for {@link PeftType#LORA}
 */
public record AdapterConfig(
        PeftType peftType,
        int r,
        double loraAlpha,
        double loraDropout,
        TargetModules targetModules,
        TargetModules excludeModules,
        String taskType,
        String baseModelNameOrPath,
        boolean useRslora,
        boolean useDora,
        Map<String, Integer> rankPattern,
        Map<String, Double> alphaPattern,
        boolean inferenceMode,
        List<String> modulesToSave,
        Map<String, Object> horosphere) {
    static final String FILE = "adapter_config.json";
    private static final String EXTENSION = "horosphere";
    private static final String GAIN = "gain";

    /** Kinds of adapter. PEFT knows {@code LORA} and refuses to load the others. */
    public enum PeftType {
        LORA(false, false),
        /** Low-rank matrices with a curvature radius K and an input scale s per module. */
        HYPLORA(true, false),
        /** Mixed attention maps, with or without plain low-rank matrices. */
        COEFF(false, true),
        /** Both. */
        HYPLORA_COEFF(true, true);

        private final boolean hyperbolic;
        private final boolean coeff;

        PeftType(boolean hyperbolic, boolean coeff) {
            this.hyperbolic = hyperbolic;
            this.coeff = coeff;
        }

        /** Whether every adapted module has K and s. */
        public boolean hyperbolic() {
            return hyperbolic;
        }

        /** Whether attention maps are mixed. */
        public boolean coeff() {
            return coeff;
        }
    }

    /** What each option may be besides absent, null, false, "" and empty. */
    private static final Map<String, Set<String>> HARMLESS =
            Map.ofEntries(
                    Map.entry("bias", Set.of("\"none\"")),
                    // Other initialisations change the base weights too.
                    Map.entry(
                            "init_lora_weights",
                            Set.of("true", "\"gaussian\"", "\"orthogonal\"", "\"eva\"")));

    /** Options that say nothing about what the saved adapter computes. */
    private static final Set<String> IGNORED =
            Set.of(
                    "auto_mapping",
                    "corda_config",
                    "eva_config",
                    "layers_pattern",
                    "loftq_config",
                    "lora_ga_config",
                    "megatron_core",
                    "peft_version",
                    "qalora_group_size",
                    "revision",
                    "runtime_config");

    private static final Set<String> READ =
            Set.of(
                    "peft_type",
                    "r",
                    "lora_alpha",
                    "lora_dropout",
                    "target_modules",
                    "exclude_modules",
                    "task_type",
                    "base_model_name_or_path",
                    "use_rslora",
                    "use_dora",
                    "rank_pattern",
                    "alpha_pattern",
                    "inference_mode",
                    "modules_to_save",
                    "lora_type",
                    EXTENSION);

    /** Without layers replaced as a whole. */
    public AdapterConfig(
            PeftType peftType,
            int r,
            double loraAlpha,
            double loraDropout,
            TargetModules targetModules,
            TargetModules excludeModules,
            String taskType,
            String baseModelNameOrPath,
            boolean useRslora,
            boolean useDora,
            Map<String, Integer> rankPattern,
            Map<String, Double> alphaPattern,
            boolean inferenceMode,
            Map<String, Object> horosphere) {
        this(
                peftType,
                r,
                loraAlpha,
                loraDropout,
                targetModules,
                excludeModules,
                taskType,
                baseModelNameOrPath,
                useRslora,
                useDora,
                rankPattern,
                alphaPattern,
                inferenceMode,
                List.of(),
                horosphere);
    }

    public AdapterConfig {
        modulesToSave = List.copyOf(modulesToSave);
        if (!modulesToSave.isEmpty() && !modulesToSave.equals(List.of(Classifier.MODULE))) {
            throw new IllegalArgumentException(
                    "modules_to_save is " + modulesToSave + ", supported: classifier");
        }
        if (targetModules.isEmpty() && peftType != PeftType.COEFF) {
            throw new IllegalArgumentException("target_modules is empty");
        }
        if (r <= 0) {
            throw new IllegalArgumentException("r is " + r + ", expected a positive integer");
        }
        if (!Double.isFinite(loraAlpha)) {
            throw new IllegalArgumentException(
                    "lora_alpha is " + loraAlpha + ", expected a finite number");
        }
        if (!(loraDropout >= 0 && loraDropout < 1)) {
            throw new IllegalArgumentException(
                    "lora_dropout is " + loraDropout + ", expected 0 or more and less than 1");
        }
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern));
        horosphere = Collections.unmodifiableMap(new LinkedHashMap<>(horosphere));
        rankPattern.forEach(
                (pattern, rank) -> {
                    compile("rank_pattern", pattern);
                    if (rank <= 0) {
                        throw new IllegalArgumentException(
                                "rank_pattern: " + pattern + " is " + rank);
                    }
                });
        alphaPattern.forEach(
                (pattern, alpha) -> {
                    compile("alpha_pattern", pattern);
                    if (!Double.isFinite(alpha)) {
                        throw new IllegalArgumentException(
                                "alpha_pattern: " + pattern + " is " + alpha);
                    }
                });
        if (useDora && (peftType.hyperbolic() || targetModules.isEmpty())) {
            throw new IllegalArgumentException("use_dora needs plain low-rank matrices");
        }
        if (peftType.hyperbolic()) {
            gain(horosphere);
        }
        if (peftType == PeftType.LORA && !horosphere.isEmpty()) {
            throw new IllegalArgumentException(
                    "horosphere: plain LORA has no extensions, got " + horosphere.keySet());
        }
    }

    /** A configuration with the options most adapters leave alone at their defaults. */
    public static AdapterConfig of(
            PeftType peftType,
            int r,
            double loraAlpha,
            double loraDropout,
            TargetModules targetModules,
            String baseModelNameOrPath) {
        return new AdapterConfig(
                peftType,
                r,
                loraAlpha,
                loraDropout,
                targetModules,
                TargetModules.of(),
                "CAUSAL_LM",
                baseModelNameOrPath,
                false,
                false,
                Map.of(),
                Map.of(),
                true,
                Map.of());
    }

    /** The same adapter of another base model. */
    public AdapterConfig withBaseModel(String name) {
        return with(name, useRslora, useDora);
    }

    /** The same adapter as one of LoRA's variants. */
    public AdapterConfig withVariant(boolean rslora, boolean dora) {
        return with(baseModelNameOrPath, rslora, dora);
    }

    private AdapterConfig with(String name, boolean rslora, boolean dora) {
        return new AdapterConfig(
                peftType,
                r,
                loraAlpha,
                loraDropout,
                targetModules,
                excludeModules,
                taskType,
                name,
                rslora,
                dora,
                rankPattern,
                alphaPattern,
                inferenceMode,
                modulesToSave,
                horosphere);
    }

    /** The same adapter of an image classifier, for which PEFT has no task type. */
    AdapterConfig ofImageClassifier(boolean withClassifier) {
        return new AdapterConfig(
                peftType,
                r,
                loraAlpha,
                loraDropout,
                targetModules,
                excludeModules,
                null,
                baseModelNameOrPath,
                useRslora,
                useDora,
                rankPattern,
                alphaPattern,
                inferenceMode,
                withClassifier ? List.of(Classifier.MODULE) : List.of(),
                horosphere);
    }

    /** The same adapter with its modules under other names. */
    AdapterConfig withModules(
            TargetModules names, Map<String, Integer> ranks, Map<String, Double> alphas) {
        return new AdapterConfig(
                peftType,
                r,
                loraAlpha,
                loraDropout,
                names,
                TargetModules.of(),
                taskType,
                baseModelNameOrPath,
                useRslora,
                useDora,
                ranks,
                alphas,
                inferenceMode,
                modulesToSave,
                horosphere);
    }

    /**
     * Which gain HypLoRA's tokens have: {@code "gain": "released"} or {@code "simplified"} in the
     * {@code horosphere} block, the paper's without; LORA for plain matrices. Adapters of the
     * authors' code say {@code "lora_type": "hyplora-K"} or {@code "hyplora_simplified-K"}.
     */
    public LowRankAdapter.Kind gain() {
        return peftType.hyperbolic() ? gain(horosphere) : LowRankAdapter.Kind.LORA;
    }

    private static LowRankAdapter.Kind gain(Map<String, Object> extension) {
        Object name = extension.get(GAIN);
        if (name == null) {
            return LowRankAdapter.Kind.HYPLORA;
        }
        if (name.equals("released")) {
            return LowRankAdapter.Kind.HYPLORA_RELEASED;
        }
        if (name.equals("simplified")) {
            return LowRankAdapter.Kind.HYPLORA_SIMPLIFIED;
        }
        throw new IllegalArgumentException(
                "horosphere.gain is " + name + ", expected released or simplified");
    }

    /** Whether the layer at a module path is adapted. */
    public boolean adapts(String modulePath) {
        return targetModules.matches(modulePath) && !excludeModules.matches(modulePath);
    }

    /** The rank of one module. */
    public int rank(String modulePath) {
        return byPattern("rank_pattern", rankPattern, modulePath, r);
    }

    /** The factor of one module's output: alpha / r, or alpha / sqrt(r) with {@code useRslora}. */
    public double scaling(String modulePath) {
        double alpha = alpha(modulePath);
        int rank = rank(modulePath);
        return alpha / (useRslora ? Math.sqrt(rank) : rank);
    }

    double alpha(String modulePath) {
        return byPattern("alpha_pattern", alphaPattern, modulePath, loraAlpha);
    }

    private static <T> T byPattern(
            String option, Map<String, T> patterns, String modulePath, T otherwise) {
        for (var entry : patterns.entrySet()) {
            if (compile(option, entry.getKey()).matcher(modulePath).matches()) {
                return entry.getValue();
            }
        }
        return otherwise;
    }

    private static Pattern compile(String option, String pattern) {
        try {
            return Pattern.compile("(.*\\.)?(" + pattern + ")");
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    option + ": " + pattern + " is not a regular expression", e);
        }
    }

    /**
     * Reads a configuration.
     *
     * @param path an adapter directory or the file itself
     * @throws CheckpointException if it is missing, malformed or asks for something unsupported
     */
    public static AdapterConfig read(Path path) {
        Path file = Files.isDirectory(path) ? path.resolve(FILE) : path;
        Json json = Json.read(file);
        PeftType type = type(json);
        json.forEach((key, value) -> refuseUnsupported(json, key, value));
        Map<String, Integer> ranks = new LinkedHashMap<>();
        Map<String, Double> alphas = new LinkedHashMap<>();
        Json rankPattern = json.object("rank_pattern");
        if (rankPattern != null) {
            rankPattern.keys().forEach(key -> ranks.put(key, rankPattern.count(key)));
        }
        Json alphaPattern = json.object("alpha_pattern");
        if (alphaPattern != null) {
            alphaPattern.keys().forEach(key -> alphas.put(key, alphaPattern.number(key)));
        }
        Map<String, Object> extension =
                json.object(EXTENSION) == null
                        ? Map.of()
                        : Json.MAPPER.convertValue(json.get(EXTENSION), new TypeReference<>() {});
        String released = releasedGain(json, type);
        if (released != null) {
            type = PeftType.HYPLORA;
            extension = Map.of(GAIN, released);
        }
        try {
            return new AdapterConfig(
                    type,
                    json.count("r"),
                    json.number("lora_alpha"),
                    json.number("lora_dropout", 0),
                    modules(json, "target_modules"),
                    json.has("exclude_modules")
                            ? modules(json, "exclude_modules")
                            : TargetModules.of(),
                    json.string("task_type"),
                    json.string("base_model_name_or_path"),
                    json.flag("use_rslora", false),
                    json.flag("use_dora", false),
                    ranks,
                    alphas,
                    json.flag("inference_mode", false),
                    json.has("modules_to_save")
                            ? List.copyOf(names(json, "modules_to_save"))
                            : List.of(),
                    extension);
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file + ": " + e.getMessage(), e);
        }
    }

    /** The gain that an adapter of the authors' code asks for; null for all others. */
    private static String releasedGain(Json json, PeftType type) {
        String name = json.string("lora_type");
        if (name == null || name.split("-")[0].equals("std")) {
            return null;
        }
        String kind = name.split("-")[0];
        if (type != PeftType.LORA
                || !kind.equals("hyplora") && !kind.equals("hyplora_simplified")) {
            throw json.error(
                    "lora_type is "
                            + name
                            + ", expected std, hyplora or hyplora_simplified of peft_type LORA");
        }
        return kind.equals("hyplora") ? "released" : "simplified";
    }

    private static PeftType type(Json json) {
        String name = json.string("peft_type");
        for (PeftType type : PeftType.values()) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        throw json.error(
                "peft_type is %s, supported: %s"
                        .formatted(name, Arrays.toString(PeftType.values())));
    }

    private static TargetModules modules(Json json, String key) {
        JsonNode value = json.get(key);
        if (value == null) {
            throw json.error(key + " is missing");
        }
        if (value.isTextual()) {
            if (value.textValue().equalsIgnoreCase("all-linear")) {
                throw json.error(key + " is all-linear, expected the modules by name");
            }
            return TargetModules.matching(value.textValue());
        }
        return TargetModules.of(names(json, key));
    }

    private static Set<String> names(Json json, String key) {
        JsonNode value = json.get(key);
        Set<String> names = new LinkedHashSet<>();
        if (!value.isArray()) {
            throw json.wrong(key, "an array of strings or a regular expression");
        }
        for (JsonNode name : value) {
            if (!name.isTextual() || name.textValue().isEmpty()) {
                throw json.wrong(key, "an array of strings or a regular expression");
            }
            names.add(name.textValue());
        }
        return names;
    }

    private static void refuseUnsupported(Json json, String key, JsonNode value) {
        boolean off =
                value.isNull()
                        || value.isBoolean() && !value.booleanValue()
                        || value.isTextual() && value.textValue().isEmpty()
                        || value.isContainerNode() && value.isEmpty();
        if (!off
                && !READ.contains(key)
                && !IGNORED.contains(key)
                && !HARMLESS.getOrDefault(key, Set.of()).contains(value.toString())) {
            throw json.error(
                    key + " is " + value + ": not supported, and it may change what is computed");
        }
    }

    /**
     * Writes the configuration, atomically, with PEFT's option names.
     *
     * @param path an adapter directory or the file itself
     */
    public void write(Path path) {
        ObjectNode json = Json.MAPPER.createObjectNode();
        json.set("alpha_pattern", Json.MAPPER.valueToTree(alphaPattern));
        json.putNull("auto_mapping");
        json.put("base_model_name_or_path", baseModelNameOrPath);
        json.put("bias", "none");
        if (!excludeModules.isEmpty()) {
            put(json, "exclude_modules", excludeModules);
        }
        json.put("fan_in_fan_out", false);
        if (!horosphere.isEmpty()) {
            json.set(EXTENSION, Json.MAPPER.valueToTree(horosphere));
        }
        json.put("inference_mode", inferenceMode);
        json.put("init_lora_weights", true);
        json.putNull("layers_pattern");
        json.putNull("layers_to_transform");
        put(json, "lora_alpha", loraAlpha);
        json.put("lora_dropout", loraDropout);
        if (modulesToSave.isEmpty()) {
            json.putNull("modules_to_save");
        } else {
            json.set("modules_to_save", Json.MAPPER.valueToTree(modulesToSave));
        }
        json.put("peft_type", peftType.name());
        json.put("r", r);
        json.set("rank_pattern", Json.MAPPER.valueToTree(rankPattern));
        json.putNull("revision");
        put(json, "target_modules", targetModules);
        json.put("task_type", taskType);
        json.put("use_dora", useDora);
        json.put("use_rslora", useRslora);
        AtomicFiles.writeJson(Files.isDirectory(path) ? path.resolve(FILE) : path, json);
    }

    private static void put(ObjectNode json, String key, TargetModules modules) {
        if (modules.regex() != null) {
            json.put(key, modules.regex());
        } else {
            ArrayNode names = json.putArray(key);
            modules.names().forEach(names::add);
        }
    }

    // PEFT types it as an integer.
    private static void put(ObjectNode json, String key, double value) {
        if (value == (int) value) {
            json.put(key, (int) value);
        } else {
            json.put(key, value);
        }
    }
}
