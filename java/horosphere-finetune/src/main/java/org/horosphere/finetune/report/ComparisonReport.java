package org.horosphere.finetune.report;

import java.awt.Color;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.horosphere.finetune.AtomicFiles;
import org.horosphere.finetune.Comparison;
import org.horosphere.finetune.Comparison.Contrast;
import org.horosphere.finetune.Comparison.Measure;
import org.horosphere.finetune.Comparison.Point;
import org.horosphere.finetune.Comparison.Result;
import org.horosphere.finetune.Comparison.Run;
import org.horosphere.finetune.PairedTest;
import org.knowm.xchart.XYChart;

/** A comparison of adapters for people: text for a terminal, one HTML file. */
public final class ComparisonReport {
    private static final Color[] COLORS = {
        Plots.GREY,
        Plots.BLUE,
        Plots.TEAL,
        Plots.RED,
        Plots.ORANGE,
        Plots.GREEN,
        Plots.PURPLE,
        Plots.PINK,
        Plots.BROWN
    };

    private final Comparison.Report report;
    private final int seeds;
    private final boolean answers;

    private ComparisonReport(Comparison.Report report) {
        this.report = report;
        seeds = report.results().get(0).runs().size();
        answers = report.results().get(0).runs().get(0).correct().length > 1;
    }

    /** What a terminal shows. */
    public static String text(Comparison.Report report) {
        ComparisonReport r = new ComparisonReport(report);
        StringBuilder out = new StringBuilder(r.results().text()).append('\n');
        if (!report.contrasts().isEmpty()) {
            out.append(r.contrasts(report.decisive()).text()).append('\n');
        }
        r.recommendation().forEach(line -> out.append(line).append('\n'));
        return out.toString();
    }

    /**
     * Writes one HTML file that refers to nothing outside itself.
     *
     * @param settings what was the same for all, by name
     * @throws org.horosphere.finetune.CheckpointException if it cannot be written
     */
    public static void html(Comparison.Report report, Map<String, ?> settings, Path file) {
        AtomicFiles.writeString(file, new ComparisonReport(report).page(settings));
    }

    private String page(Map<String, ?> settings) {
        StringBuilder out = new StringBuilder(Html.head("Which adapter?"));
        out.append("<p class=\"source\">")
                .append(Html.escape(String.join(" · ", report.source())))
                .append("</p>\n<div class=\"verdict\">");
        List<String> lines = recommendation();
        out.append("<b>").append(Html.escape(lines.get(0))).append("</b>");
        lines.stream().skip(1).forEach(l -> out.append(Html.escape(l)).append(' '));
        out.append("</div>\n");
        out.append("<h2>Results</h2>\n").append(results().html());
        out.append("<p class=\"note\">Mean over ")
                .append(seeds == 1 ? "one seed" : seeds + " seeds")
                .append(" ± standard error")
                .append(seeds == 1 ? " over examples" : " over seeds and examples")
                .append(". Memory is what a training step takes besides the frozen weights. ")
                .append("Times are wall-clock, validation included.</p>\n");
        if (!report.contrasts().isEmpty()) {
            out.append("<h2>Differences</h2>\n");
            for (Measure measure : measures()) {
                out.append("<h3>").append(name(measure)).append("</h3>\n");
                out.append(contrasts(measure).html());
            }
            out.append("<p class=\"note\">").append(method()).append("</p>\n");
        }
        appendCurves(out);
        appendCurvature(out);
        appendAlpha(out);
        out.append("<h2>The same for all</h2>\n").append(settings(settings).html());
        return out.append("</html>\n").toString();
    }

    private List<Measure> measures() {
        return answers ? List.of(Measure.ACCURACY, Measure.LOSS) : List.of(Measure.LOSS);
    }

    private static String name(Measure measure) {
        return measure == Measure.LOSS ? "Loss, nats per token" : "Exact match, points";
    }

    private String method() {
        return seeds == 1
                ? "Paired t test over examples; one seed says nothing about other seeds. p values"
                        + " are two-sided, corrected by Holm over the rows with the same opponent."
                : "Paired t test with seeds and examples as crossed random effects (Satterthwaite’s"
                        + " degrees of freedom), or over seeds alone where that is the weaker: a"
                        + " difference counts if other seeds and other examples would show it. p"
                        + " values are two-sided, corrected by Holm over the rows with the same"
                        + " opponent.";
    }

    private Table results() {
        List<List<String>> rows = new ArrayList<>();
        List<String> head = new ArrayList<>(List.of("", "trained"));
        if (answers) {
            head.add("exact match, %");
        }
        head.addAll(List.of("loss, nats/token", "time", "tokens/s", "memory", "best step"));
        rows.add(head);
        for (Result result : report.results()) {
            boolean tuned = result.arm().adapter() != null;
            List<String> row = new ArrayList<>();
            row.add(result.arm().name());
            row.add(tuned ? String.format(Locale.ROOT, "%,d", result.parameters()) : "–");
            if (answers) {
                PairedTest mean = result.mean(Measure.ACCURACY);
                row.add(plusMinus(100 * mean.difference(), 100 * mean.standardError(), 1));
            }
            if (result.runs().get(0).losses().length > 1) {
                PairedTest mean = result.mean(Measure.LOSS);
                row.add(plusMinus(mean.difference(), mean.standardError(), 4));
            } else {
                row.add(Html.number(result.runs().get(0).loss(), 4));
            }
            row.add(tuned ? Html.number(average(result, Run::seconds), 1) + " s" : "–");
            row.add(tuned ? Html.number(average(result, Run::tokensPerSecond), 0) : "–");
            row.add(tuned ? Html.number(result.memory() / (double) (1 << 20), 1) + " MiB" : "–");
            row.add(tuned ? Html.number(average(result, Run::bestStep), 0) : "–");
            rows.add(row);
        }
        return new Table("held out", "", true, false, rows);
    }

    private static double average(Result result, java.util.function.ToDoubleFunction<Run> of) {
        return result.runs().stream().mapToDouble(of).average().orElse(Double.NaN);
    }

    private static String plusMinus(double value, double error, int digits) {
        return Html.number(value, digits) + " ± " + Html.number(error, digits);
    }

    private Table contrasts(Measure measure) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("", "difference", "95 % interval", "d.f.", "p", "p, Holm", ""));
        double scale = measure == Measure.LOSS ? 1 : 100;
        int digits = measure == Measure.LOSS ? 4 : 1;
        for (Contrast c : report.contrasts()) {
            if (c.measure() == measure) {
                double half = c.test().halfWidth();
                rows.add(
                        List.of(
                                c.first() + " − " + c.second(),
                                plusMinus(
                                        scale * c.test().difference(),
                                        scale * c.test().standardError(),
                                        digits),
                                Html.number(scale * (c.test().difference() - half), digits)
                                        + " … "
                                        + Html.number(
                                                scale * (c.test().difference() + half), digits),
                                Html.number(c.test().degreesOfFreedom(), 1),
                                p(c.test().pValue()),
                                p(c.adjusted()),
                                c.isSignificant() ? c.isBetter() ? "better" : "worse" : ""));
            }
        }
        return new Table(name(measure).toLowerCase(Locale.ROOT), "", true, false, rows);
    }

    private static String p(double value) {
        return value < 0.001 ? "< 0.001" : Html.number(value, 3);
    }

    /** What to do: the answer first, then what speaks for it. */
    private List<String> recommendation() {
        String reference = report.reference();
        if (reference == null) {
            return List.of("Nothing was tuned.");
        }
        Measure measure = report.decisive();
        String what = measure == Measure.LOSS ? "loss" : "exact match";
        List<Contrast> rivals = against(reference, measure);
        List<Contrast> better =
                rivals.stream().filter(c -> c.isSignificant() && c.isBetter()).toList();
        List<String> lines = new ArrayList<>();
        if (better.isEmpty()) {
            lines.add(
                    rivals.stream().noneMatch(Contrast::isSignificant)
                            ? "No significant difference between the adapters in " + what + "."
                            : "No adapter is significantly better than "
                                    + reference
                                    + " in "
                                    + what
                                    + ".");
            lines.add("At this budget take " + reference + ", the plainest.");
            rivals.stream()
                    .filter(Contrast::isBetter)
                    .max(Comparator.comparingDouble(c -> Math.abs(c.test().difference())))
                    .filter(c -> seeds > 1)
                    .ifPresent(
                            c ->
                                    lines.add(
                                            "The best mean is that of %s (p = %s after correction): more --seeds would tell."
                                                    .formatted(c.first(), p(c.adjusted()))));
            against(Comparison.MATCHED, measure).stream()
                    .filter(c -> !c.isSignificant() && !reference.equals(Comparison.MATCHED))
                    .forEach(
                            c ->
                                    lines.add(
                                            "%s and LoRA with its step size do not differ significantly (p = %s)."
                                                    .formatted(c.first(), p(c.adjusted()))));
        } else {
            Contrast best = best(better);
            lines.add("Take " + best.first() + ".");
            lines.add(sentence(best, what));
            lines.addAll(stepSize(best.first(), measure, what));
        }
        List<String> worse =
                rivals.stream()
                        .filter(c -> c.isSignificant() && !c.isBetter())
                        .map(Contrast::first)
                        .toList();
        if (!worse.isEmpty()) {
            lines.add("Significantly worse than " + reference + ": " + join(worse) + ".");
        }
        List<String> useless =
                against(Comparison.BASE, measure).stream()
                        .filter(c -> !(c.isSignificant() && c.isBetter()))
                        .map(Contrast::first)
                        .toList();
        if (!useless.isEmpty()) {
            lines.add("Not significantly better than the untuned model: " + join(useless) + ".");
        }
        lines.add(
                seeds == 1
                        ? "One seed only: other seeds may say otherwise."
                        : "Another budget, model or data set may say otherwise.");
        return lines;
    }

    private List<String> stepSize(String winner, Measure measure, String what) {
        if (winner.equals(Comparison.MATCHED)) {
            return List.of("It is LoRA with a larger step, nothing hyperbolic.");
        }
        return against(Comparison.MATCHED, measure).stream()
                .filter(c -> c.first().equals(winner))
                .map(
                        c ->
                                c.isSignificant() && c.isBetter()
                                        ? "LoRA with HypLoRA’s step size does not explain it: "
                                                + sentence(c, what)
                                        : "But against LoRA with HypLoRA’s step size the difference"
                                                + " is not significant (p = "
                                                + p(c.adjusted())
                                                + "): the step size may be all of it.")
                .toList();
    }

    private List<Contrast> against(String second, Measure measure) {
        return report.contrasts().stream()
                .filter(c -> c.measure() == measure && c.second().equals(second))
                .toList();
    }

    private static Contrast best(List<Contrast> better) {
        return better.stream()
                .max(Comparator.comparingDouble(c -> Math.abs(c.test().difference())))
                .orElseThrow();
    }

    private static String sentence(Contrast c, String what) {
        boolean loss = c.measure() == Measure.LOSS;
        double difference = Math.abs(c.test().difference());
        return "Its %s is %s %s that of %s (p = %s after correction)."
                .formatted(
                        what,
                        loss
                                ? Html.number(difference, 4) + " nats per token"
                                : Html.number(100 * difference, 1) + " points",
                        c.test().difference() < 0 ? "below" : "above",
                        c.second(),
                        p(c.adjusted()));
    }

    private static String join(List<String> names) {
        return String.join(", ", names);
    }

    private void appendCurves(StringBuilder out) {
        List<Result> tuned =
                report.results().stream().filter(r -> r.arm().adapter() != null).toList();
        if (tuned.isEmpty()) {
            return;
        }
        out.append("<h2>Loss curves</h2>\n");
        curves(
                out,
                tuned,
                "Validation loss",
                "Mean over the seeds, on examples that are not trained on.",
                run -> run.validation().stream().filter(p -> p.step() > 0).toList());
        curves(
                out,
                tuned,
                "Training loss",
                "Mean over the seeds and over stretches of steps, of each batch before its step.",
                run -> stretches(run.training()));
    }

    private void curves(
            StringBuilder out,
            List<Result> tuned,
            String title,
            String caption,
            java.util.function.Function<Run, List<Point>> of) {
        XYChart chart = Plots.chart("step", title.toLowerCase(Locale.ROOT) + ", nats per token");
        double least = Double.POSITIVE_INFINITY;
        double most = 0;
        boolean empty = true;
        for (Result result : tuned) {
            Map<Integer, List<Double>> byStep = new TreeMap<>();
            for (Run run : result.runs()) {
                for (Point point : of.apply(run)) {
                    byStep.computeIfAbsent(point.step(), s -> new ArrayList<>()).add(point.loss());
                }
            }
            double[] steps = byStep.keySet().stream().mapToDouble(s -> s).toArray();
            double[] losses = byStep.values().stream().mapToDouble(Html::mean).toArray();
            if (steps.length == 0) {
                continue;
            }
            empty = false;
            Plots.line(chart, result.arm().name(), steps, losses, color(result.arm().name()));
            least = Math.min(least, Arrays.stream(losses).min().orElse(least));
            most = Math.max(most, Arrays.stream(losses).max().orElse(most));
        }
        if (!empty) {
            chart.getStyler().setYAxisLogarithmic(least > 0 && most / least > 8);
            out.append(Html.figure(title, title + ". " + caption, false, chart));
        }
    }

    private static Color color(String name) {
        return COLORS[Math.max(0, Comparison.NAMES.indexOf(name)) % COLORS.length];
    }

    /** At most 40 points, each the mean of a stretch. */
    private static List<Point> stretches(List<Point> all) {
        int width = Math.max(1, Math.ceilDiv(all.size(), 40));
        List<Point> means = new ArrayList<>();
        for (int from = 0; from + width <= all.size(); from += width) {
            List<Point> stretch = all.subList(from, from + width);
            means.add(
                    new Point(
                            stretch.get(width - 1).step(),
                            stretch.stream().mapToDouble(Point::loss).average().orElse(0)));
        }
        return means;
    }

    private void appendCurvature(StringBuilder out) {
        for (Result result : report.results()) {
            if (result.runs().get(0).curvature().isEmpty()) {
                continue;
            }
            double start = result.arm().adapter().curvatureRadius();
            out.append("<h2>Learned curvature of ")
                    .append(Html.escape(result.arm().name()))
                    .append("</h2>\n");
            Map<String, Map<Integer, Double>> rows = new LinkedHashMap<>();
            Set<Integer> layers = new LinkedHashSet<>();
            result.runs().get(0).curvature().keySet().stream()
                    .sorted((a, b) -> Integer.compare(layer(a), layer(b)))
                    .forEach(
                            path -> {
                                double mean = average(result, run -> run.curvature().get(path));
                                layers.add(layer(path));
                                rows.computeIfAbsent(
                                                path.substring(path.lastIndexOf('.') + 1),
                                                k -> new TreeMap<>())
                                        .put(layer(path), mean);
                            });
            HeatMap map =
                    new HeatMap(
                            new ArrayList<>(rows.keySet()),
                            layers.stream().map(l -> "layer " + l).toList(),
                            rows.values().stream()
                                    .map(
                                            row ->
                                                    layers.stream()
                                                            .mapToDouble(
                                                                    l ->
                                                                            row.getOrDefault(
                                                                                    l, Double.NaN))
                                                            .toArray())
                                    .toArray(double[][]::new),
                            start,
                            3);
            out.append("<figure>").append(map.svg());
            out.append(
                            "<figcaption>K of each adapted layer (curvature −1/K), mean over the seeds; ")
                    .append("it began at ")
                    .append(Html.number(start, 2))
                    .append(". Gain over LoRA of the same alpha: ")
                    .append(Html.number(result.startingGain(), 3))
                    .append(" before training, ")
                    .append(Html.number(average(result, Run::gain), 3))
                    .append(" after.</figcaption></figure>\n");
        }
    }

    private static int layer(String path) {
        return Integer.parseInt(path.split("\\.")[2]);
    }

    private void appendAlpha(StringBuilder out) {
        for (Result result : report.results()) {
            if (result.runs().get(0).alpha().isEmpty()) {
                continue;
            }
            out.append("<h2>Learned mixing coefficients of ")
                    .append(Html.escape(result.arm().name()))
                    .append("</h2>\n<figure><div class=\"maps\">\n");
            int heads = report.heads();
            List<String> names = new ArrayList<>();
            for (int h = 0; h < heads; h++) {
                names.add(Integer.toString(h));
            }
            for (int layer : result.runs().get(0).alpha().keySet()) {
                double[][] mean = new double[heads][heads];
                for (Run run : result.runs()) {
                    float[] alpha = run.alpha().get(layer);
                    for (int i = 0; i < alpha.length; i++) {
                        mean[i / heads][i % heads] += alpha[i] / result.runs().size();
                    }
                }
                out.append("<div><span>layer ").append(layer).append("</span>");
                out.append(new HeatMap(names, names, mean, 0, 2).svg()).append("</div>\n");
            }
            out.append("</div><figcaption>Row: the head that receives, column: the head whose map ")
                    .append(
                            "is added, on top of the identity; mean over the seeds. All began at 0.")
                    .append("</figcaption></figure>\n");
        }
    }

    private static Table settings(Map<String, ?> settings) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("option", "value"));
        settings.forEach(
                (key, value) -> {
                    if (value != null) {
                        rows.add(List.of(key, value.toString()));
                    }
                });
        return new Table("settings", "", false, false, rows);
    }
}
