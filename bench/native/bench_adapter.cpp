// HypLoRA against LoRA of the same shape, alone and on top of the frozen layer it adapts, in turns in one
// run. The Gram matrix is part of the forward call as in training, but not with a single row, as in
// generating.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "command.h"
#include "horosphere/horo.h"
#include "measure.h"

namespace {

using command::require;

const char* const usage =
    "usage: horo bench adapter [--quick] [--dim N] [--rank N] [--rows N] [--threads N] [--seconds X]\n"
    "                          [--onednn FILE] [--json FILE]\n"
    "\n"
    "Times HypLoRA on a layer of N inputs and N outputs in float32, forward and backward, in turns with what "
    "it\n"
    "is compared with (the floor): LoRA alone, and the whole layer with LoRA, that is the product with the\n"
    "frozen weight (backward: with its transpose) and LoRA. ratio = time over that of the floor, best of "
    "the\n"
    "turns; 1 is the ideal. One row is a step of generating, without a backward pass.\n"
    "\n"
    "  --quick         rank 8 and shorter turns\n"
    "  --dim N         only this dimension (repeatable); default 256, 768, 2048, 4096\n"
    "  --rank N        only this rank (repeatable); default 8, 16, 32\n"
    "  --rows N        only so many rows, i.e. tokens (repeatable); default 1, 512\n"
    "  --threads N     default 1\n"
    "  --seconds X     for the turns of each comparison, default 0.5; five turns at least\n"
    "  --onednn FILE   libdnnl.so.3 for the products with the frozen weight\n"
    "  --json FILE     writes the results there too\n";

struct Options {
    std::vector<int64_t> dims, ranks, rows;
    int threads = 1;
    double seconds = 0;
    bool quick = false;
    std::string onednn, json;
};

Options parse(int argc, char** argv) {
    Options o;
    double seconds = -1;
    command::parse(argc, argv, usage,
                   {command::set("--quick", o.quick), command::numbers("--dim", 1 << 15, o.dims),
                    command::numbers("--rank", 1 << 12, o.ranks), command::numbers("--rows", 1 << 15, o.rows),
                    command::number("--threads", 1024, o.threads), command::seconds("--seconds", seconds),
                    command::text("--onednn", o.onednn), command::text("--json", o.json)});
    if (o.dims.empty()) o.dims = {256, 768, 2048, 4096};
    if (o.ranks.empty()) o.ranks = o.quick ? std::vector<int64_t>{8} : std::vector<int64_t>{8, 16, 32};
    if (o.rows.empty()) o.rows = {1, 512};
    o.seconds = seconds >= 0 ? seconds : o.quick ? 0.1 : 0.5;
    return o;
}

struct Result {
    const char *pass, *floor;
    int64_t dim, rank, rows;
    double us, floor_us;
    double ratio() const { return us / floor_us; }
};

std::string json(const Result& r) {
    return command::format(
        "{\"bench\": \"adapter\", \"op\": \"hyplora\", \"pass\": \"%s\", \"dtype\": \"f32\", "
        "\"dim\": %lld, \"rank\": %lld, \"rows\": %lld, \"us\": %.3f, \"floor\": \"%s\", "
        "\"floor_us\": %.3f, \"ratio\": %.4f}",
        r.pass, static_cast<long long>(r.dim), static_cast<long long>(r.rank), static_cast<long long>(r.rows),
        r.us, r.floor, r.floor_us, r.ratio());
}

void write_json(const Options& o, const std::vector<Result>& results) {
    std::vector<std::string> lines;
    for (const Result& r : results) lines.push_back(json(r));
    command::write_json(o.json, o.threads, command::format("\"gemm\": \"%s\", ", horo_gemm_provider()),
                        lines);
}

// One layer with its adapter, and the calls to be timed.
struct Layer {
    horo_exec* exec;
    int64_t rows, dim, rank, bytes = 0;
    std::vector<float> x, a, b, dout, weight, out, p, dx, da, db;
    std::vector<double> gram, gain, norm, m;
    std::vector<char> workspace;
    double dK = 0, ds = 0, K = 1, s;

    Layer(horo_exec* e, int64_t n, int64_t d, int64_t r)
        : exec(e),
          rows(n),
          dim(d),
          rank(r),
          x(measure::random(n * d, 1, 1)),
          a(measure::random(r * d, 0.02f, 2)),
          b(measure::random(d * r, 0.02f, 3)),
          dout(measure::random(n * d, 1, 4)),
          weight(measure::random(d * d, 0.02f, 5)),
          out(n * d),
          p(n * r),
          dx(n * d),
          da(r * d),
          db(d * r),
          gram(r * r),
          gain(n),
          norm(n),
          m(n),
          s(std::sqrt(static_cast<double>(d))) {
        require(horo_gram(exec, HORO_F32, dim, rank, b.data(), gram.data()));
        require(horo_low_rank_workspace(exec, HORO_F32, HORO_HYPLORA, rows, dim, rank, dim, &bytes));
        workspace.resize(static_cast<size_t>(bytes));
    }

    void adapter_forward(int32_t kind) {
        if (kind == HORO_HYPLORA && rows > 1)
            require(horo_gram(exec, HORO_F32, dim, rank, b.data(), gram.data()));
        require(horo_low_rank_forward(exec, HORO_F32, kind, rows, dim, rank, dim, x.data(), dim, a.data(),
                                      b.data(), gram.data(), &K, &s, 2, out.data(), dim, p.data(),
                                      gain.data(), norm.data(), m.data()));
    }
    void adapter_backward(int32_t kind) {
        require(horo_low_rank_backward(exec, HORO_F32, kind, rows, dim, rank, dim, x.data(), dim, a.data(),
                                       b.data(), gram.data(), &K, &s, 2, dout.data(), dim, p.data(),
                                       norm.data(), m.data(), dx.data(), dim, da.data(), db.data(), &dK, &ds,
                                       workspace.data(), bytes));
    }
    void layer_forward(int32_t kind) {
        require(horo_gemm(0, 1, rows, dim, dim, 1, HORO_F32, x.data(), dim, HORO_F32, weight.data(), dim, 0,
                          out.data(), dim, exec));
        adapter_forward(kind);
    }
    void layer_backward(int32_t kind) {
        require(horo_gemm(0, 0, rows, dim, dim, 1, HORO_F32, dout.data(), dim, HORO_F32, weight.data(), dim,
                          0, dx.data(), dim, exec));
        adapter_backward(kind);
    }
};

}  // namespace

int main(int argc, char** argv) {
    command::name = "adapter";
    const Options o = parse(argc, argv);
    if (!o.onednn.empty()) require(horo_gemm_load(o.onednn.c_str()));
    write_json(o, {});  // a bad path shows now
    horo_exec* exec = nullptr;
    require(horo_exec_create(-1, o.threads, nullptr, &exec));
    std::fprintf(stderr, "%s, %d thread(s), products by %s\n", horo_cpu_isa(), o.threads,
                 horo_gemm_provider());
    std::printf("%-8s %-16s %6s %5s %6s %11s %11s %7s\n", "pass", "floor", "dim", "rank", "rows", "us",
                "floor us", "ratio");
    std::vector<Result> results;
    const auto add = [&](const Layer& l, const char* pass, const char* floor, double time,
                         double floor_time) {
        results.push_back({pass, floor, l.dim, l.rank, l.rows, time * 1e6, floor_time * 1e6});
        const Result& r = results.back();
        std::printf("%-8s %-16s %6lld %5lld %6lld %11.2f %11.2f %7.3f\n", pass, floor,
                    static_cast<long long>(r.dim), static_cast<long long>(r.rank),
                    static_cast<long long>(r.rows), r.us, r.floor_us, r.ratio());
        std::fflush(stdout);
    };
    const size_t comparisons = 2 * o.dims.size() * o.ranks.size() * o.rows.size();
    size_t done = 0;
    for (int64_t dim : o.dims)
        for (int64_t rank : o.ranks)
            for (int64_t rows : o.rows) {
                Layer l(exec, rows, dim, rank);
                for (bool whole : {false, true}) {
                    std::fprintf(stderr, "[%zu/%zu] dim %lld rank %lld rows %lld\n", ++done, comparisons,
                                 static_cast<long long>(dim), static_cast<long long>(rank),
                                 static_cast<long long>(rows));
                    const auto forward = [&](int32_t kind) {
                        whole ? l.layer_forward(kind) : l.adapter_forward(kind);
                    };
                    const auto backward = [&](int32_t kind) {
                        whole ? l.layer_backward(kind) : l.adapter_backward(kind);
                    };
                    std::vector<std::function<void()>> calls = {[&] { forward(HORO_LORA); },
                                                                [&] { forward(HORO_HYPLORA); }};
                    if (rows > 1) {
                        calls.push_back([&] { backward(HORO_LORA); });
                        calls.push_back([&] { backward(HORO_HYPLORA); });
                    }
                    const auto t = measure::interleaved(o.threads, o.seconds, calls);
                    const char* const floor = whole ? "layer with lora" : "lora";
                    add(l, "forward", floor, t[1], t[0]);
                    if (rows == 1) continue;
                    add(l, "backward", floor, t[3], t[2]);
                    add(l, "both", floor, t[1] + t[3], t[0] + t[2]);
                }
            }
    horo_exec_destroy(exec);
    write_json(o, results);
}
