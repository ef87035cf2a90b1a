package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Logits, hidden states, loss, gradients and a training run of Hugging Face transformers + PEFT,
 * where present.
 */
class HfGoldenTest {
    private static final String PREFIX = "base_model.model.";

    @BeforeAll
    static void gemm() {
        OneDnn.ensureLoaded();
    }

    /** Sequences as stored: ids, labels shifted to next-token targets, which positions count. */
    private record Sequences(
            int batch, int length, int[] ids, int[] targets, boolean[] real, int count) {
        static Sequences read(SafeTensors file) {
            long[] shape = file.get("input_ids").shape();
            int batch = (int) shape[0];
            int length = (int) shape[1];
            int[] ids = ints(file, "input_ids");
            int[] labels = ints(file, "labels");
            int[] mask = ints(file, "attention_mask");
            int[] targets = new int[ids.length];
            boolean[] real = new boolean[ids.length];
            int count = 0;
            for (int i = 0; i < ids.length; i++) {
                targets[i] = i % length == length - 1 ? -100 : labels[i + 1];
                real[i] = mask[i] == 1;
                count += targets[i] >= 0 ? 1 : 0;
            }
            return new Sequences(batch, length, ids, targets, real, count);
        }

        Batches.Batch toBatch() {
            int[] lengths = new int[batch];
            Arrays.fill(lengths, length);
            return new Batches.Batch(batch, length, ids, targets, lengths, count);
        }
    }

    private static int[] ints(SafeTensors file, String name) {
        long[] wide = file.get(name).data().toArray(ValueLayout.JAVA_LONG_UNALIGNED);
        return Arrays.stream(wide).mapToInt(Math::toIntExact).toArray();
    }

    private static float[] floats(SafeTensors file, String name) {
        return file.get(name).toFloatArray();
    }

    /** Largest difference on counted rows, relative to the largest expected number. */
    private static double error(float[] expected, float[] got, boolean[] rows) {
        assertEquals(expected.length, got.length);
        int width = expected.length / rows.length;
        double worst = 0;
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            if (rows[i / width]) {
                worst = Math.max(worst, Math.abs(expected[i] - got[i]));
                largest = Math.max(largest, Math.abs(expected[i]));
            }
        }
        return worst / largest;
    }

    private static void assertClose(
            double tolerance, float[] expected, float[] got, boolean[] rows, String what) {
        double error = error(expected, got, rows);
        assertTrue(error <= tolerance, what + ": " + error + " > " + tolerance);
    }

    private static boolean[] one() {
        return new boolean[] {true};
    }

    private static JsonNode json(Path file) throws IOException {
        return new ObjectMapper().readTree(file.toFile());
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2", "llama3", "qwen2", "gemma"})
    void logitsHiddenStatesLossAndGradients(String name) throws IOException {
        Path folder = SharedTestData.require("golden/hf/" + name);
        SafeTensors golden = SafeTensors.open(folder.resolve("golden.safetensors"), Arena.ofAuto());
        JsonNode numbers = json(folder.resolve("golden.json"));
        Sequences s = Sequences.read(golden);
        Llama model = Llama.load(folder, Exec.CPU);

        compareForward(model, golden, s, "base.");
        assertEquals(
                numbers.get("base.loss").asDouble(),
                model.loss(s.targets(), Float.NaN) / s.count(),
                2e-5);

        Adapter adapter = Adapter.load(model, folder.resolve("adapter_init"));
        compareForward(model, golden, s, "lora.");
        adapter.parameters().clearGradients();
        double loss = model.loss(s.targets(), 1f / s.count()) / s.count();
        assertEquals(numbers.get("lora.loss").asDouble(), loss, 2e-6 * loss);
        model.backward();
        for (Tensor tensor : adapter.parameters().tensors()) {
            float[] expected = floats(golden, "lora.grad." + PREFIX + tensor.name());
            assertClose(
                    3e-5,
                    expected,
                    Buffers.toArray(tensor.grad(), tensor.size()),
                    one(),
                    tensor.name());
        }
    }

    private static void compareForward(
            Llama model, SafeTensors golden, Sequences s, String prefix) {
        model.forward(s.batch(), s.length(), s.ids());
        assertClose(
                1e-5,
                floats(golden, prefix + "logits"),
                model.allLogits(),
                s.real(),
                prefix + "logits");
        assertClose(
                1e-5,
                floats(golden, prefix + "hidden.embed"),
                model.hidden(0),
                s.real(),
                prefix + "embed");
        for (int i = 0; i < model.layers().size(); i++) {
            String layer = prefix + "hidden.layer." + i;
            assertClose(1e-5, floats(golden, layer), model.hidden(i + 1), s.real(), layer);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2", "llama3", "qwen2", "gemma"})
    void greedyTokens(String name) throws IOException {
        Path folder = SharedTestData.require("golden/hf/" + name);
        JsonNode greedy = json(folder.resolve("golden.json")).get("greedy");
        int[] prompt = new ObjectMapper().convertValue(greedy.get("prompt"), int[].class);
        int[] expected = new ObjectMapper().convertValue(greedy.get("new_tokens"), int[].class);
        Llama model = Llama.load(folder, Exec.CPU);
        Llama.Cache cache = model.cache(prompt.length + expected.length);
        int[] got = new int[expected.length];
        int[] next = prompt;
        for (int i = 0; i < got.length; i++) {
            got[i] = CausalLm.argmax(model.extend(cache, next), model.config().vocabSize());
            next = new int[] {got[i]};
        }
        assertArrayEquals(expected, got);
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama3", "qwen2"})
    void trainingRunOfPeft(String name) throws IOException {
        Path folder = SharedTestData.require("golden/hf/" + name);
        SafeTensors golden = SafeTensors.open(folder.resolve("train.safetensors"), Arena.ofAuto());
        JsonNode curve = json(folder.resolve("train.json"));
        int steps = curve.get("config").get("steps").asInt();
        Sequences s = Sequences.read(golden);
        Llama model = Llama.load(folder, Exec.CPU);
        Adapter adapter = Adapter.load(model, folder.resolve("adapter_init"));
        TrainOptions options =
                new TrainOptions(
                        steps,
                        s.batch(),
                        1,
                        curve.get("config").get("lr").asDouble(),
                        curve.get("config").get("warmup").asInt(),
                        0,
                        curve.get("config").get("clip").asDouble(),
                        steps,
                        0);
        new Trainer(model, adapter, options)
                .run(
                        Collections.nCopies(steps, s.toBatch()).iterator(),
                        List.of(),
                        new Trainer.Listener() {
                            @Override
                            public void stepped(
                                    int step, double loss, double rate, double norm, long tokens) {
                                assertEquals(
                                        curve.get("loss").get(step - 1).asDouble(),
                                        loss,
                                        2e-6 * loss,
                                        "loss " + step);
                                assertEquals(
                                        curve.get("grad_norm").get(step - 1).asDouble(),
                                        norm,
                                        2e-6 * norm,
                                        "norm " + step);
                                assertEquals(curve.get("lr").get(step - 1).asDouble(), rate, 1e-10);
                            }

                            @Override
                            public void validated(int step, double loss, boolean best) {}
                        });
        long offset = 0;
        float[] moments =
                Buffers.toArray(adapter.parameters().firstMoments(), adapter.parameters().size());
        for (Tensor tensor : adapter.parameters().tensors()) {
            float[] expected = floats(golden, "final." + PREFIX + tensor.name());
            float[] got = Buffers.toArray(tensor.value(), tensor.size());
            assertClose(1e-4, expected, got, one(), "final " + tensor.name());
            float[] m = Arrays.copyOfRange(moments, (int) offset, (int) (offset + tensor.size()));
            assertClose(
                    2e-5,
                    floats(golden, "adam_m." + PREFIX + tensor.name()),
                    m,
                    one(),
                    "m " + tensor.name());
            offset += tensor.size();
        }
    }
}
