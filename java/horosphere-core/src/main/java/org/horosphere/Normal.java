package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Normal variates, and points of hyperbolic space distributed by a wrapped normal (Nagano et al., A
 * Wrapped Normal Distribution on Hyperbolic Space, 2019). A variate is a function of a seed and a
 * position (Philox4x32-10, Box and Muller): the same bits on every processor and CUDA device, for
 * any number of threads and any cut into calls. Safe from any thread; memory is native or of the
 * exec's device and the caller's; nothing is allocated.
 */
public final class Normal {
    private static final MethodHandle NORMAL =
            Native.bind(
                    "horo_normal",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS));

    private static final RowOp BALL_SAMPLE = RowOp.named("poincare.wrapped_normal_sample");
    private static final RowOp LORENTZ_SAMPLE = RowOp.named("lorentz.wrapped_normal_sample");

    private Normal() {}

    /**
     * {@code out[i] = std z[offset + i]}, z the standard normal variates of the seed; both storage
     * types round one sequence. {@code |z| <= 8.6}.
     *
     * @param exec where to run
     * @param dtype F32 or F64
     * @param count 0 or more
     * @param std standard deviation, 0 or more
     * @param seed any; other seeds give independent sequences
     * @param offset position of the first, 0 or more
     * @param out count elements
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void normal(
            Exec exec,
            DType dtype,
            long count,
            double std,
            long seed,
            long offset,
            MemorySegment out) {
        Checks.requireFloating(dtype);
        Checks.requireAtLeast("count", count, 0);
        if (!(std >= 0 && std < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException(
                    "std: " + std + ", expected a finite number of 0 or more");
        }
        if (offset < 0 || offset > Long.MAX_VALUE - count) {
            throw new IllegalArgumentException(
                    "offset: " + offset + ", expected 0 to 2^63 - 1 - count");
        }
        Checks.requireWritable(
                exec, "out", out, count, dtype == DType.F32 ? Float.BYTES : Double.BYTES);
        int status;
        try {
            status =
                    (int)
                            NORMAL.invokeExact(
                                    dtype.code(), count, std, seed, offset, out, exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /**
     * Points {@code mean (+) expmap0(std z / 2)} of the ball: a normal tangent vector whose length
     * in the metric is std |z|, z taken from the sequence at {@code offset} on, carried from the
     * origin to the mean. Position of the next variate: {@code offset + rows * dim}.
     *
     * @param ball where to run, too
     * @param dtype F32 or F64
     * @param rows number of points
     * @param dim coordinates of a point
     * @param std standard deviation, 0 or more
     * @param seed any
     * @param offset position of the first variate
     * @param mean (rows, dim)
     * @param out (rows, dim); must not overlap mean
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void wrapped_normal(
            PoincareBall ball,
            DType dtype,
            long rows,
            long dim,
            double std,
            long seed,
            long offset,
            MemorySegment mean,
            MemorySegment out) {
        requireRows(rows, dim);
        Checks.requireDisjoint("out", out, "mean", mean);
        normal(ball.exec(), dtype, Math.multiplyExact(rows, dim), std / 2, seed, offset, out);
        ball.expmap0(dtype, rows, dim, out, out);
        ball.mobius_add(dtype, rows, dim, mean, out, out);
    }

    /**
     * Points of the Lorentz model: {@code mean (+) expmap0(std z)}, as in the ball.
     *
     * @param model where to run, too
     * @param dtype F32 or F64
     * @param rows number of points
     * @param dim space coordinates of a point
     * @param std standard deviation, 0 or more
     * @param seed any
     * @param offset position of the first variate
     * @param mean (rows, dim + 1)
     * @param noise (rows, dim), receives std z
     * @param out (rows, dim + 1)
     * @throws IllegalArgumentException naming the argument that does not fit; segments that overlap
     */
    public static void wrapped_normal(
            Lorentz model,
            DType dtype,
            long rows,
            long dim,
            double std,
            long seed,
            long offset,
            MemorySegment mean,
            MemorySegment noise,
            MemorySegment out) {
        requireRows(rows, dim);
        Checks.requireDisjoint("out", out, "mean", mean);
        Checks.requireDisjoint("noise", noise, "mean", mean);
        Checks.requireDisjoint("out", out, "noise", noise);
        normal(model.exec(), dtype, Math.multiplyExact(rows, dim), std, seed, offset, noise);
        model.expmap0(dtype, rows, dim, noise, out);
        model.mobius_add(dtype, rows, dim, mean, out, out);
    }

    /**
     * As above with a standard deviation per coordinate: {@code mean (+) expmap0(std z / 2)}, std
     * and z multiplied coordinate by coordinate at the origin. The way back is {@code
     * ball.wrapped_normal_noise}, of whose result {@code ball.wrapped_normal_noise_log_prob} is the
     * log density; the operation {@code poincare.wrapped_normal_sample} has gradients by mean and
     * std.
     *
     * @param ball where to run, too
     * @param dtype F32 or F64
     * @param rows number of points
     * @param dim coordinates of a point
     * @param std (dim), the standard deviations of all points
     * @param seed any
     * @param offset position of the first variate
     * @param mean (rows, dim)
     * @param out (rows, dim); must not overlap mean or std
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void wrapped_normal(
            PoincareBall ball,
            DType dtype,
            long rows,
            long dim,
            MemorySegment std,
            long seed,
            long offset,
            MemorySegment mean,
            MemorySegment out) {
        requireRows(rows, dim);
        Checks.requireDisjoint("out", out, "mean", mean);
        Checks.requireDisjoint("out", out, "std", std);
        normal(ball.exec(), dtype, Math.multiplyExact(rows, dim), 1, seed, offset, out);
        sample(BALL_SAMPLE, ball.exec(), dtype, rows, dim, out, mean, dim, std, out, dim, ball.c());
    }

    /**
     * Points of the Lorentz model with a standard deviation per coordinate, as in the ball.
     *
     * @param model where to run, too
     * @param dtype F32 or F64
     * @param rows number of points
     * @param dim space coordinates of a point
     * @param std (dim), the standard deviations of all points
     * @param seed any
     * @param offset position of the first variate
     * @param mean (rows, dim + 1)
     * @param noise (rows, dim), receives z
     * @param out (rows, dim + 1)
     * @throws IllegalArgumentException naming the argument that does not fit; segments that overlap
     */
    public static void wrapped_normal(
            Lorentz model,
            DType dtype,
            long rows,
            long dim,
            MemorySegment std,
            long seed,
            long offset,
            MemorySegment mean,
            MemorySegment noise,
            MemorySegment out) {
        requireRows(rows, dim);
        Checks.requireDisjoint("out", out, "mean", mean);
        Checks.requireDisjoint("out", out, "std", std);
        Checks.requireDisjoint("out", out, "noise", noise);
        Checks.requireDisjoint("noise", noise, "mean", mean);
        Checks.requireDisjoint("noise", noise, "std", std);
        normal(model.exec(), dtype, Math.multiplyExact(rows, dim), 1, seed, offset, noise);
        sample(
                LORENTZ_SAMPLE,
                model.exec(),
                dtype,
                rows,
                dim,
                noise,
                mean,
                dim + 1,
                std,
                out,
                dim + 1,
                model.K());
    }

    /** One row of std for all points. */
    private static void sample(
            RowOp op,
            Exec exec,
            DType dtype,
            long rows,
            long dim,
            MemorySegment z,
            MemorySegment mean,
            long meanStride,
            MemorySegment std,
            MemorySegment out,
            long outStride,
            double curvature) {
        op.run(
                exec,
                dtype,
                rows,
                dim,
                z,
                dim,
                mean,
                meanStride,
                std,
                0,
                null,
                0,
                out,
                outStride,
                null,
                0,
                null,
                0,
                null,
                0,
                curvature,
                0,
                0,
                0,
                0,
                0);
    }

    private static void requireRows(long rows, long dim) {
        Checks.requireAtLeast("rows", rows, 0);
        Checks.requireAtLeast("dim", dim, 1);
        if (rows > (1L << 48) / dim) {
            throw new IllegalArgumentException("rows: " + rows + ", expected rows * dim <= 2^48");
        }
    }
}
