#include "cpu/random.h"

#include <cmath>

#include "abi/device.h"
#include "abi/operands.h"

extern "C" int32_t horo_normal(int32_t dtype, int64_t count, double std, int64_t seed, int64_t offset,
                               void* out, const horo_exec* exec) {
    HORO_REQUIRE(dtype == HORO_F32 || dtype == HORO_F64, "dtype: %d, expected HORO_F32 or HORO_F64", dtype);
    HORO_CHECK(horo::check_count("count", count, 0));
    HORO_REQUIRE(std >= 0 && std::isfinite(std), "std: %g, expected a finite number of 0 or more", std);
    HORO_REQUIRE(offset >= 0 && offset <= INT64_MAX - count, "offset: %lld, expected 0 to 2^63 - 1 - count",
                 static_cast<long long>(offset));
    if (count == 0) return HORO_OK;
    HORO_REQUIRE(
        out && reinterpret_cast<uintptr_t>(out) % static_cast<uintptr_t>(horo::dtype_bytes[dtype]) == 0,
        "out: null or not aligned to its elements");
    HORO_ON_CUDA(exec, random.normal, dtype, count, std, seed, offset, out);
    return horo::guarded([&] {
        const horo_exec& on = horo::resolve(exec);
        if (dtype == HORO_F32)
            horo::normal(count, std, seed, offset, static_cast<float*>(out), on);
        else
            horo::normal(count, std, seed, offset, static_cast<double*>(out), on);
        return HORO_OK;
    });
}
