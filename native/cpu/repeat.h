// Loops unrolled by the front end, for files compiled once per instruction set.
#pragma once
#include <type_traits>
#include <utility>

#include "geometry/lanes.h"

namespace horo::HORO_ISA_NAMESPACE {
namespace {

// f(0) to f(n - 1), each a constant: GCC unrolls a loop only after it has decided that an array that the loop
// indexes lives in memory.
template <class F, int... i>
HORO_HD void repeat(std::integer_sequence<int, i...>, [[maybe_unused]] F f) {
    (f(std::integral_constant<int, i>{}), ...);
}
template <int n, class F>
HORO_HD void repeat(F f) {
    repeat(std::make_integer_sequence<int, n>{}, f);
}

}  // namespace
}  // namespace horo::HORO_ISA_NAMESPACE
