"""Population runs: a plan of independent runs, driven in chunks, one run after the other.

Law: every finished run is that of the plan's whole program, bit for bit. A run that was ended early has no draws, since
particles in the middle of a program are draws of nothing: the result holds the runs before it. Where the program has no
loop to cut, a chunk is a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import jax

from lawful.errors import CheckpointMismatch
from lawful.form.bundles import filled

from ...checkpoints.checkpoint_folder import Checkpoint
from ...results.result import Result
from ...running.chunks import Chunk, Drive
from ...running.options import RunOptions
from ...running.saving import Saver
from ..chains.chain_runs import failure
from ..plan import Prepared
from ..resuming import begun_of, put_back, taken_up
from .population_course import PopulationCourse


@runtime_checkable
class Driven(Protocol):
    """What driving a population asks of it."""

    @property
    def plan(self) -> Any:
        """The plan that it is of."""

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""

    def collected(self, prepared: Prepared, out: Any, run: Mapping[str, Any], **fields: Any) -> Result:
        """Make the result of what the runs left."""


def run_population(population: Driven, prepared: Prepared, key: jax.Array, options: RunOptions) -> Result:
    """Run a population in chunks.

    Raises: LawfulError where a callback raised, with the finished runs as its attribute `result`.
    """
    drive = population_drive(population, prepared, key, options)
    drive.run()
    return population_result(population, prepared, drive)


def iterate_population(population: Driven, prepared: Prepared, key: jax.Array, options: RunOptions) -> Iterator[Chunk]:
    """Run a population chunk by chunk."""
    drive = population_drive(population, prepared, key, options)
    yield from drive.shown_chunks(lambda portion: ({}, portion.told))


def resume_population(population: Driven, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
    """Go on with a population from a checkpoint."""
    prepared, remarks = taken_up(population, prepared, found)
    key = begun_of(found, lambda key: key)
    drive = population_drive(population, prepared, key, options)
    try:
        put_back(drive, found)
    except CheckpointMismatch as error:
        if not any(remark.code == "RESUMED_ELSEWHERE" for remark in remarks):
            raise
        there = found.header["fingerprints"].get("device")
        raise CheckpointMismatch(
            f"{error} It was written on {there}. Fix: give the plan with its mesh: inference.resume(folder, plan, ..).",
            **error.fields,
        ) from error
    drive.found = remarks
    drive.run()
    return population_result(population, prepared, drive)


def population_drive(population: Driven, prepared: Prepared, key: jax.Array, options: RunOptions) -> Drive:
    """Make the run of a population."""
    built, inputs, runs = prepared.built, list(prepared.inputs), population.plan.method.runs
    portions = built.portions(options.longest)
    places = filled(built.written, range(len(built.form.outputs)))
    course = PopulationCourse(portions, key, inputs, runs, places.stats)
    saver = None if options.checkpoint is None else Saver(options.checkpoint, population.header(prepared), key)
    return Drive(course, options, lambda number, rows: {}, None, saver)


def population_result(population: Driven, prepared: Prepared, drive: Drive) -> Result:
    """Make the result of the runs that are finished."""
    course: Any = drive.course
    if drive.state is None:  # it failed before its first step
        assert drive.failed is not None
        raise drive.failed
    outputs, log_evidence = course.outputs(drive.state)
    fields: dict[str, Any] = {"found": drive.found, "interrupted": drive.interrupted}
    if not drive.complete:
        fields["finished"] = sum(drive.done)
    result = population.collected(prepared, (outputs, log_evidence), drive.times(), **fields)
    if drive.failed is not None:
        raise failure(drive, result)
    return result
