#include "cpu/gemm.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "cpu/dnnl.h"
#include "cpu/isa.h"
#include "cpu/pool.h"

namespace horo {
namespace {

// One tile on the built-in kernel; a bfloat16 A becomes float32 first. Returns 0 if there is no memory for
// that.
bool run_built_in(const Gemm& p, const void* a, int64_t a_row, int64_t a_col, const void* b, int64_t b_row,
                  int64_t b_col, float* c, int64_t rows, int64_t cols) {
    const float* floats = static_cast<const float*>(a);
    float* widened = nullptr;
    if (p.a_type == HORO_BF16) {
        widened = static_cast<float*>(std::malloc(static_cast<size_t>(rows * p.k) * sizeof(float)));
        if (!widened) return false;
        const auto* halves = static_cast<const uint16_t*>(a);
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t q = 0; q < p.k; ++q) {
                const uint32_t bits = static_cast<uint32_t>(halves[i * a_row + q * a_col]) << 16;
                std::memcpy(widened + i * p.k + q, &bits, sizeof bits);
            }
        floats = widened;
        a_row = p.k;
        a_col = 1;
    }
    select(scalar::gemm_kernel, avx2::gemm_kernel, avx512::gemm_kernel)
        .gemm[p.b_type](rows, cols, p.k, p.alpha, floats, a_row, a_col, b, b_row, b_col, p.beta, c, p.ldc);
    std::free(widened);
    return true;
}

// nullptr or what failed.
const char* run_tile(const Gemm& p, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const int64_t a_row = p.trans_a ? 1 : p.lda, a_col = p.trans_a ? p.lda : 1;
    const int64_t b_row = p.trans_b ? 1 : p.ldb, b_col = p.trans_b ? p.ldb : 1;
    const void* a = static_cast<const char*>(p.a) + row * a_row * (p.a_type == HORO_F32 ? 4 : 2);
    const void* b = static_cast<const char*>(p.b) + col * b_col * (p.b_type == HORO_F32 ? 4 : 2);
    float* c = p.c + row * p.ldc + col;
    if (p.a_type == HORO_BF16 && dnnl_has_bf16()) {
        if (dnnl_bf16(rows, cols, p.k, static_cast<const uint16_t*>(a), a_row, a_col,
                      static_cast<const uint16_t*>(b), b_row, b_col, p.beta, c, p.ldc) == 0)
            return nullptr;  // else this processor has no instructions it could use
    } else if (p.a_type == p.b_type && p.b_type == HORO_F32 && dnnl_name()) {
        const int status = dnnl_f32(rows, cols, p.k, p.alpha, static_cast<const float*>(a), a_row, a_col,
                                    static_cast<const float*>(b), b_row, b_col, p.beta, c, p.ldc);
        return status ? "oneDNN refused a matrix product" : nullptr;
    }
    return run_built_in(p, a, a_row, a_col, b, b_row, b_col, c, rows, cols)
               ? nullptr
               : "no memory for a tile of a matrix product";
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

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
    // the rate of the whole product; smaller ones only to give several threads something to do. Columns are
    // cut first: every tile packs its part of B, so that two low tiles pack it twice.
    constexpr int64_t least_tiles = 8, least_work = int64_t{1} << 19, least_cols = 64, step = 32;
    int64_t rows = p.m < 256 ? p.m : 256, cols = p.n < 512 ? p.n : 512;
    const auto tiles = [&] { return ceil_div(p.m, rows) * ceil_div(p.n, cols); };
    if (tiles() < least_tiles && rows * cols > least_work / p.k) {
        const int64_t across = ceil_div(least_tiles, ceil_div(p.m, rows));
        const int64_t even = ceil_div(ceil_div(p.n, across), step) * step;
        const int64_t worth = ceil_div(ceil_div(least_work / p.k, rows), step) * step;
        const int64_t least = worth > least_cols ? worth : least_cols;
        const int64_t wanted = even > least ? even : least;
        cols = wanted < cols ? wanted : cols;
    }
    while (tiles() < least_tiles / 2 && rows > 64 && rows * cols > least_work / p.k) rows = ceil_div(rows, 2);
    const int64_t down = ceil_div(p.m, rows), across = ceil_div(p.n, cols);
    std::atomic<const char*> failure{nullptr};
    parallel_for(exec, down * across, [&](int64_t tile) {
        const int64_t row = tile % down * rows, col = tile / down * cols;
        const char* failed =
            run_tile(p, row, p.m - row < rows ? p.m - row : rows, col, p.n - col < cols ? p.n - col : cols);
        if (failed) failure.store(failed, std::memory_order_relaxed);
    });
    return failure.load(std::memory_order_relaxed);
}

}  // namespace horo
