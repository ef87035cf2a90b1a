// The density of the wrapped normal distribution: of expmap(mean, transp0(mean, v)) with v a normal vector
// whose coordinates have the standard deviation std in the metric (Y. Nagano et al., "A Wrapped Normal
// Distribution on Hyperbolic Space for Gradient-Based Learning" (2019)).
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

namespace poincare {

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
        // <x - y, x - y>_L with derivatives that do not cancel: of close points those of |ys - xs|^2 - (y0 -
        // x0)^2, of others of -2K - 2<x,y>_L
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto dd = row.sum(Index<2>());
        const auto advance = with_value((yy - xx) / (pair.x + pair.y), pair.advance);
        const auto close = value_of(dd) < pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy));
        const auto far = 2.0 * (pair.x * pair.y - row.sum(Index<4>()) - k);
        const auto chord = with_value(pick(close, dd - advance * advance, far), 4.0 * k * pair.s);
        const auto w = chord / (4.0 * k);
        const auto ratio = asinh_ratio(w);
        row.result(
            0, wrapped_normal_log_prob(row.option(1), row.number(Index<2>()), chord * (ratio * ratio), w));
    }
};

}  // namespace lorentz
}  // namespace horo
