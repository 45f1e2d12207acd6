"""Transformers on populations: spawn, resample, advance, push_evidence, finish, collapse, each with its contract.

Law: every one of them keeps the unnormalised measure, and so does every composition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.block import Block, total
from lawful.errors import LawfulError
from lawful.form import Form, Loop, Plate, Var
from lawful.lift import lift

from .check.contracts import Contract
from .laws import PickLaw, ResampleLaw
from .numerics.ess import EssBelow as EssBelow
from .numerics.ess import ess_below as ess_below
from .numerics.resampling import scheme as scheme_named
from .representations.population import (
    Population,
    Trail,
    closed,
    equal_log_weight,
    gather,
    mean_weights,
    take,
)
from .representations.sequential import Sequential
from .representations.traced import Traced
from .transformer import Transformer

PRESERVES = Contract("preserves_measure", parametric=True)


def spawn(n: int) -> Transformer:
    """Run n independent copies of a program, each with weight 1/n.

    Takes a Form (run to its end), a Traced (likewise, with its choices among the values) or a Sequential (run to its
    first pause); gives a Population.
    """
    if n < 1:
        raise LawfulError(f"spawn: expected at least one particle, got {n}.", particles=n)
    return Transformer(f"spawn({n})", lambda source: _spawn(source, Plate("particle", n)), PRESERVES)


def _spawn(source: Form | Sequential | Traced, plate: Plate) -> Population:
    form = source.prefix if isinstance(source, Sequential) else source
    form = form.recorded.form if isinstance(form, Traced) else form
    lifted = lift(form, plate, [False] * len(form.inputs))
    block = Block()
    outputs = block.splice(lifted.form, lifted.form.inputs)
    count = len(form.outputs)
    weight = outputs[count] if lifted.weighted else equal_log_weight(block, plate)[0]
    pending = source if isinstance(source, Sequential) else None
    view = source if isinstance(source, Traced) else None
    return Population(block, lifted.form.inputs, plate, weight, outputs[:count], pending=pending, source=view)


def push_evidence(population: Population, nonfinite: str = "error") -> Population:
    """Bring the weights to mean one and put their mean forward as one factor."""
    block, plate, log_weight = population.block, population.plate, population.log_weight
    if nonfinite == "dead":
        log_weight, broken = block.det(nan_is_dead, log_weight, label="NaN is zero", adds=[(plate,), ()])
        _note(population, "n_nonfinite", broken)
    weight, log_weight, log_mean, ess = block.det(
        mean_weights, log_weight, label="normalise weights", adds=[(plate,), (plate,), (), ()]
    )
    block.factor(population.address("evidence"), log_mean)
    _note(population, "log_evidence_increment", log_mean)
    _note(population, "ess", ess)
    return population.next_stage(weight=weight, log_weight=log_weight, ess=ess)


def nan_is_dead(log_weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Read NaN as weight zero, and count."""
    broken = jnp.isnan(log_weight)
    return jnp.where(broken, -jnp.inf, log_weight), jnp.sum(broken, dtype=jnp.int32)


def _note(population: Population, name: str, value: Var) -> None:
    stats = population.trail.stats
    stats[name if name not in stats else f"final_{name}"] = value


def push_evidence_with(nonfinite: str = "error", *, again: bool = True) -> Transformer:
    """Push the evidence, with a policy for NaN weights; with `again=False` only where weights have changed since."""

    def apply(population: Population) -> Population:
        if population.weight is not None and population.ess is not None and not again:
            return population
        return push_evidence(population, nonfinite)

    return Transformer("push_evidence", apply, PRESERVES)


PushEvidence = Transformer("push_evidence", push_evidence, PRESERVES)


def resample(scheme: Any, when: Callable[[jax.Array, int], jax.Array] | None = None) -> Transformer:
    """Replace the particles by their offspring, with equal weights.

    Args:
        scheme: a resampling scheme with E[offspring_i] = N w_i, or the name of one that `numerics.resampling` has.
        when: a rule of (effective sample size, N); None resamples always.

    >>> resample("systematic", when=ess_below(0.5)).name
    'resample(systematic, when ess < 0.5 N)'
    """
    scheme = scheme_named(scheme) if isinstance(scheme, str) else scheme
    name = f"resample({scheme}{'' if when is None else f', when {when!r}'})"
    return Transformer(name, lambda population: _resample(population, scheme, when), PRESERVES)


def _resample(population: Population, scheme: Any, when: Callable[[jax.Array, int], jax.Array] | None) -> Population:
    if population.weight is None:
        population = push_evidence(population)
    assert population.weight is not None and population.ess is not None
    block, plate = population.block, population.plate
    moving = [population.values[i] for i in population.moving]
    if when is None:
        outs = _offspring(block, population, scheme, population.weight, population.ess, moving)
    else:
        size = plate.size
        rule = when

        def decide(ess: jax.Array) -> jax.Array:
            return rule(ess, size).astype(jnp.int32)

        index = block.det(decide, population.ess, label=f"{when!r}?")
        operands = (population.weight, population.log_weight, population.ess, *moving)
        keep, again = Block(), Block()
        kept_in = tuple(v.like() for v in operands)
        identity = keep.det(lambda: jnp.arange(size, dtype=jnp.int32), label="identity")
        kept = keep.form(kept_in, (*kept_in[:2], *kept_in[3:], identity))
        drawn_in = tuple(v.like() for v in operands)
        drawn = _offspring(again, population, scheme, drawn_in[0], drawn_in[2], drawn_in[3:])
        again_form = again.form(drawn_in, drawn)
        outs = block.branch(index, (kept, again_form), operands, kept.outputs, label="resample?")
        population.trail.stats["resampled"] = index
    weight, log_weight, *rest, ancestors = outs
    values = list(population.values)
    for position, value in zip(population.moving, rest, strict=True):
        values[position] = value
    population.trail.ancestors.append(ancestors)
    ess = population.ess if when is not None else None
    return population.next_stage(weight=weight, log_weight=log_weight, values=tuple(values), ess=ess)


def _offspring(
    block: Block, population: Population, scheme: Any, weight: Var, ess: Var, moving: Sequence[Var]
) -> tuple[Var, ...]:
    """Draw ancestors; offspring weigh one, but those of a population without weight (ess 0) are dead, too."""
    plate = population.plate
    law = ResampleLaw(scheme, plate.size, plate.size, str(weight.dtype))
    ancestors = block.site(population.address("ancestors"), law, (weight,))
    size = plate.size

    def equal(ess: jax.Array) -> tuple[jax.Array, jax.Array]:
        dead = ess == 0
        return jnp.full(size, jnp.where(dead, 0.0, 1.0)), jnp.full(size, jnp.where(dead, -jnp.inf, 0.0))

    ones, zeros = block.det(equal, ess, label="equal weights", adds=(plate,))
    return (ones, zeros, *gather(block, moving, ancestors, plate, (plate,)), ancestors)


def advance(population: Population) -> Population:
    """Run a suspended population to its next pause; a population that has ended stays."""
    pending = population.pending
    return population if pending is None or isinstance(pending, Sequential) else pending.advance(population)


Advance = Transformer("advance", advance, PRESERVES)


@dataclass(frozen=True)
class _Step:
    """The suspended loop inside its own body: one `advance` runs one step."""

    body: Form
    weighted: bool
    constants: tuple[Var, ...]
    xs: tuple[Var, ...]
    n_state_constants: int
    order: tuple[int, ...]

    def advance(self, population: Population) -> Population:
        block, plate = population.block, population.plate
        inputs = [*self.constants, *population.values, *self.xs]
        outputs = block.splice(self.body, [inputs[i] for i in self.order])
        n_carry = len(population.values) - self.n_state_constants
        carry = outputs[:n_carry]
        ys = outputs[n_carry : len(outputs) - 1 if self.weighted else len(outputs)]
        log_weight = population.log_weight
        if self.weighted:
            log_weight = total(block, (log_weight, outputs[-1]), (plate,))
        population.trail.emitted.extend(ys)
        values = (*population.values[: self.n_state_constants], *carry)
        return replace(population, values=values, log_weight=log_weight, pending=None)


def repeat_to_end(step: Transformer) -> Transformer:
    """Do a step at every pause of a suspended population, as one loop of the Form."""
    return Transformer(f"({step.name})^T", lambda population: _repeat(population, step), step.contract)


def _repeat(population: Population, step: Transformer) -> Population:
    cut = population.pending
    if not isinstance(cut, Sequential) or cut.loop is None:
        return replace(population, pending=_Ended(cut, {}, (), None))
    if population.weight is None:
        population = push_evidence(population)
    assert population.weight is not None and population.ess is not None
    block, plate, loop = population.block, population.plate, cut.loop
    now = dict(zip(cut.live, population.values, strict=True))
    constants, init, xs = ([now[v] for v in group] for group in (loop.constants, loop.init, loop.xs))
    lifted = _lift_body(loop, plate, constants, init, xs)
    n_carry, n_out = len(init), len(loop.body.outputs)
    body_in = lifted.form.inputs
    moving_constants = [i for i, v in enumerate(constants) if plate in v.plates]
    shared_constants = [i for i, v in enumerate(constants) if plate not in v.plates]
    moving_xs = [i for i, v in enumerate(xs) if plate in v.plates]
    if moving_xs:
        raise LawfulError(
            "smc: the loop scans over values drawn before it, one array per particle. Fix: draw them inside the body."
        )
    # ---- the body of the new loop
    inner = Block()
    c_in = tuple(body_in[i].like() for i in shared_constants)
    k_in = tuple(body_in[i].like() for i in moving_constants)
    s_in = tuple(v.like() for v in body_in[len(constants) : len(constants) + n_carry])
    x_in = tuple(v.like() for v in body_in[len(constants) + n_carry :])
    order = _order(shared_constants, moving_constants, len(constants), n_carry, len(x_in))
    suspended = _Step(lifted.form, lifted.weighted, c_in, x_in, len(k_in), order)
    w_in, l_in, e_in = population.weight.like(), population.log_weight.like(), population.ess.like()
    inside = Population(
        inner, (), plate, l_in, (*k_in, *s_in), w_in, e_in, pending=suspended, scope=(*population.scope, "step")
    )
    after = step(inside)
    if after.weight is None or after.ess is None:
        after = push_evidence(after)
    assert after.weight is not None and after.ess is not None
    ancestors = _one_ancestry(inner, after.trail.ancestors, plate)
    stats = after.trail.stats
    outputs = (
        *after.values,
        after.log_weight,
        after.weight,
        after.ess,
        ancestors,
        *stats.values(),
        *after.trail.emitted,
    )
    body = inner.form((*c_in, *k_in, *s_in, l_in, w_in, e_in, *x_in), outputs)
    # ---- the loop itself
    start = (*(constants[i] for i in moving_constants), *init, population.log_weight, population.weight, population.ess)
    carry, ys = block.loop(body, loop.length, [constants[i] for i in shared_constants], start, xs, loop.reverse)
    state = carry[len(k_in) : len(k_in) + n_carry]
    log_weight, weight, ess = carry[-3:]
    trail = Trail(stats={f"initial_{name}": v for name, v in population.trail.stats.items()})
    trail.stats |= dict(zip(stats, ys[1:], strict=False))
    emitted = ys[1 + len(stats) :]
    ended = _Ended(cut, {**now}, (*state, *emitted), ys[0])
    ended = replace(
        ended, moved=dict(zip([loop.constants[i] for i in moving_constants], carry[: len(k_in)], strict=True))
    )
    assert len(emitted) == n_out - n_carry
    return replace(
        population, log_weight=log_weight, weight=weight, ess=ess, values=(), pending=ended, trail=trail,
        stage=population.stage + 1,
    )  # fmt: skip


def _lift_body(loop: Loop, plate: Plate, constants: Sequence[Var], init: Sequence[Var], xs: Sequence[Var]) -> Any:
    """Lift the body until the set of carries that vary with the particle no longer grows."""
    carried = [plate in v.plates for v in init]
    while True:
        plated = [*(plate in v.plates for v in constants), *carried, *(plate in v.plates for v in xs)]
        must = [*carried, *[False] * (len(loop.body.outputs) - len(carried))]
        lifted = lift(loop.body, plate, plated, carried=must)
        grown = [c or plate in v.plates for c, v in zip(carried, lifted.form.outputs, strict=False)]
        if grown == carried:
            return lifted
        carried = grown


def _order(shared: Sequence[int], moving: Sequence[int], n_const: int, n_carry: int, n_xs: int) -> tuple[int, ...]:
    """Where each input of the body stands among (shared constants, moving constants, carry, xs)."""
    position = {index: place for place, index in enumerate([*shared, *moving])}
    rest = range(n_const, n_const + n_carry + n_xs)
    return (*(position[i] for i in range(n_const)), *rest)


def _one_ancestry(block: Block, ancestors: Sequence[Var], plate: Plate) -> Var:
    """Compose the ancestors of one step, the first resampling first."""
    if not ancestors:
        size = plate.size
        return block.det(lambda: jnp.arange(size, dtype=jnp.int32), label="identity")
    index = ancestors[0]
    for later in ancestors[1:]:
        index = block.det(take, index, later, label="compose ancestors")
    return index


@dataclass(frozen=True)
class _Ended:
    """The loop is over: what is left is the suffix, and the lineages that tell whose history is whose."""

    cut: Sequential | None
    now: dict[Var, Var]
    loop_outs: tuple[Var, ...]
    ancestors: Var | None
    moved: dict[Var, Var] | None = None


def finish(population: Population) -> Population:
    """Run the rest of the program, each particle with its own history."""
    pending = population.pending
    if isinstance(pending, Sequential):
        pending = _Ended(pending, dict(zip(pending.live, population.values, strict=True)), (), None)
        if pending.cut is not None and pending.cut.loop is not None:
            return finish(repeat_to_end(Advance)(population))
    if pending is None or pending.cut is None:
        return replace(population, pending=None)
    block, plate, cut = population.block, population.plate, pending.cut
    now = dict(pending.now) or dict(zip(cut.live, population.values, strict=True))
    if cut.loop is not None and pending.ancestors is not None:
        now = _with_histories(block, plate, cut.loop, pending, now)
    reads = [now[v] for v in cut.suffix_reads]
    lifted = lift(cut.suffix, plate, [plate in v.plates for v in reads])
    outputs = block.splice(lifted.form, reads)
    log_weight, weight, ess = population.log_weight, population.weight, population.ess
    if lifted.weighted:
        log_weight, weight, ess = total(block, (log_weight, outputs[-1]), (plate,)), None, None
    values = outputs[: len(cut.suffix.outputs)]
    return replace(population, log_weight=log_weight, weight=weight, ess=ess, values=values, pending=None)


Finish = Transformer("finish", finish, PRESERVES)


def _with_histories(block: Block, plate: Plate, loop: Loop, ended: _Ended, now: dict[Var, Var]) -> dict[Var, Var]:
    """Follow the ancestors backwards once: per-step values by lineage, values from before the loop by root."""
    n_carry = len(loop.init)
    state, emitted = ended.loop_outs[:n_carry], ended.loop_outs[n_carry:]
    inner = Block()
    moving = [i for i, y in enumerate(emitted) if plate in y.plates]
    assert ended.ancestors is not None
    index_in = Var((plate.size,), ended.ancestors.dtype)
    ancestors_in = Var((plate.size,), ended.ancestors.dtype)
    y_in = tuple(Var(emitted[i].shape[1:], emitted[i].dtype, emitted[i].plates) for i in moving)
    picked = gather(inner, y_in, index_in, plate, (plate,))
    before = inner.det(take, ancestors_in, index_in, label="parents")
    body = inner.form((index_in, ancestors_in, *y_in), (before, *picked))
    size = plate.size
    start = block.det(lambda: jnp.arange(size, dtype=jnp.int32), label="identity")
    (root,), ys = block.loop(
        body, loop.length, (), (start,), (ended.ancestors, *(emitted[i] for i in moving)), not loop.reverse
    )
    now = {v: gather(block, (x,), root, plate, (plate,))[0] for v, x in now.items()}
    now |= ended.moved or {}
    now |= dict(zip(loop.carry_out, state, strict=True))
    now |= dict(zip(loop.ys, emitted, strict=True))
    now |= {loop.ys[i]: y for i, y in zip(moving, ys, strict=True)}
    return now


def collapse(population: Population) -> Form:
    """Pick one particle with probability proportional to its weight: a Form whose weight is the evidence estimate."""
    if population.pending is not None:
        population = finish(population)
    if population.weight is None:
        population = push_evidence(population)
    assert population.weight is not None
    block, plate = population.block, population.plate
    pick = block.site(
        population.address("pick"), PickLaw(plate.size, str(population.weight.dtype)), (population.weight,)
    )
    outputs = gather(block, population.values, pick, plate, ())
    return closed(population, outputs)


Collapse = Transformer("collapse", collapse, PRESERVES)
