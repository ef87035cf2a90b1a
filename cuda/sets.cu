// Midpoints and Frechet means of sets of points with their gradients, see geometry/midpoint.h, and
// concatenation, see geometry/concat.h. A set, or a part of one (cpu/sets.h), is the work of a block, a warp
// of threads or 256, each of which has some coordinates of the sum of the points in registers; far out in
// pairs of doubles, as on the CPU. Where sets are cut, every phase is a launch of its own.
#include "abi/cuda_kernels.h"
#include "dot_sum.cuh"
#include "geometry/concat.h"
#include "geometry/midpoint.h"
#include "kernels.h"

namespace horo::cuda {
namespace {

constexpr int set_coordinates = 8;  // of a slice, per thread

// Which set a block works on, and of which part if sets are cut, else -1.
struct Share {
    int64_t row, part;

    HORO_DEVICE explicit Share(const MidpointTask& task)
        : row(static_cast<int64_t>(blockIdx.x) / task.parts()),
          part(task.parts() > 1 ? static_cast<int64_t>(blockIdx.x) % task.parts() : -1) {}
    HORO_DEVICE explicit Share(int64_t row_) : row(row_), part(-1) {}
    // of the part, and of the whole set
    HORO_DEVICE double* numbers(const MidpointTask& task) const { return task.numbers(row, part); }
    HORO_DEVICE double* of_set(const MidpointTask& task) const { return task.numbers(row, -1); }
};

// One row's set, or a part of it, and, for a slice of its coordinates, the sum of its points; exact: in pairs
// of doubles. All threads of the block call together and get the same numbers.
template <class Model, class T, bool exact, int lanes>
struct PointSet {
    static constexpr int64_t slice = int64_t{lanes} * set_coordinates;
    const MidpointTask& task;
    static constexpr bool ambient = Model::ambient;
    typename T::In x, w;
    double* factor;  // of the weights, or null
    int64_t row, begin, end;
    bool known = false;  // the sum is that of the whole set, made before
    horo::Sum<double> time{};
    int64_t from = -1;
    int lane;
    double hi[set_coordinates], lo[set_coordinates];

    HORO_DEVICE PointSet(const MidpointTask& t, T type, Share share)
        : task(t),
          x(type.in(t.x, share.row * t.x_row + Model::ambient)),
          w(type.in(t.w, share.row * t.w_row)),
          factor(t.factors ? t.factors + share.row * t.factor_row : nullptr),
          row(share.row),
          begin(share.part < 0 ? 0 : t.first_point(share.part)),
          end(share.part < 0 ? t.k : t.first_point(share.part + 1)),
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
        if (known) {
            const double* total = task.slot(row, -1);
            const double* numbers = task.numbers(row, -1);
            each(first, [&](int c, int64_t j) {
                hi[c] = get(total + j);
                lo[c] = get(total + slot_padded(task.dim) + j);
            });
            time = {get(numbers + slot_time), get(numbers + slot_time_low)};
            return;
        }
        time = {};
        for (int64_t i = begin; i < end; ++i) {
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
        for (int64_t i = begin; i < end; ++i) {
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

    // A number of all parts together.
    HORO_DEVICE double of_parts(int number) const {
        double sum = 0;
        for (int64_t part = lane; part < task.parts(); part += lanes)
            sum += get(task.numbers(row, part) + number);
        return lanes_sum<lanes>(sum);
    }

    using Mean = typename Model::template Mean<double>;
    HORO_DEVICE double sign() const { return time.hi < 0 ? -1 : 1; }
    // whether the root has lost what `deficit` brings back
    HORO_DEVICE bool lost(const Mean& m) const { return !(sign() * m.n > cancelled * sign() * time.hi); }

    // What the sum becomes; ss is |s|^2.
    HORO_DEVICE Mean mean(horo::Sum<double> ss) {
        Mean m(task.curvature, time, ss);
        if constexpr (exact) {
            if (lost(m)) {
                const horo::Sum<double> size = square_root(ss);
                const double lack = known ? of_parts(slot_deficit) : deficit(exactly(sign()) / size);
                const double n2 = (sign() * time.hi + square_root<double>(m.c) * size.hi) * sign() * lack;
                m.take(time, exactly(sign() * square_root<double>(n2)));
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

template <class Set, class T>
HORO_DEVICE void write_mean(Set& set, const typename Set::Mean& mean, T type) {
    auto out = type.out(set.task.out, set.row * set.task.out_row);
    if (Set::ambient && set.lane == 0) write(out, mean.time());
    out += Set::ambient;
    const double scale = mean.scale();
    set.everywhere([&](int c, int64_t j) { write(out + j, scale * set.hi[c]); });
}

// products of float32 numbers are exact in double
template <class Model, class T>
constexpr bool needs_pairs = T::wide || Model::precise;

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
midpoint_kernel(HORO_CONSTANT MidpointTask task, T type) {
    PointSet<Model, T, needs_pairs<Model, T>, lanes> set(task, type, Share(static_cast<int64_t>(blockIdx.x)));
    set.known = task.parts() > 1;
    write_mean(set, set.mean(set.square()), type);
}

// ---- Sets that are cut: their sums

// A Frechet mean ends its iteration by itself; what is enqueued for it beyond that does nothing.
HORO_DEVICE bool ended(const MidpointTask& task, int64_t row) {
    return task.factors && get(task.numbers(row, -1) + slot_state) != 0;
}

template <class Model, class T, bool exact, int lanes>
HORO_KERNEL(lanes)
part_sum_kernel(HORO_CONSTANT MidpointTask task, T type) {
    const Share share(task);
    if (ended(task, share.row)) return;
    PointSet<Model, T, exact, lanes> set(task, type, share);
    double* const to = task.slot(share.row, share.part);
    set.everywhere([&](int c, int64_t j) {
        put(to + j, set.hi[c]);
        put(to + slot_padded(task.dim) + j, set.lo[c]);
    });
    if (set.lane != 0) return;
    put(share.numbers(task) + slot_time, set.time.hi);
    put(share.numbers(task) + slot_time_low, set.time.lo);
}

// 32 coordinates of the sum of all parts, the time behind the others. Each warp takes every 8th part.
constexpr int total_threads = 256;
HORO_KERNEL(total_threads)
total_kernel(HORO_CONSTANT MidpointTask task) {
    constexpr int warps = total_threads / warp;
    __shared__ horo::Sum<double> shared[warps][warp];
    const int64_t groups = parts(task.dim + 1, warp), row = static_cast<int64_t>(blockIdx.x) / groups;
    if (ended(task, row)) return;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % warp, mine = thread / warp;
    const int64_t j = static_cast<int64_t>(blockIdx.x) % groups * warp + lane;
    const bool time = j == task.dim;
    const int64_t at = time ? 2 * slot_padded(task.dim) + slot_time : j,
                  low = time ? 1 : slot_padded(task.dim);
    horo::Sum<double> sum{};
    for (int64_t part = mine; part < task.parts() && j <= task.dim; part += warps) {
        const double* from = task.slot(row, part) + at;
        sum = sum + horo::Sum<double>{get(from), get(from + low)};
    }
    shared[mine][lane] = sum;
    __syncthreads();
    if (mine != 0 || j > task.dim) return;
    for (int w = 1; w < warps; ++w) sum = sum + shared[w][lane];
    double* const to = task.slot(row, -1) + at;
    put(to, sum.hi);
    put(to + low, sum.lo);
}

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
part_deficit_kernel(HORO_CONSTANT MidpointTask task, T type) {
    const Share share(task);
    if (ended(task, share.row)) return;
    PointSet<Model, T, true, lanes> set(task, type, share);
    set.known = true;
    const horo::Sum<double> ss = set.square();
    const typename Model::template Mean<double> mean(task.curvature, set.time, ss);
    const double lack = set.lost(mean) ? set.deficit(exactly(set.sign()) / square_root(ss)) : 0.0;
    if (set.lane == 0) put(share.numbers(task) + slot_deficit, lack);
}

// The gradients of the curvature, of whose parts the sets' are the sums.
template <class T>
HORO_KERNEL(warp)
curvature_kernel(HORO_CONSTANT MidpointTask task, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    const int lane = static_cast<int>(threadIdx.x);
    double sum = 0;
    for (int64_t part = lane; part < task.parts(); part += warp)
        sum += get(task.numbers(row, part) + slot_curvature);
    sum = warp_sum(sum);
    if (lane == 0) write(type.out(task.g_curvature, row), sum);
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
    HORO_DEVICE void curvature(double value, Share share) const {
        if (task.parts() > 1)
            put(share.numbers(task) + slot_curvature, value);
        else if (task.g_curvature)
            write(type.out(task.g_curvature, row), value);
    }
};

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
midpoint_gradient_kernel(HORO_CONSTANT MidpointTask task, T type) {
    const Share part(task);
    const int64_t row = part.row;
    PointSet<Model, T, true, lanes> set(task, type, part);
    set.known = task.parts() > 1;
    const SetGradients<Model, T> to{task, type, row};
    const typename Model::template Mean<double> mean = set.mean(set.square());
    auto g = type.in(task.g, row * task.g_row);
    const double g0 = Model::ambient ? read(g) : 0.0;
    g += Model::ambient;
    DotSum<false> g_s;
    set.everywhere([&](int c, int64_t j) { g_s.add(read(g + j), set.hi[c]); });
    const double gs = g_s.template total<lanes>().hi, precision = 0x1p-98 * mean.loss();
    double curvature = 0;
    for (int64_t i = set.begin; i < set.end; ++i) {
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
    if (set.lane == 0) to.curvature(curvature, part);
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
    Mean mean;
    double ss = 0;

    HORO_DEVICE explicit Frechet(PointSet<Model, T, true, lanes>& s)
        : set(s), task(s.task), mean(1, {}, {}) {}

    HORO_DEVICE void start() {
        for (int64_t i = set.begin + set.lane; i < set.end; i += lanes) put(set.factor + i, 1);
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
        at.factor = get(set.factor + i);
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

    // Two sums over the points.
    struct Sums {
        double of_points, of_weights;
    };
    HORO_DEVICE Sums squares() {
        Sums sums{};
        for (int64_t i = set.begin; i < set.end; ++i) {
            const Point at = point(i, nullptr);
            sums.of_points += at.given * mean.distance(ss, at.share, at.dots).square;
            sums.of_weights += at.given;
        }
        return sums;
    }

    // New factors; how far the midpoint may move by them, and the measure of that.
    HORO_DEVICE Sums step() {
        Sums sums{};
        for (int64_t i = set.begin; i < set.end; ++i) {
            const Point at = point(i, nullptr);
            const SetDistance<double> d = mean.distance(ss, at.share, at.dots);
            const double change = d.factor - at.factor;
            sums.of_points += at.given * (change < 0 ? -change : change) * d.sinh;
            sums.of_weights += at.given * d.factor * d.cosh;
            set_barrier<lanes>();  // all threads have read the factor
            if (set.lane == 0) put(set.factor + i, d.factor);
        }
        return sums;
    }

    // Repeats until the next midpoint would be at most `tolerance` radii away; the number of midpoints, or
    // -1.
    HORO_DEVICE int32_t solve(const FrechetTask& whole) {
        start();
        Sums last{};
        for (int32_t n = 0;; ++n) {
            centre();
            const int32_t state = n > 0 ? whole.judged(last.of_points, last.of_weights, n) : 0;
            if (state != 0) return state;
            last = step();
        }
    }

    // The cotangent of the midpoint, in the workspace behind the factors, and the addend to it. Of both every
    // thread touches its own coordinates only.
    HORO_DEVICE double* cotangent() const { return set.factor + task.k; }
    HORO_DEVICE double* addend() const { return cotangent() + (task.factor_row - task.k) / 2; }

    // The cotangent of the mean that is given, its time, if any, apart.
    struct Given {
        typename T::In g;
        HORO_DEVICE Given(const MidpointTask& task, T type, int64_t row)
            : g(type.in(task.g, row * task.g_row)) {}
        HORO_DEVICE double time() const { return Model::ambient && g ? read(g) : 0.0; }
        HORO_DEVICE double at(int64_t j) const { return g ? read(g + Model::ambient + j) : 0.0; }
    };

    // What the cotangent gives to the mean through the points' factors.
    HORO_DEVICE void add_addends(double g0, double us, double* to) {
        const double* u = cotangent();
        for (int64_t i = set.begin; i < set.end; ++i) {
            const auto at = point(i, u);
            const SetSlopes<double> slope = mean.slopes(g0, us, at.given * at.factor, at.share, at.dots);
            const SetDistance<double> d = mean.distance(ss, at.share, at.dots);
            const double h = slope.weight * at.given * d.slope;
            const auto p = set.point(i);
            set.everywhere([&](int c, int64_t j) {
                const double f = set.offset(read(p + j), at.tau, at.precision, c).hi;
                const double before = i == set.begin ? 0.0 : get(to + j);
                put(to + j, before + h * (d.along_f * f + d.along_s * set.hi[c]));
            });
        }
    }

    // The given cotangent, with the addend if there is one; <u, s>, and how it has changed.
    struct Taken {
        double us, change, size;
        HORO_DEVICE bool settled(double tolerance) const { return change <= tolerance * tolerance * size; }
    };
    template <class Addend>
    HORO_DEVICE Taken take_cotangent(const Given& given, bool first, Addend&& more) {
        double* const u = cotangent();
        double change = 0, size = 0;
        DotSum<false> dot;
        set.everywhere([&](int c, int64_t j) {
            const double next = first ? given.at(j) : given.at(j) + more(j);
            if (!first) {
                const double by = next - get(u + j);
                change += by * by;
                size += next * next;
            }
            put(u + j, next);
            dot.add(next, set.hi[c]);
        });
        const double us = dot.template total<lanes>().hi;
        if (first) return {us, 0, 0};
        return {us, lanes_sum<lanes>(change), lanes_sum<lanes>(size)};
    }

    // The gradients of the points; that of the curvature is returned.
    HORO_DEVICE double gradients(const SetGradients<Model, T>& to, double g0, double us, double variance,
                                 double spread) {
        const double* u = cotangent();
        double curvature = 0;
        for (int64_t i = set.begin; i < set.end; ++i) {
            const auto p = set.point(i);
            const auto at = point(i, u);
            const SetSlopes<double> slope = mean.slopes(g0, us, at.given * at.factor, at.share, at.dots);
            const SetDistance<double> d = mean.distance(ss, at.share, at.dots);
            const double w = at.given;
            const double h = slope.weight * w * d.slope + spread * w * mean.unit() * d.steep;
            curvature += slope.curvature + slope.weight * w * d.slope * d.by_curvature +
                         spread * w * d.dist_by_curvature;
            if (set.lane == 0)
                to.weight(i, slope.weight * at.factor + spread * (mean.unit() * d.square - variance));
            if (!task.g_x) continue;
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
        return curvature;
    }
};

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
frechet_kernel(HORO_CONSTANT FrechetTask task, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    PointSet<Model, T, true, lanes> set(task.set, type, Share(row));
    Frechet<Model, T, lanes> search(set);
    const int32_t n = search.solve(task);
    if (task.iterations && set.lane == 0) put(task.iterations + row, n);
    write_mean(set, search.mean, type);
    if (!task.variance) return;
    const auto sums = search.squares();
    if (set.lane == 0)
        write(type.out(task.variance, row), search.mean.unit() * sums.of_points / sums.of_weights);
}

// With m = midpoint(x, w factor(dist(m, x))) the cotangent u of the midpoint is that of m plus what u itself
// gives to m through the factors; the same iteration finds it.
template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
frechet_gradient_kernel(HORO_CONSTANT FrechetTask task, T type) {
    using Search = Frechet<Model, T, lanes>;
    const Share part(static_cast<int64_t>(blockIdx.x));
    PointSet<Model, T, true, lanes> set(task.set, type, part);
    const SetGradients<Model, T> to{task.set, type, part.row};
    Search search(set);
    const int32_t n = search.solve(task);
    const typename Search::Given given(task.set, type, part.row);
    const double g0 = given.time();
    double* const addend = search.addend();
    double us = 0;
    bool failed = n < 0;
    int32_t steps = 0;
    for (bool first = true;; first = false) {
        const auto now = search.take_cotangent(given, first, [&](int64_t j) { return get(addend + j); });
        us = now.us;
        if (first && (failed || !given.g)) break;
        if (!first) {
            if (now.settled(task.tolerance)) break;
            failed = ++steps >= task.most || now.change != now.change;
            if (failed) break;
        }
        search.add_addends(g0, us, addend);
    }
    if (task.iterations && set.lane == 0) put(task.iterations + part.row, failed ? -1 : n + steps);
    // The variance is least at the mean, so it depends on the points as if the mean stayed where it is.
    double spread = 0, variance = 0;  // the cotangent of the variance over the sum of the weights
    if (task.g_variance) {
        const auto sums = search.squares();
        variance = search.mean.unit() * sums.of_points / sums.of_weights;
        spread = read(type.in(task.g_variance, part.row)) / sums.of_weights;
    }
    const double curvature = search.gradients(to, g0, us, variance, spread);
    if (set.lane == 0) to.curvature(curvature, part);
}

// ---- Sets that are cut: Frechet means

constexpr int start_threads = 256;
HORO_KERNEL(start_threads)
frechet_start_kernel(HORO_CONSTANT MidpointTask task) {
    const Share share(task);
    const int lane = static_cast<int>(threadIdx.x);
    double* const factor = task.factors + share.row * task.factor_row;
    for (int64_t i = task.first_point(share.part) + lane; i < task.first_point(share.part + 1);
         i += start_threads)
        put(factor + i, 1);
    if (share.part == 0 && lane < slot_numbers) put(share.of_set(task) + lane, 0);
}

template <class Sums>
HORO_DEVICE void keep(const MidpointTask& task, Share share, Sums sums) {
    put(share.numbers(task) + slot_moved, sums.of_points);
    put(share.numbers(task) + slot_held, sums.of_weights);
}

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
part_step_kernel(HORO_CONSTANT FrechetTask task, T type) {
    const Share share(task.set);
    if (ended(task.set, share.row)) return;
    PointSet<Model, T, true, lanes> set(task.set, type, share);
    set.known = true;
    Frechet<Model, T, lanes> search(set);
    search.centre();
    const auto sums = search.step();
    if (set.lane == 0) keep(task.set, share, sums);
}

// A number of all parts together, by a warp.
HORO_DEVICE double parts_sum(const MidpointTask& task, int64_t row, int number) {
    double sum = 0;
    for (int64_t part = threadIdx.x; part < task.parts(); part += warp)
        sum += get(task.numbers(row, part) + number);
    return warp_sum(sum);
}

HORO_KERNEL(warp)
judge_kernel(HORO_CONSTANT FrechetTask task) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    if (ended(task.set, row)) return;
    const double moved = parts_sum(task.set, row, slot_moved), held = parts_sum(task.set, row, slot_held);
    __syncwarp();  // all have read the state
    if (threadIdx.x != 0) return;
    double* const numbers = task.set.numbers(row, -1);
    const double steps = get(numbers + slot_steps) + 1;
    put(numbers + slot_steps, steps);
    put(numbers + slot_state, task.judged(moved, held, static_cast<int32_t>(steps)));
}

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
frechet_out_kernel(HORO_CONSTANT FrechetTask task, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    PointSet<Model, T, true, lanes> set(task.set, type, Share(row));
    set.known = true;
    Frechet<Model, T, lanes> search(set);
    search.centre();
    if (task.iterations && set.lane == 0)
        put(task.iterations + row, static_cast<int32_t>(get(task.set.numbers(row, -1) + slot_state)));
    write_mean(set, search.mean, type);
}

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
part_squares_kernel(HORO_CONSTANT FrechetTask task, T type) {
    const Share share(task.set);
    PointSet<Model, T, true, lanes> set(task.set, type, share);
    set.known = true;
    Frechet<Model, T, lanes> search(set);
    search.centre();
    const auto sums = search.squares();
    if (set.lane == 0) keep(task.set, share, sums);
}

template <class T>
HORO_KERNEL(warp)
variance_kernel(HORO_CONSTANT FrechetTask task, double unit, T type) {
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    const double squares = parts_sum(task.set, row, slot_moved),
                 weights = parts_sum(task.set, row, slot_held);
    if (threadIdx.x != 0) return;
    const double variance = unit * squares / weights;
    if (task.variance) write(type.out(task.variance, row), variance);
    if (!task.g_variance) return;
    put(task.set.numbers(row, -1) + slot_variance, variance);
    put(task.set.numbers(row, -1) + slot_spread, read(type.in(task.g_variance, row)) / weights);
}

// The cotangent at first, and with the parts' addends.
template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
cotangent_kernel(HORO_CONSTANT FrechetTask task, bool first, T type) {
    using Search = Frechet<Model, T, lanes>;
    const int64_t row = static_cast<int64_t>(blockIdx.x);
    double* const numbers = task.set.numbers(row, -1);
    if (!first && get(numbers + slot_settled) != 0) return;
    PointSet<Model, T, true, lanes> set(task.set, type, Share(row));
    set.known = true;
    Search search(set);
    const typename Search::Given given(task.set, type, row);
    const auto now = search.take_cotangent(given, first, [&](int64_t j) {
        double sum = 0;
        for (int64_t part = 0; part < task.set.parts(); ++part) sum += get(task.set.slot(row, part) + j);
        return sum;
    });
    set_barrier<lanes>();  // all threads have read the numbers
    if (set.lane != 0) return;
    put(numbers + slot_along, now.us);
    const double state = get(numbers + slot_state), steps = first ? 0.0 : get(numbers + slot_steps);
    const bool settled = first ? state < 0 || !given.g : now.settled(task.tolerance);
    const bool failed = !first && !settled && (steps + 1 >= task.most || now.change != now.change);
    put(numbers + slot_steps, steps + (!first && !settled));
    put(numbers + slot_settled, settled || failed);
    if (failed) put(numbers + slot_state, -1);
}

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
part_addend_kernel(HORO_CONSTANT FrechetTask task, T type) {
    using Search = Frechet<Model, T, lanes>;
    const Share share(task.set);
    double* const numbers = share.of_set(task.set);
    if (get(numbers + slot_settled) != 0) return;
    PointSet<Model, T, true, lanes> set(task.set, type, share);
    set.known = true;
    Search search(set);
    search.centre();
    search.add_addends(typename Search::Given(task.set, type, share.row).time(), get(numbers + slot_along),
                       task.set.slot(share.row, share.part));
}

template <class Model, class T, int lanes>
HORO_KERNEL(lanes)
part_gradient_kernel(HORO_CONSTANT FrechetTask task, T type) {
    using Search = Frechet<Model, T, lanes>;
    const Share share(task.set);
    const double* const numbers = share.of_set(task.set);
    PointSet<Model, T, true, lanes> set(task.set, type, share);
    set.known = true;
    Search search(set);
    search.centre();
    const SetGradients<Model, T> to{task.set, type, share.row};
    const double curvature =
        search.gradients(to, typename Search::Given(task.set, type, share.row).time(),
                         get(numbers + slot_along), get(numbers + slot_variance), get(numbers + slot_spread));
    if (set.lane != 0) return;
    to.curvature(curvature, share);
    if (share.part != 0 || !task.iterations) return;
    const double n = get(numbers + slot_state);
    put(task.iterations + share.row, static_cast<int32_t>(n < 0 ? n : n + get(numbers + slot_steps)));
}

// ---- Launches. A warp for a set whose sum it holds, 256 threads for longer rows.

// Enqueues one kernel after another, until one fails.
struct Launches {
    void* stream;
    int32_t status = 0;

    template <class... P, class... A>
    void operator()(int64_t blocks, int threads, void (*kernel)(P...), const A&... args) {
        if (status == 0) status = launch(stream, blocks, threads, kernel, args...);
    }
};

template <class Model, class T, bool exact, int lanes>
void sum_parts(Launches& enqueue, const MidpointTask& task, T type) {
    const int64_t blocks = task.rows * task.parts();
    enqueue(blocks, lanes, part_sum_kernel<Model, T, exact, lanes>, task, type);
    enqueue(task.rows * parts(task.dim + 1, warp), total_threads, total_kernel, task);
    if constexpr (exact) enqueue(blocks, lanes, part_deficit_kernel<Model, T, lanes>, task, type);
}

template <class Model, class T, int lanes>
int32_t midpoint_by(const MidpointTask& task, bool vjp, T type, void* stream) {
    Launches enqueue{stream};
    const int64_t parts = task.parts();
    if (!vjp) {
        if (parts > 1) sum_parts<Model, T, needs_pairs<Model, T>, lanes>(enqueue, task, type);
        enqueue(task.rows, lanes, midpoint_kernel<Model, T, lanes>, task, type);
        return enqueue.status;
    }
    if (parts > 1) sum_parts<Model, T, true, lanes>(enqueue, task, type);
    enqueue(task.rows * parts, lanes, midpoint_gradient_kernel<Model, T, lanes>, task, type);
    if (parts > 1 && task.g_curvature) enqueue(task.rows, warp, curvature_kernel<T>, task, type);
    return enqueue.status;
}

template <class Model, class T>
int32_t midpoint(const MidpointTask& task, bool vjp, int32_t dtype, void* stream) {
    const T type(dtype);
    return task.dim <= warp * set_coordinates ? midpoint_by<Model, T, warp>(task, vjp, type, stream)
                                              : midpoint_by<Model, T, 256>(task, vjp, type, stream);
}

// The host does not wait for the end of an iteration, so all that it may come to is enqueued; from here on
// that is too much, and each set is one block's.
constexpr int32_t most_enqueued = 256;

template <class Model, class T, int lanes>
int32_t frechet_by(FrechetTask task, bool vjp, T type, void* stream) {
    Launches enqueue{stream};
    MidpointTask& set = task.set;
    if (task.most > most_enqueued) set.slots = nullptr;
    const int64_t rows = set.rows, blocks = rows * set.parts();
    if (set.parts() == 1) {
        enqueue(rows, lanes, vjp ? frechet_gradient_kernel<Model, T, lanes> : frechet_kernel<Model, T, lanes>,
                task, type);
        return enqueue.status;
    }
    enqueue(blocks, start_threads, frechet_start_kernel, set);
    sum_parts<Model, T, true, lanes>(enqueue, set, type);
    for (int32_t n = 0; n < task.most; ++n) {
        enqueue(blocks, lanes, part_step_kernel<Model, T, lanes>, task, type);
        sum_parts<Model, T, true, lanes>(enqueue, set, type);
        enqueue(rows, warp, judge_kernel, task);
    }
    if (!vjp) enqueue(rows, lanes, frechet_out_kernel<Model, T, lanes>, task, type);
    if (vjp) {
        enqueue(rows, lanes, cotangent_kernel<Model, T, lanes>, task, true, type);
        for (int32_t n = 0; n < task.most && set.g; ++n) {
            enqueue(blocks, lanes, part_addend_kernel<Model, T, lanes>, task, type);
            enqueue(rows, lanes, cotangent_kernel<Model, T, lanes>, task, false, type);
        }
    }
    if (task.variance || task.g_variance) {
        enqueue(blocks, lanes, part_squares_kernel<Model, T, lanes>, task, type);
        const double unit = typename Model::template Mean<double>(set.curvature, {}, {}).unit();
        enqueue(rows, warp, variance_kernel<T>, task, unit, type);
    }
    if (vjp) {
        enqueue(blocks, lanes, part_gradient_kernel<Model, T, lanes>, task, type);
        if (set.g_curvature) enqueue(rows, warp, curvature_kernel<T>, set, type);
    }
    return enqueue.status;
}

template <class Model, class T>
int32_t frechet(const FrechetTask& task, bool vjp, int32_t dtype, void* stream) {
    const T type(dtype);
    return task.set.dim <= warp * set_coordinates ? frechet_by<Model, T, warp>(task, vjp, type, stream)
                                                  : frechet_by<Model, T, 256>(task, vjp, type, stream);
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
