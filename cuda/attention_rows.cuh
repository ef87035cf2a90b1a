// What the backward pass of mixed attention does to whole rows of maps, of up to 16 heads, in one kernel that
// reads them once: a row of P and of G of all heads lies in shared memory while the products for dalpha are
// summed, G is mixed by alpha^T into dP, and dS and the mixed P are made.
#pragma once
#include "attention_mma.cuh"

namespace horo::cuda {
namespace {

constexpr int row_heads = 16, row_threads = 256, row_warps = row_threads / warp;

// Elements from head to head in shared memory; the padding spreads them over the banks.
constexpr int64_t row_pitch(int64_t ld) { return ld + 8; }

inline int64_t rows_shared(int64_t heads, int64_t ld) { return 2 * heads * row_pitch(ld) * 2; }

inline bool rows_fit(int64_t heads, int64_t ld, int64_t most_shared) {
    constexpr int64_t fixed = 9 << 10;  // beside the rows
    return heads <= row_heads && rows_shared(heads, ld) + fixed <= most_shared;
}

// Block b has the rows b, b + slices, ... of the chunk, counted over its batch items. partial: slices x heads
// x heads, sums of G_h P_i, from 0 if `begin`.
template <class Type>
HORO_KERNEL(row_threads)
rows_kernel(HORO_CONSTANT Call c, int64_t slices, bool begin) {
    alignas(16) __shared__ uint16_t none[8];  // of heads that do not exist
    __shared__ float deltas[row_warps][row_heads];
    __shared__ float sums[row_warps][row_heads * row_heads];
    const int64_t tile_pitch = row_pitch(c.ld);
    const int heads = static_cast<int>(c.s.heads), thread = static_cast<int>(threadIdx.x);
    const int mine = thread / warp, l = thread % warp, g = l / 4, t = l % 4;
    uint16_t* const p_row = reinterpret_cast<uint16_t*>(shared_memory());
    uint16_t* const g_row = p_row + heads * tile_pitch;
    if (thread < 8) none[thread] = 0;
    uint32_t alpha[2][4], back[2][4];
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const uint16_t* at = c.mix + (part * row_heads + g + e % 2 * 8) * row_heads + 2 * t + e / 2 * 8;
            alpha[part][e] = get(reinterpret_cast<const uint32_t*>(at));
            back[part][e] = get(reinterpret_cast<const uint32_t*>(at + 2 * row_heads * row_heads));
        }
    const float scale = static_cast<float>(c.s.scale);
    // what the lane names of 16 heads and the 16 keys from `key` on: heads by lane % 16, keys by lane / 16
    const auto named = [&](const uint16_t* row, int key) {
        return l % 16 < heads ? row + l % 16 * tile_pitch + key + l / 16 * 8 : none;
    };
    const auto pair_at = [&](const uint16_t* row, int head, int key) {
        uint32_t pair = 0;
        if (head < heads) memcpy(&pair, row + head * tile_pitch + key, sizeof pair);
        return pair;
    };
    float products[2][4] = {};
    for (int64_t row = static_cast<int64_t>(blockIdx.x); row < c.items * c.rows; row += slices) {
        const int64_t i = row / c.rows, r = row % c.rows;
        const int keys = static_cast<int>(c.limit(i, r));
        if (keys <= 0) continue;
        const int steps = (keys + 15) / 16;
        __syncthreads();  // of the row before
        for (int e = thread; e < heads * steps * 2; e += row_threads) {
            const int h = e / (steps * 2), j = e % (steps * 2) * 8;
            copy_async(p_row + h * tile_pitch + j, c.map(c.maps, i, h) + r * c.ld + j, true);
            copy_async(g_row + h * tile_pitch + j, c.map(c.grads, i, h) + r * c.ld + j, true);
        }
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        float delta[2] = {0, 0};
        for (int step = mine; step < steps; step += row_warps) {
            const int key = step * 16;
            uint32_t a[4], b[4];
            load_matrices<false>(a, named(g_row, key));
            {
                const int h = l / 16 * 8 + l % 8;
                load_matrices<false>(b, h < heads ? p_row + h * tile_pitch + key + l / 8 % 2 * 8 : none);
            }
            mma<Type>(products[0], a, b[0], b[1]);
            mma<Type>(products[1], a, b[2], b[3]);
            load_matrices<true>(b, named(g_row, key));
            float x[2][4];
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const uint32_t pair = pair_at(g_row, g + e * 8, key + n * 8 + 2 * t);
                    x[n][2 * e] = lower<Type>(pair);
                    x[n][2 * e + 1] = upper<Type>(pair);
                }
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                mma<Type>(x[0], back[part], b[0], b[1]);
                mma<Type>(x[1], back[part], b[2], b[3]);
            }
            __syncwarp();
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int j = key + n * 8 + 2 * t;
                    const uint32_t p = pair_at(p_row, g + e * 8, j);
                    const uint32_t dp = packed<Type>(x[n][2 * e], x[n][2 * e + 1]);
                    if (j < keys) delta[e] += lower<Type>(p) * lower<Type>(dp);
                    if (j + 1 < keys) delta[e] += upper<Type>(p) * upper<Type>(dp);
                    if (g + e * 8 < heads) memcpy(g_row + (g + e * 8) * tile_pitch + j, &dp, sizeof dp);
                }
        }
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            delta[e] += static_cast<float>(__shfl_xor_sync(0xffffffff, delta[e], 1));
            delta[e] += static_cast<float>(__shfl_xor_sync(0xffffffff, delta[e], 2));
            if (t == 0) deltas[mine][g + e * 8] = delta[e];
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            delta[e] = 0;
#pragma unroll
            for (int w = 0; w < row_warps; ++w) delta[e] += deltas[w][g + e * 8];
        }
        for (int step = mine; step < steps; step += row_warps) {
            const int key = step * 16;
            uint32_t b[4];
            load_matrices<true>(b, named(p_row, key));
            float x[2][4];
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int j = key + n * 8 + 2 * t, h = g + e * 8;
                    const uint32_t p = pair_at(p_row, h, j), dp = pair_at(g_row, h, j);
                    x[n][2 * e] = lower<Type>(p);
                    x[n][2 * e + 1] = upper<Type>(p);
                    const auto ds = [&](float of_p, float of_dp, int at) {
                        return at < keys ? of_p * (of_dp - delta[e]) * scale : 0;
                    };
                    if (h < heads)
                        put_pair(c.map(c.grads, i, h) + r * c.ld + j,
                                 packed<Type>(ds(x[n][2 * e], lower<Type>(dp), j),
                                              ds(x[n][2 * e + 1], upper<Type>(dp), j + 1)));
                }
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                mma<Type>(x[0], alpha[part], b[0], b[1]);
                mma<Type>(x[1], alpha[part], b[2], b[3]);
            }
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int j = key + n * 8 + 2 * t, h = g + e * 8;
                    if (h < heads)
                        put_pair(
                            c.map(c.maps, i, h) + r * c.ld + j,
                            packed<Type>(j < keys ? x[n][2 * e] : 0, j + 1 < keys ? x[n][2 * e + 1] : 0));
                }
        }
    }
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
            sums[mine][(g + e / 2 * 8) * row_heads + n * 8 + 2 * t + e % 2] = products[n][e];
    __syncthreads();
    const int h = thread / row_heads, i = thread % row_heads;
    static_assert(row_threads == row_heads * row_heads, "a thread has a product");
    if (h >= heads || i >= heads) return;
    double total = 0;
    for (int w = 0; w < row_warps; ++w) total += static_cast<double>(sums[w][thread]);
    double* to = c.partial + (static_cast<int64_t>(blockIdx.x) * heads + h) * heads + i;
    put(to, begin ? total : get(to) + total);
}

template <class Type>
int32_t mixed_rows_gradient(void* stream, const Call& c, int64_t slices, bool begin) {
    return launch_shared(stream, slices, row_threads, rows_shared(c.s.heads, c.ld), rows_kernel<Type>, c,
                         slices, begin);
}

}  // namespace
}  // namespace horo::cuda
