package org.horosphere.cli;

import java.nio.file.Path;
import java.util.Map;
import org.horosphere.finetune.AdaptableModel;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.AdapterOptions;
import org.horosphere.finetune.MemoryEstimate;
import org.horosphere.finetune.TrainOptions;
import org.horosphere.finetune.TrainingRun;

/** A model, the data it is tuned on, and how it is judged. */
interface Workload extends AutoCloseable {
    AdaptableModel model();

    /** What the model is called. */
    String name();

    /** What is counted while training: tokens or images. */
    String unit();

    /** Number of training examples. */
    int examples();

    /** How much data there is, in a line. */
    String sizes();

    /** What training will take; the model has no adapter. */
    MemoryEstimate memory(AdapterOptions adapter, TrainOptions options);

    /** The largest micro-batch, and what would make it smaller, as part of a message. */
    String largestBatch(TrainOptions options);

    TrainingRun prepare(
            Path directory,
            AdapterOptions adapter,
            TrainOptions options,
            TrainingRun.Keeping keeping);

    /** Adds the effective options by name. */
    void describe(Map<String, Object> to);

    /** Measures the untuned model on the held-out data, first what can fail. */
    void measureLoss();

    /**
     * Measures the rest of it.
     *
     * @param target where it is kept for a run that is resumed
     */
    void measureBase(Path target, boolean resume);

    /** Measures the tuned model, and adds that and the untuned model's to a report. */
    void measure(Map<String, Object> report);

    /** Prints the held-out table of a report. */
    void print(AdapterKind kind, Map<String, Object> report);

    /** Shows some answers before and after. */
    void show();

    @Override
    void close();
}
