package org.horosphere.finetune;

import java.util.List;
import java.util.Set;
import org.horosphere.Exec;

/** A model that adapters are attached to. */
interface Transformer {
    List<? extends Block> layers();

    /** Attention heads per block. */
    int heads();

    Exec exec();

    /** How adapter files name this model's modules. */
    AdapterFiles.Layout layout();

    /** What a user can adapt, as part of a message. */
    String linearLayers();

    /** Bytes of weights that are in memory of their own, and of those that are mapped files. */
    long[] weightBytes();

    /** The output layer if it can be trained with an adapter, else null. */
    default Classifier classifier() {
        return null;
    }

    /** An adapter under the names this model's modules have here; other names may be known. */
    default AdapterFiles translate(AdapterFiles files) {
        return files;
    }

    /** Target modules under the names this model's modules have here. */
    default Set<String> translate(Set<String> targets) {
        return targets;
    }
}
