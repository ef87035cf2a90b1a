// The CUDA kernels beyond row operations on a device against the CPU's, through the C ABI; exits with 77
// (skipped) where there is no device. --quick: small shapes only, for compute-sanitizer.
#include "cuda_attention_cases.h"
#include "cuda_layer_cases.h"
#include "cuda_low_rank_cases.h"
#include "cuda_product_cases.h"
#include "cuda_set_cases.h"

namespace {

const horo_exec* exec = nullptr;
void* stream = nullptr;

// The C ABI in the place of the kernels' table.
horo::CudaLayers layers_of_the_abi() {
    using F = float;
    return {
        [](const F* x, const F* w, double eps, int64_t rows, int64_t dim, F* out, F* rstd, void*) {
            return horo_rmsnorm_forward(x, w, eps, rows, dim, out, rstd, exec);
        },
        [](const F* dout, const F* x, const F* w, const F* rstd, int64_t rows, int64_t dim, F* dx, F* dw,
           void*) { return horo_rmsnorm_backward(dout, x, w, rstd, rows, dim, dx, dw, exec); },
        [](const F* x, const F* w, const F* b, double eps, int64_t rows, int64_t dim, F* out, F* mean,
           F* rstd, void*) { return horo_layernorm_forward(x, w, b, eps, rows, dim, out, mean, rstd, exec); },
        [](const F* dout, const F* x, const F* w, const F* mean, const F* rstd, int64_t rows, int64_t dim,
           F* dx, F* dw, F* db,
           void*) { return horo_layernorm_backward(dout, x, w, mean, rstd, rows, dim, dx, dw, db, exec); },
        [](F* x, int64_t tokens, int64_t stride, int64_t heads, int64_t dim, const F* table, int64_t count,
           const int32_t* positions, int32_t inverse, void*) {
            return horo_rope(x, tokens, stride, heads, dim, table, count, positions, inverse, exec);
        },
        [](const F* g, const F* u, F* out, int64_t n, void*) {
            return horo_swiglu_forward(g, u, out, n, exec);
        },
        [](const F* d, const F* g, const F* u, F* dg, F* du, int64_t n, void*) {
            return horo_swiglu_backward(d, g, u, dg, du, n, exec);
        },
        [](const F* g, const F* u, F* out, int64_t n, void*) {
            return horo_geglu_forward(g, u, out, n, exec);
        },
        [](const F* d, const F* g, const F* u, F* dg, F* du, int64_t n, void*) {
            return horo_geglu_backward(d, g, u, dg, du, n, exec);
        },
        [](const F* x, F* out, int64_t n, void*) { return horo_gelu_forward(x, out, n, exec); },
        [](const F* dout, const F* x, F* dx, int64_t n, void*) {
            return horo_gelu_backward(dout, x, dx, n, exec);
        },
        [](const F* bias, int64_t rows, int64_t dim, F* y, void*) {
            return horo_bias_add(bias, rows, dim, y, exec);
        },
        [](const F* dy, int64_t rows, int64_t dim, F* db, void*) {
            return horo_bias_grad(dy, rows, dim, db, exec);
        },
        [](const F* scale, int64_t rows, int64_t dim, const F* x, F* out, void*) {
            return horo_column_scale(scale, rows, dim, x, out, exec);
        },
        [](const F* dy, const F* x, int64_t rows, int64_t dim, F* ds, void*) {
            return horo_column_scale_grad(dy, x, rows, dim, ds, exec);
        },
        [](const int32_t* ids, int32_t type, const void* table, int64_t tokens, int64_t vocab, int64_t dim,
           F* out, void*) { return horo_embedding_forward(ids, type, table, tokens, vocab, dim, out, exec); },
        [](const int32_t* ids, const F* dout, int64_t tokens, int64_t vocab, int64_t dim, F* dtable, void*) {
            return horo_embedding_backward(ids, dout, tokens, vocab, dim, dtable, exec);
        },
        [](F* logits, const int32_t* targets, int64_t tokens, int64_t vocab, F* losses, const F* scale,
           void*) { return horo_cross_entropy(logits, targets, tokens, vocab, losses, scale, exec); },
        [](const F* x, const F* y, F* out, int64_t n, void*) { return horo_add(x, y, out, n, exec); },
        [](double a, const F* x, F* y, int64_t n, void*) { return horo_axpy(a, x, y, n, exec); },
        [](double a, F* x, int64_t n, void*) { return horo_scale(a, x, n, exec); },
        [](const F* x, int64_t n, double* total, double* workspace, void*) {
            return horo_sum_squares_add(x, n, total, workspace, exec);
        },
        // the scalars of cuda_layer_cases.h, before they were combined
        [](F* param, const F* grad, F* m, F* v, int64_t n, const horo::AdamwStep& step, void*) {
            return horo_adamw(param, grad, m, v, n, 1e-3, 0.9, 0.999, 1e-8, 0.1, 3,
                              static_cast<double>(step.grad_scale), exec);
        },
        [](F* param, const F* grad, F* m, F* v, int64_t n, const F* scalars, const double* squares,
           double most,
           void*) { return horo_adamw_clipped(param, grad, m, v, n, scalars, squares, most, exec); },
        [](const F* x, double* y, int64_t n, void*) { return horo_exp_forward(x, y, n, exec); },
        [](const double* dy, const double* y, F* dx, int64_t n, void*) {
            return horo_exp_backward(dy, y, dx, n, exec);
        },
        [](int32_t from, const void* src, F* dst, int64_t n, void*) {
            return horo_convert_to_f32(from, src, dst, n, exec);
        },
        [](const F* src, int32_t to, void* dst, int64_t n, void*) {
            return horo_convert_from_f32(src, to, dst, n, exec);
        },
        [](const horo::RowLengths& c, void*) {
            return horo_row_lengths(c.out, c.r, c.scaling, c.squares, c.cross, c.gram, c.b, c.lengths,
                                    c.norms, c.inverse, c.ratio, exec);
        },
    };
}

template <class T>
horo::CudaLowRank low_rank_of_the_abi() {
    constexpr int32_t dtype = sizeof(T) == 8 ? HORO_F64 : HORO_F32;
    return {
        [](int64_t k, int64_t r, const void* b, double* gram, void*) {
            return horo_gram(exec, dtype, k, r, b, gram);
        },
        [](const horo::LowRank& w, void* out, void*) {
            return horo_low_rank_forward(exec, dtype, w.kind, w.tokens, w.d, w.r, w.k, w.x, w.x_stride, w.a,
                                         w.b, w.gram, w.K, w.s, w.scaling, out, w.out_stride, w.p, w.gain,
                                         w.norm, w.m);
        },
        [](const horo::LowRank& w) {
            int64_t bytes = 0;
            cases::ran(horo_low_rank_workspace(exec, dtype, w.kind, w.tokens, w.d, w.r, w.k, &bytes),
                       "workspace");
            return bytes;
        },
        [](const horo::LowRank& w, const horo::LowRankGradients& v, void*) {
            int64_t bytes = 0;
            cases::ran(horo_low_rank_workspace(exec, dtype, w.kind, w.tokens, w.d, w.r, w.k, &bytes),
                       "workspace");
            return horo_low_rank_backward(exec, dtype, w.kind, w.tokens, w.d, w.r, w.k, w.x, w.x_stride, w.a,
                                          w.b, w.gram, w.K, w.s, w.scaling, v.dout, w.out_stride, w.p, w.norm,
                                          w.m, v.dx, v.dx_stride, v.da, v.db, v.dK, v.ds, v.workspace, bytes);
        },
    };
}

template <int32_t dtype>
int64_t attention_bytes(const horo::AttentionShape& s, int32_t backward) {
    int64_t bytes = 0;
    cases::ran(horo_attention_workspace(exec, dtype, s.batch, s.heads, s.kv_heads, s.q_len, s.kv_len, s.dim,
                                        s.mixed, backward, &bytes),
               "workspace");
    return bytes;
}

template <int32_t dtype>
horo::CudaAttention attention_of_the_abi() {
    using Shape = horo::AttentionShape;
    using Buffers = horo::AttentionBuffers;
    return {
        // a call without work takes no workspace
        [](const Shape& s) { return attention_bytes<dtype>(s, 0) + 1; },
        [](const Shape& s) { return attention_bytes<dtype>(s, 1) + 1; },
        [](const Shape& s, const Buffers& b, void*) {
            return horo_attention_forward(exec, dtype, s.batch, s.heads, s.kv_heads, s.q_len, s.kv_len, s.dim,
                                          b.q, s.q.batch, s.q.token, s.q.head, b.k, s.k.batch, s.k.token,
                                          s.k.head, b.v, s.v.batch, s.v.token, s.v.head, b.alpha, s.scale,
                                          s.causal, s.lengths, b.out, s.out.batch, s.out.token, s.out.head,
                                          b.lse, b.workspace, attention_bytes<dtype>(s, 0));
        },
        [](const Shape& s, const Buffers& b, void*) {
            return horo_attention_backward(
                exec, dtype, s.batch, s.heads, s.kv_heads, s.q_len, s.kv_len, s.dim, b.q, s.q.batch,
                s.q.token, s.q.head, b.k, s.k.batch, s.k.token, s.k.head, b.v, s.v.batch, s.v.token, s.v.head,
                b.alpha, s.scale, s.causal, s.lengths, nullptr, b.dout, s.out.batch, s.out.token, s.out.head,
                b.dq, b.dk, b.dv, b.dalpha, b.workspace, attention_bytes<dtype>(s, 1));
        },
    };
}

horo::CudaPairs pairs_of_the_abi() {
    return {
        [](int32_t model, int32_t dtype, const horo::PairsTask& t, void*) {
            return horo_cdist(model, dtype, t.x.count, t.y.count, t.dim, t.x.points, t.x.row, t.y.points,
                              t.y.row, t.curvature, t.squared, t.out, t.out_row, exec);
        },
        [](int32_t model, int32_t dtype, const horo::PairsTask& t, void*) {
            const bool of_x = t.g_y == 1;  // else the sides are changed
            const horo::PairsSide &x = of_x ? t.x : t.y, &y = of_x ? t.y : t.x;
            return horo_cdist_vjp(model, dtype, x.count, y.count, t.dim, x.points, x.row, y.points, y.row,
                                  t.curvature, t.squared, t.g, of_x ? t.g_x : t.g_y,
                                  of_x ? t.gradient : nullptr, t.gradient_row, of_x ? nullptr : t.gradient,
                                  t.gradient_row, t.g_curvature, exec);
        },
        [](int32_t dtype, int64_t rows, int64_t dim, const void* x, int64_t stride, double* out, void*) {
            return horo_pairwise_distance(dtype, rows, dim, x, stride, out, exec);
        },
        [](int64_t n, const double* distances, int64_t base, double* out, double* base_row, void*) {
            return horo_gromov_product(n, distances, base, out, base_row, exec);
        },
        [](int64_t n, const double* gromov, double at_least, double* workspace, void*) {
            const double delta = horo_delta_hyperbolicity(n, gromov, at_least, 0, workspace, exec);
            return horo_device_copy(0, workspace, &delta, sizeof delta, stream);
        },
    };
}

horo::CudaSets sets_of_the_abi() {
    return {
        [](int32_t model, int32_t dtype, const horo::MidpointTask& t, bool vjp, void*) {
            int64_t bytes = 0;
            cases::ran(horo_midpoint_workspace(t.rows, t.k, t.dim, &bytes), "workspace");
            return vjp ? horo_midpoint_vjp(model, dtype, t.rows, t.k, t.dim, t.x, t.x_row, t.x_point, t.w,
                                           t.w_row, t.curvature, t.g, t.g_row, t.g_x, t.g_x_row, t.g_x_point,
                                           t.g_w, t.g_w_row, t.g_curvature, t.slots, bytes, exec)
                       : horo_midpoint(model, dtype, t.rows, t.k, t.dim, t.x, t.x_row, t.x_point, t.w,
                                       t.w_row, t.curvature, t.out, t.out_row, t.slots, bytes, exec);
        },
        [](int32_t model, int32_t dtype, const horo::FrechetTask& f, bool vjp, void*) {
            const horo::MidpointTask& t = f.set;
            int64_t bytes = 0;
            cases::ran(horo_frechet_workspace(t.rows, t.k, t.dim, vjp, &bytes), "workspace");
            return vjp ? horo_frechet_mean_vjp(model, dtype, t.rows, t.k, t.dim, t.x, t.x_row, t.x_point, t.w,
                                               t.w_row, t.curvature, f.tolerance, f.most, t.g, t.g_row,
                                               f.g_variance, t.g_x, t.g_x_row, t.g_x_point, t.g_w, t.g_w_row,
                                               t.g_curvature, f.iterations, f.set.factors, bytes, exec)
                       : horo_frechet_mean(model, dtype, t.rows, t.k, t.dim, t.x, t.x_row, t.x_point, t.w,
                                           t.w_row, t.curvature, f.tolerance, f.most, t.out, t.out_row,
                                           f.variance, f.iterations, f.set.factors, bytes, exec);
        },
        [](int32_t model, int32_t dtype, const horo::ConcatTask& t, bool split, bool vjp, void*) {
            return vjp ? (split ? horo_split_vjp : horo_concat_vjp)(model, dtype, t.rows, t.parts, t.dims,
                                                                    t.x, t.x_row, t.curvature, t.g, t.g_row,
                                                                    t.g_x, t.g_x_row, t.g_curvature, exec)
                       : (split ? horo_split : horo_concat)(model, dtype, t.rows, t.parts, t.dims, t.x,
                                                            t.x_row, t.curvature, t.out, t.out_row, exec);
        },
    };
}

horo::CudaLinear linear_of_the_abi() {
    return {
        [](int32_t op, int32_t dtype, const horo::LinearTask& t, void*) {
            return horo_linear(op, dtype, t.rows, t.dim, t.p, t.x, t.x_row, t.m, t.m_row, t.bias, t.curvature,
                               t.out, t.out_row, exec);
        },
        [](int32_t op, int32_t dtype, const horo::LinearTask& t, double* workspace, void*) {
            int64_t bytes = 0;
            cases::ran(horo_linear_workspace(op, t.rows, t.p, &bytes), "workspace");
            return horo_linear_vjp(op, dtype, t.rows, t.dim, t.p, t.x, t.x_row, t.m, t.m_row, t.bias,
                                   t.curvature, t.g, t.g_row, t.g_x, t.g_x_row, t.g_m, t.g_m_row, t.g_bias,
                                   t.g_curvature, workspace, bytes, exec);
        },
    };
}

horo::CudaRandom random_of_the_abi() {
    return {[](int32_t dtype, int64_t count, double std, int64_t seed, int64_t offset, void* out, void*) {
        return horo_normal(dtype, count, std, seed, offset, out, exec);
    }};
}

class OnDevice final : public cases::Side {
  public:
    OnDevice() {
        kernels.layers = layers_of_the_abi();
        kernels.low_rank_f32 = low_rank_of_the_abi<float>();
        kernels.low_rank_f64 = low_rank_of_the_abi<double>();
        kernels.attention[HORO_F32] = attention_of_the_abi<HORO_F32>();
        kernels.attention[HORO_F64] = attention_of_the_abi<HORO_F64>();
        kernels.attention[HORO_BF16] = attention_of_the_abi<HORO_BF16>();
        kernels.attention[HORO_F16] = attention_of_the_abi<HORO_F16>();
        kernels.pairs = pairs_of_the_abi();
        kernels.sets = sets_of_the_abi();
        kernels.linear = linear_of_the_abi();
        kernels.random = random_of_the_abi();
    }

    char* up(const void* contents, size_t bytes, size_t, size_t) override {
        void* memory = nullptr;
        cases::ran(horo_device_allocate(0, static_cast<int64_t>(bytes), &memory), "allocate");
        cases::ran(horo_device_copy(0, memory, contents, static_cast<int64_t>(bytes), stream), "copy");
        return static_cast<char*>(memory);
    }
    void down(void* to, const char* from, size_t bytes) override {
        cases::ran(horo_device_copy(0, to, from, static_cast<int64_t>(bytes), stream), "copy");
    }
    void release(char* memory) override { cases::ran(horo_device_free(0, memory), "free"); }
};

}  // namespace

int main(int count, char** words) {
    int32_t devices = 0;
    cases::ran(horo_device_count(&devices), "device_count");
    if (devices == 0) {
        std::printf("skipped, no CUDA device: %s\n", horo_device_reason());
        return 77;
    }
    horo_exec* made = nullptr;
    cases::ran(horo_stream_create(0, &stream), "stream");
    cases::ran(horo_exec_create(0, 0, stream, &made), "exec");
    exec = made;
    {
        OnDevice side;
        side.quick = count > 1 && std::strcmp(words[1], "--quick") == 0;
        cases::layers(side);
        cases::low_rank(side);
        cases::attentions(side);
        cases::sets(side);
        const bool products = cases::products(side, [](const horo::GemmCall& g) {
            return horo_gemm(g.trans_a, g.trans_b, g.m, g.n, g.k, g.alpha, g.wide_a ? HORO_F32 : g.type, g.a,
                             g.lda, g.type, g.b, g.ldb, g.beta, g.c, g.ldc, exec);
        });
        if (!products) std::printf("matrix products skipped: %s\n", horo_last_error());
    }
    cases::ran(horo_exec_destroy(made), "exec");
    cases::ran(horo_stream_destroy(0, stream), "stream");
    return check_result();
}
