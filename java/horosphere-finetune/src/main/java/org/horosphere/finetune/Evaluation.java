package org.horosphere.finetune;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Exact match of the final answer, as GSM8K and the LLM-Adapters suite count it: the number after
 * the first {@code ####}, otherwise the last number of the text; equal within 1e-3. Commas are
 * dropped first, so "1,250" is 1250. Pure functions, safe from any thread.
 */
public final class Evaluation {
    private static final Pattern NUMBER = Pattern.compile("-?\\d+\\.?\\d*");
    private static final String MARKER = "####";
    private static final double TOLERANCE = 1e-3;

    private Evaluation() {}

    /**
     * The number a text gives as its final answer, NaN if it gives none. With a {@code ####} only
     * what follows it counts.
     */
    public static double finalNumber(String text) {
        String plain = text.replace(",", "");
        int marker = plain.indexOf(MARKER);
        Matcher numbers = NUMBER.matcher(plain);
        if (marker >= 0) {
            return numbers.find(marker + MARKER.length())
                    ? Double.parseDouble(numbers.group())
                    : Double.NaN;
        }
        double last = Double.NaN;
        while (numbers.find()) {
            last = Double.parseDouble(numbers.group());
        }
        return last;
    }

    /**
     * Whether the final answer of a generated text is the expected one. Where the expected answer
     * holds no number, what follows {@code ####} (or the whole text) must equal it, apart from
     * surrounding white space.
     */
    public static boolean exactMatch(String generated, String answer) {
        double expected = finalNumber(answer);
        if (Double.isNaN(expected)) {
            return finalText(generated).equals(finalText(answer));
        }
        return Math.abs(finalNumber(generated) - expected) <= TOLERANCE;
    }

    private static String finalText(String text) {
        int marker = text.indexOf(MARKER);
        return (marker < 0 ? text : text.substring(marker + MARKER.length())).strip();
    }
}
