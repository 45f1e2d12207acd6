"""Window adaptation: step size and scales of gradient kernels, learnt during a warm-up and fixed afterwards.

Law: a warm-up changes where draws begin and by which kernel they are made, never what a draw means: each value of the
settings gives a kernel that keeps the posterior, and no draw is made before they are fixed.

The step size follows the acceptance rate by dual averaging (Hoffman and Gelman 2014, section 3.2, after Nesterov 2009).
The inverse mass is the covariance of the coordinates over windows that double, as in Stan's manual: a first part moves
into place, a last one sets the step for the last scales. Scales that are learnt sooner keep chains in the modes where
they begin. All chains share both: the acceptance is their mean, the covariance that of all their states, so a few
chains learn as much in a third of the steps. Only in the first part a chain that stands still, as one that begins where
others would reject all, has a step size of its own. A chain that sits where no mass is when a window ends goes on from
another one, and what follows learns without it (`plans/chains/warm_up.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.device import device_array

# Hoffman and Gelman (2014): how fast the step follows, how many steps the beginning counts, how averages forget.
FOLLOWS, BEGINNING, FORGETS = 0.05, 10.0, 0.75
FIRST, LAST, WINDOW = 75, 50, 25  # of 1000 steps: moving into place, the last step sizes, the first window
ROW = 6  # numbers that the schedule gives a step
PULL = 5.0  # observations that the unit-free guess 1e-3 counts in a window's covariance
GUESS = 1e-3
FEW = 5  # points for each coordinate, below which a window tells the variances alone


class Learnt(NamedTuple):
    """What a warm-up knows: step size and averages of each chain, moments of the window, root of the inverse mass."""

    log_step: jax.Array
    log_mean: jax.Array
    error: jax.Array
    time: jax.Array
    anchor: jax.Array
    points: jax.Array
    mean: jax.Array
    squares: jax.Array
    root: jax.Array


OWN = ("log_step", "log_mean", "error", "time", "anchor")  # what is known of each chain


@dataclass(frozen=True)
class Tuner:
    """Tunes one kernel.

    Attributes:
        size: number of coordinates.
        dense: whether the inverse mass is a matrix.
        target: acceptance rate.
        step: the step size, where it is given.
        root: the root of the inverse mass, where it is given.
    """

    size: int
    dense: bool
    target: float
    step: float | None
    root: jax.Array | None

    def start(self, chains: int) -> Learnt:
        """Begin with a step of one, in units of one."""
        dtype = jnp.result_type(float)
        zero, none = np.zeros((), dtype), np.zeros(chains, dtype)
        log_step = np.log(np.full(chains, 1.0 if self.step is None else self.step, dtype))
        moments = np.zeros((self.size, self.size) if self.dense else (self.size,), dtype)
        root = np.eye(self.size, dtype=dtype) if self.dense else np.ones(self.size, dtype)
        root = root if self.root is None else np.asarray(self.root, dtype)
        anchor = np.log(10.0, dtype=dtype) + log_step
        mean = np.zeros(self.size, dtype)
        return Learnt(*map(device_array, (log_step, log_step, none, none, anchor, zero, mean, moments, root)))

    def settings(self, scaled: jax.Array, *learnt: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Step size of each chain, root of the inverse mass, and whether the coordinates have their scales.

        Args:
            scaled: whether the first scales are found, or none will be.
            learnt: what is known.
        """
        now = Learnt(*learnt)
        return jnp.exp(now.log_step), now.root, scaled | (self.root is not None)

    def update(self, row: jax.Array, apart: jax.Array, signal: jax.Array, *learnt: jax.Array) -> Learnt:
        """Learn from one step of all chains.

        Args:
            row: whether the step lies in a window, whether it ends one, whether it learns, whether it is the last that
                does, whether the first part is over, and whether it comes before the first scales.
            apart: (chain,): which chains have a step size of their own while the first part lasts.
            signal: (chain, 2 + d): whether the kernel ran, its acceptance, and its coordinates.
            learnt: what is known.
        """
        now = Learnt(*learnt)
        ran, over = signal[:, 0] > 0, row[4] > 0
        if self.step is None:
            own = apart & ~over
            others = ran & ~own
            rate = jnp.sum(jnp.where(others, signal[:, 1], 0.0)) / jnp.maximum(jnp.sum(others), 1)
            heard = jnp.where(own, ran, jnp.any(others))
            now = _where(heard, self._followed(now, jnp.where(own, signal[:, 1], rate)), now)
        if self.root is None:
            now = self._measured(now, ran * row[0], signal[:, 2:])
            ends = (row[1] > 0) & (now.points > 1)
            now = _where(ends, self._renewed(now), now)
        if self.step is None:
            now = _where(over | (row[3] > 0), self._shared(now, apart), now)
            # draws have the mean of the last step sizes
            now = now._replace(log_step=jnp.where(row[3] > 0, now.log_mean, now.log_step))
        return now

    def _shared(self, now: Learnt, apart: jax.Array) -> Learnt:
        """Give all chains what those have that are not apart; where all have the same that changes nothing."""
        first = jnp.argmin(apart)
        return _of_each(lambda x: jnp.broadcast_to(x[first], x.shape), now)

    def taken(self, places: jax.Array, *learnt: jax.Array) -> Learnt:
        """Give every chain the step size of the chain whose place it takes."""
        return _of_each(lambda x: x[places], Learnt(*learnt))

    def _followed(self, now: Learnt, rate: jax.Array) -> Learnt:
        time = now.time + 1
        share = 1 / (time + BEGINNING)
        error = (1 - share) * now.error + share * (self.target - rate)
        log_step = now.anchor - jnp.sqrt(time) / FOLLOWS * error
        weight = time**-FORGETS
        log_mean = weight * log_step + (1 - weight) * now.log_mean
        return now._replace(log_step=log_step, log_mean=log_mean, error=error, time=time)

    def _measured(self, now: Learnt, weight: jax.Array, vectors: jax.Array) -> Learnt:
        """Add points to the moments (Chan, Golub and LeVeque 1983, a batch at a time)."""
        use = ((weight > 0) & jnp.all(jnp.isfinite(vectors), -1)).astype(vectors.dtype)
        vectors = jnp.where(use[:, None] > 0, vectors, 0.0)
        fresh = jnp.sum(use)
        count = jnp.maximum(now.points + fresh, 1.0)
        centre = jnp.sum(vectors, 0) / jnp.maximum(fresh, 1.0)
        apart = use[:, None] * (vectors - centre)
        gap = centre - now.mean
        scale = now.points * fresh / count
        squares = now.squares + (
            apart.T @ apart + scale * jnp.outer(gap, gap) if self.dense else jnp.sum(apart**2, 0) + scale * gap**2
        )
        return now._replace(points=now.points + fresh, mean=now.mean + fresh / count * gap, squares=squares)

    def _renewed(self, now: Learnt) -> Learnt:
        """Take the window's covariance, drawn a little to small scales, and begin the next one."""
        known = now.points / (now.points + PULL)
        covariance = known * now.squares / jnp.maximum(now.points - 1, 1.0)
        extra = GUESS * (1 - known)
        if self.dense:
            several = now.points >= FEW * self.size
            covariance = jnp.where(several, covariance, jnp.diag(jnp.diag(covariance)))
            root = jnp.linalg.cholesky(covariance + extra * jnp.eye(self.size, dtype=covariance.dtype))
            root = jnp.where(jnp.all(jnp.isfinite(root)), root, now.root)
        else:
            root = jnp.sqrt(covariance + extra)
        none = jnp.zeros_like(now.time)
        return now._replace(
            root=root, points=jnp.zeros_like(now.points), mean=jnp.zeros_like(now.mean),
            squares=jnp.zeros_like(now.squares), error=none, time=none, anchor=jnp.log(10.0) + now.log_step,
            log_mean=now.log_step,
        )  # fmt: skip


def _of_each(change: Callable[[jax.Array], jax.Array], now: Learnt) -> Learnt:
    """Change what is known of each chain."""
    return now._replace(**{name: change(getattr(now, name)) for name in OWN})


def _where(condition: jax.Array, new: Learnt, old: Learnt) -> Learnt:
    """Choose what is known; a condition of each chain chooses what is known of it, and all of it from the new."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b) if a is not b else b, new, old)


@dataclass(frozen=True)
class Schedule:
    """What each step of a warm-up does, and that draws learn nothing; it takes no memory, however many they are.

    Attributes:
        warmup: steps before the first draw.
        first: where the windows begin.
        last: where they end.
        ends: the last step of each window.
        scaled: the first step that has scales.
    """

    warmup: int
    first: int
    last: int
    ends: tuple[int, ...]
    scaled: int

    def __call__(self, step: jax.Array) -> jax.Array:
        """Give the row of a step, as `Tuner.update` reads it; all draws have that of the first."""
        learns, started = step < self.warmup, step >= self.first
        ends = jnp.any(step == jnp.asarray(self.ends, jnp.int32))
        told = (started & (step < self.last), ends, learns, step == self.warmup - 1, started & learns)
        return jnp.stack([*told, step < self.scaled]).astype(jnp.result_type(float))

    def after(self, step: jax.Array) -> jax.Array:
        """Give the next step; draws are not counted."""
        return jnp.minimum(step + 1, self.warmup)


def schedule(warmup: int) -> Schedule:
    """Divide a warm-up into windows.

    >>> schedule(1000).ends
    (99, 149, 249, 449, 949)
    >>> [schedule(1)(jnp.array(step)).tolist() for step in range(2)]
    [[0.0, 0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    first, last, window = FIRST, LAST, WINDOW
    if warmup < 20:
        return Schedule(warmup, warmup, warmup, (), 0)
    if warmup < first + last + window:
        first, last = int(0.15 * warmup), int(0.1 * warmup)
        window = warmup - first - last
    ends, end, stop = list[int](), first, warmup - last
    while end < stop:
        end += window
        window *= 2
        end = stop if end + window > stop else end
        ends.append(end - 1)
    # of one window all is used, also that chains may be compared by it
    return Schedule(warmup, first, stop, tuple(ends), ends[0] + 1 if len(ends) > 1 else first)


def has_scales(row: jax.Array) -> jax.Array:
    """Tell from a row of the schedule whether the first scales are found, or none will be."""
    return row[5] == 0


def learns(row: jax.Array) -> jax.Array:
    """Tell from a row of the schedule whether its step learns: 1, or 0."""
    return (row[2] > 0).astype(jnp.int32)
