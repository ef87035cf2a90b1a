package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntToLongFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Models against Hugging Face transformers and PEFT where those numbers are present; and, on a
 * model verified against itself, that the verifier sees a wrong number.
 */
class ModelVerifierTest {
    @TempDir Path temporary;

    private static Set<String> quantities(List<ModelVerifier.Result> results) {
        return results.stream()
                .map(r -> r.op().substring(r.op().indexOf('.') + 1))
                .collect(Collectors.toSet());
    }

    private static List<String> failures(Path directory) {
        return ModelVerifier.verify(directory, Exec.CPU).stream()
                .filter(r -> !r.ok())
                .map(ModelVerifier.Result::op)
                .toList();
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2", "llama3", "qwen2", "gemma"})
    void modelsAreThoseOfHuggingFace(String name) {
        Path directory = SharedTestData.require("golden/hf/" + name);
        List<ModelVerifier.Result> results = ModelVerifier.verify(directory, Exec.CPU);
        Set<String> expected =
                new TreeSet<>(
                        Set.of(
                                "logits",
                                "hidden",
                                "loss",
                                "greedy",
                                "grad_hidden",
                                "adapter_grad"));
        if (Set.of("llama3", "qwen2").contains(name)) {
            expected.addAll(
                    Set.of(
                            "train.loss",
                            "train.grad_norm",
                            "train.lr",
                            "train.adapter",
                            "train.adam_m"));
        }
        assertEquals(expected, quantities(results));
        for (ModelVerifier.Result result : results) {
            assertTrue(result.ok(), result.toString());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "config_v4.json"})
    void visionTransformersAreThoseOfHuggingFace(String config) throws IOException {
        Path directory = SharedTestData.require("golden/hf/vit");
        Path copy = copy(directory);
        Files.copy(
                directory.resolve(config),
                copy.resolve(ModelConfig.FILE),
                StandardCopyOption.REPLACE_EXISTING);
        List<ModelVerifier.Result> results = ModelVerifier.verify(copy, Exec.CPU);
        assertEquals(
                Set.of("logits", "hidden", "loss", "grad_hidden", "adapter_grad"),
                quantities(results));
        for (ModelVerifier.Result result : results) {
            assertTrue(result.ok(), result.toString());
        }
        int adapters = 2; // under the names of both versions of transformers
        assertEquals(1 + adapters, results.get(0).cases());
    }

    @Test
    void aWrongVisionTransformerIsSeen() throws IOException {
        OneDnn.ensureLoaded();
        Path directory = temporary.resolve("vit");
        TinyVit vit = new TinyVit(true);
        vit.write(directory, VitNames::old);
        ObjectNode numbers = Json.MAPPER.createObjectNode();
        List<TensorData> golden = new ArrayList<>();
        double[] pixels = vit.pixels(3);
        Vit.Batch batch = TinyVit.batch(pixels, 2, 0, 1);
        golden.add(TensorData.of("pixel_values", floats(pixels), 3, 3, 8, 10));
        long[] labels = {2, 0, 1};
        golden.add(
                new TensorData(
                        "labels", TensorType.I64, new long[] {3}, MemorySegment.ofArray(labels)));
        record(vit, batch, "base.", golden, numbers);
        Adapter adapter =
                Adapter.create(
                        vit.model,
                        new AdapterOptions(AdapterKind.LORA, 3, 6, Set.of("q_proj"), 1, 0),
                        1);
        vit.randomise(adapter);
        adapter.save(directory.resolve("adapter_init"), "vit");
        record(vit, batch, "lora.", golden, numbers);
        vit.model.loss(1f / 3);
        vit.model.backward(
                (index, grad) ->
                        golden.add(
                                TensorData.of(
                                        "lora.grad_hidden."
                                                + (index == 3 ? "norm" : "layer." + (index - 1)),
                                        grad,
                                        grad.length)));
        for (Tensor t : adapter.parameters().tensors()) {
            String name = "lora.grad.base_model.model." + t.name();
            float[] grad = Buffers.toArray(t.grad(), t.size());
            golden.add(TensorData.of(name, grad, grad.length));
        }
        Files.writeString(directory.resolve("golden.json"), numbers.toString());
        SafeTensors.write(directory.resolve("golden.safetensors"), golden, Map.of());
        assertTrue(ModelVerifier.isModel(directory));
        assertEquals(List.of(), failures(directory));
        Map<String, String> quantities =
                Map.of(
                        "lora.logits", "vit.logits",
                        "base.hidden.embed", "vit.hidden",
                        "lora.grad_hidden.norm", "vit.grad_hidden",
                        "lora.grad.base_model.model.vit.layers.1.attention.q_proj.lora_A.weight",
                                "vit.adapter_grad");
        for (Map.Entry<String, String> wrong : quantities.entrySet()) {
            List<TensorData> changed = new ArrayList<>();
            for (TensorData tensor : golden) {
                changed.add(tensor.name().equals(wrong.getKey()) ? offByAShare(tensor) : tensor);
            }
            SafeTensors.write(directory.resolve("golden.safetensors"), changed, Map.of());
            assertEquals(List.of(wrong.getValue()), failures(directory));
        }
        SafeTensors.write(directory.resolve("golden.safetensors"), golden, Map.of());
        numbers.put("lora.loss", 1.00001 * numbers.get("lora.loss").doubleValue());
        Files.writeString(directory.resolve("golden.json"), numbers.toString());
        assertEquals(List.of("vit.loss"), failures(directory));
    }

    private static float[] floats(double[] values) {
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) values[i];
        }
        return floats;
    }

    private static TensorData offByAShare(TensorData tensor) {
        float[] wrong = tensor.toFloatArray();
        float largest = 0;
        for (float x : wrong) {
            largest = Math.max(largest, Math.abs(x));
        }
        wrong[0] += 1e-4f * largest;
        return TensorData.of(tensor.name(), wrong, tensor.shape());
    }

    private static void record(
            TinyVit vit,
            Vit.Batch batch,
            String prefix,
            List<TensorData> golden,
            ObjectNode numbers) {
        numbers.put(prefix + "loss", vit.model.loss(batch, Float.NaN) / 3);
        float[] logits = vit.model.logits();
        golden.add(TensorData.of(prefix + "logits", logits, logits.length));
        List<String> names = List.of("embed", "layer.0", "layer.1", "norm");
        for (int i = 0; i < names.size(); i++) {
            float[] hidden = vit.model.hidden(i);
            golden.add(TensorData.of(prefix + "hidden." + names.get(i), hidden, hidden.length));
        }
    }

    @Test
    void aWrongEpsilonIsSeenEverywhere() throws IOException {
        Path copy = copy(SharedTestData.require("golden/hf/llama3"));
        Path config = copy.resolve(ModelConfig.FILE);
        ObjectNode json = (ObjectNode) Json.MAPPER.readTree(config.toFile());
        json.put("rms_norm_eps", 10 * json.get("rms_norm_eps").doubleValue());
        Files.writeString(config, json.toString());
        String op = copy.getFileName() + ".";
        List<String> failures = failures(copy);
        for (String quantity : List.of("logits", "hidden", "adapter_grad", "train.adam_m")) {
            assertTrue(failures.contains(op + quantity), quantity + " in " + failures);
        }
    }

    @Test
    void aWrongTrainingCurveIsSeen() throws IOException {
        Path copy = copy(SharedTestData.require("golden/hf/qwen2"));
        Path file = copy.resolve("train.json");
        ObjectNode json = (ObjectNode) Json.MAPPER.readTree(file.toFile());
        ArrayNode losses = (ArrayNode) json.get("loss");
        losses.set(7, losses.get(7).doubleValue() * (1 + 1e-5));
        Files.writeString(file, json.toString());
        assertEquals(List.of(copy.getFileName() + ".train.loss"), failures(copy));
        losses.remove(7);
        Files.writeString(file, json.toString());
        assertThrows(CheckpointException.class, () -> failures(copy));
    }

    private Path copy(Path from) throws IOException {
        Path to = temporary.resolve("copy-of-" + from.getFileName());
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(from.relativize(file).toString()));
            }
        }
        return to;
    }

    /** A tiny model with its own numbers as reference. */
    private final class SelfMade {
        final Path directory = temporary.resolve("tiny");
        final Map<String, TensorData> golden = new HashMap<>();
        final ObjectNode numbers = Json.MAPPER.createObjectNode();

        SelfMade() {
            ModelConfig config = TinyLlama.config(ModelConfig.Family.QWEN2, true);
            ModelWriter.write(
                    directory,
                    config,
                    new Pretraining(config, 3, Exec.CPU).weights(),
                    DType.F32,
                    null);
            int[] ids = {1, 5, 9, 3, 4, 7, 1, 8, 2, 6, 0, 0};
            int[] targets = {5, 9, 3, 4, 7, -100, 8, 2, 6, -100, -100, -100};
            boolean[] real = new boolean[12];
            Arrays.fill(real, 0, 10, true);
            put("input_ids", i -> ids[i]);
            put("labels", i -> real[i] ? ids[i] : -100);
            put("attention_mask", i -> real[i] ? 1 : 0);

            Llama model = Llama.load(directory, Exec.CPU);
            forward(model, ids, targets, "base.");
            Llama.Cache cache = model.cache(5);
            ObjectNode greedy = numbers.putObject("greedy");
            greedy.putArray("prompt").add(1).add(5);
            int first = CausalLm.argmax(model.extend(cache, new int[] {1, 5}), 17);
            int second = CausalLm.argmax(model.extend(cache, new int[] {first}), 17);
            greedy.putArray("new_tokens").add(first).add(second);

            Adapter adapter = Adapter.create(model, AdapterOptions.of(AdapterKind.LORA), 1);
            for (Tensor tensor : adapter.parameters().tensors()) {
                float[] values = new float[Math.toIntExact(tensor.size())];
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) Math.sin(i + values.length);
                }
                Buffers.set(tensor.value(), values);
            }
            adapter.save(directory.resolve("adapter_init"), "tiny");
            forward(model, ids, targets, "lora.");
            model.loss(targets, 1f / 8);
            model.backward(
                    (index, grad) ->
                            put(
                                    "lora.grad_hidden."
                                            + (index == 3 ? "norm" : "layer." + (index - 1)),
                                    grad));
            for (Tensor t : adapter.parameters().tensors()) {
                put("lora.grad.base_model.model." + t.name(), Buffers.toArray(t.grad(), t.size()));
            }
        }

        private void forward(Llama model, int[] ids, int[] targets, String prefix) {
            model.forward(2, 6, ids);
            numbers.put(prefix + "loss", model.loss(targets, Float.NaN) / 8);
            put(prefix + "logits", model.allLogits());
            List<String> names = List.of("embed", "layer.0", "layer.1", "norm");
            for (int i = 0; i < names.size(); i++) {
                put(prefix + "hidden." + names.get(i), model.hidden(i));
            }
        }

        private void put(String name, float[] values) {
            golden.put(name, TensorData.of(name, values, values.length));
        }

        private void put(String name, IntToLongFunction value) {
            long[] values = new long[12];
            Arrays.setAll(values, value);
            golden.put(
                    name,
                    new TensorData(
                            name,
                            TensorType.I64,
                            new long[] {2, 6},
                            MemorySegment.ofArray(values)));
        }

        /** Tests with one tensor's first number off by a share of the largest. */
        List<String> failures(String tensor, double share) throws IOException {
            List<TensorData> tensors = new ArrayList<>(golden.values());
            if (tensor != null) {
                float[] wrong = golden.get(tensor).toFloatArray();
                float largest = 0;
                for (float x : wrong) {
                    largest = Math.max(largest, Math.abs(x));
                }
                wrong[0] += (float) (share * largest);
                tensors.remove(golden.get(tensor));
                tensors.add(TensorData.of(tensor, wrong, wrong.length));
            }
            SafeTensors.write(directory.resolve("golden.safetensors"), tensors, Map.of());
            Files.writeString(directory.resolve("golden.json"), numbers.toString());
            return ModelVerifierTest.failures(directory);
        }
    }

    @Test
    void oneWrongNumberIsSeenAndNamed() throws IOException {
        OneDnn.ensureLoaded();
        SelfMade tiny = new SelfMade();
        assertFalse(ModelVerifier.isModel(tiny.directory));
        assertEquals(List.of(), tiny.failures(null, 0));
        assertTrue(ModelVerifier.isModel(tiny.directory));
        Map<String, String> quantities =
                Map.of(
                        "base.logits", "logits",
                        "lora.hidden.layer.1", "hidden",
                        "lora.hidden.norm", "hidden",
                        "lora.grad_hidden.layer.0", "grad_hidden");
        String branch = "lora.grad.base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight";
        for (var entry : quantities.entrySet()) {
            assertEquals(List.of("tiny." + entry.getValue()), tiny.failures(entry.getKey(), 1e-4));
            assertEquals(List.of(), tiny.failures(entry.getKey(), 1e-6));
        }
        assertEquals(List.of("tiny.adapter_grad"), tiny.failures(branch, 1e-4));
        assertEquals(List.of("tiny.logits"), tiny.failures("base.logits", Double.NaN));

        double loss = tiny.numbers.get("lora.loss").doubleValue();
        tiny.numbers.put("lora.loss", loss * (1 + 5e-6));
        assertEquals(List.of("tiny.loss"), tiny.failures(null, 0));
        tiny.numbers.put("lora.loss", loss);
        ArrayNode greedy = (ArrayNode) tiny.numbers.get("greedy").get("new_tokens");
        greedy.set(1, (greedy.get(1).intValue() + 1) % 17);
        assertEquals(List.of("tiny.greedy"), tiny.failures(null, 0));
        tiny.numbers.remove("greedy");
        assertThrows(CheckpointException.class, () -> tiny.failures(null, 0));
    }

    @Test
    void aMissingTensorIsAnError() throws IOException {
        OneDnn.ensureLoaded();
        SelfMade tiny = new SelfMade();
        tiny.golden.remove("lora.logits");
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> tiny.failures(null, 0));
        assertTrue(e.getMessage().contains("lora.logits"), e.getMessage());
    }
}
