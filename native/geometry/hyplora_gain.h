// The scalar of a token in HypLoRA and its derivatives: g(n, m) = q asinh(m sigma/q)/m, sigma = q sinh(t)/n,
// t = n/(s q), q = sqrt(K). Every formula is finite where g is: t coth t is evaluated instead of cosh and
// sinh, sigma by its logarithm, and quotients that tend to 0/0 by their series.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "geometry/math.h"
#include "horosphere/horo.h"

namespace horo {

struct Gain {
    double g;            // the gain
    double by_m_over_m;  // dg/dm / m
    double by_n_over_n;  // dg/dn / n
    double by_K, by_s;   // dg/dK, dg/ds
};

// (t coth t - 1)/t^2: a continued fraction near zero, where the subtraction would cancel. Relative error <
// 1e-15.
HORO_HD double coth_excess(double t) {
    const double t2 = t * t;
    if (t < 1) {
        double f = 19;
        for (int i = 17; i >= 3; i -= 2) f = i + t2 / f;
        return 1 / f;
    }
    const double e = t < 40 ? std::expm1(-2 * t) : -1;  // coth t = (2 + e)/-e
    return (t * ((2 + e) / -e) - 1) / t2;
}

// asinh(a)/a in powers of w = a^2; for a < 0.3 to the last bit or two of float64.
HORO_HD double asinhc_series(double w) {
    return polynomial(w, 1.0, -1.0 / 6, 3.0 / 40, -5.0 / 112, 35.0 / 1152, -63.0 / 2816, 231.0 / 13312,
                      -143.0 / 10240, 6435.0 / 557056, -12155.0 / 1245184, 46189.0 / 5505024,
                      -88179.0 / 12058624, 676039.0 / 104857600, -1300075.0 / 226492416,
                      5014575.0 / 973078528, -9694845.0 / 2080374784);
}

// Its derivative over a, as far.
HORO_HD double asinhc_slope_series(double w) {
    return polynomial(w, -1.0 / 3, 3.0 / 10, -15.0 / 56, 35.0 / 144, -315.0 / 1408, 693.0 / 3328,
                      -1001.0 / 5120, 6435.0 / 34816, -109395.0 / 622592, 230945.0 / 1376256,
                      -969969.0 / 6029312, 2028117.0 / 13107200, -16900975.0 / 113246208,
                      35102025.0 / 243269632, -145422675.0 / 1040187392);
}

// sinh(t)/t in powers of w = t^2; for t < 1.5 to the last bit or two of float64.
HORO_HD double sinhc_series(double w) {
    return polynomial(w, 1.0 / 1, 1.0 / 6, 1.0 / 120, 1.0 / 5040, 1.0 / 362880, 1.0 / 39916800,
                      1.0 / 6227020800, 1.0 / 1307674368000, 1.0 / 355687428096000,
                      1.0 / 121645100408832000.0, 1.0 / 51090942171709440000.0,
                      1.0 / 25852016738884976640000.0);
}

HORO_HD double saturate(double x) {
    constexpr double most = std::numeric_limits<double>::max();
    return x > most ? most : x < -most ? -most : x;
}

struct Curvature {
    double q, s, log_s, log_q;
};

HORO_HD Curvature curvature(double K, double s) { return {std::sqrt(K), s, std::log(s), 0.5 * std::log(K)}; }

template <bool gradient>
HORO_HD Gain gain_at(double n, double m, const Curvature& c) {
    const double t = n / (c.s * c.q);
    double sigma, a, asinh_a, a_over_root;  // a_over_root = a/sqrt(1 + a^2)
    bool far = false;                       // a beyond the range where its square can be formed
    if (t < 300) {
        sigma = (t < 1.5 ? sinhc_series(t * t) : std::sinh(t) / t) / c.s;
        a = sigma * m / c.q;
        asinh_a = a < 0.3 ? a * asinhc_series(a * a) : std::asinh(a);
        far = a > 1e8;
    } else {
        const double log_sigma = t - std::log(2 * t) - c.log_s;
        const double log_a = log_sigma + std::log(m) - c.log_q;
        sigma = saturate(std::exp(log_sigma));
        far = log_a > 18;
        a = far ? 1e8 : std::exp(log_a);
        asinh_a = far ? log_a + 0.6931471805599453094 : std::asinh(a);
    }
    a_over_root = far ? 1 : a / std::sqrt(1 + a * a);
    Gain out{};
    out.g = a < 0.3 ? sigma * asinhc_series(a * a) : c.q * asinh_a / m;
    if (gradient) {
        const double excess = coth_excess(t);
        const double w = a < 1 ? sigma / std::sqrt(1 + a * a) : c.q * a_over_root / m;  // sigma/sqrt(1 + a^2)
        const double sq = c.s * c.q;
        out.by_m_over_m = a < 0.3 ? saturate(sigma * sigma / c.q * sigma / c.q) * asinhc_slope_series(a * a)
                                  : c.q * (a_over_root - asinh_a) / m / m / m;
        out.by_n_over_n = saturate(w * excess / (sq * sq));
        out.by_s = saturate(-w * (1 + t * t * excess) / c.s);
        out.by_K = saturate(-(out.by_m_over_m * m * m + w * t * t * excess) / (2 * c.q * c.q));
    }
    return out;
}

// ---- The gains of the released code, with its clamps and their zero slopes

// g = sigma q L(theta)/max(v, 1e-7), v = sigma m, theta = sqrt(v^2 + 1/K)/q, sigma = q sinh(min(t, 12))/n,
// n >= 1e-7; L = sqrt(2 max(theta - 1, 1e-6)) for theta < 1.01, else arcosh theta. 1/K is the code's; the
// hyperboloid has K.
template <bool gradient>
HORO_HD Gain released_gain_at(double norm, double m, const Curvature& c) {
    const double q = c.q, K = q * q, n = norm < 1e-7 ? 1e-7 : norm;
    const double reach = n / (c.s * q), t = reach > 12 ? 12 : reach;
    const double sigma = q * std::sinh(t) / n, v = sigma * m, floor_v = v < 1e-7 ? 1e-7 : v;
    const double time = std::sqrt(v * v + 1 / K), theta = time / q;
    const bool near = theta < 1.01, flat = near && theta - 1 < 1e-6;
    const double length = near ? std::sqrt(2 * (flat ? 1e-6 : theta - 1)) : std::acosh(theta);
    Gain out{};
    out.g = sigma * (q * length / floor_v);
    if (gradient) {
        const double slope = flat ? 0 : near ? 1 / length : 1 / std::sqrt(theta * theta - 1);  // dL/dtheta
        // F = q L/max(v, 1e-7), so that g = sigma F
        const double F = q * length / floor_v;
        const double by_v_over_v = slope / (time * floor_v) - (v < 1e-7 ? 0 : F / (v * v));
        const double by_sigma = F + v * v * by_v_over_v;  // dg/dsigma
        const double moves = reach > 12 ? 0 : std::cosh(t);
        out.by_m_over_m = sigma * sigma * sigma * by_v_over_v;
        out.by_n_over_n = norm < 1e-7 ? 0 : by_sigma * (moves / c.s - sigma) / (n * n);
        out.by_s = -by_sigma * moves / (c.s * c.s);
        const double sigma_K = (sigma - moves / c.s) / (2 * K);
        const double theta_K = -(1 / (K * time) / K + time / K) / (2 * q);
        out.by_K = sigma_K * by_sigma + sigma * (length / (2 * q) + q * slope * theta_K) / floor_v;
    }
    return out;
}

// The released "simplified" branch: g = sigma/(1 + sqrt(K (v^2 + K))), v = sigma m, sigma = 2/(1 + K n^2).
template <bool gradient>
HORO_HD Gain simplified_gain_at(double n, double m, const Curvature& c) {
    const double K = c.q * c.q, sigma = 2 / (1 + K * n * n), v = sigma * m;
    const double root = std::sqrt(v * v + K), D = 1 + c.q * root;
    Gain out{};
    out.g = sigma / D;
    if (gradient) {
        const double by_sigma = (1 + c.q * (K / root)) / (D * D);  // 1/D - q v^2/(D^2 root)
        out.by_m_over_m = -sigma * sigma * sigma * c.q / (D * D * root);
        out.by_n_over_n = -sigma * sigma * K * by_sigma;
        out.by_K =
            -sigma * sigma * n * n / 2 * by_sigma - sigma / (D * D) * (root / (2 * c.q) + c.q / (2 * root));
    }
    return out;
}

// The gain of a kind of horo.h, HORO_LORA excepted.
template <bool gradient>
HORO_HD Gain gain_at(double n, double m, const Curvature& c, int32_t kind) {
    return kind == HORO_HYPLORA            ? gain_at<gradient>(n, m, c)
           : kind == HORO_HYPLORA_RELEASED ? released_gain_at<gradient>(n, m, c)
                                           : simplified_gain_at<gradient>(n, m, c);
}

}  // namespace horo
