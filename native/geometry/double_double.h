// Arithmetic on unevaluated pairs hi + lo (T. J. Dekker, 1971), for the few scalars of an operation that
// cancel too deeply for double. Relative error of each operation some 2^-104 of its larger operand.
#pragma once
#include "geometry/math.h"

namespace horo {

template <class V>
HORO_HD Sum<V> normalized(V hi, V lo) {
    const V s = hi + lo;
    return {s, lo - (s - hi)};
}

template <class V>
HORO_HD Sum<V> operator-(Sum<V> a) {
    return {-a.hi, -a.lo};
}

template <class V>
HORO_HD Sum<V> operator+(Sum<V> a, Sum<V> b) {
    const Sum<V> s = two_sum(a.hi, b.hi);
    return normalized<V>(s.hi, s.lo + (a.lo + b.lo));
}

template <class V>
HORO_HD Sum<V> operator-(Sum<V> a, Sum<V> b) {
    return a + -b;
}

template <class V>
HORO_HD Sum<V> operator*(Sum<V> a, Sum<V> b) {
    const Sum<V> p = two_product(a.hi, b.hi);
    return normalized<V>(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

template <class V>
HORO_HD Sum<V> operator/(Sum<V> a, Sum<V> b) {
    const V q = a.hi / b.hi;
    const Sum<V> p = two_product(q, b.hi);
    return normalized<V>(q, (((a.hi - p.hi) - p.lo) + (a.lo - q * b.lo)) / b.hi);
}

template <class V>
HORO_HD Sum<V> square_root(Sum<V> a) {
    const V r = square_root<V>(a.hi);
    const Sum<V> p = two_product(r, r);
    const V lo = (((a.hi - p.hi) - p.lo) + a.lo) / (2.0 * r);
    return normalized<V>(r, choose<V>(r == 0.0, V{}, lo));
}

template <class V>
HORO_HD Sum<V> exactly(V a) {
    return {a, V{}};
}

// For sums of a few products: a b, a + b with the parts left as they come, and both parts as one number.
template <class V>
HORO_HD Sum<V> times_number(Sum<V> a, V b) {
    const Sum<V> p = two_product(a.hi, b);
    return {p.hi, p.lo + a.lo * b};
}
template <class V>
HORO_HD Sum<V> add(Sum<V> a, Sum<V> b) {
    const Sum<V> s = two_sum(a.hi, b.hi);
    return {s.hi, s.lo + (a.lo + b.lo)};
}
template <class V>
HORO_HD V total(Sum<V> a) {
    return a.hi + a.lo;
}

}  // namespace horo
