package org.horosphere.finetune;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * Training, validation and held-out examples. Immutable.
 *
 * @param training what is learned from
 * @param validation chooses the best state
 * @param test held out of both
 * @param problems the records behind {@code test}, or the first of them; empty for plain text
 */
public record DataSplit(
        List<Dataset.Example> training,
        List<Dataset.Example> validation,
        List<Dataset.Example> test,
        List<Dataset.Problem> problems) {
    private static final int MAX_VALIDATION = 64;
    private static final int MAX_PROBLEMS = 200;

    /**
     * Splits data at random. Without held-out data a tenth is held out (at least one example); a
     * tenth of the rest, 64 examples at most, validates.
     *
     * @param held held-out data, or null
     * @throws IllegalArgumentException if there is too little for all three
     */
    public static DataSplit of(Dataset all, Dataset held, long seed) {
        int count = all.examples().size();
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            order.add(i);
        }
        Collections.shuffle(order, new Random(seed));
        int heldOut = held != null ? 0 : Math.max(1, count / 10);
        int validating = Math.min(MAX_VALIDATION, Math.max(1, (count - heldOut) / 10));
        if (count - heldOut - validating < 1) {
            throw new IllegalArgumentException(
                    "--data: "
                            + count
                            + " examples are too few to train, validate and hold out; expected 3 or"
                            + " more");
        }
        List<Dataset.Problem> problems =
                held != null ? held.problems() : pick(all.problems(), order, 0, heldOut);
        return new DataSplit(
                pick(all.examples(), order, heldOut + validating, count),
                pick(all.examples(), order, heldOut, heldOut + validating),
                held != null ? held.examples() : pick(all.examples(), order, 0, heldOut),
                problems.subList(0, Math.min(MAX_PROBLEMS, problems.size())));
    }

    /** The same with the training examples packed, see {@link Dataset#pack}. */
    public DataSplit packed(int context) {
        return new DataSplit(Dataset.pack(training, context), validation, test, problems);
    }

    /** The same with at most so many held-out examples and problems. */
    public DataSplit limited(int most) {
        return new DataSplit(
                training,
                validation,
                test.subList(0, Math.min(most, test.size())),
                problems.subList(0, Math.min(most, problems.size())));
    }

    /** SHA-256 of the held-out examples and problems. */
    public String testFingerprint() {
        return Fingerprint.ofExamples(test) + Fingerprint.of(problems.toString());
    }

    private static <T> List<T> pick(List<T> from, List<Integer> order, int begin, int end) {
        return from.isEmpty() ? from : order.subList(begin, end).stream().map(from::get).toList();
    }
}
