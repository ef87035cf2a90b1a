// Every row operation on a CUDA device against the CPU engine, through the C ABI; exits with 77 (skipped)
// where there is no device. --quick: small shapes only, for compute-sanitizer.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"
#include "storage.h"

namespace {

void ok(int32_t status) {
    if (status == HORO_OK) return;
    std::fprintf(stderr, "status %d: %s\n", status, horo_last_error());
    std::exit(1);
}

struct Operation {
    int32_t id;
    std::string name;
    std::vector<char> in, out;  // first letters of the kinds
    int params;
};

Operation describe(int32_t id) {
    Operation op{id, horo_op_name(id), {}, {}, 0};
    const std::string s = horo_op_signature(id);
    int part = 0;
    for (size_t at = 0; at < s.size();) {
        size_t end = s.find_first_of(" ;", at);
        if (end == std::string::npos) end = s.size();
        const std::string word = s.substr(at, end - at);
        const size_t colon = word.find(':');
        if (word == "->")
            part = 2;
        else if (!word.empty() && part == 1)
            ++op.params;
        else if (!word.empty())
            (part ? op.out : op.in).push_back(word[colon + 1]);
        if (end < s.size() && s[end] == ';') part = 1;
        at = end + 1;
    }
    return op;
}

int64_t width(char kind, int64_t dim) { return kind == 'r' ? dim : kind == 'a' ? dim + 1 : 1; }

struct Gpu {
    horo_exec* exec = nullptr;
    void* stream = nullptr;
};

constexpr double canary = 12345;

// The same batch on both, padded and offset alike; twice on the device, which must give the same bits.
template <class Stored>
void compare(const Gpu& gpu, const Operation& op, int64_t rows, int64_t dim, int64_t pad, int64_t offset,
             bool in_place) {
    using T = typename Stored::Element;
    const T around = Stored::put(canary);
    std::mt19937 random(11);
    std::uniform_real_distribution<double> uniform(-1, 1);
    std::vector<std::vector<T>> in, want, got;
    std::vector<void*> device_in, device_out;
    const auto elements = [&](char kind) { return offset + rows * (width(kind, dim) + pad) + 4; };
    const void* ip[2][4] = {};
    void* outs[2][4] = {};
    int64_t is[4] = {}, os[4] = {};
    for (size_t i = 0; i < op.in.size(); ++i) {
        const int64_t w = width(op.in[i], dim), stride = w + pad;
        in.emplace_back(elements(op.in[i]), around);
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t j = 0; j < w; ++j) {
                double v = uniform(random) / (2 * std::sqrt(static_cast<double>(dim)));
                if (op.in[i] == 's' || (op.in[i] == 'a' && j == 0)) v = 0.5 + uniform(random) / 4;
                in[i][offset + r * stride + j] = Stored::put(v);
            }
        void* p = nullptr;
        ok(horo_device_allocate(0, in[i].size() * sizeof(T), &p));
        ok(horo_device_copy(0, p, in[i].data(), in[i].size() * sizeof(T), gpu.stream));
        device_in.push_back(p);
        ip[0][i] = in[i].data() + offset;
        ip[1][i] = static_cast<T*>(p) + offset;
        is[i] = stride;
    }
    for (size_t j = 0; j < op.out.size(); ++j) {
        want.emplace_back(elements(op.out[j]), around);
        got.push_back(want[j]);
        void* p = nullptr;
        ok(horo_device_allocate(0, want[j].size() * sizeof(T), &p));
        ok(horo_device_copy(0, p, want[j].data(), want[j].size() * sizeof(T), gpu.stream));
        device_out.push_back(p);
        outs[0][j] = want[j].data() + offset;
        outs[1][j] = static_cast<T*>(p) + offset;
        os[j] = width(op.out[j], dim) + pad;
    }
    const double p[6] = {0.7, 0.7, 0.7, 0.7, 0.7, 0.7};
    const auto run = [&](int where, const horo_exec* exec) {
        const auto& x = ip[where];
        const auto& y = outs[where];
        ok(horo_row_op(op.id, Stored::dtype, rows, dim, x[0], is[0], x[1], is[1], x[2], is[2], x[3], is[3],
                       y[0], os[0], y[1], os[1], y[2], os[2], y[3], os[3], p[0], p[1], p[2], p[3], p[4], p[5],
                       exec));
    };
    run(0, nullptr);
    run(1, gpu.exec);
    for (size_t j = 0; j < op.out.size(); ++j)
        ok(horo_device_copy(0, got[j].data(), device_out[j], got[j].size() * sizeof(T), gpu.stream));
    const auto first = got;
    int shared = -1;
    for (size_t i = 0; in_place && i < op.in.size() && shared < 0; ++i)
        if (op.in[i] == op.out[0]) shared = static_cast<int>(i);
    if (shared >= 0) outs[1][0] = const_cast<void*>(ip[1][shared]);
    run(1, gpu.exec);
    for (size_t j = 0; j < op.out.size(); ++j) {
        void* from = j == 0 && shared >= 0 ? device_in[shared] : device_out[j];
        ok(horo_device_copy(0, got[j].data(), from, got[j].size() * sizeof(T), gpu.stream));
        CHECK(std::memcmp(got[j].data(), first[j].data(), got[j].size() * sizeof(T)) == 0,
              "%s: output %zu differs from run to run or in place, dim %lld", op.name.c_str(), j,
              (long long)dim);
        // Sums are in another order, multiply-adds are fused and a row's sum may cancel: ulps of the largest
        // row.
        const double allowed = (Stored::dtype == HORO_F64   ? 64
                                : Stored::dtype == HORO_F32 ? 4
                                                            : 1) *
                               Stored::epsilon;
        const int64_t w = width(op.out[j], dim), stride = w + pad;
        double worst = 0, largest = 0;
        for (int64_t r = 0; r < rows; ++r) {
            double error = 0, norm = 0;
            for (int64_t k = 0; k < w; ++k) {
                const double a = Stored::get(first[j][offset + r * stride + k]),
                             b = Stored::get(want[j][offset + r * stride + k]);
                error += (a - b) * (a - b);
                norm += b * b;
            }
            largest = std::fmax(largest, std::sqrt(norm));
            if (!(std::sqrt(error) <= worst)) worst = std::sqrt(error);
        }
        worst /= largest;
        CHECK(worst <= allowed,
              "%s: output %zu, rows %lld, dim %lld, dtype %d, pad %lld, offset %lld: error %g, allowed %g",
              op.name.c_str(), j, (long long)rows, (long long)dim, Stored::dtype, (long long)pad,
              (long long)offset, worst, allowed);
        for (int64_t i = 0; i < static_cast<int64_t>(got[j].size()); ++i) {
            const int64_t at = i - offset;
            if (at < 0 || at >= rows * stride || at % stride >= w)
                CHECK(first[j][i] == around, "%s: wrote around output %zu", op.name.c_str(), j);
        }
    }
    for (void* q : device_in) ok(horo_device_free(0, q));
    for (void* q : device_out) ok(horo_device_free(0, q));
}

}  // namespace

int main(int count, char** words) {
    const bool quick = count > 1 && std::strcmp(words[1], "--quick") == 0;
    int32_t devices = 0;
    ok(horo_device_count(&devices));
    if (devices == 0) {
        std::printf("skipped, no CUDA device: %s\n", horo_device_reason());
        return 77;
    }
    Gpu gpu;
    ok(horo_stream_create(0, &gpu.stream));
    ok(horo_exec_create(0, 0, gpu.stream, &gpu.exec));
    const std::vector<int64_t> dims =
        quick ? std::vector<int64_t>{2, 3, 16, 33, 130, 4100}
              : std::vector<int64_t>{1,  2,   3,   4,   5,   7,   8,    15,   16,   17,   31,   33,
                                     64, 100, 128, 130, 300, 512, 1000, 1025, 2048, 4100, 10000};
    for (int32_t id = 0; id < horo_op_count(); ++id) {
        const Operation op = describe(id);
        for (int64_t dim : dims)
            for (int64_t rows : quick ? std::vector<int64_t>{37} : std::vector<int64_t>{2, 33, 1003}) {
                compare<AsF32>(gpu, op, rows, dim, 0, 0, false);
                compare<AsF32>(gpu, op, rows, dim, 3, 1, true);
                compare<AsF64>(gpu, op, rows, dim, 0, 0, true);
                compare<AsBf16>(gpu, op, rows, dim, 1, 1, true);
                if (quick) continue;
                compare<AsF64>(gpu, op, rows, dim, 1, 1, false);
                compare<AsBf16>(gpu, op, rows, dim, 0, 0, false);
                compare<AsF16>(gpu, op, rows, dim, 0, 0, false);
            }
    }
    ok(horo_exec_destroy(gpu.exec));
    ok(horo_stream_destroy(0, gpu.stream));
    return check_result();
}
