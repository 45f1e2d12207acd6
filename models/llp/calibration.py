"""Calibration: logits on the scale that counts speak for.

Law: of all z' = a z + c the exact likelihood of the counts, sum_b log P(report_b | z'), is largest at the one returned.
Few bags cannot tell a slope from chance: with fewer than 20 of them the slope is at most one, or left alone.

Reference: Platt (1999), Probabilistic outputs for support vector machines, for the two numbers; the likelihood is that
of bags.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from lawful.errors import NonFiniteError

from .bags import Bags
from .likelihood import checked_logits, count_log_likelihood

__all__ = ["Calibration", "calibrated"]

ENOUGH = 20  # bags that a slope above one asks for
STEEPEST = 20.0  # of slopes


class Calibration(NamedTuple):
    """z' = slope z + shift, and the mean log likelihood of a bag before and after."""

    slope: float
    shift: float
    before: float
    after: float

    def __call__(self, z: Any) -> Any:
        """Put logits on the scale."""
        return self.slope * z + self.shift


def calibrated(z: Any, bags: Bags, *, slope: str = "auto") -> Calibration:
    """Fit slope and shift of logits by the counts of bags, best of bags that the learner has not seen.

    Args:
        z: logits (n,).
        bags: the bags and their counts.
        slope: "free" fits any slope from 0, "capped" one up to 1, "one" leaves it; "auto" is "free" with 20 bags or
            more, else "capped".

    Raises: NonFiniteError where the counts are impossible under z.

    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=4000)
    >>> labels = rng.random(4000) < 1 / (1 + np.exp(1 - z))
    >>> found = calibrated(5 * z, Bags.from_labels(labels, np.arange(4000) // 4))
    >>> abs(found.slope - 0.2) < 0.05, abs(found.shift + 1) < 0.2, found.after > found.before
    (True, True, True)
    """
    z = checked_logits(z, bags)
    known = int(bags.known.sum())
    if slope == "auto":
        slope = "free" if known >= ENOUGH else "capped"
    bounds = {"free": (0.0, STEEPEST), "capped": (0.0, 1.0), "one": (1.0, 1.0)}[slope]
    # In units of its spread a logit has a slope near one, whatever learner made it.
    spread = max(float(jnp.std(z)), 1e-6) if slope == "free" else 1.0

    @jax.jit
    def loss(at: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda at: -jnp.sum(count_log_likelihood(at[0] * z + at[1], bags)) / max(known, 1))(
            at
        )

    def evaluated(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss(jnp.asarray(at / np.array([spread, 1.0]), z.dtype))
        return float(value), np.asarray(gradient, float) / np.array([spread, 1.0])

    limits = [(bounds[0] * spread, bounds[1] * spread), (None, None)]
    start = np.array([float(np.clip(1.0, *bounds)) * spread, 0.0])
    before = evaluated(start)[0]
    if not np.isfinite(before):
        raise NonFiniteError(
            "calibrated: the counts are impossible under these logits. Fix: look for infinite ones among them."
        )
    found = minimize(evaluated, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 100})
    return Calibration(float(found.x[0] / spread), float(found.x[1]), -before, -float(found.fun))
