package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleSupplier;
import java.util.stream.IntStream;
import org.horosphere.Attention;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;

/**
 * A decoder of the Llama kind: forward, loss and backward, composed of native kernels on float32
 * memory. What differs between families is data of {@link ModelConfig.Family}.
 *
 * <p>One instance does one thing at a time; activations are kept between {@link #forward} and
 * {@link #backward}. Base weights are frozen (mapped from the checkpoint) or, for pre-training,
 * trainable.
 */
final class Llama implements Transformer, Learner<Batches.Batch> {
    /**
     * Logits are made for this many numbers at a time, so that a large vocabulary needs little
     * memory; for whole tiles of rows of the products, where there is room for one.
     */
    private static final long LOGIT_BLOCK = 1 << 23;

    private static final long TILE_ROWS = 256;

    /** On a device the number of predictions is rounded up to so many parts of the tokens. */
    private static final int PREDICTION_PARTS = 8;

    /** On a device lengths are rounded up to a multiple of this. */
    private static final int DEVICE_LENGTHS = 8;

    private final ModelConfig config;
    private final float rmsNormEps;
    private final float embeddingScale;
    private final Exec exec;
    private final Tensor embedding;
    private final Tensor finalNorm;
    private final Tensor head;
    private final List<Layer> layers = new ArrayList<>();
    private final List<Tensor> weights = new ArrayList<>();
    private MemorySegment rotary = MemorySegment.NULL;
    private int rotaryPositions;

    private boolean checkpointing;
    private long capacity;
    private int batch;
    private int length;
    private long tokens;
    private int[] starts;
    private int predictions;
    private boolean training;
    private MemorySegment ids;
    private MemorySegment positions;
    private MemorySegment finalInput;
    private MemorySegment finalRstd;
    private MemorySegment finalOutput;
    private MemorySegment residualGrad;
    private MemorySegment finalOutputGrad;
    private MemorySegment targets;
    private MemorySegment losses;
    private final MemorySegment gradientScale;
    private MemorySegment packed;
    private MemorySegment packedGrad;
    private MemorySegment logits = Buffers.floats(0);
    private final Temporaries temporaries = new Temporaries();
    private final WeightProducts products;
    private final RowPacking packing;

    /** Scratch shared by all layers; nothing here outlives one layer's pass. */
    private static final class Temporaries {
        MemorySegment normed;
        MemorySegment active;
        MemorySegment hidden;
        MemorySegment query;
        MemorySegment key;
        MemorySegment value;
        MemorySegment mixed;
        MemorySegment ffnA;
        MemorySegment ffnB;
        MemorySegment ffnC;
        MemorySegment attention = Buffers.floats(0);
    }

    /**
     * What a block's backward pass needs of its forward pass, besides its input. What the norms and
     * the activation write is not kept: making it again costs less than memory for all blocks.
     */
    private final class Activations {
        private final MemorySegment inputRstd;
        private final MemorySegment query;
        private final MemorySegment key;
        private final MemorySegment value;
        private final MemorySegment lse;
        private final MemorySegment context;
        private final MemorySegment middle;
        private final MemorySegment middleRstd;
        private final MemorySegment gated;
        private final MemorySegment upped;

        Activations(long count) {
            int d = config.hiddenSize();
            long queryWidth = (long) config.heads() * config.headDim();
            long keyWidth = (long) config.kvHeads() * config.headDim();
            inputRstd = Buffers.floats(count, exec);
            query = Buffers.floats(count * queryWidth, exec);
            key = Buffers.floats(count * keyWidth, exec);
            value = Buffers.floats(count * keyWidth, exec);
            lse = Buffers.floats(count * config.heads(), exec);
            context = Buffers.floats(count * queryWidth, exec);
            middle = Buffers.floats(count * d, exec);
            middleRstd = Buffers.floats(count, exec);
            gated = Buffers.floats(count * config.intermediateSize(), exec);
            upped = Buffers.floats(count * config.intermediateSize(), exec);
        }
    }

    /**
     * One transformer block: weights, and what its backward pass needs of the last forward pass.
     */
    final class Layer extends Block {
        final Tensor inputNorm;
        final Tensor postNorm;
        final Linear q;
        final Linear k;
        final Linear v;
        final Linear o;
        final Linear gate;
        final Linear up;
        final Linear down;

        private MemorySegment input;

        /** Of its own, or with checkpointing one that all blocks share. */
        private Activations kept;

        Layer(int index, WeightSource source) {
            super(index);
            String prefix = "model.layers." + index + ".";
            int d = config.hiddenSize();
            int queryWidth = config.heads() * config.headDim();
            int keyWidth = config.kvHeads() * config.headDim();
            inputNorm = source.tensor(prefix + "input_layernorm.weight", d);
            boolean bias = config.family().qkvBias();
            q = linear(source, prefix + "self_attn.q_proj", queryWidth, d, bias);
            k = linear(source, prefix + "self_attn.k_proj", keyWidth, d, bias);
            v = linear(source, prefix + "self_attn.v_proj", keyWidth, d, bias);
            o = linear(source, prefix + "self_attn.o_proj", d, queryWidth, false);
            postNorm = source.tensor(prefix + "post_attention_layernorm.weight", d);
            int wide = config.intermediateSize();
            gate = linear(source, prefix + "mlp.gate_proj", wide, d, false);
            up = linear(source, prefix + "mlp.up_proj", wide, d, false);
            down = linear(source, prefix + "mlp.down_proj", d, wide, false);
        }

        @Override
        String attentionPath() {
            return "model.layers." + index + ".self_attn";
        }

        @Override
        List<Linear> linears() {
            return List.of(q, k, v, o, gate, up, down);
        }

        /** Reads {@code input}, writes the block's output. */
        void forward(MemorySegment output) {
            int d = config.hiddenSize();
            MemorySegment normed = normedInput(tokens);
            MemorySegment operand = products.operand(q.weight(), normed, tokens * d);
            q.forward(normed, operand, tokens, kept.query, products, exec);
            k.forward(normed, operand, tokens, kept.key, products, exec);
            v.forward(normed, operand, tokens, kept.value, products, exec);
            rotate(kept.query, config.heads(), tokens, positions, false);
            rotate(kept.key, config.kvHeads(), tokens, positions, false);
            attend();
            output(tokens);
            Layers.add(input, kept.middle, kept.middle, tokens * d, exec);
            feedForward(tokens, output);
        }

        /** What q, k and v read, valid until the next norm. */
        private MemorySegment normedInput(long count) {
            return norm(input, inputNorm, count, kept.inputRstd);
        }

        /** What gate and up read, likewise. */
        private MemorySegment normedMiddle(long count) {
            return norm(kept.middle, postNorm, count, kept.middleRstd);
        }

        private MemorySegment norm(MemorySegment x, Tensor weight, long count, MemorySegment rstd) {
            MemorySegment normed = temporaries.normed;
            int d = config.hiddenSize();
            Layers.rmsnorm_forward(x, weight.value(), rmsNormEps, count, d, normed, rstd, exec);
            return normed;
        }

        /** What down reads, valid until the next block's. */
        private MemorySegment activate(long count) {
            MemorySegment active = temporaries.active;
            long n = count * config.intermediateSize();
            switch (config.family().activation()) {
                case SILU -> Layers.swiglu_forward(kept.gated, kept.upped, active, n, exec);
                case GELU_TANH -> Layers.geglu_forward(kept.gated, kept.upped, active, n, exec);
            }
            return active;
        }

        private void output(long count) {
            MemorySegment operand = products.operand(o.weight(), kept.context, count * o.in());
            o.forward(kept.context, operand, count, kept.middle, products, exec);
        }

        private void feedForward(long count, MemorySegment output) {
            int d = config.hiddenSize();
            MemorySegment normed = normedMiddle(count);
            MemorySegment operand = products.operand(gate.weight(), normed, count * d);
            gate.forward(normed, operand, count, kept.gated, products, exec);
            up.forward(normed, operand, count, kept.upped, products, exec);
            MemorySegment active = activate(count);
            operand = products.operand(down.weight(), active, count * config.intermediateSize());
            down.forward(active, operand, count, output, products, exec);
            Layers.add(kept.middle, output, output, count * d, exec);
        }

        private void attend() {
            long wide = (long) config.heads() * config.headDim();
            long narrow = (long) config.kvHeads() * config.headDim();
            eachPiece(
                    (shape, from, count) ->
                            Attention.forward(
                                    exec,
                                    shape,
                                    Buffers.slice(kept.query, from * wide, count * wide),
                                    Buffers.slice(kept.key, from * narrow, count * narrow),
                                    Buffers.slice(kept.value, from * narrow, count * narrow),
                                    alphaInUse,
                                    null,
                                    Buffers.slice(kept.context, from * wide, count * wide),
                                    Buffers.slice(
                                            kept.lse,
                                            from * config.heads(),
                                            count * config.heads()),
                                    workspace(shape, alphaInUse != null, false)));
        }

        /** The gradients of what attention read, into the temporaries. */
        private void attendBackward() {
            long wide = (long) config.heads() * config.headDim();
            long narrow = (long) config.kvHeads() * config.headDim();
            eachPiece(
                    (shape, from, count) ->
                            Attention.backward(
                                    exec,
                                    shape,
                                    Buffers.slice(kept.query, from * wide, count * wide),
                                    Buffers.slice(kept.key, from * narrow, count * narrow),
                                    Buffers.slice(kept.value, from * narrow, count * narrow),
                                    alphaInUse,
                                    null,
                                    Buffers.slice(
                                            kept.lse,
                                            from * config.heads(),
                                            count * config.heads()),
                                    Buffers.slice(temporaries.mixed, from * wide, count * wide),
                                    Buffers.slice(temporaries.query, from * wide, count * wide),
                                    Buffers.slice(temporaries.key, from * narrow, count * narrow),
                                    Buffers.slice(temporaries.value, from * narrow, count * narrow),
                                    coeffAlpha == null ? null : coeffAlpha.grad(),
                                    workspace(shape, alphaInUse != null, true)));
        }

        /**
         * Turns the gradient of the block's output into that of its input, in place.
         *
         * @param wantInput false in the lowest block when nothing below it is trained
         */
        void backward(MemorySegment grad, boolean wantInput) {
            if (checkpointing) {
                forward(temporaries.hidden);
            }
            int d = config.hiddenSize();
            long n = tokens * config.intermediateSize();
            MemorySegment active = down.readsInput() ? activate(tokens) : MemorySegment.NULL;
            down.backward(active, grad, tokens, temporaries.ffnA, 0, products, exec);
            MemorySegment dactive = temporaries.ffnA;
            MemorySegment dgate = temporaries.ffnB;
            MemorySegment dup = temporaries.ffnC;
            switch (config.family().activation()) {
                case SILU ->
                        Layers.swiglu_backward(
                                dactive, kept.gated, kept.upped, dgate, dup, n, exec);
                case GELU_TANH ->
                        Layers.geglu_backward(dactive, kept.gated, kept.upped, dgate, dup, n, exec);
            }
            boolean read = gate.readsInput() || up.readsInput();
            MemorySegment normed = read ? normedMiddle(tokens) : MemorySegment.NULL;
            gate.backward(normed, dgate, tokens, temporaries.hidden, 0, products, exec);
            up.backward(normed, dup, tokens, temporaries.hidden, 1, products, exec);
            Layers.rmsnorm_backward(
                    temporaries.hidden,
                    kept.middle,
                    postNorm.value(),
                    kept.middleRstd,
                    tokens,
                    d,
                    grad,
                    postNorm.grad(),
                    exec);

            o.backward(kept.context, grad, tokens, temporaries.mixed, 0, products, exec);
            attendBackward();
            rotate(temporaries.query, config.heads(), tokens, positions, true);
            rotate(temporaries.key, config.kvHeads(), tokens, positions, true);
            MemorySegment into = wantInput ? temporaries.hidden : MemorySegment.NULL;
            read = q.readsInput() || k.readsInput() || v.readsInput();
            normed = read ? normedInput(tokens) : MemorySegment.NULL;
            q.backward(normed, temporaries.query, tokens, into, 0, products, exec);
            k.backward(normed, temporaries.key, tokens, into, 1, products, exec);
            v.backward(normed, temporaries.value, tokens, into, 1, products, exec);
            if (wantInput) {
                Layers.rmsnorm_backward(
                        temporaries.hidden,
                        input,
                        inputNorm.value(),
                        kept.inputRstd,
                        tokens,
                        d,
                        grad,
                        inputNorm.grad(),
                        exec);
            }
        }
    }

    /**
     * Where weights come from: a checkpoint (frozen) or an initialiser (trainable). Weights of
     * norms are those that multiply, the family's offset included.
     */
    interface WeightSource {
        Tensor tensor(String name, long... shape);
    }

    Llama(ModelConfig config, WeightSource made, Exec exec) {
        WeightSource source =
                (name, shape) -> {
                    weights.add(made.tensor(name, shape).on(exec));
                    return weights.get(weights.size() - 1);
                };
        this.config = config;
        this.rmsNormEps = (float) config.rmsNormEps();
        this.embeddingScale =
                config.family().scalesEmbedding() ? (float) Math.sqrt(config.hiddenSize()) : 1;
        this.exec = exec;
        this.products = new WeightProducts(exec);
        this.packing = new RowPacking(exec);
        gradientScale = Buffers.floats(1, exec);
        embedding =
                source.tensor("model.embed_tokens.weight", config.vocabSize(), config.hiddenSize());
        for (int i = 0; i < config.layers(); i++) {
            layers.add(new Layer(i, source));
        }
        finalNorm = source.tensor("model.norm.weight", config.hiddenSize());
        head =
                config.tieWordEmbeddings()
                        ? embedding
                        : source.tensor("lm_head.weight", config.vocabSize(), config.hiddenSize());
    }

    /** A frozen float32 model from a Hugging Face directory. */
    static Llama load(Path directory, Exec exec) {
        return load(directory, exec, DType.F32);
    }

    /**
     * A frozen model from a Hugging Face directory; weights of the wanted type stay mapped, others
     * are converted into memory.
     *
     * @param type of the matrices, F32 or BF16; norms and biases are float32
     */
    static Llama load(Path directory, Exec exec, DType type) {
        ModelConfig config = ModelConfig.read(directory);
        Arena arena = Arena.ofAuto();
        Checkpoint checkpoint = Checkpoint.open(directory, arena);
        MemoryEstimate.requireWeights(directory, convertedBytes(config, checkpoint, type), type);
        return new Llama(
                config,
                (name, shape) -> {
                    DType stored = storage(type, shape);
                    if (stored == DType.BF16) {
                        MemorySegment values = checkpoint.bfloats(name, arena, shape);
                        return Tensor.frozen(name, stored, values, shape);
                    }
                    MemorySegment values = checkpoint.floats(name, arena, shape);
                    int offset = offset(config, name);
                    return Tensor.frozen(name, offset == 0 ? values : plus(values, offset), shape);
                },
                exec);
    }

    private static DType storage(DType type, long[] shape) {
        return shape.length == 2 ? type : DType.F32;
    }

    private static int offset(ModelConfig config, String name) {
        return isNorm(name) ? config.family().normOffset() : 0;
    }

    /** Bytes of the weights that {@link #load} has to make in memory: not mapped as they are. */
    static long convertedBytes(ModelConfig config, Checkpoint checkpoint, DType type) {
        long[] bytes = {0};
        new Llama(
                config,
                (name, shape) -> {
                    TensorData tensor = checkpoint.tensor(name, shape);
                    DType stored = storage(type, shape);
                    if (!tensor.isStoredAs(stored) || offset(config, name) != 0) {
                        bytes[0] += tensor.elements() * stored.bytes();
                    }
                    return Tensor.frozen(name, MemorySegment.NULL, shape);
                },
                Exec.CPU);
        return bytes[0];
    }

    /** The name of a tensor that holds a NaN or an infinity, null if there is none. */
    String firstNotFinite() {
        for (Tensor tensor : weights) {
            if (!tensor.isFinite()) {
                return tensor.name();
            }
        }
        return null;
    }

    private static Linear linear(
            WeightSource source, String path, long out, long in, boolean bias) {
        return new Linear(
                path,
                source.tensor(path + ".weight", out, in),
                bias ? source.tensor(path + ".bias", out) : null);
    }

    /** Whether this is the weight of an RMSNorm. */
    static boolean isNorm(String name) {
        return name.endsWith("norm.weight");
    }

    private static MemorySegment plus(MemorySegment values, int offset) {
        long n = values.byteSize() / Float.BYTES;
        MemorySegment sums = Buffers.floats(n);
        for (long i = 0; i < n; i++) {
            float x = values.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            sums.setAtIndex(ValueLayout.JAVA_FLOAT, i, x + offset);
        }
        return sums;
    }

    ModelConfig config() {
        return config;
    }

    @Override
    public Exec exec() {
        return exec;
    }

    @Override
    public List<Layer> layers() {
        return layers;
    }

    @Override
    public int heads() {
        return config.heads();
    }

    @Override
    public AdapterFiles.Layout layout() {
        return AdapterFiles.Layout.DECODER;
    }

    @Override
    public String linearLayers() {
        return "this model has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj";
    }

    /**
     * What decides the kernels of a pass and their sizes.
     *
     * @param starts of pieces; null if every row is one
     */
    private record Shape(
            int batch, int length, int predictions, boolean training, List<Integer> starts) {}

    @Override
    public Object stage(Batches.Batch given, float newGradientScale) {
        Batches.Batch rows = exec.isCuda() && given.starts() == null ? widened(given) : given;
        stage(rows.batch(), rows.length(), rows.tokens(), rows.starts());
        stageTargets(rows.targets(), newGradientScale);
        return new Shape(
                batch,
                length,
                predictions,
                training,
                starts == null ? null : IntStream.of(starts).boxed().toList());
    }

    /** Some more padding, so that fewer lengths occur and products are of whole tiles. */
    private Batches.Batch widened(Batches.Batch given) {
        int old = given.length();
        int wide = Math.ceilDiv(old, DEVICE_LENGTHS) * DEVICE_LENGTHS;
        wide = Math.min(wide, config.maxPositionEmbeddings());
        if (wide <= old) {
            return given;
        }
        int[] newTokens = new int[given.batch() * wide];
        int[] newTargets = new int[given.batch() * wide];
        Arrays.fill(newTargets, Dataset.IGNORE);
        for (int row = 0; row < given.batch(); row++) {
            System.arraycopy(given.tokens(), row * old, newTokens, row * wide, old);
            System.arraycopy(given.targets(), row * old, newTargets, row * wide, old);
        }
        return new Batches.Batch(
                given.batch(), wide, newTokens, newTargets, given.lengths(), given.targetCount());
    }

    @Override
    public void computeLoss() {
        forwardStaged();
        lossOfStaged();
    }

    @Override
    public DoubleSupplier lossLater() {
        return Buffers.sumLater(losses, predictions);
    }

    @Override
    public long targets(Batches.Batch batch) {
        return batch.targetCount();
    }

    @Override
    public long inputs(Batches.Batch batch) {
        return IntStream.of(batch.lengths()).sum();
    }

    /**
     * Whether blocks keep only their inputs and repeat their forward pass in the backward pass: the
     * same bits for about a third more work and, in deep models, a fraction of the memory (Chen et
     * al., arXiv 1604.06174).
     */
    void setCheckpointing(boolean wanted) {
        checkpointing = wanted;
        capacity = 0;
    }

    /** Runs the model on (batch, length) token ids, keeping what backward needs. */
    void forward(int newBatch, int newLength, int[] tokenIds) {
        stage(newBatch, newLength, tokenIds, null);
        forwardStaged();
    }

    /** The same on a batch whose rows may hold several pieces. */
    void forward(Batches.Batch rows) {
        stage(rows.batch(), rows.length(), rows.tokens(), rows.starts());
        forwardStaged();
    }

    /**
     * What the host does for a forward pass.
     *
     * @param newStarts where pieces begin that do not see each other, see {@link
     *     Batches.Batch#starts}; positions restart there. Null: every row is one
     */
    private void stage(int newBatch, int newLength, int[] tokenIds, int[] newStarts) {
        if (newLength > config.maxPositionEmbeddings()) {
            throw new IllegalArgumentException(
                    "length: "
                            + newLength
                            + " tokens, the model has positions for "
                            + config.maxPositionEmbeddings());
        }
        batch = newBatch;
        length = newLength;
        starts = newStarts;
        tokens = (long) newBatch * newLength;
        reserve(tokens);
        reserveRotary(length);
        Buffers.set(ids, tokenIds);
        int[] inPiece = new int[tokenIds.length];
        eachPiece(
                (shape, from, count) -> {
                    for (int i = 0; i < count; i++) {
                        inPiece[(int) from + i] = (int) (i % shape.qLen());
                    }
                });
        Buffers.set(positions, inPiece);
    }

    private void forwardStaged() {
        int d = config.hiddenSize();
        MemorySegment first = layers.isEmpty() ? finalInput : layers.get(0).input;
        embed(first);
        for (Layer layer : layers) {
            layer.forward(
                    layer.index + 1 < layers.size()
                            ? layers.get(layer.index + 1).input
                            : finalInput);
        }
        Layers.rmsnorm_forward(
                finalInput, finalNorm.value(), rmsNormEps, tokens, d, finalOutput, finalRstd, exec);
    }

    private void embed(MemorySegment output) {
        int d = config.hiddenSize();
        Layers.embedding_forward(
                ids,
                embedding.type(),
                embedding.value(),
                tokens,
                config.vocabSize(),
                d,
                output,
                exec);
        if (embeddingScale != 1) {
            Layers.scale(embeddingScale, output, tokens * d, exec);
        }
    }

    /**
     * The summed loss of the last forward pass, in nats.
     *
     * @param nextTokens (batch, length): the token each position is to predict, negative where
     *     there is none
     * @param newGradientScale what each token's loss is multiplied by before {@link #backward}; NaN
     *     for no gradient
     */
    double loss(int[] nextTokens, float newGradientScale) {
        stageTargets(nextTokens, newGradientScale);
        lossOfStaged();
        return lossLater().getAsDouble();
    }

    /** What the host does for a loss. */
    private void stageTargets(int[] nextTokens, float newGradientScale) {
        training = !Float.isNaN(newGradientScale);
        int all = Math.toIntExact(tokens);
        int[] rows = new int[all];
        int count = 0;
        for (int i = 0; i < all; i++) {
            if (nextTokens[i] >= 0) {
                rows[count++] = i;
            }
        }
        predictions = count;
        if (exec.isCuda()) {
            // as many for most batches of a shape: rows that predict nothing add nothing
            int part = Math.ceilDiv(all, PREDICTION_PARTS);
            predictions = Math.min(all, Math.ceilDiv(count, part) * part);
            int next = count;
            for (int i = 0; next < predictions; i++) {
                if (nextTokens[i] < 0) {
                    rows[next++] = i;
                }
            }
        }
        int[] chosen = Arrays.copyOf(rows, predictions);
        packing.choose(chosen);
        Buffers.set(targets, Arrays.stream(chosen).map(row -> nextTokens[row]).toArray());
        if (training) {
            Buffers.set(gradientScale, newGradientScale);
        }
    }

    private void lossOfStaged() {
        int d = config.hiddenSize();
        int vocab = config.vocabSize();
        if (training) {
            Buffers.zero(finalOutputGrad, tokens * d * Float.BYTES);
        }
        int block = logitRows(tokens);
        logits = Buffers.atLeast(logits, (long) block * vocab * Float.BYTES, exec);
        for (int from = 0; from < predictions; from += block) {
            int n = Math.min(block, predictions - from);
            packing.gather(finalOutput, tokens, from, n, d, packed);
            logits(packed, n, logits);
            Layers.cross_entropy(
                    logits,
                    Buffers.slice(targets, from, n),
                    n,
                    vocab,
                    Buffers.slice(losses, from, n),
                    training ? gradientScale : MemorySegment.NULL,
                    exec);
            if (training) {
                MemorySegment operand = products.operand(head, logits, (long) n * vocab);
                products.backward(head, n, operand, 0, packedGrad);
                if (head.isTrainable()) {
                    Gemm.sgemm(
                            true,
                            false,
                            vocab,
                            d,
                            n,
                            1,
                            logits,
                            vocab,
                            packed,
                            d,
                            1,
                            head.grad(),
                            d,
                            exec);
                }
                packing.scatter(packedGrad, from, n, d, finalOutputGrad, tokens);
            }
        }
    }

    private int logitRows(long count) {
        long rows = Math.max(1, LOGIT_BLOCK / config.vocabSize());
        return (int) Math.min(count, rows < TILE_ROWS ? rows : rows - rows % TILE_ROWS);
    }

    /** Told the gradient of the loss by a hidden state, counted as in {@link #hidden}. */
    interface HiddenGradients {
        void at(int index, float[] grad);
    }

    @Override
    public void backward() {
        backward(null);
    }

    /**
     * The same.
     *
     * @param watcher told the gradients of the final norm's output and of the blocks', last one
     *     first; or null
     */
    void backward(HiddenGradients watcher) {
        int d = config.hiddenSize();
        if (watcher != null) {
            watcher.at(layers.size() + 1, Buffers.toArray(finalOutputGrad, tokens * d));
        }
        Buffers.zero(residualGrad, tokens * d * Float.BYTES);
        Layers.rmsnorm_backward(
                finalOutputGrad,
                finalInput,
                finalNorm.value(),
                finalRstd,
                tokens,
                d,
                residualGrad,
                finalNorm.grad(),
                exec);
        for (int i = layers.size() - 1; i >= 0; i--) {
            if (watcher != null) {
                watcher.at(i + 1, Buffers.toArray(residualGrad, tokens * d));
            }
            layers.get(i).backward(residualGrad, i > 0 || embedding.isTrainable());
        }
        if (embedding.isTrainable()) {
            if (embeddingScale != 1) {
                Layers.scale(embeddingScale, residualGrad, tokens * d, exec);
            }
            Layers.embedding_backward(
                    ids, residualGrad, tokens, config.vocabSize(), d, embedding.grad(), exec);
        }
    }

    /** The logits of all positions of the last forward pass, (batch * length, vocab). */
    float[] allLogits() {
        MemorySegment result = Buffers.floats(tokens * config.vocabSize(), exec);
        logits(finalOutput, tokens, result);
        return Buffers.toArray(result, tokens * config.vocabSize());
    }

    private void logits(MemorySegment normed, long count, MemorySegment result) {
        MemorySegment operand = products.operand(head, normed, count * config.hiddenSize());
        products.forward(head, count, operand, result);
    }

    /**
     * A hidden state of the last forward pass, (batch * length, hidden): the input of a block;
     * after the last one what the final norm reads, and then what it writes.
     */
    float[] hidden(int index) {
        return Buffers.toArray(hiddenMemory(index), tokens * config.hiddenSize());
    }

    private MemorySegment hiddenMemory(int index) {
        MemorySegment last = index == layers.size() ? finalInput : finalOutput;
        return index < layers.size() ? layers.get(index).input : last;
    }

    /** Runs the model on one sequence and shows the observer what flows through it. */
    void forward(int[] tokenIds, ForwardObserver observer) {
        List<Linear> linears = layers.stream().flatMap(layer -> layer.linears().stream()).toList();
        linears.forEach(linear -> linear.observe(observer));
        try {
            forward(1, tokenIds.length, tokenIds);
        } finally {
            linears.forEach(linear -> linear.observe(null));
        }
        for (int block = 0; block <= layers.size(); block++) {
            int width = config.hiddenSize();
            MemorySegment states = Buffers.host(hiddenMemory(block), tokens * width * Float.BYTES);
            observer.hidden(block, states, tokens, width);
        }
    }

    /** The input embeddings, (vocab, hidden). */
    Tensor embeddings() {
        return embedding;
    }

    /** Keys and values of the tokens decoded so far. */
    final class Cache {
        private final int limit;
        private final List<MemorySegment> keys = new ArrayList<>();
        private final List<MemorySegment> values = new ArrayList<>();
        private final MemorySegment logitRow = Buffers.floats(config.vocabSize(), exec);
        private int used;

        Cache(int limit) {
            this.limit = Math.min(limit, config.maxPositionEmbeddings());
            long width = (long) config.kvHeads() * config.headDim();
            for (int i = 0; i < layers.size(); i++) {
                keys.add(Buffers.floats(this.limit * width, exec));
                values.add(Buffers.floats(this.limit * width, exec));
            }
        }

        int used() {
            return used;
        }

        int limit() {
            return limit;
        }

        /** Becomes a copy of another cache of this model with the same limit. */
        void copyFrom(Cache other) {
            long count = (long) other.used * config.kvHeads() * config.headDim();
            for (int i = 0; i < keys.size(); i++) {
                Buffers.copyFloats(other.keys.get(i), 0, keys.get(i), 0, count);
                Buffers.copyFloats(other.values.get(i), 0, values.get(i), 0, count);
            }
            used = other.used;
        }
    }

    Cache cache(int limit) {
        return new Cache(limit);
    }

    /**
     * Appends tokens to a cached sequence and returns the logits after the last one.
     *
     * @return (vocab) floats, valid until the next call with this cache
     */
    MemorySegment extend(Cache cache, int[] next) {
        int count = next.length;
        if (cache.used + count > cache.limit) {
            throw new IllegalArgumentException(
                    "tokens: " + (cache.used + count) + ", the cache holds " + cache.limit);
        }
        batch = 1;
        length = count;
        tokens = count;
        reserve(tokens);
        reserveRotary(cache.used + count);
        Buffers.set(ids, next);
        Buffers.set(positions, IntStream.range(cache.used, cache.used + count).toArray());
        int d = config.hiddenSize();
        long width = (long) config.kvHeads() * config.headDim();
        int total = cache.used + count;
        Attention shape = shape(1, count, total);
        embed(layers.get(0).input);
        for (Layer layer : layers) {
            MemorySegment normed = layer.normedInput(tokens);
            MemorySegment newKeys =
                    Buffers.slice(cache.keys.get(layer.index), cache.used * width, count * width);
            MemorySegment newValues =
                    Buffers.slice(cache.values.get(layer.index), cache.used * width, count * width);
            MemorySegment operand = products.operand(layer.q.weight(), normed, tokens * d);
            layer.q.forward(normed, operand, tokens, layer.kept.query, products, exec);
            layer.k.forward(normed, operand, tokens, newKeys, products, exec);
            layer.v.forward(normed, operand, tokens, newValues, products, exec);
            rotate(layer.kept.query, config.heads(), tokens, positions, false);
            rotate(newKeys, config.kvHeads(), tokens, positions, false);
            Attention.forward(
                    exec,
                    shape,
                    layer.kept.query,
                    cache.keys.get(layer.index),
                    cache.values.get(layer.index),
                    layer.alphaInUse,
                    null,
                    layer.kept.context,
                    null,
                    workspace(shape, layer.alphaInUse != null, false));
            layer.output(tokens);
            Layers.add(layer.input, layer.kept.middle, layer.kept.middle, tokens * d, exec);
            layer.feedForward(
                    tokens,
                    layer.index + 1 < layers.size()
                            ? layers.get(layer.index + 1).input
                            : finalInput);
        }
        MemorySegment last = Buffers.slice(finalInput, (long) (count - 1) * d, d);
        Layers.rmsnorm_forward(
                last, finalNorm.value(), rmsNormEps, 1, d, finalOutput, finalRstd, exec);
        logits(finalOutput, 1, cache.logitRow);
        cache.used = total;
        return Buffers.host(cache.logitRow, (long) config.vocabSize() * Float.BYTES);
    }

    /** Rows that attend to themselves only, so many tokens from the one of this number on. */
    private interface Piece {
        void at(Attention shape, long from, long count);
    }

    /** All rows at once where each is one piece. */
    private void eachPiece(Piece piece) {
        if (starts == null) {
            piece.at(shape(batch, length, length), 0, tokens);
            return;
        }
        for (int i = 0; i < starts.length; i++) {
            int end = i + 1 < starts.length ? starts[i + 1] : Math.toIntExact(tokens);
            int count = end - starts[i];
            piece.at(shape(1, count, count), starts[i], count);
        }
    }

    private Attention shape(int sequences, int queries, int keys) {
        return Attention.tokenMajor(
                DType.F32,
                sequences,
                config.heads(),
                config.kvHeads(),
                queries,
                keys,
                config.headDim(),
                true);
    }

    private MemorySegment workspace(Attention shape, boolean mixed, boolean backward) {
        temporaries.attention =
                Buffers.atLeast(
                        temporaries.attention, shape.workspaceBytes(exec, mixed, backward), exec);
        return temporaries.attention;
    }

    private void rotate(MemorySegment x, int heads, long count, MemorySegment at, boolean inverse) {
        Layers.rope(
                x,
                count,
                (long) heads * config.headDim(),
                heads,
                config.headDim(),
                rotary,
                rotaryPositions,
                at,
                inverse,
                exec);
    }

    /** The table is grown to the positions in use: a model may claim 131,072 of them. */
    private void reserveRotary(int count) {
        if (count <= rotaryPositions) {
            return;
        }
        rotaryPositions =
                Math.min(config.maxPositionEmbeddings(), Math.max(count, 2 * rotaryPositions));
        int half = config.headDim() / 2;
        float[] inverseFrequency = config.rope().inv_freq();
        float[] table = new float[Math.multiplyExact(rotaryPositions, config.headDim())];
        for (int position = 0; position < rotaryPositions; position++) {
            for (int i = 0; i < half; i++) {
                // the angle is rounded to float32 first, as the reference implementation does
                float angle = position * inverseFrequency[i];
                int row = position * config.headDim();
                table[row + i] = (float) Math.cos(angle);
                table[row + half + i] = (float) Math.sin(angle);
            }
        }
        rotary = Buffers.floats(table.length, exec);
        Buffers.set(rotary, table);
    }

    /**
     * Bytes that {@link #reserve} and the passes of a training step take, attention's and the
     * logits' scratch included; the test compares it with what is allocated.
     */
    long activationBytes(int sequences, int positionsPerSequence) {
        long count = (long) sequences * positionsPerSequence;
        long d = config.hiddenSize();
        long queryWidth = (long) config.heads() * config.headDim();
        long keyWidth = (long) config.kvHeads() * config.headDim();
        long wide = config.intermediateSize();
        long kept = d + 2 * queryWidth + 2 * keyWidth + 2 * wide + config.heads() + 2;
        long shared = 8 * d + 2 * queryWidth + 2 * keyWidth + 4 * wide + 5;
        long vocab = config.vocabSize();
        long block = logitRows(count);
        long floats =
                count
                                * (config.layers() * d
                                        + (checkpointing ? 1 : config.layers()) * kept
                                        + shared)
                        + block * vocab
                        + (long) positionsPerSequence * config.headDim()
                        + 1;
        long widest = count * Math.max(Math.max(d, wide), queryWidth);
        long rounded =
                embedding.type() == DType.F32
                        ? Float.BYTES // an empty buffer
                        : embedding.type().bytes() * Math.max(widest, block * vocab);
        boolean mixed = layers.stream().anyMatch(l -> l.alphaInUse != null);
        Attention shape = shape(sequences, positionsPerSequence, positionsPerSequence);
        return floats * Float.BYTES
                + rounded
                + Math.max(
                        shape.workspaceBytes(exec, mixed, false),
                        shape.workspaceBytes(exec, mixed, true));
    }

    @Override
    public long[] weightBytes() {
        long[] bytes = new long[2];
        for (Tensor tensor : weights) {
            bytes[tensor.value().isMapped() ? 1 : 0] += tensor.size() * tensor.type().bytes();
        }
        return bytes;
    }

    private void reserve(long count) {
        if (count <= capacity) {
            return;
        }
        int d = config.hiddenSize();
        long queryWidth = (long) config.heads() * config.headDim();
        long keyWidth = (long) config.kvHeads() * config.headDim();
        ids = Buffers.ints(count, exec);
        positions = Buffers.ints(count, exec);
        targets = Buffers.ints(count, exec);
        losses = Buffers.floats(count, exec);
        finalInput = Buffers.floats(count * d, exec);
        finalRstd = Buffers.floats(count, exec);
        finalOutput = Buffers.floats(count * d, exec);
        finalOutputGrad = Buffers.floats(count * d, exec);
        residualGrad = Buffers.floats(count * d, exec);
        packed = Buffers.floats(count * d, exec);
        packedGrad = Buffers.floats(count * d, exec);
        temporaries.normed = Buffers.floats(count * d, exec);
        temporaries.active = Buffers.floats(count * config.intermediateSize(), exec);
        temporaries.hidden = Buffers.floats(count * d, exec);
        temporaries.query = Buffers.floats(count * queryWidth, exec);
        temporaries.key = Buffers.floats(count * keyWidth, exec);
        temporaries.value = Buffers.floats(count * keyWidth, exec);
        temporaries.mixed = Buffers.floats(count * queryWidth, exec);
        temporaries.ffnA = Buffers.floats(count * config.intermediateSize(), exec);
        temporaries.ffnB = Buffers.floats(count * config.intermediateSize(), exec);
        temporaries.ffnC = Buffers.floats(count * config.intermediateSize(), exec);
        Activations shared = checkpointing ? new Activations(count) : null;
        for (Layer layer : layers) {
            layer.input = Buffers.floats(count * d, exec);
            layer.kept = checkpointing ? shared : new Activations(count);
        }
        capacity = count;
    }
}
