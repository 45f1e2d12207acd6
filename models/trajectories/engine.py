"""The compiled part of a fit: climbs from many starts, what each ended at, and scores, one program for each.

Law: a climb among others ends where it ends alone; starts are mapped one after the other, so that none waits for the slowest
and memory is that of one. Numbers, as widths, bounds and tolerances, are arguments: programs compile once for a structure.

Source: specification sections 7 and 8.3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .climbing import Climbed, Schedule, climb
from .density import class_log_densities, log_prior_classes
from .panels import Panel
from .parameters import Bounds, Model, unpack
from .penalty import log_penalty

__all__ = ["Described", "Problem", "climb_all", "describe_all", "scores_all"]


class Problem(NamedTuple):
    """What is climbed, in standard units: a panel, bounds of knots, and a width that kinks never fall below."""

    panel: Panel
    bounds: Bounds
    width: Any


class Described(NamedTuple):
    """What a point says of the persons: log-likelihoods (B, n) and the mean membership of each class (B, K)."""

    by_person: jax.Array
    shares: jax.Array


@partial(jax.jit, static_argnames=("model", "penalised"))
def climb_all(
    free: Any, moving: Any, stage: Any, schedule: Schedule, problem: Problem, model: Model, penalised: bool = False
) -> Climbed:
    """Climb from each start.

    Args:
        free: starts (B, P).
        moving: 1 where a parameter may move, 0 where it stays (B, P).
        stage: the first stage of each (B,); one that starts after the last does not move.
        schedule: stages.
        problem: what is climbed.
        model: which mixture.
        penalised: whether the weak penalty is added.

    Returns: where each ended; values are in standard units, the penalty included.
    """
    by_person = _objective(problem, model, penalised)
    return jax.lax.map(lambda each: climb(by_person, *each, schedule, problem.panel.n), (free, moving, stage))


@partial(jax.jit, static_argnames="model")
def describe_all(free: Any, problem: Problem, model: Model) -> Described:
    """Describe points (B, P)."""

    def one(free: Any) -> Described:
        at = unpack(free[:, None], model, problem.bounds)
        joint = log_prior_classes(at.gate, problem.panel.gate)
        joint = joint + class_log_densities(at, problem.panel, model, problem.width)
        return Described(jax.nn.logsumexp(joint, axis=0), jnp.mean(jax.nn.softmax(joint, axis=0), axis=1))

    return jax.lax.map(one, free)


@partial(jax.jit, static_argnames=("model", "penalised"))
def scores_all(free: Any, problem: Problem, model: Model, penalised: bool = False) -> jax.Array:
    """Give the scores of persons at points (B, P): derivatives of their log-likelihoods (B, P, n)."""
    by_person = _objective(problem, model, penalised)

    def one(free: Any) -> jax.Array:
        wide = jnp.broadcast_to(free[:, None], (model.size, problem.panel.n))
        return jax.grad(lambda wide: jnp.sum(by_person(wide, jnp.zeros_like(free[0]))))(wide)

    return jax.lax.map(one, free)


def _objective(problem: Problem, model: Model, penalised: bool) -> Callable[[Any, Any], jax.Array]:
    def by_person(free: Any, width: Any) -> jax.Array:
        at = unpack(free, model, problem.bounds)
        joint = log_prior_classes(at.gate, problem.panel.gate)
        joint = joint + class_log_densities(at, problem.panel, model, jnp.maximum(width, problem.width))
        found = jax.nn.logsumexp(joint, axis=0)
        return found + log_penalty(at, model) / problem.panel.n if penalised else found

    return by_person
