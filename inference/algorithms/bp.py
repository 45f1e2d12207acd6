"""bp: exact marginals or belief propagation on the finite sites of a program, or on a factor graph.

Law: where the certificate is "exact", marginals and evidence are those of the program; elsewhere the answer says how
the run ended and what is guaranteed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from lawful.errors import LawfulError
from lawful.form.arguments.calls import positional, refuse_unknown

from ..graphs.exact.plans import BUDGET, Plan
from ..graphs.inference import infer, plan
from ..graphs.loopy.propagation import propagated
from ..graphs.model.beliefs import Beliefs
from ..graphs.model.graph import FactorGraph
from ..graphs.reading.from_program import to_factor_graph
from ..graphs.reading.lifted import TABLE


@dataclass(frozen=True)
class BeliefPlan:
    """A planned inference: call it with the model's arguments.

    Attributes:
        model: a program, its Form, or a FactorGraph.
        sites: the finite sites that become variables; None for all.
        given: values of the other latent sites.
        method: "auto", "exact", "tree", "chain" or "loopy".
        width_budget: largest number of entries of a table of an elimination.
        max_table: largest number of entries of a factor's table.
        truncate: ranges of sites with infinitely many values.
        settings: of the messages.
    """

    model: Any
    sites: Collection[Any] | None
    given: Mapping[str, Any]
    method: str
    width_budget: int
    max_table: int
    truncate: Mapping[Any, tuple[int, int]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def graph(self, *args: Any, **named: Any) -> FactorGraph:
        """Read the factor graph off the model."""
        if isinstance(self.model, FactorGraph):
            if args or named:
                raise LawfulError(f"bp: a factor graph takes no arguments, got {len(args) + len(named)}.")
            return self.model
        args = positional(self.model, args, named)
        return to_factor_graph(
            self.model, *args, sites=self.sites, given=self.given, max_table=self.max_table, truncate=self.truncate
        )

    def plan(self, *args: Any, **named: Any) -> Plan:
        """Say what would be done, without doing it."""
        return plan(self.graph(*args, **named), self.method, self.width_budget)

    def __call__(self, *args: Any, **named: Any) -> Beliefs:
        """Give marginals by the names of the sites `(*shape, states)`, and the log evidence."""
        return infer(self.graph(*args, **named), self.method, width_budget=self.width_budget, **self.settings)


def bp(
    model: Any,
    *,
    sites: Collection[Any] | None = None,
    given: Mapping[str, Any] | None = None,
    method: str = "auto",
    width_budget: int = BUDGET,
    max_table: int = TABLE,
    truncate: Mapping[Any, tuple[int, int]] | None = None,
    **settings: Any,
) -> BeliefPlan:
    """Plan marginals of the finite sites of a program, or of the variables of a factor graph.

    Args:
        model: a program, its Form, or a `graphs.FactorGraph`.
        sites: names of the finite sites that become variables; default: all of them.
        given: values of all other latent sites, by name.
        method: "exact", "tree", "chain", "loopy", or "auto": exact where the largest table fits the budget.
        width_budget: largest number of entries of a table of an elimination.
        max_table: largest number of entries of a factor's table.
        truncate: site of whole numbers -> (lowest, highest) of those that are kept, as `graphs.to_factor_graph`.
        settings: of `graphs.propagated`, as `damping=0.5`.

    Returns: a plan; called with the model's arguments it gives `marginals`, `log_evidence`, `certificate`, `converged`.

    Raises: LawfulError for a setting that does not exist; when called, as `graphs.to_factor_graph` and
        `graphs.infer`.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def weather(wet):
    ...     rain = lawful.sample("rain", dist.Bernoulli(0.2))
    ...     lawful.sample("wet", dist.Bernoulli(jnp.where(rain == 1, 0.8, 0.1)), obs=wet)
    >>> found = bp(weather)(jnp.array(1))
    >>> found.marginals["rain"].round(4).tolist(), found.certificate
    ([0.3333, 0.6667], 'exact')
    """
    refuse_unknown("bp", settings, bp, propagated)
    return BeliefPlan(model, sites, given or {}, method, width_budget, max_table, truncate or {}, settings)
