// Some row operations of the emulated library; the others say that they are not there.
#define HORO_EMULATE 1
#include "rows.h"

#include <iterator>

#include "row_kernel.cuh"

namespace horo::cuda {
namespace {

template <class Op, class T>
void run(const RowCall& call, const RowPlan& plan) {
    emulated_grid = static_cast<unsigned>(plan.blocks);
    for (unsigned block = 0; block < emulated_grid; ++block)
        emulate::Block::current().run(block, static_cast<unsigned>(plan.threads), [&] {
            if (plan.narrow)
                row_kernel<Op, T, NarrowTile<narrow_rows<Op>()>>(call, plan);
            else
                row_kernel<Op, T, WideTile<wide_vectors<Op>()>>(call, plan);
        });
}

template <class Op>
cudaError_t launch(const RowCall& call, int32_t dtype, cudaStream_t stream) {
    const RowPlan plan = plan_call<Op>(call, dtype);
    fake_submit(stream, [call, plan, dtype] {
        dtype == HORO_F64 ? run<Op, double>(call, plan) : run<Op, float>(call, plan);
    });
    return cudaSuccess;
}

template <class Op>
constexpr RowLauncher emulated() {
    if constexpr (std::is_same_v<Op, poincare::MobiusAdd> || std::is_same_v<Op, poincare::Expmap0>)
        return launch<Op>;
    else
        return [](const RowCall&, int32_t, cudaStream_t) { return cudaErrorNotSupported; };
}

#define HORO_LAUNCHER(Op) emulated<Op>(),
constexpr RowLauncher launchers[] = {HORO_ROW_OPERATIONS(HORO_LAUNCHER)};
#undef HORO_LAUNCHER

}  // namespace

RowLauncher row_launcher(int32_t op) { return launchers[op]; }

}  // namespace horo::cuda
