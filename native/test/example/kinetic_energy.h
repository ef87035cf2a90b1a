#pragma once
#include "geometry/formula.h"

namespace horo {
namespace poincare {

struct KineticEnergy : Rows<0, 2> {  // its vectors are its two input rows, x and v
    static constexpr const char* name = "poincare.kinetic_energy";
    static constexpr const char* signature = "x:row v:row; c -> out:scalar";
    static constexpr const char* doc =
        "lambda_x^2 |v|^2 / 2, of the velocity v at x. Range: c > 0, sqrt(c)|x| < 1.";
    static constexpr int terms = 0;  // no row among the outputs
    static constexpr int dots = 1;   // <x,x> is compensated: the gap needs its last bits
    static constexpr Product products[] = {{0, 0}, {1, 1}};  // <x,x> and <v,v>

    template <class Row>
    HORO_HD static void evaluate(Row& row) {
        const auto lambda = 2.0 / row.gap(Index<0>());  // 1 - c<x,x>, exact close to the rim
        row.result(0, 0.5 * lambda * lambda * row.sum(Index<1>()));
    }
};

}  // namespace poincare
}  // namespace horo
