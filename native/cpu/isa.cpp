#include "cpu/isa.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "horosphere/horo.h"

namespace horo {
namespace {

// __builtin_cpu_supports also checks that the operating system saves the wide registers.
Isa best() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return Isa::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        return Isa::avx2;
#endif
    return Isa::scalar;
}

const char* name(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "scalar"; }

}  // namespace

Isa active_isa() {
    static const Isa isa = [] {
        const Isa limit = best();
        const char* asked = std::getenv("HORO_ISA");
        for (Isa candidate : {Isa::scalar, Isa::avx2})
            if (asked && candidate < limit && std::strcmp(asked, name(candidate)) == 0) return candidate;
        return limit;
    }();
    return isa;
}

}  // namespace horo

extern "C" const char* horo_cpu_isa(void) { return horo::name(horo::active_isa()); }
