package org.horosphere.finetune.inspect;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import org.horosphere.finetune.AtomicFiles;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.VectorGraphicsEncoder;

/** Writes a report for people: text for a terminal, one HTML file, charts as SVG and PNG. */
public final class ReportWriter {
    private static final String STYLE =
            """
            body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#2b3138;\
            max-width:860px;margin:0 auto;padding:2rem 1.25rem 4rem;background:#fff}
            h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2.6rem 0 .6rem;\
            padding-top:1rem;border-top:1px solid #e6e9ed}
            .source{color:#67707a;margin:0 0 1.5rem;overflow-wrap:anywhere}
            .verdict{border-left:4px solid #2f6db5;background:#f3f6fa;padding:.8rem 1.1rem;margin:.8rem 0}
            .verdict b{display:block;margin-bottom:.2rem}
            figure{margin:1.2rem 0}figure img{width:100%;height:auto;max-width:760px;display:block}
            figure.square img{max-width:560px;margin:0 auto}
            figcaption{color:#67707a;font-size:.9rem}
            .wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin:.8rem 0;\
            font-variant-numeric:tabular-nums}
            th,td{padding:.28rem .8rem .28rem 0;text-align:right;border-bottom:1px solid #eef0f3}
            th:first-child,td:first-child{text-align:left}th{font-weight:600;color:#67707a}
            details{margin:.8rem 0}summary{cursor:pointer;color:#2f6db5}
            """;

    private ReportWriter() {}

    /** The summary a terminal shows, at most 100 columns but for the verdicts. */
    public static String text(Inspection.Report r) {
        StringBuilder out = new StringBuilder();
        for (Table table : tables(r)) {
            if (table.summary) {
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
        out.append("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">")
                .append("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">")
                .append("<title>Is this embedding space hyperbolic?</title>\n<style>\n")
                .append(STYLE)
                .append("</style>\n<h1>Is this embedding space hyperbolic?</h1>\n");
        out.append("<p class=\"source\">")
                .append(escape(String.join(" · ", r.source())))
                .append(r.texts() > 0 ? " · " + r.texts() + " texts" : "")
                .append("</p>\n");
        for (HyperbolicityStudy.Result study : r.hyperbolicity()) {
            out.append("<div class=\"verdict\"><b>")
                    .append(escape(study.what()))
                    .append("</b>")
                    .append(escape(study.verdict()))
                    .append("</div>\n");
        }
        r.notes().forEach(note -> out.append("<p>Note: ").append(escape(note)).append("</p>\n"));
        List<Table> tables = tables(r);
        for (Charts.Figure figure : figures) {
            out.append("<h2>").append(escape(figure.title())).append("</h2>\n");
            String square = figure.file().startsWith("disk") ? " class=\"square\"" : "";
            out.append("<figure")
                    .append(square)
                    .append("><img alt=\"")
                    .append(escape(figure.title()))
                    .append("\" src=\"data:image/svg+xml;base64,")
                    .append(Base64.getEncoder().encodeToString(svg(figure)))
                    .append("\"><figcaption>")
                    .append(escape(figure.caption()))
                    .append("</figcaption></figure>\n");
            for (Table table : tables) {
                if (table.figure.equals(figure.file())) {
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
                write(directory.resolve(figure.file() + ".svg"), svg(figure));
                write(
                        directory.resolve(figure.file() + ".png"),
                        BitmapEncoder.getBitmapBytes(
                                figure.chart(), BitmapEncoder.BitmapFormat.PNG));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(directory + ": cannot write: " + e.getMessage(), e);
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

    private static byte[] svg(Charts.Figure figure) {
        try {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            VectorGraphicsEncoder.saveVectorGraphic(
                    figure.chart(), out, VectorGraphicsEncoder.VectorGraphicsFormat.SVG);
            return out.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Rows of text; the first row is the heading. */
    private record Table(
            String title, String figure, boolean summary, boolean folded, List<List<String>> rows) {
        String text() {
            int columns = rows.get(0).size();
            int[] widths = new int[columns];
            for (List<String> row : rows) {
                for (int c = 0; c < columns; c++) {
                    widths[c] = Math.max(widths[c], row.get(c).length());
                }
            }
            StringBuilder out = new StringBuilder(title).append('\n');
            for (List<String> row : rows) {
                StringBuilder line = new StringBuilder(" ");
                for (int c = 0; c < columns; c++) {
                    String pad = " ".repeat(widths[c] - row.get(c).length());
                    line.append(c == 0 ? " " + row.get(c) + pad : "  " + pad + row.get(c));
                }
                out.append(line.toString().stripTrailing()).append('\n');
            }
            return out.toString();
        }

        String html() {
            StringBuilder out = new StringBuilder("<div class=\"wide\"><table>\n");
            for (int i = 0; i < rows.size(); i++) {
                String cell = i == 0 ? "th" : "td";
                out.append("<tr>");
                for (String value : rows.get(i)) {
                    out.append('<').append(cell).append('>').append(escape(value));
                    out.append("</").append(cell).append('>');
                }
                out.append("</tr>\n");
            }
            out.append("</table></div>\n");
            return folded
                    ? "<details><summary>" + escape(title) + "</summary>\n" + out + "</details>\n"
                    : out.toString();
        }
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
                        number(f.exact().gamma(), 3),
                        range(f.interval().low(), f.interval().high(), 2),
                        range(f.intervalXmin().low(), f.intervalXmin().high(), 2),
                        Long.toString(f.exact().xmin()),
                        Integer.toString(f.exact().tail()),
                        number(f.exact().distance(), 3)));
        rows.add(
                List.of(
                        "as published (powerlaw 1.5)",
                        number(f.published().gamma(), 3),
                        "",
                        "",
                        Long.toString(f.published().xmin()),
                        Integer.toString(f.published().tail()),
                        number(f.published().distance(), 3)));
        for (PowerLaw.Comparison c : List.of(f.lognormal(), f.exponential())) {
            rows.add(
                    List.of(
                            "against " + c.alternative(),
                            c.verdict(),
                            "log ratio " + number(c.logRatio(), 1),
                            "p " + number(c.pValue(), 3),
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
                            number(rank.meanNorm(), 4),
                            number(rank.deviation(), 4)));
        }
        return new Table(
                "embedding norm by frequency rank (Spearman correlation of norm and frequency "
                        + number(tokens.spearman(), 2)
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
                            number(group.meanNorm(), 4),
                            range(group.leastNorm(), group.mostNorm(), 3),
                            number(group.meanCount(), 1)));
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
                            number(b.mean(), 3),
                            number(b.deviation(), 3),
                            range(b.least(), b.most(), 2),
                            number(b.first(), 3)));
        }
        return new Table("norm of the residual stream", "hidden-norms", false, true, rows);
    }

    private static Table modules(List<StateStudy.Module> modules) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("module", "mean |x|", "variance", "deviation / mean", "range"));
        for (StateStudy.Module m : modules) {
            rows.add(
                    List.of(
                            m.module().replaceFirst("^model\\.layers\\.", ""),
                            number(m.mean(), 3),
                            number(m.variance(), 4),
                            number(m.variation(), 3),
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
                        number(study.mean(), 3),
                        number(study.deviation(), 3),
                        "",
                        "",
                        ""));
        for (HyperbolicityStudy.NullValue v : study.nulls()) {
            rows.add(
                    List.of(
                            v.model().label(),
                            number(v.mean(), 3),
                            number(v.deviation(), 3),
                            range(v.low(), v.high(), 3),
                            v.model().isMatched() ? number(v.pLower(), 3) : "",
                            v.model().isMatched() ? number(v.pHigher(), 3) : ""));
        }
        return new Table(
                "delta-hyperbolicity of %s: %d spaces, effective dimension %s"
                        .formatted(
                                study.what(),
                                study.spaces().size(),
                                number(study.effectiveDimension(), 1)),
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
                            number(m.deltaRel(), 4),
                            number(m.sampledRel(), 4),
                            (m.points() > DeltaMeter.ALL_BASES ? "≤ " : "")
                                    + number(m.upperRel(), 4),
                            number(m.diameter(), 3),
                            number(m.effectiveDimension(), 1)));
        }
        return new Table("every space", figure, false, true, rows);
    }

    private static String number(double value, int digits) {
        if (Double.isNaN(value)) {
            return "–";
        }
        String text = String.format(Locale.ROOT, "%." + digits + "f", value);
        return text.matches("-0\\.?0*") ? text.substring(1) : text;
    }

    private static String range(double low, double high, int digits) {
        return number(low, digits) + " – " + number(high, digits);
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;");
    }
}
