// The transformer layers; formulas are in horo.h. Memory-bound: every kernel reads and writes 16 bytes at a
// time where addresses and sizes allow, keeps what it needs again in registers, and sums in float32 within an
// access, in float64 beyond. Choices that only measurements can settle: threads, packs held, rows per thread.
#include "abi/cuda_kernels.h"
#include "half.cuh"
#include "kernel.cuh"
#include "kernels.h"

namespace horo::cuda {
namespace {

constexpr int threads = 256;
constexpr float quiet_nan = std::numeric_limits<float>::quiet_NaN();

// ---- Element by element

// F: in[inputs], out[outputs] and operator()(const float (&)[inputs], float (&)[outputs]). A thread reads all
// its elements before it writes any, so an output may be an input.
template <class F, int width>
HORO_KERNEL(threads)
elements_kernel(HORO_CONSTANT F f, int64_t n) {
    constexpr int packs = F::inputs >= 3 ? 2 : 4;
    float x[packs][F::inputs][width];
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * threads * packs + threadIdx.x) * width;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
        const int64_t at = first + static_cast<int64_t>(p) * threads * width;
        if (at + width <= n) {
#pragma unroll
            for (int i = 0; i < F::inputs; ++i) load(x[p][i], f.in[i] + at);
        }
    }
    const F body = f.prepared();
#pragma unroll
    for (int p = 0; p < packs; ++p) {
        const int64_t at = first + static_cast<int64_t>(p) * threads * width;
        if (at + width <= n) {
            float y[F::outputs][width];
#pragma unroll
            for (int e = 0; e < width; ++e) {
                float in[F::inputs], out[F::outputs];
#pragma unroll
                for (int i = 0; i < F::inputs; ++i) in[i] = x[p][i][e];
                body(in, out);
#pragma unroll
                for (int j = 0; j < F::outputs; ++j) y[j][e] = out[j];
            }
#pragma unroll
            for (int j = 0; j < F::outputs; ++j) store(f.out[j] + at, y[j]);
        } else {
            for (int64_t i = at; i < n; ++i) {
                float in[F::inputs], out[F::outputs];
#pragma unroll
                for (int k = 0; k < F::inputs; ++k) in[k] = get(f.in[k] + i);
                body(in, out);
#pragma unroll
                for (int j = 0; j < F::outputs; ++j) put(f.out[j] + i, out[j]);
            }
        }
    }
}

template <class F>
int32_t elements(const F& f, int64_t n, void* stream) {
    constexpr int packs = F::inputs >= 3 ? 2 : 4;
    bool wide = true;
    for (const float* p : f.in) wide &= aligned(16, p);
    for (const float* p : f.out) wide &= aligned(16, p);
    const int64_t size = static_cast<int64_t>(threads) * packs * (wide ? 4 : 1);
    return wide ? launch(stream, parts(n, size), threads, elements_kernel<F, 4>, f, n)
                : launch(stream, parts(n, size), threads, elements_kernel<F, 1>, f, n);
}

template <int n, int m>
struct Elementwise {
    static constexpr int inputs = n, outputs = m;
    const float* in[n];
    float* out[m];
};

struct Add : Elementwise<2, 1> {
    HORO_DEVICE const Add& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[2], float (&y)[1]) const { y[0] = x[0] + x[1]; }
};

struct Axpy : Elementwise<2, 1> {
    float a;
    HORO_DEVICE const Axpy& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[2], float (&y)[1]) const { y[0] = x[1] + a * x[0]; }
};

struct Scale : Elementwise<1, 1> {
    float a;
    HORO_DEVICE const Scale& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[1], float (&y)[1]) const { y[0] = x[0] * a; }
};

// sigmoid(x) and 1 - sigmoid(x), both to full relative precision, from e^-|x|.
HORO_DEVICE void sigmoid(float x, float& s, float& complement) {
    const float e = expf(x < 0 ? x : -x);
    const float larger = 1 / (1 + e), smaller = e * larger;
    s = x < 0 ? smaller : larger;
    complement = x < 0 ? larger : smaller;
}

// An activation is gate * sigmoid(z); these say z and dz/dgate.
struct Silu {
    static HORO_DEVICE void argument(float gate, float& z, float& slope) {
        z = gate;
        slope = 1;
    }
};

struct GeluTanh {
    static HORO_DEVICE void argument(float gate, float& z, float& slope) {
        // beyond 16 the sigmoid is 0 or 1, and the cube must not overflow
        float x = gate < -16.0f ? -16.0f : gate;
        x = x > 16.0f ? 16.0f : x;
        const float scale = 1.5957691216057308f, cubic = 0.044715f;  // sqrt(8 / pi)
        const float square = x * x;
        z = scale * x * (1.0f + cubic * square);
        slope = scale * (1.0f + 3 * cubic * square);
    }
};

template <class Activation>
struct Gated : Elementwise<2, 1> {  // gate, up
    HORO_DEVICE const Gated& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[2], float (&y)[1]) const {
        float z, slope, s, complement;
        Activation::argument(x[0], z, slope);
        sigmoid(z, s, complement);
        y[0] = x[0] * s * x[1];
    }
};

template <class Activation>
struct GatedGradient : Elementwise<3, 2> {  // dout, gate, up -> dgate, dup
    HORO_DEVICE const GatedGradient& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[3], float (&y)[2]) const {
        float z, slope, s, complement;
        Activation::argument(x[1], z, slope);
        sigmoid(z, s, complement);
        const float weighted = x[0] * s;
        y[0] = weighted * x[2] * (1.0f + x[1] * complement * slope);
        y[1] = weighted * x[1];
    }
};

// Phi(x) and e^(-x^2/2), the latter with the rounding error of x^2, which the exponential would enlarge.
HORO_DEVICE void normal_cdf(float x, float& cdf, float& bell) {
    float t = x < -15.0f ? -15.0f : x;  // e^-112 is 0, and the square must not overflow
    t = t > 15.0f ? 15.0f : t;
#if defined(HORO_EMULATE)
    cdf = static_cast<float>(0.5 * std::erfc(-0.7071067811865476 * static_cast<double>(t)));
#else
    cdf = normcdff(t);
#endif
    const float square = t * t, e = expf(square * -0.5f);
    bell = e - e * (0.5f * fmaf(t, t, -square));
}

struct Gelu : Elementwise<1, 1> {
    HORO_DEVICE const Gelu& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[1], float (&y)[1]) const {
        float cdf, bell;
        normal_cdf(x[0], cdf, bell);
        y[0] = x[0] * cdf;
    }
};

struct GeluGradient : Elementwise<2, 1> {  // dout, x -> dx
    HORO_DEVICE const GeluGradient& prepared() const { return *this; }
    HORO_DEVICE void operator()(const float (&x)[2], float (&y)[1]) const {
        const float density = 0.3989422804014327f;  // 1 / sqrt(2 pi)
        float cdf, bell;
        normal_cdf(x[1], cdf, bell);
        y[0] = x[0] * (cdf + x[1] * (bell * density));
    }
};

struct Adamw : Elementwise<4, 3> {  // param, grad, m, v -> param, m, v
    AdamwStep step;
    const float* scalars;  // an AdamwStep in the place of step, or null
    const double* sum_squares;
    double max_norm;

    bool finite = true;  // else nothing is changed

    HORO_DEVICE Adamw prepared() const {
        Adamw f = *this;
        if (scalars) {
            f.step = {get(scalars),     get(scalars + 1), get(scalars + 2), get(scalars + 3),
                      get(scalars + 4), get(scalars + 5), get(scalars + 6), get(scalars + 7)};
            const double squares = get(sum_squares);
            f.step.grad_scale = clipped(f.step.grad_scale, squares, max_norm);
            f.finite = squares <= std::numeric_limits<double>::max();
        }
        return f;
    }
    HORO_DEVICE void operator()(const float (&x)[4], float (&y)[3]) const {
        const float g = x[1] * step.grad_scale;
        const float first = x[2] + (g - x[2]) * step.one_minus_beta1;
        const float second = x[3] * step.beta2 + g * g * step.one_minus_beta2;
        const float denominator = sqrtf(second) / step.sqrt_correction2 + step.eps;
        y[0] = finite ? x[0] * step.decay - step.step_size * first / denominator : x[0];
        y[1] = finite ? first : x[2];
        y[2] = finite ? second : x[3];
    }
};

HORO_KERNEL(threads)
exp_kernel(const float* x, double* y, int64_t n) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i < n) put(y + i, exp(static_cast<double>(get(x + i))));
}

HORO_KERNEL(threads)
exp_gradient_kernel(const double* dy, const double* y, float* dx, int64_t n) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i < n) put(dx + i, static_cast<float>(static_cast<double>(get(dx + i)) + get(dy + i) * get(y + i)));
}

HORO_DEVICE float widened(float x) { return x; }
HORO_DEVICE float widened(double x) { return static_cast<float>(x); }
HORO_DEVICE void narrow(float x, float& to) { to = x; }
HORO_DEVICE void narrow(float x, double& to) { to = static_cast<double>(x); }

template <class From, class To, int width>
HORO_KERNEL(threads)
convert_kernel(const From* src, To* dst, int64_t n) {
    const int64_t at = (static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
    if (at + width <= n) {
        From x[width];
        To y[width];
        load(x, src + at);
#pragma unroll
        for (int e = 0; e < width; ++e) narrow(widened(x[e]), y[e]);
        store(dst + at, y);
    } else {
        for (int64_t i = at; i < n; ++i) {
            To y;
            narrow(widened(get(src + i)), y);
            put(dst + i, y);
        }
    }
}

template <class From, class To>
int32_t convert(const void* src, void* dst, int64_t n, void* stream) {
    constexpr int width = 8;
    const bool wide = aligned(16, src, dst);
    return wide ? launch(stream, parts(n, threads * width), threads, convert_kernel<From, To, width>,
                         static_cast<const From*>(src), static_cast<To*>(dst), n)
                : launch(stream, parts(n, threads), threads, convert_kernel<From, To, 1>,
                         static_cast<const From*>(src), static_cast<To*>(dst), n);
}

int32_t convert_to_f32(int32_t from, const void* src, float* dst, int64_t n, void* stream) {
    return from == HORO_F32   ? convert<float, float>(src, dst, n, stream)
           : from == HORO_F64 ? convert<double, float>(src, dst, n, stream)
           : from == HORO_F16 ? convert<F16, float>(src, dst, n, stream)
                              : convert<Bf16, float>(src, dst, n, stream);
}

int32_t convert_from_f32(const float* src, int32_t to, void* dst, int64_t n, void* stream) {
    return to == HORO_F32   ? convert<float, float>(src, dst, n, stream)
           : to == HORO_F64 ? convert<float, double>(src, dst, n, stream)
           : to == HORO_F16 ? convert<float, F16>(src, dst, n, stream)
                            : convert<float, Bf16>(src, dst, n, stream);
}

HORO_KERNEL(threads)
split_kernel(const float* x, int64_t ld, int64_t rows, int64_t cols, Bf16* parts_of_x, int64_t blocks) {
    const int64_t row = blockIdx.x / blocks;
    const int64_t col = blockIdx.x % blocks * threads + threadIdx.x;
    if (col >= cols) return;
    float rest = get(x + row * ld + col);
#pragma unroll
    for (int part = 0; part < 3; ++part) {
        Bf16 bits;
        narrow(rest, bits);
        HORO_ON_ACCESS(parts_of_x + (part * rows + row) * cols + col, 2, 2);
        parts_of_x[(part * rows + row) * cols + col] = bits;
        const float high = widened(bits);
        rest = high - high == 0 ? rest - high : 0.0f;  // infinities and NaN are all in the first part
    }
}

// A row of the weight on a warp.
HORO_KERNEL(threads)
row_lengths_kernel(HORO_CONSTANT RowLengths call) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    const int64_t j = int64_t{blockIdx.x} * (threads / warp) + threadIdx.x / warp;
    double square = 0;
    if (j < call.out) {
        HORO_ON_ACCESS(call.b + j * call.r, 4, static_cast<size_t>(call.r) * 4);
        HORO_ON_ACCESS(call.cross, 4, static_cast<size_t>(call.r * call.out) * 4);
        HORO_ON_ACCESS(call.gram, 4, static_cast<size_t>(call.r * call.r) * 4);
    }
    if (j < call.out)
        for (int64_t i = lane; i < call.r; i += warp) square += call.addend(j, i);
    square = warp_sum(square);
    if (j < call.out && lane == 0) call.store(j, get(call.squares + j) + square);
}

// ---- Norms: a row on a warp or on a block, as much of it as the registers hold read once

constexpr int norm_packs = 8, norm_gradient_packs = 4;

// A lane's packs of a row: `held` for those that stay in registers, the h-th of them pack p, `rest` beyond.
template <int count, int lanes, class Held, class Rest>
HORO_DEVICE void each_pack(int lane, int64_t packs, Held&& held, Rest&& rest) {
#pragma unroll
    for (int h = 0; h < count; ++h)
        if (h * lanes + lane < packs) held(h, static_cast<int64_t>(h * lanes + lane));
    for (int64_t p = count * lanes + lane; p < packs; p += lanes) rest(p);
}

template <int lanes, int width>
HORO_KERNEL(threads)
rmsnorm_kernel(const float* x, const float* weight, double eps, int64_t rows, int64_t dim, float* out,
               float* rstd) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row =
        static_cast<int64_t>(blockIdx.x) * (threads / lanes) + static_cast<int>(threadIdx.x) / lanes;
    const int64_t packs = row < rows ? dim / width : 0;
    x += row * dim;
    out += row * dim;
    float held[norm_packs][width];
    double squares = 0;
    const auto add = [&](const float(&v)[width]) {
        float sum = 0;
#pragma unroll
        for (int e = 0; e < width; ++e) sum += v[e] * v[e];
        squares += sum;
    };
    each_pack<norm_packs, lanes>(
        lane, packs,
        [&](int h, int64_t p) {
            load(held[h], x + p * width);
            add(held[h]);
        },
        [&](int64_t p) {
            float v[width];
            load(v, x + p * width);
            add(v);
        });
    squares = row_sum<lanes>(squares);
    const float r = static_cast<float>(1 / sqrt(squares / static_cast<double>(dim) + eps));
    const auto write = [&](const float(&v)[width], int64_t p) {
        float w[width], y[width];
        load(w, weight + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) y[e] = v[e] * r * w[e];
        store(out + p * width, y);
    };
    each_pack<norm_packs, lanes>(
        lane, packs, [&](int h, int64_t p) { write(held[h], p); },
        [&](int64_t p) {
            float v[width];
            load(v, x + p * width);
            write(v, p);
        });
    if (rstd && packs && lane == 0) put(rstd + row, r);
}

template <int lanes, int width>
HORO_KERNEL(threads)
rmsnorm_gradient_kernel(const float* dout, const float* x, const float* weight, const float* rstd,
                        int64_t rows, int64_t dim, float* dx) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row =
        static_cast<int64_t>(blockIdx.x) * (threads / lanes) + static_cast<int>(threadIdx.x) / lanes;
    const int64_t packs = row < rows ? dim / width : 0;
    dout += row * dim;
    x += row * dim;
    dx += row * dim;
    float held_x[norm_gradient_packs][width], held_g[norm_gradient_packs][width];  // g = dout * weight
    double dot = 0;
    const auto read = [&](float(&v)[width], float(&g)[width], int64_t p) {
        float w[width];
        load(v, x + p * width);
        load(g, dout + p * width);
        load(w, weight + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) g[e] *= w[e];
    };
    const auto add = [&](const float(&v)[width], const float(&g)[width]) {
        float sum = 0;
#pragma unroll
        for (int e = 0; e < width; ++e) sum += g[e] * v[e];
        dot += sum;
    };
    each_pack<norm_gradient_packs, lanes>(
        lane, packs,
        [&](int h, int64_t p) {
            read(held_x[h], held_g[h], p);
            add(held_x[h], held_g[h]);
        },
        [&](int64_t p) {
            float v[width], g[width];
            read(v, g, p);
            add(v, g);
        });
    dot = row_sum<lanes>(dot);
    const float r = packs ? get(rstd + row) : 0;
    const float pull = static_cast<float>(dot * r * r * r / static_cast<double>(dim));
    const auto write = [&](const float(&v)[width], const float(&g)[width], int64_t p) {
        float d[width];
        load(d, dx + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) d[e] += g[e] * r - v[e] * pull;
        store(dx + p * width, d);
    };
    each_pack<norm_gradient_packs, lanes>(
        lane, packs, [&](int h, int64_t p) { write(held_x[h], held_g[h], p); },
        [&](int64_t p) {
            float v[width], g[width];
            read(v, g, p);
            write(v, g, p);
        });
}

// The mean as a float32 and what it lacks, so that rows far from zero keep their digits.
template <int lanes, int width>
HORO_KERNEL(threads)
layernorm_kernel(const float* x, const float* weight, const float* bias, double eps, int64_t rows,
                 int64_t dim, float* out, float* mean, float* rstd) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row =
        static_cast<int64_t>(blockIdx.x) * (threads / lanes) + static_cast<int>(threadIdx.x) / lanes;
    const int64_t packs = row < rows ? dim / width : 0;
    x += row * dim;
    out += row * dim;
    float held[norm_packs][width];
    double sum = 0;
    const auto add = [&](const float(&v)[width]) {
#pragma unroll
        for (int e = 0; e < width; ++e) sum += static_cast<double>(v[e]);
    };
    each_pack<norm_packs, lanes>(
        lane, packs,
        [&](int h, int64_t p) {
            load(held[h], x + p * width);
            add(held[h]);
        },
        [&](int64_t p) {
            float v[width];
            load(v, x + p * width);
            add(v);
        });
    sum = row_sum<lanes>(sum) / static_cast<double>(dim);
    const float m = static_cast<float>(sum), shift = static_cast<float>(sum - static_cast<double>(m));
    double squares = 0;
    const auto centre = [&](float(&v)[width]) {
        float part = 0;
#pragma unroll
        for (int e = 0; e < width; ++e) {
            v[e] = (v[e] - m) - shift;
            part += v[e] * v[e];
        }
        squares += part;
    };
    each_pack<norm_packs, lanes>(
        lane, packs, [&](int h, int64_t) { centre(held[h]); },
        [&](int64_t p) {
            float v[width];
            load(v, x + p * width);
            centre(v);
        });
    squares = row_sum<lanes>(squares);
    const float r = static_cast<float>(1 / sqrt(squares / static_cast<double>(dim) + eps));
    const auto write = [&](const float(&v)[width], int64_t p) {
        float w[width], b[width], y[width];
        load(w, weight + p * width);
        load(b, bias + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) y[e] = v[e] * r * w[e] + b[e];
        store(out + p * width, y);
    };
    each_pack<norm_packs, lanes>(
        lane, packs, [&](int h, int64_t p) { write(held[h], p); },
        [&](int64_t p) {
            float v[width];
            load(v, x + p * width);
#pragma unroll
            for (int e = 0; e < width; ++e) v[e] = (v[e] - m) - shift;
            write(v, p);
        });
    if (packs && lane == 0) {
        if (mean) put(mean + row, m + shift);
        if (rstd) put(rstd + row, r);
    }
}

template <int lanes, int width>
HORO_KERNEL(threads)
layernorm_gradient_kernel(const float* dout, const float* x, const float* weight, const float* mean,
                          const float* rstd, int64_t rows, int64_t dim, float* dx) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row =
        static_cast<int64_t>(blockIdx.x) * (threads / lanes) + static_cast<int>(threadIdx.x) / lanes;
    const int64_t packs = row < rows ? dim / width : 0;
    dout += row * dim;
    x += row * dim;
    dx += row * dim;
    const float m = packs ? get(mean + row) : 0, r = packs ? get(rstd + row) : 0;
    float held_v[norm_gradient_packs][width], held_g[norm_gradient_packs][width];  // (x - mean) rstd, w dout
    double total = 0, dot = 0;
    const auto read = [&](float(&v)[width], float(&g)[width], int64_t p) {
        float w[width];
        load(v, x + p * width);
        load(g, dout + p * width);
        load(w, weight + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) {
            v[e] = (v[e] - m) * r;
            g[e] *= w[e];
        }
    };
    const auto add = [&](const float(&v)[width], const float(&g)[width]) {
        float sum = 0, product = 0;
#pragma unroll
        for (int e = 0; e < width; ++e) {
            sum += g[e];
            product += g[e] * v[e];
        }
        total += sum;
        dot += product;
    };
    each_pack<norm_gradient_packs, lanes>(
        lane, packs,
        [&](int h, int64_t p) {
            read(held_v[h], held_g[h], p);
            add(held_v[h], held_g[h]);
        },
        [&](int64_t p) {
            float v[width], g[width];
            read(v, g, p);
            add(v, g);
        });
    const double n = static_cast<double>(dim);
    const float level = static_cast<float>(row_sum<lanes>(total) / n);
    const float pull = static_cast<float>(row_sum<lanes>(dot) / n);
    const auto write = [&](const float(&v)[width], const float(&g)[width], int64_t p) {
        float d[width];
        load(d, dx + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) d[e] += r * ((g[e] - level) - v[e] * pull);
        store(dx + p * width, d);
    };
    each_pack<norm_gradient_packs, lanes>(
        lane, packs, [&](int h, int64_t p) { write(held_v[h], held_g[h], p); },
        [&](int64_t p) {
            float v[width], g[width];
            read(v, g, p);
            write(v, g, p);
        });
}

// Calls body(lanes, width) with what fits: as constants.
template <class Body>
int32_t row_shape(bool wide, int64_t dim, int held, Body&& body) {
    using Warp = std::integral_constant<int, warp>;
    using Block = std::integral_constant<int, threads>;
    using Wide = std::integral_constant<int, 4>;
    using Single = std::integral_constant<int, 1>;
    const bool narrow = dim <= static_cast<int64_t>(warp) * held * (wide ? 4 : 1);
    return narrow ? wide ? body(Warp{}, Wide{}) : body(Warp{}, Single{})
           : wide ? body(Block{}, Wide{})
                  : body(Block{}, Single{});
}

int32_t rmsnorm_forward(const float* x, const float* weight, double eps, int64_t rows, int64_t dim,
                        float* out, float* rstd, void* stream) {
    return row_shape(dim % 4 == 0 && aligned(16, x, weight, out), dim, norm_packs,
                     [&](auto lanes, auto width) {
                         return launch(stream, parts(rows, threads / lanes), threads,
                                       rmsnorm_kernel<lanes, width>, x, weight, eps, rows, dim, out, rstd);
                     });
}

int32_t layernorm_forward(const float* x, const float* weight, const float* bias, double eps, int64_t rows,
                          int64_t dim, float* out, float* mean, float* rstd, void* stream) {
    return row_shape(
        dim % 4 == 0 && aligned(16, x, weight, bias, out), dim, norm_packs, [&](auto lanes, auto width) {
            return launch(stream, parts(rows, threads / lanes), threads, layernorm_kernel<lanes, width>, x,
                          weight, bias, eps, rows, dim, out, mean, rstd);
        });
}

// ---- Columns

// y[r, c] = f(x[r, c], vector[c]): a thread keeps its part of the vector for several rows.
struct Plus {
    HORO_DEVICE float operator()(float x, float v) const { return x + v; }
};
struct Times {
    HORO_DEVICE float operator()(float x, float v) const { return x * v; }
};

constexpr int column_rows = 8;  // per thread

template <class F, int width>
HORO_KERNEL(threads)
columns_kernel(const float* vector, int64_t rows, int64_t dim, const float* x, float* y, int lanes,
               int64_t column_tiles) {
    const int64_t pack =
        static_cast<int64_t>(blockIdx.x) % column_tiles * lanes + static_cast<int>(threadIdx.x) % lanes;
    const int side_by_side = threads / lanes;
    const int64_t first = static_cast<int64_t>(blockIdx.x) / column_tiles * side_by_side * column_rows +
                          static_cast<int>(threadIdx.x) / lanes;
    if (pack >= dim / width) return;
    float v[width];
    load(v, vector + pack * width);
#pragma unroll
    for (int i = 0; i < column_rows; ++i) {
        const int64_t row = first + i * side_by_side;
        if (row < rows) {
            float u[width];
            load(u, x + row * dim + pack * width);
#pragma unroll
            for (int e = 0; e < width; ++e) u[e] = F{}(u[e], v[e]);
            store(y + row * dim + pack * width, u);
        }
    }
}

// How many threads lie side by side in a row of `packs` accesses.
constexpr int lanes_for(int64_t packs) {
    int lanes = 1;
    while (lanes < threads && lanes < packs) lanes *= 2;
    return lanes;
}

template <class F>
int32_t columns(const float* vector, int64_t rows, int64_t dim, const float* x, float* y, void* stream) {
    const bool wide = dim % 4 == 0 && aligned(16, vector, x, y);
    const int64_t packs = dim / (wide ? 4 : 1);
    const int lanes = lanes_for(packs);
    const int64_t tiles = parts(packs, lanes), blocks = parts(rows, threads / lanes * column_rows) * tiles;
    return wide
               ? launch(stream, blocks, threads, columns_kernel<F, 4>, vector, rows, dim, x, y, lanes, tiles)
               : launch(stream, blocks, threads, columns_kernel<F, 1>, vector, rows, dim, x, y, lanes, tiles);
}

int32_t bias_add(const float* bias, int64_t rows, int64_t dim, float* y, void* stream) {
    return columns<Plus>(bias, rows, dim, y, y, stream);
}

int32_t column_scale(const float* scale, int64_t rows, int64_t dim, const float* x, float* out,
                     void* stream) {
    return columns<Times>(scale, rows, dim, x, out, stream);
}

// out[c] += sum_r term(r, c): a block owns a strip of columns and all its rows, so that no order is left
// open. Narrow matrices have strips of 32 bytes, the least that memory gives at once, for more blocks.
constexpr int strip_threads = 512;

template <class Term, int strip>
HORO_KERNEL(strip_threads)
column_sums_kernel(HORO_CONSTANT Term term, int64_t rows, int64_t dim, float* out) {
    constexpr int ahead = 8, strip_lanes = strip_threads / strip;
    __shared__ double sums[strip_lanes][strip];
    const int thread = static_cast<int>(threadIdx.x), lane = thread / strip;
    const int64_t column = static_cast<int64_t>(blockIdx.x) * strip + thread % strip;
    double total = 0;
    if (column < dim)
        for (int64_t first = lane; first < rows; first += strip_lanes * ahead) {
            float part = 0;
#pragma unroll
            for (int i = 0; i < ahead; ++i) {
                const int64_t row = first + i * strip_lanes;
                if (row < rows) part += term(row, column, dim);
            }
            total += part;
        }
    sums[lane][thread % strip] = total;
    __syncthreads();
    if (lane == 0 && column < dim) {
        for (int l = 1; l < strip_lanes; ++l) total += sums[l][thread % strip];
        put(out + column, get(out + column) + static_cast<float>(total));
    }
}

struct Itself {
    const float* dy;
    HORO_DEVICE float operator()(int64_t row, int64_t column, int64_t dim) const {
        return get(dy + row * dim + column);
    }
};
struct Product {
    const float *dy, *x;
    HORO_DEVICE float operator()(int64_t row, int64_t column, int64_t dim) const {
        return get(dy + row * dim + column) * get(x + row * dim + column);
    }
};
struct NormedProduct {
    const float *dout, *x, *rstd;
    HORO_DEVICE float operator()(int64_t row, int64_t column, int64_t dim) const {
        return get(dout + row * dim + column) * (get(x + row * dim + column) * get(rstd + row));
    }
};

struct CentredProduct {
    const float *dout, *x, *mean, *rstd;
    HORO_DEVICE float operator()(int64_t row, int64_t column, int64_t dim) const {
        const float h = (get(x + row * dim + column) - get(mean + row)) * get(rstd + row);
        return get(dout + row * dim + column) * h;
    }
};

template <class Term>
int32_t column_sums(const Term& term, int64_t rows, int64_t dim, float* out, void* stream) {
    constexpr int wide = 32, narrow = 8;
    return dim < int64_t{wide} * few_blocks ? launch(stream, parts(dim, narrow), strip_threads,
                                                     column_sums_kernel<Term, narrow>, term, rows, dim, out)
                                            : launch(stream, parts(dim, wide), strip_threads,
                                                     column_sums_kernel<Term, wide>, term, rows, dim, out);
}

int32_t bias_grad(const float* dy, int64_t rows, int64_t dim, float* dbias, void* stream) {
    return column_sums(Itself{dy}, rows, dim, dbias, stream);
}

int32_t column_scale_grad(const float* dy, const float* x, int64_t rows, int64_t dim, float* dscale,
                          void* stream) {
    return column_sums(Product{dy, x}, rows, dim, dscale, stream);
}

int32_t rmsnorm_backward(const float* dout, const float* x, const float* weight, const float* rstd,
                         int64_t rows, int64_t dim, float* dx, float* dweight, void* stream) {
    if (dweight)
        if (const int32_t code = column_sums(NormedProduct{dout, x, rstd}, rows, dim, dweight, stream))
            return code;
    return row_shape(dim % 4 == 0 && aligned(16, dout, x, weight, dx), dim, norm_gradient_packs,
                     [&](auto lanes, auto width) {
                         return launch(stream, parts(rows, threads / lanes), threads,
                                       rmsnorm_gradient_kernel<lanes, width>, dout, x, weight, rstd, rows,
                                       dim, dx);
                     });
}

int32_t layernorm_backward(const float* dout, const float* x, const float* weight, const float* mean,
                           const float* rstd, int64_t rows, int64_t dim, float* dx, float* dweight,
                           float* dbias, void* stream) {
    int32_t code = 0;
    if (dweight) code = column_sums(CentredProduct{dout, x, mean, rstd}, rows, dim, dweight, stream);
    if (!code && dbias) code = column_sums(Itself{dout}, rows, dim, dbias, stream);
    if (code) return code;
    return row_shape(dim % 4 == 0 && aligned(16, dout, x, weight, dx), dim, norm_gradient_packs,
                     [&](auto lanes, auto width) {
                         return launch(stream, parts(rows, threads / lanes), threads,
                                       layernorm_gradient_kernel<lanes, width>, dout, x, weight, mean, rstd,
                                       rows, dim, dx);
                     });
}

// ---- Rotary embedding: a block per token

constexpr int rope_threads = 128;

template <int width>
HORO_KERNEL(rope_threads)
rope_kernel(float* x, int64_t row_stride, int64_t heads, int64_t head_dim, const float* cos_sin,
            int64_t position_count, const int32_t* positions, float sign) {
    const int64_t token = blockIdx.x;
    const int32_t position = get(positions + token);
    const bool known = position >= 0 && position < position_count;
    const int half = static_cast<int>(head_dim / 2), packs = half / width;
    const int all = static_cast<int>(heads) * packs;
    const float* cosine = cos_sin + (known ? position : 0) * head_dim;
    x += token * row_stride;
    for (int j = static_cast<int>(threadIdx.x); j < all; j += rope_threads) {
        const int head = j / packs, i = j % packs * width;
        float* low = x + head * head_dim + i;
        float a[width], b[width], c[width], s[width];
        if (known) {
            load(a, low);
            load(b, low + half);
            load(c, cosine + i);
            load(s, cosine + half + i);
#pragma unroll
            for (int e = 0; e < width; ++e) {
                const float u = a[e], v = b[e];
                a[e] = u * c[e] - v * (sign * s[e]);
                b[e] = v * c[e] + u * (sign * s[e]);
            }
        } else {
#pragma unroll
            for (int e = 0; e < width; ++e) a[e] = b[e] = quiet_nan;
        }
        store(low, a);
        store(low + half, b);
    }
}

int32_t rope(float* x, int64_t tokens, int64_t row_stride, int64_t heads, int64_t head_dim,
             const float* cos_sin, int64_t position_count, const int32_t* positions, int32_t inverse,
             void* stream) {
    const float sign = inverse ? -1.0f : 1.0f;
    const bool wide = head_dim % 8 == 0 && row_stride % 4 == 0 && aligned(16, x, cos_sin);
    return wide ? launch(stream, tokens, rope_threads, rope_kernel<4>, x, row_stride, heads, head_dim,
                         cos_sin, position_count, positions, sign)
                : launch(stream, tokens, rope_threads, rope_kernel<1>, x, row_stride, heads, head_dim,
                         cos_sin, position_count, positions, sign);
}

// ---- Embedding

template <class From, int width>
HORO_KERNEL(threads)
embedding_kernel(const int32_t* ids, const From* table, int64_t tokens, int64_t vocab, int64_t dim,
                 float* out, int lanes, int64_t column_tiles) {
    const int64_t pack =
        static_cast<int64_t>(blockIdx.x) % column_tiles * lanes + static_cast<int>(threadIdx.x) % lanes;
    const int64_t token = static_cast<int64_t>(blockIdx.x) / column_tiles * (threads / lanes) +
                          static_cast<int>(threadIdx.x) / lanes;
    if (pack >= dim / width || token >= tokens) return;
    const int32_t id = get(ids + token);
    float y[width];
    if (id >= 0 && id < vocab) {
        From x[width];
        load(x, table + id * dim + pack * width);
#pragma unroll
        for (int e = 0; e < width; ++e) y[e] = widened(x[e]);
    } else {
#pragma unroll
        for (int e = 0; e < width; ++e) y[e] = quiet_nan;
    }
    store(out + token * dim + pack * width, y);
}

template <class From>
int32_t embedding(const int32_t* ids, const void* table, int64_t tokens, int64_t vocab, int64_t dim,
                  float* out, void* stream) {
    constexpr int width = sizeof(From) == 2 ? 8 : 4;
    const bool wide = dim % width == 0 && aligned(16, table, out);
    const int64_t packs = dim / (wide ? width : 1);
    const int lanes = lanes_for(packs);
    const int64_t tiles = parts(packs, lanes), blocks = parts(tokens, threads / lanes) * tiles;
    const auto kernel = wide ? embedding_kernel<From, width> : embedding_kernel<From, 1>;
    return launch(stream, blocks, threads, kernel, ids, static_cast<const From*>(table), tokens, vocab, dim,
                  out, lanes, tiles);
}

int32_t embedding_forward(const int32_t* ids, int32_t table_type, const void* table, int64_t tokens,
                          int64_t vocab, int64_t dim, float* out, void* stream) {
    return table_type == HORO_F32   ? embedding<float>(ids, table, tokens, vocab, dim, out, stream)
           : table_type == HORO_F64 ? embedding<double>(ids, table, tokens, vocab, dim, out, stream)
           : table_type == HORO_F16 ? embedding<F16>(ids, table, tokens, vocab, dim, out, stream)
                                    : embedding<Bf16>(ids, table, tokens, vocab, dim, out, stream);
}

// A block per token and tile of columns: the first token of an id adds those of all, in their order.
HORO_KERNEL(threads)
embedding_gradient_kernel(const int32_t* ids, const float* dout, int64_t tokens, int64_t vocab, int64_t dim,
                          float* dtable, int64_t column_tiles) {
    constexpr int packs = 4;
    __shared__ int32_t chunk[threads];
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t token = static_cast<int64_t>(blockIdx.x) / column_tiles;
    const int64_t first = static_cast<int64_t>(blockIdx.x) % column_tiles * (threads * packs) + thread;
    const int32_t id = get(ids + token);
    if (id < 0 || id >= vocab) return;
    bool before = false;
    for (int64_t t = thread; t < token; t += threads) before |= get(ids + t) == id;
    if (__syncthreads_or(before)) return;
    float sum[packs];
    float* row = dtable + id * dim;
#pragma unroll
    for (int p = 0; p < packs; ++p) sum[p] = first + p * threads < dim ? get(row + first + p * threads) : 0;
    for (int64_t start = token; start < tokens; start += threads) {
        __syncthreads();
        chunk[thread] = start + thread < tokens ? get(ids + start + thread) : -1;
        __syncthreads();
        for (int i = 0; i < threads; ++i)
            if (chunk[i] == id) {
                const float* from = dout + (start + i) * dim + first;
#pragma unroll
                for (int p = 0; p < packs; ++p)
                    if (first + p * threads < dim) sum[p] += get(from + p * threads);
            }
    }
#pragma unroll
    for (int p = 0; p < packs; ++p)
        if (first + p * threads < dim) put(row + first + p * threads, sum[p]);
}

int32_t embedding_backward(const int32_t* ids, const float* dout, int64_t tokens, int64_t vocab, int64_t dim,
                           float* dtable, void* stream) {
    const int64_t tiles = parts(dim, threads * 4);
    return launch(stream, tokens * tiles, threads, embedding_gradient_kernel, ids, dout, tokens, vocab, dim,
                  dtable, tiles);
}

// ---- Cross-entropy: a block per token; each thread follows the maximum of what it has read

template <int width>
HORO_KERNEL(threads)
cross_entropy_kernel(float* logits, const int32_t* targets, int64_t vocab, float* losses,
                     const float* gradient_scale) {
    constexpr int packs = 4;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t token = blockIdx.x, all = vocab / width;
    const int32_t target = get(targets + token);
    float* row = logits + token * vocab;
    if (target < 0) {
        if (thread == 0) put(losses + token, 0);
        const float zeros[width] = {};
        if (gradient_scale)
            for (int64_t p = thread; p < all; p += threads) store(row + p * width, zeros);
        return;
    }
    const float minus_infinity = -std::numeric_limits<float>::infinity();
    float top = minus_infinity;
    double total = 0;
    for (int64_t first = thread; first < all; first += threads * packs) {
        float x[packs][width];
        float most = minus_infinity;
#pragma unroll
        for (int p = 0; p < packs; ++p)
            if (first + p * threads < all) {
                load(x[p], row + (first + p * threads) * width);
            } else {
#pragma unroll
                for (int e = 0; e < width; ++e) x[p][e] = minus_infinity;
            }
#pragma unroll
        for (int p = 0; p < packs; ++p)
#pragma unroll
            for (int e = 0; e < width; ++e) most = fmaxf(most, x[p][e]);
        if (most > top) {
            total *= expf(top - most);  // 0 from -infinity
            top = most;
        }
        const float base = top == minus_infinity ? 0 : top;  // nothing but -infinity so far: sums to 0
        float sum = 0;
#pragma unroll
        for (int p = 0; p < packs; ++p)
            if (first + p * threads < all) {
#pragma unroll
                for (int e = 0; e < width; ++e) sum += expf(x[p][e] - base);
            }
        total += sum;
    }
    const float greatest = block_max<threads>(top);
    // a thread without elements has nothing to rescale
    total = block_sum<threads>(thread < all ? total * static_cast<double>(expf(top - greatest)) : 0.0);
    const bool known = target < vocab;
    if (thread == 0)
        put(losses + token,
            known ? static_cast<float>(log(total) + (static_cast<double>(greatest) - get(row + target)))
                  : quiet_nan);
    if (!gradient_scale) return;
    __syncthreads();  // the target's logit has been read
    const float scale = get(gradient_scale);
    const float factor = known ? static_cast<float>(static_cast<double>(scale) / total) : quiet_nan;
    for (int64_t p = thread; p < all; p += threads) {
        float x[width];
        load(x, row + p * width);
#pragma unroll
        for (int e = 0; e < width; ++e) {
            x[e] = expf(x[e] - greatest) * factor;
            if (p * width + e == target) x[e] -= scale;
        }
        store(row + p * width, x);
    }
}

int32_t cross_entropy(float* logits, const int32_t* targets, int64_t tokens, int64_t vocab, float* losses,
                      const float* gradient_scale, void* stream) {
    const bool wide = vocab % 4 == 0 && aligned(16, logits);
    return launch(stream, tokens, threads, wide ? cross_entropy_kernel<4> : cross_entropy_kernel<1>, logits,
                  targets, vocab, losses, gradient_scale);
}

// ---- Sums of squares in two stages: as many partial sums for any length

constexpr int partial_sums = 256;

template <int width>
HORO_KERNEL(threads)
squares_kernel(const float* x, int64_t n, double* partial) {
    constexpr int packs = 4;
    const int64_t all = n / width, stride = static_cast<int64_t>(partial_sums) * threads;
    double sum = 0;
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; first < all;
         first += stride * packs) {
        float v[packs][width];
#pragma unroll
        for (int p = 0; p < packs; ++p)
            if (first + p * stride < all) {
                load(v[p], x + (first + p * stride) * width);
            } else {
#pragma unroll
                for (int e = 0; e < width; ++e) v[p][e] = 0;
            }
#pragma unroll
        for (int p = 0; p < packs; ++p)
#pragma unroll
            for (int e = 0; e < width; ++e) sum += static_cast<double>(v[p][e]) * v[p][e];
    }
    if (blockIdx.x == 0 && threadIdx.x == 0)
        for (int64_t i = all * width; i < n; ++i) sum += static_cast<double>(get(x + i)) * get(x + i);
    sum = block_sum<threads>(sum);
    if (threadIdx.x == 0) put(partial + blockIdx.x, sum);
}

HORO_KERNEL(partial_sums)
total_kernel(const double* partial, double* total) {
    const double sum = block_sum<partial_sums>(get(partial + threadIdx.x));
    if (threadIdx.x == 0) put(total, get(total) + sum);
}

int32_t sum_squares_add(const float* x, int64_t n, double* total, double* workspace, void* stream) {
    const auto kernel = aligned(16, x) ? squares_kernel<4> : squares_kernel<1>;
    if (const int32_t code = launch(stream, partial_sums, threads, kernel, x, n, workspace)) return code;
    return launch(stream, 1, partial_sums, total_kernel, workspace, total);
}

}  // namespace

const CudaLayers& layers() {
    static const CudaLayers table = {
        rmsnorm_forward,
        rmsnorm_backward,
        layernorm_forward,
        layernorm_backward,
        rope,
        [](const float* gate, const float* up, float* out, int64_t n, void* stream) {
            return elements(Gated<Silu>{{{gate, up}, {out}}}, n, stream);
        },
        [](const float* dout, const float* gate, const float* up, float* dgate, float* dup, int64_t n,
           void* stream) {
            return elements(GatedGradient<Silu>{{{dout, gate, up}, {dgate, dup}}}, n, stream);
        },
        [](const float* gate, const float* up, float* out, int64_t n, void* stream) {
            return elements(Gated<GeluTanh>{{{gate, up}, {out}}}, n, stream);
        },
        [](const float* dout, const float* gate, const float* up, float* dgate, float* dup, int64_t n,
           void* stream) {
            return elements(GatedGradient<GeluTanh>{{{dout, gate, up}, {dgate, dup}}}, n, stream);
        },
        [](const float* x, float* out, int64_t n, void* stream) {
            return elements(Gelu{{{x}, {out}}}, n, stream);
        },
        [](const float* dout, const float* x, float* dx, int64_t n, void* stream) {
            return elements(GeluGradient{{{dout, x}, {dx}}}, n, stream);
        },
        bias_add,
        bias_grad,
        column_scale,
        column_scale_grad,
        embedding_forward,
        embedding_backward,
        cross_entropy,
        [](const float* x, const float* y, float* out, int64_t n, void* stream) {
            return elements(Add{{{x, y}, {out}}}, n, stream);
        },
        [](double a, const float* x, float* y, int64_t n, void* stream) {
            return elements(Axpy{{{x, y}, {y}}, static_cast<float>(a)}, n, stream);
        },
        [](double a, float* x, int64_t n, void* stream) {
            return elements(Scale{{{x}, {x}}, static_cast<float>(a)}, n, stream);
        },
        sum_squares_add,
        [](float* param, const float* grad, float* m, float* v, int64_t n, const AdamwStep& step,
           void* stream) {
            return elements(Adamw{{{param, grad, m, v}, {param, m, v}}, step, nullptr, nullptr, 0}, n,
                            stream);
        },
        [](float* param, const float* grad, float* m, float* v, int64_t n, const float* scalars,
           const double* sum_squares, double max_norm, void* stream) {
            return elements(Adamw{{{param, grad, m, v}, {param, m, v}}, {}, scalars, sum_squares, max_norm},
                            n, stream);
        },
        [](const float* x, double* y, int64_t n, void* stream) {
            return launch(stream, parts(n, threads), threads, exp_kernel, x, y, n);
        },
        [](const double* dy, const double* y, float* dx, int64_t n, void* stream) {
            return launch(stream, parts(n, threads), threads, exp_gradient_kernel, dy, y, dx, n);
        },
        convert_to_f32,
        convert_from_f32,
        [](const RowLengths& call, void* stream) {
            return launch(stream, parts(call.out, threads / warp), threads, row_lengths_kernel, call);
        },
    };
    return table;
}

int32_t split_bf16(const float* x, int64_t ld, int64_t rows, int64_t cols, void* split, void* stream) {
    const int64_t blocks = parts(cols, threads);
    return launch(stream, rows * blocks, threads, split_kernel, x, ld, rows, cols, static_cast<Bf16*>(split),
                  blocks);
}

}  // namespace horo::cuda
