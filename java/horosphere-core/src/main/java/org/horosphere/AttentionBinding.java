package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** The C functions behind {@link Attention}; arguments are checked by their callers. */
final class AttentionBinding {
    private static final MethodHandle FORWARD =
            Native.bind(
                    "horo_attention_forward",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG));
    private static final MethodHandle BACKWARD =
            Native.bind(
                    "horo_attention_backward",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            ADDRESS,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            ADDRESS,
                            JAVA_LONG));
    private static final MethodHandle WORKSPACE =
            Native.bind(
                    "horo_attention_workspace",
                    FunctionDescriptor.of(
                            JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                            JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS));

    private AttentionBinding() {}

    static void forward(
            Exec exec,
            Attention a,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            MemorySegment alpha,
            MemorySegment lengths,
            MemorySegment out,
            MemorySegment lse,
            MemorySegment workspace) {
        int status;
        try {
            status =
                    (int)
                            FORWARD.invokeExact(
                                    exec.handle(),
                                    a.dtype().code(),
                                    a.batch(),
                                    a.heads(),
                                    a.kvHeads(),
                                    a.qLen(),
                                    a.kvLen(),
                                    a.headDim(),
                                    q,
                                    a.q().batch(),
                                    a.q().token(),
                                    a.q().head(),
                                    k,
                                    a.k().batch(),
                                    a.k().token(),
                                    a.k().head(),
                                    v,
                                    a.v().batch(),
                                    a.v().token(),
                                    a.v().head(),
                                    alpha,
                                    a.scale(),
                                    a.causal() ? 1 : 0,
                                    lengths,
                                    out,
                                    a.out().batch(),
                                    a.out().token(),
                                    a.out().head(),
                                    lse,
                                    workspace,
                                    Checks.workspaceBytes(exec, workspace));
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    static void backward(
            Exec exec,
            Attention a,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            MemorySegment alpha,
            MemorySegment lengths,
            MemorySegment lse,
            MemorySegment dout,
            MemorySegment dq,
            MemorySegment dk,
            MemorySegment dv,
            MemorySegment dalpha,
            MemorySegment workspace) {
        int status;
        try {
            status =
                    (int)
                            BACKWARD.invokeExact(
                                    exec.handle(),
                                    a.dtype().code(),
                                    a.batch(),
                                    a.heads(),
                                    a.kvHeads(),
                                    a.qLen(),
                                    a.kvLen(),
                                    a.headDim(),
                                    q,
                                    a.q().batch(),
                                    a.q().token(),
                                    a.q().head(),
                                    k,
                                    a.k().batch(),
                                    a.k().token(),
                                    a.k().head(),
                                    v,
                                    a.v().batch(),
                                    a.v().token(),
                                    a.v().head(),
                                    alpha,
                                    a.scale(),
                                    a.causal() ? 1 : 0,
                                    lengths,
                                    lse,
                                    dout,
                                    a.out().batch(),
                                    a.out().token(),
                                    a.out().head(),
                                    dq,
                                    dk,
                                    dv,
                                    dalpha,
                                    workspace,
                                    Checks.workspaceBytes(exec, workspace));
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    static void workspace(
            Exec exec, Attention a, boolean mixed, boolean backward, MemorySegment bytes) {
        int status;
        try {
            status =
                    (int)
                            WORKSPACE.invokeExact(
                                    exec.handle(),
                                    a.dtype().code(),
                                    a.batch(),
                                    a.heads(),
                                    a.kvHeads(),
                                    a.qLen(),
                                    a.kvLen(),
                                    a.headDim(),
                                    mixed ? 1 : 0,
                                    backward ? 1 : 0,
                                    bytes);
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }
}
