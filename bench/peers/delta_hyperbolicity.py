"""Gromov's delta at a fixed base: this library beside NumPy and PyTorch, on the same points.

    python bench/peers/delta_hyperbolicity.py path/to/libhorosphere.so [--n 500 1500] [--dim 64]

The peers compute the max-min product row by row, max over k of min(A[i, None, :], A), which is the fastest form
without a kernel of one's own (the published code makes all n^3 minima at once: 27 GB at n = 1500). All results must
be equal to the last bit.
"""
import argparse
import ctypes
import time

import numpy as np
import torch


def library(path):
    lib = ctypes.CDLL(path)
    i64, ptr, f64, i32 = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double, ctypes.c_int32
    lib.horo_pairwise_distance.argtypes = [i32, i64, i64, ptr, i64, ptr, ptr]
    lib.horo_gromov_product.argtypes = [i64, ptr, i64, ptr, ptr, ptr]
    lib.horo_delta_hyperbolicity.argtypes = [i64, ptr, f64, i32, ptr, ptr]
    lib.horo_delta_hyperbolicity.restype = f64
    lib.horo_cpu_isa.restype = ctypes.c_char_p
    lib.horo_last_error.restype = ctypes.c_char_p
    return lib


def check(lib, status):
    if status:
        raise RuntimeError(lib.horo_last_error().decode())


def native_distances(lib, x):
    n, d = x.shape
    out = np.empty((n, n))
    check(lib, lib.horo_pairwise_distance(1, n, d, x.ctypes.data, d, out.ctypes.data, None))
    return out


def native_gromov(lib, distances):
    n = len(distances)
    out, row = np.empty((n, n)), np.empty(n)
    check(lib, lib.horo_gromov_product(n, distances.ctypes.data, 0, out.ctypes.data, row.ctypes.data, None))
    return out


def native_delta(lib, gromov, exhaustive):
    n = len(gromov)
    workspace = np.empty(2 * n)
    return lib.horo_delta_hyperbolicity(n, gromov.ctypes.data, 0.0, exhaustive, workspace.ctypes.data, None)


def numpy_delta(a):
    return max((np.minimum(a[i], a).max(axis=1) - a[i]).max() for i in range(len(a)))


def torch_delta(a):
    t = torch.from_numpy(a)
    return max(float((torch.minimum(t[i], t).amax(dim=1) - t[i]).max()) for i in range(len(t)))


def best_of(repeats, function):
    """The least wall time, the least processor time of all threads, the result."""
    walls, processors, result = [], [], None
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        result = function()
        walls.append(time.perf_counter() - start)
        processors.append(time.process_time() - start_processor)
    return min(walls), min(processors), result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--n", type=int, nargs="+", default=[500, 1500])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; HORO_THREADS sets ours")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="only what horo inspect runs, for sizes the others take too long for")
    options = parser.parse_args()
    lib = library(options.library)
    torch.set_num_threads(options.threads)
    print(f"numpy {np.__version__}, torch {torch.__version__} ({torch.get_num_threads()} threads), "
          f"horosphere {lib.horo_cpu_isa().decode()}")
    for n in options.n:
        x = np.random.default_rng(1).standard_normal((n, options.dim))
        seconds, _, distances = best_of(options.repeats, lambda: native_distances(lib, x))
        print(f"n {n} dim {options.dim}: distances {seconds:.4f} s")
        gromov = native_gromov(lib, distances)
        rows = [("horosphere", *best_of(options.repeats, lambda: native_delta(lib, gromov, 0)))]
        if not options.no_peers:
            rows += [("horosphere, every pair", *best_of(options.repeats, lambda: native_delta(lib, gromov, 1))),
                     ("numpy", *best_of(1, lambda: numpy_delta(gromov))),
                     ("torch", *best_of(1, lambda: torch_delta(gromov)))]
        for name, seconds, processor, delta in rows:
            assert delta == rows[0][3], (name, delta, rows[0][3])
            print(f"  {name:<24}{seconds:10.4f} s (x {seconds / rows[0][1]:8.1f})   "
                  f"processor {processor:10.4f} s (x {processor / rows[0][2]:8.1f})   delta {float(delta)!r}")


if __name__ == "__main__":
    main()
