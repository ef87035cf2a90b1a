// Points of the Poincare ball with their gap a = 1 - c|x|^2, for radii that the coordinates of a storage type
// cannot hold: float32 coordinates end at distance 17 from the origin, gaps down to 1e-30 reach 70. A point
// is an ambient row, the gap first. From a = 1/2 down the gap says how far out the point lies and the
// coordinates only in which direction; above, it is as the coordinates say and rounding apart redundant.
// Gradients are by the numbers of the row: those by the coordinates of a point near the rim are across it,
// and its gap takes what is along. Conventions and range otherwise as in poincare.h.
#pragma once
#include "geometry/poincare_formulas.h"

namespace horo {
namespace poincare {

#define HORO_GAP_RANGE                                                                                      \
    " A point with its gap is a row of dim + 1 numbers, the gap first. Range: c > 0, 1e-150 < gap <= 1; x " \
    "not 0 where its gap is less than 1/2."

// Numbers of ambient rows are read.
template <class Vectors>
struct WithGaps : Vectors {
    static constexpr bool times = true;
};

// c|x|^2 and the factor of the stored x, of a point with the gap a
template <class P, class F>
struct GapRadius {
    P square;
    F factor;
};
template <class C, class A, class X>
HORO_HD auto gap_radius(const C& c, const A& a, const X& xx) {
    const auto rim = value_of(a) < 0.5;
    const auto p = pick(rim, 1.0 - a, c * xx);
    const auto f = unless(!rim, root(p) * inverse_or_zero(root(c * xx)), 1.0);
    return GapRadius<decltype(p), decltype(f)>{p, f};
}

// Two points (or a point and the reflection of another), x = f_x times the stored one: f_x, f_y, f_x - f_y,
// the square of y - x (sign -1) or of x + y (sign 1), and s = c times that. Close to the rim s comes from the
// radii, which the gaps know, and the angle, which the coordinates know.
template <class X, class Y, class D, class Q, class S>
struct GapPair {
    X x;
    Y y;
    D difference;
    Q square;
    S s;
};

template <int sign, class Row, class C, class A, class B>
HORO_HD auto gap_pair(Row& row, const C& c, const A& a, const B& b) {
    const auto xx = row.sum(Index<0>());
    const auto yy = row.sum(Index<1>());
    const auto dd = row.sum(Index<2>());
    const auto x_rim = value_of(a) < 0.5;
    const auto y_rim = value_of(b) < 0.5;
    const auto both = x_rim & y_rim;
    const auto x = gap_radius(c, a, xx);
    const auto y = gap_radius(c, b, yy);
    const auto rx = root(x.square);
    const auto ry = root(y.square);
    const auto radii = with_value(rx - ry, pick(both, (b - a) / (rx + ry), rx - ry));
    const auto nx = inverse_or_zero(root(xx));
    const auto ny = inverse_or_zero(root(yy));
    // 1 + sign cos, from the sine where it is small
    const auto cosine = (sign * 1.0) * row.sum(Index<4>()) * (nx * ny);
    const auto by_y = row.gram(Index<0>(), Index<1>(), Index<4>());
    const auto by_d = row.gram(Index<0>(), Index<2>(), Index<3>());
    const auto sine = pick(value_of(yy) < value_of(dd), by_y, by_d) * (nx * nx * ny * ny);
    const auto opening = pick(value_of(cosine) < 0.0, sine / (1.0 - cosine), 1.0 + cosine);
    const auto turned = radii * radii + 2.0 * rx * ry * opening;
    // of a point much closer to the origin, which may have no direction
    const auto apart_radii =
        (4.0 * value_of(x.square) < value_of(y.square)) | (4.0 * value_of(y.square) < value_of(x.square));
    const auto inner = 2.0 * sign * c * (x.factor * y.factor) * row.sum(Index<4>());
    const auto polar = pick(apart_radii, x.square + y.square + inner, turned);
    const auto longer = (yy - xx) * inverse_or_zero(root(xx) + root(yy));
    const auto apart = 1.0 / root(c) * nx * (radii + ry * ny * longer);
    const auto difference = with_value(x.factor - y.factor, pick(both, apart, x.factor - y.factor));
    const auto square = pick(x_rim | y_rim, polar / c, dd);
    const auto s = pick(x_rim | y_rim, polar, c * dd);
    return GapPair<decltype(x.factor), decltype(y.factor), decltype(difference), decltype(square),
                   decltype(s)>{x.factor, y.factor, difference, square, s};
}

struct Gap : Rows<0, 1> {
    static constexpr const char* name = "poincare.gap";
    static constexpr const char* signature = "x:row; c -> gap:scalar";
    static constexpr const char* doc =
        "1 - c|x|^2, to the last bits however close to the rim." HORO_POINCARE_RANGE;
    static constexpr int terms = 0, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.result(0, row.gap(Index<0>()));
    }
};

struct ToGap : Rows<0, 1> {
    static constexpr const char* name = "poincare.to_gap";
    static constexpr const char* signature = "x:row; c -> out:ambient";
    static constexpr const char* doc = "x with its gap 1 - c|x|^2 before it." HORO_POINCARE_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.constant(0, 1.0);
        row.result(0, row.gap(Index<0>()));
    }
};

struct FromGap : WithGaps<Rows<0, 1>> {
    static constexpr const char* name = "poincare.from_gap";
    static constexpr const char* signature = "x:ambient; c -> out:row";
    static constexpr const char* doc =
        "The coordinates of a point with its gap, where the gap says." HORO_GAP_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        row.coefficient(0, gap_radius(row.curvature(), row.number(Index<0>()), row.sum(Index<0>())).factor);
    }
};

template <class Vectors>
struct GapPoints : WithGaps<Vectors> {
    static constexpr bool precise = true;
    static constexpr int dots = 5;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 1}, {0, 2}};
    static constexpr Determinant angles[] = {{0, 1, 4}, {0, 2, 3}};
    static constexpr bool plain_angles = true;
};

struct DistGap : GapPoints<Differences<0, 2>> {
    static constexpr const char* name = "poincare.dist_gap";
    static constexpr const char* signature = "x:ambient y:ambient; c -> out:scalar";
    static constexpr const char* doc = "dist(x, y) of points with their gaps." HORO_GAP_RANGE;
    static constexpr const char* kinks = "where x = y";
    static constexpr int terms = 0;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.number(Index<0>());
        const auto b = row.number(Index<1>());
        const auto pair = gap_pair<-1>(row, c, a, b);
        row.result(0, 2.0 * asinh_multiple(root(pair.square) / (root(a) * root(b)), c));
    }
};

struct MobiusAddGap : GapPoints<Totals<0, 2>> {
    static constexpr const char* name = "poincare.mobius_add_gap";
    static constexpr const char* signature = "x:ambient y:ambient; c -> out:ambient";
    static constexpr const char* doc =
        "x (+) y and its gap, which is a b / D with D as in mobius_add, of points with their gaps a and "
        "b." HORO_GAP_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.number(Index<0>());
        const auto b = row.number(Index<1>());
        const auto pair = gap_pair<1>(row, c, a, b);
        const auto ab = a * b;
        const auto i = 1.0 / (pair.s + ab);
        const auto gap = ab * i;
        // (s x + a (x + y)) / (s + a b); s / (s + a b) has the derivatives of 1 - gap, which do not cancel
        row.coefficient(0, with_value(1.0 - gap, pair.s * i) * pair.x + a * i * pair.difference);
        row.coefficient(1, a * i * pair.y);
        row.result(0, gap);
    }
};

struct LogmapGap : GapPoints<Differences<0, 2>> {
    static constexpr const char* name = "poincare.logmap_gap";
    static constexpr const char* signature = "x:ambient y:ambient; c -> out:row";
    static constexpr const char* doc =
        "logmap(x, y) of points with their gaps, a vector of about the size of the gap of x." HORO_GAP_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.number(Index<0>());
        const auto b = row.number(Index<1>());
        const auto pair = gap_pair<-1>(row, c, a, b);
        const auto ab = a * b;
        const auto z2 = pair.s / ab;
        // of y - x as it is for near points, times a; for others without z2 in it, as what the gaps do to
        // asinh(z)/z and to the rest nearly cancels
        const auto near = asinh_ratio(z2) / (b * root(1.0 + z2));
        const auto far = a * asinh_root(z2) / root(pair.s * (pair.s + ab));
        const auto scale = pick(value_of(z2) < 1.0, near, far);
        row.coefficient(0, -(scale * (pair.s * pair.x + a * pair.difference)));
        row.coefficient(1, scale * a * pair.y);
    }
};

struct ExpmapGap : WithGaps<Rows<0, 2>> {
    static constexpr const char* name = "poincare.expmap_gap";
    static constexpr const char* signature = "x:ambient v:row; c -> out:ambient";
    static constexpr const char* doc =
        "expmap(x, v) and its gap, of a point with its gap a, sqrt(c)|v|/a <= 340." HORO_GAP_RANGE;
    static constexpr bool precise = true;
    static constexpr int terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    static constexpr Determinant angles[] = {{0, 1, 2}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto c = row.curvature();
        const auto a = row.number(Index<0>());
        const auto inverse = 1.0 / a;
        const auto w = c * (row.sum(Index<1>()) * (inverse * inverse));
        const auto ratio = tanh_ratio(w);
        const auto b = sech2(w);
        const auto x = gap_radius(c, a, row.sum(Index<0>()));
        const auto q = w * (ratio * ratio);
        const auto scale = c * x.factor * (ratio * inverse);
        const auto m = scale * row.sum(Index<2>());
        // c^2 f^2 (ratio/a)^2 times the determinant of x and v
        const auto cross = scale * (scale * row.gram(Index<0>(), Index<1>(), Index<2>()));
        const auto i = 1.0 / translation(a, b, x.square, q, m, cross);
        row.coefficient(0, x.factor * (1.0 + a * q * i));
        row.coefficient(1, ratio * i);
        row.result(0, a * b * i);
    }
};

struct Expmap0Gap : Rows<0, 1> {
    static constexpr const char* name = "poincare.expmap0_gap";
    static constexpr const char* signature = "v:row; c -> out:ambient";
    static constexpr const char* doc =
        "expmap0(v) with its gap 1/cosh(sqrt(c)|v|)^2 before it. Range: c > 0, sqrt(c)|v| <= 340.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto w = row.curvature() * row.sum(Index<0>());
        row.coefficient(0, tanh_ratio(w));
        row.result(0, sech2(w));
    }
};

// artanh(r)/r, r = sqrt(c)|x|, times x: of r^2 = 1 - a near the rim
struct Logmap0Gap : WithGaps<Rows<0, 1>> {
    static constexpr const char* name = "poincare.logmap0_gap";
    static constexpr const char* signature = "x:ambient; c -> out:row";
    static constexpr const char* doc = "logmap0(x) of a point with its gap." HORO_GAP_RANGE;
    static constexpr int terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto a = row.number(Index<0>());
        const auto x = gap_radius(row.curvature(), a, row.sum(Index<0>()));
        row.coefficient(0, x.factor * (asinh_ratio(x.square / a) / root(a)));
    }
};

}  // namespace poincare
}  // namespace horo
