// Mixed attention of up to 16 heads in one kernel: a block has the same query rows of all heads, a warp one
// head, so the maps meet in shared memory, 16 keys at a time, and never leave the chip. The sums of their
// rows are known before (RowSums), so maps are whole numbers from the start: nothing is rescaled. Keys and
// values are read once for every block of rows; two barriers for every 16 keys.
#pragma once
#include "attention_mma.cuh"

namespace horo::cuda {
namespace {

constexpr int mixed_heads = 16, mixed_keys = 16;

// Bytes of shared memory: the queries, two stages of keys and values, a step of the maps.
constexpr int64_t mixed_shared(int64_t heads, int dim, int MT) {
    const int64_t rows = heads * (MT * 16 + 4 * mixed_keys) * (dim + 8);
    return (rows + mixed_heads * (MT * 16 * mixed_keys + 8)) * 2;
}

// NaN and infinities of a tile of values that only some of the warp's rows see, as add_poison has them.
template <class Type, int dim, int MT>
HORO_DEVICE void warp_poison(float (&acc)[MT][dim / 8][4], uint16_t* tile, const int (&limit)[MT][2],
                             int from) {
    const int lane = static_cast<int>(threadIdx.x) % warp, t = lane % 4;
    int found = 0;
    for (int e = lane; e < mixed_keys * dim; e += warp)
        found |= !finite<Type>(tile[e / dim * (dim + 8) + e % dim]);
    if (!__any_sync(0xffffffff, found)) return;
#pragma unroll 1
    for (int k = 0; k < mixed_keys; ++k)
#pragma unroll
        for (int mt = 0; mt < MT; ++mt)
#pragma unroll
            for (int n = 0; n < dim / 8; ++n)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const uint16_t bits = tile[k * (dim + 8) + n * 8 + 2 * t + e % 2];
                    if (!finite<Type>(bits) && from + k < limit[mt][e / 2])
                        acc[mt][n][e] += widened(Type{bits});
                }
    __syncwarp();
    for (int e = lane; e < mixed_keys * dim; e += warp) {
        uint16_t& bits = tile[e / dim * (dim + 8) + e % dim];
        if (!finite<Type>(bits)) bits = 0;
    }
    __syncwarp();
}

// The whole call; `top` and `inverse` hold its row sums. MT x 16 rows of a block; a warp per head.
template <class Type, int dim, int MT, int most_threads>
HORO_KERNEL(most_threads)
mixed_kernel(HORO_CONSTANT Call c) {
    constexpr int tile_pitch = dim + 8, tile = mixed_keys * tile_pitch, block_rows = MT * 16;
    constexpr int plane = block_rows * mixed_keys + 8;  // of a map; the padding spreads the heads over banks
    const int heads = static_cast<int>(c.s.heads), thread = static_cast<int>(threadIdx.x);
    const int head = thread / warp;
    const Lane lane = {0, thread % warp / 4, thread % 4};
    uint16_t* const maps = reinterpret_cast<uint16_t*>(shared_memory());
    uint16_t* const queries = maps + mixed_heads * plane + head * block_rows * tile_pitch;
    uint16_t* const stages =  // keys, values, keys, values
        maps + mixed_heads * plane + heads * block_rows * tile_pitch + head * 4 * tile;
    uint16_t* const own = maps + head * plane;

    const int64_t down = parts(c.s.q_len, block_rows);
    const int64_t m = (down - 1 - static_cast<int64_t>(blockIdx.x) % down) * block_rows;  // the longest first
    const int64_t i = static_cast<int64_t>(blockIdx.x) / down;
    const int64_t rows = c.s.q_len - m < block_rows ? c.s.q_len - m : block_rows;
    const int64_t shared = c.limit(i, m), seen = c.limit(i, m + rows - 1), steps = parts(seen, mixed_keys);
    const uint16_t *keys = c.k.at(i, 0, head / c.group()), *values = c.v.at(i, 0, head / c.group());
    const auto bring = [&](int64_t step) {
        const int64_t key = step * mixed_keys;
        uint16_t* const to = stages + step % 2 * 2 * tile;
        load_tile<mixed_keys, dim, warp>(to, tile_pitch, keys + key * c.k.strides.token, c.k.strides.token,
                                         seen - key, c.s.dim, c.k.wide, thread % warp);
        load_tile<mixed_keys, dim, warp>(to + tile, tile_pitch, values + key * c.v.strides.token,
                                         c.v.strides.token, seen - key, c.s.dim, c.v.wide, thread % warp);
    };
    load_tile<block_rows, dim, warp>(queries, tile_pitch, c.q.at(i, m, head), c.q.strides.token, rows,
                                     c.s.dim, c.q.wide, thread % warp);
    if (steps > 0) bring(0);
    copy_commit();

    // maps of heads that do not exist are zeros
    for (int e = heads * plane + thread; e < mixed_heads * plane; e += heads * warp) maps[e] = 0;
    uint32_t alpha[2][4];
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int e = 0; e < 4; ++e)
            alpha[part][e] = get(reinterpret_cast<const uint32_t*>(
                c.mix + (part * mixed_heads + lane.g + e % 2 * 8) * mixed_heads + 2 * lane.t + e / 2 * 8));
    const float log2_scale = static_cast<float>(c.s.scale * 1.4426950408889634);
    int limit[MT][2];
    float top[MT][2], inverse[MT][2], acc[MT][dim / 8][4];
#pragma unroll
    for (int mt = 0; mt < MT; ++mt) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const int64_t r = m + mt * 16 + lane.g + e * 8;
            const bool real = r < c.s.q_len;
            limit[mt][e] = real ? static_cast<int>(c.limit(i, r)) : 0;
            top[mt][e] = real ? get(c.row_values(c.top, i, head) + r) : 0;
            inverse[mt][e] = real ? get(c.row_values(c.inverse, i, head) + r) : 0;
        }
#pragma unroll
        for (int n = 0; n < dim / 8; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) acc[mt][n][e] = 0;
    }

    for (int64_t step = 0; step < steps; ++step) {
        __syncwarp();  // the stage that comes next is no longer read
        if (step + 1 < steps) bring(step + 1);
        copy_commit();
        copy_wait<1>();
        __syncwarp();
        uint16_t* const k_tile = stages + step % 2 * 2 * tile;
        uint16_t* const v_tile = k_tile + tile;
        const int from = static_cast<int>(step * mixed_keys);
        float s[MT][2][4];
#pragma unroll
        for (int mt = 0; mt < MT; ++mt)
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 4; ++e) s[mt][n][e] = 0;
#pragma unroll
        for (int k = 0; k < dim; k += 16) {
            uint32_t b[4];
            load_b_by_k(b, k_tile, tile_pitch, k, 0);
#pragma unroll
            for (int mt = 0; mt < MT; ++mt) {
                uint32_t a[4];
                load_a_by_k(a, queries, tile_pitch, mt * 16, k);
                mma<Type>(s[mt][0], a, b[0], b[1]);
                mma<Type>(s[mt][1], a, b[2], b[3]);
            }
        }
#pragma unroll
        for (int mt = 0; mt < MT; ++mt)
#pragma unroll
            for (int e = 0; e < 2; ++e)
#pragma unroll
                for (int n = 0; n < 2; ++n) {
                    const int key = n * 8 + 2 * lane.t;
                    const auto p = [&](int o) {
                        const float score = s[mt][n][2 * e + o];
                        return from + key + o < limit[mt][e]
                                   ? exp2f((score - top[mt][e]) * log2_scale) * inverse[mt][e]
                                   : 0;
                    };
                    const uint32_t pair = packed<Type>(p(0), p(1));
                    memcpy(own + (mt * 16 + lane.g + e * 8) * mixed_keys + key, &pair, sizeof pair);
                }
        __syncthreads();
        // a warp mixes whole rows of 16 keys, in place
        for (int r = head; r < block_rows; r += heads) {
            uint16_t* const at = maps + r * mixed_keys;
            float x[2][4];
            uint32_t b[4];
            load_b_by_n(b, at, plane, 0, 0);
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    uint32_t pair;
                    memcpy(&pair, at + (lane.g + e * 8) * plane + n * 8 + 2 * lane.t, sizeof pair);
                    x[n][2 * e] = lower<Type>(pair);
                    x[n][2 * e + 1] = upper<Type>(pair);
                }
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                mma<Type>(x[0], alpha[part], b[0], b[1]);
                mma<Type>(x[1], alpha[part], b[2], b[3]);
            }
            __syncwarp();
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const uint32_t pair = packed<Type>(x[n][2 * e], x[n][2 * e + 1]);
                    memcpy(at + (lane.g + e * 8) * plane + n * 8 + 2 * lane.t, &pair, sizeof pair);
                }
        }
        __syncthreads();
        if (from + mixed_keys > shared) warp_poison<Type, dim, MT>(acc, v_tile, limit, from);
#pragma unroll
        for (int mt = 0; mt < MT; ++mt) {
            uint32_t a[4];
            load_a_by_k(a, own, mixed_keys, mt * 16, 0);
#pragma unroll
            for (int n = 0; n < dim / 8; n += 2) {
                uint32_t b[4];
                load_b_by_n(b, v_tile, tile_pitch, 0, n * 8);
                mma<Type>(acc[mt][n], a, b[0], b[1]);
                mma<Type>(acc[mt][n + 1], a, b[2], b[3]);
            }
        }
    }
#pragma unroll
    for (int mt = 0; mt < MT; ++mt)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const int64_t r = m + mt * 16 + lane.g + e * 8;
            if (r >= c.s.q_len) continue;
            const bool sees = limit[mt][e] > 0;  // else 0, whatever alpha is
            uint16_t* row = c.out + i * c.s.out.batch + r * c.s.out.token + head * c.s.out.head;
#pragma unroll
            for (int n = 0; n < dim / 8; ++n)
                put_output(row, n * 8 + 2 * lane.t, c.s.dim, c.wide_out,
                           packed<Type>(sees ? acc[mt][n][2 * e] : 0, sees ? acc[mt][n][2 * e + 1] : 0));
        }
}

template <class Type, int dim, int MT, int most_threads>
int32_t mixed(void* stream, const Call& c) {
    return launch_shared(stream, c.s.batch * parts(c.s.q_len, MT * 16), static_cast<int>(c.s.heads) * warp,
                         mixed_shared(c.s.heads, dim, MT), mixed_kernel<Type, dim, MT, most_threads>, c);
}

// Which of the kernels: rows of a block by 16, 0 if none. Shorter blocks read keys and values too often where
// there are many.
inline int mixed_rows(const AttentionShape& s, int64_t most_shared) {
    const auto fits = [&](int dim, int MT) { return mixed_shared(s.heads, dim, MT) <= most_shared; };
    if (s.heads > mixed_heads) return 0;
    if (s.dim <= 64 && s.heads <= 12 && s.q_len > 16 && fits(64, 2)) return 2;
    if (s.kv_len > 512) return 0;
    if (s.dim <= 64) return fits(64, 1) ? 1 : 0;
    return s.dim <= 128 && s.heads <= 8 && fits(128, 1) ? 1 : 0;
}

template <class Type>
int32_t mixed(void* stream, const Call& c, int rows) {
    if (rows == 2)
        return c.s.heads <= 8 ? mixed<Type, 64, 2, 256>(stream, c) : mixed<Type, 64, 2, 384>(stream, c);
    return c.s.dim <= 64 ? mixed<Type, 64, 1, 512>(stream, c) : mixed<Type, 128, 1, 256>(stream, c);
}

}  // namespace
}  // namespace horo::cuda
