// Single values of the 16-bit storage types, for files compiled once per instruction set. Narrowing rounds to
// nearest even and keeps NaN.
#pragma once
#include <cstdint>
#include <cstring>

namespace horo::HORO_ISA_NAMESPACE {

template <class To, class From>
static inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

static inline uint16_t bf16_of(float x) {
    const uint32_t bits = bit_cast<uint32_t>(x);
    const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? (bits >> 16) | 0x40 : rounded);
}

static inline float f32_of_f16(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, magnitude = h & 0x7FFF;
    if (magnitude < 0x400)  // zero or subnormal: an integer multiple of 2^-24
        return bit_cast<float>(sign | bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
    const uint32_t quiet = magnitude > 0x7C00 ? 0x400000 : 0;
    const uint32_t rebias = magnitude >= 0x7C00 ? 0x70000000u : 0x38000000u;
    return bit_cast<float>(sign | quiet | ((magnitude << 13) + rebias));
}

static inline uint16_t f16_of(float x) {
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

// Such a number as an element of a row: the same operations as on float and double, by way of float32.
struct ShortBf16 {
    uint16_t bits;
    ShortBf16() = default;
    ShortBf16(double x) : bits(bf16_of(static_cast<float>(x))) {}
    explicit operator double() const {
        return static_cast<double>(bit_cast<float>(static_cast<uint32_t>(bits) << 16));
    }
};

struct ShortF16 {
    uint16_t bits;
    ShortF16() = default;
    ShortF16(double x) : bits(f16_of(static_cast<float>(x))) {}
    explicit operator double() const { return static_cast<double>(f32_of_f16(bits)); }
};

}  // namespace horo::HORO_ISA_NAMESPACE
