package org.horosphere.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.InvalidPathException;
import java.util.List;
import org.horosphere.HorosphereException;
import org.horosphere.finetune.CheckpointException;
import org.horosphere.finetune.DataException;
import org.horosphere.finetune.TrainingException;

/** Tells failures a user can do something about from our own mistakes, and puts them in a line. */
final class Failures {
    private static final List<Class<? extends Throwable>> EXPECTED =
            List.of(
                    UsageException.class,
                    CheckpointException.class,
                    DataException.class,
                    TrainingException.class,
                    HorosphereException.class,
                    IllegalArgumentException.class,
                    UncheckedIOException.class,
                    IOException.class,
                    OutOfMemoryError.class,
                    UnsatisfiedLinkError.class);

    private Failures() {}

    /** A class that cannot be initialised hides why, at times twice. */
    static Throwable cause(Throwable failure) {
        Throwable cause = failure;
        while ((cause instanceof LinkageError && !(cause instanceof UnsatisfiedLinkError)
                        || cause instanceof UncheckedIOException)
                && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    static boolean isExpected(Throwable cause) {
        return EXPECTED.stream().anyMatch(type -> type.isInstance(cause));
    }

    /** The failure in one line. */
    static String line(Throwable cause) {
        String text;
        if (cause instanceof OutOfMemoryError) {
            text =
                    "not enough memory ("
                            + cause.getMessage()
                            + "): smaller sizes (--batch-size, --max-length, --dim) take less";
        } else if (cause instanceof InvalidPathException) {
            text = "not a file name: " + cause.getMessage();
        } else if (cause instanceof IOException e) {
            String file = e instanceof FileSystemException f ? f.getFile() : null;
            text = (file == null ? "" : file + ": ") + CheckpointException.reason(e);
        } else {
            text = cause.getMessage() == null ? cause.toString() : cause.getMessage();
        }
        return oneLine(text);
    }

    static String oneLine(String text) {
        return text.strip().replaceAll("[\\p{Cntrl}\\s]+", " ");
    }
}
