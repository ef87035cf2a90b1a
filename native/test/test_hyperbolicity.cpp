// Distances and delta against the definition in plain loops, run once per instruction set (HORO_ISA).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"

namespace {

using Doubles = std::vector<double>;

Doubles gaussian(int64_t n, uint32_t seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal;
    Doubles out(static_cast<size_t>(n));
    for (double& v : out) v = normal(engine);
    return out;
}

Doubles distances(int64_t n, int64_t dim, uint32_t seed) {
    const Doubles x = gaussian(n * dim, seed);
    Doubles out(static_cast<size_t>(n * n));
    CHECK(horo_pairwise_distance(HORO_F64, n, dim, x.data(), dim, out.data(), nullptr) == HORO_OK, "%s",
          horo_last_error());
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) {
            long double sum = 0;
            for (int64_t k = 0; k < dim; ++k) {
                const long double t = static_cast<long double>(x[i * dim + k]) - x[j * dim + k];
                sum += t * t;
            }
            const double want = static_cast<double>(std::sqrt(sum));
            const double bound = (140 + dim / 1024.0) * 0x1p-53 * want;
            CHECK(std::abs(out[i * n + j] - want) <= bound, "%ldx%ld at %ld,%ld", n, dim, i, j);
        }
    return out;
}

// Distances in a random tree: every pair survives the bound, so whole register tiles are used.
Doubles tree(int64_t n) {
    std::mt19937 engine(5);
    Doubles d(static_cast<size_t>(n * n));
    for (int64_t i = 1; i < n; ++i) {
        const int64_t parent = static_cast<int64_t>(engine() % static_cast<uint32_t>(i));
        for (int64_t j = 0; j < i; ++j) d[i * n + j] = d[j * n + i] = d[parent * n + j] + 0.3 + i % 7;
    }
    return d;
}

void delta(const Doubles& d, int64_t n) {
    Doubles g(d.size()), workspace(static_cast<size_t>(2 * n));
    const int64_t base = n / 3;
    CHECK(horo_gromov_product(n, d.data(), base, g.data(), workspace.data(), nullptr) == HORO_OK);
    double want = 0;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = i; j < n; ++j) {
            CHECK(g[i * n + j] == 0.5 * ((d[base * n + i] + d[base * n + j]) - d[i * n + j]));
            for (int64_t k = 0; k < n; ++k)
                want = std::max(want, std::min(g[i * n + k], g[k * n + j]) - g[i * n + j]);
        }
    for (int exhaustive = 0; exhaustive < 2; ++exhaustive) {
        const double got = horo_delta_hyperbolicity(n, g.data(), 0, exhaustive, workspace.data(), nullptr);
        CHECK(got == want, "n %ld, exhaustive %d: %.17g, expected %.17g", n, exhaustive, got, want);
    }
    Doubles in_place = d;
    CHECK(horo_gromov_product(n, d.data(), base, in_place.data(), workspace.data(), nullptr) == HORO_OK);
    CHECK(in_place == g);
}

void refusals() {
    Doubles m(4), w(4);
    CHECK(horo_pairwise_distance(HORO_BF16, 2, 2, m.data(), 2, w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_pairwise_distance(HORO_F64, -1, 2, m.data(), 2, w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_pairwise_distance(HORO_F64, 2, 0, m.data(), 2, w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_pairwise_distance(HORO_F64, 2, 2, m.data(), 1, w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_pairwise_distance(HORO_F64, 2, 2, nullptr, 2, w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_pairwise_distance(HORO_F64, 2, 2, m.data(), 2, nullptr, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_pairwise_distance(HORO_F64, 0, 2, nullptr, 2, nullptr, nullptr) == HORO_OK);
    CHECK(horo_gromov_product(2, m.data(), 2, w.data(), w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_gromov_product(0, m.data(), 0, w.data(), w.data(), nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::isnan(horo_delta_hyperbolicity(0, m.data(), 0, 0, w.data(), nullptr)));
    CHECK(std::isnan(horo_delta_hyperbolicity(2, nullptr, 0, 0, w.data(), nullptr)));
    CHECK(std::isnan(horo_delta_hyperbolicity(2, m.data(), NAN, 0, w.data(), nullptr)));
    m[3] = std::numeric_limits<double>::quiet_NaN();
    CHECK(std::isnan(horo_delta_hyperbolicity(2, m.data(), 0, 0, w.data(), nullptr)));
}

}  // namespace

int main() {
    const int64_t sizes[] = {1, 2, 3, 4, 7, 9, 16, 31, 33, 70, 129};
    for (const int64_t n : sizes) {
        delta(tree(n), n);
        const int64_t dims[] = {1, 2, 17, 1040};
        for (const int64_t dim : dims) delta(distances(n, dim, 3), n);
    }
    delta(distances(1030, 2, 3), 1030);  // more points than a cache block has
    refusals();
    return check_result();
}
