// The vocabulary of the solve step, for V = double and for GCC vectors of doubles.
#pragma once
#include <cstdint>

#if defined(__AVX2__) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

#if defined(__CUDACC__)
#define HORO_HD __host__ __device__ inline __attribute__((always_inline))
#else
#define HORO_HD inline __attribute__((always_inline))
#endif

namespace horo {

// A choice of the same width, and the bits of a number as an integer.
template <class V>
struct Mask {
    using type = decltype(V{} < V{});
    using integer = type;
};
template <>
struct Mask<double> {
    using type = bool;
    using integer = int64_t;
};

template <class V>
HORO_HD V choose(typename Mask<V>::type mask, V yes, V no) {
    return mask ? yes : no;
}

// Whether a comparison of doubles holds in any lane.
HORO_HD bool any(bool mask) { return mask; }
template <class M>
HORO_HD bool any(M mask) {
#if defined(__AVX512F__) && !defined(__CUDACC__)
    if constexpr (sizeof(M) == 64) return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#endif
#if defined(__AVX2__) && !defined(__CUDACC__)
    if constexpr (sizeof(M) == 32) return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#endif
    return (mask[0] | mask[1]) != 0;
}

template <class V>
HORO_HD typename Mask<V>::integer bits(V x) {
    typename Mask<V>::integer i;
    __builtin_memcpy(&i, &x, sizeof i);
    return i;
}

template <class V>
HORO_HD V from_bits(typename Mask<V>::integer i) {
    V x;
    __builtin_memcpy(&x, &i, sizeof x);
    return x;
}

template <class V>
HORO_HD V square_root(V x) {
#if defined(__CUDA_ARCH__)
    return __dsqrt_rn(x);
#else
#if defined(__AVX512F__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 64) return (V)_mm512_maskz_sqrt_pd(0xff, (__m512d)x);
#endif
#if defined(__AVX2__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 32) return (V)_mm256_sqrt_pd((__m256d)x);
#endif
    if constexpr (sizeof(V) == 8) {
        return __builtin_sqrt(x);
    } else {
        for (unsigned i = 0; i < sizeof(V) / sizeof(double); ++i) x[i] = __builtin_sqrt(x[i]);
        return x;
    }
#endif
}

// The larger, the smaller of x and a number; NaN stays.
template <class V>
HORO_HD V at_least(V x, double least) {
#if defined(__AVX512F__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 64) return (V)_mm512_maskz_max_pd(0xff, _mm512_set1_pd(least), (__m512d)x);
#endif
    return choose<V>(x < least, V{} + least, x);
}
template <class V>
HORO_HD V at_most(V x, double most) {
#if defined(__AVX512F__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 64) return (V)_mm512_maskz_min_pd(0xff, _mm512_set1_pd(most), (__m512d)x);
#endif
    return choose<V>(x > most, V{} + most, x);
}

// a b with its own rounding, whatever the compiler would like to contract it with.
template <class V>
HORO_HD V rounded_product(V a, V b) {
#if defined(__CUDA_ARCH__)
    return __dmul_rn(a, b);
#else
    V p = a * b;
#if defined(__FMA__)
    asm("" : "+v"(p));  // opaque from here on
#endif
    return p;
#endif
}

#if defined(__FMA__) || defined(__CUDA_ARCH__)
#define HORO_HAS_FMA 1
// a b - c and c - a b with one rounding; spelled out where its exactness is the point.
template <class V>
HORO_HD V fused_subtract(V a, V b, V c) {
#if defined(__CUDA_ARCH__)
    return __fma_rn(a, b, -c);
#else
#if defined(__AVX512F__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 64) return (V)_mm512_fmsub_pd((__m512d)a, (__m512d)b, (__m512d)c);
#endif
#if defined(__AVX2__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 32) return (V)_mm256_fmsub_pd((__m256d)a, (__m256d)b, (__m256d)c);
#endif
    if constexpr (sizeof(V) == 8) {
        return __builtin_fma(a, b, -c);
    } else {
        for (unsigned i = 0; i < sizeof(V) / sizeof(double); ++i) a[i] = __builtin_fma(a[i], b[i], -c[i]);
        return a;
    }
#endif
}

template <class V>
HORO_HD V fused_subtract_from(V c, V a, V b) {
#if defined(__CUDA_ARCH__)
    return __fma_rn(-a, b, c);
#else
#if defined(__AVX512F__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 64) return (V)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#endif
#if defined(__AVX2__) && !defined(__CUDACC__)
    if constexpr (sizeof(V) == 32) return (V)_mm256_fnmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#endif
    return -fused_subtract(a, b, c);
#endif
}
#endif

}  // namespace horo
