package org.horosphere.cli;

import java.nio.file.Path;
import org.horosphere.Exec;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.ImageClassifier;
import org.horosphere.finetune.VitConfig;
import picocli.CommandLine.Option;

/** Which model, and which adapter on it. */
final class ModelOptions {
    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Hugging Face model directory (default: the embedded model).")
    private Path directory;

    @Option(
            names = "--adapter",
            paramLabel = "DIR",
            description = "PEFT adapter directory to put on the model.")
    private Path adapter;

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            defaultValue = "f32",
            description = "Weights as f32 or bf16 (default: ${DEFAULT-VALUE}).")
    private WeightType dtype;

    boolean isGiven() {
        return directory != null || adapter != null;
    }

    /** For a report. */
    String name() {
        return (directory == null ? "embedded model" : directory.toString())
                + (adapter == null ? "" : " with " + adapter);
    }

    /** Fails if the model reads images. */
    void requireText() {
        if (directory != null && VitConfig.isVit(directory)) {
            throw new UsageException(
                    "--model "
                            + directory
                            + ": is an image classifier; --images says what to read");
        }
    }

    ImageClassifier openClassifier(Exec exec) {
        if (directory == null) {
            throw new UsageException("--images: needs --model, the embedded model reads text");
        }
        ImageClassifier classifier = ImageClassifier.open(directory, exec, dtype.storage());
        classifier.setCheckpointing(true);
        if (adapter != null) {
            classifier.loadAdapter(adapter);
        }
        return classifier;
    }

    CausalLm open(Exec exec) {
        CausalLm lm =
                CausalLm.open(
                        directory == null ? Defaults.model() : directory, exec, dtype.storage());
        lm.setCheckpointing(true);
        try {
            if (adapter != null) {
                lm.loadAdapter(adapter);
            }
            return lm;
        } catch (RuntimeException e) {
            lm.close();
            throw e;
        }
    }
}
