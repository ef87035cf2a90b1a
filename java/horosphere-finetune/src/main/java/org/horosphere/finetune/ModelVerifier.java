package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.horosphere.Exec;

/**
 * Compares a model with what Hugging Face transformers and PEFT computed from the same files: a
 * model directory that also holds {@code golden.json}, {@code golden.safetensors}, an adapter in
 * {@code adapter_init} and, if it was trained, {@code train.json} and {@code train.safetensors}.
 */
public final class ModelVerifier {
    private static final String NUMBERS = "golden.json";
    private static final String PREFIX = "base_model.model.";

    /** Allowed errors relative to the largest reference number; HF's own noise is about 1e-6. */
    private static final double VALUES = 1e-5;

    private static final double GRADIENTS = 3e-5;
    private static final double LOSSES = 2e-6;
    private static final double TRAINED = 1e-4;
    private static final double MOMENTS = 2e-5;

    /**
     * One quantity.
     *
     * @param op model and quantity, such as {@code llama3.logits}
     * @param pass {@code forward}, {@code backward} or {@code train}
     * @param cases how many tensors or numbers were compared
     * @param error the largest difference over the cases, relative to the largest reference number
     *     of its case; for tokens how many differ
     * @param tolerance what is allowed
     */
    public record Result(String op, String pass, int cases, double error, double tolerance) {
        /** NaN is not ok. */
        public boolean ok() {
            return error <= tolerance;
        }

        /** The entry of a machine-readable report. */
        public Map<String, Object> toJson() {
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("op", op);
            entry.put("dtype", "F32");
            entry.put("device", "cpu");
            entry.put("pass", pass);
            entry.put("cases", cases);
            entry.put("max_rel_error", error);
            entry.put("tolerance", tolerance);
            entry.put("ok", ok());
            return entry;
        }

        /** A line of a table under {@link #HEADER}. */
        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    LINE,
                    op,
                    pass,
                    cases,
                    "%.1e".formatted(error),
                    "%.0e".formatted(tolerance),
                    ok() ? "ok" : "FAILED");
        }
    }

    private static final String LINE = "%-28s %-8s %5s %9s %9s  %s";

    /** Titles of the columns of {@link Result#toString}. */
    public static final String HEADER =
            LINE.formatted("quantity", "pass", "cases", "error", "tolerance", "").stripTrailing();

    private final String name;
    private final Map<String, Result> results = new LinkedHashMap<>();

    private ModelVerifier(String name) {
        this.name = name;
    }

    /** Whether this is a directory this class can verify. */
    public static boolean isModel(Path directory) {
        return Files.exists(directory.resolve(NUMBERS))
                && Files.exists(directory.resolve(ModelConfig.FILE));
    }

    /**
     * Compares everything the directory has reference numbers for.
     *
     * @throws CheckpointException if a file is missing or malformed, or the model is not supported
     */
    public static List<Result> verify(Path directory, Exec exec) {
        OneDnn.ensureLoaded();
        Path named = directory.toAbsolutePath().normalize();
        ModelVerifier verifier = new ModelVerifier(String.valueOf(named.getFileName()));
        try (Arena arena = Arena.ofShared()) {
            if (VitConfig.isVit(directory)) {
                verifier.compareVit(directory, arena, exec);
            } else {
                verifier.compareModel(directory, arena, exec);
            }
            if (Files.exists(directory.resolve("train.json"))) {
                verifier.compareTraining(directory, arena, exec);
            }
        }
        return List.copyOf(verifier.results.values());
    }

    /** Sequences as stored: ids, labels shifted to next-token targets, which positions count. */
    private record Sequences(
            int batch, int length, int[] ids, int[] targets, boolean[] real, int count) {
        static Sequences read(SafeTensors file) {
            long[] shape = file.get("input_ids").shape();
            int batch = Math.toIntExact(shape[0]);
            int length = Math.toIntExact(shape[1]);
            int[] ids = ints(file, "input_ids");
            int[] labels = ints(file, "labels");
            int[] mask = ints(file, "attention_mask");
            int[] targets = new int[ids.length];
            boolean[] real = new boolean[ids.length];
            int count = 0;
            for (int i = 0; i < ids.length; i++) {
                targets[i] = i % length == length - 1 ? -100 : labels[i + 1];
                real[i] = mask[i] == 1;
                count += targets[i] >= 0 ? 1 : 0;
            }
            return new Sequences(batch, length, ids, targets, real, count);
        }

        Batches.Batch toBatch() {
            int[] lengths = new int[batch];
            Arrays.fill(lengths, length);
            return new Batches.Batch(batch, length, ids, targets, lengths, count);
        }
    }

    private static int[] ints(SafeTensors file, String tensor) {
        TensorData data = file.get(tensor);
        if (data.type() != TensorType.I64) {
            throw new CheckpointException("tensor " + data + ": expected I64");
        }
        long[] wide = data.data().toArray(ValueLayout.JAVA_LONG_UNALIGNED);
        return Arrays.stream(wide).mapToInt(Math::toIntExact).toArray();
    }

    private static int[] ints(Json json, String key) {
        double[] numbers = numbers(json, key, 1);
        return Arrays.stream(numbers).mapToInt(x -> (int) x).toArray();
    }

    private static double[] numbers(Json json, String key, int atLeast) {
        JsonNode array = json.get(key);
        if (array == null || !array.isArray() || array.size() < atLeast) {
            throw json.wrong(key, "an array of " + atLeast + " numbers or more");
        }
        double[] values = new double[array.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.get(i).asDouble(Double.NaN);
        }
        return values;
    }

    private static Json object(Json json, String key) {
        Json object = json.object(key);
        if (object == null) {
            throw json.error(key + " is missing");
        }
        return object;
    }

    private void compareModel(Path directory, Arena arena, Exec exec) {
        SafeTensors golden = SafeTensors.open(directory.resolve("golden.safetensors"), arena);
        Json numbers = Json.read(directory.resolve(NUMBERS));
        Sequences s = Sequences.read(golden);
        Llama model = Llama.load(directory, exec);
        compareForward(model, golden, s, "base.");
        double loss = model.loss(s.targets(), Float.NaN) / s.count();
        compare("loss", "forward", numbers.number("base.loss"), loss, LOSSES);
        compareGreedy(model, numbers);

        Adapter adapter = Adapter.load(model, directory.resolve("adapter_init"));
        compareForward(model, golden, s, "lora.");
        adapter.parameters().clearGradients();
        loss = model.loss(s.targets(), 1f / s.count()) / s.count();
        compare("loss", "forward", numbers.number("lora.loss"), loss, LOSSES);
        model.backward(
                (index, grad) -> {
                    String key = "lora.grad_hidden." + hiddenName(index, model);
                    compare("grad_hidden", "backward", golden, key, grad, s, GRADIENTS);
                });
        compareGradients(adapter, golden);
    }

    /** Both forms of adapter names are compared where both are there. */
    private void compareVit(Path directory, Arena arena, Exec exec) {
        SafeTensors golden = SafeTensors.open(directory.resolve("golden.safetensors"), arena);
        Json numbers = Json.read(directory.resolve(NUMBERS));
        Vit model = Vit.load(directory, exec);
        int[] labels = ints(golden, "labels");
        TensorData images = golden.get("pixel_values");
        VitConfig c = model.config();
        long[] expected = {labels.length, c.channels(), c.imageHeight(), c.imageWidth()};
        if (!Arrays.equals(images.shape(), expected)) {
            throw new CheckpointException(
                    "tensor %s: expected shape %s".formatted(images, Arrays.toString(expected)));
        }
        MemorySegment pixels = Buffers.floats(images.elements());
        Buffers.set(pixels, images.toFloatArray());
        Vit.Batch batch = new Vit.Batch(pixels, labels);
        compareForward(model, batch, golden, "base.");
        double loss = model.loss(Float.NaN) / labels.length;
        compare("loss", "forward", numbers.number("base.loss"), loss, LOSSES);
        for (String name : List.of("adapter_init", "adapter_init_v4names")) {
            Path files = directory.resolve(name);
            if (name.equals("adapter_init") || Files.exists(files)) {
                Adapter adapter = Adapter.load(model, files);
                compareAdapted(model, adapter, batch, golden, numbers);
                adapter.detach();
            }
        }
    }

    private void compareAdapted(
            Vit model, Adapter adapter, Vit.Batch batch, SafeTensors golden, Json numbers) {
        compareForward(model, batch, golden, "lora.");
        adapter.parameters().clearGradients();
        double loss = model.loss(1f / batch.images()) / batch.images();
        compare("loss", "forward", numbers.number("lora.loss"), loss, LOSSES);
        model.backward(
                (index, grad) -> {
                    String key = "lora.grad_hidden." + hiddenName(index, model);
                    compare("grad_hidden", "backward", golden, key, grad, null, GRADIENTS);
                });
        compareGradients(adapter, golden);
    }

    private void compareForward(Vit model, Vit.Batch batch, SafeTensors golden, String prefix) {
        model.forward(batch);
        String logits = prefix + "logits";
        compare("logits", "forward", golden, logits, model.logits(), null, VALUES);
        for (int i = 0; i <= model.layers().size() + 1; i++) {
            String key = prefix + "hidden." + hiddenName(i, model);
            compare("hidden", "forward", golden, key, model.hidden(i), null, VALUES);
        }
    }

    private void compareGradients(Adapter adapter, SafeTensors golden) {
        for (Tensor tensor : adapter.parameters().tensors()) {
            float[] grad = Buffers.toArray(tensor.grad(), tensor.size());
            String key = "lora.grad." + PREFIX + tensor.name();
            compare("adapter_grad", "backward", golden, key, grad, null, GRADIENTS);
        }
    }

    private void compareForward(Llama model, SafeTensors golden, Sequences s, String prefix) {
        model.forward(s.batch(), s.length(), s.ids());
        String logits = prefix + "logits";
        compare("logits", "forward", golden, logits, model.allLogits(), s, VALUES);
        for (int i = 0; i <= model.layers().size() + 1; i++) {
            String key = prefix + "hidden." + hiddenName(i, model);
            compare("hidden", "forward", golden, key, model.hidden(i), s, VALUES);
        }
    }

    private static String hiddenName(int index, Transformer model) {
        if (index == 0) {
            return "embed";
        }
        return index <= model.layers().size() ? "layer." + (index - 1) : "norm";
    }

    private void compareGreedy(Llama model, Json numbers) {
        Json greedy = object(numbers, "greedy");
        int[] next = ints(greedy, "prompt");
        int[] expected = ints(greedy, "new_tokens");
        Llama.Cache cache = model.cache(next.length + expected.length);
        int different = 0;
        for (int token : expected) {
            int got = CausalLm.argmax(model.extend(cache, next), model.config().vocabSize());
            if (got < 0) {
                different = expected.length; // NaN
                break;
            }
            different += got == token ? 0 : 1;
            next = new int[] {got};
        }
        record("greedy", "forward", expected.length, different, 0);
    }

    private void compareTraining(Path directory, Arena arena, Exec exec) {
        SafeTensors golden = SafeTensors.open(directory.resolve("train.safetensors"), arena);
        Json curve = Json.read(directory.resolve("train.json"));
        Json run = object(curve, "config");
        int steps = run.count("steps");
        double[] losses = numbers(curve, "loss", steps);
        double[] norms = numbers(curve, "grad_norm", steps);
        double[] rates = numbers(curve, "lr", steps);
        Sequences s = Sequences.read(golden);
        Llama model = Llama.load(directory, exec);
        Adapter adapter = Adapter.load(model, directory.resolve("adapter_init"));
        TrainOptions options =
                new TrainOptions(
                        steps,
                        s.batch(),
                        1,
                        run.number("lr"),
                        (int) run.number("warmup", 0),
                        run.number("weight_decay", 0),
                        run.number("clip"),
                        steps,
                        0);
        Trainer.Listener listener =
                new Trainer.Listener() {
                    @Override
                    public void stepped(
                            int step, double loss, double rate, double norm, long tokens) {
                        int i = step - 1;
                        compare("train.loss", "train", losses[i], loss, LOSSES);
                        compare("train.grad_norm", "train", norms[i], norm, LOSSES);
                        compare("train.lr", "train", rates[i], rate, LOSSES);
                        if (step == 5) {
                            compareAdapter(adapter, golden, "after5.");
                        }
                    }

                    @Override
                    public void validated(int step, double loss, boolean best) {}
                };
        List<Batches.Batch> batches = Collections.nCopies(steps, s.toBatch());
        new Trainer<>(model, adapter, options).run(batches.iterator(), List.of(), listener);
        compareAdapter(adapter, golden, "final.");
        compareMoments(adapter, golden);
        double loss = Trainer.meanLoss(model, List.of(s.toBatch()));
        compare("train.loss", "train", curve.number("final_train_loss"), loss, LOSSES);
    }

    private void compareAdapter(Adapter adapter, SafeTensors golden, String prefix) {
        for (Tensor tensor : adapter.parameters().tensors()) {
            String key = prefix + PREFIX + tensor.name();
            float[] values = Buffers.toArray(tensor.value(), tensor.size());
            compare("train.adapter", "train", golden, key, values, null, TRAINED);
        }
    }

    private void compareMoments(Adapter adapter, SafeTensors golden) {
        MemorySegment moments = adapter.parameters().firstMoments();
        long offset = 0;
        for (Tensor tensor : adapter.parameters().tensors()) {
            float[] m =
                    Buffers.toArray(Buffers.slice(moments, offset, tensor.size()), tensor.size());
            String key = "adam_m." + PREFIX + tensor.name();
            compare("train.adam_m", "train", golden, key, m, null, MOMENTS);
            offset += tensor.size();
        }
    }

    private void compare(
            String quantity, String pass, double expected, double got, double tolerance) {
        record(
                quantity,
                pass,
                1,
                relative(Math.abs(got - expected), Math.abs(expected)),
                tolerance);
    }

    /**
     * Compares a tensor; positions that are padding in {@code s} are left out unless it is null.
     */
    private void compare(
            String quantity,
            String pass,
            SafeTensors golden,
            String tensor,
            float[] got,
            Sequences s,
            double tolerance) {
        float[] expected = golden.get(tensor).toFloatArray();
        if (expected.length != got.length) {
            throw new CheckpointException(
                    "tensor %s has %d elements, the model gives %d"
                            .formatted(tensor, expected.length, got.length));
        }
        int width = s == null ? expected.length : expected.length / s.real().length;
        double worst = 0;
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            if (s == null || s.real()[i / width]) {
                worst = Math.max(worst, Math.abs((double) expected[i] - got[i]));
                largest = Math.max(largest, Math.abs(expected[i]));
            }
        }
        record(quantity, pass, 1, relative(worst, largest), tolerance);
    }

    private static double relative(double difference, double size) {
        return difference == 0 ? 0 : difference / size;
    }

    /** Merges with what this quantity has so far; NaN stays. */
    private void record(String quantity, String pass, int cases, double error, double tolerance) {
        results.merge(
                quantity,
                new Result(name + "." + quantity, pass, cases, error, tolerance),
                (a, b) ->
                        new Result(
                                a.op,
                                pass,
                                a.cases + b.cases,
                                Math.max(a.error, b.error),
                                tolerance));
    }
}
