#include <cstring>

#include "check.h"
#include "horosphere/horo.h"

int main() {
    CHECK(horo_abi_version() == HORO_ABI_VERSION);
    CHECK(std::strlen(horo_version()) > 0);

    horo_exec* exec = nullptr;
    CHECK(horo_exec_create(-1, 3, nullptr, &exec) == HORO_OK);
    CHECK(horo_exec_threads(exec) == 3);
    CHECK(horo_exec_destroy(exec) == HORO_OK);
    CHECK(horo_exec_destroy(nullptr) == HORO_OK);
    CHECK(horo_exec_threads(nullptr) >= 1);

    CHECK(horo_exec_create(-2, 0, nullptr, &exec) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "device"), "%s", horo_last_error());
    CHECK(horo_exec_create(-1, -1, nullptr, &exec) == HORO_INVALID_ARGUMENT);
    CHECK(horo_exec_create(-1, 0, nullptr, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_exec_create(1000, 0, nullptr, &exec) == HORO_NO_DEVICE);
    return check_result();
}
