// The low-rank adapters of CUDA against the CPU's.
#pragma once
#include "cuda_cases.h"

namespace cases {

template <class T>
void adapters(Side& side, int32_t kind, int64_t tokens, int64_t d, int64_t r, int64_t k, int64_t pad,
              int64_t offset) {
    const bool wide = sizeof(T) == 8;
    const horo::CudaLowRank& cuda = wide ? side.kernels.low_rank_f64 : side.kernels.low_rank_f32;
    const int32_t dtype = wide ? HORO_F64 : HORO_F32;
    const std::string name = "adapter " + std::to_string(kind) + " (" + std::to_string(tokens) + ", " +
                             std::to_string(d) + ", " + std::to_string(r) + ", " + std::to_string(k) + ") " +
                             (wide ? "float64" : "float32");
    const std::vector<double> K = {0.8}, s = {std::sqrt(static_cast<double>(d)) * 0.6};
    const double scaling = 1.3;
    const int64_t xs = d + pad, os = k + pad;
    std::vector<T> x = normal<T>(tokens * xs), a = normal<T>(r * d, 1 / std::sqrt(static_cast<double>(d))),
                   b = normal<T>(k * r, 0.3), out = normal<T>(tokens * os), dout = normal<T>(tokens * os),
                   dx = normal<T>(tokens * xs), da = normal<T>(r * d), db = normal<T>(k * r);
    for (int64_t i = 0; tokens > 2 && i < d; ++i) x[static_cast<size_t>(2 * xs + i)] = 0;
    if (wide && tokens > 4)  // squares beyond the range of float64
        for (int64_t i = 0; i < d; ++i) x[static_cast<size_t>(4 * xs + i)] *= static_cast<T>(1e-160);
    std::vector<double> gram(static_cast<size_t>(r * r)), gain(static_cast<size_t>(tokens)), norm(gain),
        m(gain);
    const std::vector<double> slope = {0.5};
    double dK = 0.5, ds = 0.5;
    std::vector<T> p(static_cast<size_t>(tokens * r));
    const double error = (wide ? 1e-14 : 4e-7) * (4 + std::sqrt(static_cast<double>(d + k + tokens)));

    const Array<T> x_(side, x, offset), a_(side, a, offset), b_(side, b, offset), out_(side, out, offset),
        dout_(side, dout, offset), p_(side, p, offset);
    const Array<double> K_(side, K), s_(side, s, 1), gram_(side, gram, 1), gain_(side, gain, 1),
        norm_(side, norm), m_(side, m);
    ran(horo_gram(nullptr, dtype, k, r, b.data(), gram.data()), "gram");
    ran(cuda.gram(k, r, b_.p(), gram_, nullptr), "gram");
    same(gram_.values(), gram, r * r, 1e-14, name + " gram");
    const bool hyperbolic = kind != HORO_LORA;
    horo::LowRank call{kind,
                       tokens,
                       d,
                       r,
                       k,
                       x_.p(),
                       xs,
                       a_.p(),
                       b_.p(),
                       hyperbolic ? gram_.p() : nullptr,
                       hyperbolic ? K_.p() : nullptr,
                       hyperbolic ? s_.p() : nullptr,
                       scaling,
                       os,
                       p_.p(),
                       hyperbolic ? gain_.p() : nullptr,
                       hyperbolic ? norm_.p() : nullptr,
                       hyperbolic ? m_.p() : nullptr};
    ran(horo_low_rank_forward(nullptr, dtype, kind, tokens, d, r, k, x.data(), xs, a.data(), b.data(),
                              gram.data(), K.data(), s.data(), scaling, out.data(), os, p.data(), gain.data(),
                              norm.data(), m.data()),
        "adapter");
    ran(cuda.forward(call, out_.p(), nullptr), "adapter");
    same(p_.values(), p, r, error, name + " p");
    same(out_.values(), out, os, error, name + " out", 1);
    if (hyperbolic) {
        same(norm_.values(), norm, 1, wide ? 1e-14 : 4e-7, name + " norm");
        same(m_.values(), m, 1, 10 * error, name + " m");
        same(gain_.values(), gain, 1, 10 * error, name + " gain");
    }

    // the same p, norm and m for both, so that the gradients are those of one function
    const Array<T> q_(side, p, offset);
    const Array<double> norm2(side, norm), m2(side, m), dK_(side, slope, 1), ds_(side, slope, 1);
    call.p = q_.p();
    if (hyperbolic) call.norm = norm2.p(), call.m = m2.p();
    int64_t bytes = 0;
    ran(horo_low_rank_workspace(nullptr, dtype, kind, tokens, d, r, k, &bytes), "workspace");
    std::vector<char> workspace(static_cast<size_t>(bytes));
    const std::vector<T> dx_before = dx, da_before = da, db_before = db;
    ran(horo_low_rank_backward(nullptr, dtype, kind, tokens, d, r, k, x.data(), xs, a.data(), b.data(),
                               gram.data(), K.data(), s.data(), scaling, dout.data(), os, p.data(),
                               norm.data(), m.data(), dx.data(), xs, da.data(), db.data(), &dK, &ds,
                               workspace.data(), bytes),
        "adapter gradient");
    std::vector<T> first_da;
    for (int want_dx = 1; want_dx >= 0; --want_dx) {
        const Array<T> dx_(side, dx_before, offset), da_(side, da_before, offset),
            db_(side, db_before, offset);
        const Array<char> workspace_(
            side, std::vector<char>(static_cast<size_t>(cuda.backward_workspace(call))), 3);
        const horo::LowRankGradients gradients{dout_.p(),
                                               want_dx ? dx_.p() : nullptr,
                                               xs,
                                               da_.p(),
                                               db_.p(),
                                               want_dx ? dK_.p() : nullptr,
                                               want_dx ? ds_.p() : nullptr,
                                               workspace_.p()};
        ran(cuda.backward(call, gradients, nullptr), "adapter gradient");
        if (!want_dx) {
            bitwise(dx_.values(), dx_before, name + " dx that is not wanted");
            bitwise(da_.values(), first_da, name + " da of a second run");
            continue;
        }
        first_da = da_.values();
        same(dx_.values(), dx, xs, error, name + " dx", 1);
        same(first_da, da, r * d, error, name + " da", 1);
        same(db_.values(), db, k * r, error, name + " db", 1);
        if (hyperbolic) {
            CHECK(std::fabs(dK_.values()[0] - dK) <= 10 * error * (1 + std::fabs(dK)), "%s: dK %g, %g",
                  name.c_str(), dK_.values()[0], dK);
            CHECK(std::fabs(ds_.values()[0] - ds) <= 10 * error * (1 + std::fabs(ds)), "%s: ds %g, %g",
                  name.c_str(), ds_.values()[0], ds);
        }
    }
}

inline void low_rank(Side& side) {
    for (int32_t kind = HORO_LORA; kind <= HORO_HYPLORA_SIMPLIFIED; ++kind) {
        adapters<float>(side, kind, 5, 33, 3, 50, 2, 1);
        adapters<double>(side, kind, 6, 20, 4, 35, 0, 0);
        if (!side.quick) {
            adapters<float>(side, kind, 300, 1024, 32, 768, 0, 0);
            adapters<double>(side, kind, 100, 130, 20, 65, 3, 1);
        }
    }
    adapters<float>(side, HORO_HYPLORA, 1, 1, 1, 1, 0, 0);
    adapters<float>(side, HORO_HYPLORA, 70, 40, 33, 66, 1, 1);
    adapters<double>(side, HORO_HYPLORA, 131, 17, 9, 70, 0, 1);
    adapters<float>(side, HORO_HYPLORA, 3, 5, 257, 4, 0, 0);  // ranks beyond the Gram kernel for small ones
}

}  // namespace cases
