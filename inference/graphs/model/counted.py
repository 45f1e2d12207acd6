"""Counted: bags of variables, and for each bag a variable that holds how many of its members are in a state.

Law: a count multiplies the measure by the indicator that it is right. What is known of it, as a number, an interval, a
noisy reading or a table of weights, is the score of the variable that holds it; other factors may read it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, ObservationError

from .structure import Count, Structure


class Bags(NamedTuple):
    """Members in the order of their bags.

    Attributes:
        shape: of the array of bags.
        members: variables by number (M,).
        starts: where the bags begin, and the end of the last (G + 1,).
        states: the state of each member that counts (M,).
        largest: number of members of the largest bag.
    """

    shape: tuple[int, ...]
    members: np.ndarray
    starts: np.ndarray
    states: np.ndarray
    largest: int

    def under(self, name: str, totals: np.ndarray) -> Count:
        """Name the bags, and the variables that hold their counts."""
        return Count(name, totals.reshape(-1), self.members, self.starts, self.states)


def bags_of(name: str, numbers: np.ndarray, cardinality: int, bags: Any, state: Any) -> Bags:
    """Put members into bags: the rows of an array along its last axis, or by the number of each member's bag.

    Raises: ObservationError for shapes or numbers of bags that do not fit; LawfulError for a state that is none, or a
        bag that holds a variable twice.

    >>> bags_of("n", np.array([3, 4, 5]), 2, [1, 0, 1], 1).members.tolist()
    [4, 3, 5]
    """
    if not numbers.ndim:
        raise ObservationError(
            f"count {name!r}: expected members along an axis, got a single variable. Fix: give z[None].", site=name
        )
    states = np.asarray(state)
    if states.dtype.kind not in "iub" or np.any((states < 0) | (states >= cardinality)):
        raise LawfulError(f"count {name!r}: expected a state from 0 to {cardinality - 1}, got {state!r}.", site=name)
    try:
        states = np.broadcast_to(states, numbers.shape).astype(np.int64)
    except ValueError:
        raise ObservationError(
            f"count {name!r}: states of shape {states.shape}, expected one for all members, or {numbers.shape}.",
            site=name,
        ) from None
    if bags is None:
        *shape, size = numbers.shape
        starts = size * np.arange(int(np.prod(shape)) + 1)
        found = Bags(tuple(shape), numbers.reshape(-1), starts, states.reshape(-1), size)
    else:
        ids = np.asarray(bags)
        if ids.shape != numbers.shape or (ids.size and ids.dtype.kind not in "iu") or np.any(ids < 0):
            raise ObservationError(
                f"count {name!r}: bags: expected the number of the bag of each member, integers from 0 of shape "
                f"{numbers.shape}, got {ids.dtype} of shape {ids.shape}.",
                site=name,
            )
        ids = ids.reshape(-1).astype(np.int64)
        order = np.argsort(ids, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(ids))]).astype(np.int64)
        largest = int(np.diff(starts).max(initial=0))
        found = Bags((len(starts) - 1,), numbers.reshape(-1)[order], starts, states.reshape(-1)[order], largest)
    owner = np.repeat(np.arange(len(found.starts) - 1), np.diff(found.starts))
    if len(owner) and len(np.unique(owner * (found.members.max() + 1) + found.members)) < len(owner):
        raise LawfulError(f"count {name!r}: a bag holds a variable twice. Fix: name each member once.", site=name)
    return found


def refuse_impossible(name: str, bags: Bags, log_potential: Any) -> None:
    """Refuse concrete scores that allow no count of some bag, as one larger than the bag.

    Raises: ObservationError, with the bag.
    """
    if isinstance(log_potential, jax.core.Tracer):
        return
    scores = np.asarray(log_potential).reshape((-1, bags.largest + 1))
    sizes = np.diff(bags.starts)
    inside = np.arange(bags.largest + 1)[None] <= sizes[:, None]
    none = np.flatnonzero(~np.any(inside & (scores > -np.inf), axis=1))
    if len(none):
        bag = int(none[0])
        where = f"[{', '.join(str(int(k)) for k in np.unravel_index(bag, bags.shape))}]" if bags.shape else ""
        raise ObservationError(
            f"count {name!r}: bag {name}{where} has {sizes[bag]} members, and no count from 0 to {sizes[bag]} has a "
            "finite log potential. Fix: look for a count that is negative or larger than its bag.",
            site=name,
        )


def counts_at(count: Count, x: Any) -> Any:
    """Count the members in their states (G,), at states of all variables (n,)."""
    if isinstance(x, np.ndarray):
        return np.bincount(count.bags, x[count.members] == count.states, count.size).astype(np.int32)
    hits = (x[count.members] == count.states).astype(jnp.int32)
    return jax.ops.segment_sum(hits, count.bags, count.size, indices_are_sorted=True)


def completed(structure: Structure, assignment: Mapping[str, Any]) -> dict[str, Any]:
    """Add the counts that an assignment leaves out."""
    found = dict(assignment)
    for count in structure.counted:
        if count.name in found:
            continue
        known = [f for f in structure.families if f.name in found]
        x = jnp.full(structure.size, -1, jnp.int32)
        for family in known:
            own = jnp.asarray(found[family.name]).reshape(-1).astype(jnp.int32)
            x = x.at[family.offset : family.offset + family.size].set(own)
        family = next(f for f in structure.families if f.name == count.name)
        found[count.name] = counts_at(count, x).reshape(family.shape)
    return found
