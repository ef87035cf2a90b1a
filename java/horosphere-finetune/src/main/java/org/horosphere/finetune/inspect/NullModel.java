package org.horosphere.finetune.inspect;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.random.RandomGenerator;
import org.horosphere.Exec;
import org.horosphere.Gemm;

/**
 * What delta is compared with: spaces of the same number of points without the structure asked for.
 */
public enum NullModel {
    /** Independent Gaussian coordinates, as many points and dimensions. */
    GAUSSIAN("Gaussian, same size", "Gaussian", true),
    /**
     * Gaussian points with the covariance of the data: G (X - mean) / sqrt(n - 1), G a matrix of
     * independent Gaussians.
     */
    SPECTRUM("Gaussian, same spectrum", "same spectrum", true),
    /** Every coordinate permuted over the points: the same marginals, no joint structure. */
    SHUFFLED("coordinates shuffled", "shuffled", true),
    /** Uniform points on the 2-sphere with great-circle distances: the curved-the-other-way end. */
    SPHERE("2-sphere (reference)", "2-sphere", false),
    /** A uniform random labelled tree with unit edges: delta is 0. */
    TREE("uniform tree (reference)", "tree", false);

    /** A landmark needs no more points than this. */
    private static final int MOST_REFERENCE_POINTS = 1500;

    private final String label;
    private final String shortLabel;
    private final boolean matched;

    NullModel(String label, String shortLabel, boolean matched) {
        this.label = label;
        this.shortLabel = shortLabel;
        this.matched = matched;
    }

    public String label() {
        return label;
    }

    String shortLabel() {
        return shortLabel;
    }

    /** Whether it is a null model of the data, not only a landmark of the scale. */
    public boolean isMatched() {
        return matched;
    }

    /** Loads a random space into the meter. */
    void draw(Points data, RandomGenerator random, DeltaMeter meter, Exec exec) {
        int n = Math.min(data.count(), MOST_REFERENCE_POINTS);
        switch (this) {
            case GAUSSIAN -> meter.load(points(data, gaussian(data.x().length, random)));
            case SPECTRUM -> meter.load(points(data, mixed(data, random, exec)));
            case SHUFFLED -> meter.load(points(data, shuffled(data, random)));
            case SPHERE -> meter.load(sphere(n, random), n);
            case TREE -> meter.load(tree(n, random), n);
        }
    }

    private static Points points(Points data, double[] x) {
        return new Points("null model", data.count(), data.dim(), x);
    }

    private static double[] gaussian(int count, RandomGenerator random) {
        double[] x = new double[count];
        for (int i = 0; i < count; i++) {
            x[i] = random.nextGaussian();
        }
        return x;
    }

    private static double[] mixed(Points data, RandomGenerator random, Exec exec) {
        int n = data.count();
        int d = data.dim();
        double[] mean = new double[d];
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < d; k++) {
                mean[k] += data.x()[i * d + k] / n;
            }
        }
        double scale = 0;
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < d; k++) {
                scale = Math.max(scale, Math.abs(data.x()[i * d + k] - mean[k]));
            }
        }
        if (scale == 0) {
            return new double[n * d];
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment centred = arena.allocate((long) n * d * Float.BYTES, 64);
            MemorySegment mixing = arena.allocate((long) n * n * Float.BYTES, 64);
            MemorySegment out = arena.allocate((long) n * d * Float.BYTES, 64);
            for (int i = 0; i < n * d; i++) {
                float value = (float) ((data.x()[i] - mean[i % d]) / scale);
                centred.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
            }
            for (int i = 0; i < n * n; i++) {
                mixing.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
            }
            double factor = 1 / Math.sqrt(n - 1.0);
            Gemm.sgemm(false, false, n, d, n, factor, mixing, n, centred, d, 0, out, d, exec);
            double[] x = new double[n * d];
            for (int i = 0; i < x.length; i++) {
                x[i] = scale * out.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            }
            return x;
        }
    }

    private static double[] shuffled(Points data, RandomGenerator random) {
        int d = data.dim();
        double[] x = data.x().clone();
        for (int i = data.count() - 1; i > 0; i--) {
            for (int k = 0; k < d; k++) {
                int j = random.nextInt(i + 1);
                double swap = x[i * d + k];
                x[i * d + k] = x[j * d + k];
                x[j * d + k] = swap;
            }
        }
        return x;
    }

    private static double[] sphere(int n, RandomGenerator random) {
        double[] p = gaussian(3 * n, random);
        for (int i = 0; i < n; i++) {
            double norm = Math.sqrt(dot(p, i, i));
            for (int k = 0; k < 3; k++) {
                p[3 * i + k] /= norm;
            }
        }
        double[] out = new double[n * n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < i; j++) {
                double angle = Math.acos(Math.max(-1, Math.min(1, dot(p, i, j))));
                out[i * n + j] = angle;
                out[j * n + i] = angle;
            }
        }
        return out;
    }

    private static double dot(double[] p, int i, int j) {
        double sum = 0;
        for (int k = 0; k < 3; k++) {
            sum += p[3 * i + k] * p[3 * j + k];
        }
        return sum;
    }

    /** A random walk on the complete graph; first entrances are the edges (Aldous, Broder). */
    private static double[] tree(int n, RandomGenerator random) {
        double[] out = new double[n * n];
        boolean[] seen = new boolean[n];
        int[] order = new int[n];
        int current = random.nextInt(n);
        seen[current] = true;
        order[0] = current;
        for (int count = 1; count < n; ) {
            int next = random.nextInt(n);
            if (!seen[next]) {
                seen[next] = true;
                for (int k = 0; k < count; k++) {
                    double distance = out[current * n + order[k]] + 1;
                    out[next * n + order[k]] = distance;
                    out[order[k] * n + next] = distance;
                }
                order[count++] = next;
            }
            current = next;
        }
        return out;
    }
}
