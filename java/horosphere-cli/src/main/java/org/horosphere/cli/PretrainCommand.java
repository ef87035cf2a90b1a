package org.horosphere.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.finetune.Batches;
import org.horosphere.finetune.ModelConfig;
import org.horosphere.finetune.ModelWriter;
import org.horosphere.finetune.PretrainCorpus;
import org.horosphere.finetune.Pretraining;
import org.horosphere.finetune.Tokenizer;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo pretrain}. */
@Command(
        name = "pretrain",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
            "Makes a small Llama from random weights on generated stories and arithmetic: how the embedded base model "
                    + "was made. The same seed gives the same weights.",
            "The corpus has no solved word problem: answering them is left to fine-tuning."
        })
final class PretrainCommand implements Callable<Integer> {
    private static final int VALIDATION_BATCHES = 4;

    /** Positions of {@link ModelConfig#small}. */
    private static final int CONTEXT = 256;

    @Option(
            names = "--output",
            paramLabel = "DIR",
            required = true,
            description = "Where the model goes.")
    private Path output;

    @Option(names = "--overwrite", description = "Replace what is at --output.")
    private boolean overwrite;

    @Option(
            names = "--hidden",
            paramLabel = "N",
            defaultValue = "128",
            description = "Width of the model (default: ${DEFAULT-VALUE}).")
    private int hidden;

    @Option(
            names = "--layers",
            paramLabel = "N",
            defaultValue = "4",
            description = "Number of layers (default: ${DEFAULT-VALUE}).")
    private int layers;

    @Option(
            names = "--length",
            paramLabel = "N",
            defaultValue = "128",
            description = "Tokens per sequence (default: ${DEFAULT-VALUE}).")
    private int length;

    @Mixin private TrainingOptions training;

    private final PrintStream out = System.out;

    @Override
    public Integer call() throws Exception {
        UsageException.require("--hidden", hidden, 64, 1024);
        UsageException.require("--layers", layers, 1, 48);
        UsageException.require("--length", length, 1, CONTEXT);
        TrainOptions options = training.with(2000, 32, 3e-3, 200);
        Exec exec = training.exec();
        Outputs.requireUsable(output, overwrite);
        Path tokenizerDirectory = Defaults.tokenizer();
        try (Tokenizer tokenizer = Tokenizer.open(tokenizerDirectory)) {
            ModelConfig config =
                    UsageException.check(
                            () ->
                                    ModelConfig.small(
                                            tokenizer.vocabSize(),
                                            hidden,
                                            layers,
                                            tokenizer.bosId(),
                                            tokenizer.eosId()));
            Pretraining pretraining = new Pretraining(config, options.seed(), exec);
            out.printf(
                    Locale.ROOT,
                    "pretraining %d weights for %d steps of %d x %d tokens%n",
                    pretraining.parameterCount(),
                    options.steps(),
                    options.batchSize(),
                    length);
            Iterator<Batches.Batch> heldOut =
                    Pretraining.pack(
                            PretrainCorpus.generate(options.seed() + 1).iterator(),
                            tokenizer,
                            options.batchSize(),
                            length);
            List<Batches.Batch> validation = new ArrayList<>();
            for (int i = 0; i < VALIDATION_BATCHES; i++) {
                validation.add(heldOut.next());
            }
            Trainer<Batches.Batch> trainer = pretraining.trainer(options);
            boolean stopped;
            try (Interrupt interrupt = Interrupt.install(trainer::stop);
                    TrainingProgress progress =
                            new TrainingProgress(out, "training", 0, options.steps())) {
                Trainer.Result result =
                        trainer.run(
                                Pretraining.pack(
                                        PretrainCorpus.generate(options.seed()).iterator(),
                                        tokenizer,
                                        options.batchSize(),
                                        length),
                                validation,
                                progress);
                ModelWriter.write(
                        output, config, pretraining.weights(), DType.BF16, tokenizerDirectory);
                out.printf(
                        Locale.ROOT,
                        "held-out loss %.4f -> %.4f; model saved in %s%n",
                        result.firstValidation(),
                        result.bestValidation(),
                        output);
                stopped = interrupt.happened();
            }
            return stopped ? Main.INTERRUPTED : 0;
        }
    }
}
