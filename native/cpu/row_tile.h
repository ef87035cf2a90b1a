// What the row engine (row_engine.cpp) and the operations (rows.cpp) share; compiled once per instruction
// set. A tile is as many rows as stay in the L1 cache. It is worked on in blocks of `lanes` rows: their sums
// are gathered so that one `solve` works on all of them at once.
#pragma once
#include <cstdint>
#include <cstring>

#include "geometry/row_op.h"

namespace horo::HORO_ISA_NAMESPACE::rows {

#if defined(__AVX512F__)
constexpr int lanes = 8;
#elif defined(__AVX2__)
constexpr int lanes = 4;
#else
constexpr int lanes = 2;
#endif
typedef double Vector __attribute__((vector_size(8 * lanes)));
constexpr int operands = Signature::max_operands;

// T is how coordinates lie in the tile: float or double. Narrow rows lie transposed: coordinate j of block b
// of operand i are the `lanes` numbers at in[i] + b * in_stride[i] + j * lanes. Wide rows lie as rows,
// in_stride[i] apart. Only coordinates of space, and all of it one segment of a row if it is very wide.
template <class T>
struct Tile {
    int64_t rows, blocks, dim;
    int64_t combine_from, combine_to;  // wide: rows
    const T* in[operands];
    int64_t in_stride[operands];
    T* out[operands];
    int64_t out_stride[operands];
    int64_t out_step[operands];  // 0 for an output that is not wanted: it goes to `lanes` numbers of scrap
    // The number of each row (a scalar, or the time), `lanes` of them per block, and where results go.
    const T* scalar[operands];
    int64_t scalar_stride[operands];
    T* result[operands];
    int64_t result_stride[operands];
    Vector* sums;          // per block
    Vector* coefficients;  // per block
    Vector* parts;         // wide: the sums of each row of a block, not yet added up across a vector
    bool stream;           // wide: outputs lie on whole cache lines and go past the cache
    bool first, last;      // wide: of the segments of the row
    const double* param;
    double rounding;
    // What will be read next is asked for meanwhile: wide, a distance in elements; narrow, an address and its
    // bytes per block.
    int64_t ahead[operands];
    const char* next[operands];
    int64_t next_bytes[operands];
};

template <class T>
struct TileKernels {
    void (*reduce_narrow)(const Tile<T>&);
    void (*reduce_wide)(const Tile<T>&);
    void (*refine_narrow)(const Tile<T>&);  // null, or a second pass over the rows before `solve`
    void (*refine_wide)(const Tile<T>&);
    void (*solve)(const Tile<T>&);
    void (*combine_narrow)(const Tile<T>&);
    void (*combine_wide)(const Tile<T>&);
    int sums, coefficients;  // vectors per block
    int parts;               // vectors per row while a wide row is reduced
};

// An operation, compiled.
struct RowKernels {
    TileKernels<float> f32;
    TileKernels<double> f64;
    Signature signature;
};

// One table per family, in the order of geometry/operations.h.
struct RowFamily {
    const RowKernels* kernels;
    int32_t count;
};

}  // namespace horo::HORO_ISA_NAMESPACE::rows
