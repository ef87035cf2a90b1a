package org.horosphere.finetune.inspect;

import java.awt.Color;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.horosphere.finetune.InputNorms;
import org.horosphere.finetune.report.Plots;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.internal.chartpart.Chart;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The report's charts; none needs a display. */
final class Charts {
    private static final int LABELLED = 14;

    /** A chart with the name of its file and what it shows. */
    record Figure(String file, String title, String caption, Chart<?, ?> chart) {}

    private Charts() {}

    static List<Figure> of(Inspection.Report report) {
        List<Figure> figures = new ArrayList<>();
        if (report.frequencies() != null) {
            figures.add(rankFrequency(report));
        }
        if (report.tokens() != null) {
            figures.add(normFrequency(report.tokens()));
        }
        if (!report.blocks().isEmpty()) {
            figures.add(blockNorms(report.blocks()));
            figures.add(moduleVariation(report.modules()));
        }
        for (int i = 0; i < report.hyperbolicity().size(); i++) {
            figures.add(delta(report.hyperbolicity().get(i), i + 1));
        }
        for (int i = 0; i < report.pictures().size(); i++) {
            figures.add(disk(report.pictures().get(i), i + 1));
        }
        return figures;
    }

    private static Figure rankFrequency(Inspection.Report report) {
        List<TokenStudy.Token> tokens = report.tokens().tokens();
        double[] ranks = new double[tokens.size()];
        double[] counts = new double[tokens.size()];
        for (int i = 0; i < tokens.size(); i++) {
            ranks[i] = i + 1;
            counts[i] = tokens.get(i).count();
        }
        PowerLaw.Fit fit = report.frequencies().exact();
        List<Double> modelRanks = new ArrayList<>();
        List<Double> modelCounts = new ArrayList<>();
        double norm = HurwitzZeta.zeta(fit.gamma(), fit.xmin());
        for (double c = fit.xmin(); c <= counts[0]; c *= 1.15) {
            double rank = fit.tail() * HurwitzZeta.zeta(fit.gamma(), c) / norm;
            if (rank >= 1) {
                modelRanks.add(rank);
                modelCounts.add(c);
            }
        }
        XYChart chart = Plots.chart("rank", "occurrences");
        chart.getStyler().setXAxisLogarithmic(true);
        chart.getStyler().setYAxisLogarithmic(true);
        Plots.points(chart, "tokens", ranks, counts, Plots.BLUE, SeriesMarkers.CIRCLE, 5);
        if (modelRanks.size() > 1) {
            Plots.line(
                    chart,
                    String.format(Locale.ROOT, "power law, gamma %.2f", fit.gamma()),
                    modelRanks.stream().mapToDouble(v -> v).toArray(),
                    modelCounts.stream().mapToDouble(v -> v).toArray(),
                    Plots.ORANGE);
        }
        return new Figure(
                "rank-frequency",
                "Token frequency",
                "Occurrences against rank. The line is the fitted power law over its tail.",
                chart);
    }

    private static Figure normFrequency(TokenStudy.Result tokens) {
        XYChart chart = Plots.chart("norm of the input embedding", "occurrences");
        chart.getStyler().setYAxisLogarithmic(true);
        double[] norms = tokens.tokens().stream().mapToDouble(TokenStudy.Token::norm).toArray();
        double[] counts = tokens.tokens().stream().mapToDouble(TokenStudy.Token::count).toArray();
        Plots.points(chart, "token", norms, counts, Plots.GREY, SeriesMarkers.CIRCLE, 5);
        List<TokenStudy.Bin> bins = tokens.bins().stream().filter(b -> b.tokens() > 0).toList();
        Plots.points(
                chart,
                "mean of a norm bin",
                bins.stream().mapToDouble(b -> (b.low() + b.high()) / 2).toArray(),
                bins.stream().mapToDouble(TokenStudy.Bin::meanCount).toArray(),
                Plots.ORANGE,
                SeriesMarkers.DIAMOND,
                8);
        return new Figure(
                "norm-frequency",
                "Norm against frequency",
                "Each token, and the mean of each of 99 bins of equal width. In a hierarchy laid "
                        + "out from the origin, frequent (general) tokens lie further in.",
                chart);
    }

    private static Figure blockNorms(List<StateStudy.Block> blocks) {
        XYChart chart = Plots.chart("block (0 = embeddings)", "norm of the residual stream");
        double[] x = blocks.stream().mapToDouble(StateStudy.Block::block).toArray();
        double[] mean = blocks.stream().mapToDouble(StateStudy.Block::mean).toArray();
        double[] first = blocks.stream().mapToDouble(StateStudy.Block::first).toArray();
        double[] error = blocks.stream().mapToDouble(StateStudy.Block::deviation).toArray();
        chart.getStyler().setYAxisLogarithmic(spread(mean, first) > 50);
        Plots.line(chart, "first token", x, first, Plots.GREY).setMarker(SeriesMarkers.DIAMOND);
        XYSeries series =
                chart.getStyler().isYAxisLogarithmic()
                        ? chart.addSeries("other tokens", x, mean)
                        : chart.addSeries("other tokens, ± deviation", x, mean, error);
        series.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(Plots.BLUE);
        series.setLineColor(Plots.BLUE);
        return new Figure(
                "hidden-norms",
                "Hidden states through the model",
                "Mean norm after each block. The first token of a text often is an attention sink "
                        + "of a very different norm.",
                chart);
    }

    private static double spread(double[]... values) {
        double[] all = Arrays.stream(values).flatMapToDouble(Arrays::stream).toArray();
        return Arrays.stream(all).max().orElse(1) / Arrays.stream(all).min().orElse(1);
    }

    private static Figure moduleVariation(List<InputNorms.Module> modules) {
        Map<String, Map<Integer, Double>> kinds = new LinkedHashMap<>();
        for (InputNorms.Module m : modules) {
            String[] parts = m.module().split("\\.");
            String kind =
                    switch (parts[parts.length - 1]) {
                        case "q_proj", "k_proj", "v_proj" -> "q, k, v";
                        case "gate_proj", "up_proj" -> "gate, up";
                        case "o_proj" -> "o";
                        case "down_proj" -> "down";
                        default -> parts[parts.length - 1];
                    };
            kinds.computeIfAbsent(kind, k -> new TreeMap<>())
                    .put(Integer.parseInt(parts[2]), m.variation());
        }
        XYChart chart = Plots.chart("block", "deviation of |x| / mean of |x|");
        chart.getStyler().setYAxisMin(0.0);
        Color[] colors = {Plots.BLUE, Plots.GREEN, Plots.RED, Plots.ORANGE};
        int next = 0;
        for (var kind : kinds.entrySet()) {
            XYSeries series =
                    Plots.line(
                            chart,
                            kind.getKey(),
                            kind.getValue().keySet().stream().mapToDouble(i -> i).toArray(),
                            kind.getValue().values().stream().mapToDouble(v -> v).toArray(),
                            colors[next++ % colors.length]);
            series.setMarker(SeriesMarkers.CIRCLE);
        }
        return new Figure(
                "adapter-inputs",
                "Where HypLoRA can act",
                "Spread of the norm of what each adapted layer reads. HypLoRA is LoRA times a gain "
                        + "that depends on |x|: near 0 that gain is one constant, a step size.",
                chart);
    }

    private static Figure delta(HyperbolicityStudy.Result study, int number) {
        List<String> names = new ArrayList<>(List.of("this data"));
        List<Double> data = new ArrayList<>(List.of(study.mean()));
        List<Double> means = new ArrayList<>(List.of(0.0));
        List<Double> dataErrors = new ArrayList<>(List.of(study.deviation()));
        List<Double> errors = new ArrayList<>(List.of(0.0));
        for (HyperbolicityStudy.NullValue value : study.nulls()) {
            names.add(value.model().shortLabel());
            data.add(0.0);
            means.add(value.mean());
            dataErrors.add(0.0);
            errors.add(value.deviation());
        }
        CategoryChart chart =
                new CategoryChartBuilder()
                        .width(Plots.WIDTH)
                        .height(Plots.HEIGHT)
                        .yAxisTitle("delta_rel")
                        .build();
        Plots.style(chart.getStyler());
        chart.getStyler().setLegendVisible(false);
        chart.getStyler().setAvailableSpaceFill(0.5);
        chart.getStyler().setYAxisMin(0.0);
        boolean bars = study.spaces().size() > 1;
        chart.getStyler().setOverlapped(true);
        if (bars) {
            chart.addSeries("data", names, data, dataErrors).setFillColor(Plots.ORANGE);
            chart.addSeries("null models", names, means, errors).setFillColor(Plots.BLUE);
        } else {
            chart.addSeries("data", names, data).setFillColor(Plots.ORANGE);
            chart.addSeries("null models", names, means).setFillColor(Plots.BLUE);
        }
        return new Figure(
                "delta-" + number,
                "delta-hyperbolicity of " + study.what(),
                "0 is a tree. Bars: mean over the spaces"
                        + (bars ? ", with the deviation of single spaces" : "")
                        + ". The three null models in the middle are what structureless points of "
                        + "this size give; the sphere and the tree are the ends of the scale.",
                chart);
    }

    private static Figure disk(Inspection.Picture picture, int number) {
        XYChart chart =
                new XYChartBuilder().width(620).height(640).xAxisTitle("").yAxisTitle("").build();
        Plots.style(chart.getStyler());
        chart.getStyler().setXAxisMin(-1.05).setXAxisMax(1.05).setYAxisMin(-1.05).setYAxisMax(1.05);
        chart.getStyler().setAxisTicksVisible(false);
        chart.getStyler().setPlotGridLinesVisible(false);
        double[] cos = new double[181];
        double[] sin = new double[181];
        for (int i = 0; i <= 180; i++) {
            cos[i] = Math.cos(i * Math.PI / 90);
            sin[i] = Math.sin(i * Math.PI / 90);
        }
        XYSeries rim = Plots.line(chart, "rim", cos, sin, Plots.GREY);
        rim.setShowInLegend(false);
        double[] x = picture.disk().x();
        double[] y = picture.disk().y();
        int split = picture.frequent();
        if (split > 0) {
            Plots.points(
                    chart,
                    "most frequent",
                    Arrays.copyOf(x, split),
                    Arrays.copyOf(y, split),
                    Plots.BLUE,
                    SeriesMarkers.CIRCLE,
                    7);
        }
        Plots.points(
                chart,
                split > 0 ? "rarest" : "points",
                Arrays.copyOfRange(x, split, x.length),
                Arrays.copyOfRange(y, split, y.length),
                Plots.ORANGE,
                SeriesMarkers.DIAMOND,
                7);
        for (int i = 0; i < x.length; i++) {
            boolean shown = i < LABELLED && i < split || i >= x.length - LABELLED && split > 0;
            String label = printable(picture.labels().get(i));
            if (shown && !label.isEmpty()) {
                AnnotationText text = new AnnotationText(label, x[i], y[i] + 0.035, false);
                chart.addAnnotation(text);
            }
        }
        return new Figure(
                "disk-" + number,
                "Poincaré disk of " + picture.what(),
                String.format(
                        Locale.ROOT,
                        "Layout of least stress in the hyperbolic plane: distances are off by %.0f %% "
                                + "(root mean square); the same method in the flat plane, %.0f %%. "
                                + "Two dimensions show little of many: read it as a sketch.",
                        100 * picture.disk().stress(),
                        100 * picture.flat().stress()),
                chart);
    }

    /** Short, and of characters every font has. */
    static String printable(String text) {
        String stripped = text.strip();
        return stripped.length() <= 14 && stripped.matches("[\\p{Alnum}\\p{Punct}]+")
                ? stripped
                : "";
    }
}
