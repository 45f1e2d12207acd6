"""Ascent: many searches uphill side by side, each until nothing is gained; and how those by L-BFGS go.

Law: no accepted step of a search lowers its value beyond rounding, and a search that rests stays where it is, to the
last bit. What a search does is a function of its own state, so it does not matter how steps are divided, nor what is
beside it: in a round each search looks at one point, wherever its own step is. The search along a line of optax, under
`vmap`, looks at two points a trial and waits for the longest of all searches at every step: ten times the work.

Reference: Nocedal and Wright (2006), Numerical Optimization, chapters 3 and 7; Lewis and Overton (2013), for the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ..optimisers import optimiser
from .target import Target

MEMORY = 20  # pairs of steps and changes of the gradient
TRIALS = 20  # evaluations of a step
STALLED = 5  # steps of little gain after which a search rests
LITTLE = 0.75  # power of the rounding of a value that a step has to gain, or it counts as one of little gain
RISE, TURN = 1e-4, 0.9  # of the slope at its beginning: what a step gains at least, and what slope it leaves at most
LONGER = (2.0, 10.0)  # by what factors a step grows that is too short
INSIDE = 0.1  # part of an interval from whose ends a trial keeps off


class End(NamedTuple):
    """A point on the line of a step: how far along it, and the value and the slope there."""

    length: jax.Array
    value: jax.Array
    slope: jax.Array


class Line(NamedTuple):
    """A step on the way: its direction, and where on it the next trial is.

    `low` has gained enough, and the density still rises there; `high` is too far. `gradient` is that at `low`.
    """

    direction: jax.Array
    slope: jax.Array
    length: jax.Array
    low: End
    high: End
    gradient: jax.Array
    trials: jax.Array


class Search(NamedTuple):
    """A search: where it is, what is there, what it learnt, its steps and evaluations, and whether it rests.

    All have the searches as their first axis. `stalled` counts the last steps without gain.
    """

    vector: jax.Array
    value: jax.Array
    gradient: jax.Array
    learnt: Any
    line: Line
    steps: jax.Array
    evaluations: jax.Array
    stalled: jax.Array
    rests: jax.Array


def converged(value: Any, gradient: Any) -> Any:
    """Tell whether a gradient is small next to a value: a Newton step from there is exact to rounding."""
    small = jnp.finfo(gradient.dtype).eps ** 0.5
    return jnp.max(jnp.abs(gradient), initial=0.0) <= small * (1 + jnp.abs(value))


class Way(Protocol):
    """How searches go uphill."""

    @property
    def refuses(self) -> bool:
        """Whether it may turn out at some data that the way does not go."""

    def begin(self, vectors: jax.Array) -> Search:
        """Begin searches at some vectors; their first step is the evaluation there."""

    def round(self, inputs: Sequence[Any], last: jax.Array, now: Search) -> Search:
        """Go on with one search, unless it rests or has taken its `last` step."""

    def refuse(self, ends: Search) -> None:
        """Refuse ends of searches where the way does not go."""


def climbed(way: Way, inputs: Sequence[Any], searches: Search, steps: jax.Array) -> Search:
    """Take some steps of all searches, fewer of those that come to rest."""
    last = jnp.max(searches.steps) + steps
    look = jax.vmap(partial(way.round, inputs, last))
    return jax.lax.while_loop(lambda now: jnp.any(~now.rests & (now.steps < last)), look, searches)


def begun(vectors: jax.Array, learnt: Any, line: Any) -> Search:
    """Begin searches at some vectors, where nothing is known of the density."""
    none = jnp.zeros(len(vectors), jnp.int32)
    value = jnp.full(len(vectors), -jnp.inf, vectors.dtype)
    return Search(vectors, value, jnp.zeros_like(vectors), learnt, line, none, none, none, none > 0)


@dataclass(frozen=True, eq=False)
class LBFGS:
    """Searches along directions of L-BFGS."""

    target: Target
    refuses = False

    def begin(self, vectors: jax.Array) -> Search:
        """Begin with no step learnt."""
        zeros = jnp.zeros_like(vectors)
        line = jax.vmap(_line)(zeros, jnp.full(len(vectors), -jnp.inf, vectors.dtype), zeros)
        return begun(vectors, jax.vmap(_solver().init)(vectors), line)

    def round(self, inputs: Sequence[Any], last: jax.Array, now: Search) -> Search:
        """Look at the next point of a line."""
        return _round(self.target, inputs, last, now)

    def refuse(self, ends: Search) -> None:
        """Go everywhere."""


def _line(direction: jax.Array, value: jax.Array, gradient: jax.Array) -> Line:
    """Begin a step."""
    slope = jnp.vdot(direction, gradient)
    zero = jnp.zeros_like(slope)
    return Line(
        direction, slope, zero + 1, End(zero, value, slope), End(zero + jnp.inf, zero, zero), gradient,
        jnp.zeros((), jnp.int32),
    )  # fmt: skip


def _round(target: Target, inputs: Sequence[Any], last: jax.Array, now: Search) -> Search:
    """Look at the next point of one search, and end its step there, or go on with it.

    The first step has no direction, so that it evaluates the start; a search without a finite density there rests.
    """
    line = now.line
    value, gradient = target.value_and_grad(inputs, now.vector + line.length * line.direction)
    slope, eps = jnp.vdot(line.direction, gradient), jnp.finfo(value.dtype).eps
    even = value >= now.value - 4 * eps * (1 + jnp.abs(now.value))  # next to a maximum gains are lost in rounding
    even &= slope >= (2 * RISE - 1) * line.slope
    enough = jnp.isfinite(value) & (even | (value >= now.value + RISE * line.length * line.slope))
    tried = End(line.length, value, slope)
    low, high = _either(enough, (tried, line.high), (line.low, tried))
    on = line._replace(
        length=_next(low, high, line.low),
        low=low,
        high=high,
        gradient=jnp.where(enough, gradient, line.gradient),
        trials=line.trials + 1,
    )
    ended = enough & (slope <= TURN * line.slope) | (now.steps == 0) | (on.trials >= TRIALS)
    now_on = now._replace(line=on, evaluations=now.evaluations + 1)
    return _either(now.rests | (now.steps >= last), now, _either(ended, _stepped(target, now_on), now_on))


def _next(low: End, high: End, before: End) -> jax.Array:
    """Give where to look next: at the top of a parabola between two ends, or beyond the lower one."""
    bounded, step = jnp.isfinite(high.length), low.length - before.length
    wide = jnp.where(bounded, high.length - low.length, 1.0)
    bent = 2 * (high.value - low.value - low.slope * wide)
    inner = jnp.where(jnp.isfinite(bent) & (bent < 0), -low.slope * wide / bent, INSIDE)
    fall = before.slope - low.slope
    outer = jnp.where(fall > 0, step * low.slope / fall, jnp.inf)
    way = jnp.where(bounded, wide * jnp.clip(inner, INSIDE, 1 - INSIDE), jnp.clip(outer, *(x * step for x in LONGER)))
    return low.length + way


def _stepped(target: Target, now: Search) -> Search:
    """End a step at the best point of its line, learn from it, and begin the next one.

    What was learnt is forgotten where the step gained nothing, or saw the density rise ever more steeply.
    """
    low, solver = now.line.low, _solver()
    vector, gradient = now.vector + low.length * now.line.direction, now.line.gradient
    gain, eps = (low.value - now.value) / (1 + jnp.abs(low.value)), jnp.finfo(low.value.dtype).eps
    keeps = (gain > 4 * eps) & (low.slope < now.line.slope) & (now.steps > 0)
    down, learnt = solver.update(-gradient, _either(keeps, now.learnt, solver.init(vector)), vector)
    stalled = jnp.where(gain > eps**LITTLE, 0, now.stalled + 1)
    return Search(
        vector,
        low.value,
        gradient,
        learnt,
        _line(-down, low.value, gradient),
        now.steps + 1,
        now.evaluations,
        stalled,
        converged(low.value, gradient) | (stalled >= STALLED) | ~jnp.isfinite(low.value),
    )


def _either(chosen: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), one, other)


def _solver() -> Any:
    return optimiser("scale_by_lbfgs", memory_size=MEMORY)
