// Every row operation through the C ABI. Values and gradients against the textbook definitions in quad
// precision; layout, aliasing, threading and NaN against the operation itself, bit for bit, so a new
// operation is tested for those by being there.
#include <quadmath.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"

namespace {

// ---- 16-bit storage, independent of the library's conversions: by the definition of the formats.

template <int digits, int least>  // bits of the significand; exponent of the last bit of subnormal numbers
struct Small {
    uint16_t bits;
    static constexpr int fraction = digits - 1, top = 15 - fraction;  // top: bits of the exponent
    static constexpr int bias = (1 << (top - 1)) - 1;

    Small() = default;
    explicit Small(double x) {
        const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
        const int infinity = ((1 << top) - 1) << fraction;
        if (std::isnan(x)) {
            bits = static_cast<uint16_t>(sign | infinity | (1 << (fraction - 1)));
            return;
        }
        int e = std::isinf(x) ? 0 : std::ilogb(x) - fraction;  // of zero: far below `least`
        if (x == 0 || e < least) e = least;
        const double n = std::nearbyint(std::ldexp(std::fabs(x), -e));  // times 2^e, to nearest even
        const double value = std::isinf(x) ? infinity : n + std::ldexp(e - least, fraction);
        bits = static_cast<uint16_t>(sign | static_cast<int>(std::fmin(value, infinity)));
    }
    operator double() const {
        const int e = (bits >> fraction) & ((1 << top) - 1), f = bits & ((1 << fraction) - 1);
        const double size = e == (1 << top) - 1 ? (f ? NAN : INFINITY)
                            : e == 0            ? std::ldexp(f, least)
                                                : std::ldexp(f + (1 << fraction), e - 1 + least);
        return bits & 0x8000 ? -size : size;
    }
    bool operator!=(const Small& other) const { return bits != other.bits; }
    static double ulp(double x) {
        return std::ldexp(1.0, std::max(x == 0 ? least : std::ilogb(x) - fraction, least));
    }
};
using Bf16 = Small<8, -133>;
using F16 = Small<11, -24>;

template <class T>
constexpr int32_t code() {
    return std::is_same_v<T, float>    ? HORO_F32
           : std::is_same_v<T, double> ? HORO_F64
           : std::is_same_v<T, Bf16>   ? HORO_BF16
                                       : HORO_F16;
}

using Quad = __float128;
using Row = std::vector<Quad>;

// ---- The operations as the library describes them

struct Operand {
    std::string name, kind;
    int64_t width(int64_t dim) const { return kind == "row" ? dim : kind == "ambient" ? dim + 1 : 1; }
};

struct Operation {
    int32_t id;
    std::string name;
    std::vector<Operand> in, out;
    std::vector<std::string> params;
    bool vjp() const { return name.size() > 4 && name.compare(name.size() - 4, 4, ".vjp") == 0; }
};

std::vector<std::string> words(const std::string& text) {
    std::vector<std::string> result(1);
    for (char c : text)
        if (c == ' ')
            result.emplace_back();
        else
            result.back() += c;
    for (size_t i = 0; i < result.size();)
        if (result[i].empty())
            result.erase(result.begin() + i);
        else
            ++i;
    return result;
}

Operation describe(int32_t id) {
    Operation op{id, horo_op_name(id), {}, {}, {}};
    const std::string s = horo_op_signature(id);
    const size_t semicolon = s.find(';'), arrow = s.find("->");
    const auto operands = [](const std::string& text) {
        std::vector<Operand> result;
        for (const std::string& w : words(text))
            result.push_back({w.substr(0, w.find(':')), w.substr(w.find(':') + 1)});
        return result;
    };
    op.in = operands(s.substr(0, semicolon));
    op.params = words(s.substr(semicolon + 1, arrow - semicolon - 1));
    op.out = operands(s.substr(arrow + 2));
    return op;
}

// What the second parameter is, where there is one (the eps of projx).
constexpr double second = 0.25;
// And the third (the n of rmsnorm).
constexpr double third = 4;

// ---- Textbook definitions

Quad dot(const Row& a, const Row& b) {
    Quad s = 0;
    for (size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
    return s;
}

Row times(Quad k, Row a) {
    for (Quad& v : a) v *= k;
    return a;
}

Row mobius_add(Quad c, const Row& x, const Row& y) {
    const Quad xx = dot(x, x), yy = dot(y, y), xy = dot(x, y), d = 1 + 2 * c * xy + c * c * xx * yy;
    Row out(x.size());
    for (size_t i = 0; i < x.size(); ++i)
        out[i] = ((1 + 2 * c * xy + c * yy) * x[i] + (1 - c * xx) * y[i]) / d;
    return out;
}

Row expmap0(Quad c, const Row& v) {
    const Quad n = sqrtq(c * dot(v, v));
    return n == 0 ? v : times(tanhq(n) / n, v);
}

Row logmap0(Quad c, const Row& x) {
    const Quad n = sqrtq(c * dot(x, x));
    return n == 0 ? x : times(atanhq(n) / n, x);
}

Quad lambda(Quad c, const Row& x) { return 2 / (1 - c * dot(x, x)); }

Row logmap(Quad c, const Row& x, const Row& y) {
    return times(2 / lambda(c, x), logmap0(c, mobius_add(c, times(-1, x), y)));
}

// By its definition, a composition of additions; linear in v, so v may be made short enough to lie in the
// ball.
Row gyration(Quad c, const Row& x, const Row& y, Row v) {
    const Quad size = sqrtq(c * dot(v, v));
    if (size == 0) return v;
    const Quad scale = Quad(0.5) / size;
    v = times(scale, v);
    const Row left = times(-1, mobius_add(c, x, y)), right = mobius_add(c, x, mobius_add(c, y, v));
    return times(1 / scale, mobius_add(c, left, right));
}

// Lorentz vectors: time first, recomputed from the space part.
Row point(Quad k, Row x) {
    x[0] = 0;
    x[0] = sqrtq(k + dot(x, x));
    return x;
}

Quad inner(const Row& x, const Row& y) { return dot(x, y) - 2 * x[0] * y[0]; }

Row tangent(const Row& x, Row v) {
    v[0] = 0;
    v[0] = dot(x, v) / x[0];
    return v;
}

Row plus(Row a, Quad k, const Row& b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] += k * b[i];
    return a;
}

// sinh^2(d/2) = |x - y|_L^2 / (4K): unlike arcosh, good for close points (in quad, and not far out)
Quad sinh_half_square(Quad k, const Row& x, const Row& y) {
    const Row d = plus(y, -1, x);
    return fmaxq(inner(d, d), 0) / (4 * k);
}

Quad lorentz_dist(Quad k, const Row& x, const Row& y) {
    return 2 * sqrtq(k) * asinhq(sqrtq(sinh_half_square(k, x, y)));
}

Row lorentz_logmap(Quad k, const Row& x, const Row& y) {
    const Quad s = sinh_half_square(k, x, y);
    return times(s == 0 ? 1 : asinhq(sqrtq(s)) / sqrtq(s * (1 + s)), plus(plus(y, -1, x), -2 * s, x));
}

Row lorentz_expmap(Quad k, const Row& x, const Row& v) {
    const Quad n = sqrtq(fmaxq(inner(v, v), 0) / k);
    return n == 0 ? plus(x, 1, v) : plus(times(coshq(n), x), sinhq(n) / n, v);
}

Row proju(Quad k, const Row& x, const Row& u) { return plus(u, inner(x, u) / k, x); }

Row origin(Quad k, size_t width) {
    Row o(width, 0);
    o[0] = sqrtq(k);
    return o;
}

Row with_time(const Row& v) {
    Row w(1, 0);
    w.insert(w.end(), v.begin(), v.end());
    return w;
}

// signed, scaled by nothing
Quad dist2plane(Quad c, const Row& x, const Row& p, const Row& a) {
    const Row w = mobius_add(c, times(-1, p), x);
    const Quad size = sqrtq(dot(a, a));
    return size == 0 ? 0 : asinhq(2 * sqrtq(c) * dot(w, a) / ((1 - c * dot(w, w)) * size)) / sqrtq(c);
}

Row coadd(Quad c, const Row& x, const Row& y) { return mobius_add(c, x, gyration(c, x, times(-1, y), y)); }

// Parallel transport of v from x to y.
Row lorentz_ptransp(Quad k, const Row& x, const Row& y, const Row& v) {
    return plus(v, inner(y, v) / (k - inner(x, y)), plus(x, 1, y));
}

Row space(const Row& x) { return Row(x.begin() + 1, x.end()); }

// Between two vectors, from the squares of the difference and the sum of their unit vectors.
Quad angle(Quad difference, Quad sum) {
    return 2 * atan2q(sqrtq(fmaxq(0, difference)), sqrtq(fmaxq(0, sum)));
}

Quad asin_to_one(Quad u) { return asinq(fminq(1, u)); }

// Klein points by way of the hyperboloid, K = 1/c.
Row klein_lift(Quad c, const Row& x) {
    const Quad gamma = 1 / sqrtq(1 - c * dot(x, x));
    Row out = with_time(times(gamma, x));
    out[0] = gamma / sqrtq(c);
    return out;
}

Row klein_drop(Quad c, const Row& x) { return times(1 / (sqrtq(c) * x[0]), space(x)); }

// The hyperboloid's velocity of a point that moves from x with velocity v, and back.
Row klein_lift(Quad c, const Row& x, const Row& v) {
    const Quad gamma = 1 / sqrtq(1 - c * dot(x, x)), slope = c * gamma * gamma * gamma * dot(x, v);
    Row out = with_time(plus(times(gamma, v), slope, x));
    out[0] = slope / sqrtq(c);
    return out;
}

Row klein_drop(Quad c, const Row& x, const Row& v) {
    return times(1 / (sqrtq(c) * x[0]), plus(space(v), -v[0] / x[0], space(x)));
}

// kappa-stereographic: the ball's definitions with c = -kappa, and tan_kappa
Quad tan_kappa(Quad k, Quad r) {
    return k == 0 ? r : k < 0 ? tanhq(sqrtq(-k) * r) / sqrtq(-k) : tanq(sqrtq(k) * r) / sqrtq(k);
}

Quad arctan_kappa(Quad k, Quad r) {
    return k == 0 ? r : k < 0 ? atanhq(sqrtq(-k) * r) / sqrtq(-k) : atanq(sqrtq(k) * r) / sqrtq(k);
}

Row radial(Quad (*f)(Quad, Quad), Quad k, const Row& v, Quad factor = 1) {
    const Quad n = sqrtq(dot(v, v));
    return n == 0 ? times(factor, v) : times(f(k, factor * n) / n, v);
}

Row stereo_logmap(Quad k, const Row& x, const Row& y) {
    return times(2 / lambda(-k, x), radial(arctan_kappa, k, mobius_add(-k, times(-1, x), y)));
}

Row stereo_scale(Quad k, Quad r, const Row& x) {
    return radial(tan_kappa, k, times(r, radial(arctan_kappa, k, x)));
}

// The closed form, as a composition of additions may meet infinity, and near the rim loses the digits that a
// difference quotient needs.
Row stereo_gyration(Quad k, const Row& u, const Row& v, const Row& w) {
    const Quad uw = dot(u, w), vw = dot(v, w), uv = dot(u, v), uu = dot(u, u), vv = dot(v, v);
    const Row s = plus(u, 1, v);
    const Quad a = -k * k * uw * vv - k * vw + 2 * k * k * uv * vw, b = -k * k * vw * uu + k * uw;
    const Quad d = (1 + k * uu) * (1 + k * vv) - k * dot(s, s);
    return plus(plus(w, 2 * a / d, u), 2 * b / d, v);
}

// A point with its gap: from 1/2 down, at the distance the gap says.
Row gap_point(Quad c, const Row& with_gap) {
    const Row x = space(with_gap);
    const Quad a = with_gap[0];
    return a < Quad(0.5) ? times(sqrtq((1 - a) / (c * dot(x, x))), x) : x;
}

Row before(Quad gap, const Row& x) {
    Row out = with_time(x);
    out[0] = gap;
    return out;
}

// Of a wrapped normal distribution in n dimensions, at distance r from its mean.
Row log_prob(Quad r, Quad per_radius, Quad std, Quad n) {
    const Quad t = r * per_radius, ratio = t == 0 ? 1 : sinhq(t) / t;
    return Row{-n / 2 * logq(2 * acosq(-1)) - n * logq(std) - r * r / (2 * std * std) -
               (n - 1) * logq(ratio)};
}

Row product(Row a, const Row& b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] *= b[i];
    return a;
}

// The same by the noise v, with a deviation per coordinate.
Row noise_log_prob(const Row& v, const Row& std, Quad per_radius, Quad n) {
    const Quad t = per_radius * sqrtq(dot(v, v)), ratio = t == 0 ? 1 : sinhq(t) / t;
    Quad sum = n / 2 * logq(2 * acosq(-1)) + (n - 1) * logq(ratio);
    for (size_t i = 0; i < v.size(); ++i) sum += logq(std[i]) + v[i] / std[i] * (v[i] / std[i]) / 2;
    return Row{-sum};
}

using Reference = std::function<Row(const std::vector<Row>& in, const std::vector<Quad>& param)>;

const std::map<std::string, Reference>& references() {
    static const std::map<std::string, Reference> table = {
        {"poincare.mobius_add", [](auto& in, auto& p) { return mobius_add(p[0], in[0], in[1]); }},
        {"poincare.expmap",
         [](auto& in, auto& p) {
             return mobius_add(p[0], in[0], expmap0(p[0], times(lambda(p[0], in[0]) / 2, in[1])));
         }},
        {"poincare.logmap", [](auto& in, auto& p) { return logmap(p[0], in[0], in[1]); }},
        {"poincare.expmap0", [](auto& in, auto& p) { return expmap0(p[0], in[0]); }},
        {"poincare.logmap0", [](auto& in, auto& p) { return logmap0(p[0], in[0]); }},
        {"poincare.dist",
         [](auto& in, auto& p) {
             const Row w = mobius_add(p[0], times(-1, in[0]), in[1]);
             return Row{2 / sqrtq(p[0]) * atanhq(sqrtq(p[0] * dot(w, w)))};
         }},
        {"poincare.egrad2rgrad",
         [](auto& in, auto& p) { return times(1 / (lambda(p[0], in[0]) * lambda(p[0], in[0])), in[1]); }},
        {"poincare.dist0",
         [](auto& in, auto& p) { return Row{2 / sqrtq(p[0]) * atanhq(sqrtq(p[0] * dot(in[0], in[0])))}; }},
        {"poincare.mobius_scalar_mul",
         [](auto& in, auto& p) { return expmap0(p[0], times(in[0][0], logmap0(p[0], in[1]))); }},
        {"poincare.gyration", [](auto& in, auto& p) { return gyration(p[0], in[0], in[1], in[2]); }},
        {"poincare.gyration.vjp",
         [](auto& in, auto& p) { return stereo_gyration(-p[0], in[0], in[1], in[2]); }},
        {"poincare.ptransp",
         [](auto& in, auto& p) {
             return times(lambda(p[0], in[0]) / lambda(p[0], in[1]),
                          gyration(p[0], in[1], times(-1, in[0]), in[2]));
         }},
        {"poincare.ptransp.vjp",
         [](auto& in, auto& p) {
             return times(lambda(p[0], in[0]) / lambda(p[0], in[1]),
                          stereo_gyration(-p[0], in[1], times(-1, in[0]), in[2]));
         }},
        {"poincare.geodesic",
         [](auto& in, auto& p) {
             const Row w = mobius_add(p[0], times(-1, in[1]), in[2]);
             return mobius_add(p[0], in[1], expmap0(p[0], times(in[0][0], logmap0(p[0], w))));
         }},
        {"poincare.projx",
         [](auto& in, auto& p) {
             const Quad n = sqrtq(p[0] * dot(in[0], in[0]));
             return n > 1 - p[1] ? times((1 - p[1]) / n, in[0]) : in[0];
         }},
        {"poincare.to_lorentz",
         [](auto& in, auto& p) {
             const Quad s = p[0] * dot(in[0], in[0]);
             Row out = with_time(times(2 / (1 - s), in[0]));
             out[0] = (1 + s) / (1 - s) / sqrtq(p[0]);
             return out;
         }},
        {"poincare.mobius_sub", [](auto& in, auto& p) { return mobius_add(p[0], in[0], times(-1, in[1])); }},
        {"poincare.mobius_coadd", [](auto& in, auto& p) { return coadd(p[0], in[0], in[1]); }},
        {"poincare.mobius_cosub", [](auto& in, auto& p) { return coadd(p[0], in[0], times(-1, in[1])); }},
        {"poincare.mobius_pointwise_mul",
         [](auto& in, auto& p) {
             Row v = logmap0(p[0], in[1]);
             for (size_t i = 0; i < v.size(); ++i) v[i] *= in[0][i];
             return expmap0(p[0], v);
         }},
        {"poincare.dist2",
         [](auto& in, auto& p) {
             const Row w = mobius_add(p[0], times(-1, in[0]), in[1]);
             const Quad d = 2 / sqrtq(p[0]) * atanhq(sqrtq(p[0] * dot(w, w)));
             return Row{d * d};
         }},
        {"poincare.dist2plane",
         [](auto& in, auto& p) { return Row{fabsq(dist2plane(p[0], in[0], in[1], in[2]))}; }},
        {"poincare.dist2plane_signed",
         [](auto& in, auto& p) { return Row{dist2plane(p[0], in[0], in[1], in[2])}; }},
        {"poincare.dist2plane_scaled",
         [](auto& in, auto& p) {
             return Row{sqrtq(dot(in[2], in[2])) * dist2plane(p[0], in[0], in[1], in[2])};
         }},
        {"poincare.lambda_x", [](auto& in, auto& p) { return Row{lambda(p[0], in[0])}; }},
        {"poincare.inner",
         [](auto& in, auto& p) {
             const Quad l = lambda(p[0], in[0]);
             return Row{l * l * dot(in[1], in[2])};
         }},
        {"poincare.norm",
         [](auto& in, auto& p) { return Row{lambda(p[0], in[0]) * sqrtq(dot(in[1], in[1]))}; }},
        {"poincare.transp0", [](auto& in, auto& p) { return times(2 / lambda(p[0], in[0]), in[1]); }},
        {"poincare.transp0back", [](auto& in, auto& p) { return times(lambda(p[0], in[0]) / 2, in[1]); }},
        {"poincare.logmap0back", [](auto& in, auto& p) { return logmap(p[0], in[0], times(0, in[0])); }},
        {"poincare.geodesic_unit",
         [](auto& in, auto& p) {
             const Quad size = sqrtq(dot(in[2], in[2]));
             const Row v = size == 0 ? in[2] : times(in[0][0] / (size * lambda(p[0], in[1])), in[2]);
             return mobius_add(p[0], in[1], expmap0(p[0], times(lambda(p[0], in[1]) / 2, v)));
         }},
        {"poincare.half_aperture",
         [](auto& in, auto& p) {
             const Quad r = sqrtq(p[0] * dot(in[0], in[0]));
             return Row{asin_to_one(p[1] * (1 - r * r) / r)};
         }},
        {"poincare.oxy_angle",  // between the velocity and the ray: the ball is conformal
         [](auto& in, auto& p) {
             const Row v = mobius_add(p[0], times(-1, in[0]), in[1]);
             const Quad n = sqrtq(dot(v, v)), r = sqrtq(dot(in[0], in[0]));
             if (n == 0 || r == 0) return Row{0};
             const Row u = times(1 / r, in[0]), d = plus(u, -1 / n, v), s = plus(u, 1 / n, v);
             return Row{angle(dot(d, d), dot(s, s))};
         }},
        {"lorentz.sqdist",
         [](auto& in, auto& p) {
             return Row{4 * p[0] * sinh_half_square(p[0], point(p[0], in[0]), point(p[0], in[1]))};
         }},
        {"lorentz.dist2",
         [](auto& in, auto& p) {
             const Quad d = lorentz_dist(p[0], point(p[0], in[0]), point(p[0], in[1]));
             return Row{d * d};
         }},
        {"lorentz.geodesic",
         [](auto& in, auto& p) {
             const Row x = point(p[0], in[1]);
             return lorentz_expmap(p[0], x, times(in[0][0], lorentz_logmap(p[0], x, point(p[0], in[2]))));
         }},
        {"lorentz.mobius_add",
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[0].size()), x = point(p[0], in[0]);
             const Row v = lorentz_logmap(p[0], o, point(p[0], in[1]));
             return lorentz_expmap(p[0], x, lorentz_ptransp(p[0], o, x, v));
         }},
        {"lorentz.mobius_scalar_mul",
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[1].size());
             return lorentz_expmap(p[0], o, times(in[0][0], lorentz_logmap(p[0], o, point(p[0], in[1]))));
         }},
        {"lorentz.transp0",
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[0].size());
             return lorentz_ptransp(p[0], o, point(p[0], in[0]), with_time(in[1]));
         }},
        {"lorentz.transp0back",
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[0].size()), x = point(p[0], in[0]);
             return space(lorentz_ptransp(p[0], x, o, tangent(x, in[1])));
         }},
        {"lorentz.norm",
         [](auto& in, auto& p) {
             const Row v = tangent(point(p[0], in[0]), in[1]);
             return Row{sqrtq(fmaxq(0, inner(v, v)))};
         }},
        {"lorentz.half_aperture",
         [](auto& in, auto& p) {
             const Row x = space(in[0]);
             return Row{asin_to_one(2 * p[1] * sqrtq(p[0] / dot(x, x)))};
         }},
        {"lorentz.oxy_angle",  // between the velocity and that of the ray
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[0].size()), x = point(p[0], in[0]);
             const Row v = lorentz_logmap(p[0], x, point(p[0], in[1])), u = lorentz_logmap(p[0], x, o);
             const Quad n = sqrtq(fmaxq(0, inner(v, v))), r = sqrtq(fmaxq(0, inner(u, u)));
             if (n == 0 || r == 0) return Row{0};
             const Row w = times(-1 / r, u), d = plus(w, -1 / n, v), s = plus(w, 1 / n, v);
             return Row{angle(inner(d, d), inner(s, s))};
         }},
        {"lorentz.boost",  // parts along v and across
         [](auto& in, auto& p) {
             const Row x = point(p[0], in[0]);
             const Quad vv = dot(in[1], in[1]), g = 1 / sqrtq(1 - vv), vx = dot(in[1], space(x));
             const Quad along = vv == 0 ? 0 : (g - 1) * vx / vv;
             Row out = plus(x, along + g * x[0], with_time(in[1]));
             out[0] = g * (x[0] + vx);
             return out;
         }},
        {"lorentz.rmsnorm",
         [](auto& in, auto& p) {
             Row s = space(in[0]);
             const Quad i = 1 / sqrtq(dot(s, s) / third + p[1]);
             for (size_t j = 0; j < s.size(); ++j) s[j] *= in[1][j] * i;
             return point(p[0], with_time(s));
         }},
        {"lorentz.relu",
         [](auto& in, auto& p) {
             Row s = in[0];
             for (Quad& v : s) v = fmaxq(v, 0);
             return point(p[0], s);
         }},
        {"lorentz.residual",
         [](auto& in, auto& p) {
             const Row m = plus(point(p[0], in[0]), in[2][0], point(p[0], in[1]));
             return times(sqrtq(p[0] / -inner(m, m)), m);
         }},
        {"klein.dist",
         [](auto& in, auto& p) {
             return Row{lorentz_dist(1 / p[0], klein_lift(p[0], in[0]), klein_lift(p[0], in[1]))};
         }},
        {"klein.dist0",
         [](auto& in, auto& p) { return Row{atanhq(sqrtq(p[0] * dot(in[0], in[0]))) / sqrtq(p[0])}; }},
        {"klein.expmap0",
         [](auto& in, auto& p) {
             const Row o = origin(1 / p[0], in[0].size() + 1);
             return klein_drop(p[0], lorentz_expmap(1 / p[0], o, with_time(in[0])));
         }},
        {"klein.logmap0",
         [](auto& in, auto& p) {
             const Row o = origin(1 / p[0], in[0].size() + 1);
             return space(lorentz_logmap(1 / p[0], o, klein_lift(p[0], in[0])));
         }},
        {"klein.expmap",
         [](auto& in, auto& p) {
             const Row x = klein_lift(p[0], in[0]), v = klein_lift(p[0], in[0], in[1]);
             return klein_drop(p[0], lorentz_expmap(1 / p[0], x, v));
         }},
        {"klein.logmap",
         [](auto& in, auto& p) {
             const Row x = klein_lift(p[0], in[0]), y = klein_lift(p[0], in[1]);
             return klein_drop(p[0], x, lorentz_logmap(1 / p[0], x, y));
         }},
        {"klein.ptransp",
         [](auto& in, auto& p) {
             const Row x = klein_lift(p[0], in[0]), y = klein_lift(p[0], in[1]);
             return klein_drop(p[0], y, lorentz_ptransp(1 / p[0], x, y, klein_lift(p[0], in[0], in[2])));
         }},
        {"klein.geodesic",
         [](auto& in, auto& p) {
             const Row x = klein_lift(p[0], in[1]), y = klein_lift(p[0], in[2]);
             const Row v = times(in[0][0], lorentz_logmap(1 / p[0], x, y));
             return klein_drop(p[0], lorentz_expmap(1 / p[0], x, v));
         }},
        {"klein.einstein_add",
         [](auto& in, auto& p) {
             const Quad g = 1 / sqrtq(1 - p[0] * dot(in[0], in[0])), xy = p[0] * dot(in[0], in[1]);
             return times(1 / (1 + xy), plus(times(1 + g / (1 + g) * xy, in[0]), 1 / g, in[1]));
         }},
        {"klein.egrad2rgrad",
         [](auto& in, auto& p) {
             const Quad a = 1 - p[0] * dot(in[0], in[0]);
             return times(a, plus(in[1], -p[0] * dot(in[0], in[1]), in[0]));
         }},
        {"klein.inner",
         [](auto& in, auto& p) {
             return Row{inner(klein_lift(p[0], in[0], in[1]), klein_lift(p[0], in[0], in[2]))};
         }},
        {"klein.norm",
         [](auto& in, auto& p) {
             const Row v = klein_lift(p[0], in[0], in[1]);
             return Row{sqrtq(fmaxq(0, inner(v, v)))};
         }},
        {"klein.projx",
         [](auto& in, auto& p) {
             const Quad n = sqrtq(p[0] * dot(in[0], in[0]));
             return n > 1 - p[1] ? times((1 - p[1]) / n, in[0]) : in[0];
         }},
        {"klein.to_poincare",
         [](auto& in, auto& p) { return times(1 / (1 + sqrtq(1 - p[0] * dot(in[0], in[0]))), in[0]); }},
        {"klein.to_lorentz", [](auto& in, auto& p) { return klein_lift(p[0], in[0]); }},
        {"poincare.to_klein",
         [](auto& in, auto& p) { return times(2 / (1 + p[0] * dot(in[0], in[0])), in[0]); }},
        {"lorentz.to_klein", [](auto& in, auto& p) { return klein_drop(1 / p[0], point(p[0], in[0])); }},
        {"stereographic.mobius_add", [](auto& in, auto& p) { return mobius_add(-p[0], in[0], in[1]); }},
        {"stereographic.mobius_scalar_mul",
         [](auto& in, auto& p) { return stereo_scale(p[0], in[0][0], in[1]); }},
        {"stereographic.expmap0", [](auto& in, auto& p) { return radial(tan_kappa, p[0], in[0]); }},
        {"stereographic.logmap0", [](auto& in, auto& p) { return radial(arctan_kappa, p[0], in[0]); }},
        {"stereographic.expmap",
         [](auto& in, auto& p) {
             const Row y = radial(tan_kappa, p[0], times(lambda(-p[0], in[0]) / 2, in[1]));
             return mobius_add(-p[0], in[0], y);
         }},
        {"stereographic.logmap", [](auto& in, auto& p) { return stereo_logmap(p[0], in[0], in[1]); }},
        {"stereographic.dist",
         [](auto& in, auto& p) {
             const Row w = mobius_add(-p[0], times(-1, in[0]), in[1]);
             return Row{2 * arctan_kappa(p[0], sqrtq(dot(w, w)))};
         }},
        {"stereographic.dist0",
         [](auto& in, auto& p) { return Row{2 * arctan_kappa(p[0], sqrtq(dot(in[0], in[0])))}; }},
        {"stereographic.geodesic",
         [](auto& in, auto& p) {
             const Row w = mobius_add(-p[0], times(-1, in[1]), in[2]);
             return mobius_add(-p[0], in[1], stereo_scale(p[0], in[0][0], w));
         }},
        {"stereographic.gyration",
         [](auto& in, auto& p) { return stereo_gyration(p[0], in[0], in[1], in[2]); }},
        {"stereographic.ptransp",
         [](auto& in, auto& p) {
             return times(lambda(-p[0], in[0]) / lambda(-p[0], in[1]),
                          stereo_gyration(p[0], in[1], times(-1, in[0]), in[2]));
         }},
        {"stereographic.transp0", [](auto& in, auto& p) { return times(2 / lambda(-p[0], in[0]), in[1]); }},
        {"stereographic.transp0back",
         [](auto& in, auto& p) { return times(lambda(-p[0], in[0]) / 2, in[1]); }},
        {"stereographic.egrad2rgrad",
         [](auto& in, auto& p) { return times(1 / (lambda(-p[0], in[0]) * lambda(-p[0], in[0])), in[1]); }},
        {"stereographic.lambda_x", [](auto& in, auto& p) { return Row{lambda(-p[0], in[0])}; }},
        {"stereographic.inner",
         [](auto& in, auto& p) {
             const Quad l = lambda(-p[0], in[0]);
             return Row{l * l * dot(in[1], in[2])};
         }},
        {"stereographic.norm",
         [](auto& in, auto& p) { return Row{lambda(-p[0], in[0]) * sqrtq(dot(in[1], in[1]))}; }},
        {"stereographic.projx",
         [](auto& in, auto& p) {
             const Quad n = p[0] < 0 ? sqrtq(-p[0] * dot(in[0], in[0])) : 0;
             return n > 1 - p[1] ? times((1 - p[1]) / n, in[0]) : in[0];
         }},
        {"stereographic.antipode",
         [](auto& in, auto& p) { return times(-1 / (p[0] * dot(in[0], in[0])), in[0]); }},
        {"poincare.gap", [](auto& in, auto& p) { return Row{1 - p[0] * dot(in[0], in[0])}; }},
        {"poincare.to_gap", [](auto& in, auto& p) { return before(1 - p[0] * dot(in[0], in[0]), in[0]); }},
        {"poincare.from_gap", [](auto& in, auto& p) { return gap_point(p[0], in[0]); }},
        {"poincare.dist_gap",
         [](auto& in, auto& p) {
             const Row d = plus(gap_point(p[0], in[1]), -1, gap_point(p[0], in[0]));
             return Row{2 / sqrtq(p[0]) * asinhq(sqrtq(p[0] * dot(d, d) / (in[0][0] * in[1][0])))};
         }},
        {"poincare.mobius_add_gap",
         [](auto& in, auto& p) {
             const Row x = gap_point(p[0], in[0]), y = gap_point(p[0], in[1]), s = plus(x, 1, y);
             const Quad ab = in[0][0] * in[1][0];
             return before(ab / (p[0] * dot(s, s) + ab), mobius_add(p[0], x, y));
         }},
        {"poincare.logmap_gap",
         [](auto& in, auto& p) { return logmap(p[0], gap_point(p[0], in[0]), gap_point(p[0], in[1])); }},
        {"poincare.expmap_gap",
         [](auto& in, auto& p) {
             const Row x = gap_point(p[0], in[0]), v = times(1 / in[0][0], in[1]), y = expmap0(p[0], v);
             const Row s = plus(x, 1, y);
             const Quad cosh = coshq(sqrtq(p[0] * dot(v, v))), ab = in[0][0] / (cosh * cosh);
             return before(ab / (p[0] * dot(s, s) + ab), mobius_add(p[0], x, y));
         }},
        {"poincare.expmap0_gap",
         [](auto& in, auto& p) {
             const Quad cosh = coshq(sqrtq(p[0] * dot(in[0], in[0])));
             return before(1 / (cosh * cosh), expmap0(p[0], in[0]));
         }},
        {"poincare.logmap0_gap",
         [](auto& in, auto& p) { return logmap0(p[0], gap_point(p[0], in[0])); }},
        // Gradients by coordinates and gap need what is computed from which; on a point and its own gap these
        // are the definitions above.
        {"poincare.mobius_add_gap.vjp",
         [](auto& in, auto& p) {
             const Row x = gap_point(p[0], in[0]), y = gap_point(p[0], in[1]), s = plus(x, 1, y);
             const Quad a = in[0][0], b = in[1][0], ss = p[0] * dot(s, s), d = ss + a * b;
             return before(a * b / d, plus(times(ss / d, x), a / d, s));
         }},
        {"poincare.logmap_gap.vjp",
         [](auto& in, auto& p) {
             const Row x = gap_point(p[0], in[0]), d = plus(gap_point(p[0], in[1]), -1, x);
             const Quad a = in[0][0], b = in[1][0], dd = p[0] * dot(d, d), z = sqrtq(dd / (a * b));
             const Quad scale = (z == 0 ? 1 : asinhq(z) / z) / (b * sqrtq(1 + z * z));
             return times(scale, plus(times(a, d), -dd, x));
         }},
        {"poincare.expmap_gap.vjp",
         [](auto& in, auto& p) {
             const Row x = gap_point(p[0], in[0]), v = times(1 / in[0][0], in[1]), y = expmap0(p[0], v);
             const Quad cosh = coshq(sqrtq(p[0] * dot(v, v))), a = in[0][0], b = 1 / (cosh * cosh);
             const Quad yy = p[0] * dot(y, y), d = 1 + 2 * p[0] * dot(x, y) + p[0] * dot(x, x) * yy;
             return before(a * b / d, plus(times(a / d, y), 1 + a * yy / d, x));
         }},
        {"poincare.logmap0_gap.vjp",
         [](auto& in, auto& p) {
             const Row x = gap_point(p[0], in[0]);
             const Quad r = sqrtq(p[0] * dot(x, x));
             return r == 0 ? x : times(asinhq(r / sqrtq(in[0][0])) / r, x);
         }},
        {"poincare.wrapped_normal_log_prob",
         [](auto& in, auto& p) {
             const Row w = mobius_add(p[0], times(-1, in[1]), in[0]);
             return log_prob(2 / sqrtq(p[0]) * atanhq(sqrtq(p[0] * dot(w, w))), sqrtq(p[0]), in[2][0], p[1]);
         }},
        {"lorentz.wrapped_normal_log_prob",
         [](auto& in, auto& p) {
             return log_prob(lorentz_dist(p[0], point(p[0], in[0]), point(p[0], in[1])), 1 / sqrtq(p[0]),
                             in[2][0], p[1]);
         }},
        {"poincare.wrapped_normal_sample",
         [](auto& in, auto& p) {
             return mobius_add(p[0], in[1], expmap0(p[0], times(Quad(0.5), product(in[0], in[2]))));
         }},
        {"lorentz.wrapped_normal_sample",
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[1].size()), x = point(p[0], in[1]);
             return lorentz_expmap(p[0], x,
                                   lorentz_ptransp(p[0], o, x, with_time(product(in[0], in[2]))));
         }},
        {"poincare.wrapped_normal_noise",
         [](auto& in, auto& p) {
             return times(2, logmap0(p[0], mobius_add(p[0], times(-1, in[0]), in[1])));
         }},
        {"lorentz.wrapped_normal_noise",
         [](auto& in, auto& p) {
             const Row o = origin(p[0], in[0].size()), x = point(p[0], in[0]);
             return space(lorentz_ptransp(p[0], x, o, lorentz_logmap(p[0], x, point(p[0], in[1]))));
         }},
        {"poincare.wrapped_normal_noise_log_prob",
         [](auto& in, auto& p) { return noise_log_prob(in[0], in[1], sqrtq(p[0]), p[1]); }},
        {"lorentz.wrapped_normal_noise_log_prob",
         [](auto& in, auto& p) { return noise_log_prob(in[0], in[1], 1 / sqrtq(p[0]), p[1]); }},
        {"lorentz.dist",
         [](auto& in, auto& p) { return Row{lorentz_dist(p[0], point(p[0], in[0]), point(p[0], in[1]))}; }},
        {"lorentz.dist0",
         [](auto& in, auto& p) {
             return Row{lorentz_dist(p[0], origin(p[0], in[0].size()), point(p[0], in[0]))};
         }},
        {"lorentz.expmap",
         [](auto& in, auto& p) {
             const Row x = point(p[0], in[0]);
             return lorentz_expmap(p[0], x, tangent(x, in[1]));
         }},
        {"lorentz.expmap0",
         [](auto& in, auto& p) {
             return lorentz_expmap(p[0], origin(p[0], in[0].size() + 1), with_time(in[0]));
         }},
        {"lorentz.logmap",
         [](auto& in, auto& p) { return lorentz_logmap(p[0], point(p[0], in[0]), point(p[0], in[1])); }},
        {"lorentz.logmap0",
         [](auto& in, auto& p) {
             const Row v = lorentz_logmap(p[0], origin(p[0], in[0].size()), point(p[0], in[0]));
             return Row(v.begin() + 1, v.end());
         }},
        {"lorentz.ptransp",
         [](auto& in, auto& p) {
             const Row x = point(p[0], in[0]), y = point(p[0], in[1]), v = tangent(x, in[2]);
             return lorentz_ptransp(p[0], x, y, v);
         }},
        {"lorentz.proju", [](auto& in, auto& p) { return proju(p[0], point(p[0], in[0]), in[1]); }},
        {"lorentz.egrad2rgrad",
         [](auto& in, auto& p) {
             Row g = in[1];
             g[0] = -g[0];
             return proju(p[0], point(p[0], in[0]), g);
         }},
        {"lorentz.inner", [](auto& in, auto&) { return Row{inner(in[0], in[1])}; }},
        {"lorentz.projx", [](auto& in, auto& p) { return point(p[0], in[0]); }},
        {"lorentz.to_poincare",
         [](auto& in, auto& p) {
             const Row x = point(p[0], in[0]);
             const Row out = times(sqrtq(p[0]) / (sqrtq(p[0]) + x[0]), x);
             return Row(out.begin() + 1, out.end());
         }},
    };
    return table;
}

// ---- Inputs: by the names of the signature x, y and p are points, v and u tangent vectors, all else
// arbitrary.

template <class T>
std::vector<std::vector<T>> inputs(const Operation& op, int64_t rows, int64_t dim, double curvature,
                                   uint32_t seed) {
    const double c = std::fabs(curvature) < 1e-6 ? 1 : std::fabs(curvature);
    const bool sphere = op.params[0].compare(0, 5, "kappa") == 0 && curvature >= 0;
    static const double radii[] = {0.3, 0.9, 0.99, 0, 0.999, 1e-30, 0.6, 1e-6, 0.9999};
    static const double lengths[] = {0.5, 2, 1e-6, 0, 5, 1e-30, 1};
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    std::vector<std::vector<T>> result;
    for (const Operand& operand : op.in) result.emplace_back(rows * operand.width(dim));
    size_t x = 0;  // which input is x
    while (x + 1 < op.in.size() && op.in[x].name != "x") ++x;
    for (int64_t row = 0; row < rows; ++row) {
        double gap = 1;
        for (size_t i = 0; i < op.in.size(); ++i) {
            const int64_t width = op.in[i].width(dim);
            T* p = result[i].data() + row * width;
            std::vector<double> v(width);
            double norm = 0;
            for (double& value : v) {
                value = normal(random);
                norm += value * value;
            }
            norm = std::sqrt(norm);
            const std::string& name = op.in[i].name;
            const bool with_gap = op.in[i].kind == "ambient" && op.params[0] == "c";
            if (op.in[i].kind == "ambient" && !with_gap && (name == "x" || name == "y" || name == "mean")) {
                static const double distances[] = {0.5, 3, 1e-6, 0, 5, 1e-30, 1};
                v[0] = 0;
                norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
                const double r = std::sinh(distances[(row + 2 * i) % 7]) * std::sqrt(c);
                for (int64_t j = 1; j < width; ++j) p[j] = static_cast<T>(v[j] / norm * r);
                if (i > x && row % 9 > 5)
                    for (int64_t j = 1; j < width; ++j)
                        p[j] = static_cast<T>(result[x][row * width + j] * (row % 9 == 6   ? 1
                                                                            : row % 9 == 7 ? -1
                                                                                           : 0.999));
                double square = 0;
                for (int64_t j = 1; j < width; ++j) square += double(p[j]) * double(p[j]);
                p[0] = static_cast<T>(std::sqrt(c + square));
            } else if (name == "x" || name == "y" || name == "p" || name == "mean") {
                const double r = radii[(row + 2 * i) % 9] * (sphere ? 2 : 1);
                if (with_gap) {
                    v[0] = 0;
                    norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
                }
                for (int64_t j = 0; j < width; ++j) p[j] = static_cast<T>(v[j] / norm * r / std::sqrt(c));
                if (name == "x") gap = sphere ? 1 + r * r : 1 - r * r;
                if ((name == "p" || (name != "x" && i > x)) &&
                    row % 7 > 3)  // the same, the opposite, a close point
                    for (int64_t j = 0; j < width; ++j)
                        p[j] = static_cast<T>(result[x][row * width + j] * (row % 7 == 4   ? 1
                                                                            : row % 7 == 5 ? -1
                                                                                           : 0.999));
                if (with_gap) {
                    static const double gaps[] = {0.4, 1e-2, 1e-4, 1e-8};
                    double square = 0;
                    for (int64_t j = 1; j < width; ++j) square += double(p[j]) * double(p[j]);
                    p[0] = static_cast<T>(c * square < 0.5 ? 1 - c * square : gaps[(row + i) % 4]);
                    if (name == "x") gap = p[0];
                }
            } else if (name == "std" || (name == "w" && op.in[i].kind == "scalar")) {
                for (int64_t j = 0; j < width; ++j) p[j] = static_cast<T>(std::fabs(v[j]));
            } else if (name == "t") {
                p[0] = static_cast<T>(0.5 + std::atan(v[0]) / 3.2);  // in (0, 1)
            } else if (name == "v") {
                const double r = op.name.find("boost") != std::string::npos
                                     ? radii[(row + i) % 9]  // a velocity
                                     : lengths[(row + i) % 7] * gap / std::sqrt(c);
                for (int64_t j = 0; j < width; ++j) p[j] = static_cast<T>(v[j] / norm * r);
            } else {
                for (int64_t j = 0; j < width; ++j) p[j] = static_cast<T>(v[j]);
            }
        }
    }
    return result;
}

// ---- Calls

// A batch of rows in a buffer of its own, with canaries around and between the rows.
template <class T>
struct Batch {
    std::vector<T> memory;
    int64_t rows, width, stride, offset;
    static constexpr double canary = 12345.0;

    Batch(int64_t rows_, int64_t width_, int64_t pad, int64_t offset_)
        : memory(offset_ + rows_ * (width_ + pad) + 8, T(canary)),
          rows(rows_),
          width(width_),
          stride(width_ + pad),
          offset(offset_) {}
    T* data() { return memory.data() + offset; }
    void set(const std::vector<T>& values) {
        for (int64_t r = 0; r < rows; ++r) std::copy_n(values.data() + r * width, width, data() + r * stride);
    }
    std::vector<T> get() {
        std::vector<T> values(rows * width);
        for (int64_t r = 0; r < rows; ++r) std::copy_n(data() + r * stride, width, values.data() + r * width);
        return values;
    }
    bool intact() {
        for (int64_t i = 0; i < static_cast<int64_t>(memory.size()); ++i) {
            const int64_t at = i - offset;
            const bool inside = at >= 0 && at < rows * stride && at % stride < width;
            if (!inside && memory[i] != T(canary)) return false;
        }
        return true;
    }
};

struct Layout {
    int64_t pad = 0, offset = 0;
    int broadcast = -1;        // input that repeats its first row
    int from = -1, into = -1;  // output `into` lies in input `from`
    int only = -1;             // the one output asked for
    const horo_exec* exec = nullptr;
};

template <class T>
std::vector<std::vector<T>> run(const Operation& op, int64_t rows, int64_t dim, double c,
                                const std::vector<std::vector<T>>& in, const Layout& layout = {}) {
    std::vector<Batch<T>> x, y;
    const void* ip[4] = {};
    void* op_[4] = {};
    int64_t is[4] = {}, os[4] = {};
    for (size_t i = 0; i < op.in.size(); ++i) {
        x.emplace_back(rows, op.in[i].width(dim), layout.pad, layout.offset);
        x.back().set(in[i]);
    }
    for (size_t j = 0; j < op.out.size(); ++j)
        y.emplace_back(rows, op.out[j].width(dim), layout.pad, layout.offset);
    for (size_t i = 0; i < x.size(); ++i) {
        ip[i] = x[i].data();
        is[i] = static_cast<int>(i) == layout.broadcast ? 0 : x[i].stride;
    }
    for (size_t j = 0; j < y.size(); ++j) {
        if (layout.only >= 0 && static_cast<int>(j) != layout.only) continue;
        op_[j] = static_cast<int>(j) == layout.into ? x[layout.from].data() : y[j].data();
        os[j] = y[j].stride;
    }
    const int32_t status = horo_row_op(op.id, code<T>(), rows, dim, ip[0], is[0], ip[1], is[1], ip[2], is[2],
                                       ip[3], is[3], op_[0], os[0], op_[1], os[1], op_[2], os[2], op_[3],
                                       os[3], c, second, third, 0, 0, 0, layout.exec);
    CHECK(status == HORO_OK, "%s: %s", op.name.c_str(), horo_last_error());
    std::vector<std::vector<T>> result;
    for (size_t i = 0; i < x.size(); ++i) {
        CHECK(x[i].intact(), "%s wrote around input %zu", op.name.c_str(), i);
        if (static_cast<int>(i) != layout.from && rows)
            CHECK(std::memcmp(x[i].get().data(), in[i].data(), in[i].size() * sizeof(T)) == 0,
                  "%s changed input %zu", op.name.c_str(), i);
    }
    for (size_t j = 0; j < y.size(); ++j) {
        CHECK(y[j].intact(), "%s wrote around output %zu, dim %lld", op.name.c_str(), j, (long long)dim);
        result.push_back(static_cast<int>(j) == layout.into ? x[layout.from].get() : y[j].get());
    }
    return result;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// ---- Tests

// Every layout gives the bits of the plain one.
template <class T>
void layouts(const Operation& op, int64_t rows, int64_t dim, const horo_exec* one, const horo_exec* three) {
    const double c = 1.5;
    const char* name = op.name.c_str();
    const auto in = inputs<T>(op, rows, dim, c, 7);
    Layout layout;
    layout.exec = one;
    const auto plain = run<T>(op, rows, dim, c, in, layout);
    const auto check = [&](const char* what, const std::vector<std::vector<T>>& got) {
        for (size_t j = 0; j < plain.size(); ++j)
            CHECK(same(got[j], plain[j]), "%s: %s, output %zu, rows %lld, dim %lld", name, what, j,
                  (long long)rows, (long long)dim);
    };
    layout.exec = three;
    check("three threads", run<T>(op, rows, dim, c, in, layout));
    layout = {};
    layout.pad = 3;
    layout.offset = 1;
    check("strided and unaligned", run<T>(op, rows, dim, c, in, layout));
    for (size_t i = 0; i < op.in.size(); ++i) {
        for (size_t j = 0; j < op.out.size(); ++j) {
            if (op.in[i].kind != op.out[j].kind) continue;
            layout = {};
            layout.from = static_cast<int>(i);
            layout.into = static_cast<int>(j);
            check("in place", run<T>(op, rows, dim, c, in, layout));
        }
        if (rows == 0) continue;
        auto repeated = in;
        for (int64_t r = 1, w = op.in[i].width(dim); r < rows; ++r)
            std::copy_n(in[i].data(), w, repeated[i].data() + r * w);
        const auto want = run<T>(op, rows, dim, c, repeated);
        layout = {};
        layout.broadcast = static_cast<int>(i);
        const auto got = run<T>(op, rows, dim, c, repeated, layout);
        for (size_t j = 0; j < want.size(); ++j)
            CHECK(same(got[j], want[j]), "%s: input %zu repeated", name, i);
        if (rows > 1) {  // NaN stays in its row
            const int64_t w = op.in[i].width(dim), bad = rows / 2;
            auto poisoned = in;
            poisoned[i][bad * w] = T(std::nan(""));
            auto result = run<T>(op, rows, dim, c, poisoned);
            for (size_t j = 0; j < result.size(); ++j) {
                const int64_t v = op.out[j].width(dim);
                std::copy_n(plain[j].data() + bad * v, v, result[j].data() + bad * v);
                CHECK(same(result[j], plain[j]), "%s: NaN in input %zu left its row", name, i);
            }
        }
    }
    if (op.vjp()) {
        for (size_t j = 0; j < op.out.size(); ++j) {
            layout = {};
            layout.only = static_cast<int>(j);
            CHECK(same(run<T>(op, rows, dim, c, in, layout)[j], plain[j]), "%s: only output %zu", name, j);
        }
    }
    for (int64_t r = 0; r < rows; r += 37) {
        std::vector<std::vector<T>> single;
        for (size_t i = 0; i < in.size(); ++i) {
            const int64_t w = op.in[i].width(dim);
            single.emplace_back(in[i].begin() + r * w, in[i].begin() + (r + 1) * w);
        }
        const auto got = run<T>(op, 1, dim, c, single);
        for (size_t j = 0; j < got.size(); ++j) {
            const int64_t w = op.out[j].width(dim);
            CHECK(std::memcmp(got[j].data(), plain[j].data() + r * w, w * sizeof(T)) == 0,
                  "%s: row %lld alone", name, (long long)r);
        }
    }
}

// A row has the same bits wherever it lies in a batch that is written past the cache, whatever its lines.
template <class T>
void past_cache(const Operation& op, int64_t dim, const Layout& layout) {
    constexpr int64_t few = 37;
    const int64_t operands = static_cast<int64_t>(op.in.size() + op.out.size());
    const int64_t times = (5 << 20) / (few * dim * operands * int64_t{sizeof(T)}) + 1;
    const auto in = inputs<T>(op, few, dim, 1.5, 23);
    const auto want = run<T>(op, few, dim, 1.5, in);
    auto many = in;
    for (auto& x : many) {
        const std::vector<T> once = x;
        for (int64_t n = 1; n < times; ++n) x.insert(x.end(), once.begin(), once.end());
    }
    const auto got = run<T>(op, few * times, dim, 1.5, many, layout);
    for (size_t j = 0; j < want.size(); ++j) {
        if (layout.only >= 0 && static_cast<int>(j) != layout.only) continue;
        for (int64_t n = 0, size = static_cast<int64_t>(want[j].size()); n < times; ++n)
            CHECK(std::memcmp(got[j].data() + n * size, want[j].data(), size * sizeof(T)) == 0,
                  "%s: output %zu, dim %lld, rows from %lld on", op.name.c_str(), j, (long long)dim,
                  (long long)(n * few));
    }
}

// The ways in which outputs may lie, in turns.
Layout one_of(const Operation& op, int32_t id, const horo_exec* exec) {
    Layout layout;
    layout.exec = exec;
    layout.offset = id % 7;
    if (id % 3 == 0 && op.vjp()) layout.only = static_cast<int>(op.out.size()) - 1;
    for (int i = 0; id % 3 == 1 && i < static_cast<int>(op.in.size()); ++i)
        if (op.in[i].kind == op.out[0].kind) {
            layout.from = i;
            layout.into = 0;
        }
    return layout;
}

// Every number is within 1 ulp of what float64 gives for the same stored inputs; where all digits cancel,
// both are noise.
template <class T>
double sixteen_bits(const Operation& op, int64_t rows, int64_t dim, double c) {
    const auto in = inputs<T>(op, rows, dim, c, 17);
    std::vector<std::vector<double>> wide;
    for (const auto& x : in) wide.emplace_back(x.begin(), x.end());
    const auto got = run<T>(op, rows, dim, c, in);
    const auto want = run<double>(op, rows, dim, c, wide);
    double worst = 0;
    for (size_t j = 0; j < want.size(); ++j) {
        double largest = 0;
        for (double w : want[j])
            if (std::isfinite(w)) largest = std::fmax(largest, std::fabs(w));
        for (size_t n = 0; n < want[j].size(); ++n) {
            const double exact = want[j][n], value = got[j][n];
            if (std::isnan(exact) && std::isnan(value)) continue;
            if (std::isinf(value) && double(T(exact)) == value) continue;
            const double error =
                std::fmax(0, std::fabs(value - exact) - 1e-12 * (1 + largest)) / T::ulp(exact);
            if (!(error <= worst)) worst = error;
            CHECK(error <= 1, "%s: output %zu, number %zu, dim %lld: %g, expected %g", op.name.c_str(), j, n,
                  (long long)dim, value, exact);
        }
    }
    return worst;
}

// A batch so large that its outputs are written past the cache has the bits of its pieces.
template <class T>
void large(int64_t rows, int64_t dim, int64_t offset, const horo_exec* exec) {
    const int64_t n = rows * dim;
    std::vector<T> x(n), y(n), out(n + offset + 1, T(77.0)), want(n);
    for (int64_t i = 0; i < n; ++i) {
        x[i] = T(0.7 * std::sin(i * 0.1) / std::sqrt(double(dim)));
        y[i] = T(0.7 * std::cos(i * 0.7) / std::sqrt(double(dim)));
    }
    int32_t op;
    horo_op_find("poincare.mobius_add", &op);
    const auto call = [&](int64_t first, int64_t count, T* to) {
        CHECK(horo_row_op(op, code<T>(), count, dim, x.data() + first * dim, dim, y.data() + first * dim, dim,
                          nullptr, 0, nullptr, 0, to + first * dim, dim, nullptr, 0, nullptr, 0, nullptr, 0,
                          1.0, 0, 0, 0, 0, 0, exec) == HORO_OK);
    };
    call(0, rows, out.data() + offset);
    const int64_t piece = std::max<int64_t>(1, 30000 / dim);
    for (int64_t r = 0; r < rows; r += piece) call(r, std::min(piece, rows - r), want.data());
    CHECK(std::memcmp(out.data() + offset, want.data(), n * sizeof(T)) == 0, "dim %lld", (long long)dim);
    CHECK(out[n + offset] == T(77.0) && (offset == 0 || out[offset - 1] == T(77.0)), "wrote beyond");
}

Quad norm(const Row& v) { return sqrtq(dot(v, v)); }

// The inputs of one row, each coordinate changed by a relative amount of at most h.
std::vector<Row> perturbed(std::vector<Row> in, Quad h, std::mt19937& random) {
    for (Row& row : in)
        for (Quad& v : row) v *= 1 + h * (random() % 2 ? 1 : -1);
    return in;
}

template <class T>
std::vector<Row> one_row(const Operation& op, const std::vector<std::vector<T>>& in, int64_t row,
                         int64_t dim) {
    std::vector<Row> result;
    for (size_t i = 0; i < in.size(); ++i) {
        const int64_t w = op.in[i].width(dim);
        result.emplace_back(in[i].begin() + row * w, in[i].begin() + (row + 1) * w);
    }
    return result;
}

constexpr double usual = 64;  // ulps of the row, and of its conditioning: the rule of the golden vectors

// Where an operation is known to do better.
double bound(const std::string& name) {
    return name == "lorentz.ptransp" ? 1 : usual;  // in pairs of doubles
}

template <class T>
double values(const Operation& op, const Reference& reference, int64_t rows, int64_t dim, double c) {
    const auto in = inputs<T>(op, rows, dim, c, 11);
    const auto got = run<T>(op, rows, dim, c, in)[0];
    const double eps = std::numeric_limits<T>::epsilon();
    std::mt19937 random(3);
    double worst = 0;
    const double allowed = bound(op.name);
    for (int64_t r = 0; r < rows; ++r) {
        const auto row = one_row<T>(op, in, r, dim);
        const Row want = reference(row, {c, second});
        if (!finiteq(norm(want))) continue;  // the antipode of the origin
        Quad sens = 0;
        const auto perturb = [&](const std::vector<Row>& at, const std::vector<Row>& moved) {
            const Quad change = norm(plus(reference(moved, {c, second}), -1, reference(at, {c, second})));
            sens = fmaxq(sens, change / Quad(1e-15));
        };
        for (int k = 0; k < 3; ++k) perturb(row, perturbed(row, Quad(1e-15), random));
        if (dim == 1) {  // on a line nothing turns a vector: lay it in a plane
            auto plane = row;
            for (size_t i = 0; i < row.size(); ++i)
                if (op.in[i].kind != "scalar") plane[i].push_back(0);
            for (int k = 0; k < 2; ++k) {  // together, and against each other
                auto turned = plane;
                for (size_t i = 0; i < row.size(); ++i)
                    if (op.in[i].kind != "scalar")
                        turned[i].back() = Quad(1e-15) * norm(row[i]) * (k == 1 && i % 2 ? -1 : 1);
                perturb(plane, turned);
            }
        }
        Row error = want;
        for (size_t i = 0; i < want.size(); ++i) error[i] -= got[r * want.size() + i];
        Quad limit = eps * (norm(want) + sens) + std::numeric_limits<T>::denorm_min();
        for (const Row& v : row) limit += Quad(1e-30) * norm(v);  // the reference's own rounding
        const double ratio = static_cast<double>(norm(error) / limit);
        if (!(ratio <= worst)) worst = ratio;
        CHECK(ratio <= allowed, "%s: row %lld, dim %lld, c %g: %g of %g", op.name.c_str(), (long long)r,
              (long long)dim, c, ratio, allowed);
    }
    return worst;
}

// <cotangent, f> along a direction: a central difference in quad, extrapolated twice; `error` is what the
// second extrapolation changed, and the rounding errors.
struct Slope {
    Quad value, error;
};

Slope slope(const Reference& f, const std::vector<Row>& in, const std::vector<Row>& direction, Quad c,
            Quad dc, const Row& cotangent, Quad scale) {
    Quad size = fabsq(dc);
    for (const Row& d : direction)
        if (norm(d) > size) size = norm(d);
    const auto difference = [&](Quad step) {
        auto up = in, down = in;
        for (size_t i = 0; i < in.size(); ++i)
            for (size_t j = 0; j < in[i].size(); ++j) {
                up[i][j] += step * direction[i][j];
                down[i][j] -= step * direction[i][j];
            }
        return (dot(cotangent, f(up, {c + step * dc, second})) -
                dot(cotangent, f(down, {c - step * dc, second}))) /
               (2 * step);
    };
    const Quad step = Quad(1e-9) * (dc == 0 ? scale : 1) / size;
    const Quad d1 = difference(step), d2 = difference(2 * step), d4 = difference(4 * step);
    const Quad r1 = (4 * d1 - d2) / 3, r2 = (4 * d2 - d4) / 3;
    Quad largest = norm(f(in, {c, second}));
    for (const Row& v : in) largest = fmaxq(largest, norm(v));
    return {r1, fabsq(r1 - r2) + Quad(1e-34) * norm(cotangent) * largest / step};
}

// The gradient of each input along random directions, and along the coordinates of low dimensions.
template <class T>
double gradients(const Operation& op, const Reference& reference, int64_t rows, int64_t dim, double c) {
    const auto in = inputs<T>(op, rows, dim, c, 13);
    const auto got = run<T>(op, rows, dim, c, in);
    const double eps = std::numeric_limits<T>::epsilon();
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    double worst = 0;
    const double allowed = bound(op.name);
    for (int64_t r = 0; r < rows; ++r) {
        auto row = one_row<T>(op, in, r, dim);
        const Row cotangent = row.back();
        row.pop_back();
        Quad scale = 1;  // of the shortest vector, as the step must not cross zero or x = y
        const Row *x = nullptr, *y = nullptr;
        for (size_t i = 0; i < row.size(); ++i) {
            if (op.in[i].kind == "scalar") continue;
            const Row space(row[i].begin() + (op.in[i].kind == "ambient"), row[i].end());
            scale = fminq(scale, norm(space));
            if (op.in[i].kind == "ambient" && op.params[0] == "c") scale = fminq(scale, row[i][0]);
            if (op.in[i].name == "x") x = &row[i];
            if (op.in[i].name == "y" || op.in[i].name == "p") y = &row[i];
        }
        if (x && y) scale = fminq(scale, norm(plus(*x, -1, *y)));
        if (scale < 1e-20) continue;
        if (op.name.find("oxy_angle") != std::string::npos) {  // has a kink where the points lie on one ray
            const auto ambient = op.in[0].kind == "ambient";
            const Row a = ambient ? space(*x) : *x, b = ambient ? space(*y) : *y;
            const Quad xx = dot(a, a), yy = dot(b, b), xy = dot(a, b);
            if (dim == 1 || xx * yy - xy * xy < Quad(1e-6) * xx * yy) continue;
        }
        for (size_t i = 0; i < op.out.size(); ++i) {
            const bool parameter = i >= row.size();
            const int64_t width = op.out[i].width(dim);
            const int tries = parameter ? 1 : dim <= 3 ? static_cast<int>(width) + 1 : 2;
            const Row gradient(got[i].begin() + r * width, got[i].begin() + (r + 1) * width);
            struct Try {
                Quad value, size;
                Slope at;
            };
            std::vector<Try> all;
            Quad sens = 0;  // of the whole gradient: per unit of direction, over all directions
            for (int t = 0; t < tries; ++t) {
                std::vector<Row> direction;
                for (const Row& v : row) direction.emplace_back(v.size(), Quad(0));
                if (!parameter)
                    for (int64_t j = 0; j < width; ++j)
                        direction[i][j] =
                            t == 0 ? Quad(normal(random)) : Quad(dim > 3 ? j == r % width : j == t - 1);
                const Quad dc = parameter ? 1 : 0;
                const Slope at = slope(reference, row, direction, c, dc, cotangent, scale);
                const Quad size = parameter ? 1 : norm(direction[i]);
                Quad change = 0;
                for (int k = 0; k < 3; ++k) {
                    auto moved = row;
                    moved.push_back(cotangent);
                    moved = perturbed(moved, Quad(1e-12), random);
                    const Row moved_cotangent = moved.back();
                    moved.pop_back();
                    const Slope near = slope(reference, moved, direction, c, dc, moved_cotangent, scale);
                    change = fmaxq(change, fabsq(near.value - at.value) / (Quad(1e-12) * size));
                }
                sens += change;
                all.push_back({parameter ? gradient[0] : dot(gradient, direction[i]), size, at});
            }
            // On a line the part of the Jacobian across x is missing, and with it the scale of the rounding
            // errors.
            if (dim == 1) sens += norm(cotangent);
            for (const Try& t : all) {
                const Quad limit =
                    eps * t.size * (norm(gradient) + sens) + std::numeric_limits<T>::denorm_min() * width;
                const double ratio =
                    static_cast<double>((fabsq(t.value - t.at.value) - 10 * t.at.error) / limit);
                if (!(ratio <= worst)) worst = ratio;
                CHECK(ratio <= allowed, "%s: %s, row %lld, dim %lld, c %g: %g of %g (got %g, want %g)",
                      op.name.c_str(), op.out[i].name.c_str(), (long long)r, (long long)dim, c, ratio,
                      allowed, (double)t.value, (double)t.at.value);
            }
        }
    }
    return worst;
}

void bad_arguments() {
    int32_t op = -7;
    CHECK(horo_op_find("poincare.mobius_add", &op) == HORO_OK &&
          std::strcmp(horo_op_name(op), "poincare.mobius_add") == 0);
    CHECK(horo_op_find("no such thing", &op) == HORO_INVALID_ARGUMENT);
    CHECK(horo_op_find(nullptr, &op) == HORO_INVALID_ARGUMENT);
    CHECK(horo_op_find("poincare.dist", nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::strlen(horo_op_name(-1)) == 0 && std::strlen(horo_op_signature(horo_op_count())) == 0);
    float x[8] = {}, y[8] = {}, z[8] = {};
    const auto call = [&](int32_t o, int32_t dtype, int64_t rows, int64_t dim, const void* a, int64_t as,
                          void* b, int64_t bs, double c) {
        return horo_row_op(o, dtype, rows, dim, a, as, y, dim, nullptr, 0, nullptr, 0, b, bs, nullptr, 0,
                           nullptr, 0, nullptr, 0, c, 0, 0, 0, 0, 0, nullptr);
    };
    const auto refused = [&](int32_t status, const char* word) {
        CHECK(status == HORO_INVALID_ARGUMENT, "%s accepted", word);
        CHECK(std::strstr(horo_last_error(), word), "\"%s\" does not name %s", horo_last_error(), word);
    };
    horo_op_find("poincare.mobius_add", &op);
    CHECK(call(op, HORO_F32, 2, 4, x, 4, z, 4, 1) == HORO_OK);
    CHECK(call(op, HORO_F32, 0, 4, nullptr, 4, nullptr, 4, 1) == HORO_OK);
    refused(call(-1, HORO_F32, 2, 4, x, 4, z, 4, 1), "op");
    refused(call(op, 9, 2, 4, x, 4, z, 4, 1), "dtype");
    refused(call(op, HORO_F32, -2, 4, x, 4, z, 4, 1), "rows");
    refused(call(op, HORO_F32, 2, 0, x, 4, z, 4, 1), "dim");
    refused(call(op, HORO_F32, 2, INT64_MAX, x, 4, z, 4, 1), "dim");
    refused(call(op, HORO_F32, 2, 4, nullptr, 4, z, 4, 1), "x");
    refused(call(op, HORO_F32, 2, 4, x, -4, z, 4, 1), "x");
    refused(call(op, HORO_F32, 2, 4, x, INT64_MAX, z, 4, 1), "x");
    refused(call(op, HORO_F32, 2, 4, reinterpret_cast<char*>(x) + 1, 4, z, 4, 1), "x");
    refused(call(op, HORO_F32, 2, 4, x, 4, nullptr, 4, 1), "out");
    refused(call(op, HORO_F32, 2, 4, x, 4, z, 3, 1), "out");
    refused(call(op, HORO_F32, 2, 4, x, 4, z, HORO_NOT_WANTED, 1), "out: null");
    refused(call(op, HORO_F32, 2, 3, x, 3, x + 1, 3, 1), "out: overlaps x");
    refused(call(op, HORO_F32, 2, 4, x, 0, x, 4, 1), "out: overlaps x");
    for (double c : {0.0, -1.0, std::nan(""), double{INFINITY}})
        refused(call(op, HORO_F32, 2, 4, x, 4, z, 4, c), "c");
}

}  // namespace

// Points that coordinates cannot hold, on one line, where distances from the origin add up.
template <class T>
void far_out() {
    int32_t dist, add, exp0;
    CHECK(horo_op_find("poincare.dist_gap", &dist) == HORO_OK &&
          horo_op_find("poincare.mobius_add_gap", &add) == HORO_OK &&
          horo_op_find("poincare.expmap0_gap", &exp0) == HORO_OK);
    const double c = 0.5;
    const Operation d = describe(dist), m = describe(add), e = describe(exp0);
    const std::vector<T> unit = {T(0.6), T(-0.8), T(0.25)};
    const double eps = std::numeric_limits<T>::epsilon();
    for (double first : {0.1, 3.0, 30.0, 34.0})
        for (double second_ : {-34.0, -20.0, -0.5, 0.25, 33.0}) {
            std::vector<T> point[2];
            Quad at[2];
            for (int i = 0; i < 2; ++i) {
                std::vector<T> v = unit;
                for (T& x : v) x *= static_cast<T>(i ? second_ : first);
                point[i] = run<T>(e, 1, 3, c, {v})[0];
                // where that point really lies: gaps are rounded to T, and so is the distance they say
                const Quad a = point[i][0], rho = sqrtq(1 - a);
                at[i] = (i && second_ < 0 ? -1 : 1) * logq((1 + rho) * (1 + rho) / a) / sqrtq(Quad(c));
                if (a >= Quad(0.5)) {
                    Quad square = 0;
                    for (size_t j = 1; j < point[i].size(); ++j) square += Quad(point[i][j]) * point[i][j];
                    at[i] =
                        (i && second_ < 0 ? -1 : 1) * 2 * atanhq(sqrtq(Quad(c) * square)) / sqrtq(Quad(c));
                }
            }
            const std::vector<std::vector<T>> in = {point[0], point[1]};
            const Quad want = fabsq(at[0] - at[1]), sum = fabsq(at[0] + at[1]);
            const double got = run<T>(d, 1, 3, c, in)[0][0];
            const double scale = static_cast<double>(fabsq(at[0]) + fabsq(at[1]));
            // directions differ by their rounding, which far out is a distance of its own
            const bool turned = first > 8 && std::fabs(second_) > 8 && second_ > 0;
            CHECK(turned || std::fabs(got - static_cast<double>(want)) <= 64 * eps * scale,
                  "dist_gap of %g and %g: %.17g, expected %.17g", first, second_, got, (double)want);
            const auto moved = run<T>(m, 1, 3, c, in);
            const Quad cosh = coshq(sum * sqrtq(Quad(c)) / 2);
            const double gap = static_cast<double>(1 / (cosh * cosh));
            const bool back = first > 8 && second_ < -8;
            CHECK(back || std::fabs(moved[0][0] - gap) <= 64 * eps * (1 + scale) * gap,
                  "gap of the sum of %g and %g: %g, expected %g", first, second_, (double)moved[0][0], gap);
        }
}

// Pairs at angles on both sides of where plain sums of float32 numbers are taken for good, near and far out:
// what is computed is as good as exact, as the result is off by its own rounding only.
void where_sums_are_certain(const std::string& name) {
    int32_t id;
    CHECK(horo_op_find(name.c_str(), &id) == HORO_OK);
    const Operation op = describe(id);
    const Reference& reference = references().at(name);
    const double k = 1.25;
    std::mt19937 random(29);
    std::normal_distribution<double> normal;
    for (int64_t dim : {2, 3, 16, 100, 1000}) {
        std::vector<std::vector<float>> in(op.in.size());
        int64_t rows = 0;
        for (double x_radius : {1.0, 4.0, 8.0})
            for (double y_radius : {1.0, x_radius, 6.0})
                for (int half = 2; half <= 40; half += dim < 1000 ? 1 : 4, ++rows) {
                    const double angle = std::exp2(-0.5 * half);
                    Row u(dim), w(dim);
                    for (Quad& a : u) a = normal(random);
                    for (Quad& a : w) a = normal(random);
                    u = times(1 / norm(u), u);
                    w = plus(w, -dot(u, w), u);
                    w = times(1 / norm(w), w);
                    const Row turned = plus(times(cosq(angle), u), sinq(angle), w);
                    const double cosh = std::cosh(x_radius), root = std::sqrt(k);
                    // inwards, some radii long
                    const double length = -0.8 * x_radius / std::hypot(1 / cosh, std::sin(angle));
                    for (size_t i = 0; i < op.in.size(); ++i) {
                        const std::string& what = op.in[i].name;
                        if (op.in[i].kind == "scalar") {
                            in[i].push_back(0.375f);
                            continue;
                        }
                        in[i].push_back(0.0f);
                        const double radius = what == "x"   ? root * std::sinh(x_radius)
                                              : what == "y" ? root * std::sinh(y_radius)
                                                            : length;
                        for (const Quad a : what == "x" ? u : turned)
                            in[i].push_back(static_cast<float>(radius * a));
                    }
                }
        const auto got = run<float>(op, rows, dim, k, in)[0];
        for (int64_t r = 0; r < rows; ++r) {
            const Row want = reference(one_row<float>(op, in, r, dim), {k, second});
            Row error = want;
            for (size_t i = 0; i < want.size(); ++i) error[i] -= got[r * want.size() + i];
            const double ulps =
                static_cast<double>(norm(error) / norm(want)) / std::numeric_limits<float>::epsilon();
            CHECK(ulps <= 0.51, "%s: row %lld of dim %lld: %g ulps", name.c_str(), (long long)r,
                  (long long)dim, ulps);
        }
    }
}

// The same of transport, on both sides of its own bounds: a long inward vector that arrives across the ray of
// its new point, so that all that is long in it cancels, and for the gradient by y a cotangent that nearly
// does the same to it.
void where_transport_is_certain() {
    int32_t id, vjp;
    CHECK(horo_op_find("lorentz.ptransp", &id) == HORO_OK);
    CHECK(horo_op_find("lorentz.ptransp.vjp", &vjp) == HORO_OK);
    const double k = 1.25, root = std::sqrt(k);
    const auto round = [](const Row& v) {
        std::vector<float> rounded;
        for (const Quad a : v) rounded.push_back(static_cast<float>(a));
        rounded[0] = 0;
        return rounded;
    };
    const auto exactly = [](const std::vector<float>& v) { return Row(v.begin(), v.end()); };
    std::mt19937 random(31);
    std::normal_distribution<double> normal;
    const auto test = [&](const char* what, int64_t dim, double radius, const Row& got, const Row& want) {
        const double ulps = static_cast<double>(norm(plus(got, -1, want)) / norm(want)) /
                            std::numeric_limits<float>::epsilon();
        CHECK(ulps <= 0.51, "%s: dim %lld, radius %g: %g ulps", what, (long long)dim, radius, ulps);
    };
    for (int64_t dim : {2, 3, 16, 100})
        for (int i = 0; i < 120; ++i) {
            const bool forward = i % 3 == 0;
            if (!forward && dim == 2) continue;
            const double radius = forward ? 6.5 + 0.25 * (i / 3 % 10) : 5 + 0.125 * (i / 2 % 12);
            const double to = forward ? radius : radius * (i % 2 ? 0.4 : 0.5);
            const double half_sinh = forward ? 1 : std::sinh(1.5 + 0.5 * (i % 5 % 3));
            const double angle =
                2 * std::asin(std::fmin(1, half_sinh / std::sqrt(std::sinh(radius) * std::sinh(to))));
            Row u(dim + 1), w(dim + 1);
            for (int64_t j = 1; j <= dim; ++j) u[j] = normal(random), w[j] = normal(random);
            u = times(1 / norm(u), u);
            w = plus(w, -dot(u, w), u);
            const Row turned = plus(times(cosq(angle), u), sinq(angle) / norm(w), w);
            const std::vector<float> xs = round(times(root * std::sinh(radius), u));
            const std::vector<float> ys = round(times(root * std::sinh(to), turned));
            const std::vector<float> vs = round(times(-0.75 * root * std::cosh(radius), u));
            const Row x = point(k, exactly(xs)), y = point(k, exactly(ys)), v = tangent(x, exactly(vs));
            const Row moved = lorentz_ptransp(k, x, y, v);
            if (forward) {
                test("transport", dim, radius, exactly(run<float>(describe(id), 1, dim, k, {xs, ys, vs})[0]),
                     moved);
                continue;
            }
            std::vector<float> gs;
            const Quad size = norm(moved);
            for (int64_t j = 0; j <= dim; ++j)
                gs.push_back(static_cast<float>((j ? moved[j] : -moved[0]) + 1e-5 * normal(random) * size));
            const Row g = exactly(gs);
            // of <g, v + f (x + y)>, f = <y,v>_L / d, d = K - <x,y>_L, by the space part of y
            const Quad d = k - inner(x, y), f = inner(y, v) / d, l = dot(g, plus(x, 1, y)) / d;
            Row want = plus(times(f, g), l, v);
            want = plus(want, f * l, x);
            want = plus(want, (f * g[0] - l * v[0] - f * l * x[0]) / y[0], y);
            want[0] = 0;
            Row got = exactly(run<float>(describe(vjp), 1, dim, k, {xs, ys, vs, gs})[1]);
            got[0] = 0;
            test("gradient of transport", dim, radius, got, want);
        }
}

// A long tangent vector transported back from far out: right to the last digits, whatever its conditioning.
template <class T>
void coming_home() {
    int32_t id;
    CHECK(horo_op_find("lorentz.ptransp", &id) == HORO_OK);
    const Operation op = describe(id);
    const double k = 1.75;
    for (double radius : {5.0, 12.0, 20.0}) {
        const double r = std::sinh(radius) * std::sqrt(k);
        const std::vector<T> x = {T(0), T(0.6 * r), T(-0.8 * r), T(1e-3 * r)};
        const std::vector<T> y = {T(0), T(0.25), T(0), T(-0.125)};
        const std::vector<T> v = {T(0), x[1] / 2, x[2] / 2, x[3] / 2};  // along the radius, about 1/2 long
        const std::vector<T> got = run<T>(op, 1, 3, k, {x, y, v})[0];
        const Row from = point(k, Row(x.begin(), x.end())), to = point(k, Row(y.begin(), y.end()));
        const Row want = lorentz_ptransp(k, from, to, tangent(from, Row(v.begin(), v.end())));
        const Row error = plus(Row(got.begin(), got.end()), -1, want);
        CHECK(norm(error) <= std::numeric_limits<T>::epsilon() * norm(want),
              "ptransp from radius %g: %g of %g", radius, static_cast<double>(norm(error)),
              static_cast<double>(norm(want)));
    }
}

// Tangents exactly along the ray of their point, from near the rim: the gradient of expmap_gap by its closed
// form there: along it the point moves to tanh(artanh(rho) + n), across it vectors are multiplied by one
// number. That is also the scale of the rounding errors in all directions, times how far the result turns
// when v turns against x, a/d.
template <class T>
void along_the_ray() {
    int32_t id;
    CHECK(horo_op_find("poincare.expmap_gap.vjp", &id) == HORO_OK);
    const Operation op = describe(id);
    const Quad c = 1.5;
    const std::vector<std::vector<double>> rays = {{0.75}, {0.5625, -0.75}, {0.25, -0.375, 0.75}};
    const std::vector<T> cotangent = {T(0.75), T(-0.3125), T(1.1875), T(0.4375)};
    const double eps = std::numeric_limits<T>::epsilon();
    double worst = 0, plain = 0;
    for (const std::vector<double>& ray : rays)
        for (double gap : {0.25, 1e-2, 1e-4, 2e-6, 1e-8})
            for (double length : {-5.0, -2.0, -1.0, -0.5, 0.5, 2.0}) {
                const int64_t dim = static_cast<int64_t>(ray.size());
                std::vector<T> x = {T(gap)}, v;
                for (double r : ray) x.push_back(T(r));
                // few digits, no power of two: products with it are rounded
                const double per_ray = 1.3125 * std::exp2(std::round(std::log2(gap * std::fabs(length))));
                for (double r : ray) v.push_back(T(length < 0 ? -per_ray * r : per_ray * r));
                const std::vector<T> g(cotangent.begin(), cotangent.begin() + dim + 1);
                const auto got = run<T>(op, 1, dim, static_cast<double>(c), {x, v, g});

                const Row stored = space(Row(x.begin(), x.end())), velocity(v.begin(), v.end());
                const Quad a = x[0], rho = sqrtq(1 - a), size = norm(stored);
                const Quad n = (length < 0 ? -1 : 1) * sqrtq(c) * norm(velocity) / a, tanh = tanhq(n);
                const Row unit = times(1 / size, stored), by_out = space(Row(g.begin(), g.end()));
                const Quad root_d = 1 + rho * tanh, d = root_d * root_d, end = (rho + tanh) / root_d;
                const Quad end_gap = a * (1 - tanh * tanh) / d;
                const Row across = plus(by_out, -dot(by_out, unit), unit);
                const Quad by_n = end_gap * (dot(by_out, unit) / sqrtq(c) - 2 * end * Quad(g[0]));
                const Quad turn_v = tanh / (n * d);
                const Quad turn_x = rho / (sqrtq(c) * size) * (1 + a * tanh * tanh / d);
                const Row want[] = {before(by_n * (-1 / (2 * a * rho) - n / a), times(turn_x, across)),
                                    plus(times(turn_v, across), by_n * sqrtq(c) / a, unit)};
                const Quad scale = (1 + a / d) * norm(Row(g.begin(), g.end()));
                const Quad sens[] = {scale * (turn_x + turn_v * norm(velocity) / a), scale * turn_v};
                for (int i = 0; i < 2; ++i) {
                    const Quad error = norm(plus(Row(got[i].begin(), got[i].end()), -1, want[i]));
                    const double relative = static_cast<double>(error / norm(want[i]));
                    const double units = static_cast<double>(error / (eps * (norm(want[i]) + sens[i])));
                    worst = std::fmax(worst, units);
                    plain = std::fmax(plain, relative);
                    CHECK(units <= usual && (eps < 1e-10 || relative <= 1e-6),
                          "expmap_gap along the ray, %s, dim %lld, gap %g, length %g: %g, %g units",
                          op.out[i].name.c_str(), (long long)dim, gap, length, relative, units);
                }
            }
    std::printf("poincare.expmap_gap.vjp along a ray: %.1e relative, %.2f ulps of result and conditioning\n",
                plain, worst);
}

// The time of lorentz.expmap where the vector leads back past the origin, sqrt(K) cosh(r - n), which the time
// of the point and that of the vector leave as a difference of long ones.
void time_on_the_way_back() {
    int32_t id;
    CHECK(horo_op_find("lorentz.expmap", &id) == HORO_OK);
    for (const double k : {0.25, 1.5})
        for (const double x : {1e-170, 3.0, 250.0, 49152.0})
            for (const double v : {-0.5, -1.0, -1.25, -8.0, -13.0}) {
                const Quad radius = sqrtq(k), far = radius * asinhq(x / radius);
                const Quad length = Quad(v) * x / sqrtq(1 + Quad(x) * x / k);
                const Quad want = radius * coshq((far + length) / radius);
                const double got = run<double>(describe(id), 1, 1, k, {{0, x}, {0, v * x}})[0][0];
                CHECK(fabsq(got - want) <= 64 * std::numeric_limits<double>::epsilon() * want,
                      "lorentz.expmap back from %g by %g, K %g: the time is off by %g", x, v, k,
                      static_cast<double>(fabsq(got - want) / want));
            }
}

// Rows on which a formula once cancelled, or forgot a case: directions of length 0, points at the origin, all
// that matters on one ray, derivatives by the curvature next to the origin and far out. Expected values by
// textbook definitions with 300 digits.
template <class T>
void hard_rows() {
    const struct {
        const char* name;
        size_t output;
        double curvature;
        std::vector<std::vector<double>> in;
        std::vector<double> want;  // without the time, where that has no gradient
    } cases[] = {
        {"poincare.geodesic_unit", 0, 1.5, {{0.75}, {0.25, -0.5}, {0, 0}}, {0.25, -0.5}},
        {"poincare.geodesic_unit.vjp", 0, 1.5, {{0.75}, {0.25, -0.5}, {0, 0}, {1, -0.5}}, {0}},
        {"poincare.geodesic_unit.vjp", 1, 1.5, {{0.75}, {0.25, -0.5}, {0, 0}, {1, -0.5}}, {1, -0.5}},
        {"poincare.geodesic_unit.vjp",
         0,
         1.5,
         {{24}, {9.5367431640625e-07, 4.76837158203125e-07}, {0.5, -0.25}, {1, -0.5}},
         {3.8360634006614466e-13}},
        {"poincare.dist_gap.vjp",
         1,
         1.5,
         {{0.000244140625, 0.5, -0.625}, {1, 0, 0}, {0.75}},
         {-0.61229767863811557, -0.93704257133163638, 1.1713032141645454}},
        {"poincare.mobius_add_gap.vjp",
         1,
         1.5,
         {{0.000244140625, 0.5, -0.625}, {1, 0, 0}, {0.75, -0.5, 0.25}},
         {0.00028422635887737866, -0.00040222118711496667, 0.00041122374951870833}},
        {"poincare.logmap_gap.vjp",
         0,
         1.5,
         {{1, 0, 0}, {0.000244140625, 0.5, -0.625}, {0.75, -0.5}},
         {6.4546659254029413, -2.6075478545935624, -0.98603828367484991}},
        {"poincare.dist2plane_signed.vjp",
         3,
         1.5,
         {{0, 0}, {9.5367431640625e-07, 3.814697265625e-06}, {0.5, 0.25}, {0.75}},
         {-4.2590976567662098e-17}},
        {"lorentz.expmap.vjp",
         2,
         1.5,
         {{0, 49152, -32768}, {0, 96, -64}, {0.5, 0.75, -0.25}},
         {4.2237282355316952e-06}},
        {"lorentz.logmap.vjp",
         2,
         1.5,
         {{0, 49152, -32768}, {0, 12288, -8192}, {0.5, 0.75, -0.25}},
         {7.120809141296334e-05}},
        {"lorentz.residual.vjp",
         3,
         1.5,
         {{0, 49152, -32768}, {0, 12288, -8192}, {0.5}, {0.5, 0.75, -0.25}},
         {2.0545940039042241e-05}},
        {"lorentz.mobius_add.vjp",
         2,
         1.5,
         {{0, 49152, -32768}, {0, 0, 0}, {0.5, 0.75, -0.25}},
         {4.2320266426545152e-06}},
        {"lorentz.mobius_add.vjp",
         2,
         1.5,
         {{0, 49152, -32768}, {0, -1536, 1024}, {0.5, 0.75, -0.25}},
         {8.2463267401273317}},
        {"stereographic.mobius_add",
         0,
         1.5,
         {{48, -36}, {64, -47}},
         {-0.015556658348840589, 0.011773279132416587}},
        {"stereographic.mobius_add.vjp",
         0,
         1.5,
         {{48, -36}, {64, -47}, {0.5, -0.25}},
         {5.267313767212018e-05, -9.9587548875828774e-05}},
        {"lorentz.wrapped_normal_log_prob.vjp",
         3,
         1000,
         {{0, 0, 0}, {0, 9.3132257461547852e-10, 4.6566128730773926e-10}, {0.5}, {0.75}},
         {-1.0164395367051604e-25}},
        {"lorentz.wrapped_normal_log_prob.vjp",
         3,
         999,
         {{0, 0, 0}, {0, 9.5367431640625e-07, 4.76837158203125e-07}, {0.5}, {0.75}},
         {-1.0679489335648078e-19}},
        {"stereographic.expmap.vjp",
         1,
         -1.5,
         {{0.65625, 0.4857177734375}, {-0.0003204345703125, -0.0002371668815612793}, {0.5, -0.25}},
         {151920.81395131943, -204145.00210188606}},
        {"stereographic.expmap.vjp",
         1,
         -1.5,
         {{0.65625, 0.4857177734375}, {-0.00016021728515625, -0.00011858344078063965}, {0.5, -0.25}},
         {126.58492756923374, -147.26015848233732}},
        {"poincare.geodesic_unit.vjp",
         2,
         1.5,
         {{4}, {0.65625, 0.4857177734375}, {-0.00016021728515625, -0.00011858344078063965}, {0.5, -0.25}},
         {657.36274675148138, -888.15836303995081}},
        {"stereographic.ptransp",
         0,
         1.5,
         {{9.3132257461547852e-10, 1.3969838619232178e-09}, {1073741824, -536870912}, {0.5, -0.25}},
         {-1.114980131562486e+18, -4.6599656402576781e+17}},
        {"stereographic.ptransp.vjp",
         1,
         1.5,
         {{9.3132257461547852e-10, 1.3969838619232178e-09},
          {1073741824, -536870912},
          {0.5, -0.25},
          {0.75, 0.3125}},
         {-1462827540.6598396, 733148874.60933828}},
        {"stereographic.ptransp.vjp",
         2,
         1.5,
         {{9.3132257461547852e-10, 1.3969838619232178e-09},
          {1073741824, -536870912},
          {0.5, -0.25},
          {0.75, 0.3125}},
         {-1.570121534363028e+18, 7.871930309936119e+17}},
        {"stereographic.ptransp.vjp",
         3,
         1.5,
         {{9.3132257461547852e-10, 1.3969838619232178e-09},
          {1073741824, -536870912},
          {0.5, -0.25},
          {0.75, 0.3125}},
         {-6.5496426114593485e+17}},
        {"stereographic.ptransp",
         0,
         1.5,
         {{1073741824, -536870912}, {9.3132257461547852e-10, 1.3969838619232178e-09}, {0.5, -0.25}},
         {-6.3382531594752779e-20, 2.5070943780018705e-19}},
        {"stereographic.ptransp.vjp",
         0,
         1.5,
         {{1073741824, -536870912},
          {9.3132257461547852e-10, 1.3969838619232178e-09},
          {0.5, -0.25},
          {0.75, 0.3125}},
         {4.0779794285949549e-30, 3.3621422603034985e-28}},
        {"stereographic.ptransp.vjp",
         1,
         1.5,
         {{1073741824, -536870912},
          {9.3132257461547852e-10, 1.3969838619232178e-09},
          {0.5, -0.25},
          {0.75, 0.3125}},
         {1.4215998067067646e-10, -1.7673943542840857e-10}},
        {"stereographic.geodesic",
         0,
         1.5,
         {{0.25}, {1073741824, -536870912}, {9.3132257461547852e-10, 1.3969838619232178e-09}},
         {1.5359833113154955, 1.2354648342342389}},
        {"stereographic.geodesic.vjp",
         0,
         1.5,
         {{0.25}, {1073741824, -536870912}, {9.3132257461547852e-10, 1.3969838619232178e-09}, {0.75, 0.3125}},
         {-6.8334660430793326}},
        {"stereographic.geodesic.vjp",
         2,
         1.5,
         {{0.25}, {1073741824, -536870912}, {9.3132257461547852e-10, 1.3969838619232178e-09}, {0.75, 0.3125}},
         {152736389.47812918, -189888482.0908199}},
        {"stereographic.geodesic.vjp",
         3,
         1.5,
         {{0.25}, {1073741824, -536870912}, {9.3132257461547852e-10, 1.3969838619232178e-09}, {0.75, 0.3125}},
         {-0.59470628035494555}},
        {"stereographic.geodesic.vjp",
         0,
         -1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {-0.00045974251574966803}},
        {"stereographic.geodesic.vjp",
         1,
         -1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {0.75, 0.3125}},
        {"stereographic.geodesic.vjp",
         2,
         -1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {0, 0}},
        {"stereographic.geodesic.vjp",
         3,
         -1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {0}},
        {"stereographic.geodesic.vjp",
         2,
         -1.5,
         {{1}, {-0.5, 0.25}, {0.65625, 0.4857177734375}, {0.75, 0.3125}},
         {0.75, 0.3125}},
        {"klein.geodesic.vjp",
         0,
         1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {-0.00050413862358972435}},
        {"klein.geodesic.vjp",
         1,
         1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {0.75, 0.3125}},
        {"klein.geodesic.vjp",
         2,
         1.5,
         {{0}, {0.65625, 0.4857177734375}, {-0.5, 0.25}, {0.75, 0.3125}},
         {0, 0}},
        {"klein.geodesic.vjp",
         2,
         1.5,
         {{1}, {-0.5, 0.25}, {0.65625, 0.4857177734375}, {0.75, 0.3125}},
         {0.75, 0.3125}},
        {"stereographic.expmap",
         0,
         1.5,
         {{4096, 1024}, {4194304, -3145728}},
         {-1.4112144710513119, -3.0229719914631517}},
        {"stereographic.expmap.vjp",
         0,
         1.5,
         {{4096, 1024}, {4194304, -3145728}, {0.75, 0.3125}},
         {-0.0011667233298749266, 0.00060055702573018886}},
        {"stereographic.expmap.vjp",
         1,
         1.5,
         {{4096, 1024}, {4194304, -3145728}, {0.75, 0.3125}},
         {1.0844113064139288e-07, -5.1725103778820921e-07}},
        {"stereographic.expmap.vjp",
         2,
         1.5,
         {{4096, 1024}, {4194304, -3145728}, {0.75, 0.3125}},
         {-0.026290874528707566}},
        {"stereographic.dist0.vjp",
         0,
         1.5,
         {{4096, 1024}, {0.75}},
         {5.442352653183549e-08, 1.3605881632958872e-08}},
        {"stereographic.mobius_add",
         0,
         1.5,
         {{4096, 1024}, {-0.25, 0.125}},
         {1.3803615061752881, 1.9437185539880535}},
        {"stereographic.mobius_add.vjp",
         0,
         1.5,
         {{4096, 1024}, {-0.25, 0.125}, {0.75, 0.3125}},
         {0.00011796910172628431, -0.00047143279466280771}},
        {"stereographic.mobius_add.vjp",
         1,
         1.5,
         {{4096, 1024}, {-0.25, 0.125}, {0.75, 0.3125}},
         {3.6153630065830749, -5.9091340724727894}},
        {"stereographic.mobius_add.vjp",
         2,
         1.5,
         {{4096, 1024}, {-0.25, 0.125}, {0.75, 0.3125}},
         {-1.0949038098404849}},
        {"stereographic.mobius_add",
         0,
         1.5,
         {{4096, 1024}, {-0.0625, -0.015625}},
         {10.014517114914426, 2.5036292787286065}},
        {"stereographic.mobius_add.vjp",
         1,
         1.5,
         {{4096, 1024}, {-0.0625, -0.015625}, {0.75, 0.3125}},
         {119.88221465677513, 49.950922773656302}},
        {"stereographic.mobius_add.vjp",
         2,
         1.5,
         {{4096, 1024}, {-0.0625, -0.015625}, {0.75, 0.3125}},
         {-5.5153300247786659}},
        {"lorentz.geodesic.vjp",
         2,
         1.5,
         {{0.0009765625}, {0, 49152, -32768}, {0, -96, 32}, {0.5, 0.75, -0.25}},
         {0.64191206759336594, -0.31395269765772121}},
        {"lorentz.geodesic.vjp",
         1,
         1.5,
         {{0.9990234375}, {0, -96, 32}, {0, 49152, -32768}, {0.5, 0.75, -0.25}},
         {0.64191206759336594, -0.31395269765772121}},
        {"lorentz.geodesic.vjp",
         3,
         1.5,
         {{1}, {0, -96, 32}, {0, 49152, -32768}, {0.5, 0.75, -0.25}},
         {4.2320266426545152e-06}},
        {"stereographic.geodesic",
         0,
         1.5,
         {{0.0009765625}, {1024, -96}, {0.5, 0.75}},
         {575.1877796742632, 253.38183965752876}},
        {"stereographic.geodesic.vjp",
         0,
         1.5,
         {{0.0009765625}, {1024, -96}, {0.5, 0.75}, {0.75, 0.3125}},
         {-246867.40578943313}},
        {"stereographic.geodesic.vjp",
         1,
         1.5,
         {{0.0009765625}, {1024, -96}, {0.5, 0.75}, {0.75, 0.3125}},
         {0.24647959576842285, -0.17658855824673464}},
        {"lorentz.logmap.vjp",
         2,
         1.5,
         {{0, 0, 0}, {0, 4.731118679046631e-07, -4.172325134277344e-07}, {1.25, 0.3125, 0.359375}},
         {-6.176497318678985e-23}},
        {"lorentz.ptransp.vjp",
         3,
         1.5,
         {{0, 3.0357660829594124e-17, -2.949029909160572e-17},
          {0, 0, 0},
          {0, 1.375, 0.0322265625},
          {-1.8125, -0.421875, -0.5}},
         {1.7567604911906815e-35}},
        {"lorentz.ptransp.vjp",
         2,
         1.5,
         {{0, -2720, 22528}, {0, -5440, 45056}, {0, -500, -1120}, {-0.328125, -0.65625, 2.375}},
         {-0.8696498742372674, 4.1424530760357205}},
        {"lorentz.ptransp.vjp",
         0,
         1.5,
         {{0, -16640, 9728}, {0, -8320, 4864}, {0, -4160, 2432}, {-0.59375, 1.25, 1}},
         {-0.18890192277731951, -0.03379579811823872}},
        {"lorentz.ptransp.vjp",
         1,
         1.5,
         {{0, 2624, 19712}, {0, 656, 4928}, {0, 656, 4928}, {0.359375, -0.6875, -1.875}},
         {0.012092631855701237, -0.4026029072339742}},
        {"lorentz.wrapped_normal_noise.vjp",
         0,
         1.5,
         {{0, -2720, 22528}, {0, -5440, 45056}, {0.53125, -1.25}},
         {-0.6928865818143843, -0.08358725222243703}},
        {"lorentz.wrapped_normal_noise.vjp",
         1,
         1.5,
         {{0, 14464, 2624}, {0, 28928, 5248}, {1.0625, 0.037109375}},
         {0.02530768113160032, -0.1392553534498032}},
        {"stereographic.gyration",
         0,
         1.5,
         {{0.00445556640625, 1.828125}, {0.0008921623229980469, 0.3660888671875}, {1.125, 0.12890625}},
         {1.1250148052882492, 0.12877697453856127}},
        {"stereographic.gyration.vjp",
         2,
         1.5,
         {{0.00445556640625, 1.828125},
          {0.0008921623229980469, 0.3660888671875},
          {1.125, 0.12890625},
          {-1.1875, -1.5625}},
         {-1.1873204440898815, -1.5626364462171636}},
        {"stereographic.gyration.vjp",
         0,
         1.5,
         {{0.00445556640625, 1.828125},
          {0.0008921623229980469, 0.3660888671875},
          {1.125, 0.12890625},
          {-1.1875, -1.5625}},
         {453.0838185360366, -1.130202173813024}},
        {"stereographic.gyration.vjp",
         1,
         1.5,
         {{0.00445556640625, 1.828125},
          {0.0008921623229980469, 0.3660888671875},
          {1.125, 0.12890625},
          {-1.1875, -1.5625}},
         {-2262.5492386304595, 5.384363069711012}},
        {"stereographic.logmap.vjp",
         2,
         1.5,
         {{15488, 14976}, {5.184119800105691e-11, 1.2369127944111824e-09}, {-0.40625, 0.4375}},
         {-3577425.118262405}},
        {"stereographic.logmap",
         0,
         1.5,
         {{-1952, 20736}, {-1.8335413187742233e-09, 1.3278622645884752e-10}},
         {78165274.65826818, -830850215.098493}},
        {"stereographic.logmap.vjp",
         0,
         1.5,
         {{-10752, -7872}, {7.275957614183426e-10, -5.3660187404602766e-11}, {1.6875, 0.1484375}},
         {-73237.77259761572, -25754.330725741307}},
        {"stereographic.logmap.vjp",
         1,
         1.5,
         {{-1952, 20736}, {-1.8335413187742233e-09, 1.3278622645884752e-10}, {0.25, -1.125}},
         {3725546498337.727, 350172863589.3822}},
        {"stereographic.mobius_add.vjp",
         0,
         1.5,
         {{-0.33203125, -0.84375}, {-0.3028564453125, -0.769775390625}, {0.5625, 2.375}},
         {161.82991923553615, 272.52933572992333}},
        {"stereographic.mobius_add.vjp",
         1,
         1.5,
         {{-0.033203125, 0.205078125}, {-0.576904296875, 3.5634765625}, {1.125, -1.0625}},
         {76.7463421742813, -72.51092899494122}},
        {"stereographic.ptransp.vjp",
         3,
         1.5,
         {{-1.734375, -0.00726318359375},
          {0.3873291015625, 0.0016222000122070312},
          {-1.578125, -1.046875},
          {-0.5, -0.875}},
         {-0.16208256478456184}},
        {"stereographic.ptransp",
         0,
         1.5,
         {{-1.734375, -0.00726318359375}, {0.3873291015625, 0.0016222000122070312}, {-1.578125, -1.046875}},
         {-0.3507034747478846, -0.23269633685857416}},
        {"stereographic.ptransp.vjp",
         2,
         1.5,
         {{0.00445556640625, 1.828125},
          {-0.0008921623229980469, -0.3660888671875},
          {0.6640625, 1.265625},
          {0.296875, -0.6875}},
         {0.0592809428526933, -0.13732553904813186}},
        {"stereographic.ptransp.vjp",
         0,
         1.5,
         {{-1.734375, -0.00726318359375},
          {0.3873291015625, 0.0016222000122070312},
          {-1.578125, -1.046875},
          {-0.5, -0.875}},
         {0.23843482497523877, 28.83234800063355}},
        {"stereographic.ptransp.vjp",
         1,
         1.5,
         {{-1.734375, -0.00726318359375},
          {0.3873291015625, 0.0016222000122070312},
          {-1.578125, -1.046875},
          {-0.5, -0.875}},
         {-0.18775552178103433, 129.09969064798355}},
        {"lorentz.expmap.vjp",
         1,
         1.5,
         {{0, 3136, 9856}, {0, -6272, -19712}, {-0.09375, 0.6875, 0.625}},
         {0.8337916453268029, -0.16442262115909653}},
        {"lorentz.expmap.vjp",
         0,
         1.5,
         {{0, 3136, 9856}, {0, 25088, 78848}, {0.03515625, -1.25, -0.75}},
         {5328.416472660044, 21484.045982333617}},
        {"stereographic.expmap.vjp",
         2,
         1.5,
         {{-13696, 1536}, {-6.798654794692993e-08, -2.1047890186309814e-07}, {-0.125, -0.2421875}},
         {8.3086141133116e-29}},
        {"stereographic.geodesic",
         0,
         1.5,
         {{0.25}, {-0.6953125, 2.515625}, {0.0680699348449707, -0.2462754249572754}},
         {2.4328218505158348, -8.769012564090241}},
        {"stereographic.geodesic.vjp",
         0,
         1.5,
         {{0.25}, {1.84375, 1.2421875}, {-0.24877071380615234, -0.1676039695739746}, {2, 1.5625}},
         {1960.558864929484}},
        {"stereographic.geodesic.vjp",
         1,
         1.5,
         {{0.03125}, {-12.4375, -18.5}, {0.01669040322303772, 0.02482593059539795}, {-0.84375, 0.75}},
         {-35690.45052004083, 24009.657713828925}},
        {"stereographic.geodesic.vjp",
         2,
         1.5,
         {{0.75}, {-0.7734375, 1.3515625}, {0.21269917488098145, -0.3716864585876465}, {2.125, -1.1875}},
         {5960.654093608374, 3406.901734168014}},
        {"stereographic.geodesic.vjp",
         3,
         1.5,
         {{-0.5}, {0.5390625, 0.5703125}, {-0.5837230682373047, -0.6175622940063477}, {-1.125, 1.125}},
         {-0.7938730405049296}},
        {"stereographic.geodesic.vjp",
         3,
         1.5,
         {{1.5}, {151, 3.390625}, {-151.09375, -3.392822265625}, {0.78125, 0.140625}},
         {-0.0011532709041670076}},
        {"stereographic.geodesic.vjp",
         3,
         1.5,
         {{0.03125}, {-164, -108.5}, {-135, -117}, {-0.08984375, -0.08984375}},
         {1.3832286764632972e-07}},
        {"stereographic.geodesic.vjp",
         3,
         1.5,
         {{0.25}, {402653184, -134217728}, {-536870912, 1073741824}, {0.75, 0.3125}},
         {-2.660119130229896e-10}},
        {"poincare.oxy_angle.vjp",
         0,
         1.5,
         {{-0.25, -0.3046875}, {0.12500058114528656, 0.1523432731628418}, {1.25}},
         {-0.5614521622856368, 0.4606737568703793}},
        {"poincare.oxy_angle.vjp",
         1,
         1.5,
         {{-0.17578125, -0.22265625}, {0.08789104968309402, 0.11132778972387314}, {1.25}},
         {-1.9119308959645456, 1.5094237486966928}},
        {"poincare.dist_gap.vjp",
         0,
         1.5,
         {{3.725290298461914e-09, -0.041015625, 1.5},
          {1.862645149230957e-09, -0.0333251953125, 1.21875},
          {-1.4375}},
         {-315066409.12103355, 0, 0}},
        {"poincare.logmap_gap.vjp",
         0,
         1.5,
         {{0.001953125, 0.21875, 0.09765625},
          {5.960464477539063e-08, 0.287109375, 0.128173828125},
          {0.6875, -0.6875}},
         {1.6172608238629376, -26.199189500371563, 58.686184480832296}},
        {"poincare.logmap_gap.vjp",
         1,
         1.5,
         {{9.5367431640625e-07, 0.05859375, -0.07421875},
          {0.0001220703125, 0.047607421875, -0.060302734375},
          {0.28125, 0.1953125}},
         {-6.691068761788222e-05, 0.001688405686697231, 0.0013329518579188666}},
        {"poincare.mobius_add_gap.vjp",
         0,
         1.5,
         {{1.4901161193847656e-08, 1.625, 0.6875},
          {1.4901161193847656e-08, -2.1328125, -0.90234375},
          {0.5625, 0.90625, -0.140625}},
         {-21365158.73140356, 5839772.803025096, -13803099.352604771}},
    };
    const double allowed = std::numeric_limits<T>::epsilon() * (sizeof(T) == 8 ? 16 : 1);
    for (const auto& c : cases) {
        int32_t id;
        CHECK(horo_op_find(c.name, &id) == HORO_OK);
        std::vector<std::vector<T>> in;
        for (const auto& v : c.in) in.emplace_back(v.begin(), v.end());
        const std::vector<T> got = run<T>(describe(id), 1, 2, c.curvature, in)[c.output];
        const size_t time = got.size() - c.want.size();
        double error = 0, size = 0;
        for (size_t i = 0; i < c.want.size(); ++i) {
            error = std::hypot(error, got[time + i] - c.want[i]);
            size = std::hypot(size, c.want[i]);
        }
        CHECK(error <= allowed * size, "%s: output %zu is off by %g", c.name, c.output, error / size);
    }
}

// All operations, or those whose names start with an argument.
int main(int argc, char** argv) {
    bad_arguments();
    far_out<float>();
    far_out<double>();
    coming_home<float>();
    coming_home<double>();
    along_the_ray<float>();
    along_the_ray<double>();
    time_on_the_way_back();
    hard_rows<float>();
    hard_rows<double>();
    for (const char* name : {"dist", "sqdist", "expmap", "logmap", "ptransp", "geodesic", "norm", "residual"})
        where_sums_are_certain(std::string("lorentz.") + name);
    where_transport_is_certain();
    horo_exec *one = nullptr, *three = nullptr;
    CHECK(horo_exec_create(-1, 1, nullptr, &one) == HORO_OK);
    CHECK(horo_exec_create(-1, 3, nullptr, &three) == HORO_OK);
    for (int32_t id = 0; id < horo_op_count(); ++id) {
        const Operation op = describe(id);
        bool wanted = argc == 1;
        for (int i = 1; i < argc; ++i) wanted |= op.name.compare(0, std::strlen(argv[i]), argv[i]) == 0;
        if (!wanted) continue;
        // the engine is the same for all: every third operation for every shape
        static constexpr int64_t dims[] = {1,  2,  3,  4,  5,   7,   8,   15,   16,
                                           17, 31, 33, 64, 100, 128, 300, 1000, 1025};
        for (size_t i = static_cast<size_t>(id) % 3; i < std::size(dims); i += 3) {
            const int64_t dim = dims[i];
            for (int64_t rows : {0, 1, 2, 31, 33}) {
                layouts<float>(op, rows, dim, one, three);
                layouts<double>(op, rows, dim, one, three);
            }
        }
        const int64_t many_rows_dim = id % 3 == 0 ? 2 : id % 3 == 1 ? 17 : 100;
        layouts<float>(op, 1003, many_rows_dim, one, three);
        layouts<double>(op, 1003, many_rows_dim, one, three);
        const int64_t some[] = {1, 3, 8, 17, 100};
        layouts<Bf16>(op, 33, some[id % 5], one, three);
        layouts<F16>(op, 33, some[(id + 2) % 5], one, three);
        layouts<Bf16>(op, 3, 9001, one, three);  // wider than what is converted at once
        const int64_t wide[] = {64, 33, 9, 300, 17};
        past_cache<float>(op, wide[id % 5], one_of(op, id, three));
        past_cache<double>(op, wide[(id + 2) % 5], one_of(op, id + 1, three));
        past_cache<Bf16>(op, wide[(id + 3) % 5], one_of(op, id + 2, three));
        past_cache<F16>(op, wide[(id + 4) % 5], one_of(op, id + 3, three));
        past_cache<float>(op, 100, one_of(op, id + 4, three));
        Layout lines;  // rows of lines of their own, apart from each other: a large vector begins at 16 of 64
        lines.exec = three;
        lines.pad = 32;
        lines.offset = 12;
        const bool ambient = op.out[0].kind == "ambient";
        past_cache<float>(op, 64 - ambient, lines);
        lines.offset = 24;
        past_cache<Bf16>(op, 64 - ambient, lines);
        // An optimiser keeps points inside the last radius of the storage type: another function then.
        const bool optimiser =
            op.name.find("sgd") != std::string::npos || op.name.find("adam") != std::string::npos;
        double worst_bf16 = 0, worst_f16 = 0;
        for (int64_t dim : {1, 2, 3, 8, 17, 33, 128}) {
            if (optimiser) break;
            const int64_t rows = dim < 128 ? 36 : 216;  // so many numbers that some cancel to a thousandth
            worst_bf16 = std::fmax(worst_bf16, sixteen_bits<Bf16>(op, rows, dim, 1.0));
            worst_f16 = std::fmax(worst_f16, sixteen_bits<F16>(op, rows, dim, 1.0));
        }
        // Coefficients and products of coordinates that float32 does not hold.
        if (!optimiser && op.params.size() == 1 && op.params[0] == "c")
            for (double c : {0x1p-220, 0x1p250})
                worst_bf16 = std::fmax(worst_bf16, sixteen_bits<Bf16>(op, 36, 33, c));
        const std::string forward = op.vjp() ? op.name.substr(0, op.name.size() - 4) : op.name;
        auto reference = references().find(op.name);
        if (reference == references().end()) reference = references().find(forward);
        if (reference == references().end()) continue;
        double worst32 = 0, worst64 = 0;
        for (int64_t dim : {1, 2, 3, 4, 8, 17, 33, 128}) {
            const int64_t rows = dim <= 3 ? 36 : dim <= 33 ? 9 : 3;
            for (double c : {1.0, 0.25, 2.5, 0.0, -1e-10, -2.5}) {
                if (c <= 0 && op.params[0] != "kappa:any") continue;
                if (std::fabs(c) != 2.5 && dim > 3) continue;
                const auto test = [&](double& worst, double error) { worst = std::fmax(worst, error); };
                if (op.vjp()) {
                    test(worst32, gradients<float>(op, reference->second, rows, dim, c));
                    if (dim > 1)  // for the same reason
                        test(worst64, gradients<double>(op, reference->second, rows, dim, c));
                    continue;
                }
                test(worst32, values<float>(op, reference->second, rows, dim, c));
                test(worst64, values<double>(op, reference->second, rows, dim, c));
            }
        }
        std::printf(
            "%-28s worst error, in ulps of result and conditioning: float32 %.2f, float64 %.2f; in ulps: "
            "bf16 "
            "%.3f, f16 %.3f\n",
            op.name.c_str(), worst32, worst64, worst_bf16, worst_f16);
    }
    for (const horo_exec* exec : {one, three}) {
        for (int64_t dim : {2, 3, 8, 33, 300}) large<float>(1600000 / dim, dim, 0, exec);
        large<float>(500001, 3, 1, exec);
        large<float>(40001, 33, 5, exec);
        large<float>(20, 100000, 1, exec);
        large<double>(200001, 5, 1, exec);
        large<Bf16>(750001, 4, 1, exec);
        large<F16>(31, 100001, 0, exec);
        large<Bf16>(25001, 64, 0, exec);  // whole lines
        large<Bf16>(40001, 33, 5, exec);
    }
    horo_exec_destroy(one);
    horo_exec_destroy(three);
    return check_result();
}
