"""Pointwise bands of class curves.

Law: a curve is a function of the reported growth factors and shape of its class, so its error follows from theirs by
the delta method, or its values from those of bootstrap replicates. Near a knot that is uncertain the delta method
misleads, since the curve bends there; the bootstrap does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ..model.parameters import Model
from ..model.reports import Row

__all__ = ["curve_bands"]


def curve_bands(
    rows: Sequence[Row],
    values: np.ndarray,
    model: Model,
    times: Any,
    level: float = 0.95,
    covariance: np.ndarray | None = None,
    replicates: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Give a band around the curve of each class, where covariates are 0.

    Args:
        rows: what a fit reports (R,).
        values: the estimates (R,).
        model: which mixture.
        times: in the user's units (m,).
        level: of confidence, at each time.
        covariance: of the errors of the estimates (R, R), for bands by the delta method; or
        replicates: estimates of the bootstrap (B, R), whose quantiles are taken.

    Returns: lower and upper ends (K, m). NaN where errors of a class are refused.
    """
    times = jnp.asarray(times, float)
    lower, upper = [], []
    for k in range(1, model.n_classes + 1):
        own = [i for i, row in enumerate(rows) if row.label == k and row.parameter.startswith("mu")]
        places = np.array([i for i in own if not rows[i].parameter.startswith("mux")])
        if replicates is not None:
            drawn = _curves(jnp.asarray(replicates[:, places]), times, model)
            tail = 0.5 * (1 - level)
            ends = np.quantile(np.asarray(drawn), [tail, 1 - tail], axis=0)
        else:
            assert covariance is not None
            at = jnp.asarray(values[places])
            slopes = np.asarray(_slopes(at, times, model))
            cov = covariance[np.ix_(places, places)]
            error = np.sqrt(np.einsum("ma,ab,mb->m", slopes, cov, slopes))
            centre = np.asarray(_curves(at[None], times, model))[0]
            ends = centre + norm.ppf(0.5 + 0.5 * level) * np.array([-1.0, 1.0])[:, None] * error
        lower.append(ends[0])
        upper.append(ends[1])
    return np.array(lower), np.array(upper)


def _curve(told: jax.Array, times: jax.Array, model: Model) -> jax.Array:
    """Give the curve (m,) of reported growth factors, the shape last where there is one."""
    form = model.form
    shape = told[form.q] if form.shape else jnp.zeros((), told.dtype)
    return form.value(times, shape, jnp.linalg.solve(form.reported(shape), told[: form.q]))


@partial(jax.jit, static_argnames="model")
def _curves(told: jax.Array, times: jax.Array, model: Model) -> jax.Array:
    return jax.lax.map(lambda one: _curve(one, times, model), told)


@partial(jax.jit, static_argnames="model")
def _slopes(told: jax.Array, times: jax.Array, model: Model) -> jax.Array:
    return jax.jacfwd(lambda one: _curve(one, times, model))(told)
