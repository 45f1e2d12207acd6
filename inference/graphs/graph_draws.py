"""Graph draws: states of all variables at once, exactly where that fits the budget, else by block Gibbs.

Law: exact draws are independent, and of the graph's measure. Those of a walk follow each other; every step of it leaves
the measure as it is, and every draw has the counts that are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from .best_assignment import most_probable
from .inference import drawn_states, uniforms_of
from .model.counted import completed
from .model.graph import FactorGraph
from .model.potentials import scores_at
from .moves.walk import walked
from .planning import BUDGET, planned

METHODS = ("auto", "exact", "gibbs")


@dataclass(frozen=True, eq=False)
class Draws:
    """Assignments that were drawn.

    Attributes:
        states: name -> states `(draws, *shape)`.
        method: "exact", or "gibbs" for a walk.
    """

    states: dict[str, Any]
    method: str


def draws(
    graph: FactorGraph,
    key: jax.Array,
    number: int = 1,
    *,
    method: str = "auto",
    steps: int = 100,
    start: Mapping[str, Any] | None = None,
    budget: int = BUDGET,
) -> Draws:
    """Draw states of all variables.

    Args:
        graph: the graph, with its evidence.
        key: of all randomness.
        number: of draws.
        method: "exact" eliminates, or sends messages on a forest; "gibbs" walks from an assignment to others, by
            redraws of many variables at once that keep the counts which are known; "auto" is exact where that fits the
            budget. A walk reaches every assignment where each variable is in one bag at most; where bags overlap it
            may not.
        steps: of the walk, before each draw.
        start: states of positive mass, of which counts may be left out; default: the most probable ones.
        budget: largest number of entries of a table.

    Raises: WidthError where exact draws were asked for and are over budget; LawfulError for a method that is not known,
        for numbers below one, and where there is no possible assignment to start from.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(2, 3))
    >>> n = graph.count("n", y)
    >>> found = draws(graph.observe({"n": [1, 2]}), jax.random.key(0), 4)
    >>> found.method, found.states["y"].sum(axis=-1).tolist()
    ('exact', [[1, 2], [1, 2], [1, 2], [1, 2]])
    """
    if method not in METHODS:
        raise LawfulError(f"draws: method: expected one of {', '.join(METHODS)}, got {method!r}.")
    if number < 1 or steps < 1:
        raise LawfulError(f"draws: {number} draws of {steps} steps each. Fix: give at least 1 of each.")
    structure = graph.structure
    plan = None if method == "gibbs" else planned(structure, method, budget)
    if plan is not None and plan.method == "exact":
        plan.refuse()
        u = jax.random.uniform(key, (number, uniforms_of(plan)), jnp.result_type(float))
        found = jax.vmap(lambda own: jnp.asarray(drawn_states(plan, graph, own, compiled=True)))(u)
        return Draws(_by_name(graph, found), "exact")
    x = _start(graph, start)
    return Draws(_by_name(graph, walked(structure, graph.potentials, x, key, steps=steps, draws=number)), "gibbs")


def _start(graph: FactorGraph, start: Mapping[str, Any] | None) -> np.ndarray:
    """Give states of positive mass (n,)."""
    states = most_probable(graph).states if start is None else completed(graph.structure, start)
    x = np.concatenate([np.zeros(0, np.int64), *(np.ravel(states[f.name]) for f in graph.structure.families)])
    if scores_at(graph.structure, graph.potentials, x) == -np.inf:
        what = "no possible assignment was found" if start is None else "start has no mass"
        raise LawfulError(f"draws: {what}. Fix: give start=, states that meet all counts and exclude nothing.")
    return x


def _by_name(graph: FactorGraph, states: Any) -> dict[str, Any]:
    families = graph.structure.families
    return {f.name: states[:, f.offset : f.offset + f.size].reshape((len(states), *f.shape)) for f in families}
