package org.horosphere.cli;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.horosphere.finetune.ImageClassifier;

/** What is said about a classifier's answers. */
final class ImageReports {
    private static final int SHOWN_CLASSES = 8;

    private ImageReports() {}

    /** The first classes by name. */
    static String text(List<String> labels) {
        return String.join(", ", labels.subList(0, Math.min(SHOWN_CLASSES, labels.size())))
                + (labels.size() > SHOWN_CLASSES ? ", ..." : "");
    }

    /** Per class that occurs: its name, how many images, how many of them were found. */
    static List<Map<String, Object>> classes(ImageClassifier.Score score, List<String> labels) {
        List<Map<String, Object>> entries = new ArrayList<>();
        for (int label = 0; label < labels.size(); label++) {
            int[] counts = score.ofClass(label);
            if (counts[0] > 0) {
                Map<String, Object> entry = new LinkedHashMap<>();
                entry.put("class", labels.get(label));
                entry.put("images", counts[0]);
                entry.put("right", counts[1]);
                entries.add(entry);
            }
        }
        return entries;
    }

    static void print(PrintStream out, ImageClassifier.Score score, List<String> labels) {
        out.printf(
                Locale.ROOT,
                "accuracy %.1f %%, standard error %.1f (%d of %d images), loss %.4f nats/image%n",
                100 * score.accuracy(),
                100 * score.standardError(),
                score.rightAnswers(),
                score.total(),
                score.loss());
        for (Map<String, Object> entry : classes(score, labels)) {
            int images = (Integer) entry.get("images");
            int right = (Integer) entry.get("right");
            out.printf(
                    Locale.ROOT,
                    "  %-30s %6d of %-6d %5.1f %%%n",
                    entry.get("class"),
                    right,
                    images,
                    100.0 * right / images);
        }
    }
}
