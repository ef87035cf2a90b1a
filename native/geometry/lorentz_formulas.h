// More row operations of the Lorentz model; conventions and range as in lorentz.h. Concatenating points (the
// direct concatenation of hyperbolic layers) is lorentz.projx on their space parts side by side, and so is
// any map of the space part alone.
#pragma once
#include "geometry/formula.h"
#include "geometry/lorentz.h"

namespace horo {
namespace lorentz {

// ---- Squared distances: of the chord, -2K - 2<x,y>_L = 4K S, and along the geodesic, 4K asinh(sqrt(S))^2

template <bool chord>
struct SquaredDistance : PairOperation {
    static constexpr const char* name = chord ? "lorentz.sqdist" : "lorentz.dist2";
    static constexpr const char* signature = "x:ambient y:ambient; K -> out:scalar";
    static constexpr const char* doc = chord ? "-2K - 2<x,y>_L = 4K sinh^2(d/2), the squared Lorentzian "
                                               "distance, d = dist(x, y)/sqrt(K); computed "
                                               "as 4K S, S as in dist." HORO_LORENTZ_RANGE
                                             : "dist(x, y)^2, smooth where x = y." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int dots = 5, sums = 5, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const V ratio = chord ? V{} + 1.0 : asinh_parts(pair.s).ratio;
        row.result[0] = 4.0 * pair.k * pair.s * (ratio * ratio);
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}
};

template <bool chord>
struct SquaredDistanceVjp : PairOperation {
    static constexpr const char* name = chord ? "lorentz.sqdist.vjp" : "lorentz.dist2.vjp";
    static constexpr const char* signature =
        "x:ambient y:ambient g:scalar; K -> g_x:ambient g_y:ambient g_K:scalar";
    static constexpr const char* doc = chord ? "Gradient of g sqdist(x, y) by x, y and K." HORO_LORENTZ_RANGE
                                             : "Gradient of g dist2(x, y) by x, y and K." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int dots = 5, sums = 5, coefficients = 4;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_pair(in[0], in[1], sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Pair<V> pair(row);
        const V g = row.scalar[2];
        const AsinhParts<V> p = asinh_parts(pair.s);
        const V slope = chord ? V{} + 1.0 : p.ratio * p.inverse_root;  // of the value over 4K, by S
        const V e = 4.0 * pair.k * g * slope;
        row.k[0] = pair.own_x(e);
        row.k[1] = pair.own_y(e);
        row.k[2] = pair.delta(e);
        row.k[3] = pair.other(e);
        row.result[0] = row.result[1] = V{};
        // what the value and the slope have in common is taken off
        const V bent = chord ? V{} : pair.s * pair.s * p.ratio * p.difference;
        row.result[2] =
            g * (4.0 * bent + slope * (pair.advance * pair.advance) * (pair.inverse_x() * pair.inverse_y()));
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        DistVjp::combine(in, k, out);
    }
};
using Sqdist = SquaredDistance<true>;
using SqdistVjp = SquaredDistanceVjp<true>;
using Dist2 = SquaredDistance<false>;
using Dist2Vjp = SquaredDistanceVjp<false>;

// ---- Formulas on a pair of points

template <class X, class Y, class A, class S>
struct PairParts {
    X x;  // times
    Y y;
    A advance;  // y0 - x0
    S s;        // sinh^2(d/2)
};

// As Pair, from |xs|^2, |ys|^2, d = |ys - xs|^2, m = <xs, ys - xs>, p = <xs,ys> and |xs|^2 |ys|^2 - p^2.
template <class K, class X, class Y, class D, class M, class P, class G>
HORO_HD auto pair_parts(const K& k, const X& xx, const Y& yy, const D& dd, const M& m, const P& p,
                        const G& gram_xy) {
    const auto x = root(k + xx);
    const auto y = root(k + yy);
    const auto advance = (dd + 2.0 * m) / (x + y);
    const auto same = (dd + gram_xy / k) / (2.0 * (x * y + k + p));  // its derivative by k does not cancel
    const auto opposite = ((k * (xx + yy) + xx * yy) / (x * y + k) - p) / (2.0 * k);
    const auto s = pick(value_of(p) > 0.0, same, opposite);
    return PairParts<decltype(x), decltype(y), decltype(advance), decltype(s)>{x, y, advance, s};
}

// x, y - x and y, and what Pair needs of them
template <int at>
struct PointPair : Differences<at, 2> {
    static constexpr bool refined = true;
    static constexpr int dots = 5;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 1}, {0, 2}};
    static constexpr Determinant determinant{0, 1, 4, 2, 3};
    static constexpr Determinant angles[] = {{0, 1, 4}};
    static constexpr bool plain_angles = true;
    template <class Row>
    HORO_HD static auto parts(Row& row) {
        const auto yy = row.sum(Index<1>());
        const auto dd = row.sum(Index<2>());
        // by y - x it is the same, and exact for close points
        const auto by_y = row.gram(Index<0>(), Index<1>(), Index<4>());
        const auto by_d = row.gram(Index<0>(), Index<2>(), Index<3>());
        const auto gram = pick(value_of(yy) < value_of(dd), value_of(by_y), value_of(by_d));
        return pair_parts(row.curvature(), row.sum(Index<0>()), yy, dd, row.sum(Index<3>()),
                          row.sum(Index<4>()), with_value(by_y, gram));
    }
};

struct Geodesic : PointPair<1> {
    static constexpr const char* name = "lorentz.geodesic";
    static constexpr const char* signature = "t:scalar x:ambient y:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "(sinh((1 - t) d) x + sinh(t d) y) / sinh(d), d = dist(x, y)/sqrt(K): the point at parameter t of "
        "the geodesic "
        "from x (t = 0) to y (t = 1). Range: K > 0, d max(|t|, |1 - t|) <= 700; the stored times are not "
        "read.";
    static constexpr int terms = 3;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto pair = parts(row);
        const auto t = row.number(Index<0>());
        const auto u = 1.0 - t;
        const auto ratio = asinh_ratio(pair.s);
        const auto h2 = pair.s * (ratio * ratio);  // h = d/2
        const auto root_s = root(1.0 + pair.s);
        const auto t2 = t * t * h2;
        const auto u2 = u * u * h2;
        const auto t_parts = sinh_parts(value_of(t2));
        const auto u_parts = sinh_parts(value_of(u2));
        const auto t_ratio = sinh_ratio(t2, t_parts);
        const auto u_ratio = sinh_ratio(u2, u_parts);
        const auto inverse = 1.0 / root_s;
        const auto share = ratio * inverse;
        const auto rest = 2.0 * t * u * h2 * (u_ratio * t_ratio) * inverse;
        // sinh(t d) = 2 sinh(t h) cosh(t h)
        const auto at_y = t * t_ratio * cosh_root(t2, t_parts) * share;
        const auto at_x = u * u_ratio * cosh_root(u2, u_parts) * share;
        // the weights add up to 1 - rest: next to an end that of its point is 1 and a small term; near points
        // are combined on their difference
        const auto less_x = rest + at_y;
        const auto less_y = rest + at_x;
        const auto near = value_of(pair.s) < 1.0;
        const auto share_x = pick(absolute(value_of(less_x)) < 0.5, 1.0 - less_x, at_x);
        const auto share_y = pick(absolute(value_of(less_y)) < 0.5, 1.0 - less_y, at_y);
        const auto first = pick(near, 1.0 - rest, share_x);
        const auto step = only(near, share_y);
        const auto second = unless(near, share_y);
        row.coefficient(0, first);
        row.coefficient(1, step);
        row.coefficient(2, second);
        row.result(0, first * pair.x + (step * pair.advance + second * pair.y));
    }
};

struct MobiusAdd : Totals<0, 2> {
    static constexpr const char* name = "lorentz.mobius_add";
    static constexpr const char* signature = "x:ambient y:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "x (+) y = expmap(x, ptransp(o, x, logmap0(y))): the translation (Lorentz boost) that takes the "
        "origin o to x, "
        "applied to y; computed as xs + ys + (2 sqrt(K) S + y0 - x0)/(sqrt(K) + x0) xs, S as in dist, of "
        "(-xs) and "
        "ys." HORO_LORENTZ_RANGE;
    static constexpr bool refined = true;
    static constexpr int terms = 2, dots = 5;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 1}, {0, 2}};
    static constexpr Determinant determinant{0, 1, 4, 2, 3, -1};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto radius = root(k);
        const auto gram =
            pick(value_of(row.sum(Index<1>())) < value_of(row.sum(Index<2>())),
                 row.gram(Index<0>(), Index<1>(), Index<4>()), row.gram(Index<0>(), Index<2>(), Index<3>()));
        const auto pair = pair_parts(k, row.sum(Index<0>()), row.sum(Index<1>()), row.sum(Index<2>()),
                                     -row.sum(Index<3>()), -row.sum(Index<4>()), gram);
        // the time sqrt(K) (1 + 2S), with derivatives that do not cancel where one of the points is near the
        // origin
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto xy = row.sum(Index<4>());
        const auto by_x = pair.y + (xx * pair.y / (pair.x + radius) + xy) / radius;
        const auto by_y = pair.x + (yy * pair.x / (pair.y + radius) + xy) / radius;
        const auto x_is_less = value_of(xx) < value_of(yy);
        const auto least = pick(x_is_less, value_of(xx), value_of(yy));
        const auto opposite =
            (value_of(row.sum(Index<2>())) < least) | ((value_of(xy) < 0.0) & (least > value_of(k)));
        const auto time = radius * (1.0 + 2.0 * pair.s);
        // and what xs + ys lack, alike
        const auto share = (2.0 * radius * pair.s + pair.advance) / (radius + pair.x);
        const auto small = (yy / (pair.y + radius) + xy / (pair.x + radius)) / radius;
        row.coefficient(0, with_value(pick(opposite, share, small), share));
        row.constant(1, 1.0);
        row.result(0, with_value(pick(opposite, time, pick(x_is_less, by_x, by_y)), time));
    }
};

struct OxyAngle : PointPair<0> {
    static constexpr const char* name = "lorentz.oxy_angle";
    static constexpr const char* signature = "x:ambient y:ambient; K -> out:scalar";
    static constexpr const char* doc =
        "The exterior angle at x between the ray from the origin through x and the geodesic from x to y, in "
        "[0, pi]: y "
        "lies in the entailment cone of x where it is at most half_aperture(x) (Desai et al. 2023); computed "
        "as "
        "atan2(|xs ^ ys|, sqrt(K) (y0 - x0 - 2 S x0)), S as in dist; 0 where x is the origin or x = "
        "y." HORO_LORENTZ_RANGE;
    static constexpr const char* kinks = "where x, y and the origin lie on one geodesic";
    static constexpr int terms = 0;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto pair = parts(row);
        const auto by_y = row.gram(Index<0>(), Index<1>(), Index<4>());
        const auto by_d = row.gram(Index<0>(), Index<2>(), Index<3>());
        const auto across = pick(value_of(row.sum(Index<1>())) < value_of(row.sum(Index<2>())), by_y, by_d);
        const auto k = row.curvature();
        const auto radius = root(k);
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto dd = row.sum(Index<2>());
        const auto xy = row.sum(Index<4>());
        // sqrt(K) (y0 - x0 - 2 S x0), and equal forms that do not cancel near the origin
        const auto far = radius * (pair.advance - 2.0 * pair.s * pair.x);
        const auto x = root(1.0 + xx / k);
        const auto y = root(1.0 + yy / k);
        const auto close = x * row.sum(Index<3>()) - pair.advance / radius * xx;
        const auto apart = x * xy - y * xx;
        const auto least = pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy));
        const auto is_far = (value_of(xy) > 0.0) & (least > value_of(k));
        row.result(0, angle_of(root(across), pick(is_far, far, pick(value_of(dd) < least, close, apart))));
    }
};

struct Residual : PointPair<0> {
    static constexpr const char* name = "lorentz.residual";
    static constexpr const char* signature = "x:ambient y:ambient w:scalar; K -> out:ambient";
    static constexpr const char* doc =
        "sqrt(K) (x + w y) / | x + w y |_L, the Lorentzian residual connection: the centroid of x and y with "
        "weights 1 "
        "and w; the denominator is sqrt(K ((1 + w)^2 + 4 w S)), S as in dist. Range: K > 0, w >= 0; the "
        "stored times "
        "are not read.";
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto pair = parts(row);
        const auto w = row.number(Index<2>());
        const auto sum = 1.0 + w;
        const auto part = w / sum;
        const auto i = 1.0 / root(1.0 + 4.0 * (part / sum) * pair.s);
        row.coefficient(0, i);
        row.coefficient(1, part * i);
        row.result(0, (pair.x + part * pair.advance) * i);
    }
};

// ---- Others

struct MobiusScalarMul : Rows<1, 1> {
    static constexpr const char* name = "lorentz.mobius_scalar_mul";
    static constexpr const char* signature = "r:scalar x:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "r (x) x = expmap0(r logmap0(x)): r times as far from the origin. Range: K > 0, |r| dist0(x)/sqrt(K) "
        "<= 700; "
        "the stored time is not read.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto r = row.number(Index<0>());
        const auto w = row.sum(Index<0>()) / k;
        const auto ratio = asinh_ratio(w);
        const auto d2 = r * r * (w * (ratio * ratio));
        row.coefficient(0, r * ratio * sinh_ratio(d2));
        row.result(0, root(k) * cosh_root(d2));
    }
};

// v and the point x
struct VectorAtPoint : Formula {
    static constexpr int vectors = 2, dots = 2;
    static constexpr Product products[] = {{1, 1}, {0, 1}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[1];
        b[1] = in[0];
    }
    template <class V>
    HORO_HD static void pull(const V*, const V* t, V* out) {
        out[0] = t[1];
        out[1] = t[0];
    }
};

struct Transp0 : VectorAtPoint {
    static constexpr const char* name = "lorentz.transp0";
    static constexpr const char* signature = "y:ambient v:row; K -> out:ambient";
    static constexpr const char* doc =
        "v + <ys,v> / (K + sqrt(K) y0) (o + y): parallel transport of v, a tangent vector at the origin o "
        "without its "
        "time 0, to y along the geodesic." HORO_LORENTZ_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto radius = root(k);
        const auto vy = row.sum(Index<1>());
        row.constant(0, 1.0);
        row.coefficient(1, vy / (radius * (radius + root(k + row.sum(Index<0>())))));
        row.result(0, vy / radius);
    }
};

struct Transp0Back : VectorAtPoint {
    static constexpr const char* name = "lorentz.transp0back";
    static constexpr const char* signature = "x:ambient v:ambient; K -> out:row";
    static constexpr const char* doc =
        "vs - <xs,vs> / (x0 (sqrt(K) + x0)) xs: parallel transport of the tangent vector v from x to the "
        "origin along "
        "the geodesic, without its time 0." HORO_LORENTZ_RANGE;
    static constexpr bool precise = true;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto x = root(k + row.sum(Index<0>()));
        row.constant(0, 1.0);
        row.coefficient(1, -row.sum(Index<1>()) / (x * (root(k) + x)));
    }
};

struct Norm : Rows<0, 2> {
    static constexpr const char* name = "lorentz.norm";
    static constexpr const char* signature = "x:ambient v:ambient; K -> out:scalar";
    static constexpr const char* doc =
        "|v|_L of a tangent vector at x, computed as sqrt(K|vs|^2 + Gram(xs, vs)) / x0." HORO_LORENTZ_RANGE;
    static constexpr const char* kinks = "where v = 0";
    static constexpr bool refined = true;
    static constexpr int terms = 0, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    static constexpr Determinant determinant{0, 1, 2};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto k = row.curvature();
        const auto vv = row.sum(Index<1>());
        const auto xv = row.sum(Index<2>());
        const auto x2 = k + row.sum(Index<0>());
        const auto exact = (k * vv + row.gram(Index<0>(), Index<1>(), Index<2>())) / x2;
        row.result(0, root(with_value(vv - xv * xv / x2, exact)));
    }
};

struct HalfAperture : Rows<0, 1> {
    static constexpr const char* name = "lorentz.half_aperture";
    static constexpr const char* signature = "x:ambient; K min_radius -> out:scalar";
    static constexpr const char* doc =
        "asin(2 min_radius sqrt(K) / |xs|), the half aperture of the entailment cone at x (Ganea et al. "
        "2018; Desai et "
        "al. 2023, min_radius usually 0.1); pi/2 where |xs| <= 2 min_radius sqrt(K)." HORO_LORENTZ_RANGE;
    static constexpr int terms = 0;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.result(0, asin_of(2.0 * row.option(1) * root(row.curvature() / row.sum(Index<0>()))));
    }
};

struct Boost : Rows<0, 2> {
    static constexpr const char* name = "lorentz.boost";
    static constexpr const char* signature = "x:ambient v:row; K -> out:ambient";
    static constexpr const char* doc =
        "[g (x0 + <v,xs>), xs + (<v,xs>/(h (1 + h)) + x0/h) v], h = 1/g = sqrt(1 - |v|^2): the Lorentz boost "
        "by the "
        "velocity v, an isometry. Range: K > 0, |v| < 1; the stored time is not read.";
    static constexpr bool precise = true;
    static constexpr int terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto time = root(row.curvature() + row.sum(Index<0>()));
        const auto vx = row.sum(Index<2>());
        const auto h = root(row.unit_gap(Index<1>()));
        row.constant(0, 1.0);
        row.coefficient(1, (vx / (1.0 + h) + time) / h);
        row.result(0, (time + vx) / h);
    }
};

struct Rmsnorm : Formula {
    static constexpr const char* name = "lorentz.rmsnorm";
    static constexpr const char* signature = "x:ambient weight:row; K eps n -> out:ambient";
    static constexpr const char* doc =
        "Root mean square norm of the space part, the time recomputed: [sqrt(K + |s|^2), s], s = weight xs / "
        "sqrt(|xs|^2/n + eps), coordinate by coordinate; n is the number of coordinates, dim. Range: K, eps "
        "> 0; the "
        "stored time is not read.";
    static constexpr int vectors = 2, terms = 1;
    static constexpr Product products[] = {{1, 1}, {0, 0}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[0] * in[1];
        b[1] = in[0];
    }
    template <class V>
    HORO_HD static void pull(const V* in, const V* t, V* out) {
        out[0] = t[1] + t[0] * in[1];
        out[1] = t[0] * in[0];
    }
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto i = 1.0 / root(row.sum(Index<0>()) * (1.0 / row.option(2)) + row.option(1));
        row.coefficient(0, i);
        row.result(0, root(row.curvature() + row.sum(Index<1>()) * (i * i)));
    }
};

struct Relu : Formula {
    static constexpr const char* name = "lorentz.relu";
    static constexpr const char* signature = "x:ambient; K -> out:ambient";
    static constexpr const char* doc =
        "[sqrt(K + |s|^2), s], s = max(xs, 0) coordinate by coordinate." HORO_LORENTZ_RANGE;
    static constexpr const char* kinks = "where a coordinate is 0";
    static constexpr int vectors = 1, terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = choose<V>(in[0] < 0.0, V{}, in[0]);  // NaN stays
    }
    template <class V>
    HORO_HD static void pull(const V* in, const V* t, V* out) {
        out[0] = choose<V>(in[0] > 0.0, t[0], V{});
    }
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.constant(0, 1.0);
        row.result(0, root(row.curvature() + row.sum(Index<0>())));
    }
};

}  // namespace lorentz
}  // namespace horo
