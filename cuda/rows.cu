// Compiled once per part, so that the parts build in parallel; a part holds every HORO_ROW_PARTS-th
// operation.
#include "row_kernel.cuh"
#include "rows.h"

namespace horo::cuda {
namespace {

template <class Op, class T>
cudaError_t launch(const RowCall& call, cudaStream_t stream) {
    constexpr int bytes = sizeof(T), narrow = narrow_rows<Op>(), wide = wide_vectors<Op>();
    const int width = access_width(gather_addresses<Op>(call, bytes), call.dim, bytes);
    const RowPlan plan = plan_rows(call.rows, call.dim, bytes, width, narrow, wide);
    const unsigned grid = static_cast<unsigned>(plan.blocks < 0x7fffffff ? plan.blocks : 0x7fffffff);
    if (plan.narrow)
        row_kernel<Op, T, NarrowTile<narrow>><<<grid, plan.threads, 0, stream>>>(call, plan);
    else
        row_kernel<Op, T, WideTile<wide>><<<grid, plan.threads, 0, stream>>>(call, plan);
    return cudaGetLastError();
}

template <class Op, class T, int index>
constexpr RowLauncher launcher() {
    if constexpr (index % HORO_ROW_PARTS == HORO_ROW_PART)
        return launch<Op, T>;
    else
        return nullptr;
}

template <class... Ops>
struct List {};

template <class... Ops, int... index>
constexpr RowTable table(List<void, Ops...>, std::integer_sequence<int, index...>) {
    return {{{launcher<Ops, float, index>(), launcher<Ops, double, index>()}...}};
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
