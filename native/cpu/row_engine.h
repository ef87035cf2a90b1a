// The CPU row engine: runs any operation of geometry/operations.h on a batch of rows.
#pragma once
#include <cstdint>

#include "abi/exec.h"
#include "geometry/row_call.h"

namespace horo {

struct RowEngine {
    // Rows [begin, end) of a call. stream: outputs are larger than the cache and written past it. Of double
    // rounding and layout nothing depends on where a call is cut, as long as it is at a multiple of 16 rows.
    void (*run)(int32_t op, int32_t dtype, const RowCall& call, int64_t begin, int64_t end, bool stream);
};

void run_rows(int32_t op, int32_t dtype, const RowCall& call, const horo_exec& exec);

}  // namespace horo
