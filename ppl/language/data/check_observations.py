"""Check observations: data are checked against their site before they are scored.

Law: an observation has exactly the site's shape and, where its value is known, lies in the support; nothing is ever
broadcast in silence. A number keeps its value or is refused: integers become floats only where they are exact, floats
of low precision become wider, truth values belong to sites of two values alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...addresses import show_address
from ...distributions.constraints import contains, of_elements
from ...errors import LawfulError, ObservationError
from ...messages import SampleMessage, handlers, is_staged, refused


def checked_observation(message: SampleMessage, value: Any, mask: Any = None) -> jax.Array:
    """Return the observation as an array, or say what is wrong with it where the mask is True.

    A support that may have moved with the choices of an eager run is not checked here: the density is 0 outside it.

    Raises: ObservationError naming site, axis or index, what was given, what was expected and the user's line.
    """
    distribution, raw = message.distribution, _raw(value)
    known = not isinstance(raw, jax.core.Tracer) and not isinstance(mask, jax.core.Tracer)
    wanted = np.asarray(True if mask is None or isinstance(mask, jax.core.Tracer) else mask)
    axes = len(getattr(distribution, "event_shape", ())) if wanted.ndim else 0
    elements = wanted.reshape(wanted.shape + (1,) * axes)
    if known and jnp.issubdtype(raw.dtype, jnp.inexact) and raw.shape == tuple(distribution.shape()):
        broken = np.argwhere(np.isnan(np.asarray(raw)) & elements)
        if len(broken):
            raise nan_datum(message, tuple(map(int, broken[0])))
    array = of_its_shape(message, raw, elements)
    if known and (is_staged() or not _may_move(distribution)):
        _check_support(message, array, wanted)
    return array


def _may_move(distribution: Any) -> bool:
    """Tell whether a support has bounds that an earlier choice of this eager run may have set."""
    stack = handlers()
    if not stack or not stack[0].drawn:
        return False
    return not _is_fixed(distribution.support)


def _is_fixed(support: Any) -> bool:
    """Tell whether a support is the same for all parameters."""
    return isinstance(of_elements(support), constraints.ParameterFreeConstraint)


def of_its_shape(message: SampleMessage, value: Any, wanted: Any = True) -> jax.Array:
    """Return a value as an array of exactly the shape of its site, and of its kind; its density may be zero.

    Args:
        message: the site's message.
        value: the value.
        wanted: where the value counts; elsewhere it need not have the kind of the site.
    """
    raw = _raw(value)
    given, expected = tuple(raw.shape), tuple(message.distribution.shape())
    if given != expected:
        raise ObservationError(
            _shape_message(message, given, expected),
            site=message.address, given=given, expected=expected, source=message.source,
        )  # fmt: skip
    support = of_elements(message.distribution.support)
    try:
        discrete = support.is_discrete
    except (AttributeError, NotImplementedError):  # a law of an algorithm, or a support that only its parameters know
        return jnp.asarray(raw)
    kind, target = _kind(raw.dtype), _target(discrete, bool(jax.config.read("jax_enable_x64")))
    if kind == "bool" and support is not constraints.boolean:
        raise _wrong(message, "truth values", "numbers", "write y.astype(int), or use a Bernoulli distribution")
    if kind == "other":
        raise _wrong(message, f"data of type {raw.dtype}", "numbers", "convert the data to integers or floats")
    if not isinstance(raw, jax.core.Tracer):
        array, lost = _converted(np.asarray(raw), kind, target, wanted)
        if lost is not None:
            wish, remedy = f"one that {target} holds exactly", "enable jax_enable_x64, or rescale the data"
            raise _wrong(message, f"the integer {lost}", wish, remedy)
        if isinstance(raw, jax.Array) and array.dtype == raw.dtype:
            return raw
        with jax.ensure_compile_time_eval():  # a constant of a program that is being traced is known now
            return jnp.asarray(array)
    keeps = kind == "float" and (discrete or np.dtype(raw.dtype).itemsize >= target.itemsize)
    return raw if keeps else raw.astype(target)


def _wrong(message: SampleMessage, given: str, wish: str, remedy: str) -> LawfulError:
    words = f": got {given}, expected {wish}. Fix: {remedy}."
    return refused(message, words, ObservationError, given=given, expected=wish, source=message.source)


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


def _converted(raw: np.ndarray, kind: str, target: np.dtype, wanted: Any) -> tuple[np.ndarray, int | None]:
    """Convert known numbers to a type; an integer that it does not hold comes back as lost."""
    whole = np.issubdtype(target, np.integer)
    if kind in ("bool", "integer"):
        top = int(np.iinfo(target).max) if whole else 1 << (np.finfo(target).nmant + 1)  # all up to there are held
        large = raw[(raw > top) | (raw < -top)]
        pairs = zip(large.tolist(), large.astype(target).tolist(), strict=True)
        return raw.astype(target), next((number for number, held in pairs if number != held), None)
    if whole:
        numbers = raw.astype(np.float64)
        counted = np.where(wanted, numbers, 0.0)
        fits = np.all((counted == np.round(counted)) & (np.abs(counted) <= float(np.iinfo(target).max)))
        return counted.astype(target) if fits else numbers, None
    return (raw.astype(target) if raw.dtype.itemsize < target.itemsize else raw), None


def nan_datum(site: Any, index: tuple[int, ...]) -> LawfulError:
    """Make the error of a NaN in the data of a site, of its message or of the node of a form."""
    words = (
        f": the observation is NaN at index {index}. Fix: drop the entry, or say which are present by obs_mask "
        "(lawful.missing(y) reads NaN as missing)."
    )
    return refused(site, words, ObservationError, index=index, source=site.source)


def empty_interval(site: Any, index: tuple[int, ...], **fields: Any) -> LawfulError:
    """Make the error of an interval that holds no value."""
    words = (
        f": the interval of the observation at index {index} is empty, or a bound is NaN. Fix: give lower <= upper, "
        "and infinite bounds for what is not known."
    )
    return refused(site, words, ObservationError, index=index, source=site.source, **fields)


def outside_support(site: Any, index: tuple[int, ...], value: Any, support: str) -> LawfulError:
    """Make the error of a datum outside the support."""
    words = (
        f": the observation {value} at index {index} lies outside the support, {support}. Fix: correct the datum, or "
        "choose a distribution whose support holds it."
    )
    return refused(site, words, ObservationError, index=index, value=value, source=site.source)


def _check_support(message: SampleMessage, array: jax.Array, wanted: np.ndarray) -> None:
    support = message.distribution.support
    try:
        with jax.ensure_compile_time_eval(), np.errstate(invalid="ignore"):
            known = _is_fixed(support) and not isinstance(array, jax.core.Tracer)
            inside = contains(support, np.asarray(array) if known else array)  # NumPy has nothing to compile
    except NotImplementedError:  # numpyro has constraints without a test; such values are scored, not refused
        return
    if isinstance(inside, jax.core.Tracer):
        return
    outside = np.argwhere(~(np.asarray(inside) | ~wanted))
    if len(outside):
        index = tuple(map(int, outside[0]))
        text = repr(support) if "object at" not in repr(support) else type(support).__name__
        raise outside_support(message, index, np.asarray(array)[index], text.strip("_").replace("_", " "))


def _shape_message(message: SampleMessage, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    inside = "".join(f" in plate '{p.name}' (axis {p.dim}, size {p.size})" for p in message.plates)
    lines = [f"site '{show_address(message.address)}'{inside}: observed shape {given}, expected {expected}."]
    try:
        broadcast = np.broadcast_shapes(given, expected)
    except ValueError:
        broadcast = expected
    if broadcast != expected:
        lines.append(f"  It would be broadcast to {broadcast} and count observations more than once.")
    lines.append(f"  Model: {message.source}. Fix: {_shape_remedy(given, expected)}")
    return "\n".join(lines)


def _shape_remedy(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    for axis, size in enumerate(given):
        if size == 1 and given[:axis] + given[axis + 1 :] == expected:
            return f"pass obs=y.squeeze({axis - len(given)}), or declare a plate for that axis."
    if math.prod(given) == 1:
        return "repeat the value explicitly with jnp.broadcast_to if it was observed that many times."
    return "give an observation of the expected shape, or declare the missing axis with plate(name, size)."
