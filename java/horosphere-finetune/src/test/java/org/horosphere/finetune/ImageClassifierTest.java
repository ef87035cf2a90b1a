package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Fine-tuning on folders of images: it learns, it goes on bit for bit, it merges. */
class ImageClassifierTest {
    private static final List<String> CLASSES = List.of("across", "down", "slanted");
    private static final String WEIGHTS = "adapter_model.safetensors";

    @TempDir static Path shared;
    private static Path model;
    private static ImageFolder folder;
    private static ImageFolder.Split split;

    @TempDir Path temporary;

    /** Stands for a kill. */
    private static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }

    @BeforeAll
    static void write() {
        OneDnn.ensureLoaded();
        model = TinyVit.writeForPictures(shared.resolve("model"));
        TinyVit.writePictures(shared.resolve("pictures"), CLASSES, 30, 5);
        folder = ImageFolder.open(shared.resolve("pictures"));
        split = folder.split(CLASSES, folder.match(CLASSES), 1);
    }

    private static ImageClassifier open() {
        ImageClassifier classifier = ImageClassifier.open(model, Exec.CPU);
        classifier.trainClassifier(CLASSES);
        return classifier;
    }

    private static AdapterOptions options(AdapterKind kind) {
        return new AdapterOptions(kind, 4, 8, AdapterOptions.DEFAULT_IMAGE_TARGETS, 1, 0.1);
    }

    private static TrainOptions training(int steps) {
        return new TrainOptions(steps, 8, 2, 1e-2, 3, 0.01, 1, 5, 0, 3);
    }

    private static TrainingRun.Outcome run(
            Path output, AdapterKind kind, int steps, int every, boolean resume, int killAt) {
        ImageClassifier classifier = open();
        TrainingRun run =
                new TrainingRun(
                        classifier,
                        output,
                        options(kind),
                        training(steps),
                        split.training(),
                        split.validation(),
                        new TrainingRun.Keeping(every, resume, null));
        return run.run(
                Map.of(),
                new Trainer.Listener() {
                    @Override
                    public void stepped(int s, double l, double r, double g, long images) {
                        assertTrue(images > 0 && images <= 16);
                        if (s == killAt) {
                            throw new Killed();
                        }
                    }

                    @Override
                    public void validated(int step, double loss, boolean best) {}
                });
    }

    @ParameterizedTest
    @EnumSource(names = {"LORA", "HYPLORA_COEFF"})
    void tellsStripesApartAfterTraining(AdapterKind kind) {
        Path output = temporary.resolve("run");
        TrainingRun.Outcome outcome = run(output, kind, 50, 0, false, -1);
        assertEquals(50, outcome.result().steps());
        ImageClassifier classifier = ImageClassifier.open(model, Exec.CPU);
        assertNull(folder.match(classifier.labels()), "the checkpoint knows other classes");
        classifier.loadAdapter(output);
        assertEquals(CLASSES, classifier.labels());
        List<ImageFolder.Image> unseen = unseen(40);
        ImageClassifier.Score score = classifier.evaluate(unseen, done -> {});
        assertTrue(score.accuracy() > 0.9, "right of unseen: " + score.accuracy());
        assertEquals(
                Math.sqrt(score.accuracy() * (1 - score.accuracy()) / 120), score.standardError());
        int right = 0;
        for (int label = 0; label < CLASSES.size(); label++) {
            assertEquals(40, score.ofClass(label)[0]);
            right += score.ofClass(label)[1];
        }
        assertEquals(score.rightAnswers(), right);
        assertEquals(score.total(), unseen.size());
    }

    private List<ImageFolder.Image> unseen(int each) {
        Path pictures = temporary.resolve("unseen");
        TinyVit.writePictures(pictures, CLASSES, each, 99);
        ImageFolder others = ImageFolder.open(pictures);
        return others.evaluation(others.match(CLASSES));
    }

    @Test
    void theCoefficientsAloneLearnWithTheClassifierKept() {
        ImageClassifier classifier = ImageClassifier.open(model, Exec.CPU);
        classifier.trainClassifier(null);
        Adapter adapter = classifier.attach(options(AdapterKind.COEFF), 1);
        assertEquals(2 * 2 * 2, adapter.parameterCount(), "two layers of two heads");
        Trainer.Result result =
                classifier
                        .trainer(new TrainOptions(25, 8, 1, 3e-2, 0, 0, 1, 25, 3))
                        .run(
                                classifier.endless(split.training(), 8, 1, 0),
                                classifier.batches(split.training(), 8),
                                new Trainer.Listener() {
                                    @Override
                                    public void stepped(
                                            int s, double l, double r, double g, long images) {}

                                    @Override
                                    public void validated(int s, double loss, boolean best) {}
                                });
        assertTrue(
                result.bestValidation() < result.firstValidation() - 0.01,
                result.firstValidation() + " to " + result.bestValidation());
        Path output = temporary.resolve("adapter");
        classifier.saveAdapter(output);
        assertNull(AdapterFiles.read(output).head());
        assertEquals(List.of(), AdapterConfig.read(output).modulesToSave());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 6, 9, 10})
    void aKilledRunGoesOnBitForBit(int killed) throws IOException {
        Path straight = temporary.resolve("straight");
        run(straight, AdapterKind.LORA_COEFF, 10, 0, false, -1);
        Path output = temporary.resolve("run");
        assertThrows(Killed.class, () -> run(output, AdapterKind.LORA_COEFF, 10, 3, false, killed));
        run(output, AdapterKind.LORA_COEFF, 10, 3, true, -1);
        assertArrayEquals(
                Files.readAllBytes(straight.resolve(WEIGHTS)),
                Files.readAllBytes(output.resolve(WEIGHTS)));
        assertEquals(course(straight), course(output));
    }

    /** The metrics without what depends on the clock. */
    private static List<String> course(Path run) throws IOException {
        List<String> lines = new ArrayList<>();
        for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
            ObjectNode json = (ObjectNode) Json.MAPPER.readTree(line);
            json.remove(List.of("elapsed", "images_per_s"));
            lines.add(json.toString());
        }
        return lines;
    }

    @Test
    void aRunOnOtherImagesOrClassesIsNotResumed() {
        Path output = temporary.resolve("run");
        assertThrows(Killed.class, () -> run(output, AdapterKind.LORA, 10, 1, false, 3));
        ImageClassifier classifier = open();
        classifier.trainClassifier(List.of("x", "y", "z"));
        List<ImageFolder.Image> fewer = split.training().subList(1, split.training().size());
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () ->
                                new TrainingRun(
                                        classifier,
                                        output,
                                        options(AdapterKind.LORA),
                                        training(10),
                                        fewer,
                                        split.validation(),
                                        new TrainingRun.Keeping(1, true, null)));
        assertTrue(e.getMessage().contains("training data is not the same"), e.getMessage());
        assertTrue(
                e.getMessage().contains("classifier is [x, y, z] and was [across"), e.getMessage());
    }

    @Test
    void adaptersMergeWithTheirClassifier() throws IOException {
        Path output = temporary.resolve("run");
        run(output, AdapterKind.DORA, 10, 0, false, -1);
        ImageClassifier adapted = ImageClassifier.open(model, Exec.CPU);
        adapted.loadAdapter(output);
        List<ImageFolder.Image> unseen = unseen(10);
        ImageClassifier.Score want = adapted.evaluate(unseen, done -> {});
        Path merged = temporary.resolve("merged");
        Merger.merge(model, output, merged, DType.F32, Exec.CPU);
        ImageClassifier alone = ImageClassifier.open(merged, Exec.CPU);
        ImageClassifier.Score got = alone.evaluate(unseen, done -> {});
        assertEquals(CLASSES, alone.labels());
        assertEquals(want.loss(), got.loss(), 1e-5 * want.loss());
        assertArrayEquals(want.predictions(), got.predictions());
        JsonNode json = Json.MAPPER.readTree(merged.resolve(ModelConfig.FILE).toFile());
        assertEquals(2, json.get("label2id").get("slanted").intValue());
    }

    @Test
    void whatMixesHeadsDoesNotMerge() {
        Path output = temporary.resolve("run");
        run(output, AdapterKind.COEFF, 3, 0, false, -1);
        Path merged = temporary.resolve("merged");
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () -> Merger.merge(model, output, merged, DType.F32, Exec.CPU));
        assertTrue(e.getMessage().contains("cannot be merged exactly"), e.getMessage());
        assertTrue(Files.notExists(merged));
    }

    @Test
    void theFirstDamagedImageIsNamedBeforeAnyWork() throws IOException {
        Path pictures = temporary.resolve("pictures");
        TinyVit.writePictures(pictures, CLASSES, 6, 1);
        Files.writeString(pictures.resolve("down/0.png"), "no image");
        Files.write(pictures.resolve("slanted/2.gif"), new byte[0]);
        ImageFolder damaged = ImageFolder.open(pictures);
        ImageClassifier classifier = open();
        List<ImageFolder.Image> all = damaged.evaluation(damaged.match(CLASSES));
        DataException e =
                assertThrows(DataException.class, () -> classifier.prepare(all, done -> {}));
        assertTrue(
                e.getMessage().endsWith("0.png: is no PNG, JPEG, BMP or GIF image"),
                e.getMessage());
        Files.delete(pictures.resolve("down/0.png"));
        ImageFolder rest = ImageFolder.open(pictures);
        e =
                assertThrows(
                        DataException.class,
                        () -> classifier.prepare(rest.evaluation(rest.match(CLASSES)), d -> {}));
        assertTrue(e.getMessage().endsWith("2.gif: is empty"), e.getMessage());
    }

    @Test
    void damagedWeightsAreNamed() {
        VitConfig config =
                new VitConfig(16, 32, 2, 2, 8, 16, 16, 4, 4, 3, 1e-6, true, 0.02, TinyVit.LABELS);
        TinyVit vit = new TinyVit(config);
        vit.weights.get("vit.layers.1.mlp.fc1.weight")[3] = Double.NaN;
        Path broken = vit.write(temporary.resolve("broken"), VitNames::old);
        ImageClassifier classifier = ImageClassifier.open(broken, Exec.CPU);
        CheckpointException e =
                assertThrows(
                        CheckpointException.class,
                        () -> classifier.evaluate(split.test(), done -> {}));
        assertTrue(e.getMessage().contains("vit.layers.1.mlp.fc1.weight has NaN"), e.getMessage());
    }
}
