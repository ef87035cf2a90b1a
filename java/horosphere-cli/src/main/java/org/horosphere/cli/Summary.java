package org.horosphere.cli;

import java.io.PrintStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Several runs that differ in the seed only. */
final class Summary {
    private static final List<String> MEASURED =
            List.of("loss_after", "exact_match_after", "accuracy_after", "seconds", "best_step");

    private Summary() {}

    /** The mean and its standard error of what the runs measured. */
    static Map<String, Object> of(List<Map<String, Object>> runs) {
        Map<String, Object> summary = new LinkedHashMap<>();
        Map<String, Object> first = runs.get(0);
        summary.put("adapter", first.get("adapter"));
        summary.put("seeds", runs.size());
        summary.put("parameters", first.get("parameters"));
        summary.put("loss_before", first.get("loss_before"));
        if (first.containsKey("problems")) {
            summary.put("exact_match_before", first.get("exact_match_before"));
            summary.put("problems", first.get("problems"));
        }
        if (first.containsKey("images")) {
            summary.put("accuracy_before", first.get("accuracy_before"));
            summary.put("images", first.get("images"));
        }
        for (String key : MEASURED) {
            if (first.containsKey(key)) {
                double[] values =
                        runs.stream()
                                .mapToDouble(run -> ((Number) run.get(key)).doubleValue())
                                .toArray();
                Map<String, Object> measured = new LinkedHashMap<>();
                measured.put("mean", mean(values));
                measured.put("standard_error", standardError(values));
                measured.put("values", values);
                summary.put(key, measured);
            }
        }
        return summary;
    }

    static void print(PrintStream out, String kind, Map<String, Object> summary) {
        out.println();
        out.printf(Locale.ROOT, "%-28s %12s %20s%n", "held out", "base", kind);
        String unit = summary.containsKey("images") ? "image" : "token";
        line(out, "loss, nats per " + unit, 1, "loss_before", "loss_after", summary);
        if (summary.containsKey("problems")) {
            line(
                    out,
                    "exact match of " + summary.get("problems") + ", %",
                    100,
                    "exact_match_before",
                    "exact_match_after",
                    summary);
        }
        if (summary.containsKey("images")) {
            line(
                    out,
                    "right of " + summary.get("images") + ", %",
                    100,
                    "accuracy_before",
                    "accuracy_after",
                    summary);
        }
        out.printf("mean and standard error of %s runs%n", summary.get("seeds"));
    }

    private static void line(
            PrintStream out,
            String name,
            double scale,
            String before,
            String after,
            Map<String, Object> summary) {
        Map<?, ?> measured = (Map<?, ?>) summary.get(after);
        out.printf(
                Locale.ROOT,
                "%-28s %12s %20s%n",
                name,
                summary.get(before) instanceof Number number
                        ? String.format(Locale.ROOT, "%.4g", scale * number.doubleValue())
                        : "-",
                String.format(
                        Locale.ROOT,
                        "%.4g ± %.2g",
                        scale * (Double) measured.get("mean"),
                        scale * (Double) measured.get("standard_error")));
    }

    private static double mean(double[] values) {
        double sum = 0;
        for (double value : values) {
            sum += value;
        }
        return sum / values.length;
    }

    private static double standardError(double[] values) {
        double mean = mean(values);
        double squares = 0;
        for (double value : values) {
            squares += (value - mean) * (value - mean);
        }
        return Math.sqrt(squares / (values.length - 1) / values.length);
    }
}
