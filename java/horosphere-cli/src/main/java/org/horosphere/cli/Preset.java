package org.horosphere.cli;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * Recipes of the papers as option values. What a recipe has and this library has not is said in
 * docs/finetune.md.
 */
enum Preset {
    /** HypLoRA, arXiv 2410.04010, section 3 and the released scripts for LLaMA3-8B and Gemma-7B. */
    HYPLORA_PAPER("adapter", "hyplora", "alpha", "128", "curvature", "1"),
    /** The LoRA baseline of the same paper. */
    HYPLORA_PAPER_LORA("adapter", "lora", "alpha", "64"),
    /** Coeff-Tuning, arXiv 2503.18337, in its VL-BART host recipe: coefficients alone. */
    COEFF_PAPER("adapter", "coeff"),
    /** The same together with LoRA of rank 128. */
    COEFF_PAPER_LORA("adapter", "lora+coeff", "rank", "128", "alpha", "128"),
    /** Coeff-Tuning on images: the recipe of its VTAB-1k hosts, coefficients alone. */
    COEFF_VTAB("adapter", "coeff"),
    /** The same together with LoRA of rank 8 on queries and values. */
    COEFF_VTAB_LORA("adapter", "lora+coeff", "rank", "8", "alpha", "8", "targets", "q_proj,v_proj");

    private static final Map<String, String> HYPLORA =
            options(
                    "rank", "32",
                    "targets", "q_proj,k_proj,v_proj,up_proj,down_proj",
                    "lr", "3e-4",
                    "batch-size", "4",
                    "accumulate", "4",
                    "epochs", "3",
                    "warmup", "100",
                    "weight-decay", "0",
                    "clip", "1",
                    "eval-every", "200",
                    "max-length", "256",
                    "truncate", "true",
                    "template", "alpaca",
                    "loss-on", "all");
    private static final Map<String, String> COEFF =
            options(
                    "lr", "1e-3",
                    "coeff-dropout", "0.2",
                    "batch-size", "20",
                    "accumulate", "15",
                    "epochs", "20",
                    "warmup", "0.1",
                    "clip", "5");

    private static final Map<String, String> VTAB =
            options(
                    "lr", "1e-3",
                    "weight-decay", "1e-4",
                    "coeff-dropout", "0.2",
                    "batch-size", "16",
                    "epochs", "100");

    private final String[] own;

    Preset(String... own) {
        this.own = own;
    }

    private static Map<String, String> options(String... pairs) {
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            options.put("--" + pairs[i], pairs[i + 1]);
        }
        return options;
    }

    /** Values by option name. */
    Map<String, String> options() {
        Map<String, String> host = name().startsWith("COEFF_VTAB") ? VTAB : COEFF;
        Map<String, String> options =
                new LinkedHashMap<>(name().startsWith("HYPLORA") ? HYPLORA : host);
        options.putAll(options(own));
        return options;
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    static Preset of(String name) {
        for (Preset preset : values()) {
            if (preset.toString().equals(name)) {
                return preset;
            }
        }
        throw new UsageException(
                "--preset: '"
                        + name
                        + "', expected "
                        + Arrays.stream(values())
                                .map(Preset::toString)
                                .collect(Collectors.joining(", ")));
    }
}
