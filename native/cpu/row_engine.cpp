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
typedef int64_t Indices __attribute__((vector_size(8 * lanes)));

constexpr int operands = Signature::max_operands;
constexpr int64_t narrow = 8;  // widest row that is transposed

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

// ---- Transposition: rows to one row per lane and back

#if defined(__AVX512F__)
// Rows to columns of an 8 x 8 block, in place.
inline void transpose(Vector (&r)[lanes]) {
    Vector a[lanes], b[lanes];
    for (int i = 0; i < 8; i += 2) {
        a[i] = __builtin_shuffle(r[i], r[i + 1], Indices{0, 8, 2, 10, 4, 12, 6, 14});
        a[i + 1] = __builtin_shuffle(r[i], r[i + 1], Indices{1, 9, 3, 11, 5, 13, 7, 15});
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; ++j) {
            b[i + j] = __builtin_shuffle(a[i + j], a[i + j + 2], Indices{0, 1, 8, 9, 4, 5, 12, 13});
            b[i + j + 2] = __builtin_shuffle(a[i + j], a[i + j + 2], Indices{2, 3, 10, 11, 6, 7, 14, 15});
        }
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = __builtin_shuffle(b[i], b[i + 4], Indices{0, 1, 2, 3, 8, 9, 10, 11});
        r[i + 4] = __builtin_shuffle(b[i], b[i + 4], Indices{4, 5, 6, 7, 12, 13, 14, 15});
    }
}

inline Vector load_masked(const float* p, __mmask8 mask) {
    return (Vector)_mm512_maskz_cvtps_pd(0xff, _mm256_maskz_loadu_ps(mask, p));
}
inline Vector load_masked(const double* p, __mmask8 mask) { return (Vector)_mm512_maskz_loadu_pd(mask, p); }
// Masked stores are slow on some CPUs: a whole vector is stored plainly, a part of one by elements.
template <class T>
inline void store_first(T* p, int64_t n, Vector v) {
    if (n == lanes)
        store(p, v);
    else
        store_part(p, v, n);
}

// Where float f of eight packed rows of dimension 1 to 4 lies among the columns, and where column j's lanes
// lie.
struct PackedIndices {
    alignas(64) int32_t column[5][4][16], packed[5][2][16];
    constexpr PackedIndices() : column(), packed() {
        for (int dim = 1; dim <= 4; ++dim) {
            for (int j = 0; j < dim; ++j)
                for (int l = 0; l < 16; ++l) column[dim][j][l] = (l & 7) * dim + j;
            for (int f = 0; f < 32; ++f) packed[dim][f / 16][f % 16] = (f % dim) * 8 + (f / dim & 7);
        }
    }
};
constexpr PackedIndices packed_indices;

// Eight packed rows of at most four floats: one or two loads and a permutation per column.
inline void load_packed(const float* p, int64_t dim, Vector* x) {
    const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << (8 * dim)) - 1);
    const __m512 a = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
    const __m512 b = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), p + 16);
    for (int64_t j = 0; j < dim; ++j) {
        const __m512i index = _mm512_load_si512(packed_indices.column[dim][j]);
        x[j * operands] =
            (Vector)_mm512_maskz_cvtps_pd(0xff, _mm512_castps512_ps256(_mm512_permutex2var_ps(a, index, b)));
    }
}

inline void store_packed(float* p, int64_t dim, const Vector* y) {
    alignas(64) float columns[32] = {};
    for (int64_t j = 0; j < dim; ++j)
        _mm256_store_ps(columns + 8 * j, _mm512_maskz_cvtpd_ps(0xff, (__m512d)y[j * operands]));
    const __m512 a = _mm512_load_ps(columns), b = _mm512_load_ps(columns + 16);
    alignas(64) float rows[32];
    for (int half = 0; half < 2; ++half)
        _mm512_store_ps(rows + 16 * half,
                        _mm512_permutex2var_ps(a, _mm512_load_si512(packed_indices.packed[dim][half]), b));
    for (int64_t j = 0; j < dim; ++j) std::memcpy(p + 8 * j, rows + 8 * j, 32);
}
inline void load_packed(const double*, int64_t, Vector*) {}
inline void store_packed(double*, int64_t, const Vector*) {}
#endif

// Up to `lanes` rows of a narrow operand to one vector per coordinate; x and y step by `operands` vectors.
template <class T>
inline void load_rows(const T* p, int64_t stride, int64_t rows, int64_t dim, Vector* x) {
#if defined(__AVX512F__)
    if (rows == lanes) {
        if (sizeof(T) == 4 && dim <= 4 && stride == dim) return load_packed(p, dim, x);
        for (int64_t j = 0; j < dim; j += 8) {
            const int64_t n = dim - j < 8 ? dim - j : 8;
            const __mmask8 mask = static_cast<__mmask8>((1 << n) - 1);
            Vector block[lanes];
            for (int l = 0; l < lanes; ++l) block[l] = load_masked(p + l * stride + j, mask);
            transpose(block);
            for (int64_t k = 0; k < n; ++k) x[(j + k) * operands] = block[k];
        }
        return;
    }
#endif
    for (int64_t j = 0; j < dim; ++j) x[j * operands] = load_column(p + j, stride, rows);
}

template <class T>
inline void store_rows(T* p, int64_t stride, int64_t rows, int64_t dim, const Vector* y) {
#if defined(__AVX512F__)
    if (rows == lanes) {
        if (sizeof(T) == 4 && dim <= 4 && stride == dim) return store_packed(p, dim, y);
        for (int64_t j = 0; j < dim; j += 8) {
            const int64_t n = dim - j < 8 ? dim - j : 8;
            Vector block[lanes] = {};
            for (int64_t k = 0; k < n; ++k) block[k] = y[(j + k) * operands];
            transpose(block);
            for (int l = 0; l < lanes; ++l) store_first(p + l * stride + j, n, block[l]);
        }
        return;
    }
#endif
    for (int64_t j = 0; j < dim; ++j) store_column(p + j, stride, y[j * operands], rows);
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

// Vector l of `parts` holds the partial sums of row l; the result has one per lane, in its place.
inline void to_lanes(Vector (&parts)[lanes]) {
#if defined(__AVX512F__)
    transpose(parts);
#else
    Vector columns[lanes];
    for (int j = 0; j < lanes; ++j)
        columns[j] = load_column(reinterpret_cast<const double*>(&parts[0]) + j, lanes, lanes);
    for (int j = 0; j < lanes; ++j) parts[j] = columns[j];
#endif
}

// The sum of each row, one row per lane.
template <bool exact>
inline Sum<Vector> across(Vector (&hi)[lanes], Vector (&lo)[lanes]) {
    to_lanes(hi);
    Sum<Vector> sum{hi[0], Vector{}};
    for (int j = 1; j < lanes; ++j) {
        if constexpr (exact) {
            const Sum<Vector> s = two_sum(sum.hi, hi[j]);
            sum.hi = s.hi;
            sum.lo += s.lo;
        } else {
            sum.hi += hi[j];
        }
    }
    if constexpr (exact) {
        to_lanes(lo);
        for (int j = 0; j < lanes; ++j) sum.lo += lo[j];
    }
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
    Vector x[narrow][operands];
    for (int i = 0; i < signature.inputs; ++i)
        if (signature.input[i] != Kind::scalar) load_rows(b.in[i], b.in_stride[i], b.rows, b.dim, &x[0][i]);
    Accumulator<Op, exact> acc;
    for (int64_t j = 0; j < b.dim; ++j) Op::reduce(x[j], acc);
    Sum<Vector> sum[Op::sums];
    for (int k = 0; k < Op::sums; ++k) sum[k] = {acc.hi[k], acc.lo[k]};
    Vector coefficient[Op::coefficients];
    solve<Op, T>(sum, b.scalar, param, coefficient, b.result);
    if (!b.combines) return;
    Vector y[narrow][operands];
    for (int64_t j = 0; j < b.dim; ++j) Op::combine(x[j], coefficient, y[j]);
    for (int i = 0; i < signature.outputs; ++i)
        if (signature.output[i] != Kind::scalar && b.out_step[i])
            store_rows(b.out[i], b.out_stride[i], b.rows, b.dim, &y[0][i]);
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
