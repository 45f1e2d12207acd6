"""Statements: `sample`, `factor`, `deterministic`, `plate`, and the scopes and weights around them.

A program is a plain Python function of its arguments. It denotes an unnormalised measure: the product of the densities
of its sites and of its factors. Law: eager runs and the traced form denote the same measure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address, names_of, show_address
from ..distributions.absent import as_read, in_lanes
from ..distributions.observed_law import Interval
from ..errors import LawfulError
from ..messages import (
    RESERVED,
    DeterministicMessage,
    FactorMessage,
    PlateFrame,
    SampleMessage,
    Surroundings,
    caller,
    note_choice,
    placed,
    refused,
    send,
    site_at,
    surroundings,
    value_of,
)
from .data.observed import announce, both, complete, observe, refuse_shapes, truth


def program[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as a probabilistic program; optional, since every function that uses `sample` is one.

    >>> import numpyro.distributions as dist
    >>> @program
    ... def coin():
    ...     return sample("heads", dist.Bernoulli(0.5))
    >>> coin.__name__
    'coin'
    """
    return function


def sample(
    name: str,
    distribution: Any,
    obs: Any = None,
    *,
    obs_mask: Any = None,
    impute: bool = False,
    infer: Mapping[str, Any] | None = None,
) -> Any:
    """Make a random choice, or observe one.

    Args:
        name: the name of the site, unique in its scope; scopes and loops are added to its address.
        distribution: one of `numpyro.distributions`.
        obs: an observed value of exactly the site's shape (batch shape, then event shape), or None. Integers, truth
            values of Bernoulli sites and floats of low precision are converted where their value is kept. An `Interval`
            says between which bounds each value lies, as of censored or rounded data.
        obs_mask: which elements of the batch were observed, True = observed. The others are missing: whatever `obs`
            holds there, NaN included, has no influence; they are drawn at a site of their own, `<name>.missing`, which
            a traced program drops where nothing reads them, so that they are summed out. A mask of the whole shape of
            the site says which parts of its events were observed: of a multivariate normal, whose missing parts follow
            the others, or of independent elements (`to_event`).
        impute: keep what is missing as choices of the program also where nothing reads them, so that results hold them.
        infer: notes for results: `{"event_dims": ["axis", ...]}` names the axes of one value, after those of the batch.

    Returns: the value, of the site's shape; `obs` itself when observed, completed by the missing elements.

    Raises:
        ObservationError: the observation has another shape, is NaN, or lies outside the support.
        DuplicateSiteError: the address was used before.
        LawfulError: no handler gives the site a value.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> x = handlers.seed(lambda: sample("x", dist.Normal(0.0, 1.0)), jax.random.key(0))()
    >>> x.shape
    ()
    """
    place = surroundings()
    message = SampleMessage(
        _address(name, place), distribution, None, obs is not None, place.plates, caller(), mask=place.mask,
        scale=place.scale, lanes=place.lanes,
    )  # fmt: skip
    if not hasattr(distribution, "log_prob"):
        given = type(distribution).__name__
        raise refused(message, f": expected a distribution of numpyro.distributions, got {given}.")
    distribution = _in_plates(message)
    if obs is None and place.lanes is not None:
        distribution = in_lanes(distribution, place.lanes)
    message.distribution = distribution
    if infer is not None:
        message.event_dims = _event_dims(infer, message)
    if obs is not None:
        observe(message, obs, None if obs_mask is None else truth(obs_mask, site_at(message)))
    elif obs_mask is not None:
        raise refused(message, ": obs_mask is given without obs.")
    announce(message)
    if not message.observed:
        note_choice()
    if message.present is not None:
        complete(message, distribution, impute, place.lanes)
    elif impute and obs is not None and obs_mask is None and not isinstance(obs, Interval):
        raise refused(message, ": impute=True, and nothing is missing. Fix: say by obs_mask what was observed.")
    value = value_of(message)
    return value if message.observed or place.lanes is None else as_read(distribution, value)


def factor(name: str, log_weight: Any, *, role: str = "likelihood") -> None:
    """Multiply the density by exp(log_weight); an array of weights is summed.

    Args:
        name: the name of the factor.
        log_weight: natural logarithm of the weight; -inf makes the run impossible.
        role: "likelihood" or "prior": which part of the log density results count it in; no inference reads it.

    >>> import jax
    >>> from lawful import handlers
    >>> def program():
    ...     factor("half", jnp.log(0.5))
    >>> float(handlers.trace(program)().log_density)
    -0.69...
    """
    place = surroundings()
    if role not in ("likelihood", "prior"):
        raise LawfulError(f"factor '{name}' ({caller()}): expected role 'likelihood' or 'prior', got {role!r}.")
    wanted = both(place.mask, place.lanes)
    if wanted is not None or place.scale is not None:
        where = f"factor '{name}' ({caller()})"
        refuse_shapes(where, wanted, place.scale, np.shape(log_weight), "its weights")
    if place.scale is not None:
        log_weight = jnp.asarray(log_weight) * place.scale
    if wanted is not None:
        log_weight = jnp.where(wanted, log_weight, 0.0)
    if isinstance(log_weight, np.ndarray | np.generic | float):
        total: Any = np.sum(np.asarray(log_weight, np.result_type(log_weight, float)))
    else:
        weight = jnp.asarray(log_weight)
        total = jnp.sum(weight, dtype=jnp.result_type(weight, float))
    send(FactorMessage(_address(name, place), total, caller(), role=role))


def deterministic(name: str, value: Any) -> Any:
    """Record a named function of the choices; it appears in results and has no density."""
    place = surroundings()
    message = DeterministicMessage(_address(name, place), value, caller(), plates=place.plates)
    send(message)
    return message.value


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

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def schools():
    ...     with plate("school", 8):
    ...         return sample("theta", dist.Normal(0.0, 1.0))
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


@contextlib.contextmanager
def scope(prefix: str) -> Iterator[None]:
    """Put a prefix before the names of all sites inside, so that a program can be called twice.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def pair():
    ...     with scope("left"):
    ...         sample("x", dist.Bernoulli(0.5))
    >>> list(handlers.trace(handlers.seed(pair, jax.random.key(0)))().choices)
    [('left', 'x')]
    """
    place = surroundings()
    with placed(replace(place, scopes=(*place.scopes, prefix))):
        yield


@contextlib.contextmanager
def mask(mask: Any) -> Iterator[None]:
    """Drop the densities of the statements inside where the mask is False, element by element of their batch.

    An observation or a factor that is masked out counts as absent. Data that are masked out have no influence on value
    or gradient, NaN included; a factor is computed before it is masked, so its gradient is NaN where its arithmetic is.
    A choice that is masked out is still made, on its support, with density one there: on an unbounded support that is
    refused.

    Args:
        mask: truth values of the batch shape of the statements, or one for all.

    >>> import numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def program():
    ...     with plate("row", 2), mask(jnp.array([True, False])):
    ...         sample("y", dist.Normal(0.0, 1.0), obs=jnp.array([0.0, jnp.nan]))
    >>> round(float(handlers.trace(program)().log_density), 4)
    -0.9189
    """
    place, source = surroundings(), caller()
    with placed(replace(place, mask=both(place.mask, truth(mask, f"mask ({source})")))):
        yield


@contextlib.contextmanager
def scale(scale: Any) -> Iterator[None]:
    """Raise the densities of the statements inside to a power, element by element of their batch.

    Args:
        scale: positive numbers of the batch shape of the statements, or one for all; scales inside each other multiply.

    >>> import numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def program():
    ...     with scale(10.0):
    ...         sample("y", dist.Bernoulli(0.5), obs=1)
    >>> round(float(handlers.trace(program)().log_density), 4)
    -6.9315
    """
    place, source = surroundings(), caller()
    dtype = jnp.result_type(scale)
    known = not isinstance(scale, jax.core.Tracer)
    fits = jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)
    if not fits or (known and not bool(np.all((np.asarray(scale) > 0) & np.isfinite(scale)))):
        raise LawfulError(f"scale ({source}): expected positive numbers, got {scale!r}. Fix: use lawful.mask for zero.")
    with placed(replace(place, scale=scale if place.scale is None else place.scale * scale)):
        yield


def _address(name: str, place: Surroundings) -> Address:
    if not isinstance(name, str) or not name:
        raise LawfulError(f"site name: expected a non-empty string, got {name!r} ({caller()}).")
    return (*place.scopes, name + place.suffix, *place.indices)


def _event_dims(infer: Mapping[str, Any], message: SampleMessage) -> tuple[str, ...]:
    """Read the names of the axes of one value."""
    unknown = ", ".join(str(key) for key in infer if key != "event_dims")
    if unknown:
        raise refused(message, f": infer has the unknown notes {unknown}; it takes event_dims.")
    names = tuple(infer.get("event_dims", ()))
    rank = len(message.distribution.event_shape)
    if len(names) != rank or not all(isinstance(n, str) and n not in RESERVED for n in names) or len(set(names)) < rank:
        raise refused(
            message,
            f": event_dims names {len(names)} axes, {list(names)}, of a value with {rank}. "
            f"Fix: give each its own name, other than {', '.join(RESERVED)}.",
        )
    return names


def _in_plates(message: SampleMessage) -> Any:
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
