"""The protocol: which rows are for testing, which are in which bag, for a data set, a size of bags and a seed.

Law: a cell is a function of its name, so that every method sees the same rows and bags. The first tenth of a random
order is for testing; bags are cut from the rest in that order, and what does not fill a bag is left out. With
`validation`, a tenth of the rest is held back for the published rule, which selects by labels of rows.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.data import Dataset, load_llp

SIZES = (8, 32, 128, 512, 2048)
load = cache(load_llp)


class Cell(NamedTuple):
    """Name of a comparison."""

    data: str
    size: int
    seed: int


class Rows(NamedTuple):
    """Rows with the labels that only the judge sees."""

    X: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Rows for fitting with their bags, for validation (none by default) and for testing."""

    train: Rows
    bags: Bags
    validation: Rows
    test: Rows


def split(cell: Cell, *, validation: bool = False) -> Split:
    """Cut a data set."""
    data = load(cell.data)
    order = np.random.default_rng(cell.seed).permutation(len(data.y))
    test, rest = np.split(order, [len(order) // 10])
    held, rest = np.split(rest, [len(rest) // 10 if validation else 0])
    train = rest[: len(rest) // cell.size * cell.size]
    rows = Rows(data.X[train], data.y[train])
    return Split(rows, cut(rows.y, cell.size), _rows(data, held), _rows(data, test))


def cut(y: np.ndarray, size: int) -> Bags:
    """Cut labels into bags of consecutive rows; the rest are in none."""
    number = np.arange(len(y)) // size
    return Bags.from_labels(y, np.where(number < len(y) // size, number, -1))


def _rows(data: Dataset, chosen: np.ndarray) -> Rows:
    return Rows(data.X[chosen], data.y[chosen])
