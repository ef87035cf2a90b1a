// HypLoRA against LoRA of the same shape: forward and forward + backward. The Gram matrix is part of the
// forward call as in training, but not with a single token, as in generating. Usage: bench_adapter [threads].
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "horosphere/horo.h"
#include "measure.h"

namespace {

horo_exec* exec = nullptr;
int threads = 1;
double peak = 0;

void run(int64_t tokens, int64_t d, int64_t r, int64_t k) {
    const auto x = measure::random(tokens * d, 1, 1), a = measure::random(r * d, 0.02f, 2),
               b = measure::random(k * r, 0.02f, 3);
    const auto dout = measure::random(tokens * k, 1, 4);
    std::vector<float> out(tokens * k), p(tokens * r), dx(tokens * d), da(r * d), db(k * r);
    std::vector<double> gram(r * r), gain(tokens), norm(tokens), m(tokens);
    double dK = 0, ds = 0;
    horo_gram(exec, HORO_F32, k, r, b.data(), gram.data());
    int64_t bytes = 0;
    horo_low_rank_workspace(exec, HORO_F32, HORO_HYPLORA, tokens, d, r, k, &bytes);
    std::vector<char> workspace(static_cast<size_t>(bytes));
    const double s = std::sqrt(static_cast<double>(d));
    const auto forward = [&](int32_t kind) {
        if (kind == HORO_HYPLORA && tokens > 1) horo_gram(exec, HORO_F32, k, r, b.data(), gram.data());
        if (horo_low_rank_forward(exec, HORO_F32, kind, tokens, d, r, k, x.data(), d, a.data(), b.data(),
                                  gram.data(), 1, s, 2, out.data(), k, p.data(), gain.data(), norm.data(),
                                  m.data()))
            std::puts(horo_last_error());
    };
    const auto backward = [&](int32_t kind) {
        if (horo_low_rank_backward(exec, HORO_F32, kind, tokens, d, r, k, x.data(), d, a.data(), b.data(),
                                   gram.data(), 1, s, 2, dout.data(), k, p.data(), norm.data(), m.data(),
                                   dx.data(), d, da.data(), db.data(), &dK, &ds, workspace.data(), bytes))
            std::puts(horo_last_error());
    };
    const auto t = measure::interleaved(threads, 0.6,
                                        {[&] { forward(HORO_LORA); }, [&] { forward(HORO_HYPLORA); },
                                         [&] { backward(HORO_LORA); }, [&] { backward(HORO_HYPLORA); }});
    const double flops =
        2.0 * static_cast<double>(tokens) * static_cast<double>(r) * static_cast<double>(d + k);
    const double moved = 4.0 * static_cast<double>(tokens) * static_cast<double>(d + 2 * k);
    const double moved_back = 4.0 * static_cast<double>(tokens) * static_cast<double>(2 * k + 3 * d + d);
    std::printf(
        "T%-5ld d%-5ld r%-3ld k%-5ld | fwd LoRA %8.1f us %4.0f GF/s (%3.0f %%) %5.1f GB/s | bwd LoRA %8.1f "
        "us %4.0f GF/s "
        "(%3.0f %%) %5.1f GB/s | HypLoRA/LoRA fwd %.3f bwd %.3f both %.3f\n",
        static_cast<long>(tokens), static_cast<long>(d), static_cast<long>(r), static_cast<long>(k),
        t[0] * 1e6, flops / t[0] * 1e-9, peak ? 100 * flops / t[0] / peak : 0, moved / t[0] * 1e-9,
        t[2] * 1e6, 2 * flops / t[2] * 1e-9, peak ? 200 * flops / t[2] / peak : 0, moved_back / t[2] * 1e-9,
        t[1] / t[0], t[3] / t[2], (t[1] + t[3]) / (t[0] + t[2]));
}

}  // namespace

int main(int argc, char** argv) {
    threads = argc > 1 ? std::atoi(argv[1]) : 1;
    if (horo_exec_create(-1, threads, nullptr, &exec)) return std::puts(horo_last_error()), 1;
    peak = measure::peak_flops() * threads;
    std::printf("# %s, %d thread(s), multiply-add peak %.0f GFLOP/s\n", horo_cpu_isa(), threads, peak * 1e-9);
    for (int64_t r : {8, 16, 32}) {
        run(1, 4096, r, 4096);
        run(512, 256, r, 256);
        run(512, 768, r, 768);
        run(1024, 2048, r, 2048);
        run(1024, 4096, r, 4096);
        run(1024, 4096, r, 14336);
    }
    horo_exec_destroy(exec);
}
