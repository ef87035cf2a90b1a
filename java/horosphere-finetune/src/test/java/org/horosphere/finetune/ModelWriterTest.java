package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import org.horosphere.DType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelWriterTest {
    private static final ModelConfig CONFIG =
            new ModelConfig(
                    ModelConfig.Family.LLAMA,
                    10,
                    8,
                    12,
                    1,
                    2,
                    1,
                    4,
                    64,
                    1e-6,
                    false,
                    RopeConfig.of(4, 10000),
                    0.02,
                    DType.F32,
                    OptionalInt.of(1),
                    List.of(2),
                    OptionalInt.empty());

    @TempDir Path directory;

    private static float widen(short bf16) {
        return Float.intBitsToFloat(bf16 << 16);
    }

    @Test
    void bf16IsTheNearestTiesToEven() {
        Random random = new Random(7);
        for (int i = 0; i < 100_000; i++) {
            int bits = random.nextInt();
            float x = Float.intBitsToFloat(i % 2 == 0 ? bits : bits & 0xFFFF_8000);
            if (!Float.isFinite(x)) {
                continue;
            }
            int down = Float.floatToRawIntBits(x) & 0xFFFF_0000; // toward zero
            float low = Float.intBitsToFloat(down);
            float high = Float.intBitsToFloat(down + 0x1_0000);
            if (Float.isInfinite(high)) {
                continue;
            }
            BigDecimal exact = new BigDecimal(x);
            int nearer =
                    exact.subtract(new BigDecimal(low))
                            .abs()
                            .compareTo(exact.subtract(new BigDecimal(high)).abs());
            boolean lowIsEven = (down >>> 16 & 1) == 0;
            float expected = nearer < 0 || nearer == 0 && lowIsEven ? low : high;
            assertEquals(expected, widen(ModelWriter.bf16(x)), () -> "of " + x);
        }
    }

    @Test
    void bf16KeepsSpecialValues() {
        for (float x :
                new float[] {0f, -0f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 1, -2}) {
            assertEquals(x, widen(ModelWriter.bf16(x)));
        }
        assertEquals(Float.POSITIVE_INFINITY, widen(ModelWriter.bf16(Float.MAX_VALUE)));
        for (int bits : new int[] {0x7F80_0001, 0x7FFF_FFFF, 0xFF80_0001, 0xFFFF_FFFF}) {
            assertTrue(Float.isNaN(widen(ModelWriter.bf16(Float.intBitsToFloat(bits)))));
        }
    }

    @Test
    void writesConfigurationWeightsAndTokenizer() throws IOException {
        Path tokenizer = Files.createDirectory(directory.resolve("base"));
        Files.writeString(tokenizer.resolve("tokenizer.json"), "{\"a\":1}");
        Files.writeString(tokenizer.resolve("model.safetensors"), "not copied");
        float[] values = new float[2_500_000];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.sin(i);
        }
        List<TensorData> tensors =
                List.of(
                        TensorData.of("a", values, values.length),
                        TensorData.of("b", new float[] {1.00390625f}, 1));
        for (DType storage : List.of(DType.F32, DType.BF16)) {
            Path path = directory.resolve("model");
            ModelWriter.write(path, CONFIG, tensors, storage, tokenizer);
            assertEquals(CONFIG.withDtype(storage), ModelConfig.read(path));
            assertEquals("{\"a\":1}", Files.readString(path.resolve("tokenizer.json")));
            try (Arena arena = Arena.ofConfined()) {
                TensorData a = Checkpoint.open(path, arena).tensor("a", values.length);
                assertEquals(storage, a.type().dtype());
                float[] read = a.toFloatArray();
                for (int i = 0; i < values.length; i++) {
                    float expected =
                            storage == DType.F32 ? values[i] : widen(ModelWriter.bf16(values[i]));
                    assertEquals(expected, read[i]);
                }
            }
        }
    }

    @Test
    void aModelMayReplaceTheOneItIsMappedFrom() {
        Path path = directory.resolve("model");
        float[] values = {1, 2, 3};
        ModelWriter.write(path, CONFIG, List.of(TensorData.of("a", values, 3)), DType.F32, null);
        try (Arena arena = Arena.ofConfined()) {
            TensorData mapped = Checkpoint.open(path, arena).tensor("a");
            ModelWriter.write(path, CONFIG, List.of(mapped), DType.F32, path);
            assertArrayEquals(values, mapped.toFloatArray());
            assertArrayEquals(values, Checkpoint.open(path, arena).tensor("a").toFloatArray());
        }
    }

    @Test
    void badArgumentsLeaveNothing() throws IOException {
        Path path = directory.resolve("model");
        List<TensorData> tensors = List.of(TensorData.of("a", new float[1], 1));
        assertThrows(
                IllegalArgumentException.class,
                () -> ModelWriter.write(path, CONFIG, tensors, DType.F16, null));
        assertThrows(
                CheckpointException.class,
                () ->
                        ModelWriter.write(
                                path, CONFIG, tensors, DType.F32, directory.resolve("none")));
        SafeTensors.write(
                directory.resolve("half"),
                List.of(
                        new TensorData(
                                "h",
                                TensorType.BF16,
                                new long[] {1},
                                java.lang.foreign.MemorySegment.ofArray(new byte[2]))),
                Map.of());
        try (Arena arena = Arena.ofConfined()) {
            TensorData half = SafeTensors.open(directory.resolve("half"), arena).get("h");
            assertThrows(
                    IllegalArgumentException.class,
                    () -> ModelWriter.write(path, CONFIG, List.of(half), DType.F32, null));
        }
        assertFalse(Files.exists(path));
        try (var files = Files.list(directory)) {
            assertEquals(List.of(directory.resolve("half")), files.toList());
        }
    }
}
