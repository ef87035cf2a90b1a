// What the kernels beyond row operations are written with: accesses, sums over a warp or block, launches.
// With HORO_EMULATE the same source runs on the host, thread by thread (emulate.h), every access checked.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#if defined(HORO_EMULATE)
#include "emulate.h"
#else
#include <cuda_runtime.h>
#define HORO_DEVICE __device__ __forceinline__
#define HORO_KERNEL(threads) __global__ void __launch_bounds__(threads, 1)
#define HORO_CONSTANT const __grid_constant__
#define HORO_ON_ACCESS(p, ...)
#endif

namespace horo::cuda {

constexpr int warp = 32;

constexpr int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

// The same number; but the compiler cannot tell, so what is computed from it stays where it is instead of
// waiting in registers outside a loop.
HORO_DEVICE int renewed(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

// Shared memory of the size that the launch says.
HORO_DEVICE char* shared_memory() {
#if defined(HORO_EMULATE)
    return emulate::Block::current().shared.data();
#else
    extern __shared__ __align__(16) char dynamic[];
    return dynamic;
#endif
}

// ---- Memory

// As wide as an access can be: 16 bytes, or several of them.
template <class T, int width>
constexpr int access_alignment = width * sizeof(T) < 16 ? static_cast<int>(width * sizeof(T)) : 16;

template <class T, int width>
struct alignas(access_alignment<T, width>) Elements {
    T v[width];
};

template <int width, class T>
HORO_DEVICE void load(T (&x)[width], const T* p) {
    HORO_ON_ACCESS(p, (access_alignment<T, width>), sizeof x);
    const Elements<T, width> all = *reinterpret_cast<const Elements<T, width>*>(p);
#pragma unroll
    for (int e = 0; e < width; ++e) x[e] = all.v[e];
}

template <int width, class T>
HORO_DEVICE void store(T* p, const T (&x)[width]) {
    HORO_ON_ACCESS(p, (access_alignment<T, width>), sizeof x);
    Elements<T, width> all;
#pragma unroll
    for (int e = 0; e < width; ++e) all.v[e] = x[e];
    *reinterpret_cast<Elements<T, width>*>(p) = all;
}

template <class T>
HORO_DEVICE T get(const T* p) {
    HORO_ON_ACCESS(p, sizeof(T), sizeof(T));
    return *p;
}

template <class T>
HORO_DEVICE void put(T* p, std::common_type_t<T> value) {
    HORO_ON_ACCESS(p, sizeof(T), sizeof(T));
    *p = value;
}

// ---- Sums whose order the shape alone decides

HORO_DEVICE double warp_sum(double value) {
    for (int mask = warp / 2; mask; mask /= 2) value += __shfl_xor_sync(0xffffffff, value, mask);
    return value;
}

HORO_DEVICE float warp_max(float value) {
    for (int mask = warp / 2; mask; mask /= 2)
        value = fmaxf(value, static_cast<float>(__shfl_xor_sync(0xffffffff, value, mask)));
    return value;
}

// The value of the whole block, for every thread; all of them call.
template <int threads, class V, class Combine>
HORO_DEVICE V block_combine(V value, Combine&& combine) {
    constexpr int warps = threads / warp;
    __shared__ V shared[warps];
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();  // of the previous use
    if (thread % warp == 0) shared[thread / warp] = value;
    __syncthreads();
    V all = shared[0];
#pragma unroll
    for (int w = 1; w < warps; ++w) all = combine(all, shared[w]);
    return all;
}

template <int threads>
HORO_DEVICE double block_sum(double value) {
    return block_combine<threads>(warp_sum(value), [](double a, double b) { return a + b; });
}

template <int threads>
HORO_DEVICE float block_max(float value) {
    return block_combine<threads>(warp_max(value), [](float a, float b) { return fmaxf(a, b); });
}

// The sum over the `lanes` threads, a warp or the block, that share a row.
template <int lanes>
HORO_DEVICE double row_sum(double value) {
    if constexpr (lanes == warp)
        return warp_sum(value);
    else
        return block_sum<lanes>(value);
}

// ---- Launches

// Fewer blocks leave multiprocessors idle.
#if defined(HORO_EMULATE)
constexpr int64_t few_blocks = 2;  // so that small cases meet both sides
#else
constexpr int64_t few_blocks = 132;  // the multiprocessors of an H100
#endif

template <class T>
struct Given {
    using type = T;
};

// Enqueues blocks x threads with `shared` bytes for shared_memory(); the status is a cudaError_t.
template <class... P>
int32_t launch_shared(void* stream, int64_t blocks, int threads, int64_t shared, void (*kernel)(P...),
                      typename Given<P>::type... args) {
#if defined(HORO_EMULATE)
    const auto run = [=] {
        emulated_grid = static_cast<unsigned>(blocks);
        emulate::Block::current().shared.resize(static_cast<size_t>(shared));
        for (int64_t block = 0; block < blocks; ++block)
            emulate::Block::current().run(static_cast<unsigned>(block), static_cast<unsigned>(threads),
                                          [&] { kernel(args...); });
    };
    emulate::submit ? emulate::submit(stream, run) : run();
    return 0;
#else
    if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
    if (shared > 48 << 10)
        if (const cudaError_t failed =
                cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)))
            return failed;
    void* pointers[] = {&args...};
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), static_cast<unsigned>(blocks),
                            static_cast<unsigned>(threads), pointers, static_cast<size_t>(shared),
                            static_cast<cudaStream_t>(stream));
#endif
}

template <class... P>
int32_t launch(void* stream, int64_t blocks, int threads, void (*kernel)(P...),
               typename Given<P>::type... args) {
    return launch_shared(stream, blocks, threads, 0, kernel, args...);
}

// Returns from the enclosing function with the first failure of several launches.
#define HORO_TRY(...) \
    if (const int32_t code = (__VA_ARGS__)) return code

// True if every address allows accesses of `bytes`.
template <class... P>
bool aligned(int64_t bytes, const P*... p) {
    return ((reinterpret_cast<uintptr_t>(p) | ...) % static_cast<uintptr_t>(bytes)) == 0;
}

}  // namespace horo::cuda
