package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.finetune.report.ComparisonReport;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A small comparison of everything, and its report. */
class ComparisonTest {
    private static final TrainOptions TRAINING = new TrainOptions(6, 4, 1, 3e-2, 1, 0, 1, 2, 0, 1);

    @TempDir static Path dir;
    private static CausalLm lm;
    private static DataSplit data;
    private static Comparison.Report report;

    private static final class Silent implements Comparison.Progress {
        @Override
        public Trainer.Listener begins(String arm, long seed, int run, int runs, int steps) {
            return new Trainer.Listener() {
                @Override
                public void stepped(int s, double l, double r, double g, long t) {}

                @Override
                public void validated(int step, double loss, boolean best) {}
            };
        }

        @Override
        public void ended(String arm, Comparison.Run run) {}
    }

    private static List<Comparison.Arm> arms() {
        List<Comparison.Arm> arms = new ArrayList<>();
        for (String name : Comparison.NAMES) {
            AdapterKind kind =
                    name.equals(Comparison.MATCHED)
                            ? AdapterKind.LORA
                            : name.equals(Comparison.BASE) ? null : AdapterKind.of(name);
            arms.add(
                    kind == null
                            ? new Comparison.Arm(name, null, null)
                            : new Comparison.Arm(name, AdapterOptions.of(kind), TRAINING));
        }
        return arms;
    }

    @BeforeAll
    static void compare() throws Exception {
        Path tokenizer = dir.resolve("tokenizer");
        DefaultData.write(tokenizer);
        Path model = dir.resolve("model");
        ModelConfig config = ModelConfig.small(512, 64, 2, 0, 1);
        ModelWriter.write(
                model,
                config,
                new Pretraining(config, 1, Exec.CPU).weights(),
                DType.F32,
                tokenizer);
        lm = CausalLm.open(model, Exec.CPU);
        data =
                DataSplit.of(
                        Dataset.ofProblems(
                                WordProblems.generate(3, 60),
                                lm.tokenizer(),
                                128,
                                Dataset.Loss.COMPLETION),
                        null,
                        1);
        report = new Comparison(lm, data, 3).run(arms(), 5, 2, List.of("a < test"), new Silent());
    }

    private static Comparison.Result result(String name) {
        return report.results().stream()
                .filter(r -> r.arm().name().equals(name))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void everyArmHasTheSameBudget() {
        assertEquals(Comparison.NAMES, report.results().stream().map(r -> r.arm().name()).toList());
        for (Comparison.Result result : report.results()) {
            assertEquals(2, result.runs().size());
            boolean tuned = result.arm().adapter() != null;
            for (Comparison.Run run : result.runs()) {
                assertEquals(tuned ? 6 : 0, run.steps());
                assertEquals(tuned ? 6 : 0, run.training().size());
                assertEquals(data.test().size(), run.losses().length);
                assertEquals(data.problems().size(), run.correct().length);
            }
            if (tuned) {
                assertTrue(result.parameters() > 0);
                assertTrue(result.memory() > 0);
                assertTrue(
                        result.runs().get(0).loss() < result(Comparison.BASE).runs().get(0).loss());
            }
        }
        // the same batches for all: what the first step reads is the base model's loss
        double first = result("lora").runs().get(1).training().get(0).loss();
        assertEquals(first, result("coeff").runs().get(1).training().get(0).loss());
        assertNotEquals(first, result("lora").runs().get(0).training().get(0).loss());
    }

    @Test
    void theControlHasTheGainOfHypLoraBeforeTraining() {
        double gain = result("hyplora").startingGain();
        assertTrue(gain > 1.01 && gain < 2, () -> "gain " + gain);
        assertEquals(
                AdapterOptions.of(AdapterKind.LORA).alpha() * gain,
                result(Comparison.MATCHED).arm().adapter().alpha(),
                1e-12);
        assertEquals(5 * 2, result("hyplora").runs().get(0).curvature().size(), "every layer");
        assertTrue(result("lora").runs().get(0).curvature().isEmpty());
        assertEquals(2, result("coeff").runs().get(0).alpha().size());
    }

    @Test
    void exampleLossesHaveTheLossAsTheirMean() {
        double mean = result(Comparison.BASE).runs().get(0).loss();
        assertEquals(lm.loss(data.test()).loss(), mean, 1e-6 * mean);
    }

    @Test
    void theSameSeedGivesTheSameRun() {
        Comparison.Report again =
                new Comparison(lm, data, 3)
                        .run(arms().subList(1, 2), 6, 1, List.of(), new Silent());
        Comparison.Run then = result("lora").runs().get(1);
        Comparison.Run now = again.results().get(0).runs().get(0);
        assertArrayEquals(then.losses(), now.losses());
        assertEquals(then.training(), now.training());
        assertNull(lm.adapter(), "the model is left as it was");
    }

    @Test
    void aStoppedComparisonReportsOnlyWhatIsComplete() {
        Comparison comparison = new Comparison(lm, data, 3);
        comparison.stop();
        assertNull(comparison.run(arms(), 5, 2, List.of(), new Silent()));
        assertNull(lm.adapter());
    }

    /** Stands for a kill. */
    private static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    /** Counts what is trained and what is taken over; may be killed in the middle of a run. */
    private static final class Counting implements Comparison.Progress {
        private final List<String> begun = new ArrayList<>();
        private final List<String> reused = new ArrayList<>();
        private final int killed;

        Counting(int killed) {
            this.killed = killed;
        }

        @Override
        public Trainer.Listener begins(String arm, long seed, int run, int runs, int steps) {
            begun.add(arm + seed);
            return new Trainer.Listener() {
                @Override
                public void stepped(int step, double l, double r, double g, long t) {
                    if (begun.size() == killed && step == 3) {
                        throw new Killed();
                    }
                }

                @Override
                public void validated(int step, double loss, boolean best) {}
            };
        }

        @Override
        public void ended(String arm, Comparison.Run run) {}

        @Override
        public void reused(String arm, long seed, int run, int runs) {
            reused.add(arm + seed);
        }
    }

    private static Comparison.Report compare(
            Path runs, boolean reuse, List<Comparison.Arm> arms, Comparison.Progress progress) {
        Comparison comparison = new Comparison(lm, data, 3);
        comparison.keepRuns(runs, reuse);
        return comparison.run(arms, 5, 2, List.of("a < test"), progress);
    }

    @Test
    void aKilledComparisonGoesOnWithWhatHadFinished() throws Exception {
        Path runs = dir.resolve("reports/runs");
        Counting killed = new Counting(7);
        assertThrows(Killed.class, () -> compare(runs, false, arms(), killed));
        lm.detach();
        assertEquals(7, killed.begun.size());
        assertEquals(6, runs.toFile().list().length, "the seventh had not finished");

        Counting resumed = new Counting(-1);
        Comparison.Report again = compare(runs, true, arms(), resumed);
        assertEquals(killed.begun.subList(0, 6), resumed.reused);
        assertEquals(2 * arms().size() - 1 - 6, resumed.begun.size(), "base runs once");
        assertFalse(resumed.begun.stream().anyMatch(resumed.reused::contains));
        assertEquals(report.contrasts(), again.contrasts());
        for (int i = 0; i < report.results().size(); i++) {
            Comparison.Result expected = report.results().get(i);
            Comparison.Result got = again.results().get(i);
            assertEquals(expected.arm(), got.arm());
            assertEquals(expected.parameters(), got.parameters());
            for (int s = 0; s < 2; s++) {
                Comparison.Run then = expected.runs().get(s);
                Comparison.Run now = got.runs().get(s);
                assertArrayEquals(then.losses(), now.losses());
                assertArrayEquals(then.correct(), now.correct());
                assertEquals(then.training(), now.training());
                assertEquals(then.validation(), now.validation());
                assertEquals(then.curvature(), now.curvature());
                assertEquals(then.gain(), now.gain());
                assertEquals(then.alpha().keySet(), now.alpha().keySet());
                then.alpha().forEach((l, a) -> assertArrayEquals(a, now.alpha().get(l)));
            }
        }

        // another option is another run; without reuse all are trained again
        Comparison.Arm lora = arms().get(1);
        Comparison.Arm other =
                new Comparison.Arm("lora", lora.adapter().withAlpha(7), lora.training());
        Counting anew = new Counting(-1);
        compare(runs, true, List.of(other), anew);
        assertEquals(List.of("lora5", "lora6"), anew.begun);
        Counting fresh = new Counting(-1);
        compare(runs, false, List.of(lora), fresh);
        assertEquals(List.of("lora5", "lora6"), fresh.begun);

        for (java.io.File file : runs.toFile().listFiles()) {
            Files.writeString(file.toPath(), "{\"run\": 1}");
        }
        CheckpointException damaged =
                assertThrows(
                        CheckpointException.class,
                        () -> compare(runs, true, List.of(lora), new Silent()));
        assertTrue(damaged.getMessage().contains("not the run"), damaged.getMessage());
    }

    @Test
    void theReportIsOneFileWithEverythingInIt() throws Exception {
        Path file = dir.resolve("report.html");
        ComparisonReport.html(report, Map.of("steps", 6), file);
        String html = Files.readString(file);
        assertFalse(html.matches("(?s).*(src|href)=\"(?!data:).*"), "refers to something outside");
        for (String word :
                List.of(
                        "a &lt; test",
                        "lora-matched",
                        "Learned curvature of hyplora",
                        "Learned mixing coefficients of coeff",
                        "Validation loss",
                        "hyplora − lora-matched",
                        "p, Holm",
                        "<rect",
                        "steps")) {
            assertTrue(html.contains(word), word);
        }
        assertFalse(html.contains("NaN"));
        String text = ComparisonReport.text(report);
        assertTrue(text.contains("hyplora − lora"), text);
    }

    private static Comparison.Result fixed(String name, AdapterKind kind, double[][] losses) {
        List<Comparison.Run> runs = new ArrayList<>();
        for (double[] of : losses) {
            runs.add(
                    new Comparison.Run(
                            0,
                            1,
                            1,
                            1,
                            1,
                            List.of(),
                            List.of(),
                            of,
                            new boolean[0],
                            Map.of(),
                            1,
                            Map.of()));
        }
        AdapterOptions adapter = kind == null ? null : AdapterOptions.of(kind);
        return new Comparison.Result(new Comparison.Arm(name, adapter, TRAINING), 1, 1, 1, runs);
    }

    private static double[][] around(double mean, double wobble) {
        double[][] losses = new double[3][40];
        for (int s = 0; s < 3; s++) {
            for (int j = 0; j < 40; j++) {
                losses[s][j] = mean + wobble * Math.sin(7 * s + 13 * j);
            }
        }
        return losses;
    }

    private static String verdict(Comparison.Result... results) {
        return ComparisonReport.text(Comparison.report(List.of(results), List.of(), 2));
    }

    @Test
    void recommendsOnlyWhatTheTestsBear() {
        Comparison.Result base = fixed("base", null, around(5, 0.1));
        Comparison.Result lora = fixed("lora", AdapterKind.LORA, around(2, 0.1));
        Comparison.Result same = fixed("hyplora", AdapterKind.HYPLORA, around(2.001, 0.13));
        assertTrue(verdict(base, lora, same).contains("No significant difference"));
        Comparison.Result good = fixed("hyplora", AdapterKind.HYPLORA, around(1.5, 0.12));
        assertTrue(verdict(base, lora, good).contains("Take hyplora."));
        Comparison.Result matched = fixed("lora-matched", AdapterKind.LORA, around(1.5, 0.13));
        String explained = verdict(base, lora, matched, good);
        assertTrue(explained.contains("the step size may be all of it"), explained);
        Comparison.Result weak = fixed("lora-matched", AdapterKind.LORA, around(1.9, 0.1));
        assertTrue(verdict(base, lora, weak, good).contains("does not explain it"));
        Comparison.Result bad = fixed("coeff", AdapterKind.COEFF, around(5, 0.11));
        String useless = verdict(base, lora, bad);
        assertTrue(useless.contains("Significantly worse than lora: coeff"), useless);
        assertTrue(useless.contains("Not significantly better than the untuned model: coeff"));
    }
}
