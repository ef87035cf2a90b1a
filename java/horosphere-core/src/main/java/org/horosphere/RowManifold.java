package org.horosphere;

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
