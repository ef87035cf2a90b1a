package org.horosphere.finetune;

import java.util.List;
import java.util.OptionalInt;
import org.horosphere.DType;

/** A decoder small enough to be worked on number by number: two blocks, four heads on two. */
final class TinyLlama {
    private TinyLlama() {}

    static ModelConfig config(ModelConfig.Family family, boolean tied) {
        return new ModelConfig(
                family,
                17,
                12,
                20,
                2,
                4,
                2,
                6,
                32,
                1e-5,
                tied,
                RopeConfig.of(6, 10000),
                0.02,
                DType.F32,
                OptionalInt.of(1),
                List.of(2),
                OptionalInt.empty());
    }
}
