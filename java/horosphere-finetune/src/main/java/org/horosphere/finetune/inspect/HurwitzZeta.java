package org.horosphere.finetune.inspect;

/** The Hurwitz zeta function, the normaliser of a discrete power law. */
final class HurwitzZeta {
    /** B_2k / (2k)! for k = 1, 2, .... */
    private static final double[] BERNOULLI = {
        1.0 / 12,
        -1.0 / 720,
        1.0 / 30240,
        -1.0 / 1209600,
        1.0 / 47900160,
        -691.0 / 1307674368000.0,
        1.0 / 74724249600.0,
        -3617.0 / 10670622842880000.0
    };

    private static final int DIRECT = 24;

    private HurwitzZeta() {}

    /**
     * {@code sum over k >= 0 of (q + k)^-s} by Euler and Maclaurin (DLMF 25.11.5): terms below q +
     * k = 24 one by one, the rest by the integral and eight corrections. Relative error below 1e-14
     * for 1 < s <= 20 and q >= 1/2 (tested against 30-digit values).
     *
     * @param s above 1
     * @param q above 0
     */
    static double zeta(double s, double q) {
        double sum = 0;
        double a = q;
        while (a < DIRECT) {
            sum += Math.pow(a, -s);
            a += 1;
        }
        double power = Math.pow(a, -s);
        sum += power * (a / (s - 1) + 0.5);
        double factor = s / a;
        double scale = power;
        for (int k = 0; k < BERNOULLI.length; k++) {
            double term = BERNOULLI[k] * scale * factor;
            sum += term;
            if (Math.abs(term) < 1e-18 * sum) {
                break;
            }
            factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (a * a);
        }
        return sum;
    }

    /**
     * The derivative of {@link #zeta} by s: the same expansion, term by term. Relative error below
     * 1e-14 for 1 < s <= 20 and q >= 1 (tested against 30-digit values).
     */
    static double zetaByExponent(double s, double q) {
        double sum = 0;
        double a = q;
        while (a < DIRECT) {
            sum -= Math.log(a) * Math.pow(a, -s);
            a += 1;
        }
        double log = Math.log(a);
        double power = Math.pow(a, -s);
        sum -= power * (log * (a / (s - 1) + 0.5) + a / ((s - 1) * (s - 1)));
        double factor = s / a;
        double reciprocals = 1 / s;
        for (int k = 0; k < BERNOULLI.length; k++) {
            sum += BERNOULLI[k] * power * factor * (reciprocals - log);
            double next = s + 2 * k + 1;
            factor *= next * (next + 1) / (a * a);
            reciprocals += 1 / next + 1 / (next + 1);
        }
        return sum;
    }
}
