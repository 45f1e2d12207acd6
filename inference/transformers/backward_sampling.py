"""Backward sampling: a path drawn from the last step of a particle filter to the first, by the density of each step.

Law: given the particles of all steps and the path after a step, the path's ancestor has probability proportional to the
weight of each particle times the density of the path's next step from there, where the step resampled; where it did
not, the ancestor is the particle itself.

Reference: Whiteley (2010), discussion of Particle Markov chain Monte Carlo methods; Lindsten and Schön (2013), Backward
simulation methods for Monte Carlo statistical inference, algorithm 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lawful.form import Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.passes.condition import conditioned

from ..laws.picks import PickLaw
from ..representations.conditional import ahead
from ..representations.population import History, Population, Suspended, fetch, gather
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
    loop, own = history.loop, history.outputs
    moving = {y: v for y, v in own.items() if plate in v.plates}
    choices = choices_of(loop.body)
    chosen = loop.ys[len(loop.ys) - len(choices) :]  # the choices of a step are the last that it gives out
    values = tuple(stats[f"~value{i}"] for i in range(len(loop.init)))
    rows = _Row(history.xs, stats["~weight"], values, moving, stats.get("resampled"))

    def back(step: Block, constants: tuple[Var, ...], index: Var, row: _Row) -> tuple[Var, dict[Var, Var]]:
        """Go from the particle of the path after a step to its ancestor before it, and give what it chose."""
        picked = fetch(step, plate, row.given, index)
        given = conditioned(loop.body, {c.address for c in choices}).form
        density = ahead(step, given, plate, [*constants, *row.values, *row.xs, *(picked[y] for y in chosen)])
        chances = step.det(_chances, row.weight, density, label="weight x next step", adds=(plate,))
        ancestor = step.site((*population.scope, "ancestor"), PickLaw(plate.size), (chances,))
        if row.resampled is not None:
            ancestor = step.det(jnp.where, row.resampled, ancestor, index, label="resampled?")
        return ancestor, picked

    root, found = block.scan(back, loop.length, history.constants, pick, rows, reverse=not loop.reverse)
    at_root = {v: gather(block, (x,), root, plate, ())[0] for v, x in fetch(block, plate, early, None).items()}
    found = at_root | found
    return block, tuple(found.get(v, x) for v, x in zip(before.cut.form.outputs, outputs, strict=True))


@dataclass(frozen=True)
class _Row:
    """What one step back reads.

    Attributes:
        xs: what the program's step read.
        weight: the log weights before the step resampled.
        values: the state of each particle before the step.
        given: what each particle gave out in the step.
        resampled: whether the step resampled; None where every step does.
    """

    xs: tuple[Var, ...]
    weight: Var
    values: tuple[Var, ...]
    given: dict[Var, Var]
    resampled: Var | None


def _chances(log_weight: jax.Array, density: jax.Array) -> jax.Array:
    top = jnp.max(log_weight)
    return aimed(jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0.0)), density)
