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
from .chains import Chain


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
        value, conditional = self._seen(shape, *path, operands)
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
            *rest, root, gain = leaves
            found = self.drawn(Conditional(*rest, Gains(root, gain)), noise[:p], noise[p:].reshape(-1, m))
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
        walk = chain.walk(before, steps, operands)
        point = walk.states, steps, walk.last, before

        def slopes(*point: jax.Array) -> Any:
            slope = jax.grad(lambda *z: chain.apart(*z, walk.still, operands)[0], argnums=(0, 1, 2, 3))
            return *slope(*point), chain.apart(*point, walk.still, operands)[1]

        def along(place: int) -> list[jax.Array]:
            def column(unit: jax.Array) -> Any:
                still = [jnp.zeros_like(x) for x in point]
                still[place] = jnp.broadcast_to(unit, point[place].shape)
                return jax.jvp(slopes, point, tuple(still))[1]

            return list(jax.vmap(column, out_axes=-1)(jnp.eye(point[place].shape[-1], dtype=dtype)))

        states, noises, last, early = map(along, range(4))
        shared, none = jnp.zeros((length, k, k), dtype), jnp.zeros((k, k), dtype)
        across, rows = early[0][..., :k], early[1][..., :k]  # of the noises before the loop
        curvature = _blocks(
            [[states[0], across, noises[0]], [_t(across), shared, _t(rows)], [states[1], rows, noises[1]]]
        )
        identity = jnp.broadcast_to(jnp.eye(k, dtype=dtype), shared.shape)
        zeros = jnp.zeros((length, k, n), dtype), jnp.zeros((length, k, m), dtype)
        moves = _blocks([[states[4], early[4][..., :k], noises[4]], [zeros[0], identity, zeros[1]]])
        ended = _blocks([[last[2], early[2][..., :k]], [_t(early[2][..., :k]), none]])
        start = jnp.concatenate([jax.jacfwd(chain.first)(before, operands), jnp.eye(p, dtype=dtype)[:k]])
        ordered = Steps(self._ordered(moves), self._ordered(-curvature))
        return ordered, Ends(start, -early[3], -ended)

    def _seen(
        self, shape: _Shape, before: jax.Array, steps: jax.Array, operands: Sequence[Any]
    ) -> tuple[jax.Array, Conditional]:
        """See the chain from a path: what the path and the slopes on it weigh, and the conditional."""
        chain, k = self.chain, len(before) if self.chain.shared else 0
        walk = chain.walk(before, steps, operands)
        point = walk.states, steps, walk.last, before

        def weight(*point: jax.Array) -> jax.Array:
            return chain.apart(*point, walk.still, operands)[0]

        value, (states, noises, last, early) = jax.value_and_grad(weight, argnums=(0, 1, 2, 3))(*point)
        none = jnp.zeros((len(steps), k), steps.dtype)
        slopes = self._ordered(jnp.concatenate([states, none, noises - steps], -1))
        ended = jnp.concatenate([last, jnp.zeros(k, steps.dtype)])
        whitened, inner = slopes_back(shape.steps, shape.gains, slopes, ended)
        first = solved(shape.root, early - before + shape.ends.start.T @ inner)
        squares = jnp.sum(whitened**2) + jnp.sum(first**2) - jnp.sum(steps**2) - jnp.sum(before**2)
        own = first, whitened, shape.root, shape.ends.start, shape.steps.moves
        return value + 0.5 * squares, Conditional(before, steps, *own, shape.gains)


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
