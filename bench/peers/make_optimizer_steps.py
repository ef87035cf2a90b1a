#!/usr/bin/env python3
"""Prints the reference steps of RiemannianOptimizerTest: textbook definitions with 60 digits."""
from mpmath import mp, mpf

from make_verify_set import (add, dot, expmap, gyration, l_egrad2rgrad, l_expmap, l_ptransp, lam, lift, minkowski, neg,
                             norm, scale, tangent)

mp.dps = 60
POINT = [mpf(v) for v in ("0.3", "-0.5", "0.25")]
GRADS = [[mpf(v) for v in row] for row in (("1.5", "-0.75", "2"), ("-0.5", "3", "0.125"), ("0.25", "1", "-0.5"))]
TIMES = [mpf(v) for v in ("0.5", "-1", "0.25")]


class Ball:
    c = mpf("0.75")

    def rgrad(self, x, i):
        return scale(1 / lam(x, self.c) ** 2, GRADS[i])

    def square(self, x, u):
        return lam(x, self.c) ** 2 * dot(u, u)

    def exp(self, x, u):
        return expmap(x, u, self.c)

    def transport(self, x, y, v):
        return scale(lam(x, self.c) / lam(y, self.c), gyration(y, neg(x), v, self.c))


class Hyperboloid:
    """Points and tangents by their space parts."""

    K = mpf("1.25")

    def rgrad(self, x, i):
        return l_egrad2rgrad(x, [TIMES[i]] + GRADS[i], self.K)[1:]

    def square(self, x, u):
        t = tangent(lift(x, self.K), u)
        return minkowski(t, t)

    def exp(self, x, u):
        return l_expmap(x, u, self.K)[1:]

    def transport(self, x, y, v):
        return l_ptransp(x, y, v, self.K)[1:]


def sgd(space, momentum, dampening, nesterov, lr=mpf("0.125")):
    x, m = POINT, None
    for i in range(3):
        h = space.rgrad(x, i)
        m = h if m is None else add(scale(momentum, m), scale(1 - dampening, h))
        d = add(h, scale(momentum, m)) if nesterov else m
        y = space.exp(x, scale(-lr, d))
        x, m = y, space.transport(x, y, m)
    return x, m


def adam(space, amsgrad, lr=mpf("0.125"), beta1=mpf("0.75"), beta2=mpf("0.5"), eps=mpf("0.0625")):
    x, m, v, w = POINT, [mpf(0)] * 3, mpf(0), mpf(0)
    for i in range(3):
        h = space.rgrad(x, i)
        m = add(scale(beta1, m), scale(1 - beta1, h))
        v = beta2 * v + (1 - beta2) * space.square(x, h)
        w = max(w, v)
        size = mp.sqrt((w if amsgrad else v) / (1 - beta2 ** (i + 1))) + eps
        y = space.exp(x, scale(-lr / (1 - beta1 ** (i + 1)) / size, m))
        x, m = y, space.transport(x, y, m)
    return x, m


for space in (Ball(), Hyperboloid()):
    for name, (x, m) in {
        "momentum": sgd(space, mpf("0.75"), mpf("0.25"), False),
        "nesterov": sgd(space, mpf("0.75"), mpf(0), True),
        "adam": adam(space, False),
        "amsgrad": adam(space, True),
    }.items():
        print(type(space).__name__, name, ", ".join(mp.nstr(v, 17) for v in x + m))
