// Philox4x32-10: random bits as a function of a counter and a key, so that any part of a sequence can be made
// by itself. J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
#pragma once
#include "geometry/lanes.h"

namespace horo {

struct PhiloxBlock {
    uint32_t word[4];
};

HORO_HD PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
    uint32_t* c = counter.word;
    for (int round = 0; round < 10; ++round) {
        const uint64_t p = uint64_t{0xd2511f53} * c[0], q = uint64_t{0xcd9e8d57} * c[2];
        const uint32_t c1 = c[1], c3 = c[3];
        c[0] = static_cast<uint32_t>(q >> 32) ^ c1 ^ key0;
        c[1] = static_cast<uint32_t>(q);
        c[2] = static_cast<uint32_t>(p >> 32) ^ c3 ^ key1;
        c[3] = static_cast<uint32_t>(p);
        key0 += 0x9e3779b9;
        key1 += 0xbb67ae85;
    }
    return counter;
}

}  // namespace horo
