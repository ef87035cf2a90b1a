package org.horosphere.cli;

import java.nio.file.Path;
import org.horosphere.NativeLibraries;

/** The model and data the project ships, unpacked into the cache on first use. */
final class Defaults {
    private static final String FOLDER = "org/horosphere/finetune/default/";

    private Defaults() {}

    static Path model() {
        return unpack("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
                .getParent();
    }

    static Path tokenizer() {
        return unpack("tokenizer.json", "tokenizer_config.json").getParent();
    }

    static Path trainingData() {
        return unpack("train.jsonl");
    }

    static Path testData() {
        return unpack("test.jsonl");
    }

    private static Path unpack(String... names) {
        String[] resources = new String[names.length];
        for (int i = 0; i < names.length; i++) {
            resources[i] = FOLDER + names[i];
        }
        return NativeLibraries.unpack(Defaults.class.getClassLoader(), resources);
    }
}
