package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Layers;

/**
 * Times whole training steps of an adapter on a model of random weights, and the matrix products
 * they cannot avoid.
 */
public final class TrainingBenchmark {
    private final ModelConfig config;
    private final DType weights;
    private final Exec exec;
    private final Llama model;
    private final Adapter adapter;
    private final Batches.Batch batch;
    private long step;

    /**
     * @param kind what is trained, on the papers' target layers with rank 8
     * @param sequences per step
     * @param length tokens per sequence
     * @param weights type of the frozen matrices, F32 or BF16
     * @param checkpointing as {@link CausalLm#setCheckpointing}
     */
    public TrainingBenchmark(
            ModelConfig config,
            AdapterKind kind,
            int sequences,
            int length,
            DType weights,
            boolean checkpointing,
            Exec exec) {
        OneDnn.ensureLoaded();
        this.config = config;
        this.weights = weights;
        this.exec = exec;
        SplittableRandom random = new SplittableRandom(1);
        model =
                new Llama(
                        config,
                        (name, shape) -> {
                            Tensor tensor = Tensor.trainable(name, shape);
                            if (shape.length == 1 || weights == DType.F32) {
                                MemorySegment value = Buffers.floats(tensor.size());
                                fill(value, tensor, random);
                                return Tensor.frozen(name, value, shape);
                            }
                            MemorySegment stored = Buffers.floats((tensor.size() + 1) / 2);
                            try (Arena arena = Arena.ofConfined()) {
                                MemorySegment value =
                                        arena.allocate(tensor.size() * Float.BYTES, 64);
                                fill(value, tensor, random);
                                Layers.convert_from_f32(
                                        value, weights, stored, tensor.size(), exec);
                            }
                            return Tensor.frozen(name, weights, stored, shape);
                        },
                        exec);
        model.setCheckpointing(checkpointing);
        adapter = Adapter.create(model, AdapterOptions.of(kind), 1);
        int[] tokens = random.ints((long) sequences * length, 0, config.vocabSize()).toArray();
        int[] targets = random.ints((long) sequences * length, 0, config.vocabSize()).toArray();
        int[] lengths = new int[sequences];
        Arrays.fill(lengths, length);
        batch = new Batches.Batch(sequences, length, tokens, targets, lengths, tokens.length);
    }

    private static void fill(MemorySegment value, Tensor tensor, SplittableRandom random) {
        for (long i = 0; i < tensor.size(); i++) {
            boolean norm = tensor.shape().length == 1;
            float x = norm ? 1 : 0.02f * (float) random.nextGaussian();
            value.setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
        }
    }

    /** Takes one optimiser step and returns its wall-clock seconds. */
    public double step() {
        long started = System.nanoTime();
        Parameters parameters = adapter.parameters();
        parameters.clearGradients();
        adapter.beginStep((int) step);
        model.forward(batch.batch(), batch.length(), batch.tokens());
        model.loss(batch.targets(), 1f / batch.targetCount());
        model.backward();
        adapter.endStep();
        double norm = parameters.gradientNorm();
        parameters.adamw(1e-4f, 0, ++step, (float) Math.min(1, 1 / norm));
        return (System.nanoTime() - started) / 1e9;
    }

    /** Tokens of one step. */
    public long tokens() {
        return batch.targetCount();
    }

    /**
     * Floating-point operations of the products with frozen weights in one step: forward, and
     * backward to the inputs.
     */
    public double flops() {
        double d = config.hiddenSize();
        double q = (double) config.heads() * config.headDim();
        double kv = (double) config.kvHeads() * config.headDim();
        double attention = d * q + 2 * d * kv + q * d;
        double mlp = 3 * d * config.intermediateSize();
        double all = config.layers() * (attention + mlp) + d * config.vocabSize();
        double notNeeded = d * q + 2 * d * kv; // nothing below the lowest layer is trained
        return 2 * tokens() * (2 * all - notNeeded);
    }

    /**
     * The machine's rate at one of the model's own products, in floating-point operations per
     * second: best of several.
     */
    public double gemmRate() {
        long m = tokens();
        long n = config.intermediateSize();
        long k = config.hiddenSize();
        MemorySegment x = Buffers.floats(m * k);
        Tensor w = Tensor.frozen("w", weights, Buffers.floats(n * k), n, k);
        WeightProducts products = new WeightProducts(exec);
        MemorySegment y = Buffers.floats(m * n);
        x.fill((byte) 1);
        w.value().fill((byte) 1);
        MemorySegment operand = products.operand(w, x, m * k);
        double best = Double.POSITIVE_INFINITY;
        for (int i = 0; i < 30; i++) {
            long started = System.nanoTime();
            products.forward(w, m, operand, y);
            best = Math.min(best, (System.nanoTime() - started) / 1e9);
        }
        return 2.0 * m * n * k / best;
    }
}
