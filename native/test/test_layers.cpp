// The transformer layers against plain float64 loops, run once per instruction set (HORO_ISA).
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"

namespace {

using Floats = std::vector<float>;
const float nan_value = std::numeric_limits<float>::quiet_NaN();
const int64_t sizes[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100, 129, 1000};

Floats random(int64_t n, uint32_t seed, float scale = 1) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0, scale);
    Floats out(static_cast<size_t>(n));
    for (float& v : out) v = normal(engine);
    return out;
}

// |got - want| within `relative` of the larger of |want| and `size`, the size of the terms that were summed.
bool near(double got, double want, double relative, double size = 0) {
    return std::abs(got - want) <= relative * std::max(std::abs(want), size) || (got != got && want != want);
}

bool same_bits(const Floats& a, const Floats& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void rmsnorm() {
    for (int64_t dim : sizes) {
        const int64_t rows = 5;
        const double eps = 1e-5;
        Floats x = random(rows * dim, 1), w = random(dim, 2), dout = random(rows * dim, 3);
        Floats out(x.size()), rstd(rows), dx = random(rows * dim, 4), dw = random(dim, 5);
        const Floats dx0 = dx, dw0 = dw;
        x[static_cast<size_t>(2 * dim)] = nan_value;
        CHECK(horo_rmsnorm_forward(x.data(), w.data(), eps, rows, dim, out.data(), rstd.data(), nullptr) ==
              HORO_OK);
        CHECK(horo_rmsnorm_backward(dout.data(), x.data(), w.data(), rstd.data(), rows, dim, dx.data(),
                                    nullptr, nullptr) == HORO_OK);
        for (int64_t r = 0; r < rows; ++r) {
            double squares = 0, dot = 0;
            for (int64_t i = 0; i < dim; ++i) {
                const double v = x[r * dim + i];
                squares += v * v;
                dot += v * w[i] * dout[r * dim + i];
            }
            const double s = 1 / std::sqrt(squares / dim + eps);
            CHECK(near(rstd[r], s, 2e-7), "dim %ld row %ld", dim, r);
            for (int64_t i = 0; i < dim; ++i) {
                const int64_t at = r * dim + i;
                CHECK(near(out[at], w[i] * x[at] * s, 4e-7), "dim %ld row %ld", dim, r);
                const double direct = s * w[i] * dout[at], pull = x[at] * s * s * s * dot / dim;
                CHECK(
                    near(dx[at], dx0[at] + direct - pull, 2e-6,
                         std::abs(direct) + std::abs(pull) + std::abs(dx0[at]) + s * s * s * std::abs(x[at])),
                    "dim %ld row %ld: %g", dim, r, dx[at]);
                CHECK((r == 2) == (out[at] != out[at]) && (r == 2) == (dx[at] != dx[at]), "NaN left its row");
            }
        }
        x[static_cast<size_t>(2 * dim)] = 1;
        horo_rmsnorm_forward(x.data(), w.data(), eps, rows, dim, out.data(), rstd.data(), nullptr);
        horo_rmsnorm_backward(dout.data(), x.data(), w.data(), rstd.data(), rows, dim, dx.data(), dw.data(),
                              nullptr);
        for (int64_t i = 0; i < dim; ++i) {
            double want = dw0[i], size = 1;
            for (int64_t r = 0; r < rows; ++r) {
                const double term = static_cast<double>(dout[r * dim + i]) * x[r * dim + i] * rstd[r];
                want += term;
                size += std::abs(term);
            }
            CHECK(near(dw[i], want, 1e-6, size), "dweight, dim %ld", dim);
        }
        Floats in_place = x;
        horo_rmsnorm_forward(x.data(), w.data(), eps, rows, dim, out.data(), nullptr, nullptr);
        horo_rmsnorm_forward(in_place.data(), w.data(), eps, rows, dim, in_place.data(), nullptr, nullptr);
        CHECK(same_bits(in_place, out), "in place, dim %ld", dim);
    }
    float one = 1;
    CHECK(horo_rmsnorm_forward(&one, &one, 0, 0, 1, &one, nullptr, nullptr) == HORO_OK);
    CHECK(horo_rmsnorm_forward(&one, &one, 0, 1, 0, &one, nullptr, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "dim"), "%s", horo_last_error());
    CHECK(horo_rmsnorm_forward(nullptr, &one, 0, 1, 1, &one, nullptr, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_rmsnorm_forward(&one, &one, 0, INT64_MAX / 2, 4, &one, nullptr, nullptr) ==
          HORO_INVALID_ARGUMENT);
}

void layernorm() {
    for (int64_t dim : sizes) {
        const int64_t rows = 6;
        const double eps = 1e-6;
        Floats x = random(rows * dim, 1), w = random(dim, 2), b = random(dim, 6),
               dout = random(rows * dim, 3);
        Floats out(x.size()), mean(rows), rstd(rows), dx = random(rows * dim, 4), dw = random(dim, 5), db = b;
        for (int64_t i = 0; i < dim; ++i) {
            x[3 * dim + i] += 1000;  // far from the origin: what the mean loses, the variance would show
            x[4 * dim + i] = 5;      // no spread at all
        }
        const Floats dx0 = dx, dw0 = dw, db0 = db;
        x[static_cast<size_t>(2 * dim)] = nan_value;
        CHECK(horo_layernorm_forward(x.data(), w.data(), b.data(), eps, rows, dim, out.data(), mean.data(),
                                     rstd.data(), nullptr) == HORO_OK);
        CHECK(horo_layernorm_backward(dout.data(), x.data(), w.data(), mean.data(), rstd.data(), rows, dim,
                                      dx.data(), nullptr, nullptr, nullptr) == HORO_OK);
        for (int64_t r = 0; r < rows; ++r) {
            double m = 0, variance = 0, level = 0, pull = 0;
            for (int64_t i = 0; i < dim; ++i) m += x[r * dim + i] / static_cast<double>(dim);
            for (int64_t i = 0; i < dim; ++i)
                variance += (x[r * dim + i] - m) * (x[r * dim + i] - m) / static_cast<double>(dim);
            const double s = 1 / std::sqrt(variance + eps);
            double sizes_of_terms = 0;
            for (int64_t i = 0; i < dim; ++i) {
                const double g = static_cast<double>(w[i]) * dout[r * dim + i], h = (x[r * dim + i] - m) * s;
                level += g / static_cast<double>(dim);
                pull += g * h / static_cast<double>(dim);
                sizes_of_terms += std::abs(g) * (1 + std::abs(h)) / static_cast<double>(dim);
            }
            CHECK(near(mean[r], m, 2e-7, 1 / s), "dim %ld row %ld", dim, r);
            CHECK(near(rstd[r], s, 1e-6), "dim %ld row %ld: %g, expected %g", dim, r, rstd[r], s);
            for (int64_t i = 0; i < dim; ++i) {
                const int64_t at = r * dim + i;
                const double g = static_cast<double>(w[i]) * dout[at], h = (x[at] - m) * s;
                // the stored mean is rounded: half a unit of it, against the spread
                const double far = 6e-8 * std::abs(m) * s;
                CHECK(near(out[at], w[i] * h + b[i], 1e-6,
                           std::abs(b[i]) + std::abs(w[i]) * (0.2 + std::abs(h))),
                      "dim %ld row %ld: %g, expected %g", dim, r, out[at], w[i] * h + b[i]);
                CHECK(near(dx[at], dx0[at] + s * (g - level - h * pull), 2e-6 + far,
                           std::abs(dx0[at]) + s * (std::abs(g) + (1 + std::abs(h)) * sizes_of_terms)),
                      "dim %ld row %ld: %g", dim, r, dx[at]);
                CHECK((r == 2) == (out[at] != out[at]) && (r == 2) == (dx[at] != dx[at]), "NaN left its row");
            }
        }
        x[static_cast<size_t>(2 * dim)] = 1;
        horo_layernorm_forward(x.data(), w.data(), b.data(), eps, rows, dim, out.data(), mean.data(),
                               rstd.data(), nullptr);
        CHECK(horo_layernorm_backward(dout.data(), x.data(), w.data(), mean.data(), rstd.data(), rows, dim,
                                      dx.data(), dw.data(), db.data(), nullptr) == HORO_OK);
        for (int64_t i = 0; i < dim; ++i) {
            double want = dw0[i], size = 1, bias = db0[i];
            for (int64_t r = 0; r < rows; ++r) {
                const double term = static_cast<double>(dout[r * dim + i]) *
                                    (static_cast<double>(x[r * dim + i]) - mean[r]) * rstd[r];
                want += term;
                size += std::abs(term);
                bias += dout[r * dim + i];
            }
            CHECK(near(dw[i], want, 1e-6, size), "dweight, dim %ld", dim);
            CHECK(near(db[i], bias, 1e-6, 6), "dbias, dim %ld", dim);
        }
        Floats in_place = x;
        horo_layernorm_forward(in_place.data(), w.data(), b.data(), eps, rows, dim, in_place.data(), nullptr,
                               nullptr, nullptr);
        CHECK(same_bits(in_place, out), "in place, dim %ld", dim);
    }
    float one = 1;
    CHECK(horo_layernorm_forward(&one, &one, &one, 0, 0, 1, &one, nullptr, nullptr, nullptr) == HORO_OK);
    CHECK(horo_layernorm_forward(&one, &one, &one, 0, 1, 0, &one, nullptr, nullptr, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "dim"), "%s", horo_last_error());
    CHECK(horo_layernorm_forward(&one, &one, nullptr, 0, 1, 1, &one, nullptr, nullptr, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "bias"), "%s", horo_last_error());
    CHECK(horo_layernorm_backward(&one, &one, &one, nullptr, &one, 1, 1, &one, nullptr, nullptr, nullptr) ==
          HORO_INVALID_ARGUMENT);
}

void rope() {
    const int64_t tokens = 5, heads = 3, count = 11;
    const int32_t positions[] = {0, 10, 3, 3, 7};
    for (int64_t head_dim : {2, 6, 16, 30, 64, 128}) {
        const int64_t stride = heads * head_dim + 5, half = head_dim / 2;
        Floats table(count * head_dim);
        for (int64_t p = 0; p < count; ++p)
            for (int64_t i = 0; i < half; ++i) {
                const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * i / head_dim);
                table[p * head_dim + i] = static_cast<float>(std::cos(angle));
                table[p * head_dim + half + i] = static_cast<float>(std::sin(angle));
            }
        const Floats before = random(tokens * stride, 6);
        Floats x = before;
        CHECK(horo_rope(x.data(), tokens, stride, heads, head_dim, table.data(), count, positions, 0,
                        nullptr) == 0);
        for (int64_t t = 0; t < tokens; ++t) {
            for (int64_t h = 0; h < heads; ++h)
                for (int64_t i = 0; i < half; ++i) {
                    const int64_t at = t * stride + h * head_dim + i;
                    const double a = before[at], b = before[at + half];
                    const double c = table[positions[t] * head_dim + i],
                                 s = table[positions[t] * head_dim + half + i];
                    CHECK(near(x[at], a * c - b * s, 3e-7, std::abs(a) + std::abs(b)));
                    CHECK(near(x[at + half], b * c + a * s, 3e-7, std::abs(a) + std::abs(b)));
                }
            for (int64_t i = heads * head_dim; i < stride; ++i)
                CHECK(x[t * stride + i] == before[t * stride + i], "written between the rows");
        }
        CHECK(horo_rope(x.data(), tokens, stride, heads, head_dim, table.data(), count, positions, 1,
                        nullptr) == 0);
        for (size_t i = 0; i < x.size(); ++i) CHECK(near(x[i], before[i], 1e-6, 1), "inverse");
    }
    Floats x(8), table(8);
    const int32_t bad[] = {0, 2};
    CHECK(horo_rope(x.data(), 2, 4, 1, 4, table.data(), 2, bad, 0, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "positions: 2 at position 1"), "%s", horo_last_error());
    CHECK(horo_rope(x.data(), 2, 4, 1, 3, table.data(), 2, bad, 0, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_rope(x.data(), 2, 3, 1, 4, table.data(), 2, bad, 0, nullptr) == HORO_INVALID_ARGUMENT);
}

void swiglu() {
    const int64_t n = 70001;  // more than one chunk
    Floats gate = random(n, 7, 20), up = random(n, 8), dout = random(n, 9), out(n), dgate(n), dup(n);
    gate[0] = 0;
    gate[1] = 88.5f;
    gate[2] = -87;
    gate[3] = -100;
    gate[4] = 1e30f;
    gate[5] = -1e30f;
    gate[6] = nan_value;
    gate[7] = 1e-30f;
    CHECK(horo_swiglu_forward(gate.data(), up.data(), out.data(), n, nullptr) == HORO_OK);
    CHECK(horo_swiglu_backward(dout.data(), gate.data(), up.data(), dgate.data(), dup.data(), n, nullptr) ==
          0);
    for (int64_t i = 0; i < n; ++i) {
        // below -87 the sigmoid is subnormal in float32: an absolute bound there
        const double g = gate[i], s = sigmoid(g), size = 1e-30;
        CHECK(near(out[i], g * s * up[i], 1e-6, size), "gate %g: %g", g, out[i]);
        CHECK(near(dup[i], dout[i] * g * s, 1e-6, size), "gate %g: %g", g, dup[i]);
        const double slope = s * (1 + g * sigmoid(-g));
        const double terms = s * (1 + std::abs(g) * sigmoid(-g));
        CHECK(near(dgate[i], dout[i] * up[i] * slope, 1e-6, std::abs(dout[i] * up[i]) * terms + size),
              "gate %g: %g", g, dgate[i]);
    }
    for (int64_t small : sizes) {
        Floats a(gate.begin() + 10, gate.begin() + 10 + small), tail(small + 1, 7.0f);
        CHECK(horo_swiglu_forward(a.data(), up.data(), tail.data(), small, nullptr) == HORO_OK);
        for (int64_t i = 0; i < small; ++i) CHECK(near(tail[i], a[i] * sigmoid(a[i]) * up[i], 1e-6, 1e-30));
        CHECK(tail[small] == 7.0f, "written past the end, n %ld", small);
    }
}

// gelu(x) = x sigmoid(z) with z(x), and its derivative.
double gelu_argument(double x) { return std::sqrt(8 / M_PI) * (x + 0.044715 * x * x * x); }
double gelu_slope(double x) { return std::sqrt(8 / M_PI) * (1 + 3 * 0.044715 * x * x); }

void geglu() {
    const int64_t n = 70001;
    Floats gate = random(n, 7, 4), up = random(n, 8), dout = random(n, 9), out(n), dgate(n), dup(n);
    const float special[] = {0, 16, -16, 9.5f, -9.5f, 1e30f, -1e30f, nan_value, 1e-30f, 15.99f, -10.3f};
    std::copy(std::begin(special), std::end(special), gate.begin());
    CHECK(horo_geglu_forward(gate.data(), up.data(), out.data(), n, nullptr) == HORO_OK);
    CHECK(horo_geglu_backward(dout.data(), gate.data(), up.data(), dgate.data(), dup.data(), n, nullptr) ==
          0);
    for (int64_t i = 0; i < n; ++i) {
        const double g = gate[i], z = gelu_argument(g), s = sigmoid(z), size = 1e-30;
        const double relative = 1e-6 + 2e-7 * std::min(std::abs(z), 104.0);
        CHECK(near(out[i], g * s * up[i], relative, size), "gate %g: %g", g, out[i]);
        CHECK(near(dup[i], dout[i] * g * s, relative, size), "gate %g: %g", g, dup[i]);
        const double pull = std::abs(g) > 1e3 ? 0 : g * sigmoid(-z) * gelu_slope(g);
        const double terms = std::abs(dout[i] * up[i]) * s * (1 + std::abs(pull));
        CHECK(near(dgate[i], dout[i] * up[i] * s * (1 + pull), relative, terms + size), "gate %g: %g", g,
              dgate[i]);
    }
    for (int64_t small : sizes) {
        Floats a(gate.begin() + 11, gate.begin() + 11 + small), tail(small + 1, 7.0f);
        CHECK(horo_geglu_forward(a.data(), up.data() + 11, tail.data(), small, nullptr) == HORO_OK);
        for (int64_t i = 0; i < small; ++i) CHECK(near(tail[i], out[11 + i], 1e-6, 1e-30));
        CHECK(tail[small] == 7.0f, "written past the end, n %ld", small);
    }
}

void gelu() {
    const int64_t n = 70001;
    Floats x = random(n, 7, 4), dout = random(n, 9), out(n), dx(n);
    const float special[] = {0,      1e-30f,    -1e-30f,     15,     -13,   -5.5f, 1e30f,
                             -1e30f, nan_value, -0.7517916f, -12.9f, 12.9f, -0.0f, -1e-3f,
                             1,      -1,        0.5f,        -0.5f,  -3.25f};
    std::copy(std::begin(special), std::end(special), x.begin());
    for (int64_t i = 20; i < 20000; ++i)
        x[i] = static_cast<float>(-13 + 26.0 * static_cast<double>(i) / 20000);
    CHECK(horo_gelu_forward(x.data(), out.data(), n, nullptr) == HORO_OK);
    CHECK(horo_gelu_backward(dout.data(), x.data(), dx.data(), n, nullptr) == HORO_OK);
    double worst = 0;
    for (int64_t i = 0; i < n; ++i) {
        const double v = x[i], cdf = 0.5 * std::erfc(-v / std::sqrt(2.0));
        const double density = std::exp(-v * v / 2) / std::sqrt(2 * M_PI);
        CHECK(near(out[i], v * cdf, 1e-6, 1e-31), "x %g: %g, expected %g", v, out[i], v * cdf);
        if (std::abs(v * cdf) > 1e-36) worst = std::max(worst, std::abs(out[i] / (v * cdf) - 1));
        const double terms = std::abs(dout[i]) * (cdf + std::abs(v) * density);
        CHECK(near(dx[i], dout[i] * (cdf + v * density), 1e-6, terms + 1e-31), "x %g: %g", v, dx[i]);
    }
    std::printf("gelu: largest relative error %.2g\n", worst);
    for (int64_t small : sizes) {
        Floats a(x.begin() + 20, x.begin() + 20 + small), tail(small + 1, 7.0f);
        CHECK(horo_gelu_forward(a.data(), tail.data(), small, nullptr) == HORO_OK);
        for (int64_t i = 0; i < small; ++i) CHECK(near(tail[i], out[20 + i], 1e-6, 1e-31));
        CHECK(tail[small] == 7.0f, "written past the end, n %ld", small);
        CHECK(horo_gelu_forward(a.data(), a.data(), small, nullptr) == HORO_OK);
        tail.pop_back();
        CHECK(same_bits(a, tail), "in place");
    }
    float one = 1;
    CHECK(horo_gelu_forward(nullptr, &one, 1, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "x: null"), "%s", horo_last_error());
    CHECK(horo_gelu_backward(&one, &one, nullptr, 1, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_gelu_forward(&one, &one, -1, nullptr) == HORO_INVALID_ARGUMENT);
}

void bias() {
    for (int64_t dim : sizes) {
        const int64_t rows = 131;
        const Floats b = random(dim, 30), before = random(rows * dim, 31);
        Floats y = before, db = random(dim, 32);
        const Floats db0 = db;
        y.push_back(7);
        CHECK(horo_bias_add(b.data(), rows, dim, y.data(), nullptr) == HORO_OK);
        CHECK(horo_bias_grad(before.data(), rows, dim, db.data(), nullptr) == HORO_OK);
        for (int64_t i = 0; i < dim; ++i) {
            double want = db0[i];
            for (int64_t r = 0; r < rows; ++r) {
                CHECK(y[r * dim + i] == before[r * dim + i] + b[i]);
                want += before[r * dim + i];
            }
            CHECK(near(db[i], want, 1e-6, 16), "dim %ld: %g, expected %g", dim, db[i], want);
        }
        CHECK(y[rows * dim] == 7, "written past the end");
    }
    float one = 1;
    CHECK(horo_bias_add(&one, 1, 0, &one, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_bias_add(nullptr, 1, 1, &one, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "bias"), "%s", horo_last_error());
    CHECK(horo_bias_grad(nullptr, 1, 1, &one, nullptr) == HORO_INVALID_ARGUMENT);
}

void column_scale() {
    for (const int64_t rows : {1, 5, 130}) {
        for (const int64_t dim : {1, 7, 16, 300}) {
            const Floats x = random(rows * dim, 40), dy = random(rows * dim, 41), scale = random(dim, 42);
            Floats out(rows * dim), in_place = x, dscale = random(dim, 43);
            const Floats before = dscale;
            CHECK(horo_column_scale(scale.data(), rows, dim, x.data(), out.data(), nullptr) == HORO_OK);
            CHECK(horo_column_scale(scale.data(), rows, dim, in_place.data(), in_place.data(), nullptr) ==
                  HORO_OK);
            CHECK(horo_column_scale_grad(dy.data(), x.data(), rows, dim, dscale.data(), nullptr) == HORO_OK);
            CHECK(same_bits(out, in_place));
            for (int64_t j = 0; j < dim; ++j) {
                double want = before[j];
                for (int64_t t = 0; t < rows; ++t) {
                    CHECK(out[t * dim + j] == x[t * dim + j] * scale[j]);
                    want += static_cast<double>(dy[t * dim + j]) * x[t * dim + j];
                }
                CHECK(std::fabs(dscale[j] - want) <= 1e-6 * std::sqrt(static_cast<double>(rows)) + 1e-6);
            }
        }
    }
    float one = 1;
    CHECK(horo_column_scale(nullptr, 1, 1, &one, &one, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "scale"), "%s", horo_last_error());
    CHECK(horo_column_scale_grad(&one, &one, 1, 0, &one, nullptr) == HORO_INVALID_ARGUMENT);
}

void embedding() {
    const int64_t tokens = 6, vocab = 9, dim = 301;
    const int32_t ids[] = {8, 0, 3, 3, 3, 1};
    const Floats table = random(vocab * dim, 10), dout = random(tokens * dim, 11);
    Floats out(tokens * dim), dtable = random(vocab * dim, 12), want = dtable;
    CHECK(horo_embedding_forward(ids, HORO_F32, table.data(), tokens, vocab, dim, out.data(), nullptr) ==
          HORO_OK);
    CHECK(horo_embedding_backward(ids, dout.data(), tokens, vocab, dim, dtable.data(), nullptr) == HORO_OK);
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t i = 0; i < dim; ++i) {
            CHECK(out[t * dim + i] == table[ids[t] * dim + i]);
            want[ids[t] * dim + i] += dout[t * dim + i];
        }
    CHECK(same_bits(dtable, want));
    for (int32_t bad : {-1, 9}) {
        const int32_t wrong[] = {0, 1, bad};
        CHECK(horo_embedding_forward(wrong, HORO_F32, table.data(), 3, vocab, dim, out.data(), nullptr) ==
              HORO_INVALID_ARGUMENT);
        const std::string text = "ids: " + std::to_string(bad) + " at position 2";
        CHECK(std::strstr(horo_last_error(), text.c_str()), "%s", horo_last_error());
        CHECK(horo_embedding_backward(wrong, dout.data(), 3, vocab, dim, dtable.data(), nullptr) ==
              HORO_INVALID_ARGUMENT);
    }
    CHECK(same_bits(dtable, want), "written in spite of the error");
}

void cross_entropy() {
    const int64_t all[] = {1, 2, 5, 16, 17, 100, 4096, 5003};
    for (int64_t vocab : all) {
        const int64_t tokens = 7;
        Floats logits = random(tokens * vocab, 13, 5);
        for (int64_t i = 0; i < vocab; ++i) logits[2 * vocab + i] *= 1e30f;
        logits[4 * vocab + vocab / 2] = nan_value;
        for (int64_t i = 0; i + 1 < vocab; ++i) logits[5 * vocab + i] = -INFINITY;
        std::vector<int32_t> targets(tokens);
        for (int64_t t = 0; t < tokens; ++t) targets[t] = static_cast<int32_t>((t * 37) % vocab);
        targets[3] = -100;
        targets[5] = static_cast<int32_t>(vocab - 1);
        Floats losses(tokens), only(tokens), gradient = logits;
        const float scale = 0.25f;
        CHECK(horo_cross_entropy(logits.data(), targets.data(), tokens, vocab, only.data(), nullptr,
                                 nullptr) == 0);
        CHECK(horo_cross_entropy(gradient.data(), targets.data(), tokens, vocab, losses.data(), &scale,
                                 nullptr) == HORO_OK);
        CHECK(same_bits(only, losses));
        CHECK(losses[3] == 0);
        CHECK(losses[4] != losses[4]);
        CHECK(losses[5] == 0);
        for (int64_t t = 0; t < tokens; ++t) {
            const float* x = &logits[t * vocab];
            double top = -INFINITY, total = 0;
            for (int64_t i = 0; i < vocab; ++i) top = x[i] > top ? x[i] : top;
            for (int64_t i = 0; i < vocab; ++i) total += std::exp(x[i] - top);
            if (t != 3)
                CHECK(near(losses[t], std::log(total) + top - x[targets[t]], 3e-7, 1), "vocab %ld", vocab);
            for (int64_t i = 0; i < vocab; ++i) {
                const double p = std::exp(x[i] - top) / total;
                const double want = t == 3 ? 0 : scale * (p - (i == targets[t]));
                // x - top is rounded to float32 before the exponential
                const double relative = 4e-7 + 0x1p-24 * std::min(top - x[i], 104.0);
                CHECK(near(gradient[t * vocab + i], want, relative, i == targets[t] ? scale : 1e-36),
                      "vocab %ld row %ld: %g, expected %g", vocab, t, gradient[t * vocab + i], want);
            }
        }
        for (auto& target : targets) target = -1;
        horo_cross_entropy(logits.data(), targets.data(), tokens, vocab, losses.data(), &scale, nullptr);
        for (float loss : losses) CHECK(loss == 0);
        for (float g : logits) CHECK(g == 0);
        targets[1] = static_cast<int32_t>(vocab);
        CHECK(horo_cross_entropy(logits.data(), targets.data(), tokens, vocab, losses.data(), &scale,
                                 nullptr) == HORO_INVALID_ARGUMENT);
        CHECK(std::strstr(horo_last_error(), "at position 1"), "%s", horo_last_error());
    }
}

void elementwise() {
    for (int64_t n : {int64_t{1}, int64_t{17}, int64_t{1003}, int64_t{100003}}) {
        // one element past an aligned start
        const Floats xs = random(n + 1, 14), ys = random(n + 1, 15);
        const float* x = xs.data() + 1;
        Floats out(n), y = ys, z = xs;
        CHECK(horo_add(x, ys.data(), out.data(), n, nullptr) == HORO_OK);
        CHECK(horo_axpy(0.3, x, y.data(), n, nullptr) == HORO_OK);
        CHECK(horo_scale(-1.7, z.data(), n, nullptr) == HORO_OK);
        double squares = 0;
        for (int64_t i = 0; i < n; ++i) {
            CHECK(out[i] == x[i] + ys[i]);
            CHECK(near(y[i], ys[i] + 0.3 * x[i], 2e-7, std::abs(ys[i]) + std::abs(x[i])));
            CHECK(z[i] == -1.7f * xs[i]);
            squares += static_cast<double>(x[i]) * x[i];
        }
        CHECK(y[n] == ys[n] && z[n] == xs[n], "written past the end");
        CHECK(near(horo_sum_squares(x, n, nullptr), squares, 1e-13));
    }
    CHECK(horo_sum_squares(nullptr, 0, nullptr) == 0);
    CHECK(horo_sum_squares(nullptr, 1, nullptr) != 0 && std::strstr(horo_last_error(), "x"));
    CHECK(horo_add(nullptr, nullptr, nullptr, 0, nullptr) == HORO_OK);
    CHECK(horo_add(nullptr, nullptr, nullptr, -1, nullptr) == HORO_INVALID_ARGUMENT);
}

void adamw() {
    const int64_t n = 1003;
    Floats p = random(n, 16), m(n), v(n);
    std::vector<double> p64(p.begin(), p.end()), m64(n), v64(n);
    for (int64_t step = 1; step <= 20; ++step) {
        const Floats g = random(n, static_cast<uint32_t>(100 + step));
        CHECK(horo_adamw(p.data(), g.data(), m.data(), v.data(), n, 0.01, 0.9, 0.999, 1e-8, 0.1, step, 0.5,
                         nullptr) == HORO_OK);
        for (int64_t i = 0; i < n; ++i) {
            const double gradient = 0.5 * g[i];
            m64[i] = 0.9 * m64[i] + 0.1 * gradient;
            v64[i] = 0.999 * v64[i] + 0.001 * gradient * gradient;
            p64[i] = p64[i] * (1 - 0.01 * 0.1) - 0.01 * (m64[i] / (1 - std::pow(0.9, step))) /
                                                     (std::sqrt(v64[i] / (1 - std::pow(0.999, step))) + 1e-8);
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        CHECK(near(p[i], p64[i], 1e-6, 1), "%g %g", p[i], p64[i]);
        CHECK(near(m[i], m64[i], 1e-6, 0.1));
        CHECK(near(v[i], v64[i], 2e-6));
    }
    CHECK(horo_adamw(p.data(), p.data(), m.data(), v.data(), n, 0, 1, 0, 0, 0, 1, 1, nullptr) ==
          HORO_INVALID_ARGUMENT);
    CHECK(horo_adamw(p.data(), p.data(), m.data(), v.data(), n, 0, 0, 0, 0, 0, 0, 1, nullptr) ==
          HORO_INVALID_ARGUMENT);
}

// Every 16-bit pattern, and every point around the middle between two of them.
void convert() {
    const int64_t n = 65536;
    std::vector<uint16_t> patterns(n), back(n);
    for (int64_t i = 0; i < n; ++i) patterns[i] = static_cast<uint16_t>(i);
    for (int32_t type : {HORO_BF16, HORO_F16}) {
        const int exponent_bits = type == HORO_BF16 ? 8 : 5, mantissa_bits = 15 - exponent_bits;
        const int bias = (1 << (exponent_bits - 1)) - 1;
        Floats wide(n);
        CHECK(horo_convert_to_f32(type, patterns.data(), wide.data(), n, nullptr) == HORO_OK);
        for (int64_t i = 0; i < n; ++i) {
            const int e = static_cast<int>((i & 0x7FFF) >> mantissa_bits);
            const int64_t f = i & ((1 << mantissa_bits) - 1);
            double want =
                e == 0 ? std::ldexp(static_cast<double>(f), 1 - bias - mantissa_bits)
                       : std::ldexp(static_cast<double>(f + (1 << mantissa_bits)), e - bias - mantissa_bits);
            if (e == (1 << exponent_bits) - 1) want = f ? NAN : INFINITY;
            if (i & 0x8000) want = -want;
            CHECK(want != want ? wide[i] != wide[i] : wide[i] == want, "type %d pattern %lx", type, i);
            CHECK(std::signbit(wide[i]) == ((i & 0x8000) != 0));
        }
        CHECK(horo_convert_from_f32(wide.data(), type, back.data(), n, nullptr) == HORO_OK);
        for (int64_t i = 0; i < n; ++i) {
            const bool nan = wide[i] != wide[i];
            CHECK(nan ? (back[i] | (1 << (mantissa_bits - 1))) == (i | (1 << (mantissa_bits - 1)))
                      : back[i] == i,
                  "type %d pattern %lx became %x", type, i, back[i]);
        }
        // one size down from the vector width, so that the tail code sees all of them too
        for (int64_t i = 0; i + 1 < n; ++i) {
            const float low = wide[i], high = wide[i + 1];
            if (!(std::abs(low) < INFINITY) || !(std::abs(high) < INFINITY) || (i & 0x7FFF) == 0x7FFF)
                continue;
            const float middle = static_cast<float>((static_cast<double>(low) + high) / 2);
            const Floats points = {middle, std::nextafter(middle, low), std::nextafter(middle, high)};
            uint16_t narrow[3], even = static_cast<uint16_t>(i & 1 ? i + 1 : i);
            horo_convert_from_f32(points.data(), type, narrow, 3, nullptr);
            CHECK(narrow[0] == even && narrow[1] == i && narrow[2] == i + 1, "type %d pattern %lx", type, i);
        }
        const Floats huge = {3e38f, 3.4028235e38f, -3.4028235e38f, 65519.9f, 65520};
        uint16_t narrow[5];
        horo_convert_from_f32(huge.data(), type, narrow, 5, nullptr);
        if (type == HORO_F16)
            CHECK(narrow[0] == 0x7C00 && narrow[2] == 0xFC00 && narrow[3] == 0x7BFF && narrow[4] == 0x7C00);
        else
            CHECK(narrow[0] == 0x7F62 && narrow[1] == 0x7F80 && narrow[2] == 0xFF80);
    }
    const Floats x = random(1001, 17);
    Floats single(1001);
    std::vector<double> wide(1001);
    horo_convert_from_f32(x.data(), HORO_F64, wide.data(), 1001, nullptr);
    horo_convert_to_f32(HORO_F64, wide.data(), single.data(), 1001, nullptr);
    CHECK(same_bits(x, single) && wide[500] == x[500]);
    horo_convert_from_f32(x.data(), HORO_F32, single.data(), 1001, nullptr);
    CHECK(same_bits(x, single));
    CHECK(horo_convert_to_f32(4, x.data(), single.data(), 1, nullptr) == HORO_INVALID_ARGUMENT);
}

// Everything that is cut into chunks, once per number of threads.
std::vector<Floats> everything(const horo_exec* exec) {
    const int64_t rows = 200, dim = 700, n = rows * dim;
    Floats x = random(n, 20), y = random(n, 21), w = random(dim, 22), out(n), rstd(rows), dx = y, dw = w,
           a = x, b = y;
    horo_rmsnorm_forward(x.data(), w.data(), 1e-6, rows, dim, out.data(), rstd.data(), exec);
    horo_rmsnorm_backward(y.data(), x.data(), w.data(), rstd.data(), rows, dim, dx.data(), dw.data(), exec);
    horo_swiglu_backward(out.data(), x.data(), y.data(), a.data(), b.data(), n, exec);
    Floats ln(n), mean(rows), scale(rows), dln = y, dlw = w, dlb = w, g(n), dg(n);
    horo_layernorm_forward(x.data(), w.data(), w.data(), 1e-6, rows, dim, ln.data(), mean.data(),
                           scale.data(), exec);
    horo_layernorm_backward(y.data(), x.data(), w.data(), mean.data(), scale.data(), rows, dim, dln.data(),
                            dlw.data(), dlb.data(), exec);
    horo_gelu_forward(x.data(), g.data(), n, exec);
    horo_gelu_backward(y.data(), x.data(), dg.data(), n, exec);
    Floats c = x, d = y, e = x, db = w;
    horo_geglu_backward(out.data(), x.data(), y.data(), c.data(), d.data(), n, exec);
    horo_bias_add(w.data(), rows, dim, e.data(), exec);
    horo_bias_grad(x.data(), rows, dim, db.data(), exec);
    std::vector<int32_t> ids(rows);
    for (int64_t t = 0; t < rows; ++t) ids[t] = static_cast<int32_t>(t * t % 50);
    Floats table = random(50 * dim, 23), logits = x, losses(rows), p = x, m = y, v(n, 0.1f);
    horo_embedding_backward(ids.data(), x.data(), rows, 50, dim, table.data(), exec);
    const float tenth = 0.1f;
    horo_cross_entropy(logits.data(), ids.data(), rows, dim, losses.data(), &tenth, exec);
    horo_adamw(p.data(), y.data(), m.data(), v.data(), n, 0.01, 0.9, 0.99, 1e-8, 0, 3, 1, exec);
    const Floats norm = {static_cast<float>(horo_sum_squares(x.data(), n, exec))};
    return {out, rstd, dx, dw,   a,  b,    c,     d,   e,   db,  table, logits, losses,
            p,   m,    v,  norm, ln, mean, scale, dln, dlw, dlb, g,     dg};
}

void threads() {
    horo_exec* one = nullptr;
    horo_exec_create(-1, 1, nullptr, &one);
    const auto want = everything(one);
    for (int32_t count : {2, 3, 8}) {
        horo_exec* exec = nullptr;
        horo_exec_create(-1, count, nullptr, &exec);
        const auto got = everything(exec);
        for (size_t i = 0; i < want.size(); ++i)
            CHECK(same_bits(want[i], got[i]), "%d threads, result %zu", count, i);
        horo_exec_destroy(exec);
    }
    horo_exec_destroy(one);
}

}  // namespace

int main() {
    rmsnorm();
    layernorm();
    rope();
    swiglu();
    geglu();
    gelu();
    bias();
    column_scale();
    embedding();
    cross_entropy();
    elementwise();
    adamw();
    convert();
    threads();
    return check_result();
}
