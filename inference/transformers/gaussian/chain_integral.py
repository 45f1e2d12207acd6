"""Chain integral: the log of the integral over the noises of a chain, and their conditional given all else.

Law: as for `quadratic_forms`, whatever path the chain is seen from; rounding is least where it is near the mean, so the
chain is seen from its start, and then from the mean that this finds. The work is linear in the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.form import Var
from lawful.form.builder import Block
from lawful.form.operations.compensated_sum import over_steps

from ...representations.standard_normals import normal_site
from ...summing.tables import PREFIX
from .backward import Gains, Steps, forward, gains, slopes_back, whitening
from .chains import Chain, Point


class Ends(NamedTuple):
    """What stands before the first step and after the last, of the noises before the loop (p,).

    Attributes:
        start: derivative of the first state by them (n, p).
        curvature: minus the second derivative of the log density by them (p, p).
        last: minus that by the last state (n, n).
    """

    start: jax.Array
    curvature: jax.Array
    last: jax.Array


class Conditional(NamedTuple):
    """The noises given all else, as differences from a path; see `backward`.

    Attributes:
        before: of the path, the noises before the loop (p,), and
        steps: those of its steps (T, m).
        first: w of the former, and
        whitened: of the latter.
        white: W of the former (p, p).
        start: derivative of the first state by the former (n, p).
        moves: of the steps (T, n, n + m).
        gains: of the steps.
    """

    before: jax.Array
    steps: jax.Array
    first: jax.Array
    whitened: jax.Array
    white: jax.Array
    start: jax.Array
    moves: jax.Array
    gains: Gains


class Shape(NamedTuple):
    """What is the same on all paths: derivatives, gains, and the precision of the noises before the loop."""

    steps: Steps
    gains: Gains
    ends: Ends
    white: jax.Array
    precision: jax.Array


@dataclass(frozen=True, eq=False)
class ChainIntegral:
    """The log integral over the noises of a chain, then its conditional, from the operands."""

    chain: Chain

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Integrate."""
        shape, mean = self.mean(operands)
        steps, found, _, white, precision = shape
        path = [jax.lax.stop_gradient(jnp.where(jnp.isnan(x), 0.0, x)) for x in mean]
        value, conditional = self._seen(shape, path[0], path[1], operands)
        volume = _log_diagonal(found.white) + _log_diagonal(white)
        finite = jnp.isfinite(jnp.sum(steps.curvature) + jnp.sum(precision))
        infinite = jnp.isnan(volume) & finite  # a square that grows faster than the normal law falls
        return jnp.where(infinite, jnp.inf, value + volume), *jax.tree.leaves(conditional)

    def mean(self, operands: Sequence[Any]) -> tuple[Shape, tuple[jax.Array, jax.Array]]:
        """Give the derivatives and gains, and the means of the noises before the loop and of its steps."""
        chain, dtype = self.chain, jnp.result_type(float)
        length, (_, m, p) = chain.loop.length, chain.sizes
        zero = jnp.zeros((*chain.lanes, p), dtype), jnp.zeros((length, *chain.lanes, m), dtype)
        steps, ends = self._derivatives(*zero, operands)
        found, inner = self.each(gains, (1, 0), (1, 0))(steps, ends.last)
        precision = jnp.eye(p, dtype=dtype) + ends.curvature + _t(ends.start) @ inner @ ends.start
        shape = Shape(steps, found, ends, whitening(precision), precision)
        return shape, self.drawn(self._seen(shape, *zero, operands)[1], *map(jnp.zeros_like, zero))

    def each(self, function: Callable[..., Any], ins: Sequence[int], outs: Any) -> Callable[..., Any]:
        """Apply a function to each lane; the axis of the lanes in what goes in, and in what comes out."""
        return jax.vmap(function, ins, outs) if self.chain.lanes else function

    def drawn(self, given: Conditional, before: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the noises before the loop (p,) and those of its steps (T, m) from standard normals of these shapes."""
        first = _times(_t(given.white), given.first + before)
        state = _times(given.start, first)
        whitened = given.whitened + self.ordered(steps)
        rest = self.each(forward, (1, 1, 1, 0), 1)(given.moves, given.gains, whitened, state)
        return given.before + first, given.steps + self.ordered(rest)

    def draw(self, block: Block, conditional: Sequence[Var], names: str) -> tuple[Var, ...]:
        """Draw the noises back, from the first step on."""
        chain = self.chain
        _, m, p = chain.sizes
        early, rows = (*chain.lanes, p), (chain.loop.length, *chain.lanes, m)
        size = math.prod(early)
        noise = normal_site(block, (PREFIX, "noise", names), (size + math.prod(rows),), droppable=True)

        def back(noise: jax.Array, *leaves: jax.Array) -> tuple[jax.Array, ...]:
            found = self.drawn(self.read(leaves), noise[:size].reshape(early), noise[size:].reshape(rows))
            return tuple(chain.noises(*found))

        drawn: tuple[Var, ...] = block.det(back, noise, *conditional, label="drawn back")
        return drawn

    def read(self, leaves: Sequence[jax.Array]) -> Conditional:
        """Read the conditional from what is given after the integral."""
        found: Conditional = jax.tree.unflatten(_TREE, leaves)
        return found

    def ordered(self, rows: jax.Array) -> jax.Array:
        """Put rows in the order of the steps, or back."""
        return rows[::-1] if self.chain.loop.reverse else rows

    def _derivatives(self, before: jax.Array, steps: jax.Array, operands: Sequence[Any]) -> tuple[Steps, Ends]:
        """Differentiate the chain, which has the same derivatives everywhere."""
        chain, dtype = self.chain, steps.dtype
        n, m, p = chain.sizes
        k = p if chain.shared else 0
        point, still = chain.walk(before, steps, operands)

        def slopes(point: Point) -> tuple[Point, jax.Array]:
            slope = jax.grad(lambda point: chain.apart(point, still, operands)[0])(point)
            return slope, chain.apart(point, still, operands)[1]

        def along(place: int) -> tuple[Point, jax.Array]:
            def column(unit: jax.Array) -> tuple[Point, jax.Array]:
                way = [jnp.zeros_like(x) for x in point]
                way[place] = jnp.broadcast_to(unit, point[place].shape)
                found: tuple[Point, jax.Array] = jax.jvp(slopes, (point,), (Point._make(way),))[1]
                return found

            units = jnp.eye(point[place].shape[-1], dtype=dtype)
            by, after = jax.vmap(column, out_axes=-1)(units)
            return (
                (by, after) if place < 3 else (Point._make([*(x[..., :k] for x in by[:3]), by.before]), after[..., :k])
            )

        (state, moved), (noise, pushed), (last, _), (early, shifted) = map(along, range(4))
        lead = steps.shape[:-1]
        shared, none = jnp.zeros((*lead, k, k), dtype), jnp.zeros((*lead[1:], k, k), dtype)
        curvature = _blocks([
            [state.states, early.states, noise.states],
            [_t(early.states), shared, _t(early.noises)],
            [state.noises, early.noises, noise.noises],
        ])  # fmt: skip
        identity = jnp.broadcast_to(jnp.eye(k, dtype=dtype), shared.shape)
        zeros = [jnp.zeros((*lead, k, size), dtype) for size in (n, m)]
        moves = _blocks([[moved, shifted, pushed], [zeros[0], identity, zeros[1]]])
        ended = _blocks([[last.last, early.last], [_t(early.last), none]])
        own = jnp.broadcast_to(jnp.eye(p, dtype=dtype)[:k], (*lead[1:], k, p))
        start = jnp.concatenate([self._first(before, operands), own], -2)
        ordered = Steps(self.ordered(moves), self.ordered(-curvature))
        return ordered, Ends(start, -early.before, -ended)

    def _first(self, before: jax.Array, operands: Sequence[Any]) -> jax.Array:
        """Differentiate the first state by the noises before the loop (*lanes, n, p)."""

        def column(unit: jax.Array) -> jax.Array:
            way = jnp.broadcast_to(unit, before.shape)
            found: jax.Array = jax.jvp(lambda x: self.chain.first(x, operands), (before,), (way,))[1]
            return found

        return jax.vmap(column, out_axes=-1)(jnp.eye(before.shape[-1], dtype=before.dtype))

    def _seen(
        self, shape: Shape, before: jax.Array, steps: jax.Array, operands: Sequence[Any]
    ) -> tuple[jax.Array, Conditional]:
        """See the chain from a path: what the path and the slopes on it weigh, and the conditional."""
        chain, k = self.chain, before.shape[-1] if self.chain.shared else 0
        point, still = chain.walk(before, steps, operands)
        value, slope = jax.value_and_grad(lambda point: chain.apart(point, still, operands)[0])(point)
        none = jnp.zeros((*steps.shape[:-1], k), steps.dtype)
        slopes = self.ordered(jnp.concatenate([slope.states, none, slope.noises - steps], -1))
        ended = jnp.concatenate([slope.last, none[0]], -1)
        whitened, inner = self.each(slopes_back, (1, 1, 1, 0), (1, 0))(shape.steps, shape.gains, slopes, ended)
        early = slope.before - before + _times(_t(shape.ends.start), inner)
        first = _times(shape.white, early)
        squares = _total(whitened**2) + _total(first**2) - _total(steps**2) - _total(before**2)
        own = first, whitened, shape.white, shape.ends.start, shape.steps.moves
        return value + 0.5 * squares, Conditional(before, steps, *own, shape.gains)


_TREE = jax.tree.structure(Conditional._make([*range(7), Gains._make(range(2))]))


def _log_diagonal(white: jax.Array) -> jax.Array:
    return _total(jnp.log(jnp.diagonal(white, axis1=-2, axis2=-1)))


def _total(terms: jax.Array) -> jax.Array:
    return over_steps(terms.ravel())


def _blocks(rows: Sequence[Sequence[jax.Array]]) -> jax.Array:
    return jnp.concatenate([jnp.concatenate(row, -1) for row in rows], -2)


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    return (matrix @ vector[..., None])[..., 0]


def _t(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)
