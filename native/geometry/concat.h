// Several points as one, and one as several. In the ball tangent vectors at the origin are laid side by side,
// scaled so that the expected length of a part does not grow with the number of parts (beta-concatenation and
// beta-split; R. Shimizu et al., "Hyperbolic Neural Networks++" (2021)):
// v_i = logmap0(x_i) B(n/2, 1/2) / B(n_i/2, 1/2), out = expmap0([v_1 .. v_N]), n = n_1 + .. + n_N.
// The gradient is written on sech^2 and 1/(1 - c|x|^2) instead of differences of what they are made of.
#pragma once
#include "geometry/row_op.h"

namespace horo {

// Gamma(n/2) / Gamma((n+1)/2), which is B(n/2, 1/2) / sqrt(pi), to some units of the last place.
HORO_HD double beta_half(int64_t n) {
    if (n < 32) {
        double h = n % 2 ? 0x1.c5bf891b4ef6bp+0 : 0x1.20dd750429b6dp+0;  // sqrt(pi) and 2/sqrt(pi)
        for (int64_t m = n % 2 ? 1 : 2; m < n; m += 2)
            h *= static_cast<double>(m) / static_cast<double>(m + 1);
        return h;
    }
    // A series in 1/w^2, w = n/2 - 1/4; the first term left out is 3e-17 at n = 32.
    const double w = 0.5 * static_cast<double>(n) - 0.25, q = 1.0 / (w * w);
    return polynomial(q, 1.0, -1.0 / 64, 21.0 / 8192, -671.0 / 524288, 180323.0 / 134217728,
                      -20898423.0 / 8589934592) /
           __builtin_sqrt(w);
}

// artanh(r)/r at u = r^2 with the gap a = 1 - u, and twice its derivative by u
struct ArtanhParts {
    double ratio, slope;
};
HORO_HD ArtanhParts artanh_parts(double u, double a) {
    const AsinhParts<double> p = asinh_parts<double>(u / a);
    return {p.ratio * p.root, (1.0 - p.root * p.difference) / a};
}

}  // namespace horo
