// The CUDA kernels beyond row operations, compiled for the host and run thread by thread, against the CPU's:
// every access checked for alignment and bounds. Says nothing of what nvcc makes of them.
#include "cuda_attention_cases.h"
#include "cuda_layer_cases.h"
#include "cuda_low_rank_cases.h"
#include "cuda_set_cases.h"
#include "emulated_side.h"
#include "kernels.h"

namespace {

class Kernels final : public Emulated {
  public:
    Kernels() {
        kernels.layers = horo::cuda::layers();
        kernels.low_rank_f32 = horo::cuda::low_rank_f32();
        kernels.low_rank_f64 = horo::cuda::low_rank_f64();
        kernels.attention[HORO_F32] = horo::cuda::attention_f32();
        kernels.attention[HORO_F64] = horo::cuda::attention_f64();
        kernels.attention[HORO_BF16] = horo::cuda::attention_bf16();
        kernels.attention[HORO_F16] = horo::cuda::attention_f16();
        kernels.pairs = horo::cuda::pairs();
        kernels.sets = horo::cuda::sets();
        kernels.linear = horo::cuda::linear();
        kernels.random = horo::cuda::random();
    }
};

}  // namespace

int main() {
    Kernels side;
    cases::layers(side);
    cases::low_rank(side);
    cases::attentions(side);
    cases::sets(side);
    return check_result();
}
