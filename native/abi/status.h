// Status codes with text: every entry point returns through these.
#pragma once
#include <cstdint>

#include "horosphere/horo.h"

namespace horo {

// Stores the text of a failure for horo_last_error() and returns its status.
int32_t fail(int32_t status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Runs an entry point's body; an exception that escapes it becomes a status, so none crosses the ABI.
template <class Body>
int32_t guarded(Body&& body) noexcept;

int32_t fail_exception() noexcept;

template <class Body>
int32_t guarded(Body&& body) noexcept {
    try {
        return body();
    } catch (...) {
        return fail_exception();
    }
}

}  // namespace horo

// Returns from the enclosing function with HORO_INVALID_ARGUMENT unless the condition holds.
#define HORO_REQUIRE(condition, ...)                                               \
    do {                                                                           \
        if (!(condition)) return ::horo::fail(HORO_INVALID_ARGUMENT, __VA_ARGS__); \
    } while (0)
