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
    /** Wider matrices are drawn small, without numbers. */
    private static final int MOST_NUMBERED = 12;

    private static final int LETTER = 8;

    /** An SVG element. */
    String svg() {
        boolean numbered = columns.size() <= MOST_NUMBERED;
        int cellWidth = numbered ? 58 : 18;
        int cellHeight = numbered ? 28 : 18;
        double widest = 1e-12;
        for (double[] row : values) {
            for (double value : row) {
                widest = Double.isNaN(value) ? widest : Math.max(widest, Math.abs(value - centre));
            }
        }
        int left = 12 + LETTER * rows.stream().mapToInt(String::length).max().orElse(0);
        int top = 24;
        int width = left + cellWidth * columns.size();
        int height = top + cellHeight * rows.size();
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
            text(out, left + cellWidth * c + cellWidth / 2, 16, "middle", columns.get(c));
        }
        for (int r = 0; r < rows.size(); r++) {
            int y = top + cellHeight * r;
            text(out, left - 8, y + cellHeight / 2 + 4, "end", rows.get(r));
            for (int c = 0; c < columns.size(); c++) {
                double value = values[r][c];
                if (Double.isNaN(value)) {
                    continue;
                }
                int x = left + cellWidth * c;
                out.append(
                        String.format(
                                Locale.ROOT,
                                "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>",
                                x,
                                y,
                                cellWidth - 2,
                                cellHeight - 2,
                                color((value - centre) / widest)));
                if (numbered) {
                    text(out, x + cellWidth / 2 - 1, y + 18, "middle", Html.number(value, digits));
                }
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
