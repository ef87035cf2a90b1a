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
    cudaStreamEndCapture(recording, &graph);
    cudaGraphDestroy(graph);
    const bool ran = cases::products(side, [&](const horo::GemmCall& of) {
        const int32_t status = horo::cuda::gemm(0, ordinary, of, &error);
        CHECK(status == HORO_OK, "%d: %s", status, error.text);
        cudaStreamSynchronize(ordinary);
        return status;
    });
    CHECK(ran, "no fake cuBLASLt");
    CHECK(horo::cuda::gemm(0, recording, call, &error) == HORO_OK, "%s", error.text);
    cudaStreamSynchronize(recording);
    cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal);
    // with its workspace made, a capture may hold products
    CHECK(horo::cuda::gemm(0, recording, call, &error) == HORO_OK, "%s", error.text);
    cudaStreamEndCapture(recording, &graph);
    c[63] = 0;
    cudaStreamSynchronize(recording);
    CHECK(c[63] == 0, "a captured product ran");
    cudaGraphLaunch(graph, recording);
    cudaStreamSynchronize(recording);
    CHECK(c[63] == 8, "%g", static_cast<double>(c[63]));
    cudaGraphDestroy(graph);

    // a graph keeps what a float32 matrix was split into, whatever larger one comes after it
    const std::vector<uint16_t> short_ones(512, 0x3f80);
    const cases::Array<float> many(side, std::vector<float>(512, 1));
    std::vector<float> wide(512);
    horo::GemmCall split = call, larger = call;
    split.type = larger.type = HORO_BF16;
    split.wide_a = larger.wide_a = true;
    split.b = larger.b = short_ones.data();
    split.a = larger.a = many.p();
    larger.m = 64, larger.c = wide.data();
    CHECK(horo::cuda::gemm(0, recording, split, &error) == HORO_OK, "%s", error.text);
    cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal);
    CHECK(horo::cuda::gemm(0, recording, split, &error) == HORO_OK, "%s", error.text);
    cudaStreamEndCapture(recording, &graph);
    CHECK(horo::cuda::gemm(0, recording, larger, &error) == HORO_OK, "%s", error.text);
    cudaStreamSynchronize(recording);
    c[63] = 0;
    cudaGraphLaunch(graph, recording);
    cudaStreamSynchronize(recording);
    CHECK(c[63] == 8 && wide[511] == 8, "%g %g", static_cast<double>(c[63]), static_cast<double>(wide[511]));
    cudaGraphDestroy(graph);

    horo::cuda::forget_stream(0, recording);
    cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal);
    CHECK(horo::cuda::gemm(0, recording, call, &error) == HORO_INVALID_ARGUMENT, "%s", error.text);
    cudaStreamEndCapture(recording, &graph);
    cudaGraphDestroy(graph);
    horo::cuda::forget_stream(0, ordinary);
    return check_result();
}
