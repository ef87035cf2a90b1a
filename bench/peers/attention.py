"""Attention of libhorosphere, plain and with mixed maps, beside PyTorch's fused scaled_dot_product_attention.

    python bench/peers/attention.py PATH/libhorosphere.so [--threads 2] [--rounds 5] [--tokens 197 1024 4096] [--json F]
    python bench/peers/attention.py PATH/libhorosphere.so --cuda --dtype bfloat16    # the library of the backend beside it

No mask, tensors of (batch, heads, tokens, dim) for both; the three calls take turns on as many threads, the best of the
rounds counts. PyTorch does not mix: the fused kernel cannot. With --cuda a round is 10 calls between events of PyTorch's
stream, "eager" is mixing by torch.einsum, and more sequences fill the device.
"""

import argparse
import ctypes
import json
import sys
import time

import torch

I64, PTR = ctypes.c_int64, ctypes.c_void_p


def check(lib, status):
    if status:
        lib.horo_last_error.restype = ctypes.c_char_p
        raise SystemExit(lib.horo_last_error().decode())


DTYPES = {"float32": (0, torch.float32), "bfloat16": (2, torch.bfloat16), "float16": (3, torch.float16)}
CALLS = 10  # of a round on a device


class Horosphere:
    def __init__(self, path, threads, dtype, cuda):
        self.lib = ctypes.CDLL(path)
        self.exec = PTR()
        self.dtype = DTYPES[dtype][0]
        stream = PTR(torch.cuda.current_stream().cuda_stream) if cuda else None
        check(self.lib, self.lib.horo_exec_create(
            ctypes.c_int32(0 if cuda else -1), ctypes.c_int32(0 if cuda else threads), stream, ctypes.byref(self.exec)))

    def prepare(self, q, k, v, alpha):
        """A call without arguments that returns its output."""
        b, h, n, d = q.shape
        shape = [I64(x) for x in (b, h, h, n, n, d)]
        size = I64()
        mixed = alpha is not None
        check(self.lib, self.lib.horo_attention_workspace(self.exec, self.dtype, *shape, int(mixed), 0, ctypes.byref(size)))
        workspace = torch.zeros(size.value, dtype=torch.uint8, device=q.device)
        out = torch.empty_like(q)
        strides = [I64(x) for x in (h * n * d, d, n * d)]  # batch, token, head
        operands = [x for t in (q, k, v) for x in (PTR(t.data_ptr()), *strides)]
        mix = PTR(alpha.data_ptr()) if mixed else None

        def call():
            check(self.lib, self.lib.horo_attention_forward(
                self.exec, self.dtype, *shape, *operands, mix, ctypes.c_double(d**-0.5), 0, None, PTR(out.data_ptr()), *strides, None,
                PTR(workspace.data_ptr()), size))
            return out

        call.keep = (q, k, v, alpha, workspace)
        return call


def eager(q, k, v, alpha):
    maps = torch.softmax((q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5, -1).to(q.dtype)
    mix = (torch.eye(len(alpha), device=q.device) + alpha).to(q.dtype)
    return torch.einsum("hi,binm->bhnm", mix, maps) @ v


def on_device(call):
    """Milliseconds of CALLS calls on PyTorch's stream, as seconds per call."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e-3 / CALLS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--heads", type=int, nargs="+", default=[8, 12, 32])
    parser.add_argument("--dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--tokens", type=int, nargs="+", default=[197, 1024, 4096])
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # with one thread the processor time: other processes then disturb less
    now = time.thread_time if options.threads == 1 else time.perf_counter
    horo = Horosphere(options.library, options.threads, options.dtype, options.cuda)
    dtype, device = DTYPES[options.dtype][1], "cuda" if options.cuda else "cpu"
    where = torch.cuda.get_device_name() if options.cuda else f"{options.threads} threads"
    generator = torch.Generator().manual_seed(1)
    results = []
    print(f"torch {torch.__version__}, {where}, {options.dtype}; ms, and time over that of SDPA")
    for heads in options.heads:
        for dim in options.dim:
            for tokens in options.tokens:
                batch = 8 if tokens <= 256 and heads < 32 else 1
                if options.cuda:
                    batch = max(1, 2**22 // (heads * tokens * dim))  # 8 MiB of 16-bit queries
                q, k, v = (torch.randn(batch, heads, tokens, dim, generator=generator).to(device, dtype) for _ in range(3))
                alpha = (0.1 * torch.randn(heads, heads, generator=generator)).to(device)
                calls = {
                    "sdpa": lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v),
                    "plain": horo.prepare(q, k, v, None),
                    "mixed": horo.prepare(q, k, v, alpha),
                }
                if options.cuda:
                    calls["eager"] = lambda: eager(q, k, v, alpha)
                with torch.inference_mode():
                    error = (calls["plain"]().float() - calls["sdpa"]().float()).abs().max().item()
                    # float32 sums; with 16 bits maps and results are rounded, of values below 6
                    if not error < {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.0125}[options.dtype]:
                        sys.exit(f"plain attention differs from SDPA by {error}")
                    for call in calls.values():
                        call()
                    best = dict.fromkeys(calls, float("inf"))
                    for _ in range(options.rounds):
                        for name, call in calls.items():
                            if options.cuda:
                                best[name] = min(best[name], on_device(call))
                                continue
                            start = now()
                            call()
                            best[name] = min(best[name], now() - start)
                print(f"{batch} x {heads:2} x {dim:3} x {tokens:4}: " + ", ".join(f"{n} {1e3 * t:8.2f}" for n, t in best.items())
                      + f" | plain {best['plain'] / best['sdpa']:.2f}, mixed {best['mixed'] / best['sdpa']:.2f}", flush=True)
                results.append({"bench": "attention", "dtype": options.dtype, "device": where, "batch": batch, "heads": heads, "dim": dim, "rows": tokens,
                                "floor": "PyTorch SDPA, unmixed", "seconds": best,
                                "ratio": best["mixed"] / best["sdpa"], "plain_ratio": best["plain"] / best["sdpa"]})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"threads": options.threads, "rounds": options.rounds, "torch": torch.__version__, "results": results}, file)


if __name__ == "__main__":
    main()
