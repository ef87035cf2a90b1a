package org.horosphere.finetune.report;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Base64;
import java.util.Locale;
import org.knowm.xchart.VectorGraphicsEncoder;
import org.knowm.xchart.internal.chartpart.Chart;

/** Parts of pages that refer to nothing outside themselves. */
public final class Html {
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
            h3{font-size:1rem;margin:1.2rem 0 .2rem}.note{color:#67707a;font-size:.9rem}
            .maps{display:flex;flex-wrap:wrap;gap:1rem 2rem}.maps span{color:#67707a;font-size:.9rem}
            svg.heat{display:block;max-width:100%;height:auto;font-size:13px;fill:#2b3138}
            details{margin:.8rem 0}summary{cursor:pointer;color:#2f6db5}
            """;

    private Html() {}

    /** The page up to and with its heading; {@code </html>} is left to the caller. */
    public static String head(String title) {
        return "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
                + "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                + "<title>"
                + escape(title)
                + "</title>\n<style>\n"
                + STYLE
                + "</style>\n<h1>"
                + escape(title)
                + "</h1>\n";
    }

    /** A chart as an embedded picture with its caption. */
    public static String figure(String title, String caption, boolean square, Chart<?, ?> chart) {
        return "<figure"
                + (square ? " class=\"square\"" : "")
                + "><img alt=\""
                + escape(title)
                + "\" src=\"data:image/svg+xml;base64,"
                + Base64.getEncoder().encodeToString(svg(chart))
                + "\"><figcaption>"
                + escape(caption)
                + "</figcaption></figure>\n";
    }

    /** A chart as an SVG file. */
    public static byte[] svg(Chart<?, ?> chart) {
        try {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            VectorGraphicsEncoder.saveVectorGraphic(
                    chart, out, VectorGraphicsEncoder.VectorGraphicsFormat.SVG);
            return out.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** With so many digits after the point; a dash for NaN, never -0. */
    public static String number(double value, int digits) {
        if (Double.isNaN(value)) {
            return "–";
        }
        String text = String.format(Locale.ROOT, "%." + digits + "f", value);
        return text.matches("-0\\.?0*") ? text.substring(1) : text;
    }

    /** Text as HTML. */
    public static String escape(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;");
    }

    static double mean(java.util.List<Double> values) {
        return values.stream().mapToDouble(v -> v).average().orElse(Double.NaN);
    }
}
