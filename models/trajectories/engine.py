"""The compiled part of a fit: climbs from many starts, what each ended at, and scores, one program for each.

Law: a climb among others ends where it ends alone; starts are mapped one after the other, so that none waits for the
slowest and memory is that of one. Numbers, as widths, bounds and tolerances, are arguments: programs compile once for
a structure.

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

__all__ = ["Described", "Problem", "climb_all", "curvature", "describe_all"]

STEP = 1e-5  # of differences of gradients, in standard units


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

    def one(each: tuple[Any, Any, Any]) -> Climbed:
        return climb(by_person, each[0], each[1], each[2], schedule, problem.panel.n)

    return jax.lax.map(one, (free, moving, stage))


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
def curvature(free: Any, problem: Problem, model: Model, penalised: bool = False) -> tuple[jax.Array, jax.Array]:
    """Give the Hessian of the log-likelihood by central differences of its exact gradient, and the scores of persons.

    Args:
        free: the point (P,).
        problem: what is climbed.
        model: which mixture.
        penalised: whether the weak penalty is added.

    Returns: the Hessian (P, P), and the scores (P, n).
    """
    by_person = _objective(problem, model, penalised)
    size, n = model.size, problem.panel.n

    def scores(at: Any) -> jax.Array:
        wide = jnp.broadcast_to(at[:, None], (size, n))
        return jax.grad(lambda wide: jnp.sum(by_person(wide, jnp.zeros_like(at[0]))))(wide)

    def visit(first: Any, point: Any) -> tuple[Any, Any]:
        place, at = point
        found = scores(at)
        return jnp.where(place == 0, found, first), jnp.sum(found, axis=1)

    step = STEP * (1.0 + jnp.abs(free))
    away = jnp.diag(step)
    points = jnp.concatenate([free[None], free[None] + away, free[None] - away])
    first, slopes = jax.lax.scan(visit, jnp.zeros((size, n), free.dtype), (jnp.arange(len(points)), points))
    found = (slopes[1 : size + 1] - slopes[size + 1 :]) / (2 * step)[:, None]
    return 0.5 * (found + found.T), first


def _objective(problem: Problem, model: Model, penalised: bool) -> Callable[[Any, Any], jax.Array]:
    def by_person(free: Any, width: Any) -> jax.Array:
        at = unpack(free, model, problem.bounds)
        joint = log_prior_classes(at.gate, problem.panel.gate)
        joint = joint + class_log_densities(at, problem.panel, model, jnp.maximum(width, problem.width))
        found = jax.nn.logsumexp(joint, axis=0)
        return found + log_penalty(at, model) / problem.panel.n if penalised else found

    return by_person
