package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.LongFunction;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.horosphere.Horosphere;

/**
 * A fine-tuning run that lives in a directory and can be taken up again after it was killed at any
 * moment. The directory holds, beside the adapter's two PEFT files,
 *
 * <ul>
 *   <li>{@code run.json}: the effective configuration;
 *   <li>{@code metrics.jsonl}: the course of the training, a line per step and per validation;
 *   <li>{@code training_state.safetensors}: the last checkpoint, until the run has ended;
 *   <li>{@code results.json}: once the run has ended.
 * </ul>
 *
 * Every file but the metrics is written whole or not at all. A run taken up from a checkpoint gives
 * the same bits as one that was never interrupted, on the same machine: trained numbers, losses,
 * adapter files. For one thread; {@link #stop} may be called from any.
 */
public final class TrainingRun {
    /** The effective configuration. */
    public static final String CONFIGURATION = "run.json";

    /** What {@link #finish} writes. */
    public static final String RESULTS = "results.json";

    private static final String IDENTITY = "identity";

    private static final Pattern LEFT_BEHIND =
            Pattern.compile(
                    "\\.(run\\.json|results\\.json|training_state\\.safetensors"
                            + "|adapter_config\\.json|adapter_model\\.safetensors)"
                            + "\\.[0-9a-f-]{36}\\.tmp");

    /**
     * How a run is kept.
     *
     * @param saveEvery steps between checkpoints; 0 for one only when it is stopped
     * @param resume whether to take up a checkpoint that is there
     * @param tensorBoard directory for TensorBoard event files, null for none
     */
    public record Keeping(int saveEvery, boolean resume, Path tensorBoard) {
        public Keeping {
            if (saveEvery < 0) {
                throw new IllegalArgumentException(
                        "save-every: " + saveEvery + ", expected 0 or more");
            }
        }
    }

    /**
     * How it went.
     *
     * @param result of the training
     * @param seconds of training over all sessions, validation included
     * @param tokens read, padding not counted; images of an image classifier
     * @param stopped whether {@link TrainingRun#stop} ended it
     */
    public record Outcome(Trainer.Result result, double seconds, long tokens, boolean stopped) {}

    /**
     * The model's side of a run, whatever it reads.
     *
     * @param identity what the data and the model are, for telling one run from another
     * @param unit what is counted: tokens or images
     * @param batches training batches from the one of this number on
     * @param validation held-out batches
     */
    private record Work<B>(
            AdaptableModel model,
            Map<String, String> identity,
            String unit,
            Supplier<Trainer<B>> trainer,
            LongFunction<Iterator<B>> batches,
            Supplier<List<B>> validation) {
        Trainer.Result run(
                Consumer<Trainer<?>> beginning, Trainer.Listener listener, Trainer.Saving saving) {
            Trainer<B> current = trainer.get();
            beginning.accept(current);
            return current.run(batches, validation.get(), listener, saving);
        }
    }

    private final Work<?> work;
    private final Path directory;
    private final AdapterOptions adapterOptions;
    private final TrainOptions options;
    private final Keeping keeping;
    private final Map<String, String> identity = new LinkedHashMap<>();
    private final TrainingState.Saved saved;
    private final boolean ended;
    private final List<String> notes = new ArrayList<>();
    private volatile Trainer<?> trainer;
    private volatile boolean stopped;

    /**
     * Prepares a run, before anything is trained or written.
     *
     * @param lm a model without an adapter
     * @throws CheckpointException if the directory cannot be written, or is to be resumed and its
     *     checkpoint is of another run, saying what differs
     */
    public TrainingRun(
            CausalLm lm,
            Path directory,
            AdapterOptions adapterOptions,
            TrainOptions options,
            List<Dataset.Example> training,
            List<Dataset.Example> validation,
            Keeping keeping) {
        this(
                new Work<>(
                        lm,
                        Map.of(
                                "training data", Fingerprint.ofExamples(training),
                                "validation data", Fingerprint.ofExamples(validation)),
                        "tokens",
                        () -> lm.trainer(options),
                        first ->
                                new Batches(training, options.batchSize(), options.seed())
                                        .from(first),
                        () -> Batches.sorted(validation, options.batchSize())),
                directory,
                adapterOptions,
                options,
                keeping);
    }

    /**
     * Prepares a run on images, before anything is trained or written.
     *
     * @param model without an adapter; what it was told by {@link ImageClassifier#trainClassifier}
     *     is part of the run
     * @throws CheckpointException as for text
     * @throws DataException if an image cannot be used
     */
    public TrainingRun(
            ImageClassifier model,
            Path directory,
            AdapterOptions adapterOptions,
            TrainOptions options,
            List<ImageFolder.Image> training,
            List<ImageFolder.Image> validation,
            Keeping keeping) {
        this(
                new Work<>(
                        model,
                        Map.of(
                                "training data", model.fingerprint(training),
                                "validation data", model.fingerprint(validation),
                                "classifier", String.valueOf(model.trainedClasses())),
                        "images",
                        () -> model.trainer(options),
                        first ->
                                model.endless(training, options.batchSize(), options.seed(), first),
                        () -> model.batches(validation, options.batchSize())),
                directory,
                adapterOptions,
                options,
                keeping);
    }

    private TrainingRun(
            Work<?> work,
            Path directory,
            AdapterOptions adapterOptions,
            TrainOptions options,
            Keeping keeping) {
        this.work = work;
        this.directory = directory;
        this.adapterOptions = adapterOptions;
        this.options = options;
        this.keeping = keeping;
        AtomicFiles.requireDirectory(directory);
        identify();
        Path state = directory.resolve(TrainingState.FILE);
        Path results = directory.resolve(RESULTS);
        ended = keeping.resume() && Files.exists(results);
        if (ended) {
            saved = null;
            requireSame(results, identity(results));
            return;
        }
        if (!keeping.resume() || !Files.exists(state)) {
            saved = null;
            return;
        }
        saved = TrainingState.read(state);
        requireSame(state, note(IDENTITY));
        String made = note("kernels");
        if (!made.equals(kernels())) {
            notes.add(
                    "the checkpoint was made with "
                            + made
                            + " kernels, these are "
                            + kernels()
                            + ": the run goes on, but not bit for bit");
        }
    }

    /** Whether a run that is to be resumed has ended: {@link #results} is what came of it. */
    public boolean hasEnded() {
        return ended;
    }

    /** What {@link #finish} wrote. */
    public Map<String, Object> results() {
        Map<String, Object> results = new LinkedHashMap<>();
        Json.read(directory.resolve(RESULTS))
                .forEach(
                        (key, value) ->
                                results.put(key, Json.MAPPER.convertValue(value, Object.class)));
        return results;
    }

    private static String identity(Path results) {
        JsonNode identity = Json.read(results).get(IDENTITY);
        return identity == null ? "{}" : identity.toString();
    }

    private void identify() {
        identity.put("model", work.model().fingerprint());
        identity.putAll(new TreeMap<>(work.identity()));
        identity.put("adapter", adapterOptions.kind().toString());
        if (adapterOptions.kind().isLowRank()) {
            identity.put("rank", Integer.toString(adapterOptions.rank()));
            identity.put("alpha", Double.toString(adapterOptions.alpha()));
            identity.put("rslora", Boolean.toString(adapterOptions.rankStabilized()));
            identity.put("targets", String.join(",", new TreeSet<>(adapterOptions.targets())));
        }
        identity.put("curvature", Double.toString(adapterOptions.curvatureRadius()));
        identity.put("coeff-dropout", Double.toString(adapterOptions.coeffDropout()));
        identity.put("steps", Integer.toString(options.steps()));
        identity.put("batch-size", Integer.toString(options.batchSize()));
        identity.put("accumulate", Integer.toString(options.accumulation()));
        identity.put("lr", Double.toString(options.learningRate()));
        identity.put("warmup", Integer.toString(options.warmupSteps()));
        identity.put("weight-decay", Double.toString(options.weightDecay()));
        identity.put("clip", Double.toString(options.clipNorm()));
        identity.put("eval-every", Integer.toString(options.evaluateEvery()));
        identity.put("patience", Integer.toString(options.patience()));
        identity.put("seed", Long.toString(options.seed()));
    }

    private static String kernels() {
        return Horosphere.version() + " " + Horosphere.cpuIsa();
    }

    private String note(String key) {
        String value = saved.notes().get(key);
        if (value == null) {
            throw new CheckpointException(
                    directory.resolve(TrainingState.FILE) + ": " + key + " is missing");
        }
        return value;
    }

    private void requireSame(Path state, String json) {
        Map<String, String> then;
        try {
            then = Json.MAPPER.readValue(json, new TypeReference<TreeMap<String, String>>() {});
        } catch (JsonProcessingException e) {
            throw new CheckpointException(state + ": malformed identity", e);
        }
        List<String> differences = new ArrayList<>();
        identity.forEach(
                (key, now) -> {
                    String was = then.get(key);
                    if (!now.equals(was)) {
                        boolean hash = key.equals("model") || key.endsWith(" data");
                        differences.add(
                                hash
                                        ? key + " is not the same"
                                        : key + " is " + now + " and was " + was);
                    }
                });
        if (!differences.isEmpty()) {
            throw new CheckpointException(
                    state
                            + ": cannot resume, it is of another run: "
                            + String.join("; ", differences));
        }
    }

    /** The step of the checkpoint that is taken up, 0 if there is none. */
    public int resumedAt() {
        return saved == null ? 0 : saved.state().step();
    }

    /** What a user should know before the run, a line each. */
    public List<String> notes() {
        return List.copyOf(notes);
    }

    /** Ends the run after the current step, with a checkpoint. */
    public void stop() {
        stopped = true;
        Trainer<?> current = trainer;
        if (current != null) {
            current.stop();
        }
    }

    /**
     * Trains and saves the adapter. Afterwards the model has the adapter in its best state.
     *
     * @param configuration written to {@link #CONFIGURATION}
     * @param listener told the course, besides the files; may be null
     * @throws TrainingException if the loss stops being finite
     * @throws CheckpointException if something cannot be written; a checkpoint that is there stays
     * @throws IllegalStateException if the run has ended
     */
    public Outcome run(Map<String, ?> configuration, Trainer.Listener listener) {
        if (ended) {
            throw new IllegalStateException(directory + ": the run has ended");
        }
        Path standing = directory.toAbsolutePath().normalize();
        while (!Files.exists(standing)) {
            standing = standing.getParent();
        }
        boolean done = false;
        try {
            Outcome outcome = train(configuration, listener);
            done = true;
            return outcome;
        } finally {
            if (!done) {
                cleanUp(standing);
            }
        }
    }

    private Outcome train(Map<String, ?> configuration, Trainer.Listener listener) {
        Path state = directory.resolve(TrainingState.FILE);
        try {
            Files.createDirectories(directory);
            removeLeftBehind();
            if (saved == null) {
                Files.deleteIfExists(directory.resolve(RESULTS));
                Files.deleteIfExists(state);
            }
        } catch (IOException e) {
            throw new CheckpointException(
                    directory + ": cannot write: " + CheckpointException.reason(e), e);
        }
        AtomicFiles.writeJson(
                directory.resolve(CONFIGURATION), Json.MAPPER.valueToTree(configuration));
        Adapter adapter = work.model().attach(adapterOptions, options.seed());
        if (saved != null) {
            long size = adapter.parameterCount();
            if (saved.state().values().length != size) {
                throw new CheckpointException(
                        state
                                + ": holds "
                                + saved.state().values().length
                                + " numbers, the adapter has "
                                + size);
            }
        }
        try (Metrics metrics = openMetrics()) {
            Trainer.Saving saving =
                    new Trainer.Saving(
                            keeping.saveEvery() == 0 ? Integer.MAX_VALUE : keeping.saveEvery(),
                            saved == null ? null : saved.state(),
                            s -> s.write(state, notes(metrics)));
            Trainer.Result result = work.run(this::begin, both(metrics, listener), saving);
            metrics.force();
            adapter.files(work.model().directory().toString()).writeFiles(directory);
            return new Outcome(result, metrics.seconds(), metrics.tokens(), stopped);
        }
    }

    private void begin(Trainer<?> current) {
        trainer = current;
        if (stopped) {
            current.stop();
        }
    }

    private Metrics openMetrics() {
        List<EventFile> events =
                keeping.tensorBoard() == null
                        ? List.of()
                        : List.of(
                                EventFile.create(
                                        keeping.tensorBoard(),
                                        saved == null ? 0 : resumedAt() + 1));
        Path file = directory.resolve(Metrics.FILE);
        try {
            return saved == null
                    ? Metrics.open(file, work.unit(), 0, 0, 0, events)
                    : Metrics.open(
                            file,
                            work.unit(),
                            Long.parseLong(note("metrics_bytes")),
                            Long.parseLong(note("tokens")),
                            Double.parseDouble(note("seconds")),
                            events);
        } catch (NumberFormatException e) {
            throw new CheckpointException(
                    directory.resolve(TrainingState.FILE) + ": malformed notes", e);
        }
    }

    private Map<String, String> notes(Metrics metrics) {
        try {
            return Map.of(
                    IDENTITY,
                    Json.MAPPER.writeValueAsString(identity),
                    "kernels",
                    kernels(),
                    "metrics_bytes",
                    Long.toString(metrics.force()),
                    "tokens",
                    Long.toString(metrics.tokens()),
                    "seconds",
                    Double.toString(metrics.seconds()));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Trainer.Listener both(Trainer.Listener first, Trainer.Listener second) {
        if (second == null) {
            return first;
        }
        return new Trainer.Listener() {
            @Override
            public void stepped(
                    int step, double loss, double rate, double gradientNorm, long tokens) {
                first.stepped(step, loss, rate, gradientNorm, tokens);
                second.stepped(step, loss, rate, gradientNorm, tokens);
            }

            @Override
            public void validated(int step, double loss, boolean best) {
                first.validated(step, loss, best);
                second.validated(step, loss, best);
            }
        };
    }

    /** Marks the run as ended: writes {@link #RESULTS} and removes the checkpoint. */
    public void finish(Map<String, ?> results) {
        Map<String, Object> all = new LinkedHashMap<>(results);
        all.put(IDENTITY, identity);
        AtomicFiles.writeJson(directory.resolve(RESULTS), Json.MAPPER.valueToTree(all));
        try {
            Files.deleteIfExists(directory.resolve(TrainingState.FILE));
        } catch (IOException e) {
            throw new CheckpointException(
                    directory + ": cannot write: " + CheckpointException.reason(e), e);
        }
    }

    private void removeLeftBehind() throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            for (Path entry : entries.toList()) {
                if (LEFT_BEHIND.matcher(entry.getFileName().toString()).matches()) {
                    Files.deleteIfExists(entry);
                }
            }
        }
    }

    /** After a failure: what could be taken up stays, else nothing of this run does. */
    private void cleanUp(Path standing) {
        if (Files.exists(directory.resolve(TrainingState.FILE))) {
            return;
        }
        try {
            Files.deleteIfExists(directory.resolve(Metrics.FILE));
            Files.deleteIfExists(directory.resolve(CONFIGURATION));
            Path made = directory.toAbsolutePath().normalize();
            while (!made.equals(standing) && Files.isDirectory(made)) {
                Files.delete(made);
                made = made.getParent();
            }
        } catch (DirectoryNotEmptyException e) {
            return; // something else is there
        } catch (IOException e) {
            return; // the failure itself is what the user should read
        }
    }
}
