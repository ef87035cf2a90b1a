// Matrix products of CUDA against the CPU's.
#pragma once
#include <functional>

#include "cuda_cases.h"

namespace cases {

using Product = std::function<int32_t(const horo::GemmCall&)>;

// False if there is no cuBLASLt, with the reason in horo_last_error().
inline bool products(Side& side, const Product& product) {
    struct Types {
        int32_t a, b;
    };
    for (const Types types : {Types{HORO_F32, HORO_F32}, {HORO_BF16, HORO_BF16}, {HORO_F32, HORO_BF16}})
        for (int32_t trans_a : {0, 1})
            for (int32_t trans_b : {0, 1})
                for (int64_t k : {0, 24, 80}) {
                    const int64_t m = 16, n = 40, pad = 8;
                    const int64_t a_rows = trans_a ? k : m, lda = (trans_a ? m : k) + pad;
                    const int64_t b_rows = trans_b ? n : k, ldb = (trans_b ? k : n) + pad, ldc = n + pad;
                    const double alpha = types.a == HORO_F32 ? 1.5 : 1, beta = k == 80 ? 0.5 : 0;
                    std::vector<float> a = normal(a_rows * lda + 8), b = normal(b_rows * ldb + 8),
                                       c = normal(m * ldc);
                    const Array<float> c_(side, c);
                    std::vector<uint16_t> short_a(a.size()), short_b(b.size());
                    for (auto of : {std::make_pair(&a, &short_a), std::make_pair(&b, &short_b)})
                        ran(horo_convert_from_f32(of.first->data(), HORO_BF16, of.second->data(),
                                                  static_cast<int64_t>(of.first->size()), nullptr),
                            "convert");
                    const Array<float> a_(side, a), b_(side, b);
                    const Array<uint16_t> short_a_(side, short_a), short_b_(side, short_b);
                    const auto at = [&](int32_t type, const Array<float>& of,
                                        const Array<uint16_t>& of_short) {
                        return type == HORO_F32 ? static_cast<const void*>(of.p()) : of_short.p();
                    };
                    const int32_t status =
                        product({trans_a, trans_b, m, n, k, alpha, types.b, at(types.a, a_, short_a_), lda,
                                 at(types.b, b_, short_b_), ldb, beta, c_.p(), ldc, types.a != types.b});
                    if (status == HORO_UNSUPPORTED) return false;
                    ran(status, "product");
                    const void* p = types.a == HORO_F32 ? static_cast<const void*>(a.data()) : short_a.data();
                    const void* q = types.b == HORO_F32 ? static_cast<const void*>(b.data()) : short_b.data();
                    ran(horo_gemm(trans_a, trans_b, m, n, k, alpha, types.a, p, lda, types.b, q, ldb, beta,
                                  c.data(), ldc, nullptr),
                        "product");
                    same(c_.values(), c, ldc, 1e-5,
                         "product " + std::to_string(trans_a) + std::to_string(trans_b) + " k " +
                             std::to_string(k) + " types " + std::to_string(types.a) +
                             std::to_string(types.b),
                         1);
                }
    return true;
}

}  // namespace cases
