package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @Test
    void embeddedTokenizer() {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            assertEquals(512, tokenizer.vocabSize());
            assertEquals(509, tokenizer.bosId());
            assertEquals(510, tokenizer.eosId());
            int[] ids = tokenizer.encode("19");
            assertEquals(2, ids.length, "digits are single tokens");
            assertArrayEquals(new int[] {'1', '9'}, ids, "byte b is token b");
            assertArrayEquals(
                    new int[] {510, 'x'}, tokenizer.encode("<|endoftext|>x"), "spelled-out token");
            assertEquals("x", tokenizer.decode(new int[] {509, 'x', 510}, true));
            assertEquals(
                    "<|bos|>x<|endoftext|>", tokenizer.decode(new int[] {509, 'x', 510}, false));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                " ",
                "  two  spaces  ",
                "tab\tnew\nline\r\n\r\n",
                "12+7=19, 19-4=15 #### 15",
                "na\u00efve \u00fcber \u4f60\u597d \ud83d\ude00\ud83c\udffd \u0e20\u0e32\u0e29\u0e32",
                "e\u0301 \u200d\u00a0 \u0661\u0662\u00bd nul\0nul",
                "<|bos|> and <|pad|> in text"
            })
    void embeddedTokenizerRoundTrips(String text) {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            assertEquals(text, tokenizer.decode(tokenizer.encode(text), false));
        }
    }

    @Test
    void randomTextRoundTrips() {
        SplitMix64 random = new SplitMix64(7);
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            for (int n = 0; n < 300; n++) {
                StringBuilder text = new StringBuilder();
                for (int i = random.below(40); i > 0; i--) {
                    int point = random.below(random.below(3) == 0 ? 0x110000 : 0x180);
                    text.appendCodePoint(point >= 0xD800 && point < 0xE000 ? ' ' : point);
                }
                String expected = text.toString();
                assertEquals(expected, tokenizer.decode(tokenizer.encode(expected), false));
            }
        }
    }

    @Test
    void loneSurrogatesBecomeReplacementCharacters() {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            int[] ids = tokenizer.encode("a\ud800b\udc00\ud83d\ude00\ud83d");
            assertEquals("a\ufffdb\ufffd\ud83d\ude00\ufffd", tokenizer.decode(ids, false));
        }
    }

    @Test
    void nothingIsTruncated() {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            assertEquals(20_000, tokenizer.encode("7".repeat(20_000)).length);
        }
    }

    @Test
    void truncationAndPaddingOfTheFileAreIgnored(@TempDir Path dir) throws IOException {
        String text = new String(DefaultData.read(DefaultData.TOKENIZER), StandardCharsets.UTF_8);
        String truncation =
                "{\"direction\":\"Right\",\"max_length\":4,\"strategy\":\"LongestFirst\","
                        + "\"stride\":0}";
        String padding =
                "{\"strategy\":{\"Fixed\":8},\"direction\":\"Right\",\"pad_to_multiple_of\":null,"
                        + "\"pad_id\":511,\"pad_type_id\":0,\"pad_token\":\"<|pad|>\"}";
        Files.writeString(
                dir.resolve("tokenizer.json"),
                text.replace("\"truncation\":null", "\"truncation\":" + truncation)
                        .replace("\"padding\":null", "\"padding\":" + padding));
        try (Tokenizer tokenizer = Tokenizer.open(dir)) {
            assertArrayEquals(new int[] {'1', '2'}, tokenizer.encode("12"));
            assertEquals(600, tokenizer.encode("7".repeat(600)).length);
        }
    }

    @Test
    void idsOutsideTheVocabularyAreRefused() {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            for (int id : new int[] {-1, 512, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
                IllegalArgumentException e =
                        assertThrows(
                                IllegalArgumentException.class,
                                () -> tokenizer.decode(new int[] {0, id}, false));
                assertTrue(e.getMessage().contains("ids[1]"), e.getMessage());
            }
        }
    }

    @Test
    void threadsShareATokenizer() {
        List<Dataset.Problem> problems = WordProblems.generate(3, 200);
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            List<String> alone = problems.stream().map(p -> roundTrip(tokenizer, p)).toList();
            List<String> together =
                    problems.parallelStream().map(p -> roundTrip(tokenizer, p)).toList();
            assertEquals(alone, together);
        }
    }

    private static String roundTrip(Tokenizer tokenizer, Dataset.Problem problem) {
        int[] ids = tokenizer.encode(problem.prompt());
        return Arrays.toString(ids) + tokenizer.decode(ids, false);
    }

    @Test
    void closedTokenizerThrows() {
        Tokenizer tokenizer = Tokenizer.embedded();
        tokenizer.close();
        tokenizer.close();
        assertThrows(IllegalStateException.class, () -> tokenizer.encode("x"));
        assertThrows(IllegalStateException.class, () -> tokenizer.decode(new int[] {1}, false));
    }

    @Test
    void openingLeavesOfflineModeAsItWas() {
        assertNull(System.getProperty("ai.djl.offline"));
        Tokenizer.embedded().close();
        assertNull(System.getProperty("ai.djl.offline"));
    }

    static Stream<List<String>> malformed() {
        String good = new String(DefaultData.read(DefaultData.TOKENIZER), StandardCharsets.UTF_8);
        String model = "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}";
        return Stream.of(
                List.of("empty", ""),
                List.of("not JSON", "hello"),
                List.of("cut short", good.substring(0, good.length() / 2)),
                List.of("array", "[1, 2]"),
                List.of("null", "null"),
                List.of("no model", "{\"version\":\"1.0\"}"),
                List.of("empty vocabulary", "{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}"),
                List.of("id not a number", "{\"model\":{\"vocab\":{\"a\":\"x\"}}}"),
                List.of("id negative", "{\"model\":{\"vocab\":{\"a\":-1}}}"),
                List.of("id too large", "{\"model\":{\"vocab\":{\"a\":99999999999}}}"),
                List.of("id of 2^31 - 1", "{\"model\":{\"vocab\":{\"a\":2147483647}}}"),
                List.of("unknown model", "{\"model\":" + model.replace("BPE", "Nonesuch") + "}"),
                List.of("bad merge", good.replace("\"merges\":[", "\"merges\":[\"zz zz\",")),
                List.of("deep", "[".repeat(100_000)));
    }

    @ParameterizedTest
    @MethodSource("malformed")
    void malformedTokenizer(List<String> nameAndText, @TempDir Path dir) throws IOException {
        Files.writeString(dir.resolve("tokenizer.json"), nameAndText.get(1));
        DataException e = assertThrows(DataException.class, () -> Tokenizer.open(dir));
        assertOneLine(e, "tokenizer.json");
    }

    @Test
    void missingTokenizer(@TempDir Path dir) {
        DataException e = assertThrows(DataException.class, () -> Tokenizer.open(dir));
        assertOneLine(e, "tokenizer.json: not found");
        assertThrows(DataException.class, () -> Tokenizer.open(dir.resolve("nowhere")));
    }

    @Test
    void configNamesTheSpecialTokens(@TempDir Path dir) throws IOException {
        Files.write(dir.resolve("tokenizer.json"), DefaultData.read(DefaultData.TOKENIZER));
        assertIds(dir, 509, 510);
        assertIds(dir, "{}", 509, 510);
        assertIds(dir, "{\"bos_token\":null,\"eos_token\":null}", -1, -1);
        assertIds(
                dir,
                "{\"bos_token\":{\"content\":\"<|pad|>\"},\"eos_token\":\"<|bos|>\"}",
                511,
                509);
        for (String bad : List.of("{\"bos_token\":\"<x>\"}", "[]", "", "{\"bos_token\":")) {
            Files.writeString(dir.resolve("tokenizer_config.json"), bad);
            DataException e = assertThrows(DataException.class, () -> Tokenizer.open(dir));
            assertOneLine(e, "tokenizer_config.json");
        }
    }

    private static void assertIds(Path dir, String config, int bos, int eos) throws IOException {
        Files.writeString(dir.resolve("tokenizer_config.json"), config);
        assertIds(dir, bos, eos);
    }

    private static void assertIds(Path dir, int bos, int eos) {
        try (Tokenizer tokenizer = Tokenizer.open(dir)) {
            assertEquals(bos, tokenizer.bosId());
            assertEquals(eos, tokenizer.eosId());
        }
    }

    private static void assertOneLine(DataException e, String part) {
        assertNotNull(e.getMessage());
        assertTrue(e.getMessage().contains(part), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"tok_llama2", "tok_llama3", "tok_qwen2"})
    void referenceTokenizers(String name) throws IOException {
        Path dir = SharedTestData.require("golden/hf/" + name);
        JsonNode cases = JSON.readTree(dir.resolve("cases.json").toFile());
        try (Tokenizer tokenizer = Tokenizer.open(dir)) {
            assertEquals(cases.get("vocab_size").intValue(), tokenizer.vocabSize());
            for (JsonNode c : cases.get("encode")) {
                String text = c.get("text").textValue();
                assertArrayEquals(ints(c.get("ids_no_special")), tokenizer.encode(text), text);
                int[] ids = ints(c.get("ids"));
                assertEquals(c.get("decoded").textValue(), tokenizer.decode(ids, false));
                assertEquals(
                        c.get("decoded_skip_special").textValue(), tokenizer.decode(ids, true));
            }
            assertTrue(cases.get("decode").size() > 0);
            for (JsonNode c : cases.get("decode")) {
                int[] ids = ints(c.get("ids"));
                assertEquals(c.get("decoded").textValue(), tokenizer.decode(ids, false));
            }
        }
    }

    @Test
    void storiesTokenizer() throws IOException {
        Path dir = SharedTestData.require("data/stories260K");
        int[] ids = ints(JSON.readTree(dir.resolve("expected_greedy_200_ids.json").toFile()));
        String expected = Files.readString(dir.resolve("expected_greedy_200.txt"));
        try (Tokenizer tokenizer = Tokenizer.open(dir.resolve("hf"))) {
            assertEquals(512, tokenizer.vocabSize());
            assertEquals(1, tokenizer.bosId());
            assertEquals(2, tokenizer.eosId());
            assertEquals(expected.strip(), tokenizer.decode(ids, true).strip());
        }
    }

    private static int[] ints(JsonNode array) {
        return IntStream.range(0, array.size()).map(i -> array.get(i).intValue()).toArray();
    }
}
