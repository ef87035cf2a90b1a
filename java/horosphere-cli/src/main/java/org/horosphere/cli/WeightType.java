package org.horosphere.cli;

import org.horosphere.DType;

/** How frozen weights are held in memory, as the command line names it. */
enum WeightType {
    F32(DType.F32),
    BF16(DType.BF16);

    private final DType storage;

    WeightType(DType storage) {
        this.storage = storage;
    }

    DType storage() {
        return storage;
    }

    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
