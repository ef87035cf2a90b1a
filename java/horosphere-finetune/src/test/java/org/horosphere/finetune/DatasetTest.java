package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
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
                        "{\"ID\":\"c-1\",\"Body\":\"Jo had 5.\",\"Question\":\"How many left?\","
                                + "\"Equation\":\"( 5.0 - 2.0 )\",\"Answer\":3.0}",
                        new Dataset.Problem(
                                "Q: Jo had 5. How many left?\nA:",
                                " ( 5.0 - 2.0 ) #### 3.0",
                                "3.0")),
                Arguments.of(
                        "{\"question\":\"How far?\",\"options\":[\"A)21\",\"B) 22 km\"],"
                                + "\"rationale\":\"As is.\",\"correct\":\"B\"}",
                        new Dataset.Problem(
                                "Q: How far?\nAnswer choices: (A) 21 (B) 22 km\nA:",
                                " As is. #### B",
                                "B")),
                Arguments.of(
                        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"
                                + "{\"role\":\"assistant\",\"content\":\"Yo\"}]}",
                        new Dataset.Problem(
                                "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
                                        + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
                                "Yo<|im_end|>",
                                "Yo")),
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

    /** Conversations as apply_chat_template of transformers 5.18 wrote them, BOS taken off. */
    static Stream<Arguments> chats() throws IOException {
        List<Arguments> cases = new ArrayList<>();
        try (InputStream in = DatasetTest.class.getResourceAsStream("chats.json")) {
            for (JsonNode chat : Json.MAPPER.readTree(in)) {
                List<Template.Message> messages = new ArrayList<>();
                for (JsonNode message : chat.get("messages")) {
                    messages.add(
                            new Template.Message(
                                    message.get("role").textValue(),
                                    message.get("content").textValue()));
                }
                for (Map.Entry<String, JsonNode> prompt : chat.get("prompts").properties()) {
                    cases.add(
                            Arguments.of(
                                    Template.valueOf(prompt.getKey()),
                                    messages,
                                    prompt.getValue().textValue(),
                                    chat.get("whole").get(prompt.getKey()).textValue()));
                }
            }
        }
        return cases.stream();
    }

    @ParameterizedTest
    @MethodSource("chats")
    void turnsAreWrittenAsTransformersDoes(
            Template template, List<Template.Message> messages, String prompt, String whole) {
        Template.Text text = template.chat(messages);
        assertEquals(prompt, text.prompt());
        assertTrue(whole.startsWith(prompt + text.completion()), text.completion());
        // what follows the last turn's end is EOS, the tokenizer's, or not predicted
        String rest = whole.substring((prompt + text.completion()).length());
        assertTrue(List.of("", "\n", "</s>").contains(rest), rest);
    }

    /** The parts of chat templates that tell them apart. */
    static Stream<Arguments> jinja() {
        String llama31 = "'<|start_header_id|>' '<|eot_id|>' Cutting Knowledge Date: December 2023";
        return Stream.of(
                Arguments.of(
                        Template.CHATML,
                        "'<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n'"),
                Arguments.of(
                        Template.QWEN25,
                        "'<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a"
                                + " helpful assistant.<|im_end|>\\n'"),
                Arguments.of(Template.LLAMA3, "'<|start_header_id|>' + role + '<|eot_id|>'"),
                Arguments.of(Template.LLAMA31, llama31 + " date_string = \"26 Jul 2024\""),
                Arguments.of(
                        Template.GEMMA,
                        "System role not supported '<start_of_turn>' '<end_of_turn>\\n'"),
                Arguments.of(
                        Template.GEMMA,
                        "messages[0]['content'] + '\\n\\n' '<start_of_turn>' '<end_of_turn>\\n'"),
                Arguments.of(
                        Template.LLAMA2, "'[INST] ' '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n'"),
                // ChatML without a system message of its own
                Arguments.of(null, "'<|im_start|>' + role + '\\n' + content + '<|im_end|>\\n'"),
                // Qwen 3, Llama 3.2, Mistral, none of these
                Arguments.of(null, "'<|im_start|>' '<|im_end|>\\n' '<think>'"),
                Arguments.of(null, llama31 + " strftime_now \"26 Jul 2024\""),
                Arguments.of(null, "'[INST] ' + content + ' [/INST]'"),
                Arguments.of(null, "'<|user|>\\n'"));
    }

    @ParameterizedTest
    @MethodSource("jinja")
    void theModelsOwnTemplateIsRecognised(Template expected, String jinja) throws IOException {
        assertEquals(expected, Template.recognise(jinja));
        assertEquals(expected, Template.recognise(jinja.replace("\\n", "\n")));
        Path directory = Files.createDirectories(dir.resolve("own"));
        DefaultData.write(directory);
        Path data =
                file(
                        "chat.jsonl",
                        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
                                + " {\"role\": \"assistant\", \"content\": \"b\"}]}");
        Path other = file("other.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}");
        Path config = directory.resolve("tokenizer_config.json");
        ObjectNode json = (ObjectNode) Json.MAPPER.readTree(config.toFile());
        for (String form : List.of("string", "list", "file")) {
            json.remove("chat_template");
            if (form.equals("string")) {
                json.put("chat_template", jinja);
            } else if (form.equals("list")) {
                ArrayNode list = json.putArray("chat_template");
                list.addObject().put("name", "rag").put("template", "?");
                list.addObject().put("name", "default").put("template", jinja);
            } else {
                Files.writeString(directory.resolve("chat_template.jinja"), jinja);
            }
            Files.writeString(config, json.toString());
            try (Tokenizer own = Tokenizer.open(directory)) {
                assertEquals(expected == null ? Template.CHATML : expected, Template.of(own));
                Dataset read = Dataset.load(data, own, 256, Dataset.Loss.COMPLETION);
                assertEquals(expected == null ? 1 : 0, read.warnings().size(), form);
                Dataset.Format told =
                        new Dataset.Format(256, Dataset.Loss.COMPLETION, false, Template.GEMMA);
                assertEquals(List.of(), Dataset.load(data, own, told).warnings());
                Dataset.Format auto =
                        new Dataset.Format(256, Dataset.Loss.COMPLETION, false, Template.AUTO);
                assertEquals(List.of(), Dataset.load(other, own, auto).warnings(), "no chats");
            }
        }
    }

    @Test
    void aTemplateAppliesToQuestionsAndInstructions() {
        assertEquals(
                "<start_of_turn>user\nAdd.\n\nInput:\n2 3<end_of_turn>\n<start_of_turn>model\n",
                Template.GEMMA.instruction("Add.", "2 3", "5").prompt());
        assertTrue(
                Template.ALPACA
                        .question("Why?", "So.")
                        .prompt()
                        .endsWith("### Instruction:\nWhy?\n\n### Response:\n"));
        assertEquals(Template.CHATML, Template.of(tokenizer), "no markers of another family");
    }

    @Test
    void malformedConversationsAreRefused() throws IOException {
        for (String messages :
                List.of(
                        "[]",
                        "[{\"role\":\"user\",\"content\":\"a\"}]",
                        "[{\"role\":\"assistant\",\"content\":\"a\"}]",
                        "[{\"role\":\"user\"}]",
                        "7",
                        "[7]")) {
            Path file =
                    Files.writeString(dir.resolve("m.jsonl"), "{\"messages\":" + messages + "}");
            DataException e =
                    assertThrows(DataException.class, () -> Dataset.readProblems(file), messages);
            assertTrue(e.getMessage().contains("m.jsonl:1: "), e.getMessage());
        }
    }

    @Test
    void csvIsRecords() throws IOException {
        Path file =
                Files.writeString(
                        dir.resolve("a.csv"),
                        "prompt,completion,answer\r\n\"say \"\"x\"\",\ntwice\",\" x\",\r\np2,c2,7\r\n");
        assertEquals(
                List.of(
                        new Dataset.Problem("say \"x\",\ntwice", " x", " x"),
                        new Dataset.Problem("p2", "c2", "7")),
                Dataset.readProblems(file));
        for (String bad :
                List.of(
                        "prompt,completion\na\n",
                        "prompt,completion\n\"a,b\n",
                        "prompt,prompt\na,b\n",
                        "question,completion\na,b\n",
                        "prompt,completion\n")) {
            Files.writeString(file, bad);
            DataException e =
                    assertThrows(DataException.class, () -> Dataset.readProblems(file), bad);
            assertTrue(e.getMessage().contains("a.csv"), e.getMessage());
        }
    }

    @Test
    void aRecordThatIsTooLongIsCutIfAskedFor() throws IOException {
        Path file =
                Files.writeString(
                        dir.resolve("long.jsonl"),
                        "{\"prompt\":\"1 2\",\"completion\":\" 3 4 5 6\"}");
        Dataset whole =
                Dataset.load(
                        file,
                        tokenizer,
                        new Dataset.Format(100, Dataset.Loss.ALL, false, Template.AUTO));
        int[] tokens = whole.examples().get(0).tokens();
        Dataset cut =
                Dataset.load(
                        file,
                        tokenizer,
                        new Dataset.Format(6, Dataset.Loss.ALL, true, Template.AUTO));
        assertArrayEquals(Arrays.copyOf(tokens, 6), cut.examples().get(0).tokens());
        assertEquals(0, cut.dropped());
        assertThrows(
                DataException.class,
                () -> Dataset.load(file, tokenizer, 6, Dataset.Loss.ALL),
                "left out otherwise");
    }

    @Test
    void packedExamplesFillSequencesAndPredictTheSameTokens() {
        List<Dataset.Example> some =
                List.of(
                        new Dataset.Example(new int[] {0, 5, 6, 1}, new int[] {X, X, 6, 1}),
                        new Dataset.Example(new int[] {0, 7, 1}, new int[] {0, 7, 1}),
                        new Dataset.Example(new int[] {0, 8, 9, 1}, new int[] {X, X, 9, 1}));
        List<Dataset.Example> packed = Dataset.pack(some, 8);
        assertEquals(2, packed.size());
        assertArrayEquals(new int[] {0, 5, 6, 1, 0, 7, 1}, packed.get(0).tokens());
        assertArrayEquals(new int[] {X, X, 6, 1, X, 7, 1}, packed.get(0).labels());
        assertArrayEquals(new int[] {0, 8, 9, 1}, packed.get(1).tokens());
        assertEquals(
                some.stream().mapToInt(Dataset.Example::targets).sum(),
                packed.stream().mapToInt(Dataset.Example::targets).sum());
        assertEquals(1, Dataset.pack(some, 11).size(), "they just fit");
    }

    @Test
    void aCompletionThatEndsWithEosGetsNoSecondOne() {
        String eos = tokenizer.decode(new int[] {tokenizer.eosId()}, false);
        Dataset.Example plain =
                Dataset.ofProblems(
                                List.of(new Dataset.Problem("1", " 2", "2")),
                                tokenizer,
                                50,
                                Dataset.Loss.ALL)
                        .examples()
                        .get(0);
        Dataset.Example marked =
                Dataset.ofProblems(
                                List.of(new Dataset.Problem("1", " 2" + eos, "2")),
                                tokenizer,
                                50,
                                Dataset.Loss.ALL)
                        .examples()
                        .get(0);
        assertArrayEquals(plain.tokens(), marked.tokens());
    }
}
