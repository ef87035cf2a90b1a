// The CUDA kernels beyond row operations, compiled for the host and run thread by thread, against the CPU's:
// every access checked for alignment and bounds. Says nothing of what nvcc makes of them.
#include "cuda_attention_cases.h"
#include "cuda_layer_cases.h"
#include "cuda_low_rank_cases.h"
#include "emulate.h"
#include "kernels.h"

namespace {

class Emulated final : public cases::Side {
  public:
    Emulated() {
        kernels.layers = horo::cuda::layers();
        kernels.low_rank_f32 = horo::cuda::low_rank_f32();
        kernels.low_rank_f64 = horo::cuda::low_rank_f64();
        kernels.attention_f32 = horo::cuda::attention_f32();
        kernels.attention_f64 = horo::cuda::attention_f64();
    }

    char* up(const void* contents, size_t bytes, size_t from, size_t to) override {
        char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
        std::memcpy(memory, contents, bytes);
        const uintptr_t base = reinterpret_cast<uintptr_t>(memory);
        horo::emulate::memory().emplace_back(base + from, base + to);
        return memory;
    }
    void down(void* to, const char* from, size_t bytes) override { std::memcpy(to, from, bytes); }
    void release(char* memory) override {
        auto& ranges = horo::emulate::memory();
        const uintptr_t base = reinterpret_cast<uintptr_t>(memory);
        for (size_t i = 0; i < ranges.size(); ++i)
            if (ranges[i].first >= base && ranges[i].first < base + 256) {
                ranges.erase(ranges.begin() + static_cast<int64_t>(i));
                break;
            }
        std::free(memory);
    }
};

}  // namespace

int main() {
    Emulated side;
    cases::layers(side);
    cases::low_rank(side);
    cases::attentions(side);
    return check_result();
}
