"""Forests of beliefs: a distribution that approximates a factor graph, with a density and draws that are exact.

Law: q(x) is a product of conditionals along a forest of factors, q(x) = prod_roots b(x_r) prod_a b_a(x_rest | x_i), so
that it is normalised whatever the beliefs are, and exact where the graph is the forest and the beliefs are right. A
share of it, the floor, is uniform over the states that no variable excludes by itself, so that q reaches every state of
positive mass. The floor is a coin of its own in the forest's graph: whatever sums the graph sums the coin out, too.

Factors are chosen by the information that their variables have of each other; of a factor of three variables or more
that would close a cycle, a pair may be chosen.

Reference: Chow and Liu (1968), Approximating discrete probability distributions with dependence trees.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.late import networkx

from ...laws.log_sum import safe_log
from ..model.graph import FactorGraph
from ..model.potentials import Potentials
from ..model.structure import Structure
from .messages import net_of, scores_of

COIN = "~floor"


@dataclass(frozen=True)
class Limb:
    """A part of a forest: some variables, given one of them or nothing.

    Attributes:
        group: of the factor whose belief is taken; None for a single variable, whose own is.
        factor: its number in the group.
        axes: of the factor, first that of the variable which is given.
        variables: on these axes, by number; for a single variable, that one.
    """

    group: int | None
    factor: int
    axes: tuple[int, ...]
    variables: tuple[int, ...]


def spanning_forest(structure: Structure, factors: Sequence[Any] | None) -> list[Limb]:
    """Choose factors that form no cycle and hang together as much as possible, roots and parents first.

    Args:
        structure: of the graph.
        factors: beliefs of each group's factors (G, K_1, ..., K_r), for the choice of most information; None where no
            numbers are known.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,))
    >>> graph.factors("ring", [z, z[[1, 2, 0]]], np.zeros((2, 2)))
    >>> [limb.variables for limb in spanning_forest(graph.structure, None)]
    [(0,), (0, 1), (1, 2)]
    """
    parts = networkx.utils.UnionFind(range(structure.size))
    touching: list[list[Limb]] = [[] for _ in range(structure.size)]
    for limb in _candidates(structure, factors):
        if len({parts[v] for v in limb.variables}) == len(limb.variables):
            parts.union(*limb.variables)
            for v in limb.variables:
                touching[v].append(limb)
    limbs, reached, used = [], set[int](), set[Limb]()
    for start in range(structure.size):
        if start in reached:
            continue
        limbs.append(Limb(None, 0, (), (start,)))
        reached.add(start)
        waiting = [start]
        for v in waiting:
            for limb in touching[v]:
                if limb in used:
                    continue
                used.add(limb)
                first = limb.variables.index(v)
                order = (first, *(k for k in range(len(limb.axes)) if k != first))
                axes, variables = tuple(limb.axes[k] for k in order), tuple(limb.variables[k] for k in order)
                limbs.append(Limb(limb.group, limb.factor, axes, variables))
                reached.update(variables)
                waiting += variables[1:]
    return limbs


def _candidates(structure: Structure, factors: Sequence[Any] | None) -> list[Limb]:
    """List factors, and pairs of those of three variables or more, by falling information."""
    found: list[tuple[float, Limb]] = []
    for number, group in enumerate(structure.groups):
        if group.arity < 2:
            continue
        every = [tuple(range(group.arity))]
        every += itertools.combinations(range(group.arity), 2) if group.arity > 2 else []
        for axes in every:
            known = np.zeros(group.size) if factors is None else _information(np.asarray(factors[number]), axes)
            for row, (bits, scope) in enumerate(zip(known.tolist(), group.scopes[:, list(axes)].tolist(), strict=True)):
                found.append((bits, Limb(number, row, axes, tuple(scope))))
    return [limb for _, limb in sorted(found, key=lambda pair: -pair[0])]


def _information(beliefs: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Information that some axes of beliefs have of each other: the sum of their entropies less that of all (G,)."""
    rest = tuple(k + 1 for k in range(beliefs.ndim - 1) if k not in axes)
    joint = beliefs.sum(axis=rest)
    total = -_entropy(joint)
    for k in range(joint.ndim - 1):
        total = total + _entropy(joint.sum(axis=tuple(j + 1 for j in range(joint.ndim - 1) if j != k)))
    return np.nan_to_num(total)


def _entropy(p: np.ndarray) -> np.ndarray:
    log = np.log(p, out=np.zeros_like(p), where=p > 0)
    return -(p * log).reshape((len(p), -1)).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Forest:
    """A forest for a graph, with a coin for its floor where there is one.

    Attributes:
        source: structure of the graph.
        structure: of the forest's graph: the families of the source, and the coin.
    """

    source: Structure
    structure: Structure
    _limbs: tuple[tuple[Limb, ...], ...]
    floor: float

    @property
    def tree(self) -> Any:
        """That of its potentials."""
        return jax.tree.structure(Potentials((0,) * len(self.structure.families), (0,) * len(self.structure.groups)))

    def potentials(self, given: Potentials, variables: Sequence[Any], factors: Sequence[Any]) -> Potentials:
        """Give the numbers of the forest's graph, whose total mass is one.

        Args:
            given: of the source, for what each variable says of its own states: -inf excludes one from the floor.
            variables: beliefs of the families `(*shape, K)`.
            factors: beliefs of the groups' factors (G, K_1, ..., K_r).
        """
        beliefs = _by_states(self.source, variables)
        net = net_of(self.source)
        own_scores = scores_of(net, given, net.by_block([1.0] * len(self.source.groups))).unary
        flat = {card: _uniform(scores.T) for card, scores in own_scores.items()}
        rows, cards = self.source.rows, self.source.cardinalities
        tables = []
        for limbs in self._limbs:
            columns = np.array([limb.variables for limb in limbs]).T
            states = cards[columns[:, 0]].tolist()
            level = [flat[card][rows[v]] for card, v in zip(states, columns, strict=True)]
            own = [beliefs[card][rows[v]] for card, v in zip(states, columns, strict=True)]
            first = limbs[0]
            if first.group is None:
                tree, even = _normalised(own[0], level[0]), level[0]
            else:
                joint = _onto(jnp.asarray(factors[first.group])[np.array([limb.factor for limb in limbs])], first.axes)
                tree, even = _conditional(joint, own, level), _product(level[1:], joint.shape)
            tables.append(safe_log(tree if self.floor == 0 else jnp.stack([even, tree], axis=1)))
        dtype = tables[0].dtype if tables else jnp.result_type(float)
        zeros = [jnp.zeros((f.size, f.cardinality), dtype) for f in self.source.families]
        coin = [] if self.floor == 0 else [safe_log(jnp.array([[self.floor, 1.0 - self.floor]], dtype))]
        return Potentials((*zeros, *coin), tuple(tables))


def forest_of(structure: Structure, limbs: Sequence[Limb], floor: float) -> Forest:
    """Write the graph of a forest: limbs that take the same axes of a group are a group of it."""
    cards = structure.cardinalities
    alike: dict[tuple[Any, ...], list[Limb]] = {}
    for limb in limbs:
        alike.setdefault((limb.group, limb.axes, *cards[list(limb.variables)].tolist()), []).append(limb)
    graph = FactorGraph()
    for family in structure.families:
        graph.variables(family.name, family.shape, family.cardinality, states=family.states)
    if floor > 0:
        graph.variables(COIN)
    coin = [structure.size] if floor > 0 else []
    for number, ((_, _, *shape), members) in enumerate(alike.items()):
        full = (*([2] if floor > 0 else []), *shape)
        scopes = np.array([[*coin, *limb.variables] for limb in members], np.int64)
        graph.add(f"limb {number}", scopes, full, np.zeros((len(members), *full)))
    return Forest(structure, graph.structure, tuple(map(tuple, alike.values())), floor)


def _by_states(structure: Structure, arrays: Sequence[Any]) -> dict[int, Any]:
    """Join arrays of the families by their number of states (n, K), in the order of `structure.rows`."""
    found: dict[int, list[Any]] = {}
    for family, array in zip(structure.families, arrays, strict=True):
        found.setdefault(family.cardinality, []).append(jnp.asarray(array).reshape((family.size, family.cardinality)))
    return {card: jnp.concatenate(parts) for card, parts in found.items()}


def _onto(beliefs: Any, axes: tuple[int, ...]) -> Any:
    """Sum beliefs (m, K_1, ..., K_r) onto some axes, in their order."""
    left = beliefs.sum(axis=tuple(k + 1 for k in range(beliefs.ndim - 1) if k not in axes))
    return jnp.transpose(left, [0, *(sorted(axes).index(k) + 1 for k in axes)])


def _conditional(belief: Any, owns: Sequence[Any], flats: Sequence[Any]) -> Any:
    """Give the rest of each limb's variables given the first; where that has no belief, each by its own."""
    total = belief.sum(axis=tuple(range(2, belief.ndim)), keepdims=True)
    usable = (total > 0) & jnp.isfinite(total)
    apart = _product([_normalised(o, f) for o, f in zip(owns[1:], flats[1:], strict=True)], belief.shape)
    return jnp.where(usable, belief / jnp.where(usable, total, 1.0), apart)


def _product(parts: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Multiply the distributions of the variables that are not given, for each state of the first."""
    found = jnp.ones(shape, parts[0].dtype)
    for k, p in enumerate(parts):
        found = found * p.reshape((len(p), *[1] * (k + 1), p.shape[1], *[1] * (len(parts) - k - 1)))
    return found


def _normalised(belief: Any, flat: Any) -> Any:
    """Give a belief (m, K) that sums to one; where there is none, uniform states."""
    total = belief.sum(axis=1, keepdims=True)
    usable = (total > 0) & jnp.isfinite(total)
    return jnp.where(usable, belief / jnp.where(usable, total, 1.0), flat)


def _uniform(unary: Any) -> Any:
    """Give each variable a uniform distribution on the states that it does not exclude; on all if it excludes all."""
    allowed = unary > -jnp.inf
    allowed = allowed | ~allowed.any(axis=1, keepdims=True)
    return allowed / allowed.sum(axis=1, keepdims=True, dtype=unary.dtype)
