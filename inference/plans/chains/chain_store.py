"""Chain store: the store of a run of chains, laid out as the tree of its result will be, and known for that run's.

Law: a store is written by one run alone. The same run, begun again or resumed, writes equal bits over what is there;
any other one is refused, with what differs.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lawful.errors import CheckpointError, CheckpointMismatch, LawfulError
from lawful.form.digest import digest
from lawful.inference.checkpoints.stored_run import RUN, attributes_of

from ...checkpoints.draws_store import Column, Layout, Store
from ...checkpoints.fingerprints import check
from ...checkpoints.trees import flatten
from ...findings.findings import Finding
from ...results.datatree.tree import tree_of
from ...results.record import Warmup
from ...results.result import Result
from ...running.course import Course, Phase
from ..plan import Prepared
from .chain_result import Rows, Tally
from .row_streams import PREFIXES, Names, Stream, names_of
from .starts import Begun

TIMES = ("seconds", "compile_seconds", "run_seconds", "status")  # attributes of a result that nobody knows yet


@runtime_checkable
class Drawing(Protocol):
    """What a run asks of the chains: what it is of, how its rows are read, and what becomes of all of them."""

    @property
    def rows(self) -> Rows:
        """How its rows are read."""

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""

    def made(
        self, prepared: Prepared, parts: tuple[Warmup, Warmup | None], tally: Tally, ended: tuple[Any, Any],
        run: Mapping[str, Any], begun: Begun, **fields: Any,
    ) -> Result:  # fmt: skip
        """Make the result of draws and warm-up, of what was seen of them, and of the last state and the settings."""


def chain_stream(
    of: Drawing, prepared: Prepared, begun: Begun, path: str | os.PathLike[str],
    course: Course, piece: int | None, done: Sequence[int] | None = None,
) -> tuple[Stream | None, tuple[Finding, ...]]:  # fmt: skip
    """Make the stream of a run of chains into a store.

    Args:
        of: the chains.
        prepared: their program and its arguments.
        begun: key and start.
        path: where the store is, or will be.
        course: what is run.
        piece: rows of a chunk, or None where they are chosen on the way.
        done: of a run that goes on from a checkpoint, the steps of each phase that are done there.

    Returns: None, with a remark, where the disk cannot be written: the run then goes on in memory.

    Raises:
        CheckpointMismatch: the store of another run stands at the path, or it lacks draws of this one.
        LawfulError: something else stands there.
    """
    target = Path(path)
    identity = {"fingerprints": of.header(prepared)["fingerprints"], "begun": _digest(begun)}
    size, read, start = prepared.built.kernel.size, of.rows, begun.state

    def shown(number: int, own: Sequence[np.ndarray]) -> Warmup:
        return read.shown(prepared.inputs, number, own[:size], dict(zip(read.info, own[size:], strict=True)))

    def counted(tally: Tally, number: int, own: Sequence[np.ndarray]) -> Tally:
        return read.counted(tally, start, number, own[:size], dict(zip(read.info, own[size:], strict=True)))

    parts = [shown(number, phase.room(0)) for number, phase in enumerate(course.phases)]
    names = [names_of(prefix, *part) for prefix, part in zip(PREFIXES, parts, strict=True)]
    if target.exists():
        store = Store.open(target)
        equal = _compare(target, identity, onward=done is not None)
        rows = store.piece
        if done is not None:
            _continued(store, names, done, cut=not equal)
    elif done is not None:
        raise CheckpointError(
            f"{target}: the run wrote its draws there, and there is no store. Fix: put it back, or start the run anew.",
            path=str(target),
        )
    else:
        rows = max(1, min(piece or course.longest(1), max(phase.total for phase in course.phases)))
        try:
            store = _made(of, prepared, begun, target, course.phases, rows, parts, identity)
        except OSError as error:
            message = f"{target}: a store could not be made ({error}). The run goes on in memory."
            warnings.warn(message, stacklevel=2)
            return None, (Finding("NOT_SAVED", message),)
    stream = Stream(store, course.phases, rows, names, shown, counted, Tally.at_start(start, read.info))
    return stream, ()


def found_store(folder: Path) -> Path:
    """Find the store of a run that lies in the folder of its checkpoints; no path is read from a checkpoint.

    Raises: CheckpointError where there is none, or are several.
    """
    inside = sorted(path.parent for path in folder.glob("*/zarr.json"))
    if len(inside) != 1:
        raise CheckpointError(
            f"{folder}: the run wrote its draws into a store, and there are {len(inside)} of them in this folder. Fix: "
            "say which it is, as inference.resume(folder, model, *args, run=RunOptions(store=path)).",
            path=str(folder),
        )
    return inside[0]


def _made(
    of: Drawing, prepared: Prepared, begun: Begun, target: Path, phases: Sequence[Phase],
    piece: int, parts: Sequence[Warmup], identity: Mapping[str, Any],
) -> Store:  # fmt: skip
    """Make a store from the tree of a result whose draws are all zero."""
    start = begun.state
    chains = len(start[0])

    def zeros(array: Any) -> np.ndarray:  # as many draws as chains: ArviZ takes fewer for a mistake
        return np.zeros((chains, chains, *array.shape[2:]), array.dtype)

    first, kept = (Warmup(*({name: zeros(x) for name, x in kind.items()} for kind in part)) for part in parts)
    tally = Tally.at_start(start, of.rows.info)
    empty = of.made(prepared, (kept, first if phases[0].total else None), tally, (start, {}), {}, begun)
    empty.__dict__["reasons"] = ()  # nothing is to be judged
    tree = tree_of(empty, log_likelihood=False, log_prior=False, save_warmup=True, in_full=True)
    groups: dict[str, dict[str, Column]] = {}
    total: dict[str, int | None] = {}
    for phase, part, prefix in zip(phases, parts, PREFIXES, strict=True):
        if not phase.total:
            continue
        for names, kind in zip(names_of(prefix, *part), part, strict=True):
            for name, (group, own) in names.items():
                array = kind[name]
                axes = tuple(map(str, tree.children[group].to_dataset()[own].dims[2:]))
                groups.setdefault(group, {})[own] = Column(array.shape[2:], axes, array.dtype)
                total[group] = phase.total
    coords = {
        str(name): values for group in groups for name, values in tree.children[group].coords.items()
        if name not in ("chain", "draw")
    }  # fmt: skip
    whole = {name: node.to_dataset() for name, node in tree.children.items() if name not in groups}
    attrs = {str(name): value for name, value in tree.attrs.items() if name not in TIMES}
    layout = Layout(chains, piece, groups, coords, whole)
    target.parent.mkdir(parents=True, exist_ok=True)
    return Store.create(target, layout, {**attrs, RUN: json.dumps(identity)}, total)


def _compare(target: Path, identity: Mapping[str, Any], *, onward: bool) -> bool:
    """Compare a store with a run that is to write into it; gives whether its bits will be those that are there."""
    told = attributes_of(target).get(RUN)
    if told is None:
        raise LawfulError(f"{target}: something stands there that no run of chains wrote. Fix: give another path.")
    stored = json.loads(told)
    flags: tuple[str, ...] = ()
    try:
        flags = check(stored["fingerprints"], identity["fingerprints"])
        differing = () if onward else flags
    except CheckpointMismatch as error:
        differing = tuple(error.fields["differing"])
    if not differing and stored["begun"] != identity["begun"]:
        differing = ("the key, or the start",)
    if differing:
        raise CheckpointMismatch(
            f"{target}: the store of another run stands there. It differs in: {'; '.join(differing[:8])}. Fix: give "
            "another path, or remove it.",
            differing=differing,
            path=str(target),
        )
    return not flags


def _continued(store: Store, names: Sequence[tuple[Names, Names]], done: Sequence[int], *, cut: bool) -> None:
    """See to it that a store has the rows of a checkpoint; with `cut` those behind them are not counted any more."""
    counts = {group: n for n, kinds in zip(done, names, strict=True) for kind in kinds for group, _ in kind.values()}
    short = {group: n for group, n in counts.items() if store.finished.get(group, 0) < n}
    if short:
        raise CheckpointMismatch(
            f"{store.path}: the checkpoint is of a run with {short} rows, and the store has {store.finished}. Fix: "
            "give the store that this run wrote, or start the run anew.",
            differing=tuple(short),
            path=str(store.path),
        )
    if cut:
        store.cut(counts)


def _digest(begun: Begun) -> str:
    """Give a code for key and start of a run."""
    return digest(*(part for name, array in flatten({"begun": begun})[0].items() for part in (f"{name} ", array)))
