package org.horosphere.finetune;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import javax.imageio.ImageIO;
import org.horosphere.Exec;

/** A small vision transformer of random weights, its checkpoint, and images to tell apart. */
final class TinyVit {
    static final List<String> LABELS = List.of("circle", "square", "star");

    final VitConfig config;
    final Map<String, double[]> weights = new HashMap<>();
    final Map<String, long[]> shapes = new LinkedHashMap<>();
    final Vit model;
    final Random random = new Random(7);

    /**
     * Three heads of four, images of 8 × 10 in patches of 3 × 4, so that some pixels are cut off.
     */
    TinyVit(boolean qkvBias) {
        this(qkvBias, Exec.CPU);
    }

    TinyVit(boolean qkvBias, Exec exec) {
        this(new VitConfig(12, 20, 2, 3, 4, 8, 10, 3, 4, 3, 1e-6, qkvBias, 0.02, LABELS), exec);
    }

    TinyVit(VitConfig config) {
        this(config, Exec.CPU);
    }

    TinyVit(VitConfig config, Exec exec) {
        this.config = config;
        model =
                new Vit(
                        config,
                        new Vit.WeightSource() {
                            @Override
                            public Tensor tensor(String name, long... shape) {
                                long size = 1;
                                for (long extent : shape) {
                                    size *= extent;
                                }
                                float[] values = new float[Math.toIntExact(size)];
                                double[] exact = new double[values.length];
                                boolean norm = name.matches(".*layernorm.*weight");
                                for (int i = 0; i < values.length; i++) {
                                    values[i] =
                                            (float) ((norm ? 1 : 0) + 0.4 * random.nextGaussian());
                                    exact[i] = values[i];
                                }
                                weights.put(name, exact);
                                shapes.put(name, shape);
                                Tensor tensor = Tensor.frozen(name, Buffers.floats(size), shape);
                                Buffers.set(tensor.value(), values);
                                return tensor;
                            }

                            @Override
                            public boolean has(String name) {
                                return true;
                            }
                        },
                        exec);
    }

    double[] pixels(int images) {
        double[] pixels = new double[images * config.imageSize()];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (float) random.nextGaussian();
        }
        return pixels;
    }

    static Vit.Batch batch(double[] pixels, int... labels) {
        float[] floats = new float[pixels.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) pixels[i];
        }
        Vit.Batch batch = new Vit.Batch(Buffers.floats(floats.length), labels);
        Buffers.set(batch.pixels(), floats);
        return batch;
    }

    /** Random numbers for everything an adapter trains, by tensor name. */
    Map<String, double[]> randomise(Adapter adapter) {
        Map<String, double[]> values = new LinkedHashMap<>();
        for (Tensor tensor : adapter.parameters().tensors()) {
            float[] floats = new float[Math.toIntExact(tensor.size())];
            double[] exact = new double[floats.length];
            for (int i = 0; i < floats.length; i++) {
                floats[i] = (float) (0.1 + 0.3 * random.nextGaussian());
                exact[i] = floats[i];
            }
            Buffers.set(tensor.value(), floats);
            values.put(tensor.name(), exact);
        }
        adapter.parameters().changed();
        return values;
    }

    ObjectNode json() {
        ObjectNode json = Json.MAPPER.createObjectNode();
        json.putArray("architectures").add("ViTForImageClassification");
        json.put("model_type", "vit");
        json.put("hidden_size", config.hiddenSize());
        json.put("intermediate_size", config.intermediateSize());
        json.put("num_hidden_layers", config.layers());
        json.put("num_attention_heads", config.heads());
        json.putArray("image_size").add(config.imageHeight()).add(config.imageWidth());
        json.putArray("patch_size").add(config.patchHeight()).add(config.patchWidth());
        json.put("layer_norm_eps", config.layerNormEps());
        json.put("qkv_bias", config.qkvBias());
        ObjectNode names = json.putObject("id2label");
        for (int i = 0; i < config.labels().size(); i++) {
            names.put(Integer.toString(i), config.labels().get(i));
        }
        return json;
    }

    /** Writes a checkpoint; tensors that are renamed to null are left out. */
    Path write(Path directory, UnaryOperator<String> rename) {
        try {
            Files.createDirectories(directory);
            Files.writeString(directory.resolve(ModelConfig.FILE), json().toString());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        List<TensorData> tensors = new ArrayList<>();
        shapes.forEach(
                (name, shape) -> {
                    float[] values = new float[weights.get(name).length];
                    for (int i = 0; i < values.length; i++) {
                        values[i] = (float) weights.get(name)[i];
                    }
                    if (rename.apply(name) != null) {
                        tensors.add(TensorData.of(rename.apply(name), values, shape));
                    }
                });
        SafeTensors.write(directory.resolve(Checkpoint.FILE), tensors, Map.of());
        return directory;
    }

    /** A checkpoint as transformers writes it, whose images are 16 × 16. */
    static Path writeForPictures(Path directory) {
        VitConfig config =
                new VitConfig(16, 32, 2, 2, 8, 16, 16, 4, 4, 3, 1e-6, true, 0.02, LABELS);
        return new TinyVit(config).write(directory, VitNames::old);
    }

    /** Stripes that differ in direction, of random sizes and phases, under noise. */
    static void writePictures(Path folder, List<String> classes, int each, long seed) {
        Random random = new Random(seed);
        String[] formats = {"png", "bmp", "gif"};
        try {
            for (int label = 0; label < classes.size(); label++) {
                Path directory = Files.createDirectories(folder.resolve(classes.get(label)));
                for (int i = 0; i < each; i++) {
                    BufferedImage image =
                            new BufferedImage(
                                    14 + random.nextInt(9),
                                    14 + random.nextInt(9),
                                    BufferedImage.TYPE_INT_RGB);
                    double phase = random.nextDouble() * 6;
                    for (int y = 0; y < image.getHeight(); y++) {
                        for (int x = 0; x < image.getWidth(); x++) {
                            double at = label == 0 ? x : label == 1 ? y : x + y;
                            int grey =
                                    (int) (127 + 80 * Math.sin(at * 1.2 + phase))
                                            + random.nextInt(40);
                            image.setRGB(x, y, grey * 0x10101);
                        }
                    }
                    String format = formats[i % formats.length];
                    ImageIO.write(image, format, directory.resolve(i + "." + format).toFile());
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
