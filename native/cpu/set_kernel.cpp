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
    const double* factor = nullptr;  // of the weights
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
    double given_weight(int64_t i) const { return w ? static_cast<double>(w[i]) : 1.0; }
    double weight(int64_t i) const { return factor ? given_weight(i) * factor[i] : given_weight(i); }

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

    // s/|s| at coordinate j of the slice, given 1/|s|
    horo::Sum<Doubles> direction(horo::Sum<double> inverse, int64_t j) const {
        const horo::Sum<Doubles> s = {load_doubles(hi + j), load_doubles(lo + j)};
        return s * horo::Sum<Doubles>{splat<double, width>(inverse.hi), splat<double, width>(inverse.lo)};
    }

    // |t| - sqrt(c)|s| from the points' shares, with 1/|s| of the sign of t
    double deficit(horo::Sum<double> inverse) {
        double sum = 0;
        for (int64_t i = 0; i < task.k; ++i) {
            const T* p = point(i);
            DotSum<true> along;
            DotSum<false> across;
            for (int64_t first = 0; first < task.dim; first += slice) {
                sum_slice(first);
                for (int64_t j = 0; j < count; j += width) {
                    const horo::Sum<Doubles> e = direction(inverse, j);
                    along.add(load_at(p + first, j, count), e.hi, e.lo);
                }
            }
            const horo::Sum<double> a = along.total();
            const horo::Sum<Doubles> wide = {splat<double, width>(a.hi), splat<double, width>(a.lo)};
            for (int64_t first = 0; first < task.dim; first += slice) {
                sum_slice(first);
                for (int64_t j = 0; j < count; j += width) {
                    const Doubles r = (horo::Sum<Doubles>{load_at(p + first, j, count), Doubles{}} -
                                       wide * direction(inverse, j))
                                          .hi;
                    across.add(r, r);
                }
            }
            const double own = weight(i);
            const SetShare<double> share =
                Model::template share<double>(task.curvature, square_sum<exact>(p, task.dim), own);
            sum += Model::template deficit<double>(task.curvature, share, own, a, across.total().hi);
        }
        return sum;
    }

    // What the sum becomes; ss is |s|^2.
    typename Model::template Mean<double> mean(horo::Sum<double> ss) {
        typename Model::template Mean<double> m(task.curvature, time, ss);
        if constexpr (exact) {
            const double sign = time.hi < 0 ? -1 : 1;
            if (!(sign * m.n > cancelled * sign * time.hi)) {
                const horo::Sum<double> size = square_root(ss);
                const double n2 =
                    (sign * time.hi + __builtin_sqrt(m.c) * size.hi) * sign * deficit(exactly(sign) / size);
                m.take(time, exactly(sign * __builtin_sqrt(n2)));
            }
        }
        return m;
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
        const typename Model::template Mean<double> mean = set.mean(ss);
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
        const typename Model::template Mean<double> mean = set.mean(ss);
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

// ---- Frechet mean

// A set whose weights take factors, and the mean that they give.
template <class Model, class T>
struct Frechet {
    using Mean = typename Model::template Mean<double>;
    PointSet<Model, T, true>& set;
    const MidpointTask& task;
    double* factor;
    Mean mean;
    double ss;

    Frechet(PointSet<Model, T, true>& s, double* factors)
        : set(s), task(s.task), factor(factors), mean(1, {}, {}), ss(0) {
        for (int64_t i = 0; i < task.k; ++i) factor[i] = 1;
        set.factor = factor;
        centre();
    }

    // The midpoint with the present factors.
    void centre() {
        set.from = -1;
        const horo::Sum<double> square = set.square();
        mean = set.mean(square);
        ss = square.hi;
    }

    struct Point {
        SetShare<double> share;
        SetDots<double> dots;
        horo::Sum<double> tau;
        double precision;
    };

    // The dot products of a point, with the cotangent u if there is one.
    Point point(int64_t i, const double* u) {
        const T* p = set.point(i);
        Point at;
        const horo::Sum<double> xx = square_sum<true>(p, task.dim);
        at.share = Model::template share<double>(task.curvature, xx, set.weight(i));
        at.tau = mean.tau(at.share);
        at.precision = 0x1p-98 * mean.loss();
        DotSum<false> gf, ff;
        DotSum<Model::precise> xf;
        for (int64_t first = 0; first < task.dim; first += slice) {
            set.sum_slice(first);
            for (int64_t j = 0; j < set.count; j += width) {
                const Doubles v = load_at(p + first, j, set.count);
                const horo::Sum<Doubles> f = set.offset(v, at.tau, at.precision, j);
                if (u) gf.add(load_at(u + first, j, set.count), f.hi);
                ff.add(f.hi, f.hi);
                xf.add(v, f.hi, f.lo);
            }
        }
        at.dots = {xx.hi, gf.total().hi, ff.total().hi, xf.total().hi};
        return at;
    }

    struct Variance {
        double value, weights;  // the sum of the weights
    };
    Variance variance() {
        double squares = 0, weights = 0;
        for (int64_t i = 0; i < task.k; ++i) {
            const Point at = point(i, nullptr);
            squares += set.given_weight(i) * mean.distance(ss, at.share, at.dots).square;
            weights += set.given_weight(i);
        }
        return {mean.unit() * squares / weights, weights};
    }

    // Repeats until the next midpoint would be at most `tolerance` radii away; the number of midpoints, or
    // -1.
    int32_t solve(double tolerance, int32_t most) {
        for (int32_t n = 1;; ++n) {
            double moved = 0, held = 0;
            for (int64_t i = 0; i < task.k; ++i) {
                const Point at = point(i, nullptr);
                const SetDistance<double> d = mean.distance(ss, at.share, at.dots);
                const double change = d.factor - factor[i], w = set.given_weight(i);
                moved += w * (change < 0 ? -change : change) * d.sinh;
                held += w * d.factor * d.cosh;
                factor[i] = d.factor;
            }
            centre();
            if (moved <= tolerance * held) return n;
            if (n >= most || moved != moved) return -1;
        }
    }
};

template <class Model, class T>
void frechet(const FrechetTask& task, int64_t begin, int64_t end) {
    PointSet<Model, T, true> set(task.set);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        Frechet<Model, T> search(set, task.workspace + row * frechet_width(task.set.k, task.set.dim, false));
        const int32_t n = search.solve(task.tolerance, task.most);
        if (task.iterations) task.iterations[row] = n;
        T* out = static_cast<T*>(task.set.out) + row * task.set.out_row;
        if constexpr (Model::ambient) *out++ = static_cast<T>(search.mean.time());
        for (int64_t first = 0; first < task.set.dim; first += slice) {
            set.sum_slice(first);
            for (int64_t j = 0; j < set.count; j += width)
                store_at(out + first, j, set.count, search.mean.scale() * load_doubles(set.hi + j));
        }
        if (!task.variance) continue;
        static_cast<T*>(task.variance)[row] = static_cast<T>(search.variance().value);
    }
}

// With m = midpoint(x, w factor(dist(m, x))) the cotangent u of the midpoint is that of m plus what u itself
// gives to m through the factors; the same iteration finds it.
template <class Model, class T>
void frechet_vjp(const FrechetTask& task, int64_t begin, int64_t end) {
    PointSet<Model, T, true> set(task.set);
    const int64_t k = task.set.k, dim = task.set.dim;
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        double* const factor = task.workspace + row * frechet_width(k, dim, true);
        double* const u = factor + k;
        double* const addend = u + (frechet_width(k, dim, true) - k) / 2;
        Frechet<Model, T> search(set, factor);
        int32_t n = search.solve(task.tolerance, task.most);
        const auto& mean = search.mean;
        const T* g = task.set.g ? static_cast<const T*>(task.set.g) + row * task.set.g_row : nullptr;
        const double g0 = Model::ambient && g ? static_cast<double>(*g++) : 0.0;
        const auto cotangent = [&](int64_t j) { return g ? static_cast<double>(g[j]) : 0.0; };
        for (int64_t j = 0; j < dim; ++j) u[j] = cotangent(j);
        double us = 0;
        const auto along_s = [&] {
            DotSum<false> dot;
            for (int64_t first = 0; first < dim; first += slice) {
                set.sum_slice(first);
                for (int64_t j = 0; j < set.count; j += width)
                    dot.add(load_at(u + first, j, set.count), load_doubles(set.hi + j));
            }
            us = dot.total().hi;
        };
        along_s();
        int32_t steps = 0;
        for (bool settled = n < 0 || !g; !settled;) {
            for (int64_t j = 0; j < dim; ++j) addend[j] = 0;
            for (int64_t i = 0; i < k; ++i) {
                const auto at = search.point(i, u);
                const SetSlopes<double> slope = mean.slopes(g0, us, set.weight(i), at.share, at.dots);
                const SetDistance<double> d = mean.distance(search.ss, at.share, at.dots);
                const double h = slope.weight * set.given_weight(i) * d.slope;
                for (int64_t first = 0; first < dim; first += slice) {
                    set.sum_slice(first);
                    for (int64_t j = 0; j < set.count; j += width) {
                        const Doubles v = load_at(set.point(i) + first, j, set.count);
                        const Doubles f = set.offset(v, at.tau, at.precision, j).hi;
                        store_at(addend + first, j, set.count,
                                 load_at(addend + first, j, set.count) +
                                     h * (d.along_f * f + d.along_s * load_doubles(set.hi + j)));
                    }
                }
            }
            double change = 0, size = 0;
            for (int64_t j = 0; j < dim; ++j) {
                const double next = cotangent(j) + addend[j];
                change += (next - u[j]) * (next - u[j]);
                size += next * next;
                u[j] = next;
            }
            along_s();
            settled = change <= task.tolerance * task.tolerance * size;
            if (!settled && (++steps >= task.most || change != change)) {
                n = -1;
                break;
            }
        }
        if (task.iterations) task.iterations[row] = n < 0 ? -1 : n + steps;
        // The variance is least at the mean, so it depends on the points as if the mean stayed where it is.
        double spread = 0, variance = 0;  // the cotangent of the variance over the sum of the weights
        if (task.g_variance) {
            const auto [mean_square, weights] = search.variance();
            variance = mean_square;
            spread = static_cast<double>(static_cast<const T*>(task.g_variance)[row]) / weights;
        }
        double curvature = 0;
        for (int64_t i = 0; i < k; ++i) {
            const T* p = set.point(i);
            const auto at = search.point(i, u);
            const SetSlopes<double> slope = mean.slopes(g0, us, set.weight(i), at.share, at.dots);
            const SetDistance<double> d = mean.distance(search.ss, at.share, at.dots);
            const double w = set.given_weight(i);
            const double h = slope.weight * w * d.slope + spread * w * mean.unit() * d.steep;
            curvature += slope.curvature + slope.weight * w * d.slope * d.by_curvature +
                         spread * w * d.dist_by_curvature;
            if (task.set.g_w)
                static_cast<T*>(task.set.g_w)[row * task.set.g_w_row + i] =
                    static_cast<T>(slope.weight * factor[i] + spread * (mean.unit() * d.square - variance));
            if (!task.set.g_x) continue;
            T* out = static_cast<T*>(task.set.g_x) + row * task.set.g_x_row + i * task.set.g_x_point;
            if constexpr (Model::ambient) *out++ = 0;
            const double along_f = slope.along_f + h * d.by_f, along_x = slope.along_x + h * d.by_x;
            for (int64_t first = 0; first < dim; first += slice) {
                set.sum_slice(first);
                for (int64_t j = 0; j < set.count; j += width) {
                    const Doubles v = load_at(p + first, j, set.count), c = load_at(u + first, j, set.count);
                    const Doubles f = set.offset(v, at.tau, at.precision, j).hi;
                    store_at(out + first, j, set.count, slope.along_g * c + (along_x * v + along_f * f));
                }
            }
        }
        if (task.set.g_curvature) static_cast<T*>(task.set.g_curvature)[row] = static_cast<T>(curvature);
    }
}

}  // namespace

#define HORO_STORED(function, Model) \
    { function<Model, float>, function<Model, double>, function<Model, ShortBf16>, function<Model, ShortF16> }
#define HORO_SET_KERNELS(function)                                                           \
    {                                                                                        \
        HORO_STORED(function, poincare::Midpoint), HORO_STORED(function, lorentz::Midpoint), \
            HORO_STORED(function, klein::Midpoint)                                           \
    }
const SetKernel set_kernel = {HORO_SET_KERNELS(midpoint), HORO_SET_KERNELS(midpoint_vjp),
                              HORO_SET_KERNELS(frechet), HORO_SET_KERNELS(frechet_vjp)};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
