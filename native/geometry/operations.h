// Every row operation there is, by family: the operations of one header. Adding one means writing its struct
// and its line here; the C ABI, the CPU and CUDA engines, the Java bindings and the tests find it by its
// name. A new family is a header, its list, its name in HORO_ROW_FAMILIES, and the same in
// native/CMakeLists.txt.
#pragma once
#if defined(HORO_ROW_HEADER)  // a build of one family
#include HORO_ROW_HEADER
#else
#include "geometry/klein.h"
#include "geometry/lorentz.h"
#include "geometry/lorentz_formulas.h"
#include "geometry/optimizers.h"
#include "geometry/poincare.h"
#include "geometry/poincare_formulas.h"
#include "geometry/poincare_gap.h"
#include "geometry/stereographic.h"
#include "geometry/wrapped_normal.h"
#endif

// clang-format off: one operation a line

// A formula and its derived gradient.
#define HORO_FORMULA(X, F) \
    X(Apply<F>)            \
    X(Gradient<F>)

#define HORO_ROWS_poincare(X)       \
    X(poincare::MobiusAdd)          \
    X(poincare::MobiusAddVjp)       \
    X(poincare::Expmap)             \
    X(poincare::ExpmapVjp)          \
    X(poincare::Logmap)             \
    X(poincare::LogmapVjp)          \
    X(poincare::Expmap0)            \
    X(poincare::Expmap0Vjp)         \
    X(poincare::Logmap0)            \
    X(poincare::Logmap0Vjp)         \
    X(poincare::Dist)               \
    X(poincare::DistVjp)            \
    X(poincare::Egrad2rgrad)        \
    X(poincare::Egrad2rgradVjp)     \
    X(poincare::Dist0)              \
    X(poincare::Dist0Vjp)           \
    X(poincare::MobiusScalarMul)    \
    X(poincare::MobiusScalarMulVjp) \
    X(poincare::Gyration)           \
    X(poincare::GyrationVjp)        \
    X(poincare::Ptransp)            \
    X(poincare::PtranspVjp)         \
    X(poincare::Geodesic)           \
    X(poincare::GeodesicVjp)        \
    X(poincare::Projx)              \
    X(poincare::ProjxVjp)           \
    X(poincare::ToLorentz)          \
    X(poincare::ToLorentzVjp)

#define HORO_ROWS_lorentz(X)   \
    X(lorentz::Dist)           \
    X(lorentz::DistVjp)        \
    X(lorentz::Dist0)          \
    X(lorentz::Dist0Vjp)       \
    X(lorentz::Expmap)         \
    X(lorentz::ExpmapVjp)      \
    X(lorentz::Expmap0)        \
    X(lorentz::Expmap0Vjp)     \
    X(lorentz::Logmap)         \
    X(lorentz::LogmapVjp)      \
    X(lorentz::Logmap0)        \
    X(lorentz::Logmap0Vjp)     \
    X(lorentz::Ptransp)        \
    X(lorentz::PtranspVjp)     \
    X(lorentz::Proju)          \
    X(lorentz::ProjuVjp)       \
    X(lorentz::Egrad2rgrad)    \
    X(lorentz::Egrad2rgradVjp) \
    X(lorentz::Inner)          \
    X(lorentz::InnerVjp)       \
    X(lorentz::Projx)          \
    X(lorentz::ProjxVjp)       \
    X(lorentz::ToPoincare)     \
    X(lorentz::ToPoincareVjp)

#define HORO_ROWS_optimizers(X) \
    X(poincare::Rsgd)           \
    X(poincare::RsgdMomentum)   \
    X(poincare::RsgdNesterov)   \
    X(poincare::Radam)          \
    X(poincare::RadamAmsgrad)   \
    X(lorentz::Rsgd)            \
    X(lorentz::RsgdMomentum)    \
    X(lorentz::RsgdNesterov)    \
    X(lorentz::Radam)           \
    X(lorentz::RadamAmsgrad)

#define HORO_ROWS_poincare_formulas(X)            \
    HORO_FORMULA(X, poincare::MobiusSub)          \
    HORO_FORMULA(X, poincare::MobiusCoadd)        \
    HORO_FORMULA(X, poincare::MobiusCosub)        \
    HORO_FORMULA(X, poincare::MobiusPointwiseMul) \
    HORO_FORMULA(X, poincare::Dist2)              \
    HORO_FORMULA(X, poincare::Dist2plane)         \
    HORO_FORMULA(X, poincare::Dist2planeSigned)   \
    HORO_FORMULA(X, poincare::Dist2planeScaled)   \
    HORO_FORMULA(X, poincare::LambdaX)            \
    HORO_FORMULA(X, poincare::Inner)              \
    HORO_FORMULA(X, poincare::Norm)               \
    HORO_FORMULA(X, poincare::Transp0)            \
    HORO_FORMULA(X, poincare::Transp0Back)        \
    HORO_FORMULA(X, poincare::Logmap0Back)        \
    HORO_FORMULA(X, poincare::GeodesicUnit)       \
    HORO_FORMULA(X, poincare::HalfAperture)       \
    HORO_FORMULA(X, poincare::OxyAngle)

#define HORO_ROWS_lorentz_formulas(X)         \
    X(lorentz::Sqdist)                        \
    X(lorentz::SqdistVjp)                     \
    X(lorentz::Dist2)                         \
    X(lorentz::Dist2Vjp)                      \
    HORO_FORMULA(X, lorentz::Geodesic)        \
    HORO_FORMULA(X, lorentz::MobiusAdd)       \
    HORO_FORMULA(X, lorentz::MobiusScalarMul) \
    HORO_FORMULA(X, lorentz::Transp0)         \
    HORO_FORMULA(X, lorentz::Transp0Back)     \
    HORO_FORMULA(X, lorentz::Norm)            \
    HORO_FORMULA(X, lorentz::HalfAperture)    \
    HORO_FORMULA(X, lorentz::OxyAngle)        \
    HORO_FORMULA(X, lorentz::Boost)           \
    HORO_FORMULA(X, lorentz::Rmsnorm)         \
    HORO_FORMULA(X, lorentz::Relu)            \
    HORO_FORMULA(X, lorentz::Residual)

#define HORO_ROWS_klein(X)              \
    HORO_FORMULA(X, klein::Dist)        \
    HORO_FORMULA(X, klein::Dist0)       \
    HORO_FORMULA(X, klein::Expmap)      \
    HORO_FORMULA(X, klein::Expmap0)     \
    HORO_FORMULA(X, klein::Logmap)      \
    HORO_FORMULA(X, klein::Logmap0)     \
    HORO_FORMULA(X, klein::Ptransp)     \
    HORO_FORMULA(X, klein::Geodesic)    \
    HORO_FORMULA(X, klein::EinsteinAdd) \
    HORO_FORMULA(X, klein::Egrad2rgrad) \
    HORO_FORMULA(X, klein::Inner)       \
    HORO_FORMULA(X, klein::Norm)        \
    X(klein::Projx)                     \
    X(klein::ProjxVjp)                  \
    HORO_FORMULA(X, klein::ToPoincare)  \
    HORO_FORMULA(X, klein::ToLorentz)   \
    HORO_FORMULA(X, poincare::ToKlein)  \
    HORO_FORMULA(X, lorentz::ToKlein)

#define HORO_ROWS_stereographic(X)                  \
    HORO_FORMULA(X, stereographic::MobiusAdd)       \
    HORO_FORMULA(X, stereographic::MobiusScalarMul) \
    HORO_FORMULA(X, stereographic::Expmap)          \
    HORO_FORMULA(X, stereographic::Expmap0)         \
    HORO_FORMULA(X, stereographic::Logmap)          \
    HORO_FORMULA(X, stereographic::Logmap0)         \
    HORO_FORMULA(X, stereographic::Dist)            \
    HORO_FORMULA(X, stereographic::Dist0)           \
    X(stereographic::Geodesic)                      \
    X(stereographic::GeodesicVjp)                   \
    X(stereographic::Gyration)                      \
    X(stereographic::GyrationVjp)                   \
    X(stereographic::Ptransp)                       \
    X(stereographic::PtranspVjp)                    \
    HORO_FORMULA(X, stereographic::Transp0)         \
    HORO_FORMULA(X, stereographic::Transp0Back)     \
    HORO_FORMULA(X, stereographic::Egrad2rgrad)     \
    HORO_FORMULA(X, stereographic::LambdaX)         \
    HORO_FORMULA(X, stereographic::Inner)           \
    HORO_FORMULA(X, stereographic::Norm)            \
    HORO_FORMULA(X, stereographic::Projx)           \
    HORO_FORMULA(X, stereographic::Antipode)

#define HORO_ROWS_poincare_gap(X)           \
    HORO_FORMULA(X, poincare::Gap)          \
    HORO_FORMULA(X, poincare::ToGap)        \
    HORO_FORMULA(X, poincare::FromGap)      \
    HORO_FORMULA(X, poincare::DistGap)      \
    HORO_FORMULA(X, poincare::MobiusAddGap) \
    HORO_FORMULA(X, poincare::LogmapGap)    \
    HORO_FORMULA(X, poincare::ExpmapGap)    \
    HORO_FORMULA(X, poincare::Expmap0Gap)   \
    HORO_FORMULA(X, poincare::Logmap0Gap)

#define HORO_ROWS_wrapped_normal(X)                 \
    HORO_FORMULA(X, poincare::WrappedNormalLogProb) \
    HORO_FORMULA(X, lorentz::WrappedNormalLogProb)  \
    HORO_FORMULA(X, poincare::WrappedNormalSample)  \
    HORO_FORMULA(X, lorentz::WrappedNormalSample)   \
    HORO_FORMULA(X, poincare::WrappedNormalNoise)   \
    HORO_FORMULA(X, lorentz::WrappedNormalNoise)    \
    X(poincare::WrappedNormalNoiseLogProb)          \
    X(poincare::WrappedNormalNoiseLogProbVjp)       \
    X(lorentz::WrappedNormalNoiseLogProb)           \
    X(lorentz::WrappedNormalNoiseLogProbVjp)

#define HORO_ROW_FAMILIES(F) \
    F(poincare)              \
    F(lorentz)               \
    F(optimizers)            \
    F(poincare_formulas)     \
    F(lorentz_formulas)      \
    F(klein)                 \
    F(stereographic)         \
    F(poincare_gap)          \
    F(wrapped_normal)

#define HORO_ROW_OPERATIONS(X)                                                                        \
    HORO_ROWS_poincare(X) HORO_ROWS_lorentz(X) HORO_ROWS_optimizers(X) HORO_ROWS_poincare_formulas(X) \
        HORO_ROWS_lorentz_formulas(X) HORO_ROWS_klein(X) HORO_ROWS_stereographic(X)                   \
            HORO_ROWS_poincare_gap(X) HORO_ROWS_wrapped_normal(X)

// clang-format on
