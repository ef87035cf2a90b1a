package org.horosphere.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.Diagnostics;
import org.horosphere.finetune.ImageClassifier;
import org.horosphere.finetune.ImageFolder;
import org.horosphere.finetune.InputNorms;
import org.horosphere.finetune.Merger;
import org.horosphere.finetune.Template;
import org.horosphere.finetune.report.Table;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo eval}. */
@Command(
        name = "eval",
        mixinStandardHelpOptions = true,
        description = {
            "Prints a model's loss on a file, in nats per predicted token, and its perplexity.",
            "Text is split into pieces on <|endoftext|> if the file has that marker, else on blank lines. Each piece "
                    + "begins with BOS; a piece longer than the context is cut into windows that begin with BOS too.",
            "JSONL, JSON and CSV (prompt/completion, instruction/output, messages, question/answer) count the completion "
                    + "only, unless --loss-on all.",
            "With --images, of an image classifier: the share of images whose class is found, with its standard error, "
                    + "and how many of each class."
        })
final class EvalCommand implements Callable<Integer> {
    @Mixin private ModelOptions model;

    @Mixin private DeviceOption device;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description =
                    "Records if the name ends in .jsonl, .json or .csv, else plain text (default: the embedded test set).")
    private Path data;

    @Option(
            names = "--images",
            paramLabel = "DIR",
            description =
                    "A folder per class, in DIR/test, DIR/val or DIR, the first of these that is there.")
    private Path images;

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
            names = "--max-length",
            paramLabel = "N",
            description = "Context window in tokens (default: the model's).")
    private Integer maxLength;

    @Option(
            names = "--answer-tokens",
            paramLabel = "N",
            defaultValue = "48",
            description =
                    "With --exact-match: longest answer in tokens (default: ${DEFAULT-VALUE}).")
    private int answerTokens;

    @Option(
            names = "--exact-match",
            description = "Also generate an answer to every problem and score it.")
    private boolean exactMatch;

    @Option(
            names = "--diagnostics",
            description =
                    "Also print, per adapted layer, how |x| varies (where HypLoRA can act) and how far HypLoRA's gain "
                            + "is from one constant (what merging it costs, with its bound).")
    private boolean diagnostics;

    @Option(names = "--json", paramLabel = "FILE", description = "Write what was measured here.")
    private Path json;

    @Override
    public Integer call() {
        if (maxLength != null) {
            UsageException.require("--max-length", maxLength, 2, Integer.MAX_VALUE);
        }
        UsageException.require("--answer-tokens", answerTokens, 1, Integer.MAX_VALUE);
        Outputs.requireUsable(json);
        if (images != null) {
            if (data != null || exactMatch || diagnostics) {
                throw new UsageException(
                        "--images: not with --data, --exact-match or --diagnostics");
            }
            return classify();
        }
        model.requireText();
        try (CausalLm lm = model.open(device.exec())) {
            Path file = data == null ? Defaults.testData() : data;
            int context = maxLength == null ? lm.maxLength() : Math.min(maxLength, lm.maxLength());
            Dataset dataset =
                    Dataset.load(
                            file,
                            lm.tokenizer(),
                            new Dataset.Format(context, lossOn, truncate, template));
            dataset.warnings().forEach(warning -> System.err.println("horo: " + warning));
            if (exactMatch && dataset.problems().isEmpty()) {
                throw new UsageException(
                        "--exact-match: " + file + " is plain text and asks nothing");
            }
            CausalLm.Loss loss = lm.loss(dataset.examples());
            Map<String, Object> report = new LinkedHashMap<>();
            report.put("loss", loss.loss());
            report.put("perplexity", Math.exp(loss.loss()));
            report.put("tokens", loss.tokens());
            System.out.printf(
                    Locale.ROOT,
                    "loss %.4f nats/token, perplexity %.4g, over %d tokens%n",
                    loss.loss(),
                    Math.exp(loss.loss()),
                    loss.tokens());
            if (dataset.dropped() > 0) {
                System.err.printf(
                        "horo: %d examples longer than %d tokens were left out%n",
                        dataset.dropped(), context);
            }
            if (exactMatch) {
                CausalLm.Score score =
                        lm.solve(
                                dataset.problems(),
                                answerTokens,
                                done ->
                                        Terminal.progress(
                                                "answering", done, dataset.problems().size()));
                report.put("exact_match", score.accuracy());
                report.put("exact_match_standard_error", score.standardError());
                report.put("problems", score.total());
                System.out.printf(
                        Locale.ROOT,
                        "exact match %.1f %%, standard error %.1f (%d of %d)%n",
                        100 * score.accuracy(),
                        100 * score.standardError(),
                        score.rightAnswers(),
                        score.total());
            }
            if (diagnostics) {
                List<Diagnostics.Module> modules = lm.diagnose(dataset.examples());
                report.put("diagnostics", modules);
                System.out.print(table(modules).text());
            }
            Reports.writeJson(json, report);
            return 0;
        }
    }

    private static Table table(List<Diagnostics.Module> modules) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(
                List.of(
                        "module",
                        "mean |x|",
                        "variance",
                        "deviation / mean",
                        "mean gain",
                        "off by",
                        "bound"));
        for (Diagnostics.Module module : modules) {
            InputNorms.Module norms = module.norms();
            List<String> row =
                    new ArrayList<>(
                            List.of(
                                    norms.module().replaceFirst("^model\\.layers\\.", ""),
                                    format("%.4g", norms.mean()),
                                    format("%.4g", norms.variance()),
                                    format("%.3g", norms.variation())));
            Merger.Gain gain = module.gain();
            row.add(gain == null ? "-" : format("%.4g", gain.meanGain()));
            row.add(gain == null ? "-" : format("%.3f %%", 100 * gain.measured()));
            row.add(gain == null ? "-" : format("%.3f %%", 100 * gain.bound()));
            rows.add(row);
        }
        return new Table(
                "|x| at the input of adapted layers, and HypLoRA's gain merged as its mean",
                "diagnostics",
                true,
                false,
                rows);
    }

    private static String format(String form, double value) {
        return String.format(Locale.ROOT, form, value);
    }

    private int classify() {
        try (ImageClassifier classifier = model.openClassifier(device.exec())) {
            List<String> labels = classifier.labels();
            if (labels == null) {
                throw new UsageException(
                        "--model " + model.name() + ": has no classifier; --adapter may have one");
            }
            ImageFolder folder = ImageFolder.open(images);
            Map<String, Integer> classes = folder.match(labels);
            if (classes == null) {
                throw new UsageException(
                        "--images "
                                + images
                                + ": the folders "
                                + ImageReports.text(folder.classNames())
                                + " are not all classes of the model, which has "
                                + ImageReports.text(labels));
            }
            List<ImageFolder.Image> measured = folder.evaluation(classes);
            ImageClassifier.Score score =
                    classifier.evaluate(
                            measured,
                            done -> Terminal.progress("classifying", done, measured.size()));
            ImageReports.print(System.out, score, labels);
            Map<String, Object> report = new LinkedHashMap<>();
            report.put("accuracy", score.accuracy());
            report.put("accuracy_standard_error", score.standardError());
            report.put("loss", score.loss());
            report.put("images", score.total());
            report.put("classes", ImageReports.classes(score, labels));
            Reports.writeJson(json, report);
            return 0;
        }
    }
}
