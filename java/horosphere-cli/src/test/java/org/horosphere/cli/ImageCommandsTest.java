package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import javax.imageio.ImageIO;
import org.horosphere.finetune.SafeTensors;
import org.horosphere.finetune.TensorData;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a user does with a vision transformer and folders of images. */
class ImageCommandsTest {
    private static final int WIDTH = 16;

    @TempDir static Path shared;
    private static String model;
    private static String pictures;

    @TempDir Path temporary;

    @BeforeAll
    static void write() throws IOException {
        model = writeModel(shared.resolve("vit")).toString();
        pictures = writePictures(shared.resolve("pictures"), 20).toString();
    }

    /** One block of two heads, images of 16 × 16 in patches of 4 × 4, classes cat and dog. */
    private static Path writeModel(Path directory) throws IOException {
        Files.createDirectories(directory);
        Files.writeString(
                directory.resolve("config.json"),
                """
                {"architectures": ["ViTForImageClassification"], "model_type": "vit",
                 "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                 "num_attention_heads": 2, "image_size": 16, "patch_size": 4,
                 "id2label": {"0": "cat", "1": "dog"}}
                """);
        Random random = new Random(3);
        List<TensorData> tensors = new ArrayList<>();
        add(tensors, random, "vit.embeddings.cls_token", 1, 1, WIDTH);
        add(tensors, random, "vit.embeddings.position_embeddings", 1, 17, WIDTH);
        linear(tensors, random, "vit.embeddings.patch_embeddings.projection", WIDTH, 3, 4, 4);
        String layer = "vit.encoder.layer.0.";
        for (String name :
                List.of(
                        "attention.attention.query",
                        "attention.attention.key",
                        "attention.attention.value",
                        "attention.output.dense")) {
            linear(tensors, random, layer + name, WIDTH, WIDTH);
        }
        linear(tensors, random, layer + "intermediate.dense", 32, WIDTH);
        linear(tensors, random, layer + "output.dense", WIDTH, 32);
        linear(tensors, random, layer + "layernorm_before", WIDTH);
        linear(tensors, random, layer + "layernorm_after", WIDTH);
        linear(tensors, random, "vit.layernorm", WIDTH);
        linear(tensors, random, "classifier", 2, WIDTH);
        SafeTensors.write(directory.resolve("model.safetensors"), tensors, Map.of());
        return directory;
    }

    private static void linear(
            List<TensorData> tensors, Random random, String name, long... shape) {
        add(tensors, random, name + ".weight", shape);
        add(tensors, random, name + ".bias", shape[0]);
    }

    private static void add(List<TensorData> tensors, Random random, String name, long... shape) {
        int size = 1;
        for (long extent : shape) {
            size *= Math.toIntExact(extent);
        }
        float[] values = new float[size];
        for (int i = 0; i < size; i++) {
            values[i] = (float) (0.4 * random.nextGaussian());
        }
        tensors.add(TensorData.of(name, values, shape));
    }

    /** Dark and light pictures. */
    private static Path writePictures(Path folder, int each) throws IOException {
        Random random = new Random(4);
        for (String name : List.of("cat", "dog")) {
            Path directory = Files.createDirectories(folder.resolve(name));
            for (int i = 0; i < each; i++) {
                BufferedImage image = new BufferedImage(20, 18, BufferedImage.TYPE_INT_RGB);
                for (int p = 0; p < 20 * 18; p++) {
                    int light = random.nextInt(120) + (name.equals("cat") ? 0 : 100);
                    image.setRGB(p % 20, p / 20, light * 0x10101);
                }
                ImageIO.write(image, "png", directory.resolve(i + ".png").toFile());
            }
        }
        return folder;
    }

    private static JsonNode json(Path file) throws IOException {
        return new ObjectMapper().readTree(file.toFile());
    }

    private static void refused(String reason, String... arguments) {
        Result result = Result.of(arguments);
        assertTrue(result.code() != 0, result.out());
        assertEquals(1, result.err().strip().lines().count(), result.err());
        assertTrue(result.err().contains(reason), result.err());
    }

    @Test
    void aClassifierIsTunedMeasuredAndMerged() throws IOException {
        Path output = temporary.resolve("adapter");
        Result tuned =
                Result.of(
                        "finetune",
                        "--model",
                        model,
                        "--images",
                        pictures,
                        "--adapter",
                        "lora+coeff",
                        "--steps",
                        "30",
                        "--lr",
                        "1e-2",
                        "--batch-size",
                        "8",
                        "--output",
                        output.toString());
        assertEquals(0, tuned.code(), tuned.err());
        assertTrue(tuned.out().contains("trained further, 2 classes: cat, dog"), tuned.out());
        assertTrue(tuned.out().contains("33 training images, 3 for validation, 4 held out"));
        assertTrue(tuned.out().contains("images/s"), tuned.out());
        JsonNode results = json(output.resolve("results.json"));
        assertEquals(4, results.get("images").intValue());
        assertEquals(2, results.get("classes").size());
        assertTrue(
                results.get("loss_after").doubleValue() < results.get("loss_before").doubleValue());

        Path report = temporary.resolve("report.json");
        Result measured =
                Result.of(
                        "eval",
                        "--model",
                        model,
                        "--adapter",
                        output.toString(),
                        "--images",
                        pictures,
                        "--json",
                        report.toString());
        assertEquals(0, measured.code(), measured.err());
        double accuracy = json(report).get("accuracy").doubleValue();
        assertTrue(accuracy > 0.9, measured.out());
        assertEquals(
                Math.sqrt(accuracy * (1 - accuracy) / 40),
                json(report).get("accuracy_standard_error").doubleValue());
        assertEquals(20, json(report).get("classes").get(1).get("images").intValue());
        assertTrue(measured.out().contains("of 40 images"), measured.out());
        refused(
                "cannot be merged exactly",
                "merge",
                "--model",
                model,
                "--adapter",
                output.toString(),
                "--output",
                temporary.resolve("merged").toString());
    }

    @Test
    void aStoppedRunIsTakenUpWithItsOwnOptions() throws IOException {
        Path output = temporary.resolve("adapter");
        assertEquals(
                0,
                Result.of(
                                "finetune",
                                "--model",
                                model,
                                "--images",
                                pictures,
                                "--adapter",
                                "dora",
                                "--steps",
                                "3",
                                "--targets",
                                "query,fc1",
                                "--output",
                                output.toString())
                        .code());
        JsonNode run = json(output.resolve("run.json"));
        assertEquals(Path.of(pictures).toAbsolutePath().toString(), run.get("images").textValue());
        refused("the run there has ended", "finetune", "--resume", "--output", output.toString());
    }

    @Test
    void seedsAreSummarised() throws IOException {
        Path output = temporary.resolve("adapter");
        Result result =
                Result.of(
                        "finetune",
                        "--model",
                        model,
                        "--images",
                        pictures,
                        "--adapter",
                        "lora",
                        "--steps",
                        "4",
                        "--seeds",
                        "2",
                        "--output",
                        output.toString());
        assertEquals(0, result.code(), result.err());
        assertTrue(result.out().contains("right of 4, %"), result.out());
        JsonNode summary = json(output.resolve("summary.json"));
        assertEquals(2, summary.get("accuracy_after").get("values").size());
    }

    @Test
    void whatDoesNotFitIsSaidInALine() throws IOException {
        String out = temporary.resolve("out").toString();
        refused("needs --model", "finetune", "--images", pictures);
        refused("--images says what to train on", "finetune", "--model", model, "--output", out);
        refused(
                "takes the place of --data",
                "finetune",
                "--model",
                model,
                "--images",
                pictures,
                "--data",
                "x.jsonl");
        refused("--images says what to read", "eval", "--model", model);
        refused(
                "is no linear layer; this model has q_proj",
                "finetune",
                "--model",
                model,
                "--images",
                pictures,
                "--targets",
                "up_proj",
                "--output",
                out);
        refused("compare reads text", "compare", "--model", model, "--images", pictures);
        Path others = temporary.resolve("others");
        Files.move(writePictures(others, 3).resolve("dog"), others.resolve("horse"));
        refused(
                "the folders cat, horse are not all classes of the model, which has cat, dog",
                "eval",
                "--model",
                model,
                "--images",
                others.toString());
        refused(
                "--train-head false: the folders cat, horse",
                "finetune",
                "--model",
                model,
                "--images",
                others.toString(),
                "--train-head",
                "false",
                "--output",
                out);
        Files.writeString(others.resolve("cat/1.png"), "no image");
        refused(
                "1.png: is no PNG, JPEG, BMP or GIF image",
                "finetune",
                "--model",
                model,
                "--images",
                others.toString(),
                "--output",
                out);
        assertTrue(Files.notExists(Path.of(out)), "nothing is left behind");
    }
}
