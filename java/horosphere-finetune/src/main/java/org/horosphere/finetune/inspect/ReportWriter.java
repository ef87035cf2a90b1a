package org.horosphere.finetune.inspect;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.horosphere.finetune.AtomicFiles;
import org.horosphere.finetune.CheckpointException;
import org.horosphere.finetune.InputNorms;
import org.horosphere.finetune.report.Html;
import org.horosphere.finetune.report.Table;
import org.knowm.xchart.BitmapEncoder;

/** Writes a report for people: text for a terminal, one HTML file, charts as SVG and PNG. */
public final class ReportWriter {
    private ReportWriter() {}

    /** The summary a terminal shows, at most 100 columns but for the verdicts. */
    public static String text(Inspection.Report r) {
        StringBuilder out = new StringBuilder();
        for (Table table : tables(r)) {
            if (table.summary()) {
                out.append(table.text()).append('\n');
            }
        }
        for (HyperbolicityStudy.Result study : r.hyperbolicity()) {
            out.append(study.what()).append(": ").append(study.verdict()).append('\n');
        }
        for (Inspection.Picture p : r.pictures()) {
            out.append(
                    String.format(
                            Locale.ROOT,
                            "2-D layout of %s: distances off by %.0f %% in the hyperbolic plane, "
                                    + "%.0f %% in the flat one%n",
                            p.what(),
                            100 * p.disk().stress(),
                            100 * p.flat().stress()));
        }
        r.notes().forEach(note -> out.append("note: ").append(note).append('\n'));
        return out.toString();
    }

    /**
     * Writes one HTML file that refers to nothing outside itself.
     *
     * @throws org.horosphere.finetune.CheckpointException if it cannot be written
     */
    public static void html(Inspection.Report r, Path file) {
        List<Charts.Figure> figures = new ArrayList<>(Charts.of(r));
        StringBuilder out = new StringBuilder();
        out.append(Html.head("Is this embedding space hyperbolic?"));
        out.append("<p class=\"source\">")
                .append(Html.escape(String.join(" · ", r.source())))
                .append(r.texts() > 0 ? " · " + r.texts() + " texts" : "")
                .append("</p>\n");
        for (HyperbolicityStudy.Result study : r.hyperbolicity()) {
            out.append("<div class=\"verdict\"><b>")
                    .append(Html.escape(study.what()))
                    .append("</b>")
                    .append(Html.escape(study.verdict()))
                    .append("</div>\n");
        }
        r.notes()
                .forEach(
                        note -> out.append("<p>Note: ").append(Html.escape(note)).append("</p>\n"));
        List<Table> tables = tables(r);
        for (Charts.Figure figure : figures) {
            out.append("<h2>").append(Html.escape(figure.title())).append("</h2>\n");
            out.append(
                    Html.figure(
                            figure.title(),
                            figure.caption(),
                            figure.file().startsWith("disk"),
                            figure.chart()));
            for (Table table : tables) {
                if (table.figure().equals(figure.file())) {
                    out.append(table.html());
                }
            }
        }
        out.append("<h2>How to read this</h2>\n<p>delta_rel is twice Gromov’s delta (at the first ")
                .append("point) over the diameter: 0 for a tree, about 1 for a sphere with ")
                .append(
                        "great-circle distances. Points in many dimensions are nearly equidistant, ")
                .append("and nearly equidistant points look like a star, which is a tree: a low ")
                .append("value alone shows dimension, not hierarchy. Only a value below that of ")
                .append("random points of the same size and spectrum is evidence. The p-values ")
                .append("are of a Monte-Carlo test per null model, one-sided; texts that share ")
                .append("tokens are not independent, so the interval over spaces is too narrow ")
                .append("rather than too wide.</p>\n</html>\n");
        AtomicFiles.writeString(file, out.toString());
    }

    /** Writes every chart as NAME.svg and NAME.png into a directory, which is made if need be. */
    public static void charts(Inspection.Report r, Path directory) {
        try {
            Files.createDirectories(directory);
            for (Charts.Figure figure : Charts.of(r)) {
                write(directory.resolve(figure.file() + ".svg"), Html.svg(figure.chart()));
                write(
                        directory.resolve(figure.file() + ".png"),
                        BitmapEncoder.getBitmapBytes(
                                figure.chart(), BitmapEncoder.BitmapFormat.PNG));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(
                    directory + ": cannot write: " + CheckpointException.reason(e), e);
        }
    }

    private static void write(Path file, byte[] bytes) {
        AtomicFiles.write(
                file,
                channel -> {
                    ByteBuffer buffer = ByteBuffer.wrap(bytes);
                    while (buffer.hasRemaining()) {
                        channel.write(buffer);
                    }
                });
    }

    private static List<Table> tables(Inspection.Report r) {
        List<Table> tables = new ArrayList<>();
        if (r.frequencies() != null) {
            tables.add(frequencies(r.frequencies()));
        }
        if (r.tokens() != null) {
            tables.add(ranks(r.tokens()));
            if (!r.tokens().groups().isEmpty()) {
                tables.add(groups(r.tokens()));
            }
        }
        if (!r.blocks().isEmpty()) {
            tables.add(blocks(r.blocks()));
            tables.add(modules(r.modules()));
        }
        for (int i = 0; i < r.hyperbolicity().size(); i++) {
            HyperbolicityStudy.Result study = r.hyperbolicity().get(i);
            tables.add(nulls(study, "delta-" + (i + 1)));
            tables.add(spaces(study, "delta-" + (i + 1)));
        }
        return tables;
    }

    private static Table frequencies(Inspection.Frequencies f) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(
                List.of("", "gamma", "95 %", "95 %, xmin refitted", "xmin", "tail", "KS distance"));
        rows.add(
                List.of(
                        "maximum likelihood",
                        Html.number(f.exact().gamma(), 3),
                        range(f.interval().low(), f.interval().high(), 2),
                        range(f.intervalXmin().low(), f.intervalXmin().high(), 2),
                        Long.toString(f.exact().xmin()),
                        Integer.toString(f.exact().tail()),
                        Html.number(f.exact().distance(), 3)));
        rows.add(
                List.of(
                        "as published (powerlaw 1.5)",
                        Html.number(f.published().gamma(), 3),
                        "",
                        "",
                        Long.toString(f.published().xmin()),
                        Integer.toString(f.published().tail()),
                        Html.number(f.published().distance(), 3)));
        for (PowerLaw.Comparison c : List.of(f.lognormal(), f.exponential())) {
            rows.add(
                    List.of(
                            "against " + c.alternative(),
                            c.verdict(),
                            "log ratio " + Html.number(c.logRatio(), 1),
                            "p " + Html.number(c.pValue(), 3),
                            "",
                            "",
                            ""));
        }
        return new Table(
                "token frequencies: %d tokens of %d types".formatted(f.tokens(), f.types()),
                "rank-frequency",
                true,
                false,
                rows);
    }

    private static Table ranks(TokenStudy.Result tokens) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("rank", "occurrences", "mean norm", "deviation"));
        for (TokenStudy.Rank rank : tokens.ranks()) {
            rows.add(
                    List.of(
                            rank.first() + " – " + rank.last(),
                            rank.mostCount() + " – " + rank.leastCount(),
                            Html.number(rank.meanNorm(), 4),
                            Html.number(rank.deviation(), 4)));
        }
        return new Table(
                "embedding norm by frequency rank (Spearman correlation of norm and frequency "
                        + Html.number(tokens.spearman(), 2)
                        + ")",
                "norm-frequency",
                true,
                false,
                rows);
    }

    private static Table groups(TokenStudy.Result tokens) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("group", "words", "mean norm", "range", "mean occurrences"));
        for (TokenStudy.Group group : tokens.groups()) {
            rows.add(
                    List.of(
                            group.name(),
                            String.join(" ", group.words()),
                            Html.number(group.meanNorm(), 4),
                            range(group.leastNorm(), group.mostNorm(), 3),
                            Html.number(group.meanCount(), 1)));
        }
        return new Table(
                "word groups, from general to particular", "norm-frequency", true, false, rows);
    }

    private static Table blocks(List<StateStudy.Block> blocks) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("block", "mean norm", "deviation", "range", "first token"));
        for (StateStudy.Block b : blocks) {
            rows.add(
                    List.of(
                            Integer.toString(b.block()),
                            Html.number(b.mean(), 3),
                            Html.number(b.deviation(), 3),
                            range(b.least(), b.most(), 2),
                            Html.number(b.first(), 3)));
        }
        return new Table("norm of the residual stream", "hidden-norms", false, true, rows);
    }

    private static Table modules(List<InputNorms.Module> modules) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("module", "mean |x|", "variance", "deviation / mean", "range"));
        for (InputNorms.Module m : modules) {
            rows.add(
                    List.of(
                            m.module().replaceFirst("^model\\.layers\\.", ""),
                            Html.number(m.mean(), 3),
                            Html.number(m.variance(), 4),
                            Html.number(m.variation(), 3),
                            range(m.least(), m.most(), 2)));
        }
        return new Table(
                "|x| at the input of every layer an adapter can be on",
                "adapter-inputs",
                false,
                true,
                rows);
    }

    private static Table nulls(HyperbolicityStudy.Result study, String figure) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("", "delta_rel", "± over spaces", "95 % of means", "p lower", "p higher"));
        rows.add(
                List.of(
                        "this data",
                        Html.number(study.mean(), 3),
                        Html.number(study.deviation(), 3),
                        "",
                        "",
                        ""));
        for (HyperbolicityStudy.NullValue v : study.nulls()) {
            rows.add(
                    List.of(
                            v.model().label(),
                            Html.number(v.mean(), 3),
                            Html.number(v.deviation(), 3),
                            range(v.low(), v.high(), 3),
                            v.model().isMatched() ? Html.number(v.pLower(), 3) : "",
                            v.model().isMatched() ? Html.number(v.pHigher(), 3) : ""));
        }
        return new Table(
                "delta-hyperbolicity of %s: %d spaces, effective dimension %s"
                        .formatted(
                                study.what(),
                                study.spaces().size(),
                                Html.number(study.effectiveDimension(), 1)),
                figure,
                true,
                false,
                rows);
    }

    private static Table spaces(HyperbolicityStudy.Result study, String figure) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(
                List.of(
                        "space",
                        "points",
                        "delta_rel",
                        "sampled",
                        "all bases",
                        "diameter",
                        "eff. dim."));
        for (HyperbolicityStudy.Measured m : study.spaces()) {
            rows.add(
                    List.of(
                            m.name(),
                            Integer.toString(m.points()),
                            Html.number(m.deltaRel(), 4),
                            Html.number(m.sampledRel(), 4),
                            (m.points() > DeltaMeter.ALL_BASES ? "≤ " : "")
                                    + Html.number(m.upperRel(), 4),
                            Html.number(m.diameter(), 3),
                            Html.number(m.effectiveDimension(), 1)));
        }
        return new Table("every space", figure, false, true, rows);
    }

    private static String range(double low, double high, int digits) {
        return Html.number(low, digits) + " – " + Html.number(high, digits);
    }
}
