// What a row operation is made of. An operation reduces its input rows to a few sums, solves for a few
// coefficients and combines the input rows with them. It is one struct:
//
//   struct Name : RowOperation {
//       static constexpr const char* name, *signature, *doc;  // signature: "x:row y:row; c -> out:row"
//       static constexpr int dots, sums, coefficients;
//       template <class V, class Acc> static void reduce(const V* in, Acc& sum);    // one coordinate's share
//       of the sums template <class V> static void solve(const Solve<V>& row);                  // scalar
//       mathematics of one row template <class V> static void combine(const V* in, const V* k, V* out);    //
//       one coordinate of the outputs
//   };
//
// V is double, or a vector of doubles: of rows in `solve`, of coordinates or rows elsewhere; so the code is
// branch-free. Operand kinds: `row` (dim coordinates), `ambient` (a time coordinate, then dim space
// coordinates), `scalar` (one number per row). in[i], out[j] are the coordinates of operand i, j (time
// excluded; unused for a scalar); the scalars and times are row.scalar[i] and row.result[j]. An operation
// whose name ends in ".vjp" is a vector-Jacobian product: its outputs may each be left out.
#pragma once
#include "geometry/math.h"

namespace horo {

// Where an operation has the sums of |x|^2 |y|^2 - <x,y>^2 for its vectors x, y: those of |x|^2, |y|^2 and
// <x,y>; with a difference d = y - x (sign 1) or d = y + x (sign -1) also those of |d|^2 and <x,d>.
struct Determinant {
    int xx, yy, xy;
    int dd = -1, xd = -1;
    double sign = 1;
};

// What an operation may override. precise: dots are compensated for float32 storage too. refined: instead,
// each row of float32 (or 16-bit) numbers is read once more for its determinant; the operation then says
//     static constexpr Determinant determinant;
//     template <class V> static void sides(const V* in, V& x, V& y);  // if not of the first two inputs
// tested: precise, but only where plain sums will not do; the operation then says
//     static constexpr unsigned derived;  // the sums that follow from others where they will do, a bit each
//     template <class V> static void derive(Sum<V>* sum);
//     // where they do; error: that of a plain sum relative to the sizes in it; false of NaN
//     template <class V> static auto certain(const Sum<V>* sum, const double* param, double error);
//     template <class V> static void combine_plain(const V* in, const V* k, V* out);  // `combine`, there
// plain_coefficients: if not 0, rows stored in less than double take `combine_plain` and only so many, the
// first, of the coefficients; `solve` puts into them what the others do.
// An engine may read rows once more, and compensate, of all rows (CUDA does) or where it has to (the CPU).
struct RowOperation {
    static constexpr bool precise = false;
    static constexpr bool refined = false;
    static constexpr bool tested = false;
    static constexpr int plain_coefficients = 0;
    // one coordinate of the vectors of the determinant
    template <class V>
    HORO_HD static void sides(const V* in, V& x, V& y) {
        x = in[0];
        y = in[1];
    }
};

// How many coefficients rows stored as T take.
template <class Op, class T>
constexpr int coefficients_of = sizeof(T) == 8 || Op::plain_coefficients == 0 ? Op::coefficients
                                                                              : Op::plain_coefficients;

// One coordinate of the outputs of a row stored as T that is not in doubt (plain) or may be.
template <class Op, class T, bool plain, class V>
HORO_HD void combine_row(const V* in, const V* k, V* out) {
    if constexpr (coefficients_of<Op, T> < Op::coefficients || (plain && Op::tested))
        Op::combine_plain(in, k, out);
    else
        Op::combine(in, k, out);
}

enum class Kind { row, ambient, scalar };

// A signature taken apart at compile time.
struct Signature {
    static constexpr int max_operands = 4;
    static constexpr int max_params = 6;
    int inputs = 0, params = 0, outputs = 0;
    Kind input[max_operands] = {};
    Kind output[max_operands] = {};

    constexpr explicit Signature(const char* text) {
        int part = 0;  // inputs, parameters, outputs
        for (const char* at = text; *at;) {
            if (*at == ';' || (*at == '-' && at[1] == '>')) {
                at += *at == ';' ? 1 : 2;
                ++part;
            } else if (*at == ' ') {
                ++at;
            } else {
                char kind = 0;
                for (; *at && *at != ' ' && *at != ';'; ++at)
                    if (*at == ':') kind = at[1];
                const Kind k = kind == 's' ? Kind::scalar : kind == 'a' ? Kind::ambient : Kind::row;
                if (part == 0) input[inputs++] = k;
                if (part == 1) ++params;
                if (part == 2) output[outputs++] = k;
            }
        }
    }
};

// What `solve` sees of one row and where it leaves its results.
template <class V>
struct Solve {
    const Sum<V>* sum;    // of `reduce`; the first `dots` of them are compensated
    const V* scalar;      // per input: the row's number, or its time coordinate
    const double* param;  // in the order of the signature
    V* k;                 // coefficients for `combine`
    V* result;            // per output: the row's number, or its time coordinate
    double rounding;      // unit roundoff of the storage
    const V* across;      // null, or of a row read once more: |w|^2 as in `across_step`
};

// Whether rows are stored in double, so that errors of its arithmetic are seen; the same for all of a call.
template <class V>
HORO_HD bool is_double(const Solve<V>& row) {
    return row.rounding < 0x1p-40;
}

// 1 - c s to the last bits, however close to zero: s is a compensated |x|^2.
template <class V>
HORO_HD V gap(double c, const Sum<V>& s) {
#if defined(HORO_HAS_FMA)
    return fused_subtract_from<V>(fused_subtract_from<V>(V{} + 1.0, V{} + c, s.hi), V{} + c, s.lo);
#else
    const Sum<V> p = two_product<V>(s.hi, V{} + c);
    return ((1.0 - p.hi) - p.lo) - c * s.lo;
#endif
}

// |x|^2 |y|^2 - <x,y>^2 >= 0 from compensated sums
template <class V>
HORO_HD V gram(const Sum<V>& xx, const Sum<V>& yy, const Sum<V>& xy) {
    const Sum<V> p = two_product<V>(xx.hi, yy.hi), q = two_product<V>(xy.hi, xy.hi);
    const V d = (p.hi - q.hi) + (p.lo - q.lo) + (xx.hi * yy.lo + xx.lo * yy.hi - 2.0 * xy.hi * xy.lo);
    return choose<V>(d < 0.0, V{}, d);
}

// The same from the part w of y across x: |x|^2 |w|^2. With w = (y - v x) - t x, v 0 or the sign so that
// the first difference is the shorter of y and d, t <x,.>/|x|^2 of that: an error of t goes along x, hence
// enters |w|^2 squared, and a fused w is as exact as each of its coordinates.
template <class Op, class V>
HORO_HD void across_aim(const Sum<V>* sum, V* k) {
    constexpr Determinant at = Op::determinant;
    const V xx = sum[at.xx].hi;
    V along = sum[at.xy].hi;
    k[0] = V{};
    if constexpr (at.dd >= 0) {
        const auto by_y = sum[at.yy].hi < sum[at.dd].hi;
        along = choose<V>(by_y, along, sum[at.xd].hi);
        k[0] = choose<V>(by_y, V{}, V{} + at.sign);
    }
    k[1] = choose<V>(xx == 0.0, V{}, along / xx);
}
template <class V>
HORO_HD V less_product(V c, V a, V b) {
#if defined(HORO_HAS_FMA)
    return fused_subtract_from<V>(c, a, b);
#else
    return c - a * b;
#endif
}

// y less t times x, to the last bits of what is left if they are parallel
template <class V>
HORO_HD V across_part(V y, V t_hi, V t_lo, V x) {
#if defined(HORO_HAS_FMA)
    return fused_subtract_from(fused_subtract_from(y, t_hi, x), t_lo, x);
#else
    const Sum<V> p = two_product(t_hi, x);
    return ((y - p.hi) - p.lo) - t_lo * x;
#endif
}

template <class Op, class V>
HORO_HD V across_step(const V* in, const V* k) {
    V x, y;
    Op::sides(in, x, y);
    if constexpr (Op::determinant.dd >= 0) y = less_product<V>(y, k[0], x);
    const V w = less_product<V>(y, k[1], x);
    return w * w;
}

// A determinant that is large enough for plain sums, with an error of `error` relative to the sizes in them:
// its own is then below 2^-36. So are those of |d|^2 and <x,d>, relative to |d|^2 and |x||d|, worked out from
// the other three. False of NaN.
template <class Op, class V>
HORO_HD auto determinant_is_certain(const Sum<V>* sum, double error) {
    constexpr Determinant at = Op::determinant;
    return gram(sum[at.xx], sum[at.yy], sum[at.xy]) >= 0x1p38 * error * (sum[at.xx].hi * sum[at.yy].hi);
}
template <class Op, class V>
HORO_HD void derive_differences(Sum<V>* sum) {
    constexpr Determinant at = Op::determinant;
    if constexpr (at.dd >= 0) {
        const V xx = sum[at.xx].hi, yy = sum[at.yy].hi, xy = at.sign * sum[at.xy].hi;
        sum[at.dd].hi = (xx - xy) + (yy - xy);
        sum[at.xd].hi = at.sign * (xy - xx);
    }
}
// |w|^2 of such a row
template <class Op, class V>
HORO_HD V certain_across(const Sum<V>* sum) {
    constexpr Determinant at = Op::determinant;
    const V xx = sum[at.xx].hi;
    return choose<V>(xx == 0.0, V{}, gram(sum[at.xx], sum[at.yy], sum[at.xy]) / xx);
}

// The determinant from what is across; what the error of t can make is zero.
template <class Op, class V>
HORO_HD V refined_determinant(const Solve<V>& row) {
    constexpr Determinant at = Op::determinant;
    V shorter = row.sum[at.yy].hi;
    if constexpr (at.dd >= 0) shorter = choose<V>(shorter < row.sum[at.dd].hi, shorter, row.sum[at.dd].hi);
    return choose<V>(*row.across < 0x1p-102 * shorter, V{}, row.sum[at.xx].hi * *row.across);
}

// The determinant of an operation's vectors, whichever way it was summed.
template <class Op, class V>
HORO_HD V determinant_of(const Solve<V>& row) {
    constexpr Determinant at = Op::determinant;
    const Sum<V>* sum = row.sum;
    if (row.across) return refined_determinant<Op>(row);
    const V by_y = gram(sum[at.xx], sum[at.yy], sum[at.xy]);
    if constexpr (at.dd < 0)
        return by_y;
    else  // it does not change from y to d; the shorter of them loses less
        return choose<V>(sum[at.yy].hi < sum[at.dd].hi, by_y, gram(sum[at.xx], sum[at.dd], sum[at.xd]));
}

}  // namespace horo
