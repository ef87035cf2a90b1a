// Steps of Riemannian optimizers on rows of points, as row operations: one reads a point, its Euclidean
// gradient and the state of its row and writes the new point and state. The state of a row lies in the
// tangent space at the point and is transported with it; none of the inputs is changed.
//
// The stochastic gradient steps follow S. Bonnabel, "Stochastic Gradient Descent on Riemannian Manifolds"
// (2013), momentum as in PyTorch's SGD; the adaptive ones G. Becigneul, O. Ganea, "Riemannian Adaptive
// Optimization Methods" (2019), with one second moment per point.
#pragma once
#include "geometry/poincare.h"

namespace horo {

// Reduces to the six products of (x, g, m), in[at_m] being m; without m (at_m < 0) to the first three.
template <int at_m, class V, class Acc>
HORO_HD void reduce_step(const V* in, Acc& sum) {
    sum.dot(0, in[0], in[0]);
    sum.dot(1, in[0], in[1]);
    sum.dot(2, in[1], in[1]);
    if constexpr (at_m >= 0) {
        sum.dot(3, in[0], in[at_m]);
        sum.dot(4, in[1], in[at_m]);
        sum.dot(5, in[at_m], in[at_m]);
    }
}

// A vector a x + b g + d m.
template <class V>
struct Combination {
    V x, g, m;
};

template <class V>
HORO_HD Combination<V> scaled(V s, const Combination<V>& a) {
    return {s * a.x, s * a.g, s * a.m};
}
template <class V>
HORO_HD Combination<V> plus(const Combination<V>& a, const Combination<V>& b) {
    return {a.x + b.x, a.g + b.g, a.m + b.m};
}

// The products of x, g and m.
template <class V>
struct Gram {
    Sum<V> xx, xg, gg, xm, gm, mm;

    HORO_HD explicit Gram(const Sum<V>* sum, bool momentum)
        : xx(sum[0]), xg(sum[1]), gg(sum[2]), xm{}, gm{}, mm{} {
        if (momentum) xm = sum[3], gm = sum[4], mm = sum[5];
    }
    HORO_HD V dot_x(const Combination<V>& a) const { return a.x * xx.hi + a.g * xg.hi + a.m * xm.hi; }
    HORO_HD V dot(const Combination<V>& a, const Combination<V>& b) const {
        return a.x * dot_x(b) + a.g * (b.x * xg.hi + b.g * gg.hi + b.m * gm.hi) +
               a.m * (b.x * xm.hi + b.g * gm.hi + b.m * mm.hi);
    }
    HORO_HD V square(const Combination<V>& a) const {
        const V s = dot(a, a);
        return choose<V>(s < 0.0, V{}, s);
    }
};

// The two geometries offer the same: the Riemannian gradient of the row and its squared length, the end of a
// geodesic from x, the transport of a tangent vector along it, and the time coordinate of the end.
namespace poincare {

struct Geometry {
    static constexpr bool precise = false;

    template <class V>
    struct Step {
        double c, least;  // least: gap at the last radius at which a stored point is surely inside
        Gram<V> gram;
        V inside;  // x is taken times this: 1, unless it lies beyond that radius
        Sum<V> xx;
        V a;  // gap
        Combination<V> gradient;
        V square;

        V b, sech2;  // gap at the end
        Combination<V> end, chord;

        HORO_HD Step(const Solve<V>& row, double weight_decay, bool momentum)
            : c(row.param[0]), gram(row.sum, momentum) {
            const double radius = 1.0 - 8.0 * row.rounding;
            least = (1.0 - radius) * (1.0 + radius);
            const auto beyond = gap(c, gram.xx) < least;
            const V norm = square_root<V>(choose<V>(beyond, c * gram.xx.hi, V{} + 1.0));
            inside = choose<V>(beyond, radius / norm, V{} + 1.0);
            xx = {inside * inside * gram.xx.hi, inside * inside * gram.xx.lo};
            a = gap(c, xx);
            const Combination<V> euclidean{weight_decay * inside, V{} + 1.0, V{}};
            gradient = scaled<V>(0.25 * a * a, euclidean);
            square = 0.25 * a * a * gram.square(euclidean);
        }

        HORO_HD void go(const Combination<V>& u) {
            const ExpmapParts<V> p(c, xx, {gram.square(u), V{}}, {inside * gram.dot_x(u), V{}});
            const V by_u = p.kappa * a * p.inverse;
            sech2 = p.b;
            end = plus<V>({(p.share + a * p.inverse) * inside, V{}, V{}}, scaled(by_u, u));
            // the end minus x, free of cancellation
            chord = plus<V>({a * (1.0 - p.b) * p.inverse * inside, V{}, V{}}, scaled(by_u, u));
            b = a * p.b * p.inverse;
            const auto beyond = b < least;
            const V clip = choose<V>(beyond, square_root<V>((1.0 - least) / (1.0 - b)), V{} + 1.0);
            end = scaled(clip, end);
            b = choose<V>(beyond, V{} + least, b);
        }

        // lambda_x / lambda_y gyr[y, -x] v
        HORO_HD Combination<V> transport(const Combination<V>& v) const {
            const V p = gram.dot(end, v), q = gram.dot(chord, v), wide = 1.0 - sech2;
            const V scale = 2.0 * c / (a * a);
            const V by_end = scale * a * ((b * wide + sech2) * q - b * wide * p);
            const V by_chord = -scale * sech2 * ((1.0 - b) * q + b * p);
            return plus(scaled<V>(b / a, v), plus(scaled(by_end, end), scaled(by_chord, chord)));
        }

        HORO_HD V time() const { return V{}; }
    };
};

}  // namespace poincare

namespace lorentz {

// Tangent vectors are their space parts, of which the time is <x,v>/x0; so are points.
struct Geometry {
    static constexpr bool precise = true;

    template <class V>
    struct Step {
        double k;
        Gram<V> gram;
        V x0;
        V cross_gg, cross_gm, cross_mm;  // |x|^2 <a,b> - <x,a><x,b>
        Combination<V> gradient;
        V square;

        V cosh, sinh, half;  // sinh: sinh(n)/n; half: tanh(n/2)/(n/2)
        Combination<V> move, end;

        HORO_HD Step(const Solve<V>& row, double weight_decay, bool momentum)
            : k(row.param[0]), gram(row.sum, momentum) {
            x0 = square_root<V>(k + gram.xx.hi);
            cross_gg = cross(gram.gg, gram.xg, gram.xg);
            cross_gm = cross(gram.gm, gram.xg, gram.xm);
            cross_mm = cross(gram.mm, gram.xm, gram.xm);
            // the gradient along the hyperboloid in the chart of space parts, then raised by its metric
            const Combination<V> chart{weight_decay + (row.scalar[1] + weight_decay * x0) / x0, V{} + 1.0,
                                       V{}};
            const V radial = gram.dot_x(chart);
            gradient = plus<V>(chart, {radial / k, V{}, V{}});
            square = gram.square(chart) + radial * radial / k;
        }

        HORO_HD V cross(const Sum<V>& ab, const Sum<V>& xa, const Sum<V>& xb) const {
            const Sum<V>& xx = gram.xx;
            const Sum<V> p = two_product<V>(xx.hi, ab.hi), q = two_product<V>(xa.hi, xb.hi);
            return (p.hi - q.hi) + (p.lo - q.lo) +
                   (xx.hi * ab.lo + xx.lo * ab.hi - xa.hi * xb.lo - xa.lo * xb.hi);
        }

        // <u,v>_L of tangent vectors
        HORO_HD V inner(const Combination<V>& u, const Combination<V>& v) const {
            const V c = u.g * v.g * cross_gg + (u.g * v.m + u.m * v.g) * cross_gm + u.m * v.m * cross_mm;
            return (k * gram.dot(u, v) + c) / (x0 * x0);
        }

        HORO_HD void go(const Combination<V>& u) {
            const V w = inner(u, u) / k;
            const TanhParts<V> p = tanh_parts<V>(0.25 * choose<V>(w < 0.0, V{}, w));
            cosh = 2.0 / p.sech2 - 1.0;
            sinh = p.ratio / p.sech2;
            half = p.ratio;
            move = u;
            end = plus<V>({cosh, V{}, V{}}, scaled(sinh, u));
        }

        // v + <y,v>_L / (K - <x,y>_L) (x + y)
        HORO_HD Combination<V> transport(const Combination<V>& v) const {
            const V s = half / (2.0 * k) * inner(move, v);
            return plus(v, plus<V>({s, V{}, V{}}, scaled(s, end)));
        }

        HORO_HD V time() const { return cosh * x0 + sinh * gram.dot_x(move) / x0; }
    };
};

}  // namespace lorentz

// x' = exp_x(-lr g)
template <class Geometry>
struct Sgd : RowOperation {
    static constexpr bool precise = Geometry::precise;
    static constexpr int dots = 3, sums = 3, coefficients = 2;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_step<-1>(in, sum);
    }
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        typename Geometry::template Step<V> step(row, row.param[2], false);
        step.go(scaled<V>(V{} - row.param[1], step.gradient));
        row.k[0] = step.end.x;
        row.k[1] = step.end.g;
        row.result[0] = step.time();
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0] + k[1] * in[1];
    }
};

// What the steps with a first moment have in common: two outputs made of x, g and m.
template <class Geometry>
struct MomentStep : RowOperation {
    static constexpr bool precise = Geometry::precise;
    static constexpr int dots = 6, sums = 6, coefficients = 6;

    template <class V, class Acc>
    HORO_HD static void reduce(const V* in, Acc& sum) {
        reduce_step<2>(in, sum);
    }
    template <class V, class Step>
    HORO_HD static void leave(const Solve<V>& row, const Step& step, const Combination<V>& moment) {
        const Combination<V> m = step.transport(moment);
        row.k[0] = step.end.x, row.k[1] = step.end.g, row.k[2] = step.end.m;
        row.k[3] = m.x, row.k[4] = m.g, row.k[5] = m.m;
        row.result[0] = step.time();
    }
    template <class V>
    HORO_HD static void combine(const V* in, const V* k, V* out) {
        out[0] = k[0] * in[0] + k[1] * in[1] + k[2] * in[2];
        out[1] = k[3] * in[0] + k[4] * in[1] + k[5] * in[2];
    }
};

// m = momentum m + (1 - dampening) g, x' = exp_x(-lr m), with Nesterov exp_x(-lr (g + momentum m))
template <class Geometry, bool nesterov>
struct SgdMomentum : MomentStep<Geometry> {
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double lr = row.param[1], momentum = row.param[2], share = 1.0 - row.param[3];
        typename Geometry::template Step<V> step(row, row.param[4], true);
        const Combination<V> m = plus<V>(scaled<V>(V{} + share, step.gradient), {V{}, V{}, V{} + momentum});
        step.go(scaled<V>(V{} - lr, nesterov ? plus(step.gradient, scaled<V>(V{} + momentum, m)) : m));
        MomentStep<Geometry>::leave(row, step, m);
    }
};

// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) |g|^2, x' = exp_x(-step m / (sqrt(v) + eps))
template <class Geometry, bool amsgrad>
struct Adam : MomentStep<Geometry> {
    template <class V>
    HORO_HD static void solve(const Solve<V>& row) {
        const double lr = row.param[1], beta1 = row.param[2], beta2 = row.param[3], eps = row.param[4];
        typename Geometry::template Step<V> step(row, row.param[5], true);
        const Combination<V> m =
            plus<V>(scaled<V>(V{} + (1.0 - beta1), step.gradient), {V{}, V{}, V{} + beta1});
        const V v = beta2 * row.scalar[2] + (1.0 - beta2) * step.square;
        V most = v;
        if constexpr (amsgrad) {
            most = choose<V>(row.scalar[3] > v, row.scalar[3], v);
            row.result[2] = most;
        }
        const V size = square_root(most) + eps;
        step.go(scaled<V>(-lr / choose<V>(size == 0.0, V{} + 1.0, size), m));
        MomentStep<Geometry>::leave(row, step, m);
        row.result[1] = v;
    }
};

#define HORO_SGD_DOC "Riemannian gradient descent: out_x = exp_x(-lr grad(g + weight_decay x))."
#define HORO_MOMENTUM_DOC                                                                                 \
    "Riemannian gradient descent with momentum: m <- momentum m + (1 - dampening) grad(g + weight_decay " \
    "x), out_x = exp_x(-lr d), out_m = m transported to out_x; "
#define HORO_ADAM_DOC                                                                                    \
    "Riemannian Adam; s holds v, then m. h = grad(g + weight_decay x), m <- beta1 m + (1 - beta1) h, v " \
    "<- beta2 v + (1 - beta2) |h|_x^2, out_x = exp_x(-step m / (sqrt(v) + eps)), out_s = v and m "       \
    "transported to out_x. Bias correction at time t: step = lr sqrt(1 - beta2^t) / (1 - beta1^t), eps " \
    "times sqrt(1 - beta2^t)."
#define HORO_AMSGRAD_DOC HORO_ADAM_DOC " AMSGrad: w, the largest v so far, takes its place in the step."

#define HORO_OPTIMIZERS(MODEL, KIND, CURVATURE, RANGE)                                                \
    struct Rsgd : Sgd<Geometry> {                                                                     \
        static constexpr const char* name = MODEL ".rsgd";                                            \
        static constexpr const char* signature =                                                      \
            "x:" KIND " g:" KIND "; " CURVATURE " lr:any weight_decay:any -> out_x:" KIND;            \
        static constexpr const char* doc = HORO_SGD_DOC RANGE;                                        \
    };                                                                                                \
    struct RsgdMomentum : SgdMomentum<Geometry, false> {                                              \
        static constexpr const char* name = MODEL ".rsgd_momentum";                                   \
        static constexpr const char* signature =                                                      \
            "x:" KIND " g:" KIND " m:row; " CURVATURE                                                 \
            " lr:any momentum:any dampening:any weight_decay:any -> out_x:" KIND " out_m:row";        \
        static constexpr const char* doc = HORO_MOMENTUM_DOC "d = m." RANGE;                          \
    };                                                                                                \
    struct RsgdNesterov : SgdMomentum<Geometry, true> {                                               \
        static constexpr const char* name = MODEL ".rsgd_nesterov";                                   \
        static constexpr const char* signature = RsgdMomentum::signature;                             \
        static constexpr const char* doc =                                                            \
            HORO_MOMENTUM_DOC "d = grad(g + weight_decay x) + momentum m." RANGE;                     \
    };                                                                                                \
    struct Radam : Adam<Geometry, false> {                                                            \
        static constexpr const char* name = MODEL ".radam";                                           \
        static constexpr const char* signature =                                                      \
            "x:" KIND " g:" KIND " s:ambient; " CURVATURE                                             \
            " step:any beta1:any beta2:any eps:any weight_decay:any -> out_x:" KIND " out_s:ambient"; \
        static constexpr const char* doc = HORO_ADAM_DOC RANGE;                                       \
    };                                                                                                \
    struct RadamAmsgrad : Adam<Geometry, true> {                                                      \
        static constexpr const char* name = MODEL ".radam_amsgrad";                                   \
        static constexpr const char* signature =                                                      \
            "x:" KIND " g:" KIND " s:ambient w:scalar; " CURVATURE                                    \
            " step:any beta1:any beta2:any eps:any weight_decay:any -> out_x:" KIND                   \
            " out_s:ambient out_w:scalar";                                                            \
        static constexpr const char* doc = HORO_AMSGRAD_DOC RANGE;                                    \
    };

namespace poincare {
HORO_OPTIMIZERS("poincare", "row", "c",
                " A point on or beyond the rim is first moved inside; the result is inside.")
}
namespace lorentz {
HORO_OPTIMIZERS("lorentz", "ambient", "K",
                " m is the space part of a tangent vector; the stored time of x is not read.")
}

#undef HORO_OPTIMIZERS
#undef HORO_AMSGRAD_DOC
#undef HORO_ADAM_DOC
#undef HORO_MOMENTUM_DOC
#undef HORO_SGD_DOC

}  // namespace horo
