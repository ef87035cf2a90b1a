#include "cpu/isa.h"
#include "cpu/pool.h"
#include "cpu/row_engine.h"
#include "horosphere/horo.h"

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
namespace {

// Beyond this working set the outputs are written past the cache; measured, see bench/RESULTS.md.
constexpr double cached_bytes = 4 << 20;

double working_set(const RowCall& call, int32_t dtype) {
    int operands = 0;
    for (int i = 0; i < Signature::max_operands; ++i)
        operands += (call.in[i] && call.in_stride[i]) + (call.out[i] != nullptr);
    const int bytes = dtype == HORO_F32 ? 4 : dtype == HORO_F64 ? 8 : 2;
    return static_cast<double>(call.rows) * static_cast<double>(call.dim) * operands * bytes;
}

}  // namespace

void run_rows(int32_t op, int32_t dtype, const RowCall& call, const horo_exec& exec) {
    static const RowEngine& engine = select(scalar::row_engine, avx2::row_engine, avx512::row_engine);
    // A chunk is worth some tens of microseconds; a multiple of every block size, so rows fall into the same
    // blocks whatever the chunks.
    constexpr int64_t chunk_elements = 32768;
    // what a small batch needs to know, without a division
    static_assert(chunk_elements * 2 * Signature::max_operands * 8 <= cached_bytes, "stays in the cache");
    if (call.rows <= chunk_elements && call.dim <= chunk_elements && call.rows * call.dim <= chunk_elements)
        return engine.run(op, dtype, call, 0, call.rows, false);
    const bool stream = working_set(call, dtype) > cached_bytes;
    const int64_t chunk = (chunk_elements / call.dim + 16) & ~int64_t{15};
    if (call.rows <= 2 * chunk) return engine.run(op, dtype, call, 0, call.rows, stream);
    parallel_for(exec, (call.rows + chunk - 1) / chunk, [&](int64_t c) {
        const int64_t end = (c + 1) * chunk;
        engine.run(op, dtype, call, c * chunk, end < call.rows ? end : call.rows, stream);
    });
}

}  // namespace horo
