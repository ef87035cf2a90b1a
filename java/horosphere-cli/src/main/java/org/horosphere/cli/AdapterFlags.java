package org.horosphere.cli;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import picocli.CommandLine.Option;

/** The shape of adapters, whatever their kind. */
final class AdapterFlags {
    @Option(
            names = "--rank",
            paramLabel = "R",
            defaultValue = "8",
            description = "Rank of the low-rank branches (default: ${DEFAULT-VALUE}).")
    private int rank;

    @Option(
            names = "--alpha",
            paramLabel = "X",
            description = "Branches are scaled by alpha/rank (default: 2 * rank).")
    private Double alpha;

    @Option(
            names = "--rslora",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "Scale by alpha/sqrt(rank) instead (rsLoRA).")
    private boolean rslora;

    @Option(
            names = "--targets",
            paramLabel = "NAME",
            split = ",",
            description =
                    "Linear layers that get a branch (default: q_proj,k_proj,v_proj,up_proj,down_proj; of an image classifier q_proj,k_proj,v_proj,fc1,fc2).")
    private List<String> targets;

    @Option(
            names = "--curvature",
            paramLabel = "K",
            defaultValue = "1",
            description =
                    "HypLoRA: initial K; the curvature is -1/K, learned (default: ${DEFAULT-VALUE}).")
    private double curvature;

    @Option(
            names = "--coeff-dropout",
            paramLabel = "P",
            defaultValue = "0.1",
            description = "Dropout of mixing coefficients in training (default: ${DEFAULT-VALUE}).")
    private double coeffDropout;

    AdapterOptions options(AdapterKind kind) {
        return options(kind, false);
    }

    AdapterOptions options(AdapterKind kind, boolean forImages) {
        return UsageException.check(
                () ->
                        new AdapterOptions(
                                kind,
                                rank,
                                alpha == null ? 2.0 * rank : alpha,
                                targets == null
                                        ? forImages
                                                ? AdapterOptions.DEFAULT_IMAGE_TARGETS
                                                : AdapterOptions.DEFAULT_TARGETS
                                        : new LinkedHashSet<>(targets),
                                curvature,
                                rslora,
                                coeffDropout));
    }

    /** Adds the effective values by option name. */
    static void describe(AdapterOptions options, Map<String, Object> to) {
        to.put("rank", options.rank());
        to.put("alpha", options.alpha());
        to.put("rslora", options.rankStabilized());
        to.put("targets", new TreeSet<>(options.targets()));
        to.put("curvature", options.curvatureRadius());
        to.put("coeff-dropout", options.coeffDropout());
    }
}
