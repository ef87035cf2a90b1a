package org.horosphere.finetune;

/** What a trainer updates: an adapter, or a whole model in pre-training. */
interface Trainables {
    Parameters parameters();

    /** Before the forward passes of a step: draw dropout masks. */
    default void beginStep(int step) {}

    /** After the backward passes of a step: finish gradients. */
    default void endStep() {}
}
