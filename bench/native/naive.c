#include "naive.h"

#include <math.h>

static float dot(int64_t dim, const float* x, const float* y) {
    float sum = 0;
    for (int64_t i = 0; i < dim; ++i) sum += x[i] * y[i];
    return sum;
}

/* sign x (+) k y */
static void add(int64_t dim, float sign, const float* x, float k, const float* y, float* out, float c) {
    const float xx = dot(dim, x, x), yy = k * k * dot(dim, y, y), xy = sign * k * dot(dim, x, y);
    const float d = 1 + 2 * c * xy + c * c * xx * yy;
    const float a = sign * (1 + 2 * c * xy + c * yy) / d, b = k * (1 - c * xx) / d;
    for (int64_t i = 0; i < dim; ++i) out[i] = a * x[i] + b * y[i];
}

void naive_mobius_add(int64_t rows, int64_t dim, const float* x, const float* y, float* out, float c) {
    for (int64_t r = 0; r < rows; ++r) add(dim, 1, x + r * dim, 1, y + r * dim, out + r * dim, c);
}

void naive_expmap(int64_t rows, int64_t dim, const float* x, const float* v, float* out, float c) {
    for (int64_t r = 0; r < rows; ++r) {
        const float lambda = 2 / (1 - c * dot(dim, x + r * dim, x + r * dim));
        const float n = sqrtf(c * dot(dim, v + r * dim, v + r * dim));
        add(dim, 1, x + r * dim, tanhf(lambda * n / 2) / n, v + r * dim, out + r * dim, c);
    }
}

void naive_logmap(int64_t rows, int64_t dim, const float* x, const float* y, float* out, float c) {
    for (int64_t r = 0; r < rows; ++r) {
        float* w = out + r * dim;
        add(dim, -1, x + r * dim, 1, y + r * dim, w, c);
        const float lambda = 2 / (1 - c * dot(dim, x + r * dim, x + r * dim)), n = sqrtf(c * dot(dim, w, w));
        const float k = 2 / lambda * atanhf(n) / n;
        for (int64_t i = 0; i < dim; ++i) w[i] *= k;
    }
}

void naive_dist(int64_t rows, int64_t dim, const float* x, const float* y, float* out, float c) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* p = x + r * dim;
        const float* q = y + r * dim;
        const float xx = dot(dim, p, p), yy = dot(dim, q, q), xy = -dot(dim, p, q);
        const float a = 1 + 2 * c * xy + c * yy, b = 1 - c * xx, d = 1 + 2 * c * xy + c * c * xx * yy;
        float sum = 0;
        for (int64_t i = 0; i < dim; ++i) {
            const float w = (b * q[i] - a * p[i]) / d;
            sum += w * w;
        }
        out[r] = 2 / sqrtf(c) * atanhf(sqrtf(c * sum));
    }
}

void naive_egrad2rgrad(int64_t rows, int64_t dim, const float* x, const float* g, float* out, float c) {
    for (int64_t r = 0; r < rows; ++r) {
        const float lambda = 2 / (1 - c * dot(dim, x + r * dim, x + r * dim));
        for (int64_t i = 0; i < dim; ++i) out[r * dim + i] = g[r * dim + i] / (lambda * lambda);
    }
}
