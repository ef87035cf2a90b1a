// The row operations of one family (HORO_ROW_FAMILY), compiled once per instruction set: the three steps of
// an operation on a tile of rows. How rows get into a tile and out of it is in row_engine.cpp.
#include "cpu/row_tile.h"
#include "geometry/operations.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace horo::HORO_ISA_NAMESPACE::rows {
namespace {

typedef int64_t Indices __attribute__((vector_size(8 * lanes)));

// ---- Loads and stores

inline Vector load(const double* p) {
    Vector v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline void store(double* p, Vector v) { std::memcpy(p, &v, sizeof v); }

// Intrinsics where there are any: GCC converts the halves of a vector apart.
#if defined(__AVX512F__)
inline Vector load(const float* p) { return (Vector)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(p)); }
inline void store(float* p, Vector v) { _mm256_storeu_ps(p, _mm512_maskz_cvtpd_ps(0xff, (__m512d)v)); }
#elif defined(__AVX2__)
inline Vector load(const float* p) { return (Vector)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
inline void store(float* p, Vector v) { _mm_storeu_ps(p, _mm256_cvtpd_ps((__m256d)v)); }
#else
typedef float Floats __attribute__((vector_size(4 * lanes)));
inline Vector load(const float* p) {
    Floats f;
    std::memcpy(&f, p, sizeof f);
    return __builtin_convertvector(f, Vector);
}
inline void store(float* p, Vector v) {
    const Floats f = __builtin_convertvector(v, Floats);
    std::memcpy(p, &f, sizeof f);
}
#endif

// The first n of a vector's elements, the rest zero.
#if defined(__AVX512F__)
inline __mmask8 first_lanes(int64_t n) { return static_cast<__mmask8>((1u << n) - 1); }
inline Vector load_part(const float* p, int64_t n) {
    return (Vector)_mm512_maskz_cvtps_pd(0xff, _mm256_maskz_loadu_ps(first_lanes(n), p));
}
inline Vector load_part(const double* p, int64_t n) {
    return (Vector)_mm512_maskz_loadu_pd(first_lanes(n), p);
}
inline void store_part(float* p, Vector v, int64_t n) {
    _mm256_mask_storeu_ps(p, first_lanes(n), _mm512_maskz_cvtpd_ps(0xff, (__m512d)v));
}
inline void store_part(double* p, Vector v, int64_t n) {
    _mm512_mask_storeu_pd(p, first_lanes(n), (__m512d)v);
}
#else
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
#endif

#if defined(__AVX512F__)
inline void stream(float* p, Vector v) { _mm256_stream_ps(p, _mm512_maskz_cvtpd_ps(0xff, (__m512d)v)); }
inline void stream(double* p, Vector v) { _mm512_stream_pd(p, (__m512d)v); }
#else
inline void stream(float* p, Vector v) { store(p, v); }
inline void stream(double* p, Vector v) { store(p, v); }
#endif

inline void prefetch(const void* p) { __builtin_prefetch(p); }

// ---- Sums

// What an operation's `reduce` adds to: `sums` of them, the first `compensated` with their rounding errors
// (Ogita, Rump, Oishi 2005); needed for float64 storage only, since products of float32 numbers are exact in
// double.
template <int sums, int compensated>
struct Accumulator {
    static constexpr bool exact = compensated > 0;
    Vector hi[sums];
    Vector lo[compensated ? compensated : 1];

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
    HORO_HD void add(const Accumulator& other) {
        for (int k = 0; k < sums; ++k) {
            if (k < compensated) {
                const Sum<Vector> s = two_sum(hi[k], other.hi[k]);
                hi[k] = s.hi;
                lo[k] += other.lo[k] + s.lo;
            } else {
                hi[k] += other.hi[k];
            }
        }
    }
};

// The vectors of a block: sums, their compensations and, of rows that are read once more, the sum of that
// second pass and the two numbers it needs.
template <class Op, class T>
struct Layout {
    static constexpr Signature signature{Op::signature};
    static constexpr int compensated = sizeof(T) == 8 || Op::precise ? Op::dots : 0;
    static constexpr bool refined = sizeof(T) == 4 && Op::refined;
    static constexpr int across = Op::sums + compensated;
    static constexpr int sums = across + (refined ? 3 : 0);
    static_assert(Op::dots <= Op::sums, "dots are the first of the sums");
    static_assert(!(refined && compensated), "either");
};

// What is summed in a pass over the rows: `reduce` of an operation, or what is across.
template <class Op, class T>
struct FirstPass {
    static constexpr int sums = Op::sums, compensated = Layout<Op, T>::compensated, at = 0, numbers = 0;
    template <class Acc>
    HORO_HD static void reduce(const Vector* x, const Vector*, Acc& acc) {
        Op::reduce(x, acc);
    }
};
template <class Op, class T>
struct SecondPass {
    static constexpr int sums = 1, compensated = 0, at = Layout<Op, T>::across, numbers = 2;
    template <class Acc>
    HORO_HD static void reduce(const Vector* x, const Vector* k, Acc& acc) {
        acc.add(0, across_step<Op>(x, k));
    }
};
template <class Pass>
constexpr int sets = Pass::sums <= 4 ? 2 : 1;  // two hide the latency of few additions
template <class Pass>
constexpr int vectors = Pass::sums + Pass::compensated;

template <bool exact>
HORO_HD Sum<Vector> plus(const Sum<Vector>& a, const Sum<Vector>& b) {
    if constexpr (exact) {
        const Sum<Vector> s = two_sum(a.hi, b.hi);
        return {s.hi, (a.lo + b.lo) + s.lo};
    } else {
        return {a.hi + b.hi, Vector{}};
    }
}

// Of two vectors: every 2nd, 4th, ... element, and the others.
template <bool exact>
HORO_HD Sum<Vector> fold(const Sum<Vector>& a, const Sum<Vector>& b, Indices even, Indices odd) {
    if constexpr (exact)
        return plus<exact>({__builtin_shuffle(a.hi, b.hi, even), __builtin_shuffle(a.lo, b.lo, even)},
                           {__builtin_shuffle(a.hi, b.hi, odd), __builtin_shuffle(a.lo, b.lo, odd)});
    else
        return {__builtin_shuffle(a.hi, b.hi, even) + __builtin_shuffle(a.hi, b.hi, odd), Vector{}};
}

// Vector l of `parts` holds the partial sums of row l; the result has one sum per lane.
template <bool exact>
HORO_HD Sum<Vector> across(const Vector* hi, const Vector* lo) {
    Sum<Vector> s[lanes];
    for (int l = 0; l < lanes; ++l) s[l] = {hi[l], exact ? lo[l] : Vector{}};
#if defined(__AVX512F__)
    for (int l = 0; l < 4; ++l)
        s[l] = fold<exact>(s[2 * l], s[2 * l + 1], Indices{0, 8, 2, 10, 4, 12, 6, 14},
                           Indices{1, 9, 3, 11, 5, 13, 7, 15});
    for (int l = 0; l < 2; ++l)
        s[l] = fold<exact>(s[2 * l], s[2 * l + 1], Indices{0, 1, 8, 9, 4, 5, 12, 13},
                           Indices{2, 3, 10, 11, 6, 7, 14, 15});
    return fold<exact>(s[0], s[1], Indices{0, 1, 2, 3, 8, 9, 10, 11}, Indices{4, 5, 6, 7, 12, 13, 14, 15});
#elif defined(__AVX2__)
    for (int l = 0; l < 2; ++l)
        s[l] = fold<exact>(s[2 * l], s[2 * l + 1], Indices{0, 4, 2, 6}, Indices{1, 5, 3, 7});
    return fold<exact>(s[0], s[1], Indices{0, 1, 4, 5}, Indices{2, 3, 6, 7});
#else
    return fold<exact>(s[0], s[1], Indices{0, 2}, Indices{1, 3});
#endif
}

// ---- The steps

template <class Op, class T, class Pass>
void reduce_narrow(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;  // a copy that no store can touch
    for (int64_t b = 0; b < t.blocks; ++b) {
        const T* p[operands];
        for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + b * t.in_stride[i];
        Vector* const sums = t.sums + b * L::sums;
        Vector k[Pass::numbers + 1];
        for (int n = 0; n < Pass::numbers; ++n) k[n] = sums[Pass::at + 1 + n];
        Accumulator<Pass::sums, Pass::compensated> acc;
        for (int64_t j = 0; j < t.dim; ++j) {
            Vector x[operands] = {};
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j * lanes);
            Pass::reduce(x, k, acc);
        }
        for (int s = 0; s < Pass::sums; ++s) sums[Pass::at + s] = acc.hi[s];
        for (int s = 0; s < Pass::compensated; ++s) sums[Pass::at + Pass::sums + s] = acc.lo[s];
    }
}

// Vectors of a cache line, two at least.
template <class T>
constexpr int line_vectors = 64 / (lanes * int{sizeof(T)}) < 2 ? 2 : 64 / (lanes * int{sizeof(T)});

template <class Op, class T, class Pass>
void reduce_wide(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    constexpr int step = line_vectors<T>, sets = rows::sets<Pass>, sums = Pass::sums;
    const Tile<T> t = tile;
    const int64_t whole = t.dim / lanes * lanes, rest = t.dim - whole;
    for (int64_t row = 0; row < t.rows; ++row) {
        const T* p[operands];
        for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + row * t.in_stride[i];
        Vector* const parts = t.parts + row % lanes;
        Vector* const block = t.sums + row / lanes * L::sums + Pass::at;
        Vector k[Pass::numbers + 1];
        for (int n = 0; n < Pass::numbers; ++n)
            k[n] = Vector{} + reinterpret_cast<const double*>(block + 1 + n)[row % lanes];
        Accumulator<sums, Pass::compensated> acc[sets];
        if (!t.first) {
            for (int set = 0; set < sets; ++set) {
                const Vector* from = parts + set * vectors<Pass> * lanes;
                for (int s = 0; s < sums; ++s) acc[set].hi[s] = from[s * lanes];
                for (int s = 0; s < Pass::compensated; ++s) acc[set].lo[s] = from[(sums + s) * lanes];
            }
        }
        Vector x[operands] = {};
        int64_t j = 0;
        for (; j + step * lanes <= whole; j += step * lanes) {
            // two passes ask for half of the next rows each: some 7 % faster than all of it in the first
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar && (!L::refined || (Pass::at == 0) == (i % 2 == 0)))
                    for (int line = 0; line < step * lanes * int{sizeof(T)}; line += 64)
                        prefetch(reinterpret_cast<const char*>(p[i] + j + t.ahead[i]) + line);
            for (int v = 0; v < step; ++v) {
                for (int i = 0; i < L::signature.inputs; ++i)
                    if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j + v * lanes);
                Pass::reduce(x, k, acc[v % sets]);
            }
        }
        for (; j < whole; j += lanes) {
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j);
            Pass::reduce(x, k, acc[0]);
        }
        if (rest) {
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load_part(p[i] + whole, rest);
            Pass::reduce(x, k, acc[0]);
        }
        if constexpr (sets == 2)
            if (t.last) acc[0].add(acc[1]);
        for (int set = 0; set < (t.last ? 1 : sets); ++set) {
            Vector* to = parts + set * vectors<Pass> * lanes;
            for (int s = 0; s < sums; ++s) to[s * lanes] = acc[set].hi[s];
            for (int s = 0; s < Pass::compensated; ++s) to[(sums + s) * lanes] = acc[set].lo[s];
        }
        if (t.last && (row % lanes == lanes - 1 || row == t.rows - 1)) {
            for (int s = 0; s < sums; ++s) {
                const Vector* hi = t.parts + s * lanes;
                if (s < Pass::compensated) {
                    const Sum<Vector> total = across<true>(hi, t.parts + (sums + s) * lanes);
                    block[s] = total.hi;
                    block[sums + s] = total.lo;
                } else {
                    block[s] = across<false>(hi, hi).hi;
                }
            }
        }
    }
}

// What the second pass needs of the sums of the first.
template <class Op, class T>
void aim(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;
    for (int64_t b = 0; b < t.blocks; ++b) {
        Vector* const sums = t.sums + b * L::sums;
        Sum<Vector> sum[Op::sums];
        for (int k = 0; k < Op::sums; ++k) sum[k] = {sums[k], Vector{}};
        across_aim<Op>(sum, sums + L::across + 1);
    }
}

template <class Op, class T>
void refine_narrow(const Tile<T>& tile) {
    aim<Op>(tile);
    reduce_narrow<Op, T, SecondPass<Op, T>>(tile);
}
template <class Op, class T>
void refine_wide(const Tile<T>& tile) {
    if (tile.first) aim<Op>(tile);
    reduce_wide<Op, T, SecondPass<Op, T>>(tile);
}

template <class Op, class T>
void solve(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;
    double param[Signature::max_params];  // no store can touch these: what follows from them is computed once
    for (int i = 0; i < L::signature.params; ++i) param[i] = t.param[i];
    for (int64_t b = 0; b < t.blocks; ++b) {
        for (int i = 0; i < L::signature.inputs; ++i)
            for (int64_t line = 0; line < t.next_bytes[i]; line += 64)
                prefetch(t.next[i] + b * t.next_bytes[i] + line);
        const Vector* sums = t.sums + b * L::sums;
        Sum<Vector> sum[Op::sums];
        for (int k = 0; k < Op::sums; ++k)
            sum[k] = {sums[k], k < L::compensated ? sums[Op::sums + k] : Vector{}};
        Vector scalar[operands] = {}, result[operands] = {}, k[Op::coefficients] = {};
        for (int i = 0; i < L::signature.inputs; ++i)
            if (L::signature.input[i] != Kind::row) scalar[i] = load(t.scalar[i] + b * t.scalar_stride[i]);
        const Vector* across = L::refined ? sums + L::across : nullptr;
        Op::template solve<Vector>({sum, scalar, param, k, result, t.rounding, across});
        for (int c = 0; c < Op::coefficients; ++c) t.coefficients[b * Op::coefficients + c] = k[c];
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
        Vector k[Op::coefficients];
        for (int c = 0; c < Op::coefficients; ++c) k[c] = t.coefficients[b * Op::coefficients + c];
        for (int64_t j = 0; j < t.dim; ++j) {
            Vector x[operands] = {}, y[operands] = {};
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j * lanes);
            Op::combine(x, k, y);
            for (int i = 0; i < L::signature.outputs; ++i)
                if (L::signature.output[i] != Kind::scalar) store(q[i] + j * lanes, y[i]);
        }
    }
}

template <class Op, class T>
void combine_wide(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;
    const int64_t whole = t.dim / lanes * lanes, rest = t.dim - whole;
    for (int64_t row = t.combine_from; row < t.combine_to; ++row) {
        const T* p[operands];
        T* q[operands];
        for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + row * t.in_stride[i];
        for (int i = 0; i < L::signature.outputs; ++i) q[i] = t.out[i] + row * t.out_stride[i];
        const double* coefficients =
            reinterpret_cast<const double*>(t.coefficients + row / lanes * Op::coefficients) + row % lanes;
        Vector k[Op::coefficients], x[operands] = {}, y[operands] = {};
        for (int c = 0; c < Op::coefficients; ++c) k[c] = Vector{} + coefficients[c * lanes];
        for (int64_t j = 0; j < whole; j += lanes) {
            for (int i = 0; i < L::signature.inputs; ++i)
                if (L::signature.input[i] != Kind::scalar) x[i] = load(p[i] + j);
            Op::combine(x, k, y);
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
            Op::combine(x, k, y);
            for (int i = 0; i < L::signature.outputs; ++i)
                if (L::signature.output[i] != Kind::scalar)
                    store_part(q[i] + whole * t.out_step[i], y[i], rest);
        }
    }
}

template <class Op>
constexpr bool combines() {
    constexpr Signature signature(Op::signature);
    for (int i = 0; i < signature.outputs; ++i)
        if (signature.output[i] != Kind::scalar) return true;
    return false;
}

template <class Op, class T>
constexpr TileKernels<T> kernels() {
    using First = FirstPass<Op, T>;
    constexpr int parts = vectors<First> * sets<First>;
    TileKernels<T> k{};
    k.reduce_narrow = reduce_narrow<Op, T, First>;
    k.reduce_wide = reduce_wide<Op, T, First>;
    k.solve = solve<Op, T>;
    k.sums = Layout<Op, T>::sums;
    k.coefficients = Op::coefficients;
    k.parts = parts;
    static_assert(parts <= 32, "the engine's scratch memory");
    if constexpr (Layout<Op, T>::refined) {
        static_assert(vectors<SecondPass<Op, T>> * sets<SecondPass<Op, T>> <= parts, "of the first pass");
        k.refine_narrow = refine_narrow<Op, T>;
        k.refine_wide = refine_wide<Op, T>;
    }
    if constexpr (combines<Op>()) {
        k.combine_narrow = combine_narrow<Op, T>;
        k.combine_wide = combine_wide<Op, T>;
    }
    return k;
}

#define HORO_ROW_KERNELS(Op) {kernels<Op, float>(), kernels<Op, double>(), Signature(Op::signature)},
#define HORO_JOIN(a, b) a##b
#define HORO_OF_FAMILY(a, b) HORO_JOIN(a, b)
constexpr RowKernels table[] = {HORO_OF_FAMILY(HORO_ROWS_, HORO_ROW_FAMILY)(HORO_ROW_KERNELS)};

}  // namespace

extern const RowFamily HORO_OF_FAMILY(family_, HORO_ROW_FAMILY);
const RowFamily HORO_OF_FAMILY(family_, HORO_ROW_FAMILY) = {table, sizeof table / sizeof *table};

}  // namespace horo::HORO_ISA_NAMESPACE::rows
