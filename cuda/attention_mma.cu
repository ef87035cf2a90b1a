// Attention in bfloat16 and float16 on tensor cores (horo.h), forward and backward, mixed or not. Mixed, and
// backward, by chunks of query rows as in attention.cu: the maps of a chunk, of all heads, are held whole in
// the workspace, here in 16 bits, small enough to stay in the L2 cache. Unmixed, forward, in one kernel that
// keeps no map (attention_flash.cuh). Mixed, forward, of up to 12 heads where they fit, in one kernel after
// the one that sums rows (attention_mixed.cuh). Mixed, backward, of up to 16 heads where they fit, one kernel
// does what lies between the products (attention_rows.cuh). Scores, maps before they are stored, and all sums
// are float32; a map or its gradient is rounded where it is stored. The identity of the mix is added in
// float32, alpha is split into two 16-bit parts. No atomics: every sum has one order.
#include "attention_flash.cuh"
#include "attention_mixed.cuh"
#include "attention_mma.cuh"
#include "attention_rows.cuh"
#include "kernels.h"

namespace horo::cuda {
namespace {

constexpr int mix_columns = 128;  // positions that a block mixes
constexpr int mix_pitch = mix_columns + 8;
constexpr int heads_side = 32;  // heads of a tile of dalpha
#if defined(HORO_EMULATE)
constexpr int64_t chunk_bytes = int64_t{40} << 10, most_slices = 5;  // small shapes in several chunks
#else
constexpr int64_t chunk_bytes = int64_t{20} << 20;  // of maps at a time: fits beside the rest in the L2 cache
constexpr int64_t most_slices = 256;                // of the sums of dalpha
#endif

// ---- Scores: rows of x times rows of y, tile after tile of keys, for what is to become of them

// The largest score of every row and the sum of exponentials.
struct RowSums {
    static constexpr int64_t tiles = int64_t{1} << 40;  // keys of a block
    Call c;
    Operand x, y;

    struct State {
        float top[2], total[2];
    };
    HORO_DEVICE void begin(State& state) const {
        for (int e = 0; e < 2; ++e) {
            state.top[e] = -std::numeric_limits<float>::infinity();
            state.total[e] = 0;
        }
    }
    HORO_DEVICE void tile(State& state, const float (&acc)[8][4], int64_t i, int64_t, int64_t row,
                          int64_t key, int t) const {
        const float log2_scale = static_cast<float>(c.s.scale * 1.4426950408889634);
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const int64_t seen = c.limit(i, row + e * 8) - key - 2 * t;
            float most = state.top[e];
#pragma unroll
            for (int n = 0; n < 8; ++n) {
                if (n * 8 < seen) most = fmaxf(most, acc[n][2 * e]);
                if (n * 8 + 1 < seen) most = fmaxf(most, acc[n][2 * e + 1]);
            }
            most = fmaxf(most, static_cast<float>(__shfl_xor_sync(0xffffffff, most, 1)));
            most = fmaxf(most, static_cast<float>(__shfl_xor_sync(0xffffffff, most, 2)));
            // nothing but -infinity so far: any finite number keeps it 0
            const float base = most == -std::numeric_limits<float>::infinity() ? 0 : most;
            float total = state.total[e] * exp2f((state.top[e] - base) * log2_scale);
#pragma unroll
            for (int n = 0; n < 8; ++n) {
                if (n * 8 < seen) total += exp2f((acc[n][2 * e] - base) * log2_scale);
                if (n * 8 + 1 < seen) total += exp2f((acc[n][2 * e + 1] - base) * log2_scale);
            }
            state.top[e] = most;
            state.total[e] = total;
        }
    }
    HORO_DEVICE void end(State& state, int64_t i, int64_t head, int64_t row, int t) const {
        for (int e = 0; e < 2; ++e) {
            float total = state.total[e];
            total += static_cast<float>(__shfl_xor_sync(0xffffffff, total, 1));
            total += static_cast<float>(__shfl_xor_sync(0xffffffff, total, 2));
            const int64_t r = row + e * 8;
            if (t != 0 || r >= c.rows) continue;
            const float infinity = std::numeric_limits<float>::infinity(), top = state.top[e];
            const bool blind = top == -infinity;
            put(c.row_values(c.top, i, head) + r, blind ? infinity : top);
            put(c.row_values(c.inverse, i, head) + r, blind ? total : 1 / total);  // 0 or NaN; else
            if (c.lse)
                put(c.lse + ((c.item + i) * c.s.heads + head) * c.s.q_len + c.first + r,
                    blind ? total != total ? total : -infinity
                          : static_cast<float>(log(static_cast<double>(total)) +
                                               static_cast<double>(top) * c.s.scale));
        }
    }
};

// Stores maps: probabilities, or (centred) products of output gradients and values.
template <class Type, bool probabilities>
struct Maps {
    static constexpr int64_t tiles = 4;
    Call c;
    Operand x, y;
    uint16_t* maps;

    struct State {};
    HORO_DEVICE void begin(State&) const {}
    HORO_DEVICE void tile(State&, const float (&acc)[8][4], int64_t i, int64_t head, int64_t row, int64_t key,
                          int t) const {
        const float log2_scale = static_cast<float>(c.s.scale * 1.4426950408889634);
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const int64_t r = row + e * 8;
            if (r >= c.rows) continue;
            const int64_t seen = c.limit(i, r) - key - 2 * t;
            const float top = get(c.row_values(c.top, i, head) + r);
            const float inverse = probabilities ? get(c.row_values(c.inverse, i, head) + r) : 0;
            uint16_t* to = c.map(maps, i, head) + r * c.ld + key + 2 * t;
            const auto value = [&](float score) {
                return probabilities ? exp2f((score - top) * log2_scale) * inverse : score - top;
            };
#pragma unroll
            for (int n = 0; n < 8; ++n)
                put_pair(to + n * 8, packed<Type>(n * 8 < seen ? value(acc[n][2 * e]) : 0,
                                                  n * 8 + 1 < seen ? value(acc[n][2 * e + 1]) : 0));
        }
    }
    HORO_DEVICE void end(State&, int64_t, int64_t, int64_t, int) const {}
};

template <class Type, class Work>
HORO_KERNEL(threads)
scores_kernel(HORO_CONSTANT Work w) {
    alignas(16) __shared__ uint16_t x_tiles[2][tile_size];
    alignas(16) __shared__ uint16_t y_tiles[2][tile_size];
    const Call& c = w.c;
    const int64_t across = Work::tiles < int64_t{1} << 40 ? parts(parts(c.s.kv_len, side), Work::tiles) : 1;
    const int64_t strip = static_cast<int64_t>(blockIdx.x) % across;
    const int64_t block = static_cast<int64_t>(blockIdx.x) / across;
    const int64_t m = block % c.tiles_down() * side, map = block / c.tiles_down();
    const int64_t i = map / c.s.heads, head = map % c.s.heads;
    const int64_t rows = c.rows - m < side ? c.rows - m : side, seen = c.limit(i, m + rows - 1);
    const int64_t first = strip * Work::tiles, all = parts(seen, side);
    const int64_t last = all - first < Work::tiles ? all : first + Work::tiles;
    const int64_t chunks = c.tiles_across(), steps = last > first ? (last - first) * chunks : 0;
    const uint16_t *x = w.x.at(c.item + i, c.first + m, head), *y = w.y.at(c.item + i, 0, head / c.group());
    const auto bring = [&](int64_t step) {
        const int64_t tile = first + step / chunks, d = step % chunks * side;
        const int at = static_cast<int>(step % 2);
        if (chunks > 1 || step == 0)
            load_tile<side, side, threads>(x_tiles[chunks > 1 ? at : 0], pitch, x + d, w.x.strides.token,
                                           rows, c.s.dim - d, w.x.wide);
        load_tile<side, side, threads>(y_tiles[at], pitch, y + tile * side * w.y.strides.token + d,
                                       w.y.strides.token, seen - tile * side, c.s.dim - d, w.y.wide);
    };
    const Lane lane = lane_of_thread();
    const int64_t row = m + lane.warp_row + lane.g;
    typename Work::State state;
    w.begin(state);
    float acc[8][4];
    if (steps > 0) bring(0);
    copy_commit();
    for (int64_t step = 0; step < steps; ++step) {
        if (step + 1 < steps) bring(step + 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (step % chunks == 0) clear(acc);
        const int at = static_cast<int>(step % 2);
        multiply<Type, true, true>(acc, x_tiles[chunks > 1 ? at : 0], y_tiles[at], lane.warp_row);
        __syncthreads();
        if (step % chunks == chunks - 1)
            w.tile(state, acc, i, head, row, (first + step / chunks) * side, lane.t);
    }
    w.end(state, i, head, row, lane.t);
}

template <class Type, class Work>
int32_t scores(void* stream, const Work& w) {
    const int64_t across = Work::tiles < int64_t{1} << 40 ? parts(parts(w.c.s.kv_len, side), Work::tiles) : 1;
    return launch(stream, w.c.items * w.c.s.heads * parts(w.c.rows, side) * across, threads,
                  scores_kernel<Type, Work>, w);
}

// ---- to[row] = sum_j map[row, j] x[j]: the output, or dQ

template <class Type>
HORO_KERNEL(threads)
weighted_kernel(HORO_CONSTANT Call c, HORO_CONSTANT Operand x, const uint16_t* maps, uint16_t* to,
                HORO_CONSTANT TokenStrides strides, bool wide) {
    alignas(16) __shared__ uint16_t map_tiles[2][tile_size];
    alignas(16) __shared__ uint16_t x_tiles[2][tile_size];
    const int64_t d = static_cast<int64_t>(blockIdx.x) % c.tiles_across() * side;
    const int64_t block = static_cast<int64_t>(blockIdx.x) / c.tiles_across();
    const int64_t m = block % c.tiles_down() * side, of = block / c.tiles_down();
    const int64_t i = of / c.s.heads, head = of % c.s.heads;
    const int64_t rows = c.rows - m < side ? c.rows - m : side;
    const int64_t shared = c.limit(i, m), seen = c.limit(i, m + rows - 1), steps = parts(seen, side);
    const uint16_t* map = maps + (i * c.s.heads + head) * c.rows * c.ld + m * c.ld;
    const uint16_t* from = x.at(c.item + i, 0, head / c.group()) + d;
    const auto bring = [&](int64_t step) {
        const int at = static_cast<int>(step % 2);
        load_tile<side, side, threads>(map_tiles[at], pitch, map + step * side, c.ld, rows, side, true);
        load_tile<side, side, threads>(x_tiles[at], pitch, from + step * side * x.strides.token,
                                       x.strides.token, seen - step * side, c.s.dim - d, x.wide);
    };
    const Lane lane = lane_of_thread();
    float acc[8][4];
    clear(acc);
    pipelined(steps, bring, [&](int64_t step) {
        const int at = static_cast<int>(step % 2);
        if ((step + 1) * side > shared && poisoned<Type, side>(x_tiles[at], pitch)) {
            add_poison<Type>(acc, x_tiles[at], pitch, lane.warp_row + lane.g, lane.t,
                             [&](int r, int k) { return r < rows && step * side + k < c.limit(i, m + r); });
            remove_poison<Type, side>(x_tiles[at], pitch);
        }
        multiply<Type, true, false>(acc, map_tiles[at], x_tiles[at], lane.warp_row);
    });
#pragma unroll
    for (int e = 0; e < 2; ++e) {
        const int64_t r = lane.warp_row + lane.g + e * 8;
        if (r >= rows) continue;
        uint16_t* row =
            to + (c.item + i) * strides.batch + (c.first + m + r) * strides.token + head * strides.head;
#pragma unroll
        for (int n = 0; n < 8; ++n)
            put_output(row, d + n * 8 + 2 * lane.t, c.s.dim, wide,
                       packed<Type>(acc[n][2 * e], acc[n][2 * e + 1]));
    }
}

template <class Type>
int32_t weighted(void* stream, const Call& c, const Operand& x, const uint16_t* maps, uint16_t* to,
                 const TokenStrides& strides, bool wide) {
    return launch(stream, c.items * c.s.heads * parts(c.rows, side) * parts(c.s.dim, side), threads,
                  weighted_kernel<Type>, c, x, maps, to, strides, wide);
}

// ---- dK and dV: to[key] = sum over the rows of the heads that share it: map[row, key] x[row]. Between
// chunks the sums are float32 in the workspace.

template <class Type>
HORO_KERNEL(threads)
keys_kernel(HORO_CONSTANT Call c, bool begin, bool end) {
    alignas(16) __shared__ uint16_t map_tiles[2][tile_size];
    alignas(16) __shared__ uint16_t x_tiles[2][tile_size];
    const bool values = blockIdx.x % 2;  // dV, else dK
    const int64_t d = static_cast<int64_t>(blockIdx.x) / 2 % c.tiles_across() * side;
    const int64_t block = static_cast<int64_t>(blockIdx.x) / 2 / c.tiles_across();
    const int64_t key = block % parts(c.s.kv_len, side) * side, of = block / parts(c.s.kv_len, side);
    const int64_t i = of / c.s.kv_heads, head = of % c.s.kv_heads;
    const Operand& x = values ? c.dout : c.q;
    const uint16_t* maps = values ? c.maps : c.grads;
    // tiles of rows, of one head after another; before `hidden` no row sees a key of the tile
    int64_t hidden = 0;
    while (hidden < c.tiles_down() &&
           c.limit(i, ((hidden + 1) * side < c.rows ? (hidden + 1) * side : c.rows) - 1) <= key)
        ++hidden;
    const int64_t down = c.tiles_down() - hidden, steps = down * c.group();
    const auto bring = [&](int64_t step) {
        const int at = static_cast<int>(step % 2);
        const int64_t m = (hidden + step % down) * side, h = head * c.group() + step / down;
        load_tile<side, side, threads>(map_tiles[at], pitch,
                                       maps + ((i * c.s.heads + h) * c.rows + m) * c.ld + key, c.ld,
                                       c.rows - m, side, true);
        load_tile<side, side, threads>(x_tiles[at], pitch, x.at(c.item + i, c.first + m, h) + d,
                                       x.strides.token, c.rows - m, c.s.dim - d, x.wide);
    };
    const Lane lane = lane_of_thread();
    const int64_t first = lane.warp_row + lane.g, sums_row = c.tiles_across() * side;
    float* sums = (values ? c.sums_v : c.sums_k) + (of * c.s.kv_len + key) * sums_row + d + 2 * lane.t;
    float acc[8][4];
    clear(acc);
    if (!begin)
#pragma unroll
        for (int n = 0; n < 8; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e)
                if (key + first + e * 8 < c.s.kv_len) {
                    float pair[2];
                    load<2>(pair, sums + (first + e * 8) * sums_row + n * 8);
                    acc[n][2 * e] = pair[0], acc[n][2 * e + 1] = pair[1];
                }
    pipelined(steps, bring, [&](int64_t step) {
        const int at = static_cast<int>(step % 2);
        const int64_t m = (hidden + step % down) * side;
        if (c.limit(i, m) < key + side && poisoned<Type, side>(x_tiles[at], pitch)) {
            add_poison<Type>(acc, x_tiles[at], pitch, lane.warp_row + lane.g, lane.t,
                             [&](int j, int r) { return m + r < c.rows && key + j < c.limit(i, m + r); });
            remove_poison<Type, side>(x_tiles[at], pitch);
        }
        multiply<Type, false, false>(acc, map_tiles[at], x_tiles[at], lane.warp_row);
    });
    const TokenStrides& strides = values ? c.s.v : c.s.k;
    uint16_t* to = (values ? c.dv : c.dk) + (c.item + i) * strides.batch + head * strides.head;
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const int64_t j = key + first + e * 8;
            if (j >= c.s.kv_len) continue;
            const float pair[2] = {acc[n][2 * e], acc[n][2 * e + 1]};
            if (end)
                put_output(to + j * strides.token, d + n * 8 + 2 * lane.t, c.s.dim,
                           values ? c.wide_dv : c.wide_dk, packed<Type>(pair[0], pair[1]));
            else
                store<2>(sums + (first + e * 8) * sums_row + n * 8, pair);
        }
}

template <class Type>
int32_t key_gradients(void* stream, const Call& c, bool begin, bool end) {
    return launch(stream, c.items * c.s.kv_heads * parts(c.s.kv_len, side) * parts(c.s.dim, side) * 2,
                  threads, keys_kernel<Type>, c, begin, end);
}

// ---- The mix, in place: a block has some positions of one row, of all heads, in shared memory

constexpr int64_t padded(int64_t heads) { return parts(heads, 16) * 16; }

// alpha and its transpose in 16 bits, padded with zeros: what the type holds of it, and of what is left.
template <class Type>
HORO_KERNEL(threads)
split_alpha_kernel(const float* alpha, int heads, uint16_t* mix) {
    const int64_t size = static_cast<int64_t>(padded(heads)) * padded(heads);
    const int64_t e = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (e >= 2 * size) return;
    const int64_t h = e % size / padded(heads), i = e % padded(heads);
    float value = 0;
    if (h < heads && i < heads) value = get(alpha + (e < size ? h * heads + i : i * heads + h));
    Type high, low;
    narrow(value, high);
    narrow(finite<Type>(high.bits) ? value - widened(high) : 0, low);
    uint16_t* to = mix + e / size * 2 * size + e % size;
    put(to, high.bits);
    put(to + size, low.bits);
}

// map_h += sum_i alpha[h, i] map_i with the parts of alpha that `mix` names.
template <class Type, int columns>
HORO_KERNEL(threads)
mix_kernel(HORO_CONSTANT Call c, uint16_t* maps, const uint16_t* mix) {
    constexpr int tile_pitch = columns == 8 ? 8 : columns + 8;
    constexpr int wide = columns < 32 ? columns : 32;  // columns of a warp's task
    uint16_t* all = reinterpret_cast<uint16_t*>(shared_memory());
    const int64_t across = parts(c.s.kv_len, columns);
    const int64_t at = static_cast<int64_t>(blockIdx.x) / across;
    const int64_t i = at / c.rows, row = at % c.rows;
    const int64_t from = static_cast<int64_t>(blockIdx.x) % across * columns;
    const int64_t left = c.limit(i, row) - from;
    if (left <= 0) return;
    const int heads = static_cast<int>(c.s.heads), high = static_cast<int>(padded(heads));
    uint16_t* first = c.map(maps, i, 0) + row * c.ld + from;
    const int thread = static_cast<int>(threadIdx.x);
    for (int e = thread; e < high * (columns / 8); e += threads) {
        const int h = e / (columns / 8), j = e % (columns / 8) * 8;
        const bool real = h < heads && j < left;
        copy_async(all + h * tile_pitch + j, real ? first + h * c.rows * c.ld + j : first, real);
    }
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    const Lane lane = lane_of_thread();
    const int tasks = high / 16 * (columns / wide), rounds = static_cast<int>(parts(tasks, warps));
    for (int round = 0; round < rounds; ++round) {
        // a warp without a task does the last one again and keeps it to itself
        const int mine = round * warps + thread / warp, task = mine < tasks ? mine : tasks - 1;
        const int h = task / (columns / wide) * 16 + lane.g, j = task % (columns / wide) * wide;
        float acc[wide / 8][4];
#pragma unroll
        for (int n = 0; n < wide / 8; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                uint32_t pair;
                memcpy(&pair, all + (h + e * 8) * tile_pitch + j + n * 8 + 2 * lane.t, sizeof pair);
                acc[n][2 * e] = lower<Type>(pair);
                acc[n][2 * e + 1] = upper<Type>(pair);
            }
        for (int k = 0; k < high; k += 16) {
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                const uint16_t* alpha = mix + (part * high + h) * static_cast<int64_t>(high) + k + 2 * lane.t;
                uint32_t a[4];
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    a[e] = get(reinterpret_cast<const uint32_t*>(alpha + e % 2 * 8 * high + e / 2 * 8));
#pragma unroll
                for (int n = 0; n < wide / 8; n += 2) {
                    uint32_t b[4];
                    if constexpr (wide > 8) {
                        load_b_by_n(b, all, tile_pitch, k, j + n * 8);
                        mma<Type>(acc[n], a, b[0], b[1]);
                        mma<Type>(acc[n + 1], a, b[2], b[3]);
                    } else {
                        const int l = thread % 16;  // the upper lanes' matrices are not used
                        load_matrices<true>(b, all + (k + l) * tile_pitch);
                        mma<Type>(acc[n], a, b[0], b[1]);
                    }
                }
            }
        }
        if (mine >= tasks) continue;
#pragma unroll
        for (int e = 0; e < 2; ++e)
            if (h + e * 8 < heads)
#pragma unroll
                for (int n = 0; n < wide / 8; ++n) {
                    const int column = j + n * 8 + 2 * lane.t;
                    if (column < left)
                        put_pair(first + (h + e * 8) * c.rows * c.ld + column,
                                 packed<Type>(acc[n][2 * e], column + 1 < left ? acc[n][2 * e + 1] : 0));
                }
    }
}

template <class Type>
int32_t split_alpha(void* stream, const Call& c) {
    const int64_t size = padded(c.s.heads) * padded(c.s.heads);
    return launch(stream, parts(2 * size, threads), threads, split_alpha_kernel<Type>, c.alpha,
                  static_cast<int>(c.s.heads), c.mix);
}

template <class Type>
int32_t mix(void* stream, const Call& c, uint16_t* maps, bool transposed) {
    const int64_t high = padded(c.s.heads);
    const uint16_t* alpha = c.mix + (transposed ? 2 * high * high : 0);
    if (high * mix_pitch * 2 <= 48 << 10)
        return launch_shared(stream, c.items * c.rows * parts(c.s.kv_len, mix_columns), threads,
                             high * mix_pitch * 2, mix_kernel<Type, mix_columns>, c, maps, alpha);
    return launch_shared(stream, c.items * c.rows * parts(c.s.kv_len, 8), threads, high * 16,
                         mix_kernel<Type, 8>, c, maps, alpha);
}

// ---- dalpha[h, i] = sum of G_h P_i over all rows and keys. G is stored less the product with the first
// value, c_h: maps sum to 1, so c_h is added to all of row h. Rows go to slices in turn; partial sums are
// float32 within a slice of a chunk, float64 beyond.

template <class Type>
HORO_KERNEL(threads)
products_kernel(HORO_CONSTANT Call c, int64_t slices, bool begin) {
    alignas(16) __shared__ uint16_t g_tiles[2][heads_side * pitch];
    alignas(16) __shared__ uint16_t p_tiles[2][heads_side * pitch];
    __shared__ float sums[warps][heads_side * heads_side];
    const int64_t across = parts(c.s.heads, heads_side);
    const int64_t slice = static_cast<int64_t>(blockIdx.x) / (across * across);
    const int64_t of = static_cast<int64_t>(blockIdx.x) % (across * across);
    const int64_t h = of / across * heads_side, p = of % across * heads_side, all = c.items * c.rows;
    const int thread = static_cast<int>(threadIdx.x), mine = thread / warp * 16;
    const Lane lane = lane_of_thread();
    float acc[2][4][4];
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) acc[m][n][e] = 0;
    int64_t row = slice, key = 0;  // what is brought next
    const auto settle = [&] {      // on a row that sees it
        while (row < all && key >= c.limit(row / c.rows, row % c.rows)) {
            row += slices;
            key = 0;
        }
        return row < all;
    };
    const auto bring = [&](int at) {
        const int64_t i = row / c.rows, from = row % c.rows * c.ld + key;
        load_tile<heads_side, side, threads>(g_tiles[at], pitch, c.map(c.grads, i, h) + from, c.rows * c.ld,
                                             c.s.heads - h, side, true);
        load_tile<heads_side, side, threads>(p_tiles[at], pitch, c.map(c.maps, i, p) + from, c.rows * c.ld,
                                             c.s.heads - p, side, true);
        key += side;
    };
    bool more = settle();
    if (more) bring(0);
    copy_commit();
    for (int at = 0; more; at ^= 1) {
        more = settle();
        if (more) bring(at ^ 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        uint32_t a[2][4];
        load_a_by_k(a[0], g_tiles[at], pitch, 0, mine);
        load_a_by_k(a[1], g_tiles[at], pitch, 16, mine);
#pragma unroll
        for (int n = 0; n < 4; n += 2) {
            uint32_t b[4];
            load_b_by_k(b, p_tiles[at], pitch, mine, n * 8);
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                mma<Type>(acc[m][n], a[m], b[0], b[1]);
                mma<Type>(acc[m][n + 1], a[m], b[2], b[3]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e)
                sums[thread / warp][(m * 16 + lane.g + e / 2 * 8) * heads_side + n * 8 + 2 * lane.t + e % 2] =
                    acc[m][n][e];
    __syncthreads();
    for (int e = thread; e < heads_side * heads_side; e += threads) {
        const int64_t to_h = h + e / heads_side, to_i = p + e % heads_side;
        if (to_h >= c.s.heads || to_i >= c.s.heads) continue;
        double total = 0;
        for (int w = 0; w < warps; ++w) total += static_cast<double>(sums[w][e]);
        double* to = c.partial + (slice * c.s.heads + to_h) * c.s.heads + to_i;
        put(to, begin ? total : get(to) + total);
    }
}

// top = the product of the row's output gradient with the first value, 0 for a row that sees no key.
template <class Type>
HORO_KERNEL(threads)
centres_kernel(HORO_CONSTANT Call c) {
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t at = static_cast<int64_t>(blockIdx.x) * warps + thread / warp;
    const int64_t map = at / c.rows, row = at % c.rows, i = map / c.s.heads, head = map % c.s.heads;
    const bool live = map < c.items * c.s.heads;
    const bool sees = live && c.limit(i, row) > 0;
    double sum = 0;
    if (sees) {
        const uint16_t *x = c.dout.at(c.item + i, c.first + row, head),
                       *y = c.v.at(c.item + i, 0, head / c.group());
        for (int64_t d = thread % warp; d < c.s.dim; d += warp)
            sum += static_cast<double>(widened(Type{get(x + d)}) * widened(Type{get(y + d)}));
    }
    sum = warp_sum(sum);
    if (live && thread % warp == 0) put(c.row_values(c.top, i, head) + row, static_cast<float>(sum));
}

// centres[head] (+)= the sum of the head's centres, a block each.
HORO_KERNEL(threads)
sum_centres_kernel(HORO_CONSTANT Call c, bool begin) {
    const int64_t head = static_cast<int64_t>(blockIdx.x);
    double sum = 0;
    for (int64_t e = threadIdx.x; e < c.items * c.rows; e += threads)
        sum += static_cast<double>(get(c.row_values(c.top, e / c.rows, head) + e % c.rows));
    sum = block_sum<threads>(sum);
    if (threadIdx.x == 0) put(c.centres + head, begin ? sum : get(c.centres + head) + sum);
}

HORO_KERNEL(threads)
finish_dalpha_kernel(HORO_CONSTANT Call c, int64_t slices) {
    const int64_t n = c.s.heads * c.s.heads, at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (at >= n) return;
    double total = get(c.centres + at / c.s.heads);
    for (int64_t slice = 0; slice < slices; ++slice) total += get(c.partial + slice * n + at);
    put(c.dalpha + at, static_cast<float>(static_cast<double>(get(c.dalpha + at)) + total));
}

// ---- dS = P (dP - delta) scale, delta = sum_j P dP; a warp has a row

template <class Type>
HORO_KERNEL(threads)
softmax_gradient_kernel(HORO_CONSTANT Call c) {
    constexpr int pack = 8;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % warp * pack;
    const int64_t at = static_cast<int64_t>(blockIdx.x) * warps + thread / warp;
    const int64_t map = at / c.rows, row = at % c.rows;
    const bool live = map < c.items * c.s.heads;
    const int64_t keys = live ? c.limit(map / c.s.heads, row) : 0;
    const uint16_t* p = c.maps + at * c.ld;
    uint16_t* g = c.grads + at * c.ld;
    const auto both = [&](int64_t j, float(&x)[pack], float(&y)[pack]) {
        uint16_t a[pack], b[pack];
        load<pack>(a, p + j);
        load<pack>(b, g + j);
#pragma unroll
        for (int e = 0; e < pack; ++e) x[e] = widened(Type{a[e]}), y[e] = widened(Type{b[e]});
    };
    float sum = 0;
    for (int64_t j = lane; j < keys; j += warp * pack) {
        float x[pack], y[pack];
        both(j, x, y);
#pragma unroll
        for (int e = 0; e < pack; ++e) sum += j + e < keys ? x[e] * y[e] : 0;
    }
    const float delta = static_cast<float>(warp_sum(static_cast<double>(sum)));
    const float scale = static_cast<float>(c.s.scale);
    for (int64_t j = lane; j < keys; j += warp * pack) {
        float x[pack], y[pack];
        both(j, x, y);
        uint16_t to[pack];
#pragma unroll
        for (int e = 0; e < pack; ++e) {
            Type ds;
            narrow(j + e < keys ? x[e] * (y[e] - delta) * scale : 0, ds);
            to[e] = ds.bits;
        }
        store<pack>(g + j, to);
    }
}

// ---- The order of the kernels

// What a block may have of shared memory on the current device.
int32_t shared_limit(int64_t* bytes) {
#if defined(HORO_EMULATE)
    *bytes = int64_t{100} << 10;  // small shapes on every path
    return 0;
#else
    int device = 0, most = 0;
    HORO_TRY(cudaGetDevice(&device));
    HORO_TRY(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    *bytes = most;
    return 0;
#endif
}

bool wide_rows(const void* p, const TokenStrides& strides, int64_t dim) {
    return aligned(16, static_cast<const char*>(p)) && strides.batch % 8 == 0 && strides.token % 8 == 0 &&
           strides.head % 8 == 0 && dim % 8 == 0;
}

// What lies where in the workspace, and how much is worked on at a time.
struct Plan {
    int64_t slices, bytes;
    bool flash;
    Call c{};

    Plan(const AttentionShape& s, bool backward, void* base) {
        c.s = s;
        c.ld = parts(s.kv_len, side) * side;
        const int64_t row = s.heads * c.ld * 2 * (backward ? 2 : 1);
        const int64_t fit = row > 0 ? chunk_bytes / row : s.q_len;
        // whole tiles of rows, and batch items together where they are small
        c.rows = fit < side ? side : fit / side * side;
        if (c.rows > s.q_len) c.rows = s.q_len;
        c.items = c.rows == s.q_len && c.rows > 0 ? fit / c.rows : 1;
        if (c.items < 1) c.items = 1;
        if (c.items > s.batch) c.items = s.batch;
        slices = backward && s.mixed ? (int64_t{1} << 21) / (s.heads * s.heads) : 0;
        if (slices > most_slices) slices = most_slices;
        if (backward && s.mixed && slices < 1) slices = 1;
        const uintptr_t start = (reinterpret_cast<uintptr_t>(base) + 255) & ~uintptr_t{255};
        uintptr_t at = start;
        const auto take = [&](auto*& piece, int64_t count) {
            piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(at);
            at += static_cast<uintptr_t>(parts(count * static_cast<int64_t>(sizeof *piece), 256) * 256);
        };
        const int64_t map_rows = c.items * s.heads * c.rows;
        const bool several = c.rows < s.q_len;
        const int64_t sums =
            backward && several ? c.items * s.kv_heads * s.kv_len * parts(s.dim, side) * side : 0;
        flash = !backward && !s.mixed && s.dim <= flash_dim;
        if (flash) {
            bytes = 1;
            return;
        }
        take(c.maps, map_rows * c.ld);
        take(c.grads, backward ? map_rows * c.ld : 0);
        // forward, the kernel of few heads has the sums of all rows
        const int64_t sum_rows = backward ? map_rows : s.batch * s.heads * s.q_len;
        take(c.top, sum_rows);
        take(c.inverse, sum_rows);
        take(c.sums_k, sums);
        take(c.sums_v, sums);
        take(c.mix, s.mixed ? 4 * padded(s.heads) * padded(s.heads) : 0);
        take(c.partial, slices * s.heads * s.heads);
        take(c.centres, backward && s.mixed ? s.heads : 0);
        bytes = static_cast<int64_t>(at - start) + 256;
    }

    Call call(const AttentionBuffers& b) const {
        Call all = c;
        const auto operand = [&](const void* p, const TokenStrides& strides) {
            return Operand{static_cast<const uint16_t*>(p), strides, wide_rows(p, strides, c.s.dim)};
        };
        const auto result = [&](void* p, const TokenStrides& strides, bool& wide) {
            wide = wide_rows(p, strides, c.s.dim);
            return static_cast<uint16_t*>(p);
        };
        all.q = operand(b.q, c.s.q), all.k = operand(b.k, c.s.k), all.v = operand(b.v, c.s.v);
        all.dout = operand(b.dout, c.s.out);
        all.out = result(b.out, c.s.out, all.wide_out);
        all.dq = result(b.dq, c.s.q, all.wide_dq);
        all.dk = result(b.dk, c.s.k, all.wide_dk);
        all.dv = result(b.dv, c.s.v, all.wide_dv);
        all.alpha = static_cast<const float*>(b.alpha), all.dalpha = static_cast<float*>(b.dalpha);
        all.lse = static_cast<float*>(b.lse);
        return all;
    }
};

// Calls body(call) for every chunk.
template <class Body>
int32_t chunks(Call c, Body&& body) {
    const int64_t items = c.items, rows = c.rows;
    for (c.item = 0; c.item < c.s.batch; c.item += items) {
        c.items = c.s.batch - c.item < items ? c.s.batch - c.item : items;
        for (c.first = 0; c.first < c.s.q_len; c.first += rows) {
            c.rows = c.s.q_len - c.first < rows ? c.s.q_len - c.first : rows;
            HORO_TRY(body(c));
        }
    }
    return 0;
}

template <class Type>
int32_t probabilities(void* stream, const Call& c) {
    HORO_TRY((scores<Type>(stream, RowSums{c, c.q, c.k})));
    if (c.s.kv_len == 0) return 0;
    return scores<Type>(stream, Maps<Type, true>{c, c.q, c.k, c.maps});
}

template <class Type>
int32_t forward(const AttentionShape& s, const AttentionBuffers& b, void* stream) {
    const Plan plan(s, false, b.workspace);
    const Call whole = plan.call(b);
    if (plan.flash) return flash<Type>(stream, whole);
    if (s.mixed) HORO_TRY(split_alpha<Type>(stream, whole));
    int64_t most_shared = 0;
    HORO_TRY(shared_limit(&most_shared));
    const int rows = s.mixed && s.kv_len > 0 ? mixed_rows(s, most_shared) : 0;
    if (rows > 0) {
        Call all = whole;
        all.items = s.batch, all.rows = s.q_len;
        HORO_TRY((scores<Type>(stream, RowSums{all, all.q, all.k})));
        return mixed<Type>(stream, all, rows);
    }
    return chunks(whole, [&](const Call& c) -> int32_t {
        HORO_TRY(probabilities<Type>(stream, c));
        if (s.mixed && s.kv_len > 0) HORO_TRY(mix<Type>(stream, c, c.maps, false));
        return weighted<Type>(stream, c, c.v, c.maps, c.out, s.out, c.wide_out);
    });
}

template <class Type>
int32_t backward(const AttentionShape& s, const AttentionBuffers& b, void* stream) {
    const Plan plan(s, true, b.workspace);
    Call whole = plan.call(b);
    if (s.q_len == 0) {  // no row sees a key
        whole.items = s.batch;
        return key_gradients<Type>(stream, whole, true, true);
    }
    if (s.mixed) HORO_TRY(split_alpha<Type>(stream, whole));
    int64_t most_shared = 0;
    HORO_TRY(shared_limit(&most_shared));
    const bool whole_rows = s.mixed && rows_fit(s.heads, whole.ld, most_shared);
    bool begun = false;
    const int32_t status = chunks(whole, [&](const Call& c) -> int32_t {
        if (s.kv_len == 0) return weighted<Type>(stream, c, c.k, c.grads, c.dq, s.q, c.wide_dq);
        HORO_TRY(probabilities<Type>(stream, c));
        const int64_t rows = c.items * s.heads * c.rows;
        HORO_TRY(launch(stream, parts(rows, warps), threads, centres_kernel<Type>, c));
        HORO_TRY((scores<Type>(stream, Maps<Type, false>{c, c.dout, c.v, c.grads})));
        if (s.mixed) HORO_TRY(launch(stream, s.heads, threads, sum_centres_kernel, c, !begun));
        if (whole_rows) {
            HORO_TRY(mixed_rows_gradient<Type>(stream, c, plan.slices, !begun));
        } else {
            if (s.mixed) {
                const int64_t across = parts(s.heads, heads_side);
                HORO_TRY(launch(stream, plan.slices * across * across, threads, products_kernel<Type>, c,
                                plan.slices, !begun));
                HORO_TRY(mix<Type>(stream, c, c.grads, true));
            }
            HORO_TRY(launch(stream, parts(rows, warps), threads, softmax_gradient_kernel<Type>, c));
            if (s.mixed) HORO_TRY(mix<Type>(stream, c, c.maps, false));
        }
        begun = begun || s.mixed;
        HORO_TRY(weighted<Type>(stream, c, c.k, c.grads, c.dq, s.q, c.wide_dq));
        return key_gradients<Type>(stream, c, c.first == 0, c.first + c.rows == s.q_len);
    });
    if (status) return status;
    if (!begun) return 0;
    return launch(stream, parts(s.heads * s.heads, threads), threads, finish_dalpha_kernel, whole,
                  plan.slices);
}

template <class Type>
constexpr CudaAttention table() {
    return {[](const AttentionShape& s) { return Plan(s, false, nullptr).bytes; },
            [](const AttentionShape& s) { return Plan(s, true, nullptr).bytes; }, forward<Type>,
            backward<Type>};
}

}  // namespace

const CudaAttention& attention_bf16() {
    static constexpr CudaAttention kernels = table<Bf16>();
    return kernels;
}
const CudaAttention& attention_f16() {
    static constexpr CudaAttention kernels = table<F16>();
    return kernels;
}

}  // namespace horo::cuda
