"""Forests with counts: exact answers by messages, for bags of any size.

Law: on a forest a message is right once all messages behind it are, so as many sweeps as half the longest path give the
exact marginals and the exact total mass. From a root outwards, each factor then draws the rest of its variables given
the one that is known: an exact draw of all, or with largest products in place of sums a best assignment.

Reference: Kschischang, Frey and Loeliger (2001), Factor graphs and the sum-product algorithm.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from ..model.beliefs import Beliefs, verdict_of
from ..model.graph import FactorGraph
from ..model.potentials import Potentials
from ..model.structure import Structure
from .exchange import Logs
from .free_energy import Point, factor_probabilities, log_z, point_at, probabilities
from .messages import Messages, Net, Scores, net_of, scores_of
from .propagation import by_factors, by_family, impossible_bags


class Levels(NamedTuple):
    """A forest seen from its roots, one for each part: vertices are variables, then factors, then bags.

    Attributes:
        roots: a variable of each part that has one.
        level: distance from the root in factors, for each variable and each factor (V,); a factor counts as the
            variables that it leads to.
        parent: the vertex on the way to the root, itself for a root (V,).
        depth: the largest level.
    """

    roots: np.ndarray
    level: np.ndarray
    parent: np.ndarray
    depth: int


@lru_cache(maxsize=64)
def levels_of(structure: Structure) -> Levels:
    """Look at a forest from a variable in each part."""
    edges, variables = structure.bipartite, structure.size
    number = edges.shape[0]
    _, parts = connected_components(edges, directed=False)
    roots = np.unique(parts[:variables], return_index=True)[1]
    ends = np.concatenate([np.stack([edges.row, edges.col]), np.stack([np.full(len(roots), number), roots])], axis=1)
    whole = coo_matrix((np.ones(ends.shape[1]), tuple(ends)), shape=(number + 1, number + 1)).tocsr()
    order, before = breadth_first_order(whole, number, directed=False)
    turn = np.empty(number + 1, np.int64)
    turn[order] = np.arange(len(order))
    steps = np.zeros(number + 1, np.int64)
    start, end, step = 0, 1, 0
    while end < len(order):  # the next generation: those whose parents stand in the last one
        start, end, step = end, end + int(np.searchsorted(turn[before[order[end:]]], end)), step + 1
        steps[order[start:end]] = step
    parent = np.where(before[:number] == number, np.arange(number), before[:number])
    level = steps[:number] // 2
    return Levels(roots, level, parent, int(level.max(initial=0)))


def sweeps_needed(structure: Structure) -> int:
    """Count the sweeps after which all messages of a forest are right: a path has at most two arms of full depth."""
    return 2 * levels_of(structure).depth + 1


def by_messages(graph: FactorGraph) -> Beliefs:
    """Give exact marginals and the total mass of a forest."""
    structure = graph.structure
    total, variables, factors, impossible = mass_and_marginals(structure)(jax.tree.map(jnp.asarray, graph.potentials))
    info = {"impossible": impossible}
    return Beliefs(structure, variables, factors, total, verdict_of(total), info=info, method="messages on a forest")


@lru_cache(maxsize=64)
def mass_and_marginals(structure: Structure) -> Any:
    """Make a function of potentials: log mass, marginals of families and groups, and which bags have no count."""
    net, exchange = net_of(structure), Logs(True, 1.0)

    @jax.jit
    def program(potentials: Potentials) -> Any:
        scores, messages, point = _settled(net, potentials, exchange)
        beliefs = {card: probabilities(b, 1) for card, b in point.variables.items()}
        return (
            log_z(net, scores, messages, point),
            by_family(net, beliefs),
            by_factors(net, factor_probabilities(net, point), beliefs),
            impossible_bags(net, point.evidence),
        )

    return program


def _settled(net: Net, potentials: Potentials, exchange: Logs) -> tuple[Scores, Messages, Point]:
    """Send all messages until they are right, and read the beliefs."""
    scores = scores_of(net, potentials, net.by_block([1.0] * len(net.structure.groups)))
    dtype = next(iter(scores.unary.values())).dtype if scores.unary else jnp.result_type(float)
    prepared = exchange.prepared(net, scores)

    def sweep(messages: Messages, _: Any) -> tuple[Messages, None]:
        return exchange.sweep(net, scores, prepared, messages), None

    messages, _ = jax.lax.scan(sweep, exchange.start(net, dtype), None, sweeps_needed(net.structure))
    messages = exchange.completed(net, scores, messages)
    return scores, messages, point_at(net, scores, messages, exchange.hard, exchange.temperature)


def settled_program(structure: Structure, temperature: float | None) -> Any:
    """Make a function of potentials that gives what messages amount to on a forest."""
    net, exchange = net_of(structure), Logs(True, temperature)
    return lambda potentials: _settled(net, potentials, exchange)[2]
