// Operations on sets of points: midpoints, pairwise distances.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// Models of hyperbolic space, as HORO_POINCARE etc.
enum Model { model_poincare, model_lorentz, model_klein };
constexpr int models = 3;
constexpr int storage_types = 4;  // in the order of HORO_F32 etc.

// A set of many points is cut into parts, where there is memory for their sums: by the shape alone, so that
// results depend on nothing else. A part is work for a thread or a warp; so many are enough for any device.
constexpr int64_t set_parts(int64_t rows, int64_t k, int64_t dim) {
    // numbers and points of a part, so that its sum is small beside it; parts of all rows
    constexpr int64_t least = 4096, least_points = 16, most = 2048;
    const int64_t wide = (least + dim - 1) / dim, points = wide < least_points ? least_points : wide;
    const int64_t by_size = k / points, by_rows = rows < 1 ? 1 : most / rows;
    const int64_t parts = by_size < by_rows ? by_size : by_rows;
    return parts < 2 ? 1 : parts;
}
// What is kept of a part, and of the set: a sum of vectors in pairs of doubles, that is `dim` numbers,
// padded, and what they lack to be exact; then these numbers.
enum SlotNumber {
    slot_time,
    slot_time_low,
    slot_deficit,
    slot_curvature,
    slot_moved,  // of a step of the Frechet mean; later, of the variance
    slot_held,
    slot_state,  // of the set: midpoints taken, -1 if in vain, 0 as long as it goes on
    slot_steps,  // and of its gradient
    slot_settled,
    slot_along,
    slot_variance,
    slot_spread,
    slot_lead,  // of sums in plain doubles, see plain_sets.h
    slot_reach,
    slot_lost,  // of the set: what follows the mean is done in pairs of doubles
    slot_numbers
};
constexpr int64_t slot_padded(int64_t dim) { return (dim + 7) & ~int64_t{7}; }
constexpr int64_t slot_width(int64_t dim) { return 2 * slot_padded(dim) + 16; }
// doubles for all parts and the set itself, per row
constexpr int64_t slots_width(int64_t rows, int64_t k, int64_t dim) {
    const int64_t parts = set_parts(rows, k, dim);
    return parts < 2 ? 0 : (parts + 1) * slot_width(dim);
}

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
    double* slots = nullptr;    // slots_width numbers per row; null if sets are not to be cut
    double* factors = nullptr;  // of the weights, null for none
    int64_t factor_row = 0;

    constexpr int64_t parts() const { return slots ? set_parts(rows, k, dim) : 1; }
    constexpr int64_t first_point(int64_t part) const { return part * k / parts(); }
    // of a part; of the whole set for part -1
    constexpr double* slot(int64_t row, int64_t part) const {
        return slots + (row * (parts() + 1) + part + 1) * slot_width(dim);
    }
    constexpr double* numbers(int64_t row, int64_t part) const {
        return slot(row, part) + 2 * slot_padded(dim);
    }
};

// What the Frechet mean adds to a MidpointTask; of the cotangents g and g_variance either may be null.
struct FrechetTask {
    MidpointTask set;  // its factors: frechet_width numbers per row, see there
    double tolerance;
    int32_t most;
    void* variance;
    const void* g_variance;
    int32_t* iterations;

    // What has become of the iteration after midpoint number n, as slot_state: the next one would be
    // moved/held radii away.
    constexpr int32_t judged(double moved, double held, int32_t n) const {
        if (moved <= tolerance * held) return n;
        return n >= most || moved != moved ? -1 : 0;
    }
};
// The factors of the weights; for the gradient also its cotangent and the addend to that.
constexpr int64_t frechet_width(int64_t k, int64_t dim, bool vjp) {
    return k + (vjp ? 2 * ((dim + 15) & ~int64_t{7}) : 0);
}
inline void divide_workspace(FrechetTask& task, double* workspace, bool vjp) {
    MidpointTask& set = task.set;
    set.factors = workspace;
    set.factor_row = frechet_width(set.k, set.dim, vjp);
    if (set_parts(set.rows, set.k, set.dim) > 1) set.slots = workspace + set.rows * set.factor_row;
}

// `parts` points of dims[i] dimensions side by side, and one point of dim, their sum. x is what an operation
// starts from, also in its gradient.
struct ConcatTask {
    int64_t rows, parts, dim;
    const int64_t* dims;
    double curvature;
    const void* x;
    int64_t x_row;
    void* out;
    int64_t out_row;
    const void* g;
    int64_t g_row;
    void* g_x;
    int64_t g_x_row;
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

struct PairsSide {
    const void* points;
    int64_t row, count;
};

// Distances of all x from all y; for the gradient, that of side x.
struct PairsTask {
    int64_t dim;
    double curvature;
    bool squared;
    PairsSide x, y;
    void* out;
    int64_t out_row;
    const void* g;
    int64_t g_x, g_y;  // strides along x and along y
    void* gradient;
    int64_t gradient_row;
    void* g_curvature;
};
constexpr int64_t pairs_tile = 64, pairs_columns = 512;

struct PairsKernel {
    // by model and storage type: the tile of rows at `row`, pairs_columns columns from `column` on
    void (*forward[models][storage_types])(const PairsTask& task, int64_t row, int64_t column);
    void (*vjp[models][storage_types])(const PairsTask& task, int64_t first, int64_t count);
};

// Sets that are cut. What reads the whole set, after its total is there, finds it in its slot.
struct SetParts {
    using Part = void (*)(const FrechetTask& task, int64_t row, int64_t part);
    using Row = void (*)(const FrechetTask& task, int64_t row);
    Part sum, exact_sum, deficit, gradient;  // of a midpoint; exact: in pairs of doubles
    Part start, step, variance, addend, frechet_gradient;
    Row total, total_deficit, out, curvature, judge, variance_out, cotangent, next_cotangent;
    // In plain doubles, of sets up to plain_most wide; null where numbers are too long for that. What they
    // cannot do they leave: states that are 0, of the mean -2.
    Part plain_sum = nullptr, plain_gradient = nullptr, plain_start = nullptr, plain_step = nullptr,
         plain_variance = nullptr, plain_addend = nullptr, plain_frechet_gradient = nullptr;
    Row plain_total = nullptr, plain_curvature = nullptr, plain_start_total = nullptr, plain_judge = nullptr,
        plain_lost = nullptr;
};
constexpr int64_t plain_most = 4096;
// Below this step of a Frechet mean rounding is in the way: pairs of doubles go on from there.
constexpr double plain_step = 0x1p-36;

struct SetKernel {
    // rows [begin, end), by model and storage type
    void (*midpoint[models][storage_types])(const MidpointTask& task, int64_t begin, int64_t end);
    void (*midpoint_vjp[models][storage_types])(const MidpointTask& task, int64_t begin, int64_t end);
    void (*frechet[models][storage_types])(const FrechetTask& task, int64_t begin, int64_t end);
    void (*frechet_vjp[models][storage_types])(const FrechetTask& task, int64_t begin, int64_t end);
    SetParts parts[models][storage_types];
};

struct ConcatKernel {
    // rows [begin, end), by ball or hyperboloid and storage type
    using Run = void (*)(const ConcatTask& task, int64_t begin, int64_t end);
    Run concat[2][storage_types], concat_vjp[2][storage_types], split[2][storage_types],
        split_vjp[2][storage_types];
};

struct LinearKernel {
    // by operation and storage type: one chunk of rows, and of its gradient; then matrix rows [begin, end)
    void (*forward[linear_operations][storage_types])(const LinearTask& task, int64_t chunk);
    void (*vjp_rows[linear_operations][storage_types])(const LinearTask& task, int64_t chunk);
    void (*vjp_columns[linear_operations][storage_types])(const LinearTask& task, int64_t begin, int64_t end);
    LinearShape shape[linear_operations];
};

namespace scalar {
extern const SetKernel set_kernel;
extern const ConcatKernel concat_kernel;
extern const LinearKernel linear_kernel;
extern const PairsKernel pairs_kernel;
}  // namespace scalar
namespace avx2 {
extern const SetKernel set_kernel;
extern const ConcatKernel concat_kernel;
extern const LinearKernel linear_kernel;
extern const PairsKernel pairs_kernel;
}  // namespace avx2
namespace avx512 {
extern const SetKernel set_kernel;
extern const ConcatKernel concat_kernel;
extern const LinearKernel linear_kernel;
extern const PairsKernel pairs_kernel;
}  // namespace avx512

void midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, const horo_exec& exec);

void frechet(int32_t model, int32_t dtype, const FrechetTask& task, bool vjp, const horo_exec& exec);

void cdist(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec& exec);
void cdist_vjp(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec& exec);

void concat(int32_t model, int32_t dtype, const ConcatTask& task, bool split, bool vjp,
            const horo_exec& exec);

const LinearShape& linear_shape(int32_t op);
int64_t linear_workspace(int32_t op, int64_t rows, int64_t p);  // bytes, for the CPU and CUDA
void linear(int32_t op, int32_t dtype, const LinearTask& task, const horo_exec& exec);
void linear_vjp(int32_t op, int32_t dtype, LinearTask task, double* workspace, const horo_exec& exec);

}  // namespace horo
