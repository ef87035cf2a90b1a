// Row operations by number and storage type.
#pragma once
#include <cuda_runtime.h>

#include "geometry/row_call.h"

namespace horo::cuda {

// Enqueues a checked call with rows > 0.
using RowLauncher = cudaError_t (*)(const RowCall& call, cudaStream_t stream);

constexpr int32_t cuda_dtypes = 2;  // HORO_F32, HORO_F64

struct RowTable {
    RowLauncher launch[row_operations][cuda_dtypes];
};

// Operation `op` is in part op % HORO_ROW_PARTS.
template <int part>
const RowTable& row_table();

RowLauncher row_launcher(int32_t op, int32_t dtype);

}  // namespace horo::cuda
