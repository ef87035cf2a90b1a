// oneDNN, opened at run time; the only file that knows its C interface.
#pragma once
#include <cstdint>

namespace horo {

// Loads oneDNN from a file; returns nullptr or the reason it failed (thread-local or static storage). Once it
// has succeeded, further calls do nothing.
const char* load_dnnl(const char* path);

// "onednn 3.11", nullptr while none is loaded. Static storage.
const char* dnnl_name();

// A product on the calling thread; element (i, p) of A is a[i * a_row + p * a_col], one of the two strides
// is 1, and likewise B. Returns 0, or oneDNN's status. Only while dnnl_name() is not null.
int dnnl_f32(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t a_row, int64_t a_col,
             const float* b, int64_t b_row, int64_t b_col, float beta, float* c, int64_t ldc);
int dnnl_bf16(int64_t m, int64_t n, int64_t k, const uint16_t* a, int64_t a_row, int64_t a_col,
              const uint16_t* b, int64_t b_row, int64_t b_col, float beta, float* c, int64_t ldc);

// Has the library what dnnl_bf16 needs?
bool dnnl_has_bf16();

}  // namespace horo
