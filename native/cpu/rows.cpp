// The row operations of one family (HORO_ROW_FAMILY), compiled once per instruction set: the three steps of
// an operation on a tile of rows. How rows get into a tile and out of it is in row_engine.cpp.
#include "cpu/row_passes.h"
#include "geometry/operations.h"

namespace horo::HORO_ISA_NAMESPACE::rows {
namespace {

// ---- The steps

template <class Op, class T, class Pass>
void reduce_narrow(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;  // a copy that no store can touch
    for (int64_t b = 0; b < t.blocks; ++b) {
        Vector* const block = t.sums + b * L::sums;
        Indices mine = ~Indices{};
        if constexpr (Pass::selected) {
            mine = (Indices)block[L::doubt];
            if (!any(mine)) continue;
        }
        const T* p[operands];
        for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + b * t.in_stride[i];
        Vector* const sums = block + Pass::at;
        Vector k[Pass::numbers + 1];
        for (int n = 0; n < Pass::numbers; ++n) k[n] = sums[1 + n];
        Sums<Pass> acc;
        for (int64_t j = 0; j < t.dim; ++j) {
            Vector x[operands] = {};
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j * lanes);
            Pass::reduce(x, k, acc);
        }
        const auto put = [mine](Vector& to, Vector sum) { to = mine ? sum : to; };
        for (int s = 0; s < Pass::sums; ++s)
            if (acc.has(s)) put(sums[s], acc.hi[s]);
        for (int s = 0; s < Pass::compensated; ++s) put(sums[Pass::sums + s], acc.lo[s]);
    }
}

template <class Op, class T>
void across_narrow(const Tile<T>& tile) {
    aim<Op>(tile);
    reduce_narrow<Op, T, AcrossPass<Op, T>>(tile);
}

template <class Op, class T>
void solve(const TileSums<T>& tile) {
    using L = Layout<Op, T>;
    const TileSums<T> t = tile;
    double param[Signature::max_params];  // no store can touch these: what follows from them is computed once
    for (int i = 0; i < L::signature.params; ++i) param[i] = t.param[i];
    // once: what a row leaves alone stays zero, and clearing them takes as long as a division
    Vector scalar[operands] = {}, result[operands] = {}, k[Op::coefficients] = {};
    for (int64_t b = 0; b < t.blocks; ++b) {
        for (int i = 0; i < L::signature.inputs; ++i)
            for (int64_t line = 0; line < t.next_bytes[i]; line += 64)
                prefetch(t.next[i] + b * t.next_bytes[i] + line);
        const Vector* sums = t.sums + b * L::sums;
        Sum<Vector> sum[Op::sums];
        for (int k = 0; k < Op::sums; ++k)
            sum[k] = {sums[k], k < L::compensated ? sums[Op::sums + k] : Vector{}};
        for (int i = 0; i < L::signature.inputs; ++i)
            if (L::signature.input[i] != Kind::row) scalar[i] = load(t.scalar[i] + b * t.scalar_stride[i]);
        const Vector* across = L::refined ? sums + L::across : nullptr;
        Op::template solve<Vector>({sum, scalar, param, k, result, t.rounding, across});
        for (int c = 0; c < L::coefficients; ++c) t.coefficients[b * L::coefficients + c] = k[c];
        for (int i = 0; i < L::signature.outputs; ++i)
            if (L::signature.output[i] != Kind::row) store(t.result[i] + b * t.result_stride[i], result[i]);
    }
}

template <class Op, class T>
void combine_narrow(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;
    for (int64_t b = 0; b < t.blocks; ++b) {
        const T* p[operands];
        T* q[operands];
        for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + b * t.in_stride[i];
        for (int i = 0; i < L::signature.outputs; ++i) q[i] = t.out[i] + b * t.out_stride[i];
        Vector k[L::coefficients];
        for (int c = 0; c < L::coefficients; ++c) k[c] = t.coefficients[b * L::coefficients + c];
        Indices doubtful{};
        if constexpr (L::tested) doubtful = (Indices)t.sums[b * L::sums + L::doubt];
        const bool twice = any(doubtful);
        for (int64_t j = 0; j < t.dim; ++j) {
            Vector x[operands] = {}, y[operands] = {};
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j * lanes);
            combine_row<Op, T, L::tested>(x, k, y);
            if (L::tested && twice) {
                Vector z[operands] = {};
                combine_row<Op, T, false>(x, k, z);
                for (int i = 0; i < L::signature.outputs; ++i) y[i] = doubtful ? z[i] : y[i];
            }
            for (int i = 0; i < L::signature.outputs; ++i)
                if (L::signature.output[i] != Kind::scalar) store(q[i] + j * lanes, y[i]);
        }
    }
}

template <class Op, class T, bool plain>
void combine_row_wide(const Tile<T>& t, int64_t row) {
    using L = Layout<Op, T>;
    const int64_t whole = t.dim / lanes * lanes, rest = t.dim - whole;
    const T* p[operands];
    T* q[operands];
    for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + row * t.in_stride[i];
    for (int i = 0; i < L::signature.outputs; ++i) q[i] = t.out[i] + row * t.out_stride[i];
    const double* coefficients =
        reinterpret_cast<const double*>(t.coefficients + row / lanes * L::coefficients) + row % lanes;
    Vector k[L::coefficients], x[operands] = {}, y[operands] = {};
    for (int c = 0; c < L::coefficients; ++c) k[c] = Vector{} + coefficients[c * lanes];
    for (int64_t j = 0; j < whole; j += lanes) {
        for (int i = 0; i < L::signature.inputs; ++i) {
            if (L::signature.input[i] == Kind::scalar) continue;
            x[i] = load(p[i] + j);
            if (i % 2 && t.halves) prefetch(p[i] + j + t.ahead[i]);
        }
        combine_row<Op, T, plain>(x, k, y);
        for (int i = 0; i < L::signature.outputs; ++i)
            if (L::signature.output[i] != Kind::scalar) {
                if (t.stream && t.out_step[i])
                    stream(q[i] + j, y[i]);
                else
                    store(q[i] + j * t.out_step[i], y[i]);
            }
    }
    if (rest) {
        for (int i = 0; i < L::signature.inputs; ++i)
            if (L::signature.input[i] != Kind::scalar) x[i] = load_part(p[i] + whole, rest);
        combine_row<Op, T, plain>(x, k, y);
        for (int i = 0; i < L::signature.outputs; ++i)
            if (L::signature.output[i] != Kind::scalar) store_part(q[i] + whole * t.out_step[i], y[i], rest);
    }
}

// Whether a row is not one that plain sums did for.
template <class Op, class T>
bool in_doubt(const Tile<T>& t, int64_t row) {
    using L = Layout<Op, T>;
    if constexpr (L::tested) return ((Indices)t.sums[row / lanes * L::sums + L::doubt])[row % lanes] != 0;
    return true;
}

template <class Op, class T>
void combine_wide(const Tile<T>& tile) {
    constexpr bool tested = Layout<Op, T>::tested;
    const Tile<T> t = tile;
    for (int64_t row = t.combine_from; row < t.combine_to; ++row) {
        if (in_doubt<Op>(t, row))
            combine_row_wide<Op, T, false>(t, row);
        else
            combine_row_wide<Op, T, tested>(t, row);
    }
}

#if defined(__AVX512F__)
template <class Op, class T, bool plain>
HORO_HD void combine_row_lines(const Tile<T>& t, int64_t row, OutRows<T>* out) {
    using L = Layout<Op, T>;
    constexpr int64_t numbers = Line<T>::numbers, vectors = Line<T>::vectors;
    const int64_t whole = t.dim / numbers * numbers, rest = t.dim - whole;
    const T* p[operands];
    for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + row * t.in_stride[i];
    const double* coefficients =
        reinterpret_cast<const double*>(t.coefficients + row / lanes * L::coefficients) + row % lanes;
    Vector k[L::coefficients];
    for (int c = 0; c < L::coefficients; ++c) k[c] = Vector{} + coefficients[c * lanes];
    // One loop wherever a row goes: of two copies multiply-adds may be contracted differently, and bits would
    // hang on where a row lies.
    for (int64_t j = 0; j < whole; j += numbers) {
        Vector y[operands][vectors];
        for (int64_t v = 0; v < vectors; ++v) {
            Vector x[operands] = {}, one[operands] = {};
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j + v * lanes);
            combine_row<Op, T, plain>(x, k, one);
            for (int i = 0; i < L::signature.outputs; ++i) y[i][v] = one[i];
        }
        for (int i = 1; i < L::signature.inputs; i += 2)
            if (L::signature.input[i] != Kind::scalar && t.halves) prefetch(p[i] + j + t.ahead[i]);
        for (int i = 0; i < L::signature.outputs; ++i)
            if (L::signature.output[i] != Kind::scalar) out[i].put(j, line_of(p[0], y[i]));
    }
    if (!rest) return;
    Vector y[operands][vectors];
    for (int64_t v = 0; v < vectors; ++v) {
        const int64_t left = rest - v * lanes;
        Vector x[operands] = {}, one[operands] = {};
        if (left > 0) {
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar)
                    x[i] = load_part(p[i] + whole + v * lanes, left < lanes ? left : lanes);
            combine_row<Op, T, plain>(x, k, one);
        }
        for (int i = 0; i < L::signature.outputs; ++i) y[i][v] = one[i];
    }
    for (int i = 0; i < L::signature.outputs; ++i)
        if (L::signature.output[i] != Kind::scalar) out[i].put_last(whole, line_of(p[0], y[i]), rest);
}

template <class Op, class T>
void combine_lines(const Tile<T>& tile) {
    constexpr bool tested = Layout<Op, T>::tested;
    const Tile<T> t = tile;
    OutRows<T> out[operands];
    open_rows<Op>(t, out);
    for (int64_t row = t.combine_from; row < t.combine_to; ++row) {
        put_times<Op>(t, row, out);
        if (in_doubt<Op>(t, row))
            combine_row_lines<Op, T, false>(t, row, out);
        else
            combine_row_lines<Op, T, tested>(t, row, out);
        next_rows<Op>(out);
    }
    close_rows<Op>(out);
}
#endif

template <class Op, class T>
constexpr TileKernels<T> kernels() {
    TileKernels<T> k{};
    static_cast<WideKernels<T>&>(k) = wide_kernels<Op, T>();
    k.reduce_narrow = reduce_narrow<Op, T, FirstPass<Op, T>>;
    k.solve = solve<Op, T>;
    k.sums = Layout<Op, T>::sums;
    k.coefficients = Layout<Op, T>::coefficients;
    if constexpr (Layout<Op, T>::again()) k.again_narrow[0] = reduce_narrow<Op, T, WholePass<Op, T>>;
    if constexpr (Layout<Op, T>::refined) k.again_narrow[1] = across_narrow<Op, T>;
    if constexpr (combines<Op>()) {
        k.combine_narrow = combine_narrow<Op, T>;
        k.combine_wide = combine_wide<Op, T>;
#if defined(__AVX512F__)
        k.combine_lines = combine_lines<Op, T>;
#endif
    }
    return k;
}

#define HORO_ROW_KERNELS(Op) {kernels<Op, float>(), kernels<Op, double>(), Signature(Op::signature)},
constexpr RowKernels table[] = {HORO_OF_FAMILY(HORO_ROWS_, HORO_ROW_FAMILY)(HORO_ROW_KERNELS)};

}  // namespace

#if defined(__AVX512F__)
extern const ShortKernels HORO_OF_FAMILY(short_, HORO_ROW_FAMILY)[];
#define HORO_SHORT_FAMILY HORO_OF_FAMILY(short_, HORO_ROW_FAMILY)
#else
#define HORO_SHORT_FAMILY nullptr
#endif
extern const RowFamily HORO_OF_FAMILY(family_, HORO_ROW_FAMILY);
const RowFamily HORO_OF_FAMILY(family_, HORO_ROW_FAMILY) = {table, HORO_SHORT_FAMILY,
                                                            sizeof table / sizeof *table};

}  // namespace horo::HORO_ISA_NAMESPACE::rows
