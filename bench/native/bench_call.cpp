// What one call of a row operation costs in C, for the calls that RowOpBench makes from Java.
#include <chrono>
#include <cstdio>
#include <initializer_list>

#include "horosphere/horo.h"

int main() {
    int32_t op = 0;
    if (horo_op_find("poincare.mobius_add", &op) != HORO_OK) return 1;
    constexpr int64_t dim = 8;
    float x[16 * dim] = {}, y[16 * dim] = {}, out[16 * dim];
    for (const int64_t rows : {1, 16}) {
        double best = 1e9;
        for (int round = 0; round < 10000; ++round) {  // short ones, so that some are undisturbed
            constexpr int calls = 400;
            const auto started = std::chrono::steady_clock::now();
            for (int i = 0; i < calls; ++i)
                horo_row_op(op, HORO_F32, rows, dim, x, dim, y, dim, nullptr, 0, nullptr, 0, out, dim,
                            nullptr, 0, nullptr, 0, nullptr, 0, 1, 0, 0, 0, 0, 0, nullptr);
            const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - started;
            if (took.count() / calls < best) best = took.count() / calls;
        }
        std::printf("poincare.mobius_add, %2d rows of %d: %.1f ns a call\n", static_cast<int>(rows),
                    static_cast<int>(dim), best);
    }
}
