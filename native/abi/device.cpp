#include "abi/device.h"

#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "abi/status.h"

namespace horo {
namespace {

constexpr const char* library = "libhorosphere_cuda.so";
constexpr int32_t max_devices = 64;

// The folder of this library, or HORO_BACKEND_DIR.
std::string folder() {
    if (const char* chosen = std::getenv("HORO_BACKEND_DIR")) return chosen;
    Dl_info self;
    if (!dladdr(reinterpret_cast<const void*>(&cuda), &self) || !self.dli_fname) return ".";
    const std::string path = self.dli_fname;
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

__attribute__((format(printf, 2, 3))) void refuse(Cuda& found, const char* format, ...) {
    found.backend = nullptr;
    found.devices = 0;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(found.reason, sizeof found.reason, format, arguments);
    va_end(arguments);
}

Cuda open() {
    Cuda found{};
    const char* disabled = std::getenv("HORO_DISABLE_CUDA");
    if (disabled && *disabled && std::strcmp(disabled, "0") != 0) {
        refuse(found, "HORO_DISABLE_CUDA is set");
        return found;
    }
    const std::string directory = folder(), path = directory + "/" + library;
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: its threads may live on
    if (!handle) {
        const char* error = dlerror();
        if (std::FILE* present = std::fopen(path.c_str(), "rb")) {
            std::fclose(present);
            refuse(found, "%s", error ? error : "dlopen failed");
        } else {
            refuse(found, "no %s in %s", library, directory.c_str());
        }
        return found;
    }
    const auto function = reinterpret_cast<CudaBackendFunction>(dlsym(handle, "horo_cuda_backend"));
    const CudaBackend* backend = function ? function() : nullptr;
    if (!backend || backend->version != cuda_backend_version || backend->struct_size != sizeof(CudaBackend) ||
        backend->row_operations != row_operations ||
        std::strcmp(backend->release, HORO_VERSION_STRING) != 0) {
        refuse(found, "%s belongs to another version of libhorosphere.so", path.c_str());
        return found;
    }
    CudaError error{};
    int32_t devices = 0;
    if (backend->probe(&devices, &error) != HORO_OK) {
        refuse(found, "%s", error.text);
        return found;
    }
    found.backend = backend;
    found.devices = devices < max_devices ? devices : max_devices;
    return found;
}

// What a function of the backend returned, with its text.
int32_t report(int32_t status, const CudaError& error) {
    return status == HORO_OK ? HORO_OK : fail(status, "%s", error.text);
}

}  // namespace

const Cuda& cuda() {
    static const Cuda found = open();
    return found;
}

int32_t check_device(int32_t device) {
    HORO_REQUIRE(device >= 0, "device: %d, expected a CUDA device number", device);
    const Cuda& found = cuda();
    if (!found.backend) return fail(HORO_NO_DEVICE, "no CUDA device: %s", found.reason);
    if (device >= found.devices)
        return fail(HORO_NO_DEVICE, "no CUDA device %d: there are %d", device, found.devices);
    return HORO_OK;
}

int32_t enqueue(const horo_exec& exec, int32_t (*launch)(const void* call), const void* call) {
    CudaError error{};
    return report(cuda().backend->enqueue(exec.device, launch, call, &error), error);
}

int32_t gemm_cuda(const GemmCall& call, const horo_exec& exec) {
    CudaError error{};
    return report(cuda().backend->gemm(exec.device, exec.stream, &call, &error), error);
}

int32_t run_rows_cuda(int32_t op, int32_t dtype, const RowCall& call, int32_t device, void* stream) {
    CudaError error{};
    return report(cuda().backend->row_op(device, stream, op, dtype, &call, &error), error);
}

}  // namespace horo

// The rest of an entry point: the device is there, the backend's function decides.
#define HORO_ON_DEVICE(device, function, ...)                                                        \
    do {                                                                                             \
        return horo::guarded([&] {                                                                   \
            if (const int32_t status = horo::check_device(device)) return status;                    \
            horo::CudaError error{};                                                                 \
            return horo::report(horo::cuda().backend->function(device, __VA_ARGS__, &error), error); \
        });                                                                                          \
    } while (0)

extern "C" {

int32_t horo_device_count(int32_t* count) {
    HORO_REQUIRE(count, "count: null result pointer");
    *count = 0;
    return horo::guarded([&] {
        *count = horo::cuda().devices;
        return HORO_OK;
    });
}

const char* horo_device_reason(void) {
    if (horo::guarded([] { return (horo::cuda(), HORO_OK); }) != HORO_OK) return horo_last_error();
    return horo::cuda().reason;
}

int32_t horo_device_name(int32_t device, void* text, int32_t size) {
    HORO_REQUIRE(text && size > 0, "text: null or empty, expected room for the name");
    HORO_ON_DEVICE(device, name, static_cast<char*>(text), size);
}

int32_t horo_device_memory(int32_t device, int64_t* free_bytes, int64_t* total_bytes) {
    HORO_REQUIRE(free_bytes, "free_bytes: null result pointer");
    HORO_REQUIRE(total_bytes, "total_bytes: null result pointer");
    HORO_ON_DEVICE(device, memory, free_bytes, total_bytes);
}

int32_t horo_device_allocate(int32_t device, int64_t bytes, void** address) {
    HORO_REQUIRE(address, "address: null result pointer");
    *address = nullptr;
    HORO_REQUIRE(bytes > 0, "bytes: %lld, expected 1 or more", (long long)bytes);
    HORO_ON_DEVICE(device, allocate, bytes, address);
}

int32_t horo_device_free(int32_t device, void* address) {
    if (!address) return HORO_OK;
    HORO_ON_DEVICE(device, free, address);
}

int32_t horo_device_copy(int32_t device, void* to, const void* from, int64_t bytes, void* stream) {
    HORO_REQUIRE(bytes >= 0, "bytes: %lld, expected 0 or more", (long long)bytes);
    if (bytes == 0) return HORO_OK;
    HORO_REQUIRE(to, "to: null");
    HORO_REQUIRE(from, "from: null");
    HORO_ON_DEVICE(device, copy, to, from, bytes, stream);
}

int32_t horo_device_copy_async(int32_t device, void* to, const void* from, int64_t bytes, void* stream) {
    HORO_REQUIRE(bytes >= 0, "bytes: %lld, expected 0 or more", (long long)bytes);
    if (bytes == 0) return HORO_OK;
    HORO_REQUIRE(to, "to: null");
    HORO_REQUIRE(from, "from: null");
    HORO_ON_DEVICE(device, copy_async, to, from, bytes, stream);
}

int32_t horo_pinned_allocate(int32_t device, int64_t bytes, void** address) {
    HORO_REQUIRE(address, "address: null result pointer");
    *address = nullptr;
    HORO_REQUIRE(bytes > 0, "bytes: %lld, expected 1 or more", (long long)bytes);
    HORO_ON_DEVICE(device, pinned_allocate, bytes, address);
}

int32_t horo_pinned_free(int32_t device, void* address) {
    if (!address) return HORO_OK;
    HORO_ON_DEVICE(device, pinned_free, address);
}

int32_t horo_device_fill(int32_t device, void* address, int32_t value, int64_t bytes, void* stream) {
    HORO_REQUIRE(bytes >= 0, "bytes: %lld, expected 0 or more", (long long)bytes);
    HORO_REQUIRE(value >= 0 && value <= 255, "value: %d, expected 0 to 255", value);
    if (bytes == 0) return HORO_OK;
    HORO_REQUIRE(address, "address: null");
    HORO_ON_DEVICE(device, fill, address, value, bytes, stream);
}

int32_t horo_stream_create(int32_t device, void** stream) {
    HORO_REQUIRE(stream, "stream: null result pointer");
    *stream = nullptr;
    HORO_ON_DEVICE(device, stream_create, stream);
}

int32_t horo_stream_destroy(int32_t device, void* stream) {
    if (!stream) return HORO_OK;
    HORO_ON_DEVICE(device, stream_destroy, stream);
}

int32_t horo_stream_synchronize(int32_t device, void* stream) {
    HORO_ON_DEVICE(device, stream_synchronize, stream);
}

int32_t horo_stream_begin_capture(int32_t device, void* stream) {
    HORO_REQUIRE(stream, "stream: the default stream, expected another: CUDA cannot capture it");
    HORO_ON_DEVICE(device, begin_capture, stream);
}

int32_t horo_stream_end_capture(int32_t device, void* stream, void** graph) {
    HORO_REQUIRE(stream, "stream: null");
    HORO_REQUIRE(graph, "graph: null result pointer");
    *graph = nullptr;
    HORO_ON_DEVICE(device, end_capture, stream, graph);
}

int32_t horo_graph_launch(int32_t device, void* graph, void* stream) {
    HORO_REQUIRE(graph, "graph: null");
    HORO_ON_DEVICE(device, graph_launch, graph, stream);
}

int32_t horo_graph_destroy(int32_t device, void* graph) {
    if (!graph) return HORO_OK;
    HORO_ON_DEVICE(device, graph_destroy, graph);
}
}
