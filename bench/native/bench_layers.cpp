// Each memory-bound layer against a plain copy that moves the same bytes, and matrix products in GFLOP/s.
// One line per case: the best of several rounds.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "command.h"
#include "horosphere/horo.h"

namespace {

const char* const usage =
    "usage: horo bench layers [--quick] [--op NAME] [--threads N] [--onednn FILE] [--json FILE]\n"
    "\n"
    "Times the layers of a transformer in float32, each with a plain copy of the bytes it must move (the "
    "floor),\n"
    "once in the cache and once from memory, and matrix products. ratio = speed over that of the copy; best "
    "of the rounds.\n"
    "\n"
    "  --quick        64 rows and two shapes of products\n"
    "  --op NAME      only operations whose name contains NAME, e.g. rmsnorm or gemm (repeatable)\n"
    "  --threads N    default all cores; one is timed in processor time\n"
    "  --onednn FILE  libdnnl.so.3: its products too\n"
    "  --json FILE    writes the results there too\n";

struct Options {
    bool quick = false;
    std::vector<std::string> ops;
    std::string onednn, json;
    int threads = 0;
} options;

horo_exec* exec = nullptr;
std::vector<std::string> results;
bool counting = false;  // how many cases there will be, without running one
size_t cases = 0, done = 0;

bool wanted(const std::string& op) {
    for (const std::string& part : options.ops)
        if (op.find(part) != std::string::npos) return true;
    return options.ops.empty();
}

// Whether to time a case; says on standard error that it begins.
bool begins(const std::string& op) {
    if (!wanted(op)) return false;
    if (counting) {
        ++cases;
        return false;
    }
    std::fprintf(stderr, "[%zu/%zu] %s\n", ++done, cases, op.c_str());
    return true;
}

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
void layer(const char* name, const char* pass, int64_t rows, int64_t dim, double bytes, Call&& call) {
    const std::string op = std::string(name) + (*pass ? std::string("_") + pass : "");
    if (!begins(op)) return;
    const int64_t n = static_cast<int64_t>(bytes) / 8;  // a copy reads and writes
    const std::vector<float> from = filled(n);
    std::vector<float> to(static_cast<size_t>(n));
    const double seconds = best(call);
    const double copy = best([&] { horo_convert_to_f32(HORO_F32, from.data(), to.data(), n, exec); });
    std::printf("%-24s %9.1f us %7.1f GB/s  copy %7.1f GB/s  %5.1f %% of a copy\n", op.c_str(), seconds * 1e6,
                bytes / seconds * 1e-9, bytes / copy * 1e-9, 100 * copy / seconds);
    results.push_back(command::format(
        "{\"bench\": \"layers\", \"op\": \"%s\", \"pass\": \"%s\", \"dtype\": \"f32\", \"dim\": %lld, "
        "\"rows\": "
        "%lld, \"gbps\": %.3f, \"floor_gbps\": %.3f, \"ratio\": %.4f}",
        name, *pass ? pass : "forward", static_cast<long long>(dim), static_cast<long long>(rows),
        bytes / seconds * 1e-9, bytes / copy * 1e-9, copy / seconds));
}

void layers(int64_t rows, int64_t dim) {
    const int64_t n = rows * dim, vocab = 16 * dim, tokens = rows / 16;
    const double element = 4.0 * static_cast<double>(n);
    if (!counting) std::printf("# %ld x %ld float32\n", static_cast<long>(rows), static_cast<long>(dim));
    std::vector<float> x = filled(n), y = filled(n), z = filled(n), u = filled(n), v = filled(n);
    std::vector<float> weight = filled(dim), dweight = filled(dim), rstd = filled(rows);
    layer("rmsnorm", "forward", rows, dim, 2 * element, [&] {
        horo_rmsnorm_forward(x.data(), weight.data(), 1e-5, rows, dim, y.data(), rstd.data(), exec);
    });
    layer("rmsnorm", "backward", rows, dim, 4 * element, [&] {
        horo_rmsnorm_backward(x.data(), y.data(), weight.data(), rstd.data(), rows, dim, z.data(), nullptr,
                              exec);
    });
    layer("rmsnorm", "backward+dw", rows, dim, 4 * element, [&] {
        horo_rmsnorm_backward(x.data(), y.data(), weight.data(), rstd.data(), rows, dim, z.data(),
                              dweight.data(), exec);
    });
    const std::vector<float> mean = filled(rows);
    std::vector<float> dbias = filled(dim);
    layer("layernorm", "forward", rows, dim, 2 * element, [&] {
        horo_layernorm_forward(x.data(), weight.data(), weight.data(), 1e-5, rows, dim, y.data(), nullptr,
                               rstd.data(), exec);
    });
    layer("layernorm", "backward", rows, dim, 4 * element, [&] {
        horo_layernorm_backward(x.data(), y.data(), weight.data(), mean.data(), rstd.data(), rows, dim,
                                z.data(), nullptr, nullptr, exec);
    });
    layer("layernorm", "backward+dw,db", rows, dim, 4 * element, [&] {
        horo_layernorm_backward(x.data(), y.data(), weight.data(), mean.data(), rstd.data(), rows, dim,
                                z.data(), dweight.data(), dbias.data(), exec);
    });
    const int64_t head_dim = 64;
    std::vector<float> cos_sin(rows * head_dim, 0.5f);
    std::vector<int32_t> ids(rows);
    for (int64_t t = 0; t < rows; ++t) ids[t] = static_cast<int32_t>(t);
    layer("rope", "", rows, dim, 2 * element, [&] {
        horo_rope(x.data(), rows, dim, dim / head_dim, head_dim, cos_sin.data(), rows, ids.data(), 0, exec);
    });
    x = filled(n);
    layer("swiglu", "forward", rows, dim, 3 * element,
          [&] { horo_swiglu_forward(x.data(), y.data(), z.data(), n, exec); });
    layer("swiglu", "backward", rows, dim, 5 * element,
          [&] { horo_swiglu_backward(x.data(), y.data(), z.data(), u.data(), v.data(), n, exec); });
    layer("geglu", "forward", rows, dim, 3 * element,
          [&] { horo_geglu_forward(x.data(), y.data(), z.data(), n, exec); });
    layer("geglu", "backward", rows, dim, 5 * element,
          [&] { horo_geglu_backward(x.data(), y.data(), z.data(), u.data(), v.data(), n, exec); });
    layer("gelu", "forward", rows, dim, 2 * element, [&] { horo_gelu_forward(x.data(), z.data(), n, exec); });
    layer("gelu", "backward", rows, dim, 3 * element,
          [&] { horo_gelu_backward(x.data(), y.data(), z.data(), n, exec); });
    layer("bias_add", "", rows, dim, 2 * element,
          [&] { horo_bias_add(weight.data(), rows, dim, z.data(), exec); });
    layer("bias_grad", "", rows, dim, element,
          [&] { horo_bias_grad(x.data(), rows, dim, dweight.data(), exec); });
    layer("embedding", "forward", rows, dim, 2 * element,
          [&] { horo_embedding_forward(ids.data(), HORO_F32, x.data(), rows, rows, dim, z.data(), exec); });
    layer("embedding", "backward", rows, dim, 3 * element,
          [&] { horo_embedding_backward(ids.data(), x.data(), rows, rows, dim, z.data(), exec); });
    for (int64_t t = 0; t < rows; ++t) ids[t] = static_cast<int32_t>(t % 7);
    const float one = 1;
    layer("cross_entropy", "", tokens, vocab, element,
          [&] { horo_cross_entropy(x.data(), ids.data(), tokens, vocab, rstd.data(), nullptr, exec); });
    layer("cross_entropy+gradient", "", tokens, vocab, 2 * element,
          [&] { horo_cross_entropy(x.data(), ids.data(), tokens, vocab, rstd.data(), &one, exec); });
    layer("add", "", rows, dim, 3 * element, [&] { horo_add(x.data(), y.data(), z.data(), n, exec); });
    layer("axpy", "", rows, dim, 3 * element, [&] { horo_axpy(1e-9, x.data(), y.data(), n, exec); });
    layer("scale", "", rows, dim, 2 * element, [&] { horo_scale(1, x.data(), n, exec); });
    layer("sum_squares", "", rows, dim, element, [&] { horo_sum_squares(x.data(), n, exec); });
    layer("adamw", "", rows, dim, 7 * element, [&] {
        horo_adamw(x.data(), y.data(), z.data(), u.data(), n, 1e-9, 0.9, 0.999, 1e-8, 0, 10, 1, exec);
    });
    layer("convert bf16 to f32", "", rows, dim, 1.5 * element,
          [&] { horo_convert_to_f32(HORO_BF16, x.data(), y.data(), n, exec); });
    layer("convert f16 to f32", "", rows, dim, 1.5 * element,
          [&] { horo_convert_to_f32(HORO_F16, x.data(), y.data(), n, exec); });
    layer("convert f32 to bf16", "", rows, dim, 1.5 * element,
          [&] { horo_convert_from_f32(x.data(), HORO_BF16, y.data(), n, exec); });
    layer("convert f32 to f16", "", rows, dim, 1.5 * element,
          [&] { horo_convert_from_f32(x.data(), HORO_F16, y.data(), n, exec); });
}

void products(int32_t type, const char* dtype) {
    using Shape = std::vector<int64_t>;
    const std::vector<Shape> all = {
        {1, 1, 16},       {1, 64, 64},       {8, 8, 8},         {32, 32, 32},
        {512, 128, 128},  {512, 2048, 2048}, {512, 5632, 2048}, {512, 2048, 5632},
        {512, 8, 2048},   {512, 2048, 8},    {8, 2048, 512},    {8, 2048, 2048},
        {32, 2048, 2048}, {1, 2048, 2048},   {1, 5632, 2048},   {64, 32000, 2048}};
    const std::vector<Shape> few = {{8, 8, 8}, {512, 2048, 2048}};
    const std::string op = std::string("gemm_") + dtype;
    const char* const provider = type == HORO_F32 ? horo_gemm_provider() : "built-in";
    for (int32_t trans_b : {1, 0}) {
        if (wanted(op) && !counting)
            std::printf("# C(m,n) = A(m,k) B%s, B stored as %s, with %s\n", trans_b ? "(n,k)'" : "(k,n)",
                        dtype, provider);
        for (const Shape& s : options.quick ? few : all) {
            if (!begins(op)) continue;
            const std::vector<float> a = filled(s[0] * s[2]), b = filled(s[1] * s[2]);
            std::vector<float> c(static_cast<size_t>(s[0] * s[1]));
            const double seconds = best([&] {
                horo_gemm(0, trans_b, s[0], s[1], s[2], 1, HORO_F32, a.data(), s[2], type, b.data(),
                          trans_b ? s[2] : s[1], 0, c.data(), s[1], exec);
            });
            const double flops =
                2.0 * static_cast<double>(s[0]) * static_cast<double>(s[1]) * static_cast<double>(s[2]);
            const long m = static_cast<long>(s[0]), n = static_cast<long>(s[1]), k = static_cast<long>(s[2]);
            std::printf("%5ld x %5ld x %5ld %12.2f us %8.1f GFLOP/s\n", m, n, k, seconds * 1e6,
                        flops / seconds * 1e-9);
            results.push_back(command::format(
                "{\"bench\": \"products\", \"op\": \"gemm\", \"pass\": \"forward\", \"dtype\": \"%s\", "
                "\"dim\": %ld, "
                "\"rows\": %ld, \"columns\": %ld, \"transposed\": %s, \"provider\": \"%s\", \"gflops\": "
                "%.2f}",
                dtype, k, m, n, trans_b ? "true" : "false", provider, flops / seconds * 1e-9));
        }
    }
}

void all(bool onednn) {
    if (!onednn) {
        layers(counting ? 16 : 64, counting ? 64 : 2048);
        if (!options.quick) layers(counting ? 16 : 4096, counting ? 64 : 2048);
        products(HORO_BF16, "bf16");
    }
    products(HORO_F32, "f32");
}

}  // namespace

int main(int argc, char** argv) {
    command::name = "layers";
    command::parse(argc, argv, usage,
                   {command::set("--quick", options.quick),
                    command::number("--threads", 1024, options.threads),
                    command::text("--onednn", options.onednn),
                    command::text("--json", options.json),
                    {"--op", [](const std::string& value) { options.ops.push_back(value); }}});
    command::require(horo_exec_create(-1, options.threads, nullptr, &exec));
    const int threads = horo_exec_threads(exec);
    command::write_json(options.json, threads, "", {});  // a bad path shows now
    counting = true;
    all(false);
    if (!options.onednn.empty()) all(true);
    counting = false;
    if (cases == 0) command::refuse("--op: no operation has that in its name");
    std::printf("# %s, %d threads\n", horo_cpu_isa(), threads);
    all(false);
    if (!options.onednn.empty()) {
        command::require(horo_gemm_load(options.onednn.c_str()));
        all(true);
    }
    horo_exec_destroy(exec);
    command::write_json(options.json, threads, "", results);
    return 0;
}
