// Random numbers, compiled without contraction like cpu/random.cpp: bit for bit the CPU's.
#include "abi/cuda_kernels.h"
#include "geometry/normal_variate.h"
#include "kernel.cuh"
#include "kernels.h"

namespace horo::cuda {
namespace {

constexpr int threads = 256;

// A thread makes variates 2 n and 2 n + 1; both: they go to memory in one access.
template <class T, bool both>
HORO_KERNEL(threads)
normal_kernel(int64_t pairs, int64_t count, double std, int64_t seed, int64_t offset, T* out) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i >= pairs) return;
    const NormalPair pair = normal_pair((offset >> 1) + i, seed);
    const T value[2] = {static_cast<T>(std * pair.value[0]), static_cast<T>(std * pair.value[1])};
    const int64_t at = 2 * i - (offset & 1);
    if (both && at >= 0 && at + 1 < count) {
        store(out + at, value);
        return;
    }
    if (at >= 0) put(out + at, value[0]);
    if (at + 1 < count) put(out + at + 1, value[1]);
}

template <class T>
int32_t normal(int64_t count, double std, int64_t seed, int64_t offset, T* out, void* stream) {
    const int64_t odd = offset & 1, pairs = (count + odd + 1) / 2;
    const bool both = (reinterpret_cast<uintptr_t>(out) / sizeof(T)) % 2 == static_cast<uintptr_t>(odd);
    return launch(stream, parts(pairs, threads), threads,
                  both ? normal_kernel<T, true> : normal_kernel<T, false>, pairs, count, std, seed, offset,
                  out);
}

int32_t normal(int32_t dtype, int64_t count, double std, int64_t seed, int64_t offset, void* out,
               void* stream) {
    return dtype == HORO_F32 ? normal(count, std, seed, offset, static_cast<float*>(out), stream)
                             : normal(count, std, seed, offset, static_cast<double*>(out), stream);
}

}  // namespace

const CudaRandom& random() {
    static const CudaRandom table = {normal};
    return table;
}

}  // namespace horo::cuda
