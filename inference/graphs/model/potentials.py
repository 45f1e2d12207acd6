"""Potentials: the numbers of a factor graph, and what is asked of them when they are given.

Law: scores are natural logs; -inf excludes a state, NaN and +inf are refused where they are known. Evidence excludes
every state but the one observed, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, NonFiniteError
from lawful.form.operations.device import device_array

from .evidence import traced
from .structure import Family

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


def log_scores(given: Any) -> Any:
    """Make an array of floats, of NumPy where they are few; traced ones stay as they are."""
    array: Any = device_array(given)
    if not traced(array) and array.size <= BY_NUMPY:
        array = np.asarray(array)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


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
