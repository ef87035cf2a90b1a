// The table behind horo_cuda_backend: devices, their memory and streams, and kernels. Everything that
// can fail says so by status and text; nothing here waits except the two functions that say they do.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

#include "abi/cuda_backend.h"
#include "horosphere/horo.h"
#include "kernels.h"
#include "products.h"
#include "rows.h"

namespace horo::cuda {
namespace {

int32_t fail(int32_t status, CudaError* error, const char* what, cudaError_t code) {
    cudaGetLastError();  // so that it is not found again by the next call
    std::snprintf(error->text, sizeof error->text, "%s: %s", what, cudaGetErrorString(code));
    return status;
}

int32_t status_of(cudaError_t code) {
    return code == cudaErrorMemoryAllocation ? HORO_OUT_OF_MEMORY : HORO_INTERNAL;
}

// The device of a call, current for its scope.
class Current {
  public:
    Current(int32_t device, CudaError* error) {
        cudaError_t code = cudaGetDevice(&before_);
        if (code == cudaSuccess && before_ != device) {
            code = cudaSetDevice(device);
            changed_ = code == cudaSuccess;
        }
        if (code != cudaSuccess) {
            status_ = fail(HORO_NO_DEVICE, error, "CUDA device", code);
        }
    }
    ~Current() {
        if (changed_) cudaSetDevice(before_);
    }
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    int32_t status() const { return status_; }

  private:
    int before_ = 0;
    bool changed_ = false;
    int32_t status_ = HORO_OK;
};

template <class Body>
int32_t on(int32_t device, CudaError* error, const char* what, Body&& body) {
    const Current current(device, error);
    if (current.status() != HORO_OK) return current.status();
    const cudaError_t code = body();
    return code == cudaSuccess ? HORO_OK : fail(status_of(code), error, what, code);
}

int32_t probe(int32_t* count, CudaError* error) {
    int found = 0;
    *count = 0;
    const cudaError_t code = cudaGetDeviceCount(&found);
    if (code != cudaSuccess) {
        fail(HORO_NO_DEVICE, error, "", code);
        std::snprintf(error->text, sizeof error->text, "%s", cudaGetErrorString(code));
        return HORO_NO_DEVICE;
    }
    if (found == 0) {
        std::snprintf(error->text, sizeof error->text, "the driver lists none");
        return HORO_NO_DEVICE;
    }
    for (int device = 0; device < found; ++device) {
        int major = 0, minor = 0;
        cudaError_t asked = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
        if (asked == cudaSuccess)
            asked = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
        if (asked != cudaSuccess) return fail(HORO_NO_DEVICE, error, "compute capability", asked);
        if (major < 8) {
            std::snprintf(error->text, sizeof error->text,
                          "device %d has compute capability %d.%d, expected 8.0 or more (hide it with "
                          "CUDA_VISIBLE_DEVICES)",
                          device, major, minor);
            return HORO_NO_DEVICE;
        }
    }
    *count = found;
    return HORO_OK;
}

int32_t name(int32_t device, char* text, int32_t size, CudaError* error) {
    cudaDeviceProp properties;
    const cudaError_t code = cudaGetDeviceProperties(&properties, device);
    if (code != cudaSuccess) return fail(HORO_INTERNAL, error, "device name", code);
    std::snprintf(text, static_cast<size_t>(size), "%s", properties.name);
    return HORO_OK;
}

int32_t memory(int32_t device, int64_t* free_bytes, int64_t* total_bytes, CudaError* error) {
    size_t free = 0, total = 0;
    const int32_t status = on(device, error, "memory", [&] { return cudaMemGetInfo(&free, &total); });
    *free_bytes = static_cast<int64_t>(free);
    *total_bytes = static_cast<int64_t>(total);
    return status;
}

int32_t allocate(int32_t device, int64_t bytes, void** address, CudaError* error) {
    return on(device, error, "allocate", [&] { return cudaMalloc(address, static_cast<size_t>(bytes)); });
}

int32_t release(int32_t device, void* address, CudaError* error) {
    return on(device, error, "free", [&] { return cudaFree(address); });
}

// Waiting for a stream that is being captured would end the capture.
bool refused(void* stream, CudaError* error) {
    cudaStreamCaptureStatus capture{};
    if (cudaStreamIsCapturing(static_cast<cudaStream_t>(stream), &capture) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    if (capture == cudaStreamCaptureStatusNone) return false;
    std::snprintf(error->text, sizeof error->text,
                  "stream: it is being captured, expected no waiting for it before the end of the capture");
    return true;
}

int32_t copy(int32_t device, void* to, const void* from, int64_t bytes, void* stream, CudaError* error) {
    if (refused(stream, error)) return HORO_INVALID_ARGUMENT;
    return on(device, error, "copy", [&] {
        const cudaStream_t s = static_cast<cudaStream_t>(stream);
        const cudaError_t code = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, s);
        return code == cudaSuccess ? cudaStreamSynchronize(s) : code;
    });
}

int32_t copy_async(int32_t device, void* to, const void* from, int64_t bytes, void* stream,
                   CudaError* error) {
    return on(device, error, "copy", [&] {
        return cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault,
                               static_cast<cudaStream_t>(stream));
    });
}

int32_t pinned_allocate(int32_t device, int64_t bytes, void** address, CudaError* error) {
    return on(device, error, "allocate pinned memory",
              [&] { return cudaHostAlloc(address, static_cast<size_t>(bytes), cudaHostAllocPortable); });
}

int32_t pinned_free(int32_t device, void* address, CudaError* error) {
    return on(device, error, "free pinned memory", [&] { return cudaFreeHost(address); });
}

int32_t stream_create(int32_t device, void** stream, CudaError* error) {
    return on(device, error, "stream", [&] {
        return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), cudaStreamNonBlocking);
    });
}

int32_t stream_destroy(int32_t device, void* stream, CudaError* error) {
    return on(device, error, "stream", [&] {
        forget_stream(device, stream);
        return cudaStreamDestroy(static_cast<cudaStream_t>(stream));
    });
}

int32_t stream_synchronize(int32_t device, void* stream, CudaError* error) {
    if (refused(stream, error)) return HORO_INVALID_ARGUMENT;
    return on(device, error, "stream",
              [&] { return cudaStreamSynchronize(static_cast<cudaStream_t>(stream)); });
}

int32_t begin_capture(int32_t device, void* stream, CudaError* error) {
    return on(device, error, "capture", [&] {
        return cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeThreadLocal);
    });
}

int32_t end_capture(int32_t device, void* stream, void** made, CudaError* error) {
    return on(device, error, "capture", [&] {
        cudaGraph_t graph = nullptr;
        cudaError_t code = cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph);
        if (code != cudaSuccess) return code;
        code = cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(made), graph, 0);
        if (code != cudaSuccess) *made = nullptr;
        cudaGraphDestroy(graph);
        return code;
    });
}

int32_t graph_launch(int32_t device, void* graph, void* stream, CudaError* error) {
    return on(device, error, "graph", [&] {
        return cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream));
    });
}

int32_t graph_destroy(int32_t device, void* graph, CudaError* error) {
    return on(device, error, "graph",
              [&] { return cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); });
}

int32_t fill(int32_t device, void* address, int32_t value, int64_t bytes, void* stream, CudaError* error) {
    return on(device, error, "fill", [&] {
        return cudaMemsetAsync(address, value, static_cast<size_t>(bytes), static_cast<cudaStream_t>(stream));
    });
}

int32_t enqueue(int32_t device, int32_t (*launch)(const void* call), const void* call, CudaError* error) {
    return on(device, error, "launch", [&] { return static_cast<cudaError_t>(launch(call)); });
}

int32_t product(int32_t device, void* stream, const GemmCall* call, CudaError* error) {
    const Current current(device, error);
    return current.status() == HORO_OK ? gemm(device, stream, *call, error) : current.status();
}

int32_t row_op(int32_t device, void* stream, int32_t op, int32_t dtype, const RowCall* call,
               CudaError* error) {
    return on(device, error, "launch",
              [&] { return row_launcher(op)(*call, dtype, static_cast<cudaStream_t>(stream)); });
}

}  // namespace
}  // namespace horo::cuda

extern "C" __attribute__((visibility("default"))) const horo::CudaBackend* horo_cuda_backend() {
    using namespace horo::cuda;
    static const horo::CudaKernels kernels = {
        layers(),       low_rank_f32(),
        low_rank_f64(), {attention_f32(), attention_f64(), attention_bf16(), attention_f16()},
        pairs(),        sets(),
        linear(),       horo::cuda::random()};
    static const horo::CudaBackend backend = {horo::cuda_backend_version,
                                              sizeof(horo::CudaBackend),
                                              HORO_VERSION_STRING,
                                              horo::row_operations,
                                              probe,
                                              name,
                                              memory,
                                              allocate,
                                              release,
                                              copy,
                                              copy_async,
                                              pinned_allocate,
                                              pinned_free,
                                              stream_create,
                                              stream_destroy,
                                              stream_synchronize,
                                              begin_capture,
                                              end_capture,
                                              graph_launch,
                                              graph_destroy,
                                              fill,
                                              &kernels,
                                              enqueue,
                                              product,
                                              row_op};
    return &backend;
}
