package org.horosphere.cli;

import java.io.IOException;
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

    private static boolean isEmpty(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            return files.findAny().isEmpty();
        } catch (IOException e) {
            throw new CheckpointException(
                    "--output " + directory + ": cannot read: " + CheckpointException.reason(e), e);
        }
    }
}
