// Row operations of the Poincare ball of curvature -c, c > 0: points x with sqrt(c)|x| < 1.
//
// Everything is written on the gaps a = 1 - c|x|^2 and b = 1 - c|y|^2 and on differences formed before
// squaring, so results stay exact up to the rim. Points on or outside the rim are neither clamped nor
// projected: distances and logarithms there are infinite or NaN, the other operations return what the formula
// gives. Definitions: A. Ungar, "A Gyrovector Space Approach to Hyperbolic Geometry" (2009); O. Ganea et al.,
// "Hyperbolic Neural Networks" (2018), with lambda_x = 2 / (1 - c|x|^2).
#pragma once
#include "geometry/row_op.h"

namespace horo {
namespace poincare {

#define HORO_POINCARE_RANGE " Range: c > 0, sqrt(c)|x| < 1 for every point."

struct MobiusAdd : RowOperation {
    static constexpr const char* name = "poincare.mobius_add";
    static constexpr const char* signature = "x:row y:row; c -> out:row";
    static constexpr const char* doc =
        "x (+) y = ((1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y) / (1 + 2c<x,y> + c^2|x|^2|y|^2), computed as "
        "(s x + a (x + y)) / (s + a b), s = c|x + y|^2, a = 1 - c|x|^2, b = 1 - c|y|^2." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 3, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V s = in[0] + in[1];
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.add(2, s * s);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), s = c * row.sum[2].hi;
        const V i = 1.0 / (s + a * b);
        row.k[0] = s * i;
        row.k[1] = a * i;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0] + k[1] * (in[0] + in[1]);
    }
};

struct MobiusAddVjp : RowOperation {
    static constexpr const char* name = "poincare.mobius_add.vjp";
    static constexpr const char* signature = "x:row y:row g:row; c -> g_x:row g_y:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, x (+) y> by x, y and c." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 7, coefficients = 5;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V s = in[0] + in[1];
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.add(2, s * s);
        sum.add(3, in[2] * in[0]);
        sum.add(4, in[2] * s);
        sum.add(5, in[0] * in[1]);
        sum.add(6, in[2] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, ss = row.sum[2].hi;
        const V gx = row.sum[3].hi, gs = row.sum[4].hi, xy = row.sum[5].hi, gy = row.sum[6].hi;
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), s = c * ss;
        const V i = 1.0 / (s + a * b);
        const V r = (gs - b * gx) * (i * i);      // d/ds = -a r, d/da = s r
        const V n = (s * gx + a * gs) * (i * i);  // d/db = -a n
        const V direct = a * i, slope = -2.0 * c * a * r;
        row.k[0] = (s + a) * i;
        row.k[1] = direct;
        row.k[2] = slope;
        row.k[3] = -2.0 * c * s * r;
        row.k[4] = 2.0 * c * a * n;
        // By c, twice: the first form is exact near x = -y, the second where x or y vanishes.
        const V rim = a * yy * n - ss * r;
        const V inner =
            (gx * yy * (a * a - c * c * xx * ss) - gy * (xx + 2.0 * xy + c * xx * yy * (1.0 + a))) * (i * i);
        row.result[2] = choose<V>(ss < choose<V>(xx < yy, xx, yy), rim, inner);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V s = k[2] * (in[0] + in[1]);
        out[0] = k[0] * in[2] + (s + k[3] * in[0]);
        out[1] = k[1] * in[2] + (s + k[4] * in[1]);
    }
};

struct Egrad2rgrad : RowOperation {
    static constexpr const char* name = "poincare.egrad2rgrad";
    static constexpr const char* signature = "x:row g:row; c -> out:row";
    static constexpr const char* doc =
        "g / lambda_x^2 = g (1 - c|x|^2)^2 / 4: the Riemannian gradient of a Euclidean "
        "one." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const V a = gap(row.param[0], row.sum[0]);
        row.k[0] = 0.25 * a * a;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1];
    }
};

struct Egrad2rgradVjp : RowOperation {
    static constexpr const char* name = "poincare.egrad2rgrad.vjp";
    static constexpr const char* signature = "x:row g:row h:row; c -> g_x:row g_g:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of <h, egrad2rgrad(x, g)> by x, g and c." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.add(1, in[1] * in[2]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V a = gap(c, row.sum[0]), m = a * row.sum[1].hi;
        row.k[0] = -c * m;
        row.k[1] = 0.25 * a * a;
        row.result[2] = -0.5 * m * row.sum[0].hi;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
        out[1] = k[1] * in[2];
    }
};

// The product of two gaps; NaN if one is negative, outside the ball.
template <class V>
HORO_HD V gaps(V a, V b) {
    return choose<V>((a < 0.0) | (b < 0.0), V{} + __builtin_nan(""), a * b);
}

struct Dist : RowOperation {
    static constexpr const char* name = "poincare.dist";
    static constexpr const char* signature = "x:row y:row; c -> out:scalar";
    static constexpr const char* doc =
        "2/sqrt(c) artanh(sqrt(c)|-x (+) y|), computed as 2/sqrt(c) asinh(sqrt(c)|y - x| / sqrt(a b)), "
        "a = 1 - c|x|^2, b = 1 - c|y|^2; NaN outside the ball." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 3, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V d = in[1] - in[0];
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.add(2, d * d);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V ab = gaps(gap(c, row.sum[0]), gap(c, row.sum[1]));
        row.result[0] = 2.0 / __builtin_sqrt(c) * asinh_fraction<V>(c * row.sum[2].hi / ab).angle;
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct DistVjp : RowOperation {
    static constexpr const char* name = "poincare.dist.vjp";
    static constexpr const char* signature = "x:row y:row g:scalar; c -> g_x:row g_y:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of g dist(x, y) by x, y and c; zero by convention where x = y." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 3, coefficients = 3;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Dist::reduce(in, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const double root = __builtin_sqrt(c);
        const V g = row.scalar[2], xx = row.sum[0].hi, yy = row.sum[1].hi, dd = row.sum[2].hi;
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), i = 1.0 / gaps(a, b);
        const AsinhParts<V> p = asinh_parts<V>(c * dd * i);
        const V e = g * p.inverse_root, along = 2.0 * root * (e * p.z) * i;
        row.k[0] = choose<V>(dd == 0.0, V{}, 2.0 * root * (e * i) / p.z);
        row.k[1] = along * b;
        row.k[2] = along * a;
        row.result[2] = (0.5 / c) * along * (xx * b + yy * a) - 1.0 / (c * root) * g * p.excess;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[0] * (in[1] - in[0]);
        out[0] = k[1] * in[0] - d;
        out[1] = k[2] * in[1] + d;
    }
};

struct Expmap0 : RowOperation {
    static constexpr const char* name = "poincare.expmap0";
    static constexpr const char* signature = "v:row; c -> out:row";
    static constexpr const char* doc = "tanh(sqrt(c)|v|) v / (sqrt(c)|v|). Range: c > 0, any v.";
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.k[0] = tanh_parts<V>(row.param[0] * row.sum[0].hi).ratio;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct Expmap0Vjp : RowOperation {
    static constexpr const char* name = "poincare.expmap0.vjp";
    static constexpr const char* signature = "v:row g:row; c -> g_v:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, expmap0(v)> by v and c. Range: c > 0, any v.";
    static constexpr int dots = 0, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V vv = row.sum[0].hi, gv = row.sum[1].hi;
        const TanhParts<V> p = tanh_parts<V>(c * vv);
        row.k[0] = p.ratio;
        row.k[1] = -c * p.difference * gv;
        row.result[1] = -0.5 * p.difference * vv * gv;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

struct Logmap0 : RowOperation {
    static constexpr const char* name = "poincare.logmap0";
    static constexpr const char* signature = "x:row; c -> out:row";
    static constexpr const char* doc =
        "artanh(sqrt(c)|x|) x / (sqrt(c)|x|), computed with artanh(n) = asinh(n / sqrt(1 - n^2)); NaN "
        "outside the "
        "ball." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const Asinh<V> p = artanh_fraction<V>(square_root<V>(c * row.sum[0].hi), gap(c, row.sum[0]));
        row.k[0] = p.numerator / p.denominator;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

// d/d(c|x|^2) of artanh(sqrt(c)|x|) / (sqrt(c)|x|), from its asinh_parts and the gap.
template <class V>
HORO_HD V artanh_slope(const AsinhParts<V>& p, V a) {
    return 0.5 * (1.0 - p.difference / square_root(a)) / a;
}

struct Logmap0Vjp : RowOperation {
    static constexpr const char* name = "poincare.logmap0.vjp";
    static constexpr const char* signature = "x:row g:row; c -> g_x:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, logmap0(x)> by x and c." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V xx = row.sum[0].hi, gx = row.sum[1].hi, a = gap(c, row.sum[0]);
        const AsinhParts<V> p = asinh_parts<V>(c * xx / a);
        const V slope = artanh_slope(p, a);
        row.k[0] = p.ratio / square_root(a);
        row.k[1] = 2.0 * c * slope * gx;
        row.result[1] = slope * xx * gx;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

// What expmap and its gradient share: y = kappa v is expmap0(lambda_x v / 2), s = c|x + y|^2.
template <class V>
struct ExpmapParts {
    V a, a_inverse, b, kappa;
    V inverse, share;  // 1 / (s + a b) and s / (s + a b)

    HORO_HD ExpmapParts(double c, const Sum<V>& xx, const Sum<V>& vv, const Sum<V>& xv)
        : a(gap(c, xx)), a_inverse(1.0 / a) {
        const V n = positive_root(c * vv.hi);
        const TanhOver<V> tanh = tanh_over<V>(n * a_inverse, n);
        b = tanh.sech2;
        kappa = tanh.over;
        const V p = c * xx.hi, q = tanh.value * tanh.value, m = c * kappa * xv.hi;
        // Against the ray through x the sum of squares cancels near the rim; there it is the squared
        // difference of the two radii, itself taken from the gaps, plus the share of the angle.
        const auto rim = (m < 0.0) & (a < 0.5) & (4.0 * q > p);
        const V rp = square_root(p), total = rp + tanh.value, turn = rp * tanh.value - m;
        const V cross = gram(xx, vv, xv) * (c * c * kappa * kappa);
        const V square = total * total;
        const V s = choose<V>(rim, (b - a) * (b - a) * turn + 2.0 * cross * square, p + q + 2.0 * m);
        const V scale = choose<V>(rim, square * turn, V{} + 1.0);
        const V i = 1.0 / (s + a * b * scale);
        inverse = scale * i;
        share = s * i;
    }
};

struct Expmap : RowOperation {
    static constexpr const char* name = "poincare.expmap";
    static constexpr const char* signature = "x:row v:row; c -> out:row";
    static constexpr const char* doc =
        "x (+) expmap0(lambda_x v / 2): the end of the geodesic from x with velocity v. Range: c > 0, "
        "sqrt(c)|x| < 1, any v.";
    static constexpr int dots = 3, sums = 3, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.dot(2, in[0], in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const ExpmapParts<V> p(row.param[0], row.sum[0], row.sum[1], row.sum[2]);
        row.k[0] = p.share + p.a * p.inverse;
        row.k[1] = p.kappa * p.a * p.inverse;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0] + k[1] * in[1];
    }
};

struct ExpmapVjp : RowOperation {
    static constexpr const char* name = "poincare.expmap.vjp";
    static constexpr const char* signature = "x:row v:row g:row; c -> g_x:row g_v:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of <g, expmap(x, v)> by x, v and c. Range: c > 0, sqrt(c)|x| < 1, any v.";
    static constexpr int dots = 3, sums = 5, coefficients = 6;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.dot(2, in[0], in[1]);
        sum.add(3, in[2] * in[0]);
        sum.add(4, in[2] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const ExpmapParts<V> p(c, row.sum[0], row.sum[1], row.sum[2]);
        const V xx = row.sum[0].hi, vv = row.sum[1].hi, xv = row.sum[2].hi;
        const V gx = row.sum[3].hi, gv = row.sum[4].hi;
        const V a = p.a, b = p.b, i = p.inverse, kappa = p.kappa;
        // the gradient of x (+) y by y = kappa v
        const V gs = gx + kappa * gv;
        const V r = (gs - b * gx) * i, n = (p.share * gx + a * i * gs) * i;
        const V yg = a * i, yx = -2.0 * c * yg * r, yv = kappa * (yx + 2.0 * c * a * n);
        // ... and through kappa = tanh(t)/(t a), t^2 = c|v|^2/a^2
        const V along = yg * gv + yx * xv + yv * vv;
        const V spread = along * (p.a_inverse * p.a_inverse);
        const V w = c * vv * (p.a_inverse * p.a_inverse), t = kappa * a;
        const V difference = tanh_difference(w, t, b);
        const V bend = spread * difference * p.a_inverse;
        const V rise = spread * b;
        row.k[0] = p.share + yg;
        row.k[1] = yx - 2.0 * c * p.share * r + 2.0 * c * rise;
        row.k[2] = kappa * yx;
        row.k[3] = kappa * yg;
        row.k[4] = kappa * yx;
        row.k[5] = kappa * yv - c * bend;
        // By c, twice: the sum of the two gradients above, and for short v, where that cancels, term by term
        // from out = (1 + c T^2 vv / (a D)) x + T / D v, T = tanh(t) / t, D = 1 + 2 c T xv / a + c xx T^2
        // t^2.
        const V far = a * kappa * kappa * vv * n - p.share / c * r - 0.5 * bend * vv + rise * xx;
        const V vv_a = vv * p.a_inverse;
        const V w_c = vv_a * (1.0 + c * xx) * (p.a_inverse * p.a_inverse), t_c = -0.5 * difference * w_c;
        const V d_c = (2.0 * xv * p.a_inverse * (kappa + c * t_c) +
                       xx * t * (t * w + 2.0 * c * t_c * w + c * t * w_c)) *
                      i;
        const V near = gx * (vv_a * i) * (t * t * (1.0 + c * (xx * p.a_inverse - d_c)) + 2.0 * c * t_c * t) +
                       gv * (t_c - t * d_c) * i;
        row.result[2] = choose<V>(w < 1.0, near, far);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[2] + (k[1] * in[0] + k[2] * in[1]);
        out[1] = k[3] * in[2] + (k[4] * in[0] + k[5] * in[1]);
    }
};

struct Logmap : RowOperation {
    static constexpr const char* name = "poincare.logmap";
    static constexpr const char* signature = "x:row y:row; c -> out:row";
    static constexpr const char* doc =
        "(2/lambda_x) logmap0(-x (+) y): the velocity at x of the geodesic that reaches y at time 1; "
        "computed as "
        "(a (y - x) - c|y - x|^2 x) G / b, G = asinh(z) / (z sqrt(1 + z^2)), z = sqrt(c)|y - x| / sqrt(a b); "
        "NaN "
        "outside the ball." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 3, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Dist::reduce(in, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), dd = c * row.sum[2].hi;
        const Asinh<V> p = asinh_fraction<V>(dd / gaps(a, b));
        const V f = p.numerator / (p.denominator * (p.root * b));
        row.k[0] = f * a;
        row.k[1] = -f * dd;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * (in[1] - in[0]) + k[1] * in[0];
    }
};

struct LogmapVjp : RowOperation {
    static constexpr const char* name = "poincare.logmap.vjp";
    static constexpr const char* signature = "x:row y:row g:row; c -> g_x:row g_y:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, logmap(x, y)> by x, y and c." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 5, coefficients = 5;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V d = in[1] - in[0];
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.add(2, d * d);
        sum.add(3, in[2] * d);
        sum.add(4, in[2] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, dd = row.sum[2].hi, gd = row.sum[3].hi,
                gx = row.sum[4].hi;
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]);
        const V inverse = 1.0 / gaps(a, b), a_inverse = b * inverse, b_inverse = a * inverse;
        const V w = c * dd * inverse;
        const AsinhParts<V> p = asinh_parts(w);
        const V g = p.ratio * p.inverse_root, i = p.inverse_root * p.inverse_root;
        const V slope = -0.5 * (p.difference * p.inverse_root + g * i);  // dG/dw
        const V f = g * b_inverse, m = (a * gd - c * dd * gx) * b_inverse;
        const V by_a = f * gd - m * slope * w * a_inverse;
        const V by_b = -0.5 * m * (g + 1.0) * i * b_inverse;
        const V by_dd = c * (m * slope * inverse - f * gx);  // at fixed gaps
        row.k[0] = f * a;
        row.k[1] = -f * (a + c * dd);
        row.k[2] = 2.0 * by_dd;
        row.k[3] = -2.0 * c * by_a;
        row.k[4] = -2.0 * c * by_b;
        row.result[2] = by_dd * dd / c - by_a * xx - by_b * yy;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[2] * (in[1] - in[0]);
        out[0] = k[1] * in[2] + (k[3] * in[0] - d);
        out[1] = k[0] * in[2] + (k[4] * in[1] + d);
    }
};

struct Dist0 : RowOperation {
    static constexpr const char* name = "poincare.dist0";
    static constexpr const char* signature = "x:row; c -> out:scalar";
    static constexpr const char* doc =
        "2/sqrt(c) artanh(sqrt(c)|x|), the distance from the origin, computed as 2/sqrt(c) asinh(sqrt(c)|x| "
        "/ "
        "sqrt(1 - c|x|^2)); NaN outside the ball." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V n = square_root<V>(c * row.sum[0].hi);
        row.result[0] = 2.0 / __builtin_sqrt(c) * artanh_fraction<V>(n, gap(c, row.sum[0])).angle;
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct Dist0Vjp : RowOperation {
    static constexpr const char* name = "poincare.dist0.vjp";
    static constexpr const char* signature = "x:row g:scalar; c -> g_x:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of g dist0(x) by x and c; zero by convention where x = 0." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V g = row.scalar[1], xx = row.sum[0].hi, a = gap(c, row.sum[0]), x = square_root(xx);
        const AsinhParts<V> p = asinh_parts<V>(c * xx / a);
        row.k[0] = choose<V>(xx == 0.0, V{}, 2.0 * g / (a * x));
        row.result[1] = 2.0 * g * x * xx * artanh_slope(p, a);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct MobiusScalarMul : RowOperation {
    static constexpr const char* name = "poincare.mobius_scalar_mul";
    static constexpr const char* signature = "r:scalar x:row; c -> out:row";
    static constexpr const char* doc =
        "r (x) x = expmap0(r logmap0(x)): x moved to r times its distance from the origin; r any "
        "number." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[1], in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V xx = row.sum[0].hi, a = gap(c, row.sum[0]);
        const Asinh<V> p = artanh_fraction<V>(square_root<V>(c * xx), a);
        const V m = row.scalar[0] * p.numerator / p.denominator;
        row.k[0] = m * tanh_parts<V>(c * xx * m * m).ratio;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1];
    }
};

struct MobiusScalarMulVjp : RowOperation {
    static constexpr const char* name = "poincare.mobius_scalar_mul.vjp";
    static constexpr const char* signature = "r:scalar x:row g:row; c -> g_r:scalar g_x:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, r (x) x> by r, x and c." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[1], in[1]);
        sum.add(1, in[2] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V r = row.scalar[0], xx = row.sum[0].hi, gx = row.sum[1].hi, a = gap(c, row.sum[0]);
        const AsinhParts<V> p = asinh_parts<V>(c * xx / a);
        const V l = p.ratio / square_root(a), m = r * l;
        const TanhParts<V> t = tanh_parts<V>(c * xx * m * m);
        const V bend = r * (t.sech2 * artanh_slope(p, a)) - 0.5 * m * m * m * t.difference;
        row.k[0] = m * t.ratio;
        row.k[1] = 2.0 * c * bend * gx;
        row.result[0] = gx * l * t.sech2;
        row.result[2] = bend * xx * gx;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[1] = k[0] * in[2] + k[1] * in[1];
    }
};

struct Gyration : RowOperation {
    static constexpr const char* name = "poincare.gyration";
    static constexpr const char* signature = "x:row y:row v:row; c -> out:row";
    static constexpr const char* doc =
        "gyr[x, y] v = -(x (+) y) (+) (x (+) (y (+) v)) as the linear map it is, for any v; computed as v + "
        "2c/D "
        "(((s + b) q - s p) x - ((1 - a) q + a p)(x + y)), p = <x,v>, q = <x + y,v>, D = s + a b, gaps a, b "
        "and s as in "
        "mobius_add." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 5, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V s = in[0] + in[1];
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.add(2, s * s);
        sum.add(3, in[0] * in[2]);
        sum.add(4, s * in[2]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), s = c * row.sum[2].hi;
        const V p = row.sum[3].hi, q = row.sum[4].hi, f = 2.0 * c / (s + a * b);
        row.k[0] = f * ((s + b) * q - s * p);
        row.k[1] = -f * ((1.0 - a) * q + a * p);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = in[2] + (k[0] * in[0] + k[1] * (in[0] + in[1]));
    }
};

// p s - q r from compensated sums
template <class V>
HORO_HD V determinant(const Sum<V>& p, const Sum<V>& q, const Sum<V>& r, const Sum<V>& s) {
    const Sum<V> left = two_product(p.hi, s.hi), right = two_product(q.hi, r.hi);
    return (left.hi - right.hi) + (left.lo - right.lo) +
           ((p.hi * s.lo + p.lo * s.hi) - (q.hi * r.lo + q.lo * r.hi));
}

// The products that decide how far gyr[x, y] turns and what that does to <g, gyr[x, y] v>, the first seven of
// an operation's sums. With e = 1 + c<x,y> and D = e^2 + c^2 (|x|^2|y|^2 - <x,y>^2) it is <g,v> + 2c/D (e N -
// c M), N and M below. Both vanish where x and y lie on one ray, and there each is a difference of equal
// terms.
template <class V>
struct Turn {
    V across, within;  // N and M
    HORO_HD explicit Turn(const Sum<V>* sum)
        : across(determinant(sum[4], sum[3], sum[6], sum[5])),
          within(sum[3].hi * determinant(sum[1], sum[2], sum[6], sum[5]) +
                 sum[4].hi * determinant(sum[0], sum[2], sum[5], sum[6])) {}
    HORO_HD V by_curvature(double c, V e, V denominator) const {
        const V i = 1.0 / denominator;
        return 2.0 * i * i * (across * (2.0 * e * e - denominator) - 2.0 * c * e * within);
    }
    // of the turn itself
    template <class Acc>
    HORO_HD static void reduce(V x, V y, V v, Acc& sum) {
        sum.dot(0, x, x);
        sum.dot(1, y, y);
        sum.dot(2, x, y);
        sum.dot(3, x, v);
        sum.dot(4, y, v);
    }
    template <class Acc>
    HORO_HD static void reduce(V x, V y, V v, V g, Acc& sum) {
        reduce(x, y, v, sum);
        sum.dot(5, g, x);
        sum.dot(6, g, y);
    }
};

// The gradient of the gyration; on the sphere it is another.
struct GyrationGradient : RowOperation {
    static constexpr int dots = 7, sums = 10, coefficients = 11;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V s = in[0] + in[1];
        Turn<V>::reduce(in[0], in[1], in[2], in[3], sum);
        sum.add(7, s * s);
        sum.add(8, s * in[2]);
        sum.add(9, in[3] * s);
    }
    // Twice: written on x + y it is exact near x = -y, which it answers, written on y where x or y vanishes.
    template <class V>
    HORO_HD static auto solve_for(double c, const Solve<V>& row) {
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, xy = row.sum[2].hi, ss = row.sum[7].hi;
        const V p = row.sum[3].hi, r = row.sum[4].hi, q = row.sum[8].hi;
        const V gx = row.sum[5].hi, gy = row.sum[6].hi, gs = row.sum[9].hi;
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), s = c * ss;
        const V d = s + a * b, i = 1.0 / d, f = 2.0 * c * i;
        const auto rim = ss < choose<V>(xx < yy, xx, yy);
        // on x + y; w = <g, out - v> / (2c)
        const V along_x = (s + b) * q - s * p, along_s = -((1.0 - a) * q + a * p);
        const V w = (along_x * gx + along_s * gs) * i;
        const V by_a = f * (gs * (q - p) - w * b);
        const V by_b = f * (q * gx - w * a);
        const V by_ss = c * f * ((q - p) * gx - w);
        // on y
        const V z = 1.0 + 2.0 * c * xy;
        const V on_x = r * z - c * yy * p, on_y = -(p + c * xx * r);
        const V u = (on_x * gx + on_y * gy) * i;
        const V in_xx = -c * f * (r * gy + c * yy * u), in_yy = -c * f * (p * gx + c * xx * u);
        const V in_xy = 2.0 * c * f * (r * gx - u);
        row.k[0] = choose<V>(rim, -2.0 * c * by_a, 2.0 * in_xx);
        row.k[1] = choose<V>(rim, 2.0 * by_ss, V{});
        row.k[2] = choose<V>(rim, f * (b * gx - gs), -f * (c * yy * gx + gy));
        row.k[3] = f * choose<V>(rim, (s + a + b - 1.0) * q - (s + a) * p, on_x);
        row.k[4] = choose<V>(rim, -2.0 * c * by_b, 2.0 * in_yy);
        row.k[5] = f * choose<V>(rim, (s + b) * gx - (1.0 - a) * gs, gx * z - c * xx * gy);
        row.k[6] = f * choose<V>(rim, along_s, on_y);
        row.k[7] = choose<V>(rim, -f * (s * gx + a * gs), -f * (c * yy * gx + gy));
        row.k[8] = choose<V>(rim, row.k[5], V{});
        row.k[9] = choose<V>(rim, V{}, in_xy);
        row.k[10] = choose<V>(rim, V{}, row.k[5]);
        row.result[3] = Turn<V>(row.sum).by_curvature(c, 0.5 * (s + a + b), d);
        return rim;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V s = in[0] + in[1], t = k[1] * s;
        out[0] = k[0] * in[0] + t + (k[9] * in[1] + (k[2] * in[2] + k[3] * in[3]));
        out[1] = k[4] * in[1] + t + (k[9] * in[0] + (k[5] * in[2] + k[6] * in[3]));
        out[2] = in[3] + (k[7] * in[0] + (k[8] * s + k[10] * in[1]));
    }
};

struct GyrationVjp : GyrationGradient {
    static constexpr const char* name = "poincare.gyration.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; c -> g_x:row g_y:row g_v:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, gyr[x, y] v> by x, y, v and c." HORO_POINCARE_RANGE;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(row.param[0], row);
    }
};

struct Ptransp : RowOperation {
    static constexpr const char* name = "poincare.ptransp";
    static constexpr const char* signature = "x:row y:row v:row; c -> out:row";
    static constexpr const char* doc =
        "(lambda_x / lambda_y) gyr[y, -x] v: parallel transport of the tangent vector v from x to y along "
        "the geodesic; "
        "computed as b/a (v - 2c/D ((d p - a q) x + ((b + d) p + (1 - a) q)(y - x))), p = <x,v>, q = <y - "
        "x,v>, "
        "d = c|y - x|^2, D = d + a b, gaps a, b." HORO_POINCARE_RANGE;
    static constexpr int dots = 2, sums = 5, coefficients = 3;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V d = in[1] - in[0];
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.add(2, d * d);
        sum.add(3, in[0] * in[2]);
        sum.add(4, d * in[2]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), d = c * row.sum[2].hi;
        const V p = row.sum[3].hi, q = row.sum[4].hi, f = -2.0 * c / (d + a * b);
        row.k[0] = b / a;
        row.k[1] = row.k[0] * f * (d * p - a * q);
        row.k[2] = row.k[0] * f * ((b + d) * p + (1.0 - a) * q);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[2] + (k[1] * in[0] + k[2] * (in[1] - in[0]));
    }
};

// The gradient of the transport by all but the curvature: of b/a (v - 2c/D (along_x x +
// along_d (y - x))), from the sums of the forward pass and <g,x>, <g,y - x>, <g,v>.
template <class V>
struct PtranspSlopes {
    V scale, w, value, by_a, by_b, by_d;  // value = <g, out> / scale = <g,v> - 2c w; by_d by |y - x|^2

    HORO_HD PtranspSlopes(double c, V a, V b, V d, V denominator, V p, V q, V gx, V gd, V gv, V* k) {
        const V i = 1.0 / denominator;
        scale = b / a;
        const V f = -2.0 * c * i * scale;
        const V along_x = d * p - a * q, along_d = (b + d) * p + (1.0 - a) * q;
        w = (along_x * gx + along_d * gd) * i;
        value = gv - 2.0 * c * w;
        by_a = -value * scale / a - f * (q * (gx + gd) + w * b);
        by_b = value / a + f * (p * gd - w * a);
        by_d = f * (p * (gx + gd) - w);
        const V by_q = (1.0 - a) * gd - a * gx;
        k[0] = -2.0 * c * by_a;
        k[1] = 2.0 * c * by_d;
        k[2] = f * ((d + a) * gx + (d + a + b - 1.0) * gd);
        k[3] = -f * (b * p + q);
        k[4] = -2.0 * c * by_b;
        k[5] = f * by_q;
        k[6] = f * along_d;
        k[7] = scale;
        k[8] = f * (d * gx + (b + d) * gd);
        k[9] = f * by_q;
    }
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = in[1] - in[0];
        out[0] = k[0] * in[0] - k[1] * d + (k[2] * in[2] + k[3] * in[3]);
        out[1] = k[4] * in[1] + k[1] * d + (k[5] * in[2] + k[6] * in[3]);
        out[2] = k[7] * in[3] + (k[8] * in[0] + k[9] * d);
    }
};

// The gradient of the transport; on the sphere it is another.
struct PtranspGradient : RowOperation {
    static constexpr int dots = 7, sums = 11, coefficients = 10;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V d = in[1] - in[0];
        Turn<V>::reduce(in[0], in[1], in[2], in[3], sum);
        sum.add(7, d * d);
        sum.add(8, d * in[2]);
        sum.add(9, in[3] * d);
        sum.add(10, in[3] * in[2]);
    }
    // By the curvature: of lambda_x/lambda_y, from |x|^2 - |y|^2, and of gyr[y, -x], which turns as gyr[x,
    // -y] does the other way.
    template <class V>
    HORO_HD static void solve_for(double c, const Solve<V>& row) {
        const Sum<V>*xx = row.sum, *yy = row.sum + 1;
        const V a = gap(c, *xx), b = gap(c, *yy), d = c * row.sum[7].hi;
        const V denominator = d + a * b;
        const PtranspSlopes<V> t(c, a, b, d, denominator, row.sum[3].hi, row.sum[8].hi, row.sum[5].hi,
                                 row.sum[9].hi, row.sum[10].hi, row.k);
        const V farther = (xx->hi - yy->hi) + (xx->lo - yy->lo);
        const V turned = t.value * farther / (a * a) +
                         t.scale * Turn<V>(row.sum).by_curvature(c, 0.5 * (d + a + b), denominator);
        // on y - x, which needs no compensated sums; the identity has no derivative
        const V plain = -2.0 * t.scale * t.w + row.sum[7].hi * t.by_d - xx->hi * t.by_a - yy->hi * t.by_b;
        row.result[3] = is_double(row) ? turned : choose<V>(row.sum[7].hi == 0.0, V{}, plain);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        PtranspSlopes<V>::combine(in, k, out);
    }
};

struct PtranspVjp : PtranspGradient {
    static constexpr const char* name = "poincare.ptransp.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; c -> g_x:row g_y:row g_v:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of <g, ptransp(x, y, v)> by x, y, v and c." HORO_POINCARE_RANGE;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(row.param[0], row);
    }
};

// What geodesic and its gradient share. With f half the distance in units of the radius, p = (1-t) f and q =
// t f, the point is (A x + B y) / (A + B + rest), A = 2/a sinh(2p)/sinh(2f), B = 2/b sinh(2q)/sinh(2f).
template <class V>
struct GeodesicParts {
    V a, b, w, u, at_x, at_y, rest, inverse, scale;
    AsinhParts<V> f;
    SinhParts<V> p, q;

    HORO_HD GeodesicParts(double c, V t, const Sum<V>& xx, const Sum<V>& yy, V dd)
        : a(gap(c, xx)), b(gap(c, yy)) {
        const V z = square_root(dd) / (square_root(a) * square_root(b));
        w = c * z * z;
        u = 1.0 - t;
        f = asinh_parts(w);
        const V ff = w * f.ratio * f.ratio;
        p = sinh_parts<V>(u * u * ff);
        q = sinh_parts<V>(t * t * ff);
        scale = f.ratio / f.root;  // 2f / sinh(2f)
        at_x = 2.0 * u * p.ratio * p.cosh * scale / a;
        at_y = 2.0 * t * q.ratio * q.cosh * scale / b;
        rest = 2.0 * t * u * ff * p.ratio * q.ratio / f.root;
        inverse = 1.0 / (at_x + at_y + rest);
    }
};

struct Geodesic : RowOperation {
    static constexpr const char* name = "poincare.geodesic";
    static constexpr const char* signature = "t:scalar x:row y:row; c -> out:row";
    static constexpr const char* doc =
        "x (+) t (x) (-x (+) y): the point at parameter t of the geodesic from x (t = 0) to y (t = 1), "
        "computed on the "
        "hyperboloid. Range: c > 0, sqrt(c)|x|, sqrt(c)|y| < 1, sqrt(c) dist(x, y) max(|t|, |1 - t|) <= 700.";
    static constexpr int dots = 2, sums = 3, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Dist::reduce(in + 1, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const GeodesicParts<V> g(row.param[0], row.scalar[0], row.sum[0], row.sum[1], row.sum[2].hi);
        row.k[0] = g.at_x * g.inverse;
        row.k[1] = g.at_y * g.inverse;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[2];
    }
};

struct GeodesicVjp : RowOperation {
    static constexpr const char* name = "poincare.geodesic.vjp";
    static constexpr const char* signature =
        "t:scalar x:row y:row g:row; c -> g_t:scalar g_x:row g_y:row g_c:scalar";
    static constexpr const char* doc =
        "Gradient of <g, geodesic(t, x, y)> by t, x, y and c. Range: as geodesic.";
    static constexpr int dots = 2, sums = 6, coefficients = 5;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Dist::reduce(in + 1, sum);
        sum.add(3, in[3] * in[1]);
        sum.add(4, in[3] * in[2]);
        sum.add(5, in[3] * (in[2] - in[1]));
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V t = row.scalar[0];
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, dd = row.sum[2].hi;
        const V gx = row.sum[3].hi, gy = row.sum[4].hi, gd = row.sum[5].hi;
        const GeodesicParts<V> g(c, t, row.sum[0], row.sum[1], dd);
        const V a = g.a, b = g.b, u = g.u, i = g.inverse;
        const V value = (g.at_x * gx + g.at_y * gy) * i;
        const V by_x = (g.rest * gx - g.at_y * gd) * (i * i);  // by at_x, at_y, rest
        const V by_y = (g.rest * gy + g.at_x * gd) * (i * i);
        const V by_rest = -value * i;
        // by t: at_x is -2/a cosh(2p) 2f/sinh(2f), rest 2 f sinh(p - q)/cosh(f)
        const V ff = g.w * g.f.ratio * g.f.ratio;
        const V cosh_2p = 1.0 + 2.0 * u * u * ff * g.p.ratio * g.p.ratio;
        const V cosh_2q = 1.0 + 2.0 * t * t * ff * g.q.ratio * g.q.ratio;
        const V slant = u * g.p.ratio * g.q.cosh - t * g.q.ratio * g.p.cosh;  // sinh(p - q) / f
        row.result[0] =
            g.scale * 2.0 * (by_y * cosh_2q / b - by_x * cosh_2p / a) + by_rest * 2.0 * ff * slant / g.f.root;
        // by f^2: d(sinh(2p)/(2p))/d(p^2) = (cosh(p) difference + ratio^2) / 2 and alike; sinh(f)/f = 1/ratio
        const V e_p = g.p.ratio * g.p.cosh, e_q = g.q.ratio * g.q.cosh;
        const V e_p_slope = 0.5 * (g.p.cosh * g.p.difference + g.p.ratio * g.p.ratio);
        const V e_q_slope = 0.5 * (g.q.cosh * g.q.difference + g.q.ratio * g.q.ratio);
        const V inverse_ratio = 1.0 / g.f.ratio;
        // d(sinh(2f)/(2f))/d(f^2) over sinh(2f)/(2f), from cosh(f) - sinh(f)/f = f^2 difference
        const V f_difference = g.f.difference * inverse_ratio * inverse_ratio * inverse_ratio * g.f.root;
        const V e_f_slope = 0.5 * (g.f.root * f_difference + inverse_ratio * inverse_ratio) * g.scale;
        const V x_slope = 2.0 * u / a * g.scale * (u * u * e_p_slope - e_p * e_f_slope);
        const V y_slope = 2.0 * t / b * g.scale * (t * t * e_q_slope - e_q * e_f_slope);
        const V rest_slope = 2.0 * t * u / g.f.root *
                             (g.p.ratio * g.q.ratio +
                              0.5 * ff *
                                  (u * u * g.p.difference * g.q.ratio + t * t * g.p.ratio * g.q.difference -
                                   g.p.ratio * g.q.ratio * inverse_ratio / g.f.root));
        const V by_w =
            (by_x * x_slope + by_y * y_slope + by_rest * rest_slope) * g.scale;  // d(f^2)/dw = ratio/root
        const V ab = 1.0 / (a * b);
        const V by_a = -(by_x * g.at_x + by_w * g.w) / a, by_b = -(by_y * g.at_y + by_w * g.w) / b;
        const V by_dd = by_w * c * ab;
        row.k[0] = g.at_x * i;
        row.k[1] = -2.0 * c * by_a;
        row.k[2] = 2.0 * by_dd;
        row.k[3] = g.at_y * i;
        row.k[4] = -2.0 * c * by_b;
        row.result[3] = by_w * dd * ab - xx * by_a - yy * by_b;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[2] * (in[2] - in[1]);
        out[1] = k[0] * in[3] + (k[1] * in[1] - d);
        out[2] = k[3] * in[3] + (k[4] * in[2] + d);
    }
};

struct Projx : RowOperation {
    static constexpr const char* name = "poincare.projx";
    static constexpr const char* signature = "x:row; c eps:unit -> out:row";
    static constexpr const char* doc =
        "x, moved back to norm (1 - eps)/sqrt(c) along its ray if it is longer. Range: c > 0, 0 < eps < 1, "
        "any x.";
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const V norm = square_root<V>(row.param[0] * row.sum[0].hi);
        const double most = 1.0 - row.param[1];
        row.k[0] = choose<V>(norm > most, most / norm, V{} + 1.0);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct ProjxVjp : RowOperation {
    static constexpr const char* name = "poincare.projx.vjp";
    static constexpr const char* signature = "x:row g:row; c eps:unit -> g_x:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, projx(x)> by x and c. Range: as projx.";
    static constexpr int dots = 1, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0], most = 1.0 - row.param[1];
        const V xx = row.sum[0].hi, gx = row.sum[1].hi, norm = square_root<V>(c * xx);
        const auto moved = norm > most;
        const V k = choose<V>(moved, most / norm, V{} + 1.0);
        row.k[0] = k;
        row.k[1] = choose<V>(moved, -k * gx / xx, V{});
        row.result[1] = choose<V>(moved, -0.5 * k * gx / c, V{});
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

struct ToLorentz : RowOperation {
    static constexpr const char* name = "poincare.to_lorentz";
    static constexpr const char* signature = "x:row; c -> out:ambient";
    static constexpr const char* doc =
        "[(1 + c|x|^2)/sqrt(c), 2x] / (1 - c|x|^2): the same point on the hyperboloid with K = "
        "1/c." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V i = 1.0 / gap(c, row.sum[0]);
        row.k[0] = 2.0 * i;
        row.result[0] = (1.0 + c * row.sum[0].hi) * i / __builtin_sqrt(c);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct ToLorentzVjp : RowOperation {
    static constexpr const char* name = "poincare.to_lorentz.vjp";
    static constexpr const char* signature = "x:row g:ambient; c -> g_x:row g_c:scalar";
    static constexpr const char* doc = "Gradient of <g, to_lorentz(x)> by x and c." HORO_POINCARE_RANGE;
    static constexpr int dots = 1, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0], root = __builtin_sqrt(c);
        const V xx = row.sum[0].hi, i = 1.0 / gap(c, row.sum[0]), time = row.scalar[1] / root;
        const V by_gap = -2.0 * i * i * (time + row.sum[1].hi);
        row.k[0] = 2.0 * i;
        row.k[1] = -2.0 * c * by_gap;
        row.result[1] = -0.5 * time * (1.0 + c * xx) * i / c - xx * by_gap;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

}  // namespace poincare
}  // namespace horo
