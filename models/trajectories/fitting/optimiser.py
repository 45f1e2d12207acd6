"""The optimiser, which climbs from one start: a quasi-Newton method whose first metric is the scores of persons.

Law: the value never falls within a stage, and a point that is not finite is never accepted. Each turn of the loop
looks at one point, the line search being part of its state, so that the density is compiled once.

The metric S'S of the scores S makes steps free of units and near those of Newton (Berndt, Hall, Hall and Hausman
1974); BFGS improves it from there. Steps satisfy the weak Wolfe conditions by bisection, which is sound at kinks (Lewis
and Overton 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .scores_at import Look

__all__ = ["Climbed", "Schedule", "climb"]

ENOUGH, FLAT = 1e-4, 0.9  # of the Wolfe conditions
TRIES = 20  # of a line search
FRESH = 40  # accepted steps after which the metric is measured anew
LONGEST = 0.1  # of a first try, in the metric and for a person: longer ones empty classes
RIDGE = 1e-8  # of the metric, as a share of its diagonal


class Schedule(NamedTuple):
    """Stages of a climb.

    Attributes:
        widths: of kinks in each stage (S,).
        gains: what a step promises of log-likelihood when the stage ends (S,).
        steps: the largest number of evaluations in a stage.
    """

    widths: Any
    gains: Any
    steps: Any


class Climbed(NamedTuple):
    """Where a climb ended.

    Attributes:
        free: the point (P,).
        value: the log-likelihood there.
        gradient: its gradient (P,).
        gain: what a Newton step in the last metric promises.
        calm: whether the promise fell below what ends the last stage; else the line search found no better point, as
            it happens on a kink, or the number of evaluations ran out.
        evaluations: how many points were evaluated.
    """

    free: jax.Array
    value: jax.Array
    gradient: jax.Array
    gain: jax.Array
    calm: jax.Array
    evaluations: jax.Array


class _State(NamedTuple):
    x: Any
    f: Any
    g: Any
    inverse: Any
    p: Any  # the direction
    t: Any  # the step that is tried
    low: Any
    high: Any
    tries: Any
    accepted: Any  # steps since the metric was measured
    measure: Any  # whether it is measured now
    stage: Any
    used: Any  # evaluations in this stage
    calm: Any
    total: Any


def climb(
    look: Callable[[Any, Any, Any], Look], free: Any, moving: Any, stage: Any, schedule: Schedule, persons: int
) -> Climbed:
    """Climb from one start.

    Args:
        look: what is seen at a point, as `looking` makes it.
        free: the start (P,).
        moving: 1 where a parameter may move, 0 where it stays (P,).
        stage: number of the first stage; that of stages for no move at all.
        schedule: stages.
        persons: n.

    Returns: where it ended.

    >>> from lawful.models.trajectories.fitting.scores_at import looking
    >>> hill = looking(lambda free, width, x: -0.5 * (free[0] - x) ** 2 - width, jnp.arange(4.0)[None], 4)
    >>> schedule = Schedule(jnp.zeros(1), jnp.full(1, 1e-12), 100)
    >>> found = climb(hill, jnp.array([9.0]), jnp.ones(1), 0, schedule, 4)
    >>> found.free.round(6).tolist(), float(found.value.round(6)), bool(found.calm)
    ([1.5], -2.5, True)
    """
    stages = schedule.widths.shape[0]
    size = free.shape[0]

    def inverted(squares: Any) -> Any:
        metric = squares * moving[:, None] * moving[None]
        diagonal = jnp.diag(metric)
        floor = jnp.where(moving > 0, RIDGE * (diagonal + jnp.mean(diagonal)) + 1e-12, 1.0)
        root = jnp.linalg.cholesky(metric + jnp.diag(floor))
        return jax.scipy.linalg.cho_solve((root, True), jnp.eye(size, dtype=squares.dtype))

    def turn(s: _State) -> _State:
        width = schedule.widths[jnp.minimum(s.stage, stages - 1)]
        x = s.x + s.t * s.p
        f, g, squares = look(x, width, s.measure)
        g = g * moving
        finite = jnp.isfinite(f) & jnp.all(jnp.isfinite(g))
        slope = s.g @ s.p
        lower = finite & (f <= s.f + ENOUGH * s.t * slope)
        flat = g @ s.p >= FLAT * slope
        tries = s.tries + 1
        taken = s.measure | (lower & (flat | (tries >= TRIES)))
        # Where the step goes next, if this one is not taken.
        low, high = jnp.where(lower, s.t, s.low), jnp.where(lower, s.high, s.t)
        bent = f - s.f - slope * s.t
        guess = jnp.where(finite & (bent > 0), -0.5 * slope * s.t**2 / jnp.where(bent > 0, bent, 1.0), 0.0)
        inside = jnp.where(low > 0, 0.5 * (low + high), jnp.clip(guess, 0.1 * high, 0.5 * high))
        t = jnp.where(jnp.isfinite(high), inside, 2 * s.t)
        t = jnp.where((tries == TRIES - 1) & (low > 0), low, t)  # the last try takes what is lower, if not flat
        # What is known if it is.
        step, turned = s.t * s.p, g - s.g
        inverse = jax.lax.cond(
            s.measure, lambda: inverted(squares), lambda: jnp.where(taken, _bfgs(s.inverse, step, turned), s.inverse)
        )
        g_next = jnp.where(taken, g, s.g)
        p = -(inverse @ g_next)
        slope = g_next @ p
        longest = LONGEST * persons**0.5 / jnp.sqrt(jnp.maximum(-slope, jnp.finfo(f.dtype).tiny))
        accepted = jnp.where(s.measure, 0, s.accepted + 1)
        failed = ~taken & (tries >= TRIES)
        used = s.used + 1
        calm = taken & (-0.5 * slope < schedule.gains[jnp.minimum(s.stage, stages - 1)])
        stuck = (failed & (s.accepted == 0)) | (s.measure & ~finite)
        over = calm | stuck | (used >= schedule.steps)
        measure = over | (failed & (s.accepted > 0)) | (taken & (accepted >= FRESH)) | ~(slope < 0)
        return _State(
            x=jnp.where(taken, x, s.x),
            f=jnp.where(taken, f, s.f),
            g=g_next,
            inverse=inverse,
            p=jnp.where(taken, p, s.p),
            t=jnp.where(measure, 0.0, jnp.where(taken, jnp.minimum(1.0, longest), t)),
            low=jnp.where(taken | measure, 0.0, low),
            high=jnp.where(taken | measure, jnp.inf, high),
            tries=jnp.where(taken | measure, 0, tries),
            accepted=jnp.where(taken, accepted, s.accepted),
            measure=measure,
            stage=s.stage + over,
            used=jnp.where(over, 0, used),
            calm=jnp.where(over, calm, s.calm),
            total=s.total + 1,
        )

    zero, none = jnp.zeros((), free.dtype), jnp.zeros((), int)
    first = _State(
        free, zero, jnp.zeros_like(free), jnp.zeros((size, size), free.dtype), jnp.zeros_like(free), zero, zero,
        jnp.full((), jnp.inf, free.dtype), none, none, jnp.ones((), bool), jnp.asarray(stage, int), none,
        jnp.zeros((), bool), none,
    )  # fmt: skip
    last = jax.lax.while_loop(lambda s: s.stage < stages, turn, first)
    return Climbed(last.x, -last.f, -last.g, -0.5 * last.g @ last.p, last.calm, last.total)


def _bfgs(inverse: jax.Array, step: jax.Array, turned: jax.Array) -> jax.Array:
    """Update the inverse metric by what a step told of it; no change where that would lose positivity."""
    curvature = step @ turned
    told = inverse @ turned
    sound = curvature > 0
    scale = 1.0 / jnp.where(sound, curvature, 1.0)
    cross = jnp.outer(told, step)
    new = inverse + scale * ((1 + (turned @ told) * scale) * jnp.outer(step, step) - cross - cross.T)
    return jnp.where(sound & jnp.all(jnp.isfinite(new)), new, inverse)
