// More row operations of the Poincare ball; conventions and range as in poincare.h.
#pragma once
#include <type_traits>

#include "geometry/formula.h"
#include "geometry/poincare.h"

namespace horo {
namespace poincare {

// Coefficients of x, of x + y and of y.
template <class X, class S, class Y>
struct MobiusTerms {
    X x;
    S sum;
    Y y;
};

// x (+) y from the gaps a and b, |x|^2, |y|^2, |x + y|^2 and the denominator D as it is away from x = -y:
// near x = -y as (s x + a (x + y)) / D, s = c|x + y|^2, D = s + a b; else as x + a (y + c|y|^2 x) / D, which
// keeps the small terms small.
template <class C, class A, class B, class X, class Y, class S, class D>
HORO_HD auto mobius_terms(const C& c, const A& a, const B& b, const X& xx, const Y& yy, const S& ss,
                          const D& d) {
    const auto x = value_of(xx);
    const auto y = value_of(yy);
    const auto opposite = value_of(ss) < pick(x < y, x, y);
    const auto s = c * ss;
    const auto i = 1.0 / pick(opposite, s + a * b, d);
    const auto direct = a * i;
    const auto on_x = pick(opposite, s * i, 1.0 + direct * (c * yy));
    const auto on_sum = only(opposite, direct);
    const auto on_y = unless(opposite, direct);
    return MobiusTerms<decltype(on_x), decltype(on_sum), decltype(on_y)>{on_x, on_sum, on_y};
}

struct MobiusSub : Differences<0, 2> {
    static constexpr const char* name = "poincare.mobius_sub";
    static constexpr const char* signature = "x:row y:row; c -> out:row";
    static constexpr const char* doc = "x (-) y = x (+) (-y), computed as mobius_add." HORO_POINCARE_RANGE;
    static constexpr int terms = 3, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto d = 1.0 - 2.0 * c * row.sum(Index<3>()) + (c * xx) * (c * yy);
        const auto t =
            mobius_terms(c, row.gap(Index<0>()), row.gap(Index<1>()), xx, yy, row.sum(Index<2>()), d);
        row.coefficient(0, t.x);
        row.coefficient(1, -t.sum);
        row.coefficient(2, -t.y);
    }
};

// x [+] y and x [-] y, as x [+] z with z = y or -y: near x = -z from x + z, so that x [-] x is 0, else as x
// and a small term.
template <int sign>
struct Coaddition : std::conditional_t<(sign > 0), Totals<0, 2>, Differences<0, 2>> {
    static constexpr const char* name = sign > 0 ? "poincare.mobius_coadd" : "poincare.mobius_cosub";
    static constexpr const char* signature = "x:row y:row; c -> out:row";
    static constexpr const char* doc =
        sign > 0 ? "x [+] y = x (+) gyr[x, -y]y, the commutative coaddition; computed as (b x + a y) / (a + "
                   "b - ab), "
                   "gaps a, b." HORO_POINCARE_RANGE
                 : "x [-] y = x [+] (-y), which undoes coaddition with y; computed as "
                   "mobius_coadd." HORO_POINCARE_RANGE;
    static constexpr int terms = 3, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {1, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto ss = row.sum(Index<2>());
        const auto opposite = value_of(ss) < pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy));
        const auto i = 1.0 / (a + b * (c * xx));
        const auto direct = a * i;
        row.coefficient(0, unless(opposite, 1.0 - direct * (c * yy)));
        row.coefficient(1, sign * only(opposite, b * i));
        row.coefficient(2, sign * pick(opposite, c * (2.0 * row.sum(Index<3>()) - ss) * i, direct));
    }
};
using MobiusCoadd = Coaddition<1>;
using MobiusCosub = Coaddition<-1>;

// artanh(sqrt(c)|x|) / (sqrt(c)|x|)
template <class C, class A, class X>
HORO_HD auto artanh_ratio(const C& c, const A& a, const X& xx) {
    return asinh_ratio(c * xx / a) / root(a);
}

struct MobiusPointwiseMul : Formula {
    static constexpr const char* name = "poincare.mobius_pointwise_mul";
    static constexpr const char* signature = "w:row x:row; c -> out:row";
    static constexpr const char* doc =
        "w (x) x = expmap0(w logmap0(x)), w and logmap0(x) multiplied coordinate by coordinate: the Mobius "
        "version "
        "of a diagonal matrix. Range: c > 0, sqrt(c)|x| < 1, any w.";
    static constexpr int vectors = 2, terms = 1, dots = 1;
    static constexpr Product products[] = {{1, 1}, {0, 0}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[0] * in[1];
        b[1] = in[1];
    }
    template <class V>
    HORO_HD static void pull(const V* in, const V* t, V* out) {
        out[0] = t[0] * in[1];
        out[1] = t[1] + t[0] * in[0];
    }
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto at_x = artanh_ratio(c, row.gap(Index<0>()), row.sum(Index<0>()));
        row.coefficient(0, tanh_multiple(at_x, c * row.sum(Index<1>())));
    }
};

struct Dist2 : Differences<0, 2> {
    static constexpr const char* name = "poincare.dist2";
    static constexpr const char* signature = "x:row y:row; c -> out:scalar";
    static constexpr const char* doc =
        "dist(x, y)^2, smooth where x = y; NaN outside the ball." HORO_POINCARE_RANGE;
    static constexpr int terms = 0, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto z2 = row.sum(Index<2>()) / (row.gap(Index<0>()) * row.gap(Index<1>()));
        const auto ratio = asinh_ratio(row.curvature() * z2);
        row.result(0, 4.0 * z2 * (ratio * ratio));
    }
};

// asinh(sqrt(k) u) / sqrt(k); its derivatives do not cancel, by k for small u and by u for large.
template <class V>
HORO_HD V asinh_multiple(V u, double k) {
    return u * asinh_parts<V>(k * u * u).ratio;
}
template <class V, unsigned a, unsigned b>
HORO_HD auto asinh_multiple(const Dual<V, a>& u, const Dual<V, b>& k) {
    const V square = u.value * u.value;
    const AsinhParts<V> p = asinh_parts<V>(k.value * square);
    return chain<V>(u.value * p.ratio, 1.0 / p.root, u, -0.5 * u.value * square * p.difference, k);
}

enum class Plane { absolute, signed_, scaled };

// x, p, x - p, a
struct PlaneVectors : Formula {
    static constexpr int vectors = 4;
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[0];
        b[1] = in[1];
        b[2] = in[0] - in[1];
        b[3] = in[2];
    }
    template <class V>
    HORO_HD static void pull(const V*, const V* t, V* out) {
        out[0] = t[0] + t[2];
        out[1] = t[1] - t[2];
        out[2] = t[3];
    }
};

template <Plane kind>
struct PlaneDistance : PlaneVectors {
    static constexpr const char* name = kind == Plane::absolute  ? "poincare.dist2plane"
                                        : kind == Plane::signed_ ? "poincare.dist2plane_signed"
                                                                 : "poincare.dist2plane_scaled";
    static constexpr const char* signature = "x:row p:row a:row; c -> out:scalar";
    static constexpr const char* doc =
        kind == Plane::absolute  ? "Distance from x to the hyperplane through p orthogonal to a: "
                                   "|dist2plane_signed|." HORO_POINCARE_RANGE
        : kind == Plane::signed_ ? "Signed distance from x to the hyperplane through p orthogonal to a, "
                                   "positive on the side a points to: "
                                   "1/sqrt(c) asinh(2 sqrt(c) <w,a> / ((1 - c|w|^2)|a|)), w = -p (+) x; "
                                   "computed as 1/sqrt(c) asinh(2 "
                                   "sqrt(c) (b <d,a> - c|d|^2 <p,a>) / (b a_x |a|)), d = x - p, b and a_x "
                                   "the gaps of p and x; 0 where a = "
                                   "0." HORO_POINCARE_RANGE
                                 : "|a| dist2plane_signed(x, p, a), the score of multinomial logistic "
                                   "regression." HORO_POINCARE_RANGE;
    static constexpr const char* kinks =
        kind == Plane::absolute ? "on the plane and where a = 0" : "where a = 0";
    static constexpr int terms = 0, dots = 2;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {2, 2}, {2, 3}, {1, 3}, {3, 3}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto x = row.gap(Index<0>());
        const auto p = row.gap(Index<1>());
        const auto dd = row.sum(Index<2>());
        const auto da = row.sum(Index<3>());
        const auto pa = row.sum(Index<4>());
        const auto size = root(row.sum(Index<5>()));
        const auto z = 2.0 * (p * da - c * dd * pa) / (p * x) * inverse_or_zero(size);
        const auto distance = asinh_multiple(z, c);
        if constexpr (kind == Plane::absolute)
            row.result(0, absolute(distance));
        else if constexpr (kind == Plane::signed_)
            row.result(0, distance);
        else
            row.result(0, distance * size);
    }
};
using Dist2plane = PlaneDistance<Plane::absolute>;
using Dist2planeSigned = PlaneDistance<Plane::signed_>;
using Dist2planeScaled = PlaneDistance<Plane::scaled>;

struct LambdaX : Rows<0, 1> {
    static constexpr const char* name = "poincare.lambda_x";
    static constexpr const char* signature = "x:row; c -> out:scalar";
    static constexpr const char* doc = "2 / (1 - c|x|^2), the conformal factor." HORO_POINCARE_RANGE;
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.result(0, 2.0 / row.gap(Index<0>()));
    }
};

struct Inner : Rows<0, 3> {
    static constexpr const char* name = "poincare.inner";
    static constexpr const char* signature = "x:row u:row v:row; c -> out:scalar";
    static constexpr const char* doc =
        "lambda_x^2 <u,v>, the inner product of two tangent vectors at x." HORO_POINCARE_RANGE;
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}, {1, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto lambda = 2.0 / row.gap(Index<0>());
        row.result(0, lambda * lambda * row.sum(Index<1>()));
    }
};

struct Norm : Rows<0, 2> {
    static constexpr const char* name = "poincare.norm";
    static constexpr const char* signature = "x:row v:row; c -> out:scalar";
    static constexpr const char* doc =
        "lambda_x |v|, the length of a tangent vector at x." HORO_POINCARE_RANGE;
    static constexpr const char* kinks = "by v where v = 0";
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}, {1, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.result(0, 2.0 * root(row.sum(Index<1>())) / row.gap(Index<0>()));
    }
};

// v, then the point whose gap scales it
struct ScaledVector : Formula {
    static constexpr int vectors = 2, terms = 1, dots = 1;
    static constexpr Product products[] = {{1, 1}};
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

struct Transp0 : ScaledVector {
    static constexpr const char* name = "poincare.transp0";
    static constexpr const char* signature = "y:row v:row; c -> out:row";
    static constexpr const char* doc =
        "(1 - c|y|^2) v: parallel transport of v from the origin to y along the "
        "geodesic." HORO_POINCARE_RANGE;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, row.gap(Index<0>()));
    }
};

struct Transp0Back : ScaledVector {
    static constexpr const char* name = "poincare.transp0back";
    static constexpr const char* signature = "x:row v:row; c -> out:row";
    static constexpr const char* doc =
        "v / (1 - c|x|^2): parallel transport of v from x to the origin along the "
        "geodesic." HORO_POINCARE_RANGE;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, 1.0 / row.gap(Index<0>()));
    }
};

struct Logmap0Back : Rows<0, 1> {
    static constexpr const char* name = "poincare.logmap0back";
    static constexpr const char* signature = "x:row; c -> out:row";
    static constexpr const char* doc =
        "logmap(x, 0) = -(1 - c|x|^2) logmap0(x): the velocity at x of the geodesic that reaches the origin "
        "at time "
        "1; NaN outside the ball." HORO_POINCARE_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.gap(Index<0>());
        row.coefficient(0, -(root(a) * asinh_ratio(row.curvature() * row.sum(Index<0>()) / a)));
    }
};

// The denominator s + a b of x (+) y, s = c|x + y|^2, for a y that is only known by its square q = c|y|^2,
// its gap b and m = c<x,y>; p = c|x|^2, cross = p q - m^2. Against the ray through x the square cancels near
// the rim; there it is the squared difference of the two radii, itself taken from the gaps, plus the share of
// the angle.
template <class A, class B, class P, class Q, class M, class X>
HORO_HD auto translation(const A& a, const B& b, const P& p, const Q& q, const M& m, const X& cross) {
    const auto rim = (value_of(m) < 0.0) & (value_of(a) < 0.5) & (4.0 * value_of(q) > value_of(p));
    const auto difference = (b - a) / (root(p) + root(q));
    const auto against = difference * difference + 2.0 * cross / (root(p * q) - m);
    return pick(rim, against + a * b, 1.0 + 2.0 * m + p * q);
}

// tanh(sqrt(c) h) / sqrt(c)
template <class V>
HORO_HD V half_way(V h, double c) {
    return tanh_multiple<V>(h, V{} + c);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto half_way(const Dual<V, a>& h, const Dual<V, b>& c) {
    return tanh_multiple(h, c);
}

struct GeodesicUnit : Rows<1, 2> {
    static constexpr const char* name = "poincare.geodesic_unit";
    static constexpr const char* signature = "t:scalar x:row u:row; c -> out:row";
    static constexpr const char* doc =
        "x (+) tanh(sqrt(c) t / 2) u / (sqrt(c)|u|): the point at distance t from x in direction u, whose "
        "length does "
        "not matter; x where u = 0. Range: c > 0, sqrt(c)|x| < 1, any t and u.";
    static constexpr const char* kinks = "where u = 0";
    static constexpr int terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    static constexpr Determinant angles[] = {{0, 1, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto half = 0.5 * row.number(Index<0>());
        const auto a = row.gap(Index<0>());
        const auto uu = row.sum(Index<1>());
        const auto reach = half_way(half, c);
        const auto length = reach * inverse_or_zero(root(uu));  // y = length u
        const auto q = unless(value_of(uu) == 0.0, c * (reach * reach));
        const auto scale = c * length;
        const auto d =
            translation(a, sech2(c * (half * half)), c * row.sum(Index<0>()), q, scale * row.sum(Index<2>()),
                        scale * scale * row.gram(Index<0>(), Index<1>(), Index<2>()));
        row.coefficient(0, 1.0 + a * q / d);
        row.coefficient(1, a * length / d);
    }
};

struct HalfAperture : Rows<0, 1> {
    static constexpr const char* name = "poincare.half_aperture";
    static constexpr const char* signature = "x:row; c min_radius -> out:scalar";
    static constexpr const char* doc =
        "asin(min_radius (1 - c|x|^2) / (sqrt(c)|x|)), the half aperture of the entailment cone at x (Ganea "
        "et al. "
        "2018, their K is min_radius, usually 0.1); pi/2 close to the origin, where the sine would pass "
        "1." HORO_POINCARE_RANGE;
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.result(
            0, asin_of(row.option(1) * row.gap(Index<0>()) / root(row.curvature() * row.sum(Index<0>()))));
    }
};

struct OxyAngle : Differences<0, 2> {
    static constexpr const char* name = "poincare.oxy_angle";
    static constexpr const char* signature = "x:row y:row; c -> out:scalar";
    static constexpr const char* doc =
        "The exterior angle at x between the ray from the origin through x and the geodesic from x to y, in "
        "[0, pi]: y "
        "lies in the entailment cone of x where it is at most half_aperture(x); computed as atan2(a |x ^ d|, "
        "a <x,d> "
        "- c|d|^2|x|^2), d = y - x, a = 1 - c|x|^2; 0 where x = 0 or x = y." HORO_POINCARE_RANGE;
    static constexpr const char* kinks = "where x, y and the origin lie on one geodesic";
    static constexpr int terms = 0, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    static constexpr Determinant angles[] = {{0, 1, 2}};
    static constexpr bool plain_angles = true;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.gap(Index<0>());
        row.result(0, angle_of(a * root(row.gram(Index<0>(), Index<1>(), Index<2>())),
                               a * row.sum(Index<2>()) -
                                   row.curvature() * row.sum(Index<1>()) * row.sum(Index<0>())));
    }
};

}  // namespace poincare
}  // namespace horo
