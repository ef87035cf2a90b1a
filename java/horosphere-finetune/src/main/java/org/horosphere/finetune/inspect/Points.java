package org.horosphere.finetune.inspect;

import java.util.Arrays;

/**
 * A finite set of points, one metric space. The array is shared, do not change it.
 *
 * @param name what it is, for messages
 * @param count how many points
 * @param dim coordinates of each
 * @param x (count, dim), row-major
 */
public record Points(String name, int count, int dim, double[] x) {
    /**
     * @throws IllegalArgumentException if there are fewer than two points, no coordinate, or a
     *     number that is not finite
     */
    public Points {
        if (count < 2 || dim < 1) {
            throw new IllegalArgumentException(
                    name + ": " + count + " x " + dim + ", expected at least 2 rows and 1 column");
        }
        if (x.length != Math.multiplyExact(count, dim)) {
            throw new IllegalArgumentException(
                    name + ": " + x.length + " numbers, expected " + count + " x " + dim);
        }
        for (int i = 0; i < x.length; i++) {
            if (!Double.isFinite(x[i])) {
                throw new IllegalArgumentException(
                        "%s: row %d, column %d is %s, expected a finite number"
                                .formatted(name, i / dim + 1, i % dim + 1, x[i]));
            }
        }
    }

    /** Points of the given rows, in that order. */
    Points rows(int[] chosen) {
        double[] y = new double[chosen.length * dim];
        for (int i = 0; i < chosen.length; i++) {
            System.arraycopy(x, chosen[i] * dim, y, i * dim, dim);
        }
        return new Points(name, chosen.length, dim, y);
    }

    double norm(int row) {
        return Math.sqrt(Arrays.stream(x, row * dim, (row + 1) * dim).map(v -> v * v).sum());
    }
}
