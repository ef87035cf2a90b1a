package org.horosphere.finetune.inspect;

import java.util.Arrays;
import java.util.stream.IntStream;

/** Small summaries of samples. */
final class Statistics {
    private Statistics() {}

    /** The linear interpolation between order statistics (R's type 7) of sorted values. */
    static double quantile(double[] sorted, double p) {
        double at = p * (sorted.length - 1);
        int below = (int) at;
        int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
    }

    static double mean(double[] values) {
        return Arrays.stream(values).average().orElse(Double.NaN);
    }

    /** The population standard deviation, as the papers report it. */
    static double deviation(double[] values) {
        double mean = mean(values);
        return Math.sqrt(
                Arrays.stream(values)
                        .map(v -> (v - mean) * (v - mean))
                        .average()
                        .orElse(Double.NaN));
    }

    /** Spearman's rank correlation, ties at their mean rank; NaN if one side is constant. */
    static double spearman(double[] x, double[] y) {
        double[] a = ranks(x);
        double[] b = ranks(y);
        double meanA = mean(a);
        double meanB = mean(b);
        double product = 0;
        for (int i = 0; i < a.length; i++) {
            product += (a[i] - meanA) * (b[i] - meanB) / a.length;
        }
        double scale = deviation(a) * deviation(b);
        return scale > 0 ? product / scale : Double.NaN;
    }

    private static double[] ranks(double[] values) {
        int[] order =
                IntStream.range(0, values.length)
                        .boxed()
                        .sorted((i, j) -> Double.compare(values[i], values[j]))
                        .mapToInt(Integer::intValue)
                        .toArray();
        double[] ranks = new double[values.length];
        for (int from = 0; from < order.length; ) {
            int to = from;
            while (to < order.length && values[order[to]] == values[order[from]]) {
                to++;
            }
            for (int k = from; k < to; k++) {
                ranks[order[k]] = (from + to - 1) / 2.0;
            }
            from = to;
        }
        return ranks;
    }
}
