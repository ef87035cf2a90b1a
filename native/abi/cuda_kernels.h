// The kernels of libhorosphere_cuda.so beyond row operations. Arguments are as the functions of horo.h have
// them, checked, with at least one element of work; what a pointer points to is on the device. Every function
// enqueues on the stream and returns a cudaError_t; none waits or allocates.
#pragma once
#include <cstdint>

#include "abi/calls.h"

namespace horo {

struct CudaLayers {
    int32_t (*rmsnorm_forward)(const float* x, const float* weight, double eps, int64_t rows, int64_t dim,
                               float* out, float* rstd, void* stream);
    int32_t (*rmsnorm_backward)(const float* dout, const float* x, const float* weight, const float* rstd,
                                int64_t rows, int64_t dim, float* dx, float* dweight, void* stream);
    int32_t (*layernorm_forward)(const float* x, const float* weight, const float* bias, double eps,
                                 int64_t rows, int64_t dim, float* out, float* mean, float* rstd,
                                 void* stream);
    int32_t (*layernorm_backward)(const float* dout, const float* x, const float* weight, const float* mean,
                                  const float* rstd, int64_t rows, int64_t dim, float* dx, float* dweight,
                                  float* dbias, void* stream);
    int32_t (*rope)(float* x, int64_t tokens, int64_t row_stride, int64_t heads, int64_t head_dim,
                    const float* cos_sin, int64_t position_count, const int32_t* positions, int32_t inverse,
                    void* stream);
    int32_t (*swiglu_forward)(const float* gate, const float* up, float* out, int64_t n, void* stream);
    int32_t (*swiglu_backward)(const float* dout, const float* gate, const float* up, float* dgate,
                               float* dup, int64_t n, void* stream);
    int32_t (*geglu_forward)(const float* gate, const float* up, float* out, int64_t n, void* stream);
    int32_t (*geglu_backward)(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                              int64_t n, void* stream);
    int32_t (*gelu_forward)(const float* x, float* out, int64_t n, void* stream);
    int32_t (*gelu_backward)(const float* dout, const float* x, float* dx, int64_t n, void* stream);
    int32_t (*bias_add)(const float* bias, int64_t rows, int64_t dim, float* y, void* stream);
    int32_t (*bias_grad)(const float* dy, int64_t rows, int64_t dim, float* dbias, void* stream);
    int32_t (*column_scale)(const float* scale, int64_t rows, int64_t dim, const float* x, float* out,
                            void* stream);
    int32_t (*column_scale_grad)(const float* dy, const float* x, int64_t rows, int64_t dim, float* dscale,
                                 void* stream);
    int32_t (*embedding_forward)(const int32_t* ids, int32_t table_type, const void* table, int64_t tokens,
                                 int64_t vocab, int64_t dim, float* out, void* stream);
    int32_t (*embedding_backward)(const int32_t* ids, const float* dout, int64_t tokens, int64_t vocab,
                                  int64_t dim, float* dtable, void* stream);
    int32_t (*cross_entropy)(float* logits, const int32_t* targets, int64_t tokens, int64_t vocab,
                             float* losses, int32_t gradient, double gradient_scale, void* stream);
    int32_t (*add)(const float* x, const float* y, float* out, int64_t n, void* stream);
    int32_t (*axpy)(double a, const float* x, float* y, int64_t n, void* stream);
    int32_t (*scale)(double a, float* x, int64_t n, void* stream);
    // total += the sum of squares, by way of 256 doubles of workspace.
    int32_t (*sum_squares_add)(const float* x, int64_t n, double* total, double* workspace, void* stream);
    // sum_squares: null, or a number on the device by which the gradient is clipped to max_norm.
    int32_t (*adamw)(float* param, const float* grad, float* m, float* v, int64_t n, const AdamwStep& step,
                     const double* sum_squares, double max_norm, void* stream);
    int32_t (*convert_to_f32)(int32_t from, const void* src, float* dst, int64_t n, void* stream);
    int32_t (*convert_from_f32)(const float* src, int32_t to, void* dst, int64_t n, void* stream);
    int32_t (*row_lengths)(const RowLengths& call, void* stream);
};

// For one storage type.
struct CudaLowRank {
    int32_t (*gram)(int64_t k, int64_t r, const void* b, double* gram, void* stream);
    int32_t (*forward)(const LowRank& call, void* out, void* stream);
    int64_t (*backward_workspace)(const LowRank& call);
    int32_t (*backward)(const LowRank& call, const LowRankGradients& gradients, void* stream);
};

// For one storage type; lengths, too, are on the device.
struct CudaAttention {
    int64_t (*forward_workspace)(const AttentionShape& shape);
    int64_t (*backward_workspace)(const AttentionShape& shape);
    int32_t (*forward)(const AttentionShape& shape, const AttentionBuffers& buffers, void* stream);
    int32_t (*backward)(const AttentionShape& shape, const AttentionBuffers& buffers, void* stream);
};

struct CudaKernels {
    CudaLayers layers;
    CudaLowRank low_rank_f32, low_rank_f64;
    CudaAttention attention_f32, attention_f64;
};

}  // namespace horo
