#include "cpu/layers.h"

#include <cmath>

#include "cpu/half.h"
#include "cpu/vec.h"

namespace horo::HORO_ISA_NAMESPACE {
namespace {

// ---- RMSNorm ----

void rmsnorm_forward(const float* x, const float* weight, double eps, int64_t rows, int64_t dim, float* out,
                     float* rstd) {
    for (int64_t row = 0; row < rows; ++row, x += dim, out += dim) {
        const double squares = sum(dim, [&](int64_t i, auto part) {
            prefetch_write(out + i);
            const Floats v = load(x + i, part);
            return v * v;
        });
        const float r = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(dim) + eps));
        each(dim, [&](int64_t i, auto part) {
            prefetch(x + dim + i);  // the next row, while this one is written
            store(out + i, load(x + i, part) * r * load(weight + i, part), part);
        });
        if (rstd) rstd[row] = r;
    }
}

void rmsnorm_backward(const float* dout, const float* x, const float* weight, const float* rstd, int64_t rows,
                      int64_t dim, float* dx) {
    for (int64_t row = 0; row < rows; ++row, x += dim, dout += dim, dx += dim) {
        const double dot = sum(dim, [&](int64_t i, auto part) {
            prefetch_write(dx + i);
            return load(dout + i, part) * load(weight + i, part) * load(x + i, part);
        });
        const float r = rstd[row];
        const float pull = static_cast<float>(dot * r * r * r / static_cast<double>(dim));
        each(dim, [&](int64_t i, auto part) {
            prefetch(x + dim + i);
            prefetch(dout + dim + i);
            const Floats direct = load(dout + i, part) * load(weight + i, part) * r;
            store(dx + i, load(dx + i, part) + (direct - load(x + i, part) * pull), part);
        });
    }
}

// out[i] += sum_r term(r, i) over columns [first, last). Rows are summed in blocks of float32, the blocks
// in double: accurate over any number of rows.
template <class Term>
HORO_INLINE void sum_rows(int64_t rows, int64_t first, int64_t last, float* out, Term&& term) {
    constexpr int64_t width = 256, block = 64;
    for (int64_t c = first; c < last; c += width) {
        const int64_t n = last - c < width ? last - c : width;
        double total[width] = {};
        for (int64_t start = 0; start < rows; start += block) {
            const int64_t stop = rows - start < block ? rows : start + block;
            float partial[width] = {};
            for (int64_t row = start; row < stop; ++row)
                for (int64_t j = 0; j < n; ++j) partial[j] += term(row, c + j);
            for (int64_t j = 0; j < n; ++j) total[j] += partial[j];
        }
        for (int64_t j = 0; j < n; ++j) out[c + j] += static_cast<float>(total[j]);
    }
}

void rmsnorm_backward_weight(const float* dout, const float* x, const float* rstd, int64_t rows, int64_t dim,
                             int64_t first, int64_t last, float* dweight) {
    sum_rows(rows, first, last, dweight,
             [=](int64_t row, int64_t i) { return dout[row * dim + i] * (x[row * dim + i] * rstd[row]); });
}

// ---- LayerNorm ----

// The mean of a row: what is left of the row after the first estimate says how far that is off.
struct Centre {
    float mean;
    float shift;
    double variance;
};

HORO_INLINE Centre centre(const float* x, int64_t dim) {
    const double n = static_cast<double>(dim);
    const float mean =
        static_cast<float>(sum(dim, [&](int64_t i, auto part) { return load(x + i, part); }) / n);
    Floats rest{};
    const double squares = sum(dim, [&](int64_t i, auto part) {
        const Floats v = load(x + i, part, mean) - mean;
        rest += v;
        return v * v;
    });
    const double shift = sum<float, wide>(rest) / n;
    return {mean, static_cast<float>(shift), squares / n - shift * shift};
}

void layernorm_forward(const float* x, const float* weight, const float* bias, double eps, int64_t rows,
                       int64_t dim, float* out, float* mean, float* rstd) {
    for (int64_t row = 0; row < rows; ++row, x += dim, out += dim) {
        const Centre c = centre(x, dim);
        const float r = static_cast<float>(1 / std::sqrt(c.variance + eps));
        each(dim, [&](int64_t i, auto part) {
            prefetch(x + dim + i);  // the next row, while this one is written
            const Floats v = (load(x + i, part) - c.mean) - c.shift;
            store(out + i, v * r * load(weight + i, part) + load(bias + i, part), part);
        });
        if (mean) mean[row] = c.mean + c.shift;
        if (rstd) rstd[row] = r;
    }
}

void layernorm_backward(const float* dout, const float* x, const float* weight, const float* mean,
                        const float* rstd, int64_t rows, int64_t dim, float* dx) {
    const double n = static_cast<double>(dim);
    for (int64_t row = 0; row < rows; ++row, x += dim, dout += dim, dx += dim) {
        const float m = mean[row], r = rstd[row];
        Floats total{};
        const double dot = sum(dim, [&](int64_t i, auto part) {
            prefetch_write(dx + i);
            const Floats g = load(dout + i, part) * load(weight + i, part);
            total += g;
            return g * ((load(x + i, part) - m) * r);
        });
        const float level = static_cast<float>(sum<float, wide>(total) / n),
                    pull = static_cast<float>(dot / n);
        each(dim, [&](int64_t i, auto part) {
            prefetch(x + dim + i);
            prefetch(dout + dim + i);
            const Floats g = load(dout + i, part) * load(weight + i, part);
            const Floats v = (load(x + i, part) - m) * r;
            store(dx + i, load(dx + i, part) + r * ((g - level) - v * pull), part);
        });
    }
}

void layernorm_backward_weight(const float* dout, const float* x, const float* mean, const float* rstd,
                               int64_t rows, int64_t dim, int64_t first, int64_t last, float* dweight) {
    sum_rows(rows, first, last, dweight, [=](int64_t row, int64_t i) {
        return dout[row * dim + i] * ((x[row * dim + i] - mean[row]) * rstd[row]);
    });
}

// ---- Bias ----

void bias_add(const float* bias, int64_t rows, int64_t dim, float* y) {
    for (int64_t row = 0; row < rows; ++row, y += dim)
        each(dim,
             [&](int64_t i, auto part) { store(y + i, load(y + i, part) + load(bias + i, part), part); });
}

void bias_grad(const float* dy, int64_t rows, int64_t dim, int64_t first, int64_t last, float* dbias) {
    sum_rows(rows, first, last, dbias, [=](int64_t row, int64_t i) { return dy[row * dim + i]; });
}

// ---- Column scale ----

void column_scale(const float* scale, int64_t rows, int64_t dim, const float* x, float* out) {
    for (int64_t row = 0; row < rows; ++row, x += dim, out += dim)
        each(dim,
             [&](int64_t i, auto part) { store(out + i, load(x + i, part) * load(scale + i, part), part); });
}

void column_scale_grad(const float* dy, const float* x, int64_t rows, int64_t dim, int64_t first,
                       int64_t last, float* dscale) {
    sum_rows(rows, first, last, dscale,
             [=](int64_t row, int64_t i) { return dy[row * dim + i] * x[row * dim + i]; });
}

// ---- Rotary embedding ----

void rope(float* x, int64_t tokens, int64_t row_stride, int64_t heads, int64_t head_dim, const float* cos_sin,
          const int32_t* positions, float sign) {
    const int64_t half = head_dim / 2;
    for (int64_t t = 0; t < tokens; ++t) {
        const float* cosine = cos_sin + positions[t] * head_dim;
        const float* sine = cosine + half;
        for (int64_t h = 0; h < heads; ++h) {
            float* low = x + t * row_stride + h * head_dim;
            float* high = low + half;
            each(half, [&](int64_t i, auto part) {
                const Floats a = load(low + i, part), b = load(high + i, part);
                const Floats c = load(cosine + i, part), s = load(sine + i, part) * sign;
                store(low + i, a * c - b * s, part);
                store(high + i, b * c + a * s, part);
            });
        }
    }
}

// ---- Gated activations ----

// sigmoid(x) and 1 - sigmoid(x), both to full relative precision, from e^-|x|.
HORO_INLINE void sigmoid(Floats x, Floats& s, Floats& complement) {
    const Floats e = exp(x < 0.0f ? x : -x);
    const Floats larger = 1.0f / (1.0f + e), smaller = e * larger;
    s = x < 0.0f ? smaller : larger;
    complement = x < 0.0f ? larger : smaller;
}

// An activation is gate * sigmoid(z); these say z and dz/dgate.
struct Silu {
    HORO_INLINE void argument(Floats gate, Floats& z, Floats& slope) {
        z = gate;
        slope = Floats{} + 1.0f;
    }
};

struct GeluTanh {
    HORO_INLINE void argument(Floats gate, Floats& z, Floats& slope) {
        // beyond 16 the sigmoid is 0 or 1, and the cube must not overflow
        Floats x = gate < -16.0f ? Floats{} - 16.0f : gate;
        x = x > 16.0f ? Floats{} + 16.0f : x;
        const float scale = 1.5957691216057308f, cubic = 0.044715f;  // sqrt(8 / pi)
        const Floats square = x * x;
        z = scale * x * (1.0f + cubic * square);
        slope = scale * (1.0f + 3 * cubic * square);
    }
};

template <class Activation>
void gated_forward(const float* gate, const float* up, float* out, int64_t n) {
    each(n, [&](int64_t i, auto part) {
        const Floats g = load(gate + i, part);
        Floats z, slope, s, complement;
        Activation::argument(g, z, slope);
        sigmoid(z, s, complement);
        store(out + i, g * s * load(up + i, part), part);
    });
}

template <class Activation>
void gated_backward(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                    int64_t n) {
    each(n, [&](int64_t i, auto part) {
        const Floats d = load(dout + i, part), g = load(gate + i, part), u = load(up + i, part);
        Floats z, slope, s, complement;
        Activation::argument(g, z, slope);
        sigmoid(z, s, complement);
        const Floats weighted = d * s;
        store(dup + i, weighted * g, part);
        store(dgate + i, weighted * u * (1.0f + g * complement * slope), part);
    });
}

// ---- GELU ----

// The normal distribution function and exp(-x^2/2), both to full relative precision. With t = |x| the tail is
// exp(-t^2/2) R(t); R(t) (1 + t), smooth and bounded, is a polynomial in (t - 4) / (t + 4), relative
// error 2.8e-8.
HORO_INLINE void normal_cdf(Floats x, Floats& cdf, Floats& bell) {
    Floats t = x < 0.0f ? -x : x;
    t = t > 15.0f ? Floats{} + 15.0f : t;  // exp(-112) is 0, and the square must not overflow
    // the rounding error of t^2, which the exponential would enlarge: t = high + low, products of high are
    // exact
    Ints bits;
    std::memcpy(&bits, &t, sizeof bits);
    bits &= static_cast<int32_t>(0xFFFFF000);
    Floats high;
    std::memcpy(&high, &bits, sizeof high);
    const Floats low = t - high, square = t * t;
    const Floats error = ((high * high - square) + 2.0f * high * low) + low * low;
    const Floats e = exp(square * -0.5f);
    bell = e - e * (0.5f * error);
    const Floats q = (t - 4.0f) / (t + 4.0f);
    Floats p = Floats{} + 9.032709931e-05f;
    p = p * q + 7.251962088e-04f;
    p = p * q - 4.094584729e-04f;
    p = p * q - 5.051590968e-03f;
    p = p * q + 1.796549931e-02f;
    p = p * q - 3.218493983e-02f;
    p = p * q + 2.859754302e-02f;
    p = p * q + 1.399864908e-02f;
    p = p * q - 9.670338780e-02f;
    p = p * q + 4.720532298e-01f;
    const Floats tail = bell * (p / (1.0f + t));
    cdf = x < 0.0f ? tail : 1.0f - tail;
}

void gelu_forward(const float* x, float* out, int64_t n) {
    each(n, [&](int64_t i, auto part) {
        const Floats v = load(x + i, part);
        Floats cdf, bell;
        normal_cdf(v, cdf, bell);
        store(out + i, v * cdf, part);
    });
}

void gelu_backward(const float* dout, const float* x, float* dx, int64_t n) {
    const float density = 0.3989422804014327f;  // 1 / sqrt(2 pi)
    each(n, [&](int64_t i, auto part) {
        const Floats v = load(x + i, part);
        Floats cdf, bell;
        normal_cdf(v, cdf, bell);
        store(dx + i, load(dout + i, part) * (cdf + v * (bell * density)), part);
    });
}

// ---- Cross-entropy ----

void cross_entropy(float* logits, const int32_t* targets, int64_t tokens, int64_t vocab, float* losses,
                   bool gradient, float gradient_scale) {
    constexpr int64_t block = 1024;  // summed in float32; the blocks in double
    for (int64_t t = 0; t < tokens; ++t) {
        float* row = logits + t * vocab;
        const int32_t target = targets[t];
        if (target < 0) {
            losses[t] = 0;
            if (gradient) std::memset(row, 0, static_cast<size_t>(vocab) * sizeof(float));
            continue;
        }
        const float top = max(row, vocab);
        double total = 0;
        for (int64_t start = 0; start < vocab; start += block) {
            const float* x = row + start;
            total += sum(vocab - start < block ? vocab - start : block, [&](int64_t i, auto part) {
                return exp(load(x + i, part, -__builtin_inff()) - top);
            });
        }
        losses[t] = static_cast<float>(std::log(total) + (static_cast<double>(top) - row[target]));
        if (!gradient) continue;
        const float factor = static_cast<float>(gradient_scale / total);
        each(vocab,
             [&](int64_t i, auto part) { store(row + i, exp(load(row + i, part) - top) * factor, part); });
        row[target] -= gradient_scale;
    }
}

// ---- Element-wise; plain loops, vectorised by the compiler ----

void add(const float* x, const float* y, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] + y[i];
}

void axpy(float a, const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void scale(float a, float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] *= a;
}

double sum_squares(const float* x, int64_t n) {
    constexpr int width = 4 * wide;
    double total[width] = {};
    int64_t i = 0;
    for (; i + width <= n; i += width)
        for (int l = 0; l < width; ++l) total[l] += static_cast<double>(x[i + l]) * x[i + l];
    for (int l = 0; i < n; ++i, ++l) total[l] += static_cast<double>(x[i]) * x[i];
    double all = 0;
    for (double part : total) all += part;
    return all;
}

void adamw(float* __restrict param, const float* __restrict grad, float* __restrict m, float* __restrict v,
           int64_t n, const AdamwStep& step) {
    const AdamwStep s = step;
    for (int64_t i = 0; i < n; ++i) {
        const float g = grad[i] * s.grad_scale;
        const float first = m[i] + (g - m[i]) * s.one_minus_beta1;
        const float second = v[i] * s.beta2 + g * g * s.one_minus_beta2;
        m[i] = first;
        v[i] = second;
        const float denominator = std::sqrt(second) / s.sqrt_correction2 + s.eps;
        param[i] = param[i] * s.decay - s.step_size * first / denominator;
    }
}

// ---- Storage types; narrowing rounds to nearest even and keeps NaN ----

void f32_to_f32(const void* src, float* dst, int64_t n) {
    std::memmove(dst, src, static_cast<size_t>(n) * sizeof(float));
}

void f64_to_f32(const void* src, float* __restrict dst, int64_t n) {
    const double* x = static_cast<const double*>(src);
    for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(x[i]);
}

void f32_from_f32(const float* src, void* dst, int64_t n) {
    std::memmove(dst, src, static_cast<size_t>(n) * sizeof(float));
}

void f64_from_f32(const float* __restrict src, void* dst, int64_t n) {
    double* out = static_cast<double*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = src[i];
}

}  // namespace

extern const LayersTable layers = {
    rmsnorm_forward,
    rmsnorm_backward,
    rmsnorm_backward_weight,
    layernorm_forward,
    layernorm_backward,
    layernorm_backward_weight,
    rope,
    gated_forward<Silu>,
    gated_backward<Silu>,
    gated_forward<GeluTanh>,
    gated_backward<GeluTanh>,
    gelu_forward,
    gelu_backward,
    bias_add,
    bias_grad,
    column_scale,
    column_scale_grad,
    cross_entropy,
    add,
    axpy,
    scale,
    sum_squares,
    adamw,
    {f32_to_f32, f64_to_f32, bf16_to_f32, f16_to_f32},
    {f32_from_f32, f64_from_f32, bf16_from_f32, f16_from_f32},
};

}  // namespace horo::HORO_ISA_NAMESPACE
