// Maps of rows of points by a matrix and their gradients, see geometry/linear.h. All in double, as on the
// CPU.
#include "abi/cuda_kernels.h"
#include "dot_sum.cuh"
#include "geometry/linear.h"
#include "kernels.h"
#include "row_pairs.cuh"

namespace horo::cuda {
namespace {

constexpr int column_tile = 64;

template <class Op, class T>
HORO_HD RowSet<T> points_of(const LinearTask& task, T type) {
    return {type.in(task.x, Op::ambient_in), task.x_row, task.rows};
}
template <class Op, class T>
HORO_HD RowSet<T> matrix_of(const LinearTask& task, T type) {
    return {type.in(task.m, Op::time_column), task.m_row, task.p};
}

// The numbers of `count` rows from `first` on, by all threads; a row beyond the last is zero.
template <class Op, class T, int count>
HORO_DEVICE void load_rows(const LinearTask& task, T type, int64_t first, typename Op::Row (&to)[count]) {
    constexpr int lanes = tile_threads / count;
    const RowSet<T> x = points_of<Op>(task, type);
    const int i = static_cast<int>(threadIdx.x) / lanes, lane = static_cast<int>(threadIdx.x) % lanes;
    const bool live = first + i < x.count;
    const horo::Sum<double> xx =
        square_sum<T::wide, lanes>(x.first + (live ? first + i : 0) * x.stride, live ? task.dim : 0, lane);
    if (lane == 0) to[i] = typename Op::Row(task.curvature, xx);
}

template <class Op>
struct Columns {
    typename Op::template Column<double> column[column_tile];
    double bias[column_tile], time[column_tile];
};

template <class Op, class T>
HORO_DEVICE void load_columns(const LinearTask& task, T type, int64_t first, Columns<Op>& to) {
    constexpr int lanes = tile_threads / column_tile;
    const RowSet<T> m = matrix_of<Op>(task, type);
    const int i = static_cast<int>(threadIdx.x) / lanes, lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t n = first + i;
    const bool live = n < m.count;
    double zz = 0;
    if constexpr (Op::normed)
        zz = square_sum<false, lanes>(m.first + (live ? n : 0) * m.stride, live ? task.dim : 0, lane).hi;
    if (lane > 0) return;
    to.bias[i] = Op::bias && task.bias && live ? read(type.in(task.bias, n)) : 0.0;
    if constexpr (Op::time_column) to.time[i] = live ? read(type.in(task.m, n * task.m_row)) : 0.0;
    to.column[i] = typename Op::template Column<double>(task.curvature, zz, to.bias[i]);
}

// The product of a row and a column with what belongs to it.
template <class Op>
HORO_DEVICE double completed(const typename Op::Row& row, const Columns<Op>& columns, int n, double product) {
    if constexpr (Op::time_column) return row.x0 * columns.time[n] + product + columns.bias[n];
    return product;
}

// ---- Forward: 32 rows, and 64 columns or, where a row's values are summed, one tile of columns after the
// other; twice if there is more than one.

template <class Op, class T>
HORO_KERNEL(tile_threads)
linear_kernel(HORO_CONSTANT LinearTask task, T type) {
    constexpr int MR = 2, NR = 4;
    __shared__ typename Op::Row rows[tile_side * MR];
    __shared__ Columns<Op> columns;
    __shared__ TileStrips<double, MR, NR> strips;
    const int thread = static_cast<int>(threadIdx.x);
    const int first = thread / tile_side * MR, across = thread % tile_side * NR;
    const int64_t tiles = parts(task.p, column_tile), block = static_cast<int64_t>(blockIdx.x);
    const int64_t row = (Op::row_sums ? block : block / tiles) * (tile_side * MR);
    const int64_t steps = !Op::row_sums ? 1 : tiles > 1 ? 2 * tiles : 1;
    load_rows<Op>(task, type, row, rows);
    double total[MR] = {};
    for (int64_t s = 0; s < steps; ++s) {
        const int64_t begin = (Op::row_sums ? s % tiles : block % tiles) * column_tile;
        __syncthreads();  // the tile before
        load_columns<Op>(task, type, begin, columns);
        __syncthreads();
        double value[MR][NR];
        pair_sums(points_of<Op>(task, type), matrix_of<Op>(task, type), Products{}, row, begin, task.dim,
                  strips, value);
#pragma unroll
        for (int i = 0; i < MR; ++i)
#pragma unroll
            for (int j = 0; j < NR; ++j) {
                const double product = completed<Op>(rows[first + i], columns, across + j, value[i][j]);
                value[i][j] = Op::value(rows[first + i], columns.column[across + j], product);
            }
        if constexpr (Op::row_sums) {
            if (s < tiles) {
#pragma unroll
                for (int i = 0; i < MR; ++i) {
#pragma unroll
                    for (int j = 0; j < NR; ++j)
                        if (begin + across + j < task.p) total[i] += value[i][j] * value[i][j];
                    if (s == tiles - 1) total[i] = lanes_sum<tile_side>(total[i]);
                }
                if (steps > 1) continue;
            }
        }
#pragma unroll
        for (int i = 0; i < MR; ++i) {
            const int64_t m = row + first + i;
            if (m >= task.rows) continue;
            const auto to = type.out(task.out, m * task.out_row);
            if constexpr (Op::row_sums) {
                const typename Op::Result result(rows[first + i], total[i]);
                if (Op::ambient_out && begin == 0 && across == 0) write(to, result.time);
#pragma unroll
                for (int j = 0; j < NR; ++j) value[i][j] = result.out(value[i][j]);
            }
#pragma unroll
            for (int j = 0; j < NR; ++j)
                if (begin + across + j < task.p)
                    write(to + Op::ambient_out + begin + across + j, value[i][j]);
        }
    }
}

template <class Op, class T>
int32_t forward(const LinearTask& task, int32_t dtype, void* stream) {
    const int64_t tiles = Op::row_sums ? 1 : parts(task.p, column_tile);
    return launch(stream, parts(task.rows, 32) * tiles, tile_threads, linear_kernel<Op, T>, task, T(dtype));
}

// ---- Gradients. First the products, float64, into the workspace.

template <class T, int R>
HORO_KERNEL(tile_threads)
products_kernel(RowSet<T> x, RowSet<T> m, int64_t dim, double* products) {
    constexpr int MR = R, NR = R;
    __shared__ TileStrips<double, MR, NR> strips;
    const int thread = static_cast<int>(threadIdx.x);
    const TileRange tile = tile_range<MR, NR>(static_cast<int64_t>(blockIdx.x), m.count, dim);
    double sum[MR][NR];
    pair_sums(x, m, Products{}, tile.m, tile.n, dim, strips, sum);
#pragma unroll
    for (int i = 0; i < MR; ++i)
#pragma unroll
        for (int j = 0; j < NR; ++j) {
            const int64_t r = tile.m + thread / tile_side * MR + i, k = tile.n + thread % tile_side * NR + j;
            if (r < x.count && k < m.count) put(products + r * m.count + k, sum[i][j]);
        }
}

// What the workspace holds of a call.
struct LinearScratch {
    double* products;  // (rows, p), then their cotangents
    double* times;     // rows
    double* along;     // rows: the part of a point's gradient along the point
    double* partial;   // (chunks, 2, p), of |z| and of the bias; later the first p: along the matrix rows

    LinearScratch(const LinearTask& task, double* workspace)
        : products(workspace),
          times(products + task.rows * task.p),
          along(times + task.rows),
          partial(along + task.rows) {}
};

// Then their cotangents, and what else the points' and the columns' gradients are made of: a block has a
// chunk of rows, a warp every eighth of them, a lane two columns of a tile.
template <class Op, class T>
HORO_KERNEL(tile_threads)
cotangents_kernel(HORO_CONSTANT LinearTask task, LinearScratch scratch, T type) {
    constexpr int warps = tile_threads / warp, rows_of_warp = linear_chunk / warps, held = column_tile / warp;
    constexpr int shares = Op::shares > 0 ? Op::shares : 1;
    __shared__ typename Op::Row rows[linear_chunk];
    __shared__ Columns<Op> columns;
    __shared__ horo::Sum<double> share[linear_chunk][shares];
    __shared__ double by_row[linear_chunk], by_curvature[linear_chunk], by_time[linear_chunk];
    __shared__ double by_column[2][warps][column_tile];
    const int thread = static_cast<int>(threadIdx.x), lane = thread % warp, w = thread / warp;
    const int64_t chunk = static_cast<int64_t>(blockIdx.x), first = chunk * linear_chunk;
    load_rows<Op>(task, type, first, rows);
    if (thread < linear_chunk) {
        for (int i = 0; i < shares; ++i) share[thread][i] = {};
        by_row[thread] = by_curvature[thread] = by_time[thread] = 0;
    }
    const int64_t tiles = parts(task.p, column_tile);
    constexpr bool summed = Op::shares > 0;
    for (int64_t s = summed ? 0 : tiles; s < 2 * tiles; ++s) {
        const int64_t begin = s % tiles * column_tile;
        __syncthreads();  // the tile before
        load_columns<Op>(task, type, begin, columns);
        __syncthreads();
        const bool last = s >= tiles;
        double norm[held] = {}, bias[held] = {};
        for (int q = 0; q < rows_of_warp; ++q) {
            const int r = q * warps + w;
            const bool live = first + r < task.rows;
            double* products = scratch.products + (first + r) * task.p + begin;
            const auto g = type.in(task.g, (first + r) * task.g_row);
            horo::Sum<double> part[shares] = {};
            double row = 0, curvature = 0, time = 0;
            if (!last) {
                if constexpr (summed) {
#pragma unroll
                    for (int h = 0; h < held; ++h) {
                        const int n = h * warp + lane;
                        if (!live || begin + n >= task.p) continue;
                        const double product = completed<Op>(rows[r], columns, n, get(products + n));
                        put(products + n, product);
                        Op::reduce(rows[r], columns.column[n], product, read(g + Op::ambient_out + begin + n),
                                   part);
                    }
                    for (int i = 0; i < shares; ++i) {
                        part[i] = lanes_sum<warp>(part[i]);
                        if (lane == 0) share[r][i] = share[r][i] + part[i];
                    }
                }
                continue;
            }
            if (live) {
                const typename Op::Back back(rows[r], share[r], read(g));
#pragma unroll
                for (int h = 0; h < held; ++h) {
                    const int n = h * warp + lane;
                    if (begin + n >= task.p) continue;
                    double product = get(products + n);
                    if constexpr (!summed) product = completed<Op>(rows[r], columns, n, product);
                    const LinearSlopes<double> slope =
                        back.slopes(columns.column[n], product, read(g + Op::ambient_out + begin + n),
                                    task.g_curvature != nullptr);
                    put(products + n, slope.product);
                    norm[h] += slope.norm;
                    bias[h] += slope.bias;
                    row += slope.row;
                    curvature += slope.curvature;
                    if constexpr (Op::time_column) time += slope.product * columns.time[n];
                }
            }
            if constexpr (Op::normed) {
                row = warp_sum(row);
                curvature = warp_sum(curvature);
                if (lane == 0) {
                    by_row[r] += row;
                    by_curvature[r] += curvature;
                }
            }
            if constexpr (Op::time_column) {
                time = warp_sum(time);
                if (lane == 0) by_time[r] += time;
            }
        }
        if constexpr (Op::normed || Op::bias) {
            if (!last) continue;
#pragma unroll
            for (int h = 0; h < held; ++h) {
                by_column[0][w][h * warp + lane] = norm[h];
                by_column[1][w][h * warp + lane] = bias[h];
            }
            __syncthreads();
            const int n = thread % column_tile, which = thread / column_tile;
            if (which < 2 && begin + n < task.p) {
                double sum = 0;
                for (int i = 0; i < warps; ++i) sum += by_column[which][i][n];
                put(scratch.partial + (2 * chunk + which) * task.p + begin + n, sum);
            }
        }
    }
    __syncthreads();
    const int64_t r = first + thread;
    if (thread >= linear_chunk || r >= task.rows) return;
    const auto g = type.in(task.g, r * task.g_row);
    const typename Op::Back back(rows[thread], share[thread], read(g));
    put(scratch.along + r, back.along_x(by_row[thread], by_time[thread]));
    if constexpr (Op::time_column) put(scratch.times + r, rows[thread].x0);
    if (task.g_curvature)
        write(type.out(task.g_curvature, r),
              back.curvature(by_row[thread], by_curvature[thread], by_time[thread]));
    if (Op::ambient_in && task.g_x) write(type.out(task.g_x, r * task.g_x_row), 0);
}

// g_x = cotangents m + along x
template <class T, int R>
struct PointGradient {
    using Element = double;
    using Sum = double;
    static constexpr bool a_by_k = true, b_by_n = true;
    static constexpr int MR = R, NR = R;
    RowSet<T> x, m;
    int64_t dim;
    const double *cotangents, *along;
    typename T::Out g_x;
    int64_t g_x_row;

    struct Work : PlainWork {
        const PointGradient* s;
        HORO_DEVICE double a(int64_t r, int64_t k) const {
            return r < s->x.count ? get(s->cotangents + r * s->m.count + k) : 0.0;
        }
        HORO_DEVICE double b(int64_t k, int64_t j) const { return j < s->dim ? s->m.at(k, j) : 0.0; }
        HORO_DEVICE void done(int64_t r, int64_t j, double sum) const {
            if (r < s->x.count && j < s->dim)
                write(s->g_x + r * s->g_x_row + j, sum + get(s->along + r) * s->x.at(r, j));
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        Work w{};
        w.range = tile_range<MR, NR>(block, dim, m.count);
        w.s = this;
        return w;
    }
};

// Sums the partial numbers of the columns, a warp each.
template <class T>
HORO_KERNEL(tile_threads)
columns_kernel(RowSet<T> m, int64_t dim, int64_t chunks, double* partial, bool normed,
               typename T::Out g_bias) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    const int64_t k = (static_cast<int64_t>(blockIdx.x) * tile_threads + threadIdx.x) / warp;
    const bool live = k < m.count;
    double norm = 0, bias = 0;
    for (int64_t c = lane; c < chunks && live; c += warp) {
        norm += get(partial + 2 * c * m.count + k);
        bias += get(partial + (2 * c + 1) * m.count + k);
    }
    norm = warp_sum(norm);
    bias = warp_sum(bias);
    const double zz =
        square_sum<false, warp>(m.first + (live ? k : 0) * m.stride, live && normed ? dim : 0, lane).hi;
    if (!live || lane > 0) return;
    if (g_bias) write(g_bias + k, bias);
    if (normed && chunks > 0) put(partial + k, zz == 0 ? 0.0 : norm / square_root<double>(zz));
}

// g_m = cotangents^T x + along m, the time before the coordinates of x if there is one
template <class T, int R>
struct MatrixGradient {
    using Element = double;
    using Sum = double;
    static constexpr bool a_by_k = false, b_by_n = true;
    static constexpr int MR = R, NR = R;
    RowSet<T> x, m;
    int64_t dim;
    const double *cotangents, *times, *along;  // times, along: null where there are none
    typename T::Out g_m;
    int64_t g_m_row;

    struct Work : PlainWork {
        const MatrixGradient* s;
        HORO_DEVICE double a(int64_t k, int64_t r) const {
            return k < s->m.count ? get(s->cotangents + r * s->m.count + k) : 0.0;
        }
        HORO_DEVICE double b(int64_t r, int64_t j) const {
            const int64_t i = j - (s->times ? 1 : 0);
            return i < 0 ? get(s->times + r) : i < s->dim ? s->x.at(r, i) : 0.0;
        }
        HORO_DEVICE void done(int64_t k, int64_t j, double sum) const {
            if (k >= s->m.count || j >= s->dim + (s->times ? 1 : 0)) return;
            if (s->along) sum += get(s->along + k) * s->m.at(k, j);
            write(s->g_m + k * s->g_m_row + j, sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        Work w{};
        w.range = tile_range<MR, NR>(block, dim + (times ? 1 : 0), x.count);
        w.s = this;
        return w;
    }
};

template <class Op, class T>
int32_t gradient(const LinearTask& task, int32_t dtype, double* workspace, void* stream) {
    const T type(dtype);
    const LinearScratch scratch(task, workspace);
    const RowSet<T> x = points_of<Op>(task, type), m = matrix_of<Op>(task, type);
    const int64_t chunks = parts(task.rows, linear_chunk);
    if (task.rows > 0) {
        HORO_TRY(by_tile(task.rows, task.p, [&](auto R) {
            return launch(stream, tile_count<R, R>(task.rows, task.p), tile_threads, products_kernel<T, R>, x,
                          m, task.dim, scratch.products);
        }));
        HORO_TRY(launch(stream, chunks, tile_threads, cotangents_kernel<Op, T>, task, scratch, type));
        if (task.g_x)
            HORO_TRY(by_tile(task.rows, task.dim, [&](auto R) {
                using G = PointGradient<T, R>;
                return launch(stream, tile_count<R, R>(task.rows, task.dim), tile_threads,
                              tile_kernel<G, R, R>,
                              G{x, m, task.dim, scratch.products, scratch.along,
                                type.out(task.g_x, Op::ambient_in), task.g_x_row});
            }));
    }
    if ((Op::normed && task.g_m) || task.g_bias)
        HORO_TRY(launch(stream, parts(task.p, tile_threads / warp), tile_threads, columns_kernel<T>, m,
                        task.dim, chunks, scratch.partial, Op::normed, type.out(task.g_bias)));
    if (!task.g_m) return 0;
    const int64_t width = task.dim + Op::time_column;
    return by_tile(task.p, width, [&](auto R) {
        using G = MatrixGradient<T, R>;
        return launch(
            stream, tile_count<R, R>(task.p, width), tile_threads, tile_kernel<G, R, R>,
            G{x, m, task.dim, scratch.products, Op::time_column ? scratch.times : nullptr,
              Op::normed && chunks > 0 ? scratch.partial : nullptr, type.out(task.g_m), task.g_m_row});
    });
}

#define HORO_BY_TYPE(function, Op) \
    { function<Op, Float32>, function<Op, Float64>, function<Op, Half> }
#define HORO_BY_OPERATION(function)                                                                    \
    {                                                                                                  \
        HORO_BY_TYPE(function, poincare::MobiusMatvec),                                                \
            HORO_BY_TYPE(function, poincare::PlaneDistance<true>),                                     \
            HORO_BY_TYPE(function, poincare::PlaneDistance<false>),                                    \
            HORO_BY_TYPE(function, poincare::FullyConnected), HORO_BY_TYPE(function, lorentz::Linear), \
            HORO_BY_TYPE(function, lorentz::PlaneDistance<true>),                                      \
            HORO_BY_TYPE(function, lorentz::PlaneDistance<false>),                                     \
    }

int32_t linear_of(int32_t op, int32_t dtype, const LinearTask& task, void* stream) {
    using Function = int32_t (*)(const LinearTask&, int32_t, void*);
    static constexpr Function table[linear_operations][stored_kinds] = HORO_BY_OPERATION(forward);
    return table[op][stored_kind(dtype)](task, dtype, stream);
}

int32_t linear_vjp_of(int32_t op, int32_t dtype, const LinearTask& task, double* workspace, void* stream) {
    using Function = int32_t (*)(const LinearTask&, int32_t, double*, void*);
    static constexpr Function table[linear_operations][stored_kinds] = HORO_BY_OPERATION(gradient);
    return table[op][stored_kind(dtype)](task, dtype, workspace, stream);
}

}  // namespace

const CudaLinear& linear() {
    static const CudaLinear table = {linear_of, linear_vjp_of};
    return table;
}

}  // namespace horo::cuda
