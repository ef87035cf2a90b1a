package org.horosphere.finetune;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * A Hugging Face {@code tokenizer.json}, read by Hugging Face's own native library. Never touches
 * the network, never truncates, never pads. All methods may be called from any number of threads;
 * after {@link #close} they throw {@link IllegalStateException}.
 */
public final class Tokenizer implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    // Used only where tokenizer_config.json does not name the token.
    private static final List<String> BOS_NAMES =
            List.of("<|begin_of_text|>", "<|bos|>", "<bos>", "<s>");
    private static final List<String> EOS_NAMES =
            List.of("<|end_of_text|>", "<|endoftext|>", "<eos>", "</s>", "<|eot|>");

    private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
    private final HuggingFaceTokenizer delegate;
    private final int vocabSize;
    private final int bosId;
    private final int eosId;
    private final String chatTemplate;
    private boolean closed;

    private Tokenizer(
            HuggingFaceTokenizer delegate,
            int vocabSize,
            int bosId,
            int eosId,
            String chatTemplate) {
        this.delegate = delegate;
        this.vocabSize = vocabSize;
        this.bosId = bosId;
        this.eosId = eosId;
        this.chatTemplate = chatTemplate;
    }

    /**
     * Reads {@code tokenizer.json} and, if present, {@code tokenizer_config.json} (for the names of
     * the beginning and end tokens) from a checkpoint's directory.
     *
     * @throws DataException if a file is missing, malformed or not supported
     */
    public static Tokenizer open(Path modelDirectory) {
        Path file = modelDirectory.resolve("tokenizer.json");
        byte[] bytes = read(file);
        if (bytes == null) {
            throw new DataException(file, "not found");
        }
        Path configFile = modelDirectory.resolve("tokenizer_config.json");
        byte[] jinja = read(modelDirectory.resolve("chat_template.jinja"));
        return of(file, bytes, configFile, read(configFile), jinja);
    }

    /** The tokenizer of the embedded base model: byte-level BPE, 512 tokens, single digits. */
    public static Tokenizer embedded() {
        return of(
                Path.of("embedded", DefaultData.TOKENIZER),
                DefaultData.read(DefaultData.TOKENIZER),
                Path.of("embedded", DefaultData.TOKENIZER_CONFIG),
                DefaultData.read(DefaultData.TOKENIZER_CONFIG),
                null);
    }

    /** {@code configBytes} may be null; the paths only name the source in error messages. */
    static Tokenizer of(Path file, byte[] bytes, Path configFile, byte[] configBytes) {
        return of(file, bytes, configFile, configBytes, null);
    }

    private static Tokenizer of(
            Path file, byte[] bytes, Path configFile, byte[] configBytes, byte[] jinja) {
        JsonNode root = parse(file, bytes);
        Map<String, Integer> ids = vocabulary(file, root);
        JsonNode config = configBytes == null ? null : parse(configFile, configBytes);
        int bos = special(configFile, config, "bos_token", BOS_NAMES, ids);
        int eos = special(configFile, config, "eos_token", EOS_NAMES, ids);
        int size = 1 + ids.values().stream().mapToInt(Integer::intValue).max().orElseThrow();
        String template =
                jinja == null ? chatTemplate(config) : new String(jinja, StandardCharsets.UTF_8);
        return new Tokenizer(openNative(file, bytes), size, bos, eos, template);
    }

    /** A string, or a list of named ones of which one is the default; null if there is none. */
    private static String chatTemplate(JsonNode config) {
        JsonNode template = config == null ? null : config.get("chat_template");
        if (template != null && template.isArray()) {
            for (JsonNode named : template) {
                if (named.path("name").asText().equals("default")) {
                    return named.path("template").textValue();
                }
            }
        }
        return template == null ? null : template.textValue();
    }

    /**
     * Token ids of {@code text}, without the tokens a template would add (BOS, EOS). Special tokens
     * that are spelled out in the text are recognised. A surrogate without its partner becomes
     * U+FFFD.
     */
    public int[] encode(String text) {
        String valid = replaceLoneSurrogates(text);
        lock.readLock().lock();
        try {
            requireOpen();
            Encoding encoding = delegate.encode(valid, false, false);
            long[] ids = encoding.getIds();
            int[] out = new int[ids.length];
            for (int i = 0; i < ids.length; i++) {
                out[i] = (int) ids[i];
            }
            return out;
        } finally {
            lock.readLock().unlock();
        }
    }

    /**
     * The text of {@code ids}; bytes that are not UTF-8 become U+FFFD.
     *
     * @param skipSpecial leaves out special tokens such as BOS
     * @throws IllegalArgumentException for an id outside [0, {@link #vocabSize})
     */
    public String decode(int[] ids, boolean skipSpecial) {
        long[] in = new long[ids.length];
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] < 0 || ids[i] >= vocabSize) {
                throw new IllegalArgumentException(
                        "ids[" + i + "] = " + ids[i] + ", expected 0.." + (vocabSize - 1));
            }
            in[i] = ids[i];
        }
        lock.readLock().lock();
        try {
            requireOpen();
            return delegate.decode(in, skipSpecial);
        } finally {
            lock.readLock().unlock();
        }
    }

    /** The token that begins a text, -1 if the tokenizer has none. */
    public int bosId() {
        return bosId;
    }

    /** The token that ends a text, -1 if the tokenizer has none. */
    public int eosId() {
        return eosId;
    }

    /** The Jinja template that chats are written with, null if the checkpoint has none. */
    String chatTemplate() {
        return chatTemplate;
    }

    /** One more than the largest id; a model may have more (padded) embedding rows. */
    public int vocabSize() {
        return vocabSize;
    }

    /** Frees the native tokenizer once running calls have finished; a second call does nothing. */
    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            closed = true;
            delegate.close();
        } finally {
            lock.writeLock().unlock();
        }
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("tokenizer is closed");
        }
    }

    private static byte[] read(Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (NoSuchFileException missing) {
            return null;
        } catch (IOException e) {
            throw new DataException(file, "cannot be read: " + CheckpointException.reason(e), e);
        }
    }

    private static JsonNode parse(Path file, byte[] bytes) {
        try {
            JsonNode node = JSON.readTree(bytes);
            if (node == null || !node.isObject()) {
                throw new DataException(file, "expected a JSON object");
            }
            return node;
        } catch (JsonProcessingException e) {
            int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
            throw new DataException(file, line, "invalid JSON: " + CheckpointException.syntax(e));
        } catch (IOException e) {
            throw new DataException(file, "cannot be read: " + e.getMessage(), e);
        }
    }

    /** Token to id: BPE and WordPiece keep a map, Unigram a list; added tokens come on top. */
    private static Map<String, Integer> vocabulary(Path file, JsonNode root) {
        Map<String, Integer> ids = new HashMap<>();
        JsonNode vocab = root.path("model").path("vocab");
        if (vocab.isObject()) {
            vocab.properties().forEach(e -> ids.put(e.getKey(), id(file, e.getValue())));
        } else {
            for (int i = 0; i < vocab.size(); i++) {
                ids.put(vocab.get(i).path(0).asText(), i);
            }
        }
        for (JsonNode added : root.path("added_tokens")) {
            ids.put(added.path("content").asText(), id(file, added.path("id")));
        }
        if (ids.isEmpty()) {
            throw new DataException(file, "has no vocabulary (model.vocab)");
        }
        return ids;
    }

    private static int id(Path file, JsonNode node) {
        boolean whole = node.isIntegralNumber() && node.canConvertToInt();
        if (!whole || node.intValue() < 0 || node.intValue() == Integer.MAX_VALUE) {
            throw new DataException(file, "token id " + node + " is not in 0..2^31 - 2");
        }
        return node.intValue();
    }

    private static int special(
            Path file,
            JsonNode config,
            String key,
            List<String> usualNames,
            Map<String, Integer> ids) {
        if (config != null && config.has(key)) {
            JsonNode node =
                    config.get(key).isObject() ? config.get(key).get("content") : config.get(key);
            if (node == null || node.isNull()) {
                return -1;
            }
            Integer id = ids.get(node.asText());
            if (id == null) {
                throw new DataException(
                        file, key + " '" + node.asText() + "' is not in tokenizer.json");
            }
            return id;
        }
        for (String name : usualNames) {
            if (ids.containsKey(name)) {
                return ids.get(name);
            }
        }
        return -1;
    }

    /**
     * DJL reports its use to a server, and looks for a CUDA build on the network where it sees a
     * GPU; both are switched off, the second only while the native library is being loaded.
     */
    private static synchronized HuggingFaceTokenizer openNative(Path file, byte[] bytes) {
        String offline = System.getProperty("ai.djl.offline");
        System.setProperty("OPT_OUT_TRACKING", "true");
        System.setProperty("ai.djl.offline", "true");
        try {
            return HuggingFaceTokenizer.newInstance(
                    new ByteArrayInputStream(bytes),
                    Map.of(
                            "addSpecialTokens", "false",
                            "truncation", "false",
                            "padding", "false",
                            "modelMaxLength", String.valueOf(Integer.MAX_VALUE)));
        } catch (Exception | LinkageError e) {
            Throwable cause = e.getCause();
            throw new DataException(
                    file,
                    "not a supported tokenizer: "
                            + e.getMessage()
                            + (cause == null ? "" : " (" + cause + ")"),
                    e);
        } finally {
            if (offline == null) {
                System.clearProperty("ai.djl.offline");
            } else {
                System.setProperty("ai.djl.offline", offline);
            }
        }
    }

    private static String replaceLoneSurrogates(String text) {
        StringBuilder fixed = null;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (!Character.isSurrogate(c)) {
                continue;
            }
            if (Character.isHighSurrogate(c)
                    && i + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
                continue;
            }
            if (fixed == null) {
                fixed = new StringBuilder(text);
            }
            fixed.setCharAt(i, '\uFFFD');
        }
        return fixed == null ? text : fixed.toString();
    }
}
