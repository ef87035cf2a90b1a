// Compiled once per instruction set. A block is as many rows as a vector has lanes: their sums are gathered
// so that one `solve` works on all of them at once. Narrow rows are transposed and never leave that layout;
// wide rows are reduced and combined along the row.
#include "cpu/row_engine.h"

#include <cstring>

namespace horo {
namespace HORO_ISA_NAMESPACE {

extern const RowEngine row_engine;

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 8;
#elif defined(__AVX2__)
constexpr int lanes = 4;
#else
constexpr int lanes = 2;
#endif
typedef double Vector __attribute__((vector_size(8 * lanes)));
typedef float Floats __attribute__((vector_size(4 * lanes)));

constexpr int operands = Signature::max_operands;
constexpr int64_t narrow = 16;  // widest row that is transposed

// ---- Loads and stores: the only place that knows a storage type.

inline Vector load(const double* p) {
    Vector v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline Vector load(const float* p) {
    Floats f;
    std::memcpy(&f, p, sizeof f);
    return __builtin_convertvector(f, Vector);
}

inline void store(double* p, Vector v) { std::memcpy(p, &v, sizeof v); }

inline void store(float* p, Vector v) {
    const Floats f = __builtin_convertvector(v, Floats);
    std::memcpy(p, &f, sizeof f);
}

// The first n of a vector's elements, the rest zero.
template <class T>
inline Vector load_part(const T* p, int64_t n) {
    alignas(64) T part[lanes] = {};
    for (int64_t i = 0; i < n; ++i) part[i] = p[i];
    return load(part);
}

template <class T>
inline void store_part(T* p, Vector v, int64_t n) {
    alignas(64) T part[lanes];
    store(part, v);
    for (int64_t i = 0; i < n; ++i) p[i] = part[i];
}

// Column j of up to `lanes` rows; missing rows repeat the last.
template <class T>
inline Vector load_column(const T* p, int64_t stride, int64_t rows) {
    Vector v;
    if (rows == lanes) {
        for (int l = 0; l < lanes; ++l) v[l] = static_cast<double>(p[l * stride]);
    } else {
        for (int l = 0; l < lanes; ++l) v[l] = static_cast<double>(p[(l < rows ? l : rows - 1) * stride]);
    }
    return v;
}

template <class T>
inline void store_column(T* p, int64_t stride, Vector v, int64_t rows) {
    for (int64_t l = 0; l < rows; ++l) p[l * stride] = static_cast<T>(v[l]);
}

// ---- Sums

// What an operation's `reduce` adds to. Exact: dot products carry their rounding errors along (Ogita, Rump,
// Oishi 2005); needed for float64 storage only, since products of float32 numbers are exact in double.
template <class Op, bool exact>
struct Accumulator {
    Vector hi[Op::sums];
    Vector lo[Op::sums];

    HORO_HD Accumulator() : hi{}, lo{} {}
    HORO_HD void dot(int k, Vector a, Vector b) {
        if constexpr (exact) {
            const Sum<Vector> p = two_product(a, b), s = two_sum(hi[k], p.hi);
            hi[k] = s.hi;
            lo[k] += s.lo + p.lo;
        } else {
            hi[k] += a * b;
        }
    }
    HORO_HD void add(int k, Vector v) { hi[k] += v; }
};

// Row l of `parts` holds the partial sums of row l; the result has one row per lane.
template <bool exact>
inline Sum<Vector> across(const Vector (&hi)[lanes], const Vector (&lo)[lanes]) {
    const double* h = reinterpret_cast<const double*>(&hi[0]);
    const double* e = reinterpret_cast<const double*>(&lo[0]);
    Sum<Vector> sum{load_column(h, lanes, lanes), Vector{}};
    for (int j = 1; j < lanes; ++j) {
        const Vector column = load_column(h + j, lanes, lanes);
        if constexpr (exact) {
            const Sum<Vector> s = two_sum(sum.hi, column);
            sum.hi = s.hi;
            sum.lo += s.lo;
        } else {
            sum.hi += column;
        }
    }
    if constexpr (exact)
        for (int j = 0; j < lanes; ++j) sum.lo += load_column(e + j, lanes, lanes);
    return sum;
}

template <class Op, class T>
__attribute__((noinline)) void solve(const Sum<Vector>* sum, const Vector* scalar, const double* param,
                                     Vector* k, Vector* result) {
    Op::template solve<Vector>({sum, scalar, param, k, result, sizeof(T) == 8 ? 0x1p-53 : 0x1p-24});
}

// ---- One block

// The operands of a block with time coordinates taken off. An output that is not wanted goes to a scrap of
// memory: it steps by 0 along and between rows, so that the others come from the same instructions as ever.
template <class T>
struct Block {
    int64_t rows, dim;
    const T* in[operands];
    T* out[operands];
    int64_t in_stride[operands], out_stride[operands], out_step[operands];
    Vector scalar[operands], result[operands];
    bool combines;
};

template <class Op, class T>
inline void narrow_block(Block<T>& b, const double* param) {
    constexpr bool exact = sizeof(T) == 8 || Op::precise;
    constexpr Signature signature(Op::signature);
    Vector x[narrow][operands] = {};
    for (int i = 0; i < signature.inputs; ++i)
        if (signature.input[i] != Kind::scalar)
            for (int64_t j = 0; j < b.dim; ++j) x[j][i] = load_column(b.in[i] + j, b.in_stride[i], b.rows);
    Accumulator<Op, exact> acc;
    for (int64_t j = 0; j < b.dim; ++j) Op::reduce(x[j], acc);
    Sum<Vector> sum[Op::sums];
    for (int k = 0; k < Op::sums; ++k) sum[k] = {acc.hi[k], acc.lo[k]};
    Vector coefficient[Op::coefficients];
    solve<Op, T>(sum, b.scalar, param, coefficient, b.result);
    if (!b.combines) return;
    for (int64_t j = 0; j < b.dim; ++j) {
        Vector y[operands] = {};
        Op::combine(x[j], coefficient, y);
        for (int i = 0; i < signature.outputs; ++i)
            if (signature.output[i] != Kind::scalar)
                store_column(b.out[i] + j * b.out_step[i], b.out_stride[i], y[i], b.rows);
    }
}

template <class Op, class T>
inline void wide_block(Block<T>& b, const double* param) {
    constexpr bool exact = sizeof(T) == 8 || Op::precise;
    constexpr Signature signature(Op::signature);
    const int64_t whole = b.dim / lanes * lanes, rest = b.dim - whole;
    Vector hi[Op::sums][lanes] = {}, lo[Op::sums][lanes] = {};
    for (int64_t row = 0; row < b.rows; ++row) {
        const T* p[operands];
        for (int i = 0; i < signature.inputs; ++i) p[i] = b.in[i] + row * b.in_stride[i];
        Accumulator<Op, exact> acc;
        Vector x[operands] = {};
        for (int64_t j = 0; j < whole; j += lanes) {
            for (int i = 0; i < signature.inputs; ++i)
                if (signature.input[i] != Kind::scalar) x[i] = load(p[i] + j);
            Op::reduce(x, acc);
        }
        if (rest) {
            for (int i = 0; i < signature.inputs; ++i)
                if (signature.input[i] != Kind::scalar) x[i] = load_part(p[i] + whole, rest);
            Op::reduce(x, acc);
        }
        for (int k = 0; k < Op::sums; ++k) {
            hi[k][row] = acc.hi[k];
            if constexpr (exact) lo[k][row] = acc.lo[k];
        }
    }
    Sum<Vector> sum[Op::sums];
    for (int k = 0; k < Op::sums; ++k)
        sum[k] = exact && k < Op::dots ? across<true>(hi[k], lo[k]) : across<false>(hi[k], lo[k]);
    Vector coefficient[Op::coefficients];
    solve<Op, T>(sum, b.scalar, param, coefficient, b.result);
    if (!b.combines) return;
    for (int64_t row = 0; row < b.rows; ++row) {
        const T* p[operands];
        T* q[operands];
        for (int i = 0; i < signature.inputs; ++i) p[i] = b.in[i] + row * b.in_stride[i];
        for (int i = 0; i < signature.outputs; ++i) q[i] = b.out[i] + row * b.out_stride[i];
        Vector k[Op::coefficients], x[operands], y[operands] = {};
        for (int c = 0; c < Op::coefficients; ++c) k[c] = Vector{} + coefficient[c][row];
        for (int64_t j = 0; j < whole; j += lanes) {
            for (int i = 0; i < signature.inputs; ++i)
                if (signature.input[i] != Kind::scalar) x[i] = load(p[i] + j);
            Op::combine(x, k, y);
            for (int i = 0; i < signature.outputs; ++i)
                if (signature.output[i] != Kind::scalar) store(q[i] + j * b.out_step[i], y[i]);
        }
        if (rest) {
            for (int i = 0; i < signature.inputs; ++i)
                if (signature.input[i] != Kind::scalar) x[i] = load_part(p[i] + whole, rest);
            Op::combine(x, k, y);
            for (int i = 0; i < signature.outputs; ++i)
                if (signature.output[i] != Kind::scalar) store_part(q[i] + whole * b.out_step[i], y[i], rest);
        }
    }
}

template <class Op, class T>
void kernel(const RowCall& call, int64_t begin, int64_t end) {
    constexpr Signature signature(Op::signature);
    Block<T> b{};
    T scrap[operands][lanes + 1];
    b.dim = call.dim;
    b.combines = false;
    for (int i = 0; i < signature.outputs; ++i) {
        b.out_stride[i] = call.out[i] ? call.out_stride[i] : 0;
        b.out_step[i] = call.out[i] ? 1 : 0;
        b.combines |= signature.output[i] != Kind::scalar && call.out[i];
    }
    for (int i = 0; i < signature.inputs; ++i) b.in_stride[i] = call.in_stride[i];
    // Wide rows must stay in the cache between reduce and combine.
    constexpr int64_t block_bytes = 1 << 17;
    const int64_t fitting =
        block_bytes / (call.dim * int64_t{sizeof(T)} * (signature.inputs + signature.outputs));
    const int64_t block = fitting < 1 ? 1 : fitting < lanes ? fitting : lanes;
    for (int64_t row = begin; row < end; row += block) {
        b.rows = end - row < block ? end - row : block;
        for (int i = 0; i < signature.inputs; ++i) {
            b.in[i] = static_cast<const T*>(call.in[i]) + row * call.in_stride[i];
            if (signature.input[i] != Kind::row) b.scalar[i] = load_column(b.in[i], b.in_stride[i], b.rows);
            if (signature.input[i] == Kind::ambient) ++b.in[i];
        }
        T* first[operands];
        for (int i = 0; i < signature.outputs; ++i) {
            first[i] = call.out[i] ? static_cast<T*>(call.out[i]) + row * call.out_stride[i] : scrap[i];
            b.out[i] = signature.output[i] == Kind::ambient ? first[i] + 1 : first[i];
        }
        if (call.dim <= narrow)
            narrow_block<Op>(b, call.param);
        else
            wide_block<Op>(b, call.param);
        for (int i = 0; i < signature.outputs; ++i)
            if (signature.output[i] != Kind::row)
                store_column(first[i], b.out_stride[i], b.result[i], b.rows);
    }
}

}  // namespace

#define HORO_ROW_KERNELS(Op) {kernel<Op, float>, kernel<Op, double>},
const RowEngine row_engine = {{HORO_ROW_OPERATIONS(HORO_ROW_KERNELS)}};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
