// CUDA devices, reached through libhorosphere_cuda.so, which is opened when first asked for.
#pragma once
#include <cstdint>

#include "abi/cuda_backend.h"

namespace horo {

// The opened library and its number of devices, or null and the reason.
struct Cuda {
    const CudaBackend* backend;
    int32_t devices;
    char reason[512];
};

// The first call opens the library and probes; every later one returns the same answer.
const Cuda& cuda();

// HORO_OK if the device can be used, else HORO_NO_DEVICE with the reason.
int32_t check_device(int32_t device);

int32_t run_rows_cuda(int32_t op, int32_t dtype, const RowCall& call, int32_t device, void* stream);

}  // namespace horo
