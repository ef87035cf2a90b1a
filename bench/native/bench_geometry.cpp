// Bandwidth of every row operation against a floor that moves the same bytes: plain loads of as many arrays
// as the operation reads and non-temporal stores of as many as it writes, by the same thread, interleaved in
// the same run. Usage: bench_geometry [filter] [MiB per array, default 64] [repeats, default 7]. One JSON
// object per line.
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "horosphere/horo.h"

namespace {

// Thread CPU time: the machine may be shared.
double now() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

struct Operand {
    std::string name, kind;
    int64_t width(int64_t dim) const { return kind == "row" ? dim : kind == "ambient" ? dim + 1 : 1; }
};

std::vector<Operand> operands(const std::string& text) {
    std::vector<Operand> result;
    size_t at = 0;
    while ((at = text.find_first_not_of(" ", at)) != std::string::npos) {
        const size_t end = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        result.push_back({word.substr(0, word.find(':')), word.substr(word.find(':') + 1)});
        at = end;
    }
    return result;
}

// Reads `in` bytes and writes `out` bytes of the given arrays, 64 bytes at a time.
__attribute__((target("avx512f"))) void floor_pass(const std::vector<char*>& in,
                                                   const std::vector<int64_t>& in_bytes,
                                                   const std::vector<char*>& out,
                                                   const std::vector<int64_t>& out_bytes) {
    __m512i sum = _mm512_setzero_si512();
    int64_t most = 0;
    for (int64_t b : in_bytes) most = std::max(most, b);
    for (int64_t b : out_bytes) most = std::max(most, b);
    constexpr int64_t step = 4096;
    for (int64_t at = 0; at < most; at += step) {
        for (size_t i = 0; i < in.size(); ++i) {
            const int64_t end = std::min(at + step, in_bytes[i]) & ~int64_t{63};
            for (int64_t p = at; p < end; p += 64)
                sum = _mm512_xor_si512(sum, _mm512_load_si512(reinterpret_cast<const void*>(in[i] + p)));
        }
        for (size_t i = 0; i < out.size(); ++i) {
            const int64_t end = std::min(at + step, out_bytes[i]) & ~int64_t{63};
            for (int64_t p = at; p < end; p += 64)
                _mm512_stream_si512(reinterpret_cast<__m512i*>(out[i] + p), sum);
        }
    }
    _mm_sfence();
}

template <class T>
void bench(int32_t op, int64_t dim, int64_t array_bytes, int repeats) {
    const std::string name = horo_op_name(op), signature = horo_op_signature(op);
    const size_t semicolon = signature.find(';'), arrow = signature.find("->");
    const auto in = operands(signature.substr(0, semicolon)), out = operands(signature.substr(arrow + 2));
    const int64_t rows = array_bytes / (dim * sizeof(T));
    std::vector<char*> x, y;
    std::vector<int64_t> xb, yb;
    const auto allocate = [&](const Operand& o, std::vector<char*>& p, std::vector<int64_t>& b) {
        b.push_back(rows * o.width(dim) * static_cast<int64_t>(sizeof(T)));
        p.push_back(static_cast<char*>(std::aligned_alloc(1 << 21, (b.back() + (1 << 21)) & -(1 << 21))));
        T* v = reinterpret_cast<T*>(p.back());
        std::minstd_rand random(7 + static_cast<unsigned>(p.size()));
        const double scale = 0.9 / std::sqrt(static_cast<double>(dim)) / (double{random.max()});
        for (int64_t i = 0; i < rows * o.width(dim); ++i) v[i] = static_cast<T>(scale * random());
    };
    for (const Operand& o : in) allocate(o, x, xb);
    for (const Operand& o : out) allocate(o, y, yb);
    horo_exec* exec;
    horo_exec_create(-1, 1, nullptr, &exec);
    int64_t bytes = 0;
    for (int64_t b : xb) bytes += b;
    for (int64_t b : yb) bytes += b;
    const auto ip = [&](size_t i) -> const void* { return i < x.size() ? x[i] : nullptr; };
    const auto op_ = [&](size_t j) -> void* { return j < y.size() ? y[j] : nullptr; };
    const auto is = [&](size_t i) { return i < in.size() ? in[i].width(dim) : 0; };
    const auto os = [&](size_t j) { return j < out.size() ? out[j].width(dim) : 0; };
    double best = 1e30, floor = 1e30;
    for (int r = 0; r < repeats; ++r) {
        double t = now();
        const int32_t status = horo_row_op(op, sizeof(T) == 4 ? HORO_F32 : HORO_F64, rows, dim, ip(0), is(0),
                                           ip(1), is(1), ip(2), is(2), ip(3), is(3), op_(0), os(0), op_(1),
                                           os(1), op_(2), os(2), op_(3), os(3), 1.0, 0.1, 0, 0, 0, 0, exec);
        best = std::min(best, now() - t);
        if (status != HORO_OK) {
            std::fprintf(stderr, "%s: %s\n", name.c_str(), horo_last_error());
            std::exit(1);
        }
        t = now();
        floor_pass(x, xb, y, yb);
        floor = std::min(floor, now() - t);
    }
    const bool vjp = name.size() > 4 && name.compare(name.size() - 4, 4, ".vjp") == 0;
    std::printf(
        "{\"bench\":\"geometry\",\"op\":\"%s\",\"pass\":\"%s\",\"isa\":\"%s\",\"dtype\":\"%s\",\"dim\":%lld,"
        "\"rows\":%lld,"
        "\"gbps\":%.2f,\"floor_gbps\":%.2f,\"ratio\":%.3f}\n",
        (vjp ? name.substr(0, name.size() - 4) : name).c_str(), vjp ? "backward" : "forward", horo_cpu_isa(),
        sizeof(T) == 4 ? "f32" : "f64", static_cast<long long>(dim), static_cast<long long>(rows),
        bytes / best * 1e-9, bytes / floor * 1e-9, floor / best);
    std::fflush(stdout);
    horo_exec_destroy(exec);
    for (char* p : x) std::free(p);
    for (char* p : y) std::free(p);
}

// Time of one small call.
void latency(int32_t op) {
    float memory[8][16 * 9] = {};
    double best = 1e30;
    for (int r = 0; r < 20; ++r) {
        const double t = now();
        for (int n = 0; n < 1000; ++n)
            horo_row_op(op, HORO_F32, 16, 8, memory[0], 9, memory[1], 9, memory[2], 9, memory[3], 9,
                        memory[4], 9, memory[5], 9, memory[6], 9, memory[7], 9, 1.0, 0.1, 0, 0, 0, 0,
                        nullptr);
        best = std::min(best, (now() - t) * 1e6);
    }
    std::printf(
        "{\"bench\":\"geometry_latency\",\"op\":\"%s\",\"isa\":\"%s\",\"dtype\":\"f32\",\"rows\":16,\"dim\":"
        "8,\"ns\":%.0f}\n",
        horo_op_name(op), horo_cpu_isa(), best);
}

}  // namespace

int main(int argc, char** argv) {
    const char* filter = argc > 1 ? argv[1] : "";
    const int64_t bytes = (argc > 2 ? std::atoll(argv[2]) : 64) << 20;
    const int repeats = argc > 3 ? std::atoi(argv[3]) : 7;
    if (!__builtin_cpu_supports("avx512f")) {
        std::fprintf(stderr, "the floor is written for AVX-512\n");
        return 1;
    }
    for (int32_t op = 0; op < horo_op_count(); ++op) {
        if (!std::strstr(horo_op_name(op), filter)) continue;
        for (int64_t dim : {2, 4, 8, 16, 64, 128, 1024}) {
            bench<float>(op, dim, bytes, repeats);
            if (dim == 16 || dim == 128) bench<double>(op, dim, bytes, repeats);
        }
        latency(op);
    }
    return 0;
}
