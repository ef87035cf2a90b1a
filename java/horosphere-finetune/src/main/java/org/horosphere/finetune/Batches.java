package org.horosphere.finetune;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.stream.IntStream;

/**
 * Examples as padded batches, shuffled anew each epoch; the order depends only on the seed and the
 * epoch's number, so a run can be repeated or taken up again at any epoch. Batches hold examples of
 * similar length: after the shuffle, stretches of {@value #STRETCH} batches are sorted by length
 * and cut, then the order of all batches is shuffled. Immutable and safe from any thread; an
 * iterator belongs to one thread.
 *
 * <p>To accumulate gradients over k batches, take k from the iterator and divide the sum of the
 * token losses by the sum of their {@link Batch#targetCount}: the mean over all targets of the
 * step, as if it had been one batch.
 */
public final class Batches {
    private static final int STRETCH = 32;

    private final List<Dataset.Example> examples;
    private final int batchSize;
    private final long seed;

    /**
     * Right-padded rows for next-token prediction, row-major. An example of n tokens takes n - 1
     * positions: position i holds token i and its target is label i + 1. Padding has token 0 and
     * target {@link Dataset#IGNORE}. The arrays are the receiver's own.
     *
     * @param batch rows
     * @param length positions per row: the largest of {@code lengths}
     * @param tokens batch × length
     * @param targets batch × length
     * @param lengths positions of each row that are not padding
     * @param targetCount targets that are not {@link Dataset#IGNORE}
     * @param starts indices into tokens, ascending, where pieces begin that do not see each other:
     *     the first of every row, and those packed behind it; padding belongs to a row's last
     *     piece. Null if every row is one piece
     */
    public record Batch(
            int batch,
            int length,
            int[] tokens,
            int[] targets,
            int[] lengths,
            long targetCount,
            int[] starts) {
        /** A batch of rows that are one piece each. */
        public Batch(
                int batch,
                int length,
                int[] tokens,
                int[] targets,
                int[] lengths,
                long targetCount) {
            this(batch, length, tokens, targets, lengths, targetCount, null);
        }
    }

    /**
     * @param examples at least one, each with a target
     * @param batchSize rows per batch, at least 1; one batch of an epoch may have fewer
     */
    public Batches(List<Dataset.Example> examples, int batchSize, long seed) {
        if (examples.isEmpty()) {
            throw new IllegalArgumentException("examples is empty, expected at least one");
        }
        if (batchSize < 1) {
            throw new IllegalArgumentException("batchSize = " + batchSize + ", expected >= 1");
        }
        for (int i = 0; i < examples.size(); i++) {
            if (examples.get(i).targets() == 0) {
                throw new IllegalArgumentException("examples[" + i + "] has no target");
            }
        }
        this.examples = List.copyOf(examples);
        this.batchSize = batchSize;
        this.seed = seed;
    }

    /** Batches per epoch: examples / batchSize, rounded up. */
    public int batchesPerEpoch() {
        return Math.ceilDiv(examples.size(), batchSize);
    }

    /** The batches of one epoch, every example in exactly one; {@code epoch} counts from 0. */
    public Iterator<Batch> epoch(int epoch) {
        if (epoch < 0) {
            throw new IllegalArgumentException("epoch = " + epoch + ", expected >= 0");
        }
        return epoch(epoch, 0);
    }

    private Iterator<Batch> epoch(int epoch, int skipped) {
        int[][] rows = order(epoch);
        return new Iterator<>() {
            private int next = skipped;

            @Override
            public boolean hasNext() {
                return next < rows.length;
            }

            @Override
            public Batch next() {
                if (!hasNext()) {
                    throw new NoSuchElementException("the epoch has ended");
                }
                return pad(Arrays.stream(rows[next++]).mapToObj(examples::get).toList());
            }
        };
    }

    /** The batches of epoch {@code firstEpoch} and of all that follow, without end. */
    public Iterator<Batch> endless(int firstEpoch) {
        return from((long) firstEpoch * batchesPerEpoch());
    }

    /** All batches from the one of this number on, counted from 0 over all epochs; without end. */
    public Iterator<Batch> from(long batch) {
        if (batch < 0) {
            throw new IllegalArgumentException("batch = " + batch + ", expected >= 0");
        }
        int firstEpoch = Math.toIntExact(batch / batchesPerEpoch());
        int skipped = (int) (batch % batchesPerEpoch());
        return new Iterator<>() {
            private int number = firstEpoch;
            private Iterator<Batch> current = epoch(firstEpoch, skipped);

            @Override
            public boolean hasNext() {
                return true;
            }

            @Override
            public Batch next() {
                if (!current.hasNext()) {
                    current = epoch(++number);
                }
                return current.next();
            }
        };
    }

    /**
     * All examples once, sorted by length so that little is padded; for measuring, where order does
     * not matter.
     */
    public static List<Batch> sorted(List<Dataset.Example> examples, int batchSize) {
        List<Dataset.Example> order = new ArrayList<>(examples);
        order.sort(Comparator.comparingInt(example -> example.tokens().length));
        List<Batch> batches = new ArrayList<>();
        for (int from = 0; from < order.size(); from += batchSize) {
            batches.add(pad(order.subList(from, Math.min(order.size(), from + batchSize))));
        }
        return batches;
    }

    /** One batch of these examples in this order, each of at least 2 tokens. */
    public static Batch pad(List<Dataset.Example> examples) {
        int batch = examples.size();
        int[] lengths = examples.stream().mapToInt(e -> e.tokens().length - 1).toArray();
        for (int row = 0; row < batch; row++) {
            int labels = examples.get(row).labels().length;
            if (lengths[row] < 1 || labels != lengths[row] + 1) {
                throw new IllegalArgumentException(
                        "examples["
                                + row
                                + "] has "
                                + (lengths[row] + 1)
                                + " tokens and "
                                + labels
                                + " labels, expected as many of both and at least 2");
            }
        }
        int length = IntStream.of(lengths).max().orElse(0);
        if ((long) batch * length > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException(
                    "examples take " + batch + " x " + length + " positions, expected below 2^31");
        }
        int[] tokens = new int[batch * length];
        int[] targets = new int[batch * length];
        Arrays.fill(targets, Dataset.IGNORE);
        long count = 0;
        for (int row = 0; row < batch; row++) {
            Dataset.Example example = examples.get(row);
            System.arraycopy(example.tokens(), 0, tokens, row * length, lengths[row]);
            System.arraycopy(example.labels(), 1, targets, row * length, lengths[row]);
            count += example.targets();
        }
        return new Batch(
                batch, length, tokens, targets, lengths, count, starts(examples, lengths, length));
    }

    private static int[] starts(List<Dataset.Example> examples, int[] lengths, int length) {
        if (examples.stream().allMatch(example -> example.starts().length == 1)) {
            return null;
        }
        return IntStream.range(0, examples.size())
                .flatMap(
                        row ->
                                IntStream.of(examples.get(row).starts())
                                        .filter(start -> start < lengths[row])
                                        .map(start -> row * length + start))
                .toArray();
    }

    /** The indices of each batch's examples. */
    private int[][] order(int epoch) {
        SplitMix64 random = new SplitMix64(SplitMix64.mix(seed) + epoch);
        List<Integer> indices = new ArrayList<>();
        for (int i = 0; i < examples.size(); i++) {
            indices.add(i);
        }
        random.shuffle(indices);
        int stretch = (int) Math.min(examples.size(), (long) STRETCH * batchSize);
        for (int from = 0; from < indices.size(); from += stretch) {
            indices.subList(from, Math.min(from + stretch, indices.size()))
                    .sort(Comparator.comparingInt(i -> examples.get(i).tokens().length));
        }
        List<int[]> batches = new ArrayList<>();
        for (int from = 0; from < indices.size(); from += batchSize) {
            int to = (int) Math.min((long) from + batchSize, indices.size());
            batches.add(indices.subList(from, to).stream().mapToInt(i -> i).toArray());
        }
        random.shuffle(batches);
        return batches.toArray(int[][]::new);
    }
}
