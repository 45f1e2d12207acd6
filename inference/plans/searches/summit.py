"""Summit: what stands at the end of a search: an inner maximum, one on an edge of a support, a ridge, or none.

Law: a coordinate is held at an edge only where the density does not fall on the way there and the values stop moving.
Curvature and errors are those of the coordinates that are not held, as far as the density is curved there: Newton steps
go along these alone, and lower no value. The errors on the scale of the values follow from the slopes of the map.

What is said is free of the units of the coordinates: curvature is taken in units of its own diagonal, and a direction
is followed for standard errors, as the curvature tells them, not for lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...results.optima import MAXIMUM, RIDGE, SADDLE, UNBOUNDED, UNFINISHED
from .ascent import converged

NEWTON = 8  # steps
HELD = 8  # rounds in which coordinates go to edges
FAR = (2.0, 8.0, 128.0)  # standard errors to where the density is asked, along a direction
OUT = (8.0, 30.0)  # and by how many units along a coordinate of a bounded support, where one is a factor e
WAY = (8.0, 16.0, 32.0)  # units on the way to an edge where the density may have no bound
EDGE = (1000.0, 30.0)  # units to where a coordinate is held
FALLS = 1e-6  # what the density falls by, at least, where there is a maximum
STILL = 1e-6  # what values move by, at most, where they have come to an edge
STEEP, BEYOND = 1e-2, 1e6  # what the density falls by, and coordinates, of a search that ran off while it rose
SAME = 1e-5  # of two ends of one maximum: how far the values of the log density lie apart
NEAR = 1e-3  # and the square of their distance, in standard errors


@dataclass(frozen=True)
class Asking:
    """What is asked of a target at coordinates, compiled.

    Attributes:
        slopes: see the target.
        scored: gives the log density of rows of coordinates.
        shown: gives the values at rows of coordinates.
        places: of each choice its coordinates, its values, and whether these belong together element by element.
        bounded: which coordinates are of a support with bounds.
    """

    slopes: Callable[[Any], Sequence[Any]]
    scored: Callable[[Any], Any]
    shown: Callable[[Any], Any]
    places: Sequence[tuple[slice, slice, bool]]
    bounded: np.ndarray


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
    value: Any
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
        moved = np.nan_to_num(self.moved)
        for direction in loose:
            shift = np.abs(moved @ direction)
            found |= shift > 1e-6 * max(float(shift.max(initial=0.0)), np.finfo(float).tiny)
        return found

    @property
    def covariance(self) -> np.ndarray:
        """Inverse of the curvature on the scale of the values, NaN where there is none."""
        bent, directions = self.axes
        firm = self.firm
        roots = np.nan_to_num(self.moved) @ (directions[firm] / np.sqrt(-bent[firm])[:, None]).T
        found: np.ndarray = roots @ roots.T
        lost = self.flat | (self.edges != 0) if self.kind in (MAXIMUM, RIDGE) else np.ones(len(self.values), bool)
        found[lost] = found[:, lost] = np.nan
        return found

    def is_at(self, vector: np.ndarray, value: Any) -> bool:
        """Tell whether another end is this one, reached again."""
        bent, directions = self.axes
        firm = self.firm
        moved = np.where(self.free, vector - self.vector, 0.0)
        apart = moved @ (-self.second) @ directions[firm].T / np.sqrt(-bent[firm])
        close = abs(value - self.value) <= rounding(self.value, SAME)
        return bool(close and np.sum(apart**2) <= NEAR)


def rounding(value: Any, least: float) -> float:
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
    return Summit(np.asarray(vector), value[()], gradient, second, values, moved, free, edges, none)


def _refined(ask: Asking, found: Summit) -> Summit:
    """Take Newton steps as long as they gain, or lose no more than rounding and make the gradient smaller.

    A step squares the distance to the maximum, in standard errors; where that is rounding after it, it is the last one.
    """
    close = False
    for _ in range(NEWTON):
        step = found.newton
        if close or not step.any() or not np.isfinite(step).all():
            break
        close = float(-step @ found.second @ step) <= float(np.finfo(step.dtype).eps)
        new = _seen(ask, found.vector + step, found.free, found.edges)
        worse = not np.isfinite(new.value) or new.value < found.value - rounding(found.value, 0.0)
        sizes = [np.abs(np.where(one.free, one.gradient, 0.0)).max(initial=0.0) for one in (new, found)]
        if worse or not np.isfinite(new.second).all() or not sizes[0] < sizes[1]:
            break
        found = new
    return found


def _holds(ask: Asking, found: Summit, directions: np.ndarray, lengths: Sequence[float]) -> np.ndarray:
    """Tell along which directions, and against which, the density does not fall, however far one goes: (2, ...)."""
    if not len(directions):
        return np.zeros((2, 0), bool)
    ways = np.array([*lengths, *(-x for x in lengths)])
    rows = found.vector + (ways[:, None, None] * directions).reshape(-1, len(found.vector))
    scores = ask.scored(rows).reshape(2, len(lengths), len(directions))
    with np.errstate(invalid="ignore"):
        held: np.ndarray = (scores >= found.value - rounding(found.value, FALLS)).all(axis=1)
    return held


def _one_sided(ask: Asking, found: Summit) -> Iterator[tuple[int, float, np.ndarray | None]]:
    """Find free coordinates of bounded supports along which the density falls on one side alone.

    Gives the coordinate, the other side, and the values out there where they stop moving; None where they move on.
    """
    places = np.flatnonzero(found.free & ask.bounded)
    units = np.eye(len(found.vector))[places]
    for place, unit, (ahead, back) in zip(places, units, _holds(ask, found, units, OUT).T, strict=True):
        if ahead != back:
            side = 1.0 if ahead else -1.0
            rows = found.vector + side * np.array(OUT)[:, None] * unit
            near, beyond = ask.shown(rows)
            still = np.all(np.abs(beyond - near) <= STILL * (1 + np.abs(near)) + np.abs(near - found.values))
            yield int(place), side, beyond if still else None


def _held(ask: Asking, found: Summit) -> Summit | None:
    """Hold coordinates at edges of supports, where the density does not fall on the way there; None without any."""
    reached = [(place, side, values) for place, side, values in _one_sided(ask, found) if values is not None]
    free, edges = found.free.copy(), found.edges
    for place, _, values in reached:
        free[place] = False
        edges = np.where(_reached(ask, place, found.values, values), _side(found, values, place), edges)
    for units in EDGE if reached else ():
        vector = found.vector.copy()
        for place, side, _ in reached:
            vector[place] += side * units
        new = _seen(ask, vector, free, edges.astype(np.int8))
        if new.value >= found.value - rounding(found.value, FALLS) and np.isfinite(new.second).all():
            return new
    return None


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
    """Tell which coordinates run off: where the density falls on one side alone, and values move on at the other."""
    if not np.isfinite(found.second).all() or not found.converged:
        return _rose(ask, found) | (np.abs(found.vector) > BEYOND) & found.free
    off = np.zeros(len(found.vector), bool)
    off[[place for place, _, values in _one_sided(ask, found) if values is None]] = True
    bent, directions = found.axes
    step = found.newton
    length = np.sqrt(max(float(-step @ found.second @ step), float(np.finfo(float).tiny)))
    ways = np.concatenate([
        np.diag(found.scales)[found.free & ~ask.bounded & (found.scales > 0)],
        directions[found.firm] / np.sqrt(-bent[found.firm])[:, None],
        (step / length)[None][: int(step.any())],
    ])  # fmt: skip
    ahead, back = _holds(ask, found, ways, FAR)
    for way in ways[ahead != back]:
        off |= np.abs(way) > 0.01 * found.scales
    return off & found.free


def _rose(ask: Asking, found: Summit) -> np.ndarray:
    """Tell along which coordinates a search that does not end well went towards an edge where the density has no bound.

    On the way there it rises again with each further factor, while the values hardly move.
    """
    rose = np.zeros(len(found.vector), bool)
    for place in np.flatnonzero(found.free & ask.bounded & (np.abs(found.vector) > WAY[-1])):
        rows = np.stack([found.vector] * len(WAY))
        rows[:, place] = np.sign(found.vector[place]) * np.array(WAY)
        (*_, at, beyond), scores = ask.shown(rows), ask.scored(rows)
        still = np.all(np.abs(beyond - at) <= STILL * (1 + np.abs(at)))
        rose[place] = still and bool((np.diff(scores) > STEEP).all())
    return rose
