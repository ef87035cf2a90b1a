#include "cpu/layers.h"

#include <cmath>
#include <cstring>

#include "abi/device.h"
#include "abi/operands.h"
#include "cpu/isa.h"
#include "cpu/pool.h"

namespace {

using horo::dtype_bytes;
using horo::fail;
using horo::parallel_for;
using horo::resolve;

// Elements per chunk: 128 KiB of float32, some microseconds of work; never more chunks for more threads.
constexpr int64_t chunk_elements = 32768;
constexpr int64_t largest = int64_t{1} << 60;

const horo::LayersTable& kernels() {
    return horo::select(horo::scalar::layers, horo::avx2::layers, horo::avx512::layers);
}

// Calls body(first, count) over [0, n) in chunks of `size`.
template <class Body>
int32_t over(const horo_exec* exec, int64_t n, int64_t size, Body&& body) {
    parallel_for(resolve(exec), (n + size - 1) / size, [&](int64_t chunk) {
        const int64_t first = chunk * size;
        body(first, n - first < size ? n - first : size);
    });
    return HORO_OK;
}

int64_t rows_per_chunk(int64_t dim) { return dim < chunk_elements ? chunk_elements / dim : 1; }

// Columns per chunk when every chunk goes through all rows.
constexpr int64_t chunk_columns = 512;

long long ll(int64_t value) { return static_cast<long long>(value); }

#define REQUIRE_ALIGNED(name, bytes)                                                     \
    HORO_REQUIRE(reinterpret_cast<uintptr_t>(name) % static_cast<uintptr_t>(bytes) == 0, \
                 #name ": address not a multiple of %d", static_cast<int>(bytes))
#define REQUIRE_STORED(name, bytes)     \
    HORO_REQUIRE(name, #name ": null"); \
    REQUIRE_ALIGNED(name, bytes)
#define REQUIRE_POINTER(name) REQUIRE_STORED(name, sizeof *name)
#define REQUIRE_COUNT(name) \
    HORO_REQUIRE(name >= 0 && name <= largest, #name ": %lld, expected 0 or more", ll(name))
#define REQUIRE_SHAPE(rows, dim)                                                              \
    do {                                                                                      \
        REQUIRE_COUNT(rows);                                                                  \
        HORO_REQUIRE(dim >= 1 && dim <= largest, #dim ": %lld, expected 1 or more", ll(dim)); \
        HORO_REQUIRE(rows <= largest / dim, #rows ": %lld, too large", ll(rows));             \
    } while (0)
#define REQUIRE_INDICES(ids, tokens, low, size)                                                         \
    for (int64_t t = 0; t < tokens; ++t)                                                                \
    HORO_REQUIRE(ids[t] >= low && ids[t] < size, #ids ": %d at position %lld, expected %s%lld",         \
                 static_cast<int>(ids[t]), ll(t), low == 0 ? "0 or more and below " : "a value below ", \
                 ll(size))

// At most 256 partial sums, however long the vector is.
double sum_squares(const float* x, int64_t n, const horo_exec* exec) {
    double partial[256];
    const int64_t least = (n + 255) / 256;
    const int64_t size = (least + chunk_elements - 1) / chunk_elements * chunk_elements;
    if (n == 0) return 0;
    over(exec, n, size,
         [&](int64_t i, int64_t count) { partial[i / size] = kernels().sum_squares(x + i, count); });
    double total = 0;
    for (int64_t chunk = 0; chunk * size < n; ++chunk) total += partial[chunk];
    return total;
}

int32_t adamw_step(double lr, double beta1, double beta2, double eps, double weight_decay, int64_t step,
                   double grad_scale, horo::AdamwStep& scalars) {
    HORO_REQUIRE(beta1 >= 0 && beta1 < 1, "beta1: %g, expected 0 or more and below 1", beta1);
    HORO_REQUIRE(beta2 >= 0 && beta2 < 1, "beta2: %g, expected 0 or more and below 1", beta2);
    HORO_REQUIRE(step >= 1, "step: %lld, expected 1 or more", ll(step));
    const double count = static_cast<double>(step);
    scalars = {static_cast<float>(1 - lr * weight_decay),
               static_cast<float>(1 - beta1),
               static_cast<float>(beta2),
               static_cast<float>(1 - beta2),
               static_cast<float>(std::sqrt(1 - std::pow(beta2, count))),
               static_cast<float>(eps),
               static_cast<float>(lr / (1 - std::pow(beta1, count))),
               static_cast<float>(grad_scale)};
    return HORO_OK;
}

int32_t adamw(float* param, const float* grad, float* m, float* v, int64_t n, const horo::AdamwStep& scalars,
              const horo_exec* exec) {
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t size) {
        kernels().adamw(param + i, grad + i, m + i, v + i, size, scalars);
    });
}

}  // namespace

extern "C" {

int32_t horo_rmsnorm_forward(const float* x, const float* weight, double eps, int64_t rows, int64_t dim,
                             float* out, float* rstd, const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(weight);
    REQUIRE_POINTER(out);
    REQUIRE_ALIGNED(rstd, sizeof *rstd);
    HORO_ON_CUDA(exec, layers.rmsnorm_forward, x, weight, eps, rows, dim, out, rstd);
    return over(exec, rows, rows_per_chunk(dim), [&](int64_t first, int64_t count) {
        kernels().rmsnorm_forward(x + first * dim, weight, eps, count, dim, out + first * dim,
                                  rstd ? rstd + first : nullptr);
    });
}

int32_t horo_rmsnorm_backward(const float* dout, const float* x, const float* weight, const float* rstd,
                              int64_t rows, int64_t dim, float* dx, float* dweight, const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(dout);
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(weight);
    REQUIRE_POINTER(rstd);
    REQUIRE_POINTER(dx);
    REQUIRE_ALIGNED(dweight, sizeof *dweight);
    HORO_ON_CUDA(exec, layers.rmsnorm_backward, dout, x, weight, rstd, rows, dim, dx, dweight);
    if (dweight)
        over(exec, dim, chunk_columns, [&](int64_t first, int64_t count) {
            kernels().rmsnorm_backward_weight(dout, x, rstd, rows, dim, first, first + count, dweight);
        });
    return over(exec, rows, rows_per_chunk(dim), [&](int64_t first, int64_t count) {
        kernels().rmsnorm_backward(dout + first * dim, x + first * dim, weight, rstd + first, count, dim,
                                   dx + first * dim);
    });
}

int32_t horo_layernorm_forward(const float* x, const float* weight, const float* bias, double eps,
                               int64_t rows, int64_t dim, float* out, float* mean, float* rstd,
                               const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(weight);
    REQUIRE_POINTER(bias);
    REQUIRE_POINTER(out);
    REQUIRE_ALIGNED(mean, sizeof *mean);
    REQUIRE_ALIGNED(rstd, sizeof *rstd);
    HORO_ON_CUDA(exec, layers.layernorm_forward, x, weight, bias, eps, rows, dim, out, mean, rstd);
    return over(exec, rows, rows_per_chunk(dim), [&](int64_t first, int64_t count) {
        kernels().layernorm_forward(x + first * dim, weight, bias, eps, count, dim, out + first * dim,
                                    mean ? mean + first : nullptr, rstd ? rstd + first : nullptr);
    });
}

int32_t horo_layernorm_backward(const float* dout, const float* x, const float* weight, const float* mean,
                                const float* rstd, int64_t rows, int64_t dim, float* dx, float* dweight,
                                float* dbias, const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(dout);
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(weight);
    REQUIRE_POINTER(mean);
    REQUIRE_POINTER(rstd);
    REQUIRE_POINTER(dx);
    REQUIRE_ALIGNED(dweight, sizeof *dweight);
    REQUIRE_ALIGNED(dbias, sizeof *dbias);
    HORO_ON_CUDA(exec, layers.layernorm_backward, dout, x, weight, mean, rstd, rows, dim, dx, dweight, dbias);
    if (dweight)
        over(exec, dim, chunk_columns, [&](int64_t first, int64_t count) {
            kernels().layernorm_backward_weight(dout, x, mean, rstd, rows, dim, first, first + count,
                                                dweight);
        });
    if (dbias)
        over(exec, dim, chunk_columns, [&](int64_t first, int64_t count) {
            kernels().bias_grad(dout, rows, dim, first, first + count, dbias);
        });
    return over(exec, rows, rows_per_chunk(dim), [&](int64_t first, int64_t count) {
        kernels().layernorm_backward(dout + first * dim, x + first * dim, weight, mean + first, rstd + first,
                                     count, dim, dx + first * dim);
    });
}

int32_t horo_rope(float* x, int64_t tokens, int64_t row_stride, int64_t heads, int64_t head_dim,
                  const float* cos_sin, int64_t position_count, const int32_t* positions, int32_t inverse,
                  const horo_exec* exec) {
    REQUIRE_SHAPE(heads, head_dim);
    HORO_REQUIRE(head_dim % 2 == 0, "head_dim: %lld, expected an even number", ll(head_dim));
    HORO_REQUIRE(row_stride >= heads * head_dim,
                 "row_stride: %lld, expected at least heads * head_dim = %lld", ll(row_stride),
                 ll(heads * head_dim));
    if (heads == 0) return HORO_OK;
    REQUIRE_SHAPE(tokens, row_stride);
    HORO_REQUIRE(horo::on_cpu(exec) || heads * head_dim <= INT32_MAX,
                 "heads * head_dim: %lld, expected less than 2^31 on a CUDA device", ll(heads * head_dim));
    if (tokens == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(cos_sin);
    REQUIRE_POINTER(positions);
    HORO_ON_CUDA(exec, layers.rope, x, tokens, row_stride, heads, head_dim, cos_sin, position_count,
                 positions, inverse);
    REQUIRE_INDICES(positions, tokens, 0, position_count);
    return over(exec, tokens, rows_per_chunk(heads * head_dim), [&](int64_t first, int64_t count) {
        kernels().rope(x + first * row_stride, count, row_stride, heads, head_dim, cos_sin, positions + first,
                       inverse ? -1.0f : 1.0f);
    });
}

int32_t horo_swiglu_forward(const float* gate, const float* up, float* out, int64_t n,
                            const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(gate);
    REQUIRE_POINTER(up);
    REQUIRE_POINTER(out);
    HORO_ON_CUDA(exec, layers.swiglu_forward, gate, up, out, n);
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t count) {
        kernels().swiglu_forward(gate + i, up + i, out + i, count);
    });
}

int32_t horo_swiglu_backward(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                             int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(dout);
    REQUIRE_POINTER(gate);
    REQUIRE_POINTER(up);
    REQUIRE_POINTER(dgate);
    REQUIRE_POINTER(dup);
    HORO_ON_CUDA(exec, layers.swiglu_backward, dout, gate, up, dgate, dup, n);
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t count) {
        kernels().swiglu_backward(dout + i, gate + i, up + i, dgate + i, dup + i, count);
    });
}

int32_t horo_geglu_forward(const float* gate, const float* up, float* out, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(gate);
    REQUIRE_POINTER(up);
    REQUIRE_POINTER(out);
    HORO_ON_CUDA(exec, layers.geglu_forward, gate, up, out, n);
    return over(exec, n, chunk_elements,
                [&](int64_t i, int64_t count) { kernels().geglu_forward(gate + i, up + i, out + i, count); });
}

int32_t horo_geglu_backward(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                            int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(dout);
    REQUIRE_POINTER(gate);
    REQUIRE_POINTER(up);
    REQUIRE_POINTER(dgate);
    REQUIRE_POINTER(dup);
    HORO_ON_CUDA(exec, layers.geglu_backward, dout, gate, up, dgate, dup, n);
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t count) {
        kernels().geglu_backward(dout + i, gate + i, up + i, dgate + i, dup + i, count);
    });
}

int32_t horo_gelu_forward(const float* x, float* out, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(out);
    HORO_ON_CUDA(exec, layers.gelu_forward, x, out, n);
    return over(exec, n, chunk_elements,
                [&](int64_t i, int64_t count) { kernels().gelu_forward(x + i, out + i, count); });
}

int32_t horo_gelu_backward(const float* dout, const float* x, float* dx, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(dout);
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(dx);
    HORO_ON_CUDA(exec, layers.gelu_backward, dout, x, dx, n);
    return over(exec, n, chunk_elements,
                [&](int64_t i, int64_t count) { kernels().gelu_backward(dout + i, x + i, dx + i, count); });
}

int32_t horo_bias_add(const float* bias, int64_t rows, int64_t dim, float* y, const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(bias);
    REQUIRE_POINTER(y);
    HORO_ON_CUDA(exec, layers.bias_add, bias, rows, dim, y);
    return over(exec, rows, rows_per_chunk(dim),
                [&](int64_t first, int64_t count) { kernels().bias_add(bias, count, dim, y + first * dim); });
}

int32_t horo_bias_grad(const float* dy, int64_t rows, int64_t dim, float* dbias, const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(dy);
    REQUIRE_POINTER(dbias);
    HORO_ON_CUDA(exec, layers.bias_grad, dy, rows, dim, dbias);
    return over(exec, dim, chunk_columns, [&](int64_t first, int64_t count) {
        kernels().bias_grad(dy, rows, dim, first, first + count, dbias);
    });
}

int32_t horo_column_scale(const float* scale, int64_t rows, int64_t dim, const float* x, float* out,
                          const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(scale);
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(out);
    HORO_ON_CUDA(exec, layers.column_scale, scale, rows, dim, x, out);
    return over(exec, rows, rows_per_chunk(dim), [&](int64_t first, int64_t count) {
        kernels().column_scale(scale, count, dim, x + first * dim, out + first * dim);
    });
}

int32_t horo_column_scale_grad(const float* dy, const float* x, int64_t rows, int64_t dim, float* dscale,
                               const horo_exec* exec) {
    REQUIRE_SHAPE(rows, dim);
    if (rows == 0) return HORO_OK;
    REQUIRE_POINTER(dy);
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(dscale);
    HORO_ON_CUDA(exec, layers.column_scale_grad, dy, x, rows, dim, dscale);
    return over(exec, dim, chunk_columns, [&](int64_t first, int64_t count) {
        kernels().column_scale_grad(dy, x, rows, dim, first, first + count, dscale);
    });
}

int32_t horo_row_lengths(int64_t out, int64_t r, double scaling, const double* squares, const float* cross,
                         const float* gram, const float* b, const float* lengths, float* norms,
                         float* inverse, float* ratio, const horo_exec* exec) {
    REQUIRE_SHAPE(out, r);
    if (out == 0) return HORO_OK;
    REQUIRE_POINTER(squares);
    REQUIRE_POINTER(cross);
    REQUIRE_POINTER(gram);
    REQUIRE_POINTER(b);
    REQUIRE_ALIGNED(lengths, sizeof *lengths);
    REQUIRE_ALIGNED(norms, sizeof *norms);
    REQUIRE_ALIGNED(inverse, sizeof *inverse);
    REQUIRE_ALIGNED(ratio, sizeof *ratio);
    HORO_REQUIRE(lengths || !ratio, "lengths: null, expected them for ratio");
    const horo::RowLengths call{out, r, scaling, squares, cross, gram, b, lengths, norms, inverse, ratio};
    HORO_ON_CUDA(exec, layers.row_lengths, call);
    return over(exec, out, rows_per_chunk(r * r), [&](int64_t first, int64_t count) {
        for (int64_t j = first; j < first + count; ++j) {
            double square = squares[j];
            for (int64_t i = 0; i < r; ++i) square += call.addend(j, i);
            call.store(j, square);
        }
    });
}

int32_t horo_embedding_forward(const int32_t* ids, int32_t table_type, const void* table, int64_t tokens,
                               int64_t vocab, int64_t dim, float* out, const horo_exec* exec) {
    HORO_REQUIRE(table_type >= HORO_F32 && table_type <= HORO_F16, "table_type: %d is no storage type",
                 table_type);
    REQUIRE_SHAPE(tokens, dim);
    REQUIRE_SHAPE(vocab, dim);
    if (tokens == 0) return HORO_OK;
    REQUIRE_POINTER(ids);
    REQUIRE_STORED(table, dtype_bytes[table_type]);
    REQUIRE_POINTER(out);
    HORO_ON_CUDA(exec, layers.embedding_forward, ids, table_type, table, tokens, vocab, dim, out);
    REQUIRE_INDICES(ids, tokens, 0, vocab);
    return over(exec, tokens, rows_per_chunk(dim), [&](int64_t first, int64_t count) {
        const int64_t row = dim * dtype_bytes[table_type];
        for (int64_t t = first; t < first + count; ++t)
            kernels().to_f32[table_type](static_cast<const char*>(table) + ids[t] * row, out + t * dim, dim);
    });
}

int32_t horo_embedding_backward(const int32_t* ids, const float* dout, int64_t tokens, int64_t vocab,
                                int64_t dim, float* dtable, const horo_exec* exec) {
    REQUIRE_SHAPE(tokens, dim);
    REQUIRE_SHAPE(vocab, dim);
    if (tokens == 0) return HORO_OK;
    REQUIRE_POINTER(ids);
    REQUIRE_POINTER(dout);
    REQUIRE_POINTER(dtable);
    HORO_ON_CUDA(exec, layers.embedding_backward, ids, dout, tokens, vocab, dim, dtable);
    REQUIRE_INDICES(ids, tokens, 0, vocab);
    // Cut by columns: a repeated id is then summed in the order of the tokens by one thread.
    return over(exec, dim, chunk_columns, [&](int64_t first, int64_t count) {
        for (int64_t t = 0; t < tokens; ++t)
            kernels().axpy(1, dout + t * dim + first, dtable + ids[t] * dim + first, count);
    });
}

int32_t horo_cross_entropy(float* logits, const int32_t* targets, int64_t tokens, int64_t vocab,
                           float* losses, const float* gradient_scale, const horo_exec* exec) {
    REQUIRE_SHAPE(tokens, vocab);
    if (tokens == 0) return HORO_OK;
    REQUIRE_POINTER(logits);
    REQUIRE_POINTER(targets);
    REQUIRE_POINTER(losses);
    REQUIRE_ALIGNED(gradient_scale, sizeof *gradient_scale);
    HORO_ON_CUDA(exec, layers.cross_entropy, logits, targets, tokens, vocab, losses, gradient_scale);
    REQUIRE_INDICES(targets, tokens, INT32_MIN, vocab);
    return over(exec, tokens, rows_per_chunk(vocab), [&](int64_t first, int64_t count) {
        kernels().cross_entropy(logits + first * vocab, targets + first, count, vocab, losses + first,
                                gradient_scale != nullptr, gradient_scale ? *gradient_scale : 0);
    });
}

int32_t horo_add(const float* x, const float* y, float* out, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(y);
    REQUIRE_POINTER(out);
    HORO_ON_CUDA(exec, layers.add, x, y, out, n);
    return over(exec, n, chunk_elements,
                [&](int64_t i, int64_t count) { kernels().add(x + i, y + i, out + i, count); });
}

int32_t horo_axpy(double a, const float* x, float* y, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(y);
    HORO_ON_CUDA(exec, layers.axpy, a, x, y, n);
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t count) {
        kernels().axpy(static_cast<float>(a), x + i, y + i, count);
    });
}

int32_t horo_scale(double a, float* x, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    HORO_ON_CUDA(exec, layers.scale, a, x, n);
    return over(exec, n, chunk_elements,
                [&](int64_t i, int64_t count) { kernels().scale(static_cast<float>(a), x + i, count); });
}

double horo_sum_squares(const float* x, int64_t n, const horo_exec* exec) {
    if (!horo::on_cpu(exec)) {
        fail(HORO_UNSUPPORTED,
             "exec: a CUDA device, expected the CPU: the sum would have to be waited for; use "
             "horo_sum_squares_add");
        return std::nan("");
    }
    if (n < 0 || n > largest || (n > 0 && !x)) {
        fail(HORO_INVALID_ARGUMENT, n > 0 ? "x: null" : "n: %lld, expected 0 or more", ll(n));
        return std::nan("");
    }
    return sum_squares(x, n, exec);
}

int32_t horo_sum_squares_add(const float* x, int64_t n, double* total, double* workspace,
                             const horo_exec* exec) {
    REQUIRE_COUNT(n);
    REQUIRE_POINTER(total);
    REQUIRE_POINTER(workspace);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    HORO_ON_CUDA(exec, layers.sum_squares_add, x, n, total, workspace);
    *total += sum_squares(x, n, exec);
    return HORO_OK;
}

int32_t horo_adamw(float* param, const float* grad, float* m, float* v, int64_t n, double lr, double beta1,
                   double beta2, double eps, double weight_decay, int64_t step, double grad_scale,
                   const horo_exec* exec) {
    REQUIRE_COUNT(n);
    horo::AdamwStep scalars;
    if (const int32_t status = adamw_step(lr, beta1, beta2, eps, weight_decay, step, grad_scale, scalars))
        return status;
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(param);
    REQUIRE_POINTER(grad);
    REQUIRE_POINTER(m);
    REQUIRE_POINTER(v);
    HORO_ON_CUDA(exec, layers.adamw, param, grad, m, v, n, scalars);
    return adamw(param, grad, m, v, n, scalars, exec);
}

int32_t horo_adamw_scalars(double lr, double beta1, double beta2, double eps, double weight_decay,
                           int64_t step, double grad_scale, float* scalars) {
    REQUIRE_POINTER(scalars);
    horo::AdamwStep combined;
    if (const int32_t status = adamw_step(lr, beta1, beta2, eps, weight_decay, step, grad_scale, combined))
        return status;
    std::memcpy(scalars, &combined, sizeof combined);
    return HORO_OK;
}

int32_t horo_adamw_clipped(float* param, const float* grad, float* m, float* v, int64_t n,
                           const float* scalars, const double* sum_squares, double max_norm,
                           const horo_exec* exec) {
    REQUIRE_COUNT(n);
    REQUIRE_POINTER(scalars);
    REQUIRE_POINTER(sum_squares);
    HORO_REQUIRE(max_norm > 0, "max_norm: %g, expected a positive number", max_norm);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(param);
    REQUIRE_POINTER(grad);
    REQUIRE_POINTER(m);
    REQUIRE_POINTER(v);
    HORO_ON_CUDA(exec, layers.adamw_clipped, param, grad, m, v, n, scalars, sum_squares, max_norm);
    if (!std::isfinite(*sum_squares)) return HORO_OK;
    horo::AdamwStep step;
    std::memcpy(&step, scalars, sizeof step);
    step.grad_scale = horo::clipped(step.grad_scale, *sum_squares, max_norm);
    return adamw(param, grad, m, v, n, step, exec);
}

int32_t horo_exp_forward(const float* x, double* y, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(x);
    REQUIRE_POINTER(y);
    HORO_ON_CUDA(exec, layers.exp_forward, x, y, n);
    return over(exec, n, chunk_elements, [&](int64_t first, int64_t count) {
        for (int64_t i = first; i < first + count; ++i) y[i] = std::exp(static_cast<double>(x[i]));
    });
}

int32_t horo_exp_backward(const double* dy, const double* y, float* dx, int64_t n, const horo_exec* exec) {
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(dy);
    REQUIRE_POINTER(y);
    REQUIRE_POINTER(dx);
    HORO_ON_CUDA(exec, layers.exp_backward, dy, y, dx, n);
    return over(exec, n, chunk_elements, [&](int64_t first, int64_t count) {
        for (int64_t i = first; i < first + count; ++i)
            dx[i] = static_cast<float>(static_cast<double>(dx[i]) + dy[i] * y[i]);
    });
}

int32_t horo_convert_to_f32(int32_t from, const void* src, float* dst, int64_t n, const horo_exec* exec) {
    HORO_REQUIRE(from >= HORO_F32 && from <= HORO_F16, "from: %d is no storage type", from);
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_STORED(src, dtype_bytes[from]);
    REQUIRE_POINTER(dst);
    HORO_ON_CUDA(exec, layers.convert_to_f32, from, src, dst, n);
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t count) {
        kernels().to_f32[from](static_cast<const char*>(src) + i * dtype_bytes[from], dst + i, count);
    });
}

int32_t horo_convert_from_f32(const float* src, int32_t to, void* dst, int64_t n, const horo_exec* exec) {
    HORO_REQUIRE(to >= HORO_F32 && to <= HORO_F16, "to: %d is no storage type", to);
    REQUIRE_COUNT(n);
    if (n == 0) return HORO_OK;
    REQUIRE_POINTER(src);
    REQUIRE_STORED(dst, dtype_bytes[to]);
    HORO_ON_CUDA(exec, layers.convert_from_f32, src, to, dst, n);
    return over(exec, n, chunk_elements, [&](int64_t i, int64_t count) {
        kernels().from_f32[to](src + i, static_cast<char*>(dst) + i * dtype_bytes[to], count);
    });
}
}
