// Rows of any storage type read and written as vectors of doubles, and their sums. Included by files compiled
// once per set only; everything here is static.
#pragma once
#include "cpu/lanes.h"
#include "cpu/short_float.h"
#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif
#include "geometry/double_double.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

constexpr int width = lanes<double>;
using Doubles = Vec<double, width>;

static inline Doubles load_doubles(const double* p) { return load<double, width>(p); }
static inline Doubles load_doubles(const float* p) {
#if defined(__AVX512F__)  // of the builtin GCC makes two conversions of half the width
    return (Doubles)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(p));
#else
    return __builtin_convertvector(load<float, width>(p), Doubles);
#endif
}

static inline Doubles load_doubles(const ShortBf16* p) {
    typedef uint16_t Shorts __attribute__((vector_size(2 * width)));
    Shorts bits;
    std::memcpy(&bits, p, sizeof bits);
    const auto wide = bit_cast<Vec<float, width>>(__builtin_convertvector(bits, Vec<uint32_t, width>) << 16);
#if defined(__AVX512F__)
    return (Doubles)_mm512_maskz_cvtps_pd(0xff, (__m256)wide);
#else
    return __builtin_convertvector(wide, Doubles);
#endif
}
static inline Doubles load_doubles(const ShortF16* p) {
#if defined(__AVX512F__)
    const __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return (Doubles)_mm512_maskz_cvtps_pd(0xff, wide);
#elif defined(__F16C__)
    return (Doubles)_mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
    Doubles v;
    for (int l = 0; l < width; ++l) v[l] = static_cast<double>(p[l]);
    return v;
#endif
}

static inline double lane(Doubles v, int64_t n) {
    double all[width];
    std::memcpy(all, &v, sizeof v);
    return all[n];
}

// Elements at .. at + width of `count`; those beyond are zero.
static inline Doubles load_at(const double* p, int64_t at, int64_t count) {
    if (at + width <= count) return load_doubles(p + at);
#if defined(__AVX512F__)
    return (Doubles)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << (count - at)) - 1), p + at);
#else
    Doubles v{};
    for (int64_t l = 0; l < count - at; ++l) v[l] = p[at + l];
    return v;
#endif
}
static inline Doubles load_at(const float* p, int64_t at, int64_t count) {
    if (at + width <= count) return load_doubles(p + at);
#if defined(__AVX512F__)
    const __m256 part = _mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << (count - at)) - 1), p + at);
    return (Doubles)_mm512_maskz_cvtps_pd(0xff, part);
#else
    Doubles v{};
    for (int64_t l = 0; l < count - at; ++l) v[l] = static_cast<double>(p[at + l]);
    return v;
#endif
}
template <class T>
static inline Doubles load_at(const T* p, int64_t at, int64_t count) {
    if (at + width <= count) return load_doubles(p + at);
    T part[width];
    std::memset(part, 0, sizeof part);
    std::memcpy(part, p + at, static_cast<size_t>(count - at) * sizeof(T));
    return load_doubles(part);
}

// body(j, load) for every vector of n numbers; load(p, j) reads it, zeros beyond the end.
template <class Body>
static inline void in_vectors(int64_t n, Body&& body) {
    int64_t j = 0;
    for (; j + width <= n; j += width)
        body(j, [](const auto* p, int64_t at) { return load_doubles(p + at); });
    if (j < n) body(j, [n](const auto* p, int64_t at) { return load_at(p, at, n); });
}

template <class T>
static inline void store_at(T* p, int64_t at, int64_t count, Doubles v) {
#if defined(__AVX512F__)
    const __mmask8 there = static_cast<__mmask8>(count - at >= width ? 0xff : (1u << (count - at)) - 1);
    if constexpr (sizeof(T) == 8) return _mm512_mask_storeu_pd(p + at, there, (__m512d)v);
    if constexpr (sizeof(T) == 4)
        return _mm256_mask_storeu_ps(p + at, there, _mm512_maskz_cvtpd_ps(0xff, (__m512d)v));
#endif
    T part[width];
    if constexpr (sizeof(T) == 8)
        std::memcpy(part, &v, sizeof part);
    else if constexpr (sizeof(T) == 4)
        store<float, width>(part, __builtin_convertvector(v, Vec<float, width>));
    else
        for (int l = 0; l < width; ++l) part[l] = v[l];
    if (at + width <= count)
        std::memcpy(p + at, part, sizeof part);
    else
        std::memcpy(p + at, part, static_cast<size_t>(count - at) * sizeof(T));
}

// a b + c, with one rounding where the machine has it.
static inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
    return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
}

// A sum of products; exact: with the rounding errors carried along.
template <bool exact>
struct DotSum {
    Doubles hi{}, lo{};

    void add(Doubles a, Doubles b) {
        if constexpr (exact) {
            const horo::Sum<Doubles> p = two_product(a, b), s = two_sum(hi, p.hi);
            hi = s.hi;
            lo += s.lo + p.lo;
        } else {
            hi = multiply_add(a, b, hi);
        }
    }
    // a (b + low)
    void add(Doubles a, Doubles b, Doubles low) {
        add(a, b);
        if constexpr (exact) lo += a * low;
    }
    horo::Sum<double> total() const {
        if constexpr (!exact) return {sum<double, width>(hi), 0.0};
        return total<width>(hi, lo);
    }

  private:
    // in a tree
    template <int W>
    static horo::Sum<double> total(Vec<double, W> high, Vec<double, W> low) {
        if constexpr (W == 1) {
            return normalized<double>(high[0], low[0]);
        } else {
            using Half = Vec<double, W / 2>;
            Half h[2], l[2];
            std::memcpy(h, &high, sizeof high);
            std::memcpy(l, &low, sizeof low);
            const horo::Sum<Half> s = two_sum<Half>(h[0], h[1]);
            return total<W / 2>(s.hi, s.lo + (l[0] + l[1]));
        }
    }
};

// The sums of the lanes of `width` vectors, one in each lane, as `sum` makes them; the vectors are used up.
template <int half = width / 2>
HORO_HD Doubles lane_sums(Doubles* v) {
    repeat<half>([&](auto n) {
        exchange<half, width>(v[n], v[n + half], std::make_index_sequence<width>{});
        v[n] += v[n + half];
    });
    if constexpr (half > 1) return lane_sums<half / 2>(v);
    return v[0];
}

// The totals of `width` sums, one in each lane.
template <bool exact>
static inline horo::Sum<Doubles> totals(const DotSum<exact>* sums) {
    Doubles hi[width], lo[width];
    repeat<width>([&](auto l) {
        hi[l] = sums[l].hi;
        lo[l] = sums[l].lo;
    });
    if constexpr (!exact) return {lane_sums(hi), Doubles{}};
    transpose<double, width>(hi);
    transpose<double, width>(lo);
#pragma GCC unroll 4
    for (int w = width / 2; w > 0; w /= 2)
#pragma GCC unroll 8
        for (int l = 0; l < w; ++l) {
            const horo::Sum<Doubles> s = add<Doubles>({hi[l], lo[l]}, {hi[l + w], lo[l + w]});
            hi[l] = s.hi;
            lo[l] = s.lo;
        }
    return normalized<Doubles>(hi[0], lo[0]);
}

template <bool exact, class T>
static inline horo::Sum<double> square_sum(const T* x, int64_t dim) {
    DotSum<exact> xx;
    for (int64_t j = 0; j < dim; j += width) {
        const Doubles v = load_at(x, j, dim);
        xx.add(v, v);
    }
    return xx.total();
}

// The same of `width` rows, one in each lane.
template <bool exact, class T>
static inline horo::Sum<Doubles> square_sums(const T* const* x, int64_t dim) {
    DotSum<exact> xx[width];
    in_vectors(dim, [&](int64_t j, auto load) {
        repeat<width>([&](auto n) {
            const Doubles v = load(x[n], j);
            xx[n].add(v, v);
        });
    });
    return totals<exact>(xx);
}

}  // namespace
}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
