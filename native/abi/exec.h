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

inline bool on_cpu(const horo_exec* exec) { return !exec || exec->device < 0; }

}  // namespace horo
