package org.horosphere.finetune;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * A TensorBoard event file: TFRecords (length, masked CRC-32C of it, data, masked CRC-32C of that)
 * of {@code Event} protocol buffers, of which scalars need five fields. Flushed with every call.
 * For one thread.
 */
final class EventFile implements AutoCloseable {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;
    private static final int SESSION_START = 1;

    private final Path file;
    private final FileChannel channel;

    private EventFile(Path file, FileChannel channel) {
        this.file = file;
        this.channel = channel;
    }

    /**
     * Begins a new file in a directory, which is made if need be.
     *
     * @param step the first step to come; what earlier files of the directory say of it and of
     *     later steps is dropped by TensorBoard
     */
    static EventFile create(Path directory, long step) {
        long micros = System.currentTimeMillis() * 1000 + System.nanoTime() / 1000 % 1000;
        Path file =
                directory.resolve(
                        "events.out.tfevents.%010d.%s.%d.%d"
                                .formatted(
                                        micros / 1_000_000,
                                        hostName(),
                                        ProcessHandle.current().pid(),
                                        micros % 1_000_000));
        try {
            Files.createDirectories(directory);
            EventFile events =
                    new EventFile(
                            file,
                            FileChannel.open(
                                    file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE));
            Message version = event();
            version.bytes(3, "brain.Event:2".getBytes(StandardCharsets.UTF_8));
            events.record(version);
            if (step > 0) {
                Message session = new Message();
                session.varint(1, SESSION_START);
                Message start = event();
                start.varint(2, step);
                start.bytes(7, session.toByteArray());
                events.record(start);
            }
            return events;
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName().replaceAll("[^A-Za-z0-9.-]", "-");
        } catch (UnknownHostException e) {
            return "localhost";
        }
    }

    private static CheckpointException failure(Path file, IOException e) {
        return new CheckpointException(
                file + ": cannot write: " + CheckpointException.reason(e), e);
    }

    /** Writes one event with a value for every tag. */
    void scalars(long step, List<String> tags, double... values) {
        Message summary = new Message();
        for (int i = 0; i < values.length; i++) {
            Message value = new Message();
            value.bytes(1, tags.get(i).getBytes(StandardCharsets.UTF_8));
            value.fixed32(2, Float.floatToIntBits((float) values[i]));
            summary.bytes(1, value.toByteArray());
        }
        Message event = event();
        event.varint(2, step);
        event.bytes(5, summary.toByteArray());
        try {
            record(event);
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    private static Message event() {
        Message event = new Message();
        event.fixed64(1, Double.doubleToLongBits(System.currentTimeMillis() / 1000.0));
        return event;
    }

    private void record(Message message) throws IOException {
        byte[] data = message.toByteArray();
        ByteBuffer record = ByteBuffer.allocate(data.length + 16).order(ByteOrder.LITTLE_ENDIAN);
        record.putLong(data.length);
        record.putInt(maskedCrc(record.array(), 0, 8));
        record.put(data);
        record.putInt(maskedCrc(data, 0, data.length));
        record.flip();
        while (record.hasRemaining()) {
            channel.write(record);
        }
    }

    /** A CRC of data that holds CRCs is weak: TFRecord rotates it and adds a constant. */
    static int maskedCrc(byte[] data, int offset, int length) {
        CRC32C crc = new CRC32C();
        crc.update(data, offset, length);
        return Integer.rotateRight((int) crc.getValue(), 15) + 0xa282ead8;
    }

    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    /** A protocol buffer as it is built. */
    private static final class Message {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        void varint(int field, long value) {
            unsigned((long) field << 3 | VARINT);
            unsigned(value);
        }

        void fixed64(int field, long value) {
            unsigned((long) field << 3 | FIXED64);
            littleEndian(value, 8);
        }

        void fixed32(int field, int value) {
            unsigned((long) field << 3 | FIXED32);
            littleEndian(value, 4);
        }

        void bytes(int field, byte[] value) {
            unsigned((long) field << 3 | BYTES);
            unsigned(value.length);
            out.writeBytes(value);
        }

        private void littleEndian(long value, int bytes) {
            for (int i = 0; i < bytes; i++) {
                out.write((int) (value >>> 8 * i));
            }
        }

        private void unsigned(long value) {
            long rest = value;
            while ((rest & ~0x7FL) != 0) {
                out.write((int) (rest & 0x7F | 0x80));
                rest >>>= 7;
            }
            out.write((int) rest);
        }

        byte[] toByteArray() {
            return out.toByteArray();
        }
    }
}
