package org.horosphere.finetune;

import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Exact match of the final answer, as GSM8K, the LLM-Adapters suite and HypLoRA's evaluation count
 * it; the expected answer says what is looked for.
 *
 * <ul>
 *   <li>A number: the one after the first {@code ####}, otherwise the last of the text; equal
 *       within 1e-3. Commas are dropped first, so "1,250" is 1250.
 *   <li>A letter A to E (AQuA): the first that stands alone after {@code ####}; otherwise the last
 *       match of the first of these that occurs: {@code \\boxed{B}}, {@code (B)} or {@code B)},
 *       "answer is B", "is B." at the end, "option B".
 *   <li>A label of the commonsense sets (true, false; solution, answer, ending, option with a
 *       digit): the first label of its kind in the lower-cased text.
 *   <li>Anything else: what follows {@code ####}, or the whole text, must equal it.
 * </ul>
 *
 * Pure functions, safe from any thread.
 */
public final class Evaluation {
    private static final Pattern NUMBER = Pattern.compile("-?\\d+\\.?\\d*");
    private static final String MARKER = "####";
    private static final double TOLERANCE = 1e-3;

    private static final Pattern LETTER = Pattern.compile("[A-E]");
    private static final Pattern ALONE = Pattern.compile("\\b([A-E])\\b");
    private static final List<Pattern> CHOICES =
            List.of(
                    Pattern.compile("\\\\boxed\\{(?:\\\\text\\{)?\\(?([A-E])\\)?\\}"),
                    Pattern.compile("\\(?\\b([A-E])\\)"),
                    Pattern.compile("(?i:answer is)[:\\s]+\\(?([A-E])\\b"),
                    Pattern.compile("is[:\\s]+([A-E])\\.?\\s*$"),
                    Pattern.compile("[Oo]ption\\s+\\(?([A-E])\\b"));
    private static final List<Pattern> LABELS =
            List.of(
                    Pattern.compile("true|false"),
                    Pattern.compile("solution[12]"),
                    Pattern.compile("answer[1-5]"),
                    Pattern.compile("ending[1-4]"),
                    Pattern.compile("option[12]"));

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

    /** The letter a text gives as its choice, empty if it gives none. */
    public static String choice(String text) {
        int marker = text.indexOf(MARKER);
        if (marker >= 0) {
            Matcher alone = ALONE.matcher(text);
            return alone.find(marker + MARKER.length()) ? alone.group(1) : "";
        }
        for (Pattern pattern : CHOICES) {
            String last = "";
            for (Matcher matcher = pattern.matcher(text); matcher.find(); ) {
                last = matcher.group(1);
            }
            if (!last.isEmpty()) {
                return last;
            }
        }
        return "";
    }

    /** Whether the final answer of a generated text is the expected one. */
    public static boolean exactMatch(String generated, String answer) {
        String plain = answer.strip();
        if (LETTER.matcher(plain).matches()) {
            return choice(generated).equals(plain);
        }
        for (Pattern labels : LABELS) {
            if (labels.matcher(plain.toLowerCase(Locale.ROOT)).matches()) {
                Matcher first = labels.matcher(generated.toLowerCase(Locale.ROOT));
                return first.find() && first.group().equals(plain.toLowerCase(Locale.ROOT));
            }
        }
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
