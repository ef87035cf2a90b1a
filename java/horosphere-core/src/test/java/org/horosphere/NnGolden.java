package org.horosphere;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** Reference cases of one operation, from the shared directory where there is one. */
final class NnGolden {
    private final JsonNode entry;
    private final JsonNode header;
    private final ByteBuffer data;

    private NnGolden(JsonNode entry, JsonNode header, ByteBuffer data) {
        this.entry = entry;
        this.header = header;
        this.data = data;
    }

    /** All cases of an operation; skips the test, saying why, where they are not present. */
    static List<NnGolden> cases(String operation) throws IOException {
        Path folder = folder();
        Assumptions.assumeTrue(
                folder != null,
                "no golden directory: set -Dhoro.shared or HORO_SHARED to its parent");
        ObjectMapper mapper = new ObjectMapper();
        List<NnGolden> found = new ArrayList<>();
        for (JsonNode entry : mapper.readTree(folder.resolve("index.json").toFile()).get("cases")) {
            if (entry.get("op").asText().equals(operation)) {
                ByteBuffer file =
                        ByteBuffer.wrap(
                                        Files.readAllBytes(
                                                folder.resolve(entry.get("file").asText())))
                                .order(ByteOrder.LITTLE_ENDIAN);
                int length = Math.toIntExact(file.getLong());
                byte[] text = new byte[length];
                file.get(text);
                found.add(
                        new NnGolden(
                                entry,
                                mapper.readTree(new String(text, StandardCharsets.UTF_8)),
                                file.slice().order(ByteOrder.LITTLE_ENDIAN)));
            }
        }
        return found;
    }

    private static Path folder() {
        String set = System.getProperty("horo.shared", System.getenv("HORO_SHARED"));
        List<Path> places =
                set != null
                        ? List.of(Path.of(set))
                        : List.of(Path.of("../../../shared"), Path.of("../../../../shared"));
        return places.stream()
                .map(place -> place.resolve("golden"))
                .filter(place -> Files.exists(place.resolve("index.json")))
                .findFirst()
                .orElse(null);
    }

    String id() {
        return entry.get("id").asText();
    }

    DType dtype() {
        return DType.valueOf(entry.get("dtype").asText());
    }

    double parameter(String name) {
        return entry.get("params").get(name).asDouble();
    }

    int size(String name) {
        return entry.get("params").get(name).asInt();
    }

    boolean flag(String name) {
        return entry.get("params").get(name).asBoolean();
    }

    double tolerance() {
        return entry.get("tol").get("k").asDouble() * entry.get("tol").get("eps").asDouble();
    }

    /** The elements of a tensor; null if the case has none of that name. */
    double[] tensor(String name) {
        JsonNode info = header.get(entry.get("prefix").asText() + name);
        if (info == null && entry.has("inputs_prefix")) {
            info = header.get(entry.get("inputs_prefix").asText() + name);
        }
        if (info == null) {
            return null;
        }
        int from = info.get("data_offsets").get(0).asInt();
        int bytes = info.get("data_offsets").get(1).asInt() - from;
        String type = info.get("dtype").asText();
        int size = type.endsWith("64") ? 8 : 4;
        double[] out = new double[bytes / size];
        for (int i = 0; i < out.length; i++) {
            int at = from + i * size;
            switch (type) {
                case "F32" -> out[i] = data.getFloat(at);
                case "F64" -> out[i] = data.getDouble(at);
                case "I32" -> out[i] = data.getInt(at);
                case "I64" -> out[i] = data.getLong(at);
                default -> throw new IllegalArgumentException(type);
            }
        }
        return out;
    }
}
