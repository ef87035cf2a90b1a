package org.horosphere.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.Merger;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo merge}. */
@Command(
        name = "merge",
        mixinStandardHelpOptions = true,
        description = {
            "Writes a model with an adapter merged into its weights, which any software can run.",
            "LoRA always merges. Mixing coefficients merge if all but those between heads that share a key/value "
                    + "head are zero. HypLoRA does not merge exactly; --approximate replaces each module's gain by "
                    + "its mean over --data and prints how far that is off."
        })
final class MergeCommand implements Callable<Integer> {
    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Hugging Face model directory (default: the embedded model).")
    private Path model;

    @Option(names = "--adapter", paramLabel = "DIR", required = true, description = "PEFT adapter.")
    private Path adapter;

    @Option(
            names = "--output",
            paramLabel = "DIR",
            required = true,
            description = "Where the merged model goes.")
    private Path output;

    @Option(names = "--overwrite", description = "Replace what is at --output.")
    private boolean overwrite;

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            defaultValue = "f32",
            description = "f32, or bf16: rounded to nearest (default: ${DEFAULT-VALUE}).")
    private WeightType dtype;

    @Option(names = "--approximate", description = "Merge HypLoRA with its mean gain over --data.")
    private boolean approximate;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description = "Text, JSONL or JSON for --approximate (default: the embedded test set).")
    private Path data;

    @Mixin private ThreadsOption threads;

    @Override
    public Integer call() {
        if (data != null && !approximate) {
            throw new UsageException("--data: is for --approximate");
        }
        Exec exec = threads.exec();
        Outputs.requireUsable(output, overwrite);
        Path base = model == null ? Defaults.model() : model;
        Outputs.requireOther("--adapter", adapter, output);
        Outputs.requireOther("--model", base, output);
        if (!approximate) {
            Merger.merge(base, adapter, output, dtype.storage(), exec);
            System.out.println("merged into " + output);
            return 0;
        }
        print(
                Merger.approximate(
                        base, adapter, output, dtype.storage(), examples(base, exec), exec));
        return 0;
    }

    private List<Dataset.Example> examples(Path base, Exec exec) {
        try (CausalLm lm = CausalLm.open(base, exec)) {
            Path file = data == null ? Defaults.testData() : data;
            return Dataset.load(file, lm.tokenizer(), lm.maxLength(), Dataset.Loss.ALL).examples();
        }
    }

    private void print(Merger.Approximation result) {
        System.out.printf("%-36s %12s %12s %12s%n", "module", "mean gain", "off by", "bound");
        for (Merger.Gain gain : result.gains()) {
            System.out.printf(
                    Locale.ROOT,
                    "%-36s %12.4g %11.3f%% %11.3f%%%n",
                    gain.module(),
                    gain.meanGain(),
                    100 * gain.measured(),
                    100 * gain.bound());
        }
        System.out.printf(
                Locale.ROOT,
                "loss with the adapter %.4f, merged %.4f nats/token%n",
                result.adapterLoss(),
                result.mergedLoss());
        System.out.println("merged into " + output + ", approximately");
    }
}
