// The generator's published answers, and the normal variates' moments, tails and independence of how they are
// made.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "geometry/philox.h"
#include "horosphere/horo.h"

namespace {

// kat_vectors of Random123, philox4x32 10
void known_answers() {
    const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (const auto& c : cases) {
        const horo::PhiloxBlock got =
            horo::philox({{c.counter[0], c.counter[1], c.counter[2], c.counter[3]}}, c.key[0], c.key[1]);
        CHECK(std::memcmp(got.word, c.want, sizeof c.want) == 0, "%08x %08x %08x %08x", got.word[0],
              got.word[1], got.word[2], got.word[3]);
    }
}

template <class T>
std::vector<T> normal(int64_t count, double std, int64_t seed, int64_t offset,
                      const horo_exec* exec = nullptr) {
    std::vector<T> out(static_cast<size_t>(count) + 2, T(12345));
    CHECK(horo_normal(sizeof(T) == 4 ? HORO_F32 : HORO_F64, count, std, seed, offset, out.data() + 1, exec) ==
              HORO_OK,
          "%s", horo_last_error());
    CHECK(out.front() == T(12345) && out.back() == T(12345), "wrote around the output");
    return {out.begin() + 1, out.end() - 1};
}

// Box and Muller's formula with the C library, from the same bits.
void definition() {
    const int64_t seed = -7;
    const auto got = normal<double>(20000, 1, seed, 0);
    for (uint32_t n = 0; n < 10000; ++n) {
        const auto key = static_cast<uint64_t>(seed);
        const horo::PhiloxBlock b =
            horo::philox({{n, 0, 0, 0}}, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
        const uint64_t x = uint64_t{b.word[1]} << 32 | b.word[0], y = uint64_t{b.word[3]} << 32 | b.word[2];
        const long double radius =
            std::sqrt(-2 * std::log(static_cast<long double>((x >> 11) + 1) * 0x1p-53L));
        const long double turn = static_cast<long double>(y >> 11) * 0x1p-53L * 6.283185307179586476925L;
        const double error =
            static_cast<double>(std::fmax(std::fabs(got[2 * n] - radius * std::cos(turn)),
                                          std::fabs(got[2 * n + 1] - radius * std::sin(turn))));
        CHECK(error <= 2e-15 * (1 + static_cast<double>(radius)), "pair %u: error %g", n, error);
    }
}

void moments() {
    const int64_t n = 1 << 20;
    for (int64_t seed : {int64_t{0}, int64_t{1}, INT64_MIN, INT64_MAX}) {
        const auto z = normal<double>(n, 1, seed, 0);
        double sum[5] = {}, lag1 = 0, lag2 = 0, tail = 0;
        for (int64_t i = 0; i < n; ++i) {
            double power = 1;
            for (double& s : sum) s += power, power *= z[static_cast<size_t>(i)];
            if (i) lag1 += z[i] * z[i - 1];
            if (i > 1) lag2 += z[i] * z[i - 2];
            tail += std::fabs(z[i]) > 2;
        }
        // five standard deviations of each mean
        const double unit = 5 / std::sqrt(static_cast<double>(n));
        CHECK(std::fabs(sum[1] / n) < unit, "mean %g", sum[1] / n);
        CHECK(std::fabs(sum[2] / n - 1) < unit * std::sqrt(2.0), "variance %g", sum[2] / n);
        CHECK(std::fabs(sum[3] / n) < unit * std::sqrt(15.0), "third moment %g", sum[3] / n);
        CHECK(std::fabs(sum[4] / n - 3) < unit * std::sqrt(96.0), "fourth moment %g", sum[4] / n);
        CHECK(std::fabs(lag1 / n) < unit && std::fabs(lag2 / n) < unit, "neighbours correlate");
        const double beyond = std::erfc(std::sqrt(2.0));
        CHECK(std::fabs(tail / n - beyond) < unit * std::sqrt(beyond), "beyond 2: %g", tail / n);
    }
}

// Any part of the sequence, on any number of threads, is the same.
template <class T>
void parts() {
    horo_exec *one = nullptr, *three = nullptr;
    CHECK(horo_exec_create(-1, 1, nullptr, &one) == HORO_OK &&
          horo_exec_create(-1, 3, nullptr, &three) == HORO_OK);
    const auto all = normal<T>(30001, 0.5, 42, 0, one);
    CHECK(normal<T>(30001, 0.5, 42, 0, three) == all, "three threads");
    for (int64_t offset : {1, 2, 4095, 4096, 12345})
        for (int64_t count : {0, 1, 2, 3, 4097, 9000}) {
            const auto part = normal<T>(count, 0.5, 42, offset, three);
            CHECK(std::equal(part.begin(), part.end(), all.begin() + offset), "%d from %d", (int)count,
                  (int)offset);
        }
    const auto doubled = normal<T>(100, 1, 42, 0);
    for (int i = 0; i < 100; ++i) CHECK(doubled[i] == 2 * all[i], "std");
    const auto wide = normal<double>(100, 0.5, 42, 0);
    for (int i = 0; i < 100; ++i) CHECK(all[i] == static_cast<T>(wide[i]), "both types are one sequence");
    CHECK(normal<T>(100, 0.5, 43, 0) != std::vector<T>(all.begin(), all.begin() + 100), "seeds");
    // offsets past 2^33 reach the upper half of the counter
    CHECK(normal<T>(2, 1, 42, int64_t{1} << 40) != normal<T>(2, 1, 42, 0), "large offsets");
    horo_exec_destroy(one);
    horo_exec_destroy(three);
}

void bad_arguments() {
    double out[4];
    const auto refused = [&](int32_t status, const char* word) {
        CHECK(status == HORO_INVALID_ARGUMENT && std::strstr(horo_last_error(), word), "%s: \"%s\"", word,
              horo_last_error());
    };
    refused(horo_normal(7, 4, 1, 0, 0, out, nullptr), "dtype");
    refused(horo_normal(HORO_F64, -1, 1, 0, 0, out, nullptr), "count");
    refused(horo_normal(HORO_F64, 4, -1, 0, 0, out, nullptr), "std");
    refused(horo_normal(HORO_F64, 4, NAN, 0, 0, out, nullptr), "std");
    refused(horo_normal(HORO_F64, 4, 1, 0, -1, out, nullptr), "offset");
    refused(horo_normal(HORO_F64, 4, 1, 0, INT64_MAX - 2, out, nullptr), "offset");
    refused(horo_normal(HORO_F64, 4, 1, 0, 0, nullptr, nullptr), "out");
    CHECK(horo_normal(HORO_F64, 0, 1, 0, 0, nullptr, nullptr) == HORO_OK);
}

}  // namespace

int main() {
    known_answers();
    definition();
    moments();
    parts<float>();
    parts<double>();
    bad_arguments();
    return check_result();
}
