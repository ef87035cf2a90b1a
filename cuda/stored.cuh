// Operands in the storage type of a call, read as doubles and rounded once when written: for kernels that
// compute in double whatever the storage. They are compiled three times, not four: bfloat16 and float16 are
// loaded and stored alike, and which of them it is selects between two conversions.
#pragma once
#include "geometry/lanes.h"
#include "half.cuh"
#include "horosphere/horo.h"

namespace horo::cuda {

// An element of bfloat16 or float16; Bits: uint16_t or const uint16_t.
template <class Bits>
struct HalfPointer {
    Bits* bits;
    bool brain;  // bfloat16

    HORO_HD HalfPointer operator+(int64_t n) const { return {bits + n, brain}; }
    HORO_HD HalfPointer& operator+=(int64_t n) { return *this = *this + n; }
    HORO_HD explicit operator bool() const { return bits; }
};

HORO_DEVICE double read(const float* from) { return static_cast<double>(get(from)); }
HORO_DEVICE double read(const double* from) { return get(from); }
HORO_DEVICE double read(HalfPointer<const uint16_t> from) {
    const uint16_t bits = get(from.bits);
    return static_cast<double>(from.brain ? widened(Bf16{bits}) : widened(F16{bits}));
}

HORO_DEVICE void write(float* to, double value) { put(to, static_cast<float>(value)); }
HORO_DEVICE void write(double* to, double value) { put(to, value); }
HORO_DEVICE void write(HalfPointer<uint16_t> to, double value) {
    Bf16 bf16;
    F16 f16;
    narrow(static_cast<float>(value), bf16);
    narrow(static_cast<float>(value), f16);
    put(to.bits, to.brain ? bf16.bits : f16.bits);
}

// What a kernel knows of its storage type: pointers to element `at` of an operand, null where that is null.
template <class E>
struct Whole {
    static constexpr bool wide = sizeof(E) == 8;
    using In = const E*;
    using Out = E*;

    HORO_HD explicit Whole(int32_t) {}
    HORO_HD In in(const void* p, int64_t at = 0) const { return p ? static_cast<In>(p) + at : nullptr; }
    HORO_HD Out out(void* p, int64_t at = 0) const { return p ? static_cast<Out>(p) + at : nullptr; }
};
using Float32 = Whole<float>;
using Float64 = Whole<double>;
struct Half {
    static constexpr bool wide = false;
    using In = HalfPointer<const uint16_t>;
    using Out = HalfPointer<uint16_t>;
    bool brain;

    HORO_HD explicit Half(int32_t dtype) : brain(dtype == HORO_BF16) {}
    HORO_HD In in(const void* p, int64_t at = 0) const {
        return {p ? static_cast<const uint16_t*>(p) + at : nullptr, brain};
    }
    HORO_HD Out out(void* p, int64_t at = 0) const {
        return {p ? static_cast<uint16_t*>(p) + at : nullptr, brain};
    }
};
// Where a table has the kernels of a storage type: those of Float32, Float64, Half.
constexpr int stored_kinds = 3;
constexpr int stored_kind(int32_t dtype) { return dtype < HORO_BF16 ? dtype : 2; }

// p + n, null where p is.
template <class Pointer>
HORO_DEVICE Pointer after(Pointer p, int64_t n) {
    return p ? p + n : p;
}

}  // namespace horo::cuda
