// Sums of products in double by the threads that share a row; exact: with the rounding errors carried along,
// as cpu/doubles.h does.
#pragma once
#include "geometry/double_double.h"
#include "stored.cuh"

namespace horo::cuda {

// The sum of what `lanes` neighbouring threads have, a part of a warp, a warp or the block; the same bits for
// all of them.
template <int lanes>
HORO_DEVICE double lanes_sum(double value) {
    if constexpr (lanes >= warp) {
        return row_sum<lanes>(value);
    } else {
        for (int mask = lanes / 2; mask; mask /= 2) value += __shfl_xor_sync(0xffffffff, value, mask);
        return value;
    }
}
template <int lanes>
HORO_DEVICE horo::Sum<double> lanes_sum(horo::Sum<double> value) {
    for (int mask = (lanes < warp ? lanes : warp) / 2; mask; mask /= 2) {
        const double hi = __shfl_xor_sync(0xffffffff, value.hi, mask);
        const double lo = __shfl_xor_sync(0xffffffff, value.lo, mask);
        value = value + horo::Sum<double>{hi, lo};
    }
    if constexpr (lanes > warp)
        value = block_combine<lanes>(value, [](horo::Sum<double> a, horo::Sum<double> b) { return a + b; });
    return value;
}

template <bool exact>
struct DotSum {
    double hi = 0, lo = 0;

    HORO_DEVICE void add(double a, double b) {
        if constexpr (exact) {
            const horo::Sum<double> p = two_product(a, b), s = two_sum(hi, p.hi);
            hi = s.hi;
            lo += s.lo + p.lo;
        } else {
            hi += a * b;
        }
    }
    // a (b + low)
    HORO_DEVICE void add(double a, double b, double low) {
        add(a, b);
        if constexpr (exact) lo += a * low;
    }
    template <int lanes>
    HORO_DEVICE horo::Sum<double> total() const {
        if constexpr (!exact) return {lanes_sum<lanes>(hi), 0.0};
        return lanes_sum<lanes>(normalized<double>(hi, lo));
    }
};

// |x|^2 by `lanes` threads, of which this is number `lane`.
template <bool exact, int lanes, class Pointer>
HORO_DEVICE horo::Sum<double> square_sum(Pointer x, int64_t dim, int lane) {
    DotSum<exact> xx;
    for (int64_t j = lane; j < dim; j += lanes) {
        const double v = read(x + j);
        xx.add(v, v);
    }
    return xx.template total<lanes>();
}

}  // namespace horo::cuda
