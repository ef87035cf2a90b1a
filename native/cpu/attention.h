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

// By storage type code.
struct AttentionTable {
    AttentionKernels of[4];
};

namespace scalar {
extern const AttentionTable attention;
}
namespace avx2 {
extern const AttentionTable attention;
}
namespace avx512 {
extern const AttentionTable attention;
}

}  // namespace horo
