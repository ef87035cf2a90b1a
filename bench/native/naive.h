/* The textbook formulas as one writes them in C: float, one row after the other, contiguous. */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
void naive_mobius_add(int64_t rows, int64_t dim, const float* x, const float* y, float* out, float c);
void naive_expmap(int64_t rows, int64_t dim, const float* x, const float* v, float* out, float c);
void naive_logmap(int64_t rows, int64_t dim, const float* x, const float* y, float* out, float c);
void naive_dist(int64_t rows, int64_t dim, const float* x, const float* y, float* out, float c);
void naive_egrad2rgrad(int64_t rows, int64_t dim, const float* x, const float* g, float* out, float c);
#ifdef __cplusplus
}
#endif
