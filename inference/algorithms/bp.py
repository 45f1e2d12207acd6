"""bp: exact marginals or belief propagation on the finite sites of a program, or on a factor graph.

Law: where the certificate is "exact", marginals and evidence are those of the program; elsewhere the answer says how
the run ended and what is guaranteed.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lawful.errors import LawfulError, NonFiniteError, refuse_unknown
from lawful.form import Form
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of, dims_of

from ..contract import PRESERVES, Contract
from ..graphs.loopy.propagation import propagated
from ..graphs.model.beliefs import Beliefs, number_of
from ..graphs.model.graph import FactorGraph
from ..graphs.planning import BUDGET, Plan, planned, solved
from ..graphs.reading.from_program import form_to_factor_graph
from ..graphs.reading.lifted import TABLE
from ..plans.plan import NOTHING, Planned, Prepared, refuse_traced, seed_of, told_of
from ..plans.setting_types import Count, Start
from ..results.copies import Told
from ..results.result import Result
from ..summing.chosen_sites import Sums
from ..transformers.enumeration import enumeration
from .method import Method, method
from .signatures import COMMON

APPROXIMATE = Contract("bound", target="log Z", remarks="exact where the certificate of the answer says so")


@dataclass(frozen=True, eq=False)
class Network:
    """The engine: the graph of a form, and what is asked of it."""

    plan: Any
    form: Form

    def graph(self, prepared: Prepared) -> FactorGraph:
        """Read the factor graph off the form."""
        asked = self.plan.method
        return form_to_factor_graph(
            self.form, prepared.args, asked.sites, asked.given, asked.max_table, asked.truncate or None
        )

    def memory(self, prepared: Prepared) -> int:
        """Tell the bytes of the tables of an elimination, or of the messages of a sweep."""
        return int(self.plan._planned(self.graph(prepared)).bytes)


class BeliefPlan(Planned):
    """A planned inference: call it with a key and the model's arguments, as any other; nothing is drawn from the key.

    Attributes:
        model: a program, its Form, or a FactorGraph.
        method: the settings.
    """

    remedy = "beliefs = plan.beliefs(*arguments), whose log_evidence and marginals jit, vmap and grad take"

    def graph(self, *args: Any, **named: Any) -> FactorGraph:
        """Read the factor graph off the model."""
        return self._graph(self._prepared(args, named=named))

    def plan(self, *args: Any, **named: Any) -> Plan:
        """Say who solves the graph, how and why, without doing it; a call does what it says."""
        return self._planned(self.graph(*args, **named))

    def beliefs(self, *args: Any, **named: Any) -> Beliefs:
        """Give what a call finds as a function of arrays, which passes `jit`, `vmap` and `grad`; see `graphs.infer`."""
        return self._solved(self._prepared(args, named=named))[0]

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Give a result with `marginals` by the names of the sites `(*shape, states)`, and the log evidence.

        Its findings say where messages did not settle, `certificate` what is guaranteed. It has no draws.
        """
        begun = time.perf_counter()
        one_key(key)  # one that was forgotten is told before the program is looked at
        prepared = self._prepared(args, key, named)
        found, plan = self._solved(prepared)
        log_evidence = np.asarray(found.log_z, float).reshape(1)
        run = {**told_of(self.method.told(), seed_of(key), seconds=time.perf_counter() - begun), **found.told()}
        about: dict[str, Any] = {}
        if prepared is not None:
            model, form, observed = prepared.subject
            dims = dims_of(choices_of(form, ("sample", "deterministic")))
            about = {"model": model, "form": form, "args": prepared.args, "dims": dims}
            about["groups"] = {"observed_data": observed} if observed else {}
        return Result(
            self.method.name,
            {},
            log_evidence=log_evidence,
            found=(*found.reasons, *(() if prepared is None else prepared.unread)),
            run={**run, "plan": Told(lambda: str(plan or ""))},
            beliefs=found,
            **about,
        )

    def _prepared(self, args: tuple[Any, ...], key: Any = ..., named: Mapping[str, Any] = NOTHING) -> Prepared | None:
        """Trace and check a program; None for a graph."""
        if not isinstance(self.model, FactorGraph):
            return self._ready(args, key, named)[1]
        if args or named:
            raise LawfulError(f"bp: a factor graph takes no arguments, got {len(args) + len(named)}.")
        if key is not ...:
            refuse_traced((key, tuple(self.model.potentials)), self.remedy)
        return None

    def _graph(self, prepared: Prepared | None) -> FactorGraph:
        return self.model if prepared is None else prepared.built.graph(prepared)

    def _planned(self, graph: FactorGraph) -> Plan:
        asked, messages = self.method, self.method.messages or {}
        return planned(graph.structure, asked.method, asked.width_budget, schedule=messages.get("schedule", "flooding"))

    def _solved(self, prepared: Prepared | None) -> tuple[Beliefs, Plan | None]:
        """Read the graph, plan, and do what was planned; no plan where a score has no meaning."""
        asked = self.method
        try:
            graph = self._graph(prepared)
        except NonFiniteError:
            if asked.on_fault == "raise":
                raise
            return Beliefs(FactorGraph().structure, (), (), np.nan, number_of("nonfinite")), None
        messages = {name: value for name, value in (asked.messages or {}).items() if name != "schedule"}
        return solved(chosen := self._planned(graph), graph, **messages), chosen


@method("bp")
@dataclass(frozen=True, kw_only=True)
class BeliefPropagation(Method):
    """The settings of `bp`, which has their documentation.

    Attributes:
        sites: the finite sites that become variables; None for all.
        given: values of the other latent sites.
        method: "auto", "exact", "tree", "chain" or "loopy".
        width_budget: largest number of entries of a table of an elimination.
        max_table: largest number of entries of a factor's table.
        truncate: ranges of sites with infinitely many values.
        messages: settings of the messages.
    """

    sites: Collection[Any] | None = None
    given: Start | None = None
    method: str = "auto"
    width_budget: Count = BUDGET
    max_table: Count = TABLE
    truncate: Mapping[Any, tuple[int, int]] | None = None
    messages: Mapping[str, Any] | None = None

    sums: ClassVar[bool] = True

    @property
    def contract(self) -> Contract:
        """The measure is kept where the sum is exact."""
        return PRESERVES if self.method not in ("auto", "loopy") else APPROXIMATE

    @property
    def composition(self) -> str:
        """How the graph is solved."""
        return self.method

    def engine(self, form: Form, plan: Any) -> Any:
        """Give what reads the graph off a form."""
        return Network(plan, form)

    def written(self, form: Form, plan: Any) -> Any:
        """Read the program, or the marginal of the sites that are not summed before."""
        return self.engine(form if self.enumerate is None else enumeration(form, self.enumerate).marginal, plan)

    def on(self, model: Any) -> BeliefPlan:
        """Give the plan on a model."""
        if isinstance(model, FactorGraph) and self.enumerate is not None:
            raise LawfulError("bp: enumerate= is of programs, and a factor graph was given. Fix: leave out enumerate=.")
        return BeliefPlan(model, self, model, f"{self.name}({self.composition})")


def bp(
    model: Any,
    *,
    sites: Collection[Any] | None = None,
    given: Mapping[str, Any] | None = None,
    method: str = "auto",
    width_budget: int = BUDGET,
    max_table: int = TABLE,
    truncate: Mapping[Any, tuple[int, int]] | None = None,
    on_fault: str = "raise",
    enumerate: Sums | None = None,
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
        on_fault: "raise" an error where a score is NaN or +inf, which names it, or "flag": an answer that is not ok,
            without marginals.
        enumerate: names of finite sites to sum out before, inside the program, as for other methods: the answer has
            no marginals of these. Not for a factor graph.
        settings: of `graphs.propagated`, as `damping=0.5`.

    Returns: a plan; called with a key, as every method, and the model's arguments it gives a `Result` with `marginals`,
        `log_evidence`, `certificate` and the findings; nothing is drawn. `plan.beliefs(*arguments)` gives the same as a
        function of arrays, with beliefs of factors and messages, and `plan.plan(*arguments)` says who solves the graph.

    Raises: LawfulError for a setting that does not exist, and for options of runs, as nothing is drawn; when called,
        as `graphs.to_factor_graph` and `graphs.infer`.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def weather(wet):
    ...     rain = lawful.sample("rain", dist.Bernoulli(0.2))
    ...     lawful.sample("wet", dist.Bernoulli(jnp.where(rain == 1, 0.8, 0.1)), obs=wet)
    >>> found = bp(weather)(0, jnp.array(1))
    >>> found.marginals["rain"].round(4).tolist(), found.certificate
    ([0.3333, 0.6667], 'exact')
    """
    execution = {name: settings.pop(name) for name in COMMON if name in settings}
    refuse_unknown("bp", settings, bp, propagated)
    kind: Any = BeliefPropagation
    found: BeliefPlan = kind(
        sites=sites, given=given, method=method, width_budget=width_budget, max_table=max_table, truncate=truncate,
        on_fault=on_fault, enumerate=enumerate, messages=settings or None, **execution,
    ).on(model)  # fmt: skip
    return found
