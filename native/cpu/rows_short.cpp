// The passes of one family's row operations (HORO_ROW_FAMILY) over wide rows of 16-bit numbers as they are
// stored, for AVX-512; elsewhere, and for narrow rows, the engine widens them to float32 first. Sums are
// those of float32 rows. The coordinates of the outputs are worked out in float32, twice as many at a time as
// in double and without converting, together with a bound of what cancelled: where that is more than the
// storage's precision bears, the coordinates are worked out again in double.
#if defined(__AVX512F__)
#include "cpu/row_passes.h"
#include "geometry/operations.h"

namespace horo::HORO_ISA_NAMESPACE::rows {
namespace {

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t FloatBits __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
constexpr int wide = 16;        // lanes of Floats
constexpr int pair = 2 * wide;  // numbers of a cache line

HORO_HD Floats size_of(Floats v) { return (Floats)((FloatBits)v & 0x7fffffff); }

// A number within (|v| + e) 2^-23 or so of what it should be. What it is follows from the operation at
// compile time, once inlined: e is worked out for sums only.
struct Guarded {
    enum Is { zero, coefficient, element, product, sum };
    Floats v, e;
    Is is;
    bool scaled;  // by another element, so that it may have overflown

    HORO_HD Guarded() : v{}, e{}, is(zero), scaled(false) {}
    HORO_HD Guarded(Floats x, Is what) : v(x), e{}, is(what), scaled(false) {}
    HORO_HD Guarded(double x) : Guarded(Floats{} + static_cast<float>(x), coefficient) {}
    HORO_HD Floats bound() const { return is == sum ? size_of(v) + e : size_of(v); }

    HORO_HD Guarded operator-() const {
        Guarded r = *this;
        r.v = -v;
        return r;
    }
    HORO_HD friend Guarded operator+(const Guarded& a, const Guarded& b) {
        if (a.is == zero) return b;
        if (b.is == zero) return a;
        Guarded r(a.v + b.v, a.is == element && b.is == element ? product : sum);
        r.scaled = a.scaled || b.scaled;
        if (r.is == sum) {  // the size of one of the two will do, as that of the sum counts as well
            r.e = b.is == sum ? size_of(a.v) : size_of(b.v);
            if (a.is == sum) r.e += a.e;
            if (b.is == sum) r.e += b.e;
        }
        return r;
    }
    HORO_HD friend Guarded operator-(const Guarded& a, const Guarded& b) { return a + (-b); }
    HORO_HD friend Guarded operator*(const Guarded& a, const Guarded& b) {
        if (a.is == zero) return a;
        if (b.is == zero) return b;
        const bool pure = a.is != coefficient && b.is != coefficient;
        Guarded r(a.v * b.v, pure || a.is == sum || b.is == sum ? sum : product);
        r.scaled = a.scaled || b.scaled || pure;
        if (a.is == sum || b.is == sum) r.e = a.bound() * b.bound();
        if (pure) r.e += 0x1p-120f;  // what float32 may have lost to underflow
        return r;
    }
    HORO_HD friend Guarded operator/(const Guarded& a, const Guarded& b) {  // b an element
        Guarded r(a.v / b.v, sum);
        if (a.is == sum) r.e = a.e / size_of(b.v);
        r.scaled = true;
        return r;
    }
    HORO_HD Guarded& operator+=(const Guarded& b) { return *this = *this + b; }
    HORO_HD Guarded& operator-=(const Guarded& b) { return *this = *this - b; }
};

HORO_HD FloatBits operator<(const Guarded& a, const Guarded& b) { return a.v < b.v; }
HORO_HD FloatBits operator>(const Guarded& a, const Guarded& b) { return a.v > b.v; }

}  // namespace
}  // namespace horo::HORO_ISA_NAMESPACE::rows

namespace horo {

using HORO_ISA_NAMESPACE::rows::Guarded;

// What a rounding error would make up for is guarded.
template <>
HORO_HD Sum<Guarded> two_product<Guarded>(Guarded a, Guarded b) {
    return {a * b, {}};
}
template <>
HORO_HD Sum<Guarded> two_sum<Guarded>(Guarded a, Guarded b) {
    return {a + b, {}};
}
template <>
HORO_HD Guarded fused_subtract<Guarded>(Guarded a, Guarded b, Guarded c) {
    return a * b - c;
}
template <>
HORO_HD Guarded fused_subtract_from<Guarded>(Guarded c, Guarded a, Guarded b) {
    return c - a * b;
}
template <>
HORO_HD Guarded choose<Guarded>(Mask<Guarded>::type mask, Guarded yes, Guarded no) {
    Guarded r = yes.is < no.is ? no : yes;
    r.v = mask ? yes.v : no.v;
    r.e = mask ? yes.e : no.e;
    r.scaled = yes.scaled || no.scaled;
    return r;
}

}  // namespace horo

namespace horo::HORO_ISA_NAMESPACE::rows {
namespace {

// ---- 16-bit numbers and float32, a cache line at a time

// Even numbers (h 0) and odd ones (h 1) of bfloat16, the lower and the upper half of the line of float16.
HORO_HD Floats widen(ShortBf16, __m512i line, int h) {
    return (Floats)(h ? (Words)line & 0xffff0000 : (Words)line << 16);
}
HORO_HD Floats widen(ShortF16, __m512i line, int h) {
    const __m256i half =
        h ? __builtin_shufflevector(line, line, 4, 5, 6, 7) : __builtin_shufflevector(line, line, 0, 1, 2, 3);
    return (Floats)_mm512_maskz_cvtph_ps(0xffff, half);
}

// Rounds to nearest even, h 0 first. NaN stays: that of an element or of an operation on them has a lower
// half of zeros, which is not rounded up; others are made so.
HORO_HD void narrow(ShortBf16, Floats v, int h, __m512i& line) {
    const Words x = (Words)v, rounded = x + 0x7fff + (x >> 16 & 1);
    line = (__m512i)(h ? (rounded & 0xffff0000) | (Words)line : rounded >> 16);
}
HORO_HD void narrow(ShortF16, Floats v, int h, __m512i& line) {
    const __m256i half =
        _mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256i lower = h ? __builtin_shufflevector(line, line, 0, 1, 2, 3) : half;
    line = __builtin_shufflevector(lower, half, 0, 1, 2, 3, 4, 5, 6, 7);
}

// How much larger than the result what cancelled may be: the error is then a 50th of an ulp or so.
template <class E>
constexpr float bearable = 0;
template <>
constexpr float bearable<ShortBf16> = 1.0f / (1 << 10);
template <>
constexpr float bearable<ShortF16> = 1.0f / (1 << 8);

// Has its sign bit set where a number is not good enough.
template <class E>
HORO_HD FloatBits doubt(const Guarded& y) {
    FloatBits d{};
    if (y.is == Guarded::sum) d = (FloatBits)(size_of(y.v) - bearable<E> * y.e);
    if (y.scaled) d |= (FloatBits)(0x1p100f - size_of(y.v)) | (y.v != y.v);
    return d;
}

// ---- The coordinates of the outputs

// A line of each in double. k: the row's coefficients, a block apart.
template <class Op, class E>
__attribute__((noinline, cold)) void combine_exactly(const __m512i* x, const double* k, __m512i* y) {
    constexpr Signature signature(Op::signature);
    Vector kk[coefficients_of<Op, E>];
    for (int c = 0; c < coefficients_of<Op, E>; ++c) kk[c] = Vector{} + k[c * lanes];
    for (int h = 0; h < 2; ++h) {
        alignas(64) float from[operands][wide], to[operands][wide];
        for (int i = 0; i < signature.inputs; ++i)
            if (signature.input[i] != Kind::scalar) _mm512_store_ps(from[i], (__m512)widen(E{}, x[i], h));
        for (int v = 0; v < wide; v += lanes) {
            Vector in[operands] = {}, out[operands] = {};
            for (int i = 0; i < signature.inputs; ++i)
                if (signature.input[i] != Kind::scalar) in[i] = load(from[i] + v);
            combine_row<Op, E, false>(in, kk, out);
            for (int i = 0; i < signature.outputs; ++i)
                if (signature.output[i] != Kind::scalar) store(to[i] + v, out[i]);
        }
        for (int i = 0; i < signature.outputs; ++i)
            if (signature.output[i] != Kind::scalar) {
                const Floats v = (Floats)_mm512_load_ps(to[i]);
                narrow(E{}, v == v ? v : Floats{} + __builtin_nanf(""), h, y[i]);
            }
    }
}

template <class Op, class E>
HORO_HD void combine_line(const __m512i* x, const Guarded* k, const double* exact, bool always, __m512i* y) {
    constexpr Signature signature(Op::signature);
    FloatBits again{};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
        Guarded in[operands], out[operands];
        for (int i = 0; i < signature.inputs; ++i)
            if (signature.input[i] != Kind::scalar) in[i] = Guarded(widen(E{}, x[i], h), Guarded::element);
        combine_row<Op, E, true>(in, k, out);  // what the other form would make up for is guarded
        for (int i = 0; i < signature.outputs; ++i)
            if (signature.output[i] != Kind::scalar) {
                again |= doubt<E>(out[i]);
                narrow(E{}, out[i].v, h, y[i]);
            }
    }
    if (__builtin_expect(always | (_mm512_movepi32_mask((__m512i)again) != 0), 0)) {
        __m512i from[operands], to[operands];
        for (int i = 0; i < signature.inputs; ++i)
            if (signature.input[i] != Kind::scalar) from[i] = x[i];
        combine_exactly<Op, E>(from, exact, to);
        for (int i = 0; i < signature.outputs; ++i)
            if (signature.output[i] != Kind::scalar) y[i] = to[i];
    }
}

template <class Op, class E>
void combine_lines(const Tile<E>& tile) {
    constexpr Signature signature(Op::signature);
    const Tile<E> t = tile;
    const __mmask32 part = (1u << t.dim % pair) - 1;  // of the last line, if it is not whole
    alignas(64) float rounded[coefficients_of<Op, E>][lanes];
    __mmask8 extreme = 0;
    OutRows<E> out[operands];
    open_rows<Op>(t, out);
    for (int64_t row = t.combine_from; row < t.combine_to; ++row) {
        if (row % lanes == 0 || row == t.combine_from) {
            extreme = 0;
            for (int c = 0; c < coefficients_of<Op, E>; ++c) {
                const Vector v = t.coefficients[row / lanes * coefficients_of<Op, E> + c];
                const __m512d size = _mm512_abs_pd((__m512d)v), none = _mm512_setzero_pd();
                store(rounded[c], v);
                extreme |= _mm512_cmp_pd_mask(size, (__m512d)(Vector{} + 0x1p100), _CMP_NLE_UQ);
                extreme |= _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(size, none, _CMP_NEQ_UQ), size,
                                                   (__m512d)(Vector{} + 0x1p-100), _CMP_LT_OQ);
            }
        }
        const E* p[operands];
        for (int i = 0; i < signature.inputs; ++i) p[i] = t.in[i] + row * t.in_stride[i];
        put_times<Op>(t, row, out);
        const double* const exact =
            reinterpret_cast<const double*>(t.coefficients + row / lanes * coefficients_of<Op, E>) +
            row % lanes;
        const bool always = extreme >> (row % lanes) & 1;
        Guarded k[coefficients_of<Op, E>];
        for (int c = 0; c < coefficients_of<Op, E>; ++c)
            k[c] = Guarded(Floats{} + rounded[c][row % lanes], Guarded::coefficient);
        __m512i x[operands], y[operands];
        for (int64_t j = 0; j < t.dim; j += pair) {
            const bool whole = j + pair <= t.dim;
            for (int i = 0; i < signature.inputs; ++i)
                if (signature.input[i] != Kind::scalar)
                    x[i] = whole ? _mm512_loadu_si512(p[i] + j) : _mm512_maskz_loadu_epi16(part, p[i] + j);
            combine_line<Op, E>(x, k, exact, always, y);
            for (int i = 0; i < signature.outputs; ++i)
                if (signature.output[i] != Kind::scalar) {
                    if (whole)
                        out[i].put(j, {y[i]});
                    else
                        out[i].put_last(j, {y[i]}, t.dim - j);
                }
        }
        next_rows<Op>(out);
    }
    close_rows<Op>(out);
}

template <class Op, class E>
constexpr WideKernels<E> kernels() {
    WideKernels<E> k = wide_kernels<Op, E>();
    if constexpr (combines<Op>()) k.combine_lines = combine_lines<Op, E>;
    return k;
}

#define HORO_SHORT_KERNELS(Op) {kernels<Op, ShortBf16>(), kernels<Op, ShortF16>()},

}  // namespace

extern const ShortKernels HORO_OF_FAMILY(short_, HORO_ROW_FAMILY)[];
const ShortKernels HORO_OF_FAMILY(short_, HORO_ROW_FAMILY)[] = {
    HORO_OF_FAMILY(HORO_ROWS_, HORO_ROW_FAMILY)(HORO_SHORT_KERNELS)};

}  // namespace horo::HORO_ISA_NAMESPACE::rows
#endif
