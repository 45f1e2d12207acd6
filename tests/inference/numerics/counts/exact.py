"""What the count factor means: sums over all assignments, and for large bags the recursion in extended precision."""

import itertools

import numpy as np

EXTENDED = np.longdouble  # 64 bits of mantissa: 1e-19


def log_sigma(x):
    return -np.logaddexp(0, -np.asarray(x, float))


def assignments(size):
    return np.array(list(itertools.product((0, 1), repeat=size)), int).reshape(2**size, size)


def log_weights(h, g, weights=None):
    """All assignments and their log probabilities, normalised members, with and without each member's own part."""
    y = assignments(len(h))
    sums = y @ (np.ones(len(h), int) if weights is None else np.asarray(weights))
    sums = sums - (0 if weights is None else sum(w for w in weights if w < 0))
    parts = np.where(y == 1, log_sigma(h)[None], log_sigma(-h)[None]) if len(h) else np.zeros((1, 0))
    return y, parts, np.asarray(g)[sums]


def log_sum(x):
    return np.logaddexp.reduce(x) if len(x) else -np.inf


def difference(one, zero):
    """The message of two log sums; nothing is known where both are impossible."""
    return 0.0 if one == zero == -np.inf else one - zero


def solve(h, g, weights=None):
    """Messages and log evidence."""
    y, parts, level = log_weights(h, g, weights)
    told = []
    for i in range(len(h)):
        rest = level + np.delete(parts, i, axis=1).sum(axis=1)
        told.append(difference(log_sum(rest[y[:, i] == 1]), log_sum(rest[y[:, i] == 0])))
    return np.array(told), log_sum(level + parts.sum(axis=1))


def posterior(h, g):
    """Assignments and their probabilities; all 0 in an impossible bag."""
    y, parts, level = log_weights(h, g)
    log_p = level + parts.sum(axis=1)
    total = log_sum(log_p)
    return y, np.exp(log_p - total) if total > -np.inf else np.zeros(len(y))


def recursion(h, g):
    """Messages and log evidence in extended precision, linear, tilted by bisection so that nothing underflows."""
    h, g = np.asarray(h).astype(EXTENDED), np.asarray(g).astype(EXTENDED)
    size, s = len(h), np.arange(len(h) + 1).astype(EXTENDED)
    low, high = EXTENDED(-100), EXTENDED(100)
    for _ in range(60):
        theta = (low + high) / 2
        w = np.exp(g - theta * s - np.max(g - theta * s))
        target = np.clip((w * s).sum() / w.sum(), EXTENDED(0.5), EXTENDED(size - 0.5))
        low, high = (low, theta) if (1 / (1 + np.exp(-h - theta))).sum() > target else (theta, high)
    x, level = h + theta, g - theta * s
    p, q, beta = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x)), np.exp(level - level.max())
    alpha = np.zeros((size + 1, size + 1), EXTENDED)
    alpha[0, 0] = 1
    for i in range(size):
        alpha[i + 1] = q[i] * alpha[i]
        alpha[i + 1, 1:] += p[i] * alpha[i, :-1]
    tilt = (np.logaddexp(0, x) - np.logaddexp(0, h)).sum()
    with np.errstate(divide="ignore"):
        log_z = np.log((alpha[size] * beta).sum()) + level.max() + tilt
        told = np.zeros(size)
        for i in reversed(range(size)):
            one, zero = (alpha[i, :-1] * beta[1:]).sum(), (alpha[i] * beta).sum()
            told[i] = theta + np.log(one) - np.log(zero)
            beta = q[i] * beta + np.append(p[i] * beta[1:], EXTENDED(0))
    return told, float(log_z)


def error(found, expected):
    """Largest difference; infinities must agree, and NaN is one of 9e9."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    same = found == expected
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0, np.abs(found - expected))
    return float(np.max(np.where(np.isfinite(gap), gap, 9e9), initial=0))
