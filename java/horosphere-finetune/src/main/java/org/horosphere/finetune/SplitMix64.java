package org.horosphere.finetune;

import java.util.Collections;
import java.util.List;

/** Steele, Lea and Flood's SplitMix64: the same numbers on every machine and Java version. */
final class SplitMix64 {
    private long state;

    SplitMix64(long seed) {
        state = seed;
    }

    long next() {
        state += 0x9E3779B97F4A7C15L;
        return mix(state);
    }

    /** Uniform in [0, bound): the bias of the multiply-shift is below 2^-32. */
    int below(int bound) {
        return (int) (((next() >>> 32) * bound) >>> 32);
    }

    /** Uniform in [from, to], both included. */
    int between(int from, int to) {
        return from + below(to - from + 1);
    }

    <T> T pick(List<T> values) {
        return values.get(below(values.size()));
    }

    /** Fisher and Yates. */
    <T> void shuffle(List<T> values) {
        for (int i = values.size() - 1; i > 0; i--) {
            Collections.swap(values, i, below(i + 1));
        }
    }

    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
