// Devices as a machine with and without them must behave. Run also with HORO_DISABLE_CUDA and with an empty
// HORO_BACKEND_DIR, where the outcome is the same on every machine.
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "check.h"
#include "horosphere/horo.h"

int main() {
    int32_t count = -1;
    CHECK(horo_device_count(&count) == HORO_OK);
    CHECK(horo_device_count(nullptr) == HORO_INVALID_ARGUMENT);
    std::printf("%d CUDA devices%s%s\n", count, count ? "" : ": ", horo_device_reason());
    CHECK((count == 0) == (std::strlen(horo_device_reason()) > 0));
    if (std::getenv("HORO_DISABLE_CUDA"))
        CHECK(count == 0 && std::strstr(horo_device_reason(), "HORO_DISABLE_CUDA"));
    if (std::getenv("HORO_BACKEND_DIR"))
        CHECK(count == 0 && std::strstr(horo_device_reason(), "no libhorosphere_cuda.so in"));

    const auto none = [&](int32_t status) {
        CHECK(status == HORO_NO_DEVICE, "status %d", status);
        CHECK(std::strstr(horo_last_error(), "no CUDA device"), "%s", horo_last_error());
        if (count == 0) CHECK(std::strstr(horo_last_error(), horo_device_reason()), "%s", horo_last_error());
    };
    const int32_t missing = count;
    char text[64];
    float number = 0;
    void* address = &number;
    horo_exec* exec = nullptr;
    none(horo_exec_create(missing, 0, nullptr, &exec));
    CHECK(!exec);
    none(horo_device_name(missing, text, sizeof text));
    none(horo_device_allocate(missing, 4, &address));
    CHECK(!address);
    int64_t bytes = 0;
    none(horo_device_memory(missing, &bytes, &bytes));
    none(horo_device_free(missing, &number));
    none(horo_device_copy_async(missing, &number, &number, 4, nullptr));
    none(horo_pinned_allocate(missing, 4, &address));
    CHECK(!address);
    none(horo_pinned_free(missing, &number));
    none(horo_device_copy(missing, &number, &number, 4, nullptr));
    none(horo_stream_create(missing, &address));
    none(horo_stream_destroy(missing, &number));
    none(horo_stream_synchronize(missing, nullptr));
    none(horo_stream_begin_capture(missing, &number));
    none(horo_stream_end_capture(missing, &number, &address));
    CHECK(!address);
    none(horo_graph_launch(missing, &number, nullptr));
    none(horo_graph_destroy(missing, &number));

    CHECK(horo_device_free(missing, nullptr) == HORO_OK);
    CHECK(horo_pinned_free(missing, nullptr) == HORO_OK);
    CHECK(horo_stream_destroy(missing, nullptr) == HORO_OK);
    CHECK(horo_graph_destroy(missing, nullptr) == HORO_OK);
    CHECK(horo_device_copy(missing, nullptr, nullptr, 0, nullptr) == HORO_OK);
    for (int32_t status :
         {horo_device_name(missing, nullptr, 64), horo_device_name(missing, text, 0),
          horo_device_allocate(missing, 0, &address), horo_device_allocate(missing, 4, nullptr),
          horo_device_copy(missing, nullptr, &number, 4, nullptr),
          horo_device_copy(missing, &number, nullptr, 4, nullptr),
          horo_device_copy(missing, &number, &number, -1, nullptr), horo_stream_create(missing, nullptr),
          horo_device_name(-1, text, 64), horo_device_memory(missing, nullptr, &bytes),
          horo_device_copy_async(missing, nullptr, &number, 4, nullptr),
          horo_stream_begin_capture(missing, nullptr), horo_stream_end_capture(missing, nullptr, &address),
          horo_stream_end_capture(missing, &number, nullptr), horo_graph_launch(missing, nullptr, nullptr),
          horo_pinned_allocate(missing, 0, &address), horo_pinned_allocate(missing, 4, nullptr)})
        CHECK(status == HORO_INVALID_ARGUMENT, "status %d", status);
    return check_result();
}
