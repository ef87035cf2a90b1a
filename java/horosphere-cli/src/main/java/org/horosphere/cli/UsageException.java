package org.horosphere.cli;

import java.util.function.Supplier;

/** An option's value that makes no sense, whatever the files are: exit code 2. */
final class UsageException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    UsageException(String message) {
        super(message);
    }

    /** Calls what checks option values by {@link IllegalArgumentException}. */
    static <T> T check(Supplier<T> values) {
        try {
            return values.get();
        } catch (IllegalArgumentException e) {
            throw new UsageException(e.getMessage());
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
