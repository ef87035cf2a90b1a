// Every row operation there is. Adding one means writing its struct and its line here; the C ABI, the CPU and
// CUDA engines, the Java bindings and the tests find it by its name.
#pragma once
#include "geometry/optimizers.h"
#include "geometry/poincare.h"

#define HORO_ROW_OPERATIONS(X)  \
    X(poincare::MobiusAdd)      \
    X(poincare::MobiusAddVjp)   \
    X(poincare::Expmap)         \
    X(poincare::ExpmapVjp)      \
    X(poincare::Logmap)         \
    X(poincare::LogmapVjp)      \
    X(poincare::Expmap0)        \
    X(poincare::Expmap0Vjp)     \
    X(poincare::Logmap0)        \
    X(poincare::Logmap0Vjp)     \
    X(poincare::Dist)           \
    X(poincare::DistVjp)        \
    X(poincare::Egrad2rgrad)    \
    X(poincare::Egrad2rgradVjp) \
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
