package org.horosphere.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Output places are tested before the work starts, not after it. */
final class Outputs {
    private Outputs() {}

    /**
     * Makes sure a directory can be written.
     *
     * @throws IllegalArgumentException saying why not
     */
    static void requireUsable(Path directory, boolean overwrite) {
        Path absolute = directory.toAbsolutePath().normalize();
        if (Files.exists(absolute) && !Files.isDirectory(absolute)) {
            throw new IllegalArgumentException(
                    "--output " + directory + ": is a file, expected a directory");
        }
        if (!overwrite && !isEmpty(absolute)) {
            throw new IllegalArgumentException(
                    "--output " + directory + ": not empty; --overwrite replaces it");
        }
        Path parent = absolute.getParent();
        while (parent != null && !Files.exists(parent)) {
            parent = parent.getParent();
        }
        if (parent == null || !Files.isDirectory(parent) || !Files.isWritable(parent)) {
            throw new IllegalArgumentException(
                    "--output " + directory + ": cannot write in " + parent);
        }
    }

    private static boolean isEmpty(Path directory) {
        if (!Files.exists(directory)) {
            return true;
        }
        try (Stream<Path> files = Files.list(directory)) {
            return files.findAny().isEmpty();
        } catch (IOException e) {
            throw new UncheckedIOException("--output " + directory + ": " + e.getMessage(), e);
        }
    }
}
