package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.UUID;

/**
 * Writes files and directories that are either wholly there or not at all. New contents go to a
 * temporary sibling, are forced to disk and then moved into place; on any failure the temporary is
 * removed and what was there before stays.
 *
 * <p>Every method throws {@link CheckpointException} if it cannot write. Safe from any thread; of
 * two writers of one file the last wins, of two of one directory one may fail.
 */
public final class AtomicFiles {
    /** Writes a file's contents. */
    @FunctionalInterface
    public interface ChannelWriter {
        void write(FileChannel channel) throws IOException;
    }

    /** Fills a new, empty directory. */
    @FunctionalInterface
    public interface DirectoryWriter {
        void write(Path directory) throws IOException;
    }

    private AtomicFiles() {}

    /** Writes {@code text} as UTF-8. */
    public static void writeString(Path file, String text) {
        writeBytes(file, text.getBytes(StandardCharsets.UTF_8));
    }

    /** Writes {@code json} indented by two, with a line break at the end. */
    public static void writeJson(Path file, JsonNode json) {
        writeString(file, Json.pretty(json));
    }

    static void writeBytes(Path file, byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        write(
                file,
                channel -> {
                    while (buffer.hasRemaining()) {
                        channel.write(buffer);
                    }
                });
    }

    /** Replaces {@code file} by what {@code writer} writes. Its directory must exist. */
    public static void write(Path file, ChannelWriter writer) {
        try {
            Path target = follow(file);
            if (Files.exists(target) && !Files.isRegularFile(target)) {
                throw new IOException("it exists and is not a regular file");
            }
            Path temporary = sibling(target, ".tmp");
            try {
                // not createTempFile: its files are closed to everyone but the owner
                try (FileChannel channel =
                        FileChannel.open(
                                temporary,
                                StandardOpenOption.CREATE_NEW,
                                StandardOpenOption.WRITE)) {
                    writer.write(channel);
                    channel.force(true);
                }
                Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(temporary);
            }
            force(target.getParent());
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    /**
     * Replaces {@code directory} by what {@code writer} writes; missing parents are made. The old
     * directory stays under its name until the new one is complete. The two are then exchanged by
     * two renames; if the process dies just between them, both are complete beside the target, as
     * {@code .NAME.*.old} and {@code .NAME.*.tmp}.
     *
     * @param owned names of entries that go with the old directory; its other entries are moved
     *     into the new one, unless the writer wrote one of that name
     */
    public static void replaceDirectory(Path directory, Set<String> owned, DirectoryWriter writer) {
        try {
            Path target = follow(directory);
            boolean replaces = Files.exists(target);
            if (replaces && !Files.isDirectory(target)) {
                throw new IOException("it exists and is not a directory");
            }
            if (replaces && Files.isSameFile(target, Path.of(""))) {
                throw new IOException("it is the working directory, which cannot be replaced");
            }
            Path temporary = sibling(target, ".tmp");
            Path old = sibling(target, ".old");
            List<Path> made = createParents(target);
            boolean complete = false;
            try {
                Files.createDirectory(temporary);
                writer.write(temporary);
                force(temporary);
                if (replaces) {
                    Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
                }
                try {
                    Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
                } catch (IOException e) {
                    if (replaces) {
                        Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
                    }
                    throw e;
                }
                complete = true;
            } catch (CheckpointException e) {
                // the caller knows nothing of the temporary directory
                throw new CheckpointException(
                        e.getMessage().replace(temporary.toString(), directory.toString()), e);
            } finally {
                delete(temporary);
                if (!complete) {
                    delete(made);
                }
            }
            if (replaces) {
                for (Path entry : list(old)) {
                    Path kept = target.resolve(entry.getFileName());
                    if (!owned.contains(entry.getFileName().toString())
                            && !Files.exists(kept, LinkOption.NOFOLLOW_LINKS)) {
                        Files.move(entry, kept, StandardCopyOption.ATOMIC_MOVE);
                    }
                }
                delete(old);
            }
            force(target.getParent());
        } catch (IOException e) {
            throw failure(directory, e);
        }
    }

    /**
     * Tries whether {@link #replaceDirectory} could write there now; leaves nothing behind.
     *
     * @throws CheckpointException saying why not
     */
    public static void requireDirectory(Path directory) {
        try {
            Path target = follow(directory);
            if (Files.exists(target) && !Files.isDirectory(target)) {
                throw new IOException("it exists and is not a directory");
            }
            if (Files.exists(target) && Files.isSameFile(target, Path.of(""))) {
                throw new IOException("it is the working directory, which cannot be replaced");
            }
            probe(target);
        } catch (IOException e) {
            throw failure(directory, e);
        }
    }

    /**
     * Tries whether {@link #write} could write there now, once missing parents are made; leaves
     * nothing behind.
     *
     * @throws CheckpointException saying why not
     */
    public static void requireFile(Path file) {
        try {
            Path target = follow(file);
            if (Files.exists(target) && !Files.isRegularFile(target)) {
                throw new IOException("it exists and is not a regular file");
            }
            probe(target);
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    private static void probe(Path target) throws IOException {
        List<Path> made = createParents(target);
        try {
            Path temporary = sibling(target, ".tmp");
            Files.createFile(temporary);
            Files.delete(temporary);
        } finally {
            delete(made);
        }
    }

    /** Makes the missing ones of a path's parents and returns them, the innermost first. */
    private static List<Path> createParents(Path target) throws IOException {
        Deque<Path> missing = new ArrayDeque<>();
        for (Path p = target.getParent(); p != null && !Files.exists(p); p = p.getParent()) {
            missing.push(p);
        }
        List<Path> made = new ArrayList<>();
        try {
            for (Path directory : missing) {
                Files.createDirectory(directory);
                made.add(0, directory);
            }
        } catch (FileAlreadyExistsException e) {
            // another process makes the same ones; those it needs are not ours to remove
            Files.createDirectories(target.getParent());
        } catch (IOException e) {
            delete(made);
            throw e;
        }
        return made;
    }

    /** Removes directories as far as they are still empty. */
    private static void delete(List<Path> directories) throws IOException {
        for (Path directory : directories) {
            try {
                Files.delete(directory);
            } catch (DirectoryNotEmptyException e) {
                return; // somebody else uses it by now
            }
        }
    }

    private static CheckpointException failure(Path target, IOException e) {
        return new CheckpointException(
                target + ": cannot write: " + CheckpointException.reason(e), e);
    }

    // A move would replace the link and not the file it names.
    private static Path follow(Path path) throws IOException {
        Path target =
                Files.isSymbolicLink(path) ? path.toRealPath() : path.toAbsolutePath().normalize();
        if (target.getFileName() == null) {
            throw new IOException("it is the root directory");
        }
        return target;
    }

    private static Path sibling(Path target, String suffix) {
        return target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID() + suffix);
    }

    private static void force(Path directory) throws IOException {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    private static List<Path> list(Path directory) throws IOException {
        try (var entries = Files.list(directory)) {
            return entries.toList();
        }
    }

    private static void delete(Path directory) throws IOException {
        if (!Files.exists(directory, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try (var files = Files.walk(directory)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
