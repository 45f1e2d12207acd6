"""The prediction grid: times at which outcomes are predicted, and persons by their data or by covariates alone.

Law: a covariate that is not given is 0 only where none of a person's is given, as in curves of classes; else it is
asked for by name. Time-varying covariates that are not given are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lawful.errors import LawfulError

from .columns import columns_of, numbers
from .measured import Measured
from .read_frames import read_again

__all__ = ["Grid", "grid_of", "numbers_in_a_row", "unseen", "when_seen"]


class Grid(NamedTuple):
    """Times (m,), r persons, and their time-varying covariates then (r, m, p_v), None where there are none."""

    times: np.ndarray
    read: Measured
    varying: np.ndarray | None


def numbers_in_a_row(given: Any, who: str, name: str) -> np.ndarray:
    """Read finite numbers (m,).

    Raises: LawfulError where these are none.

    >>> numbers_in_a_row([1, 2], "curves", "times").tolist()
    [1.0, 2.0]
    """
    found = np.asarray(given)
    if found.ndim != 1 or found.dtype.kind not in "iuf" or not len(found) or not np.isfinite(found).all():
        raise LawfulError(
            f"{who}: {name} is an array of {found.dtype} and shape {found.shape}, expected finite numbers in a row. "
            "Fix: give such a list."
        )
    return found.astype(float)


def unseen(read: Measured) -> Measured:
    """Give the same persons with no outcome seen."""
    nothing = np.full_like(read.y, np.nan)
    return replace(read, y=nothing, t=nothing)


def when_seen(read: Measured) -> tuple[np.ndarray, np.ndarray | None]:
    """Give times (n, J) and time-varying covariates (n, J, p_v) of the outcomes of persons, 0 where none was seen."""
    seen = np.isfinite(read.y)
    varying = None if read.varying is None else np.where(seen[..., None], read.varying, 0.0)
    return np.where(seen, read.t, 0.0), varying


def grid_of(times: Any, covariates: Any, data: Any, like: Measured) -> Grid:
    """Say of whom outcomes are predicted, and when.

    Args:
        times: (m,).
        covariates: values by name, a number or one a person (r,); of time-varying ones a number, one a time (m,), or
            (r, m); or a frame with a row a person.
        data: persons, in a frame with the columns of that of the fit or as it was read; None for persons of whom the
            covariates alone are known.
        like: what the fit was made of.

    Raises: LawfulError for covariates that the model has not, or lacks, or that do not fit together.

    >>> nothing, x = np.zeros((2, 1)), np.array([[0.0], [1.0]])
    >>> like = Measured(np.arange(2), nothing, nothing, x, np.zeros((2, 0)), ("x",), ())
    >>> grid_of([0.0, 1.0], {"x": [3.0, 4.0, 5.0]}, None, like).read.gate.ravel().tolist()
    [3.0, 4.0, 5.0]
    """
    times = numbers_in_a_row(times, "predict_outcome", "times")
    own, moving = list(dict.fromkeys([*like.gate_names, *like.growth_names])), like.varying_names
    given = _values(covariates, own, moving)
    known = [name for name in own if name in given]
    if data is not None:
        if known:
            raise LawfulError(
                f"predict_outcome: covariates {known} and data=, where a person's covariates stand. Fix: change them "
                "in data, or leave data out."
            )
        read = read_again(data, like)
        return Grid(times, read, _moving(given, moving, len(read.y), times))
    if known and len(known) < len(own):
        raise LawfulError(
            f"predict_outcome: covariates={sorted(given)}, and {[name for name in own if name not in given]} missing. "
            "Fix: give all of them, as their means, or none, which takes 0 for all."
        )
    columns = {name: given.get(name, np.zeros(())) for name in own}
    count = _rows({**columns, **{name: given[name][..., 0] for name in moving if given.get(name, times).ndim == 2}})
    gate, growth = (
        np.stack([np.broadcast_to(columns[name], count) for name in names], axis=1) if names else np.zeros((count, 0))
        for names in (like.gate_names, like.growth_names)
    )
    blank = np.full((count, like.y.shape[1]), np.nan)
    varying = None if like.varying is None else np.full((*blank.shape, len(moving)), np.nan)
    read = replace(
        like, persons=np.arange(1, count + 1), y=blank, t=blank, gate=gate, growth=growth, varying=varying, cells=None
    )
    return Grid(times, read, _moving(given, moving, count, times))


def _values(covariates: Any, own: Sequence[str], moving: Sequence[str]) -> dict[str, np.ndarray]:
    """Read values by name; those of a frame have a row a person."""
    names = [*own, *moving]
    if covariates is None:
        return {}
    if not isinstance(covariates, Mapping):
        columns = columns_of(covariates, names)
        read = {name: numbers(columns, name) for name in names}
        return {name: column[:, None] if name in moving else column for name, column in read.items()}
    strange = [name for name in covariates if name not in names]
    if strange:
        raise LawfulError(
            f"predict_outcome: no covariate {', '.join(map(repr, strange))}; the model has {list(names)}. Fix: name "
            "these."
        )
    found = {}
    for name, value in covariates.items():
        array = np.asarray(value)
        if array.dtype.kind not in "iufb" or not np.isfinite(array).all() or not array.size:
            raise LawfulError(f"predict_outcome: covariate {name!r} is {value!r}. Fix: give finite numbers.")
        found[name] = array.astype(float)
    return found


def _rows(columns: Mapping[str, np.ndarray]) -> int:
    """Give the number of persons that columns of one value or of one a person have."""
    shapes = {name: column.shape for name, column in columns.items()}
    sizes = {shape[0] for shape in shapes.values() if shape} - {1}
    if any(len(shape) > 1 for shape in shapes.values()) or len(sizes) > 1:
        raise LawfulError(
            f"predict_outcome: covariates of shapes {shapes}, expected a number, or one a person (r,), for as many "
            "persons in each. Fix: give such lists."
        )
    return sizes.pop() if sizes else 1


def _moving(given: Mapping[str, np.ndarray], names: Sequence[str], count: int, times: np.ndarray) -> np.ndarray | None:
    """Give time-varying covariates at the times of persons (r, m, p_v)."""
    found = np.zeros((count, len(times), len(names)))
    for place, name in enumerate(names):
        try:
            found[..., place] = given.get(name, 0.0)
        except ValueError as error:
            raise LawfulError(
                f"predict_outcome: time-varying covariate {name!r} of shape {given[name].shape}, expected a number, "
                f"one a time ({len(times)},) or ({count}, {len(times)}). Fix: give it so."
            ) from error
    return found if names else None
