package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.util.List;

/** A transformer block as adapters see it. */
abstract class Block {
    final int index;

    /** Residual mixing coefficients (heads, heads), or null. */
    Tensor coeffAlpha;

    /** What attention reads: coeffAlpha itself, or a copy with dropped entries during training. */
    MemorySegment alphaInUse;

    Block(int index) {
        this.index = index;
    }

    /** The attention's module path. */
    abstract String attentionPath();

    abstract List<Linear> linears();
}
