package org.horosphere.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.horosphere.Exec;
import org.horosphere.finetune.AdaptableModel;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.ImageClassifier;
import org.horosphere.finetune.ImageFolder;
import org.horosphere.finetune.MemoryEstimate;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.TrainingRun;

/** An image classifier on a folder per class. */
final class ImageWorkload implements Workload {
    private final DataFlags data;
    private final PrintStream out;
    private final ImageClassifier classifier;
    private final ImageFolder.Split split;
    private ImageClassifier.Score before;

    ImageWorkload(DataFlags data, Exec exec, long seed, PrintStream out) {
        this.data = data;
        this.out = out;
        classifier = data.openClassifier(exec);
        ImageFolder folder = ImageFolder.open(data.images());
        List<String> labels = classifier.labels();
        Map<String, Integer> classes = labels == null ? null : folder.match(labels);
        boolean known = classes != null;
        if (!known) {
            if (!data.trainsHead()) {
                throw new UsageException(
                        "--train-head false: "
                                + (labels == null
                                        ? "the checkpoint has no classifier to keep"
                                        : "the folders "
                                                + ImageReports.text(folder.classNames())
                                                + " are not all classes of the checkpoint, which has "
                                                + ImageReports.text(labels)));
            }
            labels = folder.classNames();
            classes = new HashMap<>();
            for (String label : labels) {
                classes.put(label, classes.size());
            }
        }
        split = folder.split(labels, classes, seed);
        classifier.trainClassifier(data.trainsHead() ? labels : null);
        List<ImageFolder.Image> all = new ArrayList<>(split.training());
        all.addAll(split.validation());
        all.addAll(split.test());
        classifier.prepare(all, done -> Terminal.progress("reading images", done, all.size()));
        out.printf(
                "classifier: %s, %d classes: %s%n",
                known
                        ? data.trainsHead() ? "trained further" : "the checkpoint's, kept"
                        : "new, trained",
                labels.size(),
                ImageReports.text(labels));
    }

    @Override
    public AdaptableModel model() {
        return classifier;
    }

    @Override
    public String name() {
        return data.modelName();
    }

    @Override
    public String unit() {
        return "images";
    }

    @Override
    public int examples() {
        return split.training().size();
    }

    @Override
    public String sizes() {
        return "%d training images, %d for validation, %d held out"
                .formatted(split.training().size(), split.validation().size(), split.test().size());
    }

    private int rows(TrainOptions options) {
        return Math.min(options.batchSize(), split.training().size());
    }

    @Override
    public MemoryEstimate memory(AdapterOptions adapter, TrainOptions options) {
        return classifier.memory(adapter, rows(options));
    }

    @Override
    public String largestBatch(TrainOptions options) {
        return rows(options) + " images";
    }

    @Override
    public TrainingRun prepare(
            Path directory,
            AdapterOptions adapter,
            TrainOptions options,
            TrainingRun.Keeping keeping) {
        return new TrainingRun(
                classifier,
                directory,
                adapter,
                options,
                split.training(),
                split.validation(),
                keeping);
    }

    @Override
    public void describe(Map<String, Object> to) {
        data.describe(to);
    }

    @Override
    public void measureLoss() {
        // a new classifier has answered nothing yet
        if (classifier.labels() != null && classifier.labels().equals(split.labels())) {
            before = evaluate("before");
        }
    }

    @Override
    public void measureBase(Path target, boolean resume) {}

    private ImageClassifier.Score evaluate(String when) {
        ImageClassifier.Score score =
                classifier.evaluate(
                        split.test(),
                        done -> Terminal.progress("classifying", done, split.test().size()));
        out.printf("right %s: %d of %d%n", when, score.rightAnswers(), score.total());
        return score;
    }

    @Override
    public void measure(Map<String, Object> report) {
        ImageClassifier.Score after = evaluate("after");
        report.put("loss_before", before == null ? null : before.loss());
        report.put("loss_after", after.loss());
        report.put("accuracy_before", before == null ? null : before.accuracy());
        report.put("accuracy_after", after.accuracy());
        report.put("accuracy_standard_error", after.standardError());
        report.put("images", after.total());
        report.put("classes", ImageReports.classes(after, split.labels()));
    }

    @Override
    public void print(AdapterKind kind, Map<String, Object> report) {
        out.println();
        out.printf(Locale.ROOT, "%-28s %12s %12s%n", "held out", "base", kind);
        out.printf(
                Locale.ROOT,
                "%-28s %12s %12.4f%n",
                "loss, nats per image",
                before == null ? "-" : String.format(Locale.ROOT, "%.4f", before.loss()),
                report.get("loss_after"));
        out.printf(
                Locale.ROOT,
                "%-28s %12s %11.1f%%  (standard error %.1f)%n",
                "right of " + report.get("images"),
                before == null
                        ? "-"
                        : String.format(Locale.ROOT, "%.1f%%", 100 * before.accuracy()),
                100 * (Double) report.get("accuracy_after"),
                100 * (Double) report.get("accuracy_standard_error"));
    }

    @Override
    public void show() {}

    @Override
    public void close() {
        classifier.close();
    }
}
