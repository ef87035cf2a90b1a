#include "cpu/sets.h"

#include "abi/device.h"
#include "abi/operands.h"

namespace horo {
namespace {

int32_t check_common(int32_t model, int32_t dtype, double curvature) {
    HORO_REQUIRE(model >= 0 && model < models,
                 "model: %d, expected HORO_POINCARE, HORO_LORENTZ or HORO_KLEIN", model);
    HORO_REQUIRE(dtype >= 0 && dtype < storage_types,
                 "dtype: %d, expected HORO_F32, HORO_F64, HORO_BF16 or HORO_F16", dtype);
    HORO_REQUIRE(curvature > 0 && std::isfinite(curvature),
                 "curvature: %g, expected a positive finite number", curvature);
    return HORO_OK;
}

int64_t width_of(int32_t model, int64_t dim) { return model == HORO_LORENTZ ? dim + 1 : dim; }

int32_t check_midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, bool needs_g) {
    HORO_CHECK(check_common(model, dtype, task.curvature));
    HORO_CHECK(check_count("rows", task.rows, 0));
    HORO_CHECK(check_count("k", task.k, 1));
    HORO_CHECK(check_count("dim", task.dim, 1));
    if (task.rows == 0) return HORO_OK;
    const int64_t bytes = dtype_bytes[dtype], width = width_of(model, task.dim);
    const Operand x = {"x", task.x, width, task.k, task.x_point, task.rows, task.x_row};
    const Operand w = rows_of("w", task.w, task.k, task.rows, task.w_row);
    HORO_CHECK(check_operand(x, bytes));
    if (task.w) HORO_CHECK(check_operand(w, bytes));
    if (vjp) {
        const Operand g = rows_of("g", task.g, width, task.rows, task.g_row);
        if (needs_g || task.g) HORO_CHECK(check_operand(g, bytes));
        const Operand g_x = {"g_x", task.g_x, width, task.k, task.g_x_point, task.rows, task.g_x_row};
        const Operand g_w = rows_of("g_w", task.g_w, task.k, task.rows, task.g_w_row);
        const Operand g_curvature = rows_of("g_curvature", task.g_curvature, 1, task.rows, 1);
        const Operand others[] = {x, w, g, g_x, g_w};
        HORO_CHECK(check_output(g_x, bytes, true, others, 3));
        HORO_CHECK(check_output(g_w, bytes, true, others, 4));
        HORO_CHECK(check_output(g_curvature, bytes, true, others, 5));
    } else {
        const Operand inputs[] = {x, w};
        HORO_CHECK(
            check_output(rows_of("out", task.out, width, task.rows, task.out_row), bytes, false, inputs, 2));
    }
    return HORO_OK;
}

// rows, k and dim, and doubles per row
int32_t check_set_sizes(int64_t rows, int64_t k, int64_t dim) {
    HORO_CHECK(check_count("rows", rows, 0));
    HORO_CHECK(check_count("k", k, 1));
    HORO_CHECK(check_count("dim", dim, 1));
    HORO_REQUIRE(rows == 0 || k + 2 * dim <= most_elements / rows,
                 "rows: %lld, expected rows * (k + 2 dim) <= 2^48", static_cast<long long>(rows));
    HORO_REQUIRE(rows == 0 || slots_width(rows, k, dim) <= most_elements / rows,
                 "dim: %lld, expected less: the workspace has more than 2^48 numbers",
                 static_cast<long long>(dim));
    return HORO_OK;
}

int64_t midpoint_workspace(int64_t rows, int64_t k, int64_t dim) {
    return 8 * rows * slots_width(rows, k, dim);
}

int32_t check_workspace(const void* workspace, int64_t bytes, int64_t needed) {
    HORO_REQUIRE(workspace && reinterpret_cast<uintptr_t>(workspace) % 8 == 0,
                 "workspace: null, or not aligned to 8 bytes");
    HORO_REQUIRE(bytes >= needed, "workspace: %lld bytes, expected at least %lld",
                 static_cast<long long>(bytes), static_cast<long long>(needed));
    return HORO_OK;
}

int32_t run_midpoint(int32_t model, int32_t dtype, MidpointTask& task, bool vjp, void* workspace,
                     int64_t workspace_bytes, const horo_exec* exec) {
    HORO_CHECK(check_midpoint(model, dtype, task, vjp, true));
    if (task.rows == 0) return HORO_OK;
    if (workspace) {
        HORO_CHECK(check_set_sizes(task.rows, task.k, task.dim));
        const int64_t needed = midpoint_workspace(task.rows, task.k, task.dim);
        HORO_CHECK(check_workspace(workspace, workspace_bytes, needed));
        if (needed > 0) task.slots = static_cast<double*>(workspace);
    }
    HORO_ON_CUDA(exec, sets.midpoint, model, dtype, task, vjp);
    midpoint(model, dtype, task, vjp, resolve(exec));
    return HORO_OK;
}

int64_t frechet_workspace(int64_t rows, int64_t k, int64_t dim, bool vjp) {
    return 8 * rows * (frechet_width(k, dim, vjp) + slots_width(rows, k, dim));
}

int32_t run_frechet(int32_t model, int32_t dtype, FrechetTask& task, bool vjp, void* workspace,
                    int64_t workspace_bytes, const horo_exec* exec) {
    const MidpointTask& set = task.set;
    HORO_CHECK(check_midpoint(model, dtype, set, vjp, !task.g_variance));
    HORO_CHECK(check_set_sizes(set.rows, set.k, set.dim));
    HORO_REQUIRE(task.tolerance > 0 && std::isfinite(task.tolerance),
                 "tolerance: %g, expected a positive finite number", task.tolerance);
    HORO_REQUIRE(task.most >= 1, "max_iterations: %d, expected 1 or more", task.most);
    if (set.rows == 0) return HORO_OK;
    const int64_t needed = frechet_workspace(set.rows, set.k, set.dim, vjp);
    HORO_CHECK(check_workspace(workspace, workspace_bytes, needed));
    if (task.g_variance) {
        const int64_t bytes = dtype_bytes[dtype], width = width_of(model, set.dim);
        const Operand g = rows_of("g_variance", task.g_variance, set.rows, 1, 0);
        const Operand outputs[] = {{"g_x", set.g_x, width, set.k, set.g_x_point, set.rows, set.g_x_row},
                                   rows_of("g_w", set.g_w, set.k, set.rows, set.g_w_row),
                                   rows_of("g_curvature", set.g_curvature, set.rows, 1, 0)};
        HORO_CHECK(check_operand(g, bytes));
        for (const Operand& output : outputs) HORO_CHECK(check_output(output, bytes, true, &g, 1));
    }
    divide_workspace(task, static_cast<double*>(workspace), vjp);
    HORO_ON_CUDA(exec, sets.frechet, model, dtype, task, vjp);
    frechet(model, dtype, task, vjp, resolve(exec));
    return HORO_OK;
}

int32_t run_cdist(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec* exec) {
    HORO_CHECK(check_common(model, dtype, task.curvature));
    HORO_CHECK(check_count("n", task.x.count, 0));
    HORO_CHECK(check_count("m", task.y.count, 0));
    HORO_CHECK(check_count("dim", task.dim, 1));
    const int64_t n = task.x.count, m = task.y.count;
    if (n == 0 || m == 0) return HORO_OK;
    const int64_t bytes = dtype_bytes[dtype], width = width_of(model, task.dim);
    const Operand inputs[] = {rows_of("x", task.x.points, width, n, task.x.row),
                              rows_of("y", task.y.points, width, m, task.y.row)};
    for (const Operand& input : inputs) HORO_CHECK(check_operand(input, bytes));
    HORO_CHECK(check_output(rows_of("out", task.out, m, n, task.out_row), bytes, false, inputs, 2));
    HORO_ON_CUDA(exec, pairs.cdist, model, dtype, task);
    cdist(model, dtype, task, resolve(exec));
    return HORO_OK;
}

// The gradient of side x.
int32_t cdist_side(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec* exec) {
    HORO_ON_CUDA(exec, pairs.cdist_vjp, model, dtype, task);
    cdist_vjp(model, dtype, task, resolve(exec));
    return HORO_OK;
}

int32_t run_cdist_vjp(int32_t model, int32_t dtype, PairsTask task, void* g_x, int64_t g_x_stride, void* g_y,
                      int64_t g_y_stride, const horo_exec* exec) {
    HORO_CHECK(check_common(model, dtype, task.curvature));
    HORO_CHECK(check_count("n", task.x.count, 0));
    HORO_CHECK(check_count("m", task.y.count, 0));
    HORO_CHECK(check_count("dim", task.dim, 1));
    const int64_t n = task.x.count, m = task.y.count, some_n = n > 0 ? n : 1, some_m = m > 0 ? m : 1;
    const int64_t bytes = dtype_bytes[dtype], width = width_of(model, task.dim);
    const Operand all[] = {rows_of("x", task.x.points, width, some_n, task.x.row),
                           rows_of("y", task.y.points, width, some_m, task.y.row),
                           rows_of("g", task.g, some_m, some_n, task.g_x),
                           rows_of("g_x", n > 0 ? g_x : nullptr, width, some_n, g_x_stride),
                           rows_of("g_y", m > 0 ? g_y : nullptr, width, some_m, g_y_stride),
                           rows_of("g_curvature", n > 0 ? task.g_curvature : nullptr, some_n, 1, 0)};
    if (n > 0) HORO_CHECK(check_operand(all[0], bytes));
    if (m > 0) HORO_CHECK(check_operand(all[1], bytes));
    if (n > 0 && m > 0) HORO_CHECK(check_operand(all[2], bytes));
    for (int i = 3; i < 6; ++i) HORO_CHECK(check_output(all[i], bytes, true, all, i));
    if (all[3].data || all[5].data) {
        task.gradient = g_x;
        task.gradient_row = g_x_stride;
        HORO_CHECK(cdist_side(model, dtype, task, exec));
    }
    if (all[4].data) {
        const PairsSide x = task.x;
        task.x = task.y;
        task.y = x;
        const int64_t g_row = task.g_x;
        task.g_x = task.g_y;
        task.g_y = g_row;
        task.gradient = g_y;
        task.gradient_row = g_y_stride;
        task.g_curvature = nullptr;
        HORO_CHECK(cdist_side(model, dtype, task, exec));
    }
    return HORO_OK;
}

int32_t check_linear(int32_t op, int32_t dtype, const LinearTask& task) {
    HORO_REQUIRE(op >= 0 && op < linear_operations, "op: %d, expected HORO_MOBIUS_MATVEC to %d", op,
                 linear_operations - 1);
    HORO_CHECK(check_common(0, dtype, task.curvature));
    HORO_CHECK(check_count("rows", task.rows, 0));
    HORO_CHECK(check_count("dim", task.dim, 1));
    HORO_CHECK(check_count("p", task.p, 1));
    HORO_REQUIRE(task.rows == 0 || task.p <= most_elements / task.rows, "p: %lld, expected rows * p <= 2^48",
                 static_cast<long long>(task.p));
    return HORO_OK;
}

int32_t run_linear(int32_t op, int32_t dtype, const LinearTask& task, bool vjp, double* workspace,
                   int64_t workspace_bytes, const horo_exec* exec) {
    HORO_CHECK(check_linear(op, dtype, task));
    if (task.rows == 0 && !vjp) return HORO_OK;
    const LinearShape& shape = linear_shape(op);
    const int64_t bytes = dtype_bytes[dtype], rows = task.rows > 0 ? task.rows : 1;
    const int64_t out_width = task.p + shape.ambient_out, m_width = task.dim + shape.time_column;
    const Operand x = rows_of("x", task.x, task.dim + shape.ambient_in, rows, task.x_row);
    const Operand m = rows_of("m", task.m, m_width, task.p, task.m_row);
    const Operand bias = rows_of("bias", shape.bias ? task.bias : nullptr, task.p, 1, 0);
    if (task.rows > 0) HORO_CHECK(check_operand(x, bytes));
    HORO_CHECK(check_operand(m, bytes));
    if (bias.data) HORO_CHECK(check_operand(bias, bytes));
    HORO_REQUIRE(shape.bias || !task.bias, "bias: expected NULL, %s has none", shape.name);
    if (!vjp) {
        const Operand inputs[] = {x, m, bias};
        HORO_CHECK(
            check_output(rows_of("out", task.out, out_width, rows, task.out_row), bytes, false, inputs, 3));
        HORO_ON_CUDA(exec, linear.forward, op, dtype, task);
        linear(op, dtype, task, resolve(exec));
        return HORO_OK;
    }
    const Operand g = rows_of("g", task.g, out_width, rows, task.g_row);
    if (task.rows > 0) HORO_CHECK(check_operand(g, bytes));
    HORO_REQUIRE(shape.bias || !task.g_bias, "g_bias: expected NULL, %s has no bias", shape.name);
    const int64_t needed = linear_workspace(op, task.rows, task.p);
    const Operand all[] = {x,
                           m,
                           bias,
                           g,
                           rows_of("g_x", task.g_x, x.width, rows, task.g_x_row),
                           rows_of("g_m", task.g_m, m_width, task.p, task.g_m_row),
                           rows_of("g_bias", task.g_bias, task.p, 1, 0),
                           rows_of("g_curvature", task.g_curvature, rows, 1, 0),
                           rows_of("workspace", workspace, needed / bytes, 1, 0)};
    for (int i = 4; i < 8; ++i) HORO_CHECK(check_output(all[i], bytes, true, all, i));
    HORO_REQUIRE(workspace_bytes >= needed, "workspace: %lld bytes, expected at least %lld",
                 static_cast<long long>(workspace_bytes), static_cast<long long>(needed));
    if (needed > 0) {
        HORO_REQUIRE(workspace && reinterpret_cast<uintptr_t>(workspace) % 8 == 0,
                     "workspace: null, or not aligned to 8 bytes");
        HORO_CHECK(check_output(all[8], bytes, false, all, 8));
    }
    HORO_ON_CUDA(exec, linear.vjp, op, dtype, task, workspace);
    linear_vjp(op, dtype, task, workspace, resolve(exec));
    return HORO_OK;
}

int32_t run_concat(int32_t model, int32_t dtype, ConcatTask& task, bool split, bool vjp,
                   const horo_exec* exec) {
    HORO_CHECK(check_common(model, dtype, task.curvature));
    HORO_CHECK(check_count("rows", task.rows, 0));
    HORO_CHECK(check_count("parts", task.parts, 1));
    HORO_REQUIRE(task.dims, "dims: null");
    int64_t side_by_side = 0;
    for (int64_t i = 0; i < task.parts; ++i) {
        const int64_t dim = task.dims[i];
        HORO_REQUIRE(dim >= 1 && dim <= most_elements - side_by_side - 1,
                     "dims[%lld]: %lld, expected 1 or more (and < 2^48 in all)", static_cast<long long>(i),
                     static_cast<long long>(dim));
        side_by_side += width_of(model, dim);
        task.dim += dim;
    }
    if (task.rows == 0) return HORO_OK;
    const int64_t bytes = dtype_bytes[dtype], whole = width_of(model, task.dim);
    const int64_t from = split ? whole : side_by_side, to = split ? side_by_side : whole;
    const Operand all[] = {rows_of("x", task.x, from, task.rows, task.x_row),
                           rows_of("g", task.g, to, task.rows, task.g_row),
                           rows_of("g_x", task.g_x, from, task.rows, task.g_x_row)};
    HORO_CHECK(check_operand(all[0], bytes));
    if (vjp) {
        HORO_CHECK(check_operand(all[1], bytes));
        HORO_CHECK(check_output(all[2], bytes, true, all, 2));
        HORO_CHECK(
            check_output(rows_of("g_curvature", task.g_curvature, task.rows, 1, 0), bytes, true, all, 3));
    } else {
        HORO_CHECK(check_output(rows_of("out", task.out, to, task.rows, task.out_row), bytes, false, all, 1));
    }
    HORO_REQUIRE(on_cpu(exec) || task.parts <= cuda_concat_parts,
                 "parts: %lld, expected %lld or less on a CUDA device", static_cast<long long>(task.parts),
                 static_cast<long long>(cuda_concat_parts));
    HORO_ON_CUDA(exec, sets.concat, model, dtype, task, split, vjp);
    concat(model, dtype, task, split, vjp, resolve(exec));
    return HORO_OK;
}

int32_t run_concat(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                   const void* x, int64_t x_stride, double curvature, void* out, int64_t out_stride,
                   bool split, const horo_exec* exec) {
    ConcatTask task = {};
    task.rows = rows;
    task.parts = parts;
    task.dims = dims;
    task.curvature = curvature;
    task.x = x;
    task.x_row = x_stride;
    task.out = out;
    task.out_row = out_stride;
    return run_concat(model, dtype, task, split, false, exec);
}

int32_t run_concat_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                       const void* x, int64_t x_stride, double curvature, const void* g, int64_t g_stride,
                       void* g_x, int64_t g_x_stride, void* g_curvature, bool split, const horo_exec* exec) {
    ConcatTask task = {};
    task.rows = rows;
    task.parts = parts;
    task.dims = dims;
    task.curvature = curvature;
    task.x = x;
    task.x_row = x_stride;
    task.g = g;
    task.g_row = g_stride;
    task.g_x = g_x;
    task.g_x_row = g_x_stride;
    task.g_curvature = g_curvature;
    return run_concat(model, dtype, task, split, true, exec);
}

MidpointTask midpoint_task(int64_t rows, int64_t k, int64_t dim, double curvature, const void* x,
                           int64_t x_row_stride, int64_t x_point_stride, const void* w,
                           int64_t w_row_stride) {
    MidpointTask task = {};
    task.rows = rows;
    task.k = k;
    task.dim = dim;
    task.curvature = curvature;
    task.x = x;
    task.x_row = x_row_stride;
    task.x_point = x_point_stride;
    task.w = w;
    task.w_row = w_row_stride;
    return task;
}

void take_gradients(MidpointTask& task, const void* g, int64_t g_stride, void* g_x, int64_t g_x_row_stride,
                    int64_t g_x_point_stride, void* g_w, int64_t g_w_row_stride, void* g_curvature) {
    task.g = g;
    task.g_row = g_stride;
    task.g_x = g_x;
    task.g_x_row = g_x_row_stride;
    task.g_x_point = g_x_point_stride;
    task.g_w = g_w;
    task.g_w_row = g_w_row_stride;
    task.g_curvature = g_curvature;
}

}  // namespace
}  // namespace horo

extern "C" {

int32_t horo_midpoint(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim, const void* x,
                      int64_t x_row_stride, int64_t x_point_stride, const void* w, int64_t w_row_stride,
                      double curvature, void* out, int64_t out_stride, void* workspace,
                      int64_t workspace_bytes, const horo_exec* exec) {
    horo::MidpointTask task =
        horo::midpoint_task(rows, k, dim, curvature, x, x_row_stride, x_point_stride, w, w_row_stride);
    task.out = out;
    task.out_row = out_stride;
    return horo::run_midpoint(model, dtype, task, false, workspace, workspace_bytes, exec);
}

int32_t horo_midpoint_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim, const void* x,
                          int64_t x_row_stride, int64_t x_point_stride, const void* w, int64_t w_row_stride,
                          double curvature, const void* g, int64_t g_stride, void* g_x,
                          int64_t g_x_row_stride, int64_t g_x_point_stride, void* g_w, int64_t g_w_row_stride,
                          void* g_curvature, void* workspace, int64_t workspace_bytes,
                          const horo_exec* exec) {
    horo::MidpointTask task =
        horo::midpoint_task(rows, k, dim, curvature, x, x_row_stride, x_point_stride, w, w_row_stride);
    horo::take_gradients(task, g, g_stride, g_x, g_x_row_stride, g_x_point_stride, g_w, g_w_row_stride,
                         g_curvature);
    return horo::run_midpoint(model, dtype, task, true, workspace, workspace_bytes, exec);
}

int32_t horo_midpoint_workspace(int64_t rows, int64_t k, int64_t dim, int64_t* bytes) {
    HORO_REQUIRE(bytes, "bytes: null result pointer");
    HORO_CHECK(horo::check_set_sizes(rows, k, dim));
    *bytes = horo::midpoint_workspace(rows, k, dim);
    return HORO_OK;
}

int32_t horo_frechet_mean(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim, const void* x,
                          int64_t x_row_stride, int64_t x_point_stride, const void* w, int64_t w_row_stride,
                          double curvature, double tolerance, int32_t max_iterations, void* out,
                          int64_t out_stride, void* variance, int32_t* iterations, void* workspace,
                          int64_t workspace_bytes, const horo_exec* exec) {
    horo::FrechetTask task = {};
    task.set = horo::midpoint_task(rows, k, dim, curvature, x, x_row_stride, x_point_stride, w, w_row_stride);
    task.set.out = out;
    task.set.out_row = out_stride;
    task.tolerance = tolerance;
    task.most = max_iterations;
    task.variance = variance;
    task.iterations = iterations;
    return horo::run_frechet(model, dtype, task, false, workspace, workspace_bytes, exec);
}

int32_t horo_frechet_mean_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim,
                              const void* x, int64_t x_row_stride, int64_t x_point_stride, const void* w,
                              int64_t w_row_stride, double curvature, double tolerance,
                              int32_t max_iterations, const void* g, int64_t g_stride, const void* g_variance,
                              void* g_x, int64_t g_x_row_stride, int64_t g_x_point_stride, void* g_w,
                              int64_t g_w_row_stride, void* g_curvature, int32_t* iterations, void* workspace,
                              int64_t workspace_bytes, const horo_exec* exec) {
    horo::FrechetTask task = {};
    task.set = horo::midpoint_task(rows, k, dim, curvature, x, x_row_stride, x_point_stride, w, w_row_stride);
    horo::take_gradients(task.set, g, g_stride, g_x, g_x_row_stride, g_x_point_stride, g_w, g_w_row_stride,
                         g_curvature);
    task.tolerance = tolerance;
    task.most = max_iterations;
    task.iterations = iterations;
    task.g_variance = g_variance;
    return horo::run_frechet(model, dtype, task, true, workspace, workspace_bytes, exec);
}

int32_t horo_frechet_workspace(int64_t rows, int64_t k, int64_t dim, int32_t vjp, int64_t* bytes) {
    HORO_REQUIRE(bytes, "bytes: null result pointer");
    HORO_CHECK(horo::check_set_sizes(rows, k, dim));
    *bytes = horo::frechet_workspace(rows, k, dim, vjp != 0);
    return HORO_OK;
}

int32_t horo_cdist(int32_t model, int32_t dtype, int64_t n, int64_t m, int64_t dim, const void* x,
                   int64_t x_stride, const void* y, int64_t y_stride, double curvature, int32_t squared,
                   void* out, int64_t out_stride, const horo_exec* exec) {
    horo::PairsTask task = {};
    task.dim = dim;
    task.curvature = curvature;
    task.squared = squared != 0;
    task.x = {x, x_stride, n};
    task.y = {y, y_stride, m};
    task.out = out;
    task.out_row = out_stride;
    return horo::run_cdist(model, dtype, task, exec);
}

int32_t horo_cdist_vjp(int32_t model, int32_t dtype, int64_t n, int64_t m, int64_t dim, const void* x,
                       int64_t x_stride, const void* y, int64_t y_stride, double curvature, int32_t squared,
                       const void* g, int64_t g_stride, void* g_x, int64_t g_x_stride, void* g_y,
                       int64_t g_y_stride, void* g_curvature, const horo_exec* exec) {
    horo::PairsTask task = {};
    task.dim = dim;
    task.curvature = curvature;
    task.squared = squared != 0;
    task.x = {x, x_stride, n};
    task.y = {y, y_stride, m};
    task.g = g;
    task.g_x = g_stride;
    task.g_y = 1;
    task.g_curvature = g_curvature;
    return horo::run_cdist_vjp(model, dtype, task, g_x, g_x_stride, g_y, g_y_stride, exec);
}

int32_t horo_concat(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                    const void* x, int64_t x_stride, double curvature, void* out, int64_t out_stride,
                    const horo_exec* exec) {
    return horo::run_concat(model, dtype, rows, parts, dims, x, x_stride, curvature, out, out_stride, false,
                            exec);
}

int32_t horo_concat_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                        const void* x, int64_t x_stride, double curvature, const void* g, int64_t g_stride,
                        void* g_x, int64_t g_x_stride, void* g_curvature, const horo_exec* exec) {
    return horo::run_concat_vjp(model, dtype, rows, parts, dims, x, x_stride, curvature, g, g_stride, g_x,
                                g_x_stride, g_curvature, false, exec);
}

int32_t horo_split(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                   const void* x, int64_t x_stride, double curvature, void* out, int64_t out_stride,
                   const horo_exec* exec) {
    return horo::run_concat(model, dtype, rows, parts, dims, x, x_stride, curvature, out, out_stride, true,
                            exec);
}

int32_t horo_split_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                       const void* x, int64_t x_stride, double curvature, const void* g, int64_t g_stride,
                       void* g_x, int64_t g_x_stride, void* g_curvature, const horo_exec* exec) {
    return horo::run_concat_vjp(model, dtype, rows, parts, dims, x, x_stride, curvature, g, g_stride, g_x,
                                g_x_stride, g_curvature, true, exec);
}

int32_t horo_linear(int32_t op, int32_t dtype, int64_t rows, int64_t dim, int64_t p, const void* x,
                    int64_t x_stride, const void* m, int64_t m_stride, const void* bias, double curvature,
                    void* out, int64_t out_stride, const horo_exec* exec) {
    horo::LinearTask task = {};
    task.rows = rows;
    task.dim = dim;
    task.p = p;
    task.curvature = curvature;
    task.x = x;
    task.x_row = x_stride;
    task.m = m;
    task.m_row = m_stride;
    task.bias = bias;
    task.out = out;
    task.out_row = out_stride;
    return horo::run_linear(op, dtype, task, false, nullptr, 0, exec);
}

int32_t horo_linear_vjp(int32_t op, int32_t dtype, int64_t rows, int64_t dim, int64_t p, const void* x,
                        int64_t x_stride, const void* m, int64_t m_stride, const void* bias, double curvature,
                        const void* g, int64_t g_stride, void* g_x, int64_t g_x_stride, void* g_m,
                        int64_t g_m_stride, void* g_bias, void* g_curvature, void* workspace,
                        int64_t workspace_bytes, const horo_exec* exec) {
    horo::LinearTask task = {};
    task.rows = rows;
    task.dim = dim;
    task.p = p;
    task.curvature = curvature;
    task.x = x;
    task.x_row = x_stride;
    task.m = m;
    task.m_row = m_stride;
    task.bias = bias;
    task.g = g;
    task.g_row = g_stride;
    task.g_x = g_x;
    task.g_x_row = g_x_stride;
    task.g_m = g_m;
    task.g_m_row = g_m_stride;
    task.g_bias = g_bias;
    task.g_curvature = g_curvature;
    return horo::run_linear(op, dtype, task, true, static_cast<double*>(workspace), workspace_bytes, exec);
}

int32_t horo_linear_workspace(int32_t op, int64_t rows, int64_t p, int64_t* bytes) {
    HORO_REQUIRE(bytes, "bytes: null result pointer");
    horo::LinearTask task = {};
    task.rows = rows;
    task.dim = 1;
    task.p = p;
    task.curvature = 1;
    HORO_CHECK(horo::check_linear(op, HORO_F64, task));
    *bytes = horo::linear_workspace(op, rows, p);
    return HORO_OK;
}
}
