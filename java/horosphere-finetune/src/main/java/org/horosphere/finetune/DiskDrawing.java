package org.horosphere.finetune;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Path2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;

/**
 * Draws a two-dimensional embedding in the Poincaré disk: geodesics for the edges that no longer
 * path implies, dots for nodes, names for those with most children. The root, if there is one, is
 * moved to the centre, which keeps all distances.
 */
public final class DiskDrawing {
    private static final int SIZE = 1000;
    private static final int MARGIN = 20;
    private static final double SCALE = SIZE / 2.0 - MARGIN;
    private static final int LABELS = 24;
    private static final int FONT = 13;
    private static final int BENDS = 12;

    private final Hierarchy hierarchy;
    private final double[][] points;
    private final int[] degree;
    private final List<int[]> edges = new ArrayList<>();

    private DiskDrawing(HierarchyEmbedding embedding) {
        hierarchy = embedding.hierarchy();
        int n = hierarchy.nodes();
        int[][] children = hierarchy.children();
        int[][] parents = hierarchy.parents();
        degree = Arrays.stream(children).mapToInt(list -> list.length).toArray();
        int root =
                IntStream.range(0, n)
                        .filter(i -> parents[i].length == 0)
                        .boxed()
                        .max(Comparator.comparingInt(i -> degree[i]))
                        .orElse(-1);
        double[] centre = root < 0 ? new double[2] : embedding.inUnitBall(root);
        points = new double[n][];
        for (int i = 0; i < n; i++) {
            points[i] = shifted(embedding.inUnitBall(i), -centre[0], -centre[1]);
        }
        for (int u = 0; u < n; u++) {
            for (int parent : parents[u]) {
                if (!implied(parents, u, parent)) {
                    edges.add(new int[] {u, parent});
                }
            }
        }
    }

    private static boolean implied(int[][] parents, int u, int parent) {
        return Arrays.stream(parents[u])
                .anyMatch(
                        between ->
                                between != parent
                                        && Arrays.binarySearch(parents[between], parent) >= 0);
    }

    /** (z + a) / (1 + conj(a) z), the translation of the disk that takes 0 to a. */
    private static double[] shifted(double[] z, double a, double b) {
        double re = z[0] + a;
        double im = z[1] + b;
        double downRe = 1 + a * z[0] + b * z[1];
        double downIm = a * z[1] - b * z[0];
        double square = downRe * downRe + downIm * downIm;
        return new double[] {
            (re * downRe + im * downIm) / square, (im * downRe - re * downIm) / square
        };
    }

    /** Points of the geodesic from p to q, in pixels. */
    private static double[][] geodesic(double[] p, double[] q) {
        double[] w = shifted(q, -p[0], -p[1]);
        double r = Math.hypot(w[0], w[1]);
        double[][] path = new double[BENDS + 1][];
        for (int k = 0; k <= BENDS; k++) {
            double t = (double) k / BENDS;
            double length = Math.log((1 + r) / (1 - r)) / 2;
            double factor = r > 0 && r < 1 ? Math.tanh(t * length) / r : t;
            double[] z = shifted(new double[] {factor * w[0], factor * w[1]}, p[0], p[1]);
            path[k] = pixel(z);
        }
        return path;
    }

    private static double[] pixel(double[] z) {
        return new double[] {SIZE / 2.0 + SCALE * z[0], SIZE / 2.0 - SCALE * z[1]};
    }

    private int[] labelled() {
        return IntStream.range(0, points.length)
                .boxed()
                .sorted(Comparator.comparingInt((Integer i) -> -degree[i]))
                .limit(LABELS)
                .mapToInt(i -> i)
                .toArray();
    }

    private static double dot(int degree) {
        return 1.5 + Math.min(4, Math.log1p(degree) / 2);
    }

    /**
     * Writes the drawing: PNG if the name ends in {@code .png}, else SVG.
     *
     * @throws IllegalArgumentException if the embedding does not have two dimensions
     */
    public static void write(HierarchyEmbedding embedding, Path file) {
        if (embedding.dim() != 2) {
            throw new IllegalArgumentException(
                    "dim: " + embedding.dim() + ", expected 2 for a drawing");
        }
        DiskDrawing drawing = new DiskDrawing(embedding);
        if (file.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
            AtomicFiles.writeBytes(file, drawing.png());
        } else {
            AtomicFiles.writeString(file, drawing.svg());
        }
    }

    private String svg() {
        StringBuilder out = new StringBuilder();
        append(
                out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %1$d %1$d\" font-family=\"sans-serif\" font-size=\"%2$d\">%n",
                SIZE,
                FONT);
        out.append("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
        append(
                out,
                "<circle cx=\"%1$d\" cy=\"%1$d\" r=\"%2$.1f\" fill=\"none\" stroke=\"#888\"/>%n",
                SIZE / 2,
                SCALE);
        out.append("<path fill=\"none\" stroke=\"#4a7ab5\" stroke-opacity=\"0.45\" d=\"");
        for (int[] edge : edges) {
            double[][] path = geodesic(points[edge[0]], points[edge[1]]);
            for (int k = 0; k < path.length; k++) {
                append(out, "%s%.1f %.1f", k == 0 ? "M" : "L", path[k][0], path[k][1]);
            }
        }
        out.append("\"/>\n<g fill=\"#c0392b\">\n");
        for (int i = 0; i < points.length; i++) {
            double[] at = pixel(points[i]);
            append(
                    out,
                    "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>%s</title></circle>%n",
                    at[0],
                    at[1],
                    dot(degree[i]),
                    escaped(hierarchy.labels().get(i)));
        }
        out.append("</g>\n");
        for (int i : labelled()) {
            double[] at = pixel(points[i]);
            append(
                    out,
                    "<text x=\"%.1f\" y=\"%.1f\">%s</text>%n",
                    at[0] + 6,
                    at[1] - 4,
                    escaped(hierarchy.labels().get(i)));
        }
        return out.append("</svg>\n").toString();
    }

    private static void append(StringBuilder out, String format, Object... values) {
        out.append(String.format(Locale.ROOT, format, values));
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    }

    private byte[] png() {
        BufferedImage image = new BufferedImage(SIZE, SIZE, BufferedImage.TYPE_INT_RGB);
        Graphics2D g = image.createGraphics();
        g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        g.setColor(Color.WHITE);
        g.fillRect(0, 0, SIZE, SIZE);
        g.setColor(Color.GRAY);
        g.draw(new Ellipse2D.Double(MARGIN, MARGIN, 2 * SCALE, 2 * SCALE));
        g.setStroke(new BasicStroke(1));
        g.setColor(new Color(0x4a, 0x7a, 0xb5, 115));
        for (int[] edge : edges) {
            Path2D line = new Path2D.Double();
            for (double[] at : geodesic(points[edge[0]], points[edge[1]])) {
                if (line.getCurrentPoint() == null) {
                    line.moveTo(at[0], at[1]);
                } else {
                    line.lineTo(at[0], at[1]);
                }
            }
            g.draw(line);
        }
        g.setColor(new Color(0xc0, 0x39, 0x2b));
        for (int i = 0; i < points.length; i++) {
            double[] at = pixel(points[i]);
            double r = dot(degree[i]);
            g.fill(new Ellipse2D.Double(at[0] - r, at[1] - r, 2 * r, 2 * r));
        }
        g.setColor(Color.BLACK);
        g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, FONT));
        for (int i : labelled()) {
            double[] at = pixel(points[i]);
            g.drawString(hierarchy.labels().get(i), (float) at[0] + 6, (float) at[1] - 4);
        }
        g.dispose();
        try {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            ImageIO.write(image, "png", bytes);
            return bytes.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
