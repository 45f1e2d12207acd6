"""Marginalise: the transformer that sums finite sites out of a program, exactly.

Law: [[marginalise(p)]] = [[p]]: the sites become factors, the logs of the sums over their values, and are drawn back
from their exact conditional where an output reads them. So any inference that runs on the result is the inference on
the marginal, and its results still hold the sites.

Sums are written inside the program where that is possible, plate by plate and step by step, so that particles are
weighed at each step of a loop (`lawful.inference.summing`); where elements meet they go through the sites' factor
graph, whatever graph it is, as one factor at the end (`graph_sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lawful.addresses import Address
from lawful.errors import ApproximateInExact, LawfulError, PathLimitError, UnsupportedProgramError, refuse_unknown
from lawful.form import Form
from lawful.form.choices import Choice

from ..contract import PRESERVES, Contract, Transformer
from ..graphs.loopy.propagation import propagated
from ..graphs.planning import BUDGET
from ..representations.standard_normals import without_names
from ..summing.chosen_sites import Sites, checked_sites, chosen_sites, shown_sites
from ..summing.summed_form import refuse_plates, summed_form
from .graph_sums import GraphSums

APPROXIMATE = Contract("bound", target="log Z", remarks="log Z of belief propagation where an exact sum is over budget")
METHODS = ("auto", "program", "graph", "loopy")
FEW = 1 << 10  # values that elements which meet have together, below which no graph is asked for
REFUSED = (PathLimitError, UnsupportedProgramError)


@dataclass(frozen=True, eq=False)
class Marginal:
    """What `marginalise` does to a form.

    Attributes:
        sites: what is asked for.
        method: which way it is summed.
        graph: how it is done through a graph.
        by_step: whether each step of a loop has the log density of its data, given those before, as its factors.
    """

    sites: Sites
    method: str
    graph: GraphSums
    by_step: bool = False

    def chosen(self, form: Form) -> tuple[Choice, ...]:
        """Find the sites."""
        return chosen_sites(form, self.sites, "marginalise")

    def __call__(self, form: Form) -> Form:
        """Sum them."""
        refuse_plates(form)
        addresses = [c.address for c in self.chosen(form)]
        if not addresses:
            return form
        form = without_names(form, addresses)
        if self.by_step:
            return summed_form(form, addresses, self.graph.max_table, by_step=True)
        if self.method == "auto":
            return _either_way(form, addresses, self.graph)
        if self.method == "program":
            return _in_program(form, addresses, self.graph.max_table)
        return self.graph.summed(form, addresses)


def marginalise(
    sites: Sites = "all",
    *,
    method: str = "auto",
    approximate: bool = False,
    width_budget: int = BUDGET,
    max_table: int | None = None,
    **loopy: Any,
) -> Transformer:
    """Sum finite sites out of a program.

    Sites of an array whose elements are read apart from each other are summed element by element (K N work); a chain in
    a scan is summed by the forward recursion; other sites by eliminating one after the other. Where elements meet, as
    those of a field that pull on each other, they are summed through their factor graph.

    Args:
        sites: "all" finite ones, names, or a rule that takes a choice and says whether it is summed; [] sums nothing.
        method: "auto", as told above; "program" or "graph" for one of the two ways alone; "loopy" for belief
            propagation in the graph, which needs `approximate`.
        approximate: whether belief propagation may stand for a sum over the budget; then sites cannot be drawn back.
        width_budget: largest number of entries of a table when a graph is eliminated.
        max_table: largest number of entries of a table that is written into the program; default: 4 million, of a
            graph's factor one million.
        loopy: settings of `graphs.propagated`. A warm start is refused: the value would depend on the past of
            a chain, so that the target were no function of its state.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs; also for the option `enumerate=`
        of every method, whose results then hold draws of the summed sites. There names alone mean `marginalise(names)`.

    Raises:
        LawfulError: a name is no finite site, or a setting is not known.
        PathLimitError: a table would be larger than its cap; says the number needed.
        UnsupportedProgramError: a site cannot be summed, and why; or an output reads sites that are summed
            approximately.
        ApproximateInExact: an exact sum through the graph is over budget, and no approximation was allowed; says what
            it would take.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("i", 3):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...         lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    >>> form = marginalise(["z"])(lawful.trace(model, jnp.zeros(3)))
    >>> [site.address for site in form.sites()]
    [('mu',)]
    """
    checked_sites(sites, "marginalise", sums=False)
    if method not in METHODS:
        raise LawfulError(f"marginalise: method: expected one of {', '.join(METHODS)}, got {method!r}.")
    refuse_unknown("marginalise", loopy, marginalise, propagated)
    if "init" in loopy:
        raise LawfulError(
            "marginalise: init: messages of an earlier run would make the factor depend on the past of a chain, and no "
            "kernel would keep a target. Fix: leave it out; all runs begin with the same messages."
        )
    graph = GraphSums(method == "loopy", approximate, width_budget, max_table, tuple(sorted(loopy.items())))
    exact = not approximate and method != "loopy"
    how = "" if method == "auto" else f", method={method!r}"
    shown = f"marginalise({shown_sites(sites)}{how}{', approximate' * (not exact)})"
    return Transformer(shown, Marginal(sites, method, graph), PRESERVES if exact else APPROXIMATE)


def _in_program(form: Form, addresses: Sequence[Address], max_table: int | None) -> Form:
    try:
        return summed_form(form, addresses, max_table)
    except REFUSED as error:
        told = f"{error} Or leave out method='program': where elements meet they are summed through a factor graph."
        raise type(error)(told, **error.fields) from error


def _either_way(form: Form, addresses: Sequence[Address], graph: GraphSums) -> Form:
    """Sum inside the program where it can be, else through the graph, else inside the program at any price."""
    try:
        return summed_form(form, addresses, graph.max_table, few=FEW)
    except REFUSED as error:
        refused = error
    try:
        return graph.summed(form, addresses)
    except LawfulError as error:
        if isinstance(refused, PathLimitError):
            with suppress(*REFUSED):
                return summed_form(form, addresses, graph.max_table)
        if isinstance(error, ApproximateInExact):
            raise error from refused
        raise refused from error
