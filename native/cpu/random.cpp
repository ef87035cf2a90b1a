// Compiled for the base instruction set, without contraction: the variates are the same bits on every
// processor.
#include "cpu/random.h"

#include "cpu/pool.h"
#include "geometry/normal_variate.h"

namespace horo {

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
            const NormalPair pair = normal_pair((offset + i) >> 1, seed);
            out[i] = static_cast<T>(std * pair.value[0]);
            if (i + 1 < end) out[i + 1] = static_cast<T>(std * pair.value[1]);
        }
    });
}

template void normal<float>(int64_t, double, int64_t, int64_t, float*, const horo_exec&);
template void normal<double>(int64_t, double, int64_t, int64_t, double*, const horo_exec&);

}  // namespace horo
