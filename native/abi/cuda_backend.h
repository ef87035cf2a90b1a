// What libhorosphere.so and libhorosphere_cuda.so agree on. The CUDA library exports one symbol,
// horo_cuda_backend, which returns a CudaBackend that lives as long as the process.
#pragma once
#include <cstdint>

#include "abi/cuda_kernels.h"
#include "geometry/row_call.h"

namespace horo {

// Changes whenever this header, cuda_kernels.h or the meaning of a call does.
constexpr int32_t cuda_backend_version = 4;

// Where a failure leaves its text.
struct CudaError {
    char text[320];
};

// Every function returns a status of horo.h and fills `error` unless that is HORO_OK. The calling thread's
// current device is as before on return. Streams are cudaStream_t; null is the default stream.
struct CudaBackend {
    int32_t version;      // cuda_backend_version
    int32_t struct_size;  // sizeof(CudaBackend)
    const char* release;  // HORO_VERSION_STRING
    int32_t row_operations;

    // The number of usable devices; HORO_NO_DEVICE with the driver's reason if there is none.
    int32_t (*probe)(int32_t* count, CudaError* error);
    int32_t (*name)(int32_t device, char* text, int32_t size, CudaError* error);

    int32_t (*memory)(int32_t device, int64_t* free_bytes, int64_t* total_bytes, CudaError* error);
    int32_t (*allocate)(int32_t device, int64_t bytes, void** address, CudaError* error);
    int32_t (*free)(int32_t device, void* address, CudaError* error);
    // Copies in the order of the stream and waits for it.
    int32_t (*copy)(int32_t device, void* to, const void* from, int64_t bytes, void* stream,
                    CudaError* error);

    // Copies in the order of the stream without waiting; host memory is of pinned_allocate.
    int32_t (*copy_async)(int32_t device, void* to, const void* from, int64_t bytes, void* stream,
                          CudaError* error);
    int32_t (*pinned_allocate)(int32_t device, int64_t bytes, void** address, CudaError* error);
    int32_t (*pinned_free)(int32_t device, void* address, CudaError* error);

    int32_t (*stream_create)(int32_t device, void** stream, CudaError* error);
    int32_t (*stream_destroy)(int32_t device, void* stream, CudaError* error);
    int32_t (*stream_synchronize)(int32_t device, void* stream, CudaError* error);

    // Sets bytes in the order of the stream, without waiting.
    int32_t (*fill)(int32_t device, void* address, int32_t value, int64_t bytes, void* stream,
                    CudaError* error);

    // Calls `launch`, which uses the kernels, with the device current; what it returns is a cudaError_t.
    const CudaKernels* kernels;
    int32_t (*enqueue)(int32_t device, int32_t (*launch)(const void* call), const void* call,
                       CudaError* error);

    // Enqueues; the first product of a stream allocates what its products work in, the first as large with
    // wide_a what A is split into.
    int32_t (*gemm)(int32_t device, void* stream, const GemmCall* call, CudaError* error);

    // Enqueues; neither waits nor allocates.
    int32_t (*row_op)(int32_t device, void* stream, int32_t op, int32_t dtype, const RowCall* call,
                      CudaError* error);
};

using CudaBackendFunction = const CudaBackend* (*)();

}  // namespace horo
