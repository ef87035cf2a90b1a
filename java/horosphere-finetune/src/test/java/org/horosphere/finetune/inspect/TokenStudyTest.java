package org.horosphere.finetune.inspect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class TokenStudyTest {
    private static final String[] TEXT = {"<s>", " dog", "dog", "\u0120how", ",many", "unused"};
    private static final long[] COUNTS = {4, 2, 7, 3, 1, 0};
    private static final double[] NORMS = {1, 5, 2, 3, 4, 9};

    @Test
    void groupsBinsAndRanks() {
        TokenStudy.Result r = TokenStudy.run(COUNTS, id -> TEXT[id], id -> NORMS[id]);
        assertEquals(17, r.occurrences());
        assertEquals(
                List.of(2, 0, 3, 1, 4), r.tokens().stream().map(TokenStudy.Token::id).toList());
        // the more frequent of two spellings counts
        TokenStudy.Group dog =
                r.groups().stream()
                        .filter(g -> g.words().contains("dog"))
                        .findFirst()
                        .orElseThrow();
        assertEquals(2.0, dog.meanNorm());
        assertEquals(7.0, dog.meanCount());
        assertTrue(r.groups().stream().anyMatch(g -> g.words().contains("many")));
        assertEquals(5, r.bins().stream().mapToInt(TokenStudy.Bin::tokens).sum());
        assertEquals(1, r.bins().get(98).tokens());
        assertEquals(2.0, r.bins().get(98).meanCount());
        assertEquals(1, r.bins().get(0).tokens());
        assertEquals(5, r.ranks().size());
        assertEquals(7, r.ranks().get(0).mostCount());
        // ranks of counts 4 2 5 3 1, of norms 1 5 2 3 4: 1 - 6 * 31 / 120... by hand: d^2 =
        // 9+9+9+0+9
        assertEquals(1 - 6 * 36 / 120.0, r.spearman(), 1e-12);
    }

    @Test
    void equalNormsFallIntoOneBin() {
        TokenStudy.Result r = TokenStudy.run(new long[] {1, 2}, id -> "t", id -> 1.0);
        assertEquals(2, r.bins().get(0).tokens());
        assertTrue(Double.isNaN(r.spearman()));
    }

    @Test
    void quantilesAreRsSeventh() {
        double[] x = {1, 2, 4, 8};
        assertEquals(1, Statistics.quantile(x, 0));
        assertEquals(8, Statistics.quantile(x, 1));
        assertEquals(3, Statistics.quantile(x, 0.5));
        assertEquals(1.75, Statistics.quantile(x, 0.25));
    }

    /** A star of equal arms is drawn in the hyperbolic plane far better than in the flat one. */
    @Test
    void aTreeFitsTheDiskBetterThanThePlane() {
        int n = 61;
        double[] d = new double[n * n];
        for (int i = 1; i < n; i++) {
            int parent = (i - 1) / 3;
            for (int j = 0; j < i; j++) {
                d[i * n + j] = d[j * n + i] = d[parent * n + j] + 1;
            }
        }
        DiskLayout disk = DiskLayout.hyperbolic(d, n, 1);
        DiskLayout flat = DiskLayout.flat(d, n, 1);
        assertTrue(disk.stress() < 0.7 * flat.stress(), disk.stress() + " " + flat.stress());
        double x = 0;
        for (int i = 0; i < n; i++) {
            assertTrue(Math.hypot(disk.x()[i], disk.y()[i]) < 1);
            x += disk.x()[i] / n;
        }
        assertEquals(0, x, 1e-3);
    }

    @Test
    void flatPointsAreDrawnExactlyInThePlane() {
        int n = 30;
        Random random = new Random(2);
        double[] x = random.doubles(2 * n).toArray();
        double[] d = new double[n * n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                d[i * n + j] = Math.hypot(x[2 * i] - x[2 * j], x[2 * i + 1] - x[2 * j + 1]);
            }
        }
        assertTrue(DiskLayout.flat(d, n, 1).stress() < 0.05);
        assertEquals(0, DiskLayout.hyperbolic(new double[9], 3, 1).stress());
    }
}
