package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Layers;

/**
 * The weights of a model directory: {@code model.safetensors}, or the shards that {@code
 * model.safetensors.index.json} lists. Immutable, safe from any thread the arena allows.
 */
public final class Checkpoint {
    static final String FILE = "model.safetensors";
    static final String INDEX = FILE + ".index.json";

    private final Path directory;
    private final Map<String, TensorData> tensors = new TreeMap<>();

    private Checkpoint(Path directory) {
        this.directory = directory;
    }

    /**
     * Maps all weight files of a directory. The single file is used if both forms are there.
     *
     * @param arena how long the tensors live
     * @throws CheckpointException if a file is missing, unreadable or malformed, or the index names
     *     a tensor that its shard does not have
     */
    public static Checkpoint open(Path directory, Arena arena) {
        Checkpoint checkpoint = new Checkpoint(directory);
        Path single = directory.resolve(FILE);
        Path index = directory.resolve(INDEX);
        if (Files.exists(single)) {
            SafeTensors file = SafeTensors.open(single, arena);
            file.names().forEach(name -> checkpoint.tensors.put(name, file.get(name)));
        } else if (Files.exists(index)) {
            checkpoint.openShards(index, arena);
        } else if (!Files.isDirectory(directory)) {
            throw new CheckpointException(directory + ": no such directory");
        } else {
            throw new CheckpointException(
                    directory + ": expected " + FILE + " or " + INDEX + ", found neither");
        }
        return checkpoint;
    }

    private void openShards(Path index, Arena arena) {
        Json json = Json.read(index);
        Json map = json.object("weight_map");
        if (map == null) {
            throw json.error("weight_map is missing");
        }
        Map<String, SafeTensors> shards = new HashMap<>();
        map.forEach(
                (name, value) -> {
                    String shard = shardName(map, name, value);
                    SafeTensors file =
                            shards.computeIfAbsent(
                                    shard, s -> SafeTensors.open(directory.resolve(s), arena));
                    if (!file.names().contains(name)) {
                        throw map.error("tensor " + name + " is not in " + shard);
                    }
                    tensors.put(name, file.get(name));
                });
    }

    private static String shardName(Json map, String name, JsonNode value) {
        String shard = value.textValue();
        if (shard == null
                || shard.isEmpty()
                || shard.equals(".")
                || shard.equals("..")
                || shard.chars().anyMatch(c -> c == '/' || c == '\\' || c < ' ')) {
            throw map.wrong(name, "the name of a file in the same directory");
        }
        return shard;
    }

    /** All tensor names, sorted. */
    public Set<String> names() {
        return Collections.unmodifiableSet(tensors.keySet());
    }

    public boolean has(String name) {
        return tensors.containsKey(name);
    }

    /**
     * A tensor of any shape.
     *
     * @throws CheckpointException if it is missing
     */
    public TensorData tensor(String name) {
        TensorData tensor = tensors.get(name);
        if (tensor == null) {
            throw new CheckpointException(directory + ": tensor " + name + " is missing");
        }
        return tensor;
    }

    /**
     * A tensor of a known shape.
     *
     * @throws CheckpointException if it is missing or has another shape
     */
    public TensorData tensor(String name, long... expectedShape) {
        TensorData tensor = tensors.get(name);
        if (tensor == null) {
            throw new CheckpointException(
                    "%s: tensor %s is missing, expected with shape %s"
                            .formatted(directory, name, Arrays.toString(expectedShape)));
        }
        if (!Arrays.equals(tensor.shape(), expectedShape)) {
            throw new CheckpointException(
                    "%s: tensor %s has shape %s, expected %s"
                            .formatted(
                                    directory,
                                    name,
                                    Arrays.toString(tensor.shape()),
                                    Arrays.toString(expectedShape)));
        }
        return tensor;
    }

    /**
     * A tensor's elements as float32, see {@link TensorData#floats}: float32 weights are the mapped
     * file itself (read-only, aligned to 4 bytes and no more), others are converted into memory
     * from {@code allocator} (an arena, say).
     *
     * @throws CheckpointException if it is missing, has another shape or holds no floats
     */
    public MemorySegment floats(String name, SegmentAllocator allocator, long... expectedShape) {
        TensorData tensor = tensor(name, expectedShape);
        if (tensor.type().dtype() == null) {
            throw new CheckpointException(
                    "%s: tensor %s holds %s, expected F32, BF16, F16 or F64"
                            .formatted(directory, name, tensor.type()));
        }
        return tensor.floats(allocator);
    }

    /**
     * A tensor's elements as bfloat16: bfloat16 weights are the mapped file itself (read-only,
     * aligned to 2 bytes), others are rounded into memory from {@code allocator}.
     *
     * @throws CheckpointException if it is missing, has another shape or holds no floats
     */
    MemorySegment bfloats(String name, SegmentAllocator allocator, long... expectedShape) {
        TensorData tensor = tensor(name, expectedShape);
        if (tensor.isStoredAs(DType.BF16)) {
            return tensor.data();
        }
        long n = tensor.elements();
        MemorySegment out = allocator.allocate(n * Short.BYTES, 64);
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment floats = floats(name, scratch, expectedShape);
            Layers.convert_from_f32(floats, DType.BF16, out, n, Exec.CPU);
        }
        return out;
    }
}
