// Takes the place of native/geometry/operations.h in the build of test_example: the example alone.
#pragma once
#include "norm.h"

#define HORO_ROWS_example(X) \
    X(poincare::Norm)        \
    X(poincare::NormVjp)

#define HORO_ROW_FAMILIES(F) F(example)

#define HORO_ROW_OPERATIONS(X) HORO_ROWS_example(X)
