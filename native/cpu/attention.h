// Softmax attention, optionally with its maps mixed over the heads. Checked arguments come in; see horo.h for
// what they mean.
#pragma once
#include <cstdint>

#include "abi/calls.h"
#include "abi/exec.h"

namespace horo {

struct AttentionKernels {
    int64_t (*forward_workspace)(const AttentionShape&, const horo_exec&);
    int64_t (*backward_workspace)(const AttentionShape&, const horo_exec&);
    void (*forward)(const AttentionShape&, const AttentionBuffers&, const horo_exec&);
    void (*backward)(const AttentionShape&, const AttentionBuffers&, const horo_exec&);
};

// One table per storage type of every instruction set.
#define HORO_ATTENTION_TABLES(isa)               \
    namespace isa {                              \
    extern const AttentionKernels attention_f32; \
    extern const AttentionKernels attention_f64; \
    }
HORO_ATTENTION_TABLES(scalar)
HORO_ATTENTION_TABLES(avx2)
HORO_ATTENTION_TABLES(avx512)
#undef HORO_ATTENTION_TABLES

}  // namespace horo
