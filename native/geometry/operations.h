// Every row operation there is, by family: the operations of one header. Adding one means writing its struct
// and its line here; the C ABI, the CPU and CUDA engines, the Java bindings and the tests find it by its
// name. A new family is a header, its list, its name in HORO_ROW_FAMILIES, and the same in
// native/CMakeLists.txt.
#pragma once
#if defined(HORO_ROW_HEADER)  // a build of one family
#include HORO_ROW_HEADER
#else
#include "geometry/lorentz.h"
#include "geometry/optimizers.h"
#include "geometry/poincare.h"
#endif

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

#define HORO_ROW_FAMILIES(F) F(poincare) F(lorentz) F(optimizers)

#define HORO_ROW_OPERATIONS(X) HORO_ROWS_poincare(X) HORO_ROWS_lorentz(X) HORO_ROWS_optimizers(X)
