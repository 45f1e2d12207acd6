"""Where tempering starts: classes around those of the optima of the penalised likelihood, the rest from its prior.

Law: the program below has the measure of `bayes.posterior_program`, whatever the reference. Optima decide how far the
estimates spread, not what they estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lawful
from lawful import handlers

from ..latent_classes.reference import Reference, around, coordinates, drawn_classes, valued
from .marginal import log_likelihood
from .parameters import Model, unpack
from .priors import Priors, draw_classes, draw_effects, draw_shared, parameters_of, sites_of
from .search import Search

__all__ = ["reference_of", "referring_program"]

ENDS = 8  # optima that a reference is around
DRAWS = 1000  # of the prior, for mean and covariance of a class


@lru_cache(maxsize=64)
def referring_program(model: Model, select: bool = False) -> Callable[..., None]:
    """Give the program of a posterior whose classes are drawn from a reference: a function of `Posed` and reference.

    Args:
        model: which mixture.
        select: whether a horseshoe selects covariates; their effects are drawn from the prior then.
    """
    classes = _classes(model, select)

    def trajectories(at: Any, reference: Reference) -> None:
        sites = draw_shared(model, at.priors, at.panel.n if select else 0)
        if select:
            sites |= draw_effects(model, at.priors)
        sites |= drawn_classes(reference, "class", classes, at.priors)
        parameters = parameters_of(sites, model, at.knots)
        lawful.factor("persons", log_likelihood(parameters, at.panel, model, at.width))

    return trajectories


@lru_cache(maxsize=64)
def _classes(model: Model, select: bool) -> Callable[..., None]:
    def classes(priors: Priors) -> None:
        draw_classes(model, priors)
        if not select:
            draw_effects(model, priors)

    return classes


def reference_of(search: Search, at: Any, model: Model, select: bool) -> Reference:
    """Make the reference of a data set from the ends of a search.

    Args:
        search: of the penalised likelihood.
        at: what the posterior is conditioned on.
        model: which mixture.
        select: whether a horseshoe selects covariates.
    """
    chosen = np.resize(_distinct(search), ENDS)  # of one number, so that data sets share their programs
    rank = np.argsort(np.argsort(-search.value[chosen], kind="stable"), kind="stable")
    ends = [unpack(jnp.asarray(search.free[i]), model, at.knots) for i in chosen]
    sites = sites_of(jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends), model, at.knots)
    classes = _classes(model, select)
    form = lawful.trace(classes, at.priors)
    draws = jax.vmap(lambda key: _drawn(classes, key, at.priors))(jax.random.split(jax.random.key(0), DRAWS))
    shared = {name: value for name, value in sites.items() if name == "gate" or (select and name == "effect")}

    def score(end: jax.Array, point: jax.Array) -> jax.Array:
        density, values = valued(point, classes, at.priors)
        given = jax.tree.map(lambda value: value[end], shared)
        return density + log_likelihood(parameters_of({**given, **values}, model, at.knots), at.panel, model, at.width)

    return around(score, coordinates(form, sites), -np.log1p(rank), coordinates(form, draws)[:, 0])


def _drawn(program: Callable[..., Any], key: jax.Array, *args: Any) -> dict[str, jax.Array]:
    record = handlers.trace(handlers.seed(program, key))(*args)
    return {str(address[-1]): value for address, value in record.choices.items()}


def _distinct(search: Search) -> np.ndarray:
    """Give the numbers of the highest ends that differ."""
    value = np.where(search.degenerate | ~np.isfinite(search.value), -np.inf, search.value)
    order = [i for i in np.argsort(-value, kind="stable") if np.isfinite(value[i])] or [int(np.argmax(search.value))]
    kept: list[int] = []
    for i in order:
        if all(abs(value[i] - value[j]) > 1e-2 for j in kept):
            kept.append(int(i))
    return np.asarray(kept[:ENDS])
