package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
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
import org.junit.jupiter.params.provider.CsvSource;
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

    static long sum(List<?> owners) throws IllegalAccessException {
        Map<Long, Long> buffers = new HashMap<>();
        for (Object owner : owners) {
            add(owner, buffers);
        }
        return buffers.values().stream().mapToLong(bytes -> bytes).sum();
    }

    static Object field(Object owner, String name) throws ReflectiveOperationException {
        Field field = owner.getClass().getDeclaredField(name);
        field.setAccessible(true);
        return field.get(owner);
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void isWhatAStepAllocates(AdapterKind kind) throws Exception {
        check(kind, DType.F32, false);
    }

    @ParameterizedTest
    @CsvSource({"F32, true", "BF16, false", "BF16, true"})
    void knowsTheFormOfWeightsAndActivations(DType type, boolean checkpointing) throws Exception {
        check(AdapterKind.LORA, type, checkpointing);
    }

    @ParameterizedTest
    @CsvSource({
        "LLAMA, F32, F32", "LLAMA, F32, BF16", "LLAMA, BF16, F32", "LLAMA, BF16, BF16",
        "QWEN2, F32, BF16", "QWEN2, BF16, F32", "GEMMA, F32, F32", "GEMMA, BF16, BF16"
    })
    void whatIsCheckedBeforeLoadingIsWhatLoadingTakes(
            ModelConfig.Family family, DType stored, DType wanted) {
        ModelConfig small = ModelConfig.small(512, 64, 2, 0, 1);
        ModelConfig config =
                new ModelConfig(
                        family,
                        small.vocabSize(),
                        small.hiddenSize(),
                        small.intermediateSize(),
                        small.layers(),
                        small.heads(),
                        small.kvHeads(),
                        small.headDim(),
                        small.maxPositionEmbeddings(),
                        small.rmsNormEps(),
                        true,
                        small.rope(),
                        0.02,
                        stored,
                        small.bosTokenId(),
                        small.eosTokenIds(),
                        small.padTokenId());
        Path directory = dir.resolve("model");
        ModelWriter.write(
                directory, config, new Pretraining(config, 1, Exec.CPU).weights(), stored, null);
        long before;
        try (Arena arena = Arena.ofConfined()) {
            before = Llama.convertedBytes(config, Checkpoint.open(directory, arena), wanted);
        }
        long[] loaded = Llama.load(directory, Exec.CPU, wanted).weightBytes();
        assertEquals(before, loaded[0]);
        assertEquals(
                stored == wanted && stored == DType.F32 && family != ModelConfig.Family.GEMMA,
                before == 0);
        MemoryEstimate.requireWeights(directory, before, wanted);
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () -> MemoryEstimate.requireWeights(directory, Long.MAX_VALUE, wanted));
        assertTrue(e.getMessage().contains("this machine has"), e.getMessage());
    }

    private void check(AdapterKind kind, DType type, boolean checkpointing) throws Exception {
        ModelConfig config = ModelConfig.small(512, 64, 2, 0, 1);
        Path tokenizer = dir.resolve("tokenizer");
        DefaultData.write(tokenizer);
        Path directory = dir.resolve("model");
        ModelWriter.write(
                directory, config, new Pretraining(config, 1, Exec.CPU).weights(), type, tokenizer);
        try (CausalLm lm = CausalLm.open(directory, Exec.CPU, type)) {
            lm.setCheckpointing(checkpointing);
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

            List<Object> owners =
                    new ArrayList<>(
                            List.of(model, field(model, "temporaries"), field(model, "products")));
            owners.addAll(model.layers());
            for (Llama.Layer layer : model.layers()) {
                owners.add(field(layer, "kept"));
            }
            List<Object> branches = new ArrayList<>(adapter.branches().values());
            for (LowRankBranch branch : adapter.branches().values()) {
                if (field(branch, "magnitude") != null) {
                    branches.add(field(branch, "magnitude"));
                }
            }
            long alpha = 0;
            for (Llama.Layer layer : model.layers()) {
                alpha += layer.alphaInUse == null ? 0 : layer.alphaInUse.byteSize();
            }
            assertEquals(sum(owners) - alpha, estimate.activations(), "activations");
            assertEquals(sum(branches), estimate.adapter(), "adapter");
            long values = adapter.parameters().size() * Float.BYTES;
            assertEquals(4 * values, sum(List.of(adapter.parameters())), "optimiser");
            assertEquals(8 * values, estimate.trained(), "with the copies on the heap");
            assertTrue(estimate.mapped() > estimate.weights(), "matrices are mapped");
            assertTrue(estimate.fits());
            assertFalse(new MemoryEstimate(0, 0, 1, 1, 1, 2).fits(), "needs 3 bytes, there are 2");
        }
    }
}
