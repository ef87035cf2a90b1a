// What the kernels of 16-bit attention share: the call, fragments, and NaN where not every row sees it.
#pragma once
#include "abi/cuda_kernels.h"
#include "kernel.cuh"
#include "mma.cuh"

namespace horo::cuda {
namespace {

constexpr int threads = 128, warps = threads / warp;
constexpr int side = 64;         // rows, keys and head dimensions of a tile
constexpr int pitch = side + 8;  // the padding spreads the rows of a fragment over all banks
constexpr int tile_size = side * pitch;
// Lies as it is in the caller's memory.
struct Operand {
    const uint16_t* p;
    TokenStrides strides;
    bool wide;  // 16 bytes at a time

    HORO_DEVICE const uint16_t* at(int64_t item, int64_t token, int64_t head) const {
        return p + item * strides.batch + token * strides.token + head * strides.head;
    }
};

// A call, and the chunk of it that is worked on: rows [first, first + rows) of batch items [item, item +
// items).
struct Call {
    AttentionShape s;
    Operand q, k, v, dout;
    uint16_t *out, *dq, *dk, *dv;
    bool wide_out, wide_dq, wide_dk, wide_dv;
    const float* alpha;
    float *lse, *dalpha;
    int64_t item, items, first, rows;
    int64_t ld;              // elements from row to row of a map
    uint16_t *maps, *grads;  // items x heads x rows x ld
    float *top, *inverse;    // items x heads x rows: of the softmax; the centres of G lie in `top`
    float *sums_k, *sums_v;  // items x kv_heads x kv_len x whole tiles of dim: dK and dV between chunks
    uint16_t* mix;           // alpha, its transpose: each a rounded part and what is left
    double *partial, *centres;

    // Keys that a row of the chunk sees.
    HORO_DEVICE int64_t limit(int64_t i, int64_t row) const {
        int64_t keys = s.kv_len;
        if (s.causal) {
            keys = first + row + 1 + s.kv_len - s.q_len;
            keys = keys < 0 ? 0 : keys < s.kv_len ? keys : s.kv_len;
        }
        if (s.lengths) {
            const int64_t length = get(s.lengths + item + i);
            keys = length < 0 ? 0 : length < keys ? length : keys;
        }
        return keys;
    }
    HORO_DEVICE uint16_t* map(uint16_t* of, int64_t i, int64_t head) const {
        return of + (i * s.heads + head) * rows * ld;
    }
    HORO_DEVICE float* row_values(float* of, int64_t i, int64_t head) const {
        return of + (i * s.heads + head) * rows;
    }
    HORO_DEVICE int64_t group() const { return s.heads / s.kv_heads; }
    HORO_DEVICE int64_t tiles_down() const { return parts(rows, side); }
    HORO_DEVICE int64_t tiles_across() const { return parts(s.dim, side); }
};

// What a thread's lane holds of fragments.
struct Lane {
    int warp_row, g, t;  // first row of the warp's 16; the g and t of mma.cuh
};
HORO_DEVICE Lane lane_of_thread() {
    const int thread = static_cast<int>(threadIdx.x);
    return {thread / warp * 16, thread % warp / 4, thread % 4};
}

HORO_DEVICE void put_pair(uint16_t* p, uint32_t pair) { put(reinterpret_cast<uint32_t*>(p), pair); }

// Elements d and d + 1 of a row of dim.
HORO_DEVICE void put_output(uint16_t* row, int64_t d, int64_t dim, bool wide, uint32_t pair) {
    if (wide) {
        if (d < dim) put_pair(row + d, pair);
        return;
    }
    if (d < dim) put(row + d, static_cast<uint16_t>(pair & 0xffff));
    if (d + 1 < dim) put(row + d + 1, static_cast<uint16_t>(pair >> 16));
}

// acc += A B of the warp's 16 rows, 64 columns and 64 k.
template <class Type, bool a_by_k, bool b_by_k>
HORO_DEVICE void multiply(float (&acc)[8][4], const uint16_t* a_tile, const uint16_t* b_tile, int warp_row) {
#pragma unroll
    for (int k = 0; k < side; k += 16) {
        uint32_t a[4];
        if constexpr (a_by_k)
            load_a_by_k(a, a_tile, pitch, warp_row, k);
        else
            load_a_by_m(a, a_tile, pitch, warp_row, k);
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
            uint32_t b[4];
            if constexpr (b_by_k)
                load_b_by_k(b, b_tile, pitch, k, n * 8);
            else
                load_b_by_n(b, b_tile, pitch, k, n * 8);
            mma<Type>(acc[n], a, b[0], b[1]);
            mma<Type>(acc[n + 1], a, b[2], b[3]);
        }
    }
}

HORO_DEVICE void clear(float (&acc)[8][4]) {
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[n][e] = 0;
}

// ---- NaN and infinities of tokens that only some rows of a tile see: 0 times one is NaN, and must not reach
// the others. They are added where they are seen and taken out of the tile.

template <class Type>
HORO_DEVICE bool finite(uint16_t bits) {
    const uint16_t exponent = std::is_same_v<Type, Bf16> ? 0x7f80 : 0x7c00;
    return (bits & exponent) != exponent;
}

// Whether a tile of `tokens` rows holds one; all threads call.
template <class Type, int columns>
HORO_DEVICE bool poisoned(const uint16_t* tile, int tile_pitch) {
    int found = 0;
    for (int e = static_cast<int>(threadIdx.x); e < side * columns; e += threads)
        found |= !finite<Type>(tile[e / columns * tile_pitch + e % columns]);
    return __syncthreads_or(found);
}

// sees(m, k): whether row m of the result has a part of token k.
template <class Type, int NT, class Sees>
HORO_DEVICE void add_poison(float (&acc)[NT][4], const uint16_t* tile, int tile_pitch, int row, int t,
                            const Sees& sees) {
#pragma unroll 1
    for (int k = 0; k < side; ++k)
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const uint16_t bits = tile[k * tile_pitch + n * 8 + 2 * t + e % 2];
                if (!finite<Type>(bits) && sees(row + e / 2 * 8, k)) acc[n][e] += widened(Type{bits});
            }
}

template <class Type, int columns>
HORO_DEVICE void remove_poison(uint16_t* tile, int tile_pitch) {
    __syncthreads();
    for (int e = static_cast<int>(threadIdx.x); e < side * columns; e += threads) {
        uint16_t& bits = tile[e / columns * tile_pitch + e % columns];
        if (!finite<Type>(bits)) bits = 0;
    }
    __syncthreads();
}

}  // namespace
}  // namespace horo::cuda
