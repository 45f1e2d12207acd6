"""Plates: batch axes of independent elements, and the distributions of sites inside them.

Law: a site in a plate has the density of independent elements, each with its own parameters or with those of all; an
axis of another size is an error, never stretched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import names_of, show_address
from ..errors import LawfulError
from ..messages import RESERVED, PlateFrame, SampleMessage, caller, placed, surroundings


@contextlib.contextmanager
def plate(
    name: str, size: int, *, dim: int | None = None, coords: Sequence[Any] | np.ndarray | None = None
) -> Iterator[jax.Array]:
    """Declare a batch axis of independent elements, given the variables outside.

    Args:
        name: the name of the axis, which becomes a dimension of the results.
        size: its length; 0 is legal and leaves the prior.
        dim: its position from the right, negative; default: the next free one from the right.
        coords: a label for each element, as names or years, which results show.

    Yields: the indices 0..size-1.

    Raises: LawfulError for a position taken by another plate, a reserved name, or labels of another number.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful import handlers
    >>> def schools():
    ...     with plate("school", 8):
    ...         return lawful.sample("theta", dist.Normal(0.0, 1.0))
    >>> handlers.seed(schools, jax.random.key(0))().shape
    (8,)
    """
    place, source = surroundings(), caller()

    def wrong(words: str) -> LawfulError:
        return LawfulError(f"plate '{name}' ({source}): {words}", plate=name)

    if name in RESERVED:
        raise wrong("the name is reserved for results; choose another.")
    if not isinstance(size, int | np.integer) or size < 0:
        raise wrong(f"expected a size of 0 or more, got {size!r}.")
    if name in place.loop_names:
        raise wrong(
            "the loop around it has this name, so results had two axes of one name. Fix: give one of them another."
        )
    taken = {frame.dim for frame in place.plates}
    if dim is None:
        dim = next(d for d in range(-1, -len(taken) - 2, -1) if d not in taken)
    if dim >= 0 or dim in taken:
        why = "is taken by another plate" if dim in taken else "must be negative"
        raise wrong(f"axis {dim} {why}; taken axes: {sorted(taken)}.")
    labels = None if coords is None else tuple(np.asarray(coords))
    if labels is not None and len(labels) != size:
        raise wrong(f"{len(labels)} coords for {size} elements.")
    with placed(replace(place, plates=(*place.plates, PlateFrame(name, int(size), dim, labels)))):
        yield jnp.arange(size)


def in_plates(message: SampleMessage) -> Any:
    """Give a distribution the batch axes of its plates; an axis of another size is an error, never stretched."""
    distribution, plates = message.distribution, message.plates
    if not plates:
        return distribution
    batch = tuple(distribution.batch_shape)
    rank = max(len(batch), max(-frame.dim for frame in plates))
    shape = [1] * (rank - len(batch)) + list(batch)
    for frame in plates:
        if shape[frame.dim] not in (1, frame.size):
            raise LawfulError(
                f"site '{show_address(names_of(message.address))}' in plate '{frame.name}' (axis {frame.dim}, size "
                f"{frame.size}): the distribution's batch shape is {batch}. Model: {message.source}. Fix: give "
                f"parameters of size {frame.size} or 1 on axis {frame.dim}, or declare the plate with another dim.",
                site=message.address,
                plate=frame.name,
            )
        shape[frame.dim] = frame.size
    return distribution if tuple(shape) == batch else distribution.expand(tuple(shape))
