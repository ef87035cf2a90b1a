// The tables of kernels beyond row operations, one per source file.
#pragma once
#include "abi/cuda_kernels.h"

namespace horo::cuda {

const CudaLayers& layers();

}  // namespace horo::cuda
