// CUDA devices, reached through libhorosphere_cuda.so, which is opened when first asked for.
#pragma once
#include <cstdint>

#include "abi/cuda_backend.h"
#include "abi/exec.h"

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

// Calls `launch` with the exec's device current; what it returns is a cudaError_t.
int32_t enqueue(const horo_exec& exec, int32_t (*launch)(const void* call), const void* call);

template <class Launch>
int32_t enqueue(const horo_exec* exec, const Launch& call) {
    return enqueue(
        *exec, [](const void* of) { return (*static_cast<const Launch*>(of))(); }, &call);
}

int32_t gemm_cuda(const GemmCall& call, const horo_exec& exec);

int32_t run_rows_cuda(int32_t op, int32_t dtype, const RowCall& call, int32_t device, void* stream);

}  // namespace horo

// Returns from the enclosing function with the status of a kernel of CudaKernels if exec is a CUDA device.
#define HORO_ON_CUDA(exec, kernel, ...)                                                                      \
    do {                                                                                                     \
        if (!::horo::on_cpu(exec))                                                                           \
            return ::horo::enqueue(                                                                          \
                exec, [&] { return ::horo::cuda().backend->kernels->kernel(__VA_ARGS__, (exec)->stream); }); \
    } while (0)
