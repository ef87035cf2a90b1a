package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafeTensorsTest {
    private static final String A = "'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}";
    private static final String B = "'b':{'dtype':'BF16','shape':[1,3],'data_offsets':[8,14]}";

    @TempDir Path directory;

    private static byte[] file(String header, int dataBytes) {
        byte[] json = header.replace('\'', '"').getBytes(StandardCharsets.UTF_8);
        return file(json.length, json, dataBytes);
    }

    private static byte[] file(long length, byte[] header, int dataBytes) {
        ByteBuffer bytes =
                ByteBuffer.allocate(8 + header.length + dataBytes)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(length)
                        .put(header);
        for (int i = 0; i < dataBytes; i++) {
            bytes.put((byte) (i + 1));
        }
        return bytes.array();
    }

    private Path save(byte[] bytes) {
        try {
            return Files.write(directory.resolve("t.safetensors"), bytes);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Opens the file and touches every byte of every tensor. */
    private static void readAll(Path path) {
        try (Arena arena = Arena.ofConfined()) {
            readAll(SafeTensors.open(path, arena));
        }
    }

    private static void readAll(SafeTensors file) {
        for (String name : file.names()) {
            TensorData tensor = file.get(name);
            assertEquals(
                    tensor.elements() * tensor.type().bytes(),
                    tensor.data().toArray(ValueLayout.JAVA_BYTE).length);
        }
    }

    private String refusal(byte[] bytes) {
        Path path = save(bytes);
        CheckpointException e = assertThrows(CheckpointException.class, () -> readAll(path));
        assertTrue(e.getMessage().startsWith(path + ": "), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
        return e.getMessage();
    }

    private void assertRefused(String expected, byte[] bytes) {
        String message = refusal(bytes);
        assertTrue(message.contains(expected), message);
    }

    @Test
    void readsTensorsAndMetadata() {
        Path path =
                save(
                        file(
                                "{'__metadata__':{'format':'pt','é':'\\u0041'},"
                                        + A
                                        + ","
                                        + B
                                        + "}",
                                14));
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors file = SafeTensors.open(path, arena);
            assertEquals(Set.of("a", "b"), file.names());
            assertEquals(Map.of("format", "pt", "é", "A"), file.metadata());
            TensorData b = file.get("b");
            assertEquals(TensorType.BF16, b.type());
            assertArrayEquals(new long[] {1, 3}, b.shape());
            assertArrayEquals(
                    new byte[] {9, 10, 11, 12, 13, 14}, b.data().toArray(ValueLayout.JAVA_BYTE));
            assertTrue(b.data().isReadOnly());
            CheckpointException e =
                    assertThrows(CheckpointException.class, () -> file.get("missing"));
            assertTrue(e.getMessage().contains("missing"));
        }
    }

    @Test
    void emptyTensorsScalarsAndNoTensorsAreValid() {
        readAll(save(file("{}", 0)));
        readAll(save(file("{   }   ", 0)));
        Path path =
                save(
                        file(
                                "{'e':{'dtype':'F64','shape':[0,5],'data_offsets':[4,4]},"
                                        + "'s':{'dtype':'I32','shape':[],'data_offsets':[0,4]}}",
                                4));
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors file = SafeTensors.open(path, arena);
            assertEquals(0, file.get("e").elements());
            assertEquals(1, file.get("s").elements());
        }
    }

    @Test
    void everyTruncationIsRefused() {
        byte[] whole = file("{" + A + "," + B + "}", 14);
        readAll(save(whole));
        for (int n = 0; n < whole.length; n++) {
            refusal(Arrays.copyOf(whole, n));
        }
        assertRefused("15 bytes of data", Arrays.copyOf(whole, whole.length + 1));
    }

    @ParameterizedTest
    @ValueSource(longs = {0, 1, 71, 73, 80, 1L << 31, 1L << 32, 100_000_001, Long.MAX_VALUE, -1})
    void lyingHeaderLengthsAreRefused(long length) {
        byte[] json = ("{" + A + "}").replace('\'', '"').getBytes(StandardCharsets.UTF_8);
        assertTrue(json.length != length);
        refusal(file(length, json, 8));
        refusal(file(Long.MIN_VALUE | json.length, json, 8));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}} | 12 | inside the tensor before",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 8 | inside the tensor before",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[2],'data_offsets':[9,17]}} | 17 | hole",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}} | 12 | hole",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 12 | 12 bytes of data",
                "{} | 4 | 4 bytes of data",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 7 | truncated",
                "{'a':{'dtype':'F32','shape':[3],'data_offsets':[0,8]}} | 8 | expected 12 bytes",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,0]}} | 8 | expected 8 bytes",
                "{'a':{'dtype':'F32','shape':[9223372036854775807],'data_offsets':[0,8]}} | 8 | too large",
                "{'a':{'dtype':'F32','shape':[9223372036854775808],'data_offsets':[0,8]}} | 8 | JSON",
                "{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,0]}} | 0 | too large",
                "{'a':{'dtype':'F32','shape':[4294967296,4294967296,0],'data_offsets':[0,0]}} | 0 | too large",
                "{'a':{'dtype':'U8','shape':[2],'data_offsets':[9223372036854775806,9223372036854775807]}} | 2 | expected 2 bytes",
                "{'a':{'dtype':'F32','shape':[-2],'data_offsets':[0,8]}} | 8 | negative",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[-8,0]}} | 8 | negative",
                "{'a':{'dtype':'F32','shape':[2.0],'data_offsets':[0,8]}} | 8 | integers",
                "{'a':{'dtype':'F32','shape':['2'],'data_offsets':[0,8]}} | 8 | integers",
                "{'a':{'dtype':'F32','shape':[[2]],'data_offsets':[0,8]}} | 8 | integers",
                "{'a':{'dtype':'F32','shape':[true],'data_offsets':[0,8]}} | 8 | integers",
                "{'a':{'dtype':'F32','shape':2,'data_offsets':[0,8]}} | 8 | array of integers",
                "{'a':{'dtype':'F32','shape':null,'data_offsets':[0,8]}} | 8 | array of integers",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8,8]}} | 8 | at most 2",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[8]}} | 8 | two data_offsets",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':{'0':8}}} | 8 | array of integers",
                "{'a':{'dtype':'F33','shape':[2],'data_offsets':[0,8]}} | 8 | dtype F33",
                "{'a':{'dtype':'f32','shape':[2],'data_offsets':[0,8]}} | 8 | dtype f32",
                "{'a':{'dtype':7,'shape':[2],'data_offsets':[0,8]}} | 8 | dtype 7",
                "{'a':{'dtype':['F32'],'shape':[2],'data_offsets':[0,8]}} | 8 | dtype",
                "{'a':{'shape':[2],'data_offsets':[0,8]}} | 8 | expected dtype",
                "{'a':{'dtype':'F32','data_offsets':[0,8]}} | 8 | expected dtype",
                "{'a':{'dtype':'F32','shape':[2]}} | 8 | expected dtype",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8],'x':1}} | 8 | unknown entry x",
                "{'a':{'dtype':'F32','dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 8 | Duplicate",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 8 | Duplicate",
                "{'a':[]} | 0 | expected an object",
                "{'a':null} | 0 | expected an object",
                "{'__metadata__':[]} | 0 | object of strings",
                "{'__metadata__':{'a':1}} | 0 | expected a string",
                "{'__metadata__':{'a':{}}} | 0 | expected a string",
                "[] | 0 | begin with {",
                "'a' | 0 | begin with {",
                "{} {} | 0 | after its closing",
                "{'a':NaN} | 0 | JSON",
                "{'a | 0 | JSON",
            })
    void malformedHeadersAreRefused(String header, int dataBytes, String expected) {
        assertRefused(expected, file(header, dataBytes));
    }

    @Test
    void oddEncodingsAreRefused() {
        String json = ("{" + A + "}").replace('\'', '"');
        for (var charset :
                List.of(
                        StandardCharsets.UTF_16,
                        StandardCharsets.UTF_16LE,
                        StandardCharsets.UTF_16BE)) {
            byte[] header = json.getBytes(charset);
            refusal(file(header.length, header, 8));
        }
        byte[] marked = ("\uFEFF" + json).getBytes(StandardCharsets.UTF_8);
        assertRefused("begin with {", file(marked.length, marked, 8));
        byte[] latin = json.replace("a", "\u00e9").getBytes(StandardCharsets.ISO_8859_1);
        assertRefused("not UTF-8", file(latin.length, latin, 8));
        refusal(file(" {" + A + "}", 8));
    }

    @Test
    void hostileNestingAndNumbersAreRefused() {
        refusal(file("{'a':" + "[".repeat(100_000), 0));
        refusal(file("{'a':{'dtype':'F32','shape':[" + "9".repeat(5000) + "]", 0));
        refusal(file("{'a':{'dtype':'F32','shape':[" + "1,".repeat(1000) + "1]", 0));
        refusal(file("{'" + "n".repeat(200_000) + "':7}", 0));
        assertTrue(refusal(file("{'" + "n".repeat(20_000) + "':7}", 0)).length() < 2000);
    }

    @Test
    void notAFileIsRefused() {
        try (Arena arena = Arena.ofConfined()) {
            for (Path path : List.of(directory, directory.resolve("x"), Path.of("/dev/zero"))) {
                CheckpointException e =
                        assertThrows(
                                CheckpointException.class, () -> SafeTensors.open(path, arena));
                assertTrue(e.getMessage().startsWith(path + ": "), e.getMessage());
            }
        }
    }

    /** Any damage gives a valid file or the one exception, never another or a crash. */
    @Test
    void flippedBytesNeverSurprise() {
        byte[] whole = file("{'__metadata__':{'format':'pt'}," + A + "," + B + "}", 14);
        Random random = new Random(20261122);
        int refused = 0;
        int rounds = 40_000;
        for (int i = 0; i < rounds; i++) {
            byte[] bytes = whole.clone();
            int flips = 1 + random.nextInt(3);
            for (int j = 0; j < flips; j++) {
                bytes[random.nextInt(bytes.length)] =
                        random.nextBoolean()
                                ? (byte) random.nextInt(256)
                                : (byte) "0123456789{}[]\":,eE-.".charAt(random.nextInt(21));
            }
            try {
                readAll(SafeTensors.parse(directory, MemorySegment.ofArray(bytes)));
            } catch (CheckpointException e) {
                refused++;
            }
        }
        assertTrue(refused > rounds / 2 && refused < rounds, "refused " + refused);
    }

    @Test
    void roundTripKeepsEveryTypeAndBit() {
        Path path = directory.resolve("all.safetensors");
        Random random = new Random(1);
        List<TensorData> tensors =
                Arrays.stream(TensorType.values())
                        .map(
                                type -> {
                                    byte[] bytes = new byte[15 * type.bytes()];
                                    random.nextBytes(bytes);
                                    return new TensorData(
                                            "t." + type,
                                            type,
                                            new long[] {3, 5},
                                            MemorySegment.ofArray(bytes));
                                })
                        .toList();
        SafeTensors.write(path, tensors, Map.of("format", "pt", "a", "\"\n\u2713"));
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors read = SafeTensors.open(path, arena);
            assertEquals(TensorType.values().length, read.names().size());
            assertEquals(Map.of("format", "pt", "a", "\"\n\u2713"), read.metadata());
            for (TensorData tensor : tensors) {
                TensorData back = read.get(tensor.name());
                assertEquals(tensor.type(), back.type());
                assertArrayEquals(tensor.shape(), back.shape());
                assertEquals(-1, tensor.data().mismatch(back.data()));
            }
        }
    }

    @Test
    void layoutIsTheReferences() throws IOException {
        Path path = directory.resolve("layout.safetensors");
        SafeTensors.write(
                path,
                List.of(
                        TensorData.of("b", new float[] {1}, 1),
                        new TensorData(
                                "h",
                                TensorType.BF16,
                                new long[0],
                                MemorySegment.ofArray(new byte[2])),
                        TensorData.of("a", new float[] {2}, 1),
                        new TensorData(
                                "i",
                                TensorType.I64,
                                new long[] {1},
                                MemorySegment.ofArray(new byte[8]))),
                Map.of("format", "pt"));
        byte[] bytes = Files.readAllBytes(path);
        int length = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt();
        assertEquals(0, length % 8);
        assertEquals(
                ("{'__metadata__':{'format':'pt'},"
                                + "'i':{'dtype':'I64','shape':[1],'data_offsets':[0,8]},"
                                + "'a':{'dtype':'F32','shape':[1],'data_offsets':[8,12]},"
                                + "'b':{'dtype':'F32','shape':[1],'data_offsets':[12,16]},"
                                + "'h':{'dtype':'BF16','shape':[],'data_offsets':[16,18]}}")
                        .replace('\'', '"'),
                new String(bytes, 8, length, StandardCharsets.UTF_8).stripTrailing());
        assertEquals(8 + length + 18, bytes.length);
    }

    @Test
    void tensorsLargerThanOneChunkAreWritten() {
        Path path = directory.resolve("large.safetensors");
        float[] values = new float[3_000_001];
        for (int i = 0; i < values.length; i++) {
            values[i] = i;
        }
        SafeTensors.write(path, List.of(TensorData.of("x", values, values.length)), Map.of());
        try (Arena arena = Arena.ofConfined()) {
            assertArrayEquals(values, SafeTensors.open(path, arena).get("x").toFloatArray());
        }
    }

    @Test
    void sameNameTwiceIsRefused() {
        TensorData tensor = TensorData.of("a", new float[1], 1);
        Path path = directory.resolve("x");
        assertThrows(
                IllegalArgumentException.class,
                () -> SafeTensors.write(path, List.of(tensor, tensor), Map.of()));
        assertFalse(Files.exists(path));
    }

    @Test
    void failedWriteLeavesTheOldFile() throws IOException {
        Path path = directory.resolve("kept.safetensors");
        SafeTensors.write(path, List.of(TensorData.of("a", new float[] {7}, 1)), Map.of());
        TensorData closed;
        try (Arena arena = Arena.ofConfined()) {
            closed = new TensorData("z", TensorType.F32, new long[] {2}, arena.allocate(8));
        }
        List<TensorData> tensors = List.of(TensorData.of("a", new float[] {8}, 1), closed);
        assertThrows(IllegalStateException.class, () -> SafeTensors.write(path, tensors, Map.of()));
        try (Arena arena = Arena.ofConfined()) {
            assertArrayEquals(
                    new float[] {7}, SafeTensors.open(path, arena).get("a").toFloatArray());
        }
        try (var files = Files.list(directory)) {
            assertEquals(List.of(path), files.toList());
        }
    }

    @Test
    void unwritableTargetsAreRefused() throws IOException {
        Path plain = Files.writeString(directory.resolve("plain"), "");
        Path taken = Files.createDirectory(directory.resolve("taken"));
        for (Path path :
                List.of(
                        taken,
                        directory.resolve("no/such/file"),
                        plain.resolve("file"),
                        Path.of("/proc/horosphere.safetensors"),
                        Path.of("/"))) {
            CheckpointException e =
                    assertThrows(
                            CheckpointException.class,
                            () -> SafeTensors.write(path, List.of(), Map.of()));
            assertTrue(e.getMessage().startsWith(path + ": cannot write: "), e.getMessage());
        }
        try (var files = Files.list(directory)) {
            assertEquals(Set.of(plain, taken), Set.copyOf(files.toList()));
        }
    }

    @Test
    void floatsConvertAsTheirTypesSay() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment half = arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) 0x3C01);
            assertEquals(
                    1.0009765625f,
                    new TensorData("x", TensorType.F16, new long[] {1}, half).toFloatArray()[0]);
            MemorySegment brain = arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) 0xC049);
            assertEquals(
                    -3.140625f,
                    new TensorData("x", TensorType.BF16, new long[] {1}, brain).toFloatArray()[0]);
            MemorySegment wide = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, 1 + 0x1.8p-24);
            TensorData f64 = new TensorData("x", TensorType.F64, new long[] {1}, wide);
            assertEquals(1 + 0x1p-23f, f64.toFloatArray()[0]);
            assertEquals(1 + 0x1p-23f, f64.floats(arena).get(ValueLayout.JAVA_FLOAT, 0));
            TensorData integer =
                    new TensorData("x", TensorType.I64, new long[] {1}, arena.allocate(8));
            assertThrows(CheckpointException.class, () -> integer.floats(arena));
        }
    }

    @Test
    void everyHalfConvertsExactlyAcrossBlocks() {
        short[] halves = new short[70_001];
        float[] f16 = new float[halves.length];
        float[] bf16 = new float[halves.length];
        double[] doubles = new double[halves.length];
        float[] narrowed = new float[halves.length];
        for (int i = 0; i < halves.length; i++) {
            halves[i] = (short) i;
            f16[i] = Float.float16ToFloat((short) i);
            bf16[i] = Float.intBitsToFloat(i << 16);
            doubles[i] = i / 3.0;
            narrowed[i] = (float) (i / 3.0);
        }
        MemorySegment memory = MemorySegment.ofArray(halves);
        long[] shape = {halves.length};
        assertArrayEquals(f16, new TensorData("x", TensorType.F16, shape, memory).toFloatArray());
        assertArrayEquals(bf16, new TensorData("x", TensorType.BF16, shape, memory).toFloatArray());
        assertArrayEquals(
                narrowed,
                new TensorData("x", TensorType.F64, shape, MemorySegment.ofArray(doubles))
                        .toFloatArray());
    }

    @Test
    void floatsAreNotCopiedUnlessMisaligned() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(16, 8);
            TensorData aligned =
                    new TensorData("x", TensorType.F32, new long[] {1}, memory.asSlice(4, 4));
            assertSame(aligned.data(), aligned.floats(arena));
            memory.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 9, 2.5f);
            TensorData misaligned =
                    new TensorData("x", TensorType.F32, new long[] {1}, memory.asSlice(9, 4));
            MemorySegment copy = misaligned.floats(arena);
            assertNotSame(misaligned.data(), copy);
            assertEquals(2.5f, copy.get(ValueLayout.JAVA_FLOAT, 0));
        }
    }

    @Test
    void tensorDataChecksItsSize() {
        MemorySegment data = MemorySegment.ofArray(new byte[8]);
        assertThrows(
                IllegalArgumentException.class,
                () -> new TensorData("x", TensorType.F32, new long[] {3}, data));
        assertThrows(
                IllegalArgumentException.class,
                () -> new TensorData("x", TensorType.F32, new long[] {-2, -1}, data));
    }
}
