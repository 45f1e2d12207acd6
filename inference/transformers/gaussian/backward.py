"""Backward: normals along steps, integrated in time linear in their number, and drawn back from the first on.

    (s, u) with u ~ N(0, I);    s' = J (s, u);    weight exp(g'(s, u) - (s, u)' Q (s, u) / 2) at each step

Law: everything is seen from a path that obeys the steps, so that states and noises are what they differ from it by. The
log of the integral over all noises is what the path itself weighs, plus the sum of w'w / 2 + log det W over the steps,
where W'W is the covariance of a step's noises given its state, W lower triangular, and w is W times their slope; and
given the state the noises are W'(w + N(0, I)) + K s. Their precision is at least one whatever a program's scales, zero
among them, so no matrix is singular; that of a state is G'PG with G = (I; K), a sum of squares (Joseph's form), never a
difference.

Reference: dynamic programming for a quadratic cost; Rauch, Tung and Striebel (1965) go the other way through the same
posterior.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve


class Steps(NamedTuple):
    """Steps, seen from a path (T, ...): states of n numbers, and m noises of each step after them.

    Attributes:
        moves: the derivative of the state after a step by state and noises (T, n, n + m).
        curvature: minus the second derivative of the log weight by them (T, n + m, n + m).
    """

    moves: jax.Array
    curvature: jax.Array

    @property
    def states(self) -> int:
        """Numbers in a state."""
        return int(self.moves.shape[-2])


class Gains(NamedTuple):
    """How the noises of each step follow its state, given all that comes after (T, ...).

    Attributes:
        white: lower triangular, W (T, m, m).
        gain: K (T, m, n).
    """

    white: jax.Array
    gain: jax.Array


def gains(steps: Steps, last: jax.Array) -> tuple[Gains, jax.Array]:
    """Go back from the last step to the first.

    Args:
        steps: of the chain.
        last: minus the second derivative of the log weight by the last state (n, n).

    Returns: the gains, and minus the second derivative of the log integral by the first state (n, n).

    >>> one = jnp.ones((1, 1, 1))  # s' = s + u, and a square of s' + u, in one step
    >>> found, first = gains(Steps(jnp.ones((1, 1, 2)), jnp.zeros((1, 2, 2))), jnp.ones((1, 1)))
    >>> round(float(found.white[0, 0, 0] ** -2), 6), round(float(first[0, 0]), 6)  # 1 + 1, and 1 / (1 + 1)
    (2.0, 0.5)
    """
    n = steps.states

    def step(after: jax.Array, own: Steps) -> tuple[jax.Array, Gains]:
        precision = own.curvature + times(own.moves.T, times(after, own.moves))
        noises = precision[n:, n:] + jnp.eye(precision.shape[0] - n, dtype=precision.dtype)
        white, mixed = whitening(noises), precision[n:, :n]
        gain = -times(white.T, times(white, mixed))
        rest = mixed + times(noises, gain)  # zero but for rounding, which a difference would keep
        before = precision[:n, :n] + times(mixed.T, gain) + times(gain.T, rest)
        return 0.5 * (before + before.T), Gains(white, gain)

    first, found = jax.lax.scan(step, last, steps, reverse=True)
    return found, first


def slopes_back(steps: Steps, found: Gains, slopes: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Take slopes back from the last step to the first.

    Args:
        steps: of the chain.
        found: its gains.
        slopes: of the log weight and the law of the noises, on the path (T, n + m).
        last: by the last state (n,).

    Returns: w of each step (T, m), and the slope of the log integral by the first state (n,).
    """
    n = steps.states

    def step(after: jax.Array, own: tuple[Steps, Gains, jax.Array]) -> tuple[jax.Array, jax.Array]:
        (moves, _), (white, gain), slope = own
        whole = slope + times(moves.T, after)
        return whole[:n] + times(gain.T, whole[n:]), times(white, whole[n:])

    first, whitened = jax.lax.scan(step, last, (steps, found, slopes), reverse=True)
    return whitened, first


def forward(moves: jax.Array, found: Gains, whitened: jax.Array, first: jax.Array) -> jax.Array:
    """Give the noises of all steps, as differences from the path (T, m).

    Args:
        moves: of the steps (T, n, n + m).
        found: its gains.
        whitened: w of each step, plus standard normals for a draw (T, m).
        first: the first state, as a difference from the path (n,).
    """

    def step(state: jax.Array, own: tuple[jax.Array, Gains, jax.Array]) -> tuple[jax.Array, jax.Array]:
        moves, (white, gain), towards = own
        noises = times(white.T, towards) + times(gain, state)
        return times(moves, jnp.concatenate([state, noises])), noises

    return jax.lax.scan(step, first, (moves, found, whitened))[1]


FEW = 4  # numbers, up to which operations on single ones are written out
SMALL = 12  # rows and columns, up to which a product is a sum of numbers: calls of libraries take longer than they work


def times(matrix: jax.Array, other: jax.Array) -> jax.Array:
    """Multiply a matrix and a matrix or a vector."""
    if max(*matrix.shape, *other.shape) > SMALL:
        return matrix @ other
    if other.ndim == 1:
        return jnp.sum(matrix * other, axis=1)
    return jnp.sum(matrix[:, :, None] * other, axis=1)


def whitening(precision: jax.Array) -> jax.Array:
    """Give the inverse of the Cholesky factor of a matrix: a lower triangular W with W'W its inverse."""
    size = precision.shape[-1]
    if size > FEW:
        root = jnp.linalg.cholesky(precision)
        unit = jnp.broadcast_to(jnp.eye(size, dtype=root.dtype), root.shape)
        return triangular_solve(root, unit, left_side=True, lower=True)
    rows: list[list[jax.Array]] = []  # of the factor
    found: list[list[jax.Array]] = []
    zero = jnp.zeros(precision.shape[:-2], precision.dtype)
    for i in range(size):
        own: list[jax.Array] = []
        for j in range(i):
            own.append(sum((-a * b for a, b in zip(own, rows[j], strict=False)), precision[..., i, j]) * found[j][j])
        scale = 1.0 / jnp.sqrt(sum((-a * a for a in own), precision[..., i, i]))
        before = [-scale * sum((a * row[j] for a, row in zip(own[j:], found[j:], strict=True)), zero) for j in range(i)]
        rows.append([*own, 1.0 / scale])
        found.append([*before, scale, *[zero] * (size - i - 1)])
    return jnp.stack([jnp.stack(row, -1) for row in found], -2) if size else precision
