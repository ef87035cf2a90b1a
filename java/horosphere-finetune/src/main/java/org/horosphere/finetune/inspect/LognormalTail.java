package org.horosphere.finetune.inspect;

import org.apache.commons.math3.analysis.integration.gauss.GaussIntegrator;
import org.apache.commons.math3.analysis.integration.gauss.GaussIntegratorFactory;
import org.apache.commons.math3.special.Erf;

/**
 * The integers from xmin on with the probabilities of a lognormal variable, rounded, that is above
 * xmin - 1/2. In {@code u = ln(x / (xmin - 1/2))} its density is {@code exp(-slope u - curvature
 * u^2 / 2)} but for a factor, with {@code curvature = 1 / sigma^2} and {@code slope = curvature
 * (ln(xmin - 1/2) - mu)}: these stay finite where mu and sigma do not, at curvature 0, which is a
 * Pareto law. Differences of distribution functions lose all their digits long before that.
 */
final class LognormalTail {
    private static final GaussIntegrator LEGENDRE = new GaussIntegratorFactory().legendre(16);

    /** Above this the continued fraction is used for erfc. */
    private static final double FAR = 5;

    private static final int FRACTION_TERMS = 60;

    /** Beyond this change of the log density within half a cell the quadrature is not exact. */
    private static final double STEEP = 4;

    private final double threshold;
    private final double slope;
    private final double curvature;
    private final double logNorm;

    /**
     * @param xmin 1 or more
     * @param slope any if curvature is positive, else above 0; otherwise every probability is NaN
     * @param curvature 0 or more
     */
    LognormalTail(long xmin, double slope, double curvature) {
        threshold = xmin - 0.5;
        this.slope = slope;
        this.curvature = curvature;
        // 1 / slope times a continued fraction in curvature / slope^2, which is 1 at curvature 0
        logNorm =
                slope > 0 && slope >= FAR * Math.sqrt(2 * curvature)
                        ? -Math.log(slope) - logFraction(curvature / (slope * slope))
                        : logScale() + logErfc(slope / Math.sqrt(2 * curvature));
    }

    /** ln P(x), x >= xmin. */
    double logProbability(long x) {
        double width = Math.log1p(1 / (x - 0.5));
        double middle = Math.log((x - 0.5) / threshold) + width / 2;
        double steepness = slope + curvature * middle;
        if (Math.abs(steepness) * width / 2 + curvature * width * width / 8 > STEEP) {
            double root = Math.sqrt(2 * curvature);
            double low = (steepness - curvature * width / 2) / root;
            double high = (steepness + curvature * width / 2) / root;
            return logScale() + logErfcDifference(low, high) - logNorm;
        }
        double sum = 0;
        for (int i = 0; i < LEGENDRE.getNumberOfPoints(); i++) {
            double d = LEGENDRE.getPoint(i) * width / 2;
            sum += LEGENDRE.getWeight(i) * Math.exp(-d * (steepness + curvature * d / 2));
        }
        return Math.log(sum * width / 2) - middle * (slope + curvature * middle / 2) - logNorm;
    }

    /** Of {@code exp(slope^2 / (2 curvature)) sqrt(pi / (2 curvature))}. */
    private double logScale() {
        return slope * slope / (2 * curvature) + 0.5 * Math.log(Math.PI / (2 * curvature));
    }

    /** {@code ln(erfc(low) - erfc(high))}, low < high. */
    private static double logErfcDifference(double low, double high) {
        if (low < 0) {
            return high > 0 ? Math.log(Erf.erf(low, high)) : logErfcDifference(-high, -low);
        }
        double logLow = logErfc(low);
        return logLow + Math.log(-Math.expm1(logErfc(high) - logLow));
    }

    private static double logErfc(double z) {
        return z < FAR
                ? Math.log(Erf.erfc(z))
                : -z * z - Math.log(z * Math.sqrt(Math.PI)) - logFraction(1 / (2 * z * z));
    }

    /** Of {@code 1 + t/(1 + 2t/(1 + 3t/...))}, 0 <= t <= 1/50 (DLMF 7.9.1). */
    private static double logFraction(double t) {
        double fraction = 1;
        for (int k = FRACTION_TERMS; k > 0; k--) {
            fraction = 1 + k * t / fraction;
        }
        return Math.log(fraction);
    }
}
