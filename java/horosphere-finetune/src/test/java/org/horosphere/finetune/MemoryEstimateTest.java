package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The estimate against what a step has allocated. */
class MemoryEstimateTest {
    private static final int SEQUENCES = 3;
    private static final int LENGTH = 37;

    @TempDir Path dir;

    /** Bytes of the native buffers an object's own fields refer to. */
    private static void add(Object owner, Map<Long, Long> buffers) throws IllegalAccessException {
        for (Class<?> c = owner.getClass(); c != Object.class; c = c.getSuperclass()) {
            for (Field field : c.getDeclaredFields()) {
                field.setAccessible(true);
                if (!Modifier.isStatic(field.getModifiers())
                        && field.get(owner) instanceof MemorySegment segment
                        && segment.isNative()
                        && segment.address() != 0) {
                    buffers.merge(segment.address(), segment.byteSize(), Math::max);
                }
            }
        }
    }

    private static long sum(List<?> owners) throws IllegalAccessException {
        Map<Long, Long> buffers = new HashMap<>();
        for (Object owner : owners) {
            add(owner, buffers);
        }
        return buffers.values().stream().mapToLong(bytes -> bytes).sum();
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void isWhatAStepAllocates(AdapterKind kind) throws Exception {
        ModelConfig config = ModelConfig.small(512, 64, 2, 0, 1);
        Path tokenizer = dir.resolve("tokenizer");
        DefaultData.write(tokenizer);
        Path directory = dir.resolve("model");
        ModelWriter.write(
                directory,
                config,
                new Pretraining(config, 1, Exec.CPU).weights(),
                DType.F32,
                tokenizer);
        try (CausalLm lm = CausalLm.open(directory, Exec.CPU)) {
            MemoryEstimate estimate = lm.memory(AdapterOptions.of(kind), SEQUENCES, LENGTH);
            Adapter adapter = lm.attach(AdapterOptions.of(kind), 1);
            Llama model = lm.model();
            int[] tokens = new int[SEQUENCES * LENGTH];
            Arrays.fill(tokens, 7);
            adapter.beginStep(0);
            model.forward(SEQUENCES, LENGTH, tokens);
            model.loss(tokens, 1);
            model.backward();
            adapter.endStep();

            Field temporaries = Llama.class.getDeclaredField("temporaries");
            temporaries.setAccessible(true);
            List<Object> owners = new ArrayList<>(List.of(model, temporaries.get(model)));
            owners.addAll(model.layers());
            long alpha = 0;
            for (Llama.Layer layer : model.layers()) {
                alpha += layer.alphaInUse == null ? 0 : layer.alphaInUse.byteSize();
            }
            assertEquals(sum(owners) - alpha, estimate.activations(), "activations");
            assertEquals(
                    sum(List.copyOf(adapter.branches().values())), estimate.adapter(), "adapter");
            long values = adapter.parameters().size() * Float.BYTES;
            assertEquals(4 * values, sum(List.of(adapter.parameters())), "optimiser");
            assertEquals(8 * values, estimate.trained(), "with the copies on the heap");
            assertEquals(0, estimate.weights(), "float32 weights are mapped");
            assertTrue(estimate.mapped() > 0);
            assertTrue(estimate.fits());
            assertFalse(new MemoryEstimate(0, 0, 1, 1, 1, 2).fits(), "needs 3 bytes, there are 2");
        }
    }
}
