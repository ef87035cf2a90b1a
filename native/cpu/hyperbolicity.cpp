#include "cpu/hyperbolicity.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "cpu/isa.h"
#include "cpu/pool.h"

namespace horo {
namespace {

constexpr int64_t tile_rows = 32;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t tile_count(int64_t n) {
    const int64_t blocks = ceil_div(n, tile_rows);
    return blocks * (blocks + 1) / 2;
}

const HyperbolicityKernel& kernel() {
    return select(scalar::hyperbolicity_kernel, avx2::hyperbolicity_kernel, avx512::hyperbolicity_kernel);
}

void raise(std::atomic<double>& best, double value) {
    double seen = best.load(std::memory_order_relaxed);
    while (value > seen && !best.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

// Calls body(i) for every row, some rows to a chunk.
template <class F>
void each_row(int64_t n, const horo_exec& exec, F&& body) {
    parallel_for(exec, ceil_div(n, tile_rows), [&](int64_t chunk) {
        for (int64_t i = chunk * tile_rows; i < std::min(n, (chunk + 1) * tile_rows); ++i) body(i);
    });
}

}  // namespace

template <>
void pairwise_distance(const DistanceTask<float>& task, const horo_exec& exec) {
    parallel_for(exec, tile_count(task.rows), [&](int64_t tile) { kernel().distance_f32(task, tile); });
}

template <>
void pairwise_distance(const DistanceTask<double>& task, const horo_exec& exec) {
    parallel_for(exec, tile_count(task.rows), [&](int64_t tile) { kernel().distance_f64(task, tile); });
}

void gromov_product(int64_t n, const double* distances, int64_t base, double* out, double* base_row,
                    const horo_exec& exec) {
    std::memcpy(base_row, distances + base * n, static_cast<size_t>(n) * sizeof(double));
    each_row(n, exec, [&](int64_t i) { kernel().gromov_row(n, distances, base_row, i, out); });
}

double delta_hyperbolicity(int64_t n, const double* gromov, double at_least, bool exhaustive,
                           double* workspace, const horo_exec& exec) {
    double* reach = workspace;
    int64_t* order = reinterpret_cast<int64_t*>(reach + n);
    std::atomic<bool> ordered{true};
    each_row(n, exec, [&](int64_t i) {
        reach[i] = kernel().reach(n, gromov, i);
        order[i] = i;
        if (reach[i] != reach[i]) ordered.store(false, std::memory_order_relaxed);
    });
    if (!ordered.load()) return NAN;
    // Rows of far reach together: the pairs that survive the bound then fill whole tiles.
    std::sort(order, order + n,
              [&](int64_t a, int64_t b) { return reach[a] != reach[b] ? reach[a] > reach[b] : a < b; });
    const DeltaTask task{n, gromov, reach, order, exhaustive};
    // Which pairs are passed over depends on the timing of threads, the maximum does not.
    std::atomic<double> best{std::max(at_least, 0.0)};  // i = j = k gives 0
    if (!exhaustive) {
        each_row(n, exec, [&](int64_t i) { raise(best, kernel().probe(task, i, best.load())); });
    }
    parallel_for(exec, tile_count(n),
                 [&](int64_t tile) { raise(best, kernel().search(task, tile, best.load())); });
    return best.load();
}

}  // namespace horo
