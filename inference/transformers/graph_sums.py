"""Graph sums: finite sites are summed out of a program through their factor graph.

Law: one factor, the log of the total mass of the sites' graph given all else, takes the place of their densities and of
the terms that read them; terms free of them stay. Where an output reads the sites they are drawn back from their exact
conditional. So HMC, random walks and particles run on what is left, and the gradient of the factor is that of the
elimination. Where it is allowed belief propagation stands for a sum that is over budget; that is a bound on nothing,
and never passes as exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.errors import ApproximateInExact, UnsupportedProgramError
from lawful.form import Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.markov_blanket import all_terms
from lawful.form.rewriting import unnamed
from lawful.passes.condition import conditioned
from lawful.passes.record import record

from ..graphs.blocks import chosen_blocks, plan_of_block
from ..graphs.inference import log_mass
from ..graphs.model.graph import graph_of
from ..graphs.planning import Plan, planned, shown_bytes, solved
from ..graphs.reading.discrete_part import DiscretePart, discrete_part
from ..graphs.reading.lifted import TABLE
from ..summing.tables import PREFIX


@dataclass(frozen=True)
class GraphSums:
    """How sites are summed through a graph: see `marginalise`.

    Attributes:
        loopy: whether belief propagation is asked for.
        approximate: whether it may stand for a sum.
        budget: largest number of entries of a table of the elimination.
        max_table: largest number of entries of a factor's table; None for the usual one.
        settings: of belief propagation.
    """

    loopy: bool
    approximate: bool
    budget: int
    max_table: int | None
    settings: tuple[tuple[str, Any], ...]

    def summed(self, form: Form, addresses: Sequence[Address]) -> Form:
        """Sum sites out of a form.

        Raises: UnsupportedProgramError, ApproximateInExact, PathLimitError as `marginalise`.
        """
        part = discrete_part(form, addresses, TABLE if self.max_table is None else self.max_table)
        _refuse_readers(part)
        total = _planned(part, self)
        block, inputs = Block(), tuple(v.like() for v in form.inputs)
        base = unnamed(conditioned(form, addresses, all_terms(form) - part.reach.terms).form)
        recorded = record(base, ("sample",))
        anything = [
            block.constant(np.full(c.full_shape, s[0])) for c, s in zip(part.choices, part.supports, strict=True)
        ]
        outs = recorded.spliced(block, (*inputs, *anything))
        value = dict(zip((c.address for c in recorded.choices), outs.values, strict=True))
        leaves = block.det(part.potentials, *inputs, *(value[c.address] for c in part.held), label="potentials")
        name = "~".join(c.name for c in part.choices)
        block.factor((PREFIX, "log mass", name), block.det(total, *leaves, label="log mass"))
        law = part.law(self.budget)
        states = Var(law.shape, law.dtype)
        block.nodes.append(Site((PREFIX, "states", name), law, tuple(leaves), states, droppable=True))
        value |= zip(addresses, block.det(part.values, states, label="values"), strict=True)
        given = conditioned(form, [c.address for c in choices_of(form)], ()).form
        outputs = block.splice(given, (*inputs, *(value[c.address] for c in choices_of(form))))
        whole = block.form(inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
        found = without_dead_code(whole, keep_sites=True)
        if total.plan.method == "loopy" and any(states in node.outs for node in found.nodes):
            names = ", ".join(c.name for c in part.choices)
            raise UnsupportedProgramError(
                f"marginalise: an output reads {names}, which belief propagation has summed approximately, so that it "
                "cannot be drawn back exactly. Fix: return what does not read it, or raise width_budget=.",
                sites=tuple(addresses),
            )
        return found


def _refuse_readers(part: DiscretePart) -> None:
    """Refuse sites that stay where their law reads a summed site: without it they have no law."""
    for choice in part.held:
        if choice.address in part.reach.terms | part.reach.switched:
            raise UnsupportedProgramError(
                f"marginalise: the law of site '{choice.name}' ({choice.source}), which stays, reads "
                f"{', '.join(c.name for c in part.choices)}. Fix: sum '{choice.name}', too, if it is finite; or use "
                "method='program', which gives it the mixture of its laws; or leave out what it reads.",
                site=choice.address,
            )


@dataclass(frozen=True, eq=False)
class _Total:
    """The log of the total mass, as a graph is planned to be solved."""

    plan: Plan
    tree: Any
    settings: tuple[tuple[str, Any], ...]

    def __call__(self, *leaves: jax.Array) -> jax.Array:
        potentials = jax.tree.unflatten(self.tree, leaves)
        if self.plan.method == "exact":
            return jnp.asarray(log_mass(self.plan, potentials, compiled=True), jnp.result_type(float))
        graph = graph_of(self.plan.structure, potentials)
        return jnp.asarray(solved(self.plan, graph, **dict(self.settings)).log_z, jnp.result_type(float))


def _planned(part: DiscretePart, how: GraphSums) -> _Total:
    """Plan how the total mass is computed, and refuse what was not allowed."""
    settings = dict(how.settings)
    schedule = settings.pop("schedule", "flooding")
    plan = planned(part.structure, "loopy" if how.loopy else "auto", how.budget, schedule=schedule)
    if plan.method == "exact" or how.approximate:
        return _Total(plan, part.tree, tuple(settings.items()))
    who = f"marginalise: {', '.join(c.name for c in part.choices)}"
    exact = planned(part.structure, "exact", how.budget)
    largest = exact.largest
    cost = f"a table of {largest} entries, {shown_bytes(8 * largest)}"
    if exact.refusal is None:
        why, fix = "belief propagation is no exact sum", f"method='graph', which takes {cost}"
    else:
        why = f"an exact sum needs a table over the budget of {how.budget} entries"
        blocks = chosen_blocks(part.structure, part.determined, how.budget)
        widest = max(plan_of_block(part.structure, block, how.budget).largest for block in blocks)
        fix = f"width_budget={largest}, which takes {cost}; or kernels.block_gibbs(), which draws them exactly in "
        fix += f"{len(blocks)} blocks, the largest table {widest}"
    fix += ". To take belief propagation in its place, and lose exactness, say approximate=True."
    addresses = tuple(c.address for c in part.choices)
    raise ApproximateInExact(f"{who}: {why}. Fix: {fix}", sites=addresses, largest=largest, budget=how.budget)
