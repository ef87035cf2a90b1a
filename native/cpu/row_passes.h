// What the passes over the rows of a tile share, whatever the storage (rows.cpp, rows_short.cpp); included by
// sources compiled once per instruction set. Everything is local to the source that includes it.
#pragma once
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <type_traits>

#include "cpu/lanes.h"
#include "cpu/row_tile.h"
#include "geometry/double_double.h"

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

// ---- Outputs made by the line, so that they can leave past the cache also where rows share lines

#if defined(__AVX512F__)
template <class T>
struct Line {
    static constexpr int64_t numbers = 64 / sizeof(T), vectors = numbers < lanes ? 1 : numbers / lanes;
    using Mask =
        std::conditional_t<numbers == 32, __mmask32, std::conditional_t<numbers == 16, __mmask16, __mmask8>>;
    static constexpr Mask all = static_cast<Mask>(~0u);
    __m512i v;

    static Mask from(int64_t n) { return static_cast<Mask>(~0ull << n); }
    void store(T* p) const { _mm512_storeu_si512(p, v); }
    void store_part(T* p, int64_t n) const {
        const auto mask = static_cast<Mask>(~from(n));
        if constexpr (sizeof(T) == 8)
            _mm512_mask_storeu_epi64(p, mask, v);
        else if constexpr (sizeof(T) == 4)
            _mm512_mask_storeu_epi32(p, mask, v);
        else
            _mm512_mask_storeu_epi16(p, mask, v);
    }
    void stream(T* p) const { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), v); }
    // those of `other` where the mask says so
    Line merged(Mask mask, Line other) const {
        if constexpr (sizeof(T) == 8)
            return {_mm512_mask_mov_epi64(v, mask, other.v)};
        else if constexpr (sizeof(T) == 4)
            return {_mm512_mask_mov_epi32(v, mask, other.v)};
        else
            return {_mm512_mask_mov_epi16(v, mask, other.v)};
    }
    static Line filled_with(T number) {
        if constexpr (sizeof(T) == 8)
            return {(__m512i)_mm512_set1_pd(number)};
        else if constexpr (sizeof(T) == 4)
            return {(__m512i)_mm512_set1_ps(number)};
        else
            return {_mm512_set1_epi16(static_cast<int16_t>(number.bits))};
    }
    // What was number i becomes number i + by, modulo the line.
    static Line turning(int64_t by) {
        if constexpr (sizeof(T) == 8)
            return {_mm512_sub_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(by))};
        else if constexpr (sizeof(T) == 4)
            return {_mm512_sub_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                     _mm512_set1_epi32(static_cast<int>(by)))};
        else
            return {_mm512_sub_epi16(
                _mm512_maskz_cvtepi8_epi16(
                    all, _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
                                          19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)),
                _mm512_set1_epi16(static_cast<int16_t>(by)))};
    }
    Line turned(Line turn) const {
        if constexpr (sizeof(T) == 8)
            return {_mm512_maskz_permutexvar_epi64(all, turn.v, v)};
        else if constexpr (sizeof(T) == 4)
            return {_mm512_maskz_permutexvar_epi32(all, turn.v, v)};
        else
            return {_mm512_maskz_permutexvar_epi16(all, turn.v, v)};
    }
};
inline Line<double> line_of(const double*, const Vector* v) { return {(__m512i)v[0]}; }
inline Line<float> line_of(const float*, const Vector* v) {
    const __m256 low = _mm512_maskz_cvtpd_ps(0xff, (__m512d)v[0]),
                 high = _mm512_maskz_cvtpd_ps(0xff, (__m512d)v[1]);
    return {_mm512_maskz_inserti64x4(0xff, (__m512i)_mm512_castps256_ps512(low), (__m256i)high, 1)};
}

// The rows of an output. On their way past the cache numbers are turned to where they belong in a line; what
// does not fit into one is where the next begins.
template <class T>
class OutRows {
    using Mask = typename Line<T>::Mask;
    T* to_ = nullptr;  // coordinate 0, or the line that is being filled
    int64_t next_ = 0, step_ = 0, filled_ = 0;
    T* open_ = nullptr;
    Line<T> line_{}, turn_{};
    Mask mine_{};

    HORO_HD void fill(int64_t numbers) {
        filled_ = numbers;
        turn_ = Line<T>::turning(filled_);
        mine_ = Line<T>::from(filled_);
    }
    HORO_HD void leave(Line<T> full) {
        full.stream(to_);
        to_ += Line<T>::numbers;
    }

  public:
    OutRows() = default;
    HORO_HD OutRows(const Tile<T>& t, int i, bool ambient)
        : to_(t.out[i] + t.combine_from * t.out_stride[i]), next_(t.out_stride[i]), step_(t.out_step[i]) {
        if (!t.open[i]) return;
        next_ -= t.dim + ambient;
        open_ = t.open[i];
        line_ = {_mm512_load_si512(open_)};
        to_ -= ambient;
        fill(static_cast<int64_t>(reinterpret_cast<uintptr_t>(to_) % 64 / sizeof(T)));
        to_ -= filled_;
    }
    // the time of a row; elsewhere the engine writes it
    template <class N>
    HORO_HD void time(const N* times, int64_t row) {
        if (!open_) return;
        line_ = line_.merged(mine_, Line<T>::filled_with(static_cast<T>(times[row])));
        if (filled_ + 1 == Line<T>::numbers) leave(line_);
        fill((filled_ + 1) % Line<T>::numbers);
    }
    // coordinates j and on: a line of them, or n
    HORO_HD void put(int64_t j, Line<T> line) {
        if (!open_) return line.store(to_ + j * step_);
        if (!filled_) return leave(line);
        const Line<T> turned = line.turned(turn_);
        leave(line_.merged(mine_, turned));
        line_ = turned;
    }
    HORO_HD void put_last(int64_t j, Line<T> line, int64_t n) {
        if (!open_) return line.store_part(to_ + j * step_, n);
        const Line<T> turned = line.turned(turn_), merged = line_.merged(mine_, turned);
        const bool full = filled_ + n >= Line<T>::numbers;
        if (full) leave(merged);
        line_ = full ? turned : merged;
        fill((filled_ + n) % Line<T>::numbers);
    }
    HORO_HD void next_row() { to_ += next_; }
    HORO_HD void close() {
        if (open_) _mm512_store_si512(open_, line_.v);
    }
};

// The outputs of an operation.
template <class Op, class T>
HORO_HD void open_rows(const Tile<T>& t, OutRows<T>* out) {
    constexpr Signature signature(Op::signature);
    for (int i = 0; i < signature.outputs; ++i)
        if (signature.output[i] != Kind::scalar) out[i] = {t, i, signature.output[i] == Kind::ambient};
}
template <class Op, class T>
HORO_HD void put_times(const Tile<T>& t, int64_t row, OutRows<T>* out) {
    constexpr Signature signature(Op::signature);
    for (int i = 0; i < signature.outputs; ++i)
        if (signature.output[i] == Kind::ambient) out[i].time(t.result[i], row);
}
template <class Op, class T>
HORO_HD void next_rows(OutRows<T>* out) {
    constexpr Signature signature(Op::signature);
    for (int i = 0; i < signature.outputs; ++i) out[i].next_row();
}
template <class Op, class T>
HORO_HD void close_rows(OutRows<T>* out) {
    constexpr Signature signature(Op::signature);
    for (int i = 0; i < signature.outputs; ++i) out[i].close();
}
#endif

// Groups of vectors, which is how 16-bit numbers are best taken apart: in any order, but always the same.
template <class T>
constexpr int group = sizeof(T) == 2 ? 2 : 1;
template <class T>
inline void load_group(const T* p, Vector* v) {
    v[0] = load(p);
}
template <class T>
inline void load_group_part(const T* p, int64_t n, Vector* v) {
    v[0] = load_part(p, n);
}
#if defined(__AVX512F__)
// Even numbers, then odd ones; each is the upper half of a float32.
inline void spread(ShortBf16, __m256i x, Vector* v) {
    v[0] = (Vector)_mm512_maskz_cvtps_pd(0xff, _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)));
    const __m256i odd = _mm256_and_si256(x, _mm256_set1_epi32(static_cast<int>(0xffff0000)));
    v[1] = (Vector)_mm512_maskz_cvtps_pd(0xff, _mm256_castsi256_ps(odd));
}
inline void spread(ShortF16, __m256i x, Vector* v) {
    const __m512 f = _mm512_maskz_cvtph_ps(0xffff, x);
    v[0] = (Vector)_mm512_maskz_cvtps_pd(0xff, __builtin_shufflevector(f, f, 0, 1, 2, 3, 4, 5, 6, 7));
    v[1] = (Vector)_mm512_maskz_cvtps_pd(0xff, __builtin_shufflevector(f, f, 8, 9, 10, 11, 12, 13, 14, 15));
}
template <class E>
inline void load_short(const E* p, Vector* v) {
    spread(E{}, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), v);
}
template <class E>
inline void load_short_part(const E* p, int64_t n, Vector* v) {
    spread(E{}, _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p), v);
}
inline void load_group(const ShortBf16* p, Vector* v) { load_short(p, v); }
inline void load_group(const ShortF16* p, Vector* v) { load_short(p, v); }
inline void load_group_part(const ShortBf16* p, int64_t n, Vector* v) { load_short_part(p, n, v); }
inline void load_group_part(const ShortF16* p, int64_t n, Vector* v) { load_short_part(p, n, v); }
#endif

HORO_HD void prefetch(const void* p) { __builtin_prefetch(p); }

// ---- Sums

// What an operation's `reduce` adds to: `sums` of them, the first `compensated` with their rounding errors
// (Ogita, Rump, Oishi 2005), as products of float64 numbers need and those of float32 numbers, which are
// exact in double, do not but where they cancel. Those that `skipped` has a bit for are left out.
template <int sums, int compensated, unsigned skipped = 0>
struct Accumulator {
    static constexpr bool exact = compensated > 0;
    static constexpr bool has(int k) { return !(skipped >> k & 1); }
    Vector hi[sums];
    Vector lo[compensated ? compensated : 1];

    HORO_HD Accumulator() {
        repeat<sums>([&](auto k) { hi[k] = Vector{}; });
        repeat<compensated>([&](auto k) { lo[k] = Vector{}; });
    }
    HORO_HD void dot(int k, Vector a, Vector b) {
        if (!has(k)) return;
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
        repeat<sums>([&](auto k) {
            if constexpr (k < compensated) {
                const Sum<Vector> s = two_sum(hi[k], other.hi[k]);
                hi[k] = s.hi;
                lo[k] += other.lo[k] + s.lo;
            } else {
                hi[k] += other.hi[k];
            }
        });
    }
};

// The vectors of a block: sums; their compensations; of operations that are refined the sum of what is across
// and the two numbers it needs; and which rows are in doubt.
template <class Op, class T>
struct Layout {
    static constexpr Signature signature{Op::signature};
    static constexpr int compensated = sizeof(T) == 8 || Op::precise ? Op::dots : 0;
    static constexpr bool refined = sizeof(T) < 8 && Op::refined;
    static constexpr bool tested = sizeof(T) < 8 && Op::tested;
    static constexpr bool doubted = refined || tested;
    static constexpr int across = Op::sums + compensated;
    static constexpr int doubt = across + (refined ? 3 : 0);
    static constexpr int sums = doubt + doubted;
    static constexpr int coefficients = coefficients_of<Op, T>;
    static_assert(Op::dots <= Op::sums, "dots are the first of the sums");
    static_assert(!(refined && compensated), "either");
    // The sums that need not be summed of a row that is not in doubt.
    static constexpr unsigned derived() {
        if constexpr (tested) {
            return Op::derived;
        } else if constexpr (refined) {
            constexpr Determinant at = Op::determinant;
            return at.dd < 0 ? 0 : 1u << at.dd | 1u << at.xd;
        }
        return 0;
    }
    // Whether rows in doubt are summed again: what is across may be all there is to know.
    static constexpr bool again() { return tested || derived() != 0; }
};

// What is summed in a pass over the rows: `reduce` of an operation, of all rows or, all of it, of those in
// doubt; or what is across, of those. `at` is the first of the vectors of the block, `numbers` how many after
// the sums are read.
template <class Op, class T>
struct FirstPass {
    using L = Layout<Op, T>;
    static constexpr int sums = Op::sums, compensated = L::doubted ? 0 : L::compensated, at = 0, numbers = 0;
    static constexpr unsigned skipped = L::derived();
    static constexpr bool selected = false;
    template <class Acc>
    HORO_HD static void reduce(const Vector* x, const Vector*, Acc& acc) {
        Op::reduce(x, acc);
    }
};
template <class Op, class T>
struct WholePass : FirstPass<Op, T> {
    static constexpr int compensated = Layout<Op, T>::compensated;
    static constexpr unsigned skipped = 0;
    static constexpr bool selected = true;
};
template <class Op, class T>
struct AcrossPass {
    static constexpr int sums = 1, compensated = 0, at = Layout<Op, T>::across, numbers = 2;
    static constexpr unsigned skipped = 0;
    static constexpr bool selected = true;
    template <class Acc>
    HORO_HD static void reduce(const Vector* x, const Vector* k, Acc& acc) {
        acc.add(0, across_step<Op>(x, k));
    }
};
template <class Pass>
using Sums = Accumulator<Pass::sums, Pass::compensated, Pass::skipped>;
template <class Pass>
constexpr int vectors = Pass::sums + Pass::compensated;
// Two hide the latency of few additions.
template <class Pass>
constexpr int sets = Pass::sums - __builtin_popcount(Pass::skipped) <= 4 ? 2 : 1;

template <bool exact>
HORO_HD Sum<Vector> plus(const Sum<Vector>& a, const Sum<Vector>& b) {
    if constexpr (exact)
        return add(a, b);
    else
        return {a.hi + b.hi, Vector{}};
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
    repeat<lanes>([&](auto l) { s[l] = {hi[l], exact ? lo[l] : Vector{}}; });
#if defined(__AVX512F__)
    repeat<4>([&](auto l) {
        s[l] = fold<exact>(s[2 * l], s[2 * l + 1], Indices{0, 8, 2, 10, 4, 12, 6, 14},
                           Indices{1, 9, 3, 11, 5, 13, 7, 15});
    });
    const Indices even = {0, 1, 4, 5, 8, 9, 12, 13}, odd = {2, 3, 6, 7, 10, 11, 14, 15};  // pairs
    repeat<2>([&](auto l) { s[l] = fold<exact>(s[2 * l], s[2 * l + 1], even, odd); });
    return fold<exact>(s[0], s[1], even, odd);
#elif defined(__AVX2__)
    repeat<2>([&](auto l) {
        s[l] = fold<exact>(s[2 * l], s[2 * l + 1], Indices{0, 4, 2, 6}, Indices{1, 5, 3, 7});
    });
    return fold<exact>(s[0], s[1], Indices{0, 1, 4, 5}, Indices{2, 3, 6, 7});
#else
    return fold<exact>(s[0], s[1], Indices{0, 2}, Indices{1, 3});
#endif
}

// ---- Passes over wide rows

// Vectors of a cache line, two at least.
template <class T>
constexpr int line_vectors = 64 / (lanes * int{sizeof(T)}) < 2 ? 2 : 64 / (lanes * int{sizeof(T)});

// The lanes, from 0 on.
HORO_HD Indices lane_numbers() {
    Indices all{};
    for (int l = 0; l < lanes; ++l) all[l] = l;
    return all;
}

template <class Op, class T, class Pass>
void reduce_wide(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    using Acc = Sums<Pass>;
    constexpr int sets = rows::sets<Pass>, sums = Pass::sums, group = rows::group<T>;
    constexpr int groups = line_vectors<T> / group, elements = group * lanes;
    const Tile<T> t = tile;
    const int64_t whole = t.dim / elements * elements, rest = t.dim - whole;
    for (int64_t row = 0; row < t.rows; ++row) {
        Vector* const parts = t.parts + row % lanes;
        Vector* const block = t.sums + row / lanes * L::sums + Pass::at;
        bool asked = true;
        if constexpr (Pass::selected) asked = ((Indices)block[L::doubt - Pass::at])[row % lanes] != 0;
        if (asked) {
            const T* p[operands];
            for (int i = 0; i < L::signature.inputs; ++i) p[i] = t.in[i] + row * t.in_stride[i];
            Vector k[Pass::numbers + 1];
            for (int n = 0; n < Pass::numbers; ++n)
                k[n] = Vector{} + reinterpret_cast<const double*>(block + 1 + n)[row % lanes];
            Acc acc[sets];
            if (!t.first)
                repeat<sets>([&](auto set) {
                    const Vector* from = parts + set * vectors<Pass> * lanes;
                    repeat<sums>([&](auto s) {
                        if (Acc::has(s)) acc[set].hi[s] = from[s * lanes];
                    });
                    repeat<Pass::compensated>([&](auto s) { acc[set].lo[s] = from[(sums + s) * lanes]; });
                });
            Vector x[operands][group] = {};
            const auto add = [&](Acc& to, int v) {
                Vector in[operands] = {};
                for (int i = 0; i < L::signature.inputs; ++i) in[i] = x[i][v];
                Pass::reduce(in, k, to);
            };
            int64_t j = 0;
            for (; j + groups * elements <= whole; j += groups * elements) {
                for (int i = 0; i < L::signature.inputs; ++i)
                    if (L::signature.input[i] != Kind::scalar && !Pass::selected && !(t.halves && i % 2))
                        for (int line = 0; line < groups * elements * int{sizeof(T)}; line += 64)
                            prefetch(reinterpret_cast<const char*>(p[i] + j + t.ahead[i]) + line);
                repeat<groups>([&](auto g) {
                    for (int i = 0; i < L::signature.inputs; ++i)
                        if (L::signature.input[i] != Kind::scalar) load_group(p[i] + j + g * elements, x[i]);
                    repeat<group>([&](auto v) { add(acc[(g * group + v) % sets], v); });
                });
            }
            for (; j < whole; j += elements) {
                for (int i = 0; i < L::signature.inputs; ++i)
                    if (L::signature.input[i] != Kind::scalar) load_group(p[i] + j, x[i]);
                repeat<group>([&](auto v) { add(acc[v % sets], v); });
            }
            if (rest) {
                for (int i = 0; i < L::signature.inputs; ++i)
                    if (L::signature.input[i] != Kind::scalar) load_group_part(p[i] + whole, rest, x[i]);
                repeat<group>([&](auto v) { add(acc[v % sets], v); });
            }
            if constexpr (sets == 2)
                if (t.last) acc[0].add(acc[1]);
            repeat<sets>([&](auto set) {
                if (set > 0 && t.last) return;
                Vector* to = parts + set * vectors<Pass> * lanes;
                repeat<sums>([&](auto s) {
                    if (Acc::has(s)) to[s * lanes] = acc[set].hi[s];
                });
                repeat<Pass::compensated>([&](auto s) { to[(sums + s) * lanes] = acc[set].lo[s]; });
            });
        }
        if (t.last && (row % lanes == lanes - 1 || row == t.rows - 1)) {
            Indices mine = ~Indices{};
            if constexpr (Pass::selected) {
                mine = (Indices)block[L::doubt - Pass::at];
                if (!any(mine)) continue;
            }
            const auto put = [mine](Vector& to, Vector sum) { to = mine ? sum : to; };
            for (int s = 0; s < sums; ++s) {
                if (!Acc::has(s)) continue;
                const Vector* hi = t.parts + s * lanes;
                if (s < Pass::compensated) {
                    const Sum<Vector> total = across<true>(hi, t.parts + (sums + s) * lanes);
                    put(block[s], total.hi);
                    put(block[sums + s], total.lo);
                } else {
                    put(block[s], across<false>(hi, hi).hi);
                }
            }
        }
    }
}

// Finds the rows whose sums are not certain and works out what follows from those of the others.
template <class Op, class T>
bool doubt(const Tile<T>& tile) {
    using L = Layout<Op, T>;
    const Tile<T> t = tile;
    Indices all{};
    for (int64_t b = 0; b < t.blocks; ++b) {
        Vector* const sums = t.sums + b * L::sums;
        Sum<Vector> sum[Op::sums];
        for (int k = 0; k < Op::sums; ++k)
            sum[k] = {Sums<FirstPass<Op, T>>::has(k) ? sums[k] : Vector{}, Vector{}};
        Indices certain{};
        if constexpr (L::refined) {
            certain = determinant_is_certain<Op>(sum, t.sum_error);
            derive_differences<Op>(sum);
            sums[L::across] = certain_across<Op>(sum);
        } else {
            certain = Op::certain(sum, t.param, t.sum_error);
            Op::derive(sum);
        }
        for (int k = 0; k < Op::sums; ++k) sums[k] = sum[k].hi;
        for (int k = 0; k < L::compensated; ++k) sums[Op::sums + k] = Vector{};
        const Indices doubtful = ~certain & (lane_numbers() < t.rows - b * lanes);
        sums[L::doubt] = (Vector)doubtful;
        all |= doubtful;
    }
    return any(all);
}

// What a pass for what is across needs of the sums.
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
void across_wide(const Tile<T>& tile) {
    if (tile.first) aim<Op>(tile);
    reduce_wide<Op, T, AcrossPass<Op, T>>(tile);
}

template <class Op>
constexpr bool combines() {
    constexpr Signature signature(Op::signature);
    for (int i = 0; i < signature.outputs; ++i)
        if (signature.output[i] != Kind::scalar) return true;
    return false;
}

template <class Pass>
using Parts = std::integral_constant<int, vectors<Pass> * sets<Pass>>;

template <class Op, class T>
constexpr WideKernels<T> wide_kernels() {
    using L = Layout<Op, T>;
    using First = FirstPass<Op, T>;
    WideKernels<T> k{};
    const auto runs = [&](auto parts) {
        static_assert(decltype(parts)::value <= 32, "the engine's scratch memory");
        k.parts = k.parts < parts ? parts : k.parts;
    };
    runs(Parts<First>{});
    k.reduce_wide = reduce_wide<Op, T, First>;
    if constexpr (L::doubted) k.doubt = doubt<Op, T>;
    if constexpr (L::again()) {
        using Whole = WholePass<Op, T>;
        runs(Parts<Whole>{});
        k.again_wide[0] = reduce_wide<Op, T, Whole>;
    }
    if constexpr (L::refined) {
        using Across = AcrossPass<Op, T>;
        runs(Parts<Across>{});
        k.again_wide[1] = across_wide<Op, T>;
    }
    return k;
}

}  // namespace
}  // namespace horo::HORO_ISA_NAMESPACE::rows
