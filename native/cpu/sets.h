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

// (rows, dim) points, a (p, dim) matrix and p biases to (rows, p).
struct LinearTask {
    int64_t rows, dim, p;
    double curvature;
    const void* x;
    int64_t x_row;
    const void* m;
    int64_t m_row;
    const void* bias;
    void* out;
    int64_t out_row;
    const void* g;
    int64_t g_row;
    void* g_x;
    int64_t g_x_row;
    void* g_m;
    int64_t g_m_row;
    void* g_bias;
    void* g_curvature;
    double* cotangents;  // workspace: (rows, p), of the products
    double* times;       // rows
    double* partial;     // (chunks, 2, p), of |z| and of the bias
};
constexpr int64_t linear_chunk = 64;  // rows

// In this order HORO_MOBIUS_MATVEC etc.
constexpr int linear_operations = 7;
struct LinearShape {
    const char* name;
    bool ambient_in, ambient_out, time_column, bias, normed;
};

struct SetKernel {
    // rows [begin, end), by model and storage type
    void (*midpoint[models][2])(const MidpointTask& task, int64_t begin, int64_t end);
    void (*midpoint_vjp[models][2])(const MidpointTask& task, int64_t begin, int64_t end);
};

struct LinearKernel {
    // by operation and storage type: one chunk of rows, and of its gradient; then matrix rows [begin, end)
    void (*forward[linear_operations][2])(const LinearTask& task, int64_t chunk);
    void (*vjp_rows[linear_operations][2])(const LinearTask& task, int64_t chunk);
    void (*vjp_columns[linear_operations][2])(const LinearTask& task, int64_t begin, int64_t end);
    LinearShape shape[linear_operations];
};

namespace scalar {
extern const SetKernel set_kernel;
extern const LinearKernel linear_kernel;
}  // namespace scalar
namespace avx2 {
extern const SetKernel set_kernel;
extern const LinearKernel linear_kernel;
}  // namespace avx2
namespace avx512 {
extern const SetKernel set_kernel;
extern const LinearKernel linear_kernel;
}  // namespace avx512

void midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, const horo_exec& exec);

const LinearShape& linear_shape(int32_t op);
int64_t linear_workspace(int32_t op, int64_t rows, int64_t p);  // bytes
void linear(int32_t op, int32_t dtype, const LinearTask& task, const horo_exec& exec);
void linear_vjp(int32_t op, int32_t dtype, LinearTask task, double* workspace, const horo_exec& exec);

}  // namespace horo
