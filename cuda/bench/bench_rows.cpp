// Row operations on a CUDA device against a device-to-device copy that moves as many bytes, in the same run:
// CUDA graphs of several launches, timed by events; at least 1 GiB per launch, many times the L2 cache, so no
// launch finds its input there. bench_rows [--quick] [FILE.json]
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "timing.h"

namespace {

// Elements per row of the inputs and of the outputs, from the signature.
void widths(const char* signature, int64_t dim, std::vector<int64_t>& in, std::vector<int64_t>& out) {
    const std::string s = signature;
    const size_t semicolon = s.find(';'), arrow = s.find("->");
    const auto collect = [&](const std::string& part, std::vector<int64_t>& list) {
        for (size_t at = part.find(':'); at != std::string::npos; at = part.find(':', at + 1))
            list.push_back(part[at + 1] == 'r' ? dim : part[at + 1] == 'a' ? dim + 1 : 1);
    };
    collect(s.substr(0, semicolon), in);
    collect(s.substr(arrow), out);
}

template <class T>
void fill(void* to, int64_t bytes, int64_t dim, cudaStream_t stream) {
    std::mt19937 random(1);
    std::uniform_real_distribution<double> uniform(0.1, 1);  // positive: also a second moment
    std::vector<T> pattern(std::min<int64_t>(bytes, int64_t{1} << 24) / sizeof(T));
    for (T& v : pattern) v = static_cast<T>(uniform(random) / (2 * std::sqrt(static_cast<double>(dim))));
    const int64_t size = static_cast<int64_t>(pattern.size() * sizeof(T));
    ok(cudaMemcpyAsync(to, pattern.data(), size, cudaMemcpyHostToDevice, stream));
    for (int64_t at = size; at < bytes; at += size)
        ok(cudaMemcpyAsync(static_cast<char*>(to) + at, to, std::min(size, bytes - at),
                           cudaMemcpyDeviceToDevice, stream));
    ok(cudaStreamSynchronize(stream));
}

struct Result {
    std::string op;
    const char* dtype;
    int64_t dim, rows, bytes;
    double seconds, copy;
};

template <class T>
Result measure(int32_t op, int64_t dim, char* memory, int64_t least, cudaStream_t stream,
               const horo_exec* exec) {
    std::vector<int64_t> in, out;
    widths(horo_op_signature(op), dim, in, out);
    int64_t per_row = 0;
    for (int64_t w : in) per_row += w;
    for (int64_t w : out) per_row += w;
    per_row *= sizeof(T);
    const int64_t rows = (least + per_row - 1) / per_row;
    const void* x[4] = {};
    void* y[4] = {};
    int64_t xs[4] = {}, ys[4] = {};
    char* at = memory;
    const auto next = [&](int64_t w) {
        char* p = at;
        at += (rows * w * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
        return p;
    };
    for (size_t i = 0; i < in.size(); ++i) x[i] = next(xs[i] = in[i]);
    const int64_t input_bytes = at - memory;
    for (size_t j = 0; j < out.size(); ++j) y[j] = next(ys[j] = out[j]);
    const int64_t bytes = rows * per_row, half = bytes / 2 / 256 * 256;
    const auto copy = [&] {
        ok(cudaMemcpyAsync(memory + half, memory, half, cudaMemcpyDeviceToDevice, stream));
    };
    const double before = seconds(stream, copy);
    fill<T>(memory, input_bytes, dim, stream);
    const double taken = seconds(stream, [&] {
        ok_horo(horo_row_op(op, sizeof(T) == 4 ? HORO_F32 : HORO_F64, rows, dim, x[0], xs[0], x[1], xs[1],
                            x[2], xs[2], x[3], xs[3], y[0], ys[0], y[1], ys[1], y[2], ys[2], y[3], ys[3], 0.7,
                            0.7, 0.7, 0.7, 0.7, 0.7, exec));
    });
    const double after = seconds(stream, copy);
    return {horo_op_name(op),       sizeof(T) == 4 ? "float32" : "float64", dim, rows, bytes, taken,
            std::min(before, after)};
}

}  // namespace

int main(int count, char** words) {
    bool quick = false;
    const char* file = nullptr;
    for (int i = 1; i < count; ++i)
        (std::strcmp(words[i], "--quick") == 0) ? (void)(quick = true) : (void)(file = words[i]);
    int32_t devices = 0;
    ok_horo(horo_device_count(&devices));
    if (devices == 0) {
        std::fprintf(stderr, "bench_rows: no CUDA device: %s\n", horo_device_reason());
        return 1;
    }
    char name[256];
    ok_horo(horo_device_name(0, name, sizeof name));
    cudaStream_t stream;
    horo_exec* exec = nullptr;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok_horo(horo_exec_create(0, 0, stream, &exec));
    const int64_t least = int64_t{1} << 30;
    char* memory = nullptr;
    ok(cudaMalloc(&memory, least + (int64_t{1} << 26)));  // room for a started row and alignment
    const std::vector<int64_t> dims =
        quick ? std::vector<int64_t>{2, 17, 128, 1024}
              : std::vector<int64_t>{2, 3, 4, 8, 16, 17, 32, 64, 127, 128, 256, 512, 1000, 1024, 4096, 8192};
    std::vector<Result> results;
    std::printf("%s, median of %d replays of %d launches, 1 GiB each\n", name, replays, launches);
    std::printf("%-28s %-8s %6s %10s %10s %8s\n", "operation", "dtype", "dim", "GB/s", "copy GB/s",
                "of copy");
    for (int32_t op = 0; op < horo_op_count(); ++op)
        for (int64_t dim : dims)
            for (int wide = 0; wide < 2; ++wide) {
                const Result r = wide ? measure<double>(op, dim, memory, least, stream, exec)
                                      : measure<float>(op, dim, memory, least, stream, exec);
                std::printf("%-28s %-8s %6lld %10.0f %10.0f %7.1f%%\n", r.op.c_str(), r.dtype,
                            (long long)r.dim, r.bytes / r.seconds * 1e-9, r.bytes / r.copy * 1e-9,
                            100 * r.copy / r.seconds);
                std::fflush(stdout);
                results.push_back(r);
            }
    if (file) {
        std::FILE* json = std::fopen(file, "w");
        if (!json) {
            std::fprintf(stderr, "bench_rows: cannot write %s\n", file);
            return 1;
        }
        std::fprintf(
            json,
            "{\"device\": \"%s\", \"version\": \"%s\", \"replays\": %d, \"launches\": %d, \"results\": [",
            name, horo_version(), replays, launches);
        for (size_t i = 0; i < results.size(); ++i) {
            const Result& r = results[i];
            std::fprintf(
                json,
                "%s\n  {\"op\": \"%s\", \"dtype\": \"%s\", \"dim\": %lld, \"rows\": %lld, \"bytes\": %lld, "
                "\"seconds\": %.9g, \"copy_seconds\": %.9g}",
                i ? "," : "", r.op.c_str(), r.dtype, (long long)r.dim, (long long)r.rows, (long long)r.bytes,
                r.seconds, r.copy);
        }
        std::fprintf(json, "\n]}\n");
        if (std::fclose(json) != 0) return 1;
    }
    ok_horo(horo_exec_destroy(exec));
    ok(cudaStreamDestroy(stream));
    ok(cudaFree(memory));
    return 0;
}
