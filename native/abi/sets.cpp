#include "cpu/sets.h"

#include "abi/operands.h"

namespace horo {
namespace {

int32_t check_common(int32_t model, int32_t dtype, double curvature) {
    HORO_REQUIRE(model >= 0 && model < models,
                 "model: %d, expected HORO_POINCARE, HORO_LORENTZ or HORO_KLEIN", model);
    HORO_REQUIRE(dtype == HORO_F32 || dtype == HORO_F64, "dtype: %d, expected HORO_F32 or HORO_F64", dtype);
    HORO_REQUIRE(curvature > 0 && std::isfinite(curvature),
                 "curvature: %g, expected a positive finite number", curvature);
    return HORO_OK;
}

int64_t bytes_of(int32_t dtype) { return dtype == HORO_F32 ? 4 : 8; }
int64_t width_of(int32_t model, int64_t dim) { return model == HORO_LORENTZ ? dim + 1 : dim; }

int32_t run_midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp,
                     const horo_exec* exec) {
    HORO_REQUIRE_CPU(exec);
    HORO_CHECK(check_common(model, dtype, task.curvature));
    HORO_CHECK(check_count("rows", task.rows, 0));
    HORO_CHECK(check_count("k", task.k, 1));
    HORO_CHECK(check_count("dim", task.dim, 1));
    if (task.rows == 0) return HORO_OK;
    const int64_t bytes = bytes_of(dtype), width = width_of(model, task.dim);
    const Operand x = {"x", task.x, width, task.k, task.x_point, task.rows, task.x_row};
    const Operand w = rows_of("w", task.w, task.k, task.rows, task.w_row);
    HORO_CHECK(check_operand(x, bytes));
    if (task.w) HORO_CHECK(check_operand(w, bytes));
    if (vjp) {
        const Operand g = rows_of("g", task.g, width, task.rows, task.g_row);
        HORO_CHECK(check_operand(g, bytes));
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
    midpoint(model, dtype, task, vjp, resolve(exec));
    return HORO_OK;
}

}  // namespace
}  // namespace horo

extern "C" {

int32_t horo_midpoint(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim, const void* x,
                      int64_t x_row_stride, int64_t x_point_stride, const void* w, int64_t w_row_stride,
                      double curvature, void* out, int64_t out_stride, const horo_exec* exec) {
    const horo::MidpointTask task{rows,
                                  k,
                                  dim,
                                  curvature,
                                  x,
                                  x_row_stride,
                                  x_point_stride,
                                  w,
                                  w_row_stride,
                                  out,
                                  out_stride,
                                  nullptr,
                                  0,
                                  nullptr,
                                  0,
                                  0,
                                  nullptr,
                                  0,
                                  nullptr};
    return horo::run_midpoint(model, dtype, task, false, exec);
}

int32_t horo_midpoint_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim, const void* x,
                          int64_t x_row_stride, int64_t x_point_stride, const void* w, int64_t w_row_stride,
                          double curvature, const void* g, int64_t g_stride, void* g_x,
                          int64_t g_x_row_stride, int64_t g_x_point_stride, void* g_w, int64_t g_w_row_stride,
                          void* g_curvature, const horo_exec* exec) {
    const horo::MidpointTask task{
        rows,       k, dim, curvature, x,   x_row_stride,   x_point_stride,   w,   w_row_stride,
        nullptr,    0, g,   g_stride,  g_x, g_x_row_stride, g_x_point_stride, g_w, g_w_row_stride,
        g_curvature};
    return horo::run_midpoint(model, dtype, task, true, exec);
}
}
