package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * |x| at the input of linear layers over many sequences. HypLoRA's gain depends on the token
 * through |x| and |BAx| only, so where |x| does not vary there is nothing for its first map to do.
 *
 * <p>The first token of a sequence is left out: in trained models it is often an attention sink of
 * a huge norm.
 */
public final class InputNorms {
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

    private record Input(int width, Moments norms) {}

    private final Map<String, Input> inputs = new LinkedHashMap<>();

    /**
     * Counts a sequence.
     *
     * @param x (tokens, width) float32
     */
    public void add(String path, MemorySegment x, long tokens, int width) {
        Moments norms = inputs.computeIfAbsent(path, p -> new Input(width, new Moments())).norms();
        for (long t = 1; t < tokens; t++) {
            norms.add(norm(x, t, width));
        }
    }

    /** The norm of a row of a float32 matrix, summed in float64. */
    public static double norm(MemorySegment x, long row, int width) {
        double sum = 0;
        for (long i = row * width; i < (row + 1) * width; i++) {
            double v = x.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            sum += v * v;
        }
        return Math.sqrt(sum);
    }

    /** In the order the layers were first seen. */
    public List<Module> modules() {
        List<Module> out = new ArrayList<>();
        inputs.forEach(
                (path, input) -> {
                    Moments m = input.norms();
                    out.add(
                            new Module(
                                    path,
                                    input.width(),
                                    m.count(),
                                    m.mean(),
                                    m.variance(),
                                    m.deviation(),
                                    m.deviation() / m.mean(),
                                    m.least(),
                                    m.most()));
                });
        return out;
    }
}
