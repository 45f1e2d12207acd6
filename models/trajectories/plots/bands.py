"""Bands of the curves of classes by the delta method, from the covariance of what a fit reports.

Law: the variance of a curve at a time is `d' V d`, with d its derivative by the class intercepts and the shape. A shape
without a Wald error is taken as known; `held` names it. A class whose intercepts have no errors has no band.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from ..results import TrajectoryFit

__all__ = ["Band", "band_of"]

NORMAL_95 = 1.959963984540054


class Band(NamedTuple):
    """A curve (m,) with its pointwise 95 % limits (m,), NaN where there are none, and what they take as known."""

    curve: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    held: tuple[str, ...]


def band_of(fit: TrajectoryFit, label: int, times: np.ndarray) -> Band:
    """Give the curve of a class where growth covariates are 0.

    Args:
        fit: a fit by maximum likelihood.
        label: the class, from 1.
        times: where (m,).
    """
    form = fit.model.form
    names = [f"mu{factor}" for factor in form.factors] + (["mug"] if form.shape else [])
    rows = [i for i, row in enumerate(fit.rows) if row.label == label and row.parameter in names]

    def curve(at: Any) -> jax.Array:
        shape = at[form.q] if form.shape else jnp.zeros(())
        return form.value(jnp.asarray(times, float), shape, jnp.linalg.solve(form.reported(shape), at[: form.q]))

    with jax.enable_x64(True):
        at = jnp.asarray(fit.values[rows])
        value, slope = np.asarray(curve(at)), np.asarray(jax.jacfwd(curve)(at))
    covariance = fit.standard_errors.covariance[np.ix_(rows, rows)]
    known = ~np.isfinite(np.diagonal(covariance))
    if known[: form.q].any():
        nothing = np.full(len(value), np.nan)
        return Band(value, nothing, nothing, tuple(np.array(names)[known].tolist()))
    safe = np.where(known[:, None] | known, 0.0, covariance)
    error = NORMAL_95 * np.sqrt(np.maximum(np.einsum("ma,ab,mb->m", slope, safe, slope), 0.0))
    return Band(value, value - error, value + error, tuple(np.array(names)[known].tolist()))
