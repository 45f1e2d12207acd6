"""Chain integral: the log of the integral over the noises of a chain, and their conditional given all else.

Law: as for `quadratic_forms`, whatever path the chain is seen from; rounding is least where it is near the mean, so the
chain is seen from its start, and then from the mean that this finds. The work is linear in the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Var
from lawful.form.builder import Block
from lawful.form.operations.compensated_sum import over_steps

from ...representations.standard_normals import normal_site
from ...summing.tables import PREFIX
from .alike_steps import steps_alike, weights_alike
from .backward import (
    Gains,
    Moments,
    Parts,
    Solution,
    Steps,
    forward,
    gains,
    log_integral,
    moments,
    slopes_back,
    whitening,
)
from .chains import Chain, Point, along


class Conditional(NamedTuple):
    """The noises given all else, as differences from a path; see `backward`.

    Attributes:
        before: of the path, the noises before the loop (*lanes, p), and
        steps: those of its steps (T, *lanes, m).
        start: derivative of the first state by the former.
        moves: of the steps.
        found: going back.
    """

    before: jax.Array
    steps: jax.Array
    start: jax.Array
    moves: jax.Array
    found: Solution


class Shape(NamedTuple):
    """What is the same on all paths: derivatives, and what does not depend on slopes.

    Attributes:
        steps: of the chain.
        start: derivative of the first state by the noises before the loop (*lanes, n, p).
        curvature: minus the second derivative of the log density by them (*lanes, p, p).
        ended: minus that by the last state (*lanes, n, n).
        gains: of the steps.
        inner: minus the second derivative of the log integral by the first state (*lanes, n, n).
        white: W of the noises before the loop (*lanes, p, p).
    """

    steps: Steps
    start: jax.Array
    curvature: jax.Array
    ended: jax.Array
    gains: Gains
    inner: jax.Array
    white: jax.Array


@dataclass(frozen=True, eq=False)
class ChainIntegral:
    """The log integral over the noises of a chain, then its conditional, from the operands."""

    chain: Chain

    @cached_property
    def alike(self) -> list[np.ndarray] | None:
        """What the steps weigh, where all have the same derivatives."""
        return weights_alike(self.chain)

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Integrate."""
        value, _, conditional = self.solved(operands)
        return value, *jax.tree.leaves(conditional)

    def solved(self, operands: Sequence[Any]) -> tuple[jax.Array, Shape, Conditional]:
        """Give the log integral, what is the same on all paths, and the conditional, seen from the mean."""
        shape, mean = self.mean(operands)
        path = [jax.lax.stop_gradient(jnp.where(jnp.isnan(x), 0.0, x)) for x in mean]
        weight, parts, found = self._seen(shape, path[0], path[1], operands)
        value = weight + jnp.sum(self.each(log_integral, (_lanes(parts), _lanes(found)), 0)(parts, found))
        finite = jnp.isfinite(jnp.sum(shape.steps.curvature) + jnp.sum(shape.curvature))
        grows = jnp.any(jnp.isnan(shape.gains.white)) | jnp.any(jnp.isnan(shape.white))
        infinite = grows & finite  # a square that grows faster than the normal law falls
        conditional = Conditional(path[0], path[1], shape.start, shape.steps.moves, found)
        return jnp.where(infinite, jnp.inf, value), shape, conditional

    def mean(self, operands: Sequence[Any]) -> tuple[Shape, tuple[jax.Array, jax.Array]]:
        """Give what is the same on all paths, and the means of the noises before the loop and of its steps."""
        chain, dtype = self.chain, jnp.result_type(float)
        length, (_, m, p) = chain.loop.length, chain.sizes
        zero = jnp.zeros((*chain.lanes, p), dtype), jnp.zeros((length, *chain.lanes, m), dtype)
        steps, start, curvature, ended = self._derivatives(*zero, operands)
        found, inner = self.each(partial(gains, length=length), (1, 0), (1, 0))(steps, ended)
        white = whitening(jnp.eye(p, dtype=dtype) + curvature + _t(start) @ inner @ start)
        shape = Shape(steps, start, curvature, ended, found, inner, white)
        solution = self._seen(shape, *zero, operands)[2]
        return shape, self.drawn(Conditional(*zero, start, steps.moves, solution), *map(jnp.zeros_like, zero))

    def moments(
        self, shape: Shape, path: tuple[jax.Array, jax.Array], operands: Sequence[Any]
    ) -> tuple[Moments, Moments, Moments]:
        """Give the moments of `backward.moments`, as differences from a path."""
        _, parts, found = self._seen(shape, *path, operands)
        function = self.each(moments, (_lanes(parts), _lanes(found)), (0, 1, 0))
        result: tuple[Moments, Moments, Moments] = function(parts, found)
        return result

    def each(self, function: Callable[..., Any], ins: tuple[Any, ...], outs: Any) -> Callable[..., Any]:
        """Apply a function to each lane; the axis of the lanes in what goes in, and in what comes out."""
        return jax.vmap(function, ins, outs) if self.chain.lanes else function

    def drawn(self, given: Conditional, before: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the noises before the loop (p,) and those of its steps (T, m) from standard normals of these shapes."""
        first = _times(_t(given.found.white), given.found.first + before)
        state = _times(given.start, first)
        whitened = given.found.whitened + self.ordered(steps)
        rest = self.each(forward, (1, 1, 1, 0), 1)(given.moves, given.found.gains, whitened, state)
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

    def _derivatives(
        self, before: jax.Array, steps: jax.Array, operands: Sequence[Any]
    ) -> tuple[Steps, jax.Array, jax.Array, jax.Array]:
        """Differentiate the chain, which has the same derivatives everywhere."""
        chain, dtype = self.chain, steps.dtype
        n, m, p = chain.sizes
        k = p if chain.shared else 0
        point, still = chain.walk(before, steps, operands)

        def slopes(*at: jax.Array) -> tuple[Point, jax.Array]:
            slope = jax.grad(lambda point: chain.apart(point, still, operands)[0])(Point(*at))
            return slope, chain.apart(Point(*at), still, operands)[1]

        last, _ = along(slopes, point, 2)
        early, shifted = along(slopes, point, 3)
        early, shifted = Point._make([*(x[..., :k] for x in early[:3]), early.before]), shifted[..., :k]
        own = jnp.broadcast_to(jnp.eye(p, dtype=dtype)[:k], (*chain.lanes, k, p))
        start = jnp.concatenate([self._first(before, operands), own], -2)
        if self.alike is not None:
            one = steps_alike(chain, self.alike, chain.reads(before, steps, operands)[0])
            return one, start, -early.before, -last.last
        (state, moved), (noise, pushed) = along(slopes, point, 0), along(slopes, point, 1)
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
        ordered = Steps(self.ordered(moves), self.ordered(-curvature))
        return ordered, start, -early.before, -ended

    def _first(self, before: jax.Array, operands: Sequence[Any]) -> jax.Array:
        """Differentiate the first state by the noises before the loop (*lanes, n, p)."""
        found: jax.Array = along(lambda x: self.chain.first(x, operands), (before,), 0)
        return found

    def _seen(
        self, shape: Shape, before: jax.Array, steps: jax.Array, operands: Sequence[Any]
    ) -> tuple[jax.Array, Parts, Solution]:
        """See the chain from a path: what the path weighs, what the integral beside it depends on, and going back."""
        chain, k = self.chain, before.shape[-1] if self.chain.shared else 0
        point, still = chain.walk(before, steps, operands)
        value, slope = jax.value_and_grad(lambda point: chain.apart(point, still, operands)[0])(point)
        none = jnp.zeros((*steps.shape[:-1], k), steps.dtype)
        slopes = self.ordered(jnp.concatenate([slope.states, none, slope.noises - steps], -1))
        last, early = jnp.concatenate([slope.last, none[0]], -1), slope.before - before
        parts = Parts(early, shape.curvature, shape.start, shape.steps, slopes, last, shape.ended)
        back = self.each(slopes_back, (1, 1, 1, 0), (1, 1, 0))
        whitened, later, inner = back(shape.steps, shape.gains, slopes, last)
        first = _times(shape.white, early + _times(_t(shape.start), inner))
        found = Solution(shape.white, first, shape.inner, inner, shape.gains, whitened, later)
        squares = over_steps(jnp.sum(steps**2, axis=tuple(range(1, steps.ndim)))) + jnp.sum(before**2)
        return value - 0.5 * squares, parts, found


def _lanes(of: Any) -> Any:
    """Say along which axis the lanes of what an integral depends on stand: after the steps, where there are steps."""
    kind, stepwise = type(of), {"steps", "slopes", "gains", "whitened", "later"}
    return kind._make([int(name in stepwise) for name in kind._fields])


_GIVEN = Solution._make([*range(4), Gains._make(range(3)), 0, 0])
_TREE = jax.tree.structure(Conditional._make([*range(4), _GIVEN]))


def _blocks(rows: Sequence[Sequence[jax.Array]]) -> jax.Array:
    return jnp.concatenate([jnp.concatenate(row, -1) for row in rows], -2)


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    return (matrix @ vector[..., None])[..., 0]


def _t(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)
