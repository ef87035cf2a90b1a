// Midpoints and Frechet means of sets of points with their gradients, see geometry/midpoint.h, and
// concatenation, see geometry/concat.h. A set is the work of a block, a warp of threads or 256, each of which
// has some coordinates of the sum of the points in registers; far out in pairs of doubles, as on the CPU.
#include "abi/cuda_kernels.h"
#include "dot_sum.cuh"
#include "geometry/concat.h"
#include "geometry/midpoint.h"
#include "kernels.h"

namespace horo::cuda {
namespace {

constexpr int set_coordinates = 8;  // of a slice, per thread

// One row's set and, for a slice of its coordinates, the sum of its points; exact: in pairs of doubles. All
// threads of the block call together and get the same numbers.
template <class Model, class T, bool exact, int lanes>
struct PointSet {
    static constexpr int64_t slice = int64_t{lanes} * set_coordinates;
    const MidpointTask& task;
    typename T::In x, w;
    const double* factor = nullptr;  // of the weights
    horo::Sum<double> time{};
    int64_t from = -1;
    int lane;
    double hi[set_coordinates], lo[set_coordinates];

    HORO_DEVICE PointSet(const MidpointTask& t, T type, int64_t row)
        : task(t),
          x(type.in(t.x, row * t.x_row + Model::ambient)),
          w(type.in(t.w, row * t.w_row)),
          lane(static_cast<int>(threadIdx.x)) {}

    HORO_DEVICE typename T::In point(int64_t i) const { return x + i * task.x_point; }
    HORO_DEVICE double given_weight(int64_t i) const { return w ? read(w + i) : 1.0; }
    HORO_DEVICE double weight(int64_t i) const {
        return factor ? given_weight(i) * get(factor + i) : given_weight(i);
    }

    // body(c, j) for this thread's coordinates of the slice from `first` on, j the coordinate of the row.
    template <class Body>
    HORO_DEVICE void each(int64_t first, Body&& body) const {
#pragma unroll
        for (int c = 0; c < set_coordinates; ++c) {
            const int64_t j = first + c * lanes + lane;
            if (j < task.dim) body(c, j);
        }
    }
    // body(c, j) for all coordinates, the sums being there.
    template <class Body>
    HORO_DEVICE void everywhere(Body&& body) {
        for (int64_t first = 0; first < task.dim; first += slice) {
            sum_slice(first);
            each(first, body);
        }
    }

    // Sums the coordinates from `first` on, unless they are there already.
    HORO_DEVICE void sum_slice(int64_t first) {
        if (first == from) return;
        from = first;
#pragma unroll
        for (int c = 0; c < set_coordinates; ++c) hi[c] = lo[c] = 0;
        time = {};
        for (int64_t i = 0; i < task.k; ++i) {
            const auto p = point(i);
            const SetShare<double> share = Model::template share<double>(
                task.curvature, square_sum<exact, lanes>(p, task.dim, lane), weight(i));
            time = time + share.time;
            each(first, [&](int c, int64_t j) {
                DotSum<exact> s{hi[c], lo[c]};
                s.add(read(p + j), share.u.hi, share.u.lo);
                hi[c] = s.hi;
                lo[c] = s.lo;
            });
        }
        if constexpr (exact) {
#pragma unroll
            for (int c = 0; c < set_coordinates; ++c) {
                const auto s = normalized<double>(hi[c], lo[c]);
                hi[c] = s.hi;
                lo[c] = s.lo;
            }
        }
    }

    // |s|^2
    HORO_DEVICE horo::Sum<double> square() {
        DotSum<exact> ss;
        everywhere([&](int c, int64_t) { ss.add(hi[c], hi[c], 2.0 * lo[c]); });
        return ss.template total<lanes>();
    }

    // |t| - sqrt(c)|s| from the points' shares, with 1/|s| of the sign of t
    HORO_DEVICE double deficit(horo::Sum<double> inverse) {
        double sum = 0;
        for (int64_t i = 0; i < task.k; ++i) {
            const auto p = point(i);
            DotSum<true> along_sum;
            DotSum<false> across;
            everywhere([&](int c, int64_t j) {
                const horo::Sum<double> e = horo::Sum<double>{hi[c], lo[c]} * inverse;
                along_sum.add(read(p + j), e.hi, e.lo);
            });
            const horo::Sum<double> along = along_sum.template total<lanes>();
            everywhere([&](int c, int64_t j) {
                const horo::Sum<double> e = horo::Sum<double>{hi[c], lo[c]} * inverse;
                const double r = (exactly(read(p + j)) - along * e).hi;
                across.add(r, r);
            });
            const double own = weight(i);
            const SetShare<double> share = Model::template share<double>(
                task.curvature, square_sum<exact, lanes>(p, task.dim, lane), own);
            sum += Model::template deficit<double>(task.curvature, share, own, along,
                                                   across.template total<lanes>().hi);
        }
        return sum;
    }

    // What the sum becomes; ss is |s|^2.
    HORO_DEVICE typename Model::template Mean<double> mean(horo::Sum<double> ss) {
        typename Model::template Mean<double> m(task.curvature, time, ss);
        if constexpr (exact) {
            const double sign = time.hi < 0 ? -1 : 1;
            if (!(sign * m.n > cancelled * sign * time.hi)) {
                const horo::Sum<double> size = square_root(ss);
                const double n2 = (sign * time.hi + square_root<double>(m.c) * size.hi) * sign *
                                  deficit(exactly(sign) / size);
                m.take(time, exactly(sign * square_root<double>(n2)));
            }
        }
        return m;
    }

    // s - tau x at this thread's coordinate c, v; what is below the precision of tau is 0
    HORO_DEVICE horo::Sum<double> offset(double v, horo::Sum<double> tau, double precision, int c) const {
        const horo::Sum<double> q = two_product(tau.hi, v), d = two_sum<double>(hi[c], -q.hi);
        const horo::Sum<double> f = normalized<double>(d.hi, d.lo + ((lo[c] - q.lo) - tau.lo * v));
        const bool noise = f.hi * f.hi <= precision * precision * (hi[c] * hi[c]);
        return {noise ? 0.0 : f.hi, noise ? 0.0 : f.lo};
    }
};

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
midpoint_kernel(HORO_CONSTANT MidpointTask task, T type) {
    constexpr bool exact = T::wide || Model::precise;  // products of float32 numbers are exact in double
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    PointSet<Model, T, exact, lanes> set(task, type, row);
    const typename Model::template Mean<double> mean = set.mean(set.square());
    auto out = type.out(task.out, row * task.out_row);
    if (Model::ambient && set.lane == 0) write(out, mean.time());
    out += Model::ambient;
    const double scale = mean.scale();
    set.everywhere([&](int c, int64_t j) { write(out + j, scale * set.hi[c]); });
}

// Where the gradients of a row go.
template <class Model, class T>
struct SetGradients {
    const MidpointTask& task;
    T type;
    int64_t row;

    HORO_DEVICE typename T::Out point(int64_t i) const {
        return type.out(task.g_x, row * task.g_x_row + i * task.g_x_point);
    }
    HORO_DEVICE void weight(int64_t i, double value) const {
        if (task.g_w) write(type.out(task.g_w, row * task.g_w_row + i), value);
    }
    HORO_DEVICE void curvature(double value) const {
        if (task.g_curvature) write(type.out(task.g_curvature, row), value);
    }
};

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
midpoint_gradient_kernel(HORO_CONSTANT MidpointTask task, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    PointSet<Model, T, true, lanes> set(task, type, row);
    const SetGradients<Model, T> to{task, type, row};
    const typename Model::template Mean<double> mean = set.mean(set.square());
    auto g = type.in(task.g, row * task.g_row);
    const double g0 = Model::ambient ? read(g) : 0.0;
    g += Model::ambient;
    DotSum<false> g_s;
    set.everywhere([&](int c, int64_t j) { g_s.add(read(g + j), set.hi[c]); });
    const double gs = g_s.template total<lanes>().hi, precision = 0x1p-98 * mean.loss();
    double curvature = 0;
    for (int64_t i = 0; i < task.k; ++i) {
        const auto p = set.point(i);
        const horo::Sum<double> xx = square_sum<true, lanes>(p, task.dim, set.lane);
        const double w = set.weight(i);
        const SetShare<double> share = Model::template share<double>(task.curvature, xx, w);
        const horo::Sum<double> tau = mean.tau(share);
        DotSum<false> gf, ff;
        DotSum<Model::precise> xf;
        set.everywhere([&](int c, int64_t j) {
            const double v = read(p + j);
            const horo::Sum<double> f = set.offset(v, tau, precision, c);
            gf.add(read(g + j), f.hi);
            ff.add(f.hi, f.hi);
            xf.add(v, f.hi, f.lo);
        });
        const SetSlopes<double> slope =
            mean.slopes(g0, gs, w, share,
                        {xx.hi, gf.template total<lanes>().hi, ff.template total<lanes>().hi,
                         xf.template total<lanes>().hi});
        curvature += slope.curvature;
        if (set.lane == 0) to.weight(i, slope.weight);
        if (!task.g_x) continue;
        auto out = to.point(i);
        if (Model::ambient && set.lane == 0) write(out, 0);
        out += Model::ambient;
        set.everywhere([&](int c, int64_t j) {
            const double v = read(p + j), h = read(g + j);
            const double f = set.offset(v, tau, precision, c).hi;
            write(out + j, slope.along_g * h + (slope.along_x * v + slope.along_f * f));
        });
    }
    if (set.lane == 0) to.curvature(curvature);
}

// ---- Frechet mean; every set ends its iteration by itself

template <int lanes>
HORO_DEVICE void set_barrier() {
    if constexpr (lanes == warp)
        __syncwarp();
    else
        __syncthreads();
}

// A set whose weights take factors, and the mean that they give.
template <class Model, class T, int lanes>
struct Frechet {
    using Mean = typename Model::template Mean<double>;
    PointSet<Model, T, true, lanes>& set;
    const MidpointTask& task;
    double* factor;
    Mean mean;
    double ss = 0, moved = 0, held = 0;

    HORO_DEVICE Frechet(PointSet<Model, T, true, lanes>& s, double* factors)
        : set(s), task(s.task), factor(factors), mean(1, {}, {}) {
        for (int64_t i = set.lane; i < task.k; i += lanes) put(factor + i, 1);
        set.factor = factor;
    }

    // The midpoint with the present factors.
    HORO_DEVICE void centre() {
        set_barrier<lanes>();  // the factors are there
        set.from = -1;
        const horo::Sum<double> square = set.square();
        mean = set.mean(square);
        ss = square.hi;
    }

    struct Point {
        SetShare<double> share;
        SetDots<double> dots;
        horo::Sum<double> tau;
        double given, factor, precision;
    };

    // The dot products of a point, with the cotangent u if there is one.
    HORO_DEVICE Point point(int64_t i, const double* u) {
        const auto p = set.point(i);
        Point at;
        at.given = set.given_weight(i);
        at.factor = get(factor + i);
        const horo::Sum<double> xx = square_sum<true, lanes>(p, task.dim, set.lane);
        at.share = Model::template share<double>(task.curvature, xx, at.given * at.factor);
        at.tau = mean.tau(at.share);
        at.precision = 0x1p-98 * mean.loss();
        DotSum<false> gf, ff;
        DotSum<Model::precise> xf;
        set.everywhere([&](int c, int64_t j) {
            const double v = read(p + j);
            const horo::Sum<double> f = set.offset(v, at.tau, at.precision, c);
            if (u) gf.add(get(u + j), f.hi);
            ff.add(f.hi, f.hi);
            xf.add(v, f.hi, f.lo);
        });
        at.dots = {xx.hi, gf.template total<lanes>().hi, ff.template total<lanes>().hi,
                   xf.template total<lanes>().hi};
        return at;
    }

    struct Variance {
        double value, weights;  // the sum of the weights
    };
    HORO_DEVICE Variance variance() {
        double squares = 0, weights = 0;
        for (int64_t i = 0; i < task.k; ++i) {
            const Point at = point(i, nullptr);
            squares += at.given * mean.distance(ss, at.share, at.dots).square;
            weights += at.given;
        }
        return {mean.unit() * squares / weights, weights};
    }

    // Repeats until the next midpoint would be at most `tolerance` radii away; the number of midpoints, or
    // -1.
    HORO_DEVICE int32_t solve(double tolerance, int32_t most) {
        for (int32_t n = 0;; ++n) {
            centre();
            if (n > 0 && moved <= tolerance * held) return n;
            if (n > 0 && (n >= most || moved != moved)) return -1;
            moved = held = 0;
            for (int64_t i = 0; i < task.k; ++i) {
                const Point at = point(i, nullptr);
                const SetDistance<double> d = mean.distance(ss, at.share, at.dots);
                const double change = d.factor - at.factor;
                moved += at.given * (change < 0 ? -change : change) * d.sinh;
                held += at.given * d.factor * d.cosh;
                set_barrier<lanes>();  // all threads have read the factor
                if (set.lane == 0) put(factor + i, d.factor);
            }
        }
    }
};

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
frechet_kernel(HORO_CONSTANT FrechetTask task, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    PointSet<Model, T, true, lanes> set(task.set, type, row);
    Frechet<Model, T, lanes> search(set,
                                    task.workspace + row * frechet_width(task.set.k, task.set.dim, false));
    const int32_t n = search.solve(task.tolerance, task.most);
    if (task.iterations && set.lane == 0) put(task.iterations + row, n);
    auto out = type.out(task.set.out, row * task.set.out_row);
    if (Model::ambient && set.lane == 0) write(out, search.mean.time());
    out += Model::ambient;
    const double scale = search.mean.scale();
    set.everywhere([&](int c, int64_t j) { write(out + j, scale * set.hi[c]); });
    if (!task.variance) return;
    const double variance = search.variance().value;
    if (set.lane == 0) write(type.out(task.variance, row), variance);
}

// With m = midpoint(x, w factor(dist(m, x))) the cotangent u of the midpoint is that of m plus what u itself
// gives to m through the factors; the same iteration finds it. Of u and the addend every thread touches its
// own coordinates only.
template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
frechet_gradient_kernel(HORO_CONSTANT FrechetTask task, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x), k = task.set.k, dim = task.set.dim;
    PointSet<Model, T, true, lanes> set(task.set, type, row);
    const SetGradients<Model, T> to{task.set, type, row};
    double* const factor = task.workspace + row * frechet_width(k, dim, true);
    double* const u = factor + k;
    double* const addend = u + (frechet_width(k, dim, true) - k) / 2;
    Frechet<Model, T, lanes> search(set, factor);
    const int32_t n = search.solve(task.tolerance, task.most);
    const auto& mean = search.mean;
    const auto g = type.in(task.set.g, row * task.set.g_row);
    const double g0 = Model::ambient && g ? read(g) : 0.0;
    const auto cotangent = [&](int64_t j) { return g ? read(g + Model::ambient + j) : 0.0; };
    double us = 0;
    bool settled = n < 0 || !g, failed = n < 0;
    int32_t steps = 0;
    // the first time round u is the cotangent itself
    for (bool first = true;; first = false) {
        double change = 0, size = 0;
        DotSum<false> dot;
        set.everywhere([&](int c, int64_t j) {
            const double next = first ? cotangent(j) : cotangent(j) + get(addend + j);
            if (!first) {
                const double by = next - get(u + j);
                change += by * by;
                size += next * next;
            }
            put(u + j, next);
            dot.add(next, set.hi[c]);
        });
        us = dot.template total<lanes>().hi;
        if (!first) {
            change = lanes_sum<lanes>(change);
            size = lanes_sum<lanes>(size);
            settled = change <= task.tolerance * task.tolerance * size;
            if (!settled && (++steps >= task.most || change != change)) failed = settled = true;
        }
        if (settled) break;
        for (int64_t i = 0; i < k; ++i) {
            const auto at = search.point(i, u);
            const SetSlopes<double> slope = mean.slopes(g0, us, at.given * at.factor, at.share, at.dots);
            const SetDistance<double> d = mean.distance(search.ss, at.share, at.dots);
            const double h = slope.weight * at.given * d.slope;
            const auto p = set.point(i);
            set.everywhere([&](int c, int64_t j) {
                const double f = set.offset(read(p + j), at.tau, at.precision, c).hi;
                const double before = i == 0 ? 0.0 : get(addend + j);
                put(addend + j, before + h * (d.along_f * f + d.along_s * set.hi[c]));
            });
        }
    }
    if (task.iterations && set.lane == 0) put(task.iterations + row, failed ? -1 : n + steps);
    // The variance is least at the mean, so it depends on the points as if the mean stayed where it is.
    double spread = 0, variance = 0;  // the cotangent of the variance over the sum of the weights
    if (task.g_variance) {
        const auto found = search.variance();
        variance = found.value;
        spread = read(type.in(task.g_variance, row)) / found.weights;
    }
    double curvature = 0;
    for (int64_t i = 0; i < k; ++i) {
        const auto p = set.point(i);
        const auto at = search.point(i, u);
        const SetSlopes<double> slope = mean.slopes(g0, us, at.given * at.factor, at.share, at.dots);
        const SetDistance<double> d = mean.distance(search.ss, at.share, at.dots);
        const double w = at.given;
        const double h = slope.weight * w * d.slope + spread * w * mean.unit() * d.steep;
        curvature +=
            slope.curvature + slope.weight * w * d.slope * d.by_curvature + spread * w * d.dist_by_curvature;
        if (set.lane == 0)
            to.weight(i, slope.weight * at.factor + spread * (mean.unit() * d.square - variance));
        if (!task.set.g_x) continue;
        auto out = to.point(i);
        if (Model::ambient && set.lane == 0) write(out, 0);
        out += Model::ambient;
        const double along_f = slope.along_f + h * d.by_f, along_x = slope.along_x + h * d.by_x;
        set.everywhere([&](int c, int64_t j) {
            const double v = read(p + j);
            const double f = set.offset(v, at.tau, at.precision, c).hi;
            write(out + j, slope.along_g * get(u + j) + (along_x * v + along_f * f));
        });
    }
    if (set.lane == 0) to.curvature(curvature);
}

// A warp for a set whose sum it holds, 256 threads for longer rows.
template <class Model, class T>
int32_t midpoint(const MidpointTask& task, bool vjp, int32_t dtype, void* stream) {
    const T type(dtype);
    if (task.dim <= warp * set_coordinates)
        return launch(stream, task.rows, warp,
                      vjp ? midpoint_gradient_kernel<Model, T, warp> : midpoint_kernel<Model, T, warp>, task,
                      type);
    return launch(stream, task.rows, 256,
                  vjp ? midpoint_gradient_kernel<Model, T, 256> : midpoint_kernel<Model, T, 256>, task, type);
}

template <class Model, class T>
int32_t frechet(const FrechetTask& task, bool vjp, int32_t dtype, void* stream) {
    const T type(dtype);
    if (task.set.dim <= warp * set_coordinates)
        return launch(stream, task.set.rows, warp,
                      vjp ? frechet_gradient_kernel<Model, T, warp> : frechet_kernel<Model, T, warp>, task,
                      type);
    return launch(stream, task.set.rows, 256,
                  vjp ? frechet_gradient_kernel<Model, T, 256> : frechet_kernel<Model, T, 256>, task, type);
}

#define HORO_BY_TYPE(function, Model) \
    { function<Model, Float32>, function<Model, Float64>, function<Model, Half> }
#define HORO_BY_MODEL(function)                                                                \
    {                                                                                          \
        HORO_BY_TYPE(function, poincare::Midpoint), HORO_BY_TYPE(function, lorentz::Midpoint), \
            HORO_BY_TYPE(function, klein::Midpoint),                                           \
    }

int32_t midpoint_of(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, void* stream) {
    using Function = int32_t (*)(const MidpointTask&, bool, int32_t, void*);
    static constexpr Function table[models][stored_kinds] = HORO_BY_MODEL(midpoint);
    return table[model][stored_kind(dtype)](task, vjp, dtype, stream);
}

int32_t frechet_of(int32_t model, int32_t dtype, const FrechetTask& task, bool vjp, void* stream) {
    using Function = int32_t (*)(const FrechetTask&, bool, int32_t, void*);
    static constexpr Function table[models][stored_kinds] = HORO_BY_MODEL(frechet);
    return table[model][stored_kind(dtype)](task, vjp, dtype, stream);
}

// ---- Concatenation: a row is the work of a warp; what a part adds is made again where it is needed again

constexpr int concat_threads = 128;

// The dimensions, which are the host's, travel with the launch.
struct Parts {
    int64_t offset[cuda_concat_parts + 1];  // of the parts' coordinates, times left out
    double sigma[cuda_concat_parts];        // Gamma(n/2) / Gamma((n+1)/2) of a part
};

template <class T>
struct ConcatRow {
    const ConcatTask& task;
    const Parts& all;
    int lane;
    bool live;
    typename T::In x, g;
    typename T::Out out, g_x, g_c;
    double whole;

    HORO_DEVICE ConcatRow(const ConcatTask& t, const Parts& p, T type)
        : task(t), all(p), lane(static_cast<int>(threadIdx.x) % warp) {
        int64_t row = (static_cast<int64_t>(blockIdx.x) * concat_threads + threadIdx.x) / warp;
        live = row < t.rows;
        if (!live) row = t.rows - 1;  // takes part, writes nothing
        x = type.in(t.x, row * t.x_row);
        g = type.in(t.g, row * t.g_row);
        out = type.out(live ? t.out : nullptr, row * t.out_row);
        g_x = type.out(live ? t.g_x : nullptr, row * t.g_x_row);
        g_c = type.out(live && lane == 0 ? t.g_curvature : nullptr, row);
        whole = beta_half(t.dim);
    }
    HORO_DEVICE int64_t at(int64_t i) const { return all.offset[i]; }
    HORO_DEVICE int64_t dim(int64_t i) const { return all.offset[i + 1] - all.offset[i]; }
    template <bool exact>
    HORO_DEVICE horo::Sum<double> square(typename T::In p, int64_t n) const {
        return square_sum<exact, warp>(p, n, lane);
    }
    HORO_DEVICE double dot(typename T::In p, typename T::In q, int64_t n) const {
        double sum = 0;
        for (int64_t j = lane; j < n; j += warp) sum += read(p + j) * read(q + j);
        return warp_sum(sum);
    }
    HORO_DEVICE void scale(typename T::In p, double k, int64_t n, typename T::Out to) const {
        if (!to) return;
        for (int64_t j = lane; j < n; j += warp) write(to + j, k * read(p + j));
    }
    // to = a p + b q
    HORO_DEVICE void combine(double a, typename T::In p, double b, typename T::In q, int64_t n,
                             typename T::Out to) const {
        for (int64_t j = lane; j < n; j += warp) write(to + j, a * read(p + j) + b * read(q + j));
    }
    HORO_DEVICE void number(typename T::Out to, double value) const {
        if (to && lane == 0) write(to, value);
    }
    // The gradient of an operation on one part, which changes nothing.
    HORO_DEVICE void identity() const {
        if (g_x) scale(g, 1, task.dim, g_x);
        if (g_c) write(g_c, 0);
    }
};

template <class T>
HORO_KERNEL(concat_threads)
concat_ball_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    const double c = task.curvature;
    if (task.parts == 1) return r.scale(r.x, 1, task.dim, r.out);
    struct Part {
        double k, xx;
    };
    const auto part = [&](int64_t i) {
        const horo::Sum<double> xx = r.template square<T::wide>(r.x + r.at(i), r.dim(i));
        return Part{r.whole / all.sigma[i] * artanh_parts(c * xx.hi, gap<double>(c, xx)).ratio, xx.hi};
    };
    double w = 0;
    for (int64_t i = 0; i < task.parts; ++i) {
        const Part p = part(i);
        w += c * (p.k * p.k * p.xx);
    }
    const double t = tanh_parts(w).ratio;
    for (int64_t i = 0; i < task.parts; ++i)
        r.scale(r.x + r.at(i), t * part(i).k, r.dim(i), after(r.out, r.at(i)));
}

template <class T>
HORO_KERNEL(concat_threads)
concat_ball_gradient_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    const double c = task.curvature;
    if (task.parts == 1) return r.identity();
    struct Part {
        double xx, gx, k, slope;  // |x_i|^2, <g_i, x_i>; of logmap0, times the quotient of beta functions
    };
    const auto part = [&](int64_t i) {
        const horo::Sum<double> xx = r.template square<true>(r.x + r.at(i), r.dim(i));
        const ArtanhParts h = artanh_parts(c * xx.hi, gap<double>(c, xx));
        const double sigma = r.whole / all.sigma[i];
        return Part{xx.hi, r.dot(r.g + r.at(i), r.x + r.at(i), r.dim(i)), sigma * h.ratio, sigma * h.slope};
    };
    // In pairs of doubles, so that what the other parts give is exact even beside a much larger part.
    horo::Sum<double> w{}, gv{};
    for (int64_t i = 0; i < task.parts; ++i) {
        const Part p = part(i);
        w = w + exactly(rounded_product(c, p.k * p.k * p.xx));
        gv = gv + exactly(rounded_product(p.k, p.gx));
    }
    const TanhParts<double> t = tanh_parts(w.hi);
    double curvature = 0;
    for (int64_t i = 0; i < task.parts; ++i) {
        const Part p = part(i);
        const double others = (w - exactly(rounded_product(c, p.k * p.k * p.xx))).hi;
        const double gv_others = (gv - exactly(rounded_product(p.k, p.gx))).hi;
        // <x_i, gradient by v_i>
        const double inner =
            p.gx * (t.sech2 + t.difference * others) - c * t.difference * p.k * p.xx * gv_others;
        curvature += 0.5 * p.slope * p.xx * inner;
        if (r.g_x)
            r.combine(t.ratio * p.k, r.g + r.at(i), c * (p.slope * inner - t.difference * gv.hi * p.k * p.k),
                      r.x + r.at(i), r.dim(i), r.g_x + r.at(i));
    }
    if (r.g_c) write(r.g_c, curvature - 0.5 * t.difference * (w.hi / c) * gv.hi);
}

template <class T>
HORO_KERNEL(concat_threads)
split_ball_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    const double c = task.curvature;
    if (task.parts == 1) return r.scale(r.x, 1, task.dim, r.out);
    const horo::Sum<double> xx = r.template square<T::wide>(r.x, task.dim);
    const double k = artanh_parts(c * xx.hi, gap<double>(c, xx)).ratio;
    for (int64_t i = 0; i < task.parts; ++i) {
        const double s = k * (all.sigma[i] / r.whole);
        const double part = r.template square<false>(r.x + r.at(i), r.dim(i)).hi;
        r.scale(r.x + r.at(i), tanh_parts(c * (s * s * part)).ratio * s, r.dim(i), after(r.out, r.at(i)));
    }
}

template <class T>
HORO_KERNEL(concat_threads)
split_ball_gradient_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    const double c = task.curvature;
    if (task.parts == 1) return r.identity();
    const horo::Sum<double> xx = r.template square<true>(r.x, task.dim);
    const ArtanhParts h = artanh_parts(c * xx.hi, gap<double>(c, xx));
    struct Part {
        double ratio, bend, sech2;  // out_i = ratio x_i; c bend <g_i, x_i> x_i is what the length gives
        double gx, xx;              // <g_i, x_i>, |x_i|^2
    };
    const auto part = [&](int64_t i) {
        const double sigma = all.sigma[i] / r.whole, s = h.ratio * sigma;
        const double square = r.template square<false>(r.x + r.at(i), r.dim(i)).hi;
        const TanhParts<double> t = tanh_parts(c * (s * s * square));
        return Part{t.ratio * s, t.difference * s * s * s, sigma * t.sech2,
                    r.dot(r.g + r.at(i), r.x + r.at(i), r.dim(i)), square};
    };
    double inner = 0, curvature = 0;  // inner: <x, gradient by logmap0(x)>
    for (int64_t i = 0; i < task.parts; ++i) {
        const Part p = part(i);
        inner += p.sech2 * p.gx;
        curvature += p.bend * p.xx * p.gx;
    }
    if (r.g_c) write(r.g_c, 0.5 * (xx.hi * h.slope * inner - curvature));
    for (int64_t i = 0; i < task.parts; ++i) {
        const Part p = part(i);
        if (r.g_x)
            r.combine(p.ratio, r.g + r.at(i), c * (h.slope * inner - p.bend * p.gx), r.x + r.at(i), r.dim(i),
                      r.g_x + r.at(i));
    }
}

// The hyperboloid: space parts side by side, times made new. Part i begins, with its time, at at(i) + i.
template <class T>
HORO_KERNEL(concat_threads)
concat_lorentz_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    double square = task.curvature;
    for (int64_t i = 0; i < task.parts; ++i) {
        const auto p = r.x + r.at(i) + i + 1;
        square += r.template square<false>(p, r.dim(i)).hi;
        r.scale(p, 1, r.dim(i), after(r.out, 1 + r.at(i)));
    }
    r.number(r.out, square_root<double>(square));
}

template <class T>
HORO_KERNEL(concat_threads)
concat_lorentz_gradient_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    double square = task.curvature;
    for (int64_t i = 0; i < task.parts; ++i)
        square += r.template square<false>(r.x + r.at(i) + i + 1, r.dim(i)).hi;
    const double along = read(r.g) / square_root<double>(square);
    if (r.g_c) write(r.g_c, 0.5 * along);
    for (int64_t i = 0; i < task.parts && r.g_x; ++i) {
        const auto to = r.g_x + r.at(i) + i;
        r.number(to, 0);
        r.combine(1.0, r.g + 1 + r.at(i), along, r.x + r.at(i) + i + 1, r.dim(i), to + 1);
    }
}

template <class T>
HORO_KERNEL(concat_threads)
split_lorentz_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    for (int64_t i = 0; i < task.parts; ++i) {
        const auto p = r.x + 1 + r.at(i);
        const double square = r.template square<false>(p, r.dim(i)).hi;
        const auto to = after(r.out, r.at(i) + i);
        r.number(to, square_root<double>(task.curvature + square));
        r.scale(p, 1, r.dim(i), after(to, 1));
    }
}

template <class T>
HORO_KERNEL(concat_threads)
split_lorentz_gradient_kernel(HORO_CONSTANT ConcatTask task, HORO_CONSTANT Parts all, T type) {
    const ConcatRow<T> r(task, all, type);
    r.number(r.g_x, 0);
    double curvature = 0;
    for (int64_t i = 0; i < task.parts; ++i) {
        const auto p = r.x + 1 + r.at(i), g = r.g + r.at(i) + i;
        const double square = r.template square<false>(p, r.dim(i)).hi;
        const double along = read(g) / square_root<double>(task.curvature + square);
        curvature += along;
        if (r.g_x) r.combine(1.0, g + 1, along, p, r.dim(i), r.g_x + 1 + r.at(i));
    }
    if (r.g_c) write(r.g_c, 0.5 * curvature);
}

template <class T>
int32_t concat(bool ambient, const ConcatTask& task, bool split, bool vjp, int32_t dtype, void* stream) {
    Parts all{};
    for (int64_t i = 0; i < task.parts; ++i) {
        all.offset[i + 1] = all.offset[i] + task.dims[i];
        all.sigma[i] = beta_half(task.dims[i]);
    }
    using Kernel = void (*)(ConcatTask, Parts, T);
    const Kernel ball = split ? vjp ? split_ball_gradient_kernel<T> : split_ball_kernel<T>
                        : vjp ? concat_ball_gradient_kernel<T>
                              : concat_ball_kernel<T>;
    const Kernel lorentz = split ? vjp ? split_lorentz_gradient_kernel<T> : split_lorentz_kernel<T>
                           : vjp ? concat_lorentz_gradient_kernel<T>
                                 : concat_lorentz_kernel<T>;
    return launch(stream, parts(task.rows, concat_threads / warp), concat_threads, ambient ? lorentz : ball,
                  task, all, T(dtype));
}

int32_t concat_of(int32_t model, int32_t dtype, const ConcatTask& task, bool split, bool vjp, void* stream) {
    using Function = int32_t (*)(bool, const ConcatTask&, bool, bool, int32_t, void*);
    static constexpr Function table[stored_kinds] = {concat<Float32>, concat<Float64>, concat<Half>};
    return table[stored_kind(dtype)](model == model_lorentz, task, split, vjp, dtype, stream);
}

}  // namespace

const CudaSets& sets() {
    static const CudaSets table = {midpoint_of, frechet_of, concat_of};
    return table;
}

}  // namespace horo::cuda
