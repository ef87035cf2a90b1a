// Takes the place of native/geometry/operations.h in the build of test_example: the example alone.
#pragma once
#include "kinetic_energy.h"

#define HORO_ROWS_example(X)          \
    X(Apply<poincare::KineticEnergy>) \
    X(Gradient<poincare::KineticEnergy>)

#define HORO_ROW_FAMILIES(F) F(example)

#define HORO_ROW_OPERATIONS(X) HORO_ROWS_example(X)
