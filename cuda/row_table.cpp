#include <utility>

#include "rows.h"

namespace horo::cuda {
namespace {

template <int... part>
RowLauncher find(int32_t op, std::integer_sequence<int, part...>) {
    RowLauncher found = nullptr;
    ((op % HORO_ROW_PARTS == part ? (void)(found = row_table<part>().launch[op]) : (void)0), ...);
    return found;
}

}  // namespace

RowLauncher row_launcher(int32_t op) { return find(op, std::make_integer_sequence<int, HORO_ROW_PARTS>{}); }

}  // namespace horo::cuda
