// Row operations of the Klein (Beltrami, projective) model of curvature -c, c > 0: points x with sqrt(c)|x| <
// 1, in which geodesics are straight chords. The point is sqrt(K) xs/x0 of the hyperboloid with K = 1/c, and
// the velocity of expmap0 has its Euclidean length (in the Poincare ball: half of it). Written on gaps and
// differences, exact up to the rim, as poincare.h. Definitions: A. Ungar, "A Gyrovector Space Approach to
// Hyperbolic Geometry" (2009), Einstein gyrovector spaces.
#pragma once
#include "geometry/poincare_formulas.h"

namespace horo {
namespace klein {

#define HORO_KLEIN_RANGE " Range: c > 0, sqrt(c)|x| < 1 for every point."

// x, y - x and y with the products |x|^2, |y|^2, |y - x|^2, <x, y - x>
template <int at>
struct PointPair : Differences<at, 2> {
    static constexpr int dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 1}};
    // Q = a |d|^2 + c <x,d>^2, d = y - x: |d|_x^2 = Q / a^2, and sinh^2(sqrt(c) dist) = c Q / (a b)
    template <class Row>
    HORO_HD static auto form(Row& row) {
        const auto m = row.sum(Index<3>());
        return row.gap(Index<0>()) * row.sum(Index<2>()) + row.curvature() * (m * m);
    }
};

struct Dist : PointPair<0> {
    static constexpr const char* name = "klein.dist";
    static constexpr const char* signature = "x:row y:row; c -> out:scalar";
    static constexpr const char* doc =
        "1/sqrt(c) arcosh((1 - c<x,y>) / sqrt(a b)), computed as 1/sqrt(c) asinh(sqrt(c (a|d|^2 + c<x,d>^2) "
        "/ (a b))), "
        "d = y - x, gaps a = 1 - c|x|^2, b; NaN outside the ball." HORO_KLEIN_RANGE;
    static constexpr const char* kinks = "where x = y";
    static constexpr int terms = 0;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto z2 = form(row) / (row.gap(Index<0>()) * row.gap(Index<1>()));
        row.result(0, root(z2) * asinh_ratio(row.curvature() * z2));
    }
};

struct Dist0 : Rows<0, 1> {
    static constexpr const char* name = "klein.dist0";
    static constexpr const char* signature = "x:row; c -> out:scalar";
    static constexpr const char* doc =
        "1/sqrt(c) artanh(sqrt(c)|x|), the distance from the origin; NaN outside the ball." HORO_KLEIN_RANGE;
    static constexpr const char* kinks = "at the origin";
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto z2 = row.sum(Index<0>()) / row.gap(Index<0>());
        row.result(0, root(z2) * asinh_ratio(row.curvature() * z2));
    }
};

struct Expmap0 : Rows<0, 1> {
    static constexpr const char* name = "klein.expmap0";
    static constexpr const char* signature = "v:row; c -> out:row";
    static constexpr const char* doc = "tanh(sqrt(c)|v|) v / (sqrt(c)|v|). Range: c > 0, any v.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, tanh_ratio(row.curvature() * row.sum(Index<0>())));
    }
};

struct Logmap0 : Rows<0, 1> {
    static constexpr const char* name = "klein.logmap0";
    static constexpr const char* signature = "x:row; c -> out:row";
    static constexpr const char* doc =
        "artanh(sqrt(c)|x|) x / (sqrt(c)|x|); NaN outside the ball." HORO_KLEIN_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, poincare::artanh_ratio(row.curvature(), row.gap(Index<0>()), row.sum(Index<0>())));
    }
};

struct Expmap : Rows<0, 2> {
    static constexpr const char* name = "klein.expmap";
    static constexpr const char* signature = "x:row v:row; c -> out:row";
    static constexpr const char* doc =
        "x + T v / (1 + T m), T = tanh(n)/n, m = c<x,v>/a, n^2 = c|v|^2/a + m^2, a = 1 - c|x|^2: the end of "
        "the geodesic "
        "from x with velocity v. Range: c > 0, sqrt(c)|x| < 1, any v.";
    static constexpr int terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto i = c / row.gap(Index<0>());
        const auto m = i * row.sum(Index<2>());
        const auto across = i * row.sum(Index<1>());
        const auto n2 = across + m * m;
        const auto t = tanh_ratio(n2);
        // inward and far, 1 + T m = (1 - h) + h (1 - tanh n), h = -m/n, both parts without cancellation
        const auto inward = (value_of(m) < 0.0) & (value_of(n2) > 1.0);
        const auto n = root(n2);
        const auto h = -(m / n);
        const auto rest = across / (n2 * (1.0 + h)) + h * sech2(n2) / (1.0 + n * t);
        row.constant(0, 1.0);
        row.coefficient(1, t / pick(inward, rest, 1.0 + t * m));
    }
};

struct Logmap : PointPair<0> {
    static constexpr const char* name = "klein.logmap";
    static constexpr const char* signature = "x:row y:row; c -> out:row";
    static constexpr const char* doc =
        "sqrt(a/b) asinh(z)/z (y - x), z^2 = c (a|d|^2 + c<x,d>^2) / (a b), d = y - x: the velocity at x of "
        "the "
        "geodesic that reaches y at time 1; NaN outside the ball." HORO_KLEIN_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        row.constant(0, 0.0);
        row.coefficient(1, root(a / b) * asinh_ratio(row.curvature() * form(row) / (a * b)));
    }
};

struct Ptransp : Differences<0, 3> {
    static constexpr const char* name = "klein.ptransp";
    static constexpr const char* signature = "x:row y:row v:row; c -> out:row";
    static constexpr const char* doc =
        "r (v - c (r <x,v> + <y,v>)/(sqrt(a b) + 1 - c<x,y>) (y - x)), r = sqrt(b/a), a = 1 - c|x|^2, b = 1 "
        "- "
        "c|y|^2: parallel transport of the tangent vector v from x to y along the geodesic." HORO_KLEIN_RANGE;
    static constexpr int terms = 4, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 3}, {1, 3}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto r = root(b / a);
        const auto xv = row.sum(Index<3>());
        const auto yv = xv + row.sum(Index<4>());
        // 1 - c<x,y> is the mean of the gaps and half of c|y - x|^2
        const auto d = root(a * b) + 0.5 * (a + b + c * row.sum(Index<2>()));
        row.constant(0, 0.0);
        row.coefficient(1, -(r * (c * (r * xv + yv) / d)));
        row.constant(2, 0.0);
        row.coefficient(3, r);
    }
};

struct Geodesic : PointPair<1> {
    static constexpr const char* name = "klein.geodesic";
    static constexpr const char* signature = "t:scalar x:row y:row; c -> out:row";
    static constexpr const char* doc =
        "x + B/(A + B) (y - x), A = sinh((1 - t) d)/sqrt(a), B = sinh(t d)/sqrt(b), d = sqrt(c) dist(x, y): "
        "the point at "
        "parameter t of the geodesic from x (t = 0) to y (t = 1). Range: c > 0, sqrt(c)|x|, sqrt(c)|y| < 1, "
        "d max(|t|, "
        "|1 - t|) <= 700.";
    static constexpr int terms = 3;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto t = row.number(Index<0>());
        const auto u = 1.0 - t;
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto w = row.curvature() * form(row) / (a * b);
        const auto ratio = asinh_ratio(w);
        const auto d2 = w * (ratio * ratio);
        // the smaller weight over the larger, so that either end has 1 and a small term
        const auto first = value_of(t) * value_of(t) <= value_of(u) * value_of(u);
        const auto small = pick(first, t, u);
        const auto large = pick(first, u, t);
        const auto other = small * sinh_ratio(small * small * d2) * root(pick(first, a, b)) /
                           (large * sinh_ratio(large * large * d2) * root(pick(first, b, a)));
        const auto whole = 1.0 / (1.0 + other);
        const auto part = other * whole;
        const auto share = pick(first, part, whole);
        // near points are combined on their difference
        const auto near = value_of(row.sum(Index<2>())) < 0.25 * value_of(row.sum(Index<0>()));
        row.coefficient(0, unless(near, pick(first, whole, part), 1.0));
        row.coefficient(1, only(near, share));
        row.coefficient(2, unless(near, share));
    }
};

struct EinsteinAdd : Totals<0, 2> {
    static constexpr const char* name = "klein.einstein_add";
    static constexpr const char* signature = "x:row y:row; c -> out:row";
    static constexpr const char* doc =
        "(x + h y + c<x,y>/(1 + h) x) / (1 + c<x,y>), h = sqrt(1 - c|x|^2): Einstein's addition, the "
        "translation that "
        "takes the origin to x; near x = -y computed as (h s + c<x,s>/(1 + h) x) / ((a + b + c|s|^2)/2), s = "
        "x + y, gaps "
        "a, b." HORO_KLEIN_RANGE;
    static constexpr int terms = 3, dots = 2;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 1}, {0, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.gap(Index<0>());
        const auto b = row.gap(Index<1>());
        const auto h = root(a);
        const auto xx = row.sum(Index<0>());
        const auto yy = row.sum(Index<1>());
        const auto ss = row.sum(Index<2>());
        const auto opposite = value_of(ss) < pick(value_of(xx) < value_of(yy), value_of(xx), value_of(yy));
        const auto xy = c * row.sum(Index<4>());
        const auto i = 1.0 / pick(opposite, 0.5 * (a + b + c * ss), 1.0 + xy);
        const auto direct = h * i;
        const auto bend = c * row.sum(Index<3>()) / (1.0 + h) * i;
        row.coefficient(0, pick(opposite, bend, 1.0 - direct * xy / (1.0 + h)));
        row.coefficient(1, only(opposite, direct));
        row.coefficient(2, unless(opposite, direct));
    }
};

struct Egrad2rgrad : Rows<0, 2> {
    static constexpr const char* name = "klein.egrad2rgrad";
    static constexpr const char* signature = "x:row g:row; c -> out:row";
    static constexpr const char* doc =
        "(1 - c|x|^2) (g - c<x,g> x): the Riemannian gradient of a Euclidean one." HORO_KLEIN_RANGE;
    static constexpr int terms = 2, dots = 1;
    static constexpr Product products[] = {{0, 0}, {0, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.gap(Index<0>());
        row.coefficient(0, -(a * (row.curvature() * row.sum(Index<1>()))));
        row.coefficient(1, a);
    }
};

struct Inner : Rows<0, 3> {
    static constexpr const char* name = "klein.inner";
    static constexpr const char* signature = "x:row u:row v:row; c -> out:scalar";
    static constexpr const char* doc =
        "<u,v>/a + c<x,u><x,v>/a^2, a = 1 - c|x|^2: the inner product of two tangent vectors at "
        "x." HORO_KLEIN_RANGE;
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}, {1, 2}, {0, 1}, {0, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto i = 1.0 / row.gap(Index<0>());
        row.result(
            0, i * (row.sum(Index<1>()) + i * (row.curvature() * row.sum(Index<2>()) * row.sum(Index<3>()))));
    }
};

struct Norm : Rows<0, 2> {
    static constexpr const char* name = "klein.norm";
    static constexpr const char* signature = "x:row v:row; c -> out:scalar";
    static constexpr const char* doc =
        "sqrt(inner(x, v, v)), the length of a tangent vector at x." HORO_KLEIN_RANGE;
    static constexpr const char* kinks = "by v where v = 0";
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto i = 1.0 / row.gap(Index<0>());
        const auto m = row.sum(Index<2>());
        row.result(0, root(i * (row.sum(Index<1>()) + i * (row.curvature() * (m * m)))));
    }
};

struct Projx : poincare::Projx {
    static constexpr const char* name = "klein.projx";
};
struct ProjxVjp : poincare::ProjxVjp {
    static constexpr const char* name = "klein.projx.vjp";
};

// ---- Between the models: the same point, at the same distances, in the ball and on the hyperboloid with K =
// 1/c

struct ToPoincare : Rows<0, 1> {
    static constexpr const char* name = "klein.to_poincare";
    static constexpr const char* signature = "x:row; c -> out:row";
    static constexpr const char* doc =
        "x / (1 + sqrt(1 - c|x|^2)): the same point in the Poincare ball." HORO_KLEIN_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, 1.0 / (1.0 + root(row.gap(Index<0>()))));
    }
};

struct ToLorentz : Rows<0, 1> {
    static constexpr const char* name = "klein.to_lorentz";
    static constexpr const char* signature = "x:row; c -> out:ambient";
    static constexpr const char* doc =
        "[1/sqrt(c), x] / sqrt(1 - c|x|^2): the same point on the hyperboloid with K = 1/c." HORO_KLEIN_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto gamma = 1.0 / root(row.gap(Index<0>()));
        row.coefficient(0, gamma);
        row.result(0, gamma / root(row.curvature()));
    }
};

}  // namespace klein

namespace poincare {

struct ToKlein : Rows<0, 1> {
    static constexpr const char* name = "poincare.to_klein";
    static constexpr const char* signature = "x:row; c -> out:row";
    static constexpr const char* doc =
        "2x / (1 + c|x|^2): the same point in the Klein model." HORO_POINCARE_RANGE;
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, 2.0 / (1.0 + row.curvature() * row.sum(Index<0>())));
    }
};

}  // namespace poincare

namespace lorentz {

struct ToKlein : Rows<0, 1> {
    static constexpr const char* name = "lorentz.to_klein";
    static constexpr const char* signature = "x:ambient; K -> out:row";
    static constexpr const char* doc =
        "sqrt(K) xs / x0: the same point in the Klein model with c = 1/K. Range: K > 0; the stored time is "
        "not read.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, 1.0 / root(1.0 + row.sum(Index<0>()) / row.curvature()));
    }
};

}  // namespace lorentz
}  // namespace horo
