#include "products.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "horosphere/horo.h"
#include "kernels.h"

namespace horo::cuda {
namespace {

// ---- What is used of cublasLt.h, which the build machine need not have. Values are those of the ABI of
// cuBLASLt 12 and 13.

using Handle = void*;
using Description = void*;
using Layout = void*;
using Preference = void*;

struct Algorithm {
    uint64_t data[8];
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int32_t status;
    float waves;
    int32_t reserved[4];
};

constexpr int type_f32 = 0, type_bf16 = 14;               // CUDA_R_32F, CUDA_R_16BF
constexpr int compute_f32 = 68;                           // CUBLAS_COMPUTE_32F: no TF32
constexpr int transpose_a = 3, transpose_b = 4;           // CUBLASLT_MATMUL_DESC_TRANSA, ..B
constexpr int most_workspace = 1, reduction_schemes = 3;  // CUBLASLT_MATMUL_PREF_..
constexpr int alignment_a = 5, alignment_b = 6, alignment_c = 7, alignment_d = 8;
// Parts of a sum go to the workspace in float32 and are added in one order, or there are no parts.
constexpr uint32_t ordered_reduction = 2;  // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE

struct Library {
    int32_t (*create)(Handle*);
    int32_t (*description_create)(Description*, int compute, int scale);
    int32_t (*description_destroy)(Description);
    int32_t (*description_set)(Description, int attribute, const void*, size_t);
    int32_t (*layout_create)(Layout*, int type, uint64_t rows, uint64_t cols, int64_t ld);
    int32_t (*layout_destroy)(Layout);
    int32_t (*preference_create)(Preference*);
    int32_t (*preference_destroy)(Preference);
    int32_t (*preference_set)(Preference, int attribute, const void*, size_t);
    int32_t (*heuristic)(Handle, Description, Layout a, Layout b, Layout c, Layout d, Preference, int wanted,
                         Heuristic*, int* found);
    int32_t (*matmul)(Handle, Description, const void* alpha, const void* a, Layout, const void* b, Layout,
                      const void* beta, const void* c, Layout, void* d, Layout, const Algorithm*,
                      void* workspace, size_t, cudaStream_t);
    char reason[256];  // "" if it could be opened
};

Library open() {
    Library found{};
    void* handle = nullptr;
    if (const char* chosen = std::getenv("HORO_CUBLASLT")) {
        handle = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    } else {
        for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"})
            if (!handle) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (!handle) {
        const char* error = dlerror();
        std::snprintf(found.reason, sizeof found.reason,
                      "cuBLASLt 12 or 13 cannot be opened (HORO_CUBLASLT names its file): %s",
                      error ? error : "dlopen failed");
        return found;
    }
    const auto bind = [&](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
        if (!function) std::snprintf(found.reason, sizeof found.reason, "cuBLASLt has no %s", name);
    };
    bind(found.create, "cublasLtCreate");
    bind(found.description_create, "cublasLtMatmulDescCreate");
    bind(found.description_destroy, "cublasLtMatmulDescDestroy");
    bind(found.description_set, "cublasLtMatmulDescSetAttribute");
    bind(found.layout_create, "cublasLtMatrixLayoutCreate");
    bind(found.layout_destroy, "cublasLtMatrixLayoutDestroy");
    bind(found.preference_create, "cublasLtMatmulPreferenceCreate");
    bind(found.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    bind(found.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    bind(found.heuristic, "cublasLtMatmulAlgoGetHeuristic");
    bind(found.matmul, "cublasLtMatmul");
    return found;
}

const Library& library() {
    static const Library found = open();  // never closed: its threads may live on
    return found;
}

constexpr int64_t workspace_bytes = int64_t{32} << 20;

struct Memory {
    void* address = nullptr;
    int64_t bytes = 0;
    std::vector<void*> smaller;  // what it took the place of: graphs may still use it
};

// What lives as long as the process: a handle per device, a workspace per stream, the choice of algorithm per
// shape, so that the same call gives the same bits.
struct State {
    std::mutex lock;
    std::map<int32_t, Handle> handles;
    std::map<std::pair<int32_t, void*>, Memory> workspaces, splits;
    std::map<std::tuple<int32_t, int32_t, int32_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                        int64_t, uint32_t, uint32_t, uint32_t>,
             Algorithm>
        algorithms;
};

State& state() {
    static State& all = *new State;  // not destroyed at exit, when the driver may be gone
    return all;
}

int32_t fail(CudaError* error, int32_t status, const char* what, const char* why) {
    std::snprintf(error->text, sizeof error->text, "%s: %s", what, why);
    return status;
}

int32_t fail(CudaError* error, const char* what, int32_t code) {
    std::snprintf(error->text, sizeof error->text, "%s: cuBLAS status %d", what, code);
    return HORO_INTERNAL;
}

int32_t fail(CudaError* error, const char* what, cudaError_t code) {
    cudaGetLastError();
    std::snprintf(error->text, sizeof error->text, "%s: %s", what, cudaGetErrorString(code));
    return code == cudaErrorMemoryAllocation ? HORO_OUT_OF_MEMORY : HORO_INTERNAL;
}

// Memory of a stream of at least so many bytes, made when they are first asked for; a capture cannot hold an
// allocation. At least twice what it takes the place of, so that all that together is no more than this.
int32_t reserve(Memory& held, int64_t bytes, void* stream, CudaError* error) {
    if (held.bytes >= bytes) return HORO_OK;
    if (bytes < 2 * held.bytes) bytes = 2 * held.bytes;
    cudaStreamCaptureStatus capture{};
    cudaError_t code = cudaStreamIsCapturing(static_cast<cudaStream_t>(stream), &capture);
    if (code != cudaSuccess) return fail(error, "matrix product", code);
    if (capture != cudaStreamCaptureStatusNone)
        return fail(error, HORO_INVALID_ARGUMENT, "exec",
                    "its stream is being captured, expected one such matrix product before that, for the "
                    "workspace");
    void* address = nullptr;
    code = cudaMalloc(&address, static_cast<size_t>(bytes));
    if (code != cudaSuccess) return fail(error, "workspace of matrix products", code);
    if (held.address) held.smaller.push_back(held.address);
    held.address = address;
    held.bytes = bytes;
    return HORO_OK;
}

uint32_t alignment(const void* p) {
    uint32_t bytes = 256;
    while (reinterpret_cast<uintptr_t>(p) % bytes) bytes /= 2;
    return bytes;
}

// A cuBLASLt object that is destroyed at the end of its scope.
struct Owned {
    void* object = nullptr;
    int32_t (*destroy)(void*) = nullptr;
    ~Owned() {
        if (object) destroy(object);
    }
};

// Of the float32 A three bfloat16 matrices, and of the product three that add up: exact products and float32
// sums, as on the CPU.
int32_t gemm_of_parts(int32_t device, void* stream, const GemmCall& call, CudaError* error) {
    const int64_t rows = call.trans_a ? call.k : call.m, cols = call.trans_a ? call.m : call.k;
    void* split = nullptr;
    {
        const std::lock_guard<std::mutex> guard(state().lock);
        Memory& held = state().splits[{device, stream}];
        if (const int32_t status = reserve(held, 6 * rows * cols, stream, error)) return status;
        split = held.address;
    }
    const int32_t code = split_bf16(static_cast<const float*>(call.a), call.lda, rows, cols, split, stream);
    if (code) return fail(error, "matrix product", static_cast<cudaError_t>(code));
    for (int part = 2; part >= 0; --part) {  // the smallest first
        GemmCall of = call;
        of.wide_a = false;
        of.a = static_cast<const uint16_t*>(split) + part * rows * cols;
        of.lda = cols;
        if (part < 2) of.beta = 1;
        if (const int32_t status = gemm(device, stream, of, error)) return status;
    }
    return HORO_OK;
}

}  // namespace

void forget_stream(int32_t device, void* stream) {
    const std::lock_guard<std::mutex> guard(state().lock);
    for (auto* memory : {&state().workspaces, &state().splits}) {
        const auto found = memory->find({device, stream});
        if (found == memory->end()) continue;
        for (void* address : found->second.smaller) cudaFree(address);  // waits for the device's work
        cudaFree(found->second.address);
        memory->erase(found);
    }
}

int32_t gemm(int32_t device, void* stream, const GemmCall& call, CudaError* error) {
    const float alpha = static_cast<float>(call.alpha), beta = static_cast<float>(call.beta);
    const cudaStream_t on = static_cast<cudaStream_t>(stream);
    if (call.k == 0) {  // C = beta C
        if (beta == 1) return HORO_OK;
        if (beta != 0) return fail(error, HORO_UNSUPPORTED, "k", "0, with a beta that is neither 0 nor 1");
        const cudaError_t code =
            cudaMemset2DAsync(call.c, static_cast<size_t>(call.ldc) * 4, 0, static_cast<size_t>(call.n) * 4,
                              static_cast<size_t>(call.m), on);
        return code == cudaSuccess ? HORO_OK : fail(error, "matrix product", code);
    }
    if (call.wide_a) return gemm_of_parts(device, stream, call, error);
    const Library& lt = library();
    if (lt.reason[0]) return fail(error, HORO_UNSUPPORTED, "matrix product on a CUDA device", lt.reason);

    const std::lock_guard<std::mutex> guard(state().lock);
    Handle& handle = state().handles[device];
    int32_t code = handle ? 0 : lt.create(&handle);
    if (code) {
        handle = nullptr;
        return fail(error, "cublasLtCreate", code);
    }
    Memory& workspace = state().workspaces[{device, stream}];
    if (const int32_t status = reserve(workspace, workspace_bytes, stream, error)) return status;

    // cuBLASLt counts by columns: the row-major C is its C^T = op(B)^T op(A)^T, so that B comes first.
    const int type = call.type == HORO_BF16 ? type_bf16 : type_f32;
    const int32_t first = call.trans_b ? 1 : 0, second = call.trans_a ? 1 : 0;
    const auto size = [](int64_t n) { return static_cast<uint64_t>(n); };
    Owned description{nullptr, lt.description_destroy}, a{nullptr, lt.layout_destroy},
        b{nullptr, lt.layout_destroy}, c{nullptr, lt.layout_destroy},
        preference{nullptr, lt.preference_destroy};
    const auto check = [&](int32_t next) {
        if (!code) code = next;
    };
    check(lt.description_create(&description.object, compute_f32, type_f32));
    if (code) return fail(error, "cublasLtMatmulDescCreate", code);
    check(lt.description_set(description.object, transpose_a, &first, sizeof first));
    check(lt.description_set(description.object, transpose_b, &second, sizeof second));
    check(lt.layout_create(&a.object, type, size(first ? call.k : call.n), size(first ? call.n : call.k),
                           call.ldb));
    check(lt.layout_create(&b.object, type, size(second ? call.m : call.k), size(second ? call.k : call.m),
                           call.lda));
    check(lt.layout_create(&c.object, type_f32, size(call.n), size(call.m), call.ldc));
    if (code) return fail(error, "cuBLASLt descriptors", code);

    const uint32_t aligned[3] = {alignment(call.b), alignment(call.a), alignment(call.c)};
    const auto key = std::make_tuple(device, call.type, first, second, call.m, call.n, call.k, call.lda,
                                     call.ldb, call.ldc, aligned[0], aligned[1], aligned[2]);
    auto chosen = state().algorithms.find(key);
    if (chosen == state().algorithms.end()) {
        check(lt.preference_create(&preference.object));
        if (code) return fail(error, "cublasLtMatmulPreferenceCreate", code);
        const uint64_t room = static_cast<uint64_t>(workspace_bytes);
        check(lt.preference_set(preference.object, most_workspace, &room, sizeof room));
        check(lt.preference_set(preference.object, reduction_schemes, &ordered_reduction,
                                sizeof ordered_reduction));
        check(lt.preference_set(preference.object, alignment_a, &aligned[0], sizeof aligned[0]));
        check(lt.preference_set(preference.object, alignment_b, &aligned[1], sizeof aligned[1]));
        check(lt.preference_set(preference.object, alignment_c, &aligned[2], sizeof aligned[2]));
        check(lt.preference_set(preference.object, alignment_d, &aligned[2], sizeof aligned[2]));
        Heuristic found{};
        int count = 0;
        check(lt.heuristic(handle, description.object, a.object, b.object, c.object, c.object,
                           preference.object, 1, &found, &count));
        if (!code && count == 0) code = found.status ? found.status : 15;  // CUBLAS_STATUS_NOT_SUPPORTED
        if (code) return fail(error, "cuBLASLt knows no algorithm for this product", code);
        chosen = state().algorithms.emplace(key, found.algorithm).first;
    }
    code = lt.matmul(handle, description.object, &alpha, call.b, a.object, call.a, b.object, &beta, call.c,
                     c.object, call.c, c.object, &chosen->second, workspace.address,
                     static_cast<size_t>(workspace_bytes), on);
    return code ? fail(error, "cublasLtMatmul", code) : HORO_OK;
}

}  // namespace horo::cuda
