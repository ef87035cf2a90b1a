// The transformer layers of CUDA against the CPU's.
#pragma once
#include "cuda_cases.h"

namespace cases {

inline std::string shape(const char* name, int64_t rows, int64_t dim, int64_t offset) {
    return std::string(name) + " (" + std::to_string(rows) + ", " + std::to_string(dim) + ") offset " +
           std::to_string(offset);
}

// Sums of n products in another order.
inline double sum_error(int64_t n) { return 2e-7 * (2 + std::sqrt(static_cast<double>(n))); }

inline void rows_of_layers(Side& side, int64_t rows, int64_t dim, int64_t offset) {
    const horo::CudaLayers& cuda = side.kernels.layers;
    const int64_t n = rows * dim;
    std::vector<float> x = normal(n), dy = normal(n), start = normal(n), vector_start = normal(dim);
    const std::vector<float> weight = normal(dim);
    if (rows > 2) x[static_cast<size_t>(dim + dim / 2)] = std::nanf("");
    const Array<float> w(side, weight, offset), in(side, x, offset), g(side, dy, offset);
    std::vector<float> rstd(static_cast<size_t>(rows)), want(x);
    {
        const Array<float> out(side, start, offset), r(side, rstd, 1);
        ran(horo_rmsnorm_forward(x.data(), weight.data(), 1e-5, rows, dim, want.data(), rstd.data(), nullptr),
            "rmsnorm");
        ran(cuda.rmsnorm_forward(in, w, 1e-5, rows, dim, out, r, nullptr), "rmsnorm");
        same(out.values(), want, dim, 4e-7, shape("rmsnorm", rows, dim, offset));
        same(r.values(), rstd, 1, 4e-7, shape("rstd", rows, dim, offset));
        const Array<float> again(side, x, offset);
        ran(cuda.rmsnorm_forward(again, w, 1e-5, rows, dim, again, nullptr, nullptr), "rmsnorm");
        bitwise(again.values(), out.values(), shape("rmsnorm in place", rows, dim, offset));
    }
    {
        const Array<float> r(side, rstd), dx(side, start, offset), dw(side, vector_start, offset);
        std::vector<float> want_dx(start), want_dw(vector_start);
        ran(horo_rmsnorm_backward(dy.data(), x.data(), weight.data(), rstd.data(), rows, dim, want_dx.data(),
                                  want_dw.data(), nullptr),
            "rmsnorm gradient");
        ran(cuda.rmsnorm_backward(g, in, w, r, rows, dim, dx, dw, nullptr), "rmsnorm gradient");
        same(dx.values(), want_dx, dim, 2e-6, shape("rmsnorm dx", rows, dim, offset));
        same(dw.values(), want_dw, dim, sum_error(rows), shape("rmsnorm dweight", rows, dim, offset), 1);
    }
    {
        std::vector<float> far(x), mean(rstd.size());  // rows a long way from zero
        for (float& v : far) v += 50;
        const std::vector<float> shift = normal(dim);
        const Array<float> f(side, far, offset), b(side, shift, offset), out(side, start, offset),
            r(side, rstd), m(side, mean, 1), dx(side, start, offset), dw(side, vector_start, offset),
            db(side, vector_start, offset);
        ran(horo_layernorm_forward(far.data(), weight.data(), shift.data(), 1e-5, rows, dim, want.data(),
                                   mean.data(), rstd.data(), nullptr),
            "layernorm");
        ran(cuda.layernorm_forward(f, w, b, 1e-5, rows, dim, out, m, r, nullptr), "layernorm");
        same(out.values(), want, dim, 2e-6, shape("layernorm", rows, dim, offset), 1);
        same(m.values(), mean, 1, 2e-7, shape("layernorm mean", rows, dim, offset));
        same(r.values(), rstd, 1, 2e-6, shape("layernorm rstd", rows, dim, offset));
        const Array<float> m2(side, mean), r2(side, rstd);
        std::vector<float> want_dx(start), want_dw(vector_start), want_db(vector_start);
        ran(horo_layernorm_backward(dy.data(), far.data(), weight.data(), mean.data(), rstd.data(), rows, dim,
                                    want_dx.data(), want_dw.data(), want_db.data(), nullptr),
            "layernorm gradient");
        ran(cuda.layernorm_backward(g, f, w, m2, r2, rows, dim, dx, dw, db, nullptr), "layernorm gradient");
        // a row of one number has no variance: rstd is 1 / sqrt(eps)
        same(dx.values(), want_dx, dim, 4e-6, shape("layernorm dx", rows, dim, offset), dim == 1 ? 300 : 1);
        same(dw.values(), want_dw, dim, sum_error(rows), shape("layernorm dweight", rows, dim, offset), 1);
        same(db.values(), want_db, dim, sum_error(rows), shape("layernorm dbias", rows, dim, offset), 1);
    }
    {
        const Array<float> y(side, dy, offset), scaled(side, start, offset);
        want = dy;
        ran(horo_bias_add(weight.data(), rows, dim, want.data(), nullptr), "bias_add");
        ran(cuda.bias_add(w, rows, dim, y, nullptr), "bias_add");
        bitwise(y.values(), want, shape("bias_add", rows, dim, offset));
        ran(horo_column_scale(weight.data(), rows, dim, dy.data(), want.data(), nullptr), "column_scale");
        ran(cuda.column_scale(w, rows, dim, g, scaled, nullptr), "column_scale");
        bitwise(scaled.values(), want, shape("column_scale", rows, dim, offset));
    }
    {
        const Array<float> db(side, vector_start, offset), ds(side, vector_start, offset);
        std::vector<float> want_db(vector_start), want_ds(vector_start);
        ran(horo_bias_grad(dy.data(), rows, dim, want_db.data(), nullptr), "bias_grad");
        ran(cuda.bias_grad(g, rows, dim, db, nullptr), "bias_grad");
        same(db.values(), want_db, dim, sum_error(rows), shape("bias_grad", rows, dim, offset), 1);
        ran(horo_column_scale_grad(dy.data(), x.data(), rows, dim, want_ds.data(), nullptr),
            "column_scale_grad");
        ran(cuda.column_scale_grad(g, in, rows, dim, ds, nullptr), "column_scale_grad");
        same(ds.values(), want_ds, dim, sum_error(rows), shape("column_scale_grad", rows, dim, offset), 1);
    }
    {
        std::vector<int32_t> target = integers(rows, 0, static_cast<int32_t>(dim - 1));
        if (rows > 1) target[1] = -100;
        std::vector<float> logits = normal(n, 3), losses(static_cast<size_t>(rows));
        if (rows > 2) logits[static_cast<size_t>(2 * dim + dim / 3)] = std::nanf("");
        if (rows > 3)  // a row of which some threads see nothing but masked logits
            for (int64_t i = 0; i < dim; ++i)
                if (i != target[3] && i % 7) logits[static_cast<size_t>(3 * dim + i)] = -INFINITY;
        const std::vector<float> factor = {0.37f};
        const Array<float> scale(side, factor, 1);
        for (int gradient = 0; gradient < 2; ++gradient) {
            want = logits;
            const Array<float> l(side, logits, offset), loss(side, losses, 1);
            const Array<int32_t> t(side, target, 1);
            ran(horo_cross_entropy(want.data(), target.data(), rows, dim, losses.data(),
                                   gradient ? factor.data() : nullptr, nullptr),
                "cross_entropy");
            ran(cuda.cross_entropy(l, t, rows, dim, loss, gradient ? scale.p() : nullptr, nullptr),
                "cross_entropy");
            // a loss of nearly 0 is the difference of two logits
            std::vector<float> got = loss.values();
            for (size_t i = 0; i < got.size(); ++i)
                CHECK(std::fabs(got[i] - losses[i]) <= 2e-6 * (1 + std::fabs(losses[i])) ||
                          (std::isnan(got[i]) && std::isnan(losses[i])),
                      "%s: %g, expected %g", shape("cross_entropy", rows, dim, offset).c_str(), got[i],
                      losses[i]);
            same(l.values(), want, dim, 2e-6, shape("cross_entropy logits", rows, dim, offset), 0.37);
        }
        target.assign(static_cast<size_t>(rows), static_cast<int32_t>(dim));  // unknown to the host
        const Array<float> l(side, logits, offset), loss(side, losses);
        const Array<int32_t> t(side, target);
        ran(cuda.cross_entropy(l, t, rows, dim, loss, scale, nullptr), "cross_entropy");
        for (float v : loss.values()) CHECK(std::isnan(v), "loss of an unknown target: %g", v);
        for (float v : l.values()) CHECK(std::isnan(v), "gradient of an unknown target: %g", v);
    }
}

inline void embeddings(Side& side, int64_t tokens, int64_t vocab, int64_t dim, int64_t offset) {
    const horo::CudaLayers& cuda = side.kernels.layers;
    const std::vector<int32_t> ids = integers(tokens, 0, static_cast<int32_t>(vocab - 1));
    const std::vector<float> table = normal(vocab * dim), dout = normal(tokens * dim);
    std::vector<float> want(static_cast<size_t>(tokens * dim));
    const Array<int32_t> i(side, ids);
    const auto forward = [&](int32_t type, auto element) {
        using T = decltype(element);
        std::vector<T> stored(table.size());
        ran(horo_convert_from_f32(table.data(), type, stored.data(), vocab * dim, nullptr), "convert");
        const Array<T> t(side, stored, offset);
        const Array<float> out(side, want, offset);
        ran(horo_embedding_forward(ids.data(), type, stored.data(), tokens, vocab, dim, want.data(), nullptr),
            "embedding");
        ran(cuda.embedding_forward(i, type, t.p(), tokens, vocab, dim, out, nullptr), "embedding");
        bitwise(out.values(), want, shape("embedding", tokens, dim, offset));
    };
    forward(HORO_F32, float{});
    forward(HORO_F64, double{});
    forward(HORO_BF16, uint16_t{});
    forward(HORO_F16, uint16_t{});
    std::vector<float> dtable = normal(vocab * dim);
    const Array<float> g(side, dout, offset), dt(side, dtable, offset);
    ran(cuda.embedding_backward(i, g, tokens, vocab, dim, dt, nullptr), "embedding gradient");
    ran(horo_embedding_backward(ids.data(), dout.data(), tokens, vocab, dim, dtable.data(), nullptr),
        "embedding gradient");
    bitwise(dt.values(), dtable, shape("embedding gradient", tokens, dim, offset));

    std::vector<int32_t> wrong(ids);
    wrong[0] = -1;
    wrong[static_cast<size_t>(tokens) - 1] = static_cast<int32_t>(vocab);
    const Array<int32_t> w(side, wrong);
    const Array<float> t(side, table, offset), out(side, want, offset), touched(side, table, offset);
    ran(cuda.embedding_forward(w, HORO_F32, t.p(), tokens, vocab, dim, out, nullptr), "embedding");
    const std::vector<float> got = out.values();
    CHECK(std::isnan(got.front()) && std::isnan(got.back()), "rows of unknown ids");
    ran(cuda.embedding_backward(w, g, tokens, vocab, dim, touched, nullptr), "embedding gradient");
    touched.values();
}

inline void ropes(Side& side, int64_t tokens, int64_t heads, int64_t head_dim, int64_t pad, int64_t offset) {
    const horo::CudaLayers& cuda = side.kernels.layers;
    const int64_t stride = heads * head_dim + pad, positions = 17;
    std::vector<float> x = normal((tokens - 1) * stride + heads * head_dim);
    if (tokens > 1) x[static_cast<size_t>(stride)] = std::nanf("");
    const std::vector<float> table = normal(positions * head_dim);
    std::vector<int32_t> at = integers(tokens, 0, positions - 1);
    const Array<float> t(side, table, offset);
    for (int inverse = 0; inverse < 2; ++inverse) {
        const Array<float> y(side, x, offset);
        const Array<int32_t> p(side, at, 1);
        ran(cuda.rope(y, tokens, stride, heads, head_dim, t, positions, p, inverse, nullptr), "rope");
        ran(horo_rope(x.data(), tokens, stride, heads, head_dim, table.data(), positions, at.data(), inverse,
                      nullptr),
            "rope");
        same(y.values(), x, stride, 4e-7, shape("rope", tokens, head_dim, offset));
    }
    at[0] = static_cast<int32_t>(positions);
    const Array<float> y(side, x, offset);
    const Array<int32_t> p(side, at);
    ran(cuda.rope(y, tokens, stride, heads, head_dim, t, positions, p, 0, nullptr), "rope");
    CHECK(std::isnan(y.values()[0]), "a row of an unknown position");
}

// What horo.h states for geglu as far out as its results are normal numbers, |z| < 90.
constexpr double activation_error = 2e-5;

inline void elementwise(Side& side, int64_t n, int64_t offset) {
    const horo::CudaLayers& cuda = side.kernels.layers;
    std::vector<float> a = normal(n, 3), b = normal(n), c = normal(n), want(a), want2(a);
    a[0] = 100;
    if (n > 3) a[1] = -100, a[2] = std::nanf(""), a[3] = -3e30f;
    const Array<float> x(side, a, offset), y(side, b, offset), z(side, c, offset);
    const auto name = [&](const char* what) {
        return std::string(what) + " " + std::to_string(n) + " offset " + std::to_string(offset);
    };
    const auto forward = [&](auto cpu, auto kernel, const char* what) {
        const Array<float> out(side, c, offset), shared(side, a, offset);
        ran(cpu(a.data(), b.data(), want.data(), n, nullptr), what);
        ran(kernel(x, y, out, n, nullptr), what);
        same(out.values(), want, 1, activation_error, name(what));
        ran(kernel(shared, y, shared, n, nullptr), what);
        bitwise(shared.values(), out.values(), name(what) + " in place");
    };
    forward(horo_add, cuda.add, "add");
    forward(horo_swiglu_forward, cuda.swiglu_forward, "swiglu");
    forward(horo_geglu_forward, cuda.geglu_forward, "geglu");
    {
        const Array<float> out(side, c, offset), dx(side, c, offset);
        ran(horo_gelu_forward(a.data(), want.data(), n, nullptr), "gelu");
        ran(cuda.gelu_forward(x, out, n, nullptr), "gelu");
        same(out.values(), want, 1, 2e-6, name("gelu"));
        ran(horo_gelu_backward(b.data(), a.data(), want.data(), n, nullptr), "gelu gradient");
        ran(cuda.gelu_backward(y, x, dx, n, nullptr), "gelu gradient");
        same(dx.values(), want, n, 2e-6, name("gelu gradient"));
    }
    const auto backward = [&](auto cpu, auto kernel, const char* what) {
        const Array<float> dg(side, c, offset), du(side, c, offset);
        ran(cpu(c.data(), a.data(), b.data(), want.data(), want2.data(), n, nullptr), what);
        ran(kernel(z, x, y, dg, du, n, nullptr), what);
        // 1 + gate (1 - s) slope cancels where the slope of the activation is 0
        const std::vector<float> got = dg.values();
        for (size_t i = 0; i < got.size(); ++i)
            CHECK(std::fabs(got[i] - want[i]) <=
                          4e-6 * std::fabs(c[i] * b[i]) + activation_error * std::fabs(want[i]) ||
                      (std::isnan(got[i]) && std::isnan(want[i])),
                  "%s: dgate %g, expected %g, at %g", name(what).c_str(), got[i], want[i], a[i]);
        same(du.values(), want2, 1, activation_error, name(what) + " dup");
    };
    backward(horo_swiglu_backward, cuda.swiglu_backward, "swiglu gradient");
    backward(horo_geglu_backward, cuda.geglu_backward, "geglu gradient");
    {
        const Array<float> sum(side, c, offset), scaled(side, a, offset);
        want = c;
        ran(horo_axpy(0.3, a.data(), want.data(), n, nullptr), "axpy");
        ran(cuda.axpy(0.3, x, sum, n, nullptr), "axpy");
        same(sum.values(), want, 1, 2e-7, name("axpy"), 3);  // one rounding or two
        want = a;
        ran(horo_scale(-1.7, want.data(), n, nullptr), "scale");
        ran(cuda.scale(-1.7, scaled, n, nullptr), "scale");
        bitwise(scaled.values(), want, name("scale"));
    }
    {
        const std::vector<double> start = {0.25};
        const Array<double> total(side, start), workspace(side, std::vector<double>(256));
        ran(cuda.sum_squares_add(y, n, total, workspace, nullptr), "sum_squares_add");
        const double exact = 0.25 + horo_sum_squares(b.data(), n, nullptr);
        CHECK(std::fabs(total.values()[0] - exact) <= 1e-14 * exact, "%s: %.17g, expected %.17g",
              name("sum_squares_add").c_str(), total.values()[0], exact);
    }
    for (int clip = 0; clip < 4; ++clip) {  // none, one that cuts, one that does not, a broken gradient
        std::vector<float> param = normal(n), m = normal(n, 0.1), v = normal(n, 0.1);
        for (float& f : v) f *= f;
        const std::vector<double> squares = {clip == 3 ? std::nan("") : 40.0};
        const Array<double> s(side, squares);
        const Array<float> p(side, param, offset), first(side, m, offset), second(side, v, offset);
        const double most = clip == 1 ? 1.5 : 100;
        horo::AdamwStep step;
        std::vector<float> combined(HORO_ADAMW_SCALARS);
        ran(horo_adamw_scalars(1e-3, 0.9, 0.999, 1e-8, 0.1, 3, 0.5, combined.data()), "adamw_scalars");
        std::memcpy(&step, combined.data(), sizeof step);
        const Array<float> scalars(side, combined, 1);
        ran(clip ? cuda.adamw_clipped(p, y, first, second, n, scalars, s, most, nullptr)
                 : cuda.adamw(p, y, first, second, n, step, nullptr),
            "adamw");
        ran(clip ? horo_adamw_clipped(param.data(), b.data(), m.data(), v.data(), n, combined.data(),
                                      squares.data(), most, nullptr)
                 : horo_adamw(param.data(), b.data(), m.data(), v.data(), n, 1e-3, 0.9, 0.999, 1e-8, 0.1, 3,
                              0.5, nullptr),
            "adamw");
        same(p.values(), param, n, 1e-6, name("adamw param"));
        same(first.values(), m, n, 1e-6, name("adamw m"));
        same(second.values(), v, n, 1e-6, name("adamw v"));
    }
    {
        std::vector<double> values(b.size()), slopes = normal<double>(n);
        std::vector<float> gradient = normal(n);
        const Array<double> value(side, values, offset), slope(side, slopes, offset);
        const Array<float> into(side, gradient, offset);
        ran(horo_exp_forward(b.data(), values.data(), n, nullptr), "exp");
        ran(cuda.exp_forward(y, value, n, nullptr), "exp");
        same(value.values(), values, 1, 1e-15, name("exp"));
        ran(horo_exp_backward(slopes.data(), values.data(), gradient.data(), n, nullptr), "exp gradient");
        ran(cuda.exp_backward(slope, value, into, n, nullptr), "exp gradient");
        same(into.values(), gradient, 1, 1.2e-7, name("exp gradient"));
    }
}

inline void conversions(Side& side, int64_t n, int64_t offset) {
    const horo::CudaLayers& cuda = side.kernels.layers;
    std::vector<float> x = normal(n, 100);
    const float special[] = {0.0f,    -0.0f, std::nanf(""), INFINITY, -INFINITY, 65519.9f,    65520.0f,
                             3.4e38f, 1e-6f, 6e-8f,         1e-40f,   2049.0f,   1.00390625f, 1.01171875f};
    for (int64_t i = 0; i < n && i < 14; ++i) x[static_cast<size_t>(i)] = special[i];
    const auto both = [&](int32_t type, auto element) {
        using T = decltype(element);
        std::vector<T> want(x.size());
        std::vector<float> back(x.size());
        const Array<float> in(side, x, offset), wide(side, x, offset);
        const Array<T> out(side, want, offset);
        ran(horo_convert_from_f32(x.data(), type, want.data(), n, nullptr), "convert");
        ran(cuda.convert_from_f32(in, type, out.p(), n, nullptr), "convert");
        ran(horo_convert_to_f32(type, want.data(), back.data(), n, nullptr), "convert");
        ran(cuda.convert_to_f32(type, out.p(), wide, n, nullptr), "convert");
        const std::vector<T> got = out.values();
        const std::vector<float> again = wide.values();
        for (size_t i = 0; i < x.size(); ++i) {
            CHECK(std::isnan(x[i]) || std::memcmp(&got[i], &want[i], sizeof(T)) == 0, "type %d of %g", type,
                  x[i]);
            CHECK(std::isnan(x[i]) ? std::isnan(again[i]) : again[i] == back[i], "type %d: %g back from %g",
                  type, again[i], x[i]);
        }
    };
    both(HORO_F32, float{});
    both(HORO_F64, double{});
    both(HORO_BF16, uint16_t{});
    both(HORO_F16, uint16_t{});
}

inline void row_lengths(Side& side, int64_t out, int64_t r) {
    std::vector<float> cross = normal(r * out), gram = normal(r * r), b = normal(out * r, 0.1),
                       lengths = normal(out);
    std::vector<double> squares(static_cast<size_t>(out), 40.0);
    if (out > 1) {  // a row of zeros
        squares[1] = 0;
        for (int64_t i = 0; i < r; ++i)
            cross[static_cast<size_t>(i * out + 1)] = b[static_cast<size_t>(r + i)] = 0;
    }
    const std::vector<float> empty(static_cast<size_t>(out));
    std::vector<float> want[3] = {empty, empty, empty};
    const Array<double> s(side, squares);
    const Array<float> c(side, cross), g(side, gram), y(side, b), l(side, lengths);
    const Array<float> norms(side, empty), inverse(side, empty), ratio(side, empty), only(side, empty);
    ran(horo_row_lengths(out, r, 0.7, squares.data(), cross.data(), gram.data(), b.data(), lengths.data(),
                         want[0].data(), want[1].data(), want[2].data(), nullptr),
        "row_lengths");
    const auto& cuda = side.kernels.layers;
    ran(cuda.row_lengths({out, r, 0.7, s, c, g, y, l, norms, inverse, ratio}, nullptr), "row_lengths");
    ran(cuda.row_lengths({out, r, 0.7, s, c, g, y, nullptr, only, nullptr, nullptr}, nullptr), "row_lengths");
    const std::string name = "row_lengths " + std::to_string(out) + " " + std::to_string(r);
    same(norms.values(), want[0], 1, 2e-7, name);
    same(inverse.values(), want[1], 1, 2e-7, name + " inverse");
    same(ratio.values(), want[2], 1, 2e-7, name + " ratio");
    bitwise(only.values(), norms.values(), name + " alone");
}

inline void layers(Side& side) {
    const std::vector<int64_t> dims =
        side.quick ? std::vector<int64_t>{1, 3, 4, 7, 32, 100, 260, 1028, 3001, 8200}
                   : std::vector<int64_t>{1,   2,   3,   4,    5,    8,    31,   64,   100,  128,   260,
                                          511, 512, 768, 1000, 1024, 1028, 3001, 4096, 8200, 32001, 128256};
    for (int64_t dim : dims)
        for (int64_t offset : {0, 1}) {
            rows_of_layers(side, 5, dim, offset);
            if (!side.quick) rows_of_layers(side, 259, dim, offset);
        }
    rows_of_layers(side, 150, 6, 0);
    rows_of_layers(side, 150, 70, 0);
    for (int64_t dim : {1, 5, 8, 64, 1040})
        for (int64_t offset : {0, 1}) embeddings(side, side.quick ? 70 : 700, 13, dim, offset);
    for (int64_t offset : {0, 1}) {
        ropes(side, 3, 5, 2, 0, offset);
        ropes(side, 4, 3, 6, 1, offset);
        ropes(side, 3, 4, 64, 8, offset);
        ropes(side, 2, 2, 130, 3, offset);
    }
    for (int64_t n : {1, 2, 5, 1000, 4099, 20000})
        for (int64_t offset : {0, 1}) elementwise(side, n, offset);
    for (int64_t r : {1, 8, 33})
        for (int64_t out : {1, 7, 100}) row_lengths(side, out, r);
    for (int64_t n : {1, 9, 14, 777, 4096})
        for (int64_t offset : {0, 1}) conversions(side, n, offset);
}

}  // namespace cases
