package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;

/**
 * Token sequences to train on or to measure a loss on. Immutable once loaded (the arrays of an
 * example are shared, do not change them).
 *
 * <p><b>Records</b> ({@code .jsonl}: one object per line; {@code .json}: the same or one array;
 * {@code .csv}: a heading, then one record per row). The fields decide the form, further fields are
 * ignored; {@link Template} says how the forms become text, these are its defaults:
 *
 * <table>
 * <caption>Record forms</caption>
 * <tr><th>fields</th><th>prompt</th><th>completion</th><th>answer</th></tr>
 * <tr><td>prompt, completion [, answer]</td><td>as it stands</td><td>as it stands</td>
 *     <td>answer, else completion</td></tr>
 * <tr><td>instruction [, input], output [, answer] (Alpaca, LLM-Adapters)</td>
 *     <td>Alpaca template</td><td>output</td><td>answer, else output</td></tr>
 * <tr><td>question, answer (GSM8K)</td><td>{@code "Q: " question "\nA:"}</td>
 *     <td>{@code " " answer}</td><td>the text after {@code ####}, else all</td></tr>
 * <tr><td>question, options, correct [, rationale] (AQuA)</td><td>the same with {@code Answer
 *     choices: (A) ...}</td><td>{@code " " rationale " #### " correct}</td><td>correct</td></tr>
 * <tr><td>Body, Question, Equation, Answer (SVAMP)</td><td>{@code "Q: " Body " " Question "\nA:"}
 *     </td><td>{@code " " Equation " #### " Answer}</td><td>Answer</td></tr>
 * <tr><td>messages: role (system, user, assistant) and content</td><td>all turns but the last one
 *     </td><td>the last turn, the assistant's</td><td>its content</td></tr>
 * <tr><td>original_text, equation, ans (MAWPS)</td><td>{@code "Q: " original_text "\nA:"}</td>
 *     <td>{@code " " equation " #### " ans}</td><td>ans</td></tr>
 * </table>
 *
 * Prompt and completion are joined without anything between and encoded as one text, between BOS
 * and EOS where the tokenizer has them (a completion that ends with EOS gets no second one). The
 * loss covers the completion and EOS ({@link Loss#COMPLETION}) or everything after BOS ({@link
 * Loss#ALL}). A record of more tokens than the context window is left out and counted in {@link
 * #dropped}: cut short it would lose its answer; {@link Format#truncate} cuts it nevertheless, as
 * the papers do.
 *
 * <p><b>Plain text</b> (any other extension) is split into pieces at {@code <|endoftext|>} if it
 * holds that marker, otherwise at blank lines; white space around a piece is dropped. Each piece
 * begins with BOS and gets no EOS. A piece of more tokens than the window is cut into consecutive
 * windows, each beginning with BOS again, so that every token of the piece is scored exactly once,
 * BOS never. A tokenizer without BOS has nothing to predict a piece's first token from: that token
 * is not scored, and each further window begins with the last token of the one before instead.
 */
public final class Dataset {
    /** The label of a token that is not scored. */
    public static final int IGNORE = -100;

    private static final String END_OF_TEXT = "<|endoftext|>";
    private static final Pattern BLANK_LINES = Pattern.compile("\\r?\\n\\s*\\n");
    private static final ObjectMapper JSON = new ObjectMapper();

    private final List<Example> examples;
    private final List<Problem> problems;
    private final int dropped;
    private final List<String> warnings;

    /**
     * One sequence; {@code labels[i]} is {@code tokens[i]} or {@link #IGNORE}. The shift to the
     * next token is left to the consumer.
     *
     * @param starts where packed examples begin, ascending from 0: they do not see each other
     */
    public record Example(int[] tokens, int[] labels, int[] starts) {
        /** A sequence in one piece. */
        public Example(int[] tokens, int[] labels) {
            this(tokens, labels, new int[1]);
        }

        /** How many tokens are scored: labels after the first that are not {@link #IGNORE}. */
        public int targets() {
            int count = 0;
            for (int i = 1; i < labels.length; i++) {
                if (labels[i] != IGNORE) {
                    count++;
                }
            }
            return count;
        }
    }

    /**
     * A prompt, the completion to learn, and the answer to compare with, see {@link Evaluation}.
     */
    public record Problem(String prompt, String completion, String answer) {}

    /** Which tokens of a record are scored. */
    public enum Loss {
        COMPLETION,
        ALL
    }

    /**
     * How a file is read.
     *
     * @param context the longest example in tokens, at least 2
     * @param loss which tokens of a record are scored
     * @param truncate whether a longer record is cut at its end and not left out
     * @param template how records become text
     */
    public record Format(int context, Loss loss, boolean truncate, Template template) {
        public Format {
            requireContext(context);
        }
    }

    private Dataset(List<Example> examples, List<Problem> problems, int dropped) {
        this(examples, problems, dropped, List.of());
    }

    private Dataset(
            List<Example> examples, List<Problem> problems, int dropped, List<String> warnings) {
        this.examples = List.copyOf(examples);
        this.problems = List.copyOf(problems);
        this.dropped = dropped;
        this.warnings = List.copyOf(warnings);
    }

    /**
     * Loads a file by its extension: records from {@code .jsonl}, {@code .json} and {@code .csv},
     * text from any other.
     *
     * @param context the longest example in tokens, at least 2
     * @throws DataException if the file cannot be read, is not UTF-8, is empty, has a malformed
     *     record, or no record that fits the context
     */
    public static Dataset load(Path file, Tokenizer tokenizer, int context, Loss loss) {
        return load(file, tokenizer, new Format(context, loss, false, Template.AUTO));
    }

    /**
     * The same.
     *
     * @throws DataException likewise
     */
    public static Dataset load(Path file, Tokenizer tokenizer, Format format) {
        Template chat =
                format.template() == Template.AUTO ? Template.of(tokenizer) : format.template();
        AtomicBoolean chats = new AtomicBoolean();
        Forms forms = new Forms(format.template(), chat, () -> chats.set(true));
        Dataset data =
                isText(file)
                        ? ofTexts(readTexts(file), tokenizer, format.context(), false)
                        : ofProblems(parse(file, readUtf8(file), forms), tokenizer, format);
        if (data.examples.isEmpty()) {
            throw new DataException(
                    file,
                    data.dropped == 0
                            ? "no token to score"
                            : "none of its "
                                    + data.dropped
                                    + " records fits "
                                    + format.context()
                                    + " tokens");
        }
        boolean foreign =
                tokenizer.chatTemplate() != null
                        && Template.recognise(tokenizer.chatTemplate()) == null;
        if (chats.get() && foreign && format.template() == Template.AUTO) {
            String warning =
                    "%s: the model's chat template is not one that is known here; messages are"
                            + " written as %s writes them, --template chooses another";
            return new Dataset(
                    data.examples,
                    data.problems,
                    data.dropped,
                    List.of(warning.formatted(file, chat)));
        }
        return data;
    }

    /** Examples of records; {@code context} is the longest example in tokens, at least 2. */
    public static Dataset ofProblems(
            List<Problem> problems, Tokenizer tokenizer, int context, Loss loss) {
        return ofProblems(problems, tokenizer, new Format(context, loss, false, Template.AUTO));
    }

    private static Dataset ofProblems(List<Problem> problems, Tokenizer tokenizer, Format format) {
        List<Example> examples = new ArrayList<>(problems.size());
        List<Problem> kept = new ArrayList<>(problems.size());
        for (Problem problem : problems) {
            Example example = example(problem, tokenizer, format.loss());
            if (format.truncate() && example.tokens().length > format.context()) {
                example =
                        new Example(
                                Arrays.copyOf(example.tokens(), format.context()),
                                Arrays.copyOf(example.labels(), format.context()));
            }
            if (example.tokens().length <= format.context() && example.targets() > 0) {
                examples.add(example);
                kept.add(problem);
            }
        }
        return new Dataset(examples, kept, problems.size() - kept.size());
    }

    /**
     * Puts short examples one after the other into sequences of at most {@code context} tokens, in
     * order: nothing is padded. Packed examples do not see each other, and positions begin anew
     * with each ({@link Example#starts}): a step on them is that on the single examples.
     */
    public static List<Example> pack(List<Example> examples, int context) {
        List<Example> packed = new ArrayList<>();
        int[] tokens = new int[0];
        int[] labels = new int[0];
        int[] starts = new int[0];
        for (Example example : examples) {
            int more = example.tokens().length;
            if (tokens.length > 0 && tokens.length + more > context) {
                packed.add(new Example(tokens, labels, starts));
                tokens = new int[0];
                labels = new int[0];
                starts = new int[0];
            }
            int from = tokens.length;
            starts =
                    IntStream.concat(
                                    IntStream.of(starts),
                                    IntStream.of(example.starts()).map(start -> from + start))
                            .toArray();
            tokens = Arrays.copyOf(tokens, from + more);
            labels = Arrays.copyOf(labels, from + more);
            System.arraycopy(example.tokens(), 0, tokens, from, more);
            System.arraycopy(example.labels(), 0, labels, from, more);
            labels[from] = IGNORE;
        }
        if (tokens.length > 0) {
            packed.add(new Example(tokens, labels, starts));
        }
        return packed;
    }

    /**
     * Examples of plain text pieces, see the class description.
     *
     * @param context the longest window in tokens, BOS included, at least 2
     * @param endOfText whether each piece is followed by EOS (scored), where the tokenizer has one
     */
    public static Dataset ofTexts(
            Iterable<String> pieces, Tokenizer tokenizer, int context, boolean endOfText) {
        requireContext(context);
        List<Example> examples = new ArrayList<>();
        for (String piece : pieces) {
            int[] ids = tokenizer.encode(piece);
            if (endOfText && tokenizer.eosId() >= 0) {
                ids = Arrays.copyOf(ids, ids.length + 1);
                ids[ids.length - 1] = tokenizer.eosId();
            }
            addWindows(examples, ids, tokenizer.bosId(), context);
        }
        return new Dataset(examples, List.of(), 0);
    }

    /**
     * The records of a {@code .json}, {@code .jsonl} or {@code .csv} file as text, in file order,
     * with the default templates.
     *
     * @throws DataException naming file and line
     */
    public static List<Problem> readProblems(Path file) {
        return parse(file, readUtf8(file), Forms.DEFAULT);
    }

    /**
     * The pieces of a plain text file, in file order, each with at least one character.
     *
     * @throws DataException naming the file, and the line where the text is not UTF-8
     */
    public static List<String> readTexts(Path file) {
        String text = readUtf8(file);
        String[] parts =
                text.contains(END_OF_TEXT)
                        ? text.split(Pattern.quote(END_OF_TEXT))
                        : BLANK_LINES.split(text);
        List<String> pieces =
                Arrays.stream(parts).map(String::strip).filter(p -> !p.isEmpty()).toList();
        if (pieces.isEmpty()) {
            throw new DataException(file, "has no text");
        }
        return pieces;
    }

    /** The sequences, in file order. */
    public List<Example> examples() {
        return examples;
    }

    /** The records behind {@link #examples}, one for one; empty for plain text. */
    public List<Problem> problems() {
        return problems;
    }

    /**
     * Records left out because they are longer than the context window or have nothing to score.
     */
    public int dropped() {
        return dropped;
    }

    /** What a user should know of how the file was read, a line each. */
    public List<String> warnings() {
        return warnings;
    }

    /** How instructions and questions are written, how messages are, and who is told of one. */
    private record Forms(Template records, Template chat, Runnable onChat) {
        static final Forms DEFAULT = new Forms(Template.AUTO, Template.CHATML, () -> {});
    }

    static List<Problem> parseProblems(Path file, String text) {
        return parse(file, text, Forms.DEFAULT);
    }

    private static List<Problem> parse(Path file, String text, Forms forms) {
        List<Problem> problems;
        if (hasExtension(file, ".csv")) {
            problems = parseCsv(file, text, forms);
        } else if (hasExtension(file, ".json") && text.stripLeading().startsWith("[")) {
            problems = parseArray(file, text, forms);
        } else {
            problems = parseLines(file, text, forms);
        }
        if (problems.isEmpty()) {
            throw new DataException(file, "has no record");
        }
        return problems;
    }

    private static List<Problem> parseCsv(Path file, String text, Forms forms) {
        List<Problem> problems = new ArrayList<>();
        CSVFormat format = CSVFormat.RFC4180.builder().setHeader().setSkipHeaderRecord(true).get();
        int line = 1;
        try (CSVParser rows = CSVParser.parse(text, format)) {
            Iterator<CSVRecord> all = rows.iterator();
            while (true) {
                line = (int) rows.getCurrentLineNumber() + 1;
                if (!all.hasNext()) {
                    return problems;
                }
                CSVRecord row = all.next();
                if (!row.isConsistent()) {
                    throw new DataException(
                            file,
                            line,
                            "has %d fields, the heading has %d"
                                    .formatted(row.size(), rows.getHeaderNames().size()));
                }
                ObjectNode record = JSON.createObjectNode();
                row.toMap()
                        .forEach(
                                (key, value) -> {
                                    if (!value.isBlank()) {
                                        record.put(key.strip(), value);
                                    }
                                });
                problems.add(problem(file, line, record, forms));
            }
        } catch (UncheckedIOException e) { // as the reader's iterator wraps what it finds
            throw new DataException(file, line, "invalid CSV: " + e.getCause().getMessage());
        } catch (IOException | IllegalArgumentException e) {
            throw new DataException(file, line, "invalid CSV: " + e.getMessage());
        }
    }

    private static List<Problem> parseLines(Path file, String text, Forms forms) {
        List<Problem> problems = new ArrayList<>();
        int number = 0;
        for (String line : text.split("\\r?\\n", -1)) {
            number++;
            if (line.isBlank()) {
                continue;
            }
            JsonNode record;
            try (JsonParser parser = JSON.createParser(line)) {
                record = JSON.readTree(parser);
                if (parser.nextToken() != null) {
                    throw new DataException(file, number, "invalid JSON: text after the record");
                }
            } catch (JsonProcessingException e) {
                throw new DataException(
                        file, number, "invalid JSON: " + CheckpointException.syntax(e));
            } catch (IOException e) {
                throw new DataException(file, "cannot be read: " + e.getMessage(), e);
            }
            problems.add(problem(file, number, record, forms));
        }
        return problems;
    }

    private static List<Problem> parseArray(Path file, String text, Forms forms) {
        List<Problem> problems = new ArrayList<>();
        int line = 1;
        try (JsonParser parser = JSON.createParser(text)) {
            parser.nextToken();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                line = parser.currentTokenLocation().getLineNr();
                problems.add(problem(file, line, JSON.readTree(parser), forms));
            }
            if (parser.nextToken() != null) {
                line = parser.currentTokenLocation().getLineNr();
                throw new DataException(file, line, "invalid JSON: text after the array");
            }
        } catch (JsonProcessingException e) {
            int at = e.getLocation() == null ? line : e.getLocation().getLineNr();
            throw new DataException(file, at, "invalid JSON: " + CheckpointException.syntax(e));
        } catch (IOException e) {
            throw new DataException(file, "cannot be read: " + e.getMessage(), e);
        }
        return problems;
    }

    private static Problem problem(Path file, int line, JsonNode record, Forms forms) {
        if (!record.isObject()) {
            throw new DataException(file, line, "expected a JSON object");
        }
        Template template = forms.records();
        Template.Text text;
        String answer;
        if (record.has("messages")) {
            text = chat(file, line, record.get("messages"), forms.chat());
            forms.onChat().run();
            answer =
                    record.get("messages")
                            .get(record.get("messages").size() - 1)
                            .get("content")
                            .asText();
        } else if (record.has("prompt") || record.has("completion")) {
            String completion = field(file, line, record, "completion");
            text = new Template.Text(field(file, line, record, "prompt"), completion);
            answer = optional(file, line, record, "answer", completion);
        } else if (record.has("instruction") || record.has("output")) {
            String output = field(file, line, record, "output");
            text =
                    template.instruction(
                            field(file, line, record, "instruction"),
                            optional(file, line, record, "input", ""),
                            output);
            answer = optional(file, line, record, "answer", output);
            require(file, line, output);
        } else if (record.has("options") && record.has("correct")) {
            answer = field(file, line, record, "correct");
            text =
                    template.question(
                            field(file, line, record, "question")
                                    + choices(file, line, record.get("options")),
                            (optional(file, line, record, "rationale", "") + " #### " + answer)
                                    .strip());
        } else if (record.has("Body")) {
            answer = field(file, line, record, "Answer");
            text =
                    template.question(
                            field(file, line, record, "Body").strip()
                                    + " "
                                    + field(file, line, record, "Question"),
                            field(file, line, record, "Equation") + " #### " + answer);
        } else if (record.has("question")) {
            String whole = field(file, line, record, "answer");
            text = template.question(field(file, line, record, "question"), whole);
            int marker = whole.lastIndexOf("####");
            answer = marker < 0 ? whole : whole.substring(marker + 4).strip();
        } else if (record.has("original_text")) {
            answer = field(file, line, record, "ans");
            text =
                    template.question(
                            field(file, line, record, "original_text"),
                            field(file, line, record, "equation") + " #### " + answer);
        } else {
            throw new DataException(
                    file,
                    line,
                    "missing field: expected prompt and completion, instruction and output,"
                            + " messages, question and answer, or another form of"
                            + " docs/finetune.md");
        }
        require(file, line, text.completion());
        return new Problem(text.prompt(), text.completion(), answer);
    }

    private static void require(Path file, int line, String completion) {
        if (completion.isEmpty()) {
            throw new DataException(file, line, "the completion is empty");
        }
    }

    /** AQuA's options, such as "A)21", as LLM-Adapters writes them. */
    private static String choices(Path file, int line, JsonNode options) {
        if (!options.isArray()) {
            throw new DataException(file, line, "field 'options' is not an array");
        }
        StringBuilder out = new StringBuilder("\nAnswer choices:");
        for (JsonNode option : options) {
            out.append(" (").append(option.asText().replaceFirst("^([A-Z])\\)\\s*", "$1) "));
        }
        return out.toString();
    }

    private static Template.Text chat(Path file, int line, JsonNode messages, Template template) {
        if (template == Template.ALPACA) {
            throw new DataException(file, line, "messages have no alpaca template");
        }
        List<Template.Message> turns = new ArrayList<>();
        String expected = "user";
        for (JsonNode message : messages) {
            String role = field(file, line, message, "role");
            boolean system = turns.isEmpty() && role.equals("system");
            if (!system && !role.equals(expected)) {
                throw new DataException(
                        file,
                        line,
                        "messages: role '" + role + "' where '" + expected + "' is expected");
            }
            expected = system || role.equals("assistant") ? "user" : "assistant";
            turns.add(new Template.Message(role, field(file, line, message, "content")));
        }
        if (turns.isEmpty() || !turns.get(turns.size() - 1).role().equals("assistant")) {
            throw new DataException(file, line, "messages: the last one is not the assistant's");
        }
        require(file, line, turns.get(turns.size() - 1).content());
        return template.chat(turns);
    }

    private static String field(Path file, int line, JsonNode record, String name) {
        JsonNode value = record.get(name);
        if (value == null || value.isNull()) {
            throw new DataException(file, line, "missing field '" + name + "'");
        }
        if (!value.isTextual() && !value.isNumber()) {
            throw new DataException(file, line, "field '" + name + "' is not text or a number");
        }
        return value.asText();
    }

    private static String optional(
            Path file, int line, JsonNode record, String name, String otherwise) {
        return record.hasNonNull(name) ? field(file, line, record, name) : otherwise;
    }

    private static Example example(Problem problem, Tokenizer tokenizer, Loss loss) {
        int[] ids = tokenizer.encode(problem.prompt() + problem.completion());
        int bos = tokenizer.bosId() >= 0 ? 1 : 0;
        boolean ends = ids.length > 0 && ids[ids.length - 1] == tokenizer.eosId();
        int eos = tokenizer.eosId() >= 0 && !ends ? 1 : 0;
        int[] tokens = new int[bos + ids.length + eos];
        System.arraycopy(ids, 0, tokens, bos, ids.length);
        if (bos == 1) {
            tokens[0] = tokenizer.bosId();
        }
        if (eos == 1) {
            tokens[tokens.length - 1] = tokenizer.eosId();
        }
        int from = bos;
        if (loss == Loss.COMPLETION) {
            // A token that spans the boundary belongs to the completion.
            int[] prompt = tokenizer.encode(problem.prompt());
            int shared = Arrays.mismatch(prompt, ids);
            from += shared < 0 ? prompt.length : shared;
        }
        int[] labels = tokens.clone();
        Arrays.fill(labels, 0, from, IGNORE);
        return new Example(tokens, labels);
    }

    private static void addWindows(List<Example> out, int[] ids, int bos, int context) {
        int next = bos >= 0 ? 0 : 1;
        while (next < ids.length) {
            int length = Math.min(context - 1, ids.length - next);
            int[] tokens = new int[length + 1];
            tokens[0] = bos >= 0 ? bos : ids[next - 1];
            System.arraycopy(ids, next, tokens, 1, length);
            int[] labels = tokens.clone();
            labels[0] = IGNORE;
            out.add(new Example(tokens, labels));
            next += length;
        }
    }

    private static void requireContext(int context) {
        if (context < 2) {
            throw new IllegalArgumentException("context = " + context + ", expected at least 2");
        }
    }

    /** Whether a file of this name is read as records, and not as plain text. */
    public static boolean isRecords(Path file) {
        return hasExtension(file, ".jsonl")
                || hasExtension(file, ".json")
                || hasExtension(file, ".csv");
    }

    private static boolean isText(Path file) {
        return !isRecords(file);
    }

    private static boolean hasExtension(Path file, String extension) {
        return file.toString().toLowerCase(Locale.ROOT).endsWith(extension);
    }

    private static String readUtf8(Path file) {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new DataException(file, "not found");
        } catch (IOException e) {
            throw new DataException(file, "cannot be read: " + CheckpointException.reason(e), e);
        } catch (OutOfMemoryError e) {
            throw new DataException(file, "too large for the heap: " + e.getMessage(), e);
        }
        CharsetDecoder decoder =
                StandardCharsets.UTF_8
                        .newDecoder()
                        .onMalformedInput(CodingErrorAction.REPORT)
                        .onUnmappableCharacter(CodingErrorAction.REPORT);
        ByteBuffer in = ByteBuffer.wrap(bytes);
        CharBuffer out = CharBuffer.allocate(bytes.length);
        CoderResult result = decoder.decode(in, out, true);
        if (result.isError()) {
            int line = 1;
            for (int i = 0; i < in.position(); i++) {
                if (bytes[i] == '\n') {
                    line++;
                }
            }
            throw new DataException(file, line, "not UTF-8");
        }
        String text = out.flip().toString();
        text = text.startsWith("\uFEFF") ? text.substring(1) : text;
        if (text.isBlank()) {
            throw new DataException(file, "is empty");
        }
        return text;
    }
}
