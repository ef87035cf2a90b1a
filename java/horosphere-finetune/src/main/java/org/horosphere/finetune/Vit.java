package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.DoubleSupplier;
import java.util.stream.Collectors;
import org.horosphere.Attention;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;

/**
 * A vision transformer for classification (Dosovitskiy et al., arXiv 2010.11929): forward, loss and
 * backward, composed of native kernels on float32 memory. Weights are frozen, but for a classifier
 * that belongs to an adapter.
 *
 * <p>One instance does one thing at a time; activations are kept between {@link #forward} and
 * {@link #backward}.
 */
final class Vit implements Transformer, Learner<Vit.Batch> {
    /**
     * Images as the model reads them.
     *
     * @param pixels (images, channels, height, width) float32, native
     * @param labels the class of each image
     */
    record Batch(MemorySegment pixels, int[] labels) {
        int images() {
            return labels.length;
        }
    }

    private final VitConfig config;
    private final float eps;
    private final Exec exec;
    private final Tensor classToken;
    private final Tensor positions;
    private final Linear patches;
    private final Norm finalNorm;
    private final List<Layer> layers = new ArrayList<>();
    private final Classifier classifier;
    private final WeightProducts products;

    private boolean checkpointing;
    private long capacity;
    private int images;
    private boolean training;
    private long tokens;
    private int[] labels;
    private MemorySegment finalInput;
    private MemorySegment finalStatistics;
    private MemorySegment finalOutput;
    private MemorySegment finalOutputGrad;
    private MemorySegment residualGrad;
    private MemorySegment classRows;
    private MemorySegment classRowGrads;
    private MemorySegment targets;
    private MemorySegment losses;
    private final MemorySegment gradientScale;
    private MemorySegment logits = Buffers.floats(0);
    private final Temporaries temporaries = new Temporaries();

    /** Scratch shared by all layers; nothing here outlives one layer's pass. */
    private static final class Temporaries {
        MemorySegment patches;
        MemorySegment hidden;
        MemorySegment query;
        MemorySegment key;
        MemorySegment value;
        MemorySegment mixed;
        MemorySegment wide;
        MemorySegment attention = Buffers.floats(0);
    }

    /** The weights of a LayerNorm. */
    private record Norm(Tensor weight, Tensor bias) {
        static Norm of(WeightSource source, String path, int width) {
            return new Norm(
                    source.tensor(path + ".weight", width), source.tensor(path + ".bias", width));
        }
    }

    /** What a block's backward pass needs of its forward pass, besides its input. */
    private final class Activations {
        /** Means, then reciprocal deviations. */
        private final MemorySegment inputStatistics;

        private final MemorySegment normed;
        private final MemorySegment query;
        private final MemorySegment key;
        private final MemorySegment value;
        private final MemorySegment lse;
        private final MemorySegment context;
        private final MemorySegment middle;
        private final MemorySegment middleStatistics;
        private final MemorySegment middleNormed;
        private final MemorySegment wide;
        private final MemorySegment active;

        Activations(long count) {
            int d = config.hiddenSize();
            long width = (long) config.heads() * config.headDim();
            inputStatistics = Buffers.floats(2 * count, exec);
            normed = Buffers.floats(count * d, exec);
            query = Buffers.floats(count * width, exec);
            key = Buffers.floats(count * width, exec);
            value = Buffers.floats(count * width, exec);
            lse = Buffers.floats(count * config.heads(), exec);
            context = Buffers.floats(count * width, exec);
            middle = Buffers.floats(count * d, exec);
            middleStatistics = Buffers.floats(2 * count, exec);
            middleNormed = Buffers.floats(count * d, exec);
            wide = Buffers.floats(count * config.intermediateSize(), exec);
            active = Buffers.floats(count * config.intermediateSize(), exec);
        }
    }

    /** One block: weights, and what its backward pass needs of the last forward pass. */
    final class Layer extends Block {
        final Linear q;
        final Linear k;
        final Linear v;
        final Linear o;
        final Linear fc1;
        final Linear fc2;
        private final Norm before;
        private final Norm after;
        private MemorySegment input;

        /** Of its own, or with checkpointing one that all blocks share. */
        private Activations kept;

        Layer(int index, WeightSource source) {
            super(index);
            String path = "vit.layers." + index + ".";
            int d = config.hiddenSize();
            int width = config.heads() * config.headDim();
            boolean bias = config.qkvBias();
            before = Norm.of(source, path + "layernorm_before", d);
            q = linear(source, path + "attention.q_proj", width, d, bias);
            k = linear(source, path + "attention.k_proj", width, d, bias);
            v = linear(source, path + "attention.v_proj", width, d, bias);
            o = linear(source, path + "attention.o_proj", d, width, true);
            after = Norm.of(source, path + "layernorm_after", d);
            fc1 = linear(source, path + "mlp.fc1", config.intermediateSize(), d, true);
            fc2 = linear(source, path + "mlp.fc2", d, config.intermediateSize(), true);
        }

        @Override
        String attentionPath() {
            return "vit.layers." + index + ".attention";
        }

        @Override
        List<Linear> linears() {
            return List.of(q, k, v, o, fc1, fc2);
        }

        /** Reads {@code input}, writes the block's output. */
        void forward(MemorySegment output) {
            int d = config.hiddenSize();
            norm(before, input, kept.normed, kept.inputStatistics);
            MemorySegment operand = products.operand(q.weight(), kept.normed, tokens * d);
            q.forward(kept.normed, operand, tokens, kept.query, products, exec);
            k.forward(kept.normed, operand, tokens, kept.key, products, exec);
            v.forward(kept.normed, operand, tokens, kept.value, products, exec);
            Attention shape = shape(images);
            Attention.forward(
                    exec,
                    shape,
                    kept.query,
                    kept.key,
                    kept.value,
                    alphaInUse,
                    null,
                    kept.context,
                    kept.lse,
                    workspace(shape, alphaInUse != null, false));
            operand = products.operand(o.weight(), kept.context, tokens * o.in());
            o.forward(kept.context, operand, tokens, kept.middle, products, exec);
            Layers.add(input, kept.middle, kept.middle, tokens * d, exec);
            norm(after, kept.middle, kept.middleNormed, kept.middleStatistics);
            operand = products.operand(fc1.weight(), kept.middleNormed, tokens * d);
            fc1.forward(kept.middleNormed, operand, tokens, kept.wide, products, exec);
            long n = tokens * config.intermediateSize();
            Layers.gelu_forward(kept.wide, kept.active, n, exec);
            operand = products.operand(fc2.weight(), kept.active, n);
            fc2.forward(kept.active, operand, tokens, output, products, exec);
            Layers.add(kept.middle, output, output, tokens * d, exec);
        }

        /**
         * Turns the gradient of the block's output into that of its input, in place.
         *
         * @param wantInput false in the lowest block: nothing below it is trained
         */
        void backward(MemorySegment grad, boolean wantInput) {
            if (checkpointing) {
                forward(temporaries.hidden);
            }
            long n = tokens * config.intermediateSize();
            fc2.backward(kept.active, grad, tokens, temporaries.wide, 0, products, exec);
            Layers.gelu_backward(temporaries.wide, kept.wide, temporaries.wide, n, exec);
            MemorySegment hidden = temporaries.hidden;
            fc1.backward(kept.middleNormed, temporaries.wide, tokens, hidden, 0, products, exec);
            normBackward(after, hidden, kept.middle, kept.middleStatistics, grad);

            o.backward(kept.context, grad, tokens, temporaries.mixed, 0, products, exec);
            Attention shape = shape(images);
            Attention.backward(
                    exec,
                    shape,
                    kept.query,
                    kept.key,
                    kept.value,
                    alphaInUse,
                    null,
                    kept.lse,
                    temporaries.mixed,
                    temporaries.query,
                    temporaries.key,
                    temporaries.value,
                    coeffAlpha == null ? null : coeffAlpha.grad(),
                    workspace(shape, alphaInUse != null, true));
            MemorySegment into = wantInput ? hidden : MemorySegment.NULL;
            q.backward(kept.normed, temporaries.query, tokens, into, 0, products, exec);
            k.backward(kept.normed, temporaries.key, tokens, into, 1, products, exec);
            v.backward(kept.normed, temporaries.value, tokens, into, 1, products, exec);
            if (wantInput) {
                normBackward(before, hidden, input, kept.inputStatistics, grad);
            }
        }
    }

    /** Where weights come from, under the names of transformers 5. */
    interface WeightSource {
        Tensor tensor(String name, long... shape);

        /** Whether there is such a tensor. */
        boolean has(String name);
    }

    Vit(VitConfig config, WeightSource made, Exec exec) {
        WeightSource source =
                new WeightSource() {
                    @Override
                    public Tensor tensor(String name, long... shape) {
                        return made.tensor(name, shape).on(exec);
                    }

                    @Override
                    public boolean has(String name) {
                        return made.has(name);
                    }
                };
        this.config = config;
        this.eps = (float) config.layerNormEps();
        this.exec = exec;
        this.products = new WeightProducts(exec);
        gradientScale = Buffers.floats(1, exec);
        int d = config.hiddenSize();
        String embeddings = "vit.embeddings.";
        classToken = source.tensor(embeddings + "cls_token", 1, 1, d);
        positions = source.tensor(embeddings + "position_embeddings", 1, config.length(), d);
        String projection = embeddings + "patch_embeddings.projection";
        Tensor kernel =
                source.tensor(
                        projection + ".weight",
                        d,
                        config.channels(),
                        config.patchHeight(),
                        config.patchWidth());
        // a convolution whose stride is its size is a product with each patch
        Tensor matrix =
                Tensor.frozen(kernel.name(), kernel.type(), kernel.value(), d, config.patchSize());
        patches = new Linear(projection, matrix, source.tensor(projection + ".bias", d));
        for (int i = 0; i < config.layers(); i++) {
            layers.add(new Layer(i, source));
        }
        finalNorm = Norm.of(source, "vit.layernorm", d);
        Classifier.Head base = null;
        if (source.has(Classifier.MODULE + ".weight")) {
            int classes = config.labels().size();
            base =
                    new Classifier.Head(
                            source.tensor(Classifier.MODULE + ".weight", classes, d),
                            source.tensor(Classifier.MODULE + ".bias", classes),
                            config.labels());
        }
        classifier = new Classifier(d, config.initializerRange(), base);
    }

    private static Linear linear(
            WeightSource source, String path, long out, long in, boolean bias) {
        return new Linear(
                path,
                source.tensor(path + ".weight", out, in),
                bias ? source.tensor(path + ".bias", out) : null);
    }

    /** A frozen float32 model from a Hugging Face directory. */
    static Vit load(Path directory, Exec exec) {
        return load(directory, exec, DType.F32);
    }

    /**
     * A frozen model from a Hugging Face directory; weights of the wanted type stay mapped, others
     * are converted into memory.
     *
     * @param type of the blocks' matrices, F32 or BF16; everything else is float32
     */
    static Vit load(Path directory, Exec exec, DType type) {
        VitConfig config = VitConfig.read(directory);
        Arena arena = Arena.ofAuto();
        Checkpoint checkpoint = Checkpoint.open(directory, arena);
        return new Vit(
                config,
                new WeightSource() {
                    @Override
                    public Tensor tensor(String name, long... shape) {
                        String stored = VitNames.stored(checkpoint, name);
                        if (type == DType.BF16 && shape.length == 2 && name.startsWith("vit.")) {
                            MemorySegment values = checkpoint.bfloats(stored, arena, shape);
                            return Tensor.frozen(name, type, values, shape);
                        }
                        return Tensor.frozen(name, checkpoint.floats(stored, arena, shape), shape);
                    }

                    @Override
                    public boolean has(String name) {
                        return checkpoint.has(VitNames.stored(checkpoint, name));
                    }
                },
                exec);
    }

    VitConfig config() {
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
        return AdapterFiles.Layout.VIT;
    }

    @Override
    public String linearLayers() {
        return "this model has q_proj, k_proj, v_proj, o_proj, fc1 and fc2";
    }

    @Override
    public Classifier classifier() {
        return classifier;
    }

    private List<String> linearPaths() {
        return layers.stream()
                .flatMap(layer -> layer.linears().stream())
                .map(Linear::path)
                .toList();
    }

    @Override
    public AdapterFiles translate(AdapterFiles files) {
        if (files.lowRank().keySet().stream().allMatch(p -> VitNames.current(p).equals(p))) {
            return files;
        }
        AdapterConfig old = files.config();
        Map<String, LowRank> lowRank = new TreeMap<>();
        Map<String, Integer> ranks = new LinkedHashMap<>();
        Map<String, Double> alphas = new LinkedHashMap<>();
        files.lowRank()
                .forEach(
                        (path, matrices) -> {
                            String name = VitNames.current(path);
                            lowRank.put(name, matrices);
                            if (old.rank(path) != old.r()) {
                                ranks.put(name, old.rank(path));
                            }
                            if (old.alpha(path) != old.loraAlpha()) {
                                alphas.put(name, old.alpha(path));
                            }
                        });
        return new AdapterFiles(
                old.withModules(TargetModules.of(shorten(lowRank.keySet())), ranks, alphas),
                lowRank,
                files.coeffAlpha(),
                files.layout(),
                files.head());
    }

    @Override
    public Set<String> translate(Set<String> targetModules) {
        Set<String> result = new LinkedHashSet<>();
        for (String target : targetModules) {
            TargetModules wanted = TargetModules.of(target);
            if (linearPaths().stream().anyMatch(wanted::matches)) {
                result.add(target);
                continue;
            }
            Set<String> meant =
                    linearPaths().stream()
                            .filter(path -> wanted.matches(VitNames.old(path)))
                            .collect(Collectors.toSet());
            result.addAll(meant.isEmpty() ? Set.of(target) : shorten(meant));
        }
        return result;
    }

    /** Module paths by their last names where that means no other module of this model. */
    private Set<String> shorten(Set<String> paths) {
        Set<String> result = new LinkedHashSet<>();
        for (String path : paths) {
            String last = path.substring(path.lastIndexOf('.') + 1);
            TargetModules all = TargetModules.of(last);
            boolean every = linearPaths().stream().filter(all::matches).allMatch(paths::contains);
            result.add(every ? last : path);
        }
        return result;
    }

    /**
     * Whether blocks keep only their inputs and repeat their forward pass in the backward pass: the
     * same bits for about a third more work (Chen et al., arXiv 1604.06174).
     */
    void setCheckpointing(boolean wanted) {
        checkpointing = wanted;
        capacity = 0;
    }

    /** The name of a tensor that holds a NaN or an infinity, null if there is none. */
    String firstNotFinite() {
        for (Tensor tensor : weights()) {
            if (!tensor.isFinite()) {
                return tensor.name();
            }
        }
        return null;
    }

    /** All tensors but the classifier's, by name, as checkpoints have them. */
    Map<String, long[]> shapes() {
        Map<String, long[]> shapes = new LinkedHashMap<>();
        for (Tensor tensor : weights()) {
            if (!tensor.name().startsWith(Classifier.MODULE + ".")) {
                shapes.put(tensor.name(), tensor.shape());
            }
        }
        shapes.put(
                patches.weight().name(),
                new long[] {
                    config.hiddenSize(),
                    config.channels(),
                    config.patchHeight(),
                    config.patchWidth()
                });
        return shapes;
    }

    private List<Tensor> weights() {
        List<Tensor> all = new ArrayList<>(List.of(classToken, positions, patches.weight()));
        for (Layer layer : layers) {
            all.addAll(List.of(layer.before.weight(), layer.before.bias()));
            all.addAll(List.of(layer.after.weight(), layer.after.bias()));
            for (Linear linear : layer.linears()) {
                all.add(linear.weight());
                if (linear.bias() != null) {
                    all.add(linear.bias());
                }
            }
        }
        all.addAll(List.of(patches.bias(), finalNorm.weight(), finalNorm.bias()));
        if (classifier.base() != null) {
            all.addAll(List.of(classifier.base().weight(), classifier.base().bias()));
        }
        return all;
    }

    @Override
    public long[] weightBytes() {
        long[] bytes = new long[2];
        for (Tensor tensor : weights()) {
            bytes[tensor.value().isMapped() ? 1 : 0] += tensor.size() * tensor.type().bytes();
        }
        return bytes;
    }

    /** Runs the model on images, keeping what backward needs. */
    void forward(Batch batch) {
        stage(batch);
        forwardStaged();
    }

    /** What the host does for a forward pass. */
    private void stage(Batch batch) {
        images = batch.images();
        tokens = (long) images * config.length();
        labels = batch.labels();
        reserve(images);
        cut(batch.pixels());
    }

    private void forwardStaged() {
        embed(layers.get(0).input);
        for (Layer layer : layers) {
            layer.forward(
                    layer.index + 1 < layers.size()
                            ? layers.get(layer.index + 1).input
                            : finalInput);
        }
        norm(finalNorm, finalInput, finalOutput, finalStatistics);
    }

    private void embed(MemorySegment output) {
        int d = config.hiddenSize();
        int count = config.patches();
        MemorySegment cutOut = temporaries.patches;
        MemorySegment embedded = temporaries.hidden;
        long rows = (long) images * count;
        patches.forward(cutOut, cutOut, rows, embedded, products, exec);
        long first = (long) config.length() * d;
        for (int i = 0; i < images; i++) {
            MemorySegment image = Buffers.slice(output, i * first, first);
            Layers.add(classToken.value(), positions.value(), image, d, exec);
            Layers.add(
                    Buffers.slice(embedded, (long) i * count * d, (long) count * d),
                    Buffers.slice(positions.value(), d, (long) count * d),
                    Buffers.slice(image, d, (long) count * d),
                    (long) count * d,
                    exec);
        }
    }

    /** Patches as rows (channel, y, x), from the left and the top. */
    private void cut(MemorySegment pixels) {
        MemorySegment rows = temporaries.patches;
        if (exec.isCuda()) {
            rows = Buffers.floats((long) images * config.patches() * config.patchSize());
        }
        int across = config.imageWidth() / config.patchWidth();
        int down = config.imageHeight() / config.patchHeight();
        int run = config.patchWidth();
        long to = 0;
        for (int image = 0; image < images; image++) {
            long start = (long) image * config.imageSize();
            for (int py = 0; py < down; py++) {
                for (int px = 0; px < across; px++) {
                    for (int row = 0; row < config.channels() * config.patchHeight(); row++) {
                        int channel = row / config.patchHeight();
                        int y = py * config.patchHeight() + row % config.patchHeight();
                        long from =
                                start
                                        + ((long) channel * config.imageHeight() + y)
                                                * config.imageWidth()
                                        + (long) px * run;
                        Buffers.copyFloats(pixels, from, rows, to, run);
                        to += run;
                    }
                }
            }
        }
        if (exec.isCuda()) {
            Buffers.set(temporaries.patches, rows);
        }
    }

    /** The logits of the last forward pass, (images, classes). */
    float[] logits() {
        computeLogits();
        return Buffers.toArray(logits, (long) images * head().classes());
    }

    private Classifier.Head head() {
        Classifier.Head head = classifier.head();
        if (head == null) {
            throw new IllegalStateException("classifier: this model has none");
        }
        return head;
    }

    private void computeLogits() {
        Classifier.Head head = head();
        int d = config.hiddenSize();
        long stride = (long) config.length() * d;
        for (int i = 0; i < images; i++) {
            Buffers.copyFloats(finalOutput, i * stride, classRows, (long) i * d, d);
        }
        int classes = head.classes();
        logits = Buffers.atLeast(logits, (long) images * classes * Float.BYTES, exec);
        products.forward(head.weight(), images, classRows, logits);
        Layers.bias_add(head.bias().value(), images, classes, logits, exec);
    }

    /**
     * The summed loss of the last forward pass, in nats.
     *
     * @param newGradientScale what each image's loss is multiplied by before {@link #backward}; NaN
     *     for no gradient
     */
    double loss(float newGradientScale) {
        stageTargets(newGradientScale);
        lossOfStaged();
        return lossLater().getAsDouble();
    }

    /** What the host does for a loss. */
    private void stageTargets(float newGradientScale) {
        training = !Float.isNaN(newGradientScale);
        Buffers.set(targets, labels);
        if (training) {
            Buffers.set(gradientScale, newGradientScale);
        }
    }

    private void lossOfStaged() {
        Classifier.Head head = head();
        int d = config.hiddenSize();
        int classes = head.classes();
        computeLogits();
        Layers.cross_entropy(
                logits,
                targets,
                images,
                classes,
                losses,
                training ? gradientScale : MemorySegment.NULL,
                exec);
        if (!training) {
            return;
        }
        Buffers.zero(finalOutputGrad, tokens * d * Float.BYTES);
        products.backward(head.weight(), images, logits, 0, classRowGrads);
        if (head.weight().isTrainable()) {
            Layers.bias_grad(logits, images, classes, head.bias().grad(), exec);
            Gemm.sgemm(
                    true,
                    false,
                    classes,
                    d,
                    images,
                    1,
                    logits,
                    classes,
                    classRows,
                    d,
                    1,
                    head.weight().grad(),
                    d,
                    exec);
        }
        long stride = (long) config.length() * d;
        for (int i = 0; i < images; i++) {
            Buffers.copyFloats(classRowGrads, (long) i * d, finalOutputGrad, i * stride, d);
        }
    }

    /** What decides the kernels of a pass and their sizes. */
    private record Shape(int images, boolean training) {}

    @Override
    public Object stage(Batch batch, float newGradientScale) {
        stage(batch);
        stageTargets(newGradientScale);
        return new Shape(images, training);
    }

    @Override
    public void computeLoss() {
        forwardStaged();
        lossOfStaged();
    }

    @Override
    public DoubleSupplier lossLater() {
        return Buffers.sumLater(losses, images);
    }

    @Override
    public long targets(Batch batch) {
        return batch.images();
    }

    @Override
    public long inputs(Batch batch) {
        return batch.images();
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
    void backward(Llama.HiddenGradients watcher) {
        int d = config.hiddenSize();
        if (watcher != null) {
            watcher.at(layers.size() + 1, Buffers.toArray(finalOutputGrad, tokens * d));
        }
        Buffers.zero(residualGrad, tokens * d * Float.BYTES);
        normBackward(finalNorm, finalOutputGrad, finalInput, finalStatistics, residualGrad);
        for (int i = layers.size() - 1; i >= 0; i--) {
            if (watcher != null) {
                watcher.at(i + 1, Buffers.toArray(residualGrad, tokens * d));
            }
            layers.get(i).backward(residualGrad, i > 0);
        }
    }

    /**
     * A hidden state of the last forward pass, (images * length, hidden): the input of a block;
     * after the last one what the final norm reads, and then what it writes.
     */
    float[] hidden(int index) {
        MemorySegment last = index == layers.size() ? finalInput : finalOutput;
        MemorySegment at = index < layers.size() ? layers.get(index).input : last;
        return Buffers.toArray(at, tokens * config.hiddenSize());
    }

    private void norm(Norm norm, MemorySegment x, MemorySegment out, MemorySegment statistics) {
        Layers.layernorm_forward(
                x,
                norm.weight().value(),
                norm.bias().value(),
                eps,
                tokens,
                config.hiddenSize(),
                out,
                Buffers.slice(statistics, 0, tokens),
                Buffers.slice(statistics, tokens, tokens),
                exec);
    }

    private void normBackward(
            Norm norm,
            MemorySegment dout,
            MemorySegment x,
            MemorySegment statistics,
            MemorySegment dx) {
        Layers.layernorm_backward(
                dout,
                x,
                norm.weight().value(),
                Buffers.slice(statistics, 0, tokens),
                Buffers.slice(statistics, tokens, tokens),
                tokens,
                config.hiddenSize(),
                dx,
                MemorySegment.NULL,
                MemorySegment.NULL,
                exec);
    }

    private Attention shape(int sequences) {
        int length = config.length();
        return Attention.tokenMajor(
                DType.F32,
                sequences,
                config.heads(),
                config.heads(),
                length,
                length,
                config.headDim(),
                false);
    }

    private MemorySegment workspace(Attention shape, boolean mixed, boolean backward) {
        temporaries.attention =
                Buffers.atLeast(
                        temporaries.attention, shape.workspaceBytes(exec, mixed, backward), exec);
        return temporaries.attention;
    }

    /**
     * Bytes that {@link #reserve} and the passes of a training step take, attention's scratch
     * included; the test compares it with what is allocated.
     */
    long activationBytes(int batch) {
        long count = (long) batch * config.length();
        long d = config.hiddenSize();
        long width = (long) config.heads() * config.headDim();
        long wide = config.intermediateSize();
        long kept = 3 * d + 4 * width + 2 * wide + config.heads() + 4;
        long shared = 5 * d + 4 * width + wide + 2;
        Classifier.Head head = classifier.head();
        long classes = head == null ? 0 : head.classes();
        long floats =
                count
                                * (config.layers() * d
                                        + (checkpointing ? 1 : config.layers()) * kept
                                        + shared)
                        + (long) batch * config.patches() * config.patchSize()
                        + batch * (2 * d + 2 + classes)
                        + 1;
        long rounded =
                layers.get(0).q.weight().type() == DType.F32
                        ? Float.BYTES // an empty buffer
                        : (long) Short.BYTES * count * Math.max(Math.max(d, wide), width);
        boolean mixed = layers.stream().anyMatch(l -> l.alphaInUse != null);
        Attention shape = shape(batch);
        return floats * Float.BYTES
                + rounded
                + Math.max(
                        shape.workspaceBytes(exec, mixed, false),
                        shape.workspaceBytes(exec, mixed, true));
    }

    private void reserve(int batch) {
        if (batch <= capacity) {
            return;
        }
        long count = (long) batch * config.length();
        int d = config.hiddenSize();
        long width = (long) config.heads() * config.headDim();
        targets = Buffers.ints(batch, exec);
        losses = Buffers.floats(batch, exec);
        classRows = Buffers.floats((long) batch * d, exec);
        classRowGrads = Buffers.floats((long) batch * d, exec);
        finalInput = Buffers.floats(count * d, exec);
        finalStatistics = Buffers.floats(2 * count, exec);
        finalOutput = Buffers.floats(count * d, exec);
        finalOutputGrad = Buffers.floats(count * d, exec);
        residualGrad = Buffers.floats(count * d, exec);
        temporaries.patches =
                Buffers.floats((long) batch * config.patches() * config.patchSize(), exec);
        temporaries.hidden = Buffers.floats(count * d, exec);
        temporaries.query = Buffers.floats(count * width, exec);
        temporaries.key = Buffers.floats(count * width, exec);
        temporaries.value = Buffers.floats(count * width, exec);
        temporaries.mixed = Buffers.floats(count * width, exec);
        temporaries.wide = Buffers.floats(count * config.intermediateSize(), exec);
        Activations shared = checkpointing ? new Activations(count) : null;
        for (Layer layer : layers) {
            layer.input = Buffers.floats(count * d, exec);
            layer.kept = checkpointing ? shared : new Activations(count);
        }
        capacity = batch;
    }
}
