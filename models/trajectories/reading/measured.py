"""Persons who were measured several times, as they were read, and whether they can be used.

Law: nothing is imputed; what cannot be used is refused with the person, the wave and the column.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lawful.errors import ObservationError

from .columns import named

__all__ = ["Measured", "usable"]

COLLINEAR = 1e-8  # smallest eigenvalue of a correlation matrix of covariates
LARGEST = 1e100  # range of outcomes, and its inverse the least


@dataclass(frozen=True)
class Measured:
    """Persons who were measured: outcomes and times (n, J), covariates (n, p), with their names.

    Attributes:
        persons: identifiers (n,).
        y: outcomes, NaN where none was seen.
        t: times, NaN where no outcome was seen.
        gate: gate covariates.
        growth: growth covariates.
        gate_names: their columns.
        growth_names: theirs.
        y_name: column of the outcome, or prefix of its columns in wide data.
        t_name: column of the time, likewise.
        varying: time-varying covariates (n, J, p_v), NaN where no outcome was seen; None where there are none.
        varying_names: their columns, or prefixes.
        records: the waves of wide data.
        id_name: column of the person in long data.
        centre: how times were centred.
        cells: person and wave of each row of long data, from 0 (rows, 2); None for wide data.
    """

    persons: np.ndarray
    y: np.ndarray
    t: np.ndarray
    gate: np.ndarray
    growth: np.ndarray
    gate_names: tuple[str, ...]
    growth_names: tuple[str, ...]
    y_name: str = "y"
    t_name: str = "t"
    varying: np.ndarray | None = None
    varying_names: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    id_name: str = ""
    centre: str | None = None
    cells: np.ndarray | None = None

    def by_row(self, values: np.ndarray) -> np.ndarray:
        """Give values (n, J) as the rows of the frame come: as they are for wide data, one a row for long data."""
        return values if self.cells is None else values[self.cells[:, 0], self.cells[:, 1]]


def usable(read: Measured, new: bool = False) -> Measured:
    """Refuse what cannot be used; times of what was not seen are forgotten.

    Args:
        read: persons.
        new: whether these are further persons of a fit, who may have equal covariates and no outcomes.

    Raises:
        ObservationError: something cannot be used.
    """
    if not len(read.y):
        raise ObservationError("data: there are no rows. Fix: give one row a person, or one a measurement.")
    seen = np.isfinite(read.y)
    lost = seen & ~np.isfinite(read.t)
    if lost.any():
        i, j = map(int, np.argwhere(lost)[0])
        raise ObservationError(
            f"data: person {named(read.persons[i])} has an outcome {read.y[i, j]:g} at record {j + 1} of "
            f"{read.y_name!r}, and no time there ({int(lost.sum())} such). Fix: give the time in "
            f"{read.t_name!r}, or drop the outcome.",
            person=read.persons[i],
        )
    for names, values, use in (
        (read.gate_names, read.gate, "gate covariate"),
        (read.growth_names, read.growth, "growth covariate"),
    ):
        _check_covariates(names, values, use, read.persons, new)
    if read.varying is not None:
        read = replace(read, varying=_checked_varying(read, seen, new))
    if new:
        return replace(read, t=np.where(seen, read.t, np.nan))
    nothing = ~seen.any(axis=1)
    if nothing.all():
        raise ObservationError(
            f"data: no outcome was seen in {read.y_name!r}. Fix: give at least one column of numbers."
        )
    if nothing.any():
        warnings.warn(
            f"{int(nothing.sum())} of {len(seen)} persons have no outcome; covariates alone count.", stacklevel=5
        )
    if np.ptp(read.y[seen]) == 0:
        raise ObservationError(
            f"data: all outcomes of {read.y_name!r} are {read.y[seen][0]:g}. Fix: give an outcome that varies."
        )
    if not LARGEST**-1 < np.ptp(read.y[seen] / LARGEST) * LARGEST < LARGEST:
        raise ObservationError(
            f"data: outcomes of {read.y_name!r} go from {read.y[seen].min():g} to {read.y[seen].max():g}, too far for "
            "squares in double precision. Fix: take other units."
        )
    if seen.sum(axis=1).max() < 2:
        raise ObservationError(
            f"data: nobody has more than one outcome in {read.y_name!r}, so that growth cannot be told from noise. "
            "Fix: give more waves (records=), or rows of one person the same id."
        )
    return replace(read, t=np.where(seen, read.t, np.nan))


def _checked_varying(read: Measured, seen: np.ndarray, new: bool) -> np.ndarray:
    """Refuse time-varying covariates that are missing beside an outcome, or never vary; forget those beside none."""
    assert read.varying is not None
    for name, values in zip(read.varying_names, np.moveaxis(read.varying, -1, 0), strict=True):
        lost = seen & ~np.isfinite(values)
        if lost.any():
            i, j = map(int, np.argwhere(lost)[0])
            raise ObservationError(
                f"data: time-varying {name!r} is missing for person {named(read.persons[i])} at record {j + 1}, where "
                f"the outcome {read.y_name!r} is {read.y[i, j]:g} ({int(lost.sum())} such). Fix: impute it, or drop "
                "the outcome.",
                person=read.persons[i],
            )
        if not new and np.ptp(values[seen]) == 0:
            raise ObservationError(f"data: time-varying {name!r} is {values[seen][0]:g} everywhere. Fix: leave it out.")
    return np.where(seen[..., None], read.varying, np.nan)


def _check_covariates(names: Sequence[str], values: np.ndarray, use: str, persons: np.ndarray, new: bool) -> None:
    for name, column in zip(names, values.T, strict=True):
        if not np.isfinite(column).all():
            i = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ObservationError(
                f"data: {use} {name!r} is missing for {int((~np.isfinite(column)).sum())} persons, the first being "
                f"{named(persons[i])}. Fix: impute it, or leave these persons out."
            )
        if not new and np.ptp(column) == 0:
            raise ObservationError(f"data: {use} {name!r} is {column[0]:g} for all persons. Fix: leave it out.")
    if len(names) > 1 and not new:
        vectors = np.linalg.eigh(np.corrcoef(values.T))
        if vectors[0][0] < COLLINEAR:
            which = [name for name, part in zip(names, vectors[1][:, 0], strict=True) if abs(part) > 1e-4]
            raise ObservationError(
                f"data: {use}s {', '.join(map(repr, which))} are collinear. Fix: leave one of them out.", names=which
            )
