// Pairwise distances and Gromov's delta-hyperbolicity on the CPU.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// Rows of float (or double) to the symmetric matrix of their Euclidean distances.
template <class T>
struct DistanceTask {
    int64_t rows, dim, stride;
    const T* x;
    double* out;
};

// What the search for delta reads; `order` has the rows by falling `reach`.
struct DeltaTask {
    int64_t n;
    const double* gromov;
    const double* reach;   // reach[i] = max over k != i of gromov[i, k]
    const int64_t* order;  // n row numbers
    bool exhaustive;
};

struct HyperbolicityKernel {
    // Fills the two mirrored tiles of a pair of row blocks (`tile` counts the upper triangle).
    void (*distance_f32)(const DistanceTask<float>& task, int64_t tile);
    void (*distance_f64)(const DistanceTask<double>& task, int64_t tile);
    // out[i, :] = (base[i] + base[:] - distances[i, :]) / 2 for one row; out may be distances, but not base.
    void (*gromov_row)(int64_t n, const double* distances, const double* base, int64_t i, double* out);
    // The largest element of row i off the diagonal; NaN if the row has one.
    double (*reach)(int64_t n, const double* gromov, int64_t i);
    // The largest max_k min(g[i, k], g[k, j]) - g[i, j] among row i's pair of the largest upper bound, or
    // `best`.
    double (*probe)(const DeltaTask& task, int64_t i, double best);
    // The same maximum over a pair of row blocks, or `best`; pairs that cannot exceed `best` are passed over.
    double (*search)(const DeltaTask& task, int64_t tile, double best);
};

namespace scalar {
extern const HyperbolicityKernel hyperbolicity_kernel;
}
namespace avx2 {
extern const HyperbolicityKernel hyperbolicity_kernel;
}
namespace avx512 {
extern const HyperbolicityKernel hyperbolicity_kernel;
}

template <class T>
void pairwise_distance(const DistanceTask<T>& task, const horo_exec& exec);

// `base_row` receives n numbers of scratch.
void gromov_product(int64_t n, const double* distances, int64_t base, double* out, double* base_row,
                    const horo_exec& exec);

// workspace: 2 n doubles.
double delta_hyperbolicity(int64_t n, const double* gromov, double at_least, bool exhaustive,
                           double* workspace, const horo_exec& exec);

}  // namespace horo
