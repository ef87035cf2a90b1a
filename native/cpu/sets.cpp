#include "cpu/sets.h"

#include "cpu/isa.h"
#include "cpu/pool.h"

namespace horo {
namespace {

const SetKernel& kernel() {
    static const SetKernel& table = select(scalar::set_kernel, avx2::set_kernel, avx512::set_kernel);
    return table;
}

const LinearKernel& linear_kernel() {
    static const LinearKernel& table =
        select(scalar::linear_kernel, avx2::linear_kernel, avx512::linear_kernel);
    return table;
}

}  // namespace

void midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, const horo_exec& exec) {
    const auto run = (vjp ? kernel().midpoint_vjp : kernel().midpoint)[model][dtype];
    constexpr int64_t chunk_elements = 16384;
    int64_t chunk = chunk_elements / task.dim / task.k;
    if (chunk < 1) chunk = 1;
    parallel_for(exec, (task.rows + chunk - 1) / chunk, [&](int64_t c) {
        const int64_t end = (c + 1) * chunk;
        run(task, c * chunk, end < task.rows ? end : task.rows);
    });
}

void frechet(int32_t model, int32_t dtype, const FrechetTask& task, bool vjp, const horo_exec& exec) {
    const auto run = (vjp ? kernel().frechet_vjp : kernel().frechet)[model][dtype];
    parallel_for(exec, task.set.rows, [&](int64_t row) { run(task, row, row + 1); });
}

namespace {
const PairsKernel& pairs_kernel() {
    static const PairsKernel& table = select(scalar::pairs_kernel, avx2::pairs_kernel, avx512::pairs_kernel);
    return table;
}
}  // namespace

void cdist(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec& exec) {
    const auto run = pairs_kernel().forward[model][dtype];
    const int64_t across = (task.y.count + pairs_columns - 1) / pairs_columns;
    parallel_for(exec, (task.x.count + pairs_tile - 1) / pairs_tile * across, [&](int64_t chunk) {
        run(task, chunk / across * pairs_tile, chunk % across * pairs_columns);
    });
}

void cdist_vjp(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec& exec) {
    const auto run = pairs_kernel().vjp[model][dtype];
    // as many rows as fit what the kernel holds, depending on dim alone
    int64_t rows = 8192 / ((task.dim + 7) & ~int64_t{7});
    rows = rows < 1 ? 1 : rows > pairs_tile ? pairs_tile : rows;
    parallel_for(exec, (task.x.count + rows - 1) / rows, [&](int64_t chunk) {
        const int64_t first = chunk * rows, left = task.x.count - first;
        run(task, first, left < rows ? left : rows);
    });
}

const LinearShape& linear_shape(int32_t op) { return linear_kernel().shape[op]; }

namespace {
int64_t chunks_of(int64_t rows) { return (rows + linear_chunk - 1) / linear_chunk; }
}  // namespace

int64_t linear_workspace(int32_t op, int64_t rows, int64_t p) {
    const LinearShape& shape = linear_shape(op);
    const int64_t partial = shape.bias || shape.normed ? 2 * p * chunks_of(rows) : 0;
    return 8 * (rows * p + rows + partial);
}

void linear(int32_t op, int32_t dtype, const LinearTask& task, const horo_exec& exec) {
    const auto run = linear_kernel().forward[op][dtype];
    parallel_for(exec, chunks_of(task.rows), [&](int64_t chunk) { run(task, chunk); });
}

void linear_vjp(int32_t op, int32_t dtype, LinearTask task, double* workspace, const horo_exec& exec) {
    task.cotangents = workspace;
    task.times = workspace + task.rows * task.p;
    task.partial = task.times + task.rows;
    const auto rows = linear_kernel().vjp_rows[op][dtype];
    parallel_for(exec, chunks_of(task.rows), [&](int64_t chunk) { rows(task, chunk); });
    if (!task.g_m && !task.g_bias) return;
    const auto columns = linear_kernel().vjp_columns[op][dtype];
    constexpr int64_t block = 32;
    parallel_for(exec, (task.p + block - 1) / block, [&](int64_t c) {
        const int64_t end = (c + 1) * block;
        columns(task, c * block, end < task.p ? end : task.p);
    });
}

}  // namespace horo
