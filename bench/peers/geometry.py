#!/usr/bin/env python3
"""Times the row operations against geoopt's formulas in PyTorch, taking turns in one process.

usage: geometry.py LIBHOROSPHERE [--threads N] [--mib N] [--rounds N] [--json FILE]

The formulas and guards are those of geoopt 0.5 (commit 07598cd), written out for a ball of curvature -c and for
the hyperboloid of curvature -1/k; geoopt itself is not needed. Ours is forward, and the .vjp operation for the
gradient; theirs is forward under no_grad, and forward + autograd for the gradient, of which the forward time is
not taken off: that is what a training step pays on either side (ours: the two operations).
"""
import argparse
import ctypes
import json
import math
import time

import torch

MIN_NORM = 1e-15


def artanh(x):
    x = x.clamp(-1 + 1e-7, 1 - 1e-7)
    return 0.5 * (torch.log(1 + x) - torch.log(1 - x))


def tanh(x):
    return x.clamp(-15, 15).tanh()


def norm(x):
    return x.norm(dim=-1, keepdim=True, p=2).clamp_min(MIN_NORM)


def lambda_x(x, c):
    return 2 / (1 - c * x.pow(2).sum(dim=-1, keepdim=True)).clamp_min(MIN_NORM)


def mobius_add(x, y, c):
    x2 = x.pow(2).sum(dim=-1, keepdim=True)
    y2 = y.pow(2).sum(dim=-1, keepdim=True)
    xy = (x * y).sum(dim=-1, keepdim=True)
    top = (1 + 2 * c * xy + c * y2) * x + (1 - c * x2) * y
    return top / (1 + 2 * c * xy + c**2 * x2 * y2).clamp_min(MIN_NORM)


def expmap(x, u, c):
    n, root = norm(u), math.sqrt(c)
    return mobius_add(x, tanh(root * lambda_x(x, c) * n / 2) / root * (u / n), c)


def logmap(x, y, c):
    w = mobius_add(-x, y, c)
    n, root = norm(w), math.sqrt(c)
    return 2 / lambda_x(x, c) * artanh(root * n) / root * (w / n)


def dist(x, y, c):
    root = math.sqrt(c)
    return 2 / root * artanh(root * mobius_add(-x, y, c).norm(dim=-1, p=2))


def egrad2rgrad(x, g, c):
    return g / lambda_x(x, c) ** 2


def gyration(u, v, w, c):
    u2 = u.pow(2).sum(dim=-1, keepdim=True)
    v2 = v.pow(2).sum(dim=-1, keepdim=True)
    uv = (u * v).sum(dim=-1, keepdim=True)
    uw = (u * w).sum(dim=-1, keepdim=True)
    vw = (v * w).sum(dim=-1, keepdim=True)
    k = -c
    a = -(k**2) * uw * v2 - k * vw + 2 * k**2 * uv * vw
    b = -(k**2) * vw * u2 + k * uw
    d = 1 - 2 * k * uv + k**2 * u2 * v2
    return w + 2 * (a * u + b * v) / d.clamp_min(MIN_NORM)


def ptransp(x, y, v, c):
    return gyration(y, -x, v, c) * lambda_x(x, c) / lambda_x(y, c)


def lorentz_inner(x, y, keepdim=False):
    xy = x * y
    return -xy.narrow(-1, 0, 1).sum(dim=-1, keepdim=keepdim) + xy.narrow(-1, 1, xy.shape[-1] - 1).sum(
        dim=-1, keepdim=keepdim
    )


def lorentz_dist(x, y, k):
    z = -lorentz_inner(x, y) / k
    wide = z.double()
    return math.sqrt(k) * torch.log(wide + torch.sqrt((wide * wide - 1).clamp_min(1e-15))).to(z.dtype)


def lorentz_project(x, k):
    space = x.narrow(-1, 1, x.shape[-1] - 1)
    return torch.cat([torch.sqrt(k + space.pow(2).sum(dim=-1, keepdim=True)), space], dim=-1)


def lorentz_expmap(x, u, k):
    u = u + lorentz_inner(x, u, keepdim=True) * x / k
    n = torch.sqrt(lorentz_inner(u, u, keepdim=True).clamp_min(1e-8)) / math.sqrt(k)
    return lorentz_project(torch.cosh(n) * x + torch.sinh(n) / n * u, k)


# name, formula, kinds of the inputs, kind of the output
OPERATIONS = [
    ("poincare.mobius_add", mobius_add, "pp", "row"),
    ("poincare.expmap", expmap, "pv", "row"),
    ("poincare.logmap", logmap, "pp", "row"),
    ("poincare.dist", dist, "pp", "scalar"),
    ("poincare.egrad2rgrad", egrad2rgrad, "pv", "row"),
    ("poincare.ptransp", ptransp, "ppv", "row"),
    ("lorentz.dist", lorentz_dist, "hh", "scalar"),
    ("lorentz.expmap", lorentz_expmap, "ht", "ambient"),
]


class Library:
    def __init__(self, path, threads):
        self.lib = ctypes.CDLL(path)
        self.lib.horo_last_error.restype = ctypes.c_char_p
        pointer, long, double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        self.lib.horo_row_op.argtypes = (
            [ctypes.c_int32, ctypes.c_int32, long, long] + [pointer, long] * 8 + [double] * 6 + [pointer]
        )
        self.exec = ctypes.c_void_p()
        self.check(self.lib.horo_exec_create(-1, threads, None, ctypes.byref(self.exec)))

    def check(self, status):
        if status:
            raise RuntimeError(self.lib.horo_last_error().decode())

    def call(self, name, rows, dim, inputs, outputs, c):
        """A function that runs the operation on contiguous float32 tensors."""
        code = ctypes.c_int32()
        self.check(self.lib.horo_op_find(name.encode(), ctypes.byref(code)))

        def operands(tensors):
            row = [a for t in tensors for a in (t.data_ptr(), t.shape[-1])]
            return row + [None, 0] * (4 - len(tensors))

        arguments = operands(inputs) + operands(outputs)
        keep = (inputs, outputs)

        def run():
            self.check(
                self.lib.horo_row_op(code, 0, rows, dim, *arguments, c, 0, 0, 0, 0, 0, self.exec) if keep else 1
            )

        return run


def points(kind, rows, dim, c, generator):
    x = torch.randn(rows, dim, generator=generator)
    x *= 0.6 * torch.rand(rows, 1, generator=generator) / x.norm(dim=-1, keepdim=True) / math.sqrt(c)
    if kind in "pv":
        return x
    if kind == "h":
        return torch.cat([torch.sqrt(c + x.pow(2).sum(dim=-1, keepdim=True)), x], dim=-1)
    return torch.cat([torch.zeros(rows, 1), x], dim=-1)


def best_of(calls, rounds, threads):
    clock = time.thread_time if threads == 1 else time.perf_counter  # the machine may be shared
    best = [math.inf] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = clock()
            call()
            best[i] = min(best[i], clock() - start)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mib", type=int, default=16, help="size of each operand, default 16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 8, 32, 128, 1024])
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    library = Library(options.library, options.threads)
    generator = torch.Generator().manual_seed(1)
    c = 1.25
    results = []
    print(f"{'operation':22} {'dim':>5} {'rows':>8}  {'forward ms':>10} {'torch':>8} {'x':>6}  "
          f"{'fwd+grad ms':>11} {'torch':>8} {'x':>6}  largest difference")
    for name, formula, kinds, result in OPERATIONS:
        for dim in options.dims:
            rows = (options.mib << 20) // (4 * dim)
            inputs = [points(kind, rows, dim, c, generator) for kind in kinds]
            if "t" in kinds:  # tangent at the point
                x, v = inputs
                v[:, 0] = (x[:, 1:] * v[:, 1:]).sum(dim=-1) / x[:, 0]
            width = {"row": dim, "ambient": dim + 1, "scalar": 1}[result]
            out = torch.empty(rows, width)
            cotangent = torch.randn(rows, width, generator=generator)
            gradients = [torch.empty_like(x) for x in inputs] + [torch.empty(rows, 1)]
            forward = library.call(name, rows, dim, inputs, [out], c)
            vjp = library.call(name + ".vjp", rows, dim, [*inputs, cotangent], gradients, c)
            leaves = [x.clone().requires_grad_() for x in inputs]

            def torch_forward():
                with torch.no_grad():
                    return formula(*inputs, c)

            def torch_both():
                y = formula(*leaves, c)
                return torch.autograd.grad(y, leaves, cotangent.reshape(y.shape))

            def both():
                forward()
                vjp()

            forward()
            theirs = torch_forward().reshape(out.shape)
            difference = ((out - theirs).norm() / theirs.norm()).item()
            ours_f, torch_f, ours_b, torch_b = best_of(
                [forward, torch_forward, both, torch_both], options.rounds, options.threads
            )
            print(f"{name:22} {dim:5} {rows:8}  {1e3 * ours_f:10.2f} {1e3 * torch_f:8.1f} {torch_f / ours_f:6.1f}  "
                  f"{1e3 * ours_b:11.2f} {1e3 * torch_b:8.1f} {torch_b / ours_b:6.1f}  {difference:.1e}", flush=True)
            results.append({"bench": "peers/geometry", "op": name, "dim": dim, "rows": rows,
                            "forward_factor": torch_f / ours_f, "forward_vjp_factor": torch_b / ours_b})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"threads": options.threads, "torch": torch.__version__, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
