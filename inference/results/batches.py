"""Batches: one compiled function over many draws, a batch at a time, each batch moved to the host before the next.

Law: the batch size changes memory and time, and values by no more than rounding, since each draw is computed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice

BYTES = 1 << 26  # of values and answers in a batch of automatic size

type BatchSize = int | Literal["auto"]


def in_batches(
    function: Callable[[list[Any]], Sequence[jax.Array]], columns: Sequence[Any], count: int, size: BatchSize = "auto"
) -> list[np.ndarray]:
    """Apply a function of many draws to all of them.

    Args:
        function: takes columns of some draws and gives columns of as many answers; compiled once.
        columns: arrays (count, ...).
        count: number of draws.
        size: draws a batch; "auto" takes as many as fit into 64 MiB.

    Returns: arrays (count, ...) on the host.

    Raises: UnsupportedProgramError inside jit, vmap or grad.

    >>> import jax.numpy as jnp
    >>> (double,) = in_batches(lambda columns: [2 * columns[0]], [jnp.arange(5)], 5, size=2)
    >>> double.tolist()
    [0, 2, 4, 6, 8]
    """
    if size != "auto" and (not isinstance(size, int | np.integer) or size < 1):
        raise LawfulError(f"batch_size: expected 'auto' or an integer of 1 or more, got {size!r}.")
    try:
        arrays = [np.asarray(column) for column in columns]
        with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones, as of a loop in a batch
            return _in_batches(function, arrays, count, size)
    except jax.errors.TracerArrayConversionError as error:
        raise UnsupportedProgramError(
            "draws and their numbers go to the host batch by batch, which jit, vmap and grad cannot follow. Fix: call "
            "it outside of these, on all draws at once."
        ) from error


def at_draws(
    function: Callable[..., Any],
    args: Sequence[Any],
    choices: Sequence[Choice],
    draws: Mapping[str, Any],
    size: BatchSize = "auto",
) -> list[np.ndarray]:
    """Ask `function(inputs, [number of the row, *values])` at the draws (chain, draw, ...) of choices, by name.

    Returns: the answers (chain, draw, ...); without these two axes where there are no draws at all.
    """
    inputs, _, _ = split_arguments(tuple(args))
    lead = leading_axes(draws) if draws else ()
    count = math.prod(lead)
    columns = [in_one_row(as_choice(choice, draws[choice.name])) for choice in choices]
    answers = in_batches(partial(function, inputs), [np.arange(count), *columns], count, size)
    return [answer.reshape((*lead, *answer.shape[1:])) for answer in answers]


def as_choice(choice: Choice, draws: Any) -> np.ndarray:
    """Give draws the type of their choice; an integer without a value, where an arm did not run, reads as zero."""
    array = np.asarray(draws)
    if array.dtype == choice.dtype:
        return array
    return np.where(np.isnan(array), 0, array).astype(choice.dtype)


def leading_axes(draws: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of chains and draws."""
    chains, length = next((np.shape(array)[:2] for array in draws.values()), (0, 0))
    return chains, length


def over_rows(function: Callable[[Sequence[Any], Sequence[Any]], list[jax.Array]]) -> Callable[..., list[jax.Array]]:
    """Compile `function(inputs, values)` for many rows of values; the first column counts them: there may be no other.

    >>> double = over_rows(lambda inputs, values: [inputs[0] * values[0]])
    >>> double([2], [np.arange(3), np.array([5, 6, 7])])[0].tolist()
    [10, 12, 14]
    """
    many = jax.vmap(lambda inputs, index, values: function(inputs, values), (None, 0, 0))
    return jax.jit(lambda inputs, columns: many(inputs, columns[0], columns[1:]))


def in_one_row(array: Any) -> Any:
    """Join the axes of chains and draws; also where an element has no number, which leaves no size to infer.

    >>> in_one_row(np.zeros((2, 3, 0))).shape
    (6, 0)
    """
    return array.reshape(math.prod(array.shape[:2]), *array.shape[2:])


def _in_batches(
    function: Callable[[list[Any]], Sequence[jax.Array]], arrays: list[np.ndarray], count: int, size: BatchSize
) -> list[np.ndarray]:
    narrow = [jax.dtypes.canonicalize_dtype(a.dtype) for a in arrays]  # as a call would: without 64 bits these are 32
    one = [jax.ShapeDtypeStruct((1, *a.shape[1:]), dtype) for a, dtype in zip(arrays, narrow, strict=True)]
    shapes = jax.eval_shape(function, one)
    answers = [np.empty((count, *shape.shape[1:]), shape.dtype) for shape in shapes]
    row = sum(a.dtype.itemsize * int(np.prod(a.shape[1:])) for a in (*arrays, *answers))
    length = max(1, min(count, BYTES // max(row, 1) if size == "auto" else int(size)))
    for start in range(0, count, length):
        stop = min(start + length, count)
        rows = np.minimum(np.arange(start, start + length), count - 1)  # the last batch is filled up: one shape
        parts = jax.device_get(function([a[rows] for a in arrays]))
        for answer, part in zip(answers, parts, strict=True):
            answer[start:stop] = part[: stop - start]
    return answers
