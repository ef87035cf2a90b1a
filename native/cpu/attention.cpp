// Row-resident attention: a task holds whole rows of the probability maps (of all heads when they are mixed),
// so the softmax needs no rescaling, the mix sees normalised maps, and the backward pass has delta before it
// needs dS. Unmixed rows are computed by the same steps in the same order: a mix by alpha = 0 changes no bit.
#include "cpu/attention.h"

#include <atomic>
#include <cmath>
#include <limits>

#include "cpu/pool.h"
#include "cpu/tile.h"

namespace horo {
namespace HORO_ISA_NAMESPACE {
namespace {

constexpr int64_t mix_columns = 128;         // columns of the maps mixed at a time
constexpr int64_t decode_rows = 4;           // up to here keys are read in place, not packed
constexpr int64_t task_budget = 6ll << 20;   // aim for the maps of one task: few rows read keys too often
constexpr int64_t step_budget = 16ll << 20;  // aim for the maps of one step of the backward pass
constexpr int64_t max_rows = 48;             // rows per task
constexpr int64_t key_rows = 64;             // keys per task of dK and dV

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

template <class T>
class Attention {
  public:
    Attention(const AttentionShape& shape, const AttentionBuffers& buffers, const horo_exec& exec)
        : s(shape),
          b(buffers),
          exec_(exec),
          group_(s.heads / s.kv_heads),
          keys_(round_up(s.kv_len, W)),
          row_(keys_ / W % 2 ? keys_ : keys_ + W),
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
        pack(panels_k_, static_cast<const T*>(b.k), s.k, 0, s.batch);
        copy_rows(rows_v_, static_cast<const T*>(b.v), s.v, 0, s.batch);
        const int64_t blocks = (s.q_len + rows_ - 1) / rows_;
        if (s.mixed) {
            run_tasks(exec_, s.batch * blocks, [&](int64_t task, int64_t worker) {
                const Rows rows = block(task / blocks, task % blocks * rows_, rows_);
                T* maps = maps_ + worker * s.heads * map_;
                for (int64_t h = 0; h < s.heads; ++h) probabilities(rows, h, maps + h * map_, worker);
                mix(maps, rows.count, rows.end, 1, s.heads, mix_ + worker * mix_size());
                for (int64_t h = 0; h < s.heads; ++h) output(rows, h, maps + h * map_);
            });
        } else {
            run_tasks(exec_, s.batch * s.heads * blocks, [&](int64_t task, int64_t worker) {
                const int64_t item = task / blocks;
                const Rows rows = block(item / s.heads, task % blocks * rows_, rows_);
                probabilities(rows, item % s.heads, maps_ + worker * map_, worker);
                output(rows, item % s.heads, maps_ + worker * map_);
            });
        }
    }

    void backward() {
        Carver carver(b.workspace);
        backward_plan(carver);
        zero(static_cast<T*>(b.dk), s.k);
        zero(static_cast<T*>(b.dv), s.v);
        const int64_t blocks = (unit_rows_ + rows_ - 1) / rows_;
        for (int64_t i = 0; s.mixed && i < s.heads * s.heads; ++i) dalpha_[i] = 0;
        for (int64_t batch = 0; batch < s.batch; batch += items_) {
            const int64_t items = smaller(items_, s.batch - batch);
            pack(panels_k_, static_cast<const T*>(b.k), s.k, batch, items);
            pack(panels_v_, static_cast<const T*>(b.v), s.v, batch, items);
            copy_rows(rows_k_, static_cast<const T*>(b.k), s.k, batch, items);
            for (int64_t first = 0; first < s.q_len; first += unit_rows_) {
                run_tasks(exec_, items * blocks, [&](int64_t task, int64_t worker) {
                    const int64_t row = task % blocks * rows_;
                    if (first + row < s.q_len)
                        row_gradients(batch, task / blocks, first, row, task, mix_ + worker * mix_size());
                });
                const int64_t strips = (s.kv_len + key_rows - 1) / key_rows;
                run_tasks(exec_, items * s.kv_heads * strips, [&](int64_t task, int64_t) {
                    const int64_t item = task / strips / s.kv_heads;
                    key_gradients(batch, item, task / strips % s.kv_heads, first, task % strips * key_rows);
                });
                for (int64_t t = 0; s.mixed && t < items * blocks; ++t)
                    if (first + t % blocks * rows_ < s.q_len)
                        for (int64_t i = 0; i < s.heads * s.heads; ++i)
                            dalpha_[i] += partials_[t * s.heads * s.heads + i];
            }
        }
        T* result = static_cast<T*>(b.dalpha);
        for (int64_t i = 0; s.mixed && i < s.heads * s.heads; ++i)
            result[i] = static_cast<T>(result[i] + dalpha_[i]);
    }

  private:
    static constexpr int W = lanes<T>;

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

    int64_t mix_size() const { return s.heads * mix_columns; }

    // Rows per task: a multiple of the register tile, few enough for the cache.
    int64_t rows_for(int64_t heads) const {
        const int64_t fit = task_budget / (heads * row_ * static_cast<int64_t>(sizeof(T)) + 1);
        return smaller(larger(fit / 24 * 24, fit >= 12 ? 12 : 6), max_rows);
    }

    void forward_plan(Carver& carver) {
        const int64_t heads = s.mixed ? s.heads : 1;
        mix_ = carver.take<T>(s.mixed ? exec_.threads * mix_size() : 0);
        if (s.q_len <= decode_rows) {
            rows_ = s.q_len;
            map_ = rows_ * row_;
            maps_ = carver.take<T>(s.batch * s.heads * map_);
            return;
        }
        rows_ = smaller(rows_for(heads), s.q_len);
        map_ = rows_ * row_ + W;
        maps_ = carver.take<T>(exec_.threads * heads * map_);
        rows_q_ = carver.take<T>(exec_.threads * rows_ * s.dim);
        panels_k_ = carver.take<T>(s.batch * s.kv_heads * keys_ * s.dim);
        rows_v_ = carver.take<T>(s.batch * s.kv_heads * s.kv_len * s.dim);
    }

    void backward_plan(Carver& carver) {
        rows_ = larger(smaller(max_rows, s.q_len), 1);
        const int64_t fit = step_budget / (2 * s.heads * row_ * static_cast<int64_t>(sizeof(T)) + 1);
        unit_rows_ = larger(smaller(larger(fit / rows_, 1) * rows_, s.q_len), 1);
        items_ = unit_rows_ < s.q_len ? 1 : smaller(larger(fit / unit_rows_, 1), s.batch);
        map_ = unit_rows_ * row_ + W;
        mix_ = carver.take<T>(s.mixed ? exec_.threads * mix_size() : 0);
        maps_ = carver.take<T>(items_ * s.heads * map_);
        grads_ = carver.take<T>(items_ * s.heads * map_);
        rows_q_ = carver.take<T>(items_ * s.heads * unit_rows_ * s.dim);
        rows_dout_ = carver.take<T>(items_ * s.heads * unit_rows_ * s.dim);
        panels_k_ = carver.take<T>(items_ * s.kv_heads * keys_ * s.dim);
        panels_v_ = carver.take<T>(items_ * s.kv_heads * keys_ * s.dim);
        rows_k_ = carver.take<T>(items_ * s.kv_heads * s.kv_len * s.dim);
        if (s.mixed) {
            partials_ = carver.take<double>(items_ * ((unit_rows_ + rows_ - 1) / rows_) * s.heads * s.heads);
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
    void pack(T* packed, const T* source, const TokenStrides& strides, int64_t batch, int64_t items) {
        run_tasks(exec_, items * s.kv_heads, [&](int64_t task, int64_t) {
            const T* from = at(source, strides, batch + task / s.kv_heads, 0, task % s.kv_heads);
            T* to = packed + task * keys_ * s.dim;
            for (int64_t c = 0, width; c < keys_; c += width) {
                width = panel(c);
                T* p = to + c * s.dim;
                const int64_t filled = smaller(width, s.kv_len - c);
                const T* rows = from + c * strides.token;
                for (int64_t j = 0; j < filled; j += W)
                    pack_columns(p + j, width, rows + j * strides.token, strides.token,
                                 smaller(W, filled - j));
            }
        });
    }

    // Transposes up to W rows into columns of a panel; columns without a row become zero.
    void pack_columns(T* to, int64_t width, const T* from, int64_t from_row, int64_t rows) const {
        int64_t d = 0;
        for (; rows == W && d + W <= s.dim; d += W) {
            Vec<T, W> square[W];
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i) square[i] = load<T, W>(from + i * from_row + d);
            transpose<T, W>(square);
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i) store<T, W>(to + (d + i) * width, square[i]);
        }
        for (; d < s.dim; ++d)
            for (int64_t j = 0; j < W; ++j) to[d * width + j] = j < rows ? from[j * from_row + d] : 0;
    }

    // Copies (token, dim) of every key head without gaps: strided rows would share cache sets.
    void copy_rows(T* to, const T* source, const TokenStrides& strides, int64_t batch, int64_t items) {
        run_tasks(exec_, items * s.kv_heads, [&](int64_t task, int64_t) {
            const T* from = at(source, strides, batch + task / s.kv_heads, 0, task % s.kv_heads);
            gather(to + task * s.kv_len * s.dim, from, strides.token, s.kv_len);
        });
    }

    void gather(T* to, const T* from, int64_t from_row, int64_t rows) const {
        for (int64_t r = 0; r < rows; ++r)
            std::memcpy(to + r * s.dim, from + r * from_row, static_cast<size_t>(s.dim) * sizeof(T));
    }

    // to[rows, end) = x[rows, dim] * packed
    void scores(int64_t rows, int64_t end, const T* x, const T* packed, T* to) const {
        for (int64_t c = 0, width; c < end; c += width) {
            width = panel(c);
            gemm<T>(rows, smaller(width, end - c), s.dim, x, s.dim, 1, packed + c * s.dim, width, to + c,
                    row_, false);
        }
    }

    // Turns a row of scores into probabilities with zeros up to `end`; returns the log of the sum.
    T softmax(T* row, int64_t keys, int64_t end) const {
        using V = Vec<T, W>;
        const T inf = std::numeric_limits<T>::infinity();
        V top = splat<T, W>(-inf);
        for (int64_t j = keys; j < smaller(round_up(keys, W), end); ++j) row[j] = -inf;
        for (int64_t j = 0; j < keys; j += W) {
            const V x = load<T, W>(row + j);
            top = x > top ? x : top;
        }
        const T scale = static_cast<T>(s.scale);
        const T most = largest<T, W>(top);
        if (most == -inf) {  // nothing to see, or only -inf and NaN
            T probe = 0;
            for (int64_t j = 0; j < keys; ++j) probe += row[j];
            const T value = probe != probe ? probe : 0;
            for (int64_t j = 0; j < end; ++j) row[j] = j < keys ? value : 0;
            return probe != probe ? probe : -inf;
        }
        V total{};
        for (int64_t j = 0; j < keys; j += W) {
            const V e = exp<T, W>((load<T, W>(row + j) - most) * scale);
            total += e;
            store<T, W>(row + j, e);
        }
        const T l = sum<T, W>(total);
        const T inverse = 1 / l;
        for (int64_t j = 0; j < keys; j += W) store<T, W>(row + j, load<T, W>(row + j) * inverse);
        for (int64_t j = round_up(keys, W); j < end; ++j) row[j] = 0;
        return static_cast<T>(std::log(static_cast<double>(l)) + static_cast<double>(most) * s.scale);
    }

    T* lse(int64_t batch, int64_t head, int64_t row) const {
        return static_cast<T*>(b.lse) + (batch * s.heads + head) * s.q_len + row;
    }

    void probabilities(const Rows& rows, int64_t head, T* map, int64_t worker) const {
        T* q = rows_q_ + worker * rows_ * s.dim;
        gather(q, at(static_cast<const T*>(b.q), s.q, rows.batch, rows.first, head), s.q.token, rows.count);
        scores(rows.count, rows.end, q, panels_k_ + (rows.batch * s.kv_heads + head / group_) * keys_ * s.dim,
               map);
        for (int64_t r = 0; r < rows.count; ++r) {
            const T log_sum = softmax(map + r * row_, limit(rows.batch, rows.first + r), rows.end);
            if (b.lse) *lse(rows.batch, head, rows.first + r) = log_sum;
        }
    }

    // map_h += sum_i alpha[h * out_step + i * in_step] map_i, in place, a strip of columns of all heads at a
    // time.
    void mix(T* maps, int64_t rows, int64_t end, int64_t in_step, int64_t out_step, T* scratch) const {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < end; c += mix_columns)
                mix_strip(maps + r * row_ + c, smaller(mix_columns, end - c), in_step, out_step, scratch);
    }

    void mix_strip(T* maps, int64_t columns, int64_t in_step, int64_t out_step, T* scratch) const {
        for (int64_t h = 0; h < s.heads; ++h)
            std::memcpy(scratch + h * mix_columns, maps + h * map_, static_cast<size_t>(columns) * sizeof(T));
        gemm<T>(s.heads, columns, s.heads, alpha_, out_step, in_step, scratch, mix_columns, maps, map_, true);
    }

    // to[rows, dim] = map[rows, keys] * x[keys, dim]. Columns that only some rows see are multiplied for
    // those rows alone: 0 * NaN of a later token must not reach an earlier one.
    void weighted(const Rows& rows, const T* map, const T* x, T* to, int64_t to_row) const {
        const int64_t shared = limit(rows.batch, rows.first);
        gemm<T>(rows.count, s.dim, shared, map, row_, 1, x, s.dim, to, to_row, false);
        for (int64_t r = 0; s.causal && r < rows.count; r += 8) {
            const int64_t count = smaller(8, rows.count - r);
            const int64_t common = limit(rows.batch, rows.first + r);
            gemm<T>(count, s.dim, common - shared, map + r * row_ + shared, row_, 1, x + shared * s.dim,
                    s.dim, to + r * to_row, to_row, true);
            for (int64_t i = 1; i < count; ++i)
                gemm<T>(1, s.dim, limit(rows.batch, rows.first + r + i) - common,
                        map + (r + i) * row_ + common, row_, 1, x + common * s.dim, s.dim,
                        to + (r + i) * to_row, to_row, true);
        }
    }

    void output(const Rows& rows, int64_t head, const T* map) const {
        weighted(rows, map, rows_v_ + (rows.batch * s.kv_heads + head / group_) * s.kv_len * s.dim,
                 at(static_cast<T*>(b.out), s.out, rows.batch, rows.first, head), s.out.token);
    }

    // Few query rows, many keys: each key and value is read once, by the heads that share it.
    void decode() {
        const int64_t rows = s.q_len;
        const int64_t item = s.heads * map_;
        const auto scores_of = [&](int64_t batch, int64_t g) {
            const Rows all = block(batch, 0, rows);
            const int64_t seen = limit(batch, rows - 1);
            T* maps = maps_ + batch * item + g * group_ * map_;
            for (int64_t i = 0; i < group_ * rows * row_; ++i) maps[i] = 0;
            const T* k = at(static_cast<const T*>(b.k), s.k, batch, 0, g);
            for (int64_t r = 0; r < rows; ++r)
                gemm_nt<T, T>(group_, seen, s.dim, at(static_cast<const T*>(b.q), s.q, batch, r, g * group_),
                              s.q.head, k, s.k.token, maps + r * row_, map_);
            for (int64_t h = 0; h < group_; ++h)
                for (int64_t r = 0; r < rows; ++r) {
                    const T log_sum = softmax(maps + h * map_ + r * row_, limit(batch, r), all.end);
                    if (b.lse) *lse(batch, g * group_ + h, r) = log_sum;
                }
        };
        const auto output_of = [&](int64_t batch, int64_t g) {
            const T* v = at(static_cast<const T*>(b.v), s.v, batch, 0, g);
            for (int64_t r = 0; r < rows; ++r)
                gemm<T>(group_, s.dim, limit(batch, r), maps_ + batch * item + g * group_ * map_ + r * row_,
                        map_, 1, v, s.v.token, at(static_cast<T*>(b.out), s.out, batch, r, g * group_),
                        s.out.head, false);
        };
        run_tasks(exec_, s.batch * s.kv_heads, [&](int64_t task, int64_t) {
            scores_of(task / s.kv_heads, task % s.kv_heads);
            if (!s.mixed) output_of(task / s.kv_heads, task % s.kv_heads);
        });
        if (!s.mixed) return;
        const int64_t strips = (keys_ + mix_columns - 1) / mix_columns;
        run_tasks(exec_, s.batch * rows * strips, [&](int64_t task, int64_t worker) {
            const int64_t c = task % strips * mix_columns;
            const int64_t batch = task / strips / rows;
            const int64_t columns = smaller(mix_columns, block(batch, 0, rows).end - c);
            if (columns > 0)
                mix_strip(maps_ + batch * item + task / strips % rows * row_ + c, columns, 1, s.heads,
                          mix_ + worker * mix_size());
        });
        run_tasks(exec_, s.batch * s.kv_heads,
                  [&](int64_t task, int64_t) { output_of(task / s.kv_heads, task % s.kv_heads); });
    }

    void zero(T* base, const TokenStrides& strides) const {
        for (int64_t batch = 0; batch < s.batch; ++batch)
            for (int64_t g = 0; g < s.kv_heads; ++g)
                for (int64_t j = 0; j < s.kv_len; ++j)
                    std::memset(at(base, strides, batch, j, g), 0, static_cast<size_t>(s.dim) * sizeof(T));
    }

    // Leaves mixed P in maps_ and dS in grads_ for a block of rows, and writes their dQ and their part of
    // dalpha. `row` counts from `first`, the first row of this step.
    void row_gradients(int64_t batch, int64_t item, int64_t first, int64_t row, int64_t task,
                       T* scratch) const {
        using V = Vec<T, W>;
        const Rows rows = block(batch + item, first + row, smaller(rows_, unit_rows_ - row));
        const int64_t filled = smaller(round_up(rows.end, key_rows), keys_);  // what key_gradients may read
        T* maps = maps_ + item * s.heads * map_ + row * row_;
        T* grads = grads_ + item * s.heads * map_ + row * row_;
        const T scale = static_cast<T>(s.scale);
        for (int64_t h = 0; h < s.heads; ++h) {
            const int64_t kv = (item * s.kv_heads + h / group_) * keys_ * s.dim;
            const int64_t x = ((item * s.heads + h) * unit_rows_ + row) * s.dim;
            T* map = maps + h * map_;
            T* grad = grads + h * map_;
            gather(rows_q_ + x, at(static_cast<const T*>(b.q), s.q, rows.batch, rows.first, h), s.q.token,
                   rows.count);
            gather(rows_dout_ + x, at(static_cast<const T*>(b.dout), s.out, rows.batch, rows.first, h),
                   s.out.token, rows.count);
            scores(rows.count, rows.end, rows_q_ + x, panels_k_ + kv, map);
            scores(rows.count, rows.end, rows_dout_ + x, panels_v_ + kv, grad);
            for (int64_t r = 0; r < rows.count; ++r) {
                const int64_t keys = limit(rows.batch, rows.first + r);
                softmax(map + r * row_, keys, rows.end);
                for (int64_t j = rows.end; j < filled; ++j) map[r * row_ + j] = 0;
                for (int64_t j = keys; j < filled; ++j) grad[r * row_ + j] = 0;
            }
        }
        if (s.mixed) {
            double* partial = partials_ + task * s.heads * s.heads;
            for (int64_t i = 0; i < s.heads * s.heads; ++i) partial[i] = 0;
            for (int64_t r = 0; r < rows.count; ++r)
                gemm_nt<T, double>(s.heads, s.heads, rows.end, grads + r * row_, map_, maps + r * row_, map_,
                                   partial, s.heads);
            mix(grads, rows.count, rows.end, s.heads, 1, scratch);
        }
        for (int64_t h = 0; h < s.heads; ++h) {
            T* map = maps + h * map_;
            T* grad = grads + h * map_;
            for (int64_t r = 0; r < rows.count; ++r) {
                T* p = map + r * row_;
                T* g = grad + r * row_;
                V dot{};
                for (int64_t j = 0; j < rows.end; j += W) dot += load<T, W>(p + j) * load<T, W>(g + j);
                const T delta = sum<T, W>(dot);
                for (int64_t j = 0; j < rows.end; j += W)
                    store<T, W>(g + j, load<T, W>(p + j) * (load<T, W>(g + j) - delta) * scale);
            }
            weighted(rows, grad, rows_k_ + (item * s.kv_heads + h / group_) * s.kv_len * s.dim,
                     at(static_cast<T*>(b.dq), s.q, rows.batch, rows.first, h), s.q.token);
        }
        if (s.mixed) mix(maps, rows.count, rows.end, 1, s.heads, scratch);
    }

    // Adds the rows of one step to dK and dV of a strip of keys; blocks of rows that see none of them are
    // left out.
    void key_gradients(int64_t batch, int64_t item, int64_t g, int64_t first, int64_t key) const {
        const int64_t last = smaller(first + unit_rows_, s.q_len);
        const int64_t count = smaller(smaller(key_rows, s.kv_len - key), limit(batch + item, last - 1) - key);
        if (count <= 0) return;
        int64_t from = 0;
        while (block(batch + item, first + from, smaller(rows_, last - first - from)).end <= key)
            from += rows_;
        const int64_t rows = last - first - from;
        T* dk = at(static_cast<T*>(b.dk), s.k, batch + item, key, g);
        T* dv = at(static_cast<T*>(b.dv), s.v, batch + item, key, g);
        for (int64_t h = g * group_; h < (g + 1) * group_; ++h) {
            const int64_t map = (item * s.heads + h) * map_ + from * row_ + key;
            const int64_t x = ((item * s.heads + h) * unit_rows_ + from) * s.dim;
            gemm<T>(count, s.dim, rows, grads_ + map, 1, row_, rows_q_ + x, s.dim, dk, s.k.token, true);
            gemm<T>(count, s.dim, rows, maps_ + map, 1, row_, rows_dout_ + x, s.dim, dv, s.v.token, true);
        }
    }

    const AttentionShape& s;
    const AttentionBuffers& b;
    const horo_exec& exec_;
    const int64_t group_;  // query heads per key head
    const int64_t keys_;   // kv_len in whole vectors
    const int64_t row_;  // row stride of a map: an odd number of vectors, so that rows spread over the cache
    const T* const alpha_;

    int64_t rows_ = 0;       // query rows per task
    int64_t map_ = 0;        // stride between the maps of two heads
    int64_t unit_rows_ = 0;  // backward: query rows per step
    int64_t items_ = 0;      // backward: batch items per step
    T* maps_ = nullptr;
    T* grads_ = nullptr;
    T* mix_ = nullptr;
    T* panels_k_ = nullptr;  // keys and values, transposed into panels
    T* panels_v_ = nullptr;
    T* rows_k_ = nullptr;  // keys, values, queries and output gradients without gaps between tokens
    T* rows_v_ = nullptr;
    T* rows_q_ = nullptr;
    T* rows_dout_ = nullptr;
    double* partials_ = nullptr;
    double* dalpha_ = nullptr;
};

template <class T>
constexpr AttentionKernels table() {
    return {[](const AttentionShape& s, const horo_exec& exec) {
                return Attention<T>(s, {}, exec).forward_bytes();
            },
            [](const AttentionShape& s, const horo_exec& exec) {
                return Attention<T>(s, {}, exec).backward_bytes();
            },
            [](const AttentionShape& s, const AttentionBuffers& b, const horo_exec& exec) {
                Attention<T>(s, b, exec).forward();
            },
            [](const AttentionShape& s, const AttentionBuffers& b, const horo_exec& exec) {
                Attention<T>(s, b, exec).backward();
            }};
}

}  // namespace

extern const AttentionKernels attention_f32;
extern const AttentionKernels attention_f64;
const AttentionKernels attention_f32 = table<float>();
const AttentionKernels attention_f64 = table<double>();

}  // namespace HORO_ISA_NAMESPACE
}  // namespace horo
