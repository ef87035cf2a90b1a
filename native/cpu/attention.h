// Softmax attention, optionally with its maps mixed over the heads. Checked arguments come in; see horo.h for
// what they mean.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// Strides in elements between batch items, tokens and heads.
struct TokenStrides {
    int64_t batch, token, head;
};

struct AttentionShape {
    int64_t batch, heads, kv_heads, q_len, kv_len, dim;
    TokenStrides q, k, v, out;
    double scale;
    bool causal;
    bool mixed;
    const int32_t* lengths;
};

struct AttentionBuffers {
    const void *q, *k, *v, *alpha;
    void *out, *lse;
    const void* dout;
    void *dq, *dk, *dv, *dalpha;
    void* workspace;
};

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
