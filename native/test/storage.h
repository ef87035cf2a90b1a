// The storage types of a test's arrays: an element and the number it stands for.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "horosphere/horo.h"

template <class T, int32_t code>
struct Whole {
    using Element = T;
    static constexpr int32_t dtype = code;
    static constexpr double epsilon = std::numeric_limits<T>::epsilon();
    static double get(T x) { return x; }
    static T put(double x) { return static_cast<T>(x); }
};

template <int32_t code, int bits>
struct Halved {
    using Element = uint16_t;
    static constexpr int32_t dtype = code;
    static constexpr double epsilon = 2.0 / (1 << bits);
    static double get(uint16_t x) {
        float y = 0;
        if (horo_convert_to_f32(code, &x, &y, 1, nullptr) != HORO_OK) std::abort();
        return y;
    }
    static uint16_t put(double x) {
        const float from = static_cast<float>(x);
        uint16_t y = 0;
        if (horo_convert_from_f32(&from, code, &y, 1, nullptr) != HORO_OK) std::abort();
        return y;
    }
};

using AsF32 = Whole<float, HORO_F32>;
using AsF64 = Whole<double, HORO_F64>;
using AsBf16 = Halved<HORO_BF16, 8>;
using AsF16 = Halved<HORO_F16, 11>;
