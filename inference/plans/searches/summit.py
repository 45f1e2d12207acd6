"""Summit: what stands at the end of a search: an inner maximum, one on an edge of a support, a ridge, or none.

Law: a coordinate is held at an edge only where the density does not fall on the way there and the values stop moving.
Curvature and errors are those of the coordinates that are not held, as far as the density is curved there: Newton steps
go along these alone, and lower no value. The errors on the scale of the values follow from the slopes of the map.

What is said is free of the units of the coordinates: curvature is taken in units of its own diagonal, and a direction
is followed for standard errors, as the curvature tells them, not for lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...results.optima import MAXIMUM, RIDGE, SADDLE, UNBOUNDED, UNFINISHED
from .ascent import converged

NEWTON = 8  # steps
HELD = 8  # rounds in which coordinates go to edges
FAR = 2.0  # standard errors to where the density is asked
FURTHER = (1.0, 4.0, 64.0)  # and times of that
FALLS = 1e-6  # what the density falls by, at least, where there is a maximum
STILL = 1e-6  # what values move by, at most, where they have come to an edge
SAME = 1e-5  # of two ends of one maximum: how far the values of the log density lie apart
NEAR = 1e-3  # and the square of their distance, in standard errors


@dataclass(frozen=True)
class Asking:
    """What is asked of a target at coordinates, compiled: `slopes` as of the target; the log density and the values of
    several rows of coordinates; and the places of the values.
    """  # fmt: skip

    slopes: Callable[[Any], Sequence[Any]]
    scored: Callable[[Any], Any]
    shown: Callable[[Any], Any]
    places: Sequence[tuple[slice, slice, bool]]  # of each choice: coordinates, values, and whether element by element

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.places[-1][0].stop if self.places else 0


@dataclass(frozen=True, eq=False)
class Summit:
    """The end of a search.

    Attributes:
        vector: its coordinates.
        value: the log density there.
        gradient: by the coordinates.
        second: second derivatives.
        values: all that is shown, in a vector.
        moved: derivatives of these by the coordinates.
        free: which coordinates there are, and are not held at an edge.
        edges: of each value -1 where it is at a lower edge, 1 at an upper one, else 0.
        off: which coordinates run off, without a maximum.
    """

    vector: np.ndarray
    value: float
    gradient: np.ndarray
    second: np.ndarray
    values: np.ndarray
    moved: np.ndarray
    free: np.ndarray
    edges: np.ndarray
    off: np.ndarray

    @property
    def flat_below(self) -> float:
        """Curvature, next to that of the coordinates by themselves, below which a direction is flat."""
        return float(np.finfo(self.vector.dtype).eps ** 0.5)

    @cached_property
    def scales(self) -> np.ndarray:
        """What a coordinate moves by for half a unit of log density, by its own curvature."""
        bent = np.abs(np.diag(self.second))
        return np.where(bent > 0, 1 / np.sqrt(np.where(bent > 0, bent, 1.0)), 0.0)

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Curvatures of the free coordinates in units of their own, and their directions, in rows."""
        free = np.flatnonzero(self.free)
        if not np.isfinite(self.second).all():
            return np.zeros(0), np.zeros((0, len(self.vector)))
        scales = self.scales[free]
        bent, turned = np.linalg.eigh(self.second[np.ix_(free, free)] * np.outer(scales, scales))
        directions = np.zeros((len(free), len(self.vector)))
        directions[:, free] = (scales[:, None] * turned).T
        still = np.flatnonzero(self.scales[free] == 0)
        for row, place in zip(np.flatnonzero(~directions.any(axis=1)), still, strict=False):
            directions[row, free[place]] = 1.0
        return bent, directions

    @property
    def firm(self) -> np.ndarray:
        """Which directions have a maximum."""
        return self.axes[0] < -self.flat_below

    @property
    def newton(self) -> np.ndarray:
        """The step to the maximum of the parabola, along the directions that have one."""
        bent, directions = self.axes
        firm = self.firm
        step: np.ndarray = (directions[firm] @ self.gradient / -bent[firm]) @ directions[firm]
        return step

    @property
    def converged(self) -> bool:
        """Whether the gradient is small along what is free."""
        return bool(converged(np.asarray(self.value), np.where(self.free, self.gradient, 0.0)))

    @property
    def kind(self) -> str:
        """What it is."""
        bent = self.axes[0]
        if self.off.any():
            return UNBOUNDED
        if not self.converged or len(bent) < self.free.sum():
            return UNFINISHED
        if (bent > self.flat_below).any():
            return SADDLE
        return MAXIMUM if self.firm.all() else RIDGE

    @property
    def flat(self) -> np.ndarray:
        """Which values move along directions that are flat or run off."""
        bent, directions = self.axes
        loose = directions[~self.firm]
        if self.off.any():
            loose = np.concatenate([loose, self.off[None].astype(float)])
        found: np.ndarray = np.zeros(len(self.values), bool)
        for direction in loose:
            shift = np.abs(self.moved @ direction)
            found |= shift > 1e-6 * max(float(shift.max(initial=0.0)), np.finfo(float).tiny)
        return found

    @property
    def covariance(self) -> np.ndarray:
        """Inverse of the curvature on the scale of the values, NaN where there is none."""
        bent, directions = self.axes
        firm = self.firm
        roots = self.moved @ (directions[firm] / np.sqrt(-bent[firm])[:, None]).T
        found: np.ndarray = roots @ roots.T
        lost = self.flat | (self.edges != 0) if self.kind in (MAXIMUM, RIDGE) else np.ones(len(self.values), bool)
        found[lost] = found[:, lost] = np.nan
        return found

    def is_at(self, vector: np.ndarray, value: float) -> bool:
        """Tell whether another end is this one, reached again."""
        bent, directions = self.axes
        firm = self.firm
        moved = np.where(self.free, vector - self.vector, 0.0)
        apart = moved @ (-self.second) @ directions[firm].T / np.sqrt(-bent[firm])
        close = abs(value - self.value) <= rounding(self.value, SAME)
        return bool(close and np.sum(apart**2) <= NEAR)


def rounding(value: float, least: float) -> float:
    """Give a difference of log densities that is more than rounding."""
    return max(least, 1e3 * float(np.finfo(np.asarray(value).dtype).eps) * abs(float(value)))


def summit_of(ask: Asking, vector: np.ndarray, free: np.ndarray) -> Summit:
    """Go from the end of a search to its maximum, and tell what stands there."""
    found = _seen(ask, vector, free, None)
    for _ in range(HELD):
        found = _refined(ask, found)
        held = _held(ask, found)
        if held is None:
            break
        found = held
    return replace(found, off=_off(ask, found))


def _seen(ask: Asking, vector: np.ndarray, free: np.ndarray, edges: np.ndarray | None) -> Summit:
    value, gradient, second, values, moved = (np.asarray(x) for x in ask.slopes(vector))
    none = np.zeros(len(vector), bool)
    edges = np.zeros(len(values), np.int8) if edges is None else edges
    return Summit(np.asarray(vector), value, gradient, second, values, moved, free, edges, none)


def _refined(ask: Asking, found: Summit) -> Summit:
    """Take Newton steps as long as they gain, or lose no more than rounding and make the gradient smaller."""
    for _ in range(NEWTON):
        step = found.newton
        if not step.any() or not np.isfinite(step).all():
            break
        new = _seen(ask, found.vector + step, found.free, found.edges)
        worse = not np.isfinite(new.value) or new.value < found.value - rounding(found.value, 0.0)
        sizes = [np.abs(np.where(one.free, one.gradient, 0.0)).max(initial=0.0) for one in (new, found)]
        if worse or not np.isfinite(new.second).all() or not sizes[0] < sizes[1]:
            break
        found = new
    return found


def _probed(ask: Asking, found: Summit, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell along which directions, and against which, the density does not fall, however far one goes."""
    if not len(directions):
        return np.zeros(0, bool), np.zeros(0, bool)
    lengths = np.concatenate([np.array(FURTHER), -np.array(FURTHER)])
    rows = found.vector + (lengths[:, None, None] * directions).reshape(-1, len(found.vector))
    scores = np.asarray(ask.scored(rows)).reshape(2, len(FURTHER), len(directions))
    with np.errstate(invalid="ignore"):
        holds = (scores >= found.value - rounding(found.value, FALLS)).all(axis=1)
    return holds[0], holds[1]


def _own(found: Summit) -> np.ndarray:
    """Give two standard errors of each free coordinate by itself, in rows."""
    scales = np.where(found.scales > 0, found.scales, 1e8)
    rows: np.ndarray = (FAR * np.diag(np.minimum(scales, 1e8)))[found.free]
    return rows.astype(found.vector.dtype)


def _held(ask: Asking, found: Summit) -> Summit | None:
    """Hold coordinates at edges of supports, where the density does not fall on the way there; None without any."""
    directions = _own(found)
    ahead, back = _probed(ask, found, directions)
    free, edges, vector = found.free.copy(), found.edges.copy(), found.vector.copy()
    for row, place in enumerate(np.flatnonzero(found.free)):
        if ahead[row] == back[row]:  # it falls on both sides, or on none
            continue
        way = directions[row] if ahead[row] else -directions[row]
        at, beyond = np.asarray(ask.shown(np.stack([found.vector + way, found.vector + 4 * way])))
        if not np.all(np.abs(beyond - at) <= STILL * (1 + np.abs(at))):
            continue
        free[place], vector[place] = False, (found.vector + way)[place]
        edges = np.where(_reached(ask, place, found.values, at), _side(found, at, place), edges).astype(np.int8)
    return None if (free == found.free).all() else _seen(ask, vector, free, edges)


def _reached(ask: Asking, place: int, before: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Tell which values came to an edge with a coordinate."""
    marks = np.zeros(len(at), bool)
    for own, shown, elementwise in ask.places:
        if own.start <= place < own.stop:
            if elementwise:
                marks[shown.start + place - own.start] = True
                continue
            inner = at[shown]
            least = np.abs(inner) <= STILL * np.abs(inner).max(initial=0.0)
            shift = np.abs(inner - before[shown])
            marks[shown] = least if least.any() else shift >= 0.5 * shift.max(initial=0.0)
    return marks


def _side(found: Summit, at: np.ndarray, place: int) -> np.ndarray:
    """Tell for each value on which side of where it was the edge lies."""
    moved = np.sign(at - found.values)
    return np.where(moved == 0, -np.sign(found.moved[:, place]), moved)


def _off(ask: Asking, found: Summit) -> np.ndarray:
    """Tell which coordinates run off: where the density does not fall on one side alone, and values move on."""
    off = np.zeros(len(found.vector), bool)
    if not np.isfinite(found.second).all() or not found.converged:
        slope = np.abs(np.where(found.free, found.gradient, 0.0))
        still = (np.abs(found.moved) <= STILL * (1 + np.abs(found.values))[:, None]).all(axis=0)
        return (slope > 1e-3) & (still | (np.abs(found.vector) > 1e6))
    bent, directions = found.axes
    sizes = FAR / np.sqrt(np.maximum(np.abs(bent), 1e-16))
    step = found.newton
    length = np.sqrt(max(float(-step @ found.second @ step), np.finfo(float).tiny))
    rows = [_own(found), (sizes[:, None] * directions)[found.firm], (FAR / length * step)[None] if step.any() else step[None][:0]]
    ways = np.concatenate(rows).astype(found.vector.dtype)
    ahead, back = _probed(ask, found, ways)
    for way in ways[ahead != back]:
        off |= np.abs(way) * np.where(found.scales > 0, 1 / np.where(found.scales > 0, found.scales, 1.0), 1.0) > 1e-2 * FAR
    return off & found.free
