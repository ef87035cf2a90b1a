package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.horosphere.LowRankAdapter;

/**
 * Where HypLoRA can act, and what merging it would cost, per linear layer: the spread of |x|, which
 * its gain depends on, and how far the gain is from one constant.
 */
public final class Diagnostics {
    /**
     * One linear layer.
     *
     * @param norms |x| at its input, first tokens left out
     * @param gain how HypLoRA's gain varies over all tokens: measured, and its bound (see {@link
     *     Merger.Gain}); null without HypLoRA's gain
     */
    public record Module(InputNorms.Module norms, Merger.Gain gain) {}

    private Diagnostics() {}

    /** The adapted layers; all of them if there is no adapter or it only mixes heads. */
    static List<Module> of(Llama model, Adapter adapter, List<Dataset.Example> examples) {
        Map<String, LowRankBranch> branches = adapter == null ? Map.of() : adapter.branches();
        InputNorms norms = new InputNorms();
        Map<String, GainStatistics> gains = new LinkedHashMap<>();
        ForwardObserver observer =
                new ForwardObserver() {
                    @Override
                    public void hidden(int block, MemorySegment states, long tokens, int width) {
                        // the residual stream is what horo inspect looks at
                    }

                    @Override
                    public void linearInput(String path, MemorySegment x, long tokens, int width) {
                        if (branches.isEmpty() || branches.containsKey(path)) {
                            norms.add(path, x, tokens, width);
                        }
                    }
                };
        for (Dataset.Example example : examples) {
            Batches.Batch one = Batches.pad(List.of(example));
            model.forward(one.tokens(), observer);
            branches.forEach(
                    (path, branch) -> {
                        if (branch.kind() == LowRankAdapter.Kind.HYPLORA) {
                            GainStatistics statistics =
                                    gains.computeIfAbsent(path, p -> new GainStatistics());
                            for (int token = 0; token < one.tokens().length; token++) {
                                statistics.add(branch, token);
                            }
                        }
                    });
        }
        List<Module> modules = new ArrayList<>();
        for (InputNorms.Module module : norms.modules()) {
            GainStatistics statistics = gains.get(module.module());
            modules.add(
                    new Module(
                            module, statistics == null ? null : statistics.gain(module.module())));
        }
        return modules;
    }
}
