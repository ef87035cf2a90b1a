#include "abi/exec.h"

#include <new>

#include "abi/device.h"
#include "abi/status.h"
#include "cpu/pool.h"

namespace horo {

const horo_exec& resolve(const horo_exec* exec) {
    static const horo_exec standard{-1, default_threads(), nullptr};
    return exec ? *exec : standard;
}

}  // namespace horo

extern "C" {

int32_t horo_exec_create(int32_t device, int32_t threads, void* stream, horo_exec** exec) {
    HORO_REQUIRE(exec, "exec: null result pointer");
    *exec = nullptr;
    HORO_REQUIRE(device >= -1, "device: %d, expected -1 (CPU) or a CUDA device number", device);
    HORO_REQUIRE(threads >= 0 && threads <= 1024, "threads: %d, expected 0 to 1024", threads);
    if (device >= 0) {
        const int32_t status = horo::guarded([&] { return horo::check_device(device); });
        if (status != HORO_OK) return status;
    }
    auto* made = new (std::nothrow) horo_exec{device, threads ? threads : horo::default_threads(), stream};
    if (!made) return horo::fail(HORO_OUT_OF_MEMORY, "out of memory");
    *exec = made;
    return HORO_OK;
}

int32_t horo_exec_destroy(horo_exec* exec) {
    delete exec;
    return HORO_OK;
}

int32_t horo_exec_threads(const horo_exec* exec) { return horo::resolve(exec).threads; }
}
