package org.horosphere.finetune.inspect;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Hyperbolicity;

/** Measures delta of one metric space after another in the same native memory. Single-threaded. */
final class DeltaMeter implements AutoCloseable {
    /** Up to so many points every base is tried. */
    static final int ALL_BASES = 200;

    private static final int QUADRUPLES = 1000;
    private static final ValueLayout.OfDouble F64 = ValueLayout.JAVA_DOUBLE;

    private final Exec exec;
    private Arena arena = Arena.ofShared();
    private MemorySegment coordinates = MemorySegment.NULL;
    private MemorySegment distances = MemorySegment.NULL;
    private MemorySegment gromov = MemorySegment.NULL;
    private MemorySegment scratch = MemorySegment.NULL;
    private int n;
    private double diameter;

    DeltaMeter(Exec exec) {
        this.exec = exec;
    }

    /** Euclidean distances between the points. */
    void load(Points points) {
        reserve(points.count(), points.dim());
        MemorySegment.copy(points.x(), 0, coordinates, F64, 0, points.x().length);
        Hyperbolicity.pairwise_distance(
                exec, DType.F64, n, points.dim(), coordinates, points.dim(), distances);
        measureDiameter();
    }

    /** A metric given as its (n, n) matrix. */
    void load(double[] matrix, int count) {
        reserve(count, 1);
        MemorySegment.copy(matrix, 0, distances, F64, 0, matrix.length);
        measureDiameter();
    }

    private void measureDiameter() {
        diameter = 0;
        for (long i = 0; i < (long) n * n; i++) {
            diameter = Math.max(diameter, distances.getAtIndex(F64, i));
        }
        if (!Double.isFinite(diameter)) {
            throw new IllegalArgumentException(
                    "points: a distance is " + diameter + ", expected numbers below 1e150");
        }
    }

    private void reserve(int count, int dim) {
        n = count;
        long square = (long) count * count * Double.BYTES;
        long rows = (long) count * dim * Double.BYTES;
        if (distances.byteSize() < square || coordinates.byteSize() < rows) {
            arena.close();
            arena = Arena.ofShared();
            coordinates = arena.allocate(rows, 64);
            distances = arena.allocate(square, 64);
            gromov = arena.allocate(square, 64);
            scratch = arena.allocate(2L * count * Double.BYTES, 64);
        }
    }

    double diameter() {
        return diameter;
    }

    /** A copy of the (n, n) matrix. */
    double[] distances() {
        return distances.asSlice(0, (long) n * n * Double.BYTES).toArray(F64);
    }

    /** Twice delta at a base point over the diameter; 0 if all points coincide. */
    double relativeDelta(int base) {
        return diameter == 0 ? 0 : 2 * delta(base, 0) / diameter;
    }

    private double delta(int base, double atLeast) {
        Hyperbolicity.gromov_product(exec, n, distances, base, gromov, scratch);
        return Hyperbolicity.delta(exec, n, gromov, atLeast, false, scratch);
    }

    /**
     * Twice the four-point constant over the diameter, or an upper bound of it: the largest over
     * all bases for at most {@link #ALL_BASES} points, else twice the value at base 0.
     */
    double upperRelativeDelta() {
        if (diameter == 0) {
            return 0;
        }
        double best = delta(0, 0);
        if (n > ALL_BASES) {
            return 4 * best / diameter;
        }
        for (int base = 1; base < n; base++) {
            best = delta(base, best);
        }
        return 2 * best / diameter;
    }

    /**
     * The largest excess of the greatest over the second greatest sum of opposite distances, over
     * the diameter, in random quadruples: a lower bound of the four-point constant, as it is twice
     * delta over the diameter. Gromov's condition on pair sums, not on six sorted distances.
     */
    double sampledRelativeDelta(SplittableRandom random) {
        if (diameter == 0 || n < 4) {
            return 0;
        }
        double worst = 0;
        for (int s = 0; s < QUADRUPLES; s++) {
            int a = random.nextInt(n);
            int b = random.nextInt(n);
            int c = random.nextInt(n);
            int d = random.nextInt(n);
            double x = at(a, b) + at(c, d);
            double y = at(a, c) + at(b, d);
            double z = at(a, d) + at(b, c);
            double largest = Math.max(x, Math.max(y, z));
            double least = Math.min(x, Math.min(y, z));
            worst = Math.max(worst, 2 * largest + least - (x + y + z));
        }
        return worst / diameter;
    }

    /**
     * The participation ratio of the covariance's spectrum, (sum of eigenvalues)^2 / sum of their
     * squares, from the distances alone by double centring. At most n - 1.
     */
    double effectiveDimension() {
        double total = 0;
        double rows = 0;
        double fourth = 0;
        for (int i = 0; i < n; i++) {
            double row = 0;
            for (int j = 0; j < n; j++) {
                double square = at(i, j) * at(i, j);
                row += square;
                fourth += square * square;
            }
            total += row;
            rows += row * row;
        }
        double trace = total / (2 * n);
        double norm = (fourth - 2 * rows / n + total / n * (total / n)) / 4;
        return trace == 0 ? 0 : trace * trace / norm;
    }

    private double at(int i, int j) {
        return distances.getAtIndex(F64, (long) i * n + j);
    }

    @Override
    public void close() {
        arena.close();
    }
}
