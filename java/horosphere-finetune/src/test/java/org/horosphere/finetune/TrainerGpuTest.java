package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.IntFunction;
import org.horosphere.DType;
import org.horosphere.Device;
import org.horosphere.Exec;
import org.horosphere.Layers;
import org.horosphere.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Training on a CUDA device against the CPU; skipped with the reason where there is none. The build
 * runs it on the emulated one, which also counts what the host waits for.
 */
class TrainerGpuTest {
    private static final int STEPS = 4;
    private static final int GRAPH_STEPS = 9;
    private static final double RATE = 0.01;
    private static final int[] TOKENS = {1, 5, 9, 3, 3, 16, 2, 1, 7, 7, 12, 4};
    private static final int[] TARGETS = {5, 9, 3, -100, 16, 2, 7, 7, 12, 4, -100, -100};
    private static final String LIBRARY = "libhorosphere_cuda.so";

    private Stream stream;
    private Exec exec;

    @BeforeEach
    void needsADevice() {
        OneDnn.ensureLoaded();
        boolean present = !Device.list().isEmpty();
        if (emulated() != null) {
            assertTrue(present, () -> "no emulated device: " + Device.reason());
        }
        if (!present) {
            System.out.println("skipped, no CUDA device: " + Device.reason());
        }
        Assumptions.assumeTrue(present, () -> "no CUDA device: " + Device.reason());
        Device device = Device.list().get(0);
        stream = Stream.create(device);
        exec = Exec.cuda(device, stream);
    }

    @AfterEach
    void close() {
        if (exec != null) {
            exec.close();
            stream.close();
        }
    }

    /** The emulated library, null where there is none. */
    private static Path emulated() {
        String folder = System.getProperty("horo.emulated");
        Path library = folder == null ? null : Path.of(folder, LIBRARY);
        return library != null && Files.exists(library) ? library : null;
    }

    /** What happened so far on the emulated device: waits, allocations, kernels, copies. */
    private static long[] counts() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment counts = arena.allocate(ValueLayout.JAVA_LONG, 4);
            Linker.nativeLinker()
                    .downcallHandle(
                            SymbolLookup.libraryLookup(emulated(), arena)
                                    .find("horo_fake_counts")
                                    .orElseThrow(),
                            FunctionDescriptor.ofVoid(ValueLayout.ADDRESS))
                    .invokeExact(counts);
            return counts.toArray(ValueLayout.JAVA_LONG);
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }

    private static Llama model(ModelConfig.Family family, DType type, Exec exec) {
        ModelConfig config = TinyLlama.config(family, true);
        Random random = new Random(7);
        return new Llama(config, (name, shape) -> weight(name, type, random, shape), exec);
    }

    private static Tensor weight(String name, DType type, Random random, long... shape) {
        long size = 1;
        for (long extent : shape) {
            size *= extent;
        }
        MemorySegment values = Buffers.floats(size);
        double mean = Llama.isNorm(name) ? 1 : 0;
        for (long i = 0; i < size; i++) {
            float x = (float) (mean + 0.4 * random.nextGaussian());
            values.setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
        }
        if (type == DType.F32 || shape.length == 1) {
            return Tensor.frozen(name, values, shape);
        }
        MemorySegment rounded = Arena.ofAuto().allocate(size * type.bytes(), 64);
        Layers.convert_from_f32(values, type, rounded, size, Exec.CPU);
        return Tensor.frozen(name, type, rounded, shape);
    }

    private static Batches.Batch batch(int shift) {
        int[] tokens = TOKENS.clone();
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = (tokens[i] + shift) % 17;
        }
        return new Batches.Batch(2, 6, tokens, TARGETS, new int[] {6, 6}, 9);
    }

    /** What a run gave, and per step what the host waited for and allocated. */
    private record Outcome(
            double[] losses,
            double[] norms,
            double validation,
            float[] start,
            float[] end,
            List<long[]> counts) {}

    private static Outcome train(Llama model, AdapterOptions options, int accumulation) {
        return train(model, Adapter.create(model, options, 3), accumulation, i -> batch(i));
    }

    private static <B> Outcome train(
            Learner<B> model, Adapter adapter, int accumulation, IntFunction<B> batch) {
        TrainOptions train = new TrainOptions(STEPS, 2, accumulation, RATE, 0, 0.1, 1, STEPS, 5);
        List<B> batches = new ArrayList<>();
        for (int i = 0; i < STEPS * accumulation; i++) {
            batches.add(batch.apply(i));
        }
        double[] losses = new double[STEPS];
        double[] norms = new double[STEPS];
        float[] start = adapter.parameters().snapshot();
        List<long[]> counts = new ArrayList<>();
        boolean counting = model.exec().isCuda() && emulated() != null;
        new Trainer<>(model, adapter, train)
                .run(
                        batches.iterator(),
                        List.of(),
                        new Trainer.Listener() {
                            @Override
                            public void stepped(
                                    int step, double loss, double rate, double norm, long inputs) {
                                losses[step - 1] = loss;
                                norms[step - 1] = norm;
                                if (counting) {
                                    counts.add(counts());
                                }
                            }

                            @Override
                            public void validated(int step, double loss, boolean best) {}
                        });
        double validation = Trainer.meanLoss(model, List.of(batch.apply(11)));
        float[] end = adapter.parameters().snapshot();
        adapter.detach();
        return new Outcome(losses, norms, validation, start, end, counts);
    }

    private static AdapterOptions options(AdapterKind kind) {
        return new AdapterOptions(
                kind,
                2,
                4,
                Set.of("q_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
                0.7,
                0.25);
    }

    private static double rms(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
        }
        return Math.sqrt(sum / a.length);
    }

    @ParameterizedTest
    @CsvSource({
        "lora, LLAMA, F32, false",
        "dora, LLAMA, F32, false",
        "hyplora, LLAMA, F32, false",
        "coeff, LLAMA, F32, false",
        "hyplora+coeff, LLAMA, F32, true",
        "dora+coeff, QWEN2, F32, true",
        "lora+coeff, GEMMA, F32, false",
        "lora, LLAMA, BF16, true",
        "dora, GEMMA, BF16, false",
        "hyplora, LLAMA, BF16, false",
        "coeff, QWEN2, BF16, false",
    })
    void trainsAsTheCpuDoes(
            String kind, ModelConfig.Family family, DType type, boolean checkpointing) {
        AdapterOptions options = options(AdapterKind.of(kind));
        List<Outcome> runs = new ArrayList<>();
        for (Exec on : List.of(Exec.CPU, exec, exec)) {
            Llama model = model(family, type, on);
            model.setCheckpointing(checkpointing);
            runs.add(train(model, options, 2));
        }
        Outcome cpu = runs.get(0);
        Outcome device = runs.get(1);
        assertArrayEquals(cpu.start(), device.start(), 1e-6f); // DoRA computes its lengths
        requireNear(kind + " " + family + " " + type, type, cpu, device);
        assertArrayEquals(device.losses(), runs.get(2).losses());
        assertArrayEquals(device.norms(), runs.get(2).norms());
        assertArrayEquals(device.end(), runs.get(2).end());
    }

    @ParameterizedTest
    @CsvSource({"lora, true", "hyplora+coeff, false"})
    void imageClassifiersTrainAsOnTheCpu(String kind, boolean head) {
        List<Outcome> runs = new ArrayList<>();
        for (Exec on : List.of(Exec.CPU, exec)) {
            TinyVit tiny = new TinyVit(true, on);
            tiny.model.classifier().want(head ? List.of("a", "b", "c") : null);
            List<Vit.Batch> batches = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                batches.add(TinyVit.batch(tiny.pixels(2), i % 3, (i + 1) % 3));
            }
            AdapterOptions options =
                    new AdapterOptions(
                            AdapterKind.of(kind), 2, 4, Set.of("q_proj", "fc2"), 0.7, 0.25);
            Adapter adapter = Adapter.create(tiny.model, options, 3);
            runs.add(train(tiny.model, adapter, 1, batches::get));
        }
        requireNear(kind + " on images", DType.F32, runs.get(0), runs.get(1));
    }

    /**
     * Sums are in another order, products in another grouping: some float32 roundings per number,
     * which AdamW, dividing by the gradient's size, passes on where that is small. In bfloat16 such
     * a difference now and then turns the rounding of an activation, by up to 2^-8 of it.
     */
    private static void requireNear(String what, DType type, Outcome cpu, Outcome device) {
        double rounding = type == DType.F32 ? 2e-6 : 0x1p-8;
        String differences =
                String.format(
                        "%s: loss %.3g norm %.3g validation %.3g weights %.3g of %.3g%n",
                        what,
                        worst(cpu.losses(), device.losses()),
                        worst(cpu.norms(), device.norms()),
                        Math.abs(cpu.validation() - device.validation()) / cpu.validation(),
                        rms(cpu.end(), device.end()),
                        rms(cpu.end(), cpu.start()));
        assertTrue(worst(cpu.losses(), device.losses()) <= rounding, differences);
        assertTrue(worst(cpu.norms(), device.norms()) <= 10 * rounding, differences);
        assertEquals(cpu.validation(), device.validation(), rounding * cpu.validation());
        double moved = rms(cpu.end(), cpu.start());
        assertTrue(rms(cpu.end(), device.end()) <= 50 * rounding * moved, differences);
        assertTrue(moved > RATE / 10, differences);
    }

    private static double worst(double[] a, double[] b) {
        double worst = 0;
        for (int i = 0; i < a.length; i++) {
            worst = Math.max(worst, Math.abs(a[i] - b[i]) / Math.abs(a[i]));
        }
        return worst;
    }

    @ParameterizedTest
    @CsvSource({"hyplora+coeff, F32", "dora, BF16", "hyplora, BF16"})
    void aStepWaitsOnce(String kind, DType type) {
        Assumptions.assumeTrue(emulated() != null, "only the emulated device counts");
        Llama model = model(ModelConfig.Family.LLAMA, type, exec);
        Outcome run = train(model, options(AdapterKind.of(kind)), 3);
        for (int i = 1; i < STEPS; i++) {
            long[] before = run.counts().get(i - 1);
            long[] after = run.counts().get(i);
            assertEquals(1, after[0] - before[0], "waits in step " + (i + 1));
            assertEquals(0, after[1] - before[1], "allocations in step " + (i + 1));
            if (i > 1) { // recorded in step 2: a graph per batch is all that is enqueued
                assertEquals(3, after[2] - before[2], "kernels in step " + (i + 1));
            }
        }
    }

    /** Two rows or a longer one, with different numbers of predictions. */
    private static Batches.Batch mixedBatch(int i) {
        int length = i % 3 == 2 ? 9 : 5;
        int[] lengths = new int[length == 9 ? 1 : 2];
        Arrays.fill(lengths, length);
        int[] tokens = new int[lengths.length * length];
        int[] targets = new int[tokens.length];
        int count = 5 + i % 2;
        for (int j = 0; j < tokens.length; j++) {
            tokens[j] = (3 * i + 5 * j) % 17;
            targets[j] = (j * 7 + i) % tokens.length < count ? (tokens[j] + i + 1) % 17 : -100;
        }
        return new Batches.Batch(lengths.length, length, tokens, targets, lengths, count);
    }

    private record Replayed(
            List<Double> losses, List<Double> norms, List<Double> validation, float[] end) {}

    /** Trains with graphs or without, validating on longer batches now and then. */
    private <B> long train(
            Learner<B> model,
            Adapter adapter,
            int accumulation,
            IntFunction<B> batch,
            boolean graphs,
            List<Replayed> to) {
        int steps = GRAPH_STEPS;
        TrainOptions train = new TrainOptions(steps, 2, accumulation, RATE, 2, 0.1, 0.7, 4, 0, 5);
        List<B> batches = new ArrayList<>();
        for (int i = 0; i < steps * accumulation; i++) {
            batches.add(batch.apply(i));
        }
        Replayed all = new Replayed(new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), null);
        Trainer<B> trainer = new Trainer<>(model, adapter, train);
        trainer.graphs().setWanted(graphs);
        trainer.run(
                batches.iterator(),
                List.of(batch.apply(1), batch.apply(2)),
                new Trainer.Listener() {
                    @Override
                    public void stepped(
                            int step, double loss, double rate, double norm, long inputs) {
                        all.losses().add(loss);
                        all.norms().add(norm);
                    }

                    @Override
                    public void validated(int step, double loss, boolean best) {
                        all.validation().add(loss);
                    }
                });
        float[] end = adapter.parameters().snapshot();
        adapter.detach();
        to.add(new Replayed(all.losses(), all.norms(), all.validation(), end));
        return trainer.graphs().launches();
    }

    private static void assertSameBits(Replayed want, Replayed got) {
        assertEquals(want.losses(), got.losses());
        assertEquals(want.norms(), got.norms());
        assertEquals(want.validation(), got.validation());
        assertArrayEquals(want.end(), got.end());
    }

    /**
     * Rate and number of the step, the mean's divisor, masks, K and s, ids and lengths: a graph
     * that kept one of them from its recording would give another loss.
     */
    @ParameterizedTest
    @CsvSource({
        "hyplora+coeff, GEMMA, F32, 2, true",
        "dora+coeff, QWEN2, F32, 1, false",
        "hyplora, LLAMA, BF16, 1, false",
    })
    void graphsGiveTheBitsOfTrainingWithoutThem(
            String kind,
            ModelConfig.Family family,
            DType type,
            int accumulation,
            boolean checkpointing) {
        List<Replayed> runs = new ArrayList<>();
        for (boolean graphs : new boolean[] {false, true}) {
            Llama model = model(family, type, exec);
            model.setCheckpointing(checkpointing);
            Adapter adapter = Adapter.create(model, options(AdapterKind.of(kind)), 3);
            long launches =
                    train(model, adapter, accumulation, TrainerGpuTest::mixedBatch, graphs, runs);
            int micro = GRAPH_STEPS * accumulation;
            assertTrue(
                    graphs ? launches >= micro / 3 && launches < micro : launches == 0,
                    launches + " of " + micro);
        }
        assertSameBits(runs.get(0), runs.get(1));
    }

    @Test
    void graphsOfImageClassifiersToo() {
        List<Replayed> runs = new ArrayList<>();
        for (boolean graphs : new boolean[] {false, true}) {
            TinyVit tiny = new TinyVit(true, exec);
            tiny.model.classifier().want(List.of("a", "b", "c"));
            List<Vit.Batch> batches = new ArrayList<>();
            for (int i = 0; i < GRAPH_STEPS; i++) {
                batches.add(TinyVit.batch(tiny.pixels(2), i % 3, (i + 1) % 3));
            }
            AdapterOptions options =
                    new AdapterOptions(
                            AdapterKind.of("hyplora+coeff"),
                            2,
                            4,
                            Set.of("q_proj", "fc2"),
                            0.7,
                            0.25);
            Adapter adapter = Adapter.create(tiny.model, options, 3);
            long launches = train(tiny.model, adapter, 1, batches::get, graphs, runs);
            assertEquals(graphs ? GRAPH_STEPS - 1 : 0, launches);
        }
        assertSameBits(runs.get(0), runs.get(1));
    }

    @Test
    void workThatTakesNumbersFromTheHostIsNotRecorded() {
        MemorySegment there = Buffers.floats(1, exec);
        try (StepGraphs graphs = new StepGraphs(exec)) {
            for (int i = 1; i <= 4; i++) {
                float value = i;
                graphs.run("work", () -> Buffers.set(there, value));
                assertEquals(value, Buffers.toArray(there, 1)[0]);
            }
            assertEquals(0, graphs.launches());
        }
    }

    @Test
    void graphsAreDroppedWhenMemoryWasMade() {
        MemorySegment there = Buffers.floats(1, exec);
        try (StepGraphs graphs = new StepGraphs(exec)) {
            Runnable work = () -> Buffers.zero(there, Float.BYTES);
            for (int i = 0; i < 3; i++) {
                graphs.run("work", work);
            }
            assertEquals(2, graphs.launches());
            Buffers.floats(1, exec);
            graphs.run("work", work); // as it is: where things are has to be learnt again
            assertEquals(2, graphs.launches());
            graphs.run("work", work);
            for (int i = 0; i < 40; i++) {
                graphs.run(i, work); // more kinds than are kept
            }
            graphs.run("work", work);
            assertEquals(3, graphs.launches());
        }
    }

    @Test
    void generatesAsTheCpuDoes() {
        List<float[]> logits = new ArrayList<>();
        for (Exec on : List.of(Exec.CPU, exec)) {
            Llama model = model(ModelConfig.Family.LLAMA, DType.F32, on);
            Llama.Cache cache = model.cache(12);
            model.extend(cache, new int[] {1, 5, 9});
            logits.add(model.extend(cache, new int[] {4}).toArray(ValueLayout.JAVA_FLOAT));
        }
        assertArrayEquals(logits.get(0), logits.get(1), 1e-5f);
    }
}
