"""Reference data with known labels, for judging what was learned from counts: `load_llp("adult")`.

Law: numbers are `sign(x) log(1 + |x|)`, standardised over all rows (covariates alone); a column of text becomes a
column for each of its values, `?` and `unknown` among them. A row keeps its place in the file. Identifiers, sampling
weights and the published split are left out; a column without variation stays at zero.

The bank files are ordered by date, with 3 % positives at the start and 47 % at the end: shuffle before cutting bags.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lawful.errors import LawfulError

__all__ = ["NAMES", "Dataset", "data_folder", "fingerprint", "load_llp"]


class Dataset(NamedTuple):
    """Rows with their labels: `X` float32 (n, d), `y` in {0, 1} (n,), the names of the columns of X."""

    X: np.ndarray
    y: np.ndarray
    features: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    files: tuple[str, ...]
    label: str
    positive: str = "1"
    left_out: tuple[str, ...] = ()
    never: dict[str, str] = field(default_factory=dict)  # the code that a numeric column uses for "never"


SOURCES = {
    "adult": _Source(("adult.csv.gz",), "income", left_out=("fnlwgt", "split")),
    "bank_full": _Source(("bank_full.csv.gz",), "y", "yes"),
    "bank_additional_full": _Source(("bank_additional_full.csv.gz",), "y", "yes", never={"pdays": "999"}),
    "marketing": _Source(tuple(f"llp_bp_marketing_{part}.csv.gz" for part in ("train", "val", "test")), "y"),
}
NAMES = (*SOURCES, "digits")


def load_llp(name: str, *, folder: Path | str | None = None, drop: Sequence[str] = ()) -> Dataset:
    """Read a data set.

    Args:
        name: "adult", "bank_full", "bank_additional_full", "marketing" (the split of the authors of LLP-BP: training,
            validation and test rows, one after the other) or "digits" (those of scikit-learn; is it five or more?).
        folder: where the files lie; by default `llp` in the folder of reference data, which LAWFUL_DATA names, or
            ../shared/data beside the current folder.
        drop: columns of the file to leave out. `duration` of the bank files, the length of the call, is known only
            when the outcome is; published results use it.

    Returns: rows in the order of the file. "never contacted" is -1 in `pdays` of both bank files.

    Raises:
        LawfulError: no such name, folder, file or column.

    >>> digits = load_llp("digits")
    >>> digits.X.shape, int(digits.y.sum()), digits.features[0]
    ((1797, 64), 896, 'pixel_0_0')
    """
    if name not in NAMES:
        raise LawfulError(f"load_llp: name={name!r}, expected one of {', '.join(NAMES)}. Fix: give one of these.")
    if name == "digits":
        return _digits()
    source = SOURCES[name]
    columns, rows = _read([_found(data_folder(folder) / file) for file in source.files])
    unknown = [column for column in drop if column not in columns or column == source.label]
    if unknown:
        raise LawfulError(
            f"load_llp({name!r}): drop={unknown} are not columns that can be left out. "
            f"Fix: choose among {', '.join(c for c in columns if c != source.label)}."
        )
    text = {column: values for column, values in zip(columns, zip(*rows, strict=True), strict=True)}
    y = np.array([value == source.positive for value in text.pop(source.label)], np.int32)
    blocks, features = [], []
    for column, values in text.items():
        if column not in (*source.left_out, *drop):
            block, names = _encoded(column, np.array(values), source.never.get(column))
            blocks.append(block)
            features += names
    return Dataset(np.concatenate(blocks, axis=1).astype(np.float32), y, tuple(features))


def data_folder(folder: Path | str | None = None) -> Path:
    """Find the folder of the data files: the one given, or `llp` in the folder of reference data."""
    if folder is None:
        folder = Path(os.environ.get("LAWFUL_DATA") or Path.cwd().parent / "shared" / "data") / "llp"
    if not Path(folder).is_dir():
        raise LawfulError(
            f"no data for learning from label proportions: {folder} is not a folder. Fix: give folder=, or set "
            "LAWFUL_DATA to the folder that holds llp/."
        )
    return Path(folder)


def fingerprint(name: str, *, folder: Path | str | None = None) -> str:
    """Return the sha256 of the files of a data set, so that a table of results can say what it was made from."""
    told = hashlib.sha256()
    for file in SOURCES[name].files if name in SOURCES else ():
        told.update(_found(data_folder(folder) / file).read_bytes())
    return told.hexdigest()


def _found(path: Path) -> Path:
    if not path.is_file():
        raise LawfulError(f"no data file {path.name} in {path.parent}. Fix: put it there, or give another folder=.")
    return path


def _read(files: list[Path]) -> tuple[list[str], list[list[str]]]:
    columns: list[str] = []
    rows: list[list[str]] = []
    for file in files:
        with gzip.open(file, "rt", newline="") as stream:
            reader = csv.reader(stream)
            columns = next(reader)
            rows += list(reader)
    return columns, rows


def _encoded(column: str, values: np.ndarray, never: str | None) -> tuple[np.ndarray, list[str]]:
    try:
        numbers = np.where(values == never, "-1", values).astype(float)
    except ValueError:
        levels = np.unique(values)
        return (values[:, None] == levels[None]).astype(float), [f"{column}={level}" for level in levels]
    numbers = np.sign(numbers) * np.log1p(np.abs(numbers))
    return _standardised(numbers[:, None]), [column]


def _standardised(X: np.ndarray) -> np.ndarray:
    sd = X.std(axis=0)
    varies = sd > 1e-12 * np.maximum(np.abs(X).max(axis=0), 1)
    return np.where(varies, X - X.mean(axis=0), 0) / np.where(varies, sd, 1)


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise LawfulError("load_llp('digits') needs scikit-learn. Fix: pip install 'lawful[llp]'.") from error
    bunch = load_digits()
    features = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    return Dataset(_standardised(bunch.data).astype(np.float32), (bunch.target >= 5).astype(np.int32), features)
