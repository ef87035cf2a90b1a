// The kernels of libhorosphere_cuda.so beyond row operations. Arguments are as the functions of horo.h have
// them, checked, with at least one element of work; what a pointer points to is on the device. Every function
// enqueues on the stream and returns a cudaError_t; none waits or allocates.
#pragma once
#include <cstdint>

#include "abi/calls.h"
#include "cpu/sets.h"

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
                             float* losses, const float* gradient_scale, void* stream);
    int32_t (*add)(const float* x, const float* y, float* out, int64_t n, void* stream);
    int32_t (*axpy)(double a, const float* x, float* y, int64_t n, void* stream);
    int32_t (*scale)(double a, float* x, int64_t n, void* stream);
    // total += the sum of squares, by way of 256 doubles of workspace.
    int32_t (*sum_squares_add)(const float* x, int64_t n, double* total, double* workspace, void* stream);
    int32_t (*adamw)(float* param, const float* grad, float* m, float* v, int64_t n, const AdamwStep& step,
                     void* stream);
    int32_t (*adamw_clipped)(float* param, const float* grad, float* m, float* v, int64_t n,
                             const float* scalars, const double* sum_squares, double max_norm, void* stream);
    int32_t (*exp_forward)(const float* x, double* y, int64_t n, void* stream);
    int32_t (*exp_backward)(const double* dy, const double* y, float* dx, int64_t n, void* stream);
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

// Sets of points in all storage types (pairwise_distance: float32 and float64); models and operations as
// horo.h numbers them. The workspace of a task lies on the device, too; the dims of a ConcatTask stay on the
// host, cuda_concat_parts at most.
constexpr int64_t cuda_concat_parts = 224;  // what fits into the parameters of a kernel

struct CudaPairs {
    int32_t (*cdist)(int32_t model, int32_t dtype, const PairsTask& task, void* stream);
    int32_t (*cdist_vjp)(int32_t model, int32_t dtype, const PairsTask& task, void* stream);
    int32_t (*pairwise_distance)(int32_t dtype, int64_t rows, int64_t dim, const void* x, int64_t x_stride,
                                 double* out, void* stream);
    int32_t (*gromov_product)(int64_t n, const double* distances, int64_t base, double* out, double* base_row,
                              void* stream);
    // leaves the result in workspace[0]
    int32_t (*delta)(int64_t n, const double* gromov, double at_least, double* workspace, void* stream);
};

struct CudaSets {
    int32_t (*midpoint)(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, void* stream);
    int32_t (*frechet)(int32_t model, int32_t dtype, const FrechetTask& task, bool vjp, void* stream);
    int32_t (*concat)(int32_t model, int32_t dtype, const ConcatTask& task, bool split, bool vjp,
                      void* stream);
};

struct CudaLinear {
    int32_t (*forward)(int32_t op, int32_t dtype, const LinearTask& task, void* stream);
    int32_t (*vjp)(int32_t op, int32_t dtype, const LinearTask& task, double* workspace, void* stream);
};

struct CudaRandom {
    int32_t (*normal)(int32_t dtype, int64_t count, double std, int64_t seed, int64_t offset, void* out,
                      void* stream);
};

struct CudaKernels {
    CudaLayers layers;
    CudaLowRank low_rank_f32, low_rank_f64;
    CudaAttention attention[4];  // by storage type code
    CudaPairs pairs;
    CudaSets sets;
    CudaLinear linear;
    CudaRandom random;
};

}  // namespace horo
