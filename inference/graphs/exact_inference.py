"""Exact inference by elimination: marginals, total mass, largest score and draws, under a budget of table entries.

Law: the certificate is "exact". What was planned and compiled for a structure serves every potential and all evidence;
the first queries of a structure are computed by NumPy, since few queries do not pay for a compilation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .exact.plans import BUDGET, by_messages_alone
from .loopy.descents import deciding, uniforms_needed
from .loopy.forests import by_messages
from .model.beliefs import Beliefs
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials
from .model.structure import Structure
from .model.unfolding import unfolded_structure
from .model.verdicts import verdict_of
from .runners import runner_of


def eliminated(
    graph: FactorGraph,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> Beliefs:
    """Give exact marginals and the total mass.

    Args:
        graph: the graph, with its evidence.
        order: the rule of the order; None compares them.
        budget: largest number of entries of a table.
        compiled: whether to compile now; None compiles after a hundred queries. Traced numbers are always compiled.
        chains: whether long paths that hang from the rest are summed by loops, which are always compiled; None where
            that takes less time, and no `order` was asked for.

    Raises: WidthError for a graph that needs more.
    """
    structure = graph.structure
    if by_messages_alone(structure):
        return by_messages(graph)
    runner = runner_of(structure, order, "marginals", budget, chains)
    log_z, variables, factors = runner(compiled, graph)
    return Beliefs(structure, variables, factors, log_z, verdict_of(log_z), method=runner.method)


def most_probable(
    graph: FactorGraph,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> tuple[dict[str, Any], Any]:
    """Find an assignment of the highest score, by states `(*shape)`, and the natural log of its measure.

    Of several the one with the lowest states, in the reverse order of elimination, is taken.

    Raises: WidthError as `eliminated`.
    """
    if by_messages_alone(graph.structure):
        best = by_name(graph.structure, deciding(graph.structure)(graph.potentials))
        return best, graph.log_score(best)
    runner = runner_of(graph.structure, order, "map", budget, chains)
    states, log_score = runner(compiled, graph)
    return by_name(graph.structure, states), log_score


def pushed(
    graph: FactorGraph,
    uniforms: Any,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> dict[str, Any]:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of all variables, by states `(*shape)`."""
    runner = runner_of(graph.structure, order, "draw", budget, chains)
    _check_uniforms(graph.structure, uniforms)
    return by_name(graph.structure, runner(compiled, graph, uniforms))


def log_mass(structure: Structure, potentials: Potentials, compiled: bool | None = None) -> Any:
    """Give the natural log of the total mass; its gradient is exact, and zero at what is excluded."""
    return runner_of(structure, None, "total")(compiled, graph_of(structure, potentials))


def drawn_states(structure: Structure, potentials: Potentials, uniforms: Any, compiled: bool | None = None) -> Any:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of the states of all variables (n,)."""
    _check_uniforms(structure, uniforms)
    return runner_of(structure, None, "draw")(compiled, graph_of(structure, potentials), uniforms)


def uniforms_of(structure: Structure) -> int:
    """Count the uniforms of a draw: one for each variable, and where there are counts some more."""
    return uniforms_needed(structure) if by_messages_alone(structure) else unfolded_structure(structure).size


def _check_uniforms(structure: Structure, uniforms: Any) -> None:
    if np.shape(uniforms) != (needed := uniforms_of(structure),):
        raise LawfulError(f"a draw: expected uniforms of shape {(needed,)}, got {np.shape(uniforms)}.")


def by_name(structure: Structure, states: Any) -> dict[str, Any]:
    """Split states of all variables (n,) by name."""
    return {
        family.name: states[family.offset : family.offset + family.size].reshape(family.shape)
        for family in structure.families
    }
