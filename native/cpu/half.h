// The 16-bit storage types as vectors and arrays of float32, for files compiled once per instruction set.
#pragma once
#include "cpu/short_float.h"
#include "cpu/vec.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace horo::HORO_ISA_NAMESPACE {

// A storage type: its element, and loads of vectors as float32.
struct Float32 {
    using Element = float;
    template <class Lanes>
    static inline __attribute__((always_inline)) Floats load(const float* p, Lanes part) {
        return HORO_ISA_NAMESPACE::load(p, part);
    }
};

using Shorts = Vec<uint16_t, wide>;

HORO_INLINE Shorts load_shorts(const uint16_t* p, Full) {
    Shorts v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

HORO_INLINE Shorts load_shorts(const uint16_t* p, Part part) {
    Shorts v{};
    std::memcpy(&v, p, static_cast<size_t>(part.count) * sizeof(uint16_t));
    return v;
}

struct Bfloat16 {
    using Element = uint16_t;
    template <class Lanes>
    static inline __attribute__((always_inline)) Floats load(const uint16_t* p, Lanes part) {
        return bit_cast<Floats>(__builtin_convertvector(load_shorts(p, part), Ints) << 16);
    }
};

struct Float16 {
    using Element = uint16_t;
    template <class Lanes>
    static inline __attribute__((always_inline)) Floats load(const uint16_t* p, Lanes part) {
        const Shorts v = load_shorts(p, part);
#if defined(__AVX512F__)
        return Floats(_mm512_maskz_cvtph_ps(0xFFFF, bit_cast<__m256i>(v)));
#elif defined(__F16C__)
        return Floats(_mm256_cvtph_ps(bit_cast<__m128i>(v)));
#else
        Floats out{};
        for (int l = 0; l < wide; ++l) out[l] = f32_of_f16(v[l]);
        return out;
#endif
    }
};

// ---- Arrays; narrowing rounds to nearest even and keeps NaN

HORO_INLINE void bf16_to_f32(const void* src, float* __restrict dst, int64_t n) {
    const uint16_t* x = static_cast<const uint16_t*>(src);
    for (int64_t i = 0; i < n; ++i) dst[i] = bit_cast<float>(static_cast<uint32_t>(x[i]) << 16);
}

HORO_INLINE void f16_to_f32(const void* src, float* __restrict dst, int64_t n) {
    const uint16_t* x = static_cast<const uint16_t*>(src);
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
#endif
    for (; i < n; ++i) dst[i] = f32_of_f16(x[i]);
}

HORO_INLINE void bf16_from_f32(const float* __restrict src, void* dst, int64_t n) {
    uint16_t* out = static_cast<uint16_t*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_of(src[i]);
}

HORO_INLINE void f16_from_f32(const float* __restrict src, void* dst, int64_t n) {
    uint16_t* out = static_cast<uint16_t*>(dst);
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; ++i) out[i] = f16_of(src[i]);
}

}  // namespace horo::HORO_ISA_NAMESPACE
