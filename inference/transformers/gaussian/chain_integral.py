"""Chain integral: the log of the integral over the noises of a chain, and their conditional given all else.

Law: as for `quadratic_forms`, whatever path the chain is seen from; rounding is least where it is near the mean, so the
chain is seen from its start, and then from the mean that this finds. The work is linear in the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.form import Var
from lawful.form.builder import Block

from ...representations.standard_normals import normal_site
from ...summing.tables import PREFIX
from .backward import Gains, Steps, cholesky, forward, gains, slopes_back, solved
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
        root: of the precision of the former (p, p).
        start: derivative of the first state by the former (n, p).
        moves: of the steps (T, n, n + m).
        gains: of the steps.
    """

    before: jax.Array
    steps: jax.Array
    first: jax.Array
    whitened: jax.Array
    root: jax.Array
    start: jax.Array
    moves: jax.Array
    gains: Gains


@dataclass(frozen=True, eq=False)
class ChainIntegral:
    """The log integral over the noises of a chain, then its conditional, from the operands."""

    chain: Chain

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Integrate."""
        length, (_, m, p), dtype = self.chain.loop.length, self.chain.sizes, jnp.result_type(float)
        zero = jnp.zeros(p, dtype), jnp.zeros((length, m), dtype)
        steps, ends = self._derivatives(*zero, operands)
        found, inner = gains(steps, ends.last)
        precision = jnp.eye(p, dtype=dtype) + ends.curvature + ends.start.T @ inner @ ends.start
        shape = _Shape(steps, found, ends, cholesky(precision))
        mean = self.drawn(self._seen(shape, *zero, operands)[1], *map(jnp.zeros_like, zero))
        path = [jax.lax.stop_gradient(jnp.where(jnp.isnan(x), 0.0, x)) for x in mean]
        value, conditional = self._seen(shape, path[0], path[1], operands)
        volume = _log_diagonal(found.root) + _log_diagonal(shape.root)
        finite = jnp.isfinite(jnp.sum(steps.curvature) + jnp.sum(precision))
        infinite = jnp.isnan(volume) & finite  # a square that grows faster than the normal law falls
        return jnp.where(infinite, jnp.inf, value - volume), *jax.tree.leaves(conditional)

    def drawn(self, given: Conditional, before: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the noises before the loop (p,) and those of its steps (T, m) from standard normals of these shapes."""
        first = solved(given.root, given.first + before, back=True)
        rest = forward(given.moves, given.gains, given.whitened + self._ordered(steps), given.start @ first)
        return given.before + first, given.steps + self._ordered(rest)

    def draw(self, block: Block, conditional: Sequence[Var], names: str) -> tuple[Var, ...]:
        """Draw the noises back, from the first step on."""
        chain = self.chain
        _, m, p = chain.sizes
        noise = normal_site(block, (PREFIX, "noise", names), (p + chain.loop.length * m,), droppable=True)

        def back(noise: jax.Array, *leaves: jax.Array) -> tuple[jax.Array, ...]:
            given = jax.tree.unflatten(_TREE, leaves)
            found = self.drawn(given, noise[:p], noise[p:].reshape(-1, m))
            return tuple(chain.noises(*found))

        drawn: tuple[Var, ...] = block.det(back, noise, *conditional, label="drawn back")
        return drawn

    def _ordered(self, rows: jax.Array) -> jax.Array:
        """Put rows in the order of the steps, or back."""
        return rows[::-1] if self.chain.loop.reverse else rows

    def _derivatives(self, before: jax.Array, steps: jax.Array, operands: Sequence[Any]) -> tuple[Steps, Ends]:
        """Differentiate the chain, which has the same derivatives everywhere."""
        chain, dtype = self.chain, steps.dtype
        (n, m, p), length = chain.sizes, chain.loop.length
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
            return (by, after) if place < 3 else (Point._make([*(x[..., :k] for x in by[:3]), by.before]), after[..., :k])

        (state, moved), (noise, pushed), (last, _), (early, shifted) = map(along, range(4))
        shared, none = jnp.zeros((length, k, k), dtype), jnp.zeros((k, k), dtype)
        curvature = _blocks([
            [state.states, early.states, noise.states],
            [_t(early.states), shared, _t(early.noises)],
            [state.noises, early.noises, noise.noises],
        ])  # fmt: skip
        identity = jnp.broadcast_to(jnp.eye(k, dtype=dtype), shared.shape)
        zeros = [jnp.zeros((length, k, size), dtype) for size in (n, m)]
        moves = _blocks([[moved, shifted, pushed], [zeros[0], identity, zeros[1]]])
        ended = _blocks([[last.last, early.last], [_t(early.last), none]])
        start = jnp.concatenate([jax.jacfwd(chain.first)(before, operands), jnp.eye(p, dtype=dtype)[:k]])
        ordered = Steps(self._ordered(moves), self._ordered(-curvature))
        return ordered, Ends(start, -early.before, -ended)

    def _seen(
        self, shape: _Shape, before: jax.Array, steps: jax.Array, operands: Sequence[Any]
    ) -> tuple[jax.Array, Conditional]:
        """See the chain from a path: what the path and the slopes on it weigh, and the conditional."""
        chain, k = self.chain, len(before) if self.chain.shared else 0
        point, still = chain.walk(before, steps, operands)
        value, slope = jax.value_and_grad(lambda point: chain.apart(point, still, operands)[0])(point)
        none = jnp.zeros((len(steps), k), steps.dtype)
        slopes = self._ordered(jnp.concatenate([slope.states, none, slope.noises - steps], -1))
        ended = jnp.concatenate([slope.last, jnp.zeros(k, steps.dtype)])
        whitened, inner = slopes_back(shape.steps, shape.gains, slopes, ended)
        first = solved(shape.root, slope.before - before + shape.ends.start.T @ inner)
        squares = jnp.sum(whitened**2) + jnp.sum(first**2) - jnp.sum(steps**2) - jnp.sum(before**2)
        own = first, whitened, shape.root, shape.ends.start, shape.steps.moves
        return value + 0.5 * squares, Conditional(before, steps, *own, shape.gains)


_TREE = jax.tree.structure(Conditional._make([*range(7), Gains._make(range(2))]))


class _Shape(NamedTuple):
    steps: Steps
    gains: Gains
    ends: Ends
    root: jax.Array


def _log_diagonal(root: jax.Array) -> jax.Array:
    return jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)))


def _blocks(rows: Sequence[Sequence[jax.Array]]) -> jax.Array:
    return jnp.concatenate([jnp.concatenate(row, -1) for row in rows], -2)


def _t(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)
