// Products of 16-bit matrices by a warp (mma.sync, every device from 8.0 on) and copies into shared memory
// that pass no register. Lane 4 g + t holds of a product C (16 x 8) = A (16 x 16) B (16 x 8):
//   a[0] (g, 2t), (g, 2t + 1)    a[1] row g + 8    a[2] columns 2t + 8    a[3] both
//   b[0] (2t, g), (2t + 1, g)    b[1] rows 2t + 8
//   c[0] (g, 2t)    c[1] (g, 2t + 1)    c[2], c[3] row g + 8
#pragma once
#include "half.cuh"

namespace horo::cuda {

// Two numbers, the first in the lower half.
template <class Type>
HORO_DEVICE uint32_t packed(float first, float second) {
#if !defined(HORO_EMULATE)
    uint32_t both;
    if constexpr (std::is_same_v<Type, Bf16>) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
        memcpy(&both, &pair, sizeof both);
    } else {
        const __half2 pair = __floats2half2_rn(first, second);
        memcpy(&both, &pair, sizeof both);
    }
    return both;
#else
    Type low, high;
    narrow(first, low);
    narrow(second, high);
    return low.bits | static_cast<uint32_t>(high.bits) << 16;
#endif
}

template <class Type>
HORO_DEVICE float lower(uint32_t both) {
    return widened(Type{static_cast<uint16_t>(both & 0xffff)});
}
template <class Type>
HORO_DEVICE float upper(uint32_t both) {
    return widened(Type{static_cast<uint16_t>(both >> 16)});
}

// c += a b, in float32.
template <class Type>
HORO_DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if defined(HORO_EMULATE)
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    emulate::Block& block = emulate::Block::current();
    block.give(mine, sizeof mine);
    const unsigned first = block.this_thread() & ~31u, lane = block.this_thread() & 31u;
    const auto half = [&](unsigned of, unsigned reg, unsigned k) {
        return widened(Type{block.given<uint16_t>(first + of, 2 * reg + k % 2)});
    };
    for (unsigned e = 0; e < 4; ++e) {
        const unsigned row = lane / 4, column = lane % 4 * 2 + e % 2;
        for (unsigned k = 0; k < 16; ++k)
            c[e] +=
                half(row * 4 + k % 8 / 2, e / 2 + k / 8 * 2, k) * half(column * 4 + k % 8 / 2, 4 + k / 8, k);
    }
#else
    if constexpr (std::is_same_v<Type, Bf16>)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Four 8 x 8 matrices from shared memory: lane l names row l % 8 of matrix l / 8, 16 aligned bytes. r[m] is
// what lane 4 g + t needs of matrix m: row g, columns 2t and 2t + 1, or of its transpose.
template <bool transposed>
HORO_DEVICE void load_matrices(uint32_t (&r)[4], const uint16_t* row) {
#if defined(HORO_EMULATE)
    emulate::require_aligned(row, 16);
    emulate::Block& block = emulate::Block::current();
    block.give(&row, sizeof row);
    const unsigned thread = block.this_thread(), first = thread & ~31u, g = thread % 32 / 4, t = thread % 4;
    for (unsigned m = 0; m < 4; ++m) {
        const auto element = [&](unsigned i, unsigned j) {
            return static_cast<uint32_t>(block.given<const uint16_t*>(first + m * 8 + i)[j]);
        };
        r[m] = transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                          : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
#else
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    if constexpr (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
#endif
}

// The fragments of a 16 x 16 A at (m, k), of two B (16 x 8 each) at (k, n) and (k, n + 8), in shared memory
// with `pitch` elements from row to row. *_by_*: which index lies contiguous there.
HORO_DEVICE void load_a_by_k(uint32_t (&a)[4], const uint16_t* tile, int pitch, int m, int k) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    load_matrices<false>(a, tile + (m + lane % 16) * pitch + k + lane / 16 * 8);
}
HORO_DEVICE void load_a_by_m(uint32_t (&a)[4], const uint16_t* tile, int pitch, int m, int k) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    load_matrices<true>(a, tile + (k + lane / 16 * 8 + lane % 8) * pitch + m + lane / 8 % 2 * 8);
}
HORO_DEVICE void load_b_by_k(uint32_t (&b)[4], const uint16_t* tile, int pitch, int k, int n) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    load_matrices<false>(b, tile + (n + lane / 16 * 8 + lane % 8) * pitch + k + lane / 8 % 2 * 8);
}
HORO_DEVICE void load_b_by_n(uint32_t (&b)[4], const uint16_t* tile, int pitch, int k, int n) {
    const int lane = static_cast<int>(threadIdx.x) % warp;
    load_matrices<true>(b, tile + (k + lane % 16) * pitch + n + lane / 16 * 8);
}

// 16 bytes into shared memory, zeros if not `real`; there after the wait that covers it and a barrier.
HORO_DEVICE void copy_async(uint16_t* to, const uint16_t* from, bool real) {
#if defined(HORO_EMULATE)
    emulate::require_aligned(to, 16);
    if (real) HORO_ON_ACCESS(from, 16);
    emulate::Block::current().copy_later(to, real ? from : nullptr, 16);
#else
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(real ? 16 : 0)
                 : "memory");
#endif
}
// Ends a group of copies.
HORO_DEVICE void copy_commit() {
#if defined(HORO_EMULATE)
    emulate::Block::current().commit_copies();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all groups of this thread but the latest `pending`.
template <int pending>
HORO_DEVICE void copy_wait() {
#if defined(HORO_EMULATE)
    emulate::Block::current().finish_copies(pending);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// Steps on tiles in two buffers: while one is worked on, bring(step) starts the copies of the next.
template <class Bring, class Work>
HORO_DEVICE void pipelined(int64_t steps, const Bring& bring, const Work& work) {
    if (steps > 0) bring(0);
    copy_commit();
    for (int64_t step = 0; step < steps; ++step) {
        if (step + 1 < steps) bring(step + 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        work(step);
        __syncthreads();
    }
}

// A tile in shared memory by `threads` threads, `pitch` elements from row to row, from rows that lie `stride`
// apart; zeros beyond what is real. wide: rows are aligned to 16 bytes and as long as whole packs of 8.
template <int rows, int columns, int threads>
HORO_DEVICE void load_tile(uint16_t* to, int pitch, const uint16_t* from, int64_t stride, int64_t real_rows,
                           int64_t real_columns, bool wide, int thread) {
    constexpr int packs = columns / 8;
    if (!wide) {
#pragma unroll 1
        for (int e = thread; e < rows * columns; e += threads) {
            const int r = e / columns, c = e % columns;
            to[r * pitch + c] = r < real_rows && c < real_columns ? get(from + r * stride + c) : 0;
        }
        return;
    }
    [[maybe_unused]] constexpr int at_once =
        threads == warp ? 1 : 4;  // a single warp has no registers to spare for it
#pragma unroll at_once
    for (int e = thread; e < rows * packs; e += threads) {
        const int r = e / packs, c = e % packs * 8;
        const bool real = r < real_rows && c < real_columns;
        copy_async(to + r * pitch + c, real ? from + r * stride + c : from, real);
    }
}

template <int rows, int columns, int threads>
HORO_DEVICE void load_tile(uint16_t* to, int pitch, const uint16_t* from, int64_t stride, int64_t real_rows,
                           int64_t real_columns, bool wide) {
    load_tile<rows, columns, threads>(to, pitch, from, stride, real_rows, real_columns, wide,
                                      static_cast<int>(threadIdx.x));
}

}  // namespace horo::cuda
