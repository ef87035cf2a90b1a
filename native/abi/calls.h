// Checked calls of the kernels beyond row operations, as the ABI hands them to the CPU or to CUDA; see horo.h
// for what they mean.
#pragma once
#include <cstdint>

#include "geometry/lanes.h"
#include "horosphere/horo.h"

namespace horo {

// The scalars of one AdamW step, bias corrections included.
struct AdamwStep {
    float decay;            // 1 - lr * weight_decay
    float one_minus_beta1;  // computed in double
    float beta2;
    float one_minus_beta2;
    float sqrt_correction2;  // sqrt(1 - beta2^step)
    float eps;
    float step_size;  // lr / (1 - beta1^step)
    float grad_scale;

    static constexpr int scalars = 8;  // it is an array of so many float, in this order
};
static_assert(sizeof(AdamwStep) == AdamwStep::scalars * sizeof(float));

// The factor of a gradient whose norm is to be at most `most`: squares is the sum of its squares before
// grad_scale.
HORO_HD float clipped(float grad_scale, double squares, double most) {
    const double size = grad_scale < 0 ? -static_cast<double>(grad_scale) : static_cast<double>(grad_scale);
    const double norm = size * square_root(squares);
    return norm > most ? static_cast<float>(static_cast<double>(grad_scale) * (most / norm)) : grad_scale;
}

// As horo_gemm; both operands are stored as `type`.
struct GemmCall {
    int32_t trans_a, trans_b;
    int64_t m, n, k;
    double alpha;
    int32_t type;
    const void* a;
    int64_t lda;
    const void* b;
    int64_t ldb;
    double beta;
    float* c;
    int64_t ldc;
    bool wide_a = false;  // A is float32 although B is bfloat16
};

struct RowLengths {
    int64_t out, r;
    double scaling;
    const double* squares;
    const float *cross, *gram, *b, *lengths;
    float *norms, *inverse, *ratio;

    // What row i of A adds to |w_j + scaling b_j A|^2.
    HORO_HD double addend(int64_t j, int64_t i) const {
        double inner = 2.0 * static_cast<double>(cross[i * out + j]);
        for (int64_t k = 0; k < r; ++k)
            inner += scaling * static_cast<double>(gram[i * r + k]) * static_cast<double>(b[j * r + k]);
        return scaling * static_cast<double>(b[j * r + i]) * inner;
    }
    HORO_HD void store(int64_t j, double square) const {
        const float norm = static_cast<float>(square_root(square < 0 ? 0.0 : square));
        const float divisor = norm == 0 ? 1.0f : norm;
        if (norms) norms[j] = norm;
        if (inverse) inverse[j] = 1 / divisor;
        if (ratio) ratio[j] = lengths[j] / divisor;
    }
};

struct LowRank {
    int32_t kind;
    int64_t tokens, d, r, k;
    const void* x;
    int64_t x_stride;
    const void *a, *b;
    const double *gram, *K, *s;
    double scaling;
    int64_t out_stride;
    void* p;  // forward: written; backward: read, like norm and m
    double *gain, *norm, *m;

    constexpr bool hyperbolic() const { return kind != HORO_LORA; }
};

struct LowRankGradients {
    const void* dout;
    void* dx;
    int64_t dx_stride;
    void *da, *db;
    double *dK, *ds;
    void* workspace;
};

// Strides in elements between batch items, tokens and heads.
struct TokenStrides {
    int64_t batch, token, head;
};

struct AttentionShape {
    int64_t batch, heads, kv_heads, q_len, kv_len, dim;
    TokenStrides q, k, v, out;
    double scale;
    bool causal;
    bool mixed;
    const int32_t* lengths;
};

struct AttentionBuffers {
    const void *q, *k, *v, *alpha;
    void *out, *lse;
    const void* dout;
    void *dq, *dk, *dv, *dalpha;
    void* workspace;
};

}  // namespace horo
