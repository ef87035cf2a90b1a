// Operations on sets of points: midpoints, pairwise distances.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// Models of hyperbolic space, as HORO_POINCARE etc.
enum Model { model_poincare, model_lorentz, model_klein };
constexpr int models = 3;

// (rows, k, dim) points and (rows, k) weights to (rows, dim). Pointers are to the storage type; w may be null
// for equal weights, gradients may be null.
struct MidpointTask {
    int64_t rows, k, dim;
    double curvature;
    const void* x;
    int64_t x_row, x_point;
    const void* w;
    int64_t w_row;
    void* out;
    int64_t out_row;
    const void* g;
    int64_t g_row;
    void* g_x;
    int64_t g_x_row, g_x_point;
    void* g_w;
    int64_t g_w_row;
    void* g_curvature;
};

struct SetKernel {
    // rows [begin, end), by model and storage type
    void (*midpoint[models][2])(const MidpointTask& task, int64_t begin, int64_t end);
    void (*midpoint_vjp[models][2])(const MidpointTask& task, int64_t begin, int64_t end);
};

namespace scalar {
extern const SetKernel set_kernel;
}
namespace avx2 {
extern const SetKernel set_kernel;
}
namespace avx512 {
extern const SetKernel set_kernel;
}

void midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, const horo_exec& exec);

}  // namespace horo
