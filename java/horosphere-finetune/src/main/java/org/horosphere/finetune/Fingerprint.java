package org.horosphere.finetune;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;

/** SHA-256 of what a run depends on, to tell whether it still is the same. */
final class Fingerprint {
    /** Weights are read whole up to this size; of larger files so much is sampled. */
    private static final long WHOLE = 64L << 20;

    private static final int BLOCK = 1 << 16;

    private Fingerprint() {}

    /**
     * Of a model directory: configuration, tokenizer and weights. Of a weight file above 64 MiB the
     * size and 1024 evenly spaced blocks of 64 KiB count, the header among them: a change that
     * leaves all of those alone is not seen.
     */
    static String ofModel(Path directory) {
        MessageDigest digest = sha256();
        try (Stream<Path> entries = Files.list(directory)) {
            List<Path> files =
                    entries.filter(f -> f.toString().matches(".*\\.(safetensors|json)"))
                            .sorted()
                            .toList();
            for (Path file : files) {
                if (Files.isRegularFile(file)) {
                    add(digest, file);
                }
            }
        } catch (IOException e) {
            throw new CheckpointException(
                    directory + ": cannot read: " + CheckpointException.reason(e), e);
        }
        return text(digest);
    }

    static String of(String text) {
        MessageDigest digest = sha256();
        digest.update(text.getBytes(StandardCharsets.UTF_8));
        return text(digest);
    }

    /** Of examples, in order. */
    static String ofExamples(List<Dataset.Example> examples) {
        MessageDigest digest = sha256();
        for (Dataset.Example example : examples) {
            int n = example.tokens().length;
            int[] starts = example.starts().length == 1 ? new int[0] : example.starts();
            ByteBuffer bytes = ByteBuffer.allocate(4 + 8 * n + 4 * starts.length);
            bytes.putInt(n);
            bytes.asIntBuffer().put(example.tokens()).put(example.labels()).put(starts);
            digest.update(bytes.array());
        }
        return text(digest);
    }

    private static void add(MessageDigest digest, Path file) throws IOException {
        digest.update(file.getFileName().toString().getBytes(StandardCharsets.UTF_8));
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long size = channel.size();
            digest.update(ByteBuffer.allocate(Long.BYTES).putLong(0, size));
            long blocks = size <= WHOLE ? Math.ceilDiv(size, (long) BLOCK) : WHOLE / BLOCK;
            ByteBuffer buffer = ByteBuffer.allocate(BLOCK);
            for (long i = 0; i < blocks; i++) {
                long at = size <= WHOLE ? i * BLOCK : (size - BLOCK) / (blocks - 1) * i;
                buffer.clear();
                while (buffer.hasRemaining() && channel.read(buffer, at + buffer.position()) > 0) {}
                digest.update(buffer.flip());
            }
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static String text(MessageDigest digest) {
        return HexFormat.of().formatHex(digest.digest());
    }
}
