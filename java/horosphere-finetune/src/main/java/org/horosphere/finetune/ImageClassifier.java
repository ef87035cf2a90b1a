package org.horosphere.finetune;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.horosphere.DType;
import org.horosphere.Exec;

/**
 * A vision transformer with at most one adapter: open, adapt, train, evaluate on images.
 *
 * <p>Base weights stay frozen; an adapter may have an output layer of its own, see {@link
 * #trainClassifier}. Not for use by several threads at once.
 */
public final class ImageClassifier extends AdaptableModel {
    private static final int EVALUATION_BATCH = 8;

    /** Decoded images are kept up to this part of the heap. */
    private static final int CACHE_SHARE = 4;

    private final Vit model;
    private final ImageProcessor processor;
    private final Map<Path, byte[]> decoded = new ConcurrentHashMap<>();
    private final Map<Path, String> digests = new ConcurrentHashMap<>();
    private final AtomicLong cached = new AtomicLong();

    private ImageClassifier(Vit model, ImageProcessor processor, Path directory) {
        super(model, directory);
        this.model = model;
        this.processor = processor;
    }

    /**
     * Opens a Hugging Face model directory: {@code config.json}, {@code model.safetensors} or its
     * shards, and {@code preprocessor_config.json} if it is there. Float32 weights stay mapped,
     * others become float32.
     *
     * @throws CheckpointException if the checkpoint is missing, damaged or of an unknown
     *     architecture
     */
    public static ImageClassifier open(Path directory, Exec exec) {
        return open(directory, exec, DType.F32);
    }

    /**
     * The same with frozen matrices of a chosen type.
     *
     * @param weights F32, or BF16: half the memory; activations are rounded where they meet a
     *     weight, everything else stays float32
     */
    public static ImageClassifier open(Path directory, Exec exec, DType weights) {
        if (weights != DType.F32 && weights != DType.BF16) {
            throw new IllegalArgumentException("weights: " + weights + ", expected F32 or BF16");
        }
        OneDnn.ensureLoaded();
        Vit model = Vit.load(directory, exec, weights);
        return new ImageClassifier(
                model, ImageProcessor.read(directory, model.config()), directory);
    }

    Vit model() {
        return model;
    }

    /** The model's architecture. */
    public VitConfig config() {
        return model.config();
    }

    /** How images are prepared. */
    public ImageProcessor processor() {
        return processor;
    }

    /** The classes of the output layer in use; null if the checkpoint has none and no adapter. */
    public List<String> labels() {
        Classifier.Head head = model.classifier().head();
        return head == null ? null : head.labels();
    }

    /**
     * What the adapters that are attached from now on do with the output layer.
     *
     * @param labels the classes of an output layer that is trained and saved with the adapter: with
     *     the checkpoint's numbers if these are its classes, else new; null to keep the
     *     checkpoint's as it is
     * @throws IllegalStateException for null if the checkpoint has no output layer
     */
    public void trainClassifier(List<String> labels) {
        if (labels == null && model.classifier().base() == null) {
            throw new IllegalStateException("classifier: the checkpoint has none to keep");
        }
        model.classifier().want(labels);
    }

    /** What {@link #trainClassifier} said, null if nothing. */
    List<String> trainedClasses() {
        return model.classifier().wanted();
    }

    /** As {@link CausalLm#setCheckpointing}. */
    public void setCheckpointing(boolean wanted) {
        model.setCheckpointing(wanted);
    }

    /**
     * What training takes at most.
     *
     * @param images per micro-batch
     */
    public MemoryEstimate memory(AdapterOptions options, int images) {
        requireNoAdapter();
        Adapter trial = Adapter.create(model, options, 0);
        try {
            return MemoryEstimate.of(
                    model,
                    trial,
                    (long) images * model.config().length(),
                    model.activationBytes(images));
        } finally {
            trial.detach();
        }
    }

    /** A trainer for the attached adapter. */
    Trainer<Vit.Batch> trainer(TrainOptions options) {
        return new Trainer<>(model, requireAdapter(), options);
    }

    /**
     * Decodes images, so that a damaged one is found before any work is done, and keeps them as far
     * as the memory reaches.
     *
     * @param progress told how many are done, from any thread
     * @throws DataException for the first that cannot be used
     */
    public void prepare(List<ImageFolder.Image> images, IntConsumer progress) {
        AtomicInteger done = new AtomicInteger();
        List<RuntimeException> failures =
                IntStream.range(0, images.size())
                        .parallel()
                        .mapToObj(
                                i -> {
                                    try {
                                        decoded(images.get(i).file());
                                        return (RuntimeException) null;
                                    } catch (DataException e) {
                                        return e;
                                    } finally {
                                        progress.accept(done.incrementAndGet());
                                    }
                                })
                        .toList();
        for (RuntimeException failure : failures) {
            if (failure != null) {
                throw failure;
            }
        }
    }

    private byte[] decoded(Path file) {
        byte[] there = decoded.get(file);
        if (there != null) {
            return there;
        }
        byte[] content;
        try {
            content = Files.readAllBytes(file);
        } catch (IOException e) {
            throw new DataException(file, "cannot read: " + CheckpointException.reason(e), e);
        } catch (OutOfMemoryError e) {
            throw new DataException(file, "is too large to be an image");
        }
        if (content.length == 0) {
            throw new DataException(file, "is empty");
        }
        byte[] rgb = processor.decode(file, content);
        digests.put(file, digest(content));
        if (cached.addAndGet(rgb.length) < Runtime.getRuntime().maxMemory() / CACHE_SHARE) {
            decoded.put(file, rgb);
        } else {
            cached.addAndGet(-rgb.length);
        }
        return rgb;
    }

    private static String digest(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** SHA-256 of images and their classes, in order; they are decoded if they were not. */
    public String fingerprint(List<ImageFolder.Image> images) {
        StringBuilder text = new StringBuilder();
        for (ImageFolder.Image image : images) {
            if (!digests.containsKey(image.file())) {
                decoded(image.file());
            }
            text.append(digests.get(image.file())).append(' ').append(image.label()).append('\n');
        }
        return Fingerprint.of(text.toString());
    }

    /** Images in the order given, in batches that are made when they are asked for. */
    List<Vit.Batch> batches(List<ImageFolder.Image> images, int size) {
        return new AbstractList<>() {
            @Override
            public Vit.Batch get(int index) {
                int from = index * size;
                return batch(images.subList(from, Math.min(images.size(), from + size)));
            }

            @Override
            public int size() {
                return Math.ceilDiv(images.size(), size);
            }
        };
    }

    private Vit.Batch batch(List<ImageFolder.Image> images) {
        int size = model.config().imageSize();
        MemorySegment pixels = Buffers.floats((long) images.size() * size);
        int[] labels = new int[images.size()];
        float[] values = new float[size];
        for (int i = 0; i < labels.length; i++) {
            processor.normalize(decoded(images.get(i).file()), values, 0);
            Buffers.set(Buffers.slice(pixels, (long) i * size, size), values);
            labels[i] = images.get(i).label();
        }
        return new Vit.Batch(pixels, labels);
    }

    /**
     * Training batches without end, shuffled anew each epoch; the order depends on the seed and the
     * number of the epoch alone.
     *
     * @param first number of the first batch, counted from 0 over all epochs
     */
    Iterator<Vit.Batch> endless(List<ImageFolder.Image> images, int size, long seed, long first) {
        int perEpoch = Math.ceilDiv(images.size(), size);
        return new Iterator<>() {
            private long number = first;
            private long epoch = -1;
            private List<ImageFolder.Image> order;

            @Override
            public boolean hasNext() {
                return true;
            }

            @Override
            public Vit.Batch next() {
                if (number / perEpoch != epoch) {
                    epoch = number / perEpoch;
                    order = new ArrayList<>(images);
                    new SplitMix64(SplitMix64.mix(seed) + epoch).shuffle(order);
                }
                int from = (int) (number++ % perEpoch) * size;
                return batch(order.subList(from, Math.min(order.size(), from + size)));
            }
        };
    }

    /**
     * How a model did on images.
     *
     * @param loss mean nats per image
     * @param predictions the class found for each image, in order
     * @param labels the class each image has
     */
    public record Score(double loss, int[] predictions, int[] labels) {
        public int total() {
            return labels.length;
        }

        public int rightAnswers() {
            return (int)
                    IntStream.range(0, labels.length)
                            .filter(i -> predictions[i] == labels[i])
                            .count();
        }

        /** The share of images whose class has the largest logit. */
        public double accuracy() {
            return total() == 0 ? Double.NaN : (double) rightAnswers() / total();
        }

        /** Of the accuracy, the images being a random sample: sqrt(p (1 - p) / total). */
        public double standardError() {
            return Math.sqrt(accuracy() * (1 - accuracy()) / total());
        }

        /** Images of a class, and how many of them were found. */
        public int[] ofClass(int label) {
            int[] counts = new int[2];
            for (int i = 0; i < labels.length; i++) {
                if (labels[i] == label) {
                    counts[0]++;
                    counts[1] += predictions[i] == label ? 1 : 0;
                }
            }
            return counts;
        }
    }

    /**
     * Classifies images.
     *
     * @param progress told how many are done
     * @throws CheckpointException if a weight is NaN or infinite
     * @throws IllegalStateException if there is no output layer
     */
    public Score evaluate(List<ImageFolder.Image> images, IntConsumer progress) {
        int[] predictions = new int[images.size()];
        int[] labels = images.stream().mapToInt(ImageFolder.Image::label).toArray();
        double sum = 0;
        for (int from = 0; from < labels.length; from += EVALUATION_BATCH) {
            int to = Math.min(labels.length, from + EVALUATION_BATCH);
            sum += model.loss(batch(images.subList(from, to)), Float.NaN);
            if (!Double.isFinite(sum)) {
                throw notFinite("the loss is " + sum);
            }
            float[] logits = model.logits();
            int classes = logits.length / (to - from);
            for (int i = from; i < to; i++) {
                int row = (i - from) * classes;
                predictions[i] = argmax(Arrays.copyOfRange(logits, row, row + classes));
            }
            progress.accept(to);
        }
        return new Score(sum / labels.length, predictions, labels);
    }

    private static int argmax(float[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            best = values[i] > values[best] ? i : best;
        }
        return best;
    }

    @Override
    String firstNotFinite() {
        return model.firstNotFinite();
    }

    @Override
    DType weightType() {
        return model.layers().get(0).q.weight().type();
    }
}
