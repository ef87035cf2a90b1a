package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A run and its directory: what it leaves, and that an interrupted one gives the same bits. */
class TrainingRunTest {
    private static final String WEIGHTS = "adapter_model.safetensors";
    private static final AdapterOptions ADAPTER = AdapterOptions.of(AdapterKind.HYPLORA_COEFF);

    @TempDir static Path models;
    private static Path model;
    private static DataSplit data;
    private static byte[] straightWeights;
    private static List<String> straightMetrics;

    @TempDir Path dir;
    private Path output;

    /** Stands for a kill. */
    private static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }

    private interface At {
        void step(int step);
    }

    @BeforeAll
    static void trainWithoutABreak() throws IOException {
        Path tokenizer = models.resolve("tokenizer");
        DefaultData.write(tokenizer);
        model = models.resolve("model");
        ModelConfig config = ModelConfig.small(512, 64, 2, 0, 1);
        ModelWriter.write(
                model,
                config,
                new Pretraining(config, 1, Exec.CPU).weights(),
                DType.F32,
                tokenizer);
        try (CausalLm lm = CausalLm.open(model, Exec.CPU)) {
            data =
                    DataSplit.of(
                            Dataset.ofProblems(
                                    WordProblems.generate(3, 40),
                                    lm.tokenizer(),
                                    128,
                                    Dataset.Loss.COMPLETION),
                            null,
                            1);
        }
        Path straight = models.resolve("straight");
        run(straight, options(12, 1e-2, 0), keeping(0, false), step -> {});
        straightWeights = Files.readAllBytes(straight.resolve(WEIGHTS));
        straightMetrics = metrics(straight);
    }

    @BeforeEach
    void nameOutput() {
        output = dir.resolve("made/run");
    }

    private static TrainOptions options(int steps, double rate, int patience) {
        return new TrainOptions(steps, 3, 2, rate, 2, 0.01, 1, 4, patience, 5);
    }

    private static TrainingRun.Keeping keeping(int every, boolean resume) {
        return new TrainingRun.Keeping(every, resume, null);
    }

    private static TrainingRun.Outcome run(
            Path directory, TrainOptions options, TrainingRun.Keeping keeping, At at) {
        try (CausalLm lm = CausalLm.open(model, Exec.CPU)) {
            TrainingRun run =
                    new TrainingRun(
                            lm,
                            directory,
                            ADAPTER,
                            options,
                            data.training(),
                            data.validation(),
                            keeping);
            return run.run(
                    Map.of("lr", options.learningRate()),
                    new Trainer.Listener() {
                        @Override
                        public void stepped(int s, double l, double r, double g, long t) {
                            at.step(s);
                        }

                        @Override
                        public void validated(int step, double loss, boolean best) {}
                    });
        }
    }

    /** The course without what depends on the clock. */
    private static List<String> metrics(Path directory) throws IOException {
        List<String> lines = new ArrayList<>();
        for (String line : Files.readAllLines(directory.resolve("metrics.jsonl"))) {
            ObjectNode json = (ObjectNode) Json.MAPPER.readTree(line);
            assertTrue(json.remove("elapsed").doubleValue() >= 0);
            json.remove("tokens_per_s");
            lines.add(json.toString());
        }
        return lines;
    }

    private static At killAt(int killed) {
        return step -> {
            if (step == killed) {
                throw new Killed();
            }
        };
    }

    private void assertAsIfWithoutABreak() throws IOException {
        assertArrayEquals(straightWeights, Files.readAllBytes(output.resolve(WEIGHTS)));
        assertEquals(straightMetrics, metrics(output));
    }

    @Test
    void leavesTheAdapterAndTheCourse() throws IOException {
        assertEquals(
                Set.of("adapter_config.json", WEIGHTS, "metrics.jsonl", "run.json"),
                Set.of(models.resolve("straight").toFile().list()));
        assertEquals(12 + 4, straightMetrics.size(), "12 steps, validated at 0, 4, 8 and 12");
        Map<String, Object> step = new TreeMap<>();
        Json.MAPPER
                .readTree(straightMetrics.get(2))
                .properties()
                .forEach(e -> step.put(e.getKey(), e.getValue()));
        assertEquals(Set.of("step", "loss", "lr", "grad_norm", "tokens"), step.keySet());
        assertEquals("2", step.get("step").toString());
        assertEquals("0.005", step.get("lr").toString());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
    void aKilledRunGoesOnBitForBit(int killed) throws IOException {
        assertThrows(
                Killed.class,
                () -> run(output, options(12, 1e-2, 0), keeping(3, false), killAt(killed)));
        TrainingRun.Outcome outcome =
                run(output, options(12, 1e-2, 0), keeping(3, true), step -> {});
        assertAsIfWithoutABreak();
        assertEquals(12, outcome.result().steps());
        assertFalse(outcome.stopped());
    }

    @Test
    void aRunKilledManyTimesGoesOnBitForBit() throws IOException {
        int kills = 0;
        for (int at = 1; at <= 12; at++) {
            int next = at;
            boolean first = at == 1;
            try {
                run(output, options(12, 1e-2, 0), keeping(1, !first), killAt(next));
            } catch (Killed e) {
                kills++;
            }
        }
        assertEquals(12, kills);
        run(output, options(12, 1e-2, 0), keeping(1, true), step -> {});
        assertAsIfWithoutABreak();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 7})
    void aStoppedRunGoesOnBitForBit(int stopped) throws IOException {
        try (CausalLm lm = CausalLm.open(model, Exec.CPU)) {
            TrainingRun run =
                    new TrainingRun(
                            lm,
                            output,
                            ADAPTER,
                            options(12, 1e-2, 0),
                            data.training(),
                            data.validation(),
                            keeping(0, false));
            TrainingRun.Outcome outcome =
                    run.run(
                            Map.of(),
                            new Trainer.Listener() {
                                @Override
                                public void stepped(int s, double l, double r, double g, long t) {
                                    if (s == stopped) {
                                        run.stop();
                                    }
                                }

                                @Override
                                public void validated(int step, double loss, boolean best) {}
                            });
            assertTrue(outcome.stopped());
            assertEquals(stopped, outcome.result().steps());
        }
        assertTrue(Files.exists(output.resolve(WEIGHTS)), "what was trained is saved");
        run(output, options(12, 1e-2, 0), keeping(0, true), step -> {});
        assertAsIfWithoutABreak();
    }

    @Test
    void aFailedRunWithoutACheckpointLeavesNothing() {
        assertThrows(
                Killed.class,
                () -> run(output, options(12, 1e-2, 0), keeping(0, false), killAt(2)));
        assertEquals(0, dir.toFile().list().length);
    }

    @Test
    void aCheckpointOfAnotherRunIsRefusedWithTheReason() {
        assertThrows(
                Killed.class,
                () -> run(output, options(12, 1e-2, 0), keeping(1, false), killAt(3)));
        String rate =
                assertThrows(
                                CheckpointException.class,
                                () ->
                                        run(
                                                output,
                                                options(12, 2e-2, 0),
                                                keeping(1, true),
                                                step -> {}))
                        .getMessage();
        assertTrue(rate.contains("lr is 0.02 and was 0.01"), rate);
        DataSplit whole = data;
        data =
                new DataSplit(
                        whole.training().subList(1, whole.training().size()),
                        whole.validation(),
                        whole.test(),
                        whole.problems());
        try {
            String other =
                    assertThrows(
                                    CheckpointException.class,
                                    () ->
                                            run(
                                                    output,
                                                    options(12, 1e-2, 0),
                                                    keeping(1, true),
                                                    step -> {}))
                            .getMessage();
            assertTrue(
                    other.endsWith("it is of another run: training data is not the same"), other);
        } finally {
            data = whole;
        }
    }

    @Test
    void aDamagedCheckpointIsRefusedAndStays() throws IOException {
        assertThrows(
                Killed.class,
                () -> run(output, options(12, 1e-2, 0), keeping(1, false), killAt(3)));
        Path state = output.resolve(TrainingState.FILE);
        byte[] whole = Files.readAllBytes(state);
        for (int length : new int[] {0, 7, 200, whole.length - 1}) {
            Files.write(state, Arrays.copyOf(whole, length));
            assertThrows(
                    CheckpointException.class,
                    () -> run(output, options(12, 1e-2, 0), keeping(1, true), step -> {}));
            assertEquals(length, Files.size(state));
        }
        Files.write(state, whole);
        Files.write(output.resolve("metrics.jsonl"), new byte[1]);
        assertThrows(
                CheckpointException.class,
                () -> run(output, options(12, 1e-2, 0), keeping(1, true), step -> {}));
    }

    @Test
    void anEndedRunIsNotTrainedAgain() {
        try (CausalLm lm = CausalLm.open(model, Exec.CPU)) {
            TrainingRun run = ending(lm, 1e-2, false);
            run.run(Map.of(), null);
            run.finish(Map.of("loss", 1.5));
            lm.detach();
            assertFalse(Files.exists(output.resolve(TrainingState.FILE)));

            TrainingRun again = ending(lm, 1e-2, true);
            assertTrue(again.hasEnded());
            assertEquals(1.5, again.results().get("loss"));
            assertThrows(IllegalStateException.class, () -> again.run(Map.of(), null));
            String other =
                    assertThrows(CheckpointException.class, () -> ending(lm, 2e-2, true))
                            .getMessage();
            assertTrue(other.contains("lr is 0.02 and was 0.01"), other);
        }
    }

    private TrainingRun ending(CausalLm lm, double rate, boolean resume) {
        return new TrainingRun(
                lm,
                output,
                ADAPTER,
                options(2, rate, 0),
                data.training(),
                List.of(),
                keeping(1, resume));
    }

    @Test
    void stopsWhenNothingGetsBetter() {
        // a rate that changes no float: every validation is as good as the first
        TrainingRun.Outcome outcome =
                run(output, options(40, 1e-38, 3), keeping(0, false), step -> {});
        assertEquals(12, outcome.result().steps(), "3 validations, 4 steps apart");
        assertEquals(0, outcome.result().bestStep());
    }
}
