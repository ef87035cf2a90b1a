// Low-rank adapters: LoRA, and HypLoRA as LoRA times one number per token. Checked arguments come in; see
// horo.h.
#pragma once
#include <cstdint>

#include "abi/calls.h"
#include "abi/exec.h"

namespace horo {

struct LowRankKernels {
    void (*gram)(int64_t k, int64_t r, const void* b, double* gram, const horo_exec&);
    void (*forward)(const LowRank&, void* out, const horo_exec&);
    int64_t (*backward_workspace)(const LowRank&);
    void (*backward)(const LowRank&, const LowRankGradients&, const horo_exec&);
};

// One table per storage type of every instruction set.
#define HORO_LOW_RANK_TABLES(isa)             \
    namespace isa {                           \
    extern const LowRankKernels low_rank_f32; \
    extern const LowRankKernels low_rank_f64; \
    }
HORO_LOW_RANK_TABLES(scalar)
HORO_LOW_RANK_TABLES(avx2)
HORO_LOW_RANK_TABLES(avx512)
#undef HORO_LOW_RANK_TABLES

}  // namespace horo
