"""Log odds on the right scale: z' = a z + c by the exact likelihood of the counts of bags.

Law: a and c maximise sum_b log P(S_b | a z + c), with a prior of one over the width of the scores' own scale to keep a
finite where the counts are separable. The slope by (a, c) is that of expectation maximisation: the posterior less the
probability, times (z, 1). With one slope for all classes and a shift for each, the same holds for log scores (n, K).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from .bags import Bags
from .baselines import Fitted
from .likelihood import count_log_likelihood, posterior_given_counts

__all__ = ["Affine", "calibrate", "recalibrated"]


@dataclass(frozen=True, eq=False)
class Affine:
    """The map of log odds to slope * z + shift; a shift of each class (K,) for log scores."""

    slope: float = 1.0
    shift: Any = 0.0

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Map log odds (n,) or log scores (n, K), which are normalised again."""
        z = self.slope * np.asarray(z, float) + self.shift
        return z if z.ndim == 1 else z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def calibrate(z: np.ndarray, bags: Bags, which: np.ndarray | None = None, *, free_slope: bool = True) -> Affine:
    """Fit slope and shift, or the shift alone.

    Args:
        z: log odds (n,), or log scores of classes (n, K).
        bags: all bags, so that one program serves any choice of them.
        which: bags whose counts are looked at, a mask (n_b,); those with a known count by default.
        free_slope: whether the slope is fitted; it is 1 otherwise.

    >>> bags = Bags.from_ids(np.arange(8) // 2, counts=[0, 1, 1, 2])
    >>> found = calibrate(np.repeat([-4.0, 0.0, 0.0, 4.0], 2), bags, free_slope=False)
    >>> found.slope, round(float(found.shift), 6) + 0.0
    (1.0, 0.0)
    """
    z = np.asarray(z, float)
    classes = 1 if z.ndim == 1 else z.shape[1]
    centred = z - z.mean(axis=0)
    scale = max(float(np.sqrt(np.mean(centred**2))), 1e-9)
    used = bags.known if which is None else which & bags.known
    inside = np.bincount(bags.members[used[bags.owners]], minlength=bags.n_rows) > 0

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        at = Affine(theta[0] if free_slope else 1.0, _shift(theta, z.ndim))(z)
        logs = np.asarray(count_log_likelihood(at, bags), float)
        value = -np.sum(logs[used]) + 0.5 * (theta[0] * scale / 10) ** 2
        if bags.overlapping:  # rows have no posterior of their own there; the slopes come from differences
            return float(value), np.empty(0)
        excess = np.where(np.reshape(inside, (-1,) + (1,) * (z.ndim - 1)), _posterior(at, bags) - _chance(at), 0)
        slope = np.sum(excess * z)
        shift = np.sum(excess, axis=0)
        along = np.concatenate([[-slope + theta[0] * (scale / 10) ** 2 if free_slope else 0.0], -np.atleast_1d(shift)])
        return float(value), along

    start = np.concatenate([[1.0], np.zeros(classes)])
    options = {"maxiter": 60, "gtol": 1e-4 * max(int(used.sum()), 1)}
    if bags.overlapping:
        found = minimize(lambda theta: objective(theta)[0], start, method="BFGS", options=options)
    else:
        found = minimize(objective, start, jac=True, method="BFGS", options=options)
    return Affine(float(found.x[0]) if free_slope else 1.0, _shift(found.x, z.ndim))


def recalibrated(fitted: Fitted, affine: Affine) -> Fitted:
    """Put the map behind a fitted learner."""
    logits = partial(_mapped, logits=fitted.logits, affine=affine)
    return replace(fitted, logits=logits)


def _shift(theta: np.ndarray, dimensions: int) -> Any:
    return float(theta[1]) if dimensions == 1 else theta[1:] - theta[1:].mean()


def _posterior(z: np.ndarray, bags: Bags) -> np.ndarray:
    return np.asarray(posterior_given_counts(jnp.asarray(z), bags), float)


def _chance(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z)) if z.ndim == 1 else np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))


def _mapped(X: np.ndarray, logits: Any, affine: Affine) -> np.ndarray:
    return affine(logits(X))
