#include "abi/status.h"

#include <cstdarg>
#include <cstdio>
#include <exception>
#include <new>

namespace horo {
namespace {
thread_local char last_error[512];
}

int32_t fail(int32_t status, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

int32_t fail_exception() noexcept {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return fail(HORO_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& e) {
        return fail(HORO_INTERNAL, "%s", e.what());
    } catch (...) {
        return fail(HORO_INTERNAL, "unknown failure");
    }
}

}  // namespace horo

extern "C" {

int32_t horo_abi_version(void) { return HORO_ABI_VERSION; }

const char* horo_version(void) { return HORO_VERSION_STRING; }

const char* horo_last_error(void) { return horo::last_error; }
}
