package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A step on packed examples is the step on the single ones. */
class PackingTest {
    private static final int VOCABULARY = 64;
    private static final int CONTEXT = 24;

    @BeforeAll
    static void gemm() {
        OneDnn.ensureLoaded();
    }

    private static List<Dataset.Example> examples() {
        Random random = new Random(4);
        List<Dataset.Example> examples = new ArrayList<>();
        for (int length : new int[] {6, 10, 2, 5, 13, 11, 3, 24, 7}) {
            int[] tokens = random.ints(length, 0, VOCABULARY).toArray();
            int[] labels = tokens.clone();
            Arrays.fill(labels, 0, Math.min(length - 1, 3), Dataset.IGNORE);
            examples.add(new Dataset.Example(tokens, labels));
        }
        return examples;
    }

    /** The loss, and the gradients of everything trained. */
    private record Step(double loss, float[] gradients) {}

    private static Step step(Batches.Batch batch, AdapterKind kind, boolean checkpointing) {
        Random weights = new Random(2);
        Llama model =
                new Llama(
                        ModelConfig.small(VOCABULARY, 64, 2, 0, 1),
                        (name, shape) -> {
                            Tensor tensor = Tensor.trainable(name, shape);
                            MemorySegment value = Buffers.floats(tensor.size());
                            for (long i = 0; i < tensor.size(); i++) {
                                double mean = Llama.isNorm(name) ? 1 : 0;
                                float x = (float) (mean + 0.1 * weights.nextGaussian());
                                value.setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
                            }
                            return Tensor.frozen(name, value, shape);
                        },
                        Exec.CPU);
        model.setCheckpointing(checkpointing);
        Adapter adapter = Adapter.create(model, AdapterOptions.of(kind), 1);
        Random random = new Random(9);
        for (Tensor tensor : adapter.parameters().tensors()) {
            for (long i = 0; tensor.size() > 1 && i < tensor.size(); i++) {
                float x = (float) (0.1 * random.nextGaussian());
                tensor.value().setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
            }
        }
        adapter.parameters().changed();
        double loss = model.loss(batch, 1f / batch.targetCount());
        model.backward();
        List<float[]> parts = new ArrayList<>();
        int size = 0;
        for (Tensor tensor : adapter.parameters().tensors()) {
            parts.add(Buffers.toArray(tensor.grad(), tensor.size()));
            size += parts.get(parts.size() - 1).length;
        }
        float[] gradients = new float[size];
        int at = 0;
        for (float[] part : parts) {
            System.arraycopy(part, 0, gradients, at, part.length);
            at += part.length;
        }
        return new Step(loss, gradients);
    }

    private static double distance(float[] expected, float[] got) {
        double worst = 0;
        double most = 0;
        for (int i = 0; i < expected.length; i++) {
            worst = Math.max(worst, Math.abs(expected[i] - got[i]));
            most = Math.max(most, Math.abs(expected[i]));
        }
        return worst / most;
    }

    @ParameterizedTest
    @CsvSource({"LORA, false", "HYPLORA_COEFF, false", "HYPLORA_COEFF, true"})
    void losesAndLearnsTheSame(AdapterKind kind, boolean checkpointing) {
        List<Dataset.Example> packed = Dataset.pack(examples(), CONTEXT);
        assertTrue(packed.size() < examples().size());
        Batches.Batch together = Batches.pad(packed);
        Batches.Batch single = Batches.pad(examples());
        assertNull(single.starts());
        assertEquals(single.targetCount(), together.targetCount());
        Step expected = step(single, kind, checkpointing);
        Step got = step(together, kind, checkpointing);
        assertEquals(expected.loss(), got.loss(), 1e-6 * expected.loss());
        assertEquals(0, distance(expected.gradients(), got.gradients()), 1e-5);
        // and they would be others if the pieces saw each other
        Batches.Batch seen =
                new Batches.Batch(
                        together.batch(),
                        together.length(),
                        together.tokens(),
                        together.targets(),
                        together.lengths(),
                        together.targetCount());
        Step other = step(seen, kind, checkpointing);
        assertTrue(distance(expected.gradients(), other.gradients()) > 1e-2);
    }

    @Test
    void batchesKnowWhereExamplesBegin() {
        List<Dataset.Example> packed = Dataset.pack(examples(), CONTEXT);
        assertArrayEquals(new int[] {0, 6, 16, 18}, packed.get(0).starts());
        Batches.Batch batch = Batches.pad(packed.subList(0, 2));
        int length = batch.length();
        assertArrayEquals(new int[] {0, 6, 16, 18, length, length + 13}, batch.starts());
        List<Dataset.Example> twice = Dataset.pack(packed.subList(0, 2), 100);
        assertArrayEquals(new int[] {0, 6, 16, 18, 23, 36}, twice.get(0).starts());
        assertNotEquals(
                Fingerprint.ofExamples(packed),
                Fingerprint.ofExamples(
                        packed.stream()
                                .map(e -> new Dataset.Example(e.tokens(), e.labels()))
                                .toList()),
                "they train otherwise");
    }
}
