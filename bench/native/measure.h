// Timing shared by the micro-benchmarks: calls to be compared take turns within one run, and the best time of
// each counts, so that a machine that changes its mind disturbs all of them alike.
#pragma once
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <functional>
#include <random>
#include <vector>

namespace measure {

// With one thread the processor time: other processes then disturb less.
inline double now(int threads) {
    timespec time;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The best seconds of each call; they take turns as long as `more` says so of the rounds done.
template <class More>
std::vector<double> take_turns(int threads, const std::vector<std::function<void()>>& calls, More&& more) {
    std::vector<double> best(calls.size(), 1e30);
    for (int round = 0; more(round); ++round)
        for (size_t i = 0; i < calls.size(); ++i) {
            const double from = now(threads);
            calls[i]();
            best[i] = std::min(best[i], now(threads) - from);
        }
    return best;
}

// Until `budget` seconds are spent, five rounds at least.
inline std::vector<double> interleaved(int threads, double budget,
                                       const std::vector<std::function<void()>>& calls) {
    const double start = now(2);
    return take_turns(threads, calls, [=](int round) { return round < 5 || now(2) - start < budget; });
}

inline std::vector<double> rounds(int threads, int count, const std::vector<std::function<void()>>& calls) {
    return take_turns(threads, calls, [=](int round) { return round < count; });
}

inline std::vector<float> random(int64_t n, float size, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> value(-size, size);
    std::vector<float> out(static_cast<size_t>(n));
    for (float& x : out) x = value(engine);
    return out;
}

#if defined(__x86_64__)
typedef float Wide __attribute__((vector_size(64)));

// Multiply-adds without any memory: what one core can do at the width of AVX-512, in FLOP/s; 0 without
// AVX-512.
__attribute__((target("avx512f"), noinline, optimize("O3", "fp-contract=fast"))) inline double
multiply_adds() {
    Wide sums[16], x = Wide{} + 1.0f, y = Wide{} + 1e-9f;
    for (int j = 0; j < 16; ++j) {
        sums[j] = Wide{};
        asm volatile("" : "+v"(sums[j]));  // sixteen chains, whatever the compiler thinks of equal ones
    }
    for (int i = 0; i < 100000; ++i) {
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) sums[j] = sums[j] * x + y;
    }
    double total = 0;
    for (int j = 0; j < 16; ++j) total += static_cast<double>(sums[j][0]);
    return total;
}

inline double peak_flops() {
    if (!__builtin_cpu_supports("avx512f")) return 0;
    volatile double sink = 0;
    const double seconds = interleaved(1, 0.05, {[&] { sink = sink + multiply_adds(); }})[0];
    return 100000.0 * 16 * 16 * 2 / seconds;
}
#else
inline double peak_flops() { return 0; }
#endif

}  // namespace measure
