// The gain of HypLoRA (geometry/hyplora_gain.h) for a register of tokens.
#pragma once
#include "cpu/lanes.h"
#include "geometry/hyplora_gain.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

constexpr int token_lanes = lanes<double>;
using Lanes = Vec<double, token_lanes>;
using LaneMask = Mask<Lanes>::type;

struct Gains {
    Lanes g, by_m_over_m, by_n_over_n, by_K, by_s;  // as in Gain
};

static inline Lanes saturate(Lanes x) {
    const Lanes most = Lanes{} + std::numeric_limits<double>::max();
    return choose<Lanes>(x > most, most, choose<Lanes>(x < -most, -most, x));
}

// (cosh t - sinh(t)/t)/t^2 in powers of t^2; for t <= 2 to the last bit or two of float64.
static inline Lanes cosh_excess_series(Lanes w) {
    return horo::polynomial(w, 1.0 / 3, 1.0 / 30, 1.0 / 840, 1.0 / 45360, 1.0 / 3991680, 1.0 / 518918400,
                            1.0 / 93405312000, 1.0 / 22230464256000, 1.0 / 6758061133824000,
                            1.0 / 2554547108585472000, 22.0 / 25852016738884976640000.0,
                            24.0 / 15511210043330985984000000.0);
}

// Tokens in the range where nothing overflows are solved together; the others, NaN too, one by one, so that
// what a token gets does not depend on its neighbours.
template <bool gradient>
static inline Gains gains_at(Lanes n, Lanes m, const Curvature& c, int32_t kind) {
    const double sq = c.s * c.q;
    const Lanes t = n / sq;
    const Lanes w = t * t;
    Lanes ratio = 1.0 + w * sinh_series(w);  // sinh(t)/t
    Lanes excess{};                          // (t coth t - 1)/t^2
    if (gradient) excess = cosh_excess_series(w) / ratio;
    const LaneMask far = w > 4.0;
    if (any(far)) {
        const Lanes y = choose<Lanes>(far, t, Lanes{} + 2.0);
        const Lanes e = exp_negative(-y);
        ratio = choose<Lanes>(far, 0.5 * (1.0 / e - e) / y, ratio);
        if (gradient)
            excess = choose<Lanes>(far, (y * ((1.0 + e * e) / (1.0 - e * e)) - 1.0) / (y * y), excess);
    }
    const Lanes sigma = ratio / c.s;
    const Lanes a = sigma * m / c.q;
    const auto asinh = asinh_parts(a * a);
    Gains out{};
    out.g = sigma * asinh.ratio;
    if (gradient) {
        const Lanes root = sigma / asinh.root;  // sigma/sqrt(1 + a^2)
        const Lanes slope = sigma / c.q;
        out.by_m_over_m = -(slope * slope) * sigma * asinh.difference;
        out.by_n_over_n = root * excess / (sq * sq);
        out.by_s = -root * (1.0 + w * excess) / c.s;
        out.by_K = -(out.by_m_over_m * (m * m) + root * w * excess) / (2 * c.q * c.q);
    }
    constexpr double large = 1e60;
    const bool ordinary_curve =
        kind == HORO_HYPLORA && c.q > 1 / large && c.q < large && sq > 1 / large && sq < large;
    const LaneMask ordinary = (t < 100.0) & (a < large) & (sigma < large) & (m < large);
    if (ordinary_curve && !any(~ordinary)) return out;
    for (int i = 0; i < token_lanes; ++i) {
        if (ordinary_curve && ordinary[i]) continue;
        const Gain one = gain_at<gradient>(n[i], m[i], c, kind);
        out.g[i] = one.g;
        out.by_m_over_m[i] = one.by_m_over_m;
        out.by_n_over_n[i] = one.by_n_over_n;
        out.by_K[i] = one.by_K;
        out.by_s[i] = one.by_s;
    }
    return out;
}

}  // namespace
}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
