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

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve

from lawful.form.operations.compensated_sum import over_steps


class Steps(NamedTuple):
    """Steps, seen from a path (T, ...): states of n numbers, and m noises of each step after them.

    Attributes:
        moves: the derivative of the state after a step by state and noises (T, n, n + m), or (1, n, n + m) where it is
            the same at all steps.
        curvature: minus the second derivative of the log weight by them (T, n + m, n + m), or (1, n + m, n + m).
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
        after: minus the second derivative of what comes after, by the state after the step (T, n, n).
    """

    white: jax.Array
    gain: jax.Array
    after: jax.Array


def over_rows[S, R](
    step: Callable[[S, Any, Any], tuple[S, R]], first: S, steps: Any, rows: Any, length: int, reverse: bool = False
) -> tuple[S, R]:
    """Go over the steps of a chain: what is the same at all of them is read once, and rows of the others.

    Args:
        step: from what is carried, what belongs to the steps, and the rows of one, to what is carried and given.
        first: what is carried at first.
        steps: what belongs to the steps, each (length, ...), or (1, ...) where it is the same at all.
        rows: of the steps, each (length, ...).
        length: number of steps.
        reverse: whether from the last.

    >>> def add(total, by, row): return total + by * row, total
    >>> [over_rows(add, 0.0, by, jnp.arange(3.0), 3)[0].tolist() for by in (jnp.ones(1), jnp.ones(3))]
    [3.0, 3.0]
    """
    leaves, tree = jax.tree.flatten(steps)
    alike = [len(leaf) != length for leaf in leaves]
    kept = [leaf[0] if same else None for leaf, same in zip(leaves, alike, strict=True)]
    moving = [None if same else leaf for leaf, same in zip(leaves, alike, strict=True)]

    def one(carry: S, own: tuple[list[Any], Any]) -> tuple[S, R]:
        here = [x if x is not None else y for x, y in zip(kept, own[0], strict=True)]
        return step(carry, jax.tree.unflatten(tree, here), own[1])

    found: tuple[S, R] = jax.lax.scan(one, first, (moving, rows), length=length, reverse=reverse)
    return found


def gains(steps: Steps, last: jax.Array, length: int) -> tuple[Gains, jax.Array]:
    """Go back from the last step to the first.

    Args:
        steps: of the chain.
        last: minus the second derivative of the log weight by the last state (n, n).
        length: number of steps.

    Returns: the gains, and minus the second derivative of the log integral by the first state (n, n).

    >>> one = jnp.ones((1, 1, 1))  # s' = s + u, and a square of s' + u, in one step
    >>> found, first = gains(Steps(jnp.ones((1, 1, 2)), jnp.zeros((1, 2, 2))), jnp.ones((1, 1)), 1)
    >>> round(float(found.white[0, 0, 0] ** -2), 6), round(float(first[0, 0]), 6)  # 1 + 1, and 1 / (1 + 1)
    (2.0, 0.5)
    """
    n = steps.states

    def step(after: jax.Array, own: Steps, _: None) -> tuple[jax.Array, Gains]:
        precision = own.curvature + times(own.moves.T, times(after, own.moves))
        noises = precision[n:, n:] + jnp.eye(precision.shape[0] - n, dtype=precision.dtype)
        white, mixed = whitening(noises), precision[n:, :n]
        gain = -times(white.T, times(white, mixed))
        rest = mixed + times(noises, gain)  # zero but for rounding, which a difference would keep
        before = precision[:n, :n] + times(mixed.T, gain) + times(gain.T, rest)
        return 0.5 * (before + before.T), Gains(white, gain, after)

    first, found = over_rows(step, last, steps, None, length, reverse=True)
    return found, first


def slopes_back(
    steps: Steps, found: Gains, slopes: jax.Array, last: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Take slopes back from the last step to the first.

    Args:
        steps: of the chain.
        found: its gains.
        slopes: of the log weight and the law of the noises, on the path (T, n + m).
        last: by the last state (n,).

    Returns: w of each step (T, m), the slope of what comes after it by the state after it (T, n), and that of the log
        integral by the first state (n,).
    """
    n = steps.states

    def step(
        after: jax.Array, moves: jax.Array, own: tuple[Gains, jax.Array]
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        (white, gain, _), slope = own
        whole = slope + times(moves.T, after)
        return whole[:n] + times(gain.T, whole[n:]), (times(white, whole[n:]), after)

    first, (whitened, later) = over_rows(step, last, steps.moves, (found, slopes), len(slopes), reverse=True)
    return whitened, later, first


class Parts(NamedTuple):
    """What an integral over noises depends on, seen from a path: of noises before the first step, then of the steps.

    Attributes:
        early: slope of the log density by the noises before (p,), and
        curvature: minus its second derivative by them (p, p).
        start: derivative of the first state by them (n, p).
        steps: of the chain.
        slopes: as for `slopes_back` (T, n + m).
        last: slope by the last state (n,), and
        ended: minus the second derivative by it (n, n).
    """

    early: jax.Array
    curvature: jax.Array
    start: jax.Array
    steps: Steps
    slopes: jax.Array
    last: jax.Array
    ended: jax.Array


class Solution(NamedTuple):
    """What going back gives: W and w of the noises before the first step, then of the steps.

    Attributes:
        white: W of the noises before (p, p).
        first: their w (p,).
        inner: minus the second derivative of the log integral by the first state (n, n), and
        slope: its slope (n,).
        gains: of the steps.
        whitened: w of the steps (T, m).
        later: slope of what comes after a step by the state after it (T, n).
    """

    white: jax.Array
    first: jax.Array
    inner: jax.Array
    slope: jax.Array
    gains: Gains
    whitened: jax.Array
    later: jax.Array


@jax.custom_jvp
def log_integral(parts: Parts, found: Solution) -> jax.Array:
    """Give the log integral beside what the path weighs; its derivative is the mean of that of the exponent.

    So a gradient costs one way forward, and no step of the way back is kept for it.
    """
    squares = over_steps(found.whitened.ravel() ** 2) + over_steps(found.first**2)
    volumes = over_steps(jnp.log(jnp.diagonal(found.gains.white, axis1=-2, axis2=-1)).ravel())
    return 0.5 * squares + volumes + over_steps(jnp.log(jnp.diagonal(found.white)))


@log_integral.defjvp
def _(primals: tuple[Parts, Solution], tangents: tuple[Parts, Solution]) -> tuple[jax.Array, jax.Array]:
    (parts, found), (by, _) = primals, tangents
    early, steps, last = moments(parts, found)
    moved = times_each(found.gains.after, times_each(parts.steps.moves, steps.square))
    by_moves = found.later[:, :, None] * steps.mean[:, None] - moved
    by_start = found.slope[:, None] * early.mean - times(found.inner, times(parts.start, early.square))
    squares, by_moves = _like(steps.square, by.steps.curvature), _like(by_moves, by.steps.moves)
    change = jnp.sum(by.slopes * steps.mean) - 0.5 * jnp.sum(by.steps.curvature * squares)
    change += jnp.sum(by.steps.moves * by_moves) + jnp.sum(by.start * by_start)
    change += jnp.sum(by.early * early.mean) - 0.5 * jnp.sum(by.curvature * early.square)
    change += jnp.sum(by.last * last.mean) - 0.5 * jnp.sum(by.ended * last.square)
    return log_integral(parts, found), change


def _like(rows: jax.Array, other: jax.Array) -> jax.Array:
    """Add up the rows of all steps where another array has one row for them."""
    return rows if len(rows) == len(other) else jnp.sum(rows, axis=0, keepdims=True)


class Moments(NamedTuple):
    """Means of numbers (..., d), their covariances and the means of their products (..., d, d)."""

    mean: jax.Array
    covariance: jax.Array

    @property
    def square(self) -> jax.Array:
        """Means of the products."""
        return self.covariance + self.mean[..., :, None] * self.mean[..., None, :]


def moments(parts: Parts, found: Solution) -> tuple[Moments, Moments, Moments]:
    """Give the moments of the noises before the first step, of state and noises of each step, and of the last state."""

    def step(state: Moments, moves: jax.Array, own: tuple[Gains, jax.Array]) -> tuple[Moments, Moments]:
        (white, gain, _), towards = own
        noises = times(white.T, towards) + times(gain, state.mean)
        mixed = times(gain, state.covariance)
        apart = times(white.T, white) + times(mixed, gain.T)
        covariance = jnp.concatenate(
            [jnp.concatenate([state.covariance, mixed.T], 1), jnp.concatenate([mixed, apart], 1)]
        )
        both = Moments(jnp.concatenate([state.mean, noises]), covariance)
        after = times(moves, times(covariance, moves.T))
        return Moments(times(moves, both.mean), 0.5 * (after + after.T)), both  # what is not symmetric would grow

    early = Moments(times(found.white.T, found.first), times(found.white.T, found.white))
    start = Moments(times(parts.start, early.mean), times(parts.start, times(early.covariance, parts.start.T)))
    last, steps = over_rows(step, start, parts.steps.moves, (found.gains, found.whitened), len(found.whitened))
    return early, steps, last


def forward(moves: jax.Array, found: Gains, whitened: jax.Array, first: jax.Array) -> jax.Array:
    """Give the noises of all steps, as differences from the path (T, m).

    Args:
        moves: of the steps (T, n, n + m), or (1, n, n + m).
        found: its gains.
        whitened: w of each step, plus standard normals for a draw (T, m).
        first: the first state, as a difference from the path (n,).
    """

    def step(state: jax.Array, moves: jax.Array, own: tuple[Gains, jax.Array]) -> tuple[jax.Array, jax.Array]:
        (white, gain, _), towards = own
        noises = times(white.T, towards) + times(gain, state)
        return times(moves, jnp.concatenate([state, noises])), noises

    return over_rows(step, first, moves, (found, whitened), len(whitened))[1]


FEW = 4  # numbers, up to which operations on single ones are written out
SMALL = 12  # rows and columns, up to which a product is a sum of numbers: calls of libraries take longer than they work


def times(matrix: jax.Array, other: jax.Array) -> jax.Array:
    """Multiply a matrix and a matrix or a vector."""
    if max(*matrix.shape, *other.shape) > SMALL or min(matrix.shape) == 0:
        return matrix @ other
    if other.ndim == 1:
        return jnp.sum(matrix * other, axis=1)
    return jnp.sum(matrix[:, :, None] * other, axis=1)


def times_each(matrices: jax.Array, others: jax.Array) -> jax.Array:
    """Multiply the matrices of all steps, or one that they share."""
    return jax.vmap(times, (None, 0))(matrices[0], others) if len(matrices) == 1 else jax.vmap(times)(matrices, others)


def whitening(precision: jax.Array) -> jax.Array:
    """Give the inverse of the Cholesky factor of a matrix: a lower triangular W with W'W its inverse."""
    size = precision.shape[-1]
    if precision.ndim == 2 and FEW < size <= 2 * FEW:
        return _by_halves(precision, size // 2)
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


def _by_halves(precision: jax.Array, half: int) -> jax.Array:
    """The same by the first numbers and by the others given them."""
    first, mixed = whitening(precision[:half, :half]), precision[half:, :half]
    reduced = times(mixed, first.T)
    second = whitening(precision[half:, half:] - times(reduced, reduced.T))
    across = -times(second, times(reduced, first))
    zero = jnp.zeros((half, precision.shape[0] - half), precision.dtype)
    return jnp.concatenate([jnp.concatenate([first, zero], 1), jnp.concatenate([across, second], 1)])
