package org.horosphere.finetune;

import java.util.Arrays;

/** The gains of one HypLoRA module over many tokens, and what their closed form bounds them by. */
final class GainStatistics {
    private double[] gains = new double[1024];
    private double[] most = new double[1024];
    private double[] least = new double[1024];
    private int count;

    /** Counts a token of the branch's last forward pass. */
    void add(LowRankBranch branch, long token) {
        double q = Math.sqrt(branch.curvatureRadius());
        double s = branch.inputScale();
        double n = branch.inputNorm(token);
        double sigma = n == 0 ? 1 / s : q * Math.sinh(n / (s * q)) / n;
        double a = sigma * branch.imageNorm(token) / q;
        if (count == gains.length) {
            gains = Arrays.copyOf(gains, 2 * count);
            most = Arrays.copyOf(most, 2 * count);
            least = Arrays.copyOf(least, 2 * count);
        }
        gains[count] = branch.gain(token);
        most[count] = sigma;
        // asinh(a)/a = y/sinh(y), and 1/y² - 1/sinh²(y) <= 1/3; never below 1 - a²/6
        least[count++] = sigma / Math.sqrt(1 + a * a / 3);
    }

    double mean() {
        return Arrays.stream(gains, 0, count).average().orElse(Double.NaN);
    }

    Merger.Gain gain(String module) {
        double mean = mean();
        double measured = 0;
        double bound = 0;
        for (int i = 0; i < count; i++) {
            measured = Math.max(measured, Math.abs(gains[i] - mean) / mean);
            bound = Math.max(bound, Math.max(most[i] - mean, mean - least[i]) / mean);
        }
        return new Merger.Gain(module, mean, measured, bound);
    }
}
