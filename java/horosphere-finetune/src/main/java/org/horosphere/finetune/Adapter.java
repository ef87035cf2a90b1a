package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.horosphere.Exec;
import org.horosphere.Layers;

/**
 * A trainable adapter on a frozen model: low-rank branches of linear layers, mixing coefficients of
 * attention maps, or both; on an image classifier also the output layer. Freshly attached it leaves
 * the model's output as it is, unless the classes are new.
 */
public final class Adapter implements Trainables {
    private final Transformer model;
    private final AdapterKind kind;
    private final AdapterConfig config;
    private final double coeffDropout;
    private final Parameters parameters = new Parameters();
    private final long seed;

    /** What each coefficient of a layer is multiplied by in this step: 0, or 1/(1-p). */
    private final Map<Integer, MemorySegment> masks = new TreeMap<>();

    /** The coefficients of a layer after that. */
    private final Map<Integer, MemorySegment> thinned = new TreeMap<>();

    private Adapter(
            Transformer model,
            AdapterKind kind,
            AdapterConfig config,
            List<String> classes,
            double coeffDropout,
            long seed) {
        this.model = model;
        this.kind = kind;
        this.config = config;
        this.coeffDropout = coeffDropout;
        this.seed = seed;
        int branches = 0;
        for (Block layer : model.layers()) {
            for (Linear linear : layer.linears()) {
                if (kind.isLowRank() && config.adapts(linear.path())) {
                    linear.attach(
                            new LowRankBranch(
                                    parameters,
                                    linear.path(),
                                    linear.weight(),
                                    config.rank(linear.path()),
                                    config.scaling(linear.path()),
                                    config.gain(),
                                    kind.isDora(),
                                    model.exec()));
                    branches++;
                }
            }
            if (kind.mixesHeads()) {
                int heads = model.heads();
                layer.coeffAlpha =
                        parameters.add(layer.attentionPath() + ".coeff_alpha", heads, heads);
            }
        }
        if (kind.isLowRank() && branches == 0) {
            throw new IllegalArgumentException(
                    "targets: "
                            + config.targetModules()
                            + " match no linear layer; "
                            + model.linearLayers());
        }
        if (classes != null) {
            model.classifier().replace(parameters, classes);
        }
        parameters.allocate(model.exec());
        useAllCoefficients();
    }

    static Adapter create(Transformer model, AdapterOptions options, long seed) {
        AdapterConfig config =
                AdapterConfig.of(
                                options.kind().peftType(),
                                options.rank(),
                                options.alpha(),
                                0,
                                TargetModules.of(model.translate(options.targets())),
                                null)
                        .withVariant(options.rankStabilized(), options.kind().isDora());
        Classifier classifier = model.classifier();
        List<String> classes = classifier == null ? null : classifier.wanted();
        if (classifier != null) {
            config = config.ofImageClassifier(classes != null);
        }
        Adapter adapter =
                new Adapter(model, options.kind(), config, classes, options.coeffDropout(), seed);
        SplittableRandom random = new SplittableRandom(seed);
        if (classes != null) {
            classifier.initialise(random.split());
        }
        adapter.branches()
                .values()
                .forEach(
                        b -> b.initialise(random.split(), options.curvatureRadius(), model.exec()));
        return adapter;
    }

    static Adapter load(Transformer model, Path directory) {
        AdapterFiles files = model.translate(AdapterFiles.read(directory));
        if (!files.coeffAlpha().isEmpty() && files.layout() != model.layout()) {
            throw misfit(directory, "it mixes the attention maps of another kind of model");
        }
        AdapterFiles.Head head = files.head();
        if (head != null) {
            requireHead(model, directory, head);
        }
        Adapter adapter;
        try {
            adapter =
                    new Adapter(
                            model,
                            AdapterKind.of(files),
                            files.config(),
                            head == null ? null : labels(model, head),
                            0,
                            0);
        } catch (IllegalArgumentException e) {
            throw misfit(directory, e.getMessage());
        }
        Map<String, LowRankBranch> branches = adapter.branches();
        for (String path : files.lowRank().keySet()) {
            if (!branches.containsKey(path)) {
                throw misfit(directory, "it has weights for " + path + ", the model has no such");
            }
        }
        for (String path : branches.keySet()) {
            if (!files.lowRank().containsKey(path)) {
                throw misfit(directory, "it has no weights for " + path);
            }
        }
        branches.forEach(
                (path, branch) -> {
                    LowRank from = files.lowRank().get(path);
                    if (!branch.accepts(from)) {
                        throw misfit(
                                directory,
                                "%s is for %d to %d features, the model's has %d to %d"
                                        .formatted(
                                                path,
                                                from.in(),
                                                from.out(),
                                                branch.in(),
                                                branch.out()));
                    }
                    branch.set(from.a(), from.b(), from.K(), from.s(), from.magnitude());
                });
        for (Block layer : model.layers()) {
            float[] alpha = files.coeffAlpha().get(layer.index);
            if (layer.coeffAlpha != null) {
                if (alpha == null || alpha.length != layer.coeffAlpha.size()) {
                    throw misfit(
                            directory, "coeff_alpha of layer " + layer.index + " does not fit");
                }
                Buffers.set(layer.coeffAlpha.value(), alpha);
            }
        }
        if (!files.coeffAlpha().keySet().stream().allMatch(i -> i < model.layers().size())) {
            throw misfit(directory, "it mixes layers " + files.coeffAlpha().keySet());
        }
        if (head != null) {
            model.classifier().set(head.weight(), head.bias());
        }
        return adapter;
    }

    private static void requireHead(Transformer model, Path directory, AdapterFiles.Head head) {
        if (model.classifier() == null) {
            throw misfit(directory, "it has a classifier, the model has none");
        }
        long width = model.classifier().width();
        if (head.weight().length != head.bias().length * width) {
            throw misfit(
                    directory,
                    "its classifier has %d weights for %d classes, the model's width is %d"
                            .formatted(head.weight().length, head.bias().length, width));
        }
    }

    /** The names of a saved classifier's classes: its own, else the model's, else numbers. */
    private static List<String> labels(Transformer model, AdapterFiles.Head head) {
        if (head.labels() != null) {
            return head.labels();
        }
        Classifier.Head base = model.classifier().base();
        if (base != null && base.classes() == head.bias().length) {
            return base.labels();
        }
        return IntStream.range(0, head.bias().length).mapToObj(i -> "LABEL_" + i).toList();
    }

    private static CheckpointException misfit(Path directory, String what) {
        return new CheckpointException(directory + ": the adapter does not fit the model: " + what);
    }

    void save(Path directory, String baseModel) {
        files(baseModel).write(directory);
    }

    /** What a PEFT directory of this adapter holds. */
    AdapterFiles files(String baseModel) {
        Map<String, LowRank> lowRank = new TreeMap<>();
        branches().forEach((path, branch) -> lowRank.put(path, branch.toFile()));
        Map<Integer, float[]> alphas = new TreeMap<>();
        for (Block layer : model.layers()) {
            if (layer.coeffAlpha != null) {
                alphas.put(
                        layer.index,
                        Buffers.toArray(layer.coeffAlpha.value(), layer.coeffAlpha.size()));
            }
        }
        return new AdapterFiles(
                config.withBaseModel(baseModel),
                lowRank,
                alphas,
                model.layout(),
                model.classifier() == null ? null : model.classifier().toFile());
    }

    /** Takes the adapter off: the model is the base model again. */
    void detach() {
        for (Block layer : model.layers()) {
            layer.linears().forEach(linear -> linear.attach(null));
            layer.coeffAlpha = null;
            layer.alphaInUse = null;
        }
        if (model.classifier() != null) {
            model.classifier().restore();
        }
    }

    /** The low-rank branches by module path. */
    Map<String, LowRankBranch> branches() {
        Map<String, LowRankBranch> branches = new TreeMap<>();
        for (Block layer : model.layers()) {
            for (Linear linear : layer.linears()) {
                if (linear.branch() != null) {
                    branches.put(linear.path(), linear.branch());
                }
            }
        }
        return branches;
    }

    @Override
    public Parameters parameters() {
        return parameters;
    }

    boolean isFinite() {
        for (float x : parameters.snapshot()) {
            if (!Float.isFinite(x)) {
                return false;
            }
        }
        return true;
    }

    public AdapterKind kind() {
        return kind;
    }

    /** How many numbers are trained. */
    public long parameterCount() {
        return parameters.size();
    }

    @Override
    public void draw(int step) {
        if (coeffDropout == 0) {
            return;
        }
        for (Block layer : model.layers()) {
            if (layer.coeffAlpha != null) {
                // one stream per layer and step: a resumed run draws what an uninterrupted one
                // would
                SplittableRandom random =
                        new SplittableRandom(seed * 31 + layer.index + 1_000_003L * step);
                float[] mask = new float[Math.toIntExact(layer.coeffAlpha.size())];
                for (int i = 0; i < mask.length; i++) {
                    mask[i] =
                            random.nextDouble() < coeffDropout
                                    ? 0
                                    : (float) (1 / (1 - coeffDropout));
                }
                Exec exec = model.exec();
                MemorySegment factors =
                        masks.computeIfAbsent(
                                layer.index, index -> Buffers.floats(mask.length, exec));
                Buffers.set(factors, mask);
                layer.alphaInUse =
                        thinned.computeIfAbsent(
                                layer.index, index -> Buffers.floats(mask.length, exec));
            }
        }
    }

    private boolean isThinned(Block layer) {
        return layer.coeffAlpha != null && layer.alphaInUse != layer.coeffAlpha.value();
    }

    @Override
    public void beforeForward() {
        for (Block layer : model.layers()) {
            if (isThinned(layer)) {
                Layers.column_scale(
                        masks.get(layer.index),
                        1,
                        layer.coeffAlpha.size(),
                        layer.coeffAlpha.value(),
                        layer.alphaInUse,
                        model.exec());
            }
        }
    }

    @Override
    public void afterBackward() {
        for (Block layer : model.layers()) {
            if (isThinned(layer)) {
                MemorySegment grad = layer.coeffAlpha.grad();
                long n = layer.coeffAlpha.size();
                Layers.column_scale(masks.get(layer.index), 1, n, grad, grad, model.exec());
            }
        }
    }

    @Override
    public void drop() {
        useAllCoefficients();
    }

    private void useAllCoefficients() {
        for (Block layer : model.layers()) {
            layer.alphaInUse = layer.coeffAlpha == null ? null : layer.coeffAlpha.value();
        }
    }

    /** What was learned, a line each: the range of K and of the mixing coefficients. */
    public List<String> summary() {
        List<String> lines = new ArrayList<>();
        if (kind.isHyperbolic()) {
            double[] k =
                    branches().values().stream()
                            .mapToDouble(LowRankBranch::curvatureRadius)
                            .sorted()
                            .toArray();
            double[] s =
                    branches().values().stream()
                            .mapToDouble(LowRankBranch::inputScale)
                            .sorted()
                            .toArray();
            lines.add(
                    String.format(
                            Locale.ROOT,
                            "%-28s K %.3f .. %.3f, s %.2f .. %.2f",
                            "curvature -1/K",
                            k[0],
                            k[k.length - 1],
                            s[0],
                            s[s.length - 1]));
        }
        if (kind.mixesHeads()) {
            double largest = 0;
            double squares = 0;
            long count = 0;
            for (Block layer : model.layers()) {
                for (float x : Buffers.toArray(layer.coeffAlpha.value(), layer.coeffAlpha.size())) {
                    largest = Math.max(largest, Math.abs(x));
                    squares += x * x;
                    count++;
                }
            }
            lines.add(
                    String.format(
                            Locale.ROOT,
                            "%-28s rms %.3f, largest %.3f",
                            "mixing coefficients",
                            Math.sqrt(squares / count),
                            largest));
        }
        return lines;
    }
}
