package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The command as a process: signals, a full disk, a cache it cannot write. */
class ProcessTest {
    private static final String WITHOUT_END = "1000000";

    @TempDir static Path models;
    private static Path model;
    private static Path data;

    @TempDir Path dir;

    @BeforeAll
    static void makeModel() throws IOException {
        model = TinyModel.write(models.resolve("model"));
        data = TinyModel.records(models.resolve("data.jsonl"), 30);
    }

    private List<String> java(List<String> options, String... arguments) {
        List<String> line = new ArrayList<>();
        line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        line.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-XX:-UsePerfData", "-cp"));
        line.add(System.getProperty("java.class.path"));
        line.addAll(options);
        line.add(Main.class.getName());
        line.addAll(List.of(arguments));
        return line;
    }

    private String[] finetune(String steps, String... more) {
        List<String> line =
                new ArrayList<>(
                        List.of(
                                "finetune",
                                "--model",
                                model.toString(),
                                "--data",
                                data.toString(),
                                "--output",
                                dir.resolve("out/adapter").toString(),
                                "--steps",
                                steps,
                                "--eval-every",
                                "5"));
        line.addAll(List.of(more));
        return line.toArray(String[]::new);
    }

    private String[] generate() {
        return new String[] {
            "generate", "--model", model.toString(), "--prompt", "Tom", "--max-new-tokens", "2"
        };
    }

    private ProcessBuilder process(List<String> line) {
        return new ProcessBuilder(line)
                .directory(dir.toFile())
                .redirectError(models.resolve("err").toFile());
    }

    private String complaint() throws IOException {
        return Files.readString(models.resolve("err"));
    }

    private void assertFails(String words, List<String> line)
            throws IOException, InterruptedException {
        Process process = process(line).redirectOutput(new File("/dev/null")).start();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, process.exitValue(), complaint());
        assertTrue(complaint().matches("horo: [^\n]+\n"), complaint());
        assertTrue(complaint().contains(words), complaint());
        assertEquals(List.of(), List.of(dir.toFile().list()));
    }

    private List<String> in(String shell, List<String> line) {
        List<String> all = new ArrayList<>(List.of("bash", "-c", shell, "bash"));
        all.addAll(line);
        return all;
    }

    /** Starts training without an end and waits for its first step. */
    private Process train() throws IOException {
        // the test's own process may ignore SIGINT, as background jobs do, and pass that on
        List<String> line = new ArrayList<>(List.of("env", "--default-signal=INT"));
        line.addAll(java(List.of(), finetune(WITHOUT_END)));
        Process process = process(line).start();
        BufferedReader out = process.inputReader();
        for (String read = out.readLine(); ; read = out.readLine()) {
            assertTrue(read != null, "ended: " + complaint());
            if (read.startsWith("step 1/")) {
                return process;
            }
        }
    }

    private static void signal(Process process, String signal)
            throws IOException, InterruptedException {
        assertEquals(
                0,
                new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid()))
                        .start()
                        .waitFor());
    }

    @Test
    void ctrlCSavesWhatWasTrained() throws Exception {
        Process process = train();
        signal(process, "INT");
        String rest = String.join("\n", process.inputReader().lines().toList());
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(Main.INTERRUPTED, process.exitValue(), complaint());
        assertTrue(rest.contains("stopped after step"), rest);
        assertTrue(
                Files.exists(dir.resolve("out/adapter/training_state.safetensors")),
                "--resume can go on");
        assertTrue(complaint().matches("horo: stopping [^\n]+\n"), complaint());
        Path adapter = dir.resolve("out/adapter");
        assertEquals(List.of("adapter"), List.of(dir.resolve("out").toFile().list()));
        Result evaluated =
                Result.of(
                        "eval",
                        "--model",
                        model.toString(),
                        "--adapter",
                        adapter.toString(),
                        "--data",
                        data.toString());
        assertEquals(0, evaluated.code(), evaluated.err());
    }

    @Test
    void aKilledRunLeavesItsCourse() throws Exception {
        Process process = train();
        signal(process, "KILL");
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(128 + 9, process.exitValue());
        assertEquals(
                Set.of("base.json", "metrics.jsonl", "run.json"),
                Set.of(dir.resolve("out/adapter").toFile().list()));
    }

    /** The course of a run without what depends on the clock. */
    private static List<String> course(Path adapter) throws IOException {
        return Files.readAllLines(adapter.resolve("metrics.jsonl")).stream()
                .map(line -> line.replaceAll(",\"(elapsed|tokens_per_s)\":[0-9.E]+", ""))
                .toList();
    }

    @Test
    void aRunKilledAtRandomGoesOnBitForBit() throws Exception {
        String[] options = {"--adapter", "hyplora+coeff", "--save-every", "3"};
        Path adapter = dir.resolve("out/adapter");
        Path straight = dir.resolve("straight");
        List<String> line = new ArrayList<>(List.of(finetune("200", options)));
        line.set(line.indexOf(adapter.toString()), straight.toString());
        Result result = Result.of(line.toArray(String[]::new));
        assertEquals(0, result.code(), result.err());

        Random random = new Random();
        int resumed = 0;
        for (int kills = 0; ; kills++) {
            String[] arguments =
                    kills == 0
                            ? finetune("200", options)
                            : new String[] {"finetune", "--resume", "--output", adapter.toString()};
            Process process = process(java(List.of(), arguments)).start();
            String training = null;
            int lines = 2 + random.nextInt(3);
            for (String read = process.inputReader().readLine();
                    read != null;
                    read = process.inputReader().readLine()) {
                resumed += read.contains("going on after step") ? 1 : 0;
                if (kills < 3 && read.startsWith("step ") && --lines == 0) {
                    training = read;
                    break;
                }
            }
            if (training == null) {
                assertEquals(0, process.waitFor(), complaint());
                break;
            }
            Thread.sleep(random.nextInt(100));
            process.destroyForcibly();
            if (process.waitFor() == 0) { // it had ended before the kill
                break;
            }
        }
        assertTrue(resumed > 0, "no checkpoint was taken up");
        assertEquals(course(straight), course(adapter));
        for (String file : List.of("adapter_model.safetensors", "adapter_config.json")) {
            assertArrayEquals(
                    Files.readAllBytes(straight.resolve(file)),
                    Files.readAllBytes(adapter.resolve(file)));
        }
    }

    private String[] compare(String output, String... more) {
        List<String> line =
                new ArrayList<>(
                        List.of(
                                "compare",
                                "--model",
                                model.toString(),
                                "--data",
                                data.toString(),
                                "--adapters",
                                "base,lora,hyplora",
                                "--seeds",
                                "2",
                                "--steps",
                                "20",
                                "--answer-tokens",
                                "2",
                                "--output",
                                dir.resolve(output).resolve("report.html").toString(),
                                "--json",
                                dir.resolve(output).resolve("report.json").toString()));
        line.addAll(List.of(more));
        return line.toArray(String[]::new);
    }

    /** The comparisons of adapters, which every held-out loss of every run is part of. */
    private JsonNode contrasts(String output) throws IOException {
        Path json = dir.resolve(output).resolve("report.json");
        return new ObjectMapper().readTree(json.toFile()).get("contrasts");
    }

    @Test
    void aKilledComparisonKeepsItsFinishedRuns() throws Exception {
        Result straight = Result.of(compare("straight"));
        assertEquals(0, straight.code(), straight.err());

        Process process = process(java(List.of(), compare("killed"))).start();
        BufferedReader lines = process.inputReader();
        String read = lines.readLine();
        while (read != null && !read.startsWith("run 5/6")) { // the untuned model runs once
            read = lines.readLine();
        }
        assertTrue(read != null, complaint());
        Thread.sleep(new Random().nextInt(50));
        process.destroyForcibly();
        process.waitFor();
        assertFalse(Files.exists(dir.resolve("killed/report.html")));

        Result resumed = Result.of(compare("killed", "--resume"));
        assertEquals(0, resumed.code(), resumed.err());
        long earlier = resumed.out().lines().filter(l -> l.endsWith("finished earlier")).count();
        assertTrue(earlier >= 3, resumed.out());
        assertEquals(contrasts("straight"), contrasts("killed"));
        assertTrue(Files.exists(dir.resolve("killed/report.html")));
    }

    @Test
    void aFullDiskLeavesNothing() throws Exception {
        // a limit on the size of files: the write fails as it does on a full disk
        assertFails(
                "cannot write: ", in("ulimit -f 4; exec \"$@\"", java(List.of(), finetune("1"))));
    }

    @Test
    void aFullStandardOutputIsAFailure() throws Exception {
        assertFails("standard output", in("exec \"$@\" >/dev/full", java(List.of(), generate())));
    }

    @Test
    void aCacheThatCannotBeWrittenIsOneLine() throws Exception {
        assertFails(
                "-Dhorosphere.cache.dir",
                java(List.of("-Dhorosphere.cache.dir=/proc/horo"), generate()));
        assertFails(
                "-Dhorosphere.cache.dir",
                java(List.of("-Dhorosphere.cache.dir=/proc/horo"), "--version"));
        assertTrue(complaint().endsWith(": no such file or directory\n"), complaint());
    }

    /** What is printed and complained of with these values of HORO_ISA and HORO_THREADS. */
    private String version(String isa, String threads) throws Exception {
        ProcessBuilder builder = process(java(List.of(), "--version"));
        builder.environment().putAll(Map.of("HORO_ISA", isa, "HORO_THREADS", threads));
        Process process = builder.start();
        String out = new String(process.getInputStream().readAllBytes());
        assertEquals(0, process.waitFor(), complaint());
        return out;
    }

    @Test
    void aVariableThatIsPassedOverIsOneLine() throws Exception {
        String best = version("", "").replaceAll("(?s).*native library [^\n]* \\((.*?)\\).*", "$1");
        assertEquals("", complaint());
        assertTrue(version("scalar", "1024").contains("(scalar)"));
        assertEquals("", complaint());
        version(best, "3");
        assertEquals("", complaint());
        assertTrue(version("avx3", "1025").contains("(" + best + ")"));
        String[] lines = complaint().split("\n");
        assertEquals(2, lines.length, complaint());
        assertTrue(
                lines[0].matches("horo: HORO_ISA: 'avx3', expected .*; the default is " + best),
                complaint());
        assertTrue(
                lines[1].matches(
                        "horo: HORO_THREADS: '1025', expected 1 to 1024; the default is [0-9]+"),
                complaint());
        for (String wrong : List.of("0", "3x")) {
            version("", wrong);
            assertTrue(
                    complaint().matches("horo: HORO_THREADS: '" + wrong + "', [^\n]+\n"),
                    complaint());
        }
    }

    @Test
    void figuresAreTheSameInEveryCountry() throws Exception {
        for (String language : List.of("de", "ar")) {
            List<String> country = List.of("-Duser.language=" + language, "-Duser.country=EG");
            Process process = process(java(country, "verify")).start();
            String out = new String(process.getInputStream().readAllBytes());
            assertEquals(0, process.waitFor(), complaint());
            assertTrue(out.contains("ok\n"), out);
            assertFalse(out.matches("(?s).*([0-9],[0-9]|[\u0660-\u0669]).*"), out);
        }
    }

    @Test
    void anotherCacheIsUsed() throws Exception {
        Path cache = dir.resolve("cache");
        Process process =
                process(java(List.of("-Dhorosphere.cache.dir=" + cache), generate())).start();
        assertTrue(process.inputReader().readLine().startsWith("Tom"), complaint());
        assertEquals(0, process.waitFor());
        assertEquals("", complaint());
        assertFalse(List.of(cache.toFile().list()).isEmpty());
    }
}
