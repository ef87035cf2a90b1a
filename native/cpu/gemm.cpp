#include "cpu/gemm.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstdio>

#include "cpu/isa.h"
#include "cpu/pool.h"

namespace horo {
namespace {

// What is used of oneDNN (oneapi/dnnl/dnnl.h) and of the OpenMP runtime it brings.
struct DnnlVersion {
    int major, minor, patch;
};
using DnnlSgemm = int (*)(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                          int64_t ldc);

struct Dnnl {
    DnnlSgemm sgemm;
    int (*get_max_threads)();
    void (*set_num_threads)(int);
    char name[32];
};

Dnnl dnnl_storage;
std::atomic<const Dnnl*> dnnl{nullptr};  // set once, never unloaded
pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

const char* load_locked(const char* path) {
    if (dnnl.load(std::memory_order_relaxed)) return nullptr;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return dlerror();
    const auto version = reinterpret_cast<const DnnlVersion* (*)()>(dlsym(library, "dnnl_version"));
    dnnl_storage.sgemm = reinterpret_cast<DnnlSgemm>(dlsym(library, "dnnl_sgemm"));
    if (!version || !dnnl_storage.sgemm) {
        dlclose(library);
        return "the file is not oneDNN: it has no dnnl_version and dnnl_sgemm";
    }
    // Symbols of a dependency are visible through the handle; a oneDNN without OpenMP has none, and needs
    // none.
    dnnl_storage.get_max_threads = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_max_threads"));
    dnnl_storage.set_num_threads = reinterpret_cast<void (*)(int)>(dlsym(library, "omp_set_num_threads"));
    std::snprintf(dnnl_storage.name, sizeof dnnl_storage.name, "onednn %d.%d", version()->major,
                  version()->minor);
    dnnl.store(&dnnl_storage, std::memory_order_release);
    return nullptr;
}

// Keeps OpenMP on the calling thread while it lives: the parallelism is ours.
class OneThread {
  public:
    explicit OneThread(const Dnnl& library)
        : library_(library),
          before_(library.get_max_threads && library.set_num_threads ? library.get_max_threads() : 1) {
        if (before_ != 1) library_.set_num_threads(1);
    }
    ~OneThread() {
        if (before_ != 1) library_.set_num_threads(before_);
    }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

  private:
    const Dnnl& library_;
    const int before_;
};

int run_tile(const Dnnl* library, const Gemm& p, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const float* a = p.a + row * (p.trans_a ? 1 : p.lda);
    const int64_t skipped = col * (p.trans_b ? p.ldb : 1) * (p.b_type == HORO_F32 ? 4 : 2);
    const void* b = static_cast<const char*>(p.b) + skipped;
    float* c = p.c + row * p.ldc + col;
    if (library) {
        const OneThread guard(*library);
        return library->sgemm(p.trans_a ? 'T' : 'N', p.trans_b ? 'T' : 'N', rows, cols, p.k, p.alpha, a,
                              p.lda, static_cast<const float*>(b), p.ldb, p.beta, c, p.ldc);
    }
    select(scalar::gemm_kernel, avx2::gemm_kernel, avx512::gemm_kernel)
        .gemm[p.b_type](rows, cols, p.k, p.alpha, a, p.trans_a ? 1 : p.lda, p.trans_a ? p.lda : 1, b,
                        p.trans_b ? 1 : p.ldb, p.trans_b ? p.ldb : 1, p.beta, c, p.ldc);
    return 0;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

const char* load_gemm_provider(const char* path) {
    pthread_mutex_lock(&loading);
    const char* reason = load_locked(path);
    pthread_mutex_unlock(&loading);
    return reason;
}

const char* gemm_provider() {
    const Dnnl* library = dnnl.load(std::memory_order_acquire);
    return library ? library->name : "built-in";
}

const char* gemm(const Gemm& p, const horo_exec& exec) {
    if (p.m == 0 || p.n == 0) return nullptr;
    if (p.k == 0 || p.alpha == 0) {  // nothing is added; NaN in C goes when beta is 0
        for (int64_t i = 0; i < p.m; ++i)
            for (int64_t j = 0; j < p.n; ++j) {
                float& c = p.c[i * p.ldc + j];
                c = p.beta == 0 ? 0 : p.beta * c;
            }
        return nullptr;
    }
    // Tiles depend on the shape alone: a result must not depend on the number of threads. 256 x 512 runs at
    // the rate of the whole product; smaller ones, down to 64 x 128, only to give several threads something
    // to do.
    constexpr int64_t least_tiles = 8, least_work = int64_t{1} << 19;
    int64_t rows = p.m < 256 ? p.m : 256, cols = p.n < 512 ? p.n : 512;
    while (ceil_div(p.m, rows) * ceil_div(p.n, cols) < least_tiles && rows * cols > least_work / p.k) {
        if (rows > 64)
            rows = ceil_div(rows, 2);
        else if (cols > 128)
            cols = ceil_div(cols, 2);
        else
            break;
    }
    const int64_t down = ceil_div(p.m, rows), across = ceil_div(p.n, cols);
    const Dnnl* library = p.b_type == HORO_F32 ? dnnl.load(std::memory_order_acquire) : nullptr;
    std::atomic<int> status{0};
    parallel_for(exec, down * across, [&](int64_t tile) {
        const int64_t row = tile % down * rows, col = tile / down * cols;
        const int failure = run_tile(library, p, row, p.m - row < rows ? p.m - row : rows, col,
                                     p.n - col < cols ? p.n - col : cols);
        if (failure) status.store(failure, std::memory_order_relaxed);
    });
    return status.load(std::memory_order_relaxed) ? "oneDNN refused a matrix product" : nullptr;
}

}  // namespace horo
