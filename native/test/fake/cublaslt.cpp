// A library with the functions of cuBLASLt that cuda/products.cpp calls, which computes on the host what
// their documentation says: column-major matrices, D = alpha op(A) op(B) + beta C. It refuses what a real one
// would.
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>

#include "emulate.h"

// Of the fake runtime, where this is linked with it; else products are computed at once.
__attribute__((weak)) void fake_submit(void* stream, std::function<void()> work);

namespace {

struct Layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
};
struct Object {
    std::map<int, uint64_t> attributes;
};
constexpr int invalid = 7;

float element(const void* p, int type, int64_t at) {
    if (type == 0) return static_cast<const float*>(p)[at];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(p)[at]) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

void check(const void* p, const Layout& of) {
    const size_t size = of.type == 0 ? 4 : 2;
    const auto elements = static_cast<int64_t>(of.cols - 1) * of.ld + static_cast<int64_t>(of.rows);
    horo::emulate::on_access(p, size, static_cast<size_t>(elements) * size);
}

int set(void* object, int attribute, const void* value, size_t bytes) {
    uint64_t held = 0;
    if (!object || bytes > sizeof held) return invalid;
    std::memcpy(&held, value, bytes);
    static_cast<Object*>(object)->attributes[attribute] = held;
    return 0;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {
int cublasLtCreate(void** handle) {
    static int one;
    *handle = &one;
    return 0;
}
int cublasLtMatmulDescCreate(void** description, int compute, int scale) {
    *description = new Object;
    return compute == 68 && scale == 0 ? 0 : invalid;
}
int cublasLtMatmulDescDestroy(void* description) {
    delete static_cast<Object*>(description);
    return 0;
}
int cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* value, size_t bytes) {
    return bytes == 4 ? set(description, attribute, value, bytes) : invalid;
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    *layout = new Layout{type, rows, cols, ld};
    return ld >= static_cast<int64_t>(rows) ? 0 : invalid;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
    delete static_cast<Layout*>(layout);
    return 0;
}
int cublasLtMatmulPreferenceCreate(void** preference) {
    *preference = new Object;
    return 0;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
    delete static_cast<Object*>(preference);
    return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) {
    return bytes == (attribute == 1 ? 8 : 4) ? set(preference, attribute, value, bytes) : invalid;
}
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void* preference, int wanted,
                                   void* results, int* found) {
    const auto& asked = static_cast<Object*>(preference)->attributes;
    if (asked.at(3) != 2 || wanted < 1) return invalid;
    std::memset(results, 0, 96);  // sizeof(cublasLtMatmulHeuristicResult_t)
    *found = 1;
    return 0;
}
int cublasLtMatmul(void* handle, void* description, const float* alpha, const void* a, void* a_layout,
                   const void* b, void* b_layout, const float* beta, const float* c, void* c_layout, float* d,
                   void* d_layout, const void* algorithm, void* workspace, size_t workspace_bytes,
                   void* stream) {
    auto& asked = static_cast<Object*>(description)->attributes;
    const Layout la = *static_cast<Layout*>(a_layout), lb = *static_cast<Layout*>(b_layout),
                 lc = *static_cast<Layout*>(c_layout);
    const bool ta = asked[3] == 1, tb = asked[4] == 1;
    const uint64_t m = ta ? la.cols : la.rows, k = ta ? la.rows : la.cols, n = tb ? lb.rows : lb.cols;
    if (!handle || !algorithm || !workspace || workspace_bytes != 32u << 20 || c_layout != d_layout ||
        k != (tb ? lb.cols : lb.rows) || lc.rows != m || lc.cols != n || lc.type != 0)
        return invalid;
    const float by = *alpha, keep = *beta;
    const auto run = [=] {
        check(a, la);
        check(b, lb);
        check(d, lc);
        for (uint64_t j = 0; j < n; ++j)
            for (uint64_t i = 0; i < m; ++i) {
                float sum = 0;
                for (uint64_t e = 0; e < k; ++e) {
                    const int64_t x =
                        static_cast<int64_t>(ta ? e : i) + static_cast<int64_t>(ta ? i : e) * la.ld;
                    const int64_t y =
                        static_cast<int64_t>(tb ? j : e) + static_cast<int64_t>(tb ? e : j) * lb.ld;
                    sum += element(a, la.type, x) * element(b, lb.type, y);
                }
                const int64_t at = static_cast<int64_t>(i) + static_cast<int64_t>(j) * lc.ld;
                d[at] = by * sum + (keep == 0 ? 0 : keep * c[at]);
            }
    };
    fake_submit ? fake_submit(stream, run) : run();
    return 0;
}
}
#pragma GCC visibility pop
