"""Search plan: many searches for the maximum of a program, compiled together, and how their ends become a result.

Law: what is maximised is the density of the program on the scale of its values: no Jacobian of coordinates enters. The
searches are those of their starts alone, and how a run is divided changes no bit of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lawful.backends.compile_options import quickly
from lawful.distributions.bijections import shown_supports
from lawful.distributions.sampling.threefry import fold_in
from lawful.errors import NoFiniteStartError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of, dims_of, is_own

from ...checkpoints.checkpoint_folder import Checkpoint
from ...devices.mesh import readable, replicated, spread_over
from ...devices.watch import watched
from ...kernels.base.base import initial_state
from ...results.collect import from_chains
from ...results.copies import Told
from ...results.result import Result
from ...running.chunks import Chunk, Drive
from ...running.environment import timed
from ...running.memory import Need, memory_for
from ...running.options import RunOptions
from ...running.saving import Saver
from ...running.timed_program import Program
from ..chains.chain_runs import failure
from ..chains.no_start import lost, no_start
from ..chains.starts import CUBE, GIVEN, starts_at
from ..plan import Prepared, told_of
from ..resuming import begun_of, header_of, put_back, taken_up
from .ascent import LBFGS, MEMORY, Search, Way, climbed
from .distinct import optima_of
from .em import em_of
from .search_course import Climb, SearchCourse
from .summit import Asking
from .target import CANDIDATES, Target, target_of
from .verdict import verdict

BLOCK = 32  # rows of coordinates that are scored at once


@dataclass(frozen=True, eq=False)
class Searches:
    """Searches for the maximum of a program, written for its form."""

    plan: Any
    form: Form
    target: Target
    way: Way
    climb: Climb

    @cached_property
    def _candidates(self) -> Callable[..., jax.Array]:
        """Compile the candidates of all starts, (start, candidate, coordinate)."""
        target, numbers = self.target, np.arange(self.plan.method.starts)
        return quickly(lambda key, inputs: jax.vmap(lambda n: target.candidates(inputs, fold_in(key, n)))(numbers))

    @cached_property
    def _given(self) -> Callable[..., jax.Array]:
        """Compile the starts that are given by name."""
        choices, method = self.target.frame.choices, self.plan.method
        shown, count = [c for c in choices if not is_own(c)], len(choices)
        state = starts_at(self.form, initial_state(self.form), shown, dict.fromkeys(method.init), method.starts)
        enter = quickly(jax.vmap(self.target.coordinates, (None, 0)))
        return lambda key, inputs, init: enter(inputs, state(key, inputs, init)[:count])

    @cached_property
    def _scored(self) -> Callable[..., jax.Array]:
        """Compile the log density of some rows of coordinates."""
        return quickly(jax.vmap(self.target.log_density, (None, 0)))

    def start(self, key: jax.Array, inputs: Sequence[Any], scored: Callable[..., Any] | None = None) -> Search:
        """Give where the searches begin: as is given, or each at the best of its candidates.

        Args:
            key: a key.
            inputs: those of the program.
            scored: gives the log density of rows of coordinates.
        """
        init, size, own = self.plan.method.init, self.target.frame.size, tuple(inputs)
        if init:
            return self.way.begin(self._given(key, own, init))
        found = self._candidates(key, own)
        rows = found.reshape(-1, size)
        scores = jnp.asarray(self._scored(own, rows) if scored is None else scored(rows)).reshape(found.shape[:2])
        best = jnp.argmax(jnp.where(jnp.isfinite(scores), scores, -jnp.inf), axis=1)
        return self.way.begin(jnp.take_along_axis(found, best[:, None, None], axis=1)[:, 0])

    @cached_property
    def _asking(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Compile what is asked at an end."""
        return quickly(self.target.slopes), quickly(jax.vmap(self.target.flat_values, (None, 0)))

    def asking(self, inputs: Sequence[Any]) -> Asking:
        """Give what is asked of the density for some inputs."""
        own, (slopes, values) = tuple(inputs), self._asking
        scored, shown = (partial(_in_blocks, partial(one, own)) for one in (self._scored, values))
        return Asking(partial(slopes, own), scored, shown, self.target.places, self.target.bounded)

    # What a plan asks of an engine

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Search.

        Raises: NoFiniteStartError where no search has a start of finite density; with on_fault="flag" the result says
            so, and has no values.
        """
        with memory_for(self.need, self.plan.method.devices):
            return self._run(prepared, one_key(key))

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Search chunk by chunk: values where each search stands, (search, 1, ...)."""
        drive = self._drive(prepared, one_key(key), options)
        values = jax.jit(jax.vmap(self.target.values, (None, 0)))

        def shown(portion: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            self.way.refuse(drive.state)
            found = values(tuple(prepared.inputs), jnp.asarray(drive.state.vector))
            return {name: np.asarray(x)[:, None] for name, x in found.items()}, portion.told

        yield from drive.shown_chunks(shown)

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""
        prepared, remarks = taken_up(self, prepared, found)
        drive = self._drive(prepared, begun_of(found, lambda key: key), options)
        put_back(drive, found)
        drive.found = remarks
        return self._driven(prepared, drive)

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        method = self.plan.method
        return header_of(prepared, method.told(), self.plan.asked, method.devices if method.devices > 1 else None)

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give where each search ends, by name, (starts, ...), as a function of a key and the inputs."""
        target, steps = self.target, self.plan.method.steps + 1
        if self.way.refuses:
            self.way.refuse(self.climb(prepared.inputs, self._begun(prepared, jax.random.key(0)), 2))

        def ends(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            last = climbed(self.way, inputs, self.start(one_key(key), inputs), jnp.asarray(steps, jnp.int32))
            return jax.vmap(target.values, (None, 0))(inputs, last.vector)

        return ends

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes that a run takes at its peak."""
        return self.need.peak

    def lines(self, prepared: Prepared) -> list[str]:
        """Say what is moved how."""
        method, supports = self.plan.method, shown_supports(self.form)
        head = f"{self.plan.asked.name}: {method.composition}"
        sites = (
            f"  {c.name}: {_words(supports.get(c.address))}, {int(np.prod(shape))} coordinates"
            for c, shape in zip(self.target.frame.choices, self.target.frame.shapes, strict=True)
        )
        return [head, "  of the density on the scale of the values, without Jacobian", *sites]

    def algorithm(self, prepared: Prepared) -> Form:
        """Refuse: a search draws nothing, so it is no program."""
        raise UnsupportedProgramError(
            f"{self.plan.asked.name}: a search draws nothing but its starts, so there is no algorithm with a measure. "
            "Fix: plan.sampler(*args) gives the searches as a function, and plan.marginal(*args) the program."
        )

    @cached_property
    def need(self) -> Need:
        """What searches take: their pairs, and the work of one evaluation for each of them."""
        size, starts = self.target.frame.size, self.plan.method.starts
        each = (2 * MEMORY + 16) * size * np.dtype(jnp.result_type(float)).itemsize
        return Need(
            f"{self.plan.asked.name}: {starts} searches in {size} coordinates", starts * each, 0,
            lambda free, _: f"about {max(1, starts * free // (2 * max(starts * each, 1)))} starts",
        )  # fmt: skip

    # Running

    def _run(self, prepared: Prepared, key: jax.Array) -> Result:
        if self.plan.run is not None:
            return self._driven(prepared, self._drive(prepared, key, self.plan.run))
        mesh: Mesh | None = self.plan.method.mesh
        begun = self._begun(prepared, key)
        steps = self.plan.method.steps + 1
        if mesh is None:
            out, run = timed(self.climb, prepared.inputs, begun, steps)
        else:
            with watched(mesh):
                leaves, tree = jax.tree.flatten(begun)
                spread = jax.tree.unflatten(tree, spread_over(mesh, leaves))
                out, run = timed(self.climb, replicated(mesh, prepared.inputs), spread, steps)
                out = readable(mesh, out)
        return self._collected(prepared, out, run)

    def _begun(self, prepared: Prepared, key: jax.Array) -> Search:
        """Find the starts."""
        return self.start(key, prepared.inputs, self.asking(prepared.inputs).scored)

    def _no_start(self, prepared: Prepared, ends: Search) -> NoFiniteStartError | None:
        """Tell which sites keep all searches from a start of finite density; None where one has such a start."""
        if not np.any(np.asarray(ends.steps)) or np.isfinite(np.asarray(ends.value)).any():
            return None
        values = jax.vmap(self.target.values, (None, 0))(tuple(prepared.inputs), jnp.asarray(ends.vector))
        choices = self.target.frame.choices
        state = [*(values[c.name] for c in choices), ends.value]
        kind = np.full((len(ends.value), 1), GIVEN if self.plan.method.init else CUBE)
        return no_start(prepared, choices, state, whole=True, origin=kind, tries=CANDIDATES)

    def _drive(self, prepared: Prepared, key: jax.Array, options: RunOptions) -> Drive:
        """Make the run of the searches."""
        inputs = list(prepared.inputs)
        shapes = partial(jax.eval_shape, lambda key: self.start(key, inputs), key)
        start = partial(self._begun, prepared, key)
        course = SearchCourse(self.climb, start, shapes, inputs, self.plan.method.steps + 1)
        saver = None if options.checkpoint is None else Saver(options.checkpoint, self.header(prepared), key)
        return Drive(course, options, lambda number, rows: {}, None, saver)

    def _driven(self, prepared: Prepared, drive: Drive) -> Result:
        """Run in chunks, and make the result of what is done.

        Raises: LawfulError where a callback raised, with the finished part as its attribute `result`.
        """
        drive.run()
        if drive.state is None:  # it failed before its first step
            assert drive.failed is not None
            raise drive.failed
        fields: dict[str, Any] = {"found": drive.found, "interrupted": drive.interrupted}
        if not drive.complete:
            fields["finished"] = sum(drive.done)
        result = self._collected(prepared, drive.state, drive.times(), **fields)
        if drive.failed is not None:
            raise failure(drive, result)
        return result

    def _collected(self, prepared: Prepared, ends: Search, run: Mapping[str, Any], **fields: Any) -> Result:
        """Make the result of the ends of searches."""
        self.way.refuse(ends)
        error = self._no_start(prepared, ends)
        if error is not None and self.plan.method.on_fault == "raise":
            raise error
        unstarted = () if error is None else (lost(error, CANDIDATES),)
        free = self.target.present(prepared.inputs)
        optima = optima_of(self.asking(prepared.inputs), self.target.shown, free, ends)
        found = (*fields.pop("found", ()), *unstarted, *verdict(optima, self.plan.method.steps), *prepared.unread)
        model, form, observed = prepared.subject
        dims = dims_of(self.target.shown)
        if form is not prepared.form:
            dims |= dims_of(choices_of(form, ("sample", "deterministic")))
        method = self.plan.method
        told = {**told_of(method.told(), prepared.seed, method.mesh), **run}
        return from_chains(
            {name: array[:1][None] for name, array in optima.values.items()},
            stats={"lp": optima.log_density[:1][None]},
            observed=observed, model=model, args=prepared.args, found=found, form=form, dims=dims, optima=optima,
            sampler=self.plan.asked.name, run={**told, "plan": Told(lambda: self.plan.plan(*prepared.args))}, **fields,
        )  # fmt: skip


def searches(plan: Any, form: Form) -> Searches:
    """Write the searches for the maximum of a program.

    Raises: UnsupportedProgramError for a site that is discrete, a point mass, or made in one arm of a branch only.
    """
    target = target_of(form, plan.asked.name)
    way: Way = em_of(form, target) if plan.method.method == "em" else LBFGS(target)
    return Searches(plan, form, target, way, Climb(Program(partial(climbed, way))))


def _in_blocks(function: Callable[[Any], Any], rows: Any) -> np.ndarray:
    """Map a compiled function over rows, always as many at once, so that it is compiled once."""
    rows = np.asarray(rows)
    filled = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % BLOCK, axis=0)])
    found = [np.asarray(function(filled[at : at + BLOCK])) for at in range(0, len(filled), BLOCK)]
    return np.concatenate(found)[: len(rows)]


def _words(support: Any) -> str:
    """Name a support."""
    words = str(support)
    return f"on {words}" if support is not None else "on its support"
