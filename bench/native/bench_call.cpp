// What small calls cost in C: a row operation, one with six operands, a set. As a program it prints the least
// of many rounds; as a library it makes the rounds of CallBench, which takes turns between C and Java in one
// process.
#include <chrono>
#include <cstdio>
#include <initializer_list>

#include "horosphere/horo.h"

namespace {

constexpr int64_t dim = 8;

// Nanoseconds of one of so many calls.
template <class Call>
double round_of(int calls, Call call) {
    const auto started = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - started;
    return took.count() / calls;
}

int32_t op(const char* name) {
    int32_t number = -1;
    horo_op_find(name, &number);
    return number;
}

}  // namespace

// One round of poincare.mobius_add (call 0), poincare.expmap.vjp (1) or the midpoint of `rows` points (2).
// Each operand has room for 16 rows of 8; weights has as many numbers as rows.
extern "C" HORO_API double bench_call(int32_t call, int64_t rows, int32_t calls, const float* x,
                                      const float* y, const float* g, float* weights, float* out,
                                      float* g_v) {
    static const int32_t add = op("poincare.mobius_add"), gradient = op("poincare.expmap.vjp");
    if (call == 0)
        return round_of(calls, [&] {
            horo_row_op(add, HORO_F32, rows, dim, x, dim, y, dim, nullptr, 0, nullptr, 0, out, dim, nullptr,
                        0, nullptr, 0, nullptr, 0, 1, 0, 0, 0, 0, 0, nullptr);
        });
    if (call == 1)
        return round_of(calls, [&] {
            horo_row_op(gradient, HORO_F32, rows, dim, x, dim, y, dim, g, dim, nullptr, 0, out, dim, g_v, dim,
                        weights, 1, nullptr, 0, 1, 0, 0, 0, 0, 0, nullptr);
        });
    return round_of(calls, [&] {
        horo_midpoint(HORO_POINCARE, HORO_F32, 1, rows, dim, x, rows * dim, dim, weights, rows, 1, out, dim,
                      nullptr, 0, nullptr);
    });
}

int main() {
    constexpr int64_t most = 16;
    alignas(64) float x[most * dim] = {}, y[most * dim] = {}, g[most * dim] = {}, out[most * dim],
                               g_v[most * dim];
    float weights[most];
    constexpr const char* names[] = {"poincare.mobius_add", "poincare.expmap.vjp", "horo_midpoint"};
    for (int32_t call = 0; call < 3; ++call)
        for (const int64_t rows : {int64_t{1}, most}) {
            for (float& weight : weights) weight = 1;
            double best = 1e9;
            for (int round = 0; round < 10000; ++round) {  // short ones, so that some are undisturbed
                const double took = bench_call(call, rows, 400, x, y, g, weights, out, g_v);
                if (took < best) best = took;
            }
            std::printf("%s, %2d rows of %d: %.1f ns a call\n", names[call], static_cast<int>(rows),
                        static_cast<int>(dim), best);
        }
}
