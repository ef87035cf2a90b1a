// Low-rank adapters (horo.h): two thin matrix products around one number per token. The row norm is taken
// while the first product reads x; |b a x| comes from the Gram matrix of b, so nothing of size tokens x k is
// formed but the output; the gain is multiplied into p on its way into the second product.
#include "abi/cuda_kernels.h"
#include "geometry/hyplora_gain.h"
#include "kernel.cuh"
#include "kernels.h"
#include "tile.cuh"

namespace horo::cuda {
namespace {

constexpr int threads = 256;

// What leaves the range of T saturates, with room for sums that then cancel.
template <class T>
HORO_DEVICE T narrowed(double x) {
    constexpr double most = static_cast<double>(std::numeric_limits<T>::max()) / (1 << 28);
    return static_cast<T>(x > most ? most : x < -most ? -most : x);
}

// ---- p = x a^T, and |x| of every token

// The squares of a row of float64 may leave its range.
HORO_DEVICE double norm_with_scale(const double* x, int64_t d) {
    double most = 0, total = 0;
    for (int64_t i = 0; i < d; ++i) {
        const double size = fabs(get(x + i));
        most = size > most || size != size ? size : most;
    }
    if (!(most > 0) || most > std::numeric_limits<double>::max()) return most;
    for (int64_t i = 0; i < d; ++i) {
        const double y = get(x + i) / most;
        total += y * y;
    }
    return most * sqrt(total);
}

template <class T, int R>
struct Shrink {
    using Element = T;
    using Sum = T;
    static constexpr bool a_by_k = true, b_by_n = false;
    static constexpr int MR = R, NR = 2;
    const T *x, *weight;
    int64_t tokens, d, r, x_stride;
    T* p;
    double* norm;  // null if not wanted

    struct Work : PlainWork {
        const Shrink* s;
        double squares[MR];  // of this thread's part of its rows

        HORO_DEVICE T a(int64_t m, int64_t k) const {
            return m < s->tokens ? get(s->x + m * s->x_stride + k) : T(0);
        }
        HORO_DEVICE T b(int64_t k, int64_t n) const {
            return n < s->r ? get(s->weight + n * s->d + k) : T(0);
        }
        HORO_DEVICE void loaded(int row, T value) {
            squares[row] += static_cast<double>(value) * static_cast<double>(value);
        }
        HORO_DEVICE void done(int64_t m, int64_t n, T sum) const {
            if (m < s->tokens && n < s->r) put(s->p + m * s->r + n, sum);
        }
        // The 16 threads that read a row lie side by side in a warp.
        HORO_DEVICE void finish(int thread) {
            if (!s->norm || range.n > 0) return;
#pragma unroll
            for (int i = 0; i < MR; ++i) {
                double sum = squares[i];
                for (int mask = tile_depth / 2; mask; mask /= 2)
                    sum += __shfl_xor_sync(0xffffffff, sum, mask);
                const int64_t token = range.m + (i * tile_threads + thread) / tile_depth;
                if (thread % tile_depth == 0 && token < s->tokens) {
                    double size = sqrt(sum);
                    if constexpr (sizeof(T) == 8)
                        if (!(sum < 1e280 && sum > 1e-280))
                            size = norm_with_scale(s->x + token * s->x_stride, s->d);
                    put(s->norm + token, size);
                }
            }
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        Work w{};
        w.range = tile_range<MR, NR>(block, r, d);
        w.s = this;
        return w;
    }
};

// ---- The numbers of a token: a warp each

// (G p)_j summed by one lane over i; p^T G p by all.
template <class T>
HORO_DEVICE double gram_row(const T* p, const double* gram, int64_t r, int64_t j) {
    double sum = 0;
    for (int64_t i = 0; i < r; ++i) sum += get(gram + i * r + j) * static_cast<double>(get(p + i));
    return sum;
}

template <class T>
HORO_KERNEL(threads)
gains_kernel(HORO_CONSTANT LowRank w) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    const int64_t token =
        static_cast<int64_t>(blockIdx.x) * (threads / warp) + static_cast<int>(threadIdx.x) / warp;
    const bool live = token < w.tokens;
    const T* p = static_cast<const T*>(w.p) + token * w.r;
    double square = 0;
    if (live)
        for (int64_t j = lane; j < w.r; j += warp)
            square += static_cast<double>(get(p + j)) * gram_row(p, w.gram, w.r, j);
    square = warp_sum(square);
    if (live && lane == 0) {
        const double m = sqrt(square < 0 ? 0.0 : square);
        put(w.m + token, m);
        put(w.gain + token, gain_at<false>(get(w.norm + token), m, curvature(get(w.K), get(w.s)), w.kind).g);
    }
}

// ---- out += scaling g p b^T

template <class T>
struct Expand {
    using Element = T;
    using Sum = T;
    static constexpr bool a_by_k = true, b_by_n = false;
    static constexpr int MR = 4, NR = 4;
    LowRank call;
    T* out;

    struct Work : PlainWork {
        const Expand* s;
        HORO_DEVICE T a(int64_t m, int64_t k) const {
            const LowRank& w = s->call;
            if (m >= w.tokens) return T(0);
            // A token with |b a x| = 0 adds nothing, however large its gain.
            const double gain = !w.hyperbolic() ? 1 : get(w.m + m) == 0 ? 0 : get(w.gain + m);
            return narrowed<T>(w.scaling * gain *
                               static_cast<double>(get(static_cast<const T*>(w.p) + m * w.r + k)));
        }
        HORO_DEVICE T b(int64_t k, int64_t n) const {
            return n < s->call.k ? get(static_cast<const T*>(s->call.b) + n * s->call.r + k) : T(0);
        }
        HORO_DEVICE void done(int64_t m, int64_t n, T sum) const {
            if (m >= s->call.tokens || n >= s->call.k) return;
            T* to = s->out + m * s->call.out_stride + n;
            put(to, get(to) + sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        Work w{};
        w.range = tile_range<MR, NR>(block, call.k, call.r);
        w.s = this;
        return w;
    }
};

template <class P>
int32_t run(void* stream, int64_t m, int64_t n, const P& policy, int64_t slices = 1) {
    return launch(stream, tile_count<P::MR, P::NR>(m, n) * slices, tile_threads, tile_kernel<P, P::MR, P::NR>,
                  policy);
}

template <class T>
int32_t forward(const LowRank& w, void* out, void* stream) {
    const auto shrink = [&](auto R) {
        return run(stream, w.tokens, w.r,
                   Shrink<T, R>{static_cast<const T*>(w.x), static_cast<const T*>(w.a), w.tokens, w.d, w.r,
                                w.x_stride, static_cast<T*>(w.p), w.hyperbolic() ? w.norm : nullptr});
    };
    // few tokens in smaller tiles, so that there are more blocks
    HORO_TRY(tile_count<4, 2>(w.tokens, w.r) < few_blocks ? shrink(std::integral_constant<int, 1>{})
                                                          : shrink(std::integral_constant<int, 4>{}));
    if (w.hyperbolic())
        HORO_TRY(launch(stream, parts(w.tokens, threads / warp), threads, gains_kernel<T>, w));
    return run(stream, w.tokens, w.k, Expand<T>{w, static_cast<T*>(out)});
}

// ---- Products of two matrices as they lie in memory: c (+)= a b + along x

template <class T>
struct Factors {
    const T *left, *right;
    int64_t m, n, k, left_stride, right_stride;
    T* c;
    int64_t c_stride;
    bool add;
    const double* along;  // per m, or null
    const T* x;
    int64_t x_stride;
};

template <class T, bool a_rows, bool b_rows, int R>
struct Product {
    using Element = T;
    using Sum = T;
    // a_rows: a is (m, k) row-major, otherwise (k, m); b_rows: b is (k, n), otherwise (n, k)
    static constexpr bool a_by_k = a_rows, b_by_n = b_rows;
    static constexpr int MR = R, NR = R;
    Factors<T> factors;

    struct Work : PlainWork {
        const Factors<T>* s;
        HORO_DEVICE T a(int64_t i, int64_t e) const {
            if (i >= s->m) return T(0);
            return get(s->left + (a_rows ? i * s->left_stride + e : e * s->left_stride + i));
        }
        HORO_DEVICE T b(int64_t e, int64_t j) const {
            if (j >= s->n) return T(0);
            return get(s->right + (b_rows ? e * s->right_stride + j : j * s->right_stride + e));
        }
        HORO_DEVICE void done(int64_t i, int64_t j, T sum) const {
            if (i >= s->m || j >= s->n) return;
            T* to = s->c + i * s->c_stride + j;
            if (s->along) sum += narrowed<T>(get(s->along + i)) * get(s->x + i * s->x_stride + j);
            put(to, s->add ? get(to) + sum : sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        Work w{};
        w.range = tile_range<MR, NR>(block, factors.n, factors.k);
        w.s = &factors;
        return w;
    }
};

template <class T, bool a_rows, bool b_rows>
int32_t product(void* stream, const Factors<T>& f) {
    return by_tile(f.m, f.n, [&](auto R) { return run(stream, f.m, f.n, Product<T, a_rows, b_rows, R>{f}); });
}

// ---- sum_t weight_t p_t p_t^T in float64 by slices of the tokens, which a second kernel adds in order

template <class T>
struct Outer {
    using Element = double;
    using Sum = double;
    static constexpr bool a_by_k = false, b_by_n = true;
    static constexpr int MR = 2, NR = 2;
    const T* p;
    const double* weight;  // null: 1
    double scaling;
    int64_t tokens, r, slices;
    double* partial;  // slices x r x r

    struct Work : PlainWork {
        const Outer* s;
        double* to;
        HORO_DEVICE double a(int64_t m, int64_t k) const {
            if (m >= s->r) return 0;
            const double factor = s->weight ? s->scaling * get(s->weight + k) : 1;
            return factor * static_cast<double>(get(s->p + k * s->r + m));
        }
        HORO_DEVICE double b(int64_t k, int64_t n) const {
            return n < s->r ? static_cast<double>(get(s->p + k * s->r + n)) : 0.0;
        }
        HORO_DEVICE void done(int64_t m, int64_t n, double sum) const {
            if (m < s->r && n < s->r) put(to + m * s->r + n, sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        const int64_t tiles = tile_count<MR, NR>(r, r), slice = block / tiles;
        const int64_t length = (tokens + slices - 1) / slices;
        Work w{};
        w.range = tile_range<MR, NR>(block % tiles, r, 0);
        w.range.k = slice * length;
        w.range.k_end = (slice + 1) * length < tokens ? (slice + 1) * length : tokens;
        w.s = this;
        w.to = partial + slice * r * r;
        return w;
    }
};

template <class T>
HORO_KERNEL(threads)
add_slices_kernel(const double* partial, int64_t n, int64_t slices, T* sum) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i >= n) return;
    double total = 0;
    for (int64_t s = 0; s < slices; ++s) total += get(partial + s * n + i);
    put(sum + i, narrowed<T>(total));
}

// ---- b^T b: a block per element, for it is small and has no workspace to cut it by

template <class T>
HORO_KERNEL(threads)
gram_kernel(const T* b, int64_t k, int64_t r, double* gram) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) / r, j = static_cast<int64_t>(blockIdx.x) % r;
    if (j < i) return;  // by symmetry
    double sum = 0;
    for (int64_t e = threadIdx.x; e < k; e += threads)
        sum += static_cast<double>(get(b + e * r + i)) * static_cast<double>(get(b + e * r + j));
    sum = block_sum<threads>(sum);
    if (threadIdx.x == 0) {
        put(gram + i * r + j, sum);
        put(gram + j * r + i, sum);
    }
}

template <class T>
int32_t gram(int64_t k, int64_t r, const void* b, double* result, void* stream) {
    constexpr int64_t most = 256;  // beyond, a tile reads b less often
    const T* from = static_cast<const T*>(b);
    if (r > most) return run(stream, r, r, Outer<T>{from, nullptr, 1, k, r, 1, result});
    return launch(stream, r * r, threads, gram_kernel<T>, from, k, r, result);
}

// ---- Backward

constexpr int64_t most_slices = 64;

// The workspace, in 256-byte pieces.
template <class T>
struct Scratch {
    T *dp, *gp;       // tokens x r: dL/dp, and scaling * g * p
    T* m;             // r x r: scaling * sum_t weight_t p_t p_t^T
    double* partial;  // slices of it
    double* weight;   // tokens: dg/dm / m * (dout . b p)
    double* along_x;  // tokens: the part of dx that is parallel to x
    double* scalars;  // 2 x tokens: dK, ds
    int64_t slices, bytes;

    Scratch(const LowRank& w, void* base) {
        const uintptr_t start = (reinterpret_cast<uintptr_t>(base) + 255) & ~uintptr_t{255};
        uintptr_t at = start;
        const auto take = [&](auto*& piece, int64_t count) {
            piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(at);
            at += static_cast<uintptr_t>(parts(count * static_cast<int64_t>(sizeof *piece), 256) * 256);
        };
        const int64_t some = w.hyperbolic() ? 1 : 0;
        // as many slices as fit into 32 MiB
        slices = (int64_t{1} << 22) / (w.r * w.r);
        if (slices > most_slices) slices = most_slices;
        if (slices > parts(w.tokens, tile_depth)) slices = parts(w.tokens, tile_depth);
        if (slices < 1) slices = 1;
        take(dp, w.tokens * w.r);
        take(gp, w.tokens * w.r);
        take(m, some * w.r * w.r);
        take(partial, some * slices * w.r * w.r);
        take(weight, some * w.tokens);
        take(along_x, some * w.tokens);
        take(scalars, some * 2 * w.tokens);
        bytes = static_cast<int64_t>(at - start) + 256;
    }
};

template <class T>
HORO_KERNEL(threads)
gain_gradients_kernel(HORO_CONSTANT LowRank w, T* dp, T* gp, double* weights, double* along_x,
                      double* scalars) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    const int64_t token =
        static_cast<int64_t>(blockIdx.x) * (threads / warp) + static_cast<int>(threadIdx.x) / warp;
    const bool live = token < w.tokens;
    const T* p = static_cast<const T*>(w.p) + token * w.r;
    dp += token * w.r;  // holds u = dout b
    gp += token * w.r;
    double along = 0;  // dout . b p
    if (live && w.hyperbolic())
        for (int64_t j = lane; j < w.r; j += warp)
            along += static_cast<double>(get(dp + j)) * static_cast<double>(get(p + j));
    along = warp_sum(along);
    if (!live) return;
    if (!w.hyperbolic()) {
        const T scaling = static_cast<T>(w.scaling);
        for (int64_t j = lane; j < w.r; j += warp) {
            put(dp + j, get(dp + j) * scaling);
            put(gp + j, scaling * get(p + j));
        }
        return;
    }
    const Gain g =
        gain_at<true>(get(w.norm + token), get(w.m + token), curvature(get(w.K), get(w.s)), w.kind);
    const double weight = saturate(g.by_m_over_m * along);
    for (int64_t j = lane; j < w.r; j += warp) {
        const double product = gram_row(p, w.gram, w.r, j);
        put(dp + j, narrowed<T>(w.scaling * (g.g * static_cast<double>(get(dp + j)) + weight * product)));
        put(gp + j, narrowed<T>(w.scaling * (g.g * static_cast<double>(get(p + j)))));
    }
    if (lane == 0) {
        put(weights + token, weight);
        put(along_x + token, saturate(g.by_n_over_n * along) * w.scaling);
        put(scalars + token, saturate(g.by_K * along) * w.scaling);
        put(scalars + w.tokens + token, saturate(g.by_s * along) * w.scaling);
    }
}

// Two blocks: dK and ds.
HORO_KERNEL(threads)
scalar_gradients_kernel(const double* scalars, int64_t tokens, double* dK, double* ds) {
    double* to = blockIdx.x == 0 ? dK : ds;
    double sum = 0;
    for (int64_t t = threadIdx.x; t < tokens; t += threads)
        sum += get(scalars + static_cast<int64_t>(blockIdx.x) * tokens + t);
    sum = block_sum<threads>(sum);
    if (threadIdx.x == 0 && to) put(to, get(to) + sum);
}

template <class T>
int32_t backward(const LowRank& w, const LowRankGradients& v, void* stream) {
    const Scratch<T> z(w, v.workspace);
    const T *dout = static_cast<const T*>(v.dout), *b = static_cast<const T*>(w.b),
            *a = static_cast<const T*>(w.a), *x = static_cast<const T*>(w.x);
    T *da = static_cast<T*>(v.da), *db = static_cast<T*>(v.db), *dx = static_cast<T*>(v.dx);
    HORO_TRY(product<T, true, true>(stream, Factors<T>{dout, b, w.tokens, w.r, w.k, w.out_stride, w.r, z.dp,
                                                       w.r, false, nullptr, nullptr, 0}));
    HORO_TRY(launch(stream, parts(w.tokens, threads / warp), threads, gain_gradients_kernel<T>, w, z.dp, z.gp,
                    z.weight, z.along_x, z.scalars));
    if (w.hyperbolic()) {
        HORO_TRY(launch(stream, 2, threads, scalar_gradients_kernel, z.scalars, w.tokens, v.dK, v.ds));
        HORO_TRY(
            run(stream, w.r, w.r,
                Outer<T>{static_cast<const T*>(w.p), z.weight, w.scaling, w.tokens, w.r, z.slices, z.partial},
                z.slices));
        HORO_TRY(launch(stream, parts(w.r * w.r, threads), threads, add_slices_kernel<T>, z.partial,
                        w.r * w.r, z.slices, z.m));
    }
    HORO_TRY(product<T, false, true>(stream, Factors<T>{z.dp, x, w.r, w.d, w.tokens, w.r, w.x_stride, da, w.d,
                                                        true, nullptr, nullptr, 0}));
    if (dx)
        HORO_TRY(product<T, true, true>(
            stream, Factors<T>{z.dp, a, w.tokens, w.d, w.r, w.r, w.d, dx, v.dx_stride, true,
                               w.hyperbolic() ? z.along_x : nullptr, x, w.x_stride}));
    HORO_TRY(product<T, false, true>(stream, Factors<T>{dout, z.gp, w.k, w.r, w.tokens, w.out_stride, w.r, db,
                                                        w.r, true, nullptr, nullptr, 0}));
    if (!w.hyperbolic()) return 0;
    return product<T, true, true>(
        stream, Factors<T>{b, z.m, w.k, w.r, w.r, w.r, w.r, db, w.r, true, nullptr, nullptr, 0});
}

template <class T>
constexpr CudaLowRank table() {
    return {gram<T>, forward<T>, [](const LowRank& w) { return Scratch<T>(w, nullptr).bytes; }, backward<T>};
}

}  // namespace

const CudaLowRank& low_rank_f32() {
    static constexpr CudaLowRank kernels = table<float>();
    return kernels;
}
const CudaLowRank& low_rank_f64() {
    static constexpr CudaLowRank kernels = table<double>();
    return kernels;
}

}  // namespace horo::cuda
