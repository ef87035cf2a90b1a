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
constexpr int64_t shrink_block = 2048;  // columns of x kept in the first-level cache
constexpr int64_t rank_block = 64;      // ranks per scratch tile
constexpr int64_t expand_tokens = 512;  // tokens per task of the second product
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

template <class T>
static inline double sum_of_squares(const T* x, int64_t d) {
    constexpr int W = lanes<T>;
    Vec<T, W> sums[4] = {};
    int64_t i = 0;
    for (; i + 4 * W <= d; i += 4 * W)
        for (int j = 0; j < 4; ++j) {
            const Vec<T, W> v = load<T, W>(x + i + j * W);
            sums[j] += v * v;
        }
    T total = sum<T, W>((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; i < d; ++i) total += x[i] * x[i];
    return static_cast<double>(total);
}

// dots[t] = p_t^T G p_t for a group of tokens; with `products`, also (G p_t)_j into it (tokens x r).
template <class T>
static void gram_form(int64_t tokens, int64_t r, const T* p, const double* gram, double* dots,
                      double* products) {
    double left[token_group * rank_block], right[token_group * rank_block];
    for (int64_t t = 0; t < tokens; ++t) dots[t] = 0;
    for (int64_t j = 0; j < r; j += rank_block) {
        const int64_t columns = smaller(rank_block, r - j);
        for (int64_t i = 0; i < r; i += rank_block) {
            const int64_t inner = smaller(rank_block, r - i);
            for (int64_t t = 0; t < tokens; ++t)
                for (int64_t e = 0; e < inner; ++e)
                    left[t * rank_block + e] = static_cast<double>(p[t * r + i + e]);
            gemm<double>(tokens, columns, inner, left, rank_block, 1, gram + i * r + j, r, right, rank_block,
                         i > 0);
        }
        for (int64_t t = 0; t < tokens; ++t)
            for (int64_t e = 0; e < columns; ++e) {
                const double product = right[t * rank_block + e];
                dots[t] += product * static_cast<double>(p[t * r + j + e]);
                if (products) products[t * r + j + e] = product;
            }
    }
}

template <class T>
static void gram(int64_t k, int64_t r, const void* b, double* result, const horo_exec& exec) {
    const T* from = static_cast<const T*>(b);
    // Rows of the result are independent; the tile converts rows of b to double once per rank block.
    parallel_for(exec, parts(r, token_group), [&](int64_t task) {
        const int64_t i0 = task * token_group;
        const int64_t rows = smaller(token_group, r - i0);
        double left[token_group * rank_block], right[rank_block * rank_block];
        for (int64_t j0 = 0; j0 < r; j0 += rank_block) {
            const int64_t columns = smaller(rank_block, r - j0);
            for (int64_t k0 = 0; k0 < k || k0 == 0; k0 += rank_block) {
                const int64_t inner = smaller(rank_block, k - k0);
                for (int64_t e = 0; e < inner; ++e) {
                    const T* row = from + (k0 + e) * r;
                    for (int64_t i = 0; i < rows; ++i)
                        left[e * token_group + i] = static_cast<double>(row[i0 + i]);
                    for (int64_t j = 0; j < columns; ++j)
                        right[e * rank_block + j] = static_cast<double>(row[j0 + j]);
                }
                gemm<double>(rows, columns, inner, left, 1, token_group, right, rank_block,
                             result + i0 * r + j0, r, k0 > 0);
            }
        }
    });
}

// p = x a^T for some tokens, and their norms.
template <class T>
static void shrink(const LowRank& w, int64_t first, int64_t tokens) {
    for (int64_t t0 = 0; t0 < tokens; t0 += 4) {
        const int64_t count = smaller(4, tokens - t0);
        const T* x = static_cast<const T*>(w.x) + (first + t0) * w.x_stride;
        T* p = static_cast<T*>(w.p) + (first + t0) * w.r;
        for (int64_t i = 0; i < count * w.r; ++i) p[i] = 0;
        double squares[4] = {};
        for (int64_t c = 0; c < w.d; c += shrink_block) {
            const int64_t columns = smaller(shrink_block, w.d - c);
            gemm_nt<T, T>(count, w.r, columns, x + c, w.x_stride, static_cast<const T*>(w.a) + c, w.d, p,
                          w.r);
            for (int64_t t = 0; w.hyperbolic && t < count; ++t)
                squares[t] += sum_of_squares(x + t * w.x_stride + c, columns);
        }
        constexpr double high = sizeof(T) == 4 ? 1e30 : 1e280, low = sizeof(T) == 4 ? 1e-26 : 1e-280;
        for (int64_t t = 0; w.hyperbolic && t < count; ++t)
            w.norm[first + t0 + t] = squares[t] < high && squares[t] > low
                                         ? std::sqrt(squares[t])
                                         : norm_with_scale(x + t * w.x_stride, w.d);
    }
}

template <class T>
static void forward(const LowRank& w, void* out, const horo_exec& exec) {
    const T* all_p = static_cast<const T*>(w.p);
    const Curvature curve = curvature(w.K, w.s);
    parallel_for(exec, parts(w.tokens, token_chunk), [&](int64_t task) {
        const int64_t first = task * token_chunk;
        const int64_t tokens = smaller(token_chunk, w.tokens - first);
        shrink<T>(w, first, tokens);
        for (int64_t t0 = 0; w.hyperbolic && t0 < tokens; t0 += token_group) {
            const int64_t count = smaller(token_group, tokens - t0);
            double squares[token_group];
            gram_form(count, w.r, all_p + (first + t0) * w.r, w.gram, squares, nullptr);
            for (int64_t t = 0; t < count; ++t) {
                const int64_t i = first + t0 + t;
                w.m[i] = std::sqrt(squares[t] < 0 ? 0 : squares[t]);
                w.gain[i] = gain_at<false>(w.norm[i], w.m[i], curve).g;
            }
        }
    });
    constexpr int64_t columns = 512 / static_cast<int64_t>(sizeof(T));
    const int64_t strips = parts(w.k, columns);
    parallel_for(exec, parts(w.tokens, expand_tokens) * strips, [&](int64_t task) {
        const int64_t c = task % strips * columns;
        const int64_t width = smaller(columns, w.k - c);
        const int64_t last = smaller(w.tokens, (task / strips + 1) * expand_tokens);
        T tile_b[rank_block * columns], tile_p[4 * token_group * rank_block];
        for (int64_t r0 = 0; r0 < w.r; r0 += rank_block) {
            const int64_t ranks = smaller(rank_block, w.r - r0);
            const T* b = static_cast<const T*>(w.b) + c * w.r + r0;
            for (int64_t j = 0; j < width; ++j)
                for (int64_t i = 0; i < ranks; ++i) tile_b[i * columns + j] = b[j * w.r + i];
            for (int64_t t0 = task / strips * expand_tokens; t0 < last; t0 += 4 * token_group) {
                const int64_t count = smaller(4 * token_group, last - t0);
                for (int64_t t = 0; t < count; ++t) {
                    // A token with |b a x| = 0 adds nothing, however large its gain.
                    const double gain = !w.hyperbolic ? 1 : w.m[t0 + t] == 0 ? 0 : w.gain[t0 + t];
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
    T *dp, *gp;        // tokens x r: dL/dp, and scaling * g * p
    T* m;              // r x r: scaling * sum_t weight_t p_t p_t^T
    double* sums;      // r x r, before rounding
    double* products;  // tokens x r: G p
    double* weight;    // tokens: dg/dm / m * (dout . b p)
    double* along_x;   // tokens: the part of dx that is parallel to x
    double* scalars;   // 2 per chunk: dK, ds
    int64_t bytes;

    Scratch(const LowRank& w, void* base) {
        const uintptr_t start = (reinterpret_cast<uintptr_t>(base) + 63) & ~uintptr_t{63};
        uintptr_t at = start;
        const auto take = [&](auto*& piece, int64_t count) {
            piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(at);
            at += static_cast<uintptr_t>(round_up(count * static_cast<int64_t>(sizeof *piece), 64));
        };
        const int64_t some = w.hyperbolic ? 1 : 0;
        take(dp, w.tokens * w.r);
        take(gp, w.tokens * w.r);
        take(m, some * w.r * w.r);
        take(sums, some * w.r * w.r);
        take(products, some * w.tokens * w.r);
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
    if (!w.hyperbolic) {
        const T scaling = static_cast<T>(w.scaling);
        for (int64_t i = 0; i < tokens * w.r; ++i) {
            dp[i] *= scaling;
            gp[i] = scaling * p[i];
        }
        return;
    }
    const Curvature curve = curvature(w.K, w.s);
    double total_K = 0, total_s = 0;
    for (int64_t t0 = 0; t0 < tokens; t0 += token_group) {
        const int64_t count = smaller(token_group, tokens - t0);
        double unused[token_group];
        gram_form(count, w.r, p + t0 * w.r, w.gram, unused, z.products + (first + t0) * w.r);
    }
    for (int64_t t = 0; t < tokens; ++t) {
        const int64_t row = first + t;
        const Gain g = gain_at<true>(w.norm[row], w.m[row], curve);
        const double* product = z.products + row * w.r;
        double along = 0;  // dout . b p
        for (int64_t i = 0; i < w.r; ++i)
            along += static_cast<double>(dp[t * w.r + i]) * static_cast<double>(p[t * w.r + i]);
        const double weight = saturate(g.by_m_over_m * along);
        for (int64_t i = 0; i < w.r; ++i) {
            const double u = static_cast<double>(dp[t * w.r + i]);
            dp[t * w.r + i] = narrowed<T>(w.scaling * (g.g * u + weight * product[i]));
            gp[t * w.r + i] = narrowed<T>(g.g * static_cast<double>(p[t * w.r + i]) * w.scaling);
        }
        z.weight[row] = weight;
        z.along_x[row] = saturate(g.by_n_over_n * along) * w.scaling;
        total_K += saturate(g.by_K * along) * w.scaling;
        total_s += saturate(g.by_s * along) * w.scaling;
    }
    z.scalars[2 * chunk] = total_K;
    z.scalars[2 * chunk + 1] = total_s;
}

// Rows i0 .. of sum_t weight_t p_t p_t^T, over all tokens in order.
template <class T>
static void weighted_gram(const LowRank& w, const Scratch<T>& z, int64_t i0) {
    const T* p = static_cast<const T*>(w.p);
    const int64_t rows = smaller(token_group, w.r - i0);
    double left[rank_block * token_group], right[rank_block * rank_block];
    for (int64_t j0 = 0; j0 < w.r; j0 += rank_block) {
        const int64_t columns = smaller(rank_block, w.r - j0);
        for (int64_t t0 = 0; t0 < w.tokens; t0 += rank_block) {
            const int64_t count = smaller(rank_block, w.tokens - t0);
            for (int64_t t = 0; t < count; ++t) {
                const T* row = p + (t0 + t) * w.r;
                for (int64_t i = 0; i < rows; ++i)
                    left[t * token_group + i] =
                        w.scaling * z.weight[t0 + t] * static_cast<double>(row[i0 + i]);
                for (int64_t j = 0; j < columns; ++j)
                    right[t * rank_block + j] = static_cast<double>(row[j0 + j]);
            }
            gemm<double>(rows, columns, count, left, 1, token_group, right, rank_block,
                         z.sums + i0 * w.r + j0, w.r, t0 > 0);
        }
        for (int64_t i = i0; i < i0 + rows; ++i)
            for (int64_t j = j0; j < j0 + columns; ++j) z.m[i * w.r + j] = narrowed<T>(z.sums[i * w.r + j]);
    }
}

template <class T>
static void backward(const LowRank& w, const LowRankGradients& v, const horo_exec& exec) {
    const Scratch<T> z(w, v.workspace);
    const T* dout = static_cast<const T*>(v.dout);
    const T* x = static_cast<const T*>(w.x);
    const T* b = static_cast<const T*>(w.b);
    const int64_t chunks = parts(w.tokens, token_chunk);
    parallel_for(exec, chunks, [&](int64_t chunk) {
        const int64_t first = chunk * token_chunk;
        const int64_t tokens = smaller(token_chunk, w.tokens - first);
        gemm<T>(tokens, w.r, w.k, dout + first * w.out_stride, w.out_stride, 1, b, w.r, z.dp + first * w.r,
                w.r, false);
        solve_gradients(w, z, chunk, first, tokens);
        if (!v.dx) return;
        T* dx = static_cast<T*>(v.dx) + first * v.dx_stride;
        gemm<T>(tokens, w.d, w.r, z.dp + first * w.r, w.r, 1, static_cast<const T*>(w.a), w.d, dx,
                v.dx_stride, true);
        for (int64_t t = 0; w.hyperbolic && t < tokens; ++t) {
            const T factor = narrowed<T>(z.along_x[first + t]);
            const T* from = x + (first + t) * w.x_stride;
            T* to = dx + t * v.dx_stride;
            for (int64_t i = 0; i < w.d; ++i) to[i] += factor * from[i];
        }
    });
    if (w.hyperbolic) {
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
            const int64_t c = task * strip_columns;
            gemm<T>(w.r, smaller(strip_columns, w.d - c), w.tokens, z.dp, 1, w.r, x + c, w.x_stride,
                    static_cast<T*>(v.da) + c, w.d, true);
            return;
        }
        const int64_t j = (task - a_strips) * strip_columns;
        const int64_t rows = smaller(strip_columns, w.k - j);
        T* db = static_cast<T*>(v.db) + j * w.r;
        gemm<T>(rows, w.r, w.tokens, dout + j, 1, w.out_stride, z.gp, w.r, db, w.r, true);
        if (w.hyperbolic) gemm<T>(rows, w.r, w.r, b + j * w.r, w.r, 1, z.m, w.r, db, w.r, true);
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
