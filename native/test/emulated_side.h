// Memory of the host that the emulator knows the bounds of.
#pragma once
#include "cuda_cases.h"
#include "emulate.h"

class Emulated : public cases::Side {
  public:
    char* up(const void* contents, size_t bytes, size_t from, size_t to) override {
        char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
        std::memcpy(memory, contents, bytes);
        const uintptr_t base = reinterpret_cast<uintptr_t>(memory);
        horo::emulate::memory()[base + from] = base + to;
        return memory;
    }
    void down(void* to, const char* from, size_t bytes) override { std::memcpy(to, from, bytes); }
    void release(char* memory) override {
        auto& ranges = horo::emulate::memory();
        const auto range = ranges.lower_bound(reinterpret_cast<uintptr_t>(memory));
        if (range != ranges.end() && range->first < reinterpret_cast<uintptr_t>(memory) + 256)
            ranges.erase(range);
        std::free(memory);
    }
};
