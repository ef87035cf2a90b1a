// Row operations of the kappa-stereographic model of any curvature kappa: the Poincare ball with c = -kappa
// for kappa < 0, flat space with twice the Euclidean lengths for kappa = 0, the stereographic projection of
// the sphere of radius 1/sqrt(kappa) for kappa > 0. Every value is smooth through kappa = 0 and so is its
// gradient by kappa: what a formula takes of kappa are functions of kappa |x|^2 that are analytic at zero.
// Definitions: G. Becigneul, O. Ganea, "Constant curvature graph convolutional networks" (2020), with
// lambda_x = 2 / (1 + kappa|x|^2).
//
// On the sphere no point is excluded: only infinity, the antipode of the origin, has no coordinates, and what
// would reach it is very large.
#pragma once
#include "geometry/poincare_formulas.h"

namespace horo {
namespace stereographic {

#define HORO_STEREOGRAPHIC_RANGE \
    " Range: any kappa; sqrt(-kappa)|x| < 1 for every point where kappa is negative, else any x."

// Formulas of the ball that hold for either sign: their c is -kappa.
template <class F>
struct AnyCurvature : F {
    static constexpr bool negated = true;
};

struct LambdaX : AnyCurvature<poincare::LambdaX> {
    static constexpr const char* name = "stereographic.lambda_x";
    static constexpr const char* signature = "x:row; kappa:any -> out:scalar";
    static constexpr const char* doc = "2 / (1 + kappa|x|^2), the conformal factor." HORO_STEREOGRAPHIC_RANGE;
};

struct Inner : AnyCurvature<poincare::Inner> {
    static constexpr const char* name = "stereographic.inner";
    static constexpr const char* signature = "x:row u:row v:row; kappa:any -> out:scalar";
    static constexpr const char* doc =
        "lambda_x^2 <u,v>, the inner product of two tangent vectors at x." HORO_STEREOGRAPHIC_RANGE;
};

struct Norm : AnyCurvature<poincare::Norm> {
    static constexpr const char* name = "stereographic.norm";
    static constexpr const char* signature = "x:row v:row; kappa:any -> out:scalar";
    static constexpr const char* doc =
        "lambda_x |v|, the length of a tangent vector at x." HORO_STEREOGRAPHIC_RANGE;
};

struct Transp0 : AnyCurvature<poincare::Transp0> {
    static constexpr const char* name = "stereographic.transp0";
    static constexpr const char* signature = "y:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "(1 + kappa|y|^2) v: parallel transport of v from the origin to y along the "
        "geodesic." HORO_STEREOGRAPHIC_RANGE;
};

struct Transp0Back : AnyCurvature<poincare::Transp0Back> {
    static constexpr const char* name = "stereographic.transp0back";
    static constexpr const char* signature = "x:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "v / (1 + kappa|x|^2): parallel transport of v from x to the origin along the "
        "geodesic." HORO_STEREOGRAPHIC_RANGE;
};

struct Egrad2rgrad : AnyCurvature<Rows<0, 2>> {
    static constexpr const char* name = "stereographic.egrad2rgrad";
    static constexpr const char* signature = "x:row g:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "g / lambda_x^2: the Riemannian gradient of a Euclidean one." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 2, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.gap(Index<0>());
        row.constant(0, 0.0);
        row.coefficient(1, 0.25 * a * a);
    }
};

// Whether the model is the ball; the same for all rows of a call.
template <class Row>
HORO_HD bool hyperbolic(const Row& row) {
    return row.option(0) < 0;
}

// A number that is the same for all rows, as one of each.
template <class V>
HORO_HD V each(V, double x) {
    return V{} + x;
}
template <class V, unsigned m>
HORO_HD Dual<V, m> each(V, const Dual<V, m>& x) {
    return x;
}

// 1 and kappa for what is of degree zero in these two; or, for points beyond the equator, 1/kappa and 1, as
// large terms would cancel in the derivative by kappa.
template <class One, class K, class M>
struct Units {
    One one;
    K kappa;
    M far;
};
template <class C, class V>
HORO_HD auto units_for(const C& c, V square) {  // of the nearest point
    const auto kappa = each(square, -c);
    const auto far = value_of(kappa) * square > 1.0;
    const auto one = unless(value_of(kappa) * square <= 1.0, 1.0 / kappa, 1.0);
    const auto k = unless(far, kappa, 1.0);
    return Units<decltype(one), decltype(k), decltype(far)>{one, k, far};
}

// x, x + y, y (or x, y - x, y) and the other inputs: |x|^2, |y|^2, <x,y> and the square of the middle one.
template <class Vectors>
struct Pairs : AnyCurvature<Vectors> {
    static constexpr int dots = 3;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {0, 2}, {1, 1}};
};

// The denominator 1 + 2c m + c^2 |x|^2 |y|^2 of x (+) y, m = <x,y>, on the sphere (or flat), where it may
// come close to zero: the sum of two squares, the first of 1 + c m.
template <class C, class E, class G>
HORO_HD auto sphere_denominator(const C& c, const E& even, const G& gram) {
    return even * even + c * c * gram;
}

struct MobiusAdd : Pairs<Totals<0, 2>> {
    static constexpr const char* name = "stereographic.mobius_add";
    static constexpr const char* signature = "x:row y:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "x (+) y = ((1 - 2k<x,y> - k|y|^2) x + (1 + k|x|^2) y) / (1 - 2k<x,y> + k^2|x|^2|y|^2), k = "
        "kappa." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 3;
    static constexpr Determinant angles[] = {{0, 1, 2}};
    static constexpr bool plain_angles = true;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto xy = row.sum(Index<2>());
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto inner = 1.0 + 2.0 * c * xy + (c * xx) * (c * yy);
        const auto sphere = sphere_denominator(c, 1.0 + c * xy, row.gram(Index<0>(), Index<1>(), Index<2>()));
        const auto is_ball = hyperbolic(row) ? value_of(xx) == value_of(xx) : value_of(xx) != value_of(xx);
        const auto t =
            poincare::mobius_terms(c, a, b, xx, yy, row.sum(Index<3>()), pick(is_ball, inner, sphere));
        // far out on the sphere 1 and a term that is not small cancel
        const auto far = (value_of(t.sum) == 0.0) &
                         (hyperbolic(row) ? value_of(t.x) != value_of(t.x) : value_of(t.x) < 0.5);
        row.coefficient(0, pick(far, (1.0 + 2.0 * c * xy + c * yy) / sphere, t.x));
        row.coefficient(1, t.sum);
        row.coefficient(2, t.y);
    }
};

struct MobiusScalarMul : AnyCurvature<Rows<1, 1>> {
    static constexpr const char* name = "stereographic.mobius_scalar_mul";
    static constexpr const char* signature = "r:scalar x:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "r (x) x = expmap0(r logmap0(x)): r times as far from the origin." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto r = row.number(Index<0>());
        const auto xx = row.sum(Index<0>());
        if (hyperbolic(row)) {
            row.coefficient(0, tanh_multiple(r * poincare::artanh_ratio(c, row.gap(Index<0>()), xx), c * xx));
        } else {
            const auto k = -c * xx;
            const auto turn = r * atan_ratio(k);
            const auto angle2 = turn * turn * k;
            row.coefficient(0, turn * sin_ratio(angle2) / cos_root(angle2));
        }
    }
};

struct Expmap0 : AnyCurvature<Rows<0, 1>> {
    static constexpr const char* name = "stereographic.expmap0";
    static constexpr const char* signature = "v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "tan_kappa(|v|) v/|v|, tan_kappa(r) = tanh(sqrt(-kappa) r)/sqrt(-kappa), r or tan(sqrt(kappa) "
        "r)/sqrt(kappa). Range: any kappa and v.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto w = row.curvature() * row.sum(Index<0>());
        if (hyperbolic(row))
            row.coefficient(0, tanh_ratio(w));
        else
            row.coefficient(0, sin_ratio(-w) / cos_root(-w));
    }
};

struct Logmap0 : AnyCurvature<Rows<0, 1>> {
    static constexpr const char* name = "stereographic.logmap0";
    static constexpr const char* signature = "x:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "arctan_kappa(|x|) x/|x|, the inverse of expmap0; NaN outside the ball." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto xx = row.sum(Index<0>());
        if (hyperbolic(row))
            row.coefficient(0, poincare::artanh_ratio(c, row.gap(Index<0>()), xx));
        else
            row.coefficient(0, atan_ratio(-c * xx));
    }
};

struct Expmap : AnyCurvature<Rows<0, 2>> {
    static constexpr const char* name = "stereographic.expmap";
    static constexpr const char* signature = "x:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "x (+) expmap0(lambda_x v / 2): the end of the geodesic from x with velocity v. Range: any kappa and "
        "v; "
        "sqrt(-kappa)|x| < 1 where kappa is negative.";
    static constexpr int terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    static constexpr Determinant angles[] = {{0, 1, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto xx = row.sum(Index<0>());
        const auto vv = row.sum(Index<1>());
        const auto xv = row.sum(Index<2>());
        const auto gram_xv = row.gram(Index<0>(), Index<1>(), Index<2>());
        if (hyperbolic(row)) {
            const auto a = row.gap(Index<0>());
            const auto w = c * vv / (a * a);
            const auto ratio = tanh_ratio(w);
            const auto length = ratio / a;  // y = length v
            const auto q = w * (ratio * ratio);
            const auto scale = c * length;
            const auto d = poincare::translation(a, sech2(w), c * xx, q, scale * xv, scale * scale * gram_xv);
            row.coefficient(0, 1.0 + a * q / d);
            row.coefficient(1, ratio / d);
        } else {  // all times cos^2, as the tangent has poles
            const auto units = units_for(c, value_of(xx));
            const auto whole = units.one + units.kappa * xx;
            const auto k = units.kappa / whole;  // kappa over 1 + kappa|x|^2
            const auto w = vv * k * (units.one / whole);
            const auto ratio = sin_ratio(w);
            const auto cosine = cos_root(w);
            const auto scale = -(k * ratio);
            const auto one = cosine + scale * xv;
            const auto d = one * one + scale * scale * gram_xv;
            const auto square = ratio * ratio;
            const auto near = 1.0 - vv * k * square / d;
            // far out 1 and a term that is not small cancel
            const auto far = (cosine * (cosine + 2.0 * (scale * xv)) - w * square) / d;
            row.coefficient(0, pick(value_of(near) < 0.5, far, near));
            row.coefficient(1, ratio * cosine / d);
        }
    }
};

// sqrt(x) atan_ratio(k x) and sqrt(x) angle_ratio(k x, q): half of a distance on the sphere. Far out its
// derivatives by x and q are much smaller than those of the factors. Zero, by convention, at x = 0.
template <class V, class K>
HORO_HD V arc(V x, K k) {
    return square_root(x) * atan_ratio<V>(k * x);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto arc(const Dual<V, a>& x, const Dual<V, b>& k) {
    const V r = square_root(x.value), w = k.value * x.value;
    const AtanParts<V> p = atan_parts(w);
    return chain<V>(r * p.ratio, 0.5 * inverse_or_zero<V>(r * (1.0 + w)), x,
                    -0.5 * r * x.value * p.difference, k);
}
template <class V, class K, class W>
HORO_HD V arc(V x, K k, W q) {
    return square_root(x) * angle_ratio<V>(k * x, q);
}
template <class V, unsigned a, unsigned b, unsigned d>
HORO_HD auto arc(const Dual<V, a>& x, const Dual<V, b>& k, const Dual<V, d>& q) {
    const V r = square_root(x.value), p = k.value * x.value, one = V{} + 1.0;
    const auto ratio = angle_ratio(Dual<V, 1>{p, {one}}, Dual<V, 2>{q.value, {one}});
    const V by_x = 0.5 * square_root(q.value) * inverse_or_zero<V>(r * (p + q.value));
    const auto by_points = chain<V>(r * ratio.value, by_x, x, r * ratio.slope[1], q);
    return chain<V>(by_points.value, one, by_points, r * x.value * ratio.slope[0], k);
}

struct Logmap : Pairs<Differences<0, 2>> {
    static constexpr const char* name = "stereographic.logmap";
    static constexpr const char* signature = "x:row y:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "(2/lambda_x) logmap0(-x (+) y): the velocity at x of the geodesic that reaches y at time 1; NaN "
        "outside the "
        "ball, and for antipodes on the sphere." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 3;
    static constexpr Determinant angles[] = {{0, 1, 2}};
    static constexpr bool plain_angles = true;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto dd = row.sum(Index<3>());
        if (hyperbolic(row)) {
            const auto a = row.gap(Index<0>());
            const auto ab = a * row.gap(Index<1>());
            const auto scale = a * asinh_ratio(c * dd / ab) / (root(ab) * root(c * dd + ab));
            row.coefficient(0, -(scale * (c * dd)));
            row.coefficient(1, scale * a);
            row.constant(2, 0.0);
        } else {
            const auto xx = row.sum(Index<0>());
            const auto yy = row.sum(Index<1>());
            const auto xy = row.sum(Index<2>());
            const auto least = pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy));
            const auto units = units_for(c, least);
            const auto one = units.one;
            const auto k = units.kappa;
            const auto a = one + k * xx;
            const auto even = pick(units.far, one + k * xy, row.gap(Index<2>()));
            const auto d = sphere_denominator(k, even, row.gram(Index<0>(), Index<1>(), Index<2>()));
            const auto scale = a * atan_ratio(one * k * dd / d) / d;
            // y - x has no digits of a small one next to a large one
            const auto close = value_of(dd) < least;
            row.coefficient(0, scale * pick(close, k * dd, k * (yy - 2.0 * xy) - one));
            row.coefficient(1, only(close, scale * a));
            row.coefficient(2, unless(close, scale * a));
        }
    }
};

struct Dist : Pairs<Differences<0, 2>> {
    static constexpr const char* name = "stereographic.dist";
    static constexpr const char* signature = "x:row y:row; kappa:any -> out:scalar";
    static constexpr const char* doc =
        "2 arctan_kappa(|-x (+) y|); twice the Euclidean distance for kappa = 0; NaN outside the "
        "ball." HORO_STEREOGRAPHIC_RANGE;
    static constexpr const char* kinks = "where x = y and for antipodes";
    static constexpr int terms = 0;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto dd = row.sum(Index<3>());
        if (hyperbolic(row)) {
            const auto z2 = dd / (row.gap(Index<0>()) * row.gap(Index<1>()));
            row.result(0, 2.0 * root(z2) * asinh_ratio(c * z2));
        } else {
            const auto d =
                sphere_denominator(c, row.gap(Index<2>()), row.gram(Index<0>(), Index<1>(), Index<2>()));
            row.result(0, 2.0 * arc(dd, -c, d));
        }
    }
};

struct Dist0 : AnyCurvature<Rows<0, 1>> {
    static constexpr const char* name = "stereographic.dist0";
    static constexpr const char* signature = "x:row; kappa:any -> out:scalar";
    static constexpr const char* doc =
        "2 arctan_kappa(|x|), the distance from the origin; NaN outside the ball." HORO_STEREOGRAPHIC_RANGE;
    static constexpr const char* kinks = "at the origin";
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto xx = row.sum(Index<0>());
        if (hyperbolic(row))
            row.result(0, 2.0 * root(xx) * poincare::artanh_ratio(c, row.gap(Index<0>()), xx));
        else
            row.result(0, 2.0 * arc(xx, -c));
    }
};

// A number as a variable of its own, and a function of two such as one of what the two are made of: between
// them there are two derivatives instead of all.
template <unsigned bit, class V>
HORO_HD V variable(V x) {
    return x;
}
template <unsigned bit, class V, unsigned m>
HORO_HD Dual<V, bit> variable(const Dual<V, m>& x) {
    return {x.value, {V{} + 1.0}};
}
template <class F, class X, class Y>
HORO_HD F compose(F f, X, Y) {
    return f;
}
template <class V, unsigned a, unsigned b>
HORO_HD auto compose(const Dual<V, 3>& f, const Dual<V, a>& x, const Dual<V, b>& y) {
    return chain<V>(f.value, f.slope[0], x, f.slope[1], y);
}

struct GeodesicFormula : Pairs<Differences<1, 2>> {
    static constexpr const char* name = "stereographic.geodesic";
    static constexpr const char* signature = "t:scalar x:row y:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "x (+) t (x) (-x (+) y): the point at parameter t of the geodesic from x (t = 0) to y (t = 1), "
        "computed on the "
        "hyperboloid or the sphere; NaN for antipodes." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 3;
    // |at_x x + at_y y|^2, plain as far as that has no difference, else from that of the lengths and the
    // angle.
    template <class V>
    HORO_HD static V square(V plain, V xx, V yy, V xy, V gram, V at_x, V at_y) {
        const V rx = square_root(xx), ry = square_root(yy), both = at_x * at_y;
        const V along = absolute(at_x) * rx - absolute(at_y) * ry;
        const V opposite = along * along + 2.0 * absolute(both) * gram / (rx * ry + absolute(xy));
        return choose<V>(both * xy < 0.0, opposite, plain);
    }
    // With f half the distance in units of the radius, p = (1-t) f and q = t f. Of t and 1-t the larger is
    // `large`, of the end it is the weight of: so weights are 1 and a small term at either end.
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto t = row.number(Index<0>());
        const auto u = 1.0 - t;
        const auto dd = row.sum(Index<3>());
        const auto first = value_of(t) * value_of(t) <= value_of(u) * value_of(u);
        const auto small = pick(first, t, u);
        if (hyperbolic(row)) {
            const auto a = row.gap(Index<0>());
            const auto b = row.gap(Index<1>());
            const auto large = pick(first, u, t);
            const auto w = c * dd / (a * b);
            const auto ratio = asinh_ratio(w);
            const auto f2 = w * (ratio * ratio);
            const auto small2 = small * small * f2;
            const auto large2 = large * large * f2;
            const auto small_parts = sinh_parts(value_of(small2));
            const auto large_parts = sinh_parts(value_of(large2));
            const auto gap_large = pick(first, a, b);
            const auto gap_small = pick(first, b, a);
            // of sinh(2p)/a, sinh(2q)/b and 2 sinh(p) sinh(q)/cosh(f), the second and third over the first
            const auto reach =
                small * sinh_ratio(small2, small_parts) * gap_large / cosh_root(large2, large_parts);
            const auto other = reach * cosh_root(small2, small_parts) /
                               (large * sinh_ratio(large2, large_parts) * gap_small);
            const auto rest = reach * f2 / ratio;
            const auto whole = 1.0 / (1.0 + other + rest);
            const auto part = other * whole;
            const auto near = value_of(w) < 1.0;
            const auto at_y = pick(first, part, whole);
            row.coefficient(0, pick(near, 1.0 - rest * whole, pick(first, whole, part)));
            row.coefficient(1, only(near, at_y));
            row.coefficient(2, unless(near, at_y));
        } else {
            const auto gram = row.gram(Index<0>(), Index<1>(), Index<2>());
            const auto xx = row.sum(Index<0>());
            const auto yy = row.sum(Index<1>());
            const auto xy = row.sum(Index<2>());
            const auto units = units_for(c, pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy)));
            const auto one = units.one;
            const auto k = units.kappa;
            const auto a = one + k * xx;
            const auto b = one + k * yy;
            const auto d = sphere_denominator(k, pick(units.far, one + k * xy, row.gap(Index<2>())), gram);
            const auto apart = k * dd;
            const auto ratio = angle_ratio(one * apart, d);
            const auto f2_over_one = apart * (ratio * ratio);
            const auto f2 = one * f2_over_one;
            const auto ab = root(a * b);
            const auto radius = root(d);
            const auto s = variable<1>(f2);
            const auto r = variable<2>(small);
            const auto parts = sine_parts(value_of(f2));
            const auto sin_f = sin_ratio(s, parts);
            const auto cos_f = with_value(
                cos_root(s, parts), pick(value_of(f2) < 1.0, parts.cos, value_of(radius) / value_of(ab)));
            const auto small2 = r * r * s;
            const auto small_parts = sine_parts(value_of(small2));
            const auto small_sin = r * sin_ratio(small2, small_parts);
            const auto small_cos = cos_root(small2, small_parts);
            // the larger angle from the whole and the smaller: next to antipodes, where all is divided by the
            // cosine of the whole, that keeps its digits
            const auto large_sin = sin_f * small_cos - cos_f * small_sin;
            const auto large_cos = cos_f * small_cos + s * sin_f * small_sin;
            const auto at_large = compose(large_sin * large_cos, f2, small) * (ratio * pick(first, b, a));
            const auto at_small = compose(small_sin * small_cos, f2, small) * (ratio * pick(first, a, b));
            const auto rest = -(compose(large_sin * small_sin, f2, small) * (f2_over_one * ab));
            // What is left of their common denominator, sqrt(d) (1 + z)/2, z the height on the unit sphere,
            // once each end has given its weight, if it lies on the far half, or that times -kappa|.|^2:
            // sin 2f -+ sin 2p -+ sin 2q, whichever does not cancel, is a product.
            const auto large_square = pick(first, xx, yy);
            const auto small_square = pick(first, yy, xx);
            const auto far_large = value_of(c * large_square) < -1.0;
            const auto far_small = value_of(c * small_square) < -1.0;
            const auto both = pick(far_small, large_sin, large_cos) * pick(far_large, small_sin, small_cos);
            const auto left =
                pick(units.far, rest,
                     compose(both, f2, small) * ab * unless(far_large == far_small, ratio * radius, 1.0));
            const auto sum = left + at_large * unless(far_large, c * large_square, 1.0) +
                             at_small * unless(far_small, c * small_square, 1.0);
            // Next to the point without coordinates, z = -1, it vanishes as the square of the distance. There
            // it is taken from the numerator n, whose 4k|n|^2 = d (1 - z^2) does not cancel.
            const auto plain = at_large * (at_large * large_square + 2.0 * at_small * xy) +
                               at_small * at_small * small_square;
            const auto nn = with_value(
                plain, square(value_of(plain), value_of(large_square), value_of(small_square), value_of(xy),
                              value_of(gram), value_of(at_large), value_of(at_small)));
            const auto low = 2.0 * value_of(one) * value_of(sum) < value_of(radius);
            const auto i = 1.0 / pick(low, k * nn / (radius - one * sum), sum);
            const auto part = at_small * i;
            // 1 and a small term, as far as that does not cancel
            const auto less = (at_small + rest) * i;
            const auto whole = pick((absolute(value_of(part)) < 1.0) & (absolute(value_of(less)) < 0.5),
                                    1.0 - less, at_large * i);
            // near points on their difference, unless that is long beside y: it then has no digits of it
            const auto near = (value_of(one * apart) < value_of(d)) &
                              ((value_of(c * xx) > -1.0) | (value_of(dd) < 4.0 * value_of(yy)));
            const auto at_y = pick(first, part, whole);
            row.coefficient(0, pick(near, 1.0 - rest * i, pick(first, whole, part)));
            row.coefficient(1, only(near, at_y));
            row.coefficient(2, unless(near, at_y));
        }
    }
};

// gyr[x, y] on the sphere next to where its denominator D = 1 + 2c<x,y> + c^2|x|^2|y|^2 vanishes, where it
// turns fast: v + 2c (<y,v> x - <X,v>/D Y), X = x + c|x|^2 y and Y = y + c|y|^2 x, of lengths |x| sqrt(D) and
// |y| sqrt(D). Both, and 1 - c^2|x|^2|y|^2, are small there, and differences that are taken in pairs.
template <class V>
struct FastTurn {
    V even, d, excess;             // 1 + c<x,y>, D, 1 - c^2|x|^2|y|^2
    Sum<V> cxx, cyy;               // c|x|^2, c|y|^2: Y = y + cyy x
    typename Mask<V>::type holds;  // where to use it: both terms are then below 4|c||x||y|
    HORO_HD FastTurn(double c, const Sum<V>& xx, const Sum<V>& yy, const Sum<V>& xy)
        : even(gap(-c, xy)),
          d(sphere_denominator(c, even, gram(xx, yy, xy))),
          cxx(exactly(V{} + c) * xx),
          cyy(exactly(V{} + c) * yy) {
        excess = (exactly(V{} + 1.0) - cxx * cyy).hi;
        holds = d < 1.0;
    }
    // <X,v> and <Y,v> from <x,v> and <y,v>
    HORO_HD V on_x(Sum<V> x, Sum<V> y) const { return (x + cxx * y).hi; }
    HORO_HD V on_y(Sum<V> x, Sum<V> y) const { return (y + cyy * x).hi; }
};

// The geodesic of the unit sphere is C N + S T with C = cos(s f), S = sin(s f), s = 2t - 1, f half the angle
// between the points X and Y, N and T the directions of X + Y and Y - X. In space these are n (b x + a y) and
// m (a y - b x), a = 1 + k|x|^2, b = 1 + k|y|^2. Next to antipodes d = (1 + k<x,y>)^2 + k^2 gram is small, a
// square of cos(f), and X + Y is a short sum of long vectors, which wants pairs.
template <class V>
struct WideEnds {
    double k;
    FastTurn<V> turn;
    Sum<V> a, b;
    // Where that is to be used: d below 1 and small beside a b; points beyond the equator, one each side.
    typename Mask<V>::type antipodal, either;
    HORO_HD WideEnds(double kappa, const Sum<V>& xx, const Sum<V>& yy, const Sum<V>& xy)
        : k(kappa),
          turn(-kappa, xx, yy, -xy),
          a(exactly(V{} + 1.0) - turn.cxx),
          b(exactly(V{} + 1.0) - turn.cyy) {
        antipodal = turn.holds & (4.0 * turn.d < a.hi * b.hi);
        either = antipodal | ((xy.hi < 0.0) & (a.hi > 4.0) & (b.hi > 4.0));
    }
};

template <class V>
struct WideGeodesic : WideEnds<V> {
    using Ends = WideEnds<V>;
    using Ends::a, Ends::b, Ends::k, Ends::turn;
    V d, delta2, sin_f, cos_f, f;  // delta2 = k|y - x|^2 = a b - d
    typename Mask<V>::type first;  // of t and 1 - t the smaller, r, is t
    V r, sin_r, cos_r;             // of r f
    V reach, C, S;                 // reach = C - cos(f)
    V n, m, n_height, t_height;    // of N and T
    V rise, difference2;           // 1 + the height of the point; k|a y - b x|^2

    HORO_HD WideGeodesic(const Ends& ends, V t, const Sum<V>& xx, const Sum<V>& yy, const Sum<V>& xy, V dd)
        : Ends(ends), d(turn.d), delta2(k * dd) {
        const V root = 1.0 / square_root<V>(a.hi * b.hi), root_d = square_root(d),
                delta = square_root(delta2);
        sin_f = delta * root;
        cos_f = root_d * root;
        f = delta * angle_ratio<V>(delta2, d);
        const V u = 1.0 - t;
        first = t * t <= u * u;
        r = choose<V>(first, t, u);
        const V angle = r * f;
        const SineParts<V> parts = sine_parts<V>(angle * angle);
        sin_r = angle * parts.ratio;
        cos_r = parts.cos;
        reach = 2.0 * sin_r * (sin_f * cos_r - cos_f * sin_r);
        C = cos_f + reach;
        const V less = sin_f - 2.0 * sin_r * (sin_r * sin_f + cos_r * cos_f);
        S = choose<V>(first, -less, less);
        n = root / root_d;
        m = root / delta;
        n_height = turn.excess * n;
        t_height = k * (xx.hi - yy.hi) * m;
        // On the lower half the height is that of a short vector in space: its parts along x and across it.
        const V rx = square_root<V>(k * xx.hi), ry = square_root<V>(k * yy.hi), product = rx * ry;
        const V square = k * k * gram(xx, yy, xy), versine = square / (product * (product - k * xy.hi));
        const V sum_along = turn.excess / (1.0 + product) * (rx - ry) + a.hi * ry * versine;
        const V difference_along = a.hi * ry * (1.0 - versine) + b.hi * rx;
        const V across2 = a.hi * a.hi * square / (k * xx.hi);
        const V along = C * n * sum_along - S * m * difference_along, across = C * n + S * m;
        const V height = C * n_height + S * t_height;
        rise = choose<V>(height < 0.0, (along * along + across * across * across2) / (1.0 - height),
                         1.0 + height);
        difference2 = difference_along * difference_along + across2;
    }
};

struct Geodesic : Apply<GeodesicFormula> {
    using Plain = Apply<GeodesicFormula>;
    static constexpr int plain_coefficients = Plain::coefficients, coefficients = plain_coefficients + 3;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        Plain::solve(row);
        V* across = row.k + plain_coefficients;
        across[0] = across[1] = across[2] = V{};
        if (row.param[0] <= 0 || !is_double(row)) return;
        const Sum<V>* sum = row.sum;
        const WideEnds<V> ends(row.param[0], sum[0], sum[1], sum[2]);
        if (!any(ends.antipodal)) return;
        const WideGeodesic<V> wide(ends, row.scalar[0], sum[0], sum[1], sum[2], sum[3].hi);
        const auto antipodal = wide.antipodal;
        const V i = 1.0 / wide.rise, on_difference = wide.S * wide.m * i;
        const Sum<V> ratio = -(wide.a / wide.b);
        row.k[0] = choose<V>(antipodal, -on_difference * wide.b.hi, row.k[0]);
        row.k[1] = choose<V>(antipodal, V{}, row.k[1]);
        row.k[2] = choose<V>(antipodal, on_difference * wide.a.hi, row.k[2]);
        across[0] = choose<V>(antipodal, wide.C * wide.n * wide.b.hi * i, V{});
        across[1] = choose<V>(antipodal, ratio.hi, V{});
        across[2] = choose<V>(antipodal, ratio.lo, V{});
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V* across = k + plain_coefficients;
        combine_plain(in, k, out);
        out[0] += across[0] * across_part(in[1], across[1], across[2], in[2]);
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        Plain::combine(in, k, out);
    }
};

// Derivatives of geodesics are Jacobi fields: of X, what of the cotangent is across the geodesic times
// sin(2(1-t) f) / sin(2f) and what is along it times 1 - t; of Y alike. In coordinates the former is, for x,
// g/rise - p (b x + a y) - q (a y - b x), the latter along Y = y + k|y|^2 x and x.
struct GeodesicVjp : Gradient<GeodesicFormula> {
    using Plain = Gradient<GeodesicFormula>;
    static constexpr int plain_coefficients = Plain::coefficients, coefficients = plain_coefficients + 5;
    static constexpr int dots = 5;
    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V d = in[2] - in[1];
        sum.dot(0, in[1], in[1]);
        sum.dot(1, in[2], in[2]);
        sum.dot(2, in[1], in[2]);
        sum.dot(3, in[3], in[1]);
        sum.dot(4, in[3], in[2]);
        sum.add(5, d * d);
        sum.add(6, in[3] * d);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const Sum<V>* s = row.sum;
        const Sum<V> in_order[] = {s[0], s[1], s[2], s[5], s[3], s[6], s[4]};
        Solve<V> formula = row;
        formula.sum = in_order;
        Plain::solve(formula);
        for (int i = plain_coefficients; i < coefficients; ++i) row.k[i] = V{};
        if (row.param[0] <= 0 || !is_double(row)) return;
        const WideEnds<V> ends(row.param[0], s[0], s[1], s[2]);
        if (any(ends.either)) solve_wide(row, ends);
    }
    template <class V>
    HORO_HD static void solve_wide(const Solve<V>& row, const WideEnds<V>& ends) {
        const Sum<V>* s = row.sum;
        const double k = ends.k;
        const V t = row.scalar[0], u = 1.0 - t;
        const WideGeodesic<V> wide(ends, t, s[0], s[1], s[2], s[5].hi);
        const V a = wide.a.hi, b = wide.b.hi, C = wide.C, S = wide.S, n = wide.n, m = wide.m;
        const V excess = wide.turn.excess, i = 1.0 / wide.rise;
        const Sum<V> cxx = wide.turn.cxx, cyy = wide.turn.cyy, kxy = exactly(V{} + k) * s[2];
        const auto antipodal = wide.antipodal, either = wide.either;

        // the cotangent along the point itself and along the geodesic, whose direction there is C T - S N
        const V on_sum = (wide.b * s[3] + wide.a * s[4]).hi, on_difference = a * s[4].hi - b * s[3].hi;
        const V outward = (C * n * on_sum + S * m * on_difference) * i;
        const V climb = C * wide.t_height - S * wide.n_height;
        const V along = (C * m * on_difference - S * n * on_sum - outward * climb) * i;
        const V p = n * (C * outward * i - S * along), q = m * (S * outward * i + C * along);

        const V both = 1.0 / square_root<V>(wide.d * wide.delta2), level = along * both;
        const V twice = 2.0 * wide.sin_r * wide.cos_r, small = 0.5 * twice * (a * b) * both;
        const V large = 1.0 - 2.0 * wide.sin_r * wide.sin_r + 0.5 * (wide.delta2 - wide.d) * both * twice;
        const V across_x = choose<V>(wide.first, large, small),
                across_y = choose<V>(wide.first, small, large);

        // What is across, by coordinates: beyond the equator reflected by the sphere's normal, else as it
        // falls.
        const V x_sum = (wide.a * kxy - wide.b * cxx).hi, y_sum = (wide.b * kxy - wide.a * cyy).hi;
        const V x_left = s[3].hi * i - p * x_sum - q * (a * kxy.hi + b * cxx.hi);
        const V y_left = s[4].hi * i - p * y_sum + q * (a * cyy.hi + b * kxy.hi);
        const V turned_x = 2.0 * x_left / (2.0 - a), turned_y = 2.0 * y_left / (2.0 - b);
        const V near_x =
            choose<V>(a > 4.0, turned_x - p * excess + q * (b - a * cyy.hi), outward * i + q * (a * b));
        const V near_y =
            choose<V>(b > 4.0, turned_y - p * excess - q * (a - b * cxx.hi), outward * i - q * (a * b));
        const V far_x = turned_x + b * (q - p), far_y = turned_y - a * (q + p);
        const V x = across_x * choose<V>(antipodal, near_x, far_x) +
                    u * level * choose<V>(antipodal, -wide.d, wide.delta2 - a);
        const V y = across_y * choose<V>(antipodal, near_y, far_y) -
                    t * level * choose<V>(antipodal, -wide.d, wide.delta2 - b);
        // the same from either end; each is small where its weight is
        const V other = choose<V>(wide.first, across_y * (q - p) - t * level, u * level - across_x * (q + p));

        const auto put = [&](int at, V value) { row.k[at] = choose<V>(either, value, row.k[at]); };
        put(0, 2.0 * across_x * i / a);
        put(1, V{});
        put(2, 2.0 * across_y * i / b);
        put(3, 2.0 * k * x / a);
        put(4, 2.0 * k * y / b);
        put(5, choose<V>(antipodal, V{}, 2.0 * k * other));
        put(6, V{});
        V* across = row.k + plain_coefficients;
        across[0] = choose<V>(antipodal, 2.0 * k * other, V{});
        across[1] = choose<V>(antipodal, cyy.hi, V{});
        across[2] = choose<V>(antipodal, cyy.lo, V{});
        across[3] = choose<V>(antipodal, cxx.hi, V{});
        across[4] = choose<V>(antipodal, cxx.lo, V{});
        row.result[0] = choose<V>(either, 2.0 * wide.f * along, row.result[0]);

        // By kappa a point moves along its meridian: the heights of what is across and of what is along.
        const V difference_left =
            on_difference * i + p * excess * k * (s[0].hi - s[1].hi) - q * wide.difference2;
        const V upright = wide.t_height * wide.t_height;
        const V down = choose<V>(upright > 0.5, m * difference_left / wide.t_height, outward + along * climb);
        const V uneven = wide.sin_f * (2.0 * wide.sin_r * wide.sin_r - 2.0 * wide.r) + wide.cos_f * twice;
        const V slope = choose<V>(wide.first, -uneven, uneven) * wide.n_height + wide.reach * wide.t_height;
        const V by_k = (wide.reach / wide.cos_f * down + along * slope) / (2.0 * k);
        row.result[3] = choose<V>(antipodal, by_k, row.result[3]);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        const V* across = k + plain_coefficients;
        combine_plain(in, k, out);
        out[1] += across[0] * across_part(in[2], across[1], across[2], in[1]);
        out[2] += across[0] * across_part(in[1], across[3], across[4], in[2]);
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        Plain::combine(in, k, out);
    }
};

// The derivatives of <g, gyr[x, y] v> there, r = <y,v> and gx = <g,x>:
// by x  2c (r - c|y|^2 chi) g - 2c gamma v - 4c^2 r gamma x + 4c^2 chi gamma Y,
// by y  -2c (b v + chi g) + 4c^2 chi (a x + b Y),
// by v  g - 2c (a x + b Y).
template <class V>
struct FastTurnSlopes {
    V gamma, chi, a, b;
    V less;  // (<g, gyr[x, y] v> - <g,v>) / (2c)
    HORO_HD FastTurnSlopes(const FastTurn<V>& t, Sum<V> p, Sum<V> r, Sum<V> gx, Sum<V> gy) {
        const V i = 1.0 / t.d, on_y = t.on_y(gx, gy);
        gamma = on_y * i;
        chi = t.on_x(p, r) * i;
        a = gamma * t.excess + t.cyy.hi * gx.hi;
        b = gamma * t.cxx.hi - gx.hi;
        less = r.hi * gx.hi - chi * on_y;
    }
};

struct Gyration : RowOperation {
    static constexpr const char* name = "stereographic.gyration";
    static constexpr const char* signature = "x:row y:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "gyr[x, y] v = -(x (+) y) (+) (x (+) (y (+) v)) as the linear map it is, for any "
        "v." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int dots = 5, sums = 7, coefficients = 4, plain_coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V s = in[0] + in[1];
        poincare::Turn<V>::reduce(in[0], in[1], in[2], sum);
        sum.add(5, s * s);
        sum.add(6, s * in[2]);
    }
    // On x and y - t x: x + y in the ball where it is the shorter, else y, terms small where x or y is.
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = -row.param[0];
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, xy = row.sum[2].hi;
        const V vx = row.sum[3].hi, vy = row.sum[4].hi;
        const V on_x = c * (2.0 * (c * xy) * vy - (c * yy) * vx + vy), on_y = -(c * ((c * xx) * vy + vx));
        row.k[3] = V{};
        if (c > 0) {
            const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), ss = row.sum[5].hi, s = c * ss;
            const V vs = row.sum[6].hi;
            const auto opposite = ss < choose<V>(xx < yy, xx, yy);
            const V f = 2.0 / choose<V>(opposite, s + a * b, 1.0 + 2.0 * c * xy + (c * xx) * (c * yy));
            row.k[0] = f * choose<V>(opposite, c * ((s + b) * vs - s * vx), on_x);
            row.k[1] = f * choose<V>(opposite, -(c * ((1.0 - a) * vs + a * vx)), on_y);
            row.k[2] = choose<V>(opposite, V{} - 1.0, V{});
        } else {
            const FastTurn<V> turn(c, row.sum[0], row.sum[1], row.sum[2]);
            const V f = 2.0 / turn.d;
            row.k[0] = choose<V>(turn.holds, 2.0 * c * vy, f * on_x);
            row.k[1] = f * choose<V>(turn.holds, -c * turn.on_x(row.sum[3], row.sum[4]), on_y);
            row.k[2] = choose<V>(turn.holds, -turn.cyy.hi, V{});
            row.k[3] = choose<V>(turn.holds, -turn.cyy.lo, V{});
        }
        if (!is_double(row)) row.k[0] -= row.k[1] * row.k[2];
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = in[2] + (k[0] * in[0] + k[1] * across_part(in[1], k[2], k[3], in[0]));
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        out[0] = in[2] + (k[0] * in[0] + k[1] * in[1]);
    }
};

// What the gradients of both that follow combine: by x, y and v on x, y - t x, v and g, t the last two.
struct TurnCombination {
    static constexpr int coefficients = 12;
    template <class V>
    HORO_HD static void combine(V x, V y, V v, V g, const V* k, V& by_x, V& by_y, V& by_v) {
        const V w = across_part(y, k[10], k[11], x);
        by_x = k[0] * x + k[1] * w + (k[2] * v + k[3] * g);
        by_y = k[4] * x + k[5] * w + (k[6] * v + k[7] * g);
        by_v = k[9] * g + (k[8] * x + k[6] * w);
    }
};

struct GyrationVjp : poincare::GyrationGradient {
    static constexpr const char* name = "stereographic.gyration.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; kappa:any -> g_x:row g_y:row g_v:row g_kappa:scalar";
    static constexpr const char* doc =
        "Gradient of <g, gyr[x, y] v> by x, y, v and kappa." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int coefficients = TurnCombination::coefficients;
    template <class V>
    HORO_HD static void in_ball(double c, const Solve<V>& row) {
        const auto rim = solve_for(c, row);
        const V *k = row.k, by_y = k[4], on_s = k[1], on_y = k[9];
        row.k[8] = k[7];
        row.k[1] = choose<V>(rim, on_s, on_y);
        row.k[4] = choose<V>(rim, -by_y, on_y);
        row.k[7] = k[6];
        row.k[6] = k[5];
        row.k[5] = choose<V>(rim, on_s + by_y, by_y);
        row.k[10] = choose<V>(rim, V{} - 1.0, V{});
        row.k[11] = V{};
    }
    template <class V>
    HORO_HD static void on_sphere(double c, const Solve<V>& row) {
        const Sum<V>* sum = row.sum;
        const FastTurn<V> turn(c, sum[0], sum[1], sum[2]);
        const FastTurnSlopes<V> t(turn, sum[3], sum[4], sum[5], sum[6]);
        row.result[3] = poincare::Turn<V>(sum).by_curvature(c, turn.even, turn.d);
        const V xx = sum[0].hi, yy = sum[1].hi, p = sum[3].hi, r = sum[4].hi, gx = sum[5].hi, gy = sum[6].hi;
        const V i = 1.0 / turn.d, f = 2.0 * c * i, z = 1.0 + 2.0 * c * sum[2].hi;
        const V on_x = r * z - c * yy * p, on_y = -(p + c * xx * r);
        const V u = (on_x * gx + on_y * gy) * i, in_xy = 2.0 * c * f * (r * gx - u);
        const double c2 = 2.0 * c;
        const auto fast = turn.holds;
        row.k[0] = -c2 * choose<V>(fast, c2 * r * t.gamma, f * (r * gy + c * yy * u));
        row.k[1] = choose<V>(fast, c2 * c2 * t.chi * t.gamma, in_xy);
        row.k[2] = choose<V>(fast, -c2 * t.gamma, -f * (c * yy * gx + gy));
        row.k[3] = choose<V>(fast, c2 * (r - turn.cyy.hi * t.chi), f * on_x);
        row.k[4] = choose<V>(fast, c2 * c2 * t.chi * t.a, in_xy);
        row.k[5] = c2 * choose<V>(fast, c2 * t.chi * t.b, -f * (p * gx + c * xx * u));
        row.k[6] = choose<V>(fast, -c2 * t.b, f * (gx * z - c * xx * gy));
        row.k[7] = choose<V>(fast, -c2 * t.chi, f * on_y);
        row.k[8] = choose<V>(fast, -c2 * t.a, row.k[2]);
        row.k[10] = choose<V>(fast, -turn.cyy.hi, V{});
        row.k[11] = choose<V>(fast, -turn.cyy.lo, V{});
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = -row.param[0];
        if (c > 0)
            in_ball(c, row);
        else
            on_sphere(c, row);
        row.k[9] = V{} + 1.0;
        row.result[3] = -row.result[3];
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        TurnCombination::combine(in[0], in[1], in[2], in[3], k, out[0], out[1], out[2]);
    }
};

struct Ptransp : RowOperation {
    static constexpr const char* name = "stereographic.ptransp";
    static constexpr const char* signature = "x:row y:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "(lambda_x / lambda_y) gyr[y, -x] v: parallel transport of the tangent vector v from x to y along "
        "the "
        "geodesic." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int dots = 5, sums = 7, coefficients = 5, plain_coefficients = 3;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        const V d = in[1] - in[0];
        poincare::Turn<V>::reduce(in[0], in[1], in[2], sum);
        sum.add(5, d * d);
        sum.add(6, d * in[2]);
    }
    // On y and x - t y: x - y in the ball, x on the sphere, as y - x has no digits of a small one next to a
    // large one.
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = -row.param[0];
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), scale = b / a, p = row.sum[3].hi;
        row.k[2] = scale;
        if (c > 0) {
            const V d = c * row.sum[5].hi, q = row.sum[6].hi, f = 2.0 * c * scale / (d + a * b);
            row.k[0] = -f * (d * p - a * q);
            row.k[1] = f * (b * p + q);
            row.k[3] = V{} + 1.0;
            row.k[4] = V{};
        } else {
            const FastTurn<V> turn(c, row.sum[1], row.sum[0], -row.sum[2]);
            const V f = 2.0 * c * scale / turn.d, r = row.sum[4].hi;
            const V on_y = (1.0 - 2.0 * c * row.sum[2].hi) * p + c * row.sum[0].hi * r;
            row.k[0] = choose<V>(turn.holds, -2.0 * c * scale * p, -f * on_y);
            row.k[1] = f * turn.on_x(row.sum[4], -row.sum[3]);
            row.k[3] = choose<V>(turn.holds, turn.cyy.hi, V{});
            row.k[4] = choose<V>(turn.holds, turn.cyy.lo, V{});
        }
        if (!is_double(row)) row.k[0] -= row.k[1] * row.k[3];
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[2] * in[2] + (k[0] * in[1] + k[1] * across_part(in[0], k[3], k[4], in[1]));
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        out[0] = k[2] * in[2] + (k[0] * in[1] + k[1] * in[0]);
    }
};

struct PtranspVjp : poincare::PtranspGradient {
    static constexpr const char* name = "stereographic.ptransp.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; kappa:any -> g_x:row g_y:row g_v:row g_kappa:scalar";
    static constexpr const char* doc =
        "Gradient of <g, ptransp(x, y, v)> by x, y, v and kappa." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int coefficients = TurnCombination::coefficients;
    // On y and x - y what is there on x and y - x.
    template <class V>
    HORO_HD static void in_ball(double c, const Solve<V>& row) {
        V k[10];
        solve_for(c, Solve<V>{row.sum, row.scalar, row.param, k, row.result, row.rounding, row.across});
        const V turned[] = {k[4], -k[1], k[5], k[6], k[0], k[0] + k[1], k[2], k[3], k[8], k[7]};
        for (int j = 0; j < 10; ++j) row.k[j] = turned[j];
        row.k[10] = V{} + 1.0;
        row.k[11] = V{};
    }
    // Of b/a (v + 2c/D (along_x x + along_y y)), or as that of gyr[y, -x].
    template <class V>
    HORO_HD static void on_sphere(double c, const Solve<V>& row) {
        const Sum<V>* sum = row.sum;
        const FastTurn<V> turn(c, sum[1], sum[0], -sum[2]);
        const FastTurnSlopes<V> t(turn, sum[4], -sum[3], sum[6], -sum[5]);
        const V a = gap(c, sum[0]), scale = gap(c, sum[1]) / a;
        const V turned = scale * poincare::Turn<V>(sum).by_curvature(c, turn.even, turn.d);
        const V farther = (sum[0].hi - sum[1].hi) + (sum[0].lo - sum[1].lo);
        const V xx = sum[0].hi, yy = sum[1].hi, p = sum[3].hi, r = sum[4].hi, gx = sum[5].hi, gy = sum[6].hi;
        const V i = 1.0 / turn.d, f = 2.0 * c * i * scale, z = 1.0 - 2.0 * c * sum[2].hi;
        const V along_x = r - c * yy * p, along_y = -(z * p + c * xx * r);
        const V w = (along_x * gx + along_y * gy) * i;
        const double c2 = 2.0 * c;
        const auto fast = turn.holds;
        const V value = sum[10].hi + c2 * choose<V>(fast, t.less, w);
        const V in_xy = c2 * f * (p * gy + w), s = c2 * scale, by_value = c2 * value / a;
        row.k[0] = choose<V>(fast, s * c2 * p * t.gamma, -c2 * f * (p * gx + c * xx * w)) - by_value;
        row.k[1] = choose<V>(fast, -s * c2 * t.chi * t.gamma, in_xy);
        row.k[2] = choose<V>(fast, -s * t.gamma, f * (gx - c * xx * gy));
        row.k[3] = choose<V>(fast, -s * (p + turn.cyy.hi * t.chi), f * along_y);
        row.k[4] = choose<V>(fast, by_value * scale * turn.cyy.hi - s * c2 * t.chi * t.a, in_xy);
        row.k[5] = by_value * scale + c2 * choose<V>(fast, s * t.chi * t.b, -f * (r * gy + c * yy * w));
        row.k[6] = choose<V>(fast, s * t.b, -f * (c * yy * gx + z * gy));
        row.k[7] = choose<V>(fast, s * t.chi, f * along_x);
        row.k[8] = choose<V>(fast, -s * t.a, row.k[2]);
        row.k[9] = scale;
        row.k[10] = choose<V>(fast, turn.cyy.hi, V{});
        row.k[11] = choose<V>(fast, turn.cyy.lo, V{});
        row.result[3] = -value * farther / (a * a) - turned;
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        if (row.param[0] < 0) {
            in_ball(-row.param[0], row);
            row.result[3] = -row.result[3];
        } else {
            on_sphere(-row.param[0], row);
        }
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        TurnCombination::combine(in[1], in[0], in[2], in[3], k, out[1], out[0], out[2]);
    }
};

struct Projx : AnyCurvature<Rows<0, 1>> {
    static constexpr const char* name = "stereographic.projx";
    static constexpr const char* signature = "x:row; kappa:any eps -> out:row";
    static constexpr const char* doc =
        "x, moved back to norm (1 - eps)/sqrt(-kappa) along its ray if kappa is negative and it is longer. "
        "Range: any "
        "kappa and x, 0 < eps < 1.";
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        if (hyperbolic(row)) {
            const auto norm = root(row.curvature() * row.sum(Index<0>()));
            const double most = 1.0 - row.option(1);
            row.coefficient(0, unless(value_of(norm) <= most, most / norm, 1.0));
        } else {
            row.constant(0, 1.0);
        }
    }
};

struct Antipode : AnyCurvature<Rows<0, 1>> {
    static constexpr const char* name = "stereographic.antipode";
    static constexpr const char* signature = "x:row; kappa -> out:row";
    static constexpr const char* doc =
        "-x / (kappa|x|^2), the opposite point of the sphere. Range: kappa > 0, x not the origin, whose "
        "antipode is "
        "infinity.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, 1.0 / (row.curvature() * row.sum(Index<0>())));
    }
};

}  // namespace stereographic
}  // namespace horo
