// What the row engine (row_engine.cpp) and the operations (rows.cpp) share; compiled once per instruction
// set. A tile is as many rows as stay in the L1 cache. It is worked on in blocks of `lanes` rows: their sums
// are gathered so that one `solve` works on all of them at once.
#pragma once
#include <cstdint>
#include <cstring>

#include "cpu/short_float.h"
#include "geometry/row_op.h"

#define HORO_JOIN(a, b) a##b
#define HORO_OF_FAMILY(a, b) HORO_JOIN(a, b)

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

// What scalars, times and their gradients are worked on as.
template <class T>
struct NumberOf {
    using type = T;
};
template <>
struct NumberOf<ShortBf16> {
    using type = float;
};
template <>
struct NumberOf<ShortF16> {
    using type = float;
};

// What a tile holds of each row beside its coordinates: what `solve` sees.
template <class N>
struct TileSums {
    int64_t rows, blocks;
    // The number of each row (a scalar, or the time), `lanes` of them per block, and where results go.
    const N* scalar[operands];
    int64_t scalar_stride[operands];
    N* result[operands];
    int64_t result_stride[operands];
    Vector* sums;          // per block
    Vector* coefficients;  // per block
    const double* param;
    double rounding;
    double sum_error;  // of a plain sum, at most, relative to that of the sizes
    // Narrow: what will be read next and is asked for meanwhile, an address and its bytes per block.
    const char* next[operands];
    int64_t next_bytes[operands];
};

// T is how coordinates lie in the tile: float or double or, of wide rows, a 16-bit type. Narrow rows lie
// transposed: coordinate j of block b of operand i are the `lanes` numbers at in[i] + b * in_stride[i] + j *
// lanes. Wide rows lie as rows, in_stride[i] apart. Only coordinates of space, and all of it one segment of a
// row if it is very wide.
template <class T>
struct Tile : TileSums<typename NumberOf<T>::type> {
    int64_t dim;
    int64_t combine_from, combine_to;  // wide: rows
    const T* in[operands];
    int64_t in_stride[operands];
    T* out[operands];
    int64_t out_stride[operands];
    int64_t out_step[operands];  // 0 for an output that is not wanted: it goes to a cache line of scrap
    Vector* parts;               // wide: the sums of each row of a block, not yet added up across a vector
    bool stream;                 // combine_wide: outputs lie on whole cache lines and go past the cache
    T* open[operands];  // combine_lines: null, or the line that is being filled of an output that does
    bool halves;  // wide: rows are read once more on their way past the cache, and half of the next asked for
                  // then
    bool first, last;         // wide: of the segments of the row
    int64_t ahead[operands];  // wide: how far on lies what will be read next, in elements
};

constexpr int passes_again = 2;

// The passes over wide rows.
template <class T>
struct WideKernels {
    void (*reduce_wide)(const Tile<T>&);
    // Null, or finds the rows whose sums are not good enough (false if none); these are then read again by
    // each of the passes that is not null.
    bool (*doubt)(const Tile<T>&);
    void (*again_wide[passes_again])(const Tile<T>&);
    void (*combine_wide)(const Tile<T>&);
    void (*combine_lines)(const Tile<T>&);  // null, or the same by the line: see Tile::open
    int parts;                              // vectors per row while it is reduced
};

template <class T>
struct TileKernels : WideKernels<T> {
    void (*reduce_narrow)(const Tile<T>&);
    void (*again_narrow[passes_again])(const Tile<T>&);
    void (*combine_narrow)(const Tile<T>&);
    void (*solve)(const TileSums<T>&);
    int sums, coefficients;  // vectors per block
};

// An operation, compiled.
struct RowKernels {
    TileKernels<float> f32;
    TileKernels<double> f64;
    Signature signature;
};

// Passes that read and write 16-bit rows as they are stored, for AVX-512 only, on what `solve` of float32
// sees.
constexpr bool short_passes = lanes == 8;
struct ShortKernels {
    WideKernels<ShortBf16> bf16;
    WideKernels<ShortF16> f16;
};

// One table per family, in the order of geometry/operations.h.
struct RowFamily {
    const RowKernels* kernels;
    const ShortKernels* short_kernels;  // null where there are none
    int32_t count;
};

}  // namespace horo::HORO_ISA_NAMESPACE::rows
