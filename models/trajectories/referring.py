"""Where tempering starts: classes around those of the optima of the penalised likelihood, the rest from its prior.

Law: the program below has the measure of `bayes.posterior_program`, whatever the reference. Optima decide how far the
estimates spread, not what they estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lawful

from ..latent_classes.reference import Reference, around, coordinates, drawn_classes, of_the_prior, or_none, valued
from .marginal import log_likelihood
from .parameters import Model, unpack
from .priors import Priors, draw_classes, draw_effects, draw_shared, parameters_of, sites_of
from .search import Search

__all__ = ["reference_of", "referring_program"]


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
        lawful.factor("persons", or_none(log_likelihood(parameters, at.panel, model, at.width)))

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
    ends = jax.vmap(lambda free: unpack(free, model, at.knots))(jnp.asarray(search.free))
    sites = sites_of(ends, model, at.knots)
    given = {name: value for name, value in sites.items() if name == "gate" or (select and name == "effect")}
    points = coordinates(lawful.trace(_classes(model, select), at.priors), sites)
    height = np.where(search.degenerate, -np.inf, search.value)
    slope, prior = _compiled(model, select)
    return around(lambda shared, point: slope(shared, point, at), given, points, height, prior(at.priors))


@lru_cache(maxsize=64)
def _compiled(model: Model, select: bool) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    """Compile the gradient of the log density by the coordinates of all classes, and draws of a class."""
    classes = _classes(model, select)

    def score(point: jax.Array, given: Any, at: Any) -> jax.Array:
        density, values = valued(point, classes, at.priors)
        parameters = parameters_of({**given, **values}, model, at.knots)
        return density + log_likelihood(parameters, at.panel, model, at.width)

    slope = jax.vmap(jax.grad(score), (0, 0, None))
    return jax.jit(lambda given, point, at: slope(point, given, at)), jax.jit(partial(of_the_prior, classes))
