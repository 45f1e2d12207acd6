"""Warm-up: what all chains learn together, and which go on from where another is, as they stand still or have no mass.

Law: a warm-up changes where draws begin and by which kernel they are made, never what a draw means; no chain is
restarted once draws begin. A chain that cannot leave its start at any step size, or a mode without mass, says nothing
about the posterior, and is told in the result. Before a chain that stands still is restarted, it is set apart, with
steps of its own.

How much of the posterior lies where a chain is, is told from a window of its points; the estimate changes none of them.
The log mass of a region is its mean log density and its entropy, that of a normal law with the logs of its standard
deviations, d of them, in coordinates without bounds. By Hadamard's inequality the deviations of single coordinates give
too much of it where these are correlated, and the roots of their conditional precisions, which are mean squared
gradients, too little. So a region has at most the mass that the larger of both give, and at least that of the smaller:
that is conservative as well where a chain has not yet moved about. Linear maps of a coordinate change no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.device import device_array

from ...kernels.gradient.window_adaptation import Learnt, Tuner

APART = 5  # steps without a move after which a chain gets a step size of its own, in the first part
PATIENT, LONGER = 25, 100  # steps without a move after which a chain is restarted, in the first part and later
RESTARTS = ("restarted", "log_mass_below")  # the last of what is known of each chain, as a result names them
# A region with less than exp(-10) of the mass of another is not worth a chain. Means of few points that depend on each
# other stray as single points do, whose log densities have a standard deviation of sqrt(d / 2): three of a difference.
LEAST, DEVIATIONS = 10.0, 3.0


class Window(NamedTuple):
    """Number of points, and of each chain the first and sums over all.

    They are those of log density and coordinates less the first, of squares of the latter, and of squared gradients.
    """

    points: jax.Array
    first: jax.Array
    sums: jax.Array


def window(chains: int, size: int) -> Window:
    """Begin a window of chains in so many coordinates.

    >>> window(2, 3).sums.shape
    (2, 10)
    """
    dtype = jnp.result_type(float)
    shapes = (), (chains, 1 + size), (chains, 1 + 3 * size)
    return Window(*(device_array(np.zeros(shape, dtype)) for shape in shapes))


def observed(now: Window, vector: jax.Array, log_density: jax.Array, gradient: jax.Array, counts: jax.Array) -> Window:
    """Add a point of each chain, where it counts (1, else 0)."""
    point = jnp.concatenate([log_density[:, None], vector], 1)
    first = jnp.where(now.points > 0, now.first, point)
    gap = point - first
    terms = jnp.concatenate([gap, gap[:, 1:] ** 2, gradient**2], 1)
    return Window(now.points + counts, first, jnp.where(counts > 0, now.sums + terms, now.sums))


def closed(now: Window, ends: jax.Array) -> tuple[Window, jax.Array]:
    """Close a window where it ends; gives the next one, and by how much each chain's region is below the best.

    That is zero for a chain whose region may have mass. A region has none if both its log density and its log mass lie
    below those of the best by `margin`: a volume that is small says nothing, as that of a chain that moves little is.
    A chain whose log density rises by half of that from the first to the mean is on its way, and is left to go on.

    >>> now = window(2, 1)
    >>> for x in (-1.0, 1.0):
    ...     now = observed(now, jnp.full((2, 1), x), jnp.array([0.0, -20.0]), jnp.ones((2, 1)), jnp.array(1.0))
    >>> [closed(now, jnp.array(ends))[1].round(3).tolist() for ends in (True, False)]
    [[0.0, 19.653], [0.0, 0.0]]
    """

    def at_end(now: Window) -> tuple[Window, jax.Array]:
        return now._replace(points=jnp.zeros_like(now.points), sums=jnp.zeros_like(now.sums)), _below(now)

    def before(now: Window) -> tuple[Window, jax.Array]:
        return now, jnp.zeros_like(now.sums[:, 0])

    after: tuple[Window, jax.Array] = jax.lax.cond(ends, at_end, before, now)
    return after


def margin(size: int) -> float:
    """How far below the best a region's log mass is, to be worth no chain.

    >>> margin(4)
    16.0
    """
    return LEAST + DEVIATIONS * size**0.5


def _below(now: Window) -> jax.Array:
    size = now.first.shape[1] - 1
    means = now.sums / now.points
    level, first, squares, slopes = jnp.split(means, (1, 1 + size, 1 + 2 * size), axis=1)
    height = now.first[:, 0] + level[:, 0]
    tiny = jnp.finfo(means.dtype).tiny
    # logs of variances; an element that is absent has neither
    wide = jnp.log(jnp.maximum((squares - first**2) * now.points / (now.points - 1), tiny))
    steep = jnp.where(slopes > tiny, -jnp.log(slopes), wide)
    most, least = (height + 0.5 * jnp.sum(f(wide, steep), 1) for f in (jnp.maximum, jnp.minimum))
    least = jnp.where(jnp.isfinite(least), least, -jnp.inf)
    best = jnp.max(least)
    gap = jnp.minimum(best - most, jnp.max(jnp.where(least == best, height, -jnp.inf)) - height)
    sits = level[:, 0] < margin(size) / 2  # a chain that climbs is still on its way
    return jnp.where(sits & (gap > margin(size)) & (gap < jnp.inf), gap, 0.0)


class Watched(NamedTuple):
    """Of each chain: steps since it last moved, whether it is apart, and of its restart: from which, or -1, and why.

    That is by how much the log mass of where it was lay below that of the best, or zero where it stood still.
    """

    still: jax.Array
    apart: jax.Array
    restarted: jax.Array
    below: jax.Array


def watched(chains: int) -> Watched:
    """Begin to watch.

    >>> watched(2).restarted.tolist()
    [-1, -1]
    """
    none, dtype = np.zeros(chains, np.int32), jnp.result_type(float)
    return Watched(*map(device_array, (none, np.zeros(chains, bool), none - 1, np.zeros(chains, dtype))))


def moved(before: Sequence[jax.Array], after: Sequence[jax.Array]) -> jax.Array:
    """Tell of each chain whether any of its values changed; values that are no numbers do not count."""
    changed = [jnp.any(((a != b) & (a == a)).reshape(len(a), -1), 1) for a, b in zip(after, before, strict=True)]
    return jnp.any(jnp.stack(changed), 0)


def seen(now: Watched, moved: jax.Array, first: Any, below: Any = 0.0) -> tuple[Watched, jax.Array]:
    """Look at a step: gives what is known after it, and for each chain that whose place it takes, mostly itself.

    Chains that stood still for long, or where no mass is, take the places of the others, in turn; where all did, none.

    Args:
        now: what is known.
        moved: of each chain, whether the step moved it.
        first: whether the step lies in the first part of the warm-up.
        below: of each chain where no mass is, by how much its log mass lies below the best, else zero.

    >>> now = watched(3)._replace(still=jnp.array([24, 0, 7]))
    >>> after, places = seen(now, jnp.array([False, True, False]), True)
    >>> places.tolist(), after.restarted.tolist(), after.still.tolist(), after.apart.tolist()
    ([1, 1, 2], [1, -1, -1], [0, 0, 8], [False, False, True])
    """
    still = jnp.where(moved, 0, now.still + 1)
    apart = now.apart | (jnp.asarray(first) & (still >= APART) & jnp.any(still < APART))
    lost = (still >= jnp.where(first, PATIENT, LONGER)) | (below > 0)
    own = jnp.arange(len(still), dtype=jnp.int32)
    others = jnp.argsort(lost, stable=True).astype(jnp.int32)
    count = jnp.sum(~lost)
    places = jnp.where(lost & (count > 0), others[(jnp.cumsum(lost) - 1) % jnp.maximum(count, 1)], own)
    taken = places != own
    still = jnp.where(taken, 0, still)
    restarted, below = (jnp.where(taken, a, b) for a, b in ((places, now.restarted), (below, now.below)))
    return Watched(still, apart[places], restarted, below), places


@dataclass(frozen=True)
class WarmUp:
    """What the chains of a kernel learn in a warm-up; as a function, what is known after a step of it.

    Operands of that: the row of the schedule, the signals of the kernels that are tuned, what was carried before the
    step, what was known, what is carried. It gives what is known, then what is carried on, of all chains.

    Attributes:
        tuners: of the kernels that are tuned.
        chains: how many.
        carried: number of values that each chain carries.
        size: number of coordinates that a chain is compared in; None where it carries none.
    """

    tuners: Sequence[Tuner]
    chains: int
    carried: int
    size: int | None

    @cached_property
    def learns(self) -> bool:
        """Whether the warm-up has anything to do."""
        return bool(self.tuners) or self.size is not None

    @cached_property
    def watches(self) -> bool:
        """Whether chains are restarted: one alone has none to be restarted from."""
        return self.chains > 1 and self.learns

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of what is told of it at the end."""
        numbers = [""] if len(self.tuners) == 1 else [f"_{number}" for number in range(len(self.tuners))]
        tuned = [f"{name}{number}" for number in numbers for name in ("step_size", "inverse_mass")]
        return (*tuned, *(RESTARTS if self.watches else ()))

    def start(self) -> list[jax.Array]:
        """Give what is known before the first step."""
        known: list[jax.Array] = []
        if self.watches:
            known += () if self.size is None else window(self.chains, self.size)
            known += watched(self.chains)
        return [x for tuner in self.tuners for x in tuner.start(self.chains)] + known

    def of_each(self, known: Sequence[Any]) -> list[Sequence[Any]]:
        """Split what is known by tuner."""
        size = len(Learnt._fields)
        return [known[number * size : (number + 1) * size] for number in range(len(self.tuners))]

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Learn."""
        count, size = len(self.tuners), self.carried
        row, signals, before = operands[0], operands[1 : 1 + count], operands[1 + count : 1 + count + size]
        known, after = operands[1 + count + size : -size], operands[-size:]
        watch: tuple[jax.Array, ...] = ()
        places = jnp.arange(self.chains)
        apart, below = jnp.zeros(self.chains, bool), jnp.zeros(self.chains, row.dtype)
        if self.watches:
            found = Watched(*known[-len(Watched._fields) :])
            if self.size is not None:
                at = len(known) - len(Watched._fields)
                # Before the first scales are found, a chain may still be on its way.
                points = Window(*known[at - len(Window._fields) : at])
                vector, log_density, gradient = after[:3]
                points = observed(points, vector, log_density, gradient, row[0] * (1 - row[5]))
                points, below = closed(points, row[1] * (1 - row[5]) > 0)
                watch = points
            found, places = seen(found, moved(before, after), row[4] == 0, below)
            apart, watch = found.apart, (*watch, *found)
            after = tuple(x[places] for x in after)
        new: list[jax.Array] = []
        for tuner, signal, own in zip(self.tuners, signals, self.of_each(known), strict=True):
            learnt = tuner.update(row, apart, signal, *own)
            new += tuner.taken(places, *learnt) if self.watches else learnt
        return (*new, *watch, *after)
