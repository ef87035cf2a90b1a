// Distances between all points of two sets, in the same forms as poincare.dist and lorentz.dist but with one
// sum per pair: everything else is a number of each point.
//
// A model is a struct: `Point`, the numbers of a point; `scale`, the factor its coordinates take before the
// squared differences are summed; `Pair`, the distance and its gradient from two points and that sum.
// Where the factor makes a direction of a point, rounding leaves it a length that is not 1: its square is 1 +
// `excess`, which matters between points close to each other and far out.
#pragma once
#include "geometry/double_double.h"

namespace horo {

// The gradient of one distance by x is own * x + other * (y - x), x and y times their scale.
template <class V>
struct PairSlopes {
    V own, other, curvature;
};

// By how much too much of u = x / |x| there is in v - u, whose share of u is -|u - v|^2/2: between close
// points that is far less than what rounding left.
template <class Point>
HORO_HD auto lengthwise(const Point& x, const Point& y) {
    return 0.5 * (y.excess - x.excess);
}

// |u - v|^2 without that.
template <class Point, class V>
HORO_HD V across(const Point& x, const Point& y, V square) {
    const V d = lengthwise(x, y);
    return at_least<V>(square - d * d, 0.0);
}

namespace poincare {

struct PairDistance {
    static constexpr bool ambient = false, scaled = false, precise = false;

    template <class V>
    struct Point {
        V xx, a, inverse;  // |x|^2, a = 1 - c|x|^2, 1 / sqrt(a)
    };
    HORO_HD static Point<double> point(double c, Sum<double> xx, double) {
        const Sum<double> p = two_product<double>(xx.hi, c);
        const double a = ((1.0 - p.hi) - p.lo) - c * xx.lo;
        return {xx.hi, a, 1.0 / square_root<double>(a)};
    }
    HORO_HD static double scale(double) { return 1.0; }

    template <class V>
    struct Pair {
        double c;
        Point<V> x, y;
        V d, i, z;  // |y - x|, 1 / sqrt(a b), their product
        AsinhParts<V> p;
        HORO_HD Pair(double c_, const Point<V>& x_, const Point<V>& y_, V dd)
            : c(c_),
              x(x_),
              y(y_),
              d(square_root<V>(dd)),
              i(x_.inverse * y_.inverse),
              z(d * i),
              p(asinh_parts<V>(c_ * z * z)) {}
        HORO_HD V distance() const { return 2.0 * z * p.ratio; }
        HORO_HD PairSlopes<V> slopes(V g) const {
            const V e = g * i / p.root;
            return {2.0 * c * e * d / x.a, choose<V>(d == 0.0, V{}, -2.0 * e / d),
                    e * d * (x.xx / x.a + y.xx / y.a) - g * z * z * z * p.difference};
        }
    };
};

}  // namespace poincare

namespace klein {

// As on the hyperboloid, with tanh(rho) = sqrt(c)|x|, u, v the directions of x and y: z^2 = sinh^2(d/2)/c =
// H^2 / (2 (1 + cosh(rho - sigma))) + P Q |u - v|^2/4, P = sinh(rho)/sqrt(c), H = sinh(rho - sigma)/sqrt(c).
struct PairDistance {
    static constexpr bool ambient = false, scaled = true, precise = true;

    template <class V>
    struct Point {
        V xx, low, norm, gamma, excess;  // gamma = cosh(rho)
    };
    HORO_HD static Point<double> point(double c, Sum<double> xx, double excess) {
        const Sum<double> p = two_product<double>(xx.hi, c);
        const double a = ((1.0 - p.hi) - p.lo) - c * xx.lo;
        return {xx.hi, xx.lo, square_root<double>(xx.hi), 1.0 / square_root<double>(a), excess};
    }
    HORO_HD static double scale(double norm) { return norm > 0 ? 1.0 / norm : 0.0; }

    template <class V>
    struct Pair {
        double c;
        Point<V> x, y;
        V angle, h, cosh, from, to, z2, z;  // from, to: P and Q
        AsinhParts<V> p;
        HORO_HD Pair(double c_, const Point<V>& x_, const Point<V>& y_, V square)
            : c(c_),
              x(x_),
              y(y_),
              angle(across(x_, y_, square)),
              from(x_.norm * x_.gamma),
              to(y_.norm * y_.gamma) {
            const V further = (x.xx - y.xx) + (x.low - y.low);
            h = choose<V>(further == 0.0, V{}, further / (x.norm + y.norm) * (x.gamma * y.gamma));
            cosh = square_root<V>(1.0 + c * (h * h));
            z2 = 0.5 * h * h / (1.0 + cosh) + 0.25 * from * to * angle;
            z = square_root<V>(z2);
            p = asinh_parts<V>(c * z2);
        }
        HORO_HD V distance() const { return 2.0 * z * p.ratio; }
        HORO_HD PairSlopes<V> slopes(V g) const {
            const V e = choose<V>(z == 0.0, V{}, g / (z * p.root));
            const V squares = from * from + to * to, flat = h / (1.0 + cosh);
            const V by_c =
                0.25 * h * h / cosh * (squares - flat * flat) + 0.125 * from * to * angle * squares;
            const V other = -0.5 * e * x.gamma * to;
            return {e * x.gamma * (0.5 * x.gamma * h + 0.25 * c * (from * from) * to * angle) -
                        other * lengthwise(x, y),
                    other, e * by_c - g * z * z2 * p.difference};
        }
    };
};

}  // namespace klein

namespace lorentz {

// With u, v the directions of xs, ys and rho, sigma the distances from the origin over sqrt(K):
// sinh^2(d/2) = (cosh(rho - sigma) - 1)/2 + |xs||ys||u - v|^2/(4K), where neither term cancels.
struct PairDistance {
    static constexpr bool ambient = true, scaled = true, precise = true;

    template <class V>
    struct Point {
        V xx, low, norm, time, excess;
    };
    HORO_HD static Point<double> point(double k, Sum<double> xx, double excess) {
        return {xx.hi, xx.lo, square_root<double>(xx.hi), square_root<double>(k + xx.hi), excess};
    }
    HORO_HD static double scale(double norm) { return norm > 0 ? 1.0 / norm : 0.0; }

    template <class V>
    struct Pair {
        double k;
        Point<V> x, y;
        V h, s, advance;  // sinh(rho - sigma), sinh^2(d/2), y0 - x0
        AsinhParts<V> p;
        HORO_HD Pair(double k_, const Point<V>& x_, const Point<V>& y_, V square) : k(k_), x(x_), y(y_) {
            const V angle = across(x_, y_, square);
            const V further = (x.xx - y.xx) + (x.low - y.low);
            h = choose<V>(further == 0.0, V{}, further / (x.norm * y.time + y.norm * x.time));
            s = 0.5 * h * h / (1.0 + square_root<V>(1.0 + h * h)) + x.norm * y.norm * angle / (4.0 * k);
            p = asinh_parts<V>(s);
            advance = -further / (x.time + y.time);
        }
        HORO_HD V distance() const { return 2.0 * __builtin_sqrt(k) * (square_root<V>(s) * p.ratio); }
        // The gradient of sinh^2(d/2) by xs is u sinh(rho - sigma) / (2 x0) - |ys| (v - u) / (2K).
        HORO_HD PairSlopes<V> slopes(V g) const {
            const V scaled_g = g * __builtin_sqrt(k), root = square_root<V>(s);
            const V e = choose<V>(s == 0.0, V{}, scaled_g / (root * p.root));
            const V other = -0.5 * e * y.norm / k;
            return {0.5 * e * h / x.time - other * lengthwise(x, y), other,
                    scaled_g * root * s * p.difference / k +
                        e * (advance * advance) / (4.0 * k * x.time * y.time)};
        }
    };
};

}  // namespace lorentz
}  // namespace horo
