package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;

/**
 * Sees what flows through a model during one forward pass. The memory is float32, row-major, and
 * valid during the call only.
 */
public interface ForwardObserver {
    /**
     * The residual stream.
     *
     * @param block 0 is the input of the first block (the token embeddings), the number of blocks
     *     the output of the last one, before the final norm
     * @param states (tokens, width)
     */
    void hidden(int block, MemorySegment states, long tokens, int width);

    /**
     * The input of a linear layer, what an adapter on it sees.
     *
     * @param path the module path as PEFT names it, e.g. {@code model.layers.0.self_attn.q_proj}
     * @param x (tokens, width)
     */
    void linearInput(String path, MemorySegment x, long tokens, int width);
}
