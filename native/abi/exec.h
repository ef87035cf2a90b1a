// The execution context behind the opaque horo_exec.
#pragma once
#include <cstdint>

#include "horosphere/horo.h"

struct horo_exec {
    int32_t device;
    int32_t threads;
    void* stream;
};

namespace horo {

// The context of a call: the caller's, or the process default for NULL.
const horo_exec& resolve(const horo_exec* exec);

}  // namespace horo
