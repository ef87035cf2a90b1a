// Sums over the coordinates of all pairs of rows of two matrices, in double, by the tiles of tile.cuh.
#pragma once
#include "stored.cuh"
#include "tile.cuh"

namespace horo::cuda {

// Rows of a matrix.
template <class T>
struct RowSet {
    typename T::In first;
    int64_t stride, count;

    HORO_DEVICE double at(int64_t row, int64_t k) const {
        return row < count ? read(first + row * stride + k) : 0.0;
    }
};

struct Products {
    HORO_DEVICE double left(double v, int64_t) const { return v; }
    HORO_DEVICE double right(double v, int64_t) const { return v; }
    HORO_DEVICE double step(double a, double b, double sum) const { return sum + a * b; }
};

struct SquaredDifferences : Products {
    HORO_DEVICE double step(double a, double b, double sum) const { return sum + (a - b) * (a - b); }
};

// Pair: what two coordinates add; left and right see the elements of a row of the tile first.
template <class T, class Pair>
struct RowPairs : PlainWork {
    static constexpr bool a_by_k = true, b_by_n = false;
    RowSet<T> rows, columns;
    Pair pair;

    HORO_DEVICE double a(int64_t m, int64_t k) const { return pair.left(rows.at(m, k), m - range.m); }
    HORO_DEVICE double b(int64_t k, int64_t n) const { return pair.right(columns.at(n, k), n - range.n); }
    HORO_DEVICE double step(int, int, double x, double y, double sum) const { return pair.step(x, y, sum); }
};

// sum = those of a tile. In pieces that are added up, so that rounding errors grow with 256 + dim / 256.
template <int MR, int NR, class T, class Pair>
HORO_DEVICE void pair_sums(const RowSet<T>& rows, const RowSet<T>& columns, const Pair& pair, int64_t m,
                           int64_t n, int64_t dim, TileStrips<double, MR, NR>& strips,
                           double (&sum)[MR][NR]) {
    constexpr int64_t piece = 256;
    RowPairs<T, Pair> work{};
    work.rows = rows;
    work.columns = columns;
    work.pair = pair;
#pragma unroll
    for (int i = 0; i < MR; ++i)
#pragma unroll
        for (int j = 0; j < NR; ++j) sum[i][j] = 0;
    for (int64_t k = 0; k < dim; k += piece) {
        work.range = {m, n, k, k + piece < dim ? k + piece : dim};
        double part[MR][NR];
#pragma unroll
        for (int i = 0; i < MR; ++i)
#pragma unroll
            for (int j = 0; j < NR; ++j) part[i][j] = 0;
        tile_sums<RowPairs<T, Pair>>(work, strips, part);
#pragma unroll
        for (int i = 0; i < MR; ++i)
#pragma unroll
            for (int j = 0; j < NR; ++j) sum[i][j] += part[i][j];
    }
}

}  // namespace horo::cuda
