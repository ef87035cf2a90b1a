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
    Worst exp_, log_, asinh_ratio, asinh_difference, tanh_ratio, tanh_sech2, tanh_difference;
    for (int i = 0; i < 200000; ++i) {
        const double w = argument(i);
        const __float128 q = w, z = sqrtq(q);
        // below 1e-12 the textbook differences cancel even in quad: there the leading terms are exact enough
        const bool series = w < 1e-9;
        const auto a = horo::asinh_parts(w);
        const __float128 ratio = asinhq(z) / z, root = sqrtq(1 + q);
        asinh_ratio(ulp_error(a.ratio, ratio), w);
        asinh_difference(
            ulp_error(a.difference, series ? 1 / static_cast<__float128>(3) - 3 * q / 10 + 15 * q * q / 56
                                           : (ratio - 1 / root) / q),
            w);
        if (w < 1e5) {
            const auto t = horo::tanh_parts(w);
            const __float128 tratio = tanhq(z) / z, sech2 = 1 / (coshq(z) * coshq(z));
            tanh_ratio(ulp_error(t.ratio, tratio), w);
            tanh_sech2(ulp_error(t.sech2, sech2) - 2 * static_cast<double>(z), w);
            tanh_difference(ulp_error(t.difference,
                                      series ? 2 / static_cast<__float128>(3) - 8 * q / 15 + 34 * q * q / 105
                                             : (tratio - sech2) / q),
                            w);
        }
        if (w < 700) exp_(ulp_error(horo::exp_negative(-w), expq(-q)), -w);
        if (w >= 1.5) log_(ulp_error(horo::log_large(w), logq(q)), w);
    }
    const auto bound = [](const char* name, const Worst& worst, double limit) {
        std::printf("%-18s %.2f ulp at %g\n", name, worst.error, worst.at);
        CHECK(worst.error <= limit, "%s: %g ulp at %g, bound %g", name, worst.error, worst.at, limit);
    };
    bound("exp", exp_, 1.5);
    bound("log", log_, 2);
    bound("asinh ratio", asinh_ratio, 4);
    bound("asinh difference", asinh_difference, 16);
    bound("tanh ratio", tanh_ratio, 4);
    bound("sech^2 beyond 2t", tanh_sech2, 4);
    bound("tanh difference", tanh_difference, 8);

    CHECK(horo::asinh_parts(0.0).ratio == 1.0);
    CHECK(horo::tanh_parts(0.0).ratio == 1.0);
    CHECK(std::isnan(horo::asinh_parts(std::nan("")).difference));
    CHECK(std::isnan(horo::tanh_parts(std::nan("")).difference));
    CHECK(std::isinf(horo::log_large(INFINITY)));
    return check_result();
}
