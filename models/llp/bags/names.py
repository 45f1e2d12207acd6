"""Names of bags, which are numbers or text, and reports that are given by name.

Law: names do not matter: bags are numbered in the order of their first rows, and a report is that of the bag of its
name, wherever it stands. An array has no names: its places are the numbers of bags, which are then whole ones from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from lawful.errors import ObservationError

from .checks import check_rows_of_bags

__all__ = ["bags_by_name", "named_classes", "numbered"]

NONE = -1  # the name of no bag, as a number or as text
SHOWN = 5


def numbered(bags: Any, n_rows: int, where: str = "fit") -> tuple[np.ndarray, list[Any]]:
    """Number bags by their first row, whatever they are called: numbers of the rows (n,), -1 for none, and the names.

    Args:
        bags: name of the bag of each row (n,), -1 for none.
        n_rows: number of rows of X.
        where: what was called, for errors.

    Raises: ObservationError for names that are missing, of several types, or not one a row.

    >>> ids, names = numbered(["b", "a", "b"], 3)
    >>> ids.tolist(), names, numbered([7, -1, 3], 3)[0].tolist()
    ([0, 1, 0], ['b', 'a'], [0, -1, 1])
    """
    check_rows_of_bags(bags, n_rows, where)
    names = np.asarray(bags)
    if names.shape != (n_rows,):
        raise ObservationError(
            f"{where}: bags of shape {names.shape} for {n_rows} rows. Fix: give the bag of each row."
        )
    missing = (names == np.array(None)) | (names != names) if names.dtype.kind in "Of" else np.zeros(n_rows, bool)
    if np.any(missing):
        row = int(np.flatnonzero(missing)[0])
        raise ObservationError(
            f"{where}: the bag of row {row} is {names[row]}. Fix: give its name; -1 is for a row in none."
        )
    outside = np.zeros(n_rows, bool)
    if names.dtype.kind in "iufO":
        outside |= names == NONE
    if names.dtype.kind in "UO":
        outside |= names == str(NONE)
    rows = np.flatnonzero(~outside)
    try:
        values, first, inverse = np.unique(names[rows], return_index=True, return_inverse=True)
    except TypeError as error:
        raise ObservationError(
            f"{where}: names of bags are of several types. Fix: give all as numbers or as text."
        ) from error
    order = np.argsort(first)
    rank = np.empty(len(first), int)
    rank[order] = np.arange(len(first))
    ids = np.full(n_rows, NONE)
    ids[rows] = rank[inverse]
    return ids, values[order].tolist()


def bags_by_name(
    bags: Any, n_rows: int, reports: Mapping[str, Any], where: str
) -> tuple[Any, dict[str, Any], list[Any] | None]:
    """Bring reports into the order of the numbers of bags.

    Args:
        bags: name of the bag of each row (n,), -1 for none, or a membership (n_b, n), whose rows are bags 0, 1, ...
        n_rows: number of rows of X.
        reports: by what they are of; a dictionary, or a Series or frame of pandas, is by name.
        where: what was called, for errors.

    Returns: numbers of the rows (n,) or the membership, the reports as arrays, and the names of the bags; where nothing
        is by name bags and reports as they were, and None.

    Raises: ObservationError for bags without a report and reports of no bag, for names that come twice, and for arrays
        beside reports by name or of names that are text.

    >>> ids, told, names = bags_by_name(["b", "a", "b"], 3, {"counts": {"a": 1, "b": 2}}, "fit_bags")
    >>> ids.tolist(), told["counts"].tolist(), names
    ([0, 1, 0], [2, 1], ['b', 'a'])
    """
    check_rows_of_bags(bags, n_rows, where)
    given = {what: value for what, value in reports.items() if np.ndim(value) or isinstance(value, Mapping)}
    keys = {what: _keys(value) for what, value in given.items()}
    matrix = issparse(bags) or np.ndim(bags) == 2
    if all(own is None for own in keys.values()):
        text = not matrix and np.asarray(bags).dtype.kind in "UO"
        if given and text:
            what = next(iter(given))
            raise ObservationError(
                f"{where}: bags have names, and {what} of shape {np.shape(given[what])} have none. Fix: give {what} by "
                "name, as a dictionary, or as a Series of pandas with the names as its index."
            )
        return bags, dict(reports), None
    beside = [what for what, own in keys.items() if own is None]
    if beside:
        raise ObservationError(f"{where}: {beside[0]} are an array beside others by name. Fix: give all by name.")
    first = next(own for own in keys.values() if own is not None)
    if matrix:
        ids, names = bags, list(range(bags.shape[0] if issparse(bags) else len(bags)))
    elif first == list(range(len(first))) and np.asarray(bags).dtype.kind in "iu":
        ids, names = bags, first  # an index that is the numbers themselves, which may be of bags without rows
    else:
        ids, names = numbered(bags, n_rows, where)
    found = {what: _in_order(what, value, keys[what], names, where) for what, value in given.items()}
    return ids, {**reports, **found}, names


def named_classes(*reports: Any) -> list[Any] | None:
    """Give the classes that a frame of counts has as its columns; None without one.

    >>> named_classes({"a": 1}) is None
    True
    """
    return next((list(each.columns) for each in reports if _is_pandas(each) and hasattr(each, "columns")), None)


def _is_pandas(value: Any) -> bool:
    return hasattr(value, "loc") and hasattr(value, "index")


def _keys(value: Any) -> list[Any] | None:
    """Give the names of reports, None where they have none."""
    if isinstance(value, Mapping):
        return list(value)
    return value.index.tolist() if _is_pandas(value) else None


def _in_order(what: str, value: Any, keys: Sequence[Any] | None, names: list[Any], where: str) -> np.ndarray:
    assert keys is not None
    place = {key: k for k, key in enumerate(keys)}
    wrong = [
        ([key for k, key in enumerate(keys) if place[key] != k], "come twice", "give one for each bag"),
        ([name for name in names if name not in place], "are missing", "give one for each bag, NaN where not known"),
        ([key for key in keys if key not in set(names)], "have no rows", "leave them out, or look up their names"),
    ]
    for found, fault, fix in wrong:
        if found:
            more = ", ..." if len(found) > SHOWN else ""
            told = f"{where}: {what} of bags {', '.join(map(repr, found[:SHOWN]))}{more} {fault}. Fix: {fix}."
            raise ObservationError(told, bag=found[0])
    values = np.array([value[key] for key in keys]) if isinstance(value, Mapping) else value.to_numpy()
    return values[[place[name] for name in names]]
