package org.horosphere;

/**
 * Riemannian Adam (Bécigneul and Ganea, ICLR 2019), with one second moment per point:
 *
 * <pre>
 * h = grad(g + weightDecay x)                      the Riemannian gradient of g
 * m = beta1 m + (1 - beta1) h
 * v = beta2 v + (1 - beta2) |h|_x^2
 * x' = exp_x(-lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps))
 * m' = m transported to x'
 * </pre>
 *
 * AMSGrad takes the largest v so far in the place of v, before the bias is corrected. A point on or
 * beyond the rim of the ball is moved inside first, and the result is always inside.
 */
public final class RiemannianAdam extends RiemannianOptimizer {
    /**
     * Settings.
     *
     * @param lr step size, 0 or more
     * @param beta1 0 to below 1
     * @param beta2 0 to below 1
     * @param eps 0 or more
     * @param weightDecay 0 or more
     * @param amsgrad whether the second moment may only grow
     */
    public record Options(
            double lr,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            boolean amsgrad) {
        /** Checks ranges. */
        public Options {
            requireLr(lr);
            require("beta1", beta1, beta1 >= 0 && beta1 < 1, "0 to below 1");
            require("beta2", beta2, beta2 >= 0 && beta2 < 1, "0 to below 1");
            require("eps", eps, eps >= 0 && eps < Double.POSITIVE_INFINITY, "0 or more");
            requireWeightDecay(weightDecay);
        }

        /** beta1 = 0.9, beta2 = 0.999, eps = 1e-8. */
        public static Options lr(double lr) {
            return new Options(lr, 0.9, 0.999, 1e-8, 0, false);
        }

        /** The same with AMSGrad. */
        public Options withAmsgrad() {
            return new Options(lr, beta1, beta2, eps, weightDecay, true);
        }
    }

    private final Options options;
    private double lr;

    /**
     * An optimizer of one parameter.
     *
     * @param manifold a {@link PoincareBall}, a {@link Lorentz}, or a {@link Product} of those
     * @param dtype F32 or F64
     * @param rows number of points
     * @param dim dimensions of a point
     * @throws IllegalArgumentException if one is out of range, naming it
     */
    public RiemannianAdam(Manifold manifold, DType dtype, long rows, long dim, Options options) {
        super(
                manifold,
                dtype,
                rows,
                dim,
                Checks.requireNonNull("options", options).amsgrad() ? "radam_amsgrad" : "radam");
        this.options = options;
        this.lr = options.lr();
    }

    /** Changes the step size from the next step on. */
    public void setLr(double lr) {
        requireLr(lr);
        this.lr = lr;
    }

    @Override
    double parameter(int i) {
        return switch (i) {
            case 1 -> lr * correction() / (1 - Math.pow(options.beta1(), steps()));
            case 2 -> options.beta1();
            case 3 -> options.beta2();
            case 4 -> options.eps() * correction();
            default -> options.weightDecay();
        };
    }

    private double correction() {
        return Math.sqrt(1 - Math.pow(options.beta2(), steps()));
    }
}
