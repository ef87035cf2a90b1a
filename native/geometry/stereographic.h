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
        // far out on the sphere all terms of the numerator have one sign, which 1 and a small term has not
        const auto along = hyperbolic(row) ? value_of(xy) != value_of(xy) : value_of(xy) > 0.0;
        row.coefficient(0, pick(along, (1.0 + 2.0 * c * xy + c * yy) / sphere, t.x));
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
            row.coefficient(0, 1.0 + a * w * (ratio * ratio) / d);
            row.coefficient(1, ratio * cosine / d);
        }
    }
};

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
            row.result(0, 2.0 * root(dd) * angle_ratio(-c * dd, d));
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
            row.result(0, 2.0 * root(xx) * atan_ratio(-c * xx));
    }
};

struct Geodesic : Pairs<Differences<1, 2>> {
    static constexpr const char* name = "stereographic.geodesic";
    static constexpr const char* signature = "t:scalar x:row y:row; kappa:any -> out:row";
    static constexpr const char* doc =
        "x (+) t (x) (-x (+) y): the point at parameter t of the geodesic from x (t = 0) to y (t = 1), "
        "computed on the "
        "hyperboloid or the sphere; NaN for antipodes." HORO_STEREOGRAPHIC_RANGE;
    static constexpr int terms = 3;
    // Weights of x and y, what they lack to their common denominator, and that denominator.
    template <class Row, class N, class X, class Y, class R, class D>
    HORO_HD static void combine_points(Row& row, N near, const X& at_x, const Y& at_y, const R& rest,
                                       const D& denominator) {
        const auto i = 1.0 / denominator;
        row.coefficient(0, pick(near, 1.0 - rest * i, at_x * i));
        row.coefficient(1, only(near, at_y * i));
        row.coefficient(2, unless(near, at_y * i));
    }
    // |at_x x + at_y y|^2 for <x,y> < 0, from the difference of the lengths and the angle.
    template <class V>
    HORO_HD static V square(V xx, V yy, V xy, V gram, V at_x, V at_y) {
        const V rx = square_root(xx), ry = square_root(yy), along = at_x * rx - at_y * ry;
        return along * along + 2.0 * at_x * at_y * gram / (rx * ry - xy);
    }
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto t = row.number(Index<0>());
        const auto u = 1.0 - t;
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto dd = row.sum(Index<3>());
        const auto tt = t * t;
        const auto uu = u * u;
        if (hyperbolic(row)) {
            const auto w = c * dd / (a * b);
            const auto ratio = asinh_ratio(w);
            const auto f2 = w * (ratio * ratio);
            const auto inverse = 1.0 / root(1.0 + w);
            const auto x2 = uu * f2;
            const auto y2 = tt * f2;
            const auto x_parts = sinh_parts(value_of(x2));
            const auto y_parts = sinh_parts(value_of(y2));
            const auto p = sinh_ratio(x2, x_parts);
            const auto q = sinh_ratio(y2, y_parts);
            const auto scale = 2.0 * ratio * inverse;
            const auto at_x = u * p * cosh_root(x2, x_parts) * scale / a;
            const auto at_y = t * q * cosh_root(y2, y_parts) * scale / b;
            const auto rest = 2.0 * t * u * f2 * p * q * inverse;
            combine_points(row, value_of(w) < 1.0, at_x, at_y, rest, at_x + at_y + rest);
        } else {
            const auto gram = row.gram(Index<0>(), Index<1>(), Index<2>());
            const auto d = sphere_denominator(c, row.gap(Index<2>()), gram);
            const auto ratio = angle_ratio(-c * dd, d);
            const auto f2 = -c * dd * (ratio * ratio);
            const auto x2 = uu * f2;
            const auto y2 = tt * f2;
            const auto x_parts = sine_parts(value_of(x2));
            const auto y_parts = sine_parts(value_of(y2));
            const auto p = sin_ratio(x2, x_parts);
            const auto q = sin_ratio(y2, y_parts);
            const auto scale = 2.0 * ratio;
            const auto at_x = u * p * cos_root(x2, x_parts) * scale * b;
            const auto at_y = t * q * cos_root(y2, y_parts) * scale * a;
            const auto rest = -(2.0 * t * u * f2 * p * q * root(a * b));
            // The sum is sqrt(d) (1 + z), z the height on the unit sphere: next to the point without
            // coordinates, z = -1, it vanishes as the square of the distance, and what is left of rounded
            // terms is not worth a digit. There it is taken from the numerator n, whose k|n|^2 = d (1 - z^2)
            // does not cancel.
            const auto sum = at_x + at_y + rest;
            const auto xx = row.sum(Index<0>());
            const auto yy = row.sum(Index<1>());
            const auto xy = row.sum(Index<2>());
            const auto nn = with_value(at_x * (at_x * xx + 2.0 * at_y * xy) + at_y * at_y * yy,
                                       square(value_of(xx), value_of(yy), value_of(xy), value_of(gram),
                                              value_of(at_x), value_of(at_y)));
            const auto radius = root(d);
            const auto low = (value_of(xy) < 0.0) & (value_of(sum) < value_of(radius));
            combine_points(row, value_of(-c * dd) < value_of(d), at_x, at_y, rest,
                           pick(low, -(c * nn) / (2.0 * radius - sum), sum));
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
    static constexpr Product products[] = {{0, 0}, {2, 2}, {0, 2}, {1, 1}, {0, 3}, {1, 3}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto d = c * row.sum(Index<3>());
        const auto p = row.sum(Index<4>());
        const auto q = row.sum(Index<5>());
        const auto ball = d + a * b;
        const auto sphere =
            sphere_denominator(c, row.gap(Index<2>()), row.gram(Index<0>(), Index<1>(), Index<2>()));
        const auto is_ball = hyperbolic(row) ? value_of(p) == value_of(p) : value_of(p) != value_of(p);
        const auto scale = b / a;
        const auto f = -(2.0 * c * scale / pick(is_ball, ball, sphere));
        row.coefficient(0, f * (d * p - a * q));
        row.coefficient(1, f * ((b + d) * p + (1.0 - a) * q));
        row.constant(2, 0.0);
        row.coefficient(3, scale);
    }
};

struct PtranspVjp : poincare::PtranspGradient {
    static constexpr const char* name = "stereographic.ptransp.vjp";
    static constexpr const char* signature =
        "x:row y:row v:row g:row; kappa:any -> g_x:row g_y:row g_v:row g_kappa:scalar";
    static constexpr const char* doc =
        "Gradient of <g, ptransp(x, y, v)> by x, y, v and kappa." HORO_STEREOGRAPHIC_RANGE;
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        solve_for(-row.param[0], row);
        row.result[3] = -row.result[3];
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
