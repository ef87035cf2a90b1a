"""Maps by a matrix (horo_linear) and their gradients beside a matrix product of the same shape.

    python bench/peers/linear.py path/to/libhorosphere.so [--shapes 4096x16x16 4096x128x128] [--repeats 7]

A shape is rows x dim x p. Inner products are summed in float64 whatever the storage, so the floor is numpy's float64
matrix product: once for the map, three times for its gradients (the map's again, by the points, by the matrix). Calls
take turns on one thread; the best processor time of each counts. `share`: the floor's time over ours.
"""
import argparse
import ctypes
import os
import time

for name in ("HORO_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

I64, F64, I32, PTR = ctypes.c_int64, ctypes.c_double, ctypes.c_int32, ctypes.c_void_p
MAPS = {"mobius_matvec": 0, "poincare.mlr": 1, "poincare.dist2plane": 2, "poincare.fc": 3, "lorentz.linear": 4,
        "lorentz.mlr": 5, "lorentz.dist2plane": 6}


def library(path):
    lib = ctypes.CDLL(path)
    head = [I32, I32, I64, I64, I64, PTR, I64, PTR, I64, PTR, F64]
    lib.horo_linear.argtypes = head + [PTR, I64, PTR]
    lib.horo_linear_vjp.argtypes = head + [PTR, I64, PTR, I64, PTR, I64, PTR, PTR, PTR, I64, PTR]
    lib.horo_linear_workspace.argtypes = [I32, I64, I64, ctypes.POINTER(I64)]
    lib.horo_last_error.restype = ctypes.c_char_p
    return lib


def calls(lib, op, dtype, rows, dim, p):
    """The map, its gradients and the product, as functions without arguments."""
    rng = np.random.default_rng(0)
    ambient = int(op >= MAPS["lorentz.linear"])
    x = rng.standard_normal((rows, dim)) * (0.3 / np.sqrt(dim))
    a, b = x.copy(), rng.standard_normal((dim, p))
    if ambient:
        x = np.concatenate([np.sqrt(1 + (x * x).sum(1, keepdims=True)), x], 1)
    x = x.astype(dtype)
    linear = int(op == MAPS["lorentz.linear"])  # the matrix takes the time too, and the result has one
    m = (rng.standard_normal((p, dim + linear)) * 0.2).astype(dtype)
    width = p + linear
    bias = (rng.standard_normal(p) * 0.1).astype(dtype)
    out, g = np.zeros((rows, width), dtype), rng.standard_normal((rows, width)).astype(dtype)
    g_x, g_m, g_bias, g_c = np.zeros_like(x), np.zeros_like(m), np.zeros_like(bias), np.zeros(rows, dtype)
    size = I64()
    lib.horo_linear_workspace(op, rows, p, ctypes.byref(size))
    space = np.zeros(size.value // 8 + 1)

    def given():  # a function, which keeps the arrays
        return (op, int(dtype is np.float64), rows, dim, p, x.ctypes.data, dim + ambient, m.ctypes.data, dim + linear,
                bias.ctypes.data if op else None, 1.0)

    def checked(status):
        if status:
            raise RuntimeError(lib.horo_last_error().decode())

    return (lambda: checked(lib.horo_linear(*given(), out.ctypes.data, width, None)),
            lambda: checked(lib.horo_linear_vjp(*given(), g.ctypes.data, width, g_x.ctypes.data, dim + ambient,
                                                g_m.ctypes.data, dim + linear, g_bias.ctypes.data if op else None,
                                                g_c.ctypes.data, space.ctypes.data, size.value, None)),
            lambda: np.matmul(a, b))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--shapes", nargs="+", default=["4096x16x16", "4096x128x128", "1024x768x768"])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    lib = library(options.library)
    print("map type shape ms gradient_ms product_ms share gradient_share")
    for shape in options.shapes:
        rows, dim, p = map(int, shape.split("x"))
        for name, op in MAPS.items():
            for dtype in (np.float32, np.float64):
                functions = calls(lib, op, dtype, rows, dim, p)
                best = [float("inf")] * 3
                for _ in range(options.repeats):
                    for i, function in enumerate(functions):
                        start = time.thread_time()
                        function()
                        best[i] = min(best[i], time.thread_time() - start)
                ours, back, floor = best
                print(f"{name} {dtype.__name__} {shape} {ours * 1e3:.2f} {back * 1e3:.2f} {floor * 1e3:.2f} "
                      f"{floor / ours:.2f} {3 * floor / back:.2f}", flush=True)


if __name__ == "__main__":
    main()
