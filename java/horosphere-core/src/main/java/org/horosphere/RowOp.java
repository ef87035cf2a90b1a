package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * An operation on a batch of rows, by its name: {@code RowOp.named("poincare.mobius_add")}. {@link
 * #signature} says what it takes and gives, {@link #doc} what it computes; its gradient is {@link
 * #vjp}. The classes of a geometry, such as {@link PoincareBall}, are friendlier; this one reaches
 * every operation the library has, with row strides.
 *
 * <p>Operands are native or heap memory. A heap operand is worked on in pieces of some microseconds
 * on the calling thread, because garbage collection waits meanwhile: put large batches into native
 * memory, which also runs on all threads. With an {@link Exec#cuda} operands are device addresses
 * ({@link DeviceMemory#at}, segments of size zero) and a call only enqueues; arrays are refused. An
 * output may be the same rows as an input of the same kind; any other overlap is refused. Immutable
 * and safe from any thread; a call allocates nothing (on arrays, 32 bytes for each of them where
 * HotSpot compiled the call before it had profiled it).
 */
public final class RowOp {
    /** What one row of an operand is. */
    public enum Kind {
        /** {@code dim} coordinates. */
        ROW,
        /** A time coordinate, then {@code dim} space coordinates. */
        AMBIENT,
        /** One number. */
        SCALAR;

        /** Elements per row. */
        public long width(long dim) {
            return this == ROW ? dim : this == AMBIENT ? dim + 1 : 1;
        }
    }

    /**
     * An input or output.
     *
     * @param name as in the signature
     * @param kind what one row of it is
     */
    public record Operand(String name, Kind kind) {}

    private static final int OPERANDS = 4;
    private static final int PARAMETERS = 6;

    /** Elements per critical call: some tens of microseconds. */
    private static final long CRITICAL_ELEMENTS = 1 << 15;

    /** The stride of an output that stands for a null pointer, HORO_NOT_WANTED. */
    private static final long NOT_WANTED = -1;

    private static final float[] NO_FLOATS = {};
    private static final double[] NO_DOUBLES = {};

    private static final MethodHandle COUNT =
            Native.bind("horo_op_count", FunctionDescriptor.of(JAVA_INT));
    private static final MethodHandle NAME =
            Native.bind("horo_op_name", FunctionDescriptor.of(Native.C_STRING, JAVA_INT));
    private static final MethodHandle SIGNATURE =
            Native.bind("horo_op_signature", FunctionDescriptor.of(Native.C_STRING, JAVA_INT));
    private static final MethodHandle DOC =
            Native.bind("horo_op_doc", FunctionDescriptor.of(Native.C_STRING, JAVA_INT));
    private static final MethodHandle FIND =
            Native.bind("horo_op_find", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    private static final FunctionDescriptor CALL = call(ADDRESS);
    private static final MethodHandle RUN = Native.bind("horo_row_op", CALL);
    private static final MethodHandle RUN_CRITICAL = Native.bindCritical("horo_row_op", CALL);

    /**
     * For arrays alone, told apart by the last pointer as a number: what the JVM learns about the
     * segments of one kind of handle it learns for all, and around arrays it can only do without
     * them as long as no other segments came that way.
     */
    private static final MethodHandle RUN_ARRAYS =
            Native.bindCriticalVariant("horo_row_op", call(JAVA_LONG));

    private static final List<RowOp> ALL = load();

    private final int code;
    private final String name;
    private final String signature;
    private final String doc;
    private final List<Operand> inputs;
    private final List<Operand> outputs;
    private final List<String> parameters;
    private final boolean optionalOutputs;
    // The same in numbers, which a call reads: two bits per operand, how often it has dim elements
    // per row and how many more.
    private final int inWidths;
    private final int outWidths;

    private RowOp(int code) {
        this.code = code;
        this.name = text(NAME, code);
        this.signature = text(SIGNATURE, code);
        this.doc = text(DOC, code);
        String[] sides = signature.split("->");
        String[] left = sides[0].split(";", -1);
        this.inputs = operands(left[0]);
        this.parameters =
                Stream.of(words(left[1])).map(word -> word.replaceAll(":.*", "")).toList();
        this.outputs = operands(sides[1]);
        this.optionalOutputs = name.endsWith(".vjp");
        this.inWidths = widths(inputs);
        this.outWidths = widths(outputs);
    }

    private static int widths(List<Operand> operands) {
        int bits = 0;
        for (int i = 0; i < operands.size(); i++) {
            int more = (int) operands.get(i).kind().width(0);
            int perDim = (int) operands.get(i).kind().width(1) - more;
            bits |= (perDim << 1 | more) << 2 * i;
        }
        return bits;
    }

    private static FunctionDescriptor call(MemoryLayout exec) {
        List<MemoryLayout> layouts =
                new ArrayList<>(List.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG));
        for (int i = 0; i < 2 * OPERANDS; i++) {
            layouts.add(ADDRESS);
            layouts.add(JAVA_LONG);
        }
        for (int i = 0; i < PARAMETERS; i++) {
            layouts.add(JAVA_DOUBLE);
        }
        layouts.add(exec);
        return FunctionDescriptor.of(JAVA_INT, layouts.toArray(MemoryLayout[]::new));
    }

    private static List<RowOp> load() {
        int count;
        try {
            count = (int) COUNT.invokeExact();
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        List<RowOp> all = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            all.add(new RowOp(i));
        }
        return List.copyOf(all);
    }

    private static String text(MethodHandle handle, int code) {
        try {
            return ((MemorySegment) handle.invokeExact(code)).getString(0);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
    }

    private static String[] words(String text) {
        return text.isBlank() ? new String[0] : text.trim().split("\\s+");
    }

    private static List<Operand> operands(String text) {
        List<Operand> operands = new ArrayList<>();
        for (String word : words(text)) {
            int colon = word.indexOf(':');
            Kind kind = Kind.valueOf(word.substring(colon + 1).toUpperCase(java.util.Locale.ROOT));
            operands.add(new Operand(word.substring(0, colon), kind));
        }
        return List.copyOf(operands);
    }

    /** Every operation of the loaded library. */
    public static List<RowOp> all() {
        return ALL;
    }

    /**
     * The operation of that name.
     *
     * @throws IllegalArgumentException if there is none
     */
    public static RowOp named(String name) {
        if (name == null) {
            throw new IllegalArgumentException("name: null");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment found = arena.allocate(JAVA_INT);
            int status;
            try {
                status = (int) FIND.invokeExact(arena.allocateFrom(name), found);
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
            return ALL.get(found.get(JAVA_INT, 0));
        }
    }

    /** E.g. {@code poincare.mobius_add}. */
    public String name() {
        return name;
    }

    /** Inputs; parameters -> outputs, e.g. {@code x:row y:row; c -> out:row}. */
    public String signature() {
        return signature;
    }

    /** Formula, range and conventions. */
    public String doc() {
        return doc;
    }

    /** What it reads. */
    public List<Operand> inputs() {
        return inputs;
    }

    /** What it writes. */
    public List<Operand> outputs() {
        return outputs;
    }

    /**
     * Names of the numbers all rows share, such as the curvature. They are positive and finite; one
     * that the signature marks {@code :any} may be any finite number.
     */
    public List<String> parameters() {
        return parameters;
    }

    /**
     * The vector-Jacobian product: takes this operation's inputs and the cotangent of its output,
     * gives the gradient of every input and, row by row, of every parameter; any output may be
     * null.
     *
     * @throws IllegalArgumentException if this operation has none
     */
    public RowOp vjp() {
        return named(name + ".vjp");
    }

    @Override
    public String toString() {
        return name + "(" + signature + ")";
    }

    /**
     * Runs the operation.
     *
     * @param exec where to run
     * @param dtype storage of all operands; with {@link DType#BF16} and {@link DType#F16} the error
     *     is at most 1 ulp of the type
     * @param rows number of rows
     * @param dim coordinates per row
     * @param in one segment per input, at least {@code ((rows - 1) * stride + width) *
     *     dtype.bytes()} bytes each
     * @param inStrides elements from row to row per input, 0 repeats one row; null if all are
     *     contiguous
     * @param out one segment per output; a {@code .vjp} may have null (or {@link
     *     MemorySegment#NULL}) for what is not wanted
     * @param outStrides elements from row to row per output; null if all are contiguous
     * @param params one number per parameter
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public void run(
            Exec exec,
            DType dtype,
            long rows,
            long dim,
            MemorySegment[] in,
            long[] inStrides,
            MemorySegment[] out,
            long[] outStrides,
            double[] params) {
        require(in != null && in.length == inputs.size(), "in", inputs.size(), "segments");
        require(out != null && out.length == outputs.size(), "out", outputs.size(), "segments");
        require(
                inStrides == null || inStrides.length == in.length,
                "inStrides",
                in.length,
                "strides");
        require(
                outStrides == null || outStrides.length == out.length,
                "outStrides",
                out.length,
                "strides");
        require(
                params != null && params.length == parameters.size(),
                "params",
                parameters.size(),
                "numbers");
        run(
                exec,
                dtype,
                rows,
                dim,
                at(in, 0),
                inStride(inStrides, 0, dim),
                at(in, 1),
                inStride(inStrides, 1, dim),
                at(in, 2),
                inStride(inStrides, 2, dim),
                at(in, 3),
                inStride(inStrides, 3, dim),
                at(out, 0),
                outStride(outStrides, 0, dim),
                at(out, 1),
                outStride(outStrides, 1, dim),
                at(out, 2),
                outStride(outStrides, 2, dim),
                at(out, 3),
                outStride(outStrides, 3, dim),
                at(params, 0),
                at(params, 1),
                at(params, 2),
                at(params, 3),
                at(params, 4),
                at(params, 5));
    }

    private static void require(boolean holds, String argument, int expected, String what) {
        if (!holds) {
            throw new IllegalArgumentException(argument + ": expected " + expected + " " + what);
        }
    }

    private static MemorySegment at(MemorySegment[] segments, int i) {
        return i < segments.length ? segments[i] : null;
    }

    private static double at(double[] params, int i) {
        return i < params.length ? params[i] : 0;
    }

    long inStride(long[] strides, int i, long dim) {
        return strides == null ? inWidth(i, dim) : i < strides.length ? strides[i] : 0;
    }

    long outStride(long[] strides, int i, long dim) {
        return strides == null ? outWidth(i, dim) : i < strides.length ? strides[i] : 0;
    }

    private static boolean fits(MemorySegment segment, long width, long rows, int bytes) {
        return width == 0 || (segment != null && segment.byteSize() >= rows * width * bytes);
    }

    private boolean takes(MemorySegment segment, long width, long rows, int bytes) {
        return segment == null
                ? width == 0 || optionalOutputs
                : !segment.isReadOnly() && segment.byteSize() >= rows * width * bytes;
    }

    /** Elements per row of the i-th operand of a side; 0 for one that there is not. */
    private static long width(int widths, int i, long dim) {
        return (widths >>> 2 * i + 1 & 1) * dim + (widths >>> 2 * i & 1);
    }

    private long inWidth(int i, long dim) {
        return width(inWidths, i, dim);
    }

    private long outWidth(int j, long dim) {
        return width(outWidths, j, dim);
    }

    /**
     * Contiguous rows; a small batch takes the shortest way, one method from here to the library.
     */
    void contiguous(
            Exec exec,
            DType dtype,
            long rows,
            long dim,
            MemorySegment in0,
            MemorySegment in1,
            MemorySegment in2,
            MemorySegment in3,
            MemorySegment out0,
            MemorySegment out1,
            MemorySegment out2,
            MemorySegment out3,
            double p0,
            double p1,
            double p2) {
        sizes(exec, dtype, rows, dim);
        if (exec.isCuda() || (double) rows * dim > CRITICAL_ELEMENTS) { // cannot overflow
            run(
                    exec,
                    dtype,
                    rows,
                    dim,
                    in0,
                    inStride(null, 0, dim),
                    in1,
                    inStride(null, 1, dim),
                    in2,
                    inStride(null, 2, dim),
                    in3,
                    inStride(null, 3, dim),
                    out0,
                    outStride(null, 0, dim),
                    out1,
                    outStride(null, 1, dim),
                    out2,
                    outStride(null, 2, dim),
                    out3,
                    outStride(null, 3, dim),
                    p0,
                    p1,
                    p2,
                    0,
                    0,
                    0);
            return;
        }
        int bytes = dtype.bytes();
        long is0 = inWidth(0, dim);
        long is1 = inWidth(1, dim);
        long is2 = inWidth(2, dim);
        long is3 = inWidth(3, dim);
        long os0 = outWidth(0, dim);
        long os1 = outWidth(1, dim);
        long os2 = outWidth(2, dim);
        long os3 = outWidth(3, dim);
        boolean good =
                fits(in0, is0, rows, bytes)
                        & fits(in1, is1, rows, bytes)
                        & fits(in2, is2, rows, bytes)
                        & fits(in3, is3, rows, bytes)
                        & takes(out0, os0, rows, bytes)
                        & takes(out1, os1, rows, bytes)
                        & takes(out2, os2, rows, bytes)
                        & takes(out3, os3, rows, bytes);
        if (!good) { // says what is wrong, or NULL stands for an output
            run(
                    exec, dtype, rows, dim, in0, is0, in1, is1, in2, is2, in3, is3, out0, os0, out1,
                    os1, out2, os2, out3, os3, p0, p1, p2, 0, 0, 0);
            return;
        }
        int status;
        try {
            status =
                    (int)
                            RUN_CRITICAL.invokeExact(
                                    code,
                                    dtype.code(),
                                    rows,
                                    dim,
                                    nonNull(in0),
                                    is0,
                                    nonNull(in1),
                                    is1,
                                    nonNull(in2),
                                    is2,
                                    nonNull(in3),
                                    is3,
                                    nonNull(out0),
                                    os0,
                                    nonNull(out1),
                                    os1,
                                    nonNull(out2),
                                    os2,
                                    nonNull(out3),
                                    os3,
                                    p0,
                                    p1,
                                    p2,
                                    0.0,
                                    0.0,
                                    0.0,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    private static void sizes(Exec exec, DType dtype, long rows, long dim) {
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
        if (dtype == null) {
            throw new IllegalArgumentException("dtype: null");
        }
        if (rows < 0) {
            throw new IllegalArgumentException("rows: " + rows + ", expected 0 or more");
        }
        if (dim < 1) {
            throw new IllegalArgumentException("dim: " + dim + ", expected 1 or more");
        }
    }

    /**
     * Arrays: as many rows as the outputs have; an input of a single row is repeated. The segments
     * around the arrays are made beside the call, where the compiler can do without them: a call of
     * ours between the two that it does not inline would hide what they hold.
     */
    void floats(
            Exec exec,
            int dim,
            float[] in0,
            float[] in1,
            float[] in2,
            float[] in3,
            float[] out0,
            float[] out1,
            float[] out2,
            float[] out3,
            double p0,
            double p1,
            double p2) {
        long rows = rows(dim, length(out0), length(out1), length(out2), length(out3));
        long is0 = arrayStride(0, length(in0), dim, rows);
        long is1 = arrayStride(1, length(in1), dim, rows);
        long is2 = arrayStride(2, length(in2), dim, rows);
        long is3 = arrayStride(3, length(in3), dim, rows);
        if (exec.isCuda() || rows * dim > CRITICAL_ELEMENTS) {
            run(
                    exec,
                    DType.F32,
                    rows,
                    dim,
                    segment(in0),
                    is0,
                    segment(in1),
                    is1,
                    segment(in2),
                    is2,
                    segment(in3),
                    is3,
                    segment(out0),
                    outStride(null, 0, dim),
                    segment(out1),
                    outStride(null, 1, dim),
                    segment(out2),
                    outStride(null, 2, dim),
                    segment(out3),
                    outStride(null, 3, dim),
                    p0,
                    p1,
                    p2,
                    0,
                    0,
                    0);
            return;
        }
        long os0 = stride(out0 != null, 0, dim);
        long os1 = stride(out1 != null, 1, dim);
        long os2 = stride(out2 != null, 2, dim);
        long os3 = stride(out3 != null, 3, dim);
        long handle = exec.handle().address();
        int status;
        try {
            status =
                    (int)
                            RUN_ARRAYS.invokeExact(
                                    code,
                                    DType.F32.code(),
                                    rows,
                                    (long) dim,
                                    present(in0),
                                    is0,
                                    present(in1),
                                    is1,
                                    present(in2),
                                    is2,
                                    present(in3),
                                    is3,
                                    present(out0),
                                    os0,
                                    present(out1),
                                    os1,
                                    present(out2),
                                    os2,
                                    present(out3),
                                    os3,
                                    p0,
                                    p1,
                                    p2,
                                    0.0,
                                    0.0,
                                    0.0,
                                    handle);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /** As {@link #floats}. */
    void doubles(
            Exec exec,
            int dim,
            double[] in0,
            double[] in1,
            double[] in2,
            double[] in3,
            double[] out0,
            double[] out1,
            double[] out2,
            double[] out3,
            double p0,
            double p1,
            double p2) {
        long rows = rows(dim, length(out0), length(out1), length(out2), length(out3));
        long is0 = arrayStride(0, length(in0), dim, rows);
        long is1 = arrayStride(1, length(in1), dim, rows);
        long is2 = arrayStride(2, length(in2), dim, rows);
        long is3 = arrayStride(3, length(in3), dim, rows);
        if (exec.isCuda() || rows * dim > CRITICAL_ELEMENTS) {
            run(
                    exec,
                    DType.F64,
                    rows,
                    dim,
                    segment(in0),
                    is0,
                    segment(in1),
                    is1,
                    segment(in2),
                    is2,
                    segment(in3),
                    is3,
                    segment(out0),
                    outStride(null, 0, dim),
                    segment(out1),
                    outStride(null, 1, dim),
                    segment(out2),
                    outStride(null, 2, dim),
                    segment(out3),
                    outStride(null, 3, dim),
                    p0,
                    p1,
                    p2,
                    0,
                    0,
                    0);
            return;
        }
        long os0 = stride(out0 != null, 0, dim);
        long os1 = stride(out1 != null, 1, dim);
        long os2 = stride(out2 != null, 2, dim);
        long os3 = stride(out3 != null, 3, dim);
        long handle = exec.handle().address();
        int status;
        try {
            status =
                    (int)
                            RUN_ARRAYS.invokeExact(
                                    code,
                                    DType.F64.code(),
                                    rows,
                                    (long) dim,
                                    present(in0),
                                    is0,
                                    present(in1),
                                    is1,
                                    present(in2),
                                    is2,
                                    present(in3),
                                    is3,
                                    present(out0),
                                    os0,
                                    present(out1),
                                    os1,
                                    present(out2),
                                    os2,
                                    present(out3),
                                    os3,
                                    p0,
                                    p1,
                                    p2,
                                    0.0,
                                    0.0,
                                    0.0,
                                    handle);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    private static MemorySegment segment(float[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    private static MemorySegment segment(double[] array) {
        return array == null ? null : MemorySegment.ofArray(array);
    }

    // Always a new segment: where it could also be NULL the compiler would not do without the
    // object.
    private static MemorySegment present(float[] array) {
        return MemorySegment.ofArray(array == null ? NO_FLOATS : array);
    }

    private static MemorySegment present(double[] array) {
        return MemorySegment.ofArray(array == null ? NO_DOUBLES : array);
    }

    private long stride(boolean wanted, int j, long dim) {
        return wanted ? outWidth(j, dim) : NOT_WANTED;
    }

    private static int length(float[] array) {
        return array == null ? -1 : array.length;
    }

    private static int length(double[] array) {
        return array == null ? -1 : array.length;
    }

    private int rows(int dim, int length0, int length1, int length2, int length3) {
        if (dim < 1) {
            throw new IllegalArgumentException("dim: " + dim + ", expected 1 or more");
        }
        long rows = rows(0, length0, dim, -1);
        rows = rows(1, length1, dim, rows);
        rows = rows(2, length2, dim, rows);
        rows = rows(3, length3, dim, rows);
        if (rows < 0) {
            throw new IllegalArgumentException(
                    outputs.get(0).name() + ": null, expected an output");
        }
        return (int) rows;
    }

    /**
     * The rows of an output array, which must be those of the outputs before, if there were any.
     */
    private long rows(int j, int length, long dim, long rows) {
        if ((outWidths >>> 2 * j & 3) == 0) { // no such output
            return rows;
        }
        if (length < 0) {
            if (optionalOutputs) {
                return rows;
            }
            throw new IllegalArgumentException(outputs.get(j).name() + ": null");
        }
        long width = outWidth(j, dim);
        // one division, of ints: the dearest of these checks
        long count = rows >= 0 ? rows : width <= length ? length / (int) width : 0;
        if (length != count * width) {
            throw new IllegalArgumentException(
                    outputs.get(j).name()
                            + ": "
                            + length
                            + " elements, expected "
                            + (rows < 0 ? "a multiple of " + width : count * width));
        }
        return count;
    }

    private long arrayStride(int i, int length, long dim, long rows) {
        long width = inWidth(i, dim);
        if (width == 0) { // no such input
            return 0;
        }
        if (length == rows * width) {
            return width;
        }
        if (length == width) {
            return 0;
        }
        throw new IllegalArgumentException(
                inputs.get(i).name()
                        + (length < 0
                                ? ": null"
                                : ": "
                                        + length
                                        + " elements, expected "
                                        + rows * width
                                        + ", or "
                                        + width
                                        + " for one row"));
    }

    /** Any rows: strides are in elements; operands beyond the signature null. */
    void run(
            Exec exec,
            DType dtype,
            long rows,
            long dim,
            MemorySegment in0,
            long is0,
            MemorySegment in1,
            long is1,
            MemorySegment in2,
            long is2,
            MemorySegment in3,
            long is3,
            MemorySegment out0,
            long os0,
            MemorySegment out1,
            long os1,
            MemorySegment out2,
            long os2,
            MemorySegment out3,
            long os3,
            double p0,
            double p1,
            double p2,
            double p3,
            double p4,
            double p5) {
        sizes(exec, dtype, rows, dim);
        boolean cuda = exec.isCuda();
        boolean heap =
                input(0, in0, is0, dtype, rows, dim, cuda)
                        | input(1, in1, is1, dtype, rows, dim, cuda)
                        | input(2, in2, is2, dtype, rows, dim, cuda)
                        | input(3, in3, is3, dtype, rows, dim, cuda)
                        | output(0, out0, os0, dtype, rows, dim, cuda)
                        | output(1, out1, os1, dtype, rows, dim, cuda)
                        | output(2, out2, os2, dtype, rows, dim, cuda)
                        | output(3, out3, os3, dtype, rows, dim, cuda);
        long piece = Math.max(1, CRITICAL_ELEMENTS / dim);
        if (rows <= piece || !heap) {
            call(
                    rows <= piece && !cuda,
                    exec,
                    dtype,
                    rows,
                    dim,
                    nonNull(in0),
                    is0,
                    nonNull(in1),
                    is1,
                    nonNull(in2),
                    is2,
                    nonNull(in3),
                    is3,
                    nonNull(out0),
                    os0,
                    nonNull(out1),
                    os1,
                    nonNull(out2),
                    os2,
                    nonNull(out3),
                    os3,
                    p0,
                    p1,
                    p2,
                    p3,
                    p4,
                    p5);
            return;
        }
        apart(0, out0, in0, in1, in2, in3);
        apart(1, out1, in0, in1, in2, in3);
        apart(2, out2, in0, in1, in2, in3);
        apart(3, out3, in0, in1, in2, in3);
        for (long row = 0; row < rows; row += piece) {
            long b = row * dtype.bytes();
            call(
                    true,
                    exec,
                    dtype,
                    Math.min(piece, rows - row),
                    dim,
                    from(in0, b * is0),
                    is0,
                    from(in1, b * is1),
                    is1,
                    from(in2, b * is2),
                    is2,
                    from(in3, b * is3),
                    is3,
                    from(out0, b * os0),
                    os0,
                    from(out1, b * os1),
                    os1,
                    from(out2, b * os2),
                    os2,
                    from(out3, b * os3),
                    os3,
                    p0,
                    p1,
                    p2,
                    p3,
                    p4,
                    p5);
        }
    }

    /** The library sees overlaps inside a piece; this sees those between pieces. */
    private void apart(int j, MemorySegment out, MemorySegment... in) {
        for (int i = 0; out != null && i < in.length; i++) {
            if (in[i] != null
                    && in[i].address() != out.address()
                    && in[i].asOverlappingSlice(out).isPresent()) {
                throw new IllegalArgumentException(
                        outputs.get(j).name()
                                + ": overlaps "
                                + inputs.get(i).name()
                                + " without being the same rows");
            }
        }
    }

    private static MemorySegment nonNull(MemorySegment segment) {
        return segment == null ? MemorySegment.NULL : segment;
    }

    private static MemorySegment from(MemorySegment segment, long offset) {
        return segment == null ? MemorySegment.NULL : segment.asSlice(offset);
    }

    /** Checks an input; true if it lies on the heap. */
    private boolean input(
            int i,
            MemorySegment segment,
            long stride,
            DType dtype,
            long rows,
            long dim,
            boolean cuda) {
        if (i >= inputs.size()) {
            return false;
        }
        Operand operand = inputs.get(i);
        if (segment == null) {
            throw new IllegalArgumentException(operand.name() + ": null");
        }
        if (stride < 0) {
            throw new IllegalArgumentException(
                    operand.name() + ": row stride " + stride + ", expected 0 or more");
        }
        return cuda
                ? isDeviceAddress(operand, segment)
                : holds(operand, segment, stride, dtype, rows, dim);
    }

    private boolean output(
            int j,
            MemorySegment segment,
            long stride,
            DType dtype,
            long rows,
            long dim,
            boolean cuda) {
        if (j >= outputs.size()) {
            return false;
        }
        Operand operand = outputs.get(j);
        if (segment == null || MemorySegment.NULL.equals(segment)) {
            if (optionalOutputs) {
                return false;
            }
            throw new IllegalArgumentException(operand.name() + ": null");
        }
        long width = operand.kind().width(dim);
        if (stride < 0 || (rows > 1 && stride < width)) {
            throw new IllegalArgumentException(
                    operand.name() + ": row stride " + stride + ", expected " + width + " or more");
        }
        if (segment.isReadOnly()) {
            throw new IllegalArgumentException(operand.name() + ": read-only memory");
        }
        return cuda
                ? isDeviceAddress(operand, segment)
                : holds(operand, segment, stride, dtype, rows, dim);
    }

    /** A device address has no size; host memory has one. Never on the heap, hence false. */
    private static boolean isDeviceAddress(Operand operand, MemorySegment segment) {
        if (!segment.isNative() || segment.byteSize() != 0) {
            throw new IllegalArgumentException(
                    operand.name()
                            + ": host memory, expected a device address (DeviceMemory.at, or"
                            + " MemorySegment.ofAddress)");
        }
        return false;
    }

    private static boolean holds(
            Operand operand, MemorySegment segment, long stride, DType dtype, long rows, long dim) {
        if (rows > 0) {
            // in double the comparison cannot overflow; sizes that matter are exact in it
            double elements = (double) (rows - 1) * stride + operand.kind().width(dim);
            if (elements * dtype.bytes() > segment.byteSize()) {
                throw new IllegalArgumentException(
                        operand.name()
                                + ": "
                                + segment.byteSize()
                                + " bytes, expected at least "
                                + (long) (elements * dtype.bytes())
                                + " ("
                                + rows
                                + " rows of "
                                + operand.kind().width(dim)
                                + " "
                                + dtype
                                + ", row stride "
                                + stride
                                + ")");
            }
        }
        return !segment.isNative();
    }

    private void call(
            boolean critical,
            Exec exec,
            DType dtype,
            long rows,
            long dim,
            MemorySegment in0,
            long is0,
            MemorySegment in1,
            long is1,
            MemorySegment in2,
            long is2,
            MemorySegment in3,
            long is3,
            MemorySegment out0,
            long os0,
            MemorySegment out1,
            long os1,
            MemorySegment out2,
            long os2,
            MemorySegment out3,
            long os3,
            double p0,
            double p1,
            double p2,
            double p3,
            double p4,
            double p5) {
        int status;
        try {
            if (critical) {
                status =
                        (int)
                                RUN_CRITICAL.invokeExact(
                                        code,
                                        dtype.code(),
                                        rows,
                                        dim,
                                        in0,
                                        is0,
                                        in1,
                                        is1,
                                        in2,
                                        is2,
                                        in3,
                                        is3,
                                        out0,
                                        os0,
                                        out1,
                                        os1,
                                        out2,
                                        os2,
                                        out3,
                                        os3,
                                        p0,
                                        p1,
                                        p2,
                                        p3,
                                        p4,
                                        p5,
                                        exec.handle());
            } else {
                status =
                        (int)
                                RUN.invokeExact(
                                        code,
                                        dtype.code(),
                                        rows,
                                        dim,
                                        in0,
                                        is0,
                                        in1,
                                        is1,
                                        in2,
                                        is2,
                                        in3,
                                        is3,
                                        out0,
                                        os0,
                                        out1,
                                        os1,
                                        out2,
                                        os2,
                                        out3,
                                        os3,
                                        p0,
                                        p1,
                                        p2,
                                        p3,
                                        p4,
                                        p5,
                                        exec.handle());
            }
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
