"""Chain runs: a plan of chains, driven in chunks.

Law: the result is that of the plan's whole loop, bit for bit; one that was ended early holds a prefix of its draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError, MemoryLimitError

from ...checkpoints.checkpoint_folder import Checkpoint
from ...devices.mesh import spread_on
from ...results.result import Result
from ...running.chunks import Chunk, Drive
from ...running.options import RunOptions
from ...running.saving import Saver
from ..plan import Prepared
from ..resuming import begun_of, put_back, taken_up
from .chain_course import ChainCourse, portions_of
from .chain_loop import Drawn
from .chain_result import parts_of
from .chain_store import Drawing, chain_stream, found_store
from .row_streams import Stream
from .starts import Begun


@runtime_checkable
class Driven(Drawing, Protocol):
    """What driving chains asks of them besides."""

    @property
    def plan(self) -> Any:
        """The plan that they are of."""

    @property
    def mesh(self) -> Mesh | None:
        """The devices that share them."""

    def collected(self, prepared: Prepared, out: Drawn, run: Mapping[str, Any], begun: Begun, **fields: Any) -> Result:
        """Make the result of what the chains left."""


def run_chains(chains: Driven, prepared: Prepared, begun: Begun, options: RunOptions) -> Result:
    """Run chains in chunks.

    Raises: LawfulError where a callback raised, with the finished part as its attribute `result`.
    """
    drive = chain_drive(chains, prepared, begun, options)
    drive.run()
    return chain_result(chains, prepared, begun, drive)


def iterate_chains(chains: Driven, prepared: Prepared, begun: Begun, options: RunOptions) -> Iterator[Chunk]:
    """Run chains chunk by chunk; only what checkpoints and callbacks need is kept."""
    drive = chain_drive(chains, prepared, begun, options)
    if drive.stream is None:
        drive.keeping = bool(options.callbacks) or options.checkpoint is not None
    yield from drive.shown_chunks(lambda portion: _shown(chains, prepared, portion.number, portion.rows))


def resume_chains(chains: Driven, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
    """Go on with chains from a checkpoint."""
    prepared, remarks = taken_up(chains, prepared, found)
    built, inputs = prepared.built, list(prepared.inputs)
    begun = begun_of(found, lambda key: Begun(key, *jax.eval_shape(built.start, key, inputs)))
    stored = bool(found.header.get("stored"))
    if stored and options.store is None:
        options = replace(options, store=found_store(found.path.parent))
    if options.store is not None and not stored:
        raise LawfulError(
            f"{found.path}: the run keeps its draws in its checkpoints, and a store was given. Fix: leave out store=."
        )
    drive = chain_drive(chains, prepared, begun, options, found.header["done"] if stored else None)
    put_back(drive, _counted(found, drive))
    drive.found = (*remarks, *drive.found)
    drive.run()
    return chain_result(chains, prepared, begun, drive)


def _counted(found: Checkpoint, drive: Drive) -> Checkpoint:
    """Add to a checkpoint the number of steps, which loops that learn carry last and did not always count."""
    course = drive.course
    assert isinstance(course, ChainCourse)
    carry = course.expected(found.header["place"]).carry
    name = f"['state'].carry[{len(carry) - 1}]"
    if not course.loop.learns or not carry or name in found.arrays:
        return found
    steps = np.asarray(min(int(found.arrays["['state'].step"]), course.loop.warmup), np.int32)
    return replace(found, arrays={**found.arrays, name: steps})


def extend_chains(chains: Driven, prepared: Prepared, begun: Begun, drive: Drive, draws: int) -> Result:
    """Go on with chains for further draws: the result is that of a run that asked for all of them."""
    warm, done = drive.done
    if warm < drive.phases[0].total:
        raise LawfulError(
            f"extend: the run was ended after {warm} of {drive.phases[0].total} steps of its warm-up, so it has no "
            "draw to add to. Fix: inference.resume where there is a checkpoint, or a new run."
        )
    longer = chains.plan.longer(done + draws)
    ready = replace(longer.prepare(prepared.args), seed=prepared.seed, elsewhere=prepared.elsewhere)
    onward = chain_drive(ready.built, ready, begun, replace(longer.run or RunOptions(), store=None))
    onward.state, onward.done, onward.seconds, onward.found = drive.state, [warm, done], drive.seconds, drive.found
    for number in range(2):
        onward.kept.write(number, 0, drive.rows(number))
    onward.run()
    return chain_result(ready.built, ready, begun, onward)


def chain_drive(
    chains: Driven, prepared: Prepared, begun: Begun, options: RunOptions, done: Sequence[int] | None = None
) -> Drive:
    """Make the run of chains from a start; one that goes on has the steps of each phase that are `done`."""
    built, key, start = prepared.built, begun.key, begun.state
    if options.longest not in built.steps:
        built.steps[options.longest] = portions_of(built.loop, options.longest)
    loop, steps, spread = built.loop, built.steps[options.longest], spread_on(chains.mesh)
    course = ChainCourse(steps, loop, key, list(prepared.inputs), list(start), spread)
    size, info = built.kernel.size, built.kernel.info

    def named(number: int, rows: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        return dict(zip(info, rows[size:], strict=True))

    def drawn(drive: Drive, number: int) -> Mapping[str, Any]:
        choices = built.kernel.choices
        if isinstance(drive.stream, Stream):
            known = drive.stream.part(number).posterior
            return {c.name: known[c.name] for c in choices if c.name in known}
        values = parts_of(choices, drive.rows(number)[:size]).values
        return {name: np.moveaxis(x, 1, 0) for name, x in values.items()}

    saver = None
    if options.checkpoint is not None:
        saver = Saver(options.checkpoint, chains.header(prepared), begun)
    drive = Drive(course, options, named, drawn, saver)
    if options.store is not None:
        piece = None if options.chunk == "auto" else int(options.chunk)
        drive.stream, drive.found = chain_stream(chains, prepared, begun, options.store, course, piece, done)
        drive.keeping = drive.stream is None
    return drive


def chain_result(chains: Driven, prepared: Prepared, begun: Begun, drive: Drive) -> Result:
    """Make the result of what is done."""
    built = prepared.built
    size = built.kernel.size
    if drive.state is None:  # it failed before its first step
        assert drive.failed is not None
        raise drive.failed
    if isinstance(drive.stream, Stream):
        return _stored_result(chains, prepared, begun, drive, drive.stream)
    early, late = drive.rows(0), drive.rows(1)
    pairs = zip(early[size:], late[size:], strict=True)
    numbers = [np.concatenate(pair) if len(pair[0]) else pair[1] for pair in pairs]
    warm, draws = drive.done
    last, tuned = _end(prepared, drive)
    out = Drawn(early[:size], late[:size], numbers, warm, last, tuned)
    result = chains.collected(
        prepared, out, drive.times(), begun, found=drive.found, interrupted=drive.interrupted, finished=draws,
        more=lambda draws: extend_chains(chains, prepared, begun, drive, draws),
    )  # fmt: skip
    if drive.failed is not None:
        raise failure(drive, result)
    return result


def _stored_result(chains: Driven, prepared: Prepared, begun: Begun, drive: Drive, stream: Stream) -> Result:
    """Make the result of a run whose draws are in its store."""
    first, kept = stream.part(0) if drive.phases[0].total else None, stream.part(1)

    def more(draws: int) -> Result:
        raise LawfulError(
            f"extend: the draws are in the store {stream.store.path}, which has room for {drive.phases[1].total} and "
            "no more. Fix: ask for all draws from the start; the same key gives the same first draws."
        )

    run = {**drive.times(), "store": str(stream.store.path)}
    result = chains.made(
        prepared, (kept, first), stream.tally, _end(prepared, drive), run, begun,
        found=(*drive.found, *stream.found), interrupted=drive.interrupted, finished=drive.done[1], more=more,
    )  # fmt: skip
    if drive.failed is not None:
        raise failure(drive, result)
    return result


def failure(drive: Drive, result: Result) -> LawfulError:
    """Return the error of a run that a callback or memory ended, with what is finished."""
    cause = drive.failed
    if isinstance(cause, MemoryLimitError):
        found: LawfulError = cause
    else:
        found = LawfulError(
            f"a callback raised {type(cause).__name__} after {sum(drive.done)} steps, which ended the run: {cause}. "
            "What is finished is in the attribute result of this error."
        )
        found.__cause__ = cause
    found.result = result
    return found


def _end(prepared: Prepared, drive: Drive) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Give the last state of the chains, and the settings that a warm-up found where all is done."""
    built = prepared.built
    size, names = built.kernel.size, built.loop.names
    if drive.complete:
        course: Any = drive.course
        found = list(course.portions.unshown(drive.state).values())
        return found[:size], dict(zip(names, found[size:], strict=True))
    if isinstance(drive.stream, Stream):
        return drive.stream.last[:size], {}
    rows = drive.rows(1) if drive.done[1] else drive.rows(0)
    return [x[-1] for x in rows[:size] if len(x)], {}


def _shown(
    chains: Driven, prepared: Prepared, number: int, rows: Sequence[np.ndarray]
) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
    """Give draws and numbers of some rows by name, (chain, draw, ...), as the result has them."""
    size, info = prepared.built.kernel.size, prepared.built.kernel.info
    part = chains.rows.shown(prepared.inputs, number, rows[:size], dict(zip(info, rows[size:], strict=True)))
    return part.posterior, part.stats
