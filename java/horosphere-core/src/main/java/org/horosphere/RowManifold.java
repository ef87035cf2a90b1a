package org.horosphere;

import java.lang.foreign.MemorySegment;

/**
 * A manifold of one constant curvature, whose operations are the row operations of a model. Between
 * this class and the public one lies the one that the build writes, with a typed method for each.
 */
abstract class RowManifold {
    private final String model;
    private final String parameter;
    private final double curvature;
    private final Exec exec;

    /**
     * @param model what the names of the operations begin with
     * @param parameter name of the number that fixes the curvature
     */
    RowManifold(String model, String parameter, double curvature, Exec exec) {
        if (exec == null) {
            throw new IllegalArgumentException("exec: null");
        }
        this.model = model;
        this.parameter = parameter;
        this.curvature = curvature;
        this.exec = exec;
    }

    /** The first parameter of every operation. */
    final double curvature() {
        return curvature;
    }

    /** Where it runs. */
    public final Exec exec() {
        return exec;
    }

    /** The row operation of that verb. */
    final RowOp operation(String verb) {
        return RowOp.named(model + "." + verb);
    }

    final void run(
            RowOp op,
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
            double p1,
            double p2) {
        op.contiguous(
                exec, dtype, rows, dim, in0, in1, in2, in3, out0, out1, out2, out3, curvature, p1,
                p2);
    }

    final void floats(
            RowOp op,
            int dim,
            float[] in0,
            float[] in1,
            float[] in2,
            float[] in3,
            float[] out0,
            float[] out1,
            float[] out2,
            float[] out3,
            double p1,
            double p2) {
        op.floats(exec, dim, in0, in1, in2, in3, out0, out1, out2, out3, curvature, p1, p2);
    }

    final void doubles(
            RowOp op,
            int dim,
            double[] in0,
            double[] in1,
            double[] in2,
            double[] in3,
            double[] out0,
            double[] out1,
            double[] out2,
            double[] out3,
            double p1,
            double p2) {
        op.doubles(exec, dim, in0, in1, in2, in3, out0, out1, out2, out3, curvature, p1, p2);
    }

    @Override
    public final boolean equals(Object other) {
        return other != null
                && getClass() == other.getClass()
                && Double.compare(curvature, ((RowManifold) other).curvature) == 0
                && exec.equals(((RowManifold) other).exec);
    }

    @Override
    public final int hashCode() {
        return 31 * Double.hashCode(curvature) + model.hashCode();
    }

    @Override
    public final String toString() {
        return getClass().getSimpleName() + "[" + parameter + "=" + curvature + "]";
    }
}
