package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The data shipped in the jar, so that fine-tuning runs without a download: word problems and the
 * tokenizer of the embedded base model. All of it is generated, and can be generated again byte for
 * byte.
 */
public final class DefaultData {
    static final String TRAIN = "train.jsonl";
    static final String TEST = "test.jsonl";
    static final String TOKENIZER = "tokenizer.json";
    static final String TOKENIZER_CONFIG = "tokenizer_config.json";

    private static final int VOCAB_SIZE = 512;
    private static final ObjectMapper JSON = new ObjectMapper();

    private DefaultData() {}

    /** File name to content, exactly as shipped. */
    public static Map<String, byte[]> generate() {
        List<Dataset.Problem> train = WordProblems.generate(1, 2000, WordProblems.Split.TRAIN);
        Map<String, byte[]> files = new LinkedHashMap<>();
        files.put(TRAIN, jsonl(train));
        files.put(TEST, jsonl(WordProblems.generate(2, 200, WordProblems.Split.TEST)));
        List<String> texts = train.stream().map(p -> p.prompt() + p.completion()).toList();
        files.put(TOKENIZER, BpeTrainer.train(texts, VOCAB_SIZE).tokenizerJson());
        files.put(TOKENIZER_CONFIG, BpeTrainer.configJson());
        return files;
    }

    /** Writes the files of {@link #generate} into a directory. */
    public static void write(Path directory) throws IOException {
        Files.createDirectories(directory);
        for (Map.Entry<String, byte[]> file : generate().entrySet()) {
            Files.write(directory.resolve(file.getKey()), file.getValue());
        }
    }

    static byte[] read(String name) {
        try (InputStream in = DefaultData.class.getResourceAsStream("default/" + name)) {
            if (in == null) {
                throw new DataException(Path.of("embedded", name), "is missing from the jar");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new DataException(Path.of("embedded", name), "cannot be read", e);
        }
    }

    static List<Dataset.Problem> problems(String name) {
        String text = new String(read(name), StandardCharsets.UTF_8);
        return Dataset.parseProblems(Path.of("embedded", name), text);
    }

    private static byte[] jsonl(List<Dataset.Problem> problems) {
        StringBuilder out = new StringBuilder();
        for (Dataset.Problem problem : problems) {
            try {
                out.append(JSON.writeValueAsString(problem)).append('\n');
            } catch (JsonProcessingException e) {
                throw new IllegalStateException(e);
            }
        }
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }
}
