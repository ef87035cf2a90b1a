// The smallest test harness that says what failed and where.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>

inline int& check_failures() {
    static int failures = 0;
    return failures;
}

#define CHECK(condition, ...)                                                   \
    do {                                                                        \
        if (!(condition)) {                                                     \
            ++check_failures();                                                 \
            std::fprintf(stderr, "%s:%d: %s:", __FILE__, __LINE__, #condition); \
            std::fprintf(stderr, " " __VA_ARGS__);                              \
            std::fputc('\n', stderr);                                           \
        }                                                                       \
    } while (0)

inline int check_result() {
    if (check_failures()) std::fprintf(stderr, "%d checks failed\n", check_failures());
    return check_failures() ? 1 : 0;
}
