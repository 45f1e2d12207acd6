"""Predictions of a posterior: outcomes and curves at given times, memberships of further persons, densities.

Law: parameters, classes and growth factors are summed out; what is told of no class by name needs no names, whatever
draws call them. A time-varying covariate counts where it was measured, and is 0 in what is predicted where it is not
given.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from ...latent_classes.invariants import tails
from ..likelihood.density import log_likelihood_by_person, log_memberships, log_prior_classes
from ..likelihood.expected_outcomes import expected_outcomes, mixture_interval
from ..model.panels import Panel, panel
from ..model.parameters import Model, Parameters
from ..reading.measured import Measured
from ..reading.prediction_grid import Grid, numbers_in_a_row, unseen, when_seen
from ..reading.settings import spaced
from ..tables.predicted_outcomes import PredictedOutcomes
from .draws import NamedDraws

__all__ = ["DRAWS", "fitted_outcomes", "memberships_of", "mixture_density", "person_curves", "predicted_outcomes"]

DRAWS = 400  # of the posterior, evenly spaced, that are looked at
BLOCK = 1 << 22  # numbers of draws, classes, persons and times that are looked at together


def predicted_outcomes(posterior: NamedDraws, grid: Grid, level: float, interval: str, draws: int) -> PredictedOutcomes:
    """Predict outcomes; see `TrajectoryPosterior.predict_outcome`.

    Given parameters and a class, the curve of a person is normal at a time; so where curves and outcomes fall is a
    mixture of normals over draws and classes, whose quantiles are bisected.
    """
    times, read, at = jnp.asarray(grid.times), grid.read, _spaced(posterior, "predict_outcome", draws)
    ends, count = jnp.asarray(tails(level)), len(read.y)
    block = max(1, BLOCK // (at.noise.size * len(grid.times)))
    found = []
    for some in (np.arange(i, min(i + block, count)) for i in range(0, count, block)):
        varying = None if grid.varying is None else jnp.asarray(grid.varying[some])
        seen = _panel(_some(read, some))
        found.append(_predicted(at, seen, times, varying, ends, posterior.model, _width(posterior), interval))
    weights, by_class, marginal = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return PredictedOutcomes(grid.times, np.asarray(read.persons), weights, by_class, marginal)


def person_curves(
    posterior: NamedDraws, times: Any, persons: Any, level: float, outcomes: bool, draws: int
) -> np.ndarray:
    """Give mean, lower and upper end of the curves of persons (p, m, 3); see `TrajectoryPosterior.person_curves`."""
    times, data = numbers_in_a_row(times, "person_curves", "times"), posterior.data
    chosen = np.arange(len(data.y)) if persons is None else _places(persons, len(data.y))
    kind = "outcome" if outcomes else "curve"
    return predicted_outcomes(posterior, Grid(times, _some(data, chosen), None), level, kind, draws).marginal


def fitted_outcomes(posterior: NamedDraws, outcomes: bool, draws: int) -> np.ndarray:
    """Give what persons of the data are expected to measure at their times (n, J), the mean over draws."""
    read = posterior.data if outcomes else unseen(posterior.data)
    times, varying = when_seen(posterior.data)
    at = _spaced(posterior, "fitted_values", draws)
    return np.asarray(_fitted(at, _panel(read), times, varying, posterior.model, _width(posterior)))


def memberships_of(posterior: NamedDraws, read: Measured, outcomes: bool) -> np.ndarray:
    """Give the probability of each class, renamed, for further persons (n, K), the mean over draws.

    Args:
        posterior: draws of the parameters.
        read: persons.
        outcomes: whether outcomes and growth covariates count, or gate covariates alone.
    """
    at = _spaced(posterior, "predict_proba", math.prod(posterior.shape))
    return np.asarray(_memberships(at, _panel(read), posterior.model, _width(posterior), outcomes)).T


def mixture_density(posterior: NamedDraws, y: Any, time: Any, draws: int) -> np.ndarray:
    """Give the density of outcomes y (m,) at a time; see `TrajectoryPosterior.mixture_density`."""
    y = numbers_in_a_row(y, "mixture_density", "y")
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


def _panel(read: Measured) -> Panel:
    return panel(read.y, read.t, read.gate, read.growth, read.varying)


def _some(read: Measured, places: np.ndarray) -> Measured:
    """Give some of the persons."""
    varying = None if read.varying is None else read.varying[places]
    return replace(
        read, persons=np.asarray(read.persons)[places], y=read.y[places], t=read.t[places], gate=read.gate[places],
        growth=read.growth[places], varying=varying, cells=None,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("model", "interval"))
def _predicted(
    parameters: Parameters, seen: Panel, times: jax.Array, varying: Any, ends: jax.Array, model: Model, width: Any,
    interval: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """Give memberships (n, K), and means with intervals by class (n, K, m, 3) and of the mixture (n, m, 3)."""

    def one(at: Parameters) -> tuple[jax.Array, jax.Array, jax.Array]:
        found = expected_outcomes(at, seen, times, model, width, varying)
        noise = at.noise[:, None] if interval == "outcome" else 0.0
        return found.weights, found.mean, jnp.sqrt(jnp.maximum(found.variance + noise, 0.0))

    weights, mean, spread = jax.lax.map(one, parameters)  # (D, n, K), (D, n, K, m) twice
    share = jnp.mean(weights, axis=0)
    if interval == "mean":

        def told(values: jax.Array) -> jax.Array:
            return jnp.stack([jnp.mean(values, axis=0), *jnp.quantile(values, ends, axis=0)], axis=-1)

        return share, told(mean), told(jnp.sum(weights[..., None] * mean, axis=2))
    ones = jnp.ones((len(weights), 1), weights.dtype)

    def of_class(mean: jax.Array, spread: jax.Array) -> jax.Array:
        return mixture_interval(ones, mean[:, None], spread[:, None], ends)

    def of_person(each: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(of_class, in_axes=1)(each[1], each[2]), mixture_interval(*each, ends)

    by_person = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (weights, mean, spread))
    return share, *jax.lax.map(of_person, by_person)


@partial(jax.jit, static_argnames="model")
def _fitted(parameters: Parameters, seen: Panel, times: Any, varying: Any, model: Model, width: Any) -> jax.Array:
    def add(total: jax.Array, at: Parameters) -> tuple[jax.Array, None]:
        return total + expected_outcomes(at, seen, times, model, width, varying).marginal, None

    return jax.lax.scan(add, jnp.zeros(seen.y.T.shape, seen.y.dtype), parameters)[0] / len(parameters.noise)


@partial(jax.jit, static_argnames=("model", "outcomes"))
def _memberships(parameters: Parameters, seen: Panel, model: Model, width: Any, outcomes: bool) -> jax.Array:
    def add(total: jax.Array, at: Parameters) -> tuple[jax.Array, None]:
        wide = jax.tree.map(lambda leaf: leaf[..., None], at)
        own = log_memberships(wide, seen, model, width) if outcomes else log_prior_classes(wide.gate, seen.gate)
        return total + jnp.exp(own), None

    nothing = jnp.zeros((model.n_classes, seen.n), seen.y.dtype)
    return jax.lax.scan(add, nothing, parameters)[0] / len(parameters.noise)


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


def _places(given: Any, n: int) -> np.ndarray:
    found = np.asarray(given)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found) or found.min() < 0 or found.max() >= n:
        raise LawfulError(
            f"person_curves: persons is an array of {found.dtype} and shape {found.shape}, expected places from 0 to "
            f"{n - 1} in a row. Fix: give such a list."
        )
    return found
