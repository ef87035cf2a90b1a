// Each memory-bound layer against a plain copy that moves the same bytes, and matrix products in GFLOP/s.
// Usage: bench_layers [threads [libdnnl.so.3]]. One line per case: the best of several rounds.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "horosphere/horo.h"

namespace {

horo_exec* exec = nullptr;

// With one thread the processor time: other processes then disturb less.
double now() {
    timespec time;
    clock_gettime(horo_exec_threads(exec) == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The best time of one call in seconds, over 30 rounds of at least 1 ms, or 8 of more than 20 ms.
template <class Call>
double best(Call&& call) {
    double result = 1e9;
    int64_t repeat = 1;
    int rounds = 30;
    for (int round = 0; round < rounds;) {
        const double start = now();
        for (int64_t i = 0; i < repeat; ++i) call();
        const double seconds = now() - start;
        if (seconds < 0.001 && round == 0) {
            repeat *= 2;
            continue;
        }
        if (seconds > 0.02) rounds = 8;
        result = std::min(result, seconds / static_cast<double>(repeat));
        ++round;
    }
    return result;
}

std::vector<float> filled(int64_t n, float from = 0.5f) {
    std::vector<float> out(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) out[i] = from + static_cast<float>(i % 1000) * 1e-3f;
    return out;
}

// bytes: what the layer must read and write.
template <class Call>
void layer(const char* name, double bytes, Call&& call) {
    const int64_t n = static_cast<int64_t>(bytes) / 8;  // a copy reads and writes
    const std::vector<float> from = filled(n);
    std::vector<float> to(static_cast<size_t>(n));
    const double seconds = best(call);
    const double copy = best([&] { horo_convert_to_f32(HORO_F32, from.data(), to.data(), n, exec); });
    std::printf("%-24s %9.1f us %7.1f GB/s  copy %7.1f GB/s  %5.1f %% of a copy\n", name, seconds * 1e6,
                bytes / seconds * 1e-9, bytes / copy * 1e-9, 100 * copy / seconds);
}

void layers(int64_t rows, int64_t dim) {
    const int64_t n = rows * dim, vocab = 16 * dim, tokens = rows / 16;
    const double element = 4.0 * static_cast<double>(n);
    std::printf("# %ld x %ld float32\n", static_cast<long>(rows), static_cast<long>(dim));
    std::vector<float> x = filled(n), y = filled(n), z = filled(n), u = filled(n), v = filled(n);
    std::vector<float> weight = filled(dim), dweight = filled(dim), rstd = filled(rows);
    layer("rmsnorm_forward", 2 * element, [&] {
        horo_rmsnorm_forward(x.data(), weight.data(), 1e-5, rows, dim, y.data(), rstd.data(), exec);
    });
    layer("rmsnorm_backward", 4 * element, [&] {
        horo_rmsnorm_backward(x.data(), y.data(), weight.data(), rstd.data(), rows, dim, z.data(), nullptr,
                              exec);
    });
    layer("rmsnorm_backward+dw", 4 * element, [&] {
        horo_rmsnorm_backward(x.data(), y.data(), weight.data(), rstd.data(), rows, dim, z.data(),
                              dweight.data(), exec);
    });
    const std::vector<float> mean = filled(rows);
    std::vector<float> dbias = filled(dim);
    layer("layernorm_forward", 2 * element, [&] {
        horo_layernorm_forward(x.data(), weight.data(), weight.data(), 1e-5, rows, dim, y.data(), nullptr,
                               rstd.data(), exec);
    });
    layer("layernorm_backward", 4 * element, [&] {
        horo_layernorm_backward(x.data(), y.data(), weight.data(), mean.data(), rstd.data(), rows, dim,
                                z.data(), nullptr, nullptr, exec);
    });
    layer("layernorm_backward+dw,db", 4 * element, [&] {
        horo_layernorm_backward(x.data(), y.data(), weight.data(), mean.data(), rstd.data(), rows, dim,
                                z.data(), dweight.data(), dbias.data(), exec);
    });
    const int64_t head_dim = 64;
    std::vector<float> cos_sin(rows * head_dim, 0.5f);
    std::vector<int32_t> ids(rows);
    for (int64_t t = 0; t < rows; ++t) ids[t] = static_cast<int32_t>(t);
    layer("rope", 2 * element, [&] {
        horo_rope(x.data(), rows, dim, dim / head_dim, head_dim, cos_sin.data(), rows, ids.data(), 0, exec);
    });
    x = filled(n);
    layer("swiglu_forward", 3 * element, [&] { horo_swiglu_forward(x.data(), y.data(), z.data(), n, exec); });
    layer("swiglu_backward", 5 * element,
          [&] { horo_swiglu_backward(x.data(), y.data(), z.data(), u.data(), v.data(), n, exec); });
    layer("geglu_forward", 3 * element, [&] { horo_geglu_forward(x.data(), y.data(), z.data(), n, exec); });
    layer("geglu_backward", 5 * element,
          [&] { horo_geglu_backward(x.data(), y.data(), z.data(), u.data(), v.data(), n, exec); });
    layer("gelu_forward", 2 * element, [&] { horo_gelu_forward(x.data(), z.data(), n, exec); });
    layer("gelu_backward", 3 * element, [&] { horo_gelu_backward(x.data(), y.data(), z.data(), n, exec); });
    layer("bias_add", 2 * element, [&] { horo_bias_add(weight.data(), rows, dim, z.data(), exec); });
    layer("bias_grad", element, [&] { horo_bias_grad(x.data(), rows, dim, dweight.data(), exec); });
    layer("embedding_forward", 2 * element,
          [&] { horo_embedding_forward(ids.data(), HORO_F32, x.data(), rows, rows, dim, z.data(), exec); });
    layer("embedding_backward", 3 * element,
          [&] { horo_embedding_backward(ids.data(), x.data(), rows, rows, dim, z.data(), exec); });
    for (int64_t t = 0; t < rows; ++t) ids[t] = static_cast<int32_t>(t % 7);
    const float one = 1;
    layer("cross_entropy", element,
          [&] { horo_cross_entropy(x.data(), ids.data(), tokens, vocab, rstd.data(), nullptr, exec); });
    layer("cross_entropy+gradient", 2 * element,
          [&] { horo_cross_entropy(x.data(), ids.data(), tokens, vocab, rstd.data(), &one, exec); });
    layer("add", 3 * element, [&] { horo_add(x.data(), y.data(), z.data(), n, exec); });
    layer("axpy", 3 * element, [&] { horo_axpy(1e-9, x.data(), y.data(), n, exec); });
    layer("scale", 2 * element, [&] { horo_scale(1, x.data(), n, exec); });
    layer("sum_squares", element, [&] { horo_sum_squares(x.data(), n, exec); });
    layer("adamw", 7 * element, [&] {
        horo_adamw(x.data(), y.data(), z.data(), u.data(), n, 1e-9, 0.9, 0.999, 1e-8, 0, 10, 1, exec);
    });
    layer("convert bf16 to f32", 1.5 * element,
          [&] { horo_convert_to_f32(HORO_BF16, x.data(), y.data(), n, exec); });
    layer("convert f16 to f32", 1.5 * element,
          [&] { horo_convert_to_f32(HORO_F16, x.data(), y.data(), n, exec); });
    layer("convert f32 to bf16", 1.5 * element,
          [&] { horo_convert_from_f32(x.data(), HORO_BF16, y.data(), n, exec); });
    layer("convert f32 to f16", 1.5 * element,
          [&] { horo_convert_from_f32(x.data(), HORO_F16, y.data(), n, exec); });
}

void products(int32_t type, const char* stored) {
    const int64_t shapes[][3] = {{1, 1, 16},       {1, 64, 64},       {8, 8, 8},         {32, 32, 32},
                                 {512, 128, 128},  {512, 2048, 2048}, {512, 5632, 2048}, {512, 2048, 5632},
                                 {512, 8, 2048},   {512, 2048, 8},    {8, 2048, 512},    {8, 2048, 2048},
                                 {32, 2048, 2048}, {1, 2048, 2048},   {1, 5632, 2048},   {64, 32000, 2048}};
    for (int32_t trans_b : {1, 0}) {
        std::printf("# C(m,n) = A(m,k) B%s, B stored as %s, with %s\n", trans_b ? "(n,k)'" : "(k,n)", stored,
                    type == HORO_F32 ? horo_gemm_provider() : "built-in");
        for (const auto& s : shapes) {
            const std::vector<float> a = filled(s[0] * s[2]), b = filled(s[1] * s[2]);
            std::vector<float> c(static_cast<size_t>(s[0] * s[1]));
            const double seconds = best([&] {
                horo_gemm(0, trans_b, s[0], s[1], s[2], 1, HORO_F32, a.data(), s[2], type, b.data(),
                          trans_b ? s[2] : s[1], 0, c.data(), s[1], exec);
            });
            const double flops =
                2.0 * static_cast<double>(s[0]) * static_cast<double>(s[1]) * static_cast<double>(s[2]);
            std::printf("%5ld x %5ld x %5ld %12.2f us %8.1f GFLOP/s\n", static_cast<long>(s[0]),
                        static_cast<long>(s[1]), static_cast<long>(s[2]), seconds * 1e6,
                        flops / seconds * 1e-9);
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (horo_exec_create(-1, argc > 1 ? std::atoi(argv[1]) : 0, nullptr, &exec) != HORO_OK) {
        std::fprintf(stderr, "%s\n", horo_last_error());
        return 1;
    }
    std::printf("# %s, %d threads\n", horo_cpu_isa(), horo_exec_threads(exec));
    layers(64, 2048);
    layers(4096, 2048);
    products(HORO_BF16, "bfloat16");
    products(HORO_F32, "float32");
    if (argc > 2) {
        if (horo_gemm_load(argv[2]) != HORO_OK) {
            std::fprintf(stderr, "%s\n", horo_last_error());
            return 1;
        }
        products(HORO_F32, "float32");
    }
    horo_exec_destroy(exec);
    return 0;
}
