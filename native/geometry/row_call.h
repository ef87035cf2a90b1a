// One checked call of a row operation, as the ABI hands it to the CPU or CUDA engine.
#pragma once
#include <cstdint>

#include "geometry/operations.h"

namespace horo {

// Strides are in elements; an input stride of 0 repeats one row. out[j] may be null where the operation is a
// vector-Jacobian product.
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
constexpr int32_t row_dtypes = 4;  // HORO_F32, HORO_F64, HORO_BF16, HORO_F16

}  // namespace horo
