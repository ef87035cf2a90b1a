#include "cpu/gemm.h"

#include "abi/device.h"
#include "abi/status.h"
#include "cpu/dnnl.h"

namespace {
bool fits(int64_t rows, int64_t cols, int64_t ld) {
    return ld >= (cols > 1 ? cols : 1) && rows <= (int64_t{1} << 60) / ld;
}
}  // namespace

extern "C" {

int32_t horo_gemm_load(const char* path) {
    HORO_REQUIRE(path, "path: null");
    const char* reason = horo::load_dnnl(path);
    return reason ? horo::fail(HORO_UNSUPPORTED, "cannot load oneDNN: %s", reason) : HORO_OK;
}

const char* horo_gemm_provider(void) {
    const char* name = horo::dnnl_name();
    return name ? name : "built-in";
}

int32_t horo_gemm(int32_t trans_a, int32_t trans_b, int64_t m, int64_t n, int64_t k, double alpha,
                  int32_t a_type, const void* a, int64_t lda, int32_t b_type, const void* b, int64_t ldb,
                  double beta, float* c, int64_t ldc, const horo_exec* exec) {
    HORO_REQUIRE(b_type == HORO_F32 || b_type == HORO_BF16 || b_type == HORO_F16,
                 "b_type: %d, expected float32, bfloat16 or float16", b_type);
    HORO_REQUIRE(a_type == HORO_F32 || (a_type == HORO_BF16 && b_type == HORO_BF16),
                 "a_type: %d, expected float32, or bfloat16 with a bfloat16 B", a_type);
    HORO_REQUIRE(a_type == HORO_F32 || alpha == 1, "alpha: %g, expected 1 for a bfloat16 A", alpha);
    HORO_REQUIRE(m >= 0 && n >= 0 && k >= 0, "m, n, k: %lld, %lld, %lld, expected 0 or more",
                 static_cast<long long>(m), static_cast<long long>(n), static_cast<long long>(k));
    HORO_REQUIRE(fits(trans_a ? k : m, trans_a ? m : k, lda),
                 "lda: %lld, expected at least the row length %lld", static_cast<long long>(lda),
                 static_cast<long long>(trans_a ? m : k));
    HORO_REQUIRE(fits(trans_b ? n : k, trans_b ? k : n, ldb),
                 "ldb: %lld, expected at least the row length %lld", static_cast<long long>(ldb),
                 static_cast<long long>(trans_b ? k : n));
    HORO_REQUIRE(fits(m, n, ldc), "ldc: %lld, expected at least the row length %lld",
                 static_cast<long long>(ldc), static_cast<long long>(n));
    if (!horo::on_cpu(exec) && b_type == HORO_F16)
        return horo::fail(HORO_UNSUPPORTED, "b_type: float16, expected float32 or bfloat16 on a CUDA device");
    if (m == 0 || n == 0) return HORO_OK;
    HORO_REQUIRE(c, "c: null");
    HORO_REQUIRE(k == 0 || a, "a: null");
    HORO_REQUIRE(k == 0 || b, "b: null");
    return horo::guarded([&] {
        if (!horo::on_cpu(exec)) {
            const auto aligned = [](const void* p, int32_t type) {
                return reinterpret_cast<uintptr_t>(p) % (type == HORO_F32 ? 4 : 2) == 0;
            };
            HORO_REQUIRE(aligned(a, a_type), "a: address not a multiple of its elements' size");
            HORO_REQUIRE(aligned(b, b_type), "b: address not a multiple of its elements' size");
            HORO_REQUIRE(reinterpret_cast<uintptr_t>(c) % 4 == 0, "c: address not a multiple of 4");
            return horo::gemm_cuda(
                {trans_a, trans_b, m, n, k, alpha, b_type, a, lda, b, ldb, beta, c, ldc, a_type != b_type},
                *exec);
        }
        const char* failure = horo::gemm({trans_a != 0, trans_b != 0, m, n, k, static_cast<float>(alpha),
                                          a_type, a, lda, b_type, b, ldb, static_cast<float>(beta), c, ldc},
                                         horo::resolve(exec));
        return failure ? horo::fail(HORO_INTERNAL, "%s", failure) : HORO_OK;
    });
}
}
