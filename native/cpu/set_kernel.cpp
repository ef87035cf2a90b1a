// Compiled once per instruction set: loops over the points of a set.
#include "cpu/doubles.h"
#include "cpu/sets.h"
#include "geometry/midpoint.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {

extern const SetKernel set_kernel;

namespace {

constexpr int64_t slice = 4096;  // coordinates of the sum that are held at once

// One row's set and, for a slice of its coordinates, the sum of its points; exact: in pairs of doubles.
template <class Model, class T, bool exact>
struct PointSet {
    const MidpointTask& task;
    const T* x;
    const T* w;
    horo::Sum<double> time{};
    int64_t from = -1, count = 0;
    alignas(64) double hi[slice], lo[slice];

    explicit PointSet(const MidpointTask& t) : task(t) {}

    void start(int64_t row) {
        x = static_cast<const T*>(task.x) + row * task.x_row + Model::ambient;
        w = task.w ? static_cast<const T*>(task.w) + row * task.w_row : nullptr;
        from = -1;
    }
    const T* point(int64_t i) const { return x + i * task.x_point; }
    double weight(int64_t i) const { return w ? static_cast<double>(w[i]) : 1.0; }

    // Sums the coordinates from `first` on, unless they are there already. Rows of more than one slice are
    // read again for each.
    void sum_slice(int64_t first) {
        if (first == from) return;
        from = first;
        count = smaller(slice, task.dim - first);
        for (int64_t j = 0; j < round_up(count, width); ++j) hi[j] = lo[j] = 0;
        time = {};
        for (int64_t i = 0; i < task.k; ++i) {
            const T* p = point(i);
            const SetShare<double> share =
                Model::template share<double>(task.curvature, square_sum<exact>(p, task.dim), weight(i));
            time = time + share.time;
            const Doubles u = splat<double, width>(share.u.hi), u_low = splat<double, width>(share.u.lo);
            for (int64_t j = 0; j < count; j += width) {
                const Doubles v = load_at(p + first, j, count);
                DotSum<exact> s{load_doubles(hi + j), load_doubles(lo + j)};
                s.add(v, u, u_low);
                store<double, width>(hi + j, s.hi);
                if constexpr (exact) store<double, width>(lo + j, s.lo);
            }
        }
        if constexpr (exact) {
            for (int64_t j = 0; j < count; j += width) {
                const auto s = normalized<Doubles>(load_doubles(hi + j), load_doubles(lo + j));
                store<double, width>(hi + j, s.hi);
                store<double, width>(lo + j, s.lo);
            }
        }
    }

    // |s|^2
    horo::Sum<double> square() {
        DotSum<exact> ss;
        for (int64_t first = 0; first < task.dim; first += slice) {
            sum_slice(first);
            for (int64_t j = 0; j < count; j += width) {
                const Doubles s = load_doubles(hi + j);
                ss.add(s, s, 2.0 * load_doubles(lo + j));
            }
        }
        return ss.total();
    }

    // s - tau x at coordinate j of the slice; what is below the precision of tau is 0
    horo::Sum<Doubles> offset(Doubles v, horo::Sum<double> tau, double precision, int64_t j) const {
        const Doubles s = load_doubles(hi + j);
        const horo::Sum<Doubles> q = two_product(splat<double, width>(tau.hi), v),
                                 d = two_sum<Doubles>(s, -q.hi);
        const horo::Sum<Doubles> f =
            normalized<Doubles>(d.hi, d.lo + ((load_doubles(lo + j) - q.lo) - tau.lo * v));
        const auto noise = f.hi * f.hi <= precision * precision * (s * s);
        return {choose<Doubles>(noise, Doubles{}, f.hi), choose<Doubles>(noise, Doubles{}, f.lo)};
    }
};

template <class Model, class T>
void midpoint(const MidpointTask& task, int64_t begin, int64_t end) {
    constexpr bool exact =
        sizeof(T) == 8 || Model::precise;  // products of float32 numbers are exact in double
    PointSet<Model, T, exact> set(task);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        const horo::Sum<double> ss = set.square();
        const typename Model::template Mean<double> mean(task.curvature, set.time, ss);
        T* out = static_cast<T*>(task.out) + row * task.out_row;
        if constexpr (Model::ambient) *out++ = static_cast<T>(mean.time());
        const double scale = mean.scale();
        for (int64_t first = 0; first < task.dim; first += slice) {
            set.sum_slice(first);
            for (int64_t j = 0; j < set.count; j += width)
                store_at(out + first, j, set.count, scale * load_doubles(set.hi + j));
        }
    }
}

template <class Model, class T>
void midpoint_vjp(const MidpointTask& task, int64_t begin, int64_t end) {
    PointSet<Model, T, true> set(task);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        const horo::Sum<double> ss = set.square();
        const typename Model::template Mean<double> mean(task.curvature, set.time, ss);
        const T* g = static_cast<const T*>(task.g) + row * task.g_row;
        const double g0 = Model::ambient ? static_cast<double>(*g++) : 0.0;
        DotSum<false> g_s;
        for (int64_t first = 0; first < task.dim; first += slice) {
            set.sum_slice(first);
            for (int64_t j = 0; j < set.count; j += width)
                g_s.add(load_at(g + first, j, set.count), load_doubles(set.hi + j));
        }
        const double gs = g_s.total().hi;
        double curvature = 0;
        for (int64_t i = 0; i < task.k; ++i) {
            const T* p = set.point(i);
            const horo::Sum<double> xx = square_sum<true>(p, task.dim);
            const double w = set.weight(i);
            const SetShare<double> share = Model::template share<double>(task.curvature, xx, w);
            const horo::Sum<double> tau = mean.tau(share);
            const double precision = 0x1p-98 * mean.loss();
            DotSum<false> gf, ff;
            DotSum<Model::precise> xf;
            for (int64_t first = 0; first < task.dim; first += slice) {
                set.sum_slice(first);
                for (int64_t j = 0; j < set.count; j += width) {
                    const Doubles v = load_at(p + first, j, set.count), h = load_at(g + first, j, set.count);
                    const horo::Sum<Doubles> f = set.offset(v, tau, precision, j);
                    gf.add(h, f.hi);
                    ff.add(f.hi, f.hi);
                    xf.add(v, f.hi, f.lo);
                }
            }
            const SetSlopes<double> slope =
                mean.slopes(g0, gs, w, share, {xx.hi, gf.total().hi, ff.total().hi, xf.total().hi});
            curvature += slope.curvature;
            if (task.g_w) static_cast<T*>(task.g_w)[row * task.g_w_row + i] = static_cast<T>(slope.weight);
            if (!task.g_x) continue;
            T* out = static_cast<T*>(task.g_x) + row * task.g_x_row + i * task.g_x_point;
            if constexpr (Model::ambient) *out++ = 0;
            for (int64_t first = 0; first < task.dim; first += slice) {
                set.sum_slice(first);
                for (int64_t j = 0; j < set.count; j += width) {
                    const Doubles v = load_at(p + first, j, set.count), h = load_at(g + first, j, set.count);
                    const Doubles f = set.offset(v, tau, precision, j).hi;
                    store_at(out + first, j, set.count,
                             slope.along_g * h + (slope.along_x * v + slope.along_f * f));
                }
            }
        }
        if (task.g_curvature) static_cast<T*>(task.g_curvature)[row] = static_cast<T>(curvature);
    }
}

}  // namespace

#define HORO_SET_KERNELS(function)                                                       \
    {                                                                                    \
        {function<poincare::Midpoint, float>, function<poincare::Midpoint, double>},     \
            {function<lorentz::Midpoint, float>, function<lorentz::Midpoint, double>}, { \
            function<klein::Midpoint, float>, function<klein::Midpoint, double>          \
        }                                                                                \
    }
const SetKernel set_kernel = {HORO_SET_KERNELS(midpoint), HORO_SET_KERNELS(midpoint_vjp)};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
