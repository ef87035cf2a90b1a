package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Trains a byte-level BPE tokenizer (Sennrich et al. 2016 over the byte alphabet of GPT-2) with
 * single digits, and writes it as Hugging Face {@code tokenizer.json}. Every text round-trips. The
 * result depends on nothing but the texts: of equally frequent pairs the one with the smaller ids
 * is merged.
 */
final class BpeTrainer {
    static final String BOS = "<|bos|>";
    static final String EOS = "<|endoftext|>";
    static final String PAD = "<|pad|>";

    // What "Digits" and "ByteLevel" of tokenizer.json do together.
    private static final Pattern WORDS =
            Pattern.compile(
                    "\\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?[^\\s\\p{L}\\p{N}]+"
                            + "|\\s+(?=\\p{N})|\\s+(?!\\S)|\\s+");
    private static final ObjectMapper JSON = new ObjectMapper();

    private final List<String> tokens = new ArrayList<>();
    private final List<String> merges = new ArrayList<>();

    private record Pair(int left, int right) {}

    private BpeTrainer() {}

    /** {@code vocabSize} counts bytes, merges and the three special tokens; at least 259. */
    static BpeTrainer train(Iterable<String> texts, int vocabSize) {
        if (vocabSize < 259) {
            throw new IllegalArgumentException("vocabSize = " + vocabSize + ", expected >= 259");
        }
        BpeTrainer trainer = new BpeTrainer();
        String[] alphabet = byteAlphabet();
        for (String letter : alphabet) {
            trainer.tokens.add(letter);
        }
        Map<String, Integer> counts = new TreeMap<>();
        for (String text : texts) {
            Matcher words = WORDS.matcher(text);
            while (words.find()) {
                counts.merge(words.group(), 1, Integer::sum);
            }
        }
        List<int[]> words = new ArrayList<>();
        List<Integer> frequencies = new ArrayList<>();
        counts.forEach(
                (word, count) -> {
                    byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
                    int[] symbols = new int[bytes.length];
                    for (int i = 0; i < bytes.length; i++) {
                        symbols[i] = bytes[i] & 0xFF;
                    }
                    words.add(symbols);
                    frequencies.add(count);
                });
        while (trainer.tokens.size() < vocabSize - 3) {
            Pair best = mostFrequent(words, frequencies);
            if (best == null) {
                throw new IllegalArgumentException(
                        "texts are too few for " + vocabSize + " tokens");
            }
            trainer.merges.add(
                    trainer.tokens.get(best.left()) + " " + trainer.tokens.get(best.right()));
            int merged = trainer.tokens.size();
            trainer.tokens.add(trainer.tokens.get(best.left()) + trainer.tokens.get(best.right()));
            words.replaceAll(word -> merge(word, best, merged));
        }
        trainer.tokens.addAll(List.of(BOS, EOS, PAD));
        return trainer;
    }

    /** {@code tokenizer.json}, UTF-8. */
    byte[] tokenizerJson() {
        int bos = tokens.indexOf(BOS);
        ObjectNode root = JSON.createObjectNode().put("version", "1.0");
        root.putNull("truncation").putNull("padding");
        ArrayNode added = root.putArray("added_tokens");
        for (int id = bos; id < tokens.size(); id++) {
            added.addObject()
                    .put("id", id)
                    .put("content", tokens.get(id))
                    .put("single_word", false)
                    .put("lstrip", false)
                    .put("rstrip", false)
                    .put("normalized", false)
                    .put("special", true);
        }
        root.putNull("normalizer");
        ArrayNode split =
                root.putObject("pre_tokenizer").put("type", "Sequence").putArray("pretokenizers");
        split.addObject().put("type", "Digits").put("individual_digits", true);
        split.add(byteLevel());
        ObjectNode template = root.putObject("post_processor").put("type", "TemplateProcessing");
        ArrayNode single = template.putArray("single");
        addBos(single, 0);
        addSequence(single, "A", 0);
        ArrayNode pair = template.putArray("pair");
        addBos(pair, 0);
        addSequence(pair, "A", 0);
        addBos(pair, 1);
        addSequence(pair, "B", 1);
        ObjectNode special = template.putObject("special_tokens").putObject(BOS).put("id", BOS);
        special.putArray("ids").add(bos);
        special.putArray("tokens").add(BOS);
        root.set("decoder", byteLevel());
        ObjectNode model = root.putObject("model").put("type", "BPE");
        model.putNull("dropout").putNull("unk_token");
        model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
        model.put("fuse_unk", false).put("byte_fallback", false).put("ignore_merges", false);
        ObjectNode vocab = model.putObject("vocab");
        for (int id = 0; id < bos; id++) {
            vocab.put(tokens.get(id), id);
        }
        ArrayNode rules = model.putArray("merges");
        merges.forEach(rules::add);
        return bytes(root);
    }

    /** {@code tokenizer_config.json}, UTF-8. */
    static byte[] configJson() {
        return bytes(
                JSON.createObjectNode()
                        .put("tokenizer_class", "PreTrainedTokenizerFast")
                        .put("bos_token", BOS)
                        .put("eos_token", EOS)
                        .put("pad_token", PAD)
                        .put("clean_up_tokenization_spaces", false));
    }

    private static ObjectNode byteLevel() {
        return JSON.createObjectNode()
                .put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true)
                .put("use_regex", true);
    }

    private static void addBos(ArrayNode to, int type) {
        to.addObject().putObject("SpecialToken").put("id", BOS).put("type_id", type);
    }

    private static void addSequence(ArrayNode to, String id, int type) {
        to.addObject().putObject("Sequence").put("id", id).put("type_id", type);
    }

    private static byte[] bytes(ObjectNode node) {
        try {
            return (JSON.writeValueAsString(node) + "\n").getBytes(StandardCharsets.UTF_8);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Pair mostFrequent(List<int[]> words, List<Integer> frequencies) {
        Map<Pair, Integer> counts = new HashMap<>();
        for (int w = 0; w < words.size(); w++) {
            int[] word = words.get(w);
            for (int i = 1; i < word.length; i++) {
                counts.merge(new Pair(word[i - 1], word[i]), frequencies.get(w), Integer::sum);
            }
        }
        Pair best = null;
        int most = 0;
        for (Map.Entry<Pair, Integer> entry : counts.entrySet()) {
            Pair pair = entry.getKey();
            int count = entry.getValue();
            if (count > most || count == most && before(pair, best)) {
                best = pair;
                most = count;
            }
        }
        return best;
    }

    private static boolean before(Pair a, Pair b) {
        return a.left() != b.left() ? a.left() < b.left() : a.right() < b.right();
    }

    private static int[] merge(int[] word, Pair pair, int merged) {
        int[] out = new int[word.length];
        int size = 0;
        for (int i = 0; i < word.length; i++) {
            boolean match =
                    i + 1 < word.length && word[i] == pair.left() && word[i + 1] == pair.right();
            out[size++] = match ? merged : word[i];
            i += match ? 1 : 0;
        }
        return size == word.length ? word : Arrays.copyOf(out, size);
    }

    /** The printable character that stands for each byte: itself, or the next free one from 256. */
    private static String[] byteAlphabet() {
        String[] letters = new String[256];
        int free = 256;
        for (int b = 0; b < 256; b++) {
            boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
            letters[b] = String.valueOf((char) (printable ? b : free++));
        }
        return letters;
    }
}
