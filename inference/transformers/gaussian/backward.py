"""Backward: normals along steps, integrated in time linear in their number, and drawn back from the first on.

    (s, u) with u ~ N(0, I);    s' = J (s, u);    weight exp(g'(s, u) - (s, u)' Q (s, u) / 2) at each step

Law: everything is seen from a path that obeys the steps, so that states and noises are what they differ from it by. The
log of the integral over all noises is what the path itself weighs, plus the sum of w'w / 2 - log det R over the steps,
where R R' is the precision of a step's noises given its state and R w their slope; and given the state the noises are
R'^-1 (w + N(0, I)) + K s. A precision is at least one whatever a program's scales, zero among them, so no matrix is
singular; that of a state is G'PG with G = (I; K), a sum of squares (Joseph's form), never a difference.

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
        root: lower triangular, R (T, m, m).
        gain: K (T, m, n).
    """

    root: jax.Array
    gain: jax.Array


def gains(steps: Steps, last: jax.Array) -> tuple[Gains, jax.Array]:
    """Go back from the last step to the first.

    Args:
        steps: of the chain.
        last: minus the second derivative of the log weight by the last state (n, n).

    Returns: the gains, and minus the second derivative of the log integral by the first state (n, n).

    >>> one = jnp.ones((1, 1, 1))  # s' = s + u, and a square of s' + u, in one step
    >>> found, first = gains(Steps(jnp.ones((1, 1, 2)), jnp.zeros((1, 2, 2))), jnp.ones((1, 1)))
    >>> round(float(found.root[0, 0, 0] ** 2), 6), round(float(first[0, 0]), 6)  # 1 + 1, and 1 / (1 + 1)
    (2.0, 0.5)
    """
    n = steps.states

    def step(after: jax.Array, own: Steps) -> tuple[jax.Array, Gains]:
        precision = own.curvature + own.moves.T @ after @ own.moves
        noises = precision[n:, n:] + jnp.eye(precision.shape[0] - n, dtype=precision.dtype)
        root = cholesky(noises)
        gain = -solved(root, solved(root, precision[n:, :n]), back=True)
        whole = precision.at[n:, n:].set(noises)
        both = jnp.concatenate([jnp.eye(n, dtype=precision.dtype), gain])
        before = both.T @ whole @ both
        return 0.5 * (before + before.T), Gains(root, gain)

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
        (moves, _), (root, gain), slope = own
        whole = slope + moves.T @ after
        return whole[:n] + gain.T @ whole[n:], solved(root, whole[n:])

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
        moves, (root, gain), white = own
        noises = solved(root, white, back=True) + gain @ state
        return moves @ jnp.concatenate([state, noises]), noises

    return jax.lax.scan(step, first, (moves, found, whitened))[1]


def cholesky(matrix: jax.Array) -> jax.Array:
    """Factor a matrix; one number needs no call of LAPACK, which takes longer than the step."""
    return jnp.sqrt(matrix) if matrix.shape[-1] <= 1 else jnp.linalg.cholesky(matrix)


def solved(root: jax.Array, right: jax.Array, back: bool = False) -> jax.Array:
    """Solve by a lower triangular matrix, or by its transpose."""
    if root.shape[-1] == 0:
        return right
    if root.shape[-1] == 1:
        return right / (root[0] if right.ndim == 1 else root)
    columns = right if right.ndim == 2 else right[:, None]
    found = triangular_solve(root, columns, left_side=True, lower=True, transpose_a=back)
    return found.reshape(right.shape)
