package org.horosphere.cli;

import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.CausalLm;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo generate}. */
@Command(
        name = "generate",
        mixinStandardHelpOptions = true,
        description = {
            "Continues a prompt, greedily. Prints the prompt and what follows it, and nothing else when not on a "
                    + "terminal."
        })
final class GenerateCommand implements Callable<Integer> {
    @Mixin private ModelOptions model;

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

    @Override
    public Integer call() {
        UsageException.require("--max-new-tokens", maxNewTokens, 0, Integer.MAX_VALUE);
        try (CausalLm lm = model.open(Exec.CPU)) {
            System.out.print(prompt + lm.generate(prompt, maxNewTokens));
            if (Terminal.isInteractive()) {
                System.out.println();
            }
            System.out.flush();
            return 0;
        }
    }
}
