// Matrix products against plain float64 loops, run once per instruction set (HORO_ISA) on the built-in
// kernel, and on oneDNN where HORO_TEST_DNNL names its library.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"

namespace {

using Floats = std::vector<float>;

Floats random(int64_t n, uint32_t seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    Floats out(static_cast<size_t>(n));
    for (float& v : out) v = uniform(engine);
    return out;
}

void product(int64_t m, int64_t n, int64_t k, bool ta, bool tb, float alpha, float beta, int64_t pad,
             int32_t type, int32_t a_type = HORO_F32) {
    const int64_t lda = std::max<int64_t>((ta ? m : k) + pad, 1),
                  ldb = std::max<int64_t>((tb ? k : n) + pad, 1);
    const int64_t ldc = n + pad;
    Floats a = random((ta ? k : m) * lda, 1);
    std::vector<uint16_t> narrow_a(a.size());
    const void* stored_a = a.data();
    if (a_type != HORO_F32) {
        horo_convert_from_f32(a.data(), a_type, narrow_a.data(), static_cast<int64_t>(a.size()), nullptr);
        horo_convert_to_f32(a_type, narrow_a.data(), a.data(), static_cast<int64_t>(a.size()), nullptr);
        stored_a = narrow_a.data();
    }
    Floats b = random((tb ? n : k) * ldb, 2);
    std::vector<uint16_t> narrow(b.size());
    const void* stored = b.data();
    if (type != HORO_F32) {
        horo_convert_from_f32(b.data(), type, narrow.data(), static_cast<int64_t>(b.size()), nullptr);
        horo_convert_to_f32(type, narrow.data(), b.data(), static_cast<int64_t>(b.size()), nullptr);
        stored = narrow.data();
    }
    Floats c = random(m * ldc, 3);
    const Floats before = c;
    if (beta == 0)
        for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = std::numeric_limits<float>::quiet_NaN();
    CHECK(horo_gemm(ta, tb, m, n, k, alpha, a_type, stored_a, lda, type, stored, ldb, beta, c.data(), ldc,
                    nullptr) == HORO_OK,
          "%s", horo_last_error());
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            double want = 0;
            for (int64_t p = 0; p < k; ++p)
                want += static_cast<double>(ta ? a[p * lda + i] : a[i * lda + p]) *
                        (tb ? b[j * ldb + p] : b[p * ldb + j]);
            want = alpha * want + (beta == 0 ? 0 : beta * before[i * ldc + j]);
            CHECK(std::abs(c[i * ldc + j] - want) <= 1e-6 * std::sqrt(static_cast<double>(k) + 1) + 1e-6,
                  "%ldx%ldx%ld %d%d at %ld,%ld: %g, expected %g", m, n, k, ta, tb, i, j, c[i * ldc + j],
                  want);
        }
        for (int64_t j = n; j < ldc; ++j)
            CHECK(c[i * ldc + j] == before[i * ldc + j], "written between the rows");
    }
}

void products() {
    const int64_t shapes[][3] = {{1, 1, 1},     {1, 5, 3},     {7, 1, 9},       {13, 33, 17},  {12, 32, 256},
                                 {5, 64, 257},  {3, 2, 700},   {129, 70, 5},    {1, 1500, 40}, {300, 8, 64},
                                 {31, 7, 1030}, {8, 300, 130}, {140, 1030, 70}, {40, 64, 300}};
    for (const auto& s : shapes)
        for (int t = 0; t < 4; ++t) {
            for (int32_t type : {HORO_F32, HORO_BF16, HORO_F16}) {
                product(s[0], s[1], s[2], t & 1, t & 2, 1, 0, 0, type);
                product(s[0], s[1], s[2], t & 1, t & 2, -0.5f, 1, 3, type);
            }
            product(s[0], s[1], s[2], t & 1, t & 2, 1, 0, 0, HORO_BF16, HORO_BF16);
            product(s[0], s[1], s[2], t & 1, t & 2, 1, 1, 3, HORO_BF16, HORO_BF16);
            product(s[0], s[1], s[2], t & 1, t & 2, 1, 0.5f, 1, HORO_BF16, HORO_BF16);
        }
    product(4, 5, 0, false, false, 1, 0, 0, HORO_F32);
    product(4, 5, 0, false, false, 1, 2, 1, HORO_F32);
    product(4, 5, 6, false, false, 0, 0.5f, 0, HORO_F32);
}

void threads(int32_t type) {
    const int64_t m = 260, n = 1100, k = 90;
    Floats a = random(m * k, 4), b = random(n * k, 5);
    if (type == HORO_BF16) {  // a buffer of float32 is large enough for them
        horo_convert_from_f32(Floats(a).data(), type, a.data(), m * k, nullptr);
        horo_convert_from_f32(Floats(b).data(), type, b.data(), n * k, nullptr);
    }
    Floats want(m * n), got(m * n);
    for (int32_t count : {1, 2, 3, 8}) {
        horo_exec* exec = nullptr;
        horo_exec_create(-1, count, nullptr, &exec);
        Floats& c = count == 1 ? want : got;
        horo_gemm(0, 1, m, n, k, 1, type, a.data(), k, type, b.data(), k, 0, c.data(), n, exec);
        CHECK(count == 1 || std::memcmp(want.data(), got.data(), want.size() * sizeof(float)) == 0,
              "%d threads", count);
        horo_exec_destroy(exec);
    }
}

void nan_rows() {
    const int64_t m = 20, n = 40, k = 30;
    Floats a = random(m * k, 6), b = random(k * n, 7), c(m * n);
    a[7 * k + 3] = std::numeric_limits<float>::quiet_NaN();
    horo_gemm(0, 0, m, n, k, 1, HORO_F32, a.data(), k, HORO_F32, b.data(), n, 0, c.data(), n, nullptr);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) CHECK((c[i * n + j] != c[i * n + j]) == (i == 7));
}

void arguments() {
    float x[4] = {}, c[4] = {};
    CHECK(horo_gemm(0, 0, -1, 1, 1, 1, HORO_F32, x, 1, HORO_F32, x, 1, 0, c, 1, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(horo_gemm(0, 0, 2, 2, 2, 1, HORO_F32, x, 1, HORO_F32, x, 2, 0, c, 2, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "lda"), "%s", horo_last_error());
    CHECK(horo_gemm(0, 0, 2, 2, 2, 1, HORO_F32, x, 2, HORO_F32, x, 1, 0, c, 2, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(horo_gemm(0, 0, 2, 2, 2, 1, HORO_F32, x, 2, HORO_F32, x, 2, 0, c, 1, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(horo_gemm(0, 0, 2, 2, 2, 1, HORO_F32, nullptr, 2, HORO_F32, x, 2, 0, c, 2, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(horo_gemm(0, 0, 2, 2, 2, 1, HORO_F32, x, 2, HORO_F64, x, 2, 0, c, 2, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "b_type"), "%s", horo_last_error());
    CHECK(horo_gemm(0, 0, 2, 2, 2, 1, HORO_BF16, x, 2, HORO_F32, x, 2, 0, c, 2, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "a_type"), "%s", horo_last_error());
    CHECK(horo_gemm(0, 0, 2, 2, 2, 2, HORO_BF16, x, 2, HORO_BF16, x, 2, 0, c, 2, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "alpha"), "%s", horo_last_error());
    CHECK(horo_gemm(0, 0, 0, 2, 2, 1, HORO_F32, nullptr, 2, HORO_F32, nullptr, 2, 0, nullptr, 2, nullptr) ==
          HORO_OK);
    CHECK(horo_gemm_load("/no/such/libdnnl.so") == HORO_UNSUPPORTED);
    CHECK(std::strstr(horo_last_error(), "/no/such/libdnnl.so"), "%s", horo_last_error());
    CHECK(horo_gemm_load("libm.so.6") == HORO_UNSUPPORTED);
    CHECK(std::strstr(horo_last_error(), "dnnl_sgemm"), "%s", horo_last_error());
    CHECK(std::strcmp(horo_gemm_provider(), "built-in") == 0);
}

}  // namespace

int main() {
    arguments();
    products();
    threads(HORO_F32);
    threads(HORO_BF16);
    nan_rows();
    if (const char* path = std::getenv("HORO_TEST_DNNL")) {
        CHECK(horo_gemm_load(path) == HORO_OK, "%s", horo_last_error());
        CHECK(std::strncmp(horo_gemm_provider(), "onednn ", 7) == 0);
        products();
        threads(HORO_F32);
        threads(HORO_BF16);
        nan_rows();
    }
    return check_result();
}
