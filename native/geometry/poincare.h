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

struct MobiusAdd {
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

struct MobiusAddVjp {
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
        // By c, twice: the first form is exact near x = -y at the rim, the second where x or y vanishes.
        const V rim = a * yy * n - ss * r;
        const V inner =
            (gx * yy * (a * a - c * c * xx * ss) - gy * (xx + 2.0 * xy + c * xx * yy * (1.0 + a))) * (i * i);
        row.result[2] = choose<V>(choose<V>(a < b, b, a) < 0.5, rim, inner);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V s = k[2] * (in[0] + in[1]);
        out[0] = k[0] * in[2] + (s + k[3] * in[0]);
        out[1] = k[1] * in[2] + (s + k[4] * in[1]);
    }
};

struct Egrad2rgrad {
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

struct Egrad2rgradVjp {
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

struct Dist {
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
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), dd = row.sum[2].hi;
        const V z = square_root<V>(dd) / (square_root(a) * square_root(b));
        row.result[0] = 2.0 * z * asinh_parts<V>(c * z * z).ratio;
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct DistVjp {
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
        const V g = row.scalar[2], xx = row.sum[0].hi, yy = row.sum[1].hi, dd = row.sum[2].hi;
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]);
        const V d = square_root<V>(dd), i = 1.0 / (square_root(a) * square_root(b));
        const V z = d * i;
        const AsinhParts<V> p = asinh_parts<V>(c * z * z);
        const V e = g * i / p.root;  // g / sqrt(D), D = a b (1 + c z^2)
        row.k[0] = choose<V>(dd == 0.0, V{}, 2.0 * e / d);
        row.k[1] = 2.0 * c * e * d / a;
        row.k[2] = 2.0 * c * e * d / b;
        row.result[2] = e * d * (xx / a + yy / b) - g * z * z * z * p.difference;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[0] * (in[1] - in[0]);
        out[0] = k[1] * in[0] - d;
        out[1] = k[2] * in[1] + d;
    }
};

struct Expmap0 {
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

struct Expmap0Vjp {
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

struct Logmap0 {
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
        const V a = gap(c, row.sum[0]);
        row.k[0] = asinh_parts<V>(c * row.sum[0].hi / a).ratio / square_root(a);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct Logmap0Vjp {
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
        // d/d(c|x|^2) of the factor; with w = c|x|^2/a it is ((1+w) - (1+w)^(3/2) difference) / 2
        const V slope = 0.5 * (1.0 - p.difference / square_root(a)) / a;
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
    TanhParts<V> tanh;
    V a, b, s, kappa, inverse;  // inverse = 1 / (s + a b)

    HORO_HD ExpmapParts(double c, const Sum<V>& xx, const Sum<V>& vv, const Sum<V>& xv)
        : tanh(tanh_parts<V>(c * vv.hi / (gap(c, xx) * gap(c, xx)))), a(gap(c, xx)), b(tanh.sech2) {
        kappa = tanh.ratio / a;
        // Against the ray through x the sum of squares cancels near the rim; there it is the squared
        // difference of the two radii, itself taken from the gaps, plus the share of the angle.
        const V p = c * xx.hi, q = c * kappa * kappa * vv.hi, m = c * kappa * xv.hi;
        const V radii = square_root<V>(p * q);
        const V by_gap = (b - a) / (square_root(p) + square_root(q));
        const V by_norm = square_root(p) - square_root(q);
        const V difference = choose<V>(a < 0.5, by_gap, by_norm);
        const Sum<V> pq = two_product<V>(xx.hi, vv.hi), mm = two_product<V>(xv.hi, xv.hi);
        V cross = (pq.hi - mm.hi) + (pq.lo - mm.lo) + (xx.hi * vv.lo + xx.lo * vv.hi - 2.0 * xv.hi * xv.lo);
        cross = choose<V>(cross < 0.0, V{}, cross) * (c * c * kappa * kappa);
        const V against = difference * difference + 2.0 * cross / (radii - m);
        s = choose<V>(m < 0.0, against, p + q + 2.0 * m);
        inverse = 1.0 / (s + a * b);
    }
};

struct Expmap {
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
        row.k[0] = (p.s + p.a) * p.inverse;
        row.k[1] = p.tanh.ratio * p.inverse;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0] + k[1] * in[1];
    }
};

struct ExpmapVjp {
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
        const V a = p.a, b = p.b, s = p.s, i = p.inverse, kappa = p.kappa;
        // the gradient of x (+) y by y = kappa v
        const V gs = gx + kappa * gv;
        const V r = (gs - b * gx) * (i * i), n = (s * gx + a * gs) * (i * i);
        const V yg = a * i, yx = -2.0 * c * a * r, yv = kappa * (yx + 2.0 * c * a * n);
        // ... and through kappa = tanh(t)/(t a), t^2 = c|v|^2/a^2
        const V along = yg * gv + yx * xv + yv * vv;
        const V bend = along * p.tanh.difference / (a * a * a);
        const V rise = along * b / (a * a);
        row.k[0] = (s + a) * i;
        row.k[1] = yx - 2.0 * c * s * r + 2.0 * c * rise;
        row.k[2] = kappa * yx;
        row.k[3] = kappa * yg;
        row.k[4] = kappa * yx;
        row.k[5] = kappa * yv - c * bend;
        // By c, twice: the sum of the two gradients above, and for short v, where that cancels, term by term
        // from out = (1 + c T^2 vv / (a D)) x + T / D v, T = tanh(t) / t, D = 1 + 2 c T xv / a + c xx T^2
        // t^2.
        const V far = a * kappa * kappa * vv * n - s / c * r - 0.5 * bend * vv + rise * xx;
        const V t = p.tanh.ratio, w = c * vv / (a * a);
        const V w_c = vv * (1.0 + c * xx) / (a * a * a), t_c = -0.5 * p.tanh.difference * w_c;
        const V d_c =
            (2.0 * xv / a * (t / a + c * t_c) + xx * t * (t * w + 2.0 * c * t_c * w + c * t * w_c)) * i;
        const V near =
            gx * (t * t * vv / a * i) * (1.0 + c * (2.0 * t_c / t + xx / a - d_c)) + gv * (t_c - t * d_c) * i;
        row.result[2] = choose<V>(w < 1.0, near, far);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[2] + (k[1] * in[0] + k[2] * in[1]);
        out[1] = k[3] * in[2] + (k[4] * in[0] + k[5] * in[1]);
    }
};

struct Logmap {
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
        const V ab = square_root(a) * square_root(b);
        const AsinhParts<V> p = asinh_parts<V>(dd / (ab * ab));
        const V f = p.ratio / (p.root * b);
        row.k[0] = f * a;
        row.k[1] = -f * dd;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * (in[1] - in[0]) + k[1] * in[0];
    }
};

struct LogmapVjp {
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
        const V root_ab = square_root(a) * square_root(b), ab = root_ab * root_ab;
        const V w = c * dd / ab;
        const AsinhParts<V> p = asinh_parts(w);
        const V g = p.ratio / p.root, i = 1.0 / (1.0 + w);
        const V slope = -0.5 * (p.difference / p.root + g * i);  // dG/dw
        const V f = g / b, m = (a * gd - c * dd * gx) / b;
        const V by_a = f * gd - m * slope * w / a;
        const V by_b = -0.5 * m * (g + 1.0) * i / b;
        const V by_dd = c * (m * slope / ab - f * gx);  // at fixed gaps
        row.k[0] = f * a;
        row.k[1] = -f * (a + c * dd);
        row.k[2] = 2.0 * by_dd;
        row.k[3] = -2.0 * c * by_a;
        row.k[4] = -2.0 * c * by_b;
        row.result[2] = by_dd * (dd / c) - by_a * xx - by_b * yy;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[2] * (in[1] - in[0]);
        out[0] = k[1] * in[2] + (k[3] * in[0] - d);
        out[1] = k[0] * in[2] + (k[4] * in[1] + d);
    }
};

}  // namespace poincare
}  // namespace horo
