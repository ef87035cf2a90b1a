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

// What an operation may override.
struct RowOperation {
    static constexpr bool precise = false;
};

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
};

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

}  // namespace horo
