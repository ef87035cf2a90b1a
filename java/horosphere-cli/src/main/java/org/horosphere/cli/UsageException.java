package org.horosphere.cli;

import java.util.Map;
import java.util.function.Supplier;

/** An option's value that makes no sense, whatever the files are: exit code 2. */
final class UsageException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What the library calls an option whose name is another. */
    private static final Map<String, String> OPTIONS =
            Map.of(
                    "batch size", "batch-size",
                    "accumulation", "accumulate",
                    "evaluate-every", "eval-every",
                    "learning rate", "lr",
                    "warm-up steps", "warmup",
                    "weight decay", "weight-decay",
                    "clip norm", "clip",
                    "curvature radius K", "curvature",
                    "coefficient dropout", "coeff-dropout",
                    "top-k and top-p", "top-k and --top-p");

    UsageException(String message) {
        super(message);
    }

    /**
     * Calls what checks option values by an {@link IllegalArgumentException} that begins with a
     * name; the user reads the option's.
     */
    static <T> T check(Supplier<T> values) {
        try {
            return values.get();
        } catch (IllegalArgumentException e) {
            String[] message = e.getMessage().split(": ", 2);
            throw new UsageException(
                    "--" + OPTIONS.getOrDefault(message[0], message[0]) + ": " + message[1]);
        }
    }

    /** Returns an option's value if it is within its range. */
    static int require(String option, int value, int least, int most) {
        if (value < least || value > most) {
            throw new UsageException(
                    option
                            + ": "
                            + value
                            + ", expected "
                            + (most == Integer.MAX_VALUE
                                    ? least + " or more"
                                    : least + " to " + most));
        }
        return value;
    }
}
