package org.horosphere.finetune;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.horosphere.Layers;
import org.horosphere.LowRankAdapter;

/**
 * Puts an adapter into the weights of its model, where mathematics allows it:
 *
 * <ul>
 *   <li>LoRA: W + scaling B A, always;
 *   <li>mixing coefficients: into o_proj, if every coefficient but those between heads that share
 *       their values is zero. Then {@code Y = Σ_i P_i V Σ_h (I + alpha)_hi W_O^h};
 *   <li>HypLoRA: never exactly, as its gain differs from token to token. On request with each
 *       module's mean gain over given data.
 * </ul>
 */
public final class Merger {
    private static final int BATCH = 8;

    private final Path adapterDirectory;
    private final Attentions attentions;
    private final UnaryOperator<String> stored;
    private final Checkpoint checkpoint;
    private final AdapterFiles files;
    private final Map<String, Double> meanGains;
    private final Exec exec;

    /**
     * How one HypLoRA module's gain varied over the data.
     *
     * @param module the module's path
     * @param meanGain what was merged in its place
     * @param measured the largest relative difference of a token's gain from the mean, which is
     *     that of the branch's output
     * @param bound what the gain's closed form bounds it by: it lies between {@code σ/√(1 + a²/3)},
     *     which is above {@code σ (1 - a²/6)}, and σ, with {@code σ = √K sinh(t)/|x|}, {@code t =
     *     |x|/(s√K)} and {@code a = σ|BAx|/√K}
     */
    public record Gain(String module, double meanGain, double measured, double bound) {}

    /**
     * What an approximate merge costs.
     *
     * @param gains every HypLoRA module, by path
     * @param adapterLoss loss on the data with the adapter, nats per token
     * @param mergedLoss loss on the data of the merged model
     */
    public record Approximation(List<Gain> gains, double adapterLoss, double mergedLoss) {}

    /** The shape of a model's attention. */
    private record Attentions(int heads, int kvHeads, int headDim) {}

    /**
     * @param stored the name under which the checkpoint has a tensor
     */
    private Merger(
            Path adapterDirectory,
            Attentions attentions,
            UnaryOperator<String> stored,
            Checkpoint checkpoint,
            AdapterFiles files,
            Map<String, Double> meanGains,
            Exec exec) {
        this.adapterDirectory = adapterDirectory;
        this.attentions = attentions;
        this.stored = stored;
        this.checkpoint = checkpoint;
        this.files = files;
        this.meanGains = meanGains;
        this.exec = exec;
    }

    /**
     * Writes the merged model.
     *
     * @param model a model directory
     * @param adapter a PEFT directory
     * @param output replaced as a whole, see {@link ModelWriter#write}
     * @param storage {@link DType#F32}, or {@link DType#BF16} for rounding to nearest even
     * @throws CheckpointException if the adapter does not fit the model, or cannot be merged
     *     exactly, with the reason; nothing is written then
     */
    public static void merge(Path model, Path adapter, Path output, DType storage, Exec exec) {
        AdapterFiles files = AdapterFiles.read(adapter);
        if (files.config().peftType().hyperbolic()) {
            throw new CheckpointException(
                    adapter
                            + ": cannot be merged exactly: HypLoRA multiplies each token's update by"
                            + " a gain of its own, which no fixed weight does");
        }
        OneDnn.ensureLoaded();
        if (VitConfig.isVit(model)) {
            mergeClassifier(model, adapter, output, storage, exec);
            return;
        }
        Adapter.load(Llama.load(model, exec), adapter);
        write(model, adapter, files, Map.of(), output, storage, exec);
    }

    /**
     * Writes the merged model with each HypLoRA module's gain replaced by its mean over the data's
     * tokens.
     *
     * @param examples at least one, each with a target
     * @return how far that is from the adapter
     * @throws CheckpointException as in {@link #merge}; an adapter without HypLoRA is merged
     *     exactly instead
     */
    public static Approximation approximate(
            Path model,
            Path adapter,
            Path output,
            DType storage,
            List<Dataset.Example> examples,
            Exec exec) {
        AdapterFiles files = AdapterFiles.read(adapter);
        if (!files.config().peftType().hyperbolic()) {
            throw new CheckpointException(adapter + ": has no HypLoRA, it can be merged exactly");
        }
        if (files.config().gain() != LowRankAdapter.Kind.HYPLORA) {
            throw new CheckpointException(
                    adapter
                            + ": has the gain of the released code, which varies too much between"
                            + " tokens to be replaced by its mean");
        }
        if (VitConfig.isVit(model)) {
            throw new CheckpointException(
                    model
                            + ": HypLoRA on an image classifier is not merged, not even approximately");
        }
        OneDnn.ensureLoaded();
        Llama adapted = Llama.load(model, exec);
        Map<String, LowRankBranch> branches = Adapter.load(adapted, adapter).branches();
        List<Batches.Batch> batches = Batches.sorted(examples, BATCH);
        Map<String, GainStatistics> statistics = new TreeMap<>();
        double loss = measure(adapted, branches, batches, statistics);
        Map<String, Double> means = new HashMap<>();
        statistics.forEach((path, gains) -> means.put(path, gains.mean()));
        write(model, adapter, files, means, output, storage, exec);
        return new Approximation(
                statistics.entrySet().stream().map(e -> e.getValue().gain(e.getKey())).toList(),
                loss,
                Trainer.meanLoss(Llama.load(output, exec), batches));
    }

    private static double measure(
            Llama model,
            Map<String, LowRankBranch> branches,
            List<Batches.Batch> batches,
            Map<String, GainStatistics> statistics) {
        double sum = 0;
        long targets = 0;
        for (Batches.Batch batch : batches) {
            model.forward(batch);
            sum += model.loss(batch.targets(), Float.NaN);
            targets += batch.targetCount();
            branches.forEach(
                    (path, branch) -> {
                        GainStatistics gains =
                                statistics.computeIfAbsent(path, p -> new GainStatistics());
                        for (int i = 0; i < batch.tokens().length; i++) {
                            if (i % batch.length() < batch.lengths()[i / batch.length()]) {
                                gains.add(branch, i);
                            }
                        }
                    });
        }
        return sum / targets;
    }

    private static void write(
            Path model,
            Path adapter,
            AdapterFiles files,
            Map<String, Double> meanGains,
            Path output,
            DType storage,
            Exec exec) {
        ModelConfig config = ModelConfig.read(model);
        Map<String, long[]> shapes = new LinkedHashMap<>();
        new Llama(
                config,
                (name, shape) -> {
                    shapes.put(name, shape);
                    return Tensor.frozen(name, MemorySegment.NULL, shape);
                },
                exec);
        try (Arena arena = Arena.ofShared()) {
            Checkpoint checkpoint = Checkpoint.open(model, arena);
            Merger merger =
                    new Merger(
                            adapter,
                            new Attentions(config.heads(), config.kvHeads(), config.headDim()),
                            name -> name,
                            checkpoint,
                            files,
                            meanGains,
                            exec);
            merger.requireFoldable();
            List<ModelWriter.Weight> weights =
                    shapes.entrySet().stream()
                            .map(
                                    e ->
                                            new ModelWriter.Weight(
                                                    e.getKey(),
                                                    e.getValue(),
                                                    () -> merger.weight(e.getKey(), e.getValue())))
                            .toList();
            ModelWriter.writeWeights(output, config, weights, storage, model);
        }
    }

    /** Its own classifier takes the checkpoint's place; names are those of checkpoints on disk. */
    private static void mergeClassifier(
            Path model, Path adapter, Path output, DType storage, Exec exec) {
        Vit vit = Vit.load(model, exec);
        Adapter.load(vit, adapter);
        AdapterFiles files = vit.translate(AdapterFiles.read(adapter));
        VitConfig config = vit.config();
        Map<String, long[]> shapes = vit.shapes();
        try (Arena arena = Arena.ofShared()) {
            Checkpoint checkpoint = Checkpoint.open(model, arena);
            Merger merger =
                    new Merger(
                            adapter,
                            new Attentions(config.heads(), config.heads(), config.headDim()),
                            name -> VitNames.stored(checkpoint, name),
                            checkpoint,
                            files,
                            Map.of(),
                            exec);
            merger.requireFoldable();
            List<ModelWriter.Weight> weights = new ArrayList<>();
            shapes.forEach(
                    (name, shape) ->
                            weights.add(
                                    new ModelWriter.Weight(
                                            VitNames.old(name),
                                            shape,
                                            () -> merger.weight(name, shape))));
            Classifier.Head head = vit.classifier().head();
            ObjectNode json = Json.read(model.resolve(ModelConfig.FILE)).copy();
            if (head != null) {
                weights.add(whole(head.weight()));
                weights.add(whole(head.bias()));
                json.putArray("architectures").add("ViTForImageClassification");
                ObjectNode names = json.putObject("id2label");
                ObjectNode numbers = json.putObject("label2id");
                for (int i = 0; i < head.classes(); i++) {
                    names.put(Integer.toString(i), head.labels().get(i));
                    numbers.put(head.labels().get(i), i);
                }
            }
            ModelWriter.writeClassifier(output, json, weights, storage, model);
        }
    }

    private static ModelWriter.Weight whole(Tensor tensor) {
        return new ModelWriter.Weight(
                tensor.name(),
                tensor.shape(),
                () -> tensor.value().asSlice(0, tensor.size() * Float.BYTES));
    }

    private int group() {
        return attentions.heads() / attentions.kvHeads();
    }

    private void requireFoldable() {
        int heads = attentions.heads();
        files.coeffAlpha()
                .forEach(
                        (layer, alpha) -> {
                            int worst = -1;
                            for (int i = 0; i < alpha.length; i++) {
                                boolean shared = i / heads / group() == i % heads / group();
                                if (!shared
                                        && alpha[i] != 0
                                        && (worst < 0
                                                || Math.abs(alpha[i]) > Math.abs(alpha[worst]))) {
                                    worst = i;
                                }
                            }
                            if (worst >= 0) {
                                throw new CheckpointException(
                                        ("%s: cannot be merged exactly: layer %d gives head %d %s of"
                                                        + " the attention map of head %d, which reads"
                                                        + " other values; only coefficients between"
                                                        + " heads that share a key/value head (here"
                                                        + " groups of %d) fold into o_proj")
                                                .formatted(
                                                        adapterDirectory,
                                                        layer,
                                                        worst / heads,
                                                        alpha[worst],
                                                        worst % heads,
                                                        group()));
                            }
                        });
    }

    /** A tensor of the merged model, float32. */
    private MemorySegment weight(String name, long[] shape) {
        MemorySegment base = checkpoint.floats(stored.apply(name), Arena.ofAuto(), shape);
        String path = name.substring(0, name.lastIndexOf('.'));
        LowRank lowRank = name.endsWith(".weight") ? files.lowRank().get(path) : null;
        float[] alpha =
                files.coeffAlpha().entrySet().stream()
                        .filter(e -> name.equals(outputProjection(e.getKey())))
                        .map(Map.Entry::getValue)
                        .findAny()
                        .orElse(null);
        if (lowRank == null && alpha == null) {
            return base;
        }
        MemorySegment merged = Buffers.floats(base.byteSize() / Float.BYTES);
        MemorySegment.copy(base, 0, merged, 0, base.byteSize());
        if (lowRank != null) {
            add(lowRank, scaling(path, lowRank), merged);
            if (lowRank.magnitude() != null) {
                rescaleRows(lowRank.magnitude(), lowRank.in(), merged);
            }
        }
        if (alpha != null) {
            fold(alpha, shape, merged);
        }
        return merged;
    }

    private String outputProjection(int layer) {
        return files.layout().attention(layer) + ".o_proj.weight";
    }

    private double scaling(String path, LowRank matrices) {
        double scaling = files.config().scaling(path);
        return matrices.hyperbolic()
                ? scaling
                        * Math.sqrt(matrices.in())
                        * Objects.requireNonNull(meanGains.get(path), path)
                : scaling;
    }

    private void add(LowRank m, double scaling, MemorySegment weight) {
        MemorySegment a = Buffers.floats(m.a().length);
        MemorySegment b = Buffers.floats(m.b().length);
        Buffers.set(a, m.a());
        Buffers.set(b, m.b());
        Gemm.sgemm(
                false, false, m.out(), m.in(), m.r(), scaling, b, m.r(), a, m.in(), 1, weight,
                m.in(), exec);
    }

    private void rescaleRows(float[] lengths, long in, MemorySegment weight) {
        for (int j = 0; j < lengths.length; j++) {
            MemorySegment row = Buffers.slice(weight, j * in, in);
            double have = Math.sqrt(Layers.sum_squares(row, in, exec));
            if (have > 0) {
                Layers.scale(lengths[j] / have, row, in, exec);
            }
        }
    }

    /** Block i of the columns becomes Σ_h (I + alpha)_hi times block h, summed in float64. */
    private void fold(float[] alpha, long[] shape, MemorySegment weight) {
        int heads = attentions.heads();
        int width = attentions.headDim();
        int columns = heads * width;
        float[] row = new float[columns];
        for (long r = 0; r < shape[0]; r++) {
            MemorySegment at = Buffers.slice(weight, r * columns, columns);
            MemorySegment.copy(at, ValueLayout.JAVA_FLOAT, 0, row, 0, columns);
            for (int i = 0; i < heads; i++) {
                int first = i / group() * group();
                for (int c = 0; c < width; c++) {
                    double sum = row[i * width + c];
                    for (int h = first; h < first + group(); h++) {
                        sum += (double) alpha[h * heads + i] * row[h * width + c];
                    }
                    at.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * width + c, (float) sum);
                }
            }
        }
    }
}
