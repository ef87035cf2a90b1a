package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The composed model against {@link ReferenceVit}: values, and gradients by differences of the
 * reference.
 */
class VitTest {
    private static final int[] LABELS = {2, 0, 1};
    private static final Set<String> TARGETS = Set.of("q_proj", "v_proj", "o_proj", "fc1", "fc2");

    @TempDir Path temporary;

    @BeforeAll
    static void gemm() {
        OneDnn.ensureLoaded();
    }

    private static AdapterOptions options(AdapterKind kind) {
        return new AdapterOptions(kind, 3, 6, TARGETS, 0.7, 0);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void lossAndLogitsMatchTheReference(boolean qkvBias) {
        TinyVit vit = new TinyVit(qkvBias);
        double[] pixels = vit.pixels(3);
        ReferenceVit reference = new ReferenceVit(vit.config, vit.weights, Map.of(), 0);
        double loss = vit.model.loss(TinyVit.batch(pixels, LABELS), Float.NaN);
        assertEquals(reference.loss(pixels, LABELS), loss, 1e-5 * loss);
        float[] logits = vit.model.logits();
        for (int i = 0; i < logits.length; i++) {
            assertEquals(reference.logits(pixels, i / 3)[i % 3], logits[i], 1e-5);
        }
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void adapterGradientsMatchTheReference(AdapterKind kind) {
        TinyVit vit = new TinyVit(true);
        // other classes than the checkpoint's, so that the classifier's gradients are there too
        vit.model.classifier().want(List.of("a", "b", "c", "d"));
        Adapter adapter = Adapter.create(vit.model, options(kind), 3);
        compareWithReference(vit, adapter, vit.pixels(3));
    }

    private static void compareWithReference(TinyVit vit, Adapter adapter, double[] pixels) {
        Map<String, double[]> values = vit.randomise(adapter);
        adapter.parameters().clearGradients();
        adapter.beginStep(0);
        int[] labels = pixels.length == vit.config.imageSize() ? new int[] {1} : LABELS;
        double loss = vit.model.loss(TinyVit.batch(pixels, labels), 1);
        vit.model.backward();
        adapter.endStep();
        ReferenceVit reference = new ReferenceVit(vit.config, vit.weights, values, 2);
        assertEquals(reference.loss(pixels, labels), loss, 2e-5 * loss);
        for (Tensor tensor : adapter.parameters().tensors()) {
            double[] x = values.get(tensor.name());
            double scale = 0;
            for (float g : Buffers.toArray(tensor.grad(), tensor.size())) {
                scale = Math.max(scale, Math.abs(g));
            }
            assertTrue(scale > 0, tensor.name() + " has no gradient");
            for (int trial = 0; trial < Math.min(6, x.length); trial++) {
                int i = x.length <= 6 ? trial : vit.random.nextInt(x.length);
                double saved = x[i];
                double h = 1e-5;
                x[i] = saved + h;
                double up = reference.loss(pixels, labels);
                x[i] = saved - h;
                double down = reference.loss(pixels, labels);
                x[i] = saved;
                assertEquals(
                        (up - down) / (2 * h),
                        tensor.grad().getAtIndex(ValueLayout.JAVA_FLOAT, i),
                        3e-5 * Math.max(scale, 0.1),
                        tensor.name() + "[" + i + "]");
            }
        }
    }

    @Test
    void headsMixOverTheLengthOfTheUsualModels() {
        // 14 x 14 patches and the class token, as images of 224 pixels have: 197 positions
        TinyVit vit =
                new TinyVit(
                        new VitConfig(
                                8, 8, 1, 4, 2, 28, 28, 2, 2, 3, 1e-6, true, 0.02, TinyVit.LABELS));
        assertEquals(197, vit.config.length());
        Adapter adapter = Adapter.create(vit.model, options(AdapterKind.COEFF), 3);
        compareWithReference(vit, adapter, vit.pixels(1));
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void freshAdaptersChangeNothingBitForBit(AdapterKind kind) {
        TinyVit vit = new TinyVit(true);
        Vit.Batch batch = TinyVit.batch(vit.pixels(3), LABELS);
        vit.model.forward(batch);
        float[] base = vit.model.logits();
        vit.model.classifier().want(TinyVit.LABELS);
        Adapter adapter = Adapter.create(vit.model, options(kind), 1);
        vit.model.forward(batch);
        assertArrayEquals(base, vit.model.logits());
        vit.randomise(adapter);
        vit.model.forward(batch);
        assertTrue(base[0] != vit.model.logits()[0]);
        adapter.detach();
        vit.model.forward(batch);
        assertArrayEquals(base, vit.model.logits());
    }

    @ParameterizedTest
    @EnumSource(names = {"LORA", "HYPLORA_COEFF"})
    void checkpointingGivesTheSameBits(AdapterKind kind) {
        List<float[]> results = new ArrayList<>();
        for (boolean checkpointing : new boolean[] {false, true}) {
            TinyVit vit = new TinyVit(true);
            Adapter adapter = Adapter.create(vit.model, options(kind), 1);
            vit.randomise(adapter);
            vit.model.setCheckpointing(checkpointing);
            adapter.parameters().clearGradients();
            vit.model.loss(TinyVit.batch(vit.pixels(3), LABELS), 1);
            vit.model.backward();
            results.add(vit.model.logits());
            for (Tensor tensor : adapter.parameters().tensors()) {
                results.add(Buffers.toArray(tensor.grad(), tensor.size()));
            }
        }
        int half = results.size() / 2;
        for (int i = 1; i < half; i++) {
            assertArrayEquals(results.get(i), results.get(half + i));
        }
    }

    @Test
    void checkpointsOfEveryNamingAreTheSameModel() {
        TinyVit vit = new TinyVit(true);
        Vit.Batch batch = TinyVit.batch(vit.pixels(3), LABELS);
        vit.model.forward(batch);
        float[] want = vit.model.logits();
        Path old = vit.write(temporary.resolve("old"), VitNames::old);
        Path current = vit.write(temporary.resolve("current"), name -> name);
        Path bare =
                vit.write(
                        temporary.resolve("bare"),
                        name -> VitNames.old(name).replaceFirst("^vit\\.", ""));
        for (Path directory : List.of(old, current, bare)) {
            Vit loaded = Vit.load(directory, Exec.CPU);
            loaded.forward(batch);
            assertArrayEquals(want, loaded.logits(), directory.toString());
        }
        Vit rounded = Vit.load(old, Exec.CPU, DType.BF16);
        rounded.forward(batch);
        float[] near = rounded.logits();
        for (int i = 0; i < want.length; i++) {
            assertEquals(want[i], near[i], 0.1);
        }
        assertTrue(want[0] != near[0], "the arithmetic is bfloat16");
        Path headless =
                vit.write(
                        temporary.resolve("headless"),
                        name -> name.startsWith("classifier") ? null : name);
        Vit without = Vit.load(headless, Exec.CPU);
        assertNull(without.classifier().head());
        Path broken =
                vit.write(
                        temporary.resolve("broken"),
                        name -> name.endsWith("1.mlp.fc2.bias") ? null : name);
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> Vit.load(broken, Exec.CPU));
        assertTrue(e.getMessage().contains("vit.layers.1.mlp.fc2.bias is missing"), e.getMessage());
    }

    @Test
    void namesGoBothWays() {
        TinyVit vit = new TinyVit(true);
        for (String name : vit.shapes.keySet()) {
            assertEquals(name, VitNames.current(VitNames.old(name)));
        }
        assertEquals(
                "vit.encoder.layer.3.attention.output.dense.bias",
                VitNames.old("vit.layers.3.attention.o_proj.bias"));
        assertEquals("vit.layers.3.mlp.fc2", VitNames.current("vit.encoder.layer.3.output.dense"));
        assertEquals("vit.encoder.layer.3.other", VitNames.current("vit.encoder.layer.3.other"));
    }

    @Test
    void adaptersOfTheOldNamesAreReadAndSavedUnderTheNew() {
        TinyVit vit = new TinyVit(true);
        Vit.Batch batch = TinyVit.batch(vit.pixels(3), LABELS);
        Adapter adapter =
                Adapter.create(
                        vit.model,
                        new AdapterOptions(
                                AdapterKind.DORA, 3, 6, Set.of("query", "output.dense"), 1, 0),
                        1);
        assertEquals(6, adapter.branches().size(), "q_proj, o_proj and fc2 of two layers");
        vit.randomise(adapter);
        vit.model.forward(batch);
        float[] want = vit.model.logits();
        AdapterFiles files = adapter.files("base");
        assertEquals(TargetModules.of("fc2", "o_proj", "q_proj"), files.config().targetModules());
        adapter.detach();

        Map<String, LowRank> renamed = new java.util.TreeMap<>();
        files.lowRank().forEach((path, m) -> renamed.put(VitNames.old(path), m));
        AdapterConfig config =
                files.config()
                        .withModules(TargetModules.matching(".*(query|dense)"), Map.of(), Map.of());
        Path directory = temporary.resolve("adapter");
        new AdapterFiles(config, renamed, Map.of()).write(directory);
        Adapter loaded = Adapter.load(vit.model, directory);
        vit.model.forward(batch);
        assertArrayEquals(want, vit.model.logits());
        assertEquals(files.lowRank().keySet(), loaded.files("base").lowRank().keySet());
        assertEquals(
                TargetModules.of("fc2", "o_proj", "q_proj"),
                loaded.files("base").config().targetModules());
    }

    @ParameterizedTest
    @EnumSource(AdapterKind.class)
    void savedAdaptersAndClassifiersComeBack(AdapterKind kind) {
        TinyVit vit = new TinyVit(true);
        Vit.Batch batch = TinyVit.batch(vit.pixels(3), LABELS);
        List<String> classes = List.of("1", "zwei", "\"three\"", "vier");
        vit.model.classifier().want(classes);
        Adapter adapter = Adapter.create(vit.model, options(kind), 1);
        vit.randomise(adapter);
        vit.model.forward(batch);
        float[] want = vit.model.logits();
        Path directory = temporary.resolve("adapter");
        adapter.save(directory, "base");
        adapter.detach();
        AdapterConfig config = AdapterConfig.read(directory);
        assertEquals(List.of("classifier"), config.modulesToSave());
        assertNull(config.taskType());

        Adapter.load(vit.model, directory);
        vit.model.forward(batch);
        float[] got = vit.model.logits();
        for (int i = 0; i < want.length; i++) {
            // K and s are saved as they are and trained as logarithms
            assertEquals(want[i], got[i], kind.isHyperbolic() ? 1e-5 : 0);
        }
        assertEquals(classes, vit.model.classifier().head().labels());
    }

    @Test
    void adaptersThatDoNotFitAreRefused() {
        TinyVit vit = new TinyVit(true);
        vit.model.classifier().want(List.of("a", "b"));
        Adapter adapter = Adapter.create(vit.model, options(AdapterKind.LORA_COEFF), 1);
        AdapterFiles files = adapter.files("base");
        adapter.detach();
        Path directory = temporary.resolve("adapter");
        AdapterFiles.Head narrow =
                new AdapterFiles.Head(new float[2 * 11], new float[2], List.of("a", "b"));
        new AdapterFiles(
                        files.config(),
                        files.lowRank(),
                        files.coeffAlpha(),
                        AdapterFiles.Layout.VIT,
                        narrow)
                .write(directory);
        refused(vit, directory, "its classifier has 22 weights for 2 classes");
        new AdapterFiles(
                        files.config(),
                        files.lowRank(),
                        files.coeffAlpha(),
                        AdapterFiles.Layout.DECODER,
                        files.head())
                .write(directory);
        refused(vit, directory, "another kind of model");
        assertThrows(
                IllegalArgumentException.class,
                () -> new AdapterFiles.Head(new float[4], new float[2], List.of("a")));
    }

    private static void refused(TinyVit vit, Path directory, String reason) {
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> Adapter.load(vit.model, directory));
        assertTrue(e.getMessage().contains(reason), e.getMessage());
    }

    @Test
    void configurationsOfBothVersionsAreRead() throws java.io.IOException {
        TinyVit vit = new TinyVit(false);
        Path directory = vit.write(temporary.resolve("model"), name -> name);
        assertEquals(vit.config, VitConfig.read(directory));
        assertTrue(VitConfig.isVit(directory));
        com.fasterxml.jackson.databind.node.ObjectNode json = vit.json();
        json.remove(List.of("image_size", "patch_size", "id2label", "qkv_bias"));
        json.put("image_size", 30).put("patch_size", 7).put("torch_dtype", "float32");
        Path file = directory.resolve(ModelConfig.FILE);
        Files.writeString(file, json.toString());
        VitConfig square = VitConfig.read(directory);
        assertEquals(16, square.patches());
        assertEquals(List.of("LABEL_0", "LABEL_1"), square.labels());
        assertTrue(square.qkvBias());
        Map<String, Object> bad =
                Map.of(
                        "hidden_act",
                        "quick_gelu",
                        "hidden_dropout_prob",
                        0.1,
                        "num_attention_heads",
                        5,
                        "patch_size",
                        31,
                        "image_size",
                        List.of(3),
                        "problem_type",
                        "regression",
                        "architectures",
                        List.of("ViTForMaskedImageModeling"),
                        "layer_norm_eps",
                        -1,
                        "id2label",
                        Map.of("1", "a"));
        bad.forEach(
                (key, value) -> {
                    com.fasterxml.jackson.databind.node.ObjectNode wrong = json.deepCopy();
                    wrong.set(key, Json.MAPPER.valueToTree(value));
                    try {
                        Files.writeString(file, wrong.toString());
                    } catch (java.io.IOException e) {
                        throw new java.io.UncheckedIOException(e);
                    }
                    CheckpointException e =
                            assertThrows(
                                    CheckpointException.class,
                                    () -> VitConfig.read(directory),
                                    key);
                    assertTrue(e.getMessage().contains(key), e.getMessage());
                });
    }

    @Test
    void theMemoryEstimateIsWhatAStepAllocates() throws ReflectiveOperationException {
        for (boolean checkpointing : new boolean[] {false, true}) {
            TinyVit vit = new TinyVit(true);
            vit.model.setCheckpointing(checkpointing);
            Adapter.create(vit.model, options(AdapterKind.COEFF), 1);
            long estimate = vit.model.activationBytes(3);
            vit.model.loss(TinyVit.batch(vit.pixels(3), LABELS), 1);
            vit.model.backward();
            List<Object> owners = new ArrayList<>();
            owners.add(vit.model);
            owners.add(MemoryEstimateTest.field(vit.model, "temporaries"));
            owners.add(MemoryEstimateTest.field(vit.model, "products"));
            owners.addAll(vit.model.layers());
            for (Vit.Layer layer : vit.model.layers()) {
                owners.add(MemoryEstimateTest.field(layer, "kept"));
            }
            long alpha = 0;
            for (Vit.Layer layer : vit.model.layers()) {
                alpha += layer.alphaInUse.byteSize();
            }
            assertEquals(MemoryEstimateTest.sum(owners) - alpha, estimate);
        }
    }
}
