// Points of the Poincare ball with their gap a = 1 - c|x|^2 carried beside them, for radii that the
// coordinates of a storage type cannot hold: float32 coordinates end at distance 17 from the origin, gaps
// down to 1e-30 reach 70. From a = 1/2 down the gap says how far out the point lies and the coordinates only
// in which direction; above, it is as the coordinates say and rounding apart redundant. Conventions and range
// otherwise as in poincare.h.
#pragma once
#include "geometry/poincare_formulas.h"

namespace horo {
namespace poincare {

#define HORO_GAP_RANGE " Range: c > 0, 1e-150 < gap <= 1; x not 0 where its gap is less than 1/2."

// Two points (or a point and the reflection of another), x = f_x times the stored one: f_x, f_y, f_x - f_y,
// and s = c times the square of y - x (sign -1) or of x + y (sign 1). Close to the rim s comes from the
// radii, which the gaps know, and the angle, which the coordinates know.
template <class V>
struct GapPair {
    V x, y, difference, s;
};

template <int sign, class V, class Row, class A>
HORO_HD GapPair<V> gap_pair(Row& row, double c, A a, A b) {
    const V xx = row.sum(Index<0>()), yy = row.sum(Index<1>()), dd = row.sum(Index<2>()),
            xy = row.sum(Index<4>());
    const auto x_rim = a < 0.5;
    const auto y_rim = b < 0.5;
    const V p = choose<V>(x_rim, 1.0 - a, c * xx), q = choose<V>(y_rim, 1.0 - b, c * yy);
    const V rx = square_root(p), ry = square_root(q);
    const V by_gap = (b - a) / (rx + ry), by_norm = rx - ry;
    const V radii = choose<V>(x_rim & y_rim, by_gap, by_norm);
    const V nx = inverse_or_zero<V>(square_root(xx)), ny = inverse_or_zero<V>(square_root(yy));
    // 1 + sign cos, from the sine where it is small
    const V cosine = sign * xy * (nx * ny);
    const V by_y = row.gram(Index<0>(), Index<1>(), Index<4>()),
            by_d = row.gram(Index<0>(), Index<2>(), Index<3>());
    const V gram_xy = choose<V>(yy < dd, by_y, by_d);
    const V opening = choose<V>(cosine < 0.0, gram_xy * (nx * nx * ny * ny) / (1.0 - cosine), 1.0 + cosine);
    const V polar = radii * radii + 2.0 * rx * ry * opening;
    const V scale = V{} + 1.0 / __builtin_sqrt(c), one = V{} + 1.0;
    const V fx = choose<V>(x_rim, rx * nx * scale, one), fy = choose<V>(y_rim, ry * ny * scale, one);
    const V longer = (yy - xx) * inverse_or_zero<V>(square_root(xx) + square_root(yy));
    const V both = scale * nx * (radii + ry * ny * longer);
    return {fx, fy, choose<V>(x_rim & y_rim, both, fx - fy), choose<V>(x_rim | y_rim, polar, c * dd)};
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

template <class Vectors>
struct GapPoints : Vectors {
    static constexpr bool precise = true;
    static constexpr int dots = 5;
    static constexpr Product products[] = {{0, 0}, {2, 2}, {1, 1}, {0, 1}, {0, 2}};
};

// The row inputs x and y are operands 0 and 2.
template <int sign>
struct GapVectors : Formula {
    static constexpr int vectors = 3;
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[0];
        b[1] = sign > 0 ? in[0] + in[2] : in[2] - in[0];
        b[2] = in[2];
    }
};

struct DistGap : GapPoints<GapVectors<-1>> {
    static constexpr const char* name = "poincare.dist_gap";
    static constexpr const char* signature = "x:row a:scalar y:row b:scalar; c -> out:scalar";
    static constexpr const char* doc = "dist(x, y) of points with their gaps a and b." HORO_GAP_RANGE;
    static constexpr int terms = 0;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const double c = row.curvature();
        const auto a = row.number(Index<1>());
        const auto b = row.number(Index<3>());
        using V = decltype(a + b);
        const GapPair<V> pair = gap_pair<-1, V>(row, c, a, b);
        const V z = square_root(pair.s) / (square_root<V>(a) * square_root<V>(b));
        row.result(0, 2.0 / __builtin_sqrt(c) * asinh_of(z));
    }
};

struct MobiusAddGap : GapPoints<GapVectors<1>> {
    static constexpr const char* name = "poincare.mobius_add_gap";
    static constexpr const char* signature = "x:row a:scalar y:row b:scalar; c -> out:row gap:scalar";
    static constexpr const char* doc =
        "x (+) y and its gap, which is a b / D with D as in mobius_add, of points with their gaps a and "
        "b." HORO_GAP_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const double c = row.curvature();
        const auto a = row.number(Index<1>());
        const auto b = row.number(Index<3>());
        using V = decltype(a + b);
        const GapPair<V> pair = gap_pair<1, V>(row, c, a, b);
        const V i = 1.0 / (pair.s + a * b);
        row.coefficient(0, (pair.s * pair.x + a * pair.difference) * i);
        row.coefficient(1, a * pair.y * i);
        row.result(1, a * b * i);
    }
};

struct LogmapGap : GapPoints<GapVectors<-1>> {
    static constexpr const char* name = "poincare.logmap_gap";
    static constexpr const char* signature = "x:row a:scalar y:row b:scalar; c -> out:row";
    static constexpr const char* doc =
        "logmap(x, y) of points with their gaps a and b, a vector of about the size of a." HORO_GAP_RANGE;
    static constexpr int terms = 2;
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const double c = row.curvature();
        const auto a = row.number(Index<1>());
        const auto b = row.number(Index<3>());
        using V = decltype(a + b);
        const GapPair<V> pair = gap_pair<-1, V>(row, c, a, b);
        const V ab = square_root<V>(a) * square_root<V>(b), z = square_root(pair.s) / ab;
        const V scale = a * asinh_parts<V>(z * z).ratio / (ab * ab * square_root<V>(1.0 + z * z));
        row.coefficient(0, -scale * (pair.s * pair.x + a * pair.difference));
        row.coefficient(1, scale * a * pair.y);
    }
};

struct ExpmapGap : Formula {
    static constexpr const char* name = "poincare.expmap_gap";
    static constexpr const char* signature = "x:row a:scalar v:row; c -> out:row gap:scalar";
    static constexpr const char* doc =
        "expmap(x, v) and its gap, of a point with its gap a. Range: c > 0, 1e-150 < a <= 1, sqrt(c)|v|/a <= "
        "340.";
    static constexpr bool precise = true;
    static constexpr int vectors = 2, terms = 2, dots = 3;
    static constexpr Product products[] = {{0, 0}, {1, 1}, {0, 1}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[0];
        b[1] = in[2];
    }
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const double c = row.curvature();
        const auto a = row.number(Index<1>());
        using V = decltype(a + a);
        const V xx = row.sum(Index<0>()), n = square_root<V>(row.sum(Index<1>())) / a;
        const TanhParts<V> t = tanh_parts<V>(c * (n * n));
        const V p = choose<V>(a < 0.5, 1.0 - a, c * xx);
        const V f =
            choose<V>(a < 0.5, square_root<V>(p) * inverse_or_zero<V>(square_root<V>(c * xx)), V{} + 1.0);
        const V q = c * (n * n) * (t.ratio * t.ratio), scale = c * f * (t.ratio / a);
        const V m = scale * row.sum(Index<2>());
        // c^2 f^2 (ratio/a)^2 times the determinant of x and v
        const V cross = scale * (scale * row.gram(Index<0>(), Index<1>(), Index<2>()));
        const V i = 1.0 / translation(a, t.sech2, p, q, m, cross);
        row.coefficient(0, f * (1.0 + a * q * i));
        row.coefficient(1, t.ratio * i);
        row.result(1, a * t.sech2 * i);
    }
};

struct Expmap0Gap : Rows<0, 1> {
    static constexpr const char* name = "poincare.expmap0_gap";
    static constexpr const char* signature = "v:row; c -> out:row gap:scalar";
    static constexpr const char* doc =
        "expmap0(v) and its gap 1/cosh(sqrt(c)|v|)^2. Range: c > 0, sqrt(c)|v| <= 340.";
    static constexpr int terms = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto w = row.curvature() * row.sum(Index<0>());
        row.coefficient(0, tanh_ratio(w));
        row.result(1, sech2(w));
    }
};

// artanh(r)/r, r = sqrt(c)|x|, times x: of r^2 = 1 - a near the rim
struct Logmap0Gap : Formula {
    static constexpr const char* name = "poincare.logmap0_gap";
    static constexpr const char* signature = "x:row a:scalar; c -> out:row";
    static constexpr const char* doc = "logmap0(x) of a point with its gap a." HORO_GAP_RANGE;
    static constexpr int vectors = 1, terms = 1, dots = 1;
    static constexpr Product products[] = {{0, 0}};
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[0];
    }
    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const double c = row.curvature();
        const auto a = row.number(Index<1>());
        using V = decltype(a + a);
        const V p = choose<V>(a < 0.5, 1.0 - a, c * row.sum(Index<0>()));
        const V f = choose<V>(a < 0.5,
                              square_root<V>(p) * inverse_or_zero<V>(square_root<V>(c * row.sum(Index<0>()))),
                              V{} + 1.0);
        row.coefficient(0, f * (asinh_parts<V>(p / a).ratio / square_root<V>(a)));
    }
};

}  // namespace poincare
}  // namespace horo
