package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** The C functions behind {@link LowRankAdapter}; arguments are checked by their callers. */
final class LowRankBinding {
    private static final MethodHandle GRAM =
            Native.bind(
                    "horo_gram",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS));
    private static final MethodHandle FORWARD =
            Native.bind(
                    "horo_low_rank_forward",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS));
    private static final MethodHandle BACKWARD =
            Native.bind(
                    "horo_low_rank_backward",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG));
    private static final MethodHandle WORKSPACE =
            Native.bind(
                    "horo_low_rank_workspace",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                            JAVA_LONG, ADDRESS));

    private LowRankBinding() {}

    static void gram(Exec exec, LowRankAdapter a, MemorySegment b, MemorySegment gram) {
        int status;
        try {
            status = (int) GRAM.invokeExact(exec.handle(), a.dtype().code(), a.k(), a.r(), b, gram);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    static void forward(
            Exec exec,
            LowRankAdapter l,
            long tokens,
            MemorySegment x,
            long xStride,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment curvature,
            MemorySegment s,
            MemorySegment out,
            long outStride,
            MemorySegment p,
            MemorySegment gain,
            MemorySegment norm,
            MemorySegment m) {
        int status;
        try {
            status =
                    (int)
                            FORWARD.invokeExact(
                                    exec.handle(),
                                    l.dtype().code(),
                                    l.kind().code(),
                                    tokens,
                                    l.d(),
                                    l.r(),
                                    l.k(),
                                    x,
                                    xStride,
                                    a,
                                    b,
                                    gram,
                                    curvature,
                                    s,
                                    l.scaling(),
                                    out,
                                    outStride,
                                    p,
                                    gain,
                                    norm,
                                    m);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    static void backward(
            Exec exec,
            LowRankAdapter l,
            long tokens,
            MemorySegment x,
            long xStride,
            MemorySegment a,
            MemorySegment b,
            MemorySegment gram,
            MemorySegment curvature,
            MemorySegment s,
            MemorySegment dout,
            long outStride,
            MemorySegment p,
            MemorySegment norm,
            MemorySegment m,
            MemorySegment dx,
            long dxStride,
            MemorySegment da,
            MemorySegment db,
            MemorySegment dK,
            MemorySegment ds,
            MemorySegment workspace) {
        int status;
        try {
            status =
                    (int)
                            BACKWARD.invokeExact(
                                    exec.handle(),
                                    l.dtype().code(),
                                    l.kind().code(),
                                    tokens,
                                    l.d(),
                                    l.r(),
                                    l.k(),
                                    x,
                                    xStride,
                                    a,
                                    b,
                                    gram,
                                    curvature,
                                    s,
                                    l.scaling(),
                                    dout,
                                    outStride,
                                    p,
                                    norm,
                                    m,
                                    dx,
                                    dxStride,
                                    da,
                                    db,
                                    dK,
                                    ds,
                                    workspace,
                                    Checks.workspaceBytes(exec, workspace));
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    static void workspace(Exec exec, LowRankAdapter l, long tokens, MemorySegment bytes) {
        int status;
        try {
            status =
                    (int)
                            WORKSPACE.invokeExact(
                                    exec.handle(),
                                    l.dtype().code(),
                                    l.kind().code(),
                                    tokens,
                                    l.d(),
                                    l.r(),
                                    l.k(),
                                    bytes);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
