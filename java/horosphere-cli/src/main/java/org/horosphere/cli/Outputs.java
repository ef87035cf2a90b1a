package org.horosphere.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.horosphere.finetune.AtomicFiles;
import org.horosphere.finetune.CheckpointException;

/** Output places are tested before the work starts, not after it. */
final class Outputs {
    private Outputs() {}

    /**
     * Makes sure a directory can be written; leaves nothing behind.
     *
     * @throws CheckpointException saying why not
     */
    static void requireUsable(Path directory, boolean overwrite) {
        if (!overwrite && Files.isDirectory(directory) && !isEmpty(directory)) {
            throw new CheckpointException(
                    "--output " + directory + ": not empty; --overwrite replaces it");
        }
        AtomicFiles.requireDirectory(directory);
    }

    /** Makes sure a file can be written, if one was asked for; leaves nothing behind. */
    static void requireUsable(Path file) {
        if (file != null) {
            AtomicFiles.requireFile(file);
        }
    }

    /** Refuses to write into a directory that is read. */
    static void requireOther(String option, Path input, Path output) {
        try {
            if (Files.exists(input) && Files.exists(output) && Files.isSameFile(input, output)) {
                throw new UsageException(
                        "--output: "
                                + output
                                + " is the directory of "
                                + option
                                + ", expected another");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Makes the directories that a file needs. */
    static void makeParents(Path file) {
        try {
            Files.createDirectories(file.toAbsolutePath().normalize().getParent());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean isEmpty(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            return files.findAny().isEmpty();
        } catch (IOException e) {
            throw new CheckpointException(
                    "--output " + directory + ": cannot read: " + CheckpointException.reason(e), e);
        }
    }
}
