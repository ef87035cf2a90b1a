package org.horosphere.finetune.inspect;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.horosphere.finetune.ForwardObserver;
import org.horosphere.finetune.InputNorms;
import org.horosphere.finetune.Moments;

/** Norms of hidden states per block and of what each linear layer reads, over many sequences. */
public final class StateStudy implements ForwardObserver {
    /**
     * Norms of the residual stream. The first token is counted apart: in trained models it is often
     * an attention sink of a huge norm.
     *
     * @param block 0 is the token embeddings, the last is what the final norm reads
     * @param first mean norm of the first token of a sequence
     */
    public record Block(
            int block,
            long tokens,
            double mean,
            double deviation,
            double least,
            double most,
            double first) {}

    private final Map<Integer, Moments> blocks = new LinkedHashMap<>();
    private final Map<Integer, Moments> firsts = new LinkedHashMap<>();
    private final InputNorms inputs = new InputNorms();
    private double[] last = new double[0];

    @Override
    public void hidden(int block, MemorySegment states, long tokens, int width) {
        Moments all = blocks.computeIfAbsent(block, b -> new Moments());
        Moments first = firsts.computeIfAbsent(block, b -> new Moments());
        for (long t = 0; t < tokens; t++) {
            (t == 0 ? first : all).add(InputNorms.norm(states, t, width));
        }
        last = new double[Math.toIntExact(tokens * width)];
        for (int i = 0; i < last.length; i++) {
            last[i] = states.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        }
    }

    @Override
    public void linearInput(String path, MemorySegment x, long tokens, int width) {
        inputs.add(path, x, tokens, width);
    }

    /** The states shown last, of the last block of the last sequence: (tokens, width). */
    double[] lastStates() {
        return last;
    }

    List<Block> blocks() {
        List<Block> out = new ArrayList<>();
        blocks.forEach(
                (block, m) ->
                        out.add(
                                new Block(
                                        block,
                                        m.count(),
                                        m.mean(),
                                        m.deviation(),
                                        m.least(),
                                        m.most(),
                                        firsts.get(block).mean())));
        return out;
    }

    List<InputNorms.Module> modules() {
        return inputs.modules();
    }
}
