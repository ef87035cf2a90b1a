package org.horosphere.finetune;

import java.nio.file.Path;

/** A tokenizer or data file that cannot be used; the message is one line naming file and line. */
public final class DataException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** For data that is not a file of its own; {@code message} names it. */
    DataException(String message) {
        super(oneLine(message));
    }

    DataException(String message, Throwable cause) {
        super(oneLine(message), cause);
    }

    DataException(Path file, String message) {
        super(file + ": " + oneLine(message));
    }

    DataException(Path file, String message, Throwable cause) {
        super(file + ": " + oneLine(message), cause);
    }

    /** {@code line} counts from 1. */
    DataException(Path file, int line, String message) {
        super(file + ":" + line + ": " + oneLine(message));
    }

    private static String oneLine(String message) {
        return String.valueOf(message).strip().replaceAll("\\s*\\R\\s*", " ");
    }
}
