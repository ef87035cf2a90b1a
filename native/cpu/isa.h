// Which instruction set runs. Files compiled once per set put their code in namespace HORO_ISA_NAMESPACE and
// export one table of function pointers each; `select` picks the table of the active set.
#pragma once

namespace horo {

enum class Isa { scalar, avx2, avx512 };

// The best set the CPU and the operating system support, or a lower one asked for by HORO_ISA.
Isa active_isa();

template <class Table>
const Table& select(const Table& scalar, const Table& avx2, const Table& avx512) {
    switch (active_isa()) {
        case Isa::avx512:
            return avx512;
        case Isa::avx2:
            return avx2;
        default:
            return scalar;
    }
}

}  // namespace horo
