#!/usr/bin/env python3
"""Draws inputs anew and compares every operation of geometry with its textbook formula in 330 digits.

usage: exactness.py LIBHOROSPHERE [--op PREFIX,..] [--dtype f64,f32,bf16,f16] [--dims N,..] [--rows N] [--seed N] [--limit UNITS]

Row operations (poincare.*, lorentz.*, klein.*, stereographic.*), sets (midpoint, frechet, cdist), concat, split and maps by a
matrix (linear), each with all its gradients. The formulas are those of the literature, differentiated in reverse; none of the library's
forms is used. An error is counted in units eps (|want| + sens), where sens is how far the exact result moves per relative change of
the inputs; in 16 bits, whose arithmetic is that of float32, in units of the last place of the result. A result is a vector, such as
the gradient of one point, or one number; of a point with a time the time and the space part.

One line per operation and type: the worst units of results and gradients, in brackets the worst |got - want| / |want|. Where a row is
beyond the limit the worst follows, with the numbers that made it if they are few, and the exit status is 1. Rows are drawn in batches
from the seed, the operation, the type, the dimension and the number of the batch, so --op, --dtype, --dims and --seed bring one back.
Some rows are beyond any limit: next to kinks and to points that the coordinates do not hold; docs/accuracy.md names them. Needs numpy
and gmpy2.
"""
import argparse
import ctypes
import math
import sys
import zlib
from collections import namedtuple

import gmpy2
import numpy as np
from gmpy2 import mpfr

gmpy2.get_context().precision = 1100
gmpy2.get_context().emax, gmpy2.get_context().emin = 1073741823, -1073741823
ZERO, ONE = mpfr(0), mpfr(1)
STEP = mpfr(2) ** -300  # relative change of an input


# ---- A tape: numbers are mpfr or numpy arrays of them


class Node:
    __slots__ = ("v", "g", "parents", "id")
    made = 0

    def __init__(self, v, *parents):  # parents: (node, what a cotangent of v gives to it)
        Node.made += 1
        self.v, self.g, self.parents, self.id = v, None, parents, Node.made

    def __add__(a, b):
        b = node(b)
        return Node(a.v + b.v, (a, lambda g: g), (b, lambda g: g))

    def __neg__(a):
        return Node(-a.v, (a, lambda g: -g))

    def __sub__(a, b):
        return a + -node(b)

    def __rsub__(a, b):
        return node(b) - a

    def __mul__(a, b):
        b = node(b)
        if is_row(a.v) == is_row(b.v):
            return Node(a.v * b.v, (a, lambda g: g * b.v), (b, lambda g: g * a.v))
        if is_row(b.v):
            a, b = b, a
        return Node(a.v * b.v, (a, lambda g: g * b.v), (b, lambda g: g.dot(a.v)))

    def __truediv__(a, b):
        return a * inverse(node(b))

    def __rtruediv__(a, b):
        return node(b) * inverse(a)

    def __getitem__(a, key):
        def back(g):
            whole = zeros(len(a.v))
            whole[key] = g
            return whole

        return Node(a.v[key], (a, back))

    __radd__, __rmul__ = __add__, __mul__


def is_row(v):
    return isinstance(v, np.ndarray)


def node(x):
    return x if isinstance(x, Node) else Node(mpfr(x))


def zeros(n):
    return np.array([ZERO] * n, object)


def exact(values):
    return np.array([mpfr(float(v)) for v in values], object)


def unary(a, v, slope):
    return Node(v, (a, lambda g: g * slope))


def inverse(a):
    r = 1 / a.v
    return unary(a, r, -r * r)


def dot(a, b):
    return Node(a.v.dot(b.v), (a, lambda g: g * b.v), (b, lambda g: g * a.v))


def join(*parts):
    """Numbers and rows side by side."""
    sizes = [len(p.v) if is_row(p.v) else 1 for p in parts]
    ends = np.cumsum(sizes)
    take = lambda p, at: (lambda g: g[at - len(p.v) : at]) if is_row(p.v) else (lambda g: g[at - 1])
    return Node(np.concatenate([np.atleast_1d(p.v) for p in parts]), *((p, take(p, at)) for p, at in zip(parts, ends)))


def sqrt(a):
    if a.v <= 0:
        return unary(a, ZERO if a.v == 0 else mpfr("nan"), ZERO)
    s = gmpy2.sqrt(a.v)
    return unary(a, s, 1 / (2 * s))


def log(a):
    return unary(a, gmpy2.log(a.v), 1 / a.v)


def log_sum(a):
    return Node(sum((gmpy2.log(t) for t in a.v), ZERO), (a, lambda g: g / a.v))


def sinh(a):
    return unary(a, gmpy2.sinh(a.v), gmpy2.cosh(a.v))


def cosh(a):
    return unary(a, gmpy2.cosh(a.v), gmpy2.sinh(a.v))


def asinh(a):
    return unary(a, gmpy2.asinh(a.v), 1 / gmpy2.sqrt(1 + a.v * a.v))


def absolute(a):
    return a if a.v > 0 else -a if a.v < 0 else unary(a, ZERO, ZERO)


def asin(a):
    if a.v >= 1:
        return unary(a, gmpy2.const_pi() / 2, ZERO)
    return unary(a, gmpy2.asin(a.v), 1 / gmpy2.sqrt(1 - a.v * a.v))


def atan2(y, x):
    q = x.v * x.v + y.v * y.v
    if q == 0:
        return unary(x, ZERO, ZERO)
    return Node(gmpy2.atan2(y.v, x.v), (y, lambda g: g * x.v / q), (x, lambda g: -g * y.v / q))


def relu(a):
    keep = np.array([ONE if t > 0 else ZERO for t in a.v], object)
    return Node(a.v * keep, (a, lambda g: g * keep))


# Functions of z = +-r^2 that are smooth at 0: a value and its derivative, by a series next to 0.
def smooth(series, closed):
    def value(z):
        if abs(z) < mpfr(2) ** -180:
            return (
                sum((s * z**k for k, s in enumerate(series)), ZERO),
                sum((k * s * z ** (k - 1) for k, s in enumerate(series) if k), ZERO),
            )
        return closed(z, gmpy2.sqrt(abs(z)))

    def function(a):
        return unary(a, *value(a.v))

    function.value = value
    return function


def _tan(z, r):
    t = (gmpy2.tan(r) if z > 0 else gmpy2.tanh(r)) / r
    return t, (1 + z * t * t - t) / (2 * z)


def _atan(z, r):
    t = (gmpy2.atan(r) if z > 0 else gmpy2.atanh(r)) / r
    return t, (1 / (1 + z) - t) / (2 * z)


def _sinh(z, r):
    t, c = (gmpy2.sin(r) / r, gmpy2.cos(r)) if z < 0 else (gmpy2.sinh(r) / r, gmpy2.cosh(r))
    return t, (c - t) / (2 * z)


def _cosh(z, r):
    t, c = (gmpy2.sin(r) / r, gmpy2.cos(r)) if z < 0 else (gmpy2.sinh(r) / r, gmpy2.cosh(r))
    return c, t / 2


def _asinh(z, r):
    t = gmpy2.asinh(r) / r
    return t, (1 / gmpy2.sqrt(1 + z) - t) / (2 * z)


_f = [gmpy2.fac(k) for k in range(14)]
tanc = smooth([ONE, ONE / 3, 2 * ONE / 15, 17 * ONE / 315, 62 * ONE / 2835, 1382 * ONE / 155925, 21844 * ONE / 6081075], _tan)
atanc = smooth([ONE * (-1) ** k / (2 * k + 1) for k in range(7)], _atan)  # atan(r)/r at r^2, artanh(r)/r at -r^2
sinhc = smooth([1 / _f[2 * k + 1] for k in range(7)], _sinh)
coshs = smooth([1 / _f[2 * k] for k in range(7)], _cosh)
asinhc = smooth([(-1) ** k * _f[2 * k] / (mpfr(4) ** k * _f[k] ** 2 * (2 * k + 1)) for k in range(7)], _asinh)


def gradients(out, cotangent, leaves):
    """Of <cotangent, out> by the leaves; each out may be used once."""
    found, stack = {}, [out]
    while stack:
        n = stack.pop()
        if n.id not in found:
            found[n.id], n.g = n, None
            stack.extend(p for p, _ in n.parents)
    out.g = cotangent
    for i in sorted(found, reverse=True):
        n = found[i]
        for p, back in n.parents if n.g is not None else ():
            share = back(n.g)
            p.g = share if p.g is None else p.g + share
    return [n.g if n.g is not None and n.id in found else n.v * 0 for n in leaves]


# ---- Ball of curvature -c; with c < 0 the sphere's stereographic projection


def add(c, x, y):
    xy, x2, y2 = dot(x, y), dot(x, x), dot(y, y)
    return ((1 + 2 * c * xy + c * y2) * x + (1 - c * x2) * y) / (1 + 2 * c * xy + c * c * x2 * y2)


def sub(c, x, y):
    return add(c, x, -y)


def gap(c, x):
    return 1 - c * dot(x, x)


def size(v):
    return sqrt(dot(v, v))


def square(a):
    return a * a


def expmap0(c, v):
    return tanc(-c * dot(v, v)) * v


def logmap0(c, x):
    return atanc(-c * dot(x, x)) * x


def expmap(c, x, v):
    return add(c, x, expmap0(c, v / gap(c, x)))


def logmap(c, x, y):
    return gap(c, x) * logmap0(c, add(c, -x, y))


def dist0(c, x):
    return 2 * size(logmap0(c, x))


def dist(c, x, y):
    return dist0(c, add(c, -x, y))


def dist2(c, x, y):
    v = logmap0(c, add(c, -x, y))
    return 4 * dot(v, v)


def scalar_mul(c, r, x):
    return expmap0(c, r * logmap0(c, x))


def gyration(c, x, y, v):
    xy, xv, yv, x2, y2 = dot(x, y), dot(x, v), dot(y, v), dot(x, x), dot(y, y)
    a = c * yv + 2 * c * c * xy * yv - c * c * xv * y2
    b = -c * xv - c * c * yv * x2
    return v + 2 * (a * x + b * y) / (1 + 2 * c * xy + c * c * x2 * y2)


def coadd(c, x, y):
    return add(c, x, gyration(c, x, -y, y))


def ptransp(c, x, y, v):
    return gap(c, y) / gap(c, x) * gyration(c, y, -x, v)


def geodesic(c, t, x, y):
    return add(c, x, scalar_mul(c, t, add(c, -x, y)))


def geodesic_unit(c, t, x, u):
    n = size(u)
    if n.v == 0:
        return 1 * x + 0 * u
    return add(c, x, tanc(-c * square(t / 2)) * (t / (2 * n)) * u)


def projx(c, eps, x):
    n = size(x)
    most = (1 - mpfr(eps)) / sqrt(c) if c.v > 0 else None
    return 1 * x if most is None or n.v <= most.v else (most / n) * x


def plane(c, x, p, a):
    w, n = add(c, -p, x), size(a)
    if n.v == 0:
        return 0 * dot(w, a) + 0 * c
    return asinh(2 * sqrt(c) * dot(w, a) / (gap(c, w) * n)) / sqrt(c)


def to_lorentz(c, x):
    return join((1 + c * dot(x, x)) / (gap(c, x) * sqrt(c)), 2 / gap(c, x) * x)


def no_angle(*nodes):
    return sum((0 * (dot(a, a) if is_row(a.v) else a) for a in nodes), node(0))


def half_aperture(c, least, x):
    r = sqrt(c * dot(x, x))
    if r.v == 0:
        return no_angle(x, c) + gmpy2.const_pi() / 2
    return asin(mpfr(least) * gap(c, x) / r)


def angle_of(uu, vv, uv):
    across = uu * vv - uv * uv
    if across.v < 1e-200 * abs(uu.v * vv.v):
        across = unary(across, ZERO, ZERO)
    return atan2(sqrt(across), uv)


def oxy_angle(c, x, y):
    v = add(c, -x, y)
    return angle_of(dot(x, x), dot(v, v), dot(x, v))


def normal(r2, per2, std, n):  # from r^2 and 1/radius^2
    n = mpfr(n)
    return -(n / 2) * gmpy2.log(2 * gmpy2.const_pi()) - n * log(std) - r2 / (2 * std * std) - (n - 1) * log(sinhc(per2 * r2))


def noise_density(per2, n, v, std):
    n, u = mpfr(n), Node(v.v / std.v, (v, lambda g: g / std.v), (std, lambda g: -g * v.v / std.v / std.v))
    return -(n / 2) * gmpy2.log(2 * gmpy2.const_pi()) - log_sum(std) - dot(u, u) / 2 - (n - 1) * log(sinhc(per2 * dot(v, v)))


# Points with their gaps: where the gap is below 1/2 it says how far out the point is, its coordinates where to.
def gap_point(c, x):
    if x.v[0] >= 0.5:
        return x[1:]
    return sqrt((1 - x[0]) / (c * dot(x[1:], x[1:]))) * x[1:]


def dist_gap(c, x, y):
    d = gap_point(c, y) - gap_point(c, x)
    z2 = dot(d, d) / (x[0] * y[0])
    return 2 * sqrt(z2) * asinhc(c * z2)


def add_gap(c, x, y):
    a, b, px, py = x[0], y[0], gap_point(c, x), gap_point(c, y)
    s = px + py
    ss = c * dot(s, s)
    d = ss + a * b
    return join(a * b / d, (ss / d) * px + (a / d) * s)


def logmap_gap(c, x, y):
    a, b, px = x[0], y[0], gap_point(c, x)
    d = gap_point(c, y) - px
    z2 = c * dot(d, d) / (a * b)
    return asinhc(z2) / (b * sqrt(1 + z2)) * (a * d - c * dot(d, d) * px)


def expmap_gap(c, x, v):
    a, px, w = x[0], gap_point(c, x), v / x[0]
    t2 = c * dot(w, w)
    y, yy = tanc(-t2) * w, c * dot(tanc(-t2) * w, tanc(-t2) * w)
    d = 1 + 2 * c * dot(px, y) + c * dot(px, px) * yy
    return join(a / (square(coshs(t2)) * d), (a / d) * y + (1 + a * yy / d) * px)


def logmap0_gap(c, x):
    p = gap_point(c, x)
    return asinhc(c * dot(p, p) / x[0]) / sqrt(x[0]) * p


BALL = {
    "mobius_add": add,
    "mobius_scalar_mul": lambda c, x, r: scalar_mul(c, r, x),
    "expmap": expmap,
    "expmap0": expmap0,
    "logmap": logmap,
    "logmap0": logmap0,
    "dist": dist,
    "dist0": dist0,
    "geodesic": geodesic,
    "gyration": gyration,
    "ptransp": ptransp,
    "transp0": lambda c, y, v: gap(c, y) * v,
    "transp0back": lambda c, x, v: v / gap(c, x),
    "egrad2rgrad": lambda c, x, g: square(gap(c, x)) / 4 * g,
    "lambda_x": lambda c, x: 2 / gap(c, x),
    "inner": lambda c, x, u, v: 4 / square(gap(c, x)) * dot(u, v),
    "norm": lambda c, x, v: 2 / gap(c, x) * size(v),
    "projx": projx,
}
ROWS = {"poincare." + name: f for name, f in BALL.items()}
ROWS.update({"stereographic." + name: (lambda f: lambda k, *more, **of: f(-k, *more, **of))(f) for name, f in BALL.items()})
ROWS.update({
    "stereographic.antipode": lambda k, x: -1 / (k * dot(x, x)) * x,
    "poincare.mobius_sub": sub,
    "poincare.mobius_coadd": coadd,
    "poincare.mobius_cosub": lambda c, x, y: coadd(c, x, -y),
    "poincare.mobius_pointwise_mul": lambda c, w, x: expmap0(c, w * logmap0(c, x)),
    "poincare.dist2": dist2,
    "poincare.dist2plane": lambda c, x, p, a: absolute(plane(c, x, p, a)),
    "poincare.dist2plane_signed": plane,
    "poincare.dist2plane_scaled": lambda c, x, p, a: plane(c, x, p, a) * size(a),
    "poincare.logmap0back": lambda c, x: -gap(c, x) * logmap0(c, x),
    "poincare.geodesic_unit": geodesic_unit,
    "poincare.half_aperture": half_aperture,
    "poincare.oxy_angle": oxy_angle,
    "poincare.to_lorentz": to_lorentz,
    "poincare.to_klein": lambda c, x: 2 / (1 + c * dot(x, x)) * x,
    "poincare.gap": gap,
    "poincare.to_gap": lambda c, x: join(gap(c, x), x),
    "poincare.from_gap": lambda c, x: 1 * gap_point(c, x),
    "poincare.dist_gap": dist_gap,
    "poincare.mobius_add_gap": add_gap,
    "poincare.logmap_gap": logmap_gap,
    "poincare.expmap_gap": expmap_gap,
    "poincare.expmap0_gap": lambda c, v: join(1 / square(coshs(c * dot(v, v))), expmap0(c, v)),
    "poincare.logmap0_gap": logmap0_gap,
    "poincare.wrapped_normal_log_prob": lambda c, n, x, mean, std: normal(dist2(c, mean, x), c, std, n),
    "poincare.wrapped_normal_sample": lambda c, mean, std, z: add(c, mean, expmap0(c, std * z / 2)),
    "poincare.wrapped_normal_noise": lambda c, mean, x: 2 * logmap0(c, add(c, -mean, x)),
    "poincare.wrapped_normal_noise_log_prob": noise_density,
})


# ---- Hyperboloid of curvature -1/K; X, Y and V are vectors of Minkowski space, x, y and v space parts


def lift(K, x):
    return join(sqrt(K + dot(x, x)), x)


def minkowski(X, Y):
    flipped = lambda v: np.concatenate([-v[:1], v[1:]])
    return Node(flipped(X.v).dot(Y.v), (X, lambda g: g * flipped(Y.v)), (Y, lambda g: g * flipped(X.v)))


def tangent(X, v):
    return join(dot(X[1:], v) / X[0], v)


def origin(K, like):
    return join(sqrt(K), Node(zeros(len(like.v))))


def at_origin(v):
    return join(node(0), v)


def half_square(K, X, Y):  # sinh^2(d/2)
    D = Y - X
    s = minkowski(D, D) / (4 * K)
    if s.v <= (abs(X.v[0] * Y.v[0] / K.v) + 1) * mpfr(2) ** -900:
        return unary(s, ZERO, ONE)
    return s


def lorentz_dist2(K, X, Y):
    s = half_square(K, X, Y)
    return 4 * K * s * square(asinhc(s))


def lorentz_dist(K, X, Y):
    s = half_square(K, X, Y)
    return 2 * sqrt(K * s) * asinhc(s)


def lorentz_log(K, X, Y):
    s = half_square(K, X, Y)
    return asinhc(s) / sqrt(1 + s) * (Y - X - 2 * s * X)


def lorentz_exp(K, X, V):
    w = minkowski(V, V) / K
    return coshs(w) * X + sinhc(w) * V


def lorentz_transport(K, X, Y, V):
    return V + minkowski(Y, V) / (K - minkowski(X, Y)) * (X + Y)


def lorentz_geodesic(K, t, X, Y):
    return lorentz_exp(K, X, t * lorentz_log(K, X, Y))


def from_origin(K, x, v):
    return lorentz_transport(K, origin(K, x), lift(K, x), at_origin(v))


def to_origin(K, x, V):
    return lorentz_transport(K, lift(K, x), origin(K, x), V)[1:]


def log_origin(K, x):
    return asinhc(dot(x, x) / K) * x


def project_tangent(K, X, U):
    return U + minkowski(X, U) / K * X


def length_of(V):
    q = minkowski(V, V)
    return sqrt(q) if q.v > 0 else unary(q, ZERO, ZERO)


def lorentz_aperture(K, least, x):
    x2 = dot(x, x)
    if x2.v == 0:
        return no_angle(x, K) + gmpy2.const_pi() / 2
    return asin(2 * mpfr(least) * sqrt(K / x2))


def lorentz_angle(K, x, y):
    X, Y = lift(K, x), lift(K, y)
    V, U = lorentz_log(K, X, Y), -lorentz_log(K, X, origin(K, x))
    uu, vv = minkowski(U, U), minkowski(V, V)
    return no_angle(x, y, K) if uu.v <= 0 or vv.v <= 0 else angle_of(uu, vv, minkowski(U, V))


def boost(K, x, v):
    X, g = lift(K, x), 1 / sqrt(1 - dot(v, v))
    return join(g * (X[0] + dot(v, x)), x + (g * g / (1 + g) * dot(v, x) + g * X[0]) * v)


def centred(K, S):
    return (sqrt(K / -minkowski(S, S)) if S.v[0] > 0 else -sqrt(K / -minkowski(S, S))) * S


def flip_time(g):
    return join(-g[0], g[1:])


def pair(f):
    return lambda K, x, y: f(K, lift(K, x), lift(K, y))


LORENTZ = {
    "inner": lambda K, x, y: minkowski(x, y),
    "expmap": lambda K, x, v: lorentz_exp(K, lift(K, x), tangent(lift(K, x), v)),
    "logmap": pair(lorentz_log),
    "expmap0": lambda K, v: lorentz_exp(K, origin(K, v), at_origin(v)),
    "logmap0": log_origin,
    "dist": pair(lorentz_dist),
    "dist0": lambda K, x: size(log_origin(K, x)),
    "dist2": pair(lorentz_dist2),
    "sqdist": lambda K, x, y: 4 * K * half_square(K, lift(K, x), lift(K, y)),
    "proju": lambda K, x, u: project_tangent(K, lift(K, x), u),
    "egrad2rgrad": lambda K, x, g: project_tangent(K, lift(K, x), flip_time(g)),
    "ptransp": lambda K, x, y, v: lorentz_transport(K, lift(K, x), lift(K, y), tangent(lift(K, x), v)),
    "projx": lift,
    "to_poincare": lambda K, x: sqrt(K) / (sqrt(K) + sqrt(K + dot(x, x))) * x,
    "to_klein": lambda K, x: sqrt(K) / sqrt(K + dot(x, x)) * x,
    "geodesic": lambda K, t, x, y: lorentz_geodesic(K, t, lift(K, x), lift(K, y)),
    "mobius_add": lambda K, x, y: lorentz_exp(K, lift(K, x), from_origin(K, x, log_origin(K, y))),
    "mobius_scalar_mul": lambda K, r, x: lorentz_exp(K, origin(K, x), at_origin(r * log_origin(K, x))),
    "transp0": lambda K, y, v: from_origin(K, y, v),
    "transp0back": lambda K, x, v: to_origin(K, x, tangent(lift(K, x), v)),
    "norm": lambda K, x, v: length_of(tangent(lift(K, x), v)),
    "half_aperture": lorentz_aperture,
    "oxy_angle": lorentz_angle,
    "boost": boost,
    "rmsnorm": lambda K, eps, n, x, weight: lift(K, 1 / sqrt(dot(x, x) / mpfr(n) + mpfr(eps)) * x * weight),
    "relu": lambda K, x: lift(K, relu(x)),
    "residual": lambda K, x, y, w: centred(K, lift(K, x) + w * lift(K, y)),
    "wrapped_normal_log_prob": lambda K, n, x, mean, std: normal(lorentz_dist2(K, lift(K, mean), lift(K, x)), 1 / K, std, n),
    "wrapped_normal_sample": lambda K, mean, std, z: lorentz_exp(K, lift(K, mean), from_origin(K, mean, std * z)),
    "wrapped_normal_noise": lambda K, mean, x: to_origin(K, mean, lorentz_log(K, lift(K, mean), lift(K, x))),
    "wrapped_normal_noise_log_prob": lambda K, n, v, std: noise_density(1 / K, n, v, std),
}
ROWS.update({"lorentz." + name: f for name, f in LORENTZ.items()})


# ---- Klein model, through the hyperboloid of K = 1/c


def klein_lift(c, x):
    return join(1 / (sqrt(c * gap(c, x))), x / sqrt(gap(c, x)))


def klein_push(c, x, v):
    g = 1 / sqrt(gap(c, x))
    s = c * g * g * g * dot(x, v)
    return join(s / sqrt(c), g * v + s * x)


def klein_drop(c, X):
    return X[1:] / (sqrt(c) * X[0])


def klein_pull(c, X, V):
    return (V[1:] - V[0] / X[0] * X[1:]) / (sqrt(c) * X[0])


def klein_logmap(c, x, y):
    X = klein_lift(c, x)
    return klein_pull(c, X, lorentz_log(1 / c, X, klein_lift(c, y)))


def klein_ptransp(c, x, y, v):
    X, Y = klein_lift(c, x), klein_lift(c, y)
    return klein_pull(c, Y, lorentz_transport(1 / c, X, Y, klein_push(c, x, v)))


def einstein_add(c, x, y):
    g, xy = 1 / sqrt(gap(c, x)), c * dot(x, y)
    return ((1 + g / (1 + g) * xy) * x + y / g) / (1 + xy)


KLEIN = {
    "dist": lambda c, x, y: lorentz_dist(1 / c, klein_lift(c, x), klein_lift(c, y)),
    "dist0": lambda c, x: size(logmap0(c, x)),
    "expmap0": expmap0,
    "logmap0": logmap0,
    "expmap": lambda c, x, v: klein_drop(c, lorentz_exp(1 / c, klein_lift(c, x), klein_push(c, x, v))),
    "logmap": klein_logmap,
    "ptransp": klein_ptransp,
    "geodesic": lambda c, t, x, y: klein_drop(c, lorentz_geodesic(1 / c, t, klein_lift(c, x), klein_lift(c, y))),
    "einstein_add": einstein_add,
    "egrad2rgrad": lambda c, x, g: gap(c, x) * (g - c * dot(x, g) * x),
    "inner": lambda c, x, u, v: minkowski(klein_push(c, x, u), klein_push(c, x, v)),
    "norm": lambda c, x, v: length_of(klein_push(c, x, v)),
    "projx": projx,
    "to_poincare": lambda c, x: x / (1 + sqrt(gap(c, x))),
    "to_lorentz": klein_lift,
}
ROWS.update({"klein." + name: f for name, f in KLEIN.items()})


# ---- Sets of points, concatenation, maps by a matrix. Points are lists of nodes; so are curvatures where the library gives
# the gradient row by row.

Model = namedtuple("Model", "number lift lower square_radius")


def unit_vectors(model, c, points):
    return [model.lift(c, x) / sqrt(model.square_radius(c)) for x in points]


MODELS = {
    "poincare": Model(0, to_lorentz, lambda c, U: [U[1:] / (1 + U[0]) / sqrt(c)], lambda c: 1 / c),
    "lorentz": Model(1, lift, lambda K, U: [sqrt(K) * U[0], sqrt(K) * U[1:]], lambda K: K),
    "klein": Model(2, klein_lift, lambda c, U: [U[1:] / U[0] / sqrt(c)], lambda c: 1 / c),
}


def weighted_sum(weights, vectors):
    """sum_i w_i X_i; weights is one node"""
    v = sum((w * X.v for w, X in zip(weights.v, vectors)), zeros(len(vectors[0].v)))
    shares = [(X, (lambda w: lambda g: g * w)(w)) for w, X in zip(weights.v, vectors)]
    return Node(v, (weights, lambda g: np.array([g.dot(X.v) for X in vectors], object)), *shares)


def midpoint(model, c, x, w):
    return model.lower(c, centred(node(1), weighted_sum(w, unit_vectors(model, c, x))))


class Frame:
    """The isometry of the unit hyperboloid that takes a point to the origin."""

    def __init__(self, M):
        self.time, self.space = M[0], M[1:]

    def here(self, X):  # the space part of what X becomes
        return X[1:] + self.space * (self.space.dot(X[1:]) / (1 + self.time) - X[0])

    def here_back(self, g):
        along = self.space.dot(g)
        return np.concatenate([[-along], g + self.space * (along / (1 + self.time))])

    def there(self, s):
        along = self.space.dot(s)
        time = gmpy2.sqrt(1 + s.dot(s))
        return np.concatenate([[self.time * time + along], s + self.space * (along / (1 + self.time) + time)])

    def there_back(self, g):  # at the origin
        return g[1:] + self.space * (self.space.dot(g[1:]) / (1 + self.time) + g[0])


def frechet_point(weights, vectors):
    """The point of least sum_i w_i dist^2 on the unit hyperboloid, by Newton's method, and its derivatives by the implicit
    function theorem. The Hessian in the frame of a point is sum_i w_i (n n^T + r coth(r) (1 - n n^T)), n and r direction and length
    of the logarithm of X_i; linear systems are solved in doubles and refined."""
    n, used = len(vectors[0].v) - 1, [i for i, w in enumerate(weights.v) if w != 0]
    w, total = weights.v, sum(weights.v[1:], weights.v[0])

    def logs(M):
        frame, out = Frame(M), {}
        for i in used:
            s = frame.here(vectors[i].v)
            h, slope = asinhc.value(s.dot(s))
            out[i] = (s, h, slope, h * s)
        return frame, out, sum((w[i] * out[i][3] for i in used), zeros(n)) / total

    def hessian(out):
        parts = []
        for i in used:
            v = out[i][3]
            r2 = v.dot(v)
            r = gmpy2.sqrt(r2)
            stretch = ONE if r2 < mpfr(2) ** -600 else r / gmpy2.tanh(r)
            parts.append((w[i] / total, stretch, v / r if r2 > 0 else v))
        flat = sum((a * s for a, s, _ in parts), ZERO)
        dense = np.eye(n) * float(flat)
        for a, s, d in parts:
            e = d.astype(float)
            dense += float(a * (1 - s)) * np.outer(e, e)
        near = np.linalg.inv(dense)
        apply = lambda u: sum((a * (1 - s) * d.dot(u) * d for a, s, d in parts), flat * u)
        return near, apply

    def solve(near, apply, b):
        u, scale = zeros(n), max(abs(t) for t in b)
        if scale == 0:
            return u
        r = b
        for _ in range(200):
            most = max(abs(t) for t in r)
            if most < scale * mpfr(2) ** -900:
                break
            u = u + exact(near.dot((r / most).astype(float))) * most
            r = b - apply(u)
        return u

    S = sum((w[i] * vectors[i].v for i in used), zeros(n + 1))
    M = S / gmpy2.sqrt(S[0] * S[0] - S[1:].dot(S[1:]))
    frame, out, pull = logs(M)
    for _ in range(400):
        if pull.dot(pull) < mpfr(2) ** -1500:
            break
        near, _ = hessian(out)
        most = max(abs(t) for t in pull)
        step = exact(near.dot((pull / most).astype(float))) * most
        while True:
            r = gmpy2.sqrt(step.dot(step))
            M = frame.there(gmpy2.sinh(r) / r * step)
            next_frame, next_out, next_pull = logs(M)
            if next_pull.dot(next_pull) < pull.dot(pull) or r < mpfr(2) ** -600:
                break
            step = step / 2
        frame, out, pull = next_frame, next_out, next_pull
    near, apply = hessian(out)
    kept = {}

    def solved(g):
        if "u" not in kept:
            kept["u"] = solve(near, apply, frame.there_back(g))
        return kept["u"]

    def by_weights(g):
        u = solved(g)
        # the logarithm of a point of weight 0 pulls as much as another's
        parts = [frame.here(X.v) for X in vectors]
        return np.array([u.dot(s) * asinhc.value(s.dot(s))[0] / total for s in parts], object)

    def by_point(i):
        def back(g):
            if i not in out:
                return zeros(n + 1)
            u, (s, h, slope, _) = solved(g), out[i]
            return frame.here_back((h * u + 2 * slope * u.dot(s) * s) * (w[i] / total))

        return back

    return Node(M, (weights, by_weights), *((X, by_point(i)) for i, X in enumerate(vectors)))


def frechet_mean(model, c, x, w):
    return model.lower(c, frechet_point(w, unit_vectors(model, c, x)))


def frechet_variance(model, c, x, w):
    vectors = unit_vectors(model, c, x)
    mean = Node(frechet_point(w, vectors).v)  # it is least there
    squares = join(*(lorentz_dist2(node(1), X, mean) for X in vectors))
    return [model.square_radius(c) * dot(w, squares) / dot(w, Node(w.v * 0 + 1))]


def cdist(model, c, x, y, squared):
    dist = lorentz_dist2 if squared else lorentz_dist
    return [dist(model.square_radius(k), model.lift(k, p), model.lift(k, q)) for k, p in zip(c, x) for q in y]


beta_kept = {}


def beta(n):  # B(n/2, 1/2)
    if n not in beta_kept:
        beta_kept[n] = gmpy2.sqrt(gmpy2.const_pi()) * gmpy2.gamma(mpfr(n) / 2) / gmpy2.gamma(mpfr(n + 1) / 2)
    return beta_kept[n]


def concat(model, c, x, dims):
    if model.number == 1:
        whole = join(*x)
        return [sqrt(c + dot(whole, whole))] + [1 * p for p in x]
    whole = beta(sum(dims))
    v = [whole / beta(n) * logmap0(c, p) for n, p in zip(dims, x)]
    t = tanc(-c * sum((dot(p, p) for p in v), node(0)))
    return [t * p for p in v]


def split(model, c, x, dims):
    ends = np.cumsum(dims)
    x = x[0]
    if model.number == 1:
        return [p for n, end in zip(dims, ends) for p in (sqrt(c + dot(x[end - n : end], x[end - n : end])), 1 * x[end - n : end])]
    v = logmap0(c, x)
    return [expmap0(c, beta(n) / beta(sum(dims)) * v[end - n : end]) for n, end in zip(dims, ends)]


def poincare_logit(c, x, a, r, scaled):
    n = size(a)
    if n.v == 0:
        return 0 * dot(x, a) + 0 * c + 0 * r
    q, spread = 2 * sqrt(c) * r, 2 / gap(c, x)
    d = asinh(sqrt(c) * spread * dot(x, a) / n * cosh(q) - (spread - 1) * sinh(q)) / sqrt(c)
    return 2 * n * d if scaled else d


def lorentz_logit(K, x, a, r, scaled):
    n = size(a)
    if n.v == 0:
        return 0 * dot(x, a) + 0 * K + 0 * r
    q = r / sqrt(K)
    d = sqrt(K) * asinh((cosh(q) * dot(x, a) / n - sinh(q) * sqrt(K + dot(x, x))) / sqrt(K))
    return n * d if scaled else d


def numbers(bias):
    return [bias[k] for k in range(len(bias.v))]


def mobius_matvec(c, x, m, bias):
    return [expmap0(k, join(*(dot(a, logmap0(k, p)) for a in m))) for k, p in zip(c, x)]


def logits(logit, scaled):
    return lambda c, x, m, bias: [logit(k, p, a, r, scaled) for k, p in zip(c, x) for a, r in zip(m, numbers(bias))]


def fully_connected(c, x, m, bias):
    out = []
    for c, p in zip(c, x):
        v = join(*(poincare_logit(c, p, a, r, True) for a, r in zip(m, numbers(bias))))
        t = [sqrt(c) * k for k in numbers(v)]
        t = [unary(k, max(min(k.v, mpfr(350)), mpfr(-350)), ZERO) if abs(k.v) > 350 else k for k in t]
        w = join(*(sinh(k) / sqrt(c) for k in t))
        out.append(w / (1 + sqrt(1 + c * dot(w, w))))
    return out


def lorentz_linear(K, x, m, bias):
    out = []
    for K, p in zip(K, x):
        X = lift(K, p)
        v = join(*(dot(a, X) + r for a, r in zip(m, numbers(bias))))
        out += [sqrt(K + dot(v, v)), v]
    return out


LINEAR = {  # in the order of the header
    "poincare.mobius_matvec": mobius_matvec,
    "poincare.mlr": logits(poincare_logit, True),
    "poincare.dist2plane": logits(poincare_logit, False),
    "poincare.fc": fully_connected,
    "lorentz.linear": lorentz_linear,
    "lorentz.mlr": logits(lorentz_logit, True),
    "lorentz.dist2plane": logits(lorentz_logit, False),
}


# ---- The library: storage types, and calls that give back what `evaluate` gives


class Type:
    def __init__(self, number, eps, most, least):
        self.number, self.eps, self.most, self.least = number, eps, most, least
        self.short, self.double = number > 1, number == 1
        self.stored = [np.float32, np.float64, np.uint16, np.uint16][number]

    def rounded(self, a):
        """to the nearest storable number, as float64"""
        return self.load(self.store(np.asarray(a, np.float64)))

    def store(self, a):
        with np.errstate(over="ignore"):
            if self.number == 3:
                return a.astype(np.float16).view(np.uint16)
            if self.number != 2:
                return a.astype(self.stored)
            unit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(a), 2.0**-126))) - 7)
            return ((np.round(a / unit) * unit).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)

    def load(self, a):
        if self.number == 3:
            return a.view(np.float16).astype(np.float64)
        return (a.astype(np.uint32) << 16).view(np.float32).astype(np.float64) if self.number == 2 else a.astype(np.float64)


TYPES = {
    "f32": Type(0, 2.0**-23, 3.4028e38, 2.0**-149),
    "f64": Type(1, 2.0**-52, 1.7976e308, 2.0**-1074),
    "bf16": Type(2, 2.0**-8, 3.3895e38, 2.0**-133),
    "f16": Type(3, 2.0**-11, 65504.0, 2.0**-24),
}


Int = ctypes.c_int32


class Library:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        for name in ("horo_op_name", "horo_op_signature", "horo_last_error"):
            getattr(self.lib, name).restype = ctypes.c_char_p
        pairs = lambda text: [word.split(":") for word in text.split()]
        self.ops = {}  # name: number, inputs, parameters, outputs
        for i in range(self.lib.horo_op_count()):
            inputs, rest = self.lib.horo_op_signature(i).decode().split(";")
            params, outputs = rest.split("->")
            name = self.lib.horo_op_name(i).decode()
            self.ops[name] = i, pairs(inputs), [p[0] for p in pairs(params)], pairs(outputs)

    def call(self, name, *args):
        """Python integers go as int64, those that the header has as int32 are given as Int."""
        kinds = {int: ctypes.c_int64, float: ctypes.c_double, np.ndarray: lambda a: ctypes.c_void_p(a.ctypes.data)}
        if getattr(self.lib, name)(*(a if a is None or type(a) not in kinds else kinds[type(a)](a) for a in args)):
            raise RuntimeError(name + ": " + self.lib.horo_last_error().decode())

    def row_op(self, name, type, rows, dim, inputs, params):
        number, ins, _, outs = self.ops[name]
        width = lambda kind: {"row": dim, "ambient": dim + 1}.get(kind, 1)
        inputs = [type.store(a) for a in inputs]
        results = [np.zeros((rows, width(kind)), type.stored) for _, kind in outs]
        operands = []
        for some in (inputs, results):
            for a in some + [None] * (4 - len(some)):
                operands += [None, 0] if a is None else [a, a.shape[1]]
        params = [float(p) for p in params] + [0.0] * (6 - len(params))
        self.call("horo_row_op", Int(number), Int(type.number), rows, dim, *operands, *params, None)
        return [type.load(a) for a in results]


# ---- Inputs. A space is "ball" (c), "sphere" (kappa >= 0) or "lorentz" (K)

RADII = [0, None, 1e-6, 0.1, 0.5, 1, 2, 3, 5, 7, 9, 11, 13]  # None: a tiny vector
SPHERE = [0.1, 0.5, 1, 2, 10, 1e-6, None, 0.0, 50]
NORMS = [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1e-6, None, 0.0, 1 - 1e-5, 1 - 1e-6]
GAPS = [0.4, 1e-2, 1e-4, 1e-8, None, 1e-12]
CURVATURES = {
    "ball": [1e-3, 0.037, 1.0, 7.3, 1e3],
    "lorentz": [1e-3, 0.037, 1.0, 7.3, 1e3],
    "sphere": [0.0, 1e-9, 1e-3, 1.0, 7.3],
    "stereographic": [1e-9, 1e-3, 1.0, 7.3, 1e3],
}
COORDINATES = ("pointwise_mul", "relu", "rmsnorm", "sample", "noise_log_prob")  # by coordinate: no line is part of a plane
TANGENTS = {"lorentz." + op for op in ("logmap", "proju", "egrad2rgrad", "ptransp", "transp0")}  # judged with their time
VECTORS = {("lorentz.inner", "x"), ("lorentz.inner", "y"), ("lorentz.proju", "u"), ("lorentz.egrad2rgrad", "g")}  # not of a point


def pick(rng, values):
    return values[rng.integers(len(values))]


def direction(rng, dim):
    v = rng.standard_normal(dim)
    return v / np.linalg.norm(v)


class Draw:
    """Points and vectors of one space as a type stores them."""

    def __init__(self, rng, type, space, dim, c):
        self.rng, self.type, self.space, self.dim, self.c = rng, type, space, dim, c
        self.tiny = 1e-30 if type.double else 1e-20
        self.root = math.sqrt(c if c > 0 else 1.0)
        self.norms = NORMS + ([1 - 1e-9, 1 - 1e-12] if type.double else [])

    def stored(self, x, c=None):
        """the nearest storable point, of the ball one inside"""
        n, c, most = np.linalg.norm(x), self.c if c is None else c, self.type.most / 8
        x = self.type.rounded(x if n < most else x / n * most)
        if self.space == "ball" or c != self.c:
            while mpfr(c) * sum((mpfr(float(v)) ** 2 for v in x), ZERO) >= 1:
                x = self.type.rounded(x * (1 - 2 * self.type.eps))
        return x

    def length(self):
        """a distance from the origin in coordinates"""
        if self.space == "lorentz":
            r = pick(self.rng, RADII)
            return self.tiny if r is None else math.sinh(r) * self.root
        r = pick(self.rng, self.norms if self.space == "ball" else SPHERE)
        return (self.tiny if r is None else r) / self.root

    def point(self, other=None, relation=None):
        """a point, or one that has to do with another"""
        s = direction(self.rng, self.dim) * self.length()
        if other is None:
            return self.stored(s)
        n, rng = np.linalg.norm(other), self.rng
        relation = pick(rng, RELATIONS) if relation is None else relation
        beside = direction(rng, self.dim) * 10.0 ** rng.integers(-6, -1) / self.root
        beside *= 1 - self.root * n if self.space == "ball" else 1
        if relation == "equal":
            s = other.copy()
        elif relation == "opposite":
            s = -other
            if self.space == "sphere" and n > 0 and self.c > 0:  # nearly the antipode
                s = -other / (self.c * n * n) * (1 + 1e-3 * rng.standard_normal())
        elif relation == "close":
            s = other + beside
        elif relation == "shorter":
            s = other * (1 - 10.0 ** -rng.integers(1, 7))
        elif relation == "across":
            s = beside - other
        elif relation == "between":
            s = -other * rng.random()
        elif relation == "ray" and n > 0:
            s = other / n * self.length() * pick(rng, [1, -1])
        if self.space == "ball" and np.linalg.norm(s) * self.root >= 1:
            s = s / (np.linalg.norm(s) * self.root) * (1 - 1e-7)
        return self.stored(s)

    def time(self, s):
        return self.type.rounded(math.sqrt(self.c + float(s.dot(s))))

    def tangent(self, x, gap):
        """a vector of some lengths at x, along it, against it or across"""
        rng, n = self.rng, 0.0 if x is None else np.linalg.norm(x)
        lengths = [1e-6, 0.01, 0.3, 1, 2.5, 0, self.tiny] if self.space == "sphere" else [1e-6, 0.01, 0.3, 1, 3, 8, 14, 0, self.tiny]
        length, d, way = pick(rng, lengths) / self.root, direction(rng, self.dim), rng.integers(5)
        if way < 2 and n > 0:
            d = x / n * (1 if way else -1)
        if self.space != "lorentz":
            return self.type.rounded(d * length * gap / 2)
        if x is not None:
            time = math.sqrt(self.c + n * n)
            d = d / (math.sqrt(max(1 - (x.dot(d) / time) ** 2, 1e-300)) if way > 1 else math.sqrt(self.c) / time)
        return self.type.rounded(d * length * (self.c if self.c > 0 else 1.0))


RELATIONS = ["equal", "opposite", "close", "shorter", "across", "between", None, None, None, None]


def row_inputs(draw, name, signature, count):
    """The operands of `count` rows, (count, width) each."""
    rng, dim, type, c = draw.rng, draw.dim, draw.type, draw.c
    width = lambda kind: {"row": dim, "ambient": dim + 1}.get(kind, 1)
    operands = [np.zeros((count, width(kind))) for _, kind in signature]
    gapped = draw.space != "lorentz"
    for r in range(count):
        x, gap = None, 1.0
        for (label, kind), rows in zip(signature, operands):
            a = rows[r]
            if (name, label) in VECTORS and not (name == "lorentz.inner" and r % 2 == 0):
                a[:] = rng.standard_normal(dim + 1) * 10.0 ** rng.integers(-2, 3)
            elif label in ("x", "y", "p", "mean") and kind != "scalar":
                s = draw.point(x)
                if kind != "ambient":
                    a[:] = s
                elif gapped:
                    g = float(1 - mpfr(c) * sum((mpfr(float(v)) ** 2 for v in s), ZERO))
                    inside = pick(rng, GAPS)
                    a[1:], a[0] = s, g if g >= 0.5 or inside is None else inside
                else:
                    a[1:], a[0] = s, draw.time(s)
                if x is None:
                    x, n2 = s, c * float(s.dot(s))
                    gap = float(a[0]) if kind == "ambient" else 1 - n2 if draw.space == "ball" else 1 + n2
            elif name == "lorentz.boost":
                a[:] = draw.stored(direction(rng, dim) * pick(rng, [0, 1e-6, 0.1, 0.5, 0.9, 0.99, 0.9999, 1 - 1e-6]), 1.0)
            elif label in ("v", "u"):
                v = draw.tangent(x, gap)
                a[-dim:] = v
                if kind == "ambient":
                    a[0] = x.dot(v) / math.sqrt(c + x.dot(x))
            elif label == "t":
                a[0] = pick(rng, [0, 1, 0.5, 0.25, -0.5, 1.5, 1e-3, 0.75, rng.random()])
            elif label == "r":
                a[0] = pick(rng, [1, -1, 0.5, 2, 0, 10, 1e-3, -1.7, rng.standard_normal()])
            elif label == "std" and kind == "row":
                a[:] = np.abs(rng.standard_normal(dim)) * 10.0 ** rng.integers(-2, 2) + 1e-3
            elif kind == "scalar":  # w, std
                a[0] = pick(rng, [0.1, 1, 3, rng.random() + 1e-3])
            else:
                a[:] = rng.standard_normal(len(a)) * 10.0 ** rng.integers(-1, 2)
    return [type.rounded(a) for a in operands]


def set_points(draw, k):
    """k points that have to do with one another in one way"""
    way = pick(draw.rng, ["free", "mixed", "ray", "close", "equal", "opposite", "across"])
    first = draw.point()
    if way in ("free", "mixed"):
        return [first] + [draw.point(None if way == "free" else first) for _ in range(k - 1)]
    return [first] + [draw.point(first, way if draw.rng.random() < 0.8 else "equal") for _ in range(k - 1)]


def set_weights(rng, type, k):
    w = rng.random(k) + 1e-3
    way = rng.integers(6)
    if way == 0:
        w = np.ones(k)
    elif way == 1:
        w *= 10.0 ** rng.uniform(-4, 4, k)
    elif way == 2:
        w *= rng.random(k) < 0.5
    elif way == 3:
        w = np.zeros(k)
    elif way == 4:
        w *= 1e-5
    w[rng.integers(k)] += way in (2, 3)
    return type.rounded(w)


# ---- Cases: the inputs of one exact evaluation, and the library's results for it


class Case:
    """leaves: label -> number, row or list of rows; cotangents: a list, one per piece of the result; results: label -> list of
    what the library gave, for the gradients in the shape of the leaf; of an array of one number per piece a list."""

    def __init__(self, formula, leaves, cotangents, results, sideways=False, moved_cotangents=False):
        self.formula, self.leaves, self.cotangents, self.results = formula, leaves, cotangents, results
        self.sideways, self.moved_cotangents = sideways, moved_cotangents
        if sideways:  # one dimension: a line of the plane
            self.leaves = {k: v if k in ("w", "bias") else self.widened(v) for k, v in leaves.items()}

    @staticmethod
    def widened(v):
        return [Case.widened(p) for p in v] if isinstance(v, list) else np.append(v, ZERO) if is_row(v) else v

    def evaluate(self, leaves, cotangents):
        nodes = {k: [Node(p) for p in v] if isinstance(v, list) else Node(v) for k, v in leaves.items()}
        pieces = self.formula(**nodes)
        want = {"out": [p.v for p in pieces]}
        if len(self.results) == 1:
            return want
        fit = lambda g, p: np.append(g, [ZERO] * (len(p.v) - len(g))) if is_row(p.v) else g
        total = sum((dot(p, Node(fit(g, p))) if is_row(p.v) else p * Node(g) for p, g in zip(pieces, cotangents)), node(0))
        flat = [n for v in nodes.values() for n in (v if isinstance(v, list) else [v])]
        found = iter(gradients(total, ONE, flat))
        want.update({k: [next(found) for _ in (v if isinstance(v, list) else [v])] for k, v in nodes.items()})
        return want

    def moves(self, rng):
        """Inputs moved by STEP of themselves: one after the other, and all with random signs."""
        leaves = self.leaves
        each = lambda v, f: [each(p, f) for p in v] if isinstance(v, list) else f(v)
        if self.sideways:
            turned = lambda v: np.append(v[:-1], gmpy2.sqrt(v.dot(v)) * STEP) if is_row(v) else v
            for label in leaves.keys() - {"w", "bias"}:
                yield {**leaves, label: each(leaves[label], turned)}, self.cotangents
        for label, v in leaves.items():
            if label in ("t", "r") and not isinstance(v, list) and not is_row(v) and v == 0:
                yield {**leaves, label: STEP}, self.cotangents
            yield {**leaves, label: each(v, lambda p: p * (1 + STEP))}, self.cotangents
        sign = lambda n: np.array([1 + STEP if s else 1 - STEP for s in rng.integers(0, 2, n)], object)
        shaken = lambda v: v * sign(len(v)) if is_row(v) else v * sign(1)[0]
        sizes = [np.size(p) for v in leaves.values() for p in (v if isinstance(v, list) else [v]) if is_row(p)]
        few = min(sizes) < 4  # then signs are often alike
        for _ in range(10 if few else 3):
            cotangents = each(self.cotangents, shaken) if self.moved_cotangents else self.cotangents
            yield {k: each(v, shaken) for k, v in leaves.items()}, cotangents


def norm(v):
    return gmpy2.sqrt(v.dot(v)) if is_row(v) else abs(v)


def judge(case, type, rng):
    """label, units, plain error and condition number of each piece of the results."""
    want = case.evaluate(case.leaves, case.cotangents)
    near = [case.evaluate(*moved) for moved in case.moves(rng)]
    for label, pieces in case.results.items():
        for i, got in enumerate(pieces):
            w = want[label][i]
            n, sens = norm(w), max(norm(other[label][i] - w) for other in near) / STEP
            if not gmpy2.is_finite(n) or not gmpy2.is_finite(sens) or n > type.most / 4:
                continue
            n, sens = n if n > 1e-200 else ZERO, sens if sens > 1e-200 else ZERO
            wanted, given = np.atleast_1d(w), np.atleast_1d(got)
            wanted = wanted[: len(given)]
            if not np.isfinite(given).all():
                units = plain = math.inf
            else:
                d = exact(given) - wanted
                e = norm(d) - mpfr(type.least) * math.sqrt(len(d))
                e = e if e > 1e-200 else ZERO
                plain = float(e / n) if n > 0 else float(e)
                units = float(e / (type.eps * (n + sens))) if n + sens > 0 else 0.0 if e == 0 else math.inf
                if type.short:  # less what float64 has cancelled
                    units = max(float(max(abs(t) - 1e-12 * (n + sens), ZERO) / last_place(float(v), type)) for t, v in zip(d, wanted))
            yield label, i, units, plain, float(sens / n) if n > 0 else math.inf, w, got


def last_place(v, type):
    return max(2.0 ** math.floor(math.log2(abs(v))) * 2 * type.eps, type.least) if v else type.least


def pieces(row, ambient):
    return [row[0], row[1:]] if ambient else [row]


def exact_of(v):
    return [exact_of(p) for p in v] if isinstance(v, list) else exact(v) if is_row(v) else mpfr(float(v))


def row_cases(lib, name, type, dim, count, rng):
    _, ins, params, outs = lib.ops[name]
    space = "lorentz" if name.startswith("lorentz.") else "ball"
    if name == "stereographic.antipode" or (name.startswith("stereographic.") and rng.random() < 0.5):
        space = "sphere"
    some = CURVATURES["stereographic" if name.startswith("stereographic.") and space == "ball" else space]
    c = pick(rng, CURVATURES["ball"] if name == "stereographic.antipode" else some)
    first = -c if name.startswith("stereographic.") and space == "ball" else c
    others = {"eps": 1e-5 if name == "lorentz.rmsnorm" else 4e-3, "min_radius": 0.1, "n": float(dim)}
    extra = [others[p] for p in params[1:]]
    operands = row_inputs(Draw(rng, type, space, dim, c), name, ins, count)
    out = lib.row_op(name, type, count, dim, operands, [first] + extra)[0]
    g = type.rounded(rng.standard_normal(out.shape))
    has_gradient = name + ".vjp" in lib.ops
    grads = lib.row_op(name + ".vjp", type, count, dim, operands + [g], [first] + extra) if has_gradient else []
    ambient, scalar = outs[0][1] == "ambient" and name not in TANGENTS, outs[0][1] == "scalar"

    def formula(curvature, **operands):
        result = ROWS[name](curvature, *extra, **operands)
        return pieces(result, ambient)

    if dim == 1 and name.endswith(COORDINATES):
        return
    for r in range(count):
        leaves, results = {}, {"out": [o[0] if scalar else o for o in pieces(out[r], ambient)]}
        for j, (label, kind) in enumerate(ins):
            bare = kind == "ambient" and space == "lorentz" and (name, label) not in VECTORS  # its time is not read
            take = lambda a: a[0] if kind == "scalar" else a[1:] if bare else a
            leaves[label] = exact_of(take(operands[j][r]))
            if has_gradient:
                results[label] = [take(grads[j][r])]
        leaves["curvature"] = mpfr(first)
        if has_gradient:
            results["curvature"] = [grads[len(ins)][r][0]]
        cotangents = exact_of([t[0] if scalar else t for t in pieces(g[r], ambient)])
        yield Case(formula, leaves, cotangents, results, dim == 1), dict(c=first, row=r)


def stored_points(draw, points, ambient):
    return np.array([np.append(draw.time(p), p) if ambient else p for p in points])


def model_draw(name, type, dim, rng):
    space = "lorentz" if name == "lorentz" else "ball"
    c = pick(rng, CURVATURES[space])
    return c, Draw(rng, type, space, dim, c)


def set_cases(lib, name, type, dim, count, rng):
    """midpoint, frechet_mean and frechet_variance; some sets are large enough to be cut into parts"""
    model_name, what = name.split(".")
    model, ambient, width = MODELS[model_name], model_name == "lorentz", dim + (model_name == "lorentz")
    large = dim in (17, 64) and count == 1
    k = -(-16384 // dim) if large else pick(rng, [1, 2, 3, 5, 9, 33 if dim < 64 else 4])
    c, draw = model_draw(model_name, type, dim, rng)
    points = [set_points(draw, k) for _ in range(count)]
    x = np.array([stored_points(draw, p, ambient) for p in points])
    w = np.array([set_weights(rng, type, k) for _ in range(count)])
    g = type.rounded(rng.standard_normal((count, width)))
    g_variance = type.rounded(rng.standard_normal(count))
    x_, w_, g_, g_variance_ = (type.store(a) for a in (x, w, g, g_variance))
    out, variance, g_x, g_w, g_c = (np.zeros(s, type.stored) for s in (g.shape, count, x.shape, w.shape, count))
    bytes_ = ctypes.c_int64(0)
    which = [Int(model.number), Int(type.number), count, k, dim]
    given = which + [x_, k * width, width, w_, k, c]
    wanted = [g_x, k * width, width, g_w, k, g_c]
    if what == "midpoint":
        lib.call("horo_midpoint_workspace", count, k, dim, ctypes.byref(bytes_))
        space = [np.zeros(bytes_.value // 8 + 1), bytes_.value] if rng.random() < 0.8 else [None, 0]
        lib.call("horo_midpoint", *given, out, width, *space, None)
        lib.call("horo_midpoint_vjp", *given, g_, width, *wanted, *space, None)
    else:
        lib.call("horo_frechet_workspace", count, k, dim, Int(1), ctypes.byref(bytes_))
        space, mean = [np.zeros(bytes_.value // 8 + 1), bytes_.value], what == "frechet_mean"
        done = np.zeros(count, np.int32)
        stop = [1e-15, Int(5000)]
        lib.call("horo_frechet_mean", *given, *stop, out, width, variance, done, *space, None)
        given += stop + ([g_, width, None] if mean else [None, 0, g_variance_])
        lib.call("horo_frechet_mean_vjp", *given, *wanted, done, *space, None)
    formula = {"midpoint": midpoint, "frechet_mean": frechet_mean, "frechet_variance": frechet_variance}[what]
    load, bare = type.load, lambda a: list(a[:, 1:] if ambient else a)
    for r in range(count):
        leaves = {"curvature": c, "x": bare(x[r]), "w": w[r]}
        results = {"curvature": [load(g_c)[r]], "x": bare(load(g_x[r])), "w": [load(g_w[r])]}
        if what == "frechet_variance":
            cotangents, results["out"] = [g_variance[r]], [load(variance)[r]]
        else:
            cotangents, results["out"] = pieces(g[r], ambient), pieces(load(out[r]), ambient)
        call = lambda curvature, x, w: formula(model, curvature, x, w)
        case = Case(call, {a: exact_of(b) for a, b in leaves.items()}, exact_of(cotangents), results, dim == 1, True)
        yield case, dict(c=c, k=k, row=r)


def pair_cases(lib, name, type, dim, count, rng):
    model_name, what = name.split(".")
    model, ambient, width = MODELS[model_name], model_name == "lorentz", dim + (model_name == "lorentz")
    n, m = (2, 70) if rng.random() < 0.2 else (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    squared = int(what == "cdist2")
    c, draw = model_draw(model_name, type, dim, rng)
    points = set_points(draw, n + m)
    order = rng.permutation(n + m)
    all_points = stored_points(draw, [points[i] for i in order], ambient)
    x, y = all_points[:n], all_points[n:]
    g = type.rounded(rng.standard_normal((n, m)))
    x_, y_, g_ = (type.store(a) for a in (x, y, g))
    out, g_x, g_y, g_c = (np.zeros(s, type.stored) for s in ((n, m), x.shape, y.shape, n))
    given = [Int(model.number), Int(type.number), n, m, dim, x_, width, y_, width, c, Int(squared)]
    lib.call("horo_cdist", *given, out, m, None)
    lib.call("horo_cdist_vjp", *given, g_, m, g_x, width, g_y, width, g_c, None)
    load, bare = type.load, lambda a: list(a[:, 1:] if ambient else a)
    leaves = {"curvature": [c] * n, "x": bare(x), "y": bare(y)}
    results = {"out": list(load(out).ravel()), "curvature": list(load(g_c)), "x": bare(load(g_x)), "y": bare(load(g_y))}
    call = lambda curvature, x, y: cdist(model, curvature, x, y, squared)
    case = Case(call, {a: exact_of(b) for a, b in leaves.items()}, exact_of(list(g.ravel())), results, dim == 1, True)
    yield case, dict(c=c, n=n, m=m)


def concat_cases(lib, name, type, dim, count, rng):
    model_name, what = name.split(".")
    model, ambient = MODELS[model_name], model_name == "lorentz"
    dims = pick(rng, [[dim], [dim, 3], [1, dim, 2], [dim] * 4, [9, 1, dim, 2], [1] * 70])
    whole, cut = sum(dims), np.cumsum(dims)
    c, draw = model_draw(model_name, type, whole, rng)

    def point(n):
        draw.dim = n
        return draw.point()

    parts = [point(whole)] if what == "split" else [point(n) for n in dims]
    rows = lambda some: np.concatenate([np.append(draw.time(p), p) if ambient else p for p in some])
    x = rows(parts)
    out_parts = len(dims) if what == "split" else 1
    out, g_x, g_c = (np.zeros(n, type.stored) for n in (whole + ambient * out_parts, len(x), 1))
    g = type.rounded(rng.standard_normal(len(out)))
    x_, g_, dims_ = type.store(x), type.store(g), np.array(dims, np.int64)
    given = [Int(model.number), Int(type.number), 1, len(dims), dims_, x_, len(x), c]
    lib.call("horo_" + what, *given, out, len(out), None)
    lib.call(f"horo_{what}_vjp", *given, g_, len(out), g_x, len(x), g_c, None)

    def cut_up(a, sides, timed):  # rows side by side; a point that is joined has one time for all
        found, at = [], 0
        for i, n in enumerate(sides):
            if ambient and (timed == "each" or i == 0):
                found.append(a[at])
                at += 1
            found.append(a[at : at + n])
            at += n
        return found

    load = type.load
    of_out = lambda a: cut_up(a, dims, "each" if what == "split" else "once")
    given_rows = cut_up(load(g_x), dims if what == "concat" else [whole], "each")
    leaves = {"curvature": mpfr(c), "x": exact_of(parts)}
    results = {"out": of_out(load(out)), "curvature": [load(g_c)[0]], "x": [p for p in given_rows if is_row(p)]}
    formula = lambda curvature, x: {"concat": concat, "split": split}[what](model, curvature, x, dims)
    yield Case(formula, leaves, exact_of(of_out(g)), results, False, True), dict(c=c, dims=dims)


def linear_cases(lib, name, type, dim, count, rng):
    number, ambient = list(LINEAR).index(name[7:]), name == "linear.lorentz.linear"
    lorentz = name.startswith("linear.lorentz")
    p, rows = (int(pick(rng, [1, 2, 3, 5, 9])), int(rng.integers(1, 5)))
    if dim == 2 and rng.random() < 0.3:  # beyond what the kernels take at a time
        p, rows = pick(rng, [(67, 1), (2, 70)])
    c, draw = model_draw("lorentz" if lorentz else "poincare", type, dim, rng)
    points = set_points(draw, rows)
    x = stored_points(draw, points, lorentz)
    m = rng.standard_normal((p, dim + ambient)) * 10.0 ** rng.integers(-3, 2)
    for row in m:
        way = rng.integers(8)
        if way == 0 and not name.endswith("dist2plane"):  # it has no direction
            row[:] = 0
        elif way == 1:
            row[-dim:] = points[0] / np.linalg.norm(points[0]) if points[0].any() else 1
    m = type.rounded(m)
    bias = type.rounded(rng.standard_normal(p) * pick(rng, [0, 0.3, 0.3, 1e-6, 4]) * (math.sqrt(c) if lorentz else 1 / math.sqrt(c)))
    scalar = name.endswith(("mlr", "dist2plane"))
    out_width, has_bias = p + ambient, name != "linear.poincare.mobius_matvec"
    g = type.rounded(rng.standard_normal((rows, out_width)))
    x_, m_, bias_, g_ = (type.store(a) for a in (x, m, bias, g))
    shapes = g.shape, x.shape, m.shape, p, rows
    out, g_x, g_m, g_bias, g_c = (np.zeros(s, type.stored) for s in shapes)
    bytes_ = ctypes.c_int64(0)
    lib.call("horo_linear_workspace", Int(number), rows, p, ctypes.byref(bytes_))
    space = np.zeros(bytes_.value // 8)
    given = [Int(number), Int(type.number), rows, dim, p, x_, x.shape[1], m_, m.shape[1], bias_ if has_bias else None, c]
    lib.call("horo_linear", *given, out, out_width, None)
    more = [g_x, x.shape[1], g_m, m.shape[1], g_bias if has_bias else None, g_c, space, bytes_.value]
    lib.call("horo_linear_vjp", *given, g_, out_width, *more, None)
    load = type.load
    of_out = lambda a: list(a.ravel()) if scalar else [piece for row in a for piece in pieces(row, ambient)]
    leaves = {"curvature": [c] * rows, "x": points, "m": list(m), "bias": bias}
    results = {"out": of_out(load(out)), "curvature": list(load(g_c)), "m": list(load(g_m))}
    results["x"] = list(load(g_x)[:, 1:] if lorentz else load(g_x))
    if has_bias:
        results["bias"] = [load(g_bias)]
    formula = lambda curvature, x, m, bias: LINEAR[name[7:]](curvature, x, m, bias)
    yield Case(formula, {a: exact_of(b) for a, b in leaves.items()}, exact_of(of_out(g)), results, dim == 1, True), dict(c=c, rows=rows, p=p)


CASES = {name: row_cases for name in ROWS}
for _model in MODELS:
    CASES.update({f"{_model}.{what}": set_cases for what in ("midpoint", "frechet_mean", "frechet_variance")})
    CASES.update({f"{_model}.{what}": pair_cases for what in ("cdist", "cdist2")})
    CASES.update({f"{_model}.{what}": concat_cases for what in ("concat", "split")})
CASES.update({"linear." + name: linear_cases for name in LINEAR})
LIMITS = {"f64": 64.0, "f32": 1.0, "bf16": 1.0, "f16": 1.0}


def count_of(v):
    return sum(map(count_of, v)) if isinstance(v, list) else np.size(v)


def batches(lib, name, type, dim, rows, seed):
    """(batch, case, description), a fresh generator for each batch of at most 4 rows; the first of a set is one alone"""
    done = batch = 0
    while done < rows:
        count = min(4, rows - done) if CASES[name] is row_cases else 1 if batch == 0 else 2
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), type.number, dim, batch])
        cases = list(CASES[name](lib, name, type, dim, count, rng))
        for case, words in cases:
            yield case, {"dim": dim, "batch": batch, **words}
        done, batch = done + max(1, len(cases)), batch + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("library")
    parser.add_argument("--op", default="", help="names or their beginnings")
    parser.add_argument("--dtype", default="f64,f32")
    parser.add_argument("--dims", default="1,2,3,5,8,17,64,257")
    parser.add_argument("--rows", type=int, default=8, help="of each operation, type and dimension; fewer of wide ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, help="units; %s if not given" % LIMITS)
    args = parser.parse_args()
    lib, bad = Library(args.library), 0
    for name in [n for n in CASES if n.startswith(tuple(args.op.split(",")))]:
        for type_name in args.dtype.split(","):
            type, worst = TYPES[type_name], {}
            limit, beyond, count = args.limit or LIMITS[type_name], 0, 0
            for dim in map(int, args.dims.split(",")):
                for case, words in batches(lib, name, type, dim, max(2, args.rows // (1 + dim // 33)), args.seed):
                    count += 1
                    over = False
                    for label, i, units, plain, condition, want, got in judge(case, type, np.random.default_rng(words["batch"])):
                        over = over or not units <= limit
                        if label not in worst or not units <= worst[label][0]:
                            worst[label] = units, plain, condition, i, words, case, want, got
                    beyond += over
            print("%-40s %-4s %4d rows " % (name, type_name, count), "  ".join("%s %.3g (%.1e)" % (k, v[0], v[1]) for k, v in worst.items()))
            bad += beyond
            if beyond:
                print("    beyond the limit:", beyond, "rows; the worst:")
                label = max(worst, key=lambda k: worst[k][0])
                units, plain, condition, i, words, case, want, got = worst[label]
                print("    %s[%d] of %s: %.3g units, relative %.2g, condition %.2g" % (label, i, words, units, plain, condition))
                numbers_of = lambda v: [numbers_of(p) for p in v] if isinstance(v, list) or is_row(v) else float(v)
                if sum(map(count_of, case.leaves.values())) <= 40:
                    print("   ", {k: numbers_of(v) for k, v in case.leaves.items()}, "cotangents", numbers_of(case.cotangents))
                    print("    want", numbers_of(want), "got", numbers_of(got))
            sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
