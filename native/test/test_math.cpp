// The solve step's functions against libquadmath, at the error bounds their comments state.
#include <quadmath.h>

#include <cstdint>

#include "check.h"
#include "geometry/math.h"

namespace {

double ulp_error(double got, __float128 want) {
    int exponent;
    frexpq(want, &exponent);
    return static_cast<double>(fabsq(got - want) / ldexpq(1, exponent - 53));
}

// Square arguments from 1e-40 to 1e18, dense where the functions switch form.
double argument(int i) {
    uint64_t h = (i + 1) * 0x9e3779b97f4a7c15u;
    h ^= h >> 31;
    const double u = static_cast<double>(h >> 11) * 0x1p-53;
    switch (i % 4) {
        case 0:
            return std::pow(10.0, -40 + 58 * u);
        case 1:
            return std::pow(10.0, -2 + 5 * u);
        case 2:
            return u;
        default:
            return 0.98 + 0.04 * u;
    }
}

struct Worst {
    double error = 0, at = 0;
    void operator()(double e, double x) {
        if (!(e <= error)) error = e, at = x;
    }
};

}  // namespace

int main() {
    Worst sine_cos, sine_ratio, sine_difference, atan_ratio, atan_difference;
    Worst exp_, less_one, log_, asinh_ratio, asinh_difference, tanh_ratio, tanh_sech2, tanh_difference;
    Worst cosh_, sinh_ratio, sinh_difference, asinh_angle, asinh_excess, artanh_angle, artanh_over,
        tanh_value;
    for (int i = 0; i < 200000; ++i) {
        const double w = argument(i);
        const __float128 q = w, z = sqrtq(q);
        // below 1e-12 the textbook differences cancel even in quad: there the leading terms are exact enough
        const bool series = w < 1e-9;
        const auto a = horo::asinh_parts(w);
        const __float128 ratio = asinhq(z) / z, root = sqrtq(1 + q);
        asinh_ratio(ulp_error(a.ratio, ratio), w);
        const __float128 difference =
            series ? 1 / static_cast<__float128>(3) - 3 * q / 10 + 15 * q * q / 56 : (ratio - 1 / root) / q;
        asinh_difference(ulp_error(a.difference, difference), w);
        asinh_angle(ulp_error(a.angle, asinhq(z)), w);
        asinh_excess(ulp_error(a.excess, z * q * difference), w);
        // of a number whose square has no rounding error, also next to 1
        const double inner = static_cast<double>((i * 2654435761u) >> 6) * 0x1p-26;
        const double n = i % 2 || inner == 0 ? 1 - 0x1p-26 * (1 + i % 1000) : inner;
        const auto artanh = horo::artanh_fraction(n, 1 - n * n);
        artanh_angle(ulp_error(artanh.angle, atanhq(n)), n);
        artanh_over(ulp_error(artanh.numerator / artanh.denominator, atanhq(n) / n), n);
        if (w < 1e5) {
            const auto t = horo::tanh_parts(w);
            const __float128 tratio = tanhq(z) / z, sech2 = 1 / (coshq(z) * coshq(z));
            tanh_ratio(ulp_error(t.ratio, tratio), w);
            const double y = static_cast<double>(z);
            tanh_value(ulp_error(horo::tanh_over(y, y).value, tanhq(y)), y);
            tanh_sech2(ulp_error(t.sech2, sech2) - 2 * static_cast<double>(z), w);
            tanh_difference(ulp_error(t.difference,
                                      series ? 2 / static_cast<__float128>(3) - 8 * q / 15 + 34 * q * q / 105
                                             : (tratio - sech2) / q),
                            w);
        }
        if (w < 500000) {  // y to 707
            const auto t = horo::sinh_parts(w);
            const __float128 cosine = coshq(z), sratio = sinhq(z) / z;
            const double beyond = 2 * static_cast<double>(z);
            cosh_(ulp_error(t.cosh, cosine) - beyond, w);
            sinh_ratio(ulp_error(t.ratio, sratio) - beyond, w);
            sinh_difference(
                ulp_error(t.difference, series ? 1 / static_cast<__float128>(3) + q / 30 + q * q / 840
                                               : (cosine - sratio) / q) -
                    beyond,
                w);
        }
        if (w < 1e12) {
            const auto t = horo::sine_parts(w);
            const __float128 cosine = cosq(z), sratio = sinq(z) / z;
            const __float128 sdifference =
                series ? 1 / static_cast<__float128>(3) - q / 30 + q * q / 840 : (sratio - cosine) / q;
            if (w <= 1) {
                sine_cos(ulp_error(t.cos, cosine), w);
                sine_ratio(ulp_error(t.ratio, sratio), w);
                sine_difference(ulp_error(t.difference, sdifference), w);
            } else {  // the ulp of 1 here is 2^-53, that of y z 2^-53
                const double y = static_cast<double>(z), ulp = 0x1p-53;
                const auto error = [&](double got, __float128 want) {
                    return static_cast<double>(fabsq(got - want)) / ulp;
                };
                sine_cos(error(t.cos, cosine) - y, w);
                sine_ratio(error(t.ratio, sratio) * y - y, w);
                sine_difference(error(t.difference, sdifference) * w - 2 * y, w);
            }
        }
        const auto at = horo::atan_parts(w);
        const __float128 aratio = atanq(z) / z;
        atan_ratio(ulp_error(at.ratio, aratio), w);
        atan_difference(
            ulp_error(at.difference, series ? 2 / static_cast<__float128>(3) - 4 * q / 5 + 6 * q * q / 7
                                            : (aratio - 1 / (1 + q)) / q),
            w);
        if (w < 700) exp_(ulp_error(horo::exp_negative(-w), expq(-q)), -w);
        if (w < 700) less_one(ulp_error(horo::exp_parts(-w).less_one, expm1q(-q)), -w);
        if (w >= 1.5) log_(ulp_error(horo::log_large(w), logq(q)), w);
    }
    const auto bound = [](const char* name, const Worst& worst, double limit) {
        std::printf("%-18s %.2f ulp at %g\n", name, worst.error, worst.at);
        CHECK(worst.error <= limit, "%s: %g ulp at %g, bound %g", name, worst.error, worst.at, limit);
    };
    bound("exp", exp_, 1.5);
    bound("exp - 1", less_one, 2.5);
    bound("log", log_, 2);
    bound("asinh", asinh_angle, 4);
    bound("asinh excess", asinh_excess, 16);
    bound("artanh", artanh_angle, 4);
    bound("artanh(n)/n", artanh_over, 4);
    bound("tanh", tanh_value, 4);
    bound("asinh ratio", asinh_ratio, 4);
    bound("asinh difference", asinh_difference, 16);
    bound("tanh ratio", tanh_ratio, 4);
    bound("sech^2 beyond 2t", tanh_sech2, 4);
    bound("tanh difference", tanh_difference, 8);
    bound("cosh beyond 2y", cosh_, 4);
    bound("sinh ratio", sinh_ratio, 4);
    bound("sinh difference", sinh_difference, 4);
    bound("cos beyond y", sine_cos, 2);
    bound("sin ratio", sine_ratio, 2);
    bound("sin difference", sine_difference, 4);
    bound("atan ratio", atan_ratio, 4);
    bound("atan difference", atan_difference, 16);

    CHECK(horo::asinh_parts(0.0).ratio == 1.0);
    CHECK(horo::tanh_parts(0.0).ratio == 1.0);
    CHECK(horo::sine_parts(0.0).ratio == 1.0 && horo::sine_parts(0.0).cos == 1.0);
    CHECK(horo::atan_parts(0.0).ratio == 1.0 && horo::atan_parts(double{INFINITY}).ratio == 0.0);
    CHECK(std::isnan(horo::sine_parts(std::nan("")).ratio));
    CHECK(std::isnan(horo::atan_parts(std::nan("")).ratio));
    CHECK(std::isnan(horo::asinh_parts(std::nan("")).difference));
    CHECK(std::isnan(horo::tanh_parts(std::nan("")).difference));
    CHECK(std::isnan(horo::sinh_parts(std::nan("")).cosh) && horo::sinh_parts(double{INFINITY}).cosh > 1e306);
    CHECK(std::isnan(horo::asinh_parts(std::nan("")).angle) &&
          std::isinf(horo::asinh_fraction(double{INFINITY}).angle));
    CHECK(std::isnan(horo::artanh_fraction(1.5, -1.25).angle) &&
          std::isinf(horo::artanh_fraction(1.0, 0.0).angle));
    CHECK(std::isinf(horo::log_large(INFINITY)));
    return check_result();
}
