package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;

/** A JSON object out of a file, with getters that say what was expected where. */
final class Json {
    /** Strict: no duplicate keys, no text after the value; names are not interned. */
    static final ObjectMapper MAPPER =
            JsonMapper.builder(
                            JsonFactory.builder()
                                    .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                                    .build())
                    .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
                    .build();

    private static final DefaultPrettyPrinter PRETTY =
            new DefaultPrettyPrinter(
                            Separators.createDefaultInstance()
                                    .withObjectFieldValueSpacing(Separators.Spacing.AFTER))
                    .withObjectIndenter(new DefaultIndenter("  ", "\n"))
                    .withArrayIndenter(new DefaultIndenter("  ", "\n"));

    private static final long LARGEST = 100_000_000;

    private final String where;
    private final ObjectNode node;

    private Json(String where, ObjectNode node) {
        this.where = where;
        this.node = node;
    }

    static Json read(Path file) {
        try {
            if (Files.exists(file) && !Files.isRegularFile(file)) {
                throw new CheckpointException(file + ": not a regular file");
            }
            if (Files.size(file) > LARGEST) {
                throw new CheckpointException(file + ": larger than " + LARGEST + " bytes");
            }
            byte[] bytes = Files.readAllBytes(file);
            String text =
                    StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
            if (MAPPER.readTree(text) instanceof ObjectNode object) {
                return new Json(file.toString(), object);
            }
            throw new CheckpointException(file + ": expected a JSON object");
        } catch (JsonProcessingException e) {
            throw new CheckpointException(
                    file + ": not valid JSON: " + CheckpointException.reason(e), e);
        } catch (CharacterCodingException e) {
            throw new CheckpointException(file + ": not UTF-8", e);
        } catch (IOException e) {
            throw new CheckpointException(
                    file + ": cannot read: " + CheckpointException.reason(e), e);
        }
    }

    static String pretty(JsonNode node) {
        try {
            return MAPPER.writer(PRETTY).writeValueAsString(node) + "\n";
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(e);
        }
    }

    /** The value, or null if it is absent or null. */
    JsonNode get(String key) {
        JsonNode value = node.get(key);
        return value == null || value.isNull() ? null : value;
    }

    /** All of it, for changes. */
    ObjectNode copy() {
        return node.deepCopy();
    }

    boolean has(String key) {
        return get(key) != null;
    }

    List<String> keys() {
        List<String> keys = new ArrayList<>();
        node.fieldNames().forEachRemaining(keys::add);
        return keys;
    }

    int count(String key) {
        return count(key, required(key));
    }

    int count(String key, int absent) {
        return has(key) ? count(key, get(key)) : absent;
    }

    private int count(String key, JsonNode value) {
        if (value.isIntegralNumber() && value.canConvertToInt() && value.intValue() > 0) {
            return value.intValue();
        }
        throw wrong(key, "a positive integer");
    }

    double number(String key) {
        return number(key, required(key));
    }

    double number(String key, double absent) {
        return has(key) ? number(key, get(key)) : absent;
    }

    private double number(String key, JsonNode value) {
        if (value.isNumber() && Double.isFinite(value.doubleValue())) {
            return value.doubleValue();
        }
        throw wrong(key, "a number");
    }

    boolean flag(String key, boolean absent) {
        JsonNode value = get(key);
        if (value == null || value.isBoolean()) {
            return value == null ? absent : value.booleanValue();
        }
        throw wrong(key, "true or false");
    }

    /** The string, or null if it is absent or null. */
    String string(String key) {
        JsonNode value = get(key);
        if (value == null || value.isTextual()) {
            return value == null ? null : value.textValue();
        }
        throw wrong(key, "a string");
    }

    /** The object, or null if it is absent or null. */
    Json object(String key) {
        JsonNode value = get(key);
        if (value == null) {
            return null;
        }
        if (value instanceof ObjectNode object) {
            return new Json(where + ": " + key, object);
        }
        throw wrong(key, "an object");
    }

    void forEach(BiConsumer<String, JsonNode> action) {
        node.properties().forEach(e -> action.accept(e.getKey(), e.getValue()));
    }

    private JsonNode required(String key) {
        JsonNode value = get(key);
        if (value == null) {
            throw error(key + " is missing");
        }
        return value;
    }

    CheckpointException wrong(String key, String expected) {
        return error(key + " is " + node.get(key) + ", expected " + expected);
    }

    CheckpointException error(String message) {
        return new CheckpointException(where + ": " + message);
    }
}
