"""The density of section 2 of the specification, written out person by person with dense covariances; random cases."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from lawful.models.trajectories import Bounds, Model, panel, unpack

BOUNDS = Bounds(0.1, 0.9)


def rows(name, t, g, width=0.0):
    """Rows of L, from the table of curve shapes; the spline in the form of the peers, (1, t - g, |t - g|)."""
    one = np.ones_like(t)
    return {
        "LIN": lambda: np.stack([one, t], -1),
        "QUAD": lambda: np.stack([one, t, t**2], -1),
        "EXP": lambda: np.stack([one, 1 - np.exp(-g * t)], -1),
        "JB": lambda: np.stack([one, t, np.exp(g * t) - 1], -1),
        "BLS": lambda: np.stack([one, t - g, np.sqrt((t - g) ** 2 + width**2)], -1),
    }[name]()


def extra(name, t, g, a, width=0.0):
    """The column of a random shape, from the same table; a are the class intercepts of `rows`."""
    if name == "EXP":
        return a[1] * t * np.exp(-g * t)
    if name == "JB":
        return a[2] * t * np.exp(g * t)
    u = t - g
    return -a[2] * u / np.sqrt(u**2 + width**2) - a[1]


def to_rows(name):
    """The matrix from level at the knot and slopes to the factors of `rows`."""
    return np.array([[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]]) if name == "BLS" else np.eye(3)


def case(model, n=6, waves=5, seed=0, missing=0.0):
    """Random parameters and a random panel: arrays with persons first, the panel, and the free vector (P, 1)."""
    rng = np.random.default_rng(seed)
    free = rng.normal(size=(model.size, 1)) * 0.7
    t = np.sort(rng.uniform(size=(n, waves)), axis=1)
    y = rng.normal(size=(n, waves)) * 2
    y[rng.uniform(size=y.shape) < missing] = np.nan
    x_gate, x_growth = rng.normal(size=(n, model.p_gate)), rng.normal(size=(n, model.p_growth))
    return (y, t, x_gate, x_growth), panel(y, t, x_gate, x_growth), free


def dense(model, free, arrays, width=0.0):
    """Log-likelihood by person (n,), log joint by class (n, K), factor scores by person and class, all the long way."""
    p = [np.asarray(leaf)[..., 0] for leaf in unpack(free, model, BOUNDS)[:8]]
    gate, mean, shape, slope, chol, noise, x_mean, x_chol = p
    y, t, x_gate, x_growth = arrays
    logits = np.c_[np.ones(len(y)), x_gate] @ gate.T
    joint = logits - logsumexp(logits, axis=1, keepdims=True)
    scores = []
    change = to_rows(model.curve)[: model.form.q, : model.form.q]
    for i in range(len(y)):
        seen = np.isfinite(y[i])
        scores.append([])
        for k in range(model.n_classes):
            g = shape[k, 0] if shape.shape[1] else 0.0
            a, psi, b = change @ mean[k], chol[k] @ chol[k].T, slope[k]
            loads = rows(model.curve, t[i, seen], g, width)
            centre = a
            if model.intrinsic:  # the shape comes first
                loads = np.c_[extra(model.curve, t[i, seen], g, a, width), loads]
                centre = np.r_[0.0, a]
                big = np.eye(len(psi))
                big[1:, 1:] = change
                psi, b = big @ psi @ big.T, big @ b
            else:
                psi, b = change @ psi @ change.T, change @ b
            expected = centre + b @ x_growth[i]
            if seen.any():
                sigma = loads @ psi @ loads.T + noise[k] * np.eye(seen.sum())
                joint[i, k] += multivariate_normal.logpdf(y[i, seen], loads @ expected, sigma)
                gain = psi @ loads.T @ np.linalg.inv(sigma)
                scores[-1].append((expected + gain @ (y[i, seen] - loads @ expected), psi - gain @ loads @ psi))
            if model.joint and model.p_growth:
                joint[i, k] += multivariate_normal.logpdf(x_growth[i], x_mean[k], x_chol[k] @ x_chol[k].T)
    return logsumexp(joint, axis=1), joint, scores


MODELS = [
    Model("LIN", 2),
    Model("QUAD", 3, p_gate=1),
    Model("EXP", 2, p_gate=2, p_growth=1),
    Model("EXP", 2, p_growth=1, intrinsic=True),
    Model("JB", 2, p_growth=2, joint=False),
    Model("JB", 1, intrinsic=True),
    Model("BLS", 2, p_gate=2, p_growth=2),
    Model("BLS", 2, p_gate=1, p_growth=2, intrinsic=True),
    Model("BLS", 1),
]
