package org.horosphere.finetune.inspect;

import java.util.SplittableRandom;

/**
 * Two-dimensional pictures of a metric space, hyperbolic (Poincare disk, curvature -1) and flat,
 * both by the same method: stress by stochastic gradient descent (Zheng, Pawar and Goodman, arXiv
 * 1710.04626), in which each pair of points is moved along its geodesic towards the wanted
 * distance.
 *
 * @param x first coordinates
 * @param y second coordinates
 * @param scale what distances were multiplied by to become hyperbolic ones; 1 in the plane
 * @param stress root of the mean over pairs of (shown / wanted - 1)^2
 */
public record DiskLayout(double[] x, double[] y, double scale, double stress) {
    private static final int EPOCHS = 30;

    /** Mean hyperbolic distances that are tried. */
    private static final double[] SIZES = {1, 2, 3, 4.5, 6.5};

    /** Farther from the rim than this, so that a double still resolves the point. */
    private static final double RIM = 1 - 1e-9;

    /**
     * In the Poincare disk, at the best of a few scales.
     *
     * @param distances (n, n) symmetric
     */
    public static DiskLayout hyperbolic(double[] distances, int n, long seed) {
        DiskLayout best = null;
        double mean = meanDistance(distances, n);
        for (double size : SIZES) {
            DiskLayout layout = descend(distances, n, mean > 0 ? size / mean : 1, true, seed);
            if (best == null || layout.stress < best.stress) {
                best = layout;
            }
        }
        return best;
    }

    /** In the plane. */
    public static DiskLayout flat(double[] distances, int n, long seed) {
        return descend(distances, n, 1, false, seed);
    }

    private static double meanDistance(double[] distances, int n) {
        double sum = 0;
        for (double d : distances) {
            sum += d;
        }
        return sum / ((double) n * Math.max(1, n - 1));
    }

    private static DiskLayout descend(
            double[] distances, int n, double scale, boolean hyperbolic, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        double mean = meanDistance(distances, n);
        double spread = hyperbolic || !(mean > 0) ? 0.1 : 0.1 * mean;
        double[] x = new double[n];
        double[] y = new double[n];
        for (int i = 0; i < n; i++) {
            x[i] = random.nextDouble(-spread, spread);
            y[i] = random.nextDouble(-spread, spread);
        }
        int pairs = n * (n - 1) / 2;
        int[] first = new int[pairs];
        int[] second = new int[pairs];
        double least = Double.MAX_VALUE;
        double most = 0;
        for (int i = 0, p = 0; i < n; i++) {
            for (int j = 0; j < i; j++, p++) {
                first[p] = i;
                second[p] = j;
                double wanted = scale * distances[i * n + j];
                if (wanted > 0) {
                    least = Math.min(least, wanted);
                    most = Math.max(most, wanted);
                }
            }
        }
        double fastest = most * most;
        double decay = Math.log(fastest / (0.1 * least * least)) / (EPOCHS - 1);
        for (int epoch = 0; epoch < EPOCHS; epoch++) {
            double rate = fastest * Math.exp(-decay * epoch);
            for (int p = pairs - 1; p >= 0; p--) {
                int other = random.nextInt(p + 1);
                int i = first[other];
                int j = second[other];
                first[other] = first[p];
                second[other] = second[p];
                first[p] = i;
                second[p] = j;
                double wanted = scale * distances[i * n + j];
                double step = wanted > 0 ? Math.min(1, rate / (wanted * wanted)) : 1;
                if (hyperbolic) {
                    moveInDisk(x, y, i, j, wanted, step);
                } else {
                    moveInPlane(x, y, i, j, wanted, step);
                }
            }
        }
        if (hyperbolic) {
            centre(x, y);
        }
        double sum = 0;
        int counted = 0;
        for (int p = 0; p < pairs; p++) {
            double wanted = scale * distances[first[p] * n + second[p]];
            if (wanted > 0) {
                double shown =
                        hyperbolic
                                ? diskDistance(x, y, first[p], second[p])
                                : Math.hypot(
                                        x[first[p]] - x[second[p]], y[first[p]] - y[second[p]]);
                sum += (shown / wanted - 1) * (shown / wanted - 1);
                counted++;
            }
        }
        return new DiskLayout(x, y, scale, counted == 0 ? 0 : Math.sqrt(sum / counted));
    }

    /** Moves the whole picture, an isometry, until the mean of its points is the disk's centre. */
    private static void centre(double[] x, double[] y) {
        for (int round = 0; round < 50; round++) {
            double mx = Statistics.mean(x);
            double my = Statistics.mean(y);
            for (int i = 0; i < x.length; i++) {
                // (z - m) / (1 - conj(m) z), complex
                double ur = x[i] - mx;
                double ui = y[i] - my;
                double dr = 1 - (mx * x[i] + my * y[i]);
                double di = -(mx * y[i] - my * x[i]);
                double norm = dr * dr + di * di;
                x[i] = (ur * dr + ui * di) / norm;
                y[i] = (ui * dr - ur * di) / norm;
            }
        }
    }

    private static void moveInPlane(
            double[] x, double[] y, int i, int j, double wanted, double step) {
        double dx = x[j] - x[i];
        double dy = y[j] - y[i];
        double shown = Math.hypot(dx, dy);
        if (shown == 0) {
            return;
        }
        double move = step * (shown - wanted) / 2 / shown;
        x[i] += move * dx;
        y[i] += move * dy;
        x[j] -= move * dx;
        y[j] -= move * dy;
    }

    private static void moveInDisk(
            double[] x, double[] y, int i, int j, double wanted, double step) {
        double shown = diskDistance(x, y, i, j);
        if (shown == 0) {
            return;
        }
        double move = step * (shown - wanted) / 2;
        double xi = x[i];
        double yi = y[i];
        walk(x, y, i, x[j], y[j], move);
        walk(x, y, j, xi, yi, move);
    }

    /** Moves a point by a hyperbolic length towards (tx, ty), or away from it. */
    private static void walk(double[] x, double[] y, int i, double tx, double ty, double length) {
        double px = x[i];
        double py = y[i];
        // The target seen from the point: (t - p) / (1 - conj(p) t), complex.
        double cr = 1 - (px * tx + py * ty);
        double ci = -(px * ty - py * tx);
        double nr = tx - px;
        double ni = ty - py;
        double wr = nr * cr + ni * ci;
        double wi = ni * cr - nr * ci;
        double size = Math.hypot(wr, wi);
        if (size == 0) {
            return;
        }
        double radius = Math.tanh(length / 2) / size;
        double zr = wr * radius;
        double zi = wi * radius;
        // And back: (z + p) / (1 + conj(p) z).
        double dr = 1 + (px * zr + py * zi);
        double di = px * zi - py * zr;
        double ur = zr + px;
        double ui = zi + py;
        double norm = dr * dr + di * di;
        double qx = (ur * dr + ui * di) / norm;
        double qy = (ui * dr - ur * di) / norm;
        double out = Math.hypot(qx, qy);
        double shrink = out > RIM ? RIM / out : 1;
        x[i] = qx * shrink;
        y[i] = qy * shrink;
    }

    private static double diskDistance(double[] x, double[] y, int i, int j) {
        double gapI = 1 - x[i] * x[i] - y[i] * y[i];
        double gapJ = 1 - x[j] * x[j] - y[j] * y[j];
        double half = Math.hypot(x[i] - x[j], y[i] - y[j]) / Math.sqrt(gapI * gapJ);
        return 2 * Math.log(half + Math.sqrt(half * half + 1));
    }
}
