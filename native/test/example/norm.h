#pragma once
#include "geometry/row_op.h"

namespace horo {
namespace poincare {

struct Norm : RowOperation {
    static constexpr const char* name = "poincare.norm";
    static constexpr const char* signature = "x:row v:row; c -> out:scalar";
    static constexpr const char* doc =
        "lambda_x |v|, the length of the tangent vector v at x. Range: c > 0, sqrt(c)|x| < 1.";
    static constexpr int dots = 1, sums = 2, coefficients = 1;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        sum.dot(0, in[0], in[0]);  // compensated: the gap 1 - c|x|^2 needs its last bits
        sum.add(1, in[1] * in[1]);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        row.result[0] = 2.0 * square_root(row.sum[1].hi) / gap(row.param[0], row.sum[0]);
    }
    template <class V>
    HORO_HD static void combine(const V*, const V*, V*) {}  // no row among the outputs
};

struct NormVjp : RowOperation {
    static constexpr const char* name = "poincare.norm.vjp";
    static constexpr const char* signature = "x:row v:row g:scalar; c -> g_x:row g_v:row g_c:scalar";
    static constexpr const char* doc = "Gradient of g norm(x, v) by x, v and c; zero by v where v = 0.";
    static constexpr int dots = 1, sums = 2, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        Norm::reduce(in, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double c = row.param[0];
        const V a = gap(c, row.sum[0]), v = square_root(row.sum[1].hi);
        const V slope = 2.0 * row.scalar[2] * v / (a * a);  // by c|x|^2
        row.k[0] = 2.0 * c * slope;
        row.k[1] = choose<V>(v == 0.0, V{}, 2.0 * row.scalar[2] / (a * v));
        row.result[2] = slope * row.sum[0].hi;
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0];
        out[1] = k[1] * in[1];
    }
};

}  // namespace poincare
}  // namespace horo
