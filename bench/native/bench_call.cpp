// What one call costs in C, for the calls that RowOpBench makes from Java: a row operation, one with six
// operands, and a set.
#include <chrono>
#include <cstdio>
#include <initializer_list>

#include "horosphere/horo.h"

namespace {

// Nanoseconds of a call, least of many rounds, short ones, so that some are undisturbed.
template <class Call>
double nanoseconds(Call call) {
    double best = 1e9;
    for (int round = 0; round < 10000; ++round) {
        constexpr int calls = 400;
        const auto started = std::chrono::steady_clock::now();
        for (int i = 0; i < calls; ++i) call();
        const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - started;
        if (took.count() / calls < best) best = took.count() / calls;
    }
    return best;
}

}  // namespace

int main() {
    int32_t add = 0, gradient = 0;
    if (horo_op_find("poincare.mobius_add", &add) != HORO_OK) return 1;
    if (horo_op_find("poincare.expmap.vjp", &gradient) != HORO_OK) return 1;
    constexpr int64_t dim = 8, k = 16;
    float x[k * dim] = {}, y[k * dim] = {}, g[k * dim] = {}, out[k * dim], g_y[k * dim], g_c[k], w[k];
    for (float& weight : w) weight = 1;
    for (const int64_t rows : {int64_t{1}, k}) {
        const double add_time = nanoseconds([&] {
            horo_row_op(add, HORO_F32, rows, dim, x, dim, y, dim, nullptr, 0, nullptr, 0, out, dim, nullptr,
                        0, nullptr, 0, nullptr, 0, 1, 0, 0, 0, 0, 0, nullptr);
        });
        const double gradient_time = nanoseconds([&] {
            horo_row_op(gradient, HORO_F32, rows, dim, x, dim, y, dim, g, dim, nullptr, 0, out, dim, g_y, dim,
                        g_c, 1, nullptr, 0, 1, 0, 0, 0, 0, 0, nullptr);
        });
        const double midpoint_time = nanoseconds([&] {
            horo_midpoint(HORO_POINCARE, HORO_F32, 1, rows, dim, x, rows * dim, dim, w, rows, 1, out, dim,
                          nullptr, 0, nullptr);
        });
        std::printf(
            "%2d rows of %d, ns a call: poincare.mobius_add %.1f, poincare.expmap.vjp %.1f, horo_midpoint "
            "%.1f\n",
            static_cast<int>(rows), static_cast<int>(dim), add_time, gradient_time, midpoint_time);
    }
}
