// Row operations by number.
#pragma once
#include <cuda_runtime.h>

#include "geometry/row_call.h"

namespace horo::cuda {

// Enqueues a checked call with rows > 0.
using RowLauncher = cudaError_t (*)(const RowCall& call, int32_t dtype, cudaStream_t stream);

struct RowTable {
    RowLauncher launch[row_operations];
};

// Operation `op` is in part op % HORO_ROW_PARTS.
template <int part>
const RowTable& row_table();

RowLauncher row_launcher(int32_t op);

}  // namespace horo::cuda
