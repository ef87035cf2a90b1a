package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.horosphere.DType;
import org.horosphere.finetune.ModelWriter;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** The commands in this process: what they print, return and leave on disk. */
class CommandLineTest {
    @TempDir static Path models;
    private static Path model;
    private static Path data;

    @TempDir Path dir;
    private Path output;

    @BeforeAll
    static void makeModel() throws IOException {
        model = TinyModel.write(models.resolve("model"));
        data = TinyModel.records(models.resolve("data.jsonl"), 30);
    }

    @BeforeEach
    void nameOutput() {
        output = dir.resolve("made/adapter");
    }

    private static String[] join(String[] first, String... second) {
        return Stream.concat(Arrays.stream(first), Arrays.stream(second)).toArray(String[]::new);
    }

    private String[] finetune(Path modelDirectory, Path file, String... more) {
        return join(
                new String[] {
                    "finetune",
                    "--model",
                    modelDirectory.toString(),
                    "--data",
                    file.toString(),
                    "--output",
                    output.toString(),
                    "--steps",
                    "2",
                    "--batch-size",
                    "4"
                },
                more);
    }

    private static String[] eval(Path modelDirectory, Path file, String... more) {
        return join(
                new String[] {
                    "eval", "--model", modelDirectory.toString(), "--data", file.toString()
                },
                more);
    }

    private static String[] generate(Path modelDirectory, String prompt, String... more) {
        return join(
                new String[] {"generate", "--model", modelDirectory.toString(), "--prompt", prompt},
                more);
    }

    /** Fails with this code and one line that holds these words, and leaves nothing new on disk. */
    private void assertFails(int code, String words, String... arguments) throws IOException {
        Set<Path> before = files();
        Result result = Result.of(arguments);
        assertEquals(code, result.code(), result.err());
        assertTrue(result.err().matches("horo: [^\n]+\n"), () -> "not one line: " + result.err());
        assertTrue(result.err().contains(words), result.err());
        assertFalse(result.err().matches("(?s).*(REDACTED|Exception|Error:).*"), result.err());
        assertEquals(before, files());
    }

    private Set<Path> files() throws IOException {
        try (Stream<Path> here = Files.walk(dir);
                Stream<Path> there = Files.walk(models)) {
            return Stream.concat(here, there).collect(Collectors.toCollection(TreeSet::new));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora",
                "dora",
                "hyplora",
                "coeff",
                "lora+coeff",
                "dora+coeff",
                "hyplora+coeff"
            })
    void trainsSavesEvaluatesAndGenerates(String kind) throws IOException {
        Path json = dir.resolve("results/run.json");
        Result trained =
                Result.of(finetune(model, data, "--adapter", kind, "--json", json.toString()));
        assertEquals(0, trained.code(), trained.err());
        assertEquals("", trained.err());
        for (String word :
                List.of("step 1/2", "loss", "lr", "tok/s", "left", "held out", "exact match")) {
            assertTrue(trained.out().contains(word), word);
        }
        assertEquals(
                Set.of(
                        "adapter_config.json",
                        "adapter_model.safetensors",
                        "base.json",
                        "metrics.jsonl",
                        "results.json",
                        "run.json"),
                Set.of(output.toFile().list()));
        JsonNode report = new ObjectMapper().readTree(json.toFile());
        assertEquals(kind, report.get("adapter").asText());

        Path lossFile = dir.resolve("loss.json");
        Result evaluated =
                Result.of(
                        eval(
                                model,
                                data,
                                "--adapter",
                                output.toString(),
                                "--json",
                                lossFile.toString()));
        assertEquals(0, evaluated.code(), evaluated.err());
        JsonNode loss = new ObjectMapper().readTree(lossFile.toFile());
        assertEquals(Set.of("loss", "perplexity", "tokens"), Set.copyOf(names(loss)));
        double nats = loss.get("loss").asDouble();
        assertEquals(Math.exp(nats), loss.get("perplexity").asDouble(), 1e-9 * Math.exp(nats));
        assertTrue(Math.abs(loss.get("loss").asDouble() - Math.log(TinyModel.VOCAB)) < 1);

        Result generated =
                Result.of(
                        generate(
                                model,
                                "Tom",
                                "--adapter",
                                output.toString(),
                                "--max-new-tokens",
                                "3"));
        assertEquals(0, generated.code(), generated.err());
        assertTrue(generated.out().startsWith("Tom"));
    }

    private static List<String> names(JsonNode object) {
        return object.properties().stream().map(e -> e.getKey()).toList();
    }

    @Test
    void diagnosesWhatIsAdapted() throws IOException {
        assertEquals(0, Result.of(finetune(model, data, "--adapter", "hyplora")).code());
        Path json = dir.resolve("diagnostics.json");
        Result result =
                Result.of(
                        eval(
                                model,
                                data,
                                "--adapter",
                                output.toString(),
                                "--diagnostics",
                                "--json",
                                json.toString()));
        assertEquals(0, result.code(), result.err());
        JsonNode modules = new ObjectMapper().readTree(json.toFile()).get("diagnostics");
        assertEquals(0, modules.size() % 5, "q, k, v, up, down");
        for (JsonNode module : modules) {
            JsonNode norms = module.get("norms");
            String name = norms.get("module").asText().replaceFirst("^model\\.layers\\.", "");
            String row =
                    result.out()
                            .lines()
                            .filter(line -> line.contains(name + " "))
                            .findAny()
                            .orElseThrow();
            assertTrue(row.endsWith(" %"), row);
            assertTrue(norms.get("variance").doubleValue() > 0);
            JsonNode gain = module.get("gain");
            assertTrue(
                    gain.get("measured").doubleValue() <= gain.get("bound").doubleValue(),
                    gain.toString());
        }
        Result base = Result.of(eval(model, data, "--diagnostics"));
        assertEquals(0, base.code(), base.err());
        assertTrue(base.out().contains("gate_proj"), base.out());
    }

    @Test
    void trainsOnWeightsInBfloat16() {
        Result trained = Result.of(finetune(model, data, "--dtype", "bf16", "--lr", "0.01"));
        assertEquals(0, trained.code(), trained.err());
        String[] evaluate = eval(model, data, "--adapter", output.toString());
        Result narrow = Result.of(join(evaluate, "--dtype", "bf16"));
        assertEquals(0, narrow.code(), narrow.err());
        assertEquals(0, Result.of(evaluate).code());
    }

    @Test
    void generatesTheSameTwiceAndNothingIfNothingIsWanted() {
        Result once = Result.of(generate(model, "Tom has", "--max-new-tokens", "8"));
        assertEquals(once, Result.of(generate(model, "Tom has", "--max-new-tokens", "8")));
        assertEquals(
                new Result(0, "Tom has", ""),
                Result.of(generate(model, "Tom has", "--max-new-tokens", "0")));
        assertEquals(0, Result.of(generate(model, "", "--max-new-tokens", "1")).code());
        assertEquals(
                0,
                Result.of(generate(model, "1", "--max-new-tokens", "2147483647")).code(),
                "the context ends the text");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "--temperature 2 --top-k 50 --top-p 0.9 --seed 3",
                "--top-k 50 --seed 3 --threads 3",
                "--beams 3 --temperature 0 --length-penalty 0.5"
            })
    void samplesAndSearchesTheSameTwice(String how) {
        String[] options = ("--max-new-tokens 8 " + how).split(" ");
        Result once = Result.of(generate(model, "Tom has", options));
        assertEquals(0, once.code(), once.err());
        assertEquals(once, Result.of(generate(model, "Tom has", options)));
    }

    private double loss(Path modelDirectory, String... more) throws IOException {
        Path json = dir.resolve("loss.json");
        Result result =
                Result.of(join(eval(modelDirectory, data, "--json", json.toString()), more));
        assertEquals(0, result.code(), result.err());
        return new ObjectMapper().readTree(json.toFile()).get("loss").doubleValue();
    }

    private String[] merge(Path to, String... more) {
        return join(
                new String[] {
                    "merge",
                    "--model",
                    model.toString(),
                    "--adapter",
                    output.toString(),
                    "--output",
                    to.toString()
                },
                more);
    }

    @Test
    void aMergedModelHasTheLossOfItsAdapter() throws IOException {
        assertEquals(
                0, Result.of(finetune(model, data, "--adapter", "lora", "--lr", "0.1")).code());
        Path merged = dir.resolve("merged");
        Result result = Result.of(merge(merged));
        assertEquals(0, result.code(), result.err());
        double adapted = loss(model, "--adapter", output.toString());
        assertTrue(Math.abs(adapted - loss(model)) > 1e-3);
        assertEquals(adapted, loss(merged), 1e-5);
        assertEquals(0, Result.of(merge(merged, "--overwrite", "--dtype", "bf16")).code());
        assertEquals(adapted, loss(merged), 0.05);
        assertFails(1, "--overwrite", merge(merged));
    }

    @Test
    void hyploraMergesOnlyIfToldTo() throws IOException {
        assertEquals(0, Result.of(finetune(model, data, "--adapter", "hyplora")).code());
        Path merged = dir.resolve("merged");
        assertFails(1, "cannot be merged exactly", merge(merged));
        Result result = Result.of(merge(merged, "--approximate", "--data", data.toString()));
        assertEquals(0, result.code(), result.err());
        assertTrue(result.out().contains("bound"), result.out());
        assertEquals(loss(model, "--adapter", output.toString()), loss(merged), 0.05);
    }

    @Test
    void severalSeedsGiveAMeanAndItsError() throws IOException {
        Path json = dir.resolve("seeds.json");
        Result result =
                Result.of(
                        finetune(
                                model,
                                data,
                                "--seeds",
                                "3",
                                "--lr",
                                "0.1",
                                "--json",
                                json.toString()));
        assertEquals(0, result.code(), result.err());
        JsonNode loss = new ObjectMapper().readTree(json.toFile()).get("loss_after");
        double sum = 0;
        for (JsonNode value : loss.get("values")) {
            sum += value.doubleValue();
        }
        assertEquals(3, loss.get("values").size());
        assertEquals(sum / 3, loss.get("mean").doubleValue(), 1e-12);
        assertTrue(loss.get("standard_error").doubleValue() > 0, "the seeds differ");
        assertEquals(
                loss.get("values").get(1).doubleValue(),
                new ObjectMapper()
                        .readTree(output.resolve("run-2/results.json").toFile())
                        .get("loss_after")
                        .doubleValue());
        assertTrue(result.out().contains("±"), result.out());

        Result again = Result.of("finetune", "--resume", "--output", output.toString());
        assertEquals(0, again.code(), again.err());
        assertTrue(again.out().contains("has ended before"), again.out());
    }

    @Test
    void optionsComeFromTheFlagThenTheFileThenThePreset() throws IOException {
        Path config =
                Files.writeString(
                        dir.resolve("c.json"),
                        "{\"preset\": \"hyplora-paper\", \"rank\": 3, \"lr\": 0.5,"
                                + " \"targets\": [\"q_proj\", \"v_proj\"]}");
        Result result =
                Result.of(
                        finetune(
                                model,
                                data,
                                "--config",
                                config.toString(),
                                "--lr",
                                "0.25",
                                "--truncate",
                                "--pack"));
        assertEquals(0, result.code(), result.err());
        JsonNode run = new ObjectMapper().readTree(output.resolve("run.json").toFile());
        assertEquals(0.25, run.get("lr").doubleValue(), "flag");
        assertEquals(3, run.get("rank").intValue(), "file");
        assertEquals("[\"q_proj\",\"v_proj\"]", run.get("targets").toString(), "file");
        assertEquals(128, run.get("alpha").doubleValue(), "preset");
        assertEquals("all", run.get("loss-on").asText(), "preset");
        assertTrue(run.get("truncate").booleanValue(), "a flag does not undo the preset");
        assertTrue(run.get("pack").booleanValue(), "flag");
        assertEquals(
                2, run.get("steps").intValue(), "--steps counts more than the preset's epochs");

        assertFails(2, "'speed' is no option", config("{\"speed\": 1}"));
        assertFails(2, "(line 1, column 2)", config("{"));
        assertFails(2, "--steps", config("{\"steps\": \"many\"}"));
        assertFails(2, "expected hyplora-paper", finetune(model, data, "--preset", "best"));
        assertFails(
                2, "cannot read", finetune(model, data, "--config", dir.resolve("no").toString()));
    }

    private String[] config(String json) throws IOException {
        Path file = Files.writeString(dir.resolve("other.json"), json);
        return new String[] {
            "finetune", "--output", dir.resolve("x").toString(), "--config", file.toString()
        };
    }

    @Test
    void deviceIsTheCpuOrOneThatIsThere() throws IOException {
        String expected = "expected cpu, cuda or cuda:N";
        assertFails(2, expected, generate(model, "Q", "--device", "tpu"));
        assertFails(2, expected, finetune(model, data, "--device", "cuda:x"));
        assertFails(2, "no CUDA device", eval(model, data, "--device", "cuda:63"));
    }

    @Test
    void comparesAdaptersAndWritesAReport() throws IOException {
        Path report = dir.resolve("reports/r.html");
        Path json = dir.resolve("r.json");
        Result result =
                Result.of(
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
                        "2",
                        "--answer-tokens",
                        "3",
                        "--out",
                        report.toString(),
                        "--json",
                        json.toString());
        assertEquals(0, result.code(), result.err());
        assertEquals("", result.err());
        assertTrue(result.out().contains("hyplora − lora"), result.out());
        assertTrue(Files.readString(report).contains("Which adapter?"));
        assertEquals(3, new ObjectMapper().readTree(json.toFile()).get("results").size());
        assertFails(2, "'magic'", "compare", "--adapters", "base,magic");
        assertFails(1, "cannot write", "compare", "--out", models.toString());
    }

    @Test
    void epochsBecomeSteps() throws IOException {
        String[] line = finetune(model, data, "--epochs", "2.5");
        List<String> without = new java.util.ArrayList<>(List.of(line));
        without.remove("--steps");
        without.remove("2");
        Result result = Result.of(without.toArray(String[]::new));
        assertEquals(0, result.code(), result.err());
        JsonNode run = new ObjectMapper().readTree(output.resolve("run.json").toFile());
        // 30 records: 3 held out, 2 validate, 25 train in batches of 4
        assertEquals(Math.ceil(2.5 * 25 / 4), run.get("steps").intValue());
    }

    @Test
    void aRunIsOnlyResumedAsItWas() throws IOException {
        assertFails(2, "--output", "finetune", "--resume");
        assertEquals(0, Result.of(finetune(model, data)).code());
        assertFails(1, "nothing to resume", finetune(model, data, "--resume"));
    }

    @Test
    void aPromptMayLookLikeAFileOfArguments() throws IOException {
        Path file = Files.writeString(dir.resolve("p"), "--help");
        Result result = Result.of(generate(model, "@" + file, "--max-new-tokens", "0"));
        assertEquals("@" + file, result.out());
    }

    @Test
    void anyOtherExtensionIsPlainText() throws IOException {
        Path file = Files.writeString(dir.resolve("notes.md"), "one two three\n\nfour five");
        Result result = Result.of(eval(model, file));
        assertEquals(0, result.code(), result.err());
        assertFails(2, "plain text", eval(model, file, "--exact-match"));
    }

    @Test
    void pretrains() {
        Result result =
                Result.of(
                        "pretrain",
                        "--output",
                        output.toString(),
                        "--hidden",
                        "64",
                        "--layers",
                        "1",
                        "--length",
                        "16",
                        "--steps",
                        "1",
                        "--batch-size",
                        "2");
        assertEquals(0, result.code(), result.err());
        assertEquals(0, Result.of(generate(output, "Tom", "--max-new-tokens", "2")).code());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "finetune",
                "eval",
                "compare",
                "generate",
                "pretrain",
                "merge",
                "verify",
                "inspect",
                "embed"
            })
    void helpNamesEveryOption(String command) {
        Result result = Result.of(command, "--help");
        assertEquals(0, result.code());
        assertEquals("", result.err());
        Set<String> missing = new TreeSet<>();
        new CommandLine(Main.class)
                .getSubcommands()
                .get(command)
                .getCommandSpec()
                .optionsMap()
                .keySet()
                .forEach(
                        name -> {
                            if (!result.out().contains(name)) {
                                missing.add(name);
                            }
                        });
        assertEquals(Set.of(), missing);
        assertEquals(result.out(), Result.of("help", command).out());
    }

    @Test
    void helpAndVersion() {
        assertTrue(Result.of("--help").out().contains("finetune"));
        Result version = Result.of("--version");
        assertEquals(0, version.code());
        assertTrue(version.out().startsWith("horo "));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "''; expected a command",
                "fly; unknown command: fly",
                "finetune --colour red; --colour",
                "finetune --steps; --steps",
                "finetune --steps many; many",
                "finetune --steps -1; -1",
                "finetune --steps 0; --steps: 0",
                "finetune --steps 99999999999; 99999999999",
                "finetune --batch-size 0; --batch-size",
                "finetune --batch-size 2147483647; --batch-size",
                "finetune --accumulate -1; --accumulate",
                "finetune --lr -1; --lr: -1",
                "finetune --lr NaN; --lr: NaN",
                "finetune --lr 0; --lr: 0",
                "finetune --warmup -1; --warmup: -1",
                "finetune --weight-decay -1; --weight-decay: -1",
                "finetune --weight-decay Infinity; --weight-decay: Inf",
                "finetune --clip 0; --clip: 0",
                "finetune --eval-every 0; --eval-every: 0",
                "finetune --patience -1; --patience: -1",
                "finetune --save-every -1; --save-every",
                "finetune --seeds 0; --seeds",
                "finetune --epochs 0; --epochs",
                "finetune --warmup 1.5; --warmup",
                "finetune --threads -1; --threads",
                "finetune --threads 100000; --threads",
                "finetune --rank 0; --rank: 0",
                "finetune --rank 100000; --rank: 100000",
                "finetune --alpha -1; --alpha: -1",
                "finetune --curvature 0; --curvature: 0",
                "finetune --coeff-dropout 1; --coeff-dropout: 1",
                "finetune --max-length 1; --max-length",
                "finetune --max-length -7; --max-length",
                "finetune --adapter magic; --adapter: 'magic'",
                "finetune --loss-on prompt; prompt",
                "finetune --template morse; morse",
                "finetune --answer-tokens 0; --answer-tokens",
                "eval --answer-tokens 0; --answer-tokens",
                "finetune --dtype f16; f16",
                "finetune --seed 1 --seed 2; --seed",
                "eval --max-length 0; --max-length",
                "eval nonsense; unexpected argument: nonsense",
                "generate; --prompt",
                "generate --prompt x --max-new-tokens -1; --max-new-tokens",
                "generate --prompt x --temperature -1; --temperature: -1",
                "generate --prompt x --top-k -1; --top-k: -1",
                "generate --prompt x --top-p 0; --top-p: 0",
                "generate --prompt x --beams 0; --beams: 0",
                "generate --prompt x --beams 2 --top-k 3; --beams: beam search",
                "generate --prompt x --beams 2 --top-p 0.5; --beams: beam search",
                "generate --prompt x --beams 2 --temperature 1; --beams: beam search",
                "generate --prompt x --length-penalty 1; --length-penalty: is for beam search",
                "generate --prompt x --top-k 3 --length-penalty 2; --length-penalty: is for",
                "generate --prompt x --beams 2 --length-penalty -1; --length-penalty: -1",
                "generate --prompt x --seed 3; --seed: is for sampling",
                "generate --prompt x --temperature 0 --seed 3; --seed: is for sampling",
                "generate --prompt x --beams 2 --seed 3; --seed: is for sampling",
                "merge --output x; --adapter",
                "merge --adapter x; --output",
                "merge --adapter x --output y --dtype f64; --dtype",
                "merge --adapter x --output y --data z; --data",
                "pretrain; --output",
                "pretrain --output x --hidden 65; hidden",
                "pretrain --output x --hidden 2147483647; --hidden",
                "pretrain --output x --layers 0; --layers",
                "pretrain --output x --length 100000; --length",
                "generate --prompt x --temperature 0 --top-k 3; --top-k and --top-p: are",
                "bench train --threads -1; --threads: -1",
                "compare --threads -1; --threads: -1",
                "pretrain --output x --threads -1; --threads: -1",
                "generate --prompt x --threads -1; --threads: -1",
                "generate --prompt x --device cuda --threads 1025; --threads: 1025",
                "eval --threads -1; --threads: -1",
                "eval --images x --threads -1; --threads",
                "merge --adapter x --output y --threads -1; --threads: -1",
                "verify --threads -1; --threads: -1",
                "inspect --threads -1; --threads: -1",
                "inspect --matrix x --threads -1; --threads: -1",
                "embed x --threads -1; --threads: -1",
                "embed x --dim 0; --dim: 0",
                "embed x --lr NaN; --lr: NaN",
                "embed x --burn-in -1; --burn-in: -1",
                "embed x --curvature 1; --curvature: 1",
                "embed x --draw y; --draw: needs --dim 2",
            })
    void refusesWrongUsage(String line, String words) throws IOException {
        assertFails(2, words, line.isEmpty() ? new String[0] : line.split(" "));
    }

    @Test
    void embedsAHierarchy() throws IOException {
        Path file = Files.writeString(dir.resolve("edges.csv"), "parent,child\na,b\na,c\nb,d\n");
        Path points = dir.resolve("made/points.csv");
        Path report = dir.resolve("made/report.json");
        String[] arguments = {
            "embed", file.toString(), "--epochs", "3", "--output", points.toString(), "--json"
        };
        Result result = Result.of(join(arguments, report.toString()));
        assertEquals(0, result.code(), result.err());
        assertTrue(result.out().startsWith("4 nodes, 3 edges\n"), result.out());
        assertEquals(5, Files.readAllLines(points).size());
        JsonNode json = new ObjectMapper().readTree(report.toFile());
        assertEquals(4, json.get("nodes").asInt());
        // found before the training, not after it
        assertFails(1, "/dev/null/x.csv", "embed", file.toString(), "--output", "/dev/null/x.csv");
        for (String command : List.of("verify", "bench train")) {
            String[] line = (command + " --json /dev/null/x").split(" ");
            assertFails(1, "/dev/null/x", line);
            assertEquals("", Result.of(line).out());
        }
        assertFails(1, "/dev/null/x", "embed", file.toString(), "--json", "/dev/null/x");
    }

    @Test
    void aMergedModelDoesNotReplaceWhatItIsMadeOf() throws IOException {
        assertEquals(0, Result.of(finetune(model, data, "--adapter", "lora")).code());
        for (Path input : List.of(model, output)) {
            assertFails(
                    2, "--output: " + input + " is the directory of", merge(input, "--overwrite"));
        }
    }

    @Test
    void refusesTargetsThatAreNoLayers() throws IOException {
        assertFails(1, "'nose'", finetune(model, data, "--targets", "q_proj,nose"));
    }

    private Path copy() throws IOException {
        Path copy = Files.createDirectory(dir.resolve("copy"));
        try (Stream<Path> all = Files.list(model)) {
            for (Path file : all.toList()) {
                Files.copy(file, copy.resolve(file.getFileName()));
            }
        }
        return copy;
    }

    private void assertRefused(Path bad, String words) throws IOException {
        assertFails(1, words, finetune(bad, data));
        assertFails(1, words, eval(bad, data));
        assertFails(1, words, generate(bad, "x"));
    }

    @Test
    void refusesAMissingModel() throws IOException {
        assertRefused(dir.resolve("none"), "none");
        assertRefused(data, "data.jsonl");
        assertRefused(Files.createDirectory(dir.resolve("empty")), "config.json");
        Path copy = copy();
        Files.delete(copy.resolve("model.safetensors"));
        assertRefused(copy, "model.safetensors");
    }

    @Test
    void refusesATruncatedCheckpoint() throws IOException {
        Path copy = copy();
        Path weights = copy.resolve("model.safetensors");
        byte[] whole = Files.readAllBytes(weights);
        for (int length : new int[] {0, 4, 100, whole.length / 2, whole.length - 1}) {
            Files.write(weights, Arrays.copyOf(whole, length));
            assertRefused(copy, "model.safetensors");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "LlamaForCausalLM; MambaForCausalLM; unknown architecture",
                "\"vocab_size\": 512; \"vocab_size\": 2147483648; vocab_size",
                "\"vocab_size\": 512; \"vocab_size\": 2147483647; embed_tokens",
                "\"vocab_size\": 512; \"vocab_size\": 500; embed_tokens",
                "\"num_hidden_layers\": 1; \"num_hidden_layers\": 2000000000; model.layers.1",
                "\"hidden_size\": 64; \"hidden_size\": -64; hidden_size",
                "\"hidden_size\": 64; \"hidden_size\": 128; shape",
                "{; ; config.json",
            })
    void refusesAWrongConfiguration(String from, String to, String words) throws IOException {
        Path copy = copy();
        Path config = copy.resolve("config.json");
        String text = Files.readString(config);
        assertTrue(text.contains(from), text);
        Files.writeString(config, text.replace(from, to == null ? "" : to));
        assertRefused(copy, words);
    }

    @Test
    void refusesAWrongDtype() throws IOException {
        Path copy = copy();
        Path weights = copy.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        String header = new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1);
        for (String dtype : List.of("I32", "X32")) {
            Files.write(
                    weights,
                    header.replaceFirst("\"F32\"", "\"" + dtype + "\"")
                            .getBytes(java.nio.charset.StandardCharsets.ISO_8859_1));
            assertRefused(copy, dtype);
        }
    }

    @Test
    void refusesAModelLargerThanTheMemory() throws IOException {
        Path copy = copy();
        int vocab = Integer.MAX_VALUE;
        Path config = copy.resolve("config.json");
        Files.writeString(
                config, Files.readString(config).replace("size\": 512", "size\": " + vocab));
        TinyModel.writeHollow(copy.resolve("model.safetensors"), vocab);
        assertRefused(copy, "GiB as float32, this machine has ");
    }

    @Test
    void refusesAWrongTokenizer() throws IOException {
        Path copy = copy();
        Path tokenizer = copy.resolve("tokenizer.json");
        String good = Files.readString(tokenizer);
        Files.writeString(tokenizer, good.replaceFirst("\"BPE\"", "\"Telepathy\""));
        assertRefused(copy, "tokenizer");
        Files.writeString(tokenizer, "{}");
        assertRefused(copy, "tokenizer.json");
        Files.writeString(tokenizer, good.substring(0, good.length() / 2));
        assertRefused(copy, "tokenizer.json");
        Files.delete(tokenizer);
        assertRefused(copy, "tokenizer.json");
    }

    @Test
    void refusesATokenizerWithMoreTokensThanTheModel() throws IOException {
        Path small = dir.resolve("small");
        var config = org.horosphere.finetune.ModelConfig.small(400, 64, 1, 0, 1);
        ModelWriter.write(
                small,
                config,
                new org.horosphere.finetune.Pretraining(config, 1, org.horosphere.Exec.CPU)
                        .weights(),
                DType.F32,
                Defaults.tokenizer());
        assertRefused(small, "512 tokens, the model 400");
    }

    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
    void refusesWeightsThatAreNoNumbers(float poison) throws IOException {
        Path bad = TinyModel.writeWith(dir.resolve("bad"), poison);
        assertRefused(bad, "has NaN or infinite values");
    }

    @Test
    void refusesWeightsWhoseProductsOverflow() throws IOException {
        Path bad = TinyModel.writeWith(dir.resolve("bad"), 3e38f);
        Result result = Result.of(eval(bad, data));
        assertTrue(result.code() == 0 || result.err().matches("horo: [^\n]+\n"), result.err());
    }

    @Test
    void aTokenizerWithoutABeginningNeedsAPrompt() throws IOException {
        Path copy = copy();
        Files.writeString(
                copy.resolve("tokenizer_config.json"),
                "{\"bos_token\": null, \"eos_token\": null}");
        assertFails(1, "empty", generate(copy, ""));
        assertEquals(0, Result.of(generate(copy, "Tom", "--max-new-tokens", "2")).code());
        assertEquals(0, Result.of(eval(copy, data)).code());
        Path one = Files.writeString(dir.resolve("one.txt"), "1");
        assertFails(1, "no token to score", eval(copy, one));
    }

    @Test
    void refusesAPromptLongerThanTheContext() throws IOException {
        assertFails(1, "prompt: ", generate(model, "1".repeat(TinyModel.CONTEXT)));
        assertFails(1, "prompt: ", generate(model, "1".repeat(100_000)));
        String longest = "1".repeat(TinyModel.CONTEXT - 2);
        assertEquals(0, Result.of(generate(model, longest)).code());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "a.txt; ''; is empty",
                "a.jsonl; ''; is empty",
                "a.json; []; no record",
                "a.json; [; a.json",
                "a.jsonl; {}; :1: missing field",
                "a.jsonl; nonsense; :1: invalid JSON",
                "a.jsonl; {\"prompt\": 1; :1: invalid JSON: Unexpected end-of-input",
                "a.csv; 'question,answer\n\"1+1?\",\"2'; :2: invalid CSV: ",
            })
    void refusesBadData(String name, String text, String words) throws IOException {
        Path file = Files.writeString(dir.resolve(name), text);
        assertFails(1, words, finetune(model, file));
        assertFails(1, words, eval(model, file));
        assertFails(1, words, finetune(model, data, "--test", file.toString()));
    }

    @Test
    void refusesDataThatIsNoText() throws IOException {
        assertFails(1, "not found", eval(model, dir.resolve("none.txt")));
        assertFails(1, "directory", eval(model, dir));
        Path binary = Files.write(dir.resolve("b.bin"), new byte[] {(byte) 0xff, 1, 2});
        assertFails(1, "not UTF-8", finetune(model, binary));
    }

    @Test
    void refusesTooFewExamples() throws IOException {
        for (int count : new int[] {1, 2}) {
            Path few = TinyModel.records(dir.resolve("few.jsonl"), count);
            assertFails(1, "too few", finetune(model, few));
            assertEquals(0, Result.of(eval(model, few)).code());
        }
        assertEquals(
                0,
                Result.of(finetune(model, TinyModel.records(dir.resolve("three.jsonl"), 3)))
                        .code());
    }

    @Test
    void evaluatesASingleToken() throws IOException {
        Path one = Files.writeString(dir.resolve("one.txt"), "1");
        Result result = Result.of(eval(model, one));
        assertTrue(result.out().contains("over 1 tokens"), result.out() + result.err());
        assertFails(1, "too few", finetune(model, one));
    }

    @Test
    void refusesRecordsThatDoNotFit() throws IOException {
        assertFails(1, "fits 4 tokens", eval(model, data, "--max-length", "4"));
        assertFails(1, "fits 4 tokens", finetune(model, data, "--max-length", "4"));
    }

    @Test
    void refusesAnOutputThatCannotBeWritten() throws IOException {
        Path file = Files.writeString(dir.resolve("file"), "");
        for (Path bad :
                List.of(
                        file,
                        file.resolve("below"),
                        Path.of("/proc/horo/adapter"),
                        Path.of("/"),
                        dir.resolve("x".repeat(300)),
                        dir.resolve("parent/" + "x".repeat(250)))) {
            output = bad;
            assertFails(1, bad.toString(), finetune(model, data));
        }
        output = Files.createDirectory(dir.resolve("full"));
        Files.writeString(output.resolve("precious"), "");
        assertFails(1, "--overwrite", finetune(model, data));
    }

    @Test
    void refusesAReportThatCannotBeWritten() throws IOException {
        for (Path bad : List.of(dir, data.resolve("r.json"), Path.of("/proc/horo/r.json"))) {
            assertFails(1, bad.toString(), eval(model, data, "--json", bad.toString()));
            assertFails(1, bad.toString(), finetune(model, data, "--json", bad.toString()));
        }
    }

    @Test
    void trainingThatExplodesSavesNothing() throws IOException {
        assertFails(
                1,
                "lower learning rate",
                finetune(model, data, "--lr", "1e38", "--clip", "Infinity"));
    }

    @Test
    void refusesAnAdapterOfAnotherModel() throws IOException {
        Path wide = TinyModel.write(dir.resolve("wide"), 128);
        assertEquals(0, Result.of(finetune(wide, data, "--adapter", "hyplora+coeff")).code());
        assertFails(1, "does not fit", eval(model, data, "--adapter", output.toString()));
        assertFails(1, "does not fit", generate(model, "x", "--adapter", output.toString()));
        assertFails(1, "adapter_config.json", eval(model, data, "--adapter", dir.toString()));
        Path weights = output.resolve("adapter_model.safetensors");
        byte[] whole = Files.readAllBytes(weights);
        Files.write(weights, Arrays.copyOf(whole, whole.length - 1));
        assertFails(
                1, "adapter_model.safetensors", eval(wide, data, "--adapter", output.toString()));
    }

    @Test
    void debugShowsWhere() {
        Result result = Result.of(join(eval(dir.resolve("none"), data), "--debug"));
        assertEquals(1, result.code());
        assertTrue(result.err().contains("CheckpointException"), result.err());
        assertFalse(Result.of(eval(dir.resolve("none"), data)).err().contains("Exception"));
    }
}
