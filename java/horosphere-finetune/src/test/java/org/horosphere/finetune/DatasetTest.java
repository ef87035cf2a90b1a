package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class DatasetTest {
    private static final int X = Dataset.IGNORE;

    private static Tokenizer tokenizer;
    private static Tokenizer withoutSpecials;

    @TempDir Path dir;

    @BeforeAll
    static void open(@TempDir Path model) throws IOException {
        tokenizer = Tokenizer.embedded();
        Files.write(model.resolve("tokenizer.json"), DefaultData.read(DefaultData.TOKENIZER));
        Files.writeString(
                model.resolve("tokenizer_config.json"), "{\"bos_token\":null,\"eos_token\":null}");
        withoutSpecials = Tokenizer.open(model);
    }

    @AfterAll
    static void close() {
        tokenizer.close();
        withoutSpecials.close();
    }

    static Stream<Arguments> forms() {
        return Stream.of(
                Arguments.of(
                        "{\"prompt\":\"p\",\"completion\":\" c 5\",\"extra\":[1]}",
                        new Dataset.Problem("p", " c 5", " c 5")),
                Arguments.of(
                        "{\"completion\":\" c\",\"prompt\":\"\",\"answer\":7}",
                        new Dataset.Problem("", " c", "7")),
                Arguments.of(
                        "{\"question\":\"Why?\",\"answer\":\"2+3 = <<2+3=5>>5\\n#### 5\"}",
                        new Dataset.Problem("Q: Why?\nA:", " 2+3 = <<2+3=5>>5\n#### 5", "5")),
                Arguments.of(
                        "{\"question\":\"Why?\",\"answer\":\"So.\"}",
                        new Dataset.Problem("Q: Why?\nA:", " So.", "So.")),
                Arguments.of(
                        "{\"id\":1,\"original_text\":\"Why ?\",\"equation\":\"x=3*6\",\"ans\":18.0}",
                        new Dataset.Problem("Q: Why ?\nA:", " x=3*6 #### 18.0", "18.0")),
                Arguments.of(
                        "{\"instruction\":\"Add.\",\"output\":\"5\"}",
                        new Dataset.Problem(
                                "Below is an instruction that describes a task. Write a response"
                                        + " that appropriately completes the request.\n\n"
                                        + "### Instruction:\nAdd.\n\n### Response:\n",
                                "5",
                                "5")),
                Arguments.of(
                        "{\"instruction\":\"Add.\",\"input\":\"2 3\",\"output\":\"is 5\",\"answer\":\"5\"}",
                        new Dataset.Problem(
                                "Below is an instruction that describes a task, paired with an"
                                        + " input that provides further context. Write a response"
                                        + " that appropriately completes the request.\n\n"
                                        + "### Instruction:\nAdd.\n\n### Input:\n2 3\n\n"
                                        + "### Response:\n",
                                "is 5",
                                "5")));
    }

    @ParameterizedTest
    @MethodSource("forms")
    void recordForms(String json, Dataset.Problem expected) throws IOException {
        List<Dataset.Problem> two = List.of(expected, expected);
        assertEquals(two, Dataset.readProblems(file("a.jsonl", json + "\r\n\r\n" + json + "\n")));
        assertEquals(two, Dataset.readProblems(file("b.json", json + "\n" + json)));
        assertEquals(
                two, Dataset.readProblems(file("c.JSON", "\n[" + json + ",\n" + json + "]\n")));
        assertEquals(
                List.of(expected), Dataset.readProblems(file("d.jsonl", "\uFEFF" + json)), "BOM");
    }

    static Stream<Arguments> malformed() {
        String good = "{\"prompt\":\"p\",\"completion\":\"c\"}\n";
        return Stream.of(
                Arguments.of("e.jsonl", "", "is empty"),
                Arguments.of("e.jsonl", " \n\n ", "is empty"),
                Arguments.of("e.json", "[]", "has no record"),
                Arguments.of(
                        "e.jsonl", good + "{\"prompt\":\"p\"}", ":2: missing field 'completion'"),
                Arguments.of("e.jsonl", "{\"completion\":\"p\"}", ":1: missing field 'prompt'"),
                Arguments.of(
                        "e.jsonl", good + "\n{\"question\":\"p\"}", ":3: missing field 'answer'"),
                Arguments.of("e.jsonl", "{\"output\":\"p\"}", ":1: missing field 'instruction'"),
                Arguments.of("e.jsonl", "{\"instruction\":\"p\"}", ":1: missing field 'output'"),
                Arguments.of(
                        "e.jsonl",
                        "{\"original_text\":\"p\",\"ans\":1}",
                        ":1: missing field 'equation'"),
                Arguments.of("e.jsonl", good + "{\"text\":\"p\"}", ":2: missing field"),
                Arguments.of("e.jsonl", "{}", ":1: missing field"),
                Arguments.of(
                        "e.jsonl",
                        "{\"prompt\":null,\"completion\":\"c\"}",
                        ":1: missing field 'prompt'"),
                Arguments.of(
                        "e.jsonl",
                        "{\"prompt\":[],\"completion\":\"c\"}",
                        ":1: field 'prompt' is not"),
                Arguments.of(
                        "e.jsonl",
                        "{\"prompt\":\"p\",\"completion\":\"\"}",
                        ":1: the completion is"),
                Arguments.of("e.jsonl", good + "{\"prompt\":", ":2: invalid JSON"),
                Arguments.of("e.jsonl", good + good.strip() + " x", ":2: invalid JSON"),
                Arguments.of("e.jsonl", good + "hello", ":2: invalid JSON"),
                Arguments.of("e.jsonl", "[" + good + "]", ":1: invalid JSON"),
                Arguments.of("e.jsonl", "5", ":1: expected a JSON object"),
                Arguments.of("e.json", "[\n" + good + ",\n7]", ":4: expected a JSON object"),
                Arguments.of("e.json", "[\n" + good + ",\n{\"prompt\":1}]", ":4: missing field"),
                Arguments.of("e.json", "[\n" + good + ",\n{\"prompt\"]", ":4: invalid JSON"),
                Arguments.of("e.json", "[" + good, "invalid JSON"),
                Arguments.of("e.json", "[" + good + "] 5", ":2: invalid JSON"),
                Arguments.of("e.json", "[".repeat(100_000), ":1: "),
                Arguments.of("e.txt", " \n \n", "is empty"),
                Arguments.of("e.txt", "<|endoftext|> <|endoftext|>", "has no text"));
    }

    @ParameterizedTest
    @MethodSource("malformed")
    void malformedFiles(String name, String text, String message) throws IOException {
        assertFails(file(name, text), name, message);
    }

    @ParameterizedTest
    @ValueSource(strings = {"u.jsonl", "u.txt"})
    void notUtf8(String name) throws IOException {
        Path file = dir.resolve(name);
        byte[] bad = "first\nsecond ?\nthird".getBytes(StandardCharsets.UTF_8);
        bad[13] = (byte) 0xE9;
        Files.write(file, bad);
        assertFails(file, name, ":2: not UTF-8");
        Files.write(file, new byte[] {'a', '\n', 'b', '\n', (byte) 0xE2, (byte) 0x82});
        assertFails(file, name, ":3: not UTF-8");
    }

    @Test
    void missingFileAndDirectory() {
        assertFails(dir.resolve("none.jsonl"), "none.jsonl", "not found");
        assertFails(dir.resolve("none.txt"), "none.txt", "not found");
        Path directory = dir.resolve("d.jsonl");
        assertTrue(directory.toFile().mkdir());
        assertFails(directory, "d.jsonl", "cannot be read");
    }

    private static void assertFails(Path file, String name, String message) {
        DataException e =
                assertThrows(
                        DataException.class,
                        () -> Dataset.load(file, tokenizer, 64, Dataset.Loss.COMPLETION));
        assertTrue(
                e.getMessage().contains(name) && e.getMessage().contains(message), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @Test
    void lossOnCompletionOrAll() {
        List<Dataset.Problem> problems = List.of(new Dataset.Problem("1", "23", "23"));
        Dataset.Example completion =
                Dataset.ofProblems(problems, tokenizer, 8, Dataset.Loss.COMPLETION)
                        .examples()
                        .get(0);
        assertArrayEquals(new int[] {509, '1', '2', '3', 510}, completion.tokens());
        assertArrayEquals(new int[] {X, X, '2', '3', 510}, completion.labels());
        assertEquals(3, completion.targets());
        Dataset.Example all =
                Dataset.ofProblems(problems, tokenizer, 8, Dataset.Loss.ALL).examples().get(0);
        assertArrayEquals(completion.tokens(), all.tokens());
        assertArrayEquals(new int[] {X, '1', '2', '3', 510}, all.labels());
        Dataset.Example bare =
                Dataset.ofProblems(problems, withoutSpecials, 8, Dataset.Loss.COMPLETION)
                        .examples()
                        .get(0);
        assertArrayEquals(new int[] {'1', '2', '3'}, bare.tokens());
        assertArrayEquals(new int[] {X, '2', '3'}, bare.labels());
    }

    @Test
    void tokenAcrossTheBoundaryIsScored() {
        List<Dataset.Problem> problems = List.of(new Dataset.Problem("1 m", "any", "any"));
        int[] joint = tokenizer.encode("1 many");
        assertEquals(2, joint.length, "' many' is one token");
        Dataset.Example example =
                Dataset.ofProblems(problems, tokenizer, 8, Dataset.Loss.COMPLETION)
                        .examples()
                        .get(0);
        assertArrayEquals(new int[] {X, X, joint[1], 510}, example.labels());
    }

    @Test
    void recordsLongerThanTheContextAreLeftOut() throws IOException {
        String json =
                "{\"prompt\":\"1\",\"completion\":\"22\"}\n{\"prompt\":\"1\",\"completion\":\"333\"}";
        Path file = file("long.jsonl", json);
        Dataset data = Dataset.load(file, tokenizer, 5, Dataset.Loss.COMPLETION);
        assertEquals(1, data.examples().size());
        assertEquals(List.of(new Dataset.Problem("1", "22", "22")), data.problems());
        assertEquals(1, data.dropped());
        DataException e =
                assertThrows(
                        DataException.class,
                        () -> Dataset.load(file, tokenizer, 4, Dataset.Loss.COMPLETION));
        assertTrue(e.getMessage().contains("none of its 2 records fits 4 tokens"), e.getMessage());
        assertThrows(
                IllegalArgumentException.class,
                () -> Dataset.load(file, tokenizer, 1, Dataset.Loss.COMPLETION));
    }

    @Test
    void textPieces() throws IOException {
        assertEquals(
                List.of("a\nb", "c", "d"),
                Dataset.readTexts(file("p.txt", "\n\na\nb\n\nc\r\n \t\r\n\r\nd\n")));
        assertEquals(
                List.of("a\n\nb", "c"),
                Dataset.readTexts(file("q.txt", "a\n\nb\n<|endoftext|>\n\nc<|endoftext|>")));
    }

    @Test
    void windowsScoreEveryTokenOnce() throws IOException {
        Path file = file("w.txt", "1234567\n\n89");
        Dataset data = Dataset.load(file, tokenizer, 4, Dataset.Loss.COMPLETION);
        assertEquals(List.of(), data.problems());
        assertTokens(data, "B123", "B456", "B7", "B89");
        Dataset ended = Dataset.ofTexts(List.of("123", "4"), tokenizer, 4, true);
        assertTokens(ended, "B123", "BE", "B4E");
        Dataset bare = Dataset.load(file, withoutSpecials, 4, Dataset.Loss.COMPLETION);
        assertTokens(bare, "1234", "4567", "89");
        for (Dataset set : List.of(data, ended, bare)) {
            for (Dataset.Example example : set.examples()) {
                int[] expected = example.tokens().clone();
                expected[0] = X;
                assertArrayEquals(expected, example.labels());
                assertEquals(expected.length - 1, example.targets());
            }
        }
        assertThrows(
                DataException.class,
                () ->
                        Dataset.load(
                                file("one.txt", "1"), withoutSpecials, 4, Dataset.Loss.COMPLETION));
    }

    private static void assertTokens(Dataset data, String... expected) {
        int[][] tokens =
                data.examples().stream().map(Dataset.Example::tokens).toArray(int[][]::new);
        int[][] wanted =
                Arrays.stream(expected)
                        .map(s -> s.chars().map(c -> c == 'B' ? 509 : c == 'E' ? 510 : c).toArray())
                        .toArray(int[][]::new);
        assertArrayEquals(wanted, tokens);
    }

    @Test
    void gsm8k() {
        List<Dataset.Problem> train =
                Dataset.readProblems(SharedTestData.require("data/gsm8k/train.jsonl"));
        List<Dataset.Problem> test =
                Dataset.readProblems(SharedTestData.require("data/gsm8k/test.jsonl"));
        assertEquals(7473, train.size());
        assertEquals(1319, test.size());
        for (Dataset.Problem problem : train) {
            assertTrue(problem.answer().matches("-?[\\d,.]+"), problem.answer());
            assertTrue(Evaluation.exactMatch(problem.completion(), problem.answer()));
        }
        assertEquals("18", test.get(0).answer());
    }

    @Test
    void mawps() {
        List<Dataset.Problem> train =
                Dataset.readProblems(SharedTestData.require("data/mawps/trainset.json"));
        List<Dataset.Problem> test =
                Dataset.readProblems(SharedTestData.require("data/mawps/testset.json"));
        assertEquals(1898, train.size());
        assertEquals(238, test.size());
        for (Dataset.Problem problem : train) {
            assertTrue(Evaluation.exactMatch(problem.completion(), problem.answer()));
        }
    }

    @Test
    void sharedTextWindows() {
        Path text = SharedTestData.require("data/text/tinyshakespeare.txt");
        Path model = SharedTestData.require("data/stories260K/hf");
        try (Tokenizer stories = Tokenizer.open(model)) {
            Dataset data = Dataset.load(text, stories, 512, Dataset.Loss.COMPLETION);
            long scored = data.examples().stream().mapToLong(Dataset.Example::targets).sum();
            assertEquals(683_544, scored, "tokens of all pieces, counted with Python's tokenizers");
            int longest =
                    data.examples().stream().mapToInt(e -> e.tokens().length).max().orElseThrow();
            assertEquals(512, longest);
            assertTrue(
                    IntStream.range(0, data.examples().size())
                            .allMatch(i -> data.examples().get(i).tokens()[0] == 1));
        }
    }

    private Path file(String name, String text) throws IOException {
        return Files.writeString(dir.resolve(name), text);
    }
}
