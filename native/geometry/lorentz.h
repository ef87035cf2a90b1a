// Row operations of the Lorentz model of curvature -1/K, K > 0: points x with -x0^2 + |xs|^2 = -K, x0 > 0,
// time first.
//
// Only the space part of a point, and of a tangent vector at a point, is read (unless an operation says
// otherwise): the time it stores is rounded, x0 = sqrt(K + |xs|^2) and v0 = <xs,vs>/x0 are exact. So the
// gradient of a point's time is zero, and that of its space part is the gradient along the hyperboloid.
// Distances come from sinh^2(d/2), written on y - x and on the Gram determinant of x and y - x, which needs
// compensated sums far out; the textbook arcosh(-<x,y>_L/K) loses all digits there. Definitions: M. Nickel,
// D. Kiela, "Learning Continuous Hierarchies in the Lorentz Model" (2018).
#pragma once
#include "geometry/double_double.h"
#include "geometry/row_op.h"

namespace horo {
namespace lorentz {

#define HORO_LORENTZ_RANGE " Range: K > 0; the stored time of points and tangent vectors is not read."

// time of a point from |xs|^2
template <class V>
HORO_HD V time_of(double k, const Sum<V>& xx) {
    return square_root<V>(k + xx.hi);
}

// Operations on the sums of `reduce_pair`.
struct PairOperation : RowOperation {
    static constexpr Determinant determinant{0, 1, 4, 2, 3};
};

// A pair of points, from the sums of `reduce_pair`: |xs|^2, |ys|^2, |ys - xs|^2, <xs, ys - xs>, <xs,ys>.
template <class V>
struct Pair {
    double k, half;  // half: 1 / (2K); here and below quotients by one number are products with its inverse
    V x, y;          // times
    V advance;       // y0 - x0
    V gram_xy;       // |xs|^2 |ys|^2 - <xs,ys>^2
    V dd, m;         // |ys - xs|^2, <xs,ys>
    typename Mask<V>::type is_same, is_close;  // <xs,ys> > 0; |ys - xs| the least of three
    V share;  // 1 / (x0 y0 + K + <xs,ys>), where not the same 1 / (x0 y0 + K)
    V s;      // sinh^2(d/2)

    HORO_HD explicit Pair(const Solve<V>& row)
        : k(row.param[0]),
          half(0.5 / k),
          x(time_of(k, row.sum[0])),
          y(time_of(k, row.sum[1])),
          advance((row.sum[2].hi + 2.0 * row.sum[3].hi) / (x + y)),
          gram_xy(determinant_of<PairOperation>(row)),
          dd(row.sum[2].hi),
          m(row.sum[4].hi),
          is_same(m > 0.0) {
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, xy = x * y + k;
        share = 1.0 / choose<V>(is_same, xy + m, xy);
        const V part = choose<V>(is_same, k * dd + gram_xy, k * (xx + yy) + xx * yy) * share;
        s = choose<V>(is_same, part, part - m) * half;
        is_close = dd < choose<V>(xx < yy, xx, yy);
    }
    HORO_HD V inverse_x() const { return 1.0 / x; }
    HORO_HD V inverse_y() const { return 1.0 / y; }
    // d sinh^2(d/2) by xs is (y/x xs - ys) / (2K), by ys is (x/y ys - xs) / (2K). For close points these
    // cancel, and ys = xs + delta is put in: coefficients of xs (in the first), ys (in the second), of the
    // other point, and of delta.
    HORO_HD V own_x(V e) const { return e * choose<V>(is_close, advance, y) * (half * inverse_x()); }
    HORO_HD V own_y(V e) const { return e * choose<V>(is_close, -advance, x) * (half * inverse_y()); }
    HORO_HD V other(V e) const { return choose<V>(is_close, V{}, -half * e); }
    HORO_HD V delta(V e) const { return choose<V>(is_close, half * e, V{}); }
    // of s; where <xs,ys> > 0 from terms of one sign, as far out the two of the short form cancel
    HORO_HD V by_k() const {
        const V inverse = inverse_x() * inverse_y();
        const V far = -(k * (k * (1.0 + s)) * dd + (k + x * y) * gram_xy) * (inverse * share) * (2.0 * half);
        const V near = 0.5 * (advance * advance) * inverse - 2.0 * s;
        return choose<V>(is_same, far, near) * half;
    }
};

template <class V, class Acc>
HORO_HD void reduce_pair(V x, V y, Acc& sum) {
    const V d = y - x;
    sum.dot(0, x, x);
    sum.dot(1, y, y);
    sum.dot(2, d, d);
    sum.dot(3, x, d);
    sum.dot(4, x, y);
}

struct Dist : PairOperation {
    static constexpr const char* name = "lorentz.dist";
    static constexpr const char* signature = "x:ambient y:ambient; K -> out:scalar";
    static constexpr const char* doc =
        "sqrt(K) arcosh(-<x,y>_L / K), computed as 2 sqrt(K) asinh(sqrt(S)), S = (K|y - x|^2 + Gram(xs, ys)) "
        "/ "
        "(2K (x0 y0 + K + <xs,ys>))." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int dots = 5, sums = 5, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        row.result[0] = 2.0 * __builtin_sqrt(pair.k) * asinh_fraction(pair.s).angle;
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct DistVjp : PairOperation {
    static constexpr const char* name = "lorentz.dist.vjp";
    static constexpr const char* signature =
        "x:ambient y:ambient g:scalar; K -> g_x:ambient g_y:ambient g_K:scalar";
    static constexpr const char* doc =
        "Gradient of g dist(x, y) by x, y and K; zero by convention where x = y." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int dots = 5, sums = 5, coefficients = 4;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const V g = row.scalar[2] * __builtin_sqrt(pair.k), root = square_root(pair.s);
        const AsinhParts<V> p = asinh_parts(pair.s);
        const V e = choose<V>(pair.s == 0.0, V{}, g * p.inverse_root / root);
        row.k[0] = pair.own_x(e);
        row.k[1] = pair.own_y(e);
        row.k[2] = pair.delta(e);
        row.k[3] = pair.other(e);
        row.result[0] = row.result[1] = V{};
        // d/dK of 2 sqrt(K) asinh(sqrt(S)): what the two factors have in common is taken off
        row.result[2] =
            (2.0 * pair.half) * (g * root * pair.s * p.difference) +
            (0.5 * pair.half) * e * (pair.advance * pair.advance) * (pair.inverse_x() * pair.inverse_y());
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[2] * (in[1] - in[0]);
        out[0] = k[0] * in[0] + (k[3] * in[1] - d);
        out[1] = k[1] * in[1] + (k[3] * in[0] + d);
    }
};

struct Dist0 : RowOperation {
    static constexpr const char* name = "lorentz.dist0";
    static constexpr const char* signature = "x:ambient; K -> out:scalar";
    static constexpr const char* doc =
        "sqrt(K) asinh(|xs|/sqrt(K)), the distance from the origin." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const V xx = row.sum[0].hi;
        row.result[0] = __builtin_sqrt(row.param[0]) * asinh_fraction<V>(xx * (1.0 / row.param[0])).angle;
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct Dist0Vjp : RowOperation {
    static constexpr const char* name = "lorentz.dist0.vjp";
    static constexpr const char* signature = "x:ambient g:scalar; K -> g_x:ambient g_K:scalar";
    static constexpr const char* doc =
        "Gradient of g dist0(x) by x and K; zero by convention at the origin." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double inverse = 1.0 / row.param[0];
        const V g = row.scalar[1], xx = row.sum[0].hi, x = square_root(xx), w = xx * inverse;
        const AsinhParts<V> p = asinh_parts(w);
        row.k[0] = choose<V>(xx == 0.0, V{}, g * p.inverse_root / x);
        row.result[0] = V{};
        row.result[1] = 0.5 * inverse * (g * x * w * p.difference);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

// Operations on |xs|^2, |vs|^2 and <xs,vs> of a tangent vector v at x.
struct TangentOperation : RowOperation {
    static constexpr Determinant determinant{0, 1, 2};
};

// |v|_L^2 / K, from those sums and the inverse of the time of x
template <class V>
HORO_HD V tangent_square(const Solve<V>& row, V inverse_x) {
    const double k = row.param[0];
    return (k * row.sum[1].hi + determinant_of<TangentOperation>(row)) * (inverse_x * inverse_x) * (1.0 / k);
}

// A tangent vector of length n, beside the ray from the origin to x at radius r, |xs|^2 > K. What is made of
// times is a small difference on the way in, its derivative by K on the way out; so written it is a sum.
template <class V>
struct AlongRay {
    V space, n, exp;  // |xs| = sqrt(K) sinh(r), e^n
    V along, across;  // v's part along the ray, and the square of that across it
    HORO_HD AlongRay(const Solve<V>& row, V inverse_x, V w, const SinhParts<V>& p)
        : space(square_root(row.sum[0].hi)), n(square_root(w)), exp(p.cosh + n * p.ratio) {
        const V inverse = 1.0 / space;
        along = row.sum[2].hi * (inverse_x * inverse);
        across = determinant_of<TangentOperation>(row) * (inverse * inverse) * (1.0 / row.param[0]);
    }
    // cosh(n) x0 + sinh(n)/n v0 = sqrt(K) (cosh(r - n) + sinh(r) sinh(n) (n + along)/n), along <= 0
    HORO_HD V time(double k, V x, const SinhParts<V>& p) const {
        const double radius = __builtin_sqrt(k);
        const V left = (x + space) / (radius * exp);  // e^(r - n)
        return 0.5 * radius * (left + 1.0 / left) + p.ratio * space * across / (n - along);
    }
    // cosh(n) - sinh(n)/n v0/x0 = e^-n + sinh(n) (1 - along/n + along/n (1 - tanh(r))), along >= 0
    HORO_HD V slope(double k, V x, const SinhParts<V>& p) const {
        return 1.0 / exp + p.ratio * (across / (n + along) + along * (k / (x * (x + space))));
    }
};

struct Expmap : TangentOperation {
    static constexpr const char* name = "lorentz.expmap";
    static constexpr const char* signature = "x:ambient v:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "cosh(n) x + sinh(n)/n v, n = |v|_L / sqrt(K): the end of the geodesic from x with velocity v. "
        "Range: K > 0, "
        "n <= 700; the stored times are not read.";
    static constexpr bool refined = true;
    static constexpr int dots = 3, sums = 3, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);
        sum.dot(1, in[1], in[1]);
        sum.dot(2, in[0], in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0];
        const V x = time_of(k, row.sum[0]), inverse = 1.0 / x;
        const V w = tangent_square(row, inverse);
        const SinhParts<V> p = sinh_parts(w);
        row.k[0] = p.cosh;
        row.k[1] = p.ratio;
        row.result[0] = p.cosh * x + p.ratio * (row.sum[2].hi * inverse);
        if (is_double(row)) {
            const V back = AlongRay<V>(row, inverse, w, p).time(row.param[0], x, p);
            row.result[0] = choose<V>((row.sum[2].hi < 0.0) & (row.sum[0].hi > k), back, row.result[0]);
        }
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0] + k[1] * in[1];
    }
};

struct ExpmapVjp : TangentOperation {
    static constexpr const char* name = "lorentz.expmap.vjp";
    static constexpr const char* signature =
        "x:ambient v:ambient g:ambient; K -> g_x:ambient g_v:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, expmap(x, v)> by x, v and K. Range: as expmap.";
    static constexpr bool refined = true;
    static constexpr int dots = 3, sums = 5, coefficients = 8, plain_coefficients = 6;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Expmap::reduce(in, sum);
        sum.add(3, in[2] * in[0]);
        sum.add(4, in[2] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0], inverse_k = 1.0 / k;
        const V x = time_of(k, row.sum[0]), inverse = 1.0 / x;
        const V v = row.sum[2].hi * inverse, g = row.scalar[2];  // times
        const V w = tangent_square(row, inverse);
        const SinhParts<V> p = sinh_parts(w);
        const V gx = g * x + row.sum[3].hi, gv = g * v + row.sum[4].hi;
        const V by_w = 0.5 * (p.ratio * gx + p.difference * gv);
        const V by_v = p.ratio * g - 2.0 * inverse_k * (by_w * v);  // by the time of v, that of x fixed
        // on x and v less t x. Along the ray outwards v - v0/x0 x, which w leaves, is a small difference of
        // long vectors: there it is what is across x and the rest of what is along it.
        Sum<V> t{};
        V rest = -v * inverse, by_time = p.cosh - p.ratio * (v * inverse);
        if (is_double(row)) {
            const auto far = row.sum[0].hi > k;
            const Sum<V> along = row.sum[2] / row.sum[0];
            t = {choose<V>(far, along.hi, V{}), choose<V>(far, along.lo, V{})};
            rest = choose<V>(far, k * along.hi * (inverse * inverse), rest);
            const V out = AlongRay<V>(row, inverse, w, p).slope(k, x, p);
            by_time = choose<V>((row.sum[2].hi > 0.0) & far, out, by_time);
        }
        row.k[0] = p.cosh;
        row.k[2] = by_v * inverse;
        row.k[1] = p.cosh * g * inverse + row.k[2] * rest;
        row.k[3] = p.ratio;
        row.k[4] = 2.0 * inverse_k * by_w;
        row.k[5] = p.ratio * g * inverse + row.k[4] * rest;
        row.k[6] = t.hi;
        row.k[7] = t.lo;
        row.result[0] = row.result[1] = V{};
        // w by K is -(w + Gram/K^2) / x0^2, in which nothing cancels
        const V gram_xv = determinant_of<TangentOperation>(row) * (inverse_k * inverse_k);
        row.result[2] = 0.5 * g * by_time * inverse - by_w * (w + gram_xv) * (inverse * inverse);
    }
    template <class V>
    HORO_HD static void combine_with(const V* in, V across, const V* k, V* out) {
        out[0] = k[0] * in[2] + (k[1] * in[0] + k[2] * across);
        out[1] = k[3] * in[2] + (k[5] * in[0] + k[4] * across);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        combine_with(in, across_part(in[1], k[6], k[7], in[0]), k, out);
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        combine_with(in, in[1], k, out);
    }
};

struct Expmap0 : RowOperation {
    static constexpr const char* name = "lorentz.expmap0";
    static constexpr const char* signature = "v:row; K -> out:ambient";
    static constexpr const char* doc =
        "[sqrt(K) cosh(n), sinh(n)/n v], n = |v| / sqrt(K): expmap at the origin, v without its time 0. "
        "Range: K > 0, "
        "n <= 700.";
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0];
        const SinhParts<V> p = sinh_parts<V>(row.sum[0].hi * (1.0 / k));
        row.k[0] = p.ratio;
        row.result[0] = __builtin_sqrt(k) * p.cosh;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct Expmap0Vjp : RowOperation {
    static constexpr const char* name = "lorentz.expmap0.vjp";
    static constexpr const char* signature = "v:row g:ambient; K -> g_v:row g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, expmap0(v)> by v and K. Range: as expmap0.";
    static constexpr int dots = 0, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0], inverse = 1.0 / k, root = __builtin_sqrt(k);
        const V w = row.sum[0].hi * inverse, g = row.scalar[1];
        const SinhParts<V> p = sinh_parts(w);
        const V by_w = 0.5 * (g * root * p.ratio + p.difference * row.sum[1].hi);
        row.k[0] = p.ratio;
        row.k[1] = 2.0 * inverse * by_w;
        row.result[1] = (0.5 / root) * g * p.cosh - inverse * (by_w * w);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

struct Logmap : PairOperation {
    static constexpr const char* name = "lorentz.logmap";
    static constexpr const char* signature = "x:ambient y:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "arcosh(w)/sqrt(w^2 - 1) (y - w x), w = -<x,y>_L / K: the velocity at x of the geodesic that reaches "
        "y at time 1; "
        "computed as asinh(sqrt(S))/sqrt(S (1 + S)) (y - x - 2S x), S as in dist." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int dots = 5, sums = 5, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const AsinhParts<V> p = asinh_parts(pair.s);
        row.k[0] = p.ratio * p.inverse_root;
        row.k[1] = -2.0 * pair.s * row.k[0];
        row.result[0] = row.k[0] * (pair.advance - 2.0 * pair.s * pair.x);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * (in[1] - in[0]) + k[1] * in[0];
    }
};

struct LogmapVjp : PairOperation {
    static constexpr const char* name = "lorentz.logmap.vjp";
    static constexpr const char* signature =
        "x:ambient y:ambient g:ambient; K -> g_x:ambient g_y:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, logmap(x, y)> by x, y and K." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int dots = 5, sums = 7, coefficients = 6;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
        sum.add(5, in[2] * in[0]);
        sum.add(6, in[2] * (in[1] - in[0]));
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const V x = pair.x, s = pair.s, h = row.scalar[2];
        const AsinhParts<V> p = asinh_parts(s);
        const V i = p.inverse_root, g = p.ratio * i, slope = -0.5 * (p.difference * i + g * (i * i));
        const V inverse_x = pair.inverse_x(), inverse_y = pair.inverse_y();
        const V xx = row.sum[0].hi, m = row.sum[3].hi, hs = row.sum[5].hi;
        const V hx = hs + h * x;  // with the times
        // near the origin the time of the result, and what it gives to the derivative by K, are small
        // differences
        const auto near = xx < pair.k;
        const V near_value =
            row.sum[6].hi - 2.0 * s * hs + h * (2.0 * pair.half) * (x * m - pair.advance * xx);
        const V value = choose<V>(near, near_value, row.sum[6].hi + h * pair.advance - 2.0 * s * hx);
        const V by_s = slope * value - 2.0 * g * hx;
        const V by_x = -g * h * (1.0 + 2.0 * s), by_y = g * h;  // by the times
        row.k[0] = -g * (1.0 + 2.0 * s);
        row.k[1] = pair.own_x(by_s) + by_x * inverse_x;
        row.k[2] = pair.delta(by_s);
        row.k[5] = pair.other(by_s);
        row.k[3] = g;
        row.k[4] = pair.own_y(by_s) + by_y * inverse_y;
        row.result[0] = row.result[1] = V{};
        const V near_time = pair.half * (pair.advance * xx * inverse_y - m + 4.0 * s * xx);
        const V by_time = choose<V>(near, near_time, -0.5 * (pair.advance * inverse_y + 2.0 * s));
        row.result[2] =
            (slope * value - 2.0 * g * choose<V>(near, hs, hx)) * pair.by_k() + g * h * by_time * inverse_x;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V d = k[2] * (in[1] - in[0]);
        out[0] = k[0] * in[2] + (k[1] * in[0] + (k[5] * in[1] - d));
        out[1] = k[3] * in[2] + (k[4] * in[1] + (k[5] * in[0] + d));
    }
};

struct Logmap0 : RowOperation {
    static constexpr const char* name = "lorentz.logmap0";
    static constexpr const char* signature = "x:ambient; K -> out:row";
    static constexpr const char* doc =
        "sqrt(K) asinh(|xs|/sqrt(K)) xs/|xs|: logmap at the origin, without its time 0." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.k[0] = asinh_parts<V>(row.sum[0].hi * (1.0 / row.param[0])).ratio;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct Logmap0Vjp : RowOperation {
    static constexpr const char* name = "lorentz.logmap0.vjp";
    static constexpr const char* signature = "x:ambient g:row; K -> g_x:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, logmap0(x)> by x and K." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double inverse = 1.0 / row.param[0];
        const V w = row.sum[0].hi * inverse, gx = row.sum[1].hi * inverse;
        const AsinhParts<V> p = asinh_parts(w);
        row.k[0] = p.ratio;
        row.k[1] = -p.difference * gx;
        row.result[0] = V{};
        row.result[1] = 0.5 * p.difference * w * gx;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

// <y,v>_L for a tangent vector v at x, from the sums of `reduce_pair` and <xs,vs>, <ys - xs,vs>. Far out the
// two terms of the definition cancel; there it is the part of v across xs plus the part along it.
template <class V>
HORO_HD V inner_tangent(const Pair<V>& pair, const Sum<V>* sum) {
    const V x = pair.x, y = pair.y, xx = sum[0].hi, m = sum[4].hi;
    const V inverse_x = pair.inverse_x(), inverse_xx = 1.0 / xx;
    const V near = sum[6].hi - sum[5].hi * inverse_x * pair.advance;
    const Sum<V> p = two_product<V>(xx, sum[6].hi), q = two_product<V>(sum[3].hi, sum[5].hi);
    const V across = ((p.hi - q.hi) + (p.lo - q.lo) + (xx * sum[6].lo + sum[0].lo * sum[6].hi) -
                      (sum[3].hi * sum[5].lo + sum[3].lo * sum[5].hi)) *
                     inverse_xx;
    const V same = (pair.k * sum[3].hi * (xx + m) - xx * pair.gram_xy) / (m * x + y * xx);
    const V along = choose<V>(pair.is_same, same, m * x - y * xx) * (inverse_xx * inverse_x) * sum[5].hi;
    return choose<V>(xx > pair.k, across + along, near);
}

struct Ptransp : RowOperation {
    static constexpr const char* name = "lorentz.ptransp";
    static constexpr const char* signature = "x:ambient y:ambient v:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "v + <y,v>_L / (K - <x,y>_L) (x + y): parallel transport of the tangent vector v from x to y along "
        "the geodesic; "
        "the denominator is 2K (1 + S), S as in dist." HORO_LORENTZ_RANGE;
    static constexpr bool precise = true, tested = true;
    static constexpr unsigned derived = 1 << 2 | 1 << 3 | 1 << 6;
    static constexpr int dots = 8, sums = 8, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce_tangent(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
        sum.dot(5, in[0], in[2]);
        sum.dot(6, in[1] - in[0], in[2]);
    }
    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_tangent(in, sum);
        sum.dot(7, in[1], in[2]);
    }
    template <class V>
    HORO_HD static void derive(Sum<V>* sum) {
        derive_differences<PairOperation>(sum);
        sum[6].hi = sum[7].hi - sum[5].hi;
    }
    // What the error of the sums may grow by on its way to a result, which may be shorter than v by
    // x0/sqrt(K): x0 y0 (x0 + y0) / (sqrt(K) (K - <x,y>_L)).
    template <class V>
    HORO_HD static V growth(const Sum<V>* sum, double k) {
        const V x = time_of(k, sum[0]), y = time_of(k, sum[1]), xy = x * y;
        return xy * (x + y) / (__builtin_sqrt(k) * (k + (xy - sum[4].hi)));
    }
    template <class V>
    HORO_HD static auto certain(const Sum<V>* sum, const double* param, double error) {
        const V g = growth(sum, param[0]);
        return (g > 0.0) & (error * g <= 0x1p-32);
    }
    // A long vector that comes in from far out is a small difference of long ones, in the coefficient and in
    // every coordinate: both in pairs of doubles, as long as those hold the denominator.
    template <class V>
    struct Shift {
        Sum<V> x, y, v, denominator, f;  // times; K - <x,y>_L; <y,v>_L over it
        typename Mask<V>::type held;
        HORO_HD Shift(const Pair<V>& pair, const Sum<V>* sum) {
            const Sum<V> k = exactly(V{} + pair.k);
            x = square_root(k + sum[0]);
            y = square_root(k + sum[1]);
            v = sum[5] / x;
            const Sum<V> xy = x * y;
            denominator = k + (xy - sum[4]);
            f = (sum[7] - y * v) / denominator;
            held = xy.hi < 0x1p40 * (2.0 * pair.k * (1.0 + pair.s));
        }
    };
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const Shift<V> shift(pair, row.sum);
        const V otherwise = inner_tangent(pair, row.sum) * pair.half / (1.0 + pair.s);
        row.k[0] = choose<V>(shift.held, shift.f.hi, otherwise);
        row.k[1] = choose<V>(shift.held, shift.f.lo, V{});
        row.result[0] = (shift.v + Sum<V>{row.k[0], row.k[1]} * (shift.x + shift.y)).hi;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const Sum<V> f{k[0], k[1]};
        out[0] = total(add(add(exactly(in[2]), times_number(f, in[0])), times_number(f, in[1])));
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        out[0] = in[2] + k[0] * (in[0] + in[1]);
    }
};

struct PtranspVjp : RowOperation {
    static constexpr const char* name = "lorentz.ptransp.vjp";
    static constexpr const char* signature =
        "x:ambient y:ambient v:ambient g:ambient; K -> g_x:ambient g_y:ambient g_v:ambient g_K:scalar";
    static constexpr const char* doc =
        "Gradient of <g, ptransp(x, y, v)> by x, y, v and K." HORO_LORENTZ_RANGE;
    static constexpr bool precise = true, tested = true;
    static constexpr unsigned derived = Ptransp::derived;
    static constexpr int dots = 9, sums = 9, coefficients = 12;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Ptransp::reduce(in, sum);
        sum.dot(8, in[3], in[0] + in[1]);
    }
    template <class V>
    HORO_HD static void derive(Sum<V>* sum) {
        Ptransp::derive(sum);
    }
    // As of the transport, lost twice.
    template <class V>
    HORO_HD static auto certain(const Sum<V>* sum, const double* param, double error) {
        const V g = Ptransp::growth(sum, param[0]);
        return (g > 0.0) & (error * (g * g) <= 0x1p-30);
    }
    // The gradients are f gs + b vs + c xs + e ys, f gs + l vs + d ys + e xs and gs + b xs + l ys, with
    // b = (h - l y)/x, c = b (f - v/x), d = (f (h - l x) - l v)/y, e = l f. For close points far out b is
    // nearly -l, c and d are nearly -e, and as pairs say by how much they are not.
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const V x = pair.x, y = pair.y, h = row.scalar[3];
        const V inverse_x = pair.inverse_x(), inverse_y = pair.inverse_y(), v = row.sum[5].hi * inverse_x;
        const V i = pair.half / (1.0 + pair.s);
        const typename Ptransp::Shift<V> shift(pair, row.sum);
        const V f = inner_tangent(pair, row.sum) * i;
        const V hs = row.sum[8].hi + h * (x + y);
        const V l = hs * i, m = row.sum[4].hi, lf = l * f;
        const V by_v = -i * (h * (m + row.sum[1].hi) + y * row.sum[8].hi);  // h - l y
        const V by_u = -i * (h * (m + row.sum[0].hi) + x * row.sum[8].hi);  // h - l x
        const auto close = pair.is_close & (row.sum[0].hi > pair.k);
        const V less_v = h - l * pair.advance, less_u = h + l * pair.advance;
        const V turn = by_v * (v * inverse_x);
        const auto with = [&](V near, V common, V far) {
            const Sum<V> s = two_sum<V>(near, -common);
            return Sum<V>{choose<V>(close, s.hi, far), choose<V>(close, s.lo, V{})};
        };
        Sum<V> k[6] = {exactly(f),
                       with(less_v * inverse_x, l, by_v * inverse_x),
                       with((f * less_v - turn) * inverse_x, lf, (f * by_v - turn) * inverse_x),
                       with((f * less_u - l * v) * inverse_y, lf, (f * by_u - l * v) * inverse_y),
                       exactly(lf),
                       exactly(l)};
        const Sum<V> both = shift.x + shift.y, half = exactly(V{} + 0.5), reach = row.sum[4] + row.sum[1];
        if (is_double(row)) {
            const Sum<V> ht = exactly(h), reach_x = row.sum[4] + row.sum[0];
            const Sum<V> pl = (row.sum[8] + ht * both) / shift.denominator;
            const Sum<V> less_y = ht * reach + shift.y * row.sum[8];
            const Sum<V> less_x = ht * reach_x + shift.x * row.sum[8];
            const Sum<V> b = -less_y / (shift.denominator * shift.x);
            const Sum<V> c = b * (shift.f - shift.v / shift.x);
            const Sum<V> d = -(shift.f * less_x / shift.denominator + pl * shift.v) / shift.y;
            const Sum<V> held[6] = {shift.f, b, c, d, pl * shift.f, pl};
            for (int j = 0; j < 6; ++j)
                k[j] = {choose<V>(shift.held, held[j].hi, k[j].hi),
                        choose<V>(shift.held, held[j].lo, k[j].lo)};
        }
        for (int j = 0; j < 6; ++j) {
            row.k[j] = k[j].hi;
            row.k[6 + j] = k[j].lo;
        }
        row.result[0] = row.result[1] = row.result[2] = V{};
        // what the gradient of f by K gives along g (the first) and h (the second), where pairs of doubles
        // hold it
        const Sum<V> bent = shift.v * (shift.y - shift.x) / (shift.x * shift.x) - shift.f * both / shift.x;
        const Sum<V> f_k = half * bent * both / (shift.y * shift.denominator);
        // of the time, (<y,vs> + f (<x,y> + |y|^2)) / y0
        const Sum<V> time = (row.sum[7] + shift.f * reach) / shift.y;
        const Sum<V> h_k = (f_k * reach - half * time / shift.y) / shift.y;
        const V plain_f_k =
            (v * pair.advance * inverse_x - f * (x + y)) * inverse_x * (0.5 * (x + y) * inverse_y) * i;
        const V plain_h_k = 0.5 * (f * (x + y) * inverse_y - v * inverse_x) * inverse_x;
        row.result[3] =
            choose<V>(shift.held, (row.sum[8] * f_k + exactly(h) * h_k).hi, hs * plain_f_k + h * plain_h_k);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const auto times = [&](int i, V a) { return times_number<V>({k[i], k[6 + i]}, a); };
        const Sum<V> fg = times(0, in[3]);
        out[0] = total(add(add(add(fg, times(1, in[2])), times(2, in[0])), times(4, in[1])));
        out[1] = total(add(add(add(fg, times(5, in[2])), times(3, in[1])), times(4, in[0])));
        out[2] = total(add(add(exactly(in[3]), times(1, in[0])), times(5, in[1])));
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[3] + (k[2] * in[0] + k[4] * in[1]) + k[1] * in[2];
        out[1] = k[0] * in[3] + (k[3] * in[1] + k[4] * in[0]) + k[5] * in[2];
        out[2] = in[3] + (k[1] * in[0] + k[5] * in[1]);
    }
};

struct Proju : RowOperation {
    static constexpr const char* name = "lorentz.proju";
    static constexpr const char* signature = "x:ambient u:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "u + <x,u>_L x / K: any ambient vector u, read with its time, to the tangent space at x. Range: K > "
        "0; the "
        "stored time of x is not read.";
    static constexpr int dots = 0, sums = 2, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0];
        const V x = time_of(k, row.sum[0]), u = row.scalar[1];
        row.k[0] = (row.sum[1].hi - x * u) / k;
        row.result[0] = u + row.k[0] * x;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = in[1] + k[0] * in[0];
    }
};

// The gradient of proju; `sign` is that of the stored time in it.
template <class V>
HORO_HD void proju_gradient(const Solve<V>& row, double sign) {
    const double k = row.param[0];
    const V x = time_of(k, row.sum[0]), u = sign * row.scalar[1], h = row.scalar[2];
    const V l = (row.sum[1].hi - x * u) / k, m = (row.sum[2].hi + h * x) / k;
    const V by_x = l * h - m * u;
    row.k[0] = l;
    row.k[1] = m;
    row.k[2] = by_x / x;
    row.result[0] = V{};
    row.result[1] = sign * (h - m * x);
    // near the origin the two terms of by_x / (2x) - l m cancel; there they are multiplied out
    const V xx = row.sum[0].hi, a = row.sum[1].hi, b = row.sum[2].hi;
    const V near = (xx * u * h - a * b - (a * h - b * u) * (0.5 * k + xx) / x) / (k * k);
    row.result[2] = choose<V>(xx < k, near, 0.5 * by_x / x - l * m);
}

struct ProjuVjp : RowOperation {
    static constexpr const char* name = "lorentz.proju.vjp";
    static constexpr const char* signature =
        "x:ambient u:ambient g:ambient; K -> g_x:ambient g_u:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, proju(x, u)> by x, u and K. Range: as proju.";
    static constexpr int dots = 0, sums = 3, coefficients = 3;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Proju::reduce(in, sum);
        sum.add(2, in[0] * in[2]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        proju_gradient(row, 1.0);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[2] + (k[1] * in[1] + k[2] * in[0]);
        out[1] = in[2] + k[1] * in[0];
    }
};

struct Egrad2rgrad : RowOperation {
    static constexpr const char* name = "lorentz.egrad2rgrad";
    static constexpr const char* signature = "x:ambient g:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "proju(x, Jg), J = diag(-1, 1, ..): the Riemannian gradient of an ambient Euclidean one, read with "
        "its time. "
        "Range: as proju.";
    static constexpr int dots = 0, sums = 2, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Proju::reduce(in, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0];
        const V x = time_of(k, row.sum[0]), g = row.scalar[1];
        row.k[0] = (row.sum[1].hi + x * g) / k;
        row.result[0] = row.k[0] * x - g;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        Proju::combine(in, k, out);
    }
};

struct Egrad2rgradVjp : RowOperation {
    static constexpr const char* name = "lorentz.egrad2rgrad.vjp";
    static constexpr const char* signature =
        "x:ambient g:ambient h:ambient; K -> g_x:ambient g_g:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <h, egrad2rgrad(x, g)> by x, g and K. Range: as proju.";
    static constexpr int dots = 0, sums = 3, coefficients = 3;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        ProjuVjp::reduce(in, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        proju_gradient(row, -1.0);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        ProjuVjp::combine(in, k, out);
    }
};

struct Inner : RowOperation {
    static constexpr const char* name = "lorentz.inner";
    static constexpr const char* signature = "x:ambient y:ambient; K -> out:scalar";
    static constexpr const char* doc =
        "<x,y>_L = -x0 y0 + <xs,ys> of any vectors, read with their times; K is ignored.";
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.result[0] = row.sum[0].hi - row.scalar[0] * row.scalar[1];
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

struct InnerVjp : RowOperation {
    static constexpr const char* name = "lorentz.inner.vjp";
    static constexpr const char* signature =
        "x:ambient y:ambient g:scalar; K -> g_x:ambient g_y:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of g <x,y>_L by x and y, times included; that by K is zero.";
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const V g = row.scalar[2];
        row.k[0] = g;
        row.result[0] = -g * row.scalar[1];
        row.result[1] = -g * row.scalar[0];
        row.result[2] = V{};
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1];
        out[1] = k[0] * in[0];
    }
};

struct Projx : RowOperation {
    static constexpr const char* name = "lorentz.projx";
    static constexpr const char* signature = "x:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "[sqrt(K + |xs|^2), xs]: onto the hyperboloid along the time axis." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.k[0] = V{};
        row.result[0] = time_of(row.param[0], row.sum[0]);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V*, V* out) {
        out[0] = in[0];
    }
};

struct ProjxVjp : RowOperation {
    static constexpr const char* name = "lorentz.projx.vjp";
    static constexpr const char* signature = "x:ambient g:ambient; K -> g_x:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, projx(x)> by x and K." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.k[0] = row.scalar[1] / time_of(row.param[0], row.sum[0]);
        row.result[0] = V{};
        row.result[1] = 0.5 * row.k[0];
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = in[1] + k[0] * in[0];
    }
};

struct ToPoincare : RowOperation {
    static constexpr const char* name = "lorentz.to_poincare";
    static constexpr const char* signature = "x:ambient; K -> out:row";
    static constexpr const char* doc =
        "sqrt(K) xs / (sqrt(K) + x0): the same point in the ball with c = 1/K." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 1, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.k[0] = 1.0 / (1.0 + square_root<V>(1.0 + row.sum[0].hi / row.param[0]));
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
    }
};

struct ToPoincareVjp : RowOperation {
    static constexpr const char* name = "lorentz.to_poincare.vjp";
    static constexpr const char* signature = "x:ambient g:row; K -> g_x:ambient g_K:scalar";
    static constexpr const char* doc = "Gradient of <g, to_poincare(x)> by x and K." HORO_LORENTZ_RANGE;
    static constexpr int dots = 0, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.add(0, in[0] * in[0]);
        sum.add(1, in[0] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double k = row.param[0];
        const V w = row.sum[0].hi / k, root = square_root<V>(1.0 + w), f = 1.0 / (1.0 + root);
        row.k[0] = f;
        row.k[1] = -f * f * row.sum[1].hi / (root * k);
        row.result[0] = V{};
        row.result[1] = -0.5 * row.k[1] * w;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[1] + k[1] * in[0];
    }
};

}  // namespace lorentz
}  // namespace horo
