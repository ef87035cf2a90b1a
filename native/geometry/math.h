// Branch-free double functions for the solve step, written on arithmetic, comparison and bit operations only,
// so that they run on a vector of rows on the CPU and on one row per thread on a GPU. Each states its range
// and error; NaN in gives NaN out. The family asinh(z)/z, tanh(t)/t is taken as a function of the square of
// its argument: analytic at zero, hence no 0/0 and right derivatives there.
#pragma once
#include "geometry/lanes.h"

namespace horo {

// An unevaluated pair: the value is hi + lo.
template <class V>
struct Sum {
    V hi, lo;
};

// ---- Exact products and sums

// a b = hi + lo exactly, barring overflow and underflow (Dekker without a fused multiply-add).
template <class V>
HORO_HD Sum<V> two_product(V a, V b) {
    const V hi = rounded_product(a, b);
#if defined(HORO_HAS_FMA)
    return {hi, fused_subtract(a, b, hi)};
#else
    const V as = a * 134217729.0, bs = b * 134217729.0;
    const V ah = as - (as - a), bh = bs - (bs - b);
    const V al = a - ah, bl = b - bh;
    return {hi, ((ah * bh - hi) + ah * bl + al * bh) + al * bl};
#endif
}

// a + b = hi + lo exactly.
template <class V>
HORO_HD Sum<V> two_sum(V a, V b) {
    const V hi = a + b;
    const V t = hi - a;
    return {hi, (a - (hi - t)) + (b - t)};
}

// ---- Polynomials, lowest coefficient first

template <class V>
HORO_HD V polynomial(V, double a) {
    return V{} + a;
}
template <class V, class... Rest>
HORO_HD V polynomial(V x, double a, Rest... rest) {
    return a + x * polynomial(x, rest...);
}

// The same with halves summed apart (Estrin): most solve steps wait for results, not for arithmetic.
// powers[i] is x^2^i.
template <int from, int count, class V>
HORO_HD V polynomial_part(const double* a, const V* powers) {
    if constexpr (count == 1) {
        return V{} + a[from];
    } else {
        constexpr int level = count <= 2 ? 0 : count <= 4 ? 1 : count <= 8 ? 2 : 3, half = 1 << level;
        return polynomial_part<from, half>(a, powers) +
               powers[level] * polynomial_part<from + half, count - half>(a, powers);
    }
}
template <class V, class... Coefficients>
HORO_HD V wide_polynomial(V x, Coefficients... coefficients) {
#if defined(__CUDA_ARCH__)  // there other warps fill the wait, and registers are what is short
    return polynomial(x, coefficients...);
#else
    constexpr int count = sizeof...(coefficients);
    static_assert(count > 1 && count <= 16, "powers");
    const double a[] = {coefficients...};
    V powers[4] = {x, {}, {}, {}};
    if constexpr (count > 2) powers[1] = x * x;
    if constexpr (count > 4) powers[2] = powers[1] * powers[1];
    if constexpr (count > 8) powers[3] = powers[2] * powers[2];
    return polynomial_part<0, count>(a, powers);
#endif
}

// ---- Functions

// 1/x from an approximation of some ulps, where that is cheaper.
template <class V>
HORO_HD V better_inverse(V x, V i) {
#if defined(HORO_HAS_FMA)
    return i + i * fused_subtract_from<V>(V{} + 1.0, x, i);
#else
    return (void)i, 1.0 / x;
#endif
}

// e^x and e^x - 1.
template <class V>
struct ExpParts {
    V exp, less_one;
};

// For x <= 0, below -708 as at -708. Relative error <= 1.5 ulp in exp, <= 2.5 ulp in less_one.
template <class V>
HORO_HD ExpParts<V> exp_parts(V x) {
    x = at_least(x, -708.0);
    const double shifter = 6755399441055744.0;  // 1.5 2^52: adding it rounds to an integer
    const V shifted = x * 1.4426950408889634 + shifter;
    const V n = shifted - shifter;
    const V r = (x - n * 0x1.62e42fefa0000p-1) - n * 0x1.cf79abc9e3b3ap-40;
    const V p = wide_polynomial(r, 0x1.0000000000001p-1, 0x1.5555555555556p-3, 0x1.5555555553d37p-5,
                                0x1.11111111109a6p-7, 0x1.6c16c1789d1d7p-10, 0x1.a01a01a7cebcdp-13,
                                0x1.a019b8ca26fcfp-16, 0x1.71de0d85293b8p-19, 0x1.2891d4ffbb0f9p-22,
                                0x1.af390ba7e6f47p-26);
    const V grown = r + r * r * p;
    const V scale = from_bits<V>((bits(shifted) << 52) + (int64_t(1023) << 52));
    return {(1.0 + grown) * scale, (scale - 1.0) + scale * grown};
}

// e^x for x <= 0, below -708 as e^-708. Relative error <= 1.5 ulp.
template <class V>
HORO_HD V exp_negative(V x) {
    return exp_parts(x).exp;
}

// A number x >= 1 as 2^n m, sqrt(1/2) <= m < sqrt(2).
template <class V>
struct Mantissa {
    V n, m;
    HORO_HD explicit Mantissa(V x) {
        const auto i = bits(x);
        const auto shifted = i - 0x3fe6a09e667f3bcd;
        n = from_bits<V>((shifted >> 52) + 0x4330000000000000) - 4503599627370496.0;
        m = from_bits<V>(i - (shifted & ~((int64_t(1) << 52) - 1)));
    }
};

// (artanh(f)/f - 1) / f^2 at s = f^2: for the f = (m - 1) / (m + 1) of a Mantissa, and for |f| <= 0.4143.
template <class V>
HORO_HD V artanh_short(V s) {
    return wide_polynomial(s, 0x1.5555555555558p-2, 0x1.9999999995273p-3, 0x1.2492492dfd86cp-3,
                           0x1.c71c62d5e53e0p-4, 0x1.7462b91b8df65p-4, 0x1.39fdcceb4bb45p-4,
                           0x1.2b5f68a50d903p-4);
}
template <class V>
HORO_HD V artanh_series(V s) {
    return wide_polynomial(s, 0x1.5555555555555p-2, 0x1.9999999999b83p-3, 0x1.249249247132cp-3,
                           0x1.c71c71e30f52cp-4, 0x1.745d1131295dcp-4, 0x1.3b147857d5f61p-4,
                           0x1.1100ff31b8a8ep-4, 0x1.e3941f42dbedbp-5, 0x1.a0061a81e9667p-5,
                           0x1.ddc0eba379c68p-5, 0x1.6812199646725p-8, 0x1.c66c4793a6649p-4);
}

// n ln 2 + 2 artanh(f), p the series at f^2
template <class V>
HORO_HD V log_of(V n, V f, V p) {
    return n * 0x1.62e42fefa0000p-1 + (2.0 * f + (n * 0x1.cf79abc9e3b3ap-40 + 2.0 * f * (f * f * p)));
}

// ln x for x >= 1 (finite). Relative error <= 2 ulp from x = 1.5 on.
template <class V>
HORO_HD V log_large(V x) {
    const Mantissa<V> x_parts(x);
    const V f = (x_parts.m - 1.0) / (x_parts.m + 1.0);
    return choose<V>(x < __builtin_inf(), log_of(x_parts.n, f, artanh_short<V>(f * f)), x);
}

// asinh(z / scale), and that over z as a fraction, which a division of the caller may join.
template <class V>
struct Asinh {
    V angle, numerator, denominator;
    V root;                       // sqrt(scale^2 + z^2)
    V series;                     // artanh(u)/u = 1 + u^2 series, u = z / (scale + root), where near
    typename Mask<V>::type near;  // about z <= scale
};

// z >= 0, scale > 0, root = sqrt(scale^2 + z^2) and e^asinh = (z + root) / scale. Near as 2 artanh(u), beyond
// by the logarithm. Relative error <= 4 ulp beyond that of the arguments.
template <class V>
HORO_HD Asinh<V> asinh_of_sides(V z, V scale, V root, V exp) {
    const auto near = exp < 2.414213562373095;
    const Mantissa<V> e(exp);
    const V base = scale + root;
    const V above = choose<V>(exp < __builtin_inf(), e.m - 1.0, exp);
    const V f = choose<V>(near, z, above) / choose<V>(near, base, e.m + 1.0);
    const V q = f * f, p = artanh_series(q);
    const V angle = log_of<V>(choose<V>(near, V{}, e.n), f, p);
    return {angle, choose<V>(near, 2.0 + 2.0 * (q * p), angle), choose<V>(near, base, z), root, p, near};
}

// asinh(sqrt(w)), 0 <= w <= 1e300
template <class V>
HORO_HD Asinh<V> asinh_fraction(V w) {
    const V z = square_root(w), root = square_root(1.0 + w);
    return asinh_of_sides<V>(z, V{} + 1.0, root, z + root);
}

// artanh(n), from n >= 0 and a = 1 - n^2, which says how close to 1 it is; NaN for a < 0.
template <class V>
HORO_HD Asinh<V> artanh_fraction(V n, V a) {
    const V scale = square_root(a);
    return asinh_of_sides<V>(n, scale, V{} + 1.0, (1.0 + n) / scale);
}

// What the inverse hyperbolic functions need at w = z^2 >= 0.
template <class V>
struct AsinhParts {
    V root;          // sqrt(1 + w)
    V inverse_root;  // 1 / sqrt(1 + w)
    V z;
    V angle;       // asinh(z)
    V ratio;       // asinh(z) / z, 1 at zero
    V excess;      // asinh(z) - z / root = z w difference
    V difference;  // (ratio - 1/root) / w, 1/3 at zero: d ratio/dw = -difference/2
};

// Relative error <= 4 ulp in angle and ratio, <= 16 ulp in excess and difference, for 0 <= w <= 1e300. To w =
// 1 these two are written on the series, no term of which cancels.
template <class V>
HORO_HD AsinhParts<V> asinh_parts(V w) {
    const Asinh<V> asinh = asinh_fraction(w);
    const V s = asinh.root, z = square_root(w), base = 1.0 + s;
    const V both = 1.0 / (s * base), h = both * s, inverse = better_inverse<V>(s, both * base);
    const V ratio = asinh.numerator / asinh.denominator;
    const V far_difference = (ratio - inverse) / choose<V>(asinh.near, V{} + 1.0, w);
    const V near_difference = (h * h) * (inverse + 2.0 * (h * asinh.series));
    return {s,
            inverse,
            z,
            asinh.angle,
            ratio,
            choose<V>(asinh.near, z * (w * near_difference), asinh.angle - z * inverse),
            choose<V>(asinh.near, near_difference, far_difference)};
}

// (sinh(y)/y - 1) / y^2 at w = y^2 in [0, 4]; relative error <= 1 ulp.
template <class V>
HORO_HD V sinh_series(V w) {
    return wide_polynomial(w, 0x1.5555555555555p-3, 0x1.1111111111110p-7, 0x1.a01a01a01a1aep-13,
                           0x1.71de3a555c421p-19, 0x1.ae645689bb04cp-26, 0x1.61245d7a2331ep-33,
                           0x1.ae80d51c27f67p-41, 0x1.94c84002588cfp-49, 0x1.3c8f304ad4164p-57);
}

// The hyperbolic tangent of t, and over a number n.
template <class V>
struct TanhOver {
    V value;  // tanh(t)
    V over;   // tanh(t) / n
    V sech2;  // 1 / cosh(t)^2; not below 1e-307
};

// For t, n > 0. Relative error <= 4 ulp in value and over, <= 4 ulp + 2 ulp per unit of t in sech2.
template <class V>
HORO_HD TanhOver<V> tanh_over(V t, V n) {
    const ExpParts<V> e = exp_parts<V>(-2.0 * at_most(t, 1e150));
    const V both = 1.0 + e.exp, i = 1.0 / (both * n), h = better_inverse<V>(both, i * n);
    const V value = -e.less_one * h;
    return {value, -e.less_one * i, choose<V>(t < 0.5, 1.0 - value * value, 4.0 * e.exp * (h * h))};
}

// sqrt(w), but never zero: what that adds is lost above 1e-270.
template <class V>
HORO_HD V positive_root(V w) {
    return square_root(w + 0x1p-960);
}

// What the hyperbolic tangent needs at w = t^2 >= 0.
template <class V>
struct TanhParts {
    V ratio;       // tanh(t) / t, 1 at zero
    V sech2;       // as above
    V difference;  // (ratio - sech2) / w, 2/3 at zero: d ratio/dw = -difference/2
};

// Relative error <= 8 ulp. To w = 1 it is written on sinh(2t)/2t - 1, no term of which cancels.
template <class V>
HORO_HD V tanh_difference(V w, V ratio, V sech2) {
    const auto far = w > 1.0;
    return choose<V>(far, ratio - sech2, 4.0 * sinh_series<V>(4.0 * w) * sech2) /
           choose<V>(far, w, V{} + 1.0);
}

// Relative error <= 4 ulp in ratio, <= 4 ulp + 2 ulp per unit of t in sech2, <= 8 ulp in difference.
template <class V>
HORO_HD TanhParts<V> tanh_parts(V w) {
    const V t = positive_root(w);
    const TanhOver<V> p = tanh_over(t, at_most(t, 1e150));
    return {p.over, p.sech2, tanh_difference(w, p.over, p.sech2)};
}

// What the hyperbolic sine needs at w = y^2 >= 0.
template <class V>
struct SinhParts {
    V cosh;        // cosh(y)
    V ratio;       // sinh(y) / y, 1 at zero: d cosh/dw = ratio/2
    V difference;  // (cosh - ratio) / w, 1/3 at zero: d ratio/dw = difference/2
};

// Relative error <= 4 ulp + 2 ulp per unit of y, for y <= 708 (beyond: as at 708). To w = 4 by series, of
// which that of the difference has the terms (2k + 2)/(2k + 3)!. One root and one quotient for both would be
// fewer operations, but a longer wait: 24 cycles a vector instead of 17.
template <class V>
HORO_HD SinhParts<V> sinh_parts(V w) {
    const V series = 1.0 + w * sinh_series(w);
    const V near_difference = wide_polynomial(
        w, 0x1.5555555555555p-2, 0x1.1111111111111p-5, 0x1.3813813813814p-10, 0x1.71de3a556c734p-16,
        0x1.0cfeb60f94b0ep-22, 0x1.08db48ebe51c7p-29, 0x1.78af56a4d411bp-37, 0x1.952c77030ad4ap-45,
        0x1.5532eaf516982p-53, 0x1.ce272b49432cep-62, 0x1.0132bcd1f4692p-70);
    const V near_cosh = square_root(1.0 + w * (series * series));
    const auto far = w > 4.0;
    const V y = square_root(choose<V>(far, w, V{} + 4.0)), inverse = 1.0 / y;
    const V e = exp_negative(-y), i = 1.0 / e;
    const V cosh = choose<V>(far, 0.5 * (i + e), near_cosh);
    const V ratio = choose<V>(far, 0.5 * (i - e) * inverse, series);
    return {cosh, ratio, choose<V>(far, (cosh - ratio) * (inverse * inverse), near_difference)};
}

// What the sine needs at w = y^2 >= 0.
template <class V>
struct SineParts {
    V cos;         // cos(y)
    V ratio;       // sin(y) / y, 1 at zero: d cos/dw = -ratio/2
    V difference;  // (ratio - cos) / w, 1/3 at zero: d ratio/dw = -difference/2
};

// For w <= 1 relative error <= 2 ulp; beyond, to y = 1e6, error <= 2 ulp of 1 in cos and of 1/y in ratio,
// plus what a relative error of 1 ulp in y does, and <= 4 ulp of 1/w in difference, alike.
template <class V>
HORO_HD SineParts<V> sine_parts(V w) {
    const auto far = w > 1.0;
    const V y = square_root(choose<V>(far, w, V{} + 1.0));
    // y = n pi/2 + r, pi/2 in three parts of 33 bits
    const double shifter = 6755399441055744.0;
    const V shifted = y * 0.6366197723675814 + shifter;
    const V n = shifted - shifter;
    const V r = ((y - n * 0x1.921fb54400000p0) - n * 0x1.0b4611a600000p-34) - n * 0x1.3198a2e037073p-69;
    const V q = choose<V>(far, r * r, w);
    const V s = polynomial(q, 1.0, -0x1.5555555555555p-3, 0x1.1111111111111p-7, -0x1.a01a01a01a01ap-13,
                           0x1.71de3a556c734p-19, -0x1.ae64567f544e4p-26, 0x1.6124613a86d09p-33,
                           -0x1.ae7f3e733b81fp-41, 0x1.952c77030ad4ap-49);
    const V c = polynomial(q, 1.0, -0.5, 0x1.5555555555555p-5, -0x1.6c16c16c16c17p-10, 0x1.a01a01a01a01ap-16,
                           -0x1.27e4fb7789f5cp-22, 0x1.1eed8eff8d898p-29, -0x1.93974a8c07c9dp-37,
                           0x1.ae7f3e733b81fp-45, -0x1.6827863b97d97p-53);
    const V d = polynomial(q, 0x1.5555555555555p-2, -0x1.1111111111111p-5, 0x1.3813813813814p-10,
                           -0x1.71de3a556c734p-16, 0x1.0cfeb60f94b0ep-22, -0x1.08db48ebe51c7p-29,
                           0x1.78af56a4d411bp-37, -0x1.952c77030ad4ap-45, 0x1.5532eaf516982p-53);
    const auto i = bits(shifted);
    const auto odd = (i & 1) != 0;
    const V sin_r = r * s;
    const V sin_y = choose<V>(odd, c, sin_r), cos_y = choose<V>(odd, sin_r, c);
    const V far_sin = choose<V>((i & 2) != 0, -sin_y, sin_y);
    const V far_cos = choose<V>(((i + 1) & 2) != 0, -cos_y, cos_y);
    const V far_ratio = far_sin / y;
    return {choose<V>(far, far_cos, c), choose<V>(far, far_ratio, s),
            choose<V>(far, (far_ratio - far_cos) / choose<V>(far, w, V{} + 1.0), d)};
}

// What the arctangent needs at w = z^2 >= 0.
template <class V>
struct AtanParts {
    V ratio;       // atan(z) / z, 1 at zero
    V difference;  // (ratio - 1/(1+w)) / w, 2/3 at zero: d ratio/dw = -difference/2
};

// Relative error <= 4 ulp in ratio, <= 16 ulp in difference.
// With u = z/(1+sqrt(1+w)), q = u^2: atan z = 2 atan u, atan(u)/u = 1 - q P(q); beyond z = 1 from 1/z.
template <class V>
HORO_HD AtanParts<V> atan_parts(V w) {
    const auto far = w > 1.0;
    const V large = choose<V>(far, w, V{} + 1.0);
    const V v = choose<V>(far, 1.0 / large, w);
    const V h = 1.0 / (1.0 + square_root(1.0 + v));
    const V q = v * h * h, g = 2.0 * h;  // g = 1 - q
    const V p = polynomial(q, 0x1.5555555555555p-2, -0x1.9999999999953p-3, 0x1.249249248d7dcp-3,
                           -0x1.c71c71c303dbbp-4, 0x1.745d165dc9713p-4, -0x1.3b1392d519db1p-4,
                           0x1.110e87b4357d2p-4, -0x1.e19a0bfa3eef9p-5, 0x1.ac7a5a79b3f26p-5,
                           -0x1.74dccfb93fff0p-5, 0x1.1b311bb48c215p-5, -0x1.0acd9e91a5a35p-6);
    const V near_ratio = g * (1.0 - q * p);
    const V near_difference = 0.25 * g * g * g * ((3.0 + q) / ((1.0 + q) * (1.0 + q)) - p);
    const V z = square_root(large);
    const V far_ratio = (1.5707963267948966 - near_ratio / z) / z;
    const V far_difference = (far_ratio - 1.0 / (1.0 + large)) / large;
    return {choose<V>(far, far_ratio, near_ratio), choose<V>(far, far_difference, near_difference)};
}

}  // namespace horo
