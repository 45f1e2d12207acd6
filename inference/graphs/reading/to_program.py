"""To a program: a factor graph as a program, so that every inference runs on it.

Law: the measure of the program on its sites, which have the names of the variables, is that of the graph. A variable is
drawn from its own scores; the tables are factors. Reading the graph off the program gives the same measure again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.errors import LawfulError
from lawful.language.statements import factor, sample

from ..model.counted import counts_at
from ..model.graph import FactorGraph
from ..model.potentials import traced
from ..model.structure import Group


def to_program(graph: FactorGraph) -> Callable[[], dict[str, Any]]:
    """Write a graph as a program.

    Args:
        graph: the graph, with its evidence.

    Returns: a program without arguments that returns the states by the names of the variables.

    Raises: LawfulError for a variable that excludes all of its states.

    >>> from lawful import inference
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,))
    >>> graph.factors("same", [z[:-1], z[1:]], np.eye(2))
    >>> exact = inference.enumerate(to_program(graph))().log_evidence
    >>> bool(jnp.allclose(exact, inference.bp(graph)(0).log_evidence))
    True
    """
    structure, potentials = graph.structure, graph.potentials
    for family, scores in zip(structure.families, potentials.unary, strict=True):
        if not traced(scores) and np.isneginf(np.asarray(scores)).all(axis=1).any():
            raise LawfulError(f"to_program: some variable of '{family.name}' excludes all of its states.")

    def program() -> dict[str, Any]:
        states: dict[str, Any] = {}
        for family, scores in zip(structure.families, potentials.unary, strict=True):
            own = jnp.asarray(scores).reshape((*family.shape, family.cardinality))
            if not family.size:  # nothing to draw
                states[family.name] = jnp.zeros(family.shape, jnp.int32)
                continue
            law = dist.Categorical(logits=own, validate_args=False)  # which would refuse -inf
            states[family.name] = sample(family.name, law)
            factor(f"~scale of {family.name}", jnp.sum(jax.nn.logsumexp(own, axis=-1)))
        for group, tables in zip(structure.groups, potentials.tables, strict=True):
            factor(group.name if group.name not in states else f"~{group.name}", _score(graph, group, tables, states))
        for count in structure.counted:
            flat = jnp.concatenate([jnp.asarray(states[f.name]).reshape(-1) for f in structure.families])
            right = jnp.all(counts_at(count, flat) == flat[count.totals])
            factor(f"~count of {count.name}", jnp.where(right, 0.0, -jnp.inf))
        return states

    return program


def _score(graph: FactorGraph, group: Group, tables: Any, states: Mapping[str, Any]) -> jax.Array:
    """Sum the entries of a group's tables at the states."""
    rows = np.zeros(group.size, np.int32) if group.shared else np.arange(group.size, dtype=np.int32)
    columns = [_column(graph, group.scopes[:, k], states) for k in range(group.arity)]
    return jnp.sum(jnp.asarray(tables)[(rows, *columns)])


def _column(graph: FactorGraph, numbers: np.ndarray, states: Mapping[str, Any]) -> jax.Array:
    """Read states of variables by number, from no more families than they are of."""
    own = [
        f for f in graph.structure.families
        if f.size and bool(((numbers >= f.offset) & (numbers < f.offset + f.size)).any())
    ]  # fmt: skip
    flat = [jnp.asarray(states[f.name]).reshape(-1) for f in own]
    starts = np.cumsum([0, *(f.size for f in own)])[:-1]
    place = np.zeros(len(numbers), np.int32)
    for f, start in zip(own, starts, strict=True):
        inside = (numbers >= f.offset) & (numbers < f.offset + f.size)
        place[inside] = numbers[inside] - f.offset + start
    return (flat[0] if len(flat) == 1 else jnp.concatenate(flat))[place]
