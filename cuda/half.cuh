// The 16-bit storage types as bits, to and from float, rounding to nearest even.
#pragma once
#include <cstdint>

#if !defined(HORO_EMULATE)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace horo::cuda {

// A storage type: its element and the number it stands for.
template <class T>
struct StoredWhole {
    using Element = T;
    static HORO_DEVICE T get(T x) { return x; }
    static HORO_DEVICE T put(T x) { return x; }
};

#if defined(HORO_EMULATE)
struct StoredBf16 {
    using Element = uint16_t;
    static float get(uint16_t bits) { return emulate::widen(HORO_BF16, bits); }
    static uint16_t put(float x) { return emulate::narrow(HORO_BF16, x); }
};
struct StoredF16 {
    using Element = uint16_t;
    static float get(uint16_t bits) { return emulate::widen(HORO_F16, bits); }
    static uint16_t put(float x) { return emulate::narrow(HORO_F16, x); }
};
#else
struct StoredBf16 {
    using Element = uint16_t;
    static HORO_DEVICE float get(uint16_t bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); }
    static HORO_DEVICE uint16_t put(float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
};
struct StoredF16 {
    using Element = uint16_t;
    static HORO_DEVICE float get(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
    static HORO_DEVICE uint16_t put(float x) { return __half_as_ushort(__float2half_rn(x)); }
};
#endif

}  // namespace horo::cuda
