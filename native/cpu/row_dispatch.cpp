#include "cpu/isa.h"
#include "cpu/pool.h"
#include "cpu/row_engine.h"

namespace horo {
namespace scalar {
extern const RowEngine row_engine;
}
namespace avx2 {
extern const RowEngine row_engine;
}
namespace avx512 {
extern const RowEngine row_engine;
}

void run_rows(int32_t op, int32_t dtype, const RowCall& call, const horo_exec& exec) {
    static const RowEngine& engine = select(scalar::row_engine, avx2::row_engine, avx512::row_engine);
    const RowKernel kernel = engine.kernel[op][dtype];
    // A chunk is worth some tens of microseconds; a multiple of every block size, so rows fall into the same
    // blocks whatever the chunks.
    constexpr int64_t chunk_elements = 32768;
    const int64_t chunk = (chunk_elements / call.dim + 15) & ~int64_t{15};
    if (call.rows <= 2 * chunk) return kernel(call, 0, call.rows);
    parallel_for(exec, (call.rows + chunk - 1) / chunk, [&](int64_t c) {
        const int64_t end = (c + 1) * chunk;
        kernel(call, c * chunk, end < call.rows ? end : call.rows);
    });
}

}  // namespace horo
