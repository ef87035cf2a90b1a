package org.horosphere.finetune;

import java.util.Locale;

/** What is trained on top of the frozen base model. */
public enum AdapterKind {
    /** Low-rank updates of the linear layers (Hu et al. 2021). */
    LORA(true, false, false),
    /** LoRA and trainable lengths of the adapted weight's rows (arXiv 2402.09353). */
    DORA(true, false, false),
    /** Low-rank updates through the Lorentz model of hyperbolic space (arXiv 2410.04010). */
    HYPLORA(true, true, false),
    /** Mixing coefficients between the attention maps of a layer (arXiv 2503.18337). */
    COEFF(false, false, true),
    /** LoRA and mixing coefficients together. */
    LORA_COEFF(true, false, true),
    /** DoRA and mixing coefficients together. */
    DORA_COEFF(true, false, true),
    /** HypLoRA and mixing coefficients together. */
    HYPLORA_COEFF(true, true, true);

    private final boolean lowRank;
    private final boolean hyperbolic;
    private final boolean mixesHeads;

    AdapterKind(boolean lowRank, boolean hyperbolic, boolean mixesHeads) {
        this.lowRank = lowRank;
        this.hyperbolic = hyperbolic;
        this.mixesHeads = mixesHeads;
    }

    boolean isLowRank() {
        return lowRank;
    }

    boolean isHyperbolic() {
        return hyperbolic;
    }

    boolean isDora() {
        return this == DORA || this == DORA_COEFF;
    }

    boolean mixesHeads() {
        return mixesHeads;
    }

    AdapterConfig.PeftType peftType() {
        if (mixesHeads) {
            return hyperbolic ? AdapterConfig.PeftType.HYPLORA_COEFF : AdapterConfig.PeftType.COEFF;
        }
        return hyperbolic ? AdapterConfig.PeftType.HYPLORA : AdapterConfig.PeftType.LORA;
    }

    static AdapterKind of(AdapterFiles files) {
        boolean mixed = files.config().peftType().coeff();
        if (files.config().peftType().hyperbolic()) {
            return mixed ? HYPLORA_COEFF : HYPLORA;
        }
        if (files.config().useDora()) {
            return mixed ? DORA_COEFF : DORA;
        }
        return !mixed ? LORA : files.lowRank().isEmpty() ? COEFF : LORA_COEFF;
    }

    /**
     * The name on the command line: {@code lora}, {@code dora}, {@code hyplora}, {@code coeff},
     * {@code lora+coeff}, {@code dora+coeff}, {@code hyplora+coeff}.
     */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT).replace('_', '+');
    }

    /**
     * The kind of this command-line name.
     *
     * @throws IllegalArgumentException naming the known kinds
     */
    public static AdapterKind of(String name) {
        for (AdapterKind kind : values()) {
            if (kind.toString().equals(name)) {
                return kind;
            }
        }
        throw new IllegalArgumentException(
                "adapter: '"
                        + name
                        + "', expected lora, dora, hyplora, coeff, lora+coeff, dora+coeff or"
                        + " hyplora+coeff");
    }
}
