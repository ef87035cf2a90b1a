// Sets of points, layers of hyperbolic networks, Gromov products and random numbers of CUDA against the
// CPU's.
#pragma once
#include "cuda_cases.h"
#include "storage.h"

namespace cases {

// A number of 16 bits as it is stored.
template <class Storage>
struct Short {
    uint16_t bits;
    Short() = default;
    explicit Short(double x) : bits(Storage::put(x)) {}
    explicit operator double() const { return Storage::get(bits); }
};

template <class T>
constexpr int32_t dtype_of = sizeof(T) == 8 ? HORO_F64 : HORO_F32;
template <class Storage>
constexpr int32_t dtype_of<Short<Storage>> = Storage::dtype;
template <class T>
constexpr double rounding = sizeof(T) == 8 ? 2e-13 : 2e-7;
template <class Storage>
constexpr double rounding<Short<Storage>> = 2e-13;  // of the float64 results that those are compared with

// What the CPU computes with: the same numbers, those of 16 bits as float64.
template <class T>
const std::vector<T>& reference(const std::vector<T>& x) {
    return x;
}
template <class Storage>
std::vector<double> reference(const std::vector<Short<Storage>>& x) {
    std::vector<double> wide;
    for (const Short<Storage>& v : x) wide.push_back(static_cast<double>(v));
    return wide;
}
template <class T>
using Reference = typename std::decay_t<decltype(reference(std::vector<T>()))>::value_type;

// Results of 16 bits are the float64 ones, rounded: once to float32, then to 16 bits.
template <class Storage>
void same(const std::vector<Short<Storage>>& got, const std::vector<double>& want, int64_t width,
          double tolerance, const std::string& what, double terms = 0) {
    constexpr int bits = Storage::dtype == HORO_BF16 ? 8 : 11,
                  lowest = Storage::dtype == HORO_BF16 ? -126 : -14;
    CHECK(got.size() == want.size(), "%s: sizes", what.c_str());
    double largest = terms;
    for (size_t i = 0; i < want.size(); ++i) {
        const size_t row = i / static_cast<size_t>(width) * static_cast<size_t>(width);
        if (i == row) {
            largest = terms;
            for (size_t j = row; j < row + static_cast<size_t>(width) && j < want.size(); ++j)
                if (std::isfinite(want[j])) largest = std::fmax(largest, std::fabs(want[j]));
        }
        const double value = static_cast<double>(got[i]), rounded = Storage::get(Storage::put(want[i]));
        if ((std::isnan(value) && std::isnan(rounded)) || value == rounded) continue;
        const double ulp = std::ldexp(1.0, std::max(std::ilogb(want[i]), lowest) - bits + 1);
        CHECK(std::fabs(value - want[i]) <= (0.5 + 0x1p-12) * ulp + tolerance * largest,
              "%s: %g at %zu, expected %g", what.c_str(), value, i, want[i]);
    }
}

inline int64_t width_of(int32_t model, int64_t dim) { return model == HORO_LORENTZ ? dim + 1 : dim; }

// n points, `stride` elements apart: anywhere in the ball, or some radii out on the hyperboloid, whose times
// are anything.
template <class T>
std::vector<T> points(int32_t model, int64_t n, int64_t dim, double curvature, int64_t stride) {
    std::vector<T> x = normal<T>(n * stride);
    std::uniform_real_distribution<double> radius(0.05, 0.98);
    for (int64_t i = 0; i < n; ++i) {
        T* p = x.data() + i * stride + (model == HORO_LORENTZ);
        double square = 0;
        for (int64_t j = 0; j < dim; ++j) square += static_cast<double>(p[j]) * static_cast<double>(p[j]);
        const double r = radius(engine());
        const double scale =
            model == HORO_LORENTZ ? 3 * r * std::sqrt(curvature / square) : r / std::sqrt(curvature * square);
        for (int64_t j = 0; j < dim; ++j) p[j] = static_cast<T>(scale * static_cast<double>(p[j]));
    }
    return x;
}

template <class T>
std::string set_name(const char* what, int32_t model, std::initializer_list<int64_t> sizes) {
    const char* types[] = {" f32", " f64", " bf16", " f16"};
    std::string name = std::string(what) + " " + std::to_string(model) + types[dtype_of<T>];
    for (int64_t size : sizes) name += " " + std::to_string(size);
    return name;
}

template <class T>
void cdists(Side& side, int32_t model, int64_t n, int64_t m, int64_t dim, int64_t pad, int64_t offset,
            bool squared) {
    const horo::CudaPairs& cuda = side.kernels.pairs;
    const std::string name = set_name<T>(squared ? "cdist squared" : "cdist", model, {n, m, dim});
    const double c = 0.7;
    const int64_t width = width_of(model, dim), row = width + pad, out_row = m + pad;
    std::vector<T> x = points<T>(model, n, dim, c, row), y = points<T>(model, m, dim, c, row);
    if (n > 1 && m > 2)
        std::copy(x.begin() + row, x.begin() + row + width, y.begin() + 2 * row);  // one point
    const std::vector<T> g = normal<T>(n * out_row), start = normal<T>((n > m ? n : m) * (row + out_row));
    using R = Reference<T>;
    std::vector<R> want = reference(std::vector<T>(start.begin(), start.begin() + n * out_row));
    horo::PairsTask task{};
    task.dim = dim;
    task.curvature = c;
    task.squared = squared;
    {
        std::vector<T> with_nan = x;
        if (n > 3) with_nan[static_cast<size_t>(3 * row + width - 1)] = static_cast<T>(NAN);
        const Array<T> x_(side, with_nan, offset), y_(side, y, offset);
        ran(horo_cdist(model, dtype_of<R>, n, m, dim, reference(with_nan).data(), row, reference(y).data(),
                       row, c, squared, want.data(), out_row, nullptr),
            "cdist");
        task.x = {x_.p(), row, n};
        task.y = {y_.p(), row, m};
        std::vector<T> first;
        for (int run = 0; run < 2; ++run) {
            const Array<T> out(side, {start.begin(), start.begin() + n * out_row}, offset);
            task.out = out.p();
            task.out_row = out_row;
            ran(cuda.cdist(model, dtype_of<T>, task, nullptr), "cdist");
            if (run) bitwise(out.values(), first, name + " again");
            first = out.values();
        }
        same(first, want, out_row, rounding<T>, name);
    }
    const Array<T> x_(side, x, offset), y_(side, y, offset), g_(side, g, offset);
    const std::vector<T> x_start(start.begin(), start.begin() + n * row),
        y_start(start.begin(), start.begin() + m * row), c_start(static_cast<size_t>(n));
    std::vector<R> g_x = reference(x_start), g_y = reference(y_start), g_c = reference(c_start);
    const Array<T> g_x_(side, x_start, offset), g_y_(side, y_start, offset), g_c_(side, c_start, offset),
        only_(side, c_start, offset);
    ran(horo_cdist_vjp(model, dtype_of<R>, n, m, dim, reference(x).data(), row, reference(y).data(), row, c,
                       squared, reference(g).data(), out_row, g_x.data(), row, g_y.data(), row, g_c.data(),
                       nullptr),
        "cdist gradient");
    task.x = {x_.p(), row, n};
    task.y = {y_.p(), row, m};
    task.g = g_.p();
    task.g_x = out_row;
    task.g_y = 1;
    task.gradient = g_x_.p();
    task.gradient_row = row;
    task.g_curvature = g_c_.p();
    ran(cuda.cdist_vjp(model, dtype_of<T>, task, nullptr), "cdist gradient");
    const std::vector<T> first = g_x_.values();
    ran(cuda.cdist_vjp(model, dtype_of<T>, task, nullptr), "cdist gradient");
    bitwise(g_x_.values(), first, name + " g_x again");
    task.gradient = nullptr;
    task.g_curvature = only_.p();
    ran(cuda.cdist_vjp(model, dtype_of<T>, task, nullptr), "cdist gradient");
    bitwise(only_.values(), g_c_.values(), name + " g_curvature alone");
    std::swap(task.x, task.y);
    std::swap(task.g_x, task.g_y);
    task.gradient = g_y_.p();
    task.g_curvature = nullptr;
    ran(cuda.cdist_vjp(model, dtype_of<T>, task, nullptr), "cdist gradient");
    same(first, g_x, row, 4 * rounding<T>, name + " g_x");
    same(g_y_.values(), g_y, row, 4 * rounding<T>, name + " g_y");
    same(g_c_.values(), g_c, n, 4 * rounding<T>, name + " g_curvature");
}

template <class T>
void linears(Side& side, int32_t op, int64_t rows, int64_t dim, int64_t p, int64_t pad, int64_t offset,
             bool with_bias) {
    const horo::CudaLinear& cuda = side.kernels.linear;
    const std::string name = set_name<T>("linear", op, {rows, dim, p});
    const double c = 0.7;
    const bool ambient = op >= HORO_LORENTZ_LINEAR, time = op == HORO_LORENTZ_LINEAR;
    const int64_t x_row = dim + ambient + pad, m_row = dim + time + pad, out_row = p + time + pad;
    const bool bias = with_bias && op != HORO_MOBIUS_MATVEC;
    const std::vector<T> x = points<T>(ambient ? HORO_LORENTZ : HORO_POINCARE, rows, dim, c, x_row),
                         b = normal<T>(p, 0.3), g = normal<T>(rows * out_row);
    using R = Reference<T>;
    const std::vector<T> start = normal<T>(rows * out_row);
    std::vector<T> m = normal<T>(p * m_row, 1 / std::sqrt(static_cast<double>(dim)));
    if (p > 2) std::fill(m.begin() + 2 * m_row, m.begin() + 3 * m_row, T(0));  // no normal
    const Array<T> m_(side, m, offset), b_(side, b, offset);
    horo::LinearTask task{};
    task.rows = rows;
    task.dim = dim;
    task.p = p;
    task.curvature = c;
    task.x_row = x_row;
    task.m = m_.p();
    task.m_row = m_row;
    task.bias = bias ? b_.p() : nullptr;
    const std::vector<R> wide_b = reference(b);
    const void* cpu_bias = bias ? wide_b.data() : nullptr;
    {
        std::vector<T> with_nan = x;
        if (rows > 3) with_nan[static_cast<size_t>(3 * x_row + x_row - pad - 1)] = static_cast<T>(NAN);
        const Array<T> x_(side, with_nan, offset), out_(side, start, offset);
        std::vector<R> out = reference(start);
        ran(horo_linear(op, dtype_of<R>, rows, dim, p, reference(with_nan).data(), x_row, reference(m).data(),
                        m_row, cpu_bias, c, out.data(), out_row, nullptr),
            "linear");
        task.x = x_.p();
        task.out = out_.p();
        task.out_row = out_row;
        ran(cuda.forward(op, dtype_of<T>, task, nullptr), "linear");
        same(out_.values(), out, out_row, 4 * rounding<T>, name);
    }
    const Array<T> x_(side, x, offset), g_(side, g, offset);
    const std::vector<T> g_x = normal<T>(rows * x_row), g_m = normal<T>(p * m_row), g_b = normal<T>(p),
                         g_c = normal<T>(rows);
    task.x = x_.p();
    task.g = g_.p();
    task.g_row = out_row;
    task.g_x_row = x_row;
    task.g_m_row = m_row;
    int64_t bytes = 0;
    ran(horo_linear_workspace(op, rows, p, &bytes), "workspace");
    std::vector<double> workspace(static_cast<size_t>(bytes / 8), 3.0);
    std::vector<T> first_m, first_x;
    for (int run = 0; run < 3; ++run) {  // the third wants little
        const Array<double> workspace_(side, workspace);
        const Array<T> g_x_(side, g_x, offset), g_m_(side, g_m, offset), g_b_(side, g_b, offset),
            g_c_(side, g_c, offset);
        task.g_x = run == 2 ? nullptr : g_x_.p();
        task.g_m = g_m_.p();
        task.g_bias = op == HORO_MOBIUS_MATVEC || run == 2 ? nullptr : g_b_.p();
        task.g_curvature = run == 2 ? nullptr : g_c_.p();
        ran(cuda.vjp(op, dtype_of<T>, task, workspace_, nullptr), "linear gradient");
        if (run == 0) {
            std::vector<R> want_x = reference(g_x), want_m = reference(g_m), want_b = reference(g_b),
                           want_c = reference(g_c);
            std::vector<double> cpu_workspace = workspace;
            ran(horo_linear_vjp(op, dtype_of<R>, rows, dim, p, reference(x).data(), x_row,
                                reference(m).data(), m_row, cpu_bias, c, reference(g).data(), out_row,
                                want_x.data(), x_row, want_m.data(), m_row,
                                task.g_bias ? want_b.data() : nullptr, want_c.data(), cpu_workspace.data(),
                                bytes, nullptr),
                "linear gradient");
            const double error = rounding<T> * (4 + std::sqrt(static_cast<double>(p + rows)));
            first_m = g_m_.values();
            first_x = g_x_.values();
            same(first_x, want_x, x_row, error, name + " g_x");
            same(first_m, want_m, m_row, error, name + " g_m");
            same(g_b_.values(), want_b, p, error, name + " g_bias");
            same(g_c_.values(), want_c, rows, error, name + " g_curvature");
        } else {
            bitwise(g_m_.values(), first_m, name + " g_m again");
            bitwise(g_x_.values(), run == 2 ? g_x : first_x, name + " g_x again");
        }
        for (double& v : workspace) v = static_cast<double>(NAN);  // what it holds must not matter
    }
}

template <class T>
void midpoints(Side& side, int32_t model, int64_t rows, int64_t k, int64_t dim, int64_t offset, bool weighted,
               bool far) {
    const std::string name = set_name<T>(far ? "far midpoint" : "midpoint", model, {rows, k, dim});
    const double c = 0.7;
    const int64_t width = width_of(model, dim), point = width + offset, set = k * point + offset;
    std::vector<T> x = normal<T>(rows * set);
    for (int64_t r = 0; r < rows; ++r) {
        const std::vector<T> some = points<T>(model, k, dim, c, point);
        std::copy(some.begin(), some.end(), x.begin() + r * set);
        for (int64_t i = 0; i < k && far; ++i) {  // close together, close to the rim
            T *p = x.data() + r * set + i * point + (model == HORO_LORENTZ), *q = p - i * point;
            double square = 0;
            for (int64_t j = 0; j < dim; ++j) {
                p[j] =
                    static_cast<T>(static_cast<double>(q[j]) * (1 + 1e-7 * static_cast<double>((i * j) % 3)));
                square += static_cast<double>(p[j]) * static_cast<double>(p[j]);
            }
            const double size = model == HORO_LORENTZ ? 1e8 : (1 - 1e-9) / std::sqrt(c);
            const double scale = size / std::sqrt(square);
            for (int64_t j = 0; j < dim; ++j) p[j] = static_cast<T>(scale * static_cast<double>(p[j]));
        }
    }
    if (rows > 2) x[static_cast<size_t>(2 * set + width - 1)] = static_cast<T>(NAN);
    std::vector<T> w = normal<T>(rows * k);
    for (T& v : w) v = static_cast<T>(static_cast<double>(v) * static_cast<double>(v) + 0.1);
    const std::vector<T> g = normal<T>(rows * width), out_start = normal<T>(rows * width),
                         x_start = normal<T>(rows * set), w_start = normal<T>(rows * k),
                         c_start = normal<T>(rows);
    const Array<T> x_(side, x, offset), w_(side, w, offset), g_(side, g, offset),
        out_(side, out_start, offset), g_x_(side, x_start, offset), g_w_(side, w_start, offset),
        g_c_(side, c_start, offset);
    using R = Reference<T>;
    const std::vector<R> wide_x = reference(x), wide_w = reference(w), wide_g = reference(g);
    std::vector<R> out = reference(out_start), g_x = reference(x_start), g_w = reference(w_start),
                   g_c = reference(c_start);
    int64_t bytes = 0;
    ran(horo_midpoint_workspace(rows, k, dim, &bytes), "workspace");
    // what it holds must not matter
    const Array<double> workspace_(side, std::vector<double>(static_cast<size_t>(bytes / 8), NAN));
    horo::MidpointTask task{
        rows,     k,        dim,     c,      x_.p(), set,      point, weighted ? w_.p() : nullptr,
        k,        out_.p(), width,   g_.p(), width,  g_x_.p(), set,   point,
        g_w_.p(), k,        g_c_.p()};
    if (bytes > 0) task.slots = workspace_;
    const void* weights = weighted ? wide_w.data() : nullptr;
    const double error = far ? 1e-6 : 4 * rounding<T>;
    ran(horo_midpoint(model, dtype_of<R>, rows, k, dim, wide_x.data(), set, point, weights, k, c, out.data(),
                      width, nullptr, 0, nullptr),
        "midpoint");
    ran(horo_midpoint_vjp(model, dtype_of<R>, rows, k, dim, wide_x.data(), set, point, weights, k, c,
                          wide_g.data(), width, g_x.data(), set, point, g_w.data(), k, g_c.data(), nullptr, 0,
                          nullptr),
        "midpoint gradient");
    ran(side.kernels.sets.midpoint(model, dtype_of<T>, task, false, nullptr), "midpoint");
    ran(side.kernels.sets.midpoint(model, dtype_of<T>, task, true, nullptr), "midpoint gradient");
    same(out_.values(), out, width, rounding<T>, name);
    same(g_x_.values(), g_x, set, error, name + " g_x");
    same(g_w_.values(), g_w, k, error, name + " g_w");
    same(g_c_.values(), g_c, 1, error, name + " g_curvature", 1);
    const std::vector<T> first[] = {out_.values(), g_x_.values(), g_w_.values(), g_c_.values()};
    ran(side.kernels.sets.midpoint(model, dtype_of<T>, task, false, nullptr), "midpoint");
    ran(side.kernels.sets.midpoint(model, dtype_of<T>, task, true, nullptr), "midpoint gradient");
    bitwise(out_.values(), first[0], name + " again");
    bitwise(g_x_.values(), first[1], name + " g_x again");
    bitwise(g_w_.values(), first[2], name + " g_w again");
    bitwise(g_c_.values(), first[3], name + " g_curvature again");
}

template <class T>
void frechets(Side& side, int32_t model, int64_t rows, int64_t k, int64_t dim, int64_t offset) {
    const std::string name = set_name<T>("frechet", model, {rows, k, dim});
    const double c = 0.7, tolerance = 1e-12;
    const int64_t width = width_of(model, dim), point = width, set = k * width;
    std::vector<T> x = points<T>(model, rows * k, dim, c, width);
    if (rows > 2) x[static_cast<size_t>(2 * set + width - 1)] = static_cast<T>(NAN);
    std::vector<T> w = normal<T>(rows * k);
    for (T& v : w) v = static_cast<T>(static_cast<double>(v) * static_cast<double>(v) + 0.1);
    const std::vector<T> g = normal<T>(rows * width), g_variance = normal<T>(rows),
                         out_start = normal<T>(rows * width), v_start = normal<T>(rows),
                         x_start = normal<T>(rows * set), w_start = normal<T>(rows * k),
                         c_start = normal<T>(rows);
    using R = Reference<T>;
    const std::vector<R> wide_x = reference(x), wide_w = reference(w), wide_g = reference(g),
                         wide_g_variance = reference(g_variance);
    std::vector<R> out = reference(out_start), variance = reference(v_start), g_x = reference(x_start),
                   g_w = reference(w_start), g_c = reference(c_start);
    std::vector<int32_t> iterations(static_cast<size_t>(rows), 7);
    const Array<T> x_(side, x, offset), w_(side, w, offset), g_(side, g, offset),
        out_(side, out_start, offset), v_(side, v_start, offset), g_v_(side, g_variance, offset);
    horo::FrechetTask task{};
    task.set = {rows,  k,      dim,   c,       x_.p(), set,   point,   w_.p(), k,      out_.p(),
                width, g_.p(), width, nullptr, set,    point, nullptr, k,      nullptr};
    task.tolerance = tolerance;
    for (int32_t most : {100, 1}) {
        int64_t bytes = 0;
        ran(horo_frechet_workspace(rows, k, dim, 0, &bytes), "workspace");
        std::vector<double> workspace(static_cast<size_t>(bytes / 8), NAN);
        const Array<double> workspace_(side, workspace);
        const Array<int32_t> i_(side, iterations, 1);
        ran(horo_frechet_mean(model, dtype_of<R>, rows, k, dim, wide_x.data(), set, point, wide_w.data(), k,
                              c, tolerance, most, out.data(), width, variance.data(), iterations.data(),
                              workspace.data(), bytes, nullptr),
            "frechet");
        task.most = most;
        task.variance = v_.p();
        task.iterations = i_.p();
        divide_workspace(task, workspace_, false);
        ran(side.kernels.sets.frechet(model, dtype_of<T>, task, false, nullptr), "frechet");
        same(out_.values(), out, width, rounding<T>, name);
        same(v_.values(), variance, 1, rounding<T>, name + " variance");
        const std::vector<int32_t> got = i_.values();
        for (size_t r = 0; r < got.size(); ++r)  // a last step of the size of the tolerance may differ
            CHECK((got[r] < 0) == (iterations[r] < 0) && std::abs(got[r] - iterations[r]) <= 1,
                  "%s: %d iterations, expected %d", name.c_str(), got[r], iterations[r]);
    }
    for (int which = 1; which < 4; ++which) {  // the mean, the variance, both
        int64_t bytes = 0;
        ran(horo_frechet_workspace(rows, k, dim, 1, &bytes), "workspace");
        std::vector<double> workspace(static_cast<size_t>(bytes / 8), NAN);
        const Array<double> workspace_(side, workspace);
        const Array<T> g_x_(side, x_start, offset), g_w_(side, w_start, offset), g_c_(side, c_start, offset);
        const Array<int32_t> i_(side, iterations, 1);
        ran(horo_frechet_mean_vjp(model, dtype_of<R>, rows, k, dim, wide_x.data(), set, point, wide_w.data(),
                                  k, c, tolerance, 100, which & 1 ? wide_g.data() : nullptr, width,
                                  which & 2 ? wide_g_variance.data() : nullptr, g_x.data(), set, point,
                                  g_w.data(), k, g_c.data(), iterations.data(), workspace.data(), bytes,
                                  nullptr),
            "frechet gradient");
        task.most = 100;
        task.set.g = which & 1 ? g_.p() : nullptr;
        task.g_variance = which & 2 ? g_v_.p() : nullptr;
        task.set.g_x = g_x_.p();
        task.set.g_w = g_w_.p();
        task.set.g_curvature = g_c_.p();
        task.iterations = i_.p();
        divide_workspace(task, workspace_, true);
        ran(side.kernels.sets.frechet(model, dtype_of<T>, task, true, nullptr), "frechet gradient");
        const double error = 10 * rounding<T>;
        same(g_x_.values(), g_x, set, error, name + " g_x");
        same(g_w_.values(), g_w, k, error, name + " g_w", 1);
        same(g_c_.values(), g_c, 1, error, name + " g_curvature", 1);
        const std::vector<int32_t> got = i_.values();
        for (size_t r = 0; r < got.size(); ++r)
            CHECK((got[r] < 0) == (iterations[r] < 0) && std::abs(got[r] - iterations[r]) <= 2,
                  "%s: %d iterations, expected %d", name.c_str(), got[r], iterations[r]);
    }
}

template <class T>
void concats(Side& side, int32_t model, int64_t rows, const std::vector<int64_t>& dims, int64_t offset) {
    const double c = 0.7;
    int64_t dim = 0, side_by_side = 0;
    for (int64_t d : dims) dim += d, side_by_side += width_of(model, d);
    const int64_t parts = static_cast<int64_t>(dims.size()), whole = width_of(model, dim);
    for (int split = 0; split < 2; ++split) {
        const std::string name = set_name<T>(split ? "split" : "concat", model, {rows, parts});
        const int64_t from = (split ? whole : side_by_side), to = (split ? side_by_side : whole);
        const int64_t x_row = from + offset, out_row = to + offset;
        std::vector<T> x = normal<T>(rows * x_row);
        for (int64_t r = 0; r < rows; ++r) {
            int64_t at = r * x_row;
            for (int64_t d : split ? std::vector<int64_t>{dim} : dims) {
                const std::vector<T> p = points<T>(model, 1, d, c, width_of(model, d));
                std::copy(p.begin(), p.end(), x.begin() + at);
                at += static_cast<int64_t>(p.size());
            }
        }
        if (rows > 2) x[static_cast<size_t>(2 * x_row + from - 1)] = static_cast<T>(NAN);
        const std::vector<T> g = normal<T>(rows * out_row), out_start = normal<T>(rows * out_row),
                             x_start = normal<T>(rows * x_row), c_start = normal<T>(rows);
        const Array<T> x_(side, x, offset), g_(side, g, offset), out_(side, out_start, offset),
            g_x_(side, x_start, offset), g_c_(side, c_start, offset);
        using R = Reference<T>;
        const std::vector<R> wide_x = reference(x), wide_g = reference(g);
        std::vector<R> out = reference(out_start), g_x = reference(x_start), g_c = reference(c_start);
        const horo::ConcatTask task{rows,     parts,   dim,     dims.data(), c,       x_.p(), x_row,
                                    out_.p(), out_row, nullptr, 0,           nullptr, 0,      nullptr};
        horo::ConcatTask gradient = task;
        gradient.out = nullptr;
        gradient.g = g_.p();
        gradient.g_row = out_row;
        gradient.g_x = g_x_.p();
        gradient.g_x_row = x_row;
        gradient.g_curvature = g_c_.p();
        ran((split ? horo_split : horo_concat)(model, dtype_of<R>, rows, parts, dims.data(), wide_x.data(),
                                               x_row, c, out.data(), out_row, nullptr),
            "concat");
        ran((split ? horo_split_vjp : horo_concat_vjp)(model, dtype_of<R>, rows, parts, dims.data(),
                                                       wide_x.data(), x_row, c, wide_g.data(), out_row,
                                                       g_x.data(), x_row, g_c.data(), nullptr),
            "concat gradient");
        ran(side.kernels.sets.concat(model, dtype_of<T>, task, split, false, nullptr), "concat");
        ran(side.kernels.sets.concat(model, dtype_of<T>, gradient, split, true, nullptr), "concat gradient");
        same(out_.values(), out, out_row, rounding<T>, name);
        same(g_x_.values(), g_x, x_row, 4 * rounding<T>, name + " g_x");
        same(g_c_.values(), g_c, 1, 4 * rounding<T>, name + " g_curvature", 1);
    }
}

template <class T>
void normals(Side& side, int64_t count, int64_t seed, int64_t first, int64_t offset) {
    std::vector<T> want = normal<T>(count);
    const Array<T> out(side, want, offset);
    ran(horo_normal(dtype_of<T>, count, 0.3, seed, first, want.data(), nullptr), "normal");
    ran(side.kernels.random.normal(dtype_of<T>, count, 0.3, seed, first, out.p(), nullptr), "normal");
    bitwise(out.values(), want, set_name<T>("normal", 0, {count, seed, first, offset}));
}

template <class T>
void metric_spaces(Side& side, int64_t n, int64_t dim, int64_t pad, int64_t offset) {
    const horo::CudaPairs& cuda = side.kernels.pairs;
    const std::string name = set_name<T>("metric space", 0, {n, dim});
    const int64_t row = dim + pad;
    const std::vector<T> x = normal<T>(n * row);
    std::vector<double> distances(static_cast<size_t>(n * n)), gromov(distances),
        base_row(static_cast<size_t>(n)), workspace(static_cast<size_t>(2 * n));
    const Array<T> x_(side, x, offset);
    const Array<double> d_(side, distances, 1), base_(side, base_row), workspace_(side, workspace, 1);
    ran(horo_pairwise_distance(dtype_of<T>, n, dim, x.data(), row, distances.data(), nullptr), "distances");
    ran(cuda.pairwise_distance(dtype_of<T>, n, dim, x_.p(), row, d_, nullptr), "distances");
    const std::vector<double> got = d_.values();
    for (size_t i = 0; i < got.size(); ++i) {
        const size_t mirror =
            i % static_cast<size_t>(n) * static_cast<size_t>(n) + i / static_cast<size_t>(n);
        CHECK(std::fabs(got[i] - distances[i]) <= 3e-14 * distances[i] && got[i] == got[mirror],
              "%s: distance %g, expected %g", name.c_str(), got[i], distances[i]);
    }
    const int64_t base = n / 2;
    ran(horo_gromov_product(n, got.data(), base, gromov.data(), base_row.data(), nullptr), "products");
    ran(cuda.gromov_product(n, d_, base, d_, base_, nullptr), "products");
    bitwise(d_.values(), gromov, name + " products");
    for (double at_least : {-1.0, 0.0, 1e3}) {
        const double want =
            horo_delta_hyperbolicity(n, gromov.data(), at_least, 1, workspace.data(), nullptr);
        ran(cuda.delta(n, d_, at_least, workspace_, nullptr), "delta");
        CHECK(workspace_.values()[0] == want, "%s: delta %.17g, expected %.17g", name.c_str(),
              workspace_.values()[0], want);
    }
    gromov[gromov.size() - 1] = static_cast<double>(NAN);
    const Array<double> broken(side, gromov);
    ran(cuda.delta(n, broken, 0, workspace_, nullptr), "delta");
    CHECK(std::isnan(workspace_.values()[0]), "%s: delta of NaN", name.c_str());
}

template <class T>
void sets_of(Side& side) {
    for (int32_t model = 0; model < 3; ++model) {
        cdists<T>(side, model, 37, 50, 3, 2, 1, model == 1);  // small tiles
        cdists<T>(side, model, 34, 70, 135, 0, 0, model != 1);
        midpoints<T>(side, model, 3, 4, 5, 1, true, false);
        midpoints<T>(side, model, 2, 3, 260, 0, false, false);
        frechets<T>(side, model, 3, 4, 5, 1);
        midpoints<T>(side, model, 1, 1031, 9, 1, true, false);  // cut into parts
        if (sizeof(T) == 8 || model == 0) frechets<T>(side, model, 1, 1031, 9, 0);
        if (sizeof(T) == 8) {
            midpoints<T>(side, model, 3, 45, 261, 0, false, false);
            midpoints<T>(side, model, 1, 1031, 9, 0, true, true);
            if (model == 1) frechets<T>(side, model, 3, 45, 261, 0);
        }
        concats<T>(side, model, 5, {3, 1, 40, 7}, 1);
        concats<T>(side, model, 3, {6}, 0);
        if (sizeof(T) == 8) midpoints<T>(side, model, 2, 3, 6, 0, true, true);
        if (!side.quick) {
            cdists<T>(side, model, 600, 1000, 300, 0, 0, false);
            midpoints<T>(side, model, 50, 30, 3000, 0, true, false);
            frechets<T>(side, model, 20, 30, 700, 0);
        }
    }
    for (int32_t op = HORO_MOBIUS_MATVEC; op <= HORO_LORENTZ_DIST2PLANE; ++op) {
        linears<T>(side, op, 37, 40, 35, 2, 1, true);  // small tiles
        linears<T>(side, op, 66, 20, 70, 0, 0, false);
        if (!side.quick) linears<T>(side, op, 3000, 300, 200, 1, 0, true);
    }
}

template <class T>
void numbers_of(Side& side) {
    normals<T>(side, 1, 5, 0, 0);
    normals<T>(side, 1, 5, 3, 0);
    normals<T>(side, 1001, -7, 0, 1);
    normals<T>(side, 1000, -7, (int64_t{1} << 40) + 1, 1);
    normals<T>(side, 1000, 9, 6, 0);
    metric_spaces<T>(side, 1, 3, 0, 0);
    metric_spaces<T>(side, 37, 300, 1, 1);
    metric_spaces<T>(side, 70, 5, 0, 0);
}

inline void sets(Side& side) {
    sets_of<float>(side);
    sets_of<double>(side);
    sets_of<Short<AsBf16>>(side);
    sets_of<Short<AsF16>>(side);
    numbers_of<float>(side);
    numbers_of<double>(side);
    midpoints<float>(side, HORO_POINCARE, 1, 2, 2100, 1, true, false);  // more than a slice
    frechets<double>(side, HORO_LORENTZ, 1, 3, 270, 0);
}

}  // namespace cases
