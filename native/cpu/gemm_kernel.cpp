// The built-in matrix product. B may be stored in 16 bits: it becomes float32 on its way to the registers.
#include "cpu/gemm.h"
#include "cpu/half.h"
#include "cpu/vec.h"

namespace horo::HORO_ISA_NAMESPACE {
namespace {

// ---- Blocks of B packed to the stack, C in registers ----

constexpr int block_rows = wide == 16 ? 12 : 6;  // accumulators fill the register file
constexpr int block_cols = 2 * wide;
constexpr int64_t block_depth = 256;

// One block of C from a packed block of B; rows past `rows` repeat the last one and are not stored.
HORO_INLINE void block(int64_t rows, int64_t cols, int64_t depth, float alpha, const float* a, int64_t a_row,
                       int64_t a_col, const float* packed, float beta, float* c, int64_t ldc) {
    const float* row[block_rows];
    for (int64_t i = 0; i < block_rows; ++i) row[i] = a + (i < rows ? i : rows - 1) * a_row;
    Floats sum0[block_rows] = {}, sum1[block_rows] = {};
    for (int64_t p = 0; p < depth; ++p) {
        const Floats b0 = load(packed + p * block_cols, Full{}),
                     b1 = load(packed + p * block_cols + wide, Full{});
#pragma GCC unroll 12
        for (int i = 0; i < block_rows; ++i) {
            const Floats factor = Floats{} + row[i][p * a_col];
            sum0[i] += factor * b0;
            sum1[i] += factor * b1;
        }
    }
    for (int64_t i = 0; i < rows; ++i, c += ldc) {
        float product[block_cols];
        store(product, sum0[i] * alpha, Full{});
        store(product + wide, sum1[i] * alpha, Full{});
        each(cols, [&](int64_t j, auto part) {
            const Floats v = load(product + j, part);
            store(c + j, beta == 0 ? v : v + beta * load(c + j, part), part);
        });
    }
}

// packed[p][j] = b[j * b_col + p]
template <class Storage>
HORO_INLINE void pack_transposed(int64_t depth, int64_t cols, const typename Storage::Element* b,
                                 int64_t b_col, float* packed) {
    for (int64_t j = 0; j < cols; j += wide)
        each(
            depth, [&](int64_t p, auto part) __attribute__((always_inline)) {
                Floats square[wide] = {};
                for (int64_t i = 0; i < wide && j + i < cols; ++i)
                    square[i] = Storage::load(b + (j + i) * b_col + p, part);
                transpose<float, wide>(square);
                for (int64_t i = 0; i < wide && p + i < depth; ++i)
                    store(packed + (p + i) * block_cols + j, square[i], Full{});
            });
}

template <class Storage>
void packed_product(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t a_row,
                    int64_t a_col, const typename Storage::Element* b, int64_t b_row, int64_t b_col,
                    float beta, float* c, int64_t ldc) {
    alignas(64) float packed[block_depth * block_cols];
    for (int64_t p0 = 0; p0 < k; p0 += block_depth) {
        const int64_t depth = k - p0 < block_depth ? k - p0 : block_depth;
        for (int64_t j0 = 0; j0 < n; j0 += block_cols) {
            const int64_t cols = n - j0 < block_cols ? n - j0 : block_cols;
            if (cols < block_cols) std::memset(packed, 0, sizeof packed);
            if (b_col == 1) {
                for (int64_t p = 0; p < depth; ++p)
                    each(cols, [&](int64_t j, auto part) {
                        store(packed + p * block_cols + j, Storage::load(b + (p0 + p) * b_row + j0 + j, part),
                              part);
                    });
            } else {
                pack_transposed<Storage>(depth, cols, b + p0 + j0 * b_col, b_col, packed);
            }
            for (int64_t i0 = 0; i0 < m; i0 += block_rows)
                block(m - i0 < block_rows ? m - i0 : block_rows, cols, depth, alpha,
                      a + i0 * a_row + p0 * a_col, a_row, a_col, packed, p0 ? 1.0f : beta, c + i0 * ldc + j0,
                      ldc);
        }
    }
}

// ---- Dot products of rows, when both A and B have their summed index contiguous: nothing to pack ----

constexpr int64_t dot_depth = 1024;  // four rows of A and of B stay in the first-level cache

template <class Storage, int rows, int cols>
HORO_INLINE void dot_block(int64_t depth, float alpha, const float* a, int64_t lda,
                           const typename Storage::Element* b, int64_t ldb, float beta, float* c,
                           int64_t ldc) {
    Floats product[rows][cols] = {};
    each(
        depth, [&](int64_t p, auto part) __attribute__((always_inline)) {
            Floats right[cols];
#pragma GCC unroll 8
            for (int j = 0; j < cols; ++j) right[j] = Storage::load(b + j * ldb + p, part);
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i) {
                const Floats left = load(a + i * lda + p, part);
#pragma GCC unroll 8
                for (int j = 0; j < cols; ++j) product[i][j] += left * right[j];
            }
        });
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < cols; ++j) {
            float& out = c[i * ldc + j];
            const float value = alpha * sum<float, wide>(product[i][j]);
            out = beta == 0 ? value : value + beta * out;
        }
}

template <class Storage, int rows>
void dot_rows(int64_t n, int64_t depth, float alpha, const float* a, int64_t lda,
              const typename Storage::Element* b, int64_t ldb, float beta, float* c, int64_t ldc) {
    int64_t j = 0;
    for (; j + 4 <= n; j += 4)
        dot_block<Storage, rows, 4>(depth, alpha, a, lda, b + j * ldb, ldb, beta, c + j, ldc);
    for (; j < n; ++j) dot_block<Storage, rows, 1>(depth, alpha, a, lda, b + j * ldb, ldb, beta, c + j, ldc);
}

template <class Storage>
void dot_product(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                 const typename Storage::Element* b, int64_t ldb, float beta, float* c, int64_t ldc) {
    for (int64_t p = 0; p < k; p += dot_depth) {
        const int64_t depth = k - p < dot_depth ? k - p : dot_depth;
        const float keep = p ? 1.0f : beta;
        int64_t i = 0;
        for (; i + 4 <= m; i += 4)
            dot_rows<Storage, 4>(n, depth, alpha, a + i * lda + p, lda, b + p, ldb, keep, c + i * ldc, ldc);
        for (; i < m; ++i)
            dot_rows<Storage, 1>(n, depth, alpha, a + i * lda + p, lda, b + p, ldb, keep, c + i * ldc, ldc);
    }
}

template <class Storage>
void gemm(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t a_row, int64_t a_col,
          const void* b, int64_t b_row, int64_t b_col, float beta, float* c, int64_t ldc) {
    const auto* elements = static_cast<const typename Storage::Element*>(b);
    // Packing B does not pay for few rows, a block of it not for few columns; sums over lanes not for short
    // rows.
    if (a_col == 1 && b_row == 1 && (m == 1 || ((m <= 16 || n <= 16) && k >= 64)))
        dot_product<Storage>(m, n, k, alpha, a, a_row, elements, b_col, beta, c, ldc);
    else
        packed_product<Storage>(m, n, k, alpha, a, a_row, a_col, elements, b_row, b_col, beta, c, ldc);
}

}  // namespace

extern const GemmKernelTable gemm_kernel = {{gemm<Float32>, nullptr, gemm<Bfloat16>, gemm<Float16>}};

}  // namespace horo::HORO_ISA_NAMESPACE
