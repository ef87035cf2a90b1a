package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * A safetensors file: u64 length of a JSON header, the header, the tensors' bytes.
 *
 * <p>Reading maps the file and takes nothing on trust: every byte of the data must belong to
 * exactly one tensor, as in the reference implementation. A file that another process shortens
 * while it is mapped cannot be guarded against. Immutable, safe from any thread the arena allows.
 */
public final class SafeTensors {
    private static final ValueLayout.OfLong U64 =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** The reference implementation's bound. */
    private static final long LONGEST_HEADER = 100_000_000;

    private static final String METADATA = "__metadata__";
    private static final int MOST_DIMENSIONS = 64;
    private static final int CHUNK = 1 << 22;

    private final Map<String, TensorData> tensors = new LinkedHashMap<>();
    private final Map<String, String> metadata = new TreeMap<>();
    private final Path file;

    private SafeTensors(Path file) {
        this.file = file;
    }

    /**
     * Maps a file.
     *
     * @param arena how long the tensors live
     * @throws CheckpointException if the file cannot be read or is malformed in any way
     */
    public static SafeTensors open(Path file, Arena arena) {
        return parse(file, map(file, arena));
    }

    /** Reads a file's bytes; {@code file} is only its name in messages. */
    static SafeTensors parse(Path file, MemorySegment bytes) {
        SafeTensors result = new SafeTensors(file);
        result.read(bytes);
        return result;
    }

    /** The tensors' names, in the order of their data. */
    public Set<String> names() {
        return Collections.unmodifiableSet(tensors.keySet());
    }

    /**
     * A tensor over the mapped file.
     *
     * @throws CheckpointException if there is none of that name
     */
    public TensorData get(String name) {
        TensorData tensor = tensors.get(name);
        if (tensor == null) {
            throw error("no tensor " + name);
        }
        return tensor;
    }

    /** The free-form entries of the header; {@code format = pt} in most files. */
    public Map<String, String> metadata() {
        return Collections.unmodifiableMap(metadata);
    }

    private static MemorySegment map(Path file, Arena arena) {
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new CheckpointException(file + ": not a regular file");
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
        } catch (IOException e) {
            throw new CheckpointException(
                    file + ": cannot read: " + CheckpointException.reason(e), e);
        }
    }

    private record Entry(String name, TensorType type, long[] shape, long begin, long end) {}

    private void read(MemorySegment mapped) {
        long size = mapped.byteSize();
        if (size < Long.BYTES) {
            throw error(
                    "truncated: " + size + " bytes, expected at least the 8 of the header length");
        }
        long length = mapped.get(U64, 0);
        if (length < 0 || length > LONGEST_HEADER) {
            throw error(
                    "header length %s, expected at most %d; not a safetensors file?"
                            .formatted(Long.toUnsignedString(length), LONGEST_HEADER));
        }
        if (length > size - Long.BYTES) {
            throw error(
                    "truncated: header of %d bytes in a file of %d bytes".formatted(length, size));
        }
        byte[] header = mapped.asSlice(Long.BYTES, length).toArray(ValueLayout.JAVA_BYTE);
        if (length == 0 || header[0] != '{') {
            throw error("header does not begin with {");
        }
        List<Entry> entries = parse(header);
        entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
        MemorySegment data = mapped.asSlice(Long.BYTES + length);
        long position = 0;
        for (Entry e : entries) {
            if (e.begin != position) {
                throw error(
                        e.name,
                        "begins at offset %d, %s at %d"
                                .formatted(
                                        e.begin,
                                        e.begin < position
                                                ? "inside the tensor before it, which ends"
                                                : "leaving a hole after the tensor that ends",
                                        position));
            }
            position = e.end;
            if (position > data.byteSize()) {
                throw error(
                        e.name,
                        "ends at offset %d of %d bytes of data: the file is truncated"
                                .formatted(position, data.byteSize()));
            }
        }
        if (position != data.byteSize()) {
            throw error(
                    "%d bytes of data, but the tensors end at %d"
                            .formatted(data.byteSize(), position));
        }
        for (Entry e : entries) {
            MemorySegment slice = data.asSlice(e.begin, e.end - e.begin);
            tensors.put(e.name, new TensorData(e.name, e.type, e.shape, slice));
        }
    }

    private List<Entry> parse(byte[] header) {
        List<Entry> entries = new ArrayList<>();
        try {
            // decoded here because the parser would also take UTF-16, UTF-32 and a byte order mark
            String text =
                    StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(header)).toString();
            try (JsonParser json = Json.MAPPER.getFactory().createParser(text)) {
                json.nextToken();
                while (json.nextToken() == JsonToken.FIELD_NAME) {
                    String name = json.currentName();
                    if (name.equals(METADATA)) {
                        parseMetadata(json);
                    } else {
                        entries.add(parseEntry(name, json));
                    }
                }
                if (json.nextToken() != null) {
                    throw error("header has text after its closing }");
                }
            }
        } catch (CharacterCodingException e) {
            throw new CheckpointException(file + ": header is not UTF-8", e);
        } catch (JsonProcessingException e) {
            throw new CheckpointException(
                    file + ": header is not valid JSON: " + CheckpointException.syntax(e), e);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return entries;
    }

    private void parseMetadata(JsonParser json) throws IOException {
        if (json.nextToken() != JsonToken.START_OBJECT) {
            throw error(METADATA + ": expected an object of strings");
        }
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            String key = json.currentName();
            if (json.nextToken() != JsonToken.VALUE_STRING) {
                throw error(METADATA + ": expected a string as value of " + key);
            }
            metadata.put(key, json.getText());
        }
    }

    private Entry parseEntry(String name, JsonParser json) throws IOException {
        if (json.nextToken() != JsonToken.START_OBJECT) {
            throw error(name, "expected an object with dtype, shape and data_offsets");
        }
        TensorType type = null;
        long[] shape = null;
        long[] offsets = null;
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            String key = json.currentName();
            switch (key) {
                case "dtype" -> type = parseType(name, json);
                case "shape" -> shape = parseLongs(name, key, json, MOST_DIMENSIONS);
                case "data_offsets" -> offsets = parseLongs(name, key, json, 2);
                default -> throw error(name, "unknown entry " + key);
            }
        }
        if (type == null || shape == null || offsets == null || offsets.length != 2) {
            throw error(name, "expected dtype, shape and two data_offsets");
        }
        long bytes;
        try {
            bytes = TensorData.byteSize(type, shape);
        } catch (ArithmeticException e) {
            throw error(name, "shape " + Arrays.toString(shape) + " is too large");
        }
        if (offsets[1] < offsets[0] || offsets[1] - offsets[0] != bytes) {
            throw error(
                    name,
                    "data_offsets %s, expected %d bytes for %s of shape %s"
                            .formatted(
                                    Arrays.toString(offsets), bytes, type, Arrays.toString(shape)));
        }
        return new Entry(name, type, shape, offsets[0], offsets[1]);
    }

    private TensorType parseType(String name, JsonParser json) throws IOException {
        if (json.nextToken() == JsonToken.VALUE_STRING) {
            for (TensorType type : TensorType.values()) {
                if (type.name().equals(json.getText())) {
                    return type;
                }
            }
        }
        throw error(
                name,
                "dtype %s, expected one of %s"
                        .formatted(json.getText(), Arrays.toString(TensorType.values())));
    }

    private long[] parseLongs(String name, String key, JsonParser json, int most)
            throws IOException {
        if (json.nextToken() != JsonToken.START_ARRAY) {
            throw error(name, key + ": expected an array of integers");
        }
        long[] values = new long[most];
        int count = 0;
        while (json.nextToken() != JsonToken.END_ARRAY) {
            if (json.currentToken() != JsonToken.VALUE_NUMBER_INT || count == most) {
                throw error(name, key + ": expected an array of at most " + most + " integers");
            }
            long value = json.getLongValue();
            if (value < 0) {
                throw error(name, key + ": " + value + " is negative");
            }
            values[count++] = value;
        }
        return Arrays.copyOf(values, count);
    }

    private CheckpointException error(String tensor, String message) {
        return error("tensor " + tensor + ": " + message);
    }

    private CheckpointException error(String message) {
        return new CheckpointException(file + ": " + message);
    }

    /**
     * Writes a file, atomically, byte for byte as the reference implementation does.
     *
     * @param tensors in any order; they are laid out by type, then by name
     * @param metadata free-form entries; transformers refuses a model without {@code format = pt}
     * @throws IllegalArgumentException if two tensors have one name
     * @throws CheckpointException if the file cannot be written; what was there stays
     */
    public static void write(Path file, List<TensorData> tensors, Map<String, String> metadata) {
        writeSources(file, tensors.stream().map(Source::of).toList(), metadata);
    }

    /** Bytes made as they are written, so that a conversion needs no second copy of a model. */
    record Source(String name, TensorType type, long[] shape, Filler filler) {
        static Source of(TensorData t) {
            MemorySegment data = t.data();
            return new Source(
                    t.name(),
                    t.type(),
                    t.shape(),
                    (offset, chunk) ->
                            MemorySegment.copy(data, offset, chunk, 0, chunk.byteSize()));
        }
    }

    /**
     * Fills a chunk with a tensor's bytes from an offset; both are multiples of 8, the end apart.
     */
    @FunctionalInterface
    interface Filler {
        void fill(long offset, MemorySegment chunk);
    }

    static void writeSources(Path file, List<Source> tensors, Map<String, String> metadata) {
        List<Source> sorted = new ArrayList<>(tensors);
        sorted.sort(
                Comparator.comparing(Source::type, Comparator.reverseOrder())
                        .thenComparing(Source::name));
        byte[] header = header(sorted, metadata);
        AtomicFiles.write(
                file,
                channel -> {
                    try (Arena arena = Arena.ofConfined()) {
                        MemorySegment buffer = arena.allocate(CHUNK, Long.BYTES);
                        write(channel, ByteBuffer.wrap(header));
                        for (Source source : sorted) {
                            long bytes = TensorData.byteSize(source.type, source.shape);
                            for (long at = 0; at < bytes; at += CHUNK) {
                                MemorySegment chunk =
                                        buffer.asSlice(0, Math.min(CHUNK, bytes - at));
                                source.filler.fill(at, chunk);
                                write(channel, chunk.asByteBuffer());
                            }
                        }
                    }
                });
    }

    private static void write(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    private static byte[] header(List<Source> sorted, Map<String, String> metadata) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            out.write(new byte[Long.BYTES]);
            try (JsonGenerator json = Json.MAPPER.getFactory().createGenerator(out)) {
                json.writeStartObject();
                if (!metadata.isEmpty()) {
                    json.writeObjectFieldStart(METADATA);
                    for (var entry : new TreeMap<>(metadata).entrySet()) {
                        json.writeStringField(entry.getKey(), entry.getValue());
                    }
                    json.writeEndObject();
                }
                Set<String> names = new HashSet<>(Set.of(METADATA));
                long position = 0;
                for (Source source : sorted) {
                    if (!names.add(source.name)) {
                        throw new IllegalArgumentException(
                                "tensors: the name " + source.name + " is taken");
                    }
                    long end = position + TensorData.byteSize(source.type, source.shape);
                    json.writeObjectFieldStart(source.name);
                    json.writeStringField("dtype", source.type.name());
                    json.writeFieldName("shape");
                    json.writeArray(source.shape, 0, source.shape.length);
                    json.writeFieldName("data_offsets");
                    json.writeArray(new long[] {position, end}, 0, 2);
                    json.writeEndObject();
                    position = end;
                }
                json.writeEndObject();
            }
            while (out.size() % Long.BYTES != 0) {
                out.write(' ');
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        byte[] header = out.toByteArray();
        MemorySegment.ofArray(header).set(U64, 0, header.length - Long.BYTES);
        return header;
    }
}
