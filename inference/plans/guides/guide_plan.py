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
from lawful.backends.xla import emit
from lawful.errors import NoFiniteStartError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of, dims_of
from lawful.passes.fill_absent import unguarded
from lawful.passes.unconstrain import refuse_conditional

from ...checkpoints.checkpoint_folder import Checkpoint
from ...devices.mesh import readable, replicated, spread_over
from ...devices.watch import watched
from ...kernels.base.frame import Frame
from ...results.copies import Told
from ...results.result import Result
from ...running.chunks import Chunk, Drive
from ...running.course import Kept
from ...running.environment import timed
from ...running.memory import Need, memory_for
from ...running.options import RunOptions
from ...running.saving import Saver
from ...running.timed_program import Program
from ...transformers.propose.guide import Guide, Guided
from ..chains.chain_runs import failure
from ..chains.no_start import lost, no_start
from ..chains.starts import CUBE
from ..plan import Prepared, told_of
from ..resuming import begun_of, header_of, put_back, taken_up
from ..searches.target import CANDIDATES, Target, target_of
from .families import FAMILIES, Family
from .fit import Uphill
from .guide_course import GuideCourse, GuideState, GuideSteps
from .paths import Normal, Path, Paths
from .verdict import bounds, verdict

STARTS, WAYS, NOISE, ANSWER = range(4)  # numbers of the keys of starts, of draws on paths, of a fit, and of the answer


@dataclass(frozen=True)
class Corrected:
    """A program that draws from a guide, its first argument, and is weighed for the program of a form."""

    form: Form

    def __call__(self, guide: Guide, *inputs: Any) -> Any:
        """Draw, and weigh."""
        return Guided(self.form, guide)(*inputs)


@dataclass(frozen=True, eq=False)
class Guides:
    """A guide to be fitted, written for the form of a program."""

    plan: Any
    form: Form
    target: Target
    family: Family
    uphill: Uphill
    steps: GuideSteps

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
    def _starts(self) -> Callable[..., Path]:
        """Compile where the paths begin: each at the best of its candidates."""
        frame, count = self.frame, self.plan.method.paths

        def starts(key: jax.Array, inputs: tuple[Any, ...]) -> Path:
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

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            own = one_key(key)
            key_of = partial(jax.random.fold_in, own)
            begun = self._starts(key_of(STARTS), inputs)
            paths = Paths(self.frame).go(key_of(WAYS), inputs, begun, jnp.asarray(self.totals[0]))
            fit = self.steps.turn.function(inputs, paths) if self.totals[1] else None
            if fit is not None:
                fit = self.uphill.go(key_of(NOISE), inputs, fit, jnp.asarray(self.totals[1]))
            guide = self.steps.last.function(inputs, GuideState(paths, fit))
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
        sites = (f"  {choice.name}: {prod(shape)} coordinates without bounds" for choice, shape in shapes)
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
        size, paths = self.frame.size, self.plan.method.paths
        each = (3 * size + 64) * size * np.dtype(jnp.result_type(float)).itemsize
        return Need(
            f"{self.plan.asked.name}: {paths} paths in {size} coordinates", paths * each, 0,
            lambda free, _: f"about {max(1, paths * free // (2 * max(paths * each, 1)))} paths",
        )  # fmt: skip

    # Running

    def _course(self, prepared: Prepared, key: jax.Array) -> GuideCourse:
        inputs = tuple(prepared.inputs)
        start, *own = (jax.random.fold_in(key, number) for number in (STARTS, WAYS, NOISE))

        def shapes(fits: bool) -> GuideState:
            paths = jax.eval_shape(self._starts, start, inputs)
            return GuideState(paths, jax.eval_shape(self.steps.turn.function, inputs, paths) if fits else None)

        return GuideCourse(self.steps, own, lambda: self._starts(start, inputs), inputs, shapes, self.totals)

    def _whole(self, course: GuideCourse) -> GuideState:
        """Run without looking up; on a mesh its devices share the paths."""
        state, mesh, kept = course.begin(), self.plan.method.mesh, Kept(course.phases)
        if mesh is not None:
            with watched(mesh):
                leaves, tree = jax.tree.flatten(state.paths)
                spread = state._replace(paths=jax.tree.unflatten(tree, spread_over(mesh, leaves)))
                there = replace(course, inputs=tuple(replicated(mesh, [*course.inputs])))
                state = readable(mesh, there.advance(spread, 0, course.totals[0], ()))
            state = course.end(state, 0, kept)
        for number in range(mesh is not None, len(course.phases)):
            state = course.end(course.advance(state, number, course.totals[number], ()), number, kept)
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
        method, elbo = self.plan.method, np.asarray(state.paths.elbo)
        error = None if np.isfinite(elbo).any() else self._no_start(prepared, state)
        if error is not None and method.on_fault == "raise":
            raise error
        inputs = tuple(prepared.inputs)
        guide = self.steps.last(inputs, state)
        found = self.correction(jax.random.fold_in(key, ANSWER), guide, *inputs)
        assert found._weighted is not None
        log_weight = found._weighted.log_weight + np.asarray(found.log_evidence)[:, None]
        low, high = bounds(log_weight)
        settled = state.fit is None or bool(state.fit.rests)
        told = (
            *found.found,
            *([] if error is None else [lost(error, CANDIDATES)]),
            *verdict(log_weight, method.corrected, settled),
            *prepared.unread,
        )
        model, form, observed = prepared.subject
        raw = {} if method.corrected else {"_posterior": found._weighted.values}
        own = {**told_of(method.told(), prepared.seed, method.mesh), **_times(found.run, run)}
        return replace(
            found, **raw, sampler=self.plan.asked.name, guide=guide, found=told, model=model, form=form,
            args=prepared.args, stats={**found.stats, "elbo": low, "eubo": high},
            groups={**found.groups, **({"observed_data": observed} if observed else {})},
            dims=dims_of(choices_of(form, ("sample", "deterministic"))),
            run={**own, "plan": Told(lambda: self.plan.plan(*prepared.args))},
        )  # fmt: skip

    def _no_start(self, prepared: Prepared, state: GuideState) -> NoFiniteStartError:
        """Tell which sites keep all paths from a start of finite density."""
        search = state.paths.search
        choices, run = self.frame.choices, emit(self.frame.found.values)
        rows = [run(jax.random.key(0), *prepared.inputs, *self.frame.parts(row))[0][1:] for row in search.vector]
        values = [np.stack([np.asarray(row[number]) for row in rows]) for number in range(len(choices))]
        kind = np.full((len(rows), 1), CUBE)
        state_of = [*values, np.asarray(search.value)]
        return no_start(prepared, choices, state_of, whole=True, origin=kind, tries=CANDIDATES)


def guides(plan: Any, form: Form) -> Guides:
    """Write the fit of a guide to a program.

    Raises: UnsupportedProgramError for a site that is discrete, a point mass, or made in one arm of a branch only.
    """
    method, form = plan.method, unguarded(form)  # absent elements have their prior, as other choices
    refuse_conditional(form)
    target = target_of(form, plan.asked.name)
    frame = target.frame
    family = FAMILIES[method.family]
    uphill = Uphill(frame, family, method.objective, method.noise)

    def turn(inputs: Sequence[Any], paths: Path) -> Any:
        assert family.begin is not None
        return uphill.begin(family.begin(_best(paths)))

    sites = tuple((choice.name, prod(shape)) for choice, shape in zip(frame.choices, frame.shapes, strict=True))

    def last(inputs: Sequence[Any], state: GuideState) -> Guide:
        if state.fit is not None:
            looked = jnp.isfinite(state.fit.best)  # else no window was finished
            parameters = jax.tree.map(partial(jnp.where, looked), state.fit.kept, state.fit.parameters)
        elif family.begin is not None:  # stopped on the paths
            parameters = family.begin(_best(state.paths))
        else:
            parameters = family.end(frame, inputs, state.paths)
        return Guide(family.law(parameters), sites, {}, family.name)

    steps = GuideSteps(Program(Paths(frame).go), Program(turn), Program(uphill.go), Program(last))
    return Guides(plan, form, target, family, uphill, steps)


def _best(paths: Path) -> Normal:
    """Give the law of the path with the greatest ELBO."""
    best = jnp.argmax(paths.elbo)
    return Normal(paths.normal.loc[best], paths.normal.root[best])


def _times(weighed: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Add the times of the fit to those of the draws."""
    names = ("seconds", "compile_seconds", "run_seconds")
    return {**run, **{name: weighed.get(name, 0.0) + run.get(name, 0.0) for name in names}}
