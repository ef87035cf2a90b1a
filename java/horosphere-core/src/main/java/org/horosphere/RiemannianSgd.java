package org.horosphere;

/**
 * Riemannian stochastic gradient descent (Bonnabel, IEEE TAC 2013), optionally with momentum that
 * is transported along every step, as in PyTorch's SGD:
 *
 * <pre>
 * h = grad(g + weightDecay x)          the Riemannian gradient of g
 * m = momentum m + (1 - dampening) h   (first step: m = h)
 * x' = exp_x(-lr d), d = m, or h + momentum m with Nesterov
 * m' = m transported to x'
 * </pre>
 *
 * A point on or beyond the rim of the ball is moved inside first, and the result is always inside.
 */
public final class RiemannianSgd extends RiemannianOptimizer {
    /**
     * Settings.
     *
     * @param lr step size, 0 or more
     * @param momentum 0 to below 1; 0 keeps no state
     * @param dampening of the gradient that enters the momentum, 0 to 1
     * @param weightDecay 0 or more
     * @param nesterov look ahead; needs momentum and no dampening
     */
    public record Options(
            double lr, double momentum, double dampening, double weightDecay, boolean nesterov) {
        /** Checks ranges. */
        public Options {
            requireLr(lr);
            require("momentum", momentum, momentum >= 0 && momentum < 1, "0 to below 1");
            require("dampening", dampening, dampening >= 0 && dampening <= 1, "0 to 1");
            requireWeightDecay(weightDecay);
            if (nesterov && (momentum == 0 || dampening != 0)) {
                throw new IllegalArgumentException(
                        "nesterov: expected with momentum and without dampening");
            }
        }

        /** Plain gradient descent. */
        public static Options lr(double lr) {
            return new Options(lr, 0, 0, 0, false);
        }

        /** The same with momentum. */
        public Options withMomentum(double momentum) {
            return new Options(lr, momentum, dampening, weightDecay, nesterov);
        }

        /** The same with Nesterov's momentum. */
        public Options withNesterov(double momentum) {
            return new Options(lr, momentum, 0, weightDecay, true);
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
    public RiemannianSgd(Manifold manifold, DType dtype, long rows, long dim, Options options) {
        super(manifold, dtype, rows, dim, operation(options));
        this.options = options;
        this.lr = options.lr();
    }

    private static String operation(Options options) {
        return Checks.requireNonNull("options", options).momentum() == 0
                ? "rsgd"
                : options.nesterov() ? "rsgd_nesterov" : "rsgd_momentum";
    }

    /** Changes the step size from the next step on. */
    public void setLr(double lr) {
        requireLr(lr);
        this.lr = lr;
    }

    @Override
    double parameter(int i) {
        boolean moment = options.momentum() > 0;
        return switch (i) {
            case 1 -> lr;
            case 2 -> moment ? options.momentum() : options.weightDecay();
            case 3 -> moment && steps() > 1 ? options.dampening() : 0;
            case 4 -> moment ? options.weightDecay() : 0;
            default -> 0;
        };
    }
}
