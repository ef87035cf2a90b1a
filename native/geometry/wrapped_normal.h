// The density of the wrapped normal distribution: of expmap(mean, transp0(mean, v)) with v a normal vector
// whose coordinates have the standard deviation std in the metric (Y. Nagano et al., "A Wrapped Normal
// Distribution on Hyperbolic Space for Gradient-Based Learning" (2019)). With a deviation per coordinate the
// way there and back are operations of their own: `wrapped_normal_sample` takes standard normal z to the
// point, `wrapped_normal_noise` a point to std z, whose density `wrapped_normal_noise_log_prob` has. So no
// weighted sum of a far point's coordinates is needed, in which what is along the mean would drown the rest.
#pragma once
#include "geometry/lorentz_formulas.h"
#include "geometry/poincare_formulas.h"

namespace horo {

// ln x for x > 0, NaN below. Error <= 2 ulp of the larger of the result and 1.
template <class V>
HORO_HD V log_of(V x) {
    const V s = square_root<V>(x);  // NaN for what has no logarithm
    const auto small = s < 1.0;
    const V l = 2.0 * log_large(choose<V>(small, 1.0 / s, s));
    return choose<V>(small, -l, l);
}
template <class V, unsigned m>
HORO_HD auto log_of(const Dual<V, m>& x) {
    return chain<V>(log_of(x.value), 1.0 / x.value, x);
}

// ln(sinh(t)/t) at w = sinh^2(t/2)
template <class V>
HORO_HD V log_sinh_ratio(V w) {
    const AsinhParts<V> p = asinh_parts(w);
    return log_large<V>(p.root / p.ratio);
}
template <class V, unsigned m>
HORO_HD auto log_sinh_ratio(const Dual<V, m>& w) {
    const AsinhParts<V> p = asinh_parts(w.value);
    return chain<V>(log_large<V>(p.root / p.ratio), 0.5 * (1.0 / (p.root * p.root) + p.difference / p.ratio),
                    w);
}

// ln(sinh(t)/t) at t^2, t <= 690
template <class T>
HORO_HD auto log_sinh_ratio_of_square(const T& t2) {
    const auto quarter = 0.25 * t2;
    const auto ratio = sinh_ratio(quarter);
    return log_sinh_ratio(quarter * (ratio * ratio));
}

// From the square of the distance and w = sinh^2 of half of it over the radius.
template <class R, class W, class S>
HORO_HD auto wrapped_normal_log_prob(double n, const S& std, const R& square, const W& w) {
    return -(0.9189385332046727 * n + n * log_of(std) + 0.5 * (square / (std * std)) +
             (n - 1.0) * log_sinh_ratio(w));
}

#define HORO_WRAPPED_NORMAL_DOC                                                                        \
    "-n/2 ln(2 pi) - n ln std - r^2/(2 std^2) - (n - 1) ln(sinh(t)/t), r = dist(mean, x), t = r over " \
    "the radius: the logarithm of the density of the wrapped normal distribution against the volume "  \
    "of the space; n is the number of dimensions, dim."

#define HORO_WRAPPED_NORMAL_NOISE_DOC                                                                       \
    "-n/2 ln(2 pi) - sum(ln std) - sum(v^2/std^2)/2 - (n - 1) ln(sinh(t)/t), t = |v| over the radius: the " \
    "logarithm of the density at the point of noise v = wrapped_normal_noise(x, mean) of the wrapped "      \
    "normal distribution with a standard deviation per coordinate, against the volume of the space; n is "  \
    "the number of dimensions, dim. Range: std > 0, t <= 690."

// The density by the noise v, and its gradient; t^2 = per |v|^2.
struct NoiseLogProb : RowOperation {
    static constexpr int dots = 0, sums = 3, coefficients = 1;
    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const auto none = in[1] == 0.0;  // beyond the end of a row
        const V z = choose<V>(none & (in[0] == 0.0), V{}, in[0] / in[1]);
        sum.add(0, in[0] * in[0]);
        sum.add(1, z * z);
        sum.add(2, log_of<V>(choose<V>(none, V{} + 1.0, in[1])));
    }
    template <class V>
    HORO_HD static void solve_for(double per, const Solve<V>& row) {
        const double n = row.param[1];
        row.result[0] = -(0.9189385332046727 * n + row.sum[2].hi + 0.5 * row.sum[1].hi +
                          (n - 1.0) * log_sinh_ratio_of_square<V>(per * row.sum[0].hi));
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct NoiseLogProbVjp : RowOperation {
    static constexpr int dots = 0, sums = 1, coefficients = 2;
    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    // leaves the gradient by `per` in place of that by the curvature
    template <class V>
    HORO_HD static void solve_for(double per, const Solve<V>& row) {
        const V g = row.scalar[2], vv = row.sum[0].hi;
        const Dual<V, 1> t2{per * vv, {V{} + 1.0}};
        const V slope = (1.0 - row.param[1]) * g * log_sinh_ratio_of_square(t2).slope[0];
        row.k[0] = 2.0 * per * slope;
        row.k[1] = g;
        row.result[2] = slope * vv;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V i = 1.0 / in[1], z = in[0] * i, share = k[1] * i;
        out[0] = k[0] * in[0] - share * z;
        out[1] = share * (z * z - 1.0);
    }
};

// the mean, and std z
struct SampleVectors : Formula {
    static constexpr int vectors = 2, terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[1];
        b[1] = in[0] * in[2];
    }
    template <class V>
    HORO_HD static void pull(const V* in, const V* t, V* out) {
        out[0] = t[1] * in[2];
        out[1] = t[0];
        out[2] = t[1] * in[0];
    }
};

namespace poincare {

struct WrappedNormalSample : SampleVectors {
    static constexpr const char* name = "poincare.wrapped_normal_sample";
    static constexpr const char* signature = "z:row mean:row std:row; c -> out:row";
    static constexpr const char* doc =
        "mean (+) expmap0(std z / 2), std and z multiplied coordinate by coordinate: a point of the wrapped "
        "normal distribution from standard normal z. Range: c > 0, sqrt(c)|mean| < 1, any z and std.";
    static constexpr Determinant angles[] = {{0, 1, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto w = 0.25 * c * row.sum(Index<1>());
        const auto ratio = tanh_ratio(w);
        const auto a = row.gap(Index<0>());
        const auto q = w * (ratio * ratio);
        const auto scale = 0.5 * c * ratio;
        const auto d = translation(a, sech2(w), c * row.sum(Index<0>()), q, scale * row.sum(Index<2>()),
                                   scale * scale * row.gram(Index<0>(), Index<1>(), Index<2>()));
        row.coefficient(0, 1.0 + a * q / d);
        row.coefficient(1, 0.5 * a * ratio / d);
    }
};

struct WrappedNormalNoise : Differences<0, 2> {
    static constexpr const char* name = "poincare.wrapped_normal_noise";
    static constexpr const char* signature = "mean:row x:row; c -> out:row";
    static constexpr const char* doc =
        "2 logmap0(-mean (+) x), the std z of wrapped_normal_sample(z, mean, std) = x." HORO_POINCARE_RANGE;
    static constexpr int terms = 2, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.gap(Index<0>());
        const auto ab = a * row.gap(Index<1>());
        const auto s = row.curvature() * row.sum(Index<2>());
        const auto scale = 2.0 * asinh_ratio(s / ab) / (root(ab) * root(s + ab));
        row.coefficient(0, -(scale * s));
        row.coefficient(1, scale * a);
    }
};

struct WrappedNormalNoiseLogProb : NoiseLogProb {
    static constexpr const char* name = "poincare.wrapped_normal_noise_log_prob";
    static constexpr const char* signature = "v:row std:row; c n -> out:scalar";
    static constexpr const char* doc = HORO_WRAPPED_NORMAL_NOISE_DOC;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(row.param[0], row);
    }
};

struct WrappedNormalNoiseLogProbVjp : NoiseLogProbVjp {
    static constexpr const char* name = "poincare.wrapped_normal_noise_log_prob.vjp";
    static constexpr const char* signature = "v:row std:row g:scalar; c n -> g_v:row g_std:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of g wrapped_normal_noise_log_prob(v, std) by v, std and c. Range: as there.";
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(row.param[0], row);
    }
};

struct WrappedNormalLogProb : Differences<0, 2> {
    static constexpr const char* name = "poincare.wrapped_normal_log_prob";
    static constexpr const char* signature = "x:row mean:row std:scalar; c n -> out:scalar";
    static constexpr const char* doc =
        HORO_WRAPPED_NORMAL_DOC " Range: c, std > 0, sqrt(c)|x| < 1 for both points.";
    static constexpr int terms = 0, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto z2 = row.sum(Index<2>()) / (row.gap(Index<0>()) * row.gap(Index<1>()));
        const auto w = row.curvature() * z2;
        const auto ratio = asinh_ratio(w);
        row.result(
            0, wrapped_normal_log_prob(row.option(1), row.number(Index<2>()), 4.0 * z2 * (ratio * ratio), w));
    }
};

}  // namespace poincare

namespace lorentz {

struct WrappedNormalSample : SampleVectors {
    static constexpr const char* name = "lorentz.wrapped_normal_sample";
    static constexpr const char* signature = "z:row mean:ambient std:row; K -> out:ambient";
    static constexpr const char* doc =
        "mean (+) expmap0(std z), as in the ball: cosh(n) mean + sinh(n)/n transp0(mean, std z), n = |std "
        "z|/sqrt(K). Range: K > 0, n <= 700; the stored time is not read.";
    static constexpr bool precise = true;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto radius = root(k);
        const auto mm = row.sum(Index<0>());
        const auto uu = row.sum(Index<1>());
        const auto time = root(k + mm);
        const auto ratio = sinh_ratio(uu / k);
        const auto cosine = cosh_root(uu / k);
        const auto along = ratio * row.sum(Index<2>());
        const auto share = cosine + along / (radius * (radius + time));
        const auto ahead = cosine * time + along / radius;
        // Back towards the origin these cancel: there from squares, of which the difference of |mean| and
        // sinh(n) sqrt(K) is one factor.
        const auto kv = value_of(k);
        const auto mv = value_of(mm);
        const auto uv = value_of(uu);
        const auto av = value_of(along);
        const auto square = value_of(ratio) * value_of(ratio);
        const auto across = square * value_of(row.gram(Index<0>(), Index<1>(), Index<2>())) / kv;
        const auto least = mv - square * uv + across * ((kv + mv) / mv);
        const auto sum = value_of(cosine) - av * value_of(time) / (value_of(radius) * mv);
        const auto share_back = (least / sum - av) / mv;
        const auto ahead_back =
            (kv + mv + square * uv + across) / (value_of(cosine) * value_of(time) - av / value_of(radius));
        const auto back = (av < 0.0) & (mv > kv) & (uv < 1e5 * kv);
        row.coefficient(0, with_value(share, pick(back, share_back, value_of(share))));
        row.coefficient(1, ratio);
        row.result(0, with_value(ahead, pick(back, ahead_back, value_of(ahead))));
    }
};

struct WrappedNormalNoise : PointPair<0> {
    static constexpr const char* name = "lorentz.wrapped_normal_noise";
    static constexpr const char* signature = "mean:ambient x:ambient; K -> out:row";
    static constexpr const char* doc =
        "logmap0(-mean (+) x), the std z of wrapped_normal_sample(z, mean, std) = x." HORO_LORENTZ_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto pair = parts(row);
        const auto k = row.curvature();
        const auto radius = root(k);
        const auto scale = asinh_ratio(pair.s) / root(1.0 + pair.s);
        // with derivatives that do not cancel, as in mobius_add
        const auto mm = row.sum(Index<0>());
        const auto xx = row.sum(Index<1>());
        const auto mx = row.sum(Index<4>());
        const auto share = (2.0 * radius * pair.s + pair.advance) / (radius + pair.x);
        const auto small = (xx / (pair.y + radius) - mx / (pair.x + radius)) / radius;
        const auto least = pick(value_of(mm) < value_of(xx), value_of(mm), value_of(xx));
        const auto near =
            (value_of(row.sum(Index<2>())) < least) | ((value_of(mx) > 0.0) & (least > value_of(k)));
        row.coefficient(0, -(scale * with_value(pick(near, share, small), share)));
        row.coefficient(1, scale);
    }
};

struct WrappedNormalNoiseLogProb : NoiseLogProb {
    static constexpr const char* name = "lorentz.wrapped_normal_noise_log_prob";
    static constexpr const char* signature = "v:row std:row; K n -> out:scalar";
    static constexpr const char* doc = HORO_WRAPPED_NORMAL_NOISE_DOC;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(1.0 / row.param[0], row);
    }
};

struct WrappedNormalNoiseLogProbVjp : NoiseLogProbVjp {
    static constexpr const char* name = "lorentz.wrapped_normal_noise_log_prob.vjp";
    static constexpr const char* signature = "v:row std:row g:scalar; K n -> g_v:row g_std:row g_K:scalar";
    static constexpr const char* doc =
        "Gradient of g wrapped_normal_noise_log_prob(v, std) by v, std and K. Range: as there.";
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(1.0 / row.param[0], row);
        row.result[2] = -row.result[2] / (row.param[0] * row.param[0]);
    }
};

struct WrappedNormalLogProb : PointPair<0> {
    static constexpr const char* name = "lorentz.wrapped_normal_log_prob";
    static constexpr const char* signature = "x:ambient mean:ambient std:scalar; K n -> out:scalar";
    static constexpr const char* doc =
        HORO_WRAPPED_NORMAL_DOC " Range: K, std > 0; the stored times are not read.";
    static constexpr int terms = 0;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto pair = parts(row);
        // <x - y, x - y>_L with derivatives that do not cancel: of close points, and of points next to the
        // origin, those of |ys - xs|^2 - (y0 - x0)^2, of others of -2K - 2<x,y>_L
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto dd = row.sum(Index<2>());
        const auto advance = with_value((yy - xx) / (pair.x + pair.y), pair.advance);
        const auto less = value_of(xx) < value_of(yy);
        const auto close = (value_of(dd) < pick(less, value_of(xx), value_of(yy))) |
                           (pick(less, value_of(yy), value_of(xx)) < value_of(k));
        const auto far = 2.0 * (pair.x * pair.y - row.sum(Index<4>()) - k);
        const auto chord = with_value(pick(close, dd - advance * advance, far), 4.0 * k * pair.s);
        // over 4K that derivative by K cancels far out
        const auto w = pick(pick(less, value_of(xx), value_of(yy)) > value_of(k), pair.s, chord / (4.0 * k));
        const auto ratio = asinh_ratio(w);
        row.result(
            0, wrapped_normal_log_prob(row.option(1), row.number(Index<2>()), chord * (ratio * ratio), w));
    }
};

}  // namespace lorentz
}  // namespace horo
