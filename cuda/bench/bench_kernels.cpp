// The kernels beyond row operations on a CUDA device, in one run: layers against a device-to-device copy that
// moves as many bytes, distances and random numbers likewise, HypLoRA against LoRA of the same shape, mixed
// attention against unmixed. CUDA graphs of several launches, timed by events. bench_kernels [--quick]
// [FILE.json]
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>

#include "timing.h"

namespace {

// `floor`: what the kernel is compared with; ratio = seconds / floor seconds.
struct Result {
    std::string kernel, shape, floor;
    double bytes, seconds, floor_seconds;
};

class Bench {
  public:
    explicit Bench(int64_t bytes) : size_(bytes) {
        ok(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
        ok_horo(horo_exec_create(0, 0, stream_, &exec_));
        ok(cudaMalloc(&memory_, static_cast<size_t>(bytes)));
        fill(memory_, bytes, 1);
    }
    ~Bench() {
        ok_horo(horo_exec_destroy(exec_));
        ok(cudaStreamDestroy(stream_));
        ok(cudaFree(memory_));
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    const horo_exec* exec() const { return exec_; }
    void begin() { used_ = 0; }

    // n elements of small random numbers (float32), or of anything where nothing is read.
    template <class T = float>
    T* take(int64_t n) {
        char* at = memory_ + used_;
        used_ += (n * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
        if (used_ > size_) {
            std::fprintf(stderr, "bench: %lld bytes, more than was allocated\n", (long long)used_);
            std::exit(1);
        }
        return reinterpret_cast<T*>(at);
    }
    int32_t* take_ids(int64_t n, int32_t below) {
        std::mt19937 random(3);
        std::vector<int32_t> ids(static_cast<size_t>(n));
        for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(below));
        return take_copy(ids);
    }
    template <class T>
    T* take_copy(const std::vector<T>& numbers) {
        T* there = take<T>(static_cast<int64_t>(numbers.size()));
        ok(cudaMemcpyAsync(there, numbers.data(), numbers.size() * sizeof(T), cudaMemcpyHostToDevice,
                           stream_));
        ok(cudaStreamSynchronize(stream_));
        return there;
    }
    void refill() { fill(memory_, size_, 1); }

    double time(const std::function<int32_t()>& call) {
        return seconds(stream_, [&] { ok_horo(call()); });
    }

    // A layer that has to move so many bytes.
    void layer(const char* name, const std::string& shape, double bytes,
               const std::function<int32_t()>& call) {
        const size_t half = static_cast<size_t>(bytes / 2);
        const auto copy = [&] {
            ok(cudaMemcpyAsync(memory_ + size_ / 2, memory_, half, cudaMemcpyDeviceToDevice, stream_));
        };
        const double taken = time(call);
        const double floor = std::min(seconds(stream_, copy), seconds(stream_, copy));
        refill();
        add({name, shape, "copy", bytes, taken, floor});
    }
    void add(const Result& r) {
        std::printf("%-36s %-34s %9.1f us  %8.0f GB/s  %6.2fx of %s\n", r.kernel.c_str(), r.shape.c_str(),
                    r.seconds * 1e6, r.bytes / r.seconds * 1e-9, r.seconds / r.floor_seconds,
                    r.floor.c_str());
        std::fflush(stdout);
        results.push_back(r);
    }

    std::vector<Result> results;

  private:
    void fill(char* to, int64_t bytes, unsigned seed) {
        std::mt19937 random(seed);
        std::uniform_real_distribution<float> uniform(-0.1f, 0.1f);
        std::vector<float> pattern(size_t{1} << 22);
        for (float& v : pattern) v = uniform(random);
        const int64_t piece = static_cast<int64_t>(pattern.size() * 4);
        for (int64_t at = 0; at < bytes; at += piece)
            ok(cudaMemcpyAsync(to + at, pattern.data(), static_cast<size_t>(std::min(piece, bytes - at)),
                               cudaMemcpyHostToDevice, stream_));
        ok(cudaStreamSynchronize(stream_));
    }

    int64_t size_, used_ = 0;
    char* memory_ = nullptr;
    cudaStream_t stream_{};
    horo_exec* exec_ = nullptr;
};

std::string sizes(std::initializer_list<int64_t> numbers) {
    std::string text;
    for (int64_t n : numbers) text += (text.empty() ? "" : " x ") + std::to_string(n);
    return text;
}

// About 1 GiB moved per launch, many times the L2 cache.
void layers(Bench& bench, int64_t dim) {
    const horo_exec* exec = bench.exec();
    const double gib = static_cast<double>(int64_t{1} << 30);
    const auto rows_for = [&](double arrays) {
        return static_cast<int64_t>(gib / (arrays * 4 * static_cast<double>(dim)));
    };
    const auto moved = [&](int64_t rows, double arrays) {
        return static_cast<double>(rows * dim) * 4 * arrays;
    };
    const auto two = [&](const char* name, double arrays, auto&& call) {
        bench.begin();
        const int64_t rows = rows_for(arrays);
        std::vector<float*> x;
        for (int i = 0; i < 5; ++i) x.push_back(i < arrays ? bench.take(rows * dim) : nullptr);
        float *weight = bench.take(dim), *per_row = bench.take(rows);
        bench.layer(name, sizes({rows, dim}), moved(rows, arrays),
                    [&] { return call(rows, x, weight, per_row); });
    };
    using X = std::vector<float*>;
    two("rmsnorm", 2, [&](int64_t rows, const X& x, float* w, float* r) {
        return horo_rmsnorm_forward(x[0], w, 1e-5, rows, dim, x[1], r, exec);
    });
    two("rmsnorm gradient", 4, [&](int64_t rows, const X& x, float* w, float* r) {
        return horo_rmsnorm_backward(x[0], x[1], w, r, rows, dim, x[2], nullptr, exec);
    });
    two("add", 3, [&](int64_t rows, const X& x, float*, float*) {
        return horo_add(x[0], x[1], x[2], rows * dim, exec);
    });
    two("swiglu", 3, [&](int64_t rows, const X& x, float*, float*) {
        return horo_swiglu_forward(x[0], x[1], x[2], rows * dim, exec);
    });
    two("swiglu gradient", 5, [&](int64_t rows, const X& x, float*, float*) {
        return horo_swiglu_backward(x[0], x[1], x[2], x[3], x[4], rows * dim, exec);
    });
    two("column_scale", 2, [&](int64_t rows, const X& x, float* w, float*) {
        return horo_column_scale(w, rows, dim, x[0], x[1], exec);
    });
    two("bias_grad", 1,
        [&](int64_t rows, const X& x, float* w, float*) { return horo_bias_grad(x[0], rows, dim, w, exec); });
    two("sum_squares_add", 1, [&](int64_t rows, const X& x, float*, float* r) {
        double* total = reinterpret_cast<double*>(r);
        return horo_sum_squares_add(x[0], rows * dim, total, total + 1, exec);
    });
    {
        bench.begin();
        const int64_t n = rows_for(7) * dim;
        float *p = bench.take(n), *g = bench.take(n), *m = bench.take(n), *v = bench.take(n);
        bench.layer("adamw", sizes({n}), static_cast<double>(n) * 4 * 7,
                    [&] { return horo_adamw(p, g, m, v, n, 1e-4, 0.9, 0.999, 1e-8, 0.01, 10, 1, exec); });
    }
    {
        bench.begin();
        const int64_t tokens = rows_for(2), heads = dim / 64, positions = 4096;
        float *x = bench.take(tokens * dim), *table = bench.take(positions * 64);
        const int32_t* at = bench.take_ids(tokens, static_cast<int32_t>(positions));
        bench.layer("rope", sizes({tokens, heads, 64}), moved(tokens, 2), [&] {
            return horo_rope(x, tokens, heads * 64, heads, 64, table, positions, at, 0, exec);
        });
    }
    {
        bench.begin();
        const int64_t vocab = 32000, tokens = 2048;
        float *logits = bench.take(tokens * vocab), *losses = bench.take(tokens), *scale = bench.take(1);
        const int32_t* targets = bench.take_ids(tokens, static_cast<int32_t>(vocab));
        bench.layer("cross_entropy", sizes({tokens, vocab}), static_cast<double>(tokens * vocab) * 8,
                    [&] { return horo_cross_entropy(logits, targets, tokens, vocab, losses, scale, exec); });
    }
}

void adapter(Bench& bench, int64_t tokens, int64_t dim, int64_t r) {
    bench.begin();
    const horo_exec* exec = bench.exec();
    float *x = bench.take(tokens * dim), *a = bench.take(r * dim), *b = bench.take(dim * r),
          *out = bench.take(tokens * dim), *p = bench.take(tokens * r), *dx = bench.take(tokens * dim),
          *da = bench.take(r * dim), *db = bench.take(dim * r);
    double *gram = bench.take<double>(r * r), *gain = bench.take<double>(tokens),
           *norm = bench.take<double>(tokens), *m = bench.take<double>(tokens),
           *scalars = bench.take<double>(2);
    const double* curve = bench.take_copy<double>({1, std::sqrt(static_cast<double>(dim))});  // K, s
    int64_t bytes = 0;
    ok_horo(horo_low_rank_workspace(exec, HORO_F32, HORO_HYPLORA, tokens, dim, r, dim, &bytes));
    char* workspace = bench.take<char>(bytes);
    const auto forward = [&](int32_t kind, bool training) {
        return [=] {
            if (training)  // once per update of b
                if (const int32_t status = horo_gram(exec, HORO_F32, dim, r, b, gram)) return status;
            return horo_low_rank_forward(exec, HORO_F32, kind, tokens, dim, r, dim, x, dim, a, b, gram, curve,
                                         curve + 1, 1, out, dim, p, gain, norm, m);
        };
    };
    const auto backward = [&](int32_t kind) {
        return [=] {
            return horo_low_rank_backward(exec, HORO_F32, kind, tokens, dim, r, dim, x, dim, a, b, gram,
                                          curve, curve + 1, 1, out, dim, p, norm, m, dx, dim, da, db, scalars,
                                          scalars + 1, workspace, bytes);
        };
    };
    const std::string shape = sizes({tokens, dim, r});
    const double touched = static_cast<double>(tokens * dim) * 4;
    const double lora = bench.time(forward(HORO_LORA, false));
    bench.add({"hyplora", shape, "lora", 3 * touched, bench.time(forward(HORO_HYPLORA, tokens > 1)), lora});
    const double lora_gradient = bench.time(backward(HORO_LORA));
    bench.add(
        {"hyplora gradient", shape, "lora", 4 * touched, bench.time(backward(HORO_HYPLORA)), lora_gradient});
    bench.refill();
}

struct AttentionTimes {
    double forward, backward;  // unmixed
};

// Mixed beside unmixed; in bfloat16 unmixed beside float32, too. bench/peers/attention.py has PyTorch's
// kernels.
AttentionTimes attention(Bench& bench, int32_t dtype, int64_t batch, int64_t n,
                         const AttentionTimes* single = nullptr) {
    bench.begin();
    const horo_exec* exec = bench.exec();
    const bool half = dtype == HORO_BF16;
    const int64_t heads = 12, dim = 64, size = batch * n * heads * dim;
    const auto take = [&] {
        float* numbers = bench.take(size);
        if (!half) return static_cast<void*>(numbers);
        void* stored = bench.take<uint16_t>(size);
        ok_horo(horo_convert_from_f32(numbers, dtype, stored, size, exec));
        return stored;
    };
    void *q = take(), *k = take(), *v = take(), *out = take(), *dq = take(), *dk = take(), *dv = take();
    float *alpha = bench.take(heads * heads), *dalpha = bench.take(heads * heads);
    int64_t bytes = 0;
    ok_horo(horo_attention_workspace(exec, dtype, batch, heads, heads, n, n, dim, 1, 1, &bytes));
    int64_t forward_bytes = 0;
    ok_horo(horo_attention_workspace(exec, dtype, batch, heads, heads, n, n, dim, 1, 0, &forward_bytes));
    bytes = std::max(bytes, forward_bytes);
    char* workspace = bench.take<char>(bytes);
    const int64_t token = heads * dim;
    const auto forward = [&](const float* mix) {
        return [=] {
            return horo_attention_forward(exec, dtype, batch, heads, heads, n, n, dim, q, n * token, token,
                                          dim, k, n * token, token, dim, v, n * token, token, dim, mix, 0.125,
                                          0, nullptr, out, n * token, token, dim, nullptr, workspace, bytes);
        };
    };
    const auto backward = [&](const float* mix) {
        return [=] {
            return horo_attention_backward(exec, dtype, batch, heads, heads, n, n, dim, q, n * token, token,
                                           dim, k, n * token, token, dim, v, n * token, token, dim, mix,
                                           0.125, 0, nullptr, nullptr, out, n * token, token, dim, dq, dk, dv,
                                           mix ? dalpha : nullptr, workspace, bytes);
        };
    };
    const std::string shape = sizes({batch, heads, n, dim}), type = half ? " bfloat16" : "";
    const double touched = static_cast<double>(size) * (half ? 2 : 4);
    const AttentionTimes plain{bench.time(forward(nullptr)), bench.time(backward(nullptr))};
    if (single) {
        bench.add({"attention" + type, shape, "float32", 4 * touched, plain.forward, single->forward});
        bench.add(
            {"attention gradient" + type, shape, "float32", 7 * touched, plain.backward, single->backward});
    }
    bench.add(
        {"mixed attention" + type, shape, "unmixed", 4 * touched, bench.time(forward(alpha)), plain.forward});
    bench.add({"mixed attention gradient" + type, shape, "unmixed", 7 * touched, bench.time(backward(alpha)),
               plain.backward});
    bench.refill();
    return plain;
}

// All distances of two sets of points, 1 GiB of them, and their gradient, which reads as many numbers; random
// numbers. The floor moves the bytes; the arithmetic, all of it in float64, is not in it.
void distances_and_random(Bench& bench, int64_t dim) {
    const horo_exec* exec = bench.exec();
    const int64_t n = 16384;
    bench.begin();
    float *x = bench.take(n * dim), *y = bench.take(n * dim), *g_x = bench.take(n * dim),
          *g_y = bench.take(n * dim), *out = bench.take(n * n);
    const double bytes = static_cast<double>(n * n + 2 * n * dim) * 4, c = 0.5 / static_cast<double>(dim);
    const std::string shape = sizes({n, n, dim});
    bench.layer("cdist", shape, bytes, [&] {
        return horo_cdist(HORO_POINCARE, HORO_F32, n, n, dim, x, dim, y, dim, c, 0, out, n, exec);
    });
    bench.layer("cdist gradient", shape, bytes, [&] {
        return horo_cdist_vjp(HORO_POINCARE, HORO_F32, n, n, dim, x, dim, y, dim, c, 0, out, n, g_x, dim, g_y,
                              dim, nullptr, exec);
    });
    bench.layer("normal", sizes({n * n}), static_cast<double>(n * n) * 4,
                [&] { return horo_normal(HORO_F32, n * n, 1, 7, 0, out, exec); });
}

// cuBLASLt in float32 and in bfloat16, the floor being float32.
void product(Bench& bench, int64_t n) {
    bench.begin();
    const horo_exec* exec = bench.exec();
    float *a = bench.take(n * n), *b = bench.take(n * n), *c = bench.take(n * n);
    const auto call = [&](int32_t type) {
        return [=] { return horo_gemm(0, 1, n, n, n, 1, type, a, n, type, b, n, 0, c, n, exec); };
    };
    if (call(HORO_F32)() != HORO_OK) {
        std::printf("matrix products left out: %s\n", horo_last_error());
        return;
    }
    const double touched = static_cast<double>(n * n) * 4, single = bench.time(call(HORO_F32));
    bench.add({"product float32", sizes({n, n, n}), "itself", 3 * touched, single, single});
    bench.add(
        {"product bfloat16", sizes({n, n, n}), "float32", 2 * touched, bench.time(call(HORO_BF16)), single});
    bench.refill();
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
        std::fprintf(stderr, "bench_kernels: no CUDA device: %s\n", horo_device_reason());
        return 1;
    }
    char name[256];
    ok_horo(horo_device_name(0, name, sizeof name));
    std::printf("%s, median of %d replays of %d launches\n", name, replays, launches);
    Bench bench(int64_t{3} << 30);
    for (int64_t dim : quick ? std::vector<int64_t>{4096} : std::vector<int64_t>{64, 1000, 4096, 14336})
        layers(bench, dim);
    for (int64_t dim : quick ? std::vector<int64_t>{10} : std::vector<int64_t>{2, 10, 128})
        distances_and_random(bench, dim);
    product(bench, 4096);
    for (int64_t tokens : quick ? std::vector<int64_t>{4096} : std::vector<int64_t>{1, 512, 4096, 16384})
        adapter(bench, tokens, 4096, 32);
    for (int64_t n : quick ? std::vector<int64_t>{197, 1024} : std::vector<int64_t>{197, 512, 1024, 4096}) {
        const int64_t batch = n > 1024 ? 1 : 16;
        const AttentionTimes single = attention(bench, HORO_F32, batch, n);
        attention(bench, HORO_BF16, batch, n, &single);
    }
    if (file) {
        std::FILE* json = std::fopen(file, "w");
        if (!json) {
            std::fprintf(stderr, "bench_kernels: cannot write %s\n", file);
            return 1;
        }
        std::fprintf(
            json,
            "{\"device\": \"%s\", \"version\": \"%s\", \"replays\": %d, \"launches\": %d, \"results\": [",
            name, horo_version(), replays, launches);
        for (size_t i = 0; i < bench.results.size(); ++i) {
            const Result& r = bench.results[i];
            std::fprintf(json,
                         "%s\n  {\"kernel\": \"%s\", \"shape\": \"%s\", \"bytes\": %.0f, \"seconds\": %.9g, "
                         "\"floor\": \"%s\", \"floor_seconds\": %.9g}",
                         i ? "," : "", r.kernel.c_str(), r.shape.c_str(), r.bytes, r.seconds, r.floor.c_str(),
                         r.floor_seconds);
        }
        std::fprintf(json, "\n]}\n");
        if (std::fclose(json) != 0) return 1;
    }
    return 0;
}
