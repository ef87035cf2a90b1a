package org.horosphere.finetune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.Lorentz;
import org.horosphere.Manifold;
import org.horosphere.PoincareBall;
import org.horosphere.RiemannianSgd;
import org.horosphere.RowOp;

/**
 * Points of hyperbolic space for the nodes of a hierarchy, such that a node lies nearer to its
 * parents than to other nodes (Nickel and Kiela, NeurIPS 2017 and ICML 2018): for every edge the
 * loss is {@code -log(exp(-d(child, parent)) / sum exp(-d(child, other)))} over the parent and
 * sampled nodes that are not parents of the child, minimized by Riemannian gradient descent in
 * float64.
 *
 * <p>The same bits for any number of threads, given the options.
 */
public final class HierarchyEmbedding {
    /**
     * Settings.
     *
     * @param dim dimensions
     * @param epochs passes over the edges
     * @param lr step size per edge after the burn-in; falls linearly to a hundredth
     * @param burnIn first epochs, at a hundredth of lr
     * @param negatives sampled nodes per edge
     * @param batch edges per step
     * @param seed of the start and the samples
     */
    public record Options(
            int dim, int epochs, double lr, int burnIn, int negatives, int batch, long seed) {
        /** Checks ranges. */
        public Options {
            require("dim", dim, dim >= 1, "1 or more");
            require("epochs", epochs, epochs >= 0, "0 or more");
            require("lr", lr, lr > 0 && lr < Double.POSITIVE_INFINITY, "a positive number");
            require("burn-in", burnIn, burnIn >= 0, "0 or more");
            require("negatives", negatives, negatives >= 1 && negatives <= 10_000, "1 to 10000");
            require("batch", batch, batch >= 1 && batch <= 10_000, "1 to 10000");
        }

        private static void require(String name, Number value, boolean holds, String expected) {
            if (!holds) {
                throw new IllegalArgumentException(name + ": " + value + ", expected " + expected);
            }
        }
    }

    /** Told after every epoch. */
    @FunctionalInterface
    public interface Listener {
        void epoch(int epoch, double loss);
    }

    /**
     * How well distances tell parents from others.
     *
     * @param meanRank of a parent among the nodes that are not parents, 1 is best
     * @param map mean over nodes of the average precision of their parents, 1 is best
     * @param nodes nodes ranked: those with parents, or a part of them if there are many
     */
    public record Reconstruction(double meanRank, double map, int nodes) {}

    private static final double SLOW = 0.01;
    private static final double START = 1e-3;
    private static final int RANKED_NODES = 5000;
    private static final ValueLayout.OfDouble F64 = ValueLayout.JAVA_DOUBLE;

    private final Hierarchy hierarchy;
    private final Manifold manifold;
    private final int dim;
    private final int width;
    private final MemorySegment points;
    private final RowOp dist;
    private final Exec exec;
    private final double[] curvature;

    private HierarchyEmbedding(Hierarchy hierarchy, Manifold manifold, int dim) {
        this.hierarchy = hierarchy;
        this.manifold = manifold;
        this.dim = dim;
        this.width = Math.toIntExact(manifold.width(dim));
        this.points = allocate((long) hierarchy.nodes() * width);
        if (manifold instanceof PoincareBall ball) {
            this.dist = RowOp.named("poincare.dist");
            this.exec = ball.exec();
            this.curvature = new double[] {ball.c()};
        } else if (manifold instanceof Lorentz lorentz) {
            this.dist = RowOp.named("lorentz.dist");
            this.exec = lorentz.exec();
            this.curvature = new double[] {lorentz.K()};
        } else {
            throw new IllegalArgumentException(
                    "manifold: " + manifold + ", expected a Poincaré ball or a hyperboloid");
        }
    }

    private static MemorySegment allocate(long doubles) {
        return Arena.ofAuto().allocate(Math.max(1, doubles) * Double.BYTES, 64);
    }

    /**
     * Trains.
     *
     * @throws TrainingException if the loss becomes infinite or NaN
     */
    public static HierarchyEmbedding train(
            Hierarchy hierarchy, Manifold manifold, Options options, Listener listener) {
        HierarchyEmbedding embedding = new HierarchyEmbedding(hierarchy, manifold, options.dim());
        embedding.start(options.seed());
        embedding.new Training(options).run(listener);
        return embedding;
    }

    /** The hierarchy. */
    public Hierarchy hierarchy() {
        return hierarchy;
    }

    /** Where the points live. */
    public Manifold manifold() {
        return manifold;
    }

    /** Dimensions. */
    public int dim() {
        return dim;
    }

    /** One row of doubles per node: dim coordinates on the ball, time and space on the other. */
    public MemorySegment points() {
        return points.asReadOnly();
    }

    /** Doubles per row of {@link #points}. */
    public int width() {
        return width;
    }

    private void start(long seed) {
        SplitMix64 random = new SplitMix64(SplitMix64.mix(seed));
        for (int i = 0; i < hierarchy.nodes(); i++) {
            double square = 0;
            for (int j = 0; j < dim; j++) {
                double v = START * (2 * ((random.next() >>> 11) * 0x1p-53) - 1) * radius();
                points.setAtIndex(F64, (long) i * width + width - dim + j, v);
                square += v * v;
            }
            if (manifold instanceof Lorentz lorentz) {
                points.setAtIndex(F64, (long) i * width, Math.sqrt(lorentz.K() + square));
            }
        }
    }

    /** The radius of curvature: lengths scale with it. */
    private double radius() {
        return manifold instanceof Lorentz lorentz
                ? Math.sqrt(lorentz.K())
                : 1 / Math.sqrt(curvature[0]);
    }

    /** Buffers and state of a run. */
    private final class Training {
        private final Options options;
        private final int[] child = hierarchy.child();
        private final int[] parent = hierarchy.parent();
        private final int[][] parents = hierarchy.parents();
        private final SplitMix64 random;
        private final RiemannianSgd optimizer;
        private final RowOp vjp = dist.vjp();
        private final int[] from;
        private final int[] to;
        private final int[] counts;
        private final MemorySegment x;
        private final MemorySegment y;
        private final MemorySegment d;
        private final MemorySegment gx;
        private final MemorySegment gy;
        private final MemorySegment grad;
        private final int[] slot = new int[hierarchy.nodes()];
        private final int[] touched;

        Training(Options options) {
            this.options = options;
            random = new SplitMix64(SplitMix64.mix(options.seed() + 1));
            optimizer =
                    new RiemannianSgd(
                            manifold,
                            DType.F64,
                            hierarchy.nodes(),
                            dim,
                            RiemannianSgd.Options.lr(options.lr()));
            int edges = Math.min(options.batch(), child.length);
            int rows = edges * (1 + options.negatives());
            from = new int[rows];
            to = new int[rows];
            counts = new int[edges];
            x = allocate((long) rows * width);
            y = allocate((long) rows * width);
            d = allocate(rows);
            gx = allocate((long) rows * width);
            gy = allocate((long) rows * width);
            int most = Math.min(hierarchy.nodes(), rows + edges);
            grad = allocate((long) most * width);
            touched = new int[most];
        }

        void run(Listener listener) {
            int[] order = new int[child.length];
            Arrays.setAll(order, i -> i);
            for (int epoch = 1; epoch <= options.epochs(); epoch++) {
                optimizer.setLr(rate(epoch));
                for (int i = order.length - 1; i > 0; i--) {
                    int j = random.below(i + 1);
                    int swap = order[i];
                    order[i] = order[j];
                    order[j] = swap;
                }
                double loss = 0;
                for (int at = 0; at < order.length; at += counts.length) {
                    loss += step(order, at, Math.min(order.length, at + counts.length));
                }
                if (!Double.isFinite(loss)) {
                    throw new TrainingException(
                            "epoch %d: the loss is %s; try a smaller lr".formatted(epoch, loss));
                }
                listener.epoch(epoch, loss / order.length);
            }
        }

        private double rate(int epoch) {
            if (epoch <= options.burnIn()) {
                return options.lr() * SLOW;
            }
            double left =
                    (double) (options.epochs() - epoch) / (options.epochs() - options.burnIn());
            return options.lr() * Math.max(SLOW, left);
        }

        private double step(int[] order, int begin, int end) {
            int rows = 0;
            for (int e = begin; e < end; e++) {
                rows = sample(order[e], e - begin, rows);
            }
            long bytes = (long) width * Double.BYTES;
            for (int r = 0; r < rows; r++) {
                MemorySegment.copy(points, from[r] * bytes, x, r * bytes, bytes);
                MemorySegment.copy(points, to[r] * bytes, y, r * bytes, bytes);
            }
            MemorySegment[] in = {x, y};
            dist.run(
                    exec, DType.F64, rows, dim, in, null, new MemorySegment[] {d}, null, curvature);
            double loss = softmax(end - begin);
            vjp.run(
                    exec,
                    DType.F64,
                    rows,
                    dim,
                    new MemorySegment[] {x, y, d},
                    null,
                    new MemorySegment[] {gx, gy, null},
                    null,
                    curvature);
            optimizer.step(points, gather(rows), grad);
            return loss;
        }

        /** Rows of one edge: the parent, then nodes that are not parents, nor the child. */
        private int sample(int edge, int e, int rows) {
            int u = child[edge];
            int start = rows;
            from[rows] = u;
            to[rows++] = parent[edge];
            int others = hierarchy.nodes() - 1 - parents[u].length;
            for (int k = 0; others > 0 && k < options.negatives(); k++) {
                int v = random.below(hierarchy.nodes());
                while (v == u || Arrays.binarySearch(parents[u], v) >= 0) {
                    v = random.below(hierarchy.nodes());
                }
                from[rows] = u;
                to[rows++] = v;
            }
            counts[e] = rows - start;
            return rows;
        }

        /** Turns distances into their gradients; returns the loss. */
        private double softmax(int edges) {
            double loss = 0;
            int row = 0;
            for (int e = 0; e < edges; e++) {
                int end = row + counts[e];
                double least = Double.POSITIVE_INFINITY;
                for (int r = row; r < end; r++) {
                    least = Math.min(least, d.getAtIndex(F64, r));
                }
                double positive = d.getAtIndex(F64, row) - least;
                double sum = 0;
                for (int r = row; r < end; r++) {
                    double p = Math.exp(least - d.getAtIndex(F64, r));
                    d.setAtIndex(F64, r, p);
                    sum += p;
                }
                loss += positive + Math.log(sum);
                for (int r = row; r < end; r++) {
                    double p = d.getAtIndex(F64, r) / sum;
                    d.setAtIndex(F64, r, r == row ? 1 - p : -p);
                }
                row = end;
            }
            return loss;
        }

        /** Sums the gradients of each node into {@link #grad}; returns the nodes, ascending. */
        private int[] gather(int rows) {
            int count = 0;
            for (int r = 0; r < rows; r++) {
                for (int node : new int[] {from[r], to[r]}) {
                    if (slot[node] == 0) {
                        slot[node] = 1;
                        touched[count++] = node;
                    }
                }
            }
            int[] nodes = Arrays.copyOf(touched, count);
            Arrays.sort(nodes);
            for (int i = 0; i < count; i++) {
                slot[nodes[i]] = i;
            }
            grad.asSlice(0, (long) count * width * Double.BYTES).fill((byte) 0);
            for (int r = 0; r < rows; r++) {
                add(gx, r, slot[from[r]]);
                add(gy, r, slot[to[r]]);
            }
            for (int node : nodes) {
                slot[node] = 0;
            }
            return nodes;
        }

        private void add(MemorySegment g, long row, long at) {
            for (int j = 0; j < width; j++) {
                long to = at * width + j;
                grad.setAtIndex(
                        F64, to, grad.getAtIndex(F64, to) + g.getAtIndex(F64, row * width + j));
            }
        }
    }

    /** Ranks the parents of every node, or of 5,000 evenly spread ones if there are more. */
    public Reconstruction reconstruction() {
        int n = hierarchy.nodes();
        int[][] parents = hierarchy.parents();
        int[] ranked =
                java.util.stream.IntStream.range(0, n).filter(i -> parents[i].length > 0).toArray();
        int all = ranked.length;
        int chosen = Math.min(all, RANKED_NODES);
        MemorySegment distances = allocate(n);
        double ranks = 0;
        double map = 0;
        long edges = 0;
        for (int i = 0; i < chosen; i++) {
            int u = ranked[(int) ((long) i * all / chosen)];
            dist.run(
                    exec,
                    DType.F64,
                    n,
                    dim,
                    new MemorySegment[] {points.asSlice((long) u * width * Double.BYTES), points},
                    new long[] {0, width},
                    new MemorySegment[] {distances},
                    null,
                    curvature);
            double[] others = new double[n - 1 - parents[u].length];
            double[] own = new double[parents[u].length];
            int at = 0;
            int p = 0;
            for (int v = 0; v < n; v++) {
                if (p < own.length && parents[u][p] == v) {
                    own[p++] = distances.getAtIndex(F64, v);
                } else if (v != u) {
                    others[at++] = distances.getAtIndex(F64, v);
                }
            }
            Arrays.sort(others);
            Arrays.sort(own);
            double precision = 0;
            for (int k = 0; k < own.length; k++) {
                int nearer = below(others, own[k]);
                ranks += nearer + 1;
                precision += (k + 1.0) / (k + 1 + nearer);
            }
            edges += own.length;
            map += precision / own.length;
        }
        return new Reconstruction(ranks / edges, map / chosen, chosen);
    }

    /** How many of the sorted values are at most that; ties count against the embedding. */
    private static int below(double[] sorted, double value) {
        int low = 0;
        int high = sorted.length;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (sorted[middle] <= value) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    /** A node's point in the unit ball. */
    double[] inUnitBall(int node) {
        double[] out = new double[dim];
        double time = width == dim ? 0 : points.getAtIndex(F64, (long) node * width);
        double divisor = width == dim ? radius() : radius() + time;
        for (int j = 0; j < dim; j++) {
            out[j] = points.getAtIndex(F64, (long) node * width + width - dim + j) / divisor;
        }
        return out;
    }
}
