// The built-in matrix product: blocks of B packed to the stack, C in registers.
#include "cpu/gemm.h"
#include "cpu/vec.h"

namespace horo::HORO_ISA_NAMESPACE {
namespace {

constexpr int block_rows = lanes == 16 ? 12 : 6;  // accumulators fill the register file
constexpr int block_cols = 2 * lanes;
constexpr int64_t block_depth = 256;

// One block of C from a packed block of B; rows past `rows` repeat the last one and are not stored.
HORO_INLINE void block(int64_t rows, int64_t cols, int64_t depth, float alpha, const float* a, int64_t a_row,
                       int64_t a_col, const float* packed, float beta, float* c, int64_t ldc) {
    const float* row[block_rows];
    for (int64_t i = 0; i < block_rows; ++i) row[i] = a + (i < rows ? i : rows - 1) * a_row;
    Vec sum0[block_rows] = {}, sum1[block_rows] = {};
    for (int64_t p = 0; p < depth; ++p) {
        const Vec b0 = load(packed + p * block_cols, Full{}),
                  b1 = load(packed + p * block_cols + lanes, Full{});
#pragma GCC unroll 12
        for (int i = 0; i < block_rows; ++i) {
            const Vec factor = Vec{} + row[i][p * a_col];
            sum0[i] += factor * b0;
            sum1[i] += factor * b1;
        }
    }
    for (int64_t i = 0; i < rows; ++i, c += ldc) {
        float product[block_cols];
        store(product, sum0[i] * alpha, Full{});
        store(product + lanes, sum1[i] * alpha, Full{});
        each(cols, [&](int64_t j, auto part) {
            const Vec v = load(product + j, part);
            store(c + j, beta == 0 ? v : v + beta * load(c + j, part), part);
        });
    }
}

void sgemm(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t a_row, int64_t a_col,
           const float* b, int64_t b_row, int64_t b_col, float beta, float* c, int64_t ldc) {
    alignas(64) float packed[block_depth * block_cols];
    for (int64_t p0 = 0; p0 < k; p0 += block_depth) {
        const int64_t depth = k - p0 < block_depth ? k - p0 : block_depth;
        for (int64_t j0 = 0; j0 < n; j0 += block_cols) {
            const int64_t cols = n - j0 < block_cols ? n - j0 : block_cols;
            if (cols < block_cols) std::memset(packed, 0, sizeof packed);
            for (int64_t j = 0; j < cols; ++j)
                for (int64_t p = 0; p < depth; ++p)
                    packed[p * block_cols + j] = b[(p0 + p) * b_row + (j0 + j) * b_col];
            for (int64_t i0 = 0; i0 < m; i0 += block_rows)
                block(m - i0 < block_rows ? m - i0 : block_rows, cols, depth, alpha,
                      a + i0 * a_row + p0 * a_col, a_row, a_col, packed, p0 ? 1.0f : beta, c + i0 * ldc + j0,
                      ldc);
        }
    }
}

}  // namespace

extern const GemmKernelTable gemm_kernel = {sgemm};

}  // namespace horo::HORO_ISA_NAMESPACE
