#include "cpu/hyperbolicity.h"

#include <cmath>

#include "abi/device.h"
#include "abi/status.h"

namespace {
constexpr int64_t most_rows = int64_t{1} << 24;  // whose square times 16 still fits

bool fits(int64_t rows, int64_t stride) { return rows == 0 || stride <= (int64_t{1} << 59) / rows; }
}  // namespace

extern "C" {

int32_t horo_pairwise_distance(int32_t dtype, int64_t rows, int64_t dim, const void* x, int64_t x_stride,
                               double* out, const horo_exec* exec) {
    HORO_REQUIRE(dtype == HORO_F32 || dtype == HORO_F64, "dtype: %d, expected HORO_F32 or HORO_F64", dtype);
    HORO_REQUIRE(rows >= 0 && rows <= most_rows, "rows: %lld, expected 0 to %lld",
                 static_cast<long long>(rows), static_cast<long long>(most_rows));
    HORO_REQUIRE(dim >= 1, "dim: %lld, expected 1 or more", static_cast<long long>(dim));
    HORO_REQUIRE(x_stride >= dim && fits(rows, x_stride), "x_stride: %lld, expected at least dim, %lld",
                 static_cast<long long>(x_stride), static_cast<long long>(dim));
    if (rows == 0) return HORO_OK;
    HORO_REQUIRE(x, "x: null");
    HORO_REQUIRE(out, "out: null");
    HORO_ON_CUDA(exec, pairs.pairwise_distance, dtype, rows, dim, x, x_stride, out);
    return horo::guarded([&] {
        const horo_exec& on = horo::resolve(exec);
        if (dtype == HORO_F32) {
            horo::pairwise_distance<float>({rows, dim, x_stride, static_cast<const float*>(x), out}, on);
        } else {
            horo::pairwise_distance<double>({rows, dim, x_stride, static_cast<const double*>(x), out}, on);
        }
        return HORO_OK;
    });
}

int32_t horo_gromov_product(int64_t n, const double* distances, int64_t base, double* out, double* base_row,
                            const horo_exec* exec) {
    HORO_REQUIRE(n >= 1 && n <= most_rows, "n: %lld, expected 1 to %lld", static_cast<long long>(n),
                 static_cast<long long>(most_rows));
    HORO_REQUIRE(base >= 0 && base < n, "base: %lld, expected 0 to n - 1 = %lld",
                 static_cast<long long>(base), static_cast<long long>(n - 1));
    HORO_REQUIRE(distances, "distances: null");
    HORO_REQUIRE(out, "out: null");
    HORO_REQUIRE(base_row, "base_row: null");
    HORO_ON_CUDA(exec, pairs.gromov_product, n, distances, base, out, base_row);
    return horo::guarded([&] {
        horo::gromov_product(n, distances, base, out, base_row, horo::resolve(exec));
        return HORO_OK;
    });
}

double horo_delta_hyperbolicity(int64_t n, const double* gromov, double at_least, int32_t exhaustive,
                                double* workspace, const horo_exec* exec) {
    double delta = NAN;
    horo::guarded([&] {
        HORO_REQUIRE(n >= 1 && n <= most_rows, "n: %lld, expected 1 to %lld", static_cast<long long>(n),
                     static_cast<long long>(most_rows));
        HORO_REQUIRE(gromov, "gromov: null");
        HORO_REQUIRE(at_least == at_least, "at_least: NaN, expected a number");
        HORO_REQUIRE(workspace, "workspace: null");
        if (!horo::on_cpu(exec)) {
            const auto launch = [&] {
                return horo::cuda().backend->kernels->pairs.delta(n, gromov, at_least, workspace,
                                                                  exec->stream);
            };
            int32_t status = horo::enqueue(exec, launch);
            if (status == HORO_OK)
                status = horo_device_copy(exec->device, &delta, workspace, sizeof delta, exec->stream);
            if (status != HORO_OK) delta = -1;
            return status;
        }
        delta =
            horo::delta_hyperbolicity(n, gromov, at_least, exhaustive != 0, workspace, horo::resolve(exec));
        return HORO_OK;
    });
    return delta;
}
}
