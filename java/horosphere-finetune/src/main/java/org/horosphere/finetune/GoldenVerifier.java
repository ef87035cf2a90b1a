package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Function;
import org.horosphere.Attention;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.HyperbolicLinear;
import org.horosphere.HyperbolicSets;
import org.horosphere.LowRankAdapter;
import org.horosphere.PoincareBall;
import org.horosphere.RowOp;

/**
 * Checks the kernels of this machine against reference cases: a folder with {@code index.json} and
 * safetensors files, or the small set in the jar.
 *
 * <p>A row passes if {@code |got - want| <= k eps (|want| + sens)}, where {@code sens} is the
 * recorded conditioning of the row: how far the result moves per relative change of the inputs.
 * Attention is compared tensor by tensor. In rows listed as not differentiable the gradient must be
 * exactly 0. A result below the range of its type may be off by the smallest number of that type.
 */
public final class GoldenVerifier {
    /**
     * All cases of one operation, type and pass.
     *
     * @param op as in the index
     * @param dtype F32 or F64
     * @param device what ran it: {@code cpu}
     * @param pass {@code forward} or {@code vjp}
     * @param cases number of cases
     * @param maxRelError worst {@code |got - want| / (|want| + sens)}; what tolerance bounds
     * @param maxPlainError worst {@code |got - want| / |want|} of rows that are not 0
     * @param tolerance {@code k eps}
     * @param worst worst error as a share of what is allowed; NaN if a result is NaN
     * @param missing the library has no such operation
     * @param failures the first few rows past tolerance
     */
    public record Result(
            String op,
            String dtype,
            String device,
            String pass,
            int cases,
            double maxRelError,
            double maxPlainError,
            double tolerance,
            double worst,
            boolean missing,
            List<String> failures) {
        public Result {
            failures = List.copyOf(failures);
        }

        /** Every row is within tolerance. */
        public boolean ok() {
            return !missing && failures.isEmpty();
        }
    }

    private static final String INDEX = "index.json";
    private static final String BUILT_IN = "golden/";
    private static final int SHOWN_FAILURES = 3;

    /** Midpoints by their names. */
    private static final Map<String, HyperbolicSets.Model> SETS =
            Map.of(
                    "poincare.midpoint", HyperbolicSets.Model.POINCARE,
                    "lorentz.centroid", HyperbolicSets.Model.LORENTZ,
                    "klein.midpoint", HyperbolicSets.Model.KLEIN);

    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT =
            ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Exec exec;
    private final Function<String, SafeTensors> files;
    private final Map<String, Tally> tallies = new TreeMap<>();

    private GoldenVerifier(Exec exec, Function<String, SafeTensors> files) {
        this.exec = exec;
        this.files = files;
    }

    /** Whether a folder holds golden cases. */
    public static boolean isGolden(Path folder) {
        return Files.isRegularFile(folder.resolve(INDEX));
    }

    /**
     * Runs every case of a folder.
     *
     * @param exec the CPU with some number of threads
     * @param progress told the id of each case before it runs
     * @throws DataException if the index is malformed or a tensor is not there
     * @throws CheckpointException if a file cannot be read
     */
    public static List<Result> verify(Path folder, Exec exec, Consumer<String> progress) {
        JsonNode index;
        try {
            index = Json.MAPPER.readTree(folder.resolve(INDEX).toFile());
        } catch (IOException e) {
            throw new DataException(
                    folder.resolve(INDEX) + ": " + CheckpointException.reason(e), e);
        }
        try (Arena arena = Arena.ofConfined()) {
            Map<String, SafeTensors> open = new HashMap<>();
            return new GoldenVerifier(
                            exec,
                            name ->
                                    open.computeIfAbsent(
                                            name, n -> SafeTensors.open(folder.resolve(n), arena)))
                    .run(index, progress);
        }
    }

    /** Runs the cases in the jar. */
    public static List<Result> verifyBuiltIn(Exec exec, Consumer<String> progress) {
        try (InputStream index = resource(INDEX)) {
            Map<String, SafeTensors> open = new HashMap<>();
            return new GoldenVerifier(
                            exec,
                            name ->
                                    open.computeIfAbsent(
                                            name,
                                            n ->
                                                    SafeTensors.parse(
                                                            Path.of(n),
                                                            MemorySegment.ofArray(bytes(n)))))
                    .run(Json.MAPPER.readTree(index), progress);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static InputStream resource(String name) {
        return GoldenVerifier.class.getResourceAsStream(BUILT_IN + name);
    }

    private static byte[] bytes(String name) {
        try (InputStream in = resource(name)) {
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private List<Result> run(JsonNode index, Consumer<String> progress) {
        JsonNode cases = index.get("cases");
        if (cases == null || !cases.isArray()) {
            throw new DataException(INDEX + ": expected an array \"cases\"");
        }
        Map<String, RowOp> rowOps = new HashMap<>();
        RowOp.all().forEach(op -> rowOps.put(op.name(), op));
        for (JsonNode entry : cases) {
            Case c = new Case(entry);
            progress.accept(c.id);
            RowOp op = rowOps.get(c.op);
            try {
                if (c.op.equals("mixed_attention")) {
                    compareAll(c, attention(c));
                } else if (c.op.equals("hyplora")) {
                    compareAll(c, hyplora(c));
                } else if (SETS.containsKey(c.op)) {
                    compareAll(c, midpoint(c, SETS.get(c.op)));
                } else if (c.op.equals("poincare.mobius_matvec")) {
                    compareAll(c, matvec(c));
                } else if (op != null) {
                    compare(c, "out", forward(c, op));
                    if (rowOps.containsKey(c.op + ".vjp")) {
                        compareAll(c, vjp(c, op));
                    } else {
                        tally(c, true).missing = true;
                    }
                } else {
                    tally(c, false).missing = true;
                }
            } catch (IllegalArgumentException e) {
                throw new DataException(c.id + ": " + e.getMessage(), e);
            }
        }
        return tallies.values().stream().map(Tally::result).toList();
    }

    // ---- Running

    private double[] forward(Case c, RowOp op) {
        List<double[]> in = new ArrayList<>();
        op.inputs().forEach(operand -> in.add(c.need(operand.name())));
        return run(c, op, c.rows, in).get("out");
    }

    private Map<String, double[]> vjp(Case c, RowOp op) {
        int[] rows = c.vjpRows();
        Map<String, double[]> picked = new LinkedHashMap<>();
        for (RowOp.Operand operand : op.inputs()) {
            picked.put(operand.name(), rows(c.need(operand.name()), c.rows, rows));
        }
        List<double[]> in = new ArrayList<>(picked.values());
        in.add(c.need("cot"));
        Map<String, double[]> out = run(c, op.vjp(), rows.length, in);
        for (Map.Entry<String, double[]> gradient : out.entrySet()) {
            double[] want = c.tensor(gradient.getKey());
            int ambient = rows.length * (c.dim + 1);
            if (want != null
                    && want.length == rows.length * c.dim
                    && gradient.getValue().length == ambient) {
                gradient.setValue(spacePart(gradient.getValue(), c.dim));
            }
        }
        return out;
    }

    /**
     * The gradient by a point's space part alone: complete only if that by its time is 0, else NaN.
     */
    private static double[] spacePart(double[] ambient, int dim) {
        double[] space = new double[ambient.length / (dim + 1) * dim];
        for (int i = 0; i * dim < space.length; i++) {
            System.arraycopy(ambient, i * (dim + 1) + 1, space, i * dim, dim);
            if (ambient[i * (dim + 1)] != 0) {
                space[i * dim] = Double.NaN;
            }
        }
        return space;
    }

    private Map<String, double[]> run(Case c, RowOp op, int rows, List<double[]> in) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment[] inputs =
                    in.stream()
                            .map(values -> copy(values, c.dtype, arena))
                            .toArray(MemorySegment[]::new);
            MemorySegment[] outputs =
                    op.outputs().stream()
                            .map(o -> empty(rows * o.kind().width(c.dim), c.dtype, arena))
                            .toArray(MemorySegment[]::new);
            double[] params = op.parameters().stream().mapToDouble(c::number).toArray();
            op.run(exec, c.dtype, rows, c.dim, inputs, null, outputs, null, params);
            Map<String, double[]> out = new LinkedHashMap<>();
            for (int i = 0; i < outputs.length; i++) {
                out.put(op.outputs().get(i).name(), read(outputs[i], c.dtype));
            }
            return out;
        }
    }

    private Map<String, double[]> midpoint(Case c, HyperbolicSets.Model model) {
        String curvature = model == HyperbolicSets.Model.LORENTZ ? "K" : "c";
        HyperbolicSets sets = new HyperbolicSets(model, c.number(curvature), exec);
        int k = c.size("k");
        double[] x = c.need("X");
        double[] w = c.need("w");
        int[] rows = c.vjpRows();
        int width = (int) sets.width(c.dim);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = empty((long) c.rows * width, c.dtype, arena);
            sets.midpoint(
                    c.dtype,
                    c.rows,
                    k,
                    c.dim,
                    copy(x, c.dtype, arena),
                    copy(w, c.dtype, arena),
                    out);
            MemorySegment gx = empty((long) rows.length * k * width, c.dtype, arena);
            MemorySegment gw = empty((long) rows.length * k, c.dtype, arena);
            MemorySegment gc = empty(rows.length, c.dtype, arena);
            sets.midpoint_vjp(
                    c.dtype,
                    rows.length,
                    k,
                    c.dim,
                    copy(rows(x, c.rows, rows), c.dtype, arena),
                    copy(rows(w, c.rows, rows), c.dtype, arena),
                    copy(c.need("cot"), c.dtype, arena),
                    gx,
                    gw,
                    gc);
            Map<String, double[]> result = new LinkedHashMap<>();
            result.put("out", read(out, c.dtype));
            double[] points = read(gx, c.dtype);
            result.put("g_X", width > c.dim ? spacePart(points, c.dim) : points);
            result.put("g_w", read(gw, c.dtype));
            result.put("g_" + curvature, read(gc, c.dtype));
            return result;
        }
    }

    private Map<String, double[]> matvec(Case c) {
        HyperbolicLinear map =
                HyperbolicLinear.mobius_matvec(new PoincareBall(c.number("c"), exec));
        double[] x = c.need("x");
        double[] m = c.need("M");
        if (m.length % c.dim != 0) {
            throw new DataException(c.id + ": tensor M: " + m.length + " elements");
        }
        int p = m.length / c.dim;
        int[] rows = c.vjpRows();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment matrix = copy(m, c.dtype, arena);
            MemorySegment out = empty((long) c.rows * p, c.dtype, arena);
            map.forward(c.dtype, c.rows, c.dim, p, copy(x, c.dtype, arena), matrix, null, out);
            MemorySegment gx = empty((long) rows.length * c.dim, c.dtype, arena);
            MemorySegment gm = empty(m.length, c.dtype, arena);
            MemorySegment gc = empty(rows.length, c.dtype, arena);
            map.vjp(
                    c.dtype,
                    rows.length,
                    c.dim,
                    p,
                    copy(rows(x, c.rows, rows), c.dtype, arena),
                    matrix,
                    null,
                    copy(c.need("cot"), c.dtype, arena),
                    gx,
                    gm,
                    null,
                    gc,
                    arena.allocate(map.workspaceBytes(rows.length, p), Double.BYTES));
            Map<String, double[]> result = new LinkedHashMap<>();
            result.put("out", read(out, c.dtype));
            result.put("g_x", read(gx, c.dtype));
            result.put("g_M", read(gm, c.dtype));
            result.put("g_c", read(gc, c.dtype));
            return result;
        }
    }

    private Map<String, double[]> hyplora(Case c) {
        double[] x = c.need("x");
        double[] a = c.need("A");
        double[] b = c.need("B");
        int k = c.size("k");
        LowRankAdapter shape =
                new LowRankAdapter(
                        c.dtype,
                        LowRankAdapter.Kind.HYPLORA,
                        c.dim,
                        c.size("r"),
                        k,
                        c.number("scaling"));
        int[] rows = c.vjpRows();
        double[] cot = c.need("cot");
        double[] dout = new double[c.rows * k];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(cot, i * k, dout, rows[i] * k, k);
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment curvature = copy(new double[] {c.number("K")}, DType.F64, arena);
            MemorySegment s = copy(new double[] {c.number("s")}, DType.F64, arena);
            MemorySegment xs = copy(x, c.dtype, arena);
            MemorySegment as = copy(a, c.dtype, arena);
            MemorySegment bs = copy(b, c.dtype, arena);
            MemorySegment gram = empty(shape.r() * shape.r(), DType.F64, arena);
            MemorySegment out = empty((long) c.rows * k, c.dtype, arena);
            MemorySegment p = empty(c.rows * shape.r(), c.dtype, arena);
            MemorySegment gain = empty(c.rows, DType.F64, arena);
            MemorySegment norm = empty(c.rows, DType.F64, arena);
            MemorySegment m = empty(c.rows, DType.F64, arena);
            LowRankAdapter.gram(exec, shape, bs, gram);
            LowRankAdapter.forward(
                    exec, shape, c.rows, xs, c.dim, as, bs, gram, curvature, s, out, k, p, gain,
                    norm, m);
            MemorySegment dx = empty(x.length, c.dtype, arena);
            MemorySegment da = empty(a.length, c.dtype, arena);
            MemorySegment db = empty(b.length, c.dtype, arena);
            MemorySegment dK = empty(1, DType.F64, arena);
            MemorySegment ds = empty(1, DType.F64, arena);
            MemorySegment workspace =
                    arena.allocate(Math.max(1, shape.workspaceBytes(exec, c.rows)));
            LowRankAdapter.backward(
                    exec,
                    shape,
                    c.rows,
                    xs,
                    c.dim,
                    as,
                    bs,
                    gram,
                    curvature,
                    s,
                    copy(dout, c.dtype, arena),
                    k,
                    p,
                    norm,
                    m,
                    dx,
                    c.dim,
                    da,
                    db,
                    dK,
                    ds,
                    workspace);
            Map<String, double[]> result = new LinkedHashMap<>();
            result.put("out", read(out, c.dtype));
            result.put("gain", read(gain, DType.F64));
            result.put("m", read(m, DType.F64));
            result.put("g_x", rows(read(dx, c.dtype), c.rows, rows));
            result.put("g_A", read(da, c.dtype));
            result.put("g_B", read(db, c.dtype));
            result.put("g_K", read(dK, DType.F64));
            result.put("g_s", read(ds, DType.F64));
            return result;
        }
    }

    private Map<String, double[]> attention(Case c) {
        int tokens = c.size("N");
        int heads = c.size("H");
        int kvHeads = c.size("Hkv");
        int d = c.size("D");
        Attention.Strides query = Attention.Strides.headMajor(tokens, heads, d);
        Attention.Strides key = Attention.Strides.headMajor(tokens, kvHeads, d);
        Attention shape =
                new Attention(
                        c.dtype,
                        c.size("B"),
                        heads,
                        kvHeads,
                        tokens,
                        tokens,
                        d,
                        query,
                        key,
                        key,
                        query,
                        c.number("scale"),
                        c.param("causal").asBoolean());
        double[] alpha = c.need("alpha").clone();
        for (int h = 0; h < heads; h++) {
            alpha[h * heads + h] -= 1; // the library leaves the identity out
        }
        double[] lengths = c.tensor("lengths");
        double[] positions = c.tensor("positions");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment q = copy(c.need("q"), c.dtype, arena);
            MemorySegment k = copy(c.need("k"), c.dtype, arena);
            MemorySegment v = copy(c.need("v"), c.dtype, arena);
            MemorySegment mix = copy(alpha, c.dtype, arena);
            MemorySegment ends = lengths == null ? null : ints(lengths, arena);
            MemorySegment out = arena.allocate(q.byteSize(), Double.BYTES);
            MemorySegment lse = empty((long) c.size("B") * heads * tokens, c.dtype, arena);
            Attention.forward(
                    exec, shape, q, k, v, mix, ends, out, lse, workspace(shape, false, arena));
            MemorySegment dq = arena.allocate(q.byteSize(), Double.BYTES);
            MemorySegment dk = arena.allocate(k.byteSize(), Double.BYTES);
            MemorySegment dv = arena.allocate(v.byteSize(), Double.BYTES);
            MemorySegment dalpha = arena.allocate(mix.byteSize(), Double.BYTES);
            Attention.backward(
                    exec,
                    shape,
                    q,
                    k,
                    v,
                    mix,
                    ends,
                    lse,
                    copy(c.need("cot"), c.dtype, arena),
                    dq,
                    dk,
                    dv,
                    dalpha,
                    workspace(shape, true, arena));
            Map<String, double[]> result = new LinkedHashMap<>();
            result.put("out", tokens(read(out, c.dtype), positions, tokens, d));
            result.put("lse", read(lse, c.dtype));
            result.put("g_q", tokens(read(dq, c.dtype), positions, tokens, d));
            result.put("g_k", tokens(read(dk, c.dtype), positions, tokens, d));
            result.put("g_v", tokens(read(dv, c.dtype), positions, tokens, d));
            result.put("g_alpha", read(dalpha, c.dtype));
            return result;
        }
    }

    private MemorySegment workspace(Attention shape, boolean backward, Arena arena) {
        return arena.allocate(Math.max(1, shape.workspaceBytes(exec, true, backward)));
    }

    /** The listed positions of a head-major tensor; all of it if there is no list. */
    private static double[] tokens(double[] x, double[] positions, int tokens, int dim) {
        if (positions == null) {
            return x;
        }
        int planes = x.length / (tokens * dim);
        double[] out = new double[planes * positions.length * dim];
        for (int plane = 0; plane < planes; plane++) {
            for (int i = 0; i < positions.length; i++) {
                int from = (plane * tokens + (int) positions[i]) * dim;
                System.arraycopy(x, from, out, (plane * positions.length + i) * dim, dim);
            }
        }
        return out;
    }

    private static double[] rows(double[] values, int rows, int[] chosen) {
        int width = values.length / rows;
        double[] out = new double[chosen.length * width];
        for (int i = 0; i < chosen.length; i++) {
            System.arraycopy(values, chosen[i] * width, out, i * width, width);
        }
        return out;
    }

    private static MemorySegment empty(long elements, DType dtype, Arena arena) {
        return arena.allocate(elements * dtype.bytes(), Double.BYTES);
    }

    private static MemorySegment ints(double[] values, Arena arena) {
        MemorySegment segment = arena.allocate((long) values.length * Integer.BYTES, Double.BYTES);
        for (int i = 0; i < values.length; i++) {
            segment.setAtIndex(ValueLayout.JAVA_INT, i, (int) values[i]);
        }
        return segment;
    }

    private static MemorySegment copy(double[] values, DType dtype, Arena arena) {
        MemorySegment segment = empty(values.length, dtype, arena);
        for (int i = 0; i < values.length; i++) {
            if (dtype == DType.F32) {
                segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) values[i]);
            } else {
                segment.setAtIndex(ValueLayout.JAVA_DOUBLE, i, values[i]);
            }
        }
        return segment;
    }

    private static double[] read(MemorySegment segment, DType dtype) {
        if (dtype == DType.F64) {
            return segment.toArray(ValueLayout.JAVA_DOUBLE);
        }
        double[] values = new double[(int) (segment.byteSize() / Float.BYTES)];
        for (int i = 0; i < values.length; i++) {
            values[i] = segment.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        }
        return values;
    }

    // ---- Comparing

    private void compareAll(Case c, Map<String, double[]> got) {
        for (Map.Entry<String, double[]> output : got.entrySet()) {
            if (c.tensor(output.getKey()) != null) {
                compare(c, output.getKey(), output.getValue());
            }
        }
        for (JsonNode name : c.entry.path("tensors").path("outputs")) {
            String output = name.asText();
            boolean gradient = output.startsWith("g_");
            if (gradient && !got.containsKey(output)) {
                tally(c, true).fail(c.id + " " + output + ": not computed");
            }
        }
    }

    private void compare(Case c, String name, double[] got) {
        double[] want = c.need(name);
        if (want.length != got.length) {
            throw new DataException(
                    "%s: tensor %s has %d elements, expected %d"
                            .formatted(c.id, name, want.length, got.length));
        }
        boolean gradient = name.startsWith("g_");
        double[] sens = c.tensor("sens_" + name);
        int[] vjpRows = gradient && !c.wholeTensor ? c.vjpRows() : null;
        int rows = c.wholeTensor ? 1 : sens != null ? sens.length : c.rows;
        if (rows == 0 || want.length % rows != 0) {
            throw new DataException("%s: tensor sens_%s: %d rows".formatted(c.id, name, rows));
        }
        Tally tally = tally(c, gradient);
        int width = want.length / rows;
        for (int i = 0; i < rows; i++) {
            double error = 0;
            double length = 0;
            for (int j = i * width; j < (i + 1) * width; j++) {
                error = Math.hypot(error, got[j] - want[j]);
                length = Math.hypot(length, want[j]);
            }
            boolean perRow = vjpRows != null && rows == vjpRows.length;
            int row = perRow ? vjpRows[i] : i;
            if (perRow && c.nondifferentiable.contains(row)) {
                tally.nondifferentiable(c, name, row, error);
                continue;
            }
            tally.add(c, name, row, error, length, sens == null ? 0 : sens[i], width);
        }
    }

    private Tally tally(Case c, boolean gradient) {
        String pass = gradient ? "vjp" : "forward";
        Tally tally =
                tallies.computeIfAbsent(
                        c.op + " " + c.dtype + " " + pass,
                        key -> new Tally(c.op, c.dtype.name(), pass));
        tally.ids.add(c.id);
        return tally;
    }

    /** What is known so far of one operation, type and pass. */
    private static final class Tally {
        private final String op;
        private final String dtype;
        private final String pass;
        private final Set<String> ids = new HashSet<>();
        private final List<String> failures = new ArrayList<>();
        private double relative;
        private double plain;
        private double tolerance;
        private double worst;
        private boolean missing;

        Tally(String op, String dtype, String pass) {
            this.op = op;
            this.dtype = dtype;
            this.pass = pass;
        }

        void add(
                Case c, String name, int row, double error, double length, double sens, int width) {
            double smallest = c.dtype == DType.F32 ? Float.MIN_VALUE : Double.MIN_VALUE;
            double limit = c.tolerance * (length + sens) + smallest * Math.sqrt(width);
            double share = error / limit;
            tolerance = Math.max(tolerance, c.tolerance);
            worst = Math.max(worst, share);
            if (error > smallest * Math.sqrt(width) || Double.isNaN(error)) {
                relative = Math.max(relative, error / (length + sens));
                plain = Math.max(plain, length > 0 ? error / length : 0);
            }
            if (!(error <= limit)) {
                fail("%s %s row %d: %.3g of what is allowed".formatted(c.id, name, row, share));
            }
        }

        void nondifferentiable(Case c, String name, int row, double error) {
            tolerance = Math.max(tolerance, c.tolerance);
            if (error != 0) {
                fail("%s %s row %d: expected exactly 0".formatted(c.id, name, row));
            }
        }

        void fail(String text) {
            if (failures.size() < SHOWN_FAILURES) {
                failures.add(text);
            }
        }

        Result result() {
            return new Result(
                    op,
                    dtype,
                    "cpu",
                    pass,
                    ids.size(),
                    relative,
                    plain,
                    tolerance,
                    worst,
                    missing,
                    failures);
        }
    }

    /** One entry of the index with its tensors. */
    private final class Case {
        final JsonNode entry;
        final String id;
        final String op;
        final DType dtype;
        final int rows;
        final int dim;
        final double tolerance;
        final boolean wholeTensor;
        final Set<Integer> nondifferentiable = new HashSet<>();
        private final String prefix;
        private final SafeTensors tensors;

        Case(JsonNode entry) {
            this.entry = entry;
            this.id = entry.path("id").asText("a case without id");
            this.op = text("op");
            this.rows = integer(entry, "rows");
            this.dim = integer(entry, "dim");
            this.prefix = text("prefix");
            String type = text("dtype");
            if (!type.equals("F32") && !type.equals("F64")) {
                throw new DataException(id + ": dtype " + type + ", expected F32 or F64");
            }
            this.dtype = DType.valueOf(type);
            JsonNode tol = entry.path("tol");
            this.tolerance = tol.path("k").asDouble() * tol.path("eps").asDouble();
            if (!(tolerance > 0)) {
                throw new DataException(id + ": expected positive numbers tol.k and tol.eps");
            }
            this.wholeTensor = tol.path("norm").asText().equals("whole tensor");
            entry.path("nondiff_rows").forEach(row -> nondifferentiable.add(row.asInt()));
            this.tensors = files.apply(text("file"));
        }

        private String text(String name) {
            JsonNode value = entry.get(name);
            if (value == null || !value.isTextual()) {
                throw new DataException(id + ": expected a text " + name);
            }
            return value.asText();
        }

        private int integer(JsonNode parent, String name) {
            JsonNode value = parent.path(name);
            if (!value.canConvertToInt() || value.asInt() < 1) {
                throw new DataException(id + ": expected a positive integer " + name);
            }
            return value.asInt();
        }

        JsonNode param(String name) {
            JsonNode value = entry.path("params").get(name);
            if (value == null) {
                throw new DataException(id + ": no parameter " + name);
            }
            return value;
        }

        double number(String name) {
            return param(name).asDouble();
        }

        int size(String name) {
            return integer(entry.path("params"), name);
        }

        int[] vjpRows() {
            double[] values = need("vjp_rows");
            int[] chosen = new int[values.length];
            for (int i = 0; i < chosen.length; i++) {
                chosen[i] = (int) values[i];
                if (chosen[i] < 0 || chosen[i] >= rows) {
                    throw new DataException(
                            "%s: vjp_rows: %d of %d rows".formatted(id, chosen[i], rows));
                }
            }
            return chosen;
        }

        double[] need(String name) {
            double[] values = tensor(name);
            if (values == null) {
                throw new DataException(id + ": no tensor " + prefix + name);
            }
            return values;
        }

        /** The elements of a tensor; null if there is none of that name. */
        double[] tensor(String name) {
            String full = prefix + name;
            if (!tensors.names().contains(full)) {
                full = entry.path("inputs_prefix").asText(prefix) + name;
                if (!tensors.names().contains(full)) {
                    return null;
                }
            }
            TensorData tensor = tensors.get(full);
            double[] values = new double[Math.toIntExact(tensor.elements())];
            MemorySegment data = tensor.data();
            for (int i = 0; i < values.length; i++) {
                values[i] =
                        switch (tensor.type()) {
                            case F32 -> data.get(FLOAT, (long) i * Float.BYTES);
                            case F64 -> data.get(DOUBLE, (long) i * Double.BYTES);
                            case I32 -> data.get(INT, (long) i * Integer.BYTES);
                            case I64 -> data.get(LONG, (long) i * Long.BYTES);
                            default ->
                                    throw new DataException(
                                            id + ": tensor " + full + ": " + tensor.type());
                        };
            }
            return values;
        }
    }
}
