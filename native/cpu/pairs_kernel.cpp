// Compiled once per instruction set: distances between all points of two sets, see geometry/pairs.h.
#include "cpu/sets.h"
#include "cpu/tiles.h"
#include "geometry/pairs.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {

extern const PairsKernel pairs_kernel;

namespace {

constexpr int64_t tile = pairs_tile;
constexpr int64_t capacity = 8192;  // gradient elements held at once, on the stack

// The squared difference of coordinates times the scale of their rows.
template <bool scaled>
struct Differences {
    const double *left, *right;
    Doubles row(Doubles v, int64_t i) const { return times(v, left[i]); }
    Doubles column(Doubles v, int64_t j) const { return times(v, right[j]); }
    static Doubles step(Doubles a, Doubles b, Doubles sum) {
        const Doubles d = a - b;
        return multiply_add(d, d, sum);
    }
    // rounded before it is subtracted from anything
    static Doubles times(Doubles v, double scale) {
        return scaled ? rounded_product(v, splat<double, width>(scale)) : v;
    }
};

// |scale x|^2 - 1, of the coordinates as they are rounded
template <class T>
double excess(const T* x, double scale, int64_t dim) {
    DotSum<true> sum;
    sum.hi[0] = -1.0;
    for (int64_t j = 0; j < dim; j += width) {
        const Doubles v = Differences<true>::times(load_at(x, j, dim), scale);
        sum.add(v, v);
    }
    return sum.total().hi;
}

// Up to a tile of points: their numbers, and the scales of their coordinates. Of numbers stored shorter than
// double the excess is nothing beside what their own rounding is.
template <class Model, class T>
struct PointTile {
    static constexpr int numbers = sizeof(typename Model::template Point<double>) / sizeof(double);
    const T* space;
    int64_t count;
    double number[numbers][tile] = {};
    double scale[tile];

    PointTile(const PairsTask& task, const PairsSide& side, int64_t first, int64_t last)
        : space(static_cast<const T*>(side.points) + first * side.row + Model::ambient), count(last - first) {
        for (int64_t i = 0; i < count; ++i) {
            const T* p = space + i * side.row;
            const auto xx = square_sum < sizeof(T) == 8 || Model::precise > (p, task.dim);
            scale[i] = Model::scale(square_root<double>(xx.hi));
            const bool counts = Model::scaled && sizeof(T) == 8;
            const auto point = Model::point(task.curvature, xx, counts ? excess(p, scale[i], task.dim) : 0.0);
            double part[numbers];
            std::memcpy(part, &point, sizeof part);
            for (int n = 0; n < numbers; ++n) number[n][i] = part[n];
        }
    }
    // Point i in every lane.
    typename Model::template Point<Doubles> one(int64_t i) const {
        typename Model::template Point<Doubles> point;
        Doubles part[numbers];
        for (int n = 0; n < numbers; ++n) part[n] = splat<double, width>(number[n][i]);
        std::memcpy(&point, part, sizeof part);
        return point;
    }
    // Points i ..., one per lane.
    typename Model::template Point<Doubles> several(int64_t i) const {
        typename Model::template Point<Doubles> point;
        Doubles part[numbers];
        for (int n = 0; n < numbers; ++n) part[n] = load_doubles(number[n] + i);
        std::memcpy(&point, part, sizeof part);
        return point;
    }
};

template <class Model, class T>
void sums(const PairsTask& task, const PointTile<Model, T>& x, int64_t x_row, const PointTile<Model, T>& y,
          int64_t y_row, double* sum) {
    const Differences<Model::scaled> pair{x.scale, y.scale};
    pair_block(pair, x.space, x_row, x.count, y.space, y_row, y.count, task.dim, sum, tile);
}

template <class Model, class T>
void forward(const PairsTask& task, int64_t row, int64_t column) {
    const PointTile<Model, T> x(task, task.x, row, smaller(task.x.count, row + tile));
    const int64_t last = smaller(task.y.count, column + pairs_columns);
    for (int64_t first = column; first < last; first += tile) {
        const PointTile<Model, T> y(task, task.y, first, smaller(last, first + tile));
        alignas(64) double sum[tile * tile];
        sums(task, x, task.x.row, y, task.y.row, sum);
        for (int64_t i = 0; i < x.count; ++i) {
            const auto point = x.one(i);
            T* out = static_cast<T*>(task.out) + (row + i) * task.out_row + first;
            for (int64_t j = 0; j < y.count; j += width) {
                const typename Model::template Pair<Doubles> pair(task.curvature, point, y.several(j),
                                                                  load_at(sum + i * tile, j, y.count));
                const Doubles d = pair.distance();
                store_at(out, j, y.count, task.squared ? d * d : d);
            }
        }
    }
}

// gradient[i] += the sum over points b of other[i] * (b - a[i]) for a slice of coordinates, each point times
// its scale.
template <bool scaled, class T, int M>
inline void accumulate(const T* const* a, const double* a_scale, const T* b, int64_t b_row,
                       const double* b_scale, int64_t b_count, const double* const* other, int64_t slice,
                       double* const* gradient) {
    constexpr int N = 2;
    for (int64_t at = 0; at < slice; at += N * width) {
        Doubles own[M][N], sum[M][N];
        const auto load_pair = [&](const T* p, double scale, Doubles* v) {
            for (int n = 0; n < N; ++n)
                v[n] = at + n * width < slice
                           ? Differences<scaled>::times(load_at(p, at + n * width, slice), scale)
                           : Doubles{};
        };
        for (int i = 0; i < M; ++i) {
            load_pair(a[i], a_scale[i], own[i]);
            for (int n = 0; n < N; ++n) sum[i][n] = Doubles{};
        }
        for (int64_t j = 0; j < b_count; ++j) {
            Doubles v[N];
            load_pair(b + j * b_row, b_scale[j], v);
            for (int i = 0; i < M; ++i) {
                const Doubles k = splat<double, width>(other[i][j]);
                for (int n = 0; n < N; ++n) sum[i][n] = multiply_add(k, v[n] - own[i][n], sum[i][n]);
            }
        }
        for (int i = 0; i < M; ++i)
            for (int n = 0; n < N; ++n) {
                const int64_t j = at + n * width;
                if (j < slice)
                    store<double, width>(gradient[i] + j, load_doubles(gradient[i] + j) + sum[i][n]);
            }
    }
}

// The gradients of one tile of points of side x; the other side's come from a call with the sides changed.
template <class Model, class T>
void vjp(const PairsTask& task, int64_t first_row, int64_t row_count) {
    alignas(64) double held[capacity + 64 * width];
    alignas(64) double sum[tile * tile], other[tile * tile];
    const int64_t slice = smaller(capacity, round_up(task.dim, width));
    const PointTile<Model, T> x(task, task.x, first_row, first_row + row_count);
    // Rows longer than what can be held: the sums are made again for every slice.
    for (int64_t from = 0; from < task.dim; from += slice) {
        const int64_t count = smaller(slice, task.dim - from);
        double own[tile] = {}, curvature[tile] = {};
        for (int64_t i = 0; i < row_count * slice; ++i) held[i] = 0;
        for (int64_t first = 0; first < task.y.count; first += tile) {
            const PointTile<Model, T> y(task, task.y, first, smaller(task.y.count, first + tile));
            sums(task, x, task.x.row, y, task.y.row, sum);
            for (int64_t i = 0; i < x.count; ++i) {
                const auto point = x.one(i);
                const T* g = static_cast<const T*>(task.g) + (first_row + i) * task.g_x + first * task.g_y;
                Doubles by_own{}, by_curvature{};
                for (int64_t j = 0; j < y.count; j += width) {
                    const typename Model::template Pair<Doubles> pair(task.curvature, point, y.several(j),
                                                                      load_at(sum + i * tile, j, y.count));
                    Doubles cot{};
                    for (int64_t l = 0; l < smaller(width, y.count - j); ++l)
                        cot[l] = static_cast<double>(g[(j + l) * task.g_y]);
                    if (task.squared) cot *= 2.0 * pair.distance();
                    auto slope = pair.slopes(cot);
                    // lanes past the last point hold nothing
                    if (y.count - j < width)
                        for (int64_t l = y.count - j; l < width; ++l) slope.own[l] = slope.curvature[l] = 0;
                    store<double, width>(other + i * tile + j, slope.other);
                    by_own += slope.own;
                    by_curvature += slope.curvature;
                }
                own[i] += horo::HORO_ISA_NAMESPACE::sum<double, width>(by_own);
                curvature[i] += horo::HORO_ISA_NAMESPACE::sum<double, width>(by_curvature);
            }
            constexpr int M = 4;
            const T* a[M];
            const double* k[M];
            double* gradient[M];
            for (int64_t i = 0; i < x.count;) {
                const bool whole = x.count - i >= M;
                const int count_a = whole ? M : 1;
                for (int m = 0; m < count_a; ++m) {
                    a[m] = x.space + (i + m) * task.x.row + from;
                    k[m] = other + (i + m) * tile;
                    gradient[m] = held + (i + m) * slice;
                }
                (whole ? accumulate<Model::scaled, T, M>
                       : accumulate<Model::scaled, T, 1>)(a, x.scale + i, y.space + from, task.y.row, y.scale,
                                                          y.count, k, count, gradient);
                i += count_a;
            }
        }
        for (int64_t i = 0; i < x.count; ++i) {
            if (task.gradient) {
                T* out = static_cast<T*>(task.gradient) + (first_row + i) * task.gradient_row;
                if (Model::ambient && from == 0) *out = 0;
                out += from + Model::ambient;
                const T* p = x.space + i * task.x.row + from;
                for (int64_t j = 0; j < count; j += width)
                    store_at(out, j, count,
                             own[i] * x.scale[i] * load_at(p, j, count) + load_doubles(held + i * slice + j));
            }
            if (task.g_curvature && from == 0)
                static_cast<T*>(task.g_curvature)[first_row + i] = static_cast<T>(curvature[i]);
        }
        if (!task.gradient) break;
    }
}

}  // namespace

#define HORO_STORED(function, Model) \
    { function<Model, float>, function<Model, double>, function<Model, ShortBf16>, function<Model, ShortF16> }
#define HORO_PAIRS_KERNELS(function)                                                                 \
    {                                                                                                \
        HORO_STORED(function, poincare::PairDistance), HORO_STORED(function, lorentz::PairDistance), \
            HORO_STORED(function, klein::PairDistance)                                               \
    }
const PairsKernel pairs_kernel = {HORO_PAIRS_KERNELS(forward), HORO_PAIRS_KERNELS(vjp)};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
