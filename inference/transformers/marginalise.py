"""Marginalise: a transformer that sums finite sites out of a program through their factor graph.

Law: [[marginalise(p)]] = [[p]]: one factor, the log of the total mass of the sites' graph given all else, takes the
place of their densities and of the terms that read them; terms free of them stay. Where an output reads the sites they
are drawn back from their exact conditional. So HMC, random walks and particles run on what is left, and the gradient of
the factor is that of the elimination. With `approximate=True` belief propagation stands for a sum that is over budget;
that is a bound on nothing, and never passes as exact.

`enumerate_sites` sums plate by plate and step by step, as the program is written, so that particles are weighed at each
step of a loop; `marginalise` takes any graph, by an order of elimination under a budget, as one factor at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import ApproximateInExact, LawfulError, UnsupportedProgramError, WidthError
from lawful.form import Form, Site, Var
from lawful.form.arguments.calls import refuse_unknown
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.markov_blanket import all_terms
from lawful.form.rewriting import unnamed
from lawful.passes.condition import conditioned
from lawful.passes.record import record

from ..contract import PRESERVES, Contract, Transformer
from ..graphs.exact.blocks import chosen_blocks, largest_of, largest_table
from ..graphs.exact.plans import BUDGET, shown_bytes
from ..graphs.inference import METHODS, log_mass
from ..graphs.loopy.propagation import propagated
from ..graphs.model.graph import graph_of
from ..graphs.model.structure import Structure
from ..graphs.reading.discrete_part import DiscretePart, discrete_part
from ..graphs.reading.lifted import TABLE
from ..representations.standard_normals import without_names
from ..summing.enumerate_sites import Sites, chosen_sites, shown_sites
from ..summing.summed_form import refuse_plates
from ..summing.tables import PREFIX

APPROXIMATE = Contract("bound", target="log Z", remarks="log Z of belief propagation where an exact sum is over budget")


def marginalise(
    sites: Sites = "discrete",
    *,
    method: str = "auto",
    approximate: bool = False,
    width_budget: int = BUDGET,
    max_table: int = TABLE,
    **loopy: Any,
) -> Transformer:
    """Sum finite sites out of a program, whatever graph they make.

    Args:
        sites: "discrete" for all finite sites, names, or a rule that takes a choice and says whether it is summed.
        method: "exact", or "loopy" for belief propagation; "auto" is exact where the largest table fits the budget.
        approximate: whether belief propagation may stand for the sum; then sites cannot be drawn back.
        width_budget: largest number of entries of a table of the elimination.
        max_table: largest number of entries of a factor's table.
        loopy: settings of `graphs.propagated`. A warm start is refused: the value would depend on the past of
            a chain, so that the target were no function of its state.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs; also for
        `mcmc(enumerate=...)`, `smc(enumerate=...)` and `importance(enumerate=...)`, whose results then hold draws of
        the summed sites.

    Raises:
        LawfulError: a name is no finite site, or a setting is not known.
        UnsupportedProgramError: the law of a site that stays reads a summed site, or an output reads sites that are
            summed approximately.
        ApproximateInExact: an exact sum is over budget, and no approximation was allowed; says what it would take.
        WidthError: the same, where method="exact" was asked for.
        PathLimitError: a term reads too many sites at once.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("i", 3):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...         lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    ...     lawful.factor("ring", jnp.sum(jnp.where(z == jnp.roll(z, 1), 0.5, 0.0)))
    >>> form = marginalise()(lawful.trace(model, jnp.zeros(3)))
    >>> [site.address for site in form.sites()]
    [('mu',)]
    """
    if method not in METHODS:
        raise LawfulError(f"marginalise: method: expected one of {', '.join(METHODS)}, got {method!r}.")
    refuse_unknown("marginalise", loopy, marginalise, propagated)
    if "init" in loopy:
        raise LawfulError(
            "marginalise: init: messages of an earlier run would make the factor depend on the past of a chain, and no "
            "kernel would keep a target. Fix: leave it out; all runs begin with the same messages."
        )
    settings = _Settings(method, approximate, width_budget, tuple(sorted(loopy.items())))
    wanted = None if sites == "discrete" else sites
    contract = APPROXIMATE if approximate or method == "loopy" else PRESERVES
    shown = f"marginalise({shown_sites(wanted)}{', approximate' * (not contract.exact)})"
    return Transformer(shown, lambda form: _apply(form, wanted, settings, max_table), contract)


@dataclass(frozen=True)
class _Settings:
    method: str
    approximate: bool
    budget: int
    loopy: tuple[tuple[str, Any], ...]


def _apply(form: Form, sites: Sites, settings: _Settings, max_table: int) -> Form:
    refuse_plates(form)
    summed = chosen_sites(form, sites, "marginalise")
    if not summed:
        return form
    addresses = [c.address for c in summed]
    form = without_names(form, addresses)
    part = discrete_part(form, addresses, max_table)
    _refuse_readers(part)
    total = _total(part, settings)
    block, inputs = Block(), tuple(v.like() for v in form.inputs)
    base = unnamed(conditioned(form, addresses, all_terms(form) - part.reach.terms).form)
    recorded = record(base, ("sample",))
    anything = [block.constant(np.full(c.full_shape, s[0])) for c, s in zip(part.choices, part.supports, strict=True)]
    outs = recorded.spliced(block, (*inputs, *anything))
    value = dict(zip((c.address for c in recorded.choices), outs.values, strict=True))
    leaves = block.det(part.potentials, *inputs, *(value[c.address] for c in part.held), label="potentials")
    name = "~".join(c.name for c in part.choices)
    block.factor((PREFIX, "log mass", name), block.det(total, *leaves, label="log mass"))
    law = part.law()
    states = Var(law.shape, law.dtype)
    block.nodes.append(Site((PREFIX, "states", name), law, tuple(leaves), states, droppable=True))
    value |= zip(addresses, block.det(part.values, states, label="values"), strict=True)
    given = conditioned(form, [c.address for c in choices_of(form)], ()).form
    outputs = block.splice(given, (*inputs, *(value[c.address] for c in choices_of(form))))
    whole = block.form(inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
    found = without_dead_code(whole, keep_sites=True)
    if isinstance(total, _Loopy) and any(states in node.outs for node in found.nodes):
        raise UnsupportedProgramError(
            f"marginalise: an output reads {', '.join(c.name for c in summed)}, which belief propagation has summed "
            "approximately, so that it cannot be drawn back exactly. Fix: return what does not read it, or raise "
            "width_budget=.",
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
                "enumerate_sites, which gives it the mixture of its laws; or leave out what it reads.",
                site=choice.address,
            )


@dataclass(frozen=True, eq=False)
class _Exact:
    structure: Structure
    tree: Any

    def __call__(self, *leaves: jax.Array) -> jax.Array:
        found = log_mass(self.structure, jax.tree.unflatten(self.tree, leaves), compiled=True)
        return jnp.asarray(found, jnp.result_type(float))


@dataclass(frozen=True, eq=False)
class _Loopy:
    structure: Structure
    tree: Any
    settings: tuple[tuple[str, Any], ...]

    def __call__(self, *leaves: jax.Array) -> jax.Array:
        graph = graph_of(self.structure, jax.tree.unflatten(self.tree, leaves))
        return jnp.asarray(propagated(graph, **dict(self.settings)).log_z, jnp.result_type(float))


def _total(part: DiscretePart, settings: _Settings) -> Callable[..., jax.Array]:
    """Choose how the total mass is computed."""
    largest = largest_of(part.structure)
    fits = largest <= settings.budget
    if fits and settings.method != "loopy":
        return _Exact(part.structure, part.tree)
    if settings.approximate and settings.method in ("auto", "loopy"):
        return _Loopy(part.structure, part.tree, settings.loopy)
    who = f"marginalise: {', '.join(c.name for c in part.choices)}"
    cost = f"a table of {largest} entries, {shown_bytes(8 * largest)}"
    if fits:
        why, fix = "belief propagation is no exact sum", f"method='exact', which takes {cost}"
    else:
        why = f"an exact sum needs a table over the budget of {settings.budget} entries"
        blocks = chosen_blocks(part.structure, part.determined, settings.budget)
        widest = max(largest_table(part.structure, block) for block in blocks)
        fix = f"width_budget={largest}, which takes {cost}; or kernels.block_gibbs(), which draws them exactly in "
        fix += f"{len(blocks)} blocks, the largest table {widest}"
    told = f"{who}: {why}. Fix: {fix}."
    sizes = {"largest": largest, "budget": settings.budget}
    if settings.method not in ("auto", "loopy"):
        raise WidthError(told, **sizes)
    told += " To take belief propagation in its place, and lose exactness, say approximate=True."
    raise ApproximateInExact(told, sites=tuple(c.address for c in part.choices), **sizes)
