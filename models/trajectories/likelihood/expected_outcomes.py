"""Expected outcomes: what is expected of persons at given times, class by class, and how outcomes spread around it.

Law: given the class and what was seen of a person, the outcome at a time is normal with mean `l'm + kappa'x` and
variance `l'C l + th`, with l the loadings there, m and C the moments of the growth factors, and x the time-varying
covariates; over classes it is the mixture by memberships. Of a person of whom nothing was seen but covariates, these
are the moments of the class at these covariates. A random shape is followed to first order, as in `factor_scores`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from ..model.panels import Panel
from ..model.parameters import Model, Parameters
from .density import factor_scores, log_memberships

__all__ = ["Expected", "expected_outcomes", "loadings", "mixture_interval"]

FAR = 12.0  # standard deviations, beyond which no quantile lies
HALVINGS = 60
TINY = 1e-300


class Expected(NamedTuple):
    """Outcomes of n persons in K classes at m times.

    Attributes:
        weights: probability of each class (n, K).
        mean: expected outcome (n, K, m).
        variance: of the person's curve around it, without the residual (n, K, m).
    """

    weights: jax.Array
    mean: jax.Array
    variance: jax.Array

    @property
    def marginal(self) -> jax.Array:
        """Expected outcome with the classes summed out (n, m)."""
        return jnp.sum(self.weights[..., None] * self.mean, axis=1)


def expected_outcomes(
    parameters: Parameters, seen: Panel, times: Any, model: Model, width: Any = 0.0, varying: Any = None
) -> Expected:
    """Give the moments of outcomes at given times.

    Args:
        parameters: in the units of the panel, without an axis of persons.
        seen: what was seen of n persons; masks may be 0 throughout.
        times: (m,), or (n, m) where they differ by person.
        model: which mixture.
        width: of the smoothing of kinks, in units of time.
        varying: time-varying covariates at these times (n, m, p_v); None where they are 0.

    >>> from lawful.models.trajectories import panel
    >>> at = Parameters(
    ...     jnp.zeros((1, 1)), jnp.array([[1.0, 2.0]]), jnp.zeros((1, 0)), jnp.zeros((1, 2, 0)), jnp.eye(2)[None],
    ...     jnp.ones(1), jnp.zeros((1, 0)), jnp.zeros((1, 0, 0)))
    >>> nothing = panel([[float("nan")]], [0.0])
    >>> found = expected_outcomes(at, nothing, jnp.array([0.0, 3.0]), Model("LIN", 1))
    >>> found.mean.tolist(), found.variance.tolist()  # 1 + 2 t, and 1 + t^2
    ([[[1.0, 7.0]]], [[[1.0, 10.0]]])
    """
    wide = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], parameters)
    centre, covariance = factor_scores(wide, seen, model, width)
    times = jnp.asarray(times)
    times = jnp.broadcast_to(times, (seen.n, times.shape[-1]))
    loads = jax.vmap(partial(loadings, times=times, model=model, width=width))(parameters)
    mean = jnp.einsum("knq,kqnm->nkm", centre, loads)
    if varying is not None:
        assert parameters.varying is not None
        mean = mean + jnp.einsum("kv,nmv->nkm", parameters.varying.effect, varying)
    variance = jnp.einsum("kqnm,knqr,krnm->nkm", loads, covariance, loads)
    return Expected(jnp.exp(log_memberships(wide, seen, model, width)).T, mean, variance)


def loadings(at: Parameters, times: jax.Array, model: Model, width: Any) -> jax.Array:
    """Give the loadings of one class at times of any shape (Q, ...); a random shape comes first, to first order."""
    shape = at.shape[0] if model.form.shape else jnp.zeros((), times.dtype)
    columns = list(model.form.basis(times, shape, width))
    if model.intrinsic:
        columns.insert(0, model.form.sensitivity(times, shape, at.mean, width))
    return jnp.stack([jnp.broadcast_to(column, times.shape) for column in columns])


def mixture_interval(weights: jax.Array, mean: jax.Array, spread: jax.Array, ends: jax.Array) -> jax.Array:
    """Give the mean of mixtures of normals, and where they have given probabilities.

    Args:
        weights: of the parts, whose sum over the last axis is 1 (D, K).
        mean: of the parts (D, K, m).
        spread: their standard deviations (D, K, m); 0 for a part that is a point.
        ends: probabilities (2,), found by bisection.

    Returns: mean, lower and upper end (m, 3).

    >>> one = jnp.ones((1, 1))
    >>> mixture_interval(one, 3.0 * one[..., None], 2.0 * one[..., None], jnp.array([0.5, 0.97725])).round(3).tolist()
    [[3.0, 3.0, 7.0]]
    """
    share = weights[..., None] / len(weights)
    middle = jnp.sum(share * mean, axis=(0, 1))
    low, high = (
        jnp.broadcast_to(x, (len(ends), *x.shape))
        for x in (jnp.min(mean - FAR * spread, axis=(0, 1)), jnp.max(mean + FAR * spread, axis=(0, 1)))
    )

    def halved(_: int, around: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        at = 0.5 * (around[0] + around[1])
        away = (at[:, None, None] - mean) / jnp.maximum(spread, TINY)
        above = jnp.sum(share * ndtr(away), axis=(1, 2)) > ends[:, None]
        return jnp.where(above, around[0], at), jnp.where(above, at, around[1])

    low, high = jax.lax.fori_loop(0, HALVINGS, halved, (low, high))
    return jnp.stack([middle, *(0.5 * (low + high))], axis=-1)
