package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** TensorBoard event files, read by a parser of their own. */
class EventFileTest {
    @TempDir Path dir;

    /** Bit by bit, from the polynomial. */
    private static int crc32c(byte[] data) {
        int crc = ~0;
        for (byte b : data) {
            crc ^= b & 0xff;
            for (int i = 0; i < 8; i++) {
                crc = (crc & 1) != 0 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
            }
        }
        return ~crc;
    }

    private static int masked(byte[] data) {
        int crc = crc32c(data);
        return (crc >>> 15 | crc << 17) + 0xa282ead8;
    }

    /** A message as text: {field:value ...}; fields in {@code nested} are messages themselves. */
    private static String text(ByteBuffer in, String path, List<String> nested) {
        StringBuilder out = new StringBuilder("{");
        while (in.hasRemaining()) {
            long key = varint(in);
            String at = path + (key >>> 3);
            out.append(key >>> 3).append(':');
            switch ((int) (key & 7)) {
                case 0 -> out.append(varint(in));
                case 1 -> {
                    double value = in.getDouble();
                    out.append(value > 1.6e9 ? "now" : Double.toString(value));
                }
                case 2 -> {
                    byte[] bytes = new byte[(int) varint(in)];
                    in.get(bytes);
                    out.append(
                            nested.contains(at)
                                    ? text(
                                            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN),
                                            at + ".",
                                            nested)
                                    : new String(bytes, StandardCharsets.UTF_8));
                }
                case 5 -> out.append(in.getFloat());
                default -> throw new AssertionError("wire type of " + at);
            }
            out.append(' ');
        }
        return out.append('}').toString();
    }

    private static long varint(ByteBuffer in) {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte b = in.get();
            value |= (long) (b & 0x7f) << shift;
            if (b >= 0) {
                return value;
            }
        }
    }

    private List<String> events() throws IOException {
        Path file;
        try (Stream<Path> files = Files.list(dir)) {
            file = files.findFirst().orElseThrow();
        }
        assertTrue(file.getFileName().toString().matches("events\\.out\\.tfevents\\.\\d{10}\\..+"));
        ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        List<String> events = new ArrayList<>();
        while (in.hasRemaining()) {
            byte[] head = new byte[8];
            in.get(head);
            assertEquals(masked(head), in.getInt(), "checksum of the length");
            byte[] data =
                    new byte[(int) ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN).getLong()];
            in.get(data);
            assertEquals(masked(data), in.getInt(), "checksum of the data");
            events.add(
                    text(
                            ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN),
                            "",
                            List.of("5", "5.1", "7")));
        }
        return events;
    }

    @Test
    void checksumsAreThoseOfTheStandard() {
        // RFC 3720, B.4: 32 bytes of zeros
        assertEquals(0x8a9136aa, crc32c(new byte[32]));
        byte[] data = "brain.Event:2".getBytes(StandardCharsets.UTF_8);
        assertEquals(masked(data), EventFile.maskedCrc(data, 0, data.length));
    }

    @Test
    void scalarsAreEvents() throws IOException {
        try (EventFile events = EventFile.create(dir, 0)) {
            events.scalars(1, List.of("train/loss", "train/lr"), 2.5, 0.125);
            events.scalars(300, List.of("eval/loss"), 1);
        }
        assertEquals(
                List.of(
                        "{1:now 3:brain.Event:2 }",
                        "{1:now 2:1 5:{1:{1:train/loss 2:2.5 } 1:{1:train/lr 2:0.125 } } }",
                        "{1:now 2:300 5:{1:{1:eval/loss 2:1.0 } } }"),
                events());
    }

    @Test
    void aResumedRunTellsTensorBoardWhatToForget() throws IOException {
        EventFile.create(dir, 41).close();
        assertEquals(List.of("{1:now 3:brain.Event:2 }", "{1:now 2:41 7:{1:1 } }"), events());
    }
}
