// Compiled once per instruction set. Cuts a batch of rows into tiles that stay in the L1 cache, brings them
// into the form the operations want (rows.cpp) and takes the results out again: transposing narrow rows,
// converting 16-bit storage, writing past the cache. Knows nothing of any operation.
#include "cpu/row_engine.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <cstring>
#include <type_traits>

#include "cpu/half.h"
#include "cpu/row_tile.h"
#include "horosphere/horo.h"

namespace horo::HORO_ISA_NAMESPACE {

extern const RowEngine row_engine;

namespace rows {

#define HORO_DECLARE_FAMILY(family) extern const RowFamily family_##family;
HORO_ROW_FAMILIES(HORO_DECLARE_FAMILY)
#undef HORO_DECLARE_FAMILY

namespace {

constexpr int64_t narrow = 8;         // widest row that is transposed
constexpr int64_t short_narrow = 16;  // widest row of 16-bit numbers that is widened to float32 first
constexpr int64_t scratch_bytes = 40 << 10;
constexpr int64_t tile_bytes = 24 << 10;    // of operands of wide rows, so that they stay in the L1 cache
constexpr int64_t narrow_bytes = 12 << 10;  // of a tile of narrow rows with its sums and coefficients
constexpr int64_t wide_blocks = 16;         // most per tile
constexpr int64_t least_lines = 3;          // of rows that share lines and are worth making by the line

// ---- Storage types: how numbers lie in memory (Stored), how rows lie in a tile (Element), and as what
// single numbers are worked on.

template <class T>
struct Plain {
    using Stored = T;
    using Element = T;
    using Number = T;
    static constexpr bool converted = false;
    static constexpr double rounding = sizeof(T) == 8 ? 0x1p-53 : 0x1p-24;
    static void get(const T* p, T* x, int64_t n) { std::memcpy(x, p, static_cast<size_t>(n) * sizeof(T)); }
    static void put(const T* x, T* p, int64_t n) { std::memcpy(p, x, static_cast<size_t>(n) * sizeof(T)); }
};

struct Bf16 {
    using Stored = uint16_t;
    using Element = float;
    using Number = float;
    static constexpr bool converted = true;
    static constexpr double rounding = 0x1p-8;
    static void get(const uint16_t* p, float* x, int64_t n) { bf16_to_f32(p, x, n); }
    static void put(const float* x, uint16_t* p, int64_t n) { bf16_from_f32(x, p, n); }
};

struct F16 {
    using Stored = uint16_t;
    using Element = float;
    using Number = float;
    static constexpr bool converted = true;
    static constexpr double rounding = 0x1p-11;
    static void get(const uint16_t* p, float* x, int64_t n) { f16_to_f32(p, x, n); }
    static void put(const float* x, uint16_t* p, int64_t n) { f16_from_f32(x, p, n); }
};

// Wide rows of 16-bit numbers that the operation reads and writes as they are stored.
template <class S, class Short>
struct AsStored {
    using Stored = Short;
    using Element = Short;
    using Number = float;
    static constexpr bool converted = false;
    static constexpr double rounding = S::rounding;
    static void get(const Short* p, float* x, int64_t n) { S::get(&p->bits, x, n); }
    static void put(const float* x, Short* p, int64_t n) { S::put(x, &p->bits, n); }
};

// ---- Writing past the cache

#if defined(__SSE2__)
// Whole lines; what is left at both ends goes through the cache.
void stream_copy(void* to, const void* from, int64_t bytes) {
    char* q = static_cast<char*>(to);
    const char* p = static_cast<const char*>(from);
    int64_t head = -reinterpret_cast<intptr_t>(q) & 63;
    if (head > bytes) head = bytes;
    std::memcpy(q, p, static_cast<size_t>(head));
    for (q += head, p += head, bytes -= head; bytes >= 64; q += 64, p += 64, bytes -= 64) {
#if defined(__AVX512F__)
        _mm512_stream_si512(reinterpret_cast<__m512i*>(q), _mm512_loadu_si512(p));
#else
        for (int i = 0; i < 64; i += 16)
            _mm_stream_si128(reinterpret_cast<__m128i*>(q + i),
                             _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i)));
#endif
    }
    std::memcpy(q, p, static_cast<size_t>(bytes));
}
inline void stream_end() { _mm_sfence(); }
#else
inline void stream_copy(void* to, const void* from, int64_t bytes) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
}
inline void stream_end() {}
#endif

// ---- Transposition of blocks of `lanes` rows of `width` numbers: coordinate j of row l is number l * width
// + j of the block as rows, j * lanes + l as columns.

#if defined(__AVX512F__)
template <class T>
struct Zmm;
template <>
struct Zmm<float> {
    using V = __m512;
    using M = __mmask16;
    static V load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
    static void stream(float* p, V v) { _mm512_stream_ps(p, v); }
    static V pick(V a, const int32_t* index, V b) {
        return _mm512_permutex2var_ps(a, _mm512_load_si512(index), b);
    }
    static V merge(V a, M m, V b) { return _mm512_mask_mov_ps(a, m, b); }
};
template <>
struct Zmm<double> {
    using V = __m512d;
    using M = __mmask8;
    static V load(const double* p) { return _mm512_loadu_pd(p); }
    static void store(double* p, V v) { _mm512_storeu_pd(p, v); }
    static void stream(double* p, V v) { _mm512_stream_pd(p, v); }
    static V pick(V a, const int64_t* index, V b) {
        return _mm512_permutex2var_pd(a, _mm512_load_si512(index), b);
    }
    static V merge(V a, M m, V b) { return _mm512_mask_mov_pd(a, m, b); }
};

// Blocks that are whole vectors, whatever the width.
template <class T>
constexpr int unit = 8 / int{sizeof(T)};

// Which of a unit's vectors each vector of the result takes its numbers from, two at a time.
template <class T, int width, bool to_columns>
struct Shuffle {
    using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
    static constexpr int size = 64 / sizeof(T), pairs = (width + 1) / 2;
    alignas(64) Index index[width][pairs][size];
    uint32_t mask[width][pairs];
    constexpr Shuffle() : index(), mask() {
        for (int f = 0; f < width * size; ++f) {
            const int block = f / (lanes * width), g = f % (lanes * width);
            const int source = block * lanes * width +
                               (to_columns ? g % lanes * width + g / lanes : g % width * lanes + g / width);
            const int pair = source / (2 * size);
            index[f / size][pair][f % size] = source % (2 * size);
            mask[f / size][pair] |= 1u << (f % size);
        }
    }
};

// `to` may be `from`. stream: `to` is aligned to a cache line and written past the cache.
template <class T, int width, bool to_columns, bool stream>
void transpose(const T* from, T* to, int64_t units) {
    using S = Shuffle<T, width, to_columns>;
    using Z = Zmm<T>;
    static constexpr S shuffle;
    for (int64_t u = 0; u < units; ++u, from += width * S::size, to += width * S::size) {
        typename Z::V x[width + 1], y[width] = {};
#pragma GCC unroll 16
        for (int v = 0; v < width; ++v) x[v] = Z::load(from + v * S::size);
        x[width] = x[0];
#pragma GCC unroll 16
        for (int v = 0; v < width; ++v) {
            bool any = false;
#pragma GCC unroll 16
            for (int p = 0; p < S::pairs; ++p) {
                if (!shuffle.mask[v][p]) continue;
                const typename Z::V part = Z::pick(x[2 * p], shuffle.index[v][p], x[2 * p + 1]);
                y[v] = any ? Z::merge(y[v], static_cast<typename Z::M>(shuffle.mask[v][p]), part) : part;
                any = true;
            }
        }
#pragma GCC unroll 16
        for (int v = 0; v < width; ++v) {
            if (stream)
                Z::stream(to + v * S::size, y[v]);
            else
                Z::store(to + v * S::size, y[v]);
        }
    }
}
#else
template <class T>
constexpr int unit = 1;

template <class T, int width, bool to_columns, bool>
void transpose(const T* from, T* to, int64_t units) {
    constexpr int outer = to_columns ? lanes : width, inner = to_columns ? width : lanes;
    for (int64_t u = 0; u < units; ++u, from += lanes * width, to += lanes * width) {
        T block[lanes * width];  // `to` may be `from`
        for (int i = 0; i < outer; ++i)
            for (int j = 0; j < inner; ++j) block[j * outer + i] = from[i * inner + j];
        std::memcpy(to, block, sizeof block);
    }
}
#endif

template <class T, bool to_columns, bool stream = false>
void transpose(int64_t width, const T* from, T* to, int64_t units) {
    switch (width) {
        case 2:
            return transpose<T, 2, to_columns, stream>(from, to, units);
        case 3:
            return transpose<T, 3, to_columns, stream>(from, to, units);
        case 4:
            return transpose<T, 4, to_columns, stream>(from, to, units);
        case 5:
            return transpose<T, 5, to_columns, stream>(from, to, units);
        case 6:
            return transpose<T, 6, to_columns, stream>(from, to, units);
        case 7:
            return transpose<T, 7, to_columns, stream>(from, to, units);
        case 8:
            return transpose<T, 8, to_columns, stream>(from, to, units);
        default:
            return transpose<T, 9, to_columns, stream>(from, to, units);
    }
}

// ---- Tiles

// A piece of the scratch memory.
class Scratch {
  public:
    explicit Scratch(char* memory) : at_(memory) {}
    template <class T>
    T* take(int64_t count) {
        T* const p = reinterpret_cast<T*>(at_);
        at_ += bytes(count * int64_t{sizeof(T)});
        return p;
    }
    static constexpr int64_t bytes(int64_t n) { return (n + 63) & ~int64_t{63}; }

  private:
    char* at_;
};

int64_t width_of(Kind kind, int64_t dim) { return kind == Kind::scalar ? 1 : dim + (kind == Kind::ambient); }

// The rows of an operand of a call.
template <class S>
struct Rows {
    typename S::Stored* data;  // of row 0; null for an output that is not wanted
    int64_t stride, width;
    bool contiguous() const { return stride == width; }
    typename S::Stored* row(int64_t r) const { return data + r * stride; }
};

template <class S>
struct Operands {
    Rows<S> in[operands], out[operands];
    Operands(const Signature& signature, const RowCall& call) {
        using Stored = typename S::Stored;
        for (int i = 0; i < signature.inputs; ++i)
            in[i] = {const_cast<Stored*>(static_cast<const Stored*>(call.in[i])), call.in_stride[i],
                     width_of(signature.input[i], call.dim)};
        for (int i = 0; i < signature.outputs; ++i)
            out[i] = {static_cast<Stored*>(call.out[i]), call.out_stride[i],
                      width_of(signature.output[i], call.dim)};
    }
};

// Contiguous elements to where they belong, as rows [row, row + count) of an output.
template <class S>
void put_elements(const typename S::Element* x, typename S::Stored* to, int64_t n) {
    if constexpr (S::converted)
        S::put(x, to, n);
    else
        std::memcpy(to, x, static_cast<size_t>(n) * sizeof *x);
}
template <class S>
void put_rows(const typename S::Element* x, const Rows<S>& out, int64_t row, int64_t count, bool stream) {
    if (out.contiguous()) {
        if (!stream) return put_elements<S>(x, out.row(row), count * out.width);
        if constexpr (!S::converted) {
            return stream_copy(out.row(row), x, count * out.width * int64_t{sizeof *x});
        } else {
            alignas(64) typename S::Stored line[1024];
            for (int64_t n = count * out.width, at = 0; at < n; at += 1024) {
                const int64_t part = n - at < 1024 ? n - at : 1024;
                S::put(x + at, line, part);
                stream_copy(out.row(row) + at, line, part * int64_t{sizeof *line});
            }
            return;
        }
    }
    for (int64_t r = 0; r < count; ++r) put_elements<S>(x + r * out.width, out.row(row + r), out.width);
}

// How many numbers of its cache line lie before one.
template <class T>
int64_t line_offset(const T* p) {
    return static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) % 64 / sizeof(T));
}

// One rounding per addition: of a lane's share of a row, a few sets of them, and across the lanes.
double sum_error(int64_t dim) { return static_cast<double>(dim / lanes + 8) * 0x1p-53; }

template <class S>
void run_narrow(const TileKernels<typename S::Number>& op, const Signature& signature, const RowCall& call,
                int64_t begin, int64_t end, bool stream) {
    using T = typename S::Number;
    const Operands<S> all(signature, call);
    alignas(64) char memory[scratch_bytes];
    int64_t columns = 0;
    for (int i = 0; i < signature.inputs; ++i) columns += all.in[i].width;
    for (int i = 0; i < signature.outputs; ++i) columns += all.out[i].width;
    const int64_t block_bytes =
        columns * lanes * int64_t{sizeof(T)} + (op.sums + op.coefficients) * int64_t{sizeof(Vector)};
    constexpr int64_t unit_rows = lanes * unit<T>;
    int64_t fitting = (end - begin + unit_rows - 1) / unit_rows * unit<T>;
    if (fitting * block_bytes > narrow_bytes) {
        fitting = narrow_bytes / block_bytes / unit<T> * unit<T>;
        if (fitting < unit<T>) fitting = unit<T>;
    }
    Scratch scratch(memory);
    Tile<T> t{};
    t.dim = call.dim;
    t.param = call.param;
    t.rounding = S::rounding;
    t.sum_error = sum_error(call.dim);
    t.sums = scratch.take<Vector>(fitting * op.sums);
    t.coefficients = scratch.take<Vector>(fitting * op.coefficients);
    T *in[operands], *out[operands];
    for (int i = 0; i < signature.inputs; ++i) {
        const int64_t w = all.in[i].width;
        in[i] = scratch.take<T>(fitting * w * lanes);
        t.in[i] = in[i] + (signature.input[i] == Kind::ambient) * lanes;
        t.scalar[i] = in[i];
        t.in_stride[i] = t.scalar_stride[i] = w * lanes;
        t.next_bytes[i] =
            all.in[i].stride <= 2 * w ? lanes * all.in[i].stride * int64_t{sizeof(*all.in[i].data)} : 0;
    }
    for (int i = 0; i < signature.outputs; ++i) {
        const int64_t w = all.out[i].width;
        out[i] = scratch.take<T>(fitting * w * lanes);
        t.out[i] = out[i] + (signature.output[i] == Kind::ambient) * lanes;
        t.result[i] = out[i];
        t.out_stride[i] = t.result_stride[i] = w * lanes;
    }
    for (int64_t row = begin; row < end; row += fitting * lanes) {
        t.rows = end - row < fitting * lanes ? end - row : fitting * lanes;
        t.blocks = (t.rows + lanes - 1) / lanes;
        const int64_t whole = t.rows / unit_rows, units = (t.rows + unit_rows - 1) / unit_rows;
        for (int i = 0; i < signature.inputs; ++i) {
            const Rows<S>& x = all.in[i];
            t.next[i] = reinterpret_cast<const char*>(x.row(row + t.rows));
            int64_t done = 0;
            if (x.contiguous() && whole) {
                done = whole;
                const T* from = in[i];
                if constexpr (S::converted)
                    S::get(x.row(row), in[i], whole * unit_rows * x.width);
                else
                    from = x.row(row);
                if (x.width > 1)
                    transpose<T, true>(x.width, from, in[i], whole);
                else if (from != in[i])
                    std::memcpy(in[i], from, static_cast<size_t>(whole * unit_rows) * sizeof(T));
            }
            for (int64_t u = done; u < units; ++u) {
                T* const block = in[i] + u * unit_rows * x.width;
                const int64_t first = u * unit_rows;
                const int64_t count = t.rows - first < unit_rows ? t.rows - first : unit_rows;
                if (x.contiguous()) {
                    S::get(x.row(row + first), block, count * x.width);
                } else {
                    for (int64_t l = 0; l < count; ++l)
                        S::get(x.row(row + first + l), block + l * x.width, x.width);
                }
                const int64_t missing = (unit_rows - count) * x.width;  // points of what no one reads
                if (missing)
                    std::memset(block + count * x.width, 0, static_cast<size_t>(missing) * sizeof(T));
                if (x.width > 1) transpose<T, true>(x.width, block, block, 1);
            }
        }
        op.reduce_narrow(t);
        if (op.doubt && op.doubt(t))
            for (const auto again : op.again_narrow)
                if (again) again(t);
        op.solve(t);
        if (op.combine_narrow) op.combine_narrow(t);
        for (int i = 0; i < signature.outputs; ++i) {
            const Rows<S>& y = all.out[i];
            if (!y.data) continue;
            if constexpr (!S::converted) {
                if (y.contiguous() && whole == units && y.width > 1 &&
                    (!stream || reinterpret_cast<uintptr_t>(y.row(row)) % 64 == 0)) {
                    if (stream)
                        transpose<T, false, true>(y.width, out[i], y.row(row), whole);
                    else
                        transpose<T, false>(y.width, out[i], y.row(row), whole);
                    continue;
                }
            }
            if (y.width > 1) transpose<T, false>(y.width, out[i], out[i], units);
            put_rows<S>(out[i], y, row, t.rows, stream);
        }
    }
}

template <class S>
void run_wide(const TileKernels<typename S::Number>& op, const WideKernels<typename S::Element>& passes,
              const Signature& signature, const RowCall& call, int64_t begin, int64_t end, bool stream) {
    using T = typename S::Element;
    using N = typename S::Number;
    const Operands<S> all(signature, call);
    alignas(64) char memory[scratch_bytes + (18 << 10)];
    bool stages_in[operands] = {}, stages_out[operands] = {};
    int staged = 0, staged_out = 0, streams = 0;
    constexpr int64_t line = 64 / int64_t{sizeof(T)};
    // By the line where rows share lines; that hangs on the shape alone, as last bits may hang on it.
    bool shared = call.dim % line != 0;
    for (int i = 0; i < signature.outputs; ++i) shared = shared || signature.output[i] == Kind::ambient;
    const bool by_line =
        passes.combine_lines && (!passes.combine_wide || (shared && call.dim >= line * least_lines));
    const auto combine = by_line ? passes.combine_lines : passes.combine_wide;
    // Rows one after the other, or of lines of their own: the operation itself writes past the cache, which
    // only its AVX-512 form can.
    bool direct = lanes == 8 && stream && !S::converted;
    const auto leaves = [&](int i) {
        return direct && all.out[i].data && signature.output[i] != Kind::scalar;
    };
    int64_t leading = 0;  // rows that go into the cache, so that no line is shared with what lies before
    for (int i = 0; i < signature.outputs; ++i) {
        const Rows<S>& y = all.out[i];
        if (!leaves(i)) continue;
        const bool whole = y.width % line == 0 && y.stride % line == 0 && line_offset(y.data) == 0;
        direct = by_line ? whole || y.contiguous() : whole && signature.output[i] == Kind::row;
        if (!whole) leading = (line + y.width - 1) / y.width;
    }
    if (!direct) leading = 0;
    for (int i = 0; i < signature.inputs; ++i) {
        streams += signature.input[i] != Kind::scalar;
        staged += stages_in[i] = S::converted && signature.input[i] != Kind::scalar;
    }
    for (int i = 0; i < signature.outputs; ++i) {
        const bool wanted = all.out[i].data && signature.output[i] != Kind::scalar;
        streams += wanted;
        staged_out += stages_out[i] =
            wanted && (S::converted || (stream && !direct && all.out[i].contiguous()));
    }
    staged += S::converted ? 2 * staged_out : staged_out;  // as numbers and as they are stored
    // Rows that do not fit as a whole are staged in segments.
    const int64_t stage = scratch_bytes - (8 << 10);
    const int64_t row_bytes = (call.dim + 1) * int64_t{sizeof(T)};
    int64_t segment = call.dim, rows = lanes * wide_blocks;
    const auto at_most = [](int64_t& n, int64_t limit) { n = n < limit ? n : limit < 1 ? 1 : limit; };
    at_most(rows, end - begin);
    at_most(rows, tile_bytes / (row_bytes * (streams ? streams : 1)));
    if (staged) {
        const int64_t one = stage / staged - 64;
        if (row_bytes > one) {
            segment = (one / int64_t{sizeof(T)} - 1) & ~int64_t{63};
            rows = 1;
        }
        at_most(rows, one / row_bytes);
    }
    at_most(rows,
            (8 << 10) /
                ((op.sums + op.coefficients) * int64_t{sizeof(Vector)} + 8 * lanes * int64_t{sizeof(N)}) *
                lanes);
    if (rows > lanes) rows = rows / lanes * lanes;
    const int64_t blocks = (rows + lanes - 1) / lanes;
    const int64_t group_rows = (2 << 10) / (row_bytes * (staged_out ? staged_out : 1)) + 1;

    Scratch scratch(memory);
    Tile<T> t{};
    t.param = call.param;
    t.rounding = S::rounding;
    t.sum_error = sum_error(call.dim);
    t.stream = direct && !by_line;
    t.halves = stream && combine && sizeof(T) > 2;
    t.parts = scratch.take<Vector>(passes.parts * lanes);
    t.sums = scratch.take<Vector>(blocks * op.sums);
    t.coefficients = scratch.take<Vector>(blocks * op.coefficients);
    alignas(64) T scrap[line], open[operands][line];
    const auto open_lines = [&](int64_t row) {  // from here on outputs leave past the cache
        for (int i = 0; i < signature.outputs; ++i) {
            if (!leaves(i)) continue;
            const auto* at = all.out[i].row(row);
            std::memcpy(open[i], at - line_offset(at), static_cast<size_t>(line_offset(at)) * sizeof(T));
            t.open[i] = open[i];
        }
    };
    if (by_line && !leading) open_lines(begin);
    N* numbers[operands];
    T *in[operands], *out[operands];
    typename S::Stored* stored[operands];
    for (int i = 0; i < signature.inputs; ++i) {
        if (signature.input[i] != Kind::row) t.scalar[i] = numbers[i] = scratch.take<N>(blocks * lanes);
        t.scalar_stride[i] = lanes;
        if (stages_in[i]) in[i] = scratch.take<T>(rows * (segment + 1));
    }
    for (int i = 0; i < signature.outputs; ++i) {
        if (signature.output[i] != Kind::row) t.result[i] = scratch.take<N>(blocks * lanes);
        t.result_stride[i] = lanes;
        if (stages_out[i]) out[i] = scratch.take<T>(rows * (segment + 1));
        if (stages_out[i] && S::converted) stored[i] = scratch.take<typename S::Stored>(rows * (segment + 1));
    }
    for (int64_t row = begin; row < end; row += rows) {
        t.rows = end - row < rows ? end - row : rows;
        t.blocks = (t.rows + lanes - 1) / lanes;
        for (int i = 0; i < signature.inputs; ++i) {
            if (signature.input[i] == Kind::row) continue;
            for (int64_t r = 0; r < t.blocks * lanes; ++r)
                S::get(all.in[i].row(row + (r < t.rows ? r : t.rows - 1)), numbers[i] + r, 1);
        }
        // The numbers or times of an output's first rows.
        const auto put_numbers = [&](int i, int64_t count) {
            if (signature.output[i] == Kind::row || !all.out[i].data) return;
            for (int64_t r = 0; r < count; ++r) S::put(t.result[i] + r, all.out[i].row(row + r), 1);
        };
        // Where the operands of a segment lie, with time taken off.
        const auto enter = [&](int64_t first) {
            t.first = first == 0;
            t.dim = call.dim - first < segment ? call.dim - first : segment;
            t.last = first + t.dim == call.dim;
            for (int i = 0; i < signature.inputs; ++i) {
                if (signature.input[i] == Kind::scalar) continue;
                const Rows<S>& x = all.in[i];
                const int64_t at = first + (signature.input[i] == Kind::ambient);
                if constexpr (S::converted) {
                    if (x.contiguous() && x.width == t.dim) {
                        S::get(x.row(row), in[i], t.rows * t.dim);
                    } else {
                        for (int64_t r = 0; r < t.rows; ++r)
                            S::get(x.row(row + r) + at, in[i] + r * t.dim, t.dim);
                    }
                    t.in[i] = in[i];
                    t.in_stride[i] = t.dim;
                } else {
                    t.in[i] = x.row(row) + at;
                    t.in_stride[i] = x.stride;
                    t.ahead[i] = t.rows * x.stride;
                }
            }
            for (int i = 0; i < signature.outputs; ++i) {
                if (signature.output[i] == Kind::scalar) continue;
                const Rows<S>& y = all.out[i];
                const int64_t time = signature.output[i] == Kind::ambient;
                t.out_step[i] = y.data ? 1 : 0;
                if (!y.data) {
                    t.out[i] = scrap;
                    t.out_stride[i] = 0;
                } else if (stages_out[i]) {
                    t.out[i] = out[i] + time;
                    t.out_stride[i] = t.dim + time;
                } else {
                    if constexpr (!S::converted) t.out[i] = y.row(row) + first + time;
                    t.out_stride[i] = y.stride;
                }
            }
        };
        int64_t first = 0;
        for (; first < call.dim; first += segment) {
            enter(first);
            passes.reduce_wide(t);
        }
        if (passes.doubt && passes.doubt(t))
            for (const auto again : passes.again_wide)
                for (first = 0; first < call.dim && again; first += segment) {
                    if (segment < call.dim) enter(first);
                    again(t);
                }
        op.solve(t);
        for (first = 0; first < call.dim && combine; first += segment) {
            if (segment < call.dim) enter(first);
            // What is staged leaves in small groups of rows, so that stores alternate with other work.
            int64_t done[operands] = {};
            const int64_t group = staged_out ? group_rows : t.rows;
            for (t.combine_from = 0; t.combine_from < t.rows; t.combine_from = t.combine_to) {
                const int64_t next = leading ? leading : group;
                t.combine_to = t.rows - t.combine_from < next ? t.rows : t.combine_from + next;
                combine(t);
                if (leading) {
                    for (int i = 0; i < signature.outputs; ++i)
                        if (leaves(i)) put_numbers(i, t.combine_to);
                    if (row + t.combine_to < end) open_lines(row + t.combine_to);
                    leading = 0;
                }
                for (int i = 0; i < signature.outputs; ++i) {
                    if (!stages_out[i]) continue;
                    const Rows<S>& y = all.out[i];
                    const int64_t time = signature.output[i] == Kind::ambient;
                    if (segment < call.dim) {
                        const Rows<S> part{y.row(row) + first + time, t.dim, t.dim};
                        put_rows<S>(out[i] + time, part, 0, 1, stream);
                        continue;
                    }
                    for (int64_t r = t.combine_from; time && r < t.combine_to; ++r) {
                        if constexpr (S::converted)
                            out[i][r * (t.dim + 1)] = t.result[i][r];
                        else
                            S::put(t.result[i] + r, out[i] + r * (t.dim + 1), 1);
                    }
                    if (stream && y.contiguous()) {  // whole lines; the rest with the next group
                        const char* from = reinterpret_cast<const char*>(out[i]);
                        if constexpr (S::converted) {
                            const int64_t at = t.combine_from * y.width;
                            S::put(out[i] + at, stored[i] + at, t.combine_to * y.width - at);
                            from = reinterpret_cast<const char*>(stored[i]);
                        }
                        char* const to = reinterpret_cast<char*>(y.row(row));
                        int64_t upto = t.combine_to * y.width * int64_t{sizeof(typename S::Stored)};
                        if (t.combine_to < t.rows) upto -= reinterpret_cast<intptr_t>(to + upto) & 63;
                        if (upto > done[i]) {
                            stream_copy(to + done[i], from + done[i], upto - done[i]);
                            done[i] = upto;
                        }
                        continue;
                    }
                    put_rows<S>(out[i] + t.combine_from * y.width, y, row + t.combine_from,
                                t.combine_to - t.combine_from, stream);
                }
            }
        }
        for (int i = 0; i < signature.outputs; ++i)
            if (!leaves(i) && !(stages_out[i] && segment == call.dim)) put_numbers(i, t.rows);
    }
    for (int i = 0; i < signature.outputs; ++i) {
        if (!t.open[i]) continue;
        auto* const stop = all.out[i].row(end - 1) + all.out[i].width;
        std::memcpy(stop - line_offset(stop), open[i], static_cast<size_t>(line_offset(stop)) * sizeof(T));
    }
}

template <class S>
void run_stored(const TileKernels<typename S::Number>& op, const Signature& signature, const RowCall& call,
                int64_t begin, int64_t end, bool stream) {
    if (call.dim <= narrow)
        run_narrow<S>(op, signature, call, begin, end, stream);
    else
        run_wide<S>(op, op, signature, call, begin, end, stream);
    if (stream) stream_end();
}

// An operation by its number.
struct Found {
    const RowKernels* kernels;
    const ShortKernels* short_kernels;
};
Found find(int32_t op) {
    Found found{};
#define HORO_FIND_IN(family)                                                                    \
    if (!found.kernels && op < family_##family.count)                                           \
        found = {family_##family.kernels + op,                                                  \
                 family_##family.short_kernels ? family_##family.short_kernels + op : nullptr}; \
    op -= family_##family.count;
    HORO_ROW_FAMILIES(HORO_FIND_IN)
#undef HORO_FIND_IN
    return found;
}

// Wide rows of 16-bit numbers: as they are stored where there are such passes, widened first elsewhere.
template <class S, class Short>
void run_short(const RowKernels& k, const WideKernels<Short>* passes, const RowCall& call, int64_t begin,
               int64_t end, bool stream) {
    if (!passes) return run_stored<S>(k.f32, k.signature, call, begin, end, stream);
    if constexpr (short_passes) {
        run_wide<AsStored<S, Short>>(k.f32, *passes, k.signature, call, begin, end, stream);
        if (stream) stream_end();
    }
}

void run(int32_t op, int32_t dtype, const RowCall& call, int64_t begin, int64_t end, bool stream) {
    const Found found = find(op);
    const RowKernels& k = *found.kernels;
    const ShortKernels* passes = call.dim > short_narrow ? found.short_kernels : nullptr;
    switch (dtype) {
        case HORO_F32:
            return run_stored<Plain<float>>(k.f32, k.signature, call, begin, end, stream);
        case HORO_F64:
            return run_stored<Plain<double>>(k.f64, k.signature, call, begin, end, stream);
        case HORO_BF16:
            return run_short<Bf16>(k, passes ? &passes->bf16 : nullptr, call, begin, end, stream);
        default:
            return run_short<F16>(k, passes ? &passes->f16 : nullptr, call, begin, end, stream);
    }
}

}  // namespace
}  // namespace rows

const RowEngine row_engine = {rows::run};

}  // namespace horo::HORO_ISA_NAMESPACE
