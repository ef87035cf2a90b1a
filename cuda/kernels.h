// The tables of kernels beyond row operations, one per source file.
#pragma once
#include "abi/cuda_kernels.h"

namespace horo::cuda {

const CudaLayers& layers();
const CudaLowRank& low_rank_f32();
const CudaLowRank& low_rank_f64();
const CudaAttention& attention_f32();
const CudaAttention& attention_f64();
const CudaPairs& pairs();
const CudaSets& sets();
const CudaLinear& linear();
const CudaRandom& random();
const CudaAttention& attention_bf16();
const CudaAttention& attention_f16();

}  // namespace horo::cuda
