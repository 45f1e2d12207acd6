"""Stored array: the draws of a run that stand in its store, read whenever they are used.

Law: it is the array of the first draws, bit for bit, and holds none of them. Where the store is gone, or is another
one, reading fails: what was never written is never taken for draws.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from lawful.errors import ResultFileError
from lawful.inference.checkpoints.stored_run import COUNT, attributes_of, without_leftovers
from lawful.late import zarr


class StoredArray(np.lib.mixins.NDArrayOperatorsMixin):
    """The first draws of an array (chain, draw, ...) in a store; a part of them is read by its index.

    Whatever else is asked of it, as `x.mean()` or `2 * x`, reads all draws.

    >>> import tempfile
    >>> from lawful.inference.checkpoints.draws_store import Layout, Store
    >>> rows = {"posterior": {"x": np.arange(6.0).reshape(2, 3)}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store.create(f"{folder}/draws.zarr", Layout.of(rows, chunk=3), {}, total=9)
    ...     store.write("posterior", 0, rows["posterior"])
    ...     store.finish(3)
    ...     x = StoredArray(store.path, "posterior", "x", 2)
    ...     x, x[:, -1].tolist(), float(x.mean())
    (StoredArray(posterior x, shape (2, 2), float64), [1.0, 4.0], 2.0)
    """

    def __init__(self, path: Path, group: str, name: str, draws: int) -> None:
        """Open an array; nothing is read yet."""
        self._path, self._group, self._name, self._draws = path, group, name, draws
        self._check()
        with without_leftovers():
            root: Any = zarr.open_group(path, mode="r", use_consolidated=False)
            self._array: Any = root[group][name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Chains, draws, and the shape of a draw."""
        chains, _, *rest = self._array.shape
        return (int(chains), self._draws, *map(int, rest))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(self._array.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Count of numbers."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Read a part: of ranges of draws these alone, else all."""
        own = index if isinstance(index, tuple) else (index,)
        if len(own) < 2 or not all(isinstance(part, slice) for part in own) or len(own) > self.ndim:
            return np.asarray(self)[index]
        ranges = [range(*part.indices(size)) for part, size in zip(own, self.shape[: len(own)], strict=True)]
        if any(part.step < 1 for part in ranges):
            return np.asarray(self)[index]
        return self._read(tuple(slice(part.start, max(part.start, part.stop), part.step) for part in ranges))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self._read((slice(None), slice(self._draws)))
        return found if dtype is None else found.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Read all, and compute with the array."""
        return getattr(ufunc, method)(*(np.asarray(x) if x is self else x for x in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        """Read all, and ask the array."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"StoredArray({self._group} {self._name}, shape {self.shape}, {self.dtype})"

    def _read(self, index: tuple[slice, ...]) -> np.ndarray:
        self._check()
        return np.asarray(self._array[index])

    def _check(self) -> None:
        """See to it that the draws are there: of what is not there zarr makes NaN."""
        where = self._path / self._group
        count = int(attributes_of(where).get(COUNT, -1)) if (where / "zarr.json").is_file() else -1
        if count < self._draws or not (where / self._name / "zarr.json").is_file():
            raise ResultFileError(
                f"{self._path}: the {self._draws} draws of '{self._name}' that the run wrote there are gone. Fix: put "
                "the store back, or run again.",
                path=str(self._path),
            )
