// Distances between all points of two sets and their gradients, see geometry/pairs.h; Euclidean distances,
// Gromov products and delta. Everything is summed in double, as on the CPU; nothing larger than a tile is
// held, so a row of gradients longer than a block holds makes the sums of its pairs again for every slice.
#include "abi/cuda_kernels.h"
#include "dot_sum.cuh"
#include "geometry/pairs.h"
#include "kernels.h"
#include "row_pairs.cuh"

namespace horo::cuda {
namespace {

// ---- The points of a tile

template <class Model, int count>
struct PointTile {
    typename Model::template Point<double> point[count];
    double scale[count];
};

template <class Model, class T>
HORO_DEVICE RowSet<T> coordinates(const PairsSide& side, T type) {
    return {type.in(side.points, Model::ambient), side.row, side.count};
}

// By all threads; what is beyond the last point is the origin. As many lanes a point for every tile: the
// squares of equal points must be equal to the last bit, and the order of a sum shows in it. Of numbers
// stored shorter than double the excess is nothing beside what their own rounding is.
template <class T, class Model, int count>
HORO_DEVICE void load_points(const PairsTask& task, T type, const PairsSide& side, int64_t first,
                             PointTile<Model, count>& to) {
    constexpr int lanes = 4;
    static_assert(count * lanes <= tile_threads);
    const int i = static_cast<int>(threadIdx.x) / lanes, lane = static_cast<int>(threadIdx.x) % lanes;
    const bool live = i < count && first + i < side.count;
    const auto p = type.in(side.points, (live ? first + i : 0) * side.row + Model::ambient);
    constexpr bool exact = T::wide || Model::precise;
    const int64_t dim = live ? task.dim : 0;
    const horo::Sum<double> xx = square_sum<exact, lanes>(p, dim, lane);
    const double scale = Model::scale(square_root<double>(xx.hi));
    double excess = 0;
    if constexpr (Model::scaled && T::wide) {
        DotSum<true> sum;
        sum.hi = lane == 0 ? -1.0 : 0.0;
        for (int64_t j = lane; j < dim; j += lanes) {
            const double v = rounded_product(static_cast<double>(read(p + j)), scale);
            sum.add(v, v);
        }
        excess = sum.template total<lanes>().hi;
    }
    if (lane == 0 && i < count) {
        to.point[i] = Model::point(task.curvature, xx, excess);
        to.scale[i] = scale;
    }
}

// The squared difference of coordinates times the scale of their rows, rounded before they are subtracted.
template <bool scaled>
struct Differences : SquaredDifferences {
    const double *x, *y;
    HORO_DEVICE double left(double v, int64_t i) const { return scaled ? rounded_product(v, x[i]) : v; }
    HORO_DEVICE double right(double v, int64_t j) const { return scaled ? rounded_product(v, y[j]) : v; }
};

template <class Model>
HORO_DEVICE Differences<Model::scaled> differences(const double* x, const double* y) {
    Differences<Model::scaled> pair{};
    pair.x = x;
    pair.y = y;
    return pair;
}

// ---- Distances

template <class Model, class T, int R>
HORO_KERNEL(tile_threads)
cdist_kernel(HORO_CONSTANT PairsTask task, T type) {
    constexpr int MR = R, NR = R;
    __shared__ PointTile<Model, tile_side * MR> x;
    __shared__ PointTile<Model, tile_side * NR> y;
    __shared__ TileStrips<double, MR, NR> strips;
    const TileRange tile = tile_range<MR, NR>(static_cast<int64_t>(blockIdx.x), task.y.count, task.dim);
    load_points(task, type, task.x, tile.m, x);
    load_points(task, type, task.y, tile.n, y);
    __syncthreads();
    double sum[MR][NR];
    pair_sums(coordinates<Model>(task.x, type), coordinates<Model>(task.y, type),
              differences<Model>(x.scale, y.scale), tile.m, tile.n, task.dim, strips, sum);
    const int thread = static_cast<int>(threadIdx.x);
    const int first = thread / tile_side * MR, across = thread % tile_side * NR;
#pragma unroll
    for (int i = 0; i < MR; ++i) {
        const int64_t m = tile.m + first + i;
        double d[NR];  // side by side, also of what is beyond the last point
#pragma unroll
        for (int j = 0; j < NR; ++j) {
            const typename Model::template Pair<double> pair(task.curvature, x.point[first + i],
                                                             y.point[across + j], sum[i][j]);
            d[j] = pair.distance();
        }
#pragma unroll
        for (int j = 0; j < NR; ++j) {
            const int64_t n = tile.n + across + j;
            if (m < task.x.count && n < task.y.count)
                write(type.out(task.out, m * task.out_row + n), task.squared ? d[j] * d[j] : d[j]);
        }
    }
}

template <class Model, class T>
int32_t cdist(const PairsTask& task, int32_t dtype, void* stream) {
    const int64_t n = task.x.count, m = task.y.count;
    return by_tile(n, m, [&](auto R) {
        return launch(stream, tile_count<R, R>(n, m), tile_threads, cdist_kernel<Model, T, R>, task,
                      T(dtype));
    });
}

// ---- Gradients: a block has the gradients of some points of side x, a slice of their coordinates

constexpr int gradient_rows = 32, gradient_slice = 128;

// gradient += sum over points of side y of other * (y - x)
template <class T>
struct Combine : PlainWork {
    static constexpr bool a_by_k = true, b_by_n = true;
    static constexpr int MR = gradient_rows / tile_side, NR = gradient_slice / tile_side;
    const double (*other)[64];
    const double* scale;
    typename T::In y;  // the slice of the first point
    int64_t stride, width;
    double own[MR][NR];

    HORO_DEVICE double a(int64_t m, int64_t k) const { return other[m][k]; }
    HORO_DEVICE double b(int64_t k, int64_t n) const {
        return n < width ? rounded_product(read(y + k * stride + n), scale[k]) : 0.0;
    }
    HORO_DEVICE double step(int i, int j, double x, double v, double sum) const {
        return sum + x * (v - own[i][j]);
    }
};

template <class Model, class T>
HORO_KERNEL(tile_threads)
cdist_gradient_kernel(HORO_CONSTANT PairsTask task, T type) {
    constexpr int MR = 2, NR = 4, M = tile_side * MR, N = tile_side * NR;
    using Wide = Combine<T>;
    static_assert(Wide::MR == MR && N == 64);
    union Strips {
        TileStrips<double, MR, NR> sums;
        TileStrips<double, MR, Wide::NR> combine;
    };
    __shared__ PointTile<Model, M> x;
    __shared__ PointTile<Model, N> y;
    __shared__ double other[M][N];
    __shared__ Strips strips;
    const int64_t slices = parts(task.dim, gradient_slice), block = static_cast<int64_t>(blockIdx.x);
    const int64_t row = block / slices * M, from = block % slices * gradient_slice;
    if (!task.gradient && from > 0) return;
    const RowSet<T> left = coordinates<Model>(task.x, type), right = coordinates<Model>(task.y, type);
    const int thread = static_cast<int>(threadIdx.x);
    const int first = thread / tile_side * MR, across = thread % tile_side * NR;
    const int coordinate = thread % tile_side * Wide::NR;
    load_points(task, type, task.x, row, x);
    __syncthreads();
    Wide wide{};
    wide.other = other;
    wide.scale = y.scale;
    wide.stride = right.stride;
    wide.width = task.dim - from < gradient_slice ? task.dim - from : gradient_slice;
    double gradient[MR][Wide::NR], by_own[MR], curvature[MR];
#pragma unroll
    for (int i = 0; i < MR; ++i) {
        by_own[i] = curvature[i] = 0;
#pragma unroll
        for (int j = 0; j < Wide::NR; ++j) {
            gradient[i][j] = 0;
            const double v = coordinate + j < wide.width && task.gradient
                                 ? left.at(row + first + i, from + coordinate + j)
                                 : 0.0;
            wide.own[i][j] = rounded_product(v, x.scale[first + i]);
        }
    }
    for (int64_t begin = 0; begin < task.y.count; begin += N) {
        __syncthreads();  // the tile before
        load_points(task, type, task.y, begin, y);
        __syncthreads();
        double sum[MR][NR];
        pair_sums(left, right, differences<Model>(x.scale, y.scale), row, begin, task.dim, strips.sums, sum);
#pragma unroll
        for (int i = 0; i < MR; ++i) {
            const int64_t m = row + first + i;
#pragma unroll
            for (int j = 0; j < NR; ++j) {
                const int64_t n = begin + across + j;
                double by_other = 0;
                if (m < task.x.count && n < task.y.count) {
                    const typename Model::template Pair<double> pair(task.curvature, x.point[first + i],
                                                                     y.point[across + j], sum[i][j]);
                    double g = read(type.in(task.g, m * task.g_x + n * task.g_y));
                    if (task.squared) g *= 2.0 * pair.distance();
                    const PairSlopes<double> slope = pair.slopes(g);
                    by_other = slope.other;
                    by_own[i] += slope.own;
                    curvature[i] += slope.curvature;
                }
                other[first + i][across + j] = by_other;
            }
        }
        __syncthreads();
        if (!task.gradient) continue;
        wide.y = right.first + begin * right.stride + from;
        wide.range = {0, 0, 0, task.y.count - begin < N ? task.y.count - begin : N};
        tile_sums<Wide>(wide, strips.combine, gradient);
    }
#pragma unroll
    for (int i = 0; i < MR; ++i) {
        const double along = lanes_sum<tile_side>(by_own[i]), by_c = lanes_sum<tile_side>(curvature[i]);
        const int64_t m = row + first + i;
        if (m >= task.x.count) continue;
        if (task.g_curvature && from == 0 && across == 0) write(type.out(task.g_curvature, m), by_c);
        if (!task.gradient) continue;
        auto to = type.out(task.gradient, m * task.gradient_row);
        if (Model::ambient && from == 0 && across == 0) write(to, 0);
        to += Model::ambient + from;
#pragma unroll
        for (int j = 0; j < Wide::NR; ++j)
            if (coordinate + j < wide.width)
                write(to + coordinate + j, along * wide.own[i][j] + gradient[i][j]);
    }
}

template <class Model, class T>
int32_t cdist_vjp(const PairsTask& task, int32_t dtype, void* stream) {
    return launch(stream, parts(task.x.count, gradient_rows) * parts(task.dim, gradient_slice), tile_threads,
                  cdist_gradient_kernel<Model, T>, task, T(dtype));
}

using PairsFunction = int32_t (*)(const PairsTask&, int32_t, void*);
#define HORO_BY_TYPE(function, Model) \
    { function<Model, Float32>, function<Model, Float64>, function<Model, Half> }
#define HORO_BY_MODEL(function)                                                                        \
    {                                                                                                  \
        HORO_BY_TYPE(function, poincare::PairDistance), HORO_BY_TYPE(function, lorentz::PairDistance), \
            HORO_BY_TYPE(function, klein::PairDistance),                                               \
    }

int32_t cdist_of(int32_t model, int32_t dtype, const PairsTask& task, void* stream) {
    static constexpr PairsFunction table[models][stored_kinds] = HORO_BY_MODEL(cdist);
    return table[model][stored_kind(dtype)](task, dtype, stream);
}

int32_t cdist_vjp_of(int32_t model, int32_t dtype, const PairsTask& task, void* stream) {
    static constexpr PairsFunction table[models][stored_kinds] = HORO_BY_MODEL(cdist_vjp);
    return table[model][stored_kind(dtype)](task, dtype, stream);
}

// ---- Euclidean distances: the tiles on and above the diagonal, and their mirror images

template <class T, int R>
HORO_KERNEL(tile_threads)
distance_kernel(RowSet<T> x, int64_t dim, double* out) {
    constexpr int MR = R, NR = R;
    __shared__ TileStrips<double, MR, NR> strips;
    const TileRange tile = tile_range<MR, NR>(static_cast<int64_t>(blockIdx.x), x.count, dim);
    if (tile.m > tile.n) return;
    double sum[MR][NR];
    pair_sums(x, x, SquaredDifferences{}, tile.m, tile.n, dim, strips, sum);
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < MR; ++i) {
        const int64_t m = tile.m + thread / tile_side * MR + i;
#pragma unroll
        for (int j = 0; j < NR; ++j) {
            const int64_t n = tile.n + thread % tile_side * NR + j;
            if (m > n || n >= x.count) continue;
            const double d = square_root<double>(sum[i][j]);
            put(out + m * x.count + n, d);
            put(out + n * x.count + m, d);
        }
    }
}

template <class T>
int32_t distance(int32_t dtype, int64_t rows, int64_t dim, const void* x, int64_t stride, double* out,
                 void* stream) {
    return by_tile(rows, rows, [&](auto R) {
        return launch(stream, tile_count<R, R>(rows, rows), tile_threads, distance_kernel<T, R>,
                      RowSet<T>{T(dtype).in(x), stride, rows}, dim, out);
    });
}

int32_t pairwise_distance(int32_t dtype, int64_t rows, int64_t dim, const void* x, int64_t stride,
                          double* out, void* stream) {
    const auto run = dtype == HORO_F64 ? distance<Float64> : distance<Float32>;
    return run(dtype, rows, dim, x, stride, out, stream);
}

// ---- Gromov products and delta

constexpr int threads = 256;

HORO_KERNEL(threads)
base_row_kernel(int64_t n, const double* distances, int64_t base, double* base_row) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i < n) put(base_row + i, get(distances + base * n + i));
}

HORO_KERNEL(threads)
gromov_kernel(int64_t n, const double* distances, const double* base, double* out) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i < n * n) put(out + i, 0.5 * ((get(base + i / n) + get(base + i % n)) - get(distances + i)));
}

int32_t gromov_product(int64_t n, const double* distances, int64_t base, double* out, double* base_row,
                       void* stream) {
    HORO_TRY(launch(stream, parts(n, threads), threads, base_row_kernel, n, distances, base, base_row));
    return launch(stream, parts(n * n, threads), threads, gromov_kernel, n, distances, base_row, out);
}

// NaN if one of the two is.
HORO_DEVICE double larger(double a, double b) { return a != a || a > b ? a : b; }

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

struct MaxMin : Products {
    HORO_DEVICE double step(double a, double b, double most) const {
        const double least = a < b ? a : b;
        return least > most ? least : most;
    }
};

HORO_DEVICE double block_largest(double value) {
    for (int mask = warp / 2; mask; mask /= 2)
        value = larger(value, __shfl_xor_sync(0xffffffff, value, mask));
    return block_combine<tile_threads>(value, [](double a, double b) { return larger(a, b); });
}

// most[block] = the largest max_k min(g[i, k], g[k, j]) - g[i, j] of the block's tiles; NaN if there is one.
HORO_KERNEL(tile_threads)
delta_kernel(int64_t n, const double* gromov, int64_t blocks, double* most) {
    constexpr int MR = 4, NR = 4;
    __shared__ TileStrips<double, MR, NR> strips;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t tiles = parts(n, tile_side * MR) * parts(n, tile_side * NR);
    RowPairs<Float64, MaxMin> work{};
    work.rows = work.columns = {gromov, n, n};
    double best = minus_infinity;
    for (int64_t t = static_cast<int64_t>(blockIdx.x); t < tiles; t += blocks) {
        work.range = tile_range<MR, NR>(t, n, n);
        if (work.range.m > work.range.n) continue;
        double value[MR][NR];
#pragma unroll
        for (int i = 0; i < MR; ++i)
#pragma unroll
            for (int j = 0; j < NR; ++j) value[i][j] = minus_infinity;
        // a strip's padding beyond n must not count
        const int64_t whole = n / tile_depth * tile_depth;
        work.range.k_end = whole;
        tile_sums<RowPairs<Float64, MaxMin>>(work, strips, value);
#pragma unroll
        for (int i = 0; i < MR; ++i) {
            const int64_t m = work.range.m + thread / tile_side * MR + i;
#pragma unroll
            for (int j = 0; j < NR; ++j) {
                const int64_t c = work.range.n + thread % tile_side * NR + j;
                if (m >= n || c >= n) continue;
                for (int64_t k = whole; k < n; ++k)
                    value[i][j] =
                        work.step(i, j, get(gromov + m * n + k), get(gromov + c * n + k), value[i][j]);
                const double own = get(gromov + m * n + c), above = value[i][j] - own;
                best = own != own ? own : above > best ? above : best;  // a NaN stays
            }
        }
    }
    best = block_largest(best);
    if (thread == 0) put(most + blockIdx.x, best);
}

HORO_KERNEL(tile_threads)
largest_kernel(int64_t n, double at_least, double* most) {
    double best = at_least;
    for (int64_t i = threadIdx.x; i < n; i += tile_threads) best = larger(best, get(most + i));
    best = block_largest(best);
    if (threadIdx.x == 0) put(most, best);
}

int32_t delta(int64_t n, const double* gromov, double at_least, double* workspace, void* stream) {
    int64_t blocks = tile_count<4, 4>(n, n);
    if (blocks > 2 * n) blocks = 2 * n;
    HORO_TRY(launch(stream, blocks, tile_threads, delta_kernel, n, gromov, blocks, workspace));
    return launch(stream, 1, tile_threads, largest_kernel, blocks, at_least > 0 ? at_least : 0.0, workspace);
}

}  // namespace

const CudaPairs& pairs() {
    static const CudaPairs table = {cdist_of, cdist_vjp_of, pairwise_distance, gromov_product, delta};
    return table;
}

}  // namespace horo::cuda
