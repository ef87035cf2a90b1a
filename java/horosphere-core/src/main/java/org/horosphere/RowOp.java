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
 * and safe from any thread; a call allocates nothing (on arrays, 32 or 72 bytes for each of them
 * where HotSpot compiled the call before it had profiled it).
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
    static final long CRITICAL_ELEMENTS = 1 << 15;

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
    private static final MethodHandle RUN =
            Native.bindEither("horo_row_op", call(OPERANDS, OPERANDS, ADDRESS, ADDRESS));

    private static final List<RowOp> ALL = load();

    private final int code;
    private final String name;
    private final String signature;
    private final String doc;
    private final List<Operand> inputs;
    private final List<Operand> outputs;
    private final List<String> parameters;
    private final boolean optionalOutputs;
    private final RowShape shape;

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
        this.shape = new RowShape(this, code, widths(inputs), widths(outputs), optionalOutputs);
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

    /** The C function with the first operands of each side as pointers, the others as numbers. */
    private static FunctionDescriptor call(
            int ins, int outs, MemoryLayout pointer, MemoryLayout exec) {
        List<MemoryLayout> layouts =
                new ArrayList<>(List.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG));
        for (int i = 0; i < 2 * OPERANDS; i++) {
            boolean given = i < OPERANDS ? i < ins : i - OPERANDS < outs;
            layouts.add(given ? pointer : JAVA_LONG);
            layouts.add(JAVA_LONG);
        }
        for (int i = 0; i < PARAMETERS; i++) {
            layouts.add(JAVA_DOUBLE);
        }
        layouts.add(exec);
        return FunctionDescriptor.of(JAVA_INT, layouts.toArray(MemoryLayout[]::new));
    }

    /**
     * A handle for operations of so many inputs and outputs: a pointer more, null or not, costs a
     * call a nanosecond or two, a number next to nothing.
     */
    static MethodHandle segments(int ins, int outs) {
        return Native.bindCritical("horo_row_op", call(ins, outs, ADDRESS, JAVA_LONG));
    }

    /** As {@link #segments}, for segments of arrays alone. */
    static MethodHandle arrays(int ins, int outs) {
        return Native.bindCritical("horo_row_op", call(ins, outs, Native.ARRAY, JAVA_LONG));
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

    private long inStride(long[] strides, int i, long dim) {
        return strides == null ? shape.inWidth(i, dim) : i < strides.length ? strides[i] : 0;
    }

    private long outStride(long[] strides, int i, long dim) {
        return strides == null ? shape.outWidth(i, dim) : i < strides.length ? strides[i] : 0;
    }

    /** What a call needs to know of this. */
    RowShape shape() {
        return shape;
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
            status =
                    (int)
                            RUN.invokeExact(
                                    critical,
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
                                    exec.address());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
