"""Population plan: a population method built from a model, its compiled program, and how a run becomes a result.

Law: a plan is properly weighted: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the integral of f, for every f.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lawful.backends.xla import emit
from lawful.form import Form, Loop
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.cached import through
from lawful.form.choices import Choice, choices_of, dims_of
from lawful.inference.running.portions import Portions
from lawful.passes.record import record
from lawful.passes.simplify import SIMPLIFIED

from ...checkpoints.checkpoints import Checkpoint
from ...contract import Contract, Transformer
from ...devices.mesh import devices_of, placed_on
from ...devices.watch import watched
from ...findings.findings import idle_device
from ...laws.picks import ResampleLaw
from ...representations.absent_elements import form_for
from ...representations.densities_of import is_own, refuse_improper
from ...representations.population import Population
from ...representations.sequential import sequential
from ...results.batches import in_one_row
from ...results.collect import from_population
from ...results.copies import Told
from ...results.invalid_draws import invalid_draws
from ...results.record import masked
from ...results.result import Result
from ...running.compile_time import timed
from ...running.driver import Chunk
from ...running.memory import Need, bytes_of, memory_for, output_bytes, peak_bytes, row_bytes
from ...running.mesh_runner import sharded_portions, sharded_runner
from ...running.options import RunOptions, not_in_chunks, without_store
from ...transformers.propose.propose import proposed_sites
from ..plan import Builder, Prepared, environment, times
from ..resuming import header_of
from .population_runs import iterate_population, resume_population, run_population
from .stages import joined, weight_findings

ROOTS = (-1, "roots")
PROPERLY_WEIGHTED = Contract("properly_weighted", target="the program's measure", parametric=True)


@dataclass(frozen=True)
class _Built:
    run: Callable[..., Any]
    names: tuple[str, ...]
    conditional: tuple[str, ...]
    stats: tuple[tuple[int, str], ...]
    choices: tuple[Choice, ...]
    form: Form
    divide: Callable[[int | None], Portions]  # cut for calls of at most so many steps
    steps: dict[int | None, Portions] = field(default_factory=dict)  # compiled, by the most steps of a call

    def portions(self, longest: int | None) -> Portions:
        """Give the algorithm, cut at its loops; where it has none, no length of a call matters."""
        if longest not in self.steps:
            whole = (one for one in self.steps.values() if not one.parts)
            self.steps[longest] = next(whole, None) or self.divide(longest)
        return self.steps[longest]


class PopulationPlan:
    """A population method built from a model: call it with a key and the model's arguments."""

    contract = PROPERLY_WEIGHTED

    def __init__(
        self, name: str, model: Any, transformer: Transformer, settings: dict[str, Any], cut: bool,
        run: RunOptions | None = None, mesh: Mesh | None = None,
    ) -> None:  # fmt: skip
        """Keep the parts; nothing is traced before the first call."""
        without_store(name, run)
        self.run, self.mesh = run, mesh
        self.recipe: tuple[str, dict[str, Any] | None] = name, None
        self.name, self.model, self.transformer, self.settings, self.cut = name, model, transformer, settings, cut
        proposal = settings.get("proposal")
        program = model if proposal is None else proposal(model)
        self.mover = settings.get("move")  # the kernel that moves particles
        self.prepare = Builder(program, self._build, settings.get("runs", 1), None if proposal is None else model)

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run: the result holds equal-weight draws, weighted particles, and the evidence of every run.

        Raises:
            NonFiniteError: a weight is NaN (by default) or +inf.
            ObservationError: the data do not fit their sites.
            MemoryLimitError: the particles and their histories take more memory than is free.
        """
        prepared = self.prepare(args, key, named)
        with memory_for(self._need(prepared), devices_of(self.mesh)):
            if self.run is not None:
                return run_population(self, prepared, one_key(key), self.run)
            with watched(self.mesh):
                out, seconds = timed(prepared.built.run, one_key(key), prepared.inputs)
            return self.collected(prepared, out, times(seconds))

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run chunk by chunk, as the options of the run say, and give the numbers of the stages of each chunk.

        A population has no draws before its end, so chunks have none; `phase` names the run, which is one chunk where
        the program has no loop.
        """
        options = self.run or RunOptions()
        not_in_chunks(self.name, options, self.mesh)
        return iterate_population(self, self.prepare(args, key, named), one_key(key), options)

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        devices = None if self.mesh is None else devices_of(self.mesh)  # one draws its particles in blocks, too
        return header_of(prepared, _described(self.settings), self.recipe, devices)

    def resumed(self, found: Checkpoint, options: RunOptions, args: tuple[Any, ...]) -> Result:
        """Go on from a checkpoint; see `inference.resume`."""
        not_in_chunks(self.name, options, self.mesh)
        return resume_population(self, self.prepare(args), found, options)

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others.

        Returns: takes a key and the arrays among the arguments; gives equal-weight draws by name, (runs * particles,
            ...), those of one run side by side, so that copies made by resampling are neighbours.
        """
        prepared = self.prepare(args, named=named)
        built: _Built = prepared.built
        n, k = len(built.names), len(built.conditional)

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            outputs, _ = built.run(one_key(key), list(inputs))
            index = outputs[n + k + 1]
            values = masked(
                dict(zip(built.names, outputs[:n], strict=True)),
                dict(zip(built.conditional, outputs[n : n + k], strict=True)),
            )
            rows = jnp.arange(len(index))[:, None]
            return {name: in_one_row(array[rows, index]) for name, array in values.items()}

        return draw

    def memory(self, *args: Any, **named: Any) -> int:
        """Estimate the bytes that a run takes at its peak; nothing is run."""
        return self._need(self.prepare(args, named=named)).peak

    def plan(self, *args: Any, **named: Any) -> str:
        """Say what will be done, for the given arguments."""
        prepared = self.prepare(args, named=named)
        lines = [f"{self.name}: {self.transformer.name}"]
        proposed = proposed_sites(prepared.form)
        for choice in prepared.built.choices:
            if choice.kind == "sample":
                source = "a proposal" if choice.address in proposed else "its prior"
                lines.append(f"  {choice.name}: drawn from {source}")
        return "\n".join(lines)

    def form(self, *args: Any, **named: Any) -> Form:
        """Return the algorithm itself as a Form."""
        return self.prepare(args, named=named).built.form

    def __repr__(self) -> str:
        """Show name and composition."""
        return f"{self.name}({self.transformer.name})"

    def _need(self, prepared: Prepared) -> Need:
        """Tell what runs take: one beside outputs of those before, or all outputs and draws, which are copied twice."""
        built: _Built = prepared.built
        runs, particles = self.settings["runs"], self.settings["particles"]
        outputs = output_bytes(built.form)
        values = sum(map(bytes_of, built.form.outputs[: len(built.names)]))
        peak = max(peak_bytes(built.form) + (runs - 1) * outputs, runs * (outputs + 2 * values))
        last = ", keep='last' where the histories are not needed" if self.settings["keep"] == "paths" else ""
        return Need(
            f"{self.name}: {runs} runs of {particles} particles",
            peak,
            max((row_bytes(node) for node in built.form.nodes if isinstance(node, Loop)), default=outputs),
            lambda free, _: f"about {max(1, particles * free // (2 * max(peak, 1)))} particles, fewer runs{last}",
        )

    def _build(self, form: Form) -> _Built:
        if self.mover is not None:
            form = form_for(self.mover, form)
        paths = self.settings["keep"] == "paths"
        recorded = record(form) if paths else record(form, ())
        own = recorded.own
        source = recorded.form
        choices = tuple(c for c in recorded.choices if not is_own(c))
        if paths:
            shown = [not is_own(c) for c in recorded.choices]
            shown += [not is_own(c) for c in recorded.choices if c.conditional]
            source = replace(
                source, outputs=tuple(v for v, seen in zip(source.outputs[own:], shown, strict=True) if seen)
            )
            names = tuple(c.name for c in choices)
        else:
            names = _returned_names(form)
        refuse_improper(form, self.name)
        hold = self.settings.get("move") is not None
        suspended = sequential(source, self.settings.get("cuts"), hold=hold) if self.cut else source
        population: Population = self.transformer(suspended)
        block, plate = population.block, population.plate
        assert population.weight is not None
        law = ResampleLaw(self.settings["scheme"], plate.size, plate.size)
        draws = block.site(population.address("draws"), law, (population.weight,))
        values = tuple(_spread(block, v, plate) for v in population.values)
        trail = population.trail
        stats = {(part, name): v for part, stage in enumerate(trail.stats) for name, v in stage.items()}
        if paths and trail.roots is not None:
            stats[ROOTS] = trail.roots
        outputs = (*values, population.log_weight, draws, *stats.values())
        algorithm = through(block.form(population.inputs, outputs), SIMPLIFIED)
        conditional = tuple(c.name for c in choices if c.conditional) if paths else ()
        runs = self.settings["runs"]
        run: Callable[..., Any]
        divide: Callable[..., Portions]
        if self.mesh is None:
            run, divide = _runner(algorithm, runs), partial(_portions, algorithm)
        else:
            run = sharded_runner(algorithm, runs, self.mesh, plate)
            divide = partial(sharded_portions, algorithm, mesh=self.mesh, particles=plate)
        return _Built(run, names, conditional, tuple(stats), choices, algorithm, divide)

    def collected(self, prepared: Prepared, out: Any, run: Mapping[str, Any], **fields: Any) -> Result:
        """Make the result; `run` holds times, and `fields` what else is known of it."""
        built: _Built = prepared.built
        outputs, log_evidence = [np.asarray(x) for x in out[0]], np.asarray(out[1], dtype=np.float64)
        n, k = len(built.names), len(built.conditional)
        values = dict(zip(built.names, outputs[:n], strict=True))
        active = dict(zip(built.conditional, outputs[n : n + k], strict=True))
        values = masked(values, active)
        log_weight, index = outputs[n + k : n + k + 2]
        noted = dict(zip(built.stats, outputs[n + k + 2 :], strict=True))
        roots, stats = noted.pop(ROOTS, None), joined(noted)
        there = placed_on(self.mesh)
        found = (
            *weight_findings(
                prepared.form,
                prepared.subject.form,
                log_evidence,
                stats,
                self.settings,
                self.cut,
                prepared.gaps,
                partial(invalid_draws, prepared.form, prepared.args, values),
            ),
            *prepared.unread,
            *idle_device(there["device"], "particles", lambda: peak_bytes(built.form) // there.get("devices", 1)),
        )
        log_evidence = np.where(np.isposinf(log_evidence), np.nan, log_evidence)  # an infinity is no estimate
        rows = np.arange(len(index))[:, None]
        draws = {name: array[rows, index] for name, array in values.items()}
        increments = stats["log_evidence_increment"]
        gone = ~np.isfinite(increments)
        gone[:, -1] |= ~np.isfinite(log_evidence)  # by a weight that all particles share
        dead_at = np.where(gone.any(axis=1), gone.argmax(axis=1), -1)
        stats["n_stages"] = np.full(len(log_evidence), increments.shape[1])  # as many in every run
        model, form, observed = prepared.subject
        return from_population(
            values,
            log_weight,
            log_evidence,
            draws=draws,
            stats=stats,
            dead_at=dead_at,
            roots=roots,
            observed=observed,
            model=model,
            args=prepared.args,
            sampler=self.name,
            found=(*fields.pop("found", ()), *found),
            form=form,
            dims=dims_of(choices_of(form, ("sample", "deterministic"))),
            run={
                **environment(_described(self.settings), 0.0, prepared.seed),
                **there,
                **run,
                "plan": Told(lambda: self.plan(*prepared.args)),
            },
            **fields,
        )


def _described(settings: dict[str, Any]) -> dict[str, Any]:
    """Write what steers the population as text, which a file can hold."""
    return {name: repr(value) if name in ("proposal", "move", "cuts") else value for name, value in settings.items()}


def _spread(block: Any, value: Any, plate: Any) -> Any:
    """Repeat a value that all particles share."""
    if plate in value.plates:
        return value
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
