package org.horosphere.cli;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.finetune.ModelConfig;
import org.horosphere.finetune.ModelWriter;
import org.horosphere.finetune.Pretraining;
import org.horosphere.finetune.TensorData;

/** A model directory of one layer with random weights, and data for it. */
final class TinyModel {
    static final int VOCAB = 512;
    static final int CONTEXT = 256;

    private TinyModel() {}

    static ModelConfig config(int hidden) {
        return ModelConfig.small(VOCAB, hidden, 1, 0, 1);
    }

    static List<TensorData> weights(int hidden) {
        return new Pretraining(config(hidden), 1, Exec.CPU).weights();
    }

    static Path write(Path directory) {
        return write(directory, 64);
    }

    static Path write(Path directory, int hidden) {
        ModelWriter.write(
                directory, config(hidden), weights(hidden), DType.F32, Defaults.tokenizer());
        return directory;
    }

    /** The same model with one number replaced. */
    static Path writeWith(Path directory, float poison) {
        List<TensorData> weights = new ArrayList<>(weights(64));
        TensorData first = weights.get(3);
        float[] values = first.toFloatArray();
        values[1] = poison;
        weights.set(3, TensorData.of(first.name(), values, first.shape()));
        ModelWriter.write(directory, config(64), weights, DType.F32, Defaults.tokenizer());
        return directory;
    }

    /** A bfloat16 checkpoint of zeros with this vocabulary; takes next to no space on disk. */
    static void writeHollow(Path file, int vocab) throws IOException {
        StringBuilder header = new StringBuilder("{");
        long offset = 0;
        for (TensorData tensor : weights(64)) {
            long[] shape = tensor.shape();
            if (tensor.name().equals("model.embed_tokens.weight")) {
                shape[0] = vocab;
            }
            long end = offset + 2 * LongStream.of(shape).reduce(1, (x, y) -> x * y);
            header.append(offset == 0 ? "" : ",")
                    .append('"')
                    .append(tensor.name())
                    .append("\":{\"dtype\":\"BF16\",\"shape\":")
                    .append(Arrays.toString(shape))
                    .append(",\"data_offsets\":[")
                    .append(offset)
                    .append(',')
                    .append(end)
                    .append("]}");
            offset = end;
        }
        byte[] json = header.append('}').toString().getBytes(StandardCharsets.UTF_8);
        try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
            out.setLength(0);
            out.writeLong(Long.reverseBytes(json.length));
            out.write(json);
            out.setLength(Long.BYTES + json.length + offset);
        }
    }

    static Path records(Path file, int count) throws IOException {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < count; i++) {
            text.append("{\"prompt\": \"Q: ")
                    .append(i)
                    .append(" plus 1?\\nA:\", \"completion\": \" #### ")
                    .append(i + 1)
                    .append("\"}\n");
        }
        return Files.writeString(file, text);
    }
}
