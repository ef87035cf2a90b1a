// The CPU row engine: runs any operation of geometry/operations.h on a batch of rows.
#pragma once
#include <cstdint>

#include "abi/exec.h"
#include "geometry/operations.h"

namespace horo {

// One checked call. Strides are in elements; an input stride of 0 repeats one row. out[j] may be null where
// the operation is a vector-Jacobian product.
struct RowCall {
    int64_t rows, dim;
    const void* in[Signature::max_operands];
    int64_t in_stride[Signature::max_operands];
    void* out[Signature::max_operands];
    int64_t out_stride[Signature::max_operands];
    double param[Signature::max_params];
};

#define HORO_COUNT_OPERATION(Op) +1
constexpr int32_t row_operations = 0 HORO_ROW_OPERATIONS(HORO_COUNT_OPERATION);
#undef HORO_COUNT_OPERATION
constexpr int32_t row_dtypes = 2;  // HORO_F32, HORO_F64

// Rows [begin, end) of a call.
using RowKernel = void (*)(const RowCall&, int64_t begin, int64_t end);

struct RowEngine {
    RowKernel kernel[row_operations][row_dtypes];
};

void run_rows(int32_t op, int32_t dtype, const RowCall& call, const horo_exec& exec);

}  // namespace horo
