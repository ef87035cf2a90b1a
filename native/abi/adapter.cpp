#include "cpu/adapter.h"

#include <cmath>

#include "abi/device.h"
#include "abi/status.h"
#include "cpu/isa.h"

namespace horo {
namespace {

const LowRankKernels& low_rank(int32_t dtype) {
    return dtype == HORO_F64 ? select(scalar::low_rank_f64, avx2::low_rank_f64, avx512::low_rank_f64)
                             : select(scalar::low_rank_f32, avx2::low_rank_f32, avx512::low_rank_f32);
}

int32_t check_sizes(int32_t dtype, int32_t kind, int64_t tokens, int64_t d, int64_t r, int64_t k) {
    constexpr int64_t most = int64_t{1} << 31;
    HORO_REQUIRE(dtype == HORO_F32 || dtype == HORO_F64, "dtype: %d, expected HORO_F32 or HORO_F64", dtype);
    HORO_REQUIRE(
        kind >= HORO_LORA && kind <= HORO_HYPLORA_SIMPLIFIED,
        "kind: %d, expected HORO_LORA, HORO_HYPLORA, HORO_HYPLORA_RELEASED or HORO_HYPLORA_SIMPLIFIED", kind);
    HORO_REQUIRE(tokens >= 0 && tokens < most, "tokens: %lld, expected 0 or more",
                 static_cast<long long>(tokens));
    HORO_REQUIRE(d >= 1 && d < most, "d: %lld, expected 1 or more", static_cast<long long>(d));
    HORO_REQUIRE(r >= 1 && r <= 65536, "r: %lld, expected 1 to 65536", static_cast<long long>(r));
    HORO_REQUIRE(k >= 1 && k < most, "k: %lld, expected 1 or more", static_cast<long long>(k));
    return HORO_OK;
}

int64_t backward_workspace(int32_t dtype, const LowRank& w, const horo_exec* exec) {
    if (on_cpu(exec)) return low_rank(dtype).backward_workspace(w);
    const CudaKernels& kernels = *cuda().backend->kernels;
    return (dtype == HORO_F64 ? kernels.low_rank_f64 : kernels.low_rank_f32).backward_workspace(w);
}

// On a device a wrong alignment would end the process's use of it.
int32_t check_alignment(int32_t dtype, const void* const (&of_dtype)[8], const void* const (&of_f64)[8]) {
    const uintptr_t bytes = dtype == HORO_F64 ? 8 : 4;
    for (const void* p : of_dtype)
        HORO_REQUIRE(reinterpret_cast<uintptr_t>(p) % bytes == 0,
                     "x, a, b, p, out or a gradient: address not a multiple of %d", static_cast<int>(bytes));
    for (const void* p : of_f64)
        HORO_REQUIRE(reinterpret_cast<uintptr_t>(p) % 8 == 0,
                     "gram, K, s, gain, norm, m, dK or ds: address not a multiple of 8");
    return HORO_OK;
}

int32_t check_inputs(const LowRank& w, const horo_exec* exec) {
    HORO_REQUIRE(w.x, "x: null pointer");
    HORO_REQUIRE(w.a, "a: null pointer");
    HORO_REQUIRE(w.b, "b: null pointer");
    HORO_REQUIRE(w.p, "p: null pointer");
    HORO_REQUIRE(w.tokens < 2 || w.x_stride >= w.d, "x_stride: %lld, expected d (%lld) or more",
                 static_cast<long long>(w.x_stride), static_cast<long long>(w.d));
    HORO_REQUIRE(w.tokens < 2 || w.out_stride >= w.k, "out_stride: %lld, expected k (%lld) or more",
                 static_cast<long long>(w.out_stride), static_cast<long long>(w.k));
    HORO_REQUIRE(std::isfinite(w.scaling), "scaling: %g, expected a finite number", w.scaling);
    if (!w.hyperbolic()) return HORO_OK;
    HORO_REQUIRE(w.K, "K: null pointer");
    HORO_REQUIRE(w.s, "s: null pointer");
    if (on_cpu(exec)) {
        HORO_REQUIRE(std::isfinite(*w.K) && *w.K > 0, "K: %g, expected a positive number", *w.K);
        HORO_REQUIRE(std::isfinite(*w.s) && *w.s > 0, "s: %g, expected a positive number", *w.s);
    }
    HORO_REQUIRE(w.gram, "gram: null pointer");
    HORO_REQUIRE(w.norm, "norm: null pointer");
    HORO_REQUIRE(w.m, "m: null pointer");
    return HORO_OK;
}

}  // namespace
}  // namespace horo

extern "C" {

int32_t horo_gram(const horo_exec* exec, int32_t dtype, int64_t k, int64_t r, const void* b, double* gram) {
    return horo::guarded([&] {
        if (const int32_t status = horo::check_sizes(dtype, HORO_LORA, 0, 1, r, k)) return status;
        HORO_REQUIRE(b, "b: null pointer");
        HORO_REQUIRE(gram, "gram: null pointer");
        if (const int32_t status = horo::check_alignment(dtype, {b}, {gram})) return status;
        if (dtype == HORO_F64) HORO_ON_CUDA(exec, low_rank_f64.gram, k, r, b, gram);
        HORO_ON_CUDA(exec, low_rank_f32.gram, k, r, b, gram);
        horo::low_rank(dtype).gram(k, r, b, gram, horo::resolve(exec));
        return HORO_OK;
    });
}

int32_t horo_low_rank_forward(const horo_exec* exec, int32_t dtype, int32_t kind, int64_t tokens, int64_t d,
                              int64_t r, int64_t k, const void* x, int64_t x_stride, const void* a,
                              const void* b, const double* gram, const double* K, const double* s,
                              double scaling, void* out, int64_t out_stride, void* p, double* gain,
                              double* norm, double* m) {
    return horo::guarded([&] {
        if (const int32_t status = horo::check_sizes(dtype, kind, tokens, d, r, k)) return status;
        if (tokens == 0) return HORO_OK;
        const horo::LowRank w{kind, tokens, d, r,       k,          x, x_stride, a,    b,
                              gram, K,      s, scaling, out_stride, p, gain,     norm, m};
        if (const int32_t status = horo::check_inputs(w, exec)) return status;
        HORO_REQUIRE(out, "out: null pointer");
        HORO_REQUIRE(gain || kind == HORO_LORA, "gain: null pointer");
        if (const int32_t status =
                horo::check_alignment(dtype, {x, a, b, p, out}, {gram, K, s, gain, norm, m}))
            return status;
        if (dtype == HORO_F64) HORO_ON_CUDA(exec, low_rank_f64.forward, w, out);
        HORO_ON_CUDA(exec, low_rank_f32.forward, w, out);
        horo::low_rank(dtype).forward(w, out, horo::resolve(exec));
        return HORO_OK;
    });
}

int32_t horo_low_rank_backward(const horo_exec* exec, int32_t dtype, int32_t kind, int64_t tokens, int64_t d,
                               int64_t r, int64_t k, const void* x, int64_t x_stride, const void* a,
                               const void* b, const double* gram, const double* K, const double* s,
                               double scaling, const void* dout, int64_t out_stride, const void* p,
                               const double* norm, const double* m, void* dx, int64_t dx_stride, void* da,
                               void* db, double* dK, double* ds, void* workspace, int64_t workspace_bytes) {
    return horo::guarded([&] {
        if (const int32_t status = horo::check_sizes(dtype, kind, tokens, d, r, k)) return status;
        if (tokens == 0) return HORO_OK;
        const horo::LowRank w{kind,
                              tokens,
                              d,
                              r,
                              k,
                              x,
                              x_stride,
                              a,
                              b,
                              gram,
                              K,
                              s,
                              scaling,
                              out_stride,
                              const_cast<void*>(p),
                              nullptr,
                              const_cast<double*>(norm),
                              const_cast<double*>(m)};
        if (const int32_t status = horo::check_inputs(w, exec)) return status;
        HORO_REQUIRE(dout, "dout: null pointer");
        HORO_REQUIRE(da, "da: null pointer");
        HORO_REQUIRE(db, "db: null pointer");
        HORO_REQUIRE(!dx || tokens < 2 || dx_stride >= d, "dx_stride: %lld, expected d (%lld) or more",
                     static_cast<long long>(dx_stride), static_cast<long long>(d));
        if (const int32_t status =
                horo::check_alignment(dtype, {x, a, b, p, dout, dx, da, db}, {gram, K, s, norm, m, dK, ds}))
            return status;
        const int64_t needed = horo::backward_workspace(dtype, w, exec);
        HORO_REQUIRE(workspace, "workspace: null pointer");
        HORO_REQUIRE(workspace_bytes >= needed, "workspace: %lld bytes, expected at least %lld",
                     static_cast<long long>(workspace_bytes), static_cast<long long>(needed));
        const horo::LowRankGradients v{dout, dx, dx_stride, da, db, dK, ds, workspace};
        if (dtype == HORO_F64) HORO_ON_CUDA(exec, low_rank_f64.backward, w, v);
        HORO_ON_CUDA(exec, low_rank_f32.backward, w, v);
        horo::low_rank(dtype).backward(w, v, horo::resolve(exec));
        return HORO_OK;
    });
}

int32_t horo_low_rank_workspace(const horo_exec* exec, int32_t dtype, int32_t kind, int64_t tokens, int64_t d,
                                int64_t r, int64_t k, int64_t* bytes) {
    return horo::guarded([&] {
        HORO_REQUIRE(bytes, "bytes: null result pointer");
        *bytes = 0;
        if (const int32_t status = horo::check_sizes(dtype, kind, tokens, d, r, k)) return status;
        if (tokens == 0) return HORO_OK;
        horo::LowRank w{};
        w.kind = kind, w.tokens = tokens, w.d = d, w.r = r, w.k = k;
        *bytes = horo::backward_workspace(dtype, w, exec);
        return HORO_OK;
    });
}
}
