// The storage types of 16 bits.
#pragma once
#include "kernel.cuh"

#if !defined(HORO_EMULATE)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace horo::cuda {

struct Bf16 {
    uint16_t bits;
};
struct F16 {
    uint16_t bits;
};

HORO_DEVICE float widened(Bf16 x) {
    const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}
HORO_DEVICE float widened(F16 x) {
#if defined(HORO_EMULATE)  // by bits: a conversion would be a call
    const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16, magnitude = x.bits & 0x7fff;
    const uint32_t bits = magnitude << 13 | (magnitude >= 0x7c00 ? 0x7f800000 : 0);
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    if (magnitude < 0x7c00) wide *= 0x1p112f;
    return sign ? -wide : wide;
#else
    __half half;
    memcpy(&half, &x.bits, sizeof half);
    return static_cast<float>(half);
#endif
}

// Round to nearest even; NaN stays NaN.
HORO_DEVICE void narrow(float x, Bf16& to) {
#if defined(HORO_EMULATE)
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    to.bits = static_cast<uint16_t>(x != x ? bits >> 16 | 0x40 : rounded);
#else
    to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));  // one instruction
#endif
}
HORO_DEVICE void narrow(float x, F16& to) {
#if defined(HORO_EMULATE)
    const _Float16 half = static_cast<_Float16>(x);
#else
    const __half half = __float2half_rn(x);
#endif
    memcpy(&to.bits, &half, sizeof half);
}

}  // namespace horo::cuda
