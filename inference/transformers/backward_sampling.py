"""Backward sampling: a path drawn from the last step of a particle filter to the first, by the density of each step.

Law: given the particles of all steps and the path after a step, the path's ancestor has probability proportional to the
weight of each particle times the density of the path's next step from there, where the step resampled; where it did
not, the ancestor is the particle itself.

Reference: Whiteley (2010), discussion of Particle Markov chain Monte Carlo methods; Lindsten and Schön (2013), Backward
simulation methods for Monte Carlo statistical inference, algorithm 8.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.passes.condition import conditioned

from ..laws.picks import PickLaw
from ..representations.conditional import ahead
from ..representations.population import Population, gather
from ..representations.suspended import History, Suspended, fetch
from .conditional_smc import aimed
from .pauses import finish


def backward(population: Population) -> tuple[Block, tuple[Var, ...]]:
    """Pick a particle of the last step by weight, and walk back.

    Args: population: at its last pause, after steps that remembered weights and values.

    Returns: the nodes, and the outputs of the program on the path.
    """
    before = population.pending
    assert isinstance(before, Suspended) and before.at_the_end
    stats = population.trail.stats[-1]
    (history,) = (entry for entry in population.trail.ancestors if isinstance(entry, History))
    early = {v: x for left in before.shed if not left.depth for v, x in left.values.items()}
    population = finish(population)
    block, plate = population.block, population.plate
    assert population.weight is not None
    pick = block.site(population.address("pick"), PickLaw(plate.size), (population.weight,))
    outputs = gather(block, population.values, pick, plate, ())
    body, moving = _step_back(population, history, stats)
    loop = history.loop
    n_const = len(loop.constants)
    values = [stats[f"~value{i}"] for i in range(len(loop.init))]
    flags = [stats["resampled"]] if "resampled" in stats else []
    xs = (*history.reads[n_const:], stats["~weight"], *values, *(history.emitted[i] for i in moving), *flags)
    (root,), rows = block.loop(body, loop.length, history.reads[:n_const], (pick,), xs, not loop.reverse)
    found = dict(zip((loop.ys[i] for i in moving), rows, strict=True))
    at_root = {v: gather(block, (x,), root, plate, ())[0] for v, x in fetch(block, plate, early, None).items()}
    found = at_root | found
    return block, tuple(found.get(v, x) for v, x in zip(before.cut.form.outputs, outputs, strict=True))


def _step_back(population: Population, history: History, stats: dict[str, Var]) -> tuple[Form, list[int]]:
    """Write one step back: from the particle of the path after a step to its ancestor before it, and what it chose."""
    loop, plate, block = history.loop, population.plate, Block()
    n_const, n_carry = len(loop.constants), len(loop.init)
    choices = choices_of(loop.body)
    moving = [i for i, y in enumerate(history.emitted) if plate in y.plates]
    fixed = len(loop.ys) - len(choices)  # the choices of a step are the last that it gives out
    constants = tuple(v.like() for v in history.reads[:n_const])
    index = Var((), jnp.dtype("int32"))
    x_in = tuple(_row(v) for v in history.reads[n_const:])
    weight = _row(stats["~weight"])
    values = tuple(_row(stats[f"~value{i}"]) for i in range(n_carry))
    emitted = {i: _row(history.emitted[i]) for i in moving}
    chosen = {i: gather(block, (v,), index, plate, ())[0] for i, v in emitted.items()}
    given = conditioned(loop.body, {c.address for c in choices})
    path = [chosen[fixed + i] for i in range(len(choices))]
    density = ahead(block, given.form, plate, [*constants, *values, *x_in, *path])
    chances = block.det(_chances, weight, density, label="weight x next step", adds=(plate,))
    ancestor = block.site((*population.scope, "ancestor"), PickLaw(plate.size), (chances,))
    flags: tuple[Var, ...] = ()
    if "resampled" in stats:
        flags = (_row(stats["resampled"]),)
        ancestor = block.det(jnp.where, *flags, ancestor, index, label="resampled?")
    inputs = (*constants, index, *x_in, weight, *values, *emitted.values(), *flags)
    return block.form(inputs, (ancestor, *chosen.values())), moving


def _row(value: Var) -> Var:
    """Make a value of one step of a stack."""
    return Var(value.shape[1:], value.dtype, value.plates)


def _chances(log_weight: jax.Array, density: jax.Array) -> jax.Array:
    top = jnp.max(log_weight)
    return aimed(jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0.0)), density)
