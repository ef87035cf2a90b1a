// The CUDA row engine: one kernel for every operation of geometry/operations.h. A warp loads its rows into
// registers with the widest accesses the call allows (row_plan.h), sums in double, solves for the
// coefficients of several rows at once, and combines the rows from registers.
#pragma once
#include <cstdint>
#include <utility>

#include "geometry/row_call.h"
#include "half.cuh"
#include "horosphere/horo.h"
#include "kernel.cuh"
#include "row_plan.h"

namespace horo::cuda {

// ---- Compile-time loops: operands have kinds, arrays must keep compile-time indices to stay in registers.

template <class Body, int... i>
HORO_DEVICE void each(std::integer_sequence<int, i...>, Body&& body) {
    (body(std::integral_constant<int, i>{}), ...);
}
template <int n, class Body>
HORO_DEVICE void each(Body&& body) {
    each(std::make_integer_sequence<int, n>{}, body);
}

template <class Op>
struct Shape {
    static constexpr Signature signature{Op::signature};
    static constexpr int inputs = signature.inputs, outputs = signature.outputs;
    static constexpr bool reads(int i) { return signature.input[i] != Kind::scalar; }
    static constexpr bool writes(int j) { return signature.output[j] != Kind::scalar; }
    static constexpr bool reads_numbers() {
        for (int i = 0; i < inputs; ++i)
            if (signature.input[i] != Kind::row) return true;
        return false;
    }
    static constexpr bool combines() {
        for (int j = 0; j < outputs; ++j)
            if (writes(j)) return true;
        return false;
    }
};

// ---- Memory

// Rows of float may be stored in 16 bits.
HORO_DEVICE float number_of(float x) { return x; }
HORO_DEVICE double number_of(double x) { return x; }
HORO_DEVICE float number_of(Bf16 x) { return widened(x); }
HORO_DEVICE float number_of(F16 x) { return widened(x); }
HORO_DEVICE void narrow(float x, float& to) { to = x; }
HORO_DEVICE void narrow(double x, double& to) { to = x; }

// The part of a row that one lane owns within a tile.
struct Lane {
    int lane, lanes;
    int elements;  // of the row within the tile; 0 for a row that does not exist
};

template <class Stored, int width, class T, int slots>
HORO_DEVICE void load_slots(T (&x)[slots], const Stored* row, const Lane& own) {
    const int lane = renewed(own.lane);
#pragma unroll
    for (int v = 0; v < slots / width; ++v) {
        const int at = (v * own.lanes + lane) * width;
        if (at < own.elements) {
            Stored pack[width];
            load(pack, row + at);
#pragma unroll
            for (int e = 0; e < width; ++e) x[v * width + e] = number_of(pack[e]);
        } else {
#pragma unroll
            for (int e = 0; e < width; ++e) x[v * width + e] = T(0);
        }
    }
}

template <class Stored, int width, class T, int slots>
HORO_DEVICE void store_slots(const T (&x)[slots], Stored* row, const Lane& own) {
    const int lane = renewed(own.lane);
#pragma unroll
    for (int v = 0; v < slots / width; ++v) {
        const int at = (v * own.lanes + lane) * width;
        if (at < own.elements) {
            Stored pack[width];
#pragma unroll
            for (int e = 0; e < width; ++e) narrow(x[v * width + e], pack[e]);
            store(row + at, pack);
        }
    }
}

// Calls `body` with a null pointer to the storage type. It is the same for the whole grid, as is the width of
// an access, so these branches cost nothing.
template <class T, class Body>
HORO_DEVICE auto with_type(const RowPlan& plan, Body&& body) {
    if constexpr (sizeof(T) == 4) {
        if (plan.dtype == HORO_BF16) return body(static_cast<Bf16*>(nullptr));
        if (plan.dtype == HORO_F16) return body(static_cast<F16*>(nullptr));
    }
    return body(static_cast<T*>(nullptr));
}

template <class T, class Body>
HORO_DEVICE void with_access(const RowPlan& plan, Body&& body) {
    with_type<T>(plan, [&](auto* stored) {
        if constexpr (sizeof(T) == 4)
            if (plan.width == 4) return body(stored, std::integral_constant<int, 4>{});
        if (plan.width == 2) return body(stored, std::integral_constant<int, 2>{});
        body(stored, std::integral_constant<int, 1>{});
    });
}

// One number of a scalar or of a time coordinate.
template <class T>
HORO_DEVICE double load_number(const RowPlan& plan, const void* from, int64_t at) {
    return with_type<T>(plan, [&](auto* stored) {
        return static_cast<double>(
            number_of(get(static_cast<decltype(stored)>(const_cast<void*>(from)) + at)));
    });
}
template <class T>
HORO_DEVICE void store_number(const RowPlan& plan, void* to, int64_t at, double x) {
    with_type<T>(plan, [&](auto* stored) {
        const auto p = static_cast<decltype(stored)>(to) + at;
        std::remove_pointer_t<decltype(stored)> bits;
        narrow(static_cast<T>(x), bits);
        put(p, bits);
    });
}

// ---- Sums

template <class Op, class T>
struct Accumulator {
    static constexpr bool exact = sizeof(T) == 8 || Op::precise;  // float products are exact in double
    static constexpr int compensated = exact ? Op::dots : 0;
    double hi[Op::sums];
    double lo[compensated ? compensated : 1];

    HORO_DEVICE Accumulator() {
        each<Op::sums>([&](auto k) { hi[k] = 0; });
        each<compensated>([&](auto k) { lo[k] = 0; });
    }
    HORO_HD void dot(int k, double a, double b) {
        if constexpr (exact) {
            const Sum<double> p = two_product(a, b), s = two_sum(hi[k], p.hi);
            hi[k] = s.hi;
            lo[k] += s.lo + p.lo;
        } else {
            hi[k] += a * b;
        }
    }
    HORO_HD void add(int k, double v) { hi[k] += v; }

    // Adds another lane's sums; both lanes of a pair get the same bits.
    HORO_DEVICE void merge(int mask) {
        each<Op::sums>([&](auto k) {
            const double other = __shfl_xor_sync(0xffffffff, hi[k], mask);
            if constexpr (k < compensated) {
                const double other_lo = __shfl_xor_sync(0xffffffff, lo[k], mask);
                const Sum<double> s = two_sum(hi[k], other);
                hi[k] = s.hi;
                lo[k] = (lo[k] + other_lo) + s.lo;
            } else {
                hi[k] += other;
            }
        });
    }
};

// ---- The kernel

template <class Op, class T, class Tile>
struct Rows {
    static constexpr int vector = vector_bytes / static_cast<int>(sizeof(T));
    static constexpr int row_count = Tile::row_count, slots = Tile::vectors * vector;
    using S = Shape<Op>;

    T x[row_count][S::inputs][slots];

    HORO_DEVICE void load(const RowPlan& plan, const RowCall& call, const int64_t (&row)[row_count],
                          const Lane (&own)[row_count], int64_t first) {
        with_access<T>(plan, [&](auto* stored, auto width) {
            using Stored = std::remove_pointer_t<decltype(stored)>;
            constexpr int numbers = decltype(width)::value;
            each<row_count>([&](auto r) {
                each<S::inputs>([&](auto i) {
                    if constexpr (S::reads(i)) {
                        const auto* p = static_cast<const Stored*>(call.in[i]) + row[r] * call.in_stride[i] +
                                        first + (S::signature.input[i] == Kind::ambient);
                        load_slots<Stored, numbers>(x[r][i], p, own[r]);
                    }
                });
            });
        });
    }

    HORO_DEVICE void reduce(Accumulator<Op, T> (&sum)[row_count], int used) const {
        each<slots>([&](auto s) {
            if (s < used)
                each<row_count>([&](auto r) {
                    double in[Signature::max_operands] = {};
                    each<S::inputs>([&](auto i) {
                        if constexpr (S::reads(i)) in[i] = static_cast<double>(x[r][i][s]);
                    });
                    Op::reduce(in, sum[r]);
                });
        });
    }

    // The second pass: adds what is across to `across`, by the numbers `aim` of each row.
    HORO_DEVICE void refine(double (&across)[row_count], const double (&aim)[row_count][2], int used) const {
        each<slots>([&](auto s) {
            if (s < used)
                each<row_count>([&](auto r) {
                    double in[Signature::max_operands] = {};
                    each<S::inputs>([&](auto i) {
                        if constexpr (S::reads(i)) in[i] = static_cast<double>(x[r][i][s]);
                    });
                    across[r] += across_step<Op>(in, aim[r]);
                });
        });
    }

    HORO_DEVICE void combine(const RowPlan& plan, const RowCall& call,
                             const double (&k)[row_count][coefficients_of<Op, T>],
                             const int64_t (&row)[row_count], const Lane (&own)[row_count],
                             int64_t first) const {
        each<row_count>([&](auto r) {
            T y[S::outputs][slots];
            each<slots>([&](auto s) {
                double in[Signature::max_operands] = {}, out[Signature::max_operands] = {};
                each<S::inputs>([&](auto i) {
                    if constexpr (S::reads(i)) in[i] = static_cast<double>(x[r][i][s]);
                });
                combine_row<Op, T, false>(in, k[r], out);
                each<S::outputs>([&](auto j) { y[j][s] = static_cast<T>(out[j]); });
            });
            each<S::outputs>([&](auto j) {
                if constexpr (S::writes(j))
                    if (call.out[j])
                        with_access<T>(plan, [&](auto* stored, auto width) {
                            using Stored = std::remove_pointer_t<decltype(stored)>;
                            auto* p = static_cast<Stored*>(call.out[j]) + row[r] * call.out_stride[j] +
                                      first + (S::signature.output[j] == Kind::ambient);
                            store_slots<Stored, decltype(width)::value>(y[j], p, own[r]);
                        });
            });
        });
    }
};

// The sums of a row that lies on several warps; every thread of the row gets them.
template <class Op, class T>
HORO_DEVICE void merge_warps(Accumulator<Op, T>& sum, int lanes) {
    using Acc = Accumulator<Op, T>;
    constexpr int numbers = Op::sums + Acc::compensated;
    __shared__ double shared[wide_threads / warp][numbers];
    const int thread = static_cast<int>(threadIdx.x), mine = thread / warp, warps = lanes / warp;
    __syncthreads();  // of the previous rows
    if (thread % warp == 0) {
        each<Op::sums>([&](auto k) { shared[mine][k] = sum.hi[k]; });
        each<Acc::compensated>([&](auto k) { shared[mine][Op::sums + k] = sum.lo[k]; });
    }
    __syncthreads();
    const int from = mine / warps * warps + thread % warps;
    each<Op::sums>([&](auto k) { sum.hi[k] = shared[from][k]; });
    each<Acc::compensated>([&](auto k) { sum.lo[k] = shared[from][Op::sums + k]; });
    for (int mask = warps / 2; mask; mask /= 2) sum.merge(mask);
}

// The same of one number.
HORO_DEVICE double merge_warps(double sum, int lanes) {
    __shared__ double shared[wide_threads / warp];
    const int thread = static_cast<int>(threadIdx.x), mine = thread / warp, warps = lanes / warp;
    __syncthreads();  // of the previous rows
    if (thread % warp == 0) shared[mine] = sum;
    __syncthreads();
    sum = shared[mine / warps * warps + thread % warps];
    for (int mask = warps / 2; mask; mask /= 2) sum += __shfl_xor_sync(0xffffffff, sum, mask);
    return sum;
}

template <class Op, class T, class Tile>
HORO_KERNEL(Tile::threads)
row_kernel(HORO_CONSTANT RowCall call, HORO_CONSTANT RowPlan plan) {
    using S = Shape<Op>;
    constexpr int row_count = Tile::row_count, scalars = Signature::max_operands;
    constexpr bool refined = sizeof(T) == 4 && Op::refined;
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread & (plan.lanes - 1), group = thread / plan.lanes;
    Rows<Op, T, Tile> rows;
    for (int64_t block = blockIdx.x; block < plan.blocks; block += gridDim.x) {
        int64_t row[row_count];
        Lane own[row_count];
        double scalar[row_count][scalars];
        // Rows of one access of a warp are neighbours.
        const int64_t start = block * plan.rows + (row_count == 1 ? group : 0);
        each<row_count>([&](auto r) {
            if constexpr (row_count == 1) {
                row[r] = start;
            } else {
                const int per_warp = warp / plan.lanes;
                row[r] = start + (group / per_warp * row_count + r) * per_warp + group % per_warp;
            }
            const bool live = row[r] < call.rows;
            own[r] = {lane, plan.lanes,
                      live ? static_cast<int>(call.dim < plan.tile ? call.dim : plan.tile) : 0};
            each<S::inputs>([&](auto i) {
                if constexpr (S::signature.input[i] != Kind::row) {
                    scalar[r][i] = live ? load_number<T>(plan, call.in[i], row[r] * call.in_stride[i]) : 0.0;
                } else {
                    scalar[r][i] = 0.0;
                }
            });
        });

        // Reduce. The last tile stays in registers; of most rows it is the only one.
        Accumulator<Op, T> sum[row_count];
        const auto bring = [&](int64_t tile) {
            const int64_t first = tile * plan.tile;
            if constexpr (Tile::wide)
                if (own[0].elements)
                    own[0].elements =
                        static_cast<int>(call.dim - first < plan.tile ? call.dim - first : plan.tile);
            rows.load(plan, call, row, own, first);
        };
        for (int64_t tile = 0; tile < (Tile::wide ? plan.tiles : 1); ++tile) {
            bring(tile);
            rows.reduce(sum, plan.slots);
        }
        for (int mask = (plan.lanes < warp ? plan.lanes : warp) / 2; mask; mask /= 2)
            each<row_count>([&](auto r) { sum[r].merge(mask); });
        if constexpr (Tile::wide)
            if (plan.lanes > warp) merge_warps(sum[0], plan.lanes);

        // Once more, for what is across; again the last tile stays in registers.
        double across[row_count] = {};
        if constexpr (refined) {
            double aim[row_count][2];
            each<row_count>([&](auto r) {
                Sum<double> s[Op::sums];
                each<Op::sums>([&](auto n) { s[n] = {sum[r].hi[n], 0.0}; });
                across_aim<Op>(s, aim[r]);
            });
            for (int64_t tile = 0; tile < (Tile::wide ? plan.tiles : 1); ++tile) {
                if (Tile::wide && plan.tiles > 1) bring(tile);
                rows.refine(across, aim, plan.slots);
            }
            for (int mask = (plan.lanes < warp ? plan.lanes : warp) / 2; mask; mask /= 2)
                each<row_count>([&](auto r) { across[r] += __shfl_xor_sync(0xffffffff, across[r], mask); });
            if constexpr (Tile::wide)
                if (plan.lanes > warp) across[0] = merge_warps(across[0], plan.lanes);
        }

        // A row's numbers may be overwritten in place below by one lane; all must have read them.
        if constexpr (S::reads_numbers()) __syncwarp();

        // Solve: the lanes of a group share its rows out, and each gets all coefficients back.
        double k[row_count][coefficients_of<Op, T>];
        const int share = row_count > 1 && plan.lanes < row_count ? plan.lanes : row_count;
#pragma unroll 1
        for (int q = 0; q < row_count; q += share) {
            const int mine = q + (lane & (share - 1));
            const double rounding = sizeof(T) == 8            ? 0x1p-53
                                    : plan.dtype == HORO_BF16 ? 0x1p-8
                                    : plan.dtype == HORO_F16  ? 0x1p-11
                                                              : 0x1p-24;
            Sum<double> s[Op::sums];
            double in[scalars] = {}, mine_k[Op::coefficients], result[scalars], mine_across = 0;
            int64_t at = row[0];
            each<row_count>([&](auto r) {
                if (r == 0 || r == mine) {
                    at = row[r];
                    each<Op::sums>([&](auto n) {
                        if constexpr (n < Accumulator<Op, T>::compensated)
                            s[n] = {sum[r].hi[n], sum[r].lo[n]};
                        else
                            s[n] = {sum[r].hi[n], 0.0};
                    });
                    each<S::inputs>([&](auto i) { in[i] = scalar[r][i]; });
                    mine_across = across[r];
                }
            });
            Op::template solve<double>(
                {s, in, call.param, mine_k, result, rounding, refined ? &mine_across : nullptr});
            if (lane < share && at < call.rows)
                each<S::outputs>([&](auto j) {
                    if constexpr (S::signature.output[j] != Kind::row)
                        if (call.out[j])
                            store_number<T>(plan, call.out[j], at * call.out_stride[j], result[j]);
                });
            if constexpr (S::combines()) {
                each<row_count>([&](auto r) {
                    if (r >= q && r < q + share)
                        each<coefficients_of<Op, T>>([&](auto c) {
                            if constexpr (row_count == 1)
                                k[r][c] = mine_k[c];
                            else
                                k[r][c] =
                                    __shfl_sync(0xffffffff, mine_k[c], (thread & ~(plan.lanes - 1)) + r - q);
                        });
                });
            }
        }

        // Combine, the tile in registers first.
        if constexpr (S::combines()) {
            rows.combine(plan, call, k, row, own, (plan.tiles - 1) * plan.tile);
            if constexpr (Tile::wide) {
                for (int64_t tile = plan.tiles - 2; tile >= 0; --tile) {
                    bring(tile);
                    rows.combine(plan, call, k, row, own, tile * plan.tile);
                }
            }
        }
    }
}

}  // namespace horo::cuda
