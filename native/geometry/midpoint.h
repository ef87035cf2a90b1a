// Weighted midpoints of sets of points. In every model the midpoint is the weighted sum of the points'
// vectors in Minkowski space, S = (t, s) = sum_i w_i X_i, brought back to the model: the gyromidpoint of the
// Poincare ball, the Einstein midpoint of the Klein model and the centroid of the hyperboloid are one point
// (A. Ungar, "A Gyrovector Space Approach to Hyperbolic Geometry" (2009); M. Law et al., "Lorentzian Distance
// Learning" (2019)).
//
// A model is a struct: `share`, what a point adds to S; `Mean`, what S becomes; `slopes`, the gradient of one
// point. Far out |S|_L^2 = t^2 - s^2 loses twice the digits that the points lose, hence pairs of doubles. The
// gradient is written on f = s - tau x, tau such that f vanishes when all points are one: the space part of S
// orthogonal to the point in the Lorentz model, D(m - x) for a midpoint m = s/D in the others.
#pragma once
#include "geometry/double_double.h"

namespace horo {

// A point of a set: its factor, u x in s and its share of t.
template <class V>
struct SetShare {
    Sum<V> lambda, u, time;
};

// What the gradient of one point is made of.
template <class V>
struct SetDots {
    V xx, gf, ff, xf;
};

// g_x = g * along_g + f * along_f + x * along_x, and the gradients of the point's weight and of the
// curvature.
template <class V>
struct SetSlopes {
    V along_g, along_f, along_x, weight, curvature;
};

// How far a point is from the mean, for the Frechet mean: with d the distance over the radius, d^2, sinh(d),
// cosh(d), factor = d / sinh(d), and for the gradient its slope by a measure of d: its gradient by the mean
// is slope (along_f f + along_s s), that by the point slope (by_f f + by_x x), that by the curvature slope
// by_curvature. steep is the slope of d^2 by that measure, dist_by_curvature the derivative of the square of
// the distance itself by the curvature.
template <class V>
struct SetDistance {
    V square, sinh, cosh, factor, slope, along_f, along_s, by_f, by_x, by_curvature, steep, dist_by_curvature;
};

// The same number in all lanes. A Mean can be made wide like it, for several points at once.
template <class V, class N>
HORO_HD Sum<V> wide(Sum<N> s) {
    return {V{} + s.hi, V{} + s.lo};
}

template <class V>
HORO_HD V magnitude(V x) {
    return choose<V>(x < 0.0, -x, x);
}

template <class V>
HORO_HD V plain_gap(double c, V xx) {
#if defined(HORO_HAS_FMA)
    return fused_subtract_from<V>(V{} + 1.0, V{} + c, xx);
#else
    return 1.0 - c * xx;
#endif
}

// 1 - c |x|^2
template <class V>
HORO_HD Sum<V> long_gap(double c, Sum<V> xx) {
    return exactly(V{} + 1.0) - exactly(V{} + c) * xx;
}

// The root of t^2 - c s^2 with the sign of t, so that weights of any sign give the point of the future cone.
template <class V>
HORO_HD Sum<V> minkowski_norm(double c, Sum<V> t, Sum<V> ss) {
    const Sum<V> n = square_root(t * t - exactly(V{} + c) * ss);
    return {choose<V>(t.hi < 0.0, -n.hi, n.hi), choose<V>(t.hi < 0.0, -n.lo, n.lo)};
}

// Below this share of t the root has lost more than a double has to spare. Then it is taken from the product
// of t + sqrt(c)|s| and t - sqrt(c)|s|, the latter summed from the points' shares in it, `deficit`: with e =
// s/|s| and x = along e + across they are positive numbers times the weights.
constexpr double cancelled = 0x1p-24;

namespace poincare {

struct Midpoint {
    static constexpr bool ambient = false, precise = false;

    template <class V>
    HORO_HD static SetShare<V> share(double c, Sum<V> xx, V w) {
        const Sum<V> lambda = exactly(V{} + 2.0) / long_gap(c, xx);
        const Sum<V> u = exactly(w) * lambda;
        return {lambda, u, u - exactly(w)};
    }
    template <class V>
    HORO_HD static V gap(double c, V xx) {
        return plain_gap<V>(c, xx);
    }
    template <class V>
    HORO_HD static SetShare<V> plain_share(V gap, V, V w) {
        const V lambda = 2.0 / gap, u = w * lambda;
        return {exactly(lambda), exactly(u), exactly(u - w)};
    }
    // w (lambda - 1 - sqrt(c) lambda <x,e>) = w c lambda |x - e/sqrt(c)|^2 / 2
    template <class V>
    HORO_HD static V deficit(double c, const SetShare<V>& p, V w, Sum<V> along, V across2) {
        const V missing = (along - exactly(V{} + 1.0) / square_root(exactly(V{} + c))).hi;
        return 0.5 * c * w * p.lambda.hi * (across2 + missing * missing);
    }
    template <class V>
    struct Mean {
        double c;
        Sum<V> d;  // the midpoint is s / d
        V n;
        template <class N>
        HORO_HD explicit Mean(const Mean<N>& m) : c(m.c), d(wide<V>(m.d)), n(V{} + m.n) {}
        template <class W>
        HORO_HD Mean(const Mean<W>& m, int64_t lane)
            : c(m.c), d{V{} + m.d.hi[lane], V{} + m.d.lo[lane]}, n(V{} + m.n[lane]) {}
        HORO_HD Mean(double c_, Sum<V> t, Sum<V> ss) : c(c_) { take(t, minkowski_norm(c, t, ss)); }
        HORO_HD void take(Sum<V> t, Sum<V> norm) {
            d = t + norm;
            n = norm.hi;
        }
        // Where t and sqrt(c) s have errors of so much times `lead`, those of the result are that times
        // doubt.
        HORO_HD V doubt(V, V lead) const { return 2.0 * lead / magnitude<V>(n); }
        // how much of the precision of pairs of doubles tau has lost
        HORO_HD V loss() const { return d.hi / n; }
        HORO_HD V scale() const { return 1.0 / d.hi; }
        HORO_HD V time() const { return V{}; }
        HORO_HD Sum<V> tau(const SetShare<V>&) const { return d; }
        HORO_HD V plain_tau(const SetShare<V>&) const { return d.hi; }
        HORO_HD SetSlopes<V> slopes(V, V gs, V w, const SetShare<V>& p, const SetDots<V>& dot) const {
            (void)w;
            const V i = 1.0 / d.hi, u = p.u.hi * i, lambda = p.lambda.hi;
            const V q = gs * i / n;
            const V e = lambda * i * i * (-dot.gf - 0.5 * c * q * dot.ff);
            return {u, c * u * q, c * u * e * d.hi, e, 0.5 * u * (e * d.hi * dot.xx + q * dot.xf)};
        }
        // On S = sinh^2(d/2) = c|x - m|^2 / (a b), a = 2 / lambda, b = 2n / D the gap of the mean.
        HORO_HD SetDistance<V> distance(V ss, const SetShare<V>& p, const SetDots<V>& dot) const {
            const V i = 1.0 / d.hi, lambda = p.lambda.hi;
            const V s = 0.25 * c * dot.ff * lambda * i / n;
            const AsinhParts<V> h = asinh_parts<V>(s);
            const V along = 0.5 * c * lambda / n;
            const V z2 = s / c, by_gaps = 0.5 * (ss * i / n + dot.xx * lambda);
            return {4.0 * s * h.ratio * h.ratio,
                    2.0 * square_root<V>(s) * h.root,
                    1.0 + 2.0 * s,
                    h.ratio / h.root,
                    -0.5 * (h.difference + h.ratio / (h.root * h.root)) / h.root,
                    along,
                    c * s / n,
                    -along,
                    c * lambda * s,
                    s * (1.0 / c + by_gaps),
                    4.0 * h.ratio / h.root,
                    4.0 * z2 * h.ratio * (by_gaps / h.root - z2 * h.difference)};
        }
        HORO_HD V unit() const { return V{} + 1.0 / c; }  // of squared distances
    };
};

}  // namespace poincare

namespace klein {

struct Midpoint {
    static constexpr bool ambient = false, precise = true;

    template <class V>
    HORO_HD static SetShare<V> share(double c, Sum<V> xx, V w) {
        const Sum<V> gamma = exactly(V{} + 1.0) / square_root(long_gap(c, xx));
        const Sum<V> u = exactly(w) * gamma;
        return {gamma, u, u};
    }
    template <class V>
    HORO_HD static V gap(double c, V xx) {
        return plain_gap<V>(c, xx);
    }
    template <class V>
    HORO_HD static SetShare<V> plain_share(V gap, V, V w) {
        const V gamma = square_root<V>(1.0 / gap), u = w * gamma;
        return {exactly(gamma), exactly(u), exactly(u)};
    }
    // w gamma (1 - sqrt(c) <x,e>)
    template <class V>
    HORO_HD static V deficit(double c, const SetShare<V>& p, V w, Sum<V> along, V across2) {
        const V gamma = p.lambda.hi, a = __builtin_sqrt(c) * along.hi;
        return w * choose<V>(a > 0.0, (1.0 / gamma + c * gamma * across2) / (1.0 + a), gamma * (1.0 - a));
    }
    template <class V>
    struct Mean {
        double c;
        Sum<V> d;
        V n;
        template <class N>
        HORO_HD explicit Mean(const Mean<N>& m) : c(m.c), d(wide<V>(m.d)), n(V{} + m.n) {}
        template <class W>
        HORO_HD Mean(const Mean<W>& m, int64_t lane)
            : c(m.c), d{V{} + m.d.hi[lane], V{} + m.d.lo[lane]}, n(V{} + m.n[lane]) {}
        HORO_HD Mean(double c_, Sum<V> t, Sum<V> ss) : c(c_), d(t) { take(t, minkowski_norm(c, t, ss)); }
        HORO_HD void take(Sum<V>, Sum<V> norm) { n = norm.hi; }
        HORO_HD V doubt(V t, V lead) const { return lead / magnitude<V>(t); }
        HORO_HD V loss() const { return V{} + 1.0; }
        HORO_HD V scale() const { return 1.0 / d.hi; }
        HORO_HD V time() const { return V{}; }
        HORO_HD Sum<V> tau(const SetShare<V>&) const { return d; }
        HORO_HD V plain_tau(const SetShare<V>&) const { return d.hi; }
        HORO_HD SetSlopes<V> slopes(V, V, V, const SetShare<V>& p, const SetDots<V>& dot) const {
            const V i = 1.0 / d.hi, u = p.u.hi * i, gamma = p.lambda.hi;
            const V e = -dot.gf * i;  // <g, x - m>
            const V slope = u * gamma * gamma * e;
            return {u, V{}, c * slope, gamma * e * i, 0.5 * slope * dot.xx};
        }
        // On cosh(d) = gamma_x gamma_m (1 - c<x,m>); sinh^2(d) = c (|f|^2 + c gamma_x^2 <x,f>^2) / n^2.
        HORO_HD SetDistance<V> distance(V ss, const SetShare<V>& p, const SetDots<V>& dot) const {
            const V i = 1.0 / d.hi, gx = p.lambda.hi, gm = d.hi / n;
            const V bend = gx * dot.xf;  // c bend^2 is the part along x
            const V z2 = (dot.ff + c * bend * bend) / (n * n), w = c * z2;
            const AsinhParts<V> h = asinh_parts<V>(w);
            const V fm = dot.xf + dot.ff * i, apart = (dot.xf + fm) * i;  // <f,m>; |m|^2 - |x|^2
            const V across = dot.ff * i * i, both = gx * gm;
            const V x_out = dot.xx * gx * gx, m_out = ss * i * i * gm * gm;  // |x|^2 gamma_x^2
            // by c, of z2
            const V by_c = bend * bend * gx * gx / (n * n) + z2 * m_out;
            return {
                w * h.ratio * h.ratio,
                square_root<V>(w),
                h.root,
                h.ratio,
                -h.difference * h.root,
                c * both * i,
                c * c * both * gm * gm * fm * i * i,
                -c * both * i,
                -c * c * both * gx * gx * dot.xf * i,
                both * (0.5 * across + 0.25 * c * (across * (x_out + m_out) + both * both * apart * apart)),
                2.0 * h.ratio,
                h.ratio * (by_c / h.root - z2 * z2 * h.difference)};
        }
        HORO_HD V unit() const { return V{} + 1.0 / c; }
    };
};

}  // namespace klein

namespace lorentz {

struct Midpoint {
    static constexpr bool ambient = true, precise = true;

    template <class V>
    HORO_HD static SetShare<V> share(double k, Sum<V> xx, V w) {
        const Sum<V> x0 = square_root(exactly(V{} + k) + xx);
        return {x0, exactly(w), exactly(w) * x0};
    }
    // nothing cancels in x0^2
    template <class V>
    HORO_HD static V gap(double k, V xx) {
        return k + xx;
    }
    template <class V>
    HORO_HD static SetShare<V> plain_share(V gap, V, V w) {
        const V x0 = square_root<V>(gap);
        return {exactly(x0), exactly(w), exactly(w * x0)};
    }
    // w (x0 - <x,e>)
    template <class V>
    HORO_HD static V deficit(double k, const SetShare<V>& p, V w, Sum<V> along, V across2) {
        const V x0 = p.lambda.hi, a = along.hi;
        return w * choose<V>(a > 0.0, (k + across2) / (x0 + a), x0 - a);
    }
    template <class V>
    struct Mean {
        double k, c = 1;
        Sum<V> t;
        V n, q;  // the centroid is q S
        template <class N>
        HORO_HD explicit Mean(const Mean<N>& m)
            : k(m.k), c(m.c), t(wide<V>(m.t)), n(V{} + m.n), q(V{} + m.q) {}
        template <class W>
        HORO_HD Mean(const Mean<W>& m, int64_t lane)
            : k(m.k),
              c(m.c),
              t{V{} + m.t.hi[lane], V{} + m.t.lo[lane]},
              n(V{} + m.n[lane]),
              q(V{} + m.q[lane]) {}
        HORO_HD Mean(double k_, Sum<V> t_, Sum<V> ss) : k(k_), t(t_) { take(t_, minkowski_norm(c, t_, ss)); }
        HORO_HD void take(Sum<V>, Sum<V> norm) {
            n = norm.hi;
            q = __builtin_sqrt(k) / n;
        }
        HORO_HD V doubt(V t_, V lead) const { return 4.0 * magnitude<V>(t_) * lead / (n * n); }
        HORO_HD V loss() const { return V{} + 1.0; }
        HORO_HD V scale() const { return q; }
        HORO_HD V time() const { return q * t.hi; }
        HORO_HD Sum<V> tau(const SetShare<V>& p) const { return t / p.lambda; }
        HORO_HD V plain_tau(const SetShare<V>& p) const { return t.hi / p.lambda.hi; }
        HORO_HD SetSlopes<V> slopes(V g0, V gs, V w, const SetShare<V>& p, const SetDots<V>& dot) const {
            const V x0 = p.lambda.hi, m = w * q;
            const V along = gs + g0 * t.hi, gamma = along / (n * n);
            const V from = tau(p).hi, m0 = q * t.hi;
            const V square = sinh_square(dot);
            const V less_one = square / (1.0 + square_root<V>(1.0 + square));
            // summed over the points what <f,x>/q would give, of which for points on one ray next to nothing
            // is left
            const V bent = 2.0 * spread(x0, m0, x0 - m0, less_one, dot);
            return {m, m * gamma, m * g0 / x0, -q / from * (dot.gf + gamma * (from * dot.xf + dot.ff)),
                    0.5 * (m * g0 / x0 - w * gamma * bent)};
        }
        HORO_HD V sinh_square(const SetDots<V>& dot) const {  // of d
            return (dot.xf * dot.xf + k * dot.ff) / (k * n * n);
        }
        // The derivative of cosh(d) by K, times K: half of (x0 - m0)^2/(x0 m0) less cosh(d) - 1, and on one
        // side of the origin the sum that is.
        HORO_HD V spread(V x0, V m0, V apart, V less_one, const SetDots<V>& dot) const {
            const V both = x0 * m0, r = apart / x0;
            const V dd = q * q * dot.ff + r * (r * dot.xx - 2.0 * q * dot.xf);  // |x - m|^2
            const V turn = dot.xx * dot.ff - dot.xf * dot.xf, gram = q * q * choose<V>(turn < 0.0, V{}, turn);
            const V near = -(k * k * (1.0 + 0.5 * less_one) * dd + (k + both) * gram) /
                           (k * both * (2.0 * both - k * less_one));
            return choose<V>(k * (1.0 + less_one) < both, near, 0.5 * apart * apart / both - less_one);
        }
        // On cosh(d) = -<M,X>_L / K, M = q S.
        HORO_HD SetDistance<V> distance(V ss, const SetShare<V>& p, const SetDots<V>& dot) const {
            const V w = sinh_square(dot);
            const AsinhParts<V> h = asinh_parts<V>(w);
            const V x0 = p.lambda.hi, m0 = q * t.hi;
            const V apart = (dot.xx - q * q * ss) / (x0 + m0);  // x0 - m0, also near the origin
            return {w * h.ratio * h.ratio,
                    square_root<V>(w),
                    h.root,
                    h.ratio,
                    -h.difference * h.root,
                    1.0 / (k * tau(p).hi),
                    V{},
                    -q / k,
                    V{},
                    spread(x0, m0, apart, w / (1.0 + h.root), dot) / k,
                    2.0 * h.ratio,
                    h.ratio * (w * w * (h.difference - 1.0 / (h.root * (1.0 + h.root) * (1.0 + h.root))) +
                               apart * apart / (x0 * m0))};
        }
        HORO_HD V unit() const { return V{} + k; }
    };
};

}  // namespace lorentz
}  // namespace horo
