// Small matrix products on vectors, for skinny or cache-resident operands. Two forms, both without packing:
//   gemm     C[M,N] (+)= A[M,K] B[K,N]   rows of B and C contiguous, A with any two strides (so also
//   transposed) gemm_nt  C[M,N]  += A[M,K] B[N,K]^T  rows of A and B contiguous, for long K
// An element of C is one chain of K multiply-adds in order, so it does not depend on M, N or how they are
// blocked.
#pragma once
#include "cpu/lanes.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

#if defined(__AVX512F__)
constexpr int tile_vectors = 4;  // widest register tile: 6 rows x 4 vectors of 32 registers
constexpr int wide_rows = 6, narrow_rows = 8, nt_columns = 4;
#elif defined(__AVX2__)
constexpr int tile_vectors = 2;  // 6 x 2 of 16 registers
constexpr int wide_rows = 6, narrow_rows = 8, nt_columns = 2;
#else
constexpr int tile_vectors = 2;
constexpr int wide_rows = 4, narrow_rows = 4, nt_columns = 2;
#endif
constexpr int64_t k_block = 128;  // a strip of B of this height stays in the first-level cache

// Nothing to bring nearer while a product is computed.
struct NoLines {
    void turn() {}
    template <class T>
    void next(const T*) {}
};

// B some elements further on, into the first-level cache: two lines of a row at a time, other ones for every
// tile.
struct NextB {
    int64_t distance;  // elements
    int64_t at = 0;    // bytes into the strip of columns

    void turn() { at = (at + 128) % (tile_vectors * vector_bytes); }
    template <class T>
    void next(const T* b) {
        const char* p = reinterpret_cast<const char*>(b + distance) + at;
        __builtin_prefetch(p, 0, 3);
        __builtin_prefetch(p + 64, 0, 3);
    }
};

// Memory to bring into the second-level cache while a product is computed, a line at a time: a burst of
// prefetches before it would only wait for itself. Two stretches, one after the other.
struct Lines {
    const char *at, *end, *then, *then_end;

    template <class T>
    Lines(const T* first, int64_t first_count, const T* second = nullptr, int64_t second_count = 0)
        : at(reinterpret_cast<const char*>(first)),
          end(reinterpret_cast<const char*>(first + first_count)),
          then(reinterpret_cast<const char*>(second)),
          then_end(reinterpret_cast<const char*>(second + second_count)) {}

    void turn() {}
    template <class T>
    void next(const T*) {
        if (__builtin_expect(at >= end, 0)) {
            if (then == then_end) return;
            at = then;
            end = then_end;
            then = then_end;
        }
        __builtin_prefetch(at, 0, 2);
        at += 64;
    }
};

// C = start + A B; C starts at 0 without `start`, which may be C itself.
template <class T, int W, int MR, int NV, class Ahead>
__attribute__((noinline)) static void tile(int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b,
                                           int64_t b_k, const T* start, int64_t start_row, T* c,
                                           int64_t c_row, Ahead& ahead) {
    using V = Vec<T, W>;
    V sums[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) sums[i][j] = start ? load<T, W>(start + i * start_row + j * W) : V{};
    Ahead lines = ahead;
    lines.turn();
    for (; k > 0; --k, a += a_k, b += b_k) {
        lines.next(b);
        V row[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) row[j] = load<T, W>(b + j * W);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
            const T x = a[i * a_row];
#pragma GCC unroll 4
            for (int j = 0; j < NV; ++j) sums[i][j] += x * row[j];
        }
    }
    ahead = lines;
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) store<T, W>(c + i * c_row + j * W, sums[i][j]);
}

// All rows of one strip of W*NV columns.
template <class T, int W, int MR, int NV, class Ahead>
static inline void strip(int64_t m, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b,
                         int64_t b_k, const T* start, int64_t start_row, T* c, int64_t c_row, Ahead& ahead) {
    const auto advance = [&](int64_t rows) {
        m -= rows;
        a += rows * a_row;
        c += rows * c_row;
        if (start) start += rows * start_row;
    };
    // 4 + 4 rows keep the multipliers busier than 6 + 2
    for (; m >= MR && !(MR == 6 && m == 8); advance(MR))
        tile<T, W, MR, NV>(k, a, a_row, a_k, b, b_k, start, start_row, c, c_row, ahead);
    for (; m >= 4; advance(4)) tile<T, W, 4, NV>(k, a, a_row, a_k, b, b_k, start, start_row, c, c_row, ahead);
    if (m & 2) {
        tile<T, W, 2, NV>(k, a, a_row, a_k, b, b_k, start, start_row, c, c_row, ahead);
        advance(2);
    }
    if (m & 1) tile<T, W, 1, NV>(k, a, a_row, a_k, b, b_k, start, start_row, c, c_row, ahead);
}

template <class T, int W, class Ahead>
static inline void narrow_strips(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_k,
                                 const T* b, int64_t b_k, const T* start, int64_t start_row, T* c,
                                 int64_t c_row, Ahead& ahead) {
    if (n & W) {
        strip<T, W, narrow_rows, 1>(m, k, a, a_row, a_k, b, b_k, start, start_row, c, c_row, ahead);
        b += W;
        c += W;
        if (start) start += W;
    }
    if constexpr (W > 1)
        narrow_strips<T, W / 2>(m, n, k, a, a_row, a_k, b, b_k, start, start_row, c, c_row, ahead);
}

// C = start + A B, or A B without `start`; `ahead` is prefetched meanwhile.
template <class T, class Ahead>
static void gemm_from(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b,
                      int64_t b_k, const T* start, int64_t start_row, T* c, int64_t c_row, Ahead& ahead) {
    constexpr int W = lanes<T>;
    for (int64_t k0 = 0; k0 < k || k0 == 0; k0 += k_block) {
        const int64_t kc = smaller(k - k0, k_block);
        const T* ak = a + k0 * a_k;
        const T* bk = b + k0 * b_k;
        const T* from = k0 > 0 ? c : start;
        const int64_t from_row = k0 > 0 ? c_row : start_row;
        const auto column = [&](int64_t j) { return from ? from + j : nullptr; };
        int64_t j = 0;
        for (; n - j >= tile_vectors * W; j += tile_vectors * W)
            strip<T, W, wide_rows, tile_vectors>(m, kc, ak, a_row, a_k, bk + j, b_k, column(j), from_row,
                                                 c + j, c_row, ahead);
        if (tile_vectors > 2 && n - j >= 2 * W) {
            strip<T, W, narrow_rows, 2>(m, kc, ak, a_row, a_k, bk + j, b_k, column(j), from_row, c + j, c_row,
                                        ahead);
            j += 2 * W;
        }
        if (n - j)
            narrow_strips<T, W>(m, n - j, kc, ak, a_row, a_k, bk + j, b_k, column(j), from_row, c + j, c_row,
                                ahead);
    }
}

template <class T>
static void gemm(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b,
                 int64_t b_k, T* c, int64_t c_row, bool accumulate) {
    if (accumulate && k <= 0) return;
    NoLines none;
    gemm_from<T>(m, n, k, a, a_row, a_k, b, b_k, accumulate ? c : nullptr, c_row, c, c_row, none);
}

template <class T, int MR, int NR, bool with_squares, class Out>
__attribute__((noinline)) static void tile_nt(int64_t k, const T* a, int64_t a_row, const T* b, int64_t b_row,
                                              Out* c, int64_t c_row, T* squares) {
    constexpr int W = lanes<T>;
    using V = Vec<T, W>;
    V sums[MR][NR] = {}, own[MR] = {};
    int64_t q = 0;
    for (; q + W <= k; q += W) {
        V x[MR];
#pragma GCC unroll 4
        for (int i = 0; i < MR; ++i) {
            x[i] = load<T, W>(a + i * a_row + q);
            if (with_squares) own[i] += x[i] * x[i];
        }
#pragma GCC unroll 4
        for (int j = 0; j < NR; ++j) {
            const V y = load<T, W>(b + j * b_row + q);
#pragma GCC unroll 4
            for (int i = 0; i < MR; ++i) sums[i][j] += x[i] * y;
        }
    }
    for (int i = 0; i < MR; ++i) {
        for (int j = 0; j < NR; ++j) {
            T tail = 0;
            for (int64_t t = q; t < k; ++t) tail += a[i * a_row + t] * b[j * b_row + t];
            c[i * c_row + j] += sum<T, W>(sums[i][j]) + tail;
        }
        if (with_squares) {
            T tail = 0;
            for (int64_t t = q; t < k; ++t) tail += a[i * a_row + t] * a[i * a_row + t];
            squares[i] = sum<T, W>(own[i]) + tail;
        }
    }
}

template <class T, int NR, bool with_squares, class Out>
static inline void strip_nt(int64_t m, int64_t k, const T* a, int64_t a_row, const T* b, int64_t b_row,
                            Out* c, int64_t c_row, T* squares) {
    for (; m >= 4; m -= 4, a += 4 * a_row, c += 4 * c_row, squares += with_squares ? 4 : 0)
        tile_nt<T, 4, NR, with_squares>(k, a, a_row, b, b_row, c, c_row, squares);
    for (; m > 0; --m, a += a_row, c += c_row, squares += with_squares ? 1 : 0)
        tile_nt<T, 1, NR, with_squares>(k, a, a_row, b, b_row, c, c_row, squares);
}

// squares, where it is given: m sums of squares of the rows of A, which are in registers anyway.
template <class T, class Out>
static void gemm_nt(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, const T* b, int64_t b_row,
                    Out* c, int64_t c_row, T* squares = nullptr) {
    int64_t j = 0;
    if (squares && n >= nt_columns) {
        strip_nt<T, nt_columns, true>(m, k, a, a_row, b, b_row, c, c_row, squares);
        j = nt_columns;
    } else if (squares) {
        strip_nt<T, 1, true>(m, k, a, a_row, b, b_row, c, c_row, squares);
        j = 1;
    }
    for (; n - j >= nt_columns; j += nt_columns)
        strip_nt<T, nt_columns, false>(m, k, a, a_row, b + j * b_row, b_row, c + j, c_row, squares);
    for (; j < n; ++j) strip_nt<T, 1, false>(m, k, a, a_row, b + j * b_row, b_row, c + j, c_row, squares);
}

// to[j][i] = from[i][j] for i < rows, j < columns.
template <class T>
static void transpose_tile(int64_t rows, int64_t columns, const T* from, int64_t from_row, T* to,
                           int64_t to_row) {
    constexpr int W = lanes<T>;
    for (int64_t i = 0; i < rows; i += W) {
        int64_t j = 0;
        for (; i + W <= rows && j + W <= columns; j += W) {
            Vec<T, W> square[W];
#pragma GCC unroll 16
            for (int e = 0; e < W; ++e) square[e] = load<T, W>(from + (i + e) * from_row + j);
            transpose<T, W>(square);
#pragma GCC unroll 16
            for (int e = 0; e < W; ++e) store<T, W>(to + (j + e) * to_row + i, square[e]);
        }
        for (; j < columns; ++j)
            for (int64_t e = i; e < smaller(i + W, rows); ++e) to[j * to_row + e] = from[e * from_row + j];
    }
}

}  // namespace
}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
