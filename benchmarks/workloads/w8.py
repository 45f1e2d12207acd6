"""W8: a linear Gaussian state space of 4 states and 2 observations a step, x_0 ~ N(0, I) seen without a move.

Law: the answers are those of the filter and the smoother in covariances, in double precision; the gradient in the
transition matrix is Fisher's identity, the posterior mean of the gradient of the joint log density.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

LINEAR_STATES, LINEAR_OBSERVED = 4, 2


@dataclass(frozen=True)
class Linear:
    """Transition (n, n), root of a step's covariance (n, n), emission (d, n), sd of the noise (d,), data (T, d)."""

    transition: np.ndarray
    root: np.ndarray
    emission: np.ndarray
    noise: np.ndarray
    observed: np.ndarray


@cache
def linear(steps: int) -> Linear:
    """Model and data of W8: `default_rng(0)`, the matrices, then for each step its state and its data.

    >>> linear(10).observed.shape
    (10, 2)
    """
    rng, n, d = np.random.default_rng(0), LINEAR_STATES, LINEAR_OBSERVED
    transition = 0.95 * np.linalg.qr(rng.normal(size=(n, n)))[0]
    root = 0.3 * np.tril(rng.normal(size=(n, n))) + 0.5 * np.eye(n)
    emission, noise = rng.normal(size=(d, n)), np.sqrt(0.5 + rng.uniform(size=d))
    x, rows = rng.normal(size=n), []
    for t in range(steps):
        x = transition @ x + root @ rng.normal(size=n) if t else x
        rows.append(emission @ x + noise * rng.normal(size=d))
    return Linear(transition, root, emission, noise, np.array(rows))


@cache
def linear_answers(steps: int) -> dict[str, Any]:
    """Log likelihood, its gradient in the transition matrix, and (mean, covariance) of filter and smoother."""
    model, n = linear(steps), LINEAR_STATES
    a, q, c, r = model.transition, model.root @ model.root.T, model.emission, np.diag(model.noise**2)
    mean, cov, total, filtered = np.zeros(n), np.eye(n), 0.0, []
    for t, y in enumerate(model.observed):
        if t:
            mean, cov = a @ mean, a @ cov @ a.T + q
        spread, error = c @ cov @ c.T + r, y - c @ mean
        gain = np.linalg.solve(spread, c @ cov).T
        total -= 0.5 * (error @ np.linalg.solve(spread, error) + np.linalg.slogdet(2 * np.pi * spread)[1])
        rest = np.eye(n) - gain @ c
        mean, cov = mean + gain @ error, rest @ cov @ rest.T + gain @ r @ gain.T
        filtered.append((mean, cov))
    smoothed, gradient = [filtered[-1]], np.zeros((n, n))
    for mean, cov in filtered[-2::-1]:
        after_mean, after_cov = smoothed[-1]
        predicted = a @ cov @ a.T + q
        gain = np.linalg.solve(predicted, a @ cov).T
        now = mean + gain @ (after_mean - a @ mean), cov + gain @ (after_cov - predicted) @ gain.T
        both = after_cov @ gain.T + np.outer(after_mean, now[0])  # E[x_t x_{t-1}'], Särkkä (2013), theorem 8.2
        gradient += np.linalg.solve(q, both - a @ (now[1] + np.outer(now[0], now[0])))
        smoothed.append(now)
    moments = {"filter": filtered, "smoother": smoothed[::-1]}
    found = {name: tuple(np.array(part) for part in zip(*rows, strict=True)) for name, rows in moments.items()}
    return {"log_likelihood": total, "gradient": gradient, **found}
