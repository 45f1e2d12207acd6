"""Stored runs: a run on disk that may still go on, read as a DataTree.

Law: a reader sees exactly the rows that the writer has counted, whenever it looks. A writer writes rows first and
counts them last, so every counted row is whole, and no counted row changes later.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lawful.errors import LawfulError, ResultFileError
from lawful.late import xarray

COUNT = "n_finished"  # attribute of a group: the rows that are whole
TOTAL = "n_total"  # attribute of a group: the rows that will be there, or -1 where that is unknown
RUN = "run"  # attribute of the tree: what the run is of, for the writer alone
WARMUP = "warmup_"


def open_run(path: str | os.PathLike[str]) -> xarray.DataTree:
    """Open the draws of a run in a zarr store, while it goes on or after its end.

    The groups of one phase, as posterior and sample_stats, are cut to the draws that all of them have. Arrays are read
    when they are used; call `.load()` on the tree for all of them.

    Args:
        path: the store that a run was told to write.

    Returns: the DataTree of the finished part; each group's attribute `n_finished` is its number of draws.

    Raises:
        ResultFileError: there is no store of a run.
        LawfulError: zarr is not installed.

    >>> import tempfile
    >>> import numpy as np
    >>> from lawful.inference.checkpoints.draws_store import Layout, Store
    >>> rows = {"posterior": {"x": np.arange(6.0).reshape(2, 3)}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store.create(f"{folder}/draws.zarr", Layout.of(rows, chunk=3), {"sampler": "mcmc"}, total=9)
    ...     store.write("posterior", 0, rows["posterior"])
    ...     before = open_run(f"{folder}/draws.zarr")["posterior"].sizes["draw"]
    ...     store.finish(3)
    ...     before, open_run(f"{folder}/draws.zarr")["posterior"].x.values.tolist()
    (0, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    """
    source = Path(path)
    require_zarr(source)
    names = _members(source)
    if not names:
        raise ResultFileError(f"{source}: there is no store of a run.", path=str(source))
    refuse_objects(source)
    # Counts are read before arrays: what is counted is there by then, however long the arrays have become since.
    told = {name: attributes_of(source / name) for name in names}
    counts = {name: int(found[COUNT]) for name, found in told.items() if COUNT in found}
    attributes = {name: value for name, value in attributes_of(source).items() if name != RUN}
    with without_leftovers():
        groups = {name: _dataset(source, name) for name in names}
    whole = {name: min(count, groups[name].sizes.get("draw", 0)) for name, count in counts.items()}
    for name in whole:
        phase = [other for other in whole if other.startswith(WARMUP) == name.startswith(WARMUP)]
        count = min(whole[other] for other in phase)
        groups[name] = groups[name].isel(draw=slice(count))
        groups[name].attrs = {**groups[name].attrs, COUNT: count}
        groups[name].attrs.pop(TOTAL, None)
    tree = xarray.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.name = attributes.get("name")
    tree.attrs.update(attributes)
    return tree


@contextlib.contextmanager
def without_leftovers() -> Iterator[None]:
    """Keep zarr quiet about files that a writer is about to rename, or left behind when it was killed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not recognized as a component.*")
        yield


def refuse_objects(path: Path) -> None:
    """Refuse a zarr store whose codecs would make Python objects, since reading those would run code."""
    if any(path.rglob(".zarray")) or any("pickle" in file.read_text() for file in path.rglob("zarr.json")):
        raise ResultFileError(f"{path} is no zarr store of format 3 with plain arrays.", path=str(path))


def require_zarr(path: Path) -> None:
    """Say which extra brings zarr where it is missing."""
    try:
        import zarr  # noqa: F401  (only to see that it can be)
    except ImportError as error:
        raise LawfulError(
            f"{path}: stores of this kind need zarr. Fix: pip install 'lawful[io]'.", module="zarr"
        ) from error


def _members(folder: Path) -> list[str]:
    """Name the groups or arrays in a folder."""
    if not (folder / "zarr.json").is_file():
        return []
    return sorted(inner.name for inner in folder.iterdir() if (inner / "zarr.json").is_file())


def attributes_of(folder: Path) -> dict[str, Any]:
    """Read the attributes of a group."""
    try:
        return json.loads((folder / "zarr.json").read_text()).get("attributes", {})
    except ValueError as error:
        raise ResultFileError(f"{folder / 'zarr.json'} is damaged: {error}.", path=str(folder)) from error


def _dataset(path: Path, group: str) -> xarray.Dataset:
    """Open a group; while its arrays grow, one after the other, their lengths differ, and the shortest one counts."""
    names = _members(path / group)

    def opened(without: list[str]) -> xarray.Dataset:
        return xarray.open_dataset(path, group=group, engine="zarr", consolidated=False, drop_variables=without)

    try:
        return opened([])
    except ValueError as error:
        if "conflicting sizes" not in str(error):
            raise ResultFileError(f"{path}: the group '{group}' cannot be read: {error}.", path=str(path)) from error
    parts = [opened([other for other in names if other != name]) for name in names]
    shortest = min(part.sizes["draw"] for part in parts if "draw" in part.sizes)
    cut = [part.isel(draw=slice(shortest)) if "draw" in part.sizes else part for part in parts]
    return xarray.merge(cut, join="exact", combine_attrs="override")
