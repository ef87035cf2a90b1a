// Full registers of floats, for files compiled once per instruction set: loads with any tail, an exponential
// of any number, and reductions in a fixed order.
#pragma once
#include "cpu/lanes.h"

#define HORO_INLINE static inline __attribute__((always_inline))

namespace horo::HORO_ISA_NAMESPACE {

namespace {

constexpr int wide = lanes<float>;
using Floats = Vec<float, wide>;
using Ints = Vec<int32_t, wide>;

// How many lanes of a load or store are meant: all, or the first few at the end of a row.
struct Full {};
struct Part {
    int64_t count;
};

HORO_INLINE Floats load(const float* p, Full, float = 0) { return load<float, wide>(p); }

// Lanes past the count get `fill`.
HORO_INLINE Floats load(const float* p, Part part, float fill = 0) {
    Floats v = Floats{} + fill;
    std::memcpy(&v, p, static_cast<size_t>(part.count) * sizeof(float));
    return v;
}

HORO_INLINE void store(float* p, Floats v, Full) { store<float, wide>(p, v); }

HORO_INLINE void store(float* p, Floats v, Part part) {
    std::memcpy(p, &v, static_cast<size_t>(part.count) * sizeof(float));
}

// Asks for a cache line soon to be read; any address is allowed. Worth it where the hardware sees no stream.
HORO_INLINE void prefetch(const float* p) { __builtin_prefetch(p); }
HORO_INLINE void prefetch_write(const float* p) { __builtin_prefetch(p, 1); }

// Calls body(i, Full{}) for whole vectors, then body(i, Part{...}) for what is left.
template <class Body>
HORO_INLINE void each(int64_t n, Body&& body) {
    int64_t i = 0;
    for (; i + wide <= n; i += wide) body(i, Full{});
    if (i < n) body(i, Part{n - i});
}

// The sum of term(i, part) over a row, in four interleaved vectors and a fixed order. Lanes past the end of
// the row must be zero in the term.
template <class Term>
HORO_INLINE double sum(int64_t n, Term&& term) {
    Floats a0{}, a1{}, a2{}, a3{};
    int64_t i = 0;
    for (; i + 4 * wide <= n; i += 4 * wide) {
        a0 += term(i, Full{});
        a1 += term(i + wide, Full{});
        a2 += term(i + 2 * wide, Full{});
        a3 += term(i + 3 * wide, Full{});
    }
    for (; i + wide <= n; i += wide) a0 += term(i, Full{});
    if (i < n) a1 += term(i, Part{n - i});
    const Floats v = (a0 + a1) + (a2 + a3);
    double total = 0;
    for (int l = 0; l < wide; ++l) total += v[l];
    return total;
}

// The largest element, NaN passed over; -infinity for an empty row.
HORO_INLINE float max(const float* x, int64_t n) {
    const float lowest = -__builtin_inff();
    Floats a0 = Floats{} + lowest, a1 = a0;
    int64_t i = 0;
    for (; i + 2 * wide <= n; i += 2 * wide) {
        const Floats v0 = load(x + i, Full{}), v1 = load(x + i + wide, Full{});
        a0 = v0 > a0 ? v0 : a0;
        a1 = v1 > a1 ? v1 : a1;
    }
    each(n - i, [&](int64_t j, auto part) {
        const Floats v = load(x + i + j, part, lowest);
        a0 = v > a0 ? v : a0;
    });
    a0 = a1 > a0 ? a1 : a0;
    float best = a0[0];
    for (int l = 1; l < wide; ++l) best = a0[l] > best ? a0[l] : best;
    return best;
}

// e^x. x = n ln 2 + r with |r| <= ln 2 / 2, e^r = 1 + r + r^2 q(r), q of degree 4 interpolated at Chebyshev
// nodes.
// Largest error measured over every seventh float32: 1.06 units in the last place, 0.75 of the smallest
// subnormal below the normal range. Above 88.73 infinity, below -104 zero, NaN stays.
HORO_INLINE Floats exp(Floats x) {
    const Floats lowest = Floats{} - 104.0f, highest = Floats{} + 89.0f;
#if defined(__AVX512F__)
    const __mmask16 all = 0xFFFF;  // the unmasked intrinsics draw false warnings from gcc 12
    x = Floats(_mm512_maskz_min_ps(
        all, highest, _mm512_maskz_max_ps(all, lowest, x)));  // the second operand where one is NaN
#else
    x = x < lowest ? lowest : x;
    x = x > highest ? highest : x;
#endif
    const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const Floats shifted = x * 1.44269504088896341f + rounder;
    const Floats n = shifted - rounder;
    const Floats r = (x - n * 0.693145751953125f) - n * 1.42860682030941723e-6f;
    Floats q = Floats{} + 1.3926550e-3f;
    q = q * r + 8.3634727e-3f;
    q = q * r + 4.1666552e-2f;
    q = q * r + 1.6666575e-1f;
    q = q * r + 0.5f;
    const Floats e = (q * (r * r) + r) + 1.0f;
#if defined(__AVX512F__)
    return Floats(_mm512_maskz_scalef_ps(all, e, n));
#else
    // 2^n in two factors, so that results below the normal range are rounded once and overflow gives infinity
    Ints whole;
    std::memcpy(&whole, &shifted, sizeof whole);
    whole -= 0x4B400000;
    const Ints half = whole >> 1;
    const Ints bits0 = (half + 127) << 23, bits1 = (whole - half + 127) << 23;
    Floats scale0, scale1;
    std::memcpy(&scale0, &bits0, sizeof scale0);
    std::memcpy(&scale1, &bits1, sizeof scale1);
    return e * scale0 * scale1;
#endif
}

}  // namespace
}  // namespace horo::HORO_ISA_NAMESPACE
