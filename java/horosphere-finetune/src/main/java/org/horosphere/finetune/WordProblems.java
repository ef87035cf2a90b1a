package org.horosphere.finetune;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Grade-school word problems in the form of GSM8K, made from templates: one or two steps of
 * addition, subtraction or multiplication, numbers up to 50, answers up to 99, now and then (in
 * problems of one step) a number that does not matter. A problem reads
 *
 * <pre>
 * prompt      "Q: Mia has 12 shells. She finds 7 more. How many shells does Mia have now?\nA:"
 * completion  " 12+7=19 #### 19"
 * answer      "19"
 * </pre>
 *
 * and with two steps the completion is {@code " 12+7=19, 19-4=15 #### 15"}. The splits share no
 * calculation: which split a problem may appear in depends only on its operators and numbers, in
 * whatever order a sum or product has them, so the problems of one split are new to the others.
 */
public final class WordProblems {
    /** Parts of the problem space without a calculation in common. */
    public enum Split {
        TRAIN,
        VALIDATION,
        TEST
    }

    /** What happens, what is asked, and the operators applied to a, b, c from left to right. */
    record Template(String story, String question, String operators) {}

    /** The numbers of a problem and its results, one per operator. */
    record Calculation(String operators, int[] numbers, int[] results) {
        int answer() {
            return results[results.length - 1];
        }

        String equations() {
            StringBuilder out = new StringBuilder();
            for (int i = 0; i < results.length; i++) {
                out.append(i == 0 ? "" : ", ").append(i == 0 ? numbers[0] : results[i - 1]);
                out.append(operators.charAt(i))
                        .append(numbers[i + 1])
                        .append('=')
                        .append(results[i]);
            }
            return out.toString();
        }

        /** One tenth each is held out for test and validation. */
        Split split() {
            int first = numbers[0];
            int second = numbers[1];
            if (operators.charAt(0) != '-' && first > second) {
                first = numbers[1];
                second = numbers[0];
            }
            long key = operators.hashCode();
            key = key * 128 + first;
            key = key * 128 + second;
            key = key * 128 + (numbers.length > 2 ? numbers[2] : 0);
            long bucket = Long.remainderUnsigned(SplitMix64.mix(key), 10);
            return bucket == 0 ? Split.TEST : bucket == 1 ? Split.VALIDATION : Split.TRAIN;
        }
    }

    static final List<String> GIRLS =
            List.of("Mia", "Ana", "Lily", "Eva", "Zoe", "Emma", "Nina", "Ruth");
    static final List<String> BOYS =
            List.of("Ben", "Tom", "Sam", "Max", "Leo", "Jack", "Omar", "Noah");
    static final List<String> OBJECTS =
            List.of(
                    "shells", "stamps", "books", "pens", "coins", "cards", "marbles", "toys",
                    "beads", "balls", "cups", "keys", "stones", "flowers");
    static final List<String> FOODS =
            List.of("apples", "eggs", "plums", "pears", "nuts", "cookies", "cakes", "lemons");
    static final List<String> BOXES = List.of("box", "bag", "jar", "basket", "tin");
    static final List<String> MANY_BOXES = List.of("boxes", "bags", "jars", "baskets", "tins");

    static final List<Template> TEMPLATES =
            List.of(
                    new Template(
                            "{N} has {a} {o}. {P} finds {b} more.",
                            "How many {o} does {N} have now?",
                            "+"),
                    new Template(
                            "{N} has {a} {o}. {M} gives {N} {b} more {o}.",
                            "How many {o} does {N} have now?",
                            "+"),
                    new Template(
                            "{N} has {a} {o} and {M} has {b} {o}.",
                            "How many {o} do they have in all?",
                            "+"),
                    new Template(
                            "There are {a} {o} in the {k}. {N} puts {b} more {o} in it.",
                            "How many {o} are in the {k} now?",
                            "+"),
                    new Template(
                            "{N} buys {a} {o} on Monday and {b} {o} on Friday.",
                            "How many {o} does {N} buy in all?",
                            "+"),
                    new Template(
                            "A {k} holds {a} red {o} and {b} blue {o}.",
                            "How many {o} are in the {k}?",
                            "+"),
                    new Template(
                            "{N} picks {a} {f}. {M} picks {b} {f}.",
                            "How many {f} do they pick in all?",
                            "+"),
                    new Template(
                            "{N} has {a} {o}. {M} has {b} more {o} than {N}.",
                            "How many {o} does {M} have?",
                            "+"),
                    new Template(
                            "{a} birds sit in a tree. {b} more birds come.",
                            "How many birds are in the tree now?",
                            "+"),
                    new Template(
                            "{N} gives away {a} {o} and has {b} {o} left.",
                            "How many {o} did {N} have at first?",
                            "+"),
                    new Template(
                            "{N} reads {a} pages today. {P} reads {b} more pages on Friday.",
                            "How many pages does {N} read in all?",
                            "+"),
                    new Template(
                            "{N} has {a} {o}. {P} loses {b} of them.",
                            "How many {o} does {N} have left?",
                            "-"),
                    new Template(
                            "{N} has {a} {o}. {P} gives {b} {o} to {M}.",
                            "How many {o} does {N} have left?",
                            "-"),
                    new Template(
                            "There are {a} {f} in the {k}. {N} eats {b} of them.",
                            "How many {f} are left in the {k}?",
                            "-"),
                    new Template(
                            "{N} has {a} {o}. {M} has {b} fewer {o} than {N}.",
                            "How many {o} does {M} have?",
                            "-"),
                    new Template(
                            "{N} has {a} {o} and {M} has {b} {o}.",
                            "How many more {o} does {N} have than {M}?",
                            "-"),
                    new Template(
                            "{N} needs {a} {o}. {P} has {b} {o}.",
                            "How many more {o} does {N} need?",
                            "-"),
                    new Template(
                            "A {k} holds {a} {o}. {b} of them are red and the rest are blue.",
                            "How many {o} are blue?",
                            "-"),
                    new Template(
                            "{a} birds sit in a tree. {b} of them fly away.",
                            "How many birds are left in the tree?",
                            "-"),
                    new Template(
                            "{N} sells {b} {f}. {P} had {a} {f} at first.",
                            "How many {f} does {N} have left?",
                            "-"),
                    new Template(
                            "{N} finds {b} {o} and now has {a} {o}.",
                            "How many {o} did {N} have at first?",
                            "-"),
                    new Template(
                            "{N} has {a} dollars. {P} buys a toy for {b} dollars.",
                            "How many dollars does {N} have left?",
                            "-"),
                    new Template(
                            "{N} has {a} {ks}. Each {k} holds {b} {o}.",
                            "How many {o} does {N} have in all?",
                            "*"),
                    new Template(
                            "{N} buys {a} {o} each day for {b} days.",
                            "How many {o} does {N} buy in all?",
                            "*"),
                    new Template(
                            "{a} children have {b} {o} each.",
                            "How many {o} do they have in all?",
                            "*"),
                    new Template(
                            "{N} puts {o} in {a} rows. Each row has {b} {o}.",
                            "How many {o} are there in all?",
                            "*"),
                    new Template(
                            "{N} buys {a} {f} for {b} dollars each.",
                            "How many dollars does {N} pay?",
                            "*"),
                    new Template(
                            "{N} has {a} {o}. {P} finds {b} more and loses {c}.",
                            "How many {o} does {N} have now?",
                            "+-"),
                    new Template(
                            "A bus has {a} people. {b} more get on and {c} get off.",
                            "How many people are on the bus now?",
                            "+-"),
                    new Template(
                            "{N} picks {a} {f} and {M} picks {b} {f}. They eat {c} of them.",
                            "How many {f} are left?",
                            "+-"),
                    new Template(
                            "{N} has {a} {o}. {P} gives {b} to {M} and buys {c} more.",
                            "How many {o} does {N} have now?",
                            "-+"),
                    new Template(
                            "There are {a} {f} in the {k}. {N} eats {b} and {M} eats {c}.",
                            "How many {f} are left in the {k}?",
                            "--"),
                    new Template(
                            "{N} has {a} dollars. {P} pays {b} dollars for a book and {c} dollars"
                                    + " for a pen.",
                            "How many dollars does {N} have left?",
                            "--"),
                    new Template(
                            "{N} has {a} {o}, {M} has {b} and {L} has {c}.",
                            "How many {o} do they have in all?",
                            "++"),
                    new Template(
                            "{N} has {a} {ks} with {b} {o} each and {c} more {o}.",
                            "How many {o} does {N} have in all?",
                            "*+"),
                    new Template(
                            "{N} has {a} {ks} with {b} {f} each. {P} eats {c} of them.",
                            "How many {f} does {N} have left?",
                            "*-"));

    private static final List<String> IRRELEVANT =
            List.of(
                    "{N} is {d} years old. ",
                    "{N} lives at number {d}. ",
                    "It is day {d}. ",
                    "{N} walks {d} miles. ");

    private WordProblems() {}

    /** Problems of the training split, see {@link #generate(long, int, Split)}. */
    public static List<Dataset.Problem> generate(long seed, int count) {
        return generate(seed, count, Split.TRAIN);
    }

    /**
     * {@code count} problems with different prompts, the same for a seed on every machine. Tens of
     * millions of prompts exist; {@code count} may be up to 1,000,000.
     */
    public static List<Dataset.Problem> generate(long seed, int count, Split split) {
        if (count < 0 || count > 1_000_000) {
            throw new IllegalArgumentException("count = " + count + ", expected 0..1000000");
        }
        SplitMix64 random = new SplitMix64(seed);
        Set<String> seen = new HashSet<>();
        List<Dataset.Problem> problems = new ArrayList<>(count);
        while (problems.size() < count) {
            Template template = random.pick(TEMPLATES);
            Calculation calculation = calculate(template.operators(), random);
            if (calculation.split() != split) {
                continue;
            }
            boolean oneStep = template.operators().length() == 1;
            String irrelevant = oneStep && random.below(100) < 20 ? random.pick(IRRELEVANT) : "";
            String text = irrelevant + template.story() + " " + template.question();
            String prompt = "Q: " + fill(text, calculation.numbers(), random) + "\nA:";
            if (seen.add(prompt)) {
                String answer = String.valueOf(calculation.answer());
                problems.add(
                        new Dataset.Problem(
                                prompt, " " + calculation.equations() + " #### " + answer, answer));
            }
        }
        return problems;
    }

    /** The 2,000 problems shipped for training. */
    public static List<Dataset.Problem> trainingSet() {
        return DefaultData.problems(DefaultData.TRAIN);
    }

    /** The 200 problems shipped for testing; none of their calculations occurs in training. */
    public static List<Dataset.Problem> testSet() {
        return DefaultData.problems(DefaultData.TEST);
    }

    /** Numbers of at least 2 (so that plurals are right) with every result in 2..99. */
    static Calculation calculate(String operators, SplitMix64 random) {
        int steps = operators.length();
        int[] numbers = new int[steps + 1];
        int[] results = new int[steps];
        switch (operators.charAt(0)) {
            case '+' -> {
                int most = steps == 1 ? 49 : 35;
                numbers[0] = random.between(2, most);
                numbers[1] = random.between(2, most);
                results[0] = numbers[0] + numbers[1];
            }
            case '-' -> {
                numbers[0] = random.between(6, 50);
                numbers[1] = random.between(2, numbers[0] - (steps == 1 ? 2 : 4));
                results[0] = numbers[0] - numbers[1];
            }
            default -> {
                numbers[0] = random.between(2, 9);
                numbers[1] = random.between(2, 9);
                results[0] = numbers[0] * numbers[1];
            }
        }
        if (steps == 2) {
            boolean plus = operators.charAt(1) == '+';
            int most = plus ? Math.min(40, 99 - results[0]) : Math.min(50, results[0] - 2);
            numbers[2] = random.between(2, most);
            results[1] = results[0] + (plus ? numbers[2] : -numbers[2]);
        }
        return new Calculation(operators, numbers, results);
    }

    /** Puts names, things and numbers into a template's text. */
    static String fill(String text, int[] numbers, SplitMix64 random) {
        List<String> names = new ArrayList<>(3);
        while (names.size() < 3) {
            String name = random.pick(random.below(2) == 0 ? GIRLS : BOYS);
            if (!names.contains(name)) {
                names.add(name);
            }
        }
        int box = random.below(BOXES.size());
        String filled =
                text.replace("{N}", names.get(0))
                        .replace("{M}", names.get(1))
                        .replace("{L}", names.get(2))
                        .replace("{P}", GIRLS.contains(names.get(0)) ? "She" : "He")
                        .replace("{o}", random.pick(OBJECTS))
                        .replace("{f}", random.pick(FOODS))
                        .replace("{k}", BOXES.get(box))
                        .replace("{ks}", MANY_BOXES.get(box))
                        .replace("{d}", String.valueOf(random.between(2, 50)));
        for (int i = 0; i < numbers.length; i++) {
            filled = filled.replace("{" + (char) ('a' + i) + "}", String.valueOf(numbers[i]));
        }
        return filled;
    }
}
