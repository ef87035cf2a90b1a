// Matrix products C(m, n) = sum_k A(m, k) B(k, n) by blocks of 256 threads, each with a tile of C in
// registers and the strips of A and B that feed it in shared memory. What A, B and C are is said by a policy,
// so that masks, factors and strides cost no memory of their own. Every sum runs over k in order: no order is
// left open.
#pragma once
#include "kernel.cuh"

namespace horo::cuda {

constexpr int tile_threads = 256, tile_side = 16, tile_depth = 16;

// Where a tile begins, and the k that it sums over.
struct TileRange {
    int64_t m, n, k, k_end;
};

// A policy has
//   Element, Sum          what the products are formed of, and summed in
//   a_by_k, b_by_n        whether neighbours in k (A), in n (B) lie side by side in memory
//   Work work(int64_t block)   the tile of a block; Work has
//     TileRange range
//     Element a(m, k), b(k, n)   0 beyond the matrix
//     bool whole(k)              whether all of the strip that begins at k counts for all m; if not:
//     bool counts(m, k)
//     void loaded(int row, Element)   called for what a thread reads of A, rows[] of a tile in turn
//     Sum step(i, j, Element, Element, Sum)   the sum with the product of its i-th row and j-th column added
//     void done(m, n, Sum)       once per element of C inside the matrix
//     void finish(thread)        by all threads, at the end
// MR x NR: elements of C per thread; a tile is 16 MR x 16 NR.

// The strips of A and B that feed a tile, in shared memory.
template <class T, int MR, int NR>
struct TileStrips {
    // a row of padding keeps both ways of filling a strip off each other's banks
    alignas(16) T a[tile_depth][tile_side * MR + 4];
    alignas(16) T b[tile_depth][tile_side * NR + 4];
};

// Adds the k of work.range to the part of a tile that each thread has; all threads call.
template <class P, int MR, int NR, class Work, class T, class Sum>
HORO_DEVICE void tile_sums(Work& work, TileStrips<T, MR, NR>& strips, Sum (&sum)[MR][NR]) {
    constexpr int M = tile_side * MR, N = tile_side * NR;
    const int thread = static_cast<int>(threadIdx.x);
    const int m_thread = thread / tile_side * MR, n_thread = thread % tile_side * NR;
    auto& a = strips.a;
    auto& b = strips.b;
    const TileRange range = work.range;
    for (int64_t k0 = range.k; k0 < range.k_end; k0 += tile_depth) {
#pragma unroll
        for (int i = 0; i < MR; ++i) {
            const int at = i * tile_threads + thread;
            const int m = P::a_by_k ? at / tile_depth : at % M, k = P::a_by_k ? at % tile_depth : at / M;
            const T value = k0 + k < range.k_end ? work.a(range.m + m, k0 + k) : T(0);
            work.loaded(i, value);
            a[k][m] = value;
        }
#pragma unroll
        for (int j = 0; j < NR; ++j) {
            const int at = j * tile_threads + thread;
            const int n = P::b_by_n ? at % N : at / tile_depth, k = P::b_by_n ? at / N : at % tile_depth;
            b[k][n] = k0 + k < range.k_end ? work.b(k0 + k, range.n + n) : T(0);
        }
        __syncthreads();
        if (work.whole(k0)) {
#pragma unroll
            for (int k = 0; k < tile_depth; ++k) {
                T x[MR], y[NR];
#pragma unroll
                for (int i = 0; i < MR; ++i) x[i] = a[k][m_thread + i];
#pragma unroll
                for (int j = 0; j < NR; ++j) y[j] = b[k][n_thread + j];
#pragma unroll
                for (int i = 0; i < MR; ++i)
#pragma unroll
                    for (int j = 0; j < NR; ++j) sum[i][j] = work.step(i, j, x[i], y[j], sum[i][j]);
            }
        } else {
#pragma unroll 1
            for (int k = 0; k < tile_depth; ++k)
#pragma unroll
                for (int i = 0; i < MR; ++i)
                    if (work.counts(range.m + m_thread + i, k0 + k)) {
#pragma unroll
                        for (int j = 0; j < NR; ++j)
                            sum[i][j] = work.step(i, j, a[k][m_thread + i], b[k][n_thread + j], sum[i][j]);
                    }
        }
        __syncthreads();
    }
}

template <class P, int MR, int NR>
HORO_KERNEL(tile_threads)
tile_kernel(HORO_CONSTANT P policy) {
    using Sum = typename P::Sum;
    __shared__ TileStrips<typename P::Element, MR, NR> strips;
    const int thread = static_cast<int>(threadIdx.x);
    const int m_thread = thread / tile_side * MR, n_thread = thread % tile_side * NR;
    auto work = policy.work(static_cast<int64_t>(blockIdx.x));
    Sum sum[MR][NR];
#pragma unroll
    for (int i = 0; i < MR; ++i)
#pragma unroll
        for (int j = 0; j < NR; ++j) sum[i][j] = 0;
    tile_sums<P>(work, strips, sum);
#pragma unroll
    for (int i = 0; i < MR; ++i)
#pragma unroll
        for (int j = 0; j < NR; ++j)
            work.done(work.range.m + m_thread + i, work.range.n + n_thread + j, sum[i][j]);
    work.finish(thread);
}

// What most policies have in common: a plain product, all of which counts.
struct PlainWork {
    TileRange range;
    HORO_DEVICE bool whole(int64_t) const { return true; }
    HORO_DEVICE bool counts(int64_t, int64_t) const { return true; }
    template <class T, class Sum>
    HORO_DEVICE Sum step(int, int, T x, T y, Sum sum) const {
        return sum + static_cast<Sum>(x) * static_cast<Sum>(y);
    }
    template <class T>
    HORO_DEVICE void loaded(int, T) const {}
    HORO_DEVICE void finish(int) const {}
};

// Tiles of an (m, n) matrix, those of one row of tiles beside each other.
template <int MR, int NR>
HORO_DEVICE TileRange tile_range(int64_t block, int64_t n, int64_t k_end) {
    const int64_t across = (n + tile_side * NR - 1) / (tile_side * NR);
    return {block / across * (tile_side * MR), block % across * (tile_side * NR), 0, k_end};
}

template <int MR, int NR>
constexpr int64_t tile_count(int64_t m, int64_t n) {
    return parts(m, tile_side * MR) * parts(n, tile_side * NR);
}

// body(R), a constant, for tiles of R x R elements per thread: smaller ones where large ones would leave
// multiprocessors without a block. A sum has the same order in both.
template <class Body>
int32_t by_tile(int64_t m, int64_t n, Body&& body) {
    return tile_count<4, 4>(m, n) < few_blocks ? body(std::integral_constant<int, 2>{})
                                               : body(std::integral_constant<int, 4>{});
}

}  // namespace horo::cuda
