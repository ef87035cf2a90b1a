// The CPU row engine: runs any operation of geometry/operations.h on a batch of rows.
#pragma once
#include <cstdint>

#include "abi/exec.h"
#include "geometry/row_call.h"

namespace horo {

struct RowEngine {
    // Rows [begin, end) of a call; results do not depend on where a call is cut. stream: the outputs are
    // larger than the cache and written past it.
    void (*run)(int32_t op, int32_t dtype, const RowCall& call, int64_t begin, int64_t end, bool stream);
};

void run_rows(int32_t op, int32_t dtype, const RowCall& call, const horo_exec& exec);

}  // namespace horo
