package org.horosphere.cli;

import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import org.horosphere.Exec;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.DataSplit;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.ImageClassifier;
import org.horosphere.finetune.Template;
import org.horosphere.finetune.VitConfig;
import picocli.CommandLine.Option;

/** Which model is trained on which data. */
final class DataFlags {
    private static final int MAX_LENGTH = 256;

    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Hugging Face model directory (default: the embedded model).")
    private Path model;

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            defaultValue = "f32",
            description =
                    "Frozen weights as f32 or bf16: half the memory, faster on processors with bfloat16 instructions "
                            + "(default: ${DEFAULT-VALUE}).")
    private WeightType dtype;

    @Option(
            names = "--checkpointing",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description =
                    "Keep only the inputs of the blocks for the backward pass and compute the rest again: same result, "
                            + "less memory, about a third slower.")
    private boolean checkpointing;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description =
                    "Records (prompt/completion, instruction/output, messages, question/answer) if the name ends in .jsonl, .json or .csv, else plain text.")
    private Path data;

    @Option(
            names = "--test",
            paramLabel = "FILE",
            description =
                    "Held-out data for the final table (default: the held-out part of --data).")
    private Path test;

    @Option(
            names = "--loss-on",
            paramLabel = "WHAT",
            defaultValue = "completion",
            description = "Of records: completion or all tokens (default: ${DEFAULT-VALUE}).")
    private Dataset.Loss lossOn;

    @Option(
            names = "--template",
            paramLabel = "NAME",
            defaultValue = "auto",
            description =
                    "How records become text: auto, alpaca, chatml, qwen25, llama2, llama3, llama31 or gemma (default: ${DEFAULT-VALUE}).")
    private Template template;

    @Option(
            names = "--truncate",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "Cut records that are too long at their end; else they are left out.")
    private boolean truncate;

    @Option(
            names = "--pack",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "Put short training examples together into sequences of --max-length.")
    private boolean pack;

    @Option(
            names = "--max-length",
            paramLabel = "N",
            description = "Longest sequence in tokens (default: 256 or the model's).")
    private Integer maxLength;

    @Option(
            names = "--answer-tokens",
            paramLabel = "N",
            defaultValue = "48",
            description = "Longest generated answer in tokens (default: ${DEFAULT-VALUE}).")
    private int answerTokens;

    @Option(
            names = "--images",
            paramLabel = "DIR",
            description =
                    "For an image classifier (ViT): a folder per class of PNG, JPEG, BMP or GIF images, in DIR or in "
                            + "DIR/train, DIR/val and DIR/test.")
    private Path images;

    @Option(
            names = "--train-head",
            paramLabel = "true|false",
            defaultValue = "true",
            arity = "0..1",
            fallbackValue = "true",
            description =
                    "With --images: train the classifier's output layer too and save it with the adapter (default: "
                            + "${DEFAULT-VALUE}).")
    private boolean trainHead;

    boolean isForImages() {
        return images != null;
    }

    Path images() {
        return images;
    }

    boolean trainsHead() {
        return trainHead;
    }

    int answerTokens() {
        return answerTokens;
    }

    /** Fails if the options make no sense. */
    void check() {
        UsageException.require("--answer-tokens", answerTokens, 1, Integer.MAX_VALUE);
        if (images != null && (data != null || test != null)) {
            throw new UsageException("--images: takes the place of --data and --test");
        }
        if (images != null && model == null) {
            throw new UsageException("--images: needs --model, the embedded model reads text");
        }
        if (images == null && model != null && VitConfig.isVit(model)) {
            throw new UsageException(
                    "--model "
                            + model
                            + ": is an image classifier; --images says what to train on");
        }
        if (maxLength != null) {
            UsageException.require("--max-length", maxLength, 2, Integer.MAX_VALUE);
        }
    }

    CausalLm open(Exec exec) {
        CausalLm lm =
                CausalLm.open(model == null ? Defaults.model() : model, exec, dtype.storage());
        lm.setCheckpointing(checkpointing);
        return lm;
    }

    ImageClassifier openClassifier(Exec exec) {
        ImageClassifier classifier = ImageClassifier.open(model, exec, dtype.storage());
        classifier.setCheckpointing(checkpointing);
        return classifier;
    }

    String modelName() {
        return model == null ? "the embedded model" : model.toString();
    }

    int context(CausalLm lm) {
        return Math.min(maxLength == null ? MAX_LENGTH : maxLength, lm.maxLength());
    }

    /** Loads and splits the data. */
    DataSplit split(CausalLm lm, long seed) {
        boolean embedded = model == null && data == null;
        Dataset all = load(lm, data == null ? Defaults.trainingData() : data);
        Dataset held =
                test == null && !embedded
                        ? null
                        : load(lm, test == null ? Defaults.testData() : test);
        DataSplit split = DataSplit.of(all, held, seed);
        return pack ? split.packed(context(lm)) : split;
    }

    private Dataset load(CausalLm lm, Path file) {
        Dataset dataset =
                Dataset.load(
                        file,
                        lm.tokenizer(),
                        new Dataset.Format(context(lm), lossOn, truncate, template));
        dataset.warnings().forEach(warning -> System.err.println("horo: " + warning));
        if (dataset.dropped() > 0) {
            System.err.printf(
                    "horo: %s: %d examples longer than %d tokens were left out%n",
                    file, dataset.dropped(), context(lm));
        }
        return dataset;
    }

    /** Adds the effective values by option name. */
    void describe(CausalLm lm, Map<String, Object> to) {
        to.put("model", text(model));
        to.put("dtype", dtype.toString());
        to.put("checkpointing", checkpointing);
        to.put("data", text(data));
        to.put("test", text(test));
        to.put("loss-on", lossOn.toString().toLowerCase(Locale.ROOT));
        to.put("template", template.toString());
        to.put("max-length", context(lm));
        to.put("truncate", truncate);
        to.put("pack", pack);
        to.put("answer-tokens", answerTokens);
    }

    /** Adds the effective values for images by option name. */
    void describe(Map<String, Object> to) {
        to.put("model", text(model));
        to.put("dtype", dtype.toString());
        to.put("checkpointing", checkpointing);
        to.put("images", text(images));
        to.put("train-head", trainHead);
    }

    private static String text(Path path) {
        return path == null ? null : path.toAbsolutePath().normalize().toString();
    }
}
