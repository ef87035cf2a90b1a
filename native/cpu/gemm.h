// Matrix products: oneDNN once it has been loaded, else a small kernel of our own.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// The built-in kernels by storage type of B, nullptr where there is none; op() already turned into strides,
// of which one is 1.
struct GemmKernelTable {
    // C (m x n, row stride ldc) = alpha * A B + beta * C; element (i, p) of A is a[i * a_row + p * a_col].
    void (*gemm[4])(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t a_row,
                    int64_t a_col, const void* b, int64_t b_row, int64_t b_col, float beta, float* c,
                    int64_t ldc);
};

namespace scalar {
extern const GemmKernelTable gemm_kernel;
}
namespace avx2 {
extern const GemmKernelTable gemm_kernel;
}
namespace avx512 {
extern const GemmKernelTable gemm_kernel;
}

struct Gemm {
    bool trans_a, trans_b;
    int64_t m, n, k;
    float alpha;
    int32_t a_type;  // HORO_F32; HORO_BF16 if b_type is, alpha is 1 then
    const void* a;
    int64_t lda;
    int32_t b_type;  // HORO_F32, HORO_BF16 or HORO_F16
    const void* b;
    int64_t ldb;
    float beta;
    float* c;
    int64_t ldc;
};

// Arguments must be valid. Products of equal types go to the provider. Returns nullptr or what failed.
const char* gemm(const Gemm& problem, const horo_exec& exec);

}  // namespace horo
