// How cuda/products.cpp calls cuBLASLt, with a fake of it and of the runtime on the host (fake/).
#include <cuda_runtime.h>

#include "cuda_product_cases.h"
#include "emulated_side.h"
#include "products.h"

int main(int, char** words) {
    Emulated side;
    cudaStream_t recording = nullptr, ordinary = nullptr;
    cudaGraph_t graph = nullptr;
    cudaStreamCreateWithFlags(&recording, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&ordinary, cudaStreamNonBlocking);
    cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal);
    horo::CudaError error{};
    const std::vector<float> ones(64, 1);
    std::vector<float> c(64);
    const horo::GemmCall call{0, 0, 8, 8, 8, 1, HORO_F32, ones.data(), 8, ones.data(), 8, 0, c.data(), 8};
    const char* chosen = std::getenv("HORO_CUBLASLT");
    const int32_t first = horo::cuda::gemm(0, recording, call, &error);
    if (chosen && std::strstr(chosen, "none")) {
        CHECK(first == HORO_UNSUPPORTED && std::strstr(error.text, "HORO_CUBLASLT"), "%d: %s", first,
              error.text);
        return check_result();
    }
    CHECK(first == HORO_INVALID_ARGUMENT && std::strstr(error.text, "captured"), "%s: %d: %s", words[0],
          first, error.text);
    const bool ran = cases::products(side, [&](const horo::GemmCall& of) {
        const int32_t status = horo::cuda::gemm(0, ordinary, of, &error);
        CHECK(status == HORO_OK, "%d: %s", status, error.text);
        cudaStreamSynchronize(ordinary);
        return status;
    });
    CHECK(ran, "no fake cuBLASLt");
    cudaStreamEndCapture(recording, &graph);
    CHECK(horo::cuda::gemm(0, recording, call, &error) == HORO_OK, "%s", error.text);
    cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal);
    // with its workspace made, a capture may hold products
    CHECK(horo::cuda::gemm(0, recording, call, &error) == HORO_OK && c[63] == 8, "%s", error.text);
    horo::cuda::forget_stream(0, recording);
    CHECK(horo::cuda::gemm(0, recording, call, &error) == HORO_INVALID_ARGUMENT, "%s", error.text);
    horo::cuda::forget_stream(0, ordinary);
    return check_result();
}
