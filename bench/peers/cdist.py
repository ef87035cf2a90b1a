"""Distances between all points of two sets of the Poincare ball and the hyperboloid: this library beside PyTorch.

    python bench/peers/cdist.py path/to/libhorosphere.so [--sizes 1000x16 1000x128] [--repeats 5]

Peers: the formula of geoopt on broadcast rows, which makes the (n, m, dim) temporary; and the fastest PyTorch allows,
Euclidean distances from a matrix product (torch.cdist) put into the formula, which loses close pairs. Calls take
turns on one thread; the best processor time of each counts. `rate`: our arithmetic, 2 n m dim pairs of operations (a
subtraction and a multiply-add per coordinate, in float64 whatever the storage), per second over the multiply-adds per
second of numpy's float64 matrix product. Errors are the largest relative ones against 50 digits on a few close pairs at
norm 0.999 or radius 5.
"""
import argparse
import ctypes
import os
import time

for name in ("HORO_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import torch
from mpmath import mp, mpf

I64, F64, I32, PTR = ctypes.c_int64, ctypes.c_double, ctypes.c_int32, ctypes.c_void_p


def library(path):
    lib = ctypes.CDLL(path)
    lib.horo_cdist.argtypes = [I32, I32, I64, I64, I64, PTR, I64, PTR, I64, F64, I32, PTR, I64, PTR]
    lib.horo_cdist_vjp.argtypes = [I32, I32, I64, I64, I64, PTR, I64, PTR, I64, F64, I32, PTR, I64, PTR, I64, PTR, I64,
                                   PTR, PTR]
    lib.horo_last_error.restype = ctypes.c_char_p
    return lib


def native(lib, model, x, out):
    n, width = x.shape
    dtype = 0 if x.dtype == np.float32 else 1
    if lib.horo_cdist(model, dtype, n, n, width - model, x.ctypes.data, width, x.ctypes.data, width, 1.0, 0,
                      out.ctypes.data, n, None):
        raise RuntimeError(lib.horo_last_error().decode())


def native_vjp(lib, model, x, g, g_x, g_y):
    n, width = x.shape
    dtype = 0 if x.dtype == np.float32 else 1
    if lib.horo_cdist_vjp(model, dtype, n, n, width - model, x.ctypes.data, width, x.ctypes.data, width, 1.0, 0,
                          g.ctypes.data, n, g_x.ctypes.data, width, g_y.ctypes.data, width, None, None):
        raise RuntimeError(lib.horo_last_error().decode())


def broadcast(model, x):
    a, b = x[:, None], x[None]
    if model:
        return torch.arccosh((a[..., 0] * b[..., 0] - (a[..., 1:] * b[..., 1:]).sum(-1)).clamp_min(1 + 1e-7))
    xx, yy, xy = (a * a).sum(-1), (b * b).sum(-1), -(a * b).sum(-1)
    top = (1 + 2 * xy + yy)[..., None] * -a + (1 - xx)[..., None] * b
    w = top / (1 + 2 * xy + xx * yy).clamp_min(1e-15)[..., None]
    return 2 * torch.atanh(w.norm(dim=-1).clamp_max(1 - 1e-7))


def product(model, x):
    if model:
        y = x.clone()
        y[:, 0] *= -1
        return torch.arccosh((-(x @ y.T)).clamp_min(1 + 1e-7))
    gap = 1 - (x * x).sum(-1)
    d = torch.cdist(x, x, compute_mode="use_mm_for_euclid_dist")
    return 2 * torch.asinh(d / torch.sqrt(gap[:, None] * gap[None]))


def points(model, n, dim, dtype, rng):
    v = rng.standard_normal((n, dim))
    v /= np.linalg.norm(v, axis=1)[:, None]
    v *= rng.uniform(0.1, 0.9, (n, 1))
    if not model:
        return v.astype(dtype)
    s = (4 * v).astype(dtype)
    return np.concatenate([np.sqrt(1 + (s.astype(float) ** 2).sum(1, keepdims=True)), s], 1).astype(dtype)


def exact(model, x, y):
    x, y = [mpf(float(v)) for v in x], [mpf(float(v)) for v in y]
    dot = lambda a, b: mp.fsum(p * q for p, q in zip(a, b))
    if model:
        x, y = x[1:], y[1:]
        return mp.acosh(mp.sqrt(1 + dot(x, x)) * mp.sqrt(1 + dot(y, y)) - dot(x, y))
    d = [p - q for p, q in zip(x, y)]
    return 2 * mp.asinh(mp.sqrt(dot(d, d) / ((1 - dot(x, x)) * (1 - dot(y, y)))))


def close_error(model, function, dtype, rng):
    x = points(model, 1, 16, np.float64, rng)
    s = x[:, model:] / np.linalg.norm(x[:, model:]) * (0.999 if not model else np.sinh(5))
    s = s * (1 + 1e-4 * rng.standard_normal((8, 16)))
    x = (s if not model else np.concatenate([np.sqrt(1 + (s ** 2).sum(1, keepdims=True)), s], 1)).astype(dtype)
    got = function(x)
    return max(abs(float(mpf(float(got[i, j])) / exact(model, x[i], x[j]) - 1)) for i in range(8) for j in range(i))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--sizes", nargs="+", default=["1000x16", "1000x128"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    mp.dps = 50
    torch.set_num_threads(1)
    lib = library(args.library)
    rng = np.random.default_rng(0)
    print("model dtype n x dim | ms: ours, vjp, broadcast, product | ratio broadcast, product | rate | close-pair error")
    a = torch.rand(1024, 1024, dtype=torch.float64)
    rate = max(2 * 1024 ** 3 / elapsed(lambda: a @ a) for _ in range(10))
    for model in (0, 1):
        for dtype in (np.float32, np.float64):
            for size in args.sizes:
                n, dim = map(int, size.split("x"))
                x = points(model, n, dim, dtype, rng)
                t, out, g = torch.from_numpy(x), np.empty((n, n), dtype), np.ones((n, n), dtype)
                g_x, g_y = np.empty_like(x), np.empty_like(x)
                calls = [lambda: native(lib, model, x, out), lambda: native_vjp(lib, model, x, g, g_x, g_y),
                         lambda: broadcast(model, t), lambda: product(model, t)]
                best = [min(times) for times in zip(*([elapsed(c) for c in calls] for _ in range(args.repeats)))]
                product_time = 4 * n * n * dim / rate

                def ours(points):
                    result = np.empty((len(points), len(points)), dtype)
                    native(lib, model, points, result)
                    return result

                errors = [close_error(model, f, dtype, np.random.default_rng(1)) for f in
                          (ours, lambda p: broadcast(model, torch.from_numpy(p)).numpy(),
                           lambda p: product(model, torch.from_numpy(p)).numpy())]
                print("%s %s %s | %s | %.1f, %.1f | %.2f | %s" % (
                    ("ball", "lorentz")[model], np.dtype(dtype).name, size, ", ".join("%.1f" % (1e3 * b) for b in best),
                    best[2] / best[0], best[3] / best[0], product_time / best[0], ", ".join("%.1e" % e for e in errors)), flush=True)


def elapsed(call):
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
