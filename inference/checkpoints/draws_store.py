"""Draws store: those of a run on disk while it goes on, as the DataTree that ArviZ reads.

Law: rows are written first and counted last, so a reader (`lawful.open_run`) sees exactly the finished part at any
moment, also after a crash; rows written again with equal bits change nothing. Memory holds one write at most.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lawful.errors import LawfulError, ResultFileError
from lawful.inference.checkpoints.stored_run import COUNT, TOTAL, require_zarr, without_leftovers
from lawful.late import xarray, zarr

BLOCK = 1000  # rows by which arrays grow where the total is unknown

type Rows = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Column:
    """An array of a group: shape and dimension names after chain and draw, and its type."""

    shape: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: Any


@dataclass(frozen=True)
class Layout:
    """What a store will hold.

    Attributes:
        chains: number of chains, the first axis of every array.
        chunk: rows of one piece of an array on disk; best the rows of one write.
        groups: the arrays of each group by name.
        coords: values of dimensions; those of the chains are 0, 1, ... where nothing else is said.
        whole: groups that are known at the start, as observed_data, each a dataset of xarray.
    """

    chains: int
    chunk: int
    groups: Mapping[str, Mapping[str, Column]]
    coords: Mapping[str, Any] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(
        rows: Mapping[str, Rows],
        *,
        chunk: int,
        dims: Mapping[str, tuple[str, ...]] | None = None,
        coords: Mapping[str, Any] | None = None,
        whole: Mapping[str, Any] | None = None,
    ) -> Layout:
        """Read a layout off rows as they will be written.

        Args:
            rows: by group and name, arrays (chain, n, ...), n of any length.
            chunk: rows of one piece on disk.
            dims: names of the axes after chain and draw; the others become `<name>_dim_0`, ...
            coords: values of dimensions.
            whole: datasets that are known at the start.

        >>> Layout.of({"posterior": {"x": np.zeros((2, 1, 3))}}, chunk=10).groups["posterior"]["x"].dims
        ('x_dim_0',)
        """
        arrays = [np.asarray(array) for group in rows.values() for array in group.values()]
        chains = {array.shape[0] for array in arrays if array.ndim > 1}
        if len(chains) != 1 or any(array.ndim < 2 for array in arrays):
            raise LawfulError(
                f"layout: expected arrays (chain, draw, ...) of one number of chains, got "
                f"{sorted({array.shape[:2] for array in arrays})}."
            )

        def column(name: str, array: np.ndarray) -> Column:
            axes = (dims or {}).get(name) or tuple(f"{name}_dim_{i}" for i in range(array.ndim - 2))
            return Column(array.shape[2:], tuple(axes), array.dtype)

        groups = {g: {n: column(n, np.asarray(a)) for n, a in group.items()} for g, group in rows.items()}
        return Layout(chains.pop(), chunk, groups, dict(coords or {}), dict(whole or {}))


class Store:
    """A zarr store that a run writes its draws into; made by `create`, or by `open` to go on."""

    def __init__(self, path: Path) -> None:
        """Open the arrays of a store for writing; use `create` or `open`."""
        self.path = path
        with without_leftovers():
            root: Any = zarr.open_group(path, mode="r+", use_consolidated=False)
            self._groups: dict[str, Any] = {name: group for name, group in root.groups() if COUNT in group.attrs}
            self._arrays: dict[str, dict[str, Any]] = {
                name: {n: a for n, a in group.arrays() if a.metadata.dimension_names[:2] == ("chain", "draw")}
                for name, group in self._groups.items()
            }
        self._written: dict[str, None] = {}  # groups since the last count, in order

    @staticmethod
    def create(
        path: str | os.PathLike[str],
        layout: Layout,
        attrs: Mapping[str, Any],
        total: int | Mapping[str, int | None] | None,
    ) -> Store:
        """Make a store with room for all draws, which appears at its path when it is complete.

        Args:
            path: a folder that does not exist yet.
            layout: the arrays.
            attrs: attributes of the tree, as `sampler`: texts, numbers, and lists of them.
            total: draws in all, or those of each group; None where they are unknown: then arrays grow.

        Raises:
            LawfulError: something stands at the path, or zarr is missing.
            OSError: the folder cannot be written.

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     layout = Layout.of({"posterior": {"x": np.zeros((2, 1))}}, chunk=100)
        ...     store = Store.create(f"{folder}/draws.zarr", layout, {}, total=500)
        ...     store
        Store(draws.zarr: posterior 0 of 500)
        """
        target = Path(path)
        require_zarr(target)
        if target.exists():
            raise LawfulError(
                f"{target}: something stands there already. Fix: give another path, remove it, or go on with the run "
                "that wrote it.",
                path=str(target),
            )
        folder = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*Zarr V3 specification.*")  # of texts as coordinates
                _make(folder / target.name, layout, attrs, total)
            os.rename(folder / target.name, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return Store(target)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Store:
        """Open a store to go on writing; rows from any place on may be written again.

        Raises: ResultFileError where there is no store.
        """
        source = Path(path)
        require_zarr(source)
        if not (source / "zarr.json").is_file():
            raise ResultFileError(f"{source}: there is no store of a run.", path=str(source))
        return Store(source)

    @property
    def finished(self) -> dict[str, int]:
        """Rows counted as finished, by group."""
        return {name: int(group.attrs[COUNT]) for name, group in self._groups.items()}

    @property
    def piece(self) -> int:
        """Rows of one piece of an array on disk."""
        return max((int(a.chunks[1]) for arrays in self._arrays.values() for a in arrays.values()), default=1)

    def cut(self, counts: Mapping[str, int]) -> None:
        """Count no more than so many rows of each group, as those behind them will be others."""
        for name, count in counts.items():
            if name in self._groups and count < self.finished[name]:
                self._groups[name].attrs[COUNT] = count

    def write(self, group: str, start: int, rows: Rows) -> None:
        """Write rows of a group; readers see them once `finish` counts them.

        Args:
            group: the group.
            start: place of the first row.
            rows: every array of the group by name, (chain, n, ...), n the same for all.

        Raises:
            LawfulError: names, shapes or types are not those of the layout, or there is no room.
            OSError: the disk is full, or cannot be written; what was finished before stays readable.
        """
        if group not in self._arrays:
            raise LawfulError(f"{self.path}: no group '{group}'; it has {', '.join(self._arrays)}.", group=group)
        if not (self.path / group / "zarr.json").is_file():  # zarr would begin anew in an empty folder
            raise FileNotFoundError(errno.ENOENT, "the store is gone", str(self.path))
        arrays = self._arrays[group]
        stop = start + self._length(group, rows)
        self._make_room(group, start, stop)
        for name, array in arrays.items():
            array[:, start:stop] = np.asarray(rows[name])
        self._written[group] = None

    def finish(self, n: int) -> None:
        """Count the first n rows as finished in each group that was written to since the last call."""
        for name in self._written:
            if n > self.finished[name]:  # rows that are written again were counted before
                self._groups[name].attrs[COUNT] = int(n)
        self._written = {}

    def __repr__(self) -> str:
        totals = {name: group.attrs[TOTAL] for name, group in self._groups.items()}
        parts = [f"{name} {n} of {'?' if totals[name] == -1 else totals[name]}" for name, n in self.finished.items()]
        return f"Store({self.path.name}: {', '.join(parts)})"

    def _length(self, group: str, rows: Rows) -> int:
        """Check rows against the layout and return their number."""
        arrays = self._arrays[group]
        if set(rows) != set(arrays):
            raise LawfulError(
                f"{self.path}, group '{group}': expected the arrays {', '.join(sorted(arrays))}, got "
                f"{', '.join(sorted(rows))}.",
                group=group,
            )
        lengths = {name: np.shape(array)[1] if np.ndim(array) > 1 else -1 for name, array in rows.items()}
        for name, array in arrays.items():
            given = np.asarray(rows[name])
            wanted = (array.shape[0], next(iter(lengths.values())), *array.shape[2:])
            if given.shape != wanted or given.dtype != array.dtype:
                raise LawfulError(
                    f"{self.path}, array '{name}' of group '{group}': expected {array.dtype} rows of shape {wanted}, "
                    f"got {given.dtype} of {given.shape}.",
                    group=group,
                    array=name,
                )
        return next(iter(lengths.values()))

    def _make_room(self, group: str, start: int, stop: int) -> None:
        total = self._groups[group].attrs[TOTAL]
        if total != -1 and not 0 <= start <= stop <= int(total):
            raise LawfulError(
                f"{self.path}, group '{group}': rows {start} to {stop} do not fit into the {total} that the store was "
                "made for.",
                group=group,
            )
        length = -(-stop // BLOCK) * BLOCK
        draws = self._groups[group]["draw"]
        if total == -1 and draws.shape[0] < length:
            for array in self._arrays[group].values():
                array.resize((array.shape[0], length, *array.shape[2:]))
            before = draws.shape[0]
            draws.resize((length,))
            draws[before:] = np.arange(before, length)


def _make(path: Path, layout: Layout, attrs: Mapping[str, Any], total: Any) -> None:

    root: Any = zarr.create_group(path, attributes=dict(attrs))
    for name, dataset in layout.whole.items():
        dataset.to_zarr(path, group=name, mode="a", consolidated=False)
    for name, columns in layout.groups.items():
        length = total.get(name) if isinstance(total, Mapping) else total
        room = BLOCK if length is None else int(length)
        axes = {axis for column in columns.values() for axis in column.dims}
        coords = {
            "chain": np.arange(layout.chains),
            **{k: v for k, v in layout.coords.items() if k in axes | {"chain"}},
        }
        # xarray knows how each kind of coordinate is kept, as texts and dates.
        xarray.Dataset(coords=coords | {"draw": np.arange(room)}).to_zarr(
            path, group=name, mode="a", consolidated=False
        )
        group = root[name]
        for own, column in columns.items():
            dtype = np.dtype(column.dtype)
            group.create_array(
                own,
                shape=(layout.chains, room, *column.shape),
                chunks=tuple(max(1, n) for n in (layout.chains, min(layout.chunk, room), *column.shape)),
                dtype=dtype,
                fill_value=np.nan if dtype.kind in "fc" else dtype.type(0),
                compressors=None,
                dimension_names=("chain", "draw", *column.dims),
                config={"write_empty_chunks": True},  # equal bits also where all of a piece is NaN
            )
        group.attrs.update({COUNT: 0, TOTAL: -1 if length is None else room})
