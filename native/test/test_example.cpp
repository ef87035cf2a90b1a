// The operation of docs/add-an-operation.md, built into a library that has no other: it must run on every
// instruction set, agree with its definition, and be the code that the document shows.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"

namespace {

template <class T>
struct Energies {
    std::vector<T> x, v;
    int64_t rows, dim;
    double c;

    Energies(int64_t rows_, int64_t dim_, double c_)
        : x(rows_ * dim_), v(rows_ * dim_), rows(rows_), dim(dim_), c(c_) {
        for (int64_t i = 0; i < rows * dim; ++i) {
            x[i] = static_cast<T>(0.9 * std::sin(1.0 + i) / std::sqrt(c * dim));
            v[i] = static_cast<T>(std::cos(2.0 * i));
        }
    }
    double expected(int64_t row, double at_c, int64_t j = -1, double dx = 0, double dv = 0) const {
        long double xx = 0, vv = 0;
        for (int64_t i = 0; i < dim; ++i) {
            const long double a = x[row * dim + i] + (i == j ? dx : 0),
                              b = v[row * dim + i] + (i == j ? dv : 0);
            xx += a * a;
            vv += b * b;
        }
        return static_cast<double>(2 * vv / ((1 - at_c * xx) * (1 - at_c * xx)));
    }
};

template <class T>
void run(int32_t dtype, int64_t rows, int64_t dim) {
    const double c = 0.75, eps = sizeof(T) == 8 ? 1e-14 : 1e-6, h = 1e-5;
    const Energies<T> data(rows, dim, c);
    int32_t op = -1, vjp = -1;
    CHECK(horo_op_find("poincare.kinetic_energy", &op) == HORO_OK &&
          horo_op_find("poincare.kinetic_energy.vjp", &vjp) == HORO_OK);
    std::vector<T> out(rows), g(rows, T(1.5)), gx(rows * dim), gv(rows * dim), gc(rows);
    CHECK(
        horo_row_op(op, dtype, rows, dim, data.x.data(), dim, data.v.data(), dim, nullptr, 0, nullptr, 0,
                    out.data(), 1, nullptr, 0, nullptr, 0, nullptr, 0, c, 0, 0, 0, 0, 0, nullptr) == HORO_OK,
        "%s", horo_last_error());
    CHECK(horo_row_op(vjp, dtype, rows, dim, data.x.data(), dim, data.v.data(), dim, g.data(), 1, nullptr, 0,
                      gx.data(), dim, gv.data(), dim, gc.data(), 1, nullptr, 0, c, 0, 0, 0, 0, 0,
                      nullptr) == HORO_OK,
          "%s", horo_last_error());
    for (int64_t r = 0; r < rows; ++r) {
        const double want = data.expected(r, c);
        CHECK(std::fabs(out[r] - want) <= eps * want, "row %d: %g, expected %g", (int)r, (double)out[r],
              want);
        const double by_c = 1.5 * (data.expected(r, c + h) - data.expected(r, c - h)) / (2 * h);
        CHECK(std::fabs(gc[r] - by_c) <= 1e-5 * (1 + std::fabs(by_c)), "g_c %g, expected %g", (double)gc[r],
              by_c);
        const int64_t j = r % dim;
        const double by_x = 1.5 * (data.expected(r, c, j, h) - data.expected(r, c, j, -h)) / (2 * h);
        const double by_v = 1.5 * (data.expected(r, c, j, 0, h) - data.expected(r, c, j, 0, -h)) / (2 * h);
        const double sizes = 1 + std::fabs(by_x) + std::fabs(by_v);
        CHECK(std::fabs(gx[r * dim + j] - by_x) <= 1e-5 * sizes, "g_x %g, expected %g",
              (double)gx[r * dim + j], by_x);
        CHECK(std::fabs(gv[r * dim + j] - by_v) <= 1e-5 * sizes, "g_v %g, expected %g",
              (double)gv[r * dim + j], by_v);
    }
}

std::string text(const char* path) {
    std::ifstream file(path);
    std::stringstream all;
    all << file.rdbuf();
    return all.str();
}

}  // namespace

int main() {
    CHECK(horo_op_count() == 2);
    CHECK(std::string(horo_op_signature(1)) == "x:row v:row g:scalar; c -> g_x:row g_v:row g_c:scalar");
    for (int64_t dim : {1, 3, 16, 17, 100})
        for (int64_t rows : {1, 7, 33}) {
            run<float>(HORO_F32, rows, dim);
            run<double>(HORO_F64, rows, dim);
        }
    const std::string code = text(HORO_EXAMPLE), document = text(HORO_DOCUMENT);
    CHECK(code.size() > 500 && document.find(code) != std::string::npos, "the document shows other code");
    return check_result();
}
