package org.horosphere.finetune.inspect;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.DefaultData;
import org.horosphere.finetune.ForwardObserver;
import org.horosphere.finetune.InputNorms;
import org.horosphere.finetune.ModelConfig;
import org.horosphere.finetune.ModelWriter;
import org.horosphere.finetune.OneDnn;
import org.horosphere.finetune.Pretraining;
import org.horosphere.finetune.Tokenizer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InspectionTest {
    private static final Inspection.Options FEW = new Inspection.Options(4, 100, 19, 20, 1);

    private static final List<String> TEXTS =
            List.of(
                    "Q: Tom has 3 apples and buys 4 more. How many apples does he have?\nA:",
                    "Q: Ann has 12 pens. She gives 5 to Tom. How many pens are left?\nA:",
                    "Q: A box holds 6 eggs. How many eggs are in 7 boxes?\nA:",
                    "Q: Sam reads 9 pages a day for 5 days. How many pages is that?\nA:",
                    "x");

    @TempDir static Path folder;

    @BeforeAll
    static void makeModel() throws IOException {
        OneDnn.ensureLoaded();
        DefaultData.write(folder);
        try (Tokenizer tokenizer = Tokenizer.open(folder)) {
            ModelConfig config =
                    ModelConfig.small(
                            tokenizer.vocabSize(), 64, 2, tokenizer.bosId(), tokenizer.eosId());
            Pretraining random = new Pretraining(config, 7, Exec.CPU);
            ModelWriter.write(folder.resolve("model"), config, random.weights(), DType.F32, folder);
        }
    }

    private static Inspection.Report inspect(List<String> texts) {
        try (CausalLm lm = CausalLm.open(folder.resolve("model"), Exec.CPU)) {
            return Inspection.model(
                    lm, texts, List.of("a <model>", "data"), FEW, Exec.CPU, (s, d, t) -> {});
        }
    }

    @Test
    void aModelIsInspectedWhole() {
        Inspection.Report r = inspect(TEXTS);
        assertEquals(5, r.texts());
        long total = r.tokens().tokens().stream().mapToLong(TokenStudy.Token::count).sum();
        assertEquals(total, r.frequencies().tokens());
        assertEquals(total, r.tokens().occurrences());
        assertEquals(r.tokens().tokens().size(), r.frequencies().types());
        assertEquals(99, r.tokens().bins().size());
        int binned = r.tokens().bins().stream().mapToInt(TokenStudy.Bin::tokens).sum();
        assertEquals(r.frequencies().types(), binned);
        assertEquals(10, r.tokens().ranks().size());
        assertEquals(3, r.blocks().size());
        assertEquals(14, r.modules().size());
        assertEquals(2, r.hyperbolicity().size());
        assertEquals(4, r.hyperbolicity().get(0).spaces().size());
        assertEquals(r.hyperbolicity(), inspect(TEXTS).hyperbolicity());
        assertEquals(1, r.pictures().size());
        String text = ReportWriter.text(r);
        assertTrue(text.contains("Gaussian, same spectrum"), text);
        assertFalse(text.contains("NaN"), text);
    }

    /** The residual stream's norms and the norms adapters see, recomputed from what is shown. */
    @Test
    void normsAreThoseOfTheForwardPass() {
        try (CausalLm lm = CausalLm.open(folder.resolve("model"), Exec.CPU)) {
            int[] ids = lm.tokenizer().encode(TEXTS.get(0));
            Map<String, double[]> inputs = new TreeMap<>();
            List<double[]> states = new ArrayList<>();
            ForwardObserver recorder =
                    new ForwardObserver() {
                        @Override
                        public void hidden(int block, MemorySegment x, long tokens, int width) {
                            assertEquals(states.size(), block);
                            states.add(norms(x, tokens, width));
                        }

                        @Override
                        public void linearInput(
                                String path, MemorySegment x, long tokens, int width) {
                            inputs.put(path, norms(x, tokens, width));
                        }
                    };
            lm.forward(ids, recorder);
            StateStudy study = new StateStudy();
            lm.forward(ids, study);
            for (int i = 0; i < ids.length; i++) {
                double sum = 0;
                for (float v : lm.embedding(ids[i])) {
                    sum += (double) v * v;
                }
                assertEquals(Math.sqrt(sum), states.get(0)[i], 1e-12);
            }
            for (StateStudy.Block block : study.blocks()) {
                double[] all = states.get(block.block());
                assertEquals(all[0], block.first(), 1e-12);
                double[] rest = java.util.Arrays.copyOfRange(all, 1, all.length);
                assertEquals(Statistics.mean(rest), block.mean(), 1e-12);
                assertEquals(Statistics.deviation(rest), block.deviation(), 1e-12);
            }
            assertEquals(inputs.size(), study.modules().size());
            for (InputNorms.Module module : study.modules()) {
                double[] all = inputs.get(module.module());
                double[] rest = java.util.Arrays.copyOfRange(all, 1, all.length);
                double deviation = Statistics.deviation(rest);
                assertEquals(deviation * deviation, module.variance(), 1e-9);
                assertEquals(deviation / Statistics.mean(rest), module.variation(), 1e-9);
            }
            assertArrayEquals(
                    inputs.get("model.layers.1.self_attn.q_proj"),
                    inputs.get("model.layers.1.self_attn.v_proj"));
            // nobody is left listening
            int before = inputs.size();
            inputs.clear();
            lm.forward(ids, study);
            assertEquals(0, inputs.size());
            assertEquals(14, before);
            assertThrows(IllegalArgumentException.class, () -> lm.forward(new int[0], study));
            assertThrows(IllegalArgumentException.class, () -> lm.embedding(-1));
            assertThrows(IllegalArgumentException.class, () -> lm.embedding(1 << 20));
        }
    }

    private static double[] norms(MemorySegment x, long tokens, int width) {
        double[] out = new double[(int) tokens];
        for (int t = 0; t < tokens; t++) {
            double sum = 0;
            for (int i = 0; i < width; i++) {
                double v = x.getAtIndex(ValueLayout.JAVA_FLOAT, (long) t * width + i);
                sum += v * v;
            }
            out[t] = Math.sqrt(sum);
        }
        return out;
    }

    @Test
    void textsWithoutFourTokensAreRefused() {
        String message =
                assertThrows(IllegalArgumentException.class, () -> inspect(List.of("x", "y")))
                        .getMessage();
        assertTrue(message.startsWith("data: no text has four different tokens"), message);
    }

    @Test
    void theReportStandsAlone() throws IOException {
        Inspection.Report r = inspect(TEXTS);
        Path html = folder.resolve("report.html");
        ReportWriter.html(r, html);
        String text = Files.readString(html);
        assertTrue(text.contains("a &lt;model&gt;"));
        assertFalse(text.contains("a <model>"));
        assertFalse(text.matches("(?s).*(src|href)=\"(?!data:).*"), "refers to something outside");
        assertEquals(7, text.split("<figure", -1).length - 1);
        Path plots = folder.resolve("plots/deep");
        ReportWriter.charts(r, plots);
        try (var files = Files.list(plots)) {
            assertEquals(14, files.count());
        }
        byte[] png = Files.readAllBytes(plots.resolve("disk-1.png"));
        assertEquals('P', png[1]);
        assertTrue(Files.readString(plots.resolve("delta-1.svg")).contains("<svg"));
    }

    @Test
    void matricesAreInspectedAlone() {
        Random random = new Random(1);
        double[] x = random.doubles(150 * 3).toArray();
        Points matrix = new Points("m.npy", 150, 3, x);
        Inspection.Report r =
                Inspection.matrices(List.of(matrix, matrix), FEW, Exec.CPU, (s, d, t) -> {});
        assertNull(r.frequencies());
        assertNull(r.tokens());
        assertEquals(2, r.hyperbolicity().size());
        assertEquals(100, r.hyperbolicity().get(0).spaces().get(0).points());
        assertEquals(2, r.notes().size());
        assertTrue(r.notes().get(0).contains("100 of 150 rows"), r.notes().toString());
        assertTrue(ReportWriter.text(r).contains("m.npy"));
        ReportWriter.html(r, folder.resolve("matrices.html"));
    }

    @Test
    void badOptionsAreNamed() {
        refused("prompts", () -> new Inspection.Options(0, 100, 39, 1, 1));
        refused("points", () -> new Inspection.Options(1, 3, 39, 1, 1));
        refused("replicates", () -> new Inspection.Options(1, 100, 18, 1, 1));
        refused("resamples", () -> new Inspection.Options(1, 100, 39, 0, 1));
    }

    private static void refused(String start, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(start), message);
    }
}
