package org.horosphere.finetune;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

/**
 * The course of a run as JSON lines, written as it happens: of every step {@code step, loss, lr,
 * grad_norm, tokens, tokens_per_s, elapsed}, of every validation {@code step, eval_loss, best,
 * elapsed}. Losses are nats per prediction, {@code tokens} counts from the beginning of the run
 * without padding and is {@code images} for an image classifier, {@code elapsed} is seconds of
 * training over all sessions.
 *
 * <p>For one thread.
 */
final class Metrics implements Trainer.Listener, AutoCloseable {
    static final String FILE = "metrics.jsonl";

    private final Path file;
    private final String unit;
    private final FileChannel channel;
    private final List<EventFile> eventFiles;
    private final long started = System.nanoTime();
    private final double earlier;
    private long tokens;
    private long last = started;

    private Metrics(
            Path file,
            FileChannel channel,
            String unit,
            List<EventFile> eventFiles,
            long tokens,
            double seconds) {
        this.file = file;
        this.unit = unit;
        this.channel = channel;
        this.eventFiles = eventFiles;
        this.tokens = tokens;
        earlier = seconds;
    }

    /**
     * Opens the file at a place in it; what follows is cut off.
     *
     * @param unit what is counted: tokens or images
     * @param bytes of the file that stay
     * @param tokens read so far
     * @param seconds trained so far
     * @param eventFiles told the same, and closed with this
     */
    static Metrics open(
            Path file,
            String unit,
            long bytes,
            long tokens,
            double seconds,
            List<EventFile> eventFiles) {
        try {
            FileChannel channel =
                    FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            if (channel.size() < bytes) {
                channel.close();
                throw new CheckpointException(
                        file
                                + ": has "
                                + channel.size()
                                + " bytes, the checkpoint was made at "
                                + bytes);
            }
            channel.truncate(bytes);
            channel.position(bytes);
            return new Metrics(file, channel, unit, eventFiles, tokens, seconds);
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    private static CheckpointException failure(Path file, IOException e) {
        return new CheckpointException(
                file + ": cannot write: " + CheckpointException.reason(e), e);
    }

    long tokens() {
        return tokens;
    }

    /** Seconds of training over all sessions. */
    double seconds() {
        return earlier + (System.nanoTime() - started) / 1e9;
    }

    /** Makes sure that all is on disk; returns the file's length. */
    long force() {
        try {
            channel.force(true);
            return channel.position();
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    @Override
    public void stepped(
            int step, double loss, double learningRate, double gradientNorm, long stepTokens) {
        long now = System.nanoTime();
        double rate = stepTokens / Math.max(1e-9, (now - last) / 1e9);
        tokens += stepTokens;
        ObjectNode line = Json.MAPPER.createObjectNode();
        line.put("step", step);
        line.put("loss", loss);
        line.put("lr", learningRate);
        line.put("grad_norm", gradientNorm);
        line.put(unit, tokens);
        line.put(unit + "_per_s", rounded(rate));
        line.put("elapsed", rounded(seconds()));
        write(line);
        for (EventFile events : eventFiles) {
            events.scalars(
                    step,
                    List.of(
                            "train/loss",
                            "train/lr",
                            "train/grad_norm",
                            "train/" + unit + "_per_s"),
                    loss,
                    learningRate,
                    gradientNorm,
                    rate);
        }
        last = System.nanoTime();
    }

    @Override
    public void validated(int step, double loss, boolean best) {
        ObjectNode line = Json.MAPPER.createObjectNode();
        line.put("step", step);
        line.put("eval_loss", loss);
        line.put("best", best);
        line.put("elapsed", rounded(seconds()));
        write(line);
        for (EventFile events : eventFiles) {
            events.scalars(step, List.of("eval/loss"), loss);
        }
        last = System.nanoTime(); // a validation is no part of the next step
    }

    private static double rounded(double value) {
        return Math.round(value * 1000) / 1000.0;
    }

    private void write(ObjectNode line) {
        try {
            ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    @Override
    public void close() {
        try {
            channel.close();
            eventFiles.forEach(EventFile::close);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
