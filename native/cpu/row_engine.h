// The CPU row engine: runs any operation of geometry/operations.h on a batch of rows.
#pragma once
#include <cstdint>

#include "abi/exec.h"
#include "geometry/row_call.h"

namespace horo {

// Rows [begin, end) of a call.
using RowKernel = void (*)(const RowCall&, int64_t begin, int64_t end);

struct RowEngine {
    RowKernel kernel[row_operations][row_dtypes];
};

void run_rows(int32_t op, int32_t dtype, const RowCall& call, const horo_exec& exec);

}  // namespace horo
