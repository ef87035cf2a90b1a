// Attention with and without mixed maps, forward and forward + backward: time, rate over the products that
// have to be made, and the price of the mix. Usage: bench_attention [threads [heads dim tokens causal]].
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "horosphere/horo.h"
#include "measure.h"

namespace {

struct Case {
    int64_t batch, heads, kv_heads, dim, queries, keys;
    int32_t causal;
};

horo_exec* exec = nullptr;
int threads = 1;
double peak = 0;

void run(const Case& c) {
    const int64_t query = c.batch * c.queries * c.heads * c.dim, key = c.batch * c.keys * c.kv_heads * c.dim;
    const auto q = measure::random(query, 2, 1), k = measure::random(key, 2, 2),
               v = measure::random(key, 1, 3);
    const auto dout = measure::random(query, 1, 4), alpha = measure::random(c.heads * c.heads, 0.1f, 5);
    std::vector<float> out(query), lse(c.batch * c.heads * c.queries), dq(query), dk(key), dv(key),
        dalpha(alpha.size());
    int64_t most = 0;
    for (int32_t mixed : {0, 1})
        for (int32_t backward : {0, 1}) {
            int64_t bytes = 0;
            horo_attention_workspace(exec, HORO_F32, c.batch, c.heads, c.kv_heads, c.queries, c.keys, c.dim,
                                     mixed, backward, &bytes);
            most = std::max(most, bytes);
        }
    std::vector<char> workspace(static_cast<size_t>(most));
    const int64_t qt = c.heads * c.dim, kt = c.kv_heads * c.dim, qb = c.queries * qt, kb = c.keys * kt;
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    const auto forward = [&](const float* mix) {
        if (horo_attention_forward(exec, HORO_F32, c.batch, c.heads, c.kv_heads, c.queries, c.keys, c.dim,
                                   q.data(), qb, qt, c.dim, k.data(), kb, kt, c.dim, v.data(), kb, kt, c.dim,
                                   mix, scale, c.causal, nullptr, out.data(), qb, qt, c.dim, lse.data(),
                                   workspace.data(), most))
            std::puts(horo_last_error());
    };
    const auto backward = [&](const float* mix) {
        if (horo_attention_backward(exec, HORO_F32, c.batch, c.heads, c.kv_heads, c.queries, c.keys, c.dim,
                                    q.data(), qb, qt, c.dim, k.data(), kb, kt, c.dim, v.data(), kb, kt, c.dim,
                                    mix, scale, c.causal, nullptr, lse.data(), dout.data(), qb, qt, c.dim,
                                    dq.data(), dk.data(), dv.data(), mix ? dalpha.data() : nullptr,
                                    workspace.data(), most))
            std::puts(horo_last_error());
    };
    const auto t = measure::interleaved(threads, 0.6,
                                        {[&] { forward(nullptr); }, [&] { forward(alpha.data()); },
                                         [&] { backward(nullptr); }, [&] { backward(alpha.data()); }});
    double pairs = static_cast<double>(c.batch * c.queries) * static_cast<double>(c.keys);
    if (c.causal) pairs -= static_cast<double>(c.batch * c.queries) * static_cast<double>(c.queries - 1) / 2;
    const double h = static_cast<double>(c.heads), d = static_cast<double>(c.dim);
    const double flops[] = {pairs * 4 * d * h, pairs * (4 * d * h + 2 * h * h), pairs * 10 * d * h,
                            pairs * (10 * d * h + 6 * h * h)};
    std::printf("B%ld H%-2ld/%-2ld D%-3ld N%-4ld M%-5ld %s ", static_cast<long>(c.batch),
                static_cast<long>(c.heads), static_cast<long>(c.kv_heads), static_cast<long>(c.dim),
                static_cast<long>(c.queries), static_cast<long>(c.keys), c.causal ? "causal" : "full  ");
    const char* names[] = {"fwd", "fwd mixed", "bwd", "bwd mixed"};
    for (int i = 0; i < 4; ++i)
        std::printf("| %s %9.3f ms %4.0f GF/s (%3.0f %%) ", names[i], t[i] * 1e3, flops[i] / t[i] * 1e-9,
                    peak ? 100 * flops[i] / t[i] / peak : 0);
    std::printf("| mixed/plain fwd %.3f bwd %.3f both %.3f\n", t[1] / t[0], t[3] / t[2],
                (t[1] + t[3]) / (t[0] + t[2]));
}

}  // namespace

int main(int argc, char** argv) {
    threads = argc > 1 ? std::atoi(argv[1]) : 1;
    if (horo_exec_create(-1, threads, nullptr, &exec)) return std::puts(horo_last_error()), 1;
    peak = measure::peak_flops() * threads;
    std::printf("# %s, %d thread(s), multiply-add peak %.0f GFLOP/s\n", horo_cpu_isa(), threads, peak * 1e-9);
    if (argc > 5) {
        const int64_t heads = std::atol(argv[2]), tokens = std::atol(argv[4]);
        run({1, heads, heads, std::atol(argv[3]), tokens, tokens, std::atoi(argv[5])});
        return 0;
    }
    for (int64_t heads : {8, 12, 32})
        for (int64_t dim : {64, 128}) {
            run({heads == 32 ? 1 : 8, heads, heads, dim, 197, 197, 0});
            run({1, heads, heads, dim, 1024, 1024, 1});
            if (heads * dim <= 1024) run({1, heads, heads, dim, 4096, 4096, 1});
        }
    run({1, 32, 8, 128, 512, 512, 1});
    run({1, 32, 8, 128, 1, 4096, 1});
    run({1, 8, 8, 64, 1, 1024, 1});
    horo_exec_destroy(exec);
}
