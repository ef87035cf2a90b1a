// Attention with its maps mixed over the heads (horo.h), forward and backward, by chunks of query rows: the
// maps of a chunk, of all heads, are held whole in the workspace, small enough to stay in the L2 cache, so
// the mix sees normalised maps and the backward pass has its row sums before it needs dS. No key is read that
// no row of a tile sees, and none is multiplied for a row that does not see it: 0 * NaN of a later token must
// not reach an earlier one. The identity of the mix is added, not multiplied.
#include "abi/cuda_kernels.h"
#include "kernel.cuh"
#include "kernels.h"
#include "tile.cuh"

namespace horo::cuda {
namespace {

constexpr int threads = 256;
// Of maps at a time: half of the L2 cache of an H100; in the emulator little, for small shapes of several
// chunks.
#if defined(HORO_EMULATE)
constexpr int64_t chunk_bytes = int64_t{40} << 10;
#else
constexpr int64_t chunk_bytes = int64_t{20} << 20;
#endif

// A call, and the chunk of it that is worked on: rows [first, first + rows) of batch items [item, item +
// items).
template <class T>
struct Call {
    AttentionShape s;
    const T *q, *k, *v, *alpha, *dout;
    T *out, *lse, *dq, *dk, *dv;
    int64_t item, items, first, rows;
    int64_t ld;       // elements from row to row of a map
    T *maps, *grads;  // items x heads x rows x ld

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
    template <class P>
    HORO_DEVICE P* at(P* base, const TokenStrides& strides, int64_t i, int64_t token, int64_t head) const {
        return base + (item + i) * strides.batch + token * strides.token + head * strides.head;
    }
    HORO_DEVICE T* map(T* of, int64_t i, int64_t head) const { return of + (i * s.heads + head) * rows * ld; }
    HORO_DEVICE int64_t group() const { return s.heads / s.kv_heads; }
};

// ---- map = rows of x times rows of y: scores of queries and keys, or of output gradients and values

template <class T>
struct Scores {
    using Element = T;
    using Sum = T;
    static constexpr bool a_by_k = true, b_by_n = false;
    static constexpr int MR = 4, NR = 4;
    Call<T> c;
    const T *x, *y;
    TokenStrides x_strides, y_strides;
    T* maps;

    struct Work : PlainWork {
        const Scores* p;
        const T *x, *y;
        T* map;
        int64_t seen;  // by the last row of the tile
        HORO_DEVICE T a(int64_t m, int64_t k) const {
            return m < p->c.rows ? get(x + m * p->x_strides.token + k) : T(0);
        }
        HORO_DEVICE T b(int64_t k, int64_t n) const {
            return n < seen ? get(y + n * p->y_strides.token + k) : T(0);
        }
        HORO_DEVICE void done(int64_t m, int64_t n, T sum) const {
            if (m < p->c.rows && n < seen) put(map + m * p->c.ld + n, sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        const int64_t across = (c.s.kv_len + tile_side * NR - 1) / (tile_side * NR);
        const int64_t down = (c.rows + tile_side * MR - 1) / (tile_side * MR);
        const int64_t of_map = block % (across * down), map = block / (across * down);
        const int64_t i = map / c.s.heads, head = map % c.s.heads;
        Work w{};
        w.range = tile_range<MR, NR>(of_map, c.s.kv_len, c.s.dim);
        const int64_t last = w.range.m + tile_side * MR < c.rows ? w.range.m + tile_side * MR : c.rows;
        w.p = this;
        w.x = c.at(x, x_strides, i, c.first, head);
        w.y = c.at(y, y_strides, i, 0, head / c.group());
        w.map = c.map(maps, i, head);
        w.seen = c.limit(i, last - 1);
        if (w.range.n >= w.seen) w.range.k_end = 0;
        return w;
    }
    int64_t blocks() const { return c.items * c.s.heads * tile_count<MR, NR>(c.rows, c.s.kv_len); }
};

// ---- Rows of maps: a warp or a block each

template <class T>
HORO_DEVICE T exponential(T x) {
    if constexpr (sizeof(T) == 4)
        return expf(x);
    else
        return exp(x);
}

template <int lanes>
HORO_DEVICE double row_max(double value) {
    for (int mask = warp / 2; mask; mask /= 2) value = fmax(value, __shfl_xor_sync(0xffffffff, value, mask));
    if constexpr (lanes > warp)
        value = block_combine<lanes>(value, [](double a, double b) { return fmax(a, b); });
    return value;
}

// The row of a map that a group of lanes works on.
struct MapRow {
    int64_t i, head, row;
    int lane;
    bool live;
};

template <int lanes, class T>
HORO_DEVICE MapRow map_row(const Call<T>& c) {
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t at = static_cast<int64_t>(blockIdx.x) * (threads / lanes) + thread / lanes;
    const int64_t map = at / c.rows;
    return {map / c.s.heads, map % c.s.heads, at % c.rows, thread % lanes, map < c.items * c.s.heads};
}

template <int lanes, class T>
HORO_KERNEL(threads)
softmax_kernel(HORO_CONSTANT Call<T> c) {
    const MapRow w = map_row<lanes>(c);
    const int64_t keys = w.live ? c.limit(w.i, w.row) : 0;
    T* row = w.live ? c.map(c.maps, w.i, w.head) + w.row * c.ld : nullptr;
    constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
    double most = minus_infinity, probe = 0;
    for (int64_t j = w.lane; j < keys; j += lanes) {
        const T x = get(row + j);
        most = fmax(most, static_cast<double>(x));
        probe += x != x ? static_cast<double>(x) : 0;
    }
    most = row_max<lanes>(most);
    probe = row_sum<lanes>(probe);  // NaN if there is one
    const T scale = static_cast<T>(c.s.scale), top = static_cast<T>(most);
    const bool blind = most == minus_infinity;  // nothing to see, or only -infinity and NaN
    double total = 0;
    for (int64_t j = w.lane; j < keys && !blind; j += lanes) {
        const T e = exponential((get(row + j) - top) * scale);
        total += static_cast<double>(e);
        put(row + j, e);
    }
    total = row_sum<lanes>(total);
    const T inverse = static_cast<T>(1 / total);
    for (int64_t j = w.lane; j < keys; j += lanes)
        put(row + j, blind ? static_cast<T>(probe) : get(row + j) * inverse);
    if (c.lse && w.live && w.lane == 0)
        put(c.lse + ((c.item + w.i) * c.s.heads + w.head) * c.s.q_len + c.first + w.row,
            static_cast<T>(blind ? probe != probe ? probe : minus_infinity
                                 : log(total) + static_cast<double>(top) * c.s.scale));
}

// dS = P (dP - delta) scale, delta = sum_j P dP.
template <int lanes, class T>
HORO_KERNEL(threads)
softmax_gradient_kernel(HORO_CONSTANT Call<T> c) {
    const MapRow w = map_row<lanes>(c);
    const int64_t keys = w.live ? c.limit(w.i, w.row) : 0;
    const T* p = w.live ? c.map(c.maps, w.i, w.head) + w.row * c.ld : nullptr;
    T* g = w.live ? c.map(c.grads, w.i, w.head) + w.row * c.ld : nullptr;
    double delta = 0;
    for (int64_t j = w.lane; j < keys; j += lanes)
        delta += static_cast<double>(get(p + j)) * static_cast<double>(get(g + j));
    const T of_row = static_cast<T>(row_sum<lanes>(delta)), scale = static_cast<T>(c.s.scale);
    for (int64_t j = w.lane; j < keys; j += lanes) put(g + j, get(p + j) * (get(g + j) - of_row) * scale);
}

// ---- The mix, in place: a block has some columns of one row, of all heads

// map_h += sum_i alpha[h, i] map_i, or alpha[i, h] for the transpose.
template <class T, int bytes>
HORO_KERNEL(threads)
mix_kernel(HORO_CONSTANT Call<T> c, T* maps, int columns, int transposed) {
    alignas(16) __shared__ T all[bytes / sizeof(T)];
    const int64_t across = (c.s.kv_len + columns - 1) / columns;
    const int64_t at = static_cast<int64_t>(blockIdx.x) / across;
    const int64_t i = at / c.rows, row = at % c.rows;
    const int64_t from = static_cast<int64_t>(blockIdx.x) % across * columns;
    const int64_t left = c.limit(i, row) - from;
    if (left <= 0) return;
    const int wide = left < columns ? static_cast<int>(left) : columns;
    const int heads = static_cast<int>(c.s.heads), thread = static_cast<int>(threadIdx.x);
    T* first = c.map(maps, i, 0) + row * c.ld + from;
    for (int e = thread; e < heads * columns; e += threads) {
        const int h = e / columns, j = e % columns;
        all[e] = j < wide ? get(first + h * c.rows * c.ld + j) : T(0);
    }
    __syncthreads();
    for (int e = thread; e < heads * columns; e += threads) {
        const int h = e / columns, j = e % columns;
        if (j >= wide) continue;
        const T* alpha = c.alpha + static_cast<int64_t>(h) * (transposed ? 1 : heads);
        T sum = all[e];
        for (int k = 0; k < heads; ++k)
            sum += get(alpha + static_cast<int64_t>(k) * (transposed ? heads : 1)) * all[k * columns + j];
        put(first + h * c.rows * c.ld + j, sum);
    }
}

// ---- to[row] = sum_j map[row, j] x[j]: the output, or dQ

template <class T>
struct Weighted {
    using Element = T;
    using Sum = T;
    static constexpr bool a_by_k = true, b_by_n = true;
    static constexpr int MR = 4, NR = 4;
    Call<T> c;
    T* maps;
    const T* x;
    TokenStrides x_strides;
    T* to;
    TokenStrides to_strides;

    struct Work : PlainWork {
        const Weighted* p;
        const T *map, *x;
        T* to;
        int64_t i, shared;  // keys that all rows of the tile see
        HORO_DEVICE bool whole(int64_t k) const { return k + tile_depth <= shared; }
        HORO_DEVICE bool counts(int64_t m, int64_t k) const { return m < p->c.rows && k < p->c.limit(i, m); }
        HORO_DEVICE T a(int64_t m, int64_t k) const {
            return m < p->c.rows && (k < shared || k < p->c.limit(i, m)) ? get(map + m * p->c.ld + k) : T(0);
        }
        HORO_DEVICE T b(int64_t k, int64_t n) const {
            return n < p->c.s.dim ? get(x + k * p->x_strides.token + n) : T(0);
        }
        HORO_DEVICE void done(int64_t m, int64_t n, T sum) const {
            if (m < p->c.rows && n < p->c.s.dim) put(to + m * p->to_strides.token + n, sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        const int64_t across = (c.s.dim + tile_side * NR - 1) / (tile_side * NR);
        const int64_t down = (c.rows + tile_side * MR - 1) / (tile_side * MR);
        const int64_t map = block / (across * down);
        const int64_t head = map % c.s.heads;
        Work w{};
        w.i = map / c.s.heads;
        w.range = tile_range<MR, NR>(block % (across * down), c.s.dim, 0);
        const int64_t last = w.range.m + tile_side * MR < c.rows ? w.range.m + tile_side * MR : c.rows;
        w.range.k_end = c.limit(w.i, last - 1);
        w.shared = c.limit(w.i, w.range.m);
        w.p = this;
        w.map = c.map(maps, w.i, head);
        w.x = c.at(x, x_strides, w.i, 0, head / c.group());
        w.to = c.at(to, to_strides, w.i, c.first, head);
        return w;
    }
    int64_t blocks() const { return c.items * c.s.heads * tile_count<MR, NR>(c.rows, c.s.dim); }
};

// ---- to[key] (+)= sum over the rows of the heads that share it: map[row, key] x[row]: dK and dV

template <class T>
struct Keys {
    using Element = T;
    using Sum = T;
    static constexpr bool a_by_k = false, b_by_n = true;
    static constexpr int MR = 4, NR = 4;
    Call<T> c;
    T* maps;
    const T* x;
    TokenStrides x_strides;
    T* to;
    TokenStrides to_strides;
    bool add;

    struct Work : PlainWork {
        const Keys* p;
        const T* map;  // of the first head of the group
        int64_t i, head;
        // k counts the rows of one head after those of another.
        HORO_DEVICE int64_t row(int64_t k) const {
            return static_cast<uint32_t>(k) % static_cast<uint32_t>(p->c.rows);
        }
        HORO_DEVICE bool whole(int64_t k) const {
            const int64_t last = k + tile_depth - 1;
            if (last >= range.k_end || row(k) + tile_depth > p->c.rows) return false;
            return p->c.limit(i, row(k)) >= range.m + tile_side * MR;
        }
        HORO_DEVICE bool counts(int64_t m, int64_t k) const {
            return k < range.k_end && m < p->c.limit(i, row(k));
        }
        HORO_DEVICE T a(int64_t m, int64_t k) const {
            return m < p->c.limit(i, row(k)) ? get(map + k * p->c.ld + m) : T(0);
        }
        HORO_DEVICE T b(int64_t k, int64_t n) const {
            if (n >= p->c.s.dim) return T(0);
            const int64_t h = head + static_cast<uint32_t>(k) / static_cast<uint32_t>(p->c.rows);
            return get(p->c.at(p->x, p->x_strides, i, p->c.first + row(k), h) + n);
        }
        HORO_DEVICE void done(int64_t m, int64_t n, T sum) const {
            if (m >= p->c.s.kv_len || n >= p->c.s.dim) return;
            T* at = p->c.at(p->to, p->to_strides, i, m, head / p->c.group()) + n;
            put(at, p->add ? get(at) + sum : sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        const int64_t across = (c.s.dim + tile_side * NR - 1) / (tile_side * NR);
        const int64_t down = (c.s.kv_len + tile_side * MR - 1) / (tile_side * MR);
        const int64_t of = block / (across * down);
        Work w{};
        w.range = tile_range<MR, NR>(block % (across * down), c.s.dim, c.group() * c.rows);
        w.p = this;
        w.i = of / c.s.kv_heads;
        w.head = of % c.s.kv_heads * c.group();
        w.map = c.map(maps, w.i, w.head);
        if (c.rows > 0 && c.limit(w.i, c.rows - 1) <= w.range.m) w.range.k_end = 0;  // nobody sees these keys
        return w;
    }
    int64_t blocks() const { return c.items * c.s.kv_heads * tile_count<MR, NR>(c.s.kv_len, c.s.dim); }
};

// ---- dalpha[h, i] = sum of G_h P_i over all rows and keys, in float64, by slices that are added in order

template <class T>
struct MapProducts {
    using Element = T;
    using Sum = double;
    static constexpr bool a_by_k = true, b_by_n = false;
    static constexpr int MR = 2, NR = 2;
    Call<T> c;
    int64_t slices;
    double* partial;  // slices x heads x heads
    bool add;

    struct Work : PlainWork {
        const MapProducts* p;
        double* to;
        // Position k of all maps of a head: row k / ld of the items one after another.
        HORO_DEVICE T read(const T* maps, int64_t head, int64_t k) const {
            const Call<T>& c = p->c;
            const uint32_t at = static_cast<uint32_t>(k) / static_cast<uint32_t>(c.ld);
            const int64_t key = static_cast<uint32_t>(k) % static_cast<uint32_t>(c.ld);
            const int64_t i = at / static_cast<uint32_t>(c.rows), row = at % static_cast<uint32_t>(c.rows);
            if (head >= c.s.heads || key >= c.limit(i, row)) return T(0);
            return get(maps + ((i * c.s.heads + head) * c.rows + row) * c.ld + key);
        }
        HORO_DEVICE T a(int64_t m, int64_t k) const { return read(p->c.grads, m, k); }
        HORO_DEVICE T b(int64_t k, int64_t n) const { return read(p->c.maps, n, k); }
        HORO_DEVICE void done(int64_t m, int64_t n, double sum) const {
            if (m >= p->c.s.heads || n >= p->c.s.heads) return;
            double* at = to + m * p->c.s.heads + n;
            put(at, p->add ? get(at) + sum : sum);
        }
    };
    HORO_DEVICE Work work(int64_t block) const {
        const int64_t side = (c.s.heads + tile_side * MR - 1) / (tile_side * MR);
        const int64_t slice = block / (side * side), all = c.items * c.rows * c.ld;
        const int64_t length = (all + slices - 1) / slices;
        Work w{};
        w.range = tile_range<MR, NR>(block % (side * side), c.s.heads, 0);
        w.range.k = slice * length;
        w.range.k_end = (slice + 1) * length < all ? (slice + 1) * length : all;
        w.p = this;
        w.to = partial + slice * c.s.heads * c.s.heads;
        return w;
    }
    int64_t blocks() const { return slices * tile_count<MR, NR>(c.s.heads, c.s.heads); }
};

template <class T>
HORO_KERNEL(threads)
add_products_kernel(const double* partial, int64_t n, int64_t slices, T* dalpha) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (at >= n) return;
    double total = 0;
    for (int64_t slice = 0; slice < slices; ++slice) total += get(partial + slice * n + at);
    put(dalpha + at, static_cast<T>(static_cast<double>(get(dalpha + at)) + total));
}

// ---- The order of the kernels

template <class P>
int32_t run(void* stream, const P& policy) {
    return launch(stream, policy.blocks(), tile_threads, tile_kernel<P, P::MR, P::NR>, policy);
}

template <class T>
int32_t rows_of_maps(void* stream, const Call<T>& c, void (*by_warp)(Call<T>), void (*by_block)(Call<T>)) {
    const int64_t rows = c.items * c.s.heads * c.rows;
    if (c.s.kv_len <= 1024) return launch(stream, parts(rows, threads / warp), threads, by_warp, c);
    return launch(stream, rows, threads, by_block, c);
}

template <class T>
int32_t mix(void* stream, const Call<T>& c, T* maps, int transposed) {
    constexpr int small = 8192, large = 49152;
    const int64_t column = c.s.heads * static_cast<int64_t>(sizeof(T));  // bytes
    int columns = 32;
    while (columns > 1 && column * columns > large) columns /= 2;
    const int64_t blocks = c.items * c.rows * parts(c.s.kv_len, columns);
    const auto kernel = column * columns <= small ? mix_kernel<T, small> : mix_kernel<T, large>;
    return launch(stream, blocks, threads, kernel, c, maps, columns, transposed);
}

// What lies where in the workspace, and how much is worked on at a time.
template <class T>
struct Plan {
    int64_t ld, rows, items, slices, bytes;
    T *maps, *grads;
    double* partial;

    Plan(const AttentionShape& s, bool backward, void* base) {
        ld = parts(s.kv_len, 32) * 32;
        const int64_t row = s.heads * ld * static_cast<int64_t>(sizeof(T)) * (backward ? 2 : 1);
        const int64_t fit = row > 0 ? chunk_bytes / row : s.q_len;
        // whole tiles of rows, and batch items together where they are small
        rows = fit < 64 ? 64 : fit / 64 * 64;
        if (rows > s.q_len) rows = s.q_len;
        items = rows == s.q_len && rows > 0 ? fit / rows : 1;
        if (items < 1) items = 1;
        if (items > s.batch) items = s.batch;
        slices = backward && s.mixed ? (int64_t{1} << 21) / (s.heads * s.heads) : 0;
        if (slices > 256) slices = 256;
        if (backward && s.mixed && slices < 1) slices = 1;
        const uintptr_t start = (reinterpret_cast<uintptr_t>(base) + 255) & ~uintptr_t{255};
        uintptr_t at = start;
        const auto take = [&](auto*& piece, int64_t count) {
            piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(at);
            at += static_cast<uintptr_t>(parts(count * static_cast<int64_t>(sizeof *piece), 256) * 256);
        };
        take(maps, items * s.heads * rows * ld);
        take(grads, backward ? items * s.heads * rows * ld : 0);
        take(partial, slices * s.heads * s.heads);
        bytes = static_cast<int64_t>(at - start) + 256;
    }
};

template <class T>
Call<T> call_of(const AttentionShape& s, const AttentionBuffers& b, const Plan<T>& plan) {
    Call<T> c{};
    c.s = s;
    c.q = static_cast<const T*>(b.q), c.k = static_cast<const T*>(b.k), c.v = static_cast<const T*>(b.v);
    c.alpha = static_cast<const T*>(b.alpha), c.dout = static_cast<const T*>(b.dout);
    c.out = static_cast<T*>(b.out), c.lse = static_cast<T*>(b.lse);
    c.dq = static_cast<T*>(b.dq), c.dk = static_cast<T*>(b.dk), c.dv = static_cast<T*>(b.dv);
    c.ld = plan.ld, c.maps = plan.maps, c.grads = plan.grads;
    return c;
}

// Calls body(call) for every chunk; body says whether it is the first of its batch items.
template <class T, class Body>
int32_t chunks(Call<T> c, const Plan<T>& plan, Body&& body) {
    for (c.item = 0; c.item < c.s.batch; c.item += plan.items) {
        c.items = c.s.batch - c.item < plan.items ? c.s.batch - c.item : plan.items;
        for (c.first = 0; c.first < c.s.q_len; c.first += plan.rows) {
            c.rows = c.s.q_len - c.first < plan.rows ? c.s.q_len - c.first : plan.rows;
            HORO_TRY(body(c));
        }
    }
    return 0;
}

template <class T>
int32_t probabilities(void* stream, const Call<T>& c) {
    if (c.s.kv_len > 0) HORO_TRY(run(stream, Scores<T>{c, c.q, c.k, c.s.q, c.s.k, c.maps}));
    return rows_of_maps<T>(stream, c, softmax_kernel<warp, T>, softmax_kernel<threads, T>);
}

template <class T>
int32_t forward(const AttentionShape& s, const AttentionBuffers& b, void* stream) {
    const Plan<T> plan(s, false, b.workspace);
    return chunks(call_of<T>(s, b, plan), plan, [&](const Call<T>& c) -> int32_t {
        HORO_TRY(probabilities(stream, c));
        if (s.mixed && s.kv_len > 0) HORO_TRY(mix(stream, c, c.maps, 0));
        return run(stream, Weighted<T>{c, c.maps, c.v, s.v, c.out, s.out});
    });
}

template <class T>
int32_t backward(const AttentionShape& s, const AttentionBuffers& b, void* stream) {
    const Plan<T> plan(s, true, b.workspace);
    Call<T> whole = call_of<T>(s, b, plan);
    whole.lse = nullptr;
    if (s.q_len == 0) {  // no row sees a key
        whole.items = s.batch;
        HORO_TRY(run(stream, Keys<T>{whole, whole.grads, whole.q, s.q, whole.dk, s.k, false}));
        return run(stream, Keys<T>{whole, whole.maps, whole.dout, s.out, whole.dv, s.v, false});
    }
    bool begun = false;
    const int32_t status = chunks(whole, plan, [&](const Call<T>& c) -> int32_t {
        if (s.kv_len == 0) return run(stream, Weighted<T>{c, c.grads, c.k, s.k, c.dq, s.q});
        HORO_TRY(probabilities(stream, c));
        HORO_TRY(run(stream, Scores<T>{c, c.dout, c.v, s.out, s.v, c.grads}));
        if (s.mixed) {
            HORO_TRY(run(stream, MapProducts<T>{c, plan.slices, plan.partial, begun}));
            HORO_TRY(mix(stream, c, c.grads, 1));
            begun = true;
        }
        HORO_TRY(rows_of_maps<T>(stream, c, softmax_gradient_kernel<warp, T>,
                                 softmax_gradient_kernel<threads, T>));
        HORO_TRY(run(stream, Weighted<T>{c, c.grads, c.k, s.k, c.dq, s.q}));
        HORO_TRY(run(stream, Keys<T>{c, c.grads, c.q, s.q, c.dk, s.k, c.first > 0}));
        if (s.mixed) HORO_TRY(mix(stream, c, c.maps, 0));
        return run(stream, Keys<T>{c, c.maps, c.dout, s.out, c.dv, s.v, c.first > 0});
    });
    if (status) return status;
    const int64_t n = s.heads * s.heads;
    if (!begun) return 0;
    return launch(stream, parts(n, threads), threads, add_products_kernel<T>,
                  static_cast<const double*>(plan.partial), n, plan.slices, static_cast<T*>(b.dalpha));
}

template <class T>
constexpr CudaAttention table() {
    return {[](const AttentionShape& s) { return Plan<T>(s, false, nullptr).bytes; },
            [](const AttentionShape& s) { return Plan<T>(s, true, nullptr).bytes; }, forward<T>, backward<T>};
}

}  // namespace

const CudaAttention& attention_f32() {
    static constexpr CudaAttention kernels = table<float>();
    return kernels;
}
const CudaAttention& attention_f64() {
    static constexpr CudaAttention kernels = table<double>();
    return kernels;
}

}  // namespace horo::cuda
