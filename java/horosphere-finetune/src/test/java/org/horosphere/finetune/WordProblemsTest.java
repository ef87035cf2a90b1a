package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class WordProblemsTest {
    private static final Pattern EQUATION = Pattern.compile("(\\d+)([-+*])(\\d+)=(\\d+)");

    @ParameterizedTest
    @EnumSource(WordProblems.Split.class)
    void everyEquationHolds(WordProblems.Split split) {
        for (Dataset.Problem problem : WordProblems.generate(11, 3000, split)) {
            String completion = problem.completion();
            assertTrue(
                    completion.matches(" \\d+[-+*]\\d+=\\d+(, \\d+[-+*]\\d+=\\d+)? #### \\d+"),
                    completion);
            Matcher equations = EQUATION.matcher(completion);
            int carried = -1;
            while (equations.find()) {
                int left = Integer.parseInt(equations.group(1));
                int right = Integer.parseInt(equations.group(3));
                int result = Integer.parseInt(equations.group(4));
                int expected =
                        switch (equations.group(2)) {
                            case "+" -> left + right;
                            case "-" -> left - right;
                            default -> left * right;
                        };
                assertEquals(expected, result, completion);
                assertTrue(carried < 0 || carried == left, completion);
                assertTrue(contains(problem.prompt(), right), problem.toString());
                assertTrue(carried >= 0 || contains(problem.prompt(), left), problem.toString());
                assertTrue(result >= 2 && result <= 99 && right >= 2 && right <= 50, completion);
                carried = result;
            }
            assertEquals(String.valueOf(carried), problem.answer());
            assertTrue(completion.endsWith(" #### " + carried), completion);
            assertTrue(Evaluation.exactMatch(completion, problem.answer()));
        }
    }

    private static boolean contains(String prompt, int number) {
        return Arrays.asList(prompt.split("\\D+")).contains(String.valueOf(number));
    }

    @Test
    void promptsAreFilledInAndDifferent() {
        Set<String> prompts = new HashSet<>();
        for (Dataset.Problem problem : WordProblems.generate(5, 5000)) {
            assertTrue(
                    problem.prompt().matches("Q: [A-Z0-9][A-Za-z0-9 .,]+\\. How many [^?]*\\?\nA:"),
                    problem.prompt());
            assertTrue(prompts.add(problem.prompt()), problem.prompt());
        }
        assertEquals(5000, prompts.size());
    }

    @Test
    void thereAreManyTemplates() {
        assertTrue(WordProblems.TEMPLATES.size() >= 30);
        assertEquals(
                Set.of("+", "-", "*", "+-", "-+", "--", "++", "*+", "*-"),
                WordProblems.TEMPLATES.stream()
                        .map(WordProblems.Template::operators)
                        .collect(Collectors.toSet()));
    }

    @Test
    void splitsShareNoCalculation() {
        Set<String> train = calculations(WordProblems.generate(1, 20_000));
        Set<String> validation =
                calculations(WordProblems.generate(1, 3000, WordProblems.Split.VALIDATION));
        Set<String> test = calculations(WordProblems.generate(1, 3000, WordProblems.Split.TEST));
        for (Set<String> held : List.of(validation, test)) {
            assertTrue(held.size() > 300, "held out: " + held.size());
            for (WordProblems.Template template : WordProblems.TEMPLATES) {
                String operators = template.operators() + "#";
                assertTrue(held.stream().anyMatch(c -> c.startsWith(operators)), operators);
            }
            Set<String> shared = new HashSet<>(held);
            shared.retainAll(train);
            assertEquals(Set.of(), shared);
        }
        validation.retainAll(test);
        assertEquals(Set.of(), validation);
    }

    @Test
    void shippedSetsAreDisjoint() {
        Set<String> train = calculations(WordProblems.trainingSet());
        Set<String> test = calculations(WordProblems.testSet());
        assertTrue(test.size() > 100);
        test.retainAll(train);
        assertEquals(Set.of(), test);
    }

    /** Operators and numbers, with the operands of a first sum or product in rising order. */
    private static Set<String> calculations(List<Dataset.Problem> problems) {
        Set<String> out = new TreeSet<>();
        for (Dataset.Problem problem : problems) {
            Matcher equations = EQUATION.matcher(problem.completion());
            StringBuilder operators = new StringBuilder();
            StringBuilder numbers = new StringBuilder();
            while (equations.find()) {
                int left = Integer.parseInt(equations.group(1));
                int right = Integer.parseInt(equations.group(3));
                if (operators.isEmpty()) {
                    boolean swap = !equations.group(2).equals("-") && left > right;
                    numbers.append(swap ? right : left).append(' ').append(swap ? left : right);
                } else {
                    numbers.append(' ').append(right);
                }
                operators.append(equations.group(2));
            }
            out.add(operators + "#" + numbers);
        }
        return out;
    }

    @Test
    void shippedFilesAreGeneratedByteForByte() {
        Map<String, byte[]> files = DefaultData.generate();
        assertEquals(4, files.size());
        files.forEach((name, bytes) -> assertArrayEquals(bytes, DefaultData.read(name), name));
        assertEquals(2000, WordProblems.trainingSet().size());
        assertEquals(200, WordProblems.testSet().size());
        assertEquals(WordProblems.generate(1, 2000), WordProblems.trainingSet());
    }

    @Test
    void seedsDecide() {
        assertEquals(WordProblems.generate(42, 50), WordProblems.generate(42, 50));
        assertNotEquals(WordProblems.generate(42, 50), WordProblems.generate(43, 50));
        assertEquals(List.of(), WordProblems.generate(42, 0));
        assertThrows(IllegalArgumentException.class, () -> WordProblems.generate(42, -1));
        assertEquals(
                PretrainCorpus.generate(1).limit(500).toList(),
                PretrainCorpus.generate(1).limit(500).toList());
        assertNotEquals(
                PretrainCorpus.generate(1).limit(50).toList(),
                PretrainCorpus.generate(2).limit(50).toList());
    }

    @Test
    void generatorIsSplitMix64() {
        SplitMix64 random = new SplitMix64(1234567);
        assertEquals(6457827717110365317L, random.next());
        assertEquals(3203168211198807973L, random.next());
    }

    @Test
    void corpusNeverAnswersAQuestionWithANumber() {
        List<String> pieces = PretrainCorpus.generate(8).limit(20_000).toList();
        long questions = 0;
        for (String piece : pieces) {
            assertFalse(piece.contains("{") || piece.contains("}"), piece);
            int question = piece.indexOf("Q:");
            if (question >= 0) {
                questions++;
                assertEquals(0, question, piece);
                assertFalse(piece.matches("(?s).*\\d.*"), piece);
            }
            Matcher equations = EQUATION.matcher(piece);
            assertFalse(equations.find() && piece.matches("(?s).*[A-Za-z].*"), piece);
        }
        assertTrue(questions > 500, "questions: " + questions);
        String all = String.join("\n", pieces);
        for (String word : List.of("How many", " ####", "A:", " at first?", "Numbers:")) {
            assertTrue(all.contains(word), word);
        }
    }

    @Test
    void problemsAreShort() {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            Dataset data =
                    Dataset.ofProblems(
                            WordProblems.trainingSet(), tokenizer, 1000, Dataset.Loss.COMPLETION);
            int longest = 0;
            long total = 0;
            for (Dataset.Example example : data.examples()) {
                longest = Math.max(longest, example.tokens().length);
                total += example.tokens().length;
            }
            assertTrue(longest <= 72, "longest " + longest);
            assertTrue(total < 52L * data.examples().size(), "mean over 52: " + total);
        }
    }
}
