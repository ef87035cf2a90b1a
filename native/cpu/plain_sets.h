// Sets of float32 and shorter numbers, summed in plain doubles. Products of such numbers are exact in double,
// so a sum loses what its additions lose, some (points + dim / 8 + 16) 2^-53 of the sizes of its terms. Each
// set decides by its own sums whether its results keep 2^-28 through that (`PlainSums::certain`), each point
// whether its gap and its offset from the mean do; otherwise the set is done in pairs of doubles
// (set_kernel.cpp). Included by that file only.
//
// Points are worked on `width` at a time, their scalar mathematics side by side, and sets in groups, whose
// means are made side by side; the sums of the next points are begun before the present ones are added, so
// that neither waits.
#pragma once
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/doubles.h"
#include "cpu/sets.h"
#include "geometry/midpoint.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

constexpr int64_t slice = plain_most;  // coordinates of the sum that are held at once

template <class T>
constexpr bool plain_sums = sizeof(T) < 8;

using Lanes = Mask<Doubles>::type;

// 1 in the first `count` lanes
static inline Doubles ones(int64_t count) {
    alignas(64) static constexpr double steps[] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    return load_doubles(steps + 8 - count);
}

// Of so few coordinates, points are kept as columns.
constexpr int64_t narrow = 4;

// Points of a set. Beyond `count` the last one with weight 0, or zeros.
template <class T>
struct Points {
    int64_t row, i, count;  // the set within its group, the first point
    Doubles weights;
    const T* p[width];       // of wide points
    Doubles column[narrow];  // of narrow ones
};

#if defined(__AVX512F__)
static inline __m256 first_half(__m512 v) {
    return (__m256)__builtin_shufflevector((Vec<float, 16>)v, (Vec<float, 16>)v, 0, 1, 2, 3, 4, 5, 6, 7);
}
#endif

// Narrow points as columns, from the first of them and the way from one to the next.
template <class T>
HORO_HD void load_columns(const T* x, int64_t step, int64_t dim, int64_t count, Doubles* column) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        if (step <= 4) {
            const uint64_t there = (uint64_t{1} << ((count - 1) * step + dim)) - 1;
            const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(there), x),
                         high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(there >> 16), x + 16);
            const __m512i lanes = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 7, 6, 5, 4, 3, 2, 1, 0);
            __m512i from = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(static_cast<int>(step)));
            for (int64_t d = 0; d < dim; ++d, from = _mm512_add_epi32(from, _mm512_set1_epi32(1)))
                column[d] =
                    (Doubles)_mm512_maskz_cvtps_pd(0xff, first_half(_mm512_permutex2var_ps(low, from, high)));
            return;
        }
    }
    Doubles v[width];
    repeat<width>([&](auto n) { v[n] = load_at(x + smaller(n, count - 1) * step, 0, dim); });
    transpose<double, width>(v);
    for (int64_t d = 0; d < narrow; ++d) column[d] = v[d];
#else
    for (int64_t d = 0; d < dim; ++d) {
        column[d] = Doubles{};
        for (int64_t n = 0; n < count; ++n) column[d][n] = static_cast<double>(x[n * step + d]);
    }
#endif
}

// Sums in lanes of several points or sets.
struct LaneSums {
    Doubles of[width];

    void clear() {
        repeat<width>([&](auto n) { of[n] = Doubles{}; });
    }
    // The sum of each, side by side.
    Doubles totals() const {
        Doubles v[width];
        repeat<width>([&](auto n) { v[n] = of[n]; });
        return lane_sums(v);
    }
};

// The sums of <x,x> and of x with other vectors, for all points. What is `ahead` of them is asked for: of
// eight short rows at a time the processor does not foresee the next.
template <class T, class... With>
static void wide_dots(const Points<T>& some, int64_t dim, int64_t ahead, Doubles* to, const With*... with);
template <class T, class... With>
HORO_HD void dots(const Points<T>& some, int64_t dim, int64_t ahead, Doubles* to, const With*... with) {
    constexpr int others = sizeof...(With);
    if (dim > narrow) return wide_dots(some, dim, ahead, to, with...);
    Doubles xx{}, xa{}, xb{};
    for (int64_t d = 0; d < dim; ++d) {
        const Doubles v = some.column[d];
        [[maybe_unused]] const double b[others + 1] = {static_cast<double>(with[d])..., 0};
        xx = multiply_add(v, v, xx);
        if constexpr (others > 0) xa = multiply_add(v, splat<double, width>(b[0]), xa);
        if constexpr (others > 1) xb = multiply_add(v, splat<double, width>(b[1]), xb);
    }
    to[0] = xx;
    if constexpr (others > 0) to[1] = xa;
    if constexpr (others > 1) to[2] = xb;
}
template <class T, class... With>
static void wide_dots(const Points<T>& some, int64_t dim, int64_t ahead, Doubles* to, const With*... with) {
    constexpr int others = sizeof...(With);
    LaneSums xx, xa, xb;
    xx.clear();
    if constexpr (others > 0) xa.clear();
    if constexpr (others > 1) xb.clear();
    in_vectors(dim, [&](int64_t j, auto load) {
        [[maybe_unused]] const Doubles b[others + 1] = {load(with, j)..., Doubles{}};
        if (ahead && j * int64_t{sizeof(T)} % 64 == 0)
            repeat<width>([&](auto n) { __builtin_prefetch(some.p[n] + j + ahead); });
        repeat<width>([&](auto n) {
            const Doubles v = load(some.p[n], j);
            xx.of[n] = multiply_add(v, v, xx.of[n]);
            if constexpr (others > 0) xa.of[n] = multiply_add(v, b[0], xa.of[n]);
            if constexpr (others > 1) xb.of[n] = multiply_add(v, b[1], xb.of[n]);
        });
    });
    to[0] = xx.totals();
    if constexpr (others > 0) to[1] = xa.totals();
    if constexpr (others > 1) to[2] = xb.totals();
}

// to += the sum of u x. A function of its own, on copies, so that its loop reads no pointer again.
template <class T>
__attribute__((noinline)) static void add_scaled(const Points<T>& some, int64_t dim, Doubles u, double* to) {
    const T* p[width];
    Doubles all[width];
    repeat<width>([&](auto n) {
        p[n] = some.p[n];
        all[n] = splat<double, width>(u[n.value]);
    });
    in_vectors(dim, [&](int64_t j, auto load) {
        Doubles even = load_doubles(to + j), odd{};
        repeat<width>([&](auto n) {
            Doubles& s = n % 2 ? odd : even;
            s = multiply_add(load(p[n], j), all[n], s);
        });
        store<double, width>(to + j, even + odd);
    });
}

// The storage of gradients, in the order of their points; past the cache by whole lines if they come in a
// row.
template <class T>
class GradientRows {
    static constexpr int64_t line = 64 / sizeof(T), some = 1024;
    T* to_ = nullptr;               // what buffer_[0] is
    int64_t own_ = 0, filled_ = 0;  // the first number that is ours, and the end
    bool stream_, in_a_row_;
    alignas(64) T buffer_[slice + some + 4 * line];

  public:
    GradientRows(bool stream, bool in_a_row) : stream_(stream && in_a_row), in_a_row_(in_a_row) {}
    ~GradientRows() {
        leave();
#if defined(__SSE2__)
        if (stream_) _mm_sfence();
#endif
    }
    GradientRows(const GradientRows&) = delete;
    GradientRows& operator=(const GradientRows&) = delete;

    // Where the `count` numbers of `at` are to be put; some more there are overwritten.
    T* open(T* at, int64_t count) {
        if (!in_a_row_ || to_ + filled_ != at) {
            leave();
            own_ = filled_ =
                stream_ ? static_cast<int64_t>(reinterpret_cast<uintptr_t>(at) % 64 / sizeof(T)) : 0;
            to_ = at - filled_;
        } else if (filled_ > some) {
            pass_on();
        }
        T* const here = buffer_ + filled_;
        filled_ += count;
        return here;
    }

  private:
    void put(int64_t from, int64_t end) {
        std::memcpy(to_ + from, buffer_ + from, static_cast<size_t>(end - from) * sizeof(T));
    }
    void leave() {
        if (filled_ > own_) put(own_, filled_);
        own_ = filled_ = 0;
    }
    // Whole lines; what follows them goes to the front.
    void pass_on() {
        const int64_t end = filled_ / line * line;
        int64_t from = 0;
#if defined(__SSE2__)
        if (stream_) {
            if (own_ > 0) put(own_, line), from = line;
            T* const to = to_;
            for (; from < end; from += line) {
#if defined(__AVX512F__)
                _mm512_stream_si512(reinterpret_cast<__m512i*>(to + from), _mm512_load_si512(buffer_ + from));
#else
                for (int64_t i = from; i < from + line; i += 16 / int64_t{sizeof(T)})
                    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                                     _mm_load_si128(reinterpret_cast<const __m128i*>(buffer_ + i)));
#endif
            }
        }
#endif
        if (from < end) put(larger(from, own_), end);
        std::memcpy(buffer_, buffer_ + end, static_cast<size_t>(filled_ - end) * sizeof(T));
        to_ += end;
        own_ = 0;
        filled_ -= end;
    }
};

// The sums of a group of sets, or of a part of one.
template <class Model, class T>
class PlainSums {
  public:
    using Means = typename Model::template Mean<Doubles>;
    using Some = Points<T>;

    const MidpointTask& task;
    const int64_t first, rows, begin, end;  // sets, and their points
    const int64_t padded = round_up(task.dim, width);
    // what to ask for, and where points are read again
    const int64_t ahead = (1 + 2048 / (width * task.dim)) * width * task.x_point,
                  again = task.k * task.dim > 131072 ? ahead : 0;
    // of each set, in lanes
    Doubles time, lead, reach, ss;

    PlainSums(const MidpointTask& t, int64_t first_row, int64_t row_count, int64_t from, int64_t to)
        : task(t), first(first_row), rows(row_count), begin(from), end(to) {}

    // so many sets a group that their points and sums stay near
    static int64_t group(const MidpointTask& t) {
        constexpr int64_t near = 32768 / sizeof(T);
        const int64_t by_points = near / (t.k * t.dim), by_sums = slice / round_up(t.dim, width);
        const int64_t rows = by_points < by_sums ? by_points : by_sums;
        return rows < 1 ? 1 : rows > width ? width : rows;
    }

    const double* sum(int64_t row) const { return s_ + row * padded; }
    double* sum(int64_t row) { return s_ + row * padded; }

    HORO_HD void points(int64_t row, int64_t i, Some& some) const {
        some.row = row;
        some.i = i;
        some.count = smaller(width, end - i);
        const T* x =
            static_cast<const T*>(task.x) + (first + row) * task.x_row + Model::ambient + i * task.x_point;
        if (task.dim <= narrow) {
            for (int64_t at = 0; at < width * task.x_point; at += 64 / int64_t{sizeof(T)})
                __builtin_prefetch(x + ahead + at);
            load_columns(x, task.x_point, task.dim, some.count, some.column);
        } else
            repeat<width>([&](auto n) { some.p[n] = x + smaller(n, some.count - 1) * task.x_point; });
        some.weights =
            task.w ? load_at(static_cast<const T*>(task.w) + (first + row) * task.w_row, i, i + some.count)
                   : ones(some.count);
    }
    double* factors(int64_t row) const { return task.factors + (first + row) * task.factor_row; }

    HORO_HD SetShare<Doubles> share(const Some& some, Doubles xx) const {
        const Doubles gap = Model::template gap<Doubles>(task.curvature, xx);
        const SetShare<Doubles> plain = Model::template plain_share<Doubles>(gap, xx, some.weights);
        const auto lost = !(gap >= gap_bound_);  // also NaN
        return any(lost) ? exact_share(some, lost, plain) : plain;
    }

    // The sum of a set as another has it.
    void take(const PlainSums& from, int64_t row) {
        std::memcpy(sum(row), from.sum(row), static_cast<size_t>(padded) * sizeof(double));
        for (int64_t d = 0; task.dim <= narrow && d < task.dim; ++d)
            columns_[d].of[row] = from.columns_[d].of[row];
        times_.of[row] = from.times_.of[row];
        leads_.of[row] = from.leads_.of[row];
        reaches_.of[row] = from.reaches_.of[row];
    }

    void clear() {
        const int64_t all = rows * padded;
        for (int64_t j = 0; j < all; j += width) store<double, width>(s_ + j, Doubles{});
        times_.clear(), leads_.clear(), reaches_.clear();
        for (int64_t d = 0; task.dim <= narrow && d < task.dim; ++d) columns_[d].clear();
    }
    // The sum of u x, to a set's sum.
    void add_scaled(const Some& some, Doubles u) {
        if (task.dim > narrow) return horo::HORO_ISA_NAMESPACE::add_scaled(some, task.dim, u, sum(some.row));
        for (int64_t d = 0; d < task.dim; ++d)
            columns_[d].of[some.row] = multiply_add(some.column[d], u, columns_[d].of[some.row]);
    }
    // Points' shares u x and t, with |x|^2.
    void add(const Some& some, Doubles u, Doubles t, Doubles xx) {
        add_scaled(some, u);
        times_.of[some.row] += t;
        leads_.of[some.row] += larger_of<double, width>(magnitude<Doubles>(t), magnitude<Doubles>(u));
        reaches_.of[some.row] += u * u * xx;
    }
    void finish() {
        if (task.dim <= narrow) {
            ss = Doubles{};
            for (int64_t d = 0; d < task.dim; ++d) {
                const Doubles v = columns_[d].totals();
                ss = multiply_add(v, v, ss);
                for (int64_t r = 0; r < rows; ++r) s_[r * padded + d] = v[r];
            }
        } else {
            LaneSums squares;
            squares.clear();
            for (int64_t r = 0; r < rows; ++r) {
                Doubles square{};
                for (int64_t j = 0; j < padded; j += width) {
                    const Doubles v = load_doubles(sum(r) + j);
                    square = multiply_add(v, v, square);
                }
                squares.of[r] = square;
            }
            ss = squares.totals();
        }
        time = times_.totals();
        lead = leads_.totals();
        reach = reaches_.totals();
    }

    // The midpoints' sums.
    void sum_up() {
        clear();
        struct Next {
            Some some;
            Doubles u, time, xx;
        };
        over_points<Next>(
            [&](Next& next) {
                dots(next.some, task.dim, ahead, &next.xx);
                const SetShare<Doubles> its = share(next.some, next.xx);
                next.u = its.u.hi;
                next.time = its.time.hi;
            },
            [&](const Next& now) { add(now.some, now.u, now.time, now.xx); });
        finish();
    }

    // before(next), then after(next) for all points `next.some`, each `before` ahead of the `after` of the
    // points before it.
    template <class Next, class Before, class After>
    void over_points(Before&& before, After&& after, const bool* skip = nullptr) const {
        int64_t row = 0, i = begin;
        const auto pass = [&] {
            for (; row < rows && skip && skip[row]; ++row) {
            }
        };
        Next turns[2];
        bool turn = false;
        const auto start = [&] {
            points(row, i, turns[turn].some);
            before(turns[turn]);
            if ((i += width) < end) return;
            i = begin;
            ++row;
            pass();
        };
        pass();
        if (row >= rows || begin >= end) return;
        for (start(); row < rows; after(turns[!turn])) {
            turn = !turn;
            start();
        }
        after(turns[turn]);
    }

    // What a part is to leave in its slot, and the sum of the whole set from there.
    void leave(int64_t part) const {
        double* const to = task.slot(first, part);
        double* const numbers = task.numbers(first, part);
        for (int64_t j = 0; j < task.dim; j += width) {
            store_at(to, j, task.dim, load_doubles(sum(0) + j));
            store_at(to + slot_padded(task.dim), j, task.dim, Doubles{});
        }
        numbers[slot_time] = time[0];
        numbers[slot_time_low] = 0;
        numbers[slot_lead] = lead[0];
        numbers[slot_reach] = reach[0];
    }
    void know_total() {
        const double* const from = task.slot(first, -1);
        const double* const numbers = task.numbers(first, -1);
        DotSum<false> square;
        for (int64_t j = 0; j < task.dim; j += width) {
            const Doubles v = load_at(from, j, task.dim);
            store<double, width>(s_ + j, v);
            square.add(v, v);
        }
        ss = splat<double, width>(square.total().hi);
        time = splat<double, width>(numbers[slot_time]);
        lead = splat<double, width>(numbers[slot_lead]);
        reach = splat<double, width>(numbers[slot_reach]);
    }

    Means means() const { return Means(task.curvature, exactly(time), exactly(ss)); }
    // The square of cosh of its distance from the origin, by which parts along it cancel; at least 1.
    Doubles depth(const Means& m) const { return at_least(magnitude<Doubles>(time) * lead / (m.n * m.n), 1); }
    // Whether the midpoint keeps 2^-28.
    Lanes certain(const Means& m) const {
        const auto sum_holds = ss >= allowed_ * allowed_ * static_cast<double>(task.k) * reach;
        return sum_holds & (allowed_ * m.doubt(time, lead) <= 1.0);
    }

    double allowed() const { return allowed_; }

  private:
    __attribute__((noinline)) SetShare<Doubles> exact_share(const Some& some, Lanes lost,
                                                            SetShare<Doubles> plain) const {
        horo::Sum<Doubles> xx;
        if (task.dim <= narrow) {
            DotSum<true> square;
            for (int64_t d = 0; d < task.dim; ++d) square.add(some.column[d], some.column[d]);
            xx = normalized<Doubles>(square.hi, square.lo);
        } else {
            xx = square_sums<true>(some.p, task.dim);
        }
        const SetShare<Doubles> exact = Model::template share<Doubles>(task.curvature, xx, some.weights);
        const auto pick = [&](horo::Sum<Doubles> a, horo::Sum<Doubles> b) {
            return exactly(choose<Doubles>(lost, a.hi, b.hi));
        };
        return {pick(exact.lambda, plain.lambda), pick(exact.u, plain.u), pick(exact.time, plain.time)};
    }

    // 2^-53 (points + dim / 8 + 16) / 2^-28
    static double allowed_for(double points, double dim) { return (points + dim / 8 + 16) * 0x1p-25; }
    const double allowed_ =
        allowed_for(static_cast<double>(task.k / task.parts()), static_cast<double>(task.dim));
    const double gap_bound_ = allowed_for(0, static_cast<double>(task.dim));
    LaneSums times_, leads_, reaches_, columns_[narrow];
    alignas(64) double s_[slice];
};

// The points of a group as its means see them.
template <class Model, class T>
class PlainView {
  public:
    using Sums = PlainSums<Model, T>;
    using Means = typename Sums::Means;
    const Sums& sums;
    const MidpointTask& task;
    const Means means;
    const Doubles allowed;  // with depth
    bool lost[width] = {};  // a point is too near the mean: the set is one for pairs of doubles

    explicit PlainView(const Sums& s)
        : sums(s), task(s.task), means(s.means()), allowed(s.allowed() * s.depth(means)) {}

    struct Seen {
        SetShare<Doubles> share;
        Doubles tau;
        SetDots<Doubles> dots;
        Doubles blur;  // what errors of sums grow by in the offset from the mean
    };
    // What points are made of, from their dot products xx, sx and gx; gs: that of g with the sum.
    Seen see(const Points<T>& some, const SetShare<Doubles>& share, Doubles xx, Doubles sx, Doubles gx,
             double gs) const {
        const int64_t row = some.row;
        const Doubles tau = Means(means, row).plain_tau(share), ss = splat<double, width>(sums.ss[row]);
        const Doubles tx = tau * sx;
        return {share,
                tau,
                {xx, splat<double, width>(gs) - tau * gx, (ss - tx) - (tx - tau * tau * xx), sx - tau * xx},
                Doubles{}};
    }
    // The same of points as near the mean as need be.
    template <class G>
    Seen look(const Points<T>& some, const G* g, double gs) {
        Doubles d[3] = {};
        if (g)
            dots(some, task.dim, sums.again, d, sums.sum(some.row), g);
        else
            dots(some, task.dim, sums.again, d, sums.sum(some.row));
        const SetShare<Doubles> share = sums.share(some, d[0]);
        Seen seen = see(some, share, d[0], d[1], d[2], gs);
        const Doubles size = splat<double, width>(sums.ss[some.row]) + seen.tau * seen.tau * d[0];
        const double least = closest(some.row), by_products = 4 * sums.allowed();
        const auto near = !(seen.dots.ff >= (least > by_products ? least : by_products) * size);
        if (any(near)) look_closer(some, seen, near, size, g);
        if (task.g_curvature) seen.blur = square_root<Doubles>(size / seen.dots.ff);
        return seen;
    }
    Means mean(int64_t row) const { return Means(means, row); }

    // The gradients of points: along_g g + along_x x + along_f f.
    template <class G>
    void write(GradientRows<T>& to, const Points<T>& some, Doubles points_tau, const G* g, Doubles along_g,
               Doubles along_x, Doubles along_f) const {
        const int64_t dim = task.dim, row = some.row;
        const double* s = sums.sum(row);
        T* const at = static_cast<T*>(task.g_x) + (sums.first + row) * task.g_x_row + some.i * task.g_x_point;
        if (dim <= narrow) {
            double out[narrow][width];
            for (int64_t d = 0; d < dim; ++d) {
                const Doubles v = some.column[d],
                              f = multiply_add(-points_tau, v, splat<double, width>(s[d]));
                Doubles sum = multiply_add(along_x, v, along_f * f);
                if (g) sum = multiply_add(along_g, splat<double, width>(static_cast<double>(g[d])), sum);
                store<double, width>(out[d], sum);
            }
            for (int64_t n = 0; n < some.count; ++n) {
                T* to_point = to.open(at + n * task.g_x_point, dim + Model::ambient);
                if constexpr (Model::ambient) *to_point++ = T{};
                for (int64_t d = 0; d < dim; ++d) to_point[d] = static_cast<T>(out[d][n]);
            }
            return;
        }
        double on_g[width], on_x[width], on_f[width], tau[width];
        store<double, width>(on_g, along_g);
        store<double, width>(on_x, along_x);
        store<double, width>(on_f, along_f);
        store<double, width>(tau, points_tau);
        for (int64_t n = 0; n < some.count; ++n) {
            T* out = to.open(at + n * task.g_x_point, dim + Model::ambient);
            if constexpr (Model::ambient) *out++ = T{};
            const T* p = some.p[n];
            const Doubles t = splat<double, width>(-tau[n]), a = splat<double, width>(on_g[n]),
                          b = splat<double, width>(on_x[n]), c = splat<double, width>(on_f[n]);
            in_vectors(dim, [&](int64_t j, auto load) {
                const Doubles v = load(p, j), f = multiply_add(t, v, load_doubles(s + j));
                Doubles sum = multiply_add(b, v, c * f);
                if (g) sum = multiply_add(a, load(g, j), sum);
                store_at(out, j, j + width, sum);
            });
        }
    }

    // Gradients of the curvature, which sum to nearly nothing where points are close together: `size` is the
    // sum of their sizes times blur.
    void check_curvature(int64_t row, double sum, double size) {
        if (task.g_curvature && !((sum < 0 ? -sum : sum) >= allowed[row] * size)) lost[row] = true;
    }

  private:
    // The square of an offset that keeps 2^-28, to those of what it is the difference of.
    double closest(int64_t row) const { return 2 * allowed[row] * allowed[row]; }
    template <class G>
    __attribute__((noinline)) void look_closer(const Points<T>& some, Seen& seen, Lanes near, Doubles size,
                                               const G* g) {
        const double* s = sums.sum(some.row);
        if (task.dim <= narrow) {
            Doubles g_f{}, f_f{}, x_f{};
            for (int64_t d = 0; d < task.dim; ++d) {
                const Doubles v = some.column[d], f = splat<double, width>(s[d]) - seen.tau * v;
                if (g) g_f = multiply_add(splat<double, width>(static_cast<double>(g[d])), f, g_f);
                f_f = multiply_add(f, f, f_f);
                x_f = multiply_add(v, f, x_f);
            }
            return replace(some, seen, near, size, g_f, f_f, x_f);
        }
        LaneSums gf, ff, xf;
        gf.clear(), ff.clear(), xf.clear();
        for (int n = 0; n < width; ++n) {
            const Doubles tau = splat<double, width>(seen.tau[n]);
            in_vectors(task.dim, [&](int64_t j, auto load) {
                const Doubles v = load(some.p[n], j), f = load_doubles(s + j) - tau * v;
                if (g) gf.of[n] = multiply_add(load(g, j), f, gf.of[n]);
                ff.of[n] = multiply_add(f, f, ff.of[n]);
                xf.of[n] = multiply_add(v, f, xf.of[n]);
            });
        }
        replace(some, seen, near, size, gf.totals(), ff.totals(), xf.totals());
    }
    void replace(const Points<T>& some, Seen& seen, Lanes near, Doubles size, Doubles gf, Doubles ff,
                 Doubles xf) {
        const auto gone = near & !(ff >= closest(some.row) * size);
        lost[some.row] = lost[some.row] || any(gone);
        seen.dots.gf = choose<Doubles>(near, gf, seen.dots.gf);
        seen.dots.ff = choose<Doubles>(near, ff, seen.dots.ff);
        seen.dots.xf = choose<Doubles>(near, xf, seen.dots.xf);
    }
};

// <a, s>
template <class Model, class T, class G>
double along_sum(const PlainSums<Model, T>& sums, int64_t row, const G* a) {
    DotSum<false> dot;
    const double* s = sums.sum(row);
    in_vectors(sums.task.dim, [&](int64_t j, auto load) { dot.add(load(a, j), load_doubles(s + j)); });
    return dot.total().hi;
}

// Whether the gradients of so many numbers are to leave past the cache.
static inline bool past_cache(const MidpointTask& task, int64_t size) {
    return 2 * size * task.rows * task.k * task.dim > (4 << 20);
}

// The gradients of a midpoint's points, and of the curvature; `skip` holds sets that are not to be done and
// then also those that could not be.
template <class Model, class T>
void plain_gradients(const PlainSums<Model, T>& sums, bool* skip, double* curvature) {
    const MidpointTask& task = sums.task;
    PlainView<Model, T> view(sums);
    const T* g[width];
    double g0[width], gs[width];
    LaneSums curvatures, sizes;
    curvatures.clear(), sizes.clear();
    for (int64_t r = 0; r < sums.rows; ++r) {
        g[r] = static_cast<const T*>(task.g) + (sums.first + r) * task.g_row + Model::ambient;
        g0[r] = Model::ambient ? static_cast<double>(g[r][-1]) : 0.0;
        gs[r] = along_sum(sums, r, g[r]);
    }
    GradientRows<T> to(past_cache(task, sizeof(T)), task.g_x_point == task.dim + Model::ambient);
    struct Next {
        Points<T> some;
        Doubles tau, blur;
        SetSlopes<Doubles> slope;
    };
    sums.template over_points<Next>(
        [&](Next& next) {
            const int64_t r = next.some.row;
            const auto seen = view.look(next.some, g[r], gs[r]);
            next.tau = seen.tau;
            next.blur = seen.blur;
            next.slope = view.mean(r).slopes(splat<double, width>(g0[r]), splat<double, width>(gs[r]),
                                             next.some.weights, seen.share, seen.dots);
        },
        [&](const Next& now) {
            const Points<T>& some = now.some;
            const SetSlopes<Doubles>& slope = now.slope;
            if (task.g_curvature) {
                const Doubles own = choose<Doubles>(ones(some.count) > 0.0, slope.curvature, Doubles{});
                curvatures.of[some.row] += own;
                sizes.of[some.row] += magnitude<Doubles>(own) * now.blur;
            }
            if (task.g_w)
                store_at(static_cast<T*>(task.g_w) + (sums.first + some.row) * task.g_w_row, some.i,
                         some.i + some.count, slope.weight);
            if (task.g_x)
                view.write(to, some, now.tau, g[some.row], slope.along_g, slope.along_x, slope.along_f);
        },
        skip);
    const Doubles all = curvatures.totals(), size = sizes.totals();
    for (int64_t r = 0; r < sums.rows; ++r) {
        view.check_curvature(r, all[r], size[r]);
        skip[r] = skip[r] || view.lost[r];
        curvature[r] = lane(all, r);
    }
}

template <class Model, class T>
void put_mean(const PlainSums<Model, T>& sums, const typename PlainSums<Model, T>::Means& means,
              int64_t row) {
    const MidpointTask& task = sums.task;
    T* out = static_cast<T*>(task.out) + (sums.first + row) * task.out_row;
    if constexpr (Model::ambient) *out++ = static_cast<T>(lane(means.time(), row));
    const Doubles scale = splat<double, width>(lane(means.scale(), row));
    const double* s = sums.sum(row);
    for (int64_t j = 0; j < task.dim; j += width) store_at(out, j, task.dim, scale * load_doubles(s + j));
}

// Rows of whole sets, `exact(row)` for those that want pairs of doubles.
template <class Model, class T, class Exact>
void plain_midpoint(const MidpointTask& task, int64_t begin, int64_t end, Exact&& exact) {
    const int64_t group = PlainSums<Model, T>::group(task);
    for (int64_t row = begin; row < end; row += group) {
        PlainSums<Model, T> sums(task, row, smaller(group, end - row), 0, task.k);
        sums.sum_up();
        const auto means = sums.means();
        const auto certain = sums.certain(means);
        for (int64_t r = 0; r < sums.rows; ++r)
            if (certain[r])
                put_mean(sums, means, r);
            else
                exact(row + r);
    }
}

template <class Model, class T, class Exact>
void plain_midpoint_vjp(const MidpointTask& task, int64_t begin, int64_t end, Exact&& exact) {
    const int64_t group = PlainSums<Model, T>::group(task);
    for (int64_t row = begin; row < end; row += group) {
        PlainSums<Model, T> sums(task, row, smaller(group, end - row), 0, task.k);
        sums.sum_up();
        const auto certain = sums.certain(sums.means());
        bool skip[width];
        double curvature[width];
        for (int64_t r = 0; r < sums.rows; ++r) skip[r] = !certain[r];
        plain_gradients(sums, skip, curvature);
        for (int64_t r = 0; r < sums.rows; ++r)
            if (skip[r])
                exact(row + r);
            else if (task.g_curvature)
                static_cast<T*>(task.g_curvature)[row + r] = static_cast<T>(curvature[r]);
    }
}

// The gradients of a part's points; whether they are lost.
template <class Model, class T>
void plain_gradient_part(const FrechetTask& task, int64_t row, int64_t part) {
    PlainSums<Model, T> sums(task.set, row, 1, task.set.first_point(part), task.set.first_point(part + 1));
    sums.know_total();
    bool skip[width] = {};
    double curvature[width];
    plain_gradients(sums, skip, curvature);
    task.set.numbers(row, part)[slot_lost] = skip[0];
    task.set.numbers(row, part)[slot_curvature] = curvature[0];
}

template <class Model, class T>
void plain_sum_part(const FrechetTask& task, int64_t row, int64_t part) {
    PlainSums<Model, T> sums(task.set, row, 1, task.set.first_point(part), task.set.first_point(part + 1));
    sums.sum_up();
    sums.leave(part);
}

// ---- Frechet means of a group

template <class Model, class T>
class PlainFrechet {
  public:
    using Sums = PlainSums<Model, T>;
    using View = PlainView<Model, T>;
    const FrechetTask& whole;
    const MidpointTask& task;
    const int64_t first, rows;
    int32_t state[width] = {};  // as FrechetTask::judged
    bool lost[width] = {};      // a set for pairs of doubles

    PlainFrechet(const FrechetTask& t, int64_t row, int64_t count)
        : whole(t),
          task(t.set),
          first(row),
          rows(count),
          a_(t.set, row, count, 0, t.set.k),
          b_(t.set, row, count, 0, t.set.k) {}
    // A part of a set whose total is known, unless this is to start.
    PlainFrechet(const FrechetTask& t, int64_t row, int64_t part, bool known)
        : whole(t),
          task(t.set),
          first(row),
          rows(1),
          a_(t.set, row, 1, t.set.first_point(part), t.set.first_point(part + 1)),
          b_(t.set, row, 1, a_.begin, a_.end) {
        if (known) a_.know_total();
    }

    static FrechetTask loose(FrechetTask task) {
        if (task.tolerance < plain_step) task.tolerance = plain_step;
        return task;
    }
    void start() {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t i = a_.begin; i < a_.end; ++i) a_.factors(r)[i] = 1;
        a_.sum_up();
    }
    void leave_start(int64_t part) {
        a_.leave(part);
        task.numbers(first, part)[slot_lost] = 0;
    }
    // One step of a part.
    void step_part(int64_t part) {
        LaneSums moved, held;
        const bool settled[width] = {};
        step(settled, moved, held);
        next_->leave(part);
        double* const numbers = task.numbers(first, part);
        numbers[slot_moved] = moved.totals()[0];
        numbers[slot_held] = held.totals()[0];
    }
    // The sums over a part for the variance.
    void squares_part(int64_t part) {
        double of_points[width], of_weights[width];
        squares(of_points, of_weights);
        double* const numbers = leave_lost(part);
        numbers[slot_moved] = of_points[0];
        numbers[slot_held] = of_weights[0];
    }
    // What a part adds to the cotangent.
    void addend_part(int64_t part) {
        View view(*now_);
        LaneSums on_sum;
        const bool settled[width] = {};
        addends(view, settled, on_sum);
        keep(view);
        leave_lost(part);
        const Doubles along = splat<double, width>(on_sum.totals()[0]);
        for (int64_t j = 0; j < task.dim; j += width)
            store_at(task.slot(first, part), j, task.dim,
                     multiply_add(along, load_doubles(now_->sum(0) + j), load_doubles(next_->sum(0) + j)));
    }
    void gradients_part(int64_t part) {
        const double* const set = task.numbers(first, -1);
        double curvature[width];
        gradients(set + slot_spread, set + slot_variance, curvature);
        leave_lost(part)[slot_curvature] = curvature[0];
    }

    void solve() {
        const FrechetTask judge = loose(whole);
        start();
        bool settled[width] = {};
        for (int64_t left = rows, n = 1; left > 0; ++n) {
            LaneSums moved, held;
            step(settled, moved, held);
            std::swap(now_, next_);
            const auto certain = now_->certain(now_->means());
            const Doubles move = moved.totals(), hold = held.totals();
            for (int64_t r = 0; r < rows; ++r) {
                if (settled[r]) continue;
                lost[r] = !certain[r];
                state[r] = judge.judged(move[r], hold[r], static_cast<int32_t>(n));
                settled[r] = lost[r] || state[r] != 0;
                left -= settled[r];
            }
        }
    }
    void put(int64_t row) const { put_mean(*now_, now_->means(), row); }

    // Of sets that are not lost, the sums of w d^2 and of w; a set may be lost by them.
    void squares(double* of_points, double* of_weights) {
        View view(*now_);
        LaneSums points, weights;
        points.clear(), weights.clear();
        now_->template over_points<Alone>(
            [&](Alone& next) {
                const Points<T>& some = next.some;
                const SetDistance<Doubles> d = distance(view, some, view.look(some, no_cotangent, 0));
                points.of[some.row] += some.weights * d.square;
                weights.of[some.row] += some.weights;
            },
            [](const Alone&) {}, lost);
        keep(view);
        store<double, width>(of_points, points.totals());
        store<double, width>(of_weights, weights.totals());
    }
    Doubles unit() const { return now_->means().unit(); }

    // The cotangents of the means, and how many times they were improved.
    void cotangents(int32_t* steps) {
        bool settled[width];
        int64_t left = 0;
        const double tolerance = loose(whole).tolerance;
        for (int64_t r = 0; r < rows; ++r) {
            steps[r] = 0;
            settled[r] = lost[r] || state[r] < 0 || !task.g;
            left += !settled[r];
            double* u = cotangent(r);
            for (int64_t j = 0; j < task.dim; ++j) u[j] = task.g ? static_cast<double>(given(r)[j]) : 0.0;
        }
        while (left > 0) {
            View view(*now_);
            LaneSums on_sum;
            addends(view, settled, on_sum);
            const Doubles along = on_sum.totals();
            keep(view);
            for (int64_t r = 0; r < rows; ++r) {
                if (settled[r]) continue;
                const auto now = next_cotangent(r, along[r], tolerance);
                settled[r] = now == 0 || lost[r];
                if (!settled[r] && (++steps[r] >= whole.most || now < 0)) {
                    state[r] = -1;
                    settled[r] = true;
                }
                left -= settled[r];
            }
        }
    }

    // The gradients of the points; `of_variance` and `variance`: the cotangent of the variance over the sum
    // of the weights, and the variance.
    void gradients(const double* of_variance, const double* variance, double* curvature) {
        View view(*now_);
        GradientRows<T> to(past_cache(task, sizeof(T)), task.g_x_point == task.dim + Model::ambient);
        LaneSums curvatures, sizes;
        curvatures.clear(), sizes.clear();
        double us[width];
        for (int64_t r = 0; r < rows; ++r) us[r] = along_sum(*now_, r, cotangent(r));
        struct Next {
            Points<T> some;
            Doubles tau, along_g, along_x, along_f;
        };
        now_->template over_points<Next>(
            [&](Next& next) {
                const int64_t r = next.some.row, i = next.some.i, end = i + next.some.count;
                const Doubles w = next.some.weights, factor = load_at(now_->factors(r), i, end);
                next.some.weights = w * factor;
                const auto seen = view.look(next.some, cotangent(r), us[r]);
                const SetSlopes<Doubles> slope = slopes(view, next.some, seen, us[r]);
                const SetDistance<Doubles> d = distance(view, next.some, seen);
                const Doubles unit = view.mean(r).unit(), spread = splat<double, width>(of_variance[r]),
                              by_weight = slope.weight * w * d.slope,
                              h = by_weight + spread * w * unit * d.steep,
                              by_curvature = slope.curvature + by_weight * d.by_curvature +
                                             spread * w * d.dist_by_curvature;
                const Doubles own = choose<Doubles>(ones(next.some.count) > 0.0, by_curvature, Doubles{});
                curvatures.of[r] += own;
                sizes.of[r] += magnitude<Doubles>(own) * seen.blur;
                if (task.g_w)
                    store_at(static_cast<T*>(task.g_w) + (first + r) * task.g_w_row, i, end,
                             slope.weight * factor +
                                 spread * (unit * d.square - splat<double, width>(variance[r])));
                next.tau = seen.tau;
                next.along_g = slope.along_g;
                next.along_x = slope.along_x + h * d.by_x;
                next.along_f = slope.along_f + h * d.by_f;
            },
            [&](const Next& now) {
                if (task.g_x)
                    view.write(to, now.some, now.tau, cotangent(now.some.row), now.along_g, now.along_x,
                               now.along_f);
            },
            lost);
        const Doubles all = curvatures.totals(), size = sizes.totals();
        for (int64_t r = 0; r < rows; ++r) view.check_curvature(r, all[r], size[r]);
        keep(view);
        store<double, width>(curvature, all);
    }

  private:
    static constexpr const double* no_cotangent = nullptr;
    Sums a_, b_;
    Sums *now_ = &a_, *next_ = &b_;

    const T* given(int64_t r) const {
        return static_cast<const T*>(task.g) + (first + r) * task.g_row + Model::ambient;
    }
    double given_time(int64_t r) const {
        return Model::ambient && task.g ? static_cast<double>(given(r)[-1]) : 0.0;
    }
    double* cotangent(int64_t r) const { return now_->factors(r) + task.k; }
    void keep(const View& view) {
        for (int64_t r = 0; r < rows; ++r) lost[r] = lost[r] || view.lost[r];
    }
    // Whether the part is lost, and its other numbers.
    double* leave_lost(int64_t part) const {
        double* const numbers = task.numbers(first, part);
        if (lost[0]) numbers[slot_lost] = 1;
        return numbers;
    }
    struct Alone {
        Points<T> some;
    };
    SetDistance<Doubles> distance(const View& view, const Points<T>& some,
                                  const typename View::Seen& seen) const {
        return view.mean(some.row).distance(splat<double, width>(now_->ss[some.row]), seen.share, seen.dots);
    }
    SetSlopes<Doubles> slopes(const View& view, const Points<T>& some, const typename View::Seen& seen,
                              double us) const {
        return view.mean(some.row).slopes(splat<double, width>(given_time(some.row)),
                                          splat<double, width>(us), some.weights, seen.share, seen.dots);
    }

    // New factors and their sums; how far the midpoint may move by them, and the measure of that.
    void step(const bool* settled, LaneSums& moved, LaneSums& held) {
        const View view(*now_);
        moved.clear(), held.clear(), next_->clear();
        for (int64_t r = 0; r < rows; ++r)
            if (settled[r]) next_->take(*now_, r);
        struct Next {
            Points<T> some;
            Doubles u, time, xx;
        };
        now_->template over_points<Next>(
            [&](Next& next) {
                const Points<T>& some = next.some;
                const int64_t r = some.row, end = some.i + some.count;
                Doubles d[2];
                dots(some, task.dim, now_->again, d, now_->sum(r));
                auto seen = view.see(some, now_->share(some, d[0]), d[0], d[1], Doubles{}, 0);
                seen.dots.ff = at_least(seen.dots.ff, 0);
                const SetDistance<Doubles> away = distance(view, some, seen);
                double* const factors = now_->factors(r);
                const Doubles change = magnitude<Doubles>(away.factor - load_at(factors, some.i, end));
                moved.of[r] += some.weights * change * away.sinh;
                held.of[r] += some.weights * away.factor * away.cosh;
                store_at(factors, some.i, end, away.factor);
                next.u = seen.share.u.hi * away.factor;
                next.time = seen.share.time.hi * away.factor;
                next.xx = d[0];
            },
            [&](const Next& now) { next_->add(now.some, now.u, now.time, now.xx); }, settled);
        next_->finish();
    }

    // What the cotangents give to the means through the points' factors: what next_ has then, and on_sum
    // times the sum.
    void addends(View& view, const bool* settled, LaneSums& on_sum) {
        double us[width];
        for (int64_t r = 0; r < rows; ++r) us[r] = along_sum(*now_, r, cotangent(r));
        on_sum.clear(), next_->clear();
        struct Next {
            Points<T> some;
            Doubles on_x;
        };
        now_->template over_points<Next>(
            [&](Next& next) {
                Points<T>& some = next.some;
                const int64_t r = some.row;
                const Doubles w = some.weights;
                some.weights *= load_at(now_->factors(r), some.i, some.i + some.count);
                const auto seen = view.look(some, cotangent(r), us[r]);
                const SetDistance<Doubles> d = distance(view, some, seen);
                const Doubles h = slopes(view, some, seen, us[r]).weight * w * d.slope;
                on_sum.of[r] += h * (d.along_f + d.along_s);
                next.on_x = -(h * d.along_f * seen.tau);
            },
            [&](const Next& now) { next_->add_scaled(now.some, now.on_x); }, settled);
        next_->finish();
    }
    // 0 where the cotangent has settled, -1 where it cannot
    int next_cotangent(int64_t r, double on_sum, double tolerance) {
        double* const u = cotangent(r);
        const double *s = now_->sum(r), *more = next_->sum(r);
        const T* g = given(r);
        const Doubles along = splat<double, width>(on_sum);
        DotSum<false> change, size;
        in_vectors(task.dim, [&](int64_t j, auto load) {
            const Doubles next =
                              load(g, j) + multiply_add(along, load_doubles(s + j), load_doubles(more + j)),
                          apart = next - load(u, j);
            change.add(apart, apart);
            size.add(next, next);
            store_at(u, j, task.dim, next);
        });
        const double moved = change.total().hi;
        return moved <= tolerance * tolerance * size.total().hi ? 0 : moved != moved ? -1 : 1;
    }
};

template <class Model, class T>
void plain_start_part(const FrechetTask& task, int64_t row, int64_t part) {
    PlainFrechet<Model, T> search(task, row, part, false);
    search.start();
    search.leave_start(part);
}
template <class Model, class T, void (PlainFrechet<Model, T>::*work)(int64_t part)>
void plain_part(const FrechetTask& task, int64_t row, int64_t part) {
    (PlainFrechet<Model, T>(task, row, part, true).*work)(part);
}

// Rows of whole sets; exact(row, n, settled) for those that want pairs of doubles, with n midpoints made.
template <class Model, class T, class Exact>
void plain_frechet(const FrechetTask& task, int64_t begin, int64_t end, Exact&& exact) {
    const int64_t group = PlainSums<Model, T>::group(task.set);
    for (int64_t row = begin; row < end; row += group) {
        PlainFrechet<Model, T> search(task, row, smaller(group, end - row));
        search.solve();
        bool early[width];
        for (int64_t r = 0; r < search.rows; ++r) {
            early[r] = !search.lost[r] && search.state[r] > 0 && task.tolerance < plain_step;
            if (early[r] || search.lost[r]) exact(row + r, early[r] ? search.state[r] : 0, false);
            search.lost[r] = search.lost[r] || early[r];
        }
        double squares[width], weights[width];
        bool done[width];
        std::memcpy(done, search.lost, sizeof done);
        if (task.variance) search.squares(squares, weights);
        for (int64_t r = 0; r < search.rows; ++r) {
            if (done[r]) continue;
            if (search.lost[r]) {
                exact(row + r, search.state[r], true);
                continue;
            }
            if (task.iterations) task.iterations[row + r] = search.state[r];
            search.put(r);
            if (task.variance)
                static_cast<T*>(task.variance)[row + r] =
                    static_cast<T>(search.unit()[r] * squares[r] / weights[r]);
        }
    }
}

template <class Model, class T, class Exact>
void plain_frechet_vjp(const FrechetTask& task, int64_t begin, int64_t end, Exact&& exact) {
    const int64_t group = PlainSums<Model, T>::group(task.set);
    for (int64_t row = begin; row < end; row += group) {
        PlainFrechet<Model, T> search(task, row, smaller(group, end - row));
        search.solve();
        int32_t midpoints[width], steps[width];
        for (int64_t r = 0; r < search.rows; ++r) {
            midpoints[r] = search.lost[r] ? 0 : search.state[r];
            search.lost[r] = search.lost[r] || (search.state[r] > 0 && task.tolerance < plain_step);
        }
        search.cotangents(steps);
        double spread[width] = {}, variance[width] = {}, curvature[width];
        if (task.g_variance) {
            double squares[width], weights[width];
            search.squares(squares, weights);
            const Doubles unit = search.unit();
            for (int64_t r = 0; r < search.rows; ++r) {
                variance[r] = unit[r] * squares[r] / weights[r];
                spread[r] = static_cast<double>(static_cast<const T*>(task.g_variance)[row + r]) / weights[r];
            }
        }
        search.gradients(spread, variance, curvature);
        for (int64_t r = 0; r < search.rows; ++r) {
            if (search.lost[r]) {
                exact(row + r, midpoints[r], midpoints[r] != 0 && task.tolerance >= plain_step);
                continue;
            }
            if (task.iterations)
                task.iterations[row + r] = search.state[r] < 0 ? -1 : search.state[r] + steps[r];
            if (task.set.g_curvature)
                static_cast<T*>(task.set.g_curvature)[row + r] = static_cast<T>(curvature[r]);
        }
    }
}

}  // namespace
}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
