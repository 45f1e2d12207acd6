"""The objective of a fit and what is compiled of it: climbs, what each ended at, scores.

Law: a climb among others ends where it ends alone; starts are mapped one after the other, so that none waits for the
slowest and memory is that of one. Many persons are looked at in blocks: sums are those of all at once but for rounding.
Numbers, as widths, bounds and tolerances, are arguments: programs compile once for a structure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..likelihood.density import class_log_densities, log_prior_classes
from ..likelihood.penalties import Pooling, log_penalty, log_pooling
from ..model.panels import Panel, in_blocks
from ..model.parameters import Bounds, Model, unpack
from ..model.reports import values_of
from ..model.scaling import Scaling
from .optimiser import Climbed, Schedule, climb
from .scores_at import Look, looking, tethered

__all__ = ["Described", "Problem", "climb_all", "climb_panels", "climb_tethered", "curvature", "describe_all"]

STEP = 1e-5  # of differences of gradients, in standard units


class Problem(NamedTuple):
    """What is climbed, in standard units: a panel, bounds of knots, and a width that kinks never fall below.

    A penalised climb also pools the classes in part where `pooling` is given.
    """

    panel: Panel
    bounds: Bounds
    width: Any
    pooling: Pooling | None = None


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
        penalised: whether the penalty of the problem is added.

    Returns: where each ended; values are in standard units, the penalty included.
    """
    look = _look(problem, model, penalised)

    def one(each: tuple[Any, Any, Any]) -> Climbed:
        return climb(look, each[0], each[1], each[2], schedule, problem.panel.n)

    return jax.lax.map(one, (free, moving, stage))


@partial(jax.jit, static_argnames=("model", "penalised"))
def climb_panels(
    free: Any, stage: Any, schedule: Schedule, panels: Panel, problem: Problem, model: Model, penalised: bool = False
) -> Climbed:
    """Climb from S starts on each of B panels.

    Args:
        free: starts (B, S, P).
        stage: the first stage of each (B, S).
        schedule: stages.
        panels: leaves have a first axis of B panels.
        problem: whose bounds and width are meant; its panel is not looked at.
        model: which mixture.
        penalised: whether the penalty of the problem is added.
    """

    def on_panel(each: tuple[Any, Any, Panel]) -> Climbed:
        look = _look(problem._replace(panel=each[2]), model, penalised)
        ones = jnp.ones_like(free[0, 0])
        return jax.lax.map(lambda s: climb(look, s[0], ones, s[1], schedule, each[2].n), (each[0], each[1]))

    return jax.lax.map(on_panel, (free, stage, panels))


@partial(jax.jit, static_argnames=("model", "order", "reference", "penalised"))
def climb_tethered(
    free: Any, row: Any, targets: Any, pull: Any, schedule: Schedule, problem: Problem, model: Model, scaling: Scaling,
    order: tuple[int, ...], reference: int = 0, penalised: bool = False,
) -> tuple[Climbed, jax.Array]:  # fmt: skip
    """Climb while a reported parameter is drawn towards a value.

    Args:
        free: starts (B, P).
        row: which parameter, as `values_of` counts.
        targets: where it is drawn to (B,).
        pull: how strongly.
        schedule: stages.
        problem: what is climbed.
        model: which mixture.
        scaling: the user's units, which targets are in.
        order: which class is reported first, second, and so on.
        reference: the class that others are compared with.
        penalised: whether the penalty of the problem is added.

    Returns: where each climb ended, the likelihood there without the tether; and the parameter there (B,).
    """
    look = _look(problem, model, penalised)

    def height(free: Any) -> jax.Array:
        return values_of(free, model, problem.bounds, scaling, order, reference)[row]

    def one(each: tuple[Any, Any]) -> tuple[Climbed, jax.Array]:
        start, target = each
        tied = tethered(look, height, target, pull)
        found = climb(tied, start, jnp.ones_like(start), 0, schedule, problem.panel.n)
        reached = height(found.free)
        return found._replace(value=found.value + 0.5 * pull * (reached - target) ** 2), reached

    return jax.lax.map(one, (free, targets))


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
        penalised: whether the penalty of the problem is added.

    Returns: the Hessian (P, P), and the scores (P, n).
    """
    look = _look(problem, model, penalised)
    step = STEP * (1.0 + jnp.abs(free))
    away = jnp.diag(step)
    points = jnp.concatenate([free[None] + away, free[None] - away])
    slopes = jax.lax.map(lambda at: -look(at, jnp.zeros_like(at[0]), False).gradient, points)
    found = (slopes[: len(free)] - slopes[len(free) :]) / (2 * step)[:, None]
    wide = jnp.broadcast_to(free[:, None], (len(free), problem.panel.n))
    by_person = partial(_by_person, problem=problem, model=model, penalised=penalised)
    scores = jax.grad(lambda wide: jnp.sum(by_person(wide, jnp.zeros_like(free[0]), problem.panel)))(wide)
    return 0.5 * (found + found.T), scores


def _look(problem: Problem, model: Model, penalised: bool) -> Callable[[Any, Any, Any], Look]:
    blocks, live = in_blocks(problem.panel)

    def by_person(free: Any, width: Any, block: tuple[Panel, Any]) -> jax.Array:
        found = _by_person(free, width, block[0], problem, model, penalised, block[1])
        return found if live is None else jnp.where(block[1], found, 0.0)

    return looking(by_person, (blocks, live), blocks.y.shape[2])


def _by_person(
    free: Any, width: Any, panel: Panel, problem: Problem, model: Model, penalised: bool, live: Any = None
) -> jax.Array:
    at = unpack(free, model, problem.bounds)
    joint = log_prior_classes(at.gate, panel.gate)
    joint = joint + class_log_densities(at, panel, model, jnp.maximum(width, problem.width))
    found = jax.nn.logsumexp(joint, axis=0)
    if not penalised:
        return found
    # All columns are equal: the penalty is computed once, of their mean, and each person there has an equal part of it.
    alike = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=-1, keepdims=True, where=live), at)
    penalty = log_penalty(alike, model)
    if problem.pooling is not None:
        penalty = penalty + log_pooling(alike, model, problem.pooling)
    return found + penalty / problem.panel.n
