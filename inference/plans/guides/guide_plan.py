"""Guide plan: a guide fitted to a program, compiled for its form, and the answer that its weights correct.

Law: whatever the fit did, the corrected answer is properly weighted: it is that of importance sampling from the guide,
whose draws are others than those that fitted it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.compile_options import quickly
from lawful.backends.initial_values import prior_coordinates
from lawful.backends.xla import emit
from lawful.errors import NoFiniteStartError, NonFiniteError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of, dims_of

from ...checkpoints.checkpoint_folder import Checkpoint
from ...devices.mesh import readable, replicated, spread_over
from ...devices.watch import watched
from ...kernels.base.base import initial_state
from ...kernels.base.frame import Frame
from ...results.copies import Told
from ...results.result import Result
from ...running.chunks import Chunk, Drive
from ...running.course import Kept
from ...running.environment import timed
from ...running.memory import Need, memory_for
from ...running.options import RunOptions
from ...running.saving import Saver
from ...transformers.propose.guide import Guide, Guided, is_finite
from ..chains.chain_runs import failure
from ..chains.no_start import lost, no_start
from ..chains.starts import CUBE
from ..plan import Prepared, told_of
from ..resuming import begun_of, header_of, put_back, taken_up
from ..searches.target import CANDIDATES, Target
from .batches import Batches
from .families import Family
from .fit import Uphill
from .guide_course import GuideCourse, GuideState, GuideSteps
from .paths import Path, Paths
from .programs import ProgramFamily
from .tables import PRIOR, Tables
from .verdict import acceptance, bounds, missed, unreached, verdict

# Numbers of the keys of starts, of draws on paths, of a fit, of the answer, and of finite sites from the prior; of the
# draws by which tails are chosen and modes looked at, the same in all runs.
STARTS, WAYS, NOISE, ANSWER, FINITE, TAILS = range(6)


@dataclass(frozen=True)
class Corrected:
    """A program that draws from a guide, its first argument, and is weighed for the program of a form."""

    form: Form

    def __call__(self, guide: Guide, *inputs: Any) -> Any:
        """Draw, and weigh."""
        return Guided(self.form, guide, asker="guide")(*inputs)


@dataclass(frozen=True, eq=False)
class Guides:
    """A guide to be fitted, written for the form of a program."""

    plan: Any
    form: Form
    target: Target
    family: Family
    uphill: Uphill
    steps: GuideSteps
    tables: Tables | None = None
    program: ProgramFamily | None = None
    batches: Batches | None = None

    @property
    def searches(self) -> bool:
        """Whether paths go before the fit; that of a program begins at its parameters."""
        return self.program is None and self.family.searches

    @property
    def frame(self) -> Frame:
        """The program in one vector of coordinates."""
        return self.target.frame

    @property
    def totals(self) -> tuple[int, int]:
        """Most steps of a path, and of the fit."""
        return self.plan.method.path_steps, self.plan.method.steps if self.family.begin else 0

    @cached_property
    def correction(self) -> Any:
        """The plan that draws from the guide, and weighs."""
        return self.plan.within(Corrected(self.form), self.plan.method.correction)

    @cached_property
    def _prior(self) -> Callable[..., tuple[Any, ...]]:
        """Compile draws of the finite sites from the prior: values with which paths go, and where tables begin."""
        own, places = self.tables, [n for n, choice in enumerate(choices_of(self.form)) if is_finite(choice)]
        assert own is not None
        flat = prior_coordinates(self.target.frame.program) is None
        run = emit(initial_state(self.form)) if not flat else None

        def prior(key: jax.Array, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(PRIOR))
            if run is None:  # a site has no draws, so that others may have none: all begin even
                found = own.even(keys)
            else:
                drawn = jax.vmap(lambda key: run(key, *inputs)[0])(keys)
                found = [drawn[place] for place in places]
            return (*(each[0] for each in found), *own.begin(found).values())

        return quickly(prior)

    def _given(self, key: jax.Array, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Give the inputs of searches and fits: those of the program, and what is known of finite sites."""
        if self.tables is None:
            return tuple(inputs)
        return (*inputs, *self._prior(jax.random.fold_in(key, FINITE), tuple(inputs)))

    @cached_property
    def _starts(self) -> Callable[..., Path]:
        """Compile where the paths begin: each at the best of its candidates."""
        frame, count = self.frame, self.plan.method.paths

        def starts(key: jax.Array, inputs: tuple[Any, ...]) -> Path:
            inputs = self.steps.of_paths(inputs)

            def best(key: jax.Array) -> jax.Array:
                found = self.target.candidates(inputs, key)
                scores = jax.vmap(partial(frame.log_density, inputs))(found)
                return found[jnp.argmax(jnp.where(jnp.isfinite(scores), scores, -jnp.inf))]

            keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(count))
            return Paths(frame).begin(jax.vmap(best)(keys))

        return quickly(starts)

    # What a plan asks of an engine

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Fit, draw and weigh.

        Raises: NoFiniteStartError where no path has a start of finite density.
        """
        with memory_for(self.need, self.plan.method.devices):
            if self.plan.run is not None:
                return self._driven(prepared, self._drive(prepared, one_key(key), self.plan.run), one_key(key))
            state, run = timed(self._whole, self._course(prepared, one_key(key)))
            return self._collected(prepared, state, one_key(key), run)

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Fit chunk by chunk; there are no draws before the end."""
        drive = self._drive(prepared, one_key(key), options)
        yield from drive.shown_chunks(lambda portion: ({}, portion.told))

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""
        prepared, remarks = taken_up(self, prepared, found)
        key = begun_of(found, lambda key: key)
        drive = self._drive(prepared, key, options)
        put_back(drive, found)
        drive.found = remarks
        return self._driven(prepared, drive, key)

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        method = self.plan.method
        return header_of(prepared, method.told(), self.plan.asked, method.devices if method.devices > 1 else None)

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Fit and draw: values by name of draws of equal weight, as a function of a key and the inputs."""
        self._compare(prepared.inputs)

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            own = one_key(key)
            key_of, given = partial(jax.random.fold_in, own), self._given(own, inputs)
            paths = None
            if self.searches:
                begun = self._starts(key_of(STARTS), given)
                paths = self.steps.go.function(key_of(WAYS), given, begun, jnp.asarray(self.totals[0]))
            begins = self.family.begin is not None and (self.totals[1] or paths is None)
            fit = self.steps.turn.function(given, paths) if begins else None
            if fit is not None:
                fit = self.steps.climb.function(key_of(NOISE), given, fit, jnp.asarray(self.totals[1]))
            guide = self.steps.last.function(given, GuideState(paths, fit)).guide
            example = self.correction.sampler(guide, *inputs)
            return example(key_of(ANSWER), *jax.tree.leaves(guide), *inputs)

        return draw

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes that a run takes at its peak."""
        return self.need.peak

    def lines(self, prepared: Prepared) -> list[str]:
        """Say what is fitted how."""
        method = self.plan.method
        head = f"{self.plan.asked.name}: {method.composition}"
        shapes = zip(self.frame.choices, self.frame.shapes, strict=True)
        sites = [f"  {choice.name}: {prod(shape)} coordinates without bounds" for choice, shape in shapes]
        finite = () if self.tables is None else self.tables.choices
        sites += [f"  {choice.name}: a table of its values" for choice in finite]
        if self.batches is not None:
            own = self.batches
            sites.append(f"  a step of the fit reads {own.size} of the {own.count} elements of '{own.plate}'")
        how = "weighed for the program" if method.corrected else "of the guide as it is"
        return [head, *sites, f"  {method.runs} runs of {method.particles} draws, {how}"]

    def algorithm(self, prepared: Prepared) -> Form:
        """Refuse: the fit draws noise for its gradients alone, so it is no program."""
        raise UnsupportedProgramError(
            f"{self.plan.asked.name}: the fit draws nothing but its starts and the noise of its gradients, so there is "
            "no algorithm with a measure. Fix: inference.start_from(result.guide)(model) is the program that draws "
            "from the guide, and inference.importance(...).form(...) of that the algorithm."
        )

    @cached_property
    def need(self) -> Need:
        """What paths and their laws take."""
        size, paths = self.frame.size, self.plan.method.paths if self.searches else 0
        each = (3 * size + 64) * size * np.dtype(jnp.result_type(float)).itemsize
        return Need(
            f"{self.plan.asked.name}: {paths} paths in {size} coordinates", paths * each, 0,
            lambda free, _: f"about {max(1, paths * free // (2 * max(paths * each, 1)))} paths",
        )  # fmt: skip

    # Running

    def _compare(self, inputs: Sequence[Any]) -> None:
        """Refuse batches of data that have other terms than the whole; numbers are needed for that."""
        if self.batches is not None and not any(isinstance(x, jax.core.Tracer) for x in inputs):
            self.batches.refuse_other_terms(inputs)

    def _course(self, prepared: Prepared, key: jax.Array) -> GuideCourse:
        self._compare(prepared.inputs)
        inputs = self._given(key, prepared.inputs)
        start, *own = (jax.random.fold_in(key, number) for number in (STARTS, WAYS, NOISE))

        def shapes(fits: bool) -> GuideState:
            paths = jax.eval_shape(self._starts, start, inputs) if self.searches else None
            return GuideState(paths, jax.eval_shape(self.steps.turn.function, inputs, paths) if fits else None)

        return GuideCourse(
            self.steps,
            own,
            lambda: self._starts(start, inputs),
            inputs,
            shapes,
            self.totals,
            self.searches,
            self.family.begin is not None,
        )

    def _whole(self, course: GuideCourse) -> GuideState:
        """Run without looking up; on a mesh its devices share the paths."""
        state, kept = course.begin(), Kept(course.phases)
        mesh = self.plan.method.mesh if self.searches else None
        if mesh is not None:
            with watched(mesh):
                leaves, tree = jax.tree.flatten(state.paths)
                spread = state._replace(paths=jax.tree.unflatten(tree, spread_over(mesh, leaves)))
                there = replace(course, inputs=tuple(replicated(mesh, [*course.inputs])))
                state = readable(mesh, there.advance(spread, 0, course.totals[0], ()))
            state = course.end(state, 0, kept)
        for number in range(mesh is not None, len(course.phases)):
            state = course.end(course.advance(state, number, course.phases[number].total, ()), number, kept)
        return state

    def _drive(self, prepared: Prepared, key: jax.Array, options: RunOptions) -> Drive:
        saver = None if options.checkpoint is None else Saver(options.checkpoint, self.header(prepared), key)
        return Drive(self._course(prepared, key), options, lambda number, rows: {}, None, saver)

    def _driven(self, prepared: Prepared, drive: Drive, key: jax.Array) -> Result:
        """Run in chunks, and weigh what the guide is at the end, whatever the end was.

        Raises: LawfulError where a callback raised, with the corrected answer so far as its attribute `result`.
        """
        drive.run()
        if drive.state is None:  # it failed before its first step
            assert drive.failed is not None
            raise drive.failed
        result = self._collected(prepared, drive.state, key, drive.times())
        result = replace(result, found=(*drive.found, *result.found), interrupted=drive.interrupted)
        if drive.failed is not None:
            raise failure(drive, result)
        return result

    def _collected(self, prepared: Prepared, state: GuideState, key: jax.Array, run: Mapping[str, Any]) -> Result:
        """Draw from the guide of a state, and weigh.

        Raises: NoFiniteStartError where no path has a finite density.
        """
        method, paths = self.plan.method, state.paths
        lost_all = paths is not None and not np.isfinite(np.asarray(paths.elbo)).any()
        error = self._no_start(prepared, state, key) if lost_all else None
        if self.program is not None and state.fit is not None:
            error = self.program.no_fit(state.fit)
        if error is not None and method.on_fault == "raise":
            raise error
        inputs = tuple(prepared.inputs)
        guide, beyond, chains = self.steps.last(self._given(key, inputs), state)
        try:
            found = self.correction(jax.random.fold_in(key, ANSWER), guide, *inputs)
        except NonFiniteError as infinite:
            raise infinite if self.program is None else self.program.no_weights(infinite) from None
        assert found._weighted is not None
        log_weight = found._weighted.log_weight + np.asarray(found.log_evidence)[:, None]
        low, high = bounds(log_weight)
        own_stats = {"elbo": low, "eubo": high, "independence_acceptance": acceptance(log_weight)}
        settled = state.fit is None or bool(state.fit.rests)
        told = (
            *found.found,
            *([] if error is None else [lost(error, CANDIDATES)]),
            *verdict(log_weight, method.corrected, settled),
            *(() if paths is None else missed(log_weight, paths.elbo, beyond)),
            *unreached(log_weight, chains),
            *prepared.unread,
        )
        model, form, observed = prepared.subject
        raw = {} if method.corrected else {"_posterior": found._weighted.values}
        own = {**told_of(method.told(), prepared.seed, method.mesh), **_times(found.run, run)}
        return replace(
            found, **raw, sampler=self.plan.asked.name, guide=guide, found=told, model=model, form=form,
            args=prepared.args, stats={**found.stats, **own_stats},
            groups={**found.groups, **({"observed_data": observed} if observed else {})},
            dims=dims_of(choices_of(form, ("sample", "deterministic"))),
            run={**own, "plan": Told(lambda: self.plan.plan(*prepared.args))},
        )  # fmt: skip

    def _no_start(self, prepared: Prepared, state: GuideState, key: jax.Array) -> NoFiniteStartError:
        """Tell which sites keep all paths from a start of finite density."""
        assert state.paths is not None
        search = state.paths.search
        choices, run = self.frame.choices, emit(self.frame.found.values)
        given = self.steps.of_paths(self._given(key, prepared.inputs))
        rows = [run(jax.random.key(0), *given, *self.frame.parts(row))[0][1:] for row in search.vector]
        values = [np.stack([np.asarray(row[number]) for row in rows]) for number in range(len(choices))]
        kind = np.full((len(rows), 1), CUBE)
        state_of = [*values, np.asarray(search.value)]
        return no_start(prepared, choices, state_of, whole=True, origin=kind, tries=CANDIDATES)


def _times(weighed: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Add the times of the fit to those of the draws."""
    names = ("seconds", "compile_seconds", "run_seconds")
    return {**run, **{name: weighed.get(name, 0.0) + run.get(name, 0.0) for name in names}}
