package org.horosphere.finetune;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.horosphere.DType;

/**
 * Saves a model directory as transformers reads it: {@code config.json}, {@code model.safetensors}
 * and the tokenizer's files.
 */
public final class ModelWriter {
    private static final ValueLayout.OfShort U16 =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat F32 =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final List<String> TOKENIZER =
            List.of(
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "tokenizer.model",
                    "special_tokens_map.json",
                    "added_tokens.json",
                    "vocab.json",
                    "merges.txt",
                    "chat_template.jinja",
                    "generation_config.json");

    private static final List<String> PREPROCESSOR = List.of("preprocessor_config.json");

    private static final Set<String> OWNED =
            Set.of(ModelConfig.FILE, Checkpoint.FILE, Checkpoint.INDEX);

    private ModelWriter() {}

    /**
     * Replaces a model directory as a whole, see {@link AtomicFiles#replaceDirectory}; other files
     * in an existing one are kept, apart from an index of shards.
     *
     * @param directory the target; may be where the tensors are mapped from
     * @param config the configuration; {@code dtype} is written as {@code storage}
     * @param tensors float32 weights under transformers' names
     * @param storage {@link DType#F32}, or {@link DType#BF16} for rounding to nearest even; NaN
     *     stays NaN
     * @param tokenizer a directory from which the tokenizer's files and {@code
     *     generation_config.json} are copied, as far as they are there; null for none
     * @throws IllegalArgumentException if {@code storage} or a tensor's type is another
     * @throws CheckpointException if it cannot be written; what was there stays
     */
    public static void write(
            Path directory,
            ModelConfig config,
            List<TensorData> tensors,
            DType storage,
            Path tokenizer) {
        for (TensorData tensor : tensors) {
            if (tensor.type() != TensorType.F32) {
                throw new IllegalArgumentException("tensors: " + tensor + " is not F32");
            }
        }
        List<Weight> weights =
                tensors.stream().map(t -> new Weight(t.name(), t.shape(), t::data)).toList();
        writeWeights(directory, config, weights, storage, tokenizer);
    }

    /** A float32 tensor that is made when it is written, and once. */
    record Weight(String name, long[] shape, Supplier<MemorySegment> floats) {}

    /** {@link #write} with one tensor at a time in memory. */
    static void writeWeights(
            Path directory,
            ModelConfig config,
            List<Weight> weights,
            DType storage,
            Path tokenizer) {
        writeWeights(
                directory,
                temporary -> config.withDtype(storage).write(temporary),
                weights,
                storage,
                tokenizer,
                TOKENIZER);
    }

    /**
     * An image classifier likewise.
     *
     * @param config as it is written, but for {@code dtype}
     * @param from where {@code preprocessor_config.json} is, if it is there
     */
    static void writeClassifier(
            Path directory, ObjectNode config, List<Weight> weights, DType storage, Path from) {
        config.remove("torch_dtype");
        config.put("dtype", storage == DType.F32 ? "float32" : "bfloat16");
        writeWeights(
                directory,
                temporary -> AtomicFiles.writeJson(temporary.resolve(ModelConfig.FILE), config),
                weights,
                storage,
                from,
                PREPROCESSOR);
    }

    private static void writeWeights(
            Path directory,
            Consumer<Path> config,
            List<Weight> weights,
            DType storage,
            Path from,
            List<String> copied) {
        if (storage != DType.F32 && storage != DType.BF16) {
            throw new IllegalArgumentException("storage is " + storage + ", expected F32 or BF16");
        }
        List<SafeTensors.Source> sources =
                weights.stream().map(weight -> source(weight, storage)).toList();
        AtomicFiles.replaceDirectory(
                directory,
                OWNED,
                temporary -> {
                    config.accept(temporary);
                    SafeTensors.writeSources(
                            temporary.resolve(Checkpoint.FILE), sources, Map.of("format", "pt"));
                    if (from != null) {
                        copy(copied, from, temporary);
                    }
                });
    }

    private static void copy(List<String> names, Path from, Path to) throws IOException {
        if (!Files.isDirectory(from)) {
            throw new CheckpointException(from + ": no such directory");
        }
        for (String name : names) {
            Path file = from.resolve(name);
            if (Files.exists(file)) {
                AtomicFiles.writeBytes(to.resolve(name), Files.readAllBytes(file));
            }
        }
    }

    private static SafeTensors.Source source(Weight weight, DType storage) {
        return new SafeTensors.Source(
                weight.name(),
                TensorType.of(storage),
                weight.shape(),
                new SafeTensors.Filler() {
                    private MemorySegment data;

                    @Override
                    public void fill(long offset, MemorySegment chunk) {
                        if (offset == 0) {
                            data = weight.floats().get();
                        }
                        if (storage == DType.F32) {
                            MemorySegment.copy(data, offset, chunk, 0, chunk.byteSize());
                        } else {
                            narrow(data, offset / Short.BYTES, chunk);
                        }
                        long written = (offset + chunk.byteSize()) / storage.bytes();
                        if (written * Float.BYTES == data.byteSize()) {
                            data = null;
                        }
                    }
                });
    }

    private static void narrow(MemorySegment from, long first, MemorySegment to) {
        long n = to.byteSize() / Short.BYTES;
        for (long i = 0; i < n; i++) {
            to.setAtIndex(U16, i, bf16(from.getAtIndex(F32, first + i)));
        }
    }

    /** The nearest bfloat16, ties to even. */
    static short bf16(float x) {
        int bits = Float.floatToRawIntBits(x);
        if (Float.isNaN(x)) {
            return (short) (bits >>> 16 | 0x40); // quiet: the cut bits may be the only ones set
        }
        return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }
}
