package org.horosphere.finetune;

import java.util.List;
import java.util.SplittableRandom;

/**
 * The output layer of an image classifier: the checkpoint's, or in its place one that an adapter
 * trains (PEFT's {@code modules_to_save}).
 */
final class Classifier {
    static final String MODULE = "classifier";

    /**
     * A layer and what its outputs mean.
     *
     * @param weight (classes, width)
     * @param bias (classes)
     * @param labels the classes' names
     */
    record Head(Tensor weight, Tensor bias, List<String> labels) {
        int classes() {
            return labels.size();
        }
    }

    private final int width;
    private final double initializerRange;
    private final Head base;
    private Head active;
    private List<String> wanted;

    /**
     * @param width of its input
     * @param initializerRange standard deviation of fresh weights
     * @param base the checkpoint's; null if it has none
     */
    Classifier(int width, double initializerRange, Head base) {
        this.width = width;
        this.initializerRange = initializerRange;
        this.base = base;
        active = base;
    }

    /** The layer in use, null if there is none yet. */
    Head head() {
        return active;
    }

    /** The checkpoint's layer, null if it has none. */
    Head base() {
        return base;
    }

    /**
     * What new adapters train.
     *
     * @param labels the classes of a layer of their own; null to leave the checkpoint's alone
     */
    void want(List<String> labels) {
        wanted = labels == null ? null : List.copyOf(labels);
    }

    /** See {@link #want}. */
    List<String> wanted() {
        return wanted;
    }

    /** Puts a trainable layer in place of the checkpoint's; its memory comes with the rest. */
    void replace(Parameters parameters, List<String> labels) {
        Tensor weight = parameters.add(MODULE + ".weight", labels.size(), width);
        Tensor bias = parameters.add(MODULE + ".bias", labels.size());
        active = new Head(weight, bias, List.copyOf(labels));
    }

    /** The checkpoint's numbers if it has these classes, else normal weights and no bias. */
    void initialise(SplittableRandom random) {
        float[] weights = new float[Math.toIntExact(active.weight().size())];
        float[] biases = new float[active.classes()];
        if (base != null && base.labels().equals(active.labels())) {
            weights = base.weight().toArray();
            biases = base.bias().toArray();
        } else {
            for (int i = 0; i < weights.length; i++) {
                weights[i] = (float) (initializerRange * random.nextGaussian());
            }
        }
        set(weights, biases);
    }

    void set(float[] weights, float[] biases) {
        Buffers.set(active.weight().value(), weights);
        Buffers.set(active.bias().value(), biases);
    }

    /** The checkpoint's layer again. */
    void restore() {
        active = base;
    }

    /** What an adapter file holds of it; null if it is the checkpoint's. */
    AdapterFiles.Head toFile() {
        if (active == null || active == base) {
            return null;
        }
        return new AdapterFiles.Head(
                Buffers.toArray(active.weight().value(), active.weight().size()),
                Buffers.toArray(active.bias().value(), active.classes()),
                active.labels());
    }

    int width() {
        return width;
    }
}
