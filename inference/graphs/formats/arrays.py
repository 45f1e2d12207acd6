"""Arrays: a factor graph as one .npz file of NumPy, without pickled objects.

Law: a graph that was saved and loaded is the same graph bit for bit: names, states, shapes, groups, shared tables,
evidence and notes, and the numbers in their precision. Where JAX works in float32, numbers in float64 become float32 as
anywhere else. Nothing in a file is ever run: arrays and JSON are all that is read.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import MalformedFileError

from ..model.graph import FactorGraph
from ..model.notes import GroupNote, Notes
from ..model.potentials import log_scores
from ..model.structure import Count
from .assembling import concrete, observed_by_number

FORMAT = 2  # 1 where there are no counts, as files were before there could be any
WITHOUT_COUNTS = 1
COUNTED = ("totals", "members", "starts", "states")
HEADER = "factor graph"

type Source = str | os.PathLike[str]


def save(graph: FactorGraph, path: Source) -> None:
    """Write a graph; a name without .npz gets it. A file that stands there is replaced once the new one is complete.

    Raises: LawfulError for potentials or evidence that are traced.
    """
    plain, structure, notes = concrete(graph, counts=True), graph.structure, graph.notes
    arrays = {f"unary {k}": _bits(x) for k, x in enumerate(plain.unary)}
    arrays |= {f"tables {k}": _bits(x) for k, x in enumerate(plain.tables)}
    arrays |= {f"scopes {k}": group.scopes for k, group in enumerate(structure.groups)}
    for k, count in enumerate(structure.counted):
        arrays |= {f"{what} {k}": getattr(count, what) for what in COUNTED}
    arrays["seen"] = plain.seen.astype(np.int64)
    if notes.numbers is not None:
        arrays["numbers"] = notes.numbers
    for k, group in enumerate(structure.groups):
        note = notes.on(group.name)
        arrays |= {
            f"{what} {k}": x for what, x in (("places", note.places), ("entries", note.entries)) if x is not None
        }
    header = {
        "format": FORMAT if structure.counted else WITHOUT_COUNTS,
        "families": [
            {"name": f.name, "shape": f.shape, "cardinality": f.cardinality, "states": f.states, "dtype": str(x.dtype)}
            for f, x in zip(structure.families, plain.unary, strict=True)
        ],
        "groups": [
            {
                "name": g.name,
                "cardinalities": g.cardinalities,
                "shared": g.shared,
                "dtype": str(x.dtype),
                "names": notes.on(g.name).names,
            }
            for g, x in zip(structure.groups, plain.tables, strict=True)
        ],  # fmt: skip
        "directed": notes.directed,
        "counts": [count.name for count in structure.counted],
        "outside": dict(notes.outside),
    }
    target = Path(path) if Path(path).suffix == ".npz" else Path(f"{path}.npz")
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=target.parent) as folder:
        np.savez(Path(folder) / target.name, allow_pickle=False, **{HEADER: np.array(json.dumps(header)), **arrays})
        os.replace(Path(folder) / target.name, target)


def _bits(array: np.ndarray) -> np.ndarray:
    """Give the array, or its bits where NumPy would forget what they mean, as of bfloat16."""
    return array if array.dtype.kind == "f" else array.view(f"u{array.dtype.itemsize}")


def load(path: Source) -> FactorGraph:
    """Read a graph that `save` wrote.

    Raises: MalformedFileError for a file that is missing, damaged, or none of a factor graph.
    """
    source = str(path)
    if not Path(path).exists() and Path(source + ".npz").exists():
        source += ".npz"
    try:
        with np.load(source, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays[HEADER][()]))
        version = header["format"]
    except OSError as error:
        raise MalformedFileError(f"{source}: the file cannot be read: {error}.", source=source) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise MalformedFileError(
            f"{source}: expected a factor graph as .npz; it is damaged or another file ({error}).", source=source
        ) from error
    if version not in (WITHOUT_COUNTS, FORMAT):
        raise MalformedFileError(f"{source}: expected format {FORMAT} or less, found {version!r}.", source=source)
    try:
        return _made(header, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedFileError(f"{source}: a part is missing or does not fit: {error}.", source=source) from error


def _made(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> FactorGraph:
    graph = FactorGraph()
    for k, family in enumerate(header["families"]):
        shape = tuple(family["shape"])
        scores = _floats(arrays[f"unary {k}"], family["dtype"]).reshape((*shape, family["cardinality"]))
        graph.variables(family["name"], shape, family["cardinality"], scores, family["states"])
    notes = Notes(header["directed"], arrays.get("numbers"), outside=header.get("outside", {}))
    for k, group in enumerate(header["groups"]):
        tables, scopes = _floats(arrays[f"tables {k}"], group["dtype"]), arrays[f"scopes {k}"]
        if np.any((scopes < 0) | (scopes >= graph.structure.size)):
            raise ValueError(f"the scopes of {group['name']!r} hold a variable that is none")
        cards, count = tuple(group["cardinalities"]), 1 if group["shared"] else len(scopes)
        if tables.shape != (count, *cards) or scopes.shape != (len(scopes), len(cards)):
            raise ValueError(f"{group['name']!r} has tables {tables.shape} and scopes {scopes.shape}")
        graph.add(group["name"], scopes, cards, log_scores(tables), shared=group["shared"])
        names = None if group["names"] is None else tuple(group["names"])
        note = GroupNote(names, arrays.get(f"places {k}"), arrays.get(f"entries {k}"))
        notes = notes.adding(group["name"], note)
    for k, name in enumerate(header.get("counts", ())):
        bags = Count(name, *(arrays[f"{what} {k}"] for what in COUNTED))
        _check_count(graph, bags)
        graph.add_count(bags)
    graph.notes = notes
    seen = arrays["seen"]
    return observed_by_number(graph, np.flatnonzero(seen >= 0), seen[seen >= 0])


def _check_count(graph: FactorGraph, count: Count) -> None:
    """Refuse a count that does not fit the variables of its graph."""
    whole, size = count.starts, graph.structure.size
    numbers = np.concatenate([count.totals, count.members])
    cards = graph.structure.cardinalities
    fits = (
        len(whole) == count.size + 1
        and whole[0] == 0
        and whole[-1] == len(count.members) == len(count.states)
        and (count.sizes >= 0).all()
        and ((numbers >= 0) & (numbers < size)).all()
        and (cards[count.totals] > count.sizes).all()
        and ((count.states >= 0) & (count.states < cards[count.members])).all()
    )
    if not fits:
        raise ValueError(f"the count {count.name!r} does not fit its variables")


def _floats(array: np.ndarray, dtype: str) -> np.ndarray:
    return array if array.dtype.kind == "f" else array.view(jnp.dtype(dtype))
