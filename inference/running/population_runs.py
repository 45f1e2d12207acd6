"""Population runs: a plan of independent runs, driven in chunks, one run after the other.

Law: every finished run is that of the plan's whole program, bit for bit. A run that was ended early has no draws, since
particles in the middle of a program are draws of nothing: the result holds the runs before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax

from lawful.errors import CheckpointMismatch, LawfulError

from ..plan import Prepared, timed, times
from ..result import Result
from .chain_runs import failure
from .driver import Chunk, Drive
from .options import RunOptions, without_store
from .populations import PopulationCourse
from .resuming import begun_of, checked, put_back
from .saving import Saver

if TYPE_CHECKING:
    from ..population_plan import PopulationPlan
    from .checkpoints import Checkpoint


def run_population(plan: PopulationPlan, prepared: Prepared, key: jax.Array, options: RunOptions) -> Result:
    """Run a population in chunks; as a whole where it has no loop.

    Raises: LawfulError where a callback raised, with the finished runs as its attribute `result`.
    """
    drive = population_drive(plan, prepared, key, options)
    if drive is None:
        out, seconds = timed(prepared.built.run, key, prepared.inputs)
        return plan._collect(prepared, out, times(seconds))
    drive.run()
    return population_result(plan, prepared, drive)


def iterate_population(
    plan: PopulationPlan, prepared: Prepared, key: jax.Array, options: RunOptions
) -> Iterator[Chunk]:
    """Run a population chunk by chunk."""
    drive = population_drive(plan, prepared, key, options)
    if drive is not None:
        yield from drive.shown_chunks(lambda portion: ({}, portion.told))


def resume_population(plan: PopulationPlan, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
    """Go on with a population from a checkpoint."""
    remarks = checked(found, plan.header(prepared))
    key = begun_of(found, lambda key: key)
    drive = population_drive(plan, prepared, key, options)
    if drive is None:
        raise LawfulError(
            f"{found.path}: the run has a loop, and this plan has none to go on with. Fix: give the model that was run."
        )
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
    return population_result(plan, prepared, drive)


def population_drive(plan: PopulationPlan, prepared: Prepared, key: jax.Array, options: RunOptions) -> Drive | None:
    """Make the run of a population; None where it has no loop to cut."""
    without_store(plan.name, options)
    built = prepared.built
    portions = built.portions(options.longest)
    if not portions.parts:
        return None
    before = len(built.names) + len(built.conditional) + 2
    stats = [(name, before + place) for place, (_, name) in enumerate(built.stats)]
    course = PopulationCourse(portions, key, list(prepared.inputs), plan.settings["runs"], stats)
    saver = None if options.checkpoint is None else Saver(options.checkpoint, plan.header(prepared), key)
    return Drive(course, options, lambda number, rows: {}, None, saver)


def population_result(plan: PopulationPlan, prepared: Prepared, drive: Drive) -> Result:
    """Make the result of the runs that are finished."""
    course: Any = drive.course
    if drive.state is None:  # it failed before its first step
        assert drive.failed is not None
        raise drive.failed
    outputs, log_evidence = course.outputs(drive.state)
    fields: dict[str, Any] = {"found": drive.found, "interrupted": drive.interrupted}
    if not drive.complete:
        fields["finished"] = sum(drive.done)
    result = plan._collect(prepared, (outputs, log_evidence), drive.times(), **fields)
    if drive.failed is not None:
        raise failure(drive, result)
    return result
