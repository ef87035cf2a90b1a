package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BatchesTest {
    private static final int X = Dataset.IGNORE;

    @Test
    void padsOnTheRightAndShifts() {
        Batches.Batch batch =
                Batches.pad(
                        List.of(
                                new Dataset.Example(new int[] {5, 6, 7}, new int[] {X, X, 7}),
                                new Dataset.Example(new int[] {5, 8, 9, 4}, new int[] {5, 8, X, 4}),
                                new Dataset.Example(new int[] {3, 2}, new int[] {3, 2})));
        assertEquals(3, batch.batch());
        assertEquals(3, batch.length());
        assertArrayEquals(new int[] {5, 6, 0, 5, 8, 9, 3, 0, 0}, batch.tokens());
        assertArrayEquals(new int[] {X, 7, X, 8, X, 4, 2, X, X}, batch.targets());
        assertArrayEquals(new int[] {2, 3, 1}, batch.lengths());
        assertEquals(4, batch.targetCount());
    }

    @ParameterizedTest
    @CsvSource({"1,1", "1,7", "7,7", "8,7", "1000,16", "1001,16", "50,2147483647"})
    void everyExampleOncePerEpoch(int count, int batchSize) {
        Batches batches = new Batches(numbered(count), batchSize, 3);
        for (int epoch : new int[] {0, 1, 1_000_000}) {
            List<Batches.Batch> all = list(batches.epoch(epoch));
            assertEquals(batches.batchesPerEpoch(), all.size());
            assertTrue(all.stream().filter(b -> b.batch() < batchSize).count() <= 1);
            assertEquals(
                    IntStream.range(0, count).boxed().toList(),
                    ids(all).stream().sorted().toList());
            for (Batches.Batch batch : all) {
                assertEquals(Arrays.stream(batch.lengths()).max().orElseThrow(), batch.length());
                assertEquals(
                        Arrays.stream(batch.targets()).filter(t -> t != X).count(),
                        batch.targetCount());
            }
        }
    }

    @Test
    void seedAndEpochDecideTheOrder() {
        List<Dataset.Example> examples = numbered(500);
        List<Integer> first = ids(list(new Batches(examples, 8, 1).epoch(0)));
        assertEquals(first, ids(list(new Batches(examples, 8, 1).epoch(0))));
        assertNotEquals(first, ids(list(new Batches(examples, 8, 1).epoch(1))));
        assertNotEquals(first, ids(list(new Batches(examples, 8, 2).epoch(0))));
        assertNotEquals(
                ids(list(new Batches(examples, 8, 1).epoch(1))),
                ids(list(new Batches(examples, 8, 2).epoch(0))),
                "epochs of neighbouring seeds");
    }

    @Test
    void endlessRunsThroughTheEpochs() {
        Batches batches = new Batches(numbered(20), 8, 1);
        List<Batches.Batch> expected = new ArrayList<>(list(batches.epoch(4)));
        expected.addAll(list(batches.epoch(5)));
        Iterator<Batches.Batch> endless = batches.endless(4);
        List<Batches.Batch> taken = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            assertTrue(endless.hasNext());
            taken.add(endless.next());
        }
        assertEquals(ids(expected), ids(taken));
    }

    @Test
    void similarLengthsShareABatch() {
        Batches batches = new Batches(numbered(4096), 16, 9);
        long positions = 0;
        long padded = 0;
        List<Integer> lengths = new ArrayList<>();
        for (Batches.Batch batch : list(batches.epoch(0))) {
            positions += Arrays.stream(batch.lengths()).sum();
            padded += (long) batch.batch() * batch.length();
            lengths.add(batch.length());
        }
        assertTrue(padded < 1.05 * positions, padded + " positions for " + positions);
        assertNotEquals(
                lengths.stream().sorted().toList(), lengths, "order of batches is shuffled");
    }

    @Test
    void batchesAreTheReceiversOwn() {
        List<Dataset.Example> examples = numbered(4);
        Batches batches = new Batches(examples, 4, 1);
        Batches.Batch first = batches.epoch(0).next();
        Arrays.fill(first.tokens(), -1);
        assertFalse(Arrays.stream(batches.epoch(0).next().tokens()).anyMatch(t -> t < 0));
    }

    @Test
    void badArguments() {
        List<Dataset.Example> good = numbered(2);
        assertThrows(IllegalArgumentException.class, () -> new Batches(List.of(), 1, 0));
        assertThrows(IllegalArgumentException.class, () -> new Batches(good, 0, 0));
        assertThrows(IllegalArgumentException.class, () -> new Batches(good, 1, 0).epoch(-1));
        Dataset.Example none = new Dataset.Example(new int[] {1, 2}, new int[] {1, X});
        assertThrows(IllegalArgumentException.class, () -> new Batches(List.of(none), 1, 0));
        Dataset.Example one = new Dataset.Example(new int[] {1}, new int[] {1});
        assertThrows(IllegalArgumentException.class, () -> Batches.pad(List.of(one)));
        Dataset.Example uneven = new Dataset.Example(new int[] {1, 2}, new int[] {1, 2, 3});
        assertThrows(IllegalArgumentException.class, () -> Batches.pad(List.of(uneven)));
        Iterator<Batches.Batch> epoch = new Batches(good, 2, 0).epoch(0);
        epoch.next();
        assertThrows(NoSuchElementException.class, epoch::next);
    }

    /** Example i begins with token i and has 2 to 65 tokens. */
    private static List<Dataset.Example> numbered(int count) {
        SplitMix64 random = new SplitMix64(count);
        List<Dataset.Example> examples = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int[] tokens = new int[random.between(2, 65)];
            tokens[0] = i;
            int[] labels = tokens.clone();
            labels[0] = X;
            examples.add(new Dataset.Example(tokens, labels));
        }
        return examples;
    }

    private static List<Batches.Batch> list(Iterator<Batches.Batch> batches) {
        List<Batches.Batch> out = new ArrayList<>();
        batches.forEachRemaining(out::add);
        return out;
    }

    private static List<Integer> ids(List<Batches.Batch> batches) {
        return batches.stream()
                .flatMap(
                        b ->
                                IntStream.range(0, b.batch())
                                        .mapToObj(r -> b.tokens()[r * b.length()]))
                .toList();
    }
}
