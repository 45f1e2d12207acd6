"""Potentials: the numbers of a factor graph, the states that its variables were seen in, and its scores in one vector.

Law: scores are natural logs; -inf excludes a state, NaN and +inf are refused where they are known. Evidence multiplies
the measure by the indicator of what was seen, and what is seen again replaces what was seen before; the structure does
not know of it, so other evidence compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import IndexRangeError, LawfulError, NonFiniteError
from lawful.form.operations.device import device_array

from .counted import counts_at
from .structure import Family, Structure

BY_NUMPY = 1 << 12  # entries up to which scores are compared with evidence on the host


class Potentials(NamedTuple):
    """The numbers of a factor graph, as natural logs: arrays that may be traced, batched and differentiated.

    Attributes:
        unary: for each family of variables, scores (n, K).
        tables: for each group of factors, tables (G, K_1, ..., K_r), or (1, ...) where all share one.
    """

    unary: tuple[Any, ...]
    tables: tuple[Any, ...]


def with_evidence(unary: Sequence[Any], evidence: Mapping[int, Any]) -> tuple[Any, ...]:
    """Exclude the states that were not observed: evidence is states (n,) by the number of the family, -1 for none.

    Few numbers are left to NumPy: each operation of JAX takes longer to dispatch than all of them to carry out.
    """
    found = list(unary)
    for place, seen in evidence.items():
        scores = found[place]
        few = scores.size <= BY_NUMPY and not traced(scores) and not traced(seen)
        xp, scores = (np, np.asarray(scores)) if few else (jnp, scores)
        allowed = (seen[:, None] < 0) | (seen[:, None] == np.arange(scores.shape[1])[None])
        found[place] = xp.where(allowed, scores, -np.inf)
    return tuple(found)


def scores_at(structure: Structure, potentials: Potentials, x: Any) -> Any:
    """Give the log of the measure (*lanes) at states of all variables by number (*lanes, n)."""
    # NumPy has nothing to compile, where all numbers are known, and adds up a million of them in double precision.
    xp = jnp if any(map(traced, (x, *potentials.unary, *potentials.tables))) else np
    dtype = np.dtype(np.float64) if xp is np else jnp.result_type(float)
    total = xp.zeros(x.shape[:-1], dtype)
    for family, scores in zip(structure.families, potentials.unary, strict=True):
        found = xp.asarray(scores)[np.arange(len(scores)), x[..., family.offset : family.offset + len(scores)]]
        total = total + xp.sum(found, axis=-1, dtype=dtype)
    for group, tables in zip(structure.groups, potentials.tables, strict=True):
        rows = np.zeros(len(group.scopes), np.int32) if group.shared else np.arange(len(group.scopes))
        found = xp.asarray(tables)[(rows, *(x[..., column] for column in group.scopes.T))]
        total = total + xp.sum(xp.broadcast_to(found, (*x.shape[:-1], len(rows))), axis=-1, dtype=dtype)
    for count in structure.counted:
        found = counts_at(count, x) if x.ndim == 1 else np.stack([counts_at(count, own) for own in x])
        right = xp.all(found == x[..., count.totals], axis=-1)
        total = total + xp.where(right, xp.zeros((), dtype), -xp.inf)
    return total.astype(jnp.result_type(float))


def log_scores(given: Any) -> Any:
    """Make an array of floats, of NumPy where they are few; traced ones stay as they are."""
    array: Any = device_array(given)
    if not traced(array) and array.size <= BY_NUMPY:
        array = np.asarray(array)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def unary_scores(family: Family, given: Any) -> Any:
    """Check the scores of a family, those of all its variables or those that all have, and keep them (n, K).

    Raises: LawfulError for another shape; NonFiniteError for a score that is NaN or +inf.
    """
    full = (*family.shape, family.cardinality)
    if given is None:
        return kept(np.zeros((math.prod(family.shape), family.cardinality), jnp.result_type(float)))
    scores = log_scores(given)
    if tuple(scores.shape) not in (full, full[-1:]):
        raise LawfulError(
            f"variables {family.name!r}: log_potential: expected shape {full} or {full[-1:]}, got "
            f"{tuple(scores.shape)}.",
            site=family.name,
        )
    refuse_not_finite(scores, f"log_potential of {family.name!r}")
    return kept(spread(scores, full).reshape((-1, family.cardinality)))


def states_of(family: Family, given: Any) -> Any:
    """Check the states of a family in an assignment; traced ones by their shape alone."""
    states = given if traced(given) else np.asarray(given)
    whole = jnp.issubdtype(states.dtype, jnp.integer) or states.dtype == jnp.bool_
    if tuple(states.shape) != family.shape or not whole:
        raise LawfulError(
            f"log_score: {family.name!r}: expected numbers of states of shape {family.shape}, got {states.dtype} of "
            f"shape {tuple(states.shape)}.",
            site=family.name,
        )
    if not traced(states) and np.any((states < 0) | (states >= family.cardinality)):
        raise LawfulError(
            f"log_score: {family.name!r}: expected states from 0 to {family.cardinality - 1}, got {given!r}.",
            site=family.name,
        )
    return states.reshape(-1).astype(np.int32)


def spread(array: Any, full: tuple[int, ...]) -> Any:
    """Repeat scores over a shape; an array of NumPy stays one."""
    if array.shape == full:
        return array
    return np.broadcast_to(array, full) if isinstance(array, np.ndarray) else jnp.broadcast_to(array, full)


def kept(scores: Any) -> Any:
    """Keep many numbers in JAX, which would copy NumPy's at each call; few may stay where nothing is compiled."""
    return device_array(scores) if isinstance(scores, np.ndarray) and scores.size > BY_NUMPY else scores


def refuse_not_finite(scores: Any, what: str) -> None:
    """Refuse NaN and +inf in concrete scores; traced ones are found by the verdict of the run."""
    if traced(scores):
        return
    found = np.argwhere(~(np.asarray(scores) < np.inf))
    if len(found):
        at = tuple(int(k) for k in found[0])
        raise NonFiniteError(
            f"{what}: element {at} is {float(scores[at])}; expected natural logs, where -inf excludes a state.",
            index=at,
        )


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


def states_seen(count: int, families: Sequence[Family], evidence: Mapping[int, Any]) -> Any:
    """Give the state that was seen of each variable by number (n,), -1 for none; `evidence` is by place of the family.

    >>> states_seen(3, [Family("x", (), 2, 0), Family("y", (2,), 3, 1)], {1: np.array([2, -1])}).tolist()
    [-1, 2, -1]
    """
    seen: Any = np.full(count, -1, np.int32)
    for place, states in evidence.items():
        own = slice(families[place].offset, families[place].offset + len(states))
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


class Scores(NamedTuple):
    """What an elimination starts from.

    Attributes:
        entries: scores of all variables, one after the other, then the tables of all factors of each group (E,).
        level: what was taken out of the tables, in all.
    """

    entries: Any
    level: Any


def scores_of(structure: Structure, potentials: Potentials) -> Scores:
    """Put the numbers of a graph in a row; by NumPy where they are known.

    >>> structure = Structure((Family("z", (2,), 2, 0),), ())
    >>> scores_of(structure, Potentials((np.array([[1.0, 3.0], [-np.inf, 5.0]]),), ()))
    Scores(entries=array([ -2.,   0., -inf,   0.]), level=np.float64(8.0))
    """
    arrays = (*potentials.unary, *potentials.tables)
    dtype = jnp.result_type(*arrays) if arrays else jnp.result_type(float)
    xp = jnp if any(map(traced, arrays)) else np
    counts = [*map(len, potentials.unary), *(len(group.scopes) for group in structure.groups)]
    entries, level = [xp.zeros(0, dtype)], xp.zeros((), dtype)
    for array, count in zip(arrays, counts, strict=True):
        if count:
            rows = xp.asarray(array, dtype).reshape((len(array), -1))
            top = top_of(rows, xp)
            entries.append(xp.broadcast_to(rows - top, (count, rows.shape[1])).reshape(-1))
            level = level + xp.sum(top) * (count // len(array))
    return Scores(xp.concatenate(entries), level)


def top_of(rows: Any, xp: Any) -> Any:
    """Give the largest entry of each row (B, 1, *lanes), without a gradient; zero where none is finite."""
    top = xp.max(rows, axis=1, keepdims=True)
    return constant(xp.where(xp.isfinite(top), top, xp.zeros_like(top)))


def constant(value: Any) -> Any:
    """Stop the gradient; what takes out a level or puts it back has none."""
    return value if isinstance(value, np.ndarray | np.generic) else jax.lax.stop_gradient(value)
