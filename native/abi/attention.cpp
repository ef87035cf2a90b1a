#include "cpu/attention.h"

#include <cmath>
#include <initializer_list>

#include "abi/device.h"
#include "abi/operands.h"
#include "abi/status.h"
#include "cpu/isa.h"

namespace horo {
namespace {

const AttentionKernels& kernels(int32_t dtype) {
    return select(scalar::attention, avx2::attention, avx512::attention).of[dtype];
}

const CudaAttention& cuda_kernels(int32_t dtype) { return cuda().backend->kernels->attention[dtype]; }

int64_t workspace(const horo_exec* exec, int32_t dtype, const AttentionShape& s, bool backward) {
    if (!on_cpu(exec))
        return backward ? cuda_kernels(dtype).backward_workspace(s)
                        : cuda_kernels(dtype).forward_workspace(s);
    return backward ? kernels(dtype).backward_workspace(s, resolve(exec))
                    : kernels(dtype).forward_workspace(s, resolve(exec));
}

int32_t check_sizes(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads, int64_t kv_heads,
                    int64_t q_len, int64_t kv_len, int64_t head_dim) {
    constexpr int64_t most = int64_t{1} << 31;
    HORO_REQUIRE(dtype >= HORO_F32 && dtype <= HORO_F16,
                 "dtype: %d, expected HORO_F32, HORO_F64, HORO_BF16 or HORO_F16", dtype);
    HORO_REQUIRE(batch >= 0 && batch < most, "batch: %lld, expected 0 or more",
                 static_cast<long long>(batch));
    HORO_REQUIRE(heads >= 1 && heads <= 4096, "heads: %lld, expected 1 to 4096",
                 static_cast<long long>(heads));
    HORO_REQUIRE(kv_heads >= 1 && heads % kv_heads == 0, "kv_heads: %lld, expected a divisor of heads (%lld)",
                 static_cast<long long>(kv_heads), static_cast<long long>(heads));
    HORO_REQUIRE(q_len >= 0 && q_len < most, "q_len: %lld, expected 0 or more",
                 static_cast<long long>(q_len));
    HORO_REQUIRE(kv_len >= 0 && kv_len < most, "kv_len: %lld, expected 0 or more",
                 static_cast<long long>(kv_len));
    HORO_REQUIRE(on_cpu(exec) || kv_len <= int64_t{1} << 24,
                 "kv_len: %lld, expected at most 2^24 on a CUDA device", static_cast<long long>(kv_len));
    HORO_REQUIRE(head_dim >= 1 && head_dim <= 65536, "head_dim: %lld, expected 1 to 65536",
                 static_cast<long long>(head_dim));
    const double elements = 2.0 * static_cast<double>(batch) * static_cast<double>(heads) *
                            static_cast<double>(head_dim) * static_cast<double>(q_len + kv_len + 64);
    HORO_REQUIRE(elements < 1e17, "batch, heads, lengths, head_dim: together too large");
    return HORO_OK;
}

int32_t check_call(const horo_exec* exec, int32_t dtype, const AttentionShape& s, const AttentionBuffers& b,
                   int64_t workspace_bytes, bool backward) {
    HORO_REQUIRE(b.q, "q: null pointer");
    HORO_REQUIRE((b.k && b.v) || s.kv_len == 0, "%s: null pointer", b.k ? "v" : "k");
    HORO_REQUIRE(std::isfinite(s.scale) && s.scale > 0, "scale: %g, expected a positive number", s.scale);
    if (!on_cpu(exec)) {
        const uintptr_t bytes = dtype_bytes[dtype], scalar_bytes = bytes < 4 ? 4 : bytes;
        for (const void* p :
             {b.q, b.k, b.v, b.dout, static_cast<const void*>(b.out), static_cast<const void*>(b.dq),
              static_cast<const void*>(b.dk), static_cast<const void*>(b.dv)})
            HORO_REQUIRE(reinterpret_cast<uintptr_t>(p) % bytes == 0,
                         "q, k, v, out or a gradient: address not a multiple of %d", static_cast<int>(bytes));
        for (const void* p : {b.alpha, static_cast<const void*>(b.lse), static_cast<const void*>(b.dalpha)})
            HORO_REQUIRE(reinterpret_cast<uintptr_t>(p) % scalar_bytes == 0,
                         "alpha, lse or dalpha: address not a multiple of %d",
                         static_cast<int>(scalar_bytes));
        HORO_REQUIRE(reinterpret_cast<uintptr_t>(s.lengths) % 4 == 0, "lengths: address not a multiple of 4");
    }
    for (int64_t i = 0; on_cpu(exec) && s.lengths && i < s.batch; ++i)
        HORO_REQUIRE(s.lengths[i] >= 0 && s.lengths[i] <= s.kv_len,
                     "lengths[%lld]: %d, expected 0 to kv_len (%lld)", static_cast<long long>(i),
                     s.lengths[i], static_cast<long long>(s.kv_len));
    const int64_t needed = workspace(exec, dtype, s, backward);
    HORO_REQUIRE(b.workspace, "workspace: null pointer");
    HORO_REQUIRE(workspace_bytes >= needed, "workspace: %lld bytes, expected at least %lld",
                 static_cast<long long>(workspace_bytes), static_cast<long long>(needed));
    return HORO_OK;
}

}  // namespace
}  // namespace horo

extern "C" {

int32_t horo_attention_forward(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads,
                               int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim,
                               const void* q, int64_t q_batch_stride, int64_t q_token_stride,
                               int64_t q_head_stride, const void* k, int64_t k_batch_stride,
                               int64_t k_token_stride, int64_t k_head_stride, const void* v,
                               int64_t v_batch_stride, int64_t v_token_stride, int64_t v_head_stride,
                               const void* alpha, double scale, int32_t causal, const int32_t* lengths,
                               void* out, int64_t out_batch_stride, int64_t out_token_stride,
                               int64_t out_head_stride, void* lse, void* workspace, int64_t workspace_bytes) {
    return horo::guarded([&] {
        if (const int32_t status =
                horo::check_sizes(exec, dtype, batch, heads, kv_heads, q_len, kv_len, head_dim))
            return status;
        if (batch == 0 || q_len == 0) return HORO_OK;
        const horo::AttentionShape shape{batch,
                                         heads,
                                         kv_heads,
                                         q_len,
                                         kv_len,
                                         head_dim,
                                         {q_batch_stride, q_token_stride, q_head_stride},
                                         {k_batch_stride, k_token_stride, k_head_stride},
                                         {v_batch_stride, v_token_stride, v_head_stride},
                                         {out_batch_stride, out_token_stride, out_head_stride},
                                         scale,
                                         causal != 0,
                                         alpha != nullptr,
                                         lengths};
        horo::AttentionBuffers buffers{};
        buffers.q = q, buffers.k = k, buffers.v = v, buffers.alpha = alpha;
        buffers.out = out, buffers.lse = lse, buffers.workspace = workspace;
        HORO_REQUIRE(out, "out: null pointer");
        if (const int32_t status = horo::check_call(exec, dtype, shape, buffers, workspace_bytes, false))
            return status;
        if (!horo::on_cpu(exec))
            return horo::enqueue(
                exec, [&] { return horo::cuda_kernels(dtype).forward(shape, buffers, exec->stream); });
        horo::kernels(dtype).forward(shape, buffers, horo::resolve(exec));
        return HORO_OK;
    });
}

int32_t horo_attention_backward(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads,
                                int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim,
                                const void* q, int64_t q_batch_stride, int64_t q_token_stride,
                                int64_t q_head_stride, const void* k, int64_t k_batch_stride,
                                int64_t k_token_stride, int64_t k_head_stride, const void* v,
                                int64_t v_batch_stride, int64_t v_token_stride, int64_t v_head_stride,
                                const void* alpha, double scale, int32_t causal, const int32_t* lengths,
                                const void*, const void* dout, int64_t out_batch_stride,
                                int64_t out_token_stride, int64_t out_head_stride, void* dq, void* dk,
                                void* dv, void* dalpha, void* workspace, int64_t workspace_bytes) {
    return horo::guarded([&] {
        if (const int32_t status =
                horo::check_sizes(exec, dtype, batch, heads, kv_heads, q_len, kv_len, head_dim))
            return status;
        if (batch == 0 || (q_len == 0 && kv_len == 0)) return HORO_OK;
        const horo::AttentionShape shape{batch,
                                         heads,
                                         kv_heads,
                                         q_len,
                                         kv_len,
                                         head_dim,
                                         {q_batch_stride, q_token_stride, q_head_stride},
                                         {k_batch_stride, k_token_stride, k_head_stride},
                                         {v_batch_stride, v_token_stride, v_head_stride},
                                         {out_batch_stride, out_token_stride, out_head_stride},
                                         scale,
                                         causal != 0,
                                         alpha != nullptr,
                                         lengths};
        horo::AttentionBuffers buffers{};
        buffers.q = q, buffers.k = k, buffers.v = v, buffers.alpha = alpha;
        buffers.dout = dout;
        buffers.dq = dq, buffers.dk = dk, buffers.dv = dv, buffers.dalpha = dalpha;
        buffers.workspace = workspace;
        HORO_REQUIRE(dout, "dout: null pointer");
        HORO_REQUIRE(dq, "dq: null pointer");
        HORO_REQUIRE((dk && dv) || kv_len == 0, "%s: null pointer", dk ? "dv" : "dk");
        HORO_REQUIRE(!alpha == !dalpha, "dalpha: expected together with alpha, or neither");
        if (const int32_t status = horo::check_call(exec, dtype, shape, buffers, workspace_bytes, true))
            return status;
        if (!horo::on_cpu(exec))
            return horo::enqueue(
                exec, [&] { return horo::cuda_kernels(dtype).backward(shape, buffers, exec->stream); });
        horo::kernels(dtype).backward(shape, buffers, horo::resolve(exec));
        return HORO_OK;
    });
}

int32_t horo_attention_workspace(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads,
                                 int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim,
                                 int32_t mixed, int32_t backward, int64_t* bytes) {
    return horo::guarded([&] {
        HORO_REQUIRE(bytes, "bytes: null result pointer");
        *bytes = 0;
        if (const int32_t status =
                horo::check_sizes(exec, dtype, batch, heads, kv_heads, q_len, kv_len, head_dim))
            return status;
        if (batch == 0 || (q_len == 0 && !backward)) return HORO_OK;
        horo::AttentionShape shape{};
        shape.batch = batch, shape.heads = heads, shape.kv_heads = kv_heads;
        shape.q_len = q_len, shape.kv_len = kv_len, shape.dim = head_dim, shape.mixed = mixed != 0;
        *bytes = horo::workspace(exec, dtype, shape, backward != 0);
        return HORO_OK;
    });
}
}
