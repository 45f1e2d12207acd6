"""Reading frames: persons in rows, or measurements in rows, into the same arrays.

Law: wide and long forms of one data set give the same arrays, up to waves that nobody was seen at; nothing is
imputed, and what cannot be used is refused with the person, the wave and the column.

Source: specification sections 5 and 16.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lawful.errors import LawfulError, ObservationError

__all__ = ["Measured", "read_long", "read_wide"]

COLLINEAR = 1e-8  # smallest eigenvalue of a correlation matrix of covariates


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
        y_name: column of the outcome.
        t_name: column of the time.
        varying: time-varying covariates (n, J, p_v), NaN where no outcome was seen; None where there are none.
        varying_names: their columns.
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


def read_wide(
    data: Any, y_var: str, t_var: str, records: Iterable[int], cluster: Sequence[str] = (), growth: Sequence[str] = (),
    varying: Sequence[str] = (),
) -> Measured:  # fmt: skip
    """Read one row a person: outcomes in columns y_var + record, times in t_var + record.

    Args:
        data: a frame of pandas or polars, or a mapping of columns.
        y_var: prefix of the outcome.
        t_var: prefix of the time.
        records: numbers of the waves.
        cluster: gate covariates.
        growth: growth covariates.
        varying: prefixes of time-varying covariates.

    Raises:
        LawfulError: a column is missing or is no number.
        ObservationError: a value is missing where it must not be.

    >>> read = read_wide({"Y1": [1.0, 2.0], "Y2": [3.0, None], "T1": [0, 0], "T2": [1, None]}, "Y", "T", [1, 2])
    >>> read.y.tolist()
    [[1.0, 3.0], [2.0, nan]]
    """
    waves = [str(record) for record in records]
    prefixes = [y_var, t_var, *varying]
    columns = _columns(data, [*(prefix + wave for prefix in prefixes for wave in waves), *cluster, *growth])
    y, t, *more = (np.stack([_numbers(columns, prefix + wave) for wave in waves], axis=1) for prefix in prefixes)
    n = len(y)
    return _checked(Measured(
        np.arange(n), y, t, _matrix(columns, cluster, n), _matrix(columns, growth, n), tuple(cluster), tuple(growth),
        y_var, t_var, np.stack(more, axis=-1) if more else None, tuple(varying),
    ))  # fmt: skip


def read_long(
    data: Any, id: str, y_var: str, t_var: str, cluster: Sequence[str] = (), growth: Sequence[str] = (),
    varying: Sequence[str] = (),
) -> Measured:  # fmt: skip
    """Read one row a measurement; covariates are constant within a person.

    Args:
        data: a frame of pandas or polars, or a mapping of columns.
        id: column of the person.
        y_var: column of the outcome.
        t_var: column of the time.
        cluster: gate covariates.
        growth: growth covariates.
        varying: time-varying covariates.

    Raises:
        LawfulError: a column is missing or is no number.
        ObservationError: a value is missing where it must not be, or a covariate changes within a person.

    >>> rows = {"child": ["a", "b", "a"], "age": [0.0, 0.5, 1.0], "score": [1.0, 2.0, 3.0]}
    >>> read = read_long(rows, "child", "score", "age")
    >>> read.persons.tolist(), read.y.tolist()
    (['a', 'b'], [[1.0, 3.0], [2.0, nan]])
    """
    columns = _columns(data, [id, y_var, t_var, *cluster, *growth, *varying])
    persons, first, who = np.unique(columns[id], return_index=True, return_inverse=True)
    order = np.argsort(who, kind="stable")
    wave = np.empty(len(who), int)
    wave[order] = np.arange(len(who)) - np.searchsorted(who[order], who[order])
    found = []
    for name in (y_var, t_var, *varying):
        found.append(np.full((len(persons), wave.max() + 1), np.nan))
        found[-1][who, wave] = _numbers(columns, name)
    y, t, *moving = found
    for name in {*cluster, *growth}:
        own = _numbers(columns, name)
        differing = (own != own[first][who]) & ~(np.isnan(own) & np.isnan(own[first][who]))
        if differing.any():
            i = int(np.flatnonzero(differing)[0])
            raise ObservationError(
                f"data: covariate {name!r} changes within person {_named(persons[who[i]])} ({own[first][who[i]]} and "
                f"{own[i]}); expected one value a person. "
                "Fix: give a covariate of the person, as the first value or the mean."
            )
    gate, more = (_matrix(columns, names, len(who))[first] for names in (cluster, growth))
    return _checked(Measured(
        persons, y, t, gate, more, tuple(cluster), tuple(growth), y_var, t_var,
        np.stack(moving, axis=-1) if moving else None, tuple(varying),
    ))  # fmt: skip


def _columns(data: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    if isinstance(data, Mapping):
        there, take = list(data), lambda name: np.asarray(data[name])
    else:
        try:
            import narwhals
        except ImportError as error:
            raise LawfulError("reading frames needs narwhals. Fix: pip install 'lawful[trajectories]'.") from error
        frame = narwhals.from_native(data, eager_only=True)
        there, take = frame.columns, lambda name: frame[name].to_numpy()
    missing = [name for name in dict.fromkeys(names) if name not in there]
    if missing:
        shown = ", ".join(map(str, there[:30])) + (", ..." if len(there) > 30 else "")
        raise LawfulError(
            f"data: no column {', '.join(map(repr, missing))}; there are {shown}. "
            "Fix: wide data have columns prefix + record, as Y1 and T1; long data need id= and no records=.",
            missing=missing,
        )
    return {name: take(name) for name in dict.fromkeys(names)}


def _named(person: Any) -> str:
    return repr(getattr(person, "item", lambda: person)())


def _numbers(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        found = np.asarray(columns[name], float)
    except (TypeError, ValueError) as error:
        raise LawfulError(
            f"data: column {name!r} holds {columns[name].dtype} values, as {columns[name][0]!r}; expected numbers. "
            "Fix: code categories as numbers, one column of 0 and 1 for each category but one."
        ) from error
    if np.isinf(found).any():
        raise ObservationError(
            f"data: column {name!r} is infinite in row {int(np.flatnonzero(np.isinf(found))[0])}. Fix: correct it, or "
            "leave it missing."
        )
    return found


def _matrix(columns: Mapping[str, np.ndarray], names: Sequence[str], n: int) -> np.ndarray:
    return np.stack([_numbers(columns, name) for name in names], axis=1) if names else np.zeros((n, 0))


def _checked(read: Measured) -> Measured:
    """Refuse what cannot be used; times of what was not seen are forgotten."""
    seen = np.isfinite(read.y)
    lost = seen & ~np.isfinite(read.t)
    if lost.any():
        i, j = map(int, np.argwhere(lost)[0])
        raise ObservationError(
            f"data: person {_named(read.persons[i])} has an outcome {read.y[i, j]:g} at record {j + 1} of "
            f"{read.y_name!r}, and no time there ({int(lost.sum())} such). Fix: give the time in "
            f"{read.t_name!r}, or drop the outcome.",
            person=read.persons[i],
        )
    for names, values, use in (
        (read.gate_names, read.gate, "cluster_TIC"),
        (read.growth_names, read.growth, "growth_TIC"),
    ):
        _check_covariates(names, values, use, read.persons)
    if read.varying is not None:
        read = replace(read, varying=_checked_varying(read, seen))
    nothing = ~seen.any(axis=1)
    if nothing.all():
        raise ObservationError(
            f"data: no outcome was seen in {read.y_name!r}. Fix: give at least one column of numbers."
        )
    if nothing.any():
        warnings.warn(
            f"{int(nothing.sum())} of {len(seen)} persons have no outcome; covariates alone count.", stacklevel=4
        )
    return replace(read, t=np.where(seen, read.t, np.nan))


def _checked_varying(read: Measured, seen: np.ndarray) -> np.ndarray:
    """Refuse time-varying covariates that are missing beside an outcome, or never vary; forget those beside none."""
    assert read.varying is not None
    for name, values in zip(read.varying_names, np.moveaxis(read.varying, -1, 0), strict=True):
        lost = seen & ~np.isfinite(values)
        if lost.any():
            i, j = map(int, np.argwhere(lost)[0])
            raise ObservationError(
                f"data: TVC {name!r} is missing for person {_named(read.persons[i])} at record {j + 1}, where the "
                f"outcome {read.y_name!r} is {read.y[i, j]:g} ({int(lost.sum())} such). Fix: impute it, or drop the "
                "outcome.",
                person=read.persons[i],
            )
        if np.ptp(values[seen]) == 0:
            raise ObservationError(f"data: TVC {name!r} is {values[seen][0]:g} everywhere. Fix: leave it out.")
    return np.where(seen[..., None], read.varying, np.nan)


def _check_covariates(names: Sequence[str], values: np.ndarray, use: str, persons: np.ndarray) -> None:
    for name, column in zip(names, values.T, strict=True):
        if not np.isfinite(column).all():
            i = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ObservationError(
                f"data: {use} {name!r} is missing for {int((~np.isfinite(column)).sum())} persons, the first being "
                f"{_named(persons[i])}. Fix: impute it, or leave these persons out."
            )
        if np.ptp(column) == 0:
            raise ObservationError(f"data: {use} {name!r} is {column[0]:g} for all persons. Fix: leave it out.")
    if len(names) > 1:
        vectors = np.linalg.eigh(np.corrcoef(values.T))
        if vectors[0][0] < COLLINEAR:
            which = [name for name, part in zip(names, vectors[1][:, 0], strict=True) if abs(part) > 1e-4]
            raise ObservationError(
                f"data: {use} {', '.join(map(repr, which))} are collinear. Fix: leave one of them out.", names=which
            )
