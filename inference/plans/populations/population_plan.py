"""Population plan: a population method on a program, its compiled program, and how a run becomes a result.

Law: it is properly weighted: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the integral of f, for every f.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.bundles import filled
from lawful.form.choices import Choice, choices_of, dims_of, is_own
from lawful.form.pipeline import through
from lawful.inference.running.resumable_form import Portions
from lawful.inspection.lint.improper_priors import refuse_improper
from lawful.passes.record import record
from lawful.passes.simplify import SIMPLIFIED

from ...checkpoints.checkpoint_folder import Checkpoint
from ...contract import Transformer
from ...devices.watch import watched
from ...findings.findings import idle_device
from ...laws.resampling_schemes import ResampleLaw
from ...representations.absent_elements import form_for
from ...representations.population import Population as Particles
from ...representations.sequential import Sequential, sequential
from ...results.batches import in_one_row
from ...results.collect import from_population
from ...results.copies import Told
from ...results.invalid_draws import invalid_draws
from ...results.record import masked
from ...results.result import Result
from ...running.chunks import Chunk
from ...running.environment import timed
from ...running.memory import Held, Need, held_by, memory_for
from ...running.mesh_runner import sharded_portions, sharded_runner
from ...running.options import RunOptions
from ...transformers.propose.propose import proposed_sites
from ..plan import Prepared, told_of
from ..resuming import header_of
from .path_results import along_path
from .population_runs import iterate_population, resume_population, run_population
from .stages import joined, weight_findings


@dataclass(frozen=True)
class Outputs:
    """What a run gives: values of its Form, or the arrays that these become.

    Attributes:
        values: by name, for every particle.
        active: by name, whether a conditional choice was made.
        log_weight: of the particles.
        draws: which particles are draws of equal weight.
        stats: numbers of the stages, by part of the program and name.
        roots: which particle of the start each one descends from; None where nothing is older than the last resampling.
    """

    values: dict[str, Any]
    active: dict[str, Any]
    log_weight: Any
    draws: Any
    stats: dict[tuple[int, str], Any]
    roots: Any = None

    @property
    def masked(self) -> dict[str, Any]:
        """The values, without those of choices that were not made."""
        return masked(self.values, self.active) if self.active else self.values

    def drawn(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Take the draws of equal weight, (run, draw, ...), among values (run, particle, ...)."""
        rows = np.arange(len(self.draws))[:, None]
        return {name: array[rows, self.draws] for name, array in values.items()}


@dataclass(frozen=True, eq=False)
class Population:
    """A population method, written and compiled for the form of a program; `cut` has the pauses, if there are any."""

    plan: Any
    run: Callable[..., Any]
    written: Outputs
    choices: tuple[Choice, ...]
    form: Form
    cut: Sequential | None
    held: Held  # by the form, of all runs
    divide: Callable[[int | None], Portions]  # cut for calls of at most so many steps
    steps: dict[int | None, Portions] = field(default_factory=dict)  # compiled, by the most steps of a call

    def portions(self, longest: int | None) -> Portions:
        """Give the algorithm, cut at its loops; where it has none, no length of a call matters."""
        if longest not in self.steps:
            whole = (one for one in self.steps.values() if not one.parts)
            self.steps[longest] = next(whole, None) or self.divide(longest)
        return self.steps[longest]

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Run: the result holds equal-weight draws, weighted particles, and the evidence of every run."""
        with memory_for(self.need, self.plan.method.devices):
            if self.plan.run is not None:
                return run_population(self, prepared, one_key(key), self.plan.run)
            mesh = self.plan.method.mesh
            with watched(mesh) if mesh is not None else nullcontext():
                out, run = timed(self.run, one_key(key), prepared.inputs)
            return self.collected(prepared, out, run)

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Run chunk by chunk, and give the numbers of the stages of each chunk."""
        return iterate_population(self, prepared, one_key(key), options)

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        method = self.plan.method
        devices = None if method.mesh is None else method.devices  # one draws its particles in blocks, too
        return header_of(prepared, method.told(), self.plan.asked, devices)

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""
        return resume_population(self, prepared, found, options)

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give equal-weight draws by name; copies made by resampling are neighbours."""

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            out = filled(self.written, self.run(one_key(key), list(inputs))[0])
            return {name: in_one_row(array) for name, array in out.drawn(out.masked).items()}

        return draw

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes that a run takes at its peak."""
        return self.need.peak

    def lines(self, prepared: Prepared) -> list[str]:
        """Say what will be done."""
        method, proposed = self.plan.method, proposed_sites(prepared.form)
        start = " at the start" if method.on_path else ""
        choices = (c for c in choices_of(prepared.form) if not is_own(c))
        sources = {c.name: "a proposal" if c.address in proposed else "its prior" for c in choices}
        drawn = (f"{name}: drawn from {source}{start}" for name, source in sources.items())
        moves = method.mover.plan(prepared.form) if method.on_path else ()
        return [f"{self.plan.asked.name}: {method.composition}", *(f"  {line}" for line in (*drawn, *moves))]

    def algorithm(self, prepared: Prepared) -> Form:
        """Give the population as a Form."""
        return self.form

    @cached_property
    def need(self) -> Need:
        """What runs take: one beside outputs of those before, or all outputs and draws, which are copied twice."""
        runs, particles = self.plan.method.runs, self.plan.method.particles
        held = self.held
        values = sum(filled(self.written, held.each).values.values())
        peak = max(held.peak + (runs - 1) * held.outputs, runs * (held.outputs + 2 * values))
        last = ", keep='last' where the histories are not needed" if self.plan.method.keep == "paths" else ""
        return Need(
            f"{self.plan.asked.name}: {runs} runs of {particles} particles",
            peak,
            held.row,
            lambda free, _: f"about {max(1, particles * free // (2 * max(peak, 1)))} particles, fewer runs{last}",
        )

    def collected(self, prepared: Prepared, out: Any, run: Mapping[str, Any], **fields: Any) -> Result:
        """Make the result; `run` holds times, and `fields` what else is known of it."""
        left = filled(self.written, [np.asarray(x) for x in out[0]])
        log_evidence = np.asarray(out[1], dtype=np.float64)
        method, values = self.plan.method, left.masked
        told = {**told_of(method.told(), prepared.seed, method.mesh), **run}
        stats = joined(left.stats)
        size = self.held.peak // method.devices
        idle = () if told["device"] == "cpu" else idle_device(told["device"], "particles", size)
        found = (
            *weight_findings(
                prepared.form,
                prepared.subject.form,
                log_evidence,
                stats,
                vars(method),
                self.cut,
                prepared.gaps,
                partial(invalid_draws, prepared.form, prepared.args, values),
            ),
            *prepared.unread,
            *idle,
        )
        log_evidence = np.where(np.isposinf(log_evidence), np.nan, log_evidence)  # an infinity is no estimate
        increments = stats["log_evidence_increment"]
        gone = ~np.isfinite(increments)
        gone[:, -1] |= ~np.isfinite(log_evidence)  # by a weight that all particles share
        dead_at = np.where(gone.any(axis=1), gone.argmax(axis=1), -1)
        stats["n_stages"] = np.full(len(log_evidence), increments.shape[1])  # as many in every run
        model, form, observed = prepared.subject
        result = from_population(
            values,
            left.log_weight,
            log_evidence,
            draws=left.drawn(values),
            stats=stats,
            dead_at=dead_at,
            roots=left.roots,
            observed=observed,
            model=model,
            args=prepared.args,
            sampler=self.plan.asked.name,
            found=(*fields.pop("found", ()), *found),
            form=form,
            dims=dims_of(choices_of(form, ("sample", "deterministic"))),
            run={**told, "plan": Told(lambda: self.plan.plan(*prepared.args))},
            **fields,
        )
        return along_path(result) if method.on_path else result


def population(plan: Any, form: Form, transformer: Transformer, mover: Any, drawing: Any) -> Population:
    """Write a population method for the form of a program.

    `mover` is the kernel that moves particles, if one does; `drawing` is the scheme of the draws of equal weight at the
    end.
    """
    method = plan.method
    if mover is not None:
        form = form_for(mover, form)
    paths = method.keep == "paths"
    recorded = record(form) if paths else record(form, ())
    own = recorded.own
    source = recorded.form
    choices = tuple(c for c in recorded.choices if not is_own(c))
    if paths:
        shown = [not is_own(c) for c in recorded.choices]
        shown += [not is_own(c) for c in recorded.choices if c.conditional]
        source = replace(source, outputs=tuple(v for v, seen in zip(source.outputs[own:], shown, strict=True) if seen))
        names = tuple(c.name for c in choices)
    else:
        names = _returned_names(form)
    refuse_improper(form, plan.asked.name)
    hold = method.pauses and mover is not None
    cut = sequential(source, getattr(method, "cuts", None), hold=hold) if method.pauses else None
    population: Particles = transformer(source if cut is None else cut)
    block, plate = population.block, population.plate
    assert population.weight is not None
    law = ResampleLaw(drawing, plate.size, plate.size)
    draws = block.site(population.address("draws"), law, (population.weight,))
    conditional = tuple(c.name for c in choices if c.conditional) if paths else ()
    values = [v if plate in v.plates else _spread(block, v, plate) for v in population.values]
    active = dict(zip(conditional, values[len(names) :], strict=True))
    values_by_name = dict(zip(names, values[: len(names)], strict=True))
    trail = population.trail
    stats = {(part, name): v for part, stage in enumerate(trail.stats) for name, v in stage.items()}
    written = Outputs(values_by_name, active, population.log_weight, draws, stats, trail.roots if paths else None)
    algorithm = through(block.form(population.inputs, written), SIMPLIFIED)
    runs = method.runs
    held = held_by(algorithm, runs)
    run: Callable[..., Any]
    divide: Callable[..., Portions]
    if method.mesh is None:
        run, divide = _runner(algorithm, runs), partial(_portions, algorithm)
    else:
        run = sharded_runner(algorithm, runs, method.mesh, plate)
        divide = partial(sharded_portions, algorithm, mesh=method.mesh, particles=plate)
    return Population(plan, run, written, choices, algorithm, cut, held, divide)


def _spread(block: Any, value: Any, plate: Any) -> Any:
    """Repeat a value that all particles share."""
    size = plate.size
    return block.det(lambda x: jnp.broadcast_to(x, (size, *x.shape)), value, label="repeat", adds=(plate,))


def _returned_names(form: Form) -> tuple[str, ...]:
    if form.out_tree is None:
        return tuple(f"returned_{i}" for i in range(len(form.outputs)))
    paths = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(form.out_tree, range(form.out_tree.num_leaves)))[0]
    names = [".".join(str(getattr(p, "key", getattr(p, "idx", p))) for p in path) for path, _ in paths]
    return tuple(name if name and not name.isdigit() else f"returned{name and '_'}{name}" for name in names)


def _portions(algorithm: Form, longest: int | None) -> Portions:
    return Portions(algorithm, longest=longest)


def _runner(algorithm: Form, runs: int) -> Callable[..., Any]:
    run = emit(algorithm)

    @jax.jit
    def many(key: jax.Array, inputs: list[jax.Array]) -> Any:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(runs))
        if runs == 1:
            return jax.tree.map(lambda x: x[None], run(keys[0], *inputs))
        return jax.lax.map(lambda k: run(k, *inputs), keys)

    return many
