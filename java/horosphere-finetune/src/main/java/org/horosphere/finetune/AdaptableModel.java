package org.horosphere.finetune;

import java.nio.file.Path;
import java.util.Set;
import org.horosphere.DType;

/**
 * A frozen model with at most one adapter, whatever it reads: open, adapt, train, evaluate. Not for
 * use by several threads at once.
 */
public abstract sealed class AdaptableModel implements AutoCloseable
        permits CausalLm, ImageClassifier {
    private final Transformer transformer;
    private final Path directory;
    private Adapter adapter;
    private String fingerprint;

    AdaptableModel(Transformer transformer, Path directory) {
        this.transformer = transformer;
        this.directory = directory;
    }

    /** The adapter, null if there is none. */
    public final Adapter adapter() {
        return adapter;
    }

    final Path directory() {
        return directory;
    }

    /**
     * What tells this model from another: SHA-256 of its directory (configuration, tokenizer, and
     * weights, sampled if they are large), and how it holds the weights.
     */
    public final String fingerprint() {
        if (fingerprint == null) {
            fingerprint = Fingerprint.ofModel(directory) + " " + weightType();
        }
        return fingerprint;
    }

    /**
     * Attaches a fresh adapter; the model's output does not change until it is trained.
     *
     * @throws IllegalStateException if there is one already
     */
    public final Adapter attach(AdapterOptions options, long seed) {
        requireNoAdapter();
        adapter = Adapter.create(transformer, options, seed);
        return adapter;
    }

    /**
     * Checks that each of these names means a linear layer of this model, before any work is done.
     *
     * @throws IllegalArgumentException naming the first that does not, and the names there are
     */
    public final void requireTargets(Set<String> names) {
        for (String name : transformer.translate(names)) {
            TargetModules target = TargetModules.of(name);
            if (transformer.layers().stream()
                    .flatMap(layer -> layer.linears().stream())
                    .noneMatch(linear -> target.matches(linear.path()))) {
                throw new IllegalArgumentException(
                        "targets: '"
                                + name
                                + "' is no linear layer; "
                                + transformer.linearLayers());
            }
        }
    }

    /**
     * Loads an adapter from a PEFT directory.
     *
     * @throws CheckpointException if it is missing, damaged, or does not fit this model
     * @throws IllegalStateException if there is one already
     */
    public final Adapter loadAdapter(Path adapterDirectory) {
        requireNoAdapter();
        adapter = Adapter.load(transformer, adapterDirectory);
        return adapter;
    }

    /** Takes the adapter off, if there is one: this is the base model again. */
    public final void detach() {
        if (adapter != null) {
            adapter.detach();
            adapter = null;
        }
    }

    /** Saves the adapter as a PEFT directory, atomically. */
    public final void saveAdapter(Path target) {
        adapter.save(target, directory.toString());
    }

    final void requireNoAdapter() {
        if (adapter != null) {
            throw new IllegalStateException("adapter: this model has one already");
        }
    }

    final Adapter requireAdapter() {
        if (adapter == null) {
            throw new IllegalStateException("adapter: attach one before training");
        }
        return adapter;
    }

    /** The name of a weight that holds a NaN or an infinity, null if there is none. */
    abstract String firstNotFinite();

    /** How the matrices are stored. */
    abstract DType weightType();

    /** Says whose fault it is that a result is not finite. */
    final RuntimeException notFinite(String what) {
        if (adapter != null && !adapter.isFinite()) {
            return new CheckpointException("the adapter has NaN or infinite values");
        }
        String culprit = firstNotFinite();
        return culprit != null
                ? new CheckpointException(
                        directory + ": tensor " + culprit + " has NaN or infinite values")
                : new TrainingException(what + ": a value is too large for float32");
    }

    @Override
    public void close() {}
}
