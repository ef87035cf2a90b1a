// Matrix products by cuBLASLt, which is opened when one is first asked for.
#pragma once
#include "abi/cuda_backend.h"

namespace horo::cuda {

// As CudaBackend::gemm, with the device current.
int32_t gemm(int32_t device, void* stream, const GemmCall& call, CudaError* error);

// Frees what a stream's products worked in.
void forget_stream(int32_t device, void* stream);

}  // namespace horo::cuda
