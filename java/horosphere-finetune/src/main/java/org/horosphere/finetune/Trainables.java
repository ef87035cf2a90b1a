package org.horosphere.finetune;

/** What a trainer updates: an adapter, or a whole model in pre-training. */
interface Trainables {
    Parameters parameters();

    /** Before a step, what the host does: draw dropout masks and put them where kernels read. */
    default void draw(int step) {}

    /** What runs before the forward passes of a step. */
    default void beforeForward() {}

    /** What runs after the backward passes of a step: finish gradients. */
    default void afterBackward() {}

    /** After a step, what the host does. */
    default void drop() {}

    default void beginStep(int step) {
        draw(step);
        beforeForward();
    }

    default void endStep() {
        afterBackward();
        drop();
    }
}
