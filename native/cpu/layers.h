// The transformer layers on a range of rows or elements, one table per instruction set. The ABI layer checks
// the arguments and cuts the work into ranges; formulas are in horo.h.
#pragma once
#include <cstdint>

#include "abi/calls.h"

namespace horo {

struct LayersTable {
    void (*rmsnorm_forward)(const float* x, const float* weight, double eps, int64_t rows, int64_t dim,
                            float* out, float* rstd);
    void (*rmsnorm_backward)(const float* dout, const float* x, const float* weight, const float* rstd,
                             int64_t rows, int64_t dim, float* dx);
    // Columns [first, last) of dweight.
    void (*rmsnorm_backward_weight)(const float* dout, const float* x, const float* rstd, int64_t rows,
                                    int64_t dim, int64_t first, int64_t last, float* dweight);
    void (*layernorm_forward)(const float* x, const float* weight, const float* bias, double eps,
                              int64_t rows, int64_t dim, float* out, float* mean, float* rstd);
    void (*layernorm_backward)(const float* dout, const float* x, const float* weight, const float* mean,
                               const float* rstd, int64_t rows, int64_t dim, float* dx);
    // Columns [first, last) of dweight.
    void (*layernorm_backward_weight)(const float* dout, const float* x, const float* mean, const float* rstd,
                                      int64_t rows, int64_t dim, int64_t first, int64_t last, float* dweight);
    // sign: 1, or -1 for the transposed rotation.
    void (*rope)(float* x, int64_t tokens, int64_t row_stride, int64_t heads, int64_t head_dim,
                 const float* cos_sin, const int32_t* positions, float sign);
    void (*swiglu_forward)(const float* gate, const float* up, float* out, int64_t n);
    void (*swiglu_backward)(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                            int64_t n);
    void (*geglu_forward)(const float* gate, const float* up, float* out, int64_t n);
    void (*geglu_backward)(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                           int64_t n);
    void (*gelu_forward)(const float* x, float* out, int64_t n);
    void (*gelu_backward)(const float* dout, const float* x, float* dx, int64_t n);
    void (*bias_add)(const float* bias, int64_t rows, int64_t dim, float* y);
    // Columns [first, last) of dbias.
    void (*bias_grad)(const float* dy, int64_t rows, int64_t dim, int64_t first, int64_t last, float* dbias);
    void (*column_scale)(const float* scale, int64_t rows, int64_t dim, const float* x, float* out);
    // Columns [first, last) of dscale.
    void (*column_scale_grad)(const float* dy, const float* x, int64_t rows, int64_t dim, int64_t first,
                              int64_t last, float* dscale);
    void (*cross_entropy)(float* logits, const int32_t* targets, int64_t tokens, int64_t vocab, float* losses,
                          bool gradient, float gradient_scale);
    void (*add)(const float* x, const float* y, float* out, int64_t n);
    void (*axpy)(float a, const float* x, float* y, int64_t n);
    void (*scale)(float a, float* x, int64_t n);
    double (*sum_squares)(const float* x, int64_t n);
    void (*adamw)(float* param, const float* grad, float* m, float* v, int64_t n, const AdamwStep& step);
    // By storage type code; float32 both ways is a copy.
    void (*to_f32[4])(const void* src, float* dst, int64_t n);
    void (*from_f32[4])(const float* src, void* dst, int64_t n);
};

namespace scalar {
extern const LayersTable layers;
}
namespace avx2 {
extern const LayersTable layers;
}
namespace avx512 {
extern const LayersTable layers;
}

}  // namespace horo
