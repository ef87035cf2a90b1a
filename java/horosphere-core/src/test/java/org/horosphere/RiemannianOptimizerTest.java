package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class RiemannianOptimizerTest {
    private static final double C = 0.75;
    private static final double K = 1.25;
    private static final PoincareBall BALL = new PoincareBall(C);
    private static final Lorentz HYPERBOLOID = new Lorentz(K);
    private static final double[] POINT = {0.3, -0.5, 0.25};
    private static final double[][] GRADS = {{1.5, -0.75, 2}, {-0.5, 3, 0.125}, {0.25, 1, -0.5}};
    private static final double[] TIMES = {0.5, -1, 0.25};

    private static RiemannianOptimizer optimizer(
            String kind, Manifold manifold, DType dtype, long rows, long dim) {
        RiemannianSgd.Options sgd = RiemannianSgd.Options.lr(0.125);
        return switch (kind) {
            case "plain" -> new RiemannianSgd(manifold, dtype, rows, dim, sgd);
            case "momentum" ->
                    new RiemannianSgd(
                            manifold,
                            dtype,
                            rows,
                            dim,
                            new RiemannianSgd.Options(0.125, 0.75, 0.25, 0, false));
            case "nesterov" ->
                    new RiemannianSgd(manifold, dtype, rows, dim, sgd.withNesterov(0.75));
            default ->
                    new RiemannianAdam(
                            manifold,
                            dtype,
                            rows,
                            dim,
                            new RiemannianAdam.Options(
                                    0.125, 0.75, 0.5, 0.0625, 0, kind.equals("amsgrad")));
        };
    }

    private static final List<String> KINDS =
            List.of("plain", "momentum", "nesterov", "adam", "amsgrad");

    /** Three steps against bench/peers/make_optimizer_steps.py: definitions, 60 digits. */
    @Test
    void threeStepsAreThoseOfTheDefinitions() {
        check(
                "momentum",
                BALL,
                0.25555959722115134,
                -0.55312633713586439,
                0.18203620978947573,
                0.075484415167403006,
                0.27404642804865767,
                0.087756208763682796);
        check(
                "nesterov",
                BALL,
                0.25302892068779495,
                -0.6132172480329944,
                0.17494260706466839,
                0.051840440861532349,
                0.35748698766458836,
                0.067230352649706019);
        check(
                "adam",
                BALL,
                0.26613792998554006,
                -0.53530352563503255,
                0.19916284801617224,
                0.018569636303088869,
                0.093747503487281013,
                0.019371454698205966);
        check(
                "amsgrad",
                BALL,
                0.26718577824277991,
                -0.5300730280618106,
                0.20025345684232704,
                0.019055572099484384,
                0.094059422113436451,
                0.019788947110303279);
        check(
                "momentum",
                HYPERBOLOID,
                -0.15118045483677428,
                -0.91295180152345831,
                -0.43293581028986627,
                0.90513153817866475,
                2.8757821892667562,
                1.3474397646393232);
        check(
                "nesterov",
                HYPERBOLOID,
                -0.3449491831011747,
                -1.6211640083875852,
                -0.79871161981771297,
                1.5050318805694505,
                5.4261035008658248,
                2.696191909236373);
        check(
                "adam",
                HYPERBOLOID,
                0.20465963288639445,
                -0.57219168022879575,
                0.11359697028539658,
                0.12135513917846362,
                0.850207099636893,
                0.14926287751450759);
        check(
                "amsgrad",
                HYPERBOLOID,
                0.20718747532307202,
                -0.55470021786388365,
                0.11669109224835462,
                0.12352742753551424,
                0.8442633061730419,
                0.15047753233916982);
    }

    /** want: the space part of the point, then of the moment. */
    private static void check(String kind, Manifold manifold, double... want) {
        try (Arena arena = Arena.ofConfined()) {
            boolean time = manifold instanceof Lorentz;
            int dim = 3;
            RiemannianOptimizer optimizer = optimizer(kind, manifold, DType.F64, 1, dim);
            MemorySegment x = Buffers.of(arena, DType.F64, point(time, POINT, K));
            for (int i = 0; i < 3; i++) {
                double[] g = time ? concat(new double[] {TIMES[i]}, GRADS[i]) : GRADS[i];
                MemorySegment grad = Buffers.of(arena, DType.F64, g);
                optimizer.step(x, grad);
                assertArrayEquals(g, Buffers.read(grad, DType.F64), "the gradient was changed");
            }
            double[] got = Buffers.read(x, DType.F64);
            double[] space = Arrays.copyOfRange(got, got.length - dim, got.length);
            double[] state = Buffers.read(optimizer.state().get(0), DType.F64);
            double[] moment = Arrays.copyOfRange(state, state.length - dim, state.length);
            String what = kind + " on " + manifold;
            assertArrayEquals(Arrays.copyOf(want, dim), space, 2e-15, what);
            assertArrayEquals(Arrays.copyOfRange(want, dim, 2 * dim), moment, 1e-14, what);
            if (time) {
                assertEquals(point(true, space, K)[0], got[0], 1e-15, what);
            }
        }
    }

    private static double[] point(boolean time, double[] space, double k) {
        double square = Arrays.stream(space).map(v -> v * v).sum();
        return time ? concat(new double[] {Math.sqrt(k + square)}, space) : space;
    }

    private static double[] concat(double[]... parts) {
        return Arrays.stream(parts).flatMapToDouble(Arrays::stream).toArray();
    }

    private static double dot(double[] x, double[] y) {
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += x[i] * y[i];
        }
        return sum;
    }

    /** The Euclidean gradient of the squared distance to a target, by the textbook formulas. */
    private static double[] gradient(Manifold manifold, double[] x, double[] target) {
        int n = x.length;
        double[] g = new double[n];
        if (manifold instanceof Lorentz) {
            // of -<x,y>_L, which grows with the distance
            for (int i = 0; i < n; i++) {
                g[i] = i == 0 ? target[0] : -target[i];
            }
            return g;
        }
        // of c|x - y|^2 / ((1 - c|x|^2)(1 - c|y|^2)), which grows with the distance
        double[] d = new double[n];
        for (int i = 0; i < n; i++) {
            d[i] = x[i] - target[i];
        }
        double a = 1 - C * dot(x, x);
        double b = 1 - C * dot(target, target);
        for (int i = 0; i < n; i++) {
            g[i] = 2 * C / (a * b) * (d[i] + C * dot(d, d) / a * x[i]);
        }
        return g;
    }

    @Test
    void everyOptimizerConvergesOnEveryManifold() {
        Product product =
                new Product(
                        List.of(new Product.Factor(BALL, 3), new Product.Factor(HYPERBOLOID, 3)));
        for (Manifold manifold : List.of(BALL, HYPERBOLOID, product)) {
            for (String kind : KINDS) {
                converges(manifold, kind);
            }
        }
    }

    private static void converges(Manifold manifold, String kind) {
        List<Manifold> factors = new ArrayList<>();
        if (manifold instanceof Product product) {
            product.factors().forEach(factor -> factors.add(factor.manifold()));
        } else {
            factors.add(manifold);
        }
        double[] away = {-0.4, 0.3, 0.6};
        double[][] targets = new double[factors.size()][];
        double[] x = {};
        for (int f = 0; f < targets.length; f++) {
            boolean time = factors.get(f) instanceof Lorentz;
            targets[f] = point(time, POINT, K);
            x = concat(x, point(time, away, K));
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment point = Buffers.of(arena, DType.F64, x);
            long dim = 3L * factors.size();
            RiemannianOptimizer optimizer = optimizer(kind, manifold, DType.F64, 1, dim);
            for (int i = 0; i < 2000; i++) {
                if (i == 500 && optimizer instanceof RiemannianAdam adam) {
                    adam.setLr(1e-3);
                }
                x = Buffers.read(point, DType.F64);
                double[] g = {};
                int at = 0;
                for (int f = 0; f < targets.length; f++) {
                    int width = targets[f].length;
                    double[] part = Arrays.copyOfRange(x, at, at + width);
                    g = concat(g, gradient(factors.get(f), part, targets[f]));
                    at += width;
                }
                optimizer.step(point, Buffers.of(arena, DType.F64, g));
            }
            double[] end = Buffers.read(point, DType.F64);
            assertArrayEquals(concat(targets), end, 1e-5, kind + " on " + manifold);
        }
    }

    /** Rows with points inside, gradients of every size. */
    private static double[] rows(
            Random random, Manifold manifold, int rows, int dim, boolean grad) {
        double[] all = {};
        for (int r = 0; r < rows; r++) {
            double[] v = Buffers.random(random, dim, grad ? 2 : 0.9 / Math.sqrt(dim));
            all = concat(all, point(manifold instanceof Lorentz, v, K));
        }
        return all;
    }

    @Test
    void aSparseStepIsTheDenseOneOnItsRowsAndLeavesTheOthers() {
        int rows = 37;
        for (Manifold manifold : List.of(BALL, HYPERBOLOID)) {
            for (int dim : new int[] {3, 21}) {
                for (DType dtype : List.of(DType.F32, DType.F64)) {
                    for (String kind : KINDS) {
                        sparse(manifold, dim, rows, dtype, kind);
                    }
                }
            }
        }
    }

    private static void sparse(Manifold manifold, int dim, int rows, DType dtype, String kind) {
        Random random = new Random(7);
        int width = (int) manifold.width(dim);
        int[] touched = {0, 3, 4, 11, 12, 13, 14, 15, 16, 17, 36};
        try (Arena arena = Arena.ofConfined()) {
            double[] start = rows(random, manifold, rows, dim, false);
            MemorySegment dense = Buffers.of(arena, dtype, start);
            MemorySegment some = Buffers.of(arena, dtype, start);
            RiemannianOptimizer a = optimizer(kind, manifold, dtype, rows, dim);
            RiemannianOptimizer b = optimizer(kind, manifold, dtype, rows, dim);
            for (int step = 0; step < 3; step++) {
                double[] g = rows(random, manifold, rows, dim, true);
                double[] picked = {};
                for (int row : touched) {
                    picked =
                            concat(picked, Arrays.copyOfRange(g, row * width, row * width + width));
                }
                a.step(dense, Buffers.of(arena, dtype, g));
                b.step(some, touched, Buffers.of(arena, dtype, picked));
            }
            double[] want = Buffers.read(dense, dtype);
            double[] got = Buffers.read(some, dtype);
            double[] stored = Buffers.read(Buffers.of(arena, dtype, start), dtype);
            for (int row = 0; row < rows; row++) {
                boolean hit = Arrays.binarySearch(touched, row) >= 0;
                double[] expected = hit ? want : stored;
                for (int i = row * width; i < (row + 1) * width; i++) {
                    assertEquals(expected[i], got[i], kind + " on " + manifold + " row " + row);
                }
            }
        }
    }

    @Test
    void stepsStayInsideFromAnywhere() {
        double[][] starts = {
            {0, 0, 0}, {5, 0, 0}, {0.6, 0.7, 0.7}, {1.1547005, 0, 0}, {1e-30, 0, 0}
        };
        double[][] gradients = {{0, 0, 0}, {1, 2, 3}, {-1e12, 1e12, 0}, {1e-30, 0, 0}};
        for (DType dtype : List.of(DType.F32, DType.F64)) {
            for (String kind : KINDS) {
                for (double[] start : starts) {
                    try (Arena arena = Arena.ofConfined()) {
                        RiemannianOptimizer optimizer = optimizer(kind, BALL, dtype, 1, 3);
                        MemorySegment x = Buffers.of(arena, dtype, start);
                        for (double[] gradient : gradients) {
                            optimizer.step(x, Buffers.of(arena, dtype, gradient));
                            double[] end = Buffers.read(x, dtype);
                            assertTrue(
                                    C * dot(end, end) < 1,
                                    kind
                                            + " "
                                            + dtype
                                            + " "
                                            + Arrays.toString(start)
                                            + " to "
                                            + Arrays.toString(end));
                            double[] state =
                                    kind.equals("plain")
                                            ? new double[0]
                                            : Buffers.read(optimizer.state().get(0), dtype);
                            assertTrue(Arrays.stream(state).allMatch(Double::isFinite));
                        }
                    }
                }
            }
        }
    }

    @Test
    void lorentzIgnoresAnOffManifoldTime() {
        for (String kind : KINDS) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment x = Buffers.of(arena, DType.F64, -3, 0.5, 0.25);
                RiemannianOptimizer optimizer = optimizer(kind, HYPERBOLOID, DType.F64, 1, 2);
                optimizer.step(x, Buffers.of(arena, DType.F64, 0.5, 1, -1));
                double[] end = Buffers.read(x, DType.F64);
                double time = point(true, Arrays.copyOfRange(end, 1, 3), K)[0];
                assertEquals(time, end[0], 1e-14, kind);
            }
        }
    }

    @Test
    void momentumChangesFromStepToStepAndCanBeResumed() {
        for (Manifold manifold : List.of(BALL, HYPERBOLOID)) {
            for (String kind : KINDS.subList(1, KINDS.size())) {
                try (Arena arena = Arena.ofConfined()) {
                    Random random = new Random(3);
                    double[] start = rows(random, manifold, 2, 3, false);
                    MemorySegment grad =
                            Buffers.of(arena, DType.F64, rows(random, manifold, 2, 3, true));
                    MemorySegment x = Buffers.of(arena, DType.F64, start);
                    RiemannianOptimizer a = optimizer(kind, manifold, DType.F64, 2, 3);
                    a.step(x, grad);
                    double[] first = Buffers.read(a.state().get(0), DType.F64);
                    RiemannianOptimizer b = optimizer(kind, manifold, DType.F64, 2, 3);
                    for (int i = 0; i < a.state().size(); i++) {
                        b.state().get(i).copyFrom(a.state().get(i));
                    }
                    b.resume(1);
                    MemorySegment y = Buffers.of(arena, DType.F64, Buffers.read(x, DType.F64));
                    a.step(x, grad);
                    b.step(y, grad);
                    assertFalse(Arrays.equals(first, Buffers.read(a.state().get(0), DType.F64)));
                    assertArrayEquals(Buffers.read(x, DType.F64), Buffers.read(y, DType.F64));
                }
            }
        }
    }

    @Test
    void weightDecayAddsThePointToTheGradient() {
        try (Arena arena = Arena.ofConfined()) {
            double decay = 0.25;
            double[] sum = new double[3];
            Arrays.setAll(sum, i -> GRADS[0][i] + decay * POINT[i]);
            MemorySegment x = Buffers.of(arena, DType.F64, POINT);
            MemorySegment y = Buffers.of(arena, DType.F64, POINT);
            new RiemannianSgd(
                            BALL,
                            DType.F64,
                            1,
                            3,
                            new RiemannianSgd.Options(0.125, 0, 0, decay, false))
                    .step(x, Buffers.of(arena, DType.F64, GRADS[0]));
            optimizer("plain", BALL, DType.F64, 1, 3).step(y, Buffers.of(arena, DType.F64, sum));
            assertArrayEquals(Buffers.read(y, DType.F64), Buffers.read(x, DType.F64), 1e-16);
            assertNotEquals(POINT[0], Buffers.get(x, DType.F64, 0));
        }
    }

    @Test
    void unfitArgumentsAreNamed() {
        try (Arena arena = Arena.ofConfined()) {
            RiemannianOptimizer optimizer = optimizer("adam", HYPERBOLOID, DType.F32, 4, 3);
            MemorySegment x = Buffers.empty(arena, DType.F32, 16);
            MemorySegment small = Buffers.empty(arena, DType.F32, 15);
            refused("x: ", () -> optimizer.step(small, x));
            refused("grad: ", () -> optimizer.step(x, small));
            refused("grad: ", () -> optimizer.step(x, null));
            refused("touched: ", () -> optimizer.step(x, new int[] {1, 1}, x));
            refused("touched: ", () -> optimizer.step(x, new int[] {4}, x));
            refused("touched: ", () -> optimizer.step(x, new int[] {-1}, x));
            MemorySegment g = Buffers.empty(arena, DType.F32, 16);
            refused("x: read-only", () -> optimizer.step(x.asReadOnly(), g));
            refused("x: read-only", () -> optimizer.step(x.asReadOnly(), new int[] {1}, g));
            MemorySegment large = Buffers.empty(arena, DType.F32, 20);
            refused("out_x: ", () -> optimizer.step(large, large.asSlice(4)));
            refused("grad: ", () -> optimizer.step(x, new int[] {1}, null));
            assertEquals(0, optimizer.steps(), "what was refused was no step");
        }
        refused("lr: ", () -> RiemannianSgd.Options.lr(-1));
        refused("momentum: ", () -> RiemannianSgd.Options.lr(1).withMomentum(1));
        refused("nesterov: ", () -> new RiemannianSgd.Options(1, 0.5, 0.5, 0, true));
        refused("beta2: ", () -> new RiemannianAdam.Options(1, 0.9, 1, 0, 0, false));
        RiemannianAdam.Options adam = RiemannianAdam.Options.lr(1);
        refused("dtype: ", () -> new RiemannianAdam(BALL, DType.BF16, 1, 1, adam));
        refused("dim: ", () -> new RiemannianAdam(BALL, DType.F32, 1, 0, adam));
        refused("options: ", () -> new RiemannianAdam(BALL, DType.F32, 1, 1, null));
        refused("options: ", () -> new RiemannianSgd(BALL, DType.F32, 1, 1, null));
        refused("manifold: ", () -> new RiemannianAdam(null, DType.F32, 1, 1, adam));
        refused("manifold: ", () -> new RiemannianAdam(new Klein(1), DType.F32, 1, 1, adam));
        refused("rows: ", () -> new RiemannianAdam(BALL, DType.F32, Long.MAX_VALUE, 1, adam));
        refused("factors: ", () -> new Product(Arrays.asList((Product.Factor) null)));
        Product product = new Product(List.of(new Product.Factor(BALL, 3)));
        refused("dim: ", () -> new RiemannianAdam(product, DType.F32, 1, 4, adam));
        refused("factors: ", () -> new Product(List.of()));
        refused("manifold: ", () -> new Product.Factor(product, 3));
        refused("K: ", () -> new Lorentz(0));
    }

    private static void refused(String named, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(named), message);
    }
}
