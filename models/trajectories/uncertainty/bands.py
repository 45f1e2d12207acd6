"""Pointwise bands of class curves.

Law: a curve is a function of the reported growth factors and shape of its class, so its error follows from theirs by
the delta method, or its values from those of bootstrap replicates. Near a knot that is uncertain the delta method
misleads, since the curve bends there; the bootstrap does not.

Source: specification section 8.7.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ..model.parameters import Model
from .bootstrap import Bootstrap

if TYPE_CHECKING:
    from ..results import TrajectoryFit

__all__ = ["curve_bands"]


def curve_bands(
    fit: TrajectoryFit, times: Any, level: float = 0.95, bootstrap: Bootstrap | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Give a band around the curve of each class, where covariates are 0.

    Args:
        fit: a fit.
        times: in the user's units (m,).
        level: of confidence, at each time.
        bootstrap: replicates of the fit, whose quantiles are taken; else errors by the delta method.

    Returns: lower and upper ends (K, m). NaN where errors of a class are refused and no replicates are given.
    """
    times = jnp.asarray(times, float)
    lower, upper = [], []
    for k in range(1, fit.model.n_classes + 1):
        own = [i for i, row in enumerate(fit.rows) if row.label == k and row.parameter.startswith("mu")]
        places = np.array([i for i in own if not fit.rows[i].parameter.startswith("mux")])
        if bootstrap is not None:
            drawn = _curves(jnp.asarray(bootstrap.values[:, places]), times, fit.model)
            tail = 0.5 * (1 - level)
            ends = np.quantile(np.asarray(drawn), [tail, 1 - tail], axis=0)
        else:
            at = jnp.asarray(fit.values[places])
            slopes = np.asarray(_slopes(at, times, fit.model))
            cov = fit.standard_errors.covariance[np.ix_(places, places)]
            error = np.sqrt(np.einsum("ma,ab,mb->m", slopes, cov, slopes))
            centre = np.asarray(_curves(at[None], times, fit.model))[0]
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
