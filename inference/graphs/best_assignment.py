"""Best assignment: the most probable states of a graph, with an upper bound of all scores and who found it.

Law: the log score is that of the states that are given, and no assignment has a score above the bound. An exact
solver's bound is the score. Where no exact answer is within the budget, small graphs are integer programs; the others
are searched from several starts, by exchanges that keep every count, beneath a dual bound: where the two meet, to
rounding, the states are proved to be the most probable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError

from .dual_bound import decoded, dual_bound
from .integer_program import columns_of, programmed
from .loopy.propagation import propagated
from .model.graph import FactorGraph
from .model.potentials import scores_at
from .moves.exchanges import improved
from .planning import BUDGET, answering, planned

SOLVERS = ("auto", "exact", "program", "search")
SMALL = 2000  # columns of an integer program that is solved without being asked for
SWEEPS = 50  # of max-product
NEAR = 1e-6  # a gap that rounding may have made, as a share of the bound


@dataclass(frozen=True, eq=False)
class MostProbable:
    """An assignment, and what is known of how good it is; a pytree.

    Attributes:
        states: name -> states `(*shape)`.
        log_score: natural log of its measure; -inf where no possible one was found.
        bound: no assignment has a larger score.
        solver: "elimination", "chains" or "messages on a forest", which are exact; "integer program"; or "search from
            scores", "search from max-product" or "search from the bound", by what led there.

    >>> MostProbable({}, -1.25, -1.0, "search from scores").gap
    0.25
    """

    states: dict[str, Any]
    log_score: Any
    bound: Any
    solver: str

    @property
    def gap(self) -> Any:
        """How much the best assignment may be better, at most."""
        return self.bound - self.log_score

    @property
    def proved(self) -> bool:
        """Whether the score meets the bound, to rounding, or nothing is possible."""
        return bool(self.bound == self.log_score or self.gap <= NEAR * max(1.0, abs(self.bound)))

    def __repr__(self) -> str:
        """Say how good it is, and who found it."""
        return f"MostProbable(log_score {self.log_score:.6g}, bound {self.bound:.6g}, by {self.solver})"


jax.tree_util.register_dataclass(MostProbable, data_fields=["states", "log_score", "bound"], meta_fields=["solver"])


def most_probable(
    graph: FactorGraph,
    solver: str = "auto",
    *,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
    seconds: float = 60.0,
) -> MostProbable:
    """Find an assignment of the highest score.

    Args:
        graph: the graph, with its evidence.
        solver: "exact" eliminates, or sends messages on a forest; of several best assignments it takes the one with
            the lowest states, in the reverse order of elimination. "program" is an integer program, exact where its
            time suffices. "search" improves several starts by exchanges within bags and single changes, and bounds
            what may be missing. "auto" is exact where that fits the budget, else a program where that is small.
        order: see `eliminated`.
        budget: largest number of entries of a table.
        compiled: see `eliminated`.
        chains: see `eliminated`.
        seconds: that an integer program may take.

    Raises: WidthError as `eliminated`, where an exact answer was asked for or numbers are traced; LawfulError for a
        solver that is not known, and where a program found no assignment in time.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(4,), log_potential=[[0.0, 2.0], [0.0, 1.0], [0.0, 3.0], [0.0, 1.5]])
    >>> graph.factors("unlike", [y[:-1], y[1:]], -1.0 * np.eye(2))
    >>> n = graph.count("n", y)
    >>> seen = graph.observe({"n": 2})
    >>> [most_probable(seen, solver).states["y"].tolist() for solver in ("exact", "program", "search")]
    [[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0]]
    """
    if solver not in SOLVERS:
        raise LawfulError(f"most_probable: solver: expected one of {', '.join(SOLVERS)}, got {solver!r}.")
    if solver in ("auto", "exact"):
        asked = solver if graph.known else "exact"
        plan = planned(graph.structure, asked, budget, order=order, chains=chains)
        if plan.method == "exact":
            plan.refuse()
            states, log_score = answering(plan, "map")(compiled, graph)
            return MostProbable(graph.structure.by_name(states), log_score, log_score, plan.solver)
    if solver == "search" or (solver == "auto" and columns_of(graph.structure) > SMALL):
        return _searched(graph)
    return _programmed(graph, seconds)


def _programmed(graph: FactorGraph, seconds: float) -> MostProbable:
    found = programmed(graph, seconds)
    if found.states is None and found.bound > -np.inf:
        raise LawfulError(
            f"most_probable: no assignment was found in {seconds:g} s. Fix: raise seconds=, or give solver='search'.",
            seconds=seconds,
        )
    states = np.zeros(graph.structure.size, np.int64) if found.states is None else improved(graph, found.states)
    return _judged(graph, states, found.bound, "integer program")


def _searched(graph: FactorGraph) -> MostProbable:
    """Improve what the scores alone, the dual bound and max-product lead to, until one is proved."""
    above = dual_bound(graph)
    best = _judged(graph, improved(graph, decoded(graph)), above.value, "search from scores")
    for name in ("the bound", "max-product"):
        if best.proved:
            break
        start = above.states if name == "the bound" else _by_messages(graph)
        other = _judged(graph, improved(graph, start), above.value, f"search from {name}")
        best = other if other.log_score > best.log_score else best
    return best


def _by_messages(graph: FactorGraph) -> np.ndarray:
    """Give the states that largest products of messages favour."""
    found = propagated(graph, temperature=None, damping=0.5, max_iters=SWEEPS, certify=False, factors=False)
    held = {count.name for count in graph.structure.counted}
    unary = [
        np.asarray(own) if belief is None or family.name in held
        else np.log(np.maximum(np.asarray(belief, float).reshape((-1, family.cardinality)), 1e-300))
        for family, belief, own in zip(
            graph.structure.families, found.variables, graph.potentials.unary, strict=True
        )
    ]  # fmt: skip
    return decoded(graph, unary)


def _judged(graph: FactorGraph, states: np.ndarray, bound: float, solver: str) -> MostProbable:
    score = float(scores_at(graph.structure, graph.potentials, states))
    return MostProbable(graph.structure.by_name(states), score, max(bound, score), solver)
