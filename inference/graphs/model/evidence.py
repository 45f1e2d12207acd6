"""Evidence: the states that variables of a graph were seen in, -1 where nothing was seen.

Law: evidence multiplies the measure by the indicator of what was seen; what is seen again replaces what was seen
before. The structure does not know of it, so other evidence compiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import IndexRangeError, LawfulError

from .structure import Family


def seen_with(family: Family, seen: Any, given: Any) -> Any:
    """Add what is given to what was seen of a family (n,).

    Args:
        family: the variables.
        seen: states by number, -1 where nothing was seen.
        given: a state, by its number or its name, or an array of them `(*shape)`; or a pair (index, states).

    Raises: LawfulError for a state that is none, or a shape that does not fit; IndexRangeError for an index that names
        no variable.

    >>> family = Family("rain", (3,), 2, 0, ("no", "yes"))
    >>> seen_with(family, np.full(3, -1), ([0, 2], ["yes", "no"])).tolist()
    [1, -1, 0]
    """
    if isinstance(given, tuple) and len(given) != 2:
        raise LawfulError(
            f"{family.name!r}: expected a state, an array of states, or a pair (index, states), got a tuple of "
            f"{len(given)}. Fix: give the states as a list or an array.",
            site=family.name,
        )
    index, states = given if isinstance(given, tuple) else (..., given)
    states = _numbered(family, states)
    if index is ... and states.shape in ((), family.shape):  # all at once, without looking for places
        return (
            states.reshape(-1)
            if states.shape == family.shape
            else (jnp if traced(states) else np).full(family.size, states)
        )
    where = _where(family, index)
    if states.shape not in ((), where.shape) and (states.size, where.size) != (0, 0):
        raise LawfulError(
            f"{family.name!r}: expected states of shape {where.shape}, or one for all, got shape {states.shape}.",
            site=family.name,
        )
    if traced(seen) or traced(states):
        spread = jnp.broadcast_to(states, where.shape).reshape(-1)
        return jnp.asarray(seen).at[where.reshape(-1)].set(spread.astype(jnp.asarray(seen).dtype))
    seen = np.array(seen)
    seen[where.reshape(-1)] = states.reshape(-1)
    return seen


def states_seen(families: Sequence[Family], evidence: Mapping[int, Any]) -> Any:
    """Give the state that was seen of each variable by number (n,), -1 for none; `evidence` is by place of the family.

    >>> states_seen([Family("x", (), 2, 0), Family("y", (2,), 3, 1)], {1: np.array([2, -1])}).tolist()
    [-1, 2, -1]
    """
    seen: Any = np.full(sum(family.size for family in families), -1, np.int32)
    for place, states in evidence.items():
        own = slice(families[place].offset, families[place].offset + families[place].size)
        if traced(states) or traced(seen):
            seen = jnp.asarray(seen).at[own].set(states.astype(np.int32))
        else:
            seen[own] = states
    return seen


def traced(value: Any) -> bool:
    """Tell whether an array is a tracer, so that its numbers are not known yet."""
    return isinstance(value, jax.core.Tracer)


def indexed(array: np.ndarray, index: Any) -> np.ndarray:
    """Select elements as NumPy does; an empty list selects none.

    Raises: IndexError for an index that names no element.
    """
    if not (isinstance(index, slice | tuple) or index is None or index is ...):
        index = np.asarray(index)
        index = index.astype(np.int64) if index.size == 0 and index.dtype.kind == "f" else index
    return np.asarray(array[index])


def _where(family: Family, index: Any) -> np.ndarray:
    try:
        return indexed(np.arange(family.size).reshape(family.shape), index)
    except IndexError as error:
        raise IndexRangeError(
            f"evidence on {family.name!r}: {error}; its shape is {family.shape}.", site=family.name
        ) from error


def _numbered(family: Family, states: Any) -> Any:
    """Turn names of states into numbers, and check that each is a state; traced ones are taken as they are."""
    if traced(states):
        return states
    given = np.asarray(states)
    if given.size == 0:
        return given.astype(np.int64)
    if given.dtype.kind == "U":
        known, names = family.numbers, given.reshape(-1).tolist()
        unknown = [s for s in names if s not in known]
        if unknown:
            raise LawfulError(
                f"{family.name!r} has no state {unknown[0]!r}: its states are {', '.join(known)}.", site=family.name
            )
        return np.array([known[s] for s in names], np.int64).reshape(given.shape)
    if given.dtype.kind not in "iub" or np.any((given < 0) | (given >= family.cardinality)):
        raise LawfulError(
            f"{family.name!r}: expected a state from 0 to {family.cardinality - 1}, or its name, got {states!r}.",
            site=family.name,
        )
    return given.astype(np.int64)
