"""Reading frames: persons in rows, or measurements in rows, into the same arrays.

Law: wide and long forms of one data set give the same arrays, up to waves that nobody was seen at; further persons are
read as the first ones were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .columns import columns_of, matrix, numbers, persons_of, waves_of
from .measured import Measured, usable

__all__ = ["Measured", "read_again", "read_long", "read_wide"]


def read_wide(
    data: Any, y_var: str, t_var: str, records: Any, cluster: Sequence[str] = (), growth: Sequence[str] = (),
    varying: Sequence[str] = (), new: bool = False, center_time: str | None = None,
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
        new: whether these are further persons of a fit, who may have equal covariates and no outcomes.
        center_time: "own_first" takes times from each person's own first, whether or not an outcome was seen then.

    Raises:
        LawfulError: a column is missing or is no number.
        ObservationError: a value is missing where it must not be.

    >>> read = read_wide({"Y1": [1.0, 2.0], "Y2": [3.0, None], "T1": [0, 0], "T2": [1, None]}, "Y", "T", [1, 2])
    >>> read.y.tolist()
    [[1.0, 3.0], [2.0, nan]]
    """
    waves, prefixes = waves_of(records), [y_var, t_var, *varying]
    unfit = [prefix for prefix in prefixes if not isinstance(prefix, str)]
    if unfit:
        raise LawfulError(
            f"data: {unfit[0]!r} is no prefix of columns. Fix: give the letters before the record, as 'Y'."
        )
    columns = columns_of(data, [*(prefix + wave for prefix in prefixes for wave in waves), *cluster, *growth])
    y, t, *more = (np.stack([numbers(columns, prefix + wave) for wave in waves], axis=1) for prefix in prefixes)
    n = len(y)
    return usable(_centred(Measured(
        np.arange(n), y, t, matrix(columns, cluster, n), matrix(columns, growth, n), tuple(cluster), tuple(growth),
        y_var, t_var, np.stack(more, axis=-1) if more else None, tuple(varying), records=waves,
    ), center_time), new)  # fmt: skip


def read_long(
    data: Any, id: str, y_var: str, t_var: str, cluster: Sequence[str] = (), growth: Sequence[str] = (),
    varying: Sequence[str] = (), new: bool = False, center_time: str | None = None,
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
        new: whether these are further persons of a fit, who may have equal covariates and no outcomes.
        center_time: "own_first" takes times from each person's own first, whether or not an outcome was seen then.

    Returns: the persons in the order of their identifiers.

    Raises:
        LawfulError: a column is missing or is no number.
        ObservationError: a value is missing where it must not be, or a covariate changes within a person.

    >>> rows = {"child": ["a", "b", "a"], "age": [0.0, 0.5, 1.0], "score": [1.0, 2.0, 3.0]}
    >>> read = read_long(rows, "child", "score", "age")
    >>> read.persons.tolist(), read.y.tolist()
    (['a', 'b'], [[1.0, 3.0], [2.0, nan]])
    """
    columns = columns_of(data, [id, y_var, t_var, *cluster, *growth, *varying], labels=[id])
    persons, first, who = persons_of(columns, id, [*cluster, *growth])
    order = np.argsort(who, kind="stable")
    wave = np.empty(len(who), int)
    wave[order] = np.arange(len(who)) - np.searchsorted(who[order], who[order])
    found = []
    for name in (y_var, t_var, *varying):
        found.append(np.full((len(persons), wave.max(initial=0) + 1), np.nan))
        found[-1][who, wave] = numbers(columns, name)
    y, t, *moving = found
    gate, more = (matrix(columns, names, len(who))[first] for names in (cluster, growth))
    return usable(_centred(Measured(
        persons, y, t, gate, more, tuple(cluster), tuple(growth), y_var, t_var,
        np.stack(moving, axis=-1) if moving else None, tuple(varying), id_name=id, cells=np.stack([who, wave], axis=1),
    ), center_time), new)  # fmt: skip


def read_again(data: Any, like: Measured, outcomes: bool = True) -> Measured:
    """Read further persons from a frame with the columns of an earlier one.

    Args:
        data: a frame of pandas or polars, or a mapping of columns, wide or long as the earlier one was; or persons who
            were read, who stay as they are.
        like: what was read of that.
        outcomes: whether to read outcomes, times and growth covariates too, or gate covariates alone.

    >>> like = read_wide({"Y1": [1.0, 2.0], "Y2": [2.0, 5.0], "T1": [0, 0], "T2": [1, 1]}, "Y", "T", [1, 2])
    >>> read_again({"Y1": [3.0], "Y2": [None], "T1": [0], "T2": [None]}, like).y.tolist()
    [[3.0, nan]]
    """
    if isinstance(data, Measured):
        return data
    if not like.records and not like.id_name:
        raise LawfulError("data: the fit was made of arrays, not of a frame. Fix: give persons as read by read_wide.")
    if not outcomes:
        if not like.gate_names:
            raise LawfulError(
                "predict: outcomes=False, and the fit has no gate covariates. Fix: class_sizes is all that is known of "
                "persons without outcomes."
            )
        names = [like.id_name] * bool(like.id_name) + list(like.gate_names)
        columns = columns_of(data, names, labels=[like.id_name])
        first: Any = persons_of(columns, like.id_name, like.gate_names)[1] if like.id_name else slice(None)
        gate = matrix(columns, like.gate_names, 0)[first]
        nothing = np.zeros((len(gate), 0))
        growth = np.zeros((len(gate), len(like.growth_names)))
        read = replace(like, persons=np.arange(len(gate)), y=nothing, t=nothing, gate=gate, growth=growth)
        return usable(replace(read, varying=None, varying_names=(), cells=None), new=True)
    covariates = like.gate_names, like.growth_names, like.varying_names
    if like.records:
        return read_wide(data, like.y_name, like.t_name, like.records, *covariates, True, like.centre)
    return read_long(data, like.id_name, like.y_name, like.t_name, *covariates, True, like.centre)


def _centred(read: Measured, how: str | None) -> Measured:
    """Take times from each person's own first, or leave them."""
    if how is None:
        return read
    if how != "own_first":
        raise LawfulError(f"fit: center_time={how!r}, expected None or 'own_first'. Fix: give one of these.")
    first = np.min(np.where(np.isfinite(read.t), read.t, np.inf), axis=1, keepdims=True)
    return replace(read, t=read.t - np.where(np.isfinite(first), first, 0.0), centre=how)
