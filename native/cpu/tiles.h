// Register tiles over rows of float or double, summed in double. Included by files compiled once per set
// only.
#pragma once
#include "cpu/doubles.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

// Pairs of rows in a register tile.
constexpr int tile_left = 4, tile_right = width == 8 ? 4 : 2;

// What a pair of rows sums over its coordinates: `row` and `column` see the elements of row i and j of the
// block first.
struct Product {
    Doubles row(Doubles v, int64_t) const { return v; }
    Doubles column(Doubles v, int64_t) const { return v; }
    static Doubles step(Doubles a, Doubles b, Doubles sum) { return multiply_add(a, b, sum); }
};

// out[i * stride + j], i < M, j < N, of the rows first_a + i and first_b + j of a block. The order of a
// pair's sum depends on dim alone.
template <int M, int N, class Pair, class A, class B>
static inline void pair_tile(const Pair& pair, const A* a, int64_t a_row, int64_t first_a, const B* b,
                             int64_t b_row, int64_t first_b, int64_t dim, double* out, int64_t stride) {
    a += first_a * a_row;
    b += first_b * b_row;
    out += first_a * stride + first_b;
    Doubles sums[M * N] = {};
    const auto step = [&](auto&& get) {
        Doubles r[N];
        for (int j = 0; j < N; ++j) r[j] = pair.column(get(b + j * b_row), first_b + j);
        for (int i = 0; i < M; ++i) {
            const Doubles l = pair.row(get(a + i * a_row), first_a + i);
            for (int j = 0; j < N; ++j) sums[i * N + j] = Pair::step(l, r[j], sums[i * N + j]);
        }
    };
    int64_t k = 0;
    for (; k + width <= dim; k += width) step([&](auto* p) { return load_doubles(p + k); });
    if (k < dim) step([&](auto* p) { return load_at(p, k, dim); });
    if constexpr (M * N % width == 0) {
        double total[M * N];
        repeat<M * N / width>(
            [&](auto v) { store<double, width>(total + v * width, lane_sums(sums + v * width)); });
        for (int i = 0; i < M; ++i)
            for (int j = 0; j < N; ++j) out[i * stride + j] = total[i * N + j];
    } else {
        for (int i = 0; i < M; ++i)
            for (int j = 0; j < N; ++j) out[i * stride + j] = sum<double, width>(sums[i * N + j]);
    }
}

// All pairs of m and n rows.
template <class Pair, class A, class B>
static inline void pair_block(const Pair& pair, const A* a, int64_t a_row, int64_t m, const B* b,
                              int64_t b_row, int64_t n, int64_t dim, double* out, int64_t stride) {
    for (int64_t i = 0; i < m; i += tile_left)
        for (int64_t j = 0; j < n; j += tile_right) {
            if (m - i >= tile_left && n - j >= tile_right) {
                pair_tile<tile_left, tile_right>(pair, a, a_row, i, b, b_row, j, dim, out, stride);
                continue;
            }
            for (int64_t r = i; r < smaller(m, i + tile_left); ++r)
                for (int64_t c = j; c < smaller(n, j + tile_right); ++c)
                    pair_tile<1, 1>(pair, a, a_row, r, b, b_row, c, dim, out, stride);
        }
}

// Rows i < M of sum_k coefficient[i * ci + k * ck] row_k, N vectors of coordinates from `at` on, to
// finish(i, at + ..., sum).
template <int M, int N, class B, class Finish>
static inline void combine_tile(const double* coefficient, int64_t ci, int64_t ck, int64_t count, const B* b,
                                int64_t b_row, int64_t at, int64_t dim, Finish&& finish) {
    Doubles sum[M][N] = {};
    const auto loop = [&](auto&& get) {
        for (int64_t k = 0; k < count; ++k) {
            const B* row = b + k * b_row;
            Doubles v[N];
            for (int j = 0; j < N; ++j) v[j] = get(row, at + j * width);
            for (int i = 0; i < M; ++i) {
                const Doubles c = splat<double, width>(coefficient[i * ci + k * ck]);
                for (int j = 0; j < N; ++j) sum[i][j] = multiply_add(c, v[j], sum[i][j]);
            }
        }
    };
    if (at + N * width <= dim)
        loop([&](const B* row, int64_t j) { return load_doubles(row + j); });
    else
        loop([&](const B* row, int64_t j) { return j < dim ? load_at(row, j, dim) : Doubles{}; });
    for (int i = 0; i < M; ++i)
        for (int j = 0; j < N; ++j)
            if (at + j * width < dim) finish(i, at + j * width, sum[i][j]);
}

// The same for m rows and all coordinates.
template <class B, class Finish>
static inline void combine_block(const double* coefficient, int64_t ci, int64_t ck, int64_t m, int64_t count,
                                 const B* b, int64_t b_row, int64_t dim, Finish&& finish) {
    constexpr int M = 4, N = width == 8 ? 4 : 2;
    for (int64_t at = 0; at < dim; at += N * width)
        for (int64_t i = 0; i < m;) {
            const auto shifted = [&](int64_t r, int64_t j, Doubles v) { finish(i + r, j, v); };
            if (m - i >= M) {
                combine_tile<M, N>(coefficient + i * ci, ci, ck, count, b, b_row, at, dim, shifted);
                i += M;
            } else {
                combine_tile<1, N>(coefficient + i * ci, ci, ck, count, b, b_row, at, dim, shifted);
                i += 1;
            }
        }
}

}  // namespace
}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
