"""Checked data: observations are checked against their site before they are scored.

Law: an observation has exactly the site's shape and, where its value is known, lies in the support; nothing is ever
broadcast in silence. A number keeps its value or is refused: integers become floats only where they are exact, floats
of low precision become wider, truth values belong to sites of two values alone.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...addresses import Address, show_address
from ...distributions.support import contains, of_elements
from ...errors import ObservationError
from ...messages import PlateFrame, Source, handlers, is_staged


def checked_observation(
    value: Any,
    distribution: Any,
    address: Address,
    plates: tuple[PlateFrame, ...],
    source: Source,
    mask: Any = None,
) -> jax.Array:
    """Return the observation as an array, or say what is wrong with it where the mask is True.

    A support that may have moved with the choices of an eager run is not checked here: the density is 0 outside it.

    Raises: ObservationError naming site, axis or index, what was given, what was expected and the user's line.
    """
    wanted: np.ndarray = np.asarray(True)
    elements: np.ndarray | None = None
    if mask is not None and not isinstance(mask, jax.core.Tracer):
        wanted, event = np.asarray(mask), len(getattr(distribution, "event_shape", ()))
        elements = wanted.reshape(wanted.shape + (1,) * event) if wanted.ndim else wanted
    raw = _raw(value)
    known = not isinstance(raw, jax.core.Tracer) and not isinstance(mask, jax.core.Tracer)
    if known and jnp.issubdtype(raw.dtype, jnp.inexact) and raw.shape == tuple(distribution.shape()):
        broken = np.isnan(np.asarray(raw)) & (True if elements is None else elements)
        if broken.any():
            where = tuple(int(i) for i in np.argwhere(broken)[0])
            raise ObservationError(nan_message(address, where, source), site=address, index=where, source=source)
    array = of_its_shape(raw, distribution, address, plates, source, elements)
    if known and (is_staged() or not _may_move(distribution)):
        _check_support(array, np.asarray(array), wanted, distribution, address, source)
    return array


def _may_move(distribution: Any) -> bool:
    """Tell whether a support has bounds that an earlier choice of this eager run may have set."""
    stack = handlers()
    if not stack or not stack[0].drawn:
        return False
    return not isinstance(of_elements(distribution.support), constraints.ParameterFreeConstraint)


def of_its_shape(
    value: Any,
    distribution: Any,
    address: Address,
    plates: tuple[PlateFrame, ...],
    source: Source,
    wanted: np.ndarray | None = None,
) -> jax.Array:
    """Return a value as an array of exactly the shape of its site, and of its kind; its density may be zero.

    Args: wanted: where the value counts; elsewhere it need not have the kind of the site.
    """
    raw = _raw(value)
    expected = tuple(distribution.shape())
    if tuple(raw.shape) != expected:
        raise ObservationError(
            _shape_message(tuple(raw.shape), expected, address, plates, source),
            site=address, given=tuple(raw.shape), expected=expected, source=source,
        )  # fmt: skip
    support = of_elements(distribution.support)
    try:
        discrete = support.is_discrete
    except (AttributeError, NotImplementedError):  # a law of an algorithm, or a support that only its parameters know
        return jnp.asarray(raw)
    kind, target = _kind(raw.dtype), _target(discrete, bool(jax.config.read("jax_enable_x64")))
    wrong: tuple[str, str, str] | None = None
    if kind == "bool" and support is not constraints.boolean:
        wrong = "truth values", "numbers", "write y.astype(int), or use a Bernoulli distribution"
    elif kind == "other":
        wrong = f"data of type {raw.dtype}", "numbers", "convert the data to integers or floats"
    if wrong is None and not isinstance(raw, jax.core.Tracer):
        array, lost = _converted(np.asarray(raw), kind, target, wanted)
        if lost is None and isinstance(raw, jax.Array) and array.dtype == raw.dtype:
            return raw
        if lost is None:
            with jax.ensure_compile_time_eval():  # a constant of a program that is being traced is known now
                return jnp.asarray(array)
        wrong = f"the integer {lost}", f"one that {target} holds exactly", "enable jax_enable_x64, or rescale the data"
    if wrong is not None:
        given, wish, remedy = wrong
        raise ObservationError(
            f"site '{show_address(address)}' ({source}): got {given}, expected {wish}. Fix: {remedy}.",
            site=address, given=given, expected=wish, source=source,
        )  # fmt: skip
    keeps = kind == "float" and (discrete or np.dtype(raw.dtype).itemsize >= target.itemsize)
    return raw if keeps else raw.astype(target)


def _raw(value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except jax.errors.TracerArrayConversionError:  # a list of values that are traced
        try:
            return jnp.asarray(value)
        except (TypeError, ValueError) as error:
            raise ObservationError(
                f"obs: expected numbers, got a {type(value).__name__} that holds something else ({error}). Fix: give "
                "an array of numbers, and NaN with obs_mask for what is missing."
            ) from error


def as_known(value: Any) -> Any:
    """Return a value as an array of NumPy where its numbers are known, else as it is traced."""
    raw = _raw(value)
    return raw if isinstance(raw, jax.core.Tracer) else np.asarray(raw)


@functools.lru_cache(maxsize=4)
def _target(discrete: bool, x64: bool) -> np.dtype:
    """Return the type of whole numbers, or of all."""
    return np.dtype(jnp.result_type(int if discrete else float))


@functools.lru_cache(maxsize=64)
def _kind(dtype: Any) -> str:
    for kind, name in ((bool, "bool"), (jnp.integer, "integer"), (jnp.floating, "float")):
        if jnp.issubdtype(dtype, kind):
            return name
    return "other"


def _converted(
    raw: np.ndarray, kind: str, target: np.dtype, wanted: np.ndarray | None
) -> tuple[np.ndarray, int | None]:
    """Convert known numbers to a type; an integer that it does not hold comes back as lost."""
    if kind in ("bool", "integer"):
        large = raw[_beyond(raw, target)] if raw.size else raw
        lost = next((int(x) for x in large.reshape(-1).tolist() if _changes(x, target)), None)
        return raw.astype(target), lost
    numbers = raw.astype(np.float64)
    if np.issubdtype(target, np.integer):
        counted = numbers if wanted is None else np.where(wanted, numbers, 0.0)
        limit = float(np.iinfo(target).max)
        if np.all((counted == np.round(counted)) & (np.abs(counted) <= limit)):
            return counted.astype(target), None
        return numbers, None
    return (raw.astype(target) if raw.dtype.itemsize < target.itemsize else raw), None


def _beyond(raw: np.ndarray, target: np.dtype) -> np.ndarray:
    """Find the integers outside the range in which a type holds every integer."""
    if np.issubdtype(target, np.integer):
        low, high = int(np.iinfo(target).min), int(np.iinfo(target).max)
    else:
        high = 1 << (np.finfo(target).nmant + 1)
        low = -high
    return np.asarray((raw > high) | (raw < low))


def _changes(number: int, target: np.dtype) -> bool:
    return np.issubdtype(target, np.integer) or int(target.type(number)) != number


def nan_message(address: Address, index: tuple[int, ...], source: Source) -> str:
    """Word the complaint about a NaN in the data."""
    return (
        f"site '{show_address(address)}' ({source}): the observation is NaN at index {index}. "
        "Fix: drop the entry, or say which are present by obs_mask (lawful.missing(y) reads NaN as missing)."
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


def _check_support(
    array: jax.Array, concrete: np.ndarray, wanted: np.ndarray, distribution: Any, address: Address, source: Source
) -> None:
    try:
        with jax.ensure_compile_time_eval():
            inside = contains(distribution.support, array)
    except NotImplementedError:  # numpyro has constraints without a test; such values are scored, not refused
        return
    if isinstance(inside, jax.core.Tracer):
        return
    inside = np.asarray(inside) | ~wanted
    outside = np.argwhere(~inside)
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
