package org.horosphere.finetune.inspect;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.horosphere.finetune.ForwardObserver;

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

    /**
     * |x| at the input of a linear layer, first tokens left out.
     *
     * @param module as PEFT names it
     * @param variation deviation / mean: where it is near 0, HypLoRA's gain is one constant and the
     *     layer is LoRA with another step size
     */
    public record Module(
            String module,
            int width,
            long tokens,
            double mean,
            double variance,
            double deviation,
            double variation,
            double least,
            double most) {}

    /** Welford's running mean and variance. */
    private static final class Moments {
        private final int width;
        private long count;
        private double mean;
        private double squares;
        private double least = Double.POSITIVE_INFINITY;
        private double most = Double.NEGATIVE_INFINITY;

        Moments(int width) {
            this.width = width;
        }

        void add(double value) {
            count++;
            double before = value - mean;
            mean += before / count;
            squares += before * (value - mean);
            least = Math.min(least, value);
            most = Math.max(most, value);
        }

        double variance() {
            return count == 0 ? Double.NaN : squares / count;
        }
    }

    private final Map<Integer, Moments> blocks = new LinkedHashMap<>();
    private final Map<Integer, Moments> firsts = new LinkedHashMap<>();
    private final Map<String, Moments> inputs = new LinkedHashMap<>();
    private double[] last = new double[0];

    @Override
    public void hidden(int block, MemorySegment states, long tokens, int width) {
        Moments all = blocks.computeIfAbsent(block, b -> new Moments(width));
        Moments first = firsts.computeIfAbsent(block, b -> new Moments(width));
        for (long t = 0; t < tokens; t++) {
            (t == 0 ? first : all).add(norm(states, t, width));
        }
        last = new double[Math.toIntExact(tokens * width)];
        for (int i = 0; i < last.length; i++) {
            last[i] = states.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        }
    }

    @Override
    public void linearInput(String path, MemorySegment x, long tokens, int width) {
        Moments moments = inputs.computeIfAbsent(path, p -> new Moments(width));
        for (long t = 1; t < tokens; t++) {
            moments.add(norm(x, t, width));
        }
    }

    private static double norm(MemorySegment x, long row, int width) {
        double sum = 0;
        for (long i = row * width; i < (row + 1) * width; i++) {
            double v = x.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            sum += v * v;
        }
        return Math.sqrt(sum);
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
                                        m.count,
                                        m.mean,
                                        Math.sqrt(m.variance()),
                                        m.least,
                                        m.most,
                                        firsts.get(block).mean)));
        return out;
    }

    List<Module> modules() {
        List<Module> out = new ArrayList<>();
        inputs.forEach(
                (path, m) ->
                        out.add(
                                new Module(
                                        path,
                                        m.width,
                                        m.count,
                                        m.mean,
                                        m.variance(),
                                        Math.sqrt(m.variance()),
                                        Math.sqrt(m.variance()) / m.mean,
                                        m.least,
                                        m.most)));
        return out;
    }
}
