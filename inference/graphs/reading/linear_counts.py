"""Linear counts: values that are a number plus a number times how many of some variables are in a state.

Law: offset + step * (number of members in their states) is the value at every assignment. A sum of indicators is one,
however it was written: sums, sums by segment, products with constant matrices of zeros and ones, means.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .lifted import Terms

LARGE = 1 << 8  # entries of the table of one element, from which on a count takes its place


class LinearCount(NamedTuple):
    """The members of each element of a value, and what they add to it.

    Attributes:
        members: variables of all elements, one element behind the other (M,).
        starts: where those of an element begin, and the end of the last (E + 1,).
        states: the state of each that counts (M,).
        offset: the value without any (*shape).
        step: what each adds (*shape).
    """

    members: np.ndarray
    starts: np.ndarray
    states: np.ndarray
    offset: Any
    step: np.ndarray


def _is_concrete(value: Terms) -> bool:
    """Tell whether what the variables of a value add to it is known, so that equal weights can be told."""
    return not any(part.arity and isinstance(part.array, jax.core.Tracer) for part in value.parts)


def linear_count(value: Terms, large: int = LARGE) -> LinearCount | None:
    """Recognise a count with a table over some size; None for all other values."""
    single = [part for part in value.parts if part.arity]
    if any(part.array.dtype == jnp.bool_ for part in single):
        return None
    lead, size = len(value.shape), math.prod(value.shape)
    if any(part.arity > 1 for part in single) or len({part.cardinalities for part in single}) != 1:
        return None
    (card,) = single[0].cardinalities
    many = sum(math.prod(part.shape[lead:]) for part in single)
    if not size or card < 2 or many < 2 or many * math.log(card) <= math.log(large) or not _is_concrete(value):
        return None
    scores = np.concatenate([np.asarray(part.array).reshape((card, size, -1)) for part in single], axis=2)
    variables = np.concatenate([part.scopes.reshape((size, -1)) for part in single], axis=1)
    owner, members, scores = _merged(variables, scores.reshape((card, -1)))
    found = _steps(owner, scores, size)
    if found is None:
        return None
    kept, states, base, step = found
    owner, members = owner[kept], members[kept]
    sizes = np.bincount(owner, minlength=size)
    if sizes.max() < 2 or sizes.max() * math.log(card) <= math.log(large):
        return None
    plain = [jnp.sum(p.array.reshape((*value.shape, -1)), axis=-1) for p in value.parts if not p.arity]
    offset = sum(plain, jnp.asarray(base.reshape(value.shape)).astype(value.parts[0].array.dtype))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return LinearCount(members, starts, states, offset, step.reshape(value.shape))


def _merged(variables: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up what an element says of one variable more than once: elements and variables (U,), scores (K, U)."""
    size = len(variables)
    width = int(variables.max(initial=0)) + 1
    keys = (np.arange(size)[:, None] * width + variables).reshape(-1)
    known, first, place = np.unique(keys, return_index=True, return_inverse=True)
    if len(known) < len(keys):
        total = np.zeros((len(scores), len(known)), scores.dtype)
        for row, own in zip(total, scores, strict=True):
            np.add.at(row, place, own)
    else:
        total = scores[:, first]
    order = np.lexsort((first, known // width))  # members as the program lists them
    return (known // width)[order], (known % width)[order], total[:, order]


def _steps(
    owner: np.ndarray, scores: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Find which members count (U,), their states (M,), and for each element its offset and its step (E,)."""
    low, high = scores.min(axis=0), scores.max(axis=0)
    kept = high != low
    base = np.zeros(size, scores.dtype)
    np.add.at(base, owner[~kept], low[~kept])
    owner, scores, low, high = owner[kept], scores[:, kept], low[kept], high[kept]
    up, down = (scores == high).sum(axis=0) == 1, (scores == low).sum(axis=0) == 1
    if len(scores) == 2:  # both hold: the first state is zero, unless the members of an element differ in sign
        rising = scores[1] > scores[0]
        some, all_ = np.zeros(size, bool), np.ones(size, bool)
        np.logical_or.at(some, owner, rising)
        np.logical_and.at(all_, owner, rising)
        falls = (~some)[owner]
        states = np.where((some & ~all_)[owner] & ~rising, 0, 1)
    elif up.all():
        states, falls = scores.argmax(axis=0), np.zeros(len(owner), bool)
    elif down.all():
        states, falls = scores.argmin(axis=0), np.ones(len(owner), bool)
    else:
        return None
    if ((scores != low) & (scores != high)).any():
        return None
    np.add.at(base, owner, np.where(falls, high, low))
    own = np.where(falls, low - high, high - low)
    step = np.zeros(size, scores.dtype)
    step[owner] = own
    close = 8 * np.finfo(own.dtype).eps if own.dtype.kind == "f" else 0
    if np.any(np.abs(own - step[owner]) > close * np.abs(own)):
        return None
    return kept, states.astype(np.int64), base, step
