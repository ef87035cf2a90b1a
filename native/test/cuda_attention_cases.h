// Attention of CUDA against the CPU's.
#pragma once
#include "cuda_cases.h"

namespace cases {

struct AttentionCase {
    int64_t batch, heads, kv_heads, q_len, kv_len, dim;
    bool causal, lengths, mixed;
    int64_t pad, offset;
    int poison;  // 0, or what is NaN: 1 a query row, 2 a key and a value that only the last row sees
};

template <class T>
void attention(Side& side, const AttentionCase& c) {
    const bool wide = sizeof(T) == 8;
    const horo::CudaAttention& cuda = wide ? side.kernels.attention_f64 : side.kernels.attention_f32;
    const int32_t dtype = wide ? HORO_F64 : HORO_F32;
    std::string name = "attention";
    for (int64_t n : {c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim})
        name += " " + std::to_string(n);
    name += std::string(c.causal ? " causal" : "") + (c.lengths ? " lengths" : "") +
            (c.mixed ? " mixed" : "") + (c.poison ? c.poison == 1 ? " NaN query" : " NaN key" : "") +
            (wide ? " float64" : " float32");
    // token-major with room between tokens
    const auto strides = [&](int64_t tokens, int64_t heads) {
        const int64_t token = heads * c.dim + c.pad;
        return horo::TokenStrides{tokens * token + c.pad, token, c.dim};
    };
    const horo::TokenStrides qs = strides(c.q_len, c.heads), ks = strides(c.kv_len, c.kv_heads);
    const int64_t q_size = c.batch * qs.batch + 1, k_size = c.batch * ks.batch + 1;
    std::vector<T> q = normal<T>(q_size), k = normal<T>(k_size), v = normal<T>(k_size),
                   alpha = normal<T>(c.heads * c.heads, 0.3), out = normal<T>(q_size),
                   dout = normal<T>(q_size), dq = normal<T>(q_size), dk = normal<T>(k_size),
                   dv = normal<T>(k_size), dalpha = normal<T>(c.heads * c.heads),
                   lse(static_cast<size_t>(c.batch * c.heads * c.q_len));
    std::vector<int32_t> lengths(static_cast<size_t>(c.batch));
    for (int64_t i = 0; i < c.batch; ++i)
        lengths[static_cast<size_t>(i)] = static_cast<int32_t>(i == 1 ? 0 : c.kv_len - c.kv_len / 3 * i);
    const T nan = std::numeric_limits<T>::quiet_NaN();
    if (c.poison == 1) q[static_cast<size_t>(qs.token * (c.q_len / 2))] = nan;
    if (c.poison == 2) {
        k[static_cast<size_t>((c.kv_len - 1) * ks.token)] = nan;
        v[static_cast<size_t>((c.kv_len - 1) * ks.token + 1)] = nan;
    }
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    const T* a = c.mixed ? alpha.data() : nullptr;
    const int32_t* l = c.lengths ? lengths.data() : nullptr;

    const Array<T> q_(side, q, c.offset), k_(side, k, c.offset), v_(side, v, c.offset),
        alpha_(side, alpha, c.offset), out_(side, out, c.offset), dout_(side, dout, c.offset),
        lse_(side, lse, c.offset);
    const Array<int32_t> lengths_(side, lengths, 1);
    const horo::AttentionShape shape{
        c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim,   qs,
        ks,      ks,      qs,         scale,   c.causal, c.mixed, c.lengths ? lengths_.p() : nullptr};
    int64_t bytes = 0;
    ran(horo_attention_workspace(nullptr, dtype, c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim,
                                 c.mixed, 0, &bytes),
        "workspace");
    std::vector<char> workspace(static_cast<size_t>(bytes) + 1);
    ran(horo_attention_forward(nullptr, dtype, c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim,
                               q.data(), qs.batch, qs.token, qs.head, k.data(), ks.batch, ks.token, ks.head,
                               v.data(), ks.batch, ks.token, ks.head, a, scale, c.causal, l, out.data(),
                               qs.batch, qs.token, qs.head, lse.data(), workspace.data(), bytes),
        "attention");
    horo::AttentionBuffers b{};
    b.q = q_.p(), b.k = k_.p(), b.v = v_.p(), b.alpha = c.mixed ? alpha_.p() : nullptr;
    b.out = out_.p(), b.lse = lse_.p();
    const double error = (wide ? 1e-14 : 5e-7) * (4 + std::sqrt(static_cast<double>(c.kv_len + c.dim)));
    {
        const Array<char> room(side, std::vector<char>(static_cast<size_t>(cuda.forward_workspace(shape))),
                               5);
        b.workspace = room.p();
        ran(cuda.forward(shape, b, nullptr), "attention");
        same(out_.values(), out, c.dim, error, name + " out", 0.5);
        same(lse_.values(), lse, 1, error, name + " lse", 1);
    }
    ran(horo_attention_workspace(nullptr, dtype, c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim,
                                 c.mixed, 1, &bytes),
        "workspace");
    workspace.resize(static_cast<size_t>(bytes) + 1);
    const std::vector<T> dq0 = dq, dk0 = dk, dv0 = dv, dalpha0 = dalpha;
    ran(horo_attention_backward(nullptr, dtype, c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim,
                                q.data(), qs.batch, qs.token, qs.head, k.data(), ks.batch, ks.token, ks.head,
                                v.data(), ks.batch, ks.token, ks.head, a, scale, c.causal, l, lse.data(),
                                dout.data(), qs.batch, qs.token, qs.head, dq.data(), dk.data(), dv.data(),
                                c.mixed ? dalpha.data() : nullptr, workspace.data(), bytes),
        "attention gradient");
    std::vector<T> first;
    for (int time = 0; time < 2; ++time) {
        const Array<T> dq_(side, dq0, c.offset), dk_(side, dk0, c.offset), dv_(side, dv0, c.offset),
            dalpha_(side, dalpha0, c.offset);
        const Array<char> room(
            side,
            std::vector<char>(static_cast<size_t>(cuda.backward_workspace(shape)), time ? '\xff' : '\0'), 5);
        b.workspace = room.p(), b.dout = dout_.p(), b.dq = dq_.p(), b.dk = dk_.p(), b.dv = dv_.p();
        b.dalpha = c.mixed ? dalpha_.p() : nullptr;
        b.out = b.lse = nullptr;
        ran(cuda.backward(shape, b, nullptr), "attention gradient");
        if (time) {  // NaN in the workspace changes nothing
            bitwise(dk_.values(), first, name + " dk of a second run");
            continue;
        }
        first = dk_.values();
        const double rows = std::sqrt(static_cast<double>(c.q_len * c.heads / c.kv_heads + 1));
        same(dq_.values(), dq, c.dim, error, name + " dq", 1);
        same(first, dk, c.dim, error, name + " dk", rows);
        same(dv_.values(), dv, c.dim, error, name + " dv", rows);
        same(dalpha_.values(), dalpha, c.heads * c.heads, error, name + " dalpha",
             std::sqrt(static_cast<double>(c.q_len * c.batch)));
    }
}

inline void attentions(Side& side) {
    attention<float>(side, {2, 3, 3, 7, 7, 4, false, false, true, 1, 1, 0});
    attention<double>(side, {2, 2, 1, 5, 9, 3, true, true, true, 0, 0, 0});
    attention<float>(side, {3, 4, 2, 70, 83, 18, true, true, true, 0, 0, 0});
    attention<float>(side, {1, 3, 3, 66, 66, 8, true, false, true, 2, 0, 1});
    attention<float>(side, {1, 2, 2, 40, 40, 8, true, false, false, 0, 0, 2});
    attention<float>(side, {1, 2, 2, 40, 40, 8, true, false, true, 0, 0, 2});
    attention<float>(side, {1, 2, 1, 1, 100, 5, true, false, true, 0, 1, 0});   // one row of a cache
    attention<double>(side, {1, 2, 2, 30, 11, 4, true, false, true, 0, 1, 0});  // rows that see no key
    attention<double>(side, {2, 2, 1, 0, 6, 4, false, false, true, 0, 0, 0});
    attention<float>(side, {1, 2, 2, 3, 0, 4, false, false, true, 0, 0, 0});
    attention<float>(side, {1, 33, 33, 3, 5, 2, false, false, true, 0, 0, 0});
    attention<float>(side, {1, 70, 10, 2, 3, 2, true, false, true, 0, 0, 0});  // heads beyond the small mix
    attention<double>(side,
                      {1, 200, 1, 1, 2, 1, false, false, true, 0, 0, 0});       // and narrower strips of keys
    attention<float>(side, {1, 1, 1, 4, 1030, 4, false, true, true, 0, 0, 0});  // a block per row
    if (side.quick) return;
    attention<float>(side, {2, 12, 12, 197, 197, 64, false, false, true, 0, 0, 0});
    attention<float>(side, {1, 8, 2, 700, 1900, 128, true, false, true, 0, 0, 0});  // several chunks
    attention<double>(side, {1, 12, 4, 300, 700, 64, true, true, true, 5, 1, 0});
    attention<float>(side, {1, 32, 8, 130, 4096, 64, true, false, false, 0, 0, 0});
}

}  // namespace cases
