package org.horosphere.cli;

import java.util.concurrent.Callable;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.GenerateOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo generate}. */
@Command(
        name = "generate",
        mixinStandardHelpOptions = true,
        description = {
            "Continues a prompt. Prints the prompt and what follows it, and nothing else when not on a terminal.",
            "Without further options the likeliest token is taken each time; --temperature, --top-k or --top-p sample, "
                    + "--beams searches."
        })
final class GenerateCommand implements Callable<Integer> {
    @Mixin private ModelOptions model;

    @Mixin private DeviceOption device;

    @Option(
            names = "--prompt",
            paramLabel = "TEXT",
            required = true,
            description = "What to continue; may be empty.")
    private String prompt;

    @Option(
            names = "--max-new-tokens",
            paramLabel = "N",
            defaultValue = "100",
            description = "Stop after this many tokens (default: ${DEFAULT-VALUE}).")
    private int maxNewTokens;

    @Option(
            names = "--temperature",
            paramLabel = "X",
            description = "Sample from logits divided by this (default when sampling: 1).")
    private Double temperature;

    @Option(
            names = "--top-k",
            paramLabel = "N",
            description = "Sample among the N likeliest tokens (default: all).")
    private Integer topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            description =
                    "Sample among the likeliest tokens that reach probability P (default: all).")
    private Double topP;

    @Option(names = "--seed", paramLabel = "N", description = "Seed of sampling (default: 1).")
    private Long seed;

    @Option(
            names = "--beams",
            paramLabel = "N",
            defaultValue = "1",
            description = "Hypotheses of beam search (default: none).")
    private int beams;

    @Option(
            names = "--length-penalty",
            paramLabel = "X",
            description =
                    "Beam search divides log probabilities by length to this power (default: 1).")
    private Double lengthPenalty;

    private GenerateOptions options() {
        boolean samples = temperature != null || topK != null || topP != null;
        return new GenerateOptions(
                maxNewTokens,
                temperature != null ? temperature : samples ? 1 : 0,
                topK == null ? 0 : topK,
                topP == null ? 1 : topP,
                seed == null ? 1 : seed,
                beams,
                lengthPenalty == null ? 1 : lengthPenalty);
    }

    /** What would be passed over is refused. */
    private void requireUsed(GenerateOptions options) {
        if (lengthPenalty != null && options.beams() == 1) {
            throw new UsageException(
                    "--length-penalty: is for beam search, expected --beams of 2 or more");
        }
        if (seed != null && options.temperature() == 0) {
            throw new UsageException(
                    "--seed: is for sampling, expected --temperature above 0, --top-k or --top-p");
        }
    }

    @Override
    public Integer call() {
        UsageException.require("--max-new-tokens", maxNewTokens, 0, Integer.MAX_VALUE);
        GenerateOptions options = UsageException.check(this::options);
        requireUsed(options);
        try (CausalLm lm = model.open(device.exec())) {
            System.out.print(prompt + lm.generate(prompt, options));
            if (Terminal.isInteractive()) {
                System.out.println();
            }
            System.out.flush();
            return 0;
        }
    }
}
