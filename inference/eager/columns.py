"""Columns: runs of one program laid out as arrays, one variable a name.

Law: nothing is lost that an array can hold. A choice that a run did not make is NaN there, so its variable is of
floating point; choices of one name at several loop indices share an array, as long as the longest run. What has no
fixed shape, or is no number, is left out, and stays in the runs themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lawful.addresses import Address, indices_of, names_of, show_address
from lawful.form.choices import loop_dims
from lawful.messages import PlateFrame

from .run import Run

RETURNED = "return"


@dataclass(frozen=True)
class Table:
    """Arrays (runs, ...) by variable name, loops, their names and the plates of each, and what was left out."""

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    loops: Mapping[str, int] = field(default_factory=dict)
    plates: Mapping[str, tuple[PlateFrame, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    loop_names: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def of_one(self) -> dict[str, np.ndarray]:
        """Give the values of a table of one run."""
        return {name: np.asarray(array[0]) for name, array in self.values.items()}


def table_of(runs: Sequence[Run], keep: str = "paths") -> Table:
    """Lay runs of one program out as arrays: choices, named values and the returned value; with "last" this alone.

    >>> table = table_of([Run({("n",): 1, ("x", 0): 0.5}), Run({("n",): 2, ("x", 0): 0.1, ("x", 1): 0.2})])
    >>> table.values["n"].tolist(), table.values["x"].tolist(), dims_of(table)["x"]
    ([1, 2], [[0.5, nan], [0.1, 0.2]], ('time',))
    """
    cells: dict[Address, _Cell] = {}
    plates: dict[Address, tuple[PlateFrame, ...]] = {}
    steps: dict[Address, tuple[str | None, ...]] = {}
    for place, run in enumerate(runs if keep == "paths" else ()):
        for source in (run.choices, run.deterministics):
            for address, value in source.items():
                cell = cells.get(address)
                if cell is None:
                    cell = cells[address] = _Cell()
                cell.places.append(place)
                cell.values.append(value)
        plates.update(run.plates)
        steps.update(run.loop_names)
    groups: dict[tuple[str, ...], dict[tuple[int, ...], _Cell]] = {}
    for address, cell in cells.items():
        groups.setdefault(names_of(address), {})[tuple(int(index) for index in indices_of(address))] = cell
    values: dict[str, np.ndarray] = {}
    loops: dict[str, int] = {}
    left_out = []
    for names, group in groups.items():
        name, array = show_address(names), _array(group, len(runs))
        if array is None:
            left_out.append(name)
        else:
            values[name], loops[name] = array, len(next(iter(group)))
    for name, array in _returned(runs).items():
        values.setdefault(name, array)
    named = {show_address(names_of(address)): frames for address, frames in plates.items()}
    given = {show_address(names_of(address)): names for address, names in steps.items()}
    return Table(values, loops, named, tuple(left_out), given)


@dataclass
class _Cell:
    """The values of one address: in which runs, and which."""

    places: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


def _array(group: Mapping[tuple[int, ...], _Cell], count: int) -> np.ndarray | None:
    """Put the values of one name into an array (runs, loops, ...); None where they do not fit into one."""
    if len({len(indices) for indices in group}) > 1:
        return None
    loops = tuple(max(column) + 1 for column in zip(*group, strict=True))
    arrays = [array for cell in group.values() if (array := numbers(cell.values)) is not None]
    if len(arrays) < len(group) or len({array.shape[1:] for array in arrays}) > 1:
        return None
    dtype, shape = np.result_type(*arrays), (count, *loops, *arrays[0].shape[1:])
    if sum(len(cell.places) for cell in group.values()) == count * math.prod(loops):
        whole = np.empty(shape, dtype)
    else:
        whole = np.full(shape, np.nan, dtype if dtype.kind == "f" else float)
    for (indices, cell), array in zip(group.items(), arrays, strict=True):
        where: Any = (cell.places, *indices)
        whole[where] = array
    return whole


def numbers(values: Sequence[Any]) -> np.ndarray | None:
    """Stack numbers or arrays of one shape; None for anything else.

    >>> numbers([1, 2.0]).tolist(), numbers([1, "a"]), numbers([np.ones(1), np.ones(2)])
    ([1.0, 2.0], None, None)
    """
    if not all(isinstance(value, np.ndarray | np.generic | jax.Array | bool | int | float) for value in values):
        return None
    if len({np.shape(value) for value in values}) > 1:
        return None
    array = np.array([np.asarray(value) for value in values])
    return array if array.dtype.kind in "biuf" else None


def _returned(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Lay out the numbers that every finished run returned at the same place; runs that did not finish have NaN."""
    ends = [place for place, run in enumerate(runs) if run.finished]
    cells: dict[tuple[str, ...], list[Any]] = {}
    for place in ends:
        for path, leaf in jax.tree_util.tree_flatten_with_path(runs[place].value)[0]:
            parts = tuple(str(getattr(part, "key", getattr(part, "idx", part))) for part in path)
            cells.setdefault(parts, []).append(leaf)
    found = {}
    for parts, leaves in cells.items():
        array = numbers(leaves) if len(leaves) == len(ends) else None
        if array is None:
            continue
        if len(ends) < len(runs):
            whole = np.full((len(runs), *array.shape[1:]), np.nan)
            whole[ends] = array
            array = whole
        found[".".join((RETURNED, *parts))] = array
    return found


def dims_of(*tables: Table) -> dict[str, tuple[str, ...]]:
    """Name the axes: of loops as `loop_dims` does, plates have their names, others are numbered."""
    named = [(name, array, table.loops.get(name, 0)) for table in tables for name, array in table.values.items()]
    given = {name: names for table in tables for name, names in table.loop_names.items()}
    plates = {name: frames for table in tables for name, frames in table.plates.items()}
    loops = {
        name: list(zip(given.get(name, (None,) * depth), array.shape[1 : 1 + depth], strict=True))
        for name, array, depth in named
    }
    steps, found = loop_dims(loops), {}
    for name, array, depth in named:
        own = [f"{name}_dim_{axis}" for axis in range(array.ndim - 1 - depth)]
        batch = max((-frame.dim for frame in plates.get(name, ())), default=0)
        for frame in plates.get(name, ()):
            if batch <= len(own) and array.shape[1 + depth + batch + frame.dim] == frame.size:
                own[batch + frame.dim] = frame.name
        found[name] = (*steps[name], *own)
    return found
