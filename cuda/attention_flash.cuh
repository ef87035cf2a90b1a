// Unmixed attention in one kernel: a block has some query rows of one head and goes over the keys once, with
// the softmax rescaled as larger scores come (FlashAttention, arXiv 2205.14135). No map leaves the registers.
#pragma once
#include "attention_mma.cuh"

namespace horo::cuda {
namespace {

constexpr int flash_dim = 128;  // the largest head

// Whether queries stay in registers, with room left for what else is there.
constexpr bool flash_keeps(int MT) { return MT == 1; }

// dim: of a tile, the head's or more; MT x 16 rows per warp.
template <class Type, int dim, int MT>
HORO_KERNEL(threads)
flash_kernel(HORO_CONSTANT Call c) {
    constexpr int tile_pitch = dim + 8, tile = side * tile_pitch, all_rows = warps * MT * 16;
    constexpr bool keep = flash_keeps(MT);
    uint16_t* const k_tiles = reinterpret_cast<uint16_t*>(shared_memory());
    uint16_t* const v_tiles = k_tiles + 2 * tile;
    uint16_t* const queries = keep ? k_tiles : v_tiles + 2 * tile;
    const int64_t down = parts(c.s.q_len, all_rows);
    // the longest first, where the mask is causal
    const int64_t m = (down - 1 - static_cast<int64_t>(blockIdx.x) % down) * all_rows;
    const int64_t map = static_cast<int64_t>(blockIdx.x) / down;
    const int64_t i = map / c.s.heads, head = map % c.s.heads;
    const int64_t rows = c.s.q_len - m < all_rows ? c.s.q_len - m : all_rows;
    const int64_t shared = c.limit(i, m), seen = c.limit(i, m + rows - 1), steps = parts(seen, side);
    const Lane lane = lane_of_thread();
    const int first = lane.warp_row * MT + lane.g;

    load_tile<all_rows, dim, threads>(queries, tile_pitch, c.q.at(i, m, head), c.q.strides.token, rows,
                                      c.s.dim, c.q.wide);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    uint32_t kept[keep ? dim / 16 : 1][4];
    if constexpr (keep) {
#pragma unroll
        for (int k = 0; k < dim / 16; ++k) load_a_by_k(kept[k], queries, tile_pitch, lane.warp_row, k * 16);
        __syncthreads();
    }

    const uint16_t *keys = c.k.at(i, 0, head / c.group()), *values = c.v.at(i, 0, head / c.group());
    const auto bring = [&](int64_t step) {
        const int64_t key = step * side;
        const int at = static_cast<int>(step % 2) * tile;
        load_tile<side, dim, threads>(k_tiles + at, tile_pitch, keys + key * c.k.strides.token,
                                      c.k.strides.token, seen - key, c.s.dim, c.k.wide);
        load_tile<side, dim, threads>(v_tiles + at, tile_pitch, values + key * c.v.strides.token,
                                      c.v.strides.token, seen - key, c.s.dim, c.v.wide);
    };
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const float log2_scale = static_cast<float>(c.s.scale * 1.4426950408889634);
    int limit[MT][2];
    float top[MT][2], total[MT][2], acc[MT][dim / 8][4];
#pragma unroll
    for (int mt = 0; mt < MT; ++mt) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            limit[mt][e] = static_cast<int>(c.limit(i, m + first + mt * 16 + e * 8));
            top[mt][e] = -infinity;
            total[mt][e] = 0;
        }
#pragma unroll
        for (int n = 0; n < dim / 8; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) acc[mt][n][e] = 0;
    }
    pipelined(steps, bring, [&](int64_t step) {
        const uint16_t* k_tile = k_tiles + static_cast<int>(step % 2) * tile;
        uint16_t* v_tile = v_tiles + static_cast<int>(step % 2) * tile;
        float s[MT][8][4];
#pragma unroll
        for (int mt = 0; mt < MT; ++mt) clear(s[mt]);
#pragma unroll
        for (int k = 0; k < dim / 16; ++k) {
            uint32_t q[MT][4];
#pragma unroll
            for (int mt = 0; mt < MT; ++mt)
                if constexpr (keep)
                    memcpy(q[mt], kept[k], sizeof q[mt]);
                else
                    load_a_by_k(q[mt], queries, tile_pitch, lane.warp_row * MT + mt * 16, k * 16);
#pragma unroll
            for (int n = 0; n < 8; n += 2) {
                uint32_t b[4];
                load_b_by_k(b, k_tile, tile_pitch, k * 16, n * 8);
#pragma unroll
                for (int mt = 0; mt < MT; ++mt) {
                    mma<Type>(s[mt][n], q[mt], b[0], b[1]);
                    mma<Type>(s[mt][n + 1], q[mt], b[2], b[3]);
                }
            }
        }
        const int from = static_cast<int>(step * side);
        if (from + side > shared) {  // some rows do not see all of the tile
#pragma unroll
            for (int mt = 0; mt < MT; ++mt)
#pragma unroll
                for (int n = 0; n < 8; ++n)
#pragma unroll
                    for (int e = 0; e < 4; ++e)
                        if (from + n * 8 + 2 * lane.t + e % 2 >= limit[mt][e / 2]) s[mt][n][e] = -infinity;
            if (poisoned<Type, dim>(v_tile, tile_pitch)) {
#pragma unroll
                for (int mt = 0; mt < MT; ++mt)
                    add_poison<Type>(acc[mt], v_tile, tile_pitch, first + mt * 16, lane.t, [&](int r, int k) {
                        return from + k < limit[mt][(r - first - mt * 16) / 8];
                    });
                remove_poison<Type, dim>(v_tile, tile_pitch);
            }
        }
#pragma unroll
        for (int mt = 0; mt < MT; ++mt)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                float most = top[mt][e];
#pragma unroll
                for (int n = 0; n < 8; ++n) most = fmaxf(most, fmaxf(s[mt][n][2 * e], s[mt][n][2 * e + 1]));
                most = fmaxf(most, static_cast<float>(__shfl_xor_sync(0xffffffff, most, 1)));
                most = fmaxf(most, static_cast<float>(__shfl_xor_sync(0xffffffff, most, 2)));
                // nothing but -infinity so far: any finite number keeps it 0
                const float base = most == -infinity ? 0 : most * log2_scale;
                const float fade = exp2f(fmaf(top[mt][e], log2_scale, -base));
                top[mt][e] = most;
                float sum = total[mt][e] * fade;
#pragma unroll
                for (int n = 0; n < 8; ++n)
#pragma unroll
                    for (int o = 0; o < 2; ++o) {
                        float& x = s[mt][n][2 * e + o];
                        x = exp2f(fmaf(x, log2_scale, -base));
                        sum += x;
                    }
                total[mt][e] = sum;
#pragma unroll
                for (int n = 0; n < dim / 8; ++n) {
                    acc[mt][n][2 * e] *= fade;
                    acc[mt][n][2 * e + 1] *= fade;
                }
            }
#pragma unroll
        for (int k = 0; k < side / 16; ++k) {
            uint32_t p[MT][4];
#pragma unroll
            for (int mt = 0; mt < MT; ++mt)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    p[mt][e] =
                        packed<Type>(s[mt][2 * k + e / 2][e % 2 * 2], s[mt][2 * k + e / 2][e % 2 * 2 + 1]);
#pragma unroll
            for (int n = 0; n < dim / 8; n += 2) {
                uint32_t b[4];
                load_b_by_n(b, v_tile, tile_pitch, k * 16, n * 8);
#pragma unroll
                for (int mt = 0; mt < MT; ++mt) {
                    mma<Type>(acc[mt][n], p[mt], b[0], b[1]);
                    mma<Type>(acc[mt][n + 1], p[mt], b[2], b[3]);
                }
            }
        }
    });
#pragma unroll
    for (int mt = 0; mt < MT; ++mt)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            float sum = total[mt][e];
            sum += static_cast<float>(__shfl_xor_sync(0xffffffff, sum, 1));
            sum += static_cast<float>(__shfl_xor_sync(0xffffffff, sum, 2));
            const int64_t r = m + first + mt * 16 + e * 8;
            if (r >= c.s.q_len) continue;
            const float most = top[mt][e];
            const bool blind = most == -infinity;  // sum: 0 or NaN
            const float inverse = blind ? sum : 1 / sum;
            uint16_t* row = c.out + i * c.s.out.batch + r * c.s.out.token + head * c.s.out.head;
#pragma unroll
            for (int n = 0; n < dim / 8; ++n)
                put_output(row, n * 8 + 2 * lane.t, c.s.dim, c.wide_out,
                           packed<Type>(acc[mt][n][2 * e] * inverse, acc[mt][n][2 * e + 1] * inverse));
            if (c.lse && lane.t == 0)
                put(c.lse + (i * c.s.heads + head) * c.s.q_len + r,
                    blind ? sum != sum ? sum : -infinity
                          : static_cast<float>(log(static_cast<double>(sum)) +
                                               static_cast<double>(most * log2_scale) * 0.6931471805599453));
        }
}

template <class Type, int dim, int MT>
int32_t flash(void* stream, const Call& c) {
    const int64_t blocks = c.s.batch * c.s.heads * parts(c.s.q_len, warps * MT * 16);
    const int64_t rows = 4 * side + (flash_keeps(MT) ? 0 : warps * MT * 16);
    return launch_shared(stream, blocks, threads, rows * (dim + 8) * 2, flash_kernel<Type, dim, MT>, c);
}

// The whole call; the chunk of `c` has to begin at its start.
template <class Type>
int32_t flash(void* stream, const Call& c) {
    if (c.s.dim > 64) return flash<Type, 128, 1>(stream, c);
    return c.s.q_len > 64 ? flash<Type, 64, 2>(stream, c) : flash<Type, 64, 1>(stream, c);
}

}  // namespace
}  // namespace horo::cuda
