// Operations on sets of points and maps by a matrix, against their definitions in quadruple precision: every
// result and gradient within 64 units of machine epsilon of its length plus its conditioning. Run once per
// instruction set (HORO_ISA).
#include <quadmath.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"
#include "storage.h"

namespace {

using Quad = __float128;
using Numbers = std::vector<Quad>;
using Inputs = std::vector<Numbers>;  // the curvature last, one number

Quad dot(const Quad* a, const Quad* b, size_t n) {
    Quad s = 0;
    for (size_t i = 0; i < n; ++i) s += a[i] * b[i];
    return s;
}
Quad dot(const Numbers& a, const Numbers& b) { return dot(a.data(), b.data(), a.size()); }

double length(const Numbers& a) { return static_cast<double>(sqrtq(dot(a, a))); }

double distance(const Numbers& a, const Numbers& b) {
    Numbers d(a.size());
    for (size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
    const double n = length(d);
    return n == n ? n : std::numeric_limits<double>::infinity();
}

// A 16-bit number as a batch stores it.
template <class Storage>
struct Short {
    uint16_t bits = 0;
    double value() const { return Storage::get(bits); }
};

template <class T>
constexpr int32_t dtype = sizeof(T) == 4 ? HORO_F32 : HORO_F64;
template <class Storage>
constexpr int32_t dtype<Short<Storage>> = Storage::dtype;
template <class T>
constexpr double epsilon = std::numeric_limits<T>::epsilon();

// ---- Definitions. Lorentz points are space parts.

enum Model { poincare = HORO_POINCARE, lorentz = HORO_LORENTZ, klein = HORO_KLEIN };

// The vector in Minkowski space, time first, with <X,X>_L = -K.
Numbers lift(int model, const Quad* x, size_t dim, Quad curvature) {
    Numbers v(dim + 1);
    const Quad xx = dot(x, x, dim);
    if (model == lorentz) {
        v[0] = sqrtq(curvature + xx);
        for (size_t i = 0; i < dim; ++i) v[i + 1] = x[i];
    } else if (model == poincare) {
        const Quad a = 1 - curvature * xx;
        v[0] = (1 + curvature * xx) / a / sqrtq(curvature);
        for (size_t i = 0; i < dim; ++i) v[i + 1] = 2 * x[i] / a;
    } else {
        const Quad gamma = 1 / sqrtq(1 - curvature * xx);
        v[0] = gamma / sqrtq(curvature);
        for (size_t i = 0; i < dim; ++i) v[i + 1] = gamma * x[i];
    }
    return v;
}

Quad minkowski(const Numbers& a, const Numbers& b) { return dot(a, b) - 2 * a[0] * b[0]; }

Quad square_radius(int model, Quad curvature) { return model == lorentz ? curvature : 1 / curvature; }

// A vector of the hyperboloid in the model's own coordinates.
Numbers lower(int model, Numbers v, Quad curvature) {
    const Quad root = sqrtq(square_radius(model, curvature));
    if (model == lorentz) return v;
    const Quad scale = model == poincare ? root / (root + v[0]) : root / v[0];
    for (Quad& e : v) e *= scale;
    return Numbers(v.begin() + 1, v.end());
}

Numbers weighted(int model, const Inputs& in, const Numbers& factor) {
    const Numbers &x = in[0], &w = in[1];
    const Quad c = in[2][0];
    const size_t dim = x.size() / w.size();
    Numbers s(dim + 1, 0);
    for (size_t i = 0; i < w.size(); ++i) {
        const Numbers v = lift(model, x.data() + i * dim, dim, c);
        for (size_t j = 0; j <= dim; ++j) s[j] += w[i] * factor[i] * v[j];
    }
    const Quad n = sqrtq(square_radius(model, c) / -minkowski(s, s)) * (s[0] < 0 ? -1 : 1);
    for (Quad& e : s) e *= n;
    return s;
}

Numbers midpoint(int model, const Inputs& in) {
    return lower(model, weighted(model, in, Numbers(in[1].size(), 1)), in[2][0]);
}

Quad dist(const Numbers& a, const Numbers& b, Quad k) {
    Numbers d(a.size());
    for (size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
    return 2 * sqrtq(k) * asinhq(sqrtq(fmaxq(minkowski(d, d), 0) / (4 * k)));
}

Numbers frechet_mean(int model, const Inputs& in) {
    const Numbers& w = in[1];
    const Quad c = in[2][0], k = square_radius(model, c);
    const size_t dim = in[0].size() / w.size();
    Numbers factor(w.size(), 1), mean, before;
    for (int n = 0; n < 3000; ++n) {
        mean = weighted(model, in, factor);
        if (n > 0 && distance(mean, before) <= 1e-31 * length(mean)) break;
        before = mean;
        for (size_t i = 0; i < w.size(); ++i) {
            const Quad d = dist(lift(model, in[0].data() + i * dim, dim, c), mean, k) / sqrtq(k);
            factor[i] = d == 0 ? 1 : d / sinhq(d);
        }
    }
    return lower(model, mean, c);
}

// One point by a matrix. in: x, m, bias, curvature
Numbers linear(int op, const Inputs& in) {
    const Numbers &x = in[0], &m = in[1], &bias = in[2];
    const Quad c = in[3][0], root = sqrtq(c), xx = dot(x, x);
    const size_t dim = x.size(), columns = op == HORO_LORENTZ_LINEAR ? dim + 1 : dim, p = m.size() / columns;
    Numbers out(p);
    if (op == HORO_MOBIUS_MATVEC) {
        const Quad n = root * sqrtq(xx), scale = n == 0 ? 1 : atanhq(n) / n;
        for (size_t k = 0; k < p; ++k) out[k] = scale * dot(&m[k * columns], x.data(), dim);
        const Quad t = root * sqrtq(dot(out, out));
        for (Quad& v : out) v *= t == 0 ? 1 : tanhq(t) / t;
        return out;
    }
    const Quad x0 = sqrtq(c + xx);
    for (size_t k = 0; k < p; ++k) {
        const Quad* z = &m[k * columns];
        if (op == HORO_LORENTZ_LINEAR) {
            out[k] = z[0] * x0 + dot(z + 1, x.data(), dim) + bias[k];
            continue;
        }
        const Quad n = sqrtq(dot(z, z, dim)), along = dot(z, x.data(), dim) / n;
        if (op == HORO_LORENTZ_MLR || op == HORO_LORENTZ_DIST2PLANE) {
            const Quad q = bias[k] / root;
            out[k] = root * asinhq((coshq(q) * along - sinhq(q) * x0) / root);
            if (op == HORO_LORENTZ_MLR) out[k] *= n;
        } else {
            const Quad lambda = 2 / (1 - c * xx), q = 2 * root * bias[k];
            out[k] = asinhq(root * lambda * along * coshq(q) - (lambda - 1) * sinhq(q)) / root;
            if (op != HORO_POINCARE_DIST2PLANE) out[k] *= 2 * n;
        }
    }
    if (op == HORO_POINCARE_FC) {
        for (Quad& v : out) v = sinhq(root * v) / root;
        const Quad scale = 1 / (1 + sqrtq(1 + c * dot(out, out)));
        for (Quad& v : out) v *= scale;
    }
    if (op == HORO_LORENTZ_LINEAR) out.insert(out.begin(), sqrtq(c + dot(out, out)));
    return out;
}

// ---- Comparison

using Reference = std::function<Numbers(const Inputs&)>;

Inputs gradient(const Reference& f, Inputs in, const Numbers& g, double step = 1e-11) {
    Inputs out = in;
    for (size_t i = 0; i < in.size(); ++i)
        for (size_t j = 0; j < in[i].size(); ++j) {
            const Quad at = in[i][j], h = Quad(step) * (fabsq(at) > 1e-3 ? fabsq(at) : Quad(1e-3));
            in[i][j] = at + h;
            const Quad up = dot(g, f(in));
            in[i][j] = at - h;
            out[i][j] = (up - dot(g, f(in))) / (2 * h);
            in[i][j] = at;
        }
    return out;
}

// The largest change of a result per relative change of the inputs, sampled.
std::vector<double> conditioning(const std::function<Inputs(const Inputs&)>& f, const Inputs& in,
                                 const Inputs& base) {
    std::vector<double> worst(base.size(), 0);
    std::mt19937 random(7);
    for (int sample = 0; sample < 4; ++sample) {
        Inputs moved = in;
        for (Numbers& n : moved)
            for (Quad& v : n) v *= 1 + Quad(random() % 2 ? 1e-9 : -1e-9);
        const Inputs there = f(moved);
        for (size_t i = 0; i < base.size(); ++i)
            worst[i] = std::max(worst[i], distance(base[i], there[i]) / 1e-9);
    }
    return worst;
}

template <class T>
void compare(const char* what, const char* tensor, const Numbers& got, const Numbers& want, double sens,
             double doubt = 0) {
    const double error = distance(got, want);
    const double allowed =
        64 * epsilon<T> * (length(want) + sens) + doubt + (sizeof(T) == 4 ? 1e-37 : 1e-300);
    CHECK(error <= allowed, "%s %s %s: error %g, allowed %g, value %g", what, tensor,
          sizeof(T) == 4 ? "f32" : "f64", error, allowed, length(want));
}

template <class T>
void compare_all(const char* what, const Reference& f, const Inputs& in, const Numbers& g, const Numbers& out,
                 const Inputs& gradients) {
    static const char* const names[] = {"g_0", "g_1", "g_2", "g_3"};
    const Numbers want = f(in);
    compare<T>(what, "out", out, want,
               conditioning([&](const Inputs& at) { return Inputs{f(at)}; }, in, {want})[0]);
    const auto slopes = [&](const Inputs& at) { return gradient(f, at, g); };
    const Inputs wanted = slopes(in);
    const std::vector<double> sens = conditioning(slopes, in, wanted);
    const Inputs coarser = gradient(f, in, g, 2e-11);
    for (size_t i = 0; i < in.size(); ++i)
        if (!gradients[i].empty() || in[i].empty()) {
            const double doubt = distance(wanted[i], coarser[i]);  // of the differences themselves
            compare<T>(what, names[i], gradients[i], wanted[i], sens[i], 8 * doubt);
        }
}

std::mt19937 source(20261122);

double gaussian() {
    static std::normal_distribution<double> normal;
    return normal(source);
}

template <class T>
std::vector<T> random_numbers(size_t n, double size = 1) {
    std::vector<T> v(n);
    for (T& e : v) e = static_cast<T>(size * gaussian());
    return v;
}

template <class T>
Numbers quads(const std::vector<T>& v) {
    return Numbers(v.begin(), v.end());
}

// A point as stored, at a distance of so many radii from the origin; a Lorentz point with a wrong time, which
// is not read.
template <class T>
std::vector<T> random_point(int model, int64_t dim, double radii, double c) {
    std::vector<double> v(dim);
    double n = 0;
    for (double& e : v) {
        e = gaussian();
        n += e * e;
    }
    const double r = model == lorentz    ? std::sinh(radii) * std::sqrt(c)
                     : model == poincare ? std::tanh(radii / 2) / std::sqrt(c)
                                         : std::tanh(radii) / std::sqrt(c);
    std::vector<T> x;
    if (model == lorentz) x.push_back(T(99));
    for (double e : v) x.push_back(static_cast<T>(e / std::sqrt(n) * r));
    return x;
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

// Rows of dim + 1 without their first number.
template <class T>
std::vector<T> space_parts(int model, const std::vector<T>& v, int64_t dim) {
    if (model != lorentz) return v;
    std::vector<T> out;
    for (size_t i = 0; i < v.size(); i += dim + 1)
        out.insert(out.end(), v.begin() + i + 1, v.begin() + i + 1 + dim);
    return out;
}

const char* const model_names[] = {"poincare", "lorentz", "klein"};

// ---- Sets

template <class T>
struct SetResult {
    std::vector<T> out, g_x, g_w, g_c, variance;
    std::vector<int32_t> iterations;
};

template <class T>
SetResult<T> run_set(bool frechet, int model, int64_t rows, int64_t k, int64_t dim, double c,
                     const std::vector<T>& x, const std::vector<T>& w, const std::vector<T>& g,
                     const horo_exec* exec = nullptr) {
    const int64_t width = model == lorentz ? dim + 1 : dim;
    SetResult<T> r{std::vector<T>(rows * width), std::vector<T>(rows * k * width),
                   std::vector<T>(rows * k),     std::vector<T>(rows),
                   std::vector<T>(rows),         std::vector<int32_t>(rows)};
    int64_t bytes = 0;  // what the workspace holds must not matter
    if (!frechet) {
        CHECK(horo_midpoint_workspace(rows, k, dim, &bytes) == HORO_OK);
        std::vector<double> workspace(bytes / 8, NAN);
        CHECK(horo_midpoint(model, dtype<T>, rows, k, dim, x.data(), k * width, width, w.data(), k, c,
                            r.out.data(), width, workspace.data(), bytes, exec) == HORO_OK,
              "%s", horo_last_error());
        CHECK(horo_midpoint_vjp(model, dtype<T>, rows, k, dim, x.data(), k * width, width, w.data(), k, c,
                                g.data(), width, r.g_x.data(), k * width, width, r.g_w.data(), k,
                                r.g_c.data(), workspace.data(), bytes, exec) == HORO_OK,
              "%s", horo_last_error());
        return r;
    }
    CHECK(horo_frechet_workspace(rows, k, dim, 1, &bytes) == HORO_OK);
    std::vector<double> workspace(bytes / 8, NAN);
    CHECK(horo_frechet_mean(model, dtype<T>, rows, k, dim, x.data(), k * width, width, w.data(), k, c, 1e-15,
                            2000, r.out.data(), width, r.variance.data(), r.iterations.data(),
                            workspace.data(), bytes, exec) == HORO_OK,
          "%s", horo_last_error());
    for (int32_t n : r.iterations) CHECK(n >= 1, "not converged");
    CHECK(horo_frechet_mean_vjp(model, dtype<T>, rows, k, dim, x.data(), k * width, width, w.data(), k, c,
                                1e-15, 2000, g.data(), width, nullptr, r.g_x.data(), k * width, width,
                                r.g_w.data(), k, r.g_c.data(), r.iterations.data(), workspace.data(), bytes,
                                exec) == HORO_OK,
          "%s", horo_last_error());
    for (int32_t n : r.iterations) CHECK(n >= 1, "not converged");
    return r;
}

// The gradients of a Frechet mean and its variance against cotangents of either, which may be left out.
template <class T>
SetResult<T> run_variance(int model, int64_t rows, int64_t k, int64_t dim, double c, const std::vector<T>& x,
                          const std::vector<T>& w, const T* g, const T* g_variance) {
    const int64_t width = model == lorentz ? dim + 1 : dim;
    SetResult<T> r{{}, std::vector<T>(rows * k * width), std::vector<T>(rows * k), std::vector<T>(rows), {},
                   {}};
    int64_t bytes = 0;
    CHECK(horo_frechet_workspace(rows, k, dim, 1, &bytes) == HORO_OK);
    std::vector<double> workspace(bytes / 8);
    CHECK(
        horo_frechet_mean_vjp(model, dtype<T>, rows, k, dim, x.data(), k * width, width, w.data(), k, c,
                              1e-15, 2000, g, width, g_variance, r.g_x.data(), k * width, width, r.g_w.data(),
                              k, r.g_c.data(), nullptr, workspace.data(), bytes, nullptr) == HORO_OK,
        "%s", horo_last_error());
    return r;
}

Numbers variance(int model, const Inputs& in) {
    const Numbers &x = in[0], &w = in[1];
    const Quad c = in[2][0], k = square_radius(model, c);
    const size_t dim = x.size() / w.size();
    const Numbers mean = frechet_mean(model, in), at = lift(model, mean.data() + (model == lorentz), dim, c);
    Quad squares = 0, weights = 0;
    for (size_t i = 0; i < w.size(); ++i) {
        const Quad d = dist(lift(model, x.data() + i * dim, dim, c), at, k);
        squares += w[i] * d * d;
        weights += w[i];
    }
    return {squares / weights};
}

template <class T>
void variances() {
    std::vector<std::vector<double>> sets = {{0.3, 1, 2}};
    if (sizeof(T) == 8) sets.insert(sets.end(), {{1e-4, 2e-4}, {4, 0}});
    for (int model : {poincare, lorentz, klein})
        for (const std::vector<double>& radii : sets) {
            const int64_t k = radii.size(), dim = 2;
            const double c = model == lorentz ? 1.75 : 0.5;
            std::vector<T> x, w;
            for (double r : radii) {
                append(x, random_point<T>(model, dim, r, c));
                w.push_back(T(0.5) + T(w.size()));
            }
            const int64_t width = x.size() / k;
            const std::vector<T> g = random_numbers<T>(width), g_variance = {T(1.5)};
            const auto mean_only = run_variance<T>(model, 1, k, dim, c, x, w, g.data(), nullptr);
            const auto only = run_variance<T>(model, 1, k, dim, c, x, w, nullptr, g_variance.data());
            const auto both = run_variance<T>(model, 1, k, dim, c, x, w, g.data(), g_variance.data());
            const Inputs in = {quads(space_parts(model, x, dim)), quads(w), {Quad(c)}};
            const std::string name =
                std::string(model_names[model]) + " variance, radius " + std::to_string(radii[0]);
            compare_all<T>(name.c_str(), [&](const Inputs& at) { return variance(model, at); }, in,
                           quads(g_variance), variance(model, in),
                           {quads(space_parts(model, only.g_x, dim)), quads(only.g_w), quads(only.g_c)});
            double worst = 0;
            for (size_t i = 0; i < x.size(); ++i)
                worst =
                    std::max(worst, std::abs(double(both.g_x[i]) - (double(only.g_x[i]) + mean_only.g_x[i])) /
                                        length(quads(both.g_x)));
            CHECK(worst <= 4 * epsilon<T>, "%s: not the sum: %g", name.c_str(), worst);
        }
}

template <class T>
void set_values() {
    struct Shape {
        int64_t k, dim;
        std::vector<double> radii;
        std::vector<double> weights;
    };
    const double far = sizeof(T) == 4 ? 10 : 6;  // where the reference's digits and differences suffice
    const std::vector<Shape> shapes = {
        {1, 3, {2}, {0.7}},
        {2, 5, {0.1, 3}, {0.5, 0.25}},
        {3, 2, {5, 1, 0}, {1, 2, 0.125}},
        {4, 9, {far, far, 1, 0.3}, {1, 1, 1, 1}},
        {3, 4, {far, 2, 1}, {1, 0, 0}},
        {3, 3, {0.2, 0.3, 0.1}, {2, -0.25, 1}},
        {2, 3, {1, 2}, {-1, -2}},
    };
    for (int model : {poincare, lorentz, klein})
        for (int frechet = 0; frechet < 2; ++frechet)
            for (const Shape& shape : shapes) {
                if (frechet && (*std::min_element(shape.weights.begin(), shape.weights.end()) < 0 ||
                                shape.radii[0] > 10))
                    continue;
                const double c = model == lorentz ? 1.75 : 0.5;
                std::vector<T> x, w(shape.weights.begin(), shape.weights.end());
                for (double radii : shape.radii)
                    // the rim of the Klein model is twice as near
                    append(x, random_point<T>(model, shape.dim, model == klein ? radii / 2 : radii, c));
                const int64_t width = x.size() / shape.k;
                const std::vector<T> g = random_numbers<T>(width);
                const SetResult<T> r = run_set<T>(frechet, model, 1, shape.k, shape.dim, c, x, w, g);
                const Inputs in = {quads(space_parts(model, x, shape.dim)), quads(w), {Quad(c)}};
                const std::string name =
                    std::string(model_names[model]) + (frechet ? " frechet_mean" : " midpoint") +
                    " k=" + std::to_string(shape.k) + " dim=" + std::to_string(shape.dim);
                compare_all<T>(
                    name.c_str(),
                    [&](const Inputs& at) { return frechet ? frechet_mean(model, at) : midpoint(model, at); },
                    in, quads(g), quads(r.out),
                    {quads(space_parts(model, r.g_x, shape.dim)), quads(r.g_w), quads(r.g_c)});
            }
}

// Closed forms that need no reference.
void set_properties() {
    const double c = 0.8;
    const int64_t dim = 7;
    for (int frechet = 0; frechet < 2; ++frechet) {
        std::vector<double> x = random_point<double>(poincare, dim, 3, c), g = random_numbers<double>(dim);
        append(x, random_point<double>(poincare, dim, 1, c));
        const std::vector<double> w = {0.4, 0.4};
        const auto r = run_set<double>(frechet, poincare, 1, 2, dim, c, x, w, g);
        std::vector<double> d(2);
        CHECK(horo_cdist(HORO_POINCARE, HORO_F64, 1, 2, dim, r.out.data(), dim, x.data(), dim, c, 0, d.data(),
                         2, nullptr) == HORO_OK);
        CHECK(std::abs(d[0] - d[1]) <= 1e-14 * d[0], "equal weights: %.17g, %.17g", d[0], d[1]);
        if (frechet) CHECK(std::abs(r.variance[0] - d[0] * d[0]) <= 1e-14 * r.variance[0]);

        // The midpoint of moved points is the moved midpoint.
        int32_t add = 0;
        CHECK(horo_op_find("poincare.mobius_add", &add) == HORO_OK);
        const auto moved = [&](const std::vector<double>& to, const std::vector<double>& points) {
            std::vector<double> out(points.size());
            CHECK(horo_row_op(add, HORO_F64, points.size() / dim, dim, to.data(), 0, points.data(), dim,
                              nullptr, 0, nullptr, 0, out.data(), dim, nullptr, 0, nullptr, 0, nullptr, 0, c,
                              0, 0, 0, 0, 0, nullptr) == HORO_OK);
            return out;
        };
        append(x, random_point<double>(poincare, dim, 0.4, c));
        const std::vector<double> three = {0.4, 0.1, 1.5}, to = random_point<double>(poincare, dim, 1.2, c);
        const auto here = run_set<double>(frechet, poincare, 1, 3, dim, c, x, three, g);
        const auto there = run_set<double>(frechet, poincare, 1, 3, dim, c, moved(to, x), three, g);
        CHECK(distance(quads(moved(to, here.out)), quads(there.out)) <= 1e-14, "not equivariant");

        // The scale of the weights does not matter.
        const auto scaled = run_set<double>(frechet, poincare, 1, 3, dim, c, x, {4, 1, 15}, g);
        CHECK(distance(quads(scaled.out), quads(here.out)) <= 1e-15, "not homogeneous");

        // The hyperboloid gives the same point.
        int32_t lift_op = 0;
        CHECK(horo_op_find("poincare.to_lorentz", &lift_op) == HORO_OK);
        const auto lifted = [&](const std::vector<double>& points) {
            std::vector<double> out(points.size() / dim * (dim + 1));
            CHECK(horo_row_op(lift_op, HORO_F64, points.size() / dim, dim, points.data(), dim, nullptr, 0,
                              nullptr, 0, nullptr, 0, out.data(), dim + 1, nullptr, 0, nullptr, 0, nullptr, 0,
                              c, 0, 0, 0, 0, 0, nullptr) == HORO_OK);
            return out;
        };
        const auto above = run_set<double>(frechet, lorentz, 1, 3, dim, 1 / c, lifted(x), three,
                                           random_numbers<double>(dim + 1));
        const std::vector<double> want = lifted(here.out);
        CHECK(distance(quads(above.out), quads(want)) <= 1e-13 * length(quads(want)), "models differ");
    }
    // One point is its own midpoint; weights that cancel have none.
    const std::vector<double> x = random_point<double>(poincare, dim, 20, c), g = random_numbers<double>(dim);
    const auto one = run_set<double>(false, poincare, 1, 1, dim, c, x, {3}, g);
    CHECK(distance(quads(one.out), quads(x)) <= 1e-15);
    CHECK(distance(quads(one.g_x), quads(g)) <= 1e-14, "identity's gradient");
    CHECK(one.g_c[0] == 0 && one.g_w[0] == 0);
    std::vector<double> twice = x;
    append(twice, x);
    const auto none = run_set<double>(false, poincare, 1, 2, dim, c, twice, {1, -1}, g);
    CHECK(none.out[0] != none.out[0], "no midpoint: %g", none.out[0]);
}

// All weight on a point at the rim: t^2 - c|s|^2 is 1e-24 of t^2. Values from 80 digits.
void set_rim() {
    const double x[] = {0.4123832639131689, 0.7134224984414914, 0.5665407155370406, 0.3, -0.25, 0.1};
    const double w[] = {1.3, 0}, g[] = {0.25, 1, -0.5, 0.25};
    double g_w[2], out[4];
    CHECK(horo_midpoint_vjp(HORO_POINCARE, HORO_F64, 1, 2, 3, x, 6, 3, w, 2, 1, g + 1, 3, nullptr, 0, 0, g_w,
                            2, nullptr, nullptr, 0, nullptr) == HORO_OK);
    CHECK(std::fabs(g_w[0]) < 1e-25 && std::fabs(g_w[1] / -0.20994267335869076560 - 1) < 1e-14,
          "the ball: %.17g %.17g", g_w[0], g_w[1]);
    const double y[] = {0, 3.1415926535e11, -2.718281828e11, 1.61803398874e11, 0, 0.3, -0.25, 0.1};
    CHECK(horo_midpoint(HORO_LORENTZ, HORO_F64, 1, 2, 3, y, 8, 4, w, 2, 1, out, 4, nullptr, 0, nullptr) ==
          HORO_OK);
    CHECK(std::fabs(out[0] / 445832866505.80245319 - 1) < 1e-15 && std::fabs(out[1] / y[1] - 1) < 1e-15 &&
              std::fabs(out[2] / y[2] - 1) < 1e-15 && std::fabs(out[3] / y[3] - 1) < 1e-15,
          "the hyperboloid: %.17g %.17g %.17g %.17g", out[0], out[1], out[2], out[3]);
    CHECK(horo_midpoint_vjp(HORO_LORENTZ, HORO_F64, 1, 2, 3, y, 8, 4, w, 2, 1, g, 4, nullptr, 0, 0, g_w, 2,
                            nullptr, nullptr, 0, nullptr) == HORO_OK);
    CHECK(std::fabs(g_w[1] / -1.3998808621428143815e23 - 1) < 1e-14, "the hyperboloid: %.17g", g_w[1]);
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// A set so large that it is cut into parts, each of its points many times with a share of its weight each,
// is to give what the points give once.
// The gradient by K of points on one ray far out: in what each of them adds all but the last digits
// cancelled. Values from 330 digits.
void curvature_on_a_ray() {
    const double by_two =
        run_set<double>(false, lorentz, 1, 2, 2, 7.3,
                        {0, -409779.06770136, 435072.0088419673,  //
                         0, -7505.365313912049, 7968.621683224403},
                        {1, 1}, {0.4245013382978631, 0.4159191678682874, -1.1727355214731927})
            .g_c[0];
    CHECK(std::fabs(by_two / -5.5462641204582416e-05 - 1) < 1e-14, "midpoint: %.17g", by_two);
    const double by_five = run_set<double>(true, lorentz, 1, 5, 2, 1,
                                           {0, 26.06304377493502, 69.4754216197173,     //
                                            0, 10515.059684908512, 28029.658058130313,  //
                                            0, 10515.059684908512, 28029.658058130313,  //
                                            0, 1423.058559430785, 3793.401655607195,    //
                                            0, 1423.058559430785, 3793.401655607195},
                                           {0.1173640937079925, 0.4787610344279041, 0.06133284307226583,
                                            0.22478786868950074, 0.8731584877470455},
                                           {1.3409496007404134, 0.9287200427006932, -0.7610058781101987})
                               .g_c[0];
    CHECK(std::fabs(by_five / 0.016752379337042312 - 1) < 1e-13, "Frechet mean: %.17g", by_five);
}

template <class T>
void large_sets() {
    for (bool frechet : {false, true})
        for (int model : {poincare, lorentz, klein})
            for (double radius : {0.5, 3.0, 18.0}) {
                const bool far = radius > 17;  // close together at the rim: a root of doubles is lost there
                if (far && (frechet || sizeof(T) == 4)) continue;
                const int64_t rows = 2, k = 7, copies = 211, dim = 13, width = dim + (model == lorentz);
                const double c = 1.3;
                std::vector<T> x, w, many_x(rows * copies * k * width), many_w(rows * copies * k);
                for (int64_t i = 0; i < rows * k; ++i)
                    append(x,
                           random_point<T>(model, dim, radius * (far ? 1 : 0.9 + 0.01 * double(i % k)), c));
                for (int64_t i = 0; far && i < rows * k; ++i)
                    for (int64_t j = 0; j < width; ++j)
                        x[i * width + j] = x[i / k * k * width + j] * T(j % k == i % k ? 1 - 1e-9 : 1);
                std::vector<double> share(copies);  // multiples of 2^-12, so that rounding shares nothing out
                for (int64_t n = 0; n < copies; ++n) share[n] = double(n % 5 + 1) / 4096;
                const double all = std::accumulate(share.begin(), share.end(), 0.0);
                std::vector<double> given;
                for (int64_t i = 0; i < rows * k; ++i) given.push_back(double(i % 3 + 1));
                for (double v : given) w.push_back(T(v * all));
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t n = 0; n < copies; ++n)
                        for (int64_t i = 0; i < k; ++i) {
                            const int64_t to = (r * copies + n) * k + i, from = r * k + i;
                            std::copy_n(x.begin() + from * width, width, many_x.begin() + to * width);
                            many_w[to] = T(given[from] * share[n]);
                        }
                const std::vector<T> g = random_numbers<T>(rows * width);
                int64_t bytes = 0;
                CHECK(horo_midpoint_workspace(rows, k * copies, dim, &bytes) == HORO_OK &&
                          bytes == 8 * rows * 5 * 48,
                      "4 parts and their sum");
                const auto few = run_set<T>(frechet, model, rows, k, dim, c, x, w, g);
                horo_exec* alone = nullptr;
                CHECK(horo_exec_create(-1, 1, nullptr, &alone) == HORO_OK);
                const auto many = run_set<T>(frechet, model, rows, k * copies, dim, c, many_x, many_w, g);
                const auto same =
                    run_set<T>(frechet, model, rows, k * copies, dim, c, many_x, many_w, g, alone);
                horo_exec_destroy(alone);
                CHECK(same_bits(many.out, same.out) && same_bits(many.g_x, same.g_x) &&
                          same_bits(many.g_w, same.g_w) && same_bits(many.g_c, same.g_c) &&
                          same_bits(many.variance, same.variance),
                      "threads");
                SetResult<T> back = few;  // the gradients of all copies of a point together
                std::fill(back.g_x.begin(), back.g_x.end(), T(0));
                double apart = 0, largest = 0;
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t n = 0; n < copies; ++n)
                        for (int64_t i = 0; i < k; ++i) {
                            const int64_t from = (r * copies + n) * k + i, to = r * k + i;
                            for (int64_t j = 0; j < width; ++j)
                                back.g_x[to * width + j] += many.g_x[from * width + j];
                            apart = std::fmax(apart, std::fabs(double(many.g_w[from]) - double(few.g_w[to])));
                            largest = std::fmax(largest, std::fabs(double(few.g_w[to])));
                        }
                const double u = sizeof(T) == 8 ? 1e-12 : 2e-5;
                const auto close = [&](const char* what, const std::vector<T>& a, const std::vector<T>& b) {
                    const double d = double(distance(quads(a), quads(b))), size = double(length(quads(b)));
                    CHECK(d <= u * size, "%s %s of a large set, radius %g: %g of %g apart",
                          model_names[model], what, radius, d, size);
                };
                close("out", many.out, few.out);
                close("g_x", back.g_x, few.g_x);
                close("g_curvature", many.g_c, few.g_c);
                CHECK(apart <= u * largest, "%s g_w of a large set, radius %g: %g of %g apart",
                      model_names[model], radius, apart, largest);
                if (frechet) close("variance", many.variance, few.variance);
                if (frechet) continue;
                many_x[width - 1] = std::numeric_limits<T>::quiet_NaN();
                const auto broken = run_set<T>(frechet, model, rows, k * copies, dim, c, many_x, many_w, g);
                CHECK(broken.out[dim - 1] != broken.out[dim - 1] && broken.g_c[0] != broken.g_c[0], "NaN");
                CHECK(std::memcmp(&broken.out[width], &many.out[width], width * sizeof(T)) == 0 &&
                          broken.g_c[1] == many.g_c[1],
                      "NaN leaves its row");
            }
}

// A batch gives what its rows give one by one, for any number of threads, NaN in one of them or not.
template <class T>
void set_batches() {
    horo_exec* one_thread = nullptr;
    CHECK(horo_exec_create(-1, 1, nullptr, &one_thread) == HORO_OK);
    for (int model : {poincare, lorentz})
        for (int frechet = 0; frechet < 2; ++frechet)
            for (int64_t dim : {1, 3, 8, 17, 4101}) {
                if (dim > 4000 && (frechet || model == lorentz)) continue;
                const int64_t rows = dim > 4000 ? 3 : 41, k = 5, width = model == lorentz ? dim + 1 : dim;
                const double c = 1.5;
                std::vector<T> x, w, g = random_numbers<T>(rows * width);
                for (int64_t i = 0; i < rows * k; ++i) {
                    append(x, random_point<T>(model, dim, 0.1 + 0.3 * double(i % 7), c));
                    w.push_back(T(0.1) + T(i % 3));
                }
                const auto all = run_set<T>(frechet, model, rows, k, dim, c, x, w, g);
                const auto again = run_set<T>(frechet, model, rows, k, dim, c, x, w, g, one_thread);
                CHECK(same_bits(all.out, again.out) && same_bits(all.g_x, again.g_x) &&
                          same_bits(all.g_w, again.g_w) && same_bits(all.g_c, again.g_c),
                      "threads change a bit");
                const auto row = [&](const std::vector<T>& v, int64_t n) {
                    return std::vector<T>(v.begin() + n, v.begin() + 2 * n);
                };
                const auto single =
                    run_set<T>(frechet, model, 1, k, dim, c, row(x, k * width), row(w, k), row(g, width));
                CHECK(same_bits(single.out, row(all.out, width)) &&
                      same_bits(single.g_x, row(all.g_x, k * width)));
                if (frechet) continue;
                x[width - 1] = std::numeric_limits<T>::quiet_NaN();
                const auto with_nan = run_set<T>(frechet, model, rows, k, dim, c, x, w, g);
                CHECK(with_nan.out[0] != with_nan.out[0]);
                CHECK(same_bits(std::vector<T>(with_nan.out.begin() + width, with_nan.out.end()),
                                std::vector<T>(all.out.begin() + width, all.out.end())),
                      "NaN left its row");
            }
    horo_exec_destroy(one_thread);
}

// ---- Where float32 sets are summed in plain doubles

// Points whose gap 1 - c|x|^2 is some 1e-12: the best of many.
std::vector<float> rim_point(int64_t dim, double c) {
    std::vector<float> best;
    Quad least = 1;
    for (int n = 0; n < 20000; ++n) {
        std::vector<float> x = random_point<float>(klein, dim, 20, c);
        Quad gap = 1;
        for (float e : x) gap -= Quad(c) * e * e;
        if (gap > 0 && gap < least) {
            least = gap;
            best = x;
        }
    }
    CHECK(least < 1e-10, "%g", double(least));
    return best;
}

// Two sets of results, of numbers that float32 holds; `unit` is what is lost to rounding and a little more.
void like_doubles(const char* what, const std::vector<float>& got, const std::vector<double>& want,
                  int64_t width, double doubt = 0) {
    for (size_t i = 0; i < want.size(); i += width) {
        double size = 0, apart = 0;
        for (int64_t j = 0; j < width; ++j) {
            size = std::hypot(size, want[i + j]);
            apart = std::hypot(apart, double(got[i + j]) - want[i + j]);
        }
        if (size > 1e37) continue;
        CHECK(apart <= 0x1.2p-24 * size + doubt + 1e-38 * width, "%s, number %zu: %.3g of %.3g apart", what,
              i, apart, size);
    }
}

void compare_with_doubles(const char* what, bool frechet, int model, int64_t k, int64_t dim, double c,
                          const std::vector<float>& x, const std::vector<float>& w) {
    const int64_t width = x.size() / k;
    const std::vector<float> g = random_numbers<float>(width);
    const auto wide = [](const std::vector<float>& v) { return std::vector<double>(v.begin(), v.end()); };
    const auto run = [&](auto type, bool by_curvature, const auto& px, const auto& pw, const auto& pg) {
        using T = decltype(type);
        SetResult<T> r{std::vector<T>(width), std::vector<T>(k * width), std::vector<T>(k),
                       std::vector<T>(1),     std::vector<T>(1),         std::vector<int32_t>(1)};
        int64_t bytes = 0;
        if (!frechet) {
            CHECK(horo_midpoint_workspace(1, k, dim, &bytes) == HORO_OK);
            std::vector<double> workspace(bytes / 8, NAN);
            CHECK(horo_midpoint(model, dtype<T>, 1, k, dim, px.data(), 0, width, pw.data(), 0, c,
                                r.out.data(), 0, workspace.data(), bytes, nullptr) == HORO_OK);
            CHECK(horo_midpoint_vjp(model, dtype<T>, 1, k, dim, px.data(), 0, width, pw.data(), 0, c,
                                    pg.data(), 0, r.g_x.data(), 0, width, r.g_w.data(), 0,
                                    by_curvature ? r.g_c.data() : nullptr, workspace.data(), bytes,
                                    nullptr) == HORO_OK);
            return r;
        }
        const double tolerance = sizeof(T) == 4 ? 0x1p-35 : 1e-15;
        const T g_variance = T(1);
        CHECK(horo_frechet_workspace(1, k, dim, 1, &bytes) == HORO_OK);
        std::vector<double> workspace(bytes / 8, NAN);
        CHECK(horo_frechet_mean(model, dtype<T>, 1, k, dim, px.data(), 0, width, pw.data(), 0, c, tolerance,
                                3000, r.out.data(), 0, r.variance.data(), r.iterations.data(),
                                workspace.data(), bytes, nullptr) == HORO_OK);
        CHECK(r.iterations[0] > 0, "%s: not converged", what);
        CHECK(horo_frechet_mean_vjp(model, dtype<T>, 1, k, dim, px.data(), 0, width, pw.data(), 0, c,
                                    tolerance, 3000, pg.data(), 0, &g_variance, r.g_x.data(), 0, width,
                                    r.g_w.data(), 0, by_curvature ? r.g_c.data() : nullptr,
                                    r.iterations.data(), workspace.data(), bytes, nullptr) == HORO_OK);
        CHECK(r.iterations[0] > 0, "%s: not converged", what);
        return r;
    };
    const auto got = run(float{}, true, x, w, g), bare = run(float{}, false, x, w, g);
    const auto want = run(double{}, true, wide(x), wide(w), wide(g));
    const std::string name = std::string(model_names[model]) + (frechet ? " frechet_mean " : " midpoint ") +
                             what + " k=" + std::to_string(k) + " dim=" + std::to_string(dim);
    const double doubt = frechet ? 1e-9 : 0;  // of a step of 2^-35 radii
    const double lengths = length(quads(want.g_x));
    like_doubles((name + " out").c_str(), got.out, want.out, width, doubt * (1 + length(quads(want.out))));
    for (const auto& r : {got, bare}) {
        like_doubles((name + " g_x").c_str(), r.g_x, want.g_x, frechet ? k * width : width, doubt * lengths);
        like_doubles((name + " g_w").c_str(), r.g_w, want.g_w, frechet ? k : 1,
                     doubt * length(quads(want.g_w)));
    }
    like_doubles((name + " g_c").c_str(), got.g_c, want.g_c, 1,
                 doubt * lengths + doubt * std::abs(want.g_c[0]));
    if (frechet) like_doubles((name + " variance").c_str(), got.variance, want.variance, 1);
}

// Near, far, close together, at the rim, with weights that cancel: what plain sums do not hold is to be done
// in pairs, so results are those of the same numbers in float64.
void plain_and_pairs() {
    for (int model : {poincare, lorentz, klein}) {
        const double c = model == lorentz ? 1.75 : 0.5;
        for (double radius : {0.01, 0.5, 2.0, 4.0, 4.8, 5.5, 6.5, 9.0, 12.0})
            for (double spread : {1.0, 0x1p-6, 0x1p-12, 0x1p-17, 0x1p-22})
                for (int64_t dim : {1, 2, 4, 5, 8, 33}) {
                    const int64_t k = dim % 2 ? 9 : 16;
                    const std::vector<float> base =
                        random_point<float>(model, dim, model == klein ? radius / 2 : radius, c);
                    std::vector<float> x, w;
                    for (int64_t i = 0; i < k; ++i) {
                        if (spread == 1)
                            append(x,
                                   random_point<float>(
                                       model, dim, (model == klein ? radius / 2 : radius) * (i + 1) / k, c));
                        else
                            for (float e : base) x.push_back(e * float(1 + spread * (gaussian() - 3)));
                        w.push_back(float(0.5 + i % 3));
                    }
                    char what[80];
                    std::snprintf(what, sizeof what, "radius %g spread %g", radius, spread);
                    compare_with_doubles(what, false, model, k, dim, c, x, w);
                    if (radius < 10) compare_with_doubles(what, true, model, k, dim, c, x, w);
                    for (int64_t i = 0; i < k; i += 3) w[i] = -0.25f * w[i];
                    if (spread == 1 && radius < 4)
                        compare_with_doubles("both signs", false, model, k, dim, c, x, w);
                }
        if (model != lorentz)
            for (int64_t dim : {2, 9, 64}) {
                std::vector<float> x = rim_point(dim, c);
                append(x, rim_point(dim, c));
                compare_with_doubles("at the rim", false, model, 2, dim, c, x, {1, 1});
            }
    }
    // the same for sets that are cut into parts
    for (int model : {poincare, lorentz, klein})
        for (double radius : {0.5, 9.0, 12.5})
            for (double spread : {0x1p-8, 0x1p-17, 0x1p-22}) {
                const int64_t k = 900, dim = 13;
                const double c = model == lorentz ? 1.75 : 0.5;
                const std::vector<float> base =
                    random_point<float>(model, dim, model == klein ? radius / 2 : radius, c);
                std::vector<float> x, w;
                for (int64_t i = 0; i < k; ++i) {
                    for (float e : base) x.push_back(e * float(1 + spread * (gaussian() - 5)));
                    w.push_back(float(0.5 + i % 3));
                }
                for (bool frechet : {false, true})
                    if (!frechet || radius < 10)
                        compare_with_doubles("in parts", frechet, model, k, dim, c, x, w);
            }
    // a mean goes on in pairs until the tolerance is met
    std::vector<float> points;
    for (double radius : {1.0, 2.0, 3.0}) append(points, random_point<float>(poincare, 3, radius, 1));
    int32_t steps[2] = {};
    const std::vector<double> wide(points.begin(), points.end());
    double workspace[3], out[3];
    for (int type : {HORO_F32, HORO_F64})
        CHECK(horo_frechet_mean(HORO_POINCARE, type, 1, 3, 3,
                                type == HORO_F32 ? (const void*)points.data() : wide.data(), 0, 3, nullptr, 0,
                                1, 1e-15, 500, out, 0, nullptr, &steps[type == HORO_F64], workspace,
                                sizeof workspace, nullptr) == HORO_OK);
    CHECK(steps[0] >= steps[1] - 2 && steps[1] > 10, "%d of %d midpoints", steps[0], steps[1]);
    // second differences: times and sums cancel
    const float d = 0x1p-20f, e = 0x1p-43f;
    compare_with_doubles("cancelling", false, lorentz, 3, 2, 1, {0, 0.5f - d, 0, 0, 0.5f, e, 0, 0.5f + d, 0},
                         {1, -2, 1});
    compare_with_doubles("cancelling", false, klein, 3, 2, 1, {0.5f - d, 0, 0.5f, e, 0.5f + d, 0},
                         {1, -2, 1});
    // the best of many pairs of weights for points on either side: the sum is some 2^-40 of its terms
    for (int model : {poincare, klein}) {
        const auto factor = [&](Quad x) { return model == klein ? 1 / sqrtq(1 - x * x) : 2 / (1 - x * x); };
        const float x[] = {0.7f, -0.3f};
        const Quad ratio = -factor(x[0]) * x[0] / (factor(x[1]) * x[1]);
        Quad least = 1;
        std::vector<float> w;
        for (int n = 0; n < 100000; ++n) {
            const float one = 1 + float(n) * 0x1p-23f, other = float(one * ratio);
            const Quad left = one * ratio / other - 1, size = left < 0 ? -left : left;
            if (size > least || size == 0) continue;
            least = size;
            w = {one, other};
        }
        CHECK(least < 0x1p-36, "%g", double(least));
        compare_with_doubles("sums that cancel", false, model, 2, 1, 1, {x[0], x[1]}, w);
    }
    // apart in a coordinate that does not show in the norm
    for (int model : {poincare, klein})
        for (bool frechet : {false, true})
            compare_with_doubles("a little apart", frechet, model, 2, 2, 1, {0.5f, 0x1p-40f, 0.5f, 0x1p-41f},
                                 {1, 1});
    for (bool frechet : {false, true})
        compare_with_doubles("a little apart", frechet, lorentz, 2, 2, 1,
                             {0, 0.5f, 0x1p-40f, 0, 0.5f, 0x1p-41f}, {1, 1});
}

// ---- Distances

template <class T>
void pairs() {
    for (int model : {poincare, lorentz, klein})
        for (int squared = 0; squared < 2; ++squared)
            for (int64_t dim : {2, 3, 5}) {
                const double c = model == lorentz ? 2.5 : 0.4;
                const std::vector<double> radii = {0.2, 0, 3, 7};
                std::vector<T> x, y;
                // the rim of the Klein model is twice as near
                const double scale = model == klein ? 0.5 : 1;
                for (double r : radii) append(x, random_point<T>(model, dim, scale * r, c));
                const int64_t width = x.size() / radii.size(), n = 4, m = 3;
                for (int64_t j = 0; j < width; ++j) y.push_back(x[2 * width + j] * T(1.0009765625));  // close
                append(y, random_point<T>(model, dim, scale * 5, c));
                for (int64_t j = 0; j < width; ++j) y.push_back(-x[2 * width + j]);
                const std::vector<T> g = random_numbers<T>(n * m);
                std::vector<T> out(n * m), g_x(x.size()), g_y(y.size()), g_c(n);
                CHECK(horo_cdist(model, dtype<T>, n, m, dim, x.data(), width, y.data(), width, c, squared,
                                 out.data(), m, nullptr) == HORO_OK,
                      "%s", horo_last_error());
                CHECK(horo_cdist_vjp(model, dtype<T>, n, m, dim, x.data(), width, y.data(), width, c, squared,
                                     g.data(), m, g_x.data(), width, g_y.data(), width, g_c.data(),
                                     nullptr) == HORO_OK,
                      "%s", horo_last_error());
                const std::vector<T> xs = space_parts(model, x, dim), ys = space_parts(model, y, dim);
                Numbers slopes_y(ys.size(), 0);
                for (int64_t i = 0; i < n; ++i) {
                    const auto f = [&](const Inputs& at) {
                        Numbers d(m);
                        for (int64_t j = 0; j < m; ++j) {
                            d[j] = dist(lift(model, at[0].data(), dim, at[2][0]),
                                        lift(model, at[1].data() + j * dim, dim, at[2][0]),
                                        square_radius(model, at[2][0]));
                            if (squared) d[j] *= d[j];
                        }
                        return d;
                    };
                    const auto row = [&](const std::vector<T>& v, int64_t size) {
                        return Numbers(v.begin() + i * size, v.begin() + (i + 1) * size);
                    };
                    const Inputs in = {row(xs, dim), quads(ys), {Quad(c)}};
                    const std::string name =
                        std::string(model_names[model]) + " cdist dim=" + std::to_string(dim);
                    compare_all<T>(name.c_str(), f, in, row(g, m), row(out, m),
                                   {row(space_parts(model, g_x, dim), dim), {}, {g_c[i]}});
                    const Numbers part = gradient(f, in, row(g, m))[1];
                    for (size_t j = 0; j < part.size(); ++j) slopes_y[j] += part[j];
                }
                const Numbers got = quads(space_parts(model, g_y, dim));
                // summed over rows of different sizes: relative to the largest of them
                CHECK(distance(got, slopes_y) <= (sizeof(T) == 4 ? 1e-6 : 1e-10) * (length(slopes_y) + 1),
                      "%s g_y: %g of %g", model_names[model], distance(got, slopes_y), length(slopes_y));
            }
}

// Points 1e-12 radians apart at radius 13: the radial part of the gradient is 1e-12 of the other, and the
// rounding of their directions 1e-4. Expected values: bench/peers/exactness.py.
void pairs_far_out() {
    const std::vector<double> x = {-802569.0972386153, 6948977.277358878,  -802569.0972512345,
                                   6948977.277329883,  -802569.0972509445, 6948977.277329757},
                              y = {-802569.0972827756, 6948977.277327611, -802569.0972753263,
                                   6948977.277350366},
                              g = {1.8709374464451767, -2.0097031558604463, -0.055426322372676105,
                                   0.9584677112754836, 0.5806850975953033,  -1.1753818049512719},
                              want = {-2.380372923283685, -0.2749201317090729};
    const double k = 1000;
    const auto with_times = [&](const std::vector<double>& space) {
        std::vector<double> points;
        for (size_t i = 0; i < space.size(); i += 2)
            points.insert(points.end(), {std::sqrt(k + space[i] * space[i] + space[i + 1] * space[i + 1]),
                                         space[i], space[i + 1]});
        return points;
    };
    const std::vector<double> px = with_times(x), py = with_times(y);
    std::vector<double> g_y(py.size());
    CHECK(horo_cdist_vjp(HORO_LORENTZ, HORO_F64, 3, 2, 2, px.data(), 3, py.data(), 3, k, 0, g.data(), 2,
                         nullptr, 0, g_y.data(), 3, nullptr, nullptr) == HORO_OK,
          "%s", horo_last_error());
    for (int j = 0; j < 2; ++j)
        CHECK(std::abs(g_y[1 + j] - want[j]) <= 1e-14 * std::abs(want[j]), "g_y %d: %.17g, not %.17g", j,
              g_y[1 + j], want[j]);
}

// Against the row operation, over tile edges, strides, slices and threads.
template <class T>
void pair_batches() {
    horo_exec* one_thread = nullptr;
    CHECK(horo_exec_create(-1, 1, nullptr, &one_thread) == HORO_OK);
    struct Shape {
        int64_t n, m, dim;
    };
    for (int model : {poincare, lorentz, klein})
        for (const Shape s : {Shape{1, 1, 3}, {67, 5, 17}, {3, 601, 2}, {70, 66, 9}, {2, 3, 8203}}) {
            const int64_t width = s.dim + (model == lorentz), stride = width + 2, out_stride = s.m + 1;
            const double c = 0.9;
            std::vector<T> x, y, repeated, g = random_numbers<T>(s.n * s.m);
            for (int64_t i = 0; i < s.n; ++i) {
                append(x, random_point<T>(model, s.dim, 0.2 * double(i % 20), c));
                x.resize(x.size() + 2, T(7));
            }
            for (int64_t j = 0; j < s.m; ++j) {
                append(y, random_point<T>(model, s.dim, 0.3 + 0.2 * double(j % 20), c));
                y.resize(y.size() + 2, T(7));
            }
            std::vector<T> out(s.n * out_stride, T(-1)), again = out, row(s.m);
            const auto run = [&](std::vector<T>& to, const horo_exec* exec) {
                CHECK(horo_cdist(model, dtype<T>, s.n, s.m, s.dim, x.data(), stride, y.data(), stride, c, 0,
                                 to.data(), out_stride, exec) == HORO_OK,
                      "%s", horo_last_error());
            };
            run(out, nullptr);
            run(again, one_thread);
            CHECK(same_bits(out, again), "threads change a bit");
            int32_t op = 0;
            CHECK(horo_op_find((std::string(model_names[model]) + ".dist").c_str(), &op) == HORO_OK);
            double worst = 0;
            for (int64_t i = 0; i < s.n; ++i) {
                CHECK(horo_row_op(op, dtype<T>, s.m, s.dim, x.data() + i * stride, 0, y.data(), stride,
                                  nullptr, 0, nullptr, 0, row.data(), 1, nullptr, 0, nullptr, 0, nullptr, 0,
                                  c, 0, 0, 0, 0, 0, nullptr) == HORO_OK);
                for (int64_t j = 0; j < s.m; ++j)
                    worst =
                        std::max(worst, double(std::abs(out[i * out_stride + j] - row[j])) / double(row[j]));
                CHECK(out[i * out_stride + s.m] == T(-1), "wrote past a row");
            }
            CHECK(worst <= 40 * epsilon<T>, "%s: %g eps from the row operation", model_names[model],
                  worst / epsilon<T>);
            std::vector<T> a(x.size()), b(y.size()), c1(s.n), a1 = a, b1 = b;
            const auto slopes = [&](std::vector<T>& g_x, std::vector<T>& g_y, const horo_exec* exec) {
                CHECK(horo_cdist_vjp(model, dtype<T>, s.n, s.m, s.dim, x.data(), stride, y.data(), stride, c,
                                     0, g.data(), s.m, g_x.data(), stride, g_y.data(), stride, c1.data(),
                                     exec) == HORO_OK,
                      "%s", horo_last_error());
            };
            slopes(a, b, nullptr);
            slopes(a1, b1, one_thread);
            CHECK(same_bits(a, a1) && same_bits(b, b1), "threads change a bit");
            // A point's gradient does not depend on its place in the batch.
            std::vector<T> last(width), g_last(s.m);
            std::copy(g.end() - s.m, g.end(), g_last.begin());
            CHECK(horo_cdist_vjp(model, dtype<T>, 1, s.m, s.dim, x.data() + (s.n - 1) * stride, stride,
                                 y.data(), stride, c, 0, g_last.data(), s.m, last.data(), width, nullptr, 0,
                                 nullptr, nullptr) == HORO_OK);
            CHECK(same_bits(last, std::vector<T>(a.end() - stride, a.end() - 2)), "depends on the batch");
            // Equal points: exactly 0, and so are their gradients.
            std::vector<T> zero(1, T(3)), g_zero(width, T(3)), unit(1, T(1));
            CHECK(horo_cdist(model, dtype<T>, 1, 1, s.dim, x.data(), stride, x.data(), stride, c, 0,
                             zero.data(), 1, nullptr) == HORO_OK);
            CHECK(zero[0] == 0, "distance to itself: %g", double(zero[0]));
            CHECK(horo_cdist_vjp(model, dtype<T>, 1, 1, s.dim, x.data(), stride, x.data(), stride, c, 0,
                                 unit.data(), 1, g_zero.data(), width, nullptr, 0, nullptr,
                                 nullptr) == HORO_OK);
            CHECK(std::all_of(g_zero.begin(), g_zero.end(), [](T v) { return v == 0; }));
        }
    horo_exec_destroy(one_thread);
}

// ---- Maps by a matrix

const char* const linear_names[] = {"mobius_matvec",  "poincare mlr", "poincare dist2plane", "poincare fc",
                                    "lorentz linear", "lorentz mlr",  "lorentz dist2plane"};

template <class T>
struct LinearResult {
    std::vector<T> out, g_x, g_m, g_bias, g_c;
};

template <class T>
LinearResult<T> run_linear(int op, int64_t rows, int64_t dim, int64_t p, double c, const std::vector<T>& x,
                           const std::vector<T>& m, const std::vector<T>& bias, const std::vector<T>& g,
                           const horo_exec* exec = nullptr) {
    const int64_t in = dim + (op >= HORO_LORENTZ_LINEAR), out = p + (op == HORO_LORENTZ_LINEAR);
    const int64_t columns = dim + (op == HORO_LORENTZ_LINEAR);
    LinearResult<T> r{std::vector<T>(rows * out), std::vector<T>(x.size()), std::vector<T>(m.size()),
                      std::vector<T>(bias.size()), std::vector<T>(rows)};
    const T* b = bias.empty() ? nullptr : bias.data();
    CHECK(horo_linear(op, dtype<T>, rows, dim, p, x.data(), in, m.data(), columns, b, c, r.out.data(), out,
                      exec) == HORO_OK,
          "%s", horo_last_error());
    int64_t bytes = 0;
    CHECK(horo_linear_workspace(op, rows, p, &bytes) == HORO_OK);
    std::vector<double> workspace(bytes / 8);
    CHECK(horo_linear_vjp(op, dtype<T>, rows, dim, p, x.data(), in, m.data(), columns, b, c, g.data(), out,
                          r.g_x.data(), in, r.g_m.data(), columns, b ? r.g_bias.data() : nullptr,
                          r.g_c.data(), workspace.data(), bytes, exec) == HORO_OK,
          "%s", horo_last_error());
    return r;
}

template <class T>
void linear_values() {
    for (int op = 0; op <= HORO_LORENTZ_DIST2PLANE; ++op) {
        const int model = op >= HORO_LORENTZ_LINEAR ? lorentz : poincare;
        for (double radii : {0.0, 0.3, 2.0, sizeof(T) == 4 ? 9.0 : 12.0}) {
            const int64_t dim = 6, p = 3, columns = dim + (op == HORO_LORENTZ_LINEAR);
            const double c = model == lorentz ? 1.5 : 0.6;
            const std::vector<T> x = random_point<T>(model, dim, radii, c);
            const std::vector<T> m = random_numbers<T>(p * columns, 0.4);
            const std::vector<T> bias = random_numbers<T>(op == HORO_MOBIUS_MATVEC ? 0 : p, 0.3);
            const std::vector<T> g = random_numbers<T>(p + (op == HORO_LORENTZ_LINEAR));
            const auto r = run_linear<T>(op, 1, dim, p, c, x, m, bias, g);
            Inputs gradients = {quads(space_parts(model, r.g_x, dim)), quads(r.g_m), quads(r.g_bias),
                                quads(r.g_c)};
            if (radii == 0) {
                const double g_c = static_cast<double>(gradients[3][0]);
                gradients[3].clear();
                CHECK(op == HORO_LORENTZ_LINEAR || op == HORO_POINCARE_FC || g_c == 0,
                      "%s at the origin: g_c %g", linear_names[op], g_c);
            }
            compare_all<T>(
                linear_names[op], [&](const Inputs& at) { return linear(op, at); },
                {quads(space_parts(model, x, dim)), quads(m), quads(bias), {Quad(c)}}, quads(g), quads(r.out),
                gradients);
        }
    }
}

// Batches are their rows one by one, matrix gradients the sum over them; over tile edges and threads.
template <class T>
void linear_batches() {
    horo_exec* one_thread = nullptr;
    CHECK(horo_exec_create(-1, 1, nullptr, &one_thread) == HORO_OK);
    struct Shape {
        int64_t rows, dim, p;
    };
    for (int op = 0; op <= HORO_LORENTZ_DIST2PLANE; ++op)
        for (const Shape s : {Shape{1, 1, 1}, {131, 5, 9}, {70, 33, 130}, {2, 2, 16500}}) {
            const int model = op >= HORO_LORENTZ_LINEAR ? lorentz : poincare;
            const double c = 1.2;
            std::vector<T> x;
            for (int64_t i = 0; i < s.rows; ++i)
                append(x, random_point<T>(model, s.dim, 0.1 + 0.1 * double(i % 20), c));
            const int64_t columns = s.dim + (op == HORO_LORENTZ_LINEAR),
                          out = s.p + (op == HORO_LORENTZ_LINEAR);
            const int64_t width = x.size() / s.rows;
            const std::vector<T> m = random_numbers<T>(s.p * columns, 1 / std::sqrt(double(s.p)));
            const std::vector<T> bias = random_numbers<T>(op == HORO_MOBIUS_MATVEC ? 0 : s.p, 0.1);
            const std::vector<T> g = random_numbers<T>(s.rows * out);
            const auto all = run_linear<T>(op, s.rows, s.dim, s.p, c, x, m, bias, g);
            const auto again = run_linear<T>(op, s.rows, s.dim, s.p, c, x, m, bias, g, one_thread);
            CHECK(same_bits(all.out, again.out) && same_bits(all.g_x, again.g_x) &&
                      same_bits(all.g_m, again.g_m) && same_bits(all.g_bias, again.g_bias) &&
                      same_bits(all.g_c, again.g_c),
                  "threads change a bit");
            Numbers g_m(m.size(), 0), g_bias(bias.size(), 0);
            for (int64_t i = 0; i < s.rows; ++i) {
                const auto row = [&](const std::vector<T>& v, int64_t n) {
                    return std::vector<T>(v.begin() + i * n, v.begin() + (i + 1) * n);
                };
                const auto one = run_linear<T>(op, 1, s.dim, s.p, c, row(x, width), m, bias, row(g, out));
                CHECK(same_bits(one.out, row(all.out, out)), "%s out of row %ld depends on the batch",
                      linear_names[op], long(i));
                CHECK(same_bits(one.g_x, row(all.g_x, width)) && one.g_c[0] == all.g_c[i],
                      "%s gradient of row %ld depends on the batch", linear_names[op], long(i));
                for (size_t j = 0; j < g_m.size(); ++j) g_m[j] += one.g_m[j];
                for (size_t j = 0; j < g_bias.size(); ++j) g_bias[j] += one.g_bias[j];
            }
            CHECK(distance(quads(all.g_m), g_m) <= 8 * epsilon<T> * std::sqrt(double(s.rows)) * length(g_m),
                  "%s g_m: %g of %g", linear_names[op], distance(quads(all.g_m), g_m), length(g_m));
            CHECK(distance(quads(all.g_bias), g_bias) <=
                      8 * epsilon<T> * std::sqrt(double(s.rows)) * length(g_bias),
                  "%s g_bias", linear_names[op]);
            if (s.rows < 2) continue;
            std::vector<T> with_nan = x;
            with_nan[width - 1] = std::numeric_limits<T>::quiet_NaN();
            const auto marked = run_linear<T>(op, s.rows, s.dim, s.p, c, with_nan, m, bias, g);
            CHECK(marked.out[out - 1] != marked.out[out - 1]);
            CHECK(same_bits(std::vector<T>(marked.out.begin() + out, marked.out.end()),
                            std::vector<T>(all.out.begin() + out, all.out.end())),
                  "NaN left its row");
        }
    horo_exec_destroy(one_thread);
}

void linear_properties() {
    const int64_t dim = 5, rows = 6;
    const double c = 0.7;
    std::vector<double> x, identity(dim * dim, 0), g = random_numbers<double>(rows * dim);
    for (int64_t i = 0; i < rows; ++i) append(x, random_point<double>(poincare, dim, 4.0 * double(i), c));
    for (int64_t i = 0; i < dim; ++i) identity[i * dim + i] = 1;
    const auto same = run_linear<double>(HORO_MOBIUS_MATVEC, rows, dim, dim, c, x, identity, {}, g);
    for (size_t i = 0; i < x.size(); ++i)
        CHECK(std::abs(same.out[i] - x[i]) <= 4e-16, "identity: %.17g, %.17g", same.out[i], x[i]);

    // The other side of the hyperplanes: normals turned, biases negated.
    for (int op : {HORO_POINCARE_MLR, HORO_POINCARE_DIST2PLANE, HORO_LORENTZ_MLR, HORO_LORENTZ_DIST2PLANE}) {
        const int model = op >= HORO_LORENTZ_LINEAR ? lorentz : poincare;
        std::vector<double> points;
        for (int64_t i = 0; i < rows; ++i) append(points, random_point<double>(model, dim, double(i), c));
        std::vector<double> z = random_numbers<double>(3 * dim), r = random_numbers<double>(3, 0.3);
        const std::vector<double> cot(rows * 3, 1);
        const auto one = run_linear<double>(op, rows, dim, 3, c, points, z, r, cot);
        for (double& v : z) v = -v;
        for (double& v : r) v = -v;
        const auto other = run_linear<double>(op, rows, dim, 3, c, points, z, r, cot);
        for (size_t i = 0; i < one.out.size(); ++i)
            CHECK(one.out[i] == -other.out[i], "%s: %.17g, %.17g", linear_names[op], one.out[i],
                  other.out[i]);
        // without a normal there is no hyperplane: 0, and no NaN
        const std::vector<double> nothing(3 * dim, 0);
        const auto zero =
            run_linear<double>(op, rows, dim, 3, c, points, nothing, std::vector<double>(3, 0), cot);
        for (double v : zero.out) CHECK(v == 0);
        for (double v : zero.g_x) CHECK(v == 0);
    }
    // The signed distance to a hyperplane is the distance to its nearest point, on the ray of the normal.
    std::vector<double> normal(dim, 0), at(dim, 0), foot(dim, 0), d(1);
    normal[0] = 2;
    at[0] = std::tanh(1.5 * std::sqrt(c)) / std::sqrt(c);
    foot[0] = std::tanh(0.5 * std::sqrt(c)) / std::sqrt(c);
    const auto plane = run_linear<double>(HORO_POINCARE_DIST2PLANE, 1, dim, 1, c, at, normal, {0.5}, {1});
    CHECK(horo_cdist(HORO_POINCARE, HORO_F64, 1, 1, dim, at.data(), dim, foot.data(), dim, c, 0, d.data(), 1,
                     nullptr) == HORO_OK);
    CHECK(std::abs(plane.out[0] - d[0]) <= 1e-15 * d[0] && std::abs(d[0] - 2) <= 1e-14, "%.17g, %.17g",
          plane.out[0], d[0]);
}

// What bench/peers/exactness.py found, wanted numbers by 330 digits: derivatives by the curvature next to the
// origin, gradients of saturated outputs, and points far out on the normal of a hyperplane that is far out
// too.
void linear_hard_rows() {
    enum Tensor { out, by_x, by_m, by_bias, by_curvature };
    struct Row {
        int op;
        double c;
        std::vector<double> x, m, bias, g;
        Tensor tensor;
        std::vector<double> want;
        double tolerance;
    };
    const std::vector<double> close = {0x1p-20, -0x3p-22}, normal = {0.75, -0.5};
    const std::vector<double> inside = {0.75, 0.25}, steep = {12, -2}, rim = {0.984375, 0.0625};
    const std::vector<double> far_ball = {1 - 0x1p-20, 0}, far = {0x1p16, 0};
    const Row rows[] = {
        {HORO_POINCARE_MLR,
         1.5,
         close,
         normal,
         {0.5},
         {0.75},
         by_curvature,
         {-5.7884880285423829e-15},
         1e-13},
        {HORO_POINCARE_DIST2PLANE,
         1.5,
         close,
         normal,
         {-0.25},
         {0.75},
         by_curvature,
         {2.6135420899059444e-15},
         1e-13},
        {HORO_LORENTZ_MLR, 1.5, close, normal, {0.5}, {0.75}, by_curvature, {2.9538568587431766e-16}, 1e-13},
        {HORO_LORENTZ_DIST2PLANE,
         1.5,
         close,
         normal,
         {-0.25},
         {0.75},
         by_curvature,
         {-1.7715958421847351e-16},
         1e-13},
        {HORO_POINCARE_FC,
         1,
         inside,
         steep,
         {0.25},
         {0.75},
         by_x,
         {2.0020820075378672e-13, 1.5646056255584059e-14},
         1e-13},
        {HORO_POINCARE_FC,
         1,
         inside,
         steep,
         {0.25},
         {0.75},
         by_m,
         {4.8477086701953664e-15, 2.3851742213639919e-15},
         1e-13},
        {HORO_POINCARE_FC, 1, inside, steep, {0.25}, {0.75}, by_bias, {-1.0143910164372943e-13}, 1e-13},
        {HORO_MOBIUS_MATVEC,
         1,
         rim,
         {6, -3},
         {},
         {0.75},
         by_x,
         {1.845104443481197e-10, 4.3567489629061152e-12},
         1e-13},
        {HORO_MOBIUS_MATVEC,
         1,
         rim,
         {6, -3},
         {},
         {0.75},
         by_m,
         {2.1423632146384824e-12, 1.3602306124688777e-13},
         1e-13},
        {HORO_MOBIUS_MATVEC,
         1,
         rim,
         {6, -3, 0x1p-10, 0x1p-11},
         {},
         {0.75, 0.5},
         by_x,
         {-5.5972120297454024e-06, 8.8159000199979635e-05},
         1e-14},
        {HORO_POINCARE_MLR, 1, far_ball, {2, 0}, {8}, {0.75}, out, {-5.7756387403136813}, 1e-15},
        {HORO_POINCARE_MLR, 1, far_ball, {2, 0}, {8}, {0.75}, by_bias, {-6}, 1e-15},
        {HORO_POINCARE_MLR, 1, far_ball, {2, 0}, {8}, {0.75}, by_curvature, {1572841.4158641701}, 1e-14},
        {HORO_LORENTZ_DIST2PLANE, 1, far, {1, 0}, {10}, {0.75}, out, {1.7835020695772779}, 1e-15},
        {HORO_LORENTZ_DIST2PLANE, 1, far, {1, 0}, {10}, {0.75}, by_bias, {-0.75}, 1e-15},
        {HORO_LORENTZ_DIST2PLANE, 1, far, {1, 0}, {10}, {0.75}, by_curvature, {4.0438132761351353}, 1e-15},
        {HORO_POINCARE_DIST2PLANE,
         1,
         {0.75, 0.65625},
         {0.75, 0.625},
         {6},
         {0.75},
         by_bias,
         {-1.5000007497353163},
         1e-15},
    };
    for (const Row& row : rows) {
        const int model = row.op >= HORO_LORENTZ_LINEAR ? lorentz : poincare;
        const int64_t dim = static_cast<int64_t>(row.x.size()), p = static_cast<int64_t>(row.g.size());
        std::vector<double> x = row.x;
        if (model == lorentz) x.insert(x.begin(), 99);
        const auto r = run_linear<double>(row.op, 1, dim, p, row.c, x, row.m, row.bias, row.g);
        const std::vector<double> all[] = {r.out, space_parts(model, r.g_x, dim), r.g_m, r.g_bias, r.g_c};
        const Numbers want = quads(row.want);
        const double error = distance(quads(all[row.tensor]), want) / length(want);
        CHECK(error <= row.tolerance, "%s tensor %d: %.17g, relative error %g", linear_names[row.op],
              row.tensor, all[row.tensor][0], error);
    }
}

// ---- Concatenation

// B(n/2, 1/2) over a constant
Quad beta_half(int64_t n) { return expq(lgammaq(Quad(n) / 2) - lgammaq(Quad(n + 1) / 2)); }

// A part times tanh or artanh of its length over its length.
void rescale(Quad* v, size_t n, Quad c, Quad (*f)(Quad), Quad factor) {
    const Quad r = sqrtq(c * dot(v, v, n));
    for (size_t i = 0; i < n; ++i)
        v[i] *= factor * (r == 0 ? 1 : f(factor == 1 ? r : factor * r) / (factor == 1 ? r : factor * r));
}

// in: the space parts side by side, curvature. Lorentz points come out with their times.
Numbers concat(int model, const std::vector<int64_t>& dims, bool split, const Inputs& in) {
    Numbers v = in[0];
    const Quad c = in[1][0];
    const int64_t whole = v.size();
    if (model == lorentz) {
        Numbers out;
        for (int64_t i = 0, at = 0; i < (split ? int64_t(dims.size()) : 1); at += dims[i++]) {
            const int64_t n = split ? dims[i] : whole;
            out.push_back(sqrtq(c + dot(&v[at], &v[at], n)));
            out.insert(out.end(), v.begin() + at, v.begin() + at + n);
        }
        return out;
    }
    if (split) rescale(v.data(), whole, c, atanhq, 1);
    for (int64_t i = 0, at = 0; i < int64_t(dims.size()); at += dims[i++]) {
        const Quad sigma = beta_half(whole) / beta_half(dims[i]);
        if (!split) rescale(&v[at], dims[i], c, atanhq, 1);
        for (int64_t j = 0; j < dims[i]; ++j) v[at + j] *= split ? 1 / sigma : sigma;
        if (split) rescale(&v[at], dims[i], c, tanhq, 1);
    }
    if (!split) rescale(v.data(), whole, c, tanhq, 1);
    return v;
}

template <class T>
struct ConcatResult {
    std::vector<T> out, g_x, g_c;
};

template <class T>
ConcatResult<T> run_concat(int model, const std::vector<int64_t>& dims, bool split, int64_t rows, double c,
                           const std::vector<T>& x, const std::vector<T>& g, int64_t pad = 0,
                           const horo_exec* exec = nullptr) {
    const int64_t parts = dims.size(), in = x.size() / rows, to = g.size() / rows;
    std::vector<T> wide((in + pad) * rows, T{55});
    for (int64_t r = 0; r < rows; ++r) std::copy_n(x.begin() + r * in, in, wide.begin() + r * (in + pad));
    ConcatResult<T> r{std::vector<T>(g.size()), std::vector<T>(x.size()), std::vector<T>(rows)};
    CHECK((split ? horo_split : horo_concat)(model, dtype<T>, rows, parts, dims.data(), wide.data(), in + pad,
                                             c, r.out.data(), to, exec) == HORO_OK,
          "%s", horo_last_error());
    CHECK((split ? horo_split_vjp : horo_concat_vjp)(model, dtype<T>, rows, parts, dims.data(), wide.data(),
                                                     in + pad, c, g.data(), to, r.g_x.data(), in,
                                                     r.g_c.data(), exec) == HORO_OK,
          "%s", horo_last_error());
    return r;
}

template <class T>
void concat_values() {
    struct Shape {
        std::vector<int64_t> dims;
        std::vector<double> radii;  // of the parts; of the whole for a split
    };
    const double far = sizeof(T) == 4 ? 14 : 20;
    const std::vector<Shape> shapes = {{{3, 3}, {1, 2}},      {{1, 5, 2}, {0.1, 3, 0}},
                                       {{12, 2}, {far, 0.5}}, {{4, 4, 4}, {far, far, 1e-6}},
                                       {{2, 3}, {far, 0}},    {{7}, {far}},
                                       {{2, 2}, {0, 0}},      {{9, 1, 18, 2}, {0.3, 5, far / 2, 1}}};
    for (int model : {poincare, lorentz, klein})
        for (int split = 0; split < 2; ++split)
            for (const Shape& shape : shapes) {
                const double c = model == lorentz ? 1.75 : 0.5;
                const int64_t parts = shape.dims.size();
                const int64_t whole = std::accumulate(shape.dims.begin(), shape.dims.end(), int64_t{0});
                // the rim of the Klein model is twice as near, and the hyperboloid grows with e^r
                const double scale = model == klein ? 0.5 : model == lorentz ? 0.4 : 1;
                std::vector<T> x;
                Numbers bare;
                const auto point = [&](int64_t dim, double radii) {
                    const std::vector<T> p = random_point<T>(model, dim, scale * radii, c);
                    append(x, p);
                    bare.insert(bare.end(), p.begin() + (model == lorentz), p.end());
                };
                if (split) point(whole, shape.radii[0]);
                for (int64_t i = 0; i < parts && !split; ++i) point(shape.dims[i], shape.radii[i]);
                const std::vector<T> g = random_numbers<T>(whole + (model != lorentz ? 0
                                                                    : split          ? parts
                                                                                     : 1));
                const auto r = run_concat<T>(model, shape.dims, split, 1, c, x, g);
                Numbers g_x;
                for (int64_t i = 0, at = 0; i < (split ? 1 : parts); ++i) {
                    if (model == lorentz) CHECK(r.g_x[at++] == 0, "gradient of a stored time");
                    for (int64_t j = 0; j < (split ? whole : shape.dims[i]); ++j) g_x.push_back(r.g_x[at++]);
                }
                const std::string name = std::string(model_names[model]) +
                                         (split ? " split of " : " concat of ") + std::to_string(parts) +
                                         " in " + std::to_string(whole);
                compare_all<T>(name.c_str(),
                               [&](const Inputs& at) { return concat(model, shape.dims, split, at); },
                               {bare, {Quad(c)}}, quads(g), quads(r.out), {g_x, quads(r.g_c)});
            }
}

// Batches are their rows one by one; a split undoes a concatenation; many parts, strides, threads, NaN.
template <class T>
void concat_batches() {
    horo_exec* one_thread = nullptr;
    CHECK(horo_exec_create(-1, 1, nullptr, &one_thread) == HORO_OK);
    std::vector<int64_t> many(130, 1);
    many[70] = 5;
    for (int model : {poincare, lorentz})
        for (int split = 0; split < 2; ++split)
            for (const std::vector<int64_t>& dims : {std::vector<int64_t>{8, 8, 3}, many, {20000, 3}}) {
                const int64_t parts = dims.size(), rows = dims[0] > 9000 ? 3 : 301;
                const int64_t whole = std::accumulate(dims.begin(), dims.end(), int64_t{0});
                const double c = 1.3;
                std::vector<T> x;
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t i = 0; i < (split ? 1 : parts); ++i)
                        append(x,
                               random_point<T>(model, split ? whole : dims[i], 0.1 * double((r + i) % 9), c));
                const int64_t in = x.size() / rows;
                const int64_t to = whole + (model != lorentz ? 0 : split ? parts : 1);
                const std::vector<T> g = random_numbers<T>(rows * to);
                const auto all = run_concat<T>(model, dims, split, rows, c, x, g);
                const auto again = run_concat<T>(model, dims, split, rows, c, x, g, 3, one_thread);
                CHECK(same_bits(all.out, again.out) && same_bits(all.g_x, again.g_x) &&
                          same_bits(all.g_c, again.g_c),
                      "threads or strides change a bit");
                const int64_t last = rows - 1;
                const auto alone =
                    run_concat<T>(model, dims, split, 1, c, std::vector<T>(x.begin() + last * in, x.end()),
                                  std::vector<T>(g.begin() + last * to, g.end()));
                CHECK(same_bits(alone.out, std::vector<T>(all.out.begin() + last * to, all.out.end())) &&
                          same_bits(alone.g_x, std::vector<T>(all.g_x.begin() + last * in, all.g_x.end())),
                      "depends on the batch");
                const auto back = run_concat<T>(model, dims, !split, rows, c, all.out, x);
                double worst = 0;
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t j = model == lorentz; j < in; ++j)
                        if (x[r * in + j] != T(99))  // a wrong time
                            worst = std::max(worst, std::abs(double(back.out[r * in + j] - x[r * in + j])));
                CHECK(worst <= 64 * epsilon<T> * (model == lorentz ? 4 : 1), "not an inverse: %g", worst);
                x[in - 1] = std::numeric_limits<T>::quiet_NaN();
                const auto poisoned = run_concat<T>(model, dims, split, rows, c, x, g);
                CHECK(poisoned.out[to - 1] != poisoned.out[to - 1]);
                CHECK(same_bits(std::vector<T>(poisoned.out.begin() + to, poisoned.out.end()),
                                std::vector<T>(all.out.begin() + to, all.out.end())),
                      "NaN left its row");
            }
    horo_exec_destroy(one_thread);
    // two points of the plane in four dimensions, by 30 digits: B(2, 1/2) / B(1, 1/2) = 2/3
    const std::vector<double> x = {0.3, 0.4, 0.8, -0.1};
    const auto r = run_concat<double>(poincare, {2, 2}, false, 1, 1, x, {1, 0, 0, 0});
    const double want[] = {0.18018965086443572119, 0.24025286781924765048, 0.60550845577739916317,
                           -0.075688556972174895396};
    for (int i = 0; i < 4; ++i) CHECK(std::abs(r.out[i] - want[i]) <= 2e-16, "%.17g", r.out[i]);
}

// ---- 16-bit storage: the same as float64 rows of the same numbers, rounded at the end

template <class Storage>
std::vector<Short<Storage>> shortened(const std::vector<double>& v) {
    std::vector<Short<Storage>> out(v.size());
    for (size_t i = 0; i < v.size(); ++i) out[i].bits = Storage::put(v[i]);
    return out;
}

template <class Storage>
std::vector<double> widened(const std::vector<Short<Storage>>& v) {
    std::vector<double> out;
    for (const Short<Storage>& e : v) out.push_back(e.value());
    return out;
}

template <class Storage>
void within_half_ulp(const char* what, const char* tensor, const std::vector<Short<Storage>>& got,
                     const std::vector<double>& want) {
    constexpr int bits = Storage::dtype == HORO_BF16 ? 8 : 11,
                  lowest = Storage::dtype == HORO_BF16 ? -126 : -14;
    CHECK(got.size() == want.size());
    double largest = 0;
    for (double w : want)
        if (std::isfinite(w)) largest = std::max(largest, std::fabs(w));
    for (size_t i = 0; i < got.size(); ++i) {
        const double value = got[i].value();
        if (std::isnan(want[i]) && std::isnan(value)) continue;
        if (std::isinf(value) && Short<Storage>{Storage::put(want[i])}.value() == value) continue;
        const double ulp = std::ldexp(1.0, std::max(std::ilogb(want[i]), lowest) - bits + 1);
        // rounded by way of float32
        CHECK(std::fabs(value - want[i]) <= (0.5 + 0x1p-12) * ulp + 1e-12 * largest,
              "%s %s %zu: %g, expected %g", what, tensor, i, value, want[i]);
    }
}

template <class Storage>
void short_storage() {
    using T = Short<Storage>;
    // numbers as they are stored, and the same in double
    const auto stored = [](const std::vector<double>& v) { return shortened<Storage>(v); };
    const auto check = [](const char* what, const char* tensor, const std::vector<T>& got,
                          const std::vector<double>& want) { within_half_ulp(what, tensor, got, want); };
    for (int model : {poincare, lorentz, klein})
        for (int64_t dim : {1, 2, 7, 16, 33, 4101}) {
            const int64_t rows = dim > 4000 ? 2 : 5, k = 4, width = dim + (model == lorentz);
            const double c = 1.5;
            std::vector<double> points, weights;
            for (int64_t i = 0; i < rows * k; ++i) {
                append(points, random_point<double>(model, dim, 0.1 + 0.3 * double(i % 5), c));
                weights.push_back(0.1 + double(i % 3));
            }
            points[points.size() - 1] = std::numeric_limits<double>::quiet_NaN();  // in the last row
            const auto x = stored(points), w = stored(weights),
                       g = stored(random_numbers<double>(rows * width));
            for (int frechet = 0; frechet < (dim > 4000 ? 1 : 2); ++frechet) {
                const int64_t sets = frechet ? rows - 1 : rows;  // a NaN does not converge
                const auto part = [&](const std::vector<T>& v) {
                    return std::vector<T>(v.begin(), v.begin() + v.size() / rows * sets);
                };
                const auto xs = part(x), ws = part(w), gs = part(g);
                const auto got = run_set<T>(frechet, model, sets, k, dim, c, xs, ws, gs);
                const auto want =
                    run_set<double>(frechet, model, sets, k, dim, c, widened(xs), widened(ws), widened(gs));
                const char* name = frechet ? "frechet_mean" : "midpoint";
                check(name, "out", got.out, want.out);
                check(name, "g_x", got.g_x, want.g_x);
                check(name, "g_w", got.g_w, want.g_w);
                check(name, "g_curvature", got.g_c, want.g_c);
                if (frechet) check(name, "variance", got.variance, want.variance);
            }
            const int64_t n = rows * k - 1, m = std::min<int64_t>(n, 9);  // without the NaN
            const auto cot = stored(random_numbers<double>(n * m));
            const auto pairs_of = [&](auto& out, auto& g_x, auto& g_y, auto& g_c, const auto& in,
                                      const auto& against, int32_t type) {
                out.resize(n * m), g_x.resize(n * width), g_y.resize(m * width), g_c.resize(n);
                CHECK(horo_cdist(model, type, n, m, dim, in.data(), width, in.data() + width, width, c, 0,
                                 out.data(), m, nullptr) == HORO_OK,
                      "%s", horo_last_error());
                CHECK(horo_cdist_vjp(model, type, n, m, dim, in.data(), width, in.data() + width, width, c, 0,
                                     against.data(), m, g_x.data(), width, g_y.data(), width, g_c.data(),
                                     nullptr) == HORO_OK,
                      "%s", horo_last_error());
            };
            std::vector<T> out, g_x, g_y, g_c;
            std::vector<double> wide_out, wide_g_x, wide_g_y, wide_g_c;
            pairs_of(out, g_x, g_y, g_c, x, cot, Storage::dtype);
            pairs_of(wide_out, wide_g_x, wide_g_y, wide_g_c, widened(x), widened(cot), HORO_F64);
            check("cdist", "out", out, wide_out);
            check("cdist", "g_x", g_x, wide_g_x);
            check("cdist", "g_y", g_y, wide_g_y);
            check("cdist", "g_curvature", g_c, wide_g_c);
        }
    for (int op = 0; op <= HORO_LORENTZ_DIST2PLANE; ++op)
        for (int64_t dim : {1, 5, 33}) {
            const int model = op >= HORO_LORENTZ_LINEAR ? lorentz : poincare;
            const int64_t rows = 67, p = 9, columns = dim + (op == HORO_LORENTZ_LINEAR);
            std::vector<double> points;
            for (int64_t i = 0; i < rows; ++i)
                append(points, random_point<double>(model, dim, 0.1 + 0.1 * double(i % 20), 1.2));
            const auto x = stored(points), m = stored(random_numbers<double>(p * columns, 0.3)),
                       bias = stored(random_numbers<double>(op == HORO_MOBIUS_MATVEC ? 0 : p, 0.1)),
                       g = stored(random_numbers<double>(rows * (p + (op == HORO_LORENTZ_LINEAR))));
            const auto got = run_linear<T>(op, rows, dim, p, 1.2, x, m, bias, g);
            const auto want =
                run_linear<double>(op, rows, dim, p, 1.2, widened(x), widened(m), widened(bias), widened(g));
            check(linear_names[op], "out", got.out, want.out);
            check(linear_names[op], "g_x", got.g_x, want.g_x);
            check(linear_names[op], "g_m", got.g_m, want.g_m);
            check(linear_names[op], "g_bias", got.g_bias, want.g_bias);
            check(linear_names[op], "g_curvature", got.g_c, want.g_c);
        }
    for (int model : {poincare, lorentz})
        for (int split = 0; split < 2; ++split)
            for (const std::vector<int64_t>& dims : {std::vector<int64_t>{3, 8, 18}, {5}}) {
                const int64_t rows = 7, whole = std::accumulate(dims.begin(), dims.end(), int64_t{0});
                std::vector<double> points;
                for (int64_t r = 0; r < rows; ++r)
                    for (size_t i = 0; i < (split ? 1 : dims.size()); ++i)
                        append(points,
                               random_point<double>(model, split ? whole : dims[i], 0.2 * double(r), 1.3));
                const int64_t to = whole + (model != lorentz ? 0 : split ? int64_t(dims.size()) : 1);
                const auto x = stored(points), g = stored(random_numbers<double>(rows * to));
                const auto got = run_concat<T>(model, dims, split, rows, 1.3, x, g);
                const auto want = run_concat<double>(model, dims, split, rows, 1.3, widened(x), widened(g));
                const char* name = split ? "split" : "concat";
                check(name, "out", got.out, want.out);
                check(name, "g_x", got.g_x, want.g_x);
                check(name, "g_curvature", got.g_c, want.g_c);
            }
}

// ---- Arguments

bool refused(int32_t status, const char* named) {
    return status == HORO_INVALID_ARGUMENT && std::strstr(horo_last_error(), named) == horo_last_error();
}

void refusals() {
    std::vector<double> x(64, 0.1), w(16, 1), out(64, 0), g(64, 1), work(512);
    const auto mid = [&](int32_t model, int32_t type, int64_t rows, int64_t k, int64_t dim,
                         const void* points, double c, void* to) {
        return horo_midpoint(model, type, rows, k, dim, points, k * dim, dim, w.data(), k, c, to, dim,
                             nullptr, 0, nullptr);
    };
    CHECK(mid(HORO_POINCARE, HORO_F64, 0, 2, 3, nullptr, 1, nullptr) == HORO_OK);
    CHECK(refused(mid(3, HORO_F64, 2, 2, 3, x.data(), 1, out.data()), "model"));
    CHECK(refused(mid(0, 4, 2, 2, 3, x.data(), 1, out.data()), "dtype"));
    CHECK(refused(mid(0, HORO_F64, -1, 2, 3, x.data(), 1, out.data()), "rows"));
    CHECK(refused(mid(0, HORO_F64, 2, 0, 3, x.data(), 1, out.data()), "k"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 0, x.data(), 1, out.data()), "dim"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 3, nullptr, 1, out.data()), "x"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 3, x.data(), 0, out.data()), "curvature"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 3, x.data(), NAN, out.data()), "curvature"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 3, x.data(), 1, nullptr), "out"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 3, x.data(), 1, x.data() + 11), "out"));
    CHECK(refused(mid(0, HORO_F64, 2, 2, 3, reinterpret_cast<char*>(x.data()) + 1, 1, out.data()), "x"));
    // one set for all rows is welcome; one gradient for all rows is not
    CHECK(horo_midpoint(0, HORO_F64, 2, 2, 3, x.data(), 0, 3, nullptr, 0, 1, out.data(), 3, nullptr, 0,
                        nullptr) == HORO_OK);
    CHECK(refused(horo_midpoint_vjp(0, HORO_F64, 2, 2, 3, x.data(), 0, 3, nullptr, 0, 1, g.data(), 3,
                                    out.data(), 0, 3, nullptr, 0, nullptr, nullptr, 0, nullptr),
                  "g_x"));
    CHECK(refused(horo_midpoint_vjp(0, HORO_F64, 2, 2, 3, x.data(), 6, 3, w.data(), 2, 1, g.data(), 3,
                                    out.data(), 6, 3, out.data(), 2, nullptr, nullptr, 0, nullptr),
                  "g_w"));
    int64_t room_bytes = 0;
    CHECK(horo_midpoint_workspace(2, 2, 3, &room_bytes) == HORO_OK && room_bytes == 0);
    CHECK(horo_midpoint_workspace(1, 8192, 1, &room_bytes) == HORO_OK && room_bytes == 8 * 3 * 32);
    CHECK(refused(horo_midpoint_workspace(1, 0, 1, &room_bytes), "k"));
    const std::vector<double> many(8192, 0.1);
    std::vector<double> room(3 * 32);
    const auto cut = [&](void* workspace, int64_t size) {
        return horo_midpoint(0, HORO_F64, 1, 8192, 1, many.data(), 8192, 1, nullptr, 0, 1, out.data(), 1,
                             workspace, size, nullptr);
    };
    CHECK(cut(room.data(), room_bytes) == HORO_OK && cut(nullptr, 0) == HORO_OK);
    CHECK(refused(cut(room.data(), room_bytes - 1), "workspace"));
    CHECK(refused(cut(reinterpret_cast<char*>(room.data()) + 4, room_bytes), "workspace"));
    const auto cdist = [&](int32_t model, int64_t n, int64_t m, int64_t dim, int64_t stride, void* to) {
        return horo_cdist(model, HORO_F64, n, m, dim, x.data(), dim, x.data(), dim, 1, 0, to, stride,
                          nullptr);
    };
    CHECK(cdist(0, 0, 3, 2, 3, nullptr) == HORO_OK && cdist(0, 3, 0, 2, 0, nullptr) == HORO_OK);
    CHECK(cdist(HORO_KLEIN, 2, 2, 2, 2, out.data()) == HORO_OK &&
          refused(cdist(3, 2, 2, 2, 2, out.data()), "model"));
    CHECK(refused(cdist(0, -1, 2, 2, 2, out.data()), "n"));
    CHECK(refused(cdist(0, 2, 2, 0, 2, out.data()), "dim"));
    CHECK(refused(cdist(0, 2, 3, 2, 2, out.data()), "out"));
    CHECK(refused(cdist(0, 2, 2, 2, 2, x.data() + 1), "out"));
    const auto map = [&](int32_t op, int64_t rows, int64_t p, const void* bias, void* to) {
        return horo_linear(op, HORO_F64, rows, 2, p, x.data(), 3, x.data(), 3, bias, 1, to, p + 1, nullptr);
    };
    CHECK(map(0, 0, 2, nullptr, nullptr) == HORO_OK);
    CHECK(refused(map(7, 2, 2, nullptr, out.data()), "op"));
    CHECK(refused(map(0, 2, 0, nullptr, out.data()), "p"));
    CHECK(refused(map(0, 2, 2, w.data(), out.data()), "bias"));
    CHECK(refused(map(1, 2, 2, w.data(), x.data()), "out"));
    CHECK(refused(horo_linear_vjp(1, HORO_F64, 2, 2, 2, x.data(), 2, x.data(), 2, nullptr, 1, g.data(), 2,
                                  out.data(), 2, nullptr, 0, nullptr, nullptr, work.data(), 8, nullptr),
                  "workspace"));
    // no rows: the matrix has a gradient, and it is 0
    std::vector<double> g_m(4, 5);
    CHECK(horo_linear_vjp(1, HORO_F64, 0, 2, 2, nullptr, 2, x.data(), 2, nullptr, 1, nullptr, 2, nullptr, 0,
                          g_m.data(), 2, nullptr, nullptr, nullptr, 0, nullptr) == HORO_OK,
          "%s", horo_last_error());
    for (double v : g_m) CHECK(v == 0);
    const auto parts = [&](int32_t model, int64_t count, const int64_t* dims, void* to) {
        return horo_concat(model, HORO_F64, 2, count, dims, x.data(), 6, 1, to, 6, nullptr);
    };
    const int64_t dims[] = {2, 3}, none[] = {2, 0}, huge[] = {2, INT64_MAX};
    CHECK(parts(0, 2, dims, out.data()) == HORO_OK && parts(HORO_LORENTZ, 2, dims, out.data()) == HORO_OK);
    CHECK(refused(parts(5, 2, dims, out.data()), "model") && refused(parts(0, 0, dims, out.data()), "parts"));
    CHECK(refused(parts(0, 2, nullptr, out.data()), "dims") &&
          refused(parts(0, 2, none, out.data()), "dims[1]"));
    CHECK(refused(parts(0, 2, huge, out.data()), "dims[1]") && refused(parts(0, 2, dims, x.data()), "out"));
    CHECK(refused(
        horo_split_vjp(0, HORO_F64, 2, 2, dims, x.data(), 5, 1, g.data(), 5, x.data(), 5, nullptr, nullptr),
        "g_x"));
    const auto mean = [&](int32_t model, double tolerance, int32_t most, int64_t bytes) {
        return horo_frechet_mean(model, HORO_F64, 2, 2, 3, x.data(), 8, 4, w.data(), 2, 1, tolerance, most,
                                 out.data(), 4, nullptr, nullptr, work.data(), bytes, nullptr);
    };
    CHECK(mean(0, 1e-12, 9, 4096) == HORO_OK);
    CHECK(mean(HORO_KLEIN, 1e-12, 9, 4096) == HORO_OK && refused(mean(3, 1e-12, 9, 4096), "model"));
    const auto mean_vjp = [&](const void* cotangent, const void* g_variance, void* g_x) {
        return horo_frechet_mean_vjp(0, HORO_F64, 2, 2, 3, x.data(), 8, 4, w.data(), 2, 1, 1e-12, 9,
                                     cotangent, 3, g_variance, g_x, 8, 4, nullptr, 0, nullptr, nullptr,
                                     work.data(), 4096, nullptr);
    };
    CHECK(mean_vjp(g.data(), nullptr, out.data()) == HORO_OK &&
          mean_vjp(nullptr, g.data(), out.data()) == HORO_OK);
    CHECK(refused(mean_vjp(nullptr, nullptr, out.data()), "g") &&
          refused(mean_vjp(nullptr, g.data(), g.data()), "g_x"));
    CHECK(refused(mean(0, 0, 9, 4096), "tolerance") && refused(mean(0, 1e-12, 0, 4096), "max_iterations"));
    CHECK(refused(mean(0, 1e-12, 9, 8), "workspace"));
}

}  // namespace

int main() {
    set_values<float>();
    set_values<double>();
    variances<float>();
    variances<double>();
    set_properties();
    set_rim();
    curvature_on_a_ray();
    large_sets<float>();
    large_sets<double>();
    set_batches<float>();
    set_batches<double>();
    plain_and_pairs();
    pairs<float>();
    pairs<double>();
    pairs_far_out();
    pair_batches<float>();
    pair_batches<double>();
    linear_values<float>();
    linear_values<double>();
    linear_batches<float>();
    linear_batches<double>();
    linear_properties();
    linear_hard_rows();
    concat_values<float>();
    concat_values<double>();
    concat_batches<float>();
    concat_batches<double>();
    short_storage<AsBf16>();
    short_storage<AsF16>();
    refusals();
    return check_result();
}
