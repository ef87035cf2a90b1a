// Maps of a batch of points by a matrix, one row of it per output: everything an output needs of a point and
// of a matrix row is their inner product and a few numbers of each.
//
// An operation is a struct. `Row`: the numbers of a point, from |x|^2; `Column`: those of a matrix row z,
// from |z|^2 and its bias; `value`: of their product. With `row_sums` the squares of the values are summed
// over a row, and `Result` makes the output of the total and of each value; without, the values are the
// output. For the gradient `reduce` makes `shares` sums over a row; then `Back` gives for each output the
// cotangents of the product, of |z| and of the bias, and from the totals of what each adds those of the row
// and the curvature. Formulas: O. Ganea et al., "Hyperbolic Neural Networks" (2018); R. Shimizu et al.,
// "Hyperbolic Neural Networks++" (2021); W. Chen et al., "Fully Hyperbolic Neural Networks" (2022); A. Bdeir
// et al., "Fully Hyperbolic Convolutional Neural Networks" (2024).
#pragma once
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

// A hyperplane at signed distance r from the origin with normal z: q = r / radius.
template <class V>
struct Hyperplane {
    V norm, inverse, q, cosh, sinh, bend;  // inverse = 1 / |z|, 0 for z = 0; bend = q cosh(q) - sinh(q)

    Hyperplane() = default;
    HORO_HD Hyperplane(V zz, V q_)
        : norm(square_root<V>(zz)), inverse(choose<V>(zz == 0.0, V{}, 1.0 / norm)), q(q_) {
        const SinhParts<V> p = sinh_parts<V>(q * q);
        cosh = p.cosh;
        sinh = q * p.ratio;
        bend = q * q * q * p.difference;
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
    HORO_HD static void reduce(const Row&, const Column<V>&, V value, V g, V* sum) {
        sum[0] += value * value;
        sum[1] += g * value;
    }
    struct Back {
        const Row& row;
        double direct, along, by_alpha, by_c;
        HORO_HD Back(const Row& row_, const double* sum, double) : row(row_) {
            const double w = row.c * row.alpha * row.alpha * sum[0];
            const TanhParts<double> p = tanh_parts<double>(w);
            direct = p.ratio * row.alpha;
            along = -p.difference * row.c * row.alpha * row.alpha * row.alpha * sum[1];
            by_alpha = p.sech2 * sum[1];
            by_c = -0.5 * p.difference * row.alpha * row.alpha * sum[0] * row.alpha * sum[1];
        }
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>&, V value, V g) const {
            return {direct * g + along * value, V{}, V{}, V{}, V{}};
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
    double c, root, xx, a;
    PlaneRow() = default;
    HORO_HD PlaneRow(double c_, Sum<double> s) : c(c_), root(__builtin_sqrt(c_)), xx(s.hi), a(gap(c_, s)) {}
};

template <class V>
struct PlaneColumn : Hyperplane<V> {
    PlaneColumn() = default;
    HORO_HD PlaneColumn(double c, V zz, V r) : Hyperplane<V>(zz, 2.0 * __builtin_sqrt(c) * r) {}
};

template <class V>
struct PlaneParts {
    V u, argument, asinh, root, cubic;  // cubic = asinh(argument) - argument / root

    HORO_HD PlaneParts(const PlaneRow& row, const PlaneColumn<V>& z, V product)
        : u(2.0 * row.root * product * z.inverse), argument((u * z.cosh - (2.0 - row.a) * z.sinh) / row.a) {
        const V w = argument * argument;
        const AsinhParts<V> p = asinh_parts<V>(w);
        asinh = argument * p.ratio;
        root = p.root;
        cubic = argument * w * p.difference;
    }
    // From e, the cotangent of the asinh, and by_norm, that of the factor |z|. The cotangent of c is that of
    // asinh / sqrt(c), written on what is left when the first orders cancel.
    HORO_HD LinearSlopes<V> slopes(const PlaneRow& row, const PlaneColumn<V>& z, V e, V by_norm) const {
        const V h = e / root;  // cotangent of the argument
        const V by_u = h * z.cosh / row.a;
        const V by_q = h * (u * z.sinh - (2.0 - row.a) * z.cosh) / row.a;
        const V by_a = -h * (argument - z.sinh) / row.a;
        const V by_c = 0.5 / row.c * (-e * cubic + h * (z.q * u * z.sinh - (2.0 - row.a) * z.bend) / row.a) -
                       row.xx * by_a;
        return {by_u * (2.0 * row.root) * z.inverse, by_norm - by_u * u * z.inverse, by_q * (2.0 * row.root),
                -2.0 * row.c * by_a, by_c};
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
        HORO_HD Back(const Row& row_, const double*, double) : row(row_) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>& z, V product, V g) const {
            const PlaneParts<V> p(row, z, product);
            return scaled ? p.slopes(row, z, 2.0 * z.norm * g / row.root, 2.0 * g * p.asinh / row.root)
                          : p.slopes(row, z, g / row.root, V{});
        }
        HORO_HD double along_x(double sum, double) const { return sum; }
        HORO_HD double curvature(double, double sum, double) const { return sum; }
    };
};

// y = w / (1 + sqrt(1 + c|w|^2)), w = sinh(sqrt(c) v) / sqrt(c), v the logits of HNN++.
struct FullyConnected : LinearOperation {
    static constexpr const char* name = "poincare.fc";
    static constexpr bool row_sums = true;
    static constexpr int shares = 4;
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
    HORO_HD static void reduce(const Row& row, const Column<V>& z, V product, V g, V* sum) {
        const V t = reach(z.norm, PlaneParts<V>(row, z, product).asinh), w = t * t;
        const SinhParts<V> p = sinh_parts<V>(w);
        const V s = t * p.ratio;
        sum[0] += s * s;
        sum[1] += g * s;
        sum[2] += g * t * w * p.difference;
        sum[3] += s * t * p.cosh;
    }
    struct Back {
        const Row& row;
        double direct, along, by_c;
        HORO_HD Back(const Row& row_, const double* sum, double) : row(row_) {
            const double root = square_root<double>(1.0 + sum[0]), d = 1.0 + root;
            direct = 1.0 / (row.root * d);
            along = -direct * sum[1] / (d * root);
            by_c = 0.5 / row.c * (direct * sum[2] + along * sum[3]);
        }
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>& z, V product, V g) const {
            const PlaneParts<V> p(row, z, product);
            const V t = reach(z.norm, p.asinh), w = t * t;
            const SinhParts<V> h = sinh_parts<V>(w);
            const V by_t = choose<V>(w < most * most, h.cosh * (direct * g + along * t * h.ratio), V{});
            return p.slopes(row, z, 2.0 * z.norm * by_t, 2.0 * p.asinh * by_t);
        }
        HORO_HD double along_x(double sum, double) const { return sum; }
        HORO_HD double curvature(double, double sum, double) const { return sum + by_c; }
    };
};

}  // namespace poincare

namespace lorentz {

struct TimeRow {
    double k, x0;
    TimeRow() = default;
    HORO_HD TimeRow(double k_, Sum<double> s) : k(k_), x0(square_root<double>(k_ + s.hi)) {}
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
    HORO_HD static void reduce(const Row&, const Column<V>&, V value, V, V* sum) {
        sum[0] += value * value;
    }
    struct Back {
        const Row& row;
        double by_time;
        HORO_HD Back(const Row& row_, const double* sum, double g0)
            : row(row_), by_time(g0 / square_root<double>(row_.k + sum[0])) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>&, V value, V g) const {
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
        return (z.cosh * product * z.inverse - z.sinh * row.x0) / __builtin_sqrt(row.k);
    }
    template <class V>
    HORO_HD static V value(const Row& row, const Column<V>& z, V product) {
        const V b = argument(row, z, product);
        const V d = __builtin_sqrt(row.k) * b * asinh_parts<V>(b * b).ratio;
        return scaled ? z.norm * d : d;
    }
    struct Back {
        const Row& row;
        HORO_HD Back(const Row& row_, const double*, double) : row(row_) {}
        template <class V>
        HORO_HD LinearSlopes<V> slopes(const Column<V>& z, V product, V g) const {
            const double root = __builtin_sqrt(row.k);
            const V b = argument(row, z, product), w = b * b, u = product * z.inverse;
            const AsinhParts<V> p = asinh_parts<V>(w);
            const V e = scaled ? g * z.norm : g;
            const V h = e / p.root;  // cotangent of the argument times sqrt(K)
            const V by_q = h * (z.sinh * u - z.cosh * row.x0);
            const V by_x0 = -h * z.sinh;
            const V by_norm = scaled ? g * root * b * p.ratio : V{};
            return {h * z.cosh * z.inverse, by_norm - h * z.cosh * u * z.inverse, by_q / root, by_x0,
                    0.5 * e * b * w * p.difference / root - 0.5 * by_q * z.q / row.k};
        }
        HORO_HD double along_x(double by_x0, double) const { return by_x0 / row.x0; }
        HORO_HD double curvature(double by_x0, double sum, double) const {
            return sum + 0.5 * by_x0 / row.x0;
        }
    };
};

}  // namespace lorentz
}  // namespace horo
