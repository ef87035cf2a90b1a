package org.horosphere.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.horosphere.finetune.CheckpointException;

/**
 * An output directory from before the work begins: if the work fails with nothing in it, it goes.
 */
final class Claim implements AutoCloseable {
    private final Path directory;
    private final Set<String> worthless;
    private final Path standing;
    private boolean kept;

    /**
     * Makes the directory.
     *
     * @param worthless names of files that are of no use alone
     */
    Claim(Path directory, Set<String> worthless) {
        this.directory = directory.toAbsolutePath().normalize();
        this.worthless = worthless;
        Path there = this.directory;
        while (!Files.exists(there)) {
            there = there.getParent();
        }
        standing = there;
        try {
            Files.createDirectories(this.directory);
        } catch (IOException e) {
            throw new CheckpointException(
                    directory + ": cannot write: " + CheckpointException.reason(e), e);
        }
    }

    /** The work was of use, whatever comes. */
    void keep() {
        kept = true;
    }

    @Override
    public void close() {
        if (kept) {
            return;
        }
        try {
            List<Path> entries;
            try (Stream<Path> all = Files.list(directory)) {
                entries = all.toList();
            }
            if (entries.stream().allMatch(e -> worthless.contains(e.getFileName().toString()))) {
                for (Path entry : entries) {
                    Files.delete(entry);
                }
                for (Path made = directory; !made.equals(standing); made = made.getParent()) {
                    Files.delete(made);
                }
            }
        } catch (IOException e) {
            return; // the failure itself is what the user should read
        }
    }
}
