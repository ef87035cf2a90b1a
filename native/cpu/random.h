// Normal variates as a function of a seed and a position.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// out[i] = std times variate offset + i of the sequence of `seed`; offset + count does not overflow.
template <class T>
void normal(int64_t count, double std, int64_t seed, int64_t offset, T* out, const horo_exec& exec);

}  // namespace horo
