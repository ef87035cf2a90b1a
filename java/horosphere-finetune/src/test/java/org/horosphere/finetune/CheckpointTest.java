package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
    private static final String INDEX = "model.safetensors.index.json";

    @TempDir Path directory;

    private void shard(String file, String tensor, float... values) {
        SafeTensors.write(
                directory.resolve(file),
                List.of(TensorData.of(tensor, values, values.length)),
                Map.of("format", "pt"));
    }

    private void index(String weightMap) throws IOException {
        Files.writeString(
                directory.resolve(INDEX),
                "{\"metadata\":{},\"weight_map\":" + weightMap.replace('\'', '"') + "}");
    }

    private void assertRefused(String... expected) {
        try (Arena arena = Arena.ofConfined()) {
            CheckpointException e =
                    assertThrows(
                            CheckpointException.class, () -> Checkpoint.open(directory, arena));
            for (String part : expected) {
                assertTrue(e.getMessage().contains(part), e.getMessage());
            }
        }
    }

    @Test
    void readsASingleFile() {
        shard("model.safetensors", "a", 1, 2);
        try (Arena arena = Arena.ofConfined()) {
            Checkpoint checkpoint = Checkpoint.open(directory, arena);
            assertEquals(Set.of("a"), checkpoint.names());
            assertTrue(checkpoint.has("a") && !checkpoint.has("b"));
            MemorySegment floats = checkpoint.floats("a", arena, 2);
            assertEquals(2, floats.getAtIndex(ValueLayout.JAVA_FLOAT, 1));
            assertTrue(floats.isReadOnly());
        }
    }

    @Test
    void missingTensorsAndWrongShapesNameBoth() {
        shard("model.safetensors", "a", 1, 2);
        try (Arena arena = Arena.ofConfined()) {
            Checkpoint checkpoint = Checkpoint.open(directory, arena);
            String shape =
                    assertThrows(CheckpointException.class, () -> checkpoint.tensor("a", 2, 1))
                            .getMessage();
            assertTrue(shape.contains("tensor a has shape [2], expected [2, 1]"), shape);
            String missing =
                    assertThrows(CheckpointException.class, () -> checkpoint.floats("b", arena, 3))
                            .getMessage();
            assertTrue(missing.contains("tensor b is missing, expected with shape [3]"), missing);
            assertThrows(CheckpointException.class, () -> checkpoint.tensor("b"));
        }
    }

    @Test
    void readsShards() throws IOException {
        shard("one.safetensors", "a", 1);
        shard("two.safetensors", "b", 2);
        index("{'a':'one.safetensors','b':'two.safetensors'}");
        try (Arena arena = Arena.ofConfined()) {
            Checkpoint checkpoint = Checkpoint.open(directory, arena);
            assertArrayEquals(new float[] {1}, checkpoint.tensor("a", 1).toFloatArray());
            assertArrayEquals(new float[] {2}, checkpoint.tensor("b", 1).toFloatArray());
        }
    }

    @Test
    void missingShardIsRefused() throws IOException {
        shard("one.safetensors", "a", 1);
        index("{'a':'one.safetensors','b':'two.safetensors'}");
        assertRefused("two.safetensors", "no such file");
    }

    @Test
    void tensorMissingInItsShardIsRefused() throws IOException {
        shard("one.safetensors", "a", 1);
        index("{'a':'one.safetensors','b':'one.safetensors'}");
        assertRefused(INDEX, "tensor b is not in one.safetensors");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "'../one.safetensors'",
                "'/etc/passwd'",
                "'sub/one.safetensors'",
                "'..\\\\one.safetensors'",
                "'..'",
                "'.'",
                "''",
                "'one\\u0000'",
                "7",
                "null",
                "['one.safetensors']"
            })
    void shardNamesThatAreNoPlainNameAreRefused(String name) throws IOException {
        shard("one.safetensors", "a", 1);
        index("{'a':" + name + "}");
        assertRefused(INDEX, "the name of a file in the same directory");
    }

    @ParameterizedTest
    @ValueSource(strings = {"[]", "7", "null", "'a'", "{'a':'x','a':'x'}", "{", "{}}"})
    void malformedIndexIsRefused(String weightMap) throws IOException {
        index(weightMap);
        assertRefused(INDEX);
    }

    @Test
    void emptyOrMissingDirectoryIsRefused() throws IOException {
        assertRefused("expected model.safetensors or " + INDEX);
        directory = directory.resolve("no");
        assertRefused("no such directory");
    }

    @Test
    void goldenModelsOpen() {
        for (String model : List.of("llama3", "llama2", "qwen2", "gemma", "gpt2", "vit")) {
            Path path = SharedTestData.require("golden/hf/" + model);
            try (Arena arena = Arena.ofConfined()) {
                Checkpoint checkpoint = Checkpoint.open(path, arena);
                for (String name : checkpoint.names()) {
                    TensorData tensor = checkpoint.tensor(name);
                    assertEquals(tensor.elements() * 4, tensor.floats(arena).byteSize(), name);
                }
                assertTrue(checkpoint.names().size() > 20);
            }
        }
    }

    @Test
    void rewrittenGoldenFilesAreByteIdentical() throws IOException {
        Path golden = SharedTestData.require("golden/hf");
        for (String name :
                List.of(
                        "llama3/model.safetensors",
                        "gemma/model.safetensors",
                        "llama3/golden.safetensors",
                        "qwen2/train.safetensors",
                        "llama3/adapter_init/adapter_model.safetensors")) {
            Path copy = directory.resolve("copy.safetensors");
            try (Arena arena = Arena.ofConfined()) {
                SafeTensors file = SafeTensors.open(golden.resolve(name), arena);
                SafeTensors.write(
                        copy, file.names().stream().map(file::get).toList(), file.metadata());
            }
            assertEquals(-1, Files.mismatch(golden.resolve(name), copy), name);
        }
    }
}
