// Bandwidth of the row operations against a floor that moves the same bytes in the same run: plain loads of
// as many arrays as the operation reads and non-temporal stores of as many as it writes, on as many threads,
// taking turns. In the cache the floor is a naive C loop instead.
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "command.h"
#include "horosphere/horo.h"
#include "measure.h"
#include "naive.h"

namespace {

using command::refuse;

const char* const usage =
    "usage: horo bench geometry [--quick] [--op NAME] [--dim N] [--dtype T] [--threads N] [--mib N] "
    "[--rounds N] "
    "[--json FILE]\n"
    "\n"
    "Times every row operation, forward and gradient, in f32, f64 and bf16, each in turns with a "
    "non-temporal copy\n"
    "of the same bytes on the same threads (the floor), and in the cache against naive C loops. ratio = "
    "speed over\n"
    "that of the floor; best of the rounds. Midpoints and Frechet means: sets of 16 points (geometry/sets), "
    "one large\n"
    "set (geometry/set); the mean reads its points several times, the floor once.\n"
    "\n"
    "  --quick      a few operations and dimensions, less than a minute\n"
    "  --op NAME    only operations whose name contains NAME, e.g. poincare.expmap (repeatable)\n"
    "  --dim N      only this dimension (repeatable)\n"
    "  --dtype T    only f32, f64, bf16 or f16 (repeatable)\n"
    "  --threads N  default 1\n"
    "  --mib N      size of each array, default 64\n"
    "  --rounds N   default 7\n"
    "  --json FILE  writes the results there too\n";

// ---- Options

struct Type {
    const char* name;
    int32_t code;
    int64_t bytes;
};
const Type types[] = {
    {"f32", HORO_F32, 4}, {"f64", HORO_F64, 8}, {"bf16", HORO_BF16, 2}, {"f16", HORO_F16, 2}};

struct Options {
    bool quick = false;
    std::vector<std::string> ops;
    std::vector<int64_t> dims;
    std::vector<Type> dtypes;
    int threads = 1, rounds = 7;
    int64_t mib = 64;
    std::string json;
};

Options parse(int argc, char** argv) {
    Options o;
    const auto op = [&](const std::string& value) { o.ops.push_back(value); };
    const auto mib = [&](int64_t value) { o.mib = value; };
    const auto dtype = [&](const std::string& value) {
        const auto type =
            std::find_if(std::begin(types), std::end(types), [&](const Type& t) { return t.name == value; });
        if (type == std::end(types)) refuse("--dtype: \"" + value + "\", expected f32, f64, bf16 or f16");
        o.dtypes.push_back(*type);
    };
    command::parse(argc, argv, usage,
                   {command::set("--quick", o.quick),
                    {"--op", op},
                    command::numbers("--dim", 1 << 20, o.dims),
                    {"--dtype", dtype},
                    command::number("--threads", 1024, o.threads),
                    command::number("--mib", 4096, mib),
                    command::number("--rounds", 1000, o.rounds),
                    command::text("--json", o.json)});
    if (o.dims.empty())
        o.dims = o.quick ? std::vector<int64_t>{2, 16, 128, 1024}
                         : std::vector<int64_t>{2, 3, 4, 8, 16, 33, 64, 128, 300, 1024, 4096};
    if (o.dtypes.empty()) o.dtypes.assign(types, types + (o.quick ? 1 : 3));
    return o;
}

// ---- Operations

struct Operand {
    std::string kind;
    int64_t width(int64_t dim) const { return kind == "row" ? dim : kind == "ambient" ? dim + 1 : 1; }
};

struct Operation {
    int32_t id;
    std::string name;
    bool vjp;
    std::vector<Operand> in, out;
};

std::vector<Operand> operands(const std::string& text) {
    std::vector<Operand> result;
    size_t at = 0;
    while ((at = text.find_first_not_of(' ', at)) != std::string::npos) {
        const size_t end = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        result.push_back({word.substr(word.find(':') + 1)});
        at = end;
    }
    return result;
}

bool wanted(const Options& options, const std::string& name) {
    static const char* const quick[] = {"poincare.mobius_add", "poincare.expmap", "poincare.dist",
                                        "lorentz.dist"};
    const auto asked = [&](const std::string& word) { return name.find(word) != std::string::npos; };
    const auto forward = [&](const char* word) { return name == word || name == word + std::string(".vjp"); };
    if (!options.ops.empty()) return std::any_of(options.ops.begin(), options.ops.end(), asked);
    return !options.quick || std::any_of(std::begin(quick), std::end(quick), forward);
}

std::vector<Operation> operations(const Options& options) {
    std::vector<Operation> all;
    for (int32_t id = 0; id < horo_op_count(); ++id) {
        Operation op{id, horo_op_name(id), false, {}, {}};
        const std::string signature = horo_op_signature(id);
        op.in = operands(signature.substr(0, signature.find(';')));
        op.out = operands(signature.substr(signature.find("->") + 2));
        op.vjp = op.name.size() > 4 && op.name.compare(op.name.size() - 4, 4, ".vjp") == 0;
        if (op.vjp) op.name.resize(op.name.size() - 4);
        if (wanted(options, horo_op_name(id))) all.push_back(op);
    }
    return all;
}

// Midpoints and Frechet means.
struct SetOperation {
    std::string name;
    int32_t model;
    bool frechet, vjp;
    int64_t width(int64_t dim) const { return dim + (model == HORO_LORENTZ); }
};

std::vector<SetOperation> set_operations(const Options& options) {
    std::vector<SetOperation> all;
    for (bool frechet : {false, true})
        for (int32_t model : {HORO_POINCARE, HORO_LORENTZ, HORO_KLEIN})
            for (bool vjp : {false, true}) {
                static const char* const models[] = {"poincare", "lorentz", "klein"};
                const std::string name = models[model] + std::string(frechet ? ".frechet_mean" : ".midpoint");
                if (wanted(options, name + (vjp ? ".vjp" : ""))) all.push_back({name, model, frechet, vjp});
            }
    return all;
}

// ---- Memory: allocated and filled once, used for every operation and type.

class Arrays {
  public:
    explicit Arrays(int64_t bytes) : bytes_((bytes + (1 << 21)) & -(int64_t{1} << 21)) {}
    char* get(size_t i) {
        while (arrays_.size() <= i) {
            char* p = static_cast<char*>(std::aligned_alloc(1 << 21, static_cast<size_t>(bytes_)));
            if (!p) refuse("--mib: not that much memory");
            madvise(p, static_cast<size_t>(bytes_), MADV_HUGEPAGE);
            std::memset(p, 0, static_cast<size_t>(bytes_));
            arrays_.push_back(p);
        }
        return arrays_[i];
    }
    // Numbers in (-1/2, 1/2), never tiny.
    void fill(size_t i, const Type& type) {
        char* p = get(i);
        uint32_t seed = 12345 + static_cast<uint32_t>(i);
        for (int64_t n = 0; n < bytes_ / type.bytes; ++n) {
            seed = seed * 1664525 + 1013904223;
            const float x = (static_cast<float>(seed >> 9) + 1) * 0x1p-24f * (seed & 256 ? 1.0f : -1.0f);
            if (type.code == HORO_F64) {
                const double wide = x;
                std::memcpy(p + 8 * n, &wide, 8);
            } else if (type.code == HORO_F32) {
                std::memcpy(p + 4 * n, &x, 4);
            } else {
                uint32_t bits;
                std::memcpy(&bits, &x, 4);
                const uint16_t half = type.code == HORO_BF16 ? bits >> 16 : (bits >> 16 & 0x8000) | 0x3400;
                std::memcpy(p + 2 * n, &half, 2);
            }
        }
    }

  private:
    int64_t bytes_;
    std::vector<char*> arrays_;
};

// ---- The floor

struct Part {
    char* p;
    int64_t bytes;
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) uint64_t floor_512(const std::vector<Part>& in,
                                                      const std::vector<Part>& out, int64_t from,
                                                      int64_t to) {
    __m512i sum = _mm512_setzero_si512();
    for (const Part& x : in)
        for (int64_t p = from; p < std::min(to, x.bytes & ~int64_t{63}); p += 64)
            sum = _mm512_xor_si512(sum, _mm512_load_si512(x.p + p));
    for (const Part& y : out)
        for (int64_t p = from; p < std::min(to, y.bytes & ~int64_t{63}); p += 64)
            _mm512_stream_si512(reinterpret_cast<__m512i*>(y.p + p), sum);
    return static_cast<uint64_t>(_mm512_cvtsi512_si32(sum));
}
__attribute__((target("avx2"))) uint64_t floor_256(const std::vector<Part>& in, const std::vector<Part>& out,
                                                   int64_t from, int64_t to) {
    __m256i sum = _mm256_setzero_si256();
    for (const Part& x : in)
        for (int64_t p = from; p < std::min(to, x.bytes & ~int64_t{63}); p += 32)
            sum = _mm256_xor_si256(sum, _mm256_load_si256(reinterpret_cast<const __m256i*>(x.p + p)));
    for (const Part& y : out)
        for (int64_t p = from; p < std::min(to, y.bytes & ~int64_t{63}); p += 32)
            _mm256_stream_si256(reinterpret_cast<__m256i*>(y.p + p), sum);
    return static_cast<uint64_t>(_mm256_extract_epi32(sum, 0));
}
#endif

uint64_t floor_piece(const std::vector<Part>& in, const std::vector<Part>& out, int64_t from, int64_t to) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return floor_512(in, out, from, to);
    if (__builtin_cpu_supports("avx2")) return floor_256(in, out, from, to);
#endif
    uint64_t sum = 0;
    for (const Part& x : in)
        for (int64_t p = from; p < std::min(to, x.bytes & ~int64_t{7}); p += 8) {
            uint64_t word;
            std::memcpy(&word, x.p + p, 8);
            sum ^= word;
        }
    for (const Part& y : out)
        if (from < y.bytes) std::memset(y.p + from, 0, static_cast<size_t>(std::min(to, y.bytes) - from));
    return sum;
}

volatile uint64_t sink;

void floor_pass(const std::vector<Part>& in, const std::vector<Part>& out, int threads) {
    int64_t most = 0;
    for (const Part& x : in) most = std::max(most, x.bytes);
    for (const Part& y : out) most = std::max(most, y.bytes);
    const auto share = [&](int t) {
        constexpr int64_t step = 4096;  // of each array in turn
        const int64_t pages = (most + step - 1) / step;
        uint64_t sum = 0;
        for (int64_t page = pages * t / threads; page < pages * (t + 1) / threads; ++page)
            sum ^= floor_piece(in, out, page * step, (page + 1) * step);
#if defined(__x86_64__)
        _mm_sfence();
#endif
        sink = sum;
    };
    std::vector<std::thread> helpers;
    for (int t = 1; t < threads; ++t) helpers.emplace_back(share, t);
    share(0);
    for (std::thread& helper : helpers) helper.join();
}

// ---- Results

struct Result {
    const char* bench;
    std::string op;
    const char* pass;
    const char* dtype;
    int64_t dim, rows;
    double gbps, floor_gbps;
    double ratio() const { return gbps / floor_gbps; }
};

std::string json(const Result& r) {
    return command::format(
        "{\"bench\": \"%s\", \"op\": \"%s\", \"pass\": \"%s\", \"dtype\": \"%s\", \"dim\": %lld, "
        "\"rows\": %lld, \"gbps\": %.3f, \"floor_gbps\": %.3f, \"ratio\": %.4f}",
        r.bench, r.op.c_str(), r.pass, r.dtype, static_cast<long long>(r.dim), static_cast<long long>(r.rows),
        r.gbps, r.floor_gbps, r.ratio());
}

void write_json(const Options& o, const std::vector<Result>& results) {
    std::vector<std::string> lines;
    for (const Result& r : results) lines.push_back(json(r));
    command::write_json(
        o.json, o.threads,
        command::format("\"mib\": %lld, \"rounds\": %d, ", static_cast<long long>(o.mib), o.rounds), lines);
}

void print(const Result& r) {
    std::printf("%-16s %-28s %-8s %-5s %6lld %9lld %8.2f %8.2f %7.1f%%\n", r.bench, r.op.c_str(), r.pass,
                r.dtype, static_cast<long long>(r.dim), static_cast<long long>(r.rows), r.gbps, r.floor_gbps,
                100 * r.ratio());
    std::fflush(stdout);
}

// ---- Measurements

// The curvature at which rows of the arrays lie well inside the ball; of the hyperboloid its inverse, at
// which they lie within about a radius of the origin.
double curvature(int64_t dim) { return 0.8 * 4 / static_cast<double>(dim); }
double parameter(const Operation& op, int64_t dim) {
    return op.name.rfind("lorentz.", 0) == 0 ? 1 / curvature(dim) : curvature(dim);
}

Result out_of_cache(const Options& o, Arrays& arrays, const Operation& op, const Type& type, int64_t dim,
                    horo_exec* exec) {
    const int64_t rows = (o.mib << 20) / ((dim + 1) * type.bytes);
    std::vector<Part> in, out;
    int64_t bytes = 0;
    for (const Operand& x : op.in) in.push_back({arrays.get(in.size()), rows * x.width(dim) * type.bytes});
    for (const Operand& y : op.out)
        out.push_back({arrays.get(4 + out.size()), rows * y.width(dim) * type.bytes});
    for (const Part& x : in) bytes += x.bytes;
    for (const Part& y : out) bytes += y.bytes;
    const auto run = [&] {
        const auto at = [](const std::vector<Part>& p, size_t i) { return i < p.size() ? p[i].p : nullptr; };
        const auto stride = [&](const std::vector<Operand>& p, size_t i) {
            return i < p.size() ? p[i].width(dim) : 0;
        };
        command::require(horo_row_op(op.id, type.code, rows, dim, at(in, 0), stride(op.in, 0), at(in, 1),
                                     stride(op.in, 1), at(in, 2), stride(op.in, 2), at(in, 3),
                                     stride(op.in, 3), at(out, 0), stride(op.out, 0), at(out, 1),
                                     stride(op.out, 1), at(out, 2), stride(op.out, 2), at(out, 3),
                                     stride(op.out, 3), parameter(op, dim), 0.1, 0.1, 0.1, 0.1, 0.1, exec));
    };
    const auto best = measure::rounds(o.threads, o.rounds, {run, [&] { floor_pass(in, out, o.threads); }});
    return {"geometry", op.name, op.vjp ? "vjp" : "forward", type.name,
            dim,        rows,    1e-9 * bytes / best[0],     1e-9 * bytes / best[1]};
}

// Sets of 16 points, or one of all.
Result of_sets(const Options& o, Arrays& arrays, const SetOperation& op, const Type& type, int64_t dim,
               bool one, horo_exec* exec) {
    const int64_t width = op.width(dim), points = (o.mib << 20) / (width * type.bytes);
    const int64_t k = one ? points : std::min<int64_t>(16, points), rows = points / k;
    const double c = op.model == HORO_LORENTZ ? 1 / curvature(dim) : curvature(dim);
    char *const x = arrays.get(0), *const g = arrays.get(1), *const out = arrays.get(4);
    const Part set = {x, rows * k * width * type.bytes}, row = {out, rows * width * type.bytes};
    const std::vector<Part> in = op.vjp ? std::vector<Part>{set, {g, row.bytes}} : std::vector<Part>{set};
    const std::vector<Part> to = {op.vjp ? Part{out, set.bytes} : row};
    int64_t bytes = 0;
    command::require(op.frechet ? horo_frechet_workspace(rows, k, dim, op.vjp, &bytes)
                                : horo_midpoint_workspace(rows, k, dim, &bytes));
    std::vector<double> workspace(static_cast<size_t>(bytes / 8));
    const auto run = [&] {
        void* const memory = workspace.data();
        constexpr double tolerance = 1e-6;
        constexpr int32_t most = 100;
        if (op.frechet && op.vjp)
            return horo_frechet_mean_vjp(op.model, type.code, rows, k, dim, x, k * width, width, nullptr, 0,
                                         c, tolerance, most, g, width, nullptr, out, k * width, width,
                                         nullptr, 0, nullptr, nullptr, memory, bytes, exec);
        if (op.frechet)
            return horo_frechet_mean(op.model, type.code, rows, k, dim, x, k * width, width, nullptr, 0, c,
                                     tolerance, most, out, width, nullptr, nullptr, memory, bytes, exec);
        if (op.vjp)
            return horo_midpoint_vjp(op.model, type.code, rows, k, dim, x, k * width, width, nullptr, 0, c, g,
                                     width, out, k * width, width, nullptr, 0, nullptr, memory, bytes, exec);
        return horo_midpoint(op.model, type.code, rows, k, dim, x, k * width, width, nullptr, 0, c, out,
                             width, memory, bytes, exec);
    };
    const auto best = measure::rounds(
        o.threads, o.rounds, {[&] { command::require(run()); }, [&] { floor_pass(in, to, o.threads); }});
    const double moved = 1e-9 * static_cast<double>(set.bytes + (op.vjp ? set.bytes : 0) + row.bytes);
    return {one ? "geometry/set" : "geometry/sets",
            op.name,
            op.vjp ? "vjp" : "forward",
            type.name,
            dim,
            rows,
            moved / best[0],
            moved / best[1]};
}

struct Naive {
    const char* name;
    void (*run)(int64_t, int64_t, const float*, const float*, float*, float);
};
const Naive naive[] = {{"poincare.mobius_add", naive_mobius_add},
                       {"poincare.expmap", naive_expmap},
                       {"poincare.logmap", naive_logmap},
                       {"poincare.dist", naive_dist},
                       {"poincare.egrad2rgrad", naive_egrad2rgrad}};

// Three arrays of 128 KiB.
Result in_cache(const Options& o, Arrays& arrays, const Operation& op, const Naive& peer, int64_t dim) {
    const int64_t rows = std::max<int64_t>(1, (128 << 10) / (dim * 4)), out_width = op.out[0].width(dim);
    const float *x = reinterpret_cast<float*>(arrays.get(0)), *y = reinterpret_cast<float*>(arrays.get(1));
    float* out = reinterpret_cast<float*>(arrays.get(4));
    const double c = curvature(dim);
    constexpr int repeats = 20;
    const auto best = measure::rounds(1, o.rounds,
                                      {[&] {
                                           for (int i = 0; i < repeats; ++i)
                                               horo_row_op(op.id, HORO_F32, rows, dim, x, dim, y, dim,
                                                           nullptr, 0, nullptr, 0, out, out_width, nullptr, 0,
                                                           nullptr, 0, nullptr, 0, c, 0, 0, 0, 0, 0, nullptr);
                                       },
                                       [&] {
                                           for (int i = 0; i < repeats; ++i)
                                               peer.run(rows, dim, x, y, out, static_cast<float>(c));
                                       }});
    const double bytes = 1e-9 * repeats * 4 * static_cast<double>(rows * (2 * dim + out_width));
    return {"geometry/cache", op.name, "forward", "f32", dim, rows, bytes / best[0], bytes / best[1]};
}

}  // namespace

int main(int argc, char** argv) {
    command::name = "geometry";
    const Options o = parse(argc, argv);
    const std::vector<Operation> ops = operations(o);
    const std::vector<SetOperation> sets = set_operations(o);
    if (ops.empty() && sets.empty()) refuse("--op: no operation's name contains \"" + o.ops[0] + "\"");
    write_json(o, {});  // a bad path shows now
    horo_exec* exec = nullptr;
    command::require(horo_exec_create(-1, o.threads, nullptr, &exec));
    Arrays arrays(o.mib << 20);
    std::vector<Result> results;
    size_t done = 0;
    const size_t points = (ops.size() + sets.size()) * o.dtypes.size() * o.dims.size();
    const auto progress = [&](const std::string& name, bool vjp, const char* type, int64_t dim) {
        std::fprintf(stderr, "[%zu/%zu] %s%s %s dim %lld\n", ++done, points, name.c_str(), vjp ? ".vjp" : "",
                     type, static_cast<long long>(dim));
    };
    const auto keep = [&](const Result& result) {
        results.push_back(result);
        print(result);
    };
    std::printf("%-16s %-28s %-8s %-5s %6s %9s %8s %8s %8s\n", "bench", "operation", "pass", "dtype", "dim",
                "rows", "GB/s", "floor", "ratio");
    for (const Type& type : o.dtypes) {
        for (size_t i = 0; i < 4; ++i) arrays.fill(i, type);
        for (const Operation& op : ops)
            for (int64_t dim : o.dims) {
                progress(op.name, op.vjp, type.name, dim);
                keep(out_of_cache(o, arrays, op, type, dim, exec));
                for (const Naive& peer : naive)
                    if (type.code == HORO_F32 && !op.vjp && op.name == peer.name && dim <= 4096)
                        keep(in_cache(o, arrays, op, peer, dim));
            }
        for (const SetOperation& op : sets)
            for (int64_t dim : o.dims) {
                progress(op.name, op.vjp, type.name, dim);
                for (bool one : {false, true}) keep(of_sets(o, arrays, op, type, dim, one, exec));
            }
    }
    horo_exec_destroy(exec);
    write_json(o, results);
    return 0;
}
