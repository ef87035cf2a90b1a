package org.horosphere.finetune;

import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.SplittableRandom;
import org.horosphere.Exec;

/** A whole model trained from random weights: how the project's own small base model is made. */
public final class Pretraining implements Trainables {
    private static final double INITIAL_DEVIATION = 0.02;

    private final Parameters parameters = new Parameters();
    private final Llama model;

    /** A model with random weights, drawn from the seed alone. */
    public Pretraining(ModelConfig config, long seed, Exec exec) {
        OneDnn.ensureLoaded();
        model = new Llama(config, parameters::add, exec);
        parameters.allocate(exec);
        SplittableRandom random = new SplittableRandom(seed);
        double residual = INITIAL_DEVIATION / Math.sqrt(2.0 * config.layers());
        for (Tensor tensor : parameters.tensors()) {
            boolean intoResidual =
                    tensor.name().endsWith("o_proj.weight")
                            || tensor.name().endsWith("down_proj.weight");
            double mean = Llama.isNorm(tensor.name()) ? 1 : 0;
            double deviation = intoResidual ? residual : INITIAL_DEVIATION;
            fill(tensor, mean, tensor.shape().length == 1 ? 0 : deviation, random.split());
        }
    }

    private static void fill(
            Tensor tensor, double mean, double deviation, SplittableRandom random) {
        float[] values = new float[Math.toIntExact(tensor.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (mean + (deviation == 0 ? 0 : deviation * random.nextGaussian()));
        }
        Buffers.set(tensor.value(), values);
    }

    @Override
    public Parameters parameters() {
        return parameters;
    }

    /** The number of weights. */
    public long parameterCount() {
        return parameters.size();
    }

    public Trainer<Batches.Batch> trainer(TrainOptions options) {
        return new Trainer<>(model, this, options);
    }

    /** The weights under their checkpoint names. */
    public List<TensorData> weights() {
        return parameters.tensors().stream().map(this::stored).toList();
    }

    private TensorData stored(Tensor tensor) {
        float[] values = Buffers.toArray(tensor.value(), tensor.size());
        int offset = Llama.isNorm(tensor.name()) ? model.config().family().normOffset() : 0;
        for (int i = 0; offset != 0 && i < values.length; i++) {
            values[i] -= offset;
        }
        return TensorData.of(tensor.name(), values, tensor.shape());
    }

    /**
     * Packs texts, each between BOS and EOS, into full sequences: no padding, every token but a
     * row's first is predicted.
     *
     * @param texts read as far as batches are asked for
     */
    public static Iterator<Batches.Batch> pack(
            Iterator<String> texts, Tokenizer tokenizer, int batch, int length) {
        return new Iterator<>() {
            private int[] waiting = new int[0];

            @Override
            public boolean hasNext() {
                return true;
            }

            @Override
            public Batches.Batch next() {
                int[] tokens = new int[batch * length];
                int[] targets = new int[batch * length];
                for (int row = 0; row < batch; row++) {
                    while (waiting.length < length + 1) {
                        int[] ids = tokenizer.encode(texts.next());
                        int from = waiting.length;
                        waiting = Arrays.copyOf(waiting, from + ids.length + 2);
                        waiting[from] = tokenizer.bosId();
                        System.arraycopy(ids, 0, waiting, from + 1, ids.length);
                        waiting[from + ids.length + 1] = tokenizer.eosId();
                    }
                    System.arraycopy(waiting, 0, tokens, row * length, length);
                    System.arraycopy(waiting, 1, targets, row * length, length);
                    waiting = Arrays.copyOfRange(waiting, length, waiting.length);
                }
                int[] lengths = new int[batch];
                Arrays.fill(lengths, length);
                return new Batches.Batch(
                        batch, length, tokens, targets, lengths, (long) batch * length);
            }
        };
    }
}
