// Operations written once, with the gradient derived from them. A formula is one struct:
//
//   struct Name : Formula {
//       static constexpr const char* name, *signature, *doc;  // as in row_op.h
//       static constexpr int vectors;         // linear in the inputs, e.g. x, y and y - x
//       static constexpr int terms;           // so many of them, the first, make up the output row
//       static constexpr Product products[];  // of two vectors each; the first `dots` compensated
//       // one coordinate of the vectors, and the gradient by the vectors turned into one by the inputs
//       template <class V> static void span(const V* in, V* b);
//       template <class V> static void pull(const V* in, const V* t, V* out);
//       // from the products to the coefficients of the terms and the numbers of the result
//       template <class Row> static void evaluate(Row& row);
//   };
//
// Apply<Name> is the operation, Gradient<Name> its vector-Jacobian product. `evaluate` runs on plain numbers
// in the first and on numbers with derivatives in the second, so what it computes must have stable
// derivatives too: coefficients as a constant plus a small term, gaps instead of 1 - c|x|^2, analytic
// functions of squares.
#pragma once
#include "geometry/double_double.h"
#include "geometry/row_op.h"

namespace horo {

// A product of two vectors, and the position of one among the sums.
struct Product {
    int left, right;
};
template <int i>
struct Index {};

struct Formula {
    static constexpr bool precise = false;
    static constexpr bool refined = false;  // if it is, a Determinant of two of the vectors is to be given
    static constexpr Determinant determinant{};
    static constexpr bool negated = false;  // the first parameter is kappa = -c
    static constexpr bool times = false;    // the first numbers of ambient inputs are read
    static constexpr int dots = 0;
    // The determinants of vectors that may be nearly parallel, where the value hangs on the angle alone: a
    // gradient by the three products would be a difference of equal terms, by these it is made of what is
    // across.
    static constexpr Determinant angles[] = {{-1, -1, -1}};  // none
    // Whether that difference does not show where numbers are stored in less than double. It does where the
    // gradient along is much smaller than that across, as of tangents along a ray.
    static constexpr bool plain_angles = false;
    static constexpr const char* kinks = "";  // where the gradient is a convention
};

// ---- Common sets of vectors: of the n row inputs from input `at` on

// the inputs themselves
template <int at, int n>
struct Rows : Formula {
    static constexpr int vectors = n;
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        for (int i = 0; i < n; ++i) b[i] = in[at + i];
    }
    template <class V>
    HORO_HD static void pull(const V*, const V* t, V* out) {
        for (int i = 0; i < n; ++i) out[at + i] = t[i];
    }
};

// x, y - x, y and the other inputs
template <int at, int n>
struct Differences : Formula {
    static constexpr int vectors = n + 1;
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[at];
        b[1] = in[at + 1] - in[at];
        for (int i = 1; i < n; ++i) b[i + 1] = in[at + i];
    }
    template <class V>
    HORO_HD static void pull(const V*, const V* t, V* out) {
        out[at] = t[0] - t[1];
        out[at + 1] = t[1] + t[2];
        for (int i = 2; i < n; ++i) out[at + i] = t[i + 1];
    }
};

// x, x + y, y and the other inputs
template <int at, int n>
struct Totals : Formula {
    static constexpr int vectors = n + 1;
    template <class V>
    HORO_HD static void span(const V* in, V* b) {
        b[0] = in[at];
        b[1] = in[at] + in[at + 1];
        for (int i = 1; i < n; ++i) b[i + 1] = in[at + i];
    }
    template <class V>
    HORO_HD static void pull(const V*, const V* t, V* out) {
        out[at] = t[0] + t[1];
        out[at + 1] = t[1] + t[2];
        for (int i = 2; i < n; ++i) out[at + i] = t[i + 1];
    }
};

// ---- Numbers with derivatives

// The derivatives that are not identically zero, which `mask` names, lie packed in `slope`.
template <class V, unsigned mask>
struct Dual {
    static constexpr int count = __builtin_popcount(mask);
    V value;
    V slope[count];
};

HORO_HD constexpr int packed(unsigned mask, int i) { return __builtin_popcount(mask & ((1u << i) - 1)); }

template <class V>
HORO_HD V value_of(V x) {
    return x;
}
template <class V, unsigned m>
HORO_HD V value_of(const Dual<V, m>& x) {
    return x.value;
}

// A function of x: its value and derivative.
template <class V, unsigned m>
HORO_HD Dual<V, m> chain(V value, V by_x, const Dual<V, m>& x) {
    Dual<V, m> r;
    r.value = value;
    for (int i = 0; i < Dual<V, m>::count; ++i) r.slope[i] = by_x * x.slope[i];
    return r;
}

template <int i, class V, unsigned a, unsigned b>
HORO_HD void chain_slopes(V by_x, const Dual<V, a>& x, V by_y, const Dual<V, b>& y, Dual<V, (a | b)>& r) {
    if constexpr ((a | b) >> i) {
        constexpr bool in_a = a >> i & 1, in_b = b >> i & 1;
        if constexpr (in_a && in_b)
            r.slope[packed(a | b, i)] = by_x * x.slope[packed(a, i)] + by_y * y.slope[packed(b, i)];
        else if constexpr (in_a)
            r.slope[packed(a | b, i)] = by_x * x.slope[packed(a, i)];
        else if constexpr (in_b)
            r.slope[packed(a | b, i)] = by_y * y.slope[packed(b, i)];
        chain_slopes<i + 1>(by_x, x, by_y, y, r);
    }
}
template <class V, unsigned a, unsigned b>
HORO_HD Dual<V, (a | b)> chain(V value, V by_x, const Dual<V, a>& x, V by_y, const Dual<V, b>& y) {
    Dual<V, (a | b)> r;
    r.value = value;
    chain_slopes<0>(by_x, x, by_y, y, r);
    return r;
}

template <class V, unsigned a, unsigned b>
HORO_HD auto operator+(const Dual<V, a>& x, const Dual<V, b>& y) {
    return chain(x.value + y.value, V{} + 1.0, x, V{} + 1.0, y);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto operator-(const Dual<V, a>& x, const Dual<V, b>& y) {
    return chain(x.value - y.value, V{} + 1.0, x, V{} - 1.0, y);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto operator*(const Dual<V, a>& x, const Dual<V, b>& y) {
    return chain(x.value * y.value, y.value, x, x.value, y);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto operator/(const Dual<V, a>& x, const Dual<V, b>& y) {
    const V i = 1.0 / y.value, q = x.value * i;
    return chain<V>(x.value / y.value, i, x, -q * i, y);
}
template <class V, unsigned m>
HORO_HD auto operator-(const Dual<V, m>& x) {
    return chain<V>(-x.value, V{} - 1.0, x);
}
template <class V, unsigned m>
HORO_HD auto operator+(const Dual<V, m>& x, double k) {
    return chain<V>(x.value + k, V{} + 1.0, x);
}
template <class V, unsigned m>
HORO_HD auto operator+(double k, const Dual<V, m>& x) {
    return x + k;
}
template <class V, unsigned m>
HORO_HD auto operator-(const Dual<V, m>& x, double k) {
    return x + -k;
}
template <class V, unsigned m>
HORO_HD auto operator-(double k, const Dual<V, m>& x) {
    return chain<V>(k - x.value, V{} - 1.0, x);
}
template <class V, unsigned m>
HORO_HD auto operator*(const Dual<V, m>& x, double k) {
    return chain<V>(x.value * k, V{} + k, x);
}
template <class V, unsigned m>
HORO_HD auto operator*(double k, const Dual<V, m>& x) {
    return x * k;
}
template <class V, unsigned m>
HORO_HD auto operator/(double k, const Dual<V, m>& x) {
    const V i = 1.0 / x.value;
    return chain<V>(k / x.value, -k * i * i, x);
}

template <class K, class V, class W>  // W is V; two names make the overload for Dual the more special one
HORO_HD V pick(K mask, V yes, W no) {
    return choose<V>(mask, yes, no);
}
template <int i, class K, class V, unsigned a, unsigned b>
HORO_HD void pick_slopes(K mask, const Dual<V, a>& yes, const Dual<V, b>& no, Dual<V, (a | b)>& r) {
    if constexpr ((a | b) >> i) {
        constexpr bool in_a = a >> i & 1, in_b = b >> i & 1;
        V x{}, y{};
        if constexpr (in_a) x = yes.slope[packed(a, i)];
        if constexpr (in_b) y = no.slope[packed(b, i)];
        if constexpr (in_a || in_b) r.slope[packed(a | b, i)] = choose<V>(mask, x, y);
        pick_slopes<i + 1>(mask, yes, no, r);
    }
}
template <class K, class V, unsigned a, unsigned b>
HORO_HD Dual<V, (a | b)> pick(K mask, const Dual<V, a>& yes, const Dual<V, b>& no) {
    Dual<V, (a | b)> r;
    r.value = choose<V>(mask, yes.value, no.value);
    pick_slopes<0>(mask, yes, no, r);
    return r;
}

// x where the mask says so, else zero; and the other way round, with another constant than zero
template <class K, class V>
HORO_HD V only(K mask, V x) {
    return choose<V>(mask, x, V{});
}
template <class K, class V, unsigned m>
HORO_HD Dual<V, m> only(K mask, const Dual<V, m>& x) {
    return pick(mask, x, Dual<V, m>{});
}
template <class K, class V>
HORO_HD V unless(K mask, V x, double otherwise = 0) {
    return choose<V>(mask, V{} + otherwise, x);
}
template <class K, class V, unsigned m>
HORO_HD Dual<V, m> unless(K mask, const Dual<V, m>& x, double otherwise = 0) {
    return pick(mask, Dual<V, m>{V{} + otherwise, {}}, x);
}

// 1/x, and 0 with derivative 0 at zero
template <class V>
HORO_HD V inverse_or_zero(V x) {
    return choose<V>(x == 0.0, V{}, 1.0 / x);
}
template <class V, unsigned m>
HORO_HD auto inverse_or_zero(const Dual<V, m>& x) {
    const V i = inverse_or_zero(x.value);
    return chain<V>(i, -i * i, x);
}

// |x|, derivative 0 at zero
template <class V>
HORO_HD V absolute(V x) {
    return choose<V>(x < 0.0, -x, x);
}
template <class V, unsigned m>
HORO_HD auto absolute(const Dual<V, m>& x) {
    const V one = V{} + 1.0;
    return chain<V>(absolute(x.value), choose<V>(x.value < 0.0, -one, choose<V>(x.value == 0.0, V{}, one)),
                    x);
}

// The derivatives of one expression with the value of an equal one.
template <class V, class W>
HORO_HD V with_value(V, W value) {
    return value;
}
template <class V, unsigned m, class W>
HORO_HD Dual<V, m> with_value(Dual<V, m> slopes, const W& value) {
    slopes.value = value_of(value);
    return slopes;
}

// ---- Functions: of plain numbers, and with their derivatives

HORO_HD double root(double x) { return __builtin_sqrt(x); }
template <class V>
HORO_HD V root(V x) {
    return square_root(x);
}
// Derivative zero, by convention, at zero.
template <class V, unsigned m>
HORO_HD auto root(const Dual<V, m>& x) {
    const V r = square_root(x.value);
    return chain<V>(r, choose<V>(x.value == 0.0, V{}, 0.5 / r), x);
}

// asinh(z)/z at w = z^2
template <class V>
HORO_HD V asinh_ratio(V w) {
    const Asinh<V> p = asinh_fraction(w);
    return p.numerator / p.denominator;
}
template <class V, unsigned m>
HORO_HD auto asinh_ratio(const Dual<V, m>& w) {
    const AsinhParts<V> p = asinh_parts(w.value);
    return chain<V>(p.ratio, -0.5 * p.difference, w);
}

// asinh(sqrt(w))
template <class V>
HORO_HD V asinh_root(V w) {
    return asinh_fraction(w).angle;
}
template <class V, unsigned m>
HORO_HD auto asinh_root(const Dual<V, m>& w) {
    const Asinh<V> p = asinh_fraction(w.value);
    return chain<V>(p.angle, 0.5 / (square_root(w.value) * p.root), w);
}

// tanh(t)/t and 1/cosh(t)^2 at w = t^2
template <class V>
HORO_HD V tanh_ratio(V w) {
    return tanh_parts(w).ratio;
}
template <class V, unsigned m>
HORO_HD auto tanh_ratio(const Dual<V, m>& w) {
    const TanhParts<V> p = tanh_parts(w.value);
    return chain<V>(p.ratio, -0.5 * p.difference, w);
}
// tanh(k t)/t, from k and w = t^2: unlike k tanh_ratio(k^2 w), its derivative by k does not cancel for large
// t.
template <class V>
HORO_HD V tanh_multiple(V k, V w) {
    return k * tanh_parts<V>(k * k * w).ratio;
}
template <class V, unsigned a, unsigned b>
HORO_HD auto tanh_multiple(const Dual<V, a>& k, const Dual<V, b>& w) {
    const V k2 = k.value * k.value;
    const TanhParts<V> p = tanh_parts<V>(k2 * w.value);
    return chain<V>(k.value * p.ratio, p.sech2, k, -0.5 * k2 * k.value * p.difference, w);
}
template <class V>
HORO_HD V sech2(V w) {
    return tanh_parts(w).sech2;
}
template <class V, unsigned m>
HORO_HD auto sech2(const Dual<V, m>& w) {
    const TanhParts<V> p = tanh_parts(w.value);
    return chain<V>(p.sech2, -p.sech2 * p.ratio, w);
}

// sinh(t)/t and cosh(t) at w = t^2. The parts may be given: where several are needed, all before the first
// derivatives, which would have to wait in registers.
template <class V>
HORO_HD V sinh_ratio(V, const SinhParts<V>& p) {
    return p.ratio;
}
template <class V, unsigned m>
HORO_HD auto sinh_ratio(const Dual<V, m>& w, const SinhParts<V>& p) {
    return chain<V>(p.ratio, 0.5 * p.difference, w);
}
template <class W>
HORO_HD auto sinh_ratio(const W& w) {
    return sinh_ratio(w, sinh_parts(value_of(w)));
}
template <class V>
HORO_HD V cosh_root(V, const SinhParts<V>& p) {
    return p.cosh;
}
template <class V, unsigned m>
HORO_HD auto cosh_root(const Dual<V, m>& w, const SinhParts<V>& p) {
    return chain<V>(p.cosh, 0.5 * p.ratio, w);
}
template <class W>
HORO_HD auto cosh_root(const W& w) {
    return cosh_root(w, sinh_parts(value_of(w)));
}

// sin(t)/t and cos(t) at w = t^2; likewise.
template <class V>
HORO_HD V sin_ratio(V, const SineParts<V>& p) {
    return p.ratio;
}
template <class V, unsigned m>
HORO_HD auto sin_ratio(const Dual<V, m>& w, const SineParts<V>& p) {
    return chain<V>(p.ratio, -0.5 * p.difference, w);
}
template <class W>
HORO_HD auto sin_ratio(const W& w) {
    return sin_ratio(w, sine_parts(value_of(w)));
}
template <class V>
HORO_HD V cos_root(V, const SineParts<V>& p) {
    return p.cos;
}
template <class V, unsigned m>
HORO_HD auto cos_root(const Dual<V, m>& w, const SineParts<V>& p) {
    return chain<V>(p.cos, -0.5 * p.ratio, w);
}
template <class W>
HORO_HD auto cos_root(const W& w) {
    return cos_root(w, sine_parts(value_of(w)));
}

// atan(z)/z at w = z^2
template <class V>
HORO_HD V atan_ratio(V w) {
    return atan_parts(w).ratio;
}
template <class V, unsigned m>
HORO_HD auto atan_ratio(const Dual<V, m>& w) {
    const AtanParts<V> p = atan_parts(w.value);
    return chain<V>(p.ratio, -0.5 * p.difference, w);
}

// The angle in [0, pi] of a point with the given height >= 0 and width. Derivative zero, by convention, at
// (0, 0).
template <class V, class W>  // W is V, as for pick
HORO_HD V angle_of(V height, W width) {
    const V size = choose<V>(width < 0.0, -width, width);
    const auto steep = height > size;
    const V z =
        choose<V>(steep, size, height) / choose<V>(steep, height, choose<V>(size == 0.0, V{} + 1.0, size));
    const V acute = z * atan_parts<V>(z * z).ratio;
    const V half = choose<V>(steep, 1.5707963267948966 - acute, acute);
    return choose<V>(width < 0.0, 3.141592653589793 - half, half);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto angle_of(const Dual<V, a>& height, const Dual<V, b>& width) {
    const V square = height.value * height.value + width.value * width.value;
    const V i = choose<V>(square == 0.0, V{}, 1.0 / square);
    return chain<V>(angle_of(height.value, width.value), width.value * i, height, -height.value * i, width);
}

// atan(sqrt(p/q)) / sqrt(p) for p, q >= 0: 1/sqrt(q) at p = 0. Derivative by q zero, by convention, at q = 0.
template <class V, class W>
HORO_HD V angle_ratio(V p, W q) {
    const auto steep = p > q;
    const V large = choose<V>(steep, p, q);
    const V w = choose<V>(steep, q, p) / large, ratio = atan_parts(w).ratio;
    return choose<V>(steep, 1.5707963267948966 - square_root(w) * ratio, ratio) / square_root(large);
}
template <class V, unsigned a, unsigned b>
HORO_HD auto angle_ratio(const Dual<V, a>& p, const Dual<V, b>& q) {
    const V value = angle_ratio(p.value, q.value), root_q = square_root(q.value);
    const auto steep = p.value > q.value;
    const V flat = -0.5 * atan_parts<V>(p.value / q.value).difference / (q.value * root_q);
    const V by_p = choose<V>(steep, 0.5 * (root_q / (p.value + q.value) - value) / p.value, flat);
    const V by_q = choose<V>(q.value == 0.0, V{}, -0.5 / (root_q * (p.value + q.value)));
    return chain<V>(value, by_p, p, by_q, q);
}

// The angle in [0, pi/2] whose sine is u >= 0; pi/2, with derivative 0, from u = 1 on.
template <class V>
HORO_HD V asin_of(V u) {
    const auto whole = u >= 1.0;
    const V s = choose<V>(whole, V{} + 1.0, u);
    return angle_of(s, square_root<V>((1.0 - s) * (1.0 + s)));
}
template <class V, unsigned m>
HORO_HD Dual<V, m> asin_of(const Dual<V, m>& u) {
    const Dual<V, m> angle =
        chain<V>(asin_of(u.value), 1.0 / square_root<V>((1.0 - u.value) * (1.0 + u.value)), u);
    return pick(u.value >= 1.0, Dual<V, m>{angle.value, {}}, angle);
}

// ---- What `evaluate` reads and writes

template <class F, int xx, class V>
HORO_HD V gram_of(const Solve<V>& row, int yy, int xy) {
    if constexpr (F::refined) {
        static_assert(xx == F::determinant.xx, "the vector that the row was read once more for");
        if (row.across) return refined_determinant<F>(row);
    }
    return gram(row.sum[xx], row.sum[yy], row.sum[xy]);
}

// Plain numbers.
template <class F, class V>
struct Values {
    const Solve<V>& row;

    template <int i>
    HORO_HD V sum(Index<i>) const {
        return row.sum[i].hi;
    }
    // the number that input i is
    template <int i>
    HORO_HD V number(Index<i>) const {
        return row.scalar[i];
    }
    HORO_HD double curvature() const { return F::negated ? -row.param[0] : row.param[0]; }
    HORO_HD double option(int i) const { return row.param[i]; }
    // 1 - c s
    template <int i>
    HORO_HD V gap(Index<i>) const {
        return horo::gap(curvature(), row.sum[i]);
    }
    // 1 - s
    template <int i>
    HORO_HD V unit_gap(Index<i>) const {
        return horo::gap(1.0, row.sum[i]);
    }
    // |x|^2 |y|^2 - <x,y>^2, never negative
    template <int xx, int yy, int xy>
    HORO_HD V gram(Index<xx>, Index<yy>, Index<xy>) const {
        return gram_of<F, xx>(row, yy, xy);
    }
    HORO_HD void coefficient(int i, V v) { row.k[i] = v; }
    HORO_HD void constant(int i, double v) { row.k[i] = V{} + v; }
    HORO_HD void result(int j, V v) { row.result[j] = v; }
};

template <class F>
struct FormulaLayout {
    static constexpr Signature signature{F::signature};
    static constexpr int sums = sizeof F::products / sizeof(Product);
    static constexpr bool has_row = signature.output[0] != Kind::scalar;
    // The derivative by a number that is not read, as a point's time, is zero.
    static constexpr bool read(int i) {
        return signature.input[i] == Kind::scalar || (F::times && signature.input[i] == Kind::ambient);
    }
    // The position of input i's number among the derivatives; of the curvature for i = inputs.
    static constexpr int place(int i) {
        int at = sums;
        for (int j = 0; j < i; ++j) at += read(j);
        return at;
    }
    static constexpr int numbers = place(signature.inputs) + 1;
    // The position of the determinant that has |x|^2 and |y|^2 as sums xx and yy; the number of derivatives
    // if it is not one of F::angles.
    static constexpr int angles = F::angles[0].xx < 0 ? 0 : sizeof F::angles / sizeof(Determinant);
    static constexpr int slopes = numbers + angles;
    static constexpr int angle(int xx, int yy) {
        for (int i = 0; i < angles; ++i)
            if (F::angles[i].xx == xx && F::angles[i].yy == yy) return numbers + i;
        return slopes;
    }
};

// Numbers with derivatives by the sums, the inputs' numbers, the curvature and F::angles; gathers the
// gradient of the output against the cotangent.
template <class F, class V>
struct Slopes {
    using L = FormulaLayout<F>;
    static constexpr unsigned by_curvature = 1u << L::place(L::signature.inputs);
    const Solve<V>& row;
    V total[L::slopes];

    template <int i>
    HORO_HD Dual<V, (1u << i)> sum(Index<i>) const {
        return {row.sum[i].hi, {V{} + 1.0}};
    }
    template <int i>
    HORO_HD Dual<V, (1u << L::place(i))> number(Index<i>) const {
        return {row.scalar[i], {V{} + 1.0}};
    }
    static constexpr double sign = F::negated ? -1 : 1;
    HORO_HD Dual<V, by_curvature> curvature() const { return {V{} + sign * row.param[0], {V{} + sign}}; }
    HORO_HD double option(int i) const { return row.param[i]; }
    template <int i>
    HORO_HD Dual<V, (1u << i | by_curvature)> gap(Index<i>) const {
        const double c = sign * row.param[0];
        return {horo::gap(c, row.sum[i]), {V{} - c, -sign * row.sum[i].hi}};
    }
    template <int i>
    HORO_HD Dual<V, (1u << i)> unit_gap(Index<i>) const {
        return {horo::gap(1.0, row.sum[i]), {V{} - 1.0}};
    }
    template <int xx, int yy, int xy>
    HORO_HD auto gram(Index<xx> x, Index<yy> y, Index<xy> m) const {
        constexpr int angle = L::angle(xx, yy);
        const V value = gram_of<F, xx>(row, yy, xy);
        if constexpr (angle < L::slopes) {
            return Dual<V, (1u << angle)>{value, {V{} + 1.0}};
        } else {
            const auto g = sum(x) * sum(y) - sum(m) * sum(m);
            return chain<V>(value, V{} + 1.0, g);
        }
    }
    template <int i, unsigned m>
    HORO_HD void gather(V weight, const Dual<V, m>& v) {
        if constexpr (m >> i) {
            if constexpr (m >> i & 1) total[i] += weight * v.slope[packed(m, i)];
            gather<i + 1>(weight, v);
        }
    }
    template <unsigned m>
    HORO_HD void coefficient(int i, const Dual<V, m>& v) {
        row.k[i] = v.value;
        gather<0>(row.sum[L::sums + i].hi, v);
    }
    HORO_HD void constant(int i, double v) { row.k[i] = V{} + v; }
    template <unsigned m>
    HORO_HD void result(int, const Dual<V, m>& v) {
        gather<0>(row.scalar[L::signature.inputs], v);
    }
};

// ---- Names of the derived gradient

struct Text {
    char data[512] = {};
    int size = 0;
    constexpr void put(char c) { data[size++] = c; }
    constexpr void put(const char* s) {
        while (*s) put(*s++);
    }
    constexpr Text() {}

    static constexpr Text name(const char* forward) {
        Text t;
        t.put(forward);
        t.put(".vjp");
        return t;
    }
    // "x:row y:row; c -> out:row" to "x:row y:row g:row; c -> g_x:row g_y:row g_c:scalar"; the cotangent of
    // an operation with an input g is h.
    static constexpr Text signature(const char* forward) {
        const char *semicolon = forward, *arrow = forward;
        while (*semicolon != ';') ++semicolon;
        for (arrow = semicolon; *arrow != '>'; ++arrow) {
        }
        bool taken = false;
        for (const char* at = forward; at < semicolon; ++at)
            taken |= *at == 'g' && at[1] == ':' && (at == forward || at[-1] == ' ');
        const char* kind = arrow;
        while (*kind != ':') ++kind;
        Text t;
        for (const char* at = forward; at < semicolon; ++at) t.put(*at);
        t.put(taken ? " h" : " g");
        for (const char* at = kind; *at && *at != ' '; ++at) t.put(*at);
        for (const char* at = semicolon; at <= arrow; ++at) t.put(*at);
        for (const char* at = forward; at < semicolon; ++at) {
            if (at != forward && at[-1] != ' ') {
                t.put(*at);
            } else {
                t.put(" g_");
                t.put(*at);
            }
        }
        t.put(" g_");
        const char* at = semicolon + 1;
        while (*at == ' ') ++at;
        for (; *at != ' ' && *at != ':'; ++at) t.put(*at);
        t.put(":scalar");
        // the copied inputs are parted by two blanks
        Text clean;
        for (int i = 0; i < t.size; ++i)
            if (!(t.data[i] == ' ' && t.data[i + 1] == ' ')) clean.put(t.data[i]);
        return clean;
    }
    static constexpr Text doc(const char* forward, const char* kinks) {
        Text t;
        t.put("Gradient of the output of ");
        t.put(forward);
        t.put(" against a cotangent, by every input and by the curvature");
        t.put(*kinks ? "; zero by convention " : "");
        t.put(kinks);
        t.put(". Range: as there.");
        return t;
    }
};

// ---- The operations

// Not inlined on the CPU, so that the storage types of one instruction set share it.
#if defined(__CUDACC__)
#define HORO_SHARED HORO_HD
#else
#define HORO_SHARED __attribute__((noinline)) static
#endif

template <class F, class V>
HORO_SHARED void evaluate_row(const Solve<V>& row) {
    Values<F, V> values{row};
    F::evaluate(values);
}
template <class Op, class V>
HORO_SHARED void differentiate_row(const Solve<V>& row) {
    Op::differentiate(row);
}

template <class F>
struct Apply : RowOperation {
    static constexpr const char* name = F::name;
    static constexpr const char* signature = F::signature;
    static constexpr const char* doc = F::doc;
    static constexpr bool precise = F::precise, refined = F::refined;
    static constexpr Determinant determinant = F::determinant;
    static constexpr int dots = F::dots, sums = FormulaLayout<F>::sums;
    static constexpr int coefficients = F::terms > 0 ? F::terms : 1;

    template <int k, class V, class Acc>
    HORO_HD static void add_products(const V* b, Acc& sum) {
        if constexpr (k < sums) {
            constexpr Product p = F::products[k];
            if constexpr (k < dots)
                sum.dot(k, b[p.left], b[p.right]);
            else
                sum.add(k, b[p.left] * b[p.right]);
            add_products<k + 1>(b, sum);
        }
    }
    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        V b[F::vectors];
        F::span(in, b);
        add_products<0>(b, sum);
    }
    template <class V>
    HORO_HD static void sides(const V* in, V& x, V& y) {
        V b[F::vectors];
        F::span(in, b);
        x = b[F::products[determinant.xx].left];
        y = b[F::products[determinant.yy].left];
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        evaluate_row<F>(row);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        if constexpr (FormulaLayout<F>::has_row) {
            V b[F::vectors];
            F::span(in, b);
            V sum = k[0] * b[0];
            for (int i = 1; i < F::terms; ++i) sum += k[i] * b[i];
            out[0] = sum;
        }
    }
};

// How far the gradient by x of |x|^2 |y|^2 - <x,y>^2 reaches and the t of 2|y|^2 (x - t y), which it is.
template <class V>
HORO_HD void angle_slope(V weight, const Sum<V>& yy, const Sum<V>& xy, V* k) {
    const auto none = yy.hi == 0.0;
    const Sum<V> t = xy / yy;
    k[0] = 2.0 * weight * yy.hi;
    k[1] = choose<V>(none, V{}, t.hi);
    k[2] = choose<V>(none, V{}, t.lo);
}

template <class F>
struct Gradient : RowOperation {
    using L = FormulaLayout<F>;
    static constexpr Text name_text = Text::name(F::name);
    static constexpr Text signature_text = Text::signature(F::signature);
    static constexpr Text doc_text = Text::doc(F::name, F::kinks);
    static constexpr const char* name = name_text.data;
    static constexpr const char* signature = signature_text.data;
    static constexpr const char* doc = doc_text.data;
    static constexpr bool precise = F::precise, refined = F::refined;
    static constexpr Determinant determinant = F::determinant;
    static constexpr int terms = L::has_row ? F::terms : 0;
    static constexpr int dots = F::dots, sums = L::sums + terms;
    static constexpr int angles = terms + L::sums, coefficients = angles + 6 * L::angles;
    static constexpr int plain_coefficients = F::plain_angles ? angles : 0;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        V b[F::vectors];
        F::span(in, b);
        Apply<F>::template add_products<0>(b, sum);
        for (int i = 0; i < terms; ++i) sum.add(L::sums + i, in[L::signature.inputs] * b[i]);
    }
    template <class V>
    HORO_HD static void sides(const V* in, V& x, V& y) {
        Apply<F>::sides(in, x, y);
    }
    template <int i, class V>
    HORO_HD static void finish(const Slopes<F, V>& s) {
        if constexpr (i < L::sums) {
            s.row.k[terms + i] = (F::products[i].left == F::products[i].right ? 2.0 : 1.0) * s.total[i];
            finish<i + 1>(s);
        }
    }
    template <int n, class V>
    HORO_HD static void finish_angles(Slopes<F, V>& s) {
        if constexpr (n < L::angles) {
            constexpr Determinant at = F::angles[n];
            const Sum<V>* sum = s.row.sum;
            const V weight = s.total[L::numbers + n];
            if (!F::plain_angles || is_double(s.row)) {
                V* k = s.row.k + angles + 6 * n;
                angle_slope(weight, sum[at.yy], sum[at.xy], k);
                angle_slope(weight, sum[at.xx], sum[at.xy], k + 3);
            } else {
                s.total[at.xx] += weight * sum[at.yy].hi;
                s.total[at.yy] += weight * sum[at.xx].hi;
                s.total[at.xy] -= 2.0 * weight * sum[at.xy].hi;
            }
            finish_angles<n + 1>(s);
        }
    }
    template <int i, class V>
    HORO_HD static void numbers(const Slopes<F, V>& s) {
        if constexpr (i <= L::signature.inputs) {
            constexpr bool read = i == L::signature.inputs || L::read(i);
            constexpr int place = L::place(i);
            if constexpr (read)
                s.row.result[i] = s.total[place];
            else
                s.row.result[i] = V{};
            numbers<i + 1>(s);
        }
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        differentiate_row<Gradient>(row);
    }
    template <class V>
    HORO_HD static void differentiate(const Solve<V>& row) {
        Slopes<F, V> slopes{row, {}};
        F::evaluate(slopes);
        finish_angles<0>(slopes);
        finish<0>(slopes);
        numbers<0>(slopes);
    }
    template <bool plain, int k, class V>
    HORO_HD static void spread(const V* b, const V* coefficient, V* t) {
        if constexpr (k < L::sums) {
            constexpr Product p = F::products[k];
            t[p.left] += coefficient[k] * b[p.right];
            if constexpr (p.left != p.right) t[p.right] += coefficient[k] * b[p.left];
            spread<plain, k + 1>(b, coefficient, t);
        } else if constexpr (!plain && k < L::sums + L::angles) {
            constexpr Determinant at = F::angles[k - L::sums];
            constexpr int x = F::products[at.xx].left, y = F::products[at.yy].left;
            const V* by = coefficient + L::sums + 6 * (k - L::sums);
            t[x] += by[0] * across_part(b[x], by[1], by[2], b[y]);
            t[y] += by[3] * across_part(b[y], by[4], by[5], b[x]);
            spread<plain, k + 1>(b, coefficient, t);
        }
    }
    template <bool plain, class V>
    HORO_HD static void combine_as(const V* in, const V* k, V* out) {
        V b[F::vectors], t[F::vectors] = {};
        F::span(in, b);
        spread<plain, 0>(b, k + terms, t);
        for (int i = 0; i < terms; ++i) t[i] += k[i] * in[L::signature.inputs];
        F::pull(in, t, out);
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        combine_as<false>(in, k, out);
    }
    template <class V>
    HORO_HD static void combine_plain(const V* in, const V* k, V* out) {
        combine_as<true>(in, k, out);
    }
};

}  // namespace horo
