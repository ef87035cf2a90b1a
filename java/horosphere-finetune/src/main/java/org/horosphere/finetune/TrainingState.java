package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where a training run stands between two steps: with the same data and options it goes on from
 * here bit for bit as if it had never stopped. The order of the data and the dropped coefficients
 * are functions of the seed and the step, so the step is all there is to their state.
 *
 * @param step optimiser steps taken
 * @param firstValidation loss before training, NaN without validation
 * @param bestValidation loss of the best state so far, NaN without validation
 * @param bestStep the step of that state
 * @param stale validations since then
 * @param values all trained numbers
 * @param firstMoments AdamW's
 * @param secondMoments AdamW's
 * @param best the best state so far; null without validation
 */
record TrainingState(
        int step,
        double firstValidation,
        double bestValidation,
        int bestStep,
        int stale,
        float[] values,
        float[] firstMoments,
        float[] secondMoments,
        float[] best) {
    static final String FILE = "training_state.safetensors";

    private static final String FORMAT = "horosphere training state 1";
    private static final String NOTE = "note.";

    /** A state out of a file, and what else its writer put there. */
    record Saved(TrainingState state, Map<String, String> notes) {}

    /** Writes the file, atomically; what was there stays if that fails. */
    void write(Path file, Map<String, String> notes) {
        List<TensorData> tensors = new ArrayList<>();
        tensors.add(TensorData.of("values", values, values.length));
        tensors.add(TensorData.of("first_moments", firstMoments, firstMoments.length));
        tensors.add(TensorData.of("second_moments", secondMoments, secondMoments.length));
        if (best != null) {
            tensors.add(TensorData.of("best", best, best.length));
        }
        Map<String, String> metadata = new HashMap<>();
        metadata.put("format", FORMAT);
        metadata.put("step", Integer.toString(step));
        metadata.put("first_validation", Double.toString(firstValidation));
        metadata.put("best_validation", Double.toString(bestValidation));
        metadata.put("best_step", Integer.toString(bestStep));
        metadata.put("stale", Integer.toString(stale));
        notes.forEach((key, value) -> metadata.put(NOTE + key, value));
        SafeTensors.write(file, tensors, metadata);
    }

    /**
     * Reads a file.
     *
     * @throws CheckpointException if it is missing, damaged or something else
     */
    static Saved read(Path file) {
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors tensors = SafeTensors.open(file, arena);
            Map<String, String> metadata = tensors.metadata();
            if (!FORMAT.equals(metadata.get("format"))) {
                throw new CheckpointException(
                        file + ": format is " + metadata.get("format") + ", expected " + FORMAT);
            }
            float[] values = floats(file, tensors, "values");
            float[] first = floats(file, tensors, "first_moments");
            float[] second = floats(file, tensors, "second_moments");
            float[] best = tensors.names().contains("best") ? floats(file, tensors, "best") : null;
            if (first.length != values.length
                    || second.length != values.length
                    || best != null && best.length != values.length) {
                throw new CheckpointException(file + ": its tensors differ in length");
            }
            Map<String, String> notes = new HashMap<>();
            metadata.forEach(
                    (key, value) -> {
                        if (key.startsWith(NOTE)) {
                            notes.put(key.substring(NOTE.length()), value);
                        }
                    });
            try {
                return new Saved(
                        new TrainingState(
                                Integer.parseInt(metadata.get("step")),
                                Double.parseDouble(metadata.get("first_validation")),
                                Double.parseDouble(metadata.get("best_validation")),
                                Integer.parseInt(metadata.get("best_step")),
                                Integer.parseInt(metadata.get("stale")),
                                values,
                                first,
                                second,
                                best),
                        notes);
            } catch (NumberFormatException | NullPointerException e) {
                throw new CheckpointException(file + ": malformed metadata: " + e.getMessage(), e);
            }
        }
    }

    private static float[] floats(Path file, SafeTensors tensors, String name) {
        if (!tensors.names().contains(name)) {
            throw new CheckpointException(file + ": tensor " + name + " is missing");
        }
        TensorData tensor = tensors.get(name);
        if (tensor.type() != TensorType.F32 || tensor.shape().length != 1) {
            throw new CheckpointException(
                    file + ": tensor " + name + " is not a vector of float32");
        }
        return tensor.toFloatArray();
    }
}
