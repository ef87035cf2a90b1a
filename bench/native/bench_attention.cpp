// Attention with and without mixed maps, forward and backward, by the same kernel in turns: the price of the
// mix, and the rate over the products that have to be made.
#include <algorithm>
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
    "usage: horo bench attention [--quick] [--heads N] [--dim N] [--tokens N] [--mask M] [--threads N]\n"
    "                            [--rounds N] [--json FILE]\n"
    "\n"
    "Times float32 attention, forward and backward, plain and with maps mixed over the heads, in turns.\n"
    "ratio = time over that of what `floor` names: for mixed maps the same kernel without the mix, for "
    "plain\n"
    "ones their multiply-adds at the rate the machine reaches without memory. Best of the rounds.\n"
    "\n"
    "  --quick      8 and 32 heads of 64, 197 and 1024 tokens\n"
    "  --heads N    only this number of heads (repeatable); default 8, 12, 32\n"
    "  --dim N      only this size of a head (repeatable); default 64, 128\n"
    "  --tokens N   only this number of queries and keys (repeatable); default 197, 1024, 4096\n"
    "  --mask M     full or causal; default full up to 512 tokens, causal above\n"
    "  --threads N  default 1, timed in processor time; more are timed by the clock\n"
    "  --rounds N   default 5\n"
    "  --json FILE  writes the results there too\n";

struct Options {
    std::vector<int64_t> heads, dims, tokens;
    std::string mask, json;
    int threads = 1, rounds = 5;
};

Options parse(int argc, char** argv) {
    Options o;
    bool quick = false;
    const auto mask = [&](const std::string& value) {
        if (value != "full" && value != "causal")
            command::refuse("--mask: \"" + value + "\", expected full or causal");
        o.mask = value;
    };
    command::parse(argc, argv, usage,
                   {command::set("--quick", quick),
                    command::numbers("--heads", 128, o.heads),
                    command::numbers("--dim", 1024, o.dims),
                    command::numbers("--tokens", 65536, o.tokens),
                    command::number("--threads", 1024, o.threads),
                    command::number("--rounds", 1000, o.rounds),
                    command::text("--json", o.json),
                    {"--mask", mask}});
    using List = std::vector<int64_t>;
    if (o.heads.empty()) o.heads = quick ? List{8, 32} : List{8, 12, 32};
    if (o.dims.empty()) o.dims = quick ? List{64} : List{64, 128};
    if (o.tokens.empty()) o.tokens = quick ? List{197, 1024} : List{197, 1024, 4096};
    return o;
}

struct Case {
    int64_t batch, heads, dim, tokens;
    bool causal;
};

struct Result {
    Case of;
    bool backward, mixed;
    double seconds, gflops, floor_seconds;
    double ratio() const { return floor_seconds > 0 ? seconds / floor_seconds : 0; }
};

std::vector<Result> run(const Case& c, const Options& o, const horo_exec* exec, double peak) {
    const int64_t count = c.batch * c.tokens * c.heads * c.dim, row = c.heads * c.dim, item = c.tokens * row;
    const auto q = measure::random(count, 2, 1), k = measure::random(count, 2, 2),
               v = measure::random(count, 1, 3), dout = measure::random(count, 1, 4),
               alpha = measure::random(c.heads * c.heads, 0.1f, 5);
    std::vector<float> out(q.size()), dq(q.size()), dk(q.size()), dv(q.size()), dalpha(alpha.size()),
        lse(static_cast<size_t>(c.batch * c.heads * c.tokens));
    int64_t most = 0;
    for (int32_t mixed : {0, 1})
        for (int32_t backward : {0, 1}) {
            int64_t bytes = 0;
            require(horo_attention_workspace(exec, HORO_F32, c.batch, c.heads, c.heads, c.tokens, c.tokens,
                                             c.dim, mixed, backward, &bytes));
            most = std::max(most, bytes);
        }
    std::vector<char> workspace(static_cast<size_t>(most));
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    const auto forward = [&](const float* mix) {
        require(horo_attention_forward(exec, HORO_F32, c.batch, c.heads, c.heads, c.tokens, c.tokens, c.dim,
                                       q.data(), item, row, c.dim, k.data(), item, row, c.dim, v.data(), item,
                                       row, c.dim, mix, scale, c.causal, nullptr, out.data(), item, row,
                                       c.dim, lse.data(), workspace.data(), most));
    };
    const auto backward = [&](const float* mix) {
        require(horo_attention_backward(exec, HORO_F32, c.batch, c.heads, c.heads, c.tokens, c.tokens, c.dim,
                                        q.data(), item, row, c.dim, k.data(), item, row, c.dim, v.data(),
                                        item, row, c.dim, mix, scale, c.causal, nullptr, lse.data(),
                                        dout.data(), item, row, c.dim, dq.data(), dk.data(), dv.data(),
                                        mix ? dalpha.data() : nullptr, workspace.data(), most));
    };
    const auto t = measure::rounds(o.threads, o.rounds,
                                   {[&] { forward(nullptr); }, [&] { forward(alpha.data()); },
                                    [&] { backward(nullptr); }, [&] { backward(alpha.data()); }});
    double pairs = static_cast<double>(c.batch * c.tokens) * static_cast<double>(c.tokens);
    if (c.causal) pairs = pairs / 2 + static_cast<double>(c.batch * c.tokens) / 2;
    const double h = static_cast<double>(c.heads), d = static_cast<double>(c.dim);
    std::vector<Result> results;
    for (size_t i = 0; i < 4; ++i) {
        const bool back = i >= 2, mixed = i % 2;
        const double plain = pairs * (back ? 10 : 4) * d * h;
        const double flops = plain + (mixed ? pairs * (back ? 6 : 2) * h * h : 0);
        results.push_back({c, back, mixed, t[i], 1e-9 * flops / t[i],
                           mixed      ? t[i - 1]
                           : peak > 0 ? plain / peak
                                      : 0});
    }
    return results;
}

const char* floor_of(const Result& r) {
    return r.mixed ? "plain attention by the same kernel" : "multiply-adds at peak";
}

std::string name(const Case& c) {
    return (c.causal ? "causal b" : "full b") + std::to_string(c.batch) + " h" + std::to_string(c.heads);
}

std::string json(const Result& r) {
    const std::string text = command::format(
        "{\"bench\": \"attention\", \"op\": \"%s %s\", \"pass\": \"%s\", \"dtype\": \"f32\", "
        "\"dim\": %lld, \"rows\": %lld, \"heads\": %lld, \"batch\": %lld, \"causal\": %s, "
        "\"mixed\": %s, \"seconds\": %.9f, \"gflops\": %.3f, \"floor\": \"%s\", ",
        r.mixed ? "mixed" : "plain", name(r.of).c_str(), r.backward ? "backward" : "forward",
        static_cast<long long>(r.of.dim), static_cast<long long>(r.of.tokens),
        static_cast<long long>(r.of.heads), static_cast<long long>(r.of.batch),
        r.of.causal ? "true" : "false", r.mixed ? "true" : "false", r.seconds, r.gflops, floor_of(r));
    if (!(r.floor_seconds > 0))  // no peak on this machine
        return text + "\"floor_seconds\": null, \"ratio\": null}";
    return text + command::format("\"floor_seconds\": %.9f, \"ratio\": %.4f}", r.floor_seconds, r.ratio());
}

void write_json(const Options& o, double peak, const std::vector<Result>& results) {
    std::vector<std::string> lines;
    for (const Result& r : results) lines.push_back(json(r));
    command::write_json(o.json, o.threads,
                        command::format("\"rounds\": %d, \"peak_gflops\": %.1f, ", o.rounds, 1e-9 * peak),
                        lines);
}

void print(const Result& r) {
    std::printf("%-5s %-16s %-8s %5lld %7lld %11.3f %9.1f", r.mixed ? "mixed" : "plain", name(r.of).c_str(),
                r.backward ? "backward" : "forward", static_cast<long long>(r.of.dim),
                static_cast<long long>(r.of.tokens), 1e3 * r.seconds, r.gflops);
    if (r.floor_seconds > 0) std::printf(" %7.3f", r.ratio());
    std::printf("  %s\n", floor_of(r));
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    command::name = "attention";
    const Options o = parse(argc, argv);
    write_json(o, 0, {});  // a bad path shows now
    horo_exec* exec = nullptr;
    require(horo_exec_create(-1, o.threads, nullptr, &exec));
    const double peak = measure::peak_flops() * o.threads;
    std::vector<Result> results;
    size_t done = 0;
    const size_t points = o.heads.size() * o.dims.size() * o.tokens.size();
    std::printf("%-5s %-16s %-8s %5s %7s %11s %9s %7s  floor\n", "maps", "case", "pass", "dim", "tokens",
                "ms", "GFLOP/s", "ratio");
    for (int64_t heads : o.heads)
        for (int64_t dim : o.dims)
            for (int64_t tokens : o.tokens) {
                std::fprintf(stderr, "[%zu/%zu] %lld heads of %lld, %lld tokens\n", ++done, points,
                             static_cast<long long>(heads), static_cast<long long>(dim),
                             static_cast<long long>(tokens));
                const bool causal = o.mask.empty() ? tokens > 512 : o.mask == "causal";
                const int64_t batch = tokens <= 256 && heads < 32 ? 8 : 1;
                for (const Result& r : run({batch, heads, dim, tokens, causal}, o, exec, peak)) {
                    results.push_back(r);
                    print(r);
                }
            }
    horo_exec_destroy(exec);
    write_json(o, peak, results);
    return 0;
}
