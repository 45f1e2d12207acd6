"""Temper: take a population along a path of measures, from the prior of a program to the program itself.

Law: [[temper(p)]] = [[p]]. A stage goes on by an increase of the power: particles at log density rest + power * slope
gain the weight increase * slope, so the weighted population has the next measure; resampling and moves that keep that
measure follow. This is exact for a given ladder and a given kernel, for any number of particles. A ladder or a scale
that looks at the particles leaves the estimates consistent as their number grows, no longer unbiased (Beskos, Jasra,
Kantas and Thiery 2016, On the convergence of adaptive sequential Monte Carlo methods).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Plate, Var
from lawful.form.builder import Block
from lawful.form.bundles import filled, like, listed
from lawful.passes.add_plate import lift

from ..contract import PRESERVES, Contract, Transformer
from ..laws.resampling_schemes import ess
from ..representations.annealing_paths import Path, prior_to_posterior
from ..representations.population import Advance, Carried, Population, Trail
from ..representations.tempered import Point, Tempered, Weighed, tempered
from ..representations.tempered_program import times
from ..representations.traced import Traced
from .move import moved
from .resample import push_evidence
from .temperatures import AdaptiveLadder, ladder_of

ADAPTIVE = Contract(
    "bound",
    target="the program's measure, as the number of particles grows",
    remarks="consistent, not unbiased: the ladder looks at the particles",
)


def temper(path: Path | None = None, ladder: Any = None) -> Transformer:
    """Lay a path of measures from the prior to the posterior through a traced program.

    `Trace >> temper() >> spawn(n) >> repeat_to_end(Advance >> PushEvidence >> resample(...) >> move(kernel)) >> Finish`
    is tempered sequential Monte Carlo: `Advance` goes to the next point of the path, `move` applies a kernel that keeps
    the measure of that point.

    Args:
        path: `prior_to_posterior()`, the default, or `data_by_data(...)`.
        ladder: increasing powers, the last of them 1, at which each block of observations stops; or `by_ess(...)`,
            the default.

    >>> temper(ladder=[0.1, 1.0])
    temper(prior_to_posterior(), 2 given powers)
    """
    path = prior_to_posterior() if path is None else path
    ladder = ladder_of(ladder)

    def apply(view: Any) -> Tempered:
        if not isinstance(view, Traced):
            raise LawfulError("temper: expected a traced program. Fix: put Trace before it, as in Trace >> temper().")
        return tempered(view, path, ladder)

    return Transformer(f"temper({path!r}, {ladder!r})", apply, ADAPTIVE if ladder.adaptive else PRESERVES)


@dataclass(frozen=True)
class PathState:
    """What the loop over the stages of a path carries: the particles, what a kernel remembers, and where they are."""

    particles: Carried
    memory: Var
    block: Var
    power: Var


@dataclass(frozen=True)
class OnPath(Point):
    """A population at a point of a path.

    Attributes:
        step: the ladder's numbers for the next stage.
        ended: whether all stages are run.
    """

    step: tuple[Var, ...] = ()
    ended: bool = False

    def advance(self, population: Population) -> Population:
        """Go to the next point of the ladder; the weights follow."""
        if not self.step:
            raise LawfulError("advance: the stages of a path are run by repeat_to_end(Advance >> ...).")
        block, plate, blocks = population.block, population.plate, self.tempered.blocks
        *state, rest, slope = population.values
        ladder, count = self.tempered.ladder, len(self.step)

        def rung(*numbers: jax.Array) -> Any:
            return ladder.rung(numbers[:count], blocks, *numbers[count:])

        now = (self.block, self.power, population.log_weight, slope)
        increase, at, power, residual, unsolved = block.det(rung, *self.step, *now, label="next power")
        log_weight = block.det(reweighted, population.log_weight, increase, slope, label="reweight", plates=(plate,))
        if blocks == 1:
            rest, slope = block.det(crossed, self.block, at, rest, slope, label="in or entering", plates=(plate,))
        else:
            rest, slope = self.parts(block, at, state[: len(self.tempered.choices)], plate)
        reached = block.det(jnp.add, at, power, label="point of the path")
        for name, number in (("beta", reached), ("ess_residual", residual), ("unsolved", unsolved)):
            population.trail.note(name, number)
        values = (*state, rest, slope)
        there = replace(self, block=at, power=power, step=(), weighed=Weighed(values, log_weight))
        return replace(population, log_weight=log_weight, weight=None, ess=None, values=values, pending=there)

    def move(self, population: Population, kernel: Any) -> Population:
        """Move the particles by a kernel that keeps the measure of the point."""
        return moved(self, population, kernel, 1)

    def parts(self, block: Block, at: Var, values: Sequence[Var], plate: Any) -> tuple[Var, Var]:
        """Append rest and slope in a block, for every element of a plate."""
        form = self.tempered.parts()
        n = len(self.inputs) + 1
        lifted = lift(form, plate, [*[False] * n, *[True] * len(values)], carried=[True] * len(form.outputs)).form
        rest, slope = block.splice(lifted, (*self.inputs, at, *values))[:2]
        return rest, slope

    def repeat(self, population: Population, step: Transformer) -> Population:
        """Do a step at every point of the ladder, as one loop of the Form."""
        block, blocks, ladder = population.block, self.tempered.blocks, self.tempered.ladder
        xs = tuple(block.constant(numbers) for numbers in ladder.steps(blocks))
        memory = block.constant(np.zeros((), self.power.dtype)) if self.memory is None else self.memory
        start = PathState(population.carried(population.values), memory, self.block, self.power)

        def stage(inner: Block, inputs: tuple[Var, ...], before: PathState, numbers: tuple[Var, ...]) -> Any:
            return self._stage(inner, population, step, inputs, before, numbers)

        def unless_at_end(inner: Block, inputs: tuple[Var, ...], before: PathState, numbers: tuple[Var, ...]) -> Any:
            return _unless_at_end(inner, stage, (inputs, before, numbers), blocks)

        write = unless_at_end if isinstance(ladder, AdaptiveLadder) else stage
        end, stats = block.scan(write, ladder.stages(blocks), self.inputs, start, xs)
        done = replace(self, block=end.block, power=end.power, ended=True, memory=end.memory)
        return population.at(end.particles, pending=done, trail=Trail(stats=[stats]), stage=population.stage + 1)

    def _stage(
        self,
        inner: Block,
        population: Population,
        step: Transformer,
        inputs: tuple[Var, ...],
        before: PathState,
        numbers: tuple[Var, ...],
    ) -> tuple[PathState, dict[str, Var]]:
        """Write one stage, from the program's inputs, a point and the ladder's numbers: the next point, and stats."""
        here = replace(self, inputs=inputs, block=before.block, power=before.power, step=numbers, memory=before.memory)
        inside = population.at(
            before.particles, block=inner, inputs=(), pending=here, trail=Trail(),
            scope=(*population.scope, "stage"), stage=0,
        )  # fmt: skip
        after = step(inside)
        there = after.pending
        if not isinstance(there, OnPath) or there.weighed is None:
            raise LawfulError(f"repeat_to_end: the step {step.name} does not advance. Fix: put Advance into it.")
        if after.weight is None:
            after = push_evidence(after)
        assert after.weight is not None and there.memory is not None
        after = replace(after, ess=after.ess or inner.det(ess, after.weight, label="effective size"))
        stats = {f"{name}{i or ''}": v for i, part in enumerate(after.trail.stats) for name, v in part.items()}
        return PathState(after.carried(after.values), there.memory, there.block, there.power), stats

    def finish(self, population: Population) -> Population:
        """Run the stages that are left, then give what the program returns, for each particle."""
        if not self.ended:
            population = self.repeat(population, Advance)
        tempered, plate = self.tempered, population.plate
        form = tempered.returned()
        values = population.values[: len(tempered.choices)]
        lifted = lift(form, plate, [*[False] * len(self.inputs), *[True] * len(values)]).form
        outputs = population.block.splice(lifted, (*self.inputs, *values))
        return replace(population, values=outputs, pending=None)


def at_start(tempered: Tempered, plate: Plate) -> Population:
    """Draw a population from the prior, at the start of the path."""
    form = tempered.start()
    lifted = lift(form, plate, [False] * len(form.inputs), carried=[True] * len(form.outputs)).form
    block, size = Block(), plate.size
    values = block.splice(lifted, lifted.inputs)
    dtype = jnp.result_type(float)
    zeros, ones = (
        block.det(lambda x=x: jnp.full(size, x, dtype), label="equal weights", adds=(plate,)) for x in (0.0, 1.0)
    )
    size_now = block.constant(np.asarray(size, dtype))
    at, power = block.constant(np.zeros((), jnp.int32)), block.constant(np.zeros((), dtype))
    pending = OnPath(tempered, lifted.inputs, at, power)
    return Population(block, lifted.inputs, plate, zeros, values, ones, size_now, pending=pending)


def reweighted(log_weight: jax.Array, increase: jax.Array, slope: jax.Array) -> jax.Array:
    """Add increase * slope to a log weight; a particle without weight stays so.

    >>> float(reweighted(jnp.array(-jnp.inf), jnp.array(0.5), jnp.array(2.0)))
    -inf
    """
    return jnp.where(log_weight == -jnp.inf, -jnp.inf, log_weight + times(increase, slope))


def crossed(before: jax.Array, after: jax.Array, rest: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Give rest and slope after the only block of a path is in."""
    whole = after > before
    return rest + jnp.where(whole, slope, 0.0), jnp.where(whole, 0.0, slope)


def _unless_at_end(
    block: Block,
    stage: Callable[..., tuple[PathState, dict[str, Var]]],
    operands: tuple[tuple[Var, ...], PathState, tuple[Var, ...]],
    blocks: int,
) -> tuple[PathState, dict[str, Var]]:
    """Skip a stage after the end of the path: the state stays, evidence gains nothing, other numbers are not there."""
    run, keep = Block(), Block()
    given, kept = like(operands), like(operands)
    made = stage(run, *given)
    stage_form = run.form(given, made)
    _, before, _ = operands
    index = block.det(lambda at: (at < blocks).astype(jnp.int32), before.block, label="at the end of the path?")
    absent = {}
    for name, out in made[1].items():
        filler = jnp.nan if jnp.issubdtype(out.dtype, jnp.floating) and name != "log_evidence_increment" else 0
        absent[name] = keep.constant(np.full(out.shape, filler, out.dtype))
    arms = keep.form(kept, (kept[1], absent)), stage_form
    outputs = block.branch(index, arms, listed(operands), stage_form.outputs, label="at the end of the path?")
    return filled(made, outputs)
