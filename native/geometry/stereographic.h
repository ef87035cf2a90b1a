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
        const auto a = row.gap(Index<0>());
        const auto gram_xv = row.gram(Index<0>(), Index<1>(), Index<2>());
        const auto w = c * vv / (a * a);
        if (hyperbolic(row)) {
            const auto ratio = tanh_ratio(w);
            const auto length = ratio / a;  // y = length v
            const auto q = w * (ratio * ratio);
            const auto scale = c * length;
            const auto d = poincare::translation(a, sech2(w), c * xx, q, scale * xv, scale * scale * gram_xv);
            row.coefficient(0, 1.0 + a * q / d);
            row.coefficient(1, ratio / d);
        } else {  // all times cos^2, as the tangent has poles
            const auto ratio = sin_ratio(-w);
            const auto cosine = cos_root(-w);
            const auto scale = c * ratio / a;
            const auto one = cosine + scale * xv;
            const auto d = one * one + scale * scale * gram_xv;
            const auto less = w * (ratio * ratio);
            const auto near = 1.0 + a * less / d;
            // far out 1 and a term that is not small cancel
            const auto far = (cosine * (cosine + 2.0 * (scale * xv)) + less) / d;
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
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto dd = row.sum(Index<3>());
        if (hyperbolic(row)) {
            const auto d = c * dd + a * b;
            const auto scale = a * asinh_ratio(c * dd / (a * b)) / (root(a * b) * root(d));
            row.coefficient(0, -(scale * (c * dd)));
            row.coefficient(1, scale * a);
        } else {
            const auto d =
                sphere_denominator(c, row.gap(Index<2>()), row.gram(Index<0>(), Index<1>(), Index<2>()));
            const auto scale = a * atan_ratio(-c * dd / d) / d;
            row.coefficient(0, -(scale * (c * dd)));
            row.coefficient(1, scale * a);
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

struct Geodesic : Pairs<Differences<1, 2>> {
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
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto dd = row.sum(Index<3>());
        const auto first = value_of(t) * value_of(t) <= value_of(u) * value_of(u);
        const auto small = pick(first, t, u);
        if (hyperbolic(row)) {
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
            const auto d = sphere_denominator(c, row.gap(Index<2>()), gram);
            const auto xx = row.sum(Index<0>());
            const auto yy = row.sum(Index<1>());
            const auto xy = row.sum(Index<2>());
            const auto ratio = angle_ratio(-c * dd, d);
            const auto f2 = -c * dd * (ratio * ratio);
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
            const auto rest = -(compose(s * large_sin * small_sin, f2, small) * ab);
            // What is left of their common denominator, sqrt(d) (1 + z)/2, z the height on the unit sphere,
            // once each end has given its weight, if it lies on the far half, or that times -kappa|.|^2:
            // sin 2f -+ sin 2p -+ sin 2q, whichever does not cancel, is a product.
            const auto large_square = pick(first, xx, yy);
            const auto small_square = pick(first, yy, xx);
            const auto far_large = value_of(c * large_square) < -1.0;
            const auto far_small = value_of(c * small_square) < -1.0;
            const auto any_near = (value_of(c * large_square) >= -1.0) | (value_of(c * small_square) >= -1.0);
            const auto both = unless(any_near, -s, 1.0) * pick(far_small, large_sin, large_cos) *
                              pick(far_large, small_sin, small_cos);
            const auto left =
                compose(both, f2, small) * ab * unless(far_large == far_small, ratio * radius, 1.0);
            const auto sum = left + at_large * unless(far_large, c * large_square, 1.0) +
                             at_small * unless(far_small, c * small_square, 1.0);
            // Next to the point without coordinates, z = -1, it vanishes as the square of the distance. There
            // it is taken from the numerator n, whose 4k|n|^2 = d (1 - z^2) does not cancel.
            const auto plain = at_large * (at_large * large_square + 2.0 * at_small * xy) +
                               at_small * at_small * small_square;
            const auto nn = with_value(
                plain, square(value_of(plain), value_of(large_square), value_of(small_square), value_of(xy),
                              value_of(gram), value_of(at_large), value_of(at_small)));
            const auto low = 2.0 * value_of(sum) < value_of(radius);
            const auto i = 1.0 / pick(low, -(c * nn) / (radius - sum), sum);
            const auto part = at_small * i;
            // 1 and a small term, as far as that does not cancel
            const auto less = (at_small + rest) * i;
            const auto whole = pick((absolute(value_of(part)) < 1.0) & (absolute(value_of(less)) < 0.5),
                                    1.0 - less, at_large * i);
            // near points on their difference, unless that is long beside y: it then has no digits of it
            const auto near = (value_of(-c * dd) < value_of(d)) &
                              ((value_of(c * xx) > -1.0) | (value_of(dd) < 4.0 * value_of(yy)));
            const auto at_y = pick(first, part, whole);
            row.coefficient(0, pick(near, 1.0 - rest * i, pick(first, whole, part)));
            row.coefficient(1, only(near, at_y));
            row.coefficient(2, unless(near, at_y));
        }
    }
};

struct Gyration : AnyCurvature<Totals<0, 3>> {
    static constexpr const char* name = "stereographic.gyration";
    static constexpr const char* signature = "x:row y:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "gyr[x, y] v = -(x (+) y) (+) (x (+) (y (+) v)) as the linear map it is, for any "
        "v." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 4, dots = 3;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {0, 2}, {1, 1}, {0, 3}, {1, 3}, {2, 3}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto xy = row.sum(Index<2>());
        const auto ss = row.sum(Index<3>());
        const auto vx = row.sum(Index<4>());
        const auto vs = row.sum(Index<5>());
        const auto vy = row.sum(Index<6>());
        row.constant(3, 1.0);
        // on x and y: -2c^2 (...) + 2c (...), the terms small where x or y is
        const auto on_x = c * (2.0 * (c * xy) * vy - (c * yy) * vx + vy);
        const auto on_y = -(c * ((c * xx) * vy + vx));
        if (hyperbolic(row)) {
            const auto a = row.gap(Index<0>());
            const auto b = row.gap(Index<1>());
            const auto s = c * ss;
            const auto opposite =
                value_of(ss) < pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy));
            const auto f = 2.0 / pick(opposite, s + a * b, 1.0 + 2.0 * c * xy + (c * xx) * (c * yy));
            row.coefficient(0, f * pick(opposite, c * ((s + b) * vs - s * vx), on_x));
            row.coefficient(1, only(opposite, -(f * c * ((1.0 - a) * vs + a * vx))));
            row.coefficient(2, unless(opposite, f * on_y));
        } else {
            const auto f =
                2.0 / sphere_denominator(c, 1.0 + c * xy, row.gram(Index<0>(), Index<1>(), Index<2>()));
            row.coefficient(0, f * on_x);
            row.constant(1, 0.0);
            row.coefficient(2, f * on_y);
        }
    }
};

struct GyrationVjp : poincare::GyrationGradient {
    static constexpr const char* name = "stereographic.gyration.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; kappa:any -> g_x:row g_y:row g_v:row g_kappa:scalar";
    static constexpr const char* doc =
        "Gradient of <g, gyr[x, y] v> by x, y, v and kappa." HORO_STEREOGRAPHIC_RANGE;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(-row.param[0], row);
        row.result[3] = -row.result[3];
    }
};

struct Ptransp : AnyCurvature<Differences<0, 3>> {
    static constexpr const char* name = "stereographic.ptransp";
    static constexpr const char* signature = "x:row y:row v:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "(lambda_x / lambda_y) gyr[y, -x] v: parallel transport of the tangent vector v from x to y along "
        "the "
        "geodesic." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 4, dots = 3;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {0, 2}, {1, 1}, {0, 3}, {1, 3}, {2, 3}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto d = c * row.sum(Index<3>());
        const auto p = row.sum(Index<4>());
        const auto q = row.sum(Index<5>());
        const auto scale = b / a;
        row.coefficient(3, scale);
        if (hyperbolic(row)) {
            const auto f = -(2.0 * c * scale / (d + a * b));
            row.coefficient(0, f * (d * p - a * q));
            row.coefficient(1, f * ((b + d) * p + (1.0 - a) * q));
            row.constant(2, 0.0);
        } else {  // on x and y: y - x has no digits of a small one next to a large one
            const auto r = row.sum(Index<6>());
            const auto denominator =
                sphere_denominator(c, row.gap(Index<2>()), row.gram(Index<0>(), Index<1>(), Index<2>()));
            const auto f = 2.0 * c * scale / denominator;
            row.coefficient(0, f * (r - c * row.sum(Index<1>()) * p));
            row.constant(1, 0.0);
            row.coefficient(2,
                            -(f * ((1.0 - 2.0 * c * row.sum(Index<2>())) * p + c * row.sum(Index<0>()) * r)));
        }
    }
};

struct PtranspVjp : poincare::PtranspGradient {
    static constexpr const char* name = "stereographic.ptransp.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; kappa:any -> g_x:row g_y:row g_v:row g_kappa:scalar";
    static constexpr const char* doc =
        "Gradient of <g, ptransp(x, y, v)> by x, y, v and kappa." HORO_STEREOGRAPHIC_RANGE;
    // On x and y, as the forward pass, of b/a (v + 2c/D (along_x x + along_y y)).
    template <class V>
    HORO_HD static void on_sphere(double c, const Solve<V>& row) {
        const V xx = row.sum[0].hi, yy = row.sum[1].hi, xy = row.sum[2].hi;
        const V p = row.sum[3].hi, r = row.sum[4].hi, gx = row.sum[5].hi, gy = row.sum[6].hi;
        const V a = gap(c, row.sum[0]), b = gap(c, row.sum[1]), e = gap(c, row.sum[2]);
        const V d = e * e + c * c * gram(row.sum[0], row.sum[1], row.sum[2]);
        const V i = 1.0 / d, scale = b / a, f = 2.0 * c * i * scale, z = 1.0 - 2.0 * c * xy;
        const V along_x = r - c * yy * p, along_y = -(z * p + c * xx * r);
        const V w = (along_x * gx + along_y * gy) * i, value = row.sum[10].hi + 2.0 * c * w;
        row.k[0] = 2.0 * c * (value * scale / a - f * (r * gy + c * yy * w));
        row.k[1] = 2.0 * c * f * (p * gy + w);
        row.k[2] = -f * (c * yy * gx + z * gy);
        row.k[3] = f * along_x;
        row.k[4] = -2.0 * c * (value / a + f * (p * gx + c * xx * w));
        row.k[5] = f * (gx - c * xx * gy);
        row.k[6] = f * along_y;
        row.k[7] = scale;
        row.k[8] = row.k[2];
        row.k[9] = V{};
        const Sum<V>*x = row.sum, *y = row.sum + 1;
        row.result[3] = -value * ((x->hi - y->hi) + (x->lo - y->lo)) / (a * a) -
                        scale * poincare::Turn<V>(row.sum).by_curvature(c, e, d);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        if (row.param[0] < 0) {
            solve_for(-row.param[0], row);
            row.result[3] = -row.result[3];
            row.k[1] = -row.k[1];
            row.k[9] = V{} + 1.0;
        } else {
            on_sphere(-row.param[0], row);
        }
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        // on differences in the ball, on y and x on the sphere
        const V y = in[1] - k[9] * in[0], x = in[0] - k[9] * in[1];
        out[0] = k[0] * in[0] + k[1] * y + (k[2] * in[2] + k[3] * in[3]);
        out[1] = k[4] * in[1] + k[1] * x + (k[5] * in[2] + k[6] * in[3]);
        out[2] = k[7] * in[3] + (k[8] * in[0] + k[5] * y);
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
