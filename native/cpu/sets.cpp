#include "cpu/sets.h"

#include "cpu/isa.h"
#include "cpu/pool.h"

namespace horo {
namespace {

const SetKernel& kernel() {
    static const SetKernel& table = select(scalar::set_kernel, avx2::set_kernel, avx512::set_kernel);
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

}  // namespace horo
