"""Attention of libhorosphere, plain and with mixed maps, beside PyTorch's fused scaled_dot_product_attention.

    python bench/peers/attention.py PATH/libhorosphere.so [--threads 2] [--rounds 5] [--tokens 197 1024 4096] [--json F]

float32, no mask, tensors of (batch, heads, tokens, dim) for both; the three calls take turns on as many threads, the best
of the rounds counts. PyTorch does not mix: the fused kernel cannot.
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


class Horosphere:
    def __init__(self, path, threads):
        self.lib = ctypes.CDLL(path)
        self.exec = PTR()
        check(self.lib, self.lib.horo_exec_create(ctypes.c_int32(-1), ctypes.c_int32(threads), None, ctypes.byref(self.exec)))

    def prepare(self, q, k, v, alpha):
        """A call without arguments that returns its output."""
        b, h, n, d = q.shape
        shape = [I64(x) for x in (b, h, h, n, n, d)]
        size = I64()
        mixed = alpha is not None
        check(self.lib, self.lib.horo_attention_workspace(self.exec, 0, *shape, int(mixed), 0, ctypes.byref(size)))
        workspace = torch.zeros(size.value, dtype=torch.uint8)
        out = torch.empty_like(q)
        strides = [I64(x) for x in (h * n * d, d, n * d)]  # batch, token, head
        operands = [x for t in (q, k, v) for x in (PTR(t.data_ptr()), *strides)]
        mix = PTR(alpha.data_ptr()) if mixed else None

        def call():
            check(self.lib, self.lib.horo_attention_forward(
                self.exec, 0, *shape, *operands, mix, ctypes.c_double(d**-0.5), 0, None, PTR(out.data_ptr()), *strides, None,
                PTR(workspace.data_ptr()), size))
            return out

        call.keep = (q, k, v, alpha, workspace)
        return call


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--heads", type=int, nargs="+", default=[8, 12, 32])
    parser.add_argument("--dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--tokens", type=int, nargs="+", default=[197, 1024, 4096])
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # with one thread the processor time: other processes then disturb less
    now = time.thread_time if options.threads == 1 else time.perf_counter
    horo = Horosphere(options.library, options.threads)
    generator = torch.Generator().manual_seed(1)
    results = []
    print(f"torch {torch.__version__}, {options.threads} threads; ms, and time over that of SDPA")
    for heads in options.heads:
        for dim in options.dim:
            for tokens in options.tokens:
                batch = 8 if tokens <= 256 and heads < 32 else 1
                q, k, v = (torch.randn(batch, heads, tokens, dim, generator=generator) for _ in range(3))
                alpha = 0.1 * torch.randn(heads, heads, generator=generator)
                calls = {
                    "sdpa": lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v),
                    "plain": horo.prepare(q, k, v, None),
                    "mixed": horo.prepare(q, k, v, alpha),
                }
                with torch.inference_mode():
                    error = (calls["plain"]() - calls["sdpa"]()).abs().max().item()
                    if not error < 1e-4:
                        sys.exit(f"plain attention differs from SDPA by {error}")
                    calls["mixed"]()
                    best = dict.fromkeys(calls, float("inf"))
                    for _ in range(options.rounds):
                        for name, call in calls.items():
                            start = now()
                            call()
                            best[name] = min(best[name], now() - start)
                print(f"{batch} x {heads:2} x {dim:3} x {tokens:4}: " + ", ".join(f"{n} {1e3 * t:8.2f}" for n, t in best.items())
                      + f" | plain {best['plain'] / best['sdpa']:.2f}, mixed {best['mixed'] / best['sdpa']:.2f}", flush=True)
                results.append({"bench": "attention", "batch": batch, "heads": heads, "dim": dim, "rows": tokens,
                                "floor": "PyTorch SDPA, unmixed", "seconds": best,
                                "ratio": best["mixed"] / best["sdpa"], "plain_ratio": best["plain"] / best["sdpa"]})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"threads": options.threads, "rounds": options.rounds, "torch": torch.__version__, "results": results}, file)


if __name__ == "__main__":
    main()
