"""Observations: data meet their site at the earliest moment, and never by silent broadcasting.

Law: an accepted observation has exactly the shape of its site, holds no NaN, and lies in the support wherever both are
concrete.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .addresses import Address, show_address
from .errors import ObservationError
from .messages import PlateFrame, Source


def checked_observation(
    value: Any, distribution: Any, address: Address, plates: tuple[PlateFrame, ...], source: Source
) -> jax.Array:
    """Return the observation as an array, or say what is wrong with it.

    Raises: ObservationError naming site, axis or index, what was given, what was expected and the user's line.
    """
    array = of_its_shape(value, distribution, address, plates, source)
    if isinstance(array, jax.core.Tracer):
        return array
    concrete = np.asarray(array)
    if np.issubdtype(concrete.dtype, np.inexact) and np.isnan(concrete).any():
        where = tuple(int(i) for i in np.argwhere(np.isnan(concrete))[0])
        raise ObservationError(nan_message(address, where, source), site=address, index=where, source=source)
    _check_support(array, concrete, distribution, address, source)
    return array


def of_its_shape(
    value: Any, distribution: Any, address: Address, plates: tuple[PlateFrame, ...], source: Source
) -> jax.Array:
    """Return a value as an array of exactly the shape of its site; its density may be zero."""
    with jax.ensure_compile_time_eval():  # a constant of a program that is being traced is known now
        array = jnp.asarray(value)
    expected = tuple(distribution.shape())
    if array.shape != expected:
        raise ObservationError(
            _shape_message(array.shape, expected, address, plates, source),
            site=address, given=array.shape, expected=expected, source=source,
        )  # fmt: skip
    return array


def nan_message(address: Address, index: tuple[int, ...], source: Source) -> str:
    """Word the complaint about a NaN in the data."""
    return (
        f"site '{show_address(address)}' ({source}): the observation is NaN at index {index}. "
        "Fix: drop the entry, or model the missing value as a site of its own."
    )


def support_message(address: Address, index: tuple[int, ...], value: Any, support: str, source: Source) -> str:
    """Word the complaint about a datum outside the support."""
    return (
        f"site '{show_address(address)}' ({source}): the observation {value} at index {index} lies outside the "
        f"support, {support}. Fix: correct the datum, or choose a distribution whose support holds it."
    )


def support_name(distribution: Any) -> str:
    """Name a distribution's support for an error message."""
    support = distribution.support
    text = repr(support) if "object at" not in repr(support) else type(support).__name__
    return text.strip("_").replace("_", " ")


def _check_support(array: jax.Array, concrete: np.ndarray, distribution: Any, address: Address, source: Source) -> None:
    try:
        with jax.ensure_compile_time_eval():
            inside = distribution.support(array)
    except NotImplementedError:
        return
    if isinstance(inside, jax.core.Tracer):
        return
    outside = np.argwhere(~np.asarray(inside))
    if outside.size or (outside.shape[0] and not np.ndim(inside)):
        where = tuple(int(i) for i in outside[0])
        raise ObservationError(
            support_message(address, where, concrete[where], support_name(distribution), source),
            site=address, index=where, value=concrete[where], source=source,
        )  # fmt: skip


def _shape_message(
    given: tuple[int, ...], expected: tuple[int, ...], address: Address, plates: tuple[PlateFrame, ...], source: Source
) -> str:
    inside = "".join(f" in plate '{p.name}' (axis {p.dim}, size {p.size})" for p in plates)
    lines = [f"site '{show_address(address)}'{inside}: observed shape {given}, expected {expected}."]
    try:
        broadcast = np.broadcast_shapes(given, expected)
    except ValueError:
        broadcast = None
    if broadcast is not None and broadcast != expected:
        lines.append(f"  It would be broadcast to {broadcast} and count observations more than once.")
    lines.append(f"  Model: {source}. Fix: {_shape_remedy(given, expected)}")
    return "\n".join(lines)


def _shape_remedy(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    for axis, size in enumerate(given):
        if size == 1 and given[:axis] + given[axis + 1 :] == expected:
            return f"pass obs=y.squeeze({axis - len(given)}), or declare a plate for that axis."
    if given == () or (1 in given and np.prod(given) == 1):
        return "repeat the value explicitly with jnp.broadcast_to if it was observed that many times."
    return "give an observation of the expected shape, or declare the missing axis with plate(name, size)."
