// Compiled once per part, so that the parts build in parallel; a part holds every HORO_ROW_PARTS-th
// operation.
#include "row_kernel.cuh"
#include "rows.h"

namespace horo::cuda {
namespace {

template <class Op, class T>
cudaError_t launch_as(const RowCall& call, const RowPlan& plan, cudaStream_t stream) {
    const unsigned grid = static_cast<unsigned>(plan.blocks < 0x7fffffff ? plan.blocks : 0x7fffffff);
    if (plan.narrow)
        row_kernel<Op, T, NarrowTile<narrow_rows<Op>()>><<<grid, plan.threads, 0, stream>>>(call, plan);
    else
        row_kernel<Op, T, WideTile<wide_vectors<Op>()>><<<grid, plan.threads, 0, stream>>>(call, plan);
    return cudaGetLastError();
}

template <class Op>
cudaError_t launch(const RowCall& call, int32_t dtype, cudaStream_t stream) {
    const RowPlan plan = plan_call<Op>(call, dtype);
    return dtype == HORO_F64 ? launch_as<Op, double>(call, plan, stream)
                             : launch_as<Op, float>(call, plan, stream);
}

template <class Op, int index>
constexpr RowLauncher launcher() {
    if constexpr (index % HORO_ROW_PARTS == HORO_ROW_PART)
        return launch<Op>;
    else
        return nullptr;
}

template <class... Ops>
struct List {};

template <class... Ops, int... index>
constexpr RowTable table(List<void, Ops...>, std::integer_sequence<int, index...>) {
    return {{launcher<Ops, index>()...}};
}

#define HORO_LIST(Op) , Op
constexpr RowTable part =
    table(List<void HORO_ROW_OPERATIONS(HORO_LIST)>{}, std::make_integer_sequence<int, row_operations>{});
#undef HORO_LIST

}  // namespace

template <>
const RowTable& row_table<HORO_ROW_PART>() {
    return part;
}

}  // namespace horo::cuda
