// The 16-bit storage types, for files compiled once per instruction set: single values, and vectors of them.
#pragma once
#include "cpu/vec.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace horo::HORO_ISA_NAMESPACE {

template <class To, class From>
HORO_INLINE To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

HORO_INLINE uint16_t bf16_of(float x) {
    const uint32_t bits = bit_cast<uint32_t>(x);
    const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? (bits >> 16) | 0x40 : rounded);
}

HORO_INLINE float f32_of_f16(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, magnitude = h & 0x7FFF;
    if (magnitude < 0x400)  // zero or subnormal: an integer multiple of 2^-24
        return bit_cast<float>(sign | bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
    const uint32_t quiet = magnitude > 0x7C00 ? 0x400000 : 0;
    const uint32_t rebias = magnitude >= 0x7C00 ? 0x70000000u : 0x38000000u;
    return bit_cast<float>(sign | quiet | ((magnitude << 13) + rebias));
}

HORO_INLINE uint16_t f16_of(float x) {
    const uint32_t bits = bit_cast<uint32_t>(x), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x3FF));
    if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // rounds to infinity
    if (magnitude < 0x38800000) {  // subnormal: adding 0.5 leaves the multiple of 2^-24 in the low bits
        const float shifted = bit_cast<float>(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (bit_cast<uint32_t>(shifted) - 0x3F000000));
    }
    const uint32_t rounded = magnitude - 0x38000000 + 0xFFF + ((magnitude >> 13) & 1);
    return static_cast<uint16_t>(sign | (rounded >> 13));
}

// A storage type: its element, and loads of vectors as float32.
struct Float32 {
    using Element = float;
    template <class Lanes>
    static inline __attribute__((always_inline)) Vec load(const float* p, Lanes part) {
        return HORO_ISA_NAMESPACE::load(p, part);
    }
};

typedef uint16_t ShortVec __attribute__((vector_size(lanes * 2)));

HORO_INLINE ShortVec load_shorts(const uint16_t* p, Full) {
    ShortVec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

HORO_INLINE ShortVec load_shorts(const uint16_t* p, Part part) {
    ShortVec v{};
    std::memcpy(&v, p, static_cast<size_t>(part.count) * sizeof(uint16_t));
    return v;
}

struct Bfloat16 {
    using Element = uint16_t;
    template <class Lanes>
    static inline __attribute__((always_inline)) Vec load(const uint16_t* p, Lanes part) {
        return bit_cast<Vec>(__builtin_convertvector(load_shorts(p, part), IntVec) << 16);
    }
};

struct Float16 {
    using Element = uint16_t;
    template <class Lanes>
    static inline __attribute__((always_inline)) Vec load(const uint16_t* p, Lanes part) {
        const ShortVec v = load_shorts(p, part);
#if defined(__AVX512F__)
        return Vec(_mm512_maskz_cvtph_ps(0xFFFF, bit_cast<__m256i>(v)));
#elif defined(__F16C__)
        return Vec(_mm256_cvtph_ps(bit_cast<__m128i>(v)));
#else
        Vec out{};
        for (int l = 0; l < lanes; ++l) out[l] = f32_of_f16(v[l]);
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
