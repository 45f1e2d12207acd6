"""Modes of a joint program of trajectories, parameters and all: a fit by a program of one's own is the best of them.

Law: a mode is one of the program's log density, growth factors integrated out and classes summed out; it is found by
the library's own `maximise`, from the optima of the penalised likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import inference
from lawful.errors import NoFiniteStartError

from ..fitting.batches import smallest_class
from ..fitting.objective import Problem, describe_all
from ..fitting.search import Search, distinct
from ..model.parameters import Model, pack, unpack
from .bayes import Posed
from .priors import parameters_of, sites_of

__all__ = ["modes_of"]

STARTS = 8  # optima that are climbed from at most


def modes_of(program: Callable[..., Any], at: Posed, model: Model, found: Search) -> Search:
    """Climb a program from the ends of a search.

    Args:
        program: the joint, a function of `Posed` and the model with the sites of `mixture_with_priors`, which may have
            other laws; factors may stand beside them.
        at: the data and scales of priors, in standard units.
        model: which mixture.
        found: the ends of a search of the penalised likelihood.

    Raises: NoFiniteStartError where the program has no finite density at any end.

    Returns: an end for each optimum of the search; values are log densities of the program. Log-likelihoods of persons
        and the sizes of classes are those of `mixture_with_priors` at the same parameters.
    """
    problem = Problem(at.panel, at.knots, at.width)
    begun = [i for i in distinct(found) if not found.degenerate[i]][:STARTS] or [found.best]
    ends = jax.vmap(lambda free: unpack(free, model, at.knots))(jnp.asarray(found.free[begun]))
    result: Any = inference.maximise(_summed(program, model), starts=len(begun), init=sites_of(ends, model, at.knots))(
        0, at
    )
    modes = result.optima
    own, proper = modes.search_optimum, np.array([mode.proper for mode in modes])
    height = np.where(proper | ~proper.any(), modes.log_density, -np.inf)
    sites = {name: jnp.asarray(values[own]) for name, values in modes.values.items()}
    free = jax.vmap(lambda sites: pack(parameters_of(sites, model, at.knots), model, at.knots))(sites)
    described = jax.tree.map(np.asarray, describe_all(free, problem, model))
    small = described.shares.min(axis=1) * at.panel.n < smallest_class(model, at.panel.n)
    value = np.where(own < 0, -np.inf, height[own])
    if not np.isfinite(value).any():
        raise NoFiniteStartError(
            f"TrajectoryMixture.fit: none of {len(begun)} climbs of the program ended at a finite density. Fix: look "
            "at its factors and laws at what fit() without program= finds."
        )
    return Search(
        np.asarray(free), value, described.shares, np.arange(len(begun)), proper[own] & (own >= 0), small,
        described.by_person,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _summed(program: Callable[..., Any], model: Model) -> Any:
    """Integrate the growth factors of a program out, and sum its classes."""
    both = inference.integrate_normals(["eta"]) >> inference.marginalise(["z"])
    return both(partial(program, model=model))
