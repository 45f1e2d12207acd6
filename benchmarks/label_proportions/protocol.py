"""The protocol: which rows are for testing, which are in which bag, for a data set, a size of bags and a seed.

Law: a cell is a function of its name, so that every method sees the same rows and bags. The first tenth of a random
order is for testing; bags are cut from the rest in that order, and what does not fill a bag is left out. Where columns
are named, rows that are equal in these make a bag, of any size. With `validation`, a tenth of the rest is held back for
the published rule, which selects by labels of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.studies.label_proportions.data import Dataset, load_llp
from lawful.errors import LawfulError
from lawful.models.llp import Bags

SIZES = (8, 32, 128, 512, 2048)
JOINED = " x "  # between columns
load = cache(load_llp)


class Cell(NamedTuple):
    """Name of a comparison: bags of random rows have a size, those made by features the columns, joined by " x "."""

    data: str
    size: int
    seed: int
    columns: str = ""


class Rows(NamedTuple):
    """Rows with the labels that only the judge sees."""

    X: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Rows for fitting with their bags, for validation (none by default) and for testing, with bags of these."""

    train: Rows
    bags: Bags
    validation: Rows
    test: Rows
    test_bags: Bags


def split(cell: Cell, *, validation: bool = False) -> Split:
    """Cut a data set."""
    data = load(cell.data)
    order = np.random.default_rng(cell.seed).permutation(len(data.y))
    test, rest = np.split(order, [len(order) // 10])
    held, rest = np.split(rest, [len(rest) // 10 if validation else 0])
    if cell.columns:
        ids = alike(data, cell.columns.split(JOINED))
        bags = [Bags.from_labels(data.y[rows], _numbered(ids[rows])) for rows in (rest, test)]
        return Split(_rows(data, rest), bags[0], _rows(data, held), _rows(data, test), bags[1])
    train = rest[: len(rest) // cell.size * cell.size]
    bags = [cut(data.y[rows], cell.size) for rows in (train, test)]
    return Split(_rows(data, train), bags[0], _rows(data, held), _rows(data, test), bags[1])


def cut(y: np.ndarray, size: int) -> Bags:
    """Cut labels into bags of consecutive rows; the rest are in none."""
    number = np.arange(len(y)) // size
    return Bags.from_labels(y, np.where(number < len(y) // size, number, -1))


def alike(data: Dataset, columns: Sequence[str]) -> np.ndarray:
    """Number the rows by their values in some columns of the file (n,).

    >>> alike(Dataset(np.eye(3), np.zeros(3), ("city=a", "city=b", "age")), ["city"]).tolist()
    [2, 1, 0]
    """
    features = np.array(data.features)
    found = [np.flatnonzero((features == column) | np.char.startswith(features, f"{column}=")) for column in columns]
    for column, own in zip(columns, found, strict=True):
        if not len(own):
            known = ", ".join(dict.fromkeys(name.split("=")[0] for name in data.features))
            raise LawfulError(f"columns={column!r}. Fix: choose among {known}.")
    return _numbered(data.X[:, np.concatenate(found)])


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)


def _rows(data: Dataset, chosen: np.ndarray) -> Rows:
    return Rows(data.X[chosen], data.y[chosen])
