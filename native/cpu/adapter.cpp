// Low-rank adapters. |b a x|^2 = p^T (b^T b) p with p = a x, so the token's gain is known before the second
// product and neither pass forms a tensor of tokens x k or tokens x d.
#include "cpu/adapter.h"

#include "cpu/hyplora.h"
#include "cpu/pool.h"
#include "cpu/tile.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

constexpr int64_t token_chunk = 64;     // tokens per task
constexpr int64_t token_group = 8;      // tokens whose scalars are solved together
constexpr int64_t shrink_block = 1024;  // columns of x kept in the first-level cache
constexpr int64_t rank_block = 64;      // ranks per scratch tile
constexpr int64_t expand_tokens = 256;  // tokens per task of the second product
constexpr int64_t input_tokens = 32;    // tokens whose x is read once for dA and dx
constexpr int64_t strip_columns = 256;  // columns of dA, rows of dB per task

// Number of parts of `size`, each of `part` but the last.
static inline int64_t parts(int64_t count, int64_t part) { return (count + part - 1) / part; }

// A factor of later products: what leaves the range of T saturates, with room for sums that then cancel.
template <class T>
static inline T narrowed(double x) {
    constexpr double most = std::numeric_limits<T>::max() / (1 << 28);
    return static_cast<T>(x > most ? most : x < -most ? -most : x);
}

// |x|, also where the sum of squares leaves the range of T.
template <class T>
static double norm_with_scale(const T* x, int64_t d) {
    double most = 0, total = 0;
    for (int64_t i = 0; i < d; ++i) {
        const double size = std::fabs(static_cast<double>(x[i]));
        most = size > most || size != size ? size : most;
    }
    if (!(most > 0) || most > std::numeric_limits<double>::max()) return most;
    for (int64_t i = 0; i < d; ++i) {
        const double y = static_cast<double>(x[i]) / most;
        total += y * y;
    }
    return most * std::sqrt(total);
}

// to[i] = factor * from[i] in float64.
template <class T>
static inline void widen(const T* from, double factor, double* to, int64_t n) {
    constexpr int W = lanes<double>;
    int64_t i = 0;
    for (; i + W <= n; i += W)
        store<double, W>(to + i, factor * __builtin_convertvector(load<T, W>(from + i), Lanes));
    for (; i < n; ++i) to[i] = factor * static_cast<double>(from[i]);
}

// A register of tokens: ranks of row-major tokens x r become vectors with one token per lane; lanes without a
// token get 0.
template <class T>
static inline void load_lanes(int64_t tokens, int64_t ranks, int64_t r, const T* from, Lanes* to) {
    constexpr int W = token_lanes;
    int64_t i = 0;
    for (; tokens == W && i + W <= ranks; i += W) {
        Vec<T, W> square[W];
#pragma GCC unroll 8
        for (int t = 0; t < W; ++t) square[t] = load<T, W>(from + t * r + i);
        transpose<T, W>(square);
#pragma GCC unroll 8
        for (int t = 0; t < W; ++t) to[i + t] = __builtin_convertvector(square[t], Lanes);
    }
    for (; i < ranks; ++i) {
        to[i] = Lanes{};
        for (int64_t t = 0; t < tokens; ++t) to[i][t] = static_cast<double>(from[t * r + i]);
    }
}

// The way back; what leaves the range of T saturates.
template <class T>
static inline void store_lanes(int64_t tokens, int64_t ranks, int64_t r, const Lanes* from, T* to) {
    constexpr int W = token_lanes;
    int64_t i = 0;
    for (; tokens == W && i + W <= ranks; i += W) {
        Vec<T, W> square[W];
        constexpr double most = std::numeric_limits<T>::max() / (1 << 28);
#pragma GCC unroll 8
        for (int t = 0; t < W; ++t) {
            Lanes x = from[i + t];
            x = choose<Lanes>(x > most, Lanes{} + most, choose<Lanes>(x < -most, Lanes{} - most, x));
            if constexpr (sizeof(T) == 8)
                square[t] = x;
            else
                square[t] = __builtin_convertvector(x, Vec<T, W>);
        }
        transpose<T, W>(square);
#pragma GCC unroll 8
        for (int t = 0; t < W; ++t) store<T, W>(to + t * r + i, square[t]);
    }
    for (; i < ranks; ++i)
        for (int64_t t = 0; t < tokens; ++t) to[t * r + i] = narrowed<T>(from[i][t]);
}

// y_j (+)= sum_i G[i][j] x_i for `rows` consecutive j.
template <int rows>
static inline void gram_rows(int64_t inner, const double* gram, int64_t r, const Lanes* x, Lanes* y,
                             bool accumulate) {
    Lanes sums[rows];
#pragma GCC unroll 8
    for (int j = 0; j < rows; ++j) sums[j] = accumulate ? y[j] : Lanes{};
    for (int64_t i = 0; i < inner; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < rows; ++j) sums[j] += gram[i * r + j] * x[i];
#pragma GCC unroll 8
    for (int j = 0; j < rows; ++j) y[j] = sums[j];
}

// y = (G p)_j for ranks j0 .. of a register of tokens; own: those ranks of p.
template <class T>
static void gram_product(int64_t tokens, int64_t r, const T* p, const double* gram, int64_t j0,
                         const Lanes* own, Lanes* y) {
    const int64_t rows = smaller(rank_block, r - j0);
    Lanes other[rank_block];
    for (int64_t i0 = 0; i0 < r; i0 += rank_block) {
        const int64_t inner = smaller(rank_block, r - i0);
        if (i0 != j0) load_lanes(tokens, inner, r, p + i0, other);
        const Lanes* x = i0 == j0 ? own : other;
        const double* g = gram + i0 * r + j0;
        int64_t j = 0;
        for (; j + 8 <= rows; j += 8) gram_rows<8>(inner, g + j, r, x, y + j, i0 > 0);
        for (; j < rows; ++j) gram_rows<1>(inner, g + j, r, x, y + j, i0 > 0);
    }
}

// p^T G p of a register of tokens.
template <class T>
static Lanes gram_form(int64_t tokens, int64_t r, const T* p, const double* gram) {
    Lanes own[rank_block], y[rank_block], total{};
    for (int64_t j0 = 0; j0 < r; j0 += rank_block) {
        const int64_t rows = smaller(rank_block, r - j0);
        load_lanes(tokens, rows, r, p + j0, own);
        gram_product(tokens, r, p, gram, j0, own, y);
        for (int64_t j = 0; j < rows; ++j) total += own[j] * y[j];
    }
    return total;
}

static inline Lanes load_tokens(const double* from, int64_t tokens) {
    Lanes v{};
    std::memcpy(&v, from, static_cast<size_t>(tokens) * sizeof(double));
    return v;
}

static inline void store_tokens(double* to, Lanes v, int64_t tokens) {
    std::memcpy(to, &v, static_cast<size_t>(tokens) * sizeof(double));
}

template <class T>
static void gram(int64_t k, int64_t r, const void* b, double* result, const horo_exec& exec) {
    const T* from = static_cast<const T*>(b);
    // Rows of the result are independent; the tile converts rows of b to double once per rank block.
    parallel_for(exec, parts(r, token_group), [&](int64_t task) {
        const int64_t i0 = task * token_group;
        const int64_t rows = smaller(token_group, r - i0);
        double left[token_group * rank_block], right[rank_block * rank_block];
        for (int64_t j0 = i0; j0 < r; j0 += rank_block) {  // the rest by symmetry
            const int64_t columns = smaller(rank_block, r - j0);
            for (int64_t k0 = 0; k0 < k || k0 == 0; k0 += rank_block) {
                const int64_t inner = smaller(rank_block, k - k0);
                for (int64_t e = 0; e < inner; ++e) {
                    const T* row = from + (k0 + e) * r;
                    widen(row + i0, 1, left + e * token_group, rows);
                    widen(row + j0, 1, right + e * rank_block, columns);
                }
                gemm<double>(rows, columns, inner, left, 1, token_group, right, rank_block,
                             result + i0 * r + j0, r, k0 > 0);
            }
        }
        for (int64_t j = i0 + rows; j < r; ++j)
            for (int64_t i = i0; i < i0 + rows; ++i) result[j * r + i] = result[i * r + j];
    });
}

// p = x a^T for some tokens, and their norms.
template <class T>
static void shrink(const LowRank& w, int64_t first, int64_t tokens) {
    for (int64_t t0 = 0; t0 < tokens; t0 += token_group) {
        const int64_t count = smaller(token_group, tokens - t0);
        const T* x = static_cast<const T*>(w.x) + (first + t0) * w.x_stride;
        T* p = static_cast<T*>(w.p) + (first + t0) * w.r;
        for (int64_t i = 0; i < count * w.r; ++i) p[i] = 0;
        double squares[token_group] = {};
        for (int64_t c = 0; c < w.d; c += shrink_block) {
            const int64_t columns = smaller(shrink_block, w.d - c);
            T part[token_group];
            gemm_nt<T, T>(count, w.r, columns, x + c, w.x_stride, static_cast<const T*>(w.a) + c, w.d, p, w.r,
                          w.hyperbolic() ? part : nullptr);
            for (int64_t t = 0; w.hyperbolic() && t < count; ++t) squares[t] += static_cast<double>(part[t]);
        }
        constexpr double high = sizeof(T) == 4 ? 1e30 : 1e280, low = sizeof(T) == 4 ? 1e-26 : 1e-280;
        for (int64_t t = 0; w.hyperbolic() && t < count; ++t)
            w.norm[first + t0 + t] = squares[t] < high && squares[t] > low
                                         ? std::sqrt(squares[t])
                                         : norm_with_scale(x + t * w.x_stride, w.d);
    }
}

template <class T>
static void forward(const LowRank& w, void* out, const horo_exec& exec) {
    const T* all_p = static_cast<const T*>(w.p);
    const Curvature curve = w.hyperbolic() ? curvature(*w.K, *w.s) : Curvature{};
    parallel_for(exec, parts(w.tokens, token_chunk), [&](int64_t task) {
        const int64_t first = task * token_chunk;
        const int64_t tokens = smaller(token_chunk, w.tokens - first);
        shrink<T>(w, first, tokens);
        for (int64_t t = first; w.hyperbolic() && t < first + tokens; t += token_lanes) {
            const int64_t count = smaller(token_lanes, first + tokens - t);
            const Lanes square = gram_form(count, w.r, all_p + t * w.r, w.gram);
            const Lanes m = square_root(choose<Lanes>(square < 0.0, Lanes{}, square));
            store_tokens(w.m + t, m, count);
            store_tokens(w.gain + t, gains_at<false>(load_tokens(w.norm + t, count), m, curve, w.kind).g,
                         count);
        }
    });
    // As many columns as the transposed tile of b has room for: long pieces of rows of out.
    constexpr int64_t room = 32768 / static_cast<int64_t>(sizeof(T));
    const int64_t columns = smaller(room / smaller(w.r, rank_block) / 64 * 64, 1024);
    const int64_t strips = parts(w.k, columns);
    parallel_for(exec, parts(w.tokens, expand_tokens) * strips, [&](int64_t task) {
        const int64_t c = task % strips * columns;
        const int64_t width = smaller(columns, w.k - c);
        const int64_t last = smaller(w.tokens, (task / strips + 1) * expand_tokens);
        T tile_b[room], tile_p[4 * token_group * rank_block];
        for (int64_t r0 = 0; r0 < w.r; r0 += rank_block) {
            const int64_t ranks = smaller(rank_block, w.r - r0);
            const T* b = static_cast<const T*>(w.b) + c * w.r + r0;
            transpose_tile(width, ranks, b, w.r, tile_b, columns);
            for (int64_t t0 = task / strips * expand_tokens; t0 < last; t0 += 4 * token_group) {
                const int64_t count = smaller(4 * token_group, last - t0);
                for (int64_t t = 0; t < count; ++t) {
                    // A token with |b a x| = 0 adds nothing, however large its gain.
                    const double gain = !w.hyperbolic() ? 1 : w.m[t0 + t] == 0 ? 0 : w.gain[t0 + t];
                    const double factor = w.scaling * gain;
                    const T* p = all_p + (t0 + t) * w.r + r0;
                    for (int64_t i = 0; i < ranks; ++i)
                        tile_p[t * rank_block + i] = narrowed<T>(factor * static_cast<double>(p[i]));
                }
                gemm<T>(count, width, ranks, tile_p, rank_block, 1, tile_b, columns,
                        static_cast<T*>(out) + t0 * w.out_stride + c, w.out_stride, true);
            }
        }
    });
}

// The workspace of the backward pass, in 64-byte pieces.
template <class T>
struct Scratch {
    T *dp, *gp;       // tokens x r: dL/dp, and scaling * g * p
    T* m;             // r x r: scaling * sum_t weight_t p_t p_t^T
    double* sums;     // r x r, before rounding
    double* weight;   // tokens: dg/dm / m * (dout . b p)
    double* along_x;  // tokens: the part of dx that is parallel to x
    double* scalars;  // 2 per chunk: dK, ds
    int64_t bytes;

    Scratch(const LowRank& w, void* base) {
        const uintptr_t start = (reinterpret_cast<uintptr_t>(base) + 63) & ~uintptr_t{63};
        uintptr_t at = start;
        const auto take = [&](auto*& piece, int64_t count) {
            piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(at);
            at += static_cast<uintptr_t>(round_up(count * static_cast<int64_t>(sizeof *piece), 64));
        };
        const int64_t some = w.hyperbolic() ? 1 : 0;
        take(dp, w.tokens * w.r);
        take(gp, w.tokens * w.r);
        take(m, some * w.r * w.r);
        take(sums, some * w.r * w.r);
        take(weight, some * w.tokens);
        take(along_x, some * w.tokens);
        take(scalars, some * 2 * parts(w.tokens, token_chunk));
        bytes = static_cast<int64_t>(at - start) + 64;
    }
};

template <class T>
static void solve_gradients(const LowRank& w, const Scratch<T>& z, int64_t chunk, int64_t first,
                            int64_t tokens) {
    const T* p = static_cast<const T*>(w.p) + first * w.r;
    T* dp = z.dp + first * w.r;  // holds u = dout b
    T* gp = z.gp + first * w.r;
    if (!w.hyperbolic()) {
        const T scaling = static_cast<T>(w.scaling);
        for (int64_t i = 0; i < tokens * w.r; ++i) {
            dp[i] *= scaling;
            gp[i] = scaling * p[i];
        }
        return;
    }
    const Curvature curve = curvature(*w.K, *w.s);
    Lanes total_K{}, total_s{}, ps[rank_block], us[rank_block], products[rank_block];
    for (int64_t t = 0; t < tokens;
         t += token_lanes, p += token_lanes * w.r, dp += token_lanes * w.r, gp += token_lanes * w.r) {
        const int64_t row = first + t, count = smaller(token_lanes, tokens - t);
        const Gains g =
            gains_at<true>(load_tokens(w.norm + row, count), load_tokens(w.m + row, count), curve, w.kind);
        Lanes along{};  // dout . b p
        for (int64_t j0 = 0; j0 < w.r; j0 += rank_block) {
            const int64_t ranks = smaller(rank_block, w.r - j0);
            load_lanes(count, ranks, w.r, p + j0, ps);
            load_lanes(count, ranks, w.r, dp + j0, us);
            for (int64_t j = 0; j < ranks; ++j) along += us[j] * ps[j];
        }
        const Lanes weight = saturate(g.by_m_over_m * along);
        for (int64_t j0 = 0; j0 < w.r; j0 += rank_block) {
            const int64_t ranks = smaller(rank_block, w.r - j0);
            if (w.r > rank_block) {
                load_lanes(count, ranks, w.r, p + j0, ps);
                load_lanes(count, ranks, w.r, dp + j0, us);
            }
            gram_product(count, w.r, p, w.gram, j0, ps, products);
            for (int64_t j = 0; j < ranks; ++j) {
                products[j] = w.scaling * (g.g * us[j] + weight * products[j]);
                ps[j] = w.scaling * (g.g * ps[j]);
            }
            store_lanes(count, ranks, w.r, products, dp + j0);
            store_lanes(count, ranks, w.r, ps, gp + j0);
        }
        store_tokens(z.weight + row, weight, count);
        store_tokens(z.along_x + row, saturate(g.by_n_over_n * along) * w.scaling, count);
        total_K += saturate(g.by_K * along) * w.scaling;
        total_s += saturate(g.by_s * along) * w.scaling;
    }
    z.scalars[2 * chunk] = sum<double, token_lanes>(total_K);
    z.scalars[2 * chunk + 1] = sum<double, token_lanes>(total_s);
}

// Rows i0 .. of sum_t weight_t p_t p_t^T, over all tokens in order.
template <class T>
static void weighted_gram(const LowRank& w, const Scratch<T>& z, int64_t i0) {
    const T* p = static_cast<const T*>(w.p);
    const int64_t rows = smaller(token_group, w.r - i0);
    double left[rank_block * token_group], right[rank_block * rank_block];
    for (int64_t j0 = i0; j0 < w.r; j0 += rank_block) {  // the rest by symmetry
        const int64_t columns = smaller(rank_block, w.r - j0);
        for (int64_t t0 = 0; t0 < w.tokens; t0 += rank_block) {
            const int64_t count = smaller(rank_block, w.tokens - t0);
            for (int64_t t = 0; t < count; ++t) {
                const T* row = p + (t0 + t) * w.r;
                widen(row + i0, w.scaling * z.weight[t0 + t], left + t * token_group, rows);
                widen(row + j0, 1, right + t * rank_block, columns);
            }
            gemm<double>(rows, columns, count, left, 1, token_group, right, rank_block,
                         z.sums + i0 * w.r + j0, w.r, t0 > 0);
        }
        for (int64_t i = i0; i < i0 + rows; ++i)
            for (int64_t j = j0; j < j0 + columns; ++j)
                z.m[j * w.r + i] = z.m[i * w.r + j] = narrowed<T>(z.sums[i * w.r + j]);
    }
}

// dx += dp a + along x for MR tokens and NV registers of columns: the part along x goes in where dx is
// loaded.
template <class T, int MR, int NV>
__attribute__((noinline)) static void dx_tile(int64_t r, const T* dp, const T* a, int64_t d,
                                              const double* along, const T* x, int64_t x_stride, T* dx,
                                              int64_t dx_stride) {
    constexpr int W = lanes<T>;
    using V = Vec<T, W>;
    V sums[MR][NV];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
        const T factor = narrowed<T>(along[i]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
            sums[i][j] =
                load<T, W>(dx + i * dx_stride + j * W) + factor * load<T, W>(x + i * x_stride + j * W);
    }
    for (int64_t q = 0; q < r; ++q) {
        V row[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) row[j] = load<T, W>(a + q * d + j * W);
#pragma GCC unroll 8
        for (int i = 0; i < MR; ++i) {
            const T y = dp[i * r + q];
#pragma GCC unroll 4
            for (int j = 0; j < NV; ++j) sums[i][j] += y * row[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) store<T, W>(dx + i * dx_stride + j * W, sums[i][j]);
}

// dx += dp a + along x.
template <class T>
static void hyperbolic_dx(int64_t tokens, int64_t columns, int64_t r, const T* dp, const T* a, int64_t d,
                          const double* along, const T* x, int64_t x_stride, T* dx, int64_t dx_stride) {
    constexpr int64_t width = tile_vectors * lanes<T>;
    const int64_t whole = columns / width * width;
    for (int64_t c = 0; c < whole; c += width) {
        int64_t t = 0;
        const auto tiles = [&](auto height, int64_t last) {
            constexpr int rows = decltype(height)::value;
            for (; t + rows <= last; t += rows)
                dx_tile<T, rows, tile_vectors>(r, dp + t * r, a + c, d, along + t, x + t * x_stride + c,
                                               x_stride, dx + t * dx_stride + c, dx_stride);
        };
        // 4 + 4 rows at the end keep the multipliers busier than 6 + 2
        if (wide_rows > 4)
            tiles(std::integral_constant<int, wide_rows>{}, tokens % 6 == 2 ? tokens - 8 : tokens);
        tiles(std::integral_constant<int, 4>{}, tokens);
        tiles(std::integral_constant<int, 1>{}, tokens);
    }
    if (whole == columns) return;
    gemm<T>(tokens, columns - whole, r, dp, r, 1, a + whole, d, dx + whole, dx_stride, true);
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t i = whole; i < columns; ++i)
            dx[t * dx_stride + i] += narrowed<T>(along[t]) * x[t * x_stride + i];
}

// dA and dx of a strip of columns from c on; x is read once for both.
template <class T>
static void input_gradients(const LowRank& w, const LowRankGradients& v, const Scratch<T>& z, int64_t c) {
    const int64_t columns = smaller(strip_columns, w.d - c);
    for (int64_t t0 = 0; t0 < w.tokens; t0 += input_tokens) {
        const int64_t tokens = smaller(input_tokens, w.tokens - t0);
        const T* x = static_cast<const T*>(w.x) + t0 * w.x_stride + c;
        const T* dp = z.dp + t0 * w.r;
        gemm<T>(w.r, columns, tokens, dp, 1, w.r, x, w.x_stride, static_cast<T*>(v.da) + c, w.d, true);
        if (!v.dx) continue;
        T* dx = static_cast<T*>(v.dx) + t0 * v.dx_stride + c;
        const T* a = static_cast<const T*>(w.a) + c;
        if (w.hyperbolic())
            hyperbolic_dx(tokens, columns, w.r, dp, a, w.d, z.along_x + t0, x, w.x_stride, dx, v.dx_stride);
        else
            gemm<T>(tokens, columns, w.r, dp, w.r, 1, a, w.d, dx, v.dx_stride, true);
    }
}

template <class T>
static void backward(const LowRank& w, const LowRankGradients& v, const horo_exec& exec) {
    const Scratch<T> z(w, v.workspace);
    const T* dout = static_cast<const T*>(v.dout);
    const T* b = static_cast<const T*>(w.b);
    const int64_t chunks = parts(w.tokens, token_chunk);
    parallel_for(exec, chunks, [&](int64_t chunk) {
        const int64_t first = chunk * token_chunk;
        const int64_t tokens = smaller(token_chunk, w.tokens - first);
        gemm<T>(tokens, w.r, w.k, dout + first * w.out_stride, w.out_stride, 1, b, w.r, z.dp + first * w.r,
                w.r, false);
        solve_gradients(w, z, chunk, first, tokens);
    });
    if (w.hyperbolic()) {
        parallel_for(exec, parts(w.r, token_group),
                     [&](int64_t task) { weighted_gram(w, z, task * token_group); });
        double total_K = 0, total_s = 0;
        for (int64_t c = 0; c < chunks; ++c) {
            total_K += z.scalars[2 * c];
            total_s += z.scalars[2 * c + 1];
        }
        if (v.dK) *v.dK += total_K;
        if (v.ds) *v.ds += total_s;
    }
    const int64_t a_strips = parts(w.d, strip_columns);
    parallel_for(exec, a_strips + parts(w.k, strip_columns), [&](int64_t task) {
        if (task < a_strips) {
            input_gradients(w, v, z, task * strip_columns);
            return;
        }
        const int64_t j = (task - a_strips) * strip_columns;
        const int64_t rows = smaller(strip_columns, w.k - j);
        T* db = static_cast<T*>(v.db) + j * w.r;
        gemm<T>(rows, w.r, w.tokens, dout + j, 1, w.out_stride, z.gp, w.r, db, w.r, true);
        if (w.hyperbolic()) gemm<T>(rows, w.r, w.r, b + j * w.r, w.r, 1, z.m, w.r, db, w.r, true);
    });
}

template <class T>
constexpr LowRankKernels table() {
    return {gram<T>, forward<T>, [](const LowRank& w) { return Scratch<T>(w, nullptr).bytes; }, backward<T>};
}

}  // namespace

extern const LowRankKernels low_rank_f32;
extern const LowRankKernels low_rank_f64;
const LowRankKernels low_rank_f32 = table<float>();
const LowRankKernels low_rank_f64 = table<double>();

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
