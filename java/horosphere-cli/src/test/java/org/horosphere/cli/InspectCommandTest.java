package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class InspectCommandTest {
    @TempDir static Path models;
    private static Path model;
    private static Path data;

    @TempDir Path dir;

    @BeforeAll
    static void makeModel() throws IOException {
        model = TinyModel.write(models.resolve("model"));
        data = TinyModel.records(models.resolve("data.jsonl"), 30);
    }

    private static Result inspect(String... more) {
        List<String> arguments = new ArrayList<>(List.of("inspect"));
        arguments.addAll(List.of(more));
        return Result.of(arguments.toArray(String[]::new));
    }

    private String file(String name, String text) throws IOException {
        return Files.writeString(dir.resolve(name), text).toString();
    }

    private String matrix(int rows) throws IOException {
        Random random = new Random(1);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < rows; i++) {
            text.append(random.nextGaussian()).append(',').append(random.nextGaussian());
            text.append('\n');
        }
        return file("matrix.csv", text.toString());
    }

    @Test
    void aModelGivesTextJsonReportAndCharts() throws IOException {
        Path json = dir.resolve("made/a.json");
        Path html = dir.resolve("made too/a.html");
        Path plots = dir.resolve("plots");
        Result r =
                inspect(
                        "--model",
                        model.toString(),
                        "--data",
                        data.toString(),
                        "--prompts",
                        "3",
                        "--replicates",
                        "19",
                        "--resamples",
                        "10",
                        "--json",
                        json.toString(),
                        "--html",
                        html.toString(),
                        "--plots",
                        plots.toString());
        assertEquals(0, r.code(), r.err());
        assertEquals("", r.err());
        for (String word :
                List.of("token frequencies", "95 %", "same spectrum", "input embeddings:", "p =")) {
            assertTrue(r.out().contains(word), r.out());
        }
        JsonNode report = new ObjectMapper().readTree(json.toFile()).get("inspection");
        assertTrue(report.at("/frequencies/exact/gamma").asDouble() > 1);
        assertTrue(report.at("/frequencies/exact/standard_error").isNumber(), "snake_case");
        assertEquals(7, report.get("modules").size());
        assertEquals(3, report.at("/hyperbolicity/0/spaces").size());
        assertEquals("GAUSSIAN", report.at("/hyperbolicity/0/nulls/0/model").asText());
        assertFalse(report.at("/hyperbolicity/1/verdict").asText().isEmpty());
        assertTrue(Files.size(html) > 10_000);
        assertEquals(14, plots.toFile().list().length);
    }

    @Test
    void plainTextAndTheSameSeedTwice() throws IOException {
        String text =
                file("a.txt", "One day Tom had 3 red apples.\n\nAnn gave him 4 green ones.\n");
        String[] arguments = {
            "--model", model.toString(), "--data", text, "--replicates", "19", "--seed", "5"
        };
        Result r = inspect(arguments);
        assertEquals(0, r.code(), r.err());
        assertEquals(r.out(), inspect(arguments).out());
    }

    @Test
    void matricesNeedNoModel() throws IOException {
        Result r = inspect("--matrix", matrix(60), "--points", "40", "--replicates", "19");
        assertEquals(0, r.code(), r.err());
        assertTrue(r.out().contains("40 of 60 rows"), r.out());
        assertTrue(r.out().contains("effective dimension"), r.out());
        assertFalse(r.out().contains("token frequencies"), r.out());
    }

    @Test
    void badMatricesAreOneLine() throws IOException {
        fails(1, "1 rows and 2 columns", "--matrix", matrix(1));
        fails(1, "0 rows", "--matrix", file("empty.csv", ""));
        fails(1, "row 2, column 1 is NaN", "--matrix", file("nan.csv", "1,2\nNaN,3\n"));
        fails(1, "all points are the same", "--matrix", file("same.csv", "1,2\n".repeat(5)));
        fails(1, "has 1 columns", "--matrix", file("ragged.csv", "1,2\n3\n"));
        fails(1, "not a .npy file", "--matrix", file("a.npy", "text, not an array"));
        fails(1, "not found", "--matrix", dir.resolve("none.npy").toString());
        fails(2, "--matrix: not together", "--matrix", matrix(9), "--data", data.toString());
    }

    @Test
    void badDataIsOneLine() throws IOException {
        String m = model.toString();
        fails(1, "is empty", "--model", m, "--data", file("a.txt", ""));
        fails(1, "not found", "--model", m, "--data", dir.resolve("none.txt").toString());
        fails(1, "invalid JSON", "--model", m, "--data", file("a.jsonl", "x"));
        fails(1, "four different tokens", "--model", m, "--data", file("b.txt", "a\n\nb"));
        fails(1, "no such file or directory", "--model", dir.resolve("none").toString());
    }

    @ParameterizedTest
    @CsvSource({
        "--prompts, 0",
        "--points, 3",
        "--points, 50000",
        "--replicates, 18",
        "--resamples, 0"
    })
    void badOptionsAreWrongUsage(String option, String value) {
        fails(2, option + ": " + value, option, value);
    }

    @Test
    void anOutputThatCannotBeWrittenIsFoundFirst() {
        fails(1, "/dev/null/a", "--html", "/dev/null/a.html");
        fails(1, "/dev/null/a", "--plots", "/dev/null/a");
        fails(1, "/dev/null/a", "--json", "/dev/null/a.json");
    }

    private static void fails(int code, String words, String... arguments) {
        Result r = inspect(arguments);
        assertEquals(code, r.code(), Arrays.toString(arguments) + r.out() + r.err());
        assertTrue(r.err().matches("horo: [^\n]+\n"), r.err());
        assertTrue(r.err().contains(words), r.err());
    }
}
