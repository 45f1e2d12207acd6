"""Resuming: a run goes on from its last checkpoint, in another process.

Law: the result is that of the run that was never stopped, bit for bit with the same versions on the same kind of
device. The program comes from the caller; the checkpoint is compared with it, and holds nothing that is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax

from lawful.errors import CheckpointError, CheckpointMismatch, LawfulError
from lawful.form.arguments.calls import positional

from ..checkpoints.checkpoint_folder import Checkpoint, load, restore
from ..checkpoints.fingerprints import check, fingerprints
from ..checkpoints.recipes import NoRecipe, decode, encode
from ..findings.findings import Finding
from ..registered import method_of
from ..results.result import Result
from ..running.chunks import Drive
from ..running.options import RunOptions
from ..running.saving import row_name
from .plan import Prepared


def resume(
    folder: str | os.PathLike[str], model: Any, *args: Any, run: RunOptions | None = None, **named: Any
) -> Result:
    """Go on with a run that was stopped or killed, from its last checkpoint, and keep checkpoints in the same folder.

    Args:
        folder: the folder of the run, `RunOptions(checkpoint=folder)`.
        model: the program that was run; settings are read from the checkpoint. Or the plan, as `inference.mcmc(...)`
            gave it: that is needed where a setting is a function of yours, as a proposal program, and for a mesh.
        args: its arguments.
        run: how the rest is divided and watched; default: as the plan says, or with automatic chunks. Where the draws
            went into a store outside the folder, it names the store.
        named: arguments of the program by name.

    Returns: the result of the whole run, equal to that of a run that was never stopped.

    Raises:
        CheckpointMismatch: program, data or settings are others, with all that differs.
        CheckpointError: there is no checkpoint, or it is damaged.

    >>> import tempfile, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     lawful.sample("y", dist.Normal(lawful.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stop = inference.RunOptions(chunk=10, checkpoint=folder, callbacks=lambda progress: progress.step == 20)
    ...     part = inference.mcmc(model, inference.kernels.random_walk(1.0), warmup=0, draws=50, run=stop)(0, 0.3)
    ...     whole = inference.resume(folder, model, 0.3)
    >>> part.posterior["mu"].shape, whole.posterior["mu"].shape
    ((4, 20), (4, 50))
    """
    if run is not None and not isinstance(run, RunOptions):
        raise LawfulError(f"run: expected inference.RunOptions(...), or None, got {run!r}.")
    if not getattr(model, "resumable", True):
        raise LawfulError(
            f"resume: {model!r} leaves no checkpoints, so there is nothing to go on from. Fix: give the program, or "
            "the plan whose run wrote them."
        )
    found = load(folder)
    plan: Any = model if hasattr(model, "resumed") else _made(found, model)
    options = run or plan.run or RunOptions()
    result: Result = plan.resumed(
        found, replace(options, checkpoint=folder), positional(plan.prepare.subject, args, named)
    )
    return result


def header_of(
    prepared: Prepared, settings: Mapping[str, Any], method: Any, devices: int | None = None
) -> dict[str, Any]:
    """Describe a run for its checkpoints: what it is of, its seed, where else it was, and how it is built again.

    The devices of a mesh are told where their number, or their being there, changes bits.
    """
    stored = None
    with suppress(NoRecipe):
        stored = {"method": method.name, "options": {name: encode(x) for name, x in method.recipe().items()}}
    found = fingerprints(prepared.form, prepared.args, settings, method.name)
    if devices is not None:
        found["device"] = f"{devices} of {found['device']}"
    return {"fingerprints": found, "recipe": stored, "seed": prepared.seed, "elsewhere": list(prepared.elsewhere)}


def taken_up(engine: Any, prepared: Prepared, found: Checkpoint) -> tuple[Prepared, tuple[Finding, ...]]:
    """Compare a checkpoint with the run that is to go on.

    Returns: what is run, with the seed of the run and where else it was, which its own checkpoints tell; and remarks.

    Raises: CheckpointMismatch with all that differs.
    """
    flags = check(found.header, engine.header(prepared)["fingerprints"])
    told = tuple(dict.fromkeys([*found.header.get("elsewhere", ()), *flags]))
    elsewhere = (
        Finding("RESUMED_ELSEWHERE", f"{flag}: draws equal those of one run in law, not in bits.") for flag in told
    )
    older = (Finding("OLDER_CHECKPOINT", f"a newer checkpoint was passed over: {why}") for why in found.skipped)
    return replace(prepared, seed=found.header.get("seed"), elsewhere=told), (*elsewhere, *older)


def begun_of(found: Checkpoint, expected: Any) -> Any:
    """Read key and start of a run, by a function of the key that describes them."""
    tree = found.header.get("tree", {})
    names = [told["key"] for path, told in tree.items() if path.startswith("['begun']") and "key" in told]
    if not names:
        raise CheckpointError(f"{found.path} holds no run of chains or populations.", path=str(found.path))
    begun = expected(jax.random.key(0, impl=names[0]))
    return restore(found.arrays, {"begun": begun}, tree)["begun"]


def put_back(drive: Drive, found: Checkpoint) -> None:
    """Set a run to where it was."""
    header = found.header
    expected = drive.course.expected(header["place"])
    drive.state = restore(found.arrays, {"state": expected}, header["tree"])["state"]
    drive.done, drive.seconds = [int(done) for done in header["done"]], float(header["seconds"])
    for number, (done, phase) in enumerate(zip(drive.done, drive.phases, strict=True)):
        names = [row_name(number, place) for place in range(len(phase.rows))]
        kept = sum(name in found.arrays for name in (*names, row_name(number, len(names))))
        if not done or not kept:
            continue  # the rows of a run that is finished are in the state
        if kept != len(names):
            raise CheckpointMismatch(
                f"{found.path}: a step has other rows than the {len(names)} of this version, so another version wrote "
                "it. Fix: go on with the version that began the run, or begin anew.",
                differing=("rows",),
            )
        for name, row in zip(names, phase.rows, strict=True):
            wanted = (done * row.per_step, *row.shape)
            if found.arrays[name].shape != wanted:
                raise CheckpointMismatch(
                    f"{found.path}: {name} have the shape {found.arrays[name].shape}, expected {wanted}.",
                    differing=(name,),
                )
        drive.kept.write(number, 0, [found.arrays[name] for name in names])
    if drive.stream is not None:
        tally = restore(found.arrays, {"tally": drive.stream.tally}, header["tree"])["tally"]
        drive.stream.goes_on(drive.done, tally)


def _made(found: Checkpoint, model: Any) -> Any:
    """Build the inference again from its settings."""
    recipe = found.header.get("recipe")
    kind = method_of(recipe["method"]) if isinstance(recipe, dict) and isinstance(recipe.get("method"), str) else None
    if not isinstance(recipe, dict) or kind is None or not recipe.get("options"):
        raise LawfulError(
            f"{found.path} does not hold the settings of its run, since one of them is a function or an object of "
            "yours. Fix: give the plan in place of the model, as inference.resume(folder, inference.mcmc(model, ...), "
            "*args)."
        )
    return kind(**{k: decode(v) for k, v in recipe["options"].items()}).on(model)
