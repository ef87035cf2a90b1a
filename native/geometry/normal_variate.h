// Standard normal variates as a function of a seed and a position. Arithmetic, square roots and bit
// operations alone, so compiled without contraction it gives the same bits everywhere.
#pragma once
#include "geometry/math.h"
#include "geometry/philox.h"

namespace horo {

struct NormalPair {
    double value[2];
};

// Variates 2 n and 2 n + 1 (Box and Muller 1958), each from 53 bits for the radius and 53 for the angle.
HORO_HD NormalPair normal_pair(int64_t n, int64_t seed) {
    const uint64_t key = static_cast<uint64_t>(seed), at = static_cast<uint64_t>(n);
    const PhiloxBlock b = philox({{static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), 0, 0}},
                                 static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
    const uint64_t x = uint64_t{b.word[1]} << 32 | b.word[0], y = uint64_t{b.word[3]} << 32 | b.word[2];
    const double u = static_cast<double>((x >> 11) + 1) * 0x1p-53;  // in (0, 1]
    const double turn = static_cast<double>(y >> 11) * (0x1p-53 * 6.283185307179586);
    // -ln u = 2 asinh((1 - u) / (2 sqrt(u))), exact also where u is close to 1
    const double z = (1.0 - u) / (2.0 * square_root(u));
    const double radius = square_root(4.0 * z * asinh_parts(z * z).ratio);
    const SineParts<double> p = sine_parts(turn * turn);
    return {{radius * p.cos, radius * (turn * p.ratio)}};
}

}  // namespace horo
