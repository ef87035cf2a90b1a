#!/usr/bin/env python3
"""Makes the reference cases that `horo verify` carries in its jar.

    python make_verify_set.py ../../java/horosphere-finetune/src/main/resources/org/horosphere/finetune/golden

Every value is the textbook definition evaluated with 120 digits, every gradient a central difference of it with a step
of 1e-40, so neither shares a formula with the kernels. Needs mpmath, numpy and safetensors; takes some minutes. Never
part of the build.
"""
import json
import pathlib
import sys

import numpy as np
from mpmath import mp, mpf
from safetensors.numpy import save_file

mp.dps = 120
STEP = mpf(10) ** -40
SAMPLES = 6  # of the conditioning

# ---- Vectors


def dot(x, y):
    return mp.fsum(a * b for a, b in zip(x, y))


def norm(x):
    return mp.sqrt(dot(x, x))


def scale(a, x):
    return [a * v for v in x]


def add(*vectors):
    return [mp.fsum(v) for v in zip(*vectors)]


def neg(x):
    return scale(-1, x)


# ---- Poincare ball, the definitions


def mobius_add(x, y, c):
    xy, xx, yy = dot(x, y), dot(x, x), dot(y, y)
    return scale(1 / (1 + 2 * c * xy + c * c * xx * yy), add(scale(1 + 2 * c * xy + c * yy, x), scale(1 - c * xx, y)))


def radial(function, v, c):
    r = mp.sqrt(c) * norm(v)
    return list(v) if r == 0 else scale(function(r) / r, v)


def expmap0(v, c):
    return radial(mp.tanh, v, c)


def logmap0(x, c):
    return radial(mp.atanh, x, c)


def lam(x, c):
    return 2 / (1 - c * dot(x, x))


def expmap(x, v, c):
    return mobius_add(x, expmap0(scale(lam(x, c) / 2, v), c), c)


def logmap(x, y, c):
    return scale(2 / lam(x, c), logmap0(mobius_add(neg(x), y, c), c))


def dist(x, y, c):
    return [2 / mp.sqrt(c) * mp.atanh(mp.sqrt(c) * norm(mobius_add(neg(x), y, c)))]


def scalar_mul(r, x, c):
    return expmap0(scale(r, logmap0(x, c)), c)


def gyration(x, y, v, c):
    """The linear map: on a vector short enough to be a point, scaled back."""
    size = norm(v)
    if size == 0:
        return list(v)
    unit = mpf("1e-3") / (size * mp.sqrt(c))
    w = scale(unit, v)
    out = mobius_add(neg(mobius_add(x, y, c)), mobius_add(x, mobius_add(y, w, c), c), c)
    return scale(1 / unit, out)


def projx(x, c, eps):
    r, edge = norm(x), (1 - eps) / mp.sqrt(c)
    return scale(edge / r, x) if r > edge else list(x)


def to_lorentz(x, c):
    cc = c * dot(x, x)
    return scale(1 / (1 - cc), [(1 + cc) / mp.sqrt(c)] + scale(2, x))


# ---- Lorentz model; points and tangents come as their space parts


def minkowski(x, y):
    return dot(x[1:], y[1:]) - x[0] * y[0]


def lift(s, K):
    return [mp.sqrt(K + dot(s, s))] + list(s)


def tangent(x, v):
    return [dot(x[1:], v) / x[0]] + list(v)


def l_dist(x, y, K):
    return [mp.sqrt(K) * mp.acosh(max(1, -minkowski(lift(x, K), lift(y, K)) / K))]


def l_dist0(x, K):
    return [mp.sqrt(K) * mp.acosh(lift(x, K)[0] / mp.sqrt(K))]


def l_expmap(x, v, K):
    x = lift(x, K)
    v = tangent(x, v)
    r = mp.sqrt(max(minkowski(v, v), 0) / K)
    return add(scale(mp.cosh(r), x), scale(mp.sinh(r) / r if r else 1, v))


def l_logmap(x, y, K):
    x, y = lift(x, K), lift(y, K)
    w = -minkowski(x, y) / K
    return scale(mp.acosh(w) / mp.sqrt(w * w - 1) if w > 1 else 1, add(y, scale(-w, x)))


def l_expmap0(v, K):
    r = norm(v) / mp.sqrt(K)
    return [mp.sqrt(K) * mp.cosh(r)] + scale(mp.sinh(r) / r if r else 1, v)


def l_logmap0(x, K):
    r = norm(x) / mp.sqrt(K)
    return scale(mp.asinh(r) / r if r else 1, x)


def l_proju(x, u, K):
    x = lift(x, K)
    return add(u, scale(minkowski(x, u) / K, x))


def l_egrad2rgrad(x, g, K):
    return l_proju(x, [-g[0]] + list(g[1:]), K)


def l_ptransp(x, y, v, K):
    x, y = lift(x, K), lift(y, K)
    v = tangent(x, v)
    return add(v, scale(minkowski(y, v) / (K - minkowski(x, y)), add(x, y)))


def l_to_poincare(x, K):
    return scale(mp.sqrt(K) / (mp.sqrt(K) + lift(x, K)[0]), x)


def l_sqdist(x, y, K):
    return [-2 * K - 2 * minkowski(lift(x, K), lift(y, K))]


def l_geodesic(t, x, y, K):
    x, y = lift(x, K), lift(y, K)
    w = -minkowski(x, y) / K
    if w <= 1:
        return x
    d = mp.acosh(w)
    return scale(1 / mp.sinh(d), add(scale(mp.sinh((1 - t) * d), x), scale(mp.sinh(t * d), y)))


def l_mobius_add(x, y, K):
    o = [mp.sqrt(K)] + [mpf(0)] * len(x)
    x, y = lift(x, K), lift(y, K)
    r = norm(y[1:])
    v = [mpf(0)] + scale(mp.sqrt(K) * mp.asinh(r / mp.sqrt(K)) / r if r else 1, y[1:])
    v = add(v, scale(minkowski(x, v) / (K - minkowski(o, x)), add(o, x)))
    n = mp.sqrt(max(minkowski(v, v), 0) / K)
    return add(scale(mp.cosh(n), x), scale(mp.sinh(n) / n if n else 1, v))


# ---- Klein model: the hyperboloid seen from its centre


def k_lift(x, c):
    gamma = 1 / mp.sqrt(1 - c * dot(x, x))
    return [gamma / mp.sqrt(c)] + scale(gamma, x)


def k_drop(x, c):
    return scale(1 / (mp.sqrt(c) * x[0]), x[1:])


def k_dist(x, y, c):
    return [mp.acosh(max(1, -c * minkowski(k_lift(x, c), k_lift(y, c)))) / mp.sqrt(c)]


def k_expmap(x, v, c):
    gamma2 = 1 / (1 - c * dot(x, x))
    slope = c * gamma2 * dot(x, v)  # of log gamma
    velocity = scale(mp.sqrt(gamma2), [slope / mp.sqrt(c)] + add(v, scale(slope, x)))
    n = mp.sqrt(c * max(minkowski(velocity, velocity), 0))
    return k_drop(add(scale(mp.cosh(n), k_lift(x, c)), scale(mp.sinh(n) / n if n else 1, velocity)), c)


def einstein_add(x, y, c):
    gamma, xy = 1 / mp.sqrt(1 - c * dot(x, x)), c * dot(x, y)
    return scale(1 / (1 + xy), add(scale(1 + gamma / (1 + gamma) * xy, x), scale(1 / gamma, y)))


# ---- kappa-stereographic model


def curved(circular, hyperbolic, v, kappa):
    r = mp.sqrt(abs(kappa)) * norm(v)
    return list(v) if r == 0 else scale((circular if kappa > 0 else hyperbolic)(r) / r, v)


def s_expmap(x, v, kappa):
    return mobius_add(x, curved(mp.tan, mp.tanh, scale(lam(x, -kappa) / 2, v), kappa), -kappa)


def s_logmap(x, y, kappa):
    return scale(2 / lam(x, -kappa), curved(mp.atan, mp.atanh, mobius_add(neg(x), y, -kappa), kappa))


# ---- Sets of points, maps by a matrix


def minkowski_sum(vectors, w):
    return [mp.fsum(a * v[j] for a, v in zip(w, vectors)) for j in range(len(vectors[0]))]


def midpoint(X, w, c):
    """(1/2) (x) [sum w lambda x / sum w (lambda - 1)]"""
    lambdas = [lam(x, c) for x in X]
    top = minkowski_sum(X, [a * b for a, b in zip(w, lambdas)])
    return scalar_mul(mpf(1) / 2, scale(1 / mp.fsum(a * (b - 1) for a, b in zip(w, lambdas)), top), c)


def centroid(X, w, K):
    s = minkowski_sum([lift(x, K) for x in X], w)
    return scale(mp.sqrt(K) / mp.sqrt(-minkowski(s, s)), s)


def einstein_midpoint(X, w, c):
    u = [a / mp.sqrt(1 - c * dot(x, x)) for a, x in zip(w, X)]
    return scale(1 / mp.fsum(u), minkowski_sum(X, u))


def matvec(M, x, c):
    y = logmap0(x, c)
    return expmap0([dot(row, y) for row in M], c)


# ---- Adapter


def hyplora(x, A, B, K, s, scaling):
    q, size = mp.sqrt(K), norm(x)
    if size == 0:
        return [mpf(0)] * len(B)
    u = scale(q * mp.sinh(size / (s * q)) / size, x)
    z = [dot(b, [dot(a, u) for a in A]) for b in B]
    m = norm(z)
    return scale(scaling * q * mp.asinh(m / q) / m, z) if m else z


# Inputs: (name, kind). ball and hyperboloid points, vectors of the ball's tangent space, tangents and ambient vectors of
# the hyperboloid, numbers; sets of points with their weights; matrices shared by all rows.
OPERATIONS = {
    "poincare.mobius_add": ("x ball, y ball", "c", lambda x, y, c: mobius_add(x, y, c)),
    "poincare.expmap": ("x ball, v vector", "c", lambda x, v, c: expmap(x, v, c)),
    "poincare.logmap": ("x ball, y ball", "c", lambda x, y, c: logmap(x, y, c)),
    "poincare.expmap0": ("v vector", "c", expmap0),
    "poincare.logmap0": ("x ball", "c", logmap0),
    "poincare.dist": ("x ball, y ball", "c", dist),
    "poincare.dist0": ("x ball", "c", lambda x, c: dist([mpf(0)] * len(x), x, c)),
    "poincare.egrad2rgrad": ("x ball, g vector", "c", lambda x, g, c: scale(1 / lam(x, c) ** 2, g)),
    "poincare.gyration": ("x ball, y ball, v vector", "c", gyration),
    "poincare.ptransp": (
        "x ball, y ball, v vector", "c",
        lambda x, y, v, c: scale(lam(x, c) / lam(y, c), gyration(y, neg(x), v, c))),
    "poincare.mobius_scalar_mul": ("r number, x ball", "c", scalar_mul),
    "poincare.geodesic": (
        "t number, x ball, y ball", "c",
        lambda t, x, y, c: mobius_add(x, scalar_mul(t, mobius_add(neg(x), y, c), c), c)),
    "poincare.projx": ("x outside", "c eps", projx),
    "poincare.to_lorentz": ("x ball", "c", to_lorentz),
    "lorentz.dist": ("x point, y point", "K", l_dist),
    "lorentz.dist0": ("x point", "K", l_dist0),
    "lorentz.inner": ("x ambient, y ambient", "K", lambda x, y, K: [minkowski(x, y)]),
    "lorentz.expmap": ("x point, v tangent", "K", l_expmap),
    "lorentz.logmap": ("x point, y point", "K", l_logmap),
    "lorentz.expmap0": ("v vector", "K", l_expmap0),
    "lorentz.logmap0": ("x point", "K", l_logmap0),
    "lorentz.proju": ("x point, u ambient", "K", l_proju),
    "lorentz.projx": ("x ambient", "K", lambda x, K: lift(x[1:], K)),
    "lorentz.egrad2rgrad": ("x point, g ambient", "K", l_egrad2rgrad),
    "lorentz.ptransp": ("x point, y point, v tangent", "K", l_ptransp),
    "lorentz.to_poincare": ("x point", "K", l_to_poincare),
    "poincare.mobius_coadd": (
        "x ball, y ball", "c", lambda x, y, c: mobius_add(x, gyration(x, neg(y), y, c), c)),
    "poincare.dist2": ("x ball, y ball", "c", lambda x, y, c: [dist(x, y, c)[0] ** 2]),
    "lorentz.sqdist": ("x point, y point", "K", l_sqdist),
    "lorentz.geodesic": ("t number, x point, y point", "K", l_geodesic),
    "lorentz.mobius_add": ("x point, y point", "K", l_mobius_add),
    "klein.dist": ("x ball, y ball", "c", k_dist),
    "klein.expmap": ("x ball, v vector", "c", k_expmap),
    "klein.einstein_add": ("x ball, y ball", "c", einstein_add),
    "stereographic.mobius_add": ("x ball, y ball", "kappa", lambda x, y, k: mobius_add(x, y, -k)),
    "stereographic.expmap": ("x ball, v vector", "kappa", s_expmap),
    "stereographic.logmap": ("x ball, y ball", "kappa", s_logmap),
    "poincare.midpoint": ("X balls, w weights", "c", midpoint),
    "klein.midpoint": ("X balls, w weights", "c", einstein_midpoint),
    "lorentz.centroid": ("X points, w weights", "K", centroid),
    "poincare.mobius_matvec": ("M matrix, x ball", "c", matvec),
    "hyplora": ("x vector, A matrix, B matrix", "K s scaling", hyplora),
}
NOISE = 1e-50  # smaller: a difference of equal numbers at the digits carried
SHARED = {"matrix"}
AMBIENT = {"point", "tangent", "points"}  # stored with a time coordinate, differentiated by their space part

# ---- Differentiation


def flat(value):
    if isinstance(value, list):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def like(value, leaves):
    return [like(item, leaves) for item in value] if isinstance(value, list) else next(leaves)


def gradient(function, values, cot):
    """Of <cot, function(*values)>, one flat list per value."""
    out = []
    for at, value in enumerate(values):
        leaves = flat(value)
        slopes = []
        for j in range(len(leaves)):
            ends = []
            for h in (STEP, -STEP):
                moved = leaves[:j] + [leaves[j] + h] + leaves[j + 1:]
                ends.append(dot(cot, function(*values[:at], like(value, iter(moved)), *values[at + 1:])))
            slopes.append((ends[0] - ends[1]) / (2 * STEP))
        out.append(slopes)
    return out


def conditioning(results, values, rng):
    """Per list that `results` gives: its largest change per relative change of the values, sampled."""
    step = mpf(10) ** -12
    base = [flat(v) for v in results(*values)]
    worst = [mpf(0)] * len(base)
    for _ in range(SAMPLES):
        moved = [like(v, iter([leaf * (1 + step * int(rng.choice([-1, 1]))) for leaf in flat(v)])) for v in values]
        for i, (a, b) in enumerate(zip(base, results(*moved))):
            worst[i] = max(worst[i], norm([p - q for p, q in zip(a, flat(b))]) / step)
    return worst


# ---- Inputs


def stored(values, dtype):
    return np.asarray(values, dtype=dtype)


def exact(array):
    return [exact(a) for a in array] if array.ndim else mpf(float(array))


def draw(kind, row, dim, curvature, dtype, rng, base):
    """One row of an operand as it is stored. `base`: the operand a tangent lies at, or the point to stay near."""
    direction = rng.standard_normal(dim)
    direction /= np.linalg.norm(direction)
    if kind in ("ball", "outside"):
        radius = [0.1, 0.9, 0.999, 1 - 1e-6, 0.0, 0.5][row] if base is None else [0.999, 0.5, 1 - 1e-5, 0.9, 0.3, None][row]
        if radius is None:
            return base
        factor = 1.3 if kind == "outside" and row < 3 else 1
        return stored(direction * radius * factor / np.sqrt(curvature), dtype)
    if kind == "vector":
        return stored(direction * [1.0, 1e-6, 4.0, 0.1, 2.0, 0.0][row], dtype)
    if kind == "number":
        return stored([0.5, -1.5, 1.0, 0.25, 2.0, 0.75][row], dtype)
    if kind == "point":
        distance = [0.1, 1.0, 5.0, 10.0, 0.0, 2.0][row] if base is None else [5.0, 1e-3, 4.0, 10.0, 1.0, None][row]
        if distance is None:
            return base
        space = stored(direction * np.sqrt(curvature) * np.sinh(distance), dtype)
        return stored([np.sqrt(curvature + np.sum(space.astype(float) ** 2)), *space], dtype)
    if kind == "tangent":
        x = base.astype(float)
        # lengths of the metric: along the ray from the origin the space part is x0/sqrt(K) times as long
        size = np.linalg.norm(x[1:])
        ray = x[1:] / size if size else np.zeros(dim)
        direction += ray * np.dot(ray, direction) * (x[0] / np.sqrt(curvature) - 1)
        space = stored(direction * [1.0, 1e-6, 4.0, 0.1, 2.0, 0.0][row], dtype)
        return stored([np.dot(x[1:], space) / x[0], *space], dtype)
    if kind == "ambient":
        return stored(rng.standard_normal(dim + 1) * [1.0, 1e-3, 4.0, 0.1, 2.0, 10.0][row], dtype)
    if kind == "balls":
        return stored(np.stack([draw("ball", r, dim, curvature, dtype, rng, None) for r in (row, 0, 1)]), dtype)
    if kind == "points":
        return stored(np.stack([draw("point", r, dim, curvature, dtype, rng, None) for r in (row, 0, 1)]), dtype)
    if kind == "weights":
        return stored(rng.random(3) + 0.1, dtype)
    raise ValueError(kind)


ROWS = 6
VJP_ROWS = [2, 3, 5]


def geometry_case(op, dtype, dim, curvature, prefix, tensors, rng):
    text, names, function = OPERATIONS[op]
    operands = [tuple(word.split()) for word in text.split(", ")]
    params = {"c": curvature, "K": curvature, "kappa": curvature if dim == 3 else -curvature, "eps": 4e-3, "s": 2.0, "scaling": 1.5}
    params = {n: float(dtype(params[n])) for n in names.split()}
    p = [mpf(v) for v in params.values()]
    differentiated = [n for n in params if n not in ("eps", "scaling")]
    hyp = op == "hyplora"
    inputs, arrays = [], {}
    for name, kind in operands:
        if kind == "matrix":
            shape = {"M": (4, dim), "A": (3, dim), "B": (5, 3)}[name]
            arrays[name] = stored(rng.standard_normal(shape) / 2, dtype)
            continue
        rows = []
        for row in range(ROWS):
            base = None
            if kind == "tangent" or name == "y" and kind in ("ball", "point"):
                base = arrays["x"][row]
            rows.append(draw(kind, row, dim, abs(params[names.split()[0]]), dtype, rng, base))
        arrays[name] = np.stack(rows)
    vjp_rows = list(range(ROWS)) if hyp else VJP_ROWS
    nondiff = [5] if op.endswith(".dist") else [4] if op.endswith(".dist0") else []

    def values(row):
        result = []
        for name, kind in operands:
            v = exact(arrays[name] if kind in SHARED else arrays[name][row])
            if kind in ("point", "tangent"):
                v = v[1:]
            if kind == "points":
                v = [point[1:] for point in v]
            result.append(v)
        return result

    out = [function(*values(r), *p) for r in range(ROWS)]
    width = len(out[0])
    cot = stored(rng.standard_normal((len(vjp_rows), width)), dtype)
    tensors.update({prefix + n: a for n, a in arrays.items()})
    tensors[prefix + "vjp_rows"] = np.asarray(vjp_rows, np.int32)
    one = width == 1
    tensors[prefix + "cot"] = cot[:, 0] if one else cot
    table = np.array([[float(v) for v in row] for row in out])
    tensors[prefix + "out"] = table[:, 0] if one else table

    sens = [conditioning(lambda *v: [function(*v)], values(r) + p, rng)[0] for r in range(ROWS)]
    tensors[prefix + "sens_out"] = np.array([float(s) for s in sens])
    grads, sens_g = [], []
    labels = [n for n, _ in operands] + list(params)
    for i, r in enumerate(vjp_rows):
        def slopes(*v, cotangent=exact(cot[i])):
            return gradient(function, list(v), cotangent)
        if r in nondiff:
            grads.append([[mpf(0)] * len(flat(v)) for v in values(r) + p])
            sens_g.append([mpf(0)] * len(labels))
        else:
            grads.append(slopes(*values(r), *p))
            sens_g.append(conditioning(slopes, values(r) + p, rng))
    kinds = dict(operands)
    outputs = ["out"]
    for j, name in enumerate(labels):
        if name in params and name not in differentiated:
            continue
        per_row = [[float(v) for v in g[j]] for g in grads]
        if kinds.get(name) in SHARED or hyp and name in params:
            total = [float(mp.fsum(g[j][i] for g in grads)) for i in range(len(grads[0][j]))]
            a = np.array(total).reshape(arrays[name].shape if name in arrays else (1,))
            s = np.array([float(mp.fsum(x[j] for x in sens_g))])
        else:
            a = np.array(per_row)
            if kinds.get(name) in ("balls", "points"):
                a = a.reshape(len(vjp_rows), 3, dim)
            elif name in params or kinds.get(name) == "number":
                a = a[:, 0]
            s = np.array([float(x[j]) for x in sens_g])
        tensors[prefix + "g_" + name] = a
        tensors[prefix + "sens_g_" + name] = s
        outputs.append("g_" + name)
    if "X" in arrays:
        params["k"] = 3
    if hyp:
        params["r"], params["k"] = 3, 5
    case = {"op": op, "rows": ROWS, "dim": dim, "params": params,
            "tensors": {"inputs": [n for n, _ in operands], "outputs": outputs}}
    if nondiff:
        case["nondiff_rows"] = nondiff
    return case


def attention(q, k, v, alpha, size, causal, lengths):
    B, H, G, N, D = size
    scaling = mpf(float(np.float32(0.5)))
    out = []
    for b in range(B):
        maps = []
        for h in range(H):
            rows = []
            for i in range(N):
                keys = [j for j in range(N) if j < lengths[b] and (not causal or j <= i)]
                e = {j: mp.exp(scaling * dot(q[b][h][i], k[b][h // (H // G)][j])) for j in keys}
                total = mp.fsum(e.values())
                rows.append([e[j] / total if j in e else mpf(0) for j in range(N)])
            maps.append(rows)
        for h in range(H):
            for i in range(N):
                p = [mp.fsum(alpha[h][n] * maps[n][i][j] for n in range(H)) for j in range(N)]
                out += [mp.fsum(p[j] * v[b][h // (H // G)][j][d] for j in range(N)) for d in range(D)]
    return out


def attention_case(dtype, causal, prefix, tensors, rng):
    size = B, H, G, N, D = 2, 4, 2, 4, 3
    lengths = [N, 3]
    arrays = {"q": (B, H, N, D), "k": (B, G, N, D), "v": (B, G, N, D)}
    arrays = {n: stored(rng.standard_normal(s), dtype) for n, s in arrays.items()}
    arrays["alpha"] = stored(np.eye(H) + rng.standard_normal((H, H)) / 4, dtype)
    cot = stored(rng.standard_normal((B, H, N, D)), dtype)
    mp.dps = 60  # enough with one smooth function, and there are many entries
    global STEP
    before, STEP = STEP, mpf(10) ** -20
    values = [exact(a) for a in arrays.values()]
    out = attention(*values, size, causal, lengths)
    grads = gradient(lambda *v: attention(*v, size, causal, lengths), values, flat(exact(cot)))
    mp.dps, STEP = 120, before
    tensors.update({prefix + n: a for n, a in arrays.items()})
    tensors[prefix + "cot"] = cot
    tensors[prefix + "lengths"] = np.asarray(lengths, np.int32)
    tensors[prefix + "out"] = np.array([float(v) for v in out]).reshape(cot.shape)
    for name, g in zip(arrays, grads):
        tensors[prefix + "g_" + name] = np.array([float(v) for v in g]).reshape(arrays[name].shape)
    return {"op": "mixed_attention", "rows": B, "dim": D,
            "params": {"B": B, "H": H, "Hkv": G, "N": N, "D": D, "scale": 0.5, "causal": causal},
            "tensors": {"inputs": [*arrays, "cot"], "outputs": ["out", *("g_" + n for n in arrays)]}}


def main(folder):
    tensors, cases = {}, []
    rng = np.random.default_rng(20261122)
    file = "golden.safetensors"

    def register(case, name, prefix, dtype, k):
        eps = float(np.finfo(dtype).eps)
        cases.append({"id": f"{case['op']}/{name}", "file": file, "prefix": prefix, "dtype": name, **case,
                      "tol": {"k": k, "eps": eps}})

    for op in OPERATIONS:
        for name, dtype, dim, curvature in (("F32", np.float32, 17, 0.5), ("F64", np.float64, 3, 2.7)):
            prefix = f"{len(cases)}."
            register(geometry_case(op, dtype, dim, curvature, prefix, tensors, rng), name, prefix, dtype, 64)
            print(cases[-1]["id"], flush=True)
    for name, dtype, causal in (("F32", np.float32, True), ("F64", np.float64, False)):
        prefix = f"{len(cases)}."
        register(attention_case(dtype, causal, prefix, tensors, rng), name, prefix, dtype, 256)
        cases[-1]["tol"]["norm"] = "whole tensor"
        print(cases[-1]["id"], flush=True)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for a in tensors.values():
        a[np.abs(a) < NOISE] = 0
    save_file({n: np.ascontiguousarray(a) for n, a in tensors.items()}, folder / file)
    index = {"format": "horosphere-golden-1", "variant": "built-in", "seed": 20261122}
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (folder / "index.json").write_text(json.dumps(index)[:-1] + ', "cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
