// Compiled once per instruction set: loops over the points of a set.
#include "cpu/doubles.h"
#include "cpu/plain_sets.h"
#include "cpu/sets.h"
#include "geometry/midpoint.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {

extern const SetKernel set_kernel;

namespace {

// One row's set, or a part of it, and, for a slice of its coordinates, the sum of its points; exact: in pairs
// of doubles.
template <class Model, class T, bool exact>
struct PointSet {
    using Stored = T;
    static constexpr bool ambient = Model::ambient;
    const MidpointTask& task;
    const T* x;
    const T* w;
    double* factor = nullptr;       // of the weights
    const double* total = nullptr;  // where the sum of the whole set is, if it is
    const double* numbers = nullptr;
    int64_t begin = 0, end = 0;  // the points
    horo::Sum<double> time{};
    int64_t from = -1, count = 0;
    alignas(64) double hi[slice], lo[slice];

    explicit PointSet(const MidpointTask& t) : task(t) {}

    void start(int64_t row) {
        x = static_cast<const T*>(task.x) + row * task.x_row + Model::ambient;
        w = task.w ? static_cast<const T*>(task.w) + row * task.w_row : nullptr;
        factor = task.factors ? task.factors + row * task.factor_row : nullptr;
        begin = 0;
        end = task.k;
        from = -1;
    }
    void start(int64_t row, int64_t part) {
        start(row);
        begin = task.first_point(part);
        end = task.first_point(part + 1);
    }
    // The sum is that of the whole set, made before.
    void know_total(int64_t row) {
        total = task.slot(row, -1);
        numbers = task.numbers(row, -1);
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
        if (total) {
            for (int64_t j = 0; j < count; j += width) {
                store<double, width>(hi + j, load_at(total + first, j, count));
                store<double, width>(lo + j, load_at(total + slot_padded(task.dim) + first, j, count));
            }
            time = {numbers[slot_time], numbers[slot_time_low]};
            return;
        }
        for (int64_t j = 0; j < round_up(count, width); ++j) hi[j] = lo[j] = 0;
        time = {};
        horo::Sum<Doubles> times{};
        for (int64_t i = begin; i < end; i += width) times = times + add_points(i, smaller(width, end - i));
        for (int l = 0; l < width; ++l) time = time + horo::Sum<double>{times.hi[l], times.lo[l]};
        if constexpr (exact) {
            for (int64_t j = 0; j < count; j += width) {
                const auto s = normalized<Doubles>(load_doubles(hi + j), load_doubles(lo + j));
                store<double, width>(hi + j, s.hi);
                store<double, width>(lo + j, s.lo);
            }
        }
    }

    // As many points as there are lanes, for the scalar mathematics of all at once; those from `points` on
    // are the last one with weight 0.
    template <bool pairs>
    struct SideBySide {
        const T* p[width];
        Doubles weights{};
        horo::Sum<Doubles> xx;

        SideBySide(const PointSet& set, int64_t i, int64_t points) {
            for (int n = 0; n < width; ++n) {
                p[n] = set.point(i + smaller(n, points - 1));
                if (n < points) weights[n] = set.weight(i + n);
            }
            xx = square_sums<pairs>(p, set.task.dim);
        }
    };

    // Adds points to the slice. Their shares of the time.
    horo::Sum<Doubles> add_points(int64_t i, int64_t points) {
        const SideBySide<exact> some(*this, i, points);
        const SetShare<Doubles> share = Model::template share<Doubles>(task.curvature, some.xx, some.weights);
        Doubles u[width], u_low[width];
        for (int n = 0; n < width; ++n) {
            u[n] = splat<double, width>(share.u.hi[n]);
            u_low[n] = splat<double, width>(share.u.lo[n]);
        }
        in_vectors(count, [&](int64_t j, auto load) {
            DotSum<exact> s{load_doubles(hi + j), load_doubles(lo + j)};
#pragma GCC unroll 8
            for (int n = 0; n < width; ++n) s.add(load(some.p[n] + from, j), u[n], u_low[n]);
            store<double, width>(hi + j, s.hi);
            if constexpr (exact) store<double, width>(lo + j, s.lo);
        });
        return share.time;
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
        for (int64_t i = begin; i < end; ++i) {
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

    using Mean = typename Model::template Mean<double>;
    double sign() const { return time.hi < 0 ? -1 : 1; }
    // whether the root has lost what `deficit` brings back
    bool lost(const Mean& m) const { return !(sign() * m.n > cancelled * sign() * time.hi); }

    // What the sum becomes; ss is |s|^2.
    Mean mean(horo::Sum<double> ss) {
        Mean m(task.curvature, time, ss);
        if constexpr (exact) {
            if (lost(m)) {
                const horo::Sum<double> size = square_root(ss);
                const double lack = total ? numbers[slot_deficit] : deficit(exactly(sign()) / size);
                const double n2 = (sign() * time.hi + __builtin_sqrt(m.c) * size.hi) * sign() * lack;
                m.take(time, exactly(sign() * __builtin_sqrt(n2)));
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

template <class Set>
void write_mean(Set& set, const typename Set::Mean& mean, int64_t row) {
    using T = typename Set::Stored;
    T* out = static_cast<T*>(set.task.out) + row * set.task.out_row;
    if constexpr (Set::ambient) *out++ = static_cast<T>(mean.time());
    const double scale = mean.scale();
    for (int64_t first = 0; first < set.task.dim; first += slice) {
        set.sum_slice(first);
        for (int64_t j = 0; j < set.count; j += width)
            store_at(out + first, j, set.count, scale * load_doubles(set.hi + j));
    }
}

// products of float32 numbers are exact in double
template <class Model, class T>
constexpr bool needs_pairs = sizeof(T) == 8 || Model::precise;

template <class Model, class T, bool exact>
void midpoint_of(const MidpointTask& task, int64_t begin, int64_t end) {
    PointSet<Model, T, exact> set(task);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        if (task.parts() > 1) set.know_total(row);
        write_mean(set, set.mean(set.square()), row);
    }
}

template <class Model, class T>
void midpoint(const MidpointTask& task, int64_t begin, int64_t end) {
    if constexpr (plain_sums<T>)
        if (task.parts() == 1 && task.dim <= slice)
            return plain_midpoint<Model, T>(
                task, begin, end, [&](int64_t row) { midpoint_of<Model, T, true>(task, row, row + 1); });
    midpoint_of<Model, T, needs_pairs<Model, T>>(task, begin, end);
}

// Points side by side as the mean sees them. g: the cotangent of its space part, null for none.
template <class Model, class T, class G>
struct Seen {
    using Set = PointSet<Model, T, true>;
    Set& set;
    const G* g;
    int64_t points;
    double precision;
    typename Model::template Mean<Doubles> mean;
    typename Set::template SideBySide<true> some;
    SetShare<Doubles> share;
    horo::Sum<Doubles> tau;
    SetDots<Doubles> dots;

    Seen(Set& s, const typename Set::Mean& m, int64_t i, const G* cotangent)
        : set(s),
          g(cotangent),
          points(smaller(width, s.end - i)),
          precision(0x1p-98 * m.loss()),
          mean(m),
          some(s, i, points),
          share(Model::template share<Doubles>(s.task.curvature, some.xx, some.weights)),
          tau(mean.tau(share)) {
        DotSum<false> gf[width], ff[width];
        DotSum<Model::precise> xf[width];
        slices([&](int64_t n, int64_t first) {
            DotSum<false> g_f = gf[n], f_f = ff[n];  // in registers, as those with a number are not
            DotSum<Model::precise> x_f = xf[n];
            offsets(n, first, [&](int64_t, Doubles v, Doubles h, horo::Sum<Doubles> f) {
                g_f.add(h, f.hi);
                f_f.add(f.hi, f.hi);
                x_f.add(v, f.hi, f.lo);
            });
            gf[n] = g_f;
            ff[n] = f_f;
            xf[n] = x_f;
        });
        dots = {some.xx.hi, totals<false>(gf).hi, totals<false>(ff).hi, totals<Model::precise>(xf).hi};
    }
    // body(n, first) for all points, slice by slice: one may have to be summed again.
    template <class Body>
    void slices(Body&& body) {
        for (int64_t first = 0; first < set.task.dim; first += slice) {
            set.sum_slice(first);
            for (int64_t n = 0; n < points; ++n) body(n, first);
        }
    }
    // body(j, v, h, f) for the vectors of point n and of the cotangent, at j of the slice, and f = s - tau x
    template <class Body>
    void offsets(int64_t n, int64_t first, Body&& body) const {
        const horo::Sum<double> t = {tau.hi[n], tau.lo[n]};
        in_vectors(set.count, [&](int64_t j, auto load) {
            const Doubles v = load(some.p[n] + first, j), h = g ? load(g + first, j) : Doubles{};
            body(j, v, h, set.offset(v, t, precision, j));
        });
    }
    SetSlopes<Doubles> slopes(double g0, double gs) const {
        return mean.slopes(splat<double, width>(g0), splat<double, width>(gs), some.weights, share, dots);
    }
    SetDistance<Doubles> distance(double ss) const {
        return mean.distance(splat<double, width>(ss), share, dots);
    }
    // The gradients of the points, the first of them point i.
    void write(int64_t row, int64_t i, Doubles along_g, Doubles along_x, Doubles along_f) {
        const MidpointTask& task = set.task;
        if (!task.g_x) return;
        slices([&](int64_t n, int64_t first) {
            T* out = static_cast<T*>(task.g_x) + row * task.g_x_row + (i + n) * task.g_x_point;
            if constexpr (Model::ambient) *out++ = 0;
            const double on_g = lane(along_g, n), on_x = lane(along_x, n), on_f = lane(along_f, n);
            offsets(n, first, [&](int64_t j, Doubles v, Doubles h, horo::Sum<Doubles> f) {
                store_at(out + first, j, set.count, on_g * h + (on_x * v + on_f * f.hi));
            });
        });
    }
};

// The gradients of the set's points; that of the curvature is returned.
template <class Model, class T>
double point_gradients(PointSet<Model, T, true>& set, int64_t row) {
    const MidpointTask& task = set.task;
    const typename Model::template Mean<double> mean = set.mean(set.square());
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
    for (int64_t i = set.begin; i < set.end; i += width) {
        Seen<Model, T, T> seen(set, mean, i, g);
        const SetSlopes<Doubles> slope = seen.slopes(g0, gs);
        if (task.g_w)
            store_at(static_cast<T*>(task.g_w) + row * task.g_w_row, i, i + seen.points, slope.weight);
        for (int64_t n = 0; n < seen.points; ++n) curvature += lane(slope.curvature, n);
        seen.write(row, i, slope.along_g, slope.along_x, slope.along_f);
    }
    return curvature;
}

template <class Model, class T>
void exact_midpoint_vjp(const MidpointTask& task, int64_t begin, int64_t end) {
    PointSet<Model, T, true> set(task);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        const double curvature = point_gradients(set, row);
        if (task.g_curvature) static_cast<T*>(task.g_curvature)[row] = static_cast<T>(curvature);
    }
}

template <class Model, class T>
void midpoint_vjp(const MidpointTask& task, int64_t begin, int64_t end) {
    if constexpr (plain_sums<T>)
        if (task.dim <= slice)
            return plain_midpoint_vjp<Model, T>(
                task, begin, end, [&](int64_t row) { exact_midpoint_vjp<Model, T>(task, row, row + 1); });
    exact_midpoint_vjp<Model, T>(task, begin, end);
}

// ---- Frechet mean

// A set whose weights take factors, and the mean that they give.
template <class Model, class T>
struct Frechet {
    using Mean = typename Model::template Mean<double>;
    PointSet<Model, T, true>& set;
    const MidpointTask& task;
    Mean mean;
    double ss;

    explicit Frechet(PointSet<Model, T, true>& s) : set(s), task(s.task), mean(1, {}, {}), ss(0) {}

    void start() {
        for (int64_t i = set.begin; i < set.end; ++i) set.factor[i] = 1;
    }

    // The midpoint with the present factors.
    void centre() {
        set.from = -1;
        const horo::Sum<double> square = set.square();
        mean = set.mean(square);
        ss = square.hi;
    }

    using Points = Seen<Model, T, double>;

    // Two sums over the points.
    struct Sums {
        double of_points, of_weights;
    };
    // body(sums, i, n, d): point i, its distance in lane n of d.
    template <class Body>
    Sums over_points(Body&& body) {
        Sums sums{};
        for (int64_t i = set.begin; i < set.end; i += width) {
            const Points seen(set, mean, i, nullptr);
            const SetDistance<Doubles> d = seen.distance(ss);
            for (int64_t n = 0; n < seen.points; ++n) body(sums, i + n, n, d);
        }
        return sums;
    }

    Sums squares() {
        return over_points([this](Sums& sums, int64_t i, int64_t n, const SetDistance<Doubles>& d) {
            sums.of_points += set.given_weight(i) * lane(d.square, n);
            sums.of_weights += set.given_weight(i);
        });
    }

    // New factors; how far the midpoint may move by them, and the measure of that.
    Sums step() {
        return over_points([this](Sums& sums, int64_t i, int64_t n, const SetDistance<Doubles>& d) {
            const double change = lane(d.factor, n) - set.factor[i], w = set.given_weight(i);
            sums.of_points += w * (change < 0 ? -change : change) * lane(d.sinh, n);
            sums.of_weights += w * lane(d.factor, n) * lane(d.cosh, n);
            set.factor[i] = lane(d.factor, n);
        });
    }

    // Repeats until the next midpoint would be at most `tolerance` radii away; the number of midpoints, or
    // -1. The factors of `made` midpoints are there; settled: these were enough.
    int32_t solve(const FrechetTask& whole, int32_t made, bool settled) {
        if (made == 0) start();
        centre();
        if (settled) return made;
        for (int32_t n = made + 1;; ++n) {
            const Sums sums = step();
            centre();
            const int32_t state = whole.judged(sums.of_points, sums.of_weights, n);
            if (state != 0) return state;
        }
    }

    // The cotangent of the midpoint, in the workspace behind the factors, and the addend to it.
    double* cotangent() const { return set.factor + task.k; }
    double* addend() const { return cotangent() + (task.factor_row - task.k) / 2; }

    // <u, s>
    double along_s() {
        DotSum<false> dot;
        const double* u = cotangent();
        for (int64_t first = 0; first < task.dim; first += slice) {
            set.sum_slice(first);
            for (int64_t j = 0; j < set.count; j += width)
                dot.add(load_at(u + first, j, set.count), load_doubles(set.hi + j));
        }
        return dot.total().hi;
    }

    // The cotangent of the mean that `row` is given, its time, if any, apart.
    struct Given {
        const T* g;
        double time;
        explicit Given(const MidpointTask& task, int64_t row)
            : g(task.g ? static_cast<const T*>(task.g) + row * task.g_row + Model::ambient : nullptr),
              time(Model::ambient && g ? static_cast<double>(g[-1]) : 0.0) {}
        double at(int64_t j) const { return g ? static_cast<double>(g[j]) : 0.0; }
    };

    void first_cotangent(int64_t row) {
        const Given given(task, row);
        double* u = cotangent();
        for (int64_t j = 0; j < task.dim; ++j) u[j] = given.at(j);
    }

    // What the cotangent gives to the mean through the points' factors.
    void add_addends(double g0, double us, double* to) {
        const double* u = cotangent();
        for (int64_t j = 0; j < task.dim; ++j) to[j] = 0;
        for (int64_t i = set.begin; i < set.end; i += width) {
            Points seen(set, mean, i, u);
            const SetSlopes<Doubles> slope = seen.slopes(g0, us);
            const SetDistance<Doubles> d = seen.distance(ss);
            seen.slices([&](int64_t n, int64_t first) {
                const double h = lane(slope.weight, n) * set.given_weight(i + n) * lane(d.slope, n);
                const double along_f = lane(d.along_f, n), along_s = lane(d.along_s, n);
                seen.offsets(n, first, [&](int64_t j, Doubles, Doubles, horo::Sum<Doubles> f) {
                    store_at(to + first, j, set.count,
                             load_at(to + first, j, set.count) +
                                 h * (along_f * f.hi + along_s * load_doubles(set.hi + j)));
                });
            });
        }
    }

    // Takes the addend in; whether the cotangent has settled, or cannot.
    struct Settled {
        bool yes, failed;
    };
    Settled next_cotangent(int64_t row, double tolerance) {
        const Given given(task, row);
        double *u = cotangent(), change = 0, size = 0;
        const double* more = addend();
        for (int64_t j = 0; j < task.dim; ++j) {
            const double next = given.at(j) + more[j];
            change += (next - u[j]) * (next - u[j]);
            size += next * next;
            u[j] = next;
        }
        return {change <= tolerance * tolerance * size, change != change};
    }

    // The variance is least at the mean, so it depends on the points as if the mean stayed where it is.
    struct Spread {
        double variance = 0, spread = 0;  // the cotangent of the variance over the sum of the weights
    };
    Spread spread_of(Sums sums, const void* g_variance, int64_t row) const {
        return {mean.unit() * sums.of_points / sums.of_weights,
                static_cast<double>(static_cast<const T*>(g_variance)[row]) / sums.of_weights};
    }

    // The gradients of the points; that of the curvature is returned.
    double gradients(int64_t row, double g0, double us, Spread by) {
        const double* u = cotangent();
        double curvature = 0;
        for (int64_t i = set.begin; i < set.end; i += width) {
            Points seen(set, mean, i, u);
            const SetSlopes<Doubles> slope = seen.slopes(g0, us);
            const SetDistance<Doubles> d = seen.distance(ss);
            Doubles h{};
            for (int64_t n = 0; n < seen.points; ++n) {
                const double w = set.given_weight(i + n),
                             by_weight = lane(slope.weight, n) * w * lane(d.slope, n);
                h[n] = by_weight + by.spread * w * mean.unit() * lane(d.steep, n);
                curvature += lane(slope.curvature, n) + by_weight * lane(d.by_curvature, n) +
                             by.spread * w * lane(d.dist_by_curvature, n);
                if (task.g_w)
                    static_cast<T*>(task.g_w)[row * task.g_w_row + i + n] =
                        static_cast<T>(lane(slope.weight, n) * set.factor[i + n] +
                                       by.spread * (mean.unit() * lane(d.square, n) - by.variance));
            }
            seen.write(row, i, slope.along_g, slope.along_x + h * d.by_x, slope.along_f + h * d.by_f);
        }
        return curvature;
    }
};

template <class Model, class T>
void exact_frechet(const FrechetTask& task, int64_t begin, int64_t end, int32_t made = 0,
                   bool settled = false) {
    PointSet<Model, T, true> set(task.set);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        Frechet<Model, T> search(set);
        const int32_t n = search.solve(task, made, settled);
        if (task.iterations) task.iterations[row] = n;
        write_mean(set, search.mean, row);
        if (!task.variance) continue;
        const auto sums = search.squares();
        static_cast<T*>(task.variance)[row] =
            static_cast<T>(search.mean.unit() * sums.of_points / sums.of_weights);
    }
}

template <class Model, class T>
void frechet(const FrechetTask& task, int64_t begin, int64_t end) {
    if constexpr (plain_sums<T>)
        if (task.set.dim <= slice)
            return plain_frechet<Model, T>(task, begin, end, [&](int64_t row, int32_t made, bool settled) {
                exact_frechet<Model, T>(task, row, row + 1, made, settled);
            });
    exact_frechet<Model, T>(task, begin, end);
}

// With m = midpoint(x, w factor(dist(m, x))) the cotangent u of the midpoint is that of m plus what u itself
// gives to m through the factors; the same iteration finds it.
template <class Model, class T>
void exact_frechet_vjp(const FrechetTask& task, int64_t begin, int64_t end, int32_t made = 0,
                       bool done = false) {
    using Search = Frechet<Model, T>;
    PointSet<Model, T, true> set(task.set);
    for (int64_t row = begin; row < end; ++row) {
        set.start(row);
        Search search(set);
        int32_t n = search.solve(task, made, done);
        const double g0 = typename Search::Given(task.set, row).time;
        search.first_cotangent(row);
        double us = search.along_s();
        int32_t steps = 0;
        for (bool settled = n < 0 || !task.set.g; !settled;) {
            search.add_addends(g0, us, search.addend());
            const auto now = search.next_cotangent(row, task.tolerance);
            us = search.along_s();
            settled = now.yes;
            if (!settled && (++steps >= task.most || now.failed)) {
                n = -1;
                break;
            }
        }
        if (task.iterations) task.iterations[row] = n < 0 ? -1 : n + steps;
        typename Search::Spread by;
        if (task.g_variance) by = search.spread_of(search.squares(), task.g_variance, row);
        const double curvature = search.gradients(row, g0, us, by);
        if (task.set.g_curvature) static_cast<T*>(task.set.g_curvature)[row] = static_cast<T>(curvature);
    }
}

template <class Model, class T>
void frechet_vjp(const FrechetTask& task, int64_t begin, int64_t end) {
    if constexpr (plain_sums<T>)
        if (task.set.dim <= slice)
            return plain_frechet_vjp<Model, T>(
                task, begin, end, [&](int64_t row, int32_t made, bool settled) {
                    exact_frechet_vjp<Model, T>(task, row, row + 1, made, settled);
                });
    exact_frechet_vjp<Model, T>(task, begin, end);
}

// ---- Sets that are cut into parts. The parts' numbers are summed in their order.

inline double sum_of_parts(const MidpointTask& task, int64_t row, int number) {
    double sum = 0;
    for (int64_t part = 0; part < task.parts(); ++part) sum += task.numbers(row, part)[number];
    return sum;
}

template <class Model, class T, bool exact>
void sum_part(const FrechetTask& task, int64_t row, int64_t part) {
    PointSet<Model, T, exact> set(task.set);
    set.start(row, part);
    double* const to = task.set.slot(row, part);
    for (int64_t first = 0; first < task.set.dim; first += slice) {
        set.sum_slice(first);
        for (int64_t j = 0; j < set.count; j += width) {
            store_at(to + first, j, set.count, load_doubles(set.hi + j));
            store_at(to + slot_padded(task.set.dim) + first, j, set.count, load_doubles(set.lo + j));
        }
    }
    task.set.numbers(row, part)[slot_time] = set.time.hi;
    task.set.numbers(row, part)[slot_time_low] = set.time.lo;
}

inline void total(const FrechetTask& task, int64_t row) {
    const MidpointTask& set = task.set;
    const int64_t low = slot_padded(set.dim);
    for (int64_t j = 0; j < set.dim; j += width) {
        horo::Sum<Doubles> sum{};
        for (int64_t part = 0; part < set.parts(); ++part) {
            const double* s = set.slot(row, part);
            sum = sum + horo::Sum<Doubles>{load_at(s, j, set.dim), load_at(s + low, j, set.dim)};
        }
        store_at(set.slot(row, -1), j, set.dim, sum.hi);
        store_at(set.slot(row, -1) + low, j, set.dim, sum.lo);
    }
    horo::Sum<double> time{};
    for (int64_t part = 0; part < set.parts(); ++part) {
        const double* n = set.numbers(row, part);
        time = time + horo::Sum<double>{n[slot_time], n[slot_time_low]};
    }
    set.numbers(row, -1)[slot_time] = time.hi;
    set.numbers(row, -1)[slot_time_low] = time.lo;
}

template <class Model, class T>
void deficit_part(const FrechetTask& task, int64_t row, int64_t part) {
    PointSet<Model, T, true> set(task.set);
    set.start(row, part);
    set.know_total(row);
    const horo::Sum<double> ss = set.square();
    const typename Model::template Mean<double> mean(task.set.curvature, set.time, ss);
    task.set.numbers(row, part)[slot_deficit] =
        set.lost(mean) ? set.deficit(exactly(set.sign()) / square_root(ss)) : 0.0;
}

inline void total_deficit(const FrechetTask& task, int64_t row) {
    task.set.numbers(row, -1)[slot_deficit] = sum_of_parts(task.set, row, slot_deficit);
}

template <class Model, class T>
void gradient_part(const FrechetTask& task, int64_t row, int64_t part) {
    PointSet<Model, T, true> set(task.set);
    set.start(row, part);
    set.know_total(row);
    task.set.numbers(row, part)[slot_curvature] = point_gradients(set, row);
}

template <class Model, class T>
void curvature_of(const FrechetTask& task, int64_t row) {
    if (task.set.g_curvature)
        static_cast<T*>(task.set.g_curvature)[row] =
            static_cast<T>(sum_of_parts(task.set, row, slot_curvature));
}

// A part of a set whose total is known, or the whole of it, at the present mean.
template <class Model, class T>
struct KnownFrechet {
    PointSet<Model, T, true> set;
    Frechet<Model, T> search;
    double* numbers;  // of the whole

    KnownFrechet(const FrechetTask& task, int64_t row)
        : set(task.set), search(set), numbers(task.set.numbers(row, -1)) {
        set.start(row);
        set.know_total(row);
        search.centre();
    }
    KnownFrechet(const FrechetTask& task, int64_t row, int64_t part) : KnownFrechet(task, row) {
        set.begin = task.set.first_point(part);
        set.end = task.set.first_point(part + 1);
    }
};

template <class Model, class T>
void start_part(const FrechetTask& task, int64_t row, int64_t part) {
    PointSet<Model, T, true> set(task.set);
    set.start(row, part);
    Frechet<Model, T>(set).start();
}

template <class Sums>
void keep(const FrechetTask& task, int64_t row, int64_t part, Sums sums) {
    double* numbers = task.set.numbers(row, part);
    numbers[slot_moved] = sums.of_points;
    numbers[slot_held] = sums.of_weights;
}

template <class Model, class T>
void step_part(const FrechetTask& task, int64_t row, int64_t part) {
    keep(task, row, part, KnownFrechet<Model, T>(task, row, part).search.step());
}

inline void judge(const FrechetTask& task, int64_t row) {
    double* numbers = task.set.numbers(row, -1);
    numbers[slot_steps] += 1;
    numbers[slot_state] =
        task.judged(sum_of_parts(task.set, row, slot_moved), sum_of_parts(task.set, row, slot_held),
                    static_cast<int32_t>(numbers[slot_steps]));
}

template <class Model, class T>
void out_of(const FrechetTask& task, int64_t row) {
    KnownFrechet<Model, T> known(task, row);
    write_mean(known.set, known.search.mean, row);
}

template <class Model, class T>
void variance_part(const FrechetTask& task, int64_t row, int64_t part) {
    keep(task, row, part, KnownFrechet<Model, T>(task, row, part).search.squares());
}

template <class Model, class T>
void variance_of(const FrechetTask& task, int64_t row) {
    const KnownFrechet<Model, T> known(task, row);
    const double squares = sum_of_parts(task.set, row, slot_moved),
                 weights = sum_of_parts(task.set, row, slot_held);
    if (task.variance)
        static_cast<T*>(task.variance)[row] = static_cast<T>(known.search.mean.unit() * squares / weights);
    if (!task.g_variance) return;
    const auto by = known.search.spread_of({squares, weights}, task.g_variance, row);
    known.numbers[slot_variance] = by.variance;
    known.numbers[slot_spread] = by.spread;
}

template <class Model, class T>
void cotangent_of(const FrechetTask& task, int64_t row) {
    KnownFrechet<Model, T> known(task, row);
    known.search.first_cotangent(row);
    known.numbers[slot_along] = known.search.along_s();
    known.numbers[slot_steps] = known.numbers[slot_variance] = known.numbers[slot_spread] = 0;
    known.numbers[slot_settled] = known.numbers[slot_state] < 0 || !task.set.g;
}

template <class Model, class T>
void addend_part(const FrechetTask& task, int64_t row, int64_t part) {
    KnownFrechet<Model, T> known(task, row, part);
    const double g0 = typename Frechet<Model, T>::Given(task.set, row).time;
    known.search.add_addends(g0, known.numbers[slot_along], task.set.slot(row, part));
}

template <class Model, class T>
void next_cotangent_of(const FrechetTask& task, int64_t row) {
    KnownFrechet<Model, T> known(task, row);
    double *addend = known.search.addend(), *numbers = known.numbers;
    for (int64_t j = 0; j < task.set.dim; ++j) addend[j] = 0;
    for (int64_t part = 0; part < task.set.parts(); ++part)
        for (int64_t j = 0; j < task.set.dim; ++j) addend[j] += task.set.slot(row, part)[j];
    const auto now = known.search.next_cotangent(row, task.tolerance);
    numbers[slot_along] = known.search.along_s();
    numbers[slot_settled] = now.yes;
    if (now.yes) return;
    numbers[slot_steps] += 1;
    if (numbers[slot_steps] < task.most && !now.failed) return;
    numbers[slot_settled] = 1;
    numbers[slot_state] = -1;
}

template <class Model, class T>
void frechet_gradient_part(const FrechetTask& task, int64_t row, int64_t part) {
    KnownFrechet<Model, T> known(task, row, part);
    const double g0 = typename Frechet<Model, T>::Given(task.set, row).time;
    task.set.numbers(row, part)[slot_curvature] = known.search.gradients(
        row, g0, known.numbers[slot_along], {known.numbers[slot_variance], known.numbers[slot_spread]});
}

// What plain sums made of a set: its total, and whether that is certain.
template <class Model, class T>
bool plain_total_holds(const FrechetTask& task, int64_t row) {
    total(task, row);
    for (int number : {slot_lead, slot_reach})
        task.set.numbers(row, -1)[number] = sum_of_parts(task.set, row, number);
    task.set.numbers(row, -1)[slot_deficit] = 0;  // Klein midpoints do not use the root that may want it
    PlainSums<Model, T> sums(task.set, row, 1, 0, 0);
    sums.know_total();
    return sums.certain(sums.means())[0];
}
template <class Model, class T>
void plain_total(const FrechetTask& task, int64_t row) {
    task.set.numbers(row, -1)[slot_state] = plain_total_holds<Model, T>(task, row);
}
template <class Model, class T>
void plain_start_total(const FrechetTask& task, int64_t row) {
    plain_total_holds<Model, T>(task, row);  // the first mean need not be certain
}
template <class Model, class T>
void plain_judge(const FrechetTask& task, int64_t row) {
    const bool holds = plain_total_holds<Model, T>(task, row);
    judge(PlainFrechet<Model, T>::loose(task), row);
    if (!holds) task.set.numbers(row, -1)[slot_state] = -2;
}
inline void plain_lost(const FrechetTask& task, int64_t row) {
    if (!(sum_of_parts(task.set, row, slot_lost) > 0)) return;
    task.set.numbers(row, -1)[slot_lost] = task.set.numbers(row, -1)[slot_settled] = 1;
}
template <class Model, class T>
void plain_curvature(const FrechetTask& task, int64_t row) {
    if (sum_of_parts(task.set, row, slot_lost) > 0)
        task.set.numbers(row, -1)[slot_state] = 0;
    else
        curvature_of<Model, T>(task, row);
}

template <class Model, class T>
constexpr SetParts with_plain(SetParts parts) {
    if constexpr (plain_sums<T>) {
        parts.plain_sum = plain_sum_part<Model, T>;
        parts.plain_gradient = plain_gradient_part<Model, T>;
        parts.plain_start = plain_start_part<Model, T>;
        using Search = PlainFrechet<Model, T>;
        parts.plain_step = plain_part<Model, T, &Search::step_part>;
        parts.plain_variance = plain_part<Model, T, &Search::squares_part>;
        parts.plain_addend = plain_part<Model, T, &Search::addend_part>;
        parts.plain_frechet_gradient = plain_part<Model, T, &Search::gradients_part>;
        parts.plain_total = plain_total<Model, T>;
        parts.plain_curvature = plain_curvature<Model, T>;
        parts.plain_start_total = plain_start_total<Model, T>;
        parts.plain_judge = plain_judge<Model, T>;
        parts.plain_lost = plain_lost;
    }
    return parts;
}

template <class Model, class T>
constexpr SetParts parts_of = with_plain<Model, T>(
    {sum_part<Model, T, needs_pairs<Model, T>>, sum_part<Model, T, true>, deficit_part<Model, T>,
     gradient_part<Model, T>, start_part<Model, T>, step_part<Model, T>, variance_part<Model, T>,
     addend_part<Model, T>, frechet_gradient_part<Model, T>, total, total_deficit, out_of<Model, T>,
     curvature_of<Model, T>, judge, variance_of<Model, T>, cotangent_of<Model, T>,
     next_cotangent_of<Model, T>});

}  // namespace

#define HORO_STORED(function, Model) \
    { function<Model, float>, function<Model, double>, function<Model, ShortBf16>, function<Model, ShortF16> }
#define HORO_SET_KERNELS(function)                                                           \
    {                                                                                        \
        HORO_STORED(function, poincare::Midpoint), HORO_STORED(function, lorentz::Midpoint), \
            HORO_STORED(function, klein::Midpoint)                                           \
    }
const SetKernel set_kernel = {HORO_SET_KERNELS(midpoint), HORO_SET_KERNELS(midpoint_vjp),
                              HORO_SET_KERNELS(frechet), HORO_SET_KERNELS(frechet_vjp),
                              HORO_SET_KERNELS(parts_of)};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
