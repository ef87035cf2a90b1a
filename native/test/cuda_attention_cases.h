// Attention of CUDA against the CPU's.
#pragma once
#include "cuda_cases.h"
#include "storage.h"

namespace cases {

struct AttentionCase {
    int64_t batch, heads, kv_heads, q_len, kv_len, dim;
    bool causal, lengths, mixed;
    int64_t pad, offset;
    int poison;  // 0, or what is NaN: 1 a query row, 2 a key and a value that only the last row sees
};

inline std::string name_of(const AttentionCase& c) {
    std::string name = "attention";
    for (int64_t n : {c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim})
        name += " " + std::to_string(n);
    return name + (c.causal ? " causal" : "") + (c.lengths ? " lengths" : "") + (c.mixed ? " mixed" : "") +
           (c.poison ? c.poison == 1 ? " NaN query" : " NaN key" : "");
}

// Token-major with room between tokens.
inline horo::TokenStrides strides_of(const AttentionCase& c, int64_t tokens, int64_t heads) {
    const int64_t token = heads * c.dim + c.pad;
    return {tokens * token + c.pad, token, c.dim};
}

inline std::vector<int32_t> lengths_of(const AttentionCase& c) {
    std::vector<int32_t> lengths(static_cast<size_t>(c.batch));
    for (int64_t i = 0; i < c.batch; ++i)
        lengths[static_cast<size_t>(i)] = static_cast<int32_t>(i == 1 ? 0 : c.kv_len - c.kv_len / 3 * i);
    return lengths;
}

template <class T>
void attention(Side& side, const AttentionCase& c) {
    const bool wide = sizeof(T) == 8;
    const int32_t dtype = wide ? HORO_F64 : HORO_F32;
    const horo::CudaAttention& cuda = side.kernels.attention[dtype];
    const std::string name = name_of(c) + (wide ? " float64" : " float32");
    const auto strides = [&](int64_t tokens, int64_t heads) { return strides_of(c, tokens, heads); };
    const horo::TokenStrides qs = strides(c.q_len, c.heads), ks = strides(c.kv_len, c.kv_heads);
    const int64_t q_size = c.batch * qs.batch + 1, k_size = c.batch * ks.batch + 1;
    std::vector<T> q = normal<T>(q_size), k = normal<T>(k_size), v = normal<T>(k_size),
                   alpha = normal<T>(c.heads * c.heads, 0.3), out = normal<T>(q_size),
                   dout = normal<T>(q_size), dq = normal<T>(q_size), dk = normal<T>(k_size),
                   dv = normal<T>(k_size), dalpha = normal<T>(c.heads * c.heads),
                   lse(static_cast<size_t>(c.batch * c.heads * c.q_len));
    const std::vector<int32_t> lengths = lengths_of(c);
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

// What 16-bit results may differ by from float64's, u being the type's unit roundoff. What is rounded: P, its
// mix P^; G = dO V^T less its first column, dP = its mix by alpha^T, dS; and each result. Sums are float32.
// Worst case, with rho the largest sum of |I + alpha| over a row or column, g = max |G|, columns = the
// largest sum of a P over the rows that share a key: |out| moves by u (|out| + 2 rho max|v|), dv by 2 u rho
// columns max|dO| more than itself, dS by 18 u rho g P scale (P and dS 4 each, dP 4, delta 6), so dq by that
// with max|k|, dk with columns max|q|; dalpha by 4 u g for every row. As a whole an array moves less:
// roundings are independent, each of 0.41 u in the mean square, so by 0.41 u sqrt(n) of its norm for n of
// them: 3 in out and dv (0.71 u), 5 in dq and dk, where G less a column is sqrt(2) larger and delta adds
// (0.92 u to 1.4 u), 2 in dalpha.
struct AttentionScale {
    double rho = 1, g = 0, columns = 0, q = 0, k = 0, v = 0, dout = 0;
};

inline AttentionScale scale_of(const AttentionCase& c, const std::vector<double>& q,
                               const std::vector<double>& k, const std::vector<double>& v,
                               const std::vector<double>& alpha, const std::vector<double>& dout,
                               const std::vector<int32_t>& lengths, double scale) {
    AttentionScale of;
    const auto largest = [](double& most, double x) { most = x == x ? std::fmax(most, std::fabs(x)) : most; };
    for (double x : q) largest(of.q, x);
    for (double x : k) largest(of.k, x);
    for (double x : v) largest(of.v, x);
    for (double x : dout) largest(of.dout, x);
    for (int64_t h = 0; c.mixed && h < c.heads; ++h) {
        double row = 1, column = 1;
        for (int64_t i = 0; i < c.heads; ++i) {
            row += std::fabs(alpha[static_cast<size_t>(h * c.heads + i)]);
            column += std::fabs(alpha[static_cast<size_t>(i * c.heads + h)]);
        }
        of.rho = std::fmax(of.rho, std::fmax(row, column));
    }
    const horo::TokenStrides qs = strides_of(c, c.q_len, c.heads), ks = strides_of(c, c.kv_len, c.kv_heads);
    const int64_t group = c.heads / c.kv_heads;
    std::vector<double> p(static_cast<size_t>(c.kv_len)), columns(p.size());
    for (int64_t b = 0; b < c.batch; ++b)
        for (int64_t h = 0; h < c.heads; ++h) {
            if (h % group == 0) std::fill(columns.begin(), columns.end(), 0);
            for (int64_t r = 0; r < c.q_len; ++r) {
                int64_t seen = c.causal ? std::min(c.kv_len, r + 1 + c.kv_len - c.q_len) : c.kv_len;
                if (c.lengths) seen = std::min<int64_t>(seen, lengths[static_cast<size_t>(b)]);
                double total = 0;
                for (int64_t j = 0; j < seen; ++j) {
                    double s = 0, g = 0;
                    for (int64_t d = 0; d < c.dim; ++d) {
                        const size_t x = static_cast<size_t>(b * qs.batch + r * qs.token + h * qs.head + d);
                        const size_t y =
                            static_cast<size_t>(b * ks.batch + j * ks.token + h / group * ks.head + d);
                        s += q[x] * k[y];
                        g += dout[x] * v[y];
                    }
                    p[static_cast<size_t>(j)] = std::exp(s * scale);
                    total += p[static_cast<size_t>(j)];
                    largest(of.g, g);
                }
                for (int64_t j = 0; j < seen; ++j)
                    if (total == total) columns[static_cast<size_t>(j)] += p[static_cast<size_t>(j)] / total;
            }
            for (double sum : columns) largest(of.columns, sum);
        }
    return of;
}

// The norm of the difference is at most `allowed` of the norm, where both are numbers and there are enough.
inline void near(const std::vector<double>& got, const std::vector<double>& want, double allowed,
                 const std::string& what) {
    double error = 0, size = 0;
    for (size_t i = 0; i < want.size(); ++i)
        if (std::isfinite(got[i]) && std::isfinite(want[i])) {
            error += (got[i] - want[i]) * (got[i] - want[i]);
            size += want[i] * want[i];
        }
    if (want.size() < 500) return;
    CHECK(error <= allowed * allowed * size, "%s: error %g of the norm, allowed %g", what.c_str(),
          std::sqrt(error / size), allowed);
}

template <class Stored>
void half_attention(Side& side, const AttentionCase& c) {
    using Bits = uint16_t;
    using Doubles = std::vector<double>;
    const horo::CudaAttention& cuda = side.kernels.attention[Stored::dtype];
    const double u = Stored::epsilon / 2;
    const std::string name = name_of(c) + (Stored::dtype == HORO_BF16 ? " bfloat16" : " float16");
    const horo::TokenStrides qs = strides_of(c, c.q_len, c.heads), ks = strides_of(c, c.kv_len, c.kv_heads);
    const int64_t q_size = c.batch * qs.batch + 1, k_size = c.batch * ks.batch + 1;
    const auto stored = [](const Doubles& x) {
        std::vector<Bits> bits;
        for (double v : x) bits.push_back(Stored::put(v));
        return bits;
    };
    const auto numbers = [](const std::vector<Bits>& x) {
        Doubles all;
        for (Bits v : x) all.push_back(Stored::get(v));
        return all;
    };
    const auto rounded = [&](int64_t n) { return numbers(stored(normal<double>(n))); };
    Doubles q = rounded(q_size), k = rounded(k_size), v = rounded(k_size), dout = rounded(q_size),
            out = rounded(q_size), dq = rounded(q_size), dk = rounded(k_size), dv = rounded(k_size), alpha,
            dalpha, lse(static_cast<size_t>(c.batch * c.heads * c.q_len));
    const std::vector<float> alpha32 = normal<float>(c.heads * c.heads, 0.3),
                             dalpha32 = normal<float>(c.heads * c.heads);
    alpha.assign(alpha32.begin(), alpha32.end());
    dalpha.assign(dalpha32.begin(), dalpha32.end());
    const std::vector<int32_t> lengths = lengths_of(c);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    if (c.poison == 1) q[static_cast<size_t>(qs.token * (c.q_len / 2))] = nan;
    if (c.poison == 2) {
        k[static_cast<size_t>((c.kv_len - 1) * ks.token)] = nan;
        v[static_cast<size_t>((c.kv_len - 1) * ks.token + 1)] = nan;
    }
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    const int32_t* l = c.lengths ? lengths.data() : nullptr;
    const AttentionScale of = scale_of(c, q, k, v, alpha, dout, lengths, scale);

    const Array<Bits> q_(side, stored(q), c.offset), k_(side, stored(k), c.offset),
        v_(side, stored(v), c.offset), dout_(side, stored(dout), c.offset), out_(side, stored(out), c.offset);
    const Array<float> alpha_(side, alpha32, c.offset), lse_(side, std::vector<float>(lse.size()), c.offset);
    const Array<int32_t> lengths_(side, lengths, 1);
    const Doubles dq0 = dq, dk0 = dk, dv0 = dv;
    for (int32_t backward : {0, 1}) {
        int64_t bytes = 0;
        ran(horo_attention_workspace(nullptr, HORO_F64, c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len,
                                     c.dim, c.mixed, backward, &bytes),
            "workspace");
        std::vector<char> workspace(static_cast<size_t>(bytes) + 1);
        const double* a = c.mixed ? alpha.data() : nullptr;
        ran(backward ? horo_attention_backward(nullptr, HORO_F64, c.batch, c.heads, c.kv_heads, c.q_len,
                                               c.kv_len, c.dim, q.data(), qs.batch, qs.token, qs.head,
                                               k.data(), ks.batch, ks.token, ks.head, v.data(), ks.batch,
                                               ks.token, ks.head, a, scale, c.causal, l, nullptr, dout.data(),
                                               qs.batch, qs.token, qs.head, dq.data(), dk.data(), dv.data(),
                                               c.mixed ? dalpha.data() : nullptr, workspace.data(), bytes)
                     : horo_attention_forward(nullptr, HORO_F64, c.batch, c.heads, c.kv_heads, c.q_len,
                                              c.kv_len, c.dim, q.data(), qs.batch, qs.token, qs.head,
                                              k.data(), ks.batch, ks.token, ks.head, v.data(), ks.batch,
                                              ks.token, ks.head, a, scale, c.causal, l, out.data(), qs.batch,
                                              qs.token, qs.head, lse.data(), workspace.data(), bytes),
            "attention in float64");
    }
    const horo::AttentionShape shape{
        c.batch, c.heads, c.kv_heads, c.q_len, c.kv_len, c.dim,   qs,
        ks,      ks,      qs,         scale,   c.causal, c.mixed, c.lengths ? lengths_.p() : nullptr};
    horo::AttentionBuffers b{};
    b.q = q_.p(), b.k = k_.p(), b.v = v_.p(), b.alpha = c.mixed ? alpha_.p() : nullptr;
    b.out = out_.p(), b.lse = lse_.p(), b.dout = dout_.p();
    const auto check = [&](const Doubles& got, const Doubles& want, int64_t width, double terms, double whole,
                           const char* what) {
        same(got, want, width, u + 1e-5, name + what, terms);
        near(got, want, whole * u + 1e-5, name + what);
    };
    {
        const Array<char> room(
            side, std::vector<char>(static_cast<size_t>(cuda.forward_workspace(shape)), '\xff'), 5);
        b.workspace = room.p();
        ran(cuda.forward(shape, b, nullptr), "attention");
        check(numbers(out_.values()), out, 1, 3 * of.rho * of.v, 1, " out");
        const std::vector<float> got = lse_.values();
        same(Doubles(got.begin(), got.end()), lse, 1, 1e-5, name + " lse", 1);
    }
    std::vector<Bits> first;
    for (int time = 0; time < 2; ++time) {
        const Array<Bits> dq_(side, stored(dq0), c.offset), dk_(side, stored(dk0), c.offset),
            dv_(side, stored(dv0), c.offset);
        const Array<float> dalpha_(side, dalpha32, c.offset);
        const Array<char> room(
            side,
            std::vector<char>(static_cast<size_t>(cuda.backward_workspace(shape)), time ? '\xff' : '\0'), 5);
        b.workspace = room.p(), b.dq = dq_.p(), b.dk = dk_.p(), b.dv = dv_.p();
        b.dalpha = c.mixed ? dalpha_.p() : nullptr;
        b.out = b.lse = nullptr;
        ran(cuda.backward(shape, b, nullptr), "attention gradient");
        if (time) {  // NaN in the workspace changes nothing
            bitwise(dk_.values(), first, name + " dk of a second run");
            continue;
        }
        first = dk_.values();
        const double ds = 18 * of.rho * of.g * scale;
        check(numbers(dq_.values()), dq, 1, of.q + ds * of.k, 2, " dq");
        check(numbers(first), dk, 1, of.k + ds * of.columns * of.q, 2, " dk");
        check(numbers(dv_.values()), dv, 1, of.v + 2 * of.rho * of.columns * of.dout, 1, " dv");
        const std::vector<float> got = dalpha_.values();
        check(Doubles(got.begin(), got.end()), dalpha, 1, 4 * of.g * static_cast<double>(c.q_len * c.batch),
              1.5, " dalpha");
    }
}

template <class Stored>
void half_attentions(Side& side) {
    half_attention<Stored>(side, {2, 3, 3, 7, 7, 8, false, false, true, 0, 0, 0});
    half_attention<Stored>(side, {2, 2, 1, 5, 9, 3, true, true, true, 1, 1, 0});  // two bytes at a time
    half_attention<Stored>(side, {3, 4, 2, 70, 83, 24, true, true, true, 0, 0, 0});
    half_attention<Stored>(side, {1, 3, 3, 66, 66, 8, true, false, true, 8, 8, 1});
    half_attention<Stored>(side, {1, 2, 2, 40, 40, 8, true, false, false, 0, 0, 2});
    half_attention<Stored>(side, {1, 2, 2, 40, 40, 8, true, false, true, 0, 0, 2});
    half_attention<Stored>(side, {1, 3, 1, 33, 150, 64, false, false, false, 0, 0, 0});
    half_attention<Stored>(side, {1, 2, 1, 1, 100, 5, true, false, true, 0, 1, 0});    // one row of a cache
    half_attention<Stored>(side, {1, 2, 2, 30, 11, 4, true, false, true, 0, 1, 0});    // rows that see no key
    half_attention<Stored>(side, {1, 1, 1, 20, 70, 130, true, false, true, 0, 0, 0});  // three tiles of dim
    half_attention<Stored>(side, {1, 2, 2, 9, 30, 128, false, false, false, 0, 0, 0});
    half_attention<Stored>(side,
                           {2, 4, 2, 5, 40, 100, true, true, true, 0, 0, 0});  // wide heads, in one kernel
    half_attention<Stored>(side,
                           {2, 12, 4, 19, 30, 33, true, true, true, 0, 0, 0});  // several heads, by chunks
    if (side.quick && Stored::dtype == HORO_F16) return;
    half_attention<Stored>(side, {2, 2, 1, 0, 6, 4, false, false, true, 0, 0, 0});
    half_attention<Stored>(side, {1, 2, 2, 3, 0, 4, false, false, true, 0, 0, 0});
    half_attention<Stored>(side, {1, 33, 11, 3, 5, 2, false, false, true, 0, 0, 0});
    half_attention<Stored>(side,
                           {1, 200, 1, 1, 9, 2, false, false, true, 0, 0, 0});  // mixed 8 keys at a time
    if (side.quick) return;
    half_attention<Stored>(side, {2, 12, 12, 197, 197, 64, false, false, true, 0, 0, 0});
    half_attention<Stored>(side, {1, 8, 2, 700, 1900, 128, true, false, true, 0, 0, 0});  // several chunks
    half_attention<Stored>(side, {1, 12, 4, 300, 700, 64, true, true, true, 5, 1, 0});
    half_attention<Stored>(side, {1, 32, 8, 130, 4096, 64, true, false, false, 0, 0, 0});
}

inline void attentions(Side& side) {
    half_attentions<AsBf16>(side);
    half_attentions<AsF16>(side);
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
