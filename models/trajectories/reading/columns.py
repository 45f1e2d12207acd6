"""Columns of frames as arrays of numbers.

Law: a column is what the frame holds, in its order; what is no number is refused with its name, and a covariate of a
person has one value a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lawful.errors import LawfulError, ObservationError

__all__ = ["columns_of", "matrix", "named", "numbers", "persons_of", "waves_of"]


def columns_of(data: Any, names: Sequence[str], labels: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Give columns of a frame, or of a mapping, by their names.

    Args:
        data: a frame of pandas or polars, or a mapping.
        names: columns.
        labels: those of them that may be categories, as identifiers are.

    Raises:
        LawfulError: a column is missing, is one of categories, or columns differ in length.

    >>> columns_of({"a": [1, 2], "b": [3, 4]}, ["b"])["b"].tolist()
    [3, 4]
    """
    if isinstance(data, Mapping):
        there, take = list(data), lambda name: np.asarray(data[name])
        categories: Sequence[str] = ()
    else:
        try:
            import narwhals
        except ImportError as error:
            raise LawfulError("reading frames needs narwhals. Fix: pip install 'lawful[trajectories]'.") from error
        try:
            frame = narwhals.from_native(data, eager_only=True)
        except TypeError as error:
            raise LawfulError(
                f"data: a {type(data).__name__} is no frame. Fix: give a pandas or polars frame, collected if it is "
                "lazy, or a dict of columns."
            ) from error
        except narwhals.exceptions.DuplicateError as error:
            raise LawfulError(f"data: {error} Fix: give each column a name of its own.") from error
        there, take = frame.columns, lambda name: frame[name].to_numpy()
        groups = narwhals.Categorical, narwhals.Enum
        categories = [name for name in there if isinstance(frame.schema[name], groups)]
    missing = [name for name in dict.fromkeys(names) if name not in there]
    if missing:
        shown = ", ".join(map(str, there[:30])) + (", ..." if len(there) > 30 else "")
        alike = [str(name) for name in there if _plain(name) == _plain(missing[0])]
        meant = f" (is {alike[0]!r} meant?)" if alike else ""
        raise LawfulError(
            f"data: no column {', '.join(map(repr, missing))}{meant}; there are {shown}. "
            "Fix: wide data have columns prefix + record, as Y1 and T1; long data need id= and no records=.",
            missing=missing,
        )
    for name in names:
        if name in categories and name not in labels:
            raise _no_number(name, "categories")
    found = {name: take(name) for name in dict.fromkeys(names)}
    for name, column in found.items():
        if column.ndim != 1:
            raise LawfulError(f"data: column {name!r} has shape {column.shape}. Fix: give one value a row, (rows,).")
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise LawfulError(f"data: columns differ in length: {lengths}. Fix: give one value a row in each.")
    return found


def _plain(name: Any) -> str:
    """Give the letters and digits of a name, whatever their case."""
    return "".join(letter for letter in str(name).casefold() if letter.isalnum())


def named(person: Any) -> str:
    """Give an identifier as messages show it."""
    return repr(getattr(person, "item", lambda: person)())


def numbers(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Give a column as numbers, NaN where it is missing.

    Raises:
        LawfulError: it holds something else.
        ObservationError: it is infinite somewhere.
    """
    column = columns[name]
    what = f"{column.dtype} values" + (f", as {named(column[0])}" if len(column) else "")
    if column.dtype.kind in "mMcUS" or (column.dtype.kind == "O" and any(isinstance(x, str | bytes) for x in column)):
        raise _no_number(name, what)
    try:
        found = np.asarray(column, float)
    except (TypeError, ValueError) as error:
        raise _no_number(name, what) from error
    if np.isinf(found).any():
        raise ObservationError(
            f"data: column {name!r} is infinite in row {int(np.flatnonzero(np.isinf(found))[0])}. Fix: correct it, or "
            "leave it missing."
        )
    return found


def _no_number(name: str, what: str) -> LawfulError:
    return LawfulError(
        f"data: column {name!r} holds {what}; expected numbers. Fix: code categories as numbers, one column of 0 and 1 "
        "for each category but one; turn numbers that were read as text into numbers."
    )


def matrix(columns: Mapping[str, np.ndarray], names: Sequence[str], n: int) -> np.ndarray:
    """Give columns side by side (n, p)."""
    return np.stack([numbers(columns, name) for name in names], axis=1) if names else np.zeros((n, 0))


def persons_of(
    columns: Mapping[str, np.ndarray], id: str, covariates: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the persons, the first row of each, and whose row each is; covariates must not change within a person."""
    nobody = np.array([name is None or name != name for name in columns[id].tolist()])
    if nobody.any():
        raise ObservationError(
            f"data: column {id!r} names no person in row {int(np.flatnonzero(nobody)[0])} ({int(nobody.sum())} such). "
            "Fix: fill it in, or leave these rows out."
        )
    try:
        persons, first, who = np.unique(columns[id], return_index=True, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(name).__name__ for name in columns[id].tolist()})
        raise LawfulError(
            f"data: column {id!r} mixes {' and '.join(kinds)}. Fix: give identifiers of one kind."
        ) from error
    for name in dict.fromkeys(covariates):
        own = numbers(columns, name)
        differing = (own != own[first][who]) & ~(np.isnan(own) & np.isnan(own[first][who]))
        if differing.any():
            i = int(np.flatnonzero(differing)[0])
            raise ObservationError(
                f"data: covariate {name!r} changes within person {named(persons[who[i]])} ({own[first][who[i]]} and "
                f"{own[i]}); expected one value a person. "
                "Fix: give a covariate of the person, as the first value or the mean."
            )
    return persons, first, who


def waves_of(records: Any) -> tuple[str, ...]:
    """Give the waves of wide data, as they stand in names of columns.

    >>> waves_of(range(1, 4))
    ('1', '2', '3')
    """
    if isinstance(records, str) or not isinstance(records, Iterable):
        raise LawfulError(f"data: records={records!r}, expected numbers of waves. Fix: give them all, as range(1, 10).")
    waves = tuple(str(record) for record in records)
    if not waves or len(set(waves)) < len(waves):
        raise LawfulError(
            f"data: records={list(waves)}, expected at least one wave, and each once. Fix: give each wave once."
        )
    return waves
