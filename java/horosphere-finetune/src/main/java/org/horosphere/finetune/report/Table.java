package org.horosphere.finetune.report;

import java.util.List;

/**
 * Rows of text; the first row is the heading.
 *
 * @param title what the rows are
 * @param figure the figure it belongs to, for the caller
 * @param summary whether it belongs in a short account, for the caller
 * @param folded whether HTML shows it only when asked
 */
public record Table(
        String title, String figure, boolean summary, boolean folded, List<List<String>> rows) {
    /** For a terminal. */
    public String text() {
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

    /** For a page. */
    public String html() {
        StringBuilder out = new StringBuilder("<div class=\"wide\"><table>\n");
        for (int i = 0; i < rows.size(); i++) {
            String cell = i == 0 ? "th" : "td";
            out.append("<tr>");
            for (String value : rows.get(i)) {
                out.append('<').append(cell).append('>').append(Html.escape(value));
                out.append("</").append(cell).append('>');
            }
            out.append("</tr>\n");
        }
        out.append("</table></div>\n");
        return folded
                ? "<details><summary>" + Html.escape(title) + "</summary>\n" + out + "</details>\n"
                : out.toString();
    }
}
