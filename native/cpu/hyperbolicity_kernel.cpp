// Pairs of rows in register tiles of 4 x 4: squared differences for distances, min and max for Gromov's
// delta. Both matrices are symmetric, so column j is row j and every load runs along a row.
#include <cmath>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "cpu/hyperbolicity.h"

namespace horo::HORO_ISA_NAMESPACE {
namespace {

#if defined(__AVX512F__)
constexpr int W = 8;
#elif defined(__AVX2__)
constexpr int W = 4;
#else
constexpr int W = 2;
#endif
typedef double Vec __attribute__((vector_size(W * 8)));
typedef float Half __attribute__((vector_size(W * 4)));

constexpr int64_t tile_rows = 32;
constexpr int micro = 4;
constexpr int64_t distance_block = 512, product_block = 1024;  // 64 rows of a block stay in the cache

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline Vec load(const double* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

static inline Vec load(const float* p) {
    Half v;
    std::memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, Vec);
}

// Lanes past the count are zero.
template <class T>
static inline Vec load_part(const T* p, int64_t count) {
    Vec v{};
    for (int64_t l = 0; l < count; ++l) v[l] = static_cast<double>(p[l]);
    return v;
}

// The second operand where one is NaN, as the instruction does.
static inline Vec min(Vec a, Vec b) {
#if defined(__AVX512F__)
    return Vec(_mm512_maskz_min_pd(0xFF, a, b));  // the unmasked intrinsic draws a false warning from gcc 12
#else
    return a < b ? a : b;
#endif
}

static inline Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
    return Vec(_mm512_maskz_max_pd(0xFF, a, b));
#else
    return a > b ? a : b;
#endif
}

static inline double sum(Vec v) {
    double total = 0;
    for (int l = 0; l < W; ++l) total += v[l];
    return total;
}

static inline double largest(Vec v) {
    double best = v[0];
    for (int l = 1; l < W; ++l) best = v[l] > best ? v[l] : best;
    return best;
}

// The upper triangle of blocks, column by column.
static inline void block_pair(int64_t tile, int64_t* row, int64_t* column) {
    int64_t j = static_cast<int64_t>((std::sqrt(8.0 * static_cast<double>(tile) + 1.0) - 1.0) / 2.0);
    while (j * (j + 1) / 2 > tile) --j;
    while ((j + 1) * (j + 2) / 2 <= tile) ++j;
    *row = tile - j * (j + 1) / 2;
    *column = j;
}

// ---- Distances

// sums[a, b] += sum over [0, count) of (x[a] - y[b])^2; the order of a pair's sum depends on count alone.
template <int M, int N, class T>
static inline void square_differences(const T* const* x, const T* const* y, int64_t from, int64_t count,
                                      double* sums, int64_t stride) {
    Vec acc[M][N] = {};
    const auto step = [&](auto&& get) {
        Vec right[N];
        for (int b = 0; b < N; ++b) right[b] = get(y[b]);
        for (int a = 0; a < M; ++a) {
            const Vec left = get(x[a]);
            for (int b = 0; b < N; ++b) {
                const Vec t = left - right[b];
                acc[a][b] += t * t;
            }
        }
    };
    int64_t k = 0;
    for (; k + W <= count; k += W) step([&](const T* p) { return load(p + from + k); });
    if (k < count) step([&](const T* p) { return load_part(p + from + k, count - k); });
    for (int a = 0; a < M; ++a)
        for (int b = 0; b < N; ++b) sums[a * stride + b] += sum(acc[a][b]);
}

template <class T>
static void distance(const DistanceTask<T>& task, int64_t tile) {
    int64_t block_i, block_j;
    block_pair(tile, &block_i, &block_j);
    const int64_t i0 = block_i * tile_rows, j0 = block_j * tile_rows;
    const int64_t rows = smaller(tile_rows, task.rows - i0), columns = smaller(tile_rows, task.rows - j0);
    double sums[tile_rows * tile_rows] = {};
    const auto pointers = [&](const T** p, int64_t first) {
        for (int a = 0; a < micro; ++a) p[a] = task.x + (first + a) * task.stride;
    };
    for (int64_t from = 0; from < task.dim; from += distance_block) {
        const int64_t count = smaller(distance_block, task.dim - from);
        for (int64_t i = 0; i < rows; i += micro) {
            const T *x[micro], *y[micro];
            pointers(x, i0 + i);
            for (int64_t j = 0; j < columns; j += micro) {
                pointers(y, j0 + j);
                double* at = sums + i * tile_rows + j;
                if (rows - i >= micro && columns - j >= micro) {
                    square_differences<micro, micro>(x, y, from, count, at, tile_rows);
                } else {
                    for (int64_t a = 0; a < smaller(micro, rows - i); ++a)
                        for (int64_t b = 0; b < smaller(micro, columns - j); ++b)
                            square_differences<1, 1>(x + a, y + b, from, count, at + a * tile_rows + b,
                                                     tile_rows);
                }
            }
        }
    }
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            if (i0 + i > j0 + j) continue;
            const double value = std::sqrt(sums[i * tile_rows + j]);
            task.out[(i0 + i) * task.rows + j0 + j] = value;
            task.out[(j0 + j) * task.rows + i0 + i] = value;
        }
}

// ---- Gromov products and delta

static void gromov_row(int64_t n, const double* distances, const double* base, int64_t i, double* out) {
    const double own = base[i];
    const double* d = distances + i * n;
    double* o = out + i * n;
    for (int64_t j = 0; j < n; ++j) o[j] = 0.5 * ((own + base[j]) - d[j]);
}

static double reach(int64_t n, const double* gromov, int64_t i) {
    const double* g = gromov + i * n;
    double best = -HUGE_VAL;
    bool ordered = true;
    for (int64_t k = 0; k < n; ++k) {
        ordered &= g[k] == g[k];
        const double value = k == i ? -HUGE_VAL : g[k];
        best = value > best ? value : best;
    }
    return ordered ? best : NAN;
}

// best[a, b] = max(best[a, b], max over [from, from + count) of min(x[a], y[b])). A last partial vector is
// read again from further left: the maximum does not mind.
template <int M, int N>
static inline void max_min(const double* const* x, const double* const* y, int64_t from, int64_t count,
                           double* best, int64_t stride) {
    if (count < W) {
        for (int a = 0; a < M; ++a)
            for (int b = 0; b < N; ++b) {
                double& at = best[a * stride + b];
                for (int64_t k = from; k < from + count; ++k) {
                    const double least = x[a][k] < y[b][k] ? x[a][k] : y[b][k];
                    at = least > at ? least : at;
                }
            }
        return;
    }
    Vec acc[M][N];
    for (int a = 0; a < M; ++a)
        for (int b = 0; b < N; ++b) acc[a][b] = Vec{} - HUGE_VAL;
    const auto step = [&](int64_t k) {
        Vec right[N];
        for (int b = 0; b < N; ++b) right[b] = load(y[b] + k);
        for (int a = 0; a < M; ++a) {
            const Vec left = load(x[a] + k);
            for (int b = 0; b < N; ++b) acc[a][b] = max(min(left, right[b]), acc[a][b]);
        }
    };
    const int64_t end = from + count;
    int64_t k = from;
    for (; k + W <= end; k += W) step(k);
    if (k < end) step(end - W);
    for (int a = 0; a < M; ++a)
        for (int b = 0; b < N; ++b) {
            double& at = best[a * stride + b];
            const double value = largest(acc[a][b]);
            at = value > at ? value : at;
        }
}

// The value of one pair.
static inline double pair_value(const DeltaTask& task, int64_t i, int64_t j) {
    const double* x = task.gromov + i * task.n;
    const double* y = task.gromov + j * task.n;
    Vec acc0 = Vec{} - HUGE_VAL, acc1 = acc0;
    double best = -HUGE_VAL;
    int64_t k = 0;
    for (; k + 2 * W <= task.n; k += 2 * W) {
        acc0 = max(min(load(x + k), load(y + k)), acc0);
        acc1 = max(min(load(x + k + W), load(y + k + W)), acc1);
    }
    for (; k < task.n; ++k) {
        const double least = x[k] < y[k] ? x[k] : y[k];
        best = least > best ? least : best;
    }
    const double vectors = largest(max(acc0, acc1));
    return (vectors > best ? vectors : best) - x[j];
}

// No k lifts the pair above this, to the last bit: k = i and k = j give at most 0, every other k at most the
// lesser reach, and subtracting a number keeps the order.
static inline double bound(const DeltaTask& task, int64_t i, int64_t j) {
    const double reach_i = task.reach[i], reach_j = task.reach[j];
    return (reach_i < reach_j ? reach_i : reach_j) - task.gromov[i * task.n + j];
}

static double probe(const DeltaTask& task, int64_t i, double best) {
    double highest = best;
    int64_t partner = -1;
    for (int64_t j = 0; j < task.n; ++j) {
        const double b = bound(task, i, j);
        if (j != i && b > highest) {
            highest = b;
            partner = j;
        }
    }
    if (partner < 0) return best;
    const double value = pair_value(task, i, partner);
    return value > best ? value : best;
}

static double search(const DeltaTask& task, int64_t tile, double best) {
    int64_t block_i, block_j;
    block_pair(tile, &block_i, &block_j);
    const int64_t i0 = block_i * tile_rows, j0 = block_j * tile_rows;
    const int64_t rows = smaller(tile_rows, task.n - i0), columns = smaller(tile_rows, task.n - j0);
    constexpr int64_t micros = tile_rows / micro;
    bool dense[micros][micros] = {};
    bool any = false;
    constexpr int few = 6;  // below this, pairs one by one cost less than their register tile
    for (int64_t i = 0; i < rows; i += micro)
        for (int64_t j = 0; j < columns; j += micro) {
            const int64_t m = smaller(micro, rows - i), n = smaller(micro, columns - j);
            int64_t left[micro * micro][2];
            int count = 0;
            for (int64_t a = 0; a < m; ++a)
                for (int64_t b = 0; b < n; ++b) {
                    const int64_t row = task.order[i0 + i + a], column = task.order[j0 + j + b];
                    if (task.exhaustive || bound(task, row, column) > best) {
                        left[count][0] = row;
                        left[count][1] = column;
                        ++count;
                    }
                }
            if (m == micro && n == micro && count >= few) {
                any = dense[i / micro][j / micro] = true;
                continue;
            }
            for (int c = 0; c < count; ++c) {
                const double value = pair_value(task, left[c][0], left[c][1]);
                best = value > best ? value : best;
            }
        }
    if (!any) return best;
    double product[tile_rows * tile_rows];
    for (double& value : product) value = -HUGE_VAL;
    const auto pointers = [&](const double** p, int64_t first) {
        for (int a = 0; a < micro; ++a) p[a] = task.gromov + task.order[first + a] * task.n;
    };
    for (int64_t from = 0; from < task.n; from += product_block) {
        const int64_t count = smaller(product_block, task.n - from);
        for (int64_t i = 0; i < rows; i += micro)
            for (int64_t j = 0; j < columns; j += micro) {
                if (!dense[i / micro][j / micro]) continue;
                const double *x[micro], *y[micro];
                pointers(x, i0 + i);
                pointers(y, j0 + j);
                max_min<micro, micro>(x, y, from, count, product + i * tile_rows + j, tile_rows);
            }
    }
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
            if (dense[i / micro][j / micro]) {
                const int64_t row = task.order[i0 + i], column = task.order[j0 + j];
                const double value = product[i * tile_rows + j] - task.gromov[row * task.n + column];
                best = value > best ? value : best;
            }
    return best;
}

}  // namespace

extern const HyperbolicityKernel hyperbolicity_kernel;
const HyperbolicityKernel hyperbolicity_kernel = {distance<float>, distance<double>, gromov_row, reach, probe,
                                                  search};

}  // namespace horo::HORO_ISA_NAMESPACE
