// Compiled for the base instruction set, without contraction: the variates are the same bits on every
// processor.
#include "cpu/random.h"

#include "cpu/philox.h"
#include "cpu/pool.h"
#include "geometry/math.h"

namespace horo {
namespace {

struct Two {
    double value[2];
};

// Variates 2 n and 2 n + 1 (Box and Muller 1958), each from 53 bits for the radius and 53 for the angle.
Two normal_pair(int64_t n, int64_t seed) {
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

}  // namespace

template <class T>
void normal(int64_t count, double std, int64_t seed, int64_t offset, T* out, const horo_exec& exec) {
    constexpr int64_t chunk = 4096;
    parallel_for(exec, (count + chunk - 1) / chunk, [&](int64_t c) {
        const int64_t end = (c + 1) * chunk < count ? (c + 1) * chunk : count;
        int64_t i = c * chunk;
        if ((offset + i) & 1) {
            out[i] = static_cast<T>(std * normal_pair((offset + i) >> 1, seed).value[1]);
            ++i;
        }
        for (; i < end; i += 2) {
            const Two pair = normal_pair((offset + i) >> 1, seed);
            out[i] = static_cast<T>(std * pair.value[0]);
            if (i + 1 < end) out[i + 1] = static_cast<T>(std * pair.value[1]);
        }
    });
}

template void normal<float>(int64_t, double, int64_t, int64_t, float*, const horo_exec&);
template void normal<double>(int64_t, double, int64_t, int64_t, double*, const horo_exec&);

}  // namespace horo
