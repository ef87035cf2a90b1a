package org.horosphere.finetune.report;

import java.util.List;
import java.util.Locale;

/**
 * A matrix as coloured cells with their values: orange above the centre, blue below.
 *
 * @param rows names
 * @param columns names
 * @param values by row, then column; NaN leaves a cell empty
 * @param centre the value without a colour
 * @param digits after the point
 */
record HeatMap(
        List<String> rows, List<String> columns, double[][] values, double centre, int digits) {
    private static final int CELL_WIDTH = 58;
    private static final int CELL_HEIGHT = 28;
    private static final int LETTER = 8;

    /** An SVG element. */
    String svg() {
        double widest = 1e-12;
        for (double[] row : values) {
            for (double value : row) {
                widest = Double.isNaN(value) ? widest : Math.max(widest, Math.abs(value - centre));
            }
        }
        int left = 12 + LETTER * rows.stream().mapToInt(String::length).max().orElse(0);
        int top = 24;
        int width = left + CELL_WIDTH * columns.size();
        int height = top + CELL_HEIGHT * rows.size();
        StringBuilder out = new StringBuilder();
        out.append(
                String.format(
                        Locale.ROOT,
                        "<svg class=\"heat\" role=\"img\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">",
                        width,
                        height,
                        width,
                        height));
        for (int c = 0; c < columns.size(); c++) {
            text(out, left + CELL_WIDTH * c + CELL_WIDTH / 2, 16, "middle", columns.get(c));
        }
        for (int r = 0; r < rows.size(); r++) {
            int y = top + CELL_HEIGHT * r;
            text(out, left - 8, y + 19, "end", rows.get(r));
            for (int c = 0; c < columns.size(); c++) {
                double value = values[r][c];
                if (Double.isNaN(value)) {
                    continue;
                }
                int x = left + CELL_WIDTH * c;
                out.append(
                        String.format(
                                Locale.ROOT,
                                "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>",
                                x,
                                y,
                                CELL_WIDTH - 2,
                                CELL_HEIGHT - 2,
                                color((value - centre) / widest)));
                text(out, x + CELL_WIDTH / 2 - 1, y + 18, "middle", Html.number(value, digits));
            }
        }
        return out.append("</svg>").toString();
    }

    private static void text(StringBuilder out, int x, int y, String anchor, String text) {
        out.append(
                String.format(
                        Locale.ROOT,
                        "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>",
                        x,
                        y,
                        anchor,
                        Html.escape(text)));
    }

    /** From -1, blue, over 0, nearly white, to 1, orange; light enough for dark text. */
    private static String color(double t) {
        int[] end = t < 0 ? new int[] {0x7F, 0xAE, 0xE0} : new int[] {0xF0, 0xB2, 0x6B};
        double weight = Math.min(1, Math.abs(t));
        int[] mixed = new int[3];
        for (int i = 0; i < 3; i++) {
            mixed[i] = (int) Math.round(0xF5 + weight * (end[i] - 0xF5));
        }
        return "#%02x%02x%02x".formatted(mixed[0], mixed[1], mixed[2]);
    }
}
