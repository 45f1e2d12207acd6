"""Padding: sequences of different lengths, padded to one length, with a mask that says which steps are there.

Law: a step that is masked out passes the carry through and weighs nothing, so a padded sequence means what the sequence
without its padding means; what the padding holds has no influence on any value or gradient. With one truth value a step
the sites of a step that is masked out are absent, as those of an arm that does not run. With one for each element of a
plate the data, factors and choices of the elements that are masked out are absent: such an element of a choice weighs
nothing, and is a fixed number that no kernel moves (`distributions.absent`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import LawfulError
from ..messages import is_staged, placed, surroundings
from .data.observed import both

PASSED = ": a step that is masked out passes the carry through"
ABSENT = object()  # the output of a step of an eager run that is masked out, until its shape is known


def pad(sequences: Sequence[Any], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pad sequences to one length.

    Args:
        sequences: arrays of shapes (T_i, ...), equal but for their lengths.
        length: the length to pad to; default: that of the longest.

    Returns: the values (sequence, T, ...), zero where there is none, and the mask (sequence, T) of what is there.

    Raises: LawfulError where the sequences differ in more than their lengths, or one is longer than `length`.

    >>> values, present = pad([[1.0, 2.0, 3.0], [4.0]])
    >>> values.tolist(), present.sum(axis=1).tolist()
    ([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]], [3, 1])
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    filled = [array for array in arrays if array.size] or arrays[:1]
    element, kind = (filled[0].shape[1:], np.result_type(*filled)) if filled else ((), np.dtype(float))
    for number, array in enumerate(arrays):
        if array.ndim == 0:
            raise LawfulError(f"pad: expected sequences, got the number {array} at place {number}.")
        if array.size and array.shape[1:] != element:
            raise LawfulError(
                f"pad: expected elements of one shape, got {array.shape[1:]} at place {number} beside {element}."
            )
    lengths = np.array([len(array) for array in arrays], int)
    longest = int(lengths.max(initial=0))
    if length is not None and length < longest:
        raise LawfulError(f"pad: a sequence has {longest} steps, more than length={length}.")
    steps = longest if length is None else length
    values = np.zeros((len(arrays), steps, *element), kind)
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array.reshape(len(array), *element)
    return values, np.arange(steps) < lengths[:, None]


def masked_steps(body: Callable[..., Any], xs: Any, mask: Any, what: str) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """Return the body of a loop whose steps may be masked out, and what its steps read.

    Args:
        body: `(carry, x) -> (carry, y)`.
        xs: what the steps of the body read.
        mask: (T,) or (T, lanes...), which steps are there.
        what: names the loop in messages.
    """
    if np.ndim(mask) == 1:
        return lambda carry, given: _step(body, carry, given[0], given[1], what), (xs, mask)
    steady = jax.tree.map(lambda leaf: _without_padding(leaf, mask), xs)
    return lambda carry, given: _lanes(body, carry, given[0], given[1], what), (steady, mask)


def _step(body: Callable[..., Any], carry: Any, x: Any, present: Any, what: str) -> tuple[Any, Any]:
    """Run a step, or leave it out with all its sites."""
    if not is_staged():
        return body(carry, x) if bool(present) else (carry, ABSENT)
    carry = jax.tree.map(strong, carry)

    def run() -> Any:
        return jax.tree.map(strong, body(carry, x))

    after, y = jax.eval_shape(run)
    refuse_other_state(carry, after, what + PASSED)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), y)
    return jax.lax.cond(jnp.asarray(present, bool), as_arm(run), lambda: (carry, zeros))


def as_arm(function: Callable[..., Any]) -> Callable[..., Any]:
    """Note around the statements of a function that is traced that they stand in an arm."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        place = surroundings()
        with placed(replace(place, arms=place.arms + 1)):
            return function(*args)

    return run


def _lanes(body: Callable[..., Any], carry: Any, x: Any, present: Any, what: str) -> tuple[Any, Any]:
    """Run a step for all lanes, and keep what it gives in those that are there."""
    place = surroundings()
    with placed(replace(place, lanes=both(place.lanes, present))):
        after, y = body(carry, x)
    if is_staged():
        refuse_other_state(jax.tree.map(jnp.asarray, carry), jax.tree.map(jnp.asarray, after), what + PASSED)
    kept = jax.tree.map(lambda new, old: _where(present, new, old, what), after, carry)
    return kept, jax.tree.map(lambda leaf: _where(present, leaf, np.zeros((), jnp.result_type(leaf)), what), y)


def _where(present: Any, new: Any, old: Any, what: str) -> Any:
    """Choose lane by lane; lanes are the first axes of a value."""
    shape = tuple(np.shape(present))
    if np.shape(new)[: len(shape)] != shape:
        raise LawfulError(
            f"{what}: a mask with the lanes {shape} a step needs carries and outputs with these as their first axes, "
            f"got {np.shape(new)}. Fix: give one value for each lane, or a mask of one truth value a step."
        )
    return jnp.where(present.reshape(shape + (1,) * (np.ndim(new) - len(shape))), new, old)


def _without_padding(leaf: Any, mask: Any) -> Any:
    """Put what the last step before it read, or else the first, in the place of padding; zero in a lane without steps.

    What stands there is computed with, so it has to be a number that a step may read.
    """
    shape = tuple(np.shape(mask))
    if np.shape(leaf)[: len(shape)] != shape:
        return leaf  # the same for all lanes
    present = jnp.asarray(mask)
    steps = jnp.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
    before = jax.lax.cummax(jnp.where(present, steps, -1), axis=0)
    read = jnp.where(before < 0, jnp.argmax(present, axis=0), before)
    inner = (1,) * (np.ndim(leaf) - len(shape))
    taken = jnp.take_along_axis(jnp.asarray(leaf), read.reshape(shape + inner), axis=0)
    return jnp.where(jnp.any(present, axis=0).reshape(shape[1:] + inner), taken, jnp.zeros((), taken.dtype))


def refuse_other_state(before: Any, after: Any, what: str, types: bool = True) -> None:
    """Refuse what a step makes of the state of a loop where it has another structure, or other shapes and types."""

    def shown(leaf: Any) -> str:
        return f"{leaf.dtype}{list(leaf.shape)}" if types else "*"

    old, new = jax.tree.map(shown, before), jax.tree.map(shown, after)
    if old != new:
        raise LawfulError(
            f"{what}: the body returns {new}, expected the structure of the state, its shapes and types: {old}. Fix: "
            "start from a value of the kind that the body returns."
        )


def strong(leaf: Any) -> jax.Array:
    """Give an array a type of its own, which no other array changes."""
    array = jnp.asarray(leaf)
    return jax.lax.convert_element_type(array, array.dtype)
