// Checks of strided operands whose shape is not a row operation's.
#pragma once
#include <cmath>
#include <cstdint>

#include "abi/exec.h"
#include "abi/status.h"

namespace horo {

constexpr int64_t most_elements = int64_t{1} << 48;  // keeps every address computation inside 64 bits

// In the order of HORO_F32, HORO_F64, HORO_BF16, HORO_F16.
constexpr int64_t dtype_bytes[] = {4, 8, 2, 2};

// A block of `count` rows of `width` elements `stride` apart, `outer` of them `outer_stride` apart.
struct Operand {
    const char* name;
    const void* data;
    int64_t width;
    int64_t count, stride;
    int64_t outer, outer_stride;

    int64_t extent() const { return (outer - 1) * outer_stride + (count - 1) * stride + width; }
};

inline Operand rows_of(const char* name, const void* data, int64_t width, int64_t count, int64_t stride) {
    return {name, data, width, count, stride, 1, 0};
}

inline int32_t check_operand(const Operand& o, int64_t bytes) {
    HORO_REQUIRE(o.data, "%s: null", o.name);
    HORO_REQUIRE(reinterpret_cast<uintptr_t>(o.data) % static_cast<uintptr_t>(bytes) == 0,
                 "%s: address not a multiple of %d", o.name, static_cast<int>(bytes));
    HORO_REQUIRE(o.stride >= 0 && o.stride <= most_elements / o.count,
                 "%s: stride %lld, expected 0 or more (and < 2^48 in all)", o.name,
                 static_cast<long long>(o.stride));
    HORO_REQUIRE(o.outer_stride >= 0 && o.outer_stride <= most_elements / o.outer,
                 "%s: stride %lld, expected 0 or more (and < 2^48 in all)", o.name,
                 static_cast<long long>(o.outer_stride));
    return HORO_OK;
}

// A null output is one that is not wanted.
inline int32_t check_output(const Operand& o, int64_t bytes, bool optional, const Operand* inputs,
                            int count) {
    if (optional && !o.data) return HORO_OK;
    const int32_t status = check_operand(o, bytes);
    if (status != HORO_OK) return status;
    HORO_REQUIRE(o.count == 1 || o.stride >= o.width, "%s: stride %lld, expected %lld or more", o.name,
                 static_cast<long long>(o.stride), static_cast<long long>(o.width));
    HORO_REQUIRE(o.outer == 1 || o.outer_stride >= (o.count - 1) * o.stride + o.width,
                 "%s: stride %lld, expected %lld or more", o.name, static_cast<long long>(o.outer_stride),
                 static_cast<long long>((o.count - 1) * o.stride + o.width));
    const intptr_t begin = reinterpret_cast<intptr_t>(o.data), end = begin + o.extent() * bytes;
    for (int i = 0; i < count; ++i) {
        if (!inputs[i].data) continue;
        const intptr_t other = reinterpret_cast<intptr_t>(inputs[i].data);
        HORO_REQUIRE(end <= other || other + inputs[i].extent() * bytes <= begin, "%s: overlaps %s", o.name,
                     inputs[i].name);
    }
    return HORO_OK;
}

inline int32_t check_count(const char* name, int64_t value, int64_t least) {
    HORO_REQUIRE(value >= least && value <= most_elements, "%s: %lld, expected %lld to 2^48", name,
                 static_cast<long long>(value), static_cast<long long>(least));
    return HORO_OK;
}

}  // namespace horo

// Returns from the enclosing function with what a check found.
#define HORO_CHECK(check)                            \
    do {                                             \
        const int32_t status_of_check = (check);     \
        if (status_of_check) return status_of_check; \
    } while (0)
