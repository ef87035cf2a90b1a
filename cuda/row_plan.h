// Which lane of which warp owns which elements of a row: pure arithmetic, the same on host and device, so it
// is tested without a GPU. Choices that only measurements can settle are here and nowhere else.
#pragma once
#include <cstdint>

#include "geometry/row_call.h"
#include "horosphere/horo.h"
#include "kernel.cuh"

namespace horo::cuda {

constexpr int vector_bytes = 16;  // the widest access

// A thread holds `row_count` rows times `vectors` widest accesses of each input in registers: enough bytes in
// flight for HBM3 at the occupancy that leaves, e.g. 32 to 48 KiB per multiprocessor for two inputs.
template <int rows>
struct NarrowTile {  // a row on 1 to 32 lanes of one warp
    static constexpr int row_count = rows, vectors = 1, threads = 128;
    static constexpr bool wide = false;
};
template <class Op>
constexpr bool many_inputs() {
    constexpr Signature signature(Op::signature);
    int inputs = 0;
    for (int i = 0; i < signature.inputs; ++i) inputs += signature.input[i] != Kind::scalar;
    return inputs >= 3;
}
// More rows would spill: three inputs and their sums take twice the registers, as do compensated sums, a
// second pass and many coefficients.
template <class Op>
constexpr int narrow_rows() {
    constexpr int kept = Op::dots + Op::coefficients;
    if (kept > 20) return 1;
    return (many_inputs<Op>() ? 2 : 4) / (Op::precise || Op::refined || kept > 16 ? 2 : 1);
}
// A row on 1 to 8 warps: 4096 or 2048 float32 numbers; wider rows are read twice.
constexpr int wide_threads = 256;
template <int accesses>
struct WideTile {
    static constexpr int row_count = 1, vectors = accesses, threads = wide_threads;
    static constexpr bool wide = true;
};
template <class Op>
constexpr int wide_vectors() {
    return many_inputs<Op>() ? 2 : 4;
}

// How a call is laid out. Element `slot` of lane l is element ((slot / width) lanes + l) width + slot % width
// of its tile; rows wider than a tile (wide only) take several tiles.
struct RowPlan {
    int32_t dtype;  // of storage
    bool narrow;
    int width;       // elements per access
    int lanes;       // per row: a power of two
    int threads;     // per block
    int rows;        // per block
    int slots;       // of a lane that any row uses
    int64_t tile;    // elements of a row held at once
    int64_t tiles;   // per row
    int64_t blocks;  // of work
};

constexpr int power_of_two_from(int64_t n) {
    int p = 1;
    while (p < n) p *= 2;
    return p;
}

constexpr int stored_bytes(int32_t dtype) { return dtype == HORO_F64 ? 8 : dtype == HORO_F32 ? 4 : 2; }
// Elements of a widest access: 16-bit numbers are computed on as float, and take as many registers.
constexpr int vector_elements(int32_t dtype) { return vector_bytes / (dtype == HORO_F64 ? 8 : 4); }

// The widest access, in elements, that every operand allows; `address` gathers (by "or") all addresses of
// first elements and all strides in bytes.
constexpr int access_width(uint64_t address, int64_t dim, int32_t dtype) {
    int width = vector_elements(dtype);
    while (width > 1 && (dim % width || address % (static_cast<uint64_t>(width) * stored_bytes(dtype))))
        width /= 2;
    return width;
}

// The last two are those of the operation's tiles.
constexpr RowPlan plan_rows(int64_t rows, int64_t dim, int32_t dtype, int width, int narrow_row_count,
                            int wide_vector_count) {
    using Narrow = NarrowTile<1>;
    RowPlan plan{};
    plan.dtype = dtype;
    plan.width = width;
    const int vector = vector_elements(dtype);
    const int64_t accesses = parts(dim, width);
    const int64_t narrow_slots = Narrow::vectors * vector / width;
    if (accesses <= warp * narrow_slots) {
        plan.narrow = true;
        // As few lanes as hold the row, for `solve` runs once per warp; but 64 bytes of a row side by side.
        const int64_t least = parts(accesses, narrow_slots);
        const int64_t side_by_side = 64 / (int64_t{width} * stored_bytes(dtype));
        const int64_t wanted = least > side_by_side ? least : side_by_side;
        plan.lanes = power_of_two_from(wanted < accesses ? wanted : accesses);
        if (plan.lanes > warp) plan.lanes = warp;
        plan.threads = Narrow::threads;
        plan.rows = plan.threads / plan.lanes * narrow_row_count;
        plan.tile = plan.lanes * Narrow::vectors * vector;
        plan.tiles = 1;
        plan.slots = static_cast<int>(parts(accesses, plan.lanes)) * width;
    } else {
        const int64_t per_warp = int64_t{warp} * wide_vector_count * vector;
        const int64_t warps = parts(dim, per_warp);
        const int most = wide_threads / warp;
        plan.lanes = warp * power_of_two_from(warps < most ? warps : most);
        plan.threads = plan.lanes < 128 ? 128 : plan.lanes;
        plan.rows = plan.threads / plan.lanes;
        plan.tile = int64_t{plan.lanes} * wide_vector_count * vector;
        plan.tiles = parts(dim, plan.tile);
        const int64_t in_tile = plan.tiles > 1 ? plan.tile / width : accesses;
        plan.slots = static_cast<int>(parts(in_tile, plan.lanes)) * width;
    }
    plan.blocks = parts(rows, plan.rows);
    return plan;
}

// The addresses and strides of a call, gathered for access_width. One row needs no stride.
template <class Op>
inline uint64_t gather_addresses(const RowCall& call, int32_t dtype) {
    const int element_bytes = stored_bytes(dtype);
    constexpr Signature signature(Op::signature);
    uint64_t all = 0;
    const auto add = [&](Kind kind, const void* p, int64_t stride) {
        if (kind == Kind::scalar || !p) return;
        all |= reinterpret_cast<uintptr_t>(p) + (kind == Kind::ambient ? element_bytes : 0);
        if (call.rows > 1) all |= static_cast<uint64_t>(stride * element_bytes);
    };
    for (int i = 0; i < signature.inputs; ++i) add(signature.input[i], call.in[i], call.in_stride[i]);
    for (int j = 0; j < signature.outputs; ++j) add(signature.output[j], call.out[j], call.out_stride[j]);
    return all;
}

template <class Op>
inline RowPlan plan_call(const RowCall& call, int32_t dtype) {
    const int width = access_width(gather_addresses<Op>(call, dtype), call.dim, dtype);
    return plan_rows(call.rows, call.dim, dtype, width, narrow_rows<Op>(), wide_vectors<Op>());
}

}  // namespace horo::cuda
