// Maps of a batch of points by a matrix, one row of it per output: everything an output needs of a point and
// of a matrix row is their inner product and a few numbers of each.
//
// An operation is a struct. `Row`: the numbers of a point, from |x|^2; `Column`: those of a matrix row z,
// from |z|^2 and its bias; `value`: of their product. With `row_sums` the squares of the values are summed
// over a row, and `Result` makes the output of the total and of each value; without, the values are the
// output. For the gradient `reduce` makes `shares` sums over a row, in pairs of doubles, so that what the
// other outputs give to one is exact beside it; then `Back` gives for each output the cotangents of the
// product, of |z| and of the bias, and from the totals of what each adds those of the row and, if wanted, the
// curvature. Formulas: O. Ganea et al., "Hyperbolic Neural Networks" (2018); R. Shimizu et al., "Hyperbolic
// Neural Networks++" (2021); W. Chen et al., "Fully Hyperbolic Neural Networks" (2022); A. Bdeir et al.,
// "Fully Hyperbolic Convolutional Neural Networks" (2024).
#pragma once
#include "geometry/double_double.h"
#include "geometry/row_op.h"

namespace horo {

// What an operation may override.
struct LinearOperation {
    static constexpr bool ambient_in = false;   // points of dim + 1, time first
    static constexpr bool ambient_out = false;  // results of p + 1, time first
    static constexpr bool time_column = false;  // matrix rows of dim + 1, read against the time too
    static constexpr bool bias = true;
    static constexpr bool normed = true;  // Column needs |z|^2
    static constexpr bool row_sums = false;
    static constexpr int shares = 0;
};

// The cotangents that one output gives to its product, to |z| and to the bias, and its addends to the row's.
template <class V>
struct LinearSlopes {
    V product, norm, bias, row, curvature;
};

template <class V>
struct NoColumn {
    NoColumn() = default;
    HORO_HD NoColumn(double, V, V) {}
};

template <class V>
HORO_HD V magnitude(V x) {
    return choose<V>(x < 0.0, -x, x);
}

// A hyperplane at signed distance r from the origin with normal z: q = r / radius.
template <class V>
struct Hyperplane {
    V norm, inverse, q, cosh, sinh, decay;  // inverse = 1 / |z|, 0 for z = 0; decay = exp(-|q|)

    Hyperplane() = default;
    HORO_HD Hyperplane(V zz, V q_)
        : norm(square_root<V>(zz)), inverse(choose<V>(zz == 0.0, V{}, 1.0 / norm)), q(q_) {
        const SinhParts<V> p = sinh_parts<V>(q * q);
        cosh = p.cosh;
        sinh = q * p.ratio;
        decay = 1.0 / (cosh + magnitude<V>(sinh));
    }
    // along cosh(q) - time sinh(q) of a point with that time and that part on the normal. On the normal
    // itself and far out both terms are nearly one; then it is made of lack = time - |along|.
    HORO_HD V apart(V along, V time, V across2, V lack) const {
        const V closer = lack * cosh - time * decay, plain = along * cosh - time * sinh;
        const V far = choose<V>(2.0 * lack < time, choose<V>(sinh > 0.0, -closer, closer), plain);
        return choose<V>(across2 == 0.0, choose<V>(along * sinh > 0.0, far, plain), plain);
    }
};

// |x|^2 - along^2; 0 where that is what rounding has left
template <class V>
HORO_HD V square_across(double xx, V along) {
    const V rest = xx - along * along;
    return choose<V>(rest > 0x1p-50 * xx, rest, V{});
}

// The sums of s^2 and of g s over a row.
template <class V>
HORO_HD void add_shares(V s, V g, Sum<V>* sum) {
    sum[0] = sum[0] + two_product(s, s);
    sum[1] = sum[1] + two_product(g, s);
}

// The same of all outputs but this one; 0 where that is below the precision of the sums.
template <class V>
struct OtherShares {
    V squares, along;
    HORO_HD OtherShares(const Sum<double>* sum, V s, V g)
        : squares(without(sum[0], two_product(s, s))), along(without(sum[1], two_product(g, s))) {}
    HORO_HD static V without(Sum<double> sum, Sum<V> own) {
        const V rest = (Sum<V>{V{} + sum.hi, V{} + sum.lo} - own).hi;
        return choose<V>(magnitude<V>(rest) > 0x1p-98 * magnitude<V>(own.hi), rest, V{});
    }
};

// Slopes of asinh(b), b = along cosh(q) - (1 + rise) sinh(q): 1 + rise is the time of a point of the unit
// hyperboloid, `along` its part on the normal, across2 the square of what is left. At the origin asinh(b) is
// -q, so the derivatives by the curvature, which are 0 there, are written on how far beyond it is:
// shift = sinh(delta), delta = asinh(b) + q. Without `curvature` only by_q is made.
template <class V>
struct PlaneSlopes {
    V by_q;  // of asinh(b)
    V shift, delta;
    V excess;  // sinh(delta) - delta
    V root;    // across2 / (R + root), R = sqrt(across2 + root^2) = -db/dq, root = sqrt(1 + b^2)

    HORO_HD PlaneSlopes(const Hyperplane<V>& z, V rise, V along, V across2, V b, V cosh_asinh,
                        bool curvature) {
        const V to = square_root<V>(cosh_asinh * cosh_asinh + across2);
        by_q = -to / cosh_asinh;
        root = across2 / (to + cosh_asinh);
        shift = delta = excess = V{};
        if (!curvature) return;
        const V beyond = choose<V>(rise < 1.0, along * z.cosh - rise * z.sinh, b + z.sinh),
                inverse = 1.0 / z.cosh, tanh = z.sinh * inverse;
        shift = choose<V>(b * tanh < 0.0, beyond * ((b * inverse - tanh) / (b - tanh * cosh_asinh)),
                          b * z.cosh + z.sinh * cosh_asinh);
        const V w = shift * shift;
        const AsinhParts<V> p = asinh_parts<V>(w);
        delta = shift * p.ratio;
        excess = shift * w * (1.0 / (p.root * (1.0 + p.root)) - p.difference);
    }
};

namespace poincare {

struct MobiusMatvec : LinearOperation {
    static constexpr const char* name = "poincare.mobius_matvec";
    static constexpr bool bias = false, normed = false, row_sums = true;
    static constexpr int shares = 2;

    struct Row {
        double c, xx, a, alpha, slope;  // logmap0(x) = alpha x
        Row() = default;
        HORO_HD Row(double c_, Sum<double> s) : c(c_), xx(s.hi), a(gap(c_, s)) {
            const AsinhParts<double> p = asinh_parts<double>(c * xx / a);
            alpha = p.ratio / square_root<double>(a);
            slope = 0.5 * (1.0 - p.difference / square_root<double>(a)) / a;  // d alpha / d(c|x|^2)
        }
    };
    template <class V>
    using Column = NoColumn<V>;

    template <class V>
    HORO_HD static V value(const Row&, const Column<V>&, V product) {
        return product;
    }
    struct Result {
        double scale, time;
        HORO_HD Result(const Row& row, double total)
            : scale(row.alpha * tanh_parts<double>(row.c * row.alpha * row.alpha * total).ratio), time(0) {}
        template <class V>
        HORO_HD V out(V value) const {
            return scale * value;
        }
    };
    template <class V>
    HORO_HD static void reduce(const Row&, const Column<V>&, V value, V g, Sum<V>* sum) {
        add_shares(value, g, sum);
    }
    struct Back {
        const Row& row;
        const Sum<double>* sum;
        double sech2, bend, by_alpha, by_c;
        HORO_HD Back(const Row& row_, const Sum<double>* sum_, double) : row(row_), sum(sum_) {
            const double alpha2 = row.alpha * row.alpha, w = row.c * alpha2 * sum[0].hi;
            const TanhParts<double> p = tanh_parts<double>(w);
            sech2 = p.sech2;
            bend = p.difference * row.c * alpha2;
            by_alpha = p.sech2 * sum[1].hi;
            by_c = -0.5 * p.difference * alpha2 * sum[0].hi * row.alpha * sum[1].hi;
        }
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>&, V value, V g, bool) const {
            const OtherShares<V> other(sum, value, g);
            const V product = g * (sech2 + bend * other.squares) - bend * value * other.along;
            return {row.alpha * product, V{}, V{}, V{}, V{}};
        }
        HORO_HD double along_x(double, double) const { return 2.0 * row.c * row.slope * by_alpha; }
        HORO_HD double curvature(double, double, double) const {
            return by_c + row.slope * row.xx * by_alpha;
        }
    };
};

// What the operations on hyperplanes of the ball share: v = scale asinh(argument) is a signed distance times
// a factor, argument = (2 sqrt(c) <x,z>/|z| cosh q - (1 + c|x|^2) sinh q) / (1 - c|x|^2), q = 2 sqrt(c) r.
struct PlaneRow {
    double c, root, xx, a, rim;  // rim = 1 - sqrt(c)|x|
    PlaneRow() = default;
    HORO_HD PlaneRow(double c_, Sum<double> s)
        : c(c_),
          root(__builtin_sqrt(c_)),
          xx(s.hi),
          a(gap(c_, s)),
          rim(a / (1.0 + square_root<double>(c_ * s.hi))) {}
};

template <class V>
struct PlaneColumn : Hyperplane<V> {
    PlaneColumn() = default;
    HORO_HD PlaneColumn(double c, V zz, V r) : Hyperplane<V>(zz, 2.0 * __builtin_sqrt(c) * r) {}
};

template <class V>
struct PlaneParts {
    V along, across2, argument, asinh, root, inverse_root;  // along, across2: of sqrt(c) x

    HORO_HD PlaneParts(const PlaneRow& row, const PlaneColumn<V>& z, V product)
        : along(row.root * product * z.inverse), across2(square_across<V>(row.c * row.xx, along)) {
        const V time = V{} + (2.0 - row.a);
        argument = z.apart(2.0 * along, time, across2, V{} + row.rim * row.rim) / row.a;
        const V w = argument * argument;
        const AsinhParts<V> p = asinh_parts<V>(w);
        asinh = argument * p.ratio;
        root = p.root;
        inverse_root = p.inverse_root;
    }
    // From e, the cotangent of the asinh, and by_norm, that of the factor |z|. The cotangent of c is that of
    // asinh / sqrt(c).
    HORO_HD LinearSlopes<V> slopes(const PlaneRow& row, const PlaneColumn<V>& z, V e, V by_norm,
                                   bool curvature) const {
        const V h = e * inverse_root;  // cotangent of the argument
        const V by_u = h * z.cosh / row.a, by_a = -h * (argument - z.sinh) / row.a;
        const PlaneSlopes<V> p(z, V{} + 2.0 * row.c * row.xx / row.a, 2.0 / row.a * along,
                               4.0 / (row.a * row.a) * across2, argument, root, curvature);
        const V turned = (argument * inverse_root) * z.cosh - z.q * inverse_root;
        return {by_u * (2.0 * row.root) * z.inverse, by_norm - by_u * (2.0 * along) * z.inverse,
                e * p.by_q * (2.0 * row.root), -2.0 * row.c * by_a,
                0.5 / row.c * e * (p.excess + p.root * turned)};
    }
};

// scaled: times 2 |z|, the logits of HNN++.
template <bool scaled>
struct PlaneDistance : LinearOperation {
    static constexpr const char* name = scaled ? "poincare.mlr" : "poincare.dist2plane";
    using Row = PlaneRow;
    template <class V>
    using Column = PlaneColumn<V>;

    template <class V>
    HORO_HD static V value(const Row& row, const Column<V>& z, V product) {
        const V d = PlaneParts<V>(row, z, product).asinh / row.root;
        return scaled ? 2.0 * z.norm * d : d;
    }
    struct Back {
        const Row& row;
        HORO_HD Back(const Row& row_, const Sum<double>*, double) : row(row_) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>& z, V product, V g, bool curvature) const {
            const PlaneParts<V> p(row, z, product);
            return scaled ? p.slopes(row, z, 2.0 * z.norm * g / row.root, 2.0 * g * p.asinh / row.root,
                                     curvature)
                          : p.slopes(row, z, g / row.root, V{}, curvature);
        }
        HORO_HD double along_x(double sum, double) const { return sum; }
        HORO_HD double curvature(double, double sum, double) const { return sum; }
    };
};

// y = w / (1 + sqrt(1 + c|w|^2)), w = sinh(sqrt(c) v) / sqrt(c), v the logits of HNN++.
struct FullyConnected : LinearOperation {
    static constexpr const char* name = "poincare.fc";
    static constexpr bool row_sums = true;
    static constexpr int shares = 2;
    using Row = PlaneRow;
    template <class V>
    using Column = PlaneColumn<V>;
    static constexpr double most = 350;  // sinh^2 of it and sums of that are finite

    // sqrt(c) v
    template <class V>
    HORO_HD static V reach(V norm, V asinh) {
        const V t = 2.0 * norm * asinh;
        return choose<V>(t > most, V{} + most, choose<V>(t < -most, V{} - most, t));
    }
    template <class V>
    HORO_HD static V value(const Row& row, const Column<V>& z, V product) {
        const V t = reach(z.norm, PlaneParts<V>(row, z, product).asinh);
        return t * sinh_parts<V>(t * t).ratio;
    }
    struct Result {
        double scale, time;
        HORO_HD Result(const Row& row, double total)
            : scale(1.0 / (row.root * (1.0 + square_root<double>(1.0 + total)))), time(0) {}
        template <class V>
        HORO_HD V out(V value) const {
            return scale * value;
        }
    };
    template <class V>
    HORO_HD static void reduce(const Row& row, const Column<V>& z, V product, V g, Sum<V>* sum) {
        const V t = reach(z.norm, PlaneParts<V>(row, z, product).asinh);
        add_shares(t * sinh_parts<V>(t * t).ratio, g, sum);
    }
    struct Back {
        const Row& row;
        const Sum<double>* sum;
        double root, direct, share;  // out_k = direct sinh(t_k); share = 1 / ((1 + root) root)
        HORO_HD Back(const Row& row_, const Sum<double>* sum_, double)
            : row(row_),
              sum(sum_),
              root(square_root<double>(1.0 + sum[0].hi)),
              direct(1.0 / (row.root * (1.0 + root))),
              share(1.0 / ((1.0 + root) * root)) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>& z, V product, V g, bool curvature) const {
            const PlaneParts<V> p(row, z, product);
            const V t = reach(z.norm, p.asinh), w = t * t;
            const SinhParts<V> h = sinh_parts<V>(w);
            const V s = t * h.ratio;
            const OtherShares<V> other(sum, s, g);
            // the cotangent of s, then of t
            const V by_s = direct * (g * ((1.0 + root + other.squares) * share) - (s * share) * other.along);
            const V by_t = choose<V>(w < most * most, h.cosh * by_s, V{});
            // Where t is small by_t t and out cancel.
            const V by_c =
                choose<V>(w > 1.0, t * by_t - direct * g * s,
                          direct * g * t * w * h.difference - (direct * share * sum[1].hi) * s * t * h.cosh);
            LinearSlopes<V> slope = p.slopes(row, z, 2.0 * z.norm * by_t, 2.0 * p.asinh * by_t, curvature);
            slope.curvature += 0.5 / row.c * by_c;
            return slope;
        }
        HORO_HD double along_x(double along, double) const { return along; }
        HORO_HD double curvature(double, double curvature, double) const { return curvature; }
    };
};

}  // namespace poincare

namespace lorentz {

struct TimeRow {
    double k, xx, x0;
    TimeRow() = default;
    HORO_HD TimeRow(double k_, Sum<double> s) : k(k_), xx(s.hi), x0(square_root<double>(k_ + s.hi)) {}
};

// The space part W x + b, the time recomputed.
struct Linear : LinearOperation {
    static constexpr const char* name = "lorentz.linear";
    static constexpr bool ambient_in = true, ambient_out = true, time_column = true;
    static constexpr bool normed = false, row_sums = true;
    static constexpr int shares = 1;
    using Row = TimeRow;
    template <class V>
    using Column = NoColumn<V>;

    template <class V>
    HORO_HD static V value(const Row&, const Column<V>&, V product) {
        return product;
    }
    struct Result {
        double time;
        HORO_HD Result(const Row& row, double total) : time(square_root<double>(row.k + total)) {}
        template <class V>
        HORO_HD V out(V value) const {
            return value;
        }
    };
    template <class V>
    HORO_HD static void reduce(const Row&, const Column<V>&, V value, V, Sum<V>* sum) {
        sum[0] = sum[0] + two_product(value, value);
    }
    struct Back {
        const Row& row;
        double by_time;
        HORO_HD Back(const Row& row_, const Sum<double>* sum, double g0)
            : row(row_), by_time(g0 / square_root<double>(row_.k + sum[0].hi)) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>&, V value, V g, bool) const {
            const V h = g + by_time * value;
            return {h, V{}, h, V{}, V{}};
        }
        // by_x0: the cotangent of the time of x
        HORO_HD double along_x(double, double by_x0) const { return by_x0 / row.x0; }
        HORO_HD double curvature(double, double, double by_x0) const {
            return 0.5 * (by_time + by_x0 / row.x0);
        }
    };
};

// sqrt(K) asinh((cosh(q) <xs,z>/|z| - sinh(q) x0) / sqrt(K)), q = r / sqrt(K); scaled: times |z|.
template <bool scaled>
struct PlaneDistance : LinearOperation {
    static constexpr const char* name = scaled ? "lorentz.mlr" : "lorentz.dist2plane";
    static constexpr bool ambient_in = true;
    using Row = TimeRow;

    template <class V>
    struct Column : Hyperplane<V> {
        Column() = default;
        HORO_HD Column(double k, V zz, V r) : Hyperplane<V>(zz, r / __builtin_sqrt(k)) {}
    };
    template <class V>
    HORO_HD static V argument(const Row& row, const Column<V>& z, V product) {
        const V along = product * z.inverse;
        const V lack = row.k / (row.x0 + magnitude<V>(along));
        return z.apart(along, V{} + row.x0, square_across<V>(row.xx, along), lack) / __builtin_sqrt(row.k);
    }
    template <class V>
    HORO_HD static V value(const Row& row, const Column<V>& z, V product) {
        const V b = argument(row, z, product);
        const V d = __builtin_sqrt(row.k) * b * asinh_parts<V>(b * b).ratio;
        return scaled ? z.norm * d : d;
    }
    struct Back {
        const Row& row;
        HORO_HD Back(const Row& row_, const Sum<double>*, double) : row(row_) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>& z, V product, V g, bool curvature) const {
            const double root = __builtin_sqrt(row.k), rise = row.xx / (root * (root + row.x0));
            const V b = argument(row, z, product), u = product * z.inverse;
            const AsinhParts<V> a = asinh_parts<V>(b * b);
            const PlaneSlopes<V> p(z, V{} + rise, u / root, square_across<V>(row.xx, u) / row.k, b, a.root,
                                   curvature);
            const V e = scaled ? g * z.norm : g;
            const V h = e * a.inverse_root;  // cotangent of the argument times sqrt(K)
            const V by_norm = scaled ? g * root * b * a.ratio : V{};
            const V turned = (b * a.inverse_root) * (z.cosh / (1.0 + rise)) - z.q * a.inverse_root;
            // sinh(delta) / x0 - delta
            const V alone = choose<V>(V{} + rise < 1.0, p.excess - rise / (1.0 + rise) * p.shift,
                                      p.shift / (1.0 + rise) - p.delta);
            return {h * z.cosh * z.inverse, by_norm - h * z.cosh * u * z.inverse, e * p.by_q, -h * z.sinh,
                    -0.5 / root * e * (alone + p.root * turned)};
        }
        HORO_HD double along_x(double by_x0, double) const { return by_x0 / row.x0; }
        HORO_HD double curvature(double, double curvature, double) const { return curvature; }
    };
};

}  // namespace lorentz
}  // namespace horo
