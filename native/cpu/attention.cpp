// Row-resident attention: a task holds whole rows of the probability maps (of all heads when they are mixed),
// so the softmax needs no rescaling, the mix sees normalised maps, and the backward pass has delta before it
// needs dS. Unmixed rows are computed by the same steps in the same order: a mix by alpha = 0 changes no bit.
// 16-bit storage is widened where rows are packed anyway and narrowed once, when a row of a result is whole.
#include "cpu/attention.h"

#include <atomic>
#include <cmath>
#include <limits>
#include <type_traits>

#include "cpu/layers.h"
#include "cpu/pool.h"
#include "cpu/tile.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

constexpr int64_t chunk = 128;               // columns of a map that lie together
constexpr int64_t decode_rows = 4;           // up to here keys are read in place, not packed
constexpr int64_t task_budget = 24ll << 20;  // aim for the maps of one task: few rows read keys too often
constexpr int64_t step_budget = 16ll << 20;  // aim for the maps of one step of the backward pass
constexpr int64_t max_rows = 48;             // rows per task

// Hands out the workspace in 64-byte aligned pieces; with a null base it only measures.
class Carver {
  public:
    explicit Carver(void* base)
        : at_((reinterpret_cast<uintptr_t>(base) + 63) & ~uintptr_t{63}), start_(at_) {}

    template <class T>
    T* take(int64_t count) {
        T* piece = reinterpret_cast<T*>(at_);
        at_ += static_cast<uintptr_t>(round_up(count * static_cast<int64_t>(sizeof(T)), 64));
        return piece;
    }

    int64_t bytes() const { return static_cast<int64_t>(at_ - start_) + 64; }

  private:
    uintptr_t at_, start_;
};

// Runs body(task, worker) for every task; a worker owns its scratch. Which worker gets a task does not
// matter.
template <class Body>
static inline void run_tasks(const horo_exec& exec, int64_t tasks, Body&& body) {
    std::atomic<int64_t> next{0};
    parallel_for(exec, smaller(exec.threads, tasks), [&](int64_t worker) {
        for (int64_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) body(t, worker);
    });
}

// T: what is computed in; dtype: how q, k, v, out and their gradients are stored.
template <class T, int32_t dtype>
class Attention {
    static constexpr bool half = dtype == HORO_BF16 || dtype == HORO_F16;
    using Stored = std::conditional_t<half, uint16_t, T>;

  public:
    Attention(const AttentionShape& shape, const AttentionBuffers& buffers, const horo_exec& exec)
        : s(shape),
          b(buffers),
          exec_(exec),
          group_(s.heads / s.kv_heads),
          keys_(round_up(s.kv_len, W)),
          alpha_(static_cast<const T*>(buffers.alpha)) {}

    int64_t forward_bytes() {
        Carver carver(nullptr);
        forward_plan(carver);
        return carver.bytes();
    }

    int64_t backward_bytes() {
        Carver carver(nullptr);
        backward_plan(carver);
        return carver.bytes();
    }

    void forward() {
        Carver carver(b.workspace);
        forward_plan(carver);
        if (s.q_len <= decode_rows) {
            decode();
            return;
        }
        pack(panels_k_, stored(b.k), s.k, 0, s.batch);
        copy_rows(rows_v_, stored(b.v), s.v, 0, s.batch);
        const int64_t blocks = (s.q_len + rows_ - 1) / rows_;
        if (s.mixed) {
            run_tasks(exec_, s.batch * blocks, [&](int64_t task, int64_t worker) {
                const Rows rows = block(task / blocks, task % blocks * rows_, rows_);
                T* maps = maps_ + worker * block_step_;
                for (int64_t h = 0; h < s.heads; ++h) probabilities(rows, h, maps + h * head_step_, worker);
                mixed_output(rows, maps, scratch_ + worker * scratch_size_, worker);
            });
        } else {
            run_tasks(exec_, s.batch * s.heads * blocks, [&](int64_t task, int64_t worker) {
                const int64_t item = task / blocks, head = item % s.heads;
                const Rows rows = block(item / s.heads, task % blocks * rows_, rows_);
                T* map = maps_ + worker * block_step_;
                probabilities(rows, head, map, worker);
                const Sums out = sums(b.out, s.out, rows, head, worker, 0);
                for (int64_t c = 0; c < rows.end || c == 0; c += chunk) {
                    Lines ahead(values(rows, head) + (c + chunk) * s.dim,
                                larger(smaller(chunk, rows.end - c - chunk), 0) * s.dim);
                    weighted(rows, c, map + c / chunk * chunk_step_, values(rows, head), out.p, out.row,
                             ahead);
                }
                deliver(out, b.out, s.out, rows, head);
            });
        }
    }

    void backward() {
        Carver carver(b.workspace);
        backward_plan(carver);
        if constexpr (!half) {
            zero(static_cast<T*>(b.dk), s.k);
            zero(static_cast<T*>(b.dv), s.v);
        }
        const int64_t blocks = blocks_;
        for (int64_t i = 0; s.mixed && i < s.heads * s.heads; ++i) dalpha_[i] = 0;
        for (int64_t batch = 0; batch < s.batch; batch += items_) {
            const int64_t items = smaller(items_, s.batch - batch);
            pack(panels_k_, stored(b.k), s.k, batch, items);
            pack(panels_v_, stored(b.v), s.v, batch, items);
            copy_rows(rows_k_, stored(b.k), s.k, batch, items);
            if constexpr (half) {
                const size_t bytes = static_cast<size_t>(items * s.kv_heads * s.kv_len * s.dim) * sizeof(T);
                std::memset(sums_k_, 0, bytes);
                std::memset(sums_v_, 0, bytes);
            }
            for (int64_t first = 0; first < s.q_len; first += unit_rows_) {
                run_tasks(exec_, items * blocks, [&](int64_t task, int64_t worker) {
                    const int64_t row = task % blocks * rows_;
                    if (first + row < s.q_len)
                        row_gradients(batch, task / blocks, first, row, task,
                                      scratch_ + worker * scratch_size_, worker);
                });
                const int64_t strips = (s.kv_len + chunk - 1) / chunk;
                run_tasks(exec_, items * s.kv_heads * strips, [&](int64_t task, int64_t) {
                    const int64_t item = task / strips / s.kv_heads;
                    key_gradients(batch, item, task / strips % s.kv_heads, first, task % strips * chunk);
                });
                for (int64_t t = 0; s.mixed && t < items * blocks; ++t)
                    if (first + t % blocks * rows_ < s.q_len)
                        for (int64_t i = 0; i < s.heads * s.heads; ++i)
                            dalpha_[i] += partials_[t * s.heads * s.heads + i];
            }
            if constexpr (half)
                run_tasks(exec_, items * s.kv_heads, [&](int64_t task, int64_t) {
                    const int64_t item = batch + task / s.kv_heads, head = task % s.kv_heads;
                    const int64_t from = task * s.kv_len * s.dim;
                    narrow(at(static_cast<Stored*>(b.dk), s.k, item, 0, head), s.k.token, sums_k_ + from,
                           s.dim, s.kv_len);
                    narrow(at(static_cast<Stored*>(b.dv), s.v, item, 0, head), s.v.token, sums_v_ + from,
                           s.dim, s.kv_len);
                });
        }
        T* result = static_cast<T*>(b.dalpha);
        for (int64_t i = 0; s.mixed && i < s.heads * s.heads; ++i)
            result[i] = static_cast<T>(result[i] + dalpha_[i]);
    }

  private:
    static constexpr int W = lanes<T>;
    static constexpr int64_t line = 64 / sizeof(T);  // elements per cache line

    // Query rows first .. first+count-1 of one batch item; `end` is the width of their maps in whole vectors.
    struct Rows {
        int64_t batch, first, count, end;
    };

    // Keys visible to a query row.
    int64_t limit(int64_t batch, int64_t row) const {
        int64_t keys = s.causal ? larger(0, smaller(s.kv_len, row + 1 + s.kv_len - s.q_len)) : s.kv_len;
        if (s.lengths) keys = smaller(keys, s.lengths[batch]);
        return keys;
    }

    Rows block(int64_t batch, int64_t first, int64_t rows) const {
        const int64_t count = smaller(rows, s.q_len - first);
        return {batch, first, count, round_up(limit(batch, first + count - 1), W)};
    }

    template <class P>
    static P* at(P* base, const TokenStrides& strides, int64_t batch, int64_t token, int64_t head) {
        return base + batch * strides.batch + token * strides.token + head * strides.head;
    }

    static const Stored* stored(const void* p) { return static_cast<const Stored*>(p); }

    // Where the rows of one head of a result are summed.
    struct Sums {
        T* p;
        int64_t row;
    };
    // slot: of the worker's sums, where the result is not summed in place.
    Sums sums(void* to, const TokenStrides& strides, const Rows& rows, int64_t head, int64_t worker,
              int64_t slot) const {
        if constexpr (half)
            return {sums_ + (worker * slots_ + slot) * rows_ * s.dim, s.dim};
        else
            return {at(static_cast<T*>(to), strides, rows.batch, rows.first, head), strides.token};
    }
    void deliver(const Sums& from, void* to, const TokenStrides& strides, const Rows& rows,
                 int64_t head) const {
        if constexpr (half)
            narrow(at(static_cast<Stored*>(to), strides, rows.batch, rows.first, head), strides.token, from.p,
                   from.row, rows.count);
    }
    void narrow(Stored* to, int64_t to_row, const T* from, int64_t from_row, int64_t rows) const {
        if constexpr (half)
            for (int64_t r = 0; r < rows; ++r)
                layers.from_f32[dtype](from + r * from_row, to + r * to_row, s.dim);
    }

    // Rows per task: a multiple of the register tile, few enough for the cache.
    int64_t rows_for(int64_t heads) const {
        const int64_t fit = task_budget / (heads * keys_ * static_cast<int64_t>(sizeof(T)) + 1);
        return smaller(larger(fit / 24 * 24, fit >= 12 ? 12 : 6), max_rows);
    }

    // The maps of a block of rows: chunks of columns, in each all heads, in each all rows, so that what is
    // worked on together lies together. The line between heads keeps them out of each other's cache sets.
    void plan_maps(int64_t heads) {
        head_step_ = rows_ * chunk + line;
        chunk_step_ = heads * head_step_;
        block_step_ = (keys_ + chunk - 1) / chunk * chunk_step_;
    }

    void forward_plan(Carver& carver) {
        if (s.q_len <= decode_rows) {
            rows_ = s.q_len;
            head_step_ = rows_ * keys_;
            block_step_ = s.heads * head_step_;
            scratch_size_ = s.mixed ? s.heads * chunk : 0;
            scratch_ = carver.take<T>(exec_.threads * scratch_size_);
            maps_ = carver.take<T>(s.batch * block_step_);
            if (half) {
                sums_ = carver.take<T>(exec_.threads * rows_ * group_ * s.dim);
                wide_ = carver.take<T>(exec_.threads * chunk * s.dim);
            }
            return;
        }
        const int64_t heads = s.mixed ? s.heads : 1;
        rows_ = smaller(rows_for(heads), s.q_len);
        plan_maps(heads);
        scratch_size_ = s.mixed ? chunk_step_ : 0;
        scratch_ = carver.take<T>(exec_.threads * scratch_size_);
        maps_ = carver.take<T>(exec_.threads * block_step_);
        rows_q_ = carver.take<T>(exec_.threads * rows_ * s.dim);
        panels_k_ = carver.take<T>(s.batch * s.kv_heads * keys_ * s.dim);
        rows_v_ = carver.take<T>(s.batch * s.kv_heads * s.kv_len * s.dim);
        plan_half(carver, heads);
    }

    void plan_half(Carver& carver, int64_t slots) {
        if (!half) return;
        slots_ = slots;
        sums_ = carver.take<T>(exec_.threads * slots_ * rows_ * s.dim);
        wide_ = carver.take<T>(exec_.threads * chunk * s.dim);
    }

    void backward_plan(Carver& carver) {
        rows_ = larger(smaller(max_rows, s.q_len), 1);
        plan_maps(s.heads);
        const int64_t fit = larger(step_budget / (2 * block_step_ * static_cast<int64_t>(sizeof(T)) + 1), 1);
        const int64_t all = larger((s.q_len + rows_ - 1) / rows_, 1);  // blocks of a batch item
        blocks_ = smaller(fit, all);
        unit_rows_ = blocks_ * rows_;
        items_ = blocks_ < all ? 1 : smaller(larger(fit / all, 1), s.batch);
        scratch_size_ = s.heads * (chunk + rows_);
        scratch_ = carver.take<T>(exec_.threads * scratch_size_);
        maps_ = carver.take<T>(items_ * blocks_ * block_step_);
        grads_ = carver.take<T>(items_ * blocks_ * block_step_);
        poisoned_ = carver.take<char>(items_ * blocks_ * s.heads);
        rows_q_ = carver.take<T>(items_ * s.heads * unit_rows_ * s.dim);
        rows_dout_ = carver.take<T>(items_ * s.heads * unit_rows_ * s.dim);
        panels_k_ = carver.take<T>(items_ * s.kv_heads * keys_ * s.dim);
        panels_v_ = carver.take<T>(items_ * s.kv_heads * keys_ * s.dim);
        rows_k_ = carver.take<T>(items_ * s.kv_heads * s.kv_len * s.dim);
        plan_half(carver, s.heads);
        if (half) {
            sums_k_ = carver.take<T>(items_ * s.kv_heads * s.kv_len * s.dim);
            sums_v_ = carver.take<T>(items_ * s.kv_heads * s.kv_len * s.dim);
        }
        if (s.mixed) {
            partials_ = carver.take<double>(items_ * blocks_ * s.heads * s.heads);
            dalpha_ = carver.take<double>(s.heads * s.heads);
        }
    }

    // Columns of the panel that starts at column `from` of a packed operand.
    int64_t panel(int64_t from) const {
        int64_t width = tile_vectors * W;
        while (width > keys_ - from) width /= 2;
        return width;
    }

    // Transposes (token, dim) into panels of dim x some columns: the form in which scores are made without
    // strides.
    void pack(T* packed, const Stored* source, const TokenStrides& strides, int64_t batch, int64_t items) {
        run_tasks(exec_, items * s.kv_heads, [&](int64_t task, int64_t worker) {
            const Stored* from = at(source, strides, batch + task / s.kv_heads, 0, task % s.kv_heads);
            T* to = packed + task * keys_ * s.dim;
            for (int64_t c = 0, width; c < keys_; c += width) {
                width = panel(c);
                T* p = to + c * s.dim;
                const int64_t filled = smaller(width, s.kv_len - c);
                const Widened rows = widened(from + c * strides.token, strides.token, filled, worker);
                transpose_tile(filled, s.dim, rows.p, rows.row, p, width);
                for (int64_t d = 0; filled < width && d < s.dim; ++d)
                    for (int64_t e = filled; e < width; ++e) p[d * width + e] = 0;
            }
        });
    }

    // Up to a chunk of rows in T, until the worker asks for others: as they are stored, or a copy.
    struct Widened {
        const T* p;
        int64_t row;
    };
    Widened widened(const Stored* from, int64_t from_row, int64_t rows, int64_t worker) const {
        if constexpr (half) {
            T* to = wide_ + worker * chunk * s.dim;
            gather(to, from, from_row, rows);
            return {to, s.dim};
        } else {
            return {from, from_row};
        }
    }

    // Copies (token, dim) of every key head without gaps: strided rows would share cache sets.
    void copy_rows(T* to, const Stored* source, const TokenStrides& strides, int64_t batch, int64_t items) {
        run_tasks(exec_, items * s.kv_heads, [&](int64_t task, int64_t) {
            const Stored* from = at(source, strides, batch + task / s.kv_heads, 0, task % s.kv_heads);
            gather(to + task * s.kv_len * s.dim, from, strides.token, s.kv_len);
        });
    }

    void gather(T* to, const Stored* from, int64_t from_row, int64_t rows) const {
        for (int64_t r = 0; r < rows; ++r)
            if constexpr (half)
                layers.to_f32[dtype](from + r * from_row, to + r * s.dim, s.dim);
            else
                std::memcpy(to + r * s.dim, from + r * from_row, static_cast<size_t>(s.dim) * sizeof(T));
    }

    // A map's columns [0, end) = x[rows, dim] * packed. Meanwhile the next panel comes nearer, and the part
    // of the map that the next chunk will overwrite; at the end, what the next call begins with.
    void scores(int64_t rows, int64_t end, const T* x, const T* packed, T* map, const T* next_packed,
                const T* next_map) const {
        for (int64_t c = 0, width; c < end; c += width) {
            width = panel(c);
            T* const to = map + c / chunk * chunk_step_;
            const bool last = c + width >= end;
            const T* const panel_ahead = last ? next_packed : packed + (c + width) * s.dim;
            const T* const map_ahead = last ? next_map : to + chunk_step_ + rows * (c % chunk);
            const bool writes = last ? next_map != nullptr : c / chunk * chunk + chunk < end;
            Lines ahead(panel_ahead, panel_ahead ? width * s.dim : 0, map_ahead, writes ? rows * width : 0);
            gemm_from<T>(rows, smaller(width, end - c), s.dim, x, s.dim, 1, packed + c * s.dim, width,
                         nullptr, 0, to + c % chunk, chunk, ahead);
        }
    }

    // Calls body(piece, first column, columns) for the pieces of a row's columns [0, end).
    template <class Body>
    static void pieces(T* row, int64_t step, int64_t end, Body&& body) {
        for (int64_t c = 0; c < end; c += chunk) body(row + c / chunk * step, c, smaller(chunk, end - c));
    }

    // Turns a row of scores, `step` from chunk to chunk, into probabilities with zeros up to `end`; returns
    // the log of the sum.
    T softmax(T* row, int64_t step, int64_t keys, int64_t end) const {
        using V = Vec<T, W>;
        const T inf = std::numeric_limits<T>::infinity();
        const int64_t whole = round_up(keys, W);
        V top = splat<T, W>(-inf);
        for (int64_t j = keys; j < whole; ++j) row[j / chunk * step + j % chunk] = -inf;
        pieces(row, step, whole, [&](T* p, int64_t, int64_t n) {
            for (int64_t j = 0; j < n; j += W) top = larger_of<T, W>(load<T, W>(p + j), top);
        });
        const T scale = static_cast<T>(s.scale);
        const T most = largest<T, W>(top);
        if (most == -inf) {  // nothing to see, or only -inf and NaN
            T probe = 0;
            for (int64_t j = 0; j < keys; ++j) probe += row[j / chunk * step + j % chunk];
            const T value = probe != probe ? probe : 0;
            for (int64_t j = 0; j < end; ++j) row[j / chunk * step + j % chunk] = j < keys ? value : 0;
            return probe != probe ? probe : -inf;
        }
        V total{};
        pieces(row, step, whole, [&](T* p, int64_t, int64_t n) {
            for (int64_t j = 0; j < n; j += W) {
                const V e = exp<T, W>((load<T, W>(p + j) - most) * scale);
                total += e;
                store<T, W>(p + j, e);
            }
        });
        const T l = sum<T, W>(total);
        const T inverse = 1 / l;
        pieces(row, step, end, [&](T* p, int64_t c, int64_t n) {
            int64_t j = 0;
            for (; j < smaller(n, whole - c); j += W) store<T, W>(p + j, load<T, W>(p + j) * inverse);
            for (; j < n; ++j) p[j] = 0;
        });
        return static_cast<T>(std::log(static_cast<double>(l)) + static_cast<double>(most) * s.scale);
    }

    T* lse(int64_t batch, int64_t head, int64_t row) const {
        return static_cast<T*>(b.lse) + (batch * s.heads + head) * s.q_len + row;
    }

    void probabilities(const Rows& rows, int64_t head, T* map, int64_t worker) const {
        T* q = rows_q_ + worker * rows_ * s.dim;
        gather(q, at(stored(b.q), s.q, rows.batch, rows.first, head), s.q.token, rows.count);
        const T* const packed = panels_k_ + rows.batch * s.kv_heads * keys_ * s.dim;
        const bool more = s.mixed && head + 1 < s.heads;
        scores(rows.count, rows.end, q, packed + head / group_ * keys_ * s.dim, map,
               more ? packed + (head + 1) / group_ * keys_ * s.dim : nullptr,
               more ? map + head_step_ : nullptr);
        for (int64_t r = 0; r < rows.count; ++r) {
            const T log_sum =
                softmax(map + r * chunk, chunk_step_, limit(rows.batch, rows.first + r), rows.end);
            if (b.lse) *lse(rows.batch, head, rows.first + r) = log_sum;
        }
    }

    // map_h += sum_i alpha[h * out_step + i * in_step] map_i in place, for some columns of one row of all
    // heads.
    void mix(T* maps, int64_t columns, int64_t in_step, int64_t out_step, T* scratch) const {
        for (int64_t h = 0; h < s.heads; ++h)
            std::memcpy(scratch + h * chunk, maps + h * head_step_, static_cast<size_t>(columns) * sizeof(T));
        gemm<T>(s.heads, columns, s.heads, alpha_, out_step, in_step, scratch, chunk, maps, head_step_, true);
    }

    // to[rows, dim] (+)= map[rows, columns] * x[columns, dim] for the chunk of columns that begins at `from`;
    // the first overwrites. Columns that only some rows see are multiplied for those rows alone: 0 * NaN of a
    // later token must not reach an earlier one.
    void weighted(const Rows& rows, int64_t from, const T* map, const T* x, T* to, int64_t to_row,
                  Lines& ahead) const {
        const auto seen = [&](int64_t r) {
            return larger(smaller(limit(rows.batch, rows.first + r) - from, chunk), 0);
        };
        x += from * s.dim;
        const int64_t shared = seen(0);
        if (shared > 0 || from == 0)
            gemm_from<T>(rows.count, s.dim, shared, map, chunk, 1, x, s.dim, from > 0 ? to : nullptr, to_row,
                         to, to_row, ahead);
        if (shared == seen(rows.count - 1)) return;
        for (int64_t r = 0; r < rows.count; r += 8) {
            const int64_t count = smaller(8, rows.count - r);
            const int64_t common = seen(r);
            gemm<T>(count, s.dim, common - shared, map + r * chunk + shared, chunk, 1, x + shared * s.dim,
                    s.dim, to + r * to_row, to_row, true);
            for (int64_t i = 1; i < count; ++i)
                gemm<T>(1, s.dim, seen(r + i) - common, map + (r + i) * chunk + common, chunk, 1,
                        x + common * s.dim, s.dim, to + (r + i) * to_row, to_row, true);
        }
    }

    const T* values(const Rows& rows, int64_t head) const {
        return rows_v_ + (rows.batch * s.kv_heads + head / group_) * s.kv_len * s.dim;
    }

    // Mixes a chunk of columns of all heads aside and multiplies it before the next: the maps are read once
    // and not written again.
    void mixed_output(const Rows& rows, const T* maps, T* strip, int64_t worker) const {
        for (int64_t c = 0; c < rows.end || c == 0; c += chunk, maps += chunk_step_) {
            const int64_t columns = smaller(chunk, rows.end - c);
            NextB ahead_row{chunk};
            for (int64_t r = 0; r < rows.count && columns > 0; ++r)
                gemm_from<T>(s.heads, columns, s.heads, alpha_, s.heads, 1, maps + r * chunk, head_step_,
                             maps + r * chunk, head_step_, strip + r * chunk, head_step_, ahead_row);
            const bool more = c + chunk < rows.end;
            for (int64_t h = 0; h < s.heads; ++h) {
                const bool last = h + 1 == s.heads;
                const int64_t next = last ? c + chunk : c;
                const int64_t keys = last && !more ? 0 : larger(smaller(chunk, s.kv_len - next), 0);
                Lines ahead(values(rows, last ? 0 : h + 1) + next * s.dim, keys * s.dim,
                            maps + chunk_step_ + h * head_step_, more ? rows.count * chunk : 0);
                const Sums out = sums(b.out, s.out, rows, h, worker, h);
                weighted(rows, c, strip + h * head_step_, values(rows, h), out.p, out.row, ahead);
                if (!more) deliver(out, b.out, s.out, rows, h);
            }
        }
    }

    // Few query rows, many keys: each key and value is read once, by the heads that share it.
    void decode() {
        const int64_t rows = s.q_len;
        const int64_t item = block_step_;
        const int64_t step = half ? chunk : larger(s.kv_len, 1);  // keys widened at a time
        const auto scores_of = [&](int64_t batch, int64_t g, int64_t worker) {
            const Rows all = block(batch, 0, rows);
            const int64_t seen = limit(batch, rows - 1);
            T* maps = maps_ + batch * item + g * group_ * head_step_;
            for (int64_t i = 0; i < group_ * rows * keys_; ++i) maps[i] = 0;
            const Stored* k = at(stored(b.k), s.k, batch, 0, g);
            const auto query = [&](int64_t r) {
                const Stored* q = at(stored(b.q), s.q, batch, r, g * group_);
                if constexpr (half) {
                    T* to = sums_ + (worker * rows + r) * group_ * s.dim;
                    gather(to, q, s.q.head, group_);
                    return Widened{to, s.dim};
                } else {
                    return Widened{q, s.q.head};
                }
            };
            Widened q[decode_rows];
            for (int64_t r = 0; r < rows; ++r) q[r] = query(r);
            for (int64_t c = 0; c < seen; c += step) {
                const int64_t count = smaller(step, seen - c);
                const Widened keys = widened(k + c * s.k.token, s.k.token, count, worker);
                for (int64_t r = 0; r < rows; ++r)
                    gemm_nt<T, T>(group_, count, s.dim, q[r].p, q[r].row, keys.p, keys.row,
                                  maps + r * keys_ + c, head_step_);
            }
            for (int64_t h = 0; h < group_; ++h)
                for (int64_t r = 0; r < rows; ++r) {
                    const T log_sum =
                        softmax(maps + h * head_step_ + r * keys_, chunk, limit(batch, r), all.end);
                    if (b.lse) *lse(batch, g * group_ + h, r) = log_sum;
                }
        };
        const auto output_of = [&](int64_t batch, int64_t g, int64_t worker) {
            const Stored* v = at(stored(b.v), s.v, batch, 0, g);
            const auto out = [&](int64_t r) {
                if constexpr (half)
                    return Sums{sums_ + (worker * rows + r) * group_ * s.dim, s.dim};
                else
                    return Sums{at(static_cast<T*>(b.out), s.out, batch, r, g * group_), s.out.head};
            };
            const int64_t seen = limit(batch, rows - 1);
            for (int64_t c = 0; c < seen || c == 0; c += step) {
                const int64_t count = larger(smaller(step, seen - c), 0);
                const Widened values = widened(v + c * s.v.token, s.v.token, count, worker);
                for (int64_t r = 0; r < rows; ++r)
                    gemm<T>(group_, s.dim, larger(smaller(count, limit(batch, r) - c), 0),
                            maps_ + batch * item + g * group_ * head_step_ + r * keys_ + c, head_step_, 1,
                            values.p, values.row, out(r).p, out(r).row, c > 0);
            }
            for (int64_t r = 0; half && r < rows; ++r)
                narrow(at(static_cast<Stored*>(b.out), s.out, batch, r, g * group_), s.out.head, out(r).p,
                       s.dim, group_);
        };
        run_tasks(exec_, s.batch * s.kv_heads, [&](int64_t task, int64_t worker) {
            scores_of(task / s.kv_heads, task % s.kv_heads, worker);
            if (!s.mixed) output_of(task / s.kv_heads, task % s.kv_heads, worker);
        });
        if (!s.mixed) return;
        const int64_t strips = (keys_ + chunk - 1) / chunk;
        run_tasks(exec_, s.batch * rows * strips, [&](int64_t task, int64_t worker) {
            const int64_t c = task % strips * chunk;
            const int64_t batch = task / strips / rows;
            const int64_t columns = smaller(chunk, block(batch, 0, rows).end - c);
            if (columns > 0)
                mix(maps_ + batch * item + task / strips % rows * keys_ + c, columns, 1, s.heads,
                    scratch_ + worker * scratch_size_);
        });
        run_tasks(exec_, s.batch * s.kv_heads, [&](int64_t task, int64_t worker) {
            output_of(task / s.kv_heads, task % s.kv_heads, worker);
        });
    }

    void zero(T* base, const TokenStrides& strides) const {
        for (int64_t batch = 0; batch < s.batch; ++batch)
            for (int64_t g = 0; g < s.kv_heads; ++g)
                for (int64_t j = 0; j < s.kv_len; ++j)
                    std::memset(at(base, strides, batch, j, g), 0, static_cast<size_t>(s.dim) * sizeof(T));
    }

    // Leaves mixed P in maps_ and dS in grads_ for a block of rows, and writes their dQ and their part of
    // dalpha. `row` counts from `first`, the first row of this step.
    void row_gradients(int64_t batch, int64_t item, int64_t first, int64_t row, int64_t task, T* scratch,
                       int64_t worker) const {
        using V = Vec<T, W>;
        const Rows rows = block(batch + item, first + row, rows_);
        const int64_t filled = smaller(round_up(rows.end, chunk), keys_);  // what key_gradients may read
        T* const maps = maps_ + task * block_step_;
        T* const grads = grads_ + task * block_step_;
        const T scale = static_cast<T>(s.scale);
        for (int64_t h = 0; h < s.heads; ++h) {
            const int64_t kv = (item * s.kv_heads + h / group_) * keys_ * s.dim;
            const int64_t x = ((item * s.heads + h) * unit_rows_ + row) * s.dim;
            T* map = maps + h * head_step_;
            T* grad = grads + h * head_step_;
            gather(rows_q_ + x, at(stored(b.q), s.q, rows.batch, rows.first, h), s.q.token, rows.count);
            gather(rows_dout_ + x, at(stored(b.dout), s.out, rows.batch, rows.first, h), s.out.token,
                   rows.count);
            scores(rows.count, rows.end, rows_q_ + x, panels_k_ + kv, map, panels_v_ + kv, grad);
            scores(rows.count, rows.end, rows_dout_ + x, panels_v_ + kv, grad, nullptr, nullptr);
            for (int64_t r = 0; r < rows.count; ++r) {
                const int64_t keys = limit(rows.batch, rows.first + r);
                softmax(map + r * chunk, chunk_step_, keys, filled);
                T* g = grad + r * chunk;
                for (int64_t j = keys; j < filled; ++j) g[j / chunk * chunk_step_ + j % chunk] = 0;
            }
        }
        // dP, and delta = sum_j P dP of every row
        T* const deltas = scratch + s.heads * chunk;
        for (int64_t i = 0; i < s.heads * rows_; ++i) deltas[i] = 0;
        double* partial = s.mixed ? partials_ + task * s.heads * s.heads : nullptr;
        for (int64_t i = 0; s.mixed && i < s.heads * s.heads; ++i) partial[i] = 0;
        for (int64_t c = 0; c < rows.end; c += chunk) {
            const int64_t columns = smaller(chunk, rows.end - c);
            T* map = maps + c / chunk * chunk_step_;
            T* grad = grads + c / chunk * chunk_step_;
            if (s.mixed && columns == chunk)
                gemm_nt<T, double>(s.heads, s.heads, rows.count * chunk, grad, head_step_, map, head_step_,
                                   partial, s.heads);
            for (int64_t r = 0; r < rows.count; ++r, map += chunk, grad += chunk) {
                if (s.mixed && columns < chunk)
                    gemm_nt<T, double>(s.heads, s.heads, columns, grad, head_step_, map, head_step_, partial,
                                       s.heads);
                if (s.mixed) mix(grad, columns, s.heads, 1, scratch);
                for (int64_t h = 0; h < s.heads; ++h) {
                    V dot{};
                    for (int64_t j = 0; j < columns; j += W)
                        dot += load<T, W>(map + h * head_step_ + j) * load<T, W>(grad + h * head_step_ + j);
                    deltas[h * rows_ + r] += sum<T, W>(dot);
                }
            }
        }
        for (int64_t h = 0; h < s.heads; ++h) {
            T probe = 0;
            for (int64_t r = 0; r < rows.count; ++r) probe += deltas[h * rows_ + r] * 0;
            poisoned_[task * s.heads + h] = probe != 0;
        }
        // dS = P (dP - delta), then mixed P
        for (int64_t c = 0; c < rows.end || c == 0; c += chunk) {
            const int64_t columns = smaller(chunk, rows.end - c);
            T* map = maps + c / chunk * chunk_step_;
            T* grad = grads + c / chunk * chunk_step_;
            for (int64_t h = 0; h < s.heads; ++h) {
                for (int64_t r = 0; r < rows.count; ++r) {
                    const T* p = map + h * head_step_ + r * chunk;
                    T* g = grad + h * head_step_ + r * chunk;
                    const T delta = deltas[h * rows_ + r];
                    for (int64_t j = 0; j < columns; j += W)
                        store<T, W>(g + j, load<T, W>(p + j) * (load<T, W>(g + j) - delta) * scale);
                }
                const int64_t kv = h + 1 < s.heads ? (item * s.kv_heads + (h + 1) / group_) * s.kv_len : 0;
                Lines ahead(rows_k_ + (kv + c) * s.dim,
                            larger(smaller(chunk, rows.end - c), 0) * s.dim * (h + 1 < s.heads));
                const Sums dq = sums(b.dq, s.q, rows, h, worker, h);
                weighted(rows, c, grad + h * head_step_,
                         rows_k_ + (item * s.kv_heads + h / group_) * s.kv_len * s.dim, dq.p, dq.row, ahead);
                if (c + chunk >= rows.end) deliver(dq, b.dq, s.q, rows, h);
            }
            for (int64_t r = 0; s.mixed && columns > 0 && r < rows.count; ++r)
                mix(map + r * chunk, columns, 1, s.heads, scratch);
        }
    }

    // Adds the rows of one step to dK and dV of a chunk of keys; blocks of rows that see none of them are
    // left out.
    void key_gradients(int64_t batch, int64_t item, int64_t g, int64_t first, int64_t key) const {
        const int64_t of_sums = ((item * s.kv_heads + g) * s.kv_len + key) * s.dim;
        T* dk = half ? sums_k_ + of_sums : at(static_cast<T*>(b.dk), s.k, batch + item, key, g);
        T* dv = half ? sums_v_ + of_sums : at(static_cast<T*>(b.dv), s.v, batch + item, key, g);
        const int64_t dk_row = half ? s.dim : s.k.token, dv_row = half ? s.dim : s.v.token;
        for (int64_t h = g * group_; h < (g + 1) * group_; ++h)
            for (int64_t i = 0; i < blocks_ && first + i * rows_ < s.q_len; ++i) {
                const Rows rows = block(batch + item, first + i * rows_, rows_);
                const int64_t count = smaller(smaller(chunk, s.kv_len - key), rows.end - key);
                if (count <= 0) continue;
                const int64_t map =
                    (item * blocks_ + i) * block_step_ + key / chunk * chunk_step_ + h * head_step_;
                const int64_t x = ((item * s.heads + h) * unit_rows_ + i * rows_) * s.dim;
                // Of a key and the rows from r on. A row that does not see the key adds zeros, which a row
                // with NaN or infinities would not.
                const auto add = [&](int64_t from, int64_t keys, int64_t r) {
                    const int64_t n = rows.count - r, at_map = map + r * chunk + from, at_x = x + r * s.dim;
                    gemm<T>(keys, s.dim, n, grads_ + at_map, 1, chunk, rows_q_ + at_x, s.dim,
                            dk + from * dk_row, dk_row, true);
                    gemm<T>(keys, s.dim, n, maps_ + at_map, 1, chunk, rows_dout_ + at_x, s.dim,
                            dv + from * dv_row, dv_row, true);
                };
                if (!poisoned_[(item * blocks_ + i) * s.heads + h]) {
                    add(0, count, 0);
                    continue;
                }
                int64_t r = 0;
                for (int64_t j = 0; j < count; ++j) {
                    while (r < rows.count && limit(rows.batch, rows.first + r) <= key + j) ++r;
                    if (r < rows.count) add(j, 1, r);
                }
            }
    }

    const AttentionShape& s;
    const AttentionBuffers& b;
    const horo_exec& exec_;
    const int64_t group_;  // query heads per key head
    const int64_t keys_;   // kv_len in whole vectors
    const T* const alpha_;

    int64_t rows_ = 0;          // query rows per task
    int64_t head_step_ = 0;     // between the maps of two heads
    int64_t chunk_step_ = 0;    // between two chunks of columns
    int64_t block_step_ = 0;    // between the maps of two blocks of rows
    int64_t scratch_size_ = 0;  // elements of scratch per worker
    int64_t blocks_ = 0;        // backward: blocks of rows per step and batch item
    int64_t unit_rows_ = 0;     // backward: query rows per step
    int64_t items_ = 0;         // backward: batch items per step
    T* maps_ = nullptr;
    T* grads_ = nullptr;
    char* poisoned_ = nullptr;  // whether a block's rows of a head have NaN or infinities
    T* scratch_ = nullptr;
    T* panels_k_ = nullptr;  // keys and values, transposed into panels
    T* panels_v_ = nullptr;
    T* rows_k_ = nullptr;  // keys, values, queries and output gradients without gaps between tokens
    T* rows_v_ = nullptr;
    T* rows_q_ = nullptr;
    T* rows_dout_ = nullptr;
    int64_t slots_ = 0;    // 16-bit storage: heads whose results a worker sums at a time
    T* sums_ = nullptr;    // 16-bit storage: rows of out or dq; few rows: queries too
    T* sums_k_ = nullptr;  // 16-bit storage: dk and dv of a step
    T* sums_v_ = nullptr;
    T* wide_ = nullptr;  // 16-bit storage: a chunk of rows per worker
    double* partials_ = nullptr;
    double* dalpha_ = nullptr;
};

template <class T, int32_t dtype>
constexpr AttentionKernels table() {
    return {[](const AttentionShape& s, const horo_exec& exec) {
                return Attention<T, dtype>(s, {}, exec).forward_bytes();
            },
            [](const AttentionShape& s, const horo_exec& exec) {
                return Attention<T, dtype>(s, {}, exec).backward_bytes();
            },
            [](const AttentionShape& s, const AttentionBuffers& b, const horo_exec& exec) {
                Attention<T, dtype>(s, b, exec).forward();
            },
            [](const AttentionShape& s, const AttentionBuffers& b, const horo_exec& exec) {
                Attention<T, dtype>(s, b, exec).backward();
            }};
}

}  // namespace

extern const AttentionTable attention;
const AttentionTable attention = {{table<float, HORO_F32>(), table<double, HORO_F64>(),
                                   table<float, HORO_BF16>(), table<float, HORO_F16>()}};

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
