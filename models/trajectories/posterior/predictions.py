"""Predictions of a posterior: the curve of a person, and the outcomes of the population at a time.

Law: parameters, classes and growth factors are summed out, so no names of classes are needed: whatever draws call them,
the numbers are the same. A time-varying covariate counts where it was measured, and is 0 in what is predicted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from lawful.errors import LawfulError

from ...latent_classes.invariants import tails
from ..likelihood.density import factor_scores, log_likelihood_by_person, log_memberships
from ..model.panels import Panel, panel
from ..model.parameters import Model, Parameters
from ..reading.settings import spaced
from .draws import NamedDraws

__all__ = ["DRAWS", "mixture_density", "person_curves"]

DRAWS = 400  # of the posterior, evenly spaced, that are looked at
BLOCK = 1 << 22  # numbers of draws, classes, persons and times that are looked at together
FAR = 12.0  # standard deviations, beyond which no quantile lies
HALVINGS = 60
TINY = 1e-300


def person_curves(
    posterior: NamedDraws, times: Any, persons: Any, level: float, outcomes: bool, draws: int
) -> np.ndarray:
    """Give mean, lower and upper end of the curves of persons (p, m, 3); see `TrajectoryPosterior.person_curves`.

    At a time the curve of a person is a mixture of normals over draws and classes, whose quantiles are bisected.
    """
    times = jnp.asarray(_numbers(times, "person_curves", "times"))
    data, at, ends = posterior.data, _spaced(posterior, "person_curves", draws), jnp.asarray(tails(level))
    chosen = np.arange(len(data.y)) if persons is None else _places(persons, len(data.y))
    noise = at.noise if outcomes else 0.0 * at.noise
    found = []
    block = max(1, BLOCK // (at.noise.size * len(times)))
    for some in (chosen[i : i + block] for i in range(0, len(chosen), block)):
        varying = None if data.varying is None else data.varying[some]
        seen = panel(data.y[some], data.t[some], data.gate[some], data.growth[some], varying)
        found.append(np.asarray(_curves(at, noise, seen, times, ends, posterior.model, _width(posterior))))
    return np.concatenate(found)


def mixture_density(posterior: NamedDraws, y: Any, time: Any, draws: int) -> np.ndarray:
    """Give the density of outcomes y (m,) at a time; see `TrajectoryPosterior.mixture_density`."""
    y = _numbers(y, "mixture_density", "y")
    if isinstance(time, bool) or not isinstance(time, int | float | np.number) or not np.isfinite(time):
        raise LawfulError(f"mixture_density: time={time!r}, expected one finite number. Fix: ask time by time.")
    data, model = posterior.data, replace(posterior.model, p_varying=0, waves=0)
    at = _spaced(posterior, "mixture_density", draws)._replace(varying=None)
    blank = np.full((len(data.y), 1), np.nan)
    nobody = panel(blank, blank, data.gate, data.growth)
    nobody = nobody._replace(t=jnp.full_like(nobody.t, time))
    return np.asarray(_density(at, nobody, jnp.asarray(y), model, _width(posterior)))


def _width(posterior: NamedDraws) -> float:
    """Give the smoothing of kinks in the user's units of time."""
    return float(posterior.at.width) * float(posterior.scaling.t_scale)


@partial(jax.jit, static_argnames="model")
def _curves(
    parameters: Parameters, noise: jax.Array, seen: Panel, times: jax.Array, ends: jax.Array, model: Model, width: Any
) -> jax.Array:
    def one(given: tuple[Parameters, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        at, noise = given
        wide = jax.tree.map(lambda leaf: leaf[..., None], at)
        mean, covariance = factor_scores(wide, seen, model, width)
        loads = jax.vmap(partial(_loads, times=times, model=model, width=width))(at)
        variance = jnp.einsum("kqm,knqr,krm->nkm", loads, covariance, loads) + noise[:, None]
        weights = jnp.exp(log_memberships(wide, seen, model, width)).T
        return weights, jnp.einsum("knq,kqm->nkm", mean, loads), jnp.sqrt(jnp.maximum(variance, 0.0))

    weights, mean, spread = jax.lax.map(one, (parameters, noise))  # (D, n, K), (D, n, K, m) twice
    by_person = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (weights, mean, spread))
    return jax.lax.map(lambda each: _mixed(each[0], each[1], each[2], ends), by_person)


def _mixed(weights: jax.Array, mean: jax.Array, spread: jax.Array, ends: jax.Array) -> jax.Array:
    """Give the mean of mixtures of normals (D, K, m) with weights (D, K), and where they have probabilities (m, 3)."""
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


def _loads(at: Parameters, times: jax.Array, model: Model, width: Any) -> jax.Array:
    """Give the loadings of one class (Q, m); a random shape comes first, to first order."""
    shape = at.shape[0] if model.form.shape else jnp.zeros((), times.dtype)
    columns = list(model.form.basis(times, shape, width))
    if model.intrinsic:
        columns.insert(0, model.form.sensitivity(times, shape, at.mean, width))
    return jnp.stack([jnp.broadcast_to(column, times.shape) for column in columns])


@partial(jax.jit, static_argnames="model")
def _density(parameters: Parameters, nobody: Panel, y: jax.Array, model: Model, width: Any) -> jax.Array:
    def one(at: Parameters) -> jax.Array:
        wide = jax.tree.map(lambda leaf: leaf[..., None], at)
        before = log_likelihood_by_person(wide, nobody, model, width)  # of covariates alone

        def of(outcome: jax.Array) -> jax.Array:
            seen = nobody._replace(y=jnp.full_like(nobody.y, outcome), mask=jnp.ones_like(nobody.mask))
            return jnp.mean(jnp.exp(log_likelihood_by_person(wide, seen, model, width) - before))

        return jax.lax.map(of, y)

    return jnp.mean(jax.lax.map(one, parameters), axis=0)


def _spaced(posterior: NamedDraws, who: str, draws: Any) -> Parameters:
    """Give evenly spaced draws of the parameters in the user's units (D, K, ...)."""
    total = math.prod(posterior.shape)
    places = spaced(who, draws, total)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(total, *leaf.shape[2:])[places]), posterior.parameters)


def _numbers(given: Any, who: str, name: str) -> np.ndarray:
    found = np.asarray(given)
    if found.ndim != 1 or found.dtype.kind not in "iuf" or not len(found) or not np.isfinite(found).all():
        raise LawfulError(
            f"{who}: {name} is an array of {found.dtype} and shape {found.shape}, expected finite numbers in a row. "
            "Fix: give such a list."
        )
    return found.astype(float)


def _places(given: Any, n: int) -> np.ndarray:
    found = np.asarray(given)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found) or found.min() < 0 or found.max() >= n:
        raise LawfulError(
            f"person_curves: persons is an array of {found.dtype} and shape {found.shape}, expected places from 0 to "
            f"{n - 1} in a row. Fix: give such a list."
        )
    return found
