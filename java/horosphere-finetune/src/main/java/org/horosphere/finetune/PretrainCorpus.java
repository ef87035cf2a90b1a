package org.horosphere.finetune;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Text to train the embedded base model on: calculations in the notation of {@link WordProblems},
 * its stories without their questions, stories told again or reduced to their numbers, and
 * questions answered without a number. The base so knows the words, the arithmetic and the "Q: A:"
 * form, but never sees a calculation, or a number, as the answer to a question: that is left to the
 * fine-tuning.
 */
public final class PretrainCorpus {
    private static final List<String> OPERATORS =
            List.of("+", "-", "*", "+-", "-+", "--", "++", "*+", "*-");
    private static final List<String> SEPARATORS = List.of(", ", ", ", "\n", " #### ");
    private static final List<String> NUMBERLESS =
            List.of(
                    "Q: What does {N} have?\nA: {N} has {o}.",
                    "Q: Who likes {f}?\nA: {N} likes {f}.",
                    "Q: Where are the {o}?\nA: In the {k}.",
                    "Q: Does {N} have {o} or {f}?\nA: {P} has {o}.",
                    "Q: Who has the {ks}?\nA: {N} and {M}.");

    private PretrainCorpus() {}

    /**
     * An endless, sequential stream of pieces of about 10 to 60 tokens, the same for a seed on
     * every machine. End each piece with EOS, see {@link Dataset#ofTexts}.
     */
    public static Stream<String> generate(long seed) {
        SplitMix64 random = new SplitMix64(seed);
        return Stream.generate(() -> piece(random)).sequential();
    }

    private static String piece(SplitMix64 random) {
        int kind = random.below(100);
        if (kind < 45) {
            return calculations(random);
        }
        WordProblems.Template template = random.pick(WordProblems.TEMPLATES);
        if (kind < 90) {
            int[] numbers = WordProblems.calculate(template.operators(), random).numbers();
            String story = WordProblems.fill(template.story(), numbers, random);
            if (kind < 60) {
                return story;
            }
            return kind < 75
                    ? story + " Again: " + story
                    : story + " Numbers: " + inOrder(story) + ".";
        }
        if (kind < 95) {
            return WordProblems.fill(random.pick(NUMBERLESS), new int[0], random);
        }
        String question = "Q: " + template.question() + "\nA: {N} does not say.";
        return WordProblems.fill(question, new int[0], random);
    }

    private static String calculations(SplitMix64 random) {
        String separator = random.pick(SEPARATORS);
        int count = random.between(2, 4);
        return Stream.generate(() -> random.pick(OPERATORS))
                .limit(count)
                .map(operators -> WordProblems.calculate(operators, random).equations())
                .collect(Collectors.joining(separator));
    }

    /** The numbers of a text in the order they appear. */
    private static String inOrder(String text) {
        return Arrays.stream(text.split("\\D+"))
                .filter(digits -> !digits.isEmpty())
                .collect(Collectors.joining(", "));
    }
}
