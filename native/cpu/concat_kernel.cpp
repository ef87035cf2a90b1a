// Compiled once per instruction set: concatenation of points and its inverse.
#include "cpu/doubles.h"
#include "cpu/sets.h"
#include "geometry/concat.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {

extern const ConcatKernel concat_kernel;

namespace {

template <class T>
T* row_of(const void* data, int64_t row, int64_t stride) {
    return const_cast<T*>(static_cast<const T*>(data)) + row * stride;
}

template <class T>
static inline double dot(const T* x, const T* y, int64_t dim) {
    DotSum<false> xy;
    for (int64_t j = 0; j < dim; j += width) xy.add(load_at(x, j, dim), load_at(y, j, dim));
    return xy.total().hi;
}

template <class T>
static inline void scale(const T* x, double k, int64_t dim, T* out) {
    for (int64_t j = 0; j < dim; j += width) store_at(out, j, dim, k * load_at(x, j, dim));
}

// out = a x + b y
template <class T>
static inline void combine(double a, const T* x, double b, const T* y, int64_t dim, T* out) {
    for (int64_t j = 0; j < dim; j += width)
        store_at(out, j, dim, a * load_at(x, j, dim) + b * load_at(y, j, dim));
}

// A number per part, kept where there are few parts and made again where there are many.
template <class P, class Make>
struct Parts {
    static constexpr int64_t held = 64;
    Make make;  // of the part's number and offset
    P some[held];
    P first(int64_t i, int64_t at) {
        const P p = make(i, at);
        if (i < held) some[i] = p;
        return p;
    }
    P again(int64_t i, int64_t at) { return i < held ? some[i] : make(i, at); }
};
template <class P, class Make>
static inline Parts<P, Make> parts_of(Make make) {
    return {make, {}};
}

// ---- The ball; sigma_i the quotient of the beta functions

struct BallPart {
    double sigma, xx, gx;  // |x_i|^2, <g_i, x_i>
    double k, slope;       // of logmap0, times sigma: v_i = k x_i
};

template <class T>
void concat_ball(const ConcatTask& task, int64_t begin, int64_t end) {
    const double c = task.curvature, whole = beta_half(task.dim);
    for (int64_t row = begin; row < end; ++row) {
        const T* x = row_of<T>(task.x, row, task.x_row);
        T* out = row_of<T>(task.out, row, task.out_row);
        auto parts = parts_of<BallPart>([&](int64_t i, int64_t at) {
            const horo::Sum<double> xx = square_sum<sizeof(T) == 8>(x + at, task.dims[i]);
            const double sigma = whole / beta_half(task.dims[i]);
            return BallPart{sigma, xx.hi, 0, sigma * artanh_parts(c * xx.hi, gap<double>(c, xx)).ratio, 0};
        });
        double w = 0;
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++]) {
            const BallPart p = parts.first(i, at);
            w += c * (p.k * p.k * p.xx);
        }
        const double t = task.parts == 1 ? 1.0 : tanh_parts(w).ratio;
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++])
            scale(x + at, task.parts == 1 ? 1.0 : t * parts.again(i, at).k, task.dims[i], out + at);
    }
}

template <class T>
void concat_ball_vjp(const ConcatTask& task, int64_t begin, int64_t end) {
    const double c = task.curvature, whole = beta_half(task.dim);
    for (int64_t row = begin; row < end; ++row) {
        const T *x = row_of<T>(task.x, row, task.x_row), *g = row_of<T>(task.g, row, task.g_row);
        T* g_x = task.g_x ? row_of<T>(task.g_x, row, task.g_x_row) : nullptr;
        T* g_c = task.g_curvature ? static_cast<T*>(task.g_curvature) + row : nullptr;
        if (task.parts == 1) {  // the point itself
            if (g_x) std::memcpy(g_x, g, static_cast<size_t>(task.dim) * sizeof(T));
            if (g_c) *g_c = 0;
            continue;
        }
        auto parts = parts_of<BallPart>([&](int64_t i, int64_t at) {
            const horo::Sum<double> xx = square_sum<true>(x + at, task.dims[i]);
            const ArtanhParts h = artanh_parts(c * xx.hi, gap<double>(c, xx));
            const double sigma = whole / beta_half(task.dims[i]);
            return BallPart{sigma, xx.hi, dot(g + at, x + at, task.dims[i]), sigma * h.ratio,
                            sigma * h.slope};
        });
        // In pairs of doubles, so that what the other parts give is exact even beside a much larger part.
        horo::Sum<double> w{}, gv{};
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++]) {
            const BallPart p = parts.first(i, at);
            w = w + exactly(c * (p.k * p.k * p.xx));
            gv = gv + exactly(p.k * p.gx);
        }
        const TanhParts<double> t = tanh_parts(w.hi);
        double curvature = 0;
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++]) {
            const BallPart p = parts.again(i, at);
            const double others = (w - exactly(c * (p.k * p.k * p.xx))).hi;
            const double gv_others = (gv - exactly(p.k * p.gx)).hi;
            // <x_i, gradient by v_i>
            const double inner =
                p.gx * (t.sech2 + t.difference * others) - c * t.difference * p.k * p.xx * gv_others;
            curvature += 0.5 * p.slope * p.xx * inner;
            if (g_x)
                combine(t.ratio * p.k, g + at, c * (p.slope * inner - t.difference * gv.hi * p.k * p.k),
                        x + at, task.dims[i], g_x + at);
        }
        if (g_c) *g_c = static_cast<T>(curvature - 0.5 * t.difference * (w.hi / c) * gv.hi);
    }
}

template <class T>
void split_ball(const ConcatTask& task, int64_t begin, int64_t end) {
    const double c = task.curvature, whole = beta_half(task.dim);
    for (int64_t row = begin; row < end; ++row) {
        const T* x = row_of<T>(task.x, row, task.x_row);
        T* out = row_of<T>(task.out, row, task.out_row);
        const horo::Sum<double> xx = square_sum<sizeof(T) == 8>(x, task.dim);
        const double k = artanh_parts(c * xx.hi, gap<double>(c, xx)).ratio;
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++]) {
            const double s = k * (beta_half(task.dims[i]) / whole);
            const double part = square_sum<false>(x + at, task.dims[i]).hi;
            scale(x + at, task.parts == 1 ? 1.0 : tanh_parts(c * (s * s * part)).ratio * s, task.dims[i],
                  out + at);
        }
    }
}

template <class T>
void split_ball_vjp(const ConcatTask& task, int64_t begin, int64_t end) {
    struct Part {
        double ratio, bend, sech2;  // out_i = ratio x_i; c bend <g_i, x_i> x_i is what the length gives
        double gx, xx;              // <g_i, x_i>, |x_i|^2
    };
    const double c = task.curvature, whole = beta_half(task.dim);
    for (int64_t row = begin; row < end; ++row) {
        const T *x = row_of<T>(task.x, row, task.x_row), *g = row_of<T>(task.g, row, task.g_row);
        T* g_x = task.g_x ? row_of<T>(task.g_x, row, task.g_x_row) : nullptr;
        T* g_c = task.g_curvature ? static_cast<T*>(task.g_curvature) + row : nullptr;
        if (task.parts == 1) {
            if (g_x) std::memcpy(g_x, g, static_cast<size_t>(task.dim) * sizeof(T));
            if (g_c) *g_c = 0;
            continue;
        }
        const horo::Sum<double> xx = square_sum<true>(x, task.dim);
        const ArtanhParts h = artanh_parts(c * xx.hi, gap<double>(c, xx));
        auto parts = parts_of<Part>([&](int64_t i, int64_t at) {
            const double sigma = beta_half(task.dims[i]) / whole, s = h.ratio * sigma;
            const double square = square_sum<false>(x + at, task.dims[i]).hi, w = c * (s * s * square);
            const TanhParts<double> t = tanh_parts(w);
            return Part{t.ratio * s, t.difference * s * s * s, sigma * t.sech2,
                        dot(g + at, x + at, task.dims[i]), square};
        });
        double inner = 0, curvature = 0;  // inner: <x, gradient by logmap0(x)>
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++]) {
            const Part p = parts.first(i, at);
            inner += p.sech2 * p.gx;
            curvature += p.bend * p.xx * p.gx;
        }
        if (g_c) *g_c = static_cast<T>(0.5 * (xx.hi * h.slope * inner - curvature));
        if (!g_x) continue;
        for (int64_t i = 0, at = 0; i < task.parts; at += task.dims[i++]) {
            const Part p = parts.again(i, at);
            combine(p.ratio, g + at, c * (h.slope * inner - p.bend * p.gx), x + at, task.dims[i], g_x + at);
        }
    }
}

// ---- The hyperboloid: space parts side by side, times made new

template <class T>
void concat_lorentz(const ConcatTask& task, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const T* x = row_of<T>(task.x, row, task.x_row);
        T* out = row_of<T>(task.out, row, task.out_row);
        double square = task.curvature;
        for (int64_t i = 0, at = 1; i < task.parts; at += task.dims[i++]) {
            square += square_sum<false>(x + at + i, task.dims[i]).hi;
            std::memcpy(out + at, x + at + i, static_cast<size_t>(task.dims[i]) * sizeof(T));
        }
        out[0] = static_cast<T>(__builtin_sqrt(square));
    }
}

template <class T>
void concat_lorentz_vjp(const ConcatTask& task, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const T *x = row_of<T>(task.x, row, task.x_row), *g = row_of<T>(task.g, row, task.g_row);
        double square = task.curvature;
        for (int64_t i = 0, at = 1; i < task.parts; at += task.dims[i++])
            square += square_sum<false>(x + at + i, task.dims[i]).hi;
        const double along = static_cast<double>(g[0]) / __builtin_sqrt(square);
        if (task.g_curvature) static_cast<T*>(task.g_curvature)[row] = static_cast<T>(0.5 * along);
        if (!task.g_x) continue;
        T* g_x = row_of<T>(task.g_x, row, task.g_x_row);
        for (int64_t i = 0, at = 1; i < task.parts; at += task.dims[i++]) {
            g_x[at + i - 1] = 0;
            combine(1.0, g + at, along, x + at + i, task.dims[i], g_x + at + i);
        }
    }
}

template <class T>
void split_lorentz(const ConcatTask& task, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const T* x = row_of<T>(task.x, row, task.x_row);
        T* out = row_of<T>(task.out, row, task.out_row);
        for (int64_t i = 0, at = 1; i < task.parts; at += task.dims[i++]) {
            const double square = square_sum<false>(x + at, task.dims[i]).hi;
            out[at + i - 1] = static_cast<T>(__builtin_sqrt(task.curvature + square));
            std::memcpy(out + at + i, x + at, static_cast<size_t>(task.dims[i]) * sizeof(T));
        }
    }
}

template <class T>
void split_lorentz_vjp(const ConcatTask& task, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const T *x = row_of<T>(task.x, row, task.x_row), *g = row_of<T>(task.g, row, task.g_row);
        T* g_x = task.g_x ? row_of<T>(task.g_x, row, task.g_x_row) : nullptr;
        if (g_x) g_x[0] = 0;
        double curvature = 0;
        for (int64_t i = 0, at = 1; i < task.parts; at += task.dims[i++]) {
            const double square = square_sum<false>(x + at, task.dims[i]).hi;
            const double along = static_cast<double>(g[at + i - 1]) / __builtin_sqrt(task.curvature + square);
            curvature += along;
            if (g_x) combine(1.0, g + at + i, along, x + at, task.dims[i], g_x + at);
        }
        if (task.g_curvature) static_cast<T*>(task.g_curvature)[row] = static_cast<T>(0.5 * curvature);
    }
}

}  // namespace

#define HORO_STORED(function) \
    { function<float>, function<double>, function<ShortBf16>, function<ShortF16> }
const ConcatKernel concat_kernel = {
    {HORO_STORED(concat_ball), HORO_STORED(concat_lorentz)},
    {HORO_STORED(concat_ball_vjp), HORO_STORED(concat_lorentz_vjp)},
    {HORO_STORED(split_ball), HORO_STORED(split_lorentz)},
    {HORO_STORED(split_ball_vjp), HORO_STORED(split_lorentz_vjp)},
};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
