"""Temper: take a population along a path of measures, from the prior of a program to the program itself.

Law: [[temper(p)]] = [[p]]. A stage goes on by an increase of the power: particles at log density rest + power * slope
gain the weight increase * slope, so the weighted population has the next measure; resampling and moves that keep that
measure follow. This is exact for a given ladder and a given kernel, for any number of particles. A ladder or a scale
that looks at the particles leaves the estimates consistent as their number grows, no longer unbiased (Beskos, Jasra,
Kantas and Thiery 2016, On the convergence of adaptive sequential Monte Carlo methods).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.passes.add_plate import lift

from ..contract import PRESERVES, Contract, Transformer
from ..laws.resampling import ess
from ..representations.annealing_paths import Path, prior_to_posterior
from ..representations.population import Population, Trail
from ..representations.suspended import Advance
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
        assert population.weight is not None and population.ess is not None
        xs = [block.constant(numbers) for numbers in ladder.steps(blocks)]
        memory = block.constant(np.zeros((), self.power.dtype)) if self.memory is None else self.memory
        scalars = (population.weight, population.ess, memory, self.block, self.power)
        state = (*population.values, population.log_weight, *scalars)
        shared = tuple(v.like() for v in self.inputs)
        before = tuple(v.like() for v in state)
        numbers = tuple(Var(x.shape[1:], x.dtype) for x in xs)
        stage, names = self._stage(population, step, shared, before, numbers)
        if isinstance(ladder, AdaptiveLadder):
            stage = _unless_at_end(stage, len(state), names, len(shared), blocks)
        carry, ys = block.loop(stage, ladder.stages(blocks), self.inputs, state, xs)
        *values, log_weight, weight, size, memory, at, power = carry
        done = replace(self, block=at, power=power, ended=True, memory=memory)
        return replace(
            population, values=tuple(values), log_weight=log_weight, weight=weight, ess=size, pending=done,
            trail=Trail(stats=[dict(zip(names, ys, strict=True))]), stage=population.stage + 1,
        )  # fmt: skip

    def _stage(
        self,
        population: Population,
        step: Transformer,
        shared: tuple[Var, ...],
        before: tuple[Var, ...],
        numbers: tuple[Var, ...],
    ) -> tuple[Form, tuple[str, ...]]:
        """Write one stage: inputs are (the program's, the state, the ladder's numbers), outputs (the state, stats)."""
        inner = Block()
        *values, log_weight, weight, size, memory, at, power = before
        inside = replace(
            population, block=inner, inputs=(), values=tuple(values), log_weight=log_weight, weight=weight, ess=size,
            pending=replace(self, inputs=shared, block=at, power=power, step=numbers, memory=memory), trail=Trail(),
            scope=(*population.scope, "stage"), stage=0,
        )  # fmt: skip
        after = step(inside)
        if not isinstance(after.pending, OnPath) or after.pending.weighed is None:
            raise LawfulError(f"repeat_to_end: the step {step.name} does not advance. Fix: put Advance into it.")
        if after.weight is None:
            after = push_evidence(after)
        assert after.weight is not None
        size = after.ess or inner.det(ess, after.weight, label="effective size")
        stats = {f"{name}{i or ''}": v for i, part in enumerate(after.trail.stats) for name, v in part.items()}
        there = after.pending
        assert there.memory is not None
        state = (*after.values, after.log_weight, after.weight, size, there.memory, there.block, there.power)
        return inner.form((*shared, *before, *numbers), (*state, *stats.values())), tuple(stats)

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


def _unless_at_end(stage: Form, n_state: int, names: Sequence[str], n_shared: int, blocks: int) -> Form:
    """Skip a stage after the end of the path: the state stays, evidence gains nothing, other numbers are not there."""
    block, keep = Block(), Block()
    inputs = tuple(v.like() for v in stage.inputs)
    kept = tuple(v.like() for v in stage.inputs)
    at = inputs[n_shared + n_state - 2]
    index = block.det(lambda at: (at < blocks).astype(jnp.int32), at, label="at the end of the path?")
    absent = []
    for name, out in zip(names, stage.outputs[n_state:], strict=True):
        filler = jnp.nan if jnp.issubdtype(out.dtype, jnp.floating) and name != "log_evidence_increment" else 0
        absent.append(keep.constant(np.full(out.shape, filler, out.dtype)))
    arm = keep.form(kept, (*kept[n_shared : n_shared + n_state], *absent))
    outputs = block.branch(index, (arm, stage), inputs, stage.outputs, label="at the end of the path?")
    return block.form(inputs, outputs)
