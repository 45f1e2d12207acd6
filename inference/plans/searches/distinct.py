"""Distinct: the ends of many searches become the distinct optima.

Law: every search that ends at a finite density counts for exactly one optimum. Two ends are one where their log
densities are equal up to rounding and they lie within a small part of a standard error, or on one ridge; two that
differ in the order of exchangeable parts alone are one, with as many labellings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from lawful.form.choices import Choice, is_own

from ...representations.exchangeable import arrangements
from ...results.optima import KINDS, RIDGE, UNBOUNDED, UNFINISHED, Optima
from .ascent import Search
from .summit import SAME, Asking, Summit, rounding, summit_of

ALIKE = 1e-4  # how far values of one optimum lie apart, next to their size, beside the size of their errors
LARGEST = 300  # numbers of which a covariance is kept


def optima_of(ask: Asking, shown: Sequence[Choice], free: np.ndarray, ends: Search) -> Optima:
    """Tell the optima that searches ended at, best first.

    Args:
        ask: what is asked of the density.
        shown: the choices that values are of, and what is named.
        free: which coordinates there are.
        ends: the searches.
    """
    value = np.asarray(ends.value)
    found: list[Summit] = []
    forms: list[list[Summit]] = []  # of each, one for every labelling
    member = np.full(len(value), -1)
    for search in np.argsort(-value, kind="stable"):
        if not np.isfinite(value[search]):
            continue
        vector = np.asarray(ends.vector)[search]
        place = _place(forms, vector, value[search])
        if place is None:
            summit = summit_of(ask, vector, free)
            place = _place(forms, summit.vector, summit.value)
            if place is None:
                place, exchanged = _relabelled(found, shown, summit)
                if place is None:
                    place = len(found)
                    found.append(summit)
                    forms.append([summit])
                elif exchanged:
                    forms[place].append(summit)
        member[search] = place
    order = sorted(range(len(found)), key=lambda i: (found[i].kind not in KINDS[:2], -found[i].value))
    rank = np.array([order.index(i) for i in range(len(found))], int)
    kept = [found[i] for i in order]
    own = np.where(member >= 0, rank[member] if len(rank) else -1, -1)
    covariances = [one.covariance for one in kept]
    errors = [np.sqrt(np.diag(one)) for one in covariances]
    large = not kept or len(kept[0].values) > LARGEST
    settled = np.array([kept[place].kind not in (UNFINISHED, UNBOUNDED) if place >= 0 else False for place in own])
    return Optima(
        _named(shown, [one.values for one in kept]),
        _named(shown, errors),
        _named(shown, [one.edges for one in kept]),
        _named(shown, [one.flat for one in kept]),
        np.array([one.value for one in kept], float),
        np.array([KINDS.index(one.kind) for one in kept], int),
        np.array([len(forms[i]) for i in order], int),
        np.zeros(0) if large else np.stack(covariances),
        value,
        own,
        settled,
        np.asarray(ends.steps),
        np.asarray(ends.evaluations),
    )


def _place(forms: Sequence[Sequence[Summit]], vector: np.ndarray, value: Any) -> int | None:
    """Find the optimum that an end is at; ends on one ridge, those that run off, and those on the way are together."""
    for place, known in enumerate(forms):
        if any(one.is_at(vector, value) for one in known):
            return place
    return None


def _relabelled(found: Sequence[Summit], shown: Sequence[Choice], new: Summit) -> tuple[int | None, bool]:
    """Find the optimum that a new end is a relabelling of, or is on one ridge or on the way with, and tell which."""
    for place, one in enumerate(found):
        if new.kind == one.kind and new.kind in (UNFINISHED, UNBOUNDED):
            return place, False
        if new.kind != one.kind or abs(new.value - one.value) > rounding(one.value, SAME):
            continue
        if _exchanged(shown, one, new):
            return place, True
        if new.kind == RIDGE:
            return place, False
    return None, False


def _exchanged(shown: Sequence[Choice], one: Summit, other: Summit) -> bool:
    """Tell whether two points differ in the order of elements alone."""
    choices = [c for c in shown if c.kind == "sample"]
    pairs = [*zip(*(_arrays(choices, point.values) for point in (one, other)), strict=True)]
    for axes in arrangements(choices):
        if not all(n in axes or np.all(_apart(a, b) <= ALIKE) for n, (a, b) in enumerate(pairs)):
            continue
        left, right = (
            np.concatenate([_rows(pairs[n][side], axis) for n, axis in axes.items()], axis=1) for side in (0, 1)
        )
        if np.any(_apart(np.sort(left, axis=0), np.sort(right, axis=0)) > 2 * ALIKE):
            continue  # a plate may have many elements, whose pairs are too many to be looked at
        apart = _apart(left[:, None], right).max(axis=2)
        if apart[linear_sum_assignment(apart)].max() <= ALIKE:
            return True
    return False


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other) / (1 + np.abs(one))


def _rows(array: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def _arrays(shown: Sequence[Choice], values: np.ndarray) -> list[np.ndarray]:
    """Cut a vector of all values into those of each choice."""
    stops = np.cumsum([int(np.prod(c.full_shape)) for c in shown])
    return [
        values[stop - int(np.prod(c.full_shape)) : stop].reshape(c.full_shape)
        for stop, c in zip(stops, shown, strict=True)
    ]


def _named(shown: Sequence[Choice], rows: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
    """Stack rows of all values by name, with the optima as the first axis; algorithms' own choices are not shown."""
    cut = [_arrays(shown, row) for row in rows]
    return {
        c.name: np.stack([one[number] for one in cut]) if cut else np.zeros((0, *c.full_shape))
        for number, c in enumerate(shown)
        if not is_own(c)
    }
