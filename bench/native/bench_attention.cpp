// Attention with and without mixed maps, forward and backward, by the same kernel in turns: the price of the
// mix, and the rate over the products that have to be made.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "horosphere/horo.h"
#include "measure.h"

namespace {

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

[[noreturn]] void refuse(const std::string& what) {
    std::fprintf(stderr, "horo bench attention: %s (see --help)\n", what.c_str());
    std::exit(2);
}

struct Options {
    std::vector<int64_t> heads, dims, tokens;
    std::string mask, json;
    int threads = 1, rounds = 5;
};

int64_t number(const std::string& flag, const char* text, int64_t most) {
    char* end;
    const long long n = std::strtoll(text, &end, 10);
    if (*end || end == text || n < 1 || n > most)
        refuse(flag + ": \"" + text + "\", expected a number from 1 to " + std::to_string(most));
    return n;
}

Options parse(int argc, char** argv) {
    Options o;
    bool quick = false;
    for (int i = 1; i < argc; ++i) {
        const std::string flag = argv[i];
        if (flag == "--help" || flag == "-h") {
            std::fputs(usage, stdout);
            std::exit(0);
        }
        if (flag == "--quick") {
            quick = true;
            continue;
        }
        const char* const known[] = {"--heads",   "--dim",    "--tokens", "--mask",
                                     "--threads", "--rounds", "--json"};
        if (std::find(std::begin(known), std::end(known), flag) == std::end(known))
            refuse("unknown option \"" + flag + "\"");
        if (++i == argc) refuse(flag + ": value missing");
        const char* value = argv[i];
        if (flag == "--heads") o.heads.push_back(number(flag, value, 128));
        if (flag == "--dim") o.dims.push_back(number(flag, value, 1024));
        if (flag == "--tokens") o.tokens.push_back(number(flag, value, 65536));
        if (flag == "--threads") o.threads = static_cast<int>(number(flag, value, 1024));
        if (flag == "--rounds") o.rounds = static_cast<int>(number(flag, value, 1000));
        if (flag == "--json") o.json = value;
        if (flag == "--mask") o.mask = value;
        if (flag == "--mask" && o.mask != "full" && o.mask != "causal")
            refuse(flag + ": \"" + value + "\", expected full or causal");
    }
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

void require(int32_t status) {
    if (status == HORO_OK) return;
    std::fprintf(stderr, "horo bench attention: %s\n", horo_last_error());
    std::exit(1);
}

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

void write_json(const Options& o, double peak, const std::vector<Result>& results) {
    FILE* file = std::fopen(o.json.c_str(), "w");
    if (!file) refuse("--json: cannot write \"" + o.json + "\"");
    std::fprintf(file,
                 "{\"cores\": %u, \"isa\": \"%s\", \"threads\": %d, \"rounds\": %d, \"version\": \"%s\", "
                 "\"peak_gflops\": %.1f, \"results\": [",
                 std::thread::hardware_concurrency(), horo_cpu_isa(), o.threads, o.rounds, horo_version(),
                 1e-9 * peak);
    const char* comma = "";
    for (const Result& r : results) {
        std::fprintf(
            file,
            "%s\n{\"bench\": \"attention\", \"op\": \"%s %s\", \"pass\": \"%s\", \"dtype\": \"f32\", "
            "\"dim\": %lld, \"rows\": %lld, \"heads\": %lld, \"batch\": %lld, \"causal\": %s, "
            "\"mixed\": %s, \"seconds\": %.9f, \"gflops\": %.3f, \"floor\": \"%s\", ",
            comma, r.mixed ? "mixed" : "plain", name(r.of).c_str(), r.backward ? "backward" : "forward",
            static_cast<long long>(r.of.dim), static_cast<long long>(r.of.tokens),
            static_cast<long long>(r.of.heads), static_cast<long long>(r.of.batch),
            r.of.causal ? "true" : "false", r.mixed ? "true" : "false", r.seconds, r.gflops, floor_of(r));
        if (r.floor_seconds > 0)
            std::fprintf(file, "\"floor_seconds\": %.9f, \"ratio\": %.4f}", r.floor_seconds, r.ratio());
        else
            std::fprintf(file, "\"floor_seconds\": null, \"ratio\": null}");  // no peak on this machine
        comma = ",";
    }
    std::fprintf(file, "\n]}\n");
    if (std::fclose(file) != 0) refuse("--json: cannot write \"" + o.json + "\"");
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
    const Options o = parse(argc, argv);
    if (!o.json.empty()) write_json(o, 0, {});  // a bad path shows now
    horo_exec* exec = nullptr;
    if (horo_exec_create(-1, o.threads, nullptr, &exec) != HORO_OK) refuse(horo_last_error());
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
    if (!o.json.empty()) write_json(o, peak, results);
    return 0;
}
