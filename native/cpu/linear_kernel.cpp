// Compiled once per instruction set: maps of rows of points by a matrix, see geometry/linear.h.
#include "cpu/sets.h"
#include "cpu/tiles.h"
#include "geometry/linear.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {

extern const LinearKernel linear_kernel;

namespace {

constexpr int64_t column_tile = 64;
constexpr int64_t capacity = 16384;  // values held at once, on the stack

// Matrix rows first .. first + count, padded with zeros to whole vectors.
template <class Op, class T>
struct Columns {
    typename Op::template Column<Doubles> column[column_tile / width];
    Doubles bias[column_tile / width];
    Doubles time[column_tile / width];
    int64_t first, count;

    Columns(const LinearTask& task, int64_t at) : first(at), count(smaller(column_tile, task.p - at)) {
        const T* m = static_cast<const T*>(task.m) + at * task.m_row;
        for (int64_t k = 0; k < count; k += width) {
            const int64_t v = k / width, n = smaller(width, count - k);
            bias[v] =
                Op::bias && task.bias ? load_at(static_cast<const T*>(task.bias) + at, k, count) : Doubles{};
            time[v] = Doubles{};
            Doubles zz{};
            for (int64_t l = 0; l < n; ++l) {
                const T* row = m + (k + l) * task.m_row;
                if constexpr (Op::time_column) time[v][l] = static_cast<double>(row[0]);
                if constexpr (Op::normed) zz[l] = square_sum<false>(row, task.dim).hi;
            }
            column[v] = typename Op::template Column<Doubles>(task.curvature, zz, bias[v]);
        }
    }
};

// The points of a block of rows.
template <class Op, class T>
struct Points {
    typename Op::Row row[linear_chunk];
    const T* space;
    int64_t first, count;

    Points(const LinearTask& task, int64_t at, int64_t n) : first(at), count(n) {
        space = static_cast<const T*>(task.x) + at * task.x_row + Op::ambient_in;
        for (int64_t r = 0; r < n; ++r)
            row[r] = typename Op::Row(task.curvature,
                                      square_sum<sizeof(T) == 8>(space + r * task.x_row, task.dim));
    }
};

// product[r * stride + k] of the points and the columns, the time and a plain bias included.
template <class Op, class T>
void products(const LinearTask& task, const Points<Op, T>& points, const Columns<Op, T>& columns,
              double* product, int64_t stride) {
    const T* m = static_cast<const T*>(task.m) + columns.first * task.m_row + Op::time_column;
    pair_block(Product{}, points.space, task.x_row, points.count, m, task.m_row, columns.count, task.dim,
               product, stride);
    if constexpr (Op::time_column) {
        for (int64_t r = 0; r < points.count; ++r)
            for (int64_t k = 0; k < columns.count; k += width) {
                double* at = product + r * stride;
                const Doubles v = load_at(at, k, columns.count);
                store_at(at, k, columns.count,
                         points.row[r].x0 * columns.time[k / width] + v + columns.bias[k / width]);
            }
    }
}

template <class Op, class T>
void values(const LinearTask& task, const Points<Op, T>& points, const Columns<Op, T>& columns, double* value,
            int64_t stride) {
    products(task, points, columns, value, stride);
    for (int64_t r = 0; r < points.count; ++r)
        for (int64_t k = 0; k < columns.count; k += width) {
            double* at = value + r * stride;
            store_at(at, k, columns.count,
                     Op::value(points.row[r], columns.column[k / width], load_at(at, k, columns.count)));
        }
}

template <class Op, class T>
void forward(const LinearTask& task, int64_t chunk) {
    alignas(64) double value[capacity];
    const int64_t begin = chunk * linear_chunk, end = smaller(task.rows, begin + linear_chunk);
    const bool held = Op::row_sums && task.p <= capacity;
    const int64_t stride = held ? task.p : column_tile;
    const int64_t block = smaller(linear_chunk, capacity / stride);
    for (int64_t row = begin; row < end; row += block) {
        const Points<Op, T> points(task, row, smaller(block, end - row));
        T* out = static_cast<T*>(task.out) + row * task.out_row;
        if constexpr (Op::row_sums) {
            double total[linear_chunk] = {};
            for (int64_t k = 0; k < task.p; k += column_tile) {
                const Columns<Op, T> columns(task, k);
                double* at = value + (held ? k : 0);
                values(task, points, columns, at, stride);
                for (int64_t r = 0; r < points.count; ++r) {
                    DotSum<false> square;
                    for (int64_t j = 0; j < columns.count; j += width) {
                        const Doubles v = load_at(at + r * stride, j, columns.count);
                        square.add(v, v);
                    }
                    total[r] += square.total().hi;
                }
            }
            for (int64_t k = 0; k < task.p; k += column_tile) {
                double* at = value + (held ? k : 0);
                if (!held) values(task, points, Columns<Op, T>(task, k), at, stride);
                const int64_t count = smaller(column_tile, task.p - k);
                for (int64_t r = 0; r < points.count; ++r) {
                    const typename Op::Result result(points.row[r], total[r]);
                    T* to = out + r * task.out_row;
                    if (Op::ambient_out && k == 0) *to = static_cast<T>(result.time);
                    for (int64_t j = 0; j < count; j += width)
                        store_at(to + k + Op::ambient_out, j, count,
                                 result.out(load_at(at + r * stride, j, count)));
                }
            }
        } else {
            for (int64_t k = 0; k < task.p; k += column_tile) {
                const Columns<Op, T> columns(task, k);
                values(task, points, columns, value, stride);
                for (int64_t r = 0; r < points.count; ++r)
                    for (int64_t j = 0; j < columns.count; j += width)
                        store_at(out + r * task.out_row + k, j, columns.count,
                                 load_at(value + r * stride, j, columns.count));
            }
        }
    }
}

// The cotangents of the products, and what else the points' and the columns' gradients are made of.
template <class Op, class T>
void vjp_rows(const LinearTask& task, int64_t chunk) {
    const int64_t begin = chunk * linear_chunk;
    const Points<Op, T> points(task, begin, smaller(task.rows - begin, linear_chunk));
    double* const cotangent = task.cotangents + begin * task.p;
    const T* g = static_cast<const T*>(task.g) + begin * task.g_row;
    constexpr int shares = Op::shares > 0 ? Op::shares : 1;
    horo::Sum<double> sum[linear_chunk][shares] = {};
    for (int64_t k = 0; k < task.p; k += column_tile) {
        const Columns<Op, T> columns(task, k);
        products(task, points, columns, cotangent + k, task.p);
        if constexpr (Op::shares > 0) {
            for (int64_t r = 0; r < points.count; ++r) {
                horo::Sum<Doubles> part[shares] = {};
                for (int64_t j = 0; j < columns.count; j += width)
                    Op::reduce(points.row[r], columns.column[j / width],
                               load_at(cotangent + r * task.p + k, j, columns.count),
                               load_at(g + r * task.g_row + Op::ambient_out + k, j, columns.count), part);
                for (int i = 0; i < shares; ++i)
                    sum[r][i] = sum[r][i] + DotSum<true>{part[i].hi, part[i].lo}.total();
            }
        }
    }
    double row_sum[linear_chunk] = {}, curvature[linear_chunk] = {}, by_x0[linear_chunk] = {};
    for (int64_t k = 0; k < task.p; k += column_tile) {
        const Columns<Op, T> columns(task, k);
        Doubles norm[column_tile / width] = {}, bias[column_tile / width] = {};
        for (int64_t r = 0; r < points.count; ++r) {
            const T* cot = g + r * task.g_row;
            const typename Op::Back back(points.row[r], sum[r], static_cast<double>(cot[0]));
            Doubles by_row{}, by_curvature{}, by_time{};
            for (int64_t j = 0; j < columns.count; j += width) {
                double* at = cotangent + r * task.p + k;
                const auto slope = back.slopes(columns.column[j / width], load_at(at, j, columns.count),
                                               load_at(cot + Op::ambient_out + k, j, columns.count),
                                               task.g_curvature != nullptr);
                store_at(at, j, columns.count, slope.product);
                norm[j / width] += slope.norm;
                bias[j / width] += slope.bias;
                by_row += slope.row;
                by_curvature += slope.curvature;
                by_time += slope.product * columns.time[j / width];
            }
            row_sum[r] += horo::HORO_ISA_NAMESPACE::sum<double, width>(by_row);
            curvature[r] += horo::HORO_ISA_NAMESPACE::sum<double, width>(by_curvature);
            by_x0[r] += horo::HORO_ISA_NAMESPACE::sum<double, width>(by_time);
        }
        if constexpr (Op::normed || Op::bias) {
            double* partial = task.partial + 2 * chunk * task.p + k;
            for (int64_t j = 0; j < columns.count; j += width) {
                store_at(partial, j, columns.count, norm[j / width]);
                store_at(partial + task.p, j, columns.count, bias[j / width]);
            }
        }
    }
    double along[linear_chunk];
    for (int64_t r = 0; r < points.count; ++r) {
        const T* cot = g + r * task.g_row;
        const typename Op::Back back(points.row[r], sum[r], static_cast<double>(cot[0]));
        along[r] = back.along_x(row_sum[r], by_x0[r]);
        if constexpr (Op::time_column) task.times[begin + r] = points.row[r].x0;
        if (task.g_curvature)
            static_cast<T*>(task.g_curvature)[begin + r] =
                static_cast<T>(back.curvature(row_sum[r], curvature[r], by_x0[r]));
    }
    if (!task.g_x) return;
    T* g_x = static_cast<T*>(task.g_x) + begin * task.g_x_row;
    const T* m = static_cast<const T*>(task.m) + Op::time_column;
    combine_block(cotangent, task.p, 1, points.count, task.p, m, task.m_row, task.dim,
                  [&](int64_t r, int64_t j, Doubles v) {
                      const Doubles x = load_at(points.space + r * task.x_row, j, task.dim);
                      store_at(g_x + r * task.g_x_row + Op::ambient_in, j, task.dim, v + along[r] * x);
                  });
    if constexpr (Op::ambient_in)
        for (int64_t r = 0; r < points.count; ++r) g_x[r * task.g_x_row] = 0;
}

template <class Op, class T>
void vjp_columns(const LinearTask& task, int64_t begin, int64_t end) {
    const int64_t chunks = (task.rows + linear_chunk - 1) / linear_chunk;
    double along[column_tile] = {};
    for (int64_t k = begin; k < end; ++k) {
        double norm = 0, bias = 0;
        if constexpr (Op::normed || Op::bias) {
            for (int64_t c = 0; c < chunks; ++c) {
                norm += task.partial[2 * c * task.p + k];
                bias += task.partial[(2 * c + 1) * task.p + k];
            }
        }
        if (task.g_bias) static_cast<T*>(task.g_bias)[k] = static_cast<T>(bias);
        if constexpr (Op::normed) {
            const double zz = square_sum<false>(static_cast<const T*>(task.m) + k * task.m_row, task.dim).hi;
            along[k - begin] = zz == 0 ? 0 : norm / square_root<double>(zz);
        }
    }
    if (!task.g_m) return;
    T* g_m = static_cast<T*>(task.g_m) + begin * task.g_m_row;
    const T* m = static_cast<const T*>(task.m) + begin * task.m_row + Op::time_column;
    if constexpr (Op::time_column) {
        for (int64_t k = begin; k < end; ++k) {
            double total = 0;
            for (int64_t r = 0; r < task.rows; ++r) total += task.cotangents[r * task.p + k] * task.times[r];
            g_m[(k - begin) * task.g_m_row] = static_cast<T>(total);
        }
    }
    combine_block(task.cotangents + begin, 1, task.p, end - begin, task.rows,
                  static_cast<const T*>(task.x) + Op::ambient_in, task.x_row, task.dim,
                  [&](int64_t k, int64_t j, Doubles v) {
                      if constexpr (Op::normed) v += along[k] * load_at(m + k * task.m_row, j, task.dim);
                      store_at(g_m + k * task.g_m_row + Op::time_column, j, task.dim, v);
                  });
}

}  // namespace

#define HORO_LINEAR_OPERATIONS(X)     \
    X(poincare::MobiusMatvec)         \
    X(poincare::PlaneDistance<true>)  \
    X(poincare::PlaneDistance<false>) \
    X(poincare::FullyConnected)       \
    X(lorentz::Linear)                \
    X(lorentz::PlaneDistance<true>)   \
    X(lorentz::PlaneDistance<false>)
#define HORO_STORED(function, Op) \
    {function<Op, float>, function<Op, double>, function<Op, ShortBf16>, function<Op, ShortF16>},
#define HORO_FORWARD(Op) HORO_STORED(forward, Op)
#define HORO_VJP_ROWS(Op) HORO_STORED(vjp_rows, Op)
#define HORO_VJP_COLUMNS(Op) HORO_STORED(vjp_columns, Op)
#define HORO_SHAPE(Op) {Op::name, Op::ambient_in, Op::ambient_out, Op::time_column, Op::bias, Op::normed},
const LinearKernel linear_kernel = {{HORO_LINEAR_OPERATIONS(HORO_FORWARD)},
                                    {HORO_LINEAR_OPERATIONS(HORO_VJP_ROWS)},
                                    {HORO_LINEAR_OPERATIONS(HORO_VJP_COLUMNS)},
                                    {HORO_LINEAR_OPERATIONS(HORO_SHAPE)}};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
